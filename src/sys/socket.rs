//! UNIX sockets: who is at the other end, and descriptors that come along with bytes.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
};
use rustix::process::{Pid, PidfdFlags};

use super::{During, SysResult, last_error};

/// The process that connected, as the kernel remembers it.
#[derive(Debug)]
pub struct Peer {
    /// Stands for that very process, whatever becomes of its number.
    pub pidfd: OwnedFd,
    /// Its number when it connected.
    pub pid: Pid,
    /// The effective user ID that it had when it connected.
    pub uid: u32,
}

/// Who connected to `socket` (unix(7), `SO_PEERCRED` and `SO_PEERPIDFD`).
///
/// # Errors
/// Those of getsockopt(2); `ESRCH` if the process is gone or out of sight in another PID namespace.
pub fn peer(socket: impl AsFd) -> SysResult<Peer> {
    let socket = socket.as_fd();
    // SO_PEERCRED gives 0 for a process that cannot be seen from here, which rustix's type for
    // process IDs has no room for: so the number is looked at first.
    let credentials = raw_credentials(&socket)?;
    let pid = Pid::from_raw(credentials.pid).ok_or(Errno::SRCH).during(
        "getsockopt",
        "SO_PEERCRED: the caller is in another PID namespace",
    )?;
    let pidfd = match peer_pidfd(&socket) {
        // Before Linux 6.5: by number. The caller waits for our answer on this socket, so its
        // number is its own for now, unless it is gone already: then the lease has no holder and
        // ends at once.
        Err(Errno::NOPROTOOPT) => rustix::process::pidfd_open(pid, PidfdFlags::empty())
            .during("pidfd_open", credentials.pid)?,
        pidfd => pidfd.during("getsockopt", "SO_PEERPIDFD")?,
    };
    Ok(Peer {
        pidfd,
        pid,
        uid: credentials.uid,
    })
}

/// The effective user ID of the process at the other end, which may be in another PID namespace.
///
/// # Errors
/// Those of getsockopt(2).
pub fn peer_uid(socket: impl AsFd) -> SysResult<u32> {
    Ok(raw_credentials(&socket)?.uid)
}

/// Connects to the stream socket at `path`, without waiting; `None` if nobody listens there.
///
/// # Errors
/// Those of socket(2) and connect(2): `EAGAIN` if more wait there already than the server lets wait.
pub fn connect_now(path: &str) -> SysResult<Option<OwnedFd>> {
    // Non-blocking, since connect(2) would wait for ever where nobody accepts any more.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).during("socket", path)?;
    let address = SocketAddrUnix::new(path).during("connect", path)?;
    match connect(&socket, &address) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::CONNREFUSED) => Ok(None),
        connected => connected.during("connect", path).map(|()| Some(socket)),
    }
}

/// Tells whether somebody listens at `path`.
///
/// # Errors
/// As [`connect_now`], but that more wait than may is an answer, too.
pub fn answers(path: &str) -> SysResult<bool> {
    match connect_now(path) {
        Err(error) if error.errno == Errno::AGAIN => Ok(true),
        found => Ok(found?.is_some()),
    }
}

/// The number of the process at the other end, 0 for one of another PID namespace, and its effective user ID.
///
/// # Errors
/// Those of getsockopt(2).
pub fn credentials(socket: impl AsFd) -> SysResult<(i32, u32)> {
    let credentials = raw_credentials(&socket)?;
    Ok((credentials.pid, credentials.uid))
}

fn raw_credentials(socket: &impl AsFd) -> SysResult<libc::ucred> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    get_option(socket, libc::SO_PEERCRED, &mut credentials).during("getsockopt", "SO_PEERCRED")?;
    Ok(credentials)
}

fn peer_pidfd(socket: &impl AsFd) -> Result<OwnedFd, Errno> {
    let mut raw: libc::c_int = -1;
    get_option(socket, libc::SO_PEERPIDFD, &mut raw)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Reads an option of the socket level into a plain value of the C ABI.
fn get_option<T: Copy>(
    socket: &impl AsFd,
    option: libc::c_int,
    value: &mut T,
) -> Result<(), Errno> {
    let mut length = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the kernel writes at most `length` bytes, the size of `value`, and callers of this
    // private function pass the type that belongs to the option, of which any bytes are a value.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_mut(value).cast(),
            &raw mut length,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(last_error())
    }
}

/// Most descriptors that come with one piece of a message.
const MOST_DESCRIPTORS: usize = 16;

/// Sends what goes without waiting, with the descriptors; a peer that is gone gives `EPIPE`, never
/// a signal.
///
/// # Errors
/// Those of sendmsg(2).
pub fn send_now(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(send(socket, bytes, descriptors, flags)?)
}

fn send(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOMANYREFS);
    }
    rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags)
}

/// Sends all of `bytes`, waiting as long as that takes.
///
/// # Errors
/// Those of sendmsg(2).
pub fn send_all(socket: impl AsFd, mut bytes: &[u8]) -> SysResult<()> {
    while !bytes.is_empty() {
        match send(&socket, bytes, &[], SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).during("sendmsg", ""),
        }
    }
    Ok(())
}

/// Receives what there is without waiting, and the descriptors that came with it: 0 bytes when the
/// peer has closed the connection.
///
/// # Errors
/// Those of recvmsg(2).
pub fn receive_now(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    Ok(receive_once(socket, bytes, RecvFlags::DONTWAIT)?)
}

fn receive_once(
    socket: impl AsFd,
    bytes: &mut [u8],
    flags: RecvFlags,
) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(bytes)];
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(&socket, &mut slices, &mut control, flags)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok((received.bytes, descriptors))
}

/// Waits for bytes and appends them to `bytes`, and the descriptors that came with them to
/// `descriptors`. Gives the number of bytes: 0 when the peer has closed the connection.
///
/// # Errors
/// Those of recvmsg(2).
pub fn receive(
    socket: impl AsFd,
    bytes: &mut Vec<u8>,
    descriptors: &mut Vec<OwnedFd>,
) -> SysResult<usize> {
    let mut chunk = [0_u8; 4096];
    let (length, more) = loop {
        match receive_once(&socket, &mut chunk, RecvFlags::empty()) {
            Err(Errno::INTR) => {}
            received => break received.during("recvmsg", "")?,
        }
    };
    descriptors.extend(more);
    bytes.extend_from_slice(chunk.get(..length).unwrap_or_default());
    Ok(length)
}

/// Ends a connection for both sides (shutdown(2)).
///
/// # Errors
/// Those of the call, but that it had ended already.
pub fn shut_down(socket: impl AsFd) -> io::Result<()> {
    match rustix::net::shutdown(socket, rustix::net::Shutdown::Both) {
        Err(Errno::NOTCONN) => Ok(()),
        done => Ok(done?),
    }
}
