//! `dynuser run --pty`: the service gets a terminal of its own, and this process carries the bytes.
//!
//! Before the fork: [`Session::open`]. In the child: [`Session::attach`]. In the parent: [`Session::relay`].
//!
//! The parent keeps the slave open while the child lives. So reading the master fails only when the session is over, not when
//! the service happens to have closed its streams, and the state of the input queue can be asked for. When the child, who is the
//! leader of the session, ends, the kernel hangs the terminal up for whoever still holds it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};

use crate::failure::{Failure, OrFail, Stage};
use crate::sys::process_wait::{Ended, reap, send_signal};
use crate::sys::signals::{Received, Signals};
use crate::sys::terminal::{self, Pty, RawMode};
use crate::sys::{During, SysResult};

/// How long until we look again at what poll cannot tell: whether a reader of the slave waits in vain for input that has
/// ended, and whether somebody has opened a slave again that was closed everywhere.
const PAUSE: Duration = Duration::from_millis(50);

/// After the child's end at most this much is read: more than the kernel holds for a terminal, so that only what
/// somebody goes on writing is cut off.
const LAST_WORDS: usize = 1 << 20;

/// A terminal for one service, and the signals of its user.
#[derive(Debug)]
pub struct Session {
    pty: Pty,
    signals: Signals,
}

impl Session {
    /// Opens the terminal, with the window size and the modes of the caller's, and gives it to `owner`.
    ///
    /// From here on signals are held back until [`relay`](Self::relay) reads them.
    pub fn open(owner: Option<u32>) -> Result<Self, Failure> {
        Self::open_for(owner).or_fail(Stage::Terminal, "pty")
    }

    fn open_for(owner: Option<u32>) -> SysResult<Self> {
        let signals = Signals::block(&[Signal::SIGWINCH, Signal::SIGPIPE])?;
        let pty = Pty::open()?;
        let stdin = rustix::stdio::stdin();
        if terminal::is_terminal(stdin) {
            terminal::copy_modes(stdin, pty.slave.as_fd())?;
        } else {
            // The input is in a file or comes from a program: nobody needs to see it as he types.
            terminal::set_no_echo(pty.slave.as_fd())?;
        }
        copy_window_size(&pty);
        if let Some(uid) = owner {
            terminal::give_to(pty.slave.as_fd(), uid)?;
        }
        Ok(Self { pty, signals })
    }

    /// In the child: the terminal becomes its controlling terminal and its standard streams, and signals arrive as they did
    /// before [`open`](Self::open).
    pub fn attach(self) -> Result<(), Failure> {
        let Self { pty, signals } = self;
        terminal::become_session_leader_with(pty.slave)
            .and_then(|()| signals.restore_original())
            .or_fail(Stage::Terminal, "pty")
    }

    /// In the parent: carries bytes, window sizes and signals until the child behind `pidfd` ends.
    ///
    /// The caller's terminal is raw for that time, if standard input is one, and as it was when this returns, however it returns.
    pub fn relay(self, pidfd: BorrowedFd<'_>) -> Result<Ended, Failure> {
        let stdin = rustix::stdio::stdin();
        let raw = terminal::is_terminal(stdin).then(|| RawMode::enter(stdin));
        let raw = raw.transpose().or_fail(Stage::Terminal, "standard input")?;
        let relay = Relay {
            raw,
            output: Output::open(),
            pty: Some(self.pty),
            signals: self.signals,
            child: Some(pidfd),
            to_child: Vec::new(),
            input_ended: None,
            all_closed: false,
            left: LAST_WORDS,
        };
        relay.run().or_fail(Stage::Terminal, "pty")?;
        reap(pidfd).or_fail(Stage::Terminal, "waiting")
    }
}

/// Gives the service's terminal the size of the caller's window. Where there is no window it stays as it is.
fn copy_window_size(pty: &Pty) {
    let to = pty.slave.as_fd();
    terminal::copy_window_size(rustix::stdio::stdout(), to)
        .or_else(|_| terminal::copy_window_size(rustix::stdio::stdin(), to))
        .unwrap_or_default();
}

