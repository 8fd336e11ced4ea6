//! `dynuser run --wait`: stand before the service as if one were it, and end as it ends.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;

use crate::failure::{Failure, OrFail, Stage};
use crate::sys::process_wait::{Ended, reap, send_signal};
use crate::sys::signals::Signals;

/// Waits for the child behind `pidfd` and passes on the signals that are sent to this process.
///
/// Signals of the terminal's keys are not passed on: the kernel sends those to the whole foreground group, and the child is in
/// it. It would get each Ctrl-C twice, and many programs take the second for "at once, without cleaning up".
pub fn wait_for(child: BorrowedFd<'_>, signals: &Signals) -> Result<Ended, Failure> {
    wait(child, signals, false)
}

/// The same for a child in a session of its own, which no key of the terminal reaches: those signals are passed on as well.
///
/// # Errors
/// As [`wait_for`].
pub fn wait_for_one_apart(child: BorrowedFd<'_>, signals: &Signals) -> Result<Ended, Failure> {
    wait(child, signals, true)
}

fn wait(child: BorrowedFd<'_>, signals: &Signals, apart: bool) -> Result<Ended, Failure> {
    loop {
        let mut watched = [
            PollFd::new(&child, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
        ];
        retry_on_intr(|| poll(&mut watched, None)).or_fail(Stage::Exec, "waiting")?;
        let [ended, arrived] = watched.map(|one| !one.revents().is_empty());
        if arrived {
            while let Some(received) = signals.next().or_fail(Stage::Exec, "waiting")? {
                if apart || received.by_process {
                    send_signal(child, received.signal).or_fail(Stage::Exec, "waiting")?;
                }
            }
        }
        if ended {
            return reap(child).or_fail(Stage::Exec, "waiting");
        }
    }
}
