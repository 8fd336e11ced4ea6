//! Words and comments in the syntaxes of others. What stands in a unit file is text, and none of it becomes code.

/// How many characters of somebody else's text a line shows.
const LONGEST: usize = 200;

/// A text as a part of one line: no character ends the line, or moves a terminal's cursor.
pub(super) fn one_line(text: &str) -> String {
    let shown = |c: char| match c {
        // These end a line for some editors, and so would hide where a comment ends.
        '\u{2028}' | '\u{2029}' => ' ',
        c if c.is_control() => ' ',
        c => c,
    };
    let line: String = text.chars().map(shown).collect();
    let line = line.trim();
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", line.split_at_checked(end).map_or("", |it| it.0)),
        None => line.into(),
    }
}

/// Whether a word is nothing but itself in every one of the syntaxes.
pub(super) fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@+:,./-".contains(c);
    // `NAME=…` at the beginning of a command would be an assignment: = is plain in options only.
    let fits = |c: char| plain(c) || (c == '=' && word.starts_with("--"));
    !word.is_empty() && word.chars().all(fits)
}

/// A word of sh(1).
pub(super) fn sh(word: &str) -> String {
    if is_plain(word) {
        return word.into();
    }
    // Nothing is special between these quotes but the quote itself.
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A word of execlineb(1): between double quotes, a backslash makes the next character itself. Digits and
/// some letters after one mean something else, and none of these is written with one here.
pub(super) fn execline(word: &str) -> String {
    if is_plain(word) {
        return word.into();
    }
    format!("\"{}\"", word.replace('\\', r"\\").replace('"', "\\\""))
}

/// A word of a command of dinit-service(5), which are quoted in the same way there. A dollar sign, which begins a
/// variable in quotes as well, is refused before.
pub(super) fn dinit(word: &str) -> String {
    execline(word)
}

/// Refuses what no definition can hold as it is: characters that end a line, and, which some versions of dinit
/// take for a variable in every place, a dollar sign.
///
/// # Errors
/// A sentence.
pub(super) fn writable(word: &str) -> Result<(), String> {
    let bad = |c: char| c.is_control() || matches!(c, '$' | '\u{2028}' | '\u{2029}');
    match word.chars().find(|c| bad(*c)) {
        None => Ok(()),
        Some(c) => Err(format!(
            "holds {c:?}, which cannot be written in a service definition: give the unit file another place"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted() {
        assert_eq!(sh("/lib/systemd/foo@.service"), "/lib/systemd/foo@.service");
        assert_eq!(sh("--ready-fd=3"), "--ready-fd=3");
        assert_eq!(sh("a=b"), "'a=b'");
        assert_eq!(sh("it's $(x)"), r"'it'\''s $(x)'");
        assert_eq!(sh(""), "''");
        assert_eq!(execline(r#"a "b\"#), r#""a \"b\\""#);
        assert!(writable("/a b'\"\\/c").is_ok());
        for bad in ["/a\nb", "/a$b", "/a\rb", "/a\u{2028}b"] {
            assert!(writable(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_comment_is_one_line() {
        assert_eq!(one_line(" a\nrm -rf /\r\tb\u{1b}[2J "), "a rm -rf /  b [2J");
        assert_eq!(one_line(&"ä".repeat(300)).chars().count(), LONGEST + 1);
    }
}
