//! The one text form of a step: for dry runs, the debug log and the golden tests.

use std::fmt;

use super::{Action, IdMap, Step, Tmpfs};

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
            Action::MakeTemporary { owner } => {
                write!(f, "make-temporary {path} mode 0700 owner {owner}")
            }
            Action::LetSearch { uid } => write!(f, "let-search {path} user {uid}"),
            Action::MakeLink { target } => write!(f, "make-link {path} -> {target}"),
            Action::ReplaceLink { from, target } => {
                write!(f, "replace-link {path} -> {from} by {target}")
            }
            Action::RemoveLink { target } => write!(f, "remove-link {path} -> {target}"),
            Action::RemoveEmpty => write!(f, "remove-empty {path}"),
            Action::Exchange { with } => write!(f, "exchange {path} with {with}"),
            Action::Rename { to } => write!(f, "rename {path} to {to}"),
            Action::WriteDatabase { source, lines } => {
                let (source, lines) = (source.path(), lines.join(" and "));
                write!(f, "write-database {path} from {source} and {lines}")
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
