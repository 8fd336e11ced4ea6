//! One range of numbers, two that hand them out: systemd's locks, its users, its descriptor store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::string_slice)]

mod support;

use support::{Arena, Running, dynamic_uid, wait_until};

/// What the hash of "wuff" points at.
const WUFF: u32 = 63102;

/// Its lock.
const LOCK: &str = "/run/systemd/dynamic-uid/63102";

/// Takes a number as systemd does.
const SYSTEMD: &str = include_str!("beside_systemd/systemd.py");

/// Shows a user as systemd does.
const USERDB: &str = include_str!("beside_systemd/userdb.py");

/// Starts the daemon as systemd does, and keeps its descriptors.
const MANAGER: &str = include_str!("beside_systemd/manager.py");

/// A host where systemd runs. It had no dynamic user yet: there is no folder of locks.
fn host() -> Arena {
    let arena = Arena::new();
    arena.sh("mkdir -p /run/systemd/system").ok();
    arena
}

/// As [`host`], with systemd's users in the databases.
fn host_with_nss() -> Arena {
    let arena = host();
    let nsswitch = "passwd: files systemd\ngroup: files systemd\n";
    arena.put("/etc/nsswitch.conf", nsswitch, 0o644);
    arena
}

/// systemd gives `uid` to its unit `name`, for as long as this runs.
fn systemd_takes(arena: &Arena, uid: u32, name: &str) -> Running {
    let mut systemd = arena.spawn(["python3", "-c", SYSTEMD, &uid.to_string(), name]);
    assert_eq!(systemd.line(), "locked");
    systemd
}

/// What systemd says when it tries to take `uid`.
fn systemd_tries(arena: &Arena, uid: u32) -> String {
    arena
        .run(["python3", "-c", SYSTEMD, &uid.to_string(), "unit"])
        .ok()
}

fn uid_of(arena: &Arena, name: &str) -> u32 {
    dynamic_uid(&arena.run(["dynuser", "run", "-u", name, "id", "-u"]).ok())
}

fn sleeper(arena: &Arena, name: &str) -> Running {
    let mut service = arena.spawn(["dynuser", "run", "-u", name, "sleep", "1000"]);
    service.wait_exec("sleep");
    service
}

fn files(arena: &Arena) -> String {
    arena.run(["ls", "-A", "/run/systemd/dynamic-uid"]).ok()
}

#[test]
fn a_number_that_systemd_has_is_passed_over_until_it_is_free() {
    let arena = host();
    let systemd = systemd_takes(&arena, WUFF, "unit");
    let other = uid_of(&arena, "wuff");
    assert_ne!(other, WUFF);
    arena.wait_until_idle();
    let rehearsed = arena.run(["dynuser", "run", "--dry-run", "-u", "wuff", "true"]);
    let rehearsed = rehearsed.ok();
    assert!(
        rehearsed.contains(&format!("lease wuff {other}:{other}")),
        "{rehearsed}"
    );
    // Nothing of ours is left, and systemd's is as it was.
    assert_eq!(files(&arena), format!("{WUFF}\n"));
    assert_eq!(arena.run(["cat", LOCK]).ok(), "unit\n");
    assert_eq!(systemd_tries(&arena, WUFF), "busy\n");
    systemd.end();
    // The name keeps what it has by now; on a host that has not seen it, the number is free again.
    assert_eq!(uid_of(&arena, "wuff"), other);
    arena.forget_numbers();
    assert_eq!(uid_of(&arena, "wuff"), WUFF);
}

