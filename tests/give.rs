//! A tree is given to another owner, whoever built it (src/sys/give.rs). After each attack the victim is looked at.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dynuser::sys::SysResult;
use dynuser::sys::give::{Given, Ids, count_entries, give_tree};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, XattrFlags, inotify, mknodat, renameat_with};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};

const OLD: Ids = both(61_301);
const NEW: Ids = both(61_302);
const OTHER: Ids = both(61_303);

/// Makes a child give the tree of this path, and stop in the middle.
const CHILD: &str = "DYNUSER_GIVE_AND_STOP";

const fn both(id: u32) -> Ids {
    Ids { uid: id, gid: id }
}

/// A tree of the old owner, beside a directory of root with the victims.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self::on("/dev/shm")
    }

    fn on(place: &str) -> Self {
        let tree = Self(tempfile::tempdir_in(place).unwrap());
        fs::create_dir(tree.top()).unwrap();
        fs::create_dir(tree.outside()).unwrap();
        own(&tree.top(), OLD);
        tree
    }

    fn top(&self) -> PathBuf {
        self.0.path().join("top")
    }

    fn outside(&self) -> PathBuf {
        self.0.path().join("outside")
    }

    fn directory(&self, path: &str) -> PathBuf {
        let path = self.top().join(path);
        fs::create_dir(&path).unwrap();
        own(&path, OLD);
        path
    }

    fn file(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.top().join(path);
        fs::write(&path, "mine").unwrap();
        own(&path, OLD);
        path
    }

    fn victim(&self, owner: Ids) -> PathBuf {
        let path = self.outside().join(format!("victim{}", owner.uid));
        fs::write(&path, "precious").unwrap();
        own(&path, owner);
        path
    }

    fn give(&self) -> Given {
        self.try_give(&[OLD]).unwrap()
    }

    fn try_give(&self, from: &[Ids]) -> SysResult<Given> {
        give_tree(
            File::open(self.top()).unwrap().as_fd(),
            "/t",
            from,
            NEW,
            &|_| (),
        )
    }
}

/// What is mounted in it would keep its directories on the host.
impl Drop for Tree {
    fn drop(&mut self) {
        for place in ["top/tmpfs", "top/bind", "top/file", "again"] {
            let _none = unmount(self.0.path().join(place), UnmountFlags::DETACH);
        }
    }
}

