//! `dynuser acquire`: a user that exists as long as a descriptor is open, with nothing run as it.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};

use super::require_root;
use crate::client;
use crate::failure::{Failure, OrFail, Stage};
use crate::request::Request;

/// Acquires a user and becomes the command, as root and with nothing else changed. It has the
/// descriptor open, and tells its number and the user's in `DYNUSER_FD`, `DYNUSER_USER`,
/// `DYNUSER_UID` and `DYNUSER_GID`. Comes back only with the reason why not.
pub fn acquire(request: &Request, command: &[OsString]) -> Failure {
    match try_acquire(request, command) {
        Ok(never) | Err(never) => never,
    }
}

fn try_acquire(request: &Request, command: &[OsString]) -> Result<Failure, Failure> {
    require_root()?;
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::new(
            Stage::Request,
            "",
            "a command to run is missing; for example: dynuser acquire -u NAME COMMAND",
        ));
    };
    let reply = client::acquire(request)?;
    let descriptor = OwnedFd::from(reply.descriptor);
    fcntl_setfd(descriptor.as_fd(), FdFlags::empty()).or_fail(Stage::Exec, "fcntl")?;
    let error = Command::new(program)
        .args(arguments)
        .env("DYNUSER_FD", descriptor.as_raw_fd().to_string())
        .env("DYNUSER_USER", reply.user)
        .env("DYNUSER_UID", reply.uid.to_string())
        .env("DYNUSER_GID", reply.gid.to_string())
        .exec();
    Ok(Failure::new(
        Stage::Exec,
        program.display().to_string(),
        error,
    ))
}
