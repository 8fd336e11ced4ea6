//! Splitting a value into words, as systemd.syntax(7) describes it under "Quoting", and as systemd's
//! `extract_first_word` (`extract-word.c`, 257 tried) does it where that page leaves something open.

#![forbid(unsafe_code)]

use std::str::Chars;

/// What separates words: systemd's `WHITESPACE`.
pub const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// What a backslash does in words, and whether a quote has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escapes {
    /// The escapes of C and `\s`; what is none is an error.
    C,
    /// The escapes of C and `\s`; what is none stays as it is written, with its backslash: command lines
    /// and `Environment=` (systemd warns of it and goes on).
    KeepUnknown,
    /// A backslash takes the meaning of the next character, whichever it is.
    Plain,
    /// As [`Escapes::Plain`], and a quote may stay open, a backslash may be the last: values of variables
    /// that are split late, when no one is left who could be told.
    Lenient,
}

/// Splits `value` at blanks. `"…"` and `'…'` hold blanks together; a backslash starts one of the
/// escapes of C.
///
/// # Errors
/// A sentence, for a quote that is never closed or an escape that does not exist.
pub fn split(value: &str) -> Result<Vec<String>, String> {
    split_by(value, Escapes::C)
}

/// Like [`split`], with other rules for backslashes.
///
/// # Errors
/// A sentence, for what these rules do not know.
pub fn split_by(value: &str, escapes: Escapes) -> Result<Vec<String>, String> {
    let mut rest = value;
    let mut words = Vec::new();
    while let Some(word) = first_word(&mut rest, escapes)? {
        words.push(word);
    }
    Ok(words)
}

/// Takes the first word off `rest`, with the blanks around it. None where only blanks are left.
///
/// # Errors
/// A sentence, for what the rules do not know, and for a word that is no UTF-8 once its escapes are read.
pub fn first_word(rest: &mut &str, escapes: Escapes) -> Result<Option<String>, String> {
    let lenient = escapes == Escapes::Lenient;
    take_word(rest, lenient, &|chars, word| match escapes {
        Escapes::C => escape(chars, word),
        Escapes::KeepUnknown => {
            if escape(chars, word).is_err() {
                // As written: what follows the backslash is read like any other text, but for the one
                // character next to it, which neither quotes nor separates.
                word.push(b'\\');
                word.extend(chars.next().map(String::from).unwrap_or_default().bytes());
            }
            Ok(())
        }
        Escapes::Plain | Escapes::Lenient => match chars.next() {
            Some(next) => {
                push(word, next);
                Ok(())
            }
            None if lenient => Ok(()),
            None => Err(NOTHING_ESCAPED.into()),
        },
    })
}

/// Undoes the escapes of a value that is one word, blanks and quotes and all.
///
/// # Errors
/// A sentence, for an escape that does not exist.
pub fn unescape(value: &str) -> Result<Vec<u8>, String> {
    let mut text = Vec::with_capacity(value.len());
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => escape(&mut rest, &mut text)?,
            c => push(&mut text, c),
        }
    }
    Ok(text)
}

/// What stands for a colon that was written `\:` in the words of [`split_keeping_colons`]. NUL is in no
/// value otherwise: no escape makes one, and no system call takes one.
pub const KEPT_COLON: char = '\0';

/// Like [`split`], for words in which a bare colon separates parts: one that is written `\:` becomes
/// [`KEPT_COLON`].
///
/// # Errors
/// As [`split`], and for a NUL.
pub fn split_keeping_colons(value: &str) -> Result<Vec<String>, String> {
    if value.contains(KEPT_COLON) {
        return Err("holds a NUL".into());
    }
    let mut rest = value;
    let mut words = Vec::new();
    let keep = |chars: &mut Chars<'_>, word: &mut Vec<u8>| {
        let mut ahead = chars.clone();
        if ahead.next() == Some(':') {
            *chars = ahead;
            push(word, KEPT_COLON);
            return Ok(());
        }
        escape(chars, word)
    };
    while let Some(word) = take_word(&mut rest, false, &keep)? {
        words.push(word);
    }
    Ok(words)
}

/// A part of such a word, with its colons.
pub fn with_colons(part: &str) -> String {
    part.replace(KEPT_COLON, ":")
}

const NOTHING_ESCAPED: &str = "a backslash at the end escapes nothing";

/// Reads what follows a backslash into a word. Where it fails, it has read nothing.
type Escape<'a> = dyn Fn(&mut Chars<'_>, &mut Vec<u8>) -> Result<(), String> + 'a;

/// [`first_word`], with the reading of escapes as asked. `lenient` ends an open quote at the end.
fn take_word(
    rest: &mut &str,
    lenient: bool,
    escape: &Escape<'_>,
) -> Result<Option<String>, String> {
    let mut chars = rest.trim_start_matches(BLANKS).chars();
    if chars.as_str().is_empty() {
        *rest = "";
        return Ok(None);
    }
    // Bytes, for `\xc3\xa4` is one character and `\xe4` alone is none.
    let mut word = Vec::new();
    let mut quote: Option<char> = None;
    loop {
        match (chars.next(), quote) {
            (None, Some(open)) if !lenient => {
                return Err(format!("a quote {open} is never closed"));
            }
            (None, _) => break,
            (Some('\\'), _) => escape(&mut chars, &mut word)?,
            (Some(c), Some(open)) if c == open => quote = None,
            (Some(c @ ('"' | '\'')), None) => quote = Some(c),
            (Some(c), None) if BLANKS.contains(&c) => break,
            (Some(c), _) => push(&mut word, c),
        }
    }
    *rest = chars.as_str().trim_start_matches(BLANKS);
    let told = |_| "has escapes that make no UTF-8".to_owned();
    String::from_utf8(word).map(Some).map_err(told)
}

