//! What is to be removed of a service, in words; and what is ours of what lies at a path.

#![forbid(unsafe_code)]

use crate::directives::Settings;
use crate::directory_text::HadDirectory;
use crate::exec_directory::{ExecDirectory, Kind};
use crate::failure::{Failure, Stage};

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
    let mut settings = Settings::default();
    for (name, value) in properties {
        let refused = |why: String| Failure::new(Stage::Request, format!("{name}={value}"), why);
        if !Kind::ALL.into_iter().any(|kind| property(kind) == name) {
            return Err(refused("names no directory".into()));
        }
        settings.assign(name, value).map_err(refused)?;
    }
    let named = settings.directories.iter().map(|asked| HadDirectory {
        kind: asked.directory.kind().word().into(),
        path: asked.directory.path().into(),
        links: asked.links.iter().map(|link| link.path().into()).collect(),
        private: true,
    });
    Ok(named.collect())
}

/// The links that may stand behind the boundary in the place of the tree: the sign that the public
/// directory is about to be exchanged with it, or is used where it is.
pub fn signs(directory: &ExecDirectory) -> [String; 2] {
    [directory.link_target(), directory.adoption_record()]
}

/// What a further link to a directory may hold: ours points to the public path, one of systemd's behind the
/// boundary.
pub fn extra_targets(directory: &ExecDirectory, link: &ExecDirectory) -> [String; 2] {
    let ours = link.link_to(directory);
    let path = directory.path();
    let up = ours.strip_suffix(path).unwrap_or_default();
    let systemds = format!("{up}private/{path}");
    [ours, systemds]
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
        let link = |path: &str| ExecDirectory::parse(Kind::State, path).expect("a link");
        assert_eq!(signs(&directory), ["../private/a/b", "../../a/b"]);
        assert_eq!(
            extra_targets(&directory, &link("l")),
            ["a/b", "private/a/b"]
        );
        assert_eq!(
            extra_targets(&directory, &link("x/y/l")),
            ["../../a/b", "../../private/a/b"]
        );
        let found: Vec<&str> = parents("/var/lib/private/a/b/c", 3).collect();
        assert_eq!(found, ["/var/lib/private/a/b", "/var/lib/private/a"]);
        assert_eq!(parents("/var/lib/a", 1).count(), 0);
    }
}
