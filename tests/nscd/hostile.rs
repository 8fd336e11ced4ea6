//! The socket served by us, and clients that mean ill, or know no better.

use crate::foreign::start_nscd;
use crate::programs::{add_slow_source, host, start};
use crate::support::{Arena, Running, wait_until};

const CLIENT: &str = include_str!("client.py");

/// One of the clients, as a user.
fn client(arena: &Arena, uid: u32, words: &[&str]) -> String {
    let words = [&["/usr/bin/python3", "-I", "-c", CLIENT], words].concat();
    arena.command(words).user(uid).run().ok()
}

/// One that stays.
fn guest(arena: &Arena, uid: u32, words: &[&str]) -> Running {
    let words = [&["/usr/bin/python3", "-I", "-c", CLIENT], words].concat();
    let mut guest = arena.command(words).user(uid).spawn();
    assert_eq!(guest.line(), "up");
    guest
}

/// How many of its connections are left.
fn left(guest: &mut Running) -> usize {
    guest.say("look");
    guest.line().parse().expect("a number")
}

/// Sockets of the daemon, and its memory in KiB. (It has a descriptor of each process of the host, too.)
fn size(daemon: &Running) -> (usize, u64) {
    let status = std::fs::read_to_string(daemon.proc("status")).expect("its status");
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = memory.expect("memory").trim().trim_end_matches(" kB");
    let descriptors = std::fs::read_dir(daemon.proc("fd")).expect("its descriptors");
    let sockets = descriptors.filter(|it| {
        let path = it.as_ref().expect("a descriptor").path();
        let target = std::fs::read_link(path).unwrap_or_default();
        target.to_string_lossy().starts_with("socket:")
    });
    (sockets.count(), memory.parse().expect("a number"))
}

fn starts_a_service(arena: &Arena) {
    let id = arena.run(["dynuser", "run", "-u", "wuff", "id", "-u"]).ok();
    assert_eq!(id, "63102\n");
}

#[test]
fn odd_requests_are_answered_as_nscd_answers_them() {
    let (arena, daemon) = host("NscdSocket=yes");
    let ours = [client(&arena, 1000, &["odd"]), client(&arena, 0, &["odd"])];
    daemon.stop();
    arena
        .sh("for it in passwd group hosts services netgroup; do
                 case $it in passwd | group) ours=yes;; *) ours=no;; esac
                 echo enable-cache $it $ours; echo shared $it no
             done > /etc/nscd.conf")
        .ok();
    let _nscd = start_nscd(&arena);
    let theirs = [client(&arena, 1000, &["odd"]), client(&arena, 0, &["odd"])];
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours.lines().count(), theirs.lines().count());
        assert!(ours.lines().count() > 140);
        for (ours, theirs) in ours.lines().zip(theirs.lines()) {
            // nscd takes an empty key for the number 0.
            if !ours.starts_with("kind 1 b'' ") && !ours.starts_with("kind 3 b'' ") {
                assert_eq!(ours, theirs);
            }
        }
    }
}

