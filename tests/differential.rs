//! What a process sees of its sandbox under dynuser, beside what it sees under systemd 262.
//!
//! `observed/` holds what `probe.py` printed under a booted systemd. Here the same probe runs under
//! `dynuser run` with the same properties, and both are compared line by line. Every difference
//! is either a row of `observed/deliberate.rs`, with its reason, or an error; so is a row that
//! describes a difference which is not there any more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "observed/deliberate.rs"]
mod deliberate;
#[path = "observed/reading.rs"]
mod reading;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use deliberate::{ABSENT, DIFFERENCES, NOT_COMPARED};
use reading::{Seen, limits, mount, namespaces, sections, seen};
use support::{Arena, Builder};

/// The recordings of settings that dynuser has too.
const COMPARED: [&str; 20] = [
    "02", "03", "04", "05", "06", "07", "08", "10", "11", "12", "13", "15", "16", "18", "19", "20",
    "21", "23", "25", "27",
];

/// A recording: its settings and what the probe printed.
struct Recording {
    file: String,
    properties: Vec<String>,
    service: String,
    directory: Option<String>,
    text: String,
}

fn recording(number: &str) -> Recording {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/observed");
    let path = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(number)
        })
        .unwrap_or_else(|| panic!("no recording {number}"));
    let text = fs::read_to_string(&path).unwrap();
    let command = text.lines().nth(1).unwrap();
    let words: Vec<&str> = command.split_whitespace().collect();
    let after = |option: &str| -> Vec<String> {
        words
            .windows(2)
            .filter(|pair| pair[0] == option)
            .map(|pair| pair[1].to_owned())
            .collect()
    };
    Recording {
        file: path.file_name().unwrap().to_string_lossy().into_owned(),
        properties: after("-p"),
        service: after("-u").remove(0),
        directory: after("probe.py").pop(),
        text,
    }
}

impl Recording {
    fn number(&self) -> &str {
        self.file.split('-').next().unwrap()
    }

    /// What systemd-run(1) made of its words.
    fn unit(&self) -> String {
        let directory = self.directory.as_deref().unwrap_or_default();
        let settings = self.properties.join("\n");
        format!("[Service]\nExecStart=/usr/local/sbin/probe.py {directory}\n{settings}\n")
    }

    /// The words of the command that does the same under dynuser.
    fn command(&self) -> Vec<String> {
        // A session of its own, as a supervisor makes it.
        let mut words: Vec<String> = ["setsid", "dynuser", "run", "--unit-file"]
            .map(str::to_owned)
            .into();
        words.push(self.unit_file());
        let says = |property: &String| property.starts_with("DynamicUser=");
        if !self.properties.iter().any(says) {
            // A unit file is not run as a user of the host unless one says so.
            words.extend(["-p", "DynamicUser=no"].map(str::to_owned));
        }
        words
    }

    fn unit_file(&self) -> String {
        format!("/etc/systemd/system/{}.service", self.service)
    }

    /// A host like the one of the recordings.
    fn host(&self) -> Arena {
        let arena = Builder::default().with_module().with_mqueue().start();
        let probe = include_str!("observed/probe.py");
        arena.put("/usr/local/sbin/probe.py", probe, 0o755);
        arena
            .sh(
                "mkdir -m 0700 /var/lib/private /var/cache/private /var/log/private; mkdir /run/user
                 chmod 1777 /tmp; mount -o remount,bind,nosuid,nodev /tmp
                 mount -o remount,bind,ro /sys
                 mount -t debugfs -o nosuid,nodev,noexec debugfs /sys/kernel/debug
                 mount -t tracefs -o nosuid,nodev,noexec tracefs /sys/kernel/tracing
                 mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys",
            )
            .ok();
        if self.number() >= "08" {
            // The recordings are of one boot: the first RuntimeDirectory= made it.
            arena.sh("mkdir -m 0700 /run/private").ok();
        }
        arena.sh("mkdir -p /etc/systemd/system").ok();
        arena.put(&self.unit_file(), &self.unit(), 0o644);
        if self.file.contains("owned-by-dynamic-uid") {
            let directory = format!("/var/lib/private/{}", self.directory.as_ref().unwrap());
            arena
                .sh(&format!(
                    "mkdir {directory} && chown 62333:62333 {directory}"
                ))
                .ok();
        }
        arena
    }
}

/// What a service without any property had: what it inherits.
fn plain() -> &'static str {
    include_str!("observed/01-plain-no-dynamicuser.txt")
}

/// The mounts that the recorded service had and its host did not.
fn recorded_mounts(recording: &Recording) -> Seen {
    let sections = sections(&recording.text);
    let lines = &sections
        .iter()
        .find(|(name, _)| *name == "mounts")
        .expect("the mounts that differ")
        .1;
    let of = |side: &str| -> Vec<Vec<&str>> {
        lines
            .iter()
            .filter_map(|line| line.strip_prefix(side))
            .map(|line| line.split(' ').collect())
            .collect()
    };
    let changed: BTreeSet<&str> = of("< ").iter().map(|words| words[1]).collect();
    let new = of("> ")
        .into_iter()
        .filter(|words| !changed.contains(words[1]));
    new.map(|words| mount(&words, recording.directory.as_deref()))
        .collect()
}

