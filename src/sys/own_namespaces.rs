//! Namespaces: made by a thread that ends with its work, handed out by descriptor.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sched::CloneFlags;
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::fs::status;
use super::{During, SysResult, last_error};

/// A kind of namespace (namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Network devices, addresses, ports.
    Network,
    /// System V IPC, POSIX message queues.
    Ipc,
    /// Host name and domain name.
    HostName,
    /// Mounts.
    Mounts,
    /// Process numbers.
    Processes,
    /// Users and capabilities.
    Users,
}

impl Kind {
    /// Every kind, in the order in which they can be entered: a user namespace takes away the right to enter others.
    pub const ALL: [Self; 6] = [
        Self::Network,
        Self::Ipc,
        Self::HostName,
        Self::Mounts,
        Self::Processes,
        Self::Users,
    ];

    /// Its name in `/proc/PID/ns`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Ipc => "ipc",
            Self::HostName => "uts",
            Self::Mounts => "mnt",
            Self::Processes => "pid",
            Self::Users => "user",
        }
    }

    /// The kind whose [`word`](Self::word) is `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    fn flag(self) -> CloneFlags {
        match self {
            Self::Network => CloneFlags::CLONE_NEWNET,
            Self::Ipc => CloneFlags::CLONE_NEWIPC,
            Self::HostName => CloneFlags::CLONE_NEWUTS,
            Self::Mounts => CloneFlags::CLONE_NEWNS,
            Self::Processes => CloneFlags::CLONE_NEWPID,
            Self::Users => CloneFlags::CLONE_NEWUSER,
        }
    }
}

/// Puts the calling thread, and no other, into a new namespace; for [`Kind::Processes`] its next child. A new mount
/// namespace is a copy of the one that it is in, and root and working directory are the thread's own from then on.
///
/// # Errors
/// Those of unshare(2): `EPERM` without `CAP_SYS_ADMIN`, or where a container forbids it.
pub fn unshare(kind: Kind) -> SysResult<()> {
    nix::sched::unshare(kind.flag()).during("unshare", kind.word())
}

/// The namespace that the calling thread is in.
///
/// # Errors
/// Those of open(2).
pub fn current(kind: Kind) -> SysResult<OwnedFd> {
    at(&format!("/proc/thread-self/ns/{}", kind.word()))
}

/// A namespace that is bound at `path`, or stands in a `/proc/PID/ns`.
///
/// # Errors
/// Those of open(2). Whether it is one is told by [`enter`].
pub fn at(path: &str) -> SysResult<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::open(path, flags, Mode::empty()).during("open", path)
}

/// Enters a namespace.
///
/// # Errors
/// Those of setns(2): `EINVAL` if it is none of that kind.
pub fn enter(kind: Kind, namespace: impl AsFd) -> SysResult<()> {
    nix::sched::setns(namespace, kind.flag()).during("setns", kind.word())
}

/// Enters a mount namespace with the calling thread alone, which has its own root and working directory from then on (the
/// root of that namespace) and is good for nothing else: it must be one that ends.
///
/// # Errors
/// Those of unshare(2) and setns(2).
pub fn enter_mounts_alone(namespace: impl AsFd) -> SysResult<()> {
    // setns(2) refuses a thread that shares its root with others.
    nix::sched::unshare(CloneFlags::CLONE_FS).during("unshare", "CLONE_FS")?;
    enter(Kind::Mounts, namespace)
}

/// Enters the mount namespace of process 1, if the calling one is another: a daemon that serves the
/// host must not be born into the private view of whoever needed it first. Where process 1 cannot
/// be looked at, this is a container of some kind, and the caller's view is all there is.
///
/// # Errors
/// Those of setns(2).
pub fn enter_mounts_of_init() -> SysResult<()> {
    let (Ok(init), Ok(ours)) = (at("/proc/1/ns/mnt"), current(Kind::Mounts)) else {
        return Ok(());
    };
    if status(&init)?.id == status(&ours)?.id {
        return Ok(());
    }
    enter(Kind::Mounts, init)
}

/// Names the host, in the UTS namespace that the calling thread is in (sethostname(2)).
///
/// # Errors
/// Those of the call.
pub fn set_host_name(name: &str) -> SysResult<()> {
    rustix::system::sethostname(name.as_bytes()).during("sethostname", name)
}

/// Makes the loopback device of the network namespace that the calling thread is in go up, as it never is in a new one
/// (netdevice(7)).
///
/// # Errors
/// Those of socket(2) and ioctl(2).
#[allow(clippy::as_conversions, clippy::cast_possible_truncation)]
pub fn raise_loopback() -> SysResult<()> {
    let (family, kind) = (AddressFamily::INET, SocketType::DGRAM);
    let socket =
        socket_with(family, kind, SocketFlags::CLOEXEC, None).during("socket", "AF_INET")?;
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(*b"lo") {
        *to = libc::c_char::try_from(from).unwrap_or_default();
    }
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            // Two small bits of a number that has 16.
            ifru_flags: (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short,
        },
    };
    // SAFETY: the socket is open, and SIOCSIFFLAGS reads an ifreq, which `request` is until the call returns.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    let result = if answer == 0 {
        Ok(())
    } else {
        Err(last_error())
    };
    result.during("ioctl", "SIOCSIFFLAGS lo")
}
