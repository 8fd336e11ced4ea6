//! Everything under a lease: directories, views of them, the sandbox.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{Claim, Manager, identity};
use crate::adopted;
use crate::apply::{NotYet, Prepared, Views, Workshop, build_namespace};
use crate::directives::WorkingDirectory;
use crate::exec_directory::ExecDirectory;
use crate::failure::{Failure, Stage};
use crate::giving::{self, OnProgress};
use crate::observe;
use crate::observed::{Entry, Observed};
use crate::plan::{self, Adopter, Identity, Plan, Step};
use crate::spec::Spec;
use crate::sys::fault::{Point, reached};

/// Everything that a launcher needs to become the service, but for the namespace, which is yet to
/// be built.
#[derive(Debug)]
pub struct Equipped {
    /// Who it becomes.
    pub identity: Identity,
    /// Its environment.
    pub environment: Vec<(String, String)>,
    /// Where it starts.
    pub working_directory: Option<WorkingDirectory>,
    /// Whether it is to gain nothing, ever.
    pub confined: bool,
    steps: Vec<Step>,
    views: Views,
}

impl Equipped {
    /// Builds the mount namespace, if the service needs one. The calling thread is in it from then on and
    /// is good for nothing else: it must be one that ends.
    ///
    /// # Errors
    /// Of the stage of the step that failed. The lease goes on: its holder has to be let go.
    pub fn build_namespace(&mut self) -> Result<Option<OwnedFd>, Failure> {
        if self.steps.is_empty() {
            return Ok(None);
        }
        let namespace = build_namespace(&self.steps, std::mem::take(&mut self.views));
        reached(Point::NamespaceBuilt);
        namespace.map(Some)
    }
}

/// Where directories are looked at and changed: by one activation at a time, so that what a plan expects
/// is what its steps find. A tree that is given, which may take minutes, is nobody else's meanwhile.
#[derive(Debug, Default)]
pub(super) struct Yard {
    workshop: Workshop,
    being_given: Mutex<Vec<ExecDirectory>>,
    given: Condvar,
    /// Owners of directories that are kept at their public paths; nothing, until somebody looks.
    adopted: Mutex<Option<Vec<(u32, ExecDirectory)>>>,
}

/// What was found out while a plan was carried out.
#[derive(Debug, Default)]
pub(super) struct Learned {
    immovable: BTreeSet<String>,
    unmappable: BTreeSet<String>,
    given: BTreeSet<String>,
}

impl Learned {
    /// Notes it.
    ///
    /// # Errors
    /// If it is nothing new: the same plan would be made again, for ever.
    fn learn(&mut self, why: &NotYet, stage: Stage) -> Result<(), Failure> {
        let new = match why {
            NotYet::Immovable(paths) => {
                let [one, other] = paths.clone();
                let first = self.immovable.insert(one);
                self.immovable.insert(other) || first
            }
            NotYet::Unmappable(path) => self.unmappable.insert(path.clone()),
            NotYet::Give(gift) => self.given.insert(gift.path.clone()),
        };
        if new {
            return Ok(());
        }
        Err(why.failure(stage))
    }
}

/// The stage that fails with what is at a path.
fn stage(spec: &Spec, path: &str) -> Stage {
    let place = spec
        .places()
        .find(|place| path.starts_with(place.kind().base()));
    place.map_or(Stage::Namespace, |place| place.kind().stage())
}

/// Who the launcher becomes.
pub(super) fn adopter(spec: &Spec, identity: &Identity, has_namespace: bool) -> Adopter {
    Adopter {
        uid: identity.uid.get(),
        gid: identity.gid,
        groups: identity.groups.clone(),
        has_namespace,
        confined: spec.is_dynamic(),
        privileged: false,
    }
}

