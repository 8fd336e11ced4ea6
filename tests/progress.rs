//! Whoever waits while a tree is given is told how far it is.
//!
//! It tells nothing of what is done within a second. So that the second passes, the file system is frozen while
//! the tree is being given (fsfreeze(8)), and thawed then.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::Arena;
use support::volumes::Volume;

const FILES: usize = 30_000;

/// Freezes and thaws, for programs of the person's.
const FREEZE: &str = r#"
import contextlib, glob, time
@contextlib.contextmanager
def slow():
    subprocess.run(["fsfreeze", "-f", "/var/lib/private"], check=True)
    try:
        yield
        until = time.monotonic() + 60
        while not glob.glob("/var/lib/dynuser/giving/*"):
            assert time.monotonic() < until, "nothing is given"
            time.sleep(0.01)
        # The second begins after the note; then all is counted, which must be done before the thaw.
        time.sleep(3)
    finally:
        subprocess.run(["fsfreeze", "-u", "/var/lib/private"], check=True)
"#;

/// State of root's that is long to give.
fn arena() -> Arena {
    let arena = Arena::new();
    arena.sh("mkdir /var/lib/private").ok();
    Volume::Ext4.mount(&arena, "/var/lib/private");
    let script = format!(
        "chmod 700 /var/lib/private && mkdir /var/lib/private/big && ln -s private/big /var/lib/big && \
         cd /var/lib/private/big && seq {FILES} | xargs touch"
    );
    arena.sh(&script).ok();
    arena
}

#[track_caller]
fn person(arena: &Arena, does: &str) -> String {
    let program = format!(
        "{}import subprocess{FREEZE}{does}",
        include_str!("support/terminal.py")
    );
    arena.run(["/usr/bin/python3", "-I", "-c", &program]).ok()
}

fn given(arena: &Arena) {
    let left = arena
        .sh("find /var/lib/private/big ! -user 0 | wc -l; ls -A /var/lib/dynuser/giving")
        .ok();
    // The top is one more.
    assert_eq!(left, format!("{}\n", FILES + 1));
}

#[test]
fn at_a_terminal_a_bar_shows_how_much_is_given_and_goes() {
    let arena = arena();
    let text = person(
        &arena,
        r#"
with slow():
    start("dynuser", "run", "-u", "big", "-p", "StateDirectory=big", "echo", "service-runs")
print(expect(r"(/var/lib/private/big): \[[#.]{24}\] +\d+ % of (\d+) entries").group(2).decode())
expect("\r\x1b\\[K[^[]*service-runs")
print(status())
"#,
    );
    assert_eq!(text, format!("{FILES}\n0\n"));
    given(&arena);
}

#[test]
fn elsewhere_one_line_tells_it() {
    for (quiet, told) in [(false, 1), (true, 0)] {
        let arena = arena();
        let option = if quiet { "\"-q\", " } else { "" };
        let text = person(
            &arena,
            &format!(
                r#"
with slow():
    run = subprocess.Popen(["dynuser", "run", {option}"-u", "big", "-p", "StateDirectory=big", "true"],
                           stderr=subprocess.PIPE, text=True)
said = run.communicate()[1]
assert run.returncode == 0, said
print(said.count("/var/lib/private/big is given to the user of the service"), said.count("\n"))
"#
            ),
        );
        assert_eq!(text, format!("{told} {told}\n"));
        given(&arena);
    }
}

#[test]
fn a_signal_tells_it_on_the_bus() {
    let arena = arena();
    let text = person(
        &arena,
        r#"
import re, socket, struct
def string(text): return struct.pack("<I", len(text)) + text.encode() + b"\0"
def pad(data, to): return data + b"\0" * (-len(data) % to)
def text_field(code, kind, text):
    return struct.pack("<BB", code, 1) + kind.encode() + b"\0" + string(text)
def call():
    # Prepare(s, a{sv}, b) with one property, which is a string.
    entry = pad(string("StateDirectory"), 1) + b"\x01s\0"
    entry = pad(entry, 4) + string("big")
    body = pad(string("big"), 4)
    array = pad(body + b"\0" * 4, 8)
    whole = array + entry
    body = whole[:len(body)] + struct.pack("<I", len(entry)) + whole[len(body) + 4:]
    body = pad(body, 4) + struct.pack("<I", 0)
    signature = "sa{sv}b"
    fields = b""
    for field in (text_field(1, "o", "/org/dynuser1"), text_field(2, "s", "org.dynuser1.Manager"),
                  text_field(3, "s", "Prepare"),
                  struct.pack("<BB", 8, 1) + b"g\0" + bytes([len(signature)]) + signature.encode() + b"\0"):
        fields = pad(fields, 8) + field
    head = struct.pack("<cBBBIII", b"l", 1, 0, 1, len(body), 1, len(fields))
    return pad(head + fields, 8) + body
subprocess.run(["dynuser", "run", "-u", "first", "true"], check=True)
with slow():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect("/run/dynuser/manager")
    connection.sendall(b"\0AUTH EXTERNAL 30\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n" + call())
connection.settimeout(60)
data = b""
while not (found := re.search(rb"ChownProgress.*sa?tt\0.{0,8}\x14\0\0\0/var/lib/private/big\0", data, re.S)):
    piece = connection.recv(65536)
    assert piece, data
    data += piece
while len(data) < found.end() + 24:
    data += connection.recv(65536)
begin = data.rfind(b"l\x04", 0, found.start() + 1)
after = found.end() - begin
after += -after % 8
done, of = struct.unpack_from("<QQ", data, begin + after)
print(0 < done <= of, of)
"#,
    );
    assert_eq!(text, format!("True {FILES}\n"));
}
