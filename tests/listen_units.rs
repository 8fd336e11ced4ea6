//! Sockets of unit files with clients and daemons that others wrote: curl, socat, openssl, monopd, atftpd; owners that are
//! dynamic; instances of templates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

use std::collections::BTreeSet;

use rustix::process::Signal;
use support::{Arena, Running, dynamic_uid, wait_until};

/// Starts `dynuser listen` and waits until it says that it listens, to the supervisor that this is.
fn listen(arena: &Arena, words: &[&str]) -> Running {
    let told = "/run/up";
    let mut supervisor = arena.spawn([
        "python3",
        "-c",
        "import socket, sys\n\
         s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1])\n\
         print('bound', flush=True); print(s.recv(99).decode(), flush=True)",
        told,
    ]);
    assert_eq!(supervisor.line(), "bound");
    let start = ["dynuser", "listen"];
    let running = arena
        .command(start.iter().chain(words))
        .env("NOTIFY_SOCKET", told)
        .spawn();
    assert_eq!(supervisor.line(), "READY=1");
    supervisor.end();
    arena.run(["rm", told]).ok();
    running
}

fn stop(arena: &Arena, running: Running) {
    running.signal(Signal::TERM);
    let (status, _) = running.end();
    assert_eq!(status.code(), Some(0));
    arena.wait_until_idle();
}

fn puts(arena: &Arena, name: &str, lines: &[&str]) {
    arena.put(
        &format!("/run/{name}"),
        &format!("{}\n", lines.join("\n")),
        0o644,
    );
}

#[test]
fn curl_is_answered_by_an_instance_of_its_own_over_tcp_and_unix() {
    let arena = Arena::new();
    puts(
        &arena,
        "web.socket",
        &[
            "[Socket]",
            "ListenStream=[::]:8080",
            "ListenStream=/run/web.sock",
            "Accept=yes",
        ],
    );
    // A request up to its empty line, and one answer: enough for HTTP/1.0.
    let serve = "while read -r line && [ ${#line} -gt 1 ]; do :; done\n\
        printf 'HTTP/1.0 200 OK\\r\\n\\r\\n%s %s' \"$(id -u)\" \"${REMOTE_ADDR-local}\"\n";
    arena.put("/usr/local/bin/serve", serve, 0o644);
    puts(
        &arena,
        "web@.service",
        &[
            "[Service]",
            "DynamicUser=yes",
            "StandardInput=socket",
            "PrivateNetwork=yes",
            "ExecStart=/bin/sh /usr/local/bin/serve",
        ],
    );
    let running = listen(&arena, &["--unit-file", "/run/web.socket"]);
    let mut uids = BTreeSet::new();
    for (words, from) in [
        (vec!["http://127.0.0.1:8080/"], "127.0.0.1"),
        (vec!["http://[::1]:8080/"], "::1"),
        (vec!["--unix-socket", "/run/web.sock", "http://x/"], "local"),
    ] {
        let curl = ["curl", "-sS", "--max-time", "60"];
        let said = arena.run(curl.iter().chain(&words)).ok();
        let (uid, address) = said.split_once(' ').expect("two words");
        assert!(uids.insert(dynamic_uid(uid)), "a user of its own");
        assert_eq!(address, from);
    }
    stop(&arena, running);
}

#[test]
fn openssl_talks_through_a_terminator_that_is_started_for_it() {
    let arena = Arena::new();
    arena
        .sh("cd /run && openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key -out cert 2>/dev/null && chmod 600 key")
        .ok();
    // The key is root's: each instance gets it as a credential.
    puts(
        &arena,
        "tls.socket",
        &["[Socket]", "ListenStream=127.0.0.1:8443", "Accept=yes"],
    );
    let serve = "import ssl, socket, os\n\
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); d = os.environ['CREDENTIALS_DIRECTORY']\n\
        c.load_cert_chain(d + '/cert', d + '/key')\n\
        s = c.wrap_socket(socket.socket(fileno=3), server_side=True)\n\
        s.sendall(('%d\\n' % os.getuid()).encode()); s.unwrap()\n";
    arena.put("/usr/local/bin/serve-tls", serve, 0o644);
    puts(
        &arena,
        "tls@.service",
        &[
            "[Service]",
            "DynamicUser=yes",
            "PrivateNetwork=yes",
            "LoadCredential=key:/run/key",
            "LoadCredential=cert:/run/cert",
            "ExecStart=/usr/bin/python3 /usr/local/bin/serve-tls",
        ],
    );
    let running = listen(&arena, &["--unit-file", "/run/tls.socket"]);
    let client = "openssl s_client -connect 127.0.0.1:8443 -CAfile /run/cert -verify_return_error -quiet 2>/dev/null </dev/null";
    let uids: BTreeSet<u32> = (0..3)
        .map(|_| dynamic_uid(&arena.sh(&format!("{client}; true")).ok()))
        .collect();
    assert_eq!(uids.len(), 3);
    stop(&arena, running);
}

