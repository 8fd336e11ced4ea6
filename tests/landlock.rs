//! Landlock in the running kernel: what a process in our domain can still do, and what not.
//!
//! Each act is done on a thread of its own that has become an ordinary user. Credentials, no_new_privs and the domain belong to a
//! thread when they are set by bare system calls, and end with it.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks
)]

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use dynuser::sys::landlock::{self, Domain};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

const NOBODY: u32 = 65534;

/// `outside` and `inside`, where everybody may do everything, each with a file `old` of nobody's.
struct Place {
    top: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        fs::set_permissions(top.path(), Permissions::from_mode(0o755)).unwrap();
        let place = Self { top };
        for name in ["outside", "inside", "inside/deep"] {
            fs::create_dir(place.path(name)).unwrap();
            fs::set_permissions(place.path(name), Permissions::from_mode(0o777)).unwrap();
        }
        for name in ["outside/old", "inside/old"] {
            fs::write(place.path(name), "old").unwrap();
            std::os::unix::fs::chown(place.path(name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.top.path().join(name)
    }

    /// Does something as nobody, in a domain that lets files be made in `inside` alone.
    fn restricted<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        as_nobody(|| {
            let abi = landlock::abi().unwrap().expect("a kernel with Landlock");
            let inside = File::open(self.path("inside")).unwrap();
            let enforced = landlock::restrict(abi, &[inside.as_fd()]).unwrap();
            assert_eq!(enforced.moves_between_directories, abi >= 2);
            act()
        })
    }
}

fn as_nobody<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    assert!(rustix::process::geteuid().is_root(), "run as root");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let id = i64::from(NOBODY);
            unsafe {
                assert_eq!(libc::syscall(libc::SYS_setgroups, 0, 0), 0);
                assert_eq!(libc::syscall(libc::SYS_setresgid, id, id, id), 0);
                assert_eq!(libc::syscall(libc::SYS_setresuid, id, id, id), 0);
            }
            rustix::thread::set_no_new_privs(true).unwrap();
            act()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Every way to make something new in a directory, by its descriptor.
fn make_everything(directory: &OwnedFd) -> Vec<(&'static str, Result<(), Errno>)> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let node = |name, kind| rustix::fs::mknodat(directory, name, kind, mode, 0);
    vec![
        (
            "openat",
            rustix::fs::openat(directory, "f1", flags, mode).map(drop),
        ),
        (
            "openat2",
            rustix::fs::openat2(directory, "f2", flags, mode, ResolveFlags::NO_SYMLINKS).map(drop),
        ),
        ("mkdirat", rustix::fs::mkdirat(directory, "d", mode)),
        ("symlinkat", rustix::fs::symlinkat("x", directory, "l")),
        ("fifo", node("p", FileType::Fifo)),
        ("socket", node("s", FileType::Socket)),
        ("regular", node("r", FileType::RegularFile)),
        (
            "link",
            rustix::fs::linkat(directory, "old", directory, "h", AtFlags::empty()),
        ),
        (
            "rename",
            rustix::fs::renameat(directory, "old", directory, "new"),
        ),
        (
            "io_uring",
            ring::open_at(directory, "u", libc::O_CREAT | libc::O_WRONLY, 0o600),
        ),
    ]
}

fn open(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

#[test]
fn nothing_is_made_outside_whoever_opened_the_directory() {
    let place = Place::new();
    // Opened before the domain, as if it had come from another process.
    let outside = open(&place.path("outside"));
    for (name, done) in place.restricted(|| make_everything(&outside)) {
        assert_eq!(done, Err(Errno::ACCESS), "{name}");
    }
    let left = fs::read_dir(place.path("outside")).unwrap().count();
    assert_eq!(left, 1, "`old` alone");
    // Without the domain the same user does all that: it is Landlock that has refused.
    for (name, done) in as_nobody(|| make_everything(&outside)) {
        assert_eq!(done, Ok(()), "{name}");
    }
}

#[test]
fn everything_is_made_inside() {
    let place = Place::new();
    let inside = open(&place.path("inside"));
    for (name, done) in place.restricted(|| make_everything(&inside)) {
        assert_eq!(done, Ok(()), "{name}");
    }
}

#[test]
fn moves_stay_within_the_tree() {
    let place = Place::new();
    let path = |name: &str| place.path(name);
    place.restricted(|| {
        fs::rename(path("inside/old"), path("inside/deep/old")).unwrap();
        fs::hard_link(path("inside/deep/old"), path("inside/again")).unwrap();
        let error = fs::rename(path("inside/again"), path("outside/new")).unwrap_err();
        assert!(
            matches!(error.raw_os_error(), Some(libc::EXDEV | libc::EACCES)),
            "{error}"
        );
        let error = fs::hard_link(path("inside/again"), path("outside/new")).unwrap_err();
        assert!(
            matches!(error.raw_os_error(), Some(libc::EXDEV | libc::EACCES)),
            "{error}"
        );
        let error = fs::rename(path("outside/old"), path("inside/from")).unwrap_err();
        assert!(
            matches!(error.raw_os_error(), Some(libc::EXDEV | libc::EACCES)),
            "{error}"
        );
    });
    assert!(!path("outside/new").exists());
}

/// With the first version of the interface, which such a domain is like: moves between directories are refused.
#[test]
fn without_refer_nothing_moves_between_directories() {
    let place = Place::new();
    as_nobody(|| {
        let inside = File::open(place.path("inside")).unwrap();
        let enforced = landlock::restrict(1, &[inside.as_fd()]).unwrap();
        assert!(!enforced.moves_between_directories);
        let error = fs::rename(place.path("inside/old"), place.path("inside/deep/old"));
        assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::EXDEV));
        fs::rename(place.path("inside/old"), place.path("inside/new")).unwrap();
    });
}