fn push(word: &mut Vec<u8>, c: char) {
    word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Reads an escape of C, as systemd's `cunescape_one`.
fn escape(rest: &mut Chars<'_>, word: &mut Vec<u8>) -> Result<(), String> {
    let mut ahead = rest.clone();
    let Some(c) = ahead.next() else {
        return Err(NOTHING_ESCAPED.into());
    };
    let simple = match c {
        'a' => Some('\x07'),
        'b' => Some('\x08'),
        'f' => Some('\x0c'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        's' => Some(' '),
        't' => Some('\t'),
        'v' => Some('\x0b'),
        '\\' | '"' | '\'' => Some(c),
        _ => None,
    };
    match (simple, c) {
        (Some(simple), _) => push(word, simple),
        (None, 'x') => word.push(byte(&mut ahead, 2, 16)?),
        (None, 'u') => push(word, character(&mut ahead, 4)?),
        (None, 'U') => push(word, character(&mut ahead, 8)?),
        (None, '0'..='7') => {
            ahead = rest.clone();
            word.push(byte(&mut ahead, 3, 8)?);
        }
        (None, other) => return Err(format!("\\{other} is no escape")),
    }
    *rest = ahead;
    Ok(())
}

/// Reads a number of exactly `digits` digits. NUL is refused, for no system call takes one.
fn number(rest: &mut Chars<'_>, digits: usize, radix: u32) -> Result<u32, String> {
    let text: String = rest.by_ref().take(digits).collect();
    let whole = text.len() == digits && text.chars().all(|c| c.is_digit(radix));
    whole
        .then(|| u32::from_str_radix(&text, radix).ok())
        .flatten()
        .filter(|number| *number != 0)
        .ok_or_else(|| format!("\\…{text} is no character"))
}

fn byte(rest: &mut Chars<'_>, digits: usize, radix: u32) -> Result<u8, String> {
    let number = number(rest, digits, radix)?;
    u8::try_from(number).map_err(|_| format!("\\…{number} is more than a byte"))
}

fn character(rest: &mut Chars<'_>, digits: usize) -> Result<char, String> {
    let number = number(rest, digits, 16)?;
    char::from_u32(number).ok_or_else(|| format!("\\…{number:x} is no character"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_escaped_colon_separates_nothing() {
        let words = split_keeping_colons(r"a\:b:c d\\:e").expect("words");
        let parts: Vec<Vec<String>> = words
            .iter()
            .map(|word| word.split(':').map(with_colons).collect())
            .collect();
        assert_eq!(parts, [vec!["a:b", "c"], vec!["d\\", "e"]]);
        assert!(split_keeping_colons("a\0b").is_err());
        assert!(split(r"a\:b").is_err());
    }

    #[test]
    fn blanks_separate_and_quotes_hold_together() {
        for (value, words) in [
            ("", vec![]),
            ("  ", vec![]),
            ("a  b\tc", vec!["a", "b", "c"]),
            (r#""a b" c"#, vec!["a b", "c"]),
            (r#"A="b c"d ''"#, vec!["A=b cd", ""]),
            (r"a\x20b\ttab\\", vec!["a b\ttab\\"]),
            (r"\u00e4 \U0001f600", vec!["ä", "😀"]),
            (r"\xc3\xa4\303\244", vec!["ää"]),
            (r"\101\s\'", vec!["A '"]),
        ] {
            assert_eq!(
                split(value).as_deref(),
                Ok(&words.iter().map(|w| String::from(*w)).collect::<Vec<_>>()[..]),
                "{value}"
            );
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for value in [
            "\"a", "'", "a\\", r"\q", r"\x0", r"\x00", r"\xzz", r"\ud800", r"\xe4", r"\000",
            r"\400", r"\18",
        ] {
            assert!(split(value).is_err(), "{value}");
        }
    }

    /// What systemd 257 gave to programs whose command lines were such.
    #[test]
    fn unknown_escapes_can_be_kept() {
        for (value, words) in [
            (r"\q a\.b", vec![r"\q", r"a\.b"]),
            (r"\x0 \xzz \x00", vec![r"\x0", r"\xzz", r"\x00"]),
            (r#""\q" '\.\n'"#, vec![r"\q", "\\.\n"]),
            (r"a\ b", vec![r"a\ b"]),
            (r"a \", vec!["a", r"\"]),
        ] {
            assert_eq!(
                split_by(value, Escapes::KeepUnknown).expect(value),
                words,
                "{value}"
            );
        }
        assert!(split_by("'a", Escapes::KeepUnknown).is_err());
        assert!(split_by("'a\\", Escapes::KeepUnknown).is_err());
    }

    #[test]
    fn plain_backslashes_only_take_meanings_away() {
        for (value, words) in [
            (r#"a\ b\n\"c\\ "\"""#, vec![r#"a bn"c\"#, "\""]),
            (r"''", vec![""]),
        ] {
            assert_eq!(
                split_by(value, Escapes::Plain).expect(value),
                words,
                "{value}"
            );
        }
        assert!(split_by("a\\", Escapes::Plain).is_err());
        assert!(split_by("'a", Escapes::Plain).is_err());
        assert_eq!(
            split_by("'a b", Escapes::Lenient).expect("lenient"),
            ["a b"]
        );
        assert_eq!(split_by("a\\", Escapes::Lenient).expect("lenient"), ["a"]);
    }

    proptest! {
        #[test]
        fn any_text_is_split_or_refused(text in "(\\PC|[\\\\\"' \t\nxuU0-9a-f])*") {
            for escapes in [Escapes::C, Escapes::KeepUnknown, Escapes::Plain] {
                let _words = split_by(&text, escapes);
            }
            prop_assert!(split_by(&text, Escapes::Lenient).is_ok());
        }
    }
}
