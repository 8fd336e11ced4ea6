//! Conditions about the host's names and settings, and the facts that specifiers stand for.

use rustix::system::uname;

use super::{boolean, text};
use crate::capabilities;
use crate::conditions::{Operator, matches_any_case, split_operator};
use crate::specifiers::{self, Facts};
use crate::words;

/// Where os-release(5) is, the first that is there.
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// What the specifiers of this host stand for. What cannot be read is not known.
pub fn facts() -> Facts {
    let name = uname();
    let field = |field: &str| Some(os_release_field(field).ok()?.unwrap_or_default());
    let machine_info = text("/etc/machine-info").ok().flatten();
    Facts {
        host_name: name.nodename().to_str().ok().map(Into::into),
        pretty_host_name: machine_info
            .and_then(|text| assigned(&text, "PRETTY_HOSTNAME"))
            .filter(|name| !name.is_empty()),
        machine_id: machine_id(),
        boot_id: text("/proc/sys/kernel/random/boot_id")
            .ok()
            .flatten()
            .map(|id| id.trim().replace('-', "")),
        kernel_release: name.release().to_str().ok().map(Into::into),
        architecture: name
            .machine()
            .to_str()
            .ok()
            .and_then(specifiers::architecture)
            .map(Into::into),
        os_id: field("ID"),
        os_version: field("VERSION_ID"),
        os_variant: field("VARIANT_ID"),
        os_build: field("BUILD_ID"),
        image_id: field("IMAGE_ID"),
        image_version: field("IMAGE_VERSION"),
    }
}

fn machine_id() -> Option<String> {
    let id = text("/etc/machine-id").ok().flatten()?.trim().to_owned();
    is_id(&id).then_some(id)
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.chars().all(|c| c.is_ascii_hexdigit())
}

pub(super) fn host(argument: &str) -> Result<bool, String> {
    let plain = argument.replace('-', "");
    if is_id(&plain) {
        let id = machine_id().ok_or("/etc/machine-id holds none")?;
        if id.eq_ignore_ascii_case(&plain) {
            return Ok(true);
        }
    }
    let name = uname();
    let name = name
        .nodename()
        .to_str()
        .map_err(|_| "the host's name is not UTF-8")?;
    Ok(matches_any_case(argument, name))
}

pub(super) fn architecture(argument: &str) -> Result<bool, String> {
    if argument == "native" {
        return Ok(true);
    }
    let name = uname();
    let machine = name.machine().to_str().unwrap_or("");
    match specifiers::architecture(machine) {
        Some(architecture) => Ok(architecture == argument),
        None => Err(format!("{machine} has no name here")),
    }
}

pub(super) fn kernel_version(argument: &str) -> Result<bool, String> {
    let name = uname();
    let release = name
        .release()
        .to_str()
        .map_err(|_| "the release is not UTF-8")?;
    let mut waiting: Option<Operator> = None;
    for word in words::split(argument)? {
        let (operator, version) = match (waiting.take(), split_operator(&word)) {
            // `">= 6"` in two words.
            (None, Some((operator, ""))) => {
                waiting = Some(operator);
                continue;
            }
            (Some(operator), _) => (operator, word.as_str()),
            (None, Some(split)) => split,
            (None, None) => (Operator::Pattern, word.as_str()),
        };
        if !operator.holds(release, version.trim_start()) {
            return Ok(false);
        }
    }
    match waiting {
        Some(_) => Err("ends with an operator".into()),
        None => Ok(true),
    }
}

/// The words of the kernel's command line. A container's own start has some of its own.
fn kernel_words() -> Result<Vec<String>, String> {
    let path = if super::machine::in_container()?.is_some() {
        "/proc/1/cmdline"
    } else {
        "/proc/cmdline"
    };
    let line = text(path)?.ok_or("/proc is not mounted")?;
    // Quotes of the kernel's are few, and hold blanks together.
    let line = line.replace('\0', " ");
    Ok(words::split_by(line.trim(), words::Escapes::Lenient)
        .unwrap_or_else(|_| line.split_whitespace().map(Into::into).collect()))
}

/// The value of an option on the kernel's command line: `Some(None)` for one without value.
pub(super) fn kernel_option(name: &str) -> Result<Option<Option<String>>, String> {
    let words = kernel_words()?;
    Ok(words.iter().rev().find_map(|word| {
        let rest = word.strip_prefix(name)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(Some(value.to_owned())),
            None => rest.is_empty().then_some(None),
        }
    }))
}

pub(super) fn kernel_command_line(argument: &str) -> Result<bool, String> {
    let with_value = argument.contains('=');
    Ok(kernel_words()?.iter().any(|word| {
        word == argument
            || !with_value
                && word
                    .strip_prefix(argument)
                    .is_some_and(|rest| rest.starts_with('='))
    }))
}

pub(super) fn environment(argument: &str) -> bool {
    match argument.split_once('=') {
        Some((name, value)) => std::env::var_os(name).is_some_and(|found| found == *value),
        None => std::env::var_os(argument).is_some(),
    }
}

pub(super) fn capability(argument: &str) -> Result<bool, String> {
    let number = capabilities::number(argument).ok_or("is no capability that is known here")?;
    let status = text("/proc/self/status")?.ok_or("/proc is not mounted")?;
    let set = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .ok_or("/proc/self/status has no CapBnd:")?;
    Ok(set
        .checked_shr(number.into())
        .is_some_and(|set| set & 1 != 0))
}

pub(super) fn first_boot(argument: &str) -> Result<bool, String> {
    let asked = boolean(argument).ok_or("is neither yes nor no")?;
    let first = match kernel_option("systemd.condition_first_boot")? {
        Some(told) => boolean(told.as_deref().unwrap_or("yes"))
            .ok_or("systemd.condition_first_boot= is no boolean")?,
        None => text("/run/systemd/first-boot")?.is_some(),
    };
    Ok(first == asked)
}

pub(super) fn credential(argument: &str) -> Result<bool, String> {
    if argument.contains('/') || argument.starts_with('.') {
        return Err("is no name of a credential".into());
    }
    for variable in ["CREDENTIALS_DIRECTORY", "ENCRYPTED_CREDENTIALS_DIRECTORY"] {
        let Some(folder) = std::env::var_os(variable) else {
            continue;
        };
        let path = std::path::Path::new(&folder).join(argument);
        if path.try_exists().map_err(|error| error.to_string())? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn os_release(argument: &str) -> Result<bool, String> {
    for word in words::split(argument)? {
        let split = word.find(['=', '!', '<', '>', '$']);
        let (key, rest) = split
            .and_then(|at| word.split_at_checked(at))
            .ok_or("is not of the form KEY=VALUE")?;
        let (operator, value) = split_operator(rest).ok_or("has no operator")?;
        if key.is_empty() || value.is_empty() {
            return Err(format!("{word:?} is not of the form KEY=VALUE"));
        }
        let known = os_release_field(key)?.unwrap_or_default();
        if !operator.holds(&known, value) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn os_release_field(name: &str) -> Result<Option<String>, String> {
    for path in OS_RELEASE {
        if let Some(text) = text(path)? {
            return Ok(assigned(&text, name));
        }
    }
    Ok(None)
}

/// The value of the last assignment to `name` in a file of shell assignments (os-release(5)).
fn assigned(text: &str, name: &str) -> Option<String> {
    let value = text.lines().rev().find_map(|line| {
        let rest = line.trim().strip_prefix(name)?;
        rest.strip_prefix('=')
    })?;
    let words = words::split_by(value, words::Escapes::Lenient).ok()?;
    Some(words.into_iter().next().unwrap_or_default())
}
