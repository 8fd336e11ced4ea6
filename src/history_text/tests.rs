//! Lines, and what they add up to.

#![allow(clippy::arithmetic_side_effects)]

use proptest::prelude::*;

use super::*;

const BOOT: &str = "11111111-aaaa-4000-8000-000000000000";
const NEXT: &str = "22222222-bbbb-4000-8000-000000000000";

/// `seconds` after a boot that began at 1,000,000 by the host's clock.
fn at(seconds: u64) -> When {
    When {
        clock: (1_000_000 + seconds) * SECOND,
        uptime: seconds * MILLI,
        boot: BOOT.into(),
    }
}

/// The same after the next boot, which began at 2,000,000.
fn next(seconds: u64) -> When {
    When {
        clock: (2_000_000 + seconds) * SECOND,
        boot: NEXT.into(),
        ..at(seconds)
    }
}

fn held(uid: u32, name: &str) -> Held {
    let name = name.into();
    Held { uid, name }
}

fn begun(when: When, uid: u32, name: &str) -> Line {
    let held = held(uid, name);
    let service = format!("{name}.daemon");
    let event = Event::Begun { held, service };
    Line { when, event }
}

fn ended(when: When, uid: u32, name: &str, since: &When) -> Line {
    let (held, begun) = (held(uid, name), since.clock);
    let event = Event::Ended { held, begun };
    Line { when, event }
}

fn stuck(when: When, uid: u32, name: &str, since: &When) -> Line {
    let (held, begun) = (held(uid, name), since.clock);
    let event = Event::Stuck { held, begun };
    Line { when, event }
}

fn read(lines: &[String]) -> Past {
    let mut past = Past::default();
    past.read(lines.concat().as_bytes());
    past
}

/// Names and ends.
fn ends(past: &Past) -> Vec<(&str, &End)> {
    let all = past.tenures().iter();
    all.map(|it| (it.held.name.as_str(), &it.end)).collect()
}

#[test]
fn a_line_has_one_spelling() {
    let line = begun(at(7), 61200, "wuff");
    let text = format!("begun 1000007.000000000 7.000 {BOOT} 61200 wuff wuff.daemon\n");
    assert_eq!(line.to_string(), text);
    assert_eq!(parse(&text), Some(line));
    let text = format!("ended 1000009.000000000 9.000 {BOOT} 61200 wuff 1000007.000000000\n");
    assert_eq!(ended(at(9), 61200, "wuff", &at(7)).to_string(), text);
    assert_eq!(
        alive(&at(9), &[(begun(at(7), 61200, "wuff"), true)]),
        format!(
            "alive 1000009.000000000 9.000 {BOOT} 1\n\
             begun 1000007.000000000 7.000 {BOOT} 61200 wuff wuff.daemon\n\
             stuck 1000009.000000000 9.000 {BOOT} 61200 wuff 1000007.000000000\n"
        )
    );
    for bad in [
        "begun 1000007.000000000 7.000 B 61200 wuff x",
        &format!("begun 1000007.000000000 7.000 {BOOT} 61200 wuff wu ?\n"),
        &format!("begun 1000007.000000000 7.000 {BOOT} 61200 wuff\n"),
        &format!("begun 1000007.00000000 7.000 {BOOT} 61200 wuff x\n"),
        &format!("begun 01000007.000000000 7.000 {BOOT} 61200 wuff x\n"),
        &format!("begun 1000007.000000000 7.000 {BOOT} +61200 wuff x\n"),
        &format!("begun 1000007.000000000 7.000 {BOOT} 61200 ../x x\n"),
        &format!("begun 1000007.000000000 7.000 {BOOT} 61200 wuff \u{1b}[2J\n"),
        &format!("began 1000007.000000000 7.000 {BOOT} 61200 wuff x\n"),
        &format!("alive 1000007.000000000 7.000 {BOOT} -1\n"),
        "\0\0\0\0\n",
        "\n",
    ] {
        assert_eq!(parse(bad), None, "{bad:?}");
    }
}

