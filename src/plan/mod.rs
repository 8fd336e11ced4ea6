//! The plan of one activation: decided here, purely, from what was asked and what was observed;
//! carried out step by step by `apply` and the launcher.

#![forbid(unsafe_code)]

mod dirs;
mod identity;
mod mounts;

use std::fmt;
use std::path::PathBuf;

use crate::exec_directory::ExecDirectory;
use crate::failure::{Failure, Stage};
use crate::observed::Observed;
use crate::spec::Spec;

pub use identity::{Adoption, Identity, adoption, environment};

/// An owner on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
}

impl Owner {
    /// root:root.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// The mapping of an id-mapped mount (mount_setattr(2)): what belongs to `disk` on disk is seen
/// as belonging to `seen`, and what `seen` makes belongs to `disk`. root stays root; everybody
/// else is unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdMap {
    /// The owner of the tree.
    pub disk: Owner,
    /// The service.
    pub seen: Owner,
}

/// One thing to do. A step says what it expects to find; where the world differs it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a directory where nothing is.
    MakeDirectory {
        /// The stage that fails with it.
        stage: Stage,
        /// Absolute path.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: Owner,
    },
    /// Give a directory that belongs to `from` to `to`; it is empty if that is root.
    GiveDirectory {
        /// The stage that fails with it.
        stage: Stage,
        /// Absolute path.
        path: String,
        /// The owner that it has.
        from: Owner,
        /// The owner that it gets.
        to: Owner,
    },
    /// Set the mode of a directory that belongs to `owner`.
    SetMode {
        /// The stage that fails with it.
        stage: Stage,
        /// Absolute path.
        path: String,
        /// Permission bits.
        mode: u32,
        /// The owner that it has.
        owner: Owner,
    },
    /// Make a symbolic link where nothing is.
    MakeLink {
        /// The stage that fails with it.
        stage: Stage,
        /// Absolute path.
        path: String,
        /// Where it points to.
        target: String,
    },
    /// Write a copy of a user database with one line added, for the service alone.
    WriteDatabase {
        /// The host's file.
        source: &'static str,
        /// The copy.
        path: String,
        /// The line, without its end.
        line: String,
    },
    /// Take a view of a tree for the service: a detached mount of it, to be attached later.
    TakeView {
        /// The stage that fails with it.
        stage: Stage,
        /// Absolute path of the tree.
        path: String,
        /// Whose files are shown as whose.
        map: Option<IdMap>,
        /// Whether the service may write to it.
        writable: bool,
    },
    /// From here on in a mount namespace of our own.
    Unshare,
    /// Make every mount read-only, without set-ID programs, and deaf upwards: mounts of the host
    /// arrive, ours do not leave.
    Protect,
    /// Make one mount below `/dev`, `/proc` or `/sys` as writable as it is on the host.
    KeepWritable {
        /// Where it is mounted.
        path: PathBuf,
    },
    /// Mount an empty tmpfs.
    MountTmpfs {
        /// The stage that fails with it.
        stage: Stage,
        /// Where.
        path: String,
        /// Its mode, size and flags.
        tmpfs: Tmpfs,
    },
    /// Attach the view of a tree.
    AttachView {
        /// The stage that fails with it.
        stage: Stage,
        /// The tree whose view it is.
        view: String,
        /// Where to attach it.
        at: String,
        /// Whether the directory to attach it to has to be made (in a tmpfs of ours).
        make: bool,
    },
    /// Make one mount read-only.
    Seal {
        /// The stage that fails with it.
        stage: Stage,
        /// Where it is mounted.
        path: String,
    },
}

/// The tmpfs mounts that a sandbox has, as systemd makes them (reference: what systemd 262 shows).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tmpfs {
    /// `/tmp` and `/var/tmp`: mode 1777, a tenth of the memory, 400,000 inodes.
    Temporary,
    /// The view of a boundary directory: mode 0755, 4 MiB, 1,024 inodes, sealed once it is filled.
    Boundary,
    /// Nothing to see: mode 0000, read-only.
    Hidden,
}

/// Steps in the order in which they are done. Those up to [`Step::Unshare`] happen on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// On the host.
    pub host: Vec<Step>,
    /// In the new mount namespace.
    pub namespace: Vec<Step>,
}

/// The paths that a plan for `spec` must know about.
pub fn questions(spec: &Spec) -> Vec<String> {
    dirs::questions(spec)
}

