//! Looking whether a condition of a unit file holds: systemd.unit(5), "Conditions and Asserts"; where that page
//! leaves something open, as systemd 257 does it (its `condition.c`).

mod host;
mod machine;
mod paths;

use crate::conditions::{Condition, Conditions, Kind, Verdict, judge};
use crate::failure::{Failure, Stage};

pub use host::facts;

/// What the conditions of a unit say of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The service may be started.
    Start,
    /// A condition does not hold: nothing is started, and nothing is wrong. The sentence says which.
    Skip(String),
}

/// Looks at all conditions and assertions of a unit: the conditions first, as systemd does.
///
/// # Errors
/// Of [`Stage::Request`]: an assertion that does not hold, and anything that cannot be answered here. A question
/// without an answer is never taken for a yes or a no.
pub fn answer(all: &Conditions) -> Result<Answer, Failure> {
    if let Verdict::NotMet(why) = judge(&all.conditions, &mut look)? {
        return Ok(Answer::Skip(why));
    }
    match judge(&all.asserts, &mut look)? {
        Verdict::Met => Ok(Answer::Start),
        Verdict::NotMet(why) => Err(Failure::new(Stage::Request, "", why)),
    }
}

/// Looks whether one holds, before its `!` is minded.
///
/// # Errors
/// Of [`Stage::Request`], for one that cannot be answered: with the condition, where it stands, and why.
pub fn look(condition: &Condition) -> Result<bool, Failure> {
    let refused = |why: String| {
        let subject = format!("{}: {}", condition.place, condition.written);
        Failure::new(Stage::Request, subject, why)
    };
    if !condition.unanswered.is_empty() {
        return Err(refused(format!(
            "cannot be answered here: {}",
            condition.unanswered
        )));
    }
    kind(condition.kind, &condition.argument).map_err(refused)
}

fn kind(kind: Kind, argument: &str) -> Result<bool, String> {
    match kind {
        Kind::PathExists => paths::exists(argument),
        Kind::PathExistsGlob => paths::some_match(argument),
        Kind::PathIsDirectory => paths::is_directory(argument),
        Kind::PathIsSymbolicLink => paths::is_link(argument),
        Kind::PathIsMountPoint => paths::is_mount_point(argument),
        Kind::PathIsReadWrite => paths::is_read_write(argument),
        Kind::DirectoryNotEmpty => paths::directory_not_empty(argument),
        Kind::FileNotEmpty => paths::file_not_empty(argument),
        Kind::FileIsExecutable => paths::file_is_executable(argument),
        Kind::NeedsUpdate => paths::needs_update(argument),
        // The system's service manager is root: the answer is always the same.
        Kind::User => Ok(matches!(argument, "root" | "0" | "@system")),
        Kind::Group => Ok(matches!(argument, "root" | "0")),
        Kind::Capability => host::capability(argument),
        Kind::Host => host::host(argument),
        Kind::KernelCommandLine => host::kernel_command_line(argument),
        Kind::KernelVersion => host::kernel_version(argument),
        Kind::KernelModuleLoaded => paths::module(argument),
        Kind::Architecture => host::architecture(argument),
        Kind::Environment => Ok(host::environment(argument)),
        Kind::OSRelease => host::os_release(argument),
        Kind::FirstBoot => host::first_boot(argument),
        Kind::Credential => host::credential(argument),
        Kind::Virtualization => machine::virtualization(argument),
        Kind::Firmware => machine::firmware(argument),
        Kind::Security => machine::security(argument),
        Kind::ControlGroupController => machine::controllers(argument),
        Kind::Memory => machine::memory(argument),
        Kind::CPUs => machine::cpus(argument),
        Kind::CPUFeature => machine::cpu_feature(argument),
        Kind::ACPower => machine::ac_power(argument),
        Kind::PathIsEncrypted | Kind::MemoryPressure | Kind::CPUPressure | Kind::IOPressure => {
            Err("cannot be answered here".into())
        }
    }
}

/// A yes or a no that a condition is compared with.
fn boolean(argument: &str) -> Option<bool> {
    match argument.to_ascii_lowercase().as_str() {
        "yes" | "y" | "true" | "t" | "1" | "on" => Some(true),
        "no" | "n" | "false" | "f" | "0" | "off" => Some(false),
        _ => None,
    }
}

/// The text of one of the kernel's files, or of a small one of the host's; `None` where there is none.
fn text(path: &str) -> Result<Option<String>, String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(format!("{path}: {error}")),
    }
}
