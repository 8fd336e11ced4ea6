#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use super::*;
use crate::directives::Settings;

/// An activation with what the test does in place of a kernel.
struct World {
    activation: Activation,
    now: Duration,
    started: Vec<(List, usize)>,
    signals: Vec<(To, u8)>,
    variables: Vec<(String, String)>,
    /// The processes that are there.
    main: bool,
    control: bool,
    become_main: bool,
    finished: Option<u8>,
    next_pid: u32,
}

fn activation(lines: &[(&str, &str)], terms: Terms) -> Activation {
    let mut settings = Settings::default();
    for (name, value) in lines {
        settings.assign(name, value).unwrap();
    }
    let keep = |text: &str| Ok(text.to_owned());
    let parsed = settings.commands.parse(&keep).unwrap();
    Activation::new(settings.commands, parsed, terms)
}

impl World {
    fn new(lines: &[(&str, &str)]) -> Self {
        Self::with(lines, Terms::default())
    }

    fn with(lines: &[(&str, &str)], terms: Terms) -> Self {
        let mut world = Self {
            activation: activation(lines, terms),
            now: Duration::ZERO,
            started: Vec::new(),
            signals: Vec::new(),
            variables: Vec::new(),
            main: false,
            control: false,
            become_main: false,
            finished: None,
            next_pid: 100,
        };
        world.tell(Event::Begin);
        world
    }

    fn tell(&mut self, event: Event) {
        assert_eq!(
            self.finished, None,
            "nothing happens after the end: {event:?}"
        );
        let actions = self.activation.handle(self.now, event);
        let mut started = Vec::new();
        for action in actions {
            match action {
                Action::Start {
                    list,
                    index,
                    role,
                    variables,
                } => {
                    assert!(self.activation.command(list, index).is_some());
                    self.variables = variables;
                    self.started.push((list, index));
                    match role {
                        Role::Main => {
                            assert!(!self.main, "two main processes");
                            self.main = true;
                        }
                        Role::Control => self.control = true,
                    }
                    self.next_pid += 1;
                    started.push(Event::Started(role, self.next_pid));
                }
                Action::Become { .. } => self.become_main = true,
                Action::Signal(to, signal) => self.signals.push((to, signal)),
                Action::Say(_) | Action::Tell(_) => {}
                Action::Finish(status) => self.finished = Some(status),
            }
        }
        for event in started {
            self.tell(event);
        }
    }

    fn ends(&mut self, role: Role, ending: Ending) {
        match role {
            Role::Main => self.main = false,
            Role::Control => self.control = false,
        }
        self.tell(Event::Ended(role, End::new(ending)));
        self.settle();
    }

    /// The rest of the service has gone with it.
    fn settle(&mut self) {
        for turn in 0.. {
            if self.finished.is_some() || !self.activation.waits_for_nobody() {
                break;
            }
            assert!(turn < 100, "goes round in {:?}", self.activation.state());
            self.tell(Event::Nobody);
        }
    }

    fn wait_for_deadline(&mut self) {
        self.now = self.activation.deadline().expect("a deadline");
        self.tell(Event::Time);
    }

    fn notice(&mut self, text: &str) {
        self.tell(Event::Notice(Notice::parse(text.as_bytes())));
    }

