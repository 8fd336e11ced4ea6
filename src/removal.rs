//! Removing directories of services for good, because somebody said so.
//!
//! By descriptor and by what was looked at: nothing that somebody put in a directory's place goes in its
//! stead. What is killed in the middle of it is finished when it is done again.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::cleaning::{extra_targets, parents, signs};
use crate::exec_directory::ExecDirectory;
use crate::failure::{Failure, OrFail};
use crate::place::{self, Place};
use crate::sys::entries::{is_immovable, rename_to_nothing};
use crate::sys::fs::{is_mount_point, link_target, open_beneath, pin_beneath, shown_names, status};
use crate::sys::remove::{
    FileId, empty_tree, remove_exactly, remove_if_empty, remove_link, remove_tree,
};
use crate::sys::{SysError, SysResult};

/// What the name of a directory begins with that is being removed.
const REMOVED: &str = ".dynuser-removed-";

/// A directory that is to be removed.
#[derive(Clone, Debug)]
pub struct Target {
    /// Which.
    pub directory: ExecDirectory,
    /// Further links to it, below the base of its kind.
    pub links: Vec<ExecDirectory>,
    /// Whether the service is known to have had it behind the boundary; not whether it is there.
    pub private: bool,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Absolute paths, in the order in which they went.
    pub removed: Vec<String>,
    /// What was left, and why: a sentence each.
    pub left: Vec<String>,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or what leads there is a link or no directory.
    Nothing,
    /// A symbolic link, with what it points to.
    Link(String),
    /// A directory.
    Directory {
        /// Which one.
        id: FileId,
        /// Its owner.
        uid: u32,
        /// Whether something is mounted there.
        mounted: bool,
    },
    /// Something else, or a file system that its user shows to nobody.
    Other,
}

/// What is at a path, with no link followed below the base of its kind.
///
/// # Errors
/// Those of openat2(2) and statx(2).
pub fn find(path: &str) -> SysResult<Found> {
    let pinned = match place::find(path).and_then(|at| pin_beneath(&at.parent, &at.name)) {
        Err(SysError {
            errno: Errno::NOENT | Errno::NOTDIR | Errno::LOOP,
            ..
        }) => return Ok(Found::Nothing),
        pinned => pinned?,
    };
    let found = match status(&pinned) {
        // A file system of a user (FUSE), who shows it to nobody else: it is his, and stops nobody.
        Err(error) if error.errno == Errno::ACCESS => return Ok(Found::Other),
        found => found?,
    };
    Ok(match found.kind {
        FileType::Symlink => match link_target(&pinned) {
            Err(error) if error.errno == Errno::ILSEQ => Found::Other,
            target => Found::Link(target?),
        },
        FileType::Directory => Found::Directory {
            id: found.id,
            uid: found.uid,
            mounted: is_mount_point(&pinned)?,
        },
        _ => Found::Other,
    })
}

impl Target {
    /// Whether the public directory is the service's: because it never was behind the boundary, or because a
    /// sign there says so. For `found` at the public path.
    fn owns_public(&self) -> Result<bool, Failure> {
        let Some(behind) = self.directory.behind() else {
            return Ok(true);
        };
        let found = find(&behind).or_fail(self.directory.kind().stage(), &behind)?;
        let signs = signs(&self.directory);
        Ok(!self.private || matches!(found, Found::Link(to) if signs.contains(&to)))
    }

    /// Refuses a public directory that nobody knows to be the service's.
    ///
    /// # Errors
    /// Of the stage of its kind.
    pub fn refuse_public(&self, service: &str) -> Result<(), Failure> {
        let (stage, public) = (self.directory.kind().stage(), self.directory.public());
        let found = find(&public).or_fail(stage, &public)?;
        if !matches!(found, Found::Directory { .. }) || self.owns_public()? {
            return Ok(());
        }
        let why = format!(
            "is a public directory, and nothing says that it is {service}'s; if it is, remove it by hand"
        );
        Err(Failure::new(stage, public, why))
    }

    /// Removes it, with its links and with the parents that are empty then. `is_kept` says which of these
    /// somebody else has, as absolute paths.
    ///
    /// # Errors
    /// Of the stage of its kind. What was removed until then is gone and told by `done`.
    pub fn remove(
        &self,
        is_kept: &dyn Fn(&str) -> bool,
        done: &mut Removal,
    ) -> Result<(), Failure> {
        let directory = &self.directory;
        let public = directory.public();
        let ours = self.owns_public()?;
        let to_tree = directory.link_target();
        self.remove_at(
            &public,
            false,
            |found| match found {
                Found::Directory { .. } if !ours => {
                    Err("is a public directory, and the service had a private one".into())
                }
                // The link goes last: it is what leads somebody to a tree that is half removed.
                Found::Link(to) if *to == to_tree => Ok(false),
                Found::Link(to) => Err(format!("points to {to:?}, not to {to_tree:?}")),
                Found::Other => Err("is no directory".into()),
                _ => Ok(true),
            },
            done,
        )?;
        if let Some(behind) = directory.behind() {
            let signs = signs(directory);
            self.remove_at(
                &behind,
                true,
                |found| match found {
                    Found::Link(to) if !signs.contains(to) => Err(format!("points to {to:?}")),
                    Found::Other => Err("is no directory".into()),
                    _ => Ok(true),
                },
                done,
            )?;
            self.remove_parents(&behind, is_kept, done)?;
        }
        self.remove_at(
            &public,
            false,
            |found| Ok(matches!(found, Found::Link(to) if *to == to_tree)),
            done,
        )?;
        for link in &self.links {
            let path = link.public();
            let targets = extra_targets(directory, link);
            self.remove_at(
                &path,
                false,
                |found| match found {
                    Found::Nothing => Ok(false),
                    Found::Link(to) if targets.contains(to) => Ok(true),
                    Found::Link(to) => Err(format!("points to {to:?}, not to {public}")),
                    _ => Err(format!("is not the link to {public}")),
                },
                done,
            )?;
            self.remove_parents(&path, is_kept, done)?;
        }
        self.remove_parents(&public, is_kept, done)
    }

