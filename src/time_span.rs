//! Time spans as systemd.time(7) writes them: `5`, `5s`, `1min 30s`, `500ms`, `infinity`.

#![forbid(unsafe_code)]

use core::time::Duration;

/// A time span, which may have no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeSpan {
    /// This long.
    Limited(Duration),
    /// `infinity`.
    Infinite,
}

/// What nobody can wait, in nanoseconds: systemd's `USEC_INFINITY`, 584,542 years.
const LONGEST: u128 = u64::MAX as u128 * 1000;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Every unit with its length in nanoseconds. A month is 30.44 days, a year 365.25.
const UNITS: [(&str, u64); 29] = [
    ("seconds", SECOND),
    ("second", SECOND),
    ("sec", SECOND),
    ("s", SECOND),
    ("minutes", 60 * SECOND),
    ("minute", 60 * SECOND),
    ("min", 60 * SECOND),
    ("m", 60 * SECOND),
    ("hours", 3600 * SECOND),
    ("hour", 3600 * SECOND),
    ("hr", 3600 * SECOND),
    ("h", 3600 * SECOND),
    ("days", 86400 * SECOND),
    ("day", 86400 * SECOND),
    ("d", 86400 * SECOND),
    ("weeks", 604_800 * SECOND),
    ("week", 604_800 * SECOND),
    ("w", 604_800 * SECOND),
    ("months", 2_629_800 * SECOND),
    ("month", 2_629_800 * SECOND),
    ("M", 2_629_800 * SECOND),
    ("years", 31_557_600 * SECOND),
    ("year", 31_557_600 * SECOND),
    ("y", 31_557_600 * SECOND),
    ("msec", 1_000_000),
    ("ms", 1_000_000),
    ("usec", 1000),
    ("us", 1000),
    ("µs", 1000),
];

/// The other letter that looks like the one in `µs`: Greek, where the one in [`UNITS`] is the
/// micro sign. systemd takes both.
const GREEK_MU: char = '\u{3bc}';

/// Reads a time span. A number without a unit is in seconds; several are added.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse(text: &str) -> Result<TimeSpan, String> {
    parse_in(text, "s")
}

