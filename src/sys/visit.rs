//! What a process of a service lives in, seen by somebody who wants to go there.
//!
//! The process decides much of what can be seen of it: it may have made a user namespace, and in that a mount
//! namespace with files of its own, or end while it is looked at. What counts here is only what the kernel says.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::fs::status;
use super::own_namespaces::{self, Kind};
use super::process::{Ids, numbers_after};
use super::process_wait::has_ended;
use super::procfs::{Proc, is_gone};
use super::{During, SysResult, last_error};

/// Requests of ioctl(2) on a namespace (ioctl_nsfs(2)): which user namespace owns it, which is the parent of a user
/// namespace, whose it is.
const NS_GET_USERNS: libc::Ioctl = 0xb701;
const NS_GET_PARENT: libc::Ioctl = 0xb702;
const NS_GET_OWNER_UID: libc::Ioctl = 0xb704;

/// Who a process is, and what it lives in.
#[derive(Debug)]
pub struct Visited {
    /// Its real, effective, saved and file-system UID.
    pub uids: [u32; 4],
    /// Its supplementary groups.
    pub groups: Vec<u32>,
    /// Its control groups, as `/proc/PID/cgroup` lists them.
    pub control_groups: String,
    /// The namespaces that are not the caller's, in the order of [`Kind::ALL`].
    pub namespaces: Vec<(Kind, OwnedFd)>,
    /// One of them that nobody gave it who has our rights: it made that itself, and what is to be seen there is of
    /// its own making.
    pub foreign: Option<Kind>,
}

/// Looks at the process `pid`, which `pidfd` is of. `None`: it has ended. Its namespaces are looked at only if it may have
/// been given some: in a container root may not look at them.
///
/// # Errors
/// Those of open(2), read(2) and ioctl(2).
pub fn visit(pid: u32, pidfd: BorrowedFd<'_>, namespaces: bool) -> SysResult<Option<Visited>> {
    match look(pid, namespaces) {
        // Before anything is believed: the number may have been another one's by then.
        _ if has_ended(pidfd)? => Ok(None),
        Err(error) if is_gone(error.errno) => Ok(None),
        visited => visited.map(Some),
    }
}

fn look(pid: u32, looks: bool) -> SysResult<Visited> {
    let mut proc = Proc::open()?;
    let kinds: &[Kind] = if looks { &Kind::ALL } else { &[] };
    let ours = own_namespaces::current(Kind::Users)?;
    // The user namespace first, and once more at the end. Nobody comes back from one: what was seen in between was of
    // a process that had no rights to change any of it, unless it was given them.
    let users = looks.then(|| open(pid, Kind::Users)).transpose()?;
    let mut file = |name: &str| {
        let path = format!("{pid}/{name}");
        proc.read(&path)
            .during("read", format_args!("/proc/{path}"))
    };
    let line = file("status")?;
    let control_groups = file("cgroup")?;
    let (mut namespaces, mut foreign) = (Vec::new(), None);
    for kind in kinds.iter().copied() {
        let namespace = open(pid, kind)?;
        if is_same(&namespace, &own_namespaces::current(kind)?)? {
            continue;
        }
        if !is_given(kind, &namespace, &ours)? {
            foreign = foreign.or(Some(kind));
        }
        namespaces.push((kind, namespace));
    }
    if let Some(users) = users
        && !is_same(&users, &open(pid, Kind::Users)?)?
    {
        foreign = Some(Kind::Users);
    }
    let subject = format_args!("/proc/{pid}/status");
    Ok(Visited {
        uids: Ids::from_status(&line).during("read", subject)?.uids,
        groups: numbers_after(&line, "Groups:").during("read", subject)?,
        control_groups,
        namespaces,
        foreign,
    })
}

fn open(pid: u32, kind: Kind) -> SysResult<OwnedFd> {
    own_namespaces::at(&format!("/proc/{pid}/ns/{}", kind.word()))
}

fn is_same(one: &OwnedFd, other: &OwnedFd) -> SysResult<bool> {
    Ok(status(one)?.id == status(other)?.id)
}

/// Whether a namespace was made by somebody with our rights. A service has none in our user namespace; one that it makes
/// has its own number as the owner's, and owns whatever is made in it.
fn is_given(kind: Kind, namespace: &OwnedFd, ours: &OwnedFd) -> SysResult<bool> {
    let request = match kind {
        // An administrator's choice (`NetworkNamespacePath=`), whoever made that one: to join it takes rights that are
        // lost in a user namespace of one's own, and nothing is executed out of it.
        Kind::Network => return Ok(true),
        Kind::Users if owner(namespace)? != 0 => return Ok(false),
        Kind::Users => NS_GET_PARENT,
        _ => NS_GET_USERNS,
    };
    match relative(namespace, request) {
        // It is not below ours.
        Err(Errno::PERM) => Ok(false),
        found => is_same(&found.during("ioctl", kind.word())?, ours),
    }
}

fn relative(namespace: &OwnedFd, request: libc::Ioctl) -> Result<OwnedFd, Errno> {
    // SAFETY: both requests take no argument and give a descriptor.
    let answer = unsafe { libc::ioctl(namespace.as_raw_fd(), request) };
    if answer < 0 {
        return Err(last_error());
    }
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(answer) })
}

/// The UID of whoever made a user namespace, as it is seen in ours.
fn owner(namespace: &OwnedFd) -> SysResult<u32> {
    let mut uid: libc::uid_t = libc::uid_t::MAX;
    let fd = namespace.as_fd().as_raw_fd();
    // SAFETY: the request writes one uid_t, which outlives the call.
    let answer = unsafe { libc::ioctl(fd, NS_GET_OWNER_UID, &raw mut uid) };
    match answer {
        0 => Ok(uid),
        _ => Err(last_error()).during("ioctl", "NS_GET_OWNER_UID"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    #[test]
    fn we_live_where_we_live() {
        let pidfd = pidfd_open(getpid(), PidfdFlags::empty()).expect("a pidfd");
        let visited = visit(std::process::id(), pidfd.as_fd(), true);
        let visited = visited.expect("an answer").expect("we run");
        assert!(visited.namespaces.is_empty(), "{visited:?}");
        assert_eq!(visited.foreign, None);
        assert!(visited.control_groups.contains("::/"), "{visited:?}");
    }
}
