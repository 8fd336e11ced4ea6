//! A lease for a name: the one that it has already, or a new one.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::table::{Directories, Standing, Table};
use super::{Claim, Manager, log_failure};
use crate::allocate::{Checks, Choice, choose};
use crate::candidates::candidates;
use crate::config::{FILE, FOLDER};
use crate::failure::{Failure, Stage};
use crate::holder::{HeldBy, Holder};
use crate::lease::{self, Lease};
use crate::life::State;
use crate::observe;
use crate::published;
use crate::spec::Spec;
use crate::uid::{Uid, UidRanges};

/// How long a request that waits for the end of another lease goes without looking itself.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How many numbers that others have are named when nothing is free.
const SHOWN: usize = 5;

impl Manager {
    /// A lease for the service: the one that its name has already, or a new one.
    pub(super) fn claim(&self, spec: &Spec, by: &HeldBy) -> Result<Claim, Failure> {
        let holder = Holder::new(spec, by.clone(), self.config().stop_timeout);
        loop {
            if let Some(claim) = self.join_or_begin(spec, &holder)? {
                return Ok(claim);
            }
            let allocated = self.allocate(spec, |uid| self.table().reserve(uid, spec.user()));
            let entered = allocated.and_then(|claim| self.enter(spec, claim, &holder));
            self.table().finish(spec.user());
            self.changed.notify_all();
            if let Some(claim) = entered? {
                return Ok(claim);
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
                    table.share(claim.uid, holder)?;
                    return Ok(Some(claim));
                }
                (Standing::Unknown, Directories::Free) => {
                    table.begin(spec.user());
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
        let owners = observe::owners(spec)?;
        let config = self.config();
        let candidates = candidates(spec.user(), &owners, None, &config.ranges, |_| false);
        let checks = Checks {
            ipc: &self.ipc,
            deadline: config.name_service_timeout,
        };
        let chosen = choose(spec.user(), candidates.filter(|uid| admit(*uid)), &checks)?;
        Ok(match chosen {
            Choice::Nothing(taken) => {
                let why = self.why_nothing_is_free(&config.ranges, &taken);
                return Err(Failure::new(
                    Stage::User,
                    format!("user {}", spec.user()),
                    why,
                ));
            }
            Choice::Static(uid, user) => Claim {
                uid,
                gid: user.gid,
                dynamic: false,
                groups: user.groups,
                home: Some(user.home),
            },
            Choice::Free(uid) => Claim {
                uid,
                gid: uid.get(),
                dynamic: true,
                groups: vec![uid.get()],
                home: None,
            },
        })
    }

    /// What holds the range, when nothing of it is free.
    fn why_nothing_is_free(&self, ranges: &UidRanges, taken: &[(Uid, String)]) -> String {
        let tally = self.table().tally(|number| ranges.contains(number));
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

    /// Makes the number that was chosen a lease: on disk, in the table, and by name. `None` if
    /// something has come in between, so that all of it must be looked at again.
    fn enter(&self, spec: &Spec, claim: Claim, holder: &Holder) -> Result<Option<Claim>, Failure> {
        let mut table = self.table();
        // Others may have come in meanwhile.
        if table.directories_for(spec)? == Directories::Busy {
            return Ok(None);
        }
        table.refuse_second_name(spec.user(), claim.uid)?;
        let mut lease = self.new_lease(spec, &claim, holder);
        // What could not be taken back of a user that the host has anyway is still to be.
        let made = table.lease(claim.uid).map(|old| old.made.clone());
        lease.made.extend(made.into_iter().flatten());
        lease::save(&lease)?;
        table.put(lease);
        drop(table);
        if claim.dynamic
            && let Err(failure) = published::publish(spec.user().as_str(), claim.uid.get())
        {
            log_failure(self.holder_ended(claim.uid, &holder.by));
            return Err(failure);
        }
        Ok(Some(claim))
    }

    /// Waits until something has changed, or it is time to look whether holders have ended.
    fn wait<'a>(&self, table: MutexGuard<'a, Table>) -> MutexGuard<'a, Table> {
        self.changed
            .wait_timeout(table, LOOK_AGAIN)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn new_lease(&self, spec: &Spec, claim: &Claim, holder: &Holder) -> Lease {
        Lease {
            name: spec.user().to_string(),
            uid: claim.uid.get(),
            gid: claim.gid,
            dynamic: claim.dynamic,
            groups: claim.groups.clone(),
            home: claim.home.clone(),
            state: State::GRANTED,
            reason: None,
            since: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |age| age.as_secs()),
            boot_id: self.boot_id.clone(),
            pid_namespace: self.pid_namespace,
            holders: vec![holder.clone()],
            made: Vec::new(),
        }
    }
}
