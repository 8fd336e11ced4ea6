//! Control groups of the unified hierarchy (cgroups(7), the kernel's `Documentation/admin-guide/cgroup-v2.rst`).
//!
//! Everything goes by descriptor. Who was given a group may have made any tree beneath it: no name in it is taken
//! for more than one step, and no depth takes more than a few descriptors.

use std::ffi::CStr;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, fgetxattr, fstatfs, mkdirat,
    openat, openat2, seek, unlinkat,
};
use rustix::io::Errno;

use super::fs::{open_beneath, open_file_beneath, open_trusted, read_at_most, status};
use super::{During, SysError, SysResult};

/// `CGROUP2_SUPER_MAGIC` (statfs(2)).
const UNIFIED: u64 = 0x6367_7270;

/// More than any file of a group but its list of processes has.
const LONGEST: usize = 64 * 1024;

/// Opens the directory where the unified hierarchy is mounted, or a group in it by an absolute path.
///
/// # Errors
/// Those of openat2(2); `ENODEV` if something else is there.
pub fn open(path: &str) -> SysResult<OwnedFd> {
    let directory = open_beneath(open_trusted(path)?, "")?;
    let found = fstatfs(&directory).during("fstatfs", path)?.f_type;
    if u64::try_from(found) != Ok(UNIFIED) {
        return Err(Errno::NODEV).during("fstatfs", format_args!("{path}, which is no cgroup2"));
    }
    Ok(directory)
}

/// Whether the service manager has given the group away (systemd.resource-control(5), `Delegate=`; xattr(7)).
pub fn is_delegated(group: impl AsFd) -> bool {
    ["trusted.delegate", "user.delegate"].iter().any(|name| {
        let mut value = [0_u8; 2];
        fgetxattr(&group, *name, &mut value[..]).is_ok_and(|length| length == 1)
            && value.first() == Some(&b'1')
    })
}

/// Makes the group `name` in `parent` and opens it: anybody may look into it, only root may change it.
///
/// # Errors
/// Those of mkdirat(2): `EEXIST`, `EAGAIN` where the tree may have no more or no deeper groups.
pub fn make(parent: impl AsFd, name: &str) -> SysResult<OwnedFd> {
    mkdirat(&parent, name, Mode::from_raw_mode(0o755)).during("mkdirat", name)?;
    open_beneath(parent, name)
}

/// Writes into a file of a group, at once, as the kernel wants it.
///
/// # Errors
/// Those of openat2(2), `ENOENT` where the file is not there for want of its controller or a newer kernel; those of
/// write(2), with the kernel's opinion of the value.
pub fn write(group: impl AsFd, file: &str, value: &str) -> SysResult<()> {
    let mut opened = std::fs::File::from(open_for_writing(group, file)?);
    let subject = || format!("{value:?} to {file}");
    match opened.write(value.as_bytes()) {
        Ok(length) if length == value.len() => Ok(()),
        Ok(_) => Err(Errno::IO).during("write", subject()),
        Err(error) => Err(error).during("write", subject()),
    }
}

fn open_for_writing(group: impl AsFd, file: &str) -> SysResult<OwnedFd> {
    // No O_TRUNC, O_CREAT: these files are the kernel's.
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(group, file, flags, Mode::empty(), resolve).during("openat2", file)
}

/// Reads a file of a group.
///
/// # Errors
/// Those of openat2(2) and read(2); `EFBIG` for one that is longer than any.
pub fn read(group: impl AsFd, file: &str) -> SysResult<String> {
    let text = read_at_most(open_file_beneath(group, file)?, LONGEST)?;
    let text = text.ok_or(Errno::FBIG).during("read", file)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The file that a process is moved into the group by: `0`, written to it, is the writer. The right to do so is the
/// opener's (since Linux 5.16; the writer's before): hand it to nobody who may not.
///
/// # Errors
/// Those of openat2(2).
pub fn entrance(group: impl AsFd) -> SysResult<OwnedFd> {
    open_for_writing(group, "cgroup.procs")
}

/// Moves this process, with all of its threads, through an [`entrance`].
///
/// # Errors
/// Those of write(2): `EBUSY` where the group gives controllers to groups beneath it, `EAGAIN` beyond a limit,
/// `ENODEV` if it was removed.
pub fn enter(entrance: impl AsFd) -> SysResult<()> {
    rustix::io::write(entrance, b"0")
        .map(drop)
        .during("write", "0 to cgroup.procs")
}

/// Gives a group, and the right to make and fill groups in it, to a user. Its limits stay root's, and no process
/// can leave it: that takes the right to the group above.
///
/// # Errors
/// Those of fchownat(2).
pub fn delegate(group: impl AsFd, uid: u32, gid: u32) -> SysResult<()> {
    for file in ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        give_file(&group, file, uid, gid)?;
    }
    super::fs::set_owner(group, uid, gid)
}

