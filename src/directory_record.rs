//! Which service had which directories, over reboots: `/var/lib/dynuser/directories`.
//!
//! So that `dynuser clean` needs no unit file, and `dynuser gc` knows what is nobody's. A file of its own
//! beside the registry's: that one is about users, of which several services may share one, and its
//! lines are read by what runs at each start. How it is kept is told in [`crate::kept_lines`].

use std::time::{SystemTime, UNIX_EPOCH};

use crate::directory_claims::Claims;
use crate::directory_text::{HadDirectory, Has, Records, ServiceRecord, parse};
use crate::kept_lines::{FOLDER, KeptFile, KeptLines};
use crate::names::ServiceName;

/// The file.
const FILE: KeptFile = KeptFile {
    name: "directories",
    damaged: "directories.damaged",
    // Four times `directory_text::MOST_TEXT`.
    largest: 16 * 1024 * 1024,
    tells_of_folder: false,
    without: "the directories of services are known only to themselves",
    unwritten: "new directories are remembered only as long as this daemon runs",
};

/// The record, in memory and on disk.
#[derive(Debug)]
pub struct DirectoryRecord {
    records: Records,
    kept: KeptLines,
}

impl DirectoryRecord {
    /// Reads the record, repairs it and tidies it up. Never fails: see [`trouble`](Self::trouble).
    pub fn open() -> Self {
        Self::open_in(FOLDER)
    }

    /// Reads the record and leaves it alone: what is remembered is remembered in memory only.
    pub fn look() -> Self {
        Self::look_in(FOLDER)
    }

    fn open_in(folder: &str) -> Self {
        let mut record = Self::look_in(folder);
        if record.kept.take_charge(record.records.len()) {
            record.rewrite();
        }
        record
    }

    fn look_in(folder: &str) -> Self {
        let (mut kept, text) = KeptLines::look(&FILE, folder);
        let mut parsed = parse(&text);
        kept.understood(parsed.lines, parsed.skipped);
        parsed.records.trim();
        Self {
            records: parsed.records,
            kept,
        }
    }

    /// Remembers that a service has these directories and was started just now. When nothing has changed,
    /// nothing is written or copied, but for the time: that is written once a day at most.
    ///
    /// Services that nobody named are not remembered: nobody will ask for them by that name.
    ///
    /// It may wait for the disk: do not call it with a lock that others need.
    pub fn remember<'a>(
        &mut self,
        service: &ServiceName,
        user: &str,
        has: impl Iterator<Item = Has<'a>> + Clone,
    ) {
        if service.is_passing() {
            return;
        }
        let line = self.records.note(service.as_str(), user, seconds(), has);
        self.written(line);
    }

    /// What is known of a service.
    pub fn of_service(&self, service: &str) -> Option<&ServiceRecord> {
        self.records.of_service(service)
    }

    /// Forgets directories of a service. The service itself is known all the same.
    pub fn forget(&mut self, service: &str, gone: impl Fn(&HadDirectory) -> bool) {
        let line = self.records.forget(service, gone);
        self.written(line);
    }

    /// All services, by name.
    pub fn services(&self) -> impl Iterator<Item = &ServiceRecord> {
        self.records.services()
    }

    /// Claims what all services had, as theirs.
    pub fn claim(&self, claims: &mut Claims) {
        for record in self.services() {
            let by = format!("service {}", record.service);
            for had in record
                .directories
                .iter()
                .filter_map(HadDirectory::directory)
            {
                claims.add(had.kind(), had.path(), &by);
            }
        }
    }

    /// What is wrong with the record on disk, as a sentence.
    pub fn trouble(&self) -> Option<&str> {
        self.kept.trouble()
    }

    fn written(&mut self, line: Option<String>) {
        let Some(line) = line else {
            return;
        };
        self.kept.add(&line);
        let services = self.records.len();
        if self.kept.wants_rewriting(services) {
            self.rewrite();
        } else {
            self.kept.append(|| self.records.text(), services);
        }
    }

    fn rewrite(&mut self) {
        self.records.trim();
        self.kept.rewrite(&self.records.text(), self.records.len());
    }
}

/// Seconds since 1970.
fn seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests;
