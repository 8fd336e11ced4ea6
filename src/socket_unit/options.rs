//! What a socket is told before it listens, and the values of `[Socket]`.

#![forbid(unsafe_code)]

use core::time::Duration;

use crate::directives::boolean;
use crate::sizes;
use crate::time_span::{self, TimeSpan};

/// `BindIPv6Only=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum V6Only {
    /// As the host has it (`net.ipv6.bindv6only`).
    #[default]
    Default,
    /// IPv4 too.
    Both,
    /// IPv6 alone.
    Only,
}

/// `Timestamping=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamping {
    /// None.
    #[default]
    Off,
    /// In microseconds: `SO_TIMESTAMP`.
    Microseconds,
    /// In nanoseconds: `SO_TIMESTAMPNS`.
    Nanoseconds,
}

/// Options of sockets, as in socket(7), ip(7), ipv6(7), tcp(7) and unix(7). None, 0 and false: as the kernel has it.
/// Each is set on those sockets of the unit that have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `BindIPv6Only=`: `IPV6_V6ONLY`.
    pub v6_only: V6Only,
    /// `BindToDevice=`: `SO_BINDTODEVICE`.
    pub device: Option<String>,
    /// `ReusePort=`: `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// `FreeBind=`: `IP_FREEBIND`.
    pub free_bind: bool,
    /// `Transparent=`: `IP_TRANSPARENT`.
    pub transparent: bool,
    /// `Broadcast=`: `SO_BROADCAST`.
    pub broadcast: bool,
    /// `PassCredentials=`: `SO_PASSCRED`.
    pub pass_credentials: bool,
    /// `PassSecurity=`: `SO_PASSSEC`.
    pub pass_security: bool,
    /// `PassPacketInfo=`: `IP_PKTINFO`, `IPV6_RECVPKTINFO`.
    pub pass_packet_info: bool,
    /// `Timestamping=`.
    pub timestamping: Timestamping,
    /// `KeepAlive=`: `SO_KEEPALIVE`.
    pub keep_alive: bool,
    /// `KeepAliveTimeSec=`, in seconds: `TCP_KEEPIDLE`.
    pub keep_alive_time: Option<u32>,
    /// `KeepAliveIntervalSec=`, in seconds: `TCP_KEEPINTVL`.
    pub keep_alive_interval: Option<u32>,
    /// `KeepAliveProbes=`: `TCP_KEEPCNT`.
    pub keep_alive_probes: Option<u32>,
    /// `NoDelay=`: `TCP_NODELAY`.
    pub no_delay: bool,
    /// `DeferAcceptSec=`, in seconds: `TCP_DEFER_ACCEPT`.
    pub defer_accept: Option<u32>,
    /// `TCPCongestion=`: `TCP_CONGESTION`.
    pub congestion: Option<String>,
    /// `Priority=`: `SO_PRIORITY`.
    pub priority: Option<u32>,
    /// `Mark=`: `SO_MARK`.
    pub mark: Option<u32>,
    /// `IPTOS=`: `IP_TOS`.
    pub type_of_service: Option<u8>,
    /// `IPTTL=`: `IP_TTL`, `IPV6_UNICAST_HOPS`.
    pub time_to_live: Option<u8>,
    /// `ReceiveBuffer=`, in bytes: `SO_RCVBUFFORCE`.
    pub receive_buffer: Option<u32>,
    /// `SendBuffer=`, in bytes: `SO_SNDBUFFORCE`.
    pub send_buffer: Option<u32>,
    /// `PipeSize=`, in bytes: `F_SETPIPE_SZ` of FIFOs.
    pub pipe_size: Option<u32>,
}

/// What a kernel takes as an `int`.
const LARGEST: u64 = i32::MAX as u64;

/// A number of a range.
pub(super) fn number(value: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = sizes::number(value)?;
    u32::try_from(number)
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("is not from {least} to {most}"))
}

/// As [`number`], where 0 stands for what the kernel has.
pub(super) fn some_number(value: &str, most: u32) -> Result<Option<u32>, String> {
    let number = number(value, 0, most)?;
    Ok((number != 0).then_some(number))
}

/// What the kernel takes as an `int` that is not negative.
pub(super) fn natural(value: &str) -> Result<Option<u32>, String> {
    number(value, 0, i32::MAX.unsigned_abs()).map(Some)
}

