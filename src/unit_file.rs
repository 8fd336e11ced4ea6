//! The syntax of unit files and of our configuration, as systemd.syntax(7) describes it: read into
//! entries with the line that each comes from. What an entry means is up to whoever asked.
//!
//! Where the manual leaves something open, it is done as systemd's parser does it (its
//! `conf-parser.c`, versions 252 and 257 tried), with one difference: what that one warns of and
//! passes over is an error here.

#![forbid(unsafe_code)]

use std::fmt;

/// The longest line, with all that continues it, in bytes: systemd's `LONG_LINE_MAX`.
const LONGEST_LINE: usize = 1024 * 1024;

/// What is stripped off both ends of lines, keys and values.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// One assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The section that it stands in, without brackets.
    pub section: String,
    /// What stands before the first `=`. The same key may come again: all are kept, in order.
    pub key: String,
    /// What stands after it, unquoted yet. Empty where nothing does, which resets most lists.
    pub value: String,
    /// The file, as it was called in the call to [`parse`].
    pub file: String,
    /// The line that it begins on, counted from 1.
    pub line: usize,
    /// Where on that line the value begins, in characters, counted from 1. Where the value begins on a later
    /// line, that is where the first one ends.
    pub column: usize,
}

impl Entry {
    /// What is wrong with this entry, with the place where it stands.
    pub fn fault(&self, what: impl Into<String>) -> Fault {
        Fault {
            file: self.file.clone(),
            line: self.line,
            column: self.column,
            what: what.into(),
        }
    }
}

/// Something wrong in a file: shown as `file:line:column: what`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The character on that line, counted from 1.
    pub column: usize,
    /// A sentence that says what is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            what,
        } = self;
        write!(f, "{file}:{line}:{column}: {what}")
    }
}

impl std::error::Error for Fault {}

/// Reads a file's text. `file` is what the file is called in errors.
///
/// # Errors
/// The first thing that is no syntax.
pub fn parse(file: &str, text: &str) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::new();
    let mut section = None;
    for Joined {
        line,
        width,
        text: whole,
    } in Lines::new(text)
    {
        let fault = |(at, what): (usize, String)| Fault {
            file: file.into(),
            line,
            column: column(&whole, at, width),
            what,
        };
        match read(&whole).map_err(fault)? {
            Line::Empty => {}
            Line::Section(name) => section = Some(name),
            Line::Assignment { key, value, begins } => {
                let Some(section) = &section else {
                    let blanks = whole.len().saturating_sub(whole.trim_start().len());
                    let what = format!("{key}= stands before any [Section]");
                    return Err(fault((blanks, what)));
                };
                entries.push(Entry {
                    section: String::clone(section),
                    key,
                    value,
                    file: file.into(),
                    line,
                    column: column(&whole, begins, width),
                });
            }
        }
    }
    Ok(entries)
}

/// The column of a byte, on a first line of so many characters.
fn column(whole: &str, byte: usize, width: usize) -> usize {
    let before = whole.char_indices().take_while(|(at, _)| *at < byte);
    before.count().min(width).saturating_add(1)
}

/// What a line is, with everything that continues it.
enum Line {
    Empty,
    Section(String),
    Assignment {
        key: String,
        value: String,
        /// The byte at which the value begins.
        begins: usize,
    },
}

/// Reads a joined line. An error comes with the byte that it is about.
fn read(line: &str) -> Result<Line, (usize, String)> {
    if line.len() > LONGEST_LINE {
        let what = format!("is longer than {LONGEST_LINE} bytes, with all that continues it");
        return Err((0, what));
    }
    // No program and no system call takes one; systemd would end the line there.
    if let Some(at) = line.find('\0') {
        return Err((at, "holds a NUL byte".into()));
    }
    let all = line.len();
    let line = line.trim_start_matches(BLANKS);
    let start = all.saturating_sub(line.len());
    let line = line.trim_end_matches(BLANKS);
    if line.is_empty() {
        return Ok(Line::Empty);
    }
    let bad = |what: String| Err((start, what));
    if let Some(rest) = line.strip_prefix('[') {
        return match rest.strip_suffix(']') {
            Some("") => bad("[] names no section".into()),
            Some(name) if !name.contains(['[', ']']) => Ok(Line::Section(name.into())),
            _ => bad(format!("{line:?} is no section: write [Name] on a line")),
        };
    }
    let Some((key, value)) = line.split_once('=') else {
        return bad(format!(
            "{line:?} is neither a [Section] nor an assignment Key=Value"
        ));
    };
    let (key, value) = (
        key.trim_end_matches(BLANKS),
        value.trim_start_matches(BLANKS),
    );
    if key.is_empty() {
        return bad(format!("there is no key before the = of {line:?}"));
    }
    // The value goes up to the end of the line, whose blanks are off already.
    let begins = start.saturating_add(line.len().saturating_sub(value.len()));
    Ok(Line::Assignment {
        key: key.into(),
        value: value.into(),
        begins,
    })
}

/// A line with those that continue it.
struct Joined {
    /// The number of the first one.
    line: usize,
    /// How many characters the first one has.
    width: usize,
    text: String,
}

/// Lines put together with those that continue them, each with the number of its first one.
struct Lines<'t> {
    rest: std::iter::Enumerate<std::str::Split<'t, char>>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        // A byte order mark says nothing that we do not know.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            rest: text.split('\n').enumerate(),
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = Joined;

    fn next(&mut self) -> Option<Self::Item> {
        let mut joined: Option<Joined> = None;
        for (at, line) in self.rest.by_ref() {
            let line = line.strip_suffix('\r').unwrap_or(line);
            let text = line.trim_start_matches(BLANKS);
            // Within a continuation too: a comment does not end it.
            if text.starts_with(['#', ';']) || (text.is_empty() && joined.is_none()) {
                continue;
            }
            let whole = &mut joined
                .get_or_insert_with(|| Joined {
                    line: at.saturating_add(1),
                    width: line.chars().count(),
                    text: String::new(),
                })
                .text;
            // With the blanks in front: within quotes they are part of the value.
            whole.push_str(line);
            // A backslash that is escaped itself continues nothing, nor does one before blanks, and an
            // empty line ends what came before it.
            let backslashes = line.bytes().rev().take_while(|byte| *byte == b'\\').count();
            if backslashes.is_multiple_of(2) {
                return joined;
            }
            whole.pop();
            whole.push(' ');
        }
        // The file ends in a continuation.
        joined
    }
}

#[cfg(test)]
mod tests {
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
}
