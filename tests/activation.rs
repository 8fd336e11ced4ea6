//! Activations of plain commands, without a sandbox: the loop, the notify socket and the signals, with real
//! processes. What the commands did is read from what they wrote, in order.
//!
//! Not in the usual harness: the loop holds back signals in all of its process, and waits for all children.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::exit)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command as Program, Stdio};

use dynuser::activation::{Activation, List, Terms};
use dynuser::command_text::Command;
use dynuser::directives::Settings;
use dynuser::failure::{Failure, OrFail, Stage};
use dynuser::launcher::activation::{Child, Starter, Surroundings, run};
use dynuser::notify_files::NotifyFile;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

/// Starts plain processes.
struct Plain;

impl Plain {
    fn program(command: &Command, more: &[(String, String)]) -> Program {
        let argv = command.argv(more);
        let mut program = Program::new(&command.path);
        program.args(&argv[1..]).envs(more.iter().cloned());
        program.stdin(Stdio::null());
        // SAFETY: two calls that a child may make between fork and exec.
        unsafe { program.pre_exec(|| Ok(SigSet::empty().thread_set_mask()?)) };
        program
    }
}

impl Starter for Plain {
    fn start(
        &self,
        _: List,
        command: &Command,
        more: &[(String, String)],
    ) -> Result<Child, Failure> {
        let child = Self::program(command, more).spawn();
        let child = child.or_fail(Stage::Exec, &command.path)?;
        let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        let flags = rustix::process::PidfdFlags::empty();
        let pidfd = rustix::process::pidfd_open(pid, flags).or_fail(Stage::Exec, "pidfd")?;
        Ok(Child {
            pid: child.id(),
            pidfd,
            executed: true,
        })
    }

    fn become_it(&self, command: &Command, more: &[(String, String)]) -> Failure {
        let error = Self::program(command, more).exec();
        Failure::new(Stage::Exec, &command.path, error)
    }
}

/// The process of one case: its arguments are `supervise` or `in-place` or `plain`, the folder, and
/// assignments.
fn drive(arguments: &[String]) -> ! {
    let mut settings = Settings::default();
    settings.assign("TimeoutStopSec", "10").unwrap();
    for line in &arguments[2..] {
        let (name, value) = line.split_once('=').unwrap();
        settings.assign(name, value).expect(line);
    }
    let keep = |text: &str| Ok(text.to_owned());
    let parsed = settings.commands.parse(&keep).unwrap();
    let in_place = arguments[0] == "in-place";
    let folder = Path::new(&arguments[1]);
    let notify = (!in_place).then(|| NotifyFile::make_in(folder).unwrap());
    let terms = Terms {
        supervise: arguments[0] == "supervise",
        in_place,
        notify_socket: notify.as_ref().map(|it| it.path.display().to_string()),
        random: 0,
    };
    let activation = Activation::new(settings.commands, parsed, terms);
    let around = Surroundings {
        notify,
        outside: std::env::var_os("NOTIFY_SOCKET"),
        ..Surroundings::default()
    };
    match run(activation, &Plain, around) {
        Ok(status) => std::process::exit(status.into()),
        Err(failure) => {
            eprintln!("{failure}");
            std::process::exit(failure.exit_status().into())
        }
    }
}

/// A case that runs.
struct Case {
    folder: tempfile::TempDir,
    process: Process,
    said: BufReader<std::process::ChildStdout>,
}

impl Case {
    fn start(how: &str, lines: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let lines = lines.iter().map(|line| line.replace("DIR", &path));
        let mut process = Program::new(std::env::current_exe().unwrap())
            .args(["drive", how, &path])
            .args(lines)
            .env_remove("NOTIFY_SOCKET")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        Self {
            folder,
            process,
            said,
        }
    }

