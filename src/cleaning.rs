//! What is to be removed of a service, in words; and what is ours of what lies at a path.

#![forbid(unsafe_code)]

use crate::directory_text::HadDirectory;
use crate::exec_directory::{ExecDirectory, Kind};
use crate::failure::{Failure, Stage};
use crate::words;

/// What goes if nobody says what: what systemctl(1) clean removes by default.
const DEFAULT: [Kind; 2] = [Kind::Runtime, Kind::Cache];

/// The word for all of them.
const ALL: &str = "all";

/// The kinds that a list of words means, such as `state,logs`. No word at all means the default.
///
/// # Errors
/// Of [`Stage::Request`], for a word that means none, with those that do.
pub fn kinds(what: &[String]) -> Result<Vec<Kind>, Failure> {
    let words = what.iter().flat_map(|list| list.split(','));
    let mut kinds = Vec::new();
    for word in words {
        match Kind::from_word(word) {
            _ if word == ALL => kinds.extend(Kind::ALL),
            Some(kind) => kinds.push(kind),
            None => {
                let known: Vec<&str> = Kind::ALL.into_iter().map(Kind::word).collect();
                let why = format!("is none of {}, {ALL}", known.join(", "));
                return Err(Failure::new(Stage::Request, format!("--what={word}"), why));
            }
        }
    }
    if what.is_empty() {
        kinds.extend(DEFAULT);
    }
    kinds.sort_unstable();
    kinds.dedup();
    Ok(kinds)
}

/// The name of the property that asks for directories of a kind.
pub const fn property(kind: Kind) -> &'static str {
    match kind {
        Kind::Runtime => "RuntimeDirectory",
        Kind::State => "StateDirectory",
        Kind::Cache => "CacheDirectory",
        Kind::Logs => "LogsDirectory",
        Kind::Configuration => "ConfigurationDirectory",
    }
}

/// The directories that properties name: `StateDirectory=foo bar:link`. Nobody has recorded them, so they
/// are taken for private ones.
///
/// # Errors
/// Of [`Stage::Request`]: another property, or no path.
pub fn named(properties: &[(String, String)]) -> Result<Vec<HadDirectory>, Failure> {
    let mut named = Vec::new();
    for (name, value) in properties {
        let refused = |why: String| Failure::new(Stage::Request, format!("{name}={value}"), why);
        let Some(kind) = Kind::ALL.into_iter().find(|kind| property(*kind) == name) else {
            return Err(refused("names no directory".into()));
        };
        for word in words::split(value).map_err(refused)? {
            let mut parts = word.split(':');
            let path = parts.next().unwrap_or_default();
            let directory = ExecDirectory::parse(kind, path).map_err(refused)?;
            let link = parts.next().filter(|link| !link.is_empty());
            named.push(HadDirectory {
                kind: kind.word().into(),
                path: directory.path().into(),
                links: link.map(String::from).into_iter().collect(),
                private: true,
            });
        }
    }
    Ok(named)
}

/// The directory of a kind that only root may enter, for every kind that can have one.
pub fn boundary(kind: Kind) -> Option<String> {
    (kind != Kind::Configuration).then(|| format!("{}/private", kind.base()))
}

/// Where the directory is when it is behind the boundary.
pub fn behind(directory: &ExecDirectory) -> Option<String> {
    boundary(directory.kind()).map(|boundary| format!("{boundary}/{}", directory.path()))
}

fn up(path: &str) -> String {
    "../".repeat(path.matches('/').count())
}

/// The links that may stand behind the boundary in the place of the tree: the sign that the public
/// directory is about to be exchanged with it, or is used where it is.
pub fn signs(directory: &ExecDirectory) -> [String; 2] {
    let path = directory.path();
    [directory.link_target(), format!("../{}{path}", up(path))]
}

/// What a further link at `link` points to.
pub fn extra_targets(directory: &ExecDirectory, link: &str) -> [String; 2] {
    let (up, path) = (up(link), directory.path());
    [format!("{up}{path}"), format!("{up}private/{path}")]
}

/// The directories between the base or the boundary and `path`, which is `depth` names below it, the
/// innermost first.
pub fn parents(path: &str, depth: usize) -> impl Iterator<Item = &str> {
    let ends = path.rmatch_indices('/').take(depth.saturating_sub(1));
    ends.filter_map(|(end, _)| path.get(..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(what: &[&str]) -> Result<Vec<&'static str>, String> {
        let what: Vec<String> = what.iter().map(|word| (*word).into()).collect();
        let kinds = kinds(&what).map_err(|failure| failure.to_string())?;
        Ok(kinds.into_iter().map(Kind::word).collect())
    }

    #[test]
    fn words_mean_kinds_and_configuration_is_never_meant_by_default() {
        assert_eq!(words(&[]), Ok(vec!["runtime", "cache"]));
        assert_eq!(words(&["state,logs", "state"]), Ok(vec!["state", "logs"]));
        let all = words(&["all"]).expect("a word");
        assert_eq!(all.len(), Kind::ALL.len());
        assert!(all.contains(&"configuration"));
        for bad in ["states", "", "state,", "fdstore", "State"] {
            let why = words(&[bad]).expect_err(bad);
            assert!(
                why.contains("runtime, state, cache, logs, configuration, all"),
                "{why}"
            );
        }
    }

    #[test]
    fn properties_name_directories_and_nothing_else() {
        let one = |name: &str, value: &str| named(&[(name.into(), value.into())]);
        let found = one("StateDirectory", "a//b c:link/x d:l:ro").expect("directories");
        let found: Vec<_> = found
            .iter()
            .map(|had| (&*had.path, had.links.join(" ")))
            .collect();
        let expected = [
            ("a/b", "".into()),
            ("c", "link/x".into()),
            ("d", "l".into()),
        ];
        assert_eq!(found, expected);
        for (name, value) in [
            ("User", "x"),
            ("StateDirectory", "../etc"),
            ("StateDirectory", "/etc"),
            ("StateDirectory", "private"),
            ("StateDirectory", "\"a"),
        ] {
            assert!(one(name, value).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn links_are_relative_to_where_they_stand() {
        let directory = ExecDirectory::parse(Kind::State, "a/b").expect("a directory");
        assert_eq!(behind(&directory).as_deref(), Some("/var/lib/private/a/b"));
        assert_eq!(signs(&directory), ["../private/a/b", "../../a/b"]);
        assert_eq!(extra_targets(&directory, "l"), ["a/b", "private/a/b"]);
        assert_eq!(
            extra_targets(&directory, "x/y/l"),
            ["../../a/b", "../../private/a/b"]
        );
        let found: Vec<&str> = parents("/var/lib/private/a/b/c", 3).collect();
        assert_eq!(found, ["/var/lib/private/a/b", "/var/lib/private/a"]);
        assert_eq!(parents("/var/lib/a", 1).count(), 0);
    }
}
