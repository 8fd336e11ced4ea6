//! To whom a directory belongs on disk.
//!
//! A private one may belong to anybody but root: the service sees it as its own, through a mapping, in
//! constant time whatever is in it. What cannot be shown so is given, with everything in it.

#![forbid(unsafe_code)]

use super::Owner;
use super::dirs::{Builder, Placement};
use super::settle::{Settled, below};
use super::step::Action;
use crate::exec_directory::{Kind, other_side};
use crate::failure::Failure;
use crate::observed::Entry;
use crate::spec::Directory;

/// Others must not see into a private directory that is kept at its public path.
const CLOSED: u32 = 0o700;

/// A directory that is there.
struct Found {
    owner: Owner,
    mode: u32,
    empty: bool,
}

impl<'a> Builder<'a, '_> {
    /// Makes a directory, or sees to it that it belongs to who it must. Gives its owner on disk.
    pub(super) fn own(
        &mut self,
        directory: &'a Directory,
        settled: &Settled,
    ) -> Result<Owner, Failure> {
        let wanted = self.wanted(directory);
        let found = settled.seen_at.as_ref().map(|path| self.found(path));
        let Some(found) = found else {
            return Ok(self.make(directory, settled, wanted));
        };
        if directory.kind() == Kind::Configuration {
            return Ok(found.map_or(Owner::ROOT, |found| found.owner));
        }
        let Some(found) = found else {
            return Err(Failure::new(
                directory.stage(),
                &settled.path,
                "is not a directory",
            ));
        };
        let owner = match settled.placement {
            Placement::Public if !settled.comes_out => {
                self.own_in_public(directory, settled, &found, wanted)?
            }
            Placement::Behind | Placement::Adopted if directory.is_private() => {
                self.own_private(directory, settled, &found, wanted)
            }
            Placement::Nested => self.own_nested(directory, settled, &found, wanted)?,
            Placement::Public | Placement::Behind | Placement::Adopted => {
                self.give_unless(directory, settled, &found, wanted)
            }
        };
        let mode = match settled.placement {
            Placement::Adopted => CLOSED,
            _ => self.mode(directory),
        };
        if found.mode != mode || owner != found.owner {
            self.push(directory, &settled.path, Action::SetMode { mode, owner });
        }
        Ok(owner)
    }

    /// The owner that a directory gets if it is made or given.
    fn wanted(&self, directory: &Directory) -> Owner {
        if directory.kind() == Kind::Configuration {
            return Owner::ROOT;
        }
        // In another one it belongs to whom that belongs, and is seen through its mapping.
        let container = self.spec.container(directory);
        let around = container.and_then(|container| self.placed_owner(container));
        around.unwrap_or(self.owner)
    }

    fn found(&self, path: &str) -> Option<Found> {
        match self.observed.entry(path) {
            Entry::Directory {
                uid,
                gid,
                mode,
                empty,
                ..
            } => Some(Found {
                owner: Owner {
                    uid: *uid,
                    gid: *gid,
                },
                mode: *mode,
                empty: *empty,
            }),
            _ => None,
        }
    }

    fn make(&mut self, directory: &'a Directory, settled: &Settled, owner: Owner) -> Owner {
        let mode = self.mode(directory);
        if let Some(container) = self.spec.container(directory) {
            self.make_between(directory, container, owner);
        }
        self.note_made(directory, settled.path_in_the_end());
        let action = Action::MakeDirectory { mode, owner };
        self.push(directory, &settled.path, action);
        owner
    }

    /// What is missing between a directory and the one of the service that it lies in.
    fn make_between(&mut self, directory: &'a Directory, container: &'a Directory, owner: Owner) {
        let Some(around) = self.settled(container) else {
            return;
        };
        let (end, seen) = (around.path_in_the_end().to_owned(), around.seen_at.clone());
        let rest = below(directory, container);
        for (end_of_part, _) in rest.match_indices('/').skip(1) {
            let part = rest.get(..end_of_part).unwrap_or_default();
            let path = format!("{end}{part}");
            let seen = seen.as_ref().map(|top| format!("{top}{part}"));
            let planned = self.steps.iter().any(|step| {
                step.path == path && matches!(step.action, Action::MakeDirectory { .. })
            });
            let (mode, from, to) = (0o755, Owner::ROOT, owner);
            // Whatever of this is done when a start is cut short: it is root's, and empty.
            let first = match seen.map(|path| self.observed.entry(&path)) {
                _ if planned => continue,
                None | Some(Entry::Nothing) => Action::MakeDirectory { mode, owner: from },
                Some(Entry::Directory {
                    uid: 0,
                    gid: 0,
                    empty: true,
                    ..
                }) => Action::SetMode { mode, owner: from },
                Some(_) => continue,
            };
            self.push(directory, &path, first);
            self.push(directory, &path, Action::GiveDirectory { from, to });
        }
    }

    fn own_private(
        &mut self,
        directory: &'a Directory,
        settled: &Settled,
        found: &Found,
        wanted: Owner,
    ) -> Owner {
        let Known {
            half_given,
            unmappable,
        } = self.known_of(settled);
        // No boundary is between it and whoever has that number now.
        let open = settled.placement == Placement::Adopted
            && self.observed.taken.contains(&found.owner.uid)
            && !self.observed.shared.contains(&settled.path);
        if found.owner == wanted && !half_given {
            return wanted;
        }
        // Made and not yet given, by a start that was cut short, or prepared by hand.
        if found.owner.uid == 0 && found.empty {
            return self.give_empty(directory, settled, found, wanted);
        }
        // Mapped, what the service makes would be root's on disk, or of root's group.
        let roots = found.owner.uid == 0 || found.owner.gid == 0;
        if roots || half_given || unmappable || open {
            return self.give(directory, settled, found, wanted);
        }
        found.owner
    }

    fn own_nested(
        &mut self,
        directory: &'a Directory,
        settled: &Settled,
        found: &Found,
        wanted: Owner,
    ) -> Result<Owner, Failure> {
        let container = self.spec.container(directory);
        let around = container.and_then(|container| self.settled(container));
        let begun = around.is_some_and(|around| self.known_of(around).half_given);
        let around = around.and_then(|around| self.found(around.seen_at.as_ref()?));
        let Some(Owner { uid, .. }) = around.as_ref().map(|around| around.owner) else {
            return Ok(self.give_unless(directory, settled, found, wanted));
        };
        // It goes, or stays, with what it lies in.
        if around.is_some_and(|around| around.owner == found.owner) {
            return Ok(wanted);
        }
        // Whoever owns the directory around it can put what somebody else has there under this name.
        let known = [0, found.owner.uid].contains(&uid) || found.owner.uid == wanted.uid;
        let nothing = found.owner.uid == 0 && found.empty;
        if !(known || begun || nothing) {
            let owner = found.owner;
            let why = format!(
                "belongs to {owner}, but lies in a directory of user {uid}, who may have put it there; if it is the service's, give it to user {uid} by hand"
            );
            return Err(Failure::new(directory.stage(), &settled.path, why));
        }
        Ok(self.give_unless(directory, settled, found, wanted))
    }

    fn give_unless(
        &mut self,
        directory: &'a Directory,
        settled: &Settled,
        found: &Found,
        wanted: Owner,
    ) -> Owner {
        // Whoever had it until now: one in /run that comes out from behind the boundary goes with the lease.
        self.note_made(directory, settled.path_in_the_end());
        if found.owner == wanted && !self.known_of(settled).half_given {
            return wanted;
        }
        self.give(directory, settled, found, wanted)
    }

    /// A directory that is public and stays so.
    fn own_in_public(
        &mut self,
        directory: &'a Directory,
        settled: &Settled,
        found: &Found,
        wanted: Owner,
    ) -> Result<Owner, Failure> {
        // One in /run that goes with the lease would take what somebody else has in it along.
        if directory.kind() != Kind::Runtime || self.spec.keeps_runtime_directories() {
            return Ok(self.give_unless(directory, settled, found, wanted));
        }
        // Made and not yet given, by a start that was cut short.
        let unfinished = found.owner.uid == 0 && found.empty && found.mode == 0o700;
        // Of a lease that nobody remembers: it is taken, so that it goes with this one.
        let forgotten = found.owner == wanted && self.lone;
        if unfinished || forgotten {
            return Ok(self.give_empty(directory, settled, found, wanted));
        }
        if found.owner == wanted {
            return Ok(wanted);
        }
        let owner = found.owner;
        let why = match self.observed.shared.contains(&settled.path) {
            true => "is another service's, and goes with it; a runtime directory can be shared with RuntimeDirectoryPreserve=yes".into(),
            false => format!(
                "is there already and belongs to {owner}; choose another name, or remove it if nobody uses it"
            ),
        };
        Err(Failure::new(directory.stage(), &settled.path, why))
    }

    fn give_empty(
        &mut self,
        directory: &'a Directory,
        settled: &Settled,
        found: &Found,
        to: Owner,
    ) -> Owner {
        self.note_made(directory, settled.path_in_the_end());
        let from = found.owner;
        let action = Action::GiveDirectory { from, to };
        self.push(directory, &settled.path, action);
        to
    }

    fn give(
        &mut self,
        directory: &'a Directory,
        settled: &Settled,
        found: &Found,
        to: Owner,
    ) -> Owner {
        let from = found.owner;
        let action = match from.uid == to.uid && !self.known_of(settled).half_given {
            // What is in it may be of any group that its owner chose.
            true => Action::GiveDirectory { from, to },
            false => Action::GiveTree { from, to },
        };
        self.push(directory, &settled.path, action);
        to
    }

    fn known_of(&self, settled: &Settled) -> Known {
        Known {
            // It may have been begun before the tree was moved, or be for another owner than the one it gets now.
            half_given: [Some(settled.path.clone()), other_side(&settled.path)]
                .iter()
                .flatten()
                .any(|path| self.observed.half_given.contains(path)),
            // Without a view of its own, what it sees is what is on disk.
            unmappable: !self.spec.level().has_view()
                || self.observed.unmappable.contains(&settled.path),
        }
    }
}

/// What was found out about a tree.
struct Known {
    half_given: bool,
    unmappable: bool,
}
