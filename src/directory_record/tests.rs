//! The record on real file systems.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::directory_text::MOST_TEXT;
use crate::exec_directory::Kind;

fn place() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let folder = format!("{}/dynuser", dir.path().display());
    (dir, folder)
}

fn remember(record: &mut DirectoryRecord, service: &str, paths: &[&str]) {
    let service = ServiceName::parse(service).expect("a name");
    let has = paths.iter().map(|path| Has {
        kind: Kind::State,
        path,
        links: &[],
        private: true,
    });
    record.remember(&service, service.as_str(), has);
}

fn paths(record: &DirectoryRecord, service: &str) -> Vec<String> {
    let record = record.of_service(service);
    let directories = record.into_iter().flat_map(|record| &record.directories);
    directories.map(|had| had.path.clone()).collect()
}

#[test]
fn what_is_remembered_is_known_to_the_next_one_and_what_is_known_costs_no_write() {
    let (_dir, folder) = place();
    let file = format!("{folder}/directories");
    let mut record = DirectoryRecord::open_in(&folder);
    remember(&mut record, "wuff", &["a", "b"]);
    remember(&mut record, "run-123", &["passing"]);
    let status = || fs::metadata(&file).expect("the file");
    let before = (status().len(), status().mtime_nsec(), status().ino());
    assert_eq!(status().mode() & 0o7777, 0o600);
    for _ in 0..200 {
        remember(&mut record, "wuff", &["a"]);
    }
    assert_eq!(
        (status().len(), status().mtime_nsec(), status().ino()),
        before
    );
    let mut next = DirectoryRecord::open_in(&folder);
    assert_eq!(paths(&next, "wuff"), ["a", "b"]);
    assert_eq!(next.services().count(), 1);
    next.forget("wuff", |had| had.path == "a");
    next.forget("nobody", |_| true);
    assert_eq!(paths(&DirectoryRecord::look_in(&folder), "wuff"), ["b"]);
    next.forget("wuff", |_| true);
    assert_eq!(paths(&DirectoryRecord::look_in(&folder), "wuff"), [""; 0]);
    assert!(
        DirectoryRecord::look_in(&folder)
            .of_service("wuff")
            .is_some(),
        "known all the same"
    );
    assert!(next.trouble().is_none());
}

#[test]
fn a_torn_end_and_rubbish_are_survived_and_kept_aside() {
    let (_dir, folder) = place();
    let file = format!("{folder}/directories");
    let mut record = DirectoryRecord::open_in(&folder);
    remember(&mut record, "wuff", &["a"]);
    let whole = fs::read(&file).expect("the file");
    fs::write(&file, &whole[..whole.len() - 5]).expect("write");
    remember(&mut record, "miau", &["c"]);
    let next = DirectoryRecord::open_in(&folder);
    assert_eq!(
        (paths(&next, "wuff"), paths(&next, "miau")),
        (vec![], vec!["c".to_owned()])
    );
    assert!(
        next.trouble()
            .is_some_and(|why| why.contains("1 lines are skipped"))
    );
    assert!(fs::metadata(format!("{folder}/directories.damaged")).is_ok());
    assert!(
        DirectoryRecord::open_in(&folder).trouble().is_none(),
        "repaired"
    );
}

#[test]
fn a_file_that_is_not_root_s_own_is_not_believed_and_left_as_it_is() {
    let (_dir, folder) = place();
    let file = format!("{folder}/directories");
    let mut record = DirectoryRecord::open_in(&folder);
    remember(&mut record, "wuff", &["a"]);
    let text = fs::read(&file).expect("the file");
    fs::set_permissions(&file, Permissions::from_mode(0o666)).expect("chmod");
    let mut next = DirectoryRecord::open_in(&folder);
    assert_eq!(paths(&next, "wuff"), [""; 0]);
    assert!(
        next.trouble()
            .is_some_and(|why| why.contains("not only root"))
    );
    remember(&mut next, "miau", &["c"]);
    assert_eq!(paths(&next, "miau"), ["c"], "in memory all the same");
    assert_eq!(fs::read(&file).expect("the file"), text);
    fs::rename(&file, format!("{folder}/elsewhere")).expect("rename");
    symlink("elsewhere", &file).expect("symlink");
    assert!(DirectoryRecord::open_in(&folder).trouble().is_some());
}

#[test]
fn a_file_that_repeats_itself_is_written_anew() {
    let (_dir, folder) = place();
    let mut record = DirectoryRecord::open_in(&folder);
    for n in 0..100 {
        remember(&mut record, "wuff", &[&n.to_string()]);
        record.forget("wuff", |_| true);
    }
    remember(&mut record, "wuff", &["last"]);
    let text = fs::read_to_string(format!("{folder}/directories")).expect("the file");
    assert!(text.lines().count() <= 66, "{text}");
    assert_eq!(paths(&DirectoryRecord::look_in(&folder), "wuff"), ["last"]);
    assert!(u64::try_from(MOST_TEXT * 4).is_ok_and(|most| most == FILE.largest));
}

/// Not a benchmark, but a look at what a start pays: run with --ignored --nocapture.
#[test]
#[ignore = "tells a time, and asserts none"]
fn what_a_start_pays() {
    let (_dir, folder) = place();
    let mut record = DirectoryRecord::open_in(&folder);
    for n in 0..8192 {
        remember(&mut record, &format!("service{n}"), &["a", "b/c"]);
    }
    let begun = std::time::Instant::now();
    for _ in 0..10_000 {
        remember(&mut record, "service4711", &["a", "b/c"]);
    }
    println!("{:?} for nothing new", begun.elapsed() / 10_000);
    let begun = std::time::Instant::now();
    for n in 0..1000 {
        remember(&mut record, &format!("service{n}"), &["a", "b/c", "d"]);
    }
    println!("{:?} for something new", begun.elapsed() / 1000);
}
