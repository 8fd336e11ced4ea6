//! The text of an `EnvironmentFile=` (systemd.exec(5)), and the lists of `PassEnvironment=` and
//! `UnsetEnvironment=`. Done as systemd's `env-file.c` does it, 257 tried.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::words::{self, BLANKS, Escapes};

/// What ends a line: a carriage return alone as well.
const LINE_ENDS: [char; 2] = ['\n', '\r'];

/// What a backslash within double quotes takes the meaning of; before anything else it is a backslash.
const ESCAPED_IN_QUOTES: [char; 4] = ['"', '\\', '`', '$'];

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Names with values. No name comes twice: the last assignment counts, at the first one's place.
    pub assignments: Vec<(String, String)>,
    /// What was passed over, one sentence each, with its line.
    pub warnings: Vec<String>,
}

/// Whether `name` may name a variable: letters, digits and `_`, no digit first.
pub fn is_name(name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(part) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Where the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    BeforeName,
    Name,
    BeforeValue,
    Value,
    Quoted(char),
    Comment,
}

#[derive(Default)]
struct Reader {
    read: Environment,
    line: usize,
    name: String,
    value: String,
    /// Where each name is among the assignments: a file may have more of them than can be gone through for each.
    places: BTreeMap<String, usize>,
    /// How much of the value counts even if nothing but blanks follow, in bytes.
    kept: usize,
}

/// Reads a whole file. What is no assignment is passed over with a warning, as systemd does: hosts have such
/// files, written for shells.
///
/// # Errors
/// A sentence, for a NUL: systemd refuses such a file.
pub fn parse(text: &str) -> Result<Environment, String> {
    if text.contains('\0') {
        return Err("holds a NUL byte".into());
    }
    let mut reader = Reader {
        line: 1,
        ..Reader::default()
    };
    let mut state = State::BeforeName;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        state = match state {
            State::BeforeName => match c {
                '#' | ';' => State::Comment,
                c if BLANKS.contains(&c) => state,
                c => {
                    reader.name.push(c);
                    State::Name
                }
            },
            State::Comment => match c {
                // A continued comment is none: the next line counts (since 254).
                '\\' => {
                    let next = chars.next();
                    reader.count(next.filter(|c| *c == '\n'));
                    match next {
                        Some(c) if LINE_ENDS.contains(&c) => State::BeforeName,
                        _ => state,
                    }
                }
                c if LINE_ENDS.contains(&c) => State::BeforeName,
                _ => state,
            },
            State::Name => match c {
                '=' => State::BeforeValue,
                c if LINE_ENDS.contains(&c) => {
                    reader.no_assignment();
                    State::BeforeName
                }
                c => {
                    reader.name.push(c);
                    state
                }
            },
            State::BeforeValue | State::Value => reader.bare(state, c, &mut chars),
            State::Quoted(quote) => reader.quoted(quote, c, &mut chars),
        };
        reader.count(Some(c).filter(|c| *c == '\n'));
    }
    match state {
        State::BeforeName | State::Comment => {}
        State::Name => reader.no_assignment(),
        State::Value => reader.assign(true),
        State::BeforeValue => reader.assign(false),
        State::Quoted(quote) => {
            let line = reader.line;
            let open = format!("line {line}: a quote {quote} is open at the end of the file");
            reader.read.warnings.push(open);
            reader.assign(false);
        }
    }
    Ok(reader.read)
}

impl Reader {
    /// Reads one character of a value outside of quotes.
    fn bare(&mut self, state: State, c: char, chars: &mut std::str::Chars<'_>) -> State {
        let begun = state == State::Value;
        match c {
            c if LINE_ENDS.contains(&c) => {
                self.assign(begun);
                State::BeforeName
            }
            // In the midst of a value a quote is a quote.
            '"' | '\'' if !begun => State::Quoted(c),
            '\\' => {
                let next = chars.next();
                self.count(next.filter(|c| *c == '\n'));
                // A continued line leaves nothing behind, any other character loses its meaning.
                self.value
                    .extend(next.filter(|next| !LINE_ENDS.contains(next)));
                self.kept = self.value.len();
                State::Value
            }
            c if BLANKS.contains(&c) => {
                if begun {
                    self.value.push(c);
                }
                state
            }
            c => {
                self.value.push(c);
                self.kept = self.value.len();
                State::Value
            }
        }
    }

    /// Reads one character of a value within quotes.
    fn quoted(&mut self, quote: char, c: char, chars: &mut std::str::Chars<'_>) -> State {
        match c {
            c if c == quote => return State::BeforeValue,
            '\\' if quote == '"' => {
                let next = chars.next();
                self.count(next.filter(|c| *c == '\n'));
                match next {
                    Some('\n') | None => {}
                    Some(next) => {
                        if !ESCAPED_IN_QUOTES.contains(&next) {
                            self.value.push('\\');
                        }
                        self.value.push(next);
                    }
                }
            }
            c => self.value.push(c),
        }
        self.kept = self.value.len();
        State::Quoted(quote)
    }

    fn count(&mut self, newline: Option<char>) {
        self.line = self.line.saturating_add(usize::from(newline.is_some()));
    }

    fn no_assignment(&mut self) {
        let line = self.line;
        let name = std::mem::take(&mut self.name);
        let what = format!("line {line}: {:?} is no assignment", name.trim());
        self.read.warnings.push(what);
    }

