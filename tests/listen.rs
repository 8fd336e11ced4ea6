//! `dynuser listen`: sockets that are open before anybody serves, and a user of its own for each connection.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use support::{Arena, PATIENCE, Running, dynamic_uid, wait_until};

/// A listener, which listens.
struct Listener<'a> {
    arena: &'a Arena,
    running: Running,
}

const PORT: u16 = 7000;

impl<'a> Listener<'a> {
    /// Starts `dynuser listen` and waits until it listens at [`PORT`].
    fn tcp(arena: &'a Arena, words: &[&str]) -> Self {
        let start = ["dynuser", "listen"];
        let running = arena.spawn(start.iter().chain(words));
        let this = Self { arena, running };
        wait_until("it listens", || {
            [this.table("tcp"), this.table("tcp6")]
                .concat()
                .contains(&format!(":{PORT:04X} "))
        });
        this
    }

    /// Those sockets of the arena that are listening.
    fn table(&self, kind: &str) -> String {
        let table = std::fs::read_to_string(self.running.proc(&format!("net/{kind}")));
        let table = table.unwrap_or_default();
        let listening = table.lines().filter(|line| line.contains(" 0A "));
        listening.map(|line| format!("{line}\n")).collect()
    }

    /// Ends it, and waits until nothing of it is left.
    fn stop(self) -> i32 {
        self.running.signal(Signal::TERM);
        let (status, _) = self.running.end();
        self.arena.wait_until_idle();
        status.code().expect("an exit status")
    }
}

/// A connection to [`PORT`].
struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    fn new(arena: &Arena) -> Self {
        let stream =
            arena.within(|| TcpStream::connect(("127.0.0.1", PORT)).expect("a connection"));
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Self {
            reader: BufReader::new(stream),
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    fn say(&mut self, line: &str) {
        writeln!(self.reader.get_mut(), "{line}").expect("a line that is sent");
    }

    /// Whatever comes until the other end closes; a reset counts as that.
    fn rest(mut self) -> String {
        let mut rest = Vec::new();
        let _reset = self.reader.read_to_end(&mut rest);
        String::from_utf8(rest).expect("text")
    }

    fn close(self) -> String {
        self.reader
            .get_ref()
            .shutdown(Shutdown::Write)
            .expect("shutdown");
        self.rest()
    }
}

fn accepting<'a>(arena: &'a Arena, more: &[&str], script: &str) -> Listener<'a> {
    let words = [
        "--tcp",
        "127.0.0.1:7000",
        "--accept",
        "--inetd",
        "-u",
        "talk",
    ];
    let command = ["--", "sh", "-c", script];
    Listener::tcp(arena, &[&words[..], more, &command].concat())
}

/// Tells who it is, and then gives back what it gets.
const TALK: &str = "id -u; exec cat";

#[test]
fn two_hundred_connections_at_once_have_two_hundred_users() {
    let arena = Arena::with_module();
    let listener = accepting(&arena, &["--socket-property", "MaxConnections=200"], TALK);
    let mut clients: Vec<Client> = (0..200).map(|_| Client::new(&arena)).collect();
    let uids: Vec<u32> = clients
        .iter_mut()
        .map(|client| dynamic_uid(&client.line()))
        .collect();
    let different: BTreeSet<u32> = uids.iter().copied().collect();
    println!("{uids:?}");
    assert_eq!(different.len(), 200);
    // Whoever answers is `cat`.
    for client in &mut clients {
        client.say("there");
        assert_eq!(client.line(), "there");
    }
    // As the kernel sees it, and as everybody else does: each with a name of its own.
    let running = arena
        .sh("ps -e -o uid=,comm= | awk '$2 == \"cat\" { print $1 }'")
        .ok();
    let running: BTreeSet<u32> = running.lines().map(dynamic_uid).collect();
    assert_eq!(running, different);
    let names = arena
        .sh("ps -e -o uid=,comm= | awk '$2 == \"cat\" { print $1 }' | xargs -n1 id -un")
        .ok();
    let names: BTreeSet<&str> = names.lines().collect();
    assert_eq!(names.len(), 200);
    assert!(
        names.iter().all(|name| name.starts_with("talk_")),
        "{names:?}"
    );
    assert_eq!(arena.list().len(), 200);
    // One more is refused, and those who are served do not notice.
    assert_eq!(Client::new(&arena).rest(), "");
    for client in &mut clients {
        client.say("still there");
        assert_eq!(client.line(), "still there");
    }
    for client in clients {
        assert_eq!(client.close(), "");
    }
    arena.wait_until_idle();
    assert_eq!(
        arena
            .sh("ls /run/dynuser/leases /run/dynuser/users")
            .ok()
            .matches("talk")
            .count(),
        0
    );
    assert_eq!(listener.stop(), 0);
    let left = arena.processes();
    assert!(
        !left
            .iter()
            .any(|line| line.contains("cat") || line.contains("listen")),
        "{left:?}"
    );
    // They come only once: nothing is remembered of them.
    let registry = arena
        .sh("cd /var/lib/dynuser; cat registry directories 2>/dev/null | grep -c talk")
        .stdout;
    assert_eq!(registry.trim(), "0");
}

