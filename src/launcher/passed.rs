//! Descriptors that a service gets beside standard input, output and error.

use std::os::fd::{OwnedFd, RawFd};

use rustix::io::Errno;

use crate::failure::{Failure, OrFail, Stage};
use crate::sys::SysError;
use crate::sys::passed::{FIRST, claim, duplicate, set_blocking, survives};

/// More sockets than any service listens on.
const MOST: usize = 1024;

/// What a socket is called whose name nobody told (sd_listen_fds_with_names(3)).
const UNNAMED: &str = "unknown";

/// Descriptors of this process for the service.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// The names of the sockets: they are the descriptors from 3 on, in this order.
    names: Vec<String>,
    /// What every command of the service is told of them.
    variables: Vec<(String, String)>,
    /// Others, by their numbers (`--pass-fd`): who knows what they are has told the service.
    others: Vec<RawFd>,
}

impl Passed {
    /// The sockets that whoever started us passes on: `LISTEN_FDS` and `LISTEN_FDNAMES`, if `LISTEN_PID` says that they
    /// are for this process (sd_listen_fds(3)). No other program that we start gets them.
    ///
    /// To be called before anything is opened, which could get a number that is named.
    ///
    /// # Errors
    /// Of [`Stage::Request`], if one of them is not open: the service would take what is opened next for its socket.
    pub fn from_environment() -> Result<Self, Failure> {
        let said = |name: &str| std::env::var(name).ok();
        let pid = std::process::id().to_string();
        if said("LISTEN_PID") != Some(pid) {
            return Ok(Self::default());
        }
        let count = said("LISTEN_FDS").unwrap_or_default();
        let count: usize = count
            .parse()
            .ok()
            .filter(|count| *count <= MOST)
            .ok_or_else(|| format!("{count:?} is no number of sockets"))
            .or_fail(Stage::Request, "LISTEN_FDS")?;
        let names = said("LISTEN_FDNAMES").unwrap_or_default();
        let mut names: Vec<String> = match names.is_empty() {
            true => Vec::new(),
            false => names.split(':').map(Into::into).collect(),
        };
        names.resize(count, UNNAMED.into());
        let passed = Self::sockets(names, Vec::new());
        for number in passed.numbers() {
            survives(number, false).or_fail(Stage::Request, "LISTEN_FDS")?;
        }
        Ok(passed)
    }

    /// The descriptors from 3 on, by their names, with what is told of them.
    pub fn sockets(names: Vec<String>, variables: Vec<(String, String)>) -> Self {
        Self {
            names,
            variables,
            others: Vec::new(),
        }
    }

    /// With others that whoever started us left open, under the same numbers. To be called as early as
    /// [`from_environment`](Self::from_environment).
    ///
    /// # Errors
    /// Of [`Stage::Request`], if one of them is not open, or is passed already.
    pub fn and_left_open(self, numbers: &[RawFd]) -> Result<Self, Failure> {
        for number in numbers {
            let subject = || format!("--pass-fd={number}");
            claim(*number).map_err(|error| not_left_open(&subject(), error))?;
        }
        Ok(Self {
            others: numbers.into(),
            ..self
        })
    }

    fn numbers(&self) -> impl Iterator<Item = RawFd> {
        (FIRST..).take(self.names.len())
    }

    /// What every command is told.
    pub(super) fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// The one socket that is standard input, output or error (`StandardInput=socket`).
    ///
    /// # Errors
    /// Of [`Stage::Terminal`], if there are several.
    pub(super) fn only_socket(&self) -> Result<Option<OwnedFd>, Failure> {
        match self.names.len() {
            0 => Ok(None),
            1 => duplicate(FIRST)
                .or_fail(Stage::Terminal, "standard input")
                .map(Some),
            more => Err(Failure::new(
                Stage::Terminal,
                "standard input",
                format!("cannot be {more} sockets at once"),
            )),
        }
    }

    /// What the program is told that gets the sockets: the process is the calling one.
    pub(super) fn told(&self) -> Vec<(String, String)> {
        if self.names.is_empty() {
            return Vec::new();
        }
        let told = [
            ("LISTEN_PID", std::process::id().to_string()),
            ("LISTEN_FDS", self.names.len().to_string()),
            ("LISTEN_FDNAMES", self.names.join(":")),
        ];
        told.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// Lets them survive the execve(2) that follows, and says whether whoever reads there waits.
    ///
    /// # Errors
    /// Of [`Stage::Exec`].
    pub(super) fn hand_over(&self, blocking: bool) -> Result<(), Failure> {
        let mut numbers = self.numbers();
        let ready = numbers.try_for_each(|number| {
            set_blocking(number, blocking)?;
            survives(number, true)
        });
        ready.or_fail(Stage::Exec, "a socket")
    }

    /// Lets those that are no sockets survive the execve(2) that follows.
    ///
    /// # Errors
    /// Of [`Stage::Exec`].
    pub(super) fn hand_over_others(&self) -> Result<(), Failure> {
        let mut others = self.others.iter();
        others.try_for_each(|number| survives(*number, true).or_fail(Stage::Exec, "--pass-fd"))
    }
}

/// Why a descriptor cannot be had.
pub(super) fn not_left_open(subject: &str, error: SysError) -> Failure {
    match error.errno {
        Errno::BADF => {
            let why = "is not open, or is named twice: whoever starts us must leave it open";
            Failure::new(Stage::Request, subject, why)
        }
        _ => Failure::new(Stage::Request, subject, error),
    }
}
