//! The rest is in tests/give.rs. Here fewer files fill a table, and fewer entries are too many.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, chown};
use std::thread;

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

#[test]
fn a_directory_that_grows_meanwhile_has_an_end() {
    const MOST: u64 = 2_000_000;
    let (old, new) = (61_313, 61_314);
    let ids = |id| Ids { uid: id, gid: id };
    let top = tempfile::tempdir_in("/dev/shm").unwrap();
    let growing = top.path().join("growing");
    fs::create_dir(&growing).unwrap();
    for path in [top.path(), &growing] {
        chown(path, Some(old), Some(old)).unwrap();
    }
    let directory = File::open(top.path()).unwrap();
    let stop = AtomicBool::new(false);
    let (begun, wait) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let grow = scope.spawn(|| {
            let mut made = 0;
            while !stop.load(Ordering::Relaxed) && made < MOST {
                let path = growing.join(format!("{made}"));
                fs::create_dir(&path).unwrap();
                chown(&path, Some(old), Some(old)).unwrap();
                made += 1;
                if made == 1000 {
                    begun.send(()).unwrap();
                }
            }
            made
        });
        wait.recv().unwrap();
        let given = give_tree(directory.as_fd(), "/t", &[ids(old)], ids(new), &|_| ());
        let top_is = fs::metadata(top.path()).unwrap().uid();
        stop.store(true, Ordering::Relaxed);
        assert!(grow.join().unwrap() < MOST, "as long as it grew");
        match given {
            Ok(given) => assert!(given.given >= 1_002 && top_is == new, "{given:?}"),
            Err(error) => assert_eq!((error.errno, top_is), (Errno::BUSY, old), "{error}"),
        }
    });
}
