//! Who holds a lease, and what becomes of it with them: descriptors, and what is in quarantine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use rustix::process::Signal;
use support::{Arena, LEAVES_ONE_BEHIND, Running, dynamic_uid, wait_until};

/// A process that has acquired `name`, and runs `script` once it says so.
fn holder(arena: &Arena, name: &str, script: &str) -> (Running, u32) {
    let script = format!("echo $DYNUSER_UID; {script}");
    let mut holder = arena.spawn(["dynuser", "acquire", "-u", name, "sh", "-c", &script]);
    let uid = dynamic_uid(&holder.line());
    (holder, uid)
}

#[test]
fn an_acquired_user_exists_as_long_as_its_descriptor_with_no_process_of_its_own() {
    let arena = Arena::with_module();
    let (holder, uid) = holder(&arena, "held", "read -r _; true");
    let record = arena.run(["getent", "passwd", "held"]).ok();
    assert!(
        record.starts_with(&format!("held:x:{uid}:{uid}:")),
        "{record}"
    );
    let lease = &arena.list()[0];
    assert_eq!(
        (&lease["state"], &lease["descriptors"]),
        (&"running".into(), &1.into())
    );
    assert_eq!(lease["pid"], serde_json::Value::Null);
    let shown = arena.run(["dynuser", "show", "held"]).ok();
    assert!(shown.contains("descriptor"), "{shown}");
    assert!(holder.end().0.success());
    arena.wait_until_idle();
    arena.run(["getent", "passwd", "held"]).fails(2);
    assert_eq!(arena.run(["ls", "-A", "/run/dynuser/holds"]).ok(), "");
}

