//! Users and groups as systemd writes them (USER_RECORD, GROUP_RECORD), and the messages around them.

use serde::Serialize;

use super::SERVICE;
use crate::layout::{GECOS, SHELL};
use crate::user_record::Record;

/// Fourth field of the record of a group, as systemd has it.
const DESCRIPTION: &str = "Dynamic Group";

/// What both records say of where they come from: systemd never caches, checks or changes what is dynamic.
const DISPOSITION: &str = "dynamic";

/// The record of a user.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User<'r> {
    user_name: &'r str,
    uid: u32,
    gid: u32,
    real_name: &'static str,
    home_directory: &'r str,
    shell: &'static str,
    locked: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    member_of: &'r [String],
    service: &'static str,
    disposition: &'static str,
}

impl<'r> User<'r> {
    /// `groups`: the names of its other groups.
    pub(super) fn new(record: &'r Record, groups: &'r [String]) -> Self {
        Self {
            user_name: &record.name,
            uid: record.uid,
            gid: record.uid,
            real_name: GECOS,
            home_directory: home(&record.home),
            shell: SHELL,
            locked: true,
            member_of: groups,
            service: SERVICE,
            disposition: DISPOSITION,
        }
    }
}

/// The home directory as it is told: systemd takes no record with one that could be written shorter.
fn home(path: &str) -> &str {
    let mut parts = path.strip_prefix('/').unwrap_or_default().split('/');
    let is_normal = parts.all(|part| !matches!(part, "" | "." | ".."));
    if is_normal { path } else { "/" }
}

/// The record of a group.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group<'r> {
    group_name: &'r str,
    description: &'static str,
    gid: u32,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    members: &'r [String],
    service: &'static str,
    disposition: &'static str,
}

impl<'r> Group<'r> {
    pub(super) fn new(record: &'r Record) -> Self {
        Self {
            group_name: &record.name,
            description: DESCRIPTION,
            gid: record.uid,
            members: &record.members,
            service: SERVICE,
            disposition: DISPOSITION,
        }
    }
}

/// That a user is in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Membership {
    pub(super) user_name: String,
    pub(super) group_name: String,
}

/// What a call gets, when it gets a record.
#[derive(Serialize)]
pub(super) struct WithRecord<R> {
    pub(super) record: R,
}

#[derive(Serialize)]
struct Reply<P> {
    parameters: P,
    #[serde(skip_serializing_if = "is_false")]
    continues: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A reply, with its NUL. `continues`: it is not the last one.
pub(super) fn reply(parameters: impl Serialize, continues: bool) -> Vec<u8> {
    message(&Reply {
        parameters,
        continues,
    })
}

/// A message, with its NUL.
pub(super) fn message(content: &impl Serialize) -> Vec<u8> {
    // What is written here has strings for keys and no other way to fail. An empty message ends the connection.
    let mut bytes = serde_json::to_vec(content).unwrap_or_default();
    bytes.push(0);
    bytes
}
