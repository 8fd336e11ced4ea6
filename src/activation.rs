//! One activation of a service, as a machine that only decides: what happens goes in, what is to be done
//! comes out. systemd.service(5), systemd.kill(5), and `src/core/service.c` of systemd 257 where these say
//! little; the names of the states are its own.
//!
//! Times are spans since an instant that the caller chooses, by a clock that cannot be set.

#![forbid(unsafe_code)]

mod events;
mod notice;
mod outcome;
mod parent;
mod restart;
mod running;
mod start;
mod stop;

use core::time::Duration;

use crate::command_text::Command;
use crate::directives::{Commands, Parsed, Type};
use crate::statuses::Ending;

pub use events::{Action, Asked, Event, List, Look, Role, State, Terms, To};
pub use notice::{LONGEST_MESSAGE, Notice, Watchdog};
pub use outcome::{End, Outcome};
pub use parent::{Around, needs_a_parent};
use restart::Restarts;

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
            // Somebody is left as long as its main process is, and whoever looked would look for ever.
            State::Running => self.is_open_ended() && !self.main.is_there(),
            State::StopWatchdog
            | State::StopSigterm
            | State::StopSigkill
            | State::FinalSigterm
            | State::FinalSigkill => !self.main.is_there(),
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
