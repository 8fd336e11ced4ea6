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
use crate::sys::fs::{link_target, open_beneath, pin_beneath, shown_names, status};

/// How many components a name below a boundary may have to be found. Their records are ours alone, and so
/// are the directories above them.
const DEEPEST: usize = 16;

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
        match opened {
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            opened => opened
                .and_then(|top| records(kind, &top, "", &mut found))
                .or_fail(kind.stage(), boundary)?,
        }
    }
    Ok(found)
}

/// Adds the records in `directory`, which is at `above`.
fn records(
    kind: Kind,
    directory: &OwnedFd,
    above: &str,
    found: &mut Vec<(u32, ExecDirectory)>,
) -> SysResult<()> {
    for name in shown_names(directory)?.0 {
        let path = match above {
            "" => name.clone(),
            above => format!("{above}/{name}"),
        };
        let entry = match pin_beneath(directory, &name) {
            Err(error) if error.errno == Errno::NOENT => continue,
            entry => entry?,
        };
        let entry_status = status(&entry)?;
        match entry_status.kind {
            FileType::Symlink => {
                let record = ExecDirectory::parse(kind, &path).ok();
                let target = link_target(&entry)?;
                if let Some(place) = record.filter(|place| place.adoption_record() == target)
                    && let Some(uid) = owner(&place)?
                {
                    found.push((uid, place));
                }
            }
            // What is a service's has no records of ours in it.
            FileType::Directory if entry_status.uid == 0 && path.split('/').count() < DEEPEST => {
                records(kind, &open_beneath(directory, &name)?, &path, found)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The owner of what is at the public path, if anything is.
fn owner(directory: &ExecDirectory) -> SysResult<Option<u32>> {
    let pinned =
        place::find(&directory.public()).and_then(|place| pin_beneath(&place.parent, &place.name));
    match pinned {
        Err(error) if error.errno == Errno::NOENT => Ok(None),
        pinned => Ok(Some(status(pinned?)?.uid)),
    }
}
