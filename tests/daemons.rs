//! Daemons that others wrote, from Debian's packages: each is started from its own unit file, which nobody changed,
//! answers a client that others wrote or its own protocol, and is what its unit says.
//!
//! Each has a host of its own, with a network that is its loopback interface alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

#[path = "daemons/control_groups.rs"]
mod control_groups;
#[path = "daemons/host.rs"]
mod host;
#[path = "daemons/look.rs"]
mod look;

use std::fs;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt;

use control_groups::{ControlGroups, POINT};
use host::{Daemon, Host, Start, read_until};
use look::{NET_BIND_SERVICE, NONE};
use support::{Arena, PATIENCE, wait_until};

const SIGTERM: i32 = 128 + 15;

#[test]
fn monopd_tells_a_supervisor_that_it_is_ready() {
    let host = Host::new(Arena::with_module());
    let (mut daemon, told) = Start::new("monopd.service", "monopd").until_ready(&host);
    assert!(told.contains("STATUS=Running, 0 players"), "{told}");
    let greeting = read_until(&mut daemon.connect(1234), b"</monopd>", 200);
    let greeting = String::from_utf8(greeting).expect("words");
    assert!(greeting.starts_with("<monopd><server "), "{greeting}");
    assert_eq!(daemon.user, "monopd");
    daemon.assert_identity(NONE);
    daemon.assert_mounts(&[]);
    // The module tells everybody else.
    let named = host.arena.run(["id", "-un", &daemon.uid.to_string()]);
    assert_eq!(named.ok(), "monopd\n");
    let uid = daemon.uid;
    assert_eq!(daemon.stop(), SIGTERM);
    host.assert_nothing_left(&[uid], &[]);
}

#[test]
fn monopd_is_watched_by_us_where_nobody_outside_listens() {
    let host = Host::new(Arena::new());
    let start = Start::new("monopd.service", "monopd");
    let running = host.arena.spawn(start.words());
    wait_until("it listens", || host.connect(1234).is_some());
    let mut daemon = host.behind_us(running, &start);
    drop(read_until(&mut daemon.connect(1234), b"<server ", 200));
    daemon.assert_identity(NONE);
    daemon.assert_mounts(&[]);
    let uid = daemon.uid;
    // SIGTERM is how it is ended; whoever asked is told that all is well.
    assert_eq!(daemon.stop(), 0);
    host.assert_nothing_left(&[uid], &[]);
}

/// `DevicePolicy=closed`: not even root can open another device, once in the daemon's control group.
fn assert_devices_are_closed(daemon: &Daemon<'_>, groups: &ControlGroups) {
    let group = daemon.read("cgroup");
    let mut lines = group.lines();
    let group = lines
        .find_map(|line| line.strip_prefix("0::"))
        .expect("a group");
    let outside = format!("/{}", groups.name);
    assert!(group.starts_with(&format!("{outside}/dynuser/")), "{group}");
    let open = "echo $$ >\"$0$1/cgroup.procs\" && : </dev/null && : </dev/kernel-log";
    let open = |group: &str| daemon.host.arena.run(["sh", "-c", open, POINT, group]);
    open(&outside).ok();
    let refused = open(group);
    assert!(
        refused
            .stderr
            .contains("/dev/kernel-log: Operation not permitted"),
        "{refused}"
    );
}

