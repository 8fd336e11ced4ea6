//! Which UID each name had last, over reboots: `/var/lib/dynuser/registry`.
//!
//! A help, never a need: where it is missing, damaged or cannot be written (stateless hosts), that
//! is told once and everything goes on; what is remembered then lasts as long as the daemon. Only
//! one process at a time may write it: the one that holds the daemon's lock.
//!
//! To remember something new costs one short write, however many names there are. It is not
//! flushed to the disk: a power cut may take the last assignments with it, no more. When the file
//! repeats itself too much it is written anew beside the old one, flushed, and renamed.

use std::os::fd::OwnedFd;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::names::UserName;
use crate::registry_text::{
    Assignments, END_OF_TORN_LINE, MOST_NAMES, Parsed, line, parse, wants_compaction,
};
use crate::sys::file::{
    append_lines, read_whole, refuse_strangers, refuse_unwritable, rename_file, replace_whole,
};
use crate::sys::fs::{make_directory, open_trusted};
use crate::sys::{SysError, SysResult};
use crate::uid::Uid;

/// What is kept over reboots. Mode 0700, root.
pub const FOLDER: &str = "/var/lib/dynuser";

/// The file in it. Mode 0600.
const FILE: &str = "registry";

/// Where a damaged one is kept, until the next.
const DAMAGED: &str = "registry.damaged";

/// The largest file that is read or written, in bytes: two lines for each of
/// [`MOST_NAMES`] names, twice over.
const LARGEST: u64 = 2 * 1024 * 1024;

/// The registry, in memory and on disk.
#[derive(Debug, Default)]
pub struct Registry {
    folder: String,
    known: Assignments,
    /// Assignments in the file, and those that are to be there.
    lines: usize,
    /// Lines that could not be written yet.
    pending: String,
    /// Whether the file is left alone: only looked at, or not ours to change.
    hands_off: bool,
    /// What the file holds that cannot be read, and that no compaction may destroy.
    damage: Damage,
    /// What was wrong with the file when it was opened.
    found: Option<String>,
    /// Why it cannot be written at the moment.
    failing: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Damage {
    #[default]
    None,
    /// Some lines, among good ones.
    Lines,
    /// It is too large to be read.
    Whole,
}

impl Registry {
    /// Reads the registry, repairs it and tidies it up. Never fails: see
    /// [`trouble`](Self::trouble).
    pub fn open() -> Self {
        Self::open_in(FOLDER)
    }

    /// Reads the registry and leaves it alone: what is remembered is remembered in memory only.
    pub fn look() -> Self {
        Self::look_in(FOLDER)
    }

    /// How many names the registry on disk holds, for somebody who only looks.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence. That there is none is not wrong, but that none can be
    /// written is.
    pub fn inspect() -> Result<usize, String> {
        let looked = Self::look();
        if let Some(found) = looked.found {
            return Err(found);
        }
        let writable = folder_or_above(FOLDER).and_then(|folder| refuse_unwritable(folder, FOLDER));
        writable.map_err(|error| {
            format!("{FOLDER}/{FILE} cannot be written, new numbers are remembered only as long as a daemon runs: {error}")
        })?;
        Ok(looked.known.len())
    }

    fn open_in(folder: &str) -> Self {
        let mut registry = Self::look_in(folder);
        registry.hands_off = registry.found.is_some() && registry.damage == Damage::None;
        if let Some(found) = &registry.found {
            tracing::warn!("{found}");
        }
        if registry.damage != Damage::None || wants_compaction(registry.lines, registry.len()) {
            registry.compact();
        }
        registry
    }

    fn look_in(folder: &str) -> Self {
        let mut registry = Self {
            folder: folder.into(),
            hands_off: true,
            ..Self::default()
        };
        let read = match read(folder) {
            Ok(text) => parse(&text.unwrap_or_default()),
            Err(error) => {
                if error.errno == Errno::FBIG {
                    registry.damage = Damage::Whole;
                }
                registry.found = Some(format!(
                    "{folder}/{FILE} cannot be used, names may get other numbers than before: {error}"
                ));
                Parsed::default()
            }
        };
        registry.known = read.assignments;
        registry.known.trim(MOST_NAMES);
        registry.lines = read.lines;
        if read.skipped > 0 {
            registry.damage = Damage::Lines;
            registry.found = Some(format!(
                "{folder}/{FILE} is damaged, {} lines are skipped (kept in {DAMAGED})",
                read.skipped
            ));
        }
        registry
    }

    /// The number that `name` had last.
    pub fn remembered(&self, name: &UserName) -> Option<u32> {
        self.known.number_of(name).map(Uid::get)
    }

