//! The table of names in /run, which every program of the host reads through the NSS module.
//!
//! What stands in it is text (`user_text.rs`): the daemon reads its own table for those who cannot read it themselves.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, OrFail, Stage};
use crate::layout::{BY_NAME, BY_UID, RANGES, USERS, is_strict_user_name};
use crate::lease::Lease;
use crate::sys::fault::{Point, reached};
use crate::sys::gone;
use crate::uid::{UidRange, UidRanges};
use crate::user_record::Record;
use crate::user_text::number;

/// The user of a name, as everybody finds it.
///
/// # Errors
/// Those of readlink(2), but that there is none.
pub fn by_name(name: &str) -> io::Result<Option<Record>> {
    if !is_strict_user_name(name.as_bytes()) {
        return Ok(None);
    }
    let [_, link] = paths(name, 0);
    let target = read(&link)?;
    Ok(target.and_then(|target| Record::read_behind_name(name, target.as_os_str().as_bytes())))
}

/// The user of a number, as everybody finds it.
///
/// # Errors
/// As [`by_name`].
pub fn by_uid(uid: u32) -> io::Result<Option<Record>> {
    let [link, _] = paths("", uid);
    let target = read(&link)?;
    Ok(target.and_then(|target| Record::read_behind_number(uid, target.as_os_str().as_bytes())))
}

/// All users, by number.
///
/// # Errors
/// Those of readdir(3) and readlink(2), but that there is no table.
pub fn all() -> io::Result<Vec<Record>> {
    let found = numbers()?.into_iter().map(by_uid);
    found.filter_map(Result::transpose).collect()
}

/// The numbers of all users, sorted: for those who look at one after the other, and keep none.
///
/// # Errors
/// Those of readdir(3), but that there is no table.
pub fn numbers() -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    let entries = match fs::read_dir(USERS) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(numbers),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        let uid = name.as_bytes().strip_prefix(BY_UID.as_bytes());
        numbers.extend(uid.and_then(number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// What a link says; nothing where there is no link.
fn read(link: &Path) -> io::Result<Option<PathBuf>> {
    match fs::read_link(link) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
            Ok(None)
        }
        target => target.map(Some),
    }
}

/// Whether a link is about that name, or number, whatever else it says.
fn has_key(target: &Path, key: &str) -> bool {
    let target = target.as_os_str().as_bytes();
    target.split(|byte| *byte == b':').next() == Some(key.as_bytes())
}

/// Makes the name of a lease known to everybody on the host.
///
/// # Errors
/// Of [`Stage::User`].
pub fn publish(record: &Record) -> Result<(), Failure> {
    for (link, target) in links(record) {
        let subject = || link.display().to_string();
        match symlink(&target, &link) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // Of an earlier start under the same lease; another one cannot be trusted.
                let found = fs::read_link(&link).or_fail(Stage::User, subject())?;
                if !has_key(&found, key(&target)) {
                    let why = format!("says {} already", found.display());
                    return Err(Failure::new(Stage::User, subject(), why));
                }
                replace(&link, &found, &target).or_fail(Stage::User, subject())?;
            }
            made => made.or_fail(Stage::User, subject())?,
        }
        reached(Point::NameHalfPublished);
    }
    Ok(())
}

/// Tells what is new of a user. One that is not known (any more, or yet) stays so. Not for two threads at once.
///
/// Gives whether there was anything new.
///
/// # Errors
/// Of [`Stage::User`].
pub fn renew(record: &Record) -> Result<bool, Failure> {
    let mut news = false;
    for (link, target) in links(record) {
        let renewed = read(&link).and_then(|found| match found {
            Some(found) if has_key(&found, key(&target)) => replace(&link, &found, &target),
            _ => Ok(false),
        });
        news |= renewed.or_fail(Stage::User, link.display().to_string())?;
        reached(Point::NameHalfRenewed);
    }
    Ok(news)
}

/// Lets a link say something else, in one step: a reader finds the old one or the new one.
fn replace(link: &Path, found: &Path, target: &str) -> io::Result<bool> {
    if found == Path::new(target) {
        return Ok(false);
    }
    let mut hidden = OsStr::new(".").to_owned();
    hidden.push(link.file_name().unwrap_or_default());
    let hidden = link.with_file_name(hidden);
    gone(fs::remove_file(&hidden))?;
    symlink(target, &hidden)?;
    fs::rename(&hidden, link)?;
    Ok(true)
}

/// The first word of a target.
fn key(target: &str) -> &str {
    target.split(':').next().unwrap_or_default()
}

/// Makes the name unknown again. One that means another number by now stays: a name whose number
/// is in quarantine may have got another.
///
/// # Errors
/// Of [`Stage::User`].
pub fn withdraw(name: &str, uid: u32) -> Result<(), Failure> {
    let keys = [name.to_owned(), uid.to_string()];
    for (link, key) in paths(name, uid).into_iter().zip(keys) {
        let removed = match fs::read_link(&link) {
            Ok(found) if !has_key(&found, &key) => Ok(()),
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
        .flat_map(|lease| {
            let keys = [lease.name.clone(), lease.uid.to_string()];
            paths(&lease.name, lease.uid).into_iter().zip(keys)
        })
        .collect();
    for entry in fs::read_dir(USERS).or_fail(Stage::Daemon, USERS)? {
        let path = entry.or_fail(Stage::Daemon, USERS)?.path();
        if path.file_name().is_some_and(|name| name == RANGES) {
            continue;
        }
        let right = known
            .get(&path)
            .is_some_and(|key| fs::read_link(&path).is_ok_and(|found| has_key(&found, key)));
        if !right {
            gone(fs::remove_file(&path)).or_fail(Stage::Daemon, path.display().to_string())?;
        }
    }
    Ok(())
}

/// The two links of a user, with what they say.
fn links(record: &Record) -> [(PathBuf, String); 2] {
    let [by_uid, by_name] = paths(&record.name, record.uid);
    [
        (by_uid, record.behind_number()),
        (by_name, record.behind_name()),
    ]
}

/// The links of a number and of a name.
fn paths(name: &str, uid: u32) -> [PathBuf; 2] {
    let users = Path::new(USERS);
    [
        users.join(format!("{BY_UID}{uid}")),
        users.join(format!("{BY_NAME}{name}")),
    ]
}
