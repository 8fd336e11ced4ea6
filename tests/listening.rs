//! Sockets of a unit, made by the real kernel: whose they are, what leads to them, what is in the way, and what clients of
//! ours and of others (socat, curl, ss) find there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dynuser::failure::Failure;
use dynuser::socket_unit::{Peer, SocketUnit, Source};
use dynuser::sockets::Sockets;
use dynuser::specifiers::UnitName;
use dynuser::sys::listening;
use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::net::sockopt;
use support::{Arena, PATIENCE};

/// A number that is nobody's on the host.
const SOMEBODY: u32 = 61_300;

/// One test at a time: what another one forks has copies of our sockets until it executes something, and whoever looks
/// finds them open.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Acts in the arena. /proc is that of this process, who is in no PID namespace of the arena.
fn inside<T: Send>(arena: &Arena, act: impl FnOnce() -> T + Send) -> T {
    arena.within(|| {
        unshare(CloneFlags::CLONE_NEWNS).expect("mounts of its own");
        let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", flags).expect("private mounts");
        mount("proc", "/proc", "proc", MountFlags::empty(), None).expect("/proc");
        act()
    })
}

fn unit(settings: &[(&str, &str)]) -> SocketUnit {
    let name = UnitName::parse("foo.socket").expect("a name");
    SocketUnit::of(&name, settings.iter().copied()).expect("a unit")
}

fn make(settings: &[(&str, &str)], uid: u32) -> Result<Sockets, Failure> {
    Sockets::make(&unit(settings), uid, uid)
}

/// Where somebody listened just now it may take a moment: a child that another test forked meanwhile has a copy of his
/// socket until it executes something.
fn made(settings: &[(&str, &str)]) -> Sockets {
    let mut made = make(settings, 0);
    let begun = std::time::Instant::now();
    while made.is_err() && begun.elapsed() < support::PATIENCE {
        std::thread::sleep(std::time::Duration::from_millis(10));
        made = make(settings, 0);
    }
    made.unwrap_or_else(|failure| panic!("{settings:?}: {failure}"))
}

fn refused(settings: &[(&str, &str)], uid: u32) -> String {
    match make(settings, uid) {
        Ok(_) => panic!("{settings:?} went through"),
        Err(failure) => {
            assert_eq!(failure.stage.word(), "Sockets");
            failure.to_string()
        }
    }
}

fn first(sockets: &Sockets) -> &OwnedFd {
    sockets.descriptors().next().expect("one")
}

/// Waits until there is something.
fn readable(socket: &OwnedFd) {
    let mut all = [PollFd::new(socket, PollFlags::IN)];
    let patience = Timespec::try_from(PATIENCE).expect("a time");
    assert_eq!(poll(&mut all, Some(&patience)).expect("poll"), 1, "nobody");
}

fn accepted(sockets: &Sockets) -> listening::Accepted {
    readable(first(sockets));
    sockets.accept(0).expect("accept").expect("somebody")
}

fn mode(path: &str) -> u32 {
    fs::symlink_metadata(path).expect(path).permissions().mode() & 0o7777
}

fn is_socket(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// A folder of somebody who is not root.
fn folder_of(path: &str, uid: u32, mode: u32) {
    fs::create_dir(path).expect("mkdir");
    chown(path, Some(uid), Some(uid)).expect("chown");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn a_file_has_its_owner_and_its_mode_whatever_the_umask_is() {
    let _alone = alone();
    inside(&Arena::new(), || {
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o777));
        let sockets = make(
            &[
                ("ListenStream", "/run/foo/a/sock"),
                ("ListenDatagram", "/run/foo/datagrams"),
                ("ListenSequentialPacket", "/run/foo/packets"),
                ("ListenFIFO", "/run/foo/fifo"),
                ("SocketMode", "0620"),
                ("DirectoryMode", "0751"),
            ],
            SOMEBODY,
        );
        let after = rustix::process::umask(before);
        assert_eq!(after.bits(), 0o777, "the umask of the process was changed");
        let sockets = sockets.expect("made");
        for name in ["a/sock", "datagrams", "packets", "fifo"] {
            let path = format!("/run/foo/{name}");
            let found = fs::symlink_metadata(&path).expect(&path);
            assert_eq!((found.uid(), found.gid()), (SOMEBODY, SOMEBODY), "{path}");
            assert_eq!(mode(&path), 0o620, "{path}");
        }
        for path in ["/run/foo", "/run/foo/a"] {
            assert_eq!(mode(path), 0o751, "{path}");
            assert_eq!(fs::metadata(path).expect(path).uid(), 0, "{path}");
        }
        // As sd_is_socket_unix(3) asks.
        let listener = UnixListener::from(first(&sockets).try_clone().expect("a copy"));
        let bound = listener.local_addr().expect("a name");
        assert_eq!(bound.as_pathname(), Some(Path::new("/run/foo/a/sock")));
    });
}