/// A size in bytes. 0: as the kernel has it.
pub(super) fn bytes(value: &str) -> Result<Option<u32>, String> {
    let bytes = sizes::size(value)?;
    if bytes > LARGEST {
        return Err(format!("is more than the kernel takes, {LARGEST} bytes"));
    }
    Ok(u32::try_from(bytes).ok().filter(|bytes| *bytes != 0))
}

/// Whole seconds up to `most`. 0: as the kernel has it.
pub(super) fn seconds(value: &str, most: u32) -> Result<Option<u32>, String> {
    let bad = || format!("is no number of whole seconds up to {most}");
    match time_span::parse(value)? {
        TimeSpan::Limited(span) if span.is_zero() => Ok(None),
        // The kernel counts in seconds, and takes 0 for a mistake.
        TimeSpan::Limited(span) if span.subsec_nanos() == 0 => u32::try_from(span.as_secs())
            .ok()
            .filter(|seconds| *seconds <= most)
            .map(Some)
            .ok_or_else(bad),
        _ => Err(bad()),
    }
}

/// The span of a limit. None where there is none (`infinity`: systemd's default stands).
pub(super) fn interval(value: &str) -> Result<Option<Duration>, String> {
    Ok(match time_span::parse(value)? {
        TimeSpan::Limited(span) => Some(span),
        TimeSpan::Infinite => None,
    })
}

/// `BindIPv6Only=`: its words, or a boolean, as systemd takes too.
pub(super) fn v6_only(value: &str) -> Result<V6Only, String> {
    match (value, boolean(value)) {
        ("default", _) => Ok(V6Only::Default),
        ("both", _) | (_, Ok(false)) => Ok(V6Only::Both),
        ("ipv6-only", _) | (_, Ok(true)) => Ok(V6Only::Only),
        _ => Err("is none of default, both, ipv6-only".into()),
    }
}

/// `Timestamping=`.
pub(super) fn timestamping(value: &str) -> Result<Timestamping, String> {
    match value {
        "off" | "" => Ok(Timestamping::Off),
        // The micro sign, and the Greek letter that looks like it.
        "us" | "usec" | "µs" | "\u{3bc}s" => Ok(Timestamping::Microseconds),
        "ns" | "nsec" => Ok(Timestamping::Nanoseconds),
        _ => Err("is none of off, us, usec, ns, nsec".into()),
    }
}

/// `IPTOS=`: a word, or a number of one byte.
pub(super) fn type_of_service(value: &str) -> Result<Option<u8>, String> {
    let word = match value {
        "low-delay" => Some(0x10),
        "throughput" => Some(0x08),
        "reliability" => Some(0x04),
        "low-cost" => Some(0x02),
        _ => None,
    };
    match word {
        Some(word) => Ok(Some(word)),
        None => Ok(u8::try_from(number(value, 0, 255)?).ok()),
    }
}

/// The name of an algorithm of congestion control: what `TCP_CA_NAME_MAX` holds.
pub(super) fn congestion(value: &str) -> Result<Option<String>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let fits = value.len() <= 15 && value.chars().all(|c| c.is_ascii_graphic());
    fits.then(|| Some(value.into()))
        .ok_or_else(|| "is no name of an algorithm: at most 15 characters".into())
}

/// A name of a user or a group of the host, or a number; or of a dynamic user.
pub(super) fn owner(value: &str) -> Result<Option<String>, String> {
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, ':' | '/' | ',');
    if !value.chars().all(plain) || value.starts_with(['-', '+', '~']) || value.len() > 255 {
        return Err("is no name of a user or group".into());
    }
    Ok((!value.is_empty()).then(|| value.into()))
}

/// A name of a descriptor (sd_listen_fds_with_names(3)).
pub(super) fn descriptor_name(value: &str) -> Result<Option<String>, String> {
    // A colon divides the names in LISTEN_FDNAMES.
    let plain = |c: char| (c == ' ' || c.is_ascii_graphic()) && c != ':';
    if value.len() > 255 || !value.chars().all(plain) {
        return Err(
            "is no name of a descriptor: at most 255 ASCII characters, no : among them".into(),
        );
    }
    Ok((!value.is_empty()).then(|| value.into()))
}
