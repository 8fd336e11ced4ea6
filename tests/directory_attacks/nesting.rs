//! Directories that lie in each other: of one user around those of another (behaviour.md, attack 9), and names
//! in a tree that its owner can exchange.

use super::support::Arena;
use super::support::directories::{KEEPER, KINDS, Kind, host};
use super::{Attacks, lay_victims, run, victims};

/// Whom services run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    Dynamic,
    Static(&'static str),
    Root,
}

const USERS: [User; 3] = [User::Dynamic, User::Static("daemon"), User::Root];

fn properties(user: User) -> Vec<String> {
    match user {
        User::Dynamic => Vec::new(),
        User::Root => vec!["DynamicUser=no".into()],
        User::Static(name) => vec!["DynamicUser=no".into(), format!("User={name}")],
    }
}

fn start(
    arena: &Arena,
    kind: &Kind,
    name: &str,
    user: User,
    path: &str,
    script: &str,
) -> super::Output {
    let mut words: Vec<String> = ["dynuser", "run", "-u", name].map(String::from).into();
    words.extend(
        properties(user)
            .into_iter()
            .flat_map(|it| ["-p".into(), it]),
    );
    words.extend(kind.asked(path));
    words.extend(["sh", "-c", script].map(String::from));
    let output = arena.run(words);
    arena.wait_until_idle();
    output
}

/// What the outer service tries with the inner one's name.
const TRIES: &str = "cd FOO/ && { mv inner stolen; mv bar stolen; rm -rf bar; ln -s /srv/victim bar; \
    cat bar/secret stolen/secret; echo evil > bar/secret; } 2>/dev/null; true";

/// What it puts under that name, if it is there first.
const PLANTS: [&str; 4] = [
    "ln -s /srv/victim bar",
    "ln -s ../victim bar",
    "mkdir -m 777 bar",
    "touch bar",
];

/// Two services, whose names end with `number`: FOO of the one, and FOO/bar of the other.
struct Nest<'a> {
    arena: &'a Arena,
    kind: &'a Kind,
    outer: User,
    inner: User,
    number: usize,
}

impl Nest<'_> {
    fn foo(&self) -> String {
        format!("foo{}", self.number)
    }

    fn outer(&self, script: &str) -> super::Output {
        let name = format!("outer{}", self.number);
        start(
            self.arena,
            self.kind,
            &name,
            self.outer,
            &self.foo(),
            script,
        )
    }

    fn inner(&self, script: &str) -> super::Output {
        let (name, path) = (
            format!("inner{}", self.number),
            format!("{}/bar", self.foo()),
        );
        start(self.arena, self.kind, &name, self.inner, &path, script)
    }

    /// The script with which the inner one leaves a secret.
    fn keep(&self) -> String {
        let bar = self.kind.public(&format!("{}/bar", self.foo()));
        format!("umask 077; echo secret > {bar}/secret")
    }

    /// The inner one has something there when the outer one comes.
    fn inner_first(&self, what: &str) {
        self.inner(&self.keep()).ok();
        let tries = TRIES.replace("FOO", &self.kind.public(&self.foo()));
        let output = self.outer(&tries);
        assert_eq!(output.stdout, "", "{what}: {output}");
        // Whatever became of the other: this one is refused nothing that it had.
        let bar = self.kind.public(&format!("{}/bar", self.foo()));
        assert_eq!(
            self.inner(&format!("cat {bar}/secret")).ok(),
            "secret\n",
            "{what}"
        );
    }

    /// The outer one plants what it likes before the inner one comes.
    fn outer_first(&self, what: &str, plant: &str) {
        let top = self.kind.public(&self.foo());
        self.outer(&format!("cd {top}/ && {plant}")).ok();
        let steal = format!("echo stolen; {}", self.keep());
        let why = self.inner(&steal).fails(self.kind.status);
        assert!(why.contains("would not be safe"), "{what}, {plant}: {why}");
        let seen = self.outer(&format!("ls {top}/"));
        assert_eq!(seen.ok(), "bar\n", "{what}, {plant}");
    }
}

#[test]
fn a_service_around_another_one_s_directory_neither_leads_it_away_nor_takes_it() {
    let mut attacks = Attacks::of("foo of one user, foo/bar of another");
    for kind in &KINDS {
        let arena = host();
        lay_victims(&arena);
        let before = victims(&arena);
        let mut number = 0;
        for outer in USERS {
            for inner in USERS {
                // Root may do what it likes; what is its own is not looked at either.
                if outer == User::Root || outer == inner && outer != User::Dynamic {
                    continue;
                }
                let what = format!("{} of {outer:?} around {inner:?}", kind.base);
                let all = kind.property == "StateDirectory";
                let plants = PLANTS.into_iter().take(if all { 4 } else { 1 });
                for plant in [None].into_iter().chain(plants.map(Some)) {
                    number += 1;
                    let arena = &arena;
                    let nest = Nest {
                        arena,
                        kind,
                        outer,
                        inner,
                        number,
                    };
                    match plant {
                        None => nest.inner_first(&what),
                        Some(plant) => nest.outer_first(&what, plant),
                    }
                    assert_eq!(victims(arena), before, "{what}, {plant:?}");
                    attacks.survived();
                }
            }
        }
    }
}

