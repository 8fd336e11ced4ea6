//! Who holds a lease: a process, or a descriptor with all its copies.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exec_directory::{ExecDirectory, Kind};
use crate::layout::HOLDS;
use crate::level::Level;
use crate::spec::Spec;
use crate::sys::identity::{Identity, reopen};
use crate::sys::random::hex_id;
use crate::sys::{During, SysResult, gone, hold};

/// A process: recognised by more than its number, which is reused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Process ID.
    pub pid: u32,
    /// When it started, in clock ticks after boot (proc_pid_stat(5), field 22).
    pub start_time: u64,
    /// The inode of its pidfd, which is never used again before a reboot, where the kernel has it.
    pub pidfd_inode: Option<u64>,
}

impl From<&Identity> for ProcessRecord {
    fn from(process: &Identity) -> Self {
        Self {
            pid: process.pid,
            start_time: process.start_time,
            pidfd_inode: process.pidfd_inode,
        }
    }
}

/// What a lease is held by: it lasts until that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HeldBy {
    /// A process, also across its execve(2).
    Process(ProcessRecord),
    /// A descriptor that the daemon gave away, as long as anybody has a copy of it open.
    Descriptor {
        /// The name of its file in [`HOLDS`].
        hold: String,
    },
}

/// What is watched: it tells that the holder is gone.
#[derive(Debug)]
pub enum Watched {
    /// The pidfd of a process: readable when it has ended.
    Process(OwnedFd),
    /// Our end of what a descriptor is the other end of: in error when all copies are closed.
    Descriptor(OwnedFd),
}

impl HeldBy {
    /// Makes a descriptor that can hold a lease. Gives the record, what to watch, and the
    /// descriptor itself, to be given away.
    ///
    /// # Errors
    /// Those of mknod(2) and open(2).
    pub fn new_descriptor() -> SysResult<(Self, Watched, OwnedFd)> {
        let hold = hex_id()?;
        let path = Path::new(HOLDS).join(&hold);
        let (ours, theirs) = hold::make(&path)?;
        Ok((Self::Descriptor { hold }, Watched::Descriptor(ours), theirs))
    }

    /// The holder itself, if it is still there.
    ///
    /// # Errors
    /// Those of [`reopen`] and of open(2): then nobody can tell.
    pub fn reopen(&self) -> SysResult<Option<Watched>> {
        match self {
            Self::Process(process) => Ok(reopen(&Identity {
                pid: process.pid,
                start_time: process.start_time,
                pidfd_inode: process.pidfd_inode,
            })?
            .map(Watched::Process)),
            Self::Descriptor { .. } => match self.file() {
                Some(path) => Ok(hold::reopen(&path)?.map(Watched::Descriptor)),
                None => Ok(None),
            },
        }
    }

    /// Removes what stands for it on disk.
    ///
    /// # Errors
    /// Those of unlink(2), but that it is gone already.
    pub fn forget(&self) -> SysResult<()> {
        match self.file() {
            Some(path) => gone(fs::remove_file(&path)).during("unlink", path.display()),
            None => Ok(()),
        }
    }

    /// The file of a descriptor. Its name was made by us, and is looked at all the same: nothing
    /// outside the folder is ever opened or removed for it.
    fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Descriptor { hold } if hold.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Some(Path::new(HOLDS).join(hold))
            }
            _ => None,
        }
    }

    /// The process, if it is one.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Process(process) => Some(process.pid),
            Self::Descriptor { .. } => None,
        }
    }
}

/// How long processes may go on after SIGTERM, in a lease that does not say it.
fn default_grace() -> u64 {
    5_000
}

/// In a lease that does not say it: of a daemon that knew no others.
fn full() -> Option<Level> {
    Some(Level::Full)
}

/// Who holds a lease, and what it holds it for. All of this goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who.
    #[serde(flatten)]
    pub by: HeldBy,
    /// The service that it is.
    pub service: String,
    /// Its directories, as kind and path below the base.
    pub directories: Vec<(String, String)>,
    /// Whether others that say so too may have the same directories.
    #[serde(default)]
    pub shares: bool,
    /// Whether nobody will ask for it again by its name.
    #[serde(default)]
    pub passing: bool,
    /// Those of them that it may not write to, by kind and path.
    #[serde(default)]
    pub read_only: Vec<(String, String)>,
    /// The level of its sandbox; nothing, if it is no service.
    #[serde(default = "full")]
    pub sandbox: Option<Level>,
    /// The files of accounts that its view has of its own, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shows_accounts: Vec<String>,
    /// How long processes may go on after SIGTERM before they get SIGKILL, in milliseconds.
    #[serde(default = "default_grace")]
    pub grace: u64,
    /// The assignments that say how its processes are held back, for whoever joins them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confinement: Vec<(String, String)>,
}

impl Holder {
    /// A holder as the service that it asked for. `grace` is for services that do not say how long
    /// they may take to end.
    pub fn new(spec: &Spec, by: HeldBy, grace: Duration) -> Self {
        let pair = |place: &ExecDirectory| (place.kind().word().into(), place.path().into());
        let all = spec.directories().iter();
        let read_only = all.filter(|directory| directory.is_read_only());
        let grace = spec.stop_timeout().unwrap_or(grace).as_millis();
        // What holds a user alone runs nothing.
        let is_service = matches!(by, HeldBy::Process(_));
        Self {
            by,
            read_only: read_only.map(|it| pair(it.place())).collect(),
            sandbox: is_service.then(|| spec.level()),
            service: spec.service().to_string(),
            directories: spec.places().map(pair).collect(),
            shares: spec.shares(),
            passing: spec.is_passing(),
            shows_accounts: Vec::new(),
            grace: u64::try_from(grace).unwrap_or(u64::MAX),
            confinement: spec.confinement().to_vec(),
        }
    }

    /// A holder of a service that asks for nothing, for unit tests.
    #[cfg(test)]
    pub(crate) fn sample(service: &str) -> Self {
        Self {
            by: HeldBy::Descriptor { hold: "0".into() },
            service: service.into(),
            directories: Vec::new(),
            shares: false,
            passing: false,
            read_only: Vec::new(),
            sandbox: None,
            shows_accounts: Vec::new(),
            grace: 0,
            confinement: Vec::new(),
        }
    }

    /// Its directories.
    pub fn exec_directories(&self) -> impl Iterator<Item = ExecDirectory> {
        self.directories
            .iter()
            .filter_map(|(kind, path)| ExecDirectory::parse(Kind::from_word(kind)?, path).ok())
    }

    /// Whether it has ended. An error is no sign of an end.
    pub fn has_ended(&self) -> bool {
        matches!(self.by.reopen(), Ok(None))
    }
}
