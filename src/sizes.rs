//! Sizes, shares and resource limits: `MemoryMax=` and its like (systemd.resource-control(5)) and
//! `LimitNOFILE=` and its like (systemd.exec(5)), read as systemd 257 reads them.

#![forbid(unsafe_code)]

use crate::time_span::{self, TimeSpan};

/// No limit, as the kernel writes it (`RLIM_INFINITY`).
pub const INFINITE: u64 = u64::MAX;

/// What a size may be counted in, the largest first, and its bytes.
const UNITS: [(&str, u64); 8] = [
    ("E", 1 << 60),
    ("P", 1 << 50),
    ("T", 1 << 40),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
    ("B", 1),
    ("", 1),
];

/// Reads a size in bytes: `512`, `1.5G`, `1G 512M` (units of 1024, ever smaller ones).
///
/// # Errors
/// A sentence, for what is no size, and for one beyond 64 bits.
pub fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is no size: write a number and K, M, G, T, P or E, as in 512M");
    let mut units = UNITS.iter();
    let mut rest = text.trim_ascii();
    let mut bytes: u64 = 0;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        rest = rest.strip_prefix('+').unwrap_or(rest);
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, after) = rest
            .split_at_checked(end.unwrap_or(rest.len()))
            .ok_or_else(bad)?;
        let after = after.trim_ascii_start();
        // Each unit once: only smaller ones are left for what follows.
        let (unit, factor) = units
            .find(|(unit, _)| after.starts_with(unit))
            .ok_or_else(bad)?;
        rest = after
            .strip_prefix(unit)
            .unwrap_or_default()
            .trim_ascii_start();
        let one = times(number, *factor).ok_or_else(bad)?;
        bytes = one
            .and_then(|one| bytes.checked_add(one))
            .ok_or_else(|| format!("{text:?} is more than 64 bits hold"))?;
    }
    Ok(bytes)
}

/// A decimal number times a factor, rounded down. The outer None is for what is no number, the inner one
/// for what is too large.
fn times(number: &str, factor: u64) -> Option<Option<u64>> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let mut parts: u128 = 0;
    let mut worth: u128 = 1;
    // More places than these count for no byte.
    for digit in fraction.chars().take(18).filter_map(|c| c.to_digit(10)) {
        parts = parts.checked_mul(10)?.checked_add(u128::from(digit))?;
        worth = worth.checked_mul(10)?;
    }
    let parts = parts.checked_mul(u128::from(factor))?.checked_div(worth)?;
    let parts = u64::try_from(parts).ok()?;
    let whole = whole.parse::<u64>().ok();
    Some(
        whole
            .and_then(|whole| whole.checked_mul(factor))
            .and_then(|whole| whole.checked_add(parts)),
    )
}

/// A limit of memory or of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Bytes, or how many.
    Exactly(u64),
    /// A share of what the host has, in hundredths of a per cent: 10,000 is all of it.
    Permyriad(u16),
    /// `infinity`.
    Infinite,
}

/// Reads a limit of memory: a size, a share (`50%`, `7.5%`, `50‰`, `50‱`) or `infinity`.
///
/// # Errors
/// A sentence that says why it is none.
pub fn memory(text: &str) -> Result<Amount, String> {
    amount(text, size)
}

/// Reads a limit of tasks: a number, a share or `infinity`.
///
/// # Errors
/// A sentence that says why it is none.
pub fn count(text: &str) -> Result<Amount, String> {
    amount(text, number)
}

fn amount(text: &str, exactly: fn(&str) -> Result<u64, String>) -> Result<Amount, String> {
    let text = text.trim_ascii();
    if text == "infinity" {
        return Ok(Amount::Infinite);
    }
    if text.ends_with(['%', '‰', '‱']) {
        return permyriad(text).map(Amount::Permyriad);
    }
    exactly(text).map(Amount::Exactly)
}

/// Reads a share of at most all, in hundredths of a per cent: `50%` is 5000.
///
/// # Errors
/// A sentence, for what is no share or more than all.
pub fn permyriad(text: &str) -> Result<u16, String> {
    let text = text.trim_ascii();
    let signs = [('%', 100, 2), ('‰', 10, 1), ('‱', 1, 0)];
    let (number, factor, places) = signs
        .iter()
        .find_map(|(sign, factor, places)| Some((text.strip_suffix(*sign)?, *factor, *places)))
        .ok_or_else(|| format!("{text:?} is no share: write it as 50%"))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let fits = (1..=places.max(1)).contains(&fraction.len())
        && !whole.is_empty()
        && (places > 0 || !number.contains('.'));
    let share = times(number, factor).flatten().filter(|_| fits);
    share
        .and_then(|share| u16::try_from(share).ok())
        .filter(|share| *share <= 10_000)
        .ok_or_else(|| {
            format!(
                "{text:?} is no share from 0% to 100%, with at most {places} places after the point"
            )
        })
}

/// Reads a whole number as systemd's `safe_atou64`: decimal, or with 0x, 0o, 0b or 0 before it.
///
/// # Errors
/// A sentence that says that it is none.
pub fn number(text: &str) -> Result<u64, String> {
    let digits = text.trim_ascii_start();
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    let lower = digits.to_ascii_lowercase();
    let based = [("0x", 16), ("0o", 8), ("0b", 2), ("0", 8)]
        .iter()
        .find_map(|(prefix, radix)| {
            let rest = lower.strip_prefix(prefix)?;
            (!rest.is_empty()).then_some((rest, *radix))
        });
    let (digits, radix) = based.unwrap_or((lower.as_str(), 10));
    Some(digits)
        .filter(|digits| digits.chars().all(|c| c.is_digit(radix)))
        .and_then(|digits| u64::from_str_radix(digits, radix).ok())
        .ok_or_else(|| format!("{text:?} is no number"))
}

