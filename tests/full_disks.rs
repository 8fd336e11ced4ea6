//! /run and /var/lib without room, without inodes, read-only: at a start, while a service runs, at its end, and
//! when a daemon takes over from one that was killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::Builder;
use support::inside::{self, Bodies, LastOne};
use support::invariants::{Alive, Checker};
use support::service::{Service, Start, daemons, kill_daemons, leased, soon};

/// What the daemon writes to.
const FOLDERS: [&str; 3] = [
    "/run/dynuser/leases",
    "/run/dynuser/users",
    "/run/dynuser/views",
];

/// What is wrong with a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Not one byte of room.
    Full,
    NoInodes,
    ReadOnly,
}

const ALL: [Trouble; 3] = [Trouble::Full, Trouble::NoInodes, Trouble::ReadOnly];

fn mount(words: &str) {
    let status = Command::new("mount").args(words.split(' ')).status();
    assert!(status.expect("mount").success(), "mount {words}");
}

fn umount(path: &str) {
    assert!(
        Command::new("umount")
            .arg(path)
            .status()
            .expect("umount")
            .success(),
        "umount {path}"
    );
}

/// A mount that nothing can be written to.
fn seal(path: &str) {
    mount(&format!("--bind {path} {path}"));
    mount(&format!("-o remount,bind,ro {path}"));
}

impl Trouble {
    fn begins(self, path: &str) {
        match self {
            Self::Full => {
                mount(&format!("-o remount,size=1m {path}"));
                let mut file = File::create(format!("{path}/fill")).expect("a file");
                let error = loop {
                    if let Err(error) = file.write_all(&[1; 512]) {
                        break error;
                    }
                };
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
            }
            Self::NoInodes => {
                let found = rustix::fs::statvfs(path).expect("statvfs");
                mount(&format!(
                    "-o remount,nr_inodes={} {path}",
                    found.f_files - found.f_ffree
                ));
                // The kernel frees late what a Landlock domain of a service that has ended was about.
                let mut fills = (0..).map(|n| File::create(format!("{path}/fill{n}")));
                let error = fills.find_map(Result::err).expect("no inode is free");
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
            }
            // A daemon that runs has files open for writing, with which the kernel refuses that: then the
            // folders alone are sealed.
            Self::ReadOnly if path == "/run" && !daemons().is_empty() => {
                FOLDERS.into_iter().for_each(seal)
            }
            // For the same reason it may be busy for a moment.
            Self::ReadOnly => soon("nothing is about to be removed", || {
                let words = ["-o", "remount,ro", path];
                let status = Command::new("mount")
                    .args(words)
                    .stderr(Stdio::null())
                    .status();
                status.expect("mount").success()
            }),
        }
    }

    fn ends(self, path: &str) {
        match self {
            Self::ReadOnly => {
                let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
                for folder in FOLDERS
                    .iter()
                    .filter(|folder| mounts.contains(&format!(" {folder} ")))
                {
                    umount(folder);
                }
                mount(&format!("-o remount,rw {path}"));
            }
            _ => {
                mount(&format!("-o remount,size=64m,nr_inodes=100000 {path}"));
                let entries = fs::read_dir(path).expect("a folder").flatten();
                let fills =
                    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("fill"));
                fills.for_each(|fill| fs::remove_file(fill.path()).expect("removed"));
            }
        }
    }

    /// What a sentence must say of it.
    fn word(self) -> &'static str {
        match self {
            Self::Full | Self::NoInodes => "No space left on device",
            Self::ReadOnly => "Read-only file system",
        }
    }
}

fn victim() -> Service {
    Start::new("victim", "shm mq file child up wait")
        .runtime("victim")
        .spawn()
}

fn up(service: &mut Service) -> Alive {
    service
        .up()
        .unwrap_or_else(|why| panic!("VIOLATION: {why}"))
}

/// A service comes up and ends, and after that there is nothing but `alive`.
fn works_again(checker: &mut Checker, when: &str, alive: &[Alive]) {
    let mut service = Start::new("next", "up wait")
        .runtime("next")
        .state("next")
        .spawn();
    up(&mut service);
    assert!(service.end().success());
    let uids: Vec<u32> = alive.iter().map(|alive| alive.uid).collect();
    soon(&format!("all else has ended ({when})"), || leased() == uids);
    checker.check_rest(when, alive);
}

/// The service does not come up, and one sentence says which path is in the way and what is wrong with it.
fn refused(mut service: Service, when: &str, path: &str, trouble: Trouble) {
    let why = service.up().expect_err(when);
    assert!(
        why.contains(path) && why.contains(trouble.word()),
        "VIOLATION {when}: {why}"
    );
    assert!(!service.end().success());
}

/// The end of a former service may have made room for this one; where nothing can be written it is refused.
fn may_be_refused(start: Start, when: &str, trouble: Trouble) {
    let mut service = start.spawn();
    match service.up() {
        Ok(_) => assert_ne!(trouble, Trouble::ReadOnly, "VIOLATION {when}"),
        Err(why) => assert!(
            why.contains("/run") && why.contains(trouble.word()),
            "VIOLATION {when}: {why}"
        ),
    }
    service.end();
}

/// Runs the rest of a test inside an arena of its own.
fn body(test: &str, act: impl FnOnce(&mut Checker)) {
    if inside::share().is_none() {
        let builder = Builder::default().with_guest();
        Bodies {
            test,
            builder,
            shares: 1,
            patience: Duration::from_secs(100),
            pass: &[],
        }
        .run();
        return;
    }
    let _last = LastOne;
    let mut checker = Checker::new();
    act(&mut checker);
    inside::tell(&checker.figures);
}

