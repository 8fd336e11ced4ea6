//! A name service that does not answer: it delays the request that asks it, and nobody else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use support::{Arena, dynamic_uid, wait_until};

/// A source of names for nsswitch.conf(5) that waits for as long as /run/silent is there, like a
/// directory server that is not up yet.
const SILENT: &str = r#"
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <unistd.h>
static int wait_for_it(int *error) {
    while (access("/run/silent", F_OK) == 0) {
        close(creat("/run/asked", 0600));
        usleep(1000);
    }
    *error = ENOENT;
    return NSS_STATUS_NOTFOUND;
}
int _nss_silent_getpwnam_r(const char *n, struct passwd *p, char *b, size_t l, int *e) { return wait_for_it(e); }
int _nss_silent_getpwuid_r(uid_t u, struct passwd *p, char *b, size_t l, int *e) { return wait_for_it(e); }
int _nss_silent_getgrnam_r(const char *n, struct group *g, char *b, size_t l, int *e) { return wait_for_it(e); }
int _nss_silent_getgrgid_r(gid_t g, struct group *r, char *b, size_t l, int *e) { return wait_for_it(e); }
"#;

/// The module, compiled once for each test process.
fn module() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(compile)
}

fn compile() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = folder.join(format!("silent-{}.c", std::process::id()));
    let library = folder.join(format!("libnss_silent-{}.so", std::process::id()));
    std::fs::write(&source, SILENT).unwrap();
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-w", "-o"])
        .args([&library, &source])
        .status();
    assert!(status.expect("a C compiler").success());
    library
}

/// A host whose names come from files and from the silent source, with a daemon in the foreground.
fn host() -> (Arena, support::Running) {
    let arena = Arena::new();
    // Read here: the arena has other files in /tmp and /root, where the project may lie.
    let library = std::fs::read(module()).unwrap();
    arena.within(|| std::fs::write("/usr/lib/libnss_silent.so.2", library).unwrap());
    arena
        .sh("sed -i 's/files$/files silent/' /etc/nsswitch.conf")
        .ok();
    arena.sh("mkdir -p /etc/dynuser").ok();
    arena.put(
        "/etc/dynuser/dynuser.conf",
        "[Manager]\nNameServiceTimeoutSec=1s\n",
        0o644,
    );
    let daemon = arena
        .command(["dynuser", "daemon"])
        .env("LD_LIBRARY_PATH", "/usr/lib")
        .spawn();
    wait_until("the daemon answers", || {
        arena
            .run(["test", "-S", "/run/dynuser/manager"])
            .status
            .success()
    });
    (arena, daemon)
}

#[test]
fn a_source_of_names_that_never_answers_refuses_the_start_and_says_what_it_was_asked() {
    let (arena, _daemon) = host();
    arena.sh("touch /run/silent").ok();
    let why = arena
        .run(["dynuser", "run", "-u", "wuff", "true"])
        .fails(217);
    assert!(
        why.contains("getpwnam_r(wuff)") && why.contains("timed out"),
        "{why}"
    );
    assert!(arena.list().is_empty());
    // What it said in the end, if it did, is of no use any more.
    arena.run(["rm", "/run/silent"]).ok();
    let uid = arena.run(["dynuser", "run", "-u", "wuff", "id", "-u"]).ok();
    assert_eq!(dynamic_uid(&uid), 63102);
}

#[test]
fn a_source_of_names_that_does_not_answer_delays_nobody_who_does_not_need_it() {
    let (arena, _daemon) = host();
    arena.sh("echo '[Manager]' > /etc/dynuser/dynuser.conf; echo NameServiceTimeoutSec=50s >> /etc/dynuser/dynuser.conf").ok();
    arena.sh("pkill -HUP -x dynuserd").ok();
    let script = "echo up; read -r _; true";
    let mut lives = arena.spawn(["dynuser", "run", "-u", "lives", "sh", "-c", script]);
    assert_eq!(lives.line(), "up");
    let mut ends = arena.spawn(["dynuser", "run", "-u", "ends", "sh", "-c", script]);
    assert_eq!(ends.line(), "up");
    arena.sh("touch /run/silent").ok();
    let mut waits = arena.spawn(["dynuser", "run", "-u", "waits", "sh", "-c", script]);
    wait_until("it is asked", || {
        arena.run(["test", "-e", "/run/asked"]).status.success()
    });
    // Shared, refused, listed and released meanwhile.
    arena
        .run(["dynuser", "run", "-u", "x", "-p", "User=lives", "true"])
        .ok();
    arena
        .run(["dynuser", "run", "-u", "root", "true"])
        .fails(217);
    assert!(ends.end().0.success());
    wait_until("the other has ended", || arena.list().len() == 1);
    assert!(waits.runs());
    arena.run(["rm", "/run/silent"]).ok();
    assert_eq!(waits.line(), "up");
    assert!(waits.end().0.success());
    assert!(lives.end().0.success());
    arena.wait_until_idle();
}

#[test]
fn unanswered_questions_do_not_pile_up() {
    let (arena, _daemon) = host();
    let conf = "[Manager]\nNameServiceTimeoutSec=1ms\n";
    arena.put("/etc/dynuser/dynuser.conf", conf, 0o644);
    arena.sh("pkill -HUP -x dynuserd; touch /run/silent").ok();
    let mut told = String::new();
    wait_until("nothing is asked any more", || {
        let output = arena.run(["dynuser", "run", "-u", "a", "true"]);
        told = output.fails(217);
        told.contains("earlier questions")
    });
    let threads = "ls /proc/$(pgrep -xo dynuserd)/task | wc -l";
    let count: usize = arena.sh(threads).ok().trim().parse().expect("a number");
    assert!((65..75).contains(&count), "{count} threads: {told}");
    // The source answers again: so are all questions, in the end.
    arena.run(["rm", "/run/silent"]).ok();
    let conf = "[Manager]\nNameServiceTimeoutSec=20s\n";
    arena.put("/etc/dynuser/dynuser.conf", conf, 0o644);
    arena.sh("pkill -HUP -x dynuserd").ok();
    wait_until("it is asked again", || {
        arena
            .run(["dynuser", "run", "-u", "a", "true"])
            .status
            .success()
    });
}
