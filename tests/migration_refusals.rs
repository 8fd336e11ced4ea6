//! Directories that cannot be moved: refused with systemd's exit status and a sentence that names the path,
//! and nothing on disk is touched.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::directories::{As, KINDS, Kind, host};

const ALL: [As; 3] = [As::Dynamic("mover"), As::Root, As::Static];

/// Prepares a fresh host with `script`, in which BASE is the kind's, then asks for the directories `value`
/// as `user`, which must be refused with the kind's status and one sentence that holds `named`. Gives the
/// sentence.
///
/// Directories above the one that is refused, the boundary itself for one, may have been made: they hold
/// nothing. What was there is as it was.
#[track_caller]
fn refused(kind: &Kind, user: As, value: &str, script: &str, named: &str) -> String {
    let arena = host();
    arena.sh(&script.replace("BASE", kind.base)).ok();
    // The daemon's own files are there before.
    assert!(arena.list().is_empty());
    let before = arena.disk();
    let what = format!("{} as {user:?} after {script}", kind.property);
    let output = kind.run(&arena, user, value, "echo it runs");
    assert_eq!(output.stdout, "", "{what}: {output}");
    let why = output.fails(kind.status);
    assert_eq!(why.lines().count(), 1, "{what}: {why:?}");
    let named = named.replace("BASE", kind.base);
    assert!(
        why.contains(&named),
        "{what}: {why:?} does not name {named}"
    );
    let after = arena.disk();
    for line in before.lines() {
        assert!(after.contains(line), "{what}: {line} is gone:\n{after}");
    }
    why
}

#[test]
fn two_directories_with_something_in_them_are_not_merged() {
    // systemd refuses this for a dynamic user; for others it takes the public one, and the state behind
    // the boundary is forgotten. Which of the two is the right one is for a person to say.
    for kind in &KINDS {
        for user in ALL {
            let why = refused(
                kind,
                user,
                "zzz",
                "mkdir -p -m 700 BASE/private && mkdir -p BASE/zzz BASE/private/zzz && \
                 echo 1 > BASE/zzz/file && echo 2 > BASE/private/zzz/file",
                "BASE/zzz",
            );
            assert!(
                why.contains(&kind.private("zzz")),
                "which is the other one: {why}"
            );
            assert!(!why.contains("os error"), "a sentence is enough: {why}");
        }
    }
}

#[test]
fn a_link_to_elsewhere_is_not_followed_and_not_replaced() {
    for kind in &KINDS {
        for user in ALL {
            refused(
                kind,
                user,
                "zzz",
                "mkdir -m 777 /srv/elsewhere && ln -s /srv/elsewhere BASE/zzz",
                "BASE/zzz",
            );
            refused(
                kind,
                user,
                "a/b",
                "mkdir BASE/a BASE/other && ln -s ../other BASE/a/b",
                "BASE/a/b",
            );
        }
    }
}

#[test]
fn a_link_above_the_directory_is_not_followed() {
    // Attack 9 of systemd: `foo` of one user, who plants the link, and `foo/bar` of another.
    for kind in &KINDS {
        for user in ALL {
            refused(
                kind,
                user,
                "foo/bar",
                "mkdir /srv/elsewhere && ln -s /srv/elsewhere BASE/foo",
                "BASE/foo",
            );
        }
        refused(
            kind,
            As::Dynamic("mover"),
            "foo/bar",
            "mkdir -p -m 700 BASE/private && mkdir /srv/elsewhere && ln -s /srv/elsewhere BASE/private/foo",
            "BASE/private/foo",
        );
    }
}

#[test]
fn what_is_no_directory_is_not_taken_for_one() {
    for kind in &KINDS {
        for user in ALL {
            for make in ["echo content > BASE/zzz", "mkfifo BASE/zzz"] {
                refused(kind, user, "zzz", make, "BASE/zzz");
            }
        }
        for make in ["echo content >", "mkfifo"] {
            refused(
                kind,
                As::Dynamic("mover"),
                "zzz",
                &format!("mkdir -p -m 700 BASE/private && {make} BASE/private/zzz"),
                "BASE/private/zzz",
            );
        }
    }
}

#[test]
fn a_boundary_that_others_can_pass_is_refused_and_not_repaired() {
    // What others have put in there meanwhile would be trusted from then on.
    for kind in &KINDS {
        for make in [
            "mkdir -p -m 755 BASE/private && chmod 755 BASE/private",
            "mkdir -p -m 750 BASE/private && chmod 750 BASE/private",
            "mkdir -p -m 711 BASE/private && chmod 711 BASE/private",
            "mkdir -p -m 700 BASE/private && chown 1000 BASE/private",
            "mkdir -p -m 700 BASE/private && chgrp 1000 BASE/private",
            "mkdir -m 700 /srv/boundary && ln -s /srv/boundary BASE/private",
            "echo > BASE/private",
        ] {
            // With a public directory, which stays where it is.
            let make = format!("{make}; mkdir BASE/zzz; echo 1 > BASE/zzz/file");
            refused(kind, As::Dynamic("mover"), "zzz", &make, "BASE/private");
        }
    }
}

