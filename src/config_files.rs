//! Reading the configuration: only what nobody but root can have written.

use std::os::fd::OwnedFd;

use rustix::fs::FileType;

use crate::config::{self, Config, DROP_INS, FILE, FOLDER};
use crate::failure::{Failure, OrFail, Stage};
use crate::root_files::{refuse_others, text, unless_missing, unreadable};
use crate::sys::fs::{file_names, open_beneath, open_file_beneath, open_trusted};

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
    refuse_others(&folder, FOLDER, FileType::Directory, Stage::Daemon)?;
    let mut texts = Vec::new();
    let path = format!("{FOLDER}/{FILE}");
    texts.extend(read(&folder, FILE, &path)?.map(|text| (path, text)));

    let path = format!("{FOLDER}/{DROP_INS}");
    let drop_ins = unless_missing(open_beneath(&folder, DROP_INS))
        .map_err(|error| unreadable(&path, error, Stage::Daemon))?;
    if let Some(drop_ins) = drop_ins {
        refuse_others(&drop_ins, &path, FileType::Directory, Stage::Daemon)?;
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
    let Some(file) =
        unless_missing(opened).map_err(|error| unreadable(path, error, Stage::Daemon))?
    else {
        return Ok(None);
    };
    refuse_others(&file, path, FileType::RegularFile, Stage::Daemon)?;
    text(&file, path, LARGEST, Stage::Daemon).map(Some)
}
