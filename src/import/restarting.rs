//! Which ends are followed by a new start (systemd.service(5), `Restart=`), told by what a supervisor sees of them.

use core::time::Duration;
use std::collections::BTreeSet;

use crate::directives::{Commands, Restart, Type, limit};
use crate::statuses::Ending;

/// `DefaultRestartSec=`, `DefaultStartLimitIntervalSec=` and `DefaultStartLimitBurst=` (systemd-system.conf(5)).
const DELAY: Duration = Duration::from_millis(100);
const INTERVAL: Duration = Duration::from_secs(10);
const BURST: u32 = 5;

/// Signals that are how a daemon ends (systemd.service(5), `SuccessExitStatus=`).
const CLEAN_SIGNALS: [u8; 4] = [1, 2, 13, 15];

const LAST_SIGNAL: u8 = 64;

/// What comes after the end of the process that the supervisor has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Nothing.
    Never,
    /// A new start, whatever the end was.
    Always,
    /// It depends on the end.
    Depends(Cases),
}

/// The ends by what comes after them; the first case that fits counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cases {
    /// No new start after these.
    pub(super) down: Vec<Ending>,
    /// A new start after these.
    pub(super) up: Vec<Ending>,
    /// Whether there is one after all other signals.
    pub(super) other_signals: bool,
    /// Whether there is one after all other exit statuses.
    pub(super) other_statuses: bool,
}

/// How often it may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StartLimit {
    /// So many starts …
    pub(super) burst: u32,
    /// … in this time.
    pub(super) interval: Duration,
}

/// How `Restart=` is written.
pub(super) const fn word(restart: Restart) -> &'static str {
    match restart {
        Restart::No => "no",
        Restart::Always => "always",
        Restart::OnSuccess => "on-success",
        Restart::OnFailure => "on-failure",
        Restart::OnAbnormal => "on-abnormal",
        Restart::OnAbort => "on-abort",
        Restart::OnWatchdog => "on-watchdog",
    }
}

/// The policy of a service. `parent`: dynuser stays in between, and ends with 0 where the unit calls it a success,
/// otherwise with the service's own status, or with 128 and its signal.
pub(super) fn policy(commands: &Commands, parent: bool) -> Policy {
    if delay(commands).is_none() {
        return Policy::Never;
    }
    let statuses = (0..=u8::MAX).map(Ending::Status);
    let signals = (1..=LAST_SIGNAL).map(Ending::Signal);
    let again = |ending: &Ending| starts_again(commands, parent, *ending);
    let (mut down, mut up) = (BTreeSet::new(), BTreeSet::new());
    let mut majority = |all: Vec<Ending>| {
        let (yes, no): (Vec<_>, Vec<_>) = all.into_iter().partition(again);
        let most = yes.len() > no.len();
        match most {
            true => down.extend(no),
            false => up.extend(yes),
        }
        most
    };
    let other_statuses = majority(statuses.collect());
    let other_signals = majority(signals.collect());
    if down.is_empty() && up.is_empty() && other_signals == other_statuses {
        return match other_statuses {
            true => Policy::Always,
            false => Policy::Never,
        };
    }
    Policy::Depends(Cases {
        down: down.into_iter().collect(),
        up: up.into_iter().collect(),
        other_signals,
        other_statuses,
    })
}

fn starts_again(commands: &Commands, parent: bool, seen: Ending) -> bool {
    // What the service's own end was.
    let own = match seen {
        Ending::Status(status) if parent => match status.checked_sub(128) {
            Some(signal @ 1..=LAST_SIGNAL) => Ending::Signal(signal),
            _ => seen,
        },
        _ => seen,
    };
    if commands.never_restart.contains(&own) {
        return false;
    }
    let daemon = commands.kind() != Type::Oneshot;
    // What counts as a success is 0 when dynuser stays; a signal that it dies of itself is none.
    let well = match own {
        Ending::Status(status) => status == 0,
        Ending::Signal(signal) => !parent && daemon && CLEAN_SIGNALS.contains(&signal),
    };
    let well = well || (!parent && commands.success.contains(&own));
    if commands.always_restart.contains(&own) {
        return daemon || !well;
    }
    let signalled = matches!(own, Ending::Signal(_));
    match commands.restart {
        // A watchdog needs dynuser as the parent, which ends the service with a signal then.
        Restart::No => false,
        Restart::Always => true,
        Restart::OnSuccess => well,
        Restart::OnFailure => !well,
        Restart::OnAbnormal | Restart::OnAbort | Restart::OnWatchdog => !well && signalled,
    }
}

/// What only dynuser itself can tell (`--supervise`), because it cannot be seen from outside, or grows from one
/// start to the next.
pub(super) fn only_inside(commands: &Commands) -> bool {
    let grows = commands.restart_steps > 0 && commands.restart_longest_delay.is_some();
    // Endings that count as success all look like 0 from outside.
    let hidden = |list: &[Ending]| list.iter().any(|ending| commands.success.contains(ending));
    let hidden = hidden(&commands.never_restart) || hidden(&commands.always_restart);
    let watchdog = commands.restart == Restart::OnWatchdog;
    let restarts = commands.restart != Restart::No || !commands.always_restart.is_empty();
    restarts && (grows || hidden || watchdog || commands.restart_debugs)
}

/// The pause before a new start. `None`: it never comes.
pub(super) fn delay(commands: &Commands) -> Option<Duration> {
    limit(commands.restart_delay, Some(DELAY))
}

/// How often it may start; `None`: as often as it likes.
pub(super) fn start_limit(commands: &Commands) -> Option<StartLimit> {
    let interval = limit(commands.start_limit_interval, Some(INTERVAL)).unwrap_or(Duration::MAX);
    let burst = commands.start_limit_burst.unwrap_or(BURST);
    let limit = StartLimit { burst, interval };
    // With pauses this long it is never reached.
    let slowest = delay(commands)?.saturating_mul(burst);
    (burst > 0 && !interval.is_zero() && slowest < interval).then_some(limit)
}

/// Whether the unit itself says how often it may start.
pub(super) fn says_limit(commands: &Commands) -> bool {
    commands.start_limit_interval.is_some() || commands.start_limit_burst.is_some()
}

impl Cases {
    /// The arms of a `case` of sh(1), as the patterns of each and whether a new start follows: `status` and
    /// `signal` write the pattern of one ending, `signals` that of every signal.
    pub(super) fn arms(
        &self,
        status: &dyn Fn(u8) -> String,
        signal: &dyn Fn(u8) -> String,
        signals: &str,
    ) -> Vec<(String, bool)> {
        let write = |list: &[Ending]| {
            let all = list.iter().map(|ending| match ending {
                Ending::Status(number) => status(*number),
                Ending::Signal(number) => signal(*number),
            });
            all.collect::<Vec<_>>().join("|")
        };
        let mut arms = vec![(write(&self.down), false), (write(&self.up), true)];
        arms.retain(|(patterns, _)| !patterns.is_empty());
        if self.other_signals != self.other_statuses {
            arms.push((signals.into(), self.other_signals));
        }
        arms.push(("*".into(), self.other_statuses));
        arms
    }
}