/// Stops another thread, however this one ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A process that goes with its test, however that ends.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _dead = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn own(path: &Path, owner: Ids) {
    lchown(path, Some(owner.uid), Some(owner.gid)).unwrap();
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.gid())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn run(program: &str, words: &[&OsStr]) -> String {
    let output = Command::new(program).args(words).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const IS: (u32, u32) = (NEW.uid, NEW.gid);
const OTHERS: (u32, u32) = (OTHER.uid, OTHER.gid);
const WAS: (u32, u32) = (OLD.uid, OLD.gid);

#[test]
fn links_are_given_and_not_what_they_lead_to() {
    let tree = Tree::new();
    let victim = tree.victim(both(0));
    let theirs = tree.victim(OLD);
    for directory in ["", "a", "a/b", "a/b/c"] {
        if !directory.is_empty() {
            tree.directory(directory);
        }
        for (name, target) in [
            ("root", &victim),
            ("directory", &tree.outside()),
            ("old", &theirs),
        ] {
            let link = tree.top().join(directory).join(name);
            symlink(target, &link).unwrap();
            own(&link, OLD);
        }
    }
    let given = tree.give();
    assert_eq!((given.given, given.left), (16, 0), "{given:?}");
    assert_eq!(owner(&victim), (0, 0));
    assert_eq!(owner(tree.outside()), (0, 0));
    assert_eq!(owner(&theirs), WAS);
    assert_eq!(owner(tree.top().join("a/b/c/root")), IS);
}

#[test]
fn files_with_a_name_outside_or_of_others_are_left_and_named() {
    let tree = Tree::new();
    let victim = tree.victim(both(0));
    let theirs = tree.victim(OLD);
    tree.directory("a");
    fs::hard_link(&victim, tree.top().join("a/root")).unwrap();
    fs::hard_link(&theirs, tree.top().join("a/elsewhere")).unwrap();
    fs::hard_link(&theirs, tree.top().join("elsewhere")).unwrap();
    let inside = tree.file("a/one");
    fs::hard_link(&inside, tree.top().join("two")).unwrap();
    // What is another's, and what is the old owner's in it.
    let foreign = tree.directory("foreign");
    own(&foreign, both(0));
    let in_foreign = tree.file("foreign/file");
    let given = tree.give();
    assert_eq!(owner(&victim), (0, 0));
    assert_eq!(owner(&theirs), WAS);
    assert_eq!(owner(&inside), IS);
    assert_eq!(owner(&foreign), (0, 0));
    assert_eq!(owner(&in_foreign), IS);
    assert_eq!((given.given, given.left), (4, 4), "{given:?}");
    let mut examples = given.examples;
    examples.sort();
    assert_eq!(
        examples,
        [
            "/t/a/elsewhere: may have another name outside",
            "/t/a/root: belongs to user 0",
            "/t/elsewhere: may have another name outside",
            "/t/foreign: belongs to user 0",
        ]
    );
}

/// `security.capability` as setcap(8) writes it: cap_net_raw, permitted and effective.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn set_id_bits_and_capabilities_do_not_come_along() {
    for place in ["/dev/shm", env!("CARGO_TARGET_TMPDIR")] {
        let tree = Tree::on(place);
        let modes = [
            ("suid", 0o4755, 0o755),
            ("sgid", 0o2755, 0o755),
            ("sgid-without-x", 0o2644, 0o644),
            ("both", 0o6711, 0o711),
            ("none", 0o640, 0o640),
        ];
        for (name, before, _) in modes {
            set_mode(&tree.file(name), before);
            // Of a group that is none of the old owner's, too.
            let other = tree.file(format!("{name}-group"));
            chown(&other, None, Some(OTHER.gid)).unwrap();
            set_mode(&other, before);
        }
        set_mode(&tree.directory("directory"), 0o7777);
        set_mode(&tree.top(), 0o6750);
        let capable = tree.file("capable");
        let attribute = "security.capability";
        rustix::fs::setxattr(&capable, attribute, &CAPABILITY, XattrFlags::CREATE).unwrap();
        let given = tree.give();
        assert_eq!((given.given, given.left), (13, 0), "{given:?}");
        for (name, _, after) in modes {
            let path = tree.top().join(name);
            assert_eq!((owner(&path), mode(&path)), (IS, after), "{name}");
            let path = tree.top().join(format!("{name}-group"));
            assert_eq!(
                (owner(&path), mode(&path)),
                ((NEW.uid, OTHER.gid), after),
                "{name}"
            );
        }
        assert_eq!(mode(&tree.top().join("directory")), 0o1777);
        assert_eq!((owner(tree.top()), mode(&tree.top())), (IS, 0o750));
        let mut value = [0_u8; 64];
        let left = rustix::fs::getxattr(&capable, attribute, value.as_mut_slice());
        assert_eq!(left, Err(Errno::NODATA));
    }
}

