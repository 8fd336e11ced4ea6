//! Numbers: whoever has the number of somebody's tree gets nothing of it where no boundary is between them.

use super::support::Arena;
use super::support::directories::host;
use super::support::volumes::Volume;
use super::{Attacks, run};

const KEEP_SECRET: &str = "umask 077; echo secret > $STATE_DIRECTORY/secret; echo up; read line; cat $STATE_DIRECTORY/secret";

#[test]
fn a_tree_that_is_adopted_does_not_stay_open_to_whoever_has_its_number() {
    let mut attacks = Attacks::of("a running service has the number of a tree that is adopted");
    for make in [
        "mkdir /var/lib/foo; mount -t tmpfs -o mode=755 foo /var/lib/foo",
        "mkdir /var/lib/foo /var/lib/elsewhere; mount --bind /var/lib/elsewhere /var/lib/foo",
        "mkdir -m 700 /var/lib/private; mount -t tmpfs -o mode=700 boundary /var/lib/private; mkdir /var/lib/foo",
    ] {
        let arena = host();
        arena.sh(make).ok();
        let script = "id -u; read line; cd /var/lib/foo 2>/dev/null || exit; ls; cat secret; echo evil >> secret; rm -f secret";
        let mut spy = arena.spawn(["dynuser", "run", "-u", "spy", "sh", "-c", script]);
        let uid = spy.line();
        let fill = format!("echo old > /var/lib/foo/old; chown -R {uid}:{uid} /var/lib/foo");
        arena.sh(&fill).ok();

        let asked = "StateDirectory=foo";
        let words = [
            "dynuser",
            "run",
            "-u",
            "foo",
            "-p",
            asked,
            "sh",
            "-c",
            KEEP_SECRET,
        ];
        let mut service = arena.spawn(words);
        assert_eq!(service.line(), "up", "{make}");
        spy.say("go");
        assert_eq!(spy.end().1, "", "{make}: it saw something");
        service.say("go");
        assert_eq!(service.end().1, "secret\n", "{make}");
        let seen = run(&arena, "foo", &[asked], "cat $STATE_DIRECTORY/old").ok();
        assert_eq!(seen, "old\n", "{make}");
        attacks.survived();
    }
}

#[test]
fn the_number_of_a_tree_that_is_adopted_far_down_is_given_to_no_other() {
    let mut attacks =
        Attacks::of("a name that comes by the number of a tree that was adopted far down");
    let arena = host();
    let deep = "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t";
    let make = format!(
        "mkdir -p /var/lib/{deep}; mount -t tmpfs -o mode=755 x /var/lib/{deep}; chown 61300:61300 /var/lib/{deep}"
    );
    arena.sh(&make).ok();
    let taken = arena.process_of(61300);
    let asked = format!("StateDirectory={deep}");
    run(
        &arena,
        "foo",
        &[&asked],
        "umask 077; echo secret > $STATE_DIRECTORY/secret",
    )
    .ok();
    drop(taken);
    arena.kill_daemons();
    arena
        .sh("mkdir -p /var/lib/private/lure; chown 61300:61300 /var/lib/private/lure")
        .ok();
    let peek = format!("id -u; cat /var/lib/{deep}/secret");
    let output = run(&arena, "spy", &["StateDirectory=lure"], &peek);
    assert!(!output.stdout.contains("secret"), "{output}");
    assert!(!output.stdout.starts_with("61300\n"), "{output}");
    attacks.survived();
}

/// What a service plants in its tree so that it is taken for records of adoptions, or cannot be read as such.
const PLANTED: [(&str, &str); 5] = [
    ("a link that reads like a record", "ln -s ../../foo/x x"),
    ("one further down", "mkdir d; ln -s ../../../foo/d/x d/x"),
    ("a link to what is no text", "ln -s $(printf '\\377') x"),
    ("a name that is no text", "mkdir $(printf 'x\\377')"),
    (
        "names on many levels",
        "n=0; while [ $n -lt 300 ]; do mkdir d; cd d; n=$((n+1)); done; ln -s ../x x",
    ),
];

/// Trees of root's with something of a service's in them, behind the boundary.
fn leave_behind(arena: &Arena, plant: &str, way: &str) {
    let script = format!("cd $STATE_DIRECTORY; {plant}");
    match way {
        // It cannot be moved, and is given to root where it is.
        "given" => {
            let boundary = "mkdir -m 700 /var/lib/private; mount -t tmpfs -o mode=700 boundary /var/lib/private";
            arena.sh(boundary).ok();
            run(arena, "foo", &["StateDirectory=foo"], &script).ok();
            run(
                arena,
                "foo",
                &["DynamicUser=no", "StateDirectory=foo"],
                "true",
            )
            .ok();
        }
        // As a removal leaves it that is ended in the middle.
        "half removed" => {
            run(arena, "foo", &["StateDirectory=foo"], &script).ok();
            arena
                .sh("chown root:root /var/lib/private/foo; chmod 700 /var/lib/private/foo")
                .ok();
        }
        _ => {
            run(arena, "foo", &["StateDirectory=foo"], &script).ok();
            arena
                .sh("chown root:root /var/lib/private/foo; rm /var/lib/foo")
                .ok();
        }
    }
    arena.kill_daemons();
}

#[test]
fn what_lies_in_a_tree_of_root_s_behind_the_boundary_stops_nobody() {
    let mut attacks = Attacks::of("links in a tree of root's behind the boundary");
    for way in ["given", "half removed", "half removed, without its link"] {
        for (what, plant) in PLANTED {
            let arena = host();
            leave_behind(&arena, plant, way);
            let output = run(&arena, "other", &["CacheDirectory=other"], "echo up");
            assert_eq!(output.stdout, "up\n", "{way}, {what}: {output}");
            attacks.survived();
        }
    }
}

#[test]
fn a_tree_that_was_begun_to_be_given_before_it_was_moved_is_finished() {
    let mut attacks = Attacks::of("a tree of two owners that is moved over the boundary");
    for (mode, asked, before) in [
        ("no", &["StateDirectory=foo"][..], "/var/lib/foo"),
        (
            "yes",
            &["DynamicUser=no", "User=keeper", "StateDirectory=foo"],
            "/var/lib/private/foo",
        ),
    ] {
        let arena = host();
        Volume::Overlay.mount(&arena, "/var/lib");
        // As `giving` notes it, which is interrupted then.
        let make = format!(
            "set -e; mkdir -p /var/lib/dynuser/giving {before}; chmod 700 /var/lib/dynuser/giving; cd {before}
             [ {mode} = no ] || {{ chmod 700 /var/lib/private; ln -s private/foo /var/lib/foo; }}
             echo 1 > old; echo 2 > new; chown 61300:61300 . old; chown 61301:61301 new; chmod 600 old new
             name=$(printf {before} | sha256sum | cut -c1-32)
             echo '{{\"path\":\"{before}\",\"owners\":[[61300,61300],[61301,61301]]}}' > /var/lib/dynuser/giving/$name"
        );
        arena.sh(&make).ok();
        let _taken = (arena.process_of(61300), arena.process_of(61301));
        let seen = run(&arena, "foo", asked, "cd /var/lib/foo/ && cat old new").ok();
        assert_eq!(seen, "1\n2\n", "{before}");
        assert_eq!(arena.sh("ls /var/lib/dynuser/giving").ok(), "", "{before}");
        attacks.survived();
    }
}
