//! The host's user and group databases, through NSS.
//!
//! NSS may ask a directory server that does not answer. So each question is asked on a thread of
//! its own, and an answer that does not come in time is an error: the thread is left to its fate.
//! An error is never read as "there is none" (systemd does, and hands out numbers that people have).

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use rustix::io::Errno;

use super::{During, SysResult};
use crate::layout::GECOS;

/// Largest record that is read, in bytes: a group may have very many members.
const LARGEST_RECORD: usize = 16 * 1024 * 1024;

/// The most groups that a process can be in (`NGROUPS_MAX`).
const MOST_GROUPS: usize = 65_536;

/// What to look up.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// A name, as a user and as a group.
    pub name: Option<String>,
    /// A number, as a user's and as a group's.
    pub number: Option<u32>,
}

/// What the databases say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The user of the name.
    pub user: Option<User>,
    /// The GID of the group of the name.
    pub group: Option<u32>,
    /// The user or the group that has the number, as a phrase.
    pub number_taken_by: Option<String>,
}

/// What matters of a user's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User ID.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Whether it says of itself that it is a dynamic user: ours and systemd's do.
    pub is_dynamic: bool,
    /// Home directory.
    pub home: String,
    /// All groups that it is a member of, the primary one too (getgrouplist(3)).
    pub groups: Vec<u32>,
}

/// A call of the C library, and what it is about.
#[derive(Clone, Debug)]
struct Call {
    call: &'static str,
    subject: String,
    fate: Fate,
}

/// What becomes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Asked,
    /// Nobody waits for the answer any more.
    Abandoned,
    Answered,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            call: "nss",
            subject: String::new(),
            fate: Fate::Asked,
        }
    }
}

/// Where a thread tells which call it is in: one that never returns can still be named.
struct Progress(Arc<Mutex<Call>>);

impl Progress {
    fn call(&self) -> MutexGuard<'_, Call> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, call: &'static str, subject: impl std::fmt::Display) {
        let mut now = self.call();
        now.call = call;
        now.subject = subject.to_string();
    }

    /// Nobody waits any more. Gives the call that it is in.
    fn abandon(&self) -> (&'static str, String) {
        let mut call = self.call();
        if call.fate == Fate::Asked {
            call.fate = Fate::Abandoned;
            UNANSWERED.fetch_add(1, Ordering::Relaxed);
        }
        (call.call, call.subject.clone())
    }

    fn ended(&self) {
        let mut call = self.call();
        if call.fate == Fate::Abandoned {
            UNANSWERED.fetch_sub(1, Ordering::Relaxed);
        }
        call.fate = Fate::Answered;
    }
}

/// Threads that wait for answers which nobody waits for: a directory server that is down must not
/// fill the table of processes with them.
static UNANSWERED: AtomicUsize = AtomicUsize::new(0);

/// How many there may be before nothing is asked any more.
const MOST_UNANSWERED: usize = 64;

/// A question that has been asked.
#[derive(Debug)]
pub struct Asked {
    at: Arc<Mutex<Call>>,
    answered: mpsc::Receiver<SysResult<Answer>>,
}

/// Asks, and lets the caller do something else meanwhile.
///
/// # Errors
/// Those of clone(2).
pub fn ask(question: Question) -> SysResult<Asked> {
    let (answer, answered) = mpsc::sync_channel(1);
    let at = Arc::new(Mutex::new(Call::default()));
    let progress = Progress(Arc::clone(&at));
    if UNANSWERED.load(Ordering::Relaxed) >= MOST_UNANSWERED {
        return Err(Errno::TIMEDOUT).during(
            "nss",
            format_args!("{MOST_UNANSWERED} earlier questions are not answered yet"),
        );
    }
    std::thread::Builder::new()
        .name("nss".into())
        .spawn(move || {
            // Nobody listens any more when the deadline has passed, which is no error here.
            drop(answer.send(look_up_all(&question, &progress)));
            progress.ended();
        })
        .during("clone", "nss")?;
    Ok(Asked { at, answered })
}

