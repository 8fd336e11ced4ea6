//! Conditions about files.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};

use super::{boolean, text};
use crate::conditions::{braces, matches};
use crate::sys::fs::is_mount_point as is_mounted;

/// Patterns that one with braces may stand for.
const MOST_PATTERNS: usize = 256;

/// Names that are looked at for one pattern.
const MOST_NAMES: usize = 1_000_000;

/// What is at a path, or where the link there leads; `None` if nothing is.
fn found(path: &str) -> Result<Option<Metadata>, String> {
    there(path, fs::metadata(path))
}

fn there<T>(path: &str, found: std::io::Result<T>) -> Result<Option<T>, String> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(format!("{path}: {error}")),
    }
}

pub(super) fn exists(path: &str) -> Result<bool, String> {
    Ok(found(path)?.is_some())
}

pub(super) fn is_directory(path: &str) -> Result<bool, String> {
    Ok(found(path)?.is_some_and(|found| found.is_dir()))
}

pub(super) fn is_link(path: &str) -> Result<bool, String> {
    let found = there(path, fs::symlink_metadata(path))?;
    Ok(found.is_some_and(|found| found.is_symlink()))
}

pub(super) fn file_not_empty(path: &str) -> Result<bool, String> {
    Ok(found(path)?.is_some_and(|found| found.is_file() && found.len() > 0))
}

pub(super) fn file_is_executable(path: &str) -> Result<bool, String> {
    Ok(found(path)?.is_some_and(|found| found.is_file() && found.mode() & 0o111 != 0))
}

pub(super) fn directory_not_empty(path: &str) -> Result<bool, String> {
    let entries = there(path, fs::read_dir(path))?;
    match entries.and_then(|mut entries| entries.next()) {
        None => Ok(false),
        Some(Ok(_)) => Ok(true),
        Some(Err(error)) => Err(format!("{path}: {error}")),
    }
}

pub(super) fn is_mount_point(path: &str) -> Result<bool, String> {
    // An automatic mount is not set off by the question.
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, path, flags, Mode::empty());
    match there(path, opened.map_err(Into::into))? {
        None => Ok(false),
        Some(opened) => is_mounted(&opened).map_err(|error| error.to_string()),
    }
}

pub(super) fn is_read_write(path: &str) -> Result<bool, String> {
    let stat = there(path, rustix::fs::statvfs(path).map_err(Into::into))?;
    Ok(stat.is_some_and(|stat| !stat.f_flag.contains(StatVfsMountFlags::RDONLY)))
}

/// A module that is loaded or built in: both have a folder here.
pub(super) fn module(name: &str) -> Result<bool, String> {
    let name = name.replace('-', "_");
    if name.contains('/') || name.starts_with('.') {
        return Err("is no name of a module".into());
    }
    exists(&format!("/sys/module/{name}"))
}

/// Whether something matches a pattern (glob(7), with braces).
pub(super) fn some_match(pattern: &str) -> Result<bool, String> {
    let mut left = MOST_NAMES;
    for pattern in braces(pattern, MOST_PATTERNS) {
        let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
        if below("", &parts, &mut left)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn below(folder: &str, parts: &[&str], left: &mut usize) -> Result<bool, String> {
    let Some((part, rest)) = parts.split_first() else {
        // A link that leads nowhere matches too.
        let here = if folder.is_empty() { "/" } else { folder };
        return Ok(there(here, fs::symlink_metadata(here))?.is_some());
    };
    if !part.contains(['*', '?', '[', '\\']) {
        return below(&format!("{folder}/{part}"), rest, left);
    }
    let entries = there(folder, fs::read_dir(Path::new("/").join(folder)))?;
    for entry in entries.into_iter().flatten() {
        *left = left
            .checked_sub(1)
            .ok_or("matches too much to look at all of it")?;
        let entry = entry.map_err(|error| format!("{folder}: {error}"))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // Hidden names are matched by a dot alone.
        if (!name.starts_with('.') || part.starts_with('.'))
            && matches(part, &name)
            && below(&format!("{folder}/{name}"), rest, left)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether /usr is newer than the stamp in /etc or /var.
pub(super) fn needs_update(folder: &str) -> Result<bool, String> {
    let option = super::host::kernel_option("systemd.condition_needs_update")?;
    if let Some(told) = option {
        return boolean(told.as_deref().unwrap_or("yes"))
            .ok_or_else(|| "systemd.condition_needs_update= is no boolean".into());
    }
    if !folder.starts_with('/') {
        return Err("is not an absolute path".into());
    }
    // Nobody could update it.
    if exists(folder)? && !is_read_write(folder)? {
        return Ok(false);
    }
    let stamp_path = format!("{folder}/.updated");
    let stamp = there(&stamp_path, fs::symlink_metadata(&stamp_path))?;
    let (Some(stamp), Some(usr)) = (stamp, found("/usr/")?) else {
        return Ok(true);
    };
    if usr.mtime() != stamp.mtime() || usr.mtime_nsec() == 0 || stamp.mtime_nsec() > 0 {
        return Ok((usr.mtime(), usr.mtime_nsec()) > (stamp.mtime(), stamp.mtime_nsec()));
    }
    // A file system without nanoseconds: the time stands in the file as well.
    let written = text(&stamp_path)?.unwrap_or_default();
    let stamp: Option<i64> = written
        .lines()
        .find_map(|line| line.strip_prefix("TIMESTAMP_NSEC=")?.parse().ok());
    let nanoseconds = usr
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(usr.mtime_nsec());
    Ok(stamp.is_none_or(|stamp| nanoseconds > stamp))
}
