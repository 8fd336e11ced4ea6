//! `dynuser history`: who held a number when, whatever became of the daemon, the host and the disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

use serde_json::Value;
use support::{Arena, Running, wait_until};

const HISTORY: &str = "/var/lib/dynuser/history";

/// A number where nobody leaves kernel keys.
const FIRST: u32 = 200_000;

fn configured(lines: &str) -> Arena {
    let arena = Arena::new();
    arena.sh("mkdir -p /etc/dynuser").ok();
    let conf = format!("[Manager]\n{lines}\n");
    arena.put("/etc/dynuser/dynuser.conf", &conf, 0o644);
    arena
}

/// A service that runs until its input is closed, with its number.
fn service(arena: &Arena, name: &str) -> (Running, String) {
    let script = "id -u; read -r _; true";
    let mut service = arena.spawn(["dynuser", "run", "-u", name, "sh", "-c", script]);
    let uid = service.line();
    (service, uid)
}

fn history(arena: &Arena, words: &[&str]) -> Vec<Value> {
    let all = [&["dynuser", "history", "--json"], words].concat();
    let output = arena.run(all);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output}");
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// Waits until the last lease of a name has come to this end.
fn ended(arena: &Arena, name: &str, end: &str) -> Value {
    let last = || history(arena, &[name]).pop().unwrap_or_default();
    wait_until(&format!("{name}: {end}"), || last()["end"] == end);
    last()
}

fn names(found: &[Value]) -> Vec<&str> {
    found
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect()
}

/// A time of the clock, for --at.
fn at(seconds: f64) -> String {
    format!("@{seconds:.6}")
}

fn now() -> f64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

#[test]
fn one_number_goes_through_many_hands_and_each_is_found_by_the_time() {
    let arena = configured(&format!("UIDRange={FIRST}"));
    let uid = FIRST.to_string();
    let before = now();
    for name in ["wuff", "miau", "wuff"] {
        let (service, of_it) = service(&arena, name);
        assert_eq!(of_it, uid);
        assert!(service.end().0.success());
        arena.wait_until_idle();
        ended(&arena, name, "ended");
    }
    let (_live, _) = service(&arena, "live@x.y");
    let found = history(&arena, &[&uid]);
    let user = found[3]["name"].as_str().unwrap().to_owned();
    assert_eq!(names(&found), ["wuff", "miau", "wuff", &user]);
    assert_eq!(found[3]["service"], "live@x.y");
    assert_eq!(found[3]["end"], "running");
    assert_eq!(found[3]["until"], Value::Null);
    let mut last = before;
    for (nth, one) in found.iter().enumerate() {
        let from = one["from"].as_f64().unwrap();
        assert!(from > last, "{found:?}");
        last = one["until"].as_f64().unwrap_or_else(now);
        assert!(last > from, "{found:?}");
        let middle = at(f64::midpoint(from, last));
        let then = history(&arena, &[&uid, "--at", &middle]);
        assert_eq!(then, [found[nth].clone()], "{middle}");
    }
    // By name, by service, with the words that a log has, and all of them.
    assert_eq!(names(&history(&arena, &["miau"])), ["miau"]);
    assert_eq!(history(&arena, &["live@x.y.service"]).len(), 1);
    assert_eq!(history(&arena, &[]).len(), 4);
    let from = found[1]["from"].as_f64().unwrap();
    let local = arena
        .sh(&format!("TZ=Asia/Kolkata date -d @{from} '+%F %T'"))
        .ok();
    let words = ["dynuser", "history", "miau", "--at", local.trim()];
    let table = arena.command(words).env("TZ", "Asia/Kolkata").run().ok();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert!(lines[0].starts_with("UID     NAME  FROM"), "{table}");
    assert!(
        lines[1].starts_with(&format!("{FIRST}  miau  {}", local.trim())),
        "{table}"
    );
    let since = ["--since", &at(from), "--until", &at(from)];
    assert_eq!(names(&history(&arena, &since)), ["miau"]);
    // Nobody had it: that is said, and how far back it is known.
    let nobody = arena.run(["dynuser", "history", &uid, "--at", &at(before)]);
    let why = nobody.fails(1);
    assert!(why.contains("nobody had 200000 at that time"), "{why}");
    assert!(why.contains("the history goes back to 20"), "{why}");
    let why = arena.run(["dynuser", "history", "stranger"]).fails(1);
    assert!(why.contains("stranger had no number"), "{why}");
    for bad in ["gestern", "2026-02-30", "+1h"] {
        let why = arena.run(["dynuser", "history", "--at", bad]).fails(1);
        assert!(why.contains(bad), "{why}");
    }
    let why = arena
        .command(["dynuser", "history"])
        .user(1000)
        .run()
        .fails(1);
    assert!(why.contains("only root"), "{why}");
    assert_eq!(arena.sh(&format!("stat -c %a {HISTORY}")).ok(), "600\n");
}

