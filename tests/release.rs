//! How a lease ends: whole, once, and never while something is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use rustix::process::Signal;
use support::{Arena, LEAVES_ONE_BEHIND, wait_until};

#[test]
fn a_directory_in_run_that_was_there_before_is_not_touched() {
    for owner in ["0:0", "1000:1000"] {
        let arena = Arena::new();
        let lay = format!(
            "mkdir -p /run/theirs/sub && echo precious > /run/theirs/file && chown -R {owner} /run/theirs"
        );
        arena.sh(&lay).ok();
        let before = arena.disk();
        let run = [
            "dynuser",
            "run",
            "-u",
            "b",
            "-p",
            "RuntimeDirectory=theirs",
            "true",
        ];
        let why = arena.run(run).fails(233);
        assert!(why.contains("/run/theirs"), "{why}");
        arena.wait_until_idle();
        assert_eq!(arena.disk(), before);
    }
}

#[test]
fn a_refused_second_run_leaves_the_first_one_s_end_alone() {
    let arena = Arena::new();
    arena.sh("mkdir -p /run/theirs/sub").ok();
    let mut first = arena.spawn([
        "dynuser",
        "run",
        "-u",
        "b",
        "sh",
        "-c",
        "echo up; read end; true",
    ]);
    assert_eq!(first.line(), "up");
    let run = [
        "dynuser",
        "run",
        "-u",
        "b",
        "-p",
        "RuntimeDirectory=theirs",
        "true",
    ];
    arena.run(run).fails(233);
    assert!(first.end().0.success());
    arena.wait_until_idle();
    assert_eq!(arena.run(["ls", "/run/theirs"]).ok(), "sub\n");
}

#[test]
fn parents_that_were_made_go_and_those_in_use_stay() {
    let arena = Arena::new();
    arena.sh("mkdir -p /run/kept").ok();
    let run = |directory: &str| {
        let property = format!("RuntimeDirectory={directory}");
        arena
            .run(["dynuser", "run", "-u", "b", "-p", &property, "true"])
            .ok();
        arena.wait_until_idle();
    };
    run("made/inner kept/inner");
    let left = arena
        .sh("ls -d /run/made /run/kept 2>/dev/null; ls -A /run/kept")
        .stdout;
    assert_eq!(left, "/run/kept\n");
}

#[test]
fn a_restarted_daemon_releases_each_lease_once() {
    let arena = Arena::new();
    // A child that is deaf to SIGTERM makes each release take as long as the grace.
    let script =
        "sh -c 'trap : TERM; while :; do sleep 1; done' >/dev/null 2>&1 & echo up; read end; true";
    let start = |name: &str| {
        let mut service = arena.spawn([
            "dynuser",
            "run",
            "-u",
            name,
            "-p",
            &format!("RuntimeDirectory={name}"),
            "sh",
            "-c",
            script,
        ]);
        assert_eq!(service.line(), "up");
        service
    };
    let first = start("first");
    let others: Vec<_> = ["l1", "l2", "l3"].map(|name| (name, start(name))).into();
    arena.kill_daemons();
    first.signal(Signal::KILL);
    first.end();
    // This starts a daemon that finds "first" to be released, and the others to be watched.
    arena.run(["dynuser", "run", "-u", "other", "true"]).ok();
    let mut again = Vec::new();
    for (name, service) in others {
        service.signal(Signal::KILL);
        service.end();
        again.push((name, start(name)));
    }
    wait_until("the first lease has ended", || {
        !arena.list().iter().any(|lease| lease["name"] == "first")
    });
    for (name, service) in again {
        let listed = arena.list();
        let lease = listed.iter().find(|lease| lease["name"] == name);
        assert_eq!(lease.expect("it is listed")["state"], "running");
        arena.run(["test", "-d", &format!("/run/{name}")]).ok();
        assert!(service.end().0.success());
    }
}

#[test]
fn what_cannot_be_taken_back_keeps_its_number_out_of_use_until_it_is_gone() {
    let arena = Arena::new();
    // A command that stays root leaves a child with the user's group, whom no signal of the user's
    // reaches.
    let run = [
        "dynuser",
        "run",
        "--wait",
        "--quiet",
        "-u",
        "b",
        "!sh",
        "-c",
        LEAVES_ONE_BEHIND,
    ];
    let why = arena.run(run).fails(3);
    assert!(
        why.contains("stays out of use") && why.contains("sleep"),
        "{why}"
    );
    let listed = arena.list();
    assert_eq!(listed[0]["state"], "quarantined");
    assert!(
        listed[0]["reason"].as_str().unwrap().contains("sleep"),
        "{listed:?}"
    );
    // The name is not known any more, and comes back under another number.
    assert!(
        arena
            .run(["ls", "-A", "/run/dynuser/users"])
            .ok()
            .is_empty()
    );
    let other = arena.run(["dynuser", "run", "-u", "b", "id", "-u"]).ok();
    assert_ne!(other.trim(), listed[0]["uid"].to_string());

    arena.sh("pkill -KILL sleep").ok();
    arena.kill_daemons();
    arena.run(["dynuser", "run", "-u", "c", "true"]).ok();
    arena.wait_until_idle();
}

