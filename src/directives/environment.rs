//! The environment.

use super::Settings;
use super::mounts::clean;
use super::row::{Directive, function, missing};
use crate::environment_text::{self, Unset, is_name};
use crate::words;

/// A file with more of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentFile {
    /// An absolute path.
    pub path: String,
    /// Given with `-` in front: where it is missing, nothing is read.
    pub may_be_missing: bool,
}

/// What the directives of this topic add up to, besides `Environment=`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoreEnvironment {
    /// `EnvironmentFile=`, in order.
    pub files: Vec<EnvironmentFile>,
    /// `PassEnvironment=`.
    pub passed: Vec<String>,
    /// `UnsetEnvironment=`.
    pub unset: Vec<Unset>,
    /// `ExecSearchPath=`: where programs are looked for.
    pub search_path: Vec<String>,
}

pub(super) const TABLE: &[Directive] = &[
    function(
        "Environment",
        "the environment of every command",
        environment,
    ),
    function(
        "EnvironmentFile",
        "read on the host before each command; what it says wins over Environment=",
        file,
    ),
    function(
        "PassEnvironment",
        "dynuser's own variables, as far as it has them",
        |s, v| {
            let names = environment_text::pass_list(v)?;
            if names.is_empty() {
                s.more_environment.passed.clear();
            }
            s.more_environment.passed.extend(names);
            Ok(())
        },
    ),
    function("UnsetEnvironment", "taken out at the end", |s, v| {
        let list = environment_text::unset_list(v)?;
        if list.is_empty() {
            s.more_environment.unset.clear();
        }
        s.more_environment.unset.extend(list);
        Ok(())
    }),
    function(
        "ExecSearchPath",
        "where programs are looked for, and PATH",
        |s, v| {
            if v.is_empty() {
                s.more_environment.search_path.clear();
            }
            for folder in v.split(':').filter(|folder| !folder.is_empty()) {
                s.more_environment.search_path.push(clean(folder)?);
            }
            Ok(())
        },
    ),
    missing("SetLoginEnvironment", "USER and LOGNAME are always set"),
];

fn file(settings: &mut Settings, value: &str) -> Result<(), String> {
    let files = &mut settings.more_environment.files;
    if value.is_empty() {
        files.clear();
        return Ok(());
    }
    let (path, may_be_missing) = match value.strip_prefix('-') {
        Some(path) => (path, true),
        None => (value, false),
    };
    if path.contains(['*', '?', '[']) {
        return Err("is a pattern of names; name the files".into());
    }
    files.push(EnvironmentFile {
        path: clean(path)?,
        may_be_missing,
    });
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
        .filter(|(name, value)| is_name(name) && !value.contains('\0'));
    match named {
        Some((name, value)) => Ok((name.into(), value.into())),
        None => Err(format!("{assignment:?} is not of the form NAME=value")),
    }
}