#[test]
fn a_service_of_the_same_user_may_have_what_lies_in_a_directory() {
    let arena = host();
    run(
        &arena,
        "inner",
        &["User=both", "StateDirectory=foo/bar"],
        "echo kept > $STATE_DIRECTORY/file",
    )
    .ok();
    let seen = run(
        &arena,
        "again",
        &["User=both", "StateDirectory=foo/bar"],
        "cat $STATE_DIRECTORY/file",
    );
    assert_eq!(seen.ok(), "kept\n");
}

/// What somebody has in the tree of a service, and the service gives the name of a directory that it asks for.
const OTHERS: [(&str, &str); 3] = [
    ("root's", "0:0"),
    ("another user's", "1000:1000"),
    ("that of a user and another group", "1000:5001"),
];

#[test]
fn what_a_service_puts_under_its_own_name_is_not_given_to_it() {
    let mut attacks = Attacks::of("a directory of somebody else's under the name of a nested one");
    for kind in &KINDS {
        for (whose, owner) in OTHERS {
            for (user, top) in [
                (User::Dynamic, "private/foo"),
                (User::Static(KEEPER.0), "foo"),
            ] {
                let arena = host();
                let what = format!("{whose} in {}/{top}", kind.base);
                start(&arena, kind, "foo", user, "foo", "true").ok();
                let make = format!(
                    "set -e; cd {}/{top}; mkdir -m 700 secret; echo key > secret/key; chmod 600 secret/key; chown -R {owner} secret",
                    kind.base
                );
                arena.sh(&make).ok();
                let script = format!("cd {}/ && mv secret bar", kind.public("foo"));
                start(&arena, kind, "foo", user, "foo", &script).ok();
                let read = format!("cat {}/key", kind.public("foo/bar"));
                let output = start(&arena, kind, "foo", user, "foo foo/bar", &read);
                assert_eq!(output.stdout, "", "{what}: {output}");
                assert_eq!(output.status.code(), Some(kind.status), "{what}: {output}");
                assert!(
                    output.stderr.contains("may have put it there"),
                    "{what}: {output}"
                );
                let found = format!(
                    "stat -c %u:%g {0} {0}/key | sort -u",
                    kind.private("foo/bar").replace("private/foo", top)
                );
                assert_eq!(arena.sh(&found).ok(), format!("{owner}\n"), "{what}");
                attacks.survived();
            }
        }
    }
}

/// What it plants, and what it asks for then.
const PLANTED: [(&str, &str); 7] = [
    ("ln -s /srv/victim bar", "foo foo/bar"),
    ("ln -s ../../victim bar", "foo foo/bar"),
    ("ln -s /srv/victim bar", "foo foo/bar/dir"),
    ("mkdir a; ln -s /srv/victim a/b", "foo foo/a/b/dir/new"),
    ("mkfifo bar", "foo foo/bar"),
    ("ln -s bar bar", "foo foo/bar/new"),
    ("touch bar", "foo foo/bar/new"),
];

#[test]
fn what_a_service_plants_at_a_nested_name_or_on_the_way_is_not_followed() {
    let mut attacks = Attacks::of("links and files at nested names and on the way to them");
    for kind in &KINDS {
        for user in [User::Dynamic, User::Static(KEEPER.0)] {
            let planted = PLANTED.iter().take(if kind.property == "StateDirectory" {
                7
            } else {
                2
            });
            for (plant, path) in planted {
                let arena = host();
                lay_victims(&arena);
                let before = victims(&arena);
                let script = format!("cd {}/ && {plant}", kind.public("foo"));
                start(&arena, kind, "foo", user, "foo", &script).ok();
                let output = start(&arena, kind, "foo", user, path, "echo up");
                let what = format!("{} of {user:?}, {plant}, {path}: {output}", kind.base);
                assert_eq!(output.status.code(), Some(kind.status), "{what}");
                assert_eq!(output.stdout, "", "{what}");
                assert_eq!(victims(&arena), before, "{what}");
                attacks.survived();
            }
        }
    }
}

#[test]
fn a_directory_whose_owner_chose_another_group_is_still_its_own() {
    let mut attacks = Attacks::of("an owner who gives his directory to another group");
    for (user, properties) in [
        (
            "keeper",
            &["DynamicUser=no", "User=keeper", "StateDirectory=foo"][..],
        ),
        ("root", &["DynamicUser=no", "StateDirectory=foo"]),
    ] {
        let arena = host();
        // As `chown keeper` leaves it, among other things.
        let make = format!(
            "mkdir /var/lib/foo; echo old > /var/lib/foo/old; chown -R {user} /var/lib/foo; chgrp 5002 /var/lib/foo"
        );
        arena.sh(&make).ok();
        for group in ["friends", user, "friends"] {
            let script = format!("cd /var/lib/foo && cat old && chgrp {group} .");
            assert_eq!(run(&arena, "foo", properties, &script).ok(), "old\n");
            attacks.survived();
        }
    }
}
