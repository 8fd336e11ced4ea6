//! The table of names in /run, which every program of the host reads through the NSS module.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, OrFail, Stage};
use crate::layout::{BY_NAME, BY_UID, USERS};
use crate::lease::Lease;
use crate::sys::gone;

/// Makes the name of a lease known to everybody on the host.
///
/// # Errors
/// Of [`Stage::User`].
pub fn publish(name: &str, uid: u32) -> Result<(), Failure> {
    for (link, target) in links(name, uid) {
        match symlink(&target, &link) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // Of an earlier start under the same lease; another target cannot be trusted.
                let found =
                    fs::read_link(&link).or_fail(Stage::User, link.display().to_string())?;
                if found != Path::new(&target) {
                    return Err(Failure::new(
                        Stage::User,
                        link.display().to_string(),
                        format!("says {} already", found.display()),
                    ));
                }
            }
            made => made.or_fail(Stage::User, link.display().to_string())?,
        }
    }
    Ok(())
}

/// Makes the name unknown again. One that means another number by now stays: a name whose number
/// is in quarantine may have got another.
///
/// # Errors
/// Of [`Stage::User`].
pub fn withdraw(name: &str, uid: u32) -> Result<(), Failure> {
    for (link, target) in links(name, uid) {
        let removed = match fs::read_link(&link) {
            Ok(found) if found != Path::new(&target) => Ok(()),
            Ok(_) => gone(fs::remove_file(&link)),
            Err(error) => gone(Err(error)),
        };
        removed.or_fail(Stage::User, link.display().to_string())?;
    }
    Ok(())
}

/// Removes every name that does not mean one of `leases`.
///
/// # Errors
/// Of [`Stage::Daemon`].
pub fn withdraw_all_but<'a>(leases: impl Iterator<Item = &'a Lease>) -> Result<(), Failure> {
    let known: HashMap<PathBuf, String> = leases
        .flat_map(|lease| links(&lease.name, lease.uid))
        .collect();
    for entry in fs::read_dir(USERS).or_fail(Stage::Daemon, USERS)? {
        let path = entry.or_fail(Stage::Daemon, USERS)?.path();
        let right = known.get(&path).is_some_and(|target| {
            fs::read_link(&path).is_ok_and(|found| found == Path::new(target))
        });
        if !right {
            gone(fs::remove_file(&path)).or_fail(Stage::Daemon, path.display().to_string())?;
        }
    }
    Ok(())
}

fn links(name: &str, uid: u32) -> [(PathBuf, String); 2] {
    let users = Path::new(USERS);
    [
        (users.join(format!("{BY_UID}{uid}")), name.into()),
        (users.join(format!("{BY_NAME}{name}")), uid.to_string()),
    ]
}
