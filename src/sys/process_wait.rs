//! How a child process ended.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::io::Errno;
use rustix::process::{Signal as RustixSignal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use super::{During, SysResult};

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Exited(u8),
    /// A signal killed it.
    Signaled {
        /// The number of the signal.
        signal: i32,
        /// Whether it left a core dump.
        core: bool,
    },
}

impl Ended {
    /// The status as a shell tells it: the child's own, or 128 and the number of the signal.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::Signaled { signal, .. } => {
                u8::try_from(signal.saturating_add(128)).unwrap_or(u8::MAX)
            }
        }
    }
}

/// Waits for the end of the child behind `pidfd`, and takes its status.
pub fn reap(pidfd: BorrowedFd<'_>) -> SysResult<Ended> {
    const CALL: &str = "waitid";
    let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED))
        .during(CALL, "child")?
        .ok_or(Errno::CHILD)
        .during(CALL, "child")?;
    if let Some(signal) = status.terminating_signal() {
        let core = status.dumped();
        return Ok(Ended::Signaled { signal, core });
    }
    status
        .exit_status()
        .and_then(|code| u8::try_from(code).ok())
        .map(Ended::Exited)
        .ok_or(Errno::INVAL)
        .during(CALL, "child")
}

/// Whether the process behind `pidfd` has ended, without reaping it.
///
/// # Errors
/// Those of poll(2).
pub fn has_ended(pidfd: BorrowedFd<'_>) -> SysResult<bool> {
    let mut watched = [PollFd::new(&pidfd, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::io::retry_on_intr(|| poll(&mut watched, Some(&now)))
        .map(|ready| ready > 0)
        .during("poll", "pidfd")
}

/// Waits until the process behind `pidfd` has ended, at most so long, or for ever. Gives whether it has; nothing is reaped.
///
/// # Errors
/// Those of poll(2).
pub fn wait_for_end(pidfd: BorrowedFd<'_>, patience: Option<Duration>) -> SysResult<bool> {
    let end = patience.and_then(|patience| Instant::now().checked_add(patience));
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut watched = [PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut watched, timeout.as_ref()) {
            // The wait begins anew with what is left of it.
            Err(Errno::INTR) => {}
            ready => return ready.map(|ready| ready > 0).during("poll", "pidfd"),
        }
    }
}

/// Sends a signal to the process behind `pidfd`, and to no other that got its number.
///
/// One that has ended, or that has become somebody whom we may not signal, is no error: nobody is left to
/// obey, and a wait must not end over it.
#[allow(clippy::as_conversions)]
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: Signal) -> SysResult<()> {
    // The same number in another crate's type.
    let same = RustixSignal::from_named_raw(signal as i32).ok_or(Errno::INVAL);
    match same.and_then(|same| pidfd_send_signal(pidfd, same)) {
        Err(Errno::SRCH | Errno::PERM) => Ok(()),
        other => other.during("pidfd_send_signal", signal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_a_shells() {
        assert_eq!(Ended::Exited(3).exit_status(), 3);
        let killed = |signal| Ended::Signaled { signal, core: true };
        assert_eq!(killed(15).exit_status(), 143);
        assert_eq!(killed(64).exit_status(), 192);
    }
}
