//! `dynuser stop`: ends services, and waits until nothing of them is left.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::require_root;
use crate::client;
use crate::failure::{Failure, OrFail, Stage};
use crate::holder::{HeldBy, Holder, Watched};
use crate::lease::{self, Found, Lease};
use crate::life::State;
use crate::meant::{Meant, meant};
use crate::report;
use crate::sys::identity::our_namespace;
use crate::sys::process_wait::{has_ended, send_signal, wait_for_end};
use crate::sys::{family, openers, process};

/// What `dynuser stop` was told.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Whom to stop.
    pub names: Vec<String>,
    /// Whether to wait until nothing is left.
    pub wait: bool,
    /// Whether it is SIGKILL at once.
    pub kill: bool,
}

/// What a process may take beyond its grace, before it counts as deaf.
const MARGIN: Duration = Duration::from_secs(2);

/// How often a launcher that stays gives the grace: to `ExecStop=`, to the service, and to `ExecStopPost=`.
const STAGES_OF_A_LAUNCHER: u32 = 3;

/// How long the daemon may take to take everything back, beyond the grace that it gives.
const TAKING_BACK: Duration = Duration::from_secs(30);

/// How often it is looked whether it has.
const PAUSE: Duration = Duration::from_millis(2);

/// How often it is looked whether there is a daemon to do it.
const LOOK_FOR_DAEMON: Duration = Duration::from_secs(1);

/// A holder that is being stopped.
struct Stopping {
    lease: Lease,
    holder: Holder,
    /// None: it has ended already, but perhaps not its lease.
    pidfd: Option<OwnedFd>,
    /// Whether it is the service itself, not a launcher.
    in_place: bool,
    begun: Instant,
}

/// Stops services. Gives the exit status: that of the last failure, which was told.
///
/// # Errors
/// Of [`Stage::Request`] for who is not root; of [`Stage::Daemon`] if the leases cannot be read.
pub fn stop(options: &Stop) -> Result<u8, Failure> {
    require_root()?;
    let found = lease::load_all()?;
    let mut status = 0;
    let mut tell = |failure: &Failure| {
        report::failure(failure);
        status = failure.exit_status();
    };
    let mut stopping = Vec::new();
    // All are told before one is waited for.
    for name in &options.names {
        match begin(&found, name, options.kill) {
            Ok((begun, refused)) => {
                stopping.extend(begun);
                refused.iter().for_each(&mut tell);
            }
            Err(failure) => tell(&failure),
        }
    }
    if options.wait {
        let ended = stopping.iter().map(|one| one.finish(options.kill));
        ended.filter_map(Result::err).for_each(|it| tell(&it));
    }
    Ok(status)
}

/// Signals whoever is meant by a name. Gives who was, and what could not be stopped.
fn begin(
    found: &[Found],
    name: &str,
    kill: bool,
) -> Result<(Vec<Stopping>, Vec<Failure>), Failure> {
    let meant = meant(found, name);
    let damaged = found.iter().find(|it| it.uid.to_string() == name);
    if let Some(why) = damaged.and_then(|it| it.lease.as_ref().err()) {
        let why = report::harmless(&format!("is a number whose lease is damaged: {why}"));
        return Err(Failure::new(Stage::Request, name, why));
    }
    if meant.is_empty() {
        let why = "is neither a service that runs nor a user that exists at the moment";
        return Err(Failure::new(Stage::Request, name, why));
    }
    let (mut stopping, mut refused) = (Vec::new(), Vec::new());
    for Meant {
        lease,
        holders,
        by_user,
    } in meant
    {
        let services = lease.services().join(", ");
        if by_user && lease.services().len() > 1 {
            report::say(&format!(
                "dynuser: {} is the user of several services, and all are stopped: {services}",
                lease.name
            ));
        }
        if holders.is_empty() && lease.state != State::Ending {
            let why = lease.reason.clone().unwrap_or_default();
            let why = format!("nobody holds it, and it is not taken back: {why}");
            let why = report::harmless(&why);
            refused.push(Failure::new(Stage::User, &lease.name, why));
        }
        for holder in holders {
            match signal(&lease, holder, kill) {
                Ok(begun) => stopping.push(begun),
                Err(failure) => refused.push(failure),
            }
        }
    }
    Ok((stopping, refused))
}

/// Signals a holder. Of one that has ended, the lease may go on for as long as somebody does that it left.
fn signal(lease: &Lease, holder: Holder, kill: bool) -> Result<Stopping, Failure> {
    let subject = holder.service.clone();
    refuse_elsewhere(lease, &holder)?;
    let pidfd = match holder.by.reopen().or_fail(Stage::User, &subject)? {
        None => {
            return Ok(Stopping {
                lease: lease.clone(),
                holder,
                pidfd: None,
                in_place: false,
                begun: Instant::now(),
            });
        }
        Some(Watched::Descriptor(ours)) => {
            return Err(Failure::new(Stage::Request, subject, why_not(&ours)));
        }
        Some(Watched::Process(pidfd)) => pidfd,
    };
    let pid = holder.by.pid().unwrap_or_default();
    let carries = process::carries(pid, lease.uid).or_fail(Stage::User, &subject)?;
    let stopping = Stopping {
        lease: lease.clone(),
        holder,
        pidfd: Some(pidfd),
        in_place: carries && lease.uid != 0,
        begun: Instant::now(),
    };
    if kill {
        stopping.kill()?;
    } else if let Some(pidfd) = stopping.pidfd.as_ref().map(AsFd::as_fd) {
        send_signal(pidfd, Signal::SIGTERM).or_fail(Stage::User, &subject)?;
        if stopping.in_place {
            // One that was stopped gets a signal when it goes on.
            send_signal(pidfd, Signal::SIGCONT).or_fail(Stage::User, subject)?;
        }
    }
    Ok(stopping)
}