#[test]
fn our_number_is_locked_as_systemd_does_it_for_as_long_as_the_service_runs() {
    let arena = host();
    let rehearsed = arena.run(["dynuser", "run", "--dry-run", "-u", "wuff", "true"]);
    assert!(rehearsed.ok().contains(&format!("{WUFF}:{WUFF}")));
    arena
        .run(["test", "-e", "/run/systemd/dynamic-uid"])
        .fails(1);
    let mut service = sleeper(&arena, "wuff");
    let folder = ["stat", "-c", "%a %u:%g %F", "/run/systemd/dynamic-uid"];
    assert_eq!(arena.run(folder).ok(), "755 0:0 directory\n");
    let file = ["stat", "-c", "%a %u:%g %F", LOCK];
    assert_eq!(arena.run(file).ok(), "600 0:0 regular file\n");
    assert_eq!(arena.run(["cat", LOCK]).ok(), "wuff\n");
    arena.run(["flock", "-n", LOCK, "true"]).fails(1);
    assert_eq!(systemd_tries(&arena, WUFF), "busy\n");
    // A second service of the name, and the end of one of the two, change nothing.
    assert_eq!(uid_of(&arena, "wuff"), WUFF);
    assert_eq!(systemd_tries(&arena, WUFF), "busy\n");
    assert!(service.runs());
    service.stop();
    arena.wait_until_idle();
    assert_eq!(files(&arena), "");
    assert_eq!(systemd_tries(&arena, WUFF), "locked\n");
}

#[test]
fn a_file_that_nobody_has_locked_is_no_obstacle() {
    let arena = host();
    arena.sh("mkdir -p /run/systemd/dynamic-uid").ok();
    arena.put(LOCK, "a-longer-name\n", 0o600);
    let service = sleeper(&arena, "wuff");
    assert_eq!(arena.list()[0]["uid"], WUFF);
    assert_eq!(arena.run(["cat", LOCK]).ok(), "wuff\n");
    service.stop();
    arena.wait_until_idle();
    assert_eq!(files(&arena), "");
}

#[test]
fn a_number_that_was_looked_at_and_not_taken_is_given_back() {
    let arena = host();
    arena.append("/etc/passwd", &format!("human:x:{WUFF}:100::/:/bin/sh"));
    let second = uid_of(&arena, "wuff");
    arena.append("/etc/passwd", &format!("second:x:{second}:100::/:/bin/sh"));
    let service = sleeper(&arena, "wuff");
    let uid = arena.list()[0]["uid"].to_string();
    assert!(uid != WUFF.to_string() && uid != second.to_string());
    assert_eq!(files(&arena), format!("{uid}\n"));
    // A start that fails after its number was chosen, and a user whom the host has, leave none.
    arena.sh("ln -s /nowhere /var/lib/private").ok();
    let property = "StateDirectory=x";
    let failed = arena.run(["dynuser", "run", "-u", "other", "-p", property, "true"]);
    assert!(!failed.status.success());
    arena.append("/etc/passwd", "static:x:1234:1234::/:/bin/sh");
    arena.run(["dynuser", "run", "-u", "static", "true"]).ok();
    arena.run(["dynuser", "run", "-u", "human", "true"]).ok();
    assert_eq!(files(&arena), format!("{uid}\n"));
    service.stop();
}

#[test]
fn a_folder_that_others_can_change_is_refused() {
    for bad in ["chown 1000 $d", "chmod 0777 $d", "rmdir $d; touch $d"] {
        let arena = host();
        let script = format!("d=/run/systemd/dynamic-uid; mkdir $d; {bad}");
        arena.sh(&script).ok();
        let why = arena.run(["dynuser", "run", "-u", "wuff", "true"]);
        let why = why.fails(217);
        assert!(
            why.contains("systemd's locks") && why.contains("/run/systemd/dynamic-uid"),
            "{bad}: {why}"
        );
    }
}

#[test]
fn without_systemd_nothing_of_it_is_made() {
    let arena = Arena::new();
    assert_eq!(uid_of(&arena, "wuff"), WUFF);
    arena.run(["test", "-e", "/run/systemd"]).fails(1);
}

