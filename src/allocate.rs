//! Choosing a number for a name: each candidate is checked the same way. A check that fails fails
//! the request: nobody can tell then whether the number is free, nor any other.

use std::time::Duration;

use crate::failure::{Failure, OrFail, Stage};
use crate::name_caches::{self, Changed};
use crate::names::UserName;
use crate::number_locks::NumberLocks;
use crate::sys::ipc::Ipc;
use crate::sys::keyring;
use crate::sys::names::{Answer, Question, User, ask};
use crate::sys::process::holding;
use crate::uid::Uid;

/// What candidates are checked with.
#[derive(Debug)]
pub struct Checks<'a> {
    /// The IPC objects of the host.
    pub ipc: &'a Ipc,
    /// systemd's locks on numbers, where there are any.
    pub locks: &'a NumberLocks,
    /// How long the name service may take for an answer.
    pub deadline: Duration,
}

/// A number for a name.
#[derive(Debug)]
pub enum Choice {
    /// The host has a user of that name anyway.
    Static(Uid, User),
    /// A number that nobody has.
    Free(Uid),
    /// There is none: who has those that were tried, in words.
    Nothing(Vec<(Uid, String)>),
}

/// Chooses a number for `name`: that of the user whom the host has anyway, or the first of
/// `candidates` that is free.
///
/// # Errors
/// Of [`Stage::User`]: when a check failed, so that nobody can tell; when the name belongs to root
/// or nobody, or to a group but no user.
pub fn choose(
    name: &UserName,
    mut candidates: impl Iterator<Item = Uid>,
    checks: &Checks<'_>,
) -> Result<Choice, Failure> {
    // The lock comes before every look: what systemd does with a number until it lets go is seen
    // then.
    let mut taken = Vec::new();
    let first = loop {
        match candidates.next() {
            None => break None,
            Some(uid) => match checks.locks.try_take(uid.get())? {
                None => break Some(uid),
                Some(holder) => taken.push(note(uid, holder)),
            },
        }
    };
    let chosen = choose_from(name, first, candidates, taken, checks);
    let kept = |uid| matches!(&chosen, Ok(Choice::Free(free)) if *free == uid);
    let Some(uid) = first.filter(|uid| !kept(*uid)) else {
        return chosen;
    };
    if let Err(failure) = checks.locks.give_back(uid.get()) {
        // Nothing is kept of a search that failed.
        if let Ok(Choice::Free(other)) = chosen {
            checks.locks.give_back(other.get())?;
        }
        return Err(failure);
    }
    chosen
}

/// The user of that name that the host has: root, too. Its number is not handed out, only used.
///
/// # Errors
/// Of [`Stage::User`]: when there is none, or when nobody can tell.
pub fn host_user(name: &UserName, checks: &Checks<'_>) -> Result<(Uid, User), Failure> {
    let subject = || format!("user {name}");
    let question = Question {
        name: Some(name.to_string()),
        number: None,
    };
    let answer = ask(question).and_then(|asked| asked.answer(checks.deadline));
    let user = answer.or_fail(Stage::User, subject())?.user;
    let Some(user) = user else {
        let why = "there is no such user on this host, and DynamicUser=no makes none";
        return Err(Failure::new(Stage::User, subject(), why));
    };
    let uid = Uid::of_host(user.uid).filter(|uid| (uid.get() == 0) == (name.as_str() == "root"));
    let Some(uid) = uid else {
        let why = format!("exists as {}, under which no service is run", user.uid);
        return Err(Failure::new(Stage::User, subject(), why));
    };
    refuse_passing(name, uid, &user, checks)?;
    Ok((uid, user))
}

/// Looks at `first`, which is locked, together with the name, then at the others.
fn choose_from(
    name: &UserName,
    first: Option<Uid>,
    candidates: impl Iterator<Item = Uid>,
    mut taken: Vec<(Uid, String)>,
    checks: &Checks<'_>,
) -> Result<Choice, Failure> {
    let asked = ask(Question {
        name: Some(name.to_string()),
        number: first.map(Uid::get),
    })
    .or_fail(Stage::User, format!("user {name}"))?;
    // NSS may have to ask another program or another host: meanwhile the rest is looked at.
    let in_use = first.map(|uid| in_use(uid, checks.ipc));
    let answer = asked
        .answer(checks.deadline)
        .or_fail(Stage::User, format!("user {name}"))?;
    if let Some((uid, user)) = static_user(name, &answer)? {
        refuse_passing(name, uid, &user, checks)?;
        return Ok(Choice::Static(uid, user));
    }
    if let (Some(uid), Some(in_use)) = (first, in_use) {
        match answer
            .number_taken_by
            .map_or(in_use, |owner| Ok(Some(owner)))?
        {
            None => return Ok(Choice::Free(uid)),
            Some(holder) => taken.push(note(uid, holder)),
        }
    }
    for uid in candidates {
        match taken_by(uid, checks)? {
            None => return Ok(Choice::Free(uid)),
            Some(holder) => taken.push(note(uid, holder)),
        }
    }
    Ok(Choice::Nothing(taken))
}

