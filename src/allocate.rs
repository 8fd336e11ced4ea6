//! Choosing a number for a name: each candidate is checked the same way, and an error of a check
//! counts as taken.

use crate::failure::{Failure, OrFail, Stage};
use crate::names::UserName;
use crate::sys::ipc::Ipc;
use crate::sys::names::{User, by_name, by_number};
use crate::sys::process::holding;
use crate::uid::Uid;

/// The user of that name that the host has anyway, if there is one.
///
/// # Errors
/// Of [`Stage::User`]: when the look-up fails; when that user is root or nobody under another
/// name; when there is a group of that name but no user, because a dynamic user brings its group.
pub fn static_user(name: &UserName) -> Result<Option<(Uid, User)>, Failure> {
    let found = by_name(name.as_str()).or_fail(Stage::User, format!("user {name}"))?;
    match (found.user, found.group) {
        (Some(user), _) => match Uid::new(user.uid) {
            Some(uid) if user.gid != 0 => Ok(Some((uid, user))),
            _ => Err(Failure::new(
                Stage::User,
                format!("user {name}"),
                format!(
                    "exists with {}:{}, and root or nobody is never handed out to a service",
                    user.uid, user.gid
                ),
            )),
        },
        (None, Some(gid)) => Err(Failure::new(
            Stage::User,
            format!("user {name}"),
            format!(
                "there is a group of that name already ({gid}), but no user; choose another name with User="
            ),
        )),
        (None, None) => Ok(None),
    }
}

/// What keeps a number from being handed out, in words; `None` if nothing does.
///
/// # Errors
/// Of [`Stage::User`]: when a check failed, so that nobody can tell.
pub fn taken_by(uid: Uid, ipc: &Ipc) -> Result<Option<String>, Failure> {
    let number = uid.get();
    let subject = || format!("checking whether {uid} is free");
    if let Some(owner) = by_number(number).or_fail(Stage::User, subject())? {
        return Ok(Some(owner));
    }
    if let Some(object) = ipc.found(number).or_fail(Stage::User, subject())? {
        return Ok(Some(object));
    }
    let processes = holding(number).or_fail(Stage::User, subject())?;
    Ok(processes
        .first()
        .map(|process| format!("process {} ({})", process.pid, process.name)))
}
