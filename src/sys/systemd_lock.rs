//! systemd's locks on numbers, taken as systemd takes them (`src/core/dynamic-user.c`, `pick_uid`).
//!
//! systemd keeps a number by a lock (flock(2)) on the file `/run/systemd/dynamic-uid/NUMBER`, with the
//! user's name in it. Whoever takes the same locks shares the numbers with it. The lock belongs to the open
//! file: it lives as long as any process has a copy of the descriptor.
//!
//! The links `direct:NUMBER` and `direct:NAME` are not made: they were for dbus-daemon and for look-ups up to
//! systemd 244, and systemd 260 has dropped them.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

use super::fs::{open_beneath, open_trusted, status};
use super::lock::lock_now;
use super::{During, SysError, SysResult};

/// Where the lock files are.
pub const FOLDER: &str = "/run/systemd/dynamic-uid";

/// Is there while systemd is the host's service manager (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// Longest content of a lock file that is read, in bytes: systemd's names have up to 256.
const LONGEST: usize = 512;

/// The folder of the locks, as it is now. Open it anew for each request: systemd makes it when it
/// needs it first, which may be long after our start.
#[derive(Debug)]
pub struct SystemdLocks {
    folder: OwnedFd,
}

/// A number that is locked.
#[derive(Debug)]
pub struct UidLock {
    uid: u32,
    file: OwnedFd,
}

/// What came of the wish for a lock.
#[derive(Debug)]
pub enum Attempt {
    /// It is ours.
    Locked(UidLock),
    /// Somebody else has it: the user's name from the file, if there is one yet.
    Busy(Option<String>),
}

impl SystemdLocks {
    /// Opens the folder; `None` where there is none, which is a host without systemd, or one whose systemd
    /// had no dynamic user yet.
    ///
    /// # Errors
    /// Those of openat2(2); `EPERM` if somebody but root can change what is in the folder: he could
    /// replace the files under the locks.
    pub fn open() -> SysResult<Option<Self>> {
        let pinned = match open_trusted(FOLDER) {
            Err(error) if error.errno == Errno::NOENT => return Ok(None),
            opened => opened?,
        };
        let found = status(&pinned)?;
        if found.uid != 0 || found.mode & 0o022 != 0 {
            return Err(SysError {
                call: "open",
                subject: format!(
                    "{FOLDER}, which not only root can change (owner {}, mode {:04o})",
                    found.uid, found.mode
                ),
                errno: Errno::PERM,
            });
        }
        Ok(Some(Self {
            folder: open_beneath(pinned, "")?,
        }))
    }

    /// Opens the folder and makes it, as systemd does, where systemd runs but had no dynamic user yet: the
    /// number that we are about to hand out might be its first. `None` without systemd.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and those of mkdir(2).
    pub fn open_or_make() -> SysResult<Option<Self>> {
        if let Some(there) = Self::open()? {
            return Ok(Some(there));
        }
        match open_trusted(BOOTED) {
            Err(error) if error.errno == Errno::NOENT => return Ok(None),
            booted => drop(booted?),
        }
        match rustix::fs::mkdir(FOLDER, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Self::open(),
            Err(error) => Err(error).during("mkdir", FOLDER),
        }
    }

    /// Takes the lock on `uid` if nobody has it.
    ///
    /// # Errors
    /// Those of openat(2), fstat(2) and flock(2); `EINVAL` for something that is no file.
    pub fn try_take(&self, uid: u32) -> SysResult<Attempt> {
        loop {
            let file = self
                .open_file(uid, OFlags::CREATE)?
                .ok_or(Errno::NOENT)
                .during("openat", path(uid))?;
            if !lock(&file, uid, FlockOperation::NonBlockingLockExclusive)? {
                return Ok(Attempt::Busy(read_name(&file)));
            }
            let lock = UidLock { uid, file };
            // The one who had it before may have removed the file between our open and our lock: then
            // ours is a lock on nothing, and the next one would lock a new file beside us.
            if self.is_current(&lock)? {
                return Ok(Attempt::Locked(lock));
            }
        }
    }

