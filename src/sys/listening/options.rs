//! Options of sockets (socket(7), ip(7), ipv6(7), tcp(7), unix(7)), set before bind(2).

use std::os::fd::{AsRawFd, OwnedFd};

use libc::{IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SOL_SOCKET, c_int};
use rustix::io::Errno;
use rustix::net::AddressFamily;

use super::super::{During, SysResult, last_error};
use crate::socket_unit::{Kind, Options, Timestamping, V6Only};

/// An option: its level, its number, the value, and what the manual calls it.
type Setting = (c_int, c_int, c_int, &'static str);

/// Sets on a socket what it has of the options.
pub(super) fn set(
    socket: &OwnedFd,
    family: AddressFamily,
    kind: Kind,
    options: &Options,
) -> SysResult<()> {
    let inet = family == AddressFamily::INET || family == AddressFamily::INET6;
    let mut settings = of_all(options);
    match (inet, kind) {
        (false, _) => settings.extend(of_unix(options)),
        (true, Kind::Stream) => settings.extend(of_tcp(options)),
        (true, _) => settings.extend(of_udp(family, options)),
    }
    if inet {
        settings.extend(of_inet(family, options));
    }
    for (level, name, value, word) in settings {
        number(socket, level, name, value).during("setsockopt", format!("{word}, {value}"))?;
    }
    if let Some(device) = options.device.as_deref().filter(|_| inet) {
        text(socket, SOL_SOCKET, libc::SO_BINDTODEVICE, device)
            .during("setsockopt", format!("SO_BINDTODEVICE, {device}"))?;
    }
    if let Some(algorithm) = options.congestion.as_deref()
        && inet
        && kind == Kind::Stream
    {
        text(socket, IPPROTO_TCP, libc::TCP_CONGESTION, algorithm)
            .during("setsockopt", format!("TCP_CONGESTION, {algorithm}"))?;
    }
    for (size, forced, asked, word) in [
        (
            options.receive_buffer,
            libc::SO_RCVBUFFORCE,
            libc::SO_RCVBUF,
            "SO_RCVBUF",
        ),
        (
            options.send_buffer,
            libc::SO_SNDBUFFORCE,
            libc::SO_SNDBUF,
            "SO_SNDBUF",
        ),
    ] {
        let Some(size) = size else { continue };
        let size = int(size);
        match number(socket, SOL_SOCKET, forced, size) {
            // Without CAP_NET_ADMIN over the network (a container): as much as the host lets anybody have.
            Err(Errno::PERM) => {
                tracing::warn!(
                    "{word}: at most net.core.rmem_max or wmem_max without CAP_NET_ADMIN"
                );
                number(socket, SOL_SOCKET, asked, size)
            }
            set => set,
        }
        .during("setsockopt", format!("{word}, {size}"))?;
    }
    Ok(())
}

/// The table has checked that it fits.
fn int(value: u32) -> c_int {
    c_int::try_from(value).unwrap_or(c_int::MAX)
}

fn of_all(options: &Options) -> Vec<Setting> {
    let mut all = Vec::new();
    match options.timestamping {
        Timestamping::Off => {}
        Timestamping::Microseconds => all.push((SOL_SOCKET, libc::SO_TIMESTAMP, 1, "SO_TIMESTAMP")),
        Timestamping::Nanoseconds => {
            all.push((SOL_SOCKET, libc::SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS"));
        }
    }
    if let Some(priority) = options.priority {
        all.push((SOL_SOCKET, libc::SO_PRIORITY, int(priority), "SO_PRIORITY"));
    }
    all
}

fn of_unix(options: &Options) -> Vec<Setting> {
    chosen([
        (
            options.pass_credentials,
            (SOL_SOCKET, libc::SO_PASSCRED, 1, "SO_PASSCRED"),
        ),
        (
            options.pass_security,
            (SOL_SOCKET, libc::SO_PASSSEC, 1, "SO_PASSSEC"),
        ),
    ])
}

fn of_inet(family: AddressFamily, options: &Options) -> Vec<Setting> {
    let v6 = family == AddressFamily::INET6;
    let (free, transparent) = match v6 {
        true => (
            (IPPROTO_IPV6, libc::IPV6_FREEBIND, 1, "IPV6_FREEBIND"),
            (IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT"),
        ),
        false => (
            (IPPROTO_IP, libc::IP_FREEBIND, 1, "IP_FREEBIND"),
            (IPPROTO_IP, libc::IP_TRANSPARENT, 1, "IP_TRANSPARENT"),
        ),
    };
    let mut all = chosen([
        (
            options.reuse_port,
            (SOL_SOCKET, libc::SO_REUSEPORT, 1, "SO_REUSEPORT"),
        ),
        (options.free_bind, free),
        (options.transparent, transparent),
    ]);
    match options.v6_only {
        V6Only::Both if v6 => all.push((IPPROTO_IPV6, libc::IPV6_V6ONLY, 0, "IPV6_V6ONLY")),
        V6Only::Only if v6 => all.push((IPPROTO_IPV6, libc::IPV6_V6ONLY, 1, "IPV6_V6ONLY")),
        _ => {}
    }
    if let Some(mark) = options.mark {
        all.push((SOL_SOCKET, libc::SO_MARK, int(mark), "SO_MARK"));
    }
    // Of an IPv6 socket this is about the IPv4 that it speaks, as in systemd.
    if let Some(service) = options.type_of_service {
        all.push((IPPROTO_IP, libc::IP_TOS, service.into(), "IP_TOS"));
    }
    if let Some(hops) = options.time_to_live {
        all.push((IPPROTO_IP, libc::IP_TTL, hops.into(), "IP_TTL"));
        if v6 {
            let unicast = (
                IPPROTO_IPV6,
                libc::IPV6_UNICAST_HOPS,
                hops.into(),
                "IPV6_UNICAST_HOPS",
            );
            all.push(unicast);
        }
    }
    all
}

fn of_tcp(options: &Options) -> Vec<Setting> {
    // Connections of the last run that linger (TIME_WAIT) would keep the port. Never for UDP: there it lets any user
    // bind the same port and get the messages.
    let mut all = vec![(SOL_SOCKET, libc::SO_REUSEADDR, 1, "SO_REUSEADDR")];
    all.extend(chosen([
        (
            options.keep_alive,
            (SOL_SOCKET, libc::SO_KEEPALIVE, 1, "SO_KEEPALIVE"),
        ),
        (
            options.no_delay,
            (IPPROTO_TCP, libc::TCP_NODELAY, 1, "TCP_NODELAY"),
        ),
    ]));
    for (value, name, word) in [
        (options.keep_alive_time, libc::TCP_KEEPIDLE, "TCP_KEEPIDLE"),
        (
            options.keep_alive_interval,
            libc::TCP_KEEPINTVL,
            "TCP_KEEPINTVL",
        ),
        (options.keep_alive_probes, libc::TCP_KEEPCNT, "TCP_KEEPCNT"),
        (
            options.defer_accept,
            libc::TCP_DEFER_ACCEPT,
            "TCP_DEFER_ACCEPT",
        ),
    ] {
        all.extend(value.map(|value| (IPPROTO_TCP, name, int(value), word)));
    }
    all
}

fn of_udp(family: AddressFamily, options: &Options) -> Vec<Setting> {
    let info = match family == AddressFamily::INET6 {
        true => (IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"),
        false => (IPPROTO_IP, libc::IP_PKTINFO, 1, "IP_PKTINFO"),
    };
    chosen([
        (
            options.broadcast,
            (SOL_SOCKET, libc::SO_BROADCAST, 1, "SO_BROADCAST"),
        ),
        (options.pass_packet_info, info),
    ])
}

fn chosen<const N: usize>(settings: [(bool, Setting); N]) -> Vec<Setting> {
    let wanted = settings.into_iter().filter(|(wanted, _)| *wanted);
    wanted.map(|(_, setting)| setting).collect()
}

fn number(socket: &OwnedFd, level: c_int, name: c_int, value: c_int) -> Result<(), Errno> {
    raw(socket, level, name, &value.to_ne_bytes())
}

/// A text that the kernel reads up to its length: `SO_BINDTODEVICE` and `TCP_CONGESTION` need no NUL.
fn text(socket: &OwnedFd, level: c_int, name: c_int, value: &str) -> Result<(), Errno> {
    raw(socket, level, name, value.as_bytes())
}

fn raw(socket: &OwnedFd, level: c_int, name: c_int, value: &[u8]) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the kernel reads at most `length` bytes, those of `value`, and keeps no pointer to them.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            length,
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}
