//! Directories that cannot be moved behind the boundary, because they are mount points or on another file
//! system, are used where they are, and closed to everybody else. systemd fails with a bare EBUSY or EXDEV.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::Arena;
use support::directories::{As, KEEPER, KINDS, Kind, host};

/// Ways in which the public path is not on the boundary's file system, or cannot be moved. `BASE` is the
/// kind's; each leaves BASE/zzz with a file `old` in it, of the former dynamic user 61300.
const WAYS: [(&str, &str); 4] = [
    (
        "a file system is mounted there",
        "mkdir BASE/zzz && mount -t tmpfs -o mode=755 disk BASE/zzz",
    ),
    (
        "a directory of another file system is bound there",
        "mkdir -p BASE/zzz /srv/disk && mount -t tmpfs disk /srv/disk && mkdir /srv/disk/state && \
         mount --bind /srv/disk/state BASE/zzz",
    ),
    (
        "a directory of the same file system is bound there",
        "mkdir -p BASE/zzz BASE/elsewhere && mount --bind BASE/elsewhere BASE/zzz",
    ),
    (
        "the boundary is a mount of its own",
        "mkdir -m 700 BASE/private && mount -t tmpfs -o mode=700 boundary BASE/private && mkdir BASE/zzz",
    ),
];

/// What is on the host before a start.
fn lay(arena: &Arena, kind: &Kind, script: &str) {
    let fill = "echo old > BASE/zzz/old; mkdir BASE/zzz/deep; echo old > BASE/zzz/deep/old; \
                chown -R 61300:61300 BASE/zzz; chmod 755 BASE/zzz";
    let script = format!("set -e; {script}; {fill}").replace("BASE", kind.base);
    arena.sh(&script).ok();
}

/// Uses everything in there as its own, and leaves a file.
fn script(kind: &Kind, name: &str) -> String {
    format!(
        "cd {}; id -u; [ -z \"$(find . ! -user $(id -u))\" ] || find . ! -user $(id -u) -ls
         cat old deep/old; echo {name} >> old; mkdir {name}; echo {name} > deep/{name}; \
         echo ${}",
        kind.public("zzz"),
        kind.variable
    )
}

#[test]
fn a_directory_that_cannot_be_moved_is_used_where_it_is_and_closed_to_others() {
    for (way, make) in WAYS {
        let arena = host();
        // The former owner's number is taken: a service of another one comes.
        let _taken = arena.process_of(61300);
        for kind in &KINDS {
            let what = format!("{way}, {}", kind.base);
            lay(&arena, kind, make);
            let mounts = arena.mounts();
            let mut expected = "old\nold\n".to_owned();
            for name in ["first", "again"] {
                let seen = kind
                    .run(&arena, As::Dynamic("adopter"), "zzz", &script(kind, name))
                    .ok();
                let (uid, rest) = seen.split_once('\n').expect("lines");
                assert_ne!(uid, "61300");
                assert_eq!(
                    rest,
                    format!("{expected}{}\n", kind.public("zzz")),
                    "{what}"
                );
                expected = expected.replacen("old\n", &format!("old\n{name}\n"), 1);

                // Where it was, the owner on disk as it was, and closed.
                assert_eq!(
                    kind.look(&arena, &["zzz"]),
                    "zzz directory 700 61300:61300\n",
                    "{what}"
                );
                assert_eq!(kind.owners(&arena, "zzz"), "61300:61300", "{what}");
            }
            assert_eq!(
                arena.mounts(),
                mounts,
                "{what}: mounts were left on the host"
            );
            let file = kind.public("zzz/old");
            let why = arena.command(["cat", &file]).user(1000).run().fails(1);
            assert!(why.contains("Permission denied"), "{what}: {why}");
        }
    }
}

