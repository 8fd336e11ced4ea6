//! One activation of a service, as a machine that only decides: what happens goes in, what is to be done
//! comes out. systemd.service(5), systemd.kill(5), and `src/core/service.c` of systemd 257 where these say
//! little; the names of the states are its own.
//!
//! Times are spans since an instant that the caller chooses, by a clock that cannot be set.

#![forbid(unsafe_code)]

mod notice;
mod outcome;
mod parent;
mod restart;
mod start;
mod stop;

use core::time::Duration;

use crate::command_text::Command;
use crate::directives::{Commands, Parsed, Type};
use crate::statuses::Ending;

pub use notice::{LONGEST_MESSAGE, Notice, Watchdog};
pub use outcome::{End, Outcome};
pub use parent::{Around, needs_a_parent};
use restart::Restarts;

/// Which commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// `ExecCondition=`.
    Condition,
    /// `ExecStartPre=`.
    StartPre,
    /// `ExecStart=`.
    Start,
    /// `ExecStartPost=`.
    StartPost,
    /// `ExecReload=`.
    Reload,
    /// `ExecStop=`.
    Stop,
    /// `ExecStopPost=`.
    StopPost,
}

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is the service.
    Main,
    /// It does something for the service.
    Control,
}

/// Who gets a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The main process.
    Main,
    /// The command that runs beside it.
    Control,
    /// All processes of the service.
    All,
}

/// Where the main process of a forking service is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// In this file, once it is there.
    PidFile(String),
    /// It is the only child that is left.
    OnlyChild,
}

/// What somebody asks for by a signal to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM, SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
    /// Another one, for the main process.
    Pass(u8),
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first one.
    Begin,
    /// The command that was to be started runs, with this PID.
    Started(Role, u32),
    /// It could not be started; the status is that of the failure, which has been shown.
    NotStarted(Role, u8),
    /// It has ended.
    Ended(Role, End),
    /// This process of the service's is the main one.
    Main(u32),
    /// There is no telling which process is the main one.
    NoMain,
    /// No process of the service is left.
    Nobody,
    /// A message from a process of the service that may send them.
    Notice(Notice),
    /// A signal to us.
    Asked(Asked),
    /// Time has passed.
    Time,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a command, and tell [`Event::Started`] or [`Event::NotStarted`].
    Start {
        /// Of which list.
        list: List,
        /// Which of it, from 0.
        index: usize,
        /// What for.
        role: Role,
        /// More variables for its environment.
        variables: Vec<(String, String)>,
    },
    /// Become this command of `ExecStart=`: nothing is left to do. If that fails, it is the end.
    Become {
        /// Which, from 0.
        index: usize,
        /// More variables for its environment.
        variables: Vec<(String, String)>,
    },
    /// Send a signal. Nobody to get it is no failure.
    Signal(To, u8),
    /// Something for people.
    Say(String),
    /// Something for the supervisor outside, if it listens (sd_notify(3)).
    Tell(String),
    /// It is over: end with this status.
    Finish(u8),
}

/// What is asked of an activation, besides its commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// `--supervise`: `Restart=` is in force.
    pub supervise: bool,
    /// Nothing is to be done once the service has started: [`Action::Become`].
    pub in_place: bool,
    /// The path of the socket where messages are received.
    pub notify_socket: Option<String>,
    /// Any number: which part of `RuntimeRandomizedExtraSec=` is added.
    pub random: u32,
}

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing has happened.
    New,
    /// `ExecCondition=` runs.
    Condition,
    /// `ExecStartPre=` runs.
    StartPre,
    /// The service starts.
    Start,
    /// The first process of a forking service has ended; where is the main one?
    FindMain,
    /// `ExecStartPost=` runs.
    StartPost,
    /// The service runs.
    Running,
    /// It has ended, and counts as running (`RemainAfterExit=`).
    Exited,
    /// `ExecReload=` runs.
    Reload,
    /// `ExecStop=` runs.
    Stop,
    /// The watchdog's signal was sent.
    StopWatchdog,
    /// The signal that ends it was sent, or it said that it is stopping.
    StopSigterm,
    /// The last signal was sent.
    StopSigkill,
    /// `ExecStopPost=` runs.
    StopPost,
    /// The signal that ends it was sent to what is left.
    FinalSigterm,
    /// The last signal was sent to what is left.
    FinalSigkill,
    /// It is started again when some time has passed.
    Pause,
    /// It is over.
    Done,
}

/// A process of one of the roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Process {
    /// There was none, or nobody knows which.
    #[default]
    None,
    /// It is being started.
    Starting,
    /// It runs.
    Runs(u32),
    /// It has ended.
    Ended,
}

impl Process {
    const fn is_there(self) -> bool {
        matches!(self, Self::Starting | Self::Runs(_))
    }
}

