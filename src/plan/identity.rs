//! What the process becomes: its numbers, its privileges, its environment.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::Owner;
use crate::exec_directory::{self, ExecDirectory, Kind};
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
    /// The name of that group, if it is of a dynamic user.
    pub group_name: Option<String>,
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
    if !spec.level().has_view() {
        // /tmp is everybody's.
        variables.push(("TMPDIR".into(), super::weaker::temporary(identity)));
    }
    let credentials = spec.credentials_directory();
    variables.extend(credentials.map(|path| ("CREDENTIALS_DIRECTORY".into(), path)));
    // What was asked for comes last and wins.
    let asked = || spec.environment().iter().enumerate();
    let last: BTreeMap<&str, usize> = asked().map(|(at, (name, _))| (&**name, at)).collect();
    variables.retain(|(name, _)| !last.contains_key(name.as_str()));
    let counting = asked().filter(|(at, (name, _))| last.get(name.as_str()) == Some(at));
    variables.extend(counting.map(|(_, variable)| variable.clone()));
    variables
}

/// What is its home among its directories, or the home of a user who exists anyway; `/` otherwise. Without a dynamic user,
/// that home comes first.
fn home(spec: &Spec, identity: &Identity) -> String {
    let own = identity.home.clone();
    let given = || exec_directory::home(spec.places());
    match spec.is_dynamic() {
        true => given().or(own),
        false => own.or_else(given),
    }
    .unwrap_or_else(|| "/".into())
}

fn of_kind(spec: &Spec, kind: Kind) -> impl Iterator<Item = &ExecDirectory> {
    spec.places().filter(move |place| place.kind() == kind)
}
