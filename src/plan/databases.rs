//! The service's own lines in the user databases of its view.

#![forbid(unsafe_code)]

use super::{Identity, Owner};
use crate::layout::{GECOS, HOME, RUN, SHELL, VIEWS};
use crate::observed::Observed;
use crate::spec::Spec;

/// A user database with the service's own line, for hosts whose look-ups do not know our names.
pub(super) struct Database {
    pub(super) source: &'static str,
    pub(super) path: String,
    pub(super) line: String,
}

/// Which of them it gets.
pub(super) fn databases(spec: &Spec, identity: &Identity, observed: &Observed) -> Vec<Database> {
    // The module reads names below /run.
    let mut asked = spec.temporary_file_systems().iter();
    let hidden = asked.any(|one| one.holds(RUN));
    if (observed.names_known && !hidden) || !identity.dynamic {
        return Vec::new();
    }
    let (user, Owner { uid, gid }) = (&identity.user, identity.owner());
    let passwd = format!("{user}:x:{uid}:{gid}:{GECOS}:{HOME}:{SHELL}");
    // A group of the host has its line already.
    let group = identity.group_name.as_ref();
    let group = group.map(|name| ("/etc/group", "group", format!("{name}:x:{gid}:")));
    let databases = [Some(("/etc/passwd", "passwd", passwd)), group];
    let databases = databases.into_iter().flatten();
    databases
        .map(|(source, name, line)| Database {
            source,
            path: format!("{VIEWS}/{uid}/{name}"),
            line,
        })
        .collect()
}
