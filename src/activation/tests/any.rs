//! Any events at all.

use proptest::prelude::*;

use super::*;

const KINDS: [&str; 5] = ["simple", "oneshot", "notify", "notify-reload", "forking"];
const MODES: [&str; 4] = ["control-group", "mixed", "process", "none"];

proptest! {
    #[test]
    fn whatever_happens_it_ends_in_order(
        kind in 0_usize..5, mode in 0_usize..4, remain: bool, supervise: bool, pid_file: bool,
        cgroup: bool, no_kill: bool,
        events in proptest::collection::vec((0_u8..13, 0_u8..4), 0..60),
    ) {
        let mut lines = ALL.to_vec();
        lines.push(("Type", KINDS[kind]));
        lines.push(("KillMode", MODES[mode]));
        lines.push(("RemainAfterExit", if remain { "yes" } else { "no" }));
        lines.push(("SendSIGKILL", if no_kill { "no" } else { "yes" }));
        lines.push(("RuntimeMaxSec", "50"));
        lines.push(("WatchdogSec", "20"));
        if kind == 1 {
            lines.push(("ExecStart", "/second"));
            lines.push(("Restart", "on-failure"));
        } else {
            lines.push(("Restart", "always"));
            lines.push(("ExitType", if cgroup { "cgroup" } else { "main" }));
        }
        if pid_file {
            lines.push(("PIDFile", "x"));
        }
        let terms = Terms { supervise, ..Terms::default() };
        let mut world = World::with(&lines, terms);
        for (what, how) in events {
            if world.finished.is_some() {
                break;
            }
            happen(&mut world, what, how);
        }
        // From here on everything ends, and somebody wants that.
        if world.finished.is_none() {
            world.stop();
        }
        for _ in 0..40 {
            if world.finished.is_some() {
                break;
            }
            if world.control {
                world.ends(Role::Control, OK);
            } else if world.main {
                world.ends(Role::Main, Ending::Signal(15));
            } else if world.activation.deadline().is_some() {
                world.wait_for_deadline();
            }
            if world.finished.is_none() {
                world.settle();
            }
        }
        prop_assert!(world.finished.is_some(), "{:?}", world.activation.state());
        // Every start has its ExecStopPost=, after all that was started for it.
        let lists = world.lists();
        prop_assert_eq!(lists.last(), Some(&List::StopPost));
        for life in lists.split(|list| *list == List::StopPost) {
            let begins = life.iter().filter(|list| **list == List::Condition).count();
            prop_assert!(begins <= 1, "{:?}", lists);
        }
    }
}

fn happen(world: &mut World, what: u8, how: u8) {
    let ending = [OK, Ending::Status(1), Ending::Signal(15), Ending::Signal(9)][usize::from(how)];
    match what {
        0 | 1 if world.main => world.ends(Role::Main, ending),
        2..=4 if world.control => world.ends(Role::Control, ending),
        5 => world.tell(Event::Asked(Asked::Reload)),
        6 if how == 0 => world.stop(),
        7 => world
            .notice(["READY=1", "STOPPING=1", "RELOADING=1", "WATCHDOG=trigger"][usize::from(how)]),
        8 => world.notice("EXTEND_TIMEOUT_USEC=1000000\nWATCHDOG=1"),
        9 | 10 if world.activation.deadline().is_some() => world.wait_for_deadline(),
        11 if !world.main && !world.control => world.settle(),
        12 if world.activation.looks_for_main().is_some() => match how {
            0 => world.tell(Event::NoMain),
            _ => {
                world.main = true;
                world.tell(Event::Main(9000));
            }
        },
        _ => {}
    }
}