/// `DYNUSER_CONNECTIONS`, or as many as a test can wait for.
fn connections() -> u32 {
    let asked = std::env::var("DYNUSER_CONNECTIONS");
    asked.map_or(2000, |number| number.parse().expect("a number"))
}

#[test]
fn one_after_the_other_leave_nothing() {
    let arena = Arena::new();
    let listener = accepting(&arena, &[], TALK);
    let before = arena.disk();
    let mut different = BTreeSet::new();
    for number in 0..connections() {
        let mut client = Client::new(&arena);
        let uid = dynamic_uid(&client.line());
        different.insert(uid);
        client.say(&number.to_string());
        assert_eq!(client.close(), format!("{number}\n"));
    }
    println!(
        "{} users for {} connections",
        different.len(),
        connections()
    );
    assert!(different.len() > 500, "{}", different.len());
    arena.wait_until_idle();
    assert_eq!(arena.disk(), before);
    assert_eq!(
        arena
            .sh("ls /run/dynuser/leases /run/dynuser/users | grep -v ranges | grep -v : ; true")
            .ok()
            .trim(),
        ""
    );
    assert_eq!(listener.stop(), 0);
}

#[test]
fn slow_and_half_open_clients_keep_nobody_waiting() {
    let arena = Arena::new();
    let listener = accepting(&arena, &[], TALK);
    let mut long = Client::new(&arena);
    let uid = dynamic_uid(&long.line());
    // Those who never say a word, and one who has closed one half.
    let silent: Vec<Client> = (0..20).map(|_| Client::new(&arena)).collect();
    let half = Client::new(&arena);
    half.reader
        .get_ref()
        .shutdown(Shutdown::Write)
        .expect("shutdown");
    for _ in 0..20 {
        let mut short = Client::new(&arena);
        assert_ne!(dynamic_uid(&short.line()), uid);
        short.say("short");
        assert_eq!(short.close(), "short\n");
        long.say("still");
        assert_eq!(long.line(), "still");
    }
    assert!(half.rest().trim().parse::<u32>().is_ok());
    drop(silent);
    // A daemon of ours that is killed is no matter to those who are served.
    for daemon in arena.daemons() {
        // One that only helped to end a lease may be gone already.
        arena.run(["kill", "-9", &daemon]);
    }
    long.say("after");
    assert_eq!(long.line(), "after");
    let mut next = Client::new(&arena);
    assert_ne!(dynamic_uid(&next.line()), uid);
    drop(next);
    assert_eq!(long.close(), "");
    assert_eq!(listener.stop(), 0);
}

#[test]
fn limits_of_all_and_of_each_source() {
    let arena = Arena::new();
    let limits = [
        "--socket-property",
        "MaxConnections=3",
        "--socket-property",
        "MaxConnectionsPerSource=2",
    ];
    let listener = accepting(&arena, &limits, TALK);
    let mut here: Vec<Client> = (0..2).map(|_| Client::new(&arena)).collect();
    for client in &mut here {
        dynamic_uid(&client.line());
    }
    assert_eq!(
        Client::new(&arena).rest(),
        "",
        "a third one of the same source"
    );
    // From another address of the loopback interface.
    let other = "import socket\n\
        s = socket.socket(); s.bind(('127.0.0.2', 0)); s.connect(('127.0.0.1', 7000))\n\
        print(s.makefile().readline().strip(), flush=True); input(); s.close()";
    let mut there = arena.spawn(["python3", "-c", other]);
    dynamic_uid(&there.line());
    let fourth = "import socket\n\
        s = socket.socket(); s.bind(('127.0.0.3', 0)); s.connect(('127.0.0.1', 7000)); print(s.recv(9))";
    assert_eq!(
        arena.run(["python3", "-c", fourth]).ok(),
        "b''\n",
        "a fourth one of all"
    );
    there.say("");
    let (status, _) = there.end();
    assert!(status.success());
    drop(here.pop());
    wait_until("there is room again", || {
        let mut client = Client::new(&arena);
        let line = client.line();
        line.parse::<u32>().is_ok()
    });
    drop(here);
    assert_eq!(listener.stop(), 0);
}

