//! `dynuser stop`: whoever is named ends, in good time, and nobody else does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::{Arena, Running, dynamic_uid, wait_until};

/// A service that sleeps.
fn sleeper(arena: &Arena, words: &[&str]) -> Running {
    let mut service = arena.spawn([&["dynuser", "run"], words, &["sleep", "1000"]].concat());
    service.wait_exec("sleep");
    service
}

/// A service that runs a shell script, which says `up`.
fn shell(arena: &Arena, words: &[&str], script: &str) -> Running {
    let command = ["sh", "-c", script];
    let mut service = arena.spawn([&["dynuser", "run"], words, &command].concat());
    assert_eq!(service.line(), "up");
    service
}

fn stop(arena: &Arena, words: &[&str]) -> support::Output {
    arena.run([&["dynuser", "stop"], words].concat())
}

fn names(arena: &Arena) -> Vec<String> {
    let listed = arena.list().into_iter();
    let name = |lease: serde_json::Value| lease["name"].as_str().unwrap().to_owned();
    listed.map(name).collect()
}

/// Ignores SIGTERM, with all that it starts.
const DEAF: &str = "trap '' TERM; echo up; while :; do sleep 1000; done";

#[test]
fn what_is_stopped_is_gone_when_the_verb_returns() {
    let arena = Arena::with_module();
    let service = sleeper(&arena, &["-u", "goes", "-p", "RuntimeDirectory=goes"]);
    let other = sleeper(&arena, &["-u", "stays"]);
    stop(&arena, &["goes.service"]).ok();
    assert_eq!(names(&arena), ["stays"]);
    arena.run(["getent", "passwd", "goes"]).fails(2);
    arena.run(["test", "-e", "/run/goes"]).fails(1);
    assert_eq!(service.end().0.to_string(), "signal: 15 (SIGTERM)");
    // By its number, and without a daemon: somebody has to take everything back.
    let uid = arena.list()[0]["uid"].to_string();
    arena.kill_daemons();
    stop(&arena, &[&uid]).ok();
    assert_eq!(names(&arena), Vec::<String>::new());
    arena.run(["getent", "passwd", "stays"]).fails(2);
    drop(other);
}

#[test]
fn one_name_that_nobody_has_is_told_and_the_others_are_stopped() {
    let arena = Arena::new();
    let _service = sleeper(&arena, &["-u", "goes"]);
    let told = stop(&arena, &["nonsuch", "goes"]).fails(1);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(
        told.contains("nonsuch") && told.contains("neither a service"),
        "{told}"
    );
    assert_eq!(names(&arena), Vec::<String>::new());
    let told = stop(&arena, &["goes"]).fails(1);
    assert!(told.contains("goes"), "{told}");
    let ask = arena.command(["dynuser", "stop", "goes"]).user(1000);
    assert!(ask.run().fails(1).contains("root"));
}

#[test]
fn one_that_is_deaf_to_sigterm_is_killed_when_its_grace_is_over() {
    let arena = Arena::new();
    for launcher in [&["-p", "TimeoutStopSec=100ms"][..], &["--wait"]] {
        let grace = ["-u", "deaf", "-p", "TimeoutStopSec=100ms"];
        let service = shell(&arena, &[&grace[..], launcher].concat(), DEAF);
        let told = stop(&arena, &["deaf"]);
        assert!(told.stderr.contains("deaf does not end"), "{told}");
        told.ok();
        assert_eq!(names(&arena), Vec::<String>::new());
        assert_eq!(service.end().0.to_string(), "signal: 9 (SIGKILL)");
    }
    // One with a grace that nobody waits for.
    let service = shell(&arena, &["-u", "deaf", "-p", "TimeoutStopSec=1h"], DEAF);
    stop(&arena, &["--no-wait", "deaf"]).ok();
    assert_eq!(names(&arena), ["deaf"]);
    arena.run(["kill", "-0", &service.pid()]).ok();
    // Behind a launcher, too, whose service goes with it at once.
    let behind = ["--wait", "-u", "behind", "-p", "TimeoutStopSec=1h"];
    let _behind = shell(&arena, &behind, &DEAF.replace("sleep 1000", "read -r _"));
    stop(&arena, &["--kill", "deaf", "behind"]).ok();
    assert_eq!(names(&arena), Vec::<String>::new());
}

#[test]
fn a_service_that_is_started_again_is_stopped_by_its_own_commands() {
    let arena = Arena::new();
    arena.put(
        "/run/again.service",
        "[Service]\nDynamicUser=yes\nStateDirectory=again\nRestart=always\nRestartSec=0\n\
         ExecStart=/bin/sh -c 'echo up; exec sleep 1000'\n\
         ExecStop=/bin/sh -c 'echo told > /var/lib/again/told'\n",
        0o644,
    );
    let unit = [
        "dynuser",
        "run",
        "--unit-file",
        "/run/again.service",
        "--supervise",
    ];
    let mut launcher = arena.spawn(unit);
    assert_eq!(launcher.line(), "up");
    arena.run(["pkill", "-x", "sleep"]).ok();
    assert_eq!(launcher.line(), "up", "it was started again");
    stop(&arena, &["again"]).ok();
    assert_eq!(names(&arena), Vec::<String>::new());
    assert!(launcher.end().0.success());
    let told = arena.run(["cat", "/var/lib/private/again/told"]).ok();
    assert_eq!(told, "told\n");
}