#[test]
fn socat_reaches_every_kind_of_unix_socket() {
    let arena = Arena::new();
    let kinds = [
        (
            "--unix",
            "/run/stream.sock",
            "UNIX-CONNECT:/run/stream.sock",
        ),
        ("--unix", "@hidden", "ABSTRACT-CONNECT:hidden"),
        (
            "--seqpacket",
            "/run/packet.sock",
            "UNIX-CONNECT:/run/packet.sock,type=5",
        ),
    ];
    for (option, address, client) in kinds {
        let words = [
            option,
            address,
            "--accept",
            "--inetd",
            "-u",
            "u",
            "--",
            "sh",
            "-c",
            "id -u; exec cat",
        ];
        let running = listen(&arena, &words);
        let said = arena
            .command(["socat", "-t", "60", "-", client])
            .input("word\n")
            .run()
            .ok();
        let (uid, word) = said.split_once('\n').expect("two lines");
        dynamic_uid(uid);
        assert_eq!(word, "word\n");
        stop(&arena, running);
    }
}

#[test]
fn datagrams_wait_for_the_service_that_they_start() {
    let arena = Arena::new();
    let script = "import socket, os\n\
        s = socket.socket(fileno=3); s.settimeout(60)\n\
        for _ in range(2):\n d, a = s.recvfrom(99); s.sendto(b'%d %s' % (os.getuid(), d), a)";
    let words = [
        "--udp",
        "127.0.0.1:7001",
        "-u",
        "grams",
        "--",
        "python3",
        "-c",
        script,
    ];
    let running = listen(&arena, &words);
    let ask = "import socket\n\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(60); s.connect(('127.0.0.1', 7001))\n\
        s.send(b'a'); s.send(b'b'); print(s.recv(99).decode()); print(s.recv(99).decode())";
    for _ in 0..2 {
        let said = arena.run(["python3", "-c", ask]).ok();
        let words: Vec<&str> = said.split_whitespace().collect();
        assert_eq!([words[1], words[3]], ["a", "b"]);
        assert_eq!(words[0], words[2]);
        dynamic_uid(words[0]);
    }
    stop(&arena, running);
}

#[test]
fn monopd_takes_the_socket_that_was_opened_for_it() {
    let arena = Arena::new();
    puts(
        &arena,
        "monopd.socket",
        &["[Socket]", "ListenStream=127.0.0.1:1234"],
    );
    arena.sh("cp /lib/systemd/system/monopd.service /run/").ok();
    let running = listen(&arena, &["--unit-file", "/run/monopd.socket"]);
    assert_eq!(arena.list().len(), 0, "nobody has come");
    let greeting = "import socket\n\
        s = socket.create_connection(('127.0.0.1', 1234)); s.settimeout(60); d = b''\n\
        while b'</monopd>' not in d: d += s.recv(999)\nprint(d.decode())";
    let said = arena.run(["python3", "-c", greeting]).ok();
    assert!(said.starts_with("<monopd><server "), "{said}");
    let list = arena.list();
    assert_eq!(list[0]["name"], "monopd");
    stop(&arena, running);
}

#[test]
fn atftpd_serves_from_its_own_two_files() {
    let arena = Arena::new();
    arena
        .sh("mkdir -p /srv/tftp && mount -t tmpfs -o mode=755 t /srv/tftp && echo hello > /srv/tftp/word")
        .ok();
    let running = listen(&arena, &["--unit-file", "atftpd.socket"]);
    for _ in 0..2 {
        arena
            .sh("cd /run && rm -f got && atftp --get -r word -l got 127.0.0.1 69")
            .ok();
        assert_eq!(arena.run(["cat", "/run/got"]).ok(), "hello\n");
    }
    stop(&arena, running);
}

