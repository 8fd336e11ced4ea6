//! What goes into an activation, and what comes out.

use super::{End, Notice};

/// Which commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// `ExecCondition=`.
    Condition,
    /// `ExecStartPre=`.
    StartPre,
    /// `ExecStart=`.
    Start,
    /// `ExecStartPost=`.
    StartPost,
    /// `ExecReload=`.
    Reload,
    /// `ExecStop=`.
    Stop,
    /// `ExecStopPost=`.
    StopPost,
}

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is the service.
    Main,
    /// It does something for the service.
    Control,
}

/// Who gets a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The main process.
    Main,
    /// The command that runs beside it.
    Control,
    /// All processes of the service.
    All,
}

/// Where the main process of a forking service is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// In this file, once it is there.
    PidFile(String),
    /// It is the only child that is left.
    OnlyChild,
}

/// What somebody asks for by a signal to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM, SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
    /// Another one, for the main process.
    Pass(u8),
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first one.
    Begin,
    /// The command that was to be started runs, with this PID.
    Started(Role, u32),
    /// It could not be started; the status is that of the failure, which has been shown.
    NotStarted(Role, u8),
    /// It has ended.
    Ended(Role, End),
    /// This process of the service's is the main one.
    Main(u32),
    /// There is no telling which process is the main one.
    NoMain,
    /// No process of the service is left.
    Nobody,
    /// A message from a process of the service that may send them.
    Notice(Notice),
    /// A signal to us.
    Asked(Asked),
    /// Time has passed.
    Time,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a command, and tell [`Event::Started`] or [`Event::NotStarted`].
    Start {
        /// Of which list.
        list: List,
        /// Which of it, from 0.
        index: usize,
        /// What for.
        role: Role,
        /// More variables for its environment.
        variables: Vec<(String, String)>,
    },
    /// Become this command of `ExecStart=`: nothing is left to do. If that fails, it is the end.
    Become {
        /// Which, from 0.
        index: usize,
        /// More variables for its environment.
        variables: Vec<(String, String)>,
    },
    /// Send a signal. Nobody to get it is no failure.
    Signal(To, u8),
    /// Something for people.
    Say(String),
    /// Something for the supervisor outside, if it listens (sd_notify(3)).
    Tell(String),
    /// It is over: end with this status.
    Finish(u8),
}

/// What is asked of an activation, besides its commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// `--supervise`: `Restart=` is in force.
    pub supervise: bool,
    /// Nothing is to be done once the service has started: [`Action::Become`].
    pub in_place: bool,
    /// The path of the socket where messages are received.
    pub notify_socket: Option<String>,
    /// Any number: which part of `RuntimeRandomizedExtraSec=` is added.
    pub random: u32,
}

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing has happened.
    New,
    /// `ExecCondition=` runs.
    Condition,
    /// `ExecStartPre=` runs.
    StartPre,
    /// The service starts.
    Start,
    /// The first process of a forking service has ended; where is the main one?
    FindMain,
    /// `ExecStartPost=` runs.
    StartPost,
    /// The service runs.
    Running,
    /// It has ended, and counts as running (`RemainAfterExit=`).
    Exited,
    /// `ExecReload=` runs.
    Reload,
    /// `ExecStop=` runs.
    Stop,
    /// The watchdog's signal was sent.
    StopWatchdog,
    /// The signal that ends it was sent, or it said that it is stopping.
    StopSigterm,
    /// The last signal was sent.
    StopSigkill,
    /// `ExecStopPost=` runs.
    StopPost,
    /// The signal that ends it was sent to what is left.
    FinalSigterm,
    /// The last signal was sent to what is left.
    FinalSigkill,
    /// It is started again when some time has passed.
    Pause,
    /// It is over.
    Done,
}
