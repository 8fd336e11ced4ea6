//! The directories that a service asks for by name, and where each kind lives.
//!
//! Layout and names follow systemd.exec(5), "RuntimeDirectory=, StateDirectory=, …".

#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::cmp::Ordering;
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
    /// `ConfigurationDirectory=`: root's, for the service to read.
    Configuration,
}

impl Kind {
    /// All kinds, in the order in which they are made and their owners are asked.
    pub const ALL: [Self; 5] = [
        Self::Runtime,
        Self::State,
        Self::Cache,
        Self::Logs,
        Self::Configuration,
    ];

    /// The public place.
    pub const fn base(self) -> &'static str {
        match self {
            Self::Runtime => "/run",
            Self::State => "/var/lib",
            Self::Cache => "/var/cache",
            Self::Logs => "/var/log",
            Self::Configuration => "/etc",
        }
    }

    /// The boundary directory, which only root may enter: behind it the private directories of this
    /// kind are, and a symbolic link at the public place points there. Configuration has none: it is
    /// root's, and not the service's.
    pub const fn boundary(self) -> Option<&'static str> {
        match self {
            Self::Runtime => Some("/run/private"),
            Self::Configuration => None,
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
            Self::Configuration => "CONFIGURATION_DIRECTORY",
        }
    }

    /// The stage that fails when one cannot be made.
    pub const fn stage(self) -> Stage {
        match self {
            Self::Runtime => Stage::RuntimeDirectory,
            Self::State => Stage::StateDirectory,
            Self::Cache => Stage::CacheDirectory,
            Self::Logs => Stage::LogsDirectory,
            Self::Configuration => Stage::ConfigurationDirectory,
        }
    }

    /// Whether services of a dynamic user have their directories of this kind behind the boundary.
    /// Runtime directories are public, because others must reach the sockets in them, unless they
    /// outlive the service and with it the user ([`Preserve`]).
    pub const fn is_private(self, preserve: Preserve) -> bool {
        match self {
            Self::State | Self::Cache | Self::Logs => true,
            Self::Runtime => preserve.keeps(),
            Self::Configuration => false,
        }
    }

    /// The word for it in a lease file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::State => "state",
            Self::Cache => "cache",
            Self::Logs => "logs",
            Self::Configuration => "configuration",
        }
    }

    /// The kind whose [`word`](Self::word) is `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// `RuntimeDirectoryPreserve=`: what becomes of runtime directories when the service has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preserve {
    /// They are removed.
    #[default]
    No,
    /// They stay for the next start. systemd removes them when it will not start the service again;
    /// nobody tells us that, so they stay until they are cleaned or the host is started anew.
    Restart,
    /// They stay until they are cleaned or the host is started anew.
    Yes,
}

impl Preserve {
    /// Whether they outlive the service.
    pub const fn keeps(self) -> bool {
        !matches!(self, Self::No)
    }
}

/// What the names begin with that we use for an instant beside directories of services.
pub const OURS: &str = ".dynuser-";

/// One place of a directory: relative, clean, and not the boundary itself. In order, parents come before
/// what is in them, component by component, as systemd sorts them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExecDirectory {
    kind: Kind,
    path: String,
}

/// The part of a base that a directory stands on: everything that is made or changed for it lies there, but
/// for the boundary itself. Directories on different grounds have nothing to do with each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ground {
    kind: Kind,
    first: String,
}

impl Ground {
    /// The ground of what is called `path` below the base of `kind`.
    pub fn new(kind: Kind, path: &str) -> Self {
        let first = path.split('/').next().unwrap_or(path).into();
        Self { kind, first }
    }
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
        let parts = parts(path)?;
        if parts.iter().any(|part| part.starts_with(OURS)) {
            return Err(format!(
                "has a part that starts with {OURS:?}, as only our own names do"
            ));
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

    /// The ground that it stands on.
    pub fn ground(&self) -> Ground {
        Ground::new(self.kind, &self.path)
    }

    /// The path under which everybody, the service first, knows it.
    pub fn public(&self) -> String {
        format!("{}/{}", self.kind.base(), self.path)
    }

    /// The path behind the boundary, if its kind has one.
    pub fn behind(&self) -> Option<String> {
        let boundary = self.kind.boundary()?;
        Some(format!("{boundary}/{}", self.path))
    }

    /// What the public path points to when the directory is behind a boundary: relative, so that
    /// it holds wherever the tree is looked at from.
    pub fn link_target(&self) -> String {
        let up = "../".repeat(self.path.matches('/').count());
        format!("{up}private/{}", self.path)
    }

    /// What is put behind the boundary, in the place of the directory, while that is kept at the public
    /// path: the record of an adoption.
    pub fn adoption_record(&self) -> String {
        let up = "../".repeat(self.path.matches('/').count());
        format!("../{up}{}", self.path)
    }

    /// What a link at this place holds that points to `directory`, by its public path.
    pub fn link_to(&self, directory: &Self) -> String {
        let up = "../".repeat(self.path.matches('/').count());
        format!("{up}{}", directory.path)
    }

    /// Tells whether this one lies within `other`, or is the same.
    pub fn is_within(&self, other: &Self) -> bool {
        self.kind == other.kind && lies_in(&self.path, &other.path)
    }
}

/// The home directory of a user with these directories, if one of them can be it: the first state directory, or else the
/// first runtime directory. In systemd there is none (#9652).
pub fn home<D: Borrow<ExecDirectory>>(directories: impl IntoIterator<Item = D>) -> Option<String> {
    let mut runtime = None;
    for directory in directories {
        let directory = directory.borrow();
        match directory.kind() {
            Kind::State => return Some(directory.public()),
            Kind::Runtime if runtime.is_none() => runtime = Some(directory.public()),
            _ => {}
        }
    }
    runtime
}

/// The parts of a path, without what is empty in it.
///
/// # Errors
/// A sentence, for one that climbs.
pub fn parts(path: &str) -> Result<Vec<&str>, String> {
    let parts = path.split('/');
    let parts: Vec<&str> = parts
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    match parts.contains(&"..") {
        true => Err("contains '..'".into()),
        false => Ok(parts),
    }
}

/// Whether a path is `top`, or lies in it: by their words, of which neither may hold `..`.
pub fn lies_in(path: &str, top: &str) -> bool {
    path.strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where what is at `path` was, or will be, on the other side of its boundary: the public path of what is
/// behind it, and the other way round.
pub fn other_side(path: &str) -> Option<String> {
    Kind::ALL.into_iter().find_map(|kind| {
        let (base, boundary) = (kind.base(), kind.boundary()?);
        let below = |top: &str| path.strip_prefix(top)?.strip_prefix('/');
        match below(boundary) {
            Some(rest) => Some(format!("{base}/{rest}")),
            None => Some(format!("{boundary}/{}", below(base)?)),
        }
    })
}

impl Ord for ExecDirectory {
    fn cmp(&self, other: &Self) -> Ordering {
        let parts = || self.path.split('/').cmp(other.path.split('/'));
        self.kind.cmp(&other.kind).then_with(parts)
    }
}

impl PartialOrd for ExecDirectory {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ExecDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public())
    }
}

#[cfg(test)]
mod tests;
