//! Where a directory is, where it is to be, and how it gets there without ever being nowhere.
//!
//! A private directory is behind the boundary, with a symbolic link to it at its public path. To move one
//! there, the link is made behind the boundary and the two change places in one call (renameat2(2),
//! `RENAME_EXCHANGE`): whatever happens, one of the two paths leads to the whole tree. The link that
//! stands behind the boundary until then is the record of the move; the next start finds it and goes on.
//! What cannot be moved, because something is mounted there or the boundary is on another file
//! system, is kept at its public path; then [`ExecDirectory::adoption_record`] stands behind the boundary.

#![forbid(unsafe_code)]

use super::dirs::{Builder, Placement, elsewhere};
use super::step::Action;
use crate::exec_directory::{ExecDirectory, Kind};
use crate::failure::Failure;
use crate::observed::Entry;
use crate::spec::Directory;

/// What was decided about the place of a directory.
pub(super) struct Settled {
    /// Where the tree is when the steps so far are done, and its owner and mode are set.
    pub(super) path: String,
    /// Where it was when somebody looked; nothing, if it is to be made.
    pub(super) seen_at: Option<String>,
    /// Whether it comes from behind the boundary to its public path.
    pub(super) comes_out: bool,
    pub(super) placement: Placement,
    /// What comes after that.
    pub(super) after: Vec<(String, Action)>,
    /// Where it is in the end, if that is elsewhere.
    finally: Option<String>,
}

impl Settled {
    fn new(placement: Placement, path: &str, seen_at: Option<&str>) -> Self {
        Self {
            path: path.into(),
            seen_at: seen_at.map(String::from),
            comes_out: false,
            placement,
            after: Vec::new(),
            finally: None,
        }
    }

    /// With this to be done after its owner and mode are set.
    fn then(mut self, path: &str, action: Action) -> Self {
        self.after.push((path.into(), action));
        self
    }

    fn coming_out_to(mut self, path: &str) -> Self {
        self.comes_out = true;
        self.finally = Some(path.into());
        self
    }

    pub(super) fn path_in_the_end(&self) -> &str {
        self.finally.as_ref().unwrap_or(&self.path)
    }
}

/// The paths of a directory that may be private, and what its links hold.
struct Ways {
    public: String,
    behind: String,
    /// What the public link holds, and the record of a move.
    target: String,
    /// The record of an adoption.
    adopted: String,
}

impl Ways {
    fn of(place: &ExecDirectory, behind: String) -> Self {
        Self {
            public: place.public(),
            behind,
            target: place.link_target(),
            adopted: place.adoption_record(),
        }
    }

    /// Whether a link behind the boundary is one that we put there.
    fn is_record(&self, link: &str) -> bool {
        link == self.target || link == self.adopted
    }
}

/// The path from the container of a directory to it, with a `/` in front.
pub(super) fn below<'a>(directory: &'a Directory, container: &Directory) -> &'a str {
    let path = directory.place().path();
    path.strip_prefix(container.place().path())
        .unwrap_or_default()
}

