//! Showing copies of the files of accounts in the mount namespace of a service that runs.
//!
//! The kernel takes a mount away, in all namespaces, when what it lies on is removed or replaced on the host (rename(2)):
//! `useradd` does that to `/etc/passwd`. Then the service sees the host's new file, without its own user, until its copy
//! is shown again.

use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use rustix::io::Errno;

use super::{Reason, view};
use crate::account_lines::Database;
use crate::failure::{Failure, OrFail, Stage};
use crate::place::{self, Place};
use crate::sys::fs::{Status, is_mount_point, pin_beneath, status};
use crate::sys::{SysResult, mount, own_namespaces};

/// How often a file is looked at again that somebody replaces at the same moment.
const TRIES: usize = 8;

/// A copy of a file of accounts, on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Of which file.
    pub database: Database,
    /// Where it is.
    pub path: String,
}

/// A copy that is about to be shown.
struct Taken {
    database: Database,
    found: Status,
    tree: OwnedFd,
}

/// Sees to it that `namespace` shows these copies. What it does is done to that namespace alone, by a thread of its own: the
/// mounts of a service are deaf upwards, and nothing that is mounted there arrives anywhere else.
///
/// `namespace` must be one that we have built. Its service can change nothing on the way to the files but what it may
/// write to: there it may put a link in the place of a file, which is covered as the link that it is.
///
/// # Errors
/// Of [`Stage::Namespace`].
pub fn show(namespace: &OwnedFd, copies: &[Copy]) -> Result<(), Failure> {
    let taken = copies.iter().map(|copy| {
        let taken = take(copy);
        taken.or_fail(Stage::Namespace, &copy.path)
    });
    let taken: Vec<Taken> = taken.collect::<Result<_, _>>()?;
    let work = || {
        own_namespaces::enter_mounts_alone(namespace).or_fail(Stage::Namespace, "its view")?;
        taken.into_iter().try_for_each(|taken| {
            let path = taken.database.path();
            put(taken).or_fail(Stage::Namespace, path)
        })
    };
    // A panic ends the program.
    let nobody = || {
        Err(Failure::new(
            Stage::Namespace,
            "its view",
            "the thread ended",
        ))
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("view".into());
        let thread = thread.spawn_scoped(scope, work);
        let thread = thread.or_fail(Stage::Namespace, "clone")?;
        thread.join().unwrap_or_else(|_| nobody())
    })
}

fn take(copy: &Copy) -> Result<Taken, Reason> {
    let Place { parent, name } = place::find(&copy.path)?;
    let found = status(pin_beneath(parent, &name)?)?;
    let tree = match view::take(&copy.path, None, false, true) {
        Ok(tree) => tree,
        Err(super::Stop::Failed(why)) => return Err(why),
        Err(super::Stop::NotYet(why)) => return Err(why.path().into()),
    };
    let seen = status(&tree)?;
    if seen.id != found.id {
        return Err("was replaced at this moment".into());
    }
    Ok(Taken {
        database: copy.database,
        found,
        tree,
    })
}

/// Shows one in the namespace that the calling thread is in.
fn put(taken: Taken) -> Result<(), Reason> {
    let mut spare = Some(&taken.tree);
    for _ in 0..TRIES {
        let Place { parent, name } = place::find(taken.database.path())?;
        let here = match pin_beneath(&parent, &name) {
            // It is gone from the host: there is nothing that a copy could lie on, until there is again.
            Err(error) if error.errno == Errno::NOENT => return Ok(()),
            here => here?,
        };
        let found = status(&here)?;
        if found.id == taken.found.id {
            return Ok(());
        }
        let Some(tree) = spare.take() else {
            return Err("is replaced again and again".into());
        };
        // One of ours: all copies lie in one file system, which nobody else writes to.
        let former = is_mount_point(&here)? && found.id.0 == taken.found.id.0;
        let put = match former {
            false => mount::attach(tree, &here),
            true => exchange(tree, &here, &parent, &name),
        };
        match put {
            // What it was to lie on was replaced since.
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::INVAL) => spare = Some(tree),
            put => put?,
        }
    }
    Err("is replaced again and again".into())
}

/// Puts a copy in the place of a former one: at no moment neither of them is seen, but before Linux 6.5.
fn exchange(tree: &OwnedFd, here: &OwnedFd, parent: &OwnedFd, name: &str) -> SysResult<()> {
    match mount::attach_beneath(tree.as_fd(), here) {
        Ok(()) => mount::detach(parent, name),
        Err(error) if error.errno == Errno::INVAL => {
            mount::detach(parent, name)?;
            mount::attach(tree, pin_beneath(parent, name)?)
        }
        failed => failed,
    }
}
