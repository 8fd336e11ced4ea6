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
mod tests;
