//! Attacks by a service, by a user of the host, by both together, and by unlucky administrators.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use support::{Arena, Output, Running, dynamic_uid, wait_until};

/// Where the attacker's program is in an arena.
const ATTACKER: &str = "/usr/local/bin/attacker";

/// Nothing that was not expected.
const NONE: [&str; 0] = [];

/// An arena with the attacker's program.
fn arena() -> Arena {
    static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks/attacker.c");
        let target =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("attacker-{}", std::process::id()));
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-w", "-static", "-o"])
            .args([&target, &source]);
        assert!(cc.status().expect("a C compiler").success());
        let program = fs::read(&target).expect("the program");
        fs::remove_file(&target).expect("unlink");
        program
    });
    let arena = Arena::new();
    arena.within(|| fs::write(ATTACKER, program).expect(ATTACKER));
    arena.sh(&format!("chmod 0755 {ATTACKER}")).ok();
    arena
}

fn daemon(arena: &Arena) -> Running {
    let daemon = arena.spawn(["dynuser", "daemon"]);
    arena.wait_for_daemon();
    daemon
}

/// `dynuser run -u …` with the words of `line`, to its end.
fn run(arena: &Arena, line: &str) -> Output {
    arena.run(format!("dynuser run -u {line}").split(' '))
}

/// The same with a command that runs until it is stopped.
fn sleeper(arena: &Arena, line: &str) -> Running {
    let mut running = arena.spawn(format!("dynuser run -u {line} sleep 1000").split(' '));
    running.wait_exec("sleep");
    running
}

/// The lines that do not end with one of `expected`.
fn unexpected<'a>(text: &'a str, expected: &[&str]) -> Vec<&'a str> {
    assert!(text.lines().count() > 2, "{text}");
    let fine = |line: &&str| !expected.iter().any(|end| line.ends_with(end));
    text.lines().filter(fine).collect()
}

#[test]
fn a_process_that_forks_and_leaves_for_ever_does_not_outlive_its_lease() {
    let arena = arena();
    arena.sh("mkfifo -m 666 /mnt/beat").ok();
    let _reader = arena.spawn(["sh", "-c", "exec 3<>/mnt/beat; exec cat <&3 >/mnt/beats"]);
    for round in 0..8 {
        let name = format!("box{round}");
        run(&arena, &format!("{name} {ATTACKER} bounce /mnt/beat")).ok();
        arena.wait_until_idle();
        let script = "sleep 0.1; stat -c %s /mnt/beats; sleep 0.5; stat -c %s /mnt/beats";
        let text = arena.sh(script).ok();
        let sizes: Vec<&str> = text.lines().collect();
        assert_eq!(sizes[0], sizes[1], "something of {name} still lives");
    }
}

#[test]
fn a_full_table_of_processes_is_emptied_all_the_same() {
    let arena = arena();
    let daemon = daemon(&arena);
    // Those end when there was nothing to do for a while; the one that ends the bomb must be there all the same.
    wait_until("the event loop has no spare threads", || {
        let script = format!("! grep -q tokio /proc/{}/task/*/comm", daemon.pid());
        arena.sh(&script).status.success()
    });
    // A limit of this PID namespace alone since Linux 6.14. Before, it is the whole machine's.
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut parts = release
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let release = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    assert!(release >= (6, 14), "this test needs Linux 6.14");
    // By a process that lives inside: this thread is still of the namespace outside.
    arena.sh("echo 400 > /proc/sys/kernel/pid_max").ok();
    let mut bomb = arena.spawn(["dynuser", "run", "-u", "bomb", ATTACKER, "bomb"]);
    wait_until("the bomb's first process has ended", || !bomb.runs());
    wait_until("nothing of it is left", || {
        // Without a new process, which may not be possible yet.
        arena.within(|| fs::read_dir("/run/dynuser/leases").expect("leases").count()) == 0
    });
    assert_eq!(arena.sh("ps -eo comm= | grep -c attacker").stdout, "0\n");
}

#[test]
fn a_daemon_that_is_killed_while_it_makes_a_mapping_leaves_nobody_with_its_lock() {
    let arena = arena();
    let script = "mkdir -m 0700 /var/lib/private; mkdir /var/lib/private/box; \
        touch /var/lib/private/box/file; chown -R 1000:1000 /var/lib/private/box; \
        ln -s private/box /var/lib/box";
    arena.sh(script).ok();
    let daemon = daemon(&arena);
    let mut killer = arena.spawn([ATTACKER, "orphan", &daemon.pid()]);
    assert_eq!(killer.line(), "ready");
    let line = "box -p StateDirectory=box timeout 20 cat /var/lib/box/file";
    // The launcher asks the next daemon, which can only start if nobody has the lock.
    run(&arena, line).ok();
    assert!(killer.end().0.success());
    assert!(!daemon.end().0.success(), "it was killed");
}