    fn stop(&mut self) {
        self.tell(Event::Asked(Asked::Stop));
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn lists(&self) -> Vec<List> {
        self.started.iter().map(|(list, _)| *list).collect()
    }
}

const OK: Ending = Ending::Status(0);
const ALL: [(&str, &str); 7] = [
    ("ExecCondition", "/c"),
    ("ExecStartPre", "/pre"),
    ("ExecStart", "/main"),
    ("ExecStartPost", "/post"),
    ("ExecReload", "/reload"),
    ("ExecStop", "/stop"),
    ("ExecStopPost", "/stop-post"),
];

#[test]
fn a_whole_life_in_order() {
    let mut world = World::new(&ALL);
    world.ends(Role::Control, OK);
    world.ends(Role::Control, OK);
    assert_eq!(world.activation.state(), State::StartPost);
    assert!(world.variable("MAINPID").is_some());
    world.ends(Role::Control, OK);
    assert_eq!(world.activation.state(), State::Running);
    world.tell(Event::Asked(Asked::Reload));
    world.ends(Role::Control, Ending::Status(1));
    assert_eq!(world.activation.state(), State::Running);
    world.stop();
    assert_eq!(world.variable("SERVICE_RESULT"), Some("success"));
    assert!(world.variable("MAINPID").is_some());
    world.ends(Role::Control, OK);
    assert_eq!(world.signals, [(To::All, 15), (To::All, 18)]);
    world.ends(Role::Main, Ending::Signal(15));
    assert_eq!(world.variable("EXIT_CODE"), Some("killed"));
    assert_eq!(world.variable("EXIT_STATUS"), Some("TERM"));
    assert_eq!(world.variable("MAINPID"), None);
    world.ends(Role::Control, OK);
    assert_eq!(world.finished, Some(0));
    use List::{Condition, Reload, Start, StartPost, StartPre, Stop, StopPost};
    let order = [
        Condition, StartPre, Start, StartPost, Reload, Stop, StopPost,
    ];
    assert_eq!(world.lists(), order);
}

#[test]
/// As systemd 257 did when it was asked: the manual page says that it runs then too.
fn a_bad_end_leaves_exec_stop_out() {
    let lines = [
        ("ExecStart", "/m"),
        ("ExecStop", "/s"),
        ("ExecStopPost", "/p"),
    ];
    for (ending, result, status) in [
        (Ending::Status(3), "exit-code", 3),
        (Ending::Signal(9), "signal", 137),
    ] {
        let mut world = World::new(&lines);
        world.ends(Role::Main, ending);
        assert_eq!(world.lists(), [List::Start, List::StopPost]);
        assert_eq!(world.variable("SERVICE_RESULT"), Some(result));
        world.ends(Role::Control, OK);
        assert_eq!(world.finished, Some(status));
    }
    let mut world = World::new(&lines);
    world.ends(Role::Main, OK);
    assert_eq!(world.lists(), [List::Start, List::Stop]);
    assert_eq!(world.variable("MAINPID"), None);
    world.ends(Role::Control, OK);
    world.ends(Role::Control, OK);
    assert_eq!(world.finished, Some(0));
}

#[test]
fn a_condition_skips_or_fails() {
    for (status, result, wanted) in [(4, "exec-condition", 0), (255, "exit-code", 255)] {
        let mut world = World::new(&ALL);
        world.ends(Role::Control, Ending::Status(status));
        assert_eq!(world.lists(), [List::Condition, List::StopPost]);
        assert_eq!(world.variable("SERVICE_RESULT"), Some(result));
        world.ends(Role::Control, OK);
        assert_eq!(world.finished, Some(wanted));
    }
}

#[test]
fn a_command_that_may_fail_does() {
    let mut world = World::new(&[("ExecStartPre", "-/pre"), ("ExecStart", "-/main")]);
    world.ends(Role::Control, Ending::Status(9));
    assert_eq!(world.activation.state(), State::Running);
    world.ends(Role::Main, Ending::Status(9));
    assert_eq!(world.finished, Some(0));
    let mut world = World::new(&[("ExecStartPre", "/pre"), ("ExecStart", "/main")]);
    world.ends(Role::Control, Ending::Status(9));
    assert_eq!(world.finished, Some(9));
    assert_eq!(world.lists(), [List::StartPre]);
}

#[test]
fn commands_of_a_oneshot_run_one_after_the_other() {
    let lines = [
        ("Type", "oneshot"),
        ("ExecStart", "-/a"),
        ("ExecStart", "/b"),
        ("ExecStart", "/c"),
    ];
    let mut world = World::new(&lines);
    assert_eq!(world.activation.deadline(), None);
    world.ends(Role::Main, Ending::Status(5));
    world.ends(Role::Main, Ending::Status(6));
    assert_eq!(world.finished, Some(6));
    assert_eq!(world.started, [(List::Start, 0), (List::Start, 1)]);
    let mut world = World::new(&lines);
    world.ends(Role::Main, OK);
    world.ends(Role::Main, OK);
    // A signal is no good end of a command.
    world.ends(Role::Main, Ending::Signal(15));
    assert_eq!(world.finished, Some(143));
}

#[test]
fn one_that_remains_is_there_until_it_is_told_to_go() {
    let mut world = World::new(&[
        ("Type", "oneshot"),
        ("ExecStart", "/a"),
        ("RemainAfterExit", "yes"),
        ("ExecStop", "/s"),
    ]);
    world.ends(Role::Main, OK);
    assert_eq!(world.activation.state(), State::Exited);
    assert_eq!(world.activation.deadline(), None);
    world.stop();
    assert_eq!(world.lists(), [List::Start, List::Stop]);
    world.ends(Role::Control, OK);
    assert_eq!(world.finished, Some(0));
    let mut world = World::new(&[("RemainAfterExit", "yes"), ("ExecStop", "/s")]);
    assert_eq!(world.activation.state(), State::Exited);
    world.stop();
    world.ends(Role::Control, OK);
    assert_eq!(world.finished, Some(0));
}

#[test]
fn one_that_notifies_has_started_when_it_says_so() {
    let lines = [
        ("Type", "notify"),
        ("ExecStart", "/m"),
        ("ExecStartPost", "/p"),
    ];
    let mut world = World::new(&lines);
    world.notice("STATUS=soon");
    assert_eq!(world.activation.state(), State::Start);
    world.notice("READY=1");
    assert_eq!(world.activation.state(), State::StartPost);
    let mut world = World::new(&lines);
    world.ends(Role::Main, OK);
    assert_eq!(world.finished, Some(1), "ended before it said anything");
    let mut world = World::new(&lines);
    world.now = Duration::from_secs(80);
    world.notice("EXTEND_TIMEOUT_USEC=30000000");
    assert_eq!(world.activation.deadline(), Some(Duration::from_secs(110)));
    world.wait_for_deadline();
    assert_eq!(world.signals.first(), Some(&(To::All, 15)));
    world.ends(Role::Main, OK);
    assert_eq!(world.finished, Some(1), "a timeout is a failure");
}

#[test]
fn a_reload_by_signal() {
    let mut world = World::new(&[
        ("Type", "notify-reload"),
        ("ExecStart", "/m"),
        ("ReloadSignal", "USR1"),
    ]);
    world.tell(Event::Asked(Asked::Reload));
    assert!(world.signals.is_empty());
    world.notice("READY=1");
    assert_eq!(
        world.signals,
        [(To::Main, 10)],
        "asked for too early, done now"
    );
    assert!(world.activation.deadline().is_some());
    world.notice("RELOADING=1\nMONOTONIC_USEC=5");
    world.notice("READY=1");
    assert_eq!(world.activation.deadline(), None);
    assert_eq!(world.activation.state(), State::Running);
    // Who knows of no reload gets the signal as it is.
    let mut world = World::new(&[("ExecStart", "/m")]);
    world.tell(Event::Asked(Asked::Reload));
    world.tell(Event::Asked(Asked::Pass(12)));
    assert_eq!(world.signals, [(To::Main, 1), (To::Main, 12)]);
}

mod any;
mod further;