/// Gives one file of a group to a user.
///
/// # Errors
/// Those of openat2(2) and fchownat(2).
pub fn give_file(group: impl AsFd, file: &str, uid: u32, gid: u32) -> SysResult<()> {
    let pinned = super::fs::pin_beneath(group, file)?;
    let (uid, gid) = (
        rustix::fs::Uid::from_raw(uid),
        rustix::fs::Gid::from_raw(gid),
    );
    rustix::fs::chownat(pinned, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
        .during("fchownat", file)
}

/// Kills every process in the group and beneath, those that are just being born too (since Linux 5.14).
///
/// # Errors
/// `ENOENT` on older kernels.
pub fn kill(group: impl AsFd) -> SysResult<()> {
    write(group, "cgroup.kill", "1")
}

/// Whether a process is in the group or beneath. Zombies are none.
///
/// # Errors
/// Those of reading its `cgroup.events`.
pub fn is_populated(group: impl AsFd) -> SysResult<bool> {
    populated(&open_file_beneath(group, "cgroup.events")?)
}

fn populated(events: &OwnedFd) -> SysResult<bool> {
    const FILE: &str = "cgroup.events";
    seek(events, SeekFrom::Start(0)).during("lseek", FILE)?;
    let text = read_at_most(events, LONGEST)?.ok_or(Errno::FBIG);
    let text = text.during("read", FILE)?;
    let text = String::from_utf8_lossy(&text);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("populated "));
    match line {
        Some("0") => Ok(false),
        Some(_) => Ok(true),
        None => Err(Errno::BADMSG).during("read", FILE),
    }
}

/// Waits until no process is in the group or beneath.
///
/// # Errors
/// `ETIMEDOUT` after `patience`: a process hangs in the kernel. Those of poll(2).
pub fn wait_until_empty(group: impl AsFd, patience: Duration) -> SysResult<()> {
    const FILE: &str = "cgroup.events";
    let events = open_file_beneath(group, FILE)?;
    let end = Instant::now().checked_add(patience);
    while populated(&events)? {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(Errno::TIMEDOUT).during("poll", FILE);
        }
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        // What was said since it was read last is told at once.
        let mut watched = [PollFd::new(&events, PollFlags::PRI)];
        match poll(&mut watched, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during("poll", FILE),
        }
    }
    Ok(())
}

/// Removes the group `name` in `parent` with all groups in it, in which nobody may be any more. One that is
/// not there is fine.
///
/// It goes down where a group cannot be removed and up again by `..`, which in this file system cannot be moved
/// away: any depth takes two descriptors.
///
/// # Errors
/// `EBUSY` where a process is; those of openat(2) and rmdir(2).
pub fn remove(parent: BorrowedFd<'_>, name: &CStr) -> SysResult<()> {
    let shown = name.to_string_lossy();
    let top = match open_group(parent, name) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened.during("openat", &shown)?,
    };
    // Whoever it was given to, and is still somewhere else, could make new ones for ever.
    write(&top, "cgroup.max.descendants", "0")?;
    let top_id = status(&top)?.id;
    let mut here = top;
    loop {
        match removed_children(&here, &shown)? {
            Some(child) => here = child,
            None if status(&here)?.id == top_id => break,
            None => here = open_group(here.as_fd(), c"..").during("openat", "..")?,
        }
    }
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).during("rmdir", shown),
    }
}

/// Removes the groups in `group` up to one that cannot be removed yet, and opens that.
fn removed_children(group: &OwnedFd, shown: &str) -> SysResult<Option<OwnedFd>> {
    seek(group, SeekFrom::Start(0)).during("lseek", shown)?;
    let mut buffer = Vec::with_capacity(8192);
    let mut entries = RawDir::new(group, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry.during("getdents64", shown)?;
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory || matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match unlinkat(group, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::BUSY | Errno::NOTEMPTY) => {
                let child = match open_group(group.as_fd(), name) {
                    Err(Errno::NOENT) => continue,
                    opened => opened.during("openat", shown)?,
                };
                // It is no group above others, so somebody is in it: going down would never end.
                if !has_children(&child, shown)? {
                    return Err(SysError {
                        call: "rmdir",
                        subject: format!("a group beneath {shown}"),
                        errno: Errno::BUSY,
                    });
                }
                return Ok(Some(child));
            }
            Err(errno) => return Err(errno).during("rmdir", shown),
        }
    }
    Ok(None)
}

fn has_children(group: &OwnedFd, shown: &str) -> SysResult<bool> {
    let mut buffer = Vec::with_capacity(8192);
    let mut entries = RawDir::new(group, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry.during("getdents64", shown)?;
        let itself = matches!(entry.file_name().to_bytes(), b"." | b"..");
        if entry.file_type() == FileType::Directory && !itself {
            return Ok(true);
        }
    }
    Ok(false)
}

fn open_group(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Removes the group `name` in `parent` if there is nothing in it; that there is, or that it is not there, is fine.
///
/// # Errors
/// Those of rmdir(2).
pub fn remove_empty(parent: impl AsFd, name: &str) -> SysResult<()> {
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT | Errno::BUSY | Errno::NOTEMPTY) => Ok(()),
        Err(errno) => Err(errno).during("rmdir", name),
    }
}
