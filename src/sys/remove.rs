//! Removing a directory tree that its owner has built against us.
//!
//! Everything goes by descriptor and by single names, so no symbolic link is followed and no path can
//! grow too long. Child directories are renamed up into the top: a tree of any depth needs two
//! descriptors and no memory.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, RenameFlags, ResolveFlags, SeekFrom, Uid, fchmod,
    fchown, fstat, openat2, renameat_with, seek, unlinkat,
};
use rustix::io::Errno;

use super::inode_flags::{forget_project, make_subvolume_writable};
use super::{During, SysResult};

/// What one getdents64(2) fills.
const BUFFER: usize = 16 * 1024;

/// How many directories are emptied at once, one in the other, where what is in one cannot be moved to the
/// outermost: two with subvolumes, and as many as there are levels in a lower layer of an overlay, which no service
/// can make. Each takes a piece of the stack.
const MOST_TOPS: usize = 24;

/// The device and inode numbers of a file.
pub type FileId = (u64, u64);

/// Removes `name` in `parent`: a file or a link itself, a directory with everything in it, however deep.
///
/// The directories are taken over first (root's, 0700): nobody can put anything new into them.
/// Nothing is asked about owners: whose tree it is, is the caller's knowledge. A tree that is not there is
/// fine.
///
/// # Errors
///
/// `EBUSY` for a mount point, anywhere in the tree; its contents are not touched. What
/// the kernel refuses else, with the name. What was removed until then is gone; it may be called again.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &CStr) -> SysResult<()> {
    remove(parent, name, None)
}

/// Like [`remove_tree`], but a directory is only emptied if it is `expected`: another
/// one may have been moved to its name meanwhile.
///
/// # Errors
///
/// `ESTALE` if it is another one, `ENOTDIR` if it is none any more.
pub fn remove_exactly(parent: BorrowedFd<'_>, name: &CStr, expected: FileId) -> SysResult<()> {
    remove(parent, name, Some(expected))
}

/// Removes the directory `name` in `parent` if it is empty; that it is not, or is not there, is fine.
///
/// # Errors
///
/// Those of rmdir(2).
pub fn remove_empty(parent: BorrowedFd<'_>, name: &CStr) -> SysResult<()> {
    remove_if_empty(parent, name).map(drop)
}

/// Like [`remove_empty`]; tells whether it was there and is gone by this.
///
/// # Errors
///
/// Those of rmdir(2).
pub fn remove_if_empty(parent: BorrowedFd<'_>, name: &CStr) -> SysResult<bool> {
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::NOENT) => Ok(false),
        answer => answer.map(|()| true).during("rmdir", shown(name)),
    }
}

/// Removes a file or a link, never a directory. That it is not there is fine.
///
/// # Errors
///
/// Those of unlink(2).
pub fn remove_link(parent: BorrowedFd<'_>, name: &CStr) -> SysResult<()> {
    gone_is_fine(unlinkat(parent, name, AtFlags::empty())).during("unlink", shown(name))
}

/// Removes everything in the directory `top`, open for reading, however deep: for a mount point, which
/// cannot be removed itself. It is root's then, 0700.
///
/// # Errors
///
/// As for [`remove_tree`].
pub fn empty_tree(top: &OwnedFd) -> SysResult<()> {
    take_over(top).during("fchown", "directory")?;
    empty(&[top], &mut 0)
}

/// Empties the last of `tops`, which lie in each other, the outermost first.
fn empty(tops: &[&OwnedFd], moved: &mut u64) -> SysResult<()> {
    match tops.last() {
        Some(top) => {
            // Otherwise nothing of another project could be moved into it (EXDEV), and anybody can spread his
            // directories over several.
            forget_project(top);
            while one_pass(top, tops, moved)? {}
            Ok(())
        }
        None => Ok(()),
    }
}

fn remove(parent: BorrowedFd<'_>, name: &CStr, expected: Option<FileId>) -> SysResult<()> {
    let top = match open_directory(parent, name) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        // A file or a link. Should it become a directory now, unlink does not remove that.
        Err(Errno::NOTDIR | Errno::LOOP) if expected.is_none() => {
            return gone_is_fine(unlinkat(parent, name, AtFlags::empty()))
                .during("unlink", shown(name));
        }
        Err(errno) => return Err(busy(errno)).during("openat2", shown(name)),
    };
    if let Some(expected) = expected {
        let stat = fstat(&top).during("fstat", shown(name))?;
        if (stat.st_dev, stat.st_ino) != expected {
            return Err(Errno::STALE).during("fstat", shown(name));
        }
    }
    empty_tree(&top)?;
    gone_is_fine(unlinkat(parent, name, AtFlags::REMOVEDIR)).during("rmdir", shown(name))
}

