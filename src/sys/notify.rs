//! The socket of sd_notify(3): who sent a message is the kernel's word (unix(7), `SCM_CREDENTIALS`), not the
//! sender's.

use std::ffi::OsStr;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, chmodat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, sendto, socket_with,
    sockopt,
};

use super::{During, SysResult, last_error};

/// A message.
#[derive(Debug)]
pub struct Message {
    /// Its bytes; of one that is too long there are none.
    pub bytes: Vec<u8>,
    /// The PID of its sender, in our PID namespace: 0 for a process that has none there.
    pub pid: u32,
    /// The UID of its sender, in our user namespace.
    pub uid: u32,
}

/// The socket, bound to a path.
#[derive(Debug)]
pub struct NotifySocket {
    descriptor: OwnedFd,
}

impl NotifySocket {
    /// Makes it at `path`, which must not be there, for everybody to send to: services have UIDs of their
    /// own, and who may is decided message by message.
    ///
    /// # Errors
    /// Those of socket(2), bind(2), setsockopt(2) and chmod(2).
    pub fn bind(path: &Path) -> SysResult<Self> {
        let subject = path.display();
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let descriptor = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
            .during("socket", &subject)?;
        let address = SocketAddrUnix::new(path).during("bind", &subject)?;
        // Before anybody can send: a message without credentials is nobody's.
        sockopt::set_socket_passcred(&descriptor, true).during("setsockopt", &subject)?;
        bind(&descriptor, &address).during("bind", &subject)?;
        chmodat(CWD, path, Mode::from_raw_mode(0o666), AtFlags::empty())
            .during("chmod", &subject)?;
        Ok(Self { descriptor })
    }

    /// The next message that has arrived, if there is one. Descriptors that come with it are closed: for
    /// `BARRIER=1` that is the answer, and nothing is stored for `FDSTORE=1`.
    ///
    /// # Errors
    /// Those of recvmsg(2).
    pub fn next(&self) -> SysResult<Option<Message>> {
        // One byte more than the longest that is read: what fills it is too long.
        let mut bytes = vec![0_u8; LONGEST.saturating_add(1)];
        let mut control = [0_u64; CONTROL];
        let (length, control_length) = match receive(&self.descriptor, &mut bytes, &mut control) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            received => received.during("recvmsg", "notify socket")?,
        };
        let (pid, uid) = read_control(&control, control_length);
        bytes.truncate(if length > LONGEST { 0 } else { length });
        Ok(Some(Message { bytes, pid, uid }))
    }
}

/// Room for credentials and for as many descriptors as a message can have (253, unix(7)), in units of 8
/// bytes, as the headers want to be aligned. Descriptors for which there were no room the kernel closes.
const CONTROL: usize = 160;

/// Receives a message without waiting: the lengths of it and of what came with it.
fn receive(
    descriptor: &OwnedFd,
    bytes: &mut [u8],
    control: &mut [u64; CONTROL],
) -> Result<(usize, usize), Errno> {
    let mut piece = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zero bytes are a msghdr that names nothing.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = &raw mut piece;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    // The type differs between C libraries.
    #[allow(clippy::useless_conversion)]
    let room = size_of::<[u64; CONTROL]>().try_into();
    header.msg_controllen = room.map_err(|_| Errno::INVAL)?;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the header names two buffers that live here, with their lengths.
    let length = unsafe { libc::recvmsg(descriptor.as_raw_fd(), &raw mut header, flags) };
    let Ok(length) = usize::try_from(length) else {
        return Err(last_error());
    };
    #[allow(clippy::useless_conversion)]
    let control_length = usize::try_from(header.msg_controllen).unwrap_or(0);
    Ok((length, control_length))
}

/// Goes through what came with a message (cmsg(3)): the sender's PID and UID. Descriptors are closed.
///
/// By hand, and not by a library's type for the credentials: the PID is 0 for a sender in another PID
/// namespace, which no type for PIDs can hold.
fn read_control(control: &[u64; CONTROL], length: usize) -> (u32, u32) {
    let bytes: Vec<u8> = control.iter().flat_map(|it| it.to_ne_bytes()).collect();
    let mut rest = bytes.get(..length).unwrap_or(&bytes);
    let (mut pid, mut uid) = (0, u32::MAX);
    while let Some((head, body)) = header(rest) {
        match head {
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
                pid = number(body, 0)
                    .and_then(|it| u32::try_from(it).ok())
                    .unwrap_or(0);
                uid = number(body, 1).map_or(u32::MAX, i32::cast_unsigned);
            }
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                let mut at: usize = 0;
                while let Some(descriptor) = number(body, at) {
                    close(descriptor);
                    at = at.saturating_add(1);
                }
            }
            _ => {}
        }
        let step = HEADER.saturating_add(body.len()).next_multiple_of(8);
        rest = rest.get(step..).unwrap_or_default();
    }
    (pid, uid)
}