/// One activation; with restarts, one after the other.
#[derive(Clone, Debug)]
pub struct Activation {
    commands: Commands,
    parsed: Parsed,
    terms: Terms,
    state: State,
    /// The command that runs: `(list, index)`, for each role.
    control: Process,
    control_command: Option<(List, usize)>,
    main: Process,
    main_command: usize,
    main_end: Option<End>,
    outcome: Outcome,
    /// The end of the process that spoiled it.
    blamed: Option<End>,
    /// Nobody is left, as far as is known.
    empty: bool,
    /// All got a signal: whoever it is waited for until nobody is left.
    all_signalled: bool,
    /// `ExecStartPost=` has run.
    posted: bool,
    /// Somebody asked for the end: no more starts.
    stop_asked: bool,
    reload_asked: bool,
    /// A message said that it is reloading; until when that may take.
    reloading: Option<Option<Duration>>,
    /// A message said that it is stopping, too early to be of use.
    stopping: bool,
    timer: Option<Duration>,
    /// The end of its time, while a reload has a timer of its own, and where it goes back to.
    run_timer: Option<Duration>,
    before_reload: State,
    watchdog_time: Option<Duration>,
    watchdog: Option<Duration>,
    restarts: Restarts,
    now: Duration,
    actions: Vec<Action>,
}

impl Activation {
    /// An activation that has not begun.
    pub fn new(commands: Commands, parsed: Parsed, terms: Terms) -> Self {
        Self {
            watchdog_time: commands.watchdog_time(),
            commands,
            parsed,
            terms,
            state: State::New,
            control: Process::None,
            control_command: None,
            main: Process::None,
            main_command: 0,
            main_end: None,
            outcome: Outcome::Success,
            blamed: None,
            empty: true,
            all_signalled: false,
            posted: false,
            stop_asked: false,
            reload_asked: false,
            reloading: None,
            stopping: false,
            timer: None,
            run_timer: None,
            before_reload: State::Running,
            watchdog: None,
            restarts: Restarts::default(),
            now: Duration::ZERO,
            actions: Vec::new(),
        }
    }

    /// Takes in what happens at `now`, and says what is to be done, in this order. An event that does not
    /// fit is passed over.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        self.now = self.now.max(now);
        if self.state != State::Done {
            self.dispatch(event);
        }
        core::mem::take(&mut self.actions)
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Begin if self.state == State::New => self.begin(),
            Event::Begin => {}
            Event::Started(role, pid) => self.started(role, pid),
            Event::NotStarted(role, status) => {
                let end = End::new(Ending::Status(status));
                self.ended(role, end);
            }
            Event::Ended(role, end) => self.ended(role, end),
            Event::Main(pid) => self.main_is(pid),
            Event::NoMain if self.state == State::FindMain => self.start_post(),
            Event::NoMain => {}
            Event::Nobody => self.nobody(),
            Event::Notice(notice) => self.notice(&notice),
            Event::Asked(asked) => self.asked(asked),
            Event::Time => {
                self.watchdog_time_passed();
                self.time_passed();
            }
        }
    }

    /// Where it is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// When [`Event::Time`] is due, if nothing else happens.
    pub fn deadline(&self) -> Option<Duration> {
        let reload = self.reloading.flatten();
        [self.timer, self.watchdog, reload]
            .into_iter()
            .flatten()
            .min()
    }

    /// The main process.
    pub const fn main_pid(&self) -> Option<u32> {
        match self.main {
            Process::Runs(pid) => Some(pid),
            _ => None,
        }
    }

    /// The command beside it that runs.
    pub const fn control_pid(&self) -> Option<u32> {
        match self.control {
            Process::Runs(pid) => Some(pid),
            _ => None,
        }
    }

    /// Where the main process is to be looked for now; answered with [`Event::Main`] or [`Event::NoMain`].
    pub fn looks_for_main(&self) -> Option<Look> {
        if self.commands.kind() != Type::Forking || self.main != Process::None {
            return None;
        }
        match (&self.commands.pid_file, self.state) {
            (Some(path), State::FindMain | State::StartPost) => Some(Look::PidFile(path.clone())),
            (None, State::FindMain) => Some(Look::OnlyChild),
            _ => None,
        }
    }

    /// Whether [`Event::Nobody`] is waited for.
    pub fn waits_for_nobody(&self) -> bool {
        if self.control.is_there() || self.empty {
            return false;
        }
        match self.state {
            State::FindMain => true,
            State::Running => self.is_open_ended(),
            State::StopWatchdog | State::StopSigterm | State::StopSigkill => !self.main.is_there(),
            State::FinalSigterm | State::FinalSigkill => true,
            _ => false,
        }
    }

    /// A command of a list.
    pub fn command(&self, list: List, index: usize) -> Option<&Command> {
        self.list(list).get(index)
    }

    /// Whose messages are listened to.
    pub fn listens_to(&self) -> crate::directives::NotifyAccess {
        self.commands.listens_to()
    }

    fn list(&self, list: List) -> &[Command] {
        match list {
            List::Condition => &self.parsed.condition,
            List::StartPre => &self.parsed.start_pre,
            List::Start => &self.parsed.start,
            List::StartPost => &self.parsed.start_post,
            List::Reload => &self.parsed.reload,
            List::Stop => &self.parsed.stop,
            List::StopPost => &self.parsed.stop_post,
        }
    }

    /// No main process tells when it ends: the last process does.
    fn is_open_ended(&self) -> bool {
        self.commands.ends_with_last || self.main == Process::None
    }

    fn arm(&mut self, limit: Option<Duration>) {
        self.timer = limit.map(|limit| self.now.saturating_add(limit));
    }

    fn enter(&mut self, state: State) {
        self.state = state;
    }

    fn say(&mut self, text: impl Into<String>) {
        self.actions.push(Action::Say(text.into()));
    }
}

#[cfg(test)]
mod tests;
