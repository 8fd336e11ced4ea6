//! One range of numbers, as it is written and read.

#![forbid(unsafe_code)]

use std::fmt;

use super::NOBODY;
use crate::layout::{FIRST_UID, LARGEST_UID, LAST_UID};

/// Numbers without a gap, first and last included. The first is not greater than the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// The numbers from `first` to `last`; `None` if that is backwards.
    pub fn new(first: u32, last: u32) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// Reads `61184-65519` or `61200`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(word: &str) -> Result<Self, String> {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (Some(from), Some(to)) = (digits(first), digits(last)) else {
            return Err(format!(
                "{word:?} is neither a number nor a range of numbers; write 61200 or 61184-65519, \
                 with blanks between several"
            ));
        };
        Self::new(from, to).ok_or_else(|| {
            format!("{word} ends before it begins; the smaller number comes first: {to}-{from}")
        })
    }

    /// The first number.
    pub const fn first(self) -> u32 {
        self.first
    }

    /// The last number.
    pub const fn last(self) -> u32 {
        self.last
    }

    /// How many numbers it has: at least 1.
    pub fn size(self) -> u64 {
        u64::from(self.last)
            .saturating_sub(u64::from(self.first))
            .saturating_add(1)
    }

    /// Tells whether `number` is in it.
    pub const fn contains(self, number: u32) -> bool {
        self.first <= number && number <= self.last
    }

    /// The numbers that are in both.
    pub fn common(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// Refuses numbers that no service may have (systemd's UIDS-GIDS document, "Special Linux
    /// UIDs", and what it says about the upper half).
    ///
    /// # Errors
    /// A sentence that says which number, and why.
    pub fn refuse_reserved(self) -> Result<(), String> {
        let reserved = [
            (0, "root"),
            (
                NOBODY,
                "nobody, who seems to own whatever a user namespace does not map",
            ),
            (65535, "\"no user\" to system calls with 16-bit numbers"),
        ];
        for (number, meaning) in reserved {
            if self.contains(number) {
                return Err(format!(
                    "{self} holds {number}, which is {meaning}; leave it out of the range"
                ));
            }
        }
        if self.last > LARGEST_UID {
            return Err(format!(
                "{self} goes beyond {LARGEST_UID}: above it, programs that take a UID for a signed \
                 number see a negative one, and -1 and -2 (4294967295 and 4294967294) mean \"no user\" and \
                 \"nobody\""
            ));
        }
        Ok(())
    }

    /// What is left of it before and after `hole`.
    pub fn without(self, hole: Self) -> [Option<Self>; 2] {
        let before = hole
            .first
            .checked_sub(1)
            .and_then(|last| Self::new(self.first, last.min(self.last)));
        let after = hole
            .last
            .checked_add(1)
            .and_then(|first| Self::new(first.max(self.first), self.last));
        [before, after]
    }

    /// From the first number of either to the last of either.
    pub(super) fn spanning(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

/// Reads a number as systemd reads a UID: digits alone, no sign, no leading zero.
fn digits(word: &str) -> Option<u32> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = word.len() > 1 && word.starts_with('0');
    (plain && !leading_zero)
        .then(|| word.parse().ok())
        .flatten()
}

impl fmt::Display for UidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return self.first.fmt(f);
        }
        write!(f, "{}-{}", self.first, self.last)
    }
}
