//! What a daemon says to the service manager that started it, and what that keeps for it: sd_notify(3),
//! the file-descriptor store of systemd.service(5), sd_listen_fds(3).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::io::{Errno, FdFlags};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};

use super::passed::FIRST;
use super::{During, SysResult};

/// How long the service manager may leave its socket full before that is an error.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than a service manager ever keeps for one service.
const MOST: RawFd = 65_536;

/// Descriptors that the service manager kept for us, by the names that we gave them.
#[derive(Debug, Default)]
pub struct Inherited {
    descriptors: Vec<(String, OwnedFd)>,
}

impl Inherited {
    /// Takes them: `LISTEN_FDS` and `LISTEN_FDNAMES`, if `LISTEN_PID` says that they are for this process
    /// and not for one that has merely started it. Those that are closed after all are left out.
    ///
    /// To be called first of all, before this process opens anything: a descriptor that is named is believed
    /// to belong to nobody yet.
    pub fn take() -> Self {
        let number = |name| std::env::var(name).ok()?.parse::<RawFd>().ok();
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        if number("LISTEN_PID") != Some(pid) {
            return Self::default();
        }
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let end = FIRST.saturating_add(number("LISTEN_FDS").unwrap_or(0).clamp(0, MOST));
        let descriptors = (FIRST..end)
            .zip(names.split(':').chain(std::iter::repeat("")))
            .filter_map(|(raw, name)| Some((name.to_owned(), adopt(raw)?)))
            .collect();
        Self { descriptors }
    }

    /// The descriptors by the numbers in their names, of those whose name is `prefix` and a number. All
    /// others are closed.
    pub fn numbered(self, prefix: &str) -> BTreeMap<u32, OwnedFd> {
        let numbered = self.descriptors.into_iter().filter_map(|(name, fd)| {
            let number = name.strip_prefix(prefix)?.parse().ok()?;
            Some((number, fd))
        });
        numbered.collect()
    }

    /// Their numbers in this process, in rising order.
    pub(super) fn raw(&self) -> impl Iterator<Item = RawFd> {
        self.descriptors.iter().map(|(_, fd)| fd.as_raw_fd())
    }
}

/// Takes a descriptor that was passed to this process, if there is one.
fn adopt(raw: RawFd) -> Option<OwnedFd> {
    // SAFETY: borrowed for one fcntl(2), which tells whether it is open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
    rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is open, it was passed to this very process (LISTEN_PID), and nothing in it
    // has opened or taken a descriptor yet, as `take` demands.
    Some(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// The service manager that started this process and wants to hear of it.
#[derive(Debug)]
pub struct ServiceManager {
    socket: OwnedFd,
    address: SocketAddrUnix,
}

impl ServiceManager {
    /// The one behind `NOTIFY_SOCKET`; `None` if there is none.
    ///
    /// Whoever is started by a service inherits that variable from it, and must not ask this: the daemon in
    /// the background does not.
    ///
    /// # Errors
    /// Those of socket(2); `ENAMETOOLONG` for an address that is too long, `EAFNOSUPPORT` for one that is no
    /// UNIX socket.
    pub fn from_environment() -> SysResult<Option<Self>> {
        match std::env::var_os("NOTIFY_SOCKET") {
            Some(address) if !address.is_empty() => Self::at(&address).map(Some),
            _ => Ok(None),
        }
    }

    fn at(address: &OsStr) -> SysResult<Self> {
        let shown = address.display();
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
            path @ [b'/', ..] => SocketAddrUnix::new(path),
            _ => Err(Errno::AFNOSUPPORT),
        };
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .during("socket", "AF_UNIX")?;
        // Nobody may wait for us for ever because the service manager is stuck.
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))
            .during("setsockopt", "SO_SNDTIMEO")?;
        Ok(Self {
            socket,
            address: address.during("NOTIFY_SOCKET", shown)?,
        })
    }

    /// Says that this daemon can be asked now.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn ready(&self) -> SysResult<()> {
        self.send("READY=1", &[])
    }

    /// Says that this daemon is on its way out.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn stopping(&self) -> SysResult<()> {
        self.send("STOPPING=1", &[])
    }

    /// Has a copy of `descriptor` kept until [`forget`](Self::forget), whatever happens to this process, and
    /// passed to the next one of this service ([`Inherited`]). From the moment this returns the copy exists,
    /// even if the service manager has not looked at it yet: the kernel keeps it with the message.
    ///
    /// No error tells that the store is full or not allowed (`FileDescriptorStoreMax=`).
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn keep(&self, name: &str, descriptor: impl AsFd) -> SysResult<()> {
        // FDPOLL=0 (systemd 246): a file says of itself that it is ready, never that it is of no use.
        let words = format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0");
        self.send(&words, &[descriptor.as_fd()])
    }

    /// Has what is kept under `name` closed (systemd 236).
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn forget(&self, name: &str) -> SysResult<()> {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[])
    }

    fn send(&self, words: &str, descriptors: &[BorrowedFd<'_>]) -> SysResult<()> {
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(descriptors));
            }
            match rustix::net::sendmsg_addr(
                &self.socket,
                &self.address,
                &[IoSlice::new(words.as_bytes())],
                &mut control,
                SendFlags::NOSIGNAL,
            ) {
                Err(Errno::INTR) => {}
                sent => return sent.map(drop).during("sendmsg", "NOTIFY_SOCKET"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::sys::socket::receive_now;

    #[test]
    fn words_and_a_copy_of_a_descriptor_arrive() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let receiver = UnixDatagram::bind(&path).expect("bind");
        let manager = ServiceManager::at(path.as_os_str()).expect("an address");
        let file = std::fs::File::open(dir.path()).expect("open");
        let hear = || {
            let mut bytes = [0; 100];
            let (length, descriptors) = receive_now(&receiver, &mut bytes).expect("a message");
            let words = String::from_utf8_lossy(bytes.get(..length).expect("bytes")).into_owned();
            (words, descriptors.len())
        };
        manager.ready().expect("ready");
        assert_eq!(hear(), ("READY=1".into(), 0));
        manager.keep("x-1", &file).expect("keep");
        assert_eq!(hear(), ("FDSTORE=1\nFDNAME=x-1\nFDPOLL=0".into(), 1));
        manager.forget("x-1").expect("forget");
        assert_eq!(hear(), ("FDSTOREREMOVE=1\nFDNAME=x-1".into(), 0));
        drop(receiver);
        assert_eq!(
            manager.stopping().expect_err("nobody listens").errno,
            Errno::CONNREFUSED
        );
    }

    #[test]
    fn addresses_of_other_families_are_refused() {
        for bad in ["vsock:2:1234", "relative"] {
            assert!(ServiceManager::at(OsStr::new(bad)).is_err(), "{bad}");
        }
        assert!(ServiceManager::at(OsStr::new("@abstract")).is_ok());
    }

    #[test]
    fn only_names_with_the_prefix_and_a_number_are_taken() {
        let fd = || OwnedFd::from(std::fs::File::open("/").expect("open"));
        let names = ["dynuser-61200", "dynuser-x", "stored", "dynuser-61201", ""];
        let descriptors = names.map(|name| (name.to_owned(), fd())).into();
        let numbered = Inherited { descriptors }.numbered("dynuser-");
        assert_eq!(numbered.into_keys().collect::<Vec<u32>>(), [61200, 61201]);
    }
}