#[test]
fn a_link_whose_place_is_taken_is_refused() {
    for kind in &KINDS {
        for user in ALL {
            for make in [
                "mkdir BASE/yyy",
                "mkdir BASE/yyy && echo 1 > BASE/yyy/file",
                "ln -s elsewhere BASE/yyy",
                "echo content > BASE/yyy",
            ] {
                refused(kind, user, "zzz:yyy", make, "BASE/yyy");
            }
        }
    }
}

#[test]
fn words_that_make_no_sense_are_refused_before_anything_is_made() {
    let arena = host();
    let before = arena.disk();
    for kind in &KINDS {
        for user in ALL {
            for value in [
                "private/x",
                "zzz:/abs",
                "zzz:../x",
                "zzz:a/../x",
                "zzz:yyy:rw",
                "zzz::rw",
                // systemd starts with both of these and fails half-way, with a link left on the host.
                "zzz:yyy xxx:yyy",
                "zzz:private",
                // A link in the place of a directory.
                "zzz:xxx xxx",
                "zzz:zzz",
                // systemd ignores what follows.
                "zzz:yyy:ro:x",
            ] {
                let words: Vec<&str> = user.words();
                let asked = kind.asked(value);
                let words = words.into_iter().map(str::to_owned).chain(asked);
                let output = arena.command(words.chain(["true".to_owned()])).run();
                assert_eq!(output.stdout, "", "{output}");
                assert!(!output.status.success(), "{output}");
                assert_eq!(output.stderr.lines().count(), 1, "{output}");
            }
        }
    }
    assert_eq!(arena.disk(), before);
}

#[test]
fn a_running_service_keeps_its_directory_whoever_else_asks() {
    for first in ALL {
        let arena = host();
        for kind in &KINDS {
            let mut service = kind
                .service(
                    &arena,
                    first,
                    "zzz/inner",
                    &format!(
                        "echo up; read line; echo kept > {}; cat {0}",
                        kind.public("zzz/inner/file")
                    ),
                )
                .spawn();
            assert_eq!(service.line(), "up");
            let before = kind.look(&arena, &["zzz", "zzz/inner", "private/zzz/inner"]);
            // Two of static users may share a directory, as in systemd: nothing is moved or mapped.
            let seconds: &[&[&str]] = if matches!(first, As::Dynamic(_)) {
                &[
                    &["-p", "DynamicUser=yes"],
                    &["-p", "DynamicUser=no"],
                    &["-p", "DynamicUser=no", "-p", "User=keeper"],
                ]
            } else {
                &[&["-p", "DynamicUser=yes"]]
            };
            for properties in seconds {
                for value in ["zzz/inner", "zzz", "zzz/inner/deep"] {
                    let words = ["dynuser", "run", "-u", "second"]
                        .into_iter()
                        .chain(properties.iter().copied());
                    let words = words.map(str::to_owned).chain(kind.asked(value));
                    let output = arena.command(words.chain(["true".to_owned()])).run();
                    let what = format!("{value} as {properties:?} while {first:?} runs: {output}");
                    assert_eq!(output.status.code(), Some(kind.status), "{what}");
                    assert!(output.stderr.contains("in use by"), "{what}");
                }
            }
            assert_eq!(
                kind.look(&arena, &["zzz", "zzz/inner", "private/zzz/inner"]),
                before
            );
            service.say("go");
            assert_eq!(service.end().1, "kept\n", "{first:?}");
            arena.wait_until_idle();
        }
    }
}

#[test]
fn a_failure_tells_the_same_twice() {
    let arena = host();
    let kind = KINDS.first().expect("kinds");
    arena.sh("ln -s /srv /var/lib/zzz").ok();
    let first = kind
        .run(&arena, As::Dynamic("mover"), "zzz", "true")
        .fails(238);
    let second = kind
        .run(&arena, As::Dynamic("mover"), "zzz", "true")
        .fails(238);
    assert_eq!(first, second);
    // And once the link is gone it works.
    arena.run(["rm", "/var/lib/zzz"]).ok();
    kind.run(&arena, As::Dynamic("mover"), "zzz", "true").ok();
}

#[test]
fn a_service_cannot_lead_another_one_out_of_a_directory_that_it_owns() {
    let arena = host();
    arena
        .sh("mkdir -m 700 /srv/victim && echo kept > /srv/victim/file")
        .ok();
    for kind in &KINDS {
        for plant in [
            "ln -s /srv/victim bar",
            "mkdir bar",
            "mkdir real && ln -s real bar",
        ] {
            let script = format!("cd {} && rm -rf bar real && {plant}", kind.public("foo"));
            kind.run(&arena, As::Dynamic("mallory"), "foo", &script)
                .ok();
            for user in ALL {
                let output = kind.run(&arena, user, "foo/bar", "echo it runs");
                assert_eq!(output.stdout, "", "{plant}: {output}");
                output.fails(kind.status);
            }
            // Not the service that owns both either, if what it names is a link.
            let output = kind.run(
                &arena,
                As::Dynamic("mallory"),
                "foo foo/bar",
                "echo it runs",
            );
            if plant.contains("ln") {
                output.fails(kind.status);
            } else {
                output.ok();
            }
        }
    }
    assert_eq!(
        arena
            .sh("stat -c '%a %u:%g' /srv/victim; ls /srv/victim; cat /srv/victim/file")
            .ok(),
        "700 0:0\nfile\nkept\n"
    );
}
