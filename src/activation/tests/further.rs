//! Forking, signals, times, restarts.

use super::*;

#[test]
fn a_forking_service_and_its_main_process() {
    let lines = [
        ("Type", "forking"),
        ("ExecStart", "/m"),
        ("PIDFile", "x.pid"),
    ];
    let mut world = World::new(&lines);
    assert_eq!(world.activation.looks_for_main(), None);
    world.control = false;
    world.tell(Event::Ended(Role::Control, End::new(OK)));
    let look = Look::PidFile("/run/x.pid".into());
    assert_eq!(world.activation.looks_for_main(), Some(look));
    assert!(world.activation.deadline().is_some());
    world.tell(Event::Main(77));
    assert_eq!(world.activation.state(), State::Running);
    assert_eq!(world.activation.main_pid(), Some(77));
    world.ends(Role::Main, Ending::Status(7));
    assert_eq!(world.finished, Some(7));
    // No PID file, and nobody who could write one.
    let mut world = World::new(&lines);
    world.ends(Role::Control, OK);
    assert_eq!(world.finished, Some(1));
    // No telling which: it lives until the last one has ended.
    let mut world = World::new(lines.get(..2).unwrap());
    world.control = false;
    world.tell(Event::Ended(Role::Control, End::new(OK)));
    assert_eq!(world.activation.looks_for_main(), Some(Look::OnlyChild));
    world.tell(Event::NoMain);
    assert_eq!(world.activation.state(), State::Running);
    assert!(world.activation.waits_for_nobody());
    world.settle();
    assert_eq!(world.finished, Some(0));
}

#[test]
fn as_long_as_the_main_process_is_there_nobody_is_waited_for() {
    let lines = [("ExecStart", "/m"), ("ExitType", "cgroup")];
    let mut world = World::new(&lines);
    assert!(world.main);
    // It need not be a child of ours, and whoever looked for others would do nothing else.
    assert!(!world.activation.waits_for_nobody());
    world.main = false;
    world.tell(Event::Ended(Role::Main, End::new(OK)));
    assert!(world.activation.waits_for_nobody());
    world.settle();
    assert_eq!(world.finished, Some(0));
}

#[test]
fn signals_by_mode() {
    let stopped = |mode: &str| {
        let mut world = World::new(&[
            ("ExecStart", "/m"),
            ("KillMode", mode),
            ("KillSignal", "INT"),
        ]);
        world.stop();
        world
    };
    let mut world = stopped("mixed");
    assert_eq!(world.signals, [(To::Main, 2), (To::Main, 18)]);
    world.main = false;
    world.tell(Event::Ended(Role::Main, End::new(OK)));
    assert_eq!(world.signals.last(), Some(&(To::All, 9)));
    world.settle();
    assert_eq!(world.finished, Some(0));
    let mut world = stopped("process");
    world.ends(Role::Main, OK);
    assert_eq!(world.signals, [(To::Main, 2), (To::Main, 18)]);
    assert_eq!(world.finished, Some(0));
    let world = stopped("none");
    assert_eq!(world.signals, []);
    assert_eq!(world.finished, Some(0));
}

#[test]
fn what_does_not_end_is_killed() {
    let mut world = World::new(&[
        ("ExecStart", "/m"),
        ("TimeoutStopSec", "3"),
        ("SendSIGHUP", "yes"),
    ]);
    world.stop();
    assert_eq!(world.signals, [(To::All, 15), (To::All, 1), (To::All, 18)]);
    world.wait_for_deadline();
    assert_eq!(world.signals.last(), Some(&(To::All, 9)));
    assert_eq!(world.now, Duration::from_secs(3));
    world.ends(Role::Main, Ending::Signal(9));
    assert_eq!(world.finished, Some(137));
}

#[test]
fn the_watchdog_and_the_longest_run() {
    let mut world = World::new(&[("ExecStart", "/m"), ("WatchdogSec", "2")]);
    world.now = Duration::from_secs(1);
    world.notice("WATCHDOG=1");
    world.wait_for_deadline();
    assert_eq!(world.now, Duration::from_secs(3));
    assert_eq!(world.signals.first(), Some(&(To::All, 6)));
    world.ends(Role::Main, Ending::Signal(6));
    assert_eq!(world.finished, Some(134));
    let lines = [
        ("ExecStart", "/m"),
        ("RuntimeMaxSec", "2"),
        ("ExecStop", "/s"),
    ];
    let mut world = World::new(&lines);
    world.wait_for_deadline();
    assert_eq!(world.variable("SERVICE_RESULT"), Some("timeout"));
    world.ends(Role::Control, OK);
    world.ends(Role::Main, Ending::Signal(15));
    assert_eq!(world.finished, Some(143));
}

#[test]
fn restarts_when_supervised() {
    let lines = [
        ("ExecStart", "/m"),
        ("Restart", "on-failure"),
        ("SuccessExitStatus", "7"),
    ];
    let mut world = World::new(&lines);
    world.ends(Role::Main, Ending::Status(3));
    assert_eq!(world.finished, Some(3), "the supervisor outside does that");
    let terms = Terms {
        supervise: true,
        ..Terms::default()
    };
    let mut world = World::with(&lines, terms.clone());
    for _ in 0..4 {
        world.ends(Role::Main, Ending::Status(3));
        assert_eq!(world.activation.state(), State::Pause);
        world.wait_for_deadline();
    }
    assert_eq!(world.started.len(), 5);
    world.ends(Role::Main, Ending::Status(3));
    world.wait_for_deadline();
    assert_eq!(world.activation.state(), State::Done);
    assert_ne!(world.finished, Some(0), "too often");
    let mut world = World::with(&lines, terms.clone());
    world.ends(Role::Main, Ending::Status(7));
    assert_eq!(world.finished, Some(0));
    let mut world = World::with(&lines, terms);
    world.ends(Role::Main, Ending::Status(3));
    world.stop();
    assert_eq!(world.finished, Some(3), "stopped in the pause");
}

#[test]
fn in_place_nothing_stays() {
    let terms = Terms {
        in_place: true,
        ..Terms::default()
    };
    let lines = [("ExecStartPre", "/pre"), ("ExecStart", "/m")];
    let mut world = World::with(&lines, terms.clone());
    world.ends(Role::Control, OK);
    assert!(world.become_main);
    let mut world = World::with(&lines, terms);
    world.ends(Role::Control, Ending::Status(2));
    assert!(!world.become_main);
    assert_eq!(world.finished, Some(2));
}
