//! A file of lines in `/var/lib/dynuser`: a help, never a need.
//!
//! Where it is missing, damaged or cannot be written (stateless hosts), that is told once and
//! everything goes on. Something new costs one short write, which is not flushed: a power cut may take
//! the last lines with it, no more. When it repeats itself too much it is written anew beside the
//! old one, flushed, and renamed. Only the process that holds the daemon's lock may write.

use std::os::fd::OwnedFd;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::registry_text::{END_OF_TORN_LINE, wants_compaction};
use crate::sys::file::{append_lines, read_whole, refuse_strangers, rename_file, replace_whole};
use crate::sys::fs::{make_directory, open_trusted};
use crate::sys::{SysError, SysResult};

/// What is kept over reboots. Mode 0700, root.
pub(crate) const FOLDER: &str = "/var/lib/dynuser";

/// Which file it is.
#[derive(Debug)]
pub(crate) struct KeptFile {
    /// Its name in the folder. Mode 0600.
    pub(crate) name: &'static str,
    /// Where a damaged one is kept, until the next.
    pub(crate) damaged: &'static str,
    /// The largest one that is read or written, in bytes.
    pub(crate) largest: u64,
    /// Whether this one tells what is wrong with the folder, which is told once for all files in it.
    pub(crate) tells_of_folder: bool,
    /// What follows where it cannot be used.
    pub(crate) without: &'static str,
    /// What follows where it cannot be written.
    pub(crate) unwritten: &'static str,
}

/// The file, and what has become of it.
#[derive(Debug)]
pub(crate) struct KeptLines {
    file: &'static KeptFile,
    folder: String,
    /// Lines in the file, and those that are to be there.
    lines: usize,
    /// Bytes in it, likewise.
    bytes: u64,
    /// Lines that could not be written yet.
    pending: String,
    /// Whether the file is left alone: only looked at, or not ours to change.
    hands_off: bool,
    /// What the file holds that cannot be read, and that no new one may destroy.
    damage: Damage,
    /// Whether it is the folder that cannot be used.
    folder_fails: bool,
    /// What was wrong with the file when it was opened.
    found: Option<String>,
    /// Why it cannot be written at the moment.
    failing: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    None,
    /// Some lines, among good ones.
    Lines,
    /// It is too large to be read.
    Whole,
}

impl KeptLines {
    /// Reads the file and leaves it alone. Gives its bytes, none where it cannot be used.
    pub(crate) fn look(file: &'static KeptFile, folder: &str) -> (Self, Vec<u8>) {
        let mut kept = Self {
            file,
            folder: folder.into(),
            lines: 0,
            bytes: 0,
            pending: String::new(),
            hands_off: true,
            damage: Damage::None,
            folder_fails: false,
            found: None,
            failing: None,
        };
        let text = match kept.read() {
            Ok(text) => text.unwrap_or_default(),
            Err(error) => {
                if error.errno == Errno::FBIG {
                    kept.damage = Damage::Whole;
                }
                let KeptFile { name, without, .. } = file;
                kept.found = Some(format!(
                    "{folder}/{name} cannot be used, {without}: {error}"
                ));
                Vec::new()
            }
        };
        kept.bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        (kept, text)
    }

    /// What the bytes were found to be: lines that say something, and others.
    pub(crate) fn understood(&mut self, lines: usize, skipped: usize) {
        self.lines = lines;
        if skipped > 0 {
            self.damage = Damage::Lines;
            let KeptFile { name, damaged, .. } = self.file;
            self.found = Some(format!(
                "{}/{name} is damaged, {skipped} lines are skipped (kept in {damaged})",
                self.folder
            ));
        }
    }

    /// Lets the file be written from now on, if it is ours to change. Tells whether it should be written
    /// anew at once, about so many `names`.
    pub(crate) fn take_charge(&mut self, names: usize) -> bool {
        self.hands_off = self.found.is_some() && self.damage == Damage::None;
        match &self.found {
            Some(found) if self.folder_fails && !self.file.tells_of_folder => {
                tracing::info!("{found}");
            }
            Some(found) => tracing::warn!("{found}"),
            None => {}
        }
        self.damage != Damage::None || self.wants_rewriting(names)
    }