#[test]
fn numbers_of_systemds_user_records_are_passed_over() {
    let user = format!(r#"{{"userName": "ann", "uid": {WUFF}, "gid": 100}}"#);
    let group = format!(r#"{{"groupName": "ann", "gid": {WUFF}}}"#);
    for (kind, record) in [("user", user), ("group", group)] {
        let arena = host_with_nss();
        arena.sh("mkdir /run/userdb").ok();
        arena.put(&format!("/run/userdb/ann.{kind}"), &record, 0o644);
        let link = format!("ln -s ann.{kind} /run/userdb/{WUFF}.{kind}");
        arena.sh(&link).ok();
        let database = if kind == "user" { "passwd" } else { "group" };
        arena.run(["getent", database, &WUFF.to_string()]).ok();
        assert_ne!(uid_of(&arena, "wuff"), WUFF, "{kind}");
        arena.sh("rm /run/userdb/*").ok();
        arena.forget_numbers();
        assert_eq!(uid_of(&arena, "wuff"), WUFF, "{kind}");
    }
}

#[test]
fn a_user_that_stays_is_run_under_although_its_record_is_systemds() {
    let arena = host_with_nss();
    let record = format!(r#"{{"userName": "ann", "uid": {WUFF}, "gid": {WUFF}}}"#);
    arena.sh("mkdir /run/userdb").ok();
    arena.put("/run/userdb/ann.user", &record, 0o644);
    assert_eq!(uid_of(&arena, "ann"), WUFF);
    assert_eq!(files(&arena), "");
}

#[test]
fn a_dynamic_user_of_systemd_is_nobody_to_run_under() {
    let arena = host_with_nss();
    let systemd = systemd_takes(&arena, WUFF, "theirs");
    let mut userdb = arena.spawn(["python3", "-c", USERDB, &WUFF.to_string(), "theirs"]);
    assert_eq!(userdb.line(), "serving");
    arena.run(["getent", "passwd", "theirs"]).ok();
    for arguments in [&["run"][..], &["run", "--dry-run"]] {
        let command = [&["dynuser"], arguments, &["-u", "theirs", "true"]].concat();
        let why = arena.run(command).fails(217);
        assert!(
            why.contains("systemd's dynamic user theirs") && why.contains("User="),
            "{why}"
        );
    }
    // By its number it is known as well, with the lock and by its record alone.
    assert_ne!(uid_of(&arena, "wuff"), WUFF);
    systemd.end();
    assert_ne!(uid_of(&arena, "wuff"), WUFF);
    userdb.end();
    arena.forget_numbers();
    assert_eq!(uid_of(&arena, "wuff"), WUFF);
    arena.wait_until_idle();
    assert_eq!(files(&arena), "");
}

#[test]
fn locks_outlive_a_killed_daemon_in_the_descriptor_store() {
    for address in ["/run/notify", "@notify"] {
        let arena = host();
        let mut manager = arena.spawn(["python3", "-c", MANAGER, address]);
        let mut tell = |command: &str, answers: &[&str]| {
            manager.say(command);
            let mut last = String::new();
            for answer in answers {
                last = manager.line();
                assert!(last.starts_with(answer), "{command}: {last}, not {answer}");
            }
            last
        };
        tell("kept", &["up", "store:"]);
        let pid_and_ready = ["pid ", "READY=1"];
        tell("start", &pid_and_ready);
        let service = sleeper(&arena, "wuff");
        tell("kept", &["keeps dynuser-63102", "store: dynuser-63102"]);
        for _ in 0..2 {
            tell("kill", &["killed"]);
            assert_eq!(systemd_tries(&arena, WUFF), "busy\n");
            tell("start", &pid_and_ready);
            assert_eq!(systemd_tries(&arena, WUFF), "busy\n");
            tell("kept", &["store: dynuser-63102"]);
            let lease = &arena.list()[0];
            assert_eq!(
                (lease["name"].as_str(), lease["reason"].as_str()),
                (Some("wuff"), None)
            );
        }
        // A daemon that was killed before it had written the lease.
        tell("plant 62500", &["planted"]);
        tell("kill", &["killed"]);
        let started = ["pid ", "forgets dynuser-62500", "READY=1"];
        tell("start", &started);
        assert_eq!(files(&arena), format!("{WUFF}\n"));
        // Of all that it was passed it has the locks, and nothing that somebody forgot.
        let script = "ls -l /proc/$(pgrep -x dynuserd)/fd";
        let descriptors = arena.sh(script).ok();
        assert_eq!(
            descriptors.matches("dynamic-uid/").count(),
            1,
            "{descriptors}"
        );
        for foreign in [" 50 -> ", "/etc/passwd"] {
            assert!(!descriptors.contains(foreign), "{descriptors}");
        }
        service.stop();
        arena.wait_until_idle();
        tell("kept", &["forgets dynuser-63102", "store:"]);
        assert_eq!(files(&arena), "");
        assert_eq!(systemd_tries(&arena, WUFF), "locked\n");
        // Descriptors for another process are nothing to take.
        tell("plant 62501", &["planted"]);
        tell("kill", &["killed"]);
        tell("start 1", &pid_and_ready);
        tell("kept", &["store: dynuser-62501"]);
    }
}

#[test]
fn a_service_manager_of_somebody_else_is_not_spoken_to() {
    let arena = host();
    let mut manager = arena.spawn(["python3", "-c", MANAGER, "/run/notify"]);
    assert_eq!(manager.line(), "up");
    // The daemon is started on demand by a service that has a service manager of its own.
    let command = arena.command(["dynuser", "run", "-u", "wuff", "id", "-u"]);
    command.env("NOTIFY_SOCKET", "/run/notify").run().ok();
    arena.wait_until_idle();
    manager.say("kept");
    assert_eq!(manager.line(), "store:");
}

#[test]
fn without_a_store_the_next_daemon_takes_the_locks_again() {
    let arena = host();
    let service = sleeper(&arena, "wuff");
    arena.kill_daemons();
    arena.run(["flock", "-n", LOCK, "true"]).ok();
    assert_ne!(uid_of(&arena, "other"), WUFF);
    assert_eq!(systemd_tries(&arena, WUFF), "busy\n");
    service.stop();
    arena.wait_until_idle();
    assert_eq!(files(&arena), "");
}

#[test]
fn a_number_of_two_users_is_told_and_nothing_of_the_other_is_ended() {
    let arena = host();
    let service = sleeper(&arena, "wuff");
    arena.kill_daemons();
    let systemd = systemd_takes(&arena, WUFF, "theirs");
    let identity = format!("--reuid={WUFF}");
    let mut theirs = arena.spawn(["setpriv", &identity, "--clear-groups", "sleep", "1000"]);
    theirs.wait_exec("sleep");
    uid_of(&arena, "other");
    wait_until("one lease is left", || arena.list().len() == 1);
    let told = |state: &str| {
        let lease = &arena.list()[0];
        let reason = lease["reason"].as_str().unwrap_or_default().to_owned();
        (lease["state"] == state).then_some(reason)
    };
    let reason = told("running").expect("it runs on");
    assert!(reason.contains("systemd's dynamic user theirs"), "{reason}");
    assert!(arena.run(["dynuser", "list"]).ok().contains(&reason));
    service.stop();
    wait_until("it is in quarantine", || told("quarantined").is_some());
    let reason = told("quarantined").expect("it is");
    assert!(reason.contains("systemd's dynamic user theirs"), "{reason}");
    assert!(theirs.runs(), "systemd's service goes on");
    theirs.stop();
    systemd.end();
    // It is tried again every minute, and by each new daemon.
    arena.kill_daemons();
    uid_of(&arena, "other");
    arena.wait_until_idle();
    assert_eq!(files(&arena), "");
    assert_eq!(uid_of(&arena, "wuff"), WUFF);
}

#[test]
fn a_number_in_quarantine_is_kept_from_systemd_by_a_daemon_that_nobody_needs() {
    let arena = host();
    let _daemon = arena.spawn(["dynuser", "daemon", "--idle-timeout", "0.1"]);
    arena.wait_for_daemon();
    let service = sleeper(&arena, "wuff");
    let group = format!("--groups={WUFF}");
    let mut stuck = arena.spawn(["setpriv", &group, "sleep", "1000"]);
    stuck.wait_exec("sleep");
    service.stop();
    wait_until("it is in quarantine", || {
        arena.list()[0]["state"] == "quarantined"
    });
    // Many times as long as it stays without a reason.
    arena.sh("sleep 1").ok();
    assert_eq!(systemd_tries(&arena, WUFF), "busy\n");
    stuck.stop();
    arena.run(["dynuser", "release", "wuff"]).ok();
    assert_eq!(files(&arena), "");
    wait_until("nobody needs it", || arena.daemons().is_empty());
}
