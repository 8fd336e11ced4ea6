//! Groups on the kernel that runs the tests, beneath a group of each test's own.
#![allow(clippy::arithmetic_side_effects)]

mod delegation;

use std::io::Read;
use std::net::UdpSocket;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::control_group::ControlGroup;

const PATIENCE: Duration = Duration::from_secs(30);
/// Somebody whom no test and no host knows.
const USER: u32 = 3_000_017;

/// A group for one test.
struct World {
    root: Root,
    point: String,
    name: String,
}

impl World {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("dynuser-test-{}-{number}", std::process::id());
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let mount = tree::mounts(&mountinfo).into_iter().next();
        let point = mount.expect("a writable cgroup2 is needed").point;
        let top = cgroup::open(&point).expect("the hierarchy");
        cgroup::make(&top, &name).expect("a group for the test");
        Self {
            root: Root::at(&point, &name).expect("a root"),
            point,
            name,
        }
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.point)
    }

    fn make(&self, name: &str, settings: &ControlGroup) -> Result<Made, Failure> {
        let plan = settings
            .plan(&facts(settings).expect("facts"))
            .expect("a plan");
        self.root.make(name, &plan, (USER, USER), &BTreeSet::new())
    }

    fn group(&self, name: &str, settings: &ControlGroup) -> Group {
        let made = self.make(name, settings).expect("a group");
        assert!(made.unenforced.is_empty(), "{:?}", made.unenforced);
        made.group.expect("a group")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let top = cgroup::open(&self.point).expect("the hierarchy");
        let group = open_beneath(&top, &self.name).expect("the test's group");
        end(&group, PATIENCE).expect("nobody");
        let name = CString::new(self.name.clone()).expect("a name");
        cgroup::remove(top.as_fd(), &name).expect("removed");
    }
}

/// A command in a group, which it enters through the descriptor alone, as its standard input.
fn command(group: &Group, words: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "echo 0 >&0 && exec \"$@\" <&-", "sh"])
        .args(words)
        .stdin(group.entrance.try_clone().expect("a descriptor"));
    command
}

fn run(group: &Group, script: &str) -> Output {
    let output = command(group, &["sh", "-c", script]).output();
    output.expect("a shell")
}

fn assert_refused(group: &Group, script: &str) {
    let output = run(group, script);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{script} was not refused");
    assert!(said.contains("Operation not permitted"), "{script}: {said}");
}

fn assert_allowed(group: &Group, script: &str) {
    let output = run(group, script);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{script}: {said}");
}

