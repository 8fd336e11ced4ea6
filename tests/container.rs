//! `dynuser run` as the entry point of a container: as the first process of its PID namespace, and as a child of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;

use support::{Arena, Output, PATIENCE, Running, wait_until};

/// What runs a command as the first process of a PID namespace, with a `/proc` of its own, and ends as it ends.
const CONTAINER: [&str; 5] = ["unshare", "--pid", "--fork", "--mount", "--mount-proc"];

fn within<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [&CONTAINER[..], words].concat()
}

/// Runs a command line of `dynuser run` as the first process, to its end.
fn first(arena: &Arena, words: &[&str]) -> Output {
    arena.run(within(&[&["dynuser", "run"], words].concat()))
}

/// Starts one, and waits for its first line.
fn start(arena: &Arena, words: &[&str]) -> Running {
    let mut running = arena.spawn(within(words));
    assert_eq!(running.line(), "up");
    running
}

/// The PID of the container's first process, outside of it.
fn init(arena: &Arena, container: &Running) -> String {
    let pid = container.pid();
    let children = arena.run(["cat", &format!("/proc/{pid}/task/{pid}/children")]);
    children.ok().trim().to_owned()
}

/// As `docker stop` does.
fn signal(arena: &Arena, container: &Running, signal: &str) {
    let init = init(arena, container);
    arena.run(["kill", "-s", signal, &init]).ok();
}

/// No lease and no name is left where the container had its `/run`, looked at from outside.
fn assert_nothing_left(arena: &Arena) {
    let left = arena.sh("ls -A /run/dynuser/leases /run/dynuser/users /run/dynuser/notify");
    let nothing = "/run/dynuser/leases:\n\n/run/dynuser/notify:\n\n/run/dynuser/users:\n";
    assert_eq!(left.ok(), nothing);
    assert_eq!(arena.processes(), Vec::<String>::new());
}

#[test]
fn the_first_process_ends_as_the_service_does() {
    let arena = Arena::new();
    for (script, status) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("kill -TERM $$", 128 + 15),
        ("kill -KILL $$", 128 + 9),
    ] {
        let ended = first(&arena, &["-u", "one", "sh", "-c", script]);
        assert_eq!(ended.status.code(), Some(status), "{ended}");
        assert_nothing_left(&arena);
    }
    first(&arena, &["-u", "one", "/nonexistent"]).fails(203);
    // It is not the service: that has a parent, and the actions of signals that all others have.
    let script = "echo $PPID; readlink /proc/$PPID/exe || cat /proc/$PPID/comm; test $$ != 1";
    let told = first(&arena, &["-u", "one", "sh", "-c", script]);
    assert_eq!(told.ok(), "1\ndynuser\n");
    // So is it behind one who waits.
    first(&arena, &["-u", "one", "--wait", "-q", "sh", "-c", "exit 3"]).fails(3);
    assert_nothing_left(&arena);
}

#[test]
fn every_signal_to_the_first_process_reaches_the_service() {
    let arena = Arena::new();
    let signals = [
        "HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "WINCH", "CONT", "PWR", "RTMIN+3",
    ];
    let mut script = String::new();
    for name in signals {
        script.push_str(&format!("trap 'echo {name}' {name}; "));
    }
    script.push_str("echo up; while :; do sleep 0.05; done");
    let words = ["dynuser", "run", "-u", "one", "bash", "-c", &script];
    let mut container = start(&arena, &words);
    for name in signals {
        // kill(1) of bash knows real-time signals.
        let init = init(&arena, &container);
        arena
            .run(["bash", "-c", &format!("kill -s {name} {init}")])
            .ok();
        assert_eq!(container.line(), name);
    }
    // Nobody catches this one, and to the first process itself the kernel would not send it.
    signal(&arena, &container, "TERM");
    assert_eq!(container.end().0.code(), Some(128 + 15));
    assert_nothing_left(&arena);
}

#[test]
fn a_signal_while_the_service_is_prepared_is_not_lost() {
    let arena = Arena::new();
    // It is there when the first process begins.
    let script = "kill -TERM 1; exec dynuser run -u one sleep 1000";
    let words = ["env", "--block-signal=TERM", "sh", "-c", script];
    let ended = arena.run(within(&words));
    assert_eq!(ended.status.code(), Some(128 + 15), "{ended}");
    assert_nothing_left(&arena);
}

