//! What the service sees of the file system.

use super::row::{Directive, function, restriction};
use super::{Settings, boolean, room};
use crate::exec_directory::parts;
use crate::words;

/// What is done with the home directories, which are read-only at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Homes {
    /// They can be read as far as their modes allow.
    #[default]
    ReadOnly,
    /// Nobody may enter them.
    Hidden,
    /// They are empty.
    Empty,
}

/// What a list of paths says of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// It stays as writable as it is on the host.
    Write,
    /// It can only be read.
    Read,
    /// Nobody may look at it.
    Nothing,
    /// What is in it may be executed, as far as it may on the host.
    Execute,
    /// Nothing in it can be executed.
    NoExecute,
}

/// One path of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// An absolute path.
    pub path: String,
    /// What is said of it.
    pub access: Access,
    /// Given with `-` in front: where it is missing, nothing is done.
    pub may_be_missing: bool,
}

/// One path that is shown at another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub source: String,
    /// In the service's view.
    pub target: String,
    /// Whether the service may write to it, as far as the host lets it.
    pub writable: bool,
    /// Whether what is mounted in it comes along.
    pub recursive: bool,
    /// Given with `-` in front: where the source is missing, nothing is done.
    pub may_be_missing: bool,
}

/// What `ProtectProc=` says of the processes of others (proc(5), `hidepid=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Processes {
    /// Everybody sees them.
    #[default]
    Shown,
    /// Nothing but that they are there.
    NoAccess,
    /// Not even that.
    Invisible,
    /// Those alone that could be traced.
    Traceable,
}

impl Processes {
    /// The mount option's value.
    pub fn option(self) -> &'static str {
        match self {
            Self::Shown => "off",
            Self::NoAccess => "noaccess",
            Self::Invisible => "invisible",
            Self::Traceable => "ptraceable",
        }
    }
}

/// What the directives of this topic add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// `ProtectHome=`.
    pub homes: Homes,
    /// `PrivateDevices=`.
    pub devices: bool,
    /// `ProtectControlGroups=`.
    pub control_groups: bool,
    /// `ProtectProc=`.
    pub processes: Processes,
    /// `ProcSubset=pid`.
    pub processes_only: bool,
    /// `ReadWritePaths=` and the like, in the order of the assignments.
    pub paths: Vec<PathRule>,
    /// `BindPaths=` and `BindReadOnlyPaths=`.
    pub binds: Vec<Bind>,
}

pub(super) const TABLE: &[Directive] = &[
    restriction(
        "ProtectSystem",
        "strict, always: every mount is read-only but for the service's own",
        |s, v| match v {
            "strict" | "full" => s.say("ProtectSystem", true),
            other => s.say("ProtectSystem", boolean(other)?),
        },
    )
    .dynamic(),
    restriction(
        "ProtectHome",
        "read-only at least, always; hidden or empty mounts over /home, /root and /run/user",
        protect_home,
    )
    .dynamic(),
    restriction(
        "PrivateTmp",
        "a tmpfs of its own on /tmp and /var/tmp, always",
        |s, v| match v {
            "disconnected" => s.say("PrivateTmp", true),
            other => s.say("PrivateTmp", boolean(other)?),
        },
    )
    .dynamic(),
    restriction(
        "PrivateDevices",
        "a /dev with pseudo devices alone, not executable; no CAP_MKNOD, CAP_SYS_RAWIO; seccomp: @raw-io",
        |s, v| {
            s.mounts.devices = boolean(v)?;
            s.filters.private_devices = s.mounts.devices;
            Ok(())
        },
    )
    .dynamic(),
    restriction(
        "ProtectControlGroups",
        "/sys/fs/cgroup is read-only",
        |s, v| {
            s.mounts.control_groups = boolean(v)?;
            Ok(())
        },
    )
    .dynamic(),
    restriction("ProtectProc", "a /proc of its own with hidepid=", protect_proc)
        .since("Linux 5.8")
        .dynamic(),
    restriction("ProcSubset", "a /proc of its own with subset=pid", proc_subset)
        .since("Linux 5.8")
        .dynamic(),
    function(
        "ReadWritePaths",
        "bound again as writable as on the host",
        |s, v| s.paths(Access::Write, v),
    )
    .dynamic(),
    restriction("ReadOnlyPaths", "read-only mounts", |s, v| {
        s.paths(Access::Read, v)
    })
    .dynamic(),
    restriction(
        "InaccessiblePaths",
        "mounts of mode 0000 over them",
        |s, v| s.paths(Access::Nothing, v),
    )
    .dynamic(),
    function("ExecPaths", "bound again as executable as on the host", |s, v| {
        s.paths(Access::Execute, v)
    })
    .dynamic(),
    restriction("NoExecPaths", "noexec mounts", |s, v| {
        s.paths(Access::NoExecute, v)
    })
    .dynamic(),
    function("BindPaths", "bound into the service's view", |s, v| {
        s.binds(true, v)
    })
    .dynamic(),
    function(
        "BindReadOnlyPaths",
        "bound into the service's view, read-only",
        |s, v| s.binds(false, v),
    )
    .dynamic(),
    restriction(
        "PrivateMounts",
        "always: mounts of the host arrive, those of the service do not leave",
        |_, v| boolean(v).map(drop),
    )
    .dynamic(),
    restriction("MountFlags", "slave, always", |_, v| match v {
        "" | "slave" | "private" => Ok(()),
        _ => Err("is not possible: a service's mounts do not reach the host".into()),
    })
    .dynamic(),
    function("MountAPIVFS", "/proc, /sys and /dev are there, always", |_, v| {
        match boolean(v)? {
            true => Ok(()),
            false => Err("is not possible: the view is made of the host's".into()),
        }
    })
    .dynamic(),
];