#[test]
fn an_adopted_directory_is_closed_to_other_services_while_it_is_used_and_afterwards() {
    for (way, make) in WAYS {
        let arena = host();
        let _taken = arena.process_of(61300);
        for kind in &KINDS {
            lay(&arena, kind, make);
            let waits = format!("{}; echo up; read line", script(kind, "first"));
            let mut first = kind
                .service(&arena, As::Dynamic("adopter"), "zzz", &waits)
                .spawn();
            loop {
                match first.line().as_str() {
                    "up" => break,
                    "" => panic!("{way}, {}: it ended", kind.base),
                    _ => {}
                }
            }
            // Root sees it, so what the others say is not that it is empty.
            arena.run(["cat", &kind.public("zzz/old")]).ok();
            let peek = format!("cat {}; ls {}", kind.public("zzz/old"), kind.public("zzz"));
            let stranger = ["dynuser", "run", "-u", "stranger", "sh", "-c", &peek];
            let refused = |when: &str| {
                let output = arena.run(stranger);
                let what = format!("{way}, {}, {when}: {output}", kind.base);
                assert_eq!(output.stdout, "", "{what}");
                assert!(output.stderr.contains("Permission denied"), "{what}");
            };
            refused("while it runs");
            first.say("go");
            assert!(first.end().0.success());
            arena.wait_until_idle();
            refused("afterwards");
        }
    }
}

#[test]
fn the_number_of_an_adopted_tree_is_given_to_no_other_name() {
    // No boundary is between it and a service that had its number.
    let arena = host();
    for kind in &KINDS {
        arena
            .sh(&format!(
                "mkdir {0} && mount -t tmpfs -o mode=755 disk {0} && echo old > {0}/old",
                kind.public("zzz")
            ))
            .ok();
        // Root's: given to the service.
        let uid = kind.uid(&arena, "adopter", "zzz");
        let owner = format!("{uid}:{uid}");
        assert_eq!(kind.owners(&arena, "zzz"), owner);
        // Another one asks for directories that would bring it just this number.
        arena
            .sh(&format!(
                "mkdir -p {0} && chown {owner} {0} && ln -s private/lure {1}",
                kind.private("lure"),
                kind.public("lure")
            ))
            .ok();
        for _ in 0..2 {
            let other = kind.uid(&arena, "stranger", "lure");
            assert_ne!(other, uid, "{}", kind.base);
            // As on a host that has forgotten all.
            arena.forget_numbers();
        }
        // A static account or root is not kept from it, and the service has its directory again.
        assert_eq!(kind.uid(&arena, "adopter", "zzz"), uid, "{}", kind.base);
    }
}

#[test]
fn an_adopted_tree_of_nobody_or_a_static_user_is_mapped_and_one_of_root_is_given() {
    let arena = host();
    for kind in &KINDS {
        for owner in ["65534:65534", "5000:5000", "0:0"] {
            let zzz = kind.public("zzz");
            arena
                .sh(&format!(
                    "mkdir -p {zzz} && mount -t tmpfs -o mode=755 disk {zzz} && mkdir {zzz}/deep && \
                     echo old | tee {zzz}/old > {zzz}/deep/old && chown -R {owner} {zzz}"
                ))
                .ok();
            let seen = kind
                .run(
                    &arena,
                    As::Dynamic("adopter"),
                    "zzz",
                    &script(kind, "first"),
                )
                .ok();
            let (uid, rest) = seen.split_once('\n').expect("lines");
            assert_eq!(rest, format!("old\nold\n{zzz}\n"), "{owner}");
            let expected = if owner == "0:0" {
                format!("{uid}:{uid}")
            } else {
                owner.to_owned()
            };
            assert_eq!(kind.owners(&arena, "zzz"), expected, "{zzz} of {owner}");
            assert_eq!(
                kind.look(&arena, &["zzz"]),
                format!("zzz directory 700 {expected}\n")
            );
            arena.run(["umount", &zzz]).ok();
        }
    }
}

