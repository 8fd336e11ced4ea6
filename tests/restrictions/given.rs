//! What a service is given: variables, streams, programs.

use super::case::{CASE, Case};
use super::support::{Arena, Output};

pub(super) fn run(arena: &Arena, properties: &[&str], words: &[&str]) -> Output {
    let mut all = vec!["dynuser", "run", "-u", "box"];
    for property in properties {
        all.extend(["-p", property]);
    }
    arena.run([&all[..], words].concat())
}

/// Runs a script as the service.
pub(super) fn sh(arena: &Arena, properties: &[&str], script: &str) -> Output {
    run(arena, properties, &["sh", "-c", script])
}

#[test]
fn the_environment_is_what_was_said() {
    let arena = Arena::new();
    arena.put(
        "/etc/vars",
        "# a file\nA=file\nB=\"of two\\\n lines\"\nPATH=/own\nGONE=1\n",
        0o600,
    );
    arena.sh("mkdir -p /opt/tools; printf '#!/bin/sh\\necho tool $PATH\\n' >/opt/tools/tool; chmod 755 /opt/tools/tool").ok();
    let words = [
        "dynuser",
        "run",
        "-u",
        "box",
        "-p",
        "Environment=A=said C=said D=said",
        "-p",
        "EnvironmentFile=/etc/vars",
        "-p",
        "EnvironmentFile=-/etc/missing",
        "-p",
        "PassEnvironment=LENT UNKNOWN D",
        "-p",
        "UnsetEnvironment=GONE C=said D=other",
        "/usr/bin/env",
    ];
    let out = arena
        .command(words)
        .env("LENT", "yes")
        .env("KEPT", "back")
        .env("D", "lent")
        .run()
        .ok();
    let mut lines: Vec<&str> = out.lines().collect();
    lines.retain(|line| !line.starts_with("INVOCATION_ID=") && !line.starts_with("LANG="));
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "A=file",
            "B=of two lines",
            "D=said",
            "HOME=/",
            "LENT=yes",
            "LOGNAME=box",
            "PATH=/own",
            "USER=box"
        ]
    );
    // It is read by root: the service cannot.
    let more = ["EnvironmentFile=/etc/vars", "UnsetEnvironment=PATH"];
    let script = "/bin/cat /etc/vars; echo $A";
    let out = run(&arena, &more, &["/bin/sh", "-c", script]);
    assert_eq!(out.stdout, "file\n", "{out}");
    let message = run(
        &arena,
        &["EnvironmentFile=/etc/missing"],
        &["echo", "started"],
    );
    assert_eq!(message.stdout, "");
    assert!(message.stderr.contains("/etc/missing"), "{message}");
    let search = ["ExecSearchPath=/opt/tools:/usr/bin"];
    assert_eq!(
        run(&arena, &search, &["tool"]).ok(),
        "tool /opt/tools:/usr/bin\n"
    );
    run(&arena, &[], &["tool"]).fails(203);
}

#[test]
fn streams_go_where_they_are_told_to() {
    let arena = Arena::new();
    arena.sh("umask 077; echo in >/etc/input; mkdir -p /opt/out; echo old >/opt/out/append; echo old >/opt/out/file; echo older >/opt/out/truncate").ok();
    let both = "cat; echo out; echo error >&2";
    let out = sh(&arena, &["StandardInput=null", "StandardOutput=null"], both);
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
    // Root opens what is root's, in a view in which the service could not.
    let streams = [
        "StandardInput=file:/etc/input",
        "StandardOutput=append:/opt/out/append",
        "StandardError=truncate:/opt/out/truncate",
    ];
    sh(&arena, &streams, both).ok();
    assert_eq!(
        arena.sh("cat /opt/out/append; cat /opt/out/truncate").ok(),
        "old\nin\nout\nerror\n"
    );
    sh(
        &arena,
        &[
            "StandardInput=null",
            "StandardOutput=file:/opt/out/file",
            "StandardError=inherit",
        ],
        both,
    )
    .ok();
    assert_eq!(arena.sh("cat /opt/out/file").ok(), "out\nerror\n");
    let own = [
        "LogsDirectory=box",
        "StandardInput=null",
        "StandardOutput=append:/var/log/box/log",
        "StandardError=inherit",
    ];
    sh(&arena, &own, both).ok();
    sh(&arena, &own, both).ok();
    assert_eq!(
        arena.sh("cat /var/log/private/box/log").ok(),
        "out\nerror\nout\nerror\n"
    );
    assert_eq!(
        arena
            .sh("stat -c %u /var/log/private/box/log | grep -c '^6[1-5]...$'")
            .ok(),
        "1\n"
    );
    for (property, status) in [
        ("StandardOutput=append:/missing/log", 209),
        ("StandardInput=file:/missing", 208),
        ("StandardError=file:/missing/x", 222),
        ("StandardInput=socket", 208),
    ] {
        let out = run(&arena, &[property], &["true"]);
        assert!(
            out.stderr.contains(property.rsplit(':').next().unwrap())
                || property.ends_with("socket"),
            "{out}"
        );
        out.fails(status);
    }
}

