//! Sockets and FIFOs in the file system.
//!
//! The file that bind(2) makes has the mode of the socket itself, less the umask (Linux, `unix_bind_bsd`). So the socket
//! gets mode 0 first: until owner and mode are set nobody but root can reach it, and the process's umask stays as it is.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawMode, Uid, chmod, chownat, fchmod, mknodat, unlinkat,
};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::super::fs::{Status, pin_beneath, status};
use super::super::{During, SysResult};

/// Binds `socket` to `path`, whose last part is `name` in `folder`. Nobody but root may be able to make `path` lead
/// elsewhere than into `folder`, or the name appears there. The file is root's, with mode 0.
///
/// # Errors
/// Those of bind(2), `EADDRINUSE` where something of that name is there; `ESTALE` where the file is not what was made.
pub fn bind(socket: &OwnedFd, path: &str, folder: impl AsFd, name: &str) -> SysResult<OwnedFd> {
    fchmod(socket, Mode::empty()).during("fchmod", path)?;
    let address = SocketAddrUnix::new(path).during("bind", path)?;
    rustix::net::bind(socket, &address).during("bind", path)?;
    made(folder, name, FileType::Socket, path)
}

/// Makes a FIFO, root's and with mode 0.
///
/// # Errors
/// Those of mknodat(2), `EEXIST` where something of that name is there; `ESTALE` as in [`bind`].
pub fn make_fifo(folder: impl AsFd, name: &str, path: &str) -> SysResult<OwnedFd> {
    mknodat(&folder, name, FileType::Fifo, Mode::empty(), 0).during("mkfifoat", path)?;
    made(folder, name, FileType::Fifo, path)
}

/// What was made just now. Somebody who has a say in the folder may have put something else there: that would get an
/// owner and a mode.
fn made(folder: impl AsFd, name: &str, kind: FileType, path: &str) -> SysResult<OwnedFd> {
    let pinned = pin_beneath(folder, name)?;
    let found = status(&pinned)?;
    if found.kind != kind || found.uid != 0 || found.mode & 0o777 != 0 {
        return Err(Errno::STALE).during("bind", format_args!("{path}, which is another file now"));
    }
    Ok(pinned)
}

/// Gives the file its owner and then its mode.
///
/// # Errors
/// Those of fchownat(2) and chmod(2).
pub fn open_to(pinned: &OwnedFd, uid: u32, gid: u32, mode: u32) -> SysResult<()> {
    let (owner, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    chownat(pinned, "", Some(owner), Some(group), AtFlags::EMPTY_PATH)
        .during("fchownat", format_args!("{uid}:{gid}"))?;
    // Through /proc, for fchmod(2) refuses a descriptor that only points (O_PATH).
    let raw: RawMode = mode;
    chmod(shown(pinned), Mode::from_raw_mode(raw)).during("chmod", format_args!("{mode:04o}"))
}

/// Opens a FIFO for reading and writing, so that it never ends when the last writer goes.
///
/// # Errors
/// Those of open(2).
pub fn open_fifo(pinned: &OwnedFd) -> SysResult<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(shown(pinned), flags, Mode::empty()).during("open", "FIFO")
}

/// Gives the pipe of a FIFO so much room.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_pipe_size(fifo: &OwnedFd, bytes: u32) -> SysResult<()> {
    let size = usize::try_from(bytes).unwrap_or(usize::MAX);
    rustix::pipe::fcntl_setpipe_size(fifo, size)
        .map(drop)
        .during("fcntl", format_args!("F_SETPIPE_SZ, {bytes}"))
}

/// What is there under a name, a link as itself. None where nothing is.
///
/// # Errors
/// Those of openat2(2) and fstat(2).
pub fn look(folder: impl AsFd, name: &str) -> SysResult<Option<(OwnedFd, Status)>> {
    match pin_beneath(folder, name) {
        Err(error) if error.errno == Errno::NOENT => Ok(None),
        pinned => {
            let pinned = pinned?;
            let found = status(&pinned)?;
            Ok(Some((pinned, found)))
        }
    }
}

/// Whether a socket's file has no socket any more: whoever listened there is gone. Nobody notices the question: it is
/// asked as one for messages, which a socket for connections refuses in another way than one that is gone.
///
/// # Errors
/// Those of socket(2) and connect(2).
pub fn is_stale(pinned: &OwnedFd) -> SysResult<bool> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None);
    let probe = probe.during("socket", "AF_UNIX")?;
    let address = SocketAddrUnix::new(shown(pinned)).during("connect", "")?;
    match connect(&probe, &address) {
        Err(Errno::CONNREFUSED) => Ok(true),
        // Of another kind; busy; or one that takes messages of its own friends alone.
        Ok(()) | Err(Errno::PROTOTYPE | Errno::AGAIN | Errno::PERM) => Ok(false),
        Err(error) => Err(error).during("connect", ""),
    }
}

/// Removes a name.
///
/// # Errors
/// Those of unlinkat(2).
pub fn remove(folder: impl AsFd, name: &str, path: &str) -> SysResult<()> {
    unlinkat(folder, name, AtFlags::empty()).during("unlinkat", path)
}

fn shown(pinned: &OwnedFd) -> String {
    format!("/proc/thread-self/fd/{}", pinned.as_raw_fd())
}