#[test]
fn a_start_on_a_run_that_cannot_be_written_to_is_refused_and_leaves_nothing() {
    body(
        "a_start_on_a_run_that_cannot_be_written_to_is_refused_and_leaves_nothing",
        |checker| {
            for trouble in ALL {
                for cold in [true, false] {
                    let when = format!("{trouble:?}, no daemon: {cold}");
                    kill_daemons();
                    let _absent_at_first = fs::remove_dir_all("/run/dynuser");
                    if !cold {
                        works_again(checker, &when, &[]);
                    }
                    trouble.begins("/run");
                    refused(victim(), &when, "/run", trouble);
                    checker.check(&when, &[]);
                    trouble.ends("/run");
                    soon("the refused one is gone", || leased().is_empty());
                    checker.check_rest(&when, &[]);
                    works_again(checker, &when, &[]);
                }
            }
        },
    );
}

#[test]
fn a_service_that_ends_on_a_run_that_cannot_be_written_to_is_released_when_it_can() {
    body(
        "a_service_that_ends_on_a_run_that_cannot_be_written_to_is_released_when_it_can",
        |checker| {
            for trouble in ALL {
                let when = format!("{trouble:?}");
                let mut service = victim();
                let alive = up(&mut service);
                let mut other = Start::new("other", "up wait").runtime("other").spawn();
                let stays = up(&mut other);
                trouble.begins("/run");
                checker.check(&when, &[alive.clone(), stays.clone()]);
                assert!(service.end().success());
                may_be_refused(
                    Start::new("victim", "up wait").runtime("victim"),
                    &when,
                    trouble,
                );
                checker.check(&when, std::slice::from_ref(&stays));
                trouble.ends("/run");
                // What is in quarantine is tried again by the next daemon at the latest.
                kill_daemons();
                works_again(checker, &when, std::slice::from_ref(&stays));
                let mut again = victim();
                assert_eq!(up(&mut again).uid, alive.uid, "{when}");
                assert!(again.end().success());
                assert!(other.end().success());
                works_again(checker, &when, &[]);
            }
        },
    );
}

#[test]
fn names_that_cannot_be_withdrawn_keep_their_number_out_of_use() {
    body(
        "names_that_cannot_be_withdrawn_keep_their_number_out_of_use",
        |checker| {
            let mut service = victim();
            let alive = up(&mut service);
            seal("/run/dynuser/users");
            assert!(service.end().success());
            let state = || {
                let text = fs::read(format!("/run/dynuser/leases/{}", alive.uid))
                    .expect("VIOLATION: the lease is gone");
                let lease: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
                (lease["state"].to_string(), lease["reason"].to_string())
            };
            soon("it is in quarantine", || state().0.contains("quarantined"));
            assert!(state().1.contains("/run/dynuser/users"), "{:?}", state());
            checker.check("names are read-only", &[]);
            umount("/run/dynuser/users");
            kill_daemons();
            works_again(checker, "names can be withdrawn", &[]);
        },
    );
}

#[test]
fn a_daemon_that_takes_over_on_a_run_that_cannot_be_written_to_loses_nothing() {
    body(
        "a_daemon_that_takes_over_on_a_run_that_cannot_be_written_to_loses_nothing",
        |checker| {
            for trouble in ALL {
                let when = format!("{trouble:?} while no daemon runs");
                let mut stays = Start::new("stays", "up wait").runtime("stays").spawn();
                let alive = up(&mut stays);
                let mut service = victim();
                up(&mut service);
                kill_daemons();
                trouble.begins("/run");
                assert!(service.end().success());
                may_be_refused(
                    Start::new("third", "up wait").runtime("third"),
                    &when,
                    trouble,
                );
                checker.check(&when, std::slice::from_ref(&alive));
                trouble.ends("/run");
                works_again(checker, &when, std::slice::from_ref(&alive));
                assert!(stays.end().success());
                works_again(checker, &when, &[]);
            }
        },
    );
}

#[test]
fn a_state_directory_that_cannot_be_made_is_told_and_leaves_nothing() {
    body(
        "a_state_directory_that_cannot_be_made_is_told_and_leaves_nothing",
        |checker| {
            // A directory takes no room on a tmpfs, so that it is full does not matter.
            for trouble in [Trouble::NoInodes, Trouble::ReadOnly] {
                let when = format!("{trouble:?} in /var/lib");
                let mut with = Start::new("with", "up wait")
                    .runtime("with")
                    .state("with")
                    .spawn();
                let alive = up(&mut with);
                trouble.begins("/var/lib");
                refused(
                    Start::new("new", "up wait")
                        .runtime("new")
                        .state("new")
                        .spawn(),
                    &when,
                    "/var/lib",
                    trouble,
                );
                soon("the refused one is gone", || leased() == [alive.uid]);
                checker.check_rest(&when, std::slice::from_ref(&alive));
                // Who has a directory and wants none is in no trouble.
                let mut without = Start::new("without", "up wait").spawn();
                up(&mut without);
                assert!(without.end().success() && with.end().success());
                soon("all have ended", || leased().is_empty());
                checker.check_rest(&when, &[]);
                trouble.ends("/var/lib");
                works_again(checker, &when, &[]);
            }
        },
    );
}
