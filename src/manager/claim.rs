//! A lease for a name: the one that it has already, or a new one.

use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::table::{Directories, Standing, Table, record};
use super::{Claim, Manager, log_failure};
use crate::allocate::{Checks, Choice, choose, host_user};
use crate::candidates::candidates;
use crate::config::{FILE, FOLDER};
use crate::failure::{Failure, OrFail, Stage};
use crate::history;
use crate::holder::{HeldBy, Holder};
use crate::lease::{self, Lease};
use crate::life::State;
use crate::name_caches::{self, Changed};
use crate::names::UserName;
use crate::observe;
use crate::published;
use crate::spec::Spec;
use crate::sys::accounts::{AccountsLock, local_conflict, lock_accounts};
use crate::sys::clock;
use crate::sys::fault::{Point, reached};
use crate::uid::{Uid, UidRanges};

/// How long a request that waits for the end of another lease goes without looking itself.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How many numbers that others have are named when nothing is free.
const SHOWN: usize = 5;

/// What became of a number that was chosen.
enum Entered {
    /// It is a lease.
    Yes,
    /// Another lease has a directory of the service by now, and is ending.
    DirectoriesBusy,
    /// A user was added meanwhile who has the name or the number: in words.
    SomebodyElse(String),
}

/// How often that may happen to one request.
const MOST_CONFLICTS: usize = 5;

/// How long whoever changes the account files may take.
const ACCOUNTS_PATIENCE: Duration = Duration::from_secs(5);

impl Manager {
    /// A lease for the service: the one that its name has already, or a new one.
    pub(super) fn claim(&self, spec: &Spec, by: &HeldBy) -> Result<Claim, Failure> {
        let holder = Holder::new(spec, by.clone(), self.config().stop_timeout);
        let mut conflicts = 0_usize;
        loop {
            if let Some(claim) = self.join_or_begin(spec, &holder)? {
                self.spread_news();
                return Ok(claim);
            }
            let allocated = self.allocate(spec, |uid| self.table().reserve(uid, spec.user()));
            let entered = allocated.and_then(|claim| {
                let entered = self.enter(spec, &claim, &holder);
                let uid = claim.uid;
                // One in quarantine already keeps its lock: it is not free.
                let kept = matches!(entered, Ok(Entered::Yes)) || self.table().has(uid);
                if claim.dynamic && !kept {
                    log_failure(self.locks.give_back(uid.get()));
                }
                entered.map(|entered| (entered, claim))
            });
            self.table().finish(spec.user());
            self.changed.notify_all();
            match entered? {
                (Entered::Yes, claim) => {
                    if claim.dynamic {
                        let came = Changed::new(spec.user().as_str(), claim.uid.get());
                        name_caches::refresh(&[came]);
                    }
                    return Ok(claim);
                }
                (Entered::DirectoriesBusy, _) => {}
                // Where NSS does not look at these files it goes on like this.
                (Entered::SomebodyElse(who), _) if conflicts == MOST_CONFLICTS => {
                    let subject = format!("user {}", spec.user());
                    return Err(Failure::new(Stage::User, subject, who));
                }
                (Entered::SomebodyElse(_), _) => conflicts = conflicts.saturating_add(1),
            }
        }
    }

    /// Joins the lease that the name has already; otherwise the name is being allocated by the
    /// caller from here on.
    fn join_or_begin(&self, spec: &Spec, holder: &Holder) -> Result<Option<Claim>, Failure> {
        loop {
            // A holder that has ended must not keep its own successor waiting for the news of it.
            let ended = self.table().ended_in_the_way(spec);
            for (uid, holder) in ended {
                log_failure(self.holder_ended(uid, &holder));
            }
            let mut table = self.table();
            match (table.standing(spec.user()), table.directories_for(spec)?) {
                (Standing::Busy, _) | (_, Directories::Busy) => drop(self.wait(table)),
                (Standing::Live(claim), Directories::Free) => {
                    if spec.is_alone() {
                        refuse_company(table.lease(claim.uid), &holder.by)?;
                    }
                    table.refuse_other_level(claim.uid, spec)?;
                    table.share(claim.uid, holder)?;
                    table.equipping(&holder.by);
                    return Ok(Some(claim));
                }
                (Standing::Unknown, Directories::Free) => {
                    table.begin(spec.user());
                    reached(Point::NameBegun);
                    return Ok(None);
                }
            }
        }
    }

