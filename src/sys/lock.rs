//! Locks on files that go away with the last process that has them.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{During, SysResult};

/// A lock that is held until it is dropped, with the file behind it.
#[derive(Debug)]
pub struct Lock {
    #[allow(dead_code, reason = "it is held, not used")]
    file: File,
}

/// Takes the lock `path` if nobody has it (flock(2)); the file is made with mode 0600, for
/// whoever can open it can lock it.
///
/// # Errors
/// Those of open(2) and flock(2).
pub fn try_lock(path: &Path) -> SysResult<Option<Lock>> {
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .during("open", path.display())?;
        if !lock_now(&file, FlockOperation::NonBlockingLockExclusive)
            .during("flock", path.display())?
        {
            return Ok(None);
        }
        // The one who had it before may have removed the file between our open and our lock: then
        // ours is a lock on nothing.
        let locked = file.metadata().during("fstat", path.display())?;
        match std::fs::symlink_metadata(path) {
            Ok(now) if (now.dev(), now.ino()) == (locked.dev(), locked.ino()) => {
                return Ok(Some(Lock { file }));
            }
            _ => {}
        }
    }
}

/// Takes a lock on an open file without waiting (flock(2)); false if somebody else has it.
pub(super) fn lock_now(file: impl AsFd, operation: FlockOperation) -> Result<bool, Errno> {
    match rustix::io::retry_on_intr(|| rustix::fs::flock(&file, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_had_once_and_again_after_it_was_dropped_and_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        let lock = try_lock(&path).expect("a lock").expect("a free lock");
        assert!(try_lock(&path).expect("an answer").is_none());
        std::fs::remove_file(&path).expect("unlink");
        drop(lock);
        assert!(try_lock(&path).expect("an answer").is_some());
    }
}
