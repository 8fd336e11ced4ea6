//! What is wrong with a host, as far as dynuser is concerned: facts in, findings out.
//!
//! The facts are texts of files that anybody may have damaged: whatever is in them, there is a
//! finding and no panic.

#![forbid(unsafe_code)]

mod accounts;
mod host;
mod name_service;

use std::fmt;

use crate::config::{Config, FILE, FOLDER};
use crate::uid::{UidRange, UidRanges, joined};

pub use name_service::{Cache, Module, NameService, Tried};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is as it should be.
    Ok,
    /// Worth knowing; nothing has to be done.
    Note,
    /// Works, but not everything, not always, or not well.
    Warning,
    /// Does not work, or is not safe.
    Error,
}

impl Severity {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file or the thing that it is about.
    pub subject: String,
    /// A sentence.
    pub text: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Finding {
    fn new(severity: Severity, subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            severity,
            subject: subject.into(),
            text: text.into(),
            help: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A file's text, `None` for a file that is not there, or why it cannot be read. Bytes that are not
/// UTF-8 were replaced.
pub type Text = Result<Option<String>, String>;

/// The configuration, as far as whoever asks may read it.
#[derive(Clone, Debug)]
pub enum Configured {
    /// It is valid.
    Valid(Config),
    /// It is not: a sentence for each fault, with the file and the line.
    Wrong(Vec<String>),
    /// Only root can read it.
    NotReadable(String),
}

/// A lease, or the damaged file of one.
#[derive(Clone, Debug)]
pub struct LeaseFact {
    /// Its number.
    pub uid: u32,
    /// What is known of it, or what is wrong with its file.
    pub lease: Result<LeaseState, String>,
}

/// What matters of a lease.
#[derive(Clone, Debug)]
pub struct LeaseState {
    /// Its name.
    pub name: String,
    /// Whether the number was chosen by us.
    pub dynamic: bool,
    /// Why it is in quarantine, if it is.
    pub quarantined: Option<String>,
}

/// What the kernel can do and lets us do.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its release, as uname(2) has it.
    pub release: String,
    /// `/proc/sys/user/max_user_namespaces`; nothing if it cannot be told.
    pub user_namespaces: Option<u64>,
    /// `/proc/sys/user/max_mnt_namespaces`; nothing if it cannot be told.
    pub mount_namespaces: Option<u64>,
    /// Whether there are POSIX message queues.
    pub message_queues: bool,
    /// Whether a pidfd has an inode of its own (pidfs, Linux 6.9).
    pub pidfs: bool,
    /// Whether a service can have a view of its own, found out by making one, or what refuses it; nothing for whoever is
    /// not root.
    pub view: Option<Result<(), String>>,
    /// Whether the level landlock can be had, or why not.
    pub landlock: Result<(), String>,
    /// `/proc/self/mountinfo`.
    pub mounts: Text,
    /// `/proc/self/uid_map`.
    pub uid_map: Text,
    /// `/proc/self/gid_map`.
    pub gid_map: Text,
}

/// Everything that is looked at.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The configuration.
    pub config: Configured,
    /// `/etc/passwd`.
    pub passwd: Text,
    /// `/etc/group`.
    pub group: Text,
    /// `/etc/login.defs`.
    pub login_defs: Text,
    /// `/etc/subuid`.
    pub subuid: Text,
    /// `/etc/subgid`.
    pub subgid: Text,
    /// `/etc/nsswitch.conf`.
    pub nsswitch: Text,
    /// What gives names to numbers, and what stands in between.
    pub names: NameService,
    /// The leases, or why they cannot be read.
    pub leases: Result<Vec<LeaseFact>, String>,
    /// How many names the registry remembers, or what is wrong with it; nothing if it was not
    /// looked at.
    pub registry: Option<Result<usize, String>>,
    /// The kernel.
    pub kernel: Kernel,
}

/// Everything that was found, in the order in which it was looked for.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let config = configuration(&facts.config, &mut found);
    if let Some(config) = config {
        accounts::check(facts, &config.ranges, &mut found);
        let kernel = &facts.kernel;
        for (path, map) in [
            ("/proc/self/uid_map", &kernel.uid_map),
            ("/proc/self/gid_map", &kernel.gid_map),
        ] {
            host::user_namespace(path, map, &config.ranges, &mut found);
        }
    }
    name_service::check(&facts.nsswitch, &facts.names, &facts.config, &mut found);
    host::leases(
        &facts.leases,
        config.map(|config| &config.ranges),
        &mut found,
    );
    found.extend(facts.registry.as_ref().map(registry));
    host::kernel(&facts.kernel, &mut found);
    host::levels(&facts.kernel, &mut found);
    found
}

/// The worst of them; [`Severity::Ok`] if there are none.
pub fn worst(findings: &[Finding]) -> Severity {
    let all = findings.iter().map(|finding| finding.severity);
    all.max().unwrap_or(Severity::Ok)
}

/// What the state of the registry means: how many names it remembers, or what is wrong with it.
pub fn registry(state: &Result<usize, String>) -> Finding {
    match state {
        Ok(names) => Finding::new(
            Severity::Ok,
            "registry",
            format!("{names} names remembered"),
        ),
        Err(why) => Finding::new(
            Severity::Warning,
            "registry",
            format!("{why}; services run, but a name may get another number after a reboot"),
        ),
    }
}

/// Tells about the configuration, and gives it if it is valid.
fn configuration<'f>(config: &'f Configured, found: &mut Vec<Finding>) -> Option<&'f Config> {
    let subject = "configuration";
    let unchecked = "the ranges are not known, so it was not looked for what overlaps with them";
    match config {
        Configured::Valid(config) => {
            let ranges = &config.ranges;
            let text = format!("{} numbers can be handed out: {ranges}", ranges.count());
            found.push(Finding::new(Severity::Ok, subject, text));
            return Some(config);
        }
        Configured::Wrong(faults) => {
            found.extend(faults.iter().map(|fault| {
                Finding::new(Severity::Error, subject, fault)
                    .help("correct it: no daemon starts before, and nothing in it is ignored")
            }));
            found.push(Finding::new(Severity::Note, subject, unchecked));
        }
        Configured::NotReadable(why) => found.push(
            Finding::new(Severity::Note, subject, format!("{why}; {unchecked}"))
                .help("as root: dynuser doctor"),
        ),
    }
    None
}

/// The line that takes numbers out of the ranges.
fn exclude(numbers: &[UidRange]) -> String {
    format!(
        "UIDExclude={} in [Manager] of {FOLDER}/{FILE}, or another UIDRange=",
        joined(numbers, " ")
    )
}

/// What of the ranges `others` can be handed out, sorted and merged.
fn overlaps(ranges: &UidRanges, others: impl IntoIterator<Item = UidRange>) -> Vec<UidRange> {
    let all: Vec<UidRange> = others
        .into_iter()
        .flat_map(|other| ranges.overlap(other))
        .collect();
    crate::uid::merged(&all)
}

#[cfg(test)]
mod tests;
