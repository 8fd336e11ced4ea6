//! Finding the files in a world-writable directory that carry a UID or GID, and removing them.
//!
//! For `/dev/shm` and the file system of the message queues: small places where anybody may build
//! anything. All by descriptor; nothing is followed, no mount point is entered.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, openat, statat, unlinkat};
use rustix::io::Errno;

use super::remove::{gone_is_fine, open_directory, remove_exactly, shown};
use super::{During, SysResult};

/// How deep directories of others are searched. Below, nothing is known, and that is an error.
const DEEPEST: usize = 32;

/// How often a removal begins anew when it keeps finding something.
const PASSES: usize = 16;

/// The first file below `top` whose UID or GID is `id`, as a path that begins with `shown_as`.
///
/// # Errors
///
/// `ELOOP` if directories of others are nested deeper than 32; what the kernel refuses.
pub(crate) fn first(top: BorrowedFd<'_>, shown_as: &str, id: u32) -> SysResult<Option<String>> {
    let mut found = None;
    let mut see = |_: BorrowedFd<'_>, _: &CStr, _: &rustix::fs::Stat, path: &str| {
        found = Some(path.to_owned());
        Ok(Go::Stop)
    };
    Walk { id, act: &mut see }.directory(top, shown_as, 0)?;
    Ok(found)
}

/// Removes every file below `top` whose UID or GID is `id`, directories with all that is in them.
///
/// # Errors
///
/// As for [`first`] and [`super::remove::remove_tree`].
pub(crate) fn remove_all(top: BorrowedFd<'_>, shown_as: &str, id: u32) -> SysResult<()> {
    for _ in 0..PASSES {
        let mut any = false;
        let mut act = |parent: BorrowedFd<'_>, name: &CStr, stat: &rustix::fs::Stat, path: &str| {
            any = true;
            remove_one(parent, name, stat, path)?;
            Ok(Go::On)
        };
        Walk { id, act: &mut act }.directory(top, shown_as, 0)?;
        // Removing while reading a directory may hide entries from the reader.
        if !any {
            break;
        }
    }
    Ok(())
}

/// The owner of a directory can replace a name in it between our look and our call. All he gets
/// removed by it is a file that he could remove himself, or an empty directory: one that has
/// something in it is compared with what was looked at.
fn remove_one(
    parent: BorrowedFd<'_>,
    name: &CStr,
    stat: &rustix::fs::Stat,
    path: &str,
) -> SysResult<()> {
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        remove_exactly(parent, name, (stat.st_dev, stat.st_ino))
    } else {
        gone_is_fine(unlinkat(parent, name, AtFlags::empty())).during("unlink", path)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    Stop,
}

type Act<'a> = dyn FnMut(BorrowedFd<'_>, &CStr, &rustix::fs::Stat, &str) -> SysResult<Go> + 'a;

struct Walk<'a> {
    id: u32,
    act: &'a mut Act<'a>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: BorrowedFd<'_>, path: &str, depth: usize) -> SysResult<Go> {
        if depth > DEEPEST {
            return Err(Errno::LOOP).during("search", format_args!("{path}: nested too deeply"));
        }
        // Opened anew: the position belongs to this descriptor alone.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let again = openat(directory, c".", flags, Mode::empty()).during("open", path)?;
        let mut buffer = Vec::with_capacity(8 * 1024);
        let mut entries = RawDir::new(&again, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.during("getdents", path)?;
            let name = entry.file_name();
            if name != c"."
                && name != c".."
                && self.entry(again.as_fd(), name, path, depth)? == Go::Stop
            {
                return Ok(Go::Stop);
            }
        }
        Ok(Go::On)
    }

    fn entry(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &str,
        depth: usize,
    ) -> SysResult<Go> {
        let path = format!("{path}/{}", shown(name));
        let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Go::On),
            Err(errno) => return Err(errno).during("stat", path),
        };
        if stat.st_uid == self.id || stat.st_gid == self.id {
            return (self.act)(parent, name, &stat, &path);
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(Go::On);
        }
        match open_directory(parent, name) {
            Ok(child) => self.directory(child.as_fd(), &path, depth.saturating_add(1)),
            // Gone, replaced, or another file system: that one is not ours to clean.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(Go::On),
            Err(errno) => Err(errno).during("openat2", path),
        }
    }
}
