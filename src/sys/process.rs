//! Who carries a UID or GID.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::MutexGuard;

use rustix::io::Errno;

use super::process_known::{Known, ONE_THREAD};
use super::procfs::{Proc, Stat, is_gone};
use super::{During, SysError, SysResult, last_error};

/// A living process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number, in our PID namespace.
    pub pid: u32,
    /// What it calls itself (`comm`), made fit to be shown.
    pub name: String,
}

/// The four UIDs and four GIDs of a task: real, effective, saved, file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) uids: [u32; 4],
    gids: [u32; 4],
}

/// Every living process one of whose threads carries `id` as any of its four UIDs or four GIDs.
///
/// Each thread counts: credentials belong to threads, and a file server may take a user's identity on
/// with one of many (it costs one `stat` more a process, and one look a thread where there are
/// several). Zombies do not: they run nothing and may stay for ever. Supplementary groups are not
/// looked at: see [`sharing_group`].
///
/// It looks at one task after the other: what is started meanwhile by a process that carries `id` may
/// be missed. After [`end_all`](super::ending::end_all) with `SIGKILL` nobody is left to start anything.
///
/// Sources: pidfd_open(2), `PIDFD_GET_INFO` (linux/pidfd.h, Linux 6.13), proc_pid_status(5).
///
/// # Errors
///
/// Any but that a process has just ended: `/proc` not mounted, of another PID namespace, or hiding
/// processes (`hidepid=`), descriptors exhausted. An error never means that there is nobody.
pub fn holding(id: u32) -> SysResult<Vec<Process>> {
    Scan::new()?.living(Threads::All, |scan, task| {
        let ids = scan.ids(task)?;
        Ok(ids.is_some_and(|ids| ids.uids.contains(&id) || ids.gids.contains(&id)))
    })
}

/// Every living process that has `gid` among its supplementary groups.
///
/// No quick way tells them: `/proc/PID/status` of every thread is read, several times the cost of
/// [`holding`]. Only root can have put a process there (`SupplementaryGroups=`, `setpriv --groups`).
///
/// # Errors
///
/// Like [`holding`].
pub fn sharing_group(gid: u32) -> SysResult<Vec<Process>> {
    Scan::new()?.living(Threads::All, |scan, task| {
        let Some(status) = scan.file(task, "status")? else {
            return Ok(false);
        };
        let groups =
            numbers_after(&status, "Groups:").during("read", "Groups of /proc/PID/status")?;
        Ok(groups.contains(&gid))
    })
}

/// How many living processes carry each number as any of the four UIDs of their first thread. One walk tells of all.
///
/// # Errors
///
/// Like [`holding`].
pub fn counted() -> SysResult<BTreeMap<u32, u32>> {
    let mut counts = BTreeMap::new();
    Scan::new()?.living(Threads::First, |scan, task| {
        let Some(ids) = scan.ids(task)? else {
            return Ok(false);
        };
        // A zombie runs nothing. Root's are not looked at: nobody asks, and they are the most.
        if ids.uids != [0; 4] && scan.living_name(task)?.is_some() {
            for uid in ids.uids.into_iter().collect::<BTreeSet<u32>>() {
                let count: &mut u32 = counts.entry(uid).or_default();
                *count = count.saturating_add(1);
            }
        }
        Ok(false)
    })?;
    Ok(counts)
}