#[test]
fn a_socket_of_a_dynamic_user_is_its_and_it_lives_as_long_as_the_socket() {
    let arena = Arena::with_module();
    puts(
        &arena,
        "own.socket",
        &[
            "[Socket]",
            "ListenStream=/run/own.sock",
            "SocketUser=owner",
            "SocketGroup=friends",
            "SocketMode=0660",
            "Accept=yes",
            "RemoveOnStop=yes",
        ],
    );
    puts(
        &arena,
        "own@.service",
        &[
            "[Service]",
            "DynamicUser=yes",
            "StandardInput=socket",
            "ExecStart=/bin/sh -c 'id -un; id -u'",
        ],
    );
    let running = listen(&arena, &["--unit-file", "/run/own.socket"]);
    assert_eq!(
        arena.run(["stat", "-c", "%U %G %a", "/run/own.sock"]).ok(),
        "owner friends 660\n"
    );
    let list = arena.list();
    let names: BTreeSet<_> = list
        .iter()
        .map(|it| it["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["friends", "owner"].into());
    let connect = |user: &str| {
        let client = [
            "dynuser",
            "run",
            "-u",
            "client",
            "-p",
            user,
            "socat",
            "-",
            "UNIX-CONNECT:/run/own.sock",
        ];
        arena.command(client).run()
    };
    // The owner, a member of the group, and somebody else.
    let said = connect("User=owner").ok();
    assert!(said.starts_with("own_"), "{said}");
    let said = connect("SupplementaryGroups=friends").ok();
    assert!(said.starts_with("own_"), "{said}");
    let refused = connect("User=stranger");
    assert!(refused.stderr.contains("Permission denied"), "{refused}");
    // It outlives the daemon, too.
    arena.kill_daemons();
    connect("User=owner").ok();
    assert_eq!(arena.run(["id", "-un", "owner"]).ok(), "owner\n");
    stop(&arena, running);
    arena.run(["test", "-e", "/run/own.sock"]).fails(1);
    arena.run(["id", "owner"]).fails(1);
}

#[test]
fn instances_of_a_template_have_users_of_their_own_and_keep_them() {
    let arena = Arena::with_module();
    puts(
        &arena,
        "foobar@.service",
        &[
            "[Service]",
            "DynamicUser=yes",
            "StateDirectory=foobar/%i",
            "ExecStart=/bin/sh -c 'id -u; id -un; cat word 2>/dev/null; echo %i > word'",
            "WorkingDirectory=/var/lib/foobar/%i",
        ],
    );
    let run = |words: &[&str]| {
        let start = ["dynuser", "run", "--unit-file", "/run/foobar@.service"];
        let said = arena.run(start.iter().chain(words)).ok();
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        (
            dynamic_uid(&lines[0]),
            lines[1].clone(),
            lines.get(2).cloned(),
        )
    };
    let (first, name, word) = run(&["--instance=customerxyz"]);
    assert!(name.starts_with("foobar_customerxyz-"), "{name}");
    assert_eq!(word, None);
    let (second, other, _) = run(&["--instance=customerabc"]);
    assert_ne!((first, &name), (second, &other));
    // Named in either way, and after everything was forgotten, too: the directory tells.
    assert_eq!(
        run(&["-u", "foobar@customerxyz"]),
        (first, name.clone(), Some("customerxyz".into()))
    );
    arena.forget_numbers();
    assert_eq!(
        run(&["--instance=customerxyz"]),
        (first, name, Some("customerxyz".into()))
    );
    let directories = arena.sh("ls /var/lib/private/foobar").ok();
    assert_eq!(directories, "customerabc\ncustomerxyz\n");
    // Long ones are shortened, and stay different.
    let long = |last: &str| format!("--instance={}{last}", "x".repeat(200));
    let (one, two) = (run(&[&long("1")]), run(&[&long("2")]));
    assert_ne!((one.0, &one.1), (two.0, &two.1));
    assert!(one.1.len() <= 31 && two.1.len() <= 31);
    for bad in ["a/b", "a b", "%i", ""] {
        let instance = format!("--instance={bad}");
        let refused = arena.run([
            "dynuser",
            "run",
            "--unit-file",
            "/run/foobar@.service",
            &instance,
        ]);
        assert!(!refused.status.success(), "{bad}");
    }
    arena
        .run([
            "dynuser",
            "run",
            "--unit-file",
            "monopd.service",
            "--instance=x",
        ])
        .fails(1);
}

#[test]
fn instances_that_name_one_user_share_it_and_the_last_one_ends_it() {
    let arena = Arena::new();
    puts(
        &arena,
        "all@.service",
        &[
            "[Service]",
            "DynamicUser=yes",
            "User=all",
            "ExecStart=/bin/sh -c 'id -u; exec sleep 1000'",
        ],
    );
    let start = |instance: &str| {
        let instance = format!("--instance={instance}");
        let mut running = arena.spawn([
            "dynuser",
            "run",
            "--unit-file",
            "/run/all@.service",
            &instance,
        ]);
        let uid = dynamic_uid(&running.line());
        (running, uid)
    };
    let (one, uid) = start("one");
    let (two, same) = start("two");
    assert_eq!(uid, same);
    assert_eq!(arena.list().len(), 1);
    one.signal(Signal::TERM);
    one.end();
    wait_until("one holder is left", || {
        arena.list()[0]["holders"]
            .as_array()
            .expect("holders")
            .len()
            == 1
    });
    two.signal(Signal::TERM);
    two.end();
    arena.wait_until_idle();
}

#[test]
fn owners_of_sockets_may_be_numbers_of_the_host_s_own() {
    let arena = Arena::new();
    let words = |user: &'static str| {
        let owner = match user {
            "1000" => "SocketUser=1000",
            _ => "SocketUser=61500",
        };
        [
            "--unix",
            "/run/numbers.sock",
            "--socket-property",
            owner,
            "-u",
            "n",
            "--",
            "true",
        ]
    };
    let running = listen(&arena, &words("1000"));
    assert_eq!(
        arena.run(["stat", "-c", "%u", "/run/numbers.sock"]).ok(),
        "1000\n"
    );
    stop(&arena, running);
    let refused = arena.run(["dynuser", "listen"].iter().chain(&words("61500")));
    assert!(refused.stderr.contains("name the user"), "{refused}");
}