#[test]
fn garagemq_keeps_its_messages_behind_the_boundary_in_namespaces_of_its_own() {
    let arena = Arena::new();
    arena
        .sh("mkdir /home/somebody; mknod -m 666 /dev/kernel-log c 1 11")
        .ok();
    let start = Start::new("garagemq.service", "garagemq");
    // DevicePolicy= takes a control group.
    let refused = arena.run(start.words());
    for word in ["DevicePolicy", "--allow-unenforced=DevicePolicy"] {
        assert!(refused.stderr.contains(word), "{refused}");
    }
    refused.fails(219);
    arena.wait_until_idle();
    let groups = ControlGroups::mount(&arena);
    let host = Host::new(arena);
    let (mut daemon, _) = start.until_ready(&host);
    let mut stream = daemon.connect(5672);
    stream
        .write_all(b"AMQP\0\0\x09\x01")
        .expect("the header of AMQP 0-9");
    // A frame of kind METHOD on channel 0 with Connection.Start (10, 10), version 0-9.
    let mut answer = [0; 13];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer[..3], [1, 0, 0]);
    assert_eq!(answer[7..], [0, 10, 0, 10, 0, 9]);
    drop(stream);

    daemon.assert_identity(NONE);
    daemon.assert_mounts(&["/var/lib/private/garagemq"]);
    daemon.assert_private_devices();
    daemon.assert_kernel_is_closed();
    let uid = daemon.uid;
    let map: Vec<String> = daemon
        .read("uid_map")
        .split_whitespace()
        .map(Into::into)
        .collect();
    assert_eq!(
        map,
        ["0", "0", "1", &uid.to_string(), &uid.to_string(), "1"]
    );
    for (kind, shared) in [
        ("user", false),
        ("uts", false),
        ("mnt", false),
        ("net", true),
        ("pid", true),
    ] {
        assert_eq!(daemon.shares(kind), shared, "{kind}");
    }
    assert_devices_are_closed(&daemon, &groups);
    // ProtectHome=yes.
    assert_eq!(
        fs::metadata(daemon.seen("/home")).expect("/home").mode() & 0o777,
        0
    );
    assert!(!fs::exists(daemon.seen("/home/somebody")).expect("/home"));
    let directory = fs::read_link(daemon.proc.join("cwd")).expect("its directory");
    assert!(
        directory.ends_with("var/lib/private/garagemq"),
        "{directory:?}"
    );
    let database = host
        .arena
        .run(["stat", "-c", "%U %u:%g %F", "/var/lib/garagemq/db/badger"]);
    assert_eq!(database.ok(), format!("UNKNOWN {uid}:{uid} directory\n"));

    assert_eq!(daemon.stop(), 0);
    host.assert_nothing_left(&[uid], &["/var/lib/garagemq l", "/var/lib/private"]);
    let left = host.arena.run([
        "find",
        POINT,
        "-path",
        &format!("*/{}/*garagemq*", groups.name),
    ]);
    assert_eq!(left.ok(), "");
    let boundary = host
        .arena
        .run(["stat", "-c", "%a %u:%g", "/var/lib/private"]);
    assert_eq!(boundary.ok(), "700 0:0\n");
    assert_eq!(
        host.arena.run(["readlink", "/var/lib/garagemq"]).ok(),
        "private/garagemq\n"
    );

    // Started again, it finds what it left.
    let (daemon, _) = start.until_ready(&host);
    assert_eq!(daemon.uid, uid);
    assert_eq!(daemon.stop(), 0);
}

/// What makes a key that only the group `ssl-cert` may read, as its package keeps keys, and a page of a state directory
/// that systemd (since 257) made: it is nobody's.
const GEMINI: &str = r#"set -e
    getent group ssl-cert >/dev/null || groupadd --system ssl-cert
    mkdir /etc/molly-brown/certs; cd /etc/molly-brown/certs
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -days 30 \
        -keyout localhost.key -out localhost.crt
    chgrp ssl-cert localhost.key; chmod 640 localhost.key
    sed -i 's,^AccessLog.*,AccessLog = "/var/lib/molly-brown/access.log",' /etc/molly-brown/localhost.conf
    mkdir -m 700 /var/lib/private; mkdir /var/lib/private/molly-brown
    ln -s private/molly-brown /var/lib/molly-brown
    echo 'a page' >/var/lib/private/molly-brown/index.gmi
    chown -R 65534:65534 /var/lib/private/molly-brown"#;

