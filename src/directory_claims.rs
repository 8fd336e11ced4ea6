//! Which directories somebody says are his: services by their record, running ones, unit files.
//!
//! Rather too much is believed than too little: what nobody claims may be removed.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::cleaning::property;
use crate::exec_directory::Kind;
use crate::unit_file;
use crate::words;

/// What stands for any characters of a name. No file name holds it.
const ANY: char = '\0';

/// Specifiers whose value may hold a `/` (systemd.unit(5)): anything may lie below.
const OF_ANY_DEPTH: [char; 8] = ['I', 'J', 'P', 'f', 'h', 'S', 'C', 'L'];

/// A directory, or a pattern of directories, with who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    parts: Vec<String>,
    by: String,
}

/// How a path stands to what is claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody claims it, nor anything in it.
    Nobodys,
    /// It is claimed, or what it lies in is: by whom.
    Claimed(String),
    /// Something in it is claimed: by whom.
    Above(String),
}

/// All claims.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// By kind and first name.
    named: HashMap<(Kind, String), Vec<Claim>>,
    /// Those whose first name is a pattern.
    patterns: Vec<(Kind, Claim)>,
}

impl Claims {
    /// Claims the directory at `path` below the base of its kind.
    pub fn add(&mut self, kind: Kind, path: &str, by: &str) {
        let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        let parts: Vec<String> = parts.map(String::from).collect();
        let Some(first) = parts.first().cloned() else {
            return;
        };
        let claim = Claim {
            parts,
            by: by.into(),
        };
        if first.contains(ANY) {
            self.patterns.push((kind, claim));
        } else {
            self.named.entry((kind, first)).or_default().push(claim);
        }
    }

    /// Claims what the text of a unit file, or of a drop-in for it, names. `unit` is the unit's name,
    /// `foo@.service`; in that of a drop-in for several, NUL stands for any characters.
    ///
    /// Its syntax need not be right, and lists that are reset count all the same.
    pub fn add_unit(&mut self, unit: &str, text: &str, by: &str) {
        let entries: Vec<(String, String)> = match unit_file::parse(by, text) {
            Ok(entries) => entries.into_iter().map(|it| (it.key, it.value)).collect(),
            Err(_) => loose_entries(text),
        };
        for (key, value) in &entries {
            let Some(kind) = Kind::ALL.into_iter().find(|kind| property(*kind) == key) else {
                continue;
            };
            for path in paths(value) {
                self.add(kind, &resolved(&path, unit), by);
            }
        }
    }

    /// How a path below the base of its kind stands to all of them.
    pub fn standing(&self, kind: Kind, path: &str) -> Standing {
        let parts: Vec<&str> = path.split('/').collect();
        let first = parts.first().copied().unwrap_or_default();
        let named = self.named.get(&(kind, first.to_owned()));
        let patterns = self.patterns.iter().filter(|(of, _)| *of == kind);
        let claims = named.into_iter().flatten();
        let mut above = None;
        for claim in claims.chain(patterns.map(|(_, claim)| claim)) {
            let mut pairs = claim.parts.iter().zip(&parts);
            if !pairs.all(|(pattern, name)| matches(pattern, name)) {
                continue;
            }
            if claim.parts.len() <= parts.len() {
                return Standing::Claimed(claim.by.clone());
            }
            above.get_or_insert(&claim.by);
        }
        above.map_or(Standing::Nobodys, |by| Standing::Above(by.clone()))
    }
}

/// The assignments of a unit file whose syntax is not right: systemd passes over the lines that it does not
/// understand.
fn loose_entries(text: &str) -> Vec<(String, String)> {
    let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
    let pairs = joined.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

/// The paths in the value of a property, without links and flags.
fn paths(value: &str) -> Vec<String> {
    // `\:` is a colon that separates nothing, and no escape of words::split.
    let value = value.replace("\\:", "\u{1}");
    let words = words::split(&value).unwrap_or_else(|_| {
        let words = value.split_ascii_whitespace();
        words.map(|word| word.replace(['"', '\''], "")).collect()
    });
    let path = |word: &String| {
        word.split(':')
            .next()
            .unwrap_or_default()
            .replace('\u{1}', ":")
    };
    words.iter().map(path).collect()
}

/// A path with its specifiers replaced: by what the unit's name says, or by a pattern.
fn resolved(path: &str, unit: &str) -> String {
    let stem = unit.rsplit_once('.').map_or(unit, |(stem, _)| stem);
    let (prefix, instance) = match stem.split_once('@') {
        Some((prefix, "")) => (prefix, None),
        Some((prefix, instance)) => (prefix, Some(instance)),
        None => (stem, Some("")),
    };
    let stem = match instance {
        Some(_) => stem.to_owned(),
        None => format!("{stem}{ANY}"),
    };
    let mut text = String::new();
    let mut rest = path.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match rest.next() {
            Some('%') => text.push('%'),
            Some('p') => text.push_str(prefix),
            Some('N') => text.push_str(&stem),
            Some('i') => match instance {
                Some(instance) => text.push_str(instance),
                None => text.push(ANY),
            },
            Some(wide) if OF_ANY_DEPTH.contains(&wide) => {
                text.push(ANY);
                return text;
            }
            _ => text.push(ANY),
        }
    }
    text
}

