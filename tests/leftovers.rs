//! Processes, IPC objects and keys of a UID: found, removed, not found; those of others untouched.
//!
//! Needs root, util-linux and a C compiler. Each test runs again inside PID, IPC and mount namespaces of its own,
//! so that nothing of the host is found or ended. What cannot run fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs};

use dynuser::sys::{child, ending, identity, ipc::Ipc, keyring, process, remove};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, RenameFlags, Uid, chownat, openat, renameat_with, statat,
};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, pidfd_open, setrlimit};

const ID: u32 = 61200;
const OTHER: u32 = 61201;
const INSIDE: &str = "DYNUSER_TEST_INSIDE";

/// True inside the namespaces; outside, runs the test `name` inside and is false.
fn inside(name: &str) -> bool {
    run_inside(name, Command::new("unshare"))
}

/// The same in a user namespace like a container's: 65,536 numbers. Its keyrings end with it.
fn inside_container(name: &str) -> bool {
    let mut command = Command::new(maker());
    command.args(["0", "container", "unshare"]);
    run_inside(name, command)
}

fn run_inside(name: &str, mut command: Command) -> bool {
    if env::var_os(INSIDE).is_some() {
        mount_tmpfs("/dev/shm", "mode=1777");
        return true;
    }
    let status = command
        .args([
            "--mount",
            "--pid",
            "--ipc",
            "--fork",
            "--mount-proc",
            "--kill-child",
        ])
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env("DYNUSER_TEST_MAKER", maker())
        .status()
        .expect("unshare");
    assert!(status.success(), "{name} failed inside its namespaces");
    false
}

/// The helper that makes things as another user.
fn maker() -> PathBuf {
    static MAKER: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = env::var_os("DYNUSER_TEST_MAKER") {
        return path.into();
    }
    let build = || {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/leftovers/maker.c");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dynuser-maker");
        let fresh = program.with_extension(std::process::id().to_string());
        let status = Command::new("cc")
            .args(["-O1", "-w", "-pthread", "-o"])
            .args([&fresh, &source])
            .arg("-lrt")
            .status();
        assert!(status.expect("a C compiler").success());
        fs::rename(&fresh, &program).unwrap();
        program
    };
    MAKER.get_or_init(build).clone()
}

fn start(uid: u32, words: &[&str]) -> Child {
    let mut child = Command::new(maker())
        .arg(uid.to_string())
        .args(words)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n", "maker {uid} {words:?}");
    child
}

fn make(uid: u32, words: &[&str]) -> String {
    let output = Command::new(maker())
        .arg(uid.to_string())
        .args(words)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "maker {uid} {words:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn pids(id: u32) -> Vec<u32> {
    let found = process::holding(id).unwrap();
    found.into_iter().map(|it| it.pid).collect()
}

/// Waits until nobody carries `id`: what was killed still has to end.
fn nobody_left(id: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !pids(id).is_empty() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

fn alive(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_none()
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn every_process_of_the_uid_is_found_and_ended_and_no_other() {
    if !inside("every_process_of_the_uid_is_found_and_ended_and_no_other") {
        return;
    }
    let (mut other, mut root) = (start(OTHER, &["plain"]), start(0, &["plain"]));
    assert_eq!(pids(ID), Vec::<u32>::new());
    for kind in [
        "plain",
        "nodump",
        "userns",
        "pidns",
        "suid",
        "daemon",
        "deaf",
        "leaderless",
        "bomb",
    ] {
        let child = start(ID, &[kind]);
        let found = process::holding(ID).unwrap();
        assert!(!found.is_empty(), "{kind} is not found");
        assert!(found[0].name.starts_with("dynuser-maker"), "{found:?}");
        ending::end_all(ID, Signal::KILL).unwrap();
        assert!(nobody_left(ID), "{kind} lives on");
        end(child);
    }
    assert!(alive(&mut other) && alive(&mut root));
    assert_eq!(pids(OTHER), [other.id()]);
    end(other);
    end(root);
}

#[test]
fn what_cannot_be_reached_by_kill_is_still_found() {
    if !inside("what_cannot_be_reached_by_kill_is_still_found") {
        return;
    }
    for kind in ["euid", "gid", "thread"] {
        let mut child = start(ID, &[kind]);
        ending::end_all(ID, Signal::KILL).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert!(alive(&mut child), "{kind}");
        assert_eq!(pids(ID), [child.id()], "{kind}");
        end(child);
        assert!(pids(ID).is_empty());
    }
    let child = start(ID, &["groups"]);
    assert!(pids(ID).is_empty());
    assert_eq!(process::sharing_group(ID).unwrap()[0].pid, child.id());
    assert!(process::sharing_group(OTHER).unwrap().is_empty());
    end(child);
}

#[test]
fn a_zombie_is_not_a_process() {
    if !inside("a_zombie_is_not_a_process") {
        return;
    }
    let parent = start(ID, &["zombie"]);
    let statuses = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path().join("status")).ok());
    let zombie = |status: &String| status.contains("State:\tZ") && status.contains("Uid:\t61200");
    assert_eq!(statuses.filter(zombie).count(), 1, "the test has made one");
    assert!(pids(ID).is_empty());
    end(parent);
}

