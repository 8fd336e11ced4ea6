//! The one table of directives: what each is called, what it does to the settings, and how it is enforced.
//!
//! A name that is not here is refused, and so is one that is known but not supported: a launcher that ignores
//! `DynamicUser=` starts the service as root. The table feeds the parser, `dynuser check`, the errors and the
//! manual page; a new directive is one row, in the module of its topic.

#![forbid(unsafe_code)]

mod commands;
mod control_group;
mod credentials;
mod directories;
mod elsewhere;
mod environment;
mod file_systems;
pub mod filters;
mod identity;
mod kept;
mod mounts;
mod namespaces;
mod process;
mod row;
mod streams;

use core::time::Duration;
use std::collections::BTreeSet;

use crate::control_group::ControlGroup;
use crate::exec_directory::{Kind, Preserve};
use crate::level::Level;

pub(crate) use commands::limit;
pub use commands::{Commands, KillMode, NotifyAccess, OnTimeout, Parsed, Patience, Restart, Type};
pub use credentials::{Credential, Source};
pub use directories::Asked;
pub use environment::{EnvironmentFile, MoreEnvironment, variable};
pub use file_systems::TemporaryFileSystem;
pub use filters::{Architecture, Denial, Filters};
pub use identity::{UserDatabase, WorkingDirectory};
pub use kept::says_how_confined;
pub use mounts::{Access, Bind, Homes, Mounts, PathRule, Processes};
pub use namespaces::{Namespaces, Users};
pub use process::{IoClass, Policy, Process};
pub use row::{Directive, Effect, canonical, find};
pub use streams::{Opening, Stream, Streams};

/// What the properties of a request add up to.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `DynamicUser=no`: the user is one that the host has, or root.
    pub static_user: bool,
    /// `User=`.
    pub user: Option<String>,
    /// `UserDatabase=`.
    pub user_database: UserDatabase,
    /// `MainProgram=`.
    pub main_program: Option<String>,
    /// `RememberUser=no`: nobody asks for it again under this name.
    pub passing: bool,
    /// `Group=`.
    pub group: Option<String>,
    /// `SupplementaryGroups=`.
    pub groups: Vec<String>,
    /// The directories of all kinds, each once.
    pub directories: Vec<Asked>,
    /// `…DirectoryMode=`, by kind.
    pub modes: Vec<(Kind, u32)>,
    /// `RuntimeDirectoryPreserve=`.
    pub preserve: Preserve,
    /// `SharedDirectories=`: other services that say so too may have the same directories.
    pub shared: bool,
    /// `TemporaryFileSystem=`.
    pub temporary: Vec<TemporaryFileSystem>,
    /// What the system-call filter is made of.
    pub filters: Filters,
    /// `WorkingDirectory=`.
    pub working_directory: Option<WorkingDirectory>,
    /// `Environment=`, later assignments last.
    pub environment: Vec<(String, String)>,
    /// Where more of it comes from.
    pub more_environment: MoreEnvironment,
    /// What a process does to itself.
    pub process: Process,
    /// Standard input, output and error.
    pub streams: Streams,
    /// `TimeoutStopSec=`.
    pub stop_timeout: Option<Duration>,
    /// What it sees of the file system.
    pub mounts: Mounts,
    /// Small secrets that it gets.
    pub credentials: Vec<Credential>,
    /// `RestrictForeignDirectories=no`: new files may be made in directories that others hand over.
    pub foreign_directories: bool,
    /// `NoNewPrivileges=`, which a dynamic user has anyway.
    pub no_new_privileges: bool,
    /// Namespaces of its own.
    pub namespaces: Namespaces,
    /// `Sandbox=`: how much stands between it and the host.
    pub level: Level,
    /// What every service with a view of its own has anyway, where it is asked for by name.
    pub said: BTreeSet<&'static str>,
    /// What is run, and when.
    pub commands: Commands,
    /// Its control group.
    pub control_group: ControlGroup,
    /// The directives that were assigned, by name.
    pub assigned: BTreeSet<&'static str>,
    /// `AllowUnenforced=`: restrictions without which the service may run, where they cannot be enforced.
    pub allow_unenforced: BTreeSet<&'static str>,
    /// Those of them that nobody enforces anywhere.
    pub unenforced: BTreeSet<&'static str>,
}

/// Every directive there is, by topic.
pub const TABLES: &[&[Directive]] = &[
    identity::TABLE,
    directories::TABLE,
    file_systems::TABLE,
    mounts::TABLE,
    namespaces::TABLE,
    credentials::TABLE,
    filters::TABLE,
    environment::TABLE,
    process::TABLE,
    streams::TABLE,
    commands::TABLE,
    control_group::TABLE,
    elsewhere::TABLE,
];

