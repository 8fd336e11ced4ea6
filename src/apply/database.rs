//! The service's own copies of the user databases.

use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Writes the service's own copy of a user database. It is put in place whole, so that a service
/// of the same user that is running already keeps the one it has.
pub(super) fn write_database(source: &str, path: &str, line: &str) -> std::io::Result<()> {
    let mut text = fs::read(source)?;
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    text.extend_from_slice(line.as_bytes());
    text.push(b'\n');
    // A view of it that another start under the same lease has taken can be attached only as long as the
    // file has a name (move_mount(2) tells ENOENT for an unlinked one).
    if fs::read(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let directory = Path::new(path).parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)?;
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)?;
    file.write_all(&text)?;
    match renameat_with(CWD, file.path(), CWD, path, RenameFlags::EXCHANGE) {
        // The former one keeps a name, for the same reason, and goes with the folder.
        Ok(()) => drop(file.keep()?),
        Err(Errno::NOENT) => drop(file.persist(path)?),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
