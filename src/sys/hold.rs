//! Descriptors that tell whether anybody has them still: the two ends of a named pipe.
//!
//! The one that is given away is the reading end: it can neither be written to, which would keep us
//! busy, nor be made to look open or closed but by being so. The writing end stays with us: it is in
//! error (`EPOLLERR`, poll(2)) as soon as the last copy of the other one is closed, and opening it
//! anew, after a restart, fails with `ENXIO` then (fifo(7)).

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::io::Errno;

use super::{During, SysResult};

/// Makes one as the file `path`, mode 0600. Gives our end and the one to be given away.
///
/// # Errors
/// Those of mknod(2) and open(2); nothing is left then.
pub fn make(path: &Path) -> SysResult<(OwnedFd, OwnedFd)> {
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, path, FileType::Fifo, mode, 0).during("mknod", path.display())?;
    let ends = open_end(path, OFlags::RDONLY).and_then(|theirs| {
        let ours = open_end(path, OFlags::WRONLY)?;
        Ok((ours, theirs))
    });
    if ends.is_err() {
        // The error that counts is the one above.
        let _left = rustix::fs::unlink(path);
    }
    ends.during("open", path.display())
}

/// Opens our end again; `None` if no copy of the other one is open, or the file is gone.
///
/// # Errors
/// Those of open(2).
pub fn reopen(path: &Path) -> SysResult<Option<OwnedFd>> {
    match open_end(path, OFlags::WRONLY) {
        Ok(ours) => Ok(Some(ours)),
        Err(Errno::NXIO | Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).during("open", path.display()),
    }
}

fn open_end(path: &Path, access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    open(path, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_lasts_as_long_as_any_copy_of_its_descriptor() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("hold");
        let (ours, theirs) = make(&path).expect("a hold");
        let copy = theirs.try_clone().expect("a copy");
        drop((ours, theirs));
        assert!(reopen(&path).expect("an answer").is_some());
        drop(copy);
        assert!(reopen(&path).expect("an answer").is_none());
        std::fs::remove_file(&path).expect("unlink");
        assert!(reopen(&path).expect("an answer").is_none());
        assert!(make(&dir.path().join("no/where")).is_err());
    }
}
