//! The locks that keep our numbers from systemd, for as long as their leases live.
//!
//! A lock is taken before anything else about a number is looked at, and given back after everything else,
//! the lease's file too. A daemon that is killed in between leaves at worst a file that nobody has locked,
//! which is no obstacle for anybody.
//!
//! A lock ends with the last process that has it open. So the service manager keeps a copy, where it
//! started the daemon and is willing to; then no lock is ever free while the lease lives. Without it the next
//! daemon takes the locks again; what systemd has handed out meanwhile is a conflict, which
//! [`NumberLocks::hold`] tells.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::failure::{Failure, OrFail, Stage};
use crate::sys::service_manager::{Inherited, ServiceManager};
use crate::sys::systemd_lock::{Attempt, FOLDER, SystemdLocks, UidLock};
use crate::uid::UidRange;

/// What stands before the number in the name of a kept descriptor.
const KEPT_AS: &str = "dynuser-";

/// All locks that this daemon has.
#[derive(Debug, Default)]
pub struct NumberLocks {
    service_manager: Option<Arc<ServiceManager>>,
    held: Mutex<BTreeMap<u32, UidLock>>,
    inherited: Mutex<BTreeMap<u32, OwnedFd>>,
    /// One at a time: two that look would take each other's lock for systemd's.
    looking: Mutex<()>,
    only_look: bool,
}

impl NumberLocks {
    /// For a daemon: what it inherited, and who keeps copies for it.
    pub fn new(inherited: Inherited, service_manager: Option<Arc<ServiceManager>>) -> Self {
        Self {
            service_manager,
            inherited: Mutex::new(inherited.numbered(KEPT_AS)),
            ..Self::default()
        }
    }

    /// For a rehearsal: numbers are looked at, nothing is taken.
    pub fn looking_only() -> Self {
        Self {
            only_look: true,
            ..Self::default()
        }
    }

    /// Takes the lock on a number that is about to be looked at: `None` if it is ours, or there is no systemd
    /// here; else who has it, in words.
    ///
    /// # Errors
    /// Of [`Stage::User`]: nobody can tell whether systemd has the number.
    pub fn try_take(&self, uid: u32) -> Result<Option<String>, Failure> {
        let Some(locks) = self.open()? else {
            return Ok(None);
        };
        if self.held().contains_key(&uid) {
            return Ok(None);
        }
        if self.only_look {
            let busy = locks.probe(uid).or_fail(Stage::User, subject(uid))?;
            return Ok(busy.map(by));
        }
        match locks.try_take(uid).or_fail(Stage::User, subject(uid))? {
            Attempt::Busy(name) => Ok(Some(by(name))),
            Attempt::Locked(lock) => {
                self.held().insert(uid, lock);
                Ok(None)
            }
        }
    }

    /// The number will be the user `name`'s: systemd is told the name, and the service manager keeps a copy
    /// of the lock. To be called before the lease is written, so that there is never a lease whose
    /// lock is lost with the daemon. Nothing is done without a lock, that is, without systemd.
    ///
    /// # Errors
    /// Of [`Stage::User`], if the name cannot be written.
    pub fn keep(&self, uid: u32, name: &str) -> Result<(), Failure> {
        let held = self.held();
        let Some(lock) = held.get(&uid) else {
            return Ok(());
        };
        lock.record(name).or_fail(Stage::User, subject(uid))?;
        if let Some(manager) = &self.service_manager
            && let Err(error) = manager.keep(&kept_as(uid), lock.descriptor())
        {
            // The lock is held all the same, as long as this daemon lives.
            tracing::warn!(uid, %error, "the service manager keeps no copy of the lock");
        }
        Ok(())
    }

    /// Sees to it that the lock on a leased number is ours: the one that was kept while no daemon ran, or a
    /// new one. `None` if it is, or there is no systemd; else who has it, in words. Then two users share the
    /// number, and nothing that carries it may be ended or removed: it may be the other's.
    ///
    /// # Errors
    /// Of [`Stage::User`]: nobody can tell, which is as bad.
    pub fn hold(&self, uid: u32, name: &str) -> Result<Option<String>, Failure> {
        if self.held().contains_key(&uid) {
            return Ok(None);
        }
        let kept = self.inherited().remove(&uid);
        let Some(locks) = self.open()? else {
            return Ok(None);
        };
        let kept = kept.map(|file| locks.take_over(uid, file)).transpose();
        if let Some(lock) = kept.or_fail(Stage::User, subject(uid))?.flatten() {
            self.held().insert(uid, lock);
            return Ok(None);
        }
        // A copy that locks nothing must not be passed to the next daemon, in the place of the new one.
        self.forget_copy(uid);
        let busy = self.try_take(uid)?;
        if busy.is_none() {
            self.keep(uid, name)?;
        }
        Ok(busy)
    }

