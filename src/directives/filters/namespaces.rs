//! `RestrictNamespaces=`.

use crate::directives::boolean;
use crate::words;

/// The flag of a time namespace (clone(2), `CLONE_NEWTIME`). In clone(2) itself it is a part of the exit signal.
pub const TIME: u32 = 0x80;

/// `CLONE_NEW*` of `linux/sched.h`, by systemd's names (`time` since 262).
const NAMES: [(&str, u32); 8] = [
    ("cgroup", 0x0200_0000),
    ("ipc", 0x0800_0000),
    ("mnt", 0x0002_0000),
    ("net", 0x4000_0000),
    ("pid", 0x2000_0000),
    ("time", TIME),
    ("user", 0x1000_0000),
    ("uts", 0x0400_0000),
];

/// The flags of all kinds.
pub const ALL: u32 = 0x7E02_0080;

/// One assignment; `left` holds the kinds that are left. Lists add up, those with `~` in front take away, and the
/// first one of all begins with nothing or, with `~`, with everything.
pub(super) fn assign(left: &mut Option<u32>, value: &str) -> Result<(), String> {
    let value = value.trim();
    if value.is_empty() {
        *left = None;
        return Ok(());
    }
    if let Ok(restrict) = boolean(value) {
        *left = Some(if restrict { 0 } else { ALL });
        return Ok(());
    }
    let (inverted, list) = match value.strip_prefix('~') {
        Some(list) => (true, list),
        None => (false, value),
    };
    let mut named = 0;
    for word in words::split(list)? {
        let known = NAMES.iter().find(|(name, _)| *name == word);
        let (_, flag) = known.ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("names {word:?}; there are {}", names.join(", "))
        })?;
        named |= flag;
    }
    *left = Some(match inverted {
        true => left.unwrap_or(ALL) & !named,
        false => left.unwrap_or(0) | named,
    });
    Ok(())
}