#[test]
fn a_file_system_of_a_user_in_dev_shm_stops_nobody() {
    let arena = arena();
    let live = sleeper(&arena, "live");
    let script = "mknod /dev/fuse c 10 229 && mkdir /dev/shm/u && chown 1000:1000 /dev/shm/u && \
        exec 7<>/dev/fuse && \
        mount -t fuse -o fd=7,rootmode=40000,user_id=1000,group_id=1000 user /dev/shm/u && \
        echo mounted && exec sleep 1000";
    let mut user = arena.spawn(["sh", "-c", script]);
    assert_eq!(user.line(), "mounted");
    run(&arena, "box true").ok();
    live.stop();
    arena.wait_until_idle();
}

#[test]
fn a_link_in_the_way_of_a_mount_below_dev_makes_no_other_mount_writable() {
    let arena = arena();
    let script = "mkdir -m 0777 /home/open; mkdir -p /dev/shm/u/d/home; ln -s / /dev/shm/u/e; \
        chown -hR 1000:1000 /dev/shm/u; mount -t tmpfs user /dev/shm/u/d/home";
    arena.sh(script).ok();
    let _daemon = daemon(&arena);
    let mut swap = arena.spawn([ATTACKER, "swap", "/dev/shm/u/d", "/dev/shm/u/e"]);
    assert_eq!(swap.line(), "ready");
    let script =
        "for i in $(seq 40); do dynuser run -u box$i sh -c ': > /home/open/$USER' || :; done";
    assert!(
        !arena.sh(script).stderr.contains("dynuser: "),
        "all of them start"
    );
    assert_eq!(arena.sh("ls /home/open").ok(), "");
}

#[test]
fn a_caller_in_another_ipc_namespace_is_told_so() {
    let arena = arena();
    let _daemon = daemon(&arena);
    let output = arena.run(["unshare", "--ipc", "dynuser", "run", "-u", "box", "true"]);
    assert!(output.fails(226).contains("IPC namespace"));
}

#[test]
fn a_daemon_in_another_pid_namespace_takes_nothing_from_the_living() {
    let arena = arena();
    let first = daemon(&arena);
    let live = sleeper(&arena, "live -p RuntimeDirectory=live");
    first.signal(rustix::process::Signal::KILL);
    first.end();
    let words = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "dynuser",
        "run",
        "-u",
        "box",
        "true",
    ];
    let told = arena.run(words).fails(1);
    assert!(told.contains("another PID namespace"), "{told}");
    assert_eq!(arena.list()[0]["name"], "live");
    arena.sh("test -d /run/live").ok();
    run(&arena, "box true").ok();
    live.stop();
    arena.wait_until_idle();
}

#[test]
fn limits_of_the_first_launcher_are_not_the_daemons() {
    let arena = arena();
    // In blocks of 512 bytes: less than the copy of /etc/passwd that every service gets.
    let limits =
        "ulimit -S -f 1; ulimit -S -n 32; ulimit -S -t 5; exec dynuser run -u first sleep 1000";
    let mut first = arena.spawn(["sh", "-c", limits]);
    first.wait_exec("sleep");
    let limits = arena.sh("cat /proc/$(pgrep -xo dynuserd)/limits").ok();
    for limit in ["Max file size", "Max cpu time", "Max open files"] {
        let line = limits
            .lines()
            .find(|line| line.starts_with(limit))
            .expect(limit);
        let words: Vec<&str> = line.trim_start_matches(limit).split_whitespace().collect();
        assert!(words[0] == words[1] || words[0] == "65536", "{line}");
    }
    run(&arena, "second true").ok();
}

#[test]
fn a_caller_who_ignores_the_ends_of_children_gets_his_service() {
    let arena = arena();
    let ignore = "import os, signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); \
        os.execvp('dynuser', ['dynuser', 'run', '-u', 'box', 'id', '-un'])";
    assert_eq!(arena.run(["/usr/bin/python3", "-c", ignore]).ok(), "box\n");
}

#[test]
fn a_deep_directory_of_a_user_in_dev_shm_stops_nobody() {
    let arena = arena();
    let live = sleeper(&arena, "live");
    let nest = "cd /dev/shm; for i in $(seq 300); do mkdir d; cd d; done";
    arena.command(["sh", "-c", nest]).user(1000).run().ok();
    run(&arena, "other true").ok();
    live.stop();
    arena.wait_until_idle();
}

#[test]
fn a_set_id_file_made_by_openat2_stays_empty() {
    let arena = arena();
    arena.sh("mount -o remount,suid /run").ok();
    let directories = "box -p RuntimeDirectory=box -p StateDirectory=box";
    for directory in ["/run/box", "/dev/shm", "/var/lib/box", "/tmp"] {
        let line = format!("{directories} {ATTACKER} setid {directory}/file");
        assert_eq!(unexpected(&run(&arena, &line).ok(), &[" 2 0"]), NONE);
    }
}

#[test]
fn no_other_process_is_traced_read_or_entered() {
    let arena = arena();
    let daemon = daemon(&arena);
    let other = sleeper(&arena, "other");
    let mut root = arena.spawn(["sleep", "1000"]);
    root.wait_exec("sleep");
    for pid in [daemon.pid(), other.pid(), root.pid(), "1".into()] {
        let text = run(&arena, &format!("box {ATTACKER} pry {pid}")).ok();
        assert_eq!(unexpected(&text, &[" EACCES", " EPERM"]), NONE, "{pid}");
    }
}