/// Removes what the top shows now; tells whether it showed anything. Each pass takes every tree below
/// the top down by a level at least.
fn one_pass(top: &OwnedFd, tops: &[&OwnedFd], moved: &mut u64) -> SysResult<bool> {
    each_entry(top, |name, file_type| {
        if removed_as_file(top, name, file_type)? {
            return Ok(());
        }
        let child = match open_directory(top.as_fd(), name) {
            Ok(child) => child,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(busy(errno)).during("openat2", shown(name)),
        };
        take_over(&child).during("fchown", shown(name))?;
        let mut stays = false;
        while each_entry(&child, |inner, file_type| {
            if removed_as_file(&child, inner, file_type)? {
                return Ok(());
            }
            match move_up(&child, inner, tops, moved) {
                Err(Errno::XDEV) if tops.len() < MOST_TOPS => {
                    stays = true;
                    Ok(())
                }
                answer => answer.during("rename", shown(inner)),
            }
        })? {
            if std::mem::take(&mut stays) {
                empty(&[tops, &[&child]].concat(), moved)?;
            }
        }
        gone_is_fine(unlinkat(top, name, AtFlags::REMOVEDIR)).during("rmdir", shown(name))
    })
}

/// Unlinks what is not a directory; false if it is one.
fn removed_as_file(directory: &OwnedFd, name: &CStr, file_type: FileType) -> SysResult<bool> {
    if file_type == FileType::Directory {
        return Ok(false);
    }
    // The type may be unknown, or old. unlink never removes a directory.
    match gone_is_fine(unlinkat(directory, name, AtFlags::empty())) {
        Ok(()) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(errno) => Err(errno).during("unlink", shown(name)),
    }
}

/// Moves a directory to the outermost of `tops` that takes it, under a name that is not taken there. A mount
/// point cannot be moved (`EBUSY`), so no other file system is ever entered.
fn move_up(child: &OwnedFd, name: &CStr, tops: &[&OwnedFd], moved: &mut u64) -> Result<(), Errno> {
    let mut tops = tops.iter();
    let mut top = tops.next().ok_or(Errno::XDEV)?;
    let mut tried = false;
    loop {
        *moved = moved.wrapping_add(1);
        let fresh = format!("dynuser-{moved}");
        match renameat_with(child, name, top, fresh, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            // Between subvolumes nothing moves but these themselves, so none is ever far from a top.
            Err(Errno::XDEV) => top = tops.next().ok_or(Errno::XDEV)?,
            Err(Errno::ROFS) if !std::mem::replace(&mut tried, true) => {
                make_subvolume_writable(&open_directory(child.as_fd(), name)?)?;
            }
            answer => return gone_is_fine(answer),
        }
    }
}

/// Calls `act` for each entry but `.` and `..`, from the beginning; tells whether there were any.
/// Removing while reading may hide entries: call it until there are none.
fn each_entry(
    directory: &OwnedFd,
    mut act: impl FnMut(&CStr, FileType) -> SysResult<()>,
) -> SysResult<bool> {
    seek(directory, SeekFrom::Start(0)).during("lseek", "directory")?;
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut any = false;
    while let Some(entry) = entries.next() {
        let entry = entry.during("getdents", "directory")?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            any = true;
            act(name, entry.file_type())?;
        }
    }
    Ok(any)
}

/// Shuts everybody else out of a directory, those too who have it open: creating asks the mode of
/// the directory each time. Otherwise somebody who keeps creating files in it keeps us here for ever.
fn take_over(directory: &OwnedFd) -> Result<(), Errno> {
    match fchown(directory, Some(Uid::ROOT), Some(Gid::ROOT)) {
        // Anybody can make a snapshot of a subvolume of his, and one that is read-only.
        Err(Errno::ROFS) => {
            make_subvolume_writable(directory)?;
            fchown(directory, Some(Uid::ROOT), Some(Gid::ROOT))?;
        }
        answer => answer?,
    }
    fchmod(directory, Mode::RWXU)
}

/// Opens a directory in `parent` that is one, and is no mount point.
pub(crate) fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat2(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH,
    )
}

/// A mount point that we would not enter, in the words of rmdir(2).
fn busy(errno: Errno) -> Errno {
    if errno == Errno::XDEV {
        Errno::BUSY
    } else {
        errno
    }
}

/// That somebody was quicker is no failure of a removal.
pub(crate) fn gone_is_fine(answer: Result<(), Errno>) -> Result<(), Errno> {
    match answer {
        Err(Errno::NOENT) => Ok(()),
        answer => answer,
    }
}

/// A hostile name, fit for a log.
pub(crate) fn shown(name: &CStr) -> String {
    name.to_string_lossy().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_is_not_what_was_looked_at_is_left_alone() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir(top.path().join("directory")).unwrap();
        File::create(top.path().join("file")).unwrap();
        std::os::unix::fs::symlink("directory", top.path().join("link")).unwrap();
        let parent = File::open(top.path()).unwrap();
        for (name, errno) in [
            (c"directory", Errno::STALE),
            (c"file", Errno::NOTDIR),
            (c"link", Errno::NOTDIR),
        ] {
            let error = remove_exactly(parent.as_fd(), name, (0, 0)).unwrap_err();
            assert_eq!(error.errno, errno, "{error}");
        }
        assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), 3);
    }
}