impl Yard {
    /// Nobody else looks at directories or changes them, but for those that are being given.
    pub(super) fn alone(&self) -> MutexGuard<'_, Vec<ExecDirectory>> {
        lock(&self.being_given)
    }

    /// Waits until nothing is given that overlaps with the service's directories.
    pub(super) fn enter(&self, spec: &Spec) -> MutexGuard<'_, Vec<ExecDirectory>> {
        let being_given = lock(&self.being_given);
        let busy = |being_given: &mut Vec<ExecDirectory>| {
            being_given.iter().any(|theirs| {
                let mut ours = spec.places();
                ours.any(|ours| ours.is_within(theirs) || theirs.is_within(ours))
            })
        };
        let entered = self.given.wait_while(being_given, busy);
        entered.unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps others from the service's directories while `work` goes on, and from nothing else.
    fn aside<T>(
        &self,
        spec: &Spec,
        mut alone: MutexGuard<'_, Vec<ExecDirectory>>,
        work: impl FnOnce() -> T,
    ) -> T {
        let ours: Vec<ExecDirectory> = spec.places().cloned().collect();
        alone.extend(ours.iter().cloned());
        drop(alone);
        let done = work();
        lock(&self.being_given).retain(|other| !ours.contains(other));
        self.given.notify_all();
        done
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Manager {
    /// Everything under a lease: directories, views of them, the name.
    pub(super) fn equip(
        &self,
        spec: &Spec,
        claim: &Claim,
        progress: &OnProgress<'_>,
    ) -> Result<Equipped, Failure> {
        let identity = identity(spec, claim)?;
        let mut learned = Learned::default();
        loop {
            let alone = self.yard.enter(spec);
            let observed = self.look(spec, &learned)?;
            let plan = plan::plan(spec, &identity, &observed)?;
            self.refuse_foreign_nests(spec, &plan)?;
            if !plan.made.is_empty() {
                self.table().note_made(claim.uid, plan.made.clone())?;
                reached(Point::DirectoriesNoted);
            }
            let why = match self.yard.workshop.prepare_host(&plan.host)? {
                Prepared::Ready(views) => {
                    if plan.forgets_adopted || !plan.adopted.is_empty() {
                        *lock(&self.yard.adopted) = None;
                    }
                    // Whoever took one of these numbers before the record was there: the next plan sees it.
                    // Whoever takes one now sees the record (`Manager::allocate`).
                    let table = self.table();
                    let mut adopted = plan.adopted.iter();
                    if adopted.any(|uid| table.is_of_another(*uid, spec.user())) {
                        continue;
                    }
                    drop(table);
                    return Ok(equipped(spec, identity, &observed, plan, views));
                }
                Prepared::NotYet(why) => why,
            };
            learned.learn(&why, stage(spec, why.path()))?;
            if let NotYet::Give(gift) = why {
                let give = || giving::give(&gift, progress);
                self.yard.aside(spec, alone, give)?;
            }
        }
    }

    /// What a plan depends on.
    pub(super) fn look(&self, spec: &Spec, learned: &Learned) -> Result<Observed, Failure> {
        let mut observed = observe::look(spec)?;
        observed.immovable = learned.immovable.clone();
        observed.unmappable = learned.unmappable.clone();
        if !spec.directories().is_empty() {
            observed.half_given = giving::pending()?;
            let table = self.table();
            observed.shared = table.shared_with_others(spec);
            let owners = observed.entries.values().filter_map(Entry::owner);
            let taken = owners.filter(|uid| table.is_of_another(*uid, spec.user()));
            observed.taken = taken.collect();
        }
        Ok(observed)
    }

    /// The owners of directories that are kept at their public paths, but for the service's own.
    pub(super) fn adopted_by_others(&self, spec: &Spec) -> Result<BTreeSet<u32>, Failure> {
        let mut adopted = lock(&self.yard.adopted);
        if adopted.is_none() {
            *adopted = Some(adopted::look()?);
        }
        let known = adopted.iter().flatten();
        let others = known.filter(|(_, theirs)| spec.places().all(|ours| ours != theirs));
        Ok(others.map(|(uid, _)| *uid).collect())
    }
}

fn equipped(
    spec: &Spec,
    identity: Identity,
    observed: &Observed,
    plan: Plan,
    views: Views,
) -> Equipped {
    Equipped {
        environment: plan::environment(spec, &identity, observed),
        working_directory: spec.working_directory().cloned(),
        confined: spec.is_dynamic(),
        identity,
        steps: plan.namespace,
        views,
    }
}
