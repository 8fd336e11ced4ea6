//! The registry on real file systems: small, full, read-only, and with rubbish in it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change, mount_remount};

use super::*;

const FILE: &str = KEPT.name;
const DAMAGED: &str = KEPT.damaged;

/// A folder that does not exist yet, in a directory that goes with the test.
struct Place {
    folder: String,
    _dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self {
            folder: format!("{}/dynuser", dir.path().display()),
            _dir: dir,
        }
    }

    /// One whose file says this already.
    fn with(content: impl AsRef<[u8]>) -> Self {
        let place = Self::new();
        fs::create_dir(&place.folder).expect("mkdir");
        fs::set_permissions(&place.folder, Permissions::from_mode(0o700)).expect("chmod");
        fs::write(place.path(FILE), content).expect("write");
        fs::set_permissions(place.path(FILE), Permissions::from_mode(0o600)).expect("chmod");
        place
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path(FILE)).expect("the file")
    }

    fn inode(&self) -> u64 {
        fs::metadata(self.path(FILE)).expect("the file").ino()
    }

    fn open(&self) -> Registry {
        Registry::open_in(&self.folder)
    }

    /// The names in the folder.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).expect("the folder");
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry.expect("an entry")))
            .collect();
        names.sort();
        names
    }
}

/// Does something in a mount namespace of its own, which goes with the thread.
fn in_own_namespace<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace: run the tests as root");
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            mount_change("/", private).expect("private mounts");
            act()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[track_caller]
fn assert_trouble(registry: &Registry, words: &str) {
    let trouble = registry.trouble().unwrap_or_default();
    assert!(
        trouble.contains(words),
        "{trouble:?} does not say {words:?}"
    );
}

fn name(name: &str) -> UserName {
    UserName::parse(name).expect("a user name")
}

fn uid(number: u32) -> Uid {
    Uid::new(number).expect("a UID")
}

#[test]
fn nothing_is_made_before_there_is_something_to_remember() {
    let place = Place::new();
    let mut registry = place.open();
    assert_eq!((registry.len(), registry.trouble()), (0, None));
    assert!(!Path::new(&place.folder).exists());
    registry.remember(&name("wuff"), uid(61200));
    assert_eq!(registry.trouble(), None);
    for (path, mode) in [(place.folder.clone(), 0o700), (place.path(FILE), 0o600)] {
        let found = fs::metadata(&path).expect("it").permissions().mode();
        assert_eq!(found & 0o7777, mode, "{path}");
    }
    assert!(place.text().starts_with("# "), "{}", place.text());
}

#[test]
fn the_next_generation_knows_what_the_last_one_knew() {
    let place = Place::new();
    let mut first = place.open();
    first.remember(&name("wuff"), uid(61200));
    first.remember(&name("miau"), uid(61201));
    first.remember(&name("wuff"), uid(61300));
    drop(first);
    let mut second = place.open();
    assert_eq!((second.len(), second.trouble()), (2, None));
    assert_eq!(second.remembered(&name("wuff")), Some(61300));
    assert_eq!(second.remembered(&name("miau")), Some(61201));
    assert_eq!(second.remembered(&name("nobody-yet")), None);
    assert!(second.belongs_to_another(uid(61300), &name("miau")));
    assert!(
        !second.belongs_to_another(uid(61200), &name("miau")),
        "was given up"
    );
    let before = place.text();
    second.remember(&name("wuff"), uid(61300));
    assert_eq!(place.text(), before, "no news, no line");
}

#[test]
fn something_new_is_one_line_more_and_nothing_else_is_touched() {
    let place = Place::new();
    let mut registry = place.open();
    registry.remember(&name("a"), uid(61200));
    let (before, inode) = (place.text(), place.inode());
    registry.remember(&name("b"), uid(61201));
    assert_eq!(place.text(), format!("{before}b 61201\n"));
    assert_eq!(place.inode(), inode);
}

#[test]
fn a_file_that_repeats_itself_is_written_anew_in_life_and_at_the_start() {
    let place = Place::new();
    let mut registry = place.open();
    for n in 0..1000 {
        registry.remember(&name("wuff"), uid(61200 + n));
    }
    assert!(place.text().lines().count() < 100, "{}", place.text());
    drop(registry);
    assert_eq!(place.open().remembered(&name("wuff")), Some(62199));

    let repeated = Place::with("wuff 61200\nwuff 61201\n".repeat(500));
    let registry = repeated.open();
    assert_eq!((registry.len(), registry.trouble()), (1, None));
    assert_eq!(repeated.text().lines().count(), 2);
    assert_eq!(repeated.names(), [FILE]);
}

