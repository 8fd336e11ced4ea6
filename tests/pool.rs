//! The whole pool: every number of the range is handed out, and then a sentence says who has them. The client
//! (tests/pool/client.py) shares no code with the program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use support::{Arena, Running, wait_until};

const CLIENT: &str = "/usr/local/lib/client.py";

const DEFAULT: RangeInclusive<u32> = 61184..=65519;

/// As many as the default range has, where no other trial on this machine leaves kernel keys.
const FAR: RangeInclusive<u32> = 100_000..=104_335;

/// How long all the numbers together may take on a machine that has other things to do.
const LONG: Duration = Duration::from_secs(300);

/// Starts a daemon in the foreground and waits until it listens.
fn daemon(arena: &Arena) -> Running {
    let socket = || arena.within(|| UnixStream::connect("/run/dynuser/manager").is_ok());
    let mut daemon = arena.spawn(["dynuser", "daemon"]);
    wait_until("the daemon listens", || {
        assert!(daemon.runs(), "the daemon ended");
        socket()
    });
    daemon
}

/// The client, with room for a descriptor of each number.
fn client(arena: &Arena) -> Running {
    arena.put(CLIENT, include_str!("pool/client.py"), 0o644);
    let script = format!("ulimit -n 8192 && exec python3 {CLIENT}");
    arena.spawn(["bash", "-c", &script])
}

/// Says a command and gives the answer.
fn ask(client: &mut Running, command: &str) -> Result<String, String> {
    client.say(command);
    let line = client.line();
    match line.split_once(' ') {
        Some(("ok", answer)) => Ok(answer.to_owned()),
        Some(("error", why)) => Err(why.to_owned()),
        _ => panic!("{command}: {line:?}"),
    }
}

/// Acquires until nothing is left: the numbers, and the time that the last one took.
fn fill(client: &mut Running) -> (Vec<u32>, Duration) {
    let answer = ask(client, "fill n").expect("numbers");
    let mut words = answer
        .split(' ')
        .map(|word| word.parse().expect("a number"));
    let last = Duration::from_micros(words.next().expect("a time"));
    let uids = words.map(|uid| u32::try_from(uid).expect("a number"));
    (uids.collect(), last)
}

/// The numbers of the default range that carry kernel keys: these know no arenas, and whoever left some on this
/// machine takes numbers from us.
fn keyed() -> BTreeSet<u32> {
    let users = fs::read_to_string("/proc/key-users").expect("key-users");
    let keyed = |line: &str| {
        let (uid, rest) = line.split_once(':')?;
        let some = !rest.split_whitespace().nth(1)?.starts_with("0/");
        uid.trim()
            .parse()
            .ok()
            .filter(|uid| some && DEFAULT.contains(uid))
    };
    users.lines().filter_map(keyed).collect()
}

fn state(arena: &Arena, state: &str) -> BTreeMap<String, u64> {
    let leases = arena
        .list()
        .into_iter()
        .filter(|lease| lease["state"] == state);
    let pair = |lease: serde_json::Value| {
        let name = lease["name"].as_str().expect("a name").to_owned();
        (name, lease["uid"].as_u64().expect("a number"))
    };
    leases.map(pair).collect()
}

/// How many entries a folder of a process has.
fn count(arena: &Arena, process: &Running, folder: &str) -> usize {
    let path = format!("/proc/{}/{folder}", process.pid());
    arena.within(|| fs::read_dir(path).expect("alive").count())
}

#[test]
fn every_number_that_nobody_has_is_handed_out_and_then_a_sentence_says_who_has_them() {
    let arena = Arena::new();
    let taken = [61190_u32, 62345, 65519];
    arena.append(
        "/etc/passwd",
        &format!("human:x:{}:100::/:/bin/sh", taken[0]),
    );
    let process = arena.process_of(taken[1]);
    arena
        .sh(&format!(
            "touch /dev/shm/left && chown {} /dev/shm/left",
            taken[2]
        ))
        .ok();
    let _daemon = daemon(&arena);
    // A child that is root's but has the user's group is not the user's to end.
    let script = "sleep 2000 >/dev/null 2>&1 & exit 0";
    arena.run([
        "dynuser", "run", "--wait", "-q", "-u", "stuck", "!sh", "-c", script,
    ]);
    let stuck = u32::try_from(state(&arena, "quarantined")["stuck"]).unwrap();

    let mut client = client(&arena);
    let before = keyed();
    let (uids, last) = fill(&mut client);
    let why = ask(&mut client, "acquire more").expect_err("nothing is left");
    let after = keyed();
    println!("{} numbers, the last one took {last:?}: {why}", uids.len());

    let names = uids.len();
    let found: BTreeSet<u32> = uids.iter().copied().collect();
    assert_eq!(found.len(), names, "a number twice");
    // Others on this machine may have left keys meanwhile, or taken them away: these may be here or not.
    let foreign: BTreeSet<u32> = taken.into_iter().chain([stuck]).collect();
    for uid in DEFAULT {
        let is_keyed = before.contains(&uid) || after.contains(&uid);
        let expected = !foreign.contains(&uid) && !is_keyed;
        let unclear = before.contains(&uid) != after.contains(&uid);
        assert!(
            unclear || found.contains(&uid) == expected,
            "{uid}: {expected}"
        );
    }
    assert!(found.iter().all(|uid| DEFAULT.contains(uid)), "{found:?}");

    let others = 4336 - 1 - names;
    for part in [
        "none of the 4336 numbers of 61184-65519 is free".to_owned(),
        format!("{names} are leased"),
        "1 in quarantine (dynuser list says why)".into(),
        format!("{others} taken by others: "),
        "/etc/dynuser/dynuser.conf (UIDRange=)".into(),
    ] {
        assert!(why.contains(&part), "{part:?}: {why}");
    }

    assert!(!why.contains("being looked at"), "counted twice: {why}");

    // What is given back is handed out again, and nothing else.
    let at = names / 2;
    let own = format!("n{at}");
    let mut had = own.clone();
    for name in ["another", own.as_str(), "a-third"] {
        ask(&mut client, &format!("drop {had}")).unwrap();
        let acquire = format!("acquire {name}");
        let mut given = None;
        wait_until("it is given back", || {
            given = ask(&mut client, &acquire).ok();
            given.is_some()
        });
        assert_eq!(given, Some(uids[at].to_string()));
        let why = ask(&mut client, "acquire more").expect_err("nothing is left");
        assert!(why.contains(&format!("{names} are leased")), "{why}");
        had = name.into();
    }
    process.stop();
    let again = ask(&mut client, "acquire more").expect("the process has ended");
    assert_eq!(again, taken[1].to_string());
}

