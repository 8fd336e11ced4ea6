//! Modes, variables, read-only and preserved directories, and configuration directories. What systemd does was looked at in a booted 257; where this differs it says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::directories::{As, KINDS, host, look, run};

const DYNAMIC: As = As::Dynamic("box");

#[test]
fn the_variable_lists_parents_before_what_is_in_them_and_no_links() {
    // Sorted by component, not by byte: '-' would come before '/'.
    let arena = host();
    for kind in &KINDS {
        for user in [DYNAMIC, As::Root, As::Static] {
            let value = "b:l1 a-b a a/b:l2 a/b/c b:l3 a-b";
            let script = format!("echo ${}", kind.variable);
            let seen = kind.run(&arena, user, value, &script).ok();
            let list = ["a", "a/b", "a/b/c", "a-b", "b"].map(|path| kind.public(path));
            assert_eq!(seen, format!("{}\n", list.join(":")), "{user:?}");
        }
    }
}

#[test]
fn the_mode_is_set_at_every_start_whoever_the_user_is() {
    let arena = host();
    for kind in &KINDS {
        for (user, mode) in [
            (As::Root, "750"),
            (DYNAMIC, "700"),
            (DYNAMIC, "1777"),
            (As::Static, "711"),
            (As::Root, "755"),
        ] {
            let property = format!("{}Mode={mode}", kind.property);
            let words = user.words().into_iter().map(str::to_owned);
            let words = words
                .chain(kind.asked("zzz"))
                .chain(["-p".into(), property]);
            let script = format!("stat -L -c %a {0}; chmod 500 {0}", kind.public("zzz"));
            let words = words.chain(["sh".into(), "-c".into(), script]);
            assert_eq!(
                arena.command(words).run().ok(),
                format!("{mode}\n"),
                "{user:?}"
            );
            arena.wait_until_idle();
        }
    }
}

#[test]
fn a_directory_with_the_flag_ro_cannot_be_written_to_under_any_name() {
    let arena = host();
    for kind in &KINDS {
        for user in [As::Root, DYNAMIC, As::Static] {
            kind.run(
                &arena,
                user,
                "zzz",
                &format!("echo kept > {}", kind.public("zzz/file")),
            )
            .ok();
            // One `ro` among several is enough.
            for value in ["zzz::ro", "zzz:yyy:ro", "zzz:yyy zzz::ro", "zzz zzz::ro"] {
                let script = format!(
                    "echo ${}; cat {1}/file; stat -L -c %u {1}/file
                     for path in {1} {2}; do [ ! -e $path ] || touch $path/new; done
                     chmod 600 {1}/file; rm {1}/file",
                    kind.variable,
                    kind.public("zzz"),
                    kind.public("yyy"),
                );
                let output = kind
                    .service(&arena, user, value, &script.replace('\n', "\nset +e\n"))
                    .run();
                let what = format!("{value} as {user:?}: {output}");
                assert!(
                    output
                        .stdout
                        .starts_with(&format!("{}\nkept\n", kind.public("zzz"))),
                    "{what}"
                );
                assert!(output.stderr.lines().count() >= 3, "{what}");
                for line in output.stderr.lines() {
                    assert!(line.ends_with("Read-only file system"), "{what}");
                }
                arena.wait_until_idle();
            }
            assert_eq!(kind.contents(&arena, "zzz"), "file: kept");
        }
    }
}