#[test]
fn a_number_goes_from_one_to_the_next() {
    let lines = [
        begun(at(1), 61200, "wuff"),
        begun(at(2), 61201, "miau"),
        ended(at(3), 61200, "wuff", &at(1)),
        begun(at(4), 61200, "other"),
        stuck(at(5), 61201, "miau", &at(2)),
    ];
    let past = read(&lines.map(|line| line.to_string()));
    let open = &End::Open;
    assert_eq!(
        ends(&past),
        [("wuff", &End::At(at(3))), ("miau", open), ("other", open)]
    );
    let since: Vec<Option<u64>> = past.tenures().iter().map(|it| it.stuck).collect();
    assert_eq!(since, [None, Some(at(5).clock), None]);
    let spans = |which: usize| past.tenures().get(which).expect("it").spans(&at(9));
    assert_eq!(spans(0), [(at(1).clock, at(3).clock)]);
    assert_eq!(spans(2), [(at(4).clock, at(9).clock)]);
}

#[test]
fn what_nobody_wrote_down_is_concluded_and_not_made_up() {
    // A daemon was killed, and what ended meanwhile is not alive any more for the next.
    let lines = [
        begun(at(1), 61200, "gone").to_string(),
        begun(at(2), 61201, "lives").to_string(),
        alive(&at(9), &[(begun(at(2), 61201, "lives"), false)]),
    ];
    let past = read(&lines);
    let before = &End::Before(at(9));
    assert_eq!(ends(&past), [("gone", before), ("lives", &End::Open)]);
    assert_eq!(past.complete_from(), Some(at(9).clock));
    // The rest of what the next one says was cut off: then nobody knows.
    let cut = |text: &str| text.split_inclusive('\n').next().map(String::from);
    let lines = lines.map(|text| cut(&text).expect("a line"));
    let past = read(&lines);
    assert_eq!(ends(&past), [("gone", &End::Open), ("lives", &End::Open)]);
    // Its number has gone to another.
    let past = read(&[
        begun(at(1), 61200, "one").to_string(),
        begun(at(5), 61200, "two").to_string(),
    ]);
    assert_eq!(
        ends(&past),
        [("one", &End::Before(at(5))), ("two", &End::Open)]
    );
    // Who is told to be alive after all, is.
    let past = read(&[
        begun(at(1), 61200, "one").to_string(),
        alive(&at(2), &[]),
        alive(&at(3), &[(begun(at(1), 61200, "one"), false)]),
    ]);
    assert_eq!(ends(&past), [("one", &End::Open)]);
    // A new file begins with those who are alive, by number, and yet they are told in order.
    let lines = [
        (begun(at(5), 61200, "two"), false),
        (begun(at(2), 61201, "one"), false),
    ];
    let past = read(&[alive(&at(6), &lines)]);
    let order: Vec<&str> = past
        .in_order()
        .iter()
        .map(|it| it.held.name.as_str())
        .collect();
    assert_eq!(order, ["one", "two"]);
    // One who counted before it began says nothing about it.
    let past = read(&[begun(at(5), 61200, "one").to_string(), alive(&at(4), &[])]);
    assert_eq!(ends(&past), [("one", &End::Open)]);
}

#[test]
fn the_end_of_a_boot_ends_all_and_nobody_knows_when_exactly() {
    let past = read(&[
        begun(at(1), 61200, "wuff").to_string(),
        begun(next(3), 61200, "other").to_string(),
        // Of the former boot: its number was free all the time.
        ended(next(4), 61200, "wuff", &at(1)).to_string(),
    ]);
    let reboot = &End::Reboot(2_000_000 * SECOND);
    assert_eq!(ends(&past), [("wuff", reboot), ("other", &End::Open)]);
    let first = past.tenures().first().expect("it");
    assert_eq!(first.spans(&next(9)), [(at(1).clock, 2_000_000 * SECOND)]);
    assert!(!first.clock_was_set(&next(9)));
}

