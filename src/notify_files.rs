//! The sockets of sd_notify(3) in /run: made for one activation each, and removed when it is over.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, OrFail, Stage};
use crate::layout::{NOTIFY, RUN};
use crate::run_folders::prepare_folder;
use crate::sys::notify::{NotifySocket, is_abandoned};
use crate::sys::random::hex_id;

/// A socket with its file.
#[derive(Debug)]
pub struct NotifyFile {
    /// Where messages arrive.
    pub socket: NotifySocket,
    /// What services are told: `$NOTIFY_SOCKET`.
    pub path: PathBuf,
}

impl NotifyFile {
    /// Makes one in [`NOTIFY`]. A socket in a file, as an abstract one cannot be reached from another
    /// network namespace.
    ///
    /// # Errors
    /// Of [`Stage::Exec`].
    pub fn make() -> Result<Self, Failure> {
        prepare_folder(RUN)?;
        prepare_folder(NOTIFY)?;
        Self::make_in(Path::new(NOTIFY))
    }

    /// The same in another folder, which nobody but root can write to.
    ///
    /// # Errors
    /// Of [`Stage::Exec`].
    pub fn make_in(folder: &Path) -> Result<Self, Failure> {
        let subject = "the notify socket";
        let path = folder.join(hex_id().or_fail(Stage::Exec, subject)?);
        let socket = NotifySocket::bind(&path).or_fail(Stage::Exec, subject)?;
        Ok(Self { socket, path })
    }
}

impl Drop for NotifyFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "stays");
        }
    }
}

/// Removes those whose launchers are gone: for a daemon that starts.
///
/// # Errors
/// Of [`Stage::Daemon`].
pub fn sweep() -> Result<(), Failure> {
    let entries = match fs::read_dir(NOTIFY) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.or_fail(Stage::Daemon, NOTIFY)?,
    };
    for entry in entries {
        let path = entry.or_fail(Stage::Daemon, NOTIFY)?.path();
        match is_abandoned(&path) {
            Ok(true) => {
                fs::remove_file(&path).or_fail(Stage::Daemon, path.display().to_string())?
            }
            Ok(false) => {}
            // Removed just now, or busy: it is somebody's.
            Err(error) => tracing::debug!(%error, "stays"),
        }
    }
    Ok(())
}
