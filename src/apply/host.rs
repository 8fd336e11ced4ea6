//! The steps on the host: directories, links and views of trees.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::{Gift, NotYet, Prepared, Stop, Views, write_database};
use crate::failure::{Failure, OrFail};
use crate::observe::is_behind;
use crate::place::{self, Place};
use crate::plan::{Action, IdMap, Owner, Step};
use crate::search_right;
use crate::sys::fault::{Point, reached};
use crate::sys::{SysError, SysResult, entries, fs as files, userns};

/// Mappings whose user namespaces are kept; there is one for each pair of owners in use.
const MOST_MAPPINGS: usize = 512;

/// Does what plans say, and keeps what can be used again.
#[derive(Debug, Default)]
pub struct Workshop {
    mappings: Mutex<HashMap<IdMap, Arc<OwnedFd>>>,
}

impl Workshop {
    /// Carries out the steps on the host.
    ///
    /// # Errors
    /// Of the stage of the step that failed. Earlier steps are not undone: each leaves a state
    /// from which the next start goes on.
    pub fn prepare_host(&self, steps: &[Step]) -> Result<Prepared, Failure> {
        let mut views = Views::new();
        for step in steps {
            tracing::debug!(%step);
            match self.host_step(step, &mut views) {
                Ok(()) => {}
                Err(Stop::NotYet(why)) => return Ok(Prepared::NotYet(why)),
                Err(Stop::Failed(error)) => return Err(error).or_fail(step.stage, &step.path),
            }
            reached(Point::HostStepDone);
        }
        Ok(Prepared::Ready(views))
    }

    fn host_step(&self, step: &Step, views: &mut Views) -> Result<(), Stop> {
        let path = &step.path;
        let _closed = keep_closed(step)?;
        match &step.action {
            Action::MakeDirectory { mode, owner } => match make_directory(path, *mode, *owner) {
                Err(error) if matches!(error.errno, Errno::EXIST | Errno::NOENT) => {
                    return Err(Stop::NotYet(NotYet::Changed(path.clone())));
                }
                made => made?,
            },
            Action::GiveDirectory { from, to } => {
                let directory = open_of(path, *from)?;
                if from.uid == 0 && to.uid != 0 && !files::is_empty(&directory)? {
                    return Err("is no longer empty".into());
                }
                files::set_owner(&directory, to.uid, to.gid)?;
            }
            Action::GiveTree { from, to } => {
                return Err(Stop::NotYet(NotYet::Give(Gift {
                    stage: step.stage,
                    path: path.clone(),
                    from: *from,
                    to: *to,
                })));
            }
            Action::MakeTemporary { owner } => make_temporary(path, *owner)?,
            Action::LetSearch { uid } => search_right::grant(path, *uid)?,
            Action::SetMode { mode, owner } => files::set_mode(open_of(path, *owner)?, *mode)?,
            Action::WriteDatabase { source, lines } => {
                write_database(*source, path, lines)?;
            }
            Action::TakeView {
                map,
                writable,
                confined,
            } => {
                let mapping = map.as_ref().map(|map| self.mapping(map)).transpose()?;
                let view = super::view::take(path, mapping, *writable, *confined)?;
                views.insert(path.clone(), view);
            }
            Action::TakeBind {
                name,
                writable,
                no_exec,
                recursive,
                optional,
            } => {
                let view = super::view::take_bind(path, *writable, *no_exec, *recursive);
                let view = if *optional {
                    if_there(view)?
                } else {
                    Some(view?)
                };
                views.extend(view.map(|view| (name.clone(), view)));
            }
            Action::TakeCredentials { owner, credentials } => {
                let made = super::credentials::make(path, credentials, *owner)?;
                views.insert(path.clone(), made);
            }
            other => return entry_step(path, other),
        }
        Ok(())
    }

    /// The user namespace of a mapping.
    fn mapping(&self, map: &IdMap) -> SysResult<Arc<OwnedFd>> {
        let mut mappings = self.mappings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(namespace) = mappings.get(map) {
            return Ok(Arc::clone(namespace));
        }
        let uids = map_lines(map.disk.uid, map.seen.uid, &[]);
        let gids = map_lines(map.disk.gid, map.seen.gid, &map.groups);
        let namespace = Arc::new(userns::with_maps(&uids, &gids)?);
        if mappings.len() >= MOST_MAPPINGS {
            mappings.clear();
        }
        mappings.insert(map.clone(), Arc::clone(&namespace));
        Ok(namespace)
    }
}