#[test]
fn an_adopted_directory_goes_back_to_a_static_user_and_to_root() {
    for (way, make) in WAYS {
        let arena = host();
        for kind in &KINDS {
            lay(&arena, kind, make);
            let own = script(kind, "dynamic");
            kind.run(&arena, As::Dynamic("adopter"), "zzz", &own).ok();
            for (user, owner, name) in [
                (As::Static, format!("{0}:{0}", KEEPER.1), "static"),
                (As::Root, "0:0".to_owned(), "root"),
            ] {
                let what = format!("{way}, {} as {user:?}", kind.base);
                let seen = kind.run(&arena, user, "zzz", &script(kind, name)).ok();
                assert!(seen.contains("old\ndynamic\n"), "{what}: {seen}");
                assert_eq!(
                    kind.look(&arena, &["zzz", "private/zzz"]),
                    format!("zzz directory 755 {owner}\nprivate/zzz absent\n"),
                    "{what}"
                );
                assert_eq!(kind.owners(&arena, "zzz"), owner, "{what}");
            }
            // And to the dynamic user again.
            let own = script(kind, "more");
            let seen = kind.run(&arena, As::Dynamic("adopter"), "zzz", &own).ok();
            assert!(
                seen.contains("old\ndynamic\nstatic\nroot\n"),
                "{way}: {seen}"
            );
        }
    }
}

#[test]
fn a_mount_point_behind_the_boundary_is_a_directory_like_any_other() {
    let arena = host();
    for kind in &KINDS {
        let private = kind.private("zzz");
        arena
            .sh(&format!(
                "mkdir -m 700 {0}/private; set -e; mkdir {private}; mount -t tmpfs -o mode=755 disk {private}; \
                 mkdir {private}/deep; echo old | tee {private}/old > {private}/deep/old; \
                 chown -R 65534:65534 {private}",
                kind.base
            ))
            .ok();
        for _ in 0..2 {
            let script = format!("cat {0}/old; : >> {0}/old", kind.public("zzz"));
            let seen = kind.run(&arena, As::Dynamic("mover"), "zzz", &script).ok();
            assert_eq!(seen, "old\n");
            assert_eq!(
                kind.look(&arena, &["zzz", "private/zzz"]),
                "zzz -> private/zzz\nprivate/zzz directory 755 65534:65534\n"
            );
        }
    }
}

#[test]
fn a_tree_that_cannot_be_moved_out_is_used_behind_the_boundary_by_root_and_static_users() {
    // The other way round: it is a mount point there, and the dynamic user is switched off.
    let arena = host();
    for kind in &KINDS {
        let private = kind.private("zzz");
        arena
            .sh(&format!(
                "mkdir -m 700 {0}/private; set -e; mkdir {private}; mount -t tmpfs -o mode=755 disk {private}; \
                 mkdir {private}/deep; echo old | tee {private}/old > {private}/deep/old; \
                 ln -s private/zzz {0}/zzz",
                kind.base
            ))
            .ok();
        for (user, owner) in [
            (As::Root, "0:0".to_owned()),
            (As::Static, format!("{0}:{0}", KEEPER.1)),
            (As::Root, "0:0".to_owned()),
        ] {
            let what = format!("{} as {user:?}", kind.base);
            let script = format!("cd {0}; cat old deep/old; : >> old", kind.public("zzz"));
            let seen = kind.run(&arena, user, "zzz", &script).ok();
            assert_eq!(seen, "old\nold\n", "{what}");
            assert_eq!(
                kind.look(&arena, &["zzz", "private/zzz"]),
                format!("zzz -> private/zzz\nprivate/zzz directory 755 {owner}\n"),
                "{what}"
            );
            assert_eq!(kind.owners(&arena, "zzz"), owner, "{what}");
        }
        let script = format!("cat {}", kind.public("zzz/old"));
        let seen = kind.run(&arena, As::Dynamic("mover"), "zzz", &script).ok();
        assert_eq!(seen, "old\n", "{}", kind.base);
    }
}
