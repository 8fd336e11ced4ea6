//! Moments as systemd.time(7) writes them: `2026-11-23 12:00:00`, `12:00`, `@1764000000`, `2h ago`.
//!
//! A moment that is written to the second is the whole second, one with a fraction is as short as its
//! last digit: logs cut the rest off, and whoever copies `12:00:00` from one means all of it.

#![forbid(unsafe_code)]

use crate::time_span::{self, TimeSpan};

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// The weekdays, from the one of 1 January 1970.
const WEEKDAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];

/// A moment, with the time that it may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Where it begins, in nanoseconds since 1970.
    pub first: u64,
    /// Its last nanosecond.
    pub last: u64,
}

impl Moment {
    fn exactly(nanoseconds: u64) -> Self {
        Self {
            first: nanoseconds,
            last: nanoseconds,
        }
    }

    /// From `first` on, `width` nanoseconds.
    fn wide(first: u64, width: u64) -> Self {
        Self {
            first,
            last: first.saturating_add(width.saturating_sub(1)),
        }
    }
}

/// Gives year, month, day, hour, minute and second of a number of seconds since 1970, as the people of
/// the host have it.
pub type Local<'l> = &'l dyn Fn(u64) -> Option<[i32; 6]>;

/// Reads a moment. `now` is in nanoseconds since 1970.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse(text: &str, now: u64, local: Local<'_>) -> Result<Moment, String> {
    let text = text.trim_ascii();
    let bad = || {
        format!(
            "{text:?} is no time: write 2026-11-23 12:00:00, 12:00, @1764000000, yesterday or 2h ago"
        )
    };
    if text == "now" {
        return Ok(Moment::exactly(now));
    }
    if let Some(number) = text.strip_prefix('@') {
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if number.ends_with('.') {
            return Err(bad());
        }
        let seconds = digits(whole).ok_or_else(bad)?;
        return at(seconds, fraction).ok_or_else(bad);
    }
    if let Some(moment) = relative(text, now) {
        return moment;
    }
    let (text_of_it, utc) = match text.strip_suffix(" UTC") {
        Some(rest) => (rest.trim_ascii_end(), true),
        None => (text, false),
    };
    let in_utc = |seconds: u64| civil(i64::try_from(seconds).ok()?);
    let zone: Local<'_> = if utc { &in_utc } else { local };
    absolute(text_of_it, now, zone, &bad)
}

/// `+2h`, `-2h`, `2h ago`, `2h left`; nothing, if it is none of these.
fn relative(text: &str, now: u64) -> Option<Result<Moment, String>> {
    let (span, back) = match text.strip_prefix('-') {
        Some(span) => (span, true),
        None => match (text.strip_suffix(" ago"), text.strip_prefix('+')) {
            (Some(span), _) => (span, true),
            (None, Some(span)) => (span, false),
            (None, None) => (text.strip_suffix(" left")?, false),
        },
    };
    let moment = time_span::parse(span).and_then(|span| match span {
        TimeSpan::Infinite => Err("nothing was that long ago".into()),
        TimeSpan::Limited(span) => {
            let span = u64::try_from(span.as_nanos()).ok();
            let moment = match back {
                true => span.and_then(|span| now.checked_sub(span)),
                false => span.and_then(|span| now.checked_add(span)),
            };
            moment
                .map(Moment::exactly)
                .ok_or_else(|| "is out of all calendars".into())
        }
    });
    Some(moment.map_err(|why| format!("{text:?}: {why}")))
}

