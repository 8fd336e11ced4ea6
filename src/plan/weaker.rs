//! The plan of a service without a view of its own: at the levels below full.
//!
//! Nothing is mounted. Its directories are where everybody's are; those behind a boundary are closed to all but its user,
//! who is let through the boundary.

#![forbid(unsafe_code)]

use super::dirs::{Placed, Placement};
use super::step::Action;
use super::{Identity, Step};
use crate::directives::{Access, Settings};
use crate::exec_directory::{Kind, lies_in};
use crate::failure::{Failure, Stage};
use crate::layout::TEMPORARY;
use crate::level::Level;
use crate::observed::Observed;
use crate::spec::Spec;

/// Where the kernel's own file systems are: what a service may do there is left to their modes, as with a view of its own.
const KERNEL_TREES: [&str; 3] = super::hardening::KERNEL_TREES;

/// The directory for its temporary files.
pub(super) fn temporary(identity: &Identity) -> String {
    temporary_of(identity.uid.get())
}

/// The same of a number: `TMPDIR`.
pub fn temporary_of(uid: u32) -> String {
    format!("{TEMPORARY}/{uid}")
}

/// The boundary directories that the service has to pass.
pub(super) fn passes(placed: &[Placed<'_>]) -> Vec<String> {
    let behind = placed
        .iter()
        .filter(|placed| placed.placement == Placement::Behind);
    let mut paths: Vec<String> = behind
        .filter_map(|placed| placed.directory.kind().boundary())
        .map(String::from)
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// What is done on the host once the directories are there: last what opens anything.
pub(super) fn steps(identity: &Identity, passes: &[String]) -> Vec<Step> {
    let owner = identity.owner();
    let path = temporary(identity);
    let own = Step::new(Stage::Namespace, path, Action::MakeTemporary { owner });
    let uid = owner.uid;
    let pass = |path: &String| {
        let mut kinds = Kind::ALL.into_iter();
        let kind = kinds.find(|kind| kind.boundary() == Some(path));
        let stage = kind.map_or(Stage::Namespace, Kind::stage);
        Step::new(stage, path, Action::LetSearch { uid })
    };
    std::iter::once(own)
        .chain(passes.iter().map(pass))
        .collect()
}

/// The directories beneath which Landlock lets the service write; nothing, where it is not asked.
///
/// # Errors
/// For a path that is to be read only, and leads to one of them: rules of Landlock add up.
pub(super) fn writable(
    spec: &Spec,
    identity: &Identity,
    observed: &Observed,
    placed: &[Placed<'_>],
) -> Result<Vec<String>, Failure> {
    if spec.level() != Level::Landlock {
        return Ok(Vec::new());
    }
    let own = placed.iter().filter(|placed| {
        let directory = placed.directory;
        !directory.is_read_only() && directory.kind() != Kind::Configuration
    });
    let real = |path: &String| observed.resolved.get(path).unwrap_or(path).clone();
    let own = own.map(|placed| placed.path.clone());
    beneath(spec.settings(), identity.uid.get(), own, real)
}

/// The same, for directories of its `own` that are not read-only; `real` is where a path leads.
///
/// # Errors
/// As [`writable`].
pub fn beneath(
    settings: &Settings,
    uid: u32,
    own: impl Iterator<Item = String>,
    real: impl Fn(&String) -> String,
) -> Result<Vec<String>, Failure> {
    let mounts = &settings.mounts;
    let tunables = settings.filters.protect_kernel_tunables;
    let of = |access| {
        let rules = mounts
            .paths
            .iter()
            .filter(move |rule| rule.access == access);
        rules.map(|rule| real(&rule.path))
    };
    let read_only: Vec<String> = of(Access::Read).collect();
    let mut paths: Vec<String> = own.collect();
    paths.push(temporary_of(uid));
    paths.extend(of(Access::Write));
    if let Some(kept) = read_only
        .iter()
        .find(|kept| paths.iter().any(|path| lies_in(kept, path)))
        .filter(|_| !settings.may_go_without("ReadOnlyPaths"))
    {
        return Err(Failure::new(
            Stage::Namespace,
            kept,
            "is to be read only, but lies where the service may write, and Landlock cannot tell them apart; \
             --sandbox=full can",
        ));
    }
    let trees = KERNEL_TREES.into_iter().filter(|tree| {
        let closed = *tree == "/sys" && (mounts.control_groups || tunables);
        !closed && !read_only.iter().any(|kept| lies_in(tree, kept))
    });
    paths.extend(trees.map(String::from));
    if paths.iter().any(|path| path == "/dev") {
        // The way to an open queue ends at the root of their file system, wherever that is mounted.
        paths.push("/dev/mqueue".into());
    }
    paths.sort_unstable();
    paths.dedup();
    Ok(paths)
}
