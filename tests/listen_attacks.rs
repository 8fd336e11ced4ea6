//! `dynuser listen` and those who mean harm: clients who flood it or choose their names, services that do what they like to
//! what they were given, a daemon that stands still, ends at any moment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use support::{Arena, PATIENCE, Running, dynamic_uid, wait_until};

/// Tells who it is, and then gives back what it gets.
const TALK: &str = "id -u; exec cat";

/// Starts `dynuser listen`, which writes what it says to /tmp/said, and waits until it listens.
fn listen(arena: &Arena, before: &str, words: &str) -> Running {
    let script = "import os, socket, subprocess, sys\n\
         s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
         try: os.unlink('/run/told')\n\
         except FileNotFoundError: pass\n\
         s.bind('/run/told')\n\
         print('bound', flush=True)\n\
         s.recv(99); print('ready', flush=True)\n";
    let mut told = arena.spawn(["python3", "-c", script]);
    assert_eq!(told.line(), "bound");
    let script = format!("{before} exec dynuser listen {words} >>/tmp/said 2>&1");
    let listener = arena
        .command(["sh", "-c", &script])
        .env("NOTIFY_SOCKET", "/run/told")
        .spawn();
    assert_eq!(told.line(), "ready", "{}", said(arena));
    told.end();
    listener
}

/// What listeners have said.
fn said(arena: &Arena) -> String {
    arena.sh("cat /tmp/said").stdout
}

/// A client's end, whatever the family.
struct Client<S: Read + Write> {
    reader: BufReader<S>,
}

impl Client<TcpStream> {
    fn tcp(arena: &Arena) -> Self {
        let stream =
            arena.within(|| TcpStream::connect(("127.0.0.1", 7000)).expect("a connection"));
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Self {
            reader: BufReader::new(stream),
        }
    }
}

impl Client<UnixStream> {
    fn unix(arena: &Arena) -> Self {
        let stream = arena.within(|| UnixStream::connect("/run/talk").expect("a connection"));
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Self {
            reader: BufReader::new(stream),
        }
    }
}

impl<S: Read + Write> Client<S> {
    /// A line; nothing if the other end has closed.
    fn line(&mut self) -> String {
        let mut line = String::new();
        let _reset = self.reader.read_line(&mut line);
        line.trim_end().to_owned()
    }

    fn answers(&mut self) -> bool {
        writeln!(self.reader.get_mut(), "still there").expect("a line that is sent");
        self.line() == "still there"
    }
}

fn ends(listener: Running) -> Option<i32> {
    listener.signal(Signal::TERM);
    listener.end().0.code()
}

