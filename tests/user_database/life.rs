//! When the socket is there, and whose it is.

use rustix::process::Signal;

use crate::host::{SOCKET, daemon, host};
use crate::support::{Arena, wait_until};

/// Listens under our name until its input ends, as another program would.
const ANOTHER: &str = r#"
import os, socket, sys
path = "/run/systemd/userdb/org.dynuser"
server = socket.socket(socket.AF_UNIX)
server.bind(path + ".new")
server.listen()
os.rename(path + ".new", path)
print("up", flush=True)
sys.stdin.read()
"#;

fn configure(arena: &Arena, value: &str) {
    arena.sh("mkdir -p /etc/dynuser").ok();
    let text = format!("[Manager]\nUserDatabaseSocket={value}\n");
    arena.put("/etc/dynuser/dynuser.conf", &text, 0o644);
}

/// Mode, owner and kind; nothing where there is nothing.
fn stat(arena: &Arena, path: &str) -> String {
    arena.run(["stat", "-c", "%a %u:%g %F", path]).stdout
}

fn inode(arena: &Arena) -> String {
    arena.run(["stat", "-c", "%d %i", SOCKET]).ok()
}

#[test]
fn it_is_there_where_systemd_made_the_folder_and_goes_with_the_daemon() {
    let arena = host();
    let first = daemon(&arena);
    assert_eq!(stat(&arena, SOCKET), "666 0:0 socket\n");
    first.signal(Signal::TERM);
    first.end();
    assert_eq!(arena.run(["ls", "-A", "/run/systemd/userdb"]).ok(), "");

    let _killed = daemon(&arena);
    let old = inode(&arena);
    arena.kill_daemons();
    assert_eq!(inode(&arena), old, "nobody could remove it");
    arena.run(["rm", "/run/dynuser/manager"]).ok();
    let next = daemon(&arena);
    assert_ne!(inode(&arena), old, "it is another one");
    next.signal(Signal::TERM);
    next.end();
    assert_eq!(arena.run(["ls", "-A", "/run/systemd/userdb"]).ok(), "");
}

#[test]
fn where_systemd_is_not_nothing_is_made_unless_it_is_asked_for() {
    let arena = Arena::new();
    let first = daemon(&arena);
    arena.run(["test", "-e", "/run/systemd"]).fails(1);
    configure(&arena, "yes");
    first.signal(Signal::HUP);
    wait_until("it is there", || !stat(&arena, SOCKET).is_empty());
    assert_eq!(stat(&arena, SOCKET), "666 0:0 socket\n");
    for folder in ["/run/systemd", "/run/systemd/userdb"] {
        assert_eq!(stat(&arena, folder), "755 0:0 directory\n");
    }
    configure(&arena, "no");
    first.signal(Signal::HUP);
    wait_until("it is gone", || stat(&arena, SOCKET).is_empty());
    configure(&arena, "perhaps");
    first.signal(Signal::HUP);
    configure(&arena, "yes");
    first.signal(Signal::HUP);
    wait_until("it is there again", || !stat(&arena, SOCKET).is_empty());
    first.signal(Signal::TERM);
    first.end();
    arena.run(["test", "-e", "/run/systemd"]).fails(1);

    configure(&arena, "no");
    arena.run(["mkdir", "-p", "/run/systemd/userdb"]).ok();
    let _second = daemon(&arena);
    assert_eq!(arena.run(["ls", "-A", "/run/systemd/userdb"]).ok(), "");
}

/// Says what it is told by one connection, twice: the second time when it is asked to.
const TWICE: &str = r#"
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect("/run/systemd/userdb/org.dynuser")
for _ in range(2):
    connection.sendall(b'{"method":"org.varlink.service.GetInfo"}\0')
    print(len(connection.recv(65536)) > 0, flush=True)
    sys.stdin.readline()
"#;

#[test]
fn reading_the_configuration_again_ends_no_connection_and_finds_a_new_folder() {
    let arena = host();
    let daemon = daemon(&arena);
    let served = inode(&arena);
    let mut client = arena.spawn(["/usr/bin/python3", "-I", "-c", TWICE]);
    assert_eq!(client.line(), "True");
    configure(&arena, "yes");
    daemon.signal(Signal::HUP);
    // What comes after it in the log of the daemon is what shows that it was read: a number of a range that it names.
    arena.append("/etc/dynuser/dynuser.conf", "UIDRange=61190");
    daemon.signal(Signal::HUP);
    wait_until("it is read", || {
        arena
            .run(["dynuser", "run", "-u", "wuff", "id", "-u"])
            .stdout
            == "61190\n"
    });
    assert_eq!(inode(&arena), served);
    client.say("again");
    assert_eq!(client.line(), "True");

    arena
        .sh("rm -r /run/systemd/userdb && mkdir /run/systemd/userdb")
        .ok();
    daemon.signal(Signal::HUP);
    wait_until("it is there again", || !stat(&arena, SOCKET).is_empty());
}

#[test]
fn what_somebody_else_has_under_its_name_stays() {
    let arena = host();
    // Before the daemon starts, or while it serves: it is not ours to replace or to remove.
    for before in [true, false] {
        let mut server = None;
        let mut start_another = || {
            let mut another = arena.spawn(["/usr/bin/python3", "-I", "-c", ANOTHER]);
            assert_eq!(another.line(), "up");
            server = Some(another);
            inode(&arena)
        };
        let theirs;
        let daemon = if before {
            theirs = start_another();
            daemon(&arena)
        } else {
            let daemon = daemon(&arena);
            theirs = start_another();
            daemon
        };
        assert_eq!(inode(&arena), theirs);
        daemon.signal(Signal::TERM);
        daemon.end();
        assert_eq!(inode(&arena), theirs);
        drop(server);
        arena.run(["rm", SOCKET]).ok();
    }
    // What is no socket is nothing that a daemon left behind.
    arena.put(SOCKET, "precious", 0o644);
    let daemon = daemon(&arena);
    daemon.signal(Signal::TERM);
    daemon.end();
    assert_eq!(arena.run(["cat", SOCKET]).ok(), "precious");
}
