//! `TemporaryFileSystem=`: an empty file system in the place of a directory.

use super::row::{Directive, function};
use crate::exec_directory::lies_in;
use crate::words;

pub(super) const TABLE: &[Directive] = &[function(
    "TemporaryFileSystem",
    "an empty tmpfs in the service's view",
    |s, v| add(&mut s.temporary, v),
)];

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemporaryFileSystem {
    /// Where: an absolute path without `.` and `..`.
    pub path: String,
    /// Options of tmpfs(5), later ones last. The defaults are those of systemd.
    pub options: Vec<(String, String)>,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Whether nothing in it can be executed.
    pub no_exec: bool,
}

/// What systemd gives to each (`TEMPORARY_FS_OPTIONS`).
const DEFAULTS: [(&str, &str); 3] = [("mode", "0755"), ("size", "10%"), ("nr_inodes", "400k")];

/// Options with a value.
const VALUED: [&str; 6] = ["mode", "size", "nr_inodes", "nr_blocks", "uid", "gid"];

/// Adds what a list says; an empty one takes all away.
fn add(all: &mut Vec<TemporaryFileSystem>, value: &str) -> Result<(), String> {
    let words = words::split_keeping_colons(value)?;
    if words.is_empty() {
        all.clear();
    }
    super::room(all.len(), words.len())?;
    for word in words {
        let one = parse(&word).map_err(|why| match word == value {
            true => why,
            false => format!("{:?} {why}", words::with_colons(&word)),
        })?;
        all.retain(|other| other.path != one.path);
        all.push(one);
    }
    all.sort();
    Ok(())
}

fn parse(word: &str) -> Result<TemporaryFileSystem, String> {
    let (path, options) = word.split_once(':').unwrap_or((word, ""));
    let mut found = TemporaryFileSystem {
        path: clean(&words::with_colons(path))?,
        options: default_options(),
        read_only: false,
        no_exec: false,
    };
    let options = words::with_colons(options);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        found.set(option)?;
    }
    Ok(found)
}

fn default_options() -> Vec<(String, String)> {
    DEFAULTS
        .map(|(name, value)| (name.into(), value.into()))
        .into()
}

/// The path without what is empty in it.
fn clean(path: &str) -> Result<String, String> {
    let path = super::mounts::clean(path)?;
    if lies_in(&path, "/proc") {
        return Err(
            "is where the kernel tells about processes, without which nothing can be run".into(),
        );
    }
    if path == "/" {
        return Err("is the root, without which nothing can be run".into());
    }
    Ok(path)
}

impl TemporaryFileSystem {
    /// An empty one at `path` that stays so.
    pub fn read_only(path: &str) -> Self {
        Self {
            path: path.into(),
            options: default_options(),
            read_only: true,
            no_exec: false,
        }
    }

    fn set(&mut self, option: &str) -> Result<(), String> {
        match option {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "noexec" => self.no_exec = true,
            "exec" => self.no_exec = false,
            // In force, or of no consequence for what is lost with the service.
            "nosuid" | "nodev" | "strictatime" | "relatime" | "noatime" | "nodiratime" => {}
            other => self.set_value(other)?,
        }
        Ok(())
    }

    fn set_value(&mut self, option: &str) -> Result<(), String> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let safe = |c: char| c.is_ascii_alphanumeric() || c == '%';
        if !VALUED.contains(&name) || value.is_empty() || !value.chars().all(safe) {
            return Err(format!(
                "has the option {option:?}; there are ro, rw, noexec, exec, nosuid, nodev, {}=",
                VALUED.join("=, ")
            ));
        }
        self.options.retain(|(other, _)| other != name);
        self.options.push((name.into(), value.into()));
        Ok(())
    }

    /// Whether `path` lies in it.
    pub fn holds(&self, path: &str) -> bool {
        lies_in(path, &self.path)
    }
}
