//! The file system of an arena.

use std::env::set_current_dir;
use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};
use rustix::process::pivot_root;

/// Directories that a test writes to, each a tmpfs, with its mode.
const FRESH: [(&str, u32); 8] = [
    ("/tmp", 0o1777),
    ("/var/tmp", 0o1777),
    ("/var/lib", 0o755),
    ("/var/cache", 0o755),
    ("/var/log", 0o755),
    ("/home", 0o755),
    ("/root", 0o700),
    ("/mnt", 0o755),
];

/// The character devices of a container.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Links in /dev that programs rely on.
const DEV_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Where the new root is put together: nothing that a test needs is below it.
const SITE: &str = "/mnt";

/// Builds it in the mount namespace of the calling thread.
///
/// The root is an overlay over the host's: it can be written to like any host's, and nothing that
/// a test or the program does to it as root reaches the real one.
pub(super) fn build(
    binary: &Path,
    module: Option<&Path>,
    programs: &[(PathBuf, &str)],
    mqueue: bool,
) -> io::Result<()> {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    tmpfs(SITE, 0o755)?;
    let root = format!("{SITE}/root");
    for directory in ["root", "upper", "work"] {
        fs::create_dir(format!("{SITE}/{directory}"))?;
    }
    let layers = format!("lowerdir=/,upperdir={SITE}/upper,workdir={SITE}/work");
    mount_at("overlay", &root, &layers, MountFlags::empty())?;
    install(binary, module, &root)?;
    for (program, path) in programs {
        bind_program(program, &format!("{root}{path}"))?;
    }
    pivot_root(&root, format!("{root}{SITE}"))?;
    set_current_dir("/")?;
    unmount(SITE, UnmountFlags::DETACH)?;

    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount_at("sysfs", "/sys", "", flags | MountFlags::NOEXEC)?;
    // A new network namespace has its loopback interface down. sysfs raises it without any tool.
    fs::write("/sys/class/net/lo/flags", "0x9")?;
    for (path, mode) in FRESH {
        tmpfs(path, mode)?;
    }
    mount_at("tmpfs", "/run", "mode=755", flags)?;
    fs::create_dir("/run/lock")?;
    fs::set_permissions("/run/lock", Permissions::from_mode(0o1777))?;
    devices(mqueue)
}

fn tmpfs(path: &str, mode: u32) -> io::Result<()> {
    mount_at(
        "tmpfs",
        path,
        &format!("mode={mode:o}"),
        MountFlags::empty(),
    )
}

fn mount_at(kind: &str, path: &str, data: &str, flags: MountFlags) -> io::Result<()> {
    let data = CString::new(data)?;
    mount(kind, path, kind, flags, Some(data.as_c_str()))
        .map_err(|error| io::Error::other(format!("mounting {kind} on {path}: {error}")))
}

/// Puts the program under test, the module and nsswitch.conf below `root`.
fn install(binary: &Path, module: Option<&Path>, root: &str) -> io::Result<()> {
    bind_program(binary, &format!("{root}/usr/local/sbin/dynuser"))?;
    if let Some(module) = module {
        let directory = library_directory().display();
        fs::copy(module, format!("{root}{directory}/libnss_dynuser.so.2"))?;
    }
    let modules = if module.is_some() {
        "files dynuser"
    } else {
        "files"
    };
    let nsswitch = format!("passwd: {modules}\ngroup: {modules}\nshadow: files\nhosts: files\n");
    fs::write(format!("{root}/etc/nsswitch.conf"), nsswitch)
}

/// Bound, not copied: a build with debug information is large.
fn bind_program(program: &Path, path: &str) -> io::Result<()> {
    File::create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    mount_bind(program, path).map_err(|error| {
        io::Error::other(format!("binding {} on {path}: {error}", program.display()))
    })
}

/// Where this machine's C library is, which is where it looks for its modules.
fn library_directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        maps.lines()
            .filter_map(|line| line.split_whitespace().nth(5))
            .map(Path::new)
            .find(|path| path.file_name().is_some_and(|name| name == "libc.so.6"))
            .and_then(Path::parent)
            .expect("the directory of libc.so.6 (the tests are linked with glibc)")
            .to_owned()
    })
}

fn devices(mqueue: bool) -> io::Result<()> {
    mount_at("tmpfs", "/dev", "mode=755", MountFlags::NOSUID)?;
    for (name, major, minor) in DEVICES {
        let path = format!("/dev/{name}");
        mknodat(
            CWD,
            &path,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            makedev(major, minor),
        )?;
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    }
    for (name, target) in DEV_LINKS {
        symlink(target, format!("/dev/{name}"))?;
    }
    fs::create_dir("/dev/pts")?;
    mount_at(
        "devpts",
        "/dev/pts",
        "newinstance,gid=5,mode=620,ptmxmode=666",
        MountFlags::NOSUID | MountFlags::NOEXEC,
    )?;
    fs::create_dir("/dev/shm")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount_at("tmpfs", "/dev/shm", "mode=1777", flags)?;
    if mqueue {
        fs::create_dir("/dev/mqueue")?;
        mount_at("mqueue", "/dev/mqueue", "", flags | MountFlags::NOEXEC)?;
    }
    Ok(())
}