fn note(uid: Uid, holder: String) -> (Uid, String) {
    tracing::info!(%uid, by = holder, "not free");
    (uid, holder)
}

/// The user of that name that the host has anyway, if there is one.
fn static_user(name: &UserName, answer: &Answer) -> Result<Option<(Uid, User)>, Failure> {
    let refused = |why: String| Err(Failure::new(Stage::User, format!("user {name}"), why));
    match (&answer.user, answer.group) {
        (Some(user), _) => match Uid::new(user.uid) {
            Some(uid) if user.gid != 0 => Ok(Some((uid, user.clone()))),
            _ => refused(format!(
                "exists as {}:{}, and root or nobody is never handed out to a service",
                user.uid, user.gid
            )),
        },
        // A dynamic user brings a group of its name, which would then mean two things.
        (None, Some(gid)) => refused(format!(
            "there is a group of that name ({gid}), but no user; choose another name with User="
        )),
        (None, None) => Ok(None),
    }
}

/// systemd's dynamic users look like users of the host, and so do ours that a cache still knows; but
/// their numbers are handed on when their services end.
fn refuse_passing(
    name: &UserName,
    uid: Uid,
    user: &User,
    checks: &Checks<'_>,
) -> Result<(), Failure> {
    let subject = || format!("user {name}");
    let refused = |holder: String| {
        Err(Failure::new(
            Stage::User,
            subject(),
            format!("is {holder} at the moment, {uid}; choose another name with User="),
        ))
    };
    let look = || {
        let question = Question {
            name: Some(name.to_string()),
            number: None,
        };
        let answer = ask(question).and_then(|asked| asked.answer(checks.deadline));
        Ok(answer.or_fail(Stage::User, subject())?.user)
    };
    let still_there = || look().map(|user| user.is_some_and(|user| user.uid == uid.get()));
    if let Some(holder) = checks.locks.passing_user(uid.get(), still_there)? {
        return refused(holder);
    }
    if !user.is_dynamic {
        return Ok(());
    }
    // The name has no lease, or this would not be asked: so a cache is behind, or it is not ours.
    name_caches::refresh(&[Changed::new(name.as_str(), uid.get())]);
    match look()? {
        Some(user) if user.is_dynamic => refused("somebody else's dynamic user".into()),
        _ => Err(Failure::new(
            Stage::User,
            subject(),
            "was known to a cache of names although it is gone; try again",
        )),
    }
}

/// What keeps a number from being handed out, in words; `None` if nothing does, and it is locked.
fn taken_by(uid: Uid, checks: &Checks<'_>) -> Result<Option<String>, Failure> {
    if let Some(holder) = checks.locks.try_take(uid.get())? {
        return Ok(Some(holder));
    }
    let found = seen_on(uid, checks);
    if !matches!(found, Ok(None)) {
        checks.locks.give_back(uid.get())?;
    }
    found
}

/// What is seen of a number that is locked.
fn seen_on(uid: Uid, checks: &Checks<'_>) -> Result<Option<String>, Failure> {
    let question = Question {
        name: None,
        number: Some(uid.get()),
    };
    let answer = ask(question).and_then(|asked| asked.answer(checks.deadline));
    match answer.or_fail(Stage::User, subject(uid))?.number_taken_by {
        None => in_use(uid, checks.ipc),
        owner => Ok(owner),
    }
}

/// What carries a number although nobody has it by name, in words; `None` if nothing does.
///
/// # Errors
/// Of [`Stage::User`], when nobody can tell.
pub fn in_use(uid: Uid, ipc: &Ipc) -> Result<Option<String>, Failure> {
    if let Some(object) = ipc.found(uid.get()).or_fail(Stage::User, subject(uid))? {
        return Ok(Some(object));
    }
    if let Some(keys) = keyring::found(uid.get()).or_fail(Stage::User, subject(uid))? {
        return Ok(Some(keys));
    }
    let processes = holding(uid.get()).or_fail(Stage::User, subject(uid))?;
    Ok(processes
        .first()
        .map(|process| format!("process {} ({})", process.pid, process.name)))
}

fn subject(uid: Uid) -> String {
    format!("checking whether {uid} is free")
}
