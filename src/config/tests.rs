//! What files of the configuration say, and what they may not say.

use proptest::prelude::*;

use super::*;

fn config(texts: &[&str]) -> Result<Config, Vec<Fault>> {
    let files: Vec<(String, String)> = texts
        .iter()
        .enumerate()
        .map(|(n, text)| (format!("f{n}"), (*text).into()))
        .collect();
    parse(&files)
}

fn ranges(texts: &[&str]) -> String {
    config(texts).expect("a configuration").ranges.to_string()
}

#[test]
fn nothing_means_the_defaults() {
    for texts in [&[][..], &[""], &["[Manager]\n"], &["# [x]\n", "\n\n"]] {
        assert_eq!(config(texts), Ok(Config::default()));
    }
    let default = Config::default();
    assert_eq!(default.ranges.to_string(), "61184-65519");
    assert_eq!(default.stop_timeout.as_secs(), 5);
    assert_eq!(default.name_service_timeout.as_secs(), 20);
}

#[test]
fn ranges_add_up_and_an_empty_value_takes_them_back() {
    for (texts, wanted) in [
        (&["[Manager]\nUIDRange=100-200 300"][..], "100-200 300"),
        (
            &["[Manager]\nUIDRange=100-200\nUIDRange=201-300"],
            "100-300",
        ),
        (
            &["[Manager]\nUIDRange=100", "[Manager]\nUIDRange=102"],
            "100 102",
        ),
        (
            &["[Manager]\nUIDRange=100", "[Manager]\nUIDRange="],
            "61184-65519",
        ),
        (&["[Manager]\nUIDRange=100\nUIDRange=\nUIDRange=7"], "7"),
        (
            &["[Manager]\nUIDExclude=61200 61300-61400"],
            "61184-65519 without 61200 61300-61400",
        ),
        (&["[Manager]\nUIDExclude=61200\nUIDExclude="], "61184-65519"),
        (
            &["[Manager]\nUIDRange=100-109 \\\n # why\n 200\n"],
            "100-109 200",
        ),
    ] {
        assert_eq!(ranges(texts), wanted, "{texts:?}");
    }
}

#[test]
fn times_are_time_spans() {
    let text = "[Manager]\nDefaultTimeoutStopSec=1min 30s\nNameServiceTimeoutSec=500ms\n";
    let read = config(&[text]).expect("a configuration");
    assert_eq!(read.stop_timeout, Duration::from_secs(90));
    assert_eq!(read.name_service_timeout, Duration::from_millis(500));
    let later = config(&[text, "[Manager]\nDefaultTimeoutStopSec=\n"]).expect("a configuration");
    assert_eq!(later.stop_timeout, Duration::from_secs(5));
}

#[test]
fn the_history_has_a_size_or_is_none() {
    for (value, wanted) in [("", 8 << 20), ("0", 0), ("64K", 65536), ("1G", 1 << 30)] {
        let text = format!("[Manager]\nHistoryMaxSize=1M\nHistoryMaxSize={value}\n");
        let read = config(&[&text]).expect("a configuration");
        assert_eq!(read.history_size, wanted, "{value}");
    }
    for bad in ["1", "63K", "infinity", "-1", "8 MB"] {
        let text = format!("[Manager]\nHistoryMaxSize={bad}\n");
        assert!(config(&[&text]).is_err(), "{bad}");
    }
}

#[test]
fn what_is_wrong_is_named_with_file_and_line_and_nothing_is_ignored() {
    for (text, place, why) in [
        ("[Manager]\nUIDRnage=1", "f0:2:", "UIDRnage= is not known"),
        ("[Manager]\nuidrange=1", "f0:2:", "not known"),
        ("[Service]\nUser=a", "f0:2:", "[Manager]"),
        ("[X-Mine]\nA=a", "f0:2:", "[Manager]"),
        ("UIDRange=1", "f0:1:", "before any"),
        (
            "[Manager]\n\nUIDRange=a-b",
            "f0:3:",
            "neither a number nor a range",
        ),
        ("[Manager]\nUIDRange=200-100", "f0:2:", "100-200"),
        ("[Manager]\nUIDRange=61184-70000", "f0:2:", "nobody"),
        ("[Manager]\nUIDRange=\\\n0-5", "f0:2:", "root"),
        ("[Manager]\nUIDRange=100000-3000000", "f0:2:", "too many"),
        (
            "[Manager]\nUIDRange=100\nUIDExclude=50-150",
            "f0:3:",
            "UIDExclude=: everything",
        ),
        (
            "[Manager]\nDefaultTimeoutStopSec=infinity",
            "f0:2:",
            "never comes back",
        ),
        ("[Manager]\nDefaultTimeoutStopSec=0", "f0:2:", "no time"),
        (
            "[Manager]\nNameServiceTimeoutSec=5 parsecs",
            "f0:2:",
            "parsecs",
        ),
        ("[Manager]\nNameServiceTimeoutSec=2d", "f0:2:", "a day"),
        ("[Manager]\nUserDatabaseSocket=maybe", "f0:2:", "auto, yes"),
    ] {
        let faults = config(&[text]).expect_err(text);
        let said = faults.first().map(ToString::to_string).unwrap_or_default();
        assert!(said.starts_with(place), "{text:?}: {said}");
        assert!(said.contains(why), "{text:?}: {said}");
    }
    let faults = config(&["[Manager]\nA=1\nB=2\n", "[", "[Manager]\nC=3"]);
    let places: Vec<(String, usize)> = faults
        .expect_err("four faults")
        .into_iter()
        .map(|fault| (fault.file, fault.line))
        .collect();
    let place = |file: &str, line| (file.to_owned(), line);
    assert_eq!(
        places,
        [
            place("f0", 2),
            place("f0", 3),
            place("f1", 1),
            place("f2", 2)
        ]
    );
}

#[test]
fn a_socket_for_everybody_is_asked_for() {
    for (value, wanted) in [("yes", true), ("no", false), ("1", true), ("", false)] {
        let text = format!("[Manager]\nNscdSocket=yes\nNscdSocket={value}\n");
        let read = config(&[&text]).expect("a configuration");
        assert_eq!(read.nscd_socket, wanted, "{value:?}");
    }
    assert!(config(&["[Manager]\nNscdSocket=maybe"]).is_err());
}

proptest! {
    #[test]
    fn any_value_is_taken_or_refused(key in 0..KEYS.len(), value in "(\\PC|[0-9 -])*") {
        let name = KEYS[key].name;
        if let Err(faults) = config(&[&format!("[Manager]\n{name}={value}")]) {
            prop_assert_eq!(faults.len(), 1);
        }
    }
}
