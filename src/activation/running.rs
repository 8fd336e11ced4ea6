//! While it runs: reloads, messages, the watchdog.

use core::time::Duration;

use super::{Action, Activation, Asked, List, Notice, Outcome, Process, State, To, Watchdog};
use crate::directives::{Type, limit};

/// SIGHUP: what asks for a reload.
const HUP: u8 = 1;

impl Activation {
    /// It runs, or it does not any more: `service_enter_running`.
    pub(super) fn enter_running(&mut self, outcome: Outcome) {
        let first = !matches!(self.state, State::Running | State::Reload);
        self.record(outcome, self.main_end);
        self.control_command = None;
        if self.outcome != Outcome::Success {
            return self.enter_signal(State::StopSigterm);
        }
        if self.is_good() {
            if first {
                self.actions.push(Action::Tell("READY=1".into()));
                self.arm(self.longest_run());
            }
            self.enter(State::Running);
            if self.stopping {
                return self.stops_itself();
            }
            if self.reload_asked {
                self.reload();
            }
        } else if self.commands.remain_after_exit {
            if first {
                self.actions.push(Action::Tell("READY=1".into()));
            }
            self.timer = None;
            self.enter(State::Exited);
        } else {
            self.enter_stop(Outcome::Success);
        }
    }

    /// `service_good`.
    fn is_good(&self) -> bool {
        match (self.commands.ends_with_last, self.main) {
            (false, Process::Starting | Process::Runs(_)) => true,
            (false, Process::Ended) => false,
            // Without a command there was never anybody.
            (false, Process::None) if self.commands.kind() == Type::Oneshot => false,
            // Nobody knows the main process: whoever is there is the service.
            _ => !self.empty,
        }
    }

    fn longest_run(&self) -> Option<Duration> {
        if self.commands.kind() == Type::Oneshot {
            return None;
        }
        let longest = limit(self.commands.longest_run, None)?;
        let extra = limit(self.commands.random_extra_run, None).unwrap_or_default();
        let part = f64::from(self.terms.random) / f64::from(u32::MAX);
        let extra = Duration::try_from_secs_f64(extra.as_secs_f64() * part).unwrap_or_default();
        Some(longest.saturating_add(extra))
    }

    pub(super) fn asked(&mut self, asked: Asked) {
        match asked {
            Asked::Stop => {
                self.stop_asked = true;
                self.stop();
            }
            Asked::Reload => self.asked_to_reload(),
            Asked::Pass(signal) => {
                if self.main.is_there() {
                    self.actions.push(Action::Signal(To::Main, signal));
                }
            }
        }
    }

    fn asked_to_reload(&mut self) {
        let knows_how =
            !self.parsed.reload.is_empty() || self.commands.kind() == Type::NotifyReload;
        if !knows_how {
            return self.asked(Asked::Pass(HUP));
        }
        match self.state {
            State::Running | State::Exited => self.reload(),
            State::New
            | State::Condition
            | State::StartPre
            | State::Start
            | State::FindMain
            | State::StartPost
            | State::Reload => self.reload_asked = true,
            _ => {}
        }
    }

    fn reload(&mut self) {
        self.reload_asked = false;
        if self.commands.kind() == Type::NotifyReload && self.main.is_there() {
            let signal = self.commands.reload_signal.unwrap_or(HUP);
            self.actions.push(Action::Signal(To::Main, signal));
            self.is_reloading();
        }
        let (timer, state) = (self.timer, self.state);
        if self.run_control(List::Reload, 0, State::Reload) {
            // The time that the service may run goes on.
            self.run_timer = timer;
            self.before_reload = state;
        }
    }

    fn is_reloading(&mut self) {
        let limit = self.commands.patience().start;
        self.reloading = Some(limit.map(|limit| self.now.saturating_add(limit)));
    }

    pub(super) fn reload_done(&mut self) {
        self.timer = self.run_timer.take();
        let state = self.before_reload;
        if state == State::Exited {
            return self.enter(state);
        }
        self.enter_running(Outcome::Success);
    }

    /// A message from the service (sd_notify(3)).
    pub(super) fn notice(&mut self, notice: &Notice) {
        if let Some(status) = &notice.status {
            self.actions.push(Action::Tell(format!("STATUS={status}")));
        }
        if let Some(more) = notice.extend {
            let until = self.now.saturating_add(more);
            self.timer = self.timer.map(|timer| timer.max(until));
            self.reloading = self.reloading.map(|end| end.map(|end| end.max(until)));
        }
        if let Some(time) = notice.watchdog_time {
            self.watchdog_time = Some(time).filter(|time| !time.is_zero());
            if self.watchdog.is_some() || self.watches() {
                self.reset_watchdog();
            }
        }
        if notice.stopping {
            match self.state {
                State::Running => return self.stops_itself(),
                _ => self.stopping = true,
            }
        }
        if notice.reloading && self.state == State::Running {
            self.is_reloading();
            self.actions.push(Action::Tell("STATUS=Reloading".into()));
        }
        if notice.ready {
            let waited_for = self.state == State::Start && self.commands.kind().notifies();
            // With one message both: it is reloading no more.
            self.reloading = None;
            if waited_for && self.main.is_there() {
                self.start_post();
            }
        }
        match notice.watchdog {
            Some(Watchdog::Alive) if self.watchdog.is_some() => self.reset_watchdog(),
            Some(Watchdog::Trigger) if self.watches() => self.watchdog_barks(),
            _ => {}
        }
    }

    pub(super) fn watches(&self) -> bool {
        matches!(
            self.state,
            State::StartPost | State::Running | State::Reload
        )
    }

    pub(super) fn reset_watchdog(&mut self) {
        let time = self.watchdog_time;
        self.watchdog = time.map(|time| self.now.saturating_add(time));
    }

    fn watchdog_barks(&mut self) {
        self.say("It did not say in time that it is alive (WatchdogSec=).");
        self.record(Outcome::Watchdog, None);
        self.enter_signal(State::StopWatchdog);
    }

    pub(super) fn watchdog_time_passed(&mut self) {
        if self.watchdog.is_some_and(|due| due <= self.now) {
            self.watchdog = None;
            if self.watches() {
                self.watchdog_barks();
            }
        }
        if self.reloading.flatten().is_some_and(|due| due <= self.now) {
            self.reloading = None;
            self.say("A reload took too long (TimeoutStartSec=); the service goes on.");
        }
    }

    /// Nobody is left.
    pub(super) fn nobody(&mut self) {
        if self.main.is_there() || self.control.is_there() {
            // One of them has ended, and its end is told next.
            return;
        }
        self.empty = true;
        match self.state {
            State::FindMain => {
                self.record(Outcome::Protocol, None);
                self.enter_signal(State::StopSigterm);
            }
            State::Running => self.enter_running(Outcome::Success),
            _ => self.after_signal(),
        }
    }
}