#[test]
fn a_launcher_that_is_killed_before_its_child_is_the_user_leaves_no_service() {
    let arena = Arena::new();
    // The daemon is there already, or strace would wait for its end too.
    arena.run(["dynuser", "run", "true"]).ok();
    let launcher = arena.spawn([
        "strace",
        "-f",
        "-o",
        "/tmp/trace",
        "-e",
        "trace=setgroups,setresuid",
        "-e",
        "inject=setgroups:delay_enter=3000000",
        "dynuser",
        "run",
        "--wait",
        "--quiet",
        "-u",
        "late",
        "sleep",
        "1000",
    ]);
    wait_until("the child is about to take on its groups", || {
        arena.sh("grep -q setgroups /tmp/trace").status.success()
    });
    let holder = arena.list()[0]["pid"].to_string();
    arena.run(["kill", "-9", &holder]).ok();
    arena.wait_until_idle();
    // strace still holds the child back; then it finds that its lease is gone.
    launcher.end();
    let left = arena.processes();
    assert!(!left.iter().any(|line| line.contains("sleep")), "{left:?}");
}

#[test]
fn mounts_that_lie_hidden_under_others_are_no_obstacle() {
    let arena = Arena::new();
    arena
        .sh("mount -t tmpfs hidden /dev/shm && mkdir /dev/shm/inner && mount -t tmpfs inner /dev/shm/inner && \
             mount -t tmpfs -o mode=1777 top /dev/shm")
        .ok();
    let seen = arena
        .run([
            "dynuser",
            "run",
            "-u",
            "b",
            "sh",
            "-c",
            "touch /dev/shm/mine && echo written",
        ])
        .ok();
    assert_eq!(seen, "written\n");
}

/// Leaves a child that writes "ended" into the state directory a second after SIGTERM.
const SLOW_CHILD: &str = "(trap 'sleep 1; echo ended > $STATE_DIRECTORY/child; exit 0' TERM; \
                          touch $STATE_DIRECTORY/up; while :; do sleep 1000 & wait; done) \
                          </dev/null >/dev/null 2>&1 & \
                          until [ -e $STATE_DIRECTORY/up ]; do sleep 0.01; done";

#[test]
fn processes_that_are_left_have_as_long_as_the_service_or_else_the_configuration_says() {
    for (default, services) in [
        ("1ms", [("a", None, false), ("b", Some("30s"), true)]),
        ("30s", [("a", None, true), ("b", Some("1ms"), false)]),
    ] {
        let arena = Arena::new();
        arena.sh("mkdir -p /etc/dynuser").ok();
        let conf = format!("[Manager]\nDefaultTimeoutStopSec={default}\n");
        arena.put("/etc/dynuser/dynuser.conf", &conf, 0o644);
        for (name, own, _) in services {
            let directory = format!("StateDirectory={name}");
            let own = own.map(|time| format!("TimeoutStopSec={time}"));
            let mut run = vec!["dynuser", "run", "-u", name, "-p", &directory];
            run.extend(own.iter().flat_map(|property| ["-p", property.as_str()]));
            run.extend(["sh", "-c", SLOW_CHILD]);
            arena.run(run).ok();
        }
        arena.wait_until_idle();
        for (name, own, in_time) in services {
            let files = arena.run(["ls", &format!("/var/lib/{name}/")]).ok();
            let expected = if in_time { "child\nup\n" } else { "up\n" };
            assert_eq!(files, expected, "default {default}, own {own:?}");
        }
    }
}

#[test]
fn a_directory_in_run_goes_whatever_group_the_service_gave_it_to() {
    let arena = Arena::new();
    arena.append("/etc/passwd", "web:x:1234:1234::/:/bin/sh");
    arena.append("/etc/group", "web:x:1234:");
    arena.append("/etc/group", "logs:x:1235:web");
    let script = "dynuser run -u web -p RuntimeDirectory=web chgrp logs /run/web";
    // Twice: one that stayed would be in the way of the next start.
    for _ in 0..2 {
        arena.sh(script).ok();
        arena.wait_until_idle();
        assert_eq!(arena.sh("ls -d /run/web").stdout, "");
    }
}
