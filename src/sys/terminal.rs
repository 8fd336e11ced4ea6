//! Terminals: a pair of our own, and the caller's.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, Winsize};

use super::{During, SysResult};

/// A new pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    /// Our side. Reads and writes never wait.
    pub master: OwnedFd,
    /// The side that looks like a terminal.
    pub slave: OwnedFd,
}

impl Pty {
    /// Opens one. Neither side becomes anybody's controlling terminal, neither survives an exec.
    pub fn open() -> SysResult<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).during("open", "/dev/ptmx")?;
        rustix::pty::grantpt(&master).during("grantpt", "pty")?;
        rustix::pty::unlockpt(&master).during("unlockpt", "pty")?;
        // By descriptor: a path under /dev/pts may be another terminal in another mount namespace.
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).during("TIOCGPTPEER", "pty")?;
        // Nobody else has this open file description, so nobody else is surprised.
        let flags = rustix::fs::fcntl_getfl(&master).during("F_GETFL", "pty")?;
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK).during("F_SETFL", "pty")?;
        Ok(Self { master, slave })
    }
}

/// Standard output and error where they are terminals, opened again for writing alone: with their numbers.
///
/// # Errors
/// Those of open(2).
pub fn write_only_copies() -> SysResult<Vec<(i32, OwnedFd)>> {
    let mut copies = Vec::new();
    for number in [1, 2] {
        let path = format!("/proc/self/fd/{number}");
        let is_one = match number {
            1 => is_terminal(std::io::stdout().as_fd()),
            _ => is_terminal(std::io::stderr().as_fd()),
        };
        if is_one {
            let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
            let copy = rustix::fs::open(path.as_str(), flags, Mode::empty());
            copies.push((number, copy.during("open", path)?));
        }
    }
    Ok(copies)
}

/// Leaves the terminal behind: a session of its own, and in the place of the two streams those `copies`. Whoever takes a
/// descriptor from this process, or makes it do something, can neither read the terminal nor put words into it
/// (TIOCSTI, `/dev/tty`).
///
/// # Errors
/// Those of setsid(2) and dup2(2).
pub fn leave(copies: Vec<(i32, OwnedFd)>) -> SysResult<()> {
    rustix::process::setsid().during("setsid", "")?;
    for (number, copy) in copies {
        match number {
            1 => rustix::stdio::dup2_stdout(&copy),
            _ => rustix::stdio::dup2_stderr(&copy),
        }
        .during("dup2", number)?;
    }
    Ok(())
}

/// Gives a terminal to a user: programs open theirs again as `/dev/tty`, or ask who owns it. The group stays.
pub fn give_to(slave: BorrowedFd<'_>, uid: u32) -> SysResult<()> {
    rustix::fs::fchown(slave, Some(Uid::from_raw(uid)), None).during("fchown", "pty")?;
    rustix::fs::fchmod(slave, Mode::from_raw_mode(0o620)).during("fchmod", "pty")
}

/// Whether it is a terminal.
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    rustix::termios::isatty(fd)
}

/// Makes the size of the window of `to` that of `from`.
pub fn copy_window_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> SysResult<()> {
    set_window_size(to, window_size(from)?)
}

/// Rows and columns.
pub fn window_size(fd: BorrowedFd<'_>) -> SysResult<Winsize> {
    rustix::termios::tcgetwinsize(fd).during("TIOCGWINSZ", "terminal")
}

/// Sets rows and columns. The foreground processes get SIGWINCH if that is a change.
pub fn set_window_size(fd: BorrowedFd<'_>, size: Winsize) -> SysResult<()> {
    rustix::termios::tcsetwinsize(fd, size).during("TIOCSWINSZ", "terminal")
}

/// Gives `to` the modes (keys, character set) of `from`.
pub fn copy_modes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> SysResult<()> {
    set_modes(to, &modes(from)?)
}

/// Stops a terminal from showing what is typed.
pub fn set_no_echo(fd: BorrowedFd<'_>) -> SysResult<()> {
    let mut quiet = modes(fd)?;
    quiet.local_modes.remove(LocalModes::ECHO);
    set_modes(fd, &quiet)
}

fn modes(fd: BorrowedFd<'_>) -> SysResult<Termios> {
    rustix::termios::tcgetattr(fd).during("tcgetattr", "terminal")
}

