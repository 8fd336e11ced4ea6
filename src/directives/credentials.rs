//! Credentials: small secrets as files that the service's user alone can read (systemd.exec(5), "Credentials").

use super::Settings;
use super::mounts::clean;
use super::row::{Directive, function};
use crate::words;

/// Where a credential comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, or a directory whose files are credentials `ID_NAME`. With a relative path it
    /// is looked for in the stores.
    Load(String),
    /// Every one of the stores whose name matches a pattern.
    Import,
    /// What the unit file says itself: for one that could not be loaded.
    Set(Vec<u8>),
}

impl std::fmt::Debug for Source {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Load(path) => write!(f, "Load({path})"),
            Self::Import => write!(f, "Import"),
            Self::Set(_) => write!(f, "Set(…)"),
        }
    }
}

/// One credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The name of its file; a pattern for [`Source::Import`].
    pub name: String,
    /// Where it comes from.
    pub source: Source,
}

pub(super) const TABLE: &[Directive] = &[
    function(
        "LoadCredential",
        "a file of mode 0400 in a read-only tmpfs, its path in CREDENTIALS_DIRECTORY",
        load,
    )
    .dynamic(),
    function(
        "ImportCredential",
        "files of mode 0400 in a read-only tmpfs, its path in CREDENTIALS_DIRECTORY",
        import,
    )
    .dynamic(),
    function(
        "SetCredential",
        "a file of mode 0400 in a read-only tmpfs, its path in CREDENTIALS_DIRECTORY",
        set,
    )
    .dynamic(),
];

/// systemd's `CREDENTIAL_NAME_MAX`.
const LONGEST_NAME: usize = 255;

fn load(settings: &mut Settings, value: &str) -> Result<(), String> {
    if value.is_empty() {
        settings
            .credentials
            .retain(|it| !matches!(it.source, Source::Load(_)));
        return Ok(());
    }
    let (name, path) = value.split_once(':').unwrap_or((value, value));
    let path = match path.starts_with('/') {
        true => clean(path)?,
        false => credential_name(path)?,
    };
    settings.credential(credential_name(name)?, Source::Load(path))
}

fn import(settings: &mut Settings, value: &str) -> Result<(), String> {
    if value.is_empty() {
        settings
            .credentials
            .retain(|it| it.source != Source::Import);
        return Ok(());
    }
    if value.contains(':') {
        return Err("renames what it imports, which is not supported".into());
    }
    let plain = value.strip_suffix('*').unwrap_or(value);
    if plain.contains(['*', '?', '[', ']']) {
        return Err("is a pattern with more than a * at its end".into());
    }
    credential_name(if plain.is_empty() { "x" } else { plain })?;
    settings.credential(value.into(), Source::Import)
}

fn set(settings: &mut Settings, value: &str) -> Result<(), String> {
    if value.is_empty() {
        settings
            .credentials
            .retain(|it| !matches!(it.source, Source::Set(_)));
        return Ok(());
    }
    let Some((name, data)) = value.split_once(':') else {
        return Err("is not of the form ID:VALUE".into());
    };
    let data = words::unescape(data)?;
    settings.credential(credential_name(name)?, Source::Set(data))
}

fn credential_name(name: &str) -> Result<String, String> {
    let safe = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name != "."
        && name != ".."
        && !name.contains('/')
        && !name.chars().any(char::is_control);
    safe.then(|| name.into())
        .ok_or_else(|| format!("{name:?} is no name of a credential"))
}

impl Settings {
    /// Adds one; of two that are loaded, or set, under one name, the last one counts.
    fn credential(&mut self, name: String, source: Source) -> Result<(), String> {
        let same = |it: &Credential| {
            it.name == name && std::mem::discriminant(&it.source) == std::mem::discriminant(&source)
        };
        self.credentials.retain(|it| !same(it));
        super::room(self.credentials.len(), 1)?;
        self.credentials.push(Credential { name, source });
        Ok(())
    }
}
