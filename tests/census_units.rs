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

/// The unit files of those packages.
fn installed() -> Vec<String> {
    files_of(&packages())
}

/// The unit files of packages, by the package manager's own list.
fn files_of(packages: &[&str]) -> Vec<String> {
    let mut listed = Command::new("dpkg-query");
    let listed = listed.arg("-L").args(packages).output().expect("dpkg");
    assert!(
        listed.status.success(),
        "run tests/run, which installs what is missing: {}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    let units = listed
        .lines()
        .filter(|path| path.contains("/systemd/system/"));
    units.map(Into::into).collect()
}

/// Those for services with a dynamic user.
fn dynamic() -> Vec<String> {
    let services = installed().into_iter();
    let services = services.filter(|path| path.ends_with(".service"));
    services.filter(|path| has_a_dynamic_user(path)).collect()
}

fn name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// What `dynuser check` finds missing in a unit file: the directives. Its exit status says the same.
fn missing_in(arena: &Arena, path: &str) -> (Vec<String>, serde_json::Value) {
    let output = arena.run(["dynuser", "check", "--json", path]);
    let told: serde_json::Value =
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"));
    let told = told.as_array().expect("an array")[0].clone();
    let names = told["missing"].as_array().expect(&output.stdout).iter();
    let names: Vec<String> = names
        .map(|it| it.as_str().expect("a name").into())
        .collect();
    let expected = if names.is_empty() { 0 } else { 1 };
    assert_eq!(output.status.code(), Some(expected), "{output}");
    (names, told)
}

fn has_a_dynamic_user(path: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let entries = unit_file::parse(path, &text).expect(path);
    let mut settings = entries.iter().filter(|entry| entry.key == "DynamicUser");
    settings.any(|entry| ["yes", "true", "on", "1", "y", "t"].contains(&&*entry.value))
}

#[test]
fn every_unit_with_a_dynamic_user_is_supported_in_full() {
    let units = dynamic();
    let names: Vec<String> = units.iter().map(|path| name(path)).collect();
    for started in STARTED {
        assert!(names.iter().any(|it| it == started), "{started}: {names:?}");
    }
    let arena = Arena::new();
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in &units {
        let (names, told) = missing_in(&arena, path);
        let lines = told["lines"].as_array().expect("lines");
        assert!(
            lines.iter().any(|line| line["directive"] == "DynamicUser"),
            "{told}"
        );
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

/// What sockets of Debian need that there is not, by the name of the directive.
const OF_SOCKETS: [&str; 2] = ["ListenNetlink", "ListenSpecial"];

#[test]
fn sockets_are_supported_but_for_those_of_devices_and_of_the_kernel() {
    let arena = Arena::new();
    let shipped: Vec<String> = installed()
        .into_iter()
        .filter(|path| path.ends_with(".socket"))
        .collect();
    for found in ["atftpd.socket", "monopd.socket"] {
        assert!(
            shipped.iter().any(|path| name(path) == found),
            "{shipped:?}"
        );
    }
    for path in &shipped {
        let (missing, told) = missing_in(&arena, path);
        assert!(missing.is_empty(), "{path}: {missing:?}");
        let lines = told["lines"].as_array().expect("lines");
        let listens = |line: &serde_json::Value| {
            let name = line["directive"].as_str().unwrap_or_default();
            name.starts_with("Listen") && line["verdict"] == "enforced"
        };
        assert!(lines.iter().any(listens), "{told}");
    }
    // systemd's own, which libnss-systemd brings along. Others on this machine are read, whatever they need.
    // By name: dpkg may know them below /lib, which is a link.
    let systemds: Vec<String> = files_of(&["systemd"])
        .iter()
        .map(|path| name(path))
        .collect();
    let folder = fs::read_dir("/usr/lib/systemd/system").expect("a folder");
    let paths = folder.map(|entry| entry.expect("an entry").path().display().to_string());
    let mut seen = 0;
    for path in paths.filter(|path| path.ends_with(".socket")) {
        let (missing, _) = missing_in(&arena, &path);
        if systemds.contains(&name(&path)) {
            // With one of them, Writable= goes.
            let rest = missing.iter().filter(|name| *name != "Writable");
            let known = rest.filter(|name| !OF_SOCKETS.contains(&name.as_str()));
            assert_eq!(known.count(), 0, "{path}: {missing:?}");
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}