/// Every directive there is.
pub fn all() -> impl Iterator<Item = &'static Directive> {
    TABLES.iter().copied().flatten()
}

impl Settings {
    /// Applies one assignment.
    ///
    /// # Errors
    /// A sentence about the value, or about the name when there is no such directive, or it is not supported.
    pub fn assign(&mut self, name: &str, value: &str) -> Result<(), String> {
        let Some(directive) = find(name) else {
            return Err(
                "is not known, and nothing that a service asks for is ignored; dynuser(1) lists what there is"
                    .into(),
            );
        };
        match (directive.apply, directive.effect) {
            (Some(apply), _) => apply(self, value)?,
            (None, Effect::Elsewhere) => {}
            (None, Effect::Function) => {
                return Err(format!(
                    "is not supported, and the service would not run as its author meant it: {}",
                    directive.how
                ));
            }
            (None, Effect::Restriction) if self.allow_unenforced.contains(directive.name) => {
                self.unenforced.insert(directive.name);
            }
            (None, Effect::Restriction) => {
                return Err(format!(
                    "cannot be enforced ({}); --allow-unenforced={} starts the service without it",
                    directive.how, directive.name
                ));
            }
        }
        self.assigned.insert(directive.name);
        Ok(())
    }

    /// Notes whether something is asked for by name that every service with a view of its own has.
    fn say(&mut self, name: &'static str, asked: bool) -> Result<(), String> {
        match asked {
            true => self.said.insert(name),
            false => self.said.remove(name),
        };
        Ok(())
    }

    /// Whether a restriction that cannot be enforced on this host is done without.
    pub fn may_go_without(&self, name: &str) -> bool {
        self.allow_unenforced.contains(name)
    }

    /// The mode of directories of a kind, 0755 unless set.
    pub fn mode(&self, kind: Kind) -> u32 {
        self.modes
            .iter()
            .rev()
            .find(|(of, _)| *of == kind)
            .map_or(0o755, |(_, mode)| *mode)
    }
}

/// Whether a directive says which commands a unit file has, and what becomes of them: of a command that is given by itself it
/// would say nothing.
pub fn is_of_a_unit_file(name: &str) -> bool {
    let commands = commands::TABLE.iter();
    commands.map(|it| it.name).any(|it| it == canonical(name)) && name != "TimeoutStopSec"
}

/// What every service of a dynamic user has at least, and the values that ask for no less.
const AT_LEAST: [(&str, &[&str]); 6] = [
    ("NoNewPrivileges", &["yes"]),
    ("RestrictSUIDSGID", &["yes"]),
    ("RemoveIPC", &["yes"]),
    ("ProtectSystem", &["strict"]),
    ("ProtectHome", &["read-only", "tmpfs", "yes"]),
    ("PrivateTmp", &["disconnected", "yes"]),
];

/// What a service has of this anyway, if an assignment asks for less. In a unit file that means nothing, as in
/// systemd; whoever writes it on a command line wants something that he does not get.
pub fn in_force_anyway(name: &str, value: &str) -> Option<String> {
    let (_, least) = AT_LEAST.iter().find(|(forced, _)| *forced == name)?;
    let no_less = least.contains(&value) || (least.contains(&"yes") && boolean(value) == Ok(true));
    (!no_less).then(|| least.join(" or "))
}

/// More directories, paths or mounts than any service has, of each kind: every one is compared with the others.
pub(crate) const MOST: usize = 1024;

/// Whether so many more can be added.
pub(crate) fn room(there: usize, more: usize) -> Result<(), String> {
    let fits = there.saturating_add(more) <= MOST;
    fits.then_some(())
        .ok_or_else(|| format!("makes a list of more than {MOST}"))
}

/// `yes` or `no`, and the other words for them (systemd.syntax(7)).
pub(crate) fn boolean(value: &str) -> Result<bool, String> {
    let is = |words: [&str; 5]| words.iter().any(|word| word.eq_ignore_ascii_case(value));
    match (
        is(["yes", "y", "true", "t", "1"]) || value.eq_ignore_ascii_case("on"),
        is(["no", "n", "false", "f", "0"]) || value.eq_ignore_ascii_case("off"),
    ) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err("is neither yes nor no".into()),
    }
}

/// An octal mode of at most four digits' worth.
pub(crate) fn octal(value: &str) -> Result<u32, String> {
    let octal = !value.is_empty() && value.bytes().all(|b| (b'0'..=b'7').contains(&b));
    octal
        .then(|| u32::from_str_radix(value, 8).ok())
        .flatten()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| String::from("is not an octal mode"))
}

#[cfg(test)]
mod tests;