/// In another PID namespace the number of a process says nothing: whoever is not found there may run all the same.
fn refuse_elsewhere(lease: &Lease, holder: &Holder) -> Result<(), Failure> {
    let ours = our_namespace("pid")
        .or_fail(Stage::User, &holder.service)?
        .1;
    if holder.by.pid().is_none() || lease.pid_namespace == ours {
        return Ok(());
    }
    let why = "runs in another PID namespace than you do: stop it where its daemon is";
    Err(Failure::new(Stage::Request, &holder.service, why))
}

/// Why a user that is held by a descriptor cannot be stopped, and who has that.
fn why_not(hold: &OwnedFd) -> String {
    let who = match openers::readers_of(hold) {
        Ok(processes) if !processes.is_empty() => {
            let shown = processes.iter().map(|it| format!("{} ({})", it.pid, it.name));
            let shown: Vec<String> = shown.collect();
            format!("by {}", report::harmless(&shown.join(", ")))
        }
        Ok(_) => "by no process that can be seen: it is in another PID namespace, or on its way through a socket".into(),
        Err(error) => format!("by whom cannot be told ({error}); ls -l /proc/*/fd shows it"),
    };
    format!("is held by a descriptor, and ends when its last copy is closed; it is open {who}")
}

impl Stopping {
    /// How long it may go on after SIGTERM. `None`: for ever.
    fn patience(&self) -> Option<Duration> {
        let grace = self.holder.grace;
        let times = if self.in_place {
            1
        } else {
            STAGES_OF_A_LAUNCHER
        };
        let all = Duration::from_millis(grace).saturating_mul(times);
        (grace != u64::MAX).then(|| all.saturating_add(MARGIN))
    }

    /// Waits for its end, ends it if it is deaf, and waits until nothing is left of it.
    fn finish(&self, killed: bool) -> Result<(), Failure> {
        let subject = &self.holder.service;
        let Some(pidfd) = self.pidfd.as_ref().map(AsFd::as_fd) else {
            return self.wait_for_release();
        };
        let left = self
            .patience()
            .map(|all| all.saturating_sub(self.begun.elapsed()));
        let left = if killed { Some(TAKING_BACK) } else { left };
        if !wait_for_end(pidfd, left).or_fail(Stage::User, subject)? {
            report::say(&format!(
                "dynuser: {subject} does not end by SIGTERM, and is killed"
            ));
            self.kill()?;
            if !wait_for_end(pidfd, Some(TAKING_BACK)).or_fail(Stage::User, subject)? {
                let why = "does not end by SIGKILL either: it hangs in the kernel";
                return Err(Failure::new(Stage::User, subject, why));
            }
        }
        self.wait_for_release()
    }

    /// Kills it, and what it has started. By descriptors that were opened while it lived: the number of its user may be
    /// another's as soon as it does not. What is forked meanwhile ends with the lease.
    fn kill(&self) -> Result<(), Failure> {
        let subject = &self.holder.service;
        let Some(pidfd) = &self.pidfd else {
            return Ok(());
        };
        let pid = self.holder.by.pid().unwrap_or_default();
        let mut below = family::below(pid).or_fail(Stage::User, subject)?;
        if has_ended(pidfd.as_fd()).or_fail(Stage::User, subject)? {
            // Whoever has the number now has other children.
            below.clear();
        }
        // The launcher first, or it would start its service again.
        let all = [pidfd].into_iter().chain(below.iter().map(|it| &it.1));
        for pidfd in all {
            send_signal(pidfd.as_fd(), Signal::SIGKILL).or_fail(Stage::User, subject)?;
        }
        Ok(())
    }

    /// Waits until its lease is gone, or is that of others alone. A daemon that is gone is started: nobody else would
    /// take anything back.
    fn wait_for_release(&self) -> Result<(), Failure> {
        let subject = format!("{} (user {})", self.holder.service, self.lease.name);
        let patience = self.lease.grace().saturating_add(TAKING_BACK);
        let end = Instant::now().checked_add(patience);
        let mut looked: Option<Instant> = None;
        while let Some(lease) = lease_of(self.lease.uid, &self.holder.by)? {
            if lease.state == State::Quarantined {
                let why = lease.reason.unwrap_or_default();
                let why = format!("has ended, but not everything of it could be taken back: {why}");
                return Err(Failure::new(Stage::User, subject, report::harmless(&why)));
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                let why = "has ended, and is still being taken back: dynuser list";
                return Err(Failure::new(Stage::User, subject, why));
            }
            if looked.is_none_or(|looked| looked.elapsed() >= LOOK_FOR_DAEMON) {
                client::wake()?;
                looked = Some(Instant::now());
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// The lease of a number, as long as it is held by that one, or ends with it.
fn lease_of(uid: u32, by: &HeldBy) -> Result<Option<Lease>, Failure> {
    let lease = match lease::load_one(uid)? {
        None => None,
        Some(Ok(lease)) => Some(lease),
        Some(Err(why)) => return Err(Failure::new(Stage::User, uid.to_string(), why)),
    };
    Ok(lease.filter(|lease| lease.holders.iter().any(|holder| holder.by == *by)))
}
