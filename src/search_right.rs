//! The right to pass a boundary directory, for services that have no view of their own.
//!
//! A boundary is root's, mode 0700. Such a service gets an entry in its access control list that lets its user search
//! the directory, and no more: not list it, not change it. It is noted in the lease before it is there, and goes with
//! the lease. While anybody has it, stat(2) shows the mode 0710: what it calls the group's bits is the list's mask then,
//! and the group's own entry says nothing.
//!
//! Whoever may search the boundary reaches everything behind it whose name he can guess. So the directories there are
//! closed by their own modes first, which they are not where all services have a view of their own; plans see the entry,
//! and make no open one as long as it is there.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::access_list::{ATTRIBUTE, AccessList};
use crate::exec_directory::{Kind, lies_in};
use crate::failure::{Failure, OrFail, Stage};
use crate::lease::Lease;
use crate::place::{self, Place};
use crate::sys::fs::{Status, open_beneath, pin_beneath, set_mode, shown_names, status};
use crate::sys::{SysResult, attribute};

/// Why something cannot be done, for a step.
type Reason = Box<dyn std::error::Error + Send + Sync>;

/// A list is read, changed and written: one after the other.
static LISTS: Mutex<()> = Mutex::new(());

/// How deep directories of root's may lie between a boundary and a service's.
const DEEPEST: usize = 64;

fn alone() -> MutexGuard<'static, ()> {
    LISTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The list of a directory; that of its mode, where it has none or the file system knows none.
fn list_of(directory: &OwnedFd, found: &Status) -> Result<AccessList, Reason> {
    match attribute::read(directory, ATTRIBUTE) {
        Ok(Some(bytes)) => Ok(AccessList::parse(&bytes)?),
        Ok(None) => Ok(AccessList::of_mode(found.mode)),
        Err(error) if error.errno == Errno::OPNOTSUPP => Ok(AccessList::of_mode(found.mode)),
        Err(error) => Err(error.into()),
    }
}

/// The mode of a boundary directory but for the searchers, and who they are.
///
/// # Errors
/// Those of the calls, and for a list that is not understood.
pub fn look(directory: &OwnedFd) -> Result<(u32, Vec<u32>), Reason> {
    let found = status(directory)?;
    let list = list_of(directory, &found)?;
    // The set-ID and sticky bits are in no list.
    Ok((
        (found.mode & 0o7000) | list.mode(),
        list.searchers().collect(),
    ))
}

/// Lets a user search the boundary directory at `path`.
///
/// # Errors
/// Where the file system has no access control lists; where something of root's behind the boundary is open to everybody
/// who passes it; those of the calls. Then the user may not search it.
pub fn grant(path: &str, uid: u32) -> Result<(), Reason> {
    let directory = open(path)?;
    let _alone = alone();
    let mut list = list_of(&directory, &status(&directory)?)?;
    list.let_search(uid);
    match attribute::write(&directory, ATTRIBUTE, &list.bytes()) {
        Err(error) if error.errno == Errno::OPNOTSUPP => {
            return Err(
                "is on a file system without access control lists, so the service cannot be let to its directories behind \
                 it without letting everybody; have one there that has them (tmpfs, ext4, xfs, btrfs), or give the \
                 service a view of its own (--sandbox=full)"
                    .into(),
            );
        }
        set => set?,
    }
    // Whoever makes something open from here on sees the entry first: see `while_closed`.
    close(path, &directory, uid).inspect_err(|_| {
        if let Err(error) = take_from(&directory, uid) {
            tracing::error!(path, uid, %error, "may still be searched");
        }
    })
}

/// Keeps everybody from being let through the boundary that `path` lies behind as long as this is held; nothing, if
/// somebody may pass it already. Without it, what is opened by its mode on the word of an old look would be open to
/// whoever was let through since.
///
/// # Errors
/// Those of the calls, and for a list that is not understood.
pub fn while_closed(path: &str) -> Result<Option<Closed>, Reason> {
    let closed = Closed { _alone: alone() };
    let mut boundaries = Kind::ALL.into_iter().filter_map(Kind::boundary);
    let boundary = boundaries.find(|boundary| lies_in(path, boundary));
    let boundary = boundary.ok_or("lies behind no boundary")?;
    let (_, searchers) = look(&open(boundary)?)?;
    Ok(searchers.is_empty().then_some(closed))
}

/// See [`while_closed`].
pub struct Closed {
    _alone: MutexGuard<'static, ()>,
}

/// Takes the right from a user. That the directory is gone, or he does not have it, is none.
///
/// # Errors
/// Those of the calls, and for a list that is not understood.
pub fn revoke(path: &str, uid: u32) -> Result<(), Reason> {
    let directory = match open(path) {
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
            return Ok(());
        }
        opened => opened?,
    };
    let _alone = alone();
    take_from(&directory, uid)
}

fn take_from(directory: &OwnedFd, uid: u32) -> Result<(), Reason> {
    let mut list = list_of(directory, &status(directory)?)?;
    if list.stop_search(uid) {
        attribute::write(directory, ATTRIBUTE, &list.bytes())?;
    }
    Ok(())
}

/// Takes everything back that a lease has of these rights.
///
/// # Errors
/// Of the stage of the kind of directories behind that boundary.
pub fn revoke_all(lease: &Lease) -> Result<(), Failure> {
    let mut paths = lease.passes.iter();
    paths.try_for_each(|path| revoke(path, lease.uid).or_fail(stage(path), path))
}

