//! `--ready-fd` and `--pass-fd`: the descriptors of supervisors such as s6 and dinit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use support::{Arena, PATIENCE, Running, wait_until};

/// A service that says what it is told to say: a line is who says it (`main` or `child`) and what; it answers when its
/// messages have been read.
const SPEAKER: &str = r#"
import array, os, socket, sys
def tell(text):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        s.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
        reader, writer = os.pipe()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer]))]
        s.sendmsg([b"BARRIER=1"], rights, 0, os.environ["NOTIFY_SOCKET"])
        os.close(writer)
        os.read(reader, 1)
    except OSError as error:
        return error.strerror
    return "told"
print("up", flush=True)
for line in open("/mnt/input"):
    who, text = line.strip().split(" ", 1)
    if who == "main":
        print(tell(text), flush=True)
    else:
        child = os.fork()
        if child == 0:
            print(tell(text), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
"#;

/// A host with a unit file of that service, and a pipe with a name whose writing end is descriptor 7 of what `run` starts.
struct Host {
    arena: Arena,
}

impl Host {
    fn new(lines: &str) -> Self {
        let arena = Arena::new();
        arena.put("/usr/local/bin/speaker", SPEAKER, 0o644);
        let unit = format!(
            "[Service]\nDynamicUser=yes\nStandardOutput=inherit\n\
             ExecStart=/usr/bin/python3 /usr/local/bin/speaker\n{lines}"
        );
        arena
            .sh("mkdir -p /etc/systemd/system && mkfifo /mnt/ready /mnt/input && chmod 644 /mnt/input")
            .ok();
        arena.put("/etc/systemd/system/speaker.service", &unit, 0o644);
        // The daemon is there, and all else that has the pipe is what `run` starts.
        arena.run(["dynuser", "list"]).ok();
        Self { arena }
    }

    fn run(&self, options: &str) -> Running {
        let script = format!("exec dynuser run {options} 7>/mnt/ready");
        self.arena.spawn(["sh", "-c", &script])
    }

    /// What is said to it is said to the service.
    fn mouth(&self) -> Running {
        self.arena.spawn(["sh", "-c", "exec cat >/mnt/input"])
    }

    /// Reads the pipe until nobody can write to it any more.
    fn reader(&self) -> Running {
        self.arena.spawn(["cat", "/mnt/ready"])
    }

    /// Nothing of ours but the daemon, and no file of a socket.
    fn assert_no_helper(&self) {
        wait_until("no helper is left", || {
            let all = self.arena.sh("find /proc/[0-9]*/exe -lname '*/dynuser' 2>/dev/null | wc -l; ls -A /run/dynuser/notify");
            all.ok() == format!("{}\n", self.arena.daemons().len())
        });
    }
}

/// What has arrived in the pipe, and that nobody else can write to it.
fn told(reader: Running) -> String {
    let (status, rest) = reader.end();
    assert!(status.success());
    rest
}

#[test]
fn a_message_of_the_main_process_becomes_a_newline() {
    let host = Host::new("Type=notify\n");
    let reader = host.reader();
    let mut service = host.run("--unit-file speaker.service --ready-fd=7");
    assert_eq!(service.line(), "up");
    let mut mouth = host.mouth();
    // In place: who was started is the service, and has no child that it does not know of.
    service.wait_exec("python3");
    let pid = service.pid();
    let children = format!("/proc/{pid}/task/{pid}/children");
    assert_eq!(host.arena.run(["cat", &children]).ok(), "");
    // It does not have the descriptor, and nobody else's word counts.
    host.arena
        .run(["test", "-e", &format!("/proc/{pid}/fd/7")])
        .fails(1);
    for line in ["child READY=1", "main STATUS=not yet", "main READY=0"] {
        mouth.say(line);
        assert_eq!(service.line(), "told");
    }
    // The helper still listens: it would be gone otherwise.
    let empty =
        "timeout 60 true; python3 -c 'import os; print(len(os.listdir(\"/run/dynuser/notify\")))'";
    assert_eq!(host.arena.sh(empty).ok(), "1\n");
    mouth.say("main READY=1");
    assert_ne!(service.line(), "");
    assert_eq!(told(reader), "\n");
    host.assert_no_helper();
    // Whatever it says later goes nowhere, at once.
    mouth.say("main STATUS=later");
    assert_eq!(service.line(), "No such file or directory");
    assert_eq!(service.stop().to_string(), "signal: 15 (SIGTERM)");
    host.arena.wait_until_idle();
}

#[test]
fn notify_access_all_counts_every_process_of_the_user() {
    let host = Host::new("Type=notify\nNotifyAccess=all\n");
    let reader = host.reader();
    let mut service = host.run("--unit-file speaker.service --ready-fd=7");
    assert_eq!(service.line(), "up");
    let mut mouth = host.mouth();
    // Not those of root, who is not the service.
    let socket = host.arena.sh("echo /run/dynuser/notify/*").ok();
    let stranger = format!("NOTIFY_SOCKET={} systemd-notify --ready", socket.trim());
    host.arena.sh(&stranger);
    mouth.say("child STATUS=still");
    assert_eq!(service.line(), "told");
    host.arena.run(["test", "-e", socket.trim()]).ok();
    mouth.say("child READY=1");
    assert_ne!(service.line(), "");
    assert_eq!(told(reader), "\n");
    host.assert_no_helper();
    service.stop();
}

#[test]
fn a_service_that_ends_before_it_is_ready_is_never_told_to_be() {
    let host = Host::new("Type=notify\n");
    let reader = host.reader();
    let mut service = host.run("--unit-file speaker.service --ready-fd=7");
    assert_eq!(service.line(), "up");
    service.stop();
    assert_eq!(told(reader), "");
    host.assert_no_helper();
}

#[test]
fn whoever_listens_outside_hears_all_of_it_too() {
    let host = Host::new("Type=notify\n");
    let listener = host.arena.within(|| {
        let socket = UnixDatagram::bind("/run/listener").unwrap();
        let mode = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions("/run/listener", mode).unwrap();
        socket
    });
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    let reader = host.reader();
    let script = "exec dynuser run --unit-file speaker.service --ready-fd=7 7>/mnt/ready";
    let command = host.arena.command(["sh", "-c", script]);
    let mut service = command.env("NOTIFY_SOCKET", "/run/listener").spawn();
    assert_eq!(service.line(), "up");
    let mut mouth = host.mouth();
    for line in ["main STATUS=one", "main READY=1", "main STATUS=two"] {
        mouth.say(line);
        assert_eq!(service.line(), "told");
    }
    assert_eq!(told(reader), "\n");
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while heard.last().is_none_or(|last| last != "STATUS=two") {
        let length = listener.recv(&mut buffer).expect("a message");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text != "BARRIER=1" {
            heard.push(text);
        }
    }
    assert_eq!(heard, ["STATUS=one", "READY=1", "STATUS=two"]);
    service.stop();
    host.assert_no_helper();
}

#[test]
fn a_program_that_has_been_executed_is_ready_and_one_that_cannot_be_is_not() {
    let host = Host::new("");
    for options in [
        "--unit-file speaker.service --ready-fd=7",
        // As dinit tells the number.
        "--unit-file speaker.service --ready-fd=THE_PIPE",
        "-u one --ready-fd=7 -- python3 /usr/local/bin/speaker",
        "-u one --ready-fd=7 --wait -q -- python3 /usr/local/bin/speaker",
        "-u one --ready-fd=7 -p PrivatePIDs=yes -- python3 /usr/local/bin/speaker",
        "--unit-file speaker.service --ready-fd=7 -p ExecStartPost=/bin/true",
    ] {
        let reader = host.reader();
        let script = format!("export THE_PIPE=7; exec dynuser run {options} 7>/mnt/ready");
        let mut service = host.arena.spawn(["sh", "-c", &script]);
        assert_eq!(service.line(), "up", "{options}");
        assert_eq!(told(reader), "\n", "{options}");
        // It has heard all there is.
        host.arena.sh(": >/mnt/input").ok();
        assert!(service.end().0.success(), "{options}");
        host.arena.wait_until_idle();
        host.assert_no_helper();
    }
    for options in [
        "-u one --ready-fd=7 -- /nonexistent",
        "-u one --ready-fd=7 --wait -- /nonexistent",
        "-u one --ready-fd=7 -p PrivatePIDs=yes -- /nonexistent",
        "--unit-file speaker.service --ready-fd=7 -p ExecStart= -p ExecStart=/nonexistent",
        "--unit-file speaker.service --ready-fd=7 -p ExecStart= -p ExecStart=/nonexistent -p ExecStartPost=/bin/true",
        "--unit-file speaker.service --ready-fd=7 -p ExecStartPre=/bin/false",
    ] {
        let reader = host.reader();
        assert!(!host.run(options).end().0.success(), "{options}");
        assert_eq!(told(reader), "", "{options}");
        host.arena.wait_until_idle();
        host.assert_no_helper();
    }
}

#[test]
fn what_could_not_be_executed_is_ready_for_nobody() {
    let host = Host::new("");
    let listener = host
        .arena
        .within(|| UnixDatagram::bind("/run/listener").unwrap());
    listener.set_nonblocking(true).unwrap();
    for kind in ["simple", "exec"] {
        let kind = format!("Type={kind}");
        let words = [
            "dynuser",
            "run",
            "--unit-file",
            "speaker.service",
            "-p",
            &kind,
        ];
        let commands = [
            "-p",
            "ExecStart=",
            "-p",
            "ExecStart=/nonexistent",
            "-p",
            "ExecStopPost=/bin/true",
        ];
        let command = host.arena.command([&words[..], &commands].concat());
        command
            .env("NOTIFY_SOCKET", "/run/listener")
            .run()
            .fails(203);
        let mut buffer = [0; 4096];
        while let Ok(length) = listener.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            assert!(!text.contains("READY=1"), "{kind}: {text}");
        }
    }
}

