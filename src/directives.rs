//! The one table of directives: what a property is called, and what it does to the settings.
//!
//! A name that is not here is refused, never ignored: a launcher that ignores `DynamicUser=`
//! starts the service as root.

#![forbid(unsafe_code)]

use core::time::Duration;

use crate::exec_directory::{ExecDirectory, Kind};
use crate::time_span::{self, TimeSpan};
use crate::words;

/// What the properties of a request add up to.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `User=`.
    pub user: Option<String>,
    /// The directories of all kinds.
    pub directories: Vec<ExecDirectory>,
    /// `…DirectoryMode=`, by kind.
    pub modes: Vec<(Kind, u32)>,
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
pub const TABLE: [Directive; 19] = [
    directive("DynamicUser", |_, value| {
        implied(value, &["yes"]).map_err(|_| {
            "dynuser runs everything as a dynamic user; leave it out, or run the command without dynuser"
                .into()
        })
    }),
    directive("User", |settings, value| {
        settings.user = (!value.is_empty()).then(|| value.into());
        Ok(())
    }),
    directive("RuntimeDirectory", |s, v| directories(s, Kind::Runtime, v)),
    directive("StateDirectory", |s, v| directories(s, Kind::State, v)),
    directive("CacheDirectory", |s, v| directories(s, Kind::Cache, v)),
    directive("LogsDirectory", |s, v| directories(s, Kind::Logs, v)),
    directive("RuntimeDirectoryMode", |s, v| mode(s, Kind::Runtime, v)),
    directive("StateDirectoryMode", |s, v| mode(s, Kind::State, v)),
    directive("CacheDirectoryMode", |s, v| mode(s, Kind::Cache, v)),
    directive("LogsDirectoryMode", |s, v| mode(s, Kind::Logs, v)),
    directive("WorkingDirectory", working_directory),
    directive("Environment", environment),
    directive("TimeoutStopSec", stop_timeout),
    // What DynamicUser=yes implies cannot be weakened: other values are refused, not ignored.
    directive("NoNewPrivileges", |_, value| implied(value, &["yes"])),
    directive("RestrictSUIDSGID", |_, value| implied(value, &["yes"])),
    directive("RemoveIPC", |_, value| implied(value, &["yes"])),
    directive("ProtectSystem", |_, value| implied(value, &["strict"])),
    directive("ProtectHome", |_, value| implied(value, &["read-only"])),
    directive("PrivateTmp", |_, value| {
        implied(value, &["disconnected", "yes"])
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

    /// The mode of directories of a kind, 0755 unless set.
    pub fn mode(&self, kind: Kind) -> u32 {
        self.modes
            .iter()
            .rev()
            .find(|(of, _)| *of == kind)
            .map_or(0o755, |(_, mode)| *mode)
    }
}

/// Accepts only what is in force anyway.
fn implied(value: &str, accepted: &[&str]) -> Result<(), String> {
    let yes = accepted.contains(&"yes") && matches!(value, "1" | "true" | "on" | "y" | "t");
    if yes || accepted.contains(&value) {
        return Ok(());
    }
    Err(format!(
        "is not possible: every service has {}, and it cannot be weakened",
        accepted.join(" or ")
    ))
}

fn directories(settings: &mut Settings, kind: Kind, value: &str) -> Result<(), String> {
    let words = words::split(value)?;
    if words.is_empty() {
        settings
            .directories
            .retain(|directory| directory.kind() != kind);
    }
    for word in words {
        let directory = ExecDirectory::parse(kind, &word).map_err(|why| match word == value {
            true => why,
            false => format!("{word:?} {why}"),
        })?;
        if !settings.directories.contains(&directory) {
            settings.directories.push(directory);
        }
    }
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
mod tests {
    use super::*;

    #[test]
    fn lists_add_up_and_an_empty_value_resets_them() {
        let mut settings = Settings::default();
        for value in ["a b", "c", "a"] {
            settings
                .assign("StateDirectory", value)
                .expect("a good list");
        }
        settings.assign("CacheDirectory", "k").expect("a good list");
        let paths = |settings: &Settings| -> Vec<String> {
            settings
                .directories
                .iter()
                .map(ExecDirectory::public)
                .collect()
        };
        assert_eq!(
            paths(&settings),
            ["/var/lib/a", "/var/lib/b", "/var/lib/c", "/var/cache/k"]
        );
        settings.assign("StateDirectory", "").expect("a reset");
        assert_eq!(paths(&settings), ["/var/cache/k"]);
    }

    #[test]
    fn the_last_mode_of_a_kind_counts() {
        let mut settings = Settings::default();
        assert_eq!(settings.mode(Kind::State), 0o755);
        settings
            .assign("StateDirectoryMode", "0700")
            .expect("a mode");
        settings
            .assign("StateDirectoryMode", "750")
            .expect("a mode");
        assert_eq!(settings.mode(Kind::State), 0o750);
        assert_eq!(settings.mode(Kind::Cache), 0o755);
        for bad in ["", "8", "rwx", "17777", "4755", "2755", "-1", "+7"] {
            assert!(settings.assign("StateDirectoryMode", bad).is_err(), "{bad}");
        }
        settings
            .assign("LogsDirectoryMode", "1777")
            .expect("sticky is fine");
    }

    #[test]
    fn what_is_implied_cannot_be_weakened() {
        let mut settings = Settings::default();
        for (name, value) in [
            ("DynamicUser", "yes"),
            ("NoNewPrivileges", "true"),
            ("ProtectSystem", "strict"),
            ("ProtectHome", "read-only"),
        ] {
            assert!(settings.assign(name, value).is_ok(), "{name}={value}");
        }
        for (name, value) in [
            ("DynamicUser", "no"),
            ("NoNewPrivileges", "no"),
            ("RestrictSUIDSGID", ""),
            ("ProtectSystem", "full"),
            ("ProtectSystem", "true"),
            ("ProtectHome", "no"),
        ] {
            assert!(settings.assign(name, value).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn unknown_names_are_refused() {
        for name in ["MemoryMax", "statedirectory", "", "ExecStart"] {
            assert!(Settings::default().assign(name, "x").is_err(), "{name}");
        }
    }

    #[test]
    fn the_environment_is_made_of_names_and_values() {
        let mut settings = Settings::default();
        settings
            .assign("Environment", r#"A=1 "B=two words" C="#)
            .expect("assignments");
        let names: Vec<&str> = settings.environment.iter().map(|(n, _)| &**n).collect();
        assert_eq!(names, ["A", "B", "C"]);
        for bad in ["A", "=1", "1A=1", "A-B=1", "A\u{e4}=1"] {
            assert!(settings.assign("Environment", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_working_directory_is_absolute() {
        let mut settings = Settings::default();
        settings
            .assign("WorkingDirectory", "-/srv")
            .expect("a path");
        assert_eq!(
            settings.working_directory,
            Some(WorkingDirectory {
                path: "/srv".into(),
                may_be_missing: true
            })
        );
        for bad in ["~", "srv", "-", "./x"] {
            assert!(settings.assign("WorkingDirectory", bad).is_err(), "{bad}");
        }
    }
}
