//! The files, as the writing thread leaves them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::reading::read_in;
use super::*;
use crate::history_text::End;

const BOOT: &str = "00000000-0000-4000-8000-000000000000";

/// A folder as the daemon makes it.
fn folder() -> (tempfile::TempDir, String) {
    let place = tempfile::tempdir().expect("a directory");
    let folder = format!("{}/dynuser", place.path().display());
    (place, folder)
}

fn line(nth: u64, event: Event) -> String {
    let when = When {
        clock: nth.saturating_mul(SECOND),
        uptime: nth.saturating_mul(1000),
        boot: BOOT.into(),
    };
    Line { when, event }.to_string()
}

fn begin(nth: u64) -> String {
    let held = held(nth);
    let service = "a-service".into();
    line(nth, Event::Begun { held, service })
}

fn end(nth: u64) -> String {
    let begun = nth.saturating_mul(SECOND);
    line(
        nth,
        Event::Ended {
            held: held(nth),
            begun,
        },
    )
}

fn held(nth: u64) -> Held {
    let uid = u32::try_from(nth.saturating_add(100_000)).expect("a number");
    let name = format!("n{nth}");
    Held { uid, name }
}

fn sizes(folder: &str) -> Vec<u64> {
    let size = |name| fs::metadata(format!("{folder}/{name}")).map_or(0, |it| it.len());
    [FILE, OLD].map(size).to_vec()
}

#[test]
fn nothing_is_made_before_there_is_something_to_tell() {
    let (_place, folder) = folder();
    let mut writer = Writer::in_folder(&folder, BOOT);
    writer.write("", true, None, 1 << 20);
    assert!(fs::metadata(&folder).is_err());
    writer.write(&begin(1), false, None, 0);
    assert!(fs::metadata(&folder).is_err(), "there is to be none");
    writer.write(&begin(1), false, None, 1 << 20);
    let found = fs::metadata(format!("{folder}/{FILE}")).expect("a file");
    assert_eq!(found.permissions().mode() & 0o7777, 0o600);
    let before = fs::read_to_string(format!("{folder}/{FILE}")).expect("text");
    writer.write(&end(1), false, None, 1 << 20);
    let after = fs::read_to_string(format!("{folder}/{FILE}")).expect("text");
    assert_eq!(after, format!("{before}{}", end(1)));
}

#[test]
fn both_files_have_no_more_than_they_may_and_the_oldest_half_goes() {
    let (_place, folder) = folder();
    let most = 64 << 10;
    let mut writer = Writer::in_folder(&folder, BOOT);
    for nth in 1..3000 {
        writer.write(&format!("{}{}", begin(nth), end(nth)), false, None, most);
        assert!(sizes(&folder).iter().sum::<u64>() <= most);
    }
    let read = read_in(&folder).expect("a history");
    let ended: Vec<&str> = read
        .past
        .in_order()
        .iter()
        .filter(|it| matches!(it.end, End::At(_)))
        .map(|it| it.held.name.as_str())
        .collect();
    assert!(ended.len() > 100, "{}", ended.len());
    let first: usize = ended
        .first()
        .expect("it")
        .get(1..)
        .expect("n")
        .parse()
        .expect("a number");
    let all: Vec<String> = (first..3000).map(|nth| format!("n{nth}")).collect();
    assert_eq!(ended, all, "the newest, and none is missing");
}

#[test]
fn a_file_that_is_gone_or_was_being_replaced_begins_anew_behind_the_old_one() {
    let (_place, folder) = folder();
    let mut writer = Writer::in_folder(&folder, BOOT);
    writer.write(&begin(1), false, None, 1 << 20);
    // Killed between the two renames.
    fs::rename(format!("{folder}/{FILE}"), format!("{folder}/{OLD}")).expect("rename");
    let mut next = Writer::in_folder(&folder, BOOT);
    next.write(&begin(2), true, None, 1 << 20);
    let read = read_in(&folder).expect("a history");
    let names: Vec<&str> = read
        .past
        .in_order()
        .iter()
        .map(|it| it.held.name.as_str())
        .collect();
    assert_eq!(names, ["n1", "n2"]);
}

#[test]
fn what_waits_for_a_disk_that_hangs_is_bounded() {
    let history = History::new(BOOT, 1 << 20);
    // Somebody writes, and does not come back.
    history.shared.queue().started = true;
    let line = crate::history_text::parse(&begin(1)).expect("a line");
    for _ in 0..30_000 {
        history.note(&line);
    }
    let queue = history.shared.queue();
    assert!(queue.lines.len() < MOST_PENDING + 1000);
    assert!(queue.census, "what was lost is made good");
    assert_eq!(queue.lost, Some(line.when.clock));
}

#[test]
fn lines_longer_than_any_of_ours_are_skipped() {
    let (_place, folder) = folder();
    let mut writer = Writer::in_folder(&folder, BOOT);
    writer.write(&begin(1), false, None, 1 << 20);
    let path = format!("{folder}/{FILE}");
    let mut text = fs::read(&path).expect("text");
    text.extend(vec![0_u8; 1 << 20]);
    text.push(b'\n');
    text.extend(begin(2).as_bytes());
    fs::write(&path, text).expect("write");
    let read = read_in(&folder).expect("a history");
    assert_eq!(read.past.tenures().len(), 2);
    assert!(read.past.skipped > 0);
}

#[test]
fn what_could_not_be_written_is_no_proof_that_nobody_was_there() {
    let (_place, folder) = folder();
    let mut writer = Writer::in_folder(&folder, BOOT);
    writer.pause = std::time::Duration::ZERO;
    writer.write(&begin(1), false, None, 1 << 20);
    let gaps = |folder: &str| reading::read_in(folder).expect("a history").past.gaps;
    assert_eq!(gaps(&folder), []);
    // The disk is away for a while.
    let away = format!("{folder}.away");
    fs::rename(&folder, &away).expect("rename");
    fs::write(&folder, "").expect("write");
    let lines = format!("{}{}", begin(2), end(2));
    writer.write(&lines, false, None, 1 << 20);
    writer.write(&begin(3), false, None, 1 << 20);
    fs::remove_file(&folder).expect("remove");
    fs::rename(&away, &folder).expect("rename");
    let before = now(BOOT).clock;
    writer.write(&end(3), false, None, 1 << 20);
    writer.write(&begin(4), false, None, 1 << 20);
    let first = crate::history_text::first_moment(&lines).expect("a moment");
    let found = gaps(&folder);
    assert!(
        matches!(found[..], [(since, until)] if since == first && until >= before),
        "{found:?}"
    );
    // Where too much waited for the disk, too.
    writer.write(&begin(5), true, Some(first), 1 << 20);
    assert_eq!(gaps(&folder).len(), 2);
}
