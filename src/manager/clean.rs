//! Removing directories of services that do not run: by service, or because they are nobody's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::table::{Table, is_passing};
use super::{Manager, log_failure};
use crate::cleaning::{kinds, named, signs};
use crate::directory_claims::{Claims, Standing};
use crate::directory_record::DirectoryRecord;
use crate::directory_text::HadDirectory;
use crate::exec_directory::{ExecDirectory, Ground, Kind};
use crate::failure::{Failure, OrFail, Stage};
use crate::lease::Lease;
use crate::life::State;
use crate::names::ServiceName;
use crate::orphans::{self, Private};
use crate::removal::{Found, Removal, Target, find, remove_found};
use crate::unit_directories;

/// How long a service that is ending is waited for. Most take a few milliseconds, so that what is
/// cleaned just after it ended is.
const PATIENCE: Duration = Duration::from_secs(5);

impl Manager {
    /// Removes the directories of a service of the kinds that `what` names, with their links and the parents
    /// that are empty then. `properties` names directories that nobody recorded.
    ///
    /// No service that wants the same is started meanwhile: what a plan expects must be what its steps find.
    ///
    /// # Errors
    /// Of [`Stage::Request`] for words that mean nothing and for a service of which nothing is known; of the
    /// kind of a directory that is in use, that may not be removed, or could not be. It may be done again.
    pub fn clean(
        &self,
        service: &str,
        what: &[String],
        properties: &[(String, String)],
    ) -> Result<Removal, Failure> {
        let name = ServiceName::parse(service)
            .map_err(|why| Failure::new(Stage::Request, format!("{service:?}"), why))?;
        let kinds = kinds(what)?;
        let targets = self.targets(&name, &kinds, named(properties)?)?;
        let directories: Vec<&ExecDirectory> = targets.iter().map(|it| &it.directory).collect();
        let links = targets.iter().flat_map(|target| &target.links);
        let grounds = links.chain(directories.iter().copied());
        let grounds: Vec<Ground> = grounds.map(ExecDirectory::ground).collect();
        let deadline = Instant::now().checked_add(PATIENCE);
        let (_alone, _ground) = loop {
            self.wait_for_the_end(&name, &directories, deadline);
            let alone = self.removing();
            let ground = self.yard.enter(grounds.clone());
            // A start may have had the ground before us, and its service be ending by now.
            if has_passed(deadline) || !all_in_the_way_pass(&self.table(), &name, &directories) {
                break (alone, ground);
            }
        };
        refuse_in_use(&self.table(), &name, &directories)?;
        self.refuse_others(&name, &targets)?;
        for target in &targets {
            target.refuse_public(name.as_str())?;
        }
        let kept = self.paths_of_others(&name);
        let is_kept = |path: &str| kept.contains(path);
        let mut done = Removal::default();
        for target in &targets {
            target.remove(&is_kept, &mut done)?;
        }
        let gone =
            |had: &HadDirectory| Kind::from_word(&had.kind).is_some_and(|it| kinds.contains(&it));
        self.records().forget(name.as_str(), gone);
        Ok(done)
    }

    /// What is to be removed, the outermost first.
    fn targets(
        &self,
        service: &ServiceName,
        kinds: &[Kind],
        named: Vec<HadDirectory>,
    ) -> Result<Vec<Target>, Failure> {
        let records = self.records();
        let known = records.of_service(service.as_str());
        if known.is_none() && named.is_empty() {
            return Err(Failure::new(
                Stage::Request,
                service.as_str(),
                "no directory of such a service is recorded; name what is to go: -p StateDirectory=…",
            ));
        }
        let mut targets: BTreeMap<ExecDirectory, Target> = BTreeMap::new();
        // What is recorded is known better than what is named.
        let known = known
            .into_iter()
            .flat_map(|known| known.directories.clone());
        for had in known.chain(named) {
            let Some(directory) = had.directory().filter(|it| kinds.contains(&it.kind())) else {
                continue;
            };
            let target = targets.entry(directory.clone()).or_insert_with(|| Target {
                directory,
                links: Vec::new(),
                private: had.private,
            });
            // A link has the rules of a directory's name.
            let kind = target.directory.kind();
            let links = had
                .links
                .iter()
                .filter_map(|link| ExecDirectory::parse(kind, link).ok());
            target.links.extend(links);
        }
        Ok(targets.into_values().collect())
    }

    /// Waits a while for the leases that are in the way and are ending.
    fn wait_for_the_end(
        &self,
        service: &ServiceName,
        directories: &[&ExecDirectory],
        deadline: Option<Instant>,
    ) {
        loop {
            let table = self.table();
            let leases = table.leases();
            let ended =
                table.ended_among(leases.filter(|it| is_in_the_way(it, service, directories)));
            drop(table);
            for (uid, holder) in ended {
                log_failure(self.holder_ended(uid, &holder));
            }
            let table = self.table();
            if has_passed(deadline) || !all_in_the_way_pass(&table, service, directories) {
                return;
            }
            drop(self.wait(table));
        }
    }