/// Takes the rights back that no lease has: of leases that went with /run, or with the host.
pub fn sweep<'a>(leases: impl Iterator<Item = &'a Lease>) {
    let mut held: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for lease in leases {
        for path in &lease.passes {
            held.entry(path).or_default().push(lease.uid);
        }
    }
    for path in Kind::ALL.into_iter().filter_map(Kind::boundary) {
        let Ok(directory) = open(path) else {
            continue;
        };
        let searchers = match look(&directory) {
            Ok((_, searchers)) => searchers,
            Err(error) => {
                tracing::error!(path, %error, "cannot be looked at");
                continue;
            }
        };
        let of_it = held.get(path);
        for uid in searchers {
            if of_it.is_some_and(|uids| uids.contains(&uid)) {
                continue;
            }
            match revoke(path, uid) {
                Ok(()) => tracing::warn!(path, uid, "could be searched by a user without a lease"),
                Err(error) => tracing::error!(path, uid, %error, "may still be searched"),
            }
        }
    }
}

fn stage(path: &str) -> Stage {
    let mut kinds = Kind::ALL.into_iter();
    let kind = kinds.find(|kind| kind.boundary() == Some(path));
    kind.map_or(Stage::Namespace, Kind::stage)
}

/// Who owns something behind the boundary directory at `path` that whoever passes it comes to, and one such path; but
/// for root, and for what is at the paths `own`. A mode cannot close it to its owner.
///
/// # Errors
/// Those of the calls, and where nobody can tell.
pub fn owners(path: &str, own: &[String]) -> Result<BTreeMap<u32, String>, Reason> {
    let mut owners = BTreeMap::new();
    match open(path) {
        Err(error) if error.errno == Errno::NOENT => {}
        opened => owners_below(path, opened?.as_fd(), own, 0, &mut owners)?,
    }
    Ok(owners)
}

fn owners_below(
    path: &str,
    directory: BorrowedFd<'_>,
    own: &[String],
    depth: usize,
    owners: &mut BTreeMap<u32, String>,
) -> Result<(), Reason> {
    for (name, found) in entries(directory, depth)? {
        let below = format!("{path}/{name}");
        if own.contains(&below) {
            continue;
        }
        if found.uid != 0 {
            owners.entry(found.uid).or_insert(below);
        } else if found.kind == FileType::Directory
            && let Some(inner) = unless_gone(open_beneath(directory, &name))?
        {
            let depth = depth.saturating_add(1);
            owners_below(&below, inner.as_fd(), own, depth, owners)?;
        }
    }
    Ok(())
}

/// What is in a directory behind a boundary, so deep, but for symbolic links: they lead to what is looked at where it is.
fn entries(directory: BorrowedFd<'_>, depth: usize) -> Result<Vec<(String, Status)>, Reason> {
    let (names, others) = shown_names(directory)?;
    if others > 0 || depth > DEEPEST {
        let why =
            "holds names that are no text, or lies too deep: nobody can tell what is open in it";
        return Err(why.into());
    }
    let mut entries = Vec::new();
    for name in names {
        let found = unless_gone(pin_beneath(directory, &name).and_then(status))?;
        if let Some(found) = found.filter(|found| found.kind != FileType::Symlink) {
            entries.push((name, found));
        }
    }
    Ok(entries)
}

/// Nothing, if what was listed is not there any more.
fn unless_gone<T>(result: SysResult<T>) -> SysResult<Option<T>> {
    match result {
        Err(error) if error.errno == Errno::NOENT => Ok(None),
        result => result.map(Some),
    }
}

/// Opens a boundary directory.
fn open(path: &str) -> SysResult<OwnedFd> {
    let Place { parent, name } = place::find(path)?;
    open_beneath(parent, &name)
}

/// Closes the directories behind a boundary to whoever passes it, and refuses where something else is open to him.
///
/// To refuse where a directory is open would let any service keep the others from starting, by the mode of its own. Those
/// with a view of their own do not miss what is taken: nobody but they came there before.
fn close(path: &str, directory: &OwnedFd, uid: u32) -> Result<(), Reason> {
    match close_below(path, directory.as_fd(), uid, 0)? {
        None => Ok(()),
        Some((open, mode)) => Err(format!(
            "cannot be opened for the service, which could use {open} then: it is root's, no directory of a service, and \
             has mode {mode:04o}; move it away, or: chmod o= {open}"
        )
        .into()),
    }
}

/// The first thing below a directory that anybody who comes so far may use, and that is neither this user's nor some
/// service's directory, which is closed. What is root's and can be searched is the way to others further in.
fn close_below(
    path: &str,
    directory: BorrowedFd<'_>,
    uid: u32,
    depth: usize,
) -> Result<Option<(String, u32)>, Reason> {
    for (name, found) in entries(directory, depth)? {
        let (below, open) = (format!("{path}/{name}"), found.mode & 0o007);
        if found.uid == uid || open == 0 {
            continue;
        }
        if found.kind != FileType::Directory || (found.uid == 0 && open & 0o2 != 0) {
            return Ok(Some((below, found.mode)));
        }
        let Some(inner) = unless_gone(open_beneath(directory, &name))? else {
            continue;
        };
        if found.uid != 0 {
            // Nothing but its owner can change what is at this name: all above it is root's.
            set_mode(&inner, found.mode & 0o7770)?;
            tracing::info!(path = below, mode = found.mode, "closed to others");
        } else if let Some(open) = close_below(&below, inner.as_fd(), uid, depth.saturating_add(1))?
        {
            return Ok(Some(open));
        }
    }
    Ok(None)
}
