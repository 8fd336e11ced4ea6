//! Landlock: a process takes rights over files away from itself and from all that it starts (landlock(7)).
//!
//! The one use here: nothing new is made but beneath given directories, whatever descriptors the process gets
//! hold of, and by io_uring as well, which no system-call filter sees. What is there can still be read, written,
//! removed, and have its mode changed: that is the business of modes and mounts.
//!
//! A process in a Landlock domain cannot change mounts any more, `CAP_SYS_ADMIN` or not (landlock(7),
//! "Current limitations"). An `O_TMPFILE` without a name can be made anywhere; a name it gets only where the domain allows.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::{During, SysError, SysResult, last_error};

/// `LANDLOCK_ACCESS_FS_MAKE_CHAR`, `_DIR`, `_REG`, `_SOCK`, `_FIFO`, `_BLOCK` and `_SYM` (linux/landlock.h).
const MAKE: u64 = 0x1FC0;
/// `LANDLOCK_ACCESS_FS_REFER`: to link or rename from one directory to another. Since version 2 of the interface;
/// in a domain that does not handle it, it is always refused.
const REFER: u64 = 0x2000;
/// `LANDLOCK_ACCESS_FS_WRITE_FILE`, `_REMOVE_DIR`, `_REMOVE_FILE`, and since version 3 `_TRUNCATE`.
const CHANGE: u64 = 0x0002 | 0x0010 | 0x0020 | 0x4000;
/// The version that brought it.
const SINCE_REFER: u32 = 2;

const CREATE_RULESET_VERSION: libc::c_long = 1;
const RULE_PATH_BENEATH: libc::c_long = 1;

/// `struct landlock_ruleset_attr`, as much of it as version 1 has.
#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
}

/// `struct landlock_path_beneath_attr`
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

/// What a domain does besides refusing to make files elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// Whether files can be renamed and linked from one directory to another beneath the places where
    /// files can be made. Not before version 2 (Linux 5.19): such a rename fails with `EXDEV`, and programs copy.
    pub moves_between_directories: bool,
}

/// The version of the interface; none when the kernel has no Landlock, or was started without it.
///
/// # Errors
/// Others of landlock_create_ruleset(2).
pub fn abi() -> SysResult<Option<u32>> {
    let none = std::ptr::null::<RulesetAttr>();
    // SAFETY: with this flag the kernel wants no address and a size of 0, and gives back a number.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            none,
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    match u32::try_from(answer) {
        Ok(version) => Ok(Some(version)),
        Err(_) => match last_error() {
            Errno::NOSYS | Errno::OPNOTSUPP => Ok(None),
            errno => Err(failed("landlock_create_ruleset", "version", errno)),
        },
    }
}

/// A domain that is being made: nothing can be made anywhere.
pub struct Domain {
    ruleset: OwnedFd,
    accesses: u64,
}

impl Domain {
    /// A new one, for a kernel whose interface has the version `abi`.
    ///
    /// # Errors
    /// Those of landlock_create_ruleset(2).
    pub fn new(abi: u32) -> SysResult<Self> {
        Self::handling(match abi >= SINCE_REFER {
            true => MAKE | REFER,
            false => MAKE,
        })
    }

    /// A new one, in which nothing can be written, made, removed or cut short anywhere, for a kernel whose interface has at
    /// least the version [`crate::level::LANDLOCK_NEEDED`]. What descriptors are for that are open already stays possible,
    /// and so does what Landlock knows no right for: to change modes, owners, times and attributes, as far as these let it.
    ///
    /// # Errors
    /// Those of landlock_create_ruleset(2), `EINVAL` among them for an older kernel.
    pub fn of_writers() -> SysResult<Self> {
        Self::handling(MAKE | REFER | CHANGE)
    }

    fn handling(accesses: u64) -> SysResult<Self> {
        let attributes = RulesetAttr {
            handled_access_fs: accesses,
        };
        // SAFETY: `attributes` lives to the end of the call, which is told its size.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                &raw const attributes,
                size_of::<RulesetAttr>(),
                0_u32,
            )
        };
        let fd = i32::try_from(answer).ok().filter(|fd| *fd >= 0);
        let fd = fd.ok_or_else(|| failed("landlock_create_ruleset", "", last_error()))?;
        // SAFETY: the kernel has just given this descriptor to us alone (with FD_CLOEXEC).
        let ruleset = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { ruleset, accesses })
    }

    /// Lets files be made beneath a directory, which may be open with `O_PATH`.
    ///
    /// # Errors
    /// Those of landlock_add_rule(2): `EINVAL` for something that is no directory.
    pub fn allow_beneath(&self, directory: BorrowedFd<'_>) -> SysResult<()> {
        let rule = PathBeneathAttr {
            allowed_access: self.accesses,
            parent_fd: directory.as_raw_fd(),
        };
        // SAFETY: `rule` lives to the end of the call, and has the layout that goes with the number of its kind.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                self.ruleset.as_raw_fd(),
                RULE_PATH_BENEATH,
                &raw const rule,
                0_u32,
            )
        };
        done(answer).during("landlock_add_rule", directory.as_raw_fd())
    }

    /// Puts the calling thread, and everything it starts from now on, into the domain for good. Other
    /// threads of the process are not touched.
    ///
    /// # Errors
    /// Those of landlock_restrict_self(2): `EPERM` without no_new_privs (or `CAP_SYS_ADMIN`).
    pub fn restrict_self(self) -> SysResult<Enforced> {
        // SAFETY: the call takes two numbers.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_landlock_restrict_self,
                self.ruleset.as_raw_fd(),
                0_u32,
            )
        };
        done(answer).during("landlock_restrict_self", "")?;
        Ok(Enforced {
            moves_between_directories: self.accesses & REFER != 0,
        })
    }
}

/// From now on the calling thread, and everything it starts, makes files beneath these directories only.
///
/// # Errors
/// Those of the three calls.
pub fn restrict(abi: u32, makes_beneath: &[BorrowedFd<'_>]) -> SysResult<Enforced> {
    let domain = Domain::new(abi)?;
    for directory in makes_beneath {
        domain.allow_beneath(*directory)?;
    }
    domain.restrict_self()
}

fn done(answer: libc::c_long) -> Result<(), Errno> {
    match answer {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

fn failed(call: &'static str, subject: &str, errno: Errno) -> SysError {
    SysError {
        call,
        subject: subject.into(),
        errno,
    }
}
