//! The folder that a socket stands in, and the way to it.
//!
//! Whoever can rename a folder on the way decides who is at the other end when a client connects, and where root makes a
//! file. So all of them must be root's, and nobody else may be able to write to them; in a sticky one (`/tmp`) others can,
//! but cannot touch what is root's. The last one may be of the socket's own user.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::failure::{Failure, OrFail, Stage};
use crate::root_files::unless_missing;
use crate::sys::fs::{
    Status, make_directory, open_beneath, open_trusted, path_of, pin_without_links, set_mode,
    status,
};

const STAGE: Stage = Stage::Sockets;

/// Others than the owner may write.
const OTHERS_WRITE: u32 = 0o022;

/// Only what is one's own can be renamed and removed.
const STICKY: u32 = 0o1000;

/// A name in a folder.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) descriptor: OwnedFd,
    pub(super) name: String,
    /// Nobody but root has a say in it.
    only_root: bool,
}

impl Folder {
    /// Whether nobody else can make a name in it.
    pub(super) fn is_roots_alone(&self) -> bool {
        self.only_root
    }

    /// Refuses what somebody has put under our name where others can: it is neither used nor removed. `uid` is whose it
    /// is, `owner` whose it shall be.
    pub(super) fn refuse_squatter(&self, path: &str, uid: u32, owner: u32) -> Result<(), Failure> {
        if self.only_root || uid == 0 || uid == owner {
            return Ok(());
        }
        let why = format!("is there already, and belongs to {uid}; look at it, then: rm {path}");
        Err(Failure::new(STAGE, path, why))
    }
}

/// Opens the folder above `path`. Those that are missing are made, root's and with that mode. `owner`: whose the socket
/// will be.
pub(super) fn folder(path: &str, mode: u32, owner: u32) -> Result<Folder, Failure> {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut parts: Vec<&str> = above.split('/').skip(1).collect();
    let mut missing = Vec::new();
    let mut here = loop {
        let there = format!("/{}", parts.join("/"));
        if let Some(found) = unless_missing(open_trusted(&there)).or_fail(STAGE, &there)? {
            break found;
        }
        match parts.pop() {
            Some(part) => missing.push(part),
            None => return Err(Failure::new(STAGE, path, "there is no way to it")),
        }
    };
    // Before anything is made: not in somebody's folder.
    let mut found = check_way(&here, path, owner, missing.is_empty())?;
    if !missing.is_empty() && mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        let why = format!(
            "DirectoryMode={mode:04o} lets others than root put another socket in its place"
        );
        return Err(Failure::new(STAGE, path, why));
    }
    for part in missing.into_iter().rev() {
        here = match make_directory(&here, part) {
            Ok(made) => {
                set_mode(&made, mode).or_fail(STAGE, path)?;
                made
            }
            // Just now, by root: nobody else can.
            Err(error) if error.errno == Errno::EXIST => {
                open_beneath(&here, part).or_fail(STAGE, path)?
            }
            Err(error) => return Err(Failure::new(STAGE, path, error)),
        };
        found = status(&here).or_fail(STAGE, path)?;
        refuse(&found, path, part, owner, true)?;
    }
    Ok(Folder {
        descriptor: here,
        name: name.into(),
        only_root: found.uid == 0 && found.mode & OTHERS_WRITE == 0,
    })
}

/// Checks every folder from the root to this one, where it truly is: a link of root's may lead into somebody's folders.
fn check_way(here: &OwnedFd, path: &str, owner: u32, is_last: bool) -> Result<Status, Failure> {
    let real = path_of(here).or_fail(STAGE, path)?;
    let mut ways: Vec<&Path> = real.ancestors().collect();
    ways.reverse();
    let mut above_is_sticky = false;
    let mut found = None;
    for way in ways {
        let pinned = pin_without_links(way).or_fail(STAGE, path)?;
        let status = status(&pinned).or_fail(STAGE, path)?;
        let may_be_theirs = is_last && way == real && !above_is_sticky;
        refuse(
            &status,
            path,
            &way.display().to_string(),
            owner,
            may_be_theirs,
        )?;
        above_is_sticky = status.mode & OTHERS_WRITE != 0;
        found = Some(status);
    }
    let opened = status(here).or_fail(STAGE, path)?;
    match found.filter(|found| found.id == opened.id && found.kind == FileType::Directory) {
        Some(found) => Ok(found),
        None => Err(Failure::new(
            STAGE,
            path,
            "is on a way that changes under our feet",
        )),
    }
}

/// Refuses a folder in which somebody could put something else in our place.
fn refuse(
    found: &Status,
    path: &str,
    folder: &str,
    owner: u32,
    may_be_theirs: bool,
) -> Result<(), Failure> {
    let refused = |why: String| Err(Failure::new(STAGE, path, why));
    let theirs = may_be_theirs && found.uid == owner;
    if found.uid != 0 && !theirs {
        return refused(format!(
            "{folder} belongs to {}, who could put another socket in its place; look at it, then: chown root {folder}",
            found.uid
        ));
    }
    // One that is sticky and theirs: the owner may rename and remove everything in it.
    let sticky = found.mode & STICKY != 0 && found.uid == 0;
    if found.mode & OTHERS_WRITE != 0 && !sticky {
        return refused(format!(
            "{folder} can be written by others ({:04o}), who could put another socket in its place; look at it, then: chmod go-w {folder}",
            found.mode
        ));
    }
    Ok(())
}
