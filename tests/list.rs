//! `dynuser list`: a tree for people, the table that programs know, and JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Arena, Running};

fn sleeper(arena: &Arena, words: &[&str]) -> Running {
    let mut service = arena.spawn([&["dynuser", "run"], words, &["sleep", "1000"]].concat());
    service.wait_exec("sleep");
    service
}

fn list(arena: &Arena, words: &[&str]) -> String {
    let command = arena.command([&["dynuser", "list"], words].concat());
    command.env("TZ", "Asia/Kolkata").run().ok()
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn people_see_instances_under_their_template_and_programs_a_line_for_each() {
    let arena = Arena::new();
    let foo = |instance| sleeper(&arena, &["-u", instance]);
    let _instances = ["foo@a", "foo@b"].map(foo);
    let one = sleeper(&arena, &["-u", "one", "-p", "User=shared"]);
    let two = sleeper(&arena, &["-u", "two", "-p", "User=shared"]);
    // A second process under the user's number.
    let mut guest = arena.spawn([
        "dynuser",
        "enter",
        "one",
        "sh",
        "-c",
        "echo in; exec sleep 1000",
    ]);
    assert_eq!(guest.line(), "in");
    let tree = list(&arena, &["--tree"]);
    let lines: Vec<Vec<&str>> = tree.lines().map(words).collect();
    assert_eq!(
        lines[0],
        [
            "NAME", "UID", "STATE", "PID", "SINCE", "FOR", "PROCS", "MEMORY", "SERVICE"
        ]
    );
    assert_eq!(lines[1], ["foo@", "2", "-", "2", "instances"], "{tree}");
    for (line, start, service) in [(2, "├─foo_a-", "foo@a"), (3, "└─foo_b-", "foo@b")] {
        assert!(lines[line][0].starts_with(start), "{tree}");
        assert_eq!(lines[line].last(), Some(&service), "{tree}");
    }
    assert_eq!(lines[4][0], "shared", "{tree}");
    assert_eq!(
        lines[4][lines[4].len() - 4..],
        ["3", "-", "one", "two"],
        "{tree}"
    );
    assert_eq!(lines[5], ["├─one", &one.pid()], "{tree}");
    assert_eq!(lines[6], ["└─two", &two.pid()], "{tree}");
    assert_eq!(lines.len(), 7, "{tree}");
    // The time of the people of the host.
    let since = arena
        .list()
        .iter()
        .find(|one| one["name"] == "shared")
        .unwrap()["since"]
        .clone();
    let local = arena
        .sh(&format!("TZ=Asia/Kolkata date -d @{since} '+%F %T'"))
        .ok();
    assert!(tree.contains(local.trim()), "{local} is not in {tree}");
    // In a plain terminal, in plain letters.
    let command = arena.command(["dynuser", "list", "--tree"]);
    let plain = command.env("LC_ALL", "C").run().ok();
    assert!(plain.is_ascii() && plain.contains("`-foo_b-"), "{plain}");
    // Programs read what they always did.
    let table = list(&arena, &[]);
    let lines: Vec<Vec<&str>> = table.lines().map(words).collect();
    assert_eq!(lines[0], ["NAME", "UID", "STATE", "PID", "FOR", "SERVICE"]);
    assert_eq!(lines.len(), 4, "{table}");
    // But for how long, which goes on.
    let timeless = |table: &str| -> Vec<Vec<String>> {
        let lines = table.lines().map(words);
        let kept = lines.map(|line| [&line[..4], &line[line.len() - 1..]].concat());
        kept.map(|line| line.into_iter().map(str::to_owned).collect())
            .collect()
    };
    assert_eq!(timeless(&list(&arena, &["--flat"])), timeless(&table));
}

#[test]
fn json_tells_what_a_user_takes_and_nothing_that_nobody_knows() {
    let arena = Arena::new();
    let service = sleeper(&arena, &["-u", "foo@a"]);
    let one = &arena.list()[0];
    assert_eq!(one["template"], "foo@");
    assert_eq!(one["processes"], 1);
    assert_eq!(one["memory"], Value::Null, "it has no control group");
    let pid: u32 = service.pid().parse().unwrap();
    assert_eq!(one["holders"], json!([{"service": "foo@a", "pid": pid}]));
    service.stop();
    arena.wait_until_idle();
    // A number that others have too: whose processes these are nobody knows.
    let words = ["-u", "plain", "-p", "DynamicUser=no", "-p", "User=daemon"];
    let _service = sleeper(&arena, &words);
    let one = &arena.list()[0];
    assert_eq!(one["processes"], Value::Null);
    assert_eq!(one["template"], Value::Null);
}

#[test]
fn names_and_patterns_choose() {
    let arena = Arena::new();
    let start = |name| sleeper(&arena, &["-u", name]);
    let _services = ["foo@a", "foo@b", "bar"].map(start);
    let listed = |words: &[&str]| -> Vec<String> {
        let text = list(&arena, &[&["--json"], words].concat());
        let all: Vec<Value> = serde_json::from_str(&text).unwrap();
        let service = |one: &Value| one["services"][0].as_str().unwrap().to_owned();
        let mut services: Vec<String> = all.iter().map(service).collect();
        services.sort();
        services
    };
    assert_eq!(listed(&["foo@*"]), ["foo@a", "foo@b"]);
    assert_eq!(listed(&["foo@"]), ["foo@a", "foo@b"]);
    assert_eq!(listed(&["foo@b.service", "bar"]), ["bar", "foo@b"]);
    assert_eq!(listed(&["nonsuch"]), Vec::<String>::new());
    let uid = arena.run(["dynuser", "enter", "bar", "id", "-u"]).ok();
    assert_eq!(listed(&[uid.trim()]), ["bar"]);
    assert_eq!(list(&arena, &["bar"]).lines().count(), 2);
}
