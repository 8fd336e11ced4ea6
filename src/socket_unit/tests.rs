use core::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::specifiers::Context;
use crate::unit_file;

/// What systemd 257 says: `systemctl show -p Listen` of a unit with that line alone. The address, or nothing where
/// the unit was refused. `A` stands for 101 letters.
const ANSWERED: &[(&str, &str)] = &[
    ("ListenStream=80", "[::]:80"),
    ("ListenStream=0x50", "[::]:80"),
    ("ListenStream=010", "[::]:8"),
    ("ListenStream=+80", "[::]:80"),
    ("ListenStream=80 ", "[::]:80"),
    ("ListenStream=65535", "[::]:65535"),
    ("ListenStream=65536", ""),
    ("ListenStream=0", ""),
    ("ListenStream=-1", ""),
    ("ListenStream=1e1", ""),
    ("ListenStream=80 81", ""),
    ("ListenStream=80#x", ""),
    ("ListenStream=:80", ""),
    ("ListenStream=*:80", ""),
    ("ListenStream=localhost:80", ""),
    ("ListenStream=1.2.3.4:80", "1.2.3.4:80"),
    ("ListenStream=1.2.3.4:0120", "1.2.3.4:80"),
    ("ListenStream=1.2.3.4:+80", "1.2.3.4:80"),
    ("ListenStream=0.0.0.0:80", "0.0.0.0:80"),
    ("ListenStream=1.2.3.4: 80", ""),
    ("ListenStream=1.2.3:80", ""),
    ("ListenStream=1.2.3.4", ""),
    ("ListenStream=01.2.3.4:80", ""),
    ("ListenStream=1.2.3.4:080", ""),
    ("ListenStream=1.2.3.4:0", ""),
    ("ListenStream=[::1]:80", "[::1]:80"),
    ("ListenStream=[::]:80", "[::]:80"),
    ("ListenStream=[::1]:0x50", "[::1]:80"),
    ("ListenStream=[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]:80"),
    ("ListenStream=[fe80::1]:80%%lo", "[fe80::1]:80%lo"),
    ("ListenStream=[::1]:80%%lo", "[::1]:80%lo"),
    ("ListenStream=[fe80::1]:80%%", ""),
    ("ListenStream=[fe80::1%%lo]:80", ""),
    ("ListenStream=[fe80::1]%%lo:80", ""),
    ("ListenStream=80%%lo", ""),
    ("ListenStream=[1.2.3.4]:80", ""),
    ("ListenStream=[::1]: 80", ""),
    ("ListenStream=[::1]", ""),
    ("ListenStream=[::1]80", ""),
    ("ListenStream=[::1:80", ""),
    ("ListenStream=[]:80", ""),
    ("ListenStream=::1", ""),
    ("ListenStream=/run/a", "/run/a"),
    ("ListenStream=/run/a b", "/run/a b"),
    ("ListenStream=/var/run/a", "/run/a"),
    ("ListenStream=/run/%p-%i%%x", "/run/foo-%x"),
    ("ListenStream=/run/A", "/run/A"),
    ("ListenStream=/run/Aa", "/run/Aa"),
    ("ListenStream=/run/Aaa", ""),
    ("ListenStream=/run/../a", ""),
    ("ListenStream=\"/run/a\"", ""),
    ("ListenStream=run/a", ""),
    ("ListenStream=/", ""),
    ("ListenStream=@a", "@a"),
    ("ListenStream=@a@b", "@a@b"),
    ("ListenStream=@a/b c", "@a/b c"),
    ("ListenStream=@Aaaaaa", "@Aaaaaa"),
    ("ListenStream=@Aaaaaaa", ""),
    ("ListenStream=@", ""),
    ("ListenDatagram=80", "[::]:80"),
    ("ListenDatagram=/run/a", "/run/a"),
    ("ListenSequentialPacket=/run/a", "/run/a"),
    ("ListenSequentialPacket=@a", "@a"),
    ("ListenSequentialPacket=80", ""),
    ("ListenFIFO=/run/a", "/run/a"),
    ("ListenFIFO=/run/a%%", "/run/a%"),
    ("ListenFIFO=/run/Aaaaaaaaaaaa", "/run/Aaaaaaaaaaaa"),
    ("ListenFIFO=/run/../a", ""),
    ("ListenFIFO=a", ""),
];

