//! The one table of directives: what a property is called, and what it does to the settings.
//!
//! A name that is not here is refused, never ignored: a launcher that ignores `DynamicUser=`
//! starts the service as root.

#![forbid(unsafe_code)]

mod directories;
mod file_systems;

use core::time::Duration;

use crate::exec_directory::{Kind, Preserve};
use crate::time_span::{self, TimeSpan};
use crate::words;

pub use directories::Asked;
pub use file_systems::TemporaryFileSystem;

/// What the properties of a request add up to.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `DynamicUser=no`: the user is one that the host has, or root.
    pub static_user: bool,
    /// `User=`.
    pub user: Option<String>,
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
    /// What is in force for a dynamic user only, and was asked for by name.
    pub implied: Vec<&'static str>,
    /// `WorkingDirectory=`.
    pub working_directory: Option<WorkingDirectory>,
    /// `Environment=`, later assignments last.
    pub environment: Vec<(String, String)>,
    /// `TimeoutStopSec=`.
    pub stop_timeout: Option<Duration>,
}

/// `WorkingDirectory=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkingDirectory {
    /// An absolute path.
    pub path: String,
    /// Given with `-` in front: where it is missing, the service starts in `/`.
    pub may_be_missing: bool,
}

/// One directive.
pub struct Directive {
    /// Its name, as in systemd.exec(5).
    pub name: &'static str,
    /// How it is applied: an error is a sentence about the value.
    apply: fn(&mut Settings, &str) -> Result<(), String>,
}

/// Every directive there is.
pub const TABLE: [Directive; 24] = [
    directive("DynamicUser", |settings, value| {
        settings.static_user = !boolean(value)?;
        Ok(())
    }),
    directive("User", |settings, value| {
        settings.user = (!value.is_empty()).then(|| value.into());
        Ok(())
    }),
    directive("RuntimeDirectory", |s, v| s.list(Kind::Runtime, v)),
    directive("StateDirectory", |s, v| s.list(Kind::State, v)),
    directive("CacheDirectory", |s, v| s.list(Kind::Cache, v)),
    directive("LogsDirectory", |s, v| s.list(Kind::Logs, v)),
    directive("ConfigurationDirectory", |s, v| {
        s.list(Kind::Configuration, v)
    }),
    directive("RuntimeDirectoryMode", |s, v| mode(s, Kind::Runtime, v)),
    directive("StateDirectoryMode", |s, v| mode(s, Kind::State, v)),
    directive("CacheDirectoryMode", |s, v| mode(s, Kind::Cache, v)),
    directive("LogsDirectoryMode", |s, v| mode(s, Kind::Logs, v)),
    directive("ConfigurationDirectoryMode", |s, v| {
        mode(s, Kind::Configuration, v)
    }),
    directive("RuntimeDirectoryPreserve", preserve),
    directive("SharedDirectories", |settings, value| {
        settings.shared = boolean(value)?;
        Ok(())
    }),
    directive("TemporaryFileSystem", |settings, value| {
        file_systems::add(&mut settings.temporary, value)
    }),
    directive("WorkingDirectory", working_directory),
    directive("Environment", environment),
    directive("TimeoutStopSec", stop_timeout),
    // What DynamicUser=yes implies cannot be weakened: other values are refused, not ignored.
    directive("NoNewPrivileges", |s, v| {
        s.imply("NoNewPrivileges", v, &["yes"])
    }),
    directive("RestrictSUIDSGID", |s, v| {
        s.imply("RestrictSUIDSGID", v, &["yes"])
    }),
    directive("RemoveIPC", |s, v| s.imply("RemoveIPC", v, &["yes"])),
    directive("ProtectSystem", |s, v| {
        s.imply("ProtectSystem", v, &["strict"])
    }),
    directive("ProtectHome", |s, v| {
        s.imply("ProtectHome", v, &["read-only"])
    }),
    directive("PrivateTmp", |s, v| {
        s.imply("PrivateTmp", v, &["disconnected", "yes"])
    }),
];

