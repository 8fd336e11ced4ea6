//! The table itself: every change of it is one short function under one lock.

mod notes;
mod tally;
mod telling;
mod unfinished;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::index::Index;
use super::{Claim, log_failure};
use crate::exec_directory::ExecDirectory;
use crate::failure::{Failure, Stage};
use crate::holder::{HeldBy, Holder};
use crate::lease::{self, Lease};
use crate::life::{Event, State};
use crate::name_caches::Changed;
use crate::names::UserName;
use crate::spec::Spec;
use crate::sys::clock::now;
use crate::sys::fault::{Point, reached};
use crate::uid::Uid;

pub(super) use telling::record;

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

/// All leases, and what is being looked at by a request that has none yet.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Boxed: the nodes of the map are half empty.
    leases: BTreeMap<u32, Box<Lease>>,
    index: Index,
    /// Names for which a number is being chosen.
    pending: BTreeSet<String>,
    /// Numbers that are being looked at, with the name for which.
    reserved: HashMap<u32, String>,
    /// Numbers whose lease somebody is seeing to its end: nobody else may.
    releasing: BTreeSet<u32>,
    /// Those of them under which no process is left.
    pub(super) quiet: BTreeSet<u32>,
    /// Holders for whom directories and names are still being made: even when they have ended, the
    /// lease must not, or what is made after its end stays for ever.
    equipping: Vec<HeldBy>,
    /// Numbers in quarantine that were tried, until it is time to try again.
    given_up: BTreeSet<u32>,
    /// Users of whom something was told that caches of names may know otherwise.
    news: Vec<Changed>,
}

/// Whether a lease is ending, or is about to because its holders have ended.
pub(super) fn is_passing(lease: &Lease) -> bool {
    lease.state == State::Ending || lease.is_abandoned()
}

/// A directory of a service that overlaps with one of a lease, and that one.
fn clash<'a>(spec: &'a Spec, lease: &Lease) -> Option<(&'a ExecDirectory, ExecDirectory)> {
    let theirs = lease.claims();
    let mut pairs = spec
        .places()
        .flat_map(|ours| theirs.iter().map(move |theirs| (ours, theirs)));
    let agreed = |shares: bool| shares && spec.shares();
    pairs
        .find(|(ours, (theirs, shares))| match *ours == theirs {
            true => !agreed(*shares),
            false => ours.is_within(theirs) || theirs.is_within(ours),
        })
        .map(|(ours, (theirs, _))| (ours, theirs.clone()))
}

/// Moves a lease on in its life. `None` if it cannot be: nothing may be done then.
fn moved(lease: &Lease, event: Event) -> Option<State> {
    let after = State::after(Some(lease.state), event).ok().flatten();
    if after.is_none() {
        tracing::error!(uid = lease.uid, state = ?lease.state, ?event, "cannot happen");
    }
    after
}