/// Where systemd 257 answers something else: its answer, and ours.
const OTHERWISE: &[(&str, &str, &str)] = &[
    // The number of an interface is shown as its name.
    (
        "ListenStream=[fe80::1]:80%%1",
        "[fe80::1]:80%lo",
        "[fe80::1]:80%1",
    ),
    // The interface is looked for, and then forgotten.
    ("ListenStream=1.2.3.4:80%%lo", "1.2.3.4:80", ""),
    // The same file.
    ("ListenStream=/run//a", "/run//a", "/run/a"),
    ("ListenStream=/run/./a", "/run/./a", "/run/a"),
    // The kernel cannot bind to it.
    ("ListenStream=/run/a/", "/run/a/", ""),
    ("ListenFIFO=/", "/", ""),
    ("ListenFIFO=/run//a/", "/run/a", ""),
    // Not supported.
    ("ListenStream=vsock::80", "vsock::80", ""),
];

fn unit(name: &str, text: &str) -> Result<SocketUnit, Vec<Fault>> {
    let entries = unit_file::parse("f", text).expect("syntax");
    let name = UnitName::parse(name).expect(name);
    SocketUnit::read(&Unit::read(&entries, &Context::system(name))?)
}

fn foo(lines: &str) -> Result<SocketUnit, String> {
    let told = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect::<String>();
    unit("foo.socket", &format!("[Socket]\n{lines}")).map_err(told)
}

#[test]
fn addresses_are_read_as_systemd_reads_them() {
    let long = "a".repeat(101);
    let ours = OTHERWISE.iter().map(|(line, _, ours)| (line, ours));
    for (line, answer) in ANSWERED.iter().map(|(line, it)| (line, it)).chain(ours) {
        let read = foo(&line.replace('A', &long));
        match (read, *answer) {
            (Err(why), answer) => assert_eq!(answer, "", "{line}: {why}"),
            (Ok(unit), answer) => {
                let address = unit.listens[0].address.to_string();
                assert_eq!(address, answer.replace('A', &long), "{line}");
            }
        }
    }
}

#[test]
fn what_is_no_socket_of_ours_is_refused_by_name() {
    for (line, word) in [
        ("ListenSpecial=/dev/rfkill", "device files"),
        ("ListenNetlink=route 1361", "netlink"),
        ("ListenMessageQueue=/a", "message queues"),
        ("ListenUSBFunction=/a", "USB"),
        ("ListenStream=vsock:2:80", "vsock"),
        ("SocketProtocol=sctp", "SCTP"),
        ("ExecStartPre=/bin/true", "commands"),
        ("IPAddressDeny=any", "packet filters"),
        ("SmackLabel=x", "label"),
        ("PrivateNetwork=yes", "another network"),
        ("AcceptFileDescriptors=no", "descriptors"),
        ("Nonsense=1", "known"),
        ("ExecStart=/bin/true", "known"),
        ("TimeoutStopSec=1", "known"),
        ("AllowUnenforced=x", "known"),
    ] {
        let told = foo(&format!("ListenStream=80\n{line}")).expect_err(line);
        assert!(told.starts_with("f:3:") && told.contains(word), "{told}");
    }
    for line in [
        "ExecStartPre=",
        "PrivateNetwork=no",
        "SELinuxContextFromNet=no",
        "AcceptFileDescriptors=yes",
        "User=nobody",
        "Slice=x.slice",
        "KillMode=process",
        "TimeoutSec=5",
    ] {
        foo(&format!("ListenStream=80\n{line}")).expect(line);
    }
}

/// `systemctl show` of systemd 257 says the same of each, but for the poll and trigger limits of `Accept=yes`.
#[test]
fn what_is_not_said_is_as_in_systemd() {
    let one = foo("ListenStream=80").expect("a unit");
    assert_eq!((one.mode, one.directory_mode), (0o666, 0o755));
    assert_eq!((one.accept, one.max_connections), (false, 64));
    assert_eq!(one.descriptor_name, "foo.socket");
    assert_eq!(one.service.full(), "foo.service");
    let limit = |burst| {
        let interval = Duration::from_secs(2);
        Some(RateLimit { interval, burst })
    };
    assert_eq!((one.trigger_limit, one.poll_limit), (limit(20), None));
    let each = foo("ListenStream=80\nAccept=yes").expect("a unit");
    assert_eq!(each.descriptor_name, "connection");
    assert_eq!(each.service.full(), "foo@.service");
    assert_eq!((each.trigger_limit, each.poll_limit), (None, None));
    let said = foo("ListenStream=80\nAccept=yes\nTriggerLimitBurst=3\nPollLimitIntervalSec=0");
    let said = said.expect("a unit");
    assert_eq!((said.trigger_limit, said.poll_limit), (limit(3), None));
    let instance = |text| unit("a@b.socket", text).expect(text).service.full();
    assert_eq!(instance("[Socket]\nListenStream=80"), "a@b.service");
    assert_eq!(
        instance("[Socket]\nListenStream=80\nAccept=1"),
        "a@.service"
    );
}

