//! Showing copies of the files of accounts in the mount namespace of a service that runs.
//!
//! The kernel takes a mount away, in all namespaces, when what it lies on is removed or replaced on the host (rename(2)):
//! `useradd` does that to `/etc/passwd`. Then the service sees the host's new file, without its own user, until its copy
//! is shown again.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

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
    /// Whether it says what the host's file does. Another one is shown no longer: the host's file is, without the user.
    pub current: bool,
}

/// A copy that is about to be shown, or taken away.
struct Taken {
    database: Database,
    found: Status,
    tree: OwnedFd,
    current: bool,
}

/// A view in which copies are being shown.
///
/// Whoever may mount in it (a command that keeps root, or has `CAP_SYS_ADMIN`) can lay a file system over `/etc` that
/// never answers (FUSE), and nothing ends a thread that asks it but the end of that file system. So nobody has to wait.
#[derive(Debug)]
pub struct Work(Receiver<Result<(), Failure>>);

impl Work {
    /// Waits until it is done, `patience` at most: nothing, if it is not.
    ///
    /// # Errors
    /// Of [`Stage::Namespace`].
    pub fn wait(&self, patience: Duration) -> Option<Result<(), Failure>> {
        match self.0.recv_timeout(patience) {
            Ok(done) => Some(done),
            Err(RecvTimeoutError::Timeout) => None,
            // A panic ends the program.
            Err(RecvTimeoutError::Disconnected) => {
                let why = "the thread ended";
                Some(Err(Failure::new(Stage::Namespace, "its view", why)))
            }
        }
    }
}

/// Begins to see to it that `namespace` shows these copies. What it does is done to that namespace alone, by a thread of its own: the
/// mounts of a service are deaf upwards, and nothing that is mounted there arrives anywhere else.
///
/// `namespace` must be one that we have built. Its service can change nothing on the way to the files but what it may
/// write to: there it may put a link in the place of a file, which is covered as the link that it is.
///
/// # Errors
/// Of [`Stage::Namespace`].
pub fn show<'c>(
    namespace: &OwnedFd,
    copies: impl Iterator<Item = &'c Copy>,
) -> Result<Work, Failure> {
    let taken = copies.map(|copy| {
        let taken = take(copy);
        taken.or_fail(Stage::Namespace, &copy.path)
    });
    let taken: Vec<Taken> = taken.collect::<Result<_, _>>()?;
    let namespace = namespace.try_clone().or_fail(Stage::Namespace, "dup")?;
    let work = move || {
        own_namespaces::enter_mounts_alone(&namespace).or_fail(Stage::Namespace, "its view")?;
        // The thread is in it from here on.
        drop(namespace);
        taken.into_iter().try_for_each(|taken| {
            let path = taken.database.path();
            put(taken).or_fail(Stage::Namespace, path)
        })
    };
    let (done, waiting) = channel();
    let thread = thread::Builder::new().name("view".into());
    // Who does not wait any more is no error.
    let thread = thread.spawn(move || drop(done.send(work())));
    thread.or_fail(Stage::Namespace, "clone")?;
    Ok(Work(waiting))
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
        current: copy.current,
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
        // One of ours: all copies lie in one file system, which nobody else writes to.
        let former = is_mount_point(&here)? && found.id.0 == taken.found.id.0;
        if !taken.current && former {
            mount::detach(&parent, &name)?;
        }
        if !taken.current || found.id == taken.found.id {
            return Ok(());
        }
        let Some(tree) = spare.take() else {
            return Err("is replaced again and again".into());
        };
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
