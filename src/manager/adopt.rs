//! Going on after a daemon that was killed: what is on disk is enough.

use std::os::fd::OwnedFd;

use super::Manager;
use crate::failure::Failure;
use crate::lease::{self, Found, HolderRecord, Lease, State};
use crate::sys::identity::reopen;
use crate::uid::Uid;

/// A holder that lives on.
#[derive(Debug)]
pub struct Adopted {
    /// The number that it holds.
    pub uid: Uid,
    /// Who it is.
    pub holder: HolderRecord,
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
        lease::prepare_run()?;
        lease::sweep();
        let mut holders = Vec::new();
        let mut table = self.table();
        for Found { uid, lease } in lease::load_all()? {
            let lease = match lease {
                Ok(lease) => self.adopt_one(lease, &mut holders),
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

    fn adopt_one(&self, mut lease: Lease, holders: &mut Vec<Adopted>) -> Lease {
        let same_boot = lease.boot_id == self.boot_id;
        let Some(uid) = Uid::new(lease.uid).filter(|_| lease.state == State::Running) else {
            return lease;
        };
        lease.holders.retain(|holder| {
            // An error is no sign of life or death; a holder that cannot be watched must not end
            // up with a lease that nobody ever takes back. Its processes are ended with it.
            let found = same_boot
                .then(|| reopen(&holder.into()).ok().flatten())
                .flatten();
            match found {
                Some(pidfd) => {
                    holders.push(Adopted {
                        uid,
                        holder: holder.clone(),
                        pidfd,
                    });
                    true
                }
                None => false,
            }
        });
        if lease.holders.is_empty() {
            lease.state = State::Ending;
        }
        lease
    }

    /// Takes back the leases that were ending when the former daemon ended, one after the other.
    pub fn finish_releases(&self) {
        loop {
            let next = self
                .table()
                .leases()
                .find(|lease| lease.state == State::Ending && lease.holders.is_empty())
                .cloned();
            match next {
                Some(lease) => self.take_back(lease),
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
        services: Vec::new(),
        state: State::Quarantined,
        reason: Some(format!("the file of the lease was damaged: {why}")),
        since: 0,
        boot_id: String::new(),
        holders: Vec::new(),
        directories: Vec::new(),
    }
}
