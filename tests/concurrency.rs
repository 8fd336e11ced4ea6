//! Five hundred requests at once, from no daemon at all, for names that collide, while holders and the daemon die.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use sha2::{Digest, Sha256};
use support::inside::{self, Bodies, Figures, LastOne};
use support::invariants::{Alive, Checker};
use support::random::Random;
use support::service::{Service, Start, daemons, kill, leased, listening, soon};
use support::{Arena, Builder, wait_until};

const SEED: &str = "DYNUSER_CONCURRENCY_SEED";

/// How many ask at once.
const REQUESTS: usize = 500;

/// How many share a name, where a name is shared.
const SHARERS: usize = 10;

/// The number at which the walk begins for each of the names c6676 and so on.
const START: u64 = 62_345;

/// What follows the c in names whose SHA-256 points at [`START`].
#[rustfmt::skip]
const COLLIDING: [u32; 100] = [6676, 13122, 25542, 28087, 29152, 38397, 40398, 42659, 43216, 47792, 52945, 64524, 66643, 71127, 84743, 89691, 93190, 97149, 98799, 107066, 107762, 110909, 119462, 122457, 132882, 134175, 138133, 139985, 153953, 153973, 154361, 156463, 162000, 163780, 176652, 181741, 182125, 186354, 188606, 188685, 189632, 192680, 193771, 200049, 210052, 213038, 215846, 219226, 220590, 220898, 221302, 225452, 225892, 227027, 233543, 235422, 235993, 247388, 254797, 255070, 259985, 263031, 272771, 274673, 275095, 275621, 278900, 284077, 285290, 287700, 289434, 292924, 294067, 304099, 313871, 316305, 317035, 317697, 327644, 331944, 345528, 350655, 357172, 357787, 368951, 371176, 379775, 392291, 399364, 403756, 408584, 408655, 408913, 411690, 411757, 414037, 416082, 417165, 430003, 431684];

/// The name of a request: 25 names of ten launchers each, 100 that begin at the same number, and for
/// the rest one of their own.
fn name(request: usize) -> String {
    match request {
        0..250 => format!("shared-{}", request / SHARERS),
        250..350 => format!("c{}", COLLIDING[request - 250]),
        _ => format!("own-{request}"),
    }
}

#[test]
fn the_colliding_names_collide() {
    for number in COLLIDING {
        let hash = Sha256::digest(format!("c{number}"));
        let first = u64::from_be_bytes(hash[..8].try_into().unwrap());
        assert_eq!(first % 4336 + 61184, START, "c{number}");
    }
}

#[test]
fn five_hundred_at_once_while_holders_and_the_daemon_die() {
    if inside::share().is_none() {
        let bodies = Bodies {
            test: "five_hundred_at_once_while_holders_and_the_daemon_die",
            builder: Builder::default().with_guest(),
            shares: 1,
            patience: Duration::from_secs(120),
            pass: &[SEED],
        };
        let figures = bodies.run();
        println!("concurrency: {}", inside::shown(&figures));
        assert_eq!(figures["violations"], 0);
        return;
    }
    let _last = LastOne;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time")
        .as_secs();
    let seed = env::var(SEED).map_or(now, |text| text.parse().expect(SEED));
    inside::tell(&storm(seed));
}

