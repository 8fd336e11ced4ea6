//! The host's own user and group files, and the lock that useradd(8) and its kin hold while they
//! change them.
//!
//! NSS is asked first, without the lock, for it may have to wait for another host. Then, briefly:
//! the lock is taken, the files alone are looked at once more, the new user becomes visible to
//! NSS, and the lock is let go. Whoever adds a user with the lock held sees ours, or we see his.

mod groups;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags, openat};
use rustix::io::Errno;

use super::fs::{open_trusted, status};
use super::procfs::Proc;
use super::{During, SysResult, last_error};

pub use groups::LocalGroups;

/// Where the files are.
const ETC: &str = "/etc";

/// What lckpwdf(3) locks.
const LOCK: &str = ".pwd.lock";

/// How long it is until we look again whether the lock is free.
const PAUSE: Duration = Duration::from_millis(2);

/// The most that is read of one of the files, in bytes: two million users.
const LARGEST: u64 = 256 * 1024 * 1024;

/// Where our own threads wait for each other: only one of them polls.
static QUEUE: Queue = Queue::new();

/// The lock, until it is dropped.
#[derive(Debug)]
pub struct AccountsLock {
    /// None where `/etc` is read-only, or is not there.
    file: Option<OwnedFd>,
    _turn: Turn<'static>,
}

/// Takes the lock of lckpwdf(3), a write lock on `/etc/.pwd.lock`, which is made with mode 0600 if
/// it is missing; waits `deadline` for it at most.
///
/// It is a lock of the open file description (fcntl(2)): as exclusive as that of lckpwdf(3), but
/// not lost when another thread opens and closes the file. Where `/etc` is read-only or is not
/// there nobody adds users, and the guard holds nothing.
///
/// # Errors
/// `ETIMEDOUT`, with a subject that says which process has it; those of openat(2) and fcntl(2).
pub fn lock_accounts(deadline: Duration) -> SysResult<AccountsLock> {
    lock_in(ETC, &QUEUE, deadline)
}

fn lock_in(etc: &str, queue: &'static Queue, deadline: Duration) -> SysResult<AccountsLock> {
    let until = Instant::now().checked_add(deadline);
    let path = format!("{etc}/{LOCK}");
    let turn = queue
        .enter(until)
        .ok_or(Errno::TIMEDOUT)
        .during("fcntl", format_args!("{path}, for which others wait here"))?;
    let Some(file) = open_lock(etc)? else {
        return Ok(AccountsLock {
            file: None,
            _turn: turn,
        });
    };
    loop {
        match control(&file, libc::F_OFD_SETLK, libc::F_WRLCK) {
            Ok(_) => break,
            Err(Errno::AGAIN | Errno::ACCESS | Errno::INTR) => {}
            Err(errno) => return Err(errno).during("fcntl", path),
        }
        if left(until).is_zero() {
            let holder = holder(&file);
            return Err(Errno::TIMEDOUT).during("fcntl", format_args!("{path}, held by {holder}"));
        }
        std::thread::sleep(PAUSE.min(left(until)));
    }
    Ok(AccountsLock {
        file: Some(file),
        _turn: turn,
    })
}

impl Drop for AccountsLock {
    fn drop(&mut self) {
        // To close it is not enough: a child made meanwhile has a copy of the descriptor, and the
        // lock stays as long as any copy does.
        if let Some(file) = &self.file
            && let Err(error) = control(file, libc::F_OFD_SETLK, libc::F_UNLCK)
        {
            tracing::warn!(%error, "unlocking {ETC}/{LOCK}");
        }
    }
}

/// The lock's file; `None` where it cannot be because nobody can add users.
fn open_lock(etc: &str) -> SysResult<Option<OwnedFd>> {
    let nobody_adds = |errno| matches!(errno, Errno::NOENT | Errno::ROFS);
    let etc = match open_trusted(etc) {
        Err(error) if nobody_adds(error.errno) => return Ok(None),
        etc => etc?,
    };
    let flags = OFlags::WRONLY
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    match openat(&etc, LOCK, flags, Mode::RUSR | Mode::WUSR) {
        Err(errno) if nobody_adds(errno) => Ok(None),
        file => file.map(Some).during("openat", LOCK),
    }
}

/// Asks for, gives back or inquires about a lock on the whole file. Gives what the kernel left in
/// the structure: the kind of the lock and its holder.
fn control(file: &OwnedFd, command: libc::c_int, kind: libc::c_int) -> Result<Held, Errno> {
    // SAFETY: plain numbers, for which zeros are a value: the whole file, and for locks of open
    // file descriptions no process.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::c_short::try_from(kind).map_err(|_| Errno::INVAL)?;
    // SAFETY: the descriptor is open and these commands take a pointer to this structure.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) };
    match answer {
        -1 => Err(last_error()),
        _ => Ok(Held {
            kind: lock.l_type.into(),
            pid: lock.l_pid,
        }),
    }
}

/// A lock that the kernel told of.
struct Held {
    kind: libc::c_int,
    pid: libc::pid_t,
}