    /// Whether it repeats itself too much, about so many `names`.
    pub(crate) fn wants_rewriting(&self, names: usize) -> bool {
        wants_compaction(self.lines, names) || self.bytes > self.file.largest.div_euclid(2)
    }

    /// Counts a line that is to be written.
    pub(crate) fn add(&mut self, line: &str) {
        self.lines = self.lines.saturating_add(1);
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(length);
        if !self.hands_off {
            self.pending.push_str(line);
        }
    }

    /// Writes what is pending behind what is there. Where nothing is, `whole` is written, of so many
    /// `names`.
    pub(crate) fn append(&mut self, whole: impl FnOnce() -> String, names: usize) {
        if self.hands_off {
            return;
        }
        let written = self.try_append(whole, names);
        self.note(written);
    }

    fn try_append(&mut self, whole: impl FnOnce() -> String, names: usize) -> SysResult<()> {
        let KeptFile { name, largest, .. } = self.file;
        let folder = make_folder(&self.folder)?;
        if !append_lines(&folder, name, &self.pending, END_OF_TORN_LINE, *largest)? {
            // The first one ever, or somebody has removed the file: all that we know goes into it.
            replace_whole(&folder, name, whole().as_bytes())?;
            self.lines = names;
        }
        self.pending.clear();
        Ok(())
    }

    /// Writes the file anew, about so many `names`. If that fails, it is tried again only when as many
    /// lines have come together once more.
    pub(crate) fn rewrite(&mut self, text: &str, names: usize) {
        self.lines = names;
        self.bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.pending.clear();
        if !self.hands_off {
            let written = self.try_rewrite(text);
            self.note(written);
        }
    }

    fn try_rewrite(&mut self, text: &str) -> SysResult<()> {
        let KeptFile {
            name,
            damaged,
            largest,
            ..
        } = self.file;
        let folder = make_folder(&self.folder)?;
        match self.damage {
            Damage::None => {}
            Damage::Lines => {
                if let Some(old) = read_whole(&folder, name, *largest)? {
                    replace_whole(&folder, damaged, &old)?;
                }
            }
            Damage::Whole => rename_file(&folder, name, damaged)?,
        }
        self.damage = Damage::None;
        replace_whole(&folder, name, text.as_bytes())
    }

    /// Tells once that writing fails, and once that it goes on.
    fn note(&mut self, written: SysResult<()>) {
        let KeptFile {
            name, unwritten, ..
        } = self.file;
        let path = format_args!("{}/{name}", self.folder);
        let failing = written
            .err()
            .map(|error| format!("{path} cannot be written, {unwritten}: {error}"));
        match (&self.failing, &failing) {
            (None, Some(why)) => tracing::warn!("{why}"),
            (Some(_), None) => tracing::info!("{path} is written again"),
            _ => {}
        }
        self.failing = failing;
    }

    /// What is wrong with the file, as a sentence: that it cannot be written, or else what was found
    /// when it was opened.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.failing.as_deref().or(self.found.as_deref())
    }

    /// What is in the file; `None` if there is none.
    fn read(&mut self) -> SysResult<Option<Vec<u8>>> {
        let folder = match open_folder(&self.folder) {
            Err(SysError {
                errno: Errno::NOENT,
                ..
            }) => return Ok(None),
            folder => folder.inspect_err(|_| self.folder_fails = true)?,
        };
        read_whole(folder, self.file.name, self.file.largest)
    }
}

/// Opens the folder, which nobody but root may be able to change: a service that could write into
/// it would choose the numbers of others.
///
/// # Errors
/// Those of opening it; `EPERM` if others could.
pub(crate) fn open_folder(path: &str) -> SysResult<OwnedFd> {
    let folder = open_trusted(path)?;
    refuse_strangers(&folder, FileType::Directory, path)?;
    Ok(folder)
}

/// Opens the folder, which is made if it is not there.
///
/// # Errors
/// As [`open_folder`], and those of mkdir(2).
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
pub(crate) fn folder_or_above(path: &str) -> SysResult<OwnedFd> {
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
