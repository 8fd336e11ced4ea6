//! Reading the values of this topic.

use core::time::Duration;

use super::super::boolean;
use super::{KillMode, NotifyAccess, OnTimeout, Restart, Type};
use crate::sizes;
use crate::statuses::{self, Ending};
use crate::time_span::{self, TimeSpan};

/// Looks a word up.
pub(super) fn one_of<T: Copy, const N: usize>(
    value: &str,
    words: [(&str, T); N],
) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == value);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        format!("is none of {}", known.join(", "))
    })
}

pub(super) fn kind(value: &str) -> Result<Option<Type>, String> {
    if value == "dbus" {
        return Err(
            "is not supported: it counts as started when it owns a name on the bus, and nobody looks there"
                .into(),
        );
    }
    one_of(
        value,
        [
            ("simple", Some(Type::Simple)),
            ("idle", Some(Type::Simple)),
            ("exec", Some(Type::Exec)),
            ("oneshot", Some(Type::Oneshot)),
            ("notify", Some(Type::Notify)),
            ("notify-reload", Some(Type::NotifyReload)),
            ("forking", Some(Type::Forking)),
            ("", None),
        ],
    )
}

pub(super) fn notify_access(value: &str) -> Result<NotifyAccess, String> {
    one_of(
        value,
        [
            ("none", NotifyAccess::None),
            ("main", NotifyAccess::Main),
            ("exec", NotifyAccess::Exec),
            ("all", NotifyAccess::All),
        ],
    )
}

pub(super) fn restart(value: &str) -> Result<Restart, String> {
    one_of(
        value,
        [
            ("no", Restart::No),
            ("always", Restart::Always),
            ("on-success", Restart::OnSuccess),
            ("on-failure", Restart::OnFailure),
            ("on-abnormal", Restart::OnAbnormal),
            ("on-abort", Restart::OnAbort),
            ("on-watchdog", Restart::OnWatchdog),
        ],
    )
}

pub(super) fn kill_mode(value: &str) -> Result<KillMode, String> {
    one_of(
        value,
        [
            ("control-group", KillMode::ControlGroup),
            ("mixed", KillMode::Mixed),
            ("process", KillMode::Process),
            ("none", KillMode::None),
        ],
    )
}

pub(super) fn on_timeout(value: &str) -> Result<OnTimeout, String> {
    one_of(
        value,
        [
            ("terminate", OnTimeout::Terminate),
            ("abort", OnTimeout::Abort),
            ("kill", OnTimeout::Kill),
        ],
    )
}

/// `none` alone: what else there is turns the host off, which is not ours to do.
pub(super) fn no_action(value: &str) -> Result<(), String> {
    match value {
        "" | "none" => Ok(()),
        _ => Err("is not supported: there is none".into()),
    }
}

pub(super) fn push(list: &mut Vec<String>, value: &str) -> Result<(), String> {
    if value.is_empty() {
        list.clear();
    } else {
        list.push(value.into());
    }
    Ok(())
}

pub(super) fn set(setting: &mut bool, value: &str) -> Result<(), String> {
    *setting = boolean(value)?;
    Ok(())
}

/// A time span; empty goes back to the default.
pub(super) fn span(setting: &mut Option<TimeSpan>, value: &str) -> Result<(), String> {
    *setting = match value {
        "" => None,
        _ => Some(time_span::parse(value)?),
    };
    Ok(())
}

/// The same where 0 means that there is no limit (`config_parse_service_timeout` of systemd).
pub(super) fn timeout(setting: &mut Option<TimeSpan>, value: &str) -> Result<(), String> {
    span(setting, value)?;
    if *setting == Some(TimeSpan::Limited(Duration::ZERO)) {
        *setting = Some(TimeSpan::Infinite);
    }
    Ok(())
}

pub(super) fn signal(setting: &mut Option<u8>, value: &str) -> Result<(), String> {
    *setting = match value {
        "" => None,
        _ => Some(statuses::signal(value)?),
    };
    Ok(())
}

pub(super) fn endings(list: &mut Vec<Ending>, value: &str) -> Result<(), String> {
    if value.is_empty() {
        list.clear();
    }
    list.extend(statuses::list(value)?);
    Ok(())
}

pub(super) fn count(value: &str) -> Result<u32, String> {
    let number = sizes::number(value).ok();
    number
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| "is no number".into())
}

/// Relative paths are in `/run`.
pub(super) fn pid_file(value: &str) -> Result<Option<String>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let path = match value.starts_with('/') {
        true => value.to_owned(),
        false => format!("/run/{value}"),
    };
    if path.split('/').any(|part| part == "..") || path.ends_with('/') || path.contains('\0') {
        return Err("is no path of a file".into());
    }
    Ok(Some(path))
}