#[test]
fn sockets_and_fifos_are_given_without_being_opened_and_devices_are_left() {
    let tree = Tree::new();
    let make = |name: &str, kind, device| {
        let path = tree.top().join(name);
        mknodat(CWD, &path, kind, Mode::RWXU, device).unwrap();
        own(&path, OLD);
        path
    };
    let fifo = make("fifo", FileType::Fifo, 0);
    let null = make("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    // A device that nothing answers for: opening it fails.
    let none = make("none", FileType::BlockDevice, rustix::fs::makedev(250, 77));
    let socket = tree.top().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    own(&socket, OLD);
    let given = tree.give();
    assert_eq!((given.given, given.left), (3, 2), "{given:?}");
    assert_eq!((owner(&fifo), owner(&socket)), (IS, IS));
    assert_eq!((owner(&null), owner(&none)), (WAS, WAS));
    assert!(fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo());
    // At the top nothing but a directory will do.
    for path in [&fifo, &tree.top().join("null")] {
        let top = File::options().read(true).write(true).open(path).unwrap();
        let refused = give_tree(top.as_fd(), "/t", &[OLD], NEW, &|_| ());
        assert_eq!(refused.unwrap_err().errno, Errno::NOTDIR);
    }
}

#[test]
fn what_is_mounted_inside_is_left_and_named_and_what_cannot_be_changed_ends_it() {
    // Of this thread alone, and of those that it starts.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
    let tree = Tree::new();
    let victim = tree.victim(OLD);
    for name in ["tmpfs", "bind"] {
        tree.directory(name);
    }
    let tmpfs = tree.top().join("tmpfs");
    mount("tmpfs", &tmpfs, "tmpfs", MountFlags::empty(), None).unwrap();
    let in_tmpfs = tree.file("tmpfs/file");
    // The same file system: its device number tells nothing.
    mount_bind(tree.outside(), tree.top().join("bind")).unwrap();
    mount_bind(&victim, tree.file("file")).unwrap();
    let given = tree.give();
    assert_eq!((given.given, given.left), (1, 3), "{given:?}");
    assert_eq!(owner(&victim), WAS);
    assert_eq!(owner(&in_tmpfs), WAS);
    assert_eq!(owner(tree.outside()), (0, 0));
    assert_eq!(owner(tree.top()), IS);

    let tree = Tree::new();
    let fixed = tree.file("fixed");
    tree.file("other");
    run("chattr", &["+i".as_ref(), fixed.as_os_str()]);
    let refused = tree.try_give(&[OLD]);
    // Otherwise it would stay on the host, should this fail.
    run("chattr", &["-i".as_ref(), fixed.as_os_str()]);
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.subject.as_str(), refused.errno),
        ("/t/fixed", Errno::PERM)
    );
    assert_eq!(owner(tree.top()), WAS);

    let again = tree.0.path().join("again");
    fs::create_dir(&again).unwrap();
    mount_bind(tree.top(), &again).unwrap();
    run(
        "mount",
        &["-o".as_ref(), "remount,bind,ro".as_ref(), again.as_os_str()],
    );
    let top = File::open(&again).unwrap();
    let refused = give_tree(top.as_fd(), "/t", &[OLD], NEW, &|_| ()).unwrap_err();
    assert_eq!(refused.errno, Errno::ROFS);
    assert!(refused.subject.starts_with("/t"), "{refused}");
    assert_eq!(owner(tree.top()), WAS);
}

#[test]
fn any_names_are_given() {
    let tree = Tree::new();
    let long = [b'\xff'; 255];
    let names: [&[u8]; 5] = [b"new\nline", b"\xc3\x28", &long, b"-rf", b"\x1b[2J"];
    for name in names {
        tree.file(OsStr::from_bytes(name));
    }
    let mut deep = tree.top();
    for _ in 0..20 {
        deep.push(OsStr::from_bytes(&[b'd'; 255]));
        // Longer than any path may be, made one by one.
        if deep.as_os_str().len() < 3_800 {
            fs::create_dir(&deep).unwrap();
            own(&deep, OLD);
        }
    }
    fs::hard_link(
        tree.top().join("new\nline"),
        tree.outside().join("elsewhere"),
    )
    .unwrap();
    let given = tree.give();
    assert_eq!(
        given.examples,
        ["/t/new\\nline: may have another name outside"]
    );
    for name in &names[1..] {
        assert_eq!(owner(tree.top().join(OsStr::from_bytes(name))), IS);
    }
}

#[test]
fn a_hundred_thousand_directories_deep() {
    const DEPTH: u64 = 100_000;
    let tree = Tree::new();
    let mut here = File::open(tree.top()).unwrap();
    for _ in 0..DEPTH {
        rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
        here = rustix::fs::openat(&here, "d", flags, Mode::empty())
            .unwrap()
            .into();
        dynuser::sys::fs::set_owner(&here, OLD.uid, OLD.gid).unwrap();
    }
    let given = tree.give();
    assert_eq!((given.given, given.left), (DEPTH + 1, 0), "{given:?}");
    assert_eq!(dynuser::sys::fs::status(&here).unwrap().uid, NEW.uid);
    let top = File::open(tree.0.path()).unwrap();
    dynuser::sys::remove::remove_tree(top.as_fd(), c"top").unwrap();
}

