//! What the black-box tests share: a private world for one test, and commands inside it.

// Every test file is a crate of its own and uses a part of this.
#![allow(dead_code, clippy::expect_used, clippy::panic)]
#![allow(clippy::arithmetic_side_effects)]

mod command;
pub(crate) mod directories;
pub(crate) mod inside;
pub(crate) mod invariants;
pub(crate) mod random;
pub(crate) mod service;
pub(crate) mod state;
pub(crate) mod volumes;
mod world;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

pub(crate) use command::{Inside, Output, Running};

/// Where commands are looked for inside an arena, and what a service gets as its PATH.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";

/// How long anything may take before it counts as hanging. Generous: a busy machine is no error.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// For a shell that stays root in a sandbox: it leaves a process with the user's group, whom no
/// signal of the user's reaches, and which is called `sleep` when the shell ends.
pub(crate) const LEAVES_ONE_BEHIND: &str = "sleep 1000 >/dev/null 2>&1 & \
     until grep -qx sleep /proc/$!/comm; do :; done; exit 3";

/// PID 1 of an arena: bash reaps whatever is handed to it, as init does, and ends when its standard
/// input is closed, which the end of the test process does even if that was killed.
const INIT: &str = "mount -t proc -o nosuid,nodev,noexec proc /proc && echo ready \
                    && while read -r _; do :; done";

/// A private world for one test: its own mounts, processes, IPC objects, host name and network
/// (`lo` alone), its own /run, /tmp, /var/lib and accounts. Nothing of it stays on the host.
pub(crate) struct Arena {
    /// PID 1. Everything in the arena dies with it.
    init: Child,
    /// Keeps PID 1 alive.
    _stdin: ChildStdin,
    /// The namespaces, to enter them.
    pidfd: OwnedFd,
}

/// What an arena is to have beyond the plain host of a newcomer.
#[derive(Clone, Copy, Default)]
pub(crate) struct Builder {
    module: bool,
    mqueue: bool,
    /// Programs of the tests, and where each is bound.
    programs: &'static [(PathBuf, &'static str)],
}

impl Builder {
    /// Installs the NSS module and names it in nsswitch.conf.
    pub(crate) fn with_module(mut self) -> Self {
        self.module = true;
        self
    }

    /// Binds a program of the test at `path`.
    pub(crate) fn with_program(mut self, program: PathBuf, path: &'static str) -> Self {
        let others = self.programs.iter().cloned();
        // A few of them a test, for as long as it runs.
        self.programs = Vec::leak(others.chain([(program, path)]).collect());
        self
    }

    /// Mounts /dev/mqueue.
    pub(crate) fn with_mqueue(mut self) -> Self {
        self.mqueue = true;
        self
    }

    /// Makes the world and starts its PID 1.
    pub(crate) fn start(self) -> Arena {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test makes namespaces and must be root: run tests/run as root"
        );
        let module = self.module.then(module);
        let mut init = thread::scope(|scope| {
            scope
                .spawn(|| {
                    unshare(
                        CloneFlags::CLONE_NEWNS
                            | CloneFlags::CLONE_NEWPID
                            | CloneFlags::CLONE_NEWIPC
                            | CloneFlags::CLONE_NEWUTS
                            | CloneFlags::CLONE_NEWNET,
                    )
                    .expect("new namespaces");
                    world::build(&binary(), module.as_deref(), self.programs, self.mqueue)
                        .expect("the file system of the arena");
                    Command::new("/bin/bash")
                        .args(["--norc", "-c", INIT])
                        .env_clear()
                        .env("PATH", PATH)
                        .current_dir("/")
                        .stdin(Stdio::piped())
                        .stdout(Stdio::piped())
                        .spawn()
                        .expect("PID 1 of the arena")
                })
                .join()
                .expect("the thread that makes the arena")
        });
        let mut line = String::new();
        BufReader::new(init.stdout.take().expect("PID 1's output"))
            .read_line(&mut line)
            .expect("a line from PID 1");
        assert_eq!(line, "ready\n", "PID 1 of the arena did not come up");
        let stdin = init.stdin.take().expect("PID 1's input");
        let pidfd =
            pidfd_open(Pid::from_child(&init), PidfdFlags::empty()).expect("a pidfd of PID 1");
        Arena {
            init,
            _stdin: stdin,
            pidfd,
        }
    }
}

impl Arena {
    /// The host of a newcomer: nsswitch.conf says `files` alone, nothing is installed.
    pub(crate) fn new() -> Self {
        Builder::default().start()
    }

    /// A host where dynuser is installed: the NSS module is there and nsswitch.conf names it.
    pub(crate) fn with_module() -> Self {
        Builder::default().with_module().start()
    }

