//! What the service's mount namespace looks like.

#![forbid(unsafe_code)]

use super::{IdMap, Identity, Owner, Step, Tmpfs, mounted};
use crate::exec_directory::Kind;
use crate::failure::Stage;
use crate::layout::{GECOS, HOME, SHELL, VIEWS};
use crate::observed::{Entry, Observed};
use crate::spec::Spec;

/// The views that must be taken on the host, before the namespace is made.
pub(super) fn views(spec: &Spec, identity: &Identity, observed: &Observed) -> Vec<Step> {
    let mut steps = Vec::new();
    for directory in mounted(spec) {
        let seen = identity.owner();
        let map = match observed.entry(&directory.real()) {
            Entry::Directory { uid, gid, .. } if *uid != 0 => {
                let disk = Owner {
                    uid: *uid,
                    gid: *gid,
                };
                (disk != seen).then_some(IdMap { disk, seen })
            }
            _ => None,
        };
        steps.push(Step::TakeView {
            stage: directory.kind().stage(),
            path: directory.real(),
            map,
            writable: true,
        });
    }
    for database in databases(identity, observed) {
        let path = database.path.clone();
        steps.push(Step::WriteDatabase {
            source: database.source,
            path: path.clone(),
            line: database.line,
        });
        steps.push(Step::TakeView {
            stage: Stage::Namespace,
            path,
            map: None,
            writable: false,
        });
    }
    steps
}

/// The steps in the new namespace.
pub(super) fn namespace_steps(spec: &Spec, identity: &Identity, observed: &Observed) -> Vec<Step> {
    let mut steps = vec![Step::Unshare, Step::Protect];
    let writable = observed.writable_mounts.iter();
    steps.extend(writable.map(|path| Step::KeepWritable { path: path.clone() }));
    let temporary = observed.temporary.iter();
    steps.extend(temporary.map(|path| tmpfs(Stage::Namespace, path, Tmpfs::Temporary)));
    let secrets = observed.secrets.iter();
    steps.extend(secrets.map(|path| tmpfs(Stage::Namespace, path, Tmpfs::Hidden)));
    for kind in Kind::ALL {
        steps.extend(kind_steps(spec, kind));
    }
    steps.extend(
        databases(identity, observed)
            .into_iter()
            .map(|database| Step::AttachView {
                stage: Stage::Namespace,
                view: database.path,
                at: database.source.into(),
                make: false,
            }),
    );
    steps
}

/// Where all directories of one kind appear: below a view of the boundary that everybody may
/// enter and that shows nothing but them, or in place.
fn kind_steps(spec: &Spec, kind: Kind) -> Vec<Step> {
    let stage = kind.stage();
    let attached: Vec<Step> = mounted(spec)
        .filter(|directory| directory.kind() == kind)
        .map(|directory| Step::AttachView {
            stage,
            view: directory.real(),
            at: directory.real(),
            make: kind.boundary().is_some(),
        })
        .collect();
    let Some(boundary) = kind.boundary().filter(|_| !attached.is_empty()) else {
        return attached;
    };
    let mut steps = vec![tmpfs(stage, boundary, Tmpfs::Boundary)];
    steps.extend(attached);
    steps.push(Step::Seal {
        stage,
        path: boundary.into(),
    });
    steps
}

fn tmpfs(stage: Stage, path: &str, tmpfs: Tmpfs) -> Step {
    Step::MountTmpfs {
        stage,
        path: path.into(),
        tmpfs,
    }
}

/// A user database with the service's own line, for hosts whose look-ups do not know our names.
struct Database {
    source: &'static str,
    path: String,
    line: String,
}

fn databases(identity: &Identity, observed: &Observed) -> Vec<Database> {
    if observed.names_known || !identity.dynamic {
        return Vec::new();
    }
    let (user, Owner { uid, gid }) = (&identity.user, identity.owner());
    let passwd = format!("{user}:x:{uid}:{gid}:{GECOS}:{HOME}:{SHELL}");
    let group = format!("{user}:x:{gid}:");
    [
        ("/etc/passwd", "passwd", passwd),
        ("/etc/group", "group", group),
    ]
    .map(|(source, name, line)| Database {
        source,
        path: format!("{VIEWS}/{uid}/{name}"),
        line,
    })
    .into()
}