    /// Removes what is at a path if `wanted` says so; it may also say why that is left.
    fn remove_at(
        &self,
        path: &str,
        behind: bool,
        wanted: impl FnOnce(&Found) -> Result<bool, String>,
        done: &mut Removal,
    ) -> Result<(), Failure> {
        let stage = self.directory.kind().stage();
        finish_beside(path).or_fail(stage, path)?;
        let found = find(path).or_fail(stage, path)?;
        match wanted(&found) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(why) => {
                done.left.push(format!("{path} {why}"));
                return Ok(());
            }
        }
        match remove_found(path, &found) {
            Ok(true) => done.removed.push(path.into()),
            Ok(false) => {}
            Err(error) if error.errno == Errno::BUSY => {
                let why = format!(
                    "has another file system mounted inside ({error}): unmount it, then do this again"
                );
                return Err(Failure::new(stage, path, why));
            }
            Err(error) => return Err(Failure::new(stage, path, error)),
        }
        if let Found::Directory { mounted: true, .. } = found {
            let at = if behind {
                "behind the boundary"
            } else {
                "public"
            };
            done.removed.pop();
            done.removed.push(format!("{path}/*"));
            done.left.push(format!(
                "{path} ({at}) is a mount point: what was in it is removed, the mount point stays"
            ));
        }
        Ok(())
    }

    /// Removes the directories above `path` that are root's and empty, up to the base.
    fn remove_parents(
        &self,
        path: &str,
        is_kept: &dyn Fn(&str) -> bool,
        done: &mut Removal,
    ) -> Result<(), Failure> {
        let directory = &self.directory;
        let base = format!("{}/", directory.kind().base());
        let below = path.strip_prefix(&base).unwrap_or_default();
        let boundary = usize::from(below.starts_with("private/"));
        let depth = below.split('/').count().saturating_sub(boundary);
        for parent in parents(path, depth) {
            let found = find(parent).or_fail(directory.kind().stage(), parent)?;
            let Found::Directory {
                uid: 0,
                mounted: false,
                ..
            } = found
            else {
                return Ok(());
            };
            if is_kept(parent)
                || !remove_parent(parent).or_fail(directory.kind().stage(), parent)?
            {
                return Ok(());
            }
            done.removed.push(parent.into());
        }
        Ok(())
    }
}

fn remove_parent(path: &str) -> SysResult<bool> {
    let Place { parent, name } = place::find(path)?;
    remove_if_empty(parent.as_fd(), &c_name(name))
}

/// Removes exactly what was found at a path; what is a mount point is emptied. Tells whether there was
/// anything.
///
/// # Errors
/// `EBUSY` where something is mounted inside; `ESTALE` if it is another one by now; what the kernel refuses else.
pub fn remove_found(path: &str, found: &Found) -> SysResult<bool> {
    let Place { parent, name } = match found {
        Found::Nothing => return Ok(false),
        _ => place::find(path)?,
    };
    match found {
        Found::Directory {
            id, mounted: true, ..
        } => {
            let top = open_beneath(&parent, &name)?;
            if status(&top)?.id != *id {
                return Err(SysError {
                    call: "fstat",
                    subject: path.into(),
                    errno: Errno::STALE,
                });
            }
            empty_tree(&top)?;
        }
        Found::Directory { id, .. } => remove_directory(&parent, &name, *id)?,
        Found::Link(_) => remove_link(parent.as_fd(), &c_name(name))?,
        Found::Nothing | Found::Other => return Ok(false),
    }
    Ok(true)
}

/// Removes a directory under another name: whoever is started while that goes on, or after it was cut short, must
/// not take a part of it for the whole.
fn remove_directory(parent: &OwnedFd, name: &str, id: FileId) -> SysResult<()> {
    let aside = format!("{REMOVED}{}-{}", id.0, id.1);
    let moved = rename_to_nothing((parent, name), (parent, &aside));
    match moved {
        // What cannot be moved is removed where it is.
        Err(error) if is_immovable(error.errno) || error.errno == Errno::EXIST => {
            return remove_exactly(parent.as_fd(), &c_name(name.into()), id);
        }
        moved => moved?,
    }
    let removed = remove_exactly(parent.as_fd(), &c_name(aside.clone()), id);
    if removed.is_err() {
        // Something is mounted in it, say: people must find it where it was.
        rename_to_nothing((parent, &aside), (parent, name))?;
    }
    removed
}

/// Finishes what was cut short beside `path`.
///
/// # Errors
/// What the kernel refuses.
fn finish_beside(path: &str) -> SysResult<()> {
    let Place { parent, .. } = match place::find(path) {
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
            return Ok(());
        }
        place => place?,
    };
    for name in shown_names(&parent)?.0 {
        if name.starts_with(REMOVED) {
            remove_tree(parent.as_fd(), &c_name(name))?;
        }
    }
    Ok(())
}

fn c_name(name: String) -> CString {
    CString::new(name).unwrap_or_default()
}
