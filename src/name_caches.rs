//! Caches of names beside us (nscd and its kin): they forget what has changed, and it is seen that they did.
//!
//! To tell them once is not enough. nscd gives an answer first and puts it into its cache then, and a look-up of
//! somebody else may be under way in it: both put back what was true before we told it to forget, for ten minutes, or
//! for 20 seconds that nobody is there. So it is asked what it knows by now, and told once more where that is wrong:
//! at once, and a few times later, for look-ups that are slow.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::nscd_protocol::{Answer, Key, Question, Said};
use crate::published;
use crate::sys::nscd;
use crate::user_record::Record;

/// The waits between looks while somebody waits for us.
const AT_ONCE: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(1),
    Duration::from_millis(4),
];

/// When it is looked again.
const LATER: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(500),
    Duration::from_secs(3),
    Duration::from_secs(15),
];

/// How long it sleeps at most: what comes meanwhile may be due before what it waits for.
const SHORTEST: Duration = Duration::from_millis(50);

/// How long its answer may take: it may ask a directory server about somebody who is gone.
const PATIENCE: Duration = Duration::from_millis(200);

/// More than are looked at later: they come and go faster than anybody could ask for them.
const MOST_LATER: usize = 1000;

/// Whether the cache finds our users at all: where its host's nsswitch.conf does not name our module it never will.
static KNOWS_OURS: AtomicBool = AtomicBool::new(true);

/// A user that has come or gone, or is another by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The name.
    pub name: String,
    /// The number.
    pub uid: u32,
}

impl Changed {
    /// The user of a name and a number.
    pub fn new(name: &str, uid: u32) -> Self {
        Self {
            name: name.into(),
            uid,
        }
    }
}

/// Makes caches of names forget them, after something was published or withdrawn, and sees that they know it right.
/// Where there is none, it costs two failed connect(2). It may take a second: never with a lock held. What goes wrong
/// is told, and no more: the answers are old for a while.
pub fn refresh(changed: &[Changed]) {
    if forget() {
        changed.iter().for_each(settle);
        look_later(changed);
    }
}

/// Gives whether anybody was told.
fn forget() -> bool {
    nscd::invalidate().unwrap_or_else(|error| {
        tracing::warn!(%error, "names may be looked up wrong for a while");
        false
    })
}

/// Asks until it is right, or seems never to be.
fn settle(changed: &Changed) {
    for wait in AT_ONCE {
        thread::sleep(wait);
        if !is_wrong(changed) {
            return;
        }
        forget();
    }
    if is_wrong(changed) {
        tracing::debug!(name = changed.name, "a cache of names does not learn it");
        KNOWS_OURS.store(false, Ordering::Relaxed);
    }
}

/// Tells whether the cache knows something of a user that is not so. What nobody can tell is not wrong.
fn is_wrong(changed: &Changed) -> bool {
    let Ok(record) = published::by_name(&changed.name) else {
        return false;
    };
    let record = record.filter(|record| record.uid == changed.uid);
    let name = || Key::Name(changed.name.clone().into());
    let number = || Key::Number(changed.uid);
    let questions = [
        Question::User(name()),
        Question::User(number()),
        Question::Group(name()),
        Question::Group(number()),
    ];
    let mut right = 0_usize;
    for question in &questions {
        let said = match nscd::ask(question, PATIENCE) {
            Ok(Some(Said::Answer(said))) => said,
            Ok(Some(Said::Nothing)) => continue,
            Ok(None) => return false,
            // It asks somebody itself, and so does not know it yet.
            Err(error) => {
                tracing::debug!(%error, "a cache of names is not asked");
                return false;
            }
        };
        let Some(record) = &record else {
            if is_of(&said, changed) {
                return true;
            }
            continue;
        };
        if !is_right(&said, record) {
            return KNOWS_OURS.load(Ordering::Relaxed);
        }
        right = right.saturating_add(1);
    }
    if right == questions.len() {
        KNOWS_OURS.store(true, Ordering::Relaxed);
    }
    false
}

/// Tells whether it is the user, or its group.
fn is_of(said: &Answer, changed: &Changed) -> bool {
    let is = |name: &[u8], number| name == changed.name.as_bytes() && number == changed.uid;
    match said {
        Answer::User(Some(user)) => is(&user.name, user.uid),
        Answer::Group(Some(group)) => is(&group.name, group.gid),
        _ => false,
    }
}

/// Tells whether that is what we would say, but for words that mean nothing.
fn is_right(said: &Answer, record: &Record) -> bool {
    let name = record.name.as_bytes();
    match said {
        Answer::User(Some(user)) => {
            user.name == name && user.uid == record.uid && user.home == record.home.as_bytes()
        }
        Answer::Group(Some(group)) => {
            let members = group.members.iter().map(Vec::as_slice);
            group.name == name
                && group.gid == record.uid
                && members.eq(record.members.iter().map(String::as_bytes))
        }
        _ => false,
    }
}

/// Users to look at later, the first due first; `None` while no thread is there that does.
static LATER_ON: Mutex<Option<VecDeque<(Instant, Changed)>>> = Mutex::new(None);

/// Looks at them again some times, on a thread that is there for as long.
fn look_later(changed: &[Changed]) {
    let mut later = LATER_ON.lock().unwrap_or_else(PoisonError::into_inner);
    let runs = later.is_some();
    let queue = later.get_or_insert_default();
    for one in changed {
        // What is the case is looked up then: once is enough for who comes and goes.
        queue.retain(|(_, other)| other != one);
        let now = Instant::now();
        let times = LATER.iter().filter_map(|wait| now.checked_add(*wait));
        queue.extend(times.map(|time| (time, one.clone())));
    }
    let excess = queue.len().saturating_sub(MOST_LATER);
    queue.drain(..excess);
    queue
        .make_contiguous()
        .sort_unstable_by_key(|(time, _)| *time);
    if runs {
        return;
    }
    let thread = thread::Builder::new().name("names".into());
    if let Err(error) = thread.spawn(look_until_settled) {
        tracing::debug!(%error, "caches of names are not looked at again");
        *later = None;
    }
}

fn look_until_settled() {
    loop {
        let next = {
            let mut later = LATER_ON.lock().unwrap_or_else(PoisonError::into_inner);
            match later.as_ref().and_then(VecDeque::front) {
                Some((time, _)) if *time <= Instant::now() => later
                    .as_mut()
                    .and_then(VecDeque::pop_front)
                    .ok_or(Duration::ZERO),
                Some((time, _)) => Err(time.saturating_duration_since(Instant::now())),
                None => {
                    *later = None;
                    return;
                }
            }
        };
        match next {
            Ok((_, changed)) if is_wrong(&changed) => {
                tracing::info!(
                    name = changed.name,
                    "a cache of names had it wrong once more"
                );
                forget();
            }
            Ok(_) => {}
            Err(wait) => thread::sleep(wait.min(SHORTEST)),
        }
    }
}
