//! Lists of directories: `path[:link[:flags]]`, as systemd.exec(5) has them.

use super::row::{Directive, function};
use super::{Settings, boolean, octal, room};
use crate::exec_directory::{ExecDirectory, Kind, Preserve};
use crate::words;

pub(super) const TABLE: &[Directive] = &[
    list("RuntimeDirectory", |s, v| s.list(Kind::Runtime, v)),
    list("StateDirectory", |s, v| s.list(Kind::State, v)),
    list("CacheDirectory", |s, v| s.list(Kind::Cache, v)),
    list("LogsDirectory", |s, v| s.list(Kind::Logs, v)),
    list("ConfigurationDirectory", |s, v| {
        s.list(Kind::Configuration, v)
    }),
    modes("RuntimeDirectoryMode", |s, v| mode(s, Kind::Runtime, v)),
    modes("StateDirectoryMode", |s, v| mode(s, Kind::State, v)),
    modes("CacheDirectoryMode", |s, v| mode(s, Kind::Cache, v)),
    modes("LogsDirectoryMode", |s, v| mode(s, Kind::Logs, v)),
    modes("ConfigurationDirectoryMode", |s, v| {
        mode(s, Kind::Configuration, v)
    }),
    function(
        "RuntimeDirectoryPreserve",
        "runtime directories outlive the service",
        preserve,
    ),
    function(
        "SharedDirectories",
        "each sees them as its own, by id-mapped mounts",
        |s, v| {
            s.shared = boolean(v)?;
            Ok(())
        },
    ),
];

const fn list(
    name: &'static str,
    apply: fn(&mut Settings, &str) -> Result<(), String>,
) -> Directive {
    function(
        name,
        "made before the service starts, its own, bound into its view",
        apply,
    )
}

const fn modes(
    name: &'static str,
    apply: fn(&mut Settings, &str) -> Result<(), String>,
) -> Directive {
    function(name, "set at every start", apply)
}

fn preserve(settings: &mut Settings, value: &str) -> Result<(), String> {
    settings.preserve = match value {
        "restart" => Preserve::Restart,
        "" => Preserve::No,
        other => match boolean(other) {
            Ok(true) => Preserve::Yes,
            Ok(false) => Preserve::No,
            Err(_) => return Err("is neither no, restart nor yes".into()),
        },
    };
    Ok(())
}

fn mode(settings: &mut Settings, kind: Kind, value: &str) -> Result<(), String> {
    let mode = octal(value)?;
    if mode & 0o6000 != 0 {
        return Err("has a set-ID bit, which a dynamic user cannot have".into());
    }
    settings.modes.push((kind, mode));
    Ok(())
}

/// A directory as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which one.
    pub directory: ExecDirectory,
    /// Other names for it below the same base: symbolic links.
    pub links: Vec<ExecDirectory>,
    /// Whether the service may only read it.
    pub read_only: bool,
}

impl Settings {
    /// Adds the directories of a list; an empty one takes away all of the kind.
    pub(super) fn list(&mut self, kind: Kind, value: &str) -> Result<(), String> {
        let words = words::split_keeping_colons(value)?;
        if words.is_empty() {
            self.directories
                .retain(|asked| asked.directory.kind() != kind);
        }
        let links = self.directories.iter().map(|asked| asked.links.len());
        let there = links.fold(self.directories.len(), usize::saturating_add);
        room(there, words.len())?;
        for word in words {
            let asked = parse(kind, &word).map_err(|why| match word == value {
                true => why,
                false => format!("{:?} {why}", words::with_colons(&word)),
            })?;
            self.ask(asked);
        }
        Ok(())
    }

    /// A directory that is named twice has the links and the flags of both (systemd.exec(5)).
    fn ask(&mut self, asked: Asked) {
        let mut known = self.directories.iter_mut();
        match known.find(|known| known.directory == asked.directory) {
            None => self.directories.push(asked),
            Some(known) => {
                known.read_only |= asked.read_only;
                for link in asked.links {
                    if !known.links.contains(&link) {
                        known.links.push(link);
                    }
                }
            }
        }
    }
}

/// Reads one word, in which a colon that separates nothing is [`words::KEPT_COLON`].
fn parse(kind: Kind, word: &str) -> Result<Asked, String> {
    let mut parts = word.split(':');
    let mut next = || parts.next().map(words::with_colons).unwrap_or_default();
    let (path, link, flags) = (next(), next(), next());
    if parts.next().is_some() {
        return Err("has more than a path, a link and flags".into());
    }
    let read_only = match flags.as_str() {
        "" => false,
        "ro" => true,
        other => return Err(format!("has the flag {other:?}; there is only ro")),
    };
    let directory = ExecDirectory::parse(kind, &path)?;
    if link.is_empty() {
        return Ok(Asked {
            directory,
            links: Vec::new(),
            read_only,
        });
    }
    if kind == Kind::Configuration {
        return Err("has a link, which configuration cannot have".into());
    }
    let link = ExecDirectory::parse(kind, &link).map_err(|why| format!("has a link that {why}"))?;
    Ok(Asked {
        directory,
        links: vec![link],
        read_only,
    })
}
