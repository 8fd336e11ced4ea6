//! Why something was not done: once, with the thing it is about, and the exit status for it.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;

/// The part of a start that failed. Each has the exit status that systemd gives to it
/// (systemd.exec(5), "Process Exit Codes"), so that scripts keep their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The request itself: bad words, unknown properties, no command.
    Request,
    /// The daemon: not there, not answering, or of no use to this caller.
    Daemon,
    /// Sockets that are listened on.
    Sockets,
    /// The working directory.
    WorkingDirectory,
    /// Executing the command.
    Exec,
    /// The system-call filter.
    Seccomp,
    /// Supplementary groups and the group ID.
    Group,
    /// The user: choosing a UID, or taking it on.
    User,
    /// Capabilities, and the promise never to gain new ones.
    Capabilities,
    /// The terminal or the standard streams.
    Terminal,
    /// The mount namespace.
    Namespace,
    /// The nice level.
    Nice,
    /// Resource limits.
    Limits,
    /// What the kernel ends first when memory is gone.
    OutOfMemory,
    /// Standard output.
    StandardOutput,
    /// Priority of input and output.
    IoPriority,
    /// Timer slack.
    TimerSlack,
    /// Secure bits.
    SecureBits,
    /// Scheduling policy and priority.
    Scheduler,
    /// The CPUs to run on.
    CpuAffinity,
    /// The control group, and limits in it.
    ControlGroup,
    /// Standard error.
    StandardError,
    /// The network namespace.
    Network,
    /// The execution domain.
    Personality,
    /// The session keyring.
    Keyring,
    /// Credentials.
    Credentials,
    /// Programs in the kernel: device and address policies.
    Bpf,
    /// `RuntimeDirectory=`.
    RuntimeDirectory,
    /// `StateDirectory=`.
    StateDirectory,
    /// `CacheDirectory=`.
    CacheDirectory,
    /// `LogsDirectory=`.
    LogsDirectory,
    /// `ConfigurationDirectory=`.
    ConfigurationDirectory,
}

/// Every stage with its exit status and the word for it in a D-Bus error name.
const STAGES: [(Stage, u8, &str); 32] = [
    (Stage::Request, 1, "InvalidRequest"),
    (Stage::Daemon, 1, "Daemon"),
    (Stage::Sockets, 1, "Sockets"),
    (Stage::WorkingDirectory, 200, "WorkingDirectory"),
    (Stage::Nice, 201, "Nice"),
    (Stage::Exec, 203, "Exec"),
    (Stage::Limits, 205, "Limits"),
    (Stage::OutOfMemory, 206, "OutOfMemory"),
    (Stage::Terminal, 208, "Terminal"),
    (Stage::StandardOutput, 209, "StandardOutput"),
    (Stage::IoPriority, 211, "IoPriority"),
    (Stage::TimerSlack, 212, "TimerSlack"),
    (Stage::SecureBits, 213, "SecureBits"),
    (Stage::Scheduler, 214, "Scheduler"),
    (Stage::CpuAffinity, 215, "CpuAffinity"),
    (Stage::Group, 216, "Group"),
    (Stage::User, 217, "User"),
    (Stage::Capabilities, 218, "Capabilities"),
    (Stage::ControlGroup, 219, "ControlGroup"),
    (Stage::StandardError, 222, "StandardError"),
    (Stage::Network, 225, "Network"),
    (Stage::Namespace, 226, "Namespace"),
    (Stage::Seccomp, 228, "Seccomp"),
    (Stage::Personality, 230, "Personality"),
    (Stage::RuntimeDirectory, 233, "RuntimeDirectory"),
    (Stage::Keyring, 237, "Keyring"),
    (Stage::StateDirectory, 238, "StateDirectory"),
    (Stage::CacheDirectory, 239, "CacheDirectory"),
    (Stage::LogsDirectory, 240, "LogsDirectory"),
    (Stage::ConfigurationDirectory, 241, "ConfigurationDirectory"),
    (Stage::Credentials, 243, "Credentials"),
    (Stage::Bpf, 245, "Bpf"),
];

impl Stage {
    /// The exit status of a process that could not be started because of this stage.
    pub fn exit_status(self) -> u8 {
        self.row().1
    }

    /// The last component of the name of the D-Bus error for this stage.
    pub fn word(self) -> &'static str {
        self.row().2
    }

    /// The stage whose [`word`](Self::word) is `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        STAGES
            .iter()
            .find(|row| row.2 == word)
            .map(|(stage, ..)| *stage)
    }

    fn row(self) -> (Stage, u8, &'static str) {
        STAGES
            .into_iter()
            .find(|row| row.0 == self)
            .unwrap_or((self, 1, "Failed"))
    }
}

/// One refusal or failure: the stage, the thing it is about, and the reason.
///
/// It is made where the reason is known, passed up with `?`, and shown once, at the edge.
#[derive(Debug)]
pub struct Failure {
    /// What was being done.
    pub stage: Stage,
    /// The name, path or value that it is about, in the words of the person who gave it.
    pub subject: String,
    /// The kernel's answer, or the rule that refuses it.
    pub source: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// A failure of `stage` over `subject`, with the error or the sentence that explains it.
    pub fn new(
        stage: Stage,
        subject: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            stage,
            subject: subject.into(),
            source: source.into(),
        }
    }

    /// The exit status that goes with it.
    pub fn exit_status(&self) -> u8 {
        self.stage.exit_status()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.subject.is_empty() {
            write!(f, "{}", self.source)
        } else {
            write!(f, "{}: {}", self.subject, self.source)
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref())
    }
}

/// Turns any error into a [`Failure`] of a stage: `mkdir(…).or_fail(Stage::Namespace, path)?`.
pub trait OrFail<T> {
    /// The value, or a failure of `stage` over `subject` with the error as its source.
    fn or_fail(self, stage: Stage, subject: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> OrFail<T> for Result<T, E> {
    fn or_fail(self, stage: Stage, subject: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(stage, subject, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_survives_the_way_through_its_word() {
        for (stage, status, word) in STAGES {
            assert_eq!(Stage::from_word(word), Some(stage));
            assert_eq!(stage.exit_status(), status);
            assert_eq!(stage.word(), word);
        }
        assert_eq!(Stage::from_word("Nonsense"), None);
    }

    #[test]
    fn a_failure_reads_subject_first() {
        let failure = Failure::new(Stage::User, "root", "is never handed out");
        assert_eq!(failure.to_string(), "root: is never handed out");
        assert_eq!(failure.exit_status(), 217);
    }
}