    /// Every path that a directory of another service may be at.
    fn paths_of_others(&self, service: &ServiceName) -> BTreeSet<String> {
        let records = self.records();
        let others = records
            .services()
            .filter(|it| it.service != service.as_str());
        others
            .flat_map(|other| other.directories.iter().filter_map(HadDirectory::directory))
            .flat_map(|theirs| [Some(theirs.public()), theirs.behind()])
            .flatten()
            .collect()
    }

    /// What another service has goes neither with a tree that holds it, nor because somebody named it.
    fn refuse_others(&self, service: &ServiceName, targets: &[Target]) -> Result<(), Failure> {
        let records = self.records();
        let own = records.of_service(service.as_str());
        let own = own.into_iter().flat_map(|own| &own.directories);
        let own: BTreeSet<ExecDirectory> = own.filter_map(HadDirectory::directory).collect();
        let others = records
            .services()
            .filter(|it| it.service != service.as_str());
        let others = others.flat_map(|it| it.directories.iter().map(move |had| (&it.service, had)));
        for (other, had) in others {
            let Some(theirs) = had.directory() else {
                continue;
            };
            let named = |ours: &ExecDirectory| ours.is_within(&theirs) && !own.contains(ours);
            let holds = |ours: &ExecDirectory| *ours != theirs && theirs.is_within(ours);
            let mut ours = targets.iter().map(|target| &target.directory);
            let Some(ours) = ours.find(|ours| named(ours) || holds(ours)) else {
                continue;
            };
            let stage = ours.kind().stage();
            let there = |path: &str| {
                find(path)
                    .or_fail(stage, path)
                    .map(|found| found != Found::Nothing)
            };
            let hidden = theirs.behind().map_or(Ok(false), |path| there(&path))?;
            if hidden || there(&theirs.public())? {
                let why = if named(ours) {
                    format!("{theirs} is recorded as the service {other}'s: dynuser clean {other}")
                } else {
                    format!("holds {theirs} of the service {other}: dynuser clean {other} first")
                };
                return Err(Failure::new(stage, ours.public(), why));
            }
        }
        Ok(())
    }

    /// Removes what is nobody's, by the paths or names that `dynuser gc` lists. All or nothing is begun.
    ///
    /// # Errors
    /// Of [`Stage::Request`] for what is not there, or is known to be somebody's; otherwise of the kind of
    /// what could not be removed.
    pub fn collect(&self, names: &[String]) -> Result<Removal, Failure> {
        let _alone = self.removing();
        let kinds = || Kind::ALL.into_iter();
        let grounds = names.iter().map(|name| below_base(name));
        let grounds = grounds.flat_map(|path| kinds().map(move |kind| Ground::new(kind, path)));
        let _ground = self.yard.enter(grounds.collect());
        let mut claims = Claims::default();
        let mut done = Removal::default();
        self.records().claim(&mut claims);
        for lease in self.table().leases() {
            if lease.is_damaged() {
                let uid = lease.uid;
                let why = format!(
                    "is damaged, and nobody knows which directories it has: dynuser release {uid}"
                );
                let subject = format!("the lease of {uid}");
                return Err(Failure::new(Stage::Request, subject, why));
            }
            claim_lease(&mut claims, lease);
        }
        done.left.extend(unit_directories::claim(&mut claims));
        if let Some(unread) = done.left.first() {
            let why = format!("cannot be read, and may name what is to be removed: {unread}");
            return Err(Failure::new(Stage::Request, "a unit file", why));
        }
        let mut all = orphans::look(&claims)?.all;
        // A link to what goes is told to be dangling only once that is gone.
        all.sort_by_key(|it| it.dangles);
        let mut meant: Vec<&Private> = Vec::new();
        for name in names {
            meant.extend(meant_by(&all, &claims, name)?);
        }
        for private in meant {
            remove_orphan(private, &mut done)?;
        }
        Ok(done)
    }

