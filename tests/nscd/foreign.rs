//! Beside a daemon that caches names: users are known the moment they come, and unknown the
//! moment they go.

use crate::programs::add_slow_source;
use crate::support::{Arena, Running, wait_until};

/// What the hash of "wuff" points at.
const WUFF: &str = "63102";

/// Starts nscd as Debian ships it.
pub(crate) fn start_nscd(arena: &Arena) -> Running {
    arena.sh("mkdir -p /run/nscd /var/cache/nscd").ok();
    let nscd = arena
        .command(["nscd", "--foreground"])
        .env("LD_LIBRARY_PATH", "/usr/lib")
        .spawn();
    wait_until("nscd answers", || {
        arena.run(["nscd", "--statistics"]).status.success()
    });
    nscd
}

/// What is known of a user, through the C library and with that through nscd: four answers, by
/// name and number, as a user and as a group.
fn look_up(arena: &Arena, name: &str, number: &str) -> Vec<bool> {
    let known = |database: &str, key: &str| {
        let output = arena.run(["getent", database, key]);
        let told = output.stdout.contains(name) && output.stdout.contains(number);
        assert_eq!(output.status.success(), told, "{output}");
        told
    };
    let databases = ["passwd", "group"].into_iter();
    databases
        .flat_map(|database| [known(database, name), known(database, number)])
        .collect()
}