/// Starts all, kills some, and the daemon once; then ends all, and kills the daemon once more.
fn storm(seed: u64) -> Figures {
    let mut checker = Checker::new();
    let mut random = Random::new(seed);
    let begun = Instant::now();
    // In an order of its own each time, so that others meet.
    let mut order: Vec<usize> = (0..REQUESTS).collect();
    for at in (1..REQUESTS).rev() {
        order.swap(at, usize::try_from(random.below(at as u64 + 1)).unwrap());
    }
    assert_eq!(daemons(), Vec::<u32>::new());
    let mut services: Vec<Service> = order
        .iter()
        .map(|request| Start::new(&name(*request), "shm file up wait").spawn())
        .collect();
    let doomed: Vec<bool> = services.iter().map(|_| random.one_in(3)).collect();
    let alive = come_up(seed, &mut checker, &mut services, &doomed, random);
    let all_up = begun.elapsed();
    // The dead ones are dead before their leases are missed.
    for (service, _) in services
        .iter_mut()
        .zip(&doomed)
        .filter(|(_, doomed)| **doomed)
    {
        service.child.wait().expect("its end");
    }
    let living: Vec<Alive> = alive.iter().flatten().cloned().collect();
    numbers(seed, &living);
    // Whoever asks next finds or starts a daemon, and that takes over what the last one had.
    next(seed, &mut checker, &living);
    let names: BTreeSet<u32> = living.iter().map(|alive| alive.uid).collect();
    soon("the leases of the dead are gone", || {
        leased().into_iter().collect::<BTreeSet<_>>() == names
    });
    checker.check_list(&format!("seed {seed}"));
    checker.check_rest(&format!("all up, seed {seed}"), &living);

    for (number, service) in services.iter_mut().enumerate() {
        drop(service.child.stdin.take());
        if number == REQUESTS / 2
            && let Some(pid) = listening()
        {
            kill(pid, Signal::KILL);
        }
    }
    for (service, doomed) in services.iter_mut().zip(&doomed) {
        let status = service.child.wait().expect("its end");
        assert!(
            *doomed || status.success(),
            "VIOLATION seed {seed}: {status}"
        );
    }
    next(seed, &mut checker, &[]);
    soon("everything has ended", || leased().is_empty());
    checker.check_rest(&format!("at rest, seed {seed}"), &[]);
    let mut figures = checker.figures;
    figures.insert("requests".into(), REQUESTS as u64);
    let killed = doomed.iter().filter(|doomed| **doomed).count();
    figures.insert("holders killed".into(), killed as u64);
    figures.insert(
        "ms until all are up".into(),
        u64::try_from(all_up.as_millis()).unwrap(),
    );
    figures.insert("seed".into(), seed);
    figures.insert("violations".into(), 0);
    figures
}

/// Waits until all that are to live are up, while the others are killed, and the daemon once.
fn come_up(
    seed: u64,
    checker: &mut Checker,
    services: &mut [Service],
    doomed: &[bool],
    mut random: Random,
) -> Vec<Option<Alive>> {
    let up = AtomicUsize::new(0);
    let pids = services.iter().zip(doomed).filter(|(_, doomed)| **doomed);
    let pids: Vec<u32> = pids.map(|(service, _)| service.child.id()).collect();
    let looking = checker;
    thread::scope(|scope| {
        let (up, pids) = (&up, &pids);
        let looker = scope.spawn(move || {
            while up.load(Ordering::SeqCst) < REQUESTS {
                looking.check(&format!("meanwhile, seed {seed}"), &[]);
                // The two processors are for the storm.
                thread::sleep(Duration::from_millis(100));
            }
        });
        let killer = scope.spawn(move || {
            for pid in pids {
                thread::sleep(Duration::from_micros(random.below(20_000)));
                kill(*pid, Signal::KILL);
            }
        });
        let daemon = scope.spawn(move || {
            soon("half of them are up", || {
                up.load(Ordering::SeqCst) >= REQUESTS / 2
            });
            soon("a daemon is killed", || {
                listening().map(|pid| kill(pid, Signal::KILL)).is_some()
            });
        });
        let alive = services.iter_mut().zip(doomed).map(|(service, doomed)| {
            let answer = service.up();
            up.fetch_add(1, Ordering::SeqCst);
            match answer {
                Ok(alive) => (!doomed).then_some(alive),
                Err(_) if *doomed => None,
                Err(why) => panic!("VIOLATION seed {seed}: {why}"),
            }
        });
        let alive = alive.collect();
        looker.join().expect("the checker");
        killer.join().expect("the killer");
        daemon.join().expect("the killer of the daemon");
        alive
    })
}

