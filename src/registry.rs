//! Which UID each name had last, over reboots: `/var/lib/dynuser/registry`.
//!
//! A help, never a need: where it is missing, damaged or cannot be written (stateless hosts), that
//! is told once and everything goes on; what is remembered then lasts as long as the daemon. How
//! the file is kept is told in [`crate::kept_lines`].

use crate::kept_lines::{FOLDER, KeptFile, KeptLines, folder_or_above};
use crate::names::UserName;
use crate::registry_text::{Assignments, MOST_NAMES, line, parse};
use crate::sys::file::refuse_unwritable;
use crate::uid::Uid;

/// The file. The largest one has two lines for each of [`MOST_NAMES`] names, twice over.
const KEPT: KeptFile = KeptFile {
    name: "registry",
    damaged: "registry.damaged",
    largest: 2 * 1024 * 1024,
    tells_of_folder: true,
    without: "names may get other numbers than before",
    unwritten: "new numbers are remembered only as long as this daemon runs",
};

/// The registry, in memory and on disk.
#[derive(Debug)]
pub struct Registry {
    known: Assignments,
    kept: KeptLines,
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
        if let Some(found) = looked.trouble() {
            return Err(found.into());
        }
        let writable = folder_or_above(FOLDER).and_then(|folder| refuse_unwritable(folder, FOLDER));
        writable.map_err(|error| {
            let file = KEPT.name;
            format!("{FOLDER}/{file} cannot be written, new numbers are remembered only as long as a daemon runs: {error}")
        })?;
        Ok(looked.known.len())
    }

    fn open_in(folder: &str) -> Self {
        let mut registry = Self::look_in(folder);
        let names = registry.len();
        if registry.kept.take_charge(names) {
            registry.compact();
        }
        registry
    }

    fn look_in(folder: &str) -> Self {
        let (mut kept, text) = KeptLines::look(&KEPT, folder);
        let mut read = parse(&text);
        kept.understood(read.lines, read.skipped);
        read.assignments.trim(MOST_NAMES);
        Self {
            known: read.assignments,
            kept,
        }
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
        self.kept.add(&line(name, uid));
        if self.kept.wants_rewriting(self.len()) {
            self.compact();
        } else {
            self.kept.append(|| self.known.text(), self.known.len());
        }
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
        self.kept.trouble()
    }

    /// Forgets what is too much and writes the file anew.
    fn compact(&mut self) {
        self.known.trim(MOST_NAMES);
        self.kept.rewrite(&self.known.text(), self.known.len());
    }
}

#[cfg(test)]
mod tests;
