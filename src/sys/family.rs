//! The processes that descend from this one: those of the service, when this process is a subreaper
//! (`PR_SET_CHILD_SUBREAPER` of prctl(2)), whatever they do to get away.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::Pid;

use super::process_wait::Ended;
use super::procfs::{Proc, is_gone};
use super::{During, SysResult, last_error};

/// Orphans below this process become its children.
///
/// # Errors
/// Those of prctl(2).
pub fn adopt_orphans() -> SysResult<()> {
    rustix::process::set_child_subreaper(Pid::from_raw(1)).during("prctl", "PR_SET_CHILD_SUBREAPER")
}

/// Orphans below this process are left to whoever is above it, as before [`adopt_orphans`].
///
/// # Errors
/// Those of prctl(2).
pub fn leave_orphans() -> SysResult<()> {
    rustix::process::set_child_subreaper(None).during("prctl", "PR_SET_CHILD_SUBREAPER")
}

/// Takes the end of any child that has ended. `Err` with nobody left is told as `Ok(Reaped::Nobody)`.
///
/// # Errors
/// Those of waitid(2).
pub fn reap_any() -> SysResult<Reaped> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG;
    // SAFETY: the kernel writes a siginfo_t to where one has room.
    let answer = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) };
    if answer != 0 {
        return match last_error() {
            Errno::CHILD => Ok(Reaped::Nobody),
            errno => Err(errno).during("waitid", "any child"),
        };
    }
    // SAFETY: all zero bytes are one, and the kernel has written over them or not.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid(2) says that these fields are set for a child, and zero for none.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let Some(pid) = u32::try_from(pid).ok().filter(|pid| *pid != 0) else {
        return Ok(Reaped::None);
    };
    let ended = match info.si_code {
        libc::CLD_EXITED => Ended::Exited(u8::try_from(status & 0xff).unwrap_or(u8::MAX)),
        code => Ended::Signaled {
            signal: status,
            core: code == libc::CLD_DUMPED,
        },
    };
    Ok(Reaped::Child(pid, ended))
}

/// What [`reap_any`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// This child has ended so.
    Child(u32, Ended),
    /// No child has ended.
    None,
    /// There are no children.
    Nobody,
}

/// A process, as its `stat` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    parent: u32,
    start_time: u64,
    zombie: bool,
}

fn look(proc: &mut Proc, pid: u32) -> SysResult<Option<Seen>> {
    let text = match proc.read(&format!("{pid}/stat")) {
        Err(errno) if is_gone(errno) => return Ok(None),
        text => text.during("read", format!("/proc/{pid}/stat"))?,
    };
    // A process may call itself `x) Z 1 (`: only the last parenthesis is the kernel's.
    let fields = text.rsplit_once(')').map(|(_, fields)| fields);
    let mut fields = fields.unwrap_or_default().split_ascii_whitespace();
    let state = fields.next();
    let parent = fields.next().and_then(|it| it.parse().ok());
    // Field 22 of proc_pid_stat(5); two of those after the name are taken.
    let start_time = fields.nth(17).and_then(|it| it.parse().ok());
    let (Some(parent), Some(start_time)) = (parent, start_time) else {
        return Err(Errno::BADMSG).during("read", format!("/proc/{pid}/stat"));
    };
    Ok(Some(Seen {
        parent,
        start_time,
        zombie: matches!(state, Some("Z" | "X")),
    }))
}

/// The living processes that descend from one, but for `spared` and those below these.
struct Family {
    proc: Proc,
    members: BTreeMap<u32, Seen>,
}

impl Family {
    /// Of this process.
    fn find(spared: &BTreeSet<u32>) -> SysResult<Self> {
        Self::below(std::process::id(), spared)
    }

    fn below(us: u32, spared: &BTreeSet<u32>) -> SysResult<Self> {
        let mut proc = Proc::open()?;
        let mut seen = BTreeMap::new();
        for pid in proc.numbers(".").during("getdents", "/proc")? {
            if let Some(one) = look(&mut proc, pid)? {
                seen.insert(pid, one);
            }
        }
        let descends = |mut pid: u32| {
            // No chain of parents is longer than the list, whatever changed while it was read.
            for _ in 0..seen.len() {
                if spared.contains(&pid) {
                    return false;
                }
                match seen.get(&pid) {
                    Some(one) if one.parent == us => return true,
                    Some(one) => pid = one.parent,
                    None => return false,
                }
            }
            false
        };
        let members = seen
            .iter()
            .filter(|(pid, one)| !one.zombie && **pid != us && descends(**pid))
            .map(|(pid, one)| (*pid, *one))
            .collect();
        Ok(Self { proc, members })
    }

    /// A descriptor of a member: of it, and not of another one that got its number meanwhile.
    fn pin(&mut self, pid: u32) -> SysResult<Option<OwnedFd>> {
        let Some(before) = self.members.get(&pid).copied() else {
            return Ok(None);
        };
        let Some(pidfd) = open(pid)? else {
            return Ok(None);
        };
        let now = look(&mut self.proc, pid)?;
        let same = now.is_some_and(|now| now.start_time == before.start_time);
        Ok(same.then_some(pidfd))
    }
}

