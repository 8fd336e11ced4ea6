//! Finding a process again: which one it is, for as long as the host runs.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, fstat, fstatfs, statat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::procfs::{Proc, Stat, is_gone};
use super::{During, SysError, SysResult};

/// What tells a process from every other that this boot of the host has seen or will see. Kept with
/// the [`boot_id`], as all three begin anew with the next boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its number in our PID namespace.
    pub pid: u32,
    /// When it was started: clock ticks since boot (field 22 of proc_pid_stat(5)). It survives exec.
    pub start_time: u64,
    /// The inode number of its pidfd, never used twice in a boot: Linux 6.9 and later (pidfs).
    pub pidfd_inode: Option<u64>,
}

/// `PID_FS_MAGIC` of linux/magic.h.
const PIDFS: u64 = 0x5049_4446;

/// A process that somebody asks for: which one it is, and what it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Which one it is.
    pub identity: Identity,
    /// Its mount namespace.
    pub mount_namespace: NamespaceId,
    /// Its IPC namespace.
    pub ipc_namespace: NamespaceId,
}

/// Device and inode of `/proc/PID/ns/…` (namespaces(7)): equal for two processes exactly if they
/// share the namespace.
pub type NamespaceId = (u64, u64);

/// Which process `pidfd` is.
///
/// # Errors
///
/// `ESRCH` if it has ended (a zombie has), or lives outside our PID namespace; those of reading `/proc`.
pub fn identify(pidfd: BorrowedFd<'_>) -> SysResult<Identity> {
    let mut proc = Proc::open()?;
    let pid = pid_of(&mut proc, pidfd)?;
    let identity = identity_of(&mut proc, pidfd, pid)?;
    still_runs(pidfd, pid)?;
    Ok(identity)
}

/// Which process `pidfd` is and in which mount namespace, in one look.
///
/// # Errors
///
/// Those of [`identify`]; `EACCES` without the right to trace it (ptrace(2)).
pub fn recognise(pidfd: BorrowedFd<'_>) -> SysResult<Caller> {
    let mut proc = Proc::open()?;
    let pid = pid_of(&mut proc, pidfd)?;
    let identity = identity_of(&mut proc, pidfd, pid)?;
    let caller = Caller {
        identity,
        mount_namespace: namespace(&proc, &format!("{pid}/ns/mnt"))?,
        ipc_namespace: namespace(&proc, &format!("{pid}/ns/ipc"))?,
    };
    still_runs(pidfd, pid)?;
    Ok(caller)
}

fn namespace(proc: &Proc, path: &str) -> SysResult<NamespaceId> {
    let stat = statat(proc.root(), path, AtFlags::empty())
        .map_err(|errno| if is_gone(errno) { Errno::SRCH } else { errno })
        .during("stat", format_args!("/proc/{path}"))?;
    Ok((stat.st_dev, stat.st_ino))
}

/// A namespace of this process: `mnt`, `ipc`, `pid`.
///
/// # Errors
///
/// Those of stat(2) on `/proc/self/ns/…`.
pub fn our_namespace(kind: &str) -> SysResult<NamespaceId> {
    namespace(&Proc::open()?, &format!("self/ns/{kind}"))
}

fn identity_of(proc: &mut Proc, pidfd: BorrowedFd<'_>, pid: u32) -> SysResult<Identity> {
    let path = format!("{pid}/stat");
    let text = proc
        .read(&path)
        .map_err(|errno| if is_gone(errno) { Errno::SRCH } else { errno });
    let text = text.during("read", format_args!("/proc/{path}"))?;
    let stat = Stat::parse(&text).during("read", format_args!("/proc/{path}"))?;
    Ok(Identity {
        pid,
        start_time: stat.start_time,
        pidfd_inode: inode(pidfd)?,
    })
}

