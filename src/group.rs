//! The control group of an activation: made, equipped, entered, removed.
//!
//! Ours lie in a group `dynuser`. Where systemd leads the host, that is beneath the group of our own unit, which must
//! have been given to us (`Delegate=yes`): the rest of the tree is systemd's. Elsewhere it is beneath the group of process
//! 1, which is the root of the host or of the container: not beneath whatever group the daemon was started in, which would
//! be another one each time, and not above the container, whose limits hold for its services.
//!
//! Beyond that one group nothing of the host is changed, but for one thing: a controller that a limit needs is enabled
//! on the way down to it (`cgroup.subtree_control`), and stays enabled.

mod facts;
mod making;
mod root;
#[cfg(test)]
mod tests;

pub use facts::facts;
pub use root::Root;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use crate::control_group::{Plan, Pressure, tree};
use crate::failure::{Failure, OrFail, Stage};
use crate::sys::cgroup;
use crate::sys::fs::open_beneath;
use making::Making;

/// A group that is ready for its service.
#[derive(Debug)]
pub struct Group {
    /// Its path below the root of the hierarchy as it is seen here: for the lease, and for [`remove`].
    pub path: String,
    /// Where the service enters: [`cgroup::enter`].
    pub entrance: OwnedFd,
    /// Variables for the service.
    pub environment: Vec<(&'static str, String)>,
}

/// A group, and what it does not do.
#[derive(Debug, Default)]
pub struct Made {
    /// `None` if the plan wants none, or none could be made and that was allowed.
    pub group: Option<Group>,
    /// What is not enforced though it was asked for, by directive, with the reason.
    pub unenforced: Vec<(&'static str, String)>,
}

/// Makes the group of an activation, for a service of `owner` (UID and GID).
///
/// What cannot be had for a directive in `allowed` is done without, and named. A group that an earlier activation left
/// behind is removed first, if nobody is in it.
///
/// # Errors
/// A failure of stage [`Stage::ControlGroup`] whose subject is the directive. Nothing is left behind then.
pub fn make(
    name: &str,
    plan: &Plan,
    owner: (u32, u32),
    allowed: &BTreeSet<&'static str>,
) -> Result<Made, Failure> {
    let wanted = plan.directives();
    let optional = plan.programs.iter().any(|program| program.optional)
        || matches!(plan.pressure, Some(Pressure::Watched(_)));
    if wanted.is_empty() && !optional {
        return Ok(Made {
            group: None,
            unenforced: Vec::new(),
        });
    }
    match Root::find() {
        Ok(root) => root.make(name, plan, owner, allowed),
        Err(why) => without_any(&wanted, allowed, &why.to_string()),
    }
}

/// There is no group to be had: fine if everything that wants one is allowed to go without.
fn without_any(
    wanted: &[&'static str],
    allowed: &BTreeSet<&'static str>,
    why: &str,
) -> Result<Made, Failure> {
    match wanted.iter().find(|name| !allowed.contains(*name)) {
        Some(directive) => Err(unenforceable(directive, why)),
        None => Ok(Made {
            group: None,
            unenforced: wanted.iter().map(|name| (*name, why.into())).collect(),
        }),
    }
}

/// The failure over a directive.
fn unenforceable(directive: &str, why: impl std::fmt::Display) -> Failure {
    let why = format!(
        "cannot be enforced here: {why}; --allow-unenforced={directive} starts the service without it"
    );
    Failure::new(Stage::ControlGroup, directive, why)
}

impl Root {
    /// See [`make`].
    ///
    /// # Errors
    /// See [`make`].
    pub fn make(
        &self,
        name: &str,
        plan: &Plan,
        owner: (u32, u32),
        allowed: &BTreeSet<&'static str>,
    ) -> Result<Made, Failure> {
        let name = tree::service(name).or_fail(Stage::ControlGroup, name)?;
        let mut making = Making {
            root: self,
            allowed,
            unenforced: Vec::new(),
            plan: plan.clone(),
        };
        let made = making.place(&name).and_then(|(path, group)| {
            let equipped = making.equip(&path, &group, owner);
            equipped.map_err(|why| {
                // Nobody has entered it yet.
                match self.remove(&path, Duration::ZERO) {
                    Ok(()) => why,
                    Err(also) => Failure::new(
                        why.stage,
                        why.subject.clone(),
                        format!("{}; {also}", why.source),
                    ),
                }
            })
        });
        match made {
            Ok(group) => Ok(Made {
                group: Some(group),
                unenforced: making.unenforced,
            }),
            // Over no directive in particular: there is no group at all.
            Err(why) if why.subject.is_empty() => {
                without_any(&plan.directives(), allowed, &why.source.to_string())
            }
            Err(why) => Err(why),
        }
    }

    /// Kills everything in a group that was made by [`make`], waits until it has ended, and removes the group
    /// with all that was made in it. One that is not there is fine; so is one made by a daemon before this one.
    ///
    /// # Errors
    /// That the path is none of ours, that a process does not end within `patience`, or the kernel's answer.
    pub fn remove(&self, path: &str, patience: Duration) -> Result<(), Failure> {
        let (top, rest) = tree::ours(path)
            .ok_or("is the path of no group that dynuser makes")
            .or_fail(Stage::ControlGroup, path)?;
        let parts: Vec<&str> = rest.split('/').collect();
        let Some((name, slices)) = parts.split_last() else {
            return Ok(());
        };
        let above = format!("{top}/{}", slices.join("/"));
        let parent = match open_beneath(&self.directory, above.trim_end_matches('/')) {
            Err(error) if error.errno == Errno::NOENT => return Ok(()),
            opened => opened.or_fail(Stage::ControlGroup, path)?,
        };
        match open_beneath(&parent, name) {
            Err(error) if error.errno == Errno::NOENT => {}
            opened => {
                let group = opened.or_fail(Stage::ControlGroup, path)?;
                end(&group, patience).or_fail(Stage::ControlGroup, path)?;
                let name = CString::new(*name).or_fail(Stage::ControlGroup, path)?;
                cgroup::remove(parent.as_fd(), &name).or_fail(Stage::ControlGroup, path)?;
            }
        }
        // Slices that nobody else is in, the innermost first, and our own group with the last one.
        for (at, slice) in slices.iter().enumerate().rev() {
            let above = slices
                .iter()
                .take(at)
                .fold(top.to_owned(), |path, slice| format!("{path}/{slice}"));
            let parent =
                open_beneath(&self.directory, &above).or_fail(Stage::ControlGroup, path)?;
            cgroup::remove_empty(parent, slice).or_fail(Stage::ControlGroup, path)?;
        }
        let base = top.strip_suffix(tree::TOP).unwrap_or(top);
        let base = open_beneath(&self.directory, base.trim_matches('/'));
        let base = base.or_fail(Stage::ControlGroup, path)?;
        cgroup::remove_empty(base, tree::TOP).or_fail(Stage::ControlGroup, path)?;
        Ok(())
    }
}

/// See [`Root::remove`]. Where there is no writable hierarchy (any more), nothing can be done, and that is an error:
/// the group is still there.
///
/// # Errors
/// See [`Root::remove`].
pub fn remove(path: &str, patience: Duration) -> Result<(), Failure> {
    Root::find()
        .or_fail(Stage::ControlGroup, path)?
        .remove(path, patience)
}

/// Ends everything in a group.
fn end(group: &OwnedFd, patience: Duration) -> crate::sys::SysResult<()> {
    match cgroup::kill(group) {
        // Before Linux 5.14: whoever is left was to be killed by his UID.
        Err(error) if error.errno == Errno::NOENT => {}
        killed => killed?,
    }
    cgroup::wait_until_empty(group, patience)
}
