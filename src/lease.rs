//! Leases, and how they are kept on disk.
//!
//! What is on disk is always enough to go on after the daemon was killed: a lease is written
//! before anything is done under it, and removed after everything was taken back.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::exec_directory::{ExecDirectory, Kind};
use crate::failure::{Failure, OrFail, Stage};
use crate::layout::{BY_NAME, BY_UID, LEASES, LOCK, LOG, RUN, USERS, VIEWS};
use crate::sys::SysResult;
use crate::sys::fs::{open_trusted, status};
use crate::sys::identity::{Identity, reopen};

/// Where a lease is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Somebody holds it.
    Running,
    /// Its last holder is gone, and what it had is being taken back.
    Ending,
    /// Something could not be taken back; the number stays out of use.
    Quarantined,
}

impl State {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ending => "ending",
            Self::Quarantined => "quarantined",
        }
    }
}

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

impl ProcessRecord {
    /// The process itself, if it still runs.
    ///
    /// # Errors
    /// Those of [`reopen`]: then nobody can tell.
    pub fn reopen(&self) -> SysResult<Option<OwnedFd>> {
        reopen(&Identity {
            pid: self.pid,
            start_time: self.start_time,
            pidfd_inode: self.pidfd_inode,
        })
    }
}

/// A process that holds a lease, and what it holds it for. All of this goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    #[serde(flatten)]
    pub process: ProcessRecord,
    /// The service that it is.
    pub service: String,
    /// Its directories, as kind and path below the base.
    pub directories: Vec<(String, String)>,
}

impl Holder {
    /// Its directories.
    pub fn exec_directories(&self) -> impl Iterator<Item = ExecDirectory> {
        self.directories
            .iter()
            .filter_map(|(kind, path)| ExecDirectory::parse(Kind::from_word(kind)?, path).ok())
    }
}

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
    /// Why it is in quarantine.
    pub reason: Option<String>,
    /// When it began, in seconds since 1970.
    pub since: u64,
    /// The boot during which it was made: a lease from an earlier one has no holders.
    pub boot_id: String,
    /// The PID namespace that the numbers of its holders are of.
    pub pid_namespace: u64,
    /// Who holds it.
    pub holders: Vec<Holder>,
    /// The directories in /run that were made under it, and go with it: noted before they are made.
    pub made: Vec<String>,
}

impl Lease {
    /// The services that run under it.
    pub fn services(&self) -> Vec<&str> {
        let mut services: Vec<&str> = self.holders.iter().map(|h| h.service.as_str()).collect();
        services.sort_unstable();
        services.dedup();
        services
    }

    /// The directories of all its holders.
    pub fn exec_directories(&self) -> Vec<ExecDirectory> {
        let all = self.holders.iter().flat_map(Holder::exec_directories);
        let mut directories: Vec<ExecDirectory> = all.collect();
        directories.sort();
        directories.dedup();
        directories
    }

    /// The holders that have ended, although nobody has acted on it yet.
    pub fn ended_holders(&self) -> Vec<ProcessRecord> {
        // An error is no sign of an end.
        let ended = |holder: &&Holder| matches!(holder.process.reopen(), Ok(None));
        let ended = self.holders.iter().filter(ended);
        ended.map(|holder| holder.process.clone()).collect()
    }