#[test]
fn a_configuration_directory_is_root_s_and_never_changed() {
    let arena = host();
    let script = "echo $CONFIGURATION_DIRECTORY; stat -c '%a %u:%g' /etc/box; touch /etc/box/new && echo new";
    // systemd gives a new one to the dynamic user, who then writes to it, and leaves it to the next holder of the
    // number. Configuration is for root to write.
    let seen = run(&arena, DYNAMIC, &["ConfigurationDirectory=box"], script);
    assert_eq!(seen.stdout, "/etc/box\n755 0:0\n", "{seen}");
    assert!(seen.stderr.contains("Read-only file system"), "{seen}");

    // One that is there is as root made it, whatever the mode says.
    arena.sh("chown 1:2 /etc/box && chmod 751 /etc/box").ok();
    for user in [DYNAMIC, As::Root, As::Static] {
        let properties = [
            "ConfigurationDirectory=box",
            "ConfigurationDirectoryMode=0700",
        ];
        let seen = run(&arena, user, &properties, script);
        assert!(seen.stdout.starts_with("/etc/box\n751 1:2\n"), "{seen}");
    }
    assert_eq!(look(&arena, "/etc/box"), "directory 751 1:2\n");

    // Several, sorted, and what is above them.
    let properties = [
        "ConfigurationDirectory=deep/er wide",
        "ConfigurationDirectoryMode=0750",
    ];
    let seen = run(
        &arena,
        DYNAMIC,
        &properties,
        "echo $CONFIGURATION_DIRECTORY",
    )
    .ok();
    assert_eq!(seen, "/etc/deep/er:/etc/wide\n");
    assert_eq!(
        look(&arena, "/etc/deep /etc/deep/er /etc/wide"),
        "directory 755 0:0\ndirectory 750 0:0\ndirectory 750 0:0\n"
    );

    // Where root keeps it elsewhere, as with systemd.
    arena
        .sh("mkdir /srv/kept && ln -s /srv/kept /etc/linked")
        .ok();
    let script = "ls -d $CONFIGURATION_DIRECTORY";
    let seen = run(&arena, DYNAMIC, &["ConfigurationDirectory=linked"], script).ok();
    assert_eq!(seen, "/etc/linked\n");
    assert_eq!(look(&arena, "/etc/linked"), "/srv/kept\n");
    assert_eq!(look(&arena, "/etc/private"), "absent\n");
}

#[test]
fn a_configuration_directory_has_no_links_and_no_boundary() {
    let arena = host();
    for value in ["box:link", "private/box", "../box", "/etc/box"] {
        let property = format!("ConfigurationDirectory={value}");
        let output = run(&arena, DYNAMIC, &[&property], "true");
        assert!(!output.status.success(), "{output}");
        assert_eq!(output.stderr.lines().count(), 1, "{output}");
    }
    assert_eq!(look(&arena, "/etc/box /etc/link"), "absent\nabsent\n");
}

