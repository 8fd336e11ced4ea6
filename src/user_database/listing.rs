//! Many replies to one call, a step at a time: what is kept of them is one, however slowly they are read.

use super::records::{Group, Membership, User, WithRecord, reply};
use super::{Table, Unavailable, is_group_name};
use crate::user_record::Record;

/// What is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Users,
    Groups,
    Memberships,
    /// Who is in this group of the host, by number and by the name that was asked for.
    Members(u32, String),
}

/// What one step gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A message that is not the last one.
    Message(Vec<u8>),
    /// Nothing: somebody who is not to be listed.
    Nothing,
    /// The last message.
    Last(Vec<u8>),
    /// There was nothing to list at all.
    None,
    /// There is more than one, and the client takes no more.
    TooMany,
    /// The table cannot be read, or not any more.
    Unavailable,
}

/// A list that is being told. Whoever comes or goes meanwhile may or may not be in it; all others are.
#[derive(Debug)]
pub struct Listing {
    what: What,
    /// The client takes more than one reply.
    more: bool,
    /// Who has not been looked at; `None` before the first step, which is the one that takes longest.
    uids: Option<std::vec::IntoIter<u32>>,
    /// Of the one who was looked at last.
    memberships: std::vec::IntoIter<Membership>,
    /// What is to be told next, when it is known whether it is the last.
    kept: Option<Kept>,
}

#[derive(Debug)]
enum Kept {
    Record(Record),
    Membership(Membership),
}

impl Listing {
    pub(super) fn new(what: What, more: bool) -> Self {
        Self {
            what,
            more,
            uids: None,
            memberships: Vec::new().into_iter(),
            kept: None,
        }
    }

    /// A list of these alone.
    pub(super) fn of(memberships: Vec<Membership>, more: bool) -> Self {
        Self {
            uids: Some(Vec::new().into_iter()),
            memberships: memberships.into_iter(),
            ..Self::new(What::Memberships, more)
        }
    }

    /// Looks at one user more. Not to be called after the last message.
    pub fn step(&mut self, table: &impl Table) -> Step {
        if let Some(membership) = self.memberships.next() {
            return self.tell(Some(Kept::Membership(membership)), table);
        }
        let Some(uids) = &mut self.uids else {
            return match table.uids() {
                Ok(uids) => {
                    self.uids = Some(uids.into_iter());
                    Step::Nothing
                }
                Err(Unavailable) => Step::Unavailable,
            };
        };
        let Some(uid) = uids.next() else {
            return self.tell(None, table);
        };
        match table.by_uid(uid) {
            Ok(None) => Step::Nothing,
            Ok(Some(record)) => match &self.what {
                What::Users | What::Groups => self.tell(Some(Kept::Record(record)), table),
                What::Memberships => {
                    self.memberships = memberships(&record, table).into_iter();
                    Step::Nothing
                }
                What::Members(gid, _) if !record.groups.contains(gid) => Step::Nothing,
                What::Members(_, name) => {
                    let membership = Membership {
                        user_name: record.name,
                        group_name: name.clone(),
                    };
                    self.tell(Some(Kept::Membership(membership)), table)
                }
            },
            Err(Unavailable) => Step::Unavailable,
        }
    }

    /// Keeps the next one, and tells the one before it.
    fn tell(&mut self, next: Option<Kept>, table: &impl Table) -> Step {
        let continues = next.is_some();
        let Some(kept) = std::mem::replace(&mut self.kept, next) else {
            return if continues { Step::Nothing } else { Step::None };
        };
        if continues && !self.more {
            return Step::TooMany;
        }
        let message = match &kept {
            Kept::Membership(membership) => reply(membership, continues),
            Kept::Record(record) if self.what == What::Groups => group(record, continues),
            Kept::Record(record) => user(record, table, continues),
        };
        if continues {
            Step::Message(message)
        } else {
            Step::Last(message)
        }
    }
}

/// The message with the record of a user.
pub(super) fn user(record: &Record, table: &impl Table, continues: bool) -> Vec<u8> {
    let groups: Vec<String> = memberships(record, table)
        .into_iter()
        .map(|membership| membership.group_name)
        .collect();
    let record = User::new(record, &groups);
    reply(WithRecord { record }, continues)
}

/// The message with the record of a group.
pub(super) fn group(record: &Record, continues: bool) -> Vec<u8> {
    let record = Group::new(record);
    reply(WithRecord { record }, continues)
}

/// In which groups a user is besides its own: those whose names are known. One that has no name here (of a directory
/// server, say) is not told: systemd wants names, and nobody is asked from here.
pub(super) fn memberships(record: &Record, table: &impl Table) -> Vec<Membership> {
    let groups = record.groups.iter();
    groups
        .filter_map(|gid| group_name(*gid, table))
        .map(|group_name| Membership {
            user_name: record.name.clone(),
            group_name,
        })
        .collect()
}

/// The name of a group: of one of our users, else of the host.
fn group_name(gid: u32, table: &impl Table) -> Option<String> {
    match table.by_uid(gid) {
        Ok(Some(record)) => Some(record.name),
        _ => table
            .host_group_name(gid)
            .filter(|name| is_group_name(name)),
    }
}
