//! The daemon is killed at every step of allocation, release and adoption in turn: nothing is lost, doubled
//! or left. Once at each point that the program names, and once at each system call that changes
//! anything, in the program as it is shipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use dynuser::sys::fault::Point;
use rustix::process::Signal;
use support::Builder;
use support::inside::{self, Bodies, Figures, LastOne, compiled};
use support::invariants::{Alive, Checker};
use support::service::{Service, Start, daemons, is_leased, kill, kill_daemons, leased, soon};

const FAULTY: &str = "/usr/local/sbin/dynuser-fault";
const KILLER: &str = "/usr/local/sbin/killer";
const HOLDER: &str = "/tmp/holder";

/// The program with its points: what tests/run has built, or what cargo builds now.
fn faulty() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        if let Some(path) = env::var_os("DYNUSER_FAULT_BINARY") {
            return path.into();
        }
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let target = target.parent().expect("the target directory");
        let words =
            "build --quiet --locked --features fault-points --bin dynuser-fault --target-dir";
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(words.split(' '))
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(cargo.status().expect("cargo").success());
        target.join("debug/dynuser-fault")
    };
    PROGRAM.get_or_init(build).clone()
}

fn builder() -> Builder {
    Builder::default()
        .with_guest()
        .with_program(faulty(), FAULTY)
        .with_program(compiled("faults/killer.c"), KILLER)
}

/// How a daemon that was to be killed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The point was not reached.
    Lived,
    /// Before the service was up: its launcher was still waiting.
    KilledEarly,
    KilledLate,
}

/// What holds the victim's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    ByProcess,
    ByDescriptor,
}

/// Where a descriptor that is given away goes by, beside what a process does.
const ON_THE_WAY_OF_DESCRIPTORS: [Point; 16] = [
    Point::CandidateReserved,
    Point::LeaseHalfSaved,
    Point::LeaseSaved,
    Point::LeaseShared,
    Point::NameHalfPublished,
    Point::NamePublished,
    Point::ReplyDue,
    Point::HolderEnded,
    Point::HolderDropped,
    Point::EndingSaved,
    Point::ViewsRemoved,
    Point::HoldsRemoved,
    Point::NameWithdrawn,
    Point::LeaseRemoved,
    Point::LeaseAdopted,
    Point::NamesRepublished,
];

/// Makes the victim's state root's, where its being given is what matters.
fn prepare(point: Point) {
    if !matches!(point, Point::TreeHalfGiven | Point::TreeGiven) {
        return;
    }
    let script = "cd /var/lib/private/kept && touch one two && chown -R 0:0 .";
    let made = Command::new("sh").args(["-c", script]).status();
    assert!(made.expect("a shell").success());
}

/// A host on which services run that have nothing to do with the daemon's death.
struct Host {
    checker: Checker,
    residents: Vec<(Service, Alive)>,
    /// The number that the victim has whenever nothing stands in the way.
    usual: Option<u32>,
    victim: String,
    /// What the victim is told besides.
    options: &'static [&'static str],
    figures: Figures,
    /// What the daemon is killed at now, for messages.
    when: String,
}

impl Host {
    /// `word` is for this test alone.
    fn new(word: &str) -> Self {
        let checker = Checker::new();
        let mut residents = Vec::new();
        let service = |name: &str, words| Start::new(name, words).runtime(name).state(name);
        for start in [
            service("forked", "child file up wait"),
            service("twice", "shm up wait"),
            service("twice", "up wait"),
            Start::acquire("held"),
            Start::acquire("held"),
        ] {
            let mut service = start.spawn();
            let alive = service.up().unwrap_or_else(|why| panic!("{why}"));
            residents.push((service, alive));
        }
        let victim = inside::name_of_our_own(word);
        let figures = Figures::new();
        let mut host = Self {
            checker,
            residents,
            usual: None,
            victim,
            options: &[],
            figures,
            when: "at first".into(),
        };
        for held in [Held::ByProcess, Held::ByDescriptor] {
            let fate = host.life(&mut Command::new(FAULTY), false, held, "");
            assert_eq!(fate, Fate::Lived);
        }
        host
    }

    fn count(&mut self, what: &str) {
        *self.figures.entry(what.into()).or_default() += 1;
    }

    fn alive(&self) -> Vec<Alive> {
        self.residents
            .iter()
            .map(|(_, alive)| alive.clone())
            .collect()
    }