    /// Tells why a user that the host has is none to run under: `nss-systemd` shows the dynamic users of
    /// systemd, too, and those go when systemd wishes: their numbers would be handed out again under
    /// our service. `None` if it is a real one. `still_there` asks for its name once more.
    ///
    /// # Errors
    /// Of [`Stage::User`], and those of `still_there`.
    pub fn passing_user(
        &self,
        uid: u32,
        still_there: impl FnOnce() -> Result<bool, Failure>,
    ) -> Result<Option<String>, Failure> {
        let _alone = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(locks) = self.open()? else {
            return Ok(None);
        };
        let mut lock = None;
        if !self.held().contains_key(&uid) {
            if let Some(busy) = locks.probe(uid).or_fail(Stage::User, subject(uid))? {
                return Ok(Some(by(busy)));
            }
            if self.only_look || !UidRange::DEFAULT.contains(uid) {
                return Ok(None);
            }
            // It may have gone since it was found. While we have its lock no other comes.
            match locks.try_take(uid).or_fail(Stage::User, subject(uid))? {
                Attempt::Busy(name) => return Ok(Some(by(name))),
                Attempt::Locked(taken) => lock = Some(taken),
            }
        }
        let still_there = still_there();
        if let Some(lock) = lock {
            locks.give_back(lock).or_fail(Stage::User, subject(uid))?;
        }
        Ok((!still_there?).then(|| "a user who has just gone".into()))
    }

    /// Gives a number back to systemd, if there is a lock on it. The last thing that is done with it, but
    /// before this daemon itself takes it for free.
    ///
    /// # Errors
    /// Of [`Stage::User`], if the lock's file cannot be removed; the lock is gone all the same.
    pub fn give_back(&self, uid: u32) -> Result<(), Failure> {
        let Some(lock) = self.held().remove(&uid) else {
            return Ok(());
        };
        let removed = match self.open() {
            Ok(Some(locks)) => locks.give_back(lock).or_fail(Stage::User, subject(uid)),
            Ok(None) => Ok(()),
            Err(failure) => Err(failure),
        };
        self.forget_copy(uid);
        removed
    }

    /// Gives back what was inherited and belongs to no lease: a former daemon was killed before it had written
    /// the lease, or after it had removed it. To be called when all leases have their locks.
    pub fn give_back_unclaimed(&self) {
        let unclaimed = std::mem::take(&mut *self.inherited());
        for (uid, file) in unclaimed {
            let done = self.open().and_then(|locks| {
                let Some(locks) = locks else { return Ok(()) };
                match locks.take_over(uid, file) {
                    Ok(Some(lock)) => locks.give_back(lock),
                    Ok(None) => Ok(()),
                    Err(error) => Err(error),
                }
                .or_fail(Stage::User, subject(uid))
            });
            if let Err(failure) = done {
                tracing::warn!(%failure, "stays");
            }
            self.forget_copy(uid);
        }
    }

    /// Whether there are any. They end with this daemon, if nobody keeps copies.
    pub fn any(&self) -> bool {
        !self.held().is_empty()
    }

    fn open(&self) -> Result<Option<SystemdLocks>, Failure> {
        let opened = if self.only_look {
            SystemdLocks::open()
        } else {
            SystemdLocks::open_or_make()
        };
        opened.or_fail(Stage::User, "systemd's locks")
    }

    fn forget_copy(&self, uid: u32) {
        if let Some(manager) = &self.service_manager
            && let Err(error) = manager.forget(&kept_as(uid))
        {
            tracing::warn!(uid, %error, "the service manager keeps its copy of the lock");
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u32, UidLock>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inherited(&self) -> MutexGuard<'_, BTreeMap<u32, OwnedFd>> {
        self.inherited
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn by(name: Option<String>) -> String {
    match name {
        Some(name) => format!("systemd's dynamic user {name} ({FOLDER})"),
        None => format!("a lock in {FOLDER}"),
    }
}

fn kept_as(uid: u32) -> String {
    format!("{KEPT_AS}{uid}")
}

fn subject(uid: u32) -> String {
    format!("checking whether systemd has {uid}")
}
