//! The host's own users, who come while a dynamic one is being made, and the lock that whoever
//! adds them holds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Arena, Running, dynamic_uid};

/// What the hash of "wuff" points at.
const WUFF: u32 = 63102;

/// Takes the lock as lckpwdf(3) does and says so.
const HOLD: &str = r#"
import fcntl, os, sys
lock = open("/etc/.pwd.lock", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
print(os.getpid(), flush=True)
"#;

/// Waits until somebody else opens the lock (inotify(7), IN_OPEN): then it has asked NSS already.
/// Adds a line to a file, and lets the lock go by ending.
const ADD: &str = r#"
import ctypes
libc = ctypes.CDLL(None)
watch = libc.inotify_init()
assert libc.inotify_add_watch(watch, b"/etc/.pwd.lock", 0x20) > 0
print("watching", flush=True)
os.read(watch, 4096)
with open(sys.argv[1], "a") as file:
    file.write(sys.argv[2] + "\n")
"#;

fn holder(arena: &Arena, more: &str, words: &[&str]) -> (Running, String) {
    let program = format!("{HOLD}{more}");
    let start = ["/usr/bin/python3", "-I", "-c", &program];
    let mut holder = arena.spawn([&start, words].concat());
    let pid = holder.line();
    (holder, pid)
}

#[test]
fn a_lock_that_is_never_let_go_fails_the_start_and_says_who_has_it() {
    let arena = Arena::new();
    let (mut holder, pid) = holder(&arena, "sys.stdin.read()", &[]);
    let why = arena
        .run(["dynuser", "run", "-u", "wuff", "true"])
        .fails(217);
    let named = format!("process {pid} (python3)");
    assert!(
        why.contains("/etc/.pwd.lock") && why.contains(&named),
        "{why}"
    );
    arena.wait_until_idle();
    assert_eq!(
        arena.sh("ls -A /run/dynuser/users").ok(),
        "",
        "no name is left"
    );
    assert!(holder.runs());
    // It stands in nobody's way any more.
    assert!(holder.end().0.success());
    let id = arena.run(["dynuser", "run", "-u", "wuff", "id", "-u"]).ok();
    assert_eq!(id.trim(), WUFF.to_string());
}

#[test]
fn whoever_was_added_while_we_waited_keeps_name_and_number() {
    for (file, line, named) in [
        ("/etc/passwd", format!("wuff:x:{WUFF}:100::/:"), "wuff"),
        ("/etc/passwd", format!("human:x:{WUFF}:100::/:"), "human"),
        ("/etc/group", format!("humans:x:{WUFF}:"), "humans"),
        ("/etc/group", "wuff:x:1234:".to_string(), "wuff"),
    ] {
        let arena = Arena::new();
        let (mut adder, _) = holder(&arena, ADD, &[file, &line]);
        assert_eq!(adder.line(), "watching");
        let both = ["dynuser", "run", "-u", "wuff", "sh", "-c"];
        let command = if named == "wuff" {
            "id -u; id -g"
        } else {
            "id -u"
        };
        let output = arena.run([&both[..], &[command]].concat());
        assert!(
            adder.end().0.success(),
            "{line} was not added: nobody asked for the lock"
        );
        if named.starts_with("human") {
            // It is only the number: there are others.
            assert_ne!(dynamic_uid(&output.ok()), WUFF, "{line}");
        } else if file == "/etc/passwd" {
            // A user of that name: it is run under like any other that the host has.
            assert_eq!(output.ok(), format!("{WUFF}\n100\n"), "{line}");
        } else {
            let why = output.fails(217);
            assert!(why.contains("group of that name"), "{line}: {why}");
        }
        arena.wait_until_idle();
        assert_eq!(
            arena.sh("ls -A /run/dynuser/users").ok(),
            "",
            "no name is left"
        );
    }
}

#[test]
fn nobody_adds_users_where_etc_is_read_only() {
    let arena = Arena::new();
    arena
        .sh("rm -f /etc/.pwd.lock && mount --bind /etc /etc && mount -o remount,bind,ro /etc")
        .ok();
    let id = arena.run(["dynuser", "run", "-u", "wuff", "id", "-u"]).ok();
    assert_eq!(id.trim(), WUFF.to_string());
}

#[test]
fn the_lock_is_made_for_root_alone_and_free_while_the_service_runs() {
    let arena = Arena::new();
    arena.sh("rm -f /etc/.pwd.lock").ok();
    let mut service = arena.spawn(["dynuser", "run", "-u", "wuff", "sleep", "1000"]);
    service.wait_exec("sleep");
    assert_eq!(
        arena.sh("stat -c '%a %u %g' /etc/.pwd.lock").ok(),
        "600 0 0\n"
    );
    // A real one, which needs the lock.
    arena.run(["groupadd", "--gid", "1234", "people"]).ok();
    assert!(arena.sh("cat /etc/group").ok().contains("people:x:1234:"));
    service.stop();
}
