//! How an activation ended, and who is to blame.

use super::{Activation, List, Process, Role};
use crate::directives::Type;
use crate::statuses::{Ending, signal_name};

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// How.
    pub ending: Ending,
    /// Whether it left a core dump.
    pub core: bool,
}

impl End {
    /// An end without a core dump.
    pub const fn new(ending: Ending) -> Self {
        Self {
            ending,
            core: false,
        }
    }

    /// The status as a shell tells it: the process's own, or 128 and the number of the signal.
    pub const fn exit_status(self) -> u8 {
        match self.ending {
            Ending::Status(status) => status,
            Ending::Signal(signal) => signal.saturating_add(128),
        }
    }

    /// `$EXIT_CODE` and `$EXIT_STATUS` (systemd.exec(5)).
    fn words(self) -> (&'static str, String) {
        match self.ending {
            Ending::Status(status) => ("exited", status.to_string()),
            Ending::Signal(signal) => {
                let name = signal_name(signal);
                let name = name.strip_prefix("SIG").unwrap_or(&name);
                let how = if self.core { "dumped" } else { "killed" };
                (how, name.to_owned())
            }
        }
    }
}

/// `$SERVICE_RESULT` (systemd.exec(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it should.
    Success,
    /// It ended before it said that it had started, or there is no PID file.
    Protocol,
    /// Something took too long.
    Timeout,
    /// A process ended with a status that says so.
    ExitCode,
    /// A signal ended a process.
    Signal,
    /// The same, with a core dump.
    CoreDump,
    /// It forgot to say that it is alive.
    Watchdog,
    /// It was started too often.
    StartLimit,
    /// `ExecCondition=` said no.
    Skipped,
}

impl Outcome {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::ExitCode => "exit-code",
            Self::Signal => "signal",
            Self::CoreDump => "core-dump",
            Self::Watchdog => "watchdog",
            Self::StartLimit => "start-limit-hit",
            Self::Skipped => "exec-condition",
        }
    }
}

/// Signals that are how a daemon ends: SIGHUP, SIGINT, SIGPIPE, SIGTERM (systemd.service(5),
/// `SuccessExitStatus=`).
const CLEAN_SIGNALS: [u8; 4] = [1, 2, 13, 15];

impl Activation {
    /// What the end of a process means.
    pub(super) fn judge(&self, role: Role, end: End) -> Outcome {
        let daemon = role == Role::Main && self.commands.kind() != Type::Oneshot;
        let listed = role == Role::Main && self.commands.success.contains(&end.ending);
        match end.ending {
            Ending::Status(0) => Outcome::Success,
            _ if listed => Outcome::Success,
            Ending::Status(_) => Outcome::ExitCode,
            Ending::Signal(signal) if daemon && CLEAN_SIGNALS.contains(&signal) => Outcome::Success,
            Ending::Signal(_) if end.core => Outcome::CoreDump,
            Ending::Signal(_) => Outcome::Signal,
        }
    }

    /// The first thing that goes wrong is what the outcome is.
    pub(super) fn record(&mut self, outcome: Outcome, end: Option<End>) {
        if self.outcome == Outcome::Success && outcome != Outcome::Success {
            self.outcome = outcome;
            self.blamed = end;
        }
    }

    /// What we end with: 0 where all is well; otherwise as the process did that spoiled it, or the main one,
    /// or 1 (the supervisor outside must see that it is a failure).
    pub(super) fn exit_status(&self) -> u8 {
        if matches!(self.outcome, Outcome::Success | Outcome::Skipped) {
            return 0;
        }
        let ends = [self.blamed, self.main_end];
        let statuses = ends.into_iter().flatten().map(End::exit_status);
        statuses
            .into_iter()
            .find(|status| *status != 0)
            .unwrap_or(1)
    }

    /// What a command is told (systemd.exec(5), "Environment Variables Set or Propagated").
    pub(super) fn variables(&self, list: List, role: Role) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        let mut set = |name: &str, value: String| variables.push((name.to_owned(), value));
        if let (Role::Control, Process::Runs(pid)) = (role, self.main) {
            set("MAINPID", pid.to_string());
        }
        if let Some(path) = &self.commands.pid_file {
            set("PIDFILE", path.clone());
        }
        if let Some(socket) = &self.terms.notify_socket {
            set("NOTIFY_SOCKET", socket.clone());
        }
        if let (Role::Main, Some(time)) = (role, self.watchdog_time) {
            set("WATCHDOG_USEC", time.as_micros().to_string());
        }
        if self.restarts.count() > 0 && self.commands.restart_debugs {
            set("DEBUG_INVOCATION", "1".into());
        }
        if matches!(list, List::Stop | List::StopPost) {
            set("SERVICE_RESULT", self.outcome.word().into());
            if let Some(end) = self.main_end {
                let (code, status) = end.words();
                set("EXIT_CODE", code.into());
                set("EXIT_STATUS", status);
            }
        }
        variables
    }
}