impl Asked {
    /// Waits for the answer, for as long as `deadline`.
    ///
    /// # Errors
    /// Those of getpwnam_r(3) and its kin; `ETIMEDOUT` for no answer in time.
    pub fn answer(self, deadline: Duration) -> SysResult<Answer> {
        self.answered.recv_timeout(deadline).unwrap_or_else(|_| {
            let (call, subject) = Progress(self.at).abandon();
            Err(Errno::TIMEDOUT).during(call, subject)
        })
    }
}

/// Asks for a name in this thread, however long that takes: for a program that has nothing else to do yet, and that
/// must have no other thread afterwards.
///
/// # Errors
/// Those of getpwnam_r(3) and getgrnam_r(3).
pub fn ask_here(name: &str) -> SysResult<Answer> {
    let question = Question {
        name: Some(name.into()),
        number: None,
    };
    look_up_all(&question, &Progress(Arc::default()))
}

fn look_up_all(question: &Question, progress: &Progress) -> SysResult<Answer> {
    let mut answer = Answer::default();
    if let Some(name) = &question.name {
        let c_name = CString::new(name.as_str())
            .map_err(|_| Errno::INVAL)
            .during("getpwnam_r", format!("{name:?}"))?;
        progress.at("getpwnam_r", name);
        answer.user = whole_user(&c_name)?;
        progress.at("getgrnam_r", name);
        answer.group = group_by_name(&c_name, |record| record.gr_gid)?;
    }
    if let Some(number) = question.number {
        progress.at("getpwuid_r", number);
        answer.number_taken_by = match user_by_number(number, |record| text(record.pw_name))? {
            Some(name) => Some(format!("the user {name}")),
            None => {
                progress.at("getgrgid_r", number);
                group_by_number(number, |record| text(record.gr_name))?
                    .map(|name| format!("the group {name}"))
            }
        };
    }
    Ok(answer)
}

/// Calls one of the `get…_r` functions with a buffer that grows until the record fits, and gives
/// what `read` makes of the record.
fn look_up<R, T>(
    call: &'static str,
    subject: impl std::fmt::Display,
    ask: impl Fn(*mut R, &mut [libc::c_char], *mut *mut R) -> libc::c_int,
    read: impl Fn(&R) -> T,
) -> SysResult<Option<T>> {
    let mut buffer: Vec<libc::c_char> = vec![0; 1024];
    loop {
        let mut record = MaybeUninit::<R>::zeroed();
        let mut found: *mut R = ptr::null_mut();
        let error = ask(record.as_mut_ptr(), &mut buffer, &raw mut found);
        match error {
            0 if found.is_null() => return Ok(None),
            // SAFETY: the call answered 0 and a record, so it filled `record`, to which `found`
            // points; the strings in it lie in `buffer`, which lives until `read` is done.
            0 => return Ok(Some(read(unsafe { &*found }))),
            // Sources that have no such record may say so by these (getpwnam(3), ERRORS).
            libc::ENOENT | libc::ESRCH => return Ok(None),
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < LARGEST_RECORD => {
                buffer.resize(buffer.len().saturating_mul(4), 0);
            }
            error => return Err(Errno::from_raw_os_error(error)).during(call, subject),
        }
    }
}

fn text(pointer: *const libc::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the fields of a record are NUL-terminated strings in the caller's buffer.
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .into_owned()
}

/// What `read` makes of the user of a name (getpwnam_r(3)).
pub(super) fn user_by_name<T>(
    name: &CStr,
    read: impl Fn(&libc::passwd) -> T,
) -> SysResult<Option<T>> {
    look_up(
        "getpwnam_r",
        name.to_string_lossy(),
        |record, buffer, found| {
            // SAFETY: all pointers are to live memory of the sizes given with them.
            unsafe {
                libc::getpwnam_r(
                    name.as_ptr(),
                    record,
                    buffer.as_mut_ptr(),
                    buffer.len(),
                    found,
                )
            }
        },
        read,
    )
}

