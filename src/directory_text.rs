//! Which service had which directories, as text and in memory.
//!
//! One service a line, as JSON; a later line about the same service wins, and one without directories
//! has none left. Lines that start with `#` are for people. A line that was cut short is no JSON, so
//! it says nothing rather than something else.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::exec_directory::{ExecDirectory, Kind};
use crate::registry_text::MOST_NAMES;
use crate::spec::Directory;

/// The first line of the file.
const HEADER: &str =
    "# dynuser: the directories that each service had. Only a help: it may be removed.\n";

/// Directories of one service that are kept. When there are more, those of former starts go first.
const MOST_DIRECTORIES: usize = 256;

/// The longest line, in bytes, but for what is not directories.
const LONGEST_LINE: usize = 64 * 1024;

/// The most that is kept in all, in bytes of text.
pub const MOST_TEXT: usize = 4 * 1024 * 1024;

/// How old a time of a start may be before a new one is news, in seconds: a day.
const STALE: u64 = 24 * 60 * 60;

/// A directory that a service had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HadDirectory {
    /// The word for its kind; see [`Kind::word`].
    pub kind: String,
    /// The path below the base of its kind.
    pub path: String,
    /// Further links to it, below the same base.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// Whether it was behind the boundary, or bound in place as if it were.
    pub private: bool,
}

impl HadDirectory {
    /// The directory, if its words still mean one.
    pub fn directory(&self) -> Option<ExecDirectory> {
        ExecDirectory::parse(Kind::from_word(&self.kind)?, &self.path).ok()
    }
}

/// A directory that a service has now: as [`HadDirectory`], with nothing copied.
#[derive(Clone, Copy, Debug)]
pub struct Has<'a> {
    /// Its kind.
    pub kind: Kind,
    /// The path below the base of its kind.
    pub path: &'a str,
    /// Further links to it, below the same base.
    pub links: &'a [ExecDirectory],
    /// Whether it is behind the boundary, or bound in place as if it were.
    pub private: bool,
}

impl<'a> From<&'a Directory> for Has<'a> {
    fn from(directory: &'a Directory) -> Self {
        Self {
            kind: directory.kind(),
            path: directory.place().path(),
            links: directory.links(),
            private: directory.is_private(),
        }
    }
}

impl Has<'_> {
    fn links(&self) -> impl Iterator<Item = &str> {
        self.links.iter().map(ExecDirectory::path)
    }

    fn is(&self, had: &HadDirectory) -> bool {
        had.kind == self.kind.word() && had.path == self.path
    }

    /// Whether `had` says all that is to be said of it.
    fn is_told_by(&self, had: &HadDirectory) -> bool {
        self.is(had)
            && had.private == self.private
            && self
                .links()
                .all(|link| had.links.iter().any(|had| had == link))
    }

    fn owned(&self) -> HadDirectory {
        HadDirectory {
            kind: self.kind.word().into(),
            path: self.path.into(),
            links: self.links().map(String::from).collect(),
            private: self.private,
        }
    }
}

/// What is known of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Its name, without `.service`.
    pub service: String,
    /// The user that it ran as.
    pub user: String,
    /// When it was started last, in seconds since 1970, give or take a day.
    pub started: u64,
    /// What it had, in all its starts since the last removal.
    pub directories: Vec<HadDirectory>,
}

impl ServiceRecord {
    /// Its line, with the end of the line.
    pub fn line(&self) -> String {
        // Strings, numbers and lists of them: there is nothing that JSON does not have.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }

    fn is_whole_with<'a>(
        &self,
        user: &str,
        now: u64,
        mut has: impl Iterator<Item = Has<'a>>,
    ) -> bool {
        self.user == user
            // A clock that was wrong once must not keep the wrong time for ever.
            && now.abs_diff(self.started) < STALE
            && has.all(|has| self.directories.iter().any(|had| has.is_told_by(had)))
    }

    /// Takes in what it has now. What it had before stays: it is still on disk.
    fn take_in<'a>(&mut self, user: &str, now: u64, has: impl Iterator<Item = Has<'a>>) {
        self.user = user.into();
        self.started = now;
        let former = std::mem::take(&mut self.directories);
        for has in has {
            let mut directory = has.owned();
            let known = former.iter().filter(|had| has.is(had));
            for link in known.flat_map(|had| &had.links) {
                if !directory.links.contains(link) {
                    directory.links.push(link.clone());
                }
            }
            self.directories.push(directory);
        }
        for had in former {
            let again = |now: &HadDirectory| (&now.kind, &now.path) == (&had.kind, &had.path);
            if !self.directories.iter().any(again) {
                self.directories.push(had);
            }
        }
        self.directories.truncate(MOST_DIRECTORIES);
        let mut room = LONGEST_LINE;
        self.directories.retain(|had| {
            let length = serde_json::to_string(had).map_or(LONGEST_LINE, |text| text.len());
            room = room.saturating_sub(length);
            room > 0
        });
    }
}

