//! Mounts and mount namespaces, with the system calls of Linux 5.12 and later.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};

use super::{During, SysResult, last_error};

/// What mount_setattr(2) changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// Attributes to set: `MOUNT_ATTR_…`.
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
    /// Whether mounts of the host go on arriving here while ours no longer leave (`MS_SLAVE`).
    pub slave: bool,
    /// The user namespace whose mapping the mount gets.
    pub idmap: Option<BorrowedFd<'a>>,
    /// Whether all mounts below are changed too.
    pub recursive: bool,
}

/// `MOUNT_ATTR_RDONLY`.
pub const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
/// `MOUNT_ATTR_NOSUID`.
pub const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
/// `MOUNT_ATTR_NODEV`.
pub const NODEV: u64 = libc::MOUNT_ATTR_NODEV;

/// Nothing on the mount can be executed.
pub const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// Makes a detached copy of the mount tree at `dir`: nobody sees it before it is attached.
///
/// # Errors
/// Those of open_tree(2).
pub fn clone_tree(dir: impl AsFd) -> SysResult<OwnedFd> {
    clone(dir, OpenTreeFlags::AT_RECURSIVE)
}

/// Like [`clone_tree`], without what is mounted in it.
///
/// # Errors
/// Those of open_tree(2).
pub fn clone_alone(dir: impl AsFd) -> SysResult<OwnedFd> {
    clone(dir, OpenTreeFlags::empty())
}

fn clone(dir: impl AsFd, more: OpenTreeFlags) -> SysResult<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | more;
    open_tree(dir, "", flags).during("open_tree", "")
}

/// Makes a detached tmpfs with the options of tmpfs(5) in `options`.
///
/// # Errors
/// Those of fsopen(2), fsconfig(2) and fsmount(2).
pub fn new_tmpfs(options: &[(&str, &str)], attributes: MountAttrFlags) -> SysResult<OwnedFd> {
    new_file_system("tmpfs", options, attributes)
}

/// Makes a detached mount of a new file system of the kernel's own: `tmpfs`, `proc`, `mqueue`.
///
/// # Errors
/// Those of fsopen(2), fsconfig(2) and fsmount(2).
pub fn new_file_system(
    kind: &'static str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> SysResult<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).during("fsopen", kind)?;
    fsconfig_set_string(&context, "source", kind).during("fsconfig", "source")?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value).during("fsconfig", key)?;
    }
    fsconfig_create(&context).during("fsconfig", "create")?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).during("fsmount", kind)
}

/// Attaches a detached mount on top of what `target` stands for.
///
/// # Errors
/// Those of move_mount(2).
pub fn attach(mount: impl AsFd, target: impl AsFd) -> SysResult<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags).during("move_mount", "")
}

/// Attaches a detached mount beneath the one that is mounted at what `target` stands for: nobody sees it until that one is
/// gone (Linux 6.5).
///
/// # Errors
/// Those of move_mount(2): `EINVAL` from an older kernel, and where nothing is mounted.
pub fn attach_beneath(mount: impl AsFd, target: impl AsFd) -> SysResult<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH
        | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH
        | MoveMountFlags::MOVE_MOUNT_BENEATH;
    move_mount(mount, "", target, "", flags).during("move_mount", "MOVE_MOUNT_BENEATH")
}

/// Takes away the topmost mount at `name` in `dir`, a link as the link itself. The calling thread's working directory is
/// `dir` from then on: it must be one that shares it with nobody.
///
/// # Errors
/// Those of fchdir(2) and umount(2): `EINVAL` if nothing is mounted there.
pub fn detach(dir: impl AsFd, name: &str) -> SysResult<()> {
    rustix::process::fchdir(dir).during("fchdir", "")?;
    let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
    unmount(name, flags).during("umount", name)
}

/// Changes attributes of the mount at `path` below `dir`, or of `dir` itself for an empty path.
///
/// # Errors
/// Those of mount_setattr(2): `EINVAL` where the file system cannot be id-mapped.
pub fn change(dir: BorrowedFd<'_>, path: &std::ffi::CStr, change: &Change<'_>) -> SysResult<()> {
    let idmap = change.idmap.map_or(0, |_| libc::MOUNT_ATTR_IDMAP);
    let userns = change.idmap.map_or(0, |fd| fd.as_raw_fd());
    let attributes = libc::mount_attr {
        attr_set: change.set | idmap,
        attr_clr: change.clear,
        propagation: if change.slave { libc::MS_SLAVE } else { 0 },
        userns_fd: u64::try_from(userns).unwrap_or(u64::MAX),
    };
    let empty = if path.is_empty() {
        libc::AT_EMPTY_PATH
    } else {
        0
    };
    let recursive = if change.recursive {
        libc::AT_RECURSIVE
    } else {
        0
    };
    // SAFETY: the path is NUL-terminated and the structure lives until the call returns; its size
    // is passed along, and the kernel reads no more than that.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            empty | recursive,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    let result = if answer == 0 {
        Ok(())
    } else {
        Err(last_error())
    };
    result.during("mount_setattr", path.to_string_lossy())
}

/// Makes every mount of the calling thread's namespace read-only and blind to set-ID bits, and
/// stops changes from leaving it.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn protect_everything() -> SysResult<()> {
    let everything = Change {
        set: RDONLY | NOSUID,
        slave: true,
        recursive: true,
        ..Change::default()
    };
    change(CWD, c"/", &everything)
}

/// Stops changes of every mount of the calling thread's namespace from leaving it.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn stop_propagation() -> SysResult<()> {
    let everything = Change {
        slave: true,
        recursive: true,
        ..Change::default()
    };
    change(CWD, c"/", &everything)
}

/// Tells whether an error of this module means that the kernel or a container has no such thing,
/// rather than that something went wrong.
pub fn is_unsupported(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM
    )
}
