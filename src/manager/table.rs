//! The table itself: every change of it is one short function under one lock.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Claim;
use crate::exec_directory::ExecDirectory;
use crate::failure::{Failure, Stage};
use crate::lease::{self, Holder, Lease, ProcessRecord, State};
use crate::names::UserName;
use crate::spec::Spec;
use crate::uid::Uid;

/// What the table says of a name.
pub(super) enum Standing {
    /// There is no lease of that name.
    Unknown,
    /// There will be one, or there still is one that is ending. It is worth the wait.
    Busy,
    /// There is one.
    Live(Claim),
}

/// What the table says of the directories of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directories {
    /// No other lease has them.
    Free,
    /// A lease that is ending has one of them. It is worth the wait.
    Busy,
}

/// Whether a lease is ending, or is about to because its holders have ended.
fn is_passing(lease: &Lease) -> bool {
    lease.state == State::Ending || lease.is_abandoned()
}

/// A directory of a service that overlaps with one of a lease, and that one.
fn clash(spec: &Spec, lease: &Lease) -> Option<(ExecDirectory, ExecDirectory)> {
    let theirs = lease.exec_directories();
    let pairs = spec
        .directories()
        .iter()
        .flat_map(|ours| theirs.iter().map(move |theirs| (ours, theirs)));
    pairs
        .filter(|(ours, theirs)| ours.is_within(theirs) || theirs.is_within(ours))
        .map(|(ours, theirs)| (ours.clone(), theirs.clone()))
        .next()
}

/// All leases, and what is being looked at by a request that has none yet.
#[derive(Debug, Default)]
pub(super) struct Table {
    leases: BTreeMap<u32, Lease>,
    /// Names for which a number is being chosen.
    pending: BTreeSet<String>,
    /// Numbers that are being looked at, with the name for which.
    reserved: HashMap<u32, String>,
    /// Numbers whose lease somebody is seeing to its end, or gave up on: nobody else may.
    releasing: BTreeSet<u32>,
}

impl Table {
    pub(super) fn standing(&self, user: &UserName) -> Standing {
        if self.pending.contains(user.as_str()) {
            return Standing::Busy;
        }
        // A name in quarantine gets another number.
        let lease = self
            .leases
            .values()
            .find(|lease| lease.name == user.as_str() && lease.state != State::Quarantined);
        match lease.and_then(|lease| Some((lease, Uid::new(lease.uid)?))) {
            None => Standing::Unknown,
            Some((lease, _)) if is_passing(lease) => Standing::Busy,
            Some((lease, uid)) => Standing::Live(Claim {
                uid,
                gid: lease.gid,
                dynamic: lease.dynamic,
                groups: lease.groups.clone(),
                home: lease.home.clone(),
            }),
        }
    }

    /// Tells whether a number is leased, in whatever state.
    pub(super) fn has(&self, uid: Uid) -> bool {
        self.leases.contains_key(&uid.get())
    }

    /// Keeps others from a number while it is looked at for `user`; false if somebody else does.
    pub(super) fn reserve(&mut self, uid: Uid, user: &UserName) -> bool {
        if self.has(uid) || self.reserved.contains_key(&uid.get()) {
            return false;
        }
        self.reserved.insert(uid.get(), user.to_string());
        true
    }

    /// A number is being chosen for `user`.
    pub(super) fn begin(&mut self, user: &UserName) {
        self.pending.insert(user.to_string());
    }

    /// The choice for `user` is made, or has failed.
    pub(super) fn finish(&mut self, user: &UserName) {
        self.pending.remove(user.as_str());
        self.reserved.retain(|_, name| name != user.as_str());
    }

    /// Adds a holder to a lease.
    pub(super) fn share(&mut self, uid: Uid, holder: &Holder) -> Result<(), Failure> {
        let Some(lease) = self.leases.get_mut(&uid.get()) else {
            return Ok(());
        };
        let mut shared = lease.clone();
        shared
            .holders
            .retain(|other| other.process != holder.process);
        shared.holders.push(holder.clone());
        lease::save(&shared)?;
        *lease = shared;
        Ok(())
    }

    /// Notes directories in /run that are about to be made under a lease.
    pub(super) fn note_made(&mut self, uid: Uid, paths: Vec<String>) -> Result<(), Failure> {
        let Some(lease) = self.leases.get_mut(&uid.get()) else {
            return Ok(());
        };
        let mut noted = lease.clone();
        noted.made.extend(paths);
        lease::save(&noted)?;
        *lease = noted;
        Ok(())
    }

