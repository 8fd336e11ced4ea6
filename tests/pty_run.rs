//! `dynuser run --pty` under the terminal of a person, who is played by `support/terminal.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::Arena;

/// Runs what the person does, and returns what that printed.
#[track_caller]
fn person(arena: &Arena, does: &str) -> String {
    let program = format!("{}{does}", include_str!("support/terminal.py"));
    arena.run(["/usr/bin/python3", "-I", "-c", &program]).ok()
}

#[test]
fn the_shell_of_the_announcement() {
    let arena = Arena::new();
    let text = person(
        &arena,
        r#"
start("dynuser", "run", "--pty", "-u", "wuff", "-p", "StateDirectory=wuff", "sh")
expect(r"[$#] ")
type("PS1='> '\r"); expect("\n> ")
type("id\r"); print(expect(r"uid=\d+\((\w+)\) gid=\d+\((\w+)\)").group(1).decode())
type("ls -al /var/lib/private\r"); print(expect(r"\n(d\S+) .* \.\r").group(1).decode()); expect(r" wuff wuff .* wuff\r")
type("ls -l /var/lib/wuff\r"); expect("-> private/wuff")
type("echo hello > /var/lib/wuff/test\r"); expect("> ")
type("exit 7\r"); print(status())
"#,
    );
    assert_eq!(text, "wuff\ndrwxr-xr-x\n7\n");
    assert_eq!(
        arena.run(["cat", "/var/lib/private/wuff/test"]).ok(),
        "hello\n"
    );
    assert_eq!(
        arena.run(["stat", "-c", "%A %U", "/var/lib/private"]).ok(),
        "drwx------ root\n"
    );
}

#[test]
fn inside_is_a_terminal_of_the_same_size() {
    let text = person(
        &Arena::new(),
        r#"
start("dynuser", "run", "--pty", "-u", "t", "sh", "-c",
      "test -t 0 && test -t 1 && test -t 2 && : > /dev/tty && stty size && tty && ls -l $(tty) && echo $TERM")
print(expect(r"(\d+ \d+)\r\n").group(1).decode())
expect(r"/dev/pts/\d+\r\n")
print(status())
"#,
    );
    assert_eq!(text, "33 101\n0\n");
}

#[test]
fn the_window_may_change_its_size() {
    let text = person(
        &Arena::new(),
        r#"
start("dynuser", "run", "--pty", "sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done")
expect("ready")
size(40, 120); expect("40 120")
size(24, 80); expect("24 80")
type("\x03"); print(status())
"#,
    );
    assert_eq!(text, "130\n");
}

#[test]
fn control_c_reaches_the_service_alone() {
    let text = person(
        &Arena::new(),
        r#"
start("dynuser", "run", "--pty", "sh", "-c", "trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.05; done")
expect("ready")
type("\x03"); expect("interrupted"); print(status())
start("dynuser", "run", "--pty", "sh", "-c", "echo ready; exec sleep 1000")
expect("ready"); type("\x03"); print(status())
start("dynuser", "run", "--pty", "sh", "-c", "echo ready; exec sleep 1000")
expect("ready"); type("\x1c"); print(status())
"#,
    );
    assert_eq!(text, "7\n130\n131\n");
}

#[test]
fn control_d_ends_its_input() {
    let text = person(
        &Arena::new(),
        r#"
start("dynuser", "run", "--pty", "cat")
wait_for("the terminal to be raw", raw)
type("hello\r"); expect("hello\r\nhello\r\n"); type("\x04"); print(status())
"#,
    );
    assert_eq!(text, "0\n");
}

#[test]
fn a_shell_inside_has_job_control() {
    let text = person(
        &Arena::new(),
        r#"
start("dynuser", "run", "--pty", "-u", "jobs", "bash", "--norc", "-i")
expect(r"bash-[\d.]+[$#] ")
print(b"job control" in seen)
type("PS1='> '\r"); expect("\n> ")
type("sleep 1000\r"); wait_for("sleep", lambda: os.system("pgrep -x sleep >/dev/null") == 0)
type("\x1a"); expect("Stopped"); expect("> ")
type("fg\r"); expect("sleep 1000\r\n")
# The shell says so before the job has the terminal: then ^C would be the shell's.
in_front = lambda: os.popen("ps -C sleep -o stat=").read().strip() == "S+"
wait_for("sleep to be in front", in_front)
type("\x03"); expect("> ")
type("exit 3\r"); print(status())
"#,
    );
    assert_eq!(text, "False\n3\n");
}

#[test]
fn much_output_arrives_to_the_last_byte() {
    let text = person(
        &Arena::new(),
        r#"
start("dynuser", "run", "--pty", "--quiet", "sh", "-c", "seq 100000; echo the end")
print(status())
lines = seen.replace(b"\r\n", b"\n").split(b"\n")
print(lines[0], lines[:100000] == [str(n).encode() for n in range(1, 100001)], lines[100000:])
"#,
    );
    assert_eq!(text, "0\nb'1' True [b'the end', b'']\n");
}

#[test]
fn the_modes_of_the_terminal_are_put_back_whatever_happens() {
    // A shell in between keeps the terminal open after dynuser has ended.
    let text = person(
        &Arena::new(),
        r#"
def case(what, command, act):
    start("sh", "-c", f"stty -g >/dev/null; echo go; read x; dynuser run --pty {command}; echo ended $?; read y")
    expect("go")
    before = modes()
    type("\r")
    act()
    code = expect(r"ended (\d+)").group(1).decode()
    print(what, code, modes() == before)
    type("\r"); status()
def ready():
    expect("ready"); wait_for("the terminal to be raw", raw)
wait = "sh -c 'echo ready; exec sleep 1000'"
case("exit", "sh -c 'echo ready; read x; exit 5'", lambda: (ready(), type("x\r")))
case("interrupt", wait, lambda: (ready(), type("\x03")))
case("killed", "sh -c 'echo ready; read x; kill -9 $$'", lambda: (ready(), type("x\r")))
case("no command", "nonsuch", lambda: None)
case("refused", "-p StateDirectory=/x true", lambda: None)
"#,
    );
    let expected =
        "exit 5 True\ninterrupt 130 True\nkilled 137 True\nno command 203 True\nrefused 1 True\n";
    assert_eq!(text, expected);
}

#[test]
fn a_launcher_that_is_told_to_end_puts_the_terminal_back() {
    let text = person(
        &Arena::new(),
        r#"
for name in ["TERM", "HUP"]:
    start("bash", "-c", "echo go; read x; dynuser run --pty sh -c 'echo ready; exec sleep 1000'; echo ended; read y")
    expect("go"); before = modes(); type("\r")
    expect("ready"); wait_for("the terminal to be raw", raw)
    os.system(f"pkill -{name} -f '^dynuser run --pt[y]'")
    expect("ended"); print(name, modes() == before)
    type("\r"); status()
"#,
    );
    assert_eq!(text, "TERM True\nHUP True\n");
}
