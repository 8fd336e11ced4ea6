//! Starting again: when, after how long, how often (systemd.service(5), systemd.unit(5)).

use core::time::Duration;

use super::{Action, Activation, Outcome, Process, State};
use crate::directives::{Commands, Restart, Type, limit};

/// What is remembered from one start to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Restarts {
    count: u32,
    /// When the first of these starts was, and how many they are.
    window: Option<(Duration, u32)>,
}

/// `DefaultRestartSec=`, `DefaultStartLimitIntervalSec=` and `DefaultStartLimitBurst=`
/// (systemd-system.conf(5)).
const DELAY: Duration = Duration::from_millis(100);
const INTERVAL: Duration = Duration::from_secs(10);
const BURST: u32 = 5;

impl Restarts {
    pub(super) const fn count(self) -> u32 {
        self.count
    }

    /// Counts a start. Whether it may be.
    pub(super) fn may_start(&mut self, now: Duration, commands: &Commands) -> bool {
        let interval = limit(commands.start_limit_interval, Some(INTERVAL));
        let burst = commands.start_limit_burst.unwrap_or(BURST);
        if interval == Some(Duration::ZERO) || burst == 0 {
            return true;
        }
        let over = |since: Duration| interval.is_some_and(|it| since.saturating_add(it) <= now);
        match self.window {
            Some((since, starts)) if !over(since) => {
                self.window = Some((since, starts.saturating_add(1)));
                starts < burst
            }
            _ => {
                self.window = Some((now, 1));
                true
            }
        }
    }
}

/// The pause before restart `count`, from 0: `RestartSec=` at first, `RestartMaxDelaySec=` after
/// `RestartSteps=`, and in between by the same factor each time.
pub(super) fn delay(commands: &Commands, count: u32) -> Option<Duration> {
    let first = limit(commands.restart_delay, Some(DELAY))?;
    let steps = commands.restart_steps;
    let Some(longest) = limit(commands.restart_longest_delay, None) else {
        return Some(first);
    };
    if steps == 0 || first.is_zero() || longest <= first {
        return Some(first);
    }
    if count >= steps {
        return Some(longest);
    }
    let ratio = longest.as_secs_f64() / first.as_secs_f64();
    let factor = ratio.powf(f64::from(count) / f64::from(steps));
    let seconds = first.as_secs_f64() * factor;
    let delay = Duration::try_from_secs_f64(seconds).unwrap_or(longest);
    Some(delay.min(longest))
}

impl Activation {
    fn shall_restart(&self) -> bool {
        if !self.terms.supervise || self.stop_asked || self.outcome == Outcome::StartLimit {
            return false;
        }
        // KillMode=none, or one that outlived SIGKILL: a second main process beside it helps nobody.
        if self.main.is_there() {
            return false;
        }
        let listed = |list: &[_]| self.main_end.is_some_and(|end| list.contains(&end.ending));
        if listed(&self.commands.never_restart) {
            return false;
        }
        let well = self.outcome == Outcome::Success;
        if listed(&self.commands.always_restart) {
            return !(self.commands.kind() == Type::Oneshot && well);
        }
        let skipped = self.outcome == Outcome::Skipped;
        let signalled = matches!(self.outcome, Outcome::Signal | Outcome::CoreDump);
        match self.commands.restart {
            Restart::No => false,
            Restart::Always => !skipped,
            Restart::OnSuccess => well,
            Restart::OnFailure => !well && !skipped,
            Restart::OnAbnormal => !well && !skipped && self.outcome != Outcome::ExitCode,
            Restart::OnAbort => signalled,
            Restart::OnWatchdog => self.outcome == Outcome::Watchdog,
        }
    }

    /// The activation is over.
    pub(super) fn enter_dead(&mut self) {
        self.timer = None;
        self.watchdog = None;
        self.reloading = None;
        self.control = Process::None;
        if self.shall_restart()
            && let Some(pause) = delay(&self.commands, self.restarts.count)
        {
            let word = self.outcome.word();
            self.say(format!("Ended ({word}); starts again in {pause:?}."));
            self.arm(Some(pause));
            self.enter(State::Pause);
            return;
        }
        self.finish();
    }

    pub(super) fn finish(&mut self) {
        self.timer = None;
        self.enter(State::Done);
        self.actions.push(Action::Finish(self.exit_status()));
    }

    /// The pause is over.
    pub(super) fn start_again(&mut self) {
        self.restarts.count = self.restarts.count.saturating_add(1);
        self.begin();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_span::TimeSpan;

    #[test]
    /// The example of systemd.service(5).
    fn the_pause_grows_to_the_longest_one() {
        let span = |seconds| Some(TimeSpan::Limited(Duration::from_secs(seconds)));
        let commands = Commands {
            restart_delay: span(10),
            restart_steps: 4,
            restart_longest_delay: span(160),
            ..Commands::default()
        };
        let pauses: Vec<_> = (0..7)
            .map(|count| delay(&commands, count).unwrap().as_secs_f64().round())
            .collect();
        assert_eq!(pauses, [10.0, 20.0, 40.0, 80.0, 160.0, 160.0, 160.0]);
        assert_eq!(delay(&Commands::default(), 9), Some(DELAY));
    }

    #[test]
    fn starts_are_counted_by_window() {
        let commands = Commands::default();
        let mut restarts = Restarts::default();
        let mut may = |seconds| restarts.may_start(Duration::from_secs(seconds), &commands);
        let first: Vec<_> = (0..6).map(&mut may).collect();
        assert_eq!(first, [true, true, true, true, true, false]);
        assert!(!may(9));
        assert!(may(10));
    }
}
