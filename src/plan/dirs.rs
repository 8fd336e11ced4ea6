//! Which directories and links are made, kept, moved or refused.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::settle::Settled;
use super::step::Action;
use super::{Identity, Owner, Step};
use crate::exec_directory::{ExecDirectory, Kind};
use crate::failure::{Failure, Stage};
use crate::observed::{Entry, Observed};
use crate::spec::{Directory, Spec};

/// Every path whose entry the rules below ask for.
pub(super) fn questions(spec: &Spec) -> Vec<String> {
    let mut paths = BTreeSet::new();
    for directory in spec.directories() {
        let place = directory.place();
        let links = directory.links().iter();
        for public in [place].into_iter().chain(links).map(ExecDirectory::public) {
            paths.extend(parents(&public, place.kind().base()));
            paths.insert(public);
        }
        if let (Some(behind), Some(boundary)) = (place.behind(), place.kind().boundary()) {
            paths.insert(boundary.into());
            paths.extend(parents(&behind, boundary));
            paths.insert(behind);
        }
    }
    paths.into_iter().collect()
}

/// The directories between `base` and `path`, outermost first.
fn parents(path: &str, base: &str) -> Vec<String> {
    let ends = path.match_indices('/').map(|(end, _)| end);
    let inner = ends.filter(|end| *end > base.len());
    inner
        .filter_map(|end| path.get(..end))
        .map(String::from)
        .collect()
}

/// How a directory appears in the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// Behind the boundary.
    Behind,
    /// At its public path, although it is private: it cannot be moved.
    Adopted,
    /// At its public path.
    Public,
    /// In another directory of the service.
    Nested,
}

/// Where a directory is when the steps are done.
pub(super) struct Placed<'a> {
    pub(super) directory: &'a Directory,
    /// Where its tree is, and appears.
    pub(super) path: String,
    pub(super) placement: Placement,
    /// To whom it belongs on disk.
    pub(super) owner: Owner,
}

/// What becomes of all directories of a service.
pub(super) struct Directories<'a> {
    pub(super) steps: Vec<Step>,
    pub(super) placed: Vec<Placed<'a>>,
    pub(super) made: Vec<String>,
}

/// Decides for all directories of a service.
pub(super) fn settle_all<'a>(
    spec: &'a Spec,
    identity: &Identity,
    observed: &Observed,
) -> Result<Directories<'a>, Failure> {
    let mut builder = Builder {
        spec,
        owner: identity.owner(),
        lone: identity.dynamic,
        observed,
        done: BTreeSet::new(),
        settled: Vec::new(),
        steps: Vec::new(),
        placed: Vec::new(),
        made: Vec::new(),
    };
    for directory in spec.directories() {
        builder.one(directory)?;
    }
    Ok(Directories {
        steps: builder.steps,
        placed: builder.placed,
        made: builder.made,
    })
}

pub(super) struct Builder<'a, 'b> {
    pub(super) spec: &'a Spec,
    /// The service.
    pub(super) owner: Owner,
    /// Whether nobody but services of this lease can own something as this owner.
    pub(super) lone: bool,
    pub(super) observed: &'b Observed,
    /// Paths that an earlier step makes or checked.
    done: BTreeSet<String>,
    /// Those that are decided, for what lies in them.
    pub(super) settled: Vec<(&'a Directory, Settled)>,
    pub(super) steps: Vec<Step>,
    placed: Vec<Placed<'a>>,
    made: Vec<String>,
}

impl<'a> Builder<'a, '_> {
    fn one(&mut self, directory: &'a Directory) -> Result<(), Failure> {
        let before = self.steps.len();
        if directory.is_private() {
            self.boundary(directory)?;
        }
        self.parents(directory)?;
        let settled = self.settle(directory)?;
        let owner = self.own(directory, &settled)?;
        let after = settled.after.iter();
        let after = after.map(|(path, action)| self.step(directory, path, action.clone()));
        let after: Vec<Step> = after.collect();
        self.steps.extend(after);
        self.links(directory)?;
        self.leave_shared_alone(directory, before)?;
        self.placed.push(Placed {
            directory,
            path: settled.path_in_the_end().into(),
            placement: settled.placement,
            owner,
        });
        self.settled.push((directory, settled));
        Ok(())
    }