/// Somebody who tries to connect all the time, while the socket is made anew again and again, never gets through.
#[test]
fn there_is_no_moment_in_which_others_can_connect() {
    let _alone = alone();
    let arena = Arena::new();
    // Messages need no listen(2): the mode alone is in the way. A file that was there before is refused as well.
    let program = "use Socket; use Errno; $| = 1; my ($in, $refused) = (0, 0); print \"ready\\n\"; \
         until (-e '/run/stop') { socket(my $s, AF_UNIX, SOCK_DGRAM, 0); \
           if (connect($s, pack_sockaddr_un('/run/sock'))) { $in++ } \
           elsif ($!{EACCES}) { $refused++ } } \
         print \"$in $refused\\n\"";
    let intruder = arena.command(["perl", "-e", program]);
    let mut intruder = intruder.user(SOMEBODY).spawn();
    assert_eq!(intruder.line(), "ready");
    inside(&arena, || {
        // As a supervisor may leave it: nothing is taken off what is not said.
        rustix::process::umask(rustix::fs::Mode::empty());
        for _ in 0..2000 {
            drop(made(&[
                ("ListenDatagram", "/run/sock"),
                ("SocketMode", "0600"),
            ]));
        }
        fs::write("/run/stop", "").expect("write");
    });
    let (_, said) = intruder.end();
    let (got_in, refused) = said.trim().split_once(' ').expect("two numbers");
    assert_eq!(got_in, "0");
    assert_ne!(refused, "0", "it never came at the right moment");
}

#[test]
fn only_the_file_of_a_socket_that_is_gone_is_replaced() {
    let _alone = alone();
    inside(&Arena::new(), || {
        let stream = [("ListenStream", "/run/sock")];
        drop(made(&stream));
        assert!(is_socket("/run/sock"), "it stays without RemoveOnStop=");
        let again = made(&stream);
        // Somebody listens there: whatever kind it is, it is not disturbed.
        let told = refused(&stream, 0);
        assert!(
            told.starts_with("/run/sock: somebody listens there"),
            "{told}"
        );
        let mut all = [PollFd::new(first(&again), PollFlags::IN)];
        let now = Timespec::default();
        assert_eq!(
            poll(&mut all, Some(&now)).expect("poll"),
            0,
            "it was asked in a way that it saw"
        );
        UnixStream::connect("/run/sock").expect("it still listens");
        drop(again);
        for kind in ["ListenDatagram", "ListenSequentialPacket"] {
            let live = made(&[(kind, "/run/sock")]);
            let told = refused(&stream, 0);
            assert!(told.contains("somebody listens there"), "{kind}: {told}");
            drop(live);
        }
        fs::remove_file("/run/sock").expect("rm");

        fs::write("/run/precious", "x").expect("write");
        symlink("/run/precious", "/run/link").expect("symlink");
        symlink("/run/elsewhere", "/run/dangling").expect("symlink");
        fs::create_dir("/run/folder").expect("mkdir");
        for (path, what) in [
            ("/run/precious", "a file"),
            ("/run/link", "a symbolic link"),
            ("/run/dangling", "a symbolic link"),
            ("/run/folder", "a folder"),
            ("/dev/null", "a file"),
        ] {
            for kind in ["ListenStream", "ListenFIFO"] {
                let told = refused(&[(kind, path)], 0);
                assert!(
                    told.contains(what) && told.contains(&format!("rm {path}")),
                    "{told}"
                );
            }
        }
        assert_eq!(fs::read("/run/precious").expect("read"), b"x");
        assert!(!Path::new("/run/elsewhere").exists());
    });
}

