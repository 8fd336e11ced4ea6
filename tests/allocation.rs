//! Which numbers are handed out, and which never are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::{Arena, dynamic_uid};

/// What the hash of "wuff" points at.
const WUFF: u32 = 63102;

fn uid_of_wuff(arena: &Arena) -> u32 {
    dynamic_uid(&arena.run(["dynuser", "run", "-u", "wuff", "id", "-u"]).ok())
}

#[test]
fn a_number_that_nobody_has_is_the_one_of_the_name() {
    assert_eq!(uid_of_wuff(&Arena::new()), WUFF);
}

#[test]
fn a_number_of_a_user_is_passed_over() {
    let arena = Arena::new();
    arena.append("/etc/passwd", &format!("human:x:{WUFF}:100::/:/bin/sh"));
    assert_ne!(uid_of_wuff(&arena), WUFF);
}

#[test]
fn a_number_of_a_group_is_passed_over() {
    let arena = Arena::new();
    arena.append("/etc/group", &format!("humans:x:{WUFF}:"));
    assert_ne!(uid_of_wuff(&arena), WUFF);
}

#[test]
fn a_number_of_a_running_process_is_passed_over() {
    for identity in [
        format!("--reuid={WUFF}"),
        format!("--ruid={WUFF}"),
        format!("--regid={WUFF}"),
    ] {
        let arena = Arena::new();
        let process = arena.spawn([
            "setpriv",
            &identity,
            "--clear-groups",
            "sh",
            "-c",
            "echo up; exec sleep 1000",
        ]);
        let mut process = process;
        assert_eq!(process.line(), "up");
        assert_ne!(uid_of_wuff(&arena), WUFF, "{identity}");
        process.stop();
        arena.forget_numbers();
        assert_eq!(uid_of_wuff(&arena), WUFF, "{identity}");
    }
}

#[test]
fn a_number_that_owns_an_ipc_object_is_passed_over() {
    let as_wuff = format!("setpriv --reuid={WUFF} --regid={WUFF} --clear-groups");
    for object in [
        format!("{as_wuff} ipcmk -M 4096"),
        format!("{as_wuff} ipcmk -S 1"),
        format!("{as_wuff} ipcmk -Q"),
        format!("{as_wuff} touch /dev/shm/left"),
        format!("mkdir -p /dev/shm/a/b && touch /dev/shm/a/b/c && chgrp {WUFF} /dev/shm/a/b/c"),
    ] {
        let arena = Arena::new();
        arena.sh(&object).ok();
        assert_ne!(uid_of_wuff(&arena), WUFF, "{object}");
    }
}

#[test]
fn the_owner_of_the_directory_comes_first_and_only_from_the_range() {
    let arena = Arena::new();
    arena
        .sh("mkdir -m 700 /var/lib/private && cd /var/lib/private && mkdir mine theirs && chown 65000:65000 mine && chown 1000:1000 theirs")
        .ok();
    let run = |directory: &str| {
        let property = format!("StateDirectory={directory}");
        let text = arena
            .run(["dynuser", "run", "-u", "wuff", "-p", &property, "id", "-u"])
            .ok();
        dynamic_uid(&text)
    };
    assert_eq!(run("theirs"), WUFF);
    assert_eq!(run("mine"), 65000);
}

#[test]
fn a_name_that_is_only_a_group_s_is_refused() {
    let arena = Arena::new();
    arena.append("/etc/group", "wuff:x:1234:");
    let why = arena
        .run(["dynuser", "run", "-u", "wuff", "true"])
        .fails(217);
    assert!(
        why.contains("group of that name") && why.contains("wuff"),
        "{why}"
    );
}

#[test]
fn look_ups_that_fail_are_never_taken_for_nobody() {
    let arena = Arena::new();
    // A directory where the database is: reading it fails.
    arena.sh("rm /etc/passwd && mkdir /etc/passwd").ok();
    let why = arena
        .run(["dynuser", "run", "-u", "wuff", "true"])
        .fails(217);
    assert!(why.contains("getpwnam_r"), "{why}");
}
