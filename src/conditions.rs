//! `Condition…=` and `Assert…=` of systemd.unit(5): which there are, and what a list of them adds up to. Whether
//! one holds is looked at by [`crate::condition_look`].

#![forbid(unsafe_code)]

mod compare;
mod pattern;

pub use compare::{Operator, split_operator, version_order};
pub use pattern::{braces, matches, matches_any_case};

use crate::unit::{Place, Setting};
use crate::unit_file::Fault;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The path exists.
    PathExists,
    /// Something matches the pattern.
    PathExistsGlob,
    /// It is a directory.
    PathIsDirectory,
    /// It is a symbolic link.
    PathIsSymbolicLink,
    /// Something is mounted there.
    PathIsMountPoint,
    /// Its file system can be written to.
    PathIsReadWrite,
    /// Its block device is encrypted.
    PathIsEncrypted,
    /// It is a directory with something in it.
    DirectoryNotEmpty,
    /// It is a regular file that is not empty.
    FileNotEmpty,
    /// It is a regular file that somebody may execute.
    FileIsExecutable,
    /// The user of the service manager.
    User,
    /// Its group.
    Group,
    /// A capability in its bounding set.
    Capability,
    /// The host's name or machine id.
    Host,
    /// A word of the kernel's command line.
    KernelCommandLine,
    /// The kernel's release.
    KernelVersion,
    /// A loaded or built-in module.
    KernelModuleLoaded,
    /// The machine.
    Architecture,
    /// A virtual machine or a container.
    Virtualization,
    /// The firmware.
    Firmware,
    /// A security module or the like.
    Security,
    /// The first boot of a host.
    FirstBoot,
    /// /usr is newer than /etc or /var.
    NeedsUpdate,
    /// Controllers of control groups.
    ControlGroupController,
    /// The host's memory.
    Memory,
    /// CPUs that may be used.
    CPUs,
    /// What a CPU can do.
    CPUFeature,
    /// A variable of the service manager's environment.
    Environment,
    /// A field of os-release.
    OSRelease,
    /// A power supply.
    ACPower,
    /// A credential of the service manager.
    Credential,
    /// Pressure on memory.
    MemoryPressure,
    /// Pressure on CPUs.
    CPUPressure,
    /// Pressure on devices.
    IOPressure,
}

/// Their names behind `Condition` or `Assert`, whether their argument is a path, and why one is not looked at.
const KINDS: &[(&str, Kind, bool, &str)] = &[
    ("PathExists", Kind::PathExists, true, ""),
    ("PathExistsGlob", Kind::PathExistsGlob, true, ""),
    ("PathIsDirectory", Kind::PathIsDirectory, true, ""),
    ("PathIsSymbolicLink", Kind::PathIsSymbolicLink, true, ""),
    ("PathIsMountPoint", Kind::PathIsMountPoint, true, ""),
    ("PathIsReadWrite", Kind::PathIsReadWrite, true, ""),
    (
        "PathIsEncrypted",
        Kind::PathIsEncrypted,
        true,
        "what lies under a block device is not looked at",
    ),
    ("DirectoryNotEmpty", Kind::DirectoryNotEmpty, true, ""),
    ("FileNotEmpty", Kind::FileNotEmpty, true, ""),
    ("FileIsExecutable", Kind::FileIsExecutable, true, ""),
    ("User", Kind::User, false, ""),
    ("Group", Kind::Group, false, ""),
    ("Capability", Kind::Capability, false, ""),
    ("Host", Kind::Host, false, ""),
    ("KernelCommandLine", Kind::KernelCommandLine, false, ""),
    ("KernelVersion", Kind::KernelVersion, false, ""),
    ("KernelModuleLoaded", Kind::KernelModuleLoaded, false, ""),
    ("Architecture", Kind::Architecture, false, ""),
    ("Virtualization", Kind::Virtualization, false, ""),
    ("Firmware", Kind::Firmware, false, ""),
    ("Security", Kind::Security, false, ""),
    ("FirstBoot", Kind::FirstBoot, false, ""),
    ("NeedsUpdate", Kind::NeedsUpdate, false, ""),
    (
        "ControlGroupController",
        Kind::ControlGroupController,
        false,
        "",
    ),
    ("Memory", Kind::Memory, false, ""),
    ("CPUs", Kind::CPUs, false, ""),
    ("CPUFeature", Kind::CPUFeature, false, ""),
    ("Environment", Kind::Environment, false, ""),
    ("OSRelease", Kind::OSRelease, false, ""),
    ("ACPower", Kind::ACPower, false, ""),
    ("Credential", Kind::Credential, false, ""),
    ("MemoryPressure", Kind::MemoryPressure, false, PRESSURE),
    ("CPUPressure", Kind::CPUPressure, false, PRESSURE),
    ("IOPressure", Kind::IOPressure, false, PRESSURE),
];