impl Table {
    pub(super) fn standing(&self, user: &UserName) -> Standing {
        if self.pending.contains(user.as_str()) {
            return Standing::Busy;
        }
        let number = self.index.number(user.as_str());
        let lease = number.and_then(|number| self.leases.get(&number));
        match lease.and_then(|lease| Some((lease, Uid::of_host(lease.uid)?))) {
            None => Standing::Unknown,
            Some((lease, _)) if self.releasing.contains(&lease.uid) || is_passing(lease) => {
                Standing::Busy
            }
            // Of a user that the host has anyway: the number is the name's all the same.
            Some((lease, _)) if lease.state == State::Quarantined => Standing::Unknown,
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
        reached(Point::CandidateReserved);
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
        self.change(uid, |lease| {
            lease.state = moved(lease, Event::Joined).unwrap_or(lease.state);
            lease.holders.retain(|other| other.by != holder.by);
            lease.holders.push(holder.clone());
        })?;
        self.tell(uid.get());
        reached(Point::LeaseShared);
        Ok(())
    }

    /// The runtime directories that a lease keeps although none of its holders has them any more.
    pub(super) fn unused(&self, uid: Uid) -> Option<(Lease, Vec<ExecDirectory>)> {
        let lease = self.leases.get(&uid.get())?;
        if lease.state != State::Running || lease.kept.is_empty() {
            return None;
        }
        Some((Lease::clone(lease), lease.unused_directories()))
    }

    /// Notes that these are removed, and which paths are gone with them.
    pub(super) fn note_removed(
        &mut self,
        uid: Uid,
        directories: &[ExecDirectory],
        gone: &[String],
    ) -> Result<(), Failure> {
        self.change(uid, |lease| {
            lease.made.retain(|path| !gone.contains(path));
            let removed = |path: &String| directories.iter().any(|it| it.path() == path);
            lease.kept.retain(|path| !removed(path));
        })
    }

    /// Changes a lease, on disk first.
    fn change(&mut self, uid: Uid, change: impl FnOnce(&mut Lease)) -> Result<(), Failure> {
        let Some(lease) = self.leases.get(&uid.get()) else {
            return Ok(());
        };
        let mut changed = Lease::clone(lease);
        change(&mut changed);
        lease::save(&changed)?;
        self.put(changed);
        Ok(())
    }

    /// Whether the directories of a service are free for it: two users in one directory would each
    /// see it as its own, and neither would know.
    ///
    /// # Errors
    /// Of the kind of the directory that another service has.
    pub(super) fn directories_for(&self, spec: &Spec) -> Result<Directories, Failure> {
        let mut answer = Directories::Free;
        for lease in self.in_the_way(spec) {
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
                    "is in use by {} (user {}, {theirs}); two services may have the same directory if both say SharedDirectories=yes",
                    lease.services().join(", "),
                    lease.name
                ),
            ));
        }
        Ok(answer)
    }

    /// The leases of other names that have a directory of the service.
    fn in_the_way(&self, spec: &Spec) -> impl Iterator<Item = &Lease> {
        let numbers = self.index.overlapping(spec.places()).into_iter();
        let leases = numbers.filter_map(|number| self.leases.get(&number).map(Box::as_ref));
        leases.filter(|lease| lease.name != spec.user().as_str())
    }

    /// The public paths of those directories of a service that another one has too.
    pub(super) fn shared_with_others(&self, spec: &Spec) -> BTreeSet<String> {
        let theirs = self.in_the_way(spec).flat_map(Lease::exec_directories);
        let theirs: BTreeSet<ExecDirectory> = theirs.collect();
        let ours = spec.places().filter(|ours| theirs.contains(*ours));
        ours.map(ExecDirectory::public).collect()
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

    /// Puts a new lease into the table, or one that is on disk.
    pub(super) fn put(&mut self, mut lease: Lease) {
        lease.holders.shrink_to_fit();
        if let Some(old) = self.leases.get(&lease.uid) {
            self.index.remove(old);
        }
        self.index.add(&lease);
        self.leases.insert(lease.uid, Box::new(lease));
    }

    /// The lease of a number.
    pub(super) fn lease(&self, uid: Uid) -> Option<&Lease> {
        self.leases.get(&uid.get()).map(Box::as_ref)
    }

    /// Takes a holder from a lease. When it was the last one, the lease is ending now, and is given
    /// to the caller, who alone must see it to its end. Nothing happens while things are made for it:
    /// whoever makes them looks again.
    pub(super) fn let_go(&mut self, uid: Uid, holder: &HeldBy) -> Option<Lease> {
        let lease = self.leases.get(&uid.get())?;
        let mine = |other: &Holder| other.by == *holder;
        if self.equipping.contains(holder) {
            return None;
        }
        if lease.state != State::Running || !lease.holders.iter().any(mine) {
            return None;
        }
        let mut changed = Lease::clone(lease);
        let last = lease.holders.iter().all(mine);
        if last {
            // It stays in the lease while that is ending: its directories are not free yet.
            changed.state = moved(lease, Event::LastHolderEnded)?;
            changed.ended = Some(now());
            self.releasing.insert(lease.uid);
        } else {
            changed.state = moved(lease, Event::HolderEnded)?;
            changed.drop_holder(holder);
            log_failure(lease::save(&changed));
            reached(Point::HolderDropped);
        }
        self.put(changed.clone());
        self.tell(uid.get());
        last.then_some(changed)
    }

    /// Things are about to be made for a holder.
    pub(super) fn equipping(&mut self, holder: &HeldBy) {
        self.equipping.push(holder.clone());
    }

    /// Everything is made for a holder, or nothing more will be.
    pub(super) fn equipped(&mut self, holder: &HeldBy) {
        // One of them: a process may ask for two users at once.
        if let Some(first) = self.equipping.iter().position(|other| other == holder) {
            self.equipping.swap_remove(first);
        }
    }

    /// What is to be said of a lease that runs.
    pub(super) fn set_reason(&mut self, uid: u32, reason: Option<String>) {
        if let Some(lease) = self.leases.get_mut(&uid)
            && lease.state == State::Running
        {
            lease.reason = reason;
            log_failure(lease::save(lease));
        }
    }

    /// A lease has ended.
    pub(super) fn forget(&mut self, uid: u32) {
        if let Some(lease) = self.leases.remove(&uid) {
            self.index.remove(&lease);
            self.tell_all(&lease.uses);
            if lease.dynamic {
                self.leave_group(uid);
            }
        }
        self.releasing.remove(&uid);
        self.given_up.remove(&uid);
    }

    /// Of the leases that stand in the way of a service, the holders that have ended.
    pub(super) fn ended_in_the_way(&self, spec: &Spec) -> Vec<(Uid, HeldBy)> {
        let own = self.index.number(spec.user().as_str());
        let own = own.and_then(|number| self.leases.get(&number).map(Box::as_ref));
        // As long as one of its own name lives, the others are in nobody's way.
        let own = own.filter(|lease| lease.is_abandoned());
        self.ended_among(self.in_the_way(spec).chain(own))
    }

    /// The holders that have ended, of leases.
    pub(super) fn ended_among<'a>(
        &self,
        leases: impl Iterator<Item = &'a Lease>,
    ) -> Vec<(Uid, HeldBy)> {
        leases
            .filter(|lease| lease.state == State::Running)
            .filter_map(|lease| Some((Uid::of_host(lease.uid)?, lease.ended_holders())))
            .flat_map(|(uid, ended)| ended.into_iter().map(move |holder| (uid, holder)))
            .filter(|(_, holder)| !self.equipping.contains(holder))
            .collect()
    }

    /// All leases.
    pub(super) fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values().map(Box::as_ref)
    }
}
