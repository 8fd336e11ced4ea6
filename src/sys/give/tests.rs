//! The rest is in tests/give.rs. Here few files fill the table of those with several names.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, chown};

use super::*;

#[test]
fn more_files_with_several_names_than_are_counted_at_once() {
    let (old, new) = (61_311, 61_312);
    let ids = |id| Ids { uid: id, gid: id };
    let parent = tempfile::tempdir_in("/dev/shm").unwrap();
    let (top, outside) = (parent.path().join("top"), parent.path().join("outside"));
    fs::create_dir_all(top.join("a/b")).unwrap();
    fs::create_dir(&outside).unwrap();
    let files = 20 * links::MOST;
    for number in 0..files {
        let first = top.join(format!("{number}"));
        fs::write(&first, "").unwrap();
        chown(&first, Some(old), Some(old)).unwrap();
        fs::hard_link(&first, top.join(format!("a/b/{number}"))).unwrap();
        // Each tenth has one outside; of each third there is one more inside.
        if number % 10 == 0 {
            fs::hard_link(&first, outside.join(format!("{number}"))).unwrap();
        }
        if number % 3 == 0 {
            fs::hard_link(&first, top.join(format!("a/{number}"))).unwrap();
        }
    }
    for directory in ["", "a", "a/b"] {
        chown(top.join(directory), Some(old), Some(old)).unwrap();
    }
    let directory = File::open(&top).unwrap();
    let given = give_tree(directory.as_fd(), "/t", &[ids(old)], ids(new), &|_| ()).unwrap();
    let mut left = 0;
    for number in 0..files {
        let uid = fs::metadata(top.join(format!("{number}"))).unwrap().uid();
        assert_eq!(uid, if number % 10 == 0 { old } else { new }, "{number}");
        if number % 10 == 0 {
            left += if number % 3 == 0 { 3 } else { 2 };
        }
    }
    let files = u64::try_from(files).unwrap();
    assert_eq!(given.given, files - files.div_ceil(10) + 3);
    assert_eq!(given.left, left);
    assert_eq!(fs::metadata(&top).unwrap().uid(), new);
}