    /// Tells whether somebody has the lock on `uid`, without taking it or making the file: `None` if nobody
    /// has, else what [`Attempt::Busy`] has. For as long as the question takes systemd would see a
    /// lock of ours, and choose another number.
    ///
    /// # Errors
    /// As for [`try_take`](Self::try_take).
    pub fn probe(&self, uid: u32) -> SysResult<Option<Option<String>>> {
        let Some(file) = self.open_file(uid, OFlags::empty())? else {
            return Ok(None);
        };
        // A shared one: two that ask do not take each other for a holder.
        let free = lock(&file, uid, FlockOperation::NonBlockingLockShared)?;
        Ok((!free).then(|| read_name(&file)))
    }

    /// The lock whose descriptor `file` was kept while no daemon ran; `None` if it locks nothing any more,
    /// because somebody removed or replaced the file, or is not the one that has the lock.
    ///
    /// # Errors
    /// As for [`try_take`](Self::try_take).
    pub fn take_over(&self, uid: u32, file: OwnedFd) -> SysResult<Option<UidLock>> {
        let lock_ = UidLock { uid, file };
        // On the descriptor that has the lock this changes nothing.
        let held = self.is_current(&lock_)?
            && lock(&lock_.file, uid, FlockOperation::NonBlockingLockExclusive)?
            && self.is_current(&lock_)?;
        Ok(held.then_some(lock_))
    }

    /// Removes the file, then lets go of the lock. In this order nobody can lock a file that is about to be
    /// removed and believe in it: [`try_take`](Self::try_take) looks, and so does systemd.
    ///
    /// # Errors
    /// Those of unlinkat(2). The lock is gone all the same.
    pub fn give_back(&self, lock: UidLock) -> SysResult<()> {
        // A file that was put in the place of ours belongs to whoever has locked it. While we have the lock
        // on the file that is there, nobody who keeps to the rules removes or replaces it.
        if !self.is_current(&lock)? {
            return Ok(());
        }
        match rustix::fs::unlinkat(&self.folder, lock.uid.to_string(), AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed.during("unlinkat", path(lock.uid)),
        }
    }

    fn open_file(&self, uid: u32, more: OFlags) -> SysResult<Option<OwnedFd>> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | more;
        // Whoever can open the file can lock it: it is root's alone.
        match openat(
            &self.folder,
            uid.to_string(),
            flags,
            Mode::RUSR | Mode::WUSR,
        ) {
            Err(Errno::NOENT) if !more.contains(OFlags::CREATE) => Ok(None),
            opened => opened.map(Some).during("openat", path(uid)),
        }
    }

    /// Tells whether the locked file is the one that everybody finds by its number.
    fn is_current(&self, lock: &UidLock) -> SysResult<bool> {
        let ours = fstat(&lock.file).during("fstat", path(lock.uid))?;
        if FileType::from_raw_mode(ours.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL).during("open", format!("{}: no file", path(lock.uid)));
        }
        match statat(
            &self.folder,
            lock.uid.to_string(),
            AtFlags::SYMLINK_NOFOLLOW,
        ) {
            Err(Errno::NOENT) => Ok(false),
            found => {
                let found = found.during("fstatat", path(lock.uid))?;
                Ok((found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino))
            }
        }
    }
}

impl UidLock {
    /// The number.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The descriptor that has the lock, for somebody who is to keep a copy.
    pub fn descriptor(&self) -> &OwnedFd {
        &self.file
    }

    /// Writes the name of the user into the file, with a newline, as systemd does.
    ///
    /// # Errors
    /// Those of pwritev(2) and ftruncate(2); `ENOSPC` for half a name.
    pub fn record(&self, name: &str) -> SysResult<()> {
        let length = name.len().saturating_add(1);
        let written = rustix::io::pwritev(
            &self.file,
            &[IoSlice::new(name.as_bytes()), IoSlice::new(b"\n")],
            0,
        )
        .during("pwritev", path(self.uid))?;
        if written != length {
            return Err(Errno::NOSPC).during("pwritev", path(self.uid));
        }
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        rustix::fs::ftruncate(&self.file, length).during("ftruncate", path(self.uid))
    }
}

/// Takes a lock; false if somebody else has it.
fn lock(file: &OwnedFd, uid: u32, operation: FlockOperation) -> SysResult<bool> {
    lock_now(file, operation).during("flock", path(uid))
}

