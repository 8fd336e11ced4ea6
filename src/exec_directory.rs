//! The directories that a service asks for by name, and where each kind lives.
//!
//! Layout and names follow systemd.exec(5), "RuntimeDirectory=, StateDirectory=, …".

#![forbid(unsafe_code)]

use std::fmt;

use crate::failure::Stage;

/// A kind of directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `RuntimeDirectory=`: made in /run, removed when the service ends.
    Runtime,
    /// `StateDirectory=`.
    State,
    /// `CacheDirectory=`.
    Cache,
    /// `LogsDirectory=`.
    Logs,
}

impl Kind {
    /// All kinds, in the order in which they are made and their owners are asked.
    pub const ALL: [Self; 4] = [Self::Runtime, Self::State, Self::Cache, Self::Logs];

    /// The public place.
    pub const fn base(self) -> &'static str {
        match self {
            Self::Runtime => "/run",
            Self::State => "/var/lib",
            Self::Cache => "/var/cache",
            Self::Logs => "/var/log",
        }
    }

    /// The boundary directory, which only root may enter: behind it the directories of this kind
    /// are, and a symbolic link at the public place points there. Runtime directories have none,
    /// because others must reach the sockets in them.
    pub const fn boundary(self) -> Option<&'static str> {
        match self {
            Self::Runtime => None,
            Self::State => Some("/var/lib/private"),
            Self::Cache => Some("/var/cache/private"),
            Self::Logs => Some("/var/log/private"),
        }
    }

    /// The environment variable that tells the service its directories.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Runtime => "RUNTIME_DIRECTORY",
            Self::State => "STATE_DIRECTORY",
            Self::Cache => "CACHE_DIRECTORY",
            Self::Logs => "LOGS_DIRECTORY",
        }
    }

    /// The stage that fails when one cannot be made.
    pub const fn stage(self) -> Stage {
        match self {
            Self::Runtime => Stage::RuntimeDirectory,
            Self::State => Stage::StateDirectory,
            Self::Cache => Stage::CacheDirectory,
            Self::Logs => Stage::LogsDirectory,
        }
    }

    /// The word for it in a lease file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::State => "state",
            Self::Cache => "cache",
            Self::Logs => "logs",
        }
    }

    /// The kind whose [`word`](Self::word) is `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// One directory that a service asked for: relative, clean, and not the boundary itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecDirectory {
    kind: Kind,
    path: String,
}

impl ExecDirectory {
    /// Checks `path`, which is meant to be below the base of `kind`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(kind: Kind, path: &str) -> Result<Self, String> {
        if path.is_empty() {
            return Err("a directory name cannot be empty".into());
        }
        if path.starts_with('/') {
            return Err(format!(
                "is absolute; it must be relative to {}",
                kind.base()
            ));
        }
        if path.contains(':') {
            return Err("links and flags after ':' are not supported".into());
        }
        if path.contains('%') {
            return Err("specifiers such as % are for unit files".into());
        }
        if path.chars().any(char::is_control) {
            return Err("holds a control character".into());
        }
        // PATH_MAX less the longest base, and room for the link's "../" and "private/".
        if path.len() > 3500 || path.split('/').any(|part| part.len() > 255) {
            return Err("is too long for a file system".into());
        }
        let parts: Vec<&str> = path
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        if parts.contains(&"..") {
            return Err("contains '..'".into());
        }
        match parts.first() {
            None => return Err("is the base itself".into()),
            Some(&"private") => {
                return Err("starts with 'private', which is the boundary directory".into());
            }
            // The daemon's own places: /run/dynuser and /var/lib/dynuser.
            Some(&"dynuser") => return Err("belongs to dynuser itself".into()),
            Some(_) => {}
        }
        Ok(Self {
            kind,
            path: parts.join("/"),
        })
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The path relative to the base, without empty parts.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path under which everybody, the service first, knows it.
    pub fn public(&self) -> String {
        format!("{}/{}", self.kind.base(), self.path)
    }

    /// The path where it really is: below the boundary, if its kind has one.
    pub fn real(&self) -> String {
        match self.kind.boundary() {
            Some(boundary) => format!("{boundary}/{}", self.path),
            None => self.public(),
        }
    }

    /// What the public path points to when the directory is behind a boundary: relative, so that
    /// it holds wherever the tree is looked at from.
    pub fn link_target(&self) -> String {
        let up = "../".repeat(self.path.matches('/').count());
        format!("{up}private/{}", self.path)
    }

    /// Tells whether this one lies within `other`, or is the same.
    pub fn is_within(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self
                .path
                .strip_prefix(&other.path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for ExecDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(path: &str) -> ExecDirectory {
        ExecDirectory::parse(Kind::State, path).expect("a good path")
    }

    #[test]
    fn paths_are_relative_clean_and_never_the_boundary() {
        assert_eq!(state("wuff").path(), "wuff");
        assert_eq!(state("a//b/./c/").path(), "a/b/c");
        assert_eq!(state("privateer").path(), "privateer");
        for bad in [
            "",
            "/wuff",
            "..",
            "a/..",
            "a/../b",
            "private",
            "private/x",
            "./private",
            ".",
            "a:b",
            "%i",
            "a\nb",
            "dynuser",
            "dynuser/x",
        ] {
            assert!(ExecDirectory::parse(Kind::State, bad).is_err(), "{bad:?}");
        }
        assert!(ExecDirectory::parse(Kind::State, &"x".repeat(256)).is_err());
    }

    #[test]
    fn a_directory_behind_a_boundary_has_a_relative_link() {
        let deep = state("a/b/c");
        assert_eq!(deep.public(), "/var/lib/a/b/c");
        assert_eq!(deep.real(), "/var/lib/private/a/b/c");
        assert_eq!(deep.link_target(), "../../private/a/b/c");
        assert_eq!(state("wuff").link_target(), "private/wuff");
        let runtime = ExecDirectory::parse(Kind::Runtime, "foo").expect("a good path");
        assert_eq!(runtime.real(), "/run/foo");
    }

    #[test]
    fn within_means_the_same_or_below() {
        assert!(state("foo/bar").is_within(&state("foo")));
        assert!(state("foo").is_within(&state("foo")));
        assert!(!state("foobar").is_within(&state("foo")));
        assert!(!state("foo").is_within(&state("foo/bar")));
    }

    #[test]
    fn words_lead_back_to_their_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_word(kind.word()), Some(kind));
        }
    }
}