#[test]
fn the_newest_8192_names_are_kept() {
    let place = Place::new();
    let mut registry = place.open();
    let who = |n: u32| name(&format!("n{n}"));
    for n in 0..20_000 {
        registry.remember(&who(n), uid(100_000 + n));
        // Somebody who comes again and again with the same number is no stranger.
        registry.remember(&name("steady"), uid(61200));
    }
    drop(registry);
    let registry = place.open();
    assert_eq!(registry.len(), MOST_NAMES);
    assert_eq!(registry.remembered(&name("steady")), Some(61200));
    assert_eq!(registry.remembered(&who(19_999)), Some(119_999));
    assert_eq!(registry.remembered(&who(0)), None);
    assert!(!registry.belongs_to_another(uid(100_000), &name("x")));
}

#[test]
fn a_torn_line_and_rubbish_are_skipped_told_and_kept() {
    let rubbish: Vec<u8> = (0..100_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for (content, names) in [
        (b"wuff 61200\nmiau 612".to_vec(), 1),
        (b"wuff 61200\n\0\0\0\0\0\0".to_vec(), 1),
        (b"wuff 61200\nwhat is this\nmiau 61201\n".to_vec(), 2),
        (rubbish, 0),
    ] {
        let place = Place::with(&content);
        let before = Registry::look_in(&place.folder);
        assert_eq!(
            fs::read(place.path(FILE)).expect("the file"),
            content,
            "looking changes nothing"
        );
        assert_trouble(&before, "damaged");
        let mut registry = place.open();
        assert_eq!(registry.len(), names);
        assert_trouble(&registry, "lines are skipped");
        assert_eq!(fs::read(place.path(DAMAGED)).expect("a copy"), content);
        registry.remember(&name("neu"), uid(61202));
        assert!(place.text().ends_with("neu 61202\n"), "{}", place.text());
        drop(registry);
        let next = place.open();
        assert_eq!((next.len(), next.trouble()), (names + 1, None), "told once");
        assert_eq!(place.names(), [FILE, DAMAGED]);
    }
}

#[test]
fn a_huge_file_is_set_aside_unread() {
    let place = Place::with("");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(place.path(FILE))
        .expect("open");
    file.set_len(1 << 40).expect("a hole of a tebibyte");
    let mut registry = place.open();
    assert_trouble(&registry, "too large");
    registry.remember(&name("wuff"), uid(61200));
    assert_eq!(place.open().remembered(&name("wuff")), Some(61200));
    assert_eq!(
        fs::metadata(place.path(DAMAGED)).expect("it").len(),
        1 << 40
    );
}

#[test]
fn what_somebody_else_could_change_is_neither_read_nor_written() {
    let folder_of_others = |mode: u32, owner: u32| {
        let place = Place::with("wuff 61200\n");
        fs::set_permissions(&place.folder, Permissions::from_mode(mode)).expect("chmod");
        chown(&place.folder, Some(owner), None).expect("chown: run the tests as root");
        place
    };
    let file_of_others = |mode: u32, owner: u32| {
        let place = Place::with("wuff 61200\n");
        fs::set_permissions(place.path(FILE), Permissions::from_mode(mode)).expect("chmod");
        chown(place.path(FILE), Some(owner), None).expect("chown");
        place
    };
    let linked = Place::with("");
    fs::rename(linked.path(FILE), linked.path("real")).expect("rename");
    fs::write(linked.path("real"), "wuff 61200\n").expect("write");
    symlink("real", linked.path(FILE)).expect("symlink");
    for place in [
        folder_of_others(0o770, 0),
        folder_of_others(0o700, 61300),
        file_of_others(0o606, 0),
        file_of_others(0o600, 61300),
        linked,
    ] {
        let mut registry = place.open();
        assert_eq!(registry.remembered(&name("wuff")), None);
        assert_trouble(&registry, "cannot be used");
        for n in 0..200 {
            registry.remember(&name("wuff"), uid(61201 + n));
        }
        assert_eq!(registry.remembered(&name("wuff")), Some(61400), "in memory");
        assert_eq!(place.text(), "wuff 61200\n");
    }
    // A FIFO or a directory in its place holds nobody up.
    let place = Place::with("");
    fs::remove_file(place.path(FILE)).expect("unlink");
    fs::create_dir(place.path(FILE)).expect("mkdir");
    assert!(place.open().trouble().is_some());
    fs::remove_dir(place.path(FILE)).expect("rmdir");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, place.path(FILE), fifo, 0o600.into(), 0).expect("mkfifo");
    assert!(place.open().trouble().is_some());
}

