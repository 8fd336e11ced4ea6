//! The groups that a service asks for besides its user's own: of the host, or of other dynamic users.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::table::{Standing, Table};
use super::{Claim, Manager, log_failure};
use crate::failure::{Failure, OrFail, Stage};
use crate::holder::HeldBy;
use crate::lease::Lease;
use crate::life::State;
use crate::plan::Identity;
use crate::release;
use crate::request::Request;
use crate::spec::Spec;
use crate::sys::SysResult;
use crate::sys::names::{Question, ask};
use crate::sys::process::{holding, sharing_group};
use crate::uid::Uid;

/// How long the end of a user waits for one who is still running and has its group: as a rule its end is only
/// not known yet.
const PATIENCE: Duration = Duration::from_secs(10);

/// The groups of one activation.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// `Group=`, if it is not the user's own.
    first: Option<u32>,
    /// Its name, if it is of a dynamic user.
    first_name: Option<String>,
    /// `SupplementaryGroups=`.
    others: Vec<u32>,
    /// The dynamic users whose groups are among them: held as long as the service.
    pub(super) held: Vec<Uid>,
}

/// A group of the host that a service may have. root's would give a dynamic user what is readable, or writable, for
/// administrators alone; some numbers mean "no change" to the kernel.
fn of_the_host(spec: &Spec, gid: u32) -> Option<u32> {
    let number = Uid::of_host(gid)?.get();
    (number != 0 || !spec.is_dynamic()).then_some(number)
}

impl Groups {
    /// Puts them into an identity.
    pub(super) fn join(&self, mut identity: Identity) -> Identity {
        if let Some(first) = self.first {
            if identity.dynamic {
                identity.groups.retain(|group| *group != identity.gid);
            }
            identity.gid = first;
            identity.group_name.clone_from(&self.first_name);
            identity.groups.insert(0, first);
        }
        identity.groups.extend(&self.others);
        let mut known = Vec::new();
        identity.groups.retain(|group| {
            let new = !known.contains(group);
            known.push(*group);
            new
        });
        identity
    }
}

impl Manager {
    /// Ends the hold on the groups of other dynamic users.
    pub(super) fn let_go_of(&self, held: &[Uid], by: &HeldBy) {
        for uid in held {
            log_failure(self.holder_ended(*uid, by));
        }
    }

    /// Finds the groups that a service asks for, and holds those that exist only as long as somebody does: what is
    /// held stands in `groups` also where something fails.
    ///
    /// # Errors
    /// Of [`Stage::Group`].
    pub(super) fn find_groups(
        &self,
        spec: &Spec,
        by: &HeldBy,
        claim: &Claim,
        groups: &mut Groups,
    ) -> Result<(), Failure> {
        let settings = spec.settings();
        let own = spec.user().as_str();
        if let Some(name) = settings.group.as_deref().filter(|name| *name != own) {
            let gid = self.group(spec, name, by, claim, true, &mut groups.held)?;
            groups.first = Some(gid);
            let dynamic = groups.held.iter().any(|held| held.get() == gid);
            groups.first_name = dynamic.then(|| name.into());
        }
        for name in settings.groups.iter().filter(|name| *name != own) {
            let gid = self.group(spec, name, by, claim, false, &mut groups.held)?;
            groups.others.push(gid);
        }
        let all = groups.first.iter().chain(&groups.others);
        self.table().note_groups(claim.uid, all.copied())?;
        self.spread_news();
        Ok(())
    }