#[test]
fn molly_brown_reads_the_key_of_its_group_and_writes_its_log_into_the_state_of_nobody() {
    let arena = Arena::new();
    arena.sh(GEMINI).ok();
    let host = Host::new(arena);
    let template = Start::new("molly-brown@.service", "molly-brown");
    let mut daemon = template.instance("molly-brown@localhost").in_place(&host);
    drop(daemon.connect(1965));
    let client = [
        "openssl",
        "s_client",
        "-quiet",
        "-connect",
        "127.0.0.1:1965",
    ];
    let page = host
        .arena
        .command(client)
        .input("gemini://localhost/\r\n")
        .run();
    assert_eq!(page.ok(), "20 text/gemini\r\na page\n");

    assert_eq!(daemon.user, "molly-brown");
    daemon.assert_user(NONE);
    daemon.assert_mounts(&["/var/lib/private/molly-brown"]);
    daemon.assert_private_devices();
    daemon.assert_kernel_is_closed();
    assert!(!daemon.shares("uts") && daemon.shares("user") && daemon.shares("net"));
    let group = host.arena.sh("getent group ssl-cert | cut -d: -f3").ok();
    assert_eq!(daemon.status("Gid"), [group.trim(); 4].join(" "));
    let groups = daemon.status("Groups");
    let uid = daemon.uid;
    let mut groups = groups.split(' ').filter(|it| *it != group.trim());
    assert!(
        groups.all(|it| it == uid.to_string()),
        "{}",
        daemon.status("Groups")
    );
    // It sees its own there, whoever has them on disk.
    let log = "/var/lib/private/molly-brown/access.log";
    wait_until("the page is in the log", || {
        let line = host.arena.run(["cat", log]).ok();
        line.ends_with("127.0.0.1\t20\tgemini://localhost/\n")
    });
    let seen = fs::metadata(daemon.seen(log)).expect("a log");
    assert_eq!(seen.uid(), uid);
    let on_disk = host.arena.run(["stat", "-c", "%u", log]).ok();
    assert_eq!(on_disk, "65534\n");
    assert_eq!(daemon.stop(), SIGTERM);
    host.assert_nothing_left(&[uid], &[log, "/var/lib/private/molly-brown d"]);
}

const GOBGP: &str = "[global.config]\n  as = 64512\n  router-id = \"127.0.0.1\"\n";

#[test]
fn gobgpd_has_its_port_below_1024_by_one_capability() {
    let host = Host::new(Arena::new());
    let start = Start::new("gobgpd.service", "gobgpd");
    // ConditionPathExists=.
    let skipped = host.arena.run(start.words());
    assert!(
        skipped
            .stderr
            .contains("ConditionPathExists=/etc/gobgpd.conf"),
        "{skipped}"
    );
    skipped.ok();
    // ExecStartPre=.
    host.arena.put("/etc/gobgpd.conf", "[nonsense]\n", 0o644);
    assert!(!host.arena.run(start.words()).status.success());
    host.arena.wait_until_idle();
    host.arena.put("/etc/gobgpd.conf", GOBGP, 0o644);
    // It has an ExecReload= of its own.
    let mut daemon = start.behind_us(&host);
    drop((daemon.connect(179), daemon.connect(50051)));
    let answer = host.arena.run(["gobgp", "global"]).ok();
    assert!(answer.contains("AS:        64512"), "{answer}");
    daemon.assert_identity(NET_BIND_SERVICE);
    daemon.assert_mounts(&[]);
    // An undefined variable is no word.
    let words = daemon.read("cmdline");
    assert!(
        words.ends_with("--sdnotify\0--disable-stdlog\0--syslog\0yes\0"),
        "{words:?}"
    );
    let uid = daemon.uid;
    assert_eq!(daemon.stop(), 0);
    host.assert_nothing_left(&[uid], &[]);
}

#[test]
fn atftpd_answers_on_the_socket_that_it_is_started_for() {
    let arena = Arena::new();
    arena
        .sh("mkdir -p /srv/tftp && echo 'a file' >/srv/tftp/file && chmod 755 /srv/tftp")
        .ok();
    let host = Host::new(arena);
    // This is inetd: `atftpd.socket` says the same.
    let socket = host
        .arena
        .within(|| UdpSocket::bind("127.0.0.1:69"))
        .expect("port 69");
    let get = "cd /mnt && atftp --get -r file -l got 127.0.0.1 && echo got && cat";
    let mut client = host.arena.spawn(["sh", "-c", get]);
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket.peek(&mut [0; 4]).expect("a request");
    let start = Start::new("atftpd.service", "in.tftpd");
    let inode = format!("socket:[{}]", inode(&socket));
    let running = host.arena.command(start.words()).descriptor(socket).spawn();
    let daemon = host.in_place(running, &start);
    assert_eq!(client.line(), "got");
    let got = host.arena.run(["cat", "/mnt/got"]).ok();
    assert_eq!(got, "a file\n");
    let stdin = fs::read_link(daemon.proc.join("fd/0")).expect("its input");
    assert_eq!(stdin.to_str(), Some(&*inode));
    assert!(client.end().0.success());
    daemon.assert_identity(NONE);
    daemon.assert_mounts(&[]);
    let uid = daemon.uid;
    assert_eq!(daemon.stop(), 0);
    host.assert_nothing_left(&[uid], &[]);
}

