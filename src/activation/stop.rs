//! The way down.

use super::{Action, Activation, List, Outcome, Process, State, To};
use crate::directives::{KillMode, OnTimeout};

const HUP: u8 = 1;
const ABRT: u8 = 6;
const KILL: u8 = 9;
const TERM: u8 = 15;
const CONT: u8 = 18;

impl Activation {
    /// Somebody wants it to end.
    pub(super) fn stop(&mut self) {
        match self.state {
            State::New => self.finish(),
            State::Condition
            | State::StartPre
            | State::Start
            | State::FindMain
            | State::StartPost
            | State::Reload => {
                self.actions.push(Action::Tell("STOPPING=1".into()));
                self.enter_signal(State::StopSigterm);
            }
            State::Running | State::Exited => self.enter_stop(Outcome::Success),
            State::Pause => self.finish(),
            // It is on its way.
            _ => {}
        }
    }

    /// `ExecStop=`, then the signals.
    pub(super) fn enter_stop(&mut self, outcome: Outcome) {
        self.record(outcome, None);
        self.actions.push(Action::Tell("STOPPING=1".into()));
        self.watchdog = None;
        self.reloading = None;
        if !self.run_control(List::Stop, 0, State::Stop) {
            self.enter_signal(State::StopSigterm);
        }
    }

    /// It said that it is stopping: it is given its time.
    pub(super) fn stops_itself(&mut self) {
        self.actions.push(Action::Tell("STOPPING=1".into()));
        self.watchdog = None;
        self.reloading = None;
        self.all_signalled = false;
        self.arm(self.commands.patience().stop);
        self.enter(State::StopSigterm);
    }

    /// Sends the signals of a state, and waits; or goes on, if there is nobody to wait for.
    pub(super) fn enter_signal(&mut self, state: State) {
        self.watchdog = None;
        self.reloading = None;
        self.enter(state);
        let patience = self.commands.patience();
        self.arm(match state {
            State::StopWatchdog => patience.abort,
            _ => patience.stop,
        });
        let last = matches!(state, State::StopSigkill | State::FinalSigkill);
        let mode = self.commands.kill_mode;
        let all = mode == KillMode::ControlGroup || (mode == KillMode::Mixed && last);
        let one = mode != KillMode::None;
        self.all_signalled = all && !self.empty;
        for signal in self.signals(state) {
            if all && !self.empty {
                self.actions.push(Action::Signal(To::All, signal));
            } else if one {
                if self.main.is_there() {
                    self.actions.push(Action::Signal(To::Main, signal));
                }
                if self.control.is_there() {
                    self.actions.push(Action::Signal(To::Control, signal));
                }
            }
        }
        let waits = one && (self.main.is_there() || self.control.is_there());
        if !(waits || self.all_signalled) {
            self.next_signal();
        }
    }

    /// What is sent in a state.
    fn signals(&self, state: State) -> Vec<u8> {
        let commands = &self.commands;
        match state {
            State::StopSigkill | State::FinalSigkill => vec![commands.final_signal.unwrap_or(KILL)],
            // One that was stopped gets a signal when it goes on.
            State::StopWatchdog => vec![commands.watchdog_signal.unwrap_or(ABRT), CONT],
            _ => {
                let first = commands.kill_signal.unwrap_or(TERM);
                let mut signals = vec![first];
                if commands.hangs_up {
                    signals.push(HUP);
                }
                if first != KILL {
                    signals.push(CONT);
                }
                signals
            }
        }
    }

    /// Nobody is waited for in this state.
    fn next_signal(&mut self) {
        let kills = !self.commands.never_kills;
        match self.state {
            State::StopWatchdog | State::StopSigterm if kills && !self.is_alone() => {
                self.enter_signal(State::StopSigkill);
            }
            State::StopWatchdog | State::StopSigterm | State::StopSigkill => self.stop_post(),
            State::FinalSigterm if kills && !self.is_alone() => {
                self.enter_signal(State::FinalSigkill);
            }
            State::FinalSigterm | State::FinalSigkill => self.enter_dead(),
            _ => {}
        }
    }

    fn is_alone(&self) -> bool {
        self.empty && !self.main.is_there() && !self.control.is_there()
    }

    fn stop_post(&mut self) {
        // A main process that outlived all signals, or was to get none, is nobody's business any more.
        if !self.run_control(List::StopPost, 0, State::StopPost) {
            self.enter_signal(State::FinalSigterm);
        }
    }

    /// A process has ended, or all have: is that what was waited for?
    pub(super) fn after_signal(&mut self) {
        if self.main.is_there() || self.control.is_there() {
            return;
        }
        match self.state {
            State::StopWatchdog | State::StopSigterm | State::StopSigkill => self.stop_post(),
            State::FinalSigterm | State::FinalSigkill if self.empty || !self.all_signalled => {
                self.next_signal();
            }
            _ => {}
        }
    }

    /// The time of a state is over.
    pub(super) fn time_passed(&mut self) {
        if self.timer.is_none_or(|due| due > self.now) {
            return;
        }
        self.timer = None;
        match self.state {
            State::Condition
            | State::StartPre
            | State::Start
            | State::FindMain
            | State::StartPost => {
                self.say("Starting took too long (TimeoutStartSec=).");
                self.record(Outcome::Timeout, None);
                self.enter_signal(first_signal(self.commands.on_start_timeout));
            }
            State::Reload => {
                self.say("ExecReload= took too long (TimeoutStartSec=); the service goes on.");
                self.actions.push(Action::Signal(To::Control, KILL));
            }
            State::Running => {
                self.say("It has run as long as it may (RuntimeMaxSec=).");
                self.enter_stop(Outcome::Timeout);
            }
            State::Stop => {
                self.say("ExecStop= took too long (TimeoutStopSec=).");
                self.record(Outcome::Timeout, None);
                self.enter_signal(first_signal(self.commands.on_stop_timeout));
            }
            State::StopWatchdog | State::StopSigterm => self.stop_took_too_long(),
            State::StopSigkill => {
                self.say("Processes are still there after the last signal.");
                self.record(Outcome::Timeout, None);
                self.stop_post();
            }
            State::StopPost => {
                self.say("ExecStopPost= took too long (TimeoutStopSec=).");
                self.record(Outcome::Timeout, None);
                self.enter_signal(State::FinalSigterm);
            }
            State::FinalSigterm if !self.commands.never_kills => {
                self.record(Outcome::Timeout, None);
                self.enter_signal(State::FinalSigkill);
            }
            State::FinalSigterm | State::FinalSigkill => {
                self.say("Processes are still there after the last signal.");
                self.record(Outcome::Timeout, None);
                self.enter_dead();
            }
            State::Pause => self.start_again(),
            State::New | State::Exited | State::Done => {}
        }
    }

    fn stop_took_too_long(&mut self) {
        self.say("It did not end in time (TimeoutStopSec=).");
        self.record(Outcome::Timeout, None);
        let aborts = self.commands.on_stop_timeout == OnTimeout::Abort;
        if self.state == State::StopSigterm && aborts {
            self.enter_signal(State::StopWatchdog);
        } else if self.commands.never_kills {
            self.control = Process::None;
            self.stop_post();
        } else {
            self.enter_signal(State::StopSigkill);
        }
    }
}

const fn first_signal(mode: OnTimeout) -> State {
    match mode {
        OnTimeout::Terminate => State::StopSigterm,
        OnTimeout::Abort => State::StopWatchdog,
        OnTimeout::Kill => State::StopSigkill,
    }
}
