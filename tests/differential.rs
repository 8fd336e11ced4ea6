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

use deliberate::{ABSENT, DIFFERENCES, NOT_COMPARED, NOT_YET};
use reading::{Seen, mount, sections, seen};
use support::{Arena, Builder};

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
    fn property(&self, name: &str) -> Option<&str> {
        self.properties
            .iter()
            .find_map(|property| property.strip_prefix(name)?.strip_prefix('='))
    }

    /// The words of the command that does the same under dynuser.
    fn command(&self) -> Vec<String> {
        // A session of its own, as a supervisor makes it.
        let mut words: Vec<String> = ["setsid", "dynuser", "run", "-u", &self.service]
            .map(str::to_owned)
            .into();
        for property in &self.properties {
            let name = property.split('=').next().unwrap();
            if !NOT_YET.contains(&name) {
                words.extend(["-p".to_owned(), property.clone()]);
            }
        }
        if let Some(mask) = self.property("UMask") {
            let script = format!("umask {mask}; exec env -u PWD \"$@\"");
            words.extend(["sh", "-c", &script, "sh"].map(str::to_owned));
        }
        words.push("/usr/local/sbin/probe.py".to_owned());
        words.extend(self.directory.clone());
        words
    }

    /// A host like the one of the recordings.
    fn host(&self) -> Arena {
        let arena = Builder::default().with_module().with_mqueue().start();
        let probe = include_str!("observed/probe.py");
        arena.put("/usr/local/sbin/probe.py", probe, 0o755);
        arena
            .sh("mkdir -m 0700 /var/lib/private /var/cache/private /var/log/private")
            .ok();
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
    let output = arena
        .run(
            ["sh", "-c", "exec \"$@\" </dev/null", "sh"]
                .map(str::to_owned)
                .into_iter()
                .chain(recording.command()),
        )
        .ok();
    let mut theirs = seen(&recording.text, directory);
    theirs.extend(recorded_mounts(recording));
    let mut ours = seen(&output, directory);
    ours.extend(own_mounts(&output, &arena, directory));
    let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let mut unexplained = String::new();
    for key in keys.into_iter().filter(|key| is_compared(key)) {
        let absent = ABSENT.to_owned();
        let (systemd, dynuser) = (
            theirs.get(key).unwrap_or(&absent),
            ours.get(key).unwrap_or(&absent),
        );
        if systemd == dynuser {
            continue;
        }
        let row = DIFFERENCES
            .iter()
            .position(|row| row.explains(key, systemd, dynuser));
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
    for number in ["02", "03", "04", "05", "06", "07"] {
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
