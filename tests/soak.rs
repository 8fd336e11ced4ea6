//! Leases without number, holders and daemons that are killed at any moment: nothing is lost, doubled or left.
//!
//! The short form runs with the other tests. The long one is `tests/soak`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

use std::env;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use support::Builder;
use support::inside::{self, Bodies, Figures, LastOne};
use support::invariants::{Alive, Checker};
use support::random::Random;
use support::service::{Start, is_leased, kill, leased, listening, soon};

/// How many leases, and within how many seconds (set by tests/soak).
const COUNT: &str = "DYNUSER_SOAK_LEASES";
const SECONDS: &str = "DYNUSER_SOAK_SECONDS";
/// To have the same numbers again.
const SEED: &str = "DYNUSER_SOAK_SEED";

/// Launchers at a time.
const WORKERS: u64 = 10;

/// After how many leases a daemon is killed, on average.
const DAEMON_LIVES: u64 = 25;

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| text.parse().expect(name))
}

/// What the workers share.
struct Soak {
    seed: u64,
    begun: AtomicU64,
    holder_kills: AtomicU64,
    descriptors: AtomicU64,
    /// Who is known to live. Held for reading while that is to stay so.
    alive: RwLock<Vec<Alive>>,
    /// What went wrong, if anything did.
    failed: Mutex<Option<String>>,
    ended: Condvar,
}

impl Soak {
    fn fail(&self, why: String) {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(why);
        self.ended.notify_all();
    }

    fn failed(&self) -> MutexGuard<'_, Option<String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One lease after the other, until there were enough.
    fn work(&self, worker: u64, count: u64) {
        let mut random = Random::new(self.seed * 1000 + worker);
        let mut number = 0;
        while self.begun.fetch_add(1, Ordering::SeqCst) < count && self.failed().is_none() {
            number += 1;
            if let Err(why) = self.one(worker, number, &mut random) {
                self.fail(why);
            }
        }
    }

