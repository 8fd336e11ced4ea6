//! The only door to the kernel, and the only place with `unsafe` code.
//!
//! Each function is one thing that the kernel does for us, by descriptor where that is possible.
//! Errors read like a line of strace: the call, what it was about, and the kernel's answer.

#![allow(unsafe_code)]

pub mod accounts;
pub mod attribute;
pub mod bpf;
pub mod cgroup;
pub mod changes;
pub mod child;
pub mod clock;
pub mod device;
pub mod ending;
pub mod entries;
pub mod family;
pub mod fault;
pub mod file;
pub mod fs;
pub mod give;
pub mod hold;
pub mod identity;
pub mod ids;
mod inode_flags;
pub mod ipc;
pub mod keyring;
pub mod landlock;
pub mod limits;
pub mod listening;
pub mod lock;
pub mod memory;
pub mod mount;
pub mod names;
pub mod namespace;
pub mod notify;
pub mod nscd;
pub mod openers;
pub mod own_namespaces;
mod owned;
pub mod passed;
pub mod possible;
pub mod process;
mod process_known;
pub mod process_wait;
mod procfs;
mod queues;
pub mod random;
pub mod records;
pub mod remove;
pub mod run;
pub mod seccomp;
pub mod service_manager;
pub mod signals;
pub mod socket;
pub mod systemd_lock;
pub mod terminal;
mod trusted;
pub mod usage;
pub mod userns;
pub mod visit;
mod walk;
pub mod watch;
pub mod wire;
pub mod workers;

use std::fmt;

use rustix::io::Errno;

/// A system call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysError {
    /// The call, as its manual page is named.
    pub call: &'static str,
    /// What it was about: a path, a number, a flag. May be empty.
    pub subject: String,
    /// The kernel's answer.
    pub errno: Errno,
}

/// What functions of this layer return.
pub type SysResult<T> = Result<T, SysError>;

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = nix::errno::Errno::from_raw(self.errno.raw_os_error()).desc();
        write!(f, "{}({}): {why}", self.call, self.subject)
    }
}

impl std::error::Error for SysError {}

/// What the last call of the C library or `syscall` on this thread failed with.
pub(crate) fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// What is not there any more was removed just as well.
///
/// # Errors
/// All but `ENOENT`.
pub fn gone(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Gives an error of the kernel the name of its call and the thing it is about.
pub(crate) trait During<T> {
    /// The value, or a [`SysError`] made of `call`, `subject` and the error number.
    fn during(self, call: &'static str, subject: impl fmt::Display) -> SysResult<T>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, call: &'static str, subject: impl fmt::Display) -> SysResult<T> {
        self.map_err(|errno| SysError {
            call,
            subject: subject.to_string(),
            errno,
        })
    }
}

impl<T> During<T> for Result<T, nix::errno::Errno> {
    fn during(self, call: &'static str, subject: impl fmt::Display) -> SysResult<T> {
        // The same number in another crate's type.
        #[allow(clippy::as_conversions)]
        self.map_err(|errno| Errno::from_raw_os_error(errno as i32))
            .during(call, subject)
    }
}

impl<T> During<T> for std::io::Result<T> {
    fn during(self, call: &'static str, subject: impl fmt::Display) -> SysResult<T> {
        self.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .during(call, subject)
    }
}