    /// Waits for a line of the service.
    fn wait_for(&mut self, wanted: &str) {
        let mut line = String::new();
        while self.said.read_line(&mut line).unwrap() > 0 {
            if line.trim() == wanted {
                return;
            }
            line.clear();
        }
        let mut errors = String::new();
        let _read = self
            .process
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors);
        panic!("it never said {wanted:?}: {errors}");
    }

    /// Waits until the command that runs beside the service has ended, and its end was noticed: a signal
    /// that comes before stops a start, or a reload, that is not over.
    fn wait_until_alone(&self, children: usize) {
        let path = format!("/proc/{0}/task/{0}/children", self.process.id());
        while std::fs::read_to_string(&path)
            .unwrap()
            .split_whitespace()
            .count()
            > children
        {
            std::thread::yield_now();
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for the end: the status, and what was said on standard output since.
    fn end(mut self) -> (i32, Vec<String>, String) {
        let mut text = String::new();
        self.said.read_to_string(&mut text).unwrap();
        let mut errors = String::new();
        let mut stderr = self.process.stderr.take().unwrap();
        stderr.read_to_string(&mut errors).unwrap();
        let status = self.process.wait().unwrap();
        let left: Vec<PathBuf> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap().len() == 32)
            .collect();
        assert!(left.is_empty(), "its socket stays: {left:?}");
        let lines = text.lines().map(str::to_owned).collect();
        (status.code().expect("an exit status"), lines, errors)
    }
}

fn case(how: &str, lines: &[&str], wanted: i32, said: &[&str]) {
    let (status, lines, errors) = Case::start(how, lines).end();
    assert_eq!(
        (status, lines),
        (wanted, said.iter().map(|it| (*it).into()).collect()),
        "{errors}"
    );
}

const RESULT: &str =
    "ExecStopPost=/bin/sh -c 'echo post $$SERVICE_RESULT $$EXIT_CODE $$EXIT_STATUS'";
const UP: &str =
    "ExecStart=/bin/sh -c 'trap \"echo bye; exit 0\" TERM; echo up; while :; do sleep 0.05; done'";

/// sd_notify by hand.
const NOTIFY: &str = "import os,socket,sys,time,signal\n\
def say(text):\n s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.connect(os.environ['NOTIFY_SOCKET']); s.send(text.encode())\n";

fn python(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, format!("{NOTIFY}{text}")).unwrap();
    format!("ExecStart=/usr/bin/python3 {}", path.display())
}

fn oneshots() {
    case(
        "plain",
        &[
            "Type=oneshot",
            "ExecStart=/bin/echo a",
            "ExecStart=-/bin/false",
            "ExecStart=/bin/echo b",
            RESULT,
        ],
        0,
        &["a", "b", "post success exited 0"],
    );
    case(
        "plain",
        &[
            "Type=oneshot",
            "ExecStart=/bin/echo a",
            "ExecStart=/bin/sh -c 'exit 6'",
            "ExecStart=/bin/echo b",
            RESULT,
        ],
        6,
        &["a", "post exit-code exited 6"],
    );
    case(
        "plain",
        &["Type=oneshot", "ExecStart=/no/such/program", RESULT],
        203,
        &["post exit-code exited 203"],
    );
}

fn before_the_start() {
    case(
        "plain",
        &[
            "ExecStartPre=/bin/echo pre",
            "ExecStartPre=/bin/sh -c 'exit 4'",
            "ExecStart=/bin/echo never",
            RESULT,
        ],
        4,
        &["pre", "post exit-code"],
    );
    let lines = [
        "ExecCondition=/bin/sh -c 'exit 3'",
        "ExecStart=/bin/echo never",
        RESULT,
    ];
    case("plain", &lines, 0, &["post exec-condition"]);
}

fn in_place() {
    let lines = [
        "ExecStartPre=/bin/echo pre",
        "ExecStart=/bin/sh -c 'echo $$$$; exit 7'",
    ];
    let case = Case::start("in-place", &lines);
    let pid = case.process.id().to_string();
    let (status, lines, errors) = case.end();
    assert_eq!((status, lines), (7, vec!["pre".into(), pid]), "{errors}");
}

fn a_stop() {
    let stop = "ExecStop=/bin/sh -c 'echo stop $$SERVICE_RESULT $$(test -d /proc/$$MAINPID && echo there)'";
    let mut case = Case::start("plain", &[UP, stop, RESULT]);
    case.wait_for("up");
    case.signal(Signal::SIGTERM);
    let (status, lines, errors) = case.end();
    assert_eq!(
        lines,
        ["stop success there", "bye", "post success exited 0"],
        "{errors}"
    );
    assert_eq!(status, 0);
    // Death by the signal that was asked for is a good end.
    let mut case = Case::start(
        "plain",
        &["ExecStart=/bin/sh -c 'echo up; exec sleep 100'", RESULT],
    );
    case.wait_for("up");
    case.signal(Signal::SIGTERM);
    let (status, lines, _) = case.end();
    assert_eq!(
        (status, lines),
        (0, vec!["post success killed TERM".into()])
    );
}

