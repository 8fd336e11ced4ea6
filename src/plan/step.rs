//! The steps of a plan, and the one text form that they have.

#![forbid(unsafe_code)]

mod text;

use std::path::PathBuf;

use super::Owner;
use crate::account_lines::Database;
use crate::directives::{Credential, Processes, TemporaryFileSystem};
use crate::failure::Stage;

/// The mapping of an id-mapped mount (mount_setattr(2)): what belongs to `disk` on disk is seen
/// as belonging to `seen`, and what `seen` makes belongs to `disk`. root and the groups that the service
/// has besides its own stay who they are; everybody else is unmapped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdMap {
    /// The owner of the tree.
    pub disk: Owner,
    /// The service.
    pub seen: Owner,
    /// Other groups of the service.
    pub groups: Vec<u32>,
}

/// One thing to do. A step says what it expects to find; where the world differs it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The stage that fails with it.
    pub stage: Stage,
    /// What it is about: an absolute path, where there is one.
    pub path: String,
    /// What is done.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make a directory where nothing is.
    MakeDirectory {
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: Owner,
    },
    /// Give a directory that belongs to `from` to `to`; it is empty if that is root and this is not.
    GiveDirectory {
        /// The owner that it has.
        from: Owner,
        /// The owner that it gets.
        to: Owner,
    },
    /// Give a tree with everything in it that belongs to `from` to `to`, the top last.
    GiveTree {
        /// The owner that the top has.
        from: Owner,
        /// The owner that it gets.
        to: Owner,
    },
    /// Make the directory of a user's temporary files, for him alone, unless it is there already.
    MakeTemporary {
        /// The user.
        owner: Owner,
    },
    /// Let a user search a boundary directory, and nobody else (acl(5)).
    LetSearch {
        /// The user.
        uid: u32,
    },
    /// Set the mode of a directory that belongs to `owner`.
    SetMode {
        /// Permission bits.
        mode: u32,
        /// The owner that it has.
        owner: Owner,
    },
    /// Make a symbolic link where nothing is.
    MakeLink {
        /// Where it points to.
        target: String,
    },
    /// Put a symbolic link in the place of another one.
    ReplaceLink {
        /// Where the other one points to.
        from: String,
        /// Where it points to.
        target: String,
    },
    /// Remove a symbolic link.
    RemoveLink {
        /// Where it points to.
        target: String,
    },
    /// Remove a directory in which nothing is.
    RemoveEmpty,
    /// Let a directory and a symbolic link change places, in one instant.
    Exchange {
        /// The other path.
        with: String,
    },
    /// Move a directory to where nothing is.
    Rename {
        /// Where to.
        to: String,
    },
    /// Write a copy of a file of accounts with lines added, for services of one user.
    WriteDatabase {
        /// The host's file.
        source: Database,
        /// The lines, without their ends.
        lines: Vec<String>,
    },
    /// Take a view of a tree for the service: a detached mount of it, to be attached later.
    TakeView {
        /// Whose files are shown as whose.
        map: Option<IdMap>,
        /// Whether the service may write to it.
        writable: bool,
        /// Whether set-ID bits and devices mean nothing in it.
        confined: bool,
    },
    /// Take a view of a path for the service that anybody may have put into a unit file: what only root
    /// could make on the way is followed.
    TakeBind {
        /// What the view is called.
        name: String,
        /// Whether the service may write to it, as far as the host lets it.
        writable: bool,
        /// Whether nothing in it can be executed.
        no_exec: bool,
        /// Whether what is mounted in it comes along.
        recursive: bool,
        /// Whether it may be missing.
        optional: bool,
    },
    /// Read credentials, and make a detached file system of their files.
    TakeCredentials {
        /// Whose they are.
        owner: Owner,
        /// Which.
        credentials: Vec<Credential>,
    },
    /// From here on in a mount namespace of our own.
    Unshare,
    /// Make every mount deaf upwards: mounts of the host arrive, ours do not leave.
    StopPropagation,
    /// Make every mount read-only, without set-ID programs, and deaf upwards.
    Protect,
    /// Make one mount below `/dev`, `/proc` or `/sys` as writable as it is on the host.
    KeepWritable {
        /// Where it is mounted: not every path is text.
        mount: PathBuf,
    },
    /// Mount an empty tmpfs.
    MountTmpfs {
        /// Its mode, size and flags.
        tmpfs: Tmpfs,
        /// The tmpfs of ours in which the directory for it has to be made.
        inside: Option<String>,
    },
    /// Attach the view of a tree.
    AttachView {
        /// The tree whose view it is.
        view: String,
        /// The tmpfs of ours in which the place for it has to be made.
        inside: Option<String>,
    },
    /// Attach a view that may not have been there to be taken.
    AttachBind {
        /// What the view is called.
        name: String,
        /// The tmpfs of ours in which the place for it has to be made.
        inside: Option<String>,
        /// What is mounted in there already, and stays.
        over: Vec<String>,
    },
    /// Mount a /proc of the service's own.
    MountProc {
        /// `hidepid=`
        processes: Processes,
        /// Whether there is nothing but processes in it.
        processes_only: bool,
    },
    /// Mount a /dev with pseudo devices alone, and what is mounted in the host's for everybody.
    MountDevices,
    /// Mount the message queues of the IPC namespace that we are in.
    MountQueues,
    /// Cover a path, whatever is there, with something of mode 0000.
    Hide {
        /// Whether it may be missing.
        optional: bool,
    },
    /// Take rights away from a path and all below.
    Restrict {
        /// Whether nothing can be written.
        read_only: bool,
        /// Whether nothing can be executed.
        no_exec: bool,
        /// Whether it may be missing.
        optional: bool,
    },
    /// Give rights back that something around a path has taken from it and all below.
    Lift {
        /// Whether it can be written to.
        writable: bool,
        /// Whether what is in it can be executed.
        executable: bool,
        /// Whether it may be missing.
        optional: bool,
    },
    /// Make a symbolic link in a tmpfs of ours.
    LinkInside {
        /// Where it points to.
        target: String,
        /// The tmpfs.
        inside: String,
    },
    /// Make one mount read-only.
    Seal,
}

/// The tmpfs mounts that a sandbox has, as systemd makes them (reference: what systemd 262 shows).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tmpfs {
    /// `/tmp` and `/var/tmp`: mode 1777, a tenth of the memory, 400,000 inodes.
    Temporary,
    /// The view of a boundary directory: mode 0755, 4 MiB, 1,024 inodes, sealed once it is filled.
    Boundary,
    /// Nothing to see: mode 0000, read-only.
    Hidden,
    /// What `TemporaryFileSystem=` asks for.
    Asked(TemporaryFileSystem),
}

impl Step {
    /// A step of `stage` about `path`.
    pub(super) fn new(stage: Stage, path: impl Into<String>, action: Action) -> Self {
        Self {
            stage,
            path: path.into(),
            action,
        }
    }

    /// A step about the mount namespace.
    pub(super) fn of_namespace(action: Action) -> Self {
        Self::new(Stage::Namespace, "the mount namespace", action)
    }
}
