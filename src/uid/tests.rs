#![allow(clippy::arithmetic_side_effects)]

use proptest::prelude::*;

use super::*;
use crate::layout::LARGEST_UID;

fn range(word: &str) -> UidRange {
    UidRange::parse(word).expect("a range")
}

fn ranges(words: &str, excluded: &str) -> Result<UidRanges, String> {
    let list = |words: &str| words.split_whitespace().map(range).collect::<Vec<_>>();
    UidRanges::new(&list(words), &list(excluded))
}

#[test]
fn reserved_numbers_are_no_uids_of_services() {
    for number in [0, 65534, 65535, u32::MAX] {
        assert_eq!(Uid::new(number), None);
    }
    assert_eq!(Uid::new(61184).map(Uid::get), Some(61184));
}

#[test]
fn the_default_has_the_4336_numbers_of_systemd() {
    let all = UidRanges::default();
    assert_eq!((all.size(), all.count()), (4336, 4336));
    assert_eq!(Ok(all.clone()), ranges("61184-65519", ""));
    assert_eq!(all.at(0).map(Uid::get), Some(61184));
    assert_eq!(all.at(4335).map(Uid::get), Some(65519));
    assert_eq!(all.at(4336), None);
    assert!(all.contains(65519) && !all.contains(65520) && !all.contains(61183));
    assert_eq!(all.to_string(), "61184-65519");
    assert_eq!(all.link_target(), "61184-65519");
}

#[test]
fn a_range_is_read_in_one_spelling() {
    for (word, first, last) in [
        ("61184-65519", 61184, 65519),
        ("7", 7, 7),
        ("7-7", 7, 7),
        ("0-4294967295", 0, u32::MAX),
    ] {
        let read = range(word);
        assert_eq!((read.first(), read.last()), (first, last), "{word}");
    }
    for bad in [
        "",
        "-",
        "a",
        "1-",
        "-1",
        "1-2-3",
        "1–2",
        "+1",
        "01",
        "1-02",
        "0x10",
        "1 2",
        "1,2",
        "2-1",
        "4294967296",
        "99999999999999999999",
        "1.5",
        "1e3",
    ] {
        let why = UidRange::parse(bad).expect_err(bad);
        assert!(why.contains(bad), "{bad}: {why}");
    }
    assert_eq!(range("5-5").to_string(), "5");
}

#[test]
fn numbers_that_no_service_may_have_are_refused_with_the_reason() {
    for (words, why) in [
        ("0-10", "root"),
        ("65534", "nobody"),
        ("61184-70000", "nobody"),
        ("65535-65536", "16-bit"),
        ("2147483647-2147483648", "signed"),
        ("4294967294", "signed"),
        ("4294967295", "signed"),
    ] {
        let said = ranges(words, "").expect_err(words);
        assert!(said.contains(why), "{words}: {said}");
    }
    assert!(ranges(&format!("{LARGEST_UID}"), "").is_ok());
    assert!(ranges("1 65533 65536", "").is_ok());
    // To exclude what is not in a range anyway does no harm.
    assert!(ranges("61184-65519", "0 65530-4294967295").is_ok());
}

#[test]
fn ranges_that_touch_become_one_and_exclusions_move_nothing() {
    let all = ranges("100-109 300 110-119 105-112 200-209", "105-107 300 5000").expect("ranges");
    assert_eq!(
        all.to_string(),
        "100-119 200-209 300 without 105-107 300 5000"
    );
    assert_eq!((all.size(), all.count()), (31, 27));
    assert_eq!(all.at(4).map(Uid::get), Some(104));
    assert_eq!(all.at(5), None);
    assert_eq!(all.at(8).map(Uid::get), Some(108));
    assert_eq!(all.at(20).map(Uid::get), Some(200));
    assert_eq!(all.at(30), None);
    assert_eq!(joined(&all.usable(), " "), "100-104 108-119 200-209");
    assert_eq!(
        joined(&all.overlap(range("103-204")), " "),
        "103-104 108-119 200-204"
    );
}

#[test]
fn no_numbers_and_too_many_are_refused() {
    assert!(ranges("", "").is_err());
    assert!(ranges("100-200", "50-150 151-300").is_err());
    assert!(ranges("100000-1148575", "").is_ok(), "1048576 numbers");
    assert!(ranges("100000-1148576", "").is_err(), "1048577 numbers");
    let many: Vec<String> = (0..65).map(|n| (1000 + n * 2).to_string()).collect();
    let why = ranges(&many.join(" "), "").expect_err("65 ranges");
    assert!(why.contains("64"), "{why}");
    let apart: Vec<String> = (1..60).map(|n| (n * 30_000_000).to_string()).collect();
    let why = ranges(&apart.join(" "), "").expect_err("far apart");
    assert!(why.contains("gaps"), "{why}");
}

#[test]
fn a_link_without_room_closes_the_smallest_gaps() {
    let words: Vec<String> = (0..60)
        .map(|n| format!("{}-{}", 100_000 + n * 100, 100_010 + n * 100 + n))
        .collect();
    let all = ranges(&words.join(" "), "").expect("ranges");
    let target = all.link_target();
    assert!(
        target.len() <= LONGEST_RANGES && target.len() > 150,
        "{target}"
    );
    assert!(
        target.starts_with("100000-100010,"),
        "the first gap is the largest: {target}"
    );
}

proptest! {
    #[test]
    fn offsets_numbers_and_the_link_agree(
        words in prop::collection::vec((1_u32..6_000, 0_u32..50), 1..60),
        out in prop::collection::vec((0_u32..6_100, 0_u32..200), 0..20),
    ) {
        let list = |pairs: &[(u32, u32)]| -> Vec<UidRange> {
            pairs.iter().filter_map(|(first, more)| UidRange::new(*first, first + more)).collect()
        };
        let (wanted, excluded) = (list(&words), list(&out));
        let naive: Vec<u32> = (0..7_000)
            .filter(|n| wanted.iter().any(|range| range.contains(*n)))
            .filter(|n| !excluded.iter().any(|range| range.contains(*n)))
            .collect();
        let Ok(all) = UidRanges::new(&wanted, &excluded) else {
            prop_assert!(naive.is_empty());
            return Ok(());
        };
        let by_offset: Vec<u32> = (0..all.size()).filter_map(|at| all.at(at)).map(Uid::get).collect();
        prop_assert_eq!(&by_offset, &naive);
        prop_assert_eq!(all.iter().map(Uid::get).collect::<Vec<_>>(), naive);
        prop_assert_eq!(all.count(), by_offset.len() as u64);
        prop_assert!(by_offset.iter().all(|number| all.contains(*number)));
        let target = all.link_target();
        prop_assert!(target.len() <= LONGEST_RANGES);
        let walked: Vec<UidRange> = target.split(',').map(range).collect();
        prop_assert!(by_offset.iter().all(|n| walked.iter().any(|range| range.contains(*n))));
        prop_assert!(walked.is_sorted());
    }

    #[test]
    fn no_word_makes_the_reader_panic(word in "\\PC*") {
        if let Ok(read) = UidRange::parse(&word) {
            prop_assert!(read.first() <= read.last());
        }
    }
}
