//! Services that do what they can to those who show them files of accounts.

use super::support::wait_until;
use super::{arena, ask, comes_to_know, mounted, start};

/// Mounts a file system over a directory that answers nothing, and stays.
const SILENT: &str = r#"
import ctypes, os, signal, sys
c = ctypes.CDLL(None, use_errno=True)
fuse = os.open("/dev/fuse", os.O_RDWR)
options = "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % fuse
done = c.mount(b"silent", sys.argv[1].encode(), b"fuse", 0, options.encode())
print("up" if done == 0 else os.strerror(ctypes.get_errno()), flush=True)
signal.pause()
"#;

#[test]
fn a_service_whose_files_answer_nothing_holds_up_nobody() {
    let arena = arena(false);
    arena.put("/usr/local/bin/silent.py", SILENT, 0o755);
    arena
        .sh("test -e /dev/fuse || mknod /dev/fuse c 10 229")
        .ok();
    let (mut witness, _) = start(&arena, "witness", &[], "who-static");
    // It may mount, which a unit has to allow by name: in its own view alone.
    let unit = "[Service]\nDynamicUser=yes\nUser=silent\nExecStart=!python3 /usr/local/bin/silent.py /etc\n";
    arena.put("/etc/silent.service", unit, 0o644);
    let words = ["dynuser", "run", "--unit-file", "/etc/silent.service"];
    let mut silent = arena.spawn(words);
    assert_eq!(silent.line(), "up");
    for _ in 0..2 {
        arena.run(["useradd", "human"]).ok();
        comes_to_know(&mut witness, "human", true);
        arena.run(["userdel", "human"]).ok();
        comes_to_know(&mut witness, "human", false);
        let (mut next, said) = start(&arena, "next", &[], "who-static");
        assert!(said.starts_with("next "), "{said}");
        assert!(ask(&mut next, "me").starts_with("next "));
        assert!(next.end().0.success());
    }
    assert_eq!(mounted(&witness, "/etc/passwd"), 1);
    arena.run(["dynuser", "stop", "silent"]).ok();
    drop(silent);
    assert!(witness.end().0.success());
    arena.wait_until_idle();
    assert_eq!(arena.run(["ls", "-A", "/run/dynuser/views"]).ok(), "");
}

/// How many files there are in the folder of a user's copies, and how many bytes they take.
fn kept(arena: &super::Arena) -> usize {
    let files = arena.sh("find /run/dynuser/views -type f | wc -l").ok();
    files.trim().parse().unwrap()
}

#[test]
fn a_host_whose_accounts_never_rest_does_not_fill_run() {
    let arena = arena(false);
    let (mut service, _) = start(&arena, "web", &[], "who-static");
    // As chsh(1) does, which everybody may call.
    let storm = "n=0; while test $n -lt 1000; do n=$((n+1)); { grep -v ^last /etc/passwd; echo last$n:x:4711:4711::/:/bin/sh; } > /etc/p; mv /etc/p /etc/passwd; done";
    arena.sh(storm).ok();
    comes_to_know(&mut service, "last1000", true);
    let files = kept(&arena);
    assert!(files < 80, "{files}");
    assert!(service.end().0.success());
    arena.wait_until_idle();
}

#[test]
fn accounts_that_cannot_be_copied_any_more_are_shown_as_they_are() {
    let arena = arena(false);
    arena.run(["useradd", "human"]).ok();
    let (mut service, _) = start(&arena, "web", &[], "who-static");
    comes_to_know(&mut service, "human", true);
    // More than is copied for every service. Whoever is gone is gone all the same.
    let grow =
        "{ grep -v ^human: /etc/passwd; yes '# filler, filler, filler' | head -c 1200000; echo; }";
    for how in [
        "/etc/p; mv /etc/p /etc/passwd",
        "/run/p; cat /run/p > /etc/passwd",
    ] {
        arena.sh(&format!("{grow} > {how}")).ok();
        wait_until("nobody is told who is gone", || {
            !ask(&mut service, "human").starts_with("human")
        });
        arena
            .sh("grep -v '^#' /etc/passwd > /etc/p; echo human:x:4711:4711::/:/bin/sh >> /etc/p; mv /etc/p /etc/passwd")
            .ok();
        comes_to_know(&mut service, "human", true);
    }
    assert!(service.end().0.success());
    arena.wait_until_idle();
}

#[test]
fn a_file_that_a_service_does_not_see_is_not_brought_back_by_another_of_its_user() {
    let arena = arena(false);
    arena.put("/srv/group", "own:x:4711:\n", 0o644);
    let (mut one, _) = start(&arena, "web", &[], "who-static");
    let script = "while read -r _; do cat /etc/passwd; echo; sed 1q /etc/group; done 2>/dev/null";
    let sight = |options: &[&str]| {
        let words = [
            &["dynuser", "run", "-u", "two", "-p", "User=web"],
            options,
            &["sh", "-c", script],
        ];
        arena.spawn(words.concat())
    };
    let mut hidden = sight(&["-p", "InaccessiblePaths=/etc/passwd"]);
    let mut other = sight(&["-p", "BindReadOnlyPaths=/srv/group:/etc/group"]);
    for daemon in ["goes on", "is another"] {
        // In place: a file that is replaced takes what lies on it with it, whoever put it there.
        arena
            .sh("echo human:x:4711:4711::/:/bin/sh >> /etc/passwd; echo human:x:4711: >> /etc/group")
            .ok();
        comes_to_know(&mut one, "human", true);
        hidden.say("");
        other.say("");
        assert_eq!(hidden.line(), "", "{daemon}");
        while !other.line().is_empty() {}
        assert_eq!(other.line(), "own:x:4711:", "{daemon}");
        assert!(hidden.line().starts_with("root:"), "{daemon}");
        arena.sh("pkill -KILL -x dynuserd").ok();
        arena
            .sh("for f in passwd group; do grep -v ^human /etc/$f > /run/new; cat /run/new > /etc/$f; done")
            .ok();
        arena.run(["dynuser", "run", "-u", "next", "true"]).ok();
        comes_to_know(&mut one, "human", false);
    }
}