#[test]
fn good_clients_are_served_beside_as_many_bad_ones_as_there_may_be() {
    let (arena, daemon) = host("NscdSocket=yes");
    starts_a_service(&arena);
    assert_eq!(client(&arena, 1000, &["trickle"]), "True\n");
    let before = size(&daemon);
    let mut bad = Vec::new();
    for uid in 1000..1003 {
        bad.push(guest(&arena, uid, &["silent", "30"]));
        // Newcomers go, beyond what one user may have.
        let count = || left(bad.last_mut().expect("one"));
        let mut count = count;
        wait_until("no more than its share is left", || count() == 24);
    }
    // The user's own program may find no place; nobody else notices, root least of all.
    assert_eq!(client(&arena, 2000, &["good", "200"]), "200\n");
    assert_eq!(client(&arena, 0, &["good", "200"]), "200\n");
    for uid in 1003..1008 {
        bad.push(guest(&arena, uid, &["half", "24"]));
        // More than there may be in all: the oldest go.
        assert_eq!(client(&arena, 2000, &["good", "20"]), "20\n");
        assert_eq!(client(&arena, 0, &["good", "20"]), "20\n");
    }
    wait_until("no more than there may be are left", || {
        bad.iter_mut().map(left).sum::<usize>() <= 128
    });
    let during = size(&daemon);
    assert!(during.0 <= before.0 + 130, "{before:?} {during:?}");
    assert_eq!(client(&arena, 1500, &["flood", "3000"]), "done\n");
    assert_eq!(client(&arena, 2000, &["good", "200"]), "200\n");
    starts_a_service(&arena);
    // Those who say nothing go by themselves.
    wait_until("their time is over", || {
        bad.iter_mut().map(left).sum::<usize>() == 0
    });
    assert_eq!(client(&arena, 1000, &["good", "200"]), "200\n");
    wait_until("all of them are closed", || size(&daemon).0 <= before.0);
    // Once more, and it needs no more than before.
    let once = size(&daemon).1;
    for uid in 1500..1503 {
        assert_eq!(client(&arena, uid, &["flood", "3000"]), "done\n");
    }
    wait_until("all of them are closed", || size(&daemon).0 <= before.0);
    let twice = size(&daemon).1;
    println!(
        "{} KiB before, {once} KiB after the first, {twice} KiB after more",
        before.1
    );
    assert!(twice < once + 2048, "{once} KiB, {twice} KiB");
}

#[test]
fn whoever_asks_what_nobody_can_tell_takes_the_answers_of_nobody_else() {
    let (arena, daemon) = host("NscdSocket=yes\nNameServiceTimeoutSec=300ms");
    daemon.stop();
    add_slow_source(&arena);
    let _daemon = start(&arena);
    wait_until("it serves", || {
        arena
            .run(["test", "-e", "/run/nscd/socket"])
            .status
            .success()
    });
    arena.run(["touch", "/run/slow"]).ok();
    let ask = |uid: &str, words: [&str; 2]| client(&arena, 0, &[words[0], words[1], uid]);
    // Each question is a thread of the daemon that hangs, long after its time is over.
    for uid in ["1000", "1001", "1002", "1000"] {
        assert_eq!(ask(uid, ["unanswerable", "20"]), "20\n");
    }
    for uid in ["2000", "0"] {
        assert_eq!(ask(uid, ["good", "50"]), "50\n");
    }
    arena.run(["rm", "/run/slow"]).ok();
    wait_until("who has asked too much is answered again", || {
        client(&arena, 1000, &["good", "20"]) == "20\n"
    });
}

#[test]
fn large_answers_that_nobody_reads_fill_no_memory() {
    let (arena, daemon) = host("NscdSocket=yes");
    let members: Vec<String> = (0..60_000).map(|number| format!("m{number}")).collect();
    arena.append("/etc/group", &format!("large:x:4242:{}", members.join(",")));
    let all: usize = 24 + 6 + 2 + members.iter().map(|it| it.len() + 5).sum::<usize>();
    assert_eq!(
        client(&arena, 1000, &["large", "large"]),
        format!("{all}\n")
    );
    let before = size(&daemon).1;
    let mut deaf: Vec<Running> = (1000..1005)
        .map(|uid| guest(&arena, uid, &["deaf", "24"]))
        .collect();
    // 120 answers of 600 kB.
    assert_eq!(client(&arena, 2000, &["good", "50"]), "50\n");
    let during = size(&daemon).1;
    println!("{before} KiB before, {during} KiB with 120 who do not read");
    assert!(during < before + 128 * 1024, "{before} KiB, {during} KiB");
    wait_until("their time is over", || {
        deaf.iter_mut().map(left).sum::<usize>() == 0
    });
    assert_eq!(
        client(&arena, 1000, &["large", "large"]),
        format!("{all}\n")
    );
}