/// Opens the process that `identity` was made of, if it still runs.
///
/// # Errors
///
/// Those of pidfd_open(2) and of reading `/proc`, but not that it is gone, a zombie, or that its
/// number now is another process's: these are `None`.
pub fn reopen(identity: &Identity) -> SysResult<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(identity.pid).ok().and_then(Pid::from_raw) else {
        return Ok(None);
    };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        // Nobody, or a thread of another process: EINVAL of old kernels, ENOENT of new ones.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno).during("pidfd_open", identity.pid),
    };
    match identify(std::os::fd::AsFd::as_fd(&pidfd)) {
        Ok(found) if found == *identity => Ok(Some(pidfd)),
        Ok(_) => Ok(None),
        Err(error) if error.errno == Errno::SRCH => Ok(None),
        Err(error) => Err(error),
    }
}

/// What tells this boot of the host from every other: `/proc/sys/kernel/random/boot_id`, random(4).
///
/// # Errors
///
/// Those of reading it; `EBADMSG` if it is no such ID.
pub fn boot_id() -> SysResult<String> {
    const FILE: &str = "sys/kernel/random/boot_id";
    let text = Proc::open()?
        .read(FILE)
        .during("read", format_args!("/proc/{FILE}"))?;
    let id = text.trim_end();
    let valid = id.len() == 36
        && id
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    if !valid {
        return Err(Errno::BADMSG).during("read", format_args!("/proc/{FILE}"));
    }
    Ok(id.to_owned())
}

/// The number of the process behind a pidfd: field `Pid` of its fdinfo (pidfd_open(2)).
fn pid_of(proc: &mut Proc, pidfd: BorrowedFd<'_>) -> SysResult<u32> {
    let path = format!("self/fdinfo/{}", pidfd.as_raw_fd());
    let text = proc
        .read(&path)
        .during("read", format_args!("/proc/{path}"))?;
    parse_fdinfo(&text).during("read", format_args!("/proc/{path}"))
}

fn parse_fdinfo(text: &str) -> Result<u32, Errno> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    // No such line: not a pidfd.
    let pid: i64 = line
        .and_then(|pid| pid.trim().parse().ok())
        .ok_or(Errno::BADF)?;
    // -1: waited for. 0: not of our PID namespace.
    match u32::try_from(pid) {
        Ok(pid) if pid > 0 => Ok(pid),
        _ => Err(Errno::SRCH),
    }
}

/// The number cannot have been given to another process as long as this one has not ended.
fn still_runs(pidfd: BorrowedFd<'_>, pid: u32) -> SysResult<()> {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    let now = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(&mut fds, Some(&now)).during("poll", format_args!("pidfd of {pid}"))? {
        0 => Ok(()),
        _ => Err(SysError {
            call: "poll",
            subject: format!("pidfd of {pid}"),
            errno: Errno::SRCH,
        }),
    }
}

/// The inode number, where it means something: before pidfs all pidfds had the same.
fn inode(pidfd: BorrowedFd<'_>) -> SysResult<Option<u64>> {
    let file_system = fstatfs(pidfd).during("fstatfs", "pidfd")?;
    if u64::try_from(file_system.f_type) != Ok(PIDFS) {
        return Ok(None);
    }
    let stat = fstat(pidfd).during("fstat", "pidfd")?;
    Ok(Some(stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fdinfo_tells_the_pid_or_that_it_is_gone() {
        let text = |pid| format!("pos:\t0\nflags:\t02000002\nPid:\t{pid}\nNSpid:\t{pid}\n");
        assert_eq!(parse_fdinfo(&text(42)), Ok(42));
        assert_eq!(parse_fdinfo(&text(-1)), Err(Errno::SRCH));
        assert_eq!(parse_fdinfo(&text(0)), Err(Errno::SRCH));
        assert_eq!(parse_fdinfo("pos:\t0\nflags:\t0\n"), Err(Errno::BADF));
    }

    #[test]
    fn this_boot_has_an_id() {
        assert!(boot_id().is_ok());
        assert_eq!(boot_id(), boot_id());
    }
}
