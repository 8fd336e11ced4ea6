//! What the process becomes: its numbers, its privileges, its environment.

#![forbid(unsafe_code)]

use std::fmt;

use super::Owner;
use crate::exec_directory::{ExecDirectory, Kind};
use crate::observed::Observed;
use crate::spec::Spec;
use crate::uid::Uid;

/// Who the service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name.
    pub user: String,
    /// Its number.
    pub uid: Uid,
    /// Its group's number: the same for a dynamic user.
    pub gid: u32,
    /// All its groups: its own alone for a dynamic user.
    pub groups: Vec<u32>,
    /// Whether the user exists only for this lease.
    pub dynamic: bool,
    /// The home directory of a user who exists anyway.
    pub home: Option<String>,
    /// 128 random bits in hexadecimal that stand for this activation.
    pub invocation: String,
}

impl Identity {
    /// The owner that its files have.
    pub fn owner(&self) -> Owner {
        Owner {
            uid: self.uid.get(),
            gid: self.gid,
        }
    }
}

/// One thing that the launcher does to itself, in this order, before it becomes the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// Enter the mount namespace.
    EnterNamespace,
    /// File mode creation mask 0022.
    ResetUmask,
    /// A new, empty session keyring: the caller's would give the service the caller's keys.
    NewSessionKeyring,
    /// Empty the bounding, ambient and inheritable sets: nothing can be regained by any exec.
    DropCapabilities,
    /// The supplementary groups: these alone.
    SetGroups(Vec<u32>),
    /// Real, effective and saved group ID.
    SetGid(u32),
    /// Real, effective and saved user ID, which empties the remaining capability sets.
    SetUid(u32),
    /// Never gain privileges by executing something.
    NoNewPrivileges,
    /// Forbid set-ID files, and typing into the caller's terminal.
    FilterSetId,
}

/// Who adopts, and what it adopts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopter {
    /// The user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
    /// Whether there is a mount namespace to enter.
    pub has_namespace: bool,
    /// Whether the service is to gain nothing, ever: that of a dynamic user.
    pub confined: bool,
    /// Whether the command stays root (prefix `!`).
    pub privileged: bool,
}

/// What the launcher does to itself. A privileged command stays root with its capabilities, inside the
/// sandbox, and has the user's groups as its only supplementary ones. For a user that the host has, and
/// without a sandbox, it is what su(1) does.
pub fn adoption(adopter: &Adopter) -> Vec<Adoption> {
    let Adopter {
        uid, gid, groups, ..
    } = adopter;
    let mut steps = Vec::new();
    if adopter.has_namespace {
        steps.push(Adoption::EnterNamespace);
    }
    steps.push(Adoption::ResetUmask);
    // While still root, so that it is not the UID's to leave behind.
    steps.push(Adoption::NewSessionKeyring);
    if !adopter.privileged && adopter.confined {
        // The bounding set first: it takes a capability to shrink it.
        steps.push(Adoption::DropCapabilities);
    }
    steps.push(Adoption::SetGroups(groups.clone()));
    if !adopter.privileged {
        steps.push(Adoption::SetGid(*gid));
        // root is what we are.
        if *uid != 0 {
            steps.push(Adoption::SetUid(*uid));
        }
    }
    if adopter.confined {
        steps.push(Adoption::NoNewPrivileges);
        steps.push(Adoption::FilterSetId);
    }
    steps
}

impl fmt::Display for Adoption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EnterNamespace => write!(f, "enter-namespace"),
            Self::ResetUmask => write!(f, "set-umask 0022"),
            Self::NewSessionKeyring => write!(f, "new-session-keyring"),
            Self::DropCapabilities => write!(f, "drop-capabilities all"),
            Self::SetGroups(groups) => {
                write!(f, "set-groups")?;
                groups.iter().try_for_each(|group| write!(f, " {group}"))
            }
            Self::SetGid(gid) => write!(f, "set-gid {gid}"),
            Self::SetUid(uid) => write!(f, "set-uid {uid}"),
            Self::NoNewPrivileges => write!(f, "no-new-privileges"),
            Self::FilterSetId => write!(f, "filter-system-calls set-id"),
        }
    }
}

/// The environment of the service: nothing of the caller's, as in systemd.exec(5), but with HOME
/// always set (systemd #9652).
pub fn environment(spec: &Spec, identity: &Identity, observed: &Observed) -> Vec<(String, String)> {
    let path = if observed.split_usr {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    } else {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
    };
    let mut variables: Vec<(String, String)> = [
        ("PATH", path),
        ("LANG", "C.UTF-8"),
        ("USER", &identity.user),
        ("LOGNAME", &identity.user),
        ("INVOCATION_ID", &identity.invocation),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into();
    variables.push(("HOME".into(), home(spec, identity)));
    for kind in Kind::ALL {
        let paths: Vec<String> = of_kind(spec, kind).map(ExecDirectory::public).collect();
        if !paths.is_empty() {
            variables.push((kind.variable().into(), paths.join(":")));
        }
    }
    let credentials = spec.credentials_directory();
    variables.extend(credentials.map(|path| ("CREDENTIALS_DIRECTORY".into(), path)));
    // What was asked for comes last and wins.
    for (name, value) in spec.environment() {
        variables.retain(|(other, _)| other != name);
        variables.push((name.clone(), value.clone()));
    }
    variables
}

/// The first state directory, or the first runtime directory, or the home of a user who exists
/// anyway; `/` otherwise. Without a dynamic user, that home comes first.
fn home(spec: &Spec, identity: &Identity) -> String {
    let own = identity.home.clone().filter(|_| !spec.is_dynamic());
    if let Some(own) = own {
        return own;
    }
    [Kind::State, Kind::Runtime]
        .into_iter()
        .find_map(|kind| of_kind(spec, kind).next())
        .map(ExecDirectory::public)
        .or_else(|| identity.home.clone())
        .unwrap_or_else(|| "/".into())
}

fn of_kind(spec: &Spec, kind: Kind) -> impl Iterator<Item = &ExecDirectory> {
    spec.places().filter(move |place| place.kind() == kind)
}
