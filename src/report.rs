//! What people see: failures, tables, the log. The only place that prints.

mod check;
mod history;
mod telling;
mod tree;
mod upkeep;

use std::io::{IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use tracing::level_filters::LevelFilter;

use crate::consumption::Consumption;
use crate::doctor::Finding;
use crate::failure::{Failure, OrFail, Stage};
use crate::lease::{Found, Lease};
use crate::level::Level;
use crate::life::State;

pub use check::{checked, checked_json};
pub use history::{history, history_json, moment};
pub use telling::{LONGEST_LINE, failure, keep_standard_error, say, say_to};
pub use tree::tree;
pub use upkeep::{privates, privates_json, removed};

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// Standard error of a daemon in the foreground: everything that happens.
    Stderr,
    /// The file of a daemon in the background: only what somebody should look at.
    File,
}

/// Starts the log. Both kinds write to standard error; a daemon in the background replaces it.
pub fn start_logging(log: Log) {
    let level = match log {
        Log::Stderr => LevelFilter::INFO,
        Log::File => LevelFilter::WARN,
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(level)
        .with_target(false)
        // It would tell on standard error that standard error cannot be written to, and a full disk
        // would end the daemon by the panic of that.
        .log_internal_errors(false)
        .init();
}

/// Writes to standard output.
///
/// # Errors
/// Of [`Stage::Request`]: a full disk, a closed pipe.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .or_fail(Stage::Request, "standard output")
}

/// How wide the bar is, in characters.
const BAR: u64 = 24;

/// How far it is, on standard error: a bar for people at a terminal, one line for others.
#[derive(Debug)]
pub struct Bar {
    quiet: bool,
    people: bool,
    shown: bool,
}

impl Bar {
    /// A bar that nobody sees yet.
    pub fn new(quiet: bool) -> Self {
        Self {
            quiet,
            people: std::io::stderr().is_terminal(),
            shown: false,
        }
    }

    /// Shows that `done` entries of a tree were given, of so many, or of nobody knows how many (0).
    pub fn show(&mut self, path: &str, done: u64, of: u64) {
        let path = harmless(path);
        if !self.quiet && self.people {
            let text = bar(&path, done, of);
            if let Err(error) = write!(std::io::stderr(), "\r\x1b[K{text}") {
                tracing::debug!(%error, "no bar");
            }
        } else if !self.quiet && !self.shown {
            say(&format!(
                "dynuser: {path} is given to the user of the service, which takes a while"
            ));
        }
        self.shown = true;
    }

    /// Takes it away.
    pub fn clear(&mut self) {
        if self.shown
            && self.people
            && !self.quiet
            && let Err(error) = write!(std::io::stderr(), "\r\x1b[K")
        {
            tracing::debug!(%error, "no bar");
        }
        self.shown = false;
    }
}

fn bar(path: &str, done: u64, of: u64) -> String {
    if of == 0 {
        return format!("{path}: {done} entries given");
    }
    let done = done.min(of);
    let part = |whole: u64| done.saturating_mul(whole).checked_div(of).unwrap_or(0);
    let full = part(BAR);
    let cells: String = (0..BAR)
        .map(|cell| if cell < full { '#' } else { '.' })
        .collect();
    format!("{path}: [{cells}] {:>3} % of {of} entries", part(100))
}

/// The leases as a table for people.
pub fn table(found: &[Found]) -> String {
    let mut rows = vec![["NAME", "UID", "STATE", "PID", "FOR", "SERVICE"].map(String::from)];
    for found in found {
        rows.push(match &found.lease {
            Ok(lease) => [
                lease.name.clone(),
                lease.uid.to_string(),
                state(lease).word().into(),
                first_pid(lease).map_or_else(|| "-".into(), |pid| pid.to_string()),
                age(lease.since),
                harmless(&match &lease.reason {
                    Some(reason) if lease.state == State::Running => {
                        format!("{} ({reason})", services(lease))
                    }
                    Some(reason) => reason.clone(),
                    None => services(lease),
                }),
            ],
            Err(why) => [
                "-".into(),
                found.uid.to_string(),
                "damaged".into(),
                "-".into(),
                "-".into(),
                harmless(why),
            ],
        });
    }
    aligned(&rows)
}

/// The services of a lease, and the level of their sandbox where it is not the full one.
fn services(lease: &Lease) -> String {
    let names = lease.services().join(" ");
    match lease.sandbox() {
        None | Some(Level::Full) => names,
        Some(level) => format!("{names} [{}]", level.word()),
    }
}