/// What is known of all services.
#[derive(Clone, Debug, Default)]
pub struct Records {
    by_service: BTreeMap<String, ServiceRecord>,
}

impl Records {
    /// What is known of a service.
    pub fn of_service(&self, service: &str) -> Option<&ServiceRecord> {
        self.by_service.get(service)
    }

    /// All services, by name.
    pub fn services(&self) -> impl Iterator<Item = &ServiceRecord> {
        self.by_service.values()
    }

    /// How many services there are.
    pub fn len(&self) -> usize {
        self.by_service.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_service.is_empty()
    }

    /// Notes that a service was started at `now`, in seconds since 1970. Gives the line that is to be
    /// written, if that is news: neither is anything copied otherwise.
    pub fn note<'a>(
        &mut self,
        service: &str,
        user: &str,
        now: u64,
        has: impl Iterator<Item = Has<'a>> + Clone,
    ) -> Option<String> {
        let known = self.by_service.get(service);
        if known.is_some_and(|known| known.is_whole_with(user, now, has.clone())) {
            return None;
        }
        if known.is_none() && has.clone().next().is_none() {
            return None;
        }
        let mut record = known.cloned().unwrap_or_else(|| ServiceRecord {
            service: service.into(),
            user: user.into(),
            started: now,
            directories: Vec::new(),
        });
        record.take_in(user, now, has);
        // More than is kept would be news each time.
        if known.is_some_and(|known| {
            known.directories == record.directories
                && known.user == record.user
                && now.abs_diff(known.started) < STALE
        }) {
            return None;
        }
        let line = record.line();
        self.by_service.insert(service.into(), record);
        Some(line)
    }

    /// Forgets directories of a service. Gives the line that is to be written, if there were any. The
    /// service itself stays: whoever asks again hears that there is nothing left, and not that nobody
    /// knows it.
    pub fn forget(
        &mut self,
        service: &str,
        gone: impl Fn(&HadDirectory) -> bool,
    ) -> Option<String> {
        let record = self.by_service.get_mut(service)?;
        let before = record.directories.len();
        record.directories.retain(|had| !gone(had));
        if record.directories.len() == before {
            return None;
        }
        Some(record.line())
    }

    /// Forgets the services that were started longest ago, until what is left may be kept.
    pub fn trim(&mut self) {
        let lengths = self.services().map(|record| record.line().len());
        let mut text: usize = lengths.fold(0, usize::saturating_add);
        let mut services = self.len();
        if services <= MOST_NAMES && text <= MOST_TEXT {
            return;
        }
        let mut order: Vec<(u64, String)> = self
            .services()
            .map(|record| (record.started, record.service.clone()))
            .collect();
        order.sort_unstable();
        for (_, service) in order {
            if services <= MOST_NAMES && text <= MOST_TEXT {
                return;
            }
            if let Some(gone) = self.by_service.remove(&service) {
                text = text.saturating_sub(gone.line().len());
                services = services.saturating_sub(1);
            }
        }
    }

    /// The whole file.
    pub fn text(&self) -> String {
        let mut text = String::from(HEADER);
        text.extend(self.services().map(ServiceRecord::line));
        text
    }

    fn put(&mut self, record: ServiceRecord) {
        self.by_service.insert(record.service.clone(), record);
    }
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// What it says.
    pub records: Records,
    /// Lines that say so.
    pub lines: usize,
    /// Lines that say nothing that can be understood, or are not whole.
    pub skipped: usize,
}

/// Reads the whole file. Bytes of any kind are no error.
pub fn parse(text: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some([] | [b'#', ..]) => {}
            whole => match whole.and_then(|line| serde_json::from_slice(line).ok()) {
                Some(record) => {
                    parsed.records.put(record);
                    parsed.lines = parsed.lines.saturating_add(1);
                }
                None => parsed.skipped = parsed.skipped.saturating_add(1),
            },
        }
    }
    parsed
}

#[cfg(test)]
mod tests;