/// The children that are alive, but for `spared`.
///
/// # Errors
/// Those of reading `/proc`: an error never means that there are none.
pub fn children(spared: &BTreeSet<u32>) -> SysResult<Vec<u32>> {
    let us = std::process::id();
    let family = Family::find(spared)?;
    let ours = family.members.iter().filter(|(_, one)| one.parent == us);
    Ok(ours.map(|(pid, _)| *pid).collect())
}

/// The living processes that descend from `top`, each with a descriptor of it. Whether `top` still was the one that is
/// meant is for the caller to see afterwards, by a descriptor of it.
///
/// # Errors
/// Those of reading `/proc`, and of pidfd_open(2).
pub fn below(top: u32) -> SysResult<Vec<(u32, OwnedFd)>> {
    let mut family = Family::below(top, &BTreeSet::new())?;
    let members: Vec<u32> = family.members.keys().copied().collect();
    let mut found = Vec::new();
    for pid in members {
        if let Some(pidfd) = family.pin(pid)? {
            found.push((pid, pidfd));
        }
    }
    Ok(found)
}

/// A descriptor of a process, if it descends from this one and not from one of `spared`. `None` otherwise.
///
/// A zombie is one of the family too: its descriptor tells that it has ended.
///
/// # Errors
/// Those of reading `/proc`, and of pidfd_open(2).
pub fn descendant(pid: u32, spared: &BTreeSet<u32>) -> SysResult<Option<OwnedFd>> {
    let mut proc = Proc::open()?;
    let Some(pidfd) = open(pid)? else {
        return Ok(None);
    };
    // From here on the number can be given to nobody else before the descriptor tells that it is free.
    for _ in 0..ROUNDS {
        match climb(&mut proc, pid, spared)? {
            Climb::Ours => return Ok(Some(pidfd)),
            Climb::Foreign => return Ok(None),
            Climb::Broken => {}
        }
    }
    Ok(None)
}

/// Where the way up from a process leads.
enum Climb {
    Ours,
    Foreign,
    /// A parent ended on the way: its children have another one now.
    Broken,
}

fn climb(proc: &mut Proc, pid: u32, spared: &BTreeSet<u32>) -> SysResult<Climb> {
    let us = std::process::id();
    let mut at = pid;
    for _ in 0..MOST_ANCESTORS {
        if spared.contains(&at) || at <= 1 || at == us {
            return Ok(Climb::Foreign);
        }
        match look(proc, at)? {
            Some(one) if one.parent == us => return Ok(Climb::Ours),
            Some(one) => at = one.parent,
            None if at == pid => return Ok(Climb::Foreign),
            None => return Ok(Climb::Broken),
        }
    }
    Ok(Climb::Foreign)
}

/// Nobody nests processes deeper who means well.
const MOST_ANCESTORS: usize = 1000;

fn open(pid: u32) -> SysResult<Option<OwnedFd>> {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(None);
    };
    let flags = rustix::process::PidfdFlags::empty();
    match rustix::process::pidfd_open(number, flags) {
        // EINVAL: it is a thread that has the number.
        Err(Errno::SRCH | Errno::INVAL) => Ok(None),
        pidfd => pidfd.during("pidfd_open", pid).map(Some),
    }
}

/// How often it is looked for processes that were forked meanwhile.
const ROUNDS: usize = 10;

/// Sends a signal to every living process that descends from this one, but for `spared` and those below
/// them: again until no new one shows up, for they may fork faster than they are found.
///
/// What is left in a race that a service wins ten times is ended with the lease, by UID.
///
/// # Errors
/// Those of reading `/proc`, pidfd_open(2) and pidfd_send_signal(2).
pub fn signal_all(signal: u8, spared: &BTreeSet<u32>) -> SysResult<()> {
    let mut done: BTreeSet<(u32, u64)> = BTreeSet::new();
    for _ in 0..ROUNDS {
        let mut family = Family::find(spared)?;
        let found: Vec<_> = family
            .members
            .iter()
            .map(|(pid, one)| (*pid, one.start_time))
            .filter(|one| !done.contains(one))
            .collect();
        if found.is_empty() {
            break;
        }
        for one in found {
            done.insert(one);
            if let Some(pidfd) = family.pin(one.0)? {
                send(&pidfd, signal, one.0)?;
            }
        }
    }
    Ok(())
}

/// Sends a signal, real-time ones too. Nobody to get it is no error.
///
/// # Errors
/// Those of pidfd_send_signal(2).
pub fn send(pidfd: &OwnedFd, signal: u8, subject: u32) -> SysResult<()> {
    use std::os::fd::AsRawFd;
    let none: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: takes numbers, and no siginfo_t.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            libc::c_int::from(signal),
            none,
            0_u32,
        )
    };
    match answer {
        0 => Ok(()),
        _ => match last_error() {
            Errno::SRCH => Ok(()),
            errno => Err(errno).during("pidfd_send_signal", subject),
        },
    }
}