#[test]
fn any_copy_of_the_descriptor_holds_the_user() {
    let arena = Arena::with_module();
    // One copy is inherited, one was sent through a socket to a process that knows nothing else.
    let script = "sleep 1000 </dev/null >/dev/null 2>&1 & exec python3 -c '
import os, socket
a, b = socket.socketpair()
if os.fork() == 0:
    a.close()
    os.close(int(os.environ[\"DYNUSER_FD\"]))
    socket.recv_fds(b, 1, 1)
    os.dup2(os.open(\"/dev/null\", os.O_RDWR), 1)
    b.sendall(b\"!\")
    os.execvp(\"sleep\", [\"sleep\", \"2000\"])
socket.send_fds(a, [b\".\"], [int(os.environ[\"DYNUSER_FD\"])])
a.recv(1)
'";
    let (holder, uid) = holder(&arena, "copies", script);
    assert!(holder.end().0.success());
    let exists = || arena.run(["getent", "passwd", "copies"]).status.success();
    assert!(exists());
    arena.run(["pkill", "-f", "sleep 1000"]).ok();
    // A second lease comes and goes: the daemon has had time to notice.
    arena.run(["dynuser", "run", "-u", "other", "true"]).ok();
    assert!(
        exists(),
        "a copy of {uid} that came through a socket does not count"
    );
    arena.run(["pkill", "-f", "sleep 2000"]).ok();
    arena.wait_until_idle();
    assert!(!exists());
}

#[test]
fn a_descriptor_that_lives_on_is_adopted_and_one_that_is_closed_meanwhile_is_noticed() {
    let arena = Arena::with_module();
    let (stays, stays_uid) = holder(&arena, "stays", "read -r _; true");
    let (goes, _) = holder(&arena, "goes", "read -r _; true");
    arena.kill_daemons();
    assert!(goes.end().0.success());
    arena.run(["dynuser", "run", "-u", "other", "true"]).ok();
    wait_until("the closed one has ended", || arena.list().len() == 1);
    let lease = &arena.list()[0];
    assert_eq!(
        (&lease["name"], &lease["uid"]),
        (&"stays".into(), &stays_uid.into())
    );
    arena.run(["getent", "passwd", "goes"]).fails(2);
    arena.run(["getent", "passwd", "stays"]).ok();
    // It is watched by the new daemon, too.
    assert!(stays.end().0.success());
    arena.wait_until_idle();
}

#[test]
fn a_service_shares_the_user_that_is_held_and_leaves_it_behind() {
    let arena = Arena::with_module();
    let (holder, uid) = holder(&arena, "shared", "read -r _; true");
    let run = ["dynuser", "run", "-u", "x", "-p", "User=shared", "id", "-u"];
    for _ in 0..3 {
        assert_eq!(dynamic_uid(&arena.run(run).ok()), uid);
    }
    assert_eq!(arena.list().len(), 1);
    arena.run(["getent", "passwd", "shared"]).ok();
    assert!(holder.end().0.success());
    arena.wait_until_idle();
}

#[test]
fn a_runtime_directory_goes_with_its_service_and_not_with_the_user_that_others_share() {
    let arena = Arena::new();
    let grace = "TimeoutStopSec=1s";
    let script = "echo up; read -r _; true";
    let words = [
        "dynuser", "acquire", "-u", "shared", "-p", grace, "sh", "-c", script,
    ];
    let mut holder = arena.spawn(words);
    assert_eq!(holder.line(), "up");
    let directory = "RuntimeDirectory=kept/in:link";
    let script = "trap '' TERM; sleep 1000 </dev/null >/dev/null 2>&1 & exit 0";
    let user = "User=shared";
    let run = [
        "dynuser", "run", "-u", "first", "-p", user, "-p", directory, "-p", grace, "sh", "-c",
        script,
    ];
    arena.run(run).ok();
    wait_until("the service has ended", || {
        arena.list()[0]["services"].as_array().unwrap().len() == 1
    });
    // What is left of the service still runs, and the user exists: but the directory has gone with it, with
    // its link and its parent, and another one may have it.
    wait_until("the directory is gone", || {
        let gone = "! test -e /run/kept && ! test -L /run/link";
        arena.sh(gone).status.success()
    });
    let same = [
        "dynuser",
        "run",
        "-u",
        "other",
        "-p",
        "RuntimeDirectory=kept/in",
        "sh",
        "-c",
        "stat -c %U /run/kept/in",
    ];
    assert_eq!(arena.run(same).ok(), "other\n");
    assert!(holder.end().0.success());
    arena.wait_until_idle();
    arena.run(["test", "-e", "/run/kept"]).fails(1);
}

#[test]
fn a_runtime_directory_that_two_services_of_a_user_have_stays_for_the_second() {
    let arena = Arena::new();
    let service = |name, directories| {
        [
            "dynuser",
            "run",
            "-u",
            name,
            "-p",
            "User=shared",
            "-p",
            directories,
            "-p",
            "TimeoutStopSec=1s",
            "sh",
            "-c",
            "echo $0 > /run/common/a/$$; echo up; read -r _; true",
        ]
    };
    // What only the first has, in a directory that both have, is in the second's.
    let more = "RuntimeDirectory=common/a common/a/deep common/b:link common/own";
    let mut first = arena.spawn(service("first", more));
    assert_eq!(first.line(), "up");
    let both = "RuntimeDirectory=common/a common/b:link";
    let mut second = arena.spawn(service("second", both));
    assert_eq!(second.line(), "up");
    assert!(first.end().0.success());
    wait_until("the first has ended", || {
        arena.list()[0]["services"].as_array().unwrap().len() == 1
    });
    let files = arena
        .sh("ls -d /run/common/a/* | wc -l; ls -d /run/common/a/deep; readlink /run/link")
        .ok();
    assert_eq!(files, "3\n/run/common/a/deep\ncommon/b\n");
    wait_until("what the first alone had is gone", || {
        arena.sh("! test -e /run/common/own").status.success()
    });
    let deep = "test -d /run/common/a/deep && test -d /run/common/b";
    arena.sh(deep).ok();
    assert!(second.end().0.success());
    arena.wait_until_idle();
    arena
        .sh("! test -e /run/common && ! test -L /run/link")
        .ok();
}

#[test]
fn what_runs_as_the_user_ends_with_the_last_descriptor() {
    let arena = Arena::new();
    let script = "setpriv --reuid=$DYNUSER_UID --regid=$DYNUSER_GID --clear-groups sh -c \
                  'exec 3<&-; exec 4<&-; eval \"exec $DYNUSER_FD<&-\"; exec sleep 1000' >/dev/null 2>&1 & \
                  read -r _; true";
    let (holder, uid) = holder(&arena, "owner", script);
    let runs = || {
        let found = arena.run(["pgrep", "-u", &uid.to_string(), "-x", "sleep"]);
        found.status.success()
    };
    wait_until("the process runs", runs);
    assert!(holder.end().0.success());
    arena.wait_until_idle();
    assert!(!runs());
}

#[test]
fn only_a_user_can_be_acquired_and_only_by_root() {
    let arena = Arena::new();
    let property = [
        "dynuser",
        "acquire",
        "-u",
        "a",
        "-p",
        "StateDirectory=a",
        "true",
    ];
    let why = arena.run(property).fails(1);
    assert!(why.contains("a user alone"), "{why}");
    let why = arena.run(["dynuser", "acquire", "-u", "a"]).fails(1);
    assert!(why.contains("command to run is missing"), "{why}");
    let why = arena
        .run(["dynuser", "acquire", "-u", "root", "true"])
        .fails(217);
    assert!(why.contains("root"), "{why}");
    let words = ["dynuser", "acquire", "-u", "a", "true"];
    let why = arena.command(words).user(1000).run().fails(1);
    assert!(why.contains("root"), "{why}");
    let words = ["dynuser", "acquire", "-u", "a", "/no/such/program"];
    let why = arena.run(words).fails(203);
    assert!(why.contains("/no/such/program"), "{why}");
    arena.wait_until_idle();
    assert_eq!(arena.run(["ls", "-A", "/run/dynuser/holds"]).ok(), "");
}

/// Leaves a lease in quarantine: a process that is root but has the user's group.
fn stuck(arena: &Arena, name: &str) -> u64 {
    let script = LEAVES_ONE_BEHIND;
    let run = [
        "dynuser", "run", "--wait", "-q", "-u", name, "!sh", "-c", script,
    ];
    let why = arena.run(run).stderr;
    assert!(why.contains("stays out of use"), "{why}");
    let listed = arena.list();
    let lease = listed.iter().find(|lease| lease["name"] == name).unwrap();
    assert_eq!(lease["state"], "quarantined");
    lease["uid"].as_u64().unwrap()
}

#[test]
fn a_quarantine_is_lifted_by_release_once_its_reason_is_gone() {
    let arena = Arena::new();
    for by_number in [false, true] {
        let uid = stuck(&arena, "b");
        let word = if by_number {
            uid.to_string()
        } else {
            "b".into()
        };
        let release = || arena.run(["dynuser", "release", &word]);
        let why = release().fails(217);
        assert!(
            why.contains("sleep") && why.contains("stays out of use"),
            "{why}"
        );
        let table = arena.run(["dynuser", "list"]).ok();
        assert!(
            table.contains("quarantined") && table.contains("sleep"),
            "{table}"
        );
        // The name is in use again meanwhile: it is the old number that is meant.
        let mut again = arena.spawn([
            "dynuser",
            "run",
            "-u",
            "b",
            "sh",
            "-c",
            "echo up; read -r _",
        ]);
        assert_eq!(again.line(), "up");
        arena.run(["pkill", "-KILL", "-x", "sleep"]).ok();
        wait_until("it is dead", || {
            !arena.run(["pgrep", "-x", "sleep"]).status.success()
        });
        release().ok();
        let listed = arena.list();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0]["state"], "running");
        again.signal(Signal::KILL);
        again.end();
        arena.wait_until_idle();
        // The number is free: the name has it again, once it has forgotten the other.
        arena.forget_numbers();
        let again = dynamic_uid(&arena.run(["dynuser", "run", "-u", "b", "id", "-u"]).ok());
        assert_eq!(u64::from(again), uid);
        arena.wait_until_idle();
    }
}

#[test]
fn release_is_not_for_what_is_in_use_or_unknown() {
    let arena = Arena::new();
    let (holder, _) = holder(&arena, "held", "read -r _; true");
    let why = arena.run(["dynuser", "release", "held"]).fails(1);
    assert!(why.contains("in use by held"), "{why}");
    let why = arena.run(["dynuser", "release", "nobody-here"]).fails(1);
    assert!(why.contains("no such user"), "{why}");
    assert_eq!(arena.list().len(), 1);
    assert!(holder.end().0.success());
}

#[test]
fn a_damaged_lease_keeps_its_number_until_somebody_says_so_and_nothing_carries_it() {
    let arena = Arena::new();
    arena.run(["dynuser", "run", "-u", "a", "true"]).ok();
    arena.wait_until_idle();
    arena.kill_daemons();
    // What the hash of "wuff" points at.
    arena.put("/run/dynuser/leases/63102", "{\"name\":\"wuff\",", 0o644);
    let mut survivor = arena.process_of(63102);
    let uid = || dynamic_uid(&arena.run(["dynuser", "run", "-u", "wuff", "id", "-u"]).ok());
    assert_ne!(uid(), 63102);
    let why = arena.run(["dynuser", "release", "63102"]).fails(217);
    assert!(why.contains("sleep"), "{why}");
    assert!(survivor.runs(), "nobody knows whose it is");
    survivor.stop();
    arena.run(["dynuser", "release", "63102"]).ok();
    arena.forget_numbers();
    assert_eq!(uid(), 63102);
}

#[test]
fn a_lease_of_the_version_before_is_adopted() {
    let arena = Arena::with_module();
    let script = "echo $$; id -u; read -r _; true";
    let mut service = arena.spawn(["dynuser", "run", "-u", "old", "sh", "-c", script]);
    service.line();
    let uid = dynamic_uid(&service.line());
    arena.kill_daemons();
    // Fields that came later are taken out again.
    let path = format!("/run/dynuser/leases/{uid}");
    let text = arena.run(["cat", &path]).ok();
    let mut lease: serde_json::Value = serde_json::from_str(&text).unwrap();
    lease["holders"][0]
        .as_object_mut()
        .unwrap()
        .remove("grace")
        .unwrap();
    arena.put(&path, &lease.to_string(), 0o644);
    arena.run(["dynuser", "run", "-u", "other", "true"]).ok();
    wait_until("the other has ended", || arena.list().len() == 1);
    assert_eq!(arena.list()[0]["state"], "running");
    arena.run(["getent", "passwd", "old"]).ok();
    assert!(service.end().0.success());
    arena.wait_until_idle();
}
