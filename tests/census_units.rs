//! A census of the units with `DynamicUser=yes` that the packages of `tests/run` ship: `dynuser check` finds every line of
//! them enforced. (Those of all of Debian's packages: `tests/census.sh`, by hand.)
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use dynuser::unit_file;
use support::Arena;

/// What is not supported, by unit: the directives.
const MISSING: &[(&str, &[&str])] = &[];

/// Units that the tests of daemons start. They must be among those that are found.
const STARTED: [&str; 8] = [
    "atftpd.service",
    "garagemq.service",
    "gobgpd.service",
    "molly-brown@.service",
    "monopd.service",
    "shadowsocks-libev.service",
    "shadowsocks-libev-local@.service",
    "shadowsocks-libev-server@.service",
];

/// The packages that `tests/run` installs: the words between the parentheses of its line `packages=(…)`.
fn packages() -> Vec<&'static str> {
    let script = include_str!("run");
    let (_, after) = script.split_once("\npackages=(").expect("a list");
    let (list, _) = after.split_once(')').expect("its end");
    list.split_whitespace().collect()
}

/// The unit files of those packages for services with a dynamic user, by the package manager's own list.
fn units() -> Vec<String> {
    let mut listed = Command::new("dpkg-query");
    let listed = listed.arg("-L").args(packages()).output().expect("dpkg");
    assert!(
        listed.status.success(),
        "run tests/run, which installs what is missing: {}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    let units = listed
        .lines()
        .filter(|path| path.contains("/systemd/system/") && path.ends_with(".service"));
    let dynamic = units.filter(|path| has_a_dynamic_user(path));
    dynamic.map(Into::into).collect()
}

fn has_a_dynamic_user(path: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let entries = unit_file::parse(path, &text).expect(path);
    let mut settings = entries.iter().filter(|entry| entry.key == "DynamicUser");
    settings.any(|entry| ["yes", "true", "on", "1", "y", "t"].contains(&&*entry.value))
}

#[test]
fn every_unit_with_a_dynamic_user_is_supported_in_full() {
    let units = units();
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let names: Vec<String> = units.iter().map(|path| name(path)).collect();
    for started in STARTED {
        assert!(names.iter().any(|it| it == started), "{started}: {names:?}");
    }
    let arena = Arena::new();
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in &units {
        let output = arena.run(["dynuser", "check", "--json", path]);
        let told: serde_json::Value = serde_json::from_str(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output}"));
        let told = &told.as_array().expect("an array")[0];
        let lines = told["lines"].as_array().expect("lines");
        assert!(
            lines.iter().any(|line| line["directive"] == "DynamicUser"),
            "{told}"
        );
        let names = told["missing"].as_array().expect("names").iter();
        let names: Vec<String> = names
            .map(|it| it.as_str().expect("a name").into())
            .collect();
        let expected = if names.is_empty() { 0 } else { 1 };
        assert_eq!(output.status.code(), Some(expected), "{output}");
        if !names.is_empty() {
            missing.insert(name(path), names);
        }
    }
    let known = MISSING.iter().map(|(unit, names)| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        ((*unit).to_owned(), names)
    });
    assert_eq!(missing, known.collect::<BTreeMap<String, Vec<String>>>());
}