const fn directive(
    name: &'static str,
    apply: fn(&mut Settings, &str) -> Result<(), String>,
) -> Directive {
    Directive { name, apply }
}

impl Settings {
    /// Applies one assignment.
    ///
    /// # Errors
    /// A sentence about the value, or about the name when there is no such directive.
    pub fn assign(&mut self, name: &str, value: &str) -> Result<(), String> {
        match TABLE.iter().find(|directive| directive.name == name) {
            Some(directive) => (directive.apply)(self, value),
            None => {
                let known: Vec<&str> = TABLE.iter().map(|directive| directive.name).collect();
                Err(format!(
                    "is not supported, and a property is never ignored; there are {}",
                    known.join(", ")
                ))
            }
        }
    }

    /// Accepts only what is in force anyway.
    fn imply(&mut self, name: &'static str, value: &str, accepted: &[&str]) -> Result<(), String> {
        let yes = accepted.contains(&"yes") && boolean(value) == Ok(true);
        if !yes && !accepted.contains(&value) {
            return Err(format!(
                "is not possible: every service of a dynamic user has {}, and it cannot be weakened",
                accepted.join(" or ")
            ));
        }
        self.implied.push(name);
        Ok(())
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

/// `yes` or `no`, and the other words for them (systemd.syntax(7)).
fn boolean(value: &str) -> Result<bool, String> {
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

fn preserve(settings: &mut Settings, value: &str) -> Result<(), String> {
    settings.preserve = match value {
        "restart" => Preserve::Restart,
        "" => Preserve::No,
        other => match boolean(other) {
            Ok(true) => Preserve::Yes,
            Ok(false) => Preserve::No,
            Err(_) => return Err("is neither no, restart nor yes".into()),
        },
    };
    Ok(())
}

fn mode(settings: &mut Settings, kind: Kind, value: &str) -> Result<(), String> {
    let octal = !value.is_empty() && value.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = octal
        .then(|| u32::from_str_radix(value, 8).ok())
        .flatten()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| String::from("is not an octal mode"))?;
    if mode & 0o6000 != 0 {
        return Err("has a set-ID bit, which a dynamic user cannot have".into());
    }
    settings.modes.push((kind, mode));
    Ok(())
}

fn working_directory(settings: &mut Settings, value: &str) -> Result<(), String> {
    if value.is_empty() {
        settings.working_directory = None;
        return Ok(());
    }
    let (path, may_be_missing) = match value.strip_prefix('-') {
        Some(path) => (path, true),
        None => (value, false),
    };
    if path == "~" {
        return Err("a dynamic user has no home directory".into());
    }
    if !path.starts_with('/') || path.contains('\0') {
        return Err("is not an absolute path".into());
    }
    settings.working_directory = Some(WorkingDirectory {
        path: path.into(),
        may_be_missing,
    });
    Ok(())
}

fn stop_timeout(settings: &mut Settings, value: &str) -> Result<(), String> {
    settings.stop_timeout = match time_span::parse(value)? {
        TimeSpan::Limited(limit) => Some(limit),
        TimeSpan::Infinite => {
            return Err(
                "is not possible: a number whose processes may stay would never be free".into(),
            );
        }
    };
    Ok(())
}

fn environment(settings: &mut Settings, value: &str) -> Result<(), String> {
    let words = words::split(value)?;
    if words.is_empty() {
        settings.environment.clear();
    }
    for word in words {
        settings.environment.push(variable(&word)?);
    }
    Ok(())
}

/// Reads one `NAME=value` of an environment.
///
/// # Errors
/// A sentence, when the name is not one that a shell could use.
pub fn variable(assignment: &str) -> Result<(String, String), String> {
    let named = assignment
        .split_once('=')
        .filter(|(name, value)| is_variable_name(name) && !value.contains('\0'));
    match named {
        Some((name, value)) => Ok((name.into(), value.into())),
        None => Err(format!("{assignment:?} is not of the form NAME=value")),
    }
}

/// Tells whether `name` is the name of an environment variable: letters, digits and `_`, and no
/// digit first.
pub fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests;
