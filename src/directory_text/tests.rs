//! What is known of directories, as text and in memory.

use proptest::prelude::*;

use super::*;
use crate::registry_text::END_OF_TORN_LINE;

const NOW: u64 = 1_700_000_000;

fn has<'a>(kind: Kind, path: &'a str, links: &'a [ExecDirectory]) -> Has<'a> {
    Has {
        kind,
        path,
        links,
        private: kind.boundary().is_some(),
    }
}

fn note(records: &mut Records, service: &str, now: u64, paths: &[&str]) -> Option<String> {
    let has = paths.iter().map(|path| has(Kind::State, path, &[]));
    records.note(service, service, now, has)
}

fn paths(records: &Records, service: &str) -> Vec<String> {
    let record = records.of_service(service);
    let directories = record.into_iter().flat_map(|record| &record.directories);
    directories.map(|had| had.path.clone()).collect()
}

#[test]
fn what_is_known_already_is_no_news_for_a_day() {
    let mut records = Records::default();
    assert!(note(&mut records, "none", NOW, &[]).is_none());
    assert!(note(&mut records, "wuff", NOW, &["a", "b"]).is_some());
    assert!(note(&mut records, "wuff", NOW + 60, &["b", "a"]).is_none());
    assert!(note(&mut records, "wuff", NOW + 60, &["a"]).is_none());
    assert!(note(&mut records, "wuff", NOW + STALE, &["a"]).is_some());
    assert!(note(&mut records, "wuff", NOW + STALE + 1, &["a", "b"]).is_none());
    assert!(note(&mut records, "wuff", NOW - 1, &["a"]).is_some());
    assert!(
        records
            .note("wuff", "miau", NOW, std::iter::empty())
            .is_some()
    );
    assert_eq!(paths(&records, "wuff"), ["a", "b"]);
}

#[test]
fn what_a_service_had_before_stays_until_it_is_forgotten() {
    let mut records = Records::default();
    let link = |path| ExecDirectory::parse(Kind::Cache, path).expect("a path");
    let links = ["l1", "l2"].map(link);
    records.note(
        "wuff",
        "wuff",
        NOW,
        [has(Kind::Cache, "c", &links[..1])].into_iter(),
    );
    let second = has(Kind::Cache, "c", &links[1..]);
    assert!(
        records
            .note("wuff", "wuff", NOW, [second].into_iter())
            .is_some()
    );
    assert!(
        records
            .note("wuff", "wuff", NOW, [second].into_iter())
            .is_none()
    );
    note(&mut records, "wuff", NOW, &["s"]);
    let record = records.of_service("wuff").expect("a record");
    assert_eq!(record.directories[1].links, ["l2", "l1"]);
    assert!(records.forget("wuff", |had| had.kind == "logs").is_none());
    assert!(records.forget("wuff", |had| had.kind == "cache").is_some());
    assert_eq!(paths(&records, "wuff"), ["s"]);
    let last = records.forget("wuff", |_| true).expect("news");
    assert!(paths(&records, "wuff").is_empty() && records.len() == 1);
    let mut text = note(&mut records, "wuff", NOW, &["s"]).expect("news");
    text.push_str(&last);
    let read = parse(text.as_bytes()).records;
    assert!(paths(&read, "wuff").is_empty() && read.len() == 1);
}

#[test]
fn a_torn_line_says_nothing() {
    let mut records = Records::default();
    let whole = note(&mut records, "wuff", NOW, &["a/b \"c\" ä"]).expect("news");
    for end in 1..whole.len() {
        let torn = whole.as_bytes().get(..end).expect("a part");
        assert_eq!(parse(torn).lines, 0);
        let text = [torn, END_OF_TORN_LINE.as_bytes(), whole.as_bytes()].concat();
        let parsed = parse(&text);
        assert_eq!((parsed.lines, parsed.skipped), (1, 1), "{end}");
    }
    assert_eq!(parse(whole.as_bytes()).records.text(), records.text());
}

#[test]
fn too_much_is_forgotten_the_oldest_first_and_never_news_each_time() {
    let mut records = Records::default();
    for n in 0..MOST_NAMES + 10 {
        note(&mut records, &format!("n{n}"), NOW + n as u64, &["a"]);
    }
    records.trim();
    assert_eq!(records.len(), MOST_NAMES);
    assert!(records.of_service("n9").is_none() && records.of_service("n10").is_some());

    let long: Vec<String> = (0..300)
        .map(|n| format!("{n}/{}", "x/".repeat(500)))
        .collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let line = note(&mut records, "long", NOW * 2, &long).expect("news");
    assert!(line.len() <= LONGEST_LINE + 200);
    assert!(note(&mut records, "long", NOW * 2, &long).is_none());
    for n in 0..100 {
        note(&mut records, &format!("long{n}"), NOW * 2 - n, &long);
    }
    records.trim();
    assert!(records.text().len() <= MOST_TEXT + HEADER.len());
    assert!(records.of_service("long").is_some() && records.of_service("n10").is_none());
}

#[test]
fn a_directory_is_one_only_by_the_rules_of_today() {
    let had = |kind: &str, path: &str| HadDirectory {
        kind: kind.into(),
        path: path.into(),
        links: Vec::new(),
        private: true,
    };
    assert!(had("state", "a/b").directory().is_some());
    for (kind, path) in [("state", "../etc"), ("state", "private"), ("states", "a")] {
        assert!(had(kind, path).directory().is_none(), "{kind} {path}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(text: Vec<u8>) {
        let parsed = parse(&text);
        prop_assert!(parsed.records.len() <= parsed.lines);
    }

    #[test]
    fn what_is_written_is_what_is_read(
        starts in prop::collection::vec(("[a-c]", prop::collection::vec("[^:%]{1,6}", 0..3)), 0..20),
    ) {
        let mut records = Records::default();
        let mut appended = String::new();
        for (service, directories) in &starts {
            let has: Vec<&str> = directories.iter().map(String::as_str).collect();
            appended.extend(note(&mut records, service, NOW, &has));
        }
        for text in [records.text(), appended] {
            let read = parse(text.as_bytes());
            prop_assert_eq!(read.skipped, 0);
            prop_assert_eq!(read.records.text(), records.text());
        }
    }
}
