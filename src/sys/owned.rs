//! Finding the files in a world-writable directory that carry a UID or GID, and removing them.
//!
//! For `/dev/shm` and the file system of the message queues: small places where anybody may build
//! anything. How the search fares with that is told in [`super::walk`].

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, unlinkat};

use super::remove::{gone_is_fine, remove_exactly};
use super::walk::{Entry, Next, walk};
use super::{During, SysResult};

/// How often a removal begins anew when it keeps finding something.
const PASSES: usize = 16;

/// How often it does so although it could remove nothing of it.
const PATIENCE: usize = 2;

/// The first file below `top` whose UID or GID is `id`, as a path that begins with `shown_as`.
///
/// # Errors
///
/// Those of [`walk`].
pub(crate) fn first(top: BorrowedFd<'_>, shown_as: &str, id: u32) -> SysResult<Option<String>> {
    let mut found = None;
    walk(top, shown_as, &mut |entry| {
        if !carries(entry, id) {
            return Ok(Next::Enter);
        }
        found = Some(entry.path.to_owned());
        Ok(Next::Stop)
    })?;
    Ok(found)
}

/// Removes every file below `top` whose UID or GID is `id`, directories with all that is in them. What
/// somebody moves while it is being removed is tried again. A directory in which something is mounted stays,
/// but does not carry `id` any more: it is root's, 0700.
///
/// # Errors
///
/// As for [`walk`]; as for [`super::remove::remove_tree`] if that goes on although nothing else is left.
pub(crate) fn remove_all(top: BorrowedFd<'_>, shown_as: &str, id: u32) -> SysResult<()> {
    let mut patience = PATIENCE;
    for _ in 0..PASSES {
        let (mut removed, mut failure) = (false, None);
        walk(top, shown_as, &mut |entry| {
            if !carries(entry, id) {
                return Ok(Next::Enter);
            }
            match remove_one(entry) {
                Ok(()) => removed = true,
                Err(error) => failure = Some(error),
            }
            Ok(Next::Skip)
        })?;
        match failure {
            // Removing while reading a directory may hide entries from the reader: one more pass, then.
            _ if removed => {}
            None => return Ok(()),
            Some(error) if patience == 0 => return Err(error),
            Some(_) => patience = patience.saturating_sub(1),
        }
    }
    Ok(())
}

fn carries(entry: &Entry<'_>, id: u32) -> bool {
    entry.uid == id || entry.gid == id
}

/// The owner of a directory can replace a name in it between our look and our call. All he gets
/// removed by it is a file that he could remove himself, or an empty directory: one that has
/// something in it is compared with what was looked at.
fn remove_one(entry: &Entry<'_>) -> SysResult<()> {
    if entry.directory {
        return remove_exactly(entry.parent, entry.name, entry.id);
    }
    gone_is_fine(unlinkat(entry.parent, entry.name, AtFlags::empty())).during("unlink", entry.path)
}