    fn check(&mut self, others: &[&Alive]) {
        let mut alive = self.alive();
        alive.extend(others.iter().copied().cloned());
        self.checker.check(&self.when, &alive);
    }

    /// Starts a daemon that is to die, waits until it listens or has died, and lets a service live and end
    /// meanwhile. `words` are what it does besides.
    fn life(&mut self, doomed: &mut Command, holder_too: bool, held: Held, words: &str) -> Fate {
        kill_daemons();
        let socket = || {
            fs::symlink_metadata("/run/dynuser/manager")
                .map(|found| found.ino())
                .ok()
        };
        let before = socket();
        let mut daemon = doomed
            .arg("daemon")
            .stdin(Stdio::null())
            .spawn()
            .expect("a daemon");
        soon("a daemon listens, or is dead", || {
            socket() != before && socket().is_some()
                || daemon.try_wait().expect("a child").is_some()
        });
        let words = format!("shm sem msg mq file child {words} up wait");
        let mut start = match held {
            Held::ByProcess => Start::new(&self.victim, &words)
                .runtime(&self.victim)
                .state("kept"),
            Held::ByDescriptor => Start::acquire(&self.victim),
        };
        start.options = self.told();
        start.holder_file = holder_too.then(|| HOLDER.into());
        let mut service = start.spawn();
        let up = service.up();
        let early = daemon.try_wait().expect("a child").is_some();
        self.count("leases");
        match up {
            // It came up before the two were killed, or with the next daemon.
            Ok(_) if holder_too => {
                let _killed_or_not = service.end();
            }
            Ok(alive) => match held {
                Held::ByProcess => self.live_on(service, &alive),
                Held::ByDescriptor => self.be_held(service, &alive),
            },
            Err(why) => {
                let status = service.child.wait().expect("its end");
                assert!(
                    holder_too && status.signal() == Some(9),
                    "VIOLATION {}: {why}",
                    self.when
                );
                self.count("holders killed");
                // The same hand ends the daemon, an instant later.
                soon("the daemon is dead, too", || {
                    daemon.try_wait().expect("a child").is_some()
                });
            }
        }
        let usual = self.usual.expect("a number");
        soon("the victim is gone, or the daemon", || {
            !is_leased(usual) || daemon.try_wait().expect("a child").is_some()
        });
        // One that has not met its end yet may do so while it ends by itself.
        if daemon.try_wait().expect("a child").is_none() {
            for pid in daemons() {
                kill(pid, Signal::TERM);
            }
        }
        let status = daemon.wait().expect("its end");
        let killed = status.signal() == Some(9)
            || doomed.get_program() == KILLER && status.code() == Some(0);
        if !killed {
            let by_itself =
                status.code() == Some(if doomed.get_program() == KILLER { 3 } else { 0 });
            assert!(
                by_itself,
                "VIOLATION {}: the daemon ended with {status}",
                self.when
            );
            return Fate::Lived;
        }
        self.count("daemons killed");
        self.rest();
        if early {
            Fate::KilledEarly
        } else {
            Fate::KilledLate
        }
    }

    fn told(&self) -> Vec<String> {
        self.options.iter().map(|it| (*it).to_owned()).collect()
    }

    /// The victim runs. A second one shares its name; then both end.
    fn live_on(&mut self, mut service: Service, alive: &Alive) {
        let usual = *self.usual.get_or_insert(alive.uid);
        self.checker.look_at_keys_of(usual);
        assert_eq!(alive.uid, usual, "VIOLATION {}: another number", self.when);
        self.check(&[alive]);
        let mut second = Start::new(&self.victim, "up wait");
        second.options = self.told();
        let mut second = second.spawn();
        let shared = second
            .up()
            .unwrap_or_else(|why| panic!("VIOLATION {}: {why}", self.when));
        self.count("leases");
        assert_eq!(shared.uid, usual, "VIOLATION {}: not shared", self.when);
        self.check(&[alive, &shared]);
        assert!(service.end().success());
        self.check(&[&shared]);
        assert!(second.end().success());
    }

