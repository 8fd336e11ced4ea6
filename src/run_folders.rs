//! The folders in /run: made, checked, and removed when the last daemon goes.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;

use rustix::io::Errno;

use crate::failure::{Failure, OrFail, Stage};
use crate::layout::{HOLDS, LEASES, LOCK, LOG, NOTIFY, RUN, TEMPORARY, USERS, VIEWS};
use crate::published;
use crate::sys::fs::{open_trusted, status};

/// Those in [`RUN`].
const FOLDERS: [&str; 6] = [HOLDS, VIEWS, LEASES, USERS, NOTIFY, TEMPORARY];

/// Makes the folders in /run, or checks that nobody but root can change what is in them.
///
/// # Errors
/// Of [`Stage::Daemon`].
pub fn prepare_run() -> Result<(), Failure> {
    prepare_folder(RUN)?;
    FOLDERS.into_iter().try_for_each(prepare_folder)
}

/// Makes one of them, or checks it.
///
/// # Errors
/// Of [`Stage::Daemon`].
pub fn prepare_folder(path: &str) -> Result<(), Failure> {
    let mode = match path {
        HOLDS => 0o700,
        // Whoever could list it could fill the queue of a socket, and its service would wait.
        NOTIFY => 0o711,
        _ => 0o755,
    };
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made.or_fail(Stage::Daemon, path)?,
    }
    let found = match open_trusted(path).and_then(status) {
        // It was empty, and a daemon on its way out has just removed it.
        Err(error) if error.errno == Errno::NOENT => return Ok(()),
        found => found.or_fail(Stage::Daemon, path)?,
    };
    if found.uid != 0 || found.mode & 0o022 != 0 {
        return Err(Failure::new(
            Stage::Daemon,
            path,
            format!(
                "somebody else made it, and could change what is in it; look at it, then: rm -r {path}"
            ),
        ));
    }
    Ok(())
}

/// Removes the folders in /run, as far as they are empty, when the last daemon of an on-demand
/// installation goes. It must still hold the lock: the file goes last but for the folder it is in,
/// so that nobody can be a daemon already while folders disappear.
pub fn remove_run() {
    if let Err(failure) = published::withdraw_ranges() {
        tracing::debug!(%failure, "stays");
    }
    let folders = FOLDERS.map(fs::remove_dir);
    let empty = folders.iter().all(Result::is_ok);
    for (path, removed) in FOLDERS.iter().zip(folders) {
        // Not empty means in use; that is what the call is for.
        if let Err(error) = removed {
            tracing::debug!(path, %error, "stays");
        }
    }
    if empty {
        for removed in [
            fs::remove_file(LOG),
            fs::remove_file(LOCK),
            fs::remove_dir(RUN),
        ] {
            if let Err(error) = removed {
                tracing::debug!(path = RUN, %error, "stays");
            }
        }
    }
}