impl<'a> Builder<'a, '_> {
    pub(super) fn settle(&mut self, directory: &'a Directory) -> Result<Settled, Failure> {
        if let Some(container) = self.spec.container(directory) {
            return self.nested(directory, container);
        }
        let place = directory.place();
        match place.behind() {
            None => self.configuration(directory),
            Some(behind) if directory.is_private() => {
                self.private(directory, &Ways::of(place, behind))
            }
            Some(behind) => self.public(directory, &Ways::of(place, behind)),
        }
    }

    fn refuse<T>(
        &self,
        directory: &Directory,
        path: &str,
        why: impl Into<String>,
    ) -> Result<T, Failure> {
        Err(Failure::new(directory.stage(), path, why.into()))
    }

    /// Two trees, and nobody knows which is the right one.
    fn refuse_both<T>(&self, directory: &Directory, ways: &Ways) -> Result<T, Failure> {
        let Ways { public, behind, .. } = ways;
        let why = format!(
            "and {behind} are both there, and something is in both; move the one away that the service shall not have"
        );
        self.refuse(directory, public, why)
    }

    fn private(&mut self, directory: &Directory, ways: &Ways) -> Result<Settled, Failure> {
        let Ways {
            public,
            behind,
            target,
            ..
        } = ways;
        let observed = self.observed;
        let link = || Action::MakeLink {
            target: target.clone(),
        };
        let here = |seen: Option<&str>| Settled::new(Placement::Behind, behind, seen);
        match (observed.entry(public), observed.entry(behind)) {
            (Entry::Link(found), Entry::Nothing) if found == target => Ok(here(None)),
            (Entry::Link(found), Entry::Directory { .. }) if found == target => {
                Ok(here(Some(behind)))
            }
            (Entry::Nothing, Entry::Nothing) => Ok(here(None).then(public, link())),
            (Entry::Nothing, Entry::Directory { .. }) => {
                Ok(here(Some(behind)).then(public, link()))
            }
            (Entry::Nothing, Entry::Link(record)) if ways.is_record(record) => {
                self.drop_record(directory, behind, record);
                Ok(here(None).then(public, link()))
            }
            (Entry::Directory { .. }, Entry::Nothing) => {
                Ok(self.move_behind(directory, ways, None))
            }
            (Entry::Directory { .. }, Entry::Link(record)) if ways.is_record(record) => {
                Ok(self.move_behind(directory, ways, Some(record)))
            }
            (
                Entry::Directory {
                    empty: true,
                    mount_point: false,
                    ..
                },
                Entry::Directory { .. },
            ) => {
                self.push(directory, public, Action::RemoveEmpty);
                Ok(here(Some(behind)).then(public, link()))
            }
            (Entry::Directory { .. }, Entry::Directory { empty: true, .. }) => {
                self.push(directory, behind, Action::RemoveEmpty);
                Ok(self.move_behind(directory, ways, None))
            }
            (Entry::Directory { .. }, Entry::Directory { .. }) => self.refuse_both(directory, ways),
            (Entry::Link(found), _) if found != target => {
                Err(elsewhere(directory.stage(), public.clone(), found, target))
            }
            (Entry::Other, _) => self.refuse(directory, public, "is not a directory"),
            _ => self.refuse(directory, behind, "is not a directory"),
        }
    }

    /// A tree at the public path goes behind the boundary, where `record` is already, or stays.
    fn move_behind(
        &mut self,
        directory: &Directory,
        ways: &Ways,
        record: Option<&String>,
    ) -> Settled {
        let public = &ways.public;
        let mounted = matches!(
            self.observed.entry(public),
            Entry::Directory {
                mount_point: true,
                ..
            }
        );
        let stays = mounted
            || self.observed.immovable.contains(public)
            || record.is_some_and(|record| *record == ways.adopted);
        let target = if stays { &ways.adopted } else { &ways.target }.clone();
        match record {
            Some(record) if *record == target => {}
            Some(record) => {
                let from = record.clone();
                self.push(
                    directory,
                    &ways.behind,
                    Action::ReplaceLink { from, target },
                );
            }
            None => self.push(directory, &ways.behind, Action::MakeLink { target }),
        }
        if stays {
            return Settled::new(Placement::Adopted, public, Some(public));
        }
        let with = ways.behind.clone();
        self.push(directory, public, Action::Exchange { with });
        Settled::new(Placement::Behind, &ways.behind, Some(public))
    }

    fn drop_record(&mut self, directory: &Directory, behind: &str, record: &str) {
        let target = record.into();
        self.push(directory, behind, Action::RemoveLink { target });
    }

    fn public(&mut self, directory: &Directory, ways: &Ways) -> Result<Settled, Failure> {
        let Ways {
            public,
            behind,
            target,
            ..
        } = ways;
        let observed = self.observed;
        let here = |seen: Option<&str>| Settled::new(Placement::Public, public, seen);
        match (observed.entry(public), observed.entry(behind)) {
            (Entry::Nothing, Entry::Nothing) => Ok(here(None)),
            (Entry::Directory { .. }, Entry::Nothing) => Ok(here(Some(public))),
            (Entry::Nothing, Entry::Link(record)) if ways.is_record(record) => {
                self.drop_record(directory, behind, record);
                Ok(here(None))
            }
            // The record goes last: until the tree is given, it is what keeps its number from others.
            (Entry::Directory { .. }, Entry::Link(record)) if ways.is_record(record) => {
                let target = record.clone();
                Ok(here(Some(public)).then(behind, Action::RemoveLink { target }))
            }
            // What was behind the boundary is gone, and left its link.
            (Entry::Link(found), Entry::Nothing) if found == target => {
                self.drop_record(directory, public, found);
                Ok(here(None))
            }
            (Entry::Link(found), Entry::Directory { .. }) if found == target => {
                Ok(self.bring_out(directory, ways, true))
            }
            (Entry::Nothing, Entry::Directory { .. }) => Ok(self.bring_out(directory, ways, false)),
            (
                Entry::Directory {
                    empty: true,
                    mount_point: false,
                    ..
                },
                Entry::Directory { empty: false, .. },
            ) => {
                self.push(directory, public, Action::RemoveEmpty);
                Ok(self.bring_out(directory, ways, false))
            }
            (Entry::Directory { .. }, Entry::Directory { empty: true, .. }) => {
                self.push(directory, behind, Action::RemoveEmpty);
                Ok(here(Some(public)))
            }
            (Entry::Directory { .. }, Entry::Directory { .. }) => self.refuse_both(directory, ways),
            (Entry::Link(found), _) if found != target => {
                Err(elsewhere(directory.stage(), public.clone(), found, target))
            }
            (Entry::Other, _) => self.refuse(directory, public, "is not a directory"),
            _ => self.refuse(directory, behind, "is not a directory"),
        }
    }

    /// A tree behind the boundary comes to its public path, where `linked` says that the link is. It is
    /// given to its new owner first: outside, what still belonged to a number that others get later
    /// would be theirs.
    fn bring_out(&self, directory: &Directory, ways: &Ways, linked: bool) -> Settled {
        let Ways {
            public,
            behind,
            target,
            ..
        } = ways;
        let target = target.clone();
        let settled = Settled::new(Placement::Behind, behind, Some(behind));
        // One that goes with the lease is for others to reach: it must be at its public path.
        let may_stay = directory.kind() != Kind::Runtime || self.spec.keeps_runtime_directories();
        if self.observed.immovable.contains(public) && may_stay {
            return match linked {
                true => settled,
                false => settled.then(public, Action::MakeLink { target }),
            };
        }
        let mut settled = settled.coming_out_to(public);
        settled.placement = Placement::Public;
        if !linked {
            let to = public.clone();
            return settled.then(behind, Action::Rename { to });
        }
        let with = public.clone();
        settled
            .then(behind, Action::Exchange { with })
            .then(behind, Action::RemoveLink { target })
    }

    /// Configuration is root's: it is made where nothing is, and left alone otherwise.
    fn configuration(&mut self, directory: &Directory) -> Result<Settled, Failure> {
        let public = directory.place().public();
        let seen = match self.observed.entry(&public) {
            Entry::Nothing => None,
            // Only root can have made it.
            Entry::Directory { .. } | Entry::Link(_) => Some(public.as_str()),
            Entry::Other => return self.refuse(directory, &public, "is not a directory"),
        };
        Ok(Settled::new(Placement::Public, &public, seen))
    }

    /// A directory in another one of the service.
    fn nested(
        &mut self,
        directory: &'a Directory,
        container: &'a Directory,
    ) -> Result<Settled, Failure> {
        let Some(around) = self.settled(container) else {
            return self.refuse(directory, &directory.real(), "comes before what it lies in");
        };
        let rest = below(directory, container);
        let path = format!("{}{rest}", around.path_in_the_end());
        let seen_at = around.seen_at.as_ref().map(|top| format!("{top}{rest}"));
        let seen_at = match seen_at.map(|path| (self.observed.entry(&path).clone(), path)) {
            None | Some((Entry::Nothing, _)) => None,
            Some((Entry::Directory { .. }, path)) => Some(path),
            Some((_, path)) => return self.refuse(directory, &path, "is not a directory"),
        };
        Ok(Settled::new(Placement::Nested, &path, seen_at.as_deref()))
    }
}