/// A date, a time of today, or both; a weekday in front must be the right one.
fn absolute(
    text: &str,
    now: u64,
    zone: Local<'_>,
    bad: &dyn Fn() -> String,
) -> Result<Moment, String> {
    let today = zone(now.div_euclid(SECOND)).ok_or_else(bad)?;
    let [year, month, day, ..] = today.map(i64::from);
    let midnight = |days: i64| {
        let date = days_of(year, month, day).saturating_add(days);
        moment_of(date, [0, 0, 0], "", zone).ok_or_else(bad)
    };
    match text {
        "today" => return midnight(0),
        "yesterday" => return midnight(-1),
        "tomorrow" => return midnight(1),
        _ => {}
    }
    // RFC 3339 has a T between date and time, and systemd takes it.
    let mut words: Vec<&str> = text
        .split_ascii_whitespace()
        .flat_map(|word| match word.split_once('T') {
            Some((date, time)) if date.contains('-') => vec![date, time],
            _ => vec![word],
        })
        .collect();
    let weekday = words.first().and_then(|word| weekday(word)).inspect(|_| {
        words.remove(0);
    });
    let (date, time) = match words.as_slice() {
        [date, time] => (Some(*date), Some(*time)),
        [time] if time.contains(':') => (None, Some(*time)),
        [date] => (Some(*date), None),
        [_, _, zone] => {
            return Err(format!(
                "{text:?}: the zone {zone} is not known here; write UTC, or set TZ={zone} for the time of those people"
            ));
        }
        _ => return Err(bad()),
    };
    let date = match date {
        None => days_of(year, month, day),
        Some(date) => date_of(date).ok_or_else(bad)?,
    };
    if let Some(weekday) = weekday {
        let is = date.rem_euclid(7);
        if weekday != is {
            let is = usize::try_from(is).ok().and_then(|is| WEEKDAYS.get(is));
            return Err(format!(
                "{text:?}: that day is a {}",
                is.copied().unwrap_or_default()
            ));
        }
    }
    let (time, fraction) = match time {
        None => ([0, 0, 0], ""),
        Some(time) => time_of(time).ok_or_else(bad)?,
    };
    moment_of(date, time, fraction, zone).ok_or_else(bad)
}

/// Which weekday a word is, counted from Thursday, the first of 1970.
fn weekday(word: &str) -> Option<i64> {
    let word = word.trim_end_matches(',');
    let is = |name: &&str| {
        let short = name.get(..3).unwrap_or_default();
        word.eq_ignore_ascii_case(name) || word.eq_ignore_ascii_case(short)
    };
    let at = WEEKDAYS.iter().position(is)?;
    i64::try_from(at).ok()
}

/// `2026-11-23`, as days since 1970.
fn date_of(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    // Two digits of a year: whose century? And whose order, where it is the day that comes first?
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    let number = |text: &str| i64::try_from(digits(text)?).ok();
    let (year, month, day) = (number(year)?, number(month)?, number(day)?);
    let days = days_of(year, month, day);
    // 30 February comes back as another day.
    let back = civil(days.checked_mul(DAY)?)?.map(i64::from);
    (back.get(..3)? == [year, month, day]).then_some(days)
}

/// `12:00`, `12:00:00` or `12:00:00.123`: hour, minute and second, and the digits of the fraction.
fn time_of(text: &str) -> Option<([u64; 3], &str)> {
    let mut parts = text.splitn(3, ':');
    let (hour, minute) = (parts.next()?, parts.next()?);
    let second = parts.next().unwrap_or("00");
    let (second, fraction) = match second.split_once('.') {
        Some((_, "")) => return None,
        Some(both) => both,
        None => (second, ""),
    };
    let short = |text: &str, below: u64| {
        let number = digits(text).filter(|_| text.len() <= 2)?;
        (number < below).then_some(number)
    };
    Some((
        [short(hour, 24)?, short(minute, 60)?, short(second, 60)?],
        fraction,
    ))
}

/// A date and a time as the people of a zone have them.
fn moment_of(date: i64, time: [u64; 3], fraction: &str, zone: Local<'_>) -> Option<Moment> {
    let [hour, minute, second] = time.map(|part| i64::try_from(part).unwrap_or(0));
    let of_day = hour
        .checked_mul(3600)?
        .checked_add(minute.checked_mul(60)?)?
        .checked_add(second)?;
    let wanted = date.checked_mul(DAY)?.checked_add(of_day)?;
    at(seconds_of(wanted, zone)?, fraction)
}

