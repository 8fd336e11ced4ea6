//! The visitor plays the owner who works against the walk: it acts while the walk stands at an entry.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

fn tree(directories: &[&str]) -> tempfile::TempDir {
    let top = tempfile::tempdir_in("/dev/shm").unwrap();
    for directory in directories {
        fs::create_dir_all(top.path().join(directory)).unwrap();
    }
    top
}

/// What is seen below `top` while `act` is told each path.
fn seen(top: &Path, act: &mut dyn FnMut(&str)) -> Vec<String> {
    let mut seen = Vec::new();
    let directory = fs::File::open(top).unwrap();
    let mut visit = |entry: &Entry<'_>| {
        seen.push(entry.path.to_owned());
        act(entry.path);
        Ok(Next::Enter)
    };
    walk(directory.as_fd(), "", &mut visit).unwrap();
    seen.sort();
    seen
}

/// Directories on the way to `/u/a/b/c/d/e`.
const AROUND: [&str; 4] = ["u", "u/a", "u/a/b", "u/a/b/c"];

/// Half of the neighbours are made before the way and half after it: tmpfs shows the newest first.
fn with_neighbours() -> (tempfile::TempDir, Vec<String>) {
    let top = tree(&["v"]);
    let mut neighbours = Vec::new();
    let mut make = |directory: &str, half: &str| {
        for number in 0..20 {
            let path = format!("{directory}/{half}{number}/m");
            fs::create_dir_all(top.path().join(&path)).unwrap();
            neighbours.push(format!("/{path}"));
        }
    };
    AROUND.iter().for_each(|directory| make(directory, "n"));
    fs::create_dir_all(top.path().join("u/a/b/c/d/e")).unwrap();
    AROUND.iter().for_each(|directory| make(directory, "o"));
    (top, neighbours)
}

#[test]
fn everything_is_seen_once_and_directories_before_what_is_in_them() {
    let (top, neighbours) = with_neighbours();
    fs::write(top.path().join("u/a/file\n"), "").unwrap();
    symlink("/", top.path().join("u/a/link")).unwrap();
    let mut order = Vec::new();
    let all = seen(top.path(), &mut |path| order.push(path.to_owned()));
    assert_eq!(all.len(), 7 + 2 * neighbours.len() + 2, "{all:?}");
    let mut once = all.clone();
    once.dedup();
    assert_eq!(once, all);
    assert!(neighbours.iter().all(|it| all.contains(it)));
    assert!(all.contains(&"/u/a/file\\n".to_owned()));
    let place = |path: &str| order.iter().position(|it| it == path);
    assert!(place("/u/a") < place("/u/a/b") && place("/u/a/b") < place("/u/a/b/c/d/e"));
}

#[test]
fn what_stays_is_seen_although_the_directory_we_are_in_is_moved() {
    // The last one is moved down into what we have not seen, and all of it may be seen twice.
    for (moved, to) in [
        ("u/a/b/c/d", "v/d"),
        ("u/a/b/c", "v/c"),
        ("u/a/b", "v/b"),
        ("u/a", "a"),
        ("u/a", "v/a"),
        ("u", "w"),
        ("u/a/b/c/d", "u/d"),
        ("u/a/b/c/d", "u/a/b/c/renamed"),
        ("u/a/b", "u/a/renamed"),
        ("u/a/b", "u/n0/m/b"),
    ] {
        let (top, neighbours) = with_neighbours();
        let mut moves = 0;
        let all = seen(top.path(), &mut |path| {
            if path == "/u/a/b/c/d/e" && moves == 0 {
                fs::rename(top.path().join(moved), top.path().join(to)).unwrap();
                moves += 1;
            }
        });
        assert_eq!(moves, 1);
        let stays = |path: &&String| !path.starts_with(&format!("/{moved}/"));
        for path in neighbours.iter().filter(stays) {
            assert!(all.contains(path), "{moved} to {to}: {path}");
        }
    }
}

#[test]
fn what_stays_is_seen_although_directories_on_our_way_are_removed_and_made() {
    let (top, neighbours) = with_neighbours();
    let all = seen(top.path(), &mut |path| {
        if path.ends_with("/m") {
            let directory = top.path().join(path.trim_start_matches('/'));
            let parent = directory.parent().unwrap();
            fs::remove_dir(&directory).unwrap();
            fs::remove_dir(parent).unwrap();
            fs::create_dir_all(parent.with_extension("new")).unwrap();
        }
    });
    let missing: Vec<_> = neighbours.iter().filter(|it| !all.contains(it)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_link_put_in_the_place_of_a_directory_is_not_followed() {
    let outside = tree(&["secret"]);
    let top = tree(&["u/a/b"]);
    let all = seen(top.path(), &mut |path| {
        if path == "/u/a" || path == "/u" {
            let path = top.path().join(path.trim_start_matches('/'));
            fs::rename(&path, path.with_extension("old")).unwrap();
            symlink(outside.path(), &path).unwrap();
        }
    });
    assert!(!all.iter().any(|it| it.contains("secret")), "{all:?}");
}

#[test]
fn what_grows_ahead_of_us_for_ever_has_an_end() {
    let top = tree(&["u/0"]);
    let directory = fs::File::open(top.path()).unwrap();
    let device = fstat(&directory).unwrap().st_dev;
    let mut entries = 0;
    let mut visit = |entry: &Entry<'_>| {
        entries += 1;
        // Should it be without end: not until the host's memory is full.
        if entry.name == c"0" && entries < 50_000 {
            rustix::fs::mkdirat(entry.parent, c"0/0", Mode::RWXU).unwrap();
        }
        Ok(Next::Enter)
    };
    Walk::new("", device, 5_000, &mut Looks(&mut visit))
        .top(directory.as_fd())
        .unwrap();
    // Of each directory `.` and `..` count as well.
    assert!((1_000..5_000).contains(&entries), "{entries}");
    let kept = top.keep();
    let parent = fs::File::open(kept.parent().unwrap()).unwrap();
    let name = std::ffi::CString::new(kept.file_name().unwrap().as_encoded_bytes()).unwrap();
    crate::sys::remove::remove_tree(parent.as_fd(), &name).unwrap();
}

#[test]
fn who_has_used_up_what_is_his_costs_nobody_else_anything() {
    let top = tree(&["u/a", "v"]);
    let directory = fs::File::open(top.path()).unwrap();
    let stat = fstat(&directory).unwrap();
    for (spender, expected) in [(stat.st_uid, 2), (stat.st_uid.wrapping_add(1), 3)] {
        let mut entries = 0;
        let mut visit = |_: &Entry<'_>| {
            entries += 1;
            Ok(Next::Enter)
        };
        let mut looks = Looks(&mut visit);
        let mut walk = Walk::new("", stat.st_dev, 1_000, &mut looks);
        assert!(!walk.may_look(spender, 1_000));
        walk.top(directory.as_fd()).unwrap();
        assert_eq!(entries, expected);
    }
}