#[test]
fn what_is_put_under_a_name_meanwhile_is_never_given() {
    const TRIES: u64 = 2_000;
    let tree = Tree::new();
    let victim = tree.victim(both(0));
    set_mode(&victim, 0o666);
    let place = tree.directory("place");
    set_mode(&place, 0o777);
    let mine = tree.file("place/mine");
    let lure = tree.file("place/lure");
    let spare = place.join("spare");
    fs::hard_link(&victim, place.join("theirs")).unwrap();
    // Of the old owner, and yet no part of the tree.
    let house = tree.outside().join("house");
    fs::create_dir(&house).unwrap();
    let kept = house.join("kept");
    fs::write(&kept, "").unwrap();
    for path in [&house, &kept] {
        own(path, OTHER);
    }
    fs::hard_link(&kept, place.join("kept")).unwrap();
    let directory = tree.directory("place/directory");
    tree.file("place/directory/kept");
    symlink(&house, place.join("way")).unwrap();
    symlink(&victim, place.join("link")).unwrap();
    let stop = AtomicBool::new(false);
    let swaps = AtomicU64::new(0);
    thread::scope(|scope| {
        // What the old owner could do in a directory that is open to all, and more: it is root that swaps.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (one, name) in [
                    (&mine, "theirs"),
                    (&mine, "kept"),
                    (&mine, "link"),
                    (&directory, "way"),
                ] {
                    let swap = RenameFlags::EXCHANGE;
                    renameat_with(CWD, one, CWD, place.join(name), swap).unwrap();
                    renameat_with(CWD, one, CWD, place.join(name), swap).unwrap();
                }
                fs::rename(&lure, &spare).unwrap();
                fs::rename(&spare, &lure).unwrap();
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Who fails does not wait for ever.
        let _stop = Stop(&stop);
        for _ in 0..TRIES {
            for (from, to) in [(OLD, NEW), (NEW, OLD)] {
                let top = File::open(tree.top()).unwrap();
                give_tree(top.as_fd(), "/t", &[from, OTHER], to, &|_| ()).unwrap();
                assert_eq!(owner(&victim), (0, 0));
                assert_eq!((owner(&house), owner(&kept)), (OTHERS, OTHERS));
            }
        }
    });
    assert!(swaps.into_inner() > TRIES);
}

#[test]
fn names_in_a_directory_that_others_can_change_prove_nothing() {
    // Whoever can move a name while the names are counted shows one twice, and has one elsewhere.
    for place in ["/dev/shm", env!("CARGO_TARGET_TMPDIR")] {
        let tree = Tree::on(place);
        let with = |name: &str, mode: u32| {
            let directory = tree.directory(name);
            set_mode(&directory, mode);
            let one = tree.file(format!("{name}/one"));
            fs::hard_link(&one, directory.join("two")).unwrap();
            (directory, one)
        };
        let (_, closed) = with("closed", 0o755);
        let (_, own_group) = with("own-group", 0o770);
        let (_, all) = with("all", 0o757);
        let (directory, group) = with("group", 0o770);
        chown(&directory, None, Some(OTHER.gid)).unwrap();
        let (directory, list) = with("list", 0o750);
        let entry = format!("u:{}:rwx", OTHER.uid);
        let words = ["-m".as_ref(), entry.as_ref(), directory.as_os_str()];
        run("setfacl", &words);
        let given = tree.give();
        for file in [&closed, &own_group] {
            assert_eq!(owner(file), IS, "{}", file.display());
        }
        for file in [&all, &group, &list] {
            assert_eq!(owner(file), WAS, "{}", file.display());
        }
        assert_eq!((given.given, given.left), (8, 6), "{given:?}");
    }
}