    /// The victim is held by a descriptor. A service shares the name, and another descriptor does; the first one
    /// is the last.
    fn be_held(&mut self, mut first: Service, alive: &Alive) {
        let usual = self.usual.expect("a number");
        assert_eq!(alive.uid, usual, "VIOLATION {}: another number", self.when);
        self.check(&[alive]);
        let mut others = Vec::new();
        for start in [
            Start::new(&self.victim, "shm child up wait").runtime(&self.victim),
            Start::acquire(&self.victim),
        ] {
            let mut other = start.spawn();
            let shared = other
                .up()
                .unwrap_or_else(|why| panic!("VIOLATION {}: {why}", self.when));
            self.count("leases");
            assert_eq!(shared.uid, usual, "VIOLATION {}: not shared", self.when);
            others.push((other, shared));
            let all: Vec<&Alive> = others.iter().map(|other| &other.1).chain([alive]).collect();
            self.check(&all);
        }
        while let Some((mut other, _)) = others.pop() {
            assert!(other.end().success());
            let all: Vec<&Alive> = others.iter().map(|other| &other.1).chain([alive]).collect();
            self.check(&all);
        }
        assert!(first.end().success());
    }

    /// The next launcher sees to it that all is finished, whatever was begun.
    fn rest(&mut self) {
        let mut next = Start::new("next", "up wait").spawn();
        let alive = next
            .up()
            .unwrap_or_else(|why| panic!("VIOLATION {}: {why}", self.when));
        self.count("leases");
        self.check(&[&alive]);
        assert!(next.end().success());
        let mut residents: Vec<u32> = self.alive().iter().map(|alive| alive.uid).collect();
        residents.sort_unstable();
        residents.dedup();
        soon("only the residents have leases", || {
            let mut now = leased();
            now.sort_unstable();
            now == residents
        });
        self.checker.check_rest(&self.when, &self.alive());
    }

    /// Kills the daemon at the first, second … time that it comes to a point, until it comes to it no more.
    fn at_point(&mut self, point: Point, held: Held) {
        let word = point.word();
        // Keys take the kernel a tenth of a second, so only where they matter.
        let keys = matches!(
            point,
            Point::KillSent | Point::IpcRemoved | Point::KeysCleared
        );
        let words = if keys { "key" } else { "" };
        // Only a service without a view of its own is let through a boundary.
        self.options = match point {
            Point::PassesNoted => &["--sandbox=identity"],
            _ => &[],
        };
        for time in 1.. {
            assert!(time < 100, "{word} is reached for ever");
            let doomed = |also: &str| {
                let mut command = Command::new(FAULTY);
                command
                    .env("DYNUSER_FAULT", format!("{word}:{time}"))
                    .env("DYNUSER_FAULT_ALSO", also);
                command
            };
            self.when = format!("at {word}, time {time}, held {held:?}");
            prepare(point);
            let fate = self.life(&mut doomed(""), false, held, words);
            if fate == Fate::Lived {
                assert!(time > 1, "the daemon never came to the point {word}");
                return;
            }
            self.count("points");
            if fate == Fate::KilledEarly {
                self.when = format!("at {word}, time {time}, held {held:?}, with the holder");
                let _may_be_absent = fs::remove_file(HOLDER);
                prepare(point);
                let fate = self.life(&mut doomed(HOLDER), true, held, words);
                assert_ne!(fate, Fate::Lived, "{}", self.when);
            }
        }
    }

    /// The same where something cannot be taken back.
    fn at_quarantine(&mut self) {
        self.when = "in quarantine".into();
        kill_daemons();
        let mut doomed = Command::new(FAULTY);
        doomed
            .arg("daemon")
            .env("DYNUSER_FAULT", Point::QuarantineSaved.word());
        let socket = || {
            fs::symlink_metadata("/run/dynuser/manager")
                .map(|found| found.ino())
                .ok()
        };
        let before = socket();
        let mut daemon = doomed.stdin(Stdio::null()).spawn().expect("a daemon");
        soon("a daemon listens", || {
            socket() != before && socket().is_some()
        });
        // Root's child with the group of the user is not the user's to end.
        let mut service = Start::new("stuck", "! shown wait").spawn();
        let child: u32 = service.line().expect("a PID").parse().expect("a PID");
        assert!(service.end().success());
        assert_eq!(daemon.wait().expect("its end").signal(), Some(9));
        self.count("daemons killed");
        self.count("points");
        let mut next = Start::new("next", "up wait").spawn();
        let alive = next
            .up()
            .unwrap_or_else(|why| panic!("VIOLATION {}: {why}", self.when));
        self.check(&[&alive]);
        assert!(next.end().success());
        soon("it is in quarantine", || {
            let output = Command::new("dynuser")
                .args(["list", "--json"])
                .output()
                .expect("a list");
            let list: Vec<serde_json::Value> =
                serde_json::from_slice(&output.stdout).expect("JSON");
            let stuck = list
                .iter()
                .find(|lease| lease["name"] == "stuck")
                .expect("VIOLATION: it is gone");
            stuck["state"] == "quarantined"
        });
        kill(child, Signal::KILL);
        kill_daemons();
        self.rest();
    }

