//! What the configuration changes, and what it never does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::{Arena, Running, wait_until};

const CONF: &str = "/etc/dynuser/dynuser.conf";

/// What the hash of "wuff" points at in the default range.
const WUFF: u32 = 63102;

fn configure(arena: &Arena, text: &str) {
    arena.sh("mkdir -p /etc/dynuser/dynuser.conf.d").ok();
    arena.put(CONF, &format!("[Manager]\n{text}"), 0o644);
}

/// Starts a service that waits, and tells its number.
fn start(arena: &Arena, name: &str) -> (Running, u32) {
    let script = "id -u; read -r end; true";
    let mut service = arena.spawn(["dynuser", "run", "-u", name, "sh", "-c", script]);
    let uid = service.line().parse().expect("a number");
    (service, uid)
}

fn stop_daemon(arena: &Arena) {
    arena.kill_daemons();
}

#[test]
fn numbers_come_from_the_configured_ranges_and_from_nowhere_else() {
    let arena = Arena::new();
    configure(&arena, "UIDRange=70000-70001 80000\nUIDExclude=70001\n");
    arena.put(
        "/etc/dynuser/dynuser.conf.d/more.conf",
        "[Manager]\nUIDRange=90000\n",
        0o644,
    );
    let services = ["a", "b", "c"].map(|name| start(&arena, name));
    let mut numbers: Vec<u32> = services.iter().map(|service| service.1).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [70000, 80000, 90000]);
    let why = arena.run(["dynuser", "run", "-u", "d", "true"]).fails(217);
    assert!(
        why.contains("none of the 3 numbers") && why.contains("3 are leased"),
        "{why}"
    );
}

#[test]
fn an_excluded_number_is_never_handed_out_and_moves_nobody_else() {
    let arena = Arena::new();
    configure(&arena, &format!("UIDExclude={WUFF}\n"));
    let (_wuff, moved) = start(&arena, "wuff");
    assert_ne!(moved, WUFF);
    let (_foo, foo) = start(&arena, "foo");
    let plain = Arena::new();
    assert_eq!(start(&plain, "foo").1, foo);
}

#[test]
fn an_owner_outside_the_ranges_is_no_candidate() {
    let arena = Arena::new();
    configure(&arena, "UIDRange=70000\n");
    arena
        .sh("mkdir -m 700 /var/lib/private && install -d -o 61200 -g 61200 /var/lib/private/mine")
        .ok();
    let run = [
        "dynuser",
        "run",
        "-u",
        "wuff",
        "-p",
        "StateDirectory=mine",
        "id",
        "-u",
    ];
    assert_eq!(arena.run(run).ok(), "70000\n");
}

#[test]
fn numbers_outside_the_default_range_have_names_everywhere() {
    let arena = Arena::with_module();
    configure(&arena, "UIDRange=1234567890\n");
    let (_service, uid) = start(&arena, "far");
    assert_eq!(uid, 1_234_567_890);
    assert_eq!(arena.run(["id", "-u", "far"]).ok(), "1234567890\n");
    assert_eq!(arena.run(["id", "-nu", "1234567890"]).ok(), "far\n");
    let group = arena.run(["getent", "group", "1234567890"]).ok();
    assert_eq!(group, "far:x:1234567890:\n");
}

#[test]
fn a_change_touches_no_user_that_exists() {
    let arena = Arena::new();
    let (wuff, uid) = start(&arena, "wuff");
    assert_eq!(uid, WUFF);
    stop_daemon(&arena);
    configure(&arena, "UIDRange=70000-70010\n");
    // A daemon that reads the new configuration; the old user is shared under its number.
    let again = arena.run(["dynuser", "run", "-u", "wuff", "id", "-u"]);
    assert_eq!(again.ok(), format!("{WUFF}\n"));
    let (_new, new) = start(&arena, "new");
    assert!((70000..=70010).contains(&new), "{new}");
    assert!(wuff.end().0.success());
    support::wait_until("the old user is gone", || {
        !arena.list().iter().any(|lease| lease["name"] == "wuff")
    });
    let after = arena.run(["dynuser", "run", "-u", "wuff", "id", "-u"]).ok();
    let after: u32 = after.trim().parse().expect("a number");
    assert!((70000..=70010).contains(&after), "{after}");
}

#[test]
fn a_broken_configuration_starts_no_daemon_and_says_where_it_is_broken() {
    let arena = Arena::new();
    configure(&arena, "UIDRange=61184-65519\nUIDExlude=61200\n");
    for command in [
        &["dynuser", "run", "-u", "wuff", "true"][..],
        &["dynuser", "run", "--dry-run", "-u", "wuff", "true"],
        &["dynuser", "daemon"],
    ] {
        let why = arena.run(command).fails(1);
        assert!(
            why.contains("/etc/dynuser/dynuser.conf:3:11: UIDExlude="),
            "{command:?}: {why}"
        );
    }
    assert_eq!(arena.daemons(), Vec::<String>::new());
    configure(&arena, "UIDRange=70000\n");
    assert_eq!(start(&arena, "wuff").1, 70000);
}

#[test]
fn a_running_daemon_reads_its_configuration_again_when_it_is_told_to() {
    let arena = Arena::with_module();
    let (wuff, uid) = start(&arena, "wuff");
    assert_eq!(uid, WUFF);
    let daemon = arena.daemons();
    let hang_up = || arena.run(["kill", "-HUP", &daemon[0]]).ok();
    let enumerated = || -> Vec<(String, u32)> {
        let text = arena.run(["getent", "passwd"]).ok();
        let records = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let users = records.map(|record| (record[0].to_owned(), record[2].parse().expect("a UID")));
        let ours = |(_, uid): &(String, u32)| *uid == WUFF || (70000..=80001).contains(uid);
        let mut users: Vec<_> = users.filter(ours).collect();
        users.sort_by_key(|user| user.1);
        users
    };
    configure(&arena, "UIDRange=70000-70001\n");
    hang_up();
    // Whoever goes through all users is told of the new range, and of who is outside of it.
    let ranges = || arena.run(["readlink", "/run/dynuser/users/ranges"]).stdout;
    wait_until("it has read that", || ranges().contains("70000"));
    let (new, number) = start(&arena, "new");
    assert!((70000..=70001).contains(&number), "{number}");
    assert_eq!(
        enumerated(),
        [("wuff".to_owned(), WUFF), ("new".to_owned(), number)]
    );
    // The old user is shared under its number.
    let again = arena.run(["dynuser", "run", "-u", "wuff", "id", "-u"]);
    assert_eq!(again.ok(), format!("{WUFF}\n"));

    let log = || arena.run(["cat", "/run/dynuser/log"]).ok();
    assert_eq!(log(), "");
    configure(&arena, "UIDRange=80000-80001\nUIDExlude=80000\n");
    hang_up();
    wait_until("it says that it cannot read that", || {
        log().contains("UIDExlude=")
    });
    let said = log();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("/etc/dynuser/dynuser.conf:3")
            && said.contains("the old configuration stays"),
        "{said}"
    );
    let (third, number) = start(&arena, "third");
    assert!((70000..=70001).contains(&number), "{number}");
    let why = arena
        .run(["dynuser", "run", "-u", "fourth", "true"])
        .fails(217);
    assert!(
        why.contains("70000-70001") && why.contains("2 are leased"),
        "{why}"
    );
    assert_eq!(arena.daemons(), daemon);
    assert_eq!(enumerated().len(), 3);

    for service in [wuff, new, third] {
        assert!(service.end().0.success());
    }
    arena.wait_until_idle();
    assert_eq!(enumerated(), []);
}
