//! What the directives of this topic mean together (`service_verify` of systemd 257).

use core::time::Duration;

use super::{Commands, NotifyAccess, Restart, Type};
use crate::command_text::{self, Command, Expand, Privilege};
use crate::time_span::TimeSpan;

/// The commands, taken apart, in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// `ExecCondition=`.
    pub condition: Vec<Command>,
    /// `ExecStartPre=`.
    pub start_pre: Vec<Command>,
    /// `ExecStart=`.
    pub start: Vec<Command>,
    /// `ExecStartPost=`.
    pub start_post: Vec<Command>,
    /// `ExecReload=`.
    pub reload: Vec<Command>,
    /// `ExecStop=`.
    pub stop: Vec<Command>,
    /// `ExecStopPost=`.
    pub stop_post: Vec<Command>,
}

/// How long is waited; nothing for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For each command of a start, and for a reload.
    pub start: Option<Duration>,
    /// For each command of a stop, and for the processes to end.
    pub stop: Option<Duration>,
    /// For the processes to end after the watchdog's signal.
    pub abort: Option<Duration>,
}

/// `DefaultTimeoutStartSec=` and `DefaultTimeoutStopSec=` of systemd-system.conf(5).
const DEFAULT: Duration = Duration::from_secs(90);

impl Commands {
    /// `Type=`, or its default.
    pub fn kind(&self) -> Type {
        self.kind.unwrap_or(match self.start.is_empty() {
            true => Type::Oneshot,
            false => Type::Simple,
        })
    }

    /// `NotifyAccess=`, or what the other directives imply.
    pub fn listens_to(&self) -> NotifyAccess {
        let needed = self.kind().notifies() || self.watchdog_time().is_some();
        match self.notify_access {
            NotifyAccess::None if needed => NotifyAccess::Main,
            access => access,
        }
    }

    /// `WatchdogSec=`, if it is in force.
    pub fn watchdog_time(&self) -> Option<Duration> {
        limit(self.watchdog, None)
    }

    /// How long is waited for what.
    pub fn patience(&self) -> Patience {
        let start = match self.kind() {
            Type::Oneshot => None,
            _ => Some(DEFAULT),
        };
        let stop = limit(self.stop_timeout, Some(DEFAULT));
        Patience {
            start: limit(self.start_timeout, start),
            stop,
            abort: limit(self.abort_timeout, stop),
        }
    }

    /// Takes the commands apart, with `expand` for their specifiers, and checks that they go together.
    ///
    /// # Errors
    /// A sentence that names the directive.
    pub fn parse(&self, expand: &Expand<'_>) -> Result<Parsed, String> {
        let all = |name: &str, values: &[String]| -> Result<Vec<Command>, String> {
            let mut commands = Vec::new();
            for value in values {
                let parsed = command_text::parse(value, expand);
                commands.extend(parsed.map_err(|why| format!("{name}={value}: {why}"))?);
            }
            Ok(commands)
        };
        // Without its sandbox, as with a `+`: that is what systemd makes of this old directive.
        let others = |name: &str, values: &[String]| -> Result<Vec<Command>, String> {
            let mut commands = all(name, values)?;
            if self.permissions_start_only {
                for command in &mut commands {
                    command.privilege = Privilege::Full;
                }
            }
            Ok(commands)
        };
        let parsed = Parsed {
            condition: others("ExecCondition", &self.condition)?,
            start_pre: others("ExecStartPre", &self.start_pre)?,
            start: all("ExecStart", &self.start)?,
            start_post: others("ExecStartPost", &self.start_post)?,
            reload: others("ExecReload", &self.reload)?,
            stop: others("ExecStop", &self.stop)?,
            stop_post: others("ExecStopPost", &self.stop_post)?,
        };
        self.check(&parsed)?;
        Ok(parsed)
    }

    fn check(&self, parsed: &Parsed) -> Result<(), String> {
        let refused = match (self.kind(), parsed.start.len()) {
            (Type::Oneshot, 0) if parsed.stop.is_empty() => {
                "there is neither an ExecStart= nor an ExecStop="
            }
            (Type::Oneshot, 0) if !self.remain_after_exit => {
                "without ExecStart= there is nothing to start, unless RemainAfterExit=yes says to stay"
            }
            (Type::Oneshot, _) if matches!(self.restart, Restart::Always | Restart::OnSuccess) => {
                "Restart=always and on-success would run a Type=oneshot service for ever"
            }
            (Type::Oneshot, _) if self.ends_with_last => {
                "ExitType=cgroup does not go with Type=oneshot"
            }
            (Type::Oneshot, _) | (_, 1) => return Ok(()),
            (_, 0) => "ExecStart= is missing: only Type=oneshot can do without",
            _ => "there are several ExecStart=: only Type=oneshot can have that",
        };
        Err(refused.into())
    }
}

/// The time of an assignment, `default` where there is none.
pub(crate) fn limit(assigned: Option<TimeSpan>, default: Option<Duration>) -> Option<Duration> {
    match assigned {
        None => default,
        Some(TimeSpan::Infinite) => None,
        Some(TimeSpan::Limited(limit)) => Some(limit),
    }
}