fn set_modes(fd: BorrowedFd<'_>, modes: &Termios) -> SysResult<()> {
    // Now, not after the output: a terminal that is stopped would never let us go.
    rustix::termios::tcsetattr(fd, OptionalActions::Now, modes).during("tcsetattr", "terminal")
}

/// The key that says "end of input" to a reader of the slave who has nothing to read, or none if the
/// reader has something, or takes every byte as it is.
pub fn end_of_input_key(pty: &Pty) -> Option<u8> {
    let mut unread = [PollFd::new(&pty.slave, PollFlags::IN)];
    let at_once = Timespec::default();
    if poll(&mut unread, Some(&at_once)) != Ok(0) {
        return None;
    }
    // Line editors (readline) switch off the terminal's own lines but know the key, and keep Ctrl-C working.
    let modes = modes(pty.slave.as_fd()).ok()?;
    modes
        .local_modes
        .intersects(LocalModes::ICANON | LocalModes::ISIG)
        .then(|| modes.special_codes[SpecialCodeIndex::VEOF])
        .filter(|key| *key != 0)
}

/// The terminal behind `fd` once more, with an open file description of our own that never makes us wait.
///
/// O_NONBLOCK belongs to the description: set on the caller's, it would be found there by his shell. None where
/// that cannot be had (no `/proc`, somebody else's terminal).
pub fn reopen_without_waiting(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

/// Makes the calling process the leader of a new session with `slave` as its terminal and its standard streams.
///
/// For a child just forked, while it is still root and before it executes the service.
pub fn become_session_leader_with(slave: OwnedFd) -> SysResult<()> {
    rustix::process::setsid().during("setsid", "")?;
    rustix::process::ioctl_tiocsctty(&slave).during("TIOCSCTTY", "pty")?;
    rustix::stdio::dup2_stdin(&slave).during("dup2", "stdin")?;
    rustix::stdio::dup2_stdout(&slave).during("dup2", "stdout")?;
    rustix::stdio::dup2_stderr(&slave).during("dup2", "stderr")
}

/// The caller's terminal, passing every key as it is, until this is dropped.
#[derive(Debug)]
pub struct RawMode<'fd> {
    fd: BorrowedFd<'fd>,
    before: Termios,
    on: bool,
}

impl<'fd> RawMode<'fd> {
    /// Switches it to raw mode. In the background the kernel stops us here (SIGTTOU) until we are brought forward.
    pub fn enter(fd: BorrowedFd<'fd>) -> SysResult<Self> {
        let before = modes(fd)?;
        let mut entered = Self {
            fd,
            before,
            on: false,
        };
        entered.enter_again()?;
        Ok(entered)
    }

    /// Switches it to raw mode again, after a stop during which a shell made it its own.
    pub fn enter_again(&mut self) -> SysResult<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        self.on = true;
        set_modes(self.fd, &raw)
    }

    /// Puts it back as it was.
    pub fn restore(&mut self) -> SysResult<()> {
        if !std::mem::take(&mut self.on) || self.is_somebody_elses() {
            return Ok(());
        }
        // If we are no longer in front, changing modes would stop us with the terminal still raw.
        let mut ttou = SigSet::empty();
        ttou.add(Signal::SIGTTOU);
        let mask = ttou
            .thread_swap_mask(SigmaskHow::SIG_BLOCK)
            .during("sigprocmask", "")?;
        let result = set_modes(self.fd, &self.before);
        mask.thread_set_mask().during("sigprocmask", "")?;
        result
    }

    /// A shell that took the terminal to the front again has set its modes, and they are not ours to overwrite.
    fn is_somebody_elses(&self) -> bool {
        matches!(rustix::termios::tcgetpgrp(self.fd), Ok(group) if group != rustix::process::getpgrp())
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no putting back, and there is nobody to tell.
        self.restore().unwrap_or_default();
    }
}

/// Reads what is there, no more than a ready pipe takes at once, and appends it to `into`. `Ok(false)`: the end.
pub fn read_some(fd: BorrowedFd<'_>, into: &mut Vec<u8>) -> Result<bool, Errno> {
    let mut chunk = [0; 4096];
    let count = rustix::io::read(fd, &mut chunk)?;
    into.extend(chunk.iter().take(count));
    Ok(count > 0)
}