#[test]
fn a_clock_that_was_set_back_or_forth_shows_two_spans() {
    let set = |seconds: u64, clock: u64| When {
        clock: clock * SECOND,
        ..at(seconds)
    };
    // From 1,000,100 it lasts ten seconds, and the clock says 999,000 then.
    let back = read(&[
        begun(at(100), 61200, "back").to_string(),
        ended(set(110, 999_000), 61200, "back", &at(100)).to_string(),
        begun(set(120, 999_010), 61200, "forth").to_string(),
        ended(set(130, 5_000_000), 61200, "forth", &set(120, 999_010)).to_string(),
        begun(set(140, 5_000_010), 61200, "slewed").to_string(),
        ended(
            set(100_140, 5_100_050),
            61200,
            "slewed",
            &set(140, 5_000_010),
        )
        .to_string(),
    ]);
    let spans: Vec<Vec<(u64, u64)>> = back.tenures().iter().map(|it| it.spans(&at(0))).collect();
    let seconds = |first: u64, last: u64| (first * SECOND, last * SECOND);
    assert_eq!(
        spans,
        [
            vec![seconds(1_000_100, 1_000_110), seconds(998_990, 999_000)],
            vec![seconds(999_010, 999_020), seconds(4_999_990, 5_000_000)],
            vec![seconds(5_000_010, 5_100_050)],
        ]
    );
}

#[test]
fn damage_is_counted_and_the_rest_is_read() {
    let mut past = Past::default();
    let torn = begun(at(1), 61200, "wuff").to_string();
    let half = torn.split_at(torn.len() - 4).0;
    past.read(HEADER.as_bytes());
    past.read(format!("{half} ?\nwhat\n").as_bytes());
    past.read(b"\0\0\0\xff\n\n");
    past.read(begun(at(2), 61201, "miau").to_string().as_bytes());
    past.read(half.as_bytes());
    assert_eq!(ends(&past), [("miau", &End::Open)]);
    assert_eq!(past.skipped, 4);
}