#[test]
fn nobody_else_has_a_say_on_the_way() {
    let _alone = alone();
    inside(&Arena::new(), || {
        folder_of("/run/theirs", SOMEBODY, 0o755);
        let told = refused(&[("ListenStream", "/run/theirs/sock")], 0);
        assert!(told.contains(&format!("belongs to {SOMEBODY}")), "{told}");
        refused(&[("ListenStream", "/run/theirs/new/sock")], 0);
        refused(&[("ListenFIFO", "/run/theirs/fifo")], 0);
        assert_eq!(
            fs::read_dir("/run/theirs").expect("ls").count(),
            0,
            "made something"
        );
        // Theirs is the socket too: nobody else has a say.
        drop(make(&[("ListenStream", "/run/theirs/sock")], SOMEBODY).expect("theirs"));
        assert_eq!(
            fs::metadata("/run/theirs/sock").expect("there").uid(),
            SOMEBODY
        );
        refused(&[("ListenStream", "/run/theirs/sock")], SOMEBODY + 1);
        // Not further up: they could put another folder there.
        fs::create_dir("/run/theirs/roots").expect("mkdir");
        refused(&[("ListenStream", "/run/theirs/roots/sock")], SOMEBODY);

        folder_of("/run/groups", 0, 0o775);
        let told = refused(&[("ListenStream", "/run/groups/sock")], 0);
        assert!(told.contains("chmod go-w /run/groups"), "{told}");
        let wide = [("ListenStream", "/run/new/sock"), ("DirectoryMode", "0777")];
        assert!(refused(&wide, 0).contains("DirectoryMode=0777"));
        assert!(!Path::new("/run/new").exists());

        // A link of root's, into somebody's folder and into root's own.
        symlink("/run/theirs", "/run/into").expect("symlink");
        refused(&[("ListenStream", "/run/into/sock")], 0);
        refused(&[("ListenStream", "/run/into/roots/sock")], 0);
        fs::create_dir("/srv/mine").expect("mkdir");
        symlink("/srv/mine", "/run/mine").expect("symlink");
        drop(made(&[("ListenStream", "/run/mine/a/sock")]));
        assert!(is_socket("/srv/mine/a/sock"));
        // A link of theirs.
        symlink("/srv/mine", "/run/theirs/link").expect("symlink");
        std::os::unix::fs::lchown("/run/theirs/link", Some(SOMEBODY), None).expect("lchown");
        refused(&[("ListenStream", "/run/theirs/link/sock")], SOMEBODY);
    });
}

