//! Processes that were there at an earlier look, kept open.
//!
//! Opening a process is what a look at it costs most of (5 µs, five to six times what asking again
//! costs), and a host has hundreds that stay. Both descriptors stand for this one process, and say so
//! when it has ended, whoever has its number by then.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{LazyLock, Mutex, MutexGuard, TryLockError};

use super::procfs::Proc;

/// How many are kept, two descriptors each: half of what a process may usually have open.
const MOST: usize = 256;

/// Links of `/proc/PID/task` of a process with one thread: two, and one for each thread.
pub(crate) const ONE_THREAD: u64 = 3;

/// Them, by number.
#[derive(Default)]
pub(crate) struct Known(HashMap<u32, Process>);

struct Process {
    pidfd: OwnedFd,
    /// `/proc/PID/task`, which counts the threads.
    tasks: OwnedFd,
}

impl Known {
    /// Those that this program keeps. Nothing while another thread uses them: to wait would take
    /// longer than to do without.
    pub(crate) fn ours() -> Option<MutexGuard<'static, Self>> {
        static OURS: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
        match OURS.try_lock() {
            Ok(known) => Some(known),
            Err(TryLockError::Poisoned(known)) => Some(known.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Its pidfd.
    pub(crate) fn pidfd(&self, pid: u32) -> Option<&OwnedFd> {
        self.0.get(&pid).map(|process| &process.pidfd)
    }

    /// How many links the folder of its threads has; nothing once it has ended.
    pub(crate) fn links(&self, pid: u32) -> Option<u64> {
        let stat = rustix::fs::fstat(&self.0.get(&pid)?.tasks).ok()?;
        // The type differs between architectures.
        #[allow(clippy::useless_conversion)]
        let links = u64::from(stat.st_nlink);
        (links >= ONE_THREAD).then_some(links)
    }

    /// Keeps a process. That it cannot be is no error: it is opened anew next time.
    pub(crate) fn keep(&mut self, proc: &Proc, pid: u32, pidfd: OwnedFd) {
        if self.0.len() < MOST
            && let Ok(tasks) = proc.pin(&format!("{pid}/task"))
        {
            self.0.insert(pid, Process { pidfd, tasks });
        }
    }

    /// It has ended.
    pub(crate) fn forget(&mut self, pid: u32) {
        self.0.remove(&pid);
    }

    /// Forgets all that are not among `pids`, which the kernel gives in order. (Were it otherwise,
    /// some would only be opened anew.)
    pub(crate) fn keep_only(&mut self, pids: &[u32]) {
        self.0.retain(|pid, _| pids.binary_search(pid).is_ok());
    }
}