    /// Kills the shipped daemon before each call that changes something.
    fn at_calls(&mut self, share: u64, shares: u64) {
        for number in (1..)
            .skip_while(|number| number % shares != share)
            .step_by(usize::try_from(shares).unwrap())
        {
            assert!(number < 2000, "it does not end");
            self.when = format!("before call {number}");
            let doomed = || {
                let mut command = Command::new(KILLER);
                command
                    .args([&number.to_string(), "dynuser"])
                    .stdout(Stdio::null());
                command
            };
            match self.life(&mut doomed(), false, Held::ByProcess, "") {
                Fate::Lived => return,
                Fate::KilledLate => {}
                Fate::KilledEarly => {
                    self.when = format!("before call {number}, with the holder");
                    let _may_be_absent = fs::remove_file(HOLDER);
                    self.life(
                        doomed().env("KILLER_ALSO", HOLDER),
                        true,
                        Held::ByProcess,
                        "",
                    );
                }
            }
            self.count("calls");
        }
    }

    /// Everything ends.
    fn finish(mut self) -> Figures {
        self.when = "at the end".into();
        for (service, _) in &mut self.residents {
            assert!(service.end().success());
        }
        self.residents.clear();
        self.rest();
        self.checker.check_list("at the end");
        self.figures.extend(self.checker.figures);
        self.figures.insert("violations".into(), 0);
        self.figures
    }
}

fn run(test: &str) -> Figures {
    let bodies = Bodies {
        test,
        builder: builder(),
        shares: 2,
        patience: Duration::from_secs(100),
        pass: &[],
    };
    let figures = bodies.run();
    println!("{test}: {}", inside::shown(&figures));
    assert_eq!(figures["violations"], 0);
    figures
}

#[test]
fn a_daemon_that_dies_at_any_point_loses_doubles_and_leaves_nothing() {
    let Some((share, shares)) = inside::share() else {
        let figures = run("a_daemon_that_dies_at_any_point_loses_doubles_and_leaves_nothing");
        let points = u64::try_from(Point::ALL.len()).unwrap();
        assert!(figures["points"] >= points && figures["daemons killed"] >= points);
        return;
    };
    let _last = LastOne;
    let mut host = Host::new("point");
    for (number, point) in (0..).zip(Point::ALL) {
        if number % shares != share {
            continue;
        }
        match point {
            Point::QuarantineSaved => host.at_quarantine(),
            point => host.at_point(*point, Held::ByProcess),
        }
    }
    inside::tell(&host.finish());
}

#[test]
fn a_daemon_that_dies_while_it_gives_a_descriptor_loses_doubles_and_leaves_nothing() {
    let Some((share, shares)) = inside::share() else {
        let figures =
            run("a_daemon_that_dies_while_it_gives_a_descriptor_loses_doubles_and_leaves_nothing");
        assert!(figures["points"] >= ON_THE_WAY_OF_DESCRIPTORS.len() as u64);
        assert!(figures["holders killed"] > 0 && figures["descriptors"] > 0);
        return;
    };
    let _last = LastOne;
    let mut host = Host::new("held");
    for (number, point) in (0..).zip(ON_THE_WAY_OF_DESCRIPTORS) {
        if number % shares == share {
            host.at_point(point, Held::ByDescriptor);
        }
    }
    inside::tell(&host.finish());
}

#[test]
fn a_daemon_that_dies_between_any_two_effects_loses_doubles_and_leaves_nothing() {
    let Some((share, shares)) = inside::share() else {
        let figures =
            run("a_daemon_that_dies_between_any_two_effects_loses_doubles_and_leaves_nothing");
        // Fewer would mean that the tool sees nothing.
        assert!(figures["calls"] > 100);
        return;
    };
    let _last = LastOne;
    let mut host = Host::new("call");
    host.at_calls(share, shares);
    inside::tell(&host.finish());
}