#[test]
fn in_a_sticky_folder_what_is_there_already_must_be_ours() {
    let _alone = alone();
    inside(&Arena::new(), || {
        let tmp = [("ListenStream", "/tmp/sock")];
        drop(make(&tmp, SOMEBODY).expect("made"));
        drop(make(&tmp, SOMEBODY).expect("made again"));
        let told = refused(&tmp, SOMEBODY + 1);
        assert!(told.contains(&format!("belongs to {SOMEBODY}")), "{told}");
        assert!(is_socket("/tmp/sock"));
        symlink("/etc/hostile", "/tmp/link").expect("symlink");
        refused(&[("ListenStream", "/tmp/link")], 0);
        assert!(!Path::new("/etc/hostile").exists());
        // Another name of a FIFO that is elsewhere: that one is left alone.
        let fifo = [("ListenFIFO", "/tmp/fifo"), ("SocketMode", "0666")];
        rustix::fs::mknodat(
            rustix::fs::CWD,
            "/tmp/roots-own",
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .expect("mkfifo");
        fs::hard_link("/tmp/roots-own", "/tmp/fifo").expect("link");
        drop(make(&fifo, SOMEBODY).expect("made"));
        assert_eq!(mode("/tmp/roots-own"), 0o700);
        assert_eq!(fs::metadata("/tmp/roots-own").expect("there").uid(), 0);
        assert_eq!(mode("/tmp/fifo"), 0o666);
        // They could rename it: /tmp/theirs may be a link to /etc the moment after.
        folder_of("/tmp/theirs", SOMEBODY, 0o700);
        refused(&[("ListenStream", "/tmp/theirs/sock")], SOMEBODY);
        drop(made(&[("ListenStream", "/tmp/roots/sock")]));
        assert!(is_socket("/tmp/roots/sock"));
    });
}

#[test]
fn files_and_links_are_removed_at_the_end_if_they_are_still_ours() {
    let _alone = alone();
    inside(&Arena::new(), || {
        let all = [
            ("ListenStream", "/run/foo/sock"),
            ("ListenStream", "@foo"),
            ("Symlinks", "/run/one /run/bar/two"),
        ];
        let there = || {
            let paths = ["/run/foo/sock", "/run/one", "/run/bar/two"];
            paths.map(|path| fs::symlink_metadata(path).is_ok())
        };
        let stay = made(&all);
        assert_eq!(
            fs::read_link("/run/one").expect("a link"),
            Path::new("/run/foo/sock")
        );
        stay.remove().expect("nothing to do");
        assert_eq!(there(), [true; 3]);
        drop(stay);
        let removing: Vec<(&str, &str)> =
            all.into_iter().chain([("RemoveOnStop", "yes")]).collect();
        made(&removing).remove().expect("removed");
        assert_eq!(there(), [false; 3]);

        let replaced = made(&removing);
        fs::remove_file("/run/foo/sock").expect("rm");
        fs::write("/run/foo/sock", "x").expect("write");
        replaced.remove().expect("removed");
        assert_eq!(
            there(),
            [true, false, false],
            "another one's file was removed"
        );
        drop(replaced);
        fs::remove_file("/run/foo/sock").expect("rm");

        symlink("/etc/passwd", "/run/one").expect("symlink");
        let told = refused(&all, 0);
        assert!(
            told.starts_with("/run/one: a symbolic link is there"),
            "{told}"
        );
        assert_eq!(
            there(),
            [false, true, false],
            "what was made is left behind"
        );
    });
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let _alone = alone();
    inside(&Arena::new(), || {
        let taken = TcpListener::bind("127.0.0.1:7001").expect("bind");
        let told = refused(
            &[
                ("ListenStream", "/run/foo/sock"),
                ("ListenFIFO", "/run/foo/fifo"),
                ("ListenStream", "127.0.0.1:7001"),
            ],
            0,
        );
        assert!(
            told.starts_with("ListenStream=127.0.0.1:7001: bind("),
            "{told}"
        );
        assert!(told.contains("ss -lntup"), "{told}");
        assert_eq!(fs::read_dir("/run/foo").expect("ls").count(), 0);
        drop(taken);
        made(&[("ListenStream", "127.0.0.1:7001")]);
        for (address, word) in [
            ("192.0.2.7:7001", "FreeBind=yes"),
            ("[2001:db8::1]:7001", "FreeBind=yes"),
            ("[fe80::1]:7001%nosuch0", "no such network interface"),
        ] {
            let told = refused(&[("ListenStream", address)], 0);
            assert!(told.contains(word), "{told}");
        }
        for address in ["192.0.2.7:7001", "[2001:db8::1]:7001"] {
            made(&[("ListenStream", address), ("FreeBind", "yes")]);
        }
        assert!(
            refused(&[("ListenStream", "7001"), ("BindToDevice", "nosuch0")], 0)
                .contains("SO_BINDTODEVICE")
        );
        made(&[("ListenStream", "7001"), ("BindToDevice", "lo")]);
    });
}

#[test]
fn each_address_is_reached_where_it_says_and_nowhere_else() {
    let _alone = alone();
    inside(&Arena::new(), || {
        let reached = |address: &str| TcpStream::connect(address).is_ok();
        let any = made(&[("ListenStream", "7002"), ("BindIPv6Only", "both")]);
        assert!(reached("127.0.0.1:7002") && reached("[::1]:7002"));
        drop(any);
        let six = made(&[("ListenStream", "7002"), ("BindIPv6Only", "ipv6-only")]);
        assert!(!reached("127.0.0.1:7002") && reached("[::1]:7002"));
        drop(six);
        let four = made(&[("ListenStream", "127.0.0.1:7002")]);
        assert!(reached("127.0.0.1:7002") && !reached("127.0.0.2:7002") && !reached("[::1]:7002"));
        // Two of the same port, by their own will alone.
        refused(&[("ListenStream", "127.0.0.1:7002")], 0);
        drop(four);
        let sharing = [("ListenStream", "127.0.0.1:7002"), ("ReusePort", "yes")];
        let _both = (made(&sharing), made(&sharing));

        let datagrams = made(&[("ListenDatagram", "127.0.0.1:7003")]);
        // SO_REUSEADDR would let anybody have the messages.
        let thief = UdpSocket::bind("127.0.0.1:0").expect("bind");
        assert!(UdpSocket::bind("127.0.0.1:7003").is_err());
        thief.send_to(b"hello", "127.0.0.1:7003").expect("send");
        readable(first(&datagrams));
        let socket = UdpSocket::from(first(&datagrams).try_clone().expect("a copy"));
        let mut bytes = [0; 16];
        assert_eq!(socket.recv(&mut bytes).expect("a message"), 5);

        let packets = made(&[("ListenSequentialPacket", "@packets"), ("Accept", "yes")]);
        let listing = fs::read_to_string("/proc/thread-self/net/unix").expect("read");
        let line = listing.lines().find(|line| line.ends_with(" @packets"));
        // Type 5: SOCK_SEQPACKET.
        assert_eq!(
            line.expect(&listing).split_whitespace().nth(4),
            Some("0005")
        );
        assert!(packets.accept(0).expect("accept").is_none(), "nobody came");
    });
}

/// Clients that we did not write.
#[test]
fn clients_of_others_are_told_apart() {
    let _alone = alone();
    let arena = Arena::new();
    let sockets = inside(&arena, || {
        made(&[
            ("ListenStream", "7004"),
            ("ListenSequentialPacket", "/run/packets"),
            ("ListenStream", "[::1]:7005"),
            ("Accept", "yes"),
            ("BindIPv6Only", "both"),
            ("PassCredentials", "yes"),
        ])
    });
    let answered = |at: usize, words: &[&str], user: u32| {
        let client = arena.command(words.iter().copied()).user(user).spawn();
        readable(sockets.descriptors().nth(at).expect("a socket"));
        let accepted = sockets.accept(at).expect("accept").expect("somebody");
        let mut connection = fs::File::from(accepted.connection);
        connection.write_all(b"hello\n").expect("write");
        let inherited = sockopt::socket_passcred(&connection).unwrap_or(false);
        drop(connection);
        let (_, said) = client.end();
        assert_eq!(said, "hello\n", "{words:?}");
        (accepted.peer, inherited)
    };
    let (peer, _) = answered(0, &["socat", "-u", "TCP4:127.0.0.1:7004", "-"], SOMEBODY);
    let Peer::Inet { remote, .. } = peer else {
        panic!("{peer:?}")
    };
    let expected = format!("0-127.0.0.1:7004-127.0.0.1:{}", remote.port());
    assert_eq!(peer.instance(0), expected);
    let (peer, _) = answered(
        2,
        &["curl", "-s", "--http0.9", "http://[::1]:7005/"],
        SOMEBODY,
    );
    assert!(peer.instance(7).starts_with("7-::1:7005-::1:"), "{peer:?}");
    let words = ["socat", "-u", "UNIX-CONNECT:/run/packets,type=5", "-"];
    let (peer, credentials) = answered(1, &words, SOMEBODY);
    assert_eq!(peer.source(), Some(Source::User(SOMEBODY)));
    let Peer::Unix { pid, uid } = peer else {
        panic!("{peer:?}")
    };
    assert_eq!(peer.instance(1), format!("1-{pid}-{uid}"));
    assert!(credentials, "the connection has no SO_PASSCRED");
}

#[test]
fn a_connection_that_was_reset_while_it_waited_is_one_client_s_and_a_listener_goes_on() {
    let _alone = alone();
    inside(&Arena::new(), || {
        let sockets = made(&[("ListenStream", "127.0.0.1:7006"), ("Accept", "yes")]);
        assert!(
            sockets.accept(0).expect("accept").is_none(),
            "it does not wait"
        );
        for _ in 0..20 {
            let client = TcpStream::connect("127.0.0.1:7006").expect("connect");
            // Closed with a reset.
            sockopt::set_socket_linger(&client, Some(std::time::Duration::ZERO)).expect("linger");
            drop(client);
        }
        readable(first(&sockets));
        let mut known = 0;
        while let Some(accepted) = sockets.accept(0).expect("accept") {
            // Its address is known, though getpeername(2) would tell ENOTCONN.
            assert!(matches!(accepted.peer, Peer::Inet { remote, .. } if remote.port() != 0));
            known += 1;
        }
        assert_eq!(known, 20);
        let mut client = TcpStream::connect("127.0.0.1:7006").expect("connect");
        let accepted = accepted(&sockets);
        let flags = rustix::fs::fcntl_getfl(&accepted.connection).expect("flags");
        assert!(
            !flags.contains(OFlags::NONBLOCK),
            "the service's calls would not wait"
        );
        let closes = rustix::io::fcntl_getfd(&accepted.connection).expect("flags");
        assert!(closes.contains(rustix::io::FdFlags::CLOEXEC));
        drop(accepted);
        assert_eq!(client.read(&mut [0]).expect("its end"), 0);
    });
}

#[test]
fn what_waits_is_thrown_away_and_nothing_else() {
    let _alone = alone();
    inside(&Arena::new(), || {
        let sockets = made(&[
            ("ListenStream", "/run/sock"),
            ("ListenDatagram", "/run/datagrams"),
            ("ListenFIFO", "/run/fifo"),
            ("FlushPending", "yes"),
            ("PipeSize", "64K"),
        ]);
        let mut waiting = UnixStream::connect("/run/sock").expect("connect");
        let sender = UnixDatagram::unbound().expect("a socket");
        sender.send_to(b"old", "/run/datagrams").expect("send");
        fs::OpenOptions::new()
            .write(true)
            .open("/run/fifo")
            .and_then(|mut fifo| fifo.write_all(b"old"))
            .expect("write");
        sockets.descriptors().for_each(readable);
        sockets.flush().expect("flush");
        assert_eq!(
            waiting.read(&mut [0]).expect("its end"),
            0,
            "it was not let go"
        );
        for descriptor in sockets.descriptors() {
            let mut all = [PollFd::new(descriptor, PollFlags::IN)];
            let now = Timespec::default();
            assert_eq!(
                poll(&mut all, Some(&now)).expect("poll"),
                0,
                "something waits"
            );
            let flags = rustix::fs::fcntl_getfl(descriptor).expect("flags");
            // Services get them as from systemd: their calls wait.
            assert!(!flags.contains(OFlags::NONBLOCK));
        }
        sender
            .send_to(b"new", "/run/datagrams")
            .expect("it still listens");
        readable(sockets.descriptors().nth(1).expect("the second"));
    });
}

#[test]
fn the_kernel_has_the_options() {
    let _alone = alone();
    inside(&Arena::new(), || {
        let tcp = made(&[
            ("ListenStream", "7007"),
            ("KeepAlive", "yes"),
            ("KeepAliveTimeSec", "2min"),
            ("KeepAliveIntervalSec", "7"),
            ("KeepAliveProbes", "3"),
            ("NoDelay", "yes"),
            ("IPTTL", "5"),
            ("Priority", "3"),
            ("ReceiveBuffer", "1M"),
            ("IPTOS", "low-delay"),
            ("DeferAcceptSec", "5"),
            ("Mark", "7"),
            ("TCPCongestion", "reno"),
            ("Timestamping", "ns"),
            ("Backlog", "7"),
            ("Transparent", "yes"),
        ]);
        let socket = first(&tcp);
        assert!(sockopt::socket_keepalive(socket).expect("option"));
        assert_eq!(
            sockopt::tcp_keepidle(socket).expect("option").as_secs(),
            120
        );
        assert_eq!(sockopt::tcp_keepintvl(socket).expect("option").as_secs(), 7);
        assert_eq!(sockopt::tcp_keepcnt(socket).expect("option"), 3);
        assert!(sockopt::tcp_nodelay(socket).expect("option"));
        assert_eq!(sockopt::ip_ttl(socket).expect("option"), 5);
        assert_eq!(sockopt::ipv6_unicast_hops(socket).expect("option"), 5);
        assert_eq!(sockopt::ip_tos(socket).expect("option"), 0x10);
        assert_eq!(sockopt::tcp_congestion(socket).expect("option"), "reno");
        // The kernel doubles it, for what it keeps beside the bytes.
        let size = sockopt::socket_recv_buffer_size(socket).expect("option");
        assert_eq!(size, 2 << 20);
    });
    let arena = Arena::new();
    let _sockets = inside(&arena, || {
        made(&[
            ("ListenStream", "127.0.0.1:7008"),
            ("Backlog", "7"),
            ("Mark", "9"),
        ])
    });
    let seen = arena.run(["ss", "-Hlnte"]).ok();
    // The column of a listener's Send-Q is its backlog.
    let columns: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(
        columns[..4],
        ["LISTEN", "0", "7", "127.0.0.1:7008"],
        "{seen}"
    );
    assert!(seen.contains("fwmark:0x9"), "{seen}");
}

#[test]
fn more_than_the_backlog_are_not_kept_waiting() {
    let _alone = alone();
    inside(&Arena::new(), || {
        let sockets = made(&[
            ("ListenStream", "/run/sock"),
            ("Backlog", "2"),
            ("Accept", "yes"),
        ]);
        let connect = || {
            let client = rustix::net::socket_with(
                rustix::net::AddressFamily::UNIX,
                rustix::net::SocketType::STREAM,
                rustix::net::SocketFlags::NONBLOCK,
                None,
            )
            .expect("a socket");
            let address = rustix::net::SocketAddrUnix::new("/run/sock").expect("an address");
            rustix::net::connect(&client, &address).map(|()| client)
        };
        // The kernel lets one more in than it is told.
        let _clients: Vec<OwnedFd> = (0..3).map(|_| connect().expect("room")).collect();
        assert_eq!(connect().map(drop), Err(rustix::io::Errno::AGAIN));
        accepted(&sockets);
        connect().expect("room again");
    });
}

#[test]
fn check_tells_of_each_line_of_a_socket_and_of_its_drop_ins() {
    let _alone = alone();
    let arena = Arena::new();
    arena.sh("mkdir -p /etc/systemd/system/foo.socket.d").ok();
    arena.put(
        "/etc/systemd/system/foo.socket",
        "[Unit]\nDescription=x\nStartLimitBurst=3\n[Socket]\nListenStream=/run/%p\nUser=nobody\n\
         [Install]\nWantedBy=sockets.target\n",
        0o644,
    );
    let told = arena.run(["dynuser", "check", "foo.socket"]).ok();
    for line in [
        "foo.socket:3:17: ignored: StartLimitBurst=3",
        "foo.socket:5:14: enforced: ListenStream=/run/foo (TCP, or a UNIX stream)",
        "foo.socket:6:6: ignored: User=nobody",
        "foo.socket: all of it is enforced, 1 lines; 4 mean nothing here",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    let drop_in = "[Socket]\nAccept=yes\nListenNetlink=route 1\nIPAddressDeny=any\n";
    arena.put("/etc/systemd/system/foo.socket.d/a.conf", drop_in, 0o644);
    let check = || arena.run(["dynuser", "check", "foo.socket"]);
    let told = check().fails_with_output(1);
    assert!(
        told.contains("a.conf:3:15: not supported: ListenNetlink=route 1"),
        "{told}"
    );
    assert!(
        told.ends_with("foo.socket: not supported: ListenNetlink IPAddressDeny\n"),
        "{told}"
    );
    let drop_in = "[Socket]\nAccept=yes\nListenDatagram=80\n";
    arena.put("/etc/systemd/system/foo.socket.d/a.conf", drop_in, 0o644);
    let told = check().fails_with_output(1);
    assert!(
        told.contains("ListenDatagram=[::]:80 has no connections"),
        "{told}"
    );
    arena.append("/etc/systemd/system/foo.socket.d/a.conf", "[Service]");
    arena.append("/etc/systemd/system/foo.socket.d/a.conf", "User=x");
    assert!(
        check()
            .fails(2)
            .contains("[Service] is no section of a socket's unit")
    );
    // It is no service, and nothing of it runs.
    arena.sh("rm /etc/systemd/system/foo.socket.d/a.conf").ok();
    let told = arena
        .run(["dynuser", "run", "--unit-file", "foo.socket"])
        .fails(1);
    assert!(
        told.contains("is a socket, and no service: dynuser listen"),
        "{told}"
    );
}