fn one_that_will_not_end() {
    let mut case = Case::start(
        "plain",
        &[
            "ExecStart=/bin/sh -c 'trap \"\" TERM; echo up; while :; do sleep 1; done'",
            "TimeoutStopSec=200ms",
            RESULT,
        ],
    );
    case.wait_for("up");
    case.signal(Signal::SIGTERM);
    let (status, lines, _) = case.end();
    assert_eq!(
        (status, lines),
        (137, vec!["post timeout killed KILL".into()])
    );
}

/// Whatever a service does to get away, the pipe of its output is closed when all have ended: `end` reads to
/// its end.
fn all_of_it_ends() {
    let away = "setsid sh -c \"(trap \\\"\\\" HUP; echo away; exec sleep 1000) & \" & wait; exec sleep 1000";
    let line = format!("ExecStart=/bin/sh -c '{away}'");
    let mut case = Case::start("plain", &[&line]);
    case.wait_for("away");
    case.signal(Signal::SIGTERM);
    assert_eq!(case.end().0, 0);
    // And when it ends by itself.
    case_of_daemon("ExecStart=/bin/sh -c 'setsid sleep 1000 & exit 3'", 3);
}

fn case_of_daemon(line: &str, wanted: i32) {
    let (status, ..) = Case::start("plain", &[line]).end();
    assert_eq!(status, wanted);
}

fn signals_pass() {
    let mut case = Case::start(
        "plain",
        &[
            "ExecStart=/usr/bin/python3 -c 'import os,signal,sys,time;\\nfor s in (10,12,1): signal.signal(s, lambda n, f: (os.write(1, str(n).encode() + bytes([10])), n==1 and sys.exit(5)))\\nprint(\"up\", flush=True)\\nwhile True: time.sleep(1)'",
        ],
    );
    case.wait_for("up");
    case.signal(Signal::SIGUSR1);
    case.wait_for("10");
    case.signal(Signal::SIGUSR2);
    case.wait_for("12");
    case.signal(Signal::SIGHUP);
    assert_eq!(case.end().0, 5);
}

fn a_reload() {
    let mut case = Case::start(
        "plain",
        &[UP, "ExecReload=/bin/sh -c 'echo reload; exit 9'", RESULT],
    );
    case.wait_for("up");
    case.signal(Signal::SIGHUP);
    case.wait_for("reload");
    case.wait_until_alone(1);
    case.signal(Signal::SIGTERM);
    let (status, lines, _) = case.end();
    assert_eq!(
        (status, lines),
        (0, vec!["bye".into(), "post success exited 0".into()])
    );
}

fn remains() {
    let lines = [
        "Type=oneshot",
        "RemainAfterExit=yes",
        "ExecStart=/bin/true",
        "ExecStartPost=/bin/echo on",
        "ExecStop=/bin/echo off",
    ];
    let mut case = Case::start("plain", &lines);
    case.wait_for("on");
    case.wait_until_alone(0);
    case.signal(Signal::SIGTERM);
    assert_eq!(case.end().1, ["off"]);
}

fn notifies() {
    let folder = tempfile::tempdir().unwrap();
    let start = python(
        folder.path(),
        "n.py",
        "print('starting',flush=True); say('READY=1\\nSTATUS=fine'); time.sleep(1000)",
    );
    let lines = [
        "Type=notify",
        &start,
        "ExecStartPost=/bin/echo started",
        RESULT,
    ];
    let mut case = Case::start("plain", &lines);
    case.wait_for("starting");
    case.wait_for("started");
    case.wait_until_alone(1);
    case.signal(Signal::SIGTERM);
    assert_eq!(case.end().1, ["post success killed TERM"]);
    // A word from somebody else does not count.
    let start = python(
        folder.path(),
        "c.py",
        "\nif os.fork()==0: say('READY=1'); time.sleep(1000)\nprint('waits',flush=True); time.sleep(1000)",
    );
    let lines = [
        "Type=notify",
        &start,
        "ExecStartPost=/bin/echo started",
        "TimeoutStartSec=300ms",
        RESULT,
    ];
    let (status, lines, _) = Case::start("plain", &lines).end();
    assert_eq!(
        (status, lines),
        (143, vec!["waits".into(), "post timeout killed TERM".into()])
    );
    // Unless it may.
    let lines = [
        "Type=notify",
        "NotifyAccess=all",
        &start,
        "ExecStartPost=/bin/echo started",
    ];
    let mut case = Case::start("plain", &lines);
    case.wait_for("started");
    case.wait_until_alone(1);
    case.signal(Signal::SIGTERM);
    assert_eq!(case.end().0, 0);
}