#[test]
fn orphans_are_reaped() {
    let arena = Arena::new();
    // The shell between ends at once, and its child is nobody's.
    let script = "i=0; while [ $i -lt 20 ]; do sh -c 'sleep 0 & :'; i=$((i + 1)); done; echo up; exec sleep 1000";
    let container = start(&arena, &["dynuser", "run", "-u", "one", "sh", "-c", script]);
    let init = init(&arena, &container);
    wait_until("no zombie is left", || {
        let states = format!("ps -o stat= --ppid {init}");
        !arena
            .sh(&states)
            .ok()
            .lines()
            .any(|state| state.starts_with('Z'))
    });
    signal(&arena, &container, "TERM");
    assert_eq!(container.end().0.code(), Some(128 + 15));
    assert_nothing_left(&arena);
}

#[test]
fn everything_is_taken_back_before_the_first_process_ends() {
    let arena = Arena::new();
    arena.sh("mkdir -p /etc/dynuser").ok();
    let limit = "[Manager]\nDefaultTimeoutStopSec=1s\n";
    arena.put("/etc/dynuser/dynuser.conf", limit, 0o644);
    let directories = ["-p", "StateDirectory=one", "-p", "RuntimeDirectory=one"];
    // What is deaf to SIGTERM makes the end of the lease slow.
    let script = "echo hello >/var/lib/one/file; (trap '' TERM; sleep 1000) >/dev/null 2>&1 & ipcmk -M 4096 >/dev/null; exit 3";
    let words = [&["-u", "one"], &directories[..], &["sh", "-c", script]].concat();
    first(&arena, &words).fails(3);
    assert_nothing_left(&arena);
    arena.run(["test", "-e", "/run/one"]).fails(1);
    let state = arena
        .sh("readlink /var/lib/one; cat /var/lib/private/one/file; stat -c %a:%u /var/lib/private");
    assert_eq!(state.ok(), "private/one\nhello\n700:0\n");
    let segments = arena.run(["cat", "/proc/sysvipc/shm"]).ok();
    assert_eq!(segments.lines().count(), 1, "{segments}");
    // The next one finds it, with the same number.
    let owner = |script: &str| {
        first(
            &arena,
            &[&["-u", "one"], &directories[..], &["sh", "-c", script]].concat(),
        )
        .ok()
    };
    let uid = owner("id -u; cat /var/lib/one/file");
    assert_eq!(owner("id -u; cat /var/lib/one/file"), uid);
    assert!(uid.ends_with("\nhello\n"), "{uid}");
}

#[test]
fn a_daemon_that_was_killed_is_followed_by_one_that_takes_back() {
    let arena = Arena::new();
    let words = [
        "dynuser",
        "run",
        "-u",
        "one",
        "-p",
        "RuntimeDirectory=one",
        "sh",
        "-c",
        "echo up; exec sleep 1000",
    ];
    let container = start(&arena, &words);
    let daemons = arena.daemons();
    assert_eq!(daemons.len(), 1, "{daemons:?}");
    arena.run(["kill", "-KILL", &daemons[0]]).ok();
    signal(&arena, &container, "TERM");
    assert_eq!(container.end().0.code(), Some(128 + 15));
    assert_nothing_left(&arena);
    arena.run(["test", "-e", "/run/one"]).fails(1);
}

#[test]
fn a_unit_file_is_run_by_the_first_process_too() {
    let arena = Arena::new();
    let listener = arena.within(|| {
        let socket = UnixDatagram::bind("/run/listener").unwrap();
        let mode = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions("/run/listener", mode).unwrap();
        socket
    });
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    let until_ready = || {
        let mut buffer = [0; 4096];
        loop {
            let length = listener.recv(&mut buffer).expect("READY=1");
            let told = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if told.lines().any(|line| line == "READY=1") {
                return;
            }
        }
    };
    // In place below the first process, and behind a parent below it.
    for (supervise, status) in [(None, 128 + 15), (Some("--supervise"), 0)] {
        let words = ["dynuser", "run", "--unit-file", "monopd.service"];
        let words = words.into_iter().chain(supervise);
        let words: Vec<_> = words.collect();
        let command = arena.command(within(&words));
        let container = command.env("NOTIFY_SOCKET", "/run/listener").spawn();
        until_ready();
        signal(&arena, &container, "TERM");
        assert_eq!(container.end().0.code(), Some(status), "{supervise:?}");
        assert_nothing_left(&arena);
    }
}

