//! The plan of one activation: decided here, purely, from what was asked and what was observed;
//! carried out step by step by `apply` and the launcher.

#![forbid(unsafe_code)]

mod adoption;
mod databases;
mod dirs;
mod hardening;
mod identity;
mod mounts;
mod ownership;
mod path_rules;
mod settle;
mod step;
mod weaker;

use std::collections::BTreeSet;
use std::fmt;

use crate::failure::Failure;
use crate::level::Level;
use crate::observed::Observed;
use crate::spec::Spec;

pub use adoption::{Adopter, Adoption, adoption};
pub use hardening::processes_of_its_own;
pub use identity::{Identity, environment};
pub use step::{Action, IdMap, Step, Tmpfs};
pub use weaker::{beneath, temporary_of};

/// An owner on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
}

impl Owner {
    /// root:root.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// Steps in the order in which they are done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// How much stands between the service and the host.
    pub level: Level,
    /// On the host.
    pub host: Vec<Step>,
    /// In a new mount namespace; nothing, if the service needs none.
    pub namespace: Vec<Step>,
    /// Where in its view the service may make files.
    pub writable: Vec<String>,
    /// What the plan makes in /run, or takes there: it goes when the lease ends.
    pub made: Vec<String>,
    /// The boundary directories that its user is let through: that goes when the lease ends.
    pub passes: Vec<String>,
    /// The owners on disk of private directories that stay at their public paths, and that no other service
    /// runs in.
    pub adopted: BTreeSet<u32>,
    /// Whether one may stay there no longer.
    pub forgets_adopted: bool,
}

/// The paths that a plan for `spec` must know about.
pub fn questions(spec: &Spec) -> Vec<String> {
    dirs::questions(spec)
}

/// Makes the plan.
///
/// # Errors
/// When something on the host is in the way: a boundary directory that is not root's alone,
/// something else at the place of a directory. Nothing has been changed then.
pub fn plan(spec: &Spec, identity: &Identity, observed: &Observed) -> Result<Plan, Failure> {
    let directories = dirs::settle_all(spec, identity, observed)?;
    let placed = directories.placed.iter();
    let adopted = placed.filter(|placed| {
        placed.placement == dirs::Placement::Adopted
            && !observed.shared.contains(&placed.directory.place().public())
    });
    let adopted = adopted.map(|placed| placed.owner.uid).collect();
    let forgets = |step: &Step| matches!(step.action, Action::RemoveLink { .. });
    let forgets_adopted = directories.steps.iter().any(forgets);
    let mut host = directories.steps;
    let mut plan = Plan {
        level: spec.level(),
        made: directories.made,
        adopted,
        forgets_adopted,
        ..Plan::default()
    };
    if spec.level().has_view() {
        let sandbox = mounts::Sandbox::new(spec, identity, observed, &directories.placed)?;
        host.extend(sandbox.views());
        plan.namespace = sandbox.steps();
        plan.writable = sandbox.writable();
    } else {
        databases::refuse_unheard(spec, identity, observed)?;
        let placed = &directories.placed;
        plan.passes = weaker::passes(placed);
        plan.writable = weaker::writable(spec, identity, observed, placed)?;
        plan.made.push(weaker::temporary(identity));
        host.extend(weaker::steps(identity, &plan.passes));
    }
    plan.host = host;
    Ok(plan)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.level.has_view() {
            writeln!(f, "sandbox {}", self.level.word())?;
        }
        self.host
            .iter()
            .chain(&self.namespace)
            .try_for_each(|step| writeln!(f, "{step}"))
    }
}
