//! Two running services with one directory: only where both say so, and then each sees it as its own, through a
//! view of its own, and nothing is given on disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::directories::{KINDS, Kind, host};
use support::volumes::Volume;
use support::{Arena, Output, Running, dynamic_uid};

const SHARED: &str = "SharedDirectories=yes";

/// A service that does what it is told on its standard input.
struct Guest(Running);

fn words(kind: &Kind, name: &str, value: &str, properties: &[&str]) -> Vec<String> {
    let words = ["dynuser", "run", "-u", name]
        .map(str::to_owned)
        .into_iter();
    let properties = properties
        .iter()
        .flat_map(|property| ["-p", property])
        .map(str::to_owned);
    words.chain(kind.asked(value)).chain(properties).collect()
}

impl Guest {
    fn start(arena: &Arena, kind: &Kind, name: &str, value: &str) -> Self {
        let mut words = words(kind, name, value, &[SHARED]);
        let script = format!(
            "cd {} && while read -r line; do eval \"$line\" 2>&1; echo done; done",
            kind.public(value)
        );
        words.extend(["sh".into(), "-c".into(), script]);
        Self(arena.spawn(words))
    }

    /// What a command says.
    fn ask(&mut self, command: &str) -> String {
        self.0.say(command);
        let mut said = String::new();
        loop {
            match self.0.line().as_str() {
                "done" => return said,
                "" if !self.0.runs() => panic!("it ended: {said:?}"),
                line => said.extend([line, "\n"]),
            }
        }
    }
}

/// One that is to be refused, or to end soon.
fn other(arena: &Arena, kind: &Kind, value: &str, properties: &[&str]) -> Output {
    let words = words(kind, "other", value, properties).into_iter();
    arena.command(words.chain(["id".into(), "-u".into()])).run()
}

#[test]
fn two_services_share_a_directory_and_each_sees_it_as_its_own() {
    for owner in ["65534:65534", "61300:61300", "5000:5000", "0:0"] {
        let arena = host();
        let _taken = arena.process_of(61300);
        for kind in &KINDS {
            let what = format!("{} of {owner}", kind.base);
            let private = kind.private("pool");
            arena
                .sh(&format!(
                    "mkdir -p -m 700 {}/private && mkdir {private} && echo old > {private}/old && mkdir {private}/deep && \
                     chown -R {owner} {private} && chmod 640 {private}/old",
                    kind.base
                ))
                .ok();
            let mut one = Guest::start(&arena, kind, "one", "pool");
            let first = dynamic_uid(&one.ask("id -u"));
            let mut two = Guest::start(&arena, kind, "two", "pool");
            let second = dynamic_uid(&two.ask("id -u"));
            assert_ne!(first, second, "{what}");
            // Root's is given to the first; the second sees what the first has on disk.
            let disk = if owner == "0:0" {
                format!("{first}:{first}")
            } else {
                owner.to_owned()
            };
            for (guest, name) in [(&mut one, "one"), (&mut two, "two")] {
                assert_eq!(guest.ask("cat old"), "old\n", "{what}");
                let wrote = format!(
                    "umask 077; echo {name} > {name}; echo {name} > deep/{name}; echo {name} >> both"
                );
                assert_eq!(guest.ask(&wrote), "", "{what}");
            }
            for guest in [&mut one, &mut two] {
                assert_eq!(
                    guest.ask("find . ! -user $(id -u) -o ! -group $(id -u)"),
                    "",
                    "{what}"
                );
                assert_eq!(
                    guest.ask("cat one two deep/one both"),
                    "one\ntwo\none\none\ntwo\n",
                    "{what}"
                );
            }
            assert_eq!(
                two.ask("rm one; mv deep/one deep/moved; chmod 600 old"),
                "",
                "{what}"
            );
            assert_eq!(
                one.ask("ls . deep | tr '\\n' ' '; echo"),
                ".: both deep old two  deep: moved two \n",
                "{what}"
            );
            assert_eq!(kind.owners(&arena, "pool"), disk, "{what}");

            // The end of one is nothing to the other.
            assert!(one.0.end().0.success());
            assert_eq!(
                two.ask("echo still > still && cat still"),
                "still\n",
                "{what}"
            );
            // And a third may come, and the first again.
            let mut again = Guest::start(&arena, kind, "one", "pool");
            assert_eq!(
                again.ask("cat still; find . ! -user $(id -u)"),
                "still\n",
                "{what}"
            );
            let mut three = Guest::start(&arena, kind, "three", "pool");
            assert_eq!(
                three.ask("cat still; find . ! -user $(id -u)"),
                "still\n",
                "{what}"
            );
            for guest in [two, again, three] {
                assert!(guest.0.end().0.success());
            }
            arena.wait_until_idle();
            assert_eq!(kind.owners(&arena, "pool"), disk, "{what}");
            // Alone it needs no word.
            let words = words(kind, "two", "pool", &[]).into_iter();
            let script = format!("cat {}/still", kind.public("pool"));
            let seen = arena
                .command(words.chain(["sh".into(), "-c".into(), script]))
                .run();
            assert_eq!(seen.ok(), "still\n", "{what}");
            arena.wait_until_idle();
        }
    }
}