#[test]
fn users_that_nobody_named_are_told_too() {
    let arena = Arena::new();
    let uid = arena.run(["dynuser", "run", "id", "-u"]).ok();
    arena.wait_until_idle();
    let found = history(&arena, &[uid.trim()]);
    assert_eq!(found.len(), 1);
    assert!(
        found[0]["service"].as_str().unwrap().starts_with("run-"),
        "{found:?}"
    );
    ended(&arena, found[0]["name"].as_str().unwrap(), "ended");
}

#[test]
fn what_ended_while_no_daemon_ran_is_found_out_by_the_next() {
    let arena = Arena::new();
    let (first, _) = service(&arena, "first");
    let (second, of_second) = service(&arena, "second");
    let (_third, _) = service(&arena, "third");
    wait_until("they are told", || history(&arena, &[]).len() == 3);
    arena.kill_daemons();
    // The one ends; and of the other the daemon had taken everything back, and could not write that any more.
    first.end();
    second.end();
    arena
        .sh(&format!("rm /run/dynuser/leases/{of_second}"))
        .ok();
    let unseen = || {
        let last = history(&arena, &["second"]).pop().unwrap();
        assert_eq!(last["end"], "unseen");
        assert_eq!(last["until"], Value::Null);
        last["until_before"].as_f64().unwrap()
    };
    assert!(unseen() <= now());
    assert_eq!(
        history(&arena, &["first"])[0]["end"],
        "running",
        "its number is not free yet"
    );
    let between = now();
    arena.run(["dynuser", "run", "-u", "next", "true"]).ok();
    let first = ended(&arena, "first", "ended");
    assert!(first["until"].as_f64().unwrap() >= between);
    ended(&arena, "next", "ended");
    let known = unseen();
    assert!(
        (between..now()).contains(&known),
        "when the next daemon began"
    );
    assert_eq!(history(&arena, &["third"])[0]["end"], "running");
    let table = arena.run(["dynuser", "history", "second"]).ok();
    assert!(table.contains("unknown, before 20"), "{table}");
    // Of one that was never written down (the file is new) the beginning is known all the same.
    let begun = history(&arena, &["third"])[0]["from"].clone();
    arena.kill_daemons();
    arena.run(["rm", HISTORY]).ok();
    assert_eq!(
        history(&arena, &["third"])[0]["from"],
        begun,
        "its lease is there"
    );
    arena.run(["dynuser", "run", "-u", "next", "true"]).ok();
    ended(&arena, "next", "ended");
    let text = arena.run(["cat", HISTORY]).ok();
    assert_eq!(
        text.lines()
            .filter(|line| line.contains(" third third"))
            .count(),
        1,
        "{text}"
    );
}

#[test]
fn a_reboot_ends_what_was_there_and_by_when_is_all_that_is_known() {
    let arena = Arena::new();
    let (service, uid) = service(&arena, "former");
    wait_until("it is told", || history(&arena, &[]).len() == 1);
    arena.kill_daemons();
    drop(service);
    arena.sh("rm -rf /run/dynuser").ok();
    // As an earlier boot would have written it, an hour before this one began.
    let text = arena.run(["cat", "/proc/uptime"]).ok();
    let uptime: f64 = text.split(' ').next().unwrap().parse().unwrap();
    let start = now() - uptime;
    let begun = (start - 3600.0).floor();
    let boot = "00000000-0000-4000-8000-000000000000";
    let line = format!("begun {begun}.000000000 99.000 {boot} {uid} former former\n");
    let alive = format!("alive {begun}.000000000 98.000 {boot} 0\n");
    arena.put(HISTORY, &format!("{alive}{line}"), 0o600);
    for _daemon in ["none", "another"] {
        let found = history(&arena, &["former"]);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (&found[0]["end"], &found[0]["until"]),
            (&"reboot".into(), &Value::Null)
        );
        let before = found[0]["until_before"].as_f64().unwrap();
        assert!((before - start).abs() < 5.0, "{before} is not {start}");
        let table = arena
            .run(["dynuser", "history", &uid, "--at", &at(begun + 60.0)])
            .ok();
        assert!(table.contains("reboot before 20"), "{table}");
        arena
            .run(["dynuser", "history", &uid, "--at", &at(begun - 60.0)])
            .fails(1);
        arena.run(["dynuser", "run", "-u", "next", "true"]).ok();
        ended(&arena, "next", "ended");
    }
    let text = arena.run(["cat", HISTORY]).ok();
    assert!(text.contains(&line), "{text}");
}

