//! The name service cache daemon, nscd(8), and what speaks its protocol (unscd).
//!
//! It keeps answers of NSS, those that say "there is none" too: a new user would not be found for
//! 20 seconds, and one that is gone would be found for ten minutes, by us as well. So it is told
//! to forget both databases whenever a user comes or goes.
//!
//! The answer to a request to forget is a 32-bit error number. What caches nothing (nsncd) closes the
//! connection instead.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::socket::{connect_now, credentials, send_now};
use super::{During, SysResult};
use crate::nscd_protocol::{Question, Said, invalidation};

/// Where it listens. `/var/run` is a link to `/run` nearly everywhere.
const SOCKETS: [&str; 2] = ["/run/nscd/socket", "/var/run/nscd/socket"];

/// The databases that a user is in.
const DATABASES: [&str; 2] = ["passwd", "group"];

/// Longest answer that is read, in bytes: more than a user of ours has.
const LONGEST_ANSWER: usize = 1 << 16;

/// How long it may take in all.
const DEADLINE: Duration = Duration::from_secs(1);

/// Makes nscd forget all users and groups, and waits until it has: at most a second. Nobody there
/// is nothing to do, and costs one or two failed connect(2). Gives whether anybody is.
///
/// It blocks meanwhile: do not call it with a lock that others need.
///
/// # Errors
/// `EPERM` if somebody else than root listens; `ETIMEDOUT` if it does not answer, `EAGAIN` if it
/// has more callers than it can take; what it answered; those of the calls.
pub fn invalidate() -> SysResult<bool> {
    let us = std::process::id();
    for path in SOCKETS {
        if invalidate_at(path, us, DEADLINE)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Asks nscd, and waits for what it says, `patience` at most: `None` if nobody is there.
///
/// # Errors
/// As [`invalidate`]; `EMSGSIZE` for a longer answer than a user of ours has.
pub fn ask(question: &Question, patience: Duration) -> SysResult<Option<Said>> {
    let us = std::process::id();
    for path in SOCKETS {
        if let Some(said) = ask_at(path, us, question, patience)? {
            return Ok(Some(said));
        }
    }
    Ok(None)
}

fn ask_at(path: &str, us: u32, question: &Question, patience: Duration) -> SysResult<Option<Said>> {
    let deadline = Instant::now().checked_add(patience);
    let Some(socket) = send(path, us, &question.request())? else {
        return Ok(None);
    };
    let answer = read_all(socket, deadline).during("nscd", format_args!("{path}, {question:?}"))?;
    Ok(Some(question.said(&answer)))
}

/// Reads to the end of the connection.
fn read_all(socket: OwnedFd, deadline: Option<Instant>) -> Result<Vec<u8>, Errno> {
    let mut socket = File::from(socket);
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        wait_readable(&socket, deadline)?;
        match socket.read(&mut piece) {
            Ok(0) => return Ok(answer),
            Ok(_) if answer.len() > LONGEST_ANSWER => return Err(Errno::MSGSIZE),
            Ok(more) => answer.extend(piece.iter().take(more)),
            Err(error) => match Errno::from_io_error(&error).unwrap_or(Errno::IO) {
                Errno::AGAIN | Errno::INTR => {}
                // It has said all it wanted, and left something of ours unread.
                Errno::CONNRESET => return Ok(answer),
                errno => return Err(errno),
            },
        }
    }
}

/// The same at one place. Tells whether anybody is there.
fn invalidate_at(path: &str, us: u32, patience: Duration) -> SysResult<bool> {
    let deadline = Instant::now().checked_add(patience);
    let mut asked = Vec::new();
    // Both are asked before an answer is waited for: one that is slow still gets both.
    for database in DATABASES {
        match send(path, us, &invalidation(database))? {
            None => return Ok(false),
            Some(socket) => asked.push((database, socket)),
        }
    }
    asked.into_iter().try_for_each(|(database, socket)| {
        answer(socket, deadline).during("nscd", format_args!("{path}, invalidate {database}"))
    })?;
    Ok(true)
}

/// Sends a request; `None` if nobody is there, or the process `us` is that: we keep nothing.
fn send(path: &str, us: u32, request: &[u8]) -> SysResult<Option<OwnedFd>> {
    let Some(socket) = connect_now(path)? else {
        return Ok(None);
    };
    // Who it was when it began to listen: unscd has given up being root since.
    let (pid, uid) = credentials(&socket)?;
    if uid != 0 {
        return Err(Errno::PERM).during("connect", format_args!("{path}, which is not root's"));
    }
    if u32::try_from(pid).is_ok_and(|pid| pid == us) {
        return Ok(None);
    }
    let sent = send_now(&socket, request, &[]).during("sendmsg", path)?;
    if sent != request.len() {
        return Err(Errno::AGAIN).during("sendmsg", path);
    }
    Ok(Some(socket))
}

/// Waits for the answer: the error number 0, or the end of the connection, which is all that old
/// ones, unscd and those without a cache say.
fn answer(socket: OwnedFd, deadline: Option<Instant>) -> Result<(), Errno> {
    let mut socket = File::from(socket);
    let mut number = [0_u8; 4];
    let mut have = 0;
    while let Some(room) = number.get_mut(have..).filter(|room| !room.is_empty()) {
        wait_readable(&socket, deadline)?;
        match socket.read(room) {
            Ok(0) if have == 0 => return Ok(()),
            Ok(0) => return Err(Errno::PIPE),
            Ok(more) => have = usize::saturating_add(have, more),
            // It ended, and left our request unread: what it knew is gone as well.
            Err(error) => match Errno::from_io_error(&error).unwrap_or(Errno::IO) {
                Errno::AGAIN | Errno::INTR => {}
                Errno::CONNRESET => return Ok(()),
                errno => return Err(errno),
            },
        }
    }
    match i32::from_ne_bytes(number) {
        0 => Ok(()),
        // Linux has error numbers up to 4095: anything else is no nscd.
        number @ 1..4096 => Err(Errno::from_raw_os_error(number)),
        _ => Err(Errno::BADMSG),
    }
}

fn wait_readable(socket: &File, deadline: Option<Instant>) -> Result<(), Errno> {
    loop {
        let left = deadline.map_or(Duration::ZERO, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        let timeout = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Err(Errno::TIMEDOUT),
            Err(Errno::INTR) => {}
            done => return done.map(drop),
        }
    }
}

#[cfg(test)]
mod tests;