/// Whether the first thread of a process carries `uid` as any of its four UIDs.
///
/// # Errors
///
/// Like [`holding`].
pub fn carries(pid: u32, uid: u32) -> SysResult<bool> {
    let ids = Scan::new()?.ids(Task { pid, tid: pid })?;
    Ok(ids.is_some_and(|ids| ids.uids.contains(&uid)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    All,
    First,
}

#[derive(Clone, Copy)]
pub(super) struct Task {
    pub(super) pid: u32,
    pub(super) tid: u32,
}

pub(super) struct Scan {
    proc: Proc,
    /// Whether the kernel has `PIDFD_GET_INFO`.
    info: bool,
    /// Nothing, while another thread looks.
    known: Option<MutexGuard<'static, Known>>,
}

impl Scan {
    pub(super) fn new() -> SysResult<Self> {
        let proc = Proc::open()?;
        let known = Known::ours();
        let info = true;
        Ok(Self { proc, info, known })
    }

    /// The IDs of the first thread, if the process is known and still there.
    fn known_ids(&mut self, pid: u32) -> Option<Ids> {
        let known = self.known.as_mut()?;
        let found = info(known.pidfd(pid)?).ok().flatten();
        if found.is_none() {
            known.forget(pid);
        }
        found.map(|info| Ids::from_info(&info))
    }

    /// The living processes with a living thread for which `matches` says yes.
    pub(super) fn living(
        mut self,
        threads: Threads,
        mut matches: impl FnMut(&mut Self, Task) -> SysResult<bool>,
    ) -> SysResult<Vec<Process>> {
        let pids = self.proc.numbers(".").during("getdents", "/proc")?;
        // PID 1 is always there and root's: a /proc that does not show it hides others too.
        if !pids.contains(&1) || !pids.contains(&std::process::id()) {
            return Err(SysError {
                call: "getdents",
                subject: "/proc hides processes (hidepid=)".into(),
                errno: Errno::ACCESS,
            });
        }
        if let Some(known) = &mut self.known {
            known.keep_only(&pids);
        }
        let mut found = Vec::new();
        for pid in pids {
            let tids = match threads {
                Threads::All => self.threads(pid)?,
                Threads::First => vec![pid],
            };
            for tid in tids {
                let task = Task { pid, tid };
                if matches(&mut self, task)?
                    && let Some(name) = self.living_name(task)?
                {
                    found.push(Process { pid, name });
                    break;
                }
            }
        }
        Ok(found)
    }

    fn threads(&mut self, pid: u32) -> SysResult<Vec<u32>> {
        let path = format!("{pid}/task");
        let links = match self.known.as_ref().and_then(|known| known.links(pid)) {
            Some(links) => Ok(links),
            None => self.proc.links(&path),
        };
        let tids = match links {
            // Anything else is looked at.
            Ok(ONE_THREAD) => Ok(vec![pid]),
            Ok(_) => self.proc.numbers(&path),
            Err(errno) => Err(errno),
        };
        match tids {
            Err(errno) if is_gone(errno) => Ok(Vec::new()),
            tids => tids.during("getdents", format_args!("/proc/{path}")),
        }
    }

    /// The IDs of a task, or none if it is no more.
    pub(super) fn ids(&mut self, task: Task) -> SysResult<Option<Ids>> {
        let first = task.pid == task.tid;
        if first && let Some(ids) = self.known_ids(task.pid) {
            return Ok(Some(ids));
        }
        if self.info {
            let answer = pidfd(task).and_then(|pidfd| Ok((info(&pidfd)?, pidfd)));
            match answer.map(|(info, pidfd)| (info.as_ref().map(Ids::from_info), pidfd)) {
                Ok((Some(ids), pidfd)) => {
                    if first && let Some(known) = &mut self.known {
                        known.keep(&self.proc, task.pid, pidfd);
                    }
                    return Ok(Some(ids));
                }
                // The number may meanwhile be a thread's of another process: EINVAL of old
                // kernels, ENOENT of new ones. EINVAL is also an old kernel's that knows no
                // threads' pidfds. The file tells.
                Ok((None, _)) | Err(Errno::SRCH | Errno::NOENT | Errno::INVAL) => {}
                Err(Errno::NOTTY | Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP) => {
                    self.info = false;
                }
                Err(errno) => return Err(errno).during("PIDFD_GET_INFO", task.tid),
            }
        }
        let Some(status) = self.file(task, "status")? else {
            return Ok(None);
        };
        let ids =
            Ids::from_status(&status).during("read", format_args!("/proc/{}/status", task.pid))?;
        Ok(Some(ids))
    }

    /// A file of a task in `/proc`, or none if the task is no more.
    fn file(&mut self, task: Task, name: &str) -> SysResult<Option<String>> {
        let path = format!("{}/task/{}/{name}", task.pid, task.tid);
        match self.proc.read(&path) {
            Ok(text) => Ok(Some(text)),
            Err(errno) if is_gone(errno) => Ok(None),
            Err(errno) => Err(errno).during("read", format_args!("/proc/{path}")),
        }
    }

    /// The name of a task, or none if it has ended.
    pub(super) fn living_name(&mut self, task: Task) -> SysResult<Option<String>> {
        let Some(text) = self.file(task, "stat")? else {
            return Ok(None);
        };
        let stat = Stat::parse(&text).during("read", format_args!("/proc/{}/stat", task.pid))?;
        Ok((!stat.has_ended()).then_some(stat.name))
    }
}

/// Opens a task: rustix's `pidfd_open` gives no way to say `PIDFD_THREAD`.
pub(super) fn pidfd(task: Task) -> Result<OwnedFd, Errno> {
    let flags = if task.pid == task.tid {
        0
    } else {
        libc::PIDFD_THREAD
    };
    // SAFETY: takes two numbers.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_open, task.tid, flags) };
    match i32::try_from(answer) {
        Ok(fd) if fd >= 0 => {
            // SAFETY: the kernel has just given it to us.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        }
        _ => Err(last_error()),
    }
}

/// Credentials of the task behind a pidfd, or none if it has been waited for.
fn info(pidfd: &OwnedFd) -> Result<Option<libc::pidfd_info>, Errno> {
    // SAFETY: a structure of plain numbers, for which zero is a value.
    let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
    info.mask = u64::from(libc::PIDFD_INFO_CREDS);
    // SAFETY: the number of the call carries the size of the structure, and this is it.
    let answer = unsafe { libc::ioctl(pidfd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
    if answer < 0 {
        return Err(last_error());
    }
    let told = info.mask & u64::from(libc::PIDFD_INFO_CREDS) != 0;
    Ok(told.then_some(info))
}

impl Ids {
    fn from_info(info: &libc::pidfd_info) -> Self {
        Self {
            uids: [info.ruid, info.euid, info.suid, info.fsuid],
            gids: [info.rgid, info.egid, info.sgid, info.fsgid],
        }
    }

    pub(super) fn from_status(status: &str) -> Result<Self, Errno> {
        let four = |key| <[u32; 4]>::try_from(numbers_after(status, key)?).or(Err(Errno::BADMSG));
        Ok(Self {
            uids: four("Uid:")?,
            gids: four("Gid:")?,
        })
    }
}

/// The numbers of the line of `/proc/PID/status` that begins with `key`. The kernel escapes line ends in
/// the process's name, which is the only line before them that a process writes.
pub(super) fn numbers_after(status: &str, key: &str) -> Result<Vec<u32>, Errno> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .ok_or(Errno::BADMSG)?;
    line.split_ascii_whitespace()
        .map(|word| word.parse().map_err(|_| Errno::BADMSG))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tUid:\\n\nState:\tS\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n\
                          FDSize:\t64\nGroups:\t9 10 \n";

    #[test]
    fn ids_are_read_from_status() {
        let ids = Ids {
            uids: [1, 2, 3, 4],
            gids: [5, 6, 7, 8],
        };
        assert_eq!(Ids::from_status(STATUS), Ok(ids));
        assert_eq!(numbers_after(STATUS, "Groups:"), Ok(vec![9, 10]));
        assert_eq!(numbers_after("Groups:\t\n", "Groups:"), Ok(vec![]));
    }

    #[test]
    fn a_broken_status_is_an_error() {
        for status in [
            "",
            "Uid:\t1\t2\t3\t4\n",
            "Uid:\t1\t2\t3\nGid:\t1\t2\t3\t4\n",
            "Uid: x",
        ] {
            assert_eq!(Ids::from_status(status), Err(Errno::BADMSG));
        }
    }

    #[test]
    fn both_ways_tell_the_same_of_this_process() {
        let pid = std::process::id();
        let task = Task { pid, tid: pid };
        let ids = |info| -> SysResult<Option<Ids>> {
            let proc = Proc::open()?;
            Scan {
                proc,
                info,
                known: None,
            }
            .ids(task)
        };
        assert_eq!(ids(true), ids(false));
        assert!(matches!(ids(true), Ok(Some(_))));
    }
}