/// The service owns the directory of its log, and puts a link in the place of the file.
#[test]
fn a_link_in_the_place_of_a_log_leads_nowhere_that_the_service_may_not_go() {
    let arena = Arena::new();
    arena.put("/etc/precious", "precious\n", 0o644);
    for (directory, log) in [
        ("LogsDirectory=box", "/var/log/box/log"),
        ("StateDirectory=box", "/var/lib/box/log"),
        ("RuntimeDirectory=box", "/run/box/log"),
    ] {
        for (how, target) in [
            ("append", "/etc/precious"),
            ("truncate", "/etc/precious"),
            ("file", "/etc/precious"),
            ("append", "/root/new"),
            ("append", "/run/new"),
        ] {
            let keep = "RuntimeDirectoryPreserve=yes";
            let plant = format!("ln -sf {target} {log}");
            sh(&arena, &[directory, keep], &plant).ok();
            let output = format!("StandardOutput={how}:{log}");
            sh(&arena, &[directory, keep, &output], "echo overwritten").fails(209);
        }
    }
    // The directory itself, in one that is the service's.
    sh(
        &arena,
        &["StateDirectory=box"],
        "ln -sfn /etc /var/lib/box/dir",
    )
    .ok();
    sh(
        &arena,
        &[
            "StateDirectory=box",
            "StandardOutput=append:/var/lib/box/dir/precious",
        ],
        "echo overwritten",
    )
    .fails(209);
    assert_eq!(
        arena
            .sh("cat /etc/precious; find /root -mindepth 1; ls /run/new 2>/dev/null")
            .stdout,
        "precious\n"
    );
}

/// A connection as a super-server hands it over.
#[test]
fn a_connection_is_standard_input_and_output() {
    let arena = Arena::new();
    let program = "
import socket, subprocess
ours, theirs = socket.socketpair()
words = 'dynuser run -u box -p StandardInput=socket -p StandardOutput=socket -p StandardError=journal'.split()
service = subprocess.Popen(words + ['sh', '-c', 'read line; echo got $line; echo log >&2'], stdin=theirs)
theirs.close()
ours.sendall(b'hello\\n')
print(ours.makefile().read(), end='')
raise SystemExit(service.wait())
";
    let out = arena.run(["python3", "-c", program]);
    assert_eq!(
        (out.stdout.as_str(), out.stderr.as_str()),
        ("got hello\n", "log\n"),
        "{out}"
    );
}

#[test]
fn where_it_starts_is_a_place_of_its_own_choice() {
    let arena = Arena::new();
    Case {
        base: &["StateDirectory=st"],
        properties: &["WorkingDirectory=/var/lib/st"],
        gained: &[
            "expect(os.getcwd(), '/var/lib/private/st')",
            "open('relative', 'w').close()",
        ],
        ..CASE
    }
    .try_in(&arena);
    arena.sh("mkdir -m 700 /opt/closed").ok();
    run(&arena, &["WorkingDirectory=/opt/closed"], &["pwd"]).fails(200);
    run(&arena, &["WorkingDirectory=/missing"], &["pwd"]).fails(200);
    assert_eq!(
        run(&arena, &["WorkingDirectory=-/missing"], &["pwd"]).ok(),
        "/\n"
    );
}
