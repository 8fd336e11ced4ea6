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
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs};

use dynuser::sys::{child, ending, identity, ipc::Ipc, keyring, process, remove};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

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
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/dev/shm"])
            .status();
        assert!(mounted.unwrap().success());
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
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: Some(16),
            maximum: Some(16),
        },
    )
    .unwrap();
    let ipc = Ipc::open().unwrap();
    assert!(ipc.found(ID).unwrap().unwrap().contains("/dev/shm/deep"));
    let begin = Instant::now();
    ipc.remove(ID).unwrap();
    println!("deep tree, 9,000 entries: {:?}", begin.elapsed());
    assert_eq!(fs::read_dir("/dev/shm").unwrap().count(), 0);
}

#[test]
fn what_is_too_deep_to_be_searched_is_an_error_that_names_it() {
    if !inside("what_is_too_deep_to_be_searched_is_an_error_that_names_it") {
        return;
    }
    let ipc = Ipc::open().unwrap();
    let deep = |levels: usize| format!("/dev/shm/a{}", "/a".repeat(levels - 1));
    fs::create_dir_all(deep(32)).unwrap();
    assert_eq!(ipc.found(ID).unwrap(), None);
    fs::create_dir_all(deep(33)).unwrap();
    let error = ipc.found(ID).unwrap_err();
    assert!(error.subject.contains("/dev/shm/a/a"), "{error}");
    assert!(ipc.remove(ID).is_err());
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
    for how in ["", "quota", "closed"] {
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

#[test]
fn how_long_it_takes() {
    if !inside("how_long_it_takes") {
        return;
    }
    let median = |what: &str, run: &mut dyn FnMut()| {
        let mut times: Vec<Duration> = (0..51)
            .map(|_| {
                let begin = Instant::now();
                run();
                begin.elapsed()
            })
            .collect();
        times.sort();
        println!("{what}: {:?} / {:?}", times[0], times[25]);
    };
    let ipc = Ipc::open().unwrap();
    let mut crowd = Vec::new();
    for number in [0, 100, 1100] {
        crowd.resize_with(number, || start(OTHER, &["plain"]));
        median(&format!("holding, {number}"), &mut || {
            assert!(pids(ID).is_empty())
        });
        median(&format!("sharing_group, {number}"), &mut || {
            assert!(process::sharing_group(ID).unwrap().is_empty());
        });
        median(&format!("end_all, {number}"), &mut || {
            ending::end_all(ID, Signal::KILL).unwrap()
        });
    }
    median("Ipc::open", &mut || drop(Ipc::open().unwrap()));
    median("Ipc::found, nothing there", &mut || {
        assert_eq!(ipc.found(ID).unwrap(), None)
    });
    median("keyring::clear, nothing there", &mut || {
        keyring::clear(61299).unwrap()
    });
    let owner = child::Credentials::owner(ID).unwrap();
    median("child::run", &mut || {
        child::run(owner, |(): &()| (), &()).unwrap()
    });
    ending::end_all(OTHER, Signal::KILL).unwrap();
    crowd.into_iter().for_each(|mut child| drop(child.wait()));
}
