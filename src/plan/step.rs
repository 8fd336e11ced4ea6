//! The steps of a plan, and the one text form that they have.

#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;

use super::Owner;
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
    /// Write a copy of a user database with one line added, for the service alone.
    WriteDatabase {
        /// The host's file.
        source: &'static str,
        /// The line, without its end.
        line: String,
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

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.action {
            Action::MakeDirectory { mode, owner } => {
                write!(f, "make-directory {path} mode {mode:04o} owner {owner}")
            }
            Action::GiveDirectory { from, to } => {
                write!(f, "give-directory {path} from {from} to {to}")
            }
            Action::GiveTree { from, to } => write!(f, "give-tree {path} from {from} to {to}"),
            Action::SetMode { mode, owner } => {
                write!(f, "set-mode {path} mode {mode:04o} owner {owner}")
            }
            Action::MakeLink { target } => write!(f, "make-link {path} -> {target}"),
            Action::ReplaceLink { from, target } => {
                write!(f, "replace-link {path} -> {from} by {target}")
            }
            Action::RemoveLink { target } => write!(f, "remove-link {path} -> {target}"),
            Action::RemoveEmpty => write!(f, "remove-empty {path}"),
            Action::Exchange { with } => write!(f, "exchange {path} with {with}"),
            Action::Rename { to } => write!(f, "rename {path} to {to}"),
            Action::WriteDatabase { source, line } => {
                write!(f, "write-database {path} from {source} and {line}")
            }
            Action::TakeView {
                map,
                writable,
                confined,
            } => {
                let access = if *writable { "rw" } else { "ro" };
                let flags = if *confined { ",nosuid,nodev" } else { "" };
                write!(f, "take-view {path} {access}{flags}")?;
                map.as_ref().map_or(Ok(()), |map| write!(f, " {map}"))
            }
            other => other.fmt_inside(path, f),
        }
    }
}

impl Action {
    /// The text of what is done for, or in, the namespace.
    fn fmt_inside(&self, path: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::TakeBind {
                name,
                writable,
                no_exec,
                recursive,
                optional,
            } => {
                let access = if *writable { "rw" } else { "ro" };
                let flags = if *no_exec { ",noexec" } else { "" };
                let alone = if *recursive { "" } else { " alone" };
                write!(
                    f,
                    "take-bind {path} {access},nosuid{flags}{alone} as {name}{}",
                    if_there(*optional)
                )
            }
            Action::AttachBind { name, inside, over } => {
                write!(f, "attach-bind {name} at {path}{}", in_it(inside.as_ref()))?;
                over.iter().try_for_each(|path| write!(f, " below {path}"))
            }
            Action::MountProc {
                processes,
                processes_only,
            } => {
                let subset = if *processes_only { ",subset=pid" } else { "" };
                write!(
                    f,
                    "mount-proc {path} hidepid={}{subset}",
                    processes.option()
                )
            }
            Action::MountDevices => write!(f, "mount-devices {path}"),
            Action::MountQueues => write!(f, "mount-queues {path}"),
            Action::TakeCredentials { owner, credentials } => {
                let names: Vec<&str> = credentials.iter().map(|it| it.name.as_str()).collect();
                write!(
                    f,
                    "take-credentials {path} owner {owner} {}",
                    names.join(" ")
                )
            }
            Action::Hide { optional } => write!(f, "hide {path}{}", if_there(*optional)),
            Action::Restrict {
                read_only,
                no_exec,
                optional,
            } => {
                let read_only = if *read_only { " ro" } else { "" };
                let no_exec = if *no_exec { " noexec" } else { "" };
                write!(
                    f,
                    "restrict {path}{read_only}{no_exec}{}",
                    if_there(*optional)
                )
            }
            Action::Lift {
                writable,
                executable,
                optional,
            } => {
                let writable = if *writable { " rw" } else { "" };
                let exec = if *executable { " exec" } else { "" };
                write!(f, "lift {path}{writable}{exec}{}", if_there(*optional))
            }
            Action::Unshare => write!(f, "new-mount-namespace"),
            Action::StopPropagation => write!(f, "stop-propagation / slave with all below"),
            Action::Protect => write!(f, "protect / ro,nosuid,slave with all below"),
            Action::KeepWritable { mount } => write!(f, "keep-writable {}", mount.display()),
            Action::MountTmpfs { tmpfs, inside } => {
                write!(f, "mount-tmpfs {path} {tmpfs}{}", in_it(inside.as_ref()))
            }
            Action::AttachView { view, inside } => {
                write!(f, "attach-view {view} at {path}{}", in_it(inside.as_ref()))
            }
            Action::LinkInside { target, inside } => {
                write!(f, "make-link {path} -> {target}{}", in_it(Some(inside)))
            }
            Action::Seal => write!(f, "seal {path} ro"),
            _ => write!(f, "{self:?}"),
        }
    }
}

fn if_there(optional: bool) -> &'static str {
    if optional { " if it is there" } else { "" }
}

fn in_it(inside: Option<&String>) -> String {
    inside.map_or_else(String::new, |inside| format!(" made in {inside}"))
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} seen as {}", self.disk, self.seen)?;
        self.groups
            .iter()
            .try_for_each(|group| write!(f, ", group {group} itself"))
    }
}

impl fmt::Display for Tmpfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Temporary => write!(f, "mode 1777 rw,nosuid,nodev"),
            Self::Boundary => write!(f, "mode 0755 nosuid,nodev,noexec"),
            Self::Hidden => write!(f, "mode 0000 ro,nosuid,nodev,noexec"),
            Self::Asked(asked) => {
                write!(f, "nosuid,nodev")?;
                if asked.no_exec {
                    write!(f, ",noexec")?;
                }
                asked
                    .options
                    .iter()
                    .try_for_each(|(name, value)| write!(f, ",{name}={value}"))
            }
        }
    }
}