#[test]
fn what_is_there_outside_is_used_as_before() {
    let place = Place::new();
    let old = place.path("outside/old");
    place.restricted(|| {
        fs::set_permissions(&old, Permissions::from_mode(0o640)).unwrap();
        fs::write(&old, "changed").unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "changed");
        assert_eq!(fs::metadata(&old).unwrap().mode() & 0o7777, 0o640);
        // A program that is there is executed, and its children are in the domain too.
        let script = "exec 2>/dev/null; echo x > \"$0/outside/new\"; echo $?; echo x > \"$0/inside/new\"; echo $?";
        let mut shell = std::process::Command::new("sh");
        let out = shell.args(["-c", script]).arg(place.top.path()).output().unwrap();
        let out = String::from_utf8(out.stdout).unwrap();
        let mut lines = out.lines();
        assert_ne!(lines.next(), Some("0"));
        assert_eq!(lines.next(), Some("0"));
        fs::remove_file(&old).unwrap();
        assert!(File::open("/dev/null").is_ok());
    });
    assert!(!old.exists());
}

/// A file without a name can be made anywhere, but gets none there.
#[test]
fn a_file_without_a_name_gets_none_outside() {
    let place = Place::new();
    place.restricted(|| {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        for (directory, expected) in [("outside", Err(Errno::ACCESS)), ("inside", Ok(()))] {
            let directory = place.path(directory);
            let file = rustix::fs::openat(CWD, &directory, flags, Mode::RUSR).unwrap();
            let link = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
            let name = directory.join("named");
            let done = rustix::fs::linkat(CWD, &link, CWD, &name, AtFlags::SYMLINK_FOLLOW);
            assert_eq!(done, expected, "{}", name.display());
        }
    });
}

/// The price: not even root in a domain can mount.
#[test]
fn a_process_in_a_domain_does_not_mount() {
    let mount = |restricted: bool| {
        std::thread::spawn(move || {
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
            let change = rustix::mount::MountPropagationFlags::PRIVATE
                | rustix::mount::MountPropagationFlags::REC;
            rustix::mount::mount_change("/", change).unwrap();
            if restricted {
                rustix::thread::set_no_new_privs(true).unwrap();
                Domain::new(1).unwrap().restrict_self().unwrap();
            }
            let flags = rustix::mount::MountFlags::empty();
            let top = tempfile::tempdir_in("/tmp");
            let target = top.as_ref().map_or(Path::new("/tmp"), |top| top.path());
            rustix::mount::mount("tmpfs", target, "tmpfs", flags, None)
        })
        .join()
        .unwrap()
    };
    assert_eq!(mount(false), Ok(()));
    assert_eq!(mount(true), Err(Errno::PERM));
}

