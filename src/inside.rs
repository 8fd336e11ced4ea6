//! Finding the way into a service that runs: a process of it whose sandbox is the one that it was given.

use std::os::fd::{AsFd, OwnedFd};

use crate::control_group::tree;
use crate::failure::{Failure, OrFail, Stage};
use crate::holder::Holder;
use crate::lease::Lease;
use crate::level::Level;
use crate::sys::fs::{open_beneath, status};
use crate::sys::own_namespaces::{self, Kind};
use crate::sys::process_wait::has_ended;
use crate::sys::visit::{Visited, visit};
use crate::sys::{cgroup, family};

/// The mount namespace in which the daemon is, and launchers are: whoever asks may be in another one.
const HOST: &str = "/proc/1/ns/mnt";

/// What a service lives in.
#[derive(Debug)]
pub struct Inside {
    /// The process that it was seen of.
    pub pid: u32,
    /// The groups of that process.
    pub groups: Vec<u32>,
    /// Its namespaces that are not ours, in the order in which they are entered.
    pub namespaces: Vec<(Kind, OwnedFd)>,
    /// Its control group, for whoever joins it, if it was given one.
    pub control_group: Option<OwnedFd>,
}

impl Inside {
    /// Whether a namespace of a kind is one of those.
    pub fn has(&self, wanted: Kind) -> bool {
        self.namespaces.iter().any(|(kind, _)| *kind == wanted)
    }
}

/// Finds what a service lives in, of the holder's process or of one below it: a launcher that stays is outside of the
/// sandbox. A service with a `sandbox` of its own view has a mount namespace; a process that sees what we see is none of it.
///
/// No process counts that is in a user namespace of its own making, or in any that was made in such a one: its files are
/// what it likes, and whoever executes them with more rights than it has is its prey.
///
/// # Errors
/// Of [`Stage::Namespace`]: there is none, and why.
pub fn find(
    lease: &Lease,
    holder: &Holder,
    pidfd: &OwnedFd,
    sandbox: bool,
) -> Result<Inside, Failure> {
    let service = holder.service.as_str();
    let fail = |why: String| Failure::new(Stage::Namespace, service, why);
    let Some(top) = holder.by.pid() else {
        return Err(fail(
            "is a user that is held by a descriptor: nothing runs that could be entered".into(),
        ));
    };
    // At the weaker levels it was given no namespace, and nothing is entered.
    let has_view = holder.sandbox.is_none_or(Level::has_view);
    let mut search = Search {
        uid: lease.uid,
        sandbox: sandbox && has_view,
        host: own_namespaces::at(HOST).ok(),
        second: None,
        refused: None,
    };
    let look = |search: &mut Search, pid: u32, pidfd: &OwnedFd| {
        let visited = visit(pid, pidfd.as_fd(), has_view).or_fail(Stage::Namespace, service)?;
        Ok::<_, Failure>(visited.and_then(|visited| search.judge(pid, visited)))
    };
    // The service itself, usually: then nobody else has to be looked at.
    if let Some((pid, visited)) = look(&mut search, top, pidfd)? {
        return inside(lease, pid, visited);
    }
    let below = family::below(top).or_fail(Stage::Namespace, service)?;
    if has_ended(pidfd.as_fd()).or_fail(Stage::Namespace, service)? {
        return Err(fail("has just ended".into()));
    }
    for (pid, pidfd) in below {
        if let Some((pid, visited)) = look(&mut search, pid, &pidfd)? {
            return inside(lease, pid, visited);
        }
    }
    match (search.second, search.refused) {
        (Some((pid, visited)), _) => inside(lease, pid, visited),
        (None, Some((pid, kind))) => Err(fail(format!(
            "has no process left in the sandbox that it was given: {pid} is in a {} namespace of its own making, and what is to be seen there is not to be trusted",
            kind.word()
        ))),
        (None, None) => Err(fail("has no process in a sandbox at the moment".into())),
    }
}

/// What was seen on the way to a process that will do.
struct Search {
    uid: u32,
    sandbox: bool,
    /// What everybody sees, whoever asks: a launcher is there.
    host: Option<OwnedFd>,
    /// One that will do if there is none that is better.
    second: Option<(u32, Visited)>,
    /// One that may show anything.
    refused: Option<(u32, Kind)>,
}

impl Search {
    /// Gives back a process that will do.
    fn judge(&mut self, pid: u32, visited: Visited) -> Option<(u32, Visited)> {
        if !is_theirs(&visited, self.uid) {
            return None;
        }
        if let Some(kind) = visited.foreign {
            self.refused = self.refused.or(Some((pid, kind)));
            return None;
        }
        let mut mounts = visited.namespaces.iter();
        let mounts = mounts.find(|it| it.0 == Kind::Mounts).map(|it| &it.1);
        let has_mounts = mounts.is_some_and(|mounts| !is_same(mounts, self.host.as_ref()));
        let lives_apart = has_mounts || (!self.sandbox && !visited.namespaces.is_empty());
        let is_users = visited.uids.contains(&self.uid);
        if lives_apart && is_users {
            return Some((pid, visited));
        }
        // A command that keeps root in the sandbox; the user's own where there is none.
        let will_do = lives_apart || (!self.sandbox && is_users);
        if will_do && self.second.is_none() {
            self.second = Some((pid, visited));
        }
        None
    }
}

/// Whether two descriptors are of one namespace; not, where that cannot be told.
fn is_same(one: &OwnedFd, other: Option<&OwnedFd>) -> bool {
    let id = |fd: &OwnedFd| status(fd).map(|status| status.id);
    other.is_some_and(|other| matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other))
}

/// Whether all of a process is the user's, or root's: a command that keeps root.
fn is_theirs(visited: &Visited, uid: u32) -> bool {
    let is = |number: u32| visited.uids.iter().all(|own| *own == number);
    is(uid) || is(0)
}

fn inside(lease: &Lease, pid: u32, visited: Visited) -> Result<Inside, Failure> {
    Ok(Inside {
        pid,
        control_group: control_group(lease, &visited.control_groups)?,
        groups: visited.groups,
        namespaces: visited.namespaces,
    })
}

/// The way into the control group of a process, if that is one of the lease's or beneath one.
fn control_group(lease: &Lease, text: &str) -> Result<Option<OwnedFd>, Failure> {
    let Some(theirs) = tree::group_of(text) else {
        return Ok(None);
    };
    let subject = "/proc/self/mountinfo";
    let table = std::fs::read(subject).or_fail(Stage::ControlGroup, subject)?;
    let mounts = tree::mounts(&String::from_utf8_lossy(&table));
    let is_ours = |path: &str| {
        let mut tops = lease.control_groups.iter();
        tops.any(|top| lies_in(path, top.trim_start_matches('/')))
    };
    let mut places = mounts
        .iter()
        .filter_map(|mount| Some((mount, tree::below(mount, theirs)?)));
    let Some((mount, path)) = places.find(|(_, path)| is_ours(path)) else {
        return Ok(None);
    };
    // Whoever was given the group chose the names in it: no link, no way up.
    let opened = cgroup::open(&mount.point)
        .and_then(|top| open_beneath(top, path))
        .and_then(cgroup::entrance);
    opened.or_fail(Stage::ControlGroup, theirs).map(Some)
}

fn lies_in(group: &str, top: &str) -> bool {
    let rest = group.strip_prefix(top);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
