//! Everything under a lease: directories, views of them, the sandbox.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use super::groups::Groups;
use super::{Accounts, Claim, Manager, identity};
use crate::apply::{Gift, NotYet, Prepared, Views, build_namespace};
use crate::command_text::Privilege;
use crate::control_group::ControlGroup;
use crate::directives::{Namespaces, Users, WorkingDirectory};
use crate::failure::{Failure, OrFail, Stage};
use crate::giving::{self, OnProgress};
use crate::group;
use crate::level::Level;
use crate::observe::{self, is_behind};
use crate::observed::{Entry, Observed};
use crate::plan::{self, Adopter, Identity, Plan, Step};
use crate::spec::Spec;
use crate::surroundings::explained;
use crate::sys::fault::{Point, reached};
use crate::sys::give::Given;
use crate::sys::own_namespaces::{self, Kind};
use crate::sys::userns;
use crate::uid::Uid;

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
    /// Where in its view it may make files.
    pub writable: Vec<String>,
    /// Other dynamic users, whose groups it has: they are held as long as it.
    pub held: Vec<Uid>,
    /// Its control group, for whoever enters it.
    pub control_group: Option<OwnedFd>,
    /// What is not enforced although it was asked for, with the reason: it was allowed.
    pub unenforced: Vec<(&'static str, String)>,
    /// How much stands between it and the host.
    pub level: Level,
    /// The files of accounts that its view has copies of, if there are any.
    pub accounts: Option<Accounts>,
    namespaces: Namespaces,
    host_name: Option<String>,
    has_host_name: bool,
    steps: Vec<Step>,
    views: Views,
}

/// What a service lives in, with the kind of each.
pub type OwnNamespaces = Vec<(Kind, OwnedFd)>;

impl Equipped {
    /// Builds the namespaces that the service needs, in the order in which they are entered. The calling thread is
    /// in them from then on and is good for nothing else: it must be one that ends.
    ///
    /// # Errors
    /// Of the stage of the step that failed. The lease goes on: its holder has to be let go.
    pub fn build_namespaces(&mut self) -> Result<OwnNamespaces, Failure> {
        let built = if self.level.has_view() {
            self.build_all()
        } else {
            Ok(OwnNamespaces::new())
        };
        built.map_err(|failure| explained(failure, self.level))
    }

    fn build_all(&mut self) -> Result<OwnNamespaces, Failure> {
        let mut built = OwnNamespaces::new();
        // Needs a child process, which must not be born into any of the others.
        let users = self
            .namespaces
            .users
            .map(|users| self.user_namespace(users));
        let users = users.transpose()?;
        if let Some(path) = &self.namespaces.network_path {
            let there = own_namespaces::at(path).or_fail(Stage::Network, path)?;
            built.push((Kind::Network, there));
        } else if self.namespaces.network {
            built.push(own(Kind::Network, Stage::Network)?);
            own_namespaces::raise_loopback().or_fail(Stage::Network, "lo")?;
        }
        if self.namespaces.ipc {
            built.push(own(Kind::Ipc, Stage::Namespace)?);
        }
        if self.has_host_name {
            built.push(own(Kind::HostName, Stage::Namespace)?);
            if let Some(name) = &self.host_name {
                own_namespaces::set_host_name(name).or_fail(Stage::Namespace, name)?;
            }
        }
        if !self.steps.is_empty() {
            let namespace = build_namespace(&self.steps, std::mem::take(&mut self.views));
            reached(Point::NamespaceBuilt);
            built.push((Kind::Mounts, namespace?));
        }
        built.extend(users.map(|namespace| (Kind::Users, namespace)));
        Ok(built)
    }

    /// A user namespace in which the service is who it is.
    fn user_namespace(&self, users: Users) -> Result<OwnedFd, Failure> {
        let (uid, gid) = (self.identity.uid.get(), self.identity.gid);
        let groups = &self.identity.groups;
        let (uids, gids) = (
            map_lines(users, &[uid]),
            map_lines(users, &[&[gid], &groups[..]].concat()),
        );
        userns::with_maps(&uids, &gids).or_fail(Stage::Namespace, "the user namespace")
    }
}

