//! Ending everything that runs as a UID.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Signal;

use super::child::{self, Credentials};
use super::process::{Scan, Task, Threads, holding, pidfd};
use super::{During, SysError, SysResult, last_error};

/// Sends `signal` to every process that has `uid` as its real or saved UID, at once: kill(2) with -1, from a child
/// with the rights of `uid` and no others. None of them can stop or end that child first,
/// nor escape by forking: the kernel holds the list of tasks while it goes through it.
///
/// A process that has `uid` only as its effective or file-system UID is not reached: [`holding`] finds it.
///
/// # Errors
///
/// `EINVAL` for `uid` 0 and `u32::MAX`; `EBUSY` if processes have the UIDs that the child hides behind; what the
/// child met. That there was nobody to signal is no error.
pub fn end_all(uid: u32, signal: Signal) -> SysResult<()> {
    // Two such children at the same time would have the same real UID and end each other.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last = SysError {
        call: "kill",
        subject: format!("-1 as {uid}: no unused UID to hide behind"),
        errno: Errno::BUSY,
    };
    let unused = wait_for_strangers(uid)?;
    let tries = TRIES.saturating_mul(unused.len());
    for stranger in unused.iter().copied().cycle().take(tries) {
        let credentials = Credentials::out_of_reach(uid, stranger)?;
        match child::run(credentials, signal_everybody, &signal.as_raw()) {
            Ok(answer) => return answer.during("kill", format_args!("-1 as {uid}")),
            // They have filled the table of processes: one by one until there is room for the child.
            Err(error) if signal == Signal::KILL && error.errno == Errno::AGAIN => {
                // Stopped first, twice: what those not yet stopped have forked meanwhile, too.
                for signal in [Signal::STOP, Signal::STOP, Signal::KILL] {
                    for process in holding(uid)? {
                        signal_one(process.pid, uid, signal)?;
                    }
                }
                last = error;
            }
            // Not mapped in our user namespace.
            Err(error) if error.call == "setresuid" && error.errno == Errno::INVAL => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// UIDs that nobody is given: the last one of all, and the last one of a container with 65,536.
const STRANGERS: [u32; 2] = [4_294_967_294, 65_535];

/// How long such children of other daemons may take, and how often it is looked.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(1);

/// How often room for the child is made, in a table of processes that somebody keeps full.
const TRIES: usize = 16;

/// Signals one process if it still carries `uid`.
fn signal_one(pid: u32, uid: u32, signal: Signal) -> SysResult<()> {
    let task = Task { pid, tid: pid };
    let Ok(pidfd) = pidfd(task) else {
        return Ok(());
    };
    // Looked at after it is pinned, so that no other process gets it that has the number now.
    let [real, _, saved, _] = match Scan::new()?.ids(task)? {
        Some(ids) => ids.uids,
        None => return Ok(()),
    };
    if real != uid && saved != uid {
        return Ok(());
    }
    match rustix::process::pidfd_send_signal(&pidfd, signal) {
        Err(Errno::SRCH) => Ok(()),
        sent => sent.during("pidfd_send_signal", pid),
    }
}

/// The same, after a while if need be: a child of a daemon that was killed meanwhile goes on to its end,
/// which is near.
fn wait_for_strangers(uid: u32) -> SysResult<Vec<u32>> {
    let deadline = Instant::now().checked_add(PATIENCE);
    loop {
        let unused = unused_strangers(uid)?;
        if !unused.is_empty() || deadline.is_none_or(|deadline| Instant::now() >= deadline) {
            return Ok(unused);
        }
        std::thread::sleep(PAUSE);
    }
}

/// The strangers that no process has as real or saved UID: `kill(-1)` would reach it too.
fn unused_strangers(uid: u32) -> SysResult<Vec<u32>> {
    let mut unused: Vec<u32> = STRANGERS.into_iter().filter(|it| *it != uid).collect();
    // The kernel compares with the credentials of each process's first thread.
    Scan::new()?.living(Threads::First, |scan, task| {
        if let Some(ids) = scan.ids(task)? {
            let [real, _, saved, _] = ids.uids;
            // A zombie can be harmed by nothing, and may stay for ever: such a child's, whose daemon was
            // killed, where PID 1 reaps nobody.
            let theirs = |stranger: &u32| *stranger == real || *stranger == saved;
            if unused.iter().any(theirs) && scan.living_name(task)?.is_some() {
                unused.retain(|stranger| !theirs(stranger));
            }
        }
        Ok(false)
    })?;
    Ok(unused)
}

/// Runs in the child. `kill(-1)` spares PID 1 and the caller itself.
fn signal_everybody(signal: &i32) -> Result<(), Errno> {
    // SAFETY: takes two numbers.
    if unsafe { libc::kill(-1, *signal) } == 0 {
        return Ok(());
    }
    match last_error() {
        Errno::SRCH => Ok(()),
        errno => Err(errno),
    }
}
