//! `TemporaryFileSystem=`: an empty file system in which a service's directories are still to be seen. What
//! systemd does was looked at in a booted 257; where this differs it says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::directories::{As, host, look, run};

const DYNAMIC: As = As::Dynamic("box");

/// What a service sees of /var/lib, of the mount there, and whether it can write to its state.
const SEEN: &str = "cd /var/lib; ls | tr '\\n' ' '; echo; stat -c '%a %u:%g' .; findmnt -n -o FSTYPE,OPTIONS /var/lib | tail -1 | tr -s ' '; \
    touch new 2>&1; echo state > $(echo $STATE_DIRECTORY | cut -d: -f1)/file; cat */file */*/file 2>/dev/null | head -1";

#[test]
fn a_temporary_file_system_hides_all_but_the_directories_of_the_service() {
    let arena = host();
    arena
        .sh("mkdir /var/lib/somebody && echo secret > /var/lib/somebody/file")
        .ok();
    for (number, (options, mode, mount, error)) in [
        (
            "",
            "755",
            &["rw", "nosuid", "nodev"][..],
            "Permission denied",
        ),
        (":", "755", &["rw", "nosuid", "nodev"], "Permission denied"),
        (
            ":ro",
            "755",
            &["ro", "nosuid", "nodev"],
            "Read-only file system",
        ),
        (
            ":size=1M,mode=0711,noexec,nr_inodes=50",
            "711",
            &[
                "rw",
                "nosuid",
                "nodev",
                "noexec",
                "size=1024k",
                "nr_inodes=50",
            ],
            "Permission denied",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let temporary = format!("TemporaryFileSystem=/var/lib{options}");
        let properties = ["StateDirectory=a/b:sub/link c:link", &temporary];
        let seen = run(&arena, DYNAMIC, &properties, SEEN).ok();
        let mut lines = seen.lines();
        let mut line = || lines.next().unwrap_or_default();
        // Mode 0711: who can pass can still not list.
        let listed = if mode == "711" {
            ""
        } else {
            "a c link private sub "
        };
        assert_eq!(line(), listed, "{options}: {seen}");
        assert_eq!(line(), format!("{mode} 0:0"), "{options}: {seen}");
        let (kind, found) = line().split_once(' ').unwrap_or_default();
        assert_eq!(kind, "tmpfs", "{options}: {seen}");
        for option in mount {
            assert!(
                found.split(',').any(|one| one == *option),
                "{options}: {option}: {seen}"
            );
        }
        assert!(line().ends_with(error), "{options}: {seen}");
        if mode != "711" {
            assert_eq!(line(), "state", "{options}: {seen}");
        }
        assert_eq!(
            arena.run(["cat", "/var/lib/a/b/file"]).ok(),
            "state\n",
            "{number}"
        );
        arena.run(["rm", "/var/lib/a/b/file"]).ok();
    }
    assert_eq!(
        arena.run(["cat", "/var/lib/somebody/file"]).ok(),
        "secret\n"
    );
    assert_eq!(arena.run(["ls", "/var/lib/sub"]).ok(), "link\n");
}

#[test]
fn temporary_file_systems_above_and_beside_the_directories() {
    let arena = host();
    // /var has nothing but what the service is to have.
    let properties = [
        "StateDirectory=x:y",
        "TemporaryFileSystem=/var:ro /srv:mode=1777",
    ];
    let script = "ls /var /var/lib | tr '\\n' ' '; echo; touch /srv/mine /var/tmp/mine /tmp/mine /var/lib/y/mine && echo wrote; \
                  touch /var/new 2>&1 | sed 's/.*: //'";
    assert_eq!(
        run(&arena, DYNAMIC, &properties, script).ok(),
        "/var: lib tmp /var/lib: private x y \nwrote\nRead-only file system\n"
            .replace(" /var/lib:", "  /var/lib:")
    );
    assert_eq!(
        look(&arena, "/srv/mine /var/tmp/mine /tmp/mine"),
        "absent\n".repeat(3)
    );
    assert_eq!(arena.run(["ls", "/var/lib/private/x"]).ok(), "mine\n");

    // The private /tmp stays what it is.
    for temporary in ["/tmp", "/var/tmp"] {
        let property = format!("TemporaryFileSystem={temporary}");
        let script = format!("touch {temporary}/mine && stat -c %a {temporary}");
        assert_eq!(run(&arena, DYNAMIC, &[&property], &script).ok(), "1777\n");
    }

    // Over the base of another kind: the runtime directory stays visible.
    let properties = [
        "RuntimeDirectory=x",
        "CacheDirectory=x",
        "TemporaryFileSystem=/var/cache /run",
    ];
    let script =
        "ls /run /var/cache | tr '\\n' ' '; touch /run/x/mine /var/cache/x/mine && echo wrote";
    let seen = run(&arena, DYNAMIC, &properties, script).ok();
    assert!(seen.contains("x"), "{seen}");
    assert!(seen.ends_with("wrote\n"), "{seen}");
}

#[test]
fn temporary_file_systems_that_cannot_be_are_refused() {
    let arena = host();
    for (value, status) in [
        ("relative", 1),
        ("/a/../b", 1),
        // A service that loses its own state, or the world, is not what anybody means; systemd hides the state, and
        // drops the other in silence.
        ("/var/lib/x", 1),
        ("/", 1),
        // systemd makes the directory, on the host.
        ("/does/not/exist", 226),
        // systemd finds this out when it mounts, after it has made the directories.
        ("/srv:bogus=1", 226),
        ("/srv:size=lots", 226),
    ] {
        let before = arena.disk();
        let property = format!("TemporaryFileSystem={value}");
        let output = run(
            &arena,
            DYNAMIC,
            &["StateDirectory=x", &property],
            "echo runs",
        );
        let what = format!("{value}: {output}");
        assert_eq!(output.stdout, "", "{what}");
        assert!(
            [1, status].contains(&output.status.code().unwrap_or(0)),
            "{what}"
        );
        assert_eq!(output.stderr.lines().count(), 1, "{what}");
        let path = value.split(':').next().unwrap_or_default();
        assert!(output.stderr.contains(path), "{what}");
        if output.status.code() == Some(1) {
            assert_eq!(arena.disk(), before, "{what}");
        }
    }
    assert_eq!(look(&arena, "/does"), "absent\n");
}

#[test]
fn a_temporary_file_system_over_the_home_of_the_directories_works_for_root_and_static_users() {
    let arena = host();
    for user in [As::Root, As::Static] {
        let properties = ["StateDirectory=x:y", "TemporaryFileSystem=/var/lib"];
        let seen = run(
            &arena,
            user,
            &properties,
            "ls /var/lib | tr '\\n' ' '; echo kept > /var/lib/y/file",
        )
        .ok();
        assert_eq!(seen, "x y ", "{user:?}");
        assert_eq!(arena.run(["cat", "/var/lib/x/file"]).ok(), "kept\n");
    }
}

#[test]
fn a_temporary_file_system_over_the_boundary_hides_nothing_that_was_to_be_seen() {
    let arena = host();
    for properties in [
        ["StateDirectory=x", "TemporaryFileSystem=/var/lib/private"],
        [
            "StateDirectory=x",
            "TemporaryFileSystem=/var/lib/private:ro",
        ],
        [
            "StateDirectory=x",
            "TemporaryFileSystem=/var /var/lib /var/lib/private",
        ],
    ] {
        let script =
            "ls /var/lib/private; echo kept > /var/lib/x/file; cat /var/lib/private/x/file";
        let seen = run(&arena, DYNAMIC, &properties, script).ok();
        assert_eq!(seen, "x\nkept\n", "{properties:?}");
        assert_eq!(arena.run(["cat", "/var/lib/x/file"]).ok(), "kept\n");
        arena.run(["rm", "/var/lib/x/file"]).ok();
    }
}

#[test]
fn configuration_is_still_to_be_seen_and_not_to_be_written_to() {
    let arena = host();
    arena.sh("mkdir /etc/box && echo set > /etc/box/file").ok();
    let properties = [
        "ConfigurationDirectory=box new/deep",
        "TemporaryFileSystem=/etc",
    ];
    let script = "ls /etc; cat /etc/box/file; touch /etc/box/mine 2>&1; ls -d /etc/new/deep";
    let seen = run(&arena, DYNAMIC, &properties, script).ok();
    assert!(seen.starts_with("box\n"), "{seen}");
    assert!(
        seen.contains("\nset\n") && seen.ends_with("/etc/new/deep\n"),
        "{seen}"
    );
    assert!(
        seen.contains("Read-only file system") || seen.contains("Permission denied"),
        "{seen}"
    );
    assert!(!seen.contains("shadow"), "{seen}");
}

#[test]
fn nothing_of_it_comes_to_a_host_whose_mounts_propagate() {
    // As those of every host with systemd do.
    let arena = host();
    arena.sh("mount --make-rshared /").ok();
    let before = arena.mounts();
    for user in [DYNAMIC, As::Root, As::Static] {
        let properties = [
            "StateDirectory=box::ro",
            "TemporaryFileSystem=/srv /var/cache",
        ];
        let script = "grep -c ' /srv \\| /var/cache \\| /var/lib/' /proc/self/mountinfo; echo up; read -r _; true";
        let words = user.words().into_iter();
        let properties = properties.iter().flat_map(|property| ["-p", property]);
        let mut service = arena.spawn(words.chain(properties).chain(["sh", "-c", script]));
        let mounts: u32 = service.line().parse().expect("a number");
        assert!(mounts >= 3, "{user:?}: {mounts}");
        assert_eq!(service.line(), "up");
        assert_eq!(arena.mounts(), before, "{user:?}");
        assert!(service.end().0.success());
        arena.wait_until_idle();
    }
}