#[test]
fn below_a_shell_that_is_the_first_process_it_is_as_everywhere() {
    let arena = Arena::new();
    let script = "dynuser run -u one sh -c 'exit 3'; echo $?; dynuser run -u one sh -c 'kill -TERM $$'; echo $?
        dynuser run -u one -q sleep 1000 & sleep=$!
        until grep -qx sleep /proc/$sleep/comm; do :; done
        kill -TERM $sleep; wait $sleep; echo $?
        until [ -z \"$(ls /run/dynuser/leases)\" ]; do :; done";
    let told = arena.run(within(&["sh", "-c", script]));
    assert_eq!(told.ok().lines().collect::<Vec<_>>(), ["3", "143", "143"]);
    assert_nothing_left(&arena);
}

/// The file system of an image with little in it: no account but root's, nothing that runs, only what a shell takes.
const IMAGE: &str = "set -e; mount -t tmpfs image /mnt; cd /mnt
    mkdir -p usr etc proc dev run tmp var/lib var/cache var/log var/tmp root sys old
    for link in bin sbin lib lib64; do [ ! -L /$link ] || cp -a /$link .; done
    mount --rbind /usr usr; mount --rbind /dev dev; mount -t proc proc proc
    echo 'root:x:0:0::/root:/bin/sh' >etc/passwd; echo 'root:x:0:' >etc/group
    cp /etc/ld.so.cache etc; pivot_root . old; cd /; umount -l /old; exec \"$@\"";

#[test]
fn a_small_image_is_enough() {
    let arena = Arena::new();
    let service = "id -un; echo hello >/var/lib/one/file; cat /var/lib/one/file; exit 3";
    let words = [
        "sh",
        "-c",
        IMAGE,
        "sh",
        "dynuser",
        "run",
        "-u",
        "one",
        "-p",
        "StateDirectory=one",
        "sh",
        "-c",
        service,
    ];
    let told = arena.run(within(&words));
    assert_eq!(told.fails_with_output(3), "one\nhello\n");
    assert_eq!(arena.processes(), Vec::<String>::new());
}

#[test]
fn whoever_is_in_a_hurry_asks_twice() {
    let arena = Arena::new();
    // For ever, as far as a test goes.
    arena.sh("mkdir -p /etc/dynuser").ok();
    arena.put(
        "/etc/dynuser/dynuser.conf",
        "[Manager]\nDefaultTimeoutStopSec=1h\n",
        0o644,
    );
    let deaf =
        "(trap '' TERM; while :; do sleep 0.1; done) >/dev/null 2>&1 & echo up; exec sleep 1000";
    let container = start(&arena, &["dynuser", "run", "-u", "one", "sh", "-c", deaf]);
    signal(&arena, &container, "TERM");
    wait_until("the lease is ending", || {
        arena
            .sh("grep -l ending /run/dynuser/leases/*")
            .status
            .success()
    });
    signal(&arena, &container, "TERM");
    let (status, _) = container.end();
    assert_eq!((status.code(), status.signal()), (Some(128 + 15), None));
    assert_eq!(arena.processes(), Vec::<String>::new());
}

#[test]
fn a_listener_as_the_first_process_ends_like_any_other() {
    let arena = Arena::new();
    let script =
        "exec dynuser listen -q --tcp 127.0.0.1:2048 --accept --inetd --ready-fd=7 -- cat 7>&1";
    let mut container = arena.spawn(within(&["sh", "-c", script]));
    assert_eq!(container.line(), "");
    let answer = arena
        .sh("echo hello | socat -t 60 - TCP:127.0.0.1:2048")
        .ok();
    assert_eq!(answer, "hello\n");
    // Those who are served end with the first process. This one has ended, and may not be taken back yet.
    wait_until("nobody is served", || {
        let processes = arena.processes();
        !processes
            .iter()
            .any(|line| line.split(' ').nth(1) == Some("cat"))
    });
    signal(&arena, &container, "TERM");
    assert_eq!(container.end().0.code(), Some(0));
    assert_nothing_left(&arena);
}