/// Rows whose columns stand below each other.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The leases as JSON, with what each of them takes.
pub fn json(found: &[Found], takes: &[Consumption]) -> String {
    let both = found.iter().zip(takes);
    let list: Vec<serde_json::Value> = both.map(|(found, takes)| json_of(found, takes)).collect();
    let mut text = serde_json::Value::Array(list).to_string();
    text.push('\n');
    text
}

fn json_of(found: &Found, takes: &Consumption) -> serde_json::Value {
    match &found.lease {
        Ok(lease) => json!({
            "name": lease.name,
            "uid": lease.uid,
            "gid": lease.gid,
            "state": state(lease),
            "pid": first_pid(lease),
            "pids": lease.holders.iter().filter_map(|holder| holder.by.pid()).collect::<Vec<_>>(),
            "descriptors": descriptors(lease),
            "dynamic": lease.dynamic,
            "services": lease.services(),
            "sandbox": lease.sandbox().map(Level::word),
            "since": lease.since,
            "directories": directories(lease),
            "reason": lease.reason,
            "template": tree::template(lease),
            "holders": lease.holders.iter().map(|holder| json!({
                "service": holder.service,
                "pid": holder.by.pid(),
            })).collect::<Vec<_>>(),
            "processes": takes.processes,
            "memory": takes.memory,
        }),
        Err(why) => json!({
            "name": null, "uid": found.uid, "state": "damaged", "pid": null, "reason": why,
        }),
    }
}

/// One lease, a line for each thing worth knowing.
pub fn details(lease: &Lease) -> String {
    let kind = if lease.dynamic {
        "dynamic"
    } else {
        "the host's own"
    };
    let mut lines = vec![
        ("Name", lease.name.clone()),
        ("UID", lease.uid.to_string()),
        ("GID", lease.gid.to_string()),
        ("User", kind.into()),
        ("State", state(lease).word().into()),
        ("Held by", held_by(lease)),
        ("For", age(lease.since)),
        ("Services", lease.services().join(" ")),
        ("Sandbox", lease.sandbox().map_or("-", Level::word).into()),
        ("Directories", directories(lease).join(" ")),
    ];
    if let Some(reason) = &lease.reason {
        lines.push(("Reason", harmless(reason)));
    }
    lines
        .iter()
        .map(|(name, value)| format!("{name:>11}: {value}\n"))
        .collect()
}

/// What was found, a line for each and one for what helps.
pub fn findings(found: &[Finding]) -> String {
    let mut text = String::new();
    for finding in found {
        let line = format!("{}: {}", finding.subject, finding.text);
        text.push_str(&format!("{:<8} {}\n", finding.severity, harmless(&line)));
        if let Some(help) = &finding.help {
            text.push_str(&format!("         > {}\n", harmless(help)));
        }
    }
    text
}

/// What was found, as JSON.
pub fn findings_json(found: &[Finding]) -> String {
    let objects = found.iter().map(|finding| {
        json!({
            "severity": finding.severity.word(),
            "subject": finding.subject,
            "text": finding.text,
            "help": finding.help,
        })
    });
    let mut text = serde_json::Value::Array(objects.collect()).to_string();
    text.push('\n');
    text
}

/// Names of processes and users come from anybody, and must not command the terminal.
pub fn harmless(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

fn directories(lease: &Lease) -> Vec<String> {
    lease
        .exec_directories()
        .iter()
        .map(|directory| directory.public())
        .collect()
}

/// The state of a lease, as it is and not as the last daemon saw it: none may be running.
fn state(lease: &Lease) -> State {
    if lease.is_abandoned() {
        State::Ending
    } else {
        lease.state
    }
}

fn first_pid(lease: &Lease) -> Option<u32> {
    lease.holders.iter().find_map(|holder| holder.by.pid())
}

/// How many descriptors hold a lease.
fn descriptors(lease: &Lease) -> usize {
    let holders = lease.holders.iter();
    holders.filter(|holder| holder.by.pid().is_none()).count()
}

/// The processes that hold a lease, and how many descriptors.
fn held_by(lease: &Lease) -> String {
    let pids = lease.holders.iter().filter_map(|holder| holder.by.pid());
    let mut words: Vec<String> = pids.map(|pid| pid.to_string()).collect();
    match descriptors(lease) {
        0 => {}
        1 => words.push("(a descriptor)".into()),
        more => words.push(format!("({more} descriptors)")),
    }
    words.join(" ")
}

/// How long ago a moment was, in the largest unit that fits.
fn age(since: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0, |now| now.as_secs()).saturating_sub(since);
    for (unit, length) in [("d", 86400), ("h", 3600), ("min", 60)] {
        if seconds >= length {
            return format!("{} {unit}", seconds.checked_div(length).unwrap_or(0));
        }
    }
    format!("{seconds} s")
}
