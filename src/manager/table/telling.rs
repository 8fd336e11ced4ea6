//! What everybody may know of the users in the table.

use std::collections::BTreeSet;

use super::Table;
use crate::failure::Failure;
use crate::holder::Holder;
use crate::lease::{self, Lease};
use crate::life::State;
use crate::manager::log_failure;
use crate::name_caches::Changed;
use crate::published;
use crate::uid::Uid;
use crate::user_record::Record;

/// What everybody may know of the user of a lease.
pub(in crate::manager) fn record(lease: &Lease, joiners: &[&Lease]) -> Record {
    let members = joiners.iter();
    let members = members.filter(|other| other.uid != lease.uid && other.uses.contains(&lease.uid));
    Record::new(
        &lease.name,
        lease.uid,
        lease.record_home(),
        &lease.also_in,
        members.map(|member| member.name.as_str()),
    )
}

impl Table {
    /// The leases whose processes have groups of other dynamic users, as long as they have their names.
    pub(in crate::manager) fn joiners(&self) -> Vec<&Lease> {
        let all = self.leases.values().map(Box::as_ref);
        all.filter(|lease| !lease.uses.is_empty() && lease.state.has_its_name())
            .collect()
    }

    /// What there is to know of the user of a lease, and of those that it has to do with: whose groups its processes have,
    /// and who has its group.
    pub(in crate::manager) fn around(&self, uid: u32) -> Vec<Record> {
        let Some(own) = self.leases.get(&uid).filter(|lease| lease.dynamic) else {
            return Vec::new();
        };
        let joiners = self.joiners();
        let used = own.uses.iter().filter_map(|uid| self.leases.get(uid));
        let used = used.map(Box::as_ref);
        let used = used.filter(|lease| lease.dynamic && lease.state.has_its_name());
        let members = joiners.iter().filter(|lease| lease.uses.contains(&uid));
        let all = [own.as_ref()]
            .into_iter()
            .chain(used)
            .chain(members.copied());
        let mut known = BTreeSet::new();
        all.filter(|lease| known.insert(lease.uid))
            .map(|lease| record(lease, &joiners))
            .collect()
    }

    /// Tells what has changed of a user.
    pub(super) fn tell(&mut self, uid: u32) {
        let lease = self.leases.get(&uid);
        let Some(lease) = lease.filter(|it| it.dynamic && it.state == State::Running) else {
            return;
        };
        match published::renew(&record(lease, &self.joiners())) {
            Ok(true) => {
                let changed = Changed::new(&lease.name, uid);
                self.news.push(changed);
            }
            Ok(false) => {}
            Err(failure) => log_failure(Err(failure)),
        }
    }

    /// Tells of users whose groups somebody has no longer.
    pub(super) fn tell_all(&mut self, uids: &[u32]) {
        uids.iter().for_each(|uid| self.tell(*uid));
    }

    /// The users of whom something was told since this was asked last that caches of names may know otherwise.
    pub(in crate::manager) fn take_news(&mut self) -> Vec<Changed> {
        std::mem::take(&mut self.news)
    }

    /// Tells whether a lease has the group of another user whom none of its holders holds any more: its processes that are
    /// left may have it, and no new ones get it.
    pub(in crate::manager) fn has_lost_group(&self, member: u32, other: u32) -> bool {
        let (Some(member), Some(other)) = (self.leases.get(&member), self.leases.get(&other))
        else {
            return true;
        };
        // Whoever asked for the group of a user holds that one, too.
        let holds = |ours: &Holder| other.holders.iter().any(|theirs| theirs.by == ours.by);
        member.state == State::Running && !member.holders.iter().any(holds)
    }

    /// Forgets the groups of users who are gone: a daemon may have been killed before it had noted that everywhere.
    pub(in crate::manager) fn drop_lost_groups(&mut self) {
        let uses = self.leases.values().flat_map(|lease| &lease.uses);
        let lost: BTreeSet<u32> = uses
            .filter(|number| !self.leases.contains_key(number))
            .copied()
            .collect();
        lost.into_iter().for_each(|number| self.leave_group(number));
    }

    /// A number is free: nobody is in its group any more, whoever gets it next.
    pub(super) fn leave_group(&mut self, number: u32) {
        let mut left = Vec::new();
        for lease in self.leases.values_mut() {
            if lease.uses.contains(&number) || lease.also_in.contains(&number) {
                lease.uses.retain(|other| *other != number);
                lease.also_in.retain(|other| *other != number);
                // The file of one that is ending may be gone already, and must not come back. Where the number stays in a
                // file there is no lease of it, and the next daemon sees that.
                if lease.state == State::Running {
                    log_failure(lease::save(lease));
                }
                left.push(lease.uid);
            }
        }
        self.tell_all(&left);
    }

    /// Notes that processes of a lease have the group of another one's user.
    pub(in crate::manager) fn note_use(&mut self, uid: Uid, other: Uid) -> Result<(), Failure> {
        // Once, however often its services are started: what is noted is written with every change.
        let is_known = |lease: &Lease| lease.uses.contains(&other.get());
        if self.lease(uid).is_some_and(is_known) {
            return Ok(());
        }
        self.change(uid, |lease| lease.uses.push(other.get()))?;
        self.tell(other.get());
        Ok(())
    }

    /// Notes the groups that processes of a lease are about to have, besides its user's own.
    pub(in crate::manager) fn note_groups(
        &mut self,
        uid: Uid,
        groups: impl Iterator<Item = u32>,
    ) -> Result<(), Failure> {
        let known = self.lease(uid).map(|lease| lease.also_in.as_slice());
        let known = known.unwrap_or_default();
        let new: Vec<u32> = groups.filter(|group| !known.contains(group)).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.change(uid, |lease| lease.also_in.extend(new))?;
        self.tell(uid.get());
        Ok(())
    }
}
