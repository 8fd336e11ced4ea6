//! Sockets that are listened on: made, told their options, bound, and asked for connections (socket(2), bind(2),
//! listen(2), accept(2)). Those in the file system: [`file`].

pub mod file;
mod options;

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType,
    acceptfrom_with, getsockname, listen as listen_on, recv, socket_with,
};

use super::socket::credentials;
use super::{During, SysResult};
use crate::socket_unit::{Address, Kind, Listen, Options, Peer};

/// A connection, and who is at the other end.
#[derive(Debug)]
pub struct Accepted {
    /// It waits (no `O_NONBLOCK`), and is closed on execve(2).
    pub connection: OwnedFd,
    /// Both ends.
    pub peer: Peer,
}

/// Makes a socket with its options, not bound yet. It is closed on execve(2), and calls on it wait.
///
/// # Errors
/// Those of socket(2), setsockopt(2) and if_nametoindex(3).
pub fn make(listen: &Listen, options: &Options) -> SysResult<OwnedFd> {
    let kind = match listen.kind {
        Kind::Datagram => SocketType::DGRAM,
        Kind::SequentialPacket => SocketType::SEQPACKET,
        Kind::Stream | Kind::Fifo => SocketType::STREAM,
    };
    let new = |family| socket_with(family, kind, SocketFlags::CLOEXEC, None);
    let (socket, family) = match listen.address {
        Address::V4(..) => (new(AddressFamily::INET), AddressFamily::INET),
        Address::V6(..) => (new(AddressFamily::INET6), AddressFamily::INET6),
        Address::Path(_) | Address::Abstract(_) => (new(AddressFamily::UNIX), AddressFamily::UNIX),
        Address::Any(_) => match new(AddressFamily::INET6) {
            Err(Errno::AFNOSUPPORT) => (new(AddressFamily::INET), AddressFamily::INET),
            made => (made, AddressFamily::INET6),
        },
    };
    let socket = socket.during("socket", listen)?;
    options::set(&socket, family, listen.kind, options)?;
    Ok(socket)
}

/// Binds a socket that [`make`] made to an address of the Internet or to an abstract name.
///
/// # Errors
/// Those of bind(2): `EADDRINUSE`, `EADDRNOTAVAIL` among them; `ENODEV` for an interface that is not there; `EINVAL`
/// for a path, which is not bound here.
pub fn bind(socket: &OwnedFd, address: &Address) -> SysResult<()> {
    let bound = match address {
        Address::Any(port) => match family(socket)? {
            AddressFamily::INET => {
                let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, *port);
                rustix::net::bind(socket, &any)
            }
            _ => {
                let any = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, *port, 0, 0);
                rustix::net::bind(socket, &any)
            }
        },
        Address::V4(host, port) => rustix::net::bind(socket, &SocketAddrV4::new(*host, *port)),
        Address::V6(host, port, scope) => {
            let scope = scope.as_deref().map_or(Ok(0), |it| index(socket, it))?;
            rustix::net::bind(socket, &SocketAddrV6::new(*host, *port, 0, scope))
        }
        Address::Abstract(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())
            .and_then(|address| rustix::net::bind(socket, &address)),
        Address::Path(_) => Err(Errno::INVAL),
    };
    bound.during("bind", address)
}

/// The number of a network interface: it may be written as one.
fn index(socket: &OwnedFd, interface: &str) -> SysResult<u32> {
    match interface.parse::<u32>() {
        Ok(index) => Ok(index),
        Err(_) => name_to_index(socket, interface).during("if_nametoindex", interface),
    }
}

fn family(socket: &OwnedFd) -> SysResult<AddressFamily> {
    let name = getsockname(socket).during("getsockname", "")?;
    Ok(name.address_family())
}

/// Lets others connect. The kernel keeps no more of them waiting than `net.core.somaxconn`.
///
/// # Errors
/// Those of listen(2): `EADDRINUSE` among them, for two that share a port by `SO_REUSEADDR`.
pub fn listen(socket: &OwnedFd, backlog: u32, subject: &Listen) -> SysResult<()> {
    // The kernel takes an int.
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    listen_on(socket, backlog).during("listen", subject)
}