#[test]
fn a_user_is_known_as_soon_as_it_is_there_and_unknown_as_soon_as_it_is_gone() {
    let arena = Arena::with_module();
    let _nscd = start_nscd(&arena);
    assert_eq!(look_up(&arena, "wuff", WUFF), [false; 4]);

    // The cache is one: a name that appears without its knowledge stays unknown.
    assert_eq!(look_up(&arena, "hidden", "62000"), [false; 4]);
    arena
        .sh("mkdir -p /run/dynuser/users && cd /run/dynuser/users
             ln -s hidden uid:62000 && ln -s 62000 name:hidden")
        .ok();
    assert_eq!(look_up(&arena, "hidden", "62000"), [false; 4]);
    arena.sh("rm -r /run/dynuser").ok();

    let mut service = arena.spawn(["dynuser", "run", "-u", "wuff", "sleep", "1000"]);
    service.wait_exec("sleep");
    assert_eq!(look_up(&arena, "wuff", WUFF), [true; 4]);
    service.stop();
    arena.wait_until_idle();
    assert_eq!(look_up(&arena, "wuff", WUFF), [false; 4]);

    // Nor is the daemon itself misled: the next start is one of a dynamic user again.
    let id = arena.run(["dynuser", "run", "-u", "wuff", "id"]).ok();
    assert!(id.contains(&format!("uid={WUFF}(wuff)")), "{id}");
    arena.wait_until_idle();
}

#[test]
fn a_user_that_is_gone_with_its_daemon_is_unknown_when_the_next_one_is_there() {
    let arena = Arena::with_module();
    let _nscd = start_nscd(&arena);
    let mut service = arena.spawn(["dynuser", "run", "-u", "wuff", "sleep", "1000"]);
    service.wait_exec("sleep");
    // nscd keeps that nobody had the number, asked before the start, and may do so after it was told to forget.
    wait_until("it is known", || look_up(&arena, "wuff", WUFF) == [true; 4]);
    arena.kill_daemons();
    service.stop();
    assert_eq!(look_up(&arena, "wuff", WUFF), [true; 4], "nobody tells it");
    arena.run(["dynuser", "run", "-u", "miau", "true"]).ok();
    arena.wait_until_idle();
    assert_eq!(look_up(&arena, "wuff", WUFF), [false; 4]);
}

/// What nscd keeps, it keeps for an hour.
fn keep_long(arena: &Arena) {
    arena
        .sh("for it in passwd group; do
                 echo enable-cache $it yes; echo check-files $it no; echo shared $it no
                 echo positive-time-to-live $it 3600; echo negative-time-to-live $it 3600
             done > /etc/nscd.conf")
        .ok();
}

#[test]
fn what_a_cache_was_still_looking_up_when_it_was_told_to_forget_is_put_right() {
    let arena = Arena::with_module();
    add_slow_source(&arena);
    keep_long(&arena);
    let _nscd = start_nscd(&arena);
    arena.run(["touch", "/run/slow-once"]).ok();
    // It is past our module when the user comes, and is kept in a slower one.
    let early = arena.spawn(["getent", "passwd", "wuff"]);
    wait_until("somebody is slow", || {
        arena
            .run(["test", "-e", "/run/slow-taken"])
            .status
            .success()
    });
    let mut service = arena.spawn(["dynuser", "run", "-u", "wuff", "sleep", "1000"]);
    service.wait_exec("sleep");
    assert_eq!(look_up(&arena, "wuff", WUFF), [true; 4]);
    arena.run(["rm", "/run/slow-taken"]).ok();
    assert_eq!(
        early.end().0.code(),
        Some(2),
        "there was none when it asked"
    );
    wait_until("it is known", || look_up(&arena, "wuff", WUFF) == [true; 4]);
    service.stop();
    arena.wait_until_idle();
    wait_until("it is unknown", || {
        look_up(&arena, "wuff", WUFF) == [false; 4]
    });
}

#[test]
fn a_cache_forgets_who_was_in_a_group_when_somebody_joins_or_leaves() {
    let arena = Arena::with_module();
    keep_long(&arena);
    let _nscd = start_nscd(&arena);
    let mut wuff = arena.spawn(["dynuser", "run", "-u", "wuff", "sleep", "1000"]);
    wuff.wait_exec("sleep");
    let members = || {
        let line = arena.run(["getent", "group", "wuff"]).ok();
        line.trim()
            .rsplit(':')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    wait_until("nobody is in it", || members().is_empty());
    let words = [
        "dynuser",
        "run",
        "-u",
        "miau",
        "-p",
        "SupplementaryGroups=wuff",
    ];
    let mut miau = arena.spawn([&words[..], &["sleep", "1000"]].concat());
    miau.wait_exec("sleep");
    wait_until("one is in it", || members() == "miau");
    miau.stop();
    wait_until("nobody is in it", || members().is_empty());
}

#[test]
fn a_cache_that_does_not_know_our_names_holds_nobody_up() {
    let arena = Arena::new();
    keep_long(&arena);
    let _nscd = start_nscd(&arena);
    for _ in 0..3 {
        let id = arena.run(["dynuser", "run", "-u", "wuff", "id", "-u"]).ok();
        assert_eq!(id.trim(), WUFF);
        arena.wait_until_idle();
    }
}

/// Closes connections like one that caches nothing, but never answers when it is to forget
/// something: then it says what, and goes on.
const MUTE: &str = r#"
import os, socket, struct, sys
os.makedirs("/run/nscd", exist_ok=True)
server = socket.socket(socket.AF_UNIX)
server.bind("/run/nscd/socket")
os.chmod("/run/nscd/socket", 0o666)
server.listen(100)
print("up", flush=True)
kept = []
while True:
    caller = server.accept()[0]
    version, kind, length = struct.unpack("iii", caller.recv(12))
    if kind == 10:
        with open("/run/asked", "a") as asked:
            print(version, caller.recv(length).decode().rstrip("\0"), file=asked)
        kept.append(caller)
    caller = None
"#;

#[test]
fn one_that_never_answers_holds_nobody_up() {
    let arena = Arena::new();
    let mut mute = arena.spawn(["/usr/bin/python3", "-I", "-c", MUTE]);
    assert_eq!(mute.line(), "up");
    let id = arena.run(["dynuser", "run", "-u", "wuff", "id", "-u"]).ok();
    assert_eq!(id.trim(), WUFF);
    arena.wait_until_idle();
    // When it came, and when it went.
    let asked = arena.sh("cat /run/asked").ok();
    assert_eq!(asked, "2 passwd\n2 group\n".repeat(2));
    assert!(mute.runs());
}
