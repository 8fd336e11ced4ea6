//! The numbers in directives about resources: sizes, shares of what the host has, lists of processors.

#![forbid(unsafe_code)]

use crate::sizes::{self, Amount};

/// The number that an amount is, on a host that has `all`; `None` without a limit.
pub(super) fn of(amount: Amount, all: u64) -> Option<u64> {
    match amount {
        Amount::Exactly(number) => Some(number),
        Amount::Infinite => None,
        Amount::Permyriad(share) => {
            let part = u128::from(all).saturating_mul(share.into()) / 10_000;
            Some(u64::try_from(part).unwrap_or(u64::MAX))
        }
    }
}

/// A number with an optional fraction, in units of which `unit` make one. Further digits are cut.
fn decimal(text: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    // Eighteen digits are more than any of the units has.
    let (parts, of) = fraction
        .chars()
        .filter_map(|c| c.to_digit(10))
        .take(18)
        .fold((0_u128, 1_u128), |(parts, of), digit| {
            let parts = parts.saturating_mul(10).saturating_add(digit.into());
            (parts, of.saturating_mul(10))
        });
    let parts = parts.saturating_mul(unit.into()).checked_div(of)?;
    whole.checked_add(u64::try_from(parts).ok()?)
}

/// A share such as `33.3%`, in hundredths of a percent; `‰` and `‱` are read too, as systemd does.
///
/// # Errors
/// A sentence, for what is none.
pub(super) fn share(text: &str) -> Result<u64, String> {
    [('%', 100), ('‰', 10), ('‱', 1)]
        .into_iter()
        .find_map(|(sign, unit)| decimal(text.strip_suffix(sign)?.trim_ascii_end(), unit))
        .ok_or_else(|| String::from("is no percentage such as 20%"))
}

/// A rate with K, M, G, T, P or E, in units of 1000; several are added
/// (`1G 512M`), each suffix smaller than the one before.
///
/// # Errors
/// A sentence, for what is none.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    const SUFFIXES: [char; 7] = ['E', 'P', 'T', 'G', 'M', 'K', 'B'];
    let wrong = || String::from("is no rate such as 5M");
    let (mut rest, mut sum, mut least) = (text.trim_ascii(), 0_u64, 0_usize);
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, after) = rest
            .split_at_checked(end.unwrap_or(rest.len()))
            .ok_or_else(wrong)?;
        let after = after.trim_ascii_start();
        let suffix = after
            .chars()
            .next()
            .filter(|c| !c.is_ascii_digit())
            .unwrap_or('B');
        let place = SUFFIXES
            .iter()
            .position(|c| *c == suffix)
            .ok_or_else(wrong)?;
        if place < least {
            return Err(wrong());
        }
        least = place.saturating_add(1);
        let power = u32::try_from(6_usize.saturating_sub(place)).map_err(|_| wrong())?;
        let unit = 1000_u64.checked_pow(power).ok_or_else(wrong)?;
        let bytes = decimal(number, unit).ok_or_else(wrong)?;
        sum = sum.checked_add(bytes).ok_or_else(wrong)?;
        rest = after
            .strip_prefix(suffix)
            .unwrap_or(after)
            .trim_ascii_start();
    }
    Ok(sum)
}

/// The value of `MemoryMax=` and its like; `None` for an empty one, which resets it.
///
/// # Errors
/// A sentence about the value; also that it is zero, where `zero` is no limit to be had.
pub(super) fn memory(text: &str, zero: bool) -> Result<Option<Amount>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let amount = sizes::memory(text)?;
    if !zero && matches!(amount, Amount::Exactly(0) | Amount::Permyriad(0)) {
        return Err("leaves nothing at all".into());
    }
    Ok(Some(amount))
}

/// The value of `TasksMax=`.
///
/// # Errors
/// A sentence about the value.
pub(super) fn tasks(text: &str) -> Result<Option<Amount>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match sizes::count(text)? {
        Amount::Exactly(0) | Amount::Permyriad(0) => Err("leaves nothing at all".into()),
        amount => Ok(Some(amount)),
    }
}

/// A weight from 1 to 10000.
///
/// # Errors
/// A sentence about the value.
pub(super) fn weight(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(weight @ 1..=10_000) => Ok(weight),
        _ => Err("is no weight from 1 to 10000".into()),
    }
}

/// The highest number of a processor or a node of memory that is taken: systemd's limit too.
const HIGHEST: usize = 8191;

/// How the kernel reads such a list.
pub(super) fn list_text(ranges: &[(usize, usize)]) -> String {
    let ranges = ranges.iter().map(|(from, to)| match from == to {
        true => from.to_string(),
        false => format!("{from}-{to}"),
    });
    ranges.collect::<Vec<_>>().join(",")
}

/// Processors or nodes of memory (`0-3 5,7`): the first and the last of each range.
///
/// # Errors
/// A sentence about the value.
pub(super) fn list(text: &str) -> Result<Vec<(usize, usize)>, String> {
    let number = |text: &str| -> Option<usize> { text.parse().ok().filter(|n| *n <= HIGHEST) };
    text.split(|c: char| c == ',' || c.is_ascii_whitespace())
        .filter(|range| !range.is_empty())
        .map(|range| {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            match (number(from), number(to)) {
                (Some(from), Some(to)) if from <= to => Ok((from, to)),
                _ => Err(format!("{range:?} is no number or range such as 0-3")),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_in_units_of_1000() {
        for (text, number) in [
            ("5", 5),
            ("5M", 5_000_000),
            ("1.5G", 1_500_000_000),
            ("1G 512M", 1_512_000_000),
            ("2 K", 2000),
        ] {
            assert_eq!(rate(text), Ok(number), "{text}");
        }
        for bad in [
            "", "M", "5m", "-5", "1M 1G", "1K 1K", "99E", "0x10", "5 apples", "1..5",
        ] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_are_of_what_there_is() {
        let share_of = |text: &str, all| of(memory(text, true).expect(text).expect(text), all);
        assert_eq!(share_of("50%", 8 << 30), Some(4 << 30));
        assert_eq!(share_of("33.33%", 3 << 40), Some(1_099_401_676_613));
        assert_eq!(share_of("100%", u64::MAX), Some(u64::MAX));
        assert_eq!(share_of("infinity", 7), None);
        // Of processors there may be several.
        assert_eq!(share("150%"), Ok(15_000));
        assert_eq!(share("0.5%"), Ok(50));
        for bad in ["101%", "%", "-1%", "5 %%", "1e2%"] {
            assert!(memory(bad, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_leaves_nothing_is_refused() {
        for zero in ["0", "0%", "0K"] {
            assert!(memory(zero, false).is_err(), "{zero}");
            assert!(memory(zero, true).is_ok(), "{zero}");
        }
        assert!(tasks("0").is_err());
        assert_eq!(tasks(""), Ok(None));
        assert_eq!(memory("infinity", false), Ok(Some(Amount::Infinite)));
    }

    #[test]
    fn lists_of_processors_are_the_kernels() {
        assert_eq!(list("0-3 5,7"), Ok(vec![(0, 3), (5, 5), (7, 7)]));
        for bad in ["3-0", "a", "1-", "-1", "8192", "1 - 3"] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }
}
