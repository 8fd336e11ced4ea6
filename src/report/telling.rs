//! Lines on standard error, or wherever they are told instead.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use crate::failure::{Failure, OrFail, Stage};
use crate::sys::socket::send_now;

/// Tells a failure, once.
pub fn failure(failure: &Failure) {
    say(&format!("dynuser: {failure}"));
}

/// Who tells it in our place.
static TELLER: OnceLock<OwnedFd> = OnceLock::new();

/// Has everything that is said from here on told by whoever reads at the other end of this socket, a message for each
/// line: where many processes speak, one of them decides how much is too much.
pub fn say_to(socket: OwnedFd) {
    if TELLER.set(socket).is_err() {
        tracing::debug!("it is told already");
    }
}

/// What standard error was.
static LOG: OnceLock<OwnedFd> = OnceLock::new();

/// Goes on to speak where standard error is now: it is about to become a connection, and whoever is at the other end is
/// told nothing of this host.
///
/// # Errors
/// Of [`Stage::StandardError`].
pub fn keep_standard_error() -> Result<(), Failure> {
    // Above 2: those below are put in place one by one.
    let copy = rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 3);
    let copy = match copy {
        // It is closed, and nobody is told.
        Err(rustix::io::Errno::BADF) => return Ok(()),
        copy => copy.or_fail(Stage::StandardError, "dup")?,
    };
    if LOG.set(copy).is_err() {
        tracing::debug!("it is kept already");
    }
    Ok(())
}

/// Longest line that is told by others, in bytes.
pub const LONGEST_LINE: usize = 4096;

/// Tells something on standard error. There is nobody to tell when that is closed.
pub fn say(line: &str) {
    if let Some(teller) = TELLER.get() {
        let bytes = line.as_bytes();
        let bytes = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
        match send_now(teller, bytes, &[]) {
            Ok(_) => return,
            // It has more than enough to tell.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            // It has ended.
            Err(error) => tracing::debug!(%error, "nobody tells it"),
        }
    }
    let told = match LOG.get() {
        Some(log) => tell_log(log, line),
        None => writeln!(std::io::stderr(), "{line}"),
    };
    if let Err(error) = told {
        tracing::debug!(%error, line);
    }
}

fn tell_log(log: &OwnedFd, line: &str) -> std::io::Result<()> {
    let line = format!("{line}\n");
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(log, rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}