#[test]
fn who_has_a_number_is_told_where_few_are_taken() {
    let arena = Arena::new();
    arena.sh("mkdir -p /etc/dynuser").ok();
    arena.put(
        "/etc/dynuser/dynuser.conf",
        "[Manager]\nUIDRange=100000-100005\n",
        0o644,
    );
    arena.append("/etc/passwd", "human:x:100001:100::/:/bin/sh");
    arena.append("/etc/group", "humans:x:100002:");
    arena
        .sh("touch /dev/shm/left && chgrp 100003 /dev/shm/left")
        .ok();
    let words = [
        "setpriv",
        "--regid=100004",
        "--clear-groups",
        "sh",
        "-c",
        "echo up; exec sleep 1000",
    ];
    let mut process = arena.spawn(words);
    assert_eq!(process.line(), "up");
    let _daemon = daemon(&arena);
    let mut client = client(&arena);
    let (uids, _) = fill(&mut client);
    assert_eq!(
        BTreeSet::from_iter(uids),
        BTreeSet::from([100_000, 100_005])
    );
    let why = ask(&mut client, "acquire more").expect_err("nothing is left");
    for part in [
        "none of the 6 numbers of 100000-100005 is free",
        "2 are leased",
        "4 taken by others: ",
        "100001 by the user human",
        "100002 by the group humans",
        "100003 by file /dev/shm/left",
        &format!("100004 by process {} (sleep)", process.pid()),
    ] {
        assert!(why.contains(part), "{part:?}: {why}");
    }
    assert!(
        !why.contains('…') && !why.contains("quarantine") && !why.contains("being looked at"),
        "{why}"
    );
}

#[test]
fn a_full_range_is_listed_adopted_and_given_back_as_a_whole() {
    let arena = Arena::with_module();
    let range = format!("{}-{}", FAR.start(), FAR.end());
    arena.sh("mkdir -p /etc/dynuser").ok();
    let conf = format!("[Manager]\nUIDRange={range}\n");
    arena.put("/etc/dynuser/dynuser.conf", &conf, 0o644);
    let first = daemon(&arena);
    let mut client = client(&arena);
    let (uids, last) = fill(&mut client);
    assert_eq!(uids.len(), 4336);
    assert!(
        uids.iter()
            .copied()
            .collect::<BTreeSet<u32>>()
            .into_iter()
            .eq(FAR)
    );
    let names: BTreeMap<String, u64> = (0..)
        .zip(&uids)
        .map(|(n, uid): (u32, _)| (format!("n{n}"), u64::from(*uid)))
        .collect();
    let why = ask(&mut client, "acquire more").expect_err("nothing is left");
    assert!(why.contains("4336 are leased; more can be given"), "{why}");

    let passwd = || -> BTreeMap<String, u64> {
        let text = arena.run(["getent", "passwd"]).ok();
        let records = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let pair = |record: Vec<&str>| (record[0].to_owned(), record[2].parse().expect("a number"));
        let ours =
            |(_, uid): &(String, u64)| u32::try_from(*uid).is_ok_and(|uid| FAR.contains(&uid));
        records.map(pair).filter(ours).collect()
    };
    assert_eq!(passwd(), names);
    assert_eq!(state(&arena, "running"), names);

    arena.run(["kill", "-9", &first.pid()]).ok();
    first.end();
    let begun = Instant::now();
    let next = daemon(&arena);
    println!(
        "the last of 4336 took {last:?}; all were adopted in {:?}",
        begun.elapsed()
    );
    assert_eq!(state(&arena, "running"), names);
    assert_eq!(passwd(), names);
    let why = ask(&mut client, "acquire more").expect_err("nothing is left");
    assert!(why.contains("4336 are leased; more can be given"), "{why}");
    assert!(
        count(&arena, &next, "fd") >= 4336,
        "it watches each of them"
    );

    let begun = Instant::now();
    assert!(client.end().0.success());
    while begun.elapsed() < LONG
        && !arena.within(|| {
            fs::read_dir("/run/dynuser/leases")
                .unwrap()
                .next()
                .is_none()
        })
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("all were given back in {:?}", begun.elapsed());
    arena.wait_until_idle();
    for folder in ["leases", "holds", "views"] {
        assert_eq!(
            arena
                .run(["ls", "-A", &format!("/run/dynuser/{folder}")])
                .ok(),
            ""
        );
    }
    assert_eq!(
        arena.run(["ls", "-A", "/run/dynuser/users"]).ok(),
        "ranges\n"
    );
    assert_eq!(passwd(), BTreeMap::new());
    wait_until("its descriptors are few again", || {
        count(&arena, &next, "fd") < 60
    });
    // However many ended at once, it saw to them with so many threads; they end when they are idle.
    let threads = count(&arena, &next, "task");
    assert!(threads <= 70, "{threads} threads");
}
