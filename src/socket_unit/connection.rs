//! What a connection is called: the instance of the service that serves it.

#![forbid(unsafe_code)]

use core::net::{IpAddr, SocketAddr};

/// Both ends of a connection, as the kernel tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Of TCP.
    Inet {
        /// This end.
        local: SocketAddr,
        /// The other one.
        remote: SocketAddr,
    },
    /// Of a UNIX socket: who connected (`SO_PEERCRED`).
    Unix {
        /// The process, as it is numbered in our namespace.
        pid: u32,
        /// Its effective user then.
        uid: u32,
    },
    /// Of a UNIX socket, by a process that has no number in our namespaces; but a user it has.
    Unknown(Option<u32>),
}

/// Whose connections are counted together (`MaxConnectionsPerSource=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Those from an address.
    Address(IpAddr),
    /// Those of a local user.
    User(u32),
}

impl Peer {
    /// The instance's name, which goes between `@` and `.service`: as systemd 257 makes it
    /// (`instance_from_socket`). `number` counts the connections, so that no two are the same.
    pub fn instance(&self, number: u64) -> String {
        match self {
            Self::Inet { local, remote } => {
                let (local, remote) = plain(local, remote);
                format!("{number}-{}-{}", end(&local), end(&remote))
            }
            Self::Unix { pid, uid } => format!("{number}-{pid}-{uid}"),
            Self::Unknown(_) => format!("{number}-unknown"),
        }
    }

    /// Whose it is. None where that is not known.
    pub fn source(&self) -> Option<Source> {
        match self {
            Self::Inet { remote, .. } => Some(Source::Address(remote.ip().to_canonical())),
            // From another PID namespace too: whoever shares a socket with a container would have no limit.
            Self::Unix { uid, .. } | Self::Unknown(Some(uid)) => Some(Source::User(*uid)),
            Self::Unknown(None) => None,
        }
    }

    /// `REMOTE_ADDR` and `REMOTE_PORT`, which the service gets (systemd.socket(5), `Accept=`).
    pub fn environment(&self) -> Vec<(String, String)> {
        match self {
            Self::Inet { remote, .. } => vec![
                ("REMOTE_ADDR".into(), remote.ip().to_canonical().to_string()),
                ("REMOTE_PORT".into(), remote.port().to_string()),
            ],
            _ => Vec::new(),
        }
    }
}

/// IPv4 that came to a socket of IPv6 is written as IPv4.
fn plain(local: &SocketAddr, remote: &SocketAddr) -> (SocketAddr, SocketAddr) {
    let both = (local.ip().to_canonical(), remote.ip().to_canonical());
    match both {
        (IpAddr::V4(_), IpAddr::V4(_)) => (
            SocketAddr::new(both.0, local.port()),
            SocketAddr::new(both.1, remote.port()),
        ),
        _ => (*local, *remote),
    }
}

/// One end, without brackets and without the interface: neither fits into the name of a unit.
fn end(address: &SocketAddr) -> String {
    format!("{}:{}", address.ip(), address.port())
}
