//! Unit tests of the syntax of unit files.

use proptest::prelude::*;

use super::*;

fn entries(text: &str) -> Vec<(String, String, String, usize)> {
    let read = parse("f", text).unwrap_or_else(|fault| panic!("{fault}"));
    let read = read.into_iter();
    read.map(|it| (it.section, it.key, it.value, it.line))
        .collect()
}

fn values(text: &str) -> Vec<String> {
    let read = entries(&format!("[S]\n{text}"));
    read.into_iter().map(|entry| entry.2).collect()
}

fn fault(text: &str) -> String {
    parse("f", text).expect_err(text).to_string()
}

#[test]
fn the_example_of_the_manual_page_is_read() {
    let text = "[Section A]\nKeyOne=value 1\nKeyTwo=value 2\n\n# a comment\n\n[Section B]\n\
        Setting=\"something\" \"some thing\" \"…\"\nKeyTwo=value 2 \\\n       value 2 continued\n\n\
        [Section C]\nKeyThree=value 3\\\n# this line is ignored\n; this line is ignored too\n       \
        value 3 continued\n";
    let entry = |section: &str, key: &str, value: &str, line| {
        (section.to_owned(), key.to_owned(), value.to_owned(), line)
    };
    assert_eq!(
        entries(text),
        [
            entry("Section A", "KeyOne", "value 1", 2),
            entry("Section A", "KeyTwo", "value 2", 3),
            entry(
                "Section B",
                "Setting",
                "\"something\" \"some thing\" \"…\"",
                8
            ),
            entry(
                "Section B",
                "KeyTwo",
                "value 2         value 2 continued",
                9
            ),
            entry(
                "Section C",
                "KeyThree",
                "value 3        value 3 continued",
                13
            ),
        ]
    );
}

#[test]
fn blanks_around_keys_and_values_do_not_count() {
    assert_eq!(
        entries(" [S] \r\n\t A \t=\t b c \r\n"),
        [("S".into(), "A".into(), "b c".into(), 2)]
    );
    assert_eq!(values("A=b=c # no comment"), ["b=c # no comment"]);
    assert_eq!(values("A=b ; no comment either"), ["b ; no comment either"]);
}

#[test]
fn repeated_keys_stay_in_order_and_empty_values_are_kept() {
    let read = entries("[S]\nA=1\nB=2\n[T]\nA=3\n[S]\nA=\nA = 4\n");
    let read: Vec<_> = read
        .iter()
        .map(|(s, k, v, _)| (s.as_str(), k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        read,
        [
            ("S", "A", "1"),
            ("S", "B", "2"),
            ("T", "A", "3"),
            ("S", "A", ""),
            ("S", "A", "4")
        ]
    );
}

/// What systemd 252 and 257 made of these lines: `systemd-analyze verify` was given
/// `UMask=` with them, and repeats a value that is no mode.
#[test]
fn lines_are_continued_as_systemd_continues_them() {
    let text = "A=A\\\nB\nA=C\\\n\n\nA=D\nA=J\\  \nA=K\nA=E\\\n  # com\n ; com\n  F\nA=G\\\\\n\
        A=H\\\\\\\nI\n  A  =  L  \nA=M\\\n   \nA=N\nA=O\\\n[Unit]\nA=P=P # no\nA=Q\\\n#x\\\nR\nA=T\\";
    let told = [
        "A B", "C", "D", "J\\", "K", "E   F", "G\\\\", "H\\\\ I", "L", "M", "N", "O [Unit]",
        "P=P # no", "Q R", "T",
    ];
    assert_eq!(values(text), told);
    assert_eq!(values(&text.replace('\n', "\r\n")), told);
}

#[test]
fn a_line_has_the_number_of_its_beginning() {
    let lines = |text: &str| -> Vec<usize> { entries(text).iter().map(|it| it.3).collect() };
    assert_eq!(lines("[S]\nA=1\\\n2\\\n3\nB=4"), [2, 5]);
    assert_eq!(lines("[S]\n# c\\\n\nA=1\\\n#\n\nB=4"), [4, 7]);
    assert_eq!(values("# c\\\nA=1\n"), ["1"], "a comment is not continued");
    assert_eq!(values("A=\\\n1\\\n\\\n2"), ["1  2"]);
    assert_eq!(values("A\\\n=1"), ["1"]);
}

#[test]
fn a_byte_order_mark_is_no_text() {
    assert_eq!(entries("\u{feff}[S]\nA=1").len(), 1);
}

#[test]
fn what_is_no_syntax_is_named_with_its_line() {
    for (text, line, why) in [
        ("A=1", 1, "before any [Section]"),
        ("[S]\n\nnonsense", 3, "neither"),
        ("[S]\n=1", 2, "no key"),
        ("[S", 1, "no section"),
        ("[S]]", 1, "no section"),
        ("[S] A=1", 1, "no section"),
        ("\n[]", 2, "no section"),
        ("[S]\nA=1\\\n2\nB\\\n3", 4, "neither"),
        ("[S]\nA=\0", 2, "NUL"),
    ] {
        let said = fault(text);
        assert!(said.starts_with(&format!("f:{line}:")), "{text:?}: {said}");
        assert!(said.contains(why), "{text:?}: {said}");
    }
    let long = "x".repeat(LONGEST_LINE);
    assert!(fault(&format!("[S]\nA={long}")).contains("longer"));
    let half = "x".repeat(LONGEST_LINE / 2);
    assert!(fault(&format!("[S]\nA={half}\\\n{half}")).contains("longer"));
}

#[test]
fn columns_are_counted_in_characters_from_one() {
    for (text, column) in [
        ("[S]\nA=1", 3),
        ("[S]\n  Ä  =\t 1", 9),
        ("[S]\nA=", 3),
        ("[S]\nA=\\\n1", 4),
        ("[S]\nA\\\n=1", 3),
    ] {
        let read = parse("f", text).expect("entries");
        assert_eq!(read[0].column, column, "{text:?}");
        assert_eq!(read[0].fault("no").to_string(), format!("f:2:{column}: no"));
    }
    for (text, place) in [
        ("  A=1", "f:1:3: "),
        ("[S]\n ä\0", "f:2:3: "),
        ("[S]\n\t=1", "f:2:2: "),
        ("\n [", "f:2:2: "),
    ] {
        let said = fault(text);
        assert!(said.starts_with(place), "{text:?}: {said}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_a_line_of_it(text in "(\\PC|[\\[\\]=\\\\#; \n\t\r\0])*") {
        let lines = text.split('\n').count();
        match parse("f", &text) {
            Ok(entries) => {
                prop_assert!(entries.iter().all(|entry| (1..=lines).contains(&entry.line)));
                prop_assert!(entries.is_sorted_by_key(|entry| entry.line));
            }
            Err(fault) => prop_assert!((1..=lines).contains(&fault.line)),
        }
    }

    #[test]
    fn what_is_written_is_read(
        pairs in prop::collection::vec(("[A-Za-z][A-Za-z0-9-]{0,20}", "[!-Z^-~]{0,20}"), 0..20)
    ) {
        let text: String = pairs.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        let read = parse("f", &format!("[S]\n{text}"));
        let read: Vec<(String, String)> = read
            .expect("all of it is valid")
            .into_iter()
            .map(|entry| (entry.key, entry.value))
            .collect();
        prop_assert_eq!(read, pairs);
    }
}
