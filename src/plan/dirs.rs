//! Which directories and links are made, kept or refused.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::{Identity, Owner, Step};
use crate::exec_directory::ExecDirectory;
use crate::failure::Failure;
use crate::observed::{Entry, Observed};
use crate::spec::Spec;

/// Every path whose entry the rules below ask for.
pub(super) fn questions(spec: &Spec) -> Vec<String> {
    let mut paths = BTreeSet::new();
    for directory in spec.directories() {
        paths.extend(directory.kind().boundary().map(String::from));
        paths.extend(parents(&directory.real(), directory));
        paths.extend(parents(&directory.public(), directory));
        paths.insert(directory.real());
        paths.insert(directory.public());
    }
    paths.into_iter().collect()
}

/// The directories between the base (or the boundary) of `directory` and `path`, outermost first.
fn parents(path: &str, directory: &ExecDirectory) -> Vec<String> {
    let depth = directory.path().matches('/').count();
    let mut found: Vec<String> = path
        .rmatch_indices('/')
        .take(depth)
        .filter_map(|(end, _)| path.get(..end))
        .map(String::from)
        .collect();
    found.reverse();
    found
}

/// The steps on the host for all directories of a service.
pub(super) fn host_steps(
    spec: &Spec,
    identity: &Identity,
    observed: &Observed,
) -> Result<Vec<Step>, Failure> {
    let mut builder = Builder {
        spec,
        owner: identity.owner(),
        dynamic: identity.dynamic,
        observed,
        done: BTreeSet::new(),
        steps: Vec::new(),
    };
    for directory in spec.directories() {
        builder.boundary(directory)?;
        builder.parents(directory)?;
        builder.directory(directory)?;
        builder.link(directory)?;
    }
    Ok(builder.steps)
}

struct Builder<'a> {
    spec: &'a Spec,
    owner: Owner,
    /// Whether nobody but services of this lease can own something as this owner.
    dynamic: bool,
    observed: &'a Observed,
    /// Paths that an earlier step makes or checked.
    done: BTreeSet<String>,
    steps: Vec<Step>,
}

