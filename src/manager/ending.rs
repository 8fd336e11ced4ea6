//! The end of leases: at once, later, or when somebody says so.

use super::{Manager, log_failure};
use crate::allocate::in_use;
use crate::exec_directory::ExecDirectory;
use crate::failure::{Failure, OrFail, Stage};
use crate::holder::HeldBy;
use crate::lease::{self, Lease};
use crate::life::State;
use crate::name_caches::{self, Changed};
use crate::published;
use crate::release::{release, remove_unused};
use crate::sys::fault::{Point, reached};
use crate::uid::Uid;

/// How many leases of a former daemon are taken back at the same time.
const MOST_AT_ONCE: usize = 16;

impl Manager {
    /// A holder of a lease has ended. When it was the last one, everything is taken back before
    /// this returns.
    ///
    /// # Errors
    /// Why the number is in quarantine from now on, if not everything could be taken back.
    pub fn holder_ended(&self, uid: Uid, holder: &HeldBy) -> Result<(), Failure> {
        let last = self.table().let_go(uid, holder);
        reached(Point::HolderEnded);
        // Before its copies go: nobody makes them anew then.
        self.shown.forget(uid, holder);
        let ended = match last {
            Some(lease) => self.take_back(&lease),
            None => {
                // Who waits until nobody has its group may go on.
                self.changed.notify_all();
                log_failure(self.remove_unused(uid));
                Ok(())
            }
        };
        self.spread_news();
        // Its file may go only when no lease on disk speaks of it any more. One that stays is swept
        // away by the next daemon.
        log_failure(
            holder.forget().map_err(|error| {
                Failure::new(Stage::User, "the descriptor that held a lease", error)
            }),
        );
        ended
    }

    /// Removes what a holder had in /run that has ended, of a lease that goes on.
    fn remove_unused(&self, uid: Uid) -> Result<(), Failure> {
        let Some((_, unused)) = self.table().unused(uid) else {
            return Ok(());
        };
        // Whoever joins now and wants the same waits until it is gone.
        let grounds = unused.iter().map(ExecDirectory::ground);
        let _ground = self.yard.enter(grounds.collect());
        let Some((lease, unused)) = self.table().unused(uid) else {
            return Ok(());
        };
        let gone = remove_unused(&lease, &unused)?;
        self.table().note_removed(uid, &unused, &gone)
    }

    /// Takes back what could not be taken back, if what stood in the way is gone.
    ///
    /// # Errors
    /// Of [`Stage::Request`] for a lease that is in use; otherwise why the number stays in
    /// quarantine. That there is no lease is none.
    pub fn lift_quarantine(&self, uid: Uid) -> Result<(), Failure> {
        let mut table = self.table();
        let Some(lease) = table.try_quarantined(uid) else {
            return match table.lease(uid) {
                Some(lease) if lease.state == State::Running => Err(Failure::new(
                    Stage::Request,
                    format!("{} ({uid})", lease.name),
                    format!(
                        "is in use by {}; the lease ends with what holds it",
                        lease.services().join(", ")
                    ),
                )),
                Some(lease) => Err(Failure::new(
                    Stage::Request,
                    format!("{} ({uid})", lease.name),
                    "is being taken back, or its name asked for, at this moment; try again",
                )),
                None => Ok(()),
            };
        };
        drop(table);
        if lease.is_damaged() {
            return self.take_back_damaged(&lease, uid);
        }
        self.take_back(&lease)
    }

    /// Takes back what a lease had, which has no holders any more.
    fn take_back(&self, lease: &Lease) -> Result<(), Failure> {
        if lease.state == State::Ending {
            log_failure(lease::save(lease));
        }
        reached(Point::EndingSaved);
        let released = self.refuse_shared(lease).and_then(|()| {
            if lease.dynamic {
                self.wait_for_members(lease)?;
            }
            release(lease, &self.ipc)
        });
        self.table().quiet.remove(&lease.uid);
        self.ended(lease, released)
    }

