//! Leases, and how they are kept on disk.
//!
//! What is on disk is always enough to go on after the daemon was killed: a lease is written
//! before anything is done under it, and removed after everything was taken back.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exec_directory::{self, ExecDirectory, Kind};
use crate::failure::{Failure, OrFail, Stage};
use crate::holder::{HeldBy, Holder};
use crate::layout::LEASES;
use crate::level::Level;
use crate::life::State;
use crate::sys::fault::{Point, reached};
use crate::sys::gone;
use crate::uid::Uid;

/// A name, a number, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The user's name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// Whether the user exists only for this lease. Otherwise it is one of the host's own.
    pub dynamic: bool,
    /// All groups of the user.
    pub groups: Vec<u32>,
    /// The home directory of a user whom the host has anyway.
    pub home: Option<String>,
    /// Where it is in its life.
    pub state: State,
    /// Why it is in quarantine, or what somebody should know of it.
    pub reason: Option<String>,
    /// When it began, in seconds since 1970.
    pub since: u64,
    /// The nanoseconds of that time, below the second.
    #[serde(default)]
    pub since_nanos: u32,
    /// When it began, in milliseconds of the boot's clock; 0 if that is not known.
    #[serde(default)]
    pub since_uptime: u64,
    /// When its last holder ended, in milliseconds of the boot's clock (clock_gettime(2),
    /// `CLOCK_BOOTTIME`): its processes have their grace from then on, whichever daemon gives it.
    #[serde(default)]
    pub ended: Option<u64>,
    /// The boot during which it was made: a lease from an earlier one has no holders.
    pub boot_id: String,
    /// The PID namespace that the numbers of its holders are of.
    pub pid_namespace: u64,
    /// What tells that namespace from all others of the boot, where the kernel has it.
    #[serde(default)]
    pub pid_namespace_handle: Option<String>,
    /// Who holds it.
    pub holders: Vec<Holder>,
    /// The directories in /run that were made under it, and go with it: noted before they are made.
    pub made: Vec<String>,
    /// The boundary directories that its user may search: noted before he may.
    #[serde(default)]
    pub passes: Vec<String>,
    /// The numbers of other dynamic users whose groups its processes have.
    #[serde(default)]
    pub uses: Vec<u32>,
    /// The numbers of all other groups that its processes have, the host's own too.
    #[serde(default)]
    pub also_in: Vec<u32>,
    /// The control groups that were made under it, and go with it.
    #[serde(default)]
    pub control_groups: Vec<String>,
    /// The runtime directories of holders that have ended before the others, below /run: they are
    /// the lease's until it ends.
    #[serde(default)]
    pub kept: Vec<String>,
}

impl Lease {
    /// The services that run under it.
    pub fn services(&self) -> Vec<&str> {
        let mut services: Vec<&str> = self.holders.iter().map(|h| h.service.as_str()).collect();
        services.sort_unstable();
        services.dedup();
        services
    }

    /// The home directory that its user's record has, if it is not `/`.
    pub fn record_home(&self) -> Option<String> {
        exec_directory::home(self.holders.iter().flat_map(Holder::exec_directories))
    }

    /// Its directories, and whether who has them lets others have them too.
    pub fn claims(&self) -> Vec<(ExecDirectory, bool)> {
        let held = self.holders.iter().flat_map(|holder| {
            let directories = holder.exec_directories();
            directories.map(|directory| (directory, holder.shares))
        });
        let kept = self.kept_directories().map(|directory| (directory, false));
        held.chain(kept).collect()
    }

    /// The directories of all its holders, and those of former ones that go with it.
    pub fn exec_directories(&self) -> Vec<ExecDirectory> {
        let all = self.claims().into_iter();
        let mut directories: Vec<ExecDirectory> = all.map(|(directory, _)| directory).collect();
        directories.sort();
        directories.dedup();
        directories
    }

    /// Those of former holders that no other one has, or has one in or around.
    pub fn unused_directories(&self) -> Vec<ExecDirectory> {
        let held = self.holders.iter().flat_map(Holder::exec_directories);
        let held: Vec<ExecDirectory> = held.collect();
        let overlaps = |kept: &ExecDirectory| {
            held.iter()
                .any(|it| it.is_within(kept) || kept.is_within(it))
        };
        let mut unused: Vec<ExecDirectory> = self.kept_directories().collect();
        unused.retain(|kept| !overlaps(kept));
        unused
    }

    fn kept_directories(&self) -> impl Iterator<Item = ExecDirectory> {
        let kept = self.kept.iter();
        kept.filter_map(|path| ExecDirectory::parse(Kind::Runtime, path).ok())
    }

    /// Takes a holder from it. Its runtime directories are the lease's until somebody has removed them.
    pub fn drop_holder(&mut self, by: &HeldBy) {
        let (gone, left) = std::mem::take(&mut self.holders)
            .into_iter()
            .partition(|holder| holder.by == *by);
        self.holders = left;
        let gone: Vec<Holder> = gone;
        let directories = gone.iter().flat_map(Holder::exec_directories);
        let runtime = directories.filter(|directory| directory.kind() == Kind::Runtime);
        self.kept
            .extend(runtime.map(|directory| directory.path().to_owned()));
        self.kept.sort();
        self.kept.dedup();
    }

    /// The holders that have ended, although nobody has acted on it yet.
    pub fn ended_holders(&self) -> Vec<HeldBy> {
        let ended = self.holders.iter().filter(|holder| holder.has_ended());
        ended.map(|holder| holder.by.clone()).collect()
    }

