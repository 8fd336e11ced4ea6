//! What the unit files on the host say of directories.

use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::directory_claims::Claims;

/// Where units are (systemd.unit(5), "Unit File Load Path"), with those that are made while the host runs.
pub const FOLDERS: [&str; 14] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
    "/usr/local/share/systemd/system",
];

/// Kinds of units that run something.
const KINDS: [&str; 4] = ["service", "socket", "mount", "swap"];

/// The largest file that is read, in bytes.
pub const LARGEST: usize = 4 * 1024 * 1024;

/// Adds what every unit file and drop-in of the host claims. Gives a sentence for each that could not be
/// read: what it names is not known.
pub fn claim(claims: &mut Claims) -> Vec<String> {
    let mut unread = Vec::new();
    for folder in FOLDERS {
        for entry in names(Path::new(folder), &mut unread) {
            let path = Path::new(folder).join(&entry);
            match entry.strip_suffix(".d") {
                None if is_unit(&entry) => read(claims, &entry, &path, &mut unread),
                Some(unit) => {
                    let Some(unit) = pattern(unit) else { continue };
                    for name in names(&path, &mut unread) {
                        if Path::new(&name).extension() == Some(OsStr::new("conf")) {
                            read(claims, &unit, &path.join(name), &mut unread);
                        }
                    }
                }
                None => {}
            }
        }
    }
    unread
}

fn is_unit(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, kind)| KINDS.contains(&kind))
}

/// The units that a drop-in folder is for: one, all whose name begins like that (`foo-.service.d`), or all of a
/// kind (`service.d`); NUL stands for any characters.
fn pattern(unit: &str) -> Option<String> {
    if KINDS.contains(&unit) {
        return Some(format!("\0.{unit}"));
    }
    if !is_unit(unit) {
        return None;
    }
    match unit.rsplit_once('.') {
        Some((stem, kind)) if stem.ends_with('-') => Some(format!("{stem}\0.{kind}")),
        _ => Some(unit.into()),
    }
}

/// The names in a folder. One that is none is read as a file later, or is no unit.
fn names(folder: &Path, unread: &mut Vec<String>) -> Vec<String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
                unread.push(format!("{}: {error}", folder.display()));
            }
            return Vec::new();
        }
    };
    let mut names = Vec::new();
    for entry in entries {
        match entry {
            // systemd takes no other names either.
            Ok(entry) => names.extend(entry.file_name().into_string().ok()),
            Err(error) => unread.push(format!("{}: {error}", folder.display())),
        }
    }
    names
}

fn read(claims: &mut Claims, unit: &str, path: &Path, unread: &mut Vec<String>) {
    match text(path) {
        Ok(Some(text)) => claims.add_unit(unit, &text, &path.display().to_string()),
        Ok(None) => {}
        Err(error) => unread.push(format!("{}: {error}", path.display())),
    }
}

/// The text of a unit file, whatever its bytes. None for what is no file: a unit that is masked points to
/// /dev/null, and one whose package is gone to nothing.
fn text(path: &Path) -> std::io::Result<Option<String>> {
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    if !found.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(u64::try_from(LARGEST).unwrap_or(u64::MAX))
        .read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_in_is_for_one_unit_or_for_many() {
        for (folder, expected) in [
            ("foo.service", Some("foo.service")),
            ("foo@.service", Some("foo@.service")),
            ("foo-.service", Some("foo-\0.service")),
            ("service", Some("\0.service")),
            ("multi-user.target", None),
            ("foo", None),
        ] {
            assert_eq!(pattern(folder).as_deref(), expected, "{folder}");
        }
    }
}
