//! The configuration: what `/etc/dynuser/dynuser.conf` and the files in `dynuser.conf.d` say.
//!
//! Nothing in them is ever ignored: a range that is not in force because its key has a typing
//! error would hand out numbers of somebody else.

#![forbid(unsafe_code)]

use core::time::Duration;

use crate::directives::boolean;
use crate::sizes;
use crate::time_span::{self, TimeSpan};
use crate::uid::{UidRange, UidRanges};
use crate::unit_file::{self, Entry, Fault};
use crate::user_database::Wanted;

/// The folder of the configuration.
pub const FOLDER: &str = "/etc/dynuser";

/// The file in it that is read first.
pub const FILE: &str = "dynuser.conf";

/// The folder in it whose files are read then, sorted by name.
pub const DROP_INS: &str = "dynuser.conf.d";

/// The section that everything stands in, as in systemd-system.conf(5).
const SECTION: &str = "Manager";

/// The longest time that may be set: a number that is not free after this never will be, and an
/// administrator wants to know.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The least that a history may have, in bytes: some hundred leases.
const SMALLEST_HISTORY: u64 = 64 << 10;

/// What the configuration adds up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which numbers are handed out.
    pub ranges: UidRanges,
    /// How long processes have between SIGTERM and SIGKILL when their lease ends. At least 1 ms,
    /// at most a day.
    pub stop_timeout: Duration,
    /// How long the name service may take for an answer. At least 1 ms, at most a day.
    pub name_service_timeout: Duration,
    /// Whether the socket of nscd is served where nobody else does.
    pub nscd_socket: bool,
    /// Whether systemd's programs are told of users.
    pub user_database_socket: Wanted,
    /// How large the history of numbers may grow, in bytes; 0 for none at all.
    pub history_size: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ranges: UidRanges::default(),
            stop_timeout: Duration::from_secs(5),
            name_service_timeout: Duration::from_secs(20),
            nscd_socket: false,
            user_database_socket: Wanted::default(),
            history_size: 8 << 20,
        }
    }
}

/// What the files say, before it is put together.
#[derive(Default)]
struct Draft {
    config: Config,
    ranges: Vec<UidRange>,
    excluded: Vec<UidRange>,
    /// The last entry that said something about numbers: where the blame goes for the sum of all.
    numbers: Option<Entry>,
}

/// One key.
pub struct Key {
    /// Its name.
    pub name: &'static str,
    apply: fn(&mut Draft, &str) -> Result<(), String>,
}

/// Every key there is. An empty value takes back what was said before.
pub const KEYS: [Key; 7] = [
    Key {
        name: "UIDRange",
        apply: |draft, value| list(&mut draft.ranges, value, UidRange::refuse_reserved),
    },
    Key {
        name: "UIDExclude",
        apply: |draft, value| list(&mut draft.excluded, value, |_| Ok(())),
    },
    Key {
        name: "DefaultTimeoutStopSec",
        apply: |draft, value| {
            let default = Config::default().stop_timeout;
            draft.config.stop_timeout = time(value, default)?;
            Ok(())
        },
    },
    Key {
        name: "NameServiceTimeoutSec",
        apply: |draft, value| {
            let default = Config::default().name_service_timeout;
            draft.config.name_service_timeout = time(value, default)?;
            Ok(())
        },
    },
    Key {
        name: "NscdSocket",
        apply: |draft, value| {
            draft.config.nscd_socket = !value.is_empty() && boolean(value)?;
            Ok(())
        },
    },
    Key {
        name: "UserDatabaseSocket",
        apply: |draft, value| {
            draft.config.user_database_socket = Wanted::parse(value)?;
            Ok(())
        },
    },
    Key {
        name: "HistoryMaxSize",
        apply: |draft, value| {
            draft.config.history_size = history_size(value)?;
            Ok(())
        },
    },
];

/// Reads files, given as name and text, in this order: a later one wins, lists add up.
///
/// # Errors
/// Everything that is wrong in them; at least one thing.
pub fn parse(files: &[(String, String)]) -> Result<Config, Vec<Fault>> {
    let mut draft = Draft::default();
    let mut faults = Vec::new();
    for (file, text) in files {
        match unit_file::parse(file, text) {
            Ok(entries) => {
                for entry in entries {
                    faults.extend(draft.take(entry).err());
                }
            }
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        draft.finish().map_err(|fault| vec![fault])
    } else {
        Err(faults)
    }
}

impl Draft {
    fn take(&mut self, entry: Entry) -> Result<(), Fault> {
        if entry.section != SECTION {
            return Err(entry.fault(format!(
                "there is no section [{}] here; everything stands in [{SECTION}]",
                entry.section
            )));
        }
        let Some(key) = KEYS.iter().find(|key| key.name == entry.key) else {
            let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
            return Err(entry.fault(format!(
                "{}= is not known, and nothing is ever ignored; there are {}",
                entry.key,
                known.join(", ")
            )));
        };
        (key.apply)(self, &entry.value)
            .map_err(|why| entry.fault(format!("{}=: {why}", entry.key)))?;
        if entry.key.starts_with("UID") {
            self.numbers = Some(entry);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Config, Fault> {
        let Some(entry) = self.numbers else {
            return Ok(self.config);
        };
        if self.ranges.is_empty() {
            self.ranges.push(UidRange::DEFAULT);
        }
        self.config.ranges = UidRanges::new(&self.ranges, &self.excluded)
            .map_err(|why| entry.fault(format!("{}=: {why}", entry.key)))?;
        Ok(self.config)
    }
}

/// Adds the ranges of a value to a list; an empty value empties it.
fn list(
    list: &mut Vec<UidRange>,
    value: &str,
    check: fn(UidRange) -> Result<(), String>,
) -> Result<(), String> {
    if value.is_empty() {
        list.clear();
    }
    for word in value.split_ascii_whitespace() {
        let range = UidRange::parse(word)?;
        check(range)?;
        list.push(range);
    }
    Ok(())
}

/// Reads a time; an empty value means the default.
fn time(value: &str, default: Duration) -> Result<Duration, String> {
    if value.is_empty() {
        return Ok(default);
    }
    match time_span::parse(value)? {
        TimeSpan::Limited(span) if span > LONGEST => {
            Err(format!("{value} is too long; a day is the most"))
        }
        TimeSpan::Limited(span) if span < Duration::from_millis(1) => Err(format!(
            "{value} leaves no time at all (to systemd it would mean for ever); 1ms is the least"
        )),
        TimeSpan::Limited(span) => Ok(span),
        TimeSpan::Infinite => Err(
            "infinity is refused: a number that is waited for without an end never comes back"
                .into(),
        ),
    }
}

/// Reads the size of the history; an empty value means the default.
fn history_size(value: &str) -> Result<u64, String> {
    if value.is_empty() {
        return Ok(Config::default().history_size);
    }
    match sizes::size(value)? {
        size if size != 0 && size < SMALLEST_HISTORY => Err(format!(
            "{value} holds next to nothing; 64K is the least, and 0 is for none at all"
        )),
        size => Ok(size),
    }
}

#[cfg(test)]
mod tests;
