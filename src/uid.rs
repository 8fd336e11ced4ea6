//! The numbers that users get.

#![forbid(unsafe_code)]

use std::fmt;

use crate::layout::{FIRST_UID, LAST_UID};

/// A UID that a service may run under, which is also the GID of a dynamic user.
///
/// Never 0 (root), 65534 (nobody: what everything unmapped looks like), 65535 or 4294967295 (both
/// mean "none" to some system call, see systemd's UIDS-GIDS document).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(u32);

/// The UID and GID of `nobody`.
pub const NOBODY: u32 = 65534;

impl Uid {
    /// The number as a UID, if a service may have it.
    pub const fn new(number: u32) -> Option<Self> {
        match number {
            0 | NOBODY | 65535 | u32::MAX => None,
            _ => Some(Self(number)),
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

/// The numbers that may be handed out: first and last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UidRange {
    first: u32,
    last: u32,
}

impl UidRange {
    /// systemd's range, 61184–65519.
    pub const DEFAULT: Self = Self {
        first: FIRST_UID,
        last: LAST_UID,
    };

    /// How many numbers it has: at least 1.
    pub const fn size(self) -> u32 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// Tells whether `number` is in it.
    pub const fn contains(self, number: u32) -> bool {
        self.first <= number && number <= self.last
    }

    /// The number `offset` places after the first, counted around the end, as a UID.
    pub const fn at(self, offset: u32) -> Option<Uid> {
        match offset.checked_rem(self.size()) {
            Some(offset) => Uid::new(self.first.saturating_add(offset)),
            None => None,
        }
    }
}

impl fmt::Display for UidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_numbers_are_no_uids_of_services() {
        for number in [0, 65534, 65535, u32::MAX] {
            assert_eq!(Uid::new(number), None);
        }
        assert_eq!(Uid::new(61184).map(Uid::get), Some(61184));
    }

    #[test]
    fn the_default_range_has_4336_numbers() {
        let range = UidRange::DEFAULT;
        assert_eq!(range.size(), 4336);
        assert_eq!(range.at(0).map(Uid::get), Some(61184));
        assert_eq!(range.at(4335).map(Uid::get), Some(65519));
        assert_eq!(range.at(4336).map(Uid::get), Some(61184));
        assert!(range.contains(65519) && !range.contains(65520) && !range.contains(61183));
    }
}