/// Whether a name is one of those that a pattern means.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once(ANY) else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once(ANY).unwrap_or(("", rest));
    for part in middle.split(ANY) {
        match name.split_once(part) {
            Some((_, after)) if !part.is_empty() => name = after,
            Some(_) => {}
            None => return false,
        }
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(claims: &Claims, path: &str) -> &'static str {
        match claims.standing(Kind::State, path) {
            Standing::Nobodys => "nobody's",
            Standing::Claimed(_) => "claimed",
            Standing::Above(_) => "above",
        }
    }

    #[test]
    fn what_is_in_a_claimed_directory_is_claimed_and_what_is_around_one_is_above() {
        let mut claims = Claims::default();
        claims.add(Kind::State, "a/b", "service x");
        claims.add(Kind::Cache, "c", "service x");
        for (path, expected) in [
            ("a", "above"),
            ("a/b", "claimed"),
            ("a/b/c", "claimed"),
            ("a/bc", "nobody's"),
            ("ab", "nobody's"),
            ("c", "nobody's"),
            ("", "nobody's"),
        ] {
            assert_eq!(standing(&claims, path), expected, "{path}");
        }
    }

    #[test]
    fn unit_files_claim_what_they_name_however_they_are_written() {
        let text = "[Unit]\nDescription=x\n[Service]\n StateDirectory = a \"b c\" \\\n  d/e:link:ro\\\n# within\n \
            f\nCacheDirectory=k\nStateDirectory=\nStateDirectory=\"broken g\n#StateDirectory=comment\n\
            StateDirectoryMode=0700\nStateDirectory=x\\:y:z %p-%i %%h";
        let mut claims = Claims::default();
        claims.add_unit("foo@bar.service", text, "foo@bar.service");
        for path in [
            "a", "b c", "d/e", "f", "broken", "g", "x:y", "foo-bar", "%h",
        ] {
            assert_eq!(standing(&claims, path), "claimed", "{path}");
        }
        assert_eq!(standing(&claims, "d"), "above");
        for path in ["k", "link", "comment", "0700", "x", "foo-baz", "b"] {
            assert_eq!(standing(&claims, path), "nobody's", "{path}");
        }
    }

    #[test]
    fn a_specifier_that_nobody_can_tell_means_anything_in_its_name() {
        for (unit, value, claimed, nobodys) in [
            ("foo@.service", "%p/%i", "foo/x", "bar/x"),
            ("foo@.service", "%N", "foo@x", "foo"),
            ("foo@.service", "x-%i-y", "x--y", "x-y"),
            ("foo.service", "%N", "foo", "bar"),
            ("foo.service", "%H-x", "host-x", "host-y"),
            ("foo.service", "a/%H/b", "a/h/b", "a/h/c"),
            ("foo@.service", "a/%I/b", "a/h/c", "b"),
            ("foo-\0.service", "%N", "foo-x", "bar"),
            ("\0.service", "%N", "x", ""),
        ] {
            let mut claims = Claims::default();
            claims.add_unit(unit, &format!("StateDirectory={value}"), unit);
            assert_eq!(standing(&claims, claimed), "claimed", "{unit} {value}");
            if !nobodys.is_empty() {
                assert_eq!(standing(&claims, nobodys), "nobody's", "{unit} {value}");
            }
        }
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("a\0", "a", true),
            ("a\0", "ba", false),
            ("\0a\0b", "xayb", true),
            ("\0a\0b", "xbya", false),
            ("a\0a", "a", false),
            ("\0\0", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern:?} {name}");
        }
    }
}