#[test]
fn lines_that_are_each_right_may_be_wrong_together() {
    for (lines, word) in [
        ("Accept=no", "nothing to listen on"),
        ("ListenStream=80\nListenDatagram=", "nothing to listen on"),
        ("ListenStream=80\nAccept=yes\nService=a.service", "Service="),
        (
            "ListenDatagram=80\nAccept=yes",
            "ListenDatagram=[::]:80 has no connections",
        ),
        ("ListenFIFO=/run/a\nAccept=yes", "no connections"),
        ("ListenStream=80\nAccept=yes\nMaxConnections=0", "nobody"),
        (
            "ListenStream=80\nAccept=yes\nFlushPending=yes",
            "FlushPending",
        ),
        ("ListenStream=80\nSymlinks=/run/b", "Symlinks"),
        (
            "ListenStream=/run/a\nListenFIFO=/run/c\nSymlinks=/run/b",
            "Symlinks",
        ),
        ("ListenStream=/run/a\nSymlinks=/run/a", "both"),
        ("ListenStream=/run/a\nListenDatagram=/run//a", "twice"),
    ] {
        let told = foo(lines).expect_err(lines);
        assert!(told.starts_with("f:2:") && told.contains(word), "{told}");
    }
    let links = "ListenStream=/run/a\nListenStream=@b\nSymlinks=/run//c /run/d/ \"/run/e f\"";
    let links = foo(links).expect("one path").symlinks;
    assert_eq!(links, ["/run/c", "/run/d", "/run/e f"]);
}

#[test]
fn values_are_what_they_must_be() {
    for line in [
        "SocketMode=0999",
        "SocketMode=",
        "SocketMode=04777",
        "DirectoryMode=17777",
        "FileDescriptorName=a:b",
        "FileDescriptorName=ä",
        "Service=a.target",
        "Service=a@.service",
        "Accept=maybe",
        "Backlog=-1",
        "Backlog=",
        "IPTOS=300",
        "IPTOS=none",
        "IPTTL=0",
        "Mark=0xffffffff",
        "Priority=-1",
        "KeepAliveTimeSec=1500ms",
        "KeepAliveTimeSec=infinity",
        "KeepAliveProbes=128",
        "ReceiveBuffer=4G",
        "SocketUser=a:b",
        "SocketUser=a b",
        "BindToDevice=a/b",
        "Symlinks=b",
        "TCPCongestion=abcdefghijklmnop",
        "Timestamping=ms",
    ] {
        let told = foo(&format!("ListenStream=/run/a\n{line}")).expect_err(line);
        assert!(told.starts_with("f:3:"), "{told}");
    }
    let all = foo(
        "ListenStream=80\nFileDescriptorName=x-%p!\nBindIPv6Only=no\nIPTOS=low-delay\nBacklog=5\nMark=7\n\
         SocketUser=a.b\nSocketGroup=65534\nKeepAliveTimeSec=2min\nReceiveBuffer=8M\nBindToDevice=lo\n\
         IPTTL=3\nTimestamping=us\nMaxConnectionsPerSource=0\nNoDelay=yes\nService=other.service",
    )
    .expect("values");
    assert_eq!(all.descriptor_name, "x-foo!");
    assert_eq!((all.backlog, all.options.mark), (5, Some(7)));
    assert_eq!(
        (all.user.as_deref(), all.group.as_deref()),
        (Some("a.b"), Some("65534"))
    );
    assert_eq!(all.options.v6_only, V6Only::Both);
    assert_eq!(all.options.type_of_service, Some(16));
    assert_eq!(all.options.keep_alive_time, Some(120));
    assert_eq!(all.options.receive_buffer, Some(8 << 20));
    assert_eq!(all.options.time_to_live, Some(3));
    assert_eq!(all.options.device.as_deref(), Some("lo"));
    assert_eq!(all.options.timestamping, Timestamping::Microseconds);
    assert_eq!(all.max_connections_per_source, None);
    assert_eq!(all.service.full(), "other.service");
}

