//! Writing a service definition (see [`crate::import`]) into a directory: each file whole or not at all, a new
//! directory with all that is in it or not at all, and nothing over what somebody else has written.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use crate::failure::{Failure, OrFail, Stage};
use crate::import::{Definition, File, MARK, MARKED};
use crate::sys::file::{remove_file, replace_whole_with};
use crate::sys::{SysResult, entries, fs};

/// What a definition in a directory may consist of: programs, which are marked, and settings, which cannot be.
const PROGRAMS: [&str; 4] = ["run", "up", "finish", "control/t"];
const SETTINGS: [&str; 4] = ["type", "notification-fd", "timeout-kill", "timeout-finish"];

/// No definition is longer, in bytes: what is, is somebody else's.
const LONGEST: usize = 1024 * 1024;

/// Writes `definition` into the directory `folder`, which is there. The answer is the paths of what was written.
///
/// # Errors
/// Of [`Stage::Request`]: the calls'; a file that has no [`MARK`] in it, unless `force` says that it may go.
pub fn write(folder: &str, definition: &Definition, force: bool) -> Result<Vec<String>, Failure> {
    let dir = fs::open_named_directory(folder).or_fail(Stage::Request, folder)?;
    let place = Place { dir, folder, force };
    match definition.files.as_slice() {
        [file] if file.path == definition.name => place.file(&file.path, file)?,
        _ => place.directory(definition)?,
    }
    let paths = definition.files.iter();
    Ok(paths
        .map(|file| format!("{folder}/{}", file.path))
        .collect())
}

struct Place<'a> {
    dir: OwnedFd,
    folder: &'a str,
    force: bool,
}

impl Place<'_> {
    fn fail<T>(&self, path: &str, result: SysResult<T>) -> Result<T, Failure> {
        result.or_fail(Stage::Request, format!("{}/{path}", self.folder))
    }

    /// Refuses to replace what was not written here.
    fn refuse_strange(&self, path: &str) -> Result<(), Failure> {
        if self.force || self.fail(path, is_marked(&self.dir, path))? != Some(false) {
            return Ok(());
        }
        let why = "is there already, and was not written by dynuser import: --force replaces it";
        Err(Failure::new(
            Stage::Request,
            format!("{}/{path}", self.folder),
            why,
        ))
    }

    fn file(&self, path: &str, file: &File) -> Result<(), Failure> {
        self.refuse_strange(path)?;
        self.fail(path, put(&self.dir, path, file))
    }

    fn directory(&self, definition: &Definition) -> Result<(), Failure> {
        let name = definition.name.as_str();
        match fs::open_beneath(&self.dir, name) {
            Ok(there) => self.renew(&there, definition),
            Err(error) if error.errno == Errno::NOENT => {
                let all = definition.files.iter();
                let made = self.make(name, all);
                self.fail(name, made)
            }
            Err(error) if matches!(error.errno, Errno::LOOP | Errno::NOTDIR) => {
                let why = "is there already, and no directory: remove it first";
                let path = format!("{}/{name}", self.folder);
                Err(Failure::new(Stage::Request, path, why))
            }
            failed => self.fail(name, failed.map(drop)),
        }
    }

    /// A new one: beside its place, under a name that every supervisor passes over, and then there with all in it.
    fn make<'f>(&self, name: &str, all: impl Iterator<Item = &'f File>) -> SysResult<()> {
        let beside = format!(".{name}.new");
        let dir = enter(&self.dir, &beside)?;
        for file in all {
            put(&dir, inner(file, name), file)?;
        }
        entries::rename_to_nothing((&self.dir, &beside), (&self.dir, name))
    }

    /// One that is there, and in use: a supervisor has its own things in it, and keeps them.
    fn renew(&self, there: &OwnedFd, definition: &Definition) -> Result<(), Failure> {
        let name = definition.name.as_str();
        let mut ours = self.force;
        for marked in MARKED {
            ours |= self.fail(name, is_marked(there, marked))? == Some(true);
        }
        if !ours {
            let why =
                "is there already, and was not written by dynuser import: --force writes into it";
            let path = format!("{}/{name}", self.folder);
            return Err(Failure::new(Stage::Request, path, why));
        }
        let files = definition.files.iter();
        for file in files.clone().filter(|file| file.is_program) {
            self.refuse_strange(&file.path)?;
        }
        for file in files.clone() {
            self.fail(&file.path, put(there, inner(file, name), file))?;
        }
        let written: Vec<&str> = files.map(|file| inner(file, name)).collect();
        for path in PROGRAMS.into_iter().chain(SETTINGS) {
            let old = !written.contains(&path);
            let ours =
                SETTINGS.contains(&path) || self.fail(path, is_marked(there, path))? == Some(true);
            if old && ours {
                self.fail(path, remove(there, path))?;
            }
        }
        Ok(())
    }
}

/// The path of a file within its definition's directory.
fn inner<'f>(file: &'f File, name: &str) -> &'f str {
    let inner = file.path.strip_prefix(name);
    inner
        .and_then(|path| path.strip_prefix('/'))
        .unwrap_or(&file.path)
}

/// Whether a file has the mark; `None` if there is none. What is no file has no mark.
fn is_marked(dir: impl AsFd, path: &str) -> SysResult<Option<bool>> {
    let file = match fs::open_file_beneath(dir, path) {
        Err(error) if error.errno == Errno::NOENT => return Ok(None),
        Err(error) if matches!(error.errno, Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => {
            return Ok(Some(false));
        }
        file => file?,
    };
    let text = match fs::read_at_most(&file, LONGEST) {
        Err(error) if error.errno == Errno::ISDIR => return Ok(Some(false)),
        text => text?.unwrap_or_default(),
    };
    // The first line may be the interpreter's.
    let mut lines = text.split(|byte| *byte == b'\n').take(2);
    Ok(Some(lines.any(|line| line.starts_with(MARK.as_bytes()))))
}

/// The directory `name` in `dir`, made if it is not there.
fn enter(dir: impl AsFd, name: &str) -> SysResult<OwnedFd> {
    match fs::make_directory(&dir, name) {
        Err(error) if error.errno == Errno::EXIST => fs::open_beneath(dir, name),
        made => {
            let made = made?;
            fs::set_mode(&made, 0o755)?;
            Ok(made)
        }
    }
}

/// Writes one file, whole. A link in its place is replaced, never followed.
fn put(dir: impl AsFd, path: &str, file: &File) -> SysResult<()> {
    let mode = if file.is_program { 0o755 } else { 0o644 };
    let text = file.text.as_bytes();
    match path.split_once('/') {
        Some((folder, name)) => replace_whole_with(enter(dir, folder)?, name, text, mode),
        None => replace_whole_with(dir, path, text, mode),
    }
}

fn remove(dir: impl AsFd, path: &str) -> SysResult<()> {
    match path.split_once('/') {
        Some((folder, name)) => match fs::open_beneath(dir, folder) {
            Err(error) if error.errno == Errno::NOENT => Ok(()),
            folder => remove_file(folder?, name),
        },
        None => remove_file(dir, path),
    }
}
