//! Moments, against a clock that is known.

#![allow(clippy::arithmetic_side_effects)]

use proptest::prelude::*;

use super::*;

/// 2026-11-23 10:30:00.5 UTC, a Monday.
const NOW: u64 = 1_795_429_800 * SECOND + SECOND / 2;

/// Central Europe as it is around 2026: an hour ahead, two from the last Sunday in March to that in October.
fn berlin(seconds: u64) -> Option<[i32; 6]> {
    // 2026-03-29 01:00 UTC and 2026-10-25 01:00 UTC.
    let summer = (1_774_746_000..1_792_890_000).contains(&seconds);
    civil(i64::try_from(seconds).ok()? + if summer { 7200 } else { 3600 })
}

fn read(text: &str) -> Moment {
    parse(text, NOW, &berlin).unwrap_or_else(|why| panic!("{why}"))
}

#[test]
fn what_the_manual_page_has_is_read() {
    for (text, seconds) in [
        ("2026-11-23 12:00:00", 1_795_431_600),
        ("2026-11-23 12:00", 1_795_431_600),
        ("2026-11-23T12:00:00", 1_795_431_600),
        ("Mon 2026-11-23 12:00", 1_795_431_600),
        ("monday 2026-11-23 12:00", 1_795_431_600),
        ("2026-11-23 12:00:00 UTC", 1_795_435_200),
        ("2026-11-23", 1_795_388_400),
        ("2026-11-23 UTC", 1_795_392_000),
        ("12:00", 1_795_431_600),
        ("12:00:00", 1_795_431_600),
        ("12:00 UTC", 1_795_435_200),
        ("today", 1_795_388_400),
        ("today UTC", 1_795_392_000),
        ("yesterday", 1_795_302_000),
        ("tomorrow", 1_795_474_800),
        ("@1764000000", 1_764_000_000),
        ("@0", 0),
        // Summer time, and the hour that comes twice: the first of the two.
        ("2026-07-01 12:00", 1_782_900_000),
        ("2026-10-25 02:30", 1_792_888_200),
        ("2026-10-25 03:30", 1_792_895_400),
        // The hour that is left out.
        ("2026-03-29 02:30", 1_774_747_800),
        (" 2024-02-29 ", 1_709_161_200),
    ] {
        let moment = read(text);
        let first = seconds * SECOND;
        let last = first + SECOND - 1;
        assert_eq!(moment, Moment { first, last }, "{text}");
    }
    for (text, moment) in [
        ("now", NOW),
        ("2h ago", NOW - 7200 * SECOND),
        ("-2h", NOW - 7200 * SECOND),
        ("-1h 30min", NOW - 5400 * SECOND),
        ("+5s", NOW + 5 * SECOND),
        ("5s left", NOW + 5 * SECOND),
    ] {
        assert_eq!(read(text), Moment::exactly(moment), "{text}");
    }
}

#[test]
fn a_fraction_is_as_wide_as_its_last_digit() {
    let audit = read("@1764000000.123");
    let first = 1_764_000_000_123_000_000;
    assert_eq!((audit.first, audit.last), (first, first + 999_999));
    let exact = read("2026-11-23 12:00:00.000000001");
    assert_eq!(exact, Moment::exactly(1_795_431_600 * SECOND + 1));
}

#[test]
fn what_is_no_time_is_refused_by_name() {
    for bad in [
        "",
        "12",
        "2h",
        "2026",
        "2026-11",
        "2026-02-30",
        "2026-13-01",
        "26-11-23",
        "24:00",
        "12:60",
        "1:2:3:4",
        "12:00:00.",
        "@",
        "@-1",
        "@1.",
        "@1x",
        "@99999999999999999999",
        "-",
        "-2 apples",
        "infinity ago",
        "-99y",
        "gestern",
        "2026-11-23 12:00:00 Europe/Berlin",
        "Tue 2026-11-23",
        "2026-11-23 12",
        "0001-01-01",
        "a b c d",
        "12:00:00.1234567890",
        "-2026-11-23",
        "T",
        "2026-11-23T",
    ] {
        let why = parse(bad, NOW, &berlin).expect_err(bad);
        assert!(why.contains(bad), "{bad:?}: {why}");
    }
    let why = parse("Tue 2026-11-23", NOW, &berlin).expect_err("a Monday");
    assert!(why.contains("is a Monday"), "{why}");
    let why = parse("2026-11-23 12:00 Europe/Berlin", NOW, &berlin).expect_err("a zone");
    assert!(why.contains("TZ=Europe/Berlin"), "{why}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(\\PC|[0-9. :@T+-]|ago|now|UTC|Mon)*", now in any::<u64>()) {
        let _read = parse(&text, now, &berlin);
        let _read = parse(&text, now, &|_| None);
    }

    #[test]
    fn what_a_clock_shows_is_read_as_that_moment(seconds in 86_400_u64..4_000_000_000) {
        let [year, month, day, hour, minute, second] = berlin(seconds).expect("a time");
        let text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
        let back = read(&text).first / SECOND;
        // Of an hour that comes twice, the first.
        prop_assert!(back == seconds || back + 3600 == seconds && berlin(back) == berlin(seconds), "{}", text);
        let [year, month, day, hour, minute, second] = civil(i64::try_from(seconds).expect("a time")).expect("a time");
        let text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC");
        prop_assert_eq!(read(&text).first / SECOND, seconds);
    }

    #[test]
    fn the_calendar_goes_there_and_back(seconds in -62_000_000_000_i64..250_000_000_000) {
        let fields = civil(seconds).expect("a date");
        prop_assert_eq!(seconds_in(fields), Some(seconds));
    }
}
