//! Signals, read one by one instead of interrupting.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{self, SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{During, SysResult};

/// What a person or a supervisor sends to a program in order to reach the service behind it.
pub const FORWARDED: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
];

/// Signals that are held back from the calling thread and read from a descriptor.
///
/// Made before the child is forked, so that none is lost between. The child calls
/// [`restore_original`](Self::restore_original) before it executes anything: a mask survives exec.
#[derive(Debug)]
pub struct Signals {
    descriptor: SignalFd,
    original: SigSet,
}

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// Whether a process sent it (kill, sigqueue, tgkill), and not the kernel, which sends the signals of the
    /// terminal's keys and of its end to a whole process group.
    pub by_process: bool,
}

/// Holds back signals and gives what they are read from, with the mask from before. SIGCHLD gets its default action.
fn hold_back(held: &SigSet) -> SysResult<(SignalFd, SigSet)> {
    // SAFETY: the default action is no code of ours.
    unsafe { signal::signal(Signal::SIGCHLD, SigHandler::SigDfl) }
        .during("sigaction", "SIGCHLD")?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let descriptor = SignalFd::with_flags(held, flags).during("signalfd", "")?;
    let original = held
        .thread_swap_mask(SigmaskHow::SIG_BLOCK)
        .during("sigprocmask", "")?;
    Ok((descriptor, original))
}

impl Signals {
    /// Holds back [`FORWARDED`] and `more`. Call it while the process has one thread.
    ///
    /// SIGCHLD gets its default action: a caller who ignores it has his children's exit statuses thrown away by the
    /// kernel, and that is inherited. The child inherits the default.
    pub fn block(more: &[Signal]) -> SysResult<Self> {
        let mut held = SigSet::empty();
        held.extend(FORWARDED);
        held.extend(more.iter().copied());
        let (descriptor, original) = hold_back(&held)?;
        Ok(Self {
            descriptor,
            original,
        })
    }

    /// The next signal that has arrived, if there is one.
    pub fn next(&self) -> SysResult<Option<Received>> {
        loop {
            let Some(info) = self.descriptor.read_signal().during("read", "signalfd")? else {
                return Ok(None);
            };
            let signal = i32::try_from(info.ssi_signo)
                .map_err(|_| Errno::EINVAL)
                .and_then(Signal::try_from);
            if let Ok(signal) = signal {
                return Ok(Some(Received {
                    signal,
                    by_process: info.ssi_code <= 0,
                }));
            }
        }
    }

    /// Gives the calling thread the mask from before: for the child.
    pub fn restore_original(&self) -> SysResult<()> {
        self.original.thread_set_mask().during("sigprocmask", "")
    }
}

impl Drop for Signals {
    /// Nobody reads them from here on: they act again as they did before.
    fn drop(&mut self) {
        if let Err(error) = self.restore_original() {
            tracing::warn!(%error);
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Every signal that can be held back and says nothing about this process itself: for the first process of a
/// PID namespace, to which the kernel sends none whose action is the default one (pid_namespaces(7)).
#[derive(Debug)]
pub struct EverySignal {
    descriptor: SignalFd,
    original: SigSet,
}

/// What the kernel sends to a process for a fault of its own.
const FAULTS: [Signal; 7] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGSYS,
    Signal::SIGABRT,
];

impl EverySignal {
    /// Holds them back, real-time signals too. SIGCHLD gets its default action, as in [`Signals::block`].
    ///
    /// # Errors
    /// Those of sigaction(2), signalfd(2) and sigprocmask(2).
    pub fn block() -> SysResult<Self> {
        let mut held = SigSet::all();
        FAULTS.into_iter().for_each(|fault| held.remove(fault));
        let (descriptor, original) = hold_back(&held)?;
        Ok(Self {
            descriptor,
            original,
        })
    }

    /// The number of the next signal that has arrived, and whether a process sent it, as in [`Received`].
    ///
    /// # Errors
    /// Those of read(2).
    pub fn next(&self) -> SysResult<Option<(u8, bool)>> {
        let info = self.descriptor.read_signal().during("read", "signalfd")?;
        Ok(info.map(|info| {
            let number = u8::try_from(info.ssi_signo).unwrap_or_default();
            (number, info.ssi_code <= 0)
        }))
    }

    /// Gives the calling thread the mask from before: for the child.
    ///
    /// # Errors
    /// Those of sigprocmask(2).
    pub fn restore_original(&self) -> SysResult<()> {
        self.original.thread_set_mask().during("sigprocmask", "")
    }
}

impl AsFd for EverySignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