/// Nothing, where something may be missing and is.
pub(super) fn if_there<T>(found: SysResult<T>) -> SysResult<Option<T>> {
    match found {
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR) => Ok(None),
        found => found.map(Some),
    }
}

/// The steps that are about a name in a directory.
fn entry_step(path: &str, action: &Action) -> Result<(), Stop> {
    let Place { parent, name } = place::find(path)?;
    match action {
        Action::MakeLink { target } => files::make_link(parent, &name, target)?,
        Action::ReplaceLink { from, target } => {
            entries::replace_link(parent, &name, from, target)?;
        }
        Action::RemoveLink { target } => entries::remove_link(parent, &name, target)?,
        Action::RemoveEmpty => entries::remove_empty_directory(parent, &name)?,
        Action::Exchange { with } => {
            let other = place::find(with)?;
            let one = (&parent, name.as_str());
            let moved = entries::exchange(one, (&other.parent, &other.name));
            return or_immovable(moved, path, with);
        }
        Action::Rename { to } => {
            let there = place::find(to)?;
            let from = (&parent, name.as_str());
            let moved = entries::rename_to_nothing(from, (&there.parent, &there.name));
            return or_immovable(moved, path, to);
        }
        _ => return Err("is no step for the host".into()),
    }
    Ok(())
}

fn or_immovable(moved: SysResult<()>, path: &str, other: &str) -> Result<(), Stop> {
    match moved {
        Err(error) if entries::is_immovable(error.errno) => {
            tracing::info!(path, %error, "cannot be moved");
            let paths = [path.into(), other.into()];
            Err(Stop::NotYet(NotYet::Immovable(paths)))
        }
        moved => Ok(moved?),
    }
}

/// The lines of a map: what is `disk` on disk is seen as `seen`; root stays root, so that a
/// command which is started as root can use the tree, and so do `others`.
fn map_lines(disk: u32, seen: u32, others: &[u32]) -> String {
    let mut lines = format!("{disk} {seen} 1\n");
    let root = (disk != 0).then_some(&0);
    for same in root.into_iter().chain(others) {
        lines.push_str(&format!("{same} {same} 1\n"));
    }
    lines
}

fn make_directory(path: &str, mode: u32, owner: Owner) -> SysResult<()> {
    let Place { parent, name } = place::find(path)?;
    let directory = files::make_directory(parent, &name)?;
    // The owner before the mode: chown takes away bits, and until then only root may enter.
    files::set_owner(&directory, owner.uid, owner.gid)?;
    files::set_mode(&directory, mode)
}

/// What makes a directory of a service open to others relies on it that nobody passes the boundary in front of it.
fn keep_closed(step: &Step) -> Result<Option<search_right::Closed>, Stop> {
    let (Action::MakeDirectory { mode, owner } | Action::SetMode { mode, owner }) = &step.action
    else {
        return Ok(None);
    };
    if *owner == Owner::ROOT || mode & 0o007 == 0 || !is_behind(&step.path) {
        return Ok(None);
    }
    match search_right::while_closed(&step.path)? {
        Some(closed) => Ok(Some(closed)),
        None => Err(Stop::NotYet(NotYet::Changed(step.path.clone()))),
    }
}

/// Another service of the same user may have made it.
fn make_temporary(path: &str, owner: Owner) -> SysResult<()> {
    match make_directory(path, 0o700, owner) {
        Err(error) if error.errno == Errno::EXIST => open_of(path, owner).map(drop),
        made => made,
    }
}

/// Opens a directory that must belong to `owner`.
///
/// # Errors
/// `ESTALE` if it belongs to somebody else by now; those of openat2(2).
pub fn open_of(path: &str, owner: Owner) -> SysResult<OwnedFd> {
    let Place { parent, name } = place::find(path)?;
    let directory = files::open_beneath(parent, &name)?;
    let found = files::status(&directory)?;
    if (found.uid, found.gid) != (owner.uid, owner.gid) || found.kind != FileType::Directory {
        return Err(SysError {
            call: "fstat",
            subject: format!(
                "belongs to {}:{} by now, not to {owner}",
                found.uid, found.gid
            ),
            errno: Errno::STALE,
        });
    }
    Ok(directory)
}
