//! Which numbers a walk through all users looks at, as the daemon says in a link: bytes in, numbers
//! out. Pure.

#![forbid(unsafe_code)]

use crate::layout::{FIRST_UID, LARGEST_UID, LAST_UID, LONGEST_RANGES, MOST_NUMBERS};
use crate::user_text::number;

/// Ranges like `61184-65519,70000-70010`, ascending, checked. Kept as the text that they are: there
/// is no memory to keep them in otherwise, and they are short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ranges<'t>(&'t [u8]);

impl<'t> Ranges<'t> {
    /// Takes the target of the link, which is not trusted: a walk must go forward, and end in time.
    pub(crate) fn parse(text: &'t [u8]) -> Option<Self> {
        let mut numbers: u32 = 0;
        let mut before = None;
        for piece in text.split(|byte| *byte == b',') {
            let (first, last) = range(piece)?;
            if first > last || before.is_some_and(|before| first <= before) || last > LARGEST_UID {
                return None;
            }
            before = Some(last);
            numbers = numbers.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
        }
        (numbers <= MOST_NUMBERS && text.len() <= LONGEST_RANGES).then_some(Self(text))
    }

    /// The first number that is not smaller than `from`.
    fn at_or_after(self, from: u32) -> Option<u32> {
        let mut ranges = self.0.split(|byte| *byte == b',').filter_map(range);
        let (first, _) = ranges.find(|(_, last)| from <= *last)?;
        Some(if from < first { first } else { from })
    }
}

/// The first number of the ranges, or of the default if there are none, that is not smaller than
/// `from`.
pub(crate) fn at_or_after(ranges: Option<Ranges<'_>>, from: u32) -> Option<u32> {
    match ranges {
        Some(ranges) => ranges.at_or_after(from),
        None if from <= FIRST_UID => Some(FIRST_UID),
        None => (from <= LAST_UID).then_some(from),
    }
}

/// Reads `61184-65519` or `61200`.
fn range(piece: &[u8]) -> Option<(u32, u32)> {
    let mut ends = piece.splitn(2, |byte| *byte == b'-');
    let first = number(ends.next()?)?;
    match ends.next() {
        Some(last) => Some((first, number(last)?)),
        None => Some((first, first)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All numbers that a walk meets.
    fn walked(text: &str) -> Vec<u32> {
        let ranges = Ranges::parse(text.as_bytes());
        let mut from = 0;
        core::iter::from_fn(|| {
            let number = at_or_after(ranges, from)?;
            from = number.checked_add(1)?;
            Some(number)
        })
        .collect()
    }

    #[test]
    fn the_numbers_of_the_ranges_are_met_once_and_in_order() {
        assert_eq!(walked("5-7,9,11-12"), [5, 6, 7, 9, 11, 12]);
        assert_eq!(walked("1"), [1]);
        assert_eq!(walked("2147483647"), [LARGEST_UID]);
        assert_eq!(walked("0-1,2-3"), [0, 1, 2, 3]);
        let most = walked("100000-1148575");
        assert_eq!((most.first(), most.len()), (Some(&100_000), 1_048_576));
    }

    #[test]
    fn what_makes_no_sense_is_the_default() {
        let long = (100..170).map(|n| (n * 2).to_string());
        let long = long.collect::<Vec<_>>().join(",");
        for text in [
            "",
            ",",
            "5,",
            ",5",
            "5,,7",
            "7-5",
            "9,5",
            "5-7,7-9",
            "5-",
            "-5",
            "5-6-7",
            "a",
            "5 6",
            " 5",
            "05",
            "5\n",
            "2147483648",
            "5-4294967295",
            "4294967301",
            "1-1048577",
            "1-600000,700000-1300000",
            "../../etc/passwd",
            &long,
        ] {
            assert_eq!(Ranges::parse(text.as_bytes()), None, "{text:?}");
            let default = walked(text);
            let ends = (default.first(), default.last(), default.len());
            assert_eq!(ends, (Some(&61184), Some(&65519), 4336), "{text:?}");
        }
    }
}