#[test]
fn what_nobody_can_wait_at_is_refused() {
    let host = Host::new("Type=oneshot\n");
    let arena = &host.arena;
    for (options, why) in [
        ("--ready-fd=9 -- true", "--ready-fd=9: is not open"),
        ("--ready-fd=7 -- true 7</dev/null", "cannot be written to"),
        ("--ready-fd=2 -- true", "no descriptor above 2"),
        (
            "--ready-fd=NOTHING -- true",
            "neither a number nor a variable",
        ),
        (
            "--ready-fd=7 --pass-fd=7 -- true 7>/dev/null",
            "named twice",
        ),
        ("--pass-fd=7 --pass-fd=7 -- true 7>/dev/null", "named twice"),
        ("--pass-fd=9 -- true", "--pass-fd=9: is not open"),
        ("--pty --ready-fd=7 -- true 7>/dev/null", "--pty"),
        (
            "--unit-file speaker.service --ready-fd=7 7>/dev/null",
            "Type=oneshot",
        ),
    ] {
        let refused = arena.sh(&format!("dynuser run {options}")).fails(1);
        assert!(refused.contains(why), "{options}: {refused}");
    }
}

#[test]
fn a_descriptor_is_passed_to_the_service_alone() {
    let host = Host::new("");
    let arena = &host.arena;
    let open = |options: &str| {
        let script = format!(
            "dynuser run --pass-fd=7 --pass-fd=5 {options} 5</etc/hostname 6</etc/group 7>/mnt/file"
        );
        arena
            .sh(&format!("{script}; cat /mnt/file; rm /mnt/file"))
            .ok()
    };
    let look = "for fd in 3 4 5 6 7 8 9; do if [ -e /proc/self/fd/$fd ]; then readlink /proc/$$/fd/$fd; fi; done; echo it >&7";
    let seen = "/etc/hostname\n/mnt/file\nit\n";
    assert_eq!(open(&format!("-u one -q -- sh -c '{look}'")), seen);
    assert_eq!(open(&format!("-u one -q --wait -- sh -c '{look}'")), seen);
    assert_eq!(
        open(&format!("-u one -q --daemon-view -- sh -c '{look}'")),
        seen
    );
    // Those around the main command do not have it.
    arena.put("/usr/local/bin/look", look, 0o644);
    let none = "/bin/sh -c \"test ! -e /proc/self/fd/7\"";
    let unit = format!(
        "--unit-file speaker.service -p ExecStart= -p ExecStart='/bin/sh /usr/local/bin/look' -p ExecStartPre='{none}'"
    );
    // The shell has opened its script.
    assert!(open(&unit).ends_with("/etc/hostname\n/mnt/file\nit\n"));
    assert!(
        open(&format!("{unit} -p ExecStopPost='{none}'"))
            .ends_with("/etc/hostname\n/mnt/file\nit\n")
    );
}

#[test]
fn a_listener_is_ready_when_its_sockets_are_open() {
    let host = Host::new("");
    let arena = &host.arena;
    let reader = host.reader();
    let script = "exec dynuser listen -q --tcp 127.0.0.1:2048 --accept --inetd --ready-fd=7 -- cat 7>/mnt/ready";
    let listener = arena.spawn(["sh", "-c", script]);
    assert_eq!(told(reader), "\n");
    let answer = arena
        .sh("echo hello | socat -t 60 - TCP:127.0.0.1:2048")
        .ok();
    assert_eq!(answer, "hello\n");
    listener.stop();
    let refused = "dynuser listen --tcp 127.0.0.1:2048 --ready-fd=7 -- cat";
    assert!(
        arena
            .sh(refused)
            .fails(1)
            .contains("--ready-fd=7: is not open")
    );
}
