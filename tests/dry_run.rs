//! `--dry-run` says what would be done, a step a line, and does nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::Arena;

const WORDS: [&str; 9] = [
    "dynuser",
    "run",
    "--dry-run",
    "-u",
    "planned",
    "-p",
    "StateDirectory=planned",
    "touch",
    "/tmp/x",
];

#[test]
fn a_dry_run_prints_the_plan_a_step_a_line() {
    let plan = Arena::new().run(WORDS).ok();
    let lines: Vec<&str> = plan.lines().collect();
    assert!(lines.len() > 8, "{plan}");
    assert!(lines.iter().all(|line| !line.trim().is_empty()), "{plan}");
    let position = |words: &[&str]| {
        let holds = |line: &&str| words.iter().all(|word| line.contains(word));
        lines
            .iter()
            .position(holds)
            .unwrap_or_else(|| panic!("no step with {words:?} in:\n{plan}"))
    };
    // In the order in which they would be done.
    let order = [
        position(&["make-directory", "/var/lib/private ", "0700", "0:0"]),
        position(&["make-directory", "/var/lib/private/planned", "0755"]),
        position(&["new-mount-namespace"]),
        position(&["protect", "ro,nosuid"]),
        position(&["mount-tmpfs", "/tmp "]),
        position(&["attach-view", "/var/lib/private/planned"]),
        position(&["seal", "/var/lib/private"]),
    ];
    assert!(order.is_sorted(), "{order:?} in:\n{plan}");
}

#[test]
fn a_dry_run_changes_nothing() {
    let arena = Arena::new();
    let before = (arena.disk(), arena.mounts());
    let first = arena.run(WORDS).ok();
    assert_eq!((arena.disk(), arena.mounts()), before);
    assert!(arena.list().is_empty());
    arena.run(["test", "-e", "/tmp/x"]).fails(1);
    // Asked again, it would do the same.
    assert_eq!(arena.run(WORDS).ok(), first);
}

#[test]
fn a_dry_run_tells_what_is_in_the_way() {
    let arena = Arena::new();
    arena.sh("mkdir -m 0755 /var/lib/private").ok();
    assert!(arena.run(WORDS).fails(238).contains("/var/lib/private"));
}
