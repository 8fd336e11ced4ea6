//! Addresses to listen on, as systemd.socket(5) writes them. What that page leaves open is as systemd 257 has it:
//! it was asked (the table in the tests).

#![forbid(unsafe_code)]

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::Kind;
use crate::sizes;

/// The longest path of a socket, in bytes: `sun_path` holds one more, the NUL at its end (unix(7)).
const LONGEST_PATH: usize = 107;

/// The longest abstract name, in bytes, without the NUL (or `@`) in front: systemd's limit, one below the kernel's.
const LONGEST_ABSTRACT: usize = 106;

/// The longest path of a FIFO, in bytes: `PATH_MAX`, without the NUL at its end.
pub(super) const LONGEST_FIFO: usize = 4095;

/// The longest name of a network interface, in bytes: `IFNAMSIZ`, without the NUL at its end.
const LONGEST_INTERFACE: usize = 15;

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// Every address of the host: `[::]`, with IPv4 unless `BindIPv6Only=` says otherwise; `0.0.0.0` where the
    /// kernel has no IPv6. Written as a port alone.
    Any(u16),
    /// An IPv4 address and a port.
    V4(Ipv4Addr, u16),
    /// An IPv6 address, a port, and the interface (a name or a number) that a link-local address is on.
    V6(Ipv6Addr, u16, Option<String>),
    /// A path in the file system: absolute, without `.`, `..` and empty parts.
    Path(String),
    /// A name in the abstract namespace of UNIX sockets, without the `@`.
    Abstract(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(port) => write!(f, "[::]:{port}"),
            Self::V4(address, port) => write!(f, "{address}:{port}"),
            Self::V6(address, port, None) => write!(f, "[{address}]:{port}"),
            Self::V6(address, port, Some(scope)) => write!(f, "[{address}]:{port}%{scope}"),
            Self::Path(path) => write!(f, "{path}"),
            Self::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

impl Address {
    /// The path, of one in the file system.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Path(path) => Some(path),
            _ => None,
        }
    }

    /// Whether it is of the Internet: TCP or UDP.
    pub fn is_inet(&self) -> bool {
        matches!(self, Self::Any(_) | Self::V4(..) | Self::V6(..))
    }

    /// Reads an address for a socket of that kind.
    ///
    /// # Errors
    /// A sentence that says why it is none, or that this family or kind is not supported.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, String> {
        let address = match kind {
            Kind::Fifo => Self::Path(path(text, LONGEST_FIFO)?),
            _ if text.starts_with('/') => Self::Path(path(text, LONGEST_PATH)?),
            _ => match text.strip_prefix('@') {
                Some(name) => abstract_name(name)?,
                None => inet(text)?,
            },
        };
        if kind == Kind::SequentialPacket && address.is_inet() {
            return Err(format!(
                "{text:?}: only UNIX sockets keep sequential packets: write a path or @name"
            ));
        }
        Ok(address)
    }
}

/// An absolute path, tidied up.
pub(super) fn path(text: &str, longest: usize) -> Result<String, String> {
    let bad = |why: &str| Err(format!("{text:?} {why}"));
    let Some(relative) = text.strip_prefix('/') else {
        return bad("is not an absolute path");
    };
    if text.chars().any(char::is_control) {
        return bad("holds a control character");
    }
    let mut parts = Vec::new();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            // Which directory that is depends on links.
            ".." => return bad("holds .. and may be another path than it looks"),
            part => parts.push(part),
        }
    }
    if parts.is_empty() || relative.ends_with('/') {
        return bad("names no file");
    }
    let whole = format!("/{}", parts.join("/"));
    // As systemd: the other name of it is a link on every host that has it.
    let whole = match whole.strip_prefix("/var/run/") {
        Some(rest) => format!("/run/{rest}"),
        None => whole,
    };
    if whole.len() > longest {
        return bad(&format!(
            "is longer than {longest} bytes, the most there is"
        ));
    }
    Ok(whole)
}

fn abstract_name(name: &str) -> Result<Address, String> {
    match name.len() {
        // The kernel would choose a name.
        0 => Err("\"@\" is no abstract name: it is empty".into()),
        1..=LONGEST_ABSTRACT if name.contains('\0') => Err("holds a NUL byte".into()),
        1..=LONGEST_ABSTRACT => Ok(Address::Abstract(name.into())),
        _ => Err(format!(
            "\"@{name}\" is longer than {LONGEST_ABSTRACT} bytes, the most there is"
        )),
    }
}

fn inet(text: &str) -> Result<Address, String> {
    let bad = || {
        format!(
            "{text:?} is no address: write a port, 192.0.2.1:PORT, [2001:db8::1]:PORT, a path or @name"
        )
    };
    if text.starts_with("vsock:") {
        return Err(format!(
            "{text:?}: sockets between virtual machines (vsock) are not supported"
        ));
    }
    if text.chars().all(|c| c.is_ascii_alphanumeric() || c == '+') && !text.is_empty() {
        return port(text).map(Address::Any).ok_or_else(bad);
    }
    let (address, scope) = match text.split_once('%') {
        Some((address, scope)) => (address, Some(interface(scope)?)),
        None => (text, None),
    };
    let (host, number) = address.rsplit_once(':').ok_or_else(bad)?;
    let number = port(number).ok_or_else(bad)?;
    match (host.strip_prefix('['), scope) {
        (Some(host), scope) => {
            let host = host.strip_suffix(']').ok_or_else(bad)?;
            let address: Ipv6Addr = host.parse().map_err(|_| bad())?;
            Ok(Address::V6(address, number, scope))
        }
        (None, None) => {
            let address: Ipv4Addr = host.parse().map_err(|_| bad())?;
            Ok(Address::V4(address, number))
        }
        // systemd looks whether there is such an interface, and then forgets it.
        (None, Some(_)) => Err(format!(
            "{text:?}: an interface belongs to IPv6 addresses; BindToDevice= binds to one"
        )),
    }
}

/// A port: as systemd's `parse_ip_port`, in the notations of C. 0 would let the kernel choose one, which nobody finds.
fn port(text: &str) -> Option<u16> {
    let number = (!text.starts_with(char::is_whitespace)).then(|| sizes::number(text));
    let number = u16::try_from(number?.ok()?).ok()?;
    (number != 0).then_some(number)
}

/// The name or the number of a network interface.
pub(super) fn interface(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%');
    let fits = (1..=LONGEST_INTERFACE).contains(&text.len())
        && text.chars().all(plain)
        && !matches!(text, "." | ".." | "all" | "default");
    fits.then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is no name of a network interface"))
}