    /// One lease.
    fn one(&self, worker: u64, number: u64, random: &mut Random) -> Result<(), String> {
        let shared = random.one_in(4);
        // Some names come again and again, some once; some are several workers' at the same time.
        let name = match random.below(3) {
            _ if shared => format!("both-{}", random.below(3)),
            0 => format!("once-{worker}-{number}"),
            _ => format!("often-{worker}-{}", random.below(5)),
        };
        let mut words = String::new();
        for word in ["shm", "attached", "sem", "msg", "mq", "file", "child"] {
            if random.one_in(6) {
                words.push_str(word);
                words.push(' ');
            }
        }
        // Its release takes as long as the grace, and so does the next start of its name.
        if !shared && random.one_in(600) {
            words.push_str("deaf ");
        }
        let killed = random.one_in(3);
        let held = random.one_in(6);
        let mut start = if held {
            Start::acquire(&name)
        } else {
            Start::new(&name, &format!("{words}up wait"))
        };
        if !shared && !held {
            // Directories go from one name to the next.
            start = if random.one_in(2) {
                start.state(&format!("kept-{worker}"))
            } else {
                start
            };
            start = if random.one_in(2) {
                start.runtime(&format!("dir-{worker}"))
            } else {
                start
            };
        }
        if random.one_in(5) && !held {
            start.options = vec!["--wait".into(), "--quiet".into()];
        }
        let mut service = start.spawn();
        if killed && random.one_in(2) {
            // At a moment of its start.
            thread::sleep(Duration::from_micros(random.below(8000)));
            service.kill();
            self.holder_kills.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        let alive = service
            .up()
            .map_err(|why| format!("VIOLATION: worker {worker}, lease {number}: {why}"))?;
        if held {
            self.descriptors.fetch_add(1, Ordering::SeqCst);
        }
        self.alive.write().unwrap().push(alive.clone());
        thread::sleep(Duration::from_micros(random.below(20_000)));
        self.alive.write().unwrap().retain(|other| *other != alive);
        if killed {
            service.kill();
            self.holder_kills.fetch_add(1, Ordering::SeqCst);
        } else {
            let status = service.end();
            if !status.success() {
                return Err(format!(
                    "VIOLATION: worker {worker}, lease {number}, {name}: {status}: {}",
                    service.error()
                ));
            }
        }
        Ok(())
    }

    /// Kills daemons, one after so and so many leases.
    fn kill_daemons(&self, count: u64) -> u64 {
        let mut random = Random::new(self.seed);
        let (mut kills, mut next) = (0, DAEMON_LIVES);
        while self.begun.load(Ordering::SeqCst) < count && self.failed().is_none() {
            if self.begun.load(Ordering::SeqCst) >= next
                && let Some(pid) = listening()
            {
                thread::sleep(Duration::from_micros(random.below(5000)));
                kill(pid, Signal::KILL);
                kills += 1;
                next = self.begun.load(Ordering::SeqCst) + 1 + random.below(2 * DAEMON_LIVES);
            }
            thread::sleep(Duration::from_micros(500));
        }
        kills
    }
}

fn soak(count: u64, seconds: u64, seed: u64) -> Figures {
    // A launcher that waits for the end of what is deaf sees every daemon die meanwhile, and it asks no more
    // than twenty of them: so that is to be soon.
    fs::create_dir_all("/etc/dynuser").expect("a folder");
    let conf = "[Manager]\nDefaultTimeoutStopSec=300ms\n";
    fs::write("/etc/dynuser/dynuser.conf", conf).expect("a configuration");
    let mut checker = Checker::new();
    let soak = Soak {
        seed,
        begun: AtomicU64::new(0),
        holder_kills: AtomicU64::new(0),
        descriptors: AtomicU64::new(0),
        alive: RwLock::default(),
        failed: Mutex::default(),
        ended: Condvar::new(),
    };
    let begun = Instant::now();
    let kills = thread::scope(|scope| {
        let soak = &soak;
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| scope.spawn(move || soak.work(worker, count)))
            .collect();
        let killer = scope.spawn(move || soak.kill_daemons(count));
        let (mut told, mut looks) = (0, 0);
        while workers.iter().any(|worker| !worker.is_finished()) {
            {
                let alive = soak.alive.read().unwrap();
                checker.check(&format!("seed {seed}"), &alive);
            }
            if looks % 8 == 0 {
                checker.check_list(&format!("seed {seed}"));
            }
            looks += 1;
            let done = soak.begun.load(Ordering::SeqCst);
            if begun.elapsed().as_secs() > seconds {
                soak.fail(format!("{done} of {count} leases in {seconds} s: too slow"));
            }
            if done / 1000 > told {
                told = done / 1000;
                eprintln!("{done} leases after {} s", begun.elapsed().as_secs());
            }
            // Workers wait for the lock that a check holds; and the machine has others to serve.
            thread::sleep(Duration::from_millis(10));
        }
        killer.join().expect("the killer")
    });
    assert_eq!(*soak.failed(), None, "seed {seed}");
    let mut last = Start::new("last", "up wait").spawn();
    let alive = last
        .up()
        .unwrap_or_else(|why| panic!("VIOLATION seed {seed}: {why}"));
    checker.check("at the end", std::slice::from_ref(&alive));
    assert!(last.end().success());
    soon("everything has ended", || {
        leased().is_empty() && !is_leased(alive.uid)
    });
    checker.check_rest(&format!("at rest, seed {seed}"), &[]);
    let mut figures = checker.figures;
    figures.insert("leases".into(), count);
    figures.insert("daemon kills".into(), kills);
    figures.insert(
        "holder kills".into(),
        soak.holder_kills.load(Ordering::SeqCst),
    );
    figures.insert(
        "descriptors held".into(),
        soak.descriptors.load(Ordering::SeqCst),
    );
    figures.insert("seed".into(), seed);
    figures.insert("violations".into(), 0);
    figures
}

#[test]
fn leases_outlive_random_deaths_of_holders_and_daemons() {
    let test = "leases_outlive_random_deaths_of_holders_and_daemons";
    let (count, seconds) = (number(COUNT, 1500), number(SECONDS, 100));
    if inside::share().is_none() {
        let bodies = Bodies {
            test,
            builder: Builder::default().with_guest(),
            shares: 1,
            patience: Duration::from_secs(seconds + 100),
            pass: &[COUNT, SECONDS, SEED],
        };
        let begun = Instant::now();
        let figures = bodies.run();
        println!(
            "soak: {}, in {} s",
            inside::shown(&figures),
            begun.elapsed().as_secs()
        );
        assert_eq!((figures["leases"], figures["violations"]), (count, 0));
        assert!(figures["descriptors held"] > count / 20);
        return;
    }
    let _last = LastOne;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time")
        .as_secs();
    inside::tell(&soak(count, seconds, number(SEED, now)));
}