fn inode(socket: &UdpSocket) -> u64 {
    rustix::fs::fstat(socket).expect("a socket").st_ino
}

/// A way through two daemons, to a port below 1024.
const SERVER: &str = r#"{"server":"127.0.0.1","server_port":388,"mode":"tcp_only",
    "password":"of the tests","timeout":60,"method":"chacha20-ietf-poly1305"}"#;
const LOCAL: &str = r#"{"server":"127.0.0.1","server_port":388,"mode":"tcp_only","local_address":"127.0.0.1",
    "local_port":1080,"password":"of the tests","timeout":60,"method":"chacha20-ietf-poly1305"}"#;

#[test]
fn two_instances_of_two_templates_are_two_users_who_work_together() {
    let arena = Arena::new();
    arena.put("/etc/shadowsocks-libev/far.json", SERVER, 0o644);
    arena.put("/etc/shadowsocks-libev/near.json", LOCAL, 0o644);
    arena
        .sh("mkdir /mnt/www && echo 'over two daemons' >/mnt/www/page")
        .ok();
    let web = [
        "python3",
        "-m",
        "http.server",
        "--bind",
        "127.0.0.1",
        "--directory",
        "/mnt/www",
        "8000",
    ];
    let web = arena.spawn(web);
    let host = Host::new(arena);
    let server = Start::new("shadowsocks-libev-server@.service", "ss-server");
    let mut server = server
        .instance("shadowsocks-libev-server@far")
        .in_place(&host);
    let local = Start::new("shadowsocks-libev-local@.service", "ss-local");
    let mut local = local
        .instance("shadowsocks-libev-local@near")
        .in_place(&host);
    drop((server.connect(388), local.connect(1080)));
    wait_until("the web server listens", || host.connect(8000).is_some());
    let client = [
        "curl",
        "-sS",
        "--socks5-hostname",
        "127.0.0.1:1080",
        "http://127.0.0.1:8000/page",
    ];
    assert_eq!(host.arena.run(client).ok(), "over two daemons\n");
    assert_ne!(server.uid, local.uid);
    let uids = [server.uid, local.uid];
    for daemon in [server, local] {
        daemon.assert_identity(NET_BIND_SERVICE);
        daemon.assert_mounts(&[]);
        assert_eq!(daemon.stop(), 0);
    }
    host.assert_nothing_left(&uids, &[]);
    drop(web);
}

#[test]
fn shadowsocks_has_its_words_and_its_limit_from_the_files_of_its_package() {
    let host = Host::new(Arena::new());
    let mut daemon = Start::new("shadowsocks-libev.service", "ss-server").in_place(&host);
    drop(daemon.connect(8388));
    daemon.assert_identity(NET_BIND_SERVICE);
    daemon.assert_mounts(&[]);
    let words = daemon.read("cmdline");
    assert_eq!(
        words,
        "/usr/bin/ss-server\0-c\0/etc/shadowsocks-libev/config.json\0"
    );
    // As much as root may give, where it is not all that is asked for.
    let script = "ulimit -n 32768 2>/dev/null || ulimit -n $(ulimit -Hn); ulimit -n";
    let limit = host.arena.sh(script).ok();
    let limits = daemon.read("limits");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .expect("a limit");
    assert_eq!(line.split_whitespace().nth(3), Some(limit.trim()));
    let uid = daemon.uid;
    assert_eq!(daemon.stop(), 0);
    host.assert_nothing_left(&[uid], &[]);
    wait_until("the port is closed", || {
        host.arena
            .run(["curl", "-s", "http://127.0.0.1:8388"])
            .status
            .code()
            == Some(7)
    });
}
