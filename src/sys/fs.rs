//! Files and directories, by descriptor.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, RawMode, ResolveFlags, Stat, StatxAttributes,
    StatxFlags, Uid, statx,
};
use rustix::io::Errno;

pub use super::trusted::{open_file_trusted, open_trusted, pin_trusted};

use super::remove::FileId;
use super::{During, SysResult};

/// What a directory may be opened for without ever following a link or leaving its parent.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// Owner, group and mode of what a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// What kind of thing it is.
    pub kind: FileType,
    /// Which one it is.
    pub id: FileId,
}

impl From<Stat> for Status {
    fn from(stat: Stat) -> Self {
        Self {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            kind: FileType::from_raw_mode(stat.st_mode),
            id: (stat.st_dev, stat.st_ino),
        }
    }
}

/// Owner, group, mode and kind of `fd` (fstat(2)).
///
/// # Errors
/// Those of the call.
pub fn status(fd: impl AsFd) -> SysResult<Status> {
    rustix::fs::fstat(fd).map(Status::from).during("fstat", "")
}

/// Tells whether something is mounted at what `fd` stands for (statx(2), `STATX_ATTR_MOUNT_ROOT`).
///
/// # Errors
/// Those of the call.
pub fn is_mount_point(fd: impl AsFd) -> SysResult<bool> {
    let stat = statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::empty()).during("statx", "")?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Opens a directory that somebody named, wherever links on the way lead: what is read or written there must be
/// his to read or write.
///
/// # Errors
/// Those of openat(2).
pub fn open_named_directory(path: &str) -> SysResult<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).during("openat", path)
}

/// Opens a directory below `dir` for reading: no link is followed, nothing outside is reached.
///
/// # Errors
/// Those of openat2(2); `ELOOP` or `ENOTDIR` where a link is on the way.
pub fn open_beneath(dir: impl AsFd, path: &str) -> SysResult<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = if path.is_empty() { "." } else { path };
    rustix::fs::openat2(dir, path, flags, Mode::empty(), BENEATH).during("openat2", path)
}

/// Opens the file `name` below `dir` for reading: no link is followed, nothing outside is reached,
/// and a FIFO is not waited for.
///
/// # Errors
/// Those of openat2(2); `ELOOP` where a link is on the way.
pub fn open_file_beneath(dir: impl AsFd, name: &str) -> SysResult<OwnedFd> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat2(dir, name, flags, Mode::empty(), BENEATH).during("openat2", name)
}

/// Reads a file to its end; `None` if it has more than `limit` bytes.
///
/// # Errors
/// Those of read(2).
pub fn read_at_most(fd: impl AsFd, limit: usize) -> SysResult<Option<Vec<u8>>> {
    let mut read = Vec::new();
    let mut piece = [0; 8192];
    loop {
        let length = rustix::io::retry_on_intr(|| rustix::io::read(fd.as_fd(), &mut piece))
            .during("read", "")?;
        read.extend(piece.iter().take(length));
        if length == 0 || read.len() > limit {
            return Ok((length == 0).then_some(read));
        }
    }
}

/// The names in the directory `fd`, open for reading, without `.` and `..`.
///
/// # Errors
/// Those of getdents64(2); `EILSEQ` for a name that is not UTF-8.
pub fn file_names(fd: impl AsFd) -> SysResult<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(fd).during("getdents64", "")? {
        let entry = entry.during("getdents64", "")?;
        let name = entry.file_name().to_str();
        let name = name.map_err(|_| Errno::ILSEQ).during("getdents64", "")?;
        if !matches!(name, "." | "..") {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Like [`file_names`], but names that are not UTF-8 are counted instead.
///
/// # Errors
/// Those of getdents64(2).
pub fn shown_names(fd: impl AsFd) -> SysResult<(Vec<String>, usize)> {
    let (mut names, mut others) = (Vec::new(), 0_usize);
    for entry in Dir::read_from(fd).during("getdents64", "")? {
        let entry = entry.during("getdents64", "")?;
        match entry.file_name().to_str() {
            Ok("." | "..") => {}
            Ok(name) => names.push(name.to_owned()),
            Err(_) => others = others.saturating_add(1),
        }
    }
    Ok((names, others))
}

/// Opens whatever is at `path` below `dir` as `O_PATH`, a link as the link itself.
///
/// # Errors
/// Those of openat2(2); `ELOOP` or `ENOTDIR` where a link is on the way there.
pub fn pin_beneath(dir: impl AsFd, path: &str) -> SysResult<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(dir, path, flags, Mode::empty(), BENEATH).during("openat2", path)
}

/// Opens what is at an absolute path as `O_PATH`, if no link is on the way.
///
/// # Errors
/// Those of openat2(2), `ELOOP` for a link among them.
pub fn pin_without_links(path: &std::path::Path) -> SysResult<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve).during("openat2", path.display())
}

/// The target of the symbolic link that `fd` (`O_PATH`) stands for.
///
/// # Errors
/// Those of readlinkat(2); `EILSEQ` for a target that is not UTF-8.
pub fn link_target(fd: impl AsFd) -> SysResult<String> {
    rustix::fs::readlinkat(fd, "", Vec::new())
        .and_then(|target| target.into_string().map_err(|_| Errno::ILSEQ))
        .during("readlinkat", "")
}