#[test]
fn a_full_pool_refuses_and_never_shares() {
    let arena = Arena::new();
    arena.sh("mkdir -p /etc/dynuser; printf '[Manager]\\nUIDRange=61300-61303\\n' > /etc/dynuser/dynuser.conf").ok();
    let listener = accepting(&arena, &[], TALK);
    let mut clients: Vec<Client> = (0..4).map(|_| Client::new(&arena)).collect();
    let uids: BTreeSet<u32> = clients
        .iter_mut()
        .map(|client| dynamic_uid(&client.line()))
        .collect();
    assert_eq!(uids, (61300..=61303).collect());
    for _ in 0..5 {
        assert_eq!(Client::new(&arena).rest(), "");
    }
    for client in &mut clients {
        client.say("still there");
        assert_eq!(client.line(), "still there");
    }
    drop(clients.pop());
    wait_until("the number is free again", || {
        let line = Client::new(&arena).line();
        line.parse::<u32>().is_ok_and(|uid| uids.contains(&uid))
    });
    drop(clients);
    assert_eq!(listener.stop(), 0);
}

#[test]
fn stopped_it_ends_whom_it_serves_unless_told_to_leave_them() {
    let arena = Arena::new();
    let listener = accepting(&arena, &[], TALK);
    let mut client = Client::new(&arena);
    dynamic_uid(&client.line());
    assert_eq!(listener.stop(), 0);
    assert_eq!(client.rest(), "");

    let listener = accepting(&arena, &["--leave-connections"], TALK);
    let mut client = Client::new(&arena);
    dynamic_uid(&client.line());
    listener.running.signal(Signal::TERM);
    let (status, _) = listener.running.end();
    assert_eq!(status.code(), Some(0));
    client.say("alone");
    assert_eq!(client.line(), "alone");
    // A new one serves beside it, at the same address.
    let listener = accepting(&arena, &[], TALK);
    let mut other = Client::new(&arena);
    dynamic_uid(&other.line());
    client.say("still alone");
    assert_eq!(client.line(), "still alone");
    drop((client, other));
    assert_eq!(listener.stop(), 0);
}

#[test]
fn deaf_connections_are_killed_in_the_end() {
    let arena = Arena::new();
    let script = "trap '' TERM; echo deaf; while :; do sleep 1000; done";
    let listener = accepting(&arena, &["-p", "TimeoutStopSec=1s"], script);
    let mut client = Client::new(&arena);
    assert_eq!(client.line(), "deaf");
    assert_eq!(listener.stop(), 0);
    let left = arena.processes();
    assert!(!left.iter().any(|line| line.contains("sleep")), "{left:?}");
}

/// What a connection is told: as systemd 257 tells it, see the recording beside the assertion.
#[test]
fn a_connection_knows_who_it_is() {
    let arena = Arena::new();
    arena.put(
        "/run/who.socket",
        "[Socket]\nListenStream=127.0.0.1:7000\nAccept=yes\n",
        0o644,
    );
    let service = "[Service]\nDynamicUser=yes\nPrivateNetwork=yes\n\
        ExecStartPre=/bin/sh -c 'env | grep -E \"^(LISTEN|REMOTE)\" | sort >&2'\n\
        ExecStart=/bin/sh -c 'exec >&3; env | grep -E \"^(LISTEN|REMOTE)\" | sort; echo $$$$; echo %i; readlink /proc/self/fd/0; ls /proc/self/fd | wc -l; ls /sys/class/net'\n";
    arena.put("/run/who@.service", service, 0o644);
    let listener = Listener::tcp(&arena, &["--unit-file", "/run/who.socket"]);
    let client = Client::new(&arena);
    let port = client
        .reader
        .get_ref()
        .local_addr()
        .expect("an address")
        .port();
    let text = client.rest();
    let lines: Vec<&str> = text.lines().collect();
    let pid = lines[5];
    // systemd: LISTEN_FDNAMES=connection for one without FileDescriptorName=; 0 is /dev/null.
    assert_eq!(
        lines[..8],
        [
            "LISTEN_FDNAMES=connection",
            "LISTEN_FDS=1",
            &format!("LISTEN_PID={pid}"),
            "REMOTE_ADDR=127.0.0.1",
            &format!("REMOTE_PORT={port}"),
            pid,
            &format!("0-127.0.0.1:7000-127.0.0.1:{port}"),
            "/dev/null",
        ],
        "{text}"
    );
    // 0 to 3, and the one of `ls` itself. The connection works although there is no network.
    assert_eq!(lines[8..], ["5", "lo"], "{text}");
    assert_eq!(listener.stop(), 0);
}