    /// Takes what was read as an assignment. `trims`: blanks at the value's end do not count.
    fn assign(&mut self, trims: bool) {
        let name = std::mem::take(&mut self.name);
        let mut value = std::mem::take(&mut self.value);
        let kept = std::mem::take(&mut self.kept);
        if trims {
            value.truncate(kept);
        }
        let name = name.trim_end_matches(BLANKS);
        let line = self.line;
        if !is_name(name) {
            let what = format!("line {line}: {name:?} is no name of a variable");
            self.read.warnings.push(what);
        } else {
            let assignments = &mut self.read.assignments;
            let known = self.places.get(name).copied();
            match known.and_then(|at| assignments.get_mut(at)) {
                Some((_, old)) => *old = value,
                None => {
                    self.places.insert(name.into(), assignments.len());
                    assignments.push((name.into(), value));
                }
            }
        }
    }
}

/// One assignment of `PassEnvironment=`: names. An empty value resets the list (none is returned).
///
/// # Errors
/// A sentence that names the word that is no name (systemd warns and passes over it).
pub fn pass_list(value: &str) -> Result<Vec<String>, String> {
    let words = words::split_by(value, Escapes::Plain)?;
    match words.iter().find(|word| !is_name(word)) {
        Some(word) => Err(format!("{word:?} is no name of a variable")),
        None => Ok(words),
    }
}

/// What `UnsetEnvironment=` takes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unset {
    /// The variable, whatever its value.
    Name(String),
    /// The variable, if that is its value.
    Assignment(String, String),
}

impl Unset {
    /// Whether this variable is taken away.
    pub fn takes(&self, name: &str, value: &str) -> bool {
        match self {
            Self::Name(taken) => taken == name,
            Self::Assignment(taken, exactly) => taken == name && exactly == value,
        }
    }
}

/// One assignment of `UnsetEnvironment=`: names, or whole assignments. An empty value resets the list.
///
/// # Errors
/// A sentence that names the word that is neither.
pub fn unset_list(value: &str) -> Result<Vec<Unset>, String> {
    let words = words::split_by(value, Escapes::KeepUnknown)?.into_iter();
    words
        .map(|word| match word.split_once('=') {
            Some((name, value)) if is_name(name) => {
                Ok(Unset::Assignment(name.into(), value.into()))
            }
            None if is_name(&word) => Ok(Unset::Name(word)),
            _ => Err(format!(
                "{word:?} is no name of a variable, nor an assignment"
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        parse(text).expect(text).assignments
    }

    fn value(text: &str) -> String {
        let read = read(&format!("A={text}"));
        assert_eq!(read.len(), 1, "{text:?}: {read:?}");
        read[0].1.clone()
    }

    #[test]
    fn values_are_read_as_systemd_reads_them() {
        for (text, wanted) in [
            ("", ""),
            ("b c  ", "b c"),
            ("  b", "b"),
            ("\"b c \" ", "b c "),
            ("'b\\n'", "b\\n"),
            ("\"a\\n\\\"\\$\\`\\\\\"", "a\\n\"$`\\"),
            ("a\\\nb", "ab"),
            ("a \"b\"", "a \"b\""),
            ("\"a\" b'c'", "ab'c'"),
            ("\"a\"'b' \"c\"", "abc"),
            ("\"a\nb\"", "a\nb"),
            ("\"a\\\nb\"", "ab"),
            ("a\\ \\  ", "a  "),
            ("a # b", "a # b"),
            ("b=c", "b=c"),
            ("$B ${B}", "$B ${B}"),
        ] {
            assert_eq!(value(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_assignment_is_passed_over_with_a_warning() {
        let text = "# c\n;c\n A = 1\nexport B=2\nnonsense\n3C=4\nD=\x01\nA=5\r\nE='x";
        let read = parse(text).expect("a text");
        let wanted =
            [("A", "5"), ("D", "\x01"), ("E", "x")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(read.assignments, wanted);
        let lines: Vec<&str> = read
            .warnings
            .iter()
            .map(|it| it.split_once(':').expect("a line").0)
            .collect();
        assert_eq!(lines, ["line 4", "line 5", "line 6", "line 9"]);
        assert!(parse("A=\0").is_err());
    }

    #[test]
    fn lists_are_checked() {
        assert_eq!(pass_list("A  'B_1'").expect("names"), ["A", "B_1"]);
        assert!(pass_list("A=b").is_err() && pass_list("1A").is_err());
        assert!(pass_list("").expect("a reset").is_empty());
        let unset = unset_list("A \"B=c d\"").expect("a list");
        assert!(unset[0].takes("A", "x") && unset[1].takes("B", "c d"));
        assert!(!unset[1].takes("B", "c"));
        assert!(unset_list("a-b").is_err() && unset_list("=b").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(\\PC|[A-C=\"'\\\\ #;\n\r\t])*") {
            let lines = text.split('\n').count();
            let read = parse(&text).expect("no NUL in it");
            prop_assert!(read.assignments.iter().all(|(name, _)| is_name(name)));
            prop_assert!(read.warnings.len() <= lines.max(text.len()));
        }

        #[test]
        fn what_is_quoted_is_read_back(value in "[ -~äß\t\n]{0,30}") {
            let mut quoted = String::new();
            for c in value.chars() {
                if ESCAPED_IN_QUOTES.contains(&c) {
                    quoted.push('\\');
                }
                quoted.push(c);
            }
            prop_assert_eq!(read(&format!("A=\"{quoted}\"\n")), [("A".to_owned(), value)]);
        }
    }
}
