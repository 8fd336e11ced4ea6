//! Namespaces of the service's own.

use super::row::{Directive, function, missing, restriction};
use super::{Settings, boolean};

/// Who is who in a service's own user namespace (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// root and the service's user are themselves; everybody else is nobody.
    OwnAlone,
    /// The first 65,536 are themselves.
    Identity,
    /// All are themselves.
    All,
}

/// What the directives of this topic add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// `PrivateNetwork=`.
    pub network: bool,
    /// `NetworkNamespacePath=`.
    pub network_path: Option<String>,
    /// `PrivateIPC=`.
    pub ipc: bool,
    /// `PrivatePIDs=`.
    pub processes: bool,
    /// `PrivateUsers=`.
    pub users: Option<Users>,
}

pub(super) const TABLE: &[Directive] = &[
    restriction(
        "PrivateNetwork",
        "a network namespace of its own with nothing but lo",
        |s, v| {
            s.namespaces.network = boolean(v)?;
            Ok(())
        },
    ),
    function(
        "NetworkNamespacePath",
        "setns(2) into a network namespace that is bound there",
        |s, v| path(&mut s.namespaces.network_path, v),
    ),
    restriction(
        "PrivateIPC",
        "an IPC namespace of its own, with its own /dev/mqueue",
        |s, v| {
            s.namespaces.ipc = boolean(v)?;
            Ok(())
        },
    )
    .dynamic(),
    missing(
        "IPCNamespacePath",
        "what the service leaves in another IPC namespace could not be removed",
    ),
    restriction(
        "PrivateUsers",
        "a user namespace of its own, in which nobody is root of the host",
        private_users,
    )
    .dynamic(),
    restriction(
        "PrivatePIDs",
        "a PID namespace of its own, with its own /proc",
        |s, v| {
            s.namespaces.processes = boolean(v)?;
            Ok(())
        },
    )
    .dynamic(),
];

fn private_users(settings: &mut Settings, value: &str) -> Result<(), String> {
    settings.namespaces.users = match value {
        "self" => Some(Users::OwnAlone),
        "identity" => Some(Users::Identity),
        "full" => Some(Users::All),
        "managed" => {
            return Err("is not possible: numbers of a container are systemd-nsresourced's".into());
        }
        other => boolean(other)?.then_some(Users::OwnAlone),
    };
    Ok(())
}

fn path(setting: &mut Option<String>, value: &str) -> Result<(), String> {
    *setting = match value {
        "" => None,
        path => Some(super::mounts::clean(path)?),
    };
    Ok(())
}