    /// The number of a group. `make`: a dynamic user of that name is made if there is none.
    fn group(
        &self,
        spec: &Spec,
        name: &str,
        by: &HeldBy,
        claim: &Claim,
        make: bool,
        held: &mut Vec<Uid>,
    ) -> Result<u32, Failure> {
        let subject = || format!("group {name}");
        let refused = |why: &str| Err(Failure::new(Stage::Group, subject(), why));
        let none_for_a_service = || {
            let why = "is no group for a service: root's, nobody's, or no number of a group at all";
            Failure::new(Stage::Group, subject(), why)
        };
        if let Ok(number) = name.parse::<u32>() {
            return match self.config().ranges.contains(number) {
                true => refused("is a number that dynamic users have; name the user"),
                false => of_the_host(spec, number).ok_or_else(none_for_a_service),
            };
        }
        let request = Request {
            service: spec.service().to_string(),
            properties: vec![("User".into(), name.into())],
        };
        // What is no name of a dynamic user may be one of a group of the host.
        let other = Spec::check(&request);
        let lives = other.as_ref().is_ok_and(|other| {
            matches!(self.table().standing(other.user()), Standing::Live(claim) if claim.dynamic)
        });
        if !lives {
            let question = Question {
                name: Some(name.into()),
                number: None,
            };
            let deadline = self.config().name_service_timeout;
            let answer = ask(question).and_then(|asked| asked.answer(deadline));
            // A number of the range is that of a user that was just going, or systemd's.
            let known = answer.or_fail(Stage::Group, subject())?.group;
            match known.filter(|gid| !self.config().ranges.contains(*gid)) {
                Some(gid) => return of_the_host(spec, gid).ok_or_else(none_for_a_service),
                None if make => {}
                None => return refused("there is no such group, nor a dynamic user of that name"),
            }
        }
        let other = other?;
        let theirs = self.claim(&other, by)?;
        held.push(theirs.uid);
        // Nothing is made for it, and from here on it ends with whoever asked.
        self.table().equipped(by);
        self.table().note_use(claim.uid, theirs.uid)?;
        Ok(theirs.uid.get())
    }

    /// Waits until nobody has the group of a user that is about to end: who had it by asking for it ends at the same
    /// time, and its processes must be gone first.
    ///
    /// Users who have each other's groups would wait for each other for ever: there everybody ends his own processes first,
    /// and waits for those of the others.
    ///
    /// # Errors
    /// Those of ending its processes.
    pub(super) fn wait_for_members(&self, lease: &Lease) -> Result<(), Failure> {
        let uid = lease.uid;
        let deadline = Instant::now().checked_add(PATIENCE);
        let mut table = self.table();
        loop {
            let is_over = deadline.is_none_or(|deadline| Instant::now() >= deadline);
            let members = table.leases().filter(|member| {
                let counts = match member.state {
                    State::Running => !is_over,
                    State::Ending => true,
                    State::Quarantined => false,
                };
                counts && member.uid != uid && member.uses.contains(&uid)
            });
            let (knotted, others): (Vec<u32>, Vec<u32>) = members
                .map(|member| member.uid)
                .partition(|member| reaches(&table, uid, *member));
            if others.is_empty() && knotted.iter().all(|member| table.quiet.contains(member)) {
                return Ok(());
            }
            if !knotted.is_empty() && !table.quiet.contains(&uid) {
                drop(table);
                release::stop_processes(lease)?;
                table = self.table();
                table.quiet.insert(uid);
                self.changed.notify_all();
                continue;
            }
            // Of a user who goes on, with the services of others: nobody there asks for the group any more.
            let is_lost = |member: &u32| table.has_lost_group(*member, uid);
            if knotted.is_empty() && others.iter().all(is_lost) {
                drop(table);
                if is_nobodys(uid).or_fail(Stage::Group, &lease.name)? {
                    return Ok(());
                }
                table = self.table();
            }
            table = self.wait(table);
        }
    }
}

/// Whether no process has a number, in any way.
fn is_nobodys(number: u32) -> SysResult<bool> {
    Ok(holding(number)?.is_empty() && sharing_group(number)?.is_empty())
}

/// Whether processes of a lease have the group of another one's user, or of one who has it, and so on.
fn reaches(table: &Table, from: u32, to: u32) -> bool {
    let mut known = BTreeSet::new();
    let mut next = vec![from];
    while let Some(here) = next.pop() {
        let uses = table.leases().find(|lease| lease.uid == here);
        let uses = uses.map(|lease| lease.uses.as_slice()).unwrap_or_default();
        if uses.contains(&to) {
            return true;
        }
        next.extend(uses.iter().filter(|uid| known.insert(**uid)));
    }
    false
}