#[test]
fn a_socket_needs_no_file() {
    let name = UnitName::parse("listen.socket").expect("a name");
    let unit = SocketUnit::of(
        &name,
        [("ListenStream", "127.0.0.1:2048"), ("Accept", "yes")],
    );
    assert_eq!(
        unit.expect("a unit").listens[0].to_string(),
        "ListenStream=127.0.0.1:2048"
    );
    let told = SocketUnit::of(&name, [("ListenStream", "x")]).expect_err("no address");
    assert!(told.starts_with("ListenStream=x: "), "{told}");
}

#[test]
fn sections_of_a_service_are_a_mistake_in_a_socket() {
    let faults = unit("foo.socket", "[Socket]\nListenStream=80\n[Service]\nA=b").expect_err("no");
    assert!(faults[0].what.contains("[Service]"), "{faults:?}");
}

#[test]
fn connections_are_called_as_systemd_calls_them() {
    let at = |text: &str| text.parse::<SocketAddr>().expect(text);
    let inet = |local, remote| Peer::Inet {
        local: at(local),
        remote: at(remote),
    };
    let v4 = inet("10.0.0.1:80", "192.0.2.7:4711");
    assert_eq!(v4.instance(3), "3-10.0.0.1:80-192.0.2.7:4711");
    let mapped = inet("[::ffff:10.0.0.1]:80", "[::ffff:192.0.2.7]:4711");
    assert_eq!(mapped.instance(3), v4.instance(3));
    assert_eq!(mapped.source(), v4.source());
    assert_eq!(mapped.environment()[0].1, "192.0.2.7");
    let v6 = inet("[fe80::1%2]:80", "[2001:db8::7]:4711");
    assert_eq!(v6.instance(0), "0-fe80::1:80-2001:db8::7:4711");
    let unix = Peer::Unix { pid: 12, uid: 1000 };
    assert_eq!(unix.instance(5), "5-12-1000");
    assert_eq!(unix.source(), Some(Source::User(1000)));
    assert_eq!(Peer::Unknown(None).instance(5), "5-unknown");
    let template = UnitName::parse("foo@.service").expect("a name");
    for peer in [v4, mapped, v6, unix, Peer::Unknown(Some(7))] {
        template
            .with_instance(&peer.instance(u64::MAX))
            .expect("a unit's name");
    }
}

proptest! {
    #[test]
    fn any_address_is_read_or_refused_and_comes_out_as_it_is_shown(text in "([0-9a-f:.%@/\\[\\]]|\\PC){0,20}") {
        for kind in [Kind::Stream, Kind::Datagram, Kind::SequentialPacket, Kind::Fifo] {
            if let Ok(address) = Address::parse(kind, &text) {
                let again = Address::parse(kind, &address.to_string());
                let same = match &address {
                    Address::Any(port) => Address::V6(core::net::Ipv6Addr::UNSPECIFIED, *port, None),
                    other => other.clone(),
                };
                prop_assert_eq!(again, Ok(same));
            }
        }
    }

    #[test]
    fn any_assignments_are_taken_or_refused(
        lines in prop::collection::vec((0..TABLE.len(), "(yes|no|[0-9]{1,12}[smKG%]?|/run/[a-z./]{0,8}|@?[a-z:.]{0,6}|\\PC{0,8})"), 0..8),
    ) {
        let mut draft = Draft::default();
        for (at, value) in &lines {
            let row = &TABLE[*at];
            let done = draft.assign(row.name, value);
            // What is not supported is never taken, unless it asks for nothing.
            let nothing = value.is_empty() || crate::directives::boolean(value) == Ok(false);
            prop_assert!(row.is_supported() || done.is_err() || nothing);
        }
        let name = UnitName::parse("foo.socket").expect("a name");
        if let Ok(unit) = draft.settle(&name) {
            prop_assert!(!unit.listens.is_empty() && unit.mode <= 0o777);
            prop_assert_eq!(unit.accept, unit.service.is_template());
            prop_assert!(!unit.accept || unit.listens.iter().all(|it| it.kind.is_connected()));
        }
    }
}