/// Somebody who stays, and says so.
fn stay(group: &Group) -> Child {
    let mut child = command(group, &["sh", "-c", "echo up; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut said = [0; 3];
    let stdout = child.stdout.as_mut().expect("its output");
    stdout.read_exact(&mut said).expect("a line");
    assert_eq!(&said, b"up\n");
    child
}

#[test]
fn devices_are_refused_that_are_not_allowed() {
    let world = World::new();
    let files = tempfile::tempdir().expect("a directory");
    let log = files.path().join("log");
    // A device that every kernel has, whatever the /dev of this host shows.
    let made = Command::new("mknod")
        .arg(&log)
        .args(["c", "1", "11"])
        .status();
    assert!(made.expect("mknod").success());
    let log = log.display();
    let mut settings = ControlGroup::default();
    settings.set_device_policy("closed").expect("a policy");
    let closed = world.group("closed", &settings);
    assert_allowed(
        &closed,
        ": < /dev/null > /dev/null; head -c 1 /dev/zero > /dev/null",
    );
    assert_allowed(&closed, &format!("mknod {log}-null c 1 3"));
    assert_refused(&closed, &format!(": < {log}"));
    assert_refused(&closed, &format!("mknod {log}-2 c 1 11"));
    settings.add_device("/dev/char/1:11 r").expect("a device");
    settings.set_device_policy("strict").expect("a policy");
    let strict = world.group("strict", &settings);
    assert_allowed(&strict, &format!(": < {log}"));
    assert_refused(&strict, &format!("exec 5<> {log}"));
    assert_refused(&strict, ": < /dev/null");
    // Others are not touched.
    assert!(std::fs::File::open(log.to_string()).is_ok());
    for group in [closed, strict] {
        world.root.remove(&group.path, PATIENCE).expect("removed");
        assert!(!std::path::Path::new(&world.path(&group.path)).exists());
    }
}

#[test]
fn packets_to_whom_is_denied_do_not_leave() {
    let world = World::new();
    let mut settings = ControlGroup::default();
    settings.add_denied_addresses("any").expect("a list");
    settings
        .add_allowed_addresses("127.0.0.1 ::1")
        .expect("a list");
    let group = world.group("out", &settings);
    let send = |host: &str, port: u16, kind: &str| {
        format!(
            "python3 -c 'import socket; s = socket.socket(socket.{kind}, socket.SOCK_DGRAM); \
             s.sendto(b\"hello\", (\"{host}\", {port}))'"
        )
    };
    for (host, kind) in [("127.0.0.1", "AF_INET"), ("::1", "AF_INET6")] {
        let socket = UdpSocket::bind((host, 0)).expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        assert_allowed(&group, &send(host, port, kind));
        let mut got = [0; 16];
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        assert_eq!(socket.recv(&mut got).expect("a packet"), 5);
    }
    // IPv4 from a socket of IPv6 is IPv4 all the same.
    assert_refused(&group, &send("127.0.0.2", 9, "AF_INET"));
    assert_refused(&group, &send("::ffff:127.0.0.2", 9, "AF_INET6"));
    // TCP goes both ways.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    assert_allowed(
        &group,
        &format!("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}))'"),
    );
}

#[test]
fn packets_from_whom_is_denied_do_not_arrive() {
    let world = World::new();
    let mut settings = ControlGroup::default();
    settings.add_denied_addresses("127.0.0.2").expect("a list");
    let group = world.group("in", &settings);
    let script = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
                  s.bind((\"127.0.0.1\", 0)); print(s.getsockname()[1], flush=True); \
                  print(s.recvfrom(99)[1][0], flush=True)";
    let mut child = command(&group, &["python3", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(
        child.stdout.take().expect("its output"),
    ));
    let mut line = || lines.next().expect("a line").expect("text");
    let port: u16 = line().parse().expect("a port");
    // On lo a packet has arrived, or was dropped, when send returns: what is heard first tells.
    for from in ["127.0.0.2:0", "127.0.0.1:0"] {
        let socket = UdpSocket::bind(from).expect("a socket");
        // A sender that is not in the group is not told.
        let sent = socket.send_to(b"hello", ("127.0.0.1", port));
        assert!(sent.is_ok() || from == "127.0.0.2:0", "{sent:?}");
    }
    assert_eq!(line(), "127.0.0.1");
    assert!(child.wait().expect("its end").success());
}

#[test]
fn a_limit_is_set_or_refused_by_name_or_done_without_where_that_is_allowed() {
    let world = World::new();
    let mut settings = ControlGroup::default();
    settings.set_amount("TasksMax", "7").expect("a number");
    settings.set_slice("a-b.slice").expect("a slice");
    let base = open_beneath(&world.root.directory, &world.name).expect("the base");
    let controllers = cgroup::read(&base, "cgroup.controllers").expect("controllers");
    if controllers
        .split_ascii_whitespace()
        .any(|name| name == "pids")
    {
        let group = world.group("limited", &settings);
        let most = std::fs::read_to_string(world.path(&group.path) + "/pids.max");
        assert_eq!(most.expect("a limit"), "7\n");
        return;
    }
    let failure = world.make("limited", &settings).expect_err("no controller");
    assert_eq!(failure.subject, "TasksMax");
    assert_eq!(failure.exit_status(), 219);
    let why = failure.to_string();
    assert!(why.contains("controller pids"), "{why}");
    assert!(why.contains("--allow-unenforced=TasksMax"), "{why}");
    let plan = settings
        .plan(&facts(&settings).expect("facts"))
        .expect("a plan");
    let allowed = BTreeSet::from(["TasksMax"]);
    let made = world
        .root
        .make("limited", &plan, (0, 0), &allowed)
        .expect("allowed");
    let named: Vec<&str> = made.unenforced.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, ["TasksMax"]);
    let group = made.group.expect("a group");
    assert!(
        group
            .path
            .ends_with("/dynuser/a.slice/a-b.slice/limited.service")
    );
    world.root.remove(&group.path, PATIENCE).expect("removed");
    assert!(
        !std::path::Path::new(&world.path(&format!("/{}/dynuser/a.slice", world.name))).exists()
    );
}

#[test]
fn a_slice_stays_as_long_as_somebody_is_in_it() {
    let world = World::new();
    let mut settings = ControlGroup::default();
    settings.set_device_policy("closed").expect("a policy");
    settings.set_slice("x-y.slice").expect("a slice");
    let (one, two) = (world.group("one", &settings), world.group("two", &settings));
    let slice = world.path(&format!("/{}/dynuser/x.slice", world.name));
    world.root.remove(&one.path, PATIENCE).expect("removed");
    world
        .root
        .remove(&one.path, PATIENCE)
        .expect("it is not there");
    assert!(std::path::Path::new(&slice).exists());
    world.root.remove(&two.path, PATIENCE).expect("removed");
    assert!(!std::path::Path::new(&slice).exists());
}

#[test]
fn what_an_earlier_activation_left_is_removed_unless_somebody_is_in_it() {
    let world = World::new();
    let mut settings = ControlGroup::default();
    settings.set_device_policy("strict").expect("a policy");
    let old = world.group("again", &settings);
    settings.set_device_policy("closed").expect("a policy");
    let new = world.group("again", &settings);
    assert_eq!(old.path, new.path);
    assert_allowed(&new, ": < /dev/null");
    let mut child = stay(&new);
    let failure = world
        .make("again", &settings)
        .expect_err("somebody is in it");
    assert!(
        failure.to_string().contains("processes are in it"),
        "{failure}"
    );
    world
        .root
        .remove(&new.path, PATIENCE)
        .expect("killed and removed");
    assert!(!child.wait().expect("its end").success());
    for path in ["/dynuser", "/", "/init.scope", "/dynuser/../x.service"] {
        assert!(world.root.remove(path, PATIENCE).is_err(), "{path}");
    }
}

#[test]
fn a_service_is_told_of_memory_pressure() {
    let world = World::new();
    let mut settings = ControlGroup::default();
    settings.set_pressure("yes", Some(true)).expect("yes");
    settings.set_device_policy("closed").expect("a policy");
    let group = world.group("pressed", &settings);
    let file = world.path(&group.path) + "/memory.pressure";
    let there = std::path::Path::new(&file).exists();
    let told: Vec<&str> = group.environment.iter().map(|(name, _)| *name).collect();
    match there {
        true => assert_eq!(told, ["MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE"]),
        false => assert!(told.is_empty()),
    }
    let watched = group.environment.first().map(|(_, value)| value.as_str());
    assert_eq!(watched, there.then_some(file.as_str()));
}

#[test]
fn this_host_has_a_root_or_says_why_not() {
    match Root::find() {
        Ok(root) => assert!(root.base.is_empty() || root.base.starts_with('/')),
        Err(why) => assert!(why.len() > 20, "{why}"),
    }
    let nothing = super::make("x", &Plan::default(), (0, 0), &BTreeSet::new()).expect("nothing");
    assert!(nothing.group.is_none());
    let wanted =
        without_any(&["IPAddressDeny"], &BTreeSet::new(), "no groups").expect_err("a failure");
    assert_eq!(wanted.subject, "IPAddressDeny");
    let allowed = without_any(
        &["IPAddressDeny"],
        &BTreeSet::from(["IPAddressDeny"]),
        "no groups",
    );
    assert_eq!(allowed.expect("allowed").unenforced.len(), 1);
}