/// What the file says, if that is a name. systemd writes it some time after it has taken the lock.
fn read_name(file: &OwnedFd) -> Option<String> {
    let mut buffer = [0_u8; LONGEST];
    let length = rustix::io::pread(file, &mut buffer, 0).ok()?;
    let name = std::str::from_utf8(buffer.get(..length)?).ok()?.trim_end();
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
    (printable && !name.is_empty()).then(|| name.to_owned())
}

fn path(uid: u32) -> String {
    format!("{FOLDER}/{uid}")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder() -> (tempfile::TempDir, SystemdLocks) {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = rustix::fs::open(dir.path(), OFlags::RDONLY, Mode::empty()).expect("open");
        (dir, SystemdLocks { folder })
    }

    fn take(locks: &SystemdLocks) -> Option<UidLock> {
        match locks.try_take(61200).expect("an answer") {
            Attempt::Locked(lock) => Some(lock),
            Attempt::Busy(_) => None,
        }
    }

    #[test]
    fn a_number_is_locked_once_and_again_after_it_was_given_back() {
        let (dir, locks) = folder();
        assert_eq!(locks.probe(61200).expect("an answer"), None);
        let lock = take(&locks).expect("a free number");
        lock.record("longer-name").expect("record");
        lock.record("nap").expect("record");
        let file = dir.path().join("61200");
        assert_eq!(fs::read_to_string(&file).expect("read"), "nap\n");
        assert!(matches!(
            locks.try_take(61200),
            Ok(Attempt::Busy(Some(name))) if name == "nap"
        ));
        assert_eq!(
            locks.probe(61200).expect("an answer"),
            Some(Some("nap".into()))
        );
        locks.give_back(lock).expect("give back");
        assert!(!file.exists());
        assert!(take(&locks).is_some());
    }

    #[test]
    fn a_lock_that_is_dropped_leaves_the_file_and_a_kept_descriptor_keeps_the_lock() {
        let (dir, locks) = folder();
        let lock = take(&locks).expect("a free number");
        let kept = lock.descriptor().try_clone().expect("dup");
        drop(lock);
        assert!(dir.path().join("61200").exists());
        assert!(take(&locks).is_none(), "the copy has the lock");
        let again = locks.take_over(61200, kept).expect("an answer");
        drop(again.expect("the same lock"));
        assert!(take(&locks).is_some());
    }

    #[test]
    fn however_many_take_it_and_give_it_back_one_has_it_at_a_time() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let (_dir, locks) = folder();
        let (having, had) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while had.load(Ordering::SeqCst) < 500 {
                        let Some(lock) = take(&locks) else { continue };
                        assert_eq!(having.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                        had.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        having.fetch_sub(1, Ordering::SeqCst);
                        locks.give_back(lock).expect("give back");
                    }
                });
            }
        });
    }

    #[test]
    fn what_was_put_in_the_place_of_our_file_stays() {
        let (dir, locks) = folder();
        let lock = take(&locks).expect("a free number");
        let kept = lock.descriptor().try_clone().expect("dup");
        fs::remove_file(dir.path().join("61200")).expect("unlink");
        let other = take(&locks).expect("a new file");
        locks.give_back(lock).expect("give back");
        assert!(
            dir.path().join("61200").exists(),
            "the winner's file is there"
        );
        assert!(locks.take_over(61200, kept).expect("an answer").is_none());
        locks.give_back(other).expect("give back");
        assert!(!dir.path().join("61200").exists());
    }

    #[test]
    fn a_descriptor_without_the_lock_takes_nothing_over() {
        let (dir, locks) = folder();
        let _lock = take(&locks).expect("a free number");
        let stranger = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(dir.path().join("61200"))
            .expect("open");
        let taken = locks.take_over(61200, stranger.into()).expect("an answer");
        assert!(taken.is_none());
    }

    #[test]
    fn what_is_no_file_is_an_error_not_a_free_number() {
        let (dir, locks) = folder();
        fs::create_dir(dir.path().join("61200")).expect("mkdir");
        assert!(locks.try_take(61200).is_err());
        std::os::unix::fs::symlink("elsewhere", dir.path().join("61201")).expect("symlink");
        assert!(locks.try_take(61201).is_err());
        assert!(!dir.path().join("elsewhere").exists());
    }
}
