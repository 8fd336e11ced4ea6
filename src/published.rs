//! The table of names in /run, which every program of the host reads through the NSS module.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, OrFail, Stage};
use crate::layout::{BY_NAME, BY_UID, RANGES, USERS};
use crate::lease::Lease;
use crate::sys::fault::{Point, reached};
use crate::sys::gone;
use crate::uid::{UidRange, UidRanges};

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
        reached(Point::NameHalfPublished);
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
        reached(Point::NameHalfWithdrawn);
    }
    Ok(())
}

/// Tells which numbers users may have, for programs that go through all of them: those of `ranges`,
/// and `others`, of leases that are older than the configuration. Where that is no news (the module
/// knows the default), nothing is told.
///
/// # Errors
/// Of [`Stage::Daemon`].
pub fn publish_ranges(
    ranges: &UidRanges,
    others: impl Iterator<Item = u32>,
) -> Result<(), Failure> {
    let others: Vec<UidRange> = others
        .filter(|number| !ranges.contains(*number))
        .filter_map(|number| UidRange::new(number, number))
        .collect();
    let all: Vec<UidRange> = ranges.usable().into_iter().chain(others).collect();
    // Too many of them: then they are found by name and number all the same.
    let told = UidRanges::new(&all, &[]).unwrap_or_else(|_| ranges.clone());
    let link = Path::new(USERS).join(RANGES);
    let subject = || link.display().to_string();
    if told == UidRanges::default() {
        return gone(fs::remove_file(&link)).or_fail(Stage::Daemon, subject());
    }
    // Replaced in one step: a reader finds the old one or the new one.
    let hidden = Path::new(USERS).join(".ranges");
    gone(fs::remove_file(&hidden))
        .and_then(|()| symlink(told.link_target(), &hidden))
        .and_then(|()| fs::rename(&hidden, &link))
        .or_fail(Stage::Daemon, subject())
}

/// Removes what [`publish_ranges`] told.
///
/// # Errors
/// Of [`Stage::Daemon`].
pub fn withdraw_ranges() -> Result<(), Failure> {
    let link = Path::new(USERS).join(RANGES);
    gone(fs::remove_file(&link)).or_fail(Stage::Daemon, link.display().to_string())
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
        if path.file_name().is_some_and(|name| name == RANGES) {
            continue;
        }
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