#[test]
fn it_grows_no_further_and_never_forgets_who_is_there() {
    let arena = configured(&format!("HistoryMaxSize=64K\nUIDRange={FIRST}-200999"));
    let (_live, of_live) = service(&arena, "live");
    let begun = history(&arena, &["live"])[0]["from"].clone();
    let long = "x".repeat(200);
    // Each takes two lines of some 300 bytes: four times what there is room for.
    let script = format!(
        "i=0; while [ $i -lt 500 ]; do dynuser run -u {long}$i true || exit 1; i=$((i+1)); done"
    );
    arena.sh(&script).ok();
    ended(&arena, &format!("{long}499"), "ended");
    let sizes = arena
        .sh(&format!("stat -c %s {HISTORY} {HISTORY}.old"))
        .ok();
    let sizes: Vec<u64> = sizes.lines().map(|size| size.parse().unwrap()).collect();
    assert!(sizes.iter().sum::<u64>() <= 64 << 10, "{sizes:?}");
    assert!(sizes[1] > 24 << 10, "{sizes:?}");
    let found = history(&arena, &[]);
    assert!((60..400).contains(&found.len()), "{}", found.len());
    assert_eq!(names(&found)[0], "live", "the oldest of all");
    assert_eq!(
        (&found[0]["from"], &found[0]["end"]),
        (&begun, &"running".into())
    );
    let ends = found.iter().skip(1).all(|one| one["end"] == "ended");
    assert!(ends, "whose beginning is told, its end is");
    assert_eq!(found[0]["uid"].to_string(), of_live);
    let log = arena.run(["cat", "/run/dynuser/log"]).ok();
    assert_eq!(log, "", "nothing is wrong with that");
    // None at all.
    arena.sh("sed -i 's/HistoryMaxSize=.*/HistoryMaxSize=0/' /etc/dynuser/dynuser.conf; rm -r /var/lib/dynuser").ok();
    for daemon in arena.daemons() {
        arena.run(["kill", "-HUP", &daemon]).ok();
    }
    arena.kill_daemons();
    arena.run(["dynuser", "run", "-u", "wuff", "true"]).ok();
    wait_until("only the one is there", || arena.list().len() == 1);
    arena.run(["test", "-e", HISTORY]).fails(1);
    let found = history(&arena, &[]);
    assert_eq!(names(&found), ["live"], "its lease is there");
    assert_eq!(found[0]["from"], begun);
}

#[test]
fn where_it_cannot_be_written_services_run_and_it_is_told_once() {
    for (script, why) in [
        ("mount -o remount,ro /var/lib", "Read-only file system"),
        ("mkdir -p -m 700 dynuser/history", "Is a directory"),
        (
            "mkdir -m 700 dynuser && mkfifo -m 600 dynuser/history",
            "Invalid argument",
        ),
        (
            "install -d -m 700 dynuser && install -m 606 /dev/null dynuser/history",
            "not permitted",
        ),
    ] {
        let arena = Arena::new();
        arena.sh(&format!("cd /var/lib && {script}")).ok();
        let (_live, uid) = service(&arena, "live");
        for _ in 0..3 {
            arena.run(["dynuser", "run", "true"]).ok();
        }
        wait_until("only the one is there", || arena.list().len() == 1);
        let log = || arena.run(["cat", "/run/dynuser/log"]).ok();
        let told = || {
            log()
                .lines()
                .filter(|line| line.contains("dynuser/history"))
                .count()
        };
        wait_until("it is told", || told() > 0);
        assert_eq!(told(), 1, "{}", log());
        assert!(log().contains(why), "{script}: {}", log());
        if script.starts_with("mount") {
            let found = history(&arena, &[&uid]);
            assert_eq!(names(&found), ["live"], "who is there is known anyway");
        } else {
            let said = arena.run(["dynuser", "history"]).fails(1);
            assert!(said.contains(HISTORY), "{said}");
        }
    }
}

#[test]
fn a_damaged_file_is_read_as_far_as_it_says_something() {
    let arena = Arena::new();
    arena.run(["dynuser", "run", "-u", "early", "true"]).ok();
    ended(&arena, "early", "ended");
    arena.kill_daemons();
    arena
        .sh(&format!(
            "printf 'what\\0is\\377this\\nbegun 17' >> {HISTORY}"
        ))
        .ok();
    arena.run(["dynuser", "run", "-u", "late", "true"]).ok();
    ended(&arena, "late", "ended");
    let output = arena.run(["dynuser", "history"]);
    assert!(
        output.stderr.contains("2 lines of it say nothing"),
        "{output}"
    );
    assert_eq!(output.ok().lines().count(), 3);
    let text = arena.run(["cat", "-v", HISTORY]).ok();
    assert!(text.contains("\nbegun 17 ?\nalive "), "{text}");
}

#[test]
fn a_time_that_the_clock_has_shown_is_past_even_if_it_was_set_back() {
    let arena = Arena::new();
    // The last boot had a clock that was an hour ahead.
    let boot = "11111111-2222-3333-4444-555555555555";
    let ahead = now().floor() + 3600.0;
    let (from, to) = (format!("{ahead:.0}.000000000"), ahead + 10.0);
    let lines = format!(
        "alive {from} 5.000 {boot} 0\nbegun {from} 5.000 {boot} 61200 early api\nended {to:.0}.000000000 15.000 {boot} 61200 early {from}\n"
    );
    arena.sh("install -d -m 700 /var/lib/dynuser").ok();
    arena.put(HISTORY, &lines, 0o600);
    let then = history(&arena, &["61200", "--at", &at(ahead + 5.0)]);
    assert_eq!(names(&then), ["early"]);
    let later = at(ahead + 60.0);
    let said = arena.run(["dynuser", "history", "--at", &later]).fails(1);
    assert!(said.contains("still to come"), "{said}");
}
