//! The way up, and what happens while it runs.

use super::{Action, Activation, End, List, Outcome, Process, Role, State};
use crate::directives::Type;
use crate::statuses::Ending;

impl Activation {
    /// A start, the first one or another.
    pub(super) fn begin(&mut self) {
        self.outcome = Outcome::Success;
        self.blamed = None;
        self.main_end = None;
        self.main = Process::None;
        self.posted = false;
        self.stopping = false;
        self.reload_asked = false;
        self.watchdog_time = self.commands.watchdog_time();
        if !self.restarts.may_start(self.now, &self.commands) {
            self.say("Started too often (StartLimitBurst=, StartLimitIntervalSec=).");
            self.outcome = Outcome::StartLimit;
            return self.finish();
        }
        match self.run_control(List::Condition, 0, State::Condition) {
            true => {}
            false => self.start_pre(),
        }
    }

    fn start_pre(&mut self) {
        if !self.run_control(List::StartPre, 0, State::StartPre) {
            self.start_main();
        }
    }

    fn start_main(&mut self) {
        if self.terms.in_place {
            let variables = self.variables(List::Start, Role::Main);
            self.enter(State::Done);
            self.timer = None;
            let index = 0;
            self.actions.push(Action::Become { index, variables });
            return;
        }
        self.enter(State::Start);
        self.main_command = 0;
        if self.parsed.start.is_empty() {
            return self.start_post();
        }
        if self.commands.kind() == Type::Forking {
            self.run_control(List::Start, 0, State::Start);
        } else {
            self.run_main(0);
        }
    }

    fn run_main(&mut self, index: usize) {
        self.arm(self.commands.patience().start);
        self.main = Process::Starting;
        self.main_command = index;
        self.empty = false;
        let variables = self.variables(List::Start, Role::Main);
        self.actions.push(Action::Start {
            list: List::Start,
            index,
            role: Role::Main,
            variables,
        });
    }

    /// Starts a command of a list. Whether there is such a one.
    pub(super) fn run_control(&mut self, list: List, index: usize, state: State) -> bool {
        if self.command(list, index).is_none() {
            return false;
        }
        self.enter(state);
        let patience = self.commands.patience();
        self.arm(match list {
            List::Stop | List::StopPost => patience.stop,
            _ => patience.start,
        });
        self.control = Process::Starting;
        self.control_command = Some((list, index));
        self.empty = false;
        let variables = self.variables(list, Role::Control);
        self.actions.push(Action::Start {
            list,
            index,
            role: Role::Control,
            variables,
        });
        true
    }

    pub(super) fn started(&mut self, role: Role, pid: u32) {
        let process = match role {
            Role::Main => &mut self.main,
            Role::Control => &mut self.control,
        };
        if *process != Process::Starting {
            return;
        }
        *process = Process::Runs(pid);
        let at_once = matches!(self.commands.kind(), Type::Simple | Type::Exec);
        if role == Role::Main && self.state == State::Start && at_once {
            self.start_post();
        }
    }

    /// The main process of a forking service, or one that it named itself.
    pub(super) fn main_is(&mut self, pid: u32) {
        let starting = self.state == State::FindMain;
        // One that has ended comes back in no message.
        if matches!(self.main, Process::Starting) || self.state == State::Pause {
            return;
        }
        if matches!(self.main, Process::Ended) {
            return;
        }
        self.main = Process::Runs(pid);
        if starting {
            match self.posted {
                true => self.enter_running(Outcome::Success),
                false => self.start_post(),
            }
        }
    }

    /// The service has started.
    pub(super) fn start_post(&mut self) {
        self.timer = None;
        self.posted = true;
        self.reset_watchdog();
        if !self.run_control(List::StartPost, 0, State::StartPost) {
            self.started_all();
        }
    }

    fn started_all(&mut self) {
        if matches!(self.looks_for_main(), Some(super::Look::PidFile(_))) {
            self.arm(self.commands.patience().start);
            self.enter(State::FindMain);
            return;
        }
        self.enter_running(Outcome::Success);
    }