/// One name has one number, and one number one name.
fn numbers(seed: u64, living: &[Alive]) {
    let mut by_name = BTreeMap::new();
    let mut by_uid = BTreeMap::new();
    for alive in living {
        let uid = *by_name.entry(&alive.name).or_insert(alive.uid);
        assert_eq!(
            uid, alive.uid,
            "VIOLATION seed {seed}: {} has two numbers",
            alive.name
        );
        let name = *by_uid.entry(alive.uid).or_insert(&alive.name);
        assert_eq!(
            *name, alive.name,
            "VIOLATION seed {seed}: {} has two names",
            alive.uid
        );
    }
}

/// One more service, and a check while it runs.
fn next(seed: u64, checker: &mut Checker, living: &[Alive]) {
    let mut next = Start::new("next", "up wait").spawn();
    let alive = next
        .up()
        .unwrap_or_else(|why| panic!("VIOLATION seed {seed}: {why}"));
    let mut all = living.to_vec();
    all.push(alive);
    checker.check(&format!("seed {seed}"), &all);
    assert!(next.end().success());
}

#[test]
fn a_holder_that_dies_while_its_name_is_being_made_known_leaves_no_name() {
    let arena = Arena::new();
    // The daemon stands still before it makes the first link of a name.
    let _daemon = arena.spawn([
        "strace",
        "-f",
        "-o",
        "/tmp/trace",
        "-e",
        "trace=symlink,symlinkat",
        "-e",
        "inject=symlink,symlinkat:delay_enter=1000000:when=1",
        "dynuser",
        "daemon",
    ]);
    arena.wait_for_daemon();
    let first = arena.spawn([
        "dynuser",
        "run",
        "-u",
        "first",
        "-p",
        "RuntimeDirectory=theirs",
        "sleep",
        "1000",
    ]);
    wait_until("its name is about to be made known", || {
        arena.sh("grep -q symlink /tmp/trace").status.success()
    });
    first.signal(Signal::KILL);
    first.end();
    // Another one wants its directory, and must not end the lease under the hands of whoever still makes it.
    let second = [
        "dynuser",
        "run",
        "-u",
        "second",
        "-p",
        "RuntimeDirectory=theirs",
        "true",
    ];
    arena.run(second).ok();
    arena.wait_until_idle();
    assert_eq!(arena.run(["ls", "-A", "/run/dynuser/users"]).ok(), "");
    assert_eq!(arena.run(["ls", "-A", "/run/dynuser/views"]).ok(), "");
    arena.run(["test", "-e", "/run/theirs"]).fails(1);
}

#[test]
fn many_first_starts_at_once_make_one_boundary_of_each_kind() {
    let arena = Arena::new();
    arena
        .sh("mkdir /var/lib/s3 /var/lib/s4; chown 61300:61300 /var/lib/s3; touch /var/lib/s4/file")
        .ok();
    let script = "for n in $(seq 24); do dynuser run -u s$n -p StateDirectory=s$n:links/l$n -p CacheDirectory=s$n/deep \
         -p LogsDirectory=s$n -p RuntimeDirectory=s$n -p RuntimeDirectoryPreserve=yes \
         sh -c 'for d in $STATE_DIRECTORY $CACHE_DIRECTORY $LOGS_DIRECTORY $RUNTIME_DIRECTORY; do \
         echo $USER > $d/own || exit 1; done' & pids=\"$pids $!\"; done; \
         for pid in $pids; do wait $pid || echo failed; done";
    assert_eq!(arena.sh(script).ok(), "");
    for (place, each) in [
        ("/var/lib/private/s*/own", 24),
        ("/var/cache/private/s*/deep/own", 24),
        ("/var/log/private/s*/own", 24),
        ("/run/private/s*/own", 24),
        ("/var/lib/s*/own", 24),
        ("/var/lib/links/l*/own", 24),
    ] {
        let count = arena.sh(&format!("ls {place} | wc -l")).ok();
        assert_eq!(count, format!("{each}\n"), "{place}");
    }
    let left = "ls -A /var/lib /var/lib/private /run/private | grep '^[.]' || echo none";
    assert_eq!(arena.sh(left).ok(), "none\n");
}
