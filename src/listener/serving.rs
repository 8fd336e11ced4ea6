//! The children that become what serves.

use std::os::fd::OwnedFd;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::alarm;

use super::Listen;
use crate::failure::{Failure, OrFail, Stage};
use crate::launcher::{self, Passed};
use crate::report;
use crate::socket_unit::Peer;
use crate::sockets::Sockets;
use crate::sys::passed::place_alone;
use crate::sys::process_wait::Ended;
use crate::sys::run;

/// Starts a child that serves a connection. Gives its PID.
///
/// # Errors
/// Of [`Stage::Exec`], if there can be no child.
pub(super) fn serve(
    listen: &Listen,
    number: u64,
    connection: OwnedFd,
    peer: &Peer,
    voice: &OwnedFd,
) -> Result<u32, Failure> {
    start(vec![connection], voice, || {
        let names = vec![listen.unit.descriptor_name.clone()];
        let passed = Passed::sockets(names, peer.environment());
        let instance = peer.instance(number);
        launcher::launch(&listen.launch(Some(&instance), passed))
    })
}

/// Starts a child that serves whoever comes to the sockets. Gives its PID.
///
/// # Errors
/// As [`serve`], and those of fcntl(2).
pub(super) fn serve_all<'a>(
    listen: &Listen,
    sockets: impl Iterator<Item = &'a OwnedFd>,
    voice: &OwnedFd,
) -> Result<u32, Failure> {
    let copies: Result<Vec<OwnedFd>, _> = sockets.map(OwnedFd::try_clone).collect();
    let copies = copies.or_fail(Stage::Exec, "the sockets")?;
    let names = vec![listen.unit.descriptor_name.clone(); copies.len()];
    start(copies, voice, || {
        launcher::launch(&listen.launch(None, Passed::sockets(names, Vec::new())))
    })
}

/// How long it may take to throw away what waits, in seconds.
const LONGEST_FLUSH: u32 = 2;

/// Throws away what waits at the sockets. In a child: they are shared with the service, and what is left of it may let
/// calls on them wait again (`O_NONBLOCK`) between any two of ours, so that the listener would wait for ever.
///
/// # Errors
/// Of [`Stage::Exec`], if there can be no child; of [`Stage::Sockets`], if a socket is broken.
pub(super) fn flush(sockets: &Sockets) -> Result<(), Failure> {
    let Some(child) = run::fork().or_fail(Stage::Exec, "fork")? else {
        // Whoever started us may have SIGALRM ignored.
        let ready = run::reset_signals(false).or_fail(Stage::Exec, "signals");
        alarm::set(LONGEST_FLUSH);
        let status = match ready.and_then(|()| sockets.flush()) {
            Ok(()) => 0,
            Err(failure) => {
                report::failure(&failure);
                failure.exit_status()
            }
        };
        run::end_now(status);
    };
    match waitpid(child, None).or_fail(Stage::Exec, "waitpid")? {
        WaitStatus::Exited(_, 0) | WaitStatus::Signaled(..) => Ok(()),
        _ => {
            let why = "what waits could not be thrown away (FlushPending=)";
            Err(Failure::new(Stage::Sockets, "", why))
        }
    }
}

/// Forks. The child does `work`, which as a rule executes the service, and ends with the status that it gives. It has
/// nothing open but `theirs`, and says what it has to say to `voice`.
fn start(
    theirs: Vec<OwnedFd>,
    voice: &OwnedFd,
    work: impl FnOnce() -> Result<u8, Failure>,
) -> Result<u32, Failure> {
    if let Some(child) = run::fork().or_fail(Stage::Exec, "fork")? {
        return u32::try_from(child.as_raw()).or_fail(Stage::Exec, "fork");
    }
    // The keys of a terminal are for the listener, which tells whom it concerns.
    let apart = rustix::process::setsid().or_fail(Stage::Exec, "setsid");
    // Whoever is told to end before it serves ends.
    let ends = apart.and_then(|_| run::unblock_signals().or_fail(Stage::Exec, "signals"));
    let alone = ends.and_then(|()| keep_only(theirs, voice));
    let status = match alone.and_then(|()| work()) {
        Ok(status) => status,
        Err(failure) => {
            report::failure(&failure);
            failure.exit_status()
        }
    };
    run::end_now(status)
}

/// Closes what is the listener's: this process may stay beside the service, and outlive the listener. The next one could
/// not listen at the same address then, whoever connects would wait for nobody, and dynamic owners of the sockets would
/// stay.
fn keep_only(theirs: Vec<OwnedFd>, voice: &OwnedFd) -> Result<(), Failure> {
    let voice = voice.try_clone().or_fail(Stage::Exec, "dup")?;
    let voice = place_alone(theirs, voice).or_fail(Stage::Exec, "descriptors")?;
    report::say_to(voice);
    Ok(())
}

/// How it ended, if that is worth a line.
pub(super) fn badly(ended: Ended) -> Option<String> {
    match ended {
        // Whoever ends a connection by SIGTERM, or writes where nobody reads any more, means no harm.
        Ended::Exited(0)
        | Ended::Signaled {
            signal: 13 | 15, ..
        } => None,
        Ended::Exited(status) => Some(format!("ended with exit status {status}")),
        Ended::Signaled { signal, .. } => Some(format!("was ended by signal {signal}")),
    }
}
