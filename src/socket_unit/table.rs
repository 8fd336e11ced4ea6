//! The one table of the directives of `[Socket]`: what each is called, and what is done about it. It feeds the
//! parser, `dynuser check`, the errors and the manual page.

#![forbid(unsafe_code)]

use super::row::{Row, elsewhere, function, missing, unenforced};
use super::{Draft, Kind, address, options};
use crate::directives::{boolean, octal, room};
use crate::specifiers::UnitName;
use crate::words;

const COMMANDS: &str =
    "commands of a socket's own: the service's ExecStartPre= runs in its sandbox";
const NO_COMMANDS: &str = "a socket has no commands of its own here";
const QUEUES: &str = "POSIX message queues to listen on";
const SMACK: &str = "choosing a label";
const PACKETS: &str = "packet filters of a socket's own: write them into the service";
const NETWORK: &str = "sockets in another network: they are made in that of dynuser";

/// Every directive of `[Socket]` that systemd.socket(5) has, and those of other pages that would do something to the sockets.
pub const TABLE: &[Row] = &[
    function("ListenStream", "TCP, or a UNIX stream", |d, v| {
        d.listen(Kind::Stream, v)
    }),
    function("ListenDatagram", "UDP, or UNIX datagrams", |d, v| {
        d.listen(Kind::Datagram, v)
    }),
    function(
        "ListenSequentialPacket",
        "UNIX sequential packets",
        |d, v| d.listen(Kind::SequentialPacket, v),
    ),
    function(
        "ListenFIFO",
        "a named pipe, open for reading and writing",
        |d, v| d.listen(Kind::Fifo, v),
    ),
    missing(
        "ListenSpecial",
        "device files and files of the kernel to listen on",
    ),
    missing("ListenNetlink", "sockets of the kernel (netlink)"),
    missing("ListenMessageQueue", QUEUES),
    missing("ListenUSBFunction", "gadgets of USB"),
    missing("SocketProtocol", "SCTP, UDP-Lite and MPTCP"),
    function("BindIPv6Only", "IPV6_V6ONLY", |d, v| {
        set(&mut d.options.v6_only, options::v6_only(v)?)
    }),
    function("Backlog", "listen(2)", |d, v| {
        set(&mut d.backlog, Some(options::number(v, 0, u32::MAX)?))
    }),
    function("BindToDevice", "SO_BINDTODEVICE", bind_to_device),
    function(
        "SocketUser",
        "owner of the file: a user of the host, or a dynamic one that lives as long",
        |d, v| set(&mut d.user, options::owner(v)?),
    ),
    function(
        "SocketGroup",
        "group of the file: as SocketUser=",
        |d, v| set(&mut d.group, options::owner(v)?),
    ),
    function(
        "SocketMode",
        "mode of the file before anybody can reach it, 0666 unless set",
        |d, v| match octal(v)? {
            mode if mode > 0o777 => Err("has more bits than a socket has: 0777 at most".into()),
            mode => set(&mut d.mode, Some(mode)),
        },
    ),
    function(
        "DirectoryMode",
        "mode of the directories above that are missing, 0755 unless set",
        |d, v| set(&mut d.directory_mode, Some(octal(v)?)),
    ),
    function(
        "Accept",
        "yes: each connection is served by an instance with a user of its own",
        |d, v| set(&mut d.accept, boolean(v)?),
    ),
    missing("Writable", "belongs to ListenSpecial="),
    function(
        "FlushPending",
        "what waits is thrown away when the service has ended",
        |d, v| set(&mut d.flush_pending, boolean(v)?),
    ),
    function(
        "MaxConnections",
        "with Accept=yes: one more is accepted and closed at once; 64 unless set",
        |d, v| {
            set(
                &mut d.max_connections,
                Some(options::number(v, 0, u32::MAX)?),
            )
        },
    ),
    function(
        "MaxConnectionsPerSource",
        "the same, of one IP address or one local user",
        |d, v| set(&mut d.max_per_source, options::some_number(v, u32::MAX)?),
    ),
    function("KeepAlive", "SO_KEEPALIVE of TCP", |d, v| {
        set(&mut d.options.keep_alive, boolean(v)?)
    }),
    function("KeepAliveTimeSec", "TCP_KEEPIDLE", |d, v| {
        set(&mut d.options.keep_alive_time, options::seconds(v, 32_767)?)
    }),
    function("KeepAliveIntervalSec", "TCP_KEEPINTVL", |d, v| {
        set(
            &mut d.options.keep_alive_interval,
            options::seconds(v, 32_767)?,
        )
    }),
    function("KeepAliveProbes", "TCP_KEEPCNT", |d, v| {
        set(
            &mut d.options.keep_alive_probes,
            options::some_number(v, 127)?,
        )
    }),
    function("NoDelay", "TCP_NODELAY", |d, v| {
        set(&mut d.options.no_delay, boolean(v)?)
    }),
    function("Priority", "SO_PRIORITY", |d, v| {
        set(&mut d.options.priority, options::natural(v)?)
    }),
    function("DeferAcceptSec", "TCP_DEFER_ACCEPT", |d, v| {
        set(&mut d.options.defer_accept, options::seconds(v, 3600)?)
    }),
    function("ReceiveBuffer", "SO_RCVBUFFORCE", |d, v| {
        set(&mut d.options.receive_buffer, options::bytes(v)?)
    }),
    function("SendBuffer", "SO_SNDBUFFORCE", |d, v| {
        set(&mut d.options.send_buffer, options::bytes(v)?)
    }),
    function("IPTOS", "IP_TOS", |d, v| {
        set(&mut d.options.type_of_service, options::type_of_service(v)?)
    }),
    function("IPTTL", "IP_TTL, IPV6_UNICAST_HOPS", |d, v| {
        let hops = options::number(v, 1, 255)?;
        set(&mut d.options.time_to_live, u8::try_from(hops).ok())
    }),
    function("Mark", "SO_MARK", |d, v| {
        set(&mut d.options.mark, options::natural(v)?)
    }),
    function("ReusePort", "SO_REUSEPORT", |d, v| {
        set(&mut d.options.reuse_port, boolean(v)?)
    }),
    unenforced("SmackLabel", SMACK),
    unenforced("SmackLabelIPIn", SMACK),
    unenforced("SmackLabelIPOut", SMACK),
    unenforced("SELinuxContextFromNet", "a label that the peer sends"),
    function("PipeSize", "F_SETPIPE_SZ of a FIFO", |d, v| {
        set(&mut d.options.pipe_size, options::bytes(v)?)
    }),
    missing("MessageQueueMaxMessages", QUEUES),
    missing("MessageQueueMessageSize", QUEUES),
    function("FreeBind", "IP_FREEBIND", |d, v| {
        set(&mut d.options.free_bind, boolean(v)?)
    }),
    function("Transparent", "IP_TRANSPARENT", |d, v| {
        set(&mut d.options.transparent, boolean(v)?)
    }),
    function("Broadcast", "SO_BROADCAST of UDP", |d, v| {
        set(&mut d.options.broadcast, boolean(v)?)
    }),
    function("PassCredentials", "SO_PASSCRED of UNIX sockets", |d, v| {
        set(&mut d.options.pass_credentials, boolean(v)?)
    }),
    function("PassSecurity", "SO_PASSSEC of UNIX sockets", |d, v| {
        set(&mut d.options.pass_security, boolean(v)?)
    }),
    missing(
        "PassPIDFD",
        "descriptors of processes with each message (systemd 258)",
    ),
    function(
        "AcceptFileDescriptors",
        "yes, as the kernel has it; no is not supported",
        |_, v| {
            let more = "is not supported: refusing descriptors in messages (systemd 258)";
            boolean(v)?.then_some(()).ok_or_else(|| more.into())
        },
    ),
    function(
        "PassPacketInfo",
        "IP_PKTINFO, IPV6_RECVPKTINFO of UDP",
        |d, v| set(&mut d.options.pass_packet_info, boolean(v)?),
    ),
    elsewhere("PassFileDescriptorsToExec", NO_COMMANDS),
    function("Timestamping", "SO_TIMESTAMP, SO_TIMESTAMPNS", |d, v| {
        set(&mut d.options.timestamping, options::timestamping(v)?)
    }),
    function("TCPCongestion", "TCP_CONGESTION", |d, v| {
        set(&mut d.options.congestion, options::congestion(v)?)
    }),
    missing("ExecStartPre", COMMANDS),
    missing("ExecStartPost", COMMANDS),
    missing("ExecStopPre", COMMANDS),
    missing("ExecStopPost", COMMANDS),
    elsewhere("TimeoutSec", NO_COMMANDS),
    function(
        "Service",
        "the service to start, where it has another name",
        service,
    ),
    function(
        "RemoveOnStop",
        "files and links of the sockets are removed at the end",
        |d, v| set(&mut d.remove_on_stop, boolean(v)?),
    ),
    function(
        "Symlinks",
        "links to the one socket or FIFO that has a path",
        symlinks,
    ),
    function("FileDescriptorName", "LISTEN_FDNAMES", |d, v| {
        set(&mut d.descriptor_name, options::descriptor_name(v)?)
    }),
    function(
        "TriggerLimitIntervalSec",
        "for TriggerLimitBurst=",
        |d, v| set(&mut d.trigger.interval, options::interval(v)?),
    ),
    function(
        "TriggerLimitBurst",
        "how often the service may be started within that time",
        |d, v| set(&mut d.trigger.burst, Some(options::number(v, 0, u32::MAX)?)),
    ),
    function("PollLimitIntervalSec", "for PollLimitBurst=", |d, v| {
        set(&mut d.poll.interval, options::interval(v)?)
    }),
    function(
        "PollLimitBurst",
        "how often one socket is looked at within that time",
        |d, v| set(&mut d.poll.burst, Some(options::number(v, 0, u32::MAX)?)),
    ),
    missing(
        "DeferTrigger",
        "starting later, when nothing is in the way (systemd 258)",
    ),
    missing(
        "DeferTriggerMaxSec",
        "starting later, when nothing is in the way (systemd 258)",
    ),
    // Of systemd.exec(5) and systemd.resource-control(5): they would do something to the sockets themselves.
    unenforced("IPAddressAllow", PACKETS),
    unenforced("IPAddressDeny", PACKETS),
    unenforced("IPIngressFilterPath", PACKETS),
    unenforced("IPEgressFilterPath", PACKETS),
    unenforced("BPFProgram", PACKETS),
    unenforced("SocketBindAllow", PACKETS),
    unenforced("SocketBindDeny", PACKETS),
    unenforced("RestrictNetworkInterfaces", PACKETS),
    missing("NFTSet", PACKETS),
    missing("NetworkNamespacePath", NETWORK),
    missing("PrivateNetwork", NETWORK),
    missing(
        "SELinuxContext",
        "choosing a label; the kernel's own transitions apply",
    ),
    missing("SmackProcessLabel", SMACK),
];