const PRESSURE: &str = "pressure is not measured";

/// One condition or assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is looked at.
    pub kind: Kind,
    /// What it is compared with.
    pub argument: String,
    /// `!`: it must not hold.
    pub negated: bool,
    /// `|`: one of all that have this is enough.
    pub triggers: bool,
    /// Why it cannot be answered at all; empty for most.
    pub unanswered: &'static str,
    /// As it was written: `ConditionPathExists=!/x`.
    pub written: String,
    /// Where it stands.
    pub place: Place,
}

/// What has to hold before a service is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// If they do not hold, the start is skipped: nothing is wrong.
    pub conditions: Vec<Condition>,
    /// If they do not hold, the start fails.
    pub asserts: Vec<Condition>,
}

/// What a list adds up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All that has to hold does.
    Met,
    /// A sentence that names the first that does not.
    NotMet(String),
}

/// Whether it is the name of a condition or an assertion.
pub fn is_one(name: &str) -> bool {
    name.starts_with("Condition") || name.starts_with("Assert")
}

impl Conditions {
    /// Picks them out of what stands in `[Unit]`. An empty assignment of any of them takes back all conditions, or
    /// all assertions, that stand before it.
    ///
    /// # Errors
    /// A fault for each that does not exist, and each whose argument can never be right.
    pub fn of(unit: &[Setting]) -> Result<Self, Vec<Fault>> {
        let mut all = Self::default();
        let mut faults = Vec::new();
        for setting in unit.iter().filter(|setting| is_one(&setting.name)) {
            let (list, name) = match setting.name.strip_prefix("Condition") {
                Some(name) => (&mut all.conditions, name),
                None => (
                    &mut all.asserts,
                    setting.name.strip_prefix("Assert").unwrap_or(""),
                ),
            };
            match condition(name, setting) {
                Ok(Some(condition)) => list.push(condition),
                Ok(None) => list.clear(),
                Err(why) => faults.push(Fault {
                    file: setting.place.file.clone(),
                    line: setting.place.line,
                    column: setting.place.column,
                    what: format!("{}={}: {why}", setting.name, setting.value),
                }),
            }
        }
        if faults.is_empty() {
            Ok(all)
        } else {
            Err(faults)
        }
    }
}

/// Reads one; `None` for an empty assignment.
fn condition(name: &str, setting: &Setting) -> Result<Option<Condition>, String> {
    let row = KINDS.iter().find(|(known, ..)| *known == name);
    let &(_, kind, is_path, unanswered) = row.ok_or("is no condition that is known here")?;
    if setting.value.is_empty() {
        return Ok(None);
    }
    let rest = setting.value.strip_prefix('|');
    let triggers = rest.is_some();
    let rest = rest.unwrap_or(&setting.value).trim_start();
    let unnegated = rest.strip_prefix('!');
    let argument = unnegated.unwrap_or(rest).trim_start();
    // systemd takes `!` from `!=` and `!$=` too: a comparison of inequality is written `!` and its opposite.
    if is_path && !argument.starts_with('/') {
        return Err("is not an absolute path".into());
    }
    if argument.is_empty() {
        return Err("says nothing to compare with".into());
    }
    Ok(Some(Condition {
        kind,
        argument: argument.into(),
        negated: unnegated.is_some(),
        triggers,
        unanswered,
        written: format!("{}={}", setting.name, setting.value),
        place: setting.place.clone(),
    }))
}

/// What a list adds up to: every plain one must hold, and of those with `|` one, if there are any.
///
/// # Errors
/// What `look` fails with, for one that has to be known.
pub fn judge<E>(
    list: &[Condition],
    look: &mut dyn FnMut(&Condition) -> Result<bool, E>,
) -> Result<Verdict, E> {
    let mut first_trigger = None;
    let mut triggered = false;
    let mut unknown = None;
    for condition in list {
        if condition.triggers && triggered {
            continue;
        }
        let holds = look(condition).map(|holds| holds != condition.negated);
        match (condition.triggers, holds) {
            (false, Ok(true)) => {}
            (false, Ok(false)) => {
                return Ok(Verdict::NotMet(format!(
                    "{} does not hold ({})",
                    condition.written, condition.place
                )));
            }
            (false, Err(error)) => return Err(error),
            (true, Ok(holds)) => {
                triggered = holds;
                first_trigger.get_or_insert(condition);
            }
            // Another one may be enough.
            (true, Err(error)) => {
                unknown.get_or_insert(error);
                first_trigger.get_or_insert(condition);
            }
        }
    }
    match (first_trigger, unknown) {
        (Some(_), Some(error)) if !triggered => Err(error),
        (Some(first), None) if !triggered => Ok(Verdict::NotMet(format!(
            "of those with |, none holds: {} ({}) …",
            first.written, first.place
        ))),
        _ => Ok(Verdict::Met),
    }
}

#[cfg(test)]
mod tests;