#[test]
fn of_a_user_that_services_share_one_is_stopped_or_all() {
    let arena = Arena::with_module();
    let one = ["-u", "one", "-p", "User=shared"];
    let start = || {
        let two = ["-u", "two", "-p", "User=shared"];
        (sleeper(&arena, &one), sleeper(&arena, &two))
    };
    let (first, mut second) = start();
    assert_eq!(arena.list().len(), 1);
    stop(&arena, &["one"]).ok();
    assert_eq!(first.end().0.to_string(), "signal: 15 (SIGTERM)");
    assert!(second.runs());
    assert_eq!(arena.list()[0]["services"], serde_json::json!(["two"]));
    let _first = sleeper(&arena, &one);
    let told = stop(&arena, &["shared"]);
    assert!(told.stderr.contains("one, two"), "{told}");
    told.ok();
    assert_eq!(names(&arena), Vec::<String>::new());
}

#[test]
fn instances_are_stopped_by_their_template_or_a_pattern() {
    let arena = Arena::new();
    let start = |name| sleeper(&arena, &["-u", name]);
    let _all = ["foo@a", "foo@b", "foo@c", "foobar"].map(start);
    let services = || -> Vec<String> {
        let listed = arena.list().into_iter();
        let of = |lease: serde_json::Value| lease["services"][0].as_str().unwrap().to_owned();
        let mut services: Vec<String> = listed.map(of).collect();
        services.sort();
        services
    };
    stop(&arena, &["foo@[ab]"]).ok();
    assert_eq!(services(), ["foo@c", "foobar"]);
    stop(&arena, &["foo@"]).ok();
    assert_eq!(services(), ["foobar"]);
    assert!(stop(&arena, &["foo@*"]).fails(1).contains("foo@*"));
}

#[test]
fn a_user_that_a_descriptor_holds_is_left_and_told_who_has_it() {
    let arena = Arena::with_module();
    let script = "echo $DYNUSER_UID; exec sleep 1000";
    let mut holder = arena.spawn(["dynuser", "acquire", "-u", "held", "sh", "-c", script]);
    let uid = dynamic_uid(&holder.line());
    holder.wait_exec("sleep");
    for name in ["held", &uid.to_string()] {
        let told = stop(&arena, &[name]).fails(1);
        let who = format!("{} (sleep)", holder.pid());
        assert!(told.contains("descriptor") && told.contains(&who), "{told}");
        assert!(
            !told.contains("dynuser)"),
            "the daemon's own end counts: {told}"
        );
    }
    arena.run(["getent", "passwd", "held"]).ok();
    // A service of that user goes; the user stays.
    let service = sleeper(&arena, &["-u", "svc", "-p", "User=held"]);
    stop(&arena, &["svc"]).ok();
    assert_eq!(service.end().0.to_string(), "signal: 15 (SIGTERM)");
    assert_eq!(arena.list()[0]["descriptors"], 1);
    holder.stop();
    wait_until("the user is gone", || arena.list().is_empty());
}

#[test]
fn what_the_main_process_left_is_waited_for_as_well() {
    let arena = Arena::new();
    let script = "(trap '' TERM; exec sleep 1000) >/dev/null 2>&1 & echo $!; exec sleep 999";
    let words = [
        "dynuser",
        "run",
        "-u",
        "left",
        "-p",
        "TimeoutStopSec=600",
        "sh",
        "-c",
        script,
    ];
    let mut service = arena.spawn(words);
    let deaf = service.line();
    service.wait_exec("sleep");
    service.signal(rustix::process::Signal::KILL);
    service.end();
    // Its lease ends, and has 600 s for that.
    wait_until("it is ending", || arena.list()[0]["state"] == "ending");
    let mut stopping = arena.spawn([
        "sh",
        "-c",
        "dynuser stop left & echo $!; wait $!; echo stopped $?",
    ]);
    let verb = stopping.line();
    // It waits: nothing else is there to be told by, so it is looked at a few times.
    for _ in 0..50 {
        assert_eq!(names(&arena), ["left"]);
        arena
            .run(["test", "-e", &format!("/proc/{verb}/stat")])
            .ok();
    }
    arena.run(["kill", "-9", &deaf]).ok();
    assert_eq!(stopping.line(), "stopped 0");
    assert_eq!(names(&arena), Vec::<String>::new());
}

#[test]
fn from_another_pid_namespace_nobody_is_taken_for_ended() {
    let arena = Arena::new();
    let mut service = sleeper(&arena, &["-u", "goes"]);
    let elsewhere = [
        "unshare",
        "--pid",
        "--fork",
        "--mount",
        "--mount-proc",
        "dynuser",
        "stop",
        "goes",
    ];
    let refused = arena.run(elsewhere);
    assert!(refused.stderr.contains("PID namespace"), "{refused}");
    refused.fails(1);
    assert!(service.runs());
    stop(&arena, &["goes"]).ok();
}
