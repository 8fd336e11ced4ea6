//! What is noted of a lease while its service is made ready: it goes when the lease ends.

use std::collections::BTreeSet;

use super::Table;
use crate::account_lines::Database;
use crate::failure::{Failure, Stage};
use crate::holder::HeldBy;
use crate::lease::Lease;
use crate::spec::Spec;
use crate::uid::Uid;

impl Table {
    /// Notes directories in /run that are about to be made under a lease.
    pub(in crate::manager) fn note_made(
        &mut self,
        uid: Uid,
        paths: Vec<String>,
    ) -> Result<(), Failure> {
        self.change(uid, |lease| {
            lease.made.extend(paths);
            lease.made.sort();
            lease.made.dedup();
        })
    }

    /// Notes boundary directories that the user of a lease is about to be let pass.
    pub(in crate::manager) fn note_passes(
        &mut self,
        uid: Uid,
        paths: Vec<String>,
    ) -> Result<(), Failure> {
        self.change(uid, |lease| {
            lease.passes.extend(paths);
            lease.passes.sort();
            lease.passes.dedup();
        })
    }

    /// Notes that the view of a holder is about to have files of accounts of its own.
    pub(in crate::manager) fn note_accounts(
        &mut self,
        uid: Uid,
        by: &HeldBy,
        databases: &[Database],
    ) -> Result<(), Failure> {
        let names = || databases.iter().map(|it| it.name().to_owned());
        self.change(uid, |lease| {
            let mut holders = lease.holders.iter_mut();
            if let Some(holder) = holders.find(|holder| holder.by == *by) {
                holder.shows_accounts = names().collect();
            }
        })
    }

    /// Services of one user are at one level: the trees of one with a view of its own may belong to somebody else on disk.
    pub(in crate::manager) fn refuse_other_level(
        &self,
        uid: Uid,
        spec: &Spec,
    ) -> Result<(), Failure> {
        let level = self.lease(uid).and_then(Lease::sandbox);
        match level.filter(|level| *level != spec.level()) {
            None => Ok(()),
            Some(level) => Err(Failure::new(
                Stage::User,
                format!("user {}", spec.user()),
                format!(
                    "has a service at --sandbox={}, and all services of a user have the same level; stop that one first",
                    level.word()
                ),
            )),
        }
    }

    /// The users who may be let through boundary directories.
    pub(in crate::manager) fn searchers(&self) -> BTreeSet<u32> {
        let leases = self.leases.values();
        let passing = leases.filter(|lease| !lease.passes.is_empty());
        passing.map(|lease| lease.uid).collect()
    }

    /// Notes a control group that was made under a lease.
    pub(in crate::manager) fn note_group(&mut self, uid: Uid, path: &str) -> Result<(), Failure> {
        self.change(uid, |lease| lease.control_groups.push(path.into()))
    }
}
