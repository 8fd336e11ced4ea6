//! Adopted directories beside other things: links, other services, mounts in them, empty file systems.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::directories::{As, KINDS, host};

#[test]
fn a_directory_on_a_disk_that_is_mounted_above_it_is_adopted_with_its_links() {
    // The exchange would cross file systems.
    let arena = host();
    for kind in &KINDS {
        let (disk, nested) = (kind.public("disk"), kind.public("disk/nested"));
        arena
            .sh(&format!(
                "set -e; mkdir {disk}; mount -t tmpfs -o mode=755 disk {disk}; mkdir {nested}; echo old > {nested}/old; \
                 chown -R 5000:5000 {nested}"
            ))
            .ok();
        for user in [As::Dynamic("adopter"), As::Static, As::Dynamic("adopter")] {
            let script = format!(
                "cat {}/old; : >> {nested}/old; stat -L -c %u {nested} | grep -x $(id -u)",
                kind.public("link")
            );
            let what = format!("{} as {user:?}", kind.base);
            let seen = kind.run(&arena, user, "disk/nested:link", &script).ok();
            assert!(seen.starts_with("old\n"), "{what}");
            let mode = if user == As::Static { "755" } else { "700" };
            assert_eq!(
                kind.look(&arena, &["disk/nested", "link"]),
                format!("disk/nested directory {mode} 5000:5000\nlink -> disk/nested\n"),
                "{what}"
            );
        }
    }
}

#[test]
fn an_adopted_directory_is_the_next_service_s_too_and_can_be_shared() {
    let arena = host();
    for kind in &KINDS {
        let zzz = kind.public("zzz");
        arena
            .sh(&format!(
                "mkdir {zzz} && mount -t tmpfs disk {zzz} && echo old > {zzz}/old"
            ))
            .ok();
        let uid = kind.uid(&arena, "adopter", "zzz");
        // Who asks for the directory itself may have its number, which keeps all others from it.
        let script = format!("cat {zzz}/old; find {zzz} ! -user $(id -u)");
        let seen = kind.run(&arena, As::Dynamic("heir"), "zzz", &script);
        assert_eq!(seen.ok(), "old\n", "{zzz}");
        assert_eq!(kind.owners(&arena, "zzz"), format!("{uid}:{uid}"), "{zzz}");

        let start = |name| {
            let words = ["dynuser", "run", "-u", name, "-p", "SharedDirectories=yes"];
            let words = words
                .map(str::to_owned)
                .into_iter()
                .chain(kind.asked("zzz"));
            let script =
                format!("echo {name} > {zzz}/{name}; echo up; read line; cat {zzz}/one {zzz}/two");
            let script = ["sh", "-c", &script].map(str::to_owned);
            let mut running = arena.spawn(words.chain(script));
            assert_eq!(running.line(), "up", "{name} in {zzz}");
            running
        };
        let mut both = [start("one"), start("two")];
        for one in &mut both {
            one.say("go");
        }
        for one in both {
            assert_eq!(one.end().1, "one\ntwo\n", "{zzz}");
        }
        arena.wait_until_idle();
        assert_eq!(kind.owners(&arena, "zzz"), format!("{uid}:{uid}"), "{zzz}");
    }
}

#[test]
fn what_is_mounted_in_a_tree_moves_with_it() {
    let arena = host();
    for kind in &KINDS {
        let zzz = kind.public("zzz");
        arena
            .sh(&format!(
                "set -e; mkdir -p {zzz}/sub; mount -t tmpfs disk {zzz}/sub; echo below > {zzz}/sub/file; \
                 chown -R 5000:5000 {zzz}"
            ))
            .ok();
        for user in [As::Dynamic("mover"), As::Static, As::Dynamic("mover")] {
            let script =
                format!("cat {zzz}/sub/file; : >> {zzz}/sub/file; find {zzz}/ ! -user $(id -u)");
            let what = format!("{} as {user:?}", kind.base);
            assert_eq!(
                kind.run(&arena, user, "zzz", &script).ok(),
                "below\n",
                "{what}"
            );
            assert_eq!(kind.owners(&arena, "zzz"), "5000:5000", "{what}");
        }
    }
}

#[test]
fn an_adopted_directory_is_seen_in_an_empty_file_system() {
    let arena = host();
    let kind = &KINDS[0];
    arena
        .sh("mkdir /var/lib/zzz && mount -t tmpfs disk /var/lib/zzz && echo old > /var/lib/zzz/old")
        .ok();
    let words = [
        "dynuser",
        "run",
        "-u",
        "adopter",
        "-p",
        "StateDirectory=zzz:link",
    ];
    let script = "ls /var/lib; cat /var/lib/link/old; : >> /var/lib/zzz/old";
    let temporary = ["-p", "TemporaryFileSystem=/var/lib", "sh", "-c", script];
    let seen = arena.run(words.into_iter().chain(temporary)).ok();
    assert_eq!(seen, "link\nzzz\nold\n");
    arena.wait_until_idle();
    assert!(kind.look(&arena, &["zzz"]).starts_with("zzz directory 700"));
}
