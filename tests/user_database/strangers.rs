//! Everybody may connect: what he can do is get no answer.

use serde_json::{Value, json};

use crate::clients::{ask, call};
use crate::host::{daemon, host};
use crate::support::Arena;

/// How many users the long lists have.
const MANY: usize = 4000;

/// How much memory the daemon may need for strangers, in KiB.
const ROOM: u64 = 8 * 1024;

/// What all scripts begin with.
const PRELUDE: &str = r#"
import json, os, resource, select, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))

def connect():
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect("/run/systemd/userdb/org.dynuser")
    return connection

def call(method, more=False, **parameters):
    parameters["service"] = "org.dynuser"
    method = "io.systemd.UserDatabase." + method
    return json.dumps({"method": method, "parameters": parameters, "more": more}).encode() + b"\0"

def reply(connection):
    told = b""
    while not told.endswith(b"\0"):
        data = connection.recv(65536)
        if not data:
            return None
        told += data
    return json.loads(told[:-1])
"#;

/// Each of them ends its connection, without an answer.
const MALFORMED: &str = r#"
get = b'{"method":"org.varlink.service.GetInfo","parameters":'
for message in [
    get + b"[" * 100000,
    get + b'{"a":' * 100000,
    get + b'{"a":' + b"[" * 7000 + b"]" * 7000 + b"}} x\0",
    b"a" * 1048576,
    b"a" * 1048576 + b"\0",
    get + b'{"a":"' + b"a" * 1048576 + b'"}}\0',
    b"\0" * 100000,
    b"\xff\xfe\0",
    b"[]\0",
    b"GET / HTTP/1.1\r\n\r\n\0",
    get + b'{"a":"\xff"}}\0',
    get + b'{"a":1,"a":1}}\0',
]:
    connection = connect()
    try:
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        told = connection.recv(65536)
    except (BrokenPipeError, ConnectionResetError):
        told = b""
    assert told == b"", (message[:50], told)
for half in [b"", b"{", get, b'{"method":"org.varlink.service.GetInfo"}']:
    connection = connect()
    connection.sendall(half)
    connection.close()
print("done")
"#;

/// Thousands of connections of one user: most are closed, and who has one more waits for nothing.
const CROWD: &str = r#"
open_ones = [connect() for _ in range(2000)]
poll = select.poll()
for connection in open_ones:
    poll.register(connection, select.POLLIN)
alive = len(open_ones)
while alive > 64:
    for number, event in poll.poll(60000):
        poll.unregister(number)
        alive -= 1
print("crowded", flush=True)
sys.stdin.read()
"#;

/// Asks for everybody and reads nothing; when it is told to, one reads all.
const SLOW: &str = r#"
readers = [connect() for _ in range(40)]
for connection in readers:
    connection.sendall(call("GetUserRecord", more=True) * 3)
print("asked", flush=True)
sys.stdin.readline()
told, ends = b"", 0
while ends < 1:
    data = readers[-1].recv(65536)
    assert data
    told += data
    replies = told.split(b"\0")
    ends = sum(1 for reply in replies[:-1] if b'"continues":true' not in reply)
names = [json.loads(reply)["parameters"]["record"]["userName"] for reply in replies[:4000]]
print(len(names), names[0], names[-1], "continues" in json.loads(replies[3999]), flush=True)
"#;

fn stranger(arena: &Arena, uid: u32, script: &str) -> crate::support::Running {
    let script = format!("{PRELUDE}{script}");
    let words = ["/usr/bin/python3", "-I", "-c", &script];
    arena.command(words).user(uid).spawn()
}

/// The memory of the daemon, in KiB.
fn memory(arena: &Arena) -> u64 {
    let daemons = arena.daemons();
    let status = arena
        .run(["cat", &format!("/proc/{}/status", daemons[0])])
        .ok();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let figure = line.and_then(|line| line.split_whitespace().nth(1));
    figure.expect("a figure").parse().expect("a number")
}

/// Users, as the daemon tells them, without any service.
fn populate(arena: &Arena) {
    let script = r#"
import os
os.chdir("/run/dynuser/users")
for number in range(61184, 61184 + 4000):
    home = f":/var/lib/user-{number}"
    os.symlink(f"user-{number}{home}", f"uid:{number}")
    os.symlink(f"{number}{home}", f"name:user-{number}")
"#;
    arena.run(["/usr/bin/python3", "-I", "-c", script]).ok();
}

#[test]
fn what_is_malformed_ends_its_connection_and_costs_nothing() {
    let arena = host();
    let _daemon = daemon(&arena);
    let mut warm = stranger(&arena, 1000, MALFORMED);
    assert_eq!(warm.line(), "done");
    let before = memory(&arena);
    for _ in 0..10 {
        let mut stranger = stranger(&arena, 1000, MALFORMED);
        assert_eq!(stranger.line(), "done");
    }
    let after = memory(&arena);
    assert!(after < before + ROOM, "{before} KiB, then {after}");
    let replies = ask(
        &arena,
        &[call("GetUserRecord", json!({"userName": "wuff"}))],
    );
    let error = "io.systemd.UserDatabase.NoRecordFound";
    assert_eq!(replies, [json!({"error": error, "parameters": {}})]);
}

#[test]
fn a_crowd_of_one_user_shuts_nobody_else_out() {
    let arena = host();
    let mut daemon = daemon(&arena);
    let before = memory(&arena);
    let mut crowd = stranger(&arena, 1001, CROWD);
    assert_eq!(crowd.line(), "crowded");
    let none = call("GetUserRecord", json!({"userName": "nobodyhere"}));
    for _ in 0..20 {
        assert_eq!(ask(&arena, std::slice::from_ref(&none)).len(), 1);
    }
    let id = arena.run(["dynuser", "run", "-u", "wuff", "id", "-un"]);
    assert_eq!(id.ok(), "wuff\n");
    let after = memory(&arena);
    assert!(after < before + ROOM, "{before} KiB, then {after}");
    assert!(daemon.runs());
    crowd.end();
    assert_eq!(ask(&arena, &[none]).len(), 1);
}

#[test]
fn who_reads_a_long_list_slowly_waits_alone_and_gets_all_of_it() {
    let arena = host();
    let _daemon = daemon(&arena);
    populate(&arena);
    let before = memory(&arena);
    let mut slow = stranger(&arena, 1001, SLOW);
    assert_eq!(slow.line(), "asked");
    let list = call("GetUserRecord", json!({}));
    let mut listed: Value = list.clone();
    listed["more"] = true.into();
    for _ in 0..3 {
        let replies = ask(&arena, std::slice::from_ref(&listed));
        assert_eq!(replies.len(), MANY);
        let last = replies.iter().position(|it| it.get("continues").is_none());
        assert_eq!(last, Some(MANY - 1));
    }
    let after = memory(&arena);
    assert!(after < before + ROOM, "{before} KiB, then {after}");
    let refused = ask(&arena, &[list]);
    assert_eq!(refused[0]["error"], "org.varlink.service.ExpectedMore");
    slow.say("read");
    assert_eq!(slow.line(), "4000 user-61184 user-65183 False");
    // nss-systemd, too: getpwent(3), and the host's own users before them.
    let all = arena.run(["getent", "-s", "systemd", "passwd"]).ok();
    assert_eq!(all.lines().count(), MANY);
}