/// The seconds since 1970 at which the clocks of a zone show what those of UTC show at `wanted`. Of a time that
/// comes twice (the clocks were set back) it is the first; one that was left out is taken as if they had not
/// been set yet.
fn seconds_of(wanted: i64, zone: Local<'_>) -> Option<u64> {
    // No zone is more than a day away, and none changes twice in two days.
    let offset = |of: i64| {
        let moment = u64::try_from(of.max(0)).ok()?;
        seconds_in(zone(moment)?)?.checked_sub(of.max(0))
    };
    let before = wanted.checked_sub(offset(wanted.checked_sub(DAY)?)?)?;
    let after = wanted.checked_sub(offset(wanted.checked_add(DAY)?)?)?;
    let shows = |moment: &i64| {
        let shown = u64::try_from(*moment).ok().and_then(zone);
        shown.and_then(seconds_in) == Some(wanted)
    };
    let mut both = [before.min(after), before.max(after)].into_iter();
    u64::try_from(both.find(shows).unwrap_or(before)).ok()
}

/// What a clock shows, as if it were UTC's.
fn seconds_in(fields: [i32; 6]) -> Option<i64> {
    let [year, month, day, hour, minute, second] = fields.map(i64::from);
    days_of(year, month, day)
        .checked_mul(DAY)?
        .checked_add(hour.checked_mul(3600)?)?
        .checked_add(minute.checked_mul(60)?)?
        .checked_add(second)
}

/// Seconds and the digits behind the point, as wide as the last digit.
fn at(seconds: u64, fraction: &str) -> Option<Moment> {
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut width = SECOND;
    let mut below: u64 = 0;
    for digit in fraction.chars().filter_map(|c| c.to_digit(10)) {
        width = width.checked_div(10)?;
        below = below.checked_add(width.checked_mul(u64::from(digit))?)?;
    }
    let first = seconds.checked_mul(SECOND)?.checked_add(below)?;
    Some(Moment::wide(first, width))
}

fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// Days since 1970 of a date of the Gregorian calendar. March is the first month of its year here, so that
/// the day that comes and goes is the last one.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let from_march = month.saturating_add(9).rem_euclid(12);
    let year = year.saturating_sub(i64::from(month <= 2));
    let leap_days = year
        .div_euclid(4)
        .saturating_sub(year.div_euclid(100))
        .saturating_add(year.div_euclid(400));
    // 153 days are five months, from March and from August on.
    let of_months = from_march
        .saturating_mul(153)
        .saturating_add(2)
        .div_euclid(5);
    year.saturating_mul(365)
        .saturating_add(leap_days)
        .saturating_add(of_months)
        .saturating_add(day)
        // 1 January 1970, counted from 1 March of the year 0.
        .saturating_sub(719_469)
}

/// Year, month, day, hour, minute and second of UTC.
pub fn civil(seconds: i64) -> Option<[i32; 6]> {
    let (days, of_day) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    // A year that is not after, and one that is not before.
    let mut year = days.div_euclid(366).saturating_add(1970);
    while days_of(year.saturating_add(1), 1, 1) <= days {
        year = year.saturating_add(1);
    }
    while days_of(year, 1, 1) > days {
        year = year.saturating_sub(1);
    }
    let month = (1..=12)
        .rev()
        .find(|month| days_of(year, *month, 1) <= days)?;
    let day = days
        .saturating_sub(days_of(year, month, 1))
        .saturating_add(1);
    let fields = [
        year,
        month,
        day,
        of_day.div_euclid(3600),
        of_day.div_euclid(60).rem_euclid(60),
        of_day.rem_euclid(60),
    ];
    let mut small = [0_i32; 6];
    for (to, from) in small.iter_mut().zip(fields) {
        *to = i32::try_from(from).ok()?;
    }
    Some(small)
}

#[cfg(test)]
mod tests;