    pub(super) fn control_ended(&mut self, end: End) {
        self.control = Process::Ended;
        let Some((list, index)) = self.control_command.take() else {
            return;
        };
        let ignored = self
            .command(list, index)
            .is_some_and(|it| it.ignores_failure);
        let mut outcome = self.judge(Role::Control, end);
        let no = matches!(end.ending, Ending::Status(status) if status != u8::MAX);
        if list == List::Condition && outcome == Outcome::ExitCode && no {
            outcome = Outcome::Skipped;
        }
        if ignored {
            outcome = Outcome::Success;
        }
        // A reload that fails leaves the service as it is.
        if self.state == State::Reload {
            if outcome != Outcome::Success {
                self.say(format!("ExecReload= failed ({}).", end.ending));
            } else if self.run_control(List::Reload, index.saturating_add(1), State::Reload) {
                return;
            }
            return self.reload_done();
        }
        if outcome == Outcome::Skipped {
            self.say(format!("Skipped: ExecCondition= said no ({}).", end.ending));
        }
        self.record(outcome, Some(end));
        self.after_control(list, index, outcome);
    }

    /// What comes after a command of a list.
    fn after_control(&mut self, list: List, index: usize, outcome: Outcome) {
        let well = outcome == Outcome::Success;
        let next = index.saturating_add(1);
        // In states of signals nothing more is started, whatever list it was of.
        match (self.state, well) {
            (State::Condition | State::StartPre | State::Start | State::StartPost, false) => {
                self.enter_signal(State::StopSigterm);
            }
            (
                State::Condition
                | State::StartPre
                | State::StartPost
                | State::Stop
                | State::StopPost,
                true,
            ) if self.run_control(list, next, self.state) => {}
            (State::Condition, true) => self.start_pre(),
            (State::StartPre, true) => self.start_main(),
            (State::Start, true) => self.forked(),
            (State::StartPost, true) => self.started_all(),
            (State::Stop, _) => self.enter_signal(State::StopSigterm),
            (State::StopPost, _) => self.enter_signal(State::FinalSigterm),
            _ => self.after_signal(),
        }
    }

    /// The first process of a forking service has ended well.
    fn forked(&mut self) {
        let later = self.commands.pid_file.is_some() && !self.parsed.start_post.is_empty();
        let known = self.main.is_there();
        let guesses = self.commands.pid_file.is_some() || !self.commands.no_guessing;
        if later || known || !guesses {
            return self.start_post();
        }
        self.enter(State::FindMain);
    }

    pub(super) fn main_ended(&mut self, end: End) {
        self.main = Process::Ended;
        self.main_end = Some(end);
        let ignored = self.commands.kind() != Type::Forking
            && self
                .command(List::Start, self.main_command)
                .is_some_and(|command| command.ignores_failure);
        let outcome = match ignored {
            true => Outcome::Success,
            false => self.judge(Role::Main, end),
        };
        self.record(outcome, Some(end));
        let well = outcome == Outcome::Success;
        match self.state {
            State::Start => match self.commands.kind() {
                Type::Oneshot if well => self.next_of_oneshot(),
                // Ended without a word, before it had started.
                kind if well && kind.notifies() => {
                    self.record(Outcome::Protocol, None);
                    self.enter_signal(State::StopSigterm);
                }
                Type::Forking => {}
                // A simple service that could not be executed.
                _ => self.enter_signal(State::StopSigterm),
            },
            // The command that runs beside it comes to its end first.
            State::StartPost | State::Reload | State::Stop => {}
            State::Running => self.enter_running(outcome),
            _ => self.after_signal(),
        }
    }

    fn next_of_oneshot(&mut self) {
        let next = self.main_command.saturating_add(1);
        match self.command(List::Start, next).is_some() {
            true => self.run_main(next),
            false => self.start_post(),
        }
    }

    pub(super) fn ended(&mut self, role: Role, end: End) {
        match role {
            Role::Main if self.main.is_there() => self.main_ended(end),
            Role::Control if self.control.is_there() => self.control_ended(end),
            _ => {}
        }
    }
}
