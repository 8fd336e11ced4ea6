//! `dynuser run` as the first process of a container: it stays, as an init that does no more than it must.
//!
//! To the first process of a PID namespace the kernel sends no signal whose action is the default one, and gives
//! it every orphan (pid_namespaces(7)): few services are made for that. So the service is a child of this process,
//! started as it would be by any supervisor.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::prepared::open_child;
use crate::client;
use crate::failure::{Failure, OrFail, Stage};
use crate::holder::HeldBy;
use crate::lease;
use crate::life::State;
use crate::sys::family::{self, Reaped};
use crate::sys::identity::our_namespace;
use crate::sys::process_wait::Ended;
use crate::sys::run;
use crate::sys::signals::EverySignal;

/// How often it is looked whether the lease has ended.
const GLANCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// Does `work`. As the first process of a PID namespace this one has it done by a child, stays before that, and ends as it
/// ends, as a shell tells it, once its leases are given back. What is returned in the child is what `work` returned.
///
/// # Errors
/// Those of `work`; of [`Stage::Exec`] in the first process.
pub fn stay_if_first(work: impl FnOnce() -> Result<u8, Failure>) -> Result<u8, Failure> {
    if std::process::id() != 1 {
        return work();
    }
    // From here on none is lost, however early.
    let signals = EverySignal::block().or_fail(Stage::Exec, "signals")?;
    let Some(child) = run::fork().or_fail(Stage::Exec, "fork")? else {
        signals.restore_original().or_fail(Stage::Exec, "signals")?;
        drop(signals);
        return work();
    };
    let first = First {
        pid: u32::try_from(child.as_raw()).or_fail(Stage::Exec, "fork")?,
        child: open_child(child)?,
        signals,
    };
    // What was left open is the service's: a socket that it closes must be closed.
    let kept = [first.signals.as_fd(), first.child.as_fd()];
    run::stay_with(kept.iter().map(AsRawFd::as_raw_fd).collect()).or_fail(Stage::Exec, "")?;
    let ended = first.until_its_end()?;
    first.until_lease_ended()?;
    Ok(ended.exit_status())
}

struct First {
    signals: EverySignal,
    /// The launcher, or the service that it has become.
    child: OwnedFd,
    pid: u32,
}

impl First {
    fn until_its_end(&self) -> Result<Ended, Failure> {
        loop {
            self.wait(None)?;
            while let Some((signal, by_process)) = self.next()? {
                // The kernel sends those of the terminal's keys to the whole group, and the child is in it.
                if by_process && signal != CHLD {
                    family::send(&self.child, signal, self.pid).or_fail(Stage::Exec, "signals")?;
                }
            }
            if let Some(ended) = self.reap()? {
                return Ok(ended);
            }
        }
    }

    /// Takes the ends of all who have ended: whose parents ended before them they are ours.
    fn reap(&self) -> Result<Option<Ended>, Failure> {
        let mut its_end = None;
        while let Reaped::Child(pid, ended) = family::reap_any().or_fail(Stage::Exec, "waiting")? {
            if pid == self.pid {
                its_end = Some(ended);
            }
        }
        Ok(its_end)
    }

    /// With this process every other one of the container ends, and so does the daemon in the middle of its work: the
    /// directories of the service may be on a disk that outlives it. Somebody in a hurry asks once more.
    fn until_lease_ended(&self) -> Result<(), Failure> {
        let mut woken = false;
        while let Some(uid) = self.lease_that_ends() {
            if !woken {
                // There may be no daemon any more: this starts the next one, which goes on. We hold nothing.
                let _woken = client::finish(uid);
                woken = true;
            }
            self.wait(Some(&GLANCE))?;
            while let Some((signal, _)) = self.next()? {
                if matches!(signal, TERM | INT | QUIT) {
                    return Ok(());
                }
            }
            self.reap()?;
        }
        Ok(())
    }

    /// A lease that the child held, or one that is being given back: of the last connection that a listener served. One in
    /// quarantine stays.
    fn lease_that_ends(&self) -> Option<u32> {
        let found = lease::load_all().ok()?;
        // Holders of another PID namespace look dead from here, and their daemon is not ours to wait for.
        let (_, ours) = our_namespace("pid").ok()?;
        let mut leases = found.iter().filter_map(|found| found.lease.as_ref().ok());
        let held = |by: &HeldBy| matches!(by, HeldBy::Process(it) if it.pid == self.pid);
        leases
            .find(|lease| match lease.state {
                _ if lease.pid_namespace != ours => false,
                State::Quarantined => false,
                State::Ending => true,
                State::Running => {
                    lease.holders.iter().any(|it| held(&it.by)) || lease.is_abandoned()
                }
            })
            .map(|lease| lease.uid)
    }

    fn next(&self) -> Result<Option<(u8, bool)>, Failure> {
        self.signals.next().or_fail(Stage::Exec, "signals")
    }

    fn wait(&self, limit: Option<&Timespec>) -> Result<(), Failure> {
        match poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], limit) {
            Err(Errno::INTR) => Ok(()),
            result => result.map(drop).or_fail(Stage::Exec, "waiting"),
        }
    }
}

const INT: u8 = 2;
const QUIT: u8 = 3;
const TERM: u8 = 15;
const CHLD: u8 = 17;