/// The caller's standard output.
struct Output {
    /// Our own way to it, if it is a terminal that could be opened again.
    own: Option<OwnedFd>,
    waiting: Vec<u8>,
}

impl Output {
    fn open() -> Self {
        let stdout = rustix::stdio::stdout();
        let own = terminal::is_terminal(stdout).then(|| terminal::reopen_without_waiting(stdout));
        Self {
            own: own.flatten(),
            waiting: Vec::new(),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.own {
            Some(own) => own.as_fd(),
            None => rustix::stdio::stdout(),
        }
    }

    fn write(&mut self) -> Result<(), Errno> {
        match rustix::io::write(self.fd(), &self.waiting) {
            Ok(count) => {
                self.waiting.drain(..count);
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What poll has something to say about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Child,
    Stdin,
    Stdout,
    FromMaster,
    ToMaster,
}

struct Relay<'a> {
    // First, so that the caller's terminal is put back before anything else is taken down.
    raw: Option<RawMode<'static>>,
    output: Output,
    /// None after a hangup.
    pty: Option<Pty>,
    signals: Signals,
    /// None when it has ended.
    child: Option<BorrowedFd<'a>>,
    to_child: Vec<u8>,
    /// Standard input was a file or a pipe and is at its end; when that was last told to the child.
    input_ended: Option<Instant>,
    /// Nobody had the slave open when we last looked.
    all_closed: bool,
    /// How much may still be read of the master after the child's end.
    left: usize,
}

impl Relay<'_> {
    fn run(mut self) -> SysResult<()> {
        loop {
            let ready = self.wait()?;
            let is = |source| ready.contains(&source);
            if is(Source::Signals) && self.take_signals()? {
                return Ok(());
            }
            if is(Source::Stdout) && self.output.write().is_err() {
                // Nobody reads any more. A program without us in between would have got SIGPIPE.
                self.hang_up();
            }
            if is(Source::ToMaster) {
                self.write_master();
            }
            if is(Source::Stdin) {
                self.read_stdin();
            }
            if is(Source::Child) {
                self.child = None;
            }
            self.read_master();
            if self.child.is_none() && self.output.waiting.is_empty() {
                return Ok(());
            }
            self.tell_end_of_input();
        }
    }

    /// Waits until something can be done. A descriptor with nothing to be done is left out: poll reports a hangup
    /// whether it was asked for or not, and would never wait again.
    fn wait(&self) -> SysResult<Vec<Source>> {
        let (stdin, stdout) = (rustix::stdio::stdin(), self.output.fd());
        let mut watched = Vec::with_capacity(5);
        let mut watch = |source, fd, events| {
            watched.push((source, PollFd::from_borrowed_fd(fd, events)));
        };
        watch(Source::Signals, self.signals.as_fd(), PollFlags::IN);
        if let Some(child) = self.child {
            watch(Source::Child, child, PollFlags::IN);
        }
        if !self.output.waiting.is_empty() {
            watch(Source::Stdout, stdout, PollFlags::OUT);
        }
        if let Some(pty) = &self.pty {
            let master = pty.master.as_fd();
            if self.output.waiting.is_empty() && !self.all_closed {
                watch(Source::FromMaster, master, PollFlags::IN);
            }
            if !self.to_child.is_empty() {
                watch(Source::ToMaster, master, PollFlags::OUT);
            } else if self.child.is_some() && self.input_ended.is_none() {
                watch(Source::Stdin, stdin, PollFlags::IN);
            }
        }
        let (sources, mut fds): (Vec<Source>, Vec<PollFd<'_>>) = watched.into_iter().unzip();
        let timeout = self.patience();
        retry_on_intr(|| poll(&mut fds, timeout.as_ref())).during("poll", "")?;
        let reported = sources.into_iter().zip(fds);
        Ok(reported
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(source, _)| source)
            .collect())
    }

    /// How long to wait at most.
    fn patience(&self) -> Option<Timespec> {
        if self.child.is_none() && self.output.waiting.is_empty() {
            return Some(Timespec::default());
        }
        let looking = self.input_ended.is_some() || self.all_closed;
        let pause = looking && self.pty.is_some();
        pause.then(|| Timespec::try_from(PAUSE).unwrap_or_default())
    }

    /// Acts on the signals that have arrived. `true`: there is nothing more to wait for.
    fn take_signals(&mut self) -> SysResult<bool> {
        while let Some(Received { signal, by_process }) = self.signals.next()? {
            if matches!(signal, Signal::SIGCONT | Signal::SIGWINCH) {
                self.copy_window_size();
            }
            match (signal, self.child) {
                (Signal::SIGPIPE | Signal::SIGWINCH, _) => {}
                // The caller's terminal is gone.
                (Signal::SIGHUP, Some(_)) if !by_process => self.hang_up(),
                (Signal::SIGCONT, child) => {
                    // While we were stopped the shell had the terminal.
                    if let Some(raw) = &mut self.raw {
                        raw.enter_again().unwrap_or_default();
                    }
                    if let Some(child) = child {
                        send_signal(child, signal)?;
                    }
                }
                // Also those of the terminal's keys, which come if only standard input is something else: the
                // child is in a session of its own, and the kernel does not send them to it.
                (_, Some(child)) => send_signal(child, signal)?,
                // It has ended, and whoever should read its last words does not.
                (Signal::SIGUSR1 | Signal::SIGUSR2, None) => {}
                (_, None) => return Ok(true),
            }
        }
        Ok(false)
    }

    fn copy_window_size(&self) {
        if let Some(pty) = &self.pty {
            copy_window_size(pty);
        }
    }

    /// Does to the child what the end of a real terminal does: the kernel sends SIGHUP to it and to its foreground
    /// job, and they read and write no more.
    fn hang_up(&mut self) {
        self.pty = None;
        self.output.waiting.clear();
        self.to_child.clear();
    }

    fn read_stdin(&mut self) {
        match terminal::read_some(rustix::stdio::stdin(), &mut self.to_child) {
            Ok(true) | Err(Errno::AGAIN | Errno::INTR) => {}
            // A raw terminal has no end of input. It has hung up.
            Ok(false) | Err(_) if self.raw.is_some() => self.hang_up(),
            Ok(false) | Err(_) => self.input_ended = Some(Instant::now()),
        }
    }

    /// A terminal cannot be at its end; its readers are told so one by one, with Ctrl-D. A program that has read it
    /// may be followed by another that reads (`sh -c 'cat; cat'`), which must not wait for ever.
    fn tell_end_of_input(&mut self) {
        let (Some(pty), Some(last)) = (&self.pty, self.input_ended) else {
            return;
        };
        if self.to_child.is_empty() && self.child.is_some() && last.elapsed() >= PAUSE {
            self.to_child.extend(terminal::end_of_input_key(pty));
            self.input_ended = Some(Instant::now());
        }
    }

    fn write_master(&mut self) {
        let Some(pty) = &self.pty else {
            return;
        };
        match rustix::io::write(&pty.master, &self.to_child) {
            Ok(count) => drop(self.to_child.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.to_child.clear(),
        }
    }

    /// Reads what the child wrote, if the last of it has been passed on.
    fn read_master(&mut self) {
        let Some(pty) = &self.pty else {
            return;
        };
        if !self.output.waiting.is_empty() || self.left == 0 {
            return;
        }
        let result = terminal::read_some(pty.master.as_fd(), &mut self.output.waiting);
        self.all_closed = !matches!(result, Ok(true) | Err(Errno::AGAIN | Errno::INTR));
        if self.child.is_none() {
            self.left = self.left.saturating_sub(self.output.waiting.len());
        }
    }
}
