//! Services and daemons, for tests that run inside an arena.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;
use super::inside::GUEST;
use super::invariants::Alive;

const SOCKET: &str = "/run/dynuser/manager";

/// A service that is to be started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) name: String,
    pub(crate) runtime: Option<String>,
    pub(crate) state: Option<String>,
    /// What `dynuser run` is told besides, and what the guest does.
    pub(crate) options: Vec<String>,
    pub(crate) words: Vec<String>,
    /// A file that is told the launcher's PID before it does anything.
    pub(crate) holder_file: Option<String>,
    /// `run`, or `acquire`.
    verb: &'static str,
}

impl Start {
    pub(crate) fn new(name: &str, words: &str) -> Self {
        Self {
            name: name.into(),
            runtime: None,
            state: None,
            options: Vec::new(),
            words: words.split_whitespace().map(str::to_owned).collect(),
            holder_file: None,
            verb: "run",
        }
    }

    /// A user that is held by a descriptor, which a process of root's has. It says "held", not "up".
    pub(crate) fn acquire(name: &str) -> Self {
        Self {
            verb: "acquire",
            ..Self::new(name, "held wait")
        }
    }

    pub(crate) fn runtime(mut self, directory: &str) -> Self {
        self.runtime = Some(directory.into());
        self
    }

    pub(crate) fn state(mut self, directory: &str) -> Self {
        self.state = Some(directory.into());
        self
    }

    /// Starts the launcher.
    pub(crate) fn spawn(self) -> Service {
        let mut words: Vec<String> = vec![
            "dynuser".into(),
            self.verb.into(),
            "-u".into(),
            self.name.clone(),
        ];
        words.extend(self.options);
        for (property, value) in [
            ("RuntimeDirectory", &self.runtime),
            ("StateDirectory", &self.state),
        ] {
            if let Some(value) = value {
                words.extend(["-p".into(), format!("{property}={value}")]);
            }
        }
        let program = if self.words.first().is_some_and(|word| word == "!") {
            "!"
        } else {
            ""
        };
        words.push(format!("{program}{GUEST}"));
        words.extend(self.words.iter().filter(|word| *word != "!").cloned());
        if let Some(file) = &self.holder_file {
            let script = format!("echo $$ > {file}; exec \"$0\" \"$@\"");
            words.splice(0..0, ["sh".into(), "-c".into(), script]);
        }
        let (program, arguments) = words.split_first().expect("words");
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a launcher");
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        Service {
            child,
            stdout,
            name: self.name,
            runtime: self.runtime,
        }
    }
}

/// A launcher, or what it has become.
pub(crate) struct Service {
    pub(crate) child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) name: String,
    runtime: Option<String>,
}

impl Service {
    /// The next line that the service says, or what its launcher said instead.
    pub(crate) fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        if line.ends_with('\n') {
            return Ok(line.trim_end().to_owned());
        }
        let status = self.child.wait().expect("its end");
        let why = self.error();
        Err(format!("{} did not come up ({status}): {why}", self.name))
    }

    /// Waits until the guest says "up", or "held".
    pub(crate) fn up(&mut self) -> Result<Alive, String> {
        let line = self.line()?;
        let mut words = line.split(' ');
        let (Some(uid), Some(pid)) = (words.next(), words.next()) else {
            return Err(format!("it said {line:?}"));
        };
        let hold = |fd| fs::read_link(format!("/proc/{pid}/fd/{fd}")).expect("its descriptor");
        Ok(Alive {
            pid: pid.parse().expect("a PID"),
            uid: super::dynamic_uid(uid),
            name: self.name.clone(),
            runtime: self.runtime.clone(),
            hold: words.next().map(hold),
        })
    }

    /// What was said on standard error. Only for one that has ended: others of its may hold it open.
    pub(crate) fn error(&mut self) -> String {
        let mut text = String::new();
        if let Some(stderr) = self.child.stderr.take() {
            // One line is enough: children that live on may keep the rest open.
            BufReader::new(stderr)
                .read_line(&mut text)
                .expect("its words");
        }
        text
    }

    /// Closes its input and waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().expect("its end")
    }

    /// Kills the launcher, or the service that it has become.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("its end");
    }
}

/// The PIDs of the daemons that are there, whichever way they were started.
pub(crate) fn daemons() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = words.split(|byte| *byte == 0);
        let program = words.next().unwrap_or_default();
        let name = program
            .rsplit(|byte| *byte == b'/')
            .next()
            .unwrap_or_default();
        name.starts_with(b"dynuser") && words.next() == Some(b"daemon")
    })
    .collect()
}

/// Kills every daemon, and waits until they are gone.
pub(crate) fn kill_daemons() {
    soon("the daemons are dead", || {
        let found = daemons();
        for pid in &found {
            kill(*pid, Signal::KILL);
        }
        // The lock is given back a little after the rest of a process is gone.
        found.is_empty() && lock_is_free()
    });
}

fn lock_is_free() -> bool {
    fs::File::open("/run/dynuser/lock").map_or(true, |file| {
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
}

/// Signals a process that may have ended.
pub(crate) fn kill(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a PID");
    let _gone = kill_process(pid, signal);
}

/// The daemon that listens, told by the kernel: it is done with starting.
pub(crate) fn listening() -> Option<u32> {
    let stream = UnixStream::connect(SOCKET).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
    u32::try_from(peer.pid.as_raw_nonzero().get()).ok()
}

/// Whether there is a lease of a number.
pub(crate) fn is_leased(uid: u32) -> bool {
    Path::new(&format!("/run/dynuser/leases/{uid}")).exists()
}

/// The numbers of all leases.
pub(crate) fn leased() -> Vec<u32> {
    let entries = fs::read_dir("/run/dynuser/leases")
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Asks in short intervals until the answer is yes.
///
/// # Panics
/// With `what`, when that takes longer than anything may take.
#[track_caller]
pub(crate) fn soon(what: &str, mut happened: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happened() {
        if begun.elapsed() > PATIENCE / 2 {
            let log = fs::read_to_string("/run/dynuser/log").unwrap_or_default();
            panic!(
                "waited in vain until {what}; leases {:?}, daemons {:?}; log: {log}",
                leased(),
                daemons()
            );
        }
        thread::sleep(Duration::from_micros(300));
    }
}
