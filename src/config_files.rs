//! Reading the configuration: only what nobody but root can have written.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::config::{self, Config, DROP_INS, FILE, FOLDER};
use crate::failure::{Failure, OrFail, Stage};
use crate::sys::fs::{
    file_names, open_beneath, open_file_beneath, open_trusted, read_at_most, status,
};
use crate::sys::{SysError, SysResult};

/// What the name of a file in [`DROP_INS`] ends in.
const SUFFIX: &str = ".conf";

/// The largest file that is read, in bytes.
const LARGEST: usize = 1024 * 1024;

/// Reads and checks the configuration. Files that are not there mean the defaults.
///
/// # Errors
/// Of [`Stage::Daemon`]: a file that somebody else can write, that cannot be read, or that says
/// something wrong (all of it, a line each).
pub fn load() -> Result<Config, Failure> {
    config::parse(&texts()?).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Failure::new(Stage::Daemon, "configuration", lines.join("\n"))
    })
}

/// The files with their texts, in the order in which they count.
///
/// # Errors
/// As [`load`], for what is wrong with the files themselves.
pub fn texts() -> Result<Vec<(String, String)>, Failure> {
    let Some(folder) = unless_missing(open_trusted(FOLDER)).or_fail(Stage::Daemon, FOLDER)? else {
        return Ok(Vec::new());
    };
    refuse_others(&folder, FOLDER, FileType::Directory)?;
    let mut texts = Vec::new();
    let path = format!("{FOLDER}/{FILE}");
    texts.extend(read(&folder, FILE, &path)?.map(|text| (path, text)));

    let path = format!("{FOLDER}/{DROP_INS}");
    let drop_ins = unless_missing(open_beneath(&folder, DROP_INS))
        .map_err(|error| unreadable(&path, error))?;
    if let Some(drop_ins) = drop_ins {
        refuse_others(&drop_ins, &path, FileType::Directory)?;
        // Hidden files are an editor's, as to systemd.
        let mut names = file_names(&drop_ins).or_fail(Stage::Daemon, &path)?;
        names.retain(|name| name.ends_with(SUFFIX) && !name.starts_with('.'));
        names.sort_unstable();
        for name in names {
            let path = format!("{path}/{name}");
            texts.extend(read(&drop_ins, &name, &path)?.map(|text| (path, text)));
        }
    }
    Ok(texts)
}

/// The text of one file; `None` if it is not there.
fn read(folder: &OwnedFd, name: &str, path: &str) -> Result<Option<String>, Failure> {
    let opened = open_file_beneath(folder, name);
    let Some(file) = unless_missing(opened).map_err(|error| unreadable(path, error))? else {
        return Ok(None);
    };
    refuse_others(&file, path, FileType::RegularFile)?;
    let Some(bytes) = read_at_most(&file, LARGEST).or_fail(Stage::Daemon, path)? else {
        let why = format!("is larger than {LARGEST} bytes, which is no configuration");
        return Err(Failure::new(Stage::Daemon, path, why));
    };
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let valid = error
            .as_bytes()
            .iter()
            .take(error.utf8_error().valid_up_to());
        let line = valid
            .filter(|byte| **byte == b'\n')
            .count()
            .saturating_add(1);
        let subject = format!("{path}:{line}");
        Failure::new(
            Stage::Daemon,
            subject,
            "is not UTF-8 text from this line on",
        )
    })
}

/// Refuses what somebody else could have written, or what is something else. Asked of the
/// descriptor that is read from then on, so nobody can put another file in its place meanwhile.
fn refuse_others(fd: impl AsFd, path: &str, kind: FileType) -> Result<(), Failure> {
    let refused = |why: String| Err(Failure::new(Stage::Daemon, path, why));
    let found = status(fd).or_fail(Stage::Daemon, path)?;
    if found.kind != kind {
        let what = if kind == FileType::Directory {
            "is no folder"
        } else {
            "is no regular file"
        };
        return refused(what.into());
    }
    if found.uid != 0 {
        return refused(format!(
            "belongs to {}, not to root; look at it, then: chown root {path}",
            found.uid
        ));
    }
    if found.mode & 0o022 != 0 {
        return refused(format!(
            "can be written by others than root ({:04o}); look at it, then: chmod go-w {path}",
            found.mode
        ));
    }
    Ok(())
}

fn unless_missing<T>(opened: SysResult<T>) -> SysResult<Option<T>> {
    match opened {
        Err(error) if error.errno == Errno::NOENT => Ok(None),
        opened => opened.map(Some),
    }
}

fn unreadable(path: &str, error: SysError) -> Failure {
    match error.errno {
        Errno::LOOP => {
            let why = "is a symbolic link, which is not followed here; put the file itself there";
            Failure::new(Stage::Daemon, path, why)
        }
        _ => Failure::new(Stage::Daemon, path, error),
    }
}