#[test]
fn the_killer_is_out_of_reach_of_its_victims() {
    if !inside("the_killer_is_out_of_reach_of_its_victims") {
        return;
    }
    let mut hunter = start(ID, &["hunter"]);
    for _ in 0..300 {
        ending::end_all(ID, Signal::WINCH).expect("a hunter has got the child");
    }
    // Without the disguise the child is at their mercy: this is what the test would show.
    let caught = (0..300).any(|_| {
        let credentials = child::Credentials::owner(ID).unwrap();
        let spin =
            |(): &()| (0..20_000).for_each(|_| assert!(!rustix::process::getpid().is_init()));
        child::run(credentials, spin, &()).is_err()
    });
    assert!(caught, "the hunters do not hunt");
    ending::end_all(ID, Signal::KILL).unwrap();
    assert!(nobody_left(ID));
    hunter.wait().unwrap();
}

#[test]
fn nobody_is_ended_by_a_uid_that_is_none_or_in_use_as_a_disguise() {
    if !inside("nobody_is_ended_by_a_uid_that_is_none_or_in_use_as_a_disguise") {
        return;
    }
    for uid in [0, u32::MAX] {
        assert!(ending::end_all(uid, Signal::KILL).is_err());
        assert!(keyring::clear(uid).is_err());
    }
    // Strangers live on, and as long as one of the two UIDs is free it is used.
    let mut first = start(4_294_967_294, &["plain"]);
    let victim = start(ID, &["plain"]);
    ending::end_all(ID, Signal::KILL).unwrap();
    assert!(nobody_left(ID) && alive(&mut first));
    drop(victim);
    let mut second = start(65535, &["suid"]);
    let mut spared = start(ID, &["plain"]);
    let refusal = ending::end_all(ID, Signal::KILL).unwrap_err();
    assert_eq!(refusal.errno, rustix::io::Errno::BUSY);
    assert!(alive(&mut first) && alive(&mut second) && alive(&mut spared));
    for child in [first, second, spared] {
        end(child);
    }
}

#[test]
fn a_container_has_another_stranger() {
    if !inside_container("a_container_has_another_stranger") {
        return;
    }
    let (victim, mut other) = (start(ID, &["plain"]), start(OTHER, &["plain"]));
    ending::end_all(ID, Signal::KILL).unwrap();
    assert!(nobody_left(ID) && alive(&mut other));
    end(victim);
    // Where the number itself is not mapped nothing is done.
    assert!(ending::end_all(70_000, Signal::KILL).is_err());
    assert!(ending::end_all(65_535, Signal::KILL).is_err());
    assert!(alive(&mut other));
    end(other);
}

#[test]
fn threads_that_end_users_at_the_same_time_do_not_end_each_other() {
    if !inside("threads_that_end_users_at_the_same_time_do_not_end_each_other") {
        return;
    }
    std::thread::scope(|scope| {
        for uid in 61300..61304 {
            scope.spawn(move || {
                for _ in 0..100 {
                    ending::end_all(uid, Signal::KILL).unwrap();
                }
            });
        }
    });
    assert_eq!(rustix::process::getuid().as_raw(), 0);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    assert!(status.contains("CapEff:\t00000") && status.contains("Uid:\t0\t0\t0\t0"));
    assert!(
        !status.contains("CapEff:\t0000000000000000"),
        "our own are kept"
    );
}

