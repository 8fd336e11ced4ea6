//! What a number reaches by owning it: a service must not get one that opens another one's files to it.

use std::collections::{BTreeMap, BTreeSet};

use super::Manager;
use crate::exec_directory::ExecDirectory;
use crate::failure::{Failure, OrFail, Stage};
use crate::search_right;
use crate::spec::Spec;
use crate::uid::Uid;

/// The paths of directories behind their boundaries.
fn behind<'a>(directories: impl Iterator<Item = &'a ExecDirectory>) -> Vec<String> {
    directories.filter_map(ExecDirectory::behind).collect()
}

/// Who owns something behind the boundaries that a service passes, but for what is at the paths `own`: nobody, for one
/// that has a view of its own and passes none.
fn owners(spec: &Spec, own: &[String]) -> Result<BTreeMap<u32, String>, Failure> {
    let mut owners = BTreeMap::new();
    if spec.level().has_view() {
        return Ok(owners);
    }
    let private = spec.directories().iter().filter(|it| it.is_private());
    let kinds: BTreeSet<_> = private.map(|it| it.place().kind()).collect();
    for kind in kinds {
        if let Some(path) = kind.boundary() {
            owners.extend(search_right::owners(path, own).or_fail(kind.stage(), path)?);
        }
    }
    Ok(owners)
}

impl Manager {
    /// The numbers that a service must not get, because something of others lies open to whoever has them.
    pub(super) fn barred(&self, spec: &Spec) -> Result<BTreeSet<u32>, Failure> {
        let adopted = self.yard.adopted()?;
        let known = adopted.iter().flatten();
        let others = known.filter(|(_, theirs)| spec.places().all(|ours| ours != theirs));
        let mut barred: BTreeSet<u32> = others.map(|(uid, _)| *uid).collect();
        barred.extend(owners(spec, &behind(spec.places()))?.into_keys());
        Ok(barred)
    }

    /// Refuses a service that would reach what is another one's, with the number that it has: it came to a lease that there
    /// was already, or is a user of the host's.
    pub(super) fn refuse_reach(&self, spec: &Spec, uid: Uid) -> Result<(), Failure> {
        let lease = self.table().lease(uid).map(|it| it.exec_directories());
        let all = lease.into_iter().flatten().chain(spec.places().cloned());
        let own = behind(all.collect::<Vec<_>>().iter());
        match owners(spec, &own)?.remove(&uid.get()) {
            None => Ok(()),
            Some(path) => {
                let level = spec.level().word();
                let why = format!(
                    "is {uid}'s on the disk, and no directory of this service, which would reach it at the level {level}; --sandbox=full keeps it from it"
                );
                Err(Failure::new(Stage::User, path, why))
            }
        }
    }
}