/// The mounts that our service has and the arena has not.
fn own_mounts(text: &str, arena: &Arena, directory: Option<&str>) -> Seen {
    let mut host: BTreeMap<String, usize> = BTreeMap::new();
    for line in arena.mounts() {
        *host
            .entry(line.split(' ').nth(4).unwrap().to_owned())
            .or_default() += 1;
    }
    let sections = sections(text);
    let raw = &sections
        .iter()
        .rev()
        .find(|(name, _)| *name == "mountinfo")
        .unwrap()
        .1;
    let mut new = Seen::new();
    for line in raw {
        let words: Vec<&str> = line.split(' ').collect();
        let dash = words.iter().position(|word| *word == "-").unwrap();
        let known = host.get_mut(words[4]).filter(|count| **count > 0);
        match known {
            Some(count) => *count -= 1,
            None => {
                let words = [
                    words[3],
                    words[4],
                    words[5],
                    words[dash + 1],
                    words[dash + 2],
                    words[dash + 3],
                ];
                new.extend([mount(&words, directory)]);
            }
        }
    }
    new
}

fn is_compared(key: &str) -> bool {
    !NOT_COMPARED
        .iter()
        .any(|(ignored, _)| match ignored.strip_suffix('*') {
            Some(start) => key.starts_with(start),
            None => key == *ignored,
        })
}

/// Compares one recording, marks the rows that apply, and tells what no row explains.
fn compare(recording: &Recording, used: &mut BTreeSet<usize>) -> String {
    let arena = recording.host();
    let directory = recording.directory.as_deref();
    let output = arena.run(recording.command()).ok();
    let mut theirs = seen(&recording.text, directory, &namespaces(plain()));
    theirs.extend(recorded_mounts(recording));
    // What neither of us changed is another one on every host.
    let inherited = limits(&arena.sh("echo '[limits]'; cat /proc/self/limits").ok());
    let plain_limits = limits(plain());
    let untouched = |key: &str, theirs: &str, ours: &str| {
        let value = |of: &Seen| of.get(key).cloned();
        value(&plain_limits).as_deref() == Some(theirs)
            && value(&inherited).as_deref() == Some(ours)
    };
    let host = arena.sh("readlink /proc/self/ns/*").ok();
    let host: Vec<String> = host.lines().map(str::to_owned).collect();
    let mut ours = seen(&output, directory, &host);
    ours.extend(own_mounts(&output, &arena, directory));
    let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let mut unexplained = String::new();
    for key in keys.into_iter().filter(|key| is_compared(key)) {
        let absent = ABSENT.to_owned();
        let (systemd, dynuser) = (
            theirs.get(key).unwrap_or(&absent),
            ours.get(key).unwrap_or(&absent),
        );
        if systemd == dynuser || untouched(key, systemd, dynuser) {
            continue;
        }
        let row = DIFFERENCES
            .iter()
            .position(|row| row.explains(recording.number(), key, systemd, dynuser));
        match row {
            Some(row) => {
                used.insert(row);
            }
            None => writeln!(
                unexplained,
                "{} {key}\n  systemd: {systemd}\n  dynuser: {dynuser}",
                recording.file
            )
            .unwrap(),
        }
    }
    unexplained
}

#[test]
fn every_difference_from_systemd_is_deliberate() {
    let mut used = BTreeSet::new();
    let mut unexplained = String::new();
    for number in COMPARED {
        unexplained += &compare(&recording(number), &mut used);
    }
    assert!(
        unexplained.is_empty(),
        "differences that nothing explains:\n{unexplained}"
    );
    let stale: Vec<&str> = DIFFERENCES
        .iter()
        .enumerate()
        .filter(|(row, _)| !used.contains(row))
        .map(|(_, row)| row.key)
        .collect();
    assert!(
        stale.is_empty(),
        "rows of the table that describe no difference any more: {stale:?}"
    );
}

#[test]
fn a_state_directory_decides_the_uid_as_it_does_under_systemd() {
    let recording = recording("06");
    let uid = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with("resuid "))
            .unwrap();
        line.to_owned()
    };
    let ours = recording.host().run(recording.command()).ok();
    assert_eq!(uid(&ours), uid(&recording.text));
}

#[test]
fn systemd_runs_a_dynamic_user_named_root_as_root_and_we_refuse() {
    let recording = recording("22");
    assert!(recording.text.contains("\nresuid 0 0 0\n"));
    let message = recording.host().run(recording.command()).fails(217);
    assert!(message.contains("root"), "{message}");
}

#[test]
fn neither_of_us_has_a_home_for_a_dynamic_user_to_start_in() {
    let recording = recording("26");
    assert!(recording.text.contains("bad unit file setting"));
    let message = recording.host().run(recording.command()).fails(1);
    assert!(message.contains("WorkingDirectory=~"), "{message}");
}