fn says_who_is_main() {
    let folder = tempfile::tempdir().unwrap();
    let text = "\npid=os.fork()\nif pid==0:\n time.sleep(0.1); say('READY=1'); time.sleep(0.1); os._exit(9)\nsay('MAINPID=1'); say('MAINPID=%d' % pid); os._exit(0)";
    let start = python(folder.path(), "m.py", text);
    let lines = [
        "Type=notify",
        "NotifyAccess=all",
        &start,
        "ExecStartPost=/bin/echo started",
        RESULT,
    ];
    case("plain", &lines, 9, &["started", "post exit-code exited 9"]);
}

fn a_barrier() {
    let folder = tempfile::tempdir().unwrap();
    let text = "\nr,w=os.pipe(); s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.connect(os.environ['NOTIFY_SOCKET'])\n\
socket.send_fds(s,[b'BARRIER=1'],[w]); os.close(w); print('eof', os.read(r,1)==b'', flush=True)";
    let start = python(folder.path(), "b.py", text);
    case("plain", &["NotifyAccess=main", &start], 0, &["eof True"]);
}

fn a_watchdog() {
    let folder = tempfile::tempdir().unwrap();
    let text = "print(os.environ['WATCHDOG_USEC'],flush=True)\nsay('READY=1')\nfor i in range(4): time.sleep(0.1); say('WATCHDOG=1')\nprint('silent',flush=True); time.sleep(1000)";
    let start = python(folder.path(), "w.py", text);
    let lines = [
        "Type=notify",
        "WatchdogSec=300ms",
        "LimitCORE=0",
        &start,
        "ExecStopPost=/bin/sh -c 'echo $$SERVICE_RESULT'",
    ];
    case("plain", &lines, 134, &["300000", "silent", "watchdog"]);
}

fn forks() {
    let pid_file = "ExecStart=/bin/sh -c '(echo up; exec sleep 0.2) & echo $$! >DIR/pid'";
    let lines = [
        "Type=forking",
        "PIDFile=DIR/pid",
        pid_file,
        "ExecStartPost=/bin/sh -c 'test -n \"$$MAINPID\" || sleep 0.05'",
        RESULT,
    ];
    case("plain", &lines, 0, &["up", "post success exited 0"]);
    // Late, and by the daemon itself.
    let late = "ExecStart=/bin/sh -c '(sleep 0.2; sh -c \"echo \\$$PPID\" >DIR/pid; exec sh -c \"sleep 0.3; exit 8\") & true'";
    case(
        "plain",
        &["Type=forking", "PIDFile=DIR/pid", late, RESULT],
        8,
        &["post exit-code exited 8"],
    );
    // Another one's process is no main process.
    let foreign = "ExecStart=/bin/sh -c 'sleep 1000 & echo 1 >DIR/pid'";
    let lines = [
        "Type=forking",
        "PIDFile=DIR/pid",
        "TimeoutStartSec=200ms",
        foreign,
        RESULT,
    ];
    case("plain", &lines, 1, &["post timeout"]);
    // Guessed: the only one that is left.
    let guess = "ExecStart=/bin/sh -c '(sleep 0.2; exit 7) & exit 0'";
    case(
        "plain",
        &["Type=forking", guess, RESULT],
        7,
        &["post exit-code exited 7"],
    );
    // Two: it ends when both have.
    let two = "ExecStart=/bin/sh -c '(sleep 0.1; echo one) & (sleep 0.2; echo two) & exit 0'";
    case(
        "plain",
        &["Type=forking", two, RESULT],
        0,
        &["one", "two", "post success"],
    );
    let status = "ExecStart=/bin/sh -c 'exit 5'";
    case(
        "plain",
        &["Type=forking", status, RESULT],
        5,
        &["post exit-code"],
    );
}

fn the_last_one_counts() {
    let line = "ExecStart=/bin/sh -c '(sleep 0.2; echo last) & echo first'";
    case(
        "plain",
        &["ExitType=cgroup", line, RESULT],
        0,
        &["first", "last", "post success exited 0"],
    );
}

fn no_longer() {
    let lines = [
        "ExecStart=/bin/sleep 1000",
        "RuntimeMaxSec=200ms",
        "ExecStop=/bin/sh -c 'echo stop $$SERVICE_RESULT'",
    ];
    case("plain", &lines, 143, &["stop timeout"]);
}

