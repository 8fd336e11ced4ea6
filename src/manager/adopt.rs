//! Going on after a daemon that was killed: what is on disk is enough.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use super::table::record;
use super::{Manager, log_failure, shown};
use crate::directory_record::DirectoryRecord;
use crate::failure::{Failure, OrFail, Stage};
use crate::holder::{HeldBy, Holder, Watched};
use crate::layout::{HOLDS, LEASES};
use crate::lease::{self, Found, Lease};
use crate::life::{Event, State};
use crate::name_caches;
use crate::names::UserName;
use crate::notify_files;
use crate::published;
use crate::registry::Registry;
use crate::search_right;
use crate::sys::clock::now;
use crate::sys::fault::{Point, reached};
use crate::sys::namespace::is_gone;
use crate::uid::Uid;

/// How long a PID namespace that is going may take.
const LAST_BREATH: Duration = Duration::from_secs(3);

/// A holder that lives on.
#[derive(Debug)]
pub struct Adopted {
    /// The number that it holds.
    pub uid: Uid,
    /// Who it is.
    pub holder: HeldBy,
    /// What tells its end.
    pub watched: Watched,
}

impl Manager {
    /// Takes over the leases that are on disk. Gives the holders that must be watched. Leases that
    /// nobody holds any more are taken back by [`retry_quarantined`](Self::retry_quarantined).
    ///
    /// # Errors
    /// Of [`crate::failure::Stage::Daemon`], if /run cannot be read or written.
    pub fn adopt(&self) -> Result<Vec<Adopted>, Failure> {
        lease::sweep();
        log_failure(notify_files::sweep());
        let mut holders = Vec::new();
        let mut table = self.table();
        let found = lease::load_all()?;
        self.refuse_foreign(&found)?;
        for Found { uid, lease } in found {
            let lease = match lease {
                Ok(lease) => self.adopt_one(lease, &mut holders)?,
                Err(why) => {
                    tracing::error!(uid, why, "the file of a lease is damaged");
                    Lease::damaged(uid, &why)
                }
            };
            let lease = self.lock_adopted(lease);
            log_failure(lease::save(&lease));
            table.put(lease);
            reached(Point::LeaseAdopted);
        }
        table.drop_lost_groups();
        self.locks.give_back_unclaimed();
        let named = || {
            let running = table.leases().filter(|it| it.state == State::Running);
            running.filter(|lease| lease.dynamic)
        };
        published::withdraw_all_but(named())?;
        let joiners = table.joiners();
        for lease in named() {
            log_failure(published::publish(&record(lease, &joiners)));
        }
        reached(Point::NamesRepublished);
        sweep_holds(table.leases())?;
        search_right::sweep(table.leases());
        let known: Vec<(UserName, Uid)> = named().filter_map(who).collect();
        let any = table.leases().next().is_some();
        let shown = shown::holders(table.leases());
        drop(table);
        self.shown.find_again(shown);
        self.open_registry(&known);
        log_failure(self.publish_ranges());
        if any {
            name_caches::refresh(&[]);
        }
        Ok(holders)
    }

    /// From another PID namespace (a container that sees our /run) every holder looks dead, and what
    /// runs under its number cannot be seen at all: nothing may be taken back there.
    fn refuse_foreign(&self, found: &[Found]) -> Result<(), Failure> {
        for lease in found.iter().filter_map(|found| found.lease.as_ref().ok()) {
            if lease.boot_id != self.boot_id || !self.is_foreign(lease)? {
                continue;
            }
            let file = format!("{LEASES}/{}", lease.uid);
            let why = format!(
                "{} belongs to processes of another PID namespace; start the daemon there. If that was \
                 this container before it was started anew: rm {file}",
                lease.name
            );
            return Err(Failure::new(Stage::Daemon, file, why));
        }
        Ok(())
    }

