//! Which shell somebody gets who joins a service.

use std::ffi::OsStr;
use std::path::Path;

use rustix::fs::FileType;

use crate::sys::SysResult;
use crate::sys::fs::{path_of, pin_trusted, pin_without_links, status};

/// What is there on every host.
const FALLBACK: &str = "/bin/sh";

/// The caller's own shell, if it is there in the file system that we are in, or sh(1). For `root` only one that nobody but
/// root can have put there: a service may have a place of its own where the host has a program.
pub(super) fn find(asked: Option<&OsStr>, root: bool) -> Option<String> {
    let asked = asked.and_then(OsStr::to_str);
    let mut shells = asked.into_iter().chain([FALLBACK]);
    let good = |shell: &&str| match root {
        true => is_roots_alone(shell).unwrap_or(false),
        false => is_program(shell),
    };
    shells.find(good).map(str::to_owned)
}

fn is_program(shell: &str) -> bool {
    let found = pin_trusted(shell).and_then(status);
    shell.starts_with('/')
        && found.is_ok_and(|it| it.kind == FileType::RegularFile && it.mode & 0o111 != 0)
}

/// Whether a path leads, over links of root's alone, to a program that is root's alone, in folders that are.
fn is_roots_alone(shell: &str) -> SysResult<bool> {
    if !is_program(shell) {
        return Ok(false);
    }
    let real = path_of(pin_trusted(shell)?)?;
    for part in real.ancestors() {
        let found = status(pin_without_links(part)?)?;
        if found.uid != 0 || found.mode & 0o022 != 0 {
            return Ok(false);
        }
    }
    Ok(real != Path::new("/"))
}
