//! Copies of the files of accounts, with the lines of dynamic users added.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::Reason;
use crate::account_lines::{Database, with_lines};
use crate::observe::LARGEST;
use crate::sys::fs::{open_file_trusted, read_at_most};

/// How long a former copy is kept: longer than a service that took a view of it can take to start.
const KEPT: Duration = Duration::from_secs(600);

/// How many of them are kept, and how many bytes they may have: two at least.
const MOST_FORMER: usize = 64;
const MOST_FORMER_BYTES: u64 = 4 << 20;

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

/// Removes former copies that nobody can be about to show any more, and the oldest of many: everybody may call chsh(1), and
/// must not fill /run with it. A service that starts meanwhile, slowly, fails then.
fn remove_old(directory: &Path) -> std::io::Result<()> {
    let mut former: Vec<(Duration, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(FORMER.as_bytes()) {
            continue;
        }
        // Somebody else who has written one may remove it, too.
        let found = match entry.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            found => found?,
        };
        // When it was given its name.
        let seconds = u64::try_from(found.ctime()).unwrap_or(0);
        let rest = u32::try_from(found.ctime_nsec()).unwrap_or(0);
        former.push((Duration::new(seconds, rest), found.len(), entry.path()));
    }
    former.sort_unstable_by(|one, other| other.cmp(one));
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let mut room = MOST_FORMER_BYTES;
    for (nth, (named, length, path)) in former.into_iter().enumerate() {
        let has_room = room.checked_sub(length).is_some_and(|left| {
            room = left;
            nth < MOST_FORMER
        });
        if has_room && now.saturating_sub(named) <= KEPT {
            continue;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}