/// A boundary directory of a service with a view of its own that nobody else might pass when its plan was made, and that
/// a service without one may pass by now: that one saw nothing of these directories before, and their modes may let it in.
fn open_by_now(spec: &Spec, observed: &Observed) -> Result<Option<String>, Failure> {
    if !spec.level().has_view() || spec.directories().is_empty() {
        return Ok(None);
    }
    let now = observe::searched(spec)?;
    let mut new = now.into_iter();
    Ok(new.find(|path| !observed.searchers.contains_key(path)))
}

/// A new namespace, entered.
fn own(kind: Kind, stage: Stage) -> Result<(Kind, OwnedFd), Failure> {
    let made = own_namespaces::unshare(kind).and_then(|()| own_namespaces::current(kind));
    Ok((
        kind,
        made.or_fail(stage, format!("the {} namespace", kind.word()))?,
    ))
}

/// The lines of a map in which those numbers, and root, are who they are (user_namespaces(7)).
fn map_lines(users: Users, own: &[u32]) -> String {
    match users {
        Users::All => "0 0 4294967295\n".into(),
        Users::Identity => {
            let further = own.iter().filter(|number| **number >= 65_536);
            let further = further.map(|number| format!("{number} {number} 1\n"));
            std::iter::once("0 0 65536\n".into())
                .chain(further)
                .collect()
        }
        Users::OwnAlone => {
            let numbers: BTreeSet<u32> = own.iter().copied().chain([0]).collect();
            numbers
                .iter()
                .map(|number| format!("{number} {number} 1\n"))
                .collect()
        }
    }
}

/// What was found out while a plan was carried out.
#[derive(Debug, Default)]
pub(super) struct Learned {
    immovable: BTreeSet<String>,
    unmappable: BTreeSet<String>,
    given: BTreeSet<String>,
    surprises: u32,
}

/// How often something may be there that was not when somebody looked.
const MOST_SURPRISES: u32 = 16;

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
            NotYet::Changed(_) => {
                self.surprises = self.surprises.saturating_add(1);
                self.surprises <= MOST_SURPRISES
            }
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
pub(super) fn adopter(spec: &Spec, identity: &Identity, has_namespaces: bool) -> Adopter {
    Adopter {
        uid: identity.uid.get(),
        gid: identity.gid,
        groups: identity.groups.clone(),
        has_namespaces,
        has_user_namespace: spec.settings().namespaces.users.is_some(),
        has_control_group: spec.settings().control_group != ControlGroup::default(),
        confined: spec.is_dynamic(),
        privilege: Privilege::Service,
    }
}

impl Manager {
    /// Everything under a lease: directories, views of them, the name.
    pub(super) fn equip(
        &self,
        spec: &Spec,
        claim: &Claim,
        groups: Groups,
        progress: &OnProgress<'_>,
    ) -> Result<Equipped, Failure> {
        let identity = groups.join(identity(spec, claim)?);
        let mut learned = Learned::default();
        // What a plan expects is what its steps find.
        let _ground = self.yard.enter(spec.grounds());
        loop {
            // Before anything is read of them: what changes from here on is seen.
            let accounts = observe::stamps();
            let mut observed = self.look(spec, &learned)?;
            observed.name_service.records = self.table().around(claim.uid.get());
            let plan = plan::plan(spec, &identity, &observed)?;
            self.refuse_foreign_nests(spec, &plan)?;
            if !plan.made.is_empty() {
                self.table().note_made(claim.uid, plan.made.clone())?;
                reached(Point::DirectoriesNoted);
            }
            if !plan.passes.is_empty() {
                self.table().note_passes(claim.uid, plan.passes.clone())?;
                reached(Point::PassesNoted);
            }
            let why = match self.yard.workshop.prepare_host(&plan.host)? {
                Prepared::Ready(views) => {
                    if let Some(path) = open_by_now(spec, &observed)? {
                        learned.learn(&NotYet::Changed(path), Stage::StateDirectory)?;
                        continue;
                    }
                    if plan.forgets_adopted || !plan.adopted.is_empty() {
                        self.yard.forget_adopted();
                    }
                    // Whoever took one of these numbers before the record was there: the next plan sees it.
                    // Whoever takes one now sees the record (`Manager::allocate`).
                    let table = self.table();
                    let mut adopted = plan.adopted.iter();
                    if let Some(uid) = adopted.find(|uid| table.is_of_another(**uid, spec.user())) {
                        let why = NotYet::Changed(format!("an adopted directory of {uid}"));
                        learned.learn(&why, Stage::StateDirectory)?;
                        continue;
                    }
                    drop(table);
                    let mut equipped =
                        equipped(spec, identity, &observed, plan, views, groups.held);
                    equipped.accounts = Accounts::in_steps(&equipped.steps, accounts);
                    return Ok(equipped);
                }
                Prepared::NotYet(why) => why,
            };
            learned.learn(&why, stage(spec, why.path()))?;
            if let NotYet::Give(gift) = why {
                let given = giving::give(&gift, progress, &|given| {
                    self.refuse_open(spec, &gift, given)
                });
                given?;
            }
        }
    }