#[test]
fn a_domain_wants_no_new_privs_and_directories() {
    let file = tempfile::tempfile().unwrap();
    let domain = Domain::new(1).unwrap();
    let error = domain.allow_beneath(file.as_fd()).unwrap_err();
    assert_eq!(error.errno, Errno::INVAL, "{error}");
    std::thread::spawn(|| {
        let id = i64::from(NOBODY);
        assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, id, id, id) }, 0);
        let error = Domain::new(1).unwrap().restrict_self().unwrap_err();
        assert_eq!(error.errno, Errno::PERM, "{error}");
    })
    .join()
    .unwrap();
}

/// One operation of an io_uring, by bare system calls (io_uring_setup(2)).
mod ring {
    use super::*;

    /// `IORING_OP_OPENAT`
    const OPENAT: u8 = 18;
    const GET_EVENTS: u32 = 1;

    /// Opens a file as an io_uring does it, where no system-call filter sees it.
    pub(crate) fn open_at(
        directory: &OwnedFd,
        name: &str,
        flags: i32,
        mode: u32,
    ) -> Result<(), Errno> {
        let name = CString::new(name).unwrap();
        let mut parameters = [0_u32; 30];
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
        assert!(fd >= 0, "io_uring_setup: {}", io::Error::last_os_error());
        let ring = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        // struct io_sqring_offsets at word 10 (head, tail, mask, entries, flags, dropped, array),
        // struct io_cqring_offsets at word 20 (head, tail, mask, entries, overflow, cqes).
        let rings = Map::new(&ring, 0);
        let entries = Map::new(&ring, 0x1000_0000);
        let at = |base: &Map, offset: u32| unsafe { base.start.add(offset as usize) };
        unsafe {
            let entry = at(&entries, 0);
            entry.cast::<[u8; 64]>().write([0; 64]);
            entry.write(OPENAT);
            entry.add(4).cast::<i32>().write(directory.as_raw_fd());
            entry
                .add(16)
                .cast::<u64>()
                .write(name.as_ptr().expose_provenance() as u64);
            entry.add(24).cast::<u32>().write(mode);
            entry.add(28).cast::<u32>().write(flags as u32);
            at(&rings, parameters[16]).cast::<u32>().write(0);
            at(&rings, parameters[11]).cast::<u32>().write_volatile(1);
        }
        let none = std::ptr::null::<u8>();
        let done =
            unsafe { libc::syscall(libc::SYS_io_uring_enter, fd, 1, 1, GET_EVENTS, none, 0) };
        assert_eq!(done, 1, "io_uring_enter: {}", io::Error::last_os_error());
        let result = unsafe {
            assert_eq!(at(&rings, parameters[21]).cast::<u32>().read_volatile(), 1);
            at(&rings, parameters[25])
                .add(8)
                .cast::<i32>()
                .read_volatile()
        };
        if result < 0 {
            return Err(Errno::from_raw_os_error(-result));
        }
        drop(unsafe { OwnedFd::from_raw_fd(result) });
        Ok(())
    }

    /// A mapping of one page of a ring.
    struct Map {
        start: *mut u8,
    }

    impl Map {
        fn new(ring: &OwnedFd, offset: i64) -> Self {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
            let none = std::ptr::null_mut();
            let start =
                unsafe { libc::mmap(none, 4096, protection, flags, ring.as_raw_fd(), offset) };
            assert_ne!(start, libc::MAP_FAILED, "{}", io::Error::last_os_error());
            Self {
                start: start.cast(),
            }
        }
    }

    impl Drop for Map {
        fn drop(&mut self) {
            unsafe { libc::munmap(self.start.cast(), 4096) };
        }
    }
}
