//! The rows of this topic.

use super::super::Settings;
use super::super::row::{Directive, elsewhere, function, missing};
use super::values::*;
use crate::time_span::TimeSpan;

const RESTARTS: &str = "only with --supervise: otherwise the supervisor outside starts it again";
const COMMAND: &str = "run by dynuser, in the service's own sandbox";
const KEEPS_NOTHING: &str =
    "descriptors that are sent are closed: nothing is kept for a next start";

pub(in super::super) const TABLE: &[Directive] = &[
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
