//! Tests that run as a process of the arena: the test program starts itself again in there, so that PIDs,
//! mounts and IPC objects are simply its own, and thousands of looks cost no process each.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{Arena, Builder};

/// Set inside.
const INSIDE: &str = "DYNUSER_TEST_INSIDE";

/// The number of the process outside, which no other run of the tests has at the same time.
const OUTSIDE: &str = "DYNUSER_TEST_OUTSIDE";

/// Where the test program is in the arena.
const BODY: &str = "/usr/local/bin/body";

/// Starts the line that carries figures out.
const FIGURES: &str = "figures ";

/// What a test counted.
pub(crate) type Figures = BTreeMap<String, u64>;

/// The number of this process among those that share a test, and how many they are; outside nothing.
pub(crate) fn share() -> Option<(u64, u64)> {
    let value = env::var(INSIDE).ok()?;
    // What these tests do to processes and mounts is for an arena alone.
    let init = fs::read_to_string("/proc/1/cmdline").expect("PID 1");
    assert!(init.contains("echo ready"), "not in an arena");
    let (number, of) = value.split_once('/').expect("NUMBER/OF");
    Some((
        number.parse().expect("a number"),
        of.parse().expect("a number"),
    ))
}

/// Ends everything in the arena when it is dropped: whatever a test that has failed leaves would hold its
/// output open.
pub(crate) struct LastOne;

impl Drop for LastOne {
    fn drop(&mut self) {
        assert!(share().is_some());
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if let Some(pid) = pid.filter(|pid| *pid != 1 && *pid != std::process::id()) {
                super::service::kill(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// A user name that no other arena has: kernel keys know no arenas, and a number with keys is not free.
pub(crate) fn name_of_our_own(word: &str) -> String {
    let (number, _) = share().expect("inside");
    format!("{word}-{}-{number}", env::var(OUTSIDE).expect(OUTSIDE))
}

/// A test that several arenas share, each doing a part of it.
pub(crate) struct Bodies<'a> {
    /// The name of the test function.
    pub(crate) test: &'a str,
    /// What the arenas are like.
    pub(crate) builder: Builder,
    /// How many of them.
    pub(crate) shares: u64,
    /// How long they may take.
    pub(crate) patience: Duration,
    /// What goes from the environment into them.
    pub(crate) pass: &'a [&'a str],
}

impl Bodies<'_> {
    /// Runs it and gives the sums of what was counted.
    ///
    /// # Panics
    /// When one of them fails, with everything that it said.
    #[track_caller]
    pub(crate) fn run(&self) -> Figures {
        let exe = env::current_exe().expect("this program");
        let builder = self.builder.with_program(exe, BODY);
        let outputs: Vec<_> = thread::scope(|scope| {
            let one = |number| {
                let arena = builder.start();
                let words = [
                    BODY,
                    "--exact",
                    self.test,
                    "--nocapture",
                    "--test-threads=1",
                ];
                let mut command = arena
                    .command(words)
                    .patience(self.patience)
                    .env(INSIDE, &format!("{number}/{}", self.shares))
                    .env(OUTSIDE, &std::process::id().to_string());
                for name in self.pass {
                    if let Ok(value) = env::var(name) {
                        command = command.env(name, &value);
                    }
                }
                let output = command.run();
                // What the daemon said is worth more than anything else.
                let log =
                    arena.within(|| fs::read_to_string("/run/dynuser/log").unwrap_or_default());
                (output, log)
            };
            let threads: Vec<_> = (0..self.shares)
                .map(|n| scope.spawn(move || one(n)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("an arena"))
                .collect()
        });
        let mut sum = Figures::new();
        for (output, log) in outputs {
            assert!(
                output.status.success(),
                "{output}\n--- the daemon's log\n{log}"
            );
            let line = output
                .stdout
                .lines()
                .find_map(|line| line.strip_prefix(FIGURES));
            let figures: Figures = serde_json::from_str(line.expect("figures")).expect("figures");
            for (name, count) in figures {
                *sum.entry(name).or_default() += count;
            }
        }
        sum
    }
}

/// Hands out what was counted inside.
pub(crate) fn tell(figures: &Figures) {
    println!(
        "\n{FIGURES}{}",
        serde_json::to_string(figures).expect("JSON")
    );
}

/// Figures as one line for people.
pub(crate) fn shown(figures: &Figures) -> String {
    let words: Vec<String> = figures
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    words.join(", ")
}

/// A program in C of the tests, compiled once for each run of them: statically, so that it starts fast
/// and needs nothing of the arena.
pub(crate) fn compiled(source: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(source);
    let name = path
        .file_stem()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let fresh = folder.join(format!(
        "{name}-{}-{:?}",
        std::process::id(),
        thread::current().id()
    ));
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-w", "-static", "-o"])
        .args([&fresh, &path]);
    assert!(cc.status().expect("a C compiler").success());
    // Whole or not at all: several tests may be at it.
    let program = folder.join(name);
    fs::rename(&fresh, &program).expect("rename");
    program
}

impl Arena {
    /// Makes a world with programs of ours in it.
    pub(crate) fn with_guest() -> Self {
        Builder::default().with_guest().start()
    }
}

/// Where the service of the tests is in an arena (tests/faults/guest.c).
pub(crate) const GUEST: &str = "/usr/local/bin/guest";

impl Builder {
    /// Puts tests/faults/guest.c at [`GUEST`].
    pub(crate) fn with_guest(self) -> Self {
        self.with_program(compiled("faults/guest.c"), GUEST)
    }
}