/// What `read` makes of the user of a number (getpwuid_r(3)).
pub(super) fn user_by_number<T>(
    uid: u32,
    read: impl Fn(&libc::passwd) -> T,
) -> SysResult<Option<T>> {
    look_up(
        "getpwuid_r",
        uid,
        |record, buffer, found| {
            // SAFETY: all pointers are to live memory of the sizes given with them.
            unsafe { libc::getpwuid_r(uid, record, buffer.as_mut_ptr(), buffer.len(), found) }
        },
        read,
    )
}

/// What `read` makes of the group of a name (getgrnam_r(3)).
pub(super) fn group_by_name<T>(
    name: &CStr,
    read: impl Fn(&libc::group) -> T,
) -> SysResult<Option<T>> {
    look_up(
        "getgrnam_r",
        name.to_string_lossy(),
        |record, buffer, found| {
            // SAFETY: all pointers are to live memory of the sizes given with them.
            unsafe {
                libc::getgrnam_r(
                    name.as_ptr(),
                    record,
                    buffer.as_mut_ptr(),
                    buffer.len(),
                    found,
                )
            }
        },
        read,
    )
}

/// What `read` makes of the group of a number (getgrgid_r(3)).
pub(super) fn group_by_number<T>(
    gid: u32,
    read: impl Fn(&libc::group) -> T,
) -> SysResult<Option<T>> {
    look_up(
        "getgrgid_r",
        gid,
        |record, buffer, found| {
            // SAFETY: all pointers are to live memory of the sizes given with them.
            unsafe { libc::getgrgid_r(gid, record, buffer.as_mut_ptr(), buffer.len(), found) }
        },
        read,
    )
}

/// A user with all its groups.
fn whole_user(name: &CStr) -> SysResult<Option<User>> {
    let mut user = user_by_name(name, |record| User {
        uid: record.pw_uid,
        gid: record.pw_gid,
        is_dynamic: text(record.pw_gecos) == GECOS,
        home: text(record.pw_dir),
        groups: Vec::new(),
    })?;
    if let Some(user) = &mut user {
        user.groups = groups_of(name, user.gid)?;
    }
    Ok(user)
}

/// The groups of a user.
pub(super) fn groups_of(name: &CStr, gid: u32) -> SysResult<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let Ok(mut count) = libc::c_int::try_from(groups.len()) else {
            return Err(Errno::OVERFLOW).during("getgrouplist", name.to_string_lossy());
        };
        // SAFETY: the buffer has room for as many numbers as `count` says.
        let found =
            unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        let needed = usize::try_from(count).unwrap_or(0);
        if found >= 0 {
            groups.truncate(needed);
            return Ok(groups);
        }
        // It says no more than that it failed, which is not always for want of room.
        if groups.len() > MOST_GROUPS {
            return Err(Errno::OVERFLOW).during("getgrouplist", name.to_string_lossy());
        }
        let room = needed.max(groups.len().saturating_mul(2));
        groups.resize(room, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(name: Option<&str>, number: Option<u32>) -> Answer {
        let name = name.map(String::from);
        let asked = ask(Question { name, number }).expect("a question");
        asked.answer(Duration::from_secs(20)).expect("an answer")
    }

    #[test]
    fn root_is_found_by_name_and_number() {
        let root = answer(Some("root"), Some(0));
        assert_eq!(root.user.map(|user| (user.uid, user.gid)), Some((0, 0)));
        assert_eq!(root.group, Some(0));
        assert_eq!(root.number_taken_by.as_deref(), Some("the user root"));
    }

    #[test]
    fn nobody_is_found_where_nobody_is() {
        assert_eq!(
            answer(Some("no-such-user-here"), Some(4_000_000_000)),
            Answer::default()
        );
    }
}