    /// Finds a number. `admit` says whether a candidate may be looked at.
    pub(super) fn allocate(
        &self,
        spec: &Spec,
        admit: impl Fn(Uid) -> bool,
    ) -> Result<Claim, Failure> {
        let config = self.config();
        let checks = Checks {
            ipc: &self.ipc,
            locks: &self.locks,
            deadline: config.name_service_timeout,
        };
        if !spec.is_dynamic() {
            let (uid, user) = host_user(spec.user(), &checks)?;
            return Ok(Claim::of_host_user(uid, user));
        }
        let owners = observe::owners(spec)?;
        let user = spec.user();
        let remembered = self.registry().remembered(user);
        let others = |uid| self.registry().belongs_to_another(uid, user);
        let candidates = candidates(user, &owners, remembered, &config.ranges, others);
        // What lies open on the host, or to this service, would be whoever's has its number.
        self.barred(spec)?;
        // Once more after the number was reserved: it may have been adopted just before. What cannot be told
        // counts as taken.
        let admitted = |uid: &Uid| {
            let barred = |all: BTreeSet<u32>| all.contains(&uid.get());
            admit(*uid) && !self.barred(spec).map_or(true, barred)
        };
        let chosen = choose(user, candidates.filter(admitted), &checks)?;
        Ok(match chosen {
            Choice::Nothing(taken) => {
                let why = self.why_nothing_is_free(user, &config.ranges, &taken);
                return Err(Failure::new(
                    Stage::User,
                    format!("user {}", spec.user()),
                    why,
                ));
            }
            Choice::Static(uid, user) => Claim::of_host_user(uid, user),
            Choice::Free(uid) => Claim {
                uid,
                gid: uid.get(),
                dynamic: true,
                groups: vec![uid.get()],
                home: None,
            },
        })
    }

    /// What holds the range, when nothing of it is free for `user`.
    fn why_nothing_is_free(
        &self,
        user: &UserName,
        ranges: &UidRanges,
        taken: &[(Uid, String)],
    ) -> String {
        let tally = self
            .table()
            .tally(|number| ranges.contains(number), Some(user));
        let mut parts = vec![format!("{} are leased", tally.leased)];
        if tally.quarantined > 0 {
            parts.push(format!(
                "{} in quarantine (dynuser list says why)",
                tally.quarantined
            ));
        }
        if tally.reserved > 0 {
            parts.push(format!("{} being looked at for others", tally.reserved));
        }
        if !taken.is_empty() {
            let first = taken.iter().take(SHOWN);
            let first: Vec<String> = first.map(|(uid, by)| format!("{uid} by {by}")).collect();
            let dots = if taken.len() > SHOWN { ", …" } else { "" };
            let (count, first) = (taken.len(), first.join(", "));
            parts.push(format!("{count} taken by others: {first}{dots}"));
        }
        format!(
            "none of the {} numbers of {ranges} is free: {}; more can be given in {FOLDER}/{FILE} (UIDRange=)",
            ranges.count(),
            parts.join(", "),
        )
    }