/// The size of a header: a length, a level and a type, without gaps on the 64-bit architectures.
const HEADER: usize = size_of::<libc::cmsghdr>();

/// The level and the type of the first of several control messages, and its content.
fn header(rest: &[u8]) -> Option<((i32, i32), &[u8])> {
    let size = size_of::<libc::size_t>();
    let length = usize::from_ne_bytes(rest.get(..size)?.try_into().ok()?);
    let level = number(rest.get(size..)?, 0)?;
    let kind = number(rest.get(size..)?, 1)?;
    Some(((level, kind), rest.get(HEADER..length)?))
}

/// The number at a place, counted in numbers.
fn number(bytes: &[u8], at: usize) -> Option<i32> {
    let start = at.checked_mul(4)?;
    let four = bytes.get(start..start.checked_add(4)?)?;
    Some(i32::from_ne_bytes(four.try_into().ok()?))
}

fn close(descriptor: RawFd) {
    if descriptor > 2 {
        // SAFETY: the kernel has just made it for this message, and nobody else knows it.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
    }
}

/// The longest message, in bytes (`NOTIFY_BUFFER_MAX` of systemd).
const LONGEST: usize = 4096;

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Sends a message to the socket that somebody outside listens to: a path, or `@` and an abstract name.
///
/// # Errors
/// Those of socket(2) and sendto(2); `EINVAL` for an address that is neither.
pub fn tell(address: &OsStr, message: &[u8]) -> SysResult<()> {
    let subject = address.display();
    let unix = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
        [b'/', ..] => SocketAddrUnix::new(Path::new(address)),
        _ => Err(Errno::INVAL),
    }
    .during("sendto", &subject)?;
    let flags = SocketFlags::CLOEXEC;
    let descriptor = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
        .during("socket", &subject)?;
    // A supervisor that does not read must not stop the service.
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendto(&descriptor, message, flags, &unix)
        .map(drop)
        .during("sendto", &subject)
}

/// Whether nobody receives at a socket any more: whoever did was killed, and could not remove it.
///
/// # Errors
/// Those of socket(2) and connect(2).
pub fn is_abandoned(path: &Path) -> SysResult<bool> {
    let address = SocketAddrUnix::new(path).during("connect", path.display())?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let descriptor = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
        .during("socket", path.display())?;
    match rustix::net::connect(&descriptor, &address) {
        Err(Errno::CONNREFUSED) => Ok(true),
        connected => connected.map(|()| false).during("connect", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, sendmsg_addr};

    use super::*;

    fn bound() -> (tempfile::TempDir, NotifySocket, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = NotifySocket::bind(&path).unwrap();
        (folder, socket, path)
    }

    #[test]
    fn the_kernel_says_who_sent_a_message() {
        let (_folder, socket, path) = bound();
        assert!(socket.next().unwrap().is_none());
        tell(path.as_os_str(), b"READY=1").unwrap();
        let message = socket.next().unwrap().unwrap();
        assert_eq!(message.bytes, b"READY=1");
        assert_eq!(message.pid, std::process::id());
        assert_eq!(message.uid, rustix::process::geteuid().as_raw());
        tell(path.as_os_str(), &[b'x'; LONGEST + 1]).unwrap();
        assert!(socket.next().unwrap().unwrap().bytes.is_empty());
        tell(path.as_os_str(), b"").unwrap();
        assert!(socket.next().unwrap().unwrap().bytes.is_empty());
        assert!(!is_abandoned(&path).unwrap());
        drop(socket);
        assert!(is_abandoned(&path).unwrap());
    }

    #[test]
    /// `BARRIER=1`: the sender waits until its pipe is closed.
    fn descriptors_are_closed_which_answers_a_barrier() {
        let (_folder, socket, path) = bound();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let sender = socket_with(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let descriptors = vec![writer.as_fd(); 253];
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let address = SocketAddrUnix::new(&path).unwrap();
        let text = [IoSlice::new(b"BARRIER=1")];
        sendmsg_addr(&sender, &address, &text, &mut control, SendFlags::empty()).unwrap();
        drop(writer);
        let message = socket.next().unwrap().unwrap();
        assert_eq!(message.bytes, b"BARRIER=1");
        assert_eq!(message.pid, std::process::id());
        // End of file, at once: no descriptor of the writing end is left.
        assert_eq!(rustix::io::read(&reader, &mut [0; 1]).unwrap(), 0);
    }
}
