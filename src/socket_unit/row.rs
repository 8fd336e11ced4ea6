//! What a directive of `[Socket]` is, how one is found, and how it is applied.

#![forbid(unsafe_code)]

use super::table::{OF_COMMANDS, TABLE};
use super::{Address, Draft, Kind, Listen};
use crate::directives::{self, Effect, boolean, room};

/// One directive of `[Socket]`.
pub struct Row {
    /// Its name, as in systemd.socket(5).
    pub name: &'static str,
    /// What is done about it.
    pub effect: Effect,
    /// How it is done; why it is not, for one that is not supported or means nothing here.
    pub how: &'static str,
    /// How it is applied: an error is a sentence about the value.
    apply: Option<Apply>,
}

/// What applies an assignment.
pub(super) type Apply = fn(&mut Draft, &str) -> Result<(), String>;

impl Row {
    /// Whether it is done.
    pub fn is_supported(&self) -> bool {
        self.apply.is_some() || self.effect == Effect::Elsewhere
    }
}

/// One that is done.
pub(super) const fn function(name: &'static str, how: &'static str, apply: Apply) -> Row {
    Row {
        name,
        effect: Effect::Function,
        how,
        apply: Some(apply),
    }
}

/// One that means nothing here.
pub(super) const fn elsewhere(name: &'static str, how: &'static str) -> Row {
    Row {
        name,
        effect: Effect::Elsewhere,
        how,
        apply: None,
    }
}

/// One that is not supported.
pub(super) const fn missing(name: &'static str, how: &'static str) -> Row {
    Row {
        name,
        effect: Effect::Function,
        how,
        apply: None,
    }
}

/// One that takes rights away, and is not supported.
pub(super) const fn unenforced(name: &'static str, how: &'static str) -> Row {
    Row {
        name,
        effect: Effect::Restriction,
        how,
        apply: None,
    }
}

/// Those that are not supported, and ask for nothing when they are off.
const SWITCHES: [&str; 5] = [
    "DeferTrigger",
    "PassPIDFD",
    "PrivateNetwork",
    "SELinuxContextFromNet",
    "Writable",
];

/// The directive of `[Socket]` of a name.
pub fn find(name: &str) -> Option<&'static Row> {
    let own = TABLE.iter().find(|row| row.name == name);
    own.or_else(|| is_of_commands(name).then_some(&OF_COMMANDS))
}

/// Whether systemd takes it in `[Socket]` for the commands that a socket unit may have.
fn is_of_commands(name: &str) -> bool {
    const KILLING: [&str; 7] = [
        "KillMode",
        "KillSignal",
        "RestartKillSignal",
        "FinalKillSignal",
        "WatchdogSignal",
        "SendSIGKILL",
        "SendSIGHUP",
    ];
    const OURS: [&str; 3] = [
        "AllowUnenforced",
        "RestrictForeignDirectories",
        "SharedDirectories",
    ];
    let of_a_service_alone = directives::is_of_a_unit_file(name) || name == "TimeoutStopSec";
    KILLING.contains(&name)
        || (directives::find(name).is_some() && !of_a_service_alone && !OURS.contains(&name))
}

impl Draft {
    /// Applies one assignment.
    ///
    /// # Errors
    /// A sentence about the value, or about the name where there is no such directive, or it is not supported.
    pub fn assign(&mut self, name: &str, value: &str) -> Result<(), String> {
        let row = find(name).ok_or("is no directive of [Socket] that is known")?;
        match (row.apply, row.effect) {
            (Some(apply), _) => apply(self, value),
            (None, Effect::Elsewhere) => Ok(()),
            // Nothing is asked for.
            (None, _) if value.is_empty() => Ok(()),
            (None, _) if SWITCHES.contains(&name) && boolean(value) == Ok(false) => Ok(()),
            (None, Effect::Function) => Err(format!("is not supported: {}", row.how)),
            (None, Effect::Restriction) => Err(format!("cannot be enforced: {}", row.how)),
        }
    }

    pub(super) fn listen(&mut self, kind: Kind, value: &str) -> Result<(), String> {
        if value.is_empty() {
            // Of all kinds: systemd has one list.
            self.listens.clear();
            return Ok(());
        }
        room(self.listens.len(), 1)?;
        let address = Address::parse(kind, value)?;
        self.listens.push(Listen { kind, address });
        Ok(())
    }
}