#[test]
fn a_process_is_found_again_and_never_another_one() {
    if !inside("a_process_is_found_again_and_never_another_one") {
        return;
    }
    let mut child = start(ID, &["plain"]);
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let known = identity::identify(pidfd.as_fd()).unwrap();
    assert_eq!(known.pid, child.id());
    let again = identity::reopen(&known).unwrap().expect("it lives");
    assert_eq!(identity::identify(again.as_fd()).unwrap(), known);
    let ours = fs::metadata("/proc/self/ns/mnt").unwrap();
    let namespace = identity::recognise(pidfd.as_fd()).unwrap().mount_namespace;
    assert_eq!(namespace.1, std::os::unix::fs::MetadataExt::ino(&ours));
    let mut forged = [known.clone(), known.clone()];
    forged[0].start_time += 1;
    forged[1].pidfd_inode = known.pidfd_inode.map(|inode| inode + 1);
    for other in forged {
        assert!(identity::reopen(&other).unwrap().is_none(), "{other:?}");
    }
    child.kill().unwrap();
    // A zombie first, then nothing.
    let mut ended = [rustix::event::PollFd::new(
        &pidfd,
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut ended, None).unwrap();
    for _ in 0..2 {
        assert!(identity::reopen(&known).unwrap().is_none());
        assert!(identity::identify(pidfd.as_fd()).is_err());
        assert!(identity::recognise(pidfd.as_fd()).is_err());
        child.wait().unwrap();
    }
    // The number is given to somebody else.
    fs::write("/proc/sys/kernel/ns_last_pid", (known.pid - 1).to_string()).unwrap();
    let other = start(ID, &["plain"]);
    assert_eq!(other.id(), known.pid, "the test has got the number again");
    assert!(identity::reopen(&known).unwrap().is_none());
    end(other);
}

#[test]
fn another_namespaces_proc_and_a_missing_one_are_errors() {
    if !inside("another_namespaces_proc_and_a_missing_one_are_errors") {
        return;
    }
    let umount = Command::new("umount").args(["-l", "/proc"]).status();
    assert!(umount.unwrap().success());
    // Below is the host's, or nothing.
    assert!(process::holding(ID).is_err());
    assert!(Ipc::open().unwrap().found(ID).is_err());
    assert!(ending::end_all(ID, Signal::KILL).is_err());
}

#[test]
fn system_v_objects_are_found_by_owner_and_creator_and_removed() {
    if !inside("system_v_objects_are_found_by_owner_and_creator_and_removed") {
        return;
    }
    let ipc = Ipc::open().unwrap();
    let foreign = make(OTHER, &["shm", "77"]);
    make(OTHER, &["sem"]);
    make(OTHER, &["msg"]);
    assert_eq!(ipc.found(ID).unwrap(), None);
    for kind in ["shm", "givenshm", "sem", "msg"] {
        make(ID, &[kind]);
        let what = ipc.found(ID).unwrap();
        assert!(what.is_some(), "{kind} is not found");
        ipc.remove(ID).unwrap();
        assert_eq!(ipc.found(ID).unwrap(), None, "{kind}");
    }
    // Attached by root, who goes on using it; the next user of the number comes to it no more.
    for kind in ["shm", "givenshm"] {
        let id = make(ID, &[kind]);
        let holder = start(0, &["attach", &id]);
        assert!(ipc.found(ID).unwrap().unwrap().contains(&id));
        ipc.remove(ID).unwrap();
        assert_eq!(ipc.found(ID).unwrap(), None);
        let table = fs::read_to_string("/proc/sysvipc/shm").unwrap();
        assert!(
            table.contains(&format!("{id:>11}")),
            "still attached: {table}"
        );
        let tenant = Command::new(maker())
            .args([&ID.to_string(), "shmat", &id])
            .stderr(Stdio::null())
            .status();
        assert!(!tenant.unwrap().success(), "the next tenant got {kind}");
        end(holder);
    }
    assert_eq!(
        make(OTHER, &["shm", "77"]),
        foreign,
        "the other's is another one now"
    );
    for table in ["sem", "msg"] {
        let text = fs::read_to_string(format!("/proc/sysvipc/{table}")).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}

#[test]
fn message_queues_are_found_although_nobody_has_mounted_them() {
    if !inside("message_queues_are_found_although_nobody_has_mounted_them") {
        return;
    }
    let ipc = Ipc::open().unwrap();
    make(OTHER, &["mq", "/theirs"]);
    assert_eq!(ipc.found(ID).unwrap(), None);
    for round in 0..3 {
        make(ID, &["mq", "/ours"]);
        make(ID, &["mq", "/second"]);
        let what = ipc.found(ID).unwrap().unwrap();
        assert!(what.starts_with("message queue /"), "{round}: {what}");
        ipc.remove(ID).unwrap();
        assert_eq!(ipc.found(ID).unwrap(), None);
    }
    assert!(ipc.found(OTHER).unwrap().unwrap().contains("/theirs"));
}

fn own(path: &Path, id: u32) {
    std::os::unix::fs::lchown(path, Some(id), Some(id)).unwrap();
}

#[test]
fn shared_memory_files_are_removed_and_nothing_behind_a_link() {
    if !inside("shared_memory_files_are_removed_and_nothing_behind_a_link") {
        return;
    }
    let ipc = Ipc::open().unwrap();
    let shm = Path::new("/dev/shm");
    let other = Path::new("/dev/shm/other");
    fs::create_dir(other).unwrap();
    fs::write(other.join("file"), "theirs").unwrap();
    own(other, OTHER);
    own(&other.join("file"), OTHER);
    assert_eq!(ipc.found(ID).unwrap(), None);
    // Links to a directory and to a file of others.
    for (name, target) in [
        ("dirlink", other.to_owned()),
        ("filelink", other.join("file")),
    ] {
        symlink(target, shm.join(name)).unwrap();
        own(&shm.join(name), ID);
    }
    // A directory of ours with a link in it, a foreign file, a foreign tree.
    let ours = shm.join("ours\n");
    fs::create_dir_all(ours.join("a/b/c")).unwrap();
    symlink(other, ours.join("a/link")).unwrap();
    own(&ours, ID);
    // A directory of root's for everybody, with a file of ours and one of others, hard links, a group's file.
    let public = shm.join("public");
    fs::create_dir_all(public.join("inner")).unwrap();
    fs::set_permissions(&public, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(public.join("inner/ours"), "").unwrap();
    fs::write(public.join("inner/theirs"), "").unwrap();
    own(&public.join("inner/ours"), ID);
    fs::hard_link(public.join("inner/ours"), shm.join("hard")).unwrap();
    fs::write(public.join("group"), "").unwrap();
    chown(public.join("group"), Some(0), Some(ID)).unwrap();
    assert!(
        ipc.found(ID)
            .unwrap()
            .unwrap()
            .starts_with("file /dev/shm/")
    );
    ipc.remove(ID).unwrap();
    assert_eq!(ipc.found(ID).unwrap(), None);
    for name in [
        "dirlink",
        "filelink",
        "ours\n",
        "hard",
        "public/inner/ours",
        "public/group",
    ] {
        assert!(
            fs::symlink_metadata(shm.join(name)).is_err(),
            "{name:?} is there"
        );
    }
    assert_eq!(fs::read_to_string(other.join("file")).unwrap(), "theirs");
    assert!(public.join("inner/theirs").exists());
}

#[test]
fn a_tree_of_3000_levels_is_removed_with_few_descriptors() {
    if !inside("a_tree_of_3000_levels_is_removed_with_few_descriptors") {
        return;
    }
    make(ID, &["deep"]);
    let limit = Rlimit {
        current: Some(16),
        maximum: Some(16),
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let ipc = Ipc::open().unwrap();
    assert!(ipc.found(ID).unwrap().unwrap().contains("/dev/shm/deep"));
    let begin = Instant::now();
    ipc.remove(ID).unwrap();
    println!("deep tree, 9,000 entries: {:?}", begin.elapsed());
    assert_eq!(fs::read_dir("/dev/shm").unwrap().count(), 0);
}

/// The innermost of the directories `deep` below `/dev/shm`.
fn bottom() -> OwnedFd {
    let mut bottom = OwnedFd::from(fs::File::open("/dev/shm").unwrap());
    while let Ok(deeper) = openat(&bottom, "deep", OFlags::DIRECTORY, Mode::empty()) {
        bottom = deeper;
    }
    bottom
}

#[test]
fn nothing_is_too_deep_or_too_much_to_be_searched() {
    if !inside("nothing_is_too_deep_or_too_much_to_be_searched") {
        return;
    }
    make(OTHER, &["deep"]);
    make(OTHER, &["wide"]);
    let limit = Rlimit {
        current: Some(16),
        maximum: Some(16),
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let ipc = Ipc::open().unwrap();
    let begin = Instant::now();
    assert_eq!(ipc.found(ID).unwrap(), None);
    println!("3,000 levels and 100,000 files: {:?}", begin.elapsed());
    let bottom = bottom();
    let flags = OFlags::CREATE | OFlags::WRONLY;
    drop(openat(&bottom, "ours", flags, Mode::RUSR).unwrap());
    fchown_file(&bottom, "ours");
    let found = ipc.found(ID).unwrap().unwrap();
    let named = found.starts_with("file /dev/shm/deep/deep/") && found.len() < 2000;
    assert!(named, "{found}");
    ipc.remove(ID).unwrap();
    assert_eq!(ipc.found(ID).unwrap(), None);
    let there = |name| statat(&bottom, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    assert!(!there("ours") && there("file") && there("dynuser-7"));
    assert_eq!(fs::read_dir("/dev/shm/wide").unwrap().count(), 100_000);
}

fn fchown_file(parent: &OwnedFd, name: &str) {
    let (uid, gid) = (Uid::from_raw(ID), Gid::from_raw(ID));
    chownat(parent, name, Some(uid), Some(gid), AtFlags::empty()).unwrap();
}

#[test]
fn directories_that_are_moved_meanwhile_hide_nothing_that_stays_and_cost_nobody_a_file() {
    if !inside(
        "directories_that_are_moved_meanwhile_hide_nothing_that_stays_and_cost_nobody_a_file",
    ) {
        return;
    }
    let shm = Path::new("/dev/shm");
    let moving = shm.join("moving");
    let owned = |path: &Path, id: u32| {
        fs::create_dir_all(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        own(path, id);
    };
    for path in ["", "b", "a", "a/chain"] {
        owned(&moving.join(path), OTHER);
    }
    let mut chain = moving.join("a/chain");
    for _ in 0..60 {
        chain.push("1");
        owned(&chain, OTHER);
    }
    // A number's own directory changes places with foreign ones that are not empty, and with links to such.
    for precious in [moving.join("precious"), shm.join("outside")] {
        owned(&precious, OTHER);
        fs::write(precious.join("file"), "").unwrap();
    }
    symlink(shm.join("outside"), moving.join("link")).unwrap();
    let still = shm.join("still/1/2/3/4");
    fs::create_dir_all(&still).unwrap();
    let mover = start(OTHER, &["mover"]);
    let ipc = Ipc::open().unwrap();
    let (begin, mut answers, mut baited) = (Instant::now(), [0, 0], 0);
    for _ in 0..300 {
        fs::write(still.join("ours"), "").unwrap();
        own(&still.join("ours"), ID);
        assert!(ipc.found(ID).unwrap().is_some());
        // Made elsewhere, where nobody puts another one in its place.
        let bait = shm.join("bait");
        owned(&bait, ID);
        fs::write(bait.join("file"), "").unwrap();
        // By now it may be any of the three names that is free.
        baited += ["bait", "precious", "link"]
            .into_iter()
            .filter(|name| {
                let to = moving.join(name);
                renameat_with(CWD, &bait, CWD, to, RenameFlags::NOREPLACE).is_ok()
            })
            .count();
        answers[usize::from(ipc.remove(ID).is_ok())] += 1;
        assert!(!still.join("ours").exists());
    }
    println!(
        "removed while others move: {answers:?} no and yes, {baited} baits, {:?}",
        begin.elapsed()
    );
    ending::end_all(OTHER, Signal::KILL).unwrap();
    assert!(nobody_left(OTHER));
    end(mover);
    ipc.remove(ID).unwrap();
    assert_eq!(ipc.found(ID).unwrap(), None);
    assert!(shm.join("outside/file").exists());
    let count = |path: &str| {
        fs::read_dir(path)
            .unwrap()
            .filter(|it| it.as_ref().unwrap().path().join("file").exists())
            .count()
    };
    assert_eq!(
        count("/dev/shm/moving"),
        2,
        "precious, and by the link what is outside"
    );
}

#[test]
fn a_users_own_file_system_is_not_asked_anything() {
    if !inside("a_users_own_file_system_is_not_asked_anything") {
        return;
    }
    // Asked, one would refuse even root, and the other one would never answer.
    let server = start(OTHER, &["fuse"]);
    let ipc = Ipc::open().unwrap();
    assert_eq!(ipc.found(ID).unwrap(), None);
    ipc.remove(ID).unwrap();
    end(server);
    // Whom its root belongs to is what it says itself: anybody could keep any number taken.
    fs::create_dir("/dev/shm/claims").unwrap();
    mount_tmpfs("/dev/shm/claims", &format!("uid={ID}"));
    assert_eq!(ipc.found(ID).unwrap(), None);
}

fn mount_tmpfs(at: &str, options: &str) {
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs", at])
        .status();
    assert!(mounted.unwrap().success());
}

#[test]
fn what_cannot_be_removed_keeps_nothing_else_from_being_removed() {
    if !inside("what_cannot_be_removed_keeps_nothing_else_from_being_removed") {
        return;
    }
    for name in ["before", "stuck", "after"] {
        let path = Path::new("/dev/shm").join(name);
        fs::create_dir_all(path.join("inner")).unwrap();
        own(&path, ID);
    }
    mount_tmpfs("/dev/shm/stuck/inner", "mode=755");
    // What is mounted in a directory keeps the directory, but not the number: it is root's then.
    let ipc = Ipc::open().unwrap();
    ipc.remove(ID).unwrap();
    assert_eq!(ipc.found(ID).unwrap(), None);
    let left = fs::read_dir("/dev/shm").unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["stuck"]);
}

#[test]
fn a_mount_point_in_a_tree_is_reported_and_not_entered() {
    if !inside("a_mount_point_in_a_tree_is_reported_and_not_entered") {
        return;
    }
    let (shm, name) = (Path::new("/dev/shm"), c"tree");
    fs::create_dir_all(shm.join("victim")).unwrap();
    fs::write(shm.join("victim/file"), "").unwrap();
    let mount = |at: &Path| {
        fs::create_dir_all(at).unwrap();
        let status = Command::new("mount")
            .arg("--bind")
            .arg(shm.join("victim"))
            .arg(at)
            .status();
        assert!(status.unwrap().success());
    };
    let parent = fs::File::open(shm).unwrap();
    for at in ["tree", "tree/a", "tree/a/b/c"] {
        mount(&shm.join(at));
        let error = remove::remove_tree(parent.as_fd(), name).unwrap_err();
        assert_eq!(error.errno, rustix::io::Errno::BUSY, "{at}: {error}");
        assert!(shm.join("victim/file").exists(), "{at}: entered");
        let umount = Command::new("sh")
            .args([
                "-c",
                "grep -o '/dev/shm/tree[^ ]*' /proc/self/mounts | xargs umount",
            ])
            .status();
        assert!(umount.unwrap().success());
        remove::remove_tree(parent.as_fd(), name).unwrap();
        assert!(!shm.join("tree").exists());
    }
    // Not there, a file, a link: fine.
    remove::remove_tree(parent.as_fd(), name).unwrap();
    symlink("victim", shm.join("tree")).unwrap();
    remove::remove_tree(parent.as_fd(), name).unwrap();
    assert!(shm.join("victim/file").exists() && !shm.join("tree").is_symlink());
}

#[test]
fn keys_of_the_uid_are_gone_and_those_of_others_are_not() {
    const KEYS: u32 = 61277;
    const THEIRS: u32 = 61278;
    const LOCKED: u32 = 61279;
    let name = "keys_of_the_uid_are_gone_and_those_of_others_are_not";
    if !inside_container(name) {
        return;
    }
    assert!(Path::new("/proc/key-users").exists(), "a kernel with keys");
    make(THEIRS, &["keys"]);
    for how in ["", "quota", "closed", "found", "found by owner"] {
        make(KEYS, &["keys", how]);
        if how.is_empty() {
            assert_eq!(make(KEYS, &["haskeys"]), "3");
        }
        let begin = Instant::now();
        keyring::clear(KEYS).unwrap_or_else(|error| panic!("{how}: {error}"));
        println!("keyring::clear with keys ({how}): {:?}", begin.elapsed());
        let begin = Instant::now();
        keyring::clear(KEYS).unwrap();
        println!("keyring::clear with none: {:?}", begin.elapsed());
        assert_eq!(make(KEYS, &["haskeys"]), "0", "{how}");
        keyring::clear(KEYS).unwrap();
    }
    assert_eq!(make(THEIRS, &["haskeys"]), "3");
    keyring::clear(THEIRS).unwrap();
    // A keyring that its owner has locked for ever is an error, not a success.
    make(LOCKED, &["keys", "locked"]);
    let locked = keyring::clear(LOCKED);
    assert!(locked.is_err(), "{locked:?}");
    println!("locked: {}", locked.unwrap_err());
}