fn protect_home(settings: &mut Settings, value: &str) -> Result<(), String> {
    settings.say("ProtectHome", boolean(value) != Ok(false))?;
    settings.mounts.homes = match value {
        "read-only" => Homes::ReadOnly,
        "tmpfs" => Homes::Empty,
        other => match boolean(other)? {
            true => Homes::Hidden,
            false => Homes::ReadOnly,
        },
    };
    Ok(())
}

fn protect_proc(settings: &mut Settings, value: &str) -> Result<(), String> {
    settings.mounts.processes = match value {
        "" | "default" => Processes::Shown,
        "noaccess" => Processes::NoAccess,
        "invisible" => Processes::Invisible,
        "ptraceable" => Processes::Traceable,
        _ => return Err("is neither default, noaccess, invisible nor ptraceable".into()),
    };
    Ok(())
}

fn proc_subset(settings: &mut Settings, value: &str) -> Result<(), String> {
    settings.mounts.processes_only = match value {
        "" | "all" => false,
        "pid" => true,
        _ => return Err("is neither all nor pid".into()),
    };
    Ok(())
}

impl Settings {
    fn paths(&mut self, access: Access, value: &str) -> Result<(), String> {
        let words = words::split(value)?;
        let rules = &mut self.mounts.paths;
        if words.is_empty() {
            rules.retain(|rule| rule.access != access);
        }
        room(rules.len(), words.len())?;
        for word in words {
            let (path, may_be_missing) = optional(&word);
            // Relative to RootDirectory=, which there is none of.
            let path = path.strip_prefix('+').unwrap_or(path);
            let path = clean(path).map_err(|why| format!("{word:?} {why}"))?;
            if path == "/" && matches!(access, Access::Write | Access::Nothing) {
                return Err("is the whole system: name the places".into());
            }
            rules.retain(|rule| (rule.access, &rule.path) != (access, &path));
            rules.push(PathRule {
                path,
                access,
                may_be_missing,
            });
        }
        Ok(())
    }

    fn binds(&mut self, writable: bool, value: &str) -> Result<(), String> {
        let words = words::split_keeping_colons(value)?;
        if words.is_empty() {
            // Both lists are one in systemd, and so is their reset.
            self.mounts.binds.clear();
        }
        room(self.mounts.binds.len(), words.len())?;
        for word in words {
            let bind = bind(&word, writable)
                .map_err(|why| format!("{:?} {why}", words::with_colons(&word)))?;
            self.mounts.binds.push(bind);
        }
        Ok(())
    }
}

fn optional(word: &str) -> (&str, bool) {
    match word.strip_prefix('-') {
        Some(path) => (path, true),
        None => (word, false),
    }
}

fn bind(word: &str, writable: bool) -> Result<Bind, String> {
    let mut parts = word.split(':').map(words::with_colons);
    let first = parts.next().unwrap_or_default();
    let (source, may_be_missing) = optional(&first);
    let source = clean(source)?;
    let target = match parts.next().filter(|target| !target.is_empty()) {
        Some(target) => clean(&target)?,
        None => source.clone(),
    };
    let recursive = match parts.next().unwrap_or_default().as_str() {
        "" | "rbind" => true,
        "norbind" => false,
        other => {
            return Err(format!(
                "has the option {other:?}; there are rbind and norbind"
            ));
        }
    };
    if parts.next().is_some() {
        return Err("has more than a source, a target and options".into());
    }
    if target == "/" {
        return Err("is bound to the root".into());
    }
    Ok(Bind {
        source,
        target,
        writable,
        recursive,
        may_be_missing,
    })
}

/// An absolute path without what is empty in it.
pub(super) fn clean(path: &str) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err("is not an absolute path".into());
    }
    if path.chars().any(char::is_control) {
        return Err("holds a control character".into());
    }
    Ok(format!("/{}", parts(path)?.join("/")))
}
