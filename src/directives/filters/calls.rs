//! Lists of system calls: `SystemCallFilter=`, `SystemCallLog=`, `SystemCallErrorNumber=`.

use std::collections::{BTreeMap, BTreeSet};

use syscalls::Errno;

use crate::syscall_sets::expand;
use crate::words;

/// What is done about a call that is not let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Denial {
    /// The process ends with SIGSYS.
    #[default]
    Kill,
    /// The call fails with this error number, from 0 to 4095.
    Errno(u16),
}

/// A list of calls, by name. The first assignment decides which kind of list it is; later ones, and those of the
/// other kind, add to it and take away (systemd.exec(5), `SystemCallFilter=`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Whether what is listed passes, and nothing else; otherwise what is listed does not.
    pub allow: bool,
    /// The calls, and what is done about one that has a denial of its own.
    listed: BTreeMap<&'static str, Option<Denial>>,
    /// Calls that were taken from an allow list again.
    removed: BTreeSet<&'static str>,
}

/// The greatest error number (`ERRNO_MAX` of systemd, `MAX_ERRNO` of the kernel).
const ERRNO_MAX: u16 = 4095;

/// The greatest error number that has a name on our machines (`asm-generic/errno.h`).
const LAST_NAMED: i32 = 133;

/// Names that share a number with another one, by errno(3).
const ERRNO_ALIASES: [(&str, u16); 3] = [("EWOULDBLOCK", 11), ("EDEADLOCK", 35), ("ENOTSUP", 95)];

impl Calls {
    /// What is done about a call; None: it passes. `multiplexer` is the call by which it is made, where that is
    /// another one (`socketcall` and `ipc` of i386).
    ///
    /// Like libseccomp, which `systemd` uses: a rule for `socket` is one for `socketcall(SYS_SOCKET)` too.
    /// Unlike it: what was taken from an allow list is not let in again by the multiplexer that is still on it.
    pub fn denial(&self, name: &str, multiplexer: Option<&str>, general: Denial) -> Option<Denial> {
        let outer = multiplexer.and_then(|name| self.listed.get(name));
        match (self.allow, self.listed.get(name), outer) {
            (true, Some(None), _) => None,
            (true, None, Some(None)) if !self.removed.contains(name) => None,
            (true, own, _) => Some(own.copied().flatten().unwrap_or(general)),
            (false, Some(own), _) | (false, None, Some(own)) => Some(own.unwrap_or(general)),
            (false, None, None) => None,
        }
    }

    fn assign(&mut self, word: &str, inverted: bool) -> Result<(), String> {
        let (name, denial) = match word.split_once(':') {
            Some((name, denial)) => (name, Some(own_denial(denial)?)),
            None => (word, None),
        };
        if denial.is_some() && !inverted {
            return Err(format!(
                "has {word:?}: a call that is allowed has no error; deny it in a line that begins with '~'"
            ));
        }
        for name in expand(name)? {
            if inverted != self.allow {
                self.listed.insert(name, denial);
                self.removed.remove(name);
            } else if denial.is_some() {
                self.listed.insert(name, denial);
            } else {
                self.listed.remove(name);
                self.removed.insert(name);
            }
        }
        Ok(())
    }
}

/// `SystemCallFilter=`.
pub(super) fn filter(calls: &mut Option<Calls>, value: &str) -> Result<(), String> {
    let Some((inverted, words)) = list(value)? else {
        *calls = None;
        return Ok(());
    };
    // A line with an error in it changes nothing.
    let mut changed = calls.clone().unwrap_or_default();
    if calls.is_none() && !inverted {
        changed.allow = true;
        changed.assign("@default", false)?;
    }
    for word in words {
        changed.assign(&word, inverted)?;
    }
    *calls = Some(changed);
    Ok(())
}

/// `SystemCallLog=`. Here a list that allows is one whose calls are logged.
pub(super) fn log(calls: &mut Option<Calls>, value: &str) -> Result<(), String> {
    let Some((inverted, words)) = list(value)? else {
        *calls = None;
        return Ok(());
    };
    let mut changed = calls.clone().unwrap_or(Calls {
        allow: !inverted,
        ..Calls::default()
    });
    for word in words {
        if word.contains(':') {
            return Err(format!("has {word:?}: a call that is logged has no error"));
        }
        changed.assign(&word, inverted)?;
    }
    *calls = Some(changed);
    Ok(())
}

/// The words of a list, and whether it begins with `~`. None: it is empty.
fn list(value: &str) -> Result<Option<(bool, Vec<String>)>, String> {
    let value = value.trim_start();
    let (inverted, rest) = match value.strip_prefix('~') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    Ok(match value.is_empty() {
        true => None,
        false => Some((inverted, words::split(rest)?)),
    })
}

/// `SystemCallErrorNumber=`.
pub(super) fn error_number(value: &str) -> Result<Denial, String> {
    match value {
        "" => Ok(Denial::Kill),
        "0" => Err(
            "is no error, and a service that takes it for success does not know what it does"
                .into(),
        ),
        other => denial(other).ok_or_else(|| format!("is {NO_ERROR}")),
    }
}

/// The part of a word after its colon. 0 is allowed there, as in systemd: the call does nothing and succeeds.
fn own_denial(value: &str) -> Result<Denial, String> {
    denial(value).ok_or_else(|| format!("names {value:?}, which is {NO_ERROR}"))
}

const NO_ERROR: &str =
    "neither the name of an error (errno(3)) nor a number from 1 to 4095 nor \"kill\"";

fn denial(value: &str) -> Option<Denial> {
    if value == "kill" {
        return Some(Denial::Kill);
    }
    if value.bytes().all(|b| b.is_ascii_digit()) {
        let number: u16 = value.parse().ok()?;
        return (number <= ERRNO_MAX).then_some(Denial::Errno(number));
    }
    let alias = ERRNO_ALIASES.iter().find(|(name, _)| *name == value);
    let number = match alias {
        Some((_, number)) => *number,
        None => {
            let number = (1..=LAST_NAMED).find(|n| Errno::new(*n).name() == Some(value));
            u16::try_from(number?).ok()?
        }
    };
    Some(Denial::Errno(number))
}
