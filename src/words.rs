//! Splitting a value into words, as systemd.syntax(7) describes it under "Quoting".

#![forbid(unsafe_code)]

/// Splits `value` at blanks. `"…"` and `'…'` hold blanks together; a backslash starts one of the
/// escapes of C.
///
/// # Errors
/// A sentence, for a quote that is never closed or an escape that does not exist.
pub fn split(value: &str) -> Result<Vec<String>, String> {
    split_with(value, &escape)
}

/// Undoes the escapes of a value that is one word, blanks and quotes and all.
///
/// # Errors
/// A sentence, for an escape that does not exist.
pub fn unescape(value: &str) -> Result<String, String> {
    let mut text = String::with_capacity(value.len());
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        text.push(if c == '\\' { escape(&mut rest)? } else { c });
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
    split_with(value, &|rest| {
        let mut ahead = rest.clone();
        if ahead.next() == Some(':') {
            *rest = ahead;
            return Ok(KEPT_COLON);
        }
        escape(rest)
    })
}

/// A part of such a word, with its colons.
pub fn with_colons(part: &str) -> String {
    part.replace(KEPT_COLON, ":")
}

type Escape<'a> = dyn Fn(&mut std::str::Chars<'_>) -> Result<char, String> + 'a;

fn split_with(value: &str, escape: &Escape<'_>) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', _) => word.get_or_insert_default().push(escape(&mut rest)?),
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_ascii_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        return Err(format!("a quote {open} is never closed"));
    }
    words.extend(word);
    Ok(words)
}

/// Reads what follows a backslash.
fn escape(rest: &mut std::str::Chars<'_>) -> Result<char, String> {
    let Some(c) = rest.next() else {
        return Err("a backslash at the end escapes nothing".into());
    };
    Ok(match c {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        's' => ' ',
        't' => '\t',
        'v' => '\x0b',
        '\\' | '"' | '\'' => c,
        'x' => number(rest, 2, 16)?,
        'u' => number(rest, 4, 16)?,
        'U' => number(rest, 8, 16)?,
        other => return Err(format!("\\{other} is no escape")),
    })
}

/// Reads a character given by `digits` digits. NUL is refused, for no system call takes one.
fn number(rest: &mut std::str::Chars<'_>, digits: usize, radix: u32) -> Result<char, String> {
    let text: String = rest.by_ref().take(digits).collect();
    let whole = text.len() == digits && text.chars().all(|c| c.is_digit(radix));
    whole
        .then(|| u32::from_str_radix(&text, radix).ok())
        .flatten()
        .and_then(char::from_u32)
        .filter(|c| *c != '\0')
        .ok_or_else(|| format!("\\…{text} is no character"))
}

#[cfg(test)]
mod tests {
    use super::{split, split_keeping_colons, with_colons};

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
            (r"\u00e4", vec!["ä"]),
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
            "\"a", "'", "a\\", r"\q", r"\x0", r"\x00", r"\xzz", r"\ud800",
        ] {
            assert!(split(value).is_err(), "{value}");
        }
    }
}
