//! Entries of directories: moved, exchanged, replaced, removed, each by a single name in an open
//! directory that only root can change.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, RenameFlags, renameat, renameat_with, symlinkat, unlinkat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::fs::{link_target, pin_beneath};
use super::{During, SysResult};

/// What stands beside the link `name` for an instant, before it takes that one's place. Others may be at other
/// links of the directory at the same time; what a start leaves that is cut short goes with the next one for the same
/// link.
fn beside(name: &str) -> String {
    let hash = Sha256::digest(name.as_bytes());
    let digits: String = hash
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(".dynuser-link-{digits}")
}

/// Lets two entries change places in one instant (renameat2(2), `RENAME_EXCHANGE`).
///
/// # Errors
/// Those of the call; see [`is_immovable`].
pub fn exchange(one: (impl AsFd, &str), other: (impl AsFd, &str)) -> SysResult<()> {
    renameat_with(one.0, one.1, other.0, other.1, RenameFlags::EXCHANGE)
        .during("renameat2", format_args!("RENAME_EXCHANGE, {}", one.1))
}

/// Moves an entry to where nothing is (renameat2(2), `RENAME_NOREPLACE`).
///
/// # Errors
/// Those of the call, `EEXIST` among them; see [`is_immovable`].
pub fn rename_to_nothing(from: (impl AsFd, &str), to: (impl AsFd, &str)) -> SysResult<()> {
    renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE)
        .during("renameat2", format_args!("RENAME_NOREPLACE, {}", from.1))
}

/// Whether an error of [`exchange`] or [`rename_to_nothing`] means that a tree cannot be moved at all:
/// something is mounted there, it is on another file system or in a lower layer of an overlay, or
/// the file system knows no such call.
pub fn is_immovable(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::BUSY | Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP
    )
}

/// Where the symbolic link `name` in `dir` points to.
///
/// # Errors
/// Those of readlinkat(2), `EINVAL` if it is none.
pub fn target(dir: impl AsFd, name: &str) -> SysResult<String> {
    link_target(pin_beneath(dir, name)?)
}

/// Puts a link to `target` in the place of the link `name` to `from`, in one instant.
///
/// # Errors
/// `ESTALE` if that one points elsewhere by now; those of symlinkat(2) and renameat(2).
pub fn replace_link(dir: impl AsFd, name: &str, from: &str, to: &str) -> SysResult<()> {
    expect_link(&dir, name, from)?;
    let beside = beside(name);
    // Of a start that was cut short.
    super::remove::gone_is_fine(unlinkat(&dir, &beside, AtFlags::empty()))
        .during("unlink", &beside)?;
    symlinkat(to, &dir, &beside).during("symlinkat", &beside)?;
    renameat(&dir, &beside, &dir, name).during("renameat", name)
}

/// Removes the link `name` to `from`.
///
/// # Errors
/// `ESTALE` if it points elsewhere by now; those of unlinkat(2).
pub fn remove_link(dir: impl AsFd, name: &str, from: &str) -> SysResult<()> {
    expect_link(&dir, name, from)?;
    unlinkat(dir, name, AtFlags::empty()).during("unlink", name)
}

/// Removes a directory in which nothing is.
///
/// # Errors
/// Those of rmdir(2), `ENOTEMPTY` among them.
pub fn remove_empty_directory(dir: impl AsFd, name: &str) -> SysResult<()> {
    unlinkat(dir, name, AtFlags::REMOVEDIR).during("rmdir", name)
}

fn expect_link(dir: impl AsFd, name: &str, expected: &str) -> SysResult<()> {
    if target(dir, name)? == expected {
        return Ok(());
    }
    Err(Errno::STALE).during(
        "readlinkat",
        format_args!("{name}, which points elsewhere by now"),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::sys::fs::{open_beneath, open_trusted};

    #[test]
    fn a_directory_and_a_link_change_places_and_nothing_is_replaced_by_accident() {
        let top = tempfile::tempdir().expect("a directory");
        let path = |name: &str| top.path().join(name);
        std::fs::create_dir(path("tree")).expect("mkdir");
        std::fs::write(path("tree/file"), "kept").expect("write");
        symlink("private/tree", path("link")).expect("symlink");
        let trusted = open_trusted(top.path().to_str().expect("UTF-8")).expect("open");
        let dir = open_beneath(trusted, "").expect("open");
        exchange((&dir, "tree"), (&dir, "link")).expect("exchange");
        assert_eq!(target(&dir, "tree").expect("a link"), "private/tree");
        assert_eq!(
            std::fs::read_to_string(path("link/file")).expect("read"),
            "kept"
        );
        let full = rename_to_nothing((&dir, "link"), (&dir, "tree")).expect_err("a refusal");
        assert_eq!(full.errno, Errno::EXIST);
        for (from, errno) in [("other", Some(Errno::STALE)), ("private/tree", None)] {
            let replaced = replace_link(&dir, "tree", from, "../tree");
            assert_eq!(replaced.err().map(|error| error.errno), errno);
        }
        assert_eq!(target(&dir, "tree").expect("a link"), "../tree");
        assert!(remove_link(&dir, "tree", "private/tree").is_err());
        remove_link(&dir, "tree", "../tree").expect("removed");
        assert!(remove_link(&dir, "link", "x").is_err(), "it is none");
        assert!(remove_empty_directory(&dir, "link").is_err(), "not empty");
        rename_to_nothing((&dir, "link"), (&dir, "tree")).expect("moved");
        assert_eq!(std::fs::read_dir(top.path()).expect("read").count(), 1);
    }
}