/// Makes the plan.
///
/// # Errors
/// When something on the host is in the way: a boundary directory that is not root's alone,
/// something else at the place of a directory. Nothing has been changed then.
pub fn plan(spec: &Spec, identity: &Identity, observed: &Observed) -> Result<Plan, Failure> {
    let mut host = dirs::host_steps(spec, identity, observed)?;
    host.extend(mounts::views(spec, identity, observed));
    Ok(Plan {
        host,
        namespace: mounts::namespace_steps(spec, identity, observed),
    })
}

/// The directories that get a mount of their own.
fn mounted(spec: &Spec) -> impl Iterator<Item = &ExecDirectory> {
    spec.directories()
        .iter()
        .filter(|directory| !spec.is_nested(directory))
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDirectory {
                path, mode, owner, ..
            } => {
                write!(f, "make-directory {path} mode {mode:04o} owner {owner}")
            }
            Self::GiveDirectory { path, from, to, .. } => {
                write!(f, "give-directory {path} from {from} to {to}")
            }
            Self::SetMode {
                path, mode, owner, ..
            } => {
                write!(f, "set-mode {path} mode {mode:04o} owner {owner}")
            }
            Self::MakeLink { path, target, .. } => write!(f, "make-link {path} -> {target}"),
            Self::WriteDatabase { source, path, line } => {
                write!(f, "write-database {path} from {source} and {line}")
            }
            Self::TakeView {
                path,
                map,
                writable,
                ..
            } => {
                let access = if *writable { "rw" } else { "ro" };
                write!(f, "take-view {path} {access},nosuid,nodev")?;
                match map {
                    Some(IdMap { disk, seen }) => write!(f, " {disk} seen as {seen}"),
                    None => Ok(()),
                }
            }
            Self::Unshare => write!(f, "new-mount-namespace"),
            Self::Protect => write!(f, "protect / ro,nosuid,slave with all below"),
            Self::KeepWritable { path } => write!(f, "keep-writable {}", path.display()),
            Self::MountTmpfs { path, tmpfs, .. } => {
                let options = match tmpfs {
                    Tmpfs::Temporary => "mode 1777 rw,nosuid,nodev",
                    Tmpfs::Boundary => "mode 0755 nosuid,nodev,noexec",
                    Tmpfs::Hidden => "mode 0000 ro,nosuid,nodev,noexec",
                };
                write!(f, "mount-tmpfs {path} {options}")
            }
            Self::AttachView { view, at, .. } => write!(f, "attach-view {view} at {at}"),
            Self::Seal { path, .. } => write!(f, "seal {path} ro"),
        }
    }
}

impl Plan {
    /// The directories in /run that the plan makes or takes: they go when the lease ends.
    pub fn made_for_the_lease(&self) -> Vec<String> {
        let made = self.host.iter().filter_map(|step| match step {
            Step::MakeDirectory {
                stage: Stage::RuntimeDirectory,
                path,
                ..
            }
            | Step::GiveDirectory {
                stage: Stage::RuntimeDirectory,
                path,
                ..
            } => Some(path.clone()),
            _ => None,
        });
        made.collect()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host
            .iter()
            .chain(&self.namespace)
            .try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl Step {
    /// The stage that fails when the step does.
    pub fn stage(&self) -> Stage {
        match self {
            Self::MakeDirectory { stage, .. }
            | Self::GiveDirectory { stage, .. }
            | Self::SetMode { stage, .. }
            | Self::MakeLink { stage, .. }
            | Self::TakeView { stage, .. }
            | Self::MountTmpfs { stage, .. }
            | Self::AttachView { stage, .. }
            | Self::Seal { stage, .. } => *stage,
            Self::WriteDatabase { .. }
            | Self::Unshare
            | Self::Protect
            | Self::KeepWritable { .. } => Stage::Namespace,
        }
    }

    /// What the step is about, for a message.
    pub fn subject(&self) -> String {
        match self {
            Self::MakeDirectory { path, .. }
            | Self::GiveDirectory { path, .. }
            | Self::SetMode { path, .. }
            | Self::MakeLink { path, .. }
            | Self::TakeView { path, .. }
            | Self::MountTmpfs { path, .. }
            | Self::Seal { path, .. }
            | Self::WriteDatabase { path, .. } => path.clone(),
            Self::AttachView { at, .. } => at.clone(),
            Self::KeepWritable { path } => path.display().to_string(),
            Self::Unshare | Self::Protect => "the mount namespace".into(),
        }
    }
}