    /// Another service runs in it: nothing may be moved or given under its feet.
    fn leave_shared_alone(&self, directory: &Directory, before: usize) -> Result<(), Failure> {
        let public = directory.place().public();
        let steps = self.steps.iter().skip(before);
        let mut moving = steps.filter(|step| {
            !matches!(
                step.action,
                Action::MakeLink { .. } | Action::SetMode { .. }
            )
        });
        match moving.next() {
            Some(_) if self.observed.shared.contains(&public) => Err(Failure::new(
                directory.stage(),
                public,
                "another service runs in it, and would lose it: it would have to be moved, or given to this one; stop that one first",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn step(&self, directory: &Directory, path: &str, action: Action) -> Step {
        Step::new(directory.stage(), path, action)
    }

    pub(super) fn push(&mut self, directory: &Directory, path: &str, action: Action) {
        self.steps.push(self.step(directory, path, action));
    }

    /// What was decided about the place of a directory.
    pub(super) fn settled(&self, directory: &Directory) -> Option<&Settled> {
        let mut settled = self.settled.iter();
        settled
            .find(|(other, _)| *other == directory)
            .map(|(_, settled)| settled)
    }

    /// To whom a directory that is decided belongs on disk.
    pub(super) fn placed_owner(&self, directory: &Directory) -> Option<Owner> {
        let mut placed = self.placed.iter();
        placed
            .find(|placed| placed.directory == directory)
            .map(|placed| placed.owner)
    }

    /// Notes that something in /run goes with the lease.
    pub(super) fn note_made(&mut self, directory: &Directory, path: &str) {
        if directory.kind() == Kind::Runtime && !self.spec.keeps_runtime_directories() {
            self.made.push(path.into());
        }
    }

    /// The boundary directory: made, or exactly as it must be. A loose one is refused rather than
    /// repaired, for somebody may have put something behind it already.
    fn boundary(&mut self, directory: &Directory) -> Result<(), Failure> {
        let Some(path) = directory.kind().boundary() else {
            return Ok(());
        };
        if !self.done.insert(path.into()) {
            return Ok(());
        }
        let refused = |why: String| Err(Failure::new(directory.stage(), path, why));
        match self.observed.entry(path) {
            Entry::Nothing => {
                let action = Action::MakeDirectory {
                    mode: 0o700,
                    owner: Owner::ROOT,
                };
                self.push(directory, path, action);
                Ok(())
            }
            Entry::Directory { uid, gid, .. } if (*uid, *gid) != (0, 0) => refused(format!(
                "belongs to {uid}:{gid}, but the boundary directory must be root's alone; look at what is in it, then: chown root:root {path}"
            )),
            Entry::Directory { mode, .. } if mode & 0o077 != 0 => refused(format!(
                "has mode {mode:04o}, but only root may enter the boundary directory; look at what is in it, then: chmod 0700 {path}"
            )),
            Entry::Directory { .. } => match self.stranger(path) {
                None => Ok(()),
                Some(uid) => refused(format!(
                    "lets user {uid} search it, who has no lease that says so; take that from him: setfacl -x u:{uid} {path}"
                )),
            },
            Entry::Link(_) | Entry::Other => {
                refused("is not a directory; the boundary directory must be a real one".into())
            }
        }
    }

    /// Somebody who may search a boundary directory, and is no service of ours.
    fn stranger(&self, boundary: &str) -> Option<u32> {
        let searchers = self.observed.searchers.get(boundary)?;
        let ours = |uid: &&u32| !self.observed.leased_searchers.contains(uid);
        searchers.iter().find(ours).copied()
    }

    /// The mode of a directory. One behind a boundary that somebody without a view of his own passes is closed by it to
    /// all but its owner: nothing else would be in his way.
    pub(super) fn mode(&self, directory: &Directory) -> u32 {
        let mode = self.spec.mode(directory.kind());
        let boundary = directory.kind().boundary();
        let searched = boundary.and_then(|path| self.observed.searchers.get(path));
        let open = !self.spec.level().has_view() || searched.is_some_and(|all| !all.is_empty());
        match directory.is_private() && open {
            true => mode & 0o7700,
            false => mode,
        }
    }

    /// What lies between the base or the boundary and the directory: root's, so that no service
    /// can put a link or another tree in the way of one further in.
    fn parents(&mut self, directory: &Directory) -> Result<(), Failure> {
        if self.spec.container(directory).is_some() {
            return Ok(());
        }
        let place = directory.place();
        if let (Some(behind), Some(boundary)) = (place.behind(), place.kind().boundary())
            && directory.is_private()
        {
            self.parents_of(directory, &behind, boundary)?;
        }
        self.parents_of(directory, &place.public(), place.kind().base())
    }

    fn parents_of(&mut self, directory: &Directory, path: &str, base: &str) -> Result<(), Failure> {
        for path in parents(path, base) {
            if !self.done.insert(path.clone()) {
                continue;
            }
            match self.observed.entry(&path) {
                Entry::Nothing => {
                    self.note_made(directory, &path);
                    let action = Action::MakeDirectory {
                        mode: 0o755,
                        owner: Owner::ROOT,
                    };
                    self.push(directory, &path, action);
                }
                // Made by a start that was cut short.
                Entry::Directory {
                    uid: 0,
                    mode: 0o700,
                    empty: true,
                    ..
                } => {
                    let (mode, owner) = (0o755, Owner::ROOT);
                    self.push(directory, &path, Action::SetMode { mode, owner });
                }
                Entry::Directory { uid: 0, mode, .. } if mode & 0o022 == 0 => {}
                _ => {
                    let why = format!(
                        "is not a directory that only root can write to, so {} inside it would not be safe",
                        directory.place()
                    );
                    return Err(Failure::new(directory.stage(), path, why));
                }
            }
        }
        Ok(())
    }

    /// The other names of a directory. They point to its public path, so they stay right wherever the
    /// directory is.
    fn links(&mut self, directory: &'a Directory) -> Result<(), Failure> {
        for link in directory.links() {
            let (path, target) = (link.public(), link.link_to(directory.place()));
            self.parents_of(directory, &path, link.kind().base())?;
            match self.observed.entry(&path) {
                Entry::Nothing => {
                    self.note_made(directory, &path);
                    self.push(directory, &path, Action::MakeLink { target });
                }
                // Left by a start that was to preserve it: now it goes with the lease.
                Entry::Link(found) if *found == target => self.note_made(directory, &path),
                Entry::Link(found) => {
                    return Err(elsewhere(directory.stage(), path, found, &target));
                }
                Entry::Directory { .. } | Entry::Other => {
                    let why = format!(
                        "is there already and is not the link to {target:?}; move it away, or give the link another name"
                    );
                    return Err(Failure::new(directory.stage(), path, why));
                }
            }
        }
        Ok(())
    }
}

/// A link that is not the one that must be there.
pub(super) fn elsewhere(stage: Stage, path: String, found: &str, target: &str) -> Failure {
    let why = format!("points to {found:?}, not to {target:?}; remove the link if nobody uses it");
    Failure::new(stage, path, why)
}