/// The resources of setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is the kernel's RLIMIT_ of that name")]
pub enum Resource {
    Cpu,
    FileSize,
    Data,
    Stack,
    Core,
    ResidentSet,
    OpenFiles,
    AddressSpace,
    Processes,
    LockedMemory,
    Locks,
    PendingSignals,
    MessageQueues,
    Nice,
    RealtimePriority,
    RealtimeTime,
}

/// How the value of a limit is written.
#[derive(Clone, Copy)]
enum Written {
    Bytes,
    Number,
    Seconds,
    Microseconds,
    Nice,
}

impl Resource {
    /// All, with the directive of each.
    pub const ALL: [(&'static str, Self); 16] = [
        ("LimitCPU", Self::Cpu),
        ("LimitFSIZE", Self::FileSize),
        ("LimitDATA", Self::Data),
        ("LimitSTACK", Self::Stack),
        ("LimitCORE", Self::Core),
        ("LimitRSS", Self::ResidentSet),
        ("LimitNOFILE", Self::OpenFiles),
        ("LimitAS", Self::AddressSpace),
        ("LimitNPROC", Self::Processes),
        ("LimitMEMLOCK", Self::LockedMemory),
        ("LimitLOCKS", Self::Locks),
        ("LimitSIGPENDING", Self::PendingSignals),
        ("LimitMSGQUEUE", Self::MessageQueues),
        ("LimitNICE", Self::Nice),
        ("LimitRTPRIO", Self::RealtimePriority),
        ("LimitRTTIME", Self::RealtimeTime),
    ];

    /// The resource that a directive limits.
    pub fn of(directive: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(name, _)| *name == directive);
        found.map(|(_, resource)| *resource)
    }

    fn written(self) -> Written {
        match self {
            Self::Cpu => Written::Seconds,
            Self::RealtimeTime => Written::Microseconds,
            Self::Nice => Written::Nice,
            Self::OpenFiles
            | Self::Processes
            | Self::Locks
            | Self::PendingSignals
            | Self::RealtimePriority => Written::Number,
            Self::FileSize
            | Self::Data
            | Self::Stack
            | Self::Core
            | Self::ResidentSet
            | Self::AddressSpace
            | Self::LockedMemory
            | Self::MessageQueues => Written::Bytes,
        }
    }
}

/// A limit, in the kernel's units of its resource; [`INFINITE`] for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds at first.
    pub soft: u64,
    /// Up to where the service may raise it.
    pub hard: u64,
}

/// Reads a limit: one value for both, or `soft:hard`.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn limit(resource: Resource, text: &str) -> Result<Limit, String> {
    let written = resource.written();
    let limit = match text.split_once(':') {
        Some((soft, hard)) => Limit {
            soft: limit_value(written, soft)?,
            hard: limit_value(written, hard)?,
        },
        None => {
            let both = limit_value(written, text)?;
            Limit {
                soft: both,
                hard: both,
            }
        }
    };
    if limit.soft > limit.hard {
        return Err(format!("{text:?}: the soft limit is above the hard one"));
    }
    Ok(limit)
}

fn limit_value(written: Written, text: &str) -> Result<u64, String> {
    // No nice level is without end: 40 is all that there is.
    if text == "infinity" && !matches!(written, Written::Nice) {
        return Ok(INFINITE);
    }
    let value = match written {
        Written::Bytes => size(text)?,
        Written::Number => number(text)?,
        Written::Seconds => span(text, "s", 1_000_000_000)?,
        Written::Microseconds => span(text, "us", 1000)?,
        Written::Nice => nice(text)?,
    };
    if value == INFINITE {
        return Err(format!(
            "{text:?} is too much; no limit is written infinity"
        ));
    }
    Ok(value)
}

/// A time span in whole `unit`s (each of that many nanoseconds), rounded up: less than one second of CPU is
/// no limit of none.
fn span(text: &str, unit: &str, nanoseconds: u128) -> Result<u64, String> {
    let too_long = || format!("{text:?} is too long; no limit is written infinity");
    match time_span::parse_in(text, unit)? {
        TimeSpan::Infinite => Err(too_long()),
        TimeSpan::Limited(span) => {
            u64::try_from(span.as_nanos().div_ceil(nanoseconds)).map_err(|_| too_long())
        }
    }
}

/// The kernel counts 20 - nice, from 1 to 40. With a sign it is a nice level, without one the kernel's
/// number.
fn nice(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is no nice limit: write -20 to +19 with its sign, or 0 to 40");
    let up_to = |digits: &str, most: u64| -> Result<u64, String> {
        Some(number(digits).map_err(|_| bad())?)
            .filter(|number| *number <= most)
            .ok_or_else(bad)
    };
    if let Some(digits) = text.strip_prefix('+') {
        return Ok(20_u64.saturating_sub(up_to(digits, 19)?));
    }
    if let Some(digits) = text.strip_prefix('-') {
        return Ok(20_u64.saturating_add(up_to(digits, 20)?));
    }
    up_to(text, 40)
}

/// Ranges of whole numbers, both ends included, as the fewest that hold the same, in order. Those that end before
/// they begin hold nothing.
pub fn joined(mut ranges: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    ranges.retain(|(first, last)| first <= last);
    ranges.sort_unstable();
    let mut fewest: Vec<(usize, usize)> = Vec::new();
    for (first, last) in ranges {
        match fewest.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => fewest.push((first, last)),
        }
    }
    fewest
}

#[cfg(test)]
mod tests;
