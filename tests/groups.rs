//! `Group=` and `SupplementaryGroups=`: whose groups a service is in, and what it makes belongs to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::{Arena, Output, dynamic_uid, wait_until};

/// A host with two groups of its own.
fn host() -> Arena {
    let arena = Arena::new();
    arena.append("/etc/group", "keys:x:4001:");
    arena.append("/etc/group", "friends:x:4002:somebody");
    arena
}

/// `dynuser run -u box` with properties, to its end and until nothing is left.
fn run(arena: &Arena, properties: &[&str], command: &[&str]) -> Output {
    let properties = properties.iter().flat_map(|property| ["-p", property]);
    let words = ["dynuser", "run", "-u", "box"].into_iter();
    let output = arena.run(words.chain(properties).chain(command.iter().copied()));
    arena.wait_until_idle();
    output
}

const IDS: [&str; 3] = ["sh", "-c", "echo $(id -u) $(id -g) $(id -G)"];

#[test]
fn a_service_is_in_the_groups_that_it_asks_for_and_in_no_others() {
    let arena = host();
    let uid = dynamic_uid(&run(&arena, &[], &["id", "-u"]).ok());
    let cases: [(&[&str], String); 8] = [
        (&[], format!("{uid} {uid} {uid}")),
        (&["Group=keys"], format!("{uid} 4001 4001")),
        (&["Group=4711"], format!("{uid} 4711 4711")),
        (&["Group=box"], format!("{uid} {uid} {uid}")),
        (
            &["SupplementaryGroups=keys friends"],
            format!("{uid} {uid} {uid} 4001 4002"),
        ),
        (
            &["Group=keys", "SupplementaryGroups=friends keys"],
            format!("{uid} 4001 4001 4002"),
        ),
        (
            &["Group=keys", "Group=", "SupplementaryGroups=friends"],
            format!("{uid} {uid} {uid} 4002"),
        ),
        (
            &["SupplementaryGroups=friends", "SupplementaryGroups="],
            format!("{uid} {uid} {uid}"),
        ),
    ];
    for (properties, expected) in cases {
        let ids = run(&arena, properties, &IDS).ok();
        assert_eq!(ids.trim_end(), expected, "{properties:?}");
    }
}

#[test]
fn groups_that_are_not_there_or_not_for_services_are_refused_by_name() {
    let arena = host();
    let uid = dynamic_uid(&run(&arena, &[], &["id", "-u"]).ok());
    let of_somebody = format!("Group={uid}");
    for (property, why) in [
        ("SupplementaryGroups=keys nosuch", "group nosuch: there is"),
        (&*of_somebody, "dynamic users have"),
    ] {
        let said = run(&arena, &[property], &["true"]).fails(216);
        assert!(said.contains(why), "{property}: {said}");
    }
    // To setgid(2) it means: as it is, which is root's.
    run(&arena, &["Group=4294967295"], &["true"]).fails(216);
}

#[test]
fn a_group_that_nobody_has_is_made_and_two_services_share_it() {
    let arena = host();
    let service = |name: &'static str, script: &'static str| {
        let words = ["dynuser", "run", "-u", name, "-p", "Group=team"];
        arena.spawn([&words[..], &["sh", "-c", script]].concat())
    };
    let script = "echo $(id -gn) $(id -g); read -r _; true";
    let (mut one, mut two) = (service("one", script), service("two", script));
    let told = one.line();
    assert_eq!(told, two.line());
    let number = told.strip_prefix("team ").expect("its name");
    dynamic_uid(number);
    assert_eq!(arena.list().len(), 3);
    one.end();
    wait_until("one of three has gone", || arena.list().len() == 2);
    let ids = arena.run([
        "dynuser",
        "run",
        "-u",
        "box",
        "-p",
        "Group=team",
        "id",
        "-g",
    ]);
    assert_eq!(ids.ok().trim_end(), number);
    two.end();
    arena.wait_until_idle();
}

#[test]
fn the_group_of_another_dynamic_user_stays_as_long_as_anybody_is_in_it() {
    let arena = host();
    let mut other = arena.spawn(["dynuser", "run", "-u", "other", "sleep", "1000"]);
    other.wait_exec("sleep");
    let number = arena.list()[0]["uid"].to_string();
    let script = "id -g; read -r _; true";
    let words = [
        "dynuser",
        "run",
        "-u",
        "box",
        "-p",
        "Group=other",
        "sh",
        "-c",
        script,
    ];
    let mut member = arena.spawn(words);
    assert_eq!(member.line(), number);
    other.stop();
    let uid_of = |name: &str| {
        let leases = arena.list();
        let lease = leases.iter().find(|lease| lease["name"] == name);
        lease.map(|lease| lease["uid"].to_string())
    };
    assert_eq!(uid_of("other"), Some(number));
    member.end();
    arena.wait_until_idle();
    assert_eq!(uid_of("other"), None);
}

#[test]
fn its_directories_are_its_first_groups_and_stay_its_own_when_that_changes() {
    let arena = host();
    let script = "cd /var/lib/box; touch \"$0\"; stat -c '%n %u:%g' . *";
    let with = |properties: &[&str], file: &str| {
        let properties = [&["StateDirectory=box"], properties].concat();
        run(&arena, &properties, &["sh", "-c", script, file]).ok()
    };
    let uid = dynamic_uid(&run(&arena, &[], &["id", "-u"]).ok());
    let told = with(&["Group=keys"], "a");
    assert_eq!(told, format!(". {uid}:4001\na {uid}:4001\n"));
    // Another one, or none: the same tree, as its own.
    let told = with(&[], "b");
    assert_eq!(
        told,
        format!(". {uid}:{uid}\na {uid}:{uid}\nb {uid}:{uid}\n")
    );
    let told = with(&["Group=friends"], "c");
    assert_eq!(
        told,
        format!(". {uid}:4002\na {uid}:4002\nb {uid}:4002\nc {uid}:4002\n")
    );
    let on_disk = arena
        .sh("stat -c %u:%g /var/lib/private/box/* | sort -u")
        .ok();
    assert_eq!(on_disk, format!("{uid}:4001\n"));
    // Others may read what lies in its runtime directory, by its group.
    let script = "stat -c '%u:%g %a' /run/box";
    let properties = [
        "RuntimeDirectory=box",
        "RuntimeDirectoryMode=0750",
        "Group=keys",
    ];
    let told = run(&arena, &properties, &["sh", "-c", script]).ok();
    assert_eq!(told, format!("{uid}:4001 750\n"));
}

#[test]
fn users_who_have_each_others_groups_end() {
    let arena = Arena::new();
    let start = |user: &str, property: &str| {
        let words = ["-p", property, "sh", "-c", "echo up; exec sleep 1000"];
        let mut service = arena.spawn([&["dynuser", "run", "-u", user], &words[..]].concat());
        assert_eq!(service.line(), "up");
        service
    };
    let one = start("one", "Group=other");
    let other = start("other", "SupplementaryGroups=one");
    for service in [one, other] {
        service.signal(rustix::process::Signal::KILL);
        service.end();
    }
    arena.wait_until_idle();
}
