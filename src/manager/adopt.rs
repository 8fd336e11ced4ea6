//! Going on after a daemon that was killed: what is on disk is enough.

use std::os::fd::OwnedFd;

use super::Manager;
use crate::failure::{Failure, OrFail, Stage};
use crate::layout::LEASES;
use crate::lease::{self, Found, Holder, Lease, ProcessRecord, State};
use crate::uid::Uid;

/// A holder that lives on.
#[derive(Debug)]
pub struct Adopted {
    /// The number that it holds.
    pub uid: Uid,
    /// Who it is.
    pub holder: ProcessRecord,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
}

impl Manager {
    /// Takes over the leases that are on disk. Gives the holders that must be watched. Leases that
    /// nobody holds any more are taken back by [`finish_releases`](Self::finish_releases).
    ///
    /// # Errors
    /// Of [`crate::failure::Stage::Daemon`], if /run cannot be read or written.
    pub fn adopt(&self) -> Result<Vec<Adopted>, Failure> {
        lease::sweep();
        let mut holders = Vec::new();
        let mut table = self.table();
        let found = lease::load_all()?;
        self.refuse_foreign(&found)?;
        for Found { uid, lease } in found {
            let lease = match lease {
                Ok(lease) => self.adopt_one(lease, &mut holders)?,
                Err(why) => damaged(uid, why),
            };
            super::log_failure(lease::save(&lease));
            table.enter(lease);
        }
        let running = table.leases().filter(|lease| lease.state == State::Running);
        for lease in running.filter(|lease| lease.dynamic) {
            super::log_failure(lease::publish(&lease.name, lease.uid));
        }
        lease::withdraw_all_but(
            table
                .leases()
                .filter(|lease| lease.dynamic && lease.state != State::Quarantined),
        )?;
        Ok(holders)
    }

    /// From another PID namespace (a container that sees our /run) every holder looks dead, and what
    /// runs under its number cannot be seen at all: nothing may be taken back there.
    fn refuse_foreign(&self, found: &[Found]) -> Result<(), Failure> {
        let foreign = found
            .iter()
            .filter_map(|found| found.lease.as_ref().ok())
            .filter(|lease| lease.boot_id == self.boot_id)
            .find(|lease| lease.pid_namespace != self.pid_namespace);
        match foreign {
            None => Ok(()),
            Some(lease) => Err(Failure::new(
                Stage::Daemon,
                format!("{LEASES}/{}", lease.uid),
                format!(
                    "{} belongs to processes of another PID namespace; start the daemon there",
                    lease.name
                ),
            )),
        }
    }

    fn adopt_one(&self, mut lease: Lease, adopted: &mut Vec<Adopted>) -> Result<Lease, Failure> {
        let Some(uid) = Uid::new(lease.uid).filter(|_| lease.state == State::Running) else {
            return Ok(lease);
        };
        let mut alive: Vec<Holder> = Vec::new();
        // After a reboot nobody holds anything, whatever processes have the same numbers now.
        let same_boot = lease.boot_id == self.boot_id;
        for holder in lease.holders.iter().filter(|_| same_boot) {
            // An error is no sign of life or death. To guess wrong would end a running service, or
            // give its number away: better no daemon until it is known.
            let subject = format!("process {}, which holds {uid}", holder.process.pid);
            let pidfd = holder.process.reopen().or_fail(Stage::Daemon, subject)?;
            if let Some(pidfd) = pidfd {
                adopted.push(Adopted {
                    uid,
                    holder: holder.process.clone(),
                    pidfd,
                });
                alive.push(holder.clone());
            }
        }
        if alive.is_empty() {
            lease.state = State::Ending;
        } else {
            lease.holders = alive;
        }
        Ok(lease)
    }

    /// Tries once more to take back what could not be taken back: what stood in the way may be gone.
    pub fn retry_quarantined(&self) {
        self.table().let_quarantine_be_tried();
        self.finish_releases();
    }

    /// Takes back what the former daemon left half-done, or could not take back.
    pub fn finish_releases(&self) {
        loop {
            let next = self.table().unfinished();
            match next {
                Some(lease) => super::log_failure(self.take_back(lease)),
                None => break,
            }
        }
    }
}

/// A file that says nothing keeps its number out of use: somebody may be running under it.
fn damaged(uid: u32, why: String) -> Lease {
    tracing::error!(uid, why, "the file of a lease is damaged");
    Lease {
        name: String::new(),
        uid,
        gid: uid,
        dynamic: true,
        groups: vec![uid],
        home: None,
        state: State::Quarantined,
        reason: Some(format!("the file of the lease was damaged: {why}")),
        since: 0,
        boot_id: String::new(),
        pid_namespace: 0,
        holders: Vec::new(),
        made: Vec::new(),
    }
}