    /// A command inside, to be given input, another user or an environment before it runs.
    pub(crate) fn command<I, S>(&self, words: I) -> Inside<'_>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        Inside::new(self, words)
    }

    /// Runs a command inside, as root, to its end.
    pub(crate) fn run<I, S>(&self, words: I) -> Output
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        self.command(words).run()
    }

    /// Runs a shell script inside, as root, to its end.
    pub(crate) fn sh(&self, script: &str) -> Output {
        self.run(["sh", "-c", script])
    }

    /// Starts a command inside, as root, and lets it run.
    pub(crate) fn spawn<I, S>(&self, words: I) -> Running
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        self.command(words).spawn()
    }

    /// A process that has a number, and waits to be ended.
    pub(crate) fn process_of(&self, number: u32) -> Running {
        let number = number.to_string();
        let script = "echo up; exec sleep 1000";
        let identity = ["setpriv", "--reuid", &number, "--clear-groups"];
        let mut process = self.spawn([&identity[..], &["sh", "-c", script]].concat());
        assert_eq!(process.line(), "up");
        process
    }

    /// Writes a file inside.
    pub(crate) fn put(&self, path: &str, content: &str, mode: u32) {
        self.within(|| {
            fs::write(path, content).expect(path);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect(path);
        });
    }

    /// Appends a line to a file inside.
    pub(crate) fn append(&self, path: &str, line: &str) {
        let old = self.within(|| fs::read_to_string(path).expect(path));
        self.within(|| fs::write(path, format!("{old}{line}\n")).expect(path));
    }

    /// Does something on a thread that sees the arena's files (and whose children live in it).
    pub(crate) fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    unshare(CloneFlags::CLONE_FS).expect("a working directory of its own");
                    setns(
                        &self.pidfd,
                        CloneFlags::CLONE_NEWNS
                            | CloneFlags::CLONE_NEWPID
                            | CloneFlags::CLONE_NEWIPC
                            | CloneFlags::CLONE_NEWUTS
                            | CloneFlags::CLONE_NEWNET,
                    )
                    .expect("entering the arena");
                    act()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The mounts of the arena's PID 1, as the kernel lists them.
    pub(crate) fn mounts(&self) -> Vec<String> {
        fs::read_to_string(format!("/proc/{}/mountinfo", self.init.id()))
            .expect("the arena's mounts")
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// The processes of the arena as `PID COMMAND LINE`, without PID 1 and without zombies.
    pub(crate) fn processes(&self) -> Vec<String> {
        self.run(["ps", "-e", "-o", "pid=,stat=,args="])
            .ok()
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let (pid, state) = (words.next()?, words.next()?);
                let command = words.collect::<Vec<_>>().join(" ");
                let counts = pid != "1" && !state.starts_with('Z') && !command.starts_with("ps -e");
                counts.then(|| format!("{pid} {command}"))
            })
            .collect()
    }

    /// The PIDs (inside) of the daemons that run, whatever they call themselves.
    pub(crate) fn daemons(&self) -> Vec<String> {
        let script =
            "files=$(find /proc/[0-9]*/exe -lname '*/dynuser' -printf '%h/cmdline ' 2>/dev/null)
             grep -lzx daemon $files /dev/null 2>/dev/null | cut -d/ -f3";
        self.sh(script).ok().lines().map(str::to_owned).collect()
    }

    /// Kills the daemons that run, and waits until nothing of them is left: a killed process has no program any more a
    /// moment before its last thread takes its files with it, and one may end by itself before it is killed.
    pub(crate) fn kill_daemons(&self) {
        for pid in self.daemons() {
            self.run(["kill", "-9", &pid]);
            let threads = format!("ps -L -o stat= -p {pid} | grep -c '^[^Z]'");
            wait_until("the daemon is dead", || {
                self.sh(&threads).stdout.trim() == "0"
            });
        }
    }

    /// What `dynuser list --json` says.
    pub(crate) fn list(&self) -> Vec<serde_json::Value> {
        let json = self.run(["dynuser", "list", "--json"]).ok();
        serde_json::from_str(&json).unwrap_or_else(|error| panic!("not an array: {error}: {json}"))
    }

    /// Lets every name begin anew: as on a host that has never seen it. No lease may be left.
    pub(crate) fn forget_numbers(&self) {
        self.wait_until_idle();
        self.kill_daemons();
        self.run(["rm", "-rf", "/var/lib/dynuser"]).ok();
    }

    /// Waits until a daemon listens, where none did before.
    pub(crate) fn wait_for_daemon(&self) {
        wait_until("the daemon answers", || {
            self.sh("test -S /run/dynuser/manager").status.success()
        });
    }

    /// Waits until no lease is left.
    pub(crate) fn wait_until_idle(&self) {
        wait_until("all leases have ended", || self.list().is_empty());
    }

    /// Everything that a run could leave behind on disk: names, types, modes, owners, targets.
    pub(crate) fn disk(&self) -> String {
        self.sh(
            "find /var/lib /var/cache /var/log /var/tmp /tmp /run /home /root /dev/shm \
             \\( -path /run/dynuser -o -path /var/lib/dynuser \\) -prune -o -printf '%p %y %m %U:%G %s %l\\n' | sort \
             | sed '/ d /s/ [0-9]* $//'",
        )
        .ok()
    }

    /// Kills the arena with everything in it.
    fn kill(&self) {
        let _gone = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.kill();
        let _status = self.init.wait();
    }
}

/// Asks until the answer is yes.
///
/// # Panics
/// With `what`, when it takes longer than [`PATIENCE`].
pub(crate) fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(
            start.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain until {what}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// The number in `text`, which must be a UID of the range that dynuser hands out.
pub(crate) fn dynamic_uid(text: &str) -> u32 {
    let uid = text
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("not a number: {text:?}"));
    assert!(
        (61184..=65519).contains(&uid),
        "{uid} is not in the range of dynamic users"
    );
    uid
}

/// The program under test: what `tests/run` built for release, or what cargo has just built.
fn binary() -> PathBuf {
    env::var_os("DYNUSER_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_dynuser").into(), PathBuf::from)
}

/// The NSS module as it is shipped.
fn module() -> PathBuf {
    let path = env::var_os("DYNUSER_MODULE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/libnss_dynuser.so"),
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "the NSS module is not at {}: run tests/run, which builds it (or set DYNUSER_MODULE)",
        path.display()
    );
    path
}
