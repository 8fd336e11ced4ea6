//! UNIX sockets: who is at the other end, and descriptors that come along with bytes.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags,
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

/// Sends all of `bytes`; a peer that is gone gives `EPIPE`, never a signal.
///
/// # Errors
/// Those of sendmsg(2).
pub fn send_all(socket: impl AsFd, mut bytes: &[u8]) -> SysResult<()> {
    while !bytes.is_empty() {
        let slices = [IoSlice::new(bytes)];
        let mut control = SendAncillaryBuffer::default();
        match rustix::net::sendmsg(&socket, &slices, &mut control, SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).during("sendmsg", ""),
        }
    }
    Ok(())
}

/// Receives what there is, appended to `bytes`, and the descriptors that came with it. Gives the
/// number of bytes: 0 when the peer has closed the connection.
///
/// # Errors
/// Those of recvmsg(2).
pub fn receive(
    socket: impl AsFd,
    bytes: &mut Vec<u8>,
    descriptors: &mut Vec<OwnedFd>,
) -> SysResult<usize> {
    let mut chunk = [0_u8; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut slices = [IoSliceMut::new(&mut chunk)];
        match rustix::net::recvmsg(&socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            received => break received.during("recvmsg", "")?,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    bytes.extend_from_slice(chunk.get(..received.bytes).unwrap_or_default());
    Ok(received.bytes)
}