    /// Whether all its holders have ended.
    pub fn is_abandoned(&self) -> bool {
        self.state == State::Running && self.holders.iter().all(Holder::has_ended)
    }

    /// The level of the sandbox of its services, which have the same; nothing, if none of its holders is a service.
    pub fn sandbox(&self) -> Option<Level> {
        let levels = self.holders.iter().filter_map(|holder| holder.sandbox);
        levels.max()
    }

    /// Whether its state says something, or its file could not be read.
    pub fn is_damaged(&self) -> bool {
        self.name.is_empty()
    }

    /// How long its processes may go on after SIGTERM: as long as the most patient of its services
    /// says.
    pub fn grace(&self) -> Duration {
        let longest = self.holders.iter().map(|holder| holder.grace).max();
        Duration::from_millis(longest.unwrap_or(0))
    }

    /// What stands for a lease whose file says nothing. It keeps its number out of use: somebody
    /// may be running under it.
    pub fn damaged(uid: u32, why: &str) -> Self {
        Self {
            name: String::new(),
            uid,
            gid: uid,
            dynamic: true,
            groups: vec![uid],
            home: None,
            state: State::Quarantined,
            reason: Some(format!("the file of the lease was damaged: {why}")),
            since: 0,
            since_nanos: 0,
            since_uptime: 0,
            ended: None,
            boot_id: String::new(),
            pid_namespace: 0,
            pid_namespace_handle: None,
            holders: Vec::new(),
            made: Vec::new(),
            passes: Vec::new(),
            control_groups: Vec::new(),
            uses: Vec::new(),
            also_in: Vec::new(),
            kept: Vec::new(),
        }
    }
}

/// What was found in the folder of leases.
#[derive(Debug)]
pub struct Found {
    /// The number, from the file's name.
    pub uid: u32,
    /// The lease, or what is wrong with its file.
    pub lease: Result<Lease, String>,
}

/// Writes a lease, whole or not at all.
///
/// # Errors
/// Of [`Stage::User`].
pub fn save(lease: &Lease) -> Result<(), Failure> {
    let path = file_of(lease.uid);
    let subject = path.display().to_string();
    let text = serde_json::to_vec(lease).or_fail(Stage::User, &subject)?;
    let written = (|| {
        let mut file = tempfile::Builder::new()
            .prefix(".new")
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(LEASES)?;
        file.write_all(&text)?;
        reached(Point::LeaseHalfSaved);
        file.persist(&path)?;
        Ok::<_, std::io::Error>(())
    })();
    written.or_fail(Stage::User, subject)
}

/// Removes the file of a lease that has ended.
///
/// # Errors
/// Of [`Stage::User`].
pub fn remove(uid: u32) -> Result<(), Failure> {
    let path = file_of(uid);
    gone(fs::remove_file(&path)).or_fail(Stage::User, path.display().to_string())
}

/// Reads all leases.
///
/// # Errors
/// Of [`Stage::Daemon`], if the folder cannot be read. That it is not there means none.
pub fn load_all() -> Result<Vec<Found>, Failure> {
    let folder = match fs::read_dir(LEASES) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        folder => folder.or_fail(Stage::Daemon, LEASES)?,
    };
    let mut found = Vec::new();
    for entry in folder {
        let entry = entry.or_fail(Stage::Daemon, LEASES)?;
        // Files of other names are half-written ones (".new…") and never were leases.
        let uid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(uid) = uid {
            let path = entry.path();
            // That it cannot be read now says nothing about it: to take it for damaged would give up a lease
            // that somebody holds.
            let loaded = load(uid, &path).or_fail(Stage::Daemon, path.display().to_string())?;
            match loaded {
                // It ended while we looked.
                None => {}
                Some(lease) => found.push(Found { uid, lease }),
            }
        }
    }
    found.sort_by_key(|found| found.uid);
    Ok(found)
}

/// Reads one lease, or what is wrong with its file. `None`: there is none.
///
/// # Errors
/// Of [`Stage::Daemon`], if that cannot be told.
pub fn load_one(uid: u32) -> Result<Option<Result<Lease, String>>, Failure> {
    let path = file_of(uid);
    load(uid, &path).or_fail(Stage::Daemon, path.display().to_string())
}

fn load(uid: u32, path: &Path) -> std::io::Result<Option<Result<Lease, String>>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // Whoever puts a folder there has removed the lease.
        Err(error) if error.kind() == ErrorKind::IsADirectory => {
            return Ok(Some(Err(error.to_string())));
        }
        text => text?,
    };
    Ok(Some(match serde_json::from_slice::<Lease>(&text) {
        Err(error) => Err(error.to_string()),
        Ok(lease) if lease.uid != uid => Err(format!("is about {}, not {uid}", lease.uid)),
        // Whatever carries the number would be ended and removed with it.
        Ok(lease) if lease.dynamic && Uid::new(uid).is_none() => {
            Err("says that a number of the host's own is a service's".into())
        }
        Ok(lease) => Ok(lease),
    }))
}

/// Removes half-written files that a daemon left which was killed while it wrote.
pub fn sweep() {
    for entry in fs::read_dir(LEASES).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b".new")
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "stays");
        }
    }
}

fn file_of(uid: u32) -> PathBuf {
    Path::new(LEASES).join(uid.to_string())
}