impl Builder<'_> {
    /// The boundary directory: made, or exactly as it must be. A loose one is refused rather than
    /// repaired, for somebody may have put something behind it already.
    fn boundary(&mut self, directory: &ExecDirectory) -> Result<(), Failure> {
        let stage = directory.kind().stage();
        let Some(path) = directory.kind().boundary() else {
            return Ok(());
        };
        if !self.done.insert(path.into()) {
            return Ok(());
        }
        match self.observed.entry(path) {
            Entry::Nothing => self.steps.push(Step::MakeDirectory {
                stage,
                path: path.into(),
                mode: 0o700,
                owner: Owner::ROOT,
            }),
            Entry::Directory { uid, gid, mode, .. } => {
                if (*uid, *gid) != (0, 0) {
                    return Err(Failure::new(
                        stage,
                        path,
                        format!(
                            "belongs to {uid}:{gid}, but the boundary directory must be root's alone; look at what is in it, then: chown root:root {path}"
                        ),
                    ));
                }
                if mode & 0o077 != 0 {
                    return Err(Failure::new(
                        stage,
                        path,
                        format!(
                            "has mode {mode:04o}, but only root may enter the boundary directory; look at what is in it, then: chmod 0700 {path}"
                        ),
                    ));
                }
            }
            Entry::Link(_) | Entry::Other => {
                return Err(Failure::new(
                    stage,
                    path,
                    "is not a directory; the boundary directory must be a real one",
                ));
            }
        }
        Ok(())
    }

    /// What lies between the base or the boundary and the directory: root's, so that no service
    /// can put a link or another tree in the way of one further in.
    fn parents(&mut self, directory: &ExecDirectory) -> Result<(), Failure> {
        let stage = directory.kind().stage();
        for path in parents(&directory.real(), directory)
            .into_iter()
            .chain(parents(&directory.public(), directory))
        {
            let ours = self.spec.directories().iter().any(|other| {
                other != directory && directory.is_within(other) && within(&path, other)
            });
            if ours || !self.done.insert(path.clone()) {
                continue;
            }
            match self.observed.entry(&path) {
                Entry::Nothing => self.steps.push(Step::MakeDirectory {
                    stage,
                    path,
                    mode: 0o755,
                    owner: Owner::ROOT,
                }),
                Entry::Directory { uid: 0, mode, .. } if mode & 0o022 == 0 => {}
                _ => {
                    return Err(Failure::new(
                        stage,
                        path,
                        format!(
                            "is not a directory that only root can write to, so {directory} inside it would not be safe"
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// The directory itself.
    fn directory(&mut self, directory: &ExecDirectory) -> Result<(), Failure> {
        let (stage, path) = (directory.kind().stage(), directory.real());
        let mode = self.spec.mode(directory.kind());
        let (uid, gid, mode_found, empty) = match self.observed.entry(&path) {
            Entry::Nothing => {
                self.steps.push(Step::MakeDirectory {
                    stage,
                    path,
                    mode,
                    owner: self.owner,
                });
                return Ok(());
            }
            Entry::Directory {
                uid,
                gid,
                mode,
                empty,
            } => (*uid, *gid, *mode, *empty),
            Entry::Link(_) | Entry::Other => {
                return Err(Failure::new(stage, path, "is not a directory"));
            }
        };
        let found = Owner { uid, gid };
        // Made and not yet given, by a start that was cut short; elsewhere than in /run an empty
        // one of root's may also be prepared by hand.
        let unfinished = uid == 0 && empty && (mode_found == 0o700 || self.is_private(directory));
        // Of a lease that nobody remembers: it is taken, so that it goes with this one.
        let forgotten = found == self.owner && self.dynamic && !self.is_private(directory);
        if unfinished || forgotten {
            self.steps.push(Step::GiveDirectory {
                stage,
                path: path.clone(),
                from: found,
                to: self.owner,
            });
        } else if let Some(why) = self.not_ours(directory, found) {
            return Err(Failure::new(stage, path, why));
        }
        self.steps.push(Step::SetMode {
            stage,
            path,
            mode,
            owner: if unfinished { self.owner } else { found },
        });
        Ok(())
    }

    fn is_private(&self, directory: &ExecDirectory) -> bool {
        directory.kind().boundary().is_some()
    }

    /// Why the service cannot have a directory that belongs to `found`. A tree behind the boundary
    /// may be anybody's but root's: it is shown through a mapping.
    fn not_ours(&self, directory: &ExecDirectory, found: Owner) -> Option<String> {
        let (path, ours) = (directory.real(), self.owner);
        if found == ours {
            None
        } else if !self.is_private(directory) {
            Some(format!(
                "is there already and belongs to {found}; choose another name, or remove it if nobody uses it"
            ))
        } else if found.uid == 0 {
            Some(format!(
                "belongs to root and is not empty; if the service may have what is in it: chown -R {ours} {path}"
            ))
        } else if self.spec.is_nested(directory) {
            Some(format!("belongs to {found}, not to the service ({ours})"))
        } else {
            None
        }
    }

    /// The public name of a directory behind a boundary.
    fn link(&mut self, directory: &ExecDirectory) -> Result<(), Failure> {
        if directory.kind().boundary().is_none() || self.spec.is_nested(directory) {
            return Ok(());
        }
        let (stage, path) = (directory.kind().stage(), directory.public());
        let target = directory.link_target();
        match self.observed.entry(&path) {
            Entry::Nothing => self.steps.push(Step::MakeLink {
                stage,
                path,
                target,
            }),
            Entry::Link(found) if *found == target => {}
            Entry::Link(found) => {
                return Err(Failure::new(
                    stage,
                    path,
                    format!(
                        "points to {found:?}, not to {target:?}; remove the link if nobody uses it"
                    ),
                ));
            }
            Entry::Directory { .. } | Entry::Other => {
                return Err(Failure::new(
                    stage,
                    path.clone(),
                    format!(
                        "is there already and is not the link to {target:?}; to go on with what is in it: mv {path} {}",
                        directory.real()
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// Tells whether `path` is `directory` or below it, by either of its paths.
fn within(path: &str, directory: &ExecDirectory) -> bool {
    [directory.real(), directory.public()].iter().any(|top| {
        path.strip_prefix(top.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}