    /// Whether the number was last a name's other than `name`: in constant time.
    pub fn belongs_to_another(&self, uid: Uid, name: &UserName) -> bool {
        self.known.belongs_to_another(uid, name)
    }

    /// Remembers that `name` has the number now. Nothing is written when nothing has changed.
    ///
    /// It may wait for the disk: do not call it with a lock that others need.
    pub fn remember(&mut self, name: &UserName, uid: Uid) {
        if !self.known.assign(name, uid) {
            return;
        }
        self.lines = self.lines.saturating_add(1);
        if wants_compaction(self.lines, self.len()) {
            self.compact();
            return;
        }
        if self.hands_off {
            return;
        }
        self.pending.push_str(&line(name, uid));
        let written = self.append();
        self.note(written);
    }

    /// How many names are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no name is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What is wrong with the registry on disk, as a sentence: that it cannot be written, or else
    /// what was found when it was opened.
    pub fn trouble(&self) -> Option<&str> {
        self.failing.as_deref().or(self.found.as_deref())
    }

    /// Writes what is pending behind what is there.
    fn append(&mut self) -> SysResult<()> {
        let folder = make_folder(&self.folder)?;
        let there = append_lines(&folder, FILE, &self.pending, END_OF_TORN_LINE, LARGEST)?;
        if !there {
            // The first one ever, or somebody has removed the file: all that we know goes into it.
            replace_whole(&folder, FILE, self.known.text().as_bytes())?;
            self.lines = self.len();
        }
        self.pending.clear();
        Ok(())
    }

    /// Forgets what is too much and writes the file anew. If that fails, it is tried again only
    /// when as many lines have come together once more.
    fn compact(&mut self) {
        self.known.trim(MOST_NAMES);
        self.lines = self.len();
        self.pending.clear();
        if !self.hands_off {
            let written = self.rewrite();
            self.note(written);
        }
    }

    fn rewrite(&mut self) -> SysResult<()> {
        let folder = make_folder(&self.folder)?;
        match self.damage {
            Damage::None => {}
            Damage::Lines => {
                if let Some(damaged) = read_whole(&folder, FILE, LARGEST)? {
                    replace_whole(&folder, DAMAGED, &damaged)?;
                }
            }
            Damage::Whole => rename_file(&folder, FILE, DAMAGED)?,
        }
        self.damage = Damage::None;
        replace_whole(&folder, FILE, self.known.text().as_bytes())
    }

    /// Tells once that writing fails, and once that it goes on.
    fn note(&mut self, written: SysResult<()>) {
        let failing = written.err().map(|error| {
            format!(
                "{}/{FILE} cannot be written, new numbers are remembered only as long as this daemon runs: {error}",
                self.folder
            )
        });
        match (&self.failing, &failing) {
            (None, Some(why)) => tracing::warn!("{why}"),
            (Some(_), None) => tracing::info!("{}/{FILE} is written again", self.folder),
            _ => {}
        }
        self.failing = failing;
    }
}

/// What is in the file; `None` if there is none.
fn read(folder: &str) -> SysResult<Option<Vec<u8>>> {
    let folder = match open_folder(folder) {
        Err(SysError {
            errno: Errno::NOENT,
            ..
        }) => return Ok(None),
        folder => folder?,
    };
    read_whole(folder, FILE, LARGEST)
}

/// Opens the folder, which nobody but root may be able to change: a service that could write into
/// it would choose the numbers of others.
pub(crate) fn open_folder(path: &str) -> SysResult<OwnedFd> {
    let folder = open_trusted(path)?;
    refuse_strangers(&folder, FileType::Directory, path)?;
    Ok(folder)
}

/// Opens the folder, which is made if it is not there.
pub(crate) fn make_folder(path: &str) -> SysResult<OwnedFd> {
    match open_folder(path) {
        Err(error) if error.errno == Errno::NOENT => {}
        opened => return opened,
    }
    let (above, name) = split(path);
    match make_directory(open_trusted(above)?, name) {
        // Somebody was quicker.
        Err(error) if error.errno == Errno::EXIST => open_folder(path),
        made => made,
    }
}

/// Opens the folder, or the one that it would be made in.
fn folder_or_above(path: &str) -> SysResult<OwnedFd> {
    match open_folder(path) {
        Err(error) if error.errno == Errno::NOENT => open_trusted(split(path).0),
        opened => opened,
    }
}

/// A path as the folder above and the name in it.
fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        None | Some(("", _)) => ("/", path.trim_start_matches('/')),
        Some(parts) => parts,
    }
}

#[cfg(test)]
mod tests;