#[test]
fn a_new_directory_is_shared_too() {
    let arena = host();
    for kind in &KINDS {
        let mut one = Guest::start(&arena, kind, "one", "a/pool");
        assert_eq!(one.ask("echo 1 > 1; ls"), "1\n");
        let mut two = Guest::start(&arena, kind, "two", "a/pool");
        assert_eq!(two.ask("echo 2 > 2; cat 1; rm 1"), "1\n");
        assert_eq!(one.ask("cat 2; ls"), "2\n2\n");
        for guest in [one, two] {
            assert!(guest.0.end().0.success());
        }
        arena.wait_until_idle();
    }
}

#[test]
fn both_must_say_so_and_mean_the_same_directory() {
    let arena = host();
    for kind in &KINDS {
        let mut one = Guest::start(&arena, kind, "one", "a/pool");
        one.ask("echo kept > file");
        for (value, properties) in [
            ("a/pool", &[][..]),
            ("a/pool", &["SharedDirectories=no"]),
            ("a/pool/deep", &[SHARED]),
            ("a", &[SHARED]),
        ] {
            let output = other(&arena, kind, value, properties);
            let what = format!("{value} with {properties:?}: {output}");
            assert_eq!(output.status.code(), Some(kind.status), "{what}");
            assert!(output.stderr.contains("in use by one"), "{what}");
            assert_eq!(output.stderr.lines().count(), 1, "{what}");
        }
        // Not to be moved from under it, or given to somebody who owns it without a view.
        for properties in [
            &[SHARED, "DynamicUser=no"][..],
            &[SHARED, "DynamicUser=no", "User=keeper"],
        ] {
            let output = other(&arena, kind, "a/pool", properties);
            assert_eq!(output.status.code(), Some(kind.status), "{output}");
            assert!(output.stderr.contains(&kind.public("a/pool")), "{output}");
            assert!(
                output.stderr.contains("another service runs in it"),
                "{output}"
            );
        }
        // Who is refused for want of the word is told it.
        let why = other(&arena, kind, "a/pool", &[]).fails(kind.status);
        assert!(why.contains("SharedDirectories"), "{why}");
        assert_eq!(one.ask("cat file"), "kept\n");
        assert!(one.0.end().0.success());
        arena.wait_until_idle();

        // The other way round: the one that runs has not said it.
        let words = words(kind, "one", "pool", &[]).into_iter();
        let script = ["sh", "-c", "echo up; read line; true"].map(str::to_owned);
        let mut alone = arena.spawn(words.chain(script));
        assert_eq!(alone.line(), "up");
        let why = other(&arena, kind, "pool", &[SHARED]).fails(kind.status);
        assert!(why.contains("in use by one"), "{why}");
        assert!(alone.end().0.success());
        arena.wait_until_idle();
    }
}

#[test]
fn where_the_kernel_cannot_map_a_second_service_is_refused_and_the_first_keeps_its_own() {
    let arena = host();
    Volume::Overlay.mount(&arena, "/var/lib");
    let kind = &KINDS[0];
    let mut one = Guest::start(&arena, kind, "one", "pool");
    let uid = one.ask("id -u; echo kept > file");
    let output = other(&arena, kind, "pool", &[SHARED]);
    assert_eq!(output.status.code(), Some(238), "{output}");
    assert!(output.stderr.contains("/var/lib/pool"), "{output}");
    assert_eq!(
        one.ask("cat file; stat -c %u file . | sort -u"),
        format!("kept\n{uid}")
    );
    assert!(one.0.end().0.success());
}