/// Tells whether the directory `fd`, open for reading, is empty.
///
/// # Errors
/// Those of getdents64(2).
pub fn is_empty(fd: impl AsFd) -> SysResult<bool> {
    for entry in Dir::read_from(fd).during("getdents64", "")? {
        let entry = entry.during("getdents64", "")?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes the directory `name` in `dir` and opens it. It belongs to root and nobody else may enter
/// it yet: the caller gives it its owner, then its mode.
///
/// # Errors
/// Those of mkdirat(2), `EEXIST` among them, and of openat2(2).
pub fn make_directory(dir: impl AsFd, name: &str) -> SysResult<OwnedFd> {
    rustix::fs::mkdirat(&dir, name, Mode::RWXU).during("mkdirat", name)?;
    open_beneath(dir, name)
}

/// Sets owner and group (fchown(2)).
///
/// # Errors
/// Those of the call.
pub fn set_owner(fd: impl AsFd, uid: u32, gid: u32) -> SysResult<()> {
    let subject = format!("{uid}:{gid}");
    rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .during("fchown", subject)
}

/// Sets the permission bits (fchmod(2)).
///
/// # Errors
/// Those of the call.
pub fn set_mode(fd: impl AsFd, mode: u32) -> SysResult<()> {
    let raw: RawMode = mode;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(raw)).during("fchmod", format!("{mode:04o}"))
}

/// Makes the empty file `name` in `dir`, for root alone.
///
/// # Errors
/// Those of openat(2), `EEXIST` among them.
pub fn make_file(dir: impl AsFd, name: &str) -> SysResult<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::openat(dir, name, flags, mode)
        .map(drop)
        .during("openat", name)
}

/// The path under which the kernel knows what `fd` stands for (proc_pid_fd(5)).
///
/// # Errors
/// Those of readlink(2): /proc must be mounted.
pub fn path_of(fd: impl AsFd) -> SysResult<std::path::PathBuf> {
    let link = format!("/proc/thread-self/fd/{}", fd.as_fd().as_raw_fd());
    std::fs::read_link(&link).during("readlink", link)
}

/// Makes the symbolic link `name` in `dir`.
///
/// # Errors
/// Those of symlinkat(2).
pub fn make_link(dir: impl AsFd, name: &str, target: &str) -> SysResult<()> {
    rustix::fs::symlinkat(target, dir, name).during("symlinkat", name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_of_others_are_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_string();
        std::fs::create_dir(path("real")).expect("mkdir");
        symlink("real", path("link")).expect("symlink");
        assert!(open_trusted(&path("real")).is_ok());
        // tempfile's directories are 0700, so only their owner can change them; whether the link
        // is followed depends on whether that owner is root.
        let root = rustix::process::geteuid().is_root();
        assert_eq!(open_trusted(&path("link")).is_ok(), root);
        if root {
            std::os::unix::fs::lchown(path("link"), Some(1000), None).expect("lchown");
            assert_eq!(
                open_trusted(&path("link")).map_err(|e| e.errno).map(drop),
                Err(Errno::PERM)
            );
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_limit_and_a_fifo_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let top = open_trusted(dir.path().to_str().expect("UTF-8")).expect("open");
        std::fs::write(dir.path().join("file"), vec![b'x'; 20_000]).expect("write");
        symlink("file", dir.path().join("link")).expect("symlink");
        let read = |limit| {
            let file = open_file_beneath(&top, "file").expect("open");
            read_at_most(file, limit)
                .expect("read")
                .map(|text| text.len())
        };
        assert_eq!((read(20_000), read(19_999)), (Some(20_000), None));
        let link = open_file_beneath(&top, "link").map_err(|error| error.errno);
        assert_eq!(link.err(), Some(Errno::LOOP));
        rustix::fs::mknodat(&top, "fifo", FileType::Fifo, Mode::RWXU, 0).expect("mknodat");
        let fifo = open_file_beneath(&top, "fifo").expect("no waiting");
        assert_eq!(status(&fifo).expect("status").kind, FileType::Fifo);
        let mut names = file_names(open_beneath(&top, "").expect("open")).expect("names");
        names.sort_unstable();
        assert_eq!(names, ["fifo", "file", "link"]);
    }

    #[test]
    fn nothing_outside_and_no_link_is_reached_from_beneath() {
        let dir = tempfile::tempdir().expect("a directory");
        let top = open_trusted(dir.path().to_str().expect("UTF-8")).expect("open");
        std::fs::create_dir_all(dir.path().join("a/b")).expect("mkdir");
        symlink("a", dir.path().join("link")).expect("symlink");
        assert!(open_beneath(&top, "a/b").is_ok());
        for bad in ["link", "link/b", "..", "/etc", "a/../.."] {
            assert!(open_beneath(&top, bad).is_err(), "{bad}");
        }
        assert!(
            pin_beneath(&top, "link").is_ok(),
            "the link itself is there"
        );
        assert!(pin_beneath(&top, "link/b").is_err());
    }
}