#[test]
fn nothing_is_opened_in_a_directory_that_others_can_change() {
    // They could put there what an open(2) does something to: a device, a file with a lease.
    let tree = Tree::new();
    let events = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    let mut files = Vec::new();
    for (name, mode) in [("all", 0o777), ("group", 0o770)] {
        let directory = tree.directory(name);
        set_mode(&directory, mode);
        chown(&directory, None, Some(OTHER.gid)).unwrap();
        files.push(tree.file(format!("{name}/file")));
    }
    let watch = |file: &PathBuf| {
        inotify::add_watch(&events, file, inotify::WatchFlags::OPEN).unwrap();
    };
    files.iter().for_each(watch);
    let given = tree.give();
    assert_eq!((given.given, given.left), (5, 0), "{given:?}");
    let mut event = [0_u8; 512];
    let opened = rustix::io::read(&events, &mut event);
    assert_eq!(opened, Err(Errno::AGAIN), "one was opened");
    // And the watch sees what is opened.
    File::open(files.first().unwrap()).unwrap();
    assert!(rustix::io::read(&events, &mut event).is_ok());
}

#[test]
fn set_id_bits_that_the_old_owner_sets_meanwhile_do_not_come_along() {
    /// Rounds in which he set them before it was given; in most of these he sets them meanwhile, too.
    const ROUNDS: u32 = 30;
    let tree = Tree::new();
    let directory = tree.directory("directory");
    let sets = "import os
print('up', flush=True)
while True:
    try: os.fchmod(3, 0o6777)
    except PermissionError: pass";
    let (uid, gid) = (OLD.uid.to_string(), OLD.gid.to_string());
    let old_owner = Command::new("setpriv")
        .args(["--reuid", &uid, "--regid", &gid, "--clear-groups"])
        // Python wants no directory for its input.
        .args([
            "sh",
            "-c",
            "exec /usr/bin/python3 -I -c \"$0\" 3<&0 </dev/null",
        ])
        .arg(sets)
        .stdin(File::open(&directory).unwrap())
        .stdout(Stdio::piped())
        .spawn();
    let mut old_owner = Ends(old_owner.unwrap());
    let mut line = String::new();
    let mut said = BufReader::new(old_owner.0.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < ROUNDS {
        for path in [&directory, &tree.top()] {
            own(path, OLD);
        }
        rounds += u32::from(mode(&directory) & 0o6000 != 0);
        tree.give();
        assert_eq!(mode(&directory) & 0o6000, 0);
        assert!(start.elapsed() < Duration::from_secs(60), "nothing is set");
    }
    assert_eq!(owner(&directory), IS);
}

#[test]
fn lists_name_the_new_owner_where_they_named_the_old_one() {
    for place in ["/dev/shm", env!("CARGO_TARGET_TMPDIR")] {
        let tree = Tree::on(place);
        let file = tree.file("file");
        let directory = tree.directory("directory");
        let [old, new, other] = [OLD, NEW, OTHER].map(|ids| ids.uid);
        let list = |path: &Path, list: String| {
            run("setfacl", &["-m".as_ref(), list.as_ref(), path.as_os_str()]);
        };
        list(
            &file,
            format!("u:{old}:r,u:{new}:w,u:{other}:rx,g:{old}:x,g:{other}:w"),
        );
        list(
            &directory,
            format!("u:{old}:rwx,d:u:{old}:rw,d:g:{old}:r,d:u:{other}:r"),
        );
        list(&tree.top(), format!("u:{old}:x,d:u:{old}:rw"));
        let get = |path: &Path| {
            run(
                "getfacl",
                &["-ncp".as_ref(), "--omit-header".as_ref(), path.as_os_str()],
            )
        };
        let given = tree.give();
        assert_eq!((given.given, given.left), (3, 0), "{given:?}");
        assert_eq!(
            get(&file),
            format!(
                "user::rw-\nuser:{new}:rw-\nuser:{other}:r-x\ngroup::r--\n\
                 group:{new}:--x\ngroup:{other}:-w-\nmask::rwx\nother::r--\n\n"
            )
        );
        assert_eq!(
            get(&directory),
            format!(
                "user::rwx\nuser:{new}:rwx\ngroup::r-x\nmask::rwx\nother::r-x\n\
                 default:user::rwx\ndefault:user:{new}:rw-\ndefault:user:{other}:r--\n\
                 default:group::r-x\ndefault:group:{new}:r--\ndefault:mask::rwx\ndefault:other::r-x\n\n"
            )
        );
        assert!(get(&tree.top()).contains(&format!("default:user:{new}:rw-")));
        assert!(!get(&tree.top()).contains(&old.to_string()));
        // What an earlier run gave, but did not come to finish.
        for path in [&file, &directory] {
            list(path, format!("u:{old}:r"));
        }
        list(&directory, format!("d:u:{old}:r"));
        own(&tree.top(), OLD);
        tree.give();
        for path in [&file, &directory] {
            assert!(!get(path).contains(&old.to_string()), "{}", get(path));
        }
    }
}

#[test]
fn owners_of_several_interrupted_runs_are_all_old_ones() {
    let tree = Tree::new();
    let [one, two, three] = ["1", "2", "3"].map(|name| tree.file(name));
    own(&two, OTHER);
    own(&three, NEW);
    let mixed = tree.file("4");
    lchown(&mixed, Some(OLD.uid), Some(0)).unwrap();
    let given = tree.try_give(&[OLD, OTHER]).unwrap();
    assert_eq!((given.given, given.left), (4, 0), "{given:?}");
    for path in [one, two, three] {
        assert_eq!(owner(&path), IS);
    }
    assert_eq!(owner(&mixed), (NEW.uid, 0));
    // Now nothing is to be done.
    assert_eq!(tree.give(), Given::default());
    // A top of somebody else stays his.
    own(&tree.top(), both(0));
    assert_eq!(tree.give().examples, ["/t: belongs to user 0"]);
}

#[test]
fn what_was_interrupted_is_finished_by_the_next_run() {
    const FILES: u64 = 20_000;
    if let Some(top) = std::env::var_os(CHILD) {
        let top = File::open(top).unwrap();
        let stop = |looked: u64| {
            if looked > FILES / 2 {
                println!("\nhalf");
                loop {
                    thread::park();
                }
            }
        };
        give_tree(top.as_fd(), "/t", &[OLD], NEW, &stop).unwrap();
        panic!("it came to its end");
    }
    let tree = Tree::new();
    for directory in 0..FILES / 1_000 {
        tree.directory(&format!("{directory}"));
        for file in 0..1_000 {
            tree.file(format!("{directory}/{file}"));
        }
    }
    let all = || -> Vec<(u32, u32)> {
        let directories = fs::read_dir(tree.top()).unwrap();
        let paths = directories.map(|entry| entry.unwrap().path());
        paths
            .flat_map(|path| {
                fs::read_dir(&path)
                    .unwrap()
                    .map(|it| owner(it.unwrap().path()))
            })
            .collect()
    };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "what_was_interrupted_is_finished_by_the_next_run",
            "--nocapture",
        ])
        .env(CHILD, tree.top())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "half"));
    child.kill().unwrap();
    child.wait().unwrap();
    let now = all();
    assert!(
        now.contains(&IS) && now.contains(&WAS),
        "it was in the middle"
    );
    assert_eq!(owner(tree.top()), WAS, "the top tells that it is not done");
    let given = tree.give();
    let before = now.iter().filter(|owner| **owner == IS).count();
    assert!(given.given < FILES + 22 - u64::try_from(before).unwrap());
    assert_eq!(given.left, 0);
    assert!(all().iter().all(|owner| *owner == IS));
    assert_eq!(owner(tree.top()), IS);
}

#[test]
fn entries_are_counted_and_counting_can_be_stopped() {
    let tree = Tree::new();
    tree.directory("a");
    for file in 0..100 {
        tree.file(format!("a/{file}"));
    }
    symlink("/", tree.top().join("a/link")).unwrap();
    let top = File::open(tree.top()).unwrap();
    let count = |stop| count_entries(top.as_fd(), "/t", &AtomicBool::new(stop)).unwrap();
    assert_eq!((count(false), count(true)), (102, 1));
    let heard = AtomicU64::new(0);
    give_tree(top.as_fd(), "/t", &[OLD], NEW, &|looked| {
        heard.fetch_max(looked, Ordering::Relaxed);
    })
    .unwrap();
    assert_eq!(heard.into_inner(), 102);
}