/// As [`parse`], where a number without a unit is in `unit`s (`us` for `LimitRTTIME=`).
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_in(text: &str, unit: &str) -> Result<TimeSpan, String> {
    let bare = unit;
    let mut rest = text.trim_ascii();
    if rest == "infinity" {
        return Ok(TimeSpan::Infinite);
    }
    if rest.is_empty() {
        return Err("a time span such as 5s or 1min 30s is missing".into());
    }
    let mut nanoseconds: u128 = 0;
    while !rest.is_empty() {
        rest = rest.strip_prefix('+').unwrap_or(rest);
        let (number, after) = split_while(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split_while(after.trim_ascii_start(), |c| {
            !c.is_ascii_digit() && !matches!(c, '.' | '+') && !c.is_ascii_whitespace()
        });
        let length = length(if unit.is_empty() { bare } else { unit }).ok_or_else(|| {
            format!("{text:?} is no time span: {unit:?} is no unit; there are ms, s, min, h and d")
        })?;
        let one = times(number, length).ok_or_else(|| {
            format!("{text:?} is no time span: write a number and a unit, as in 5s or 1min 30s")
        })?;
        nanoseconds = one
            .and_then(|one| nanoseconds.checked_add(one))
            .filter(|all| *all < LONGEST)
            .ok_or_else(|| format!("{text:?} is longer than anybody can wait"))?;
        rest = after.trim_ascii_start();
    }
    // LONGEST keeps both far within their types.
    let second = u128::from(SECOND);
    let seconds = u64::try_from(nanoseconds.checked_div(second).unwrap_or(0)).unwrap_or(u64::MAX);
    let below = u32::try_from(nanoseconds.checked_rem(second).unwrap_or(0)).unwrap_or(0);
    Ok(TimeSpan::Limited(Duration::new(seconds, below)))
}

/// Splits off what `belongs`.
fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// The length of a unit in nanoseconds.
fn length(unit: &str) -> Option<u64> {
    let unit = unit.replace(GREEK_MU, "µ");
    let found = UNITS.iter().find(|(name, _)| *name == unit);
    found.map(|(_, length)| *length)
}

/// A decimal number times a length, cut to whole nanoseconds. The outer `None` is for what is no
/// number, the inner one for what is too large.
fn times(number: &str, length: u64) -> Option<Option<u128>> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    // `.5` is a number, `5.` is none.
    if !digits(whole) || !digits(fraction) || fraction.is_empty() || number.is_empty() {
        return None;
    }
    // Each place is worth a tenth of the one before.
    let mut worth = length;
    let mut parts: u64 = 0;
    for digit in fraction.chars().filter_map(|c| c.to_digit(10)) {
        worth = worth.checked_div(10).unwrap_or(0);
        parts = parts.saturating_add(worth.saturating_mul(u64::from(digit)));
    }
    let whole = match whole {
        "" => Some(0),
        // systemd reads a signed number, and keeps clear of its own infinity.
        digits => digits
            .parse::<i64>()
            .ok()
            .and_then(|whole| u128::try_from(whole).ok())
            .filter(|whole| {
                let most = LONGEST.checked_div(u128::from(length));
                most.is_some_and(|most| *whole < most)
            }),
    };
    Some(
        whole
            .and_then(|whole| whole.checked_mul(u128::from(length)))
            .and_then(|whole| whole.checked_add(u128::from(parts))),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]

    use proptest::prelude::*;

    use super::*;

    fn milliseconds(text: &str) -> u128 {
        match parse(text) {
            Ok(TimeSpan::Limited(span)) => span.as_millis(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    /// `systemd-analyze timespan` says the same.
    fn the_examples_of_the_manual_page_are_read() {
        let day = 86_400_000;
        for (text, wanted) in [
            ("2 h", 7_200_000),
            ("2hours", 7_200_000),
            ("48hr", 2 * day),
            ("1y 12month", 2 * 31_557_600_000),
            ("55s500ms", 55_500),
            ("300ms20s 5day", 5 * day + 20_300),
            ("5", 5000),
            ("0", 0),
            ("1min 30s", 90_000),
            ("500ms", 500),
            ("1.5s", 1500),
            ("0.25min", 15_000),
            ("1.5 2", 3500),
            (".5", 500),
            ("+5", 5000),
            ("10m5", 605_000),
            ("1d1", 86_401_000),
            ("1.0000019s", 1000),
            ("50", 50_000),
            (" 7 ", 7000),
            ("1500us", 1),
            ("2000µs", 2),
            ("2000\u{3bc}s", 2),
            ("1M", 2_629_800_000),
            ("1m", 60_000),
        ] {
            assert_eq!(milliseconds(text), wanted, "{text}");
        }
        assert_eq!(parse("infinity"), Ok(TimeSpan::Infinite));
        assert_eq!(
            parse("1.000000001"),
            Ok(TimeSpan::Limited(Duration::new(1, 1)))
        );
    }

    #[test]
    fn what_is_no_time_span_is_refused_by_name() {
        for bad in [
            "",
            " ",
            "s",
            "5 apples",
            "-5",
            "++5",
            "+",
            "5s-",
            "1..5",
            ".",
            "5.",
            "5S",
            "5ns",
            "1.5.5",
            "Infinity",
            "infinity 5s",
            "5 S",
            "1e3",
            "0x10",
            "5,5",
            "never",
            "∞",
            "5sec!",
            "99999999999999999999",
            "600000y",
            "18446744073709551615ms",
        ] {
            let why = parse(bad).expect_err(bad);
            assert!(why.contains(bad.trim()), "{bad:?}: {why}");
        }
        assert!(milliseconds("584000y") > 0);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\PC|[0-9. smhdyµ])*") {
            let _read = parse(&text);
        }

        #[test]
        fn what_is_written_is_read(hours in 0_u64..1000, seconds in 0_u64..10_000, milli in 0_u64..10_000) {
            let wanted = Duration::from_millis((hours * 3600 + seconds) * 1000 + milli);
            let texts = [
                format!("{hours}h {seconds}s {milli}ms"),
                format!("{milli} ms{seconds}sec{hours} hours"),
                format!("{seconds} {hours}h {}.{:03}", milli / 1000, milli % 1000),
            ];
            for text in texts {
                prop_assert_eq!(parse(&text), Ok(TimeSpan::Limited(wanted)), "{}", text);
            }
        }
    }
}