#[test]
fn a_user_without_an_instance_is_shared_on_purpose() {
    let arena = Arena::new();
    let listener = accepting(&arena, &["-p", "User=all"], TALK);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::new(&arena)).collect();
    let uids: BTreeSet<String> = clients.iter_mut().map(Client::line).collect();
    assert_eq!(uids.len(), 1);
    let list = arena.list();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["name"], "all");
    drop(clients);
    assert_eq!(listener.stop(), 0);
}

#[test]
fn sockets_are_open_before_the_service_and_between_its_lives() {
    let arena = Arena::new();
    let script = "import socket, os\n\
        s = socket.socket(fileno=3); c, _ = s.accept()\n\
        c.sendall(('%d %s %s %s\\n' % (os.getuid(), os.environ['LISTEN_FDS'], os.environ['LISTEN_FDNAMES'], int(os.environ['LISTEN_PID']) == os.getpid())).encode())";
    let words = [
        "--tcp",
        "127.0.0.1:7000",
        "-u",
        "once",
        "-p",
        "PrivateNetwork=yes",
        "--",
        "python3",
        "-c",
        script,
    ];
    let listener = Listener::tcp(&arena, &words);
    assert_eq!(arena.list().len(), 0, "nobody has come");
    let mut uids = BTreeSet::new();
    for _ in 0..3 {
        let text = Client::new(&arena).rest();
        let (uid, rest) = text.split_once(' ').expect("words");
        uids.insert(dynamic_uid(uid));
        assert_eq!(rest, "1 once.socket True\n");
    }
    assert_eq!(uids.len(), 1, "the same name, the same number");
    assert_eq!(listener.stop(), 0);
}

#[test]
fn a_service_that_never_takes_anything_is_not_started_for_ever() {
    let arena = Arena::new();
    let listener = Listener::tcp(
        &arena,
        &["--tcp", "127.0.0.1:7000", "-u", "bad", "--", "false"],
    );
    let client = Client::new(&arena);
    let (status, _) = listener.running.end();
    assert_eq!(status.code(), Some(1));
    assert_eq!(client.rest(), "");
    arena.wait_until_idle();
}

#[test]
fn whoever_supervises_it_is_told_when_it_listens() {
    let arena = Arena::new();
    let script = "import socket, subprocess\n\
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind('/run/told')\n\
        import os; os.environ['NOTIFY_SOCKET'] = '/run/told'\n\
        p = subprocess.Popen(['dynuser', 'listen', '--tcp', '127.0.0.1:7000', '--accept', '--inetd', '-u', 'x', '--', 'sh', '-c', 'echo ${NOTIFY_SOCKET-none}'])\n\
        print(s.recv(99).decode(), flush=True)\n\
        c = socket.create_connection(('127.0.0.1', 7000)); print(c.makefile().read().strip(), flush=True)\n\
        p.terminate(); print(p.wait(), s.recv(99).decode(), flush=True)";
    let said = arena.run(["python3", "-c", script]).ok();
    assert_eq!(said, "READY=1\nnone\n0 STOPPING=1\n");
    arena.wait_until_idle();
}

#[test]
fn what_cannot_work_is_told_before_anybody_comes() {
    let arena = Arena::new();
    let fails = |words: &[&str], named: &str| {
        let start = ["dynuser", "listen"];
        let output = arena
            .command(start.iter().chain(words))
            .patience(Duration::from_secs(30))
            .run();
        assert!(output.stderr.contains(named), "{output}");
        assert!(!output.status.success());
    };
    fails(&["--", "true"], "nothing to listen on");
    fails(&["--tcp", "7000"], "a command to run is missing");
    fails(
        &["--udp", "127.0.0.1:7000", "--accept", "--", "cat"],
        "Accept=yes",
    );
    fails(
        &["--tcp", "7000", "-p", "Nonsense=1", "--", "cat"],
        "Nonsense",
    );
    fails(&["--tcp", "nowhere", "--", "cat"], "nowhere");
    fails(&["--unit-file", "/run/none.socket"], "/run/none.socket");
    arena.put(
        "/run/alone.socket",
        "[Socket]\nListenStream=127.0.0.1:7000\nAccept=yes\n",
        0o644,
    );
    fails(&["--unit-file", "/run/alone.socket"], "alone@");
    let held = Listener::tcp(
        &arena,
        &["--tcp", "127.0.0.1:7000", "-u", "a", "--", "true"],
    );
    fails(
        &["--tcp", "127.0.0.1:7000", "-u", "b", "--", "true"],
        "127.0.0.1:7000",
    );
    assert_eq!(held.stop(), 0);
}
