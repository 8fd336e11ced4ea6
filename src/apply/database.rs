//! Copies of the files of accounts, with the lines of dynamic users added.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::Reason;
use crate::account_lines::{Database, with_lines};
use crate::observe::LARGEST;
use crate::sys::fs::{open_file_trusted, read_at_most};

/// How long a former copy is kept: longer than a service that took a view of it can take to start.
const KEPT: Duration = Duration::from_secs(600);

/// How the names of former copies begin.
const FORMER: &str = ".former";

/// Writes the copy of a file of accounts for the services of one user. It is put in place whole, so that a service that is
/// running already keeps the one it has. Whether there is a new one.
///
/// # Errors
/// If the host's file cannot be read, or has become too large; those of writing.
pub fn write_database(source: Database, path: &str, lines: &[String]) -> Result<bool, Reason> {
    let host = open_file_trusted(source.path())?;
    let host = read_at_most(&host, LARGEST)?;
    let host = host.ok_or_else(|| format!("{} is too large to be copied", source.path()))?;
    let text = with_lines(&host, lines);
    // A view of it that another start under the same lease has taken can be attached only as long as the
    // file has a name (move_mount(2) tells ENOENT for an unlinked one).
    if fs::read(path).is_ok_and(|there| there == text) {
        return Ok(false);
    }
    let directory = Path::new(path).parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)?;
    let mut file = tempfile::Builder::new()
        .prefix(FORMER)
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(directory)?;
    file.write_all(&text)?;
    match renameat_with(CWD, file.path(), CWD, path, RenameFlags::EXCHANGE) {
        // The former one keeps a name, for the same reason, and goes with the folder, or long after.
        Ok(()) => drop(file.keep()?),
        Err(Errno::NOENT) => drop(file.persist(path)?),
        Err(error) => return Err(error.into()),
    }
    remove_old(directory)?;
    Ok(true)
}

/// Removes former copies that nobody can be about to show any more.
fn remove_old(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let former = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(FORMER.as_bytes());
        // When it was given its name.
        let named = u64::try_from(entry.metadata()?.ctime()).unwrap_or(0);
        let named = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(named));
        let age = named.and_then(|named| SystemTime::now().duration_since(named).ok());
        let age = age.unwrap_or_default();
        if former && age > KEPT {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