/// Who has the lock, in words.
fn holder(file: &OwnedFd) -> String {
    match control(file, libc::F_OFD_GETLK, libc::F_WRLCK) {
        Ok(Held { kind, .. }) if kind == libc::F_UNLCK => "somebody until just now".into(),
        Ok(Held { pid: -1, .. }) => "an open file description (see /proc/locks)".into(),
        Ok(Held { pid: 0, .. }) => "a process of another PID namespace".into(),
        Ok(Held { pid, .. }) => {
            let name = Proc::open()
                .ok()
                .and_then(|mut proc| proc.read(&format!("{pid}/comm")).ok());
            let name = name.unwrap_or_else(|| "ended meanwhile".into());
            // Its holder chose the name.
            format!("process {pid} ({})", name.trim_end().escape_debug())
        }
        Err(errno) => format!("a process that cannot be told: {errno}"),
    }
}

fn left(until: Option<Instant>) -> Duration {
    until.map_or(Duration::MAX, |until| {
        until.saturating_duration_since(Instant::now())
    })
}

/// Lets one thread in at a time.
#[derive(Debug)]
struct Queue {
    taken: Mutex<bool>,
    freed: Condvar,
}

/// The right of one thread to ask for the lock, or to have it.
#[derive(Debug)]
struct Turn<'a>(&'a Queue);

impl Queue {
    const fn new() -> Self {
        Self {
            taken: Mutex::new(false),
            freed: Condvar::new(),
        }
    }

    /// Waits for a turn; `None` if it does not come in time.
    fn enter(&self, until: Option<Instant>) -> Option<Turn<'_>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            let left = left(until);
            if left.is_zero() {
                return None;
            }
            let waited = self.freed.wait_timeout(taken, left);
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.freed.notify_one();
    }
}

/// Tells in words whether `/etc/passwd` or `/etc/group` says now that the name, or the number as
/// UID or GID, is somebody's. For a name and a number that nobody had when NSS was asked.
///
/// The lines are read as libc does (passwd(5), group(5)): comments, lines for NIS (`+`, `-`) and
/// lines without all their numbers say nothing. A file that is not there has no users.
///
/// # Errors
/// Those of openat(2) and read(2); `EFBIG` above 256 MiB; `EINVAL` for what is no file.
pub fn local_conflict(name: &str, number: u32) -> SysResult<Option<String>> {
    conflict_in(ETC, LARGEST, name, number)
}

fn conflict_in(etc: &str, largest: u64, name: &str, number: u32) -> SysResult<Option<String>> {
    for (file, what, numbers) in [("passwd", "user", 2), ("group", "group", 1)] {
        let found = find(etc, file, largest, |line| {
            let (owner, id) = record(line, numbers)?;
            let owner_is_it = owner == name.as_bytes();
            (owner_is_it || id == number).then(|| {
                let owner = String::from_utf8_lossy(owner).escape_debug().to_string();
                if owner_is_it {
                    format!("{etc}/{file} has a {what} {owner} now, with the number {id}")
                } else {
                    format!("{etc}/{file} gives {id} to the {what} {owner} now")
                }
            })
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// What `look` makes of the first line of the file of which it makes anything.
fn find<T>(
    etc: &str,
    name: &str,
    largest: u64,
    look: impl Fn(&[u8]) -> Option<T>,
) -> SysResult<Option<T>> {
    let path = format!("{etc}/{name}");
    // A link is followed: what libc reads is what counts.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = open_trusted(etc)
        .and_then(|etc| openat(etc, name, flags, Mode::empty()).during("openat", &path));
    let file = match opened {
        Err(error) if error.errno == Errno::NOENT => return Ok(None),
        file => file?,
    };
    if status(&file)?.kind != FileType::RegularFile {
        return Err(Errno::INVAL).during("openat", format_args!("{path}, which is no file"));
    }
    let mut reader = BufReader::with_capacity(64 * 1024, File::from(file).take(largest));
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).during("read", &path)? > 0 {
        let found = look(line.trim_ascii_end());
        if found.is_some() {
            return Ok(found);
        }
        line.clear();
    }
    if reader.get_ref().limit() == 0 {
        return Err(Errno::FBIG).during("read", path);
    }
    Ok(None)
}

/// Name and number of a line `NAME:PASSWORD:NUMBER…`, in which `numbers` fields must be numbers.
fn record(line: &[u8], numbers: usize) -> Option<(&[u8], u32)> {
    let line = line.trim_ascii_start();
    if matches!(line.first(), None | Some(b'#' | b'+' | b'-')) {
        return None;
    }
    let mut fields = line.split(|byte| *byte == b':');
    let name = fields.next()?;
    fields.next()?;
    let number = number(fields.next()?)?;
    for _ in 1..numbers {
        self::number(fields.next()?)?;
    }
    Some((name, number))
}

/// A number as strtoul(3) reads it, with blanks or `+` before it.
fn number(field: &[u8]) -> Option<u32> {
    let field = field.trim_ascii_start();
    let digits = field.strip_prefix(b"+").unwrap_or(field);
    // An empty field is none; `parse` alone would take a second "+".
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