    /// A control group for the service, if it asks for anything that takes one.
    pub(super) fn control_group(
        &self,
        spec: &Spec,
        uid: Uid,
        equipped: &mut Equipped,
    ) -> Result<(), Failure> {
        let settings = spec.settings();
        let mut asked = settings.control_group.clone();
        if settings.mounts.devices && spec.level().has_view() {
            asked.close_devices();
        }
        if asked == ControlGroup::default() {
            return Ok(());
        }
        let facts = group::facts(&asked)?;
        let plan = asked.plan(&facts);
        let plan =
            plan.map_err(|(directive, why)| Failure::new(Stage::ControlGroup, directive, why))?;
        let identity = &equipped.identity;
        // Another activation of the same service may still have its own.
        let part: String = identity.invocation.chars().take(8).collect();
        let name = format!("{}-{part}", spec.service());
        let owner = (identity.uid.get(), identity.gid);
        let made = group::make(&name, &plan, owner, &settings.allow_unenforced)?;
        equipped.unenforced.extend(made.unenforced);
        if let Some(group) = made.group {
            self.table().note_group(uid, &group.path)?;
            let variables = group.environment.into_iter();
            equipped
                .environment
                .extend(variables.map(|(name, value)| (name.into(), value)));
            equipped.control_group = Some(group.entrance);
        }
        Ok(())
    }

    /// Refuses to bring a tree to its public path with something in it that could not be given, and that
    /// others may get one day by its number.
    fn refuse_open(&self, spec: &Spec, gift: &Gift, given: &Given) -> Result<(), Failure> {
        let comes_out = is_behind(&gift.path)
            && spec.directories().iter().any(|directory| {
                let behind = directory.place().behind();
                !directory.is_private() && behind.as_ref() == Some(&gift.path)
            });
        let ranges = &self.config().ranges;
        let others = given.strangers.iter();
        let mut passing = others.filter(|uid| ranges.contains(**uid));
        if !comes_out || (given.kept == 0 && passing.next().is_none()) {
            return Ok(());
        }
        let example = given.examples.first().map_or("", String::as_str);
        let why = format!(
            "{} entries could not be given and would be anybody's who gets their number once the directory is public ({example}); move or remove them, or chown them",
            given.left
        );
        Err(Failure::new(gift.stage, &gift.path, why))
    }

    /// What a plan depends on.
    pub(super) fn look(&self, spec: &Spec, learned: &Learned) -> Result<Observed, Failure> {
        let mut observed = observe::look(spec)?;
        observed.immovable = learned.immovable.clone();
        observed.unmappable = learned.unmappable.clone();
        observed.leased_searchers = self.table().searchers();
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
}

fn equipped(
    spec: &Spec,
    identity: Identity,
    observed: &Observed,
    plan: Plan,
    views: Views,
    held: Vec<Uid>,
) -> Equipped {
    let filters = &spec.settings().filters;
    Equipped {
        environment: plan::environment(spec, &identity, observed),
        working_directory: spec.working_directory().cloned(),
        confined: spec.is_dynamic(),
        identity,
        writable: plan.writable,
        namespaces: spec.settings().namespaces.clone(),
        held,
        control_group: None,
        accounts: None,
        unenforced: spec.lost().to_vec(),
        level: spec.level(),
        host_name: filters.hostname.clone(),
        has_host_name: filters.protect_hostname || filters.private_hostname,
        steps: plan.namespace,
        views,
    }
}
