//! The children that become what serves.

use std::os::fd::OwnedFd;

use super::Listen;
use crate::failure::{Failure, OrFail, Stage};
use crate::launcher::{self, Passed};
use crate::report;
use crate::socket_unit::Peer;
use crate::sys::passed::place;
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
) -> Result<u32, Failure> {
    start(|| {
        place(vec![connection]).or_fail(Stage::Exec, "the connection")?;
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
) -> Result<u32, Failure> {
    let copies: Result<Vec<OwnedFd>, _> = sockets.map(OwnedFd::try_clone).collect();
    let copies = copies.or_fail(Stage::Exec, "the sockets")?;
    start(|| {
        let names = vec![listen.unit.descriptor_name.clone(); copies.len()];
        place(copies).or_fail(Stage::Exec, "the sockets")?;
        launcher::launch(&listen.launch(None, Passed::sockets(names, Vec::new())))
    })
}

/// Forks. The child does `work`, which as a rule executes the service, and ends with the status that it gives.
fn start(work: impl FnOnce() -> Result<u8, Failure>) -> Result<u32, Failure> {
    if let Some(child) = run::fork().or_fail(Stage::Exec, "fork")? {
        return u32::try_from(child.as_raw()).or_fail(Stage::Exec, "fork");
    }
    // The keys of a terminal are for the listener, which tells whom it concerns.
    let apart = rustix::process::setsid().or_fail(Stage::Exec, "setsid");
    // Whoever is told to end before it serves ends.
    let alone = apart.and_then(|_| run::unblock_signals().or_fail(Stage::Exec, "signals"));
    let status = match alone.and_then(|()| work()) {
        Ok(status) => status,
        Err(failure) => {
            report::failure(&failure);
            failure.exit_status()
        }
    };
    run::end_now(status)
}