/// Says whether calls on it wait. It is said of the open socket: whoever has a copy of the descriptor is in the same
/// boat.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_waiting(descriptor: &OwnedFd, waits: bool) -> SysResult<()> {
    let flags = rustix::fs::fcntl_getfl(descriptor).during("fcntl", "F_GETFL")?;
    let wanted = match waits {
        true => flags.difference(OFlags::NONBLOCK),
        false => flags | OFlags::NONBLOCK,
    };
    rustix::fs::fcntl_setfl(descriptor, wanted).during("fcntl", "F_SETFL")
}

/// The next connection to a socket on which calls do not wait. None: nobody is there, or the one who came is gone
/// again; both are to be asked again when the socket is readable.
///
/// # Errors
/// Those of accept(2) that are about this host: no descriptors (`EMFILE`, `ENFILE`), no memory. The connection
/// still waits then, and the socket stays readable: who asks again at once asks for ever.
pub fn accept(socket: &OwnedFd) -> SysResult<Option<Accepted>> {
    let (connection, remote) = match acceptfrom_with(socket, SocketFlags::CLOEXEC) {
        Ok(accepted) => accepted,
        // accept(2): errors of the network that wait on the new connection, and a packet filter's refusal, are told
        // here. They are that one client's, and no reason to stop listening.
        Err(
            Errno::AGAIN
            | Errno::INTR
            | Errno::CONNABORTED
            | Errno::NETDOWN
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
            | Errno::TIMEDOUT
            | Errno::PERM,
        ) => return Ok(None),
        Err(error) => return Err(error).during("accept4", ""),
    };
    let peer = peer_of(&connection, remote)?;
    Ok(Some(Accepted { connection, peer }))
}

/// Who is at the other end. The address comes from accept4(2): a client that has gone meanwhile has none any more
/// (`ENOTCONN` of getpeername(2)).
fn peer_of(connection: &OwnedFd, remote: Option<SocketAddrAny>) -> SysResult<Peer> {
    let local = getsockname(connection).during("getsockname", "")?;
    let remote = remote.and_then(|it| SocketAddr::try_from(it).ok());
    if let (Ok(local), Some(remote)) = (SocketAddr::try_from(local), remote) {
        return Ok(Peer::Inet { local, remote });
    }
    let (pid, uid) = credentials(connection)?;
    // 0: a process of another PID namespace.
    Ok(match u32::try_from(pid) {
        Ok(pid) if pid != 0 => Peer::Unix { pid, uid },
        _ => Peer::Unknown(Some(uid)),
    })
}

/// Sets on a connection what it does not inherit from the socket that it came to. One of TCP has it all; of UNIX
/// sockets only credentials and labels are passed on by the kernel (`unix_sock_inherit_flags`).
///
/// # Errors
/// Those of setsockopt(2).
pub fn inherit(connection: &OwnedFd, listen: &Listen, options: &Options) -> SysResult<()> {
    match listen.address {
        Address::Path(_) | Address::Abstract(_) => {
            options::set(connection, AddressFamily::UNIX, listen.kind, options)
        }
        _ => Ok(()),
    }
}

/// Throws away what waits: connections are accepted and closed, messages and bytes are read.
///
/// # Errors
/// Those of accept(2), recv(2) and read(2).
pub fn flush(descriptor: &OwnedFd, kind: Kind) -> SysResult<()> {
    set_waiting(descriptor, false)?;
    let flushed = flush_now(descriptor, kind);
    set_waiting(descriptor, true)?;
    flushed
}

/// More than any queue holds: whoever sends as fast as we read must not keep us here.
const MOST_FLUSHED: usize = 1 << 20;

fn flush_now(descriptor: &OwnedFd, kind: Kind) -> SysResult<()> {
    let mut bytes = [0_u8; 65_536];
    for _ in 0..MOST_FLUSHED {
        let one = match kind {
            Kind::Stream | Kind::SequentialPacket => {
                acceptfrom_with(descriptor, SocketFlags::CLOEXEC).map(|_| true)
            }
            Kind::Datagram => recv(descriptor, &mut bytes, RecvFlags::DONTWAIT).map(|_| true),
            Kind::Fifo => rustix::io::read(descriptor, &mut bytes).map(|length| length > 0),
        };
        match one {
            Ok(true) | Err(Errno::INTR | Errno::CONNABORTED) => {}
            Ok(false) | Err(Errno::AGAIN) => return Ok(()),
            // An error that waits on a datagram socket (ICMP), told once.
            Err(Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH) => {}
            Err(error) => return Err(error).during("flush", kind.directive()),
        }
    }
    Ok(())
}