#[test]
fn a_read_only_file_system_is_told_and_everything_goes_on() {
    in_own_namespace(|| {
        let place = Place::with("wuff 61200\n");
        mount_tmpfs(&place.folder, "mode=700");
        fs::write(place.path(FILE), "wuff 61200\nmiau 612").expect("write");
        remount(&place.folder, MountFlags::RDONLY);
        let mut registry = place.open();
        assert_eq!(registry.remembered(&name("wuff")), Some(61200));
        assert_trouble(&registry, "Read-only");
        for n in 0..200 {
            registry.remember(&name("wuff"), uid(61201 + n));
        }
        assert_eq!(registry.remembered(&name("wuff")), Some(61400));
        assert_eq!(place.text(), "wuff 61200\nmiau 612");
        // Once it can be written again, it is.
        remount(&place.folder, MountFlags::empty());
        registry.remember(&name("miau"), uid(61500));
        assert_trouble(&registry, "damaged");
        drop(registry);
        let next = place.open();
        assert_eq!(next.remembered(&name("miau")), Some(61500));
        assert_eq!(next.remembered(&name("wuff")), Some(61400));
    });
}

#[test]
fn a_full_disk_in_the_middle_of_a_line_leaves_the_file_as_it_was() {
    in_own_namespace(|| {
        let place = Place::with("");
        mount_tmpfs(&place.folder, "mode=700,size=16k");
        // tmpfs gives out pages: this file ends six bytes before the end of its page.
        let mut content = String::from("wuff 61200\n");
        content.push_str(&"#".repeat(4096 - 7 - content.len()));
        content.push('\n');
        assert_eq!(content.len(), 4096 - 6);
        fs::write(place.path(FILE), &content).expect("write");
        let filler = place.path("filler");
        let full = fs::write(&filler, [0_u8; 64 * 1024]).expect_err("a full disk");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        let mut registry = place.open();
        registry.remember(&name("miau"), uid(61201));
        registry.remember(&name("wuff"), uid(61202));
        assert_eq!(place.text(), content, "no half of a line");
        assert_trouble(&registry, "No space");
        assert_eq!(registry.remembered(&name("miau")), Some(61201));
        // What could not be written is written with the next.
        fs::remove_file(&filler).expect("unlink");
        registry.remember(&name("neu"), uid(61203));
        assert_eq!(registry.trouble(), None);
        assert_eq!(
            place.text(),
            format!("{content}miau 61201\nwuff 61202\nneu 61203\n")
        );
    });
}

#[test]
fn a_full_disk_stops_no_compaction_halfway() {
    in_own_namespace(|| {
        let place = Place::with("");
        mount_tmpfs(&place.folder, "mode=700,size=64k");
        let content = "wuff 61200\n".repeat(500);
        fs::write(place.path(FILE), &content).expect("write");
        fs::write(place.path("filler"), [0_u8; 128 * 1024]).expect_err("a full disk");
        let registry = place.open();
        assert_eq!(registry.remembered(&name("wuff")), Some(61200));
        assert_trouble(&registry, "No space");
        assert_eq!(place.text(), content);
        assert_eq!(place.names(), ["filler", FILE]);
    });
}

#[test]
fn a_torn_line_that_cannot_be_repaired_stays_alone() {
    in_own_namespace(|| {
        let place = Place::with("");
        mount_tmpfs(&place.folder, "mode=700,nr_inodes=2");
        // No inode is left for a copy or a new file, but the old one can grow.
        fs::write(place.path(FILE), "wuff 61200\nmiau 612").expect("write");
        let mut registry = place.open();
        registry.remember(&name("neu"), uid(61203));
        assert_eq!(place.text(), "wuff 61200\nmiau 612 ?\nneu 61203\n");
        let next = place.open();
        assert_eq!(next.remembered(&name("miau")), None);
        assert_eq!(next.remembered(&name("neu")), Some(61203));
    });
}

#[test]
fn a_file_that_was_removed_comes_back_whole() {
    let place = Place::new();
    let mut registry = place.open();
    registry.remember(&name("a"), uid(61200));
    fs::remove_dir_all(&place.folder).expect("rm -r");
    registry.remember(&name("b"), uid(61201));
    assert_eq!(registry.trouble(), None);
    assert_eq!(place.open().remembered(&name("a")), Some(61200));
}

fn mount_tmpfs(path: &str, options: &str) {
    let options = std::ffi::CString::new(options).expect("options");
    mount(
        "tmpfs",
        path,
        "tmpfs",
        MountFlags::empty(),
        Some(options.as_c_str()),
    )
    .expect("tmpfs");
}

fn remount(path: &str, flags: MountFlags) {
    mount_remount(path, flags, "").expect("remount");
}
