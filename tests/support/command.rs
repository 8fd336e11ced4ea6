//! Commands inside an arena.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Arena, PATH, PATIENCE, wait_until};

/// A command that will run inside an arena: as root, with a small environment, in `/`.
pub(crate) struct Inside<'a> {
    arena: &'a Arena,
    words: Vec<String>,
    input: Vec<u8>,
    descriptor: Option<OwnedFd>,
    patience: Duration,
    command: Command,
}

impl<'a> Inside<'a> {
    pub(super) fn new<I, S>(arena: &'a Arena, words: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let words: Vec<String> = words.into_iter().map(|w| w.as_ref().to_owned()).collect();
        let (program, arguments) = words.split_first().expect("a command");
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/");
        Self {
            arena,
            words,
            input: Vec::new(),
            descriptor: None,
            patience: PATIENCE,
            command,
        }
    }

    /// What it reads from its standard input.
    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Its standard input is a descriptor: for one that is spawned.
    pub(crate) fn descriptor(mut self, descriptor: impl Into<OwnedFd>) -> Self {
        self.descriptor = Some(descriptor.into());
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// How long it may run before it counts as hanging.
    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs it as another user, with the group of the same number.
    pub(crate) fn user(mut self, uid: u32) -> Self {
        self.command.uid(uid).gid(uid);
        self
    }

    /// Runs it to its end. A command that hangs takes the arena with it.
    pub(crate) fn run(self) -> Output {
        let Self {
            arena,
            words,
            input,
            patience,
            mut command,
            ..
        } = self;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = start(arena, &mut command, &words);
        let stdin = child.stdin.take();
        let (done, watch) = channel::<()>();
        let output = thread::scope(|scope| {
            let watchdog = scope.spawn(move || {
                let hangs = watch.recv_timeout(patience) == Err(RecvTimeoutError::Timeout);
                if hangs {
                    arena.kill();
                }
                hangs
            });
            scope.spawn(move || {
                // A program that does not read its input is no error of the test.
                let _ended = stdin.and_then(|mut stdin| stdin.write_all(&input).ok());
            });
            let output = child.wait_with_output().expect("the end of a command");
            drop(done);
            let hangs = watchdog.join().expect("the watchdog");
            assert!(
                !hangs,
                "`{}` (or something that holds its standard output) hung for {patience:?}; \
                 it said {:?} and {:?}",
                shown(&words),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr),
            );
            output
        });
        Output {
            command: shown(&words),
            status: output.status,
            bytes: output.stdout.clone(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts it and lets it run, with pipes on its standard input and output.
    pub(crate) fn spawn(mut self) -> Running {
        let stdin = self.descriptor.take().map_or_else(Stdio::piped, Into::into);
        self.command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = start(self.arena, &mut self.command, &self.words);
        let stdout = child.stdout.take().expect("its output");
        Running {
            child,
            stdout: BufReader::new(stdout),
        }
    }
}

fn start(arena: &Arena, command: &mut Command, words: &[String]) -> Child {
    arena.within(|| {
        command
            .spawn()
            .unwrap_or_else(|error| panic!("starting `{}`: {error}", shown(words)))
    })
}

/// A command as it is told in a message: programs for `sh -c` and the like are cut short.
fn shown(words: &[String]) -> String {
    let short = |word: &String| match word.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", word.split_at(end).0),
        None => word.clone(),
    };
    words.iter().map(short).collect::<Vec<_>>().join(" ")
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Output {
    command: String,
    pub(crate) status: ExitStatus,
    /// Standard output, to the byte.
    pub(crate) bytes: Vec<u8>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Its standard output; it must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.status.success(), "{self}");
        self.stdout
    }

    /// Its standard error; it must have ended with `code`.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self.stderr
    }

    /// Its standard output; it must have ended with `code`.
    #[track_caller]
    pub(crate) fn fails_with_output(self, code: i32) -> String {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self.stdout
    }

    /// The signal that it died of.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}`: {}\n--- standard output\n{}--- standard error\n{}---",
            self.command, self.status, self.stdout, self.stderr
        )
    }
}

/// A command that runs.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// Its PID as the host of the arena sees it.
    fn outer(&self) -> u32 {
        self.child.id()
    }

    /// Its PID inside the arena.
    pub(crate) fn pid(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.outer())).expect("alive");
        status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .and_then(|pids| pids.split_whitespace().last())
            .expect("a line NSpid")
            .to_owned()
    }

    /// Waits until the process has become `program`: the launcher is done.
    pub(crate) fn wait_exec(&mut self, program: &str) {
        let path = format!("/proc/{}/comm", self.outer());
        wait_until(&format!("{program} runs"), || {
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none(), "it ended before {program} ran: {ended:?}");
            fs::read_to_string(&path).is_ok_and(|name| name.trim_end() == program)
        });
    }

    /// The next line of its standard output, without the end of the line.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        line.trim_end_matches('\n').to_owned()
    }

    /// Writes a line to its standard input.
    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("its input");
        writeln!(stdin, "{line}").expect("a line that it reads");
    }

    /// Tells whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// What `/proc` of the host says of it: `status`, `mountinfo`, the links of `ns/`.
    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.outer()).into()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal");
    }

    /// Closes its standard input and waits for its end.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("its output");
        (self.child.wait().expect("its end"), rest)
    }

    /// Ends it with SIGTERM and waits for that.
    pub(crate) fn stop(self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.end().0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; the arena kills what remains.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
