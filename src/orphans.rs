//! Directories that belong to no service that anybody knows.
//!
//! Behind the boundaries only dynuser and systemd put anything, one directory a name; those are looked at,
//! and the public links to what is not there any more. Public directories are the host's business.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::directory_claims::{Claims, Standing};
use crate::exec_directory::{ExecDirectory, Kind};
use crate::failure::{Failure, OrFail};
use crate::place;
use crate::removal::{Found, find};
use crate::sys::fs::{open_beneath, shown_names};
use crate::sys::usage::{Usage, usage};
use crate::sys::{SysError, SysResult};

/// What lies behind a boundary, or a public link to nothing there.
#[derive(Clone, Debug)]
pub struct Private {
    /// Its kind.
    pub kind: Kind,
    /// The path below the boundary, as a service would ask for it.
    pub path: String,
    /// Where it is.
    pub place: String,
    /// What is there.
    pub found: Found,
    /// Whether it is a public link to nothing.
    pub dangles: bool,
    /// Who says that it is his.
    pub known_by: Option<String>,
}

impl Private {
    /// The word for what it is.
    pub fn word(&self) -> &'static str {
        match &self.found {
            Found::Link(_) if self.dangles => "dangling link",
            Found::Link(_) => "link",
            Found::Directory { mounted: true, .. } => "mount point",
            Found::Directory { .. } => "directory",
            Found::Other | Found::Nothing => "file",
        }
    }

    /// The number of its owner, if it is a directory.
    pub fn owner(&self) -> Option<u32> {
        match self.found {
            Found::Directory { uid, .. } => Some(uid),
            _ => None,
        }
    }

    /// What it takes. None for what is no directory, or is gone by now.
    ///
    /// # Errors
    /// Those of [`usage`].
    pub fn measure(&self) -> SysResult<Option<Usage>> {
        if !matches!(self.found, Found::Directory { .. }) {
            return Ok(None);
        }
        let opened = place::find(&self.place).and_then(|at| open_beneath(at.parent, &at.name));
        match opened {
            Err(error) if is_gone(&error) => Ok(None),
            opened => usage(&opened?, &self.place).map(Some),
        }
    }

    /// Whether somebody means it by `name`: any of its paths, or the one below the base.
    pub fn is_meant(&self, name: &str) -> bool {
        let public = format!("{}/{}", self.kind.base(), self.path);
        [&self.place, &self.path, &public].contains(&&name.to_owned())
    }
}

fn is_gone(error: &SysError) -> bool {
    matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

/// What was found on the host.
#[derive(Clone, Debug, Default)]
pub struct Privates {
    /// All of it, by kind and path.
    pub all: Vec<Private>,
    /// What could not be looked at, and why: a sentence each.
    pub unseen: Vec<String>,
}

/// Looks at everything behind the boundaries. What is claimed below a directory of root's is looked for
/// there, and what stands beside it too.
///
/// # Errors
/// Of the stage of the kind whose boundary cannot be looked at.
pub fn look(claims: &Claims) -> Result<Privates, Failure> {
    let mut found = Privates::default();
    for kind in Kind::ALL {
        let Some(boundary) = kind.boundary() else {
            continue;
        };
        let seen = list(kind, boundary, "", claims, &mut found);
        seen.or_fail(kind.stage(), boundary)?;
        let seen = dangling(kind, kind.base(), "", claims, &mut found);
        seen.or_fail(kind.stage(), kind.base())?;
    }
    Ok(found)
}

/// Lists what is in `folder`, which is at `above` below the boundary.
fn list(
    kind: Kind,
    folder: &str,
    above: &str,
    claims: &Claims,
    found: &mut Privates,
) -> SysResult<()> {
    for name in names(folder, found)? {
        let place = format!("{folder}/{name}");
        let path = joined(above, &name);
        let what = find(&place)?;
        let known_by = match claims.standing(kind, &path) {
            Standing::Nobodys => None,
            Standing::Claimed(by) => Some(by),
            Standing::Above(by) => match what {
                // Only a parent. What is in it is looked at one by one.
                Found::Directory { uid: 0, .. } => {
                    list(kind, &place, &path, claims, found)?;
                    continue;
                }
                _ => Some(by),
            },
        };
        if what != Found::Nothing {
            found.all.push(Private {
                kind,
                path,
                place,
                found: what,
                dangles: false,
                known_by,
            });
        }
    }
    Ok(())
}

/// Lists the public links to what is not behind the boundary any more, in `folder`, which is at `above`
/// below the base. Parents are looked into as long as there are such behind the boundary, too.
fn dangling(
    kind: Kind,
    folder: &str,
    above: &str,
    claims: &Claims,
    found: &mut Privates,
) -> SysResult<()> {
    for name in names(folder, found)? {
        let place = format!("{folder}/{name}");
        let path = joined(above, &name);
        // A path that nobody can ask for has no link of ours.
        let Ok(directory) = ExecDirectory::parse(kind, &path) else {
            continue;
        };
        let Some(behind) = directory.behind() else {
            continue;
        };
        match find(&place)? {
            Found::Link(to)
                if to == directory.link_target() && find(&behind)? == Found::Nothing =>
            {
                let known_by = match claims.standing(kind, &path) {
                    Standing::Nobodys => None,
                    Standing::Claimed(by) | Standing::Above(by) => Some(by),
                };
                found.all.push(Private {
                    kind,
                    path,
                    place,
                    found: Found::Link(to),
                    dangles: true,
                    known_by,
                });
            }
            Found::Directory {
                uid: 0,
                mounted: false,
                ..
            } if matches!(find(&behind)?, Found::Directory { uid: 0, .. }) => {
                dangling(kind, &place, &path, claims, found)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn joined(above: &str, name: &str) -> String {
    if above.is_empty() {
        return name.into();
    }
    format!("{above}/{name}")
}

/// The names in a folder; none where there is no such folder.
fn names(folder: &str, found: &mut Privates) -> SysResult<Vec<String>> {
    let open = || -> SysResult<OwnedFd> {
        let at = place::find(folder)?;
        open_beneath(at.parent, &at.name)
    };
    let opened = match open() {
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        opened => opened?,
    };
    let (mut names, others) = shown_names(opened)?;
    names.sort_unstable();
    if others > 0 {
        found.unseen.push(format!(
            "{folder}: {others} names are no UTF-8; look at them by hand"
        ));
    }
    Ok(names)
}
