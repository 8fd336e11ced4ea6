//! Lists of directories: `path[:link[:flags]]`, as systemd.exec(5) has them.

use super::Settings;
use crate::exec_directory::{ExecDirectory, Kind};
use crate::words;

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
