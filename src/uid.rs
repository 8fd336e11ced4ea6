//! The numbers that users get.

#![forbid(unsafe_code)]

mod range;

use std::fmt;

use crate::layout::{LONGEST_RANGES, MOST_NUMBERS};

pub use range::UidRange;

/// A UID that a service may run under, which is also the GID of a dynamic user.
///
/// Never 0 (root) unless it is asked for by [`of_host`](Self::of_host), nor 65534 (nobody: what
/// everything unmapped looks like), 65535 or 4294967295 (both mean "none" to some system call, see
/// systemd's UIDS-GIDS document).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(u32);

/// The UID and GID of `nobody`.
pub const NOBODY: u32 = 65534;

/// The most ranges that may be configured. It keeps every search through them short.
const MOST_RANGES: usize = 64;

impl Uid {
    /// The number as a UID, if a service may have it.
    pub const fn new(number: u32) -> Option<Self> {
        match number {
            0 | NOBODY | 65535 | u32::MAX => None,
            _ => Some(Self(number)),
        }
    }

    /// The number of a user that the host has, if a service may run as that one: root, too, where somebody
    /// asks for it by name.
    pub const fn of_host(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self(0)),
            other => Self::new(other),
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The numbers that may be handed out: ranges, less what is excluded from them. At least one
/// number is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UidRanges {
    /// Sorted, with a gap between any two.
    ranges: Vec<UidRange>,
    /// Likewise.
    excluded: Vec<UidRange>,
    size: u32,
}

impl Default for UidRanges {
    /// systemd's range, 61184–65519.
    fn default() -> Self {
        Self {
            ranges: vec![UidRange::DEFAULT],
            excluded: Vec::new(),
            size: u32::try_from(UidRange::DEFAULT.size()).unwrap_or(u32::MAX),
        }
    }
}

impl UidRanges {
    /// The numbers of `ranges`, which may overlap, less those of `excluded`, which may be any.
    ///
    /// # Errors
    /// A sentence: for a number that no service may have, for too many numbers or ranges, and
    /// when nothing is left.
    pub fn new(ranges: &[UidRange], excluded: &[UidRange]) -> Result<Self, String> {
        for range in ranges {
            range.refuse_reserved()?;
        }
        let ranges = merged(ranges);
        if ranges.len() > MOST_RANGES {
            return Err(format!(
                "there are {} ranges with gaps between them, and {MOST_RANGES} are the most",
                ranges.len()
            ));
        }
        // What `getent passwd` would have to walk through, in every program that asks for all users.
        let walked = sum(&short_enough(&ranges));
        let size = u32::try_from(sum(&ranges)).unwrap_or(u32::MAX);
        if walked > u64::from(MOST_NUMBERS) {
            return Err(format!(
                "{walked} numbers{} are too many: whoever lists all users has to look at each, and \
                 {MOST_NUMBERS} are the most",
                if walked == u64::from(size) {
                    ""
                } else {
                    " from the first range to the last, with the gaps"
                }
            ));
        }
        let excluded = merged(excluded);
        let all = Self {
            ranges,
            excluded,
            size,
        };
        if all.size == 0 {
            return Err("there is no range, so there are no numbers to hand out".into());
        }
        if all.count() == 0 {
            return Err(format!(
                "everything in {all} is excluded, so there are no numbers to hand out"
            ));
        }
        Ok(all)
    }

    /// How many numbers the ranges have, excluded ones too: so excluding a number moves no name
    /// that has another.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// How many numbers can be handed out.
    pub fn count(&self) -> u64 {
        sum(&self.usable())
    }

    /// The number `offset` places after the first, counted through the ranges; `None` if it is
    /// excluded, or if the offset is not below [`size`](Self::size).
    pub fn at(&self, offset: u32) -> Option<Uid> {
        let mut offset = u64::from(offset);
        for range in &self.ranges {
            match offset.checked_sub(range.size()) {
                Some(rest) => offset = rest,
                None => {
                    let number = range.first().checked_add(u32::try_from(offset).ok()?)?;
                    return self.contains(number).then(|| Uid::new(number)).flatten();
                }
            }
        }
        None
    }

    /// Tells whether `number` can be handed out.
    pub fn contains(&self, number: u32) -> bool {
        within(&self.ranges, number) && !within(&self.excluded, number)
    }

    /// Every number that can be handed out, in order.
    pub fn iter(&self) -> impl Iterator<Item = Uid> {
        let usable = self.usable().into_iter();
        usable
            .flat_map(|range| range.first()..=range.last())
            .filter_map(Uid::new)
    }

    /// The ranges less what is excluded from them, in order.
    pub fn usable(&self) -> Vec<UidRange> {
        let mut left = self.ranges.clone();
        for excluded in &self.excluded {
            left = left
                .into_iter()
                .flat_map(|range| range.without(*excluded))
                .flatten()
                .collect();
        }
        left
    }

    /// What of `other` can be handed out, in order.
    pub fn overlap(&self, other: UidRange) -> Vec<UidRange> {
        let usable = self.usable().into_iter();
        usable.filter_map(|range| range.common(other)).collect()
    }

    /// The ranges for the NSS module, which walks through them to list all users: the target of
    /// the link [`RANGES`](crate::layout::RANGES), at most [`LONGEST_RANGES`] bytes.
    ///
    /// Excluded numbers are in it, and when there is no room for all ranges, the smallest gaps
    /// are: the walk finds nobody there.
    pub fn link_target(&self) -> String {
        joined(&short_enough(&self.ranges), ",")
    }
}

impl fmt::Display for UidRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&joined(&self.ranges, " "))?;
        if !self.excluded.is_empty() {
            write!(f, " without {}", joined(&self.excluded, " "))?;
        }
        Ok(())
    }
}

/// The same numbers, sorted, as few ranges as possible.
pub fn merged(ranges: &[UidRange]) -> Vec<UidRange> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<UidRange> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.first() <= last.last().saturating_add(1) => {
                *last = last.spanning(range);
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// Tells whether `number` is in one of the ranges, which are sorted.
fn within(sorted: &[UidRange], number: u32) -> bool {
    let after = sorted.partition_point(|range| range.last() < number);
    sorted
        .get(after)
        .is_some_and(|range| range.contains(number))
}

/// The ranges, with the smallest gaps closed until there is room for them in the link.
fn short_enough(sorted: &[UidRange]) -> Vec<UidRange> {
    let mut ranges = sorted.to_vec();
    while joined(&ranges, ",").len() > LONGEST_RANGES {
        let pairs = ranges.iter().zip(ranges.iter().skip(1)).enumerate();
        let smallest = pairs.min_by_key(|(_, (a, b))| b.first().saturating_sub(a.last()));
        let Some((at, both)) = smallest.map(|(at, (a, b))| (at, a.spanning(*b))) else {
            break;
        };
        ranges.remove(at);
        if let Some(second) = ranges.get_mut(at) {
            *second = both;
        }
    }
    ranges
}

fn sum(ranges: &[UidRange]) -> u64 {
    ranges.iter().map(|range| range.size()).sum()
}

/// The ranges as text, with `separator` between them.
pub fn joined(ranges: &[UidRange], separator: &str) -> String {
    let words: Vec<String> = ranges.iter().map(ToString::to_string).collect();
    words.join(separator)
}

#[cfg(test)]
mod tests;