/// What is done about directives of systemd.exec(5), systemd.kill(5) and systemd.resource-control(5) in `[Socket]`.
pub(super) const OF_COMMANDS: Row = elsewhere(
    "",
    "about commands of the socket's own, and there are none here: the service's are in its own file",
);

#[allow(
    clippy::unnecessary_wraps,
    reason = "what a row of the table ends with"
)]
fn set<T>(place: &mut T, value: T) -> Result<(), String> {
    *place = value;
    Ok(())
}

fn bind_to_device(draft: &mut Draft, value: &str) -> Result<(), String> {
    let device = match value {
        "" | "*" => None,
        name => Some(address::interface(name)?),
    };
    set(&mut draft.options.device, device)
}

fn service(draft: &mut Draft, value: &str) -> Result<(), String> {
    let name = UnitName::parse(value)?;
    if name.suffix() != "service" || name.is_template() {
        return Err("is no service that can be started".into());
    }
    set(&mut draft.service, Some(name))
}

fn symlinks(draft: &mut Draft, value: &str) -> Result<(), String> {
    let words = words::split(value)?;
    if words.is_empty() {
        draft.symlinks.clear();
    }
    room(draft.symlinks.len(), words.len())?;
    for word in words {
        // A slash at the end says the same, and systemd takes it off.
        let path = address::path(word.trim_end_matches('/'), address::LONGEST_FIFO)?;
        draft.symlinks.push(path);
    }
    Ok(())
}