#[test]
fn root_in_a_namespace_of_its_own_opens_and_uncovers_nothing() {
    let arena = arena();
    let text = run(
        &arena,
        &format!("box -p StateDirectory=box {ATTACKER} rootless"),
    )
    .ok();
    let (first, rest) = text.split_once('\n').expect("lines");
    assert_eq!(first, "own namespaces DONE");
    assert_eq!(unexpected(rest, &[" EPERM", " EINVAL"]), NONE);
}

#[test]
fn nothing_that_a_caller_can_pass_on_gives_privileges() {
    let arena = arena();
    let script = "grep -E '^(Cap|Groups|NoNewPrivs)' /proc/self/status";
    let uid = dynamic_uid(&run(&arena, "box id -u").ok());
    let expected = format!("Groups:\t{uid} \n");
    for (securebits, starts) in [("0", true), ("0x10", true), ("0x4", false), ("0x2f", false)] {
        let words = [
            ATTACKER, "burdened", "dynuser", "run", "-u", "box", "sh", "-c", script,
        ];
        let output = arena.command(words).env("SECUREBITS", securebits).run();
        // SECBIT_NO_SETUID_FIXUP leaves root's: then there is no service at all.
        if !starts {
            assert!(output.fails(217).contains("left)"), "{securebits}");
            continue;
        }
        assert!(output.stdout.starts_with(&expected), "{output}");
        assert_eq!(
            output.stdout.matches(":\t0000000000000000\n").count(),
            5,
            "{output}"
        );
        assert!(output.stdout.ends_with("NoNewPrivs:\t1\n"), "{output}");
    }
}

#[test]
fn a_user_can_neither_call_nor_lock_nor_change_what_the_daemon_has() {
    let arena = arena();
    let _live = sleeper(&arena, "live -p RuntimeDirectory=live");
    let uid = arena.list()[0]["uid"].to_string();
    let connect = "import socket; socket.socket(socket.AF_UNIX).connect('/run/dynuser/manager')";
    for user in [1000, 65534] {
        let output = arena
            .command(["/usr/bin/python3", "-c", connect])
            .user(user)
            .run();
        assert!(output.stderr.contains("PermissionError"), "{output}");
        let lock = arena
            .command(["flock", "-n", "/run/dynuser/lock", "true"])
            .user(user)
            .run();
        assert!(!lock.status.success(), "{lock}");
        // A lease file can be locked by anybody, and nobody minds.
        let script = format!(
            "exec 3<>/dev/null 4</run/dynuser/leases/{uid}; flock -n 4; find /run/dynuser -writable"
        );
        assert_eq!(
            arena.command(["sh", "-c", &script]).user(user).run().stdout,
            ""
        );
    }
}

#[test]
fn a_hostile_tree_in_a_runtime_directory_is_removed_and_nothing_else() {
    let arena = arena();
    arena
        .sh("mkdir -m 0777 /mnt/host; echo kept > /mnt/host/file")
        .ok();
    let script = "cd /run/box; ln -s /mnt/host link; ln -s / slash; mkfifo fifo; mkdir -m 0 closed; \
        : > '-rf'; : > \"$(printf 'a\\nb')\"; for i in $(seq 400); do mkdir d 2>/dev/null; cd d; done; \
        : > /dev/shm/box; mkdir -m 0 /dev/shm/dir; ln -s /mnt/host /dev/shm/link";
    let words = [
        "dynuser",
        "run",
        "-u",
        "box",
        "-p",
        "RuntimeDirectory=box",
        "sh",
        "-c",
        script,
    ];
    arena.run(words).ok();
    arena.wait_until_idle();
    assert_eq!(
        arena
            .sh("ls -A /dev/shm; ls -d /run/box 2>/dev/null; cat /mnt/host/file")
            .ok(),
        "kept\n"
    );
}

#[test]
fn a_daemon_killed_at_any_moment_never_gives_two_names_one_number() {
    let arena = arena();
    let script = "for i in 1 2 3 4 5 6; do (for j in 1 2 3 4 5; do \
        timeout 30 dynuser run -u s$i-$j -p RuntimeDirectory=s$i sh -c 'echo $(id -u) $USER; sleep 0.2' \
        2>/dev/null; done) & done; \
        for k in $(seq 12); do sleep 0.13; pkill -KILL -x dynuserd; done; wait";
    let output = arena.sh(script);
    let mut seen = std::collections::HashMap::new();
    let lines: Vec<(&str, &str)> = output
        .stdout
        .lines()
        .filter_map(|l| l.split_once(' '))
        .collect();
    assert!(lines.len() > 10, "{output}");
    for (uid, name) in lines {
        dynamic_uid(uid);
        // A name keeps its number, and no other name of this test hashes to it.
        assert_eq!(*seen.entry(uid).or_insert(name), name, "{output}");
    }
    run(&arena, "last true").ok();
    std::thread::sleep(Duration::from_millis(100));
    arena.wait_until_idle();
    assert_eq!(
        arena
            .sh("ls -A /run/dynuser/users; ls -d /run/s? 2>/dev/null")
            .stdout,
        ""
    );
}
