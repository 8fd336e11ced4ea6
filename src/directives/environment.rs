//! The environment.

use super::Settings;
use super::row::{Directive, function};
use crate::words;

pub(super) const TABLE: &[Directive] = &[function(
    "Environment",
    "the environment of every command",
    environment,
)];

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