    /// Whether it has holders, but all of them have ended.
    pub fn is_abandoned(&self) -> bool {
        self.state == State::Running && self.ended_holders().len() == self.holders.len()
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

/// Makes the folders in /run, or checks that nobody but root can change what is in them.
///
/// # Errors
/// Of [`Stage::Daemon`].
pub fn prepare_run() -> Result<(), Failure> {
    [RUN, USERS, LEASES, VIEWS]
        .into_iter()
        .try_for_each(prepare_folder)
}

/// Makes one of them, or checks it.
///
/// # Errors
/// Of [`Stage::Daemon`].
pub fn prepare_folder(path: &str) -> Result<(), Failure> {
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made.or_fail(Stage::Daemon, path)?,
    }
    let found = match open_trusted(path).and_then(status) {
        // It was empty, and a daemon on its way out has just removed it.
        Err(error) if error.errno == Errno::NOENT => return Ok(()),
        found => found.or_fail(Stage::Daemon, path)?,
    };
    if found.uid != 0 || found.mode & 0o022 != 0 {
        return Err(Failure::new(
            Stage::Daemon,
            path,
            format!(
                "somebody else made it, and could change what is in it; look at it, then: rm -r {path}"
            ),
        ));
    }
    Ok(())
}

/// Removes the folders in /run, as far as they are empty, when the last daemon of an on-demand
/// installation goes. It must still hold the lock: the file goes last but for the folder it is in,
/// so that nobody can be a daemon already while folders disappear.
pub fn remove_run() {
    let folders = [VIEWS, LEASES, USERS].map(fs::remove_dir);
    let empty = folders.iter().all(Result::is_ok);
    for (path, removed) in [VIEWS, LEASES, USERS].iter().zip(folders) {
        // Not empty means in use; that is what the call is for.
        if let Err(error) = removed {
            tracing::debug!(path, %error, "stays");
        }
    }
    if empty {
        for removed in [
            fs::remove_file(LOG),
            fs::remove_file(LOCK),
            fs::remove_dir(RUN),
        ] {
            if let Err(error) = removed {
                tracing::debug!(path = RUN, %error, "stays");
            }
        }
    }
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
            match load(uid, &entry.path()) {
                // It ended while we looked.
                Ok(None) => {}
                Ok(Some(lease)) => found.push(Found {
                    uid,
                    lease: Ok(lease),
                }),
                Err(why) => found.push(Found {
                    uid,
                    lease: Err(why),
                }),
            }
        }
    }
    found.sort_by_key(|found| found.uid);
    Ok(found)
}

fn load(uid: u32, path: &Path) -> Result<Option<Lease>, String> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| error.to_string())?,
    };
    let lease: Lease = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if lease.uid != uid {
        return Err(format!("is about {}, not {uid}", lease.uid));
    }
    Ok(Some(lease))
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

/// Makes the name of a lease known to everybody on the host.
///
/// # Errors
/// Of [`Stage::User`].
pub fn publish(name: &str, uid: u32) -> Result<(), Failure> {
    for (link, target) in links(name, uid) {
        match symlink(&target, &link) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // Of an earlier start under the same lease; another target cannot be trusted.
                let found =
                    fs::read_link(&link).or_fail(Stage::User, link.display().to_string())?;
                if found != Path::new(&target) {
                    return Err(Failure::new(
                        Stage::User,
                        link.display().to_string(),
                        format!("says {} already", found.display()),
                    ));
                }
            }
            made => made.or_fail(Stage::User, link.display().to_string())?,
        }
    }
    Ok(())
}

/// Makes the name unknown again. One that means another number by now stays: a name whose number
/// is in quarantine may have got another.
///
/// # Errors
/// Of [`Stage::User`].
pub fn withdraw(name: &str, uid: u32) -> Result<(), Failure> {
    for (link, target) in links(name, uid) {
        let removed = match fs::read_link(&link) {
            Ok(found) if found != Path::new(&target) => Ok(()),
            Ok(_) => gone(fs::remove_file(&link)),
            Err(error) => gone(Err(error)),
        };
        removed.or_fail(Stage::User, link.display().to_string())?;
    }
    Ok(())
}

/// Removes every name that belongs to none of `leases`.
///
/// # Errors
/// Of [`Stage::Daemon`].
pub fn withdraw_all_but<'a>(leases: impl Iterator<Item = &'a Lease>) -> Result<(), Failure> {
    let known: Vec<PathBuf> = leases
        .flat_map(|lease| links(&lease.name, lease.uid))
        .map(|(link, _)| link)
        .collect();
    for entry in fs::read_dir(USERS).or_fail(Stage::Daemon, USERS)? {
        let path = entry.or_fail(Stage::Daemon, USERS)?.path();
        if !known.contains(&path) {
            gone(fs::remove_file(&path)).or_fail(Stage::Daemon, path.display().to_string())?;
        }
    }
    Ok(())
}

fn links(name: &str, uid: u32) -> [(PathBuf, String); 2] {
    let users = Path::new(USERS);
    [
        (users.join(format!("{BY_UID}{uid}")), name.into()),
        (users.join(format!("{BY_NAME}{name}")), uid.to_string()),
    ]
}

fn file_of(uid: u32) -> PathBuf {
    Path::new(LEASES).join(uid.to_string())
}

fn gone(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
