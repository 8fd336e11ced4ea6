//! The files of `EnvironmentFile=`.

use std::io::Read;

use rustix::io::Errno;

use super::report;
use crate::command_text::Privilege;
use crate::directives::EnvironmentFile;
use crate::environment_text;
use crate::failure::{Failure, OrFail, Stage};
use crate::sys::fs::{self as files, open_file_trusted};

/// The largest file of variables that is read, in bytes.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// What a file of variables says.
pub(super) fn read_variables(
    file: &EnvironmentFile,
    privilege: Privilege,
) -> Result<Vec<(String, String)>, Failure> {
    let path = &file.path;
    // Root reads it: in a directory of the service's it may be a link to anything.
    let opened = match open_file_trusted(path) {
        Err(error) if file.may_be_missing && error.errno == Errno::NOENT => return Ok(Vec::new()),
        opened => opened.or_fail(Stage::Request, path)?,
    };
    let status = files::status(&opened).or_fail(Stage::Request, path)?;
    let is_roots = status.uid == 0 && status.mode & 0o022 == 0;
    if !is_roots && matches!(privilege, Privilege::Full | Privilege::KeepsRoot) {
        // LD_PRELOAD= would be enough.
        let why = "is not root's alone, and a command that stays root would have what it says";
        return Err(Failure::new(Stage::Request, path, why));
    }
    let mut text = String::new();
    let read = opened
        .take(LARGEST_FILE.saturating_add(1))
        .read_to_string(&mut text);
    let length = read.or_fail(Stage::Request, path)?;
    if u64::try_from(length).map_or(true, |length| length > LARGEST_FILE) {
        let why = format!("is larger than {LARGEST_FILE} bytes");
        return Err(Failure::new(Stage::Request, path, why));
    }
    let found = environment_text::parse(&text).or_fail(Stage::Request, path)?;
    for warning in found.warnings {
        report::say(&format!("dynuser: {path}: {warning}; passed over"));
    }
    Ok(found.assignments)
}
