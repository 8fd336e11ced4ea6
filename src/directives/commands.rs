//! What is run, how it starts, stops and starts again: systemd.service(5) and systemd.kill(5).

mod rules;
mod table;
mod values;

use crate::statuses::Ending;
use crate::time_span::TimeSpan;

pub(crate) use rules::limit;
pub use rules::{Parsed, Patience};
pub(super) use table::TABLE;

/// `Type=`: when the service counts as started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// At once. `idle`, which waits for other units, is this one too.
    Simple,
    /// When the program runs. Every start waits for that here: the same as [`Type::Simple`].
    Exec,
    /// When its commands, one after the other, have ended.
    Oneshot,
    /// When it says so (sd_notify(3)).
    Notify,
    /// The same, and it says when a reload is done.
    NotifyReload,
    /// When its first process has ended, having left another one.
    Forking,
}

impl Type {
    /// Whether it says itself that it has started.
    pub const fn notifies(self) -> bool {
        matches!(self, Self::Notify | Self::NotifyReload)
    }
}

/// `NotifyAccess=`: whose messages are listened to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotifyAccess {
    /// Nobody's.
    #[default]
    None,
    /// The main process's.
    Main,
    /// Those of all processes that were started for it.
    Exec,
    /// Those of all its processes.
    All,
}

/// `KillMode=`: who gets the signal that ends the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KillMode {
    /// All its processes.
    #[default]
    ControlGroup,
    /// The main process; after it, SIGKILL for all that are left.
    Mixed,
    /// The main process alone.
    Process,
    /// Nobody.
    None,
}

/// What is done to a service that takes too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTimeout {
    /// `KillSignal=` first.
    #[default]
    Terminate,
    /// `WatchdogSignal=`, for a core dump.
    Abort,
    /// `FinalKillSignal=` at once.
    Kill,
}

/// `Restart=`: after which ends it is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// None.
    #[default]
    No,
    /// All.
    Always,
    /// Good ones.
    OnSuccess,
    /// Bad ones.
    OnFailure,
    /// Bad ones other than an exit status.
    OnAbnormal,
    /// A signal.
    OnAbort,
    /// The watchdog.
    OnWatchdog,
}

/// What the directives of this topic add up to: assigned values, `None` where there is a default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// `Type=`; [`Commands::kind`] knows the default.
    pub kind: Option<Type>,
    /// `ExecCondition=`, as written: specifiers are put in after a line is split.
    pub condition: Vec<String>,
    /// `ExecStartPre=`.
    pub start_pre: Vec<String>,
    /// `ExecStart=`.
    pub start: Vec<String>,
    /// `ExecStartPost=`.
    pub start_post: Vec<String>,
    /// `ExecReload=`.
    pub reload: Vec<String>,
    /// `ExecStop=`.
    pub stop: Vec<String>,
    /// `ExecStopPost=`.
    pub stop_post: Vec<String>,
    /// `PermissionsStartOnly=`: all but `ExecStart=` as if they had a `+`.
    pub permissions_start_only: bool,
    /// `RemainAfterExit=`.
    pub remain_after_exit: bool,
    /// `ExitType=cgroup`: it has ended when its last process has.
    pub ends_with_last: bool,
    /// `PIDFile=`, an absolute path.
    pub pid_file: Option<String>,
    /// `GuessMainPID=no`.
    pub no_guessing: bool,
    /// `NotifyAccess=`; [`Commands::listens_to`] knows the default.
    pub notify_access: NotifyAccess,
    /// `Restart=`.
    pub restart: Restart,
    /// `RestartSec=`.
    pub restart_delay: Option<TimeSpan>,
    /// `RestartSteps=`.
    pub restart_steps: u32,
    /// `RestartMaxDelaySec=`.
    pub restart_longest_delay: Option<TimeSpan>,
    /// `RestartMode=debug`.
    pub restart_debugs: bool,
    /// `RestartPreventExitStatus=`.
    pub never_restart: Vec<Ending>,
    /// `RestartForceExitStatus=`.
    pub always_restart: Vec<Ending>,
    /// `SuccessExitStatus=`.
    pub success: Vec<Ending>,
    /// `StartLimitIntervalSec=`.
    pub start_limit_interval: Option<TimeSpan>,
    /// `StartLimitBurst=`.
    pub start_limit_burst: Option<u32>,
    /// `TimeoutStartSec=`.
    pub start_timeout: Option<TimeSpan>,
    /// `TimeoutStopSec=`.
    pub stop_timeout: Option<TimeSpan>,
    /// `TimeoutAbortSec=`.
    pub abort_timeout: Option<TimeSpan>,
    /// `TimeoutStartFailureMode=`.
    pub on_start_timeout: OnTimeout,
    /// `TimeoutStopFailureMode=`.
    pub on_stop_timeout: OnTimeout,
    /// `RuntimeMaxSec=`.
    pub longest_run: Option<TimeSpan>,
    /// `RuntimeRandomizedExtraSec=`.
    pub random_extra_run: Option<TimeSpan>,
    /// `WatchdogSec=`.
    pub watchdog: Option<TimeSpan>,
    /// `KillMode=`.
    pub kill_mode: KillMode,
    /// `KillSignal=`.
    pub kill_signal: Option<u8>,
    /// `SendSIGHUP=`.
    pub hangs_up: bool,
    /// `SendSIGKILL=no`.
    pub never_kills: bool,
    /// `FinalKillSignal=`.
    pub final_signal: Option<u8>,
    /// `WatchdogSignal=`.
    pub watchdog_signal: Option<u8>,
    /// `ReloadSignal=`.
    pub reload_signal: Option<u8>,
}

#[cfg(test)]
mod tests;