    /// Makes the number that was chosen a lease: on disk, in the table, and by name.
    fn enter(&self, spec: &Spec, claim: &Claim, holder: &Holder) -> Result<Entered, Failure> {
        let name = spec.user().as_str();
        // Before the table: whoever waits for these must not keep others from it.
        let accounts = match claim.dynamic {
            false => None,
            true => match nobody_else(name, claim.uid.get())? {
                Err(who) => return Ok(Entered::SomebodyElse(who)),
                Ok(guard) => Some(guard),
            },
        };
        if claim.dynamic {
            // Before the lease is on disk: a lock without a lease is given back by the next daemon,
            // but a lease without a lock could be doubled meanwhile.
            self.locks.keep(claim.uid.get(), name)?;
        }
        let mut table = self.table();
        // Others may have come in meanwhile.
        if table.directories_for(spec)? == Directories::Busy {
            return Ok(Entered::DirectoriesBusy);
        }
        table.refuse_second_name(spec.user(), claim.uid)?;
        let mut lease = self.new_lease(spec, claim, holder);
        // What could not be taken back of a user that the host has anyway is still to be.
        let made = table.lease(claim.uid).map(|old| old.made.clone());
        lease.made.extend(made.into_iter().flatten());
        lease::save(&lease)?;
        reached(Point::LeaseSaved);
        let record = record(&lease, &table.joiners());
        let begun = history::begun(&lease);
        table.put(lease);
        table.equipping(&holder.by);
        drop(table);
        if !claim.dynamic {
            return Ok(Entered::Yes);
        }
        self.history.note(&begun);
        let published = published::publish(&record);
        // Whoever adds a user from here on can find this one.
        drop(accounts);
        reached(Point::NamePublished);
        if published.is_err() {
            return self.finished(claim.uid, &holder.by, published.map(|()| Entered::Yes));
        }
        if !spec.is_passing() {
            self.registry().remember(spec.user(), claim.uid);
        }
        published.map(|()| Entered::Yes)
    }

    /// Waits until something has changed, or it is time to look whether holders have ended.
    pub(super) fn wait<'a>(&self, table: MutexGuard<'a, Table>) -> MutexGuard<'a, Table> {
        self.changed
            .wait_timeout(table, LOOK_AGAIN)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn new_lease(&self, spec: &Spec, claim: &Claim, holder: &Holder) -> Lease {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = since.unwrap_or_default();
        Lease {
            name: spec.user().to_string(),
            uid: claim.uid.get(),
            gid: claim.gid,
            dynamic: claim.dynamic,
            groups: claim.groups.clone(),
            home: claim.home.clone(),
            state: State::GRANTED,
            reason: None,
            since: since.as_secs(),
            since_nanos: since.subsec_nanos(),
            since_uptime: clock::now(),
            ended: None,
            boot_id: self.boot_id.clone(),
            pid_namespace: self.pid_namespace,
            pid_namespace_handle: self.pid_namespace_handle.clone(),
            holders: vec![holder.clone()],
            made: Vec::new(),
            passes: Vec::new(),
            control_groups: Vec::new(),
            uses: Vec::new(),
            also_in: Vec::new(),
            kept: Vec::new(),
        }
    }
}

/// Sees, with the lock of the account files, that nobody was added under the name or the number
/// since NSS was asked, and keeps others from it as long as the guard lives; or who was.
fn nobody_else(name: &str, number: u32) -> Result<Result<AccountsLock, String>, Failure> {
    let subject = || format!("user {name}");
    let lock = lock_accounts(ACCOUNTS_PATIENCE).or_fail(Stage::User, subject())?;
    let conflict = local_conflict(name, number).or_fail(Stage::User, subject())?;
    Ok(conflict.map_or(Ok(lock), Err))
}

/// The name of a connection's user is a short hash of what the other end can choose (its port, an address of its network),
/// and a listener that is started anew counts from 0 again: whoever finds the name of one who is served would be it.
fn refuse_company(lease: Option<&Lease>, by: &HeldBy) -> Result<(), Failure> {
    let Some(lease) = lease else { return Ok(()) };
    // A process that asks again, for the daemon was killed, is no company.
    match lease.holders.iter().all(|holder| holder.by == *by) {
        true => Ok(()),
        false => Err(Failure::new(
            Stage::User,
            format!("user {}", lease.name),
            "is another connection's, which is still being served",
        )),
    }
}