    /// Whether the directories of a service are free for it: two users in one directory would each
    /// see it as its own, and neither would know.
    ///
    /// # Errors
    /// Of the kind of the directory that another service has.
    pub(super) fn directories_for(&self, spec: &Spec) -> Result<Directories, Failure> {
        let others = self.leases.values().filter(|lease| {
            lease.name != spec.user().as_str() && lease.state != State::Quarantined
        });
        let mut answer = Directories::Free;
        for lease in others {
            let Some((ours, theirs)) = clash(spec, lease) else {
                continue;
            };
            if is_passing(lease) {
                answer = Directories::Busy;
                continue;
            }
            return Err(Failure::new(
                ours.kind().stage(),
                ours.public(),
                format!(
                    "is in use by {} (user {}, {theirs})",
                    lease.services().join(", "),
                    lease.name
                ),
            ));
        }
        Ok(answer)
    }

    /// A number has one name: a user of the host's own may have a number that is leased, under
    /// another name of the same number or since before that user was made.
    pub(super) fn refuse_second_name(&self, user: &UserName, uid: Uid) -> Result<(), Failure> {
        match self.leases.get(&uid.get()) {
            Some(lease) if lease.name != user.as_str() => Err(Failure::new(
                Stage::User,
                format!("user {user}"),
                format!("its number {uid} is in use under the name {}", lease.name),
            )),
            _ => Ok(()),
        }
    }

    /// Puts a lease into the table.
    pub(super) fn enter(&mut self, lease: Lease) {
        self.leases.insert(lease.uid, lease);
    }

    /// Takes a holder from a lease. When it was the last one, the lease is ending now, and is given
    /// to the caller, who alone must see it to its end.
    pub(super) fn let_go(&mut self, uid: Uid, process: &ProcessRecord) -> Option<Lease> {
        let lease = self.leases.get_mut(&uid.get())?;
        let mine = |holder: &Holder| holder.process == *process;
        if lease.state != State::Running || !lease.holders.iter().any(mine) {
            return None;
        }
        if !lease.holders.iter().all(mine) {
            lease.holders.retain(|holder| !mine(holder));
            super::log_failure(lease::save(lease));
            return None;
        }
        // The last one stays in the lease while that is ending: its directories are not free yet.
        lease.state = State::Ending;
        self.releasing.insert(lease.uid);
        Some(lease.clone())
    }

    /// A lease whose end the former daemon did not finish, or could not: given once, to a caller
    /// who must see it to its end.
    pub(super) fn unfinished(&mut self) -> Option<Lease> {
        let next = self.leases.values_mut().find(|lease| {
            let stuck =
                lease.state == State::Quarantined && lease.dynamic && !lease.name.is_empty();
            (lease.state == State::Ending || stuck) && !self.releasing.contains(&lease.uid)
        })?;
        next.state = State::Ending;
        self.releasing.insert(next.uid);
        Some(next.clone())
    }

    /// Leases in quarantine may be given out by [`unfinished`](Self::unfinished) once more.
    pub(super) fn let_quarantine_be_tried(&mut self) {
        for lease in self.leases.values() {
            if lease.state == State::Quarantined {
                self.releasing.remove(&lease.uid);
            }
        }
    }

    /// Of the leases that stand in the way of a service, the holders that have ended.
    pub(super) fn ended_in_the_way(&self, spec: &Spec) -> Vec<(Uid, ProcessRecord)> {
        self.leases
            .values()
            .filter(|lease| lease.name == spec.user().as_str() || clash(spec, lease).is_some())
            .filter(|lease| lease.state == State::Running)
            .filter_map(|lease| Some((Uid::new(lease.uid)?, lease.ended_holders())))
            .flat_map(|(uid, ended)| ended.into_iter().map(move |process| (uid, process)))
            .collect()
    }

    /// A lease has ended.
    pub(super) fn forget(&mut self, uid: u32) {
        self.leases.remove(&uid);
        self.releasing.remove(&uid);
    }

    /// How many leases are not in quarantine, and requests for one.
    pub(super) fn live(&self) -> usize {
        let live = self.leases.values();
        live.filter(|lease| lease.state != State::Quarantined)
            .count()
            .saturating_add(self.pending.len())
    }

    /// All leases.
    pub(super) fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }
}