/// What happens on a host, one number and some names.
#[derive(Clone, Debug)]
enum Step {
    Begin(u32, &'static str),
    End(u32),
    /// The daemon is killed, and what ends until the next one begins is written by nobody.
    Kill(Vec<u32>),
    Reboot,
}

fn step() -> impl Strategy<Value = Step> {
    let number = 61200_u32..61204;
    prop_oneof![
        4 => (number.clone(), prop::sample::select(vec!["a", "b", "c"])).prop_map(|(uid, name)| Step::Begin(uid, name)),
        3 => number.clone().prop_map(Step::End),
        1 => prop::collection::vec(number, 0..3).prop_map(Step::Kill),
        1 => Just(Step::Reboot),
    ]
}

/// What was so: a number, a name, a beginning and an end.
type True = (u32, &'static str, u64, Option<u64>);

/// What a history says, and what was so.
fn play(steps: &[Step]) -> (Vec<String>, Vec<True>, When) {
    let mut lines = vec![alive(&at(0), &[])];
    let mut truth: Vec<True> = Vec::new();
    let mut boot = 0_u64;
    let mut live: Vec<(usize, Line)> = Vec::new();
    let mut now = at(0);
    for (second, step) in (1_u64..).zip(steps) {
        let when = |boot: u64| When {
            clock: at(second * 10).clock,
            uptime: (second * 10) * MILLI,
            boot: format!("{boot:08}"),
        };
        now = when(boot);
        let of = |live: &[(usize, Line)], uid: u32, truth: &[True]| {
            live.iter()
                .position(|(which, _)| truth.get(*which).is_some_and(|it| it.0 == uid))
        };
        match step {
            Step::Begin(uid, name) => {
                if of(&live, *uid, &truth).is_none() {
                    let line = begun(now.clone(), *uid, name);
                    lines.push(line.to_string());
                    live.push((truth.len(), line));
                    truth.push((*uid, name, now.clock, None));
                }
            }
            Step::End(uid) => {
                if let Some(at) = of(&live, *uid, &truth) {
                    let (which, line) = live.remove(at);
                    let one = truth.get_mut(which).expect("it");
                    one.3 = Some(now.clock);
                    lines.push(ended(now.clone(), *uid, one.1, &line.when).to_string());
                }
            }
            Step::Kill(gone) => {
                for uid in gone {
                    if let Some(at) = of(&live, *uid, &truth) {
                        let (which, _) = live.remove(at);
                        truth.get_mut(which).expect("it").3 = Some(now.clock - 5 * SECOND);
                    }
                }
                let there: Vec<(Line, bool)> =
                    live.iter().map(|(_, line)| (line.clone(), false)).collect();
                lines.push(alive(&now, &there));
            }
            Step::Reboot => {
                for (which, _) in live.drain(..) {
                    truth.get_mut(which).expect("it").3 = Some(now.clock - 5 * SECOND);
                }
                boot += 1;
                let uptime = 3 * MILLI;
                now = When {
                    uptime,
                    ..when(boot)
                };
                lines.push(alive(&now, &[]));
            }
        }
    }
    (lines, truth, now)
}

proptest! {
    #[test]
    fn bytes_of_any_kind_are_read(text in prop::collection::vec(any::<u8>(), 0..300), word in "(begun|ended|alive|stuck) [0-9.]{0,25} [0-9.]{0,9} [0-9a-f-]{0,9} \\PC*") {
        let mut past = Past::default();
        past.read(&text);
        past.read(word.as_bytes());
        past.read(b"\n");
        for tenure in past.tenures() {
            prop_assert!(!tenure.spans(&at(1)).is_empty());
        }
    }

    #[test]
    fn what_is_written_is_read(clock in any::<u64>(), uptime in any::<u64>(), uid in any::<u32>(), name in "[a-z_][a-z0-9_-]{0,30}", service in "[a-zA-Z0-9:_.\\\\@-]{1,40}", count in any::<usize>()) {
        let when = When { clock, uptime, boot: BOOT.into() };
        prop_assume!(ServiceName::parse(&format!("{service}.service")).is_ok() && name != "root" && name != "nobody");
        let events = [
            Event::Begun { held: held(uid, &name), service: if service == "-" { String::new() } else { service } },
            Event::Ended { held: held(uid, &name), begun: clock },
            Event::Stuck { held: held(uid, &name), begun: uptime },
            Event::Lost { since: uptime },
            Event::Alive { count },
        ];
        for event in events {
            let line = Line { when: when.clone(), event };
            prop_assert_eq!(parse(&line.to_string()), Some(line));
        }
    }

    #[test]
    fn every_lease_is_told_once_and_no_end_is_later_or_earlier_than_it_can_be(steps in prop::collection::vec(step(), 0..60)) {
        let (lines, truth, now) = play(&steps);
        let past = read(&lines);
        prop_assert_eq!(past.skipped, 0);
        prop_assert_eq!(past.tenures().len(), truth.len());
        for (tenure, (uid, name, from, until)) in past.tenures().iter().zip(truth) {
            prop_assert_eq!(&tenure.held, &held(uid, name));
            prop_assert_eq!(tenure.begun.clock, from);
            match (&tenure.end, until) {
                (End::Open, None) => {}
                (End::At(end), Some(until)) => prop_assert_eq!(end.clock, until),
                (End::Before(end), Some(until)) => prop_assert!(end.clock >= until),
                (End::Reboot(end), Some(until)) => prop_assert!(*end >= until),
                (end, until) => prop_assert!(false, "{:?} {:?}", end, until),
            }
            // Whoever had it then is found, whatever else is.
            let last = until.unwrap_or(now.clock);
            for moment in [from, from.midpoint(last), last] {
                prop_assert!(tenure.spans(&now).iter().any(|(first, last)| (*first..=*last).contains(&moment)));
            }
        }
    }

    #[test]
    fn lines_that_are_lost_or_come_twice_break_nothing(steps in prop::collection::vec(step(), 0..40), which in prop::collection::vec(any::<prop::sample::Index>(), 0..9)) {
        let (lines, ..) = play(&steps);
        let mut lines: Vec<String> = lines.concat().split_inclusive('\n').map(String::from).collect();
        for (nth, which) in which.iter().enumerate() {
            if lines.is_empty() { break }
            let at = which.index(lines.len());
            if nth % 2 == 0 {
                lines.remove(at);
            } else {
                lines.push(lines.get(at).expect("a line").clone());
            }
        }
        let past = read(&lines);
        let mut open: Vec<u32> = past.tenures().iter().filter(|it| it.end == End::Open).map(|it| it.held.uid).collect();
        let all = open.len();
        open.sort_unstable();
        open.dedup();
        prop_assert_eq!(open.len(), all, "a number is one lease's at a time");
    }
}