/// One start with a runtime directory: how it is kept, whether the user is dynamic, what of the earlier
/// starts it finds, and what it leaves: /run/box, /run/link, /run/private/box. OWNER is its user's.
struct Turn(&'static str, As, &'static str, [&'static str; 3]);

const GONE: [&str; 3] = ["absent", "absent", "absent"];
const PRIVATE: [&str; 3] = ["private/box", "box", "directory 755 OWNER"];

/// A `restart` ends when the unit does, which here nobody tells: whoever restarts is a supervisor. It is
/// as `yes`, and goes with `dynuser clean`. systemd removes the directory, leaves both links dangling, and then
/// cannot start a service with `no` any more (exit status 233).
const TURNS: &[&[Turn]] = &[
    &[Turn("no", DYNAMIC, "", GONE), Turn("no", DYNAMIC, "", GONE)],
    &[
        Turn("yes", DYNAMIC, "", PRIVATE),
        Turn("yes", DYNAMIC, "0", PRIVATE),
    ],
    &[
        Turn("restart", DYNAMIC, "", PRIVATE),
        Turn("restart", DYNAMIC, "0", PRIVATE),
    ],
    &[
        Turn("yes", DYNAMIC, "", PRIVATE),
        Turn("no", DYNAMIC, "0", GONE),
        Turn("yes", DYNAMIC, "", PRIVATE),
    ],
    &[
        Turn("restart", DYNAMIC, "", PRIVATE),
        Turn("no", DYNAMIC, "0", GONE),
        Turn("no", DYNAMIC, "", GONE),
    ],
    &[
        Turn("yes", DYNAMIC, "", PRIVATE),
        Turn("yes", As::Root, "0", ["directory 755 0:0", "box", "absent"]),
        Turn("yes", DYNAMIC, "01", PRIVATE),
        Turn("no", As::Root, "012", GONE),
    ],
    &[
        Turn("no", As::Root, "", GONE),
        Turn("yes", As::Root, "", ["directory 755 0:0", "box", "absent"]),
        Turn("yes", DYNAMIC, "1", PRIVATE),
        Turn("no", DYNAMIC, "12", GONE),
    ],
];

#[test]
fn runtime_directories_are_preserved_as_they_are_told() {
    for turns in TURNS {
        let arena = host();
        for (number, Turn(preserve, user, found, left)) in turns.iter().enumerate() {
            let preserve = format!("RuntimeDirectoryPreserve={preserve}");
            let script = format!(
                "id -u; echo $RUNTIME_DIRECTORY; (cd /run/link && echo $(ls | tr -d '\\n')); \
                 stat -L -c %u /run/box/. | grep -vx $(id -u); touch /run/box/{number}"
            );
            let properties = ["RuntimeDirectory=box:link", &preserve];
            let seen = run(&arena, *user, &properties, &script).ok();
            let (uid, rest) = seen.split_once('\n').expect("lines");
            let what = format!("start {number} of {:?}", preserve);
            assert_eq!(rest, format!("/run/box\n{found}\n"), "{what}");
            let left = left.join("\n").replace("OWNER", &format!("{uid}:{uid}"));
            assert_eq!(
                look(&arena, "/run/box /run/link /run/private/box"),
                format!("{left}\n"),
                "{what}"
            );
        }
    }
}

#[test]
fn a_runtime_directory_that_is_not_preserved_is_removed_without_its_parents_and_neighbours() {
    let arena = host();
    // What is above is left by systemd. Here it goes too, if it was made for the service and is empty.
    for (before, after) in [
        ("", "absent"),
        ("mkdir -p /run/up/theirs", "directory 755 0:0"),
    ] {
        arena.sh(before).ok();
        let properties = ["RuntimeDirectory=up/box up/other:link up/other:deep/link"];
        let script = "touch /run/up/box/f /run/up/other/f; ls /run/link /run/deep/link";
        let seen = run(&arena, DYNAMIC, &properties, script).ok();
        assert_eq!(seen, "/run/deep/link:\nf\n\n/run/link:\nf\n");
        assert_eq!(
            look(
                &arena,
                "/run/up /run/up/box /run/up/other /run/link /run/deep"
            ),
            format!("{after}\nabsent\nabsent\nabsent\nabsent\n")
        );
    }
    assert_eq!(look(&arena, "/run/up/theirs"), "directory 755 0:0\n");
}

#[test]
fn a_runtime_directory_with_something_of_others_in_it_is_not_taken_to_be_removed() {
    // systemd gives it to the user, and removes it in the end.
    let arena = host();
    arena
        .sh("mkdir /run/box && echo theirs > /run/box/file")
        .ok();
    let before = arena.disk();
    for user in [DYNAMIC, As::Static] {
        let why = run(&arena, user, &["RuntimeDirectory=box"], "true").fails(233);
        assert!(why.contains("/run/box"), "{why}");
        assert_eq!(arena.disk(), before);
    }
}

#[test]
fn a_service_cannot_have_other_things_removed_with_its_runtime_directory() {
    let arena = host();
    arena.sh("mkdir -p /srv/victim/inner && echo kept > /srv/victim/file && chmod -R 777 /srv/victim").ok();
    for plant in [
        "rmdir inner && ln -s /srv/victim inner",
        "rmdir inner && ln -s /srv/victim/file inner",
        "rmdir inner && mkfifo inner",
        "mv inner other && echo file > inner",
        "rmdir inner",
    ] {
        let script = format!("cd /run/box && {plant} && echo planted");
        let seen = run(
            &arena,
            DYNAMIC,
            &["RuntimeDirectory=box box/inner"],
            &script,
        )
        .ok();
        assert_eq!(seen, "planted\n", "{plant}");
        assert_eq!(look(&arena, "/run/box"), "absent\n", "{plant}");
        assert_eq!(look(&arena, "/srv/victim/inner"), "directory 777 0:0\n");
        assert_eq!(arena.run(["cat", "/srv/victim/file"]).ok(), "kept\n");
    }
}
