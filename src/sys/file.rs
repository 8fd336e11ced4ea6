//! Small files that root keeps: read whole, extended by whole lines, replaced whole.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, StatVfsMountFlags, fstatvfs, openat, renameat, unlinkat,
};
use rustix::io::Errno;

use super::fs::{open_beneath, set_mode, status};
use super::{During, SysResult};

/// How each of them is opened: nothing is followed, and nothing is waited for (a FIFO).
const CAREFULLY: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Refuses what somebody else than root could change, or what is of another kind.
///
/// # Errors
/// `EPERM`, with a subject that says so; `EINVAL` for another kind of file; those of fstat(2).
pub fn refuse_strangers(fd: impl AsFd, kind: FileType, name: &str) -> SysResult<()> {
    let found = status(fd)?;
    if found.kind != kind {
        return Err(Errno::INVAL).during("open", format_args!("{name}, of another kind"));
    }
    if found.uid != 0 || found.mode & 0o022 != 0 {
        return Err(Errno::PERM).during(
            "open",
            format_args!("{name}, which not only root can change"),
        );
    }
    Ok(())
}

/// Refuses a folder on a file system that root cannot write to at the moment.
///
/// # Errors
/// `EROFS` for a read-only one; `ENOSPC` for one without a free block or inode (fstatvfs(3)); those
/// of fstatvfs(3).
pub fn refuse_unwritable(folder: impl AsFd, name: &str) -> SysResult<()> {
    let found = fstatvfs(folder).during("fstatvfs", name)?;
    if found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(Errno::ROFS).during("write", name);
    }
    // Some have no number of inodes, and say 0 of 0.
    if found.f_bfree == 0 || found.f_files > 0 && found.f_ffree == 0 {
        return Err(Errno::NOSPC).during("write", name);
    }
    Ok(())
}

/// The file `name` in `dir`, for reading; `None` if there is no such file.
///
/// # Errors
/// Those of openat(2) (`ELOOP` for a link); what [`refuse_strangers`] refuses.
pub fn open_ours(dir: impl AsFd, name: &str) -> SysResult<Option<File>> {
    let file = match openat(dir, name, OFlags::RDONLY | CAREFULLY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        file => file.during("openat", name)?,
    };
    refuse_strangers(&file, FileType::RegularFile, name)?;
    Ok(Some(File::from(file)))
}

/// The content of the file `name` in `dir`; `None` if there is no such file.
///
/// # Errors
/// Those of openat(2) (`ELOOP` for a link) and of read(2); what [`refuse_strangers`] refuses;
/// `EFBIG` for more than `largest` bytes.
pub fn read_whole(dir: impl AsFd, name: &str, largest: u64) -> SysResult<Option<Vec<u8>>> {
    let Some(file) = open_ours(dir, name)? else {
        return Ok(None);
    };
    let mut text = Vec::new();
    let limit = largest.saturating_add(1);
    let length = file.take(limit).read_to_end(&mut text);
    if u64::try_from(length.during("read", name)?).is_ok_and(|length| length <= largest) {
        Ok(Some(text))
    } else {
        Err(Errno::FBIG).during("read", name)
    }
}

/// Appends `lines`, which end with the end of a line, to the file `name` in `dir`, with one write:
/// all of it or nothing. Tells whether there is such a file; it is not made.
///
/// `end_of_torn_line` goes first where the last line has no end: the power failed while it was
/// written, and it must not become one with ours.
///
/// # Errors
/// Those of openat(2) (`ELOOP` for a link, `EROFS`) and write(2) (`ENOSPC`); what
/// [`refuse_strangers`] refuses; `EFBIG` if the file would be longer than `largest` bytes.
pub fn append_lines(
    dir: impl AsFd,
    name: &str,
    lines: &str,
    end_of_torn_line: &str,
    largest: u64,
) -> SysResult<bool> {
    let flags = OFlags::RDWR | OFlags::APPEND | CAREFULLY;
    let file = match openat(dir, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(false),
        file => file.during("openat", name)?,
    };
    refuse_strangers(&file, FileType::RegularFile, name)?;
    let length = rustix::fs::fstat(&file).during("fstat", name)?.st_size;
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    let mut text = String::new();
    if let Some(last) = length.checked_sub(1) {
        let mut byte = [0_u8];
        rustix::io::pread(&file, &mut byte, last).during("pread", name)?;
        if byte != [b'\n'] {
            text.push_str(end_of_torn_line);
        }
    }
    text.push_str(lines);
    let more = u64::try_from(text.len()).unwrap_or(u64::MAX);
    if length.saturating_add(more) > largest {
        return Err(Errno::FBIG).during("write", name);
    }
    let written = rustix::io::write(&file, text.as_bytes()).during("write", name)?;
    if written == text.len() {
        return Ok(true);
    }
    // The disk was full in the middle of it: half a line may read like a smaller number.
    rustix::fs::ftruncate(&file, length).during("ftruncate", name)?;
    Err(Errno::NOSPC).during("write", name)
}

/// Puts a file with this content and mode 0600 in the place of `name` in `dir`, so that after a
/// power cut it is the old one or the new one, whole (rename(2), fsync(2)).
///
/// # Errors
/// Those of the calls; the old one is there as it was, then, unless only the last fsync(2) failed.
pub fn replace_whole(dir: impl AsFd, name: &str, content: &[u8]) -> SysResult<()> {
    replace_whole_with(dir, name, content, 0o600)
}

/// The same, with these permission bits.
///
/// # Errors
/// As [`replace_whole`].
pub fn replace_whole_with(dir: impl AsFd, name: &str, content: &[u8], mode: u32) -> SysResult<()> {
    let dir = open_beneath(dir, "")?;
    let new = format!(".{name}.new");
    // Of somebody who was killed in the middle of it.
    remove_file(&dir, &new)?;
    let done = write_new(&dir, &new, content, mode)
        .and_then(|()| renameat(&dir, &new, &dir, name).during("renameat", name));
    if let Err(error) = done {
        // The error that counts is the first one.
        drop(remove_file(&dir, &new));
        return Err(error);
    }
    rustix::fs::fsync(&dir).during("fsync", format_args!("the directory of {name}"))
}

fn write_new(dir: &OwnedFd, name: &str, content: &[u8], mode: u32) -> SysResult<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | CAREFULLY;
    let file = openat(dir, name, flags, Mode::RUSR | Mode::WUSR).during("openat", name)?;
    // Whatever the umask is; before there is anything in it.
    set_mode(&file, mode)?;
    let mut file = File::from(file);
    file.write_all(content).during("write", name)?;
    file.sync_all().during("fsync", name)
}

/// Renames a file within `dir`, over one that is there (rename(2)).
///
/// # Errors
/// Those of the call.
pub fn rename_file(dir: impl AsFd, from: &str, to: &str) -> SysResult<()> {
    renameat(&dir, from, &dir, to).during("renameat", from)
}

/// Removes a file, if there is one.
///
/// # Errors
/// Those of unlinkat(2) but `ENOENT`.
pub fn remove_file(dir: impl AsFd, name: &str) -> SysResult<()> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed.during("unlinkat", name),
    }
}