    /// Whether the holders of a lease may be alive in a PID namespace that is not ours.
    fn is_foreign(&self, lease: &Lease) -> Result<bool, Failure> {
        let handle = match &lease.pid_namespace_handle {
            _ if self.is_of_our_namespace(lease) => return Ok(false),
            None => return Ok(true),
            Some(handle) => handle,
        };
        // It goes a moment after its last process.
        let deadline = Instant::now().checked_add(LAST_BREATH);
        loop {
            let gone = is_gone(handle);
            if gone.or_fail(Stage::Daemon, format!("{LEASES}/{}", lease.uid))? {
                return Ok(false);
            }
            if deadline.is_none_or(|deadline| Instant::now() >= deadline) {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn is_of_our_namespace(&self, lease: &Lease) -> bool {
        // The inode's number is used again after the namespace's end, the handle never.
        let same = match (&lease.pid_namespace_handle, &self.pid_namespace_handle) {
            (Some(theirs), Some(ours)) => theirs == ours,
            _ => true,
        };
        same && lease.pid_namespace == self.pid_namespace
    }

    /// Opens the registry for writing, and notes what a daemon that was killed may not have.
    fn open_registry(&self, known: &[(UserName, Uid)]) {
        let mut registry = self.registry();
        *registry = Registry::open();
        *self.records() = DirectoryRecord::open();
        self.history.start();
        for (name, uid) in known {
            registry.remember(name, *uid);
        }
    }

    /// The lock on the number of a lease that is adopted. Without a copy of it systemd could hand the
    /// number out while no daemon ran: then that is told, and the service goes on until somebody
    /// decides.
    pub(super) fn lock_adopted(&self, mut lease: Lease) -> Lease {
        if !lease.dynamic || lease.is_damaged() {
            return lease;
        }
        let conflict = match self.locks.hold(lease.uid, &lease.name) {
            Ok(holder) => holder,
            Err(failure) => Some(failure.to_string()),
        };
        if let Some(holder) = &conflict {
            let (uid, name) = (lease.uid, &lease.name);
            tracing::error!(uid, name, holder, "a number of two users");
        }
        if lease.state == State::Running {
            lease.reason = conflict.map(|holder| {
                format!(
                    "conflict: its number is {holder}'s too, since no daemon ran; stop one of them"
                )
            });
        }
        lease
    }

    fn adopt_one(&self, mut lease: Lease, adopted: &mut Vec<Adopted>) -> Result<Lease, Failure> {
        let Some(uid) = Uid::of_host(lease.uid) else {
            return Ok(Lease::damaged(lease.uid, "nobody can have such a number"));
        };
        let mut dead: Vec<HeldBy> = Vec::new();
        // After a reboot, or the end of the container, nobody holds anything, whatever processes have
        // the same numbers now.
        let counts = lease.state == State::Running
            && lease.boot_id == self.boot_id
            && self.is_of_our_namespace(&lease);
        for Holder { by, .. } in lease.holders.iter().filter(|_| counts) {
            // An error is no sign of life or death. To guess wrong would end a running service, or
            // give its number away: better no daemon until it is known.
            let who = || format!("{by:?}, which holds {uid}");
            match by.reopen().or_fail(Stage::Daemon, who())? {
                Some(watched) => adopted.push(Adopted {
                    uid,
                    holder: by.clone(),
                    watched,
                }),
                None => dead.push(by.clone()),
            }
        }
        let held = counts && dead.len() < lease.holders.len();
        let event = Event::Adopted { held };
        let Ok(Some(state)) = State::after(Some(lease.state), event) else {
            return Ok(Lease::damaged(lease.uid, "it says what cannot be"));
        };
        // The last ones stay in a lease that is ending: their directories are not free yet.
        if held {
            dead.iter().for_each(|by| lease.drop_holder(by));
        }
        if state == State::Ending {
            lease.ended.get_or_insert_with(now);
        }
        lease.state = state;
        Ok(lease)
    }
}

/// The name and number of a lease, for the registry: not of services that nobody named.
fn who(lease: &Lease) -> Option<(UserName, Uid)> {
    let named = !lease.holders.iter().all(|holder| holder.passing);
    let name = UserName::parse(&lease.name).ok().filter(|_| named)?;
    Some((name, Uid::new(lease.uid)?))
}

/// Removes the files of descriptors that hold no lease: of a daemon that ended before it could give
/// one away, or after it was closed.
fn sweep_holds<'a>(leases: impl Iterator<Item = &'a Lease>) -> Result<(), Failure> {
    let holders = leases.flat_map(|lease| &lease.holders);
    let known: BTreeSet<&str> = holders
        .filter_map(|holder| match &holder.by {
            HeldBy::Descriptor { hold } => Some(hold.as_str()),
            HeldBy::Process(_) => None,
        })
        .collect();
    for entry in fs::read_dir(HOLDS).or_fail(Stage::Daemon, HOLDS)? {
        let entry = entry.or_fail(Stage::Daemon, HOLDS)?;
        if !entry
            .file_name()
            .to_str()
            .is_some_and(|name| known.contains(name))
        {
            fs::remove_file(entry.path())
                .or_fail(Stage::Daemon, entry.path().display().to_string())?;
        }
    }
    Ok(())
}