/// Listening sockets and descriptors that hold leases, and which processes have them open: `INODE-OR-NAME PID COMM`.
const WHO_HAS_WHAT: &str = "listening=$(awk '$4 == \"0A\" { print $10 }' /proc/net/tcp; awk '$4 == \"00010000\" { print $7 }' /proc/net/unix)
    for fd in /proc/[0-9]*/fd/*; do
      pid=${fd#/proc/}; pid=${pid%%/*}; to=$(readlink $fd) || continue
      case $to in
        socket:*) inode=${to#socket:[}; inode=${inode%]}
          echo \"$listening\" | grep -qx \"$inode\" && echo \"socket $pid $(cat /proc/$pid/comm) $fd\";;
        */dynuser/holds/*) echo \"hold $pid $(cat /proc/$pid/comm) $fd\";;
      esac
    done; true";

/// With a unit of `Type=notify` a process of ours stays beside the service: it must not keep the port, nor a dynamic group.
#[test]
fn nothing_of_the_listener_is_open_beside_whom_it_serves() {
    let arena = Arena::new();
    let socket = "[Socket]\nListenStream=127.0.0.1:7000\nListenStream=/run/talk\nSocketGroup=talkers\nAccept=yes\n";
    arena.put("/run/talk.socket", socket, 0o644);
    let service = "[Service]\nDynamicUser=yes\nType=notify\nNotifyAccess=all\nStandardInput=socket\n\
        ExecStartPre=/bin/sh -c 'ls /proc/self/fd | tr \"\\\\n\" \" \"; echo'\n\
        ExecStart=/bin/sh -c 'ls /proc/self/fd | tr \"\\\\n\" \" \"; echo; exec cat'\n\
        TimeoutStartSec=infinity\n";
    arena.put("/run/talk@.service", service, 0o644);
    // The first connection starts the daemon, but for the group: so end the daemon before.
    let listener = listen(&arena, "", "--unit-file /run/talk.socket");
    arena.kill_daemons();
    let mut client = Client::tcp(&arena);
    let mut local = Client::unix(&arena);
    for lines in [[client.line(), client.line()], [local.line(), local.line()]] {
        // 3 is what `ls` itself reads.
        assert_eq!(lines, ["0 1 2 3", "0 1 2 3"]);
    }
    let pid = listener.pid();
    let found = arena.sh(WHO_HAS_WHAT).ok();
    assert!(found.contains(&format!("socket {pid} ")), "{found}");
    assert!(found.contains(&format!("hold {pid} ")), "{found}");
    for line in found.lines() {
        let who: Vec<&str> = line.split(' ').collect();
        let daemons = arena.daemons();
        let may = who[1] == pid || daemons.iter().any(|it| it == who[1]);
        assert!(may, "{found}");
    }
    // So the next one can listen at once when it was killed.
    listener.signal(Signal::KILL);
    listener.end();
    wait_until("the group is gone with the listener", || {
        let list = arena.list();
        !list.iter().any(|lease| lease["name"] == "talkers")
    });
    let next = listen(&arena, "", "--unit-file /run/talk.socket");
    assert!(client.answers() && local.answers());
    let mut other = Client::tcp(&arena);
    assert_eq!(other.line(), "0 1 2 3");
    drop((client, local, other));
    assert_eq!(ends(next), Some(0));
}

/// Each failure of a connection was a line of the child's own.
#[test]
fn a_flood_fills_no_log() {
    let arena = Arena::new();
    let listener = listen(
        &arena,
        "",
        "--tcp 127.0.0.1:7000 --accept --inetd -u talk -- /nonexistent",
    );
    for _ in 0..100 {
        assert_eq!(Client::tcp(&arena).line(), "");
    }
    let first = said(&arena);
    assert!(first.contains("/nonexistent"), "{first}");
    assert!(first.lines().count() < 60, "{first}");
    assert_eq!(ends(listener), Some(0));
}

/// A listener that is started anew counts from 0 again: the same process that connects first to both has the same name
/// twice. It is never the same user.
#[test]
fn a_name_that_comes_again_is_never_the_user_of_one_who_is_served() {
    let arena = Arena::new();
    let words = format!("--unix /run/talk --accept --inetd -u talk -- sh -c '{TALK}'");
    let listener = listen(&arena, "", &words);
    let script = "import os, socket\n\
        def talk():\n  \
          s = socket.socket(socket.AF_UNIX); s.connect('/run/talk'); return s, s.makefile().readline().strip()\n\
        first = talk(); print(first[1], flush=True); input()\n\
        print(talk()[1], flush=True); print(talk()[1], flush=True); input()";
    let mut peer = arena.spawn(["python3", "-c", script]);
    let first = dynamic_uid(&peer.line());
    listener.signal(Signal::KILL);
    listener.end();
    let next = listen(&arena, "", &words);
    peer.say("");
    assert_eq!(peer.line(), "", "the same name was served");
    assert_ne!(dynamic_uid(&peer.line()), first);
    assert!(said(&arena).contains("another connection's"));
    peer.say("");
    peer.end();
    arena.wait_until_idle();
    assert_eq!(ends(next), Some(0));
}

#[test]
fn a_daemon_that_stands_still_hinders_neither_the_listener_nor_those_being_served() {
    let arena = Arena::new();
    let words = format!("--tcp 127.0.0.1:7000 --accept --inetd -u talk -- sh -c '{TALK}'");
    let listener = listen(&arena, "", &words);
    let mut served = Client::tcp(&arena);
    dynamic_uid(&served.line());
    let daemons = arena.daemons();
    for daemon in &daemons {
        arena.run(["kill", "-STOP", daemon]).ok();
    }
    let mut waiting: Vec<_> = (0..100).map(|_| Client::tcp(&arena)).collect();
    assert!(served.answers());
    // MaxConnections=64: one is served, 63 wait, and the others are refused.
    for refused in waiting.split_off(63) {
        let mut refused = refused;
        assert_eq!(refused.line(), "");
    }
    assert!(served.answers());
    for daemon in &daemons {
        arena.run(["kill", "-CONT", daemon]).ok();
    }
    let uids: BTreeSet<u32> = waiting
        .iter_mut()
        .map(|it| dynamic_uid(&it.line()))
        .collect();
    assert_eq!(uids.len(), 63);
    // And once more: it ends although they wait.
    drop(waiting);
    wait_until("they are gone", || arena.list().len() == 1);
    for daemon in &daemons {
        arena.run(["kill", "-STOP", daemon]).ok();
    }
    let mut waiting = Client::tcp(&arena);
    assert!(served.answers());
    assert_eq!(ends(listener), Some(0));
    assert_eq!(
        (waiting.line(), served.line()),
        (String::new(), String::new())
    );
    for daemon in &daemons {
        arena.run(["kill", "-CONT", daemon]).ok();
    }
    arena.wait_until_idle();
}

/// Where standard error is the connection, the other end was told which path does not exist.
#[test]
fn the_other_end_of_a_connection_is_told_nothing_of_the_host() {
    let arena = Arena::new();
    let script = "import socket, subprocess\n\
        ours, theirs = socket.socketpair()\n\
        p = subprocess.Popen(['dynuser', 'run', '-u', 'talk', '-p', 'StandardInput=socket', '--', '/secret/path'], stdin=theirs, stderr=subprocess.PIPE)\n\
        theirs.close(); said = p.communicate()[1].decode(); print(p.returncode, ours.recv(999), '/secret/path' in said)";
    assert_eq!(arena.run(["python3", "-c", script]).ok(), "203 b'' True\n");
}

/// How many descriptors a process has open.
fn descriptors(arena: &Arena, pid: &str) -> usize {
    let count = arena.sh(&format!("ls /proc/{pid}/fd | wc -l")).ok();
    count.trim().parse().expect("a number")
}

/// Clients that are gone before they are served, 64 at once, and some who stay: python in the arena.
const RESETS: &str = "import socket, struct, sys\n\
    for i in range(int(sys.argv[1])):\n  \
      s = socket.create_connection(('127.0.0.1', 7000))\n  \
      if i % 2: s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n  \
      s.close()";

#[test]
fn clients_who_are_gone_at_once_leave_nothing_open() {
    let arena = Arena::new();
    let words = format!("--tcp 127.0.0.1:7000 --accept --inetd -u talk -- sh -c '{TALK}'");
    let listener = listen(&arena, "ulimit -Sn 24;", &words);
    let first = |arena: &Arena| {
        wait_until("somebody is served", || {
            Client::tcp(arena).line().parse::<u32>().is_ok()
        });
        arena.wait_until_idle();
    };
    first(&arena);
    let processes = arena.processes().len();
    let daemon = arena.daemons()[0].clone();
    let before = (
        descriptors(&arena, &listener.pid()),
        descriptors(&arena, &daemon),
    );
    arena.run(["python3", "-c", RESETS, "300"]).ok();
    first(&arena);
    // The daemon closes what was a lease's a moment after its end, before as well.
    wait_until("nothing more is open", || {
        descriptors(&arena, &listener.pid()) <= before.0 && descriptors(&arena, &daemon) <= before.1
    });
    wait_until("no process is left", || {
        arena.processes().len() <= processes
    });
    assert_eq!(ends(listener), Some(0));
}

/// The other end chooses its own name, in every form that unix(7) has.
#[test]
fn peers_of_unix_sockets_may_have_any_name() {
    let arena = Arena::new();
    let words = format!("--unix /run/talk --accept --inetd -u talk -- sh -c '{TALK}'");
    let listener = listen(&arena, "", &words);
    let script = "import socket\n\
        for name in [None, '', '\\0x', '\\0' + 'y' * 107, '\\0\\n:/@%', '/tmp/' + 'z' * 102, '/tmp/a b']:\n  \
          s = socket.socket(socket.AF_UNIX)\n  \
          if name is not None: s.bind(name)\n  \
          s.connect('/run/talk'); print(s.makefile().readline().strip())";
    let uids = arena.run(["python3", "-c", script]).ok();
    let uids: Vec<u32> = uids.lines().map(dynamic_uid).collect();
    assert_eq!(uids.len(), 7);
    arena.wait_until_idle();
    assert_eq!(ends(listener), Some(0));
}

/// What a service does to the socket that it shares with the listener is done for good.
#[test]
fn a_service_that_breaks_its_socket_ends_the_listener_and_not_the_host() {
    let arena = Arena::new();
    for harm in [
        "s.shutdown(socket.SHUT_RDWR)",
        "s.setblocking(False)",
        "s.setblocking(True)",
        "s.shutdown(socket.SHUT_RD); s.setblocking(True)",
    ] {
        let script = format!("import socket; s = socket.socket(fileno=3); {harm}");
        let socket = "[Socket]\nListenStream=127.0.0.1:7000\nFlushPending=yes\n";
        arena.put("/run/bad.socket", socket, 0o644);
        let service = format!("[Service]\nDynamicUser=yes\nExecStart=python3 -c \"{script}\"\n");
        arena.put("/run/bad.service", &service, 0o644);
        let listener = listen(&arena, "", "--unit-file /run/bad.socket");
        let pid = listener.pid();
        // One that is not broken: what waits is thrown away each time.
        let closed = Client::tcp(&arena).line();
        assert_eq!(closed, "", "{harm}");
        let broken = harm.contains("shutdown");
        let (status, _) = match broken {
            true => listener.end(),
            false => {
                listener.signal(Signal::TERM);
                listener.end()
            }
        };
        assert_eq!(status.success(), !broken, "{harm} {pid}: {}", said(&arena));
        arena.wait_until_idle();
    }
}

/// Whatever whoever starts us says of sockets: what is not open is no socket, and no number of ours becomes one.
#[test]
fn sockets_that_are_not_there_are_refused() {
    let arena = Arena::new();
    let run = |count: &str, names: &str| {
        let script = format!(
            "exec 3<&- 4<&-; LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names} \
             exec dynuser run -u talk -- sh -c 'echo $LISTEN_FDS $LISTEN_FDNAMES'"
        );
        arena.run(["bash", "-c", &script])
    };
    for count in [
        "1",
        "2",
        "1024",
        "1025",
        "99999999999999999999",
        "-1",
        "x",
        "''",
        "' 1'",
    ] {
        assert!(run(count, "a").stderr.contains("LISTEN_FDS"), "{count}");
    }
    assert_eq!(run("0", "a:b").ok(), "\n");
    let script = "exec 3</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=$'a\\nLISTEN_FDS=9:b:c' \
        exec dynuser run -u talk -- sh -c 'ls /proc/self/fd | wc -l; echo $LISTEN_FDS; echo \"$LISTEN_FDNAMES\"'";
    assert_eq!(
        arena.run(["bash", "-c", script]).ok(),
        "5\n1\na\nLISTEN_FDS=9\n"
    );
}

#[test]
fn what_gets_away_from_a_service_does_not_keep_the_connection() {
    let arena = Arena::new();
    let script = "id -u; (setsid sh -c \"trap \\\"\\\" TERM HUP; while :; do sleep 1000; done\" &) & exec sleep 0";
    let words = format!(
        "--tcp 127.0.0.1:7000 --accept --inetd -u talk --socket-property MaxConnections=2 -- sh -c '{script}'"
    );
    let listener = listen(&arena, "", &words);
    for _ in 0..5 {
        let mut client = Client::tcp(&arena);
        dynamic_uid(&client.line());
        // It ends although somebody still has it open.
        assert_eq!(client.line(), "");
    }
    arena.wait_until_idle();
    let left = arena.processes();
    assert!(
        !left.iter().any(|line| line.ends_with("sleep 1000")),
        "{left:?}"
    );
    assert_eq!(ends(listener), Some(0));
}

#[test]
fn a_full_run_refuses_and_goes_on() {
    let arena = Arena::new();
    let words = format!("--tcp 127.0.0.1:7000 --accept --inetd -u talk -- sh -c '{TALK}'");
    let listener = listen(&arena, "", &words);
    let mut served = Client::tcp(&arena);
    dynamic_uid(&served.line());
    arena.sh("mount -o remount,size=1m /run; cat /dev/zero > /run/full");
    for _ in 0..5 {
        assert_eq!(Client::tcp(&arena).line(), "");
    }
    assert!(served.answers());
    arena.sh("rm /run/full").ok();
    wait_until("there is room again", || {
        Client::tcp(&arena).line().parse::<u32>().is_ok()
    });
    drop(served);
    arena.wait_until_idle();
    assert_eq!(ends(listener), Some(0));
}

#[test]
fn five_hundred_for_four_numbers() {
    let arena = Arena::new();
    arena
        .sh("mkdir -p /etc/dynuser; printf '[Manager]\\nUIDRange=61300-61303\\n' > /etc/dynuser/dynuser.conf")
        .ok();
    let words = format!(
        "--tcp 127.0.0.1:7000 --accept --inetd -u talk --socket-property MaxConnections=500 -- sh -c '{TALK}'"
    );
    let listener = listen(&arena, "", &words);
    let script = "import socket\n\
        all = [socket.create_connection(('127.0.0.1', 7000)) for i in range(500)]\n\
        print(*(s.makefile().readline().strip() for s in all), flush=True)\n\
        input()";
    let mut flood = arena.spawn(["python3", "-c", script]);
    let line = flood.line();
    let uids: Vec<u32> = line
        .split_whitespace()
        .map(|it| it.parse().expect("a number"))
        .collect();
    let different: BTreeSet<u32> = uids.iter().copied().collect();
    assert_eq!(uids.len(), different.len(), "{uids:?}");
    assert!(different.iter().all(|uid| (61300..=61303).contains(uid)));
    flood.say("");
    flood.end();
    arena.wait_until_idle();
    assert!(said(&arena).lines().count() < 60, "{}", said(&arena));
    assert_eq!(ends(listener), Some(0));
}

/// Somebody in another PID namespace has no number here. It counts as its user all the same.
#[test]
fn those_without_a_number_are_counted_by_their_user() {
    let arena = Arena::new();
    let words = format!(
        "--unix /run/talk --accept --inetd -u talk --socket-property MaxConnectionsPerSource=1 -- sh -c '{TALK}'"
    );
    let script = format!(
        "exec unshare --pid --fork --kill-child --mount-proc dynuser listen {words} 2>>/tmp/said"
    );
    let listener = arena.spawn(["sh", "-c", &script]);
    wait_until("it listens", || {
        arena.within(|| UnixStream::connect("/run/talk")).is_ok()
    });
    // The one who has just asked may count still.
    let mut first = Client::unix(&arena);
    wait_until("there is room", || {
        let served = first.line().parse::<u32>().is_ok();
        if !served {
            first = Client::unix(&arena);
        }
        served
    });
    assert_eq!(Client::unix(&arena).line(), "", "{}", said(&arena));
    drop(first);
    listener.signal(Signal::KILL);
    listener.end();
}

/// What is left of a service, for a moment, lets calls on the socket wait again while it is flushed.
#[test]
fn a_flush_never_waits() {
    let arena = Arena::new();
    let socket =
        "[Socket]\nListenStream=127.0.0.1:7000\nFlushPending=yes\nTriggerLimitBurst=1000\n";
    arena.put("/run/bad.socket", socket, 0o644);
    let script = "import fcntl, os, socket\n\
        s = socket.socket(fileno=3); c, _ = s.accept(); c.close()\n\
        for _ in range(3):\n  \
          if os.fork() == 0:\n    \
            os.setsid()\n    \
            while True: fcntl.fcntl(3, fcntl.F_SETFL, os.O_RDWR)\n";
    arena.put("/run/bad.py", script, 0o644);
    let service = "[Service]\nDynamicUser=yes\nExecStart=python3 /run/bad.py\n";
    arena.put("/run/bad.service", service, 0o644);
    let listener = listen(&arena, "", "--unit-file /run/bad.socket");
    for _ in 0..5 {
        // It is thrown away by the flush, or closed by the service.
        assert_eq!(Client::tcp(&arena).line(), "");
    }
    assert_eq!(ends(listener), Some(0), "{}", said(&arena));
    arena.wait_until_idle();
}