fn again() {
    let count = "ExecStart=/bin/sh -c 'echo x >>DIR/n; echo run; test $$(wc -l <DIR/n) = 3'";
    let lines = ["Restart=on-failure", "RestartSec=10ms", count, RESULT];
    let bad = "post exit-code exited 1";
    case(
        "supervise",
        &lines,
        0,
        &["run", bad, "run", bad, "run", "post success exited 0"],
    );
    case("plain", &lines, 1, &["run", bad]);
    let lines = [
        "Restart=always",
        "RestartSec=1ms",
        "StartLimitBurst=2",
        "ExecStart=/bin/sh -c 'exit 4'",
    ];
    let (status, _, errors) = Case::start("supervise", &lines).end();
    assert_eq!(status, 1);
    assert!(errors.contains("too often"), "{errors}");
}

/// A shell may have started something before it became us.
fn children_from_before_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "sleep 1000 >/dev/null 2>&1 & echo $!; exec {} drive plain {} 'ExecStart=/bin/true' RESTART",
        std::env::current_exe().unwrap().display(),
        folder.path().display()
    )
    .replace("RESTART", "KillMode=control-group");
    let output = Program::new("/bin/sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    let pid: i32 = String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is still there");
}

fn tells_the_supervisor_outside() {
    let folder = tempfile::tempdir().unwrap();
    let socket = NotifyFile::make_in(folder.path()).unwrap();
    let mut process = Program::new(std::env::current_exe().unwrap())
        .args(["drive", "plain", &folder.path().display().to_string()])
        .args(["ExecStart=/bin/true", "ExecStartPost=/bin/true"])
        .env("NOTIFY_SOCKET", &socket.path)
        .spawn()
        .unwrap();
    process.wait().unwrap();
    let mut told = Vec::new();
    while let Some(message) = socket.socket.next().unwrap() {
        assert_eq!(message.pid, process.id());
        told.push(String::from_utf8(message.bytes).unwrap());
    }
    assert_eq!(
        told.last().map(String::as_str),
        Some("STOPPING=1"),
        "{told:?}"
    );
}

type Test = (&'static str, fn());

const TESTS: [Test; 21] = [
    ("oneshots", oneshots),
    ("before_the_start", before_the_start),
    ("in_place", in_place),
    ("a_stop", a_stop),
    ("one_that_will_not_end", one_that_will_not_end),
    ("all_of_it_ends", all_of_it_ends),
    ("signals_pass", signals_pass),
    ("a_reload", a_reload),
    ("remains", remains),
    ("notifies", notifies),
    ("says_who_is_main", says_who_is_main),
    ("a_barrier", a_barrier),
    ("a_watchdog", a_watchdog),
    ("forks", forks),
    ("the_last_one_counts", the_last_one_counts),
    ("no_longer", no_longer),
    ("again", again),
    (
        "children_from_before_are_left_alone",
        children_from_before_are_left_alone,
    ),
    ("tells_the_supervisor_outside", tells_the_supervisor_outside),
    ("a_slow_post", a_slow_post),
    ("a_failing_post", a_failing_post),
];

/// The end of the service waits for the command that runs beside it.
fn a_slow_post() {
    let lines = [
        "ExecStart=/bin/sh -c 'exit 3'",
        "ExecStartPost=/bin/sh -c 'sleep 0.2; echo post'",
        RESULT,
    ];
    case("plain", &lines, 3, &["post", "post exit-code exited 3"]);
}

fn a_failing_post() {
    let lines = [
        "ExecStart=/bin/sleep 1000",
        "ExecStartPost=/bin/sh -c 'exit 4'",
        "ExecStop=/bin/echo never",
        RESULT,
    ];
    case("plain", &lines, 4, &["post exit-code killed TERM"]);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|it| it == "drive") {
        drive(&arguments[1..]);
    }
    let list = arguments.iter().any(|it| it == "--list");
    let wanted: Vec<_> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    let chosen = TESTS.iter().filter(|(name, _)| {
        wanted.is_empty() || wanted.iter().any(|it| name.contains(it.as_str()))
    });
    let mut running = Vec::new();
    for (name, test) in chosen {
        if list {
            println!("{name}: test");
            continue;
        }
        running.push((name, std::thread::spawn(test)));
    }
    let mut failed = 0;
    for (name, thread) in running {
        let well = thread.join().is_ok();
        println!("test {name} ... {}", if well { "ok" } else { "FAILED" });
        failed += i32::from(!well);
    }
    std::process::exit(failed.min(1));
}