    fn removing(&self) -> MutexGuard<'_, ()> {
        self.removing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record of the directories of services.
    pub(super) fn records(&self) -> MutexGuard<'_, DirectoryRecord> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is below its base of something that is called so, or is at that path.
fn below_base(name: &str) -> &str {
    let boundaries = Kind::ALL.into_iter().filter_map(Kind::boundary);
    let tops = boundaries.chain(Kind::ALL.into_iter().map(Kind::base));
    let mut below = tops.filter_map(|top| name.strip_prefix(top)?.strip_prefix('/'));
    below.next().unwrap_or(name)
}

/// Claims what a lease has.
pub fn claim_lease(claims: &mut Claims, lease: &Lease) {
    let by = format!("{} (user {})", lease.services().join(", "), lease.name);
    for directory in lease.exec_directories() {
        claims.add(directory.kind(), directory.path(), &by);
    }
}

/// Whether what is in the way, if anything is, is ending.
fn all_in_the_way_pass(
    table: &Table,
    service: &ServiceName,
    directories: &[&ExecDirectory],
) -> bool {
    let in_the_way = || {
        let leases = table.leases();
        leases.filter(|it| is_in_the_way(it, service, directories))
    };
    in_the_way().next().is_some() && in_the_way().all(is_passing)
}

fn has_passed(deadline: Option<Instant>) -> bool {
    deadline.is_none_or(|deadline| Instant::now() >= deadline)
}

/// Whether a lease is the service's, or has one of the directories, or one in or around one.
fn is_in_the_way(lease: &Lease, service: &ServiceName, directories: &[&ExecDirectory]) -> bool {
    let theirs = lease.exec_directories();
    let clash = |ours: &&ExecDirectory| {
        theirs
            .iter()
            .any(|theirs| ours.is_within(theirs) || theirs.is_within(ours))
    };
    lease.services().contains(&service.as_str()) || directories.iter().any(clash)
}

fn refuse_in_use(
    table: &Table,
    service: &ServiceName,
    directories: &[&ExecDirectory],
) -> Result<(), Failure> {
    let mut leases = table.leases();
    let Some(lease) = leases.find(|it| is_in_the_way(it, service, directories)) else {
        return Ok(());
    };
    let state = match lease.state {
        State::Quarantined => "in quarantine (dynuser list says why)",
        _ if is_passing(lease) => "ending",
        _ => "running",
    };
    let (services, name) = (lease.services().join(", "), &lease.name);
    let why = if lease.services().contains(&service.as_str()) {
        format!("is {state} (user {name}); its directories can be removed when it has ended")
    } else {
        format!("has directories that {services} (user {name}) uses, which is {state}")
    };
    Err(Failure::new(Stage::Request, service.as_str(), why))
}

/// What somebody means by a name or path of what is nobody's.
fn meant_by<'a>(
    all: &'a [Private],
    claims: &Claims,
    name: &str,
) -> Result<Vec<&'a Private>, Failure> {
    let meant: Vec<&Private> = all.iter().filter(|it| it.is_meant(name)).collect();
    let refused = |why: String| Err(Failure::new(Stage::Request, format!("{name:?}"), why));
    if let Some((it, by)) = meant
        .iter()
        .find_map(|it| Some((it, it.known_by.as_ref()?)))
    {
        return refused(format!("{} belongs to {by}", it.place));
    }
    if !meant.is_empty() {
        return Ok(meant);
    }
    for kind in Kind::ALL {
        match below(kind, name).map(|path| claims.standing(kind, path)) {
            Some(Standing::Claimed(by)) => return refused(format!("belongs to {by}")),
            Some(Standing::Above(by)) => return refused(format!("holds what belongs to {by}")),
            Some(Standing::Nobodys) | None => {}
        }
    }
    refused("is nothing that dynuser gc lists".into())
}

/// The path below the base of a kind that a name means: by any of its paths, or as it stands.
fn below(kind: Kind, name: &str) -> Option<&str> {
    if !name.starts_with('/') {
        return Some(name);
    }
    let public = name.strip_prefix(kind.base())?.strip_prefix('/')?;
    Some(public.strip_prefix("private/").unwrap_or(public))
}

fn remove_orphan(private: &Private, done: &mut Removal) -> Result<(), Failure> {
    let stage = private.kind.stage();
    let directory = ExecDirectory::parse(private.kind, &private.path);
    match (&private.found, directory) {
        (Found::Directory { .. }, Ok(directory)) => {
            let target = Target {
                directory,
                links: Vec::new(),
                private: true,
            };
            target.remove(&|_| false, done)
        }
        // A name that nobody could ask for, such as one with a colon: there is no link to it.
        (found, directory) => {
            let place = &private.place;
            let removed = remove_found(place, found).or_fail(stage, place)?;
            if removed {
                done.removed.push(place.clone());
            }
            let sign = |to: &String| directory.as_ref().is_ok_and(|it| signs(it).contains(to));
            if let (Found::Link(to), false) = (found, private.dangles)
                && sign(to)
            {
                done.left.push(format!(
                    "what {place} pointed to stays: it is a public directory"
                ));
            } else if !removed {
                done.left.push(format!(
                    "{place} is a {}: look at it, and remove it by hand",
                    private.word()
                ));
            }
            Ok(())
        }
    }
}
