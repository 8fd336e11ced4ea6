//! What is run, how it starts, stops and starts again: systemd.service(5) and systemd.kill(5).

mod rules;
mod values;

use super::Settings;
use super::row::{Directive, elsewhere, function, missing};
use crate::statuses::Ending;
use crate::time_span::TimeSpan;
use values::*;

pub(crate) use rules::limit;
pub use rules::{Parsed, Patience};

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

const RESTARTS: &str = "only with --supervise: otherwise the supervisor outside starts it again";
const COMMAND: &str = "run by dynuser, in the service's own sandbox";
const KEEPS_NOTHING: &str =
    "descriptors that are sent are closed: nothing is kept for a next start";

pub(super) const TABLE: &[Directive] = &[
    function(
        "Type",
        "when it counts as started, and how it tells",
        |s, v| {
            s.commands.kind = kind(v)?;
            Ok(())
        },
    ),
    missing(
        "BusName",
        "Type=dbus: a service that has started when it owns a name on the bus",
    ),
    function("ExecCondition", COMMAND, |s, v| {
        push(&mut s.commands.condition, v)
    }),
    function("ExecStartPre", COMMAND, |s, v| {
        push(&mut s.commands.start_pre, v)
    }),
    function("ExecStart", "the service itself", |s, v| {
        push(&mut s.commands.start, v)
    }),
    function("ExecStartPost", COMMAND, |s, v| {
        push(&mut s.commands.start_post, v)
    }),
    function(
        "ExecReload",
        "run by dynuser when it gets SIGHUP",
        |s, v| push(&mut s.commands.reload, v),
    ),
    missing("ExecReloadPost", "a command after a reload (systemd 259)"),
    function(
        "ExecStop",
        "run by dynuser when it gets SIGTERM or SIGINT, and after a good end",
        |s, v| push(&mut s.commands.stop, v),
    ),
    function("ExecStopPost", "run by dynuser after every end", |s, v| {
        push(&mut s.commands.stop_post, v)
    }),
    function(
        "PermissionsStartOnly",
        "commands other than ExecStart= run as with a +",
        |s, v| set(&mut s.commands.permissions_start_only, v),
    ),
    elsewhere(
        "RootDirectoryStartOnly",
        "there is no RootDirectory= for it",
    ),
    function(
        "RemainAfterExit",
        "dynuser stays, and the user with it, until SIGTERM",
        |s, v| set(&mut s.commands.remain_after_exit, v),
    ),
    function(
        "ExitType",
        "dynuser, a subreaper, stays until the last process has ended",
        |s, v| {
            s.commands.ends_with_last = one_of(v, [("main", false), ("cgroup", true)])?;
            Ok(())
        },
    ),
    function(
        "PIDFile",
        "read when it is there: only a process of the service counts",
        |s, v| {
            s.commands.pid_file = pid_file(v)?;
            Ok(())
        },
    ),
    function(
        "GuessMainPID",
        "the one process that a forking service leaves",
        |s, v| {
            set(&mut s.commands.no_guessing, v)?;
            s.commands.no_guessing ^= true;
            Ok(())
        },
    ),
    function(
        "NotifyAccess",
        "by the kernel's word on who sent a message",
        |s, v| {
            s.commands.notify_access = notify_access(v)?;
            Ok(())
        },
    ),
    function("Restart", RESTARTS, |s, v| {
        s.commands.restart = restart(v)?;
        Ok(())
    }),
    function("RestartSec", RESTARTS, |s, v| {
        span(&mut s.commands.restart_delay, v)
    }),
    function("RestartSteps", RESTARTS, |s, v| {
        s.commands.restart_steps = count(v)?;
        Ok(())
    }),
    function("RestartMaxDelaySec", RESTARTS, |s, v| {
        span(&mut s.commands.restart_longest_delay, v)
    }),
    function("RestartMode", RESTARTS, |s, v| {
        let modes = [("normal", false), ("direct", false), ("debug", true)];
        s.commands.restart_debugs = one_of(v, modes)?;
        Ok(())
    }),
    function("RestartPreventExitStatus", RESTARTS, |s, v| {
        endings(&mut s.commands.never_restart, v)
    }),
    function("RestartForceExitStatus", RESTARTS, |s, v| {
        endings(&mut s.commands.always_restart, v)
    }),
    function("SuccessExitStatus", "dynuser ends with 0 then", |s, v| {
        endings(&mut s.commands.success, v)
    }),
    function("StartLimitIntervalSec", RESTARTS, |s, v| {
        span(&mut s.commands.start_limit_interval, v)
    }),
    function("StartLimitBurst", RESTARTS, |s, v| {
        s.commands.start_limit_burst = Some(count(v)?);
        Ok(())
    }),
    function("StartLimitAction", "none: dynuser ends", |_, v| {
        no_action(v)
    }),
    function("FailureAction", "none: dynuser ends", |_, v| no_action(v)),
    function("SuccessAction", "none: dynuser ends", |_, v| no_action(v)),
    function(
        "TimeoutStartSec",
        "by the clock of dynuser, for each command",
        |s, v| timeout(&mut s.commands.start_timeout, v),
    ),
    function("TimeoutStopSec", "SIGKILL after it", stop_timeout),
    function("TimeoutSec", "both of the above", |s, v| {
        timeout(&mut s.commands.start_timeout, v)?;
        stop_timeout(s, v)
    }),
    function("TimeoutAbortSec", "FinalKillSignal= after it", |s, v| {
        timeout(&mut s.commands.abort_timeout, v)
    }),
    function(
        "TimeoutStartFailureMode",
        "which signal comes first",
        |s, v| {
            s.commands.on_start_timeout = on_timeout(v)?;
            Ok(())
        },
    ),
    function(
        "TimeoutStopFailureMode",
        "which signal comes first",
        |s, v| {
            s.commands.on_stop_timeout = on_timeout(v)?;
            Ok(())
        },
    ),
    function("RuntimeMaxSec", "stopped by dynuser after it", |s, v| {
        span(&mut s.commands.longest_run, v)
    }),
    function(
        "RuntimeRandomizedExtraSec",
        "a random part of it is added",
        |s, v| span(&mut s.commands.random_extra_run, v),
    ),
    function("WatchdogSec", "by the notify socket of dynuser", |s, v| {
        timeout(&mut s.commands.watchdog, v)
    }),
    function(
        "KillMode",
        "signals by pidfd; what is left of a dynamic user ends with the service in every mode",
        |s, v| {
            s.commands.kill_mode = kill_mode(v)?;
            Ok(())
        },
    ),
    function(
        "KillSignal",
        "sent in place of the SIGTERM that dynuser gets",
        |s, v| signal(&mut s.commands.kill_signal, v),
    ),
    elsewhere(
        "RestartKillSignal",
        "a restart from outside is a stop and a start",
    ),
    function("SendSIGHUP", "sent after KillSignal=", |s, v| {
        set(&mut s.commands.hangs_up, v)
    }),
    function(
        "SendSIGKILL",
        "FinalKillSignal= after TimeoutStopSec=, or not",
        |s, v| {
            set(&mut s.commands.never_kills, v)?;
            s.commands.never_kills ^= true;
            Ok(())
        },
    ),
    function("FinalKillSignal", "in place of SIGKILL", |s, v| {
        signal(&mut s.commands.final_signal, v)
    }),
    function("WatchdogSignal", "in place of SIGABRT", |s, v| {
        signal(&mut s.commands.watchdog_signal, v)
    }),
    function(
        "ReloadSignal",
        "Type=notify-reload: sent when dynuser gets SIGHUP",
        |s, v| signal(&mut s.commands.reload_signal, v),
    ),
    elsewhere(
        "ReloadLimitIntervalSec",
        "how often somebody may ask systemd for a reload",
    ),
    elsewhere(
        "ReloadLimitBurst",
        "how often somebody may ask systemd for a reload",
    ),
    elsewhere(
        "RefreshOnReload",
        "credentials and extensions stay as they are until the next start",
    ),
    elsewhere("FileDescriptorStoreMax", KEEPS_NOTHING),
    elsewhere("FileDescriptorStorePreserve", KEEPS_NOTHING),
    missing("Sockets", "descriptors of socket units"),
    missing("OpenFile", "files that are opened before the start"),
    function("NonBlocking", "no, as no descriptors are passed", |_, v| {
        let mut wanted = false;
        set(&mut wanted, v)?;
        match wanted {
            true => Err("is not supported: no descriptors are passed".into()),
            false => Ok(()),
        }
    }),
    missing("USBFunctionDescriptors", "USB gadgets"),
    missing("USBFunctionStrings", "USB gadgets"),
];

fn stop_timeout(settings: &mut Settings, value: &str) -> Result<(), String> {
    timeout(&mut settings.commands.stop_timeout, value)?;
    // What is left when the service has ended, and dynuser with it, is not waited for without an end: its
    // number would never be free. The configured time applies then.
    settings.stop_timeout = match settings.commands.stop_timeout {
        Some(TimeSpan::Limited(limit)) => Some(limit),
        _ => None,
    };
    Ok(())
}
