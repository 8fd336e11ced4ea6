//! Opening what only root had a say on the way to.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::fs::status;
use super::{During, SysError, SysResult};

/// How many links are followed on one way: the kernel's own limit.
const MOST_LINKS: u32 = 40;

/// Opens a directory on whose path only root had a say, as `O_PATH`.
///
/// A symbolic link on the way is followed if it belongs to root and stands in a directory that
/// only root can change, so that state can be kept on another disk; any other link is refused
/// with `EPERM`. `path` must be absolute.
///
/// # Errors
/// Those of openat2(2); the subject is the path up to where it failed.
pub fn open_trusted(path: &str) -> SysResult<OwnedFd> {
    let pinned = pin_trusted(path)?;
    match status(&pinned)?.kind {
        FileType::Directory => Ok(pinned),
        _ => Err(Errno::NOTDIR).during("open", path),
    }
}

/// Like [`open_trusted`], for anything that is no symbolic link.
///
/// # Errors
/// As [`open_trusted`].
pub fn pin_trusted(path: &str) -> SysResult<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve) {
        Err(Errno::LOOP) => walk_trusted(path),
        opened => opened.during("openat2", path),
    }
}

/// Opens a file for reading on whose path only root had a say about links, as [`pin_trusted`]. Nothing is waited for.
///
/// # Errors
/// As [`pin_trusted`]; `EISDIR` for a directory, `EINVAL` for what is no file either.
pub fn open_file_trusted(path: &str) -> SysResult<std::fs::File> {
    let pinned = pin_trusted(path)?;
    match status(&pinned)?.kind {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Errno::ISDIR).during("open", path),
        _ => return Err(Errno::INVAL).during("open", format_args!("{path}, which is no file")),
    }
    let again = format!("/proc/thread-self/fd/{}", pinned.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(again, flags, Mode::empty()).during("open", path)?;
    Ok(opened.into())
}

/// The slow way of [`pin_trusted`], part by part.
fn walk_trusted(path: &str) -> SysResult<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |dir: BorrowedFd<'_>, part: &str| {
        rustix::fs::openat(dir, part, flags, Mode::empty()).during("openat", path)
    };
    let refused = || SysError {
        call: "open",
        subject: format!("{path}, on a way that not only root can change"),
        errno: Errno::PERM,
    };
    let root = || rustix::fs::open("/", flags, Mode::empty()).during("open", "/");
    let mut above = Vec::new();
    let mut here = root()?;
    let mut parts: VecDeque<String> = path.split('/').map(String::from).collect();
    let mut links = 0;
    while let Some(part) = parts.pop_front() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                here = match above.pop() {
                    Some(parent) => parent,
                    None => root()?,
                };
                continue;
            }
            _ => {}
        }
        let next = open(here.as_fd(), &part)?;
        let found = status(&next)?;
        if found.kind != FileType::Symlink {
            above.push(std::mem::replace(&mut here, next));
            continue;
        }
        let parent = status(&here)?;
        let ours = found.uid == 0 && parent.uid == 0 && parent.mode & 0o022 == 0;
        links = u32::saturating_add(links, 1);
        if !ours || links > MOST_LINKS {
            return Err(refused());
        }
        let target = rustix::fs::readlinkat(&next, "", Vec::new()).during("readlinkat", path)?;
        let target = target.into_string().map_err(|_| refused())?;
        if target.starts_with('/') {
            above.clear();
            here = root()?;
        }
        for part in target.rsplit('/') {
            parts.push_front(part.into());
        }
    }
    Ok(here)
}
