//! Private directories that are kept at their public paths, because they could not be moved.
//!
//! Nobody but their owner may enter them, and that is a number: it must never be given to another service.

use std::os::fd::OwnedFd;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::exec_directory::{ExecDirectory, Kind};
use crate::failure::{Failure, OrFail};
use crate::place;
use crate::sys::SysResult;
use crate::sys::fs::{Status, link_target, open_beneath, pin_beneath, shown_names, status};

/// Those that there are, with the owner of each.
///
/// # Errors
/// Of the stage of a kind of directories whose boundary cannot be read.
pub fn look() -> Result<Vec<(u32, ExecDirectory)>, Failure> {
    let mut found = Vec::new();
    for kind in Kind::ALL {
        let Some(boundary) = kind.boundary() else {
            continue;
        };
        let opened =
            place::find(boundary).and_then(|place| open_beneath(&place.parent, &place.name));
        let seen = if_there(opened).and_then(|top| match top {
            Some(top) => records(kind, &top, &mut found),
            None => Ok(()),
        });
        seen.or_fail(kind.stage(), boundary)?;
    }
    Ok(found)
}

/// Adds the records behind a boundary. They are ours alone, and so are the directories above them, but a
/// tree of root's may hold anything: what was given to root where it could not be moved, or is half removed. What
/// a service planted in one must neither be taken for a record nor keep everybody from being started.
fn records(kind: Kind, boundary: &OwnedFd, found: &mut Vec<(u32, ExecDirectory)>) -> SysResult<()> {
    let mut folders = vec![String::new()];
    while let Some(above) = folders.pop() {
        let Some(folder) = if_there(open_beneath(boundary, &above))? else {
            continue;
        };
        for name in shown_names(&folder)?.0 {
            let path = match above.as_str() {
                "" => name.clone(),
                above => format!("{above}/{name}"),
            };
            // What nobody can ask for has no record.
            let Ok(place) = ExecDirectory::parse(kind, &path) else {
                continue;
            };
            let Some(entry) = if_there(pin_beneath(&folder, &name))? else {
                continue;
            };
            let Status {
                kind: is, uid: of, ..
            } = status(&entry)?;
            match is {
                FileType::Symlink if leads_to(&entry, &place.adoption_record())? => {
                    found.extend(owner(&place)?.map(|uid| (uid, place)));
                }
                // What is a service's has no records of ours in it.
                FileType::Directory if of == 0 && !is_tree(&place)? => folders.push(path),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether a link points to `target`.
fn leads_to(link: &OwnedFd, target: &str) -> SysResult<bool> {
    match link_target(link) {
        // Not UTF-8: none of ours.
        Err(error) if error.errno == Errno::ILSEQ => Ok(false),
        found => Ok(found? == target),
    }
}

/// Whether what is behind the boundary is a directory of a service, not one between such: its public link
/// says so, which is removed after it.
fn is_tree(directory: &ExecDirectory) -> SysResult<bool> {
    match public(directory)? {
        Some(entry) if status(&entry)?.kind == FileType::Symlink => {
            leads_to(&entry, &directory.link_target())
        }
        _ => Ok(false),
    }
}

/// What is at the public path, if anything is.
fn public(directory: &ExecDirectory) -> SysResult<Option<OwnedFd>> {
    let place = place::find(&directory.public());
    if_there(place.and_then(|place| pin_beneath(&place.parent, &place.name)))
}

/// The owner of what is at the public path, if anything is.
fn owner(directory: &ExecDirectory) -> SysResult<Option<u32>> {
    let entry = public(directory)?;
    match entry.map(status).transpose() {
        // The owner has mounted a file system of his there (FUSE): he is a user of the host, whose number is given
        // to nobody anyway, and he keeps nobody from being started.
        Err(error) if error.errno == Errno::ACCESS => Ok(None),
        found => Ok(found?.map(|status| status.uid)),
    }
}

/// Nothing, where a path leads to nothing without following a link.
fn if_there(opened: SysResult<OwnedFd>) -> SysResult<Option<OwnedFd>> {
    match opened {
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        opened => opened.map(Some),
    }
}