    /// While systemd has the number too, what carries it may be systemd's: nothing is ended or
    /// removed.
    fn refuse_shared(&self, lease: &Lease) -> Result<(), Failure> {
        if !lease.dynamic {
            return Ok(());
        }
        match self.locks.hold(lease.uid, &lease.name)? {
            None => Ok(()),
            Some(holder) => Err(Failure::new(
                Stage::User,
                &lease.name,
                format!(
                    "{} is also {holder}'s: nothing of it is ended yet",
                    lease.uid
                ),
            )),
        }
    }

    /// Nobody knows what a lease had whose file is damaged: nothing of it is ended or removed, only
    /// looked for.
    fn take_back_damaged(&self, lease: &Lease, uid: Uid) -> Result<(), Failure> {
        let left = in_use(uid, &self.ipc).and_then(|found| match found {
            None => lease::remove(lease.uid),
            Some(what) => Err(Failure::new(
                Stage::User,
                uid.to_string(),
                format!(
                    "nobody knows any more what ran under it, and it has {what}; remove that first"
                ),
            )),
        });
        self.ended(lease, left)
    }

    /// A lease was taken back, or something of it could not be.
    fn ended(&self, lease: &Lease, released: Result<(), Failure>) -> Result<(), Failure> {
        let uid = lease.uid;
        match &released {
            Ok(()) => {
                // After the file: a lease on disk always has its lock, or a daemon that finds out.
                // Before the table forgets: our own next request would take our lock for systemd's.
                if lease.dynamic {
                    log_failure(self.locks.give_back(uid));
                }
                let freed = self.history.now();
                self.table().forget(uid);
                // Only now: who counts those that are alive in between finds it, or writes before us.
                self.history.ended(lease, freed);
            }
            Err(failure) => {
                tracing::error!(uid, name = lease.name, %failure, "quarantined");
                self.history.stuck(lease);
                // Its name goes first: in the table it is free for another number at once.
                log_failure(published::withdraw(&lease.name, uid));
                let stuck = self.table().stuck(uid, failure.to_string());
                if let Some(lease) = stuck {
                    log_failure(lease::save(&lease));
                    reached(Point::QuarantineSaved);
                }
                if lease.dynamic {
                    name_caches::refresh(&[Changed::new(&lease.name, uid)]);
                }
            }
        }
        self.changed.notify_all();
        released.map_err(|failure| Failure {
            subject: format!("the number stays out of use: {}", failure.subject),
            ..failure
        })
    }

    /// Looks again at leases whose number is systemd's too.
    fn look_at_conflicts(&self) {
        let table = self.table();
        let conflicts = table.leases().filter(|lease| lease.reason.is_some());
        let conflicts: Vec<Lease> = conflicts
            .filter(|lease| lease.state == State::Running)
            .cloned()
            .collect();
        drop(table);
        for lease in conflicts {
            let lease = self.lock_adopted(lease);
            self.table().set_reason(lease.uid, lease.reason);
        }
    }

    /// Tries once more to take back what could not be taken back: what stood in the way may be gone.
    /// Takes back, too, what the former daemon left half-done.
    pub fn retry_quarantined(&self) {
        self.look_at_conflicts();
        self.table().let_quarantine_be_tried();
        let work = || {
            loop {
                let next = self.table().unfinished();
                match next {
                    Some(lease) => log_failure(self.take_back(&lease)),
                    None => break,
                }
            }
        };
        // One that is deaf to SIGTERM must not keep all others waiting for its grace.
        let others = self.table().count_unfinished().min(MOST_AT_ONCE);
        std::thread::scope(|scope| {
            for _ in 1..others {
                // Where there is no room for a thread (a service that forks for ever), this one does it all.
                let thread = std::thread::Builder::new().spawn_scoped(scope, work);
                log_failure(thread.map(drop).or_fail(Stage::Daemon, "clone"));
            }
            work();
        });
    }
}
