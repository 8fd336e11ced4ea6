//! A service's or a socket's unit file with its drop-ins, as one: the assignments of each section in order, with
//! specifiers expanded where systemd expands them (systemd.unit(5)).

#![forbid(unsafe_code)]

mod sections;
mod specifying;

use std::collections::BTreeSet;
use std::fmt;

use crate::specifiers::{Context, UnitName};
use crate::unit_file::{Entry, Fault};

pub use sections::{Row, install_row, unit_row};
pub use specifying::expand;

/// Where an assignment stands: shown as `file:line:column`, both counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line that it begins on.
    pub line: usize,
    /// The character of that line that its value begins with.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The directive, as it is written: former names are not replaced.
    pub name: String,
    /// Its value, with specifiers expanded. Those of commands (`ExecStart=` …) stay as they are written, for
    /// specifiers are expanded in their words: see [`crate::command_text::parse`].
    pub value: String,
    /// Where it stands.
    pub place: Place,
}

/// The types of units that there are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What is started: everything that is not the other one.
    Service,
    /// What is listened on: a name that ends in `.socket`.
    Socket,
}

impl Kind {
    /// The section of its own, without brackets.
    pub fn section(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Socket => "Socket",
        }
    }
}

/// A unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub name: UnitName,
    /// What stands in `[Service]` of a service, in order: the file's, then the drop-ins'.
    pub service: Vec<Setting>,
    /// What stands in `[Socket]` of a socket.
    pub socket: Vec<Setting>,
    /// What stands in `[Unit]`.
    pub unit: Vec<Setting>,
    /// What stands in `[Install]`.
    pub install: Vec<Setting>,
    /// Sections that are of no type of unit, each where it first comes: systemd warns of them and goes on.
    pub unknown: Vec<(String, Place)>,
}

/// Sections of one type of unit: in that of another one they are a mistake.
const OF_A_TYPE: [&str; 11] = [
    "Service",
    "Socket",
    "Timer",
    "Path",
    "Mount",
    "Automount",
    "Swap",
    "Slice",
    "Scope",
    "Target",
    "Device",
];

/// What begins the names of sections that are for other programs (systemd.unit(5)).
const PRIVATE: &str = "X-";

impl Unit {
    /// Reads a unit from the entries of its files: the main one's first, then those of its drop-ins, in order.
    ///
    /// # Errors
    /// A fault for every assignment in a section of another type of unit, and for every specifier that cannot be expanded.
    pub fn read(entries: &[Entry], context: &Context) -> Result<Self, Vec<Fault>> {
        let mut unit = Self {
            name: context.name.clone(),
            service: Vec::new(),
            socket: Vec::new(),
            unit: Vec::new(),
            install: Vec::new(),
            unknown: Vec::new(),
        };
        let mut faults = Vec::new();
        let mut known = BTreeSet::new();
        let kind = unit.kind();
        for entry in entries {
            if entry.section.starts_with(PRIVATE) || entry.key.starts_with(PRIVATE) {
                continue;
            }
            let list = match entry.section.as_str() {
                "Service" if kind == Kind::Service => &mut unit.service,
                "Socket" if kind == Kind::Socket => &mut unit.socket,
                "Unit" => &mut unit.unit,
                "Install" => &mut unit.install,
                other if !OF_A_TYPE.contains(&other) => {
                    if known.insert(other) {
                        unit.unknown.push((other.into(), place(entry)));
                    }
                    continue;
                }
                other => {
                    faults.push(entry.fault(format!(
                        "[{other}] is no section of a {0}'s unit: [Unit], [{1}], [Install] and [X-…] are",
                        unit.name.suffix(),
                        kind.section()
                    )));
                    continue;
                }
            };
            match expand(&entry.section, &entry.key, &entry.value, context) {
                Ok(value) => list.push(Setting {
                    name: entry.key.clone(),
                    value,
                    place: place(entry),
                }),
                Err(why) => {
                    faults.push(entry.fault(format!("{}={}: {why}", entry.key, entry.value)));
                }
            }
        }
        if faults.is_empty() {
            Ok(unit)
        } else {
            Err(faults)
        }
    }

    /// What type of unit it is, by its name.
    pub fn kind(&self) -> Kind {
        match self.name.suffix() {
            "socket" => Kind::Socket,
            _ => Kind::Service,
        }
    }

    /// The assignments of `[Service]`, and those of `[Unit]` that are about the service itself (`StartLimit…=`),
    /// as the properties of a request, in order.
    pub fn properties(&self) -> Vec<(String, String)> {
        let settings = self.settings_of_the_service();
        settings
            .map(|setting| (setting.name.clone(), setting.value.clone()))
            .collect()
    }

    /// The same, with their places.
    pub fn settings_of_the_service(&self) -> impl Iterator<Item = &Setting> {
        let from_unit = self.unit.iter().filter(|setting| {
            unit_row(&setting.name).is_some_and(|row| row.meaning == sections::Meaning::Service)
        });
        from_unit.chain(&self.service)
    }
}

/// `DefaultInstance=` of a template: what stands for its instance where nobody names one.
pub fn default_instance(entries: &[Entry]) -> Option<&str> {
    let all = entries.iter().rev();
    all.filter(|entry| entry.section == "Install" && entry.key == "DefaultInstance")
        .map(|entry| entry.value.as_str())
        .next()
        .filter(|value| !value.is_empty())
}

fn place(entry: &Entry) -> Place {
    Place {
        file: entry.file.clone(),
        line: entry.line,
        column: entry.column,
    }
}

pub use sections::Meaning;

#[cfg(test)]
mod tests;
