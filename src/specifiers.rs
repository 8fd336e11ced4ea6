//! Names of units, and the specifiers (`%n`, `%i`, `%S` …) that stand for parts of them and for facts of
//! the host: systemd.unit(5) "SPECIFIERS"; where that page leaves something open, as systemd 257 does it.

#![forbid(unsafe_code)]

use std::borrow::Cow;

mod name;

pub use name::{UnitName, unescape};

/// The longest text that comes out, in bytes: no argument and no path of the kernel is longer
/// (`MAX_ARG_STRLEN`). Without it a short line of `%n` and a long name would take memory without bound.
const LONGEST_TEXT: usize = 128 * 1024;

/// What the host is. A fact that is not known is None, and a specifier that stands for it an error; a
/// field that os-release has not is `Some("")`, for there the specifier stands for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `%H`, and up to its first dot `%l`.
    pub host_name: Option<String>,
    /// `%q`: PRETTY_HOSTNAME= of /etc/machine-info. None stands for what `%l` does.
    pub pretty_host_name: Option<String>,
    /// `%m`: 32 hexadecimal digits.
    pub machine_id: Option<String>,
    /// `%b`: 32 hexadecimal digits, without dashes.
    pub boot_id: Option<String>,
    /// `%v`: as `uname -r` says.
    pub kernel_release: Option<String>,
    /// `%a`, in systemd's words: see [`architecture`].
    pub architecture: Option<String>,
    /// `%o`: ID= of os-release.
    pub os_id: Option<String>,
    /// `%w`: VERSION_ID=.
    pub os_version: Option<String>,
    /// `%W`: VARIANT_ID=.
    pub os_variant: Option<String>,
    /// `%B`: BUILD_ID=.
    pub os_build: Option<String>,
    /// `%M`: IMAGE_ID=.
    pub image_id: Option<String>,
    /// `%A`: IMAGE_VERSION=.
    pub image_version: Option<String>,
}

/// All that specifiers stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// `%n` and its parts.
    pub name: UnitName,
    /// The file that the unit was read from: `%y`, its directory `%Y`.
    pub unit_file: Option<String>,
    /// `%t`: the runtime directories' place.
    pub runtime: String,
    /// `%S`: the state directories' place.
    pub state: String,
    /// `%C`: the cache directories' place.
    pub cache: String,
    /// `%L`: the log directories' place.
    pub logs: String,
    /// `%E`: the configuration directories' place.
    pub configuration: String,
    /// `%d`: what `$CREDENTIALS_DIRECTORY` is.
    pub credentials: Option<String>,
    /// `%u`: the user who runs the service manager, which is never the one of `User=`.
    pub user: String,
    /// `%U`.
    pub user_id: String,
    /// `%g`.
    pub group: String,
    /// `%G`.
    pub group_id: String,
    /// `%h`: that user's home.
    pub home: String,
    /// `%s`: that user's shell. systemd's for root is /bin/bash where there is one, or else /bin/sh, whatever
    /// the user database says.
    pub shell: String,
    /// `%T`.
    pub temporary: String,
    /// `%V`.
    pub large_temporary: String,
    /// What the host is.
    pub facts: Facts,
}

impl Context {
    /// What systemd's system manager has for a unit of this name. Nothing of the host is known yet.
    pub fn system(name: UnitName) -> Self {
        let credentials = format!("/run/credentials/{}", name.full());
        Self {
            name,
            unit_file: None,
            runtime: "/run".into(),
            state: "/var/lib".into(),
            cache: "/var/cache".into(),
            logs: "/var/log".into(),
            configuration: "/etc".into(),
            credentials: Some(credentials),
            user: "root".into(),
            user_id: "0".into(),
            group: "root".into(),
            group_id: "0".into(),
            home: "/root".into(),
            shell: "/bin/sh".into(),
            temporary: "/tmp".into(),
            large_temporary: "/var/tmp".into(),
            facts: Facts::default(),
        }
    }

    /// What `%c` stands for. `Ok(None)`: that is no specifier.
    fn value(&self, c: char) -> Result<Option<Cow<'_, str>>, String> {
        let name = &self.name;
        let facts = &self.facts;
        let known = |what: &str, fact: &'_ Option<String>| match fact {
            Some(fact) => Ok(Cow::Owned(fact.clone())),
            None => Err(format!("%{c} stands for {what}, which is not known here")),
        };
        Ok(Some(match c {
            'n' => name.full().into(),
            'N' => name.without_suffix().into(),
            'p' => name.prefix().into(),
            'P' => unescape(name.prefix())?.into(),
            'i' => name.instance().unwrap_or_default().into(),
            'I' => unescape(name.instance().unwrap_or_default())?.into(),
            'j' => name.last_of_prefix().into(),
            'J' => unescape(name.last_of_prefix())?.into(),
            'f' => name.path()?.into(),
            'y' => known("the unit's file", &self.unit_file)?,
            'Y' => directory(known("the unit file's directory", &self.unit_file)?),
            't' => self.runtime.as_str().into(),
            'S' => self.state.as_str().into(),
            'C' => self.cache.as_str().into(),
            'L' => self.logs.as_str().into(),
            'E' => self.configuration.as_str().into(),
            'D' => "/usr/share".into(),
            'd' => known("the directory of credentials", &self.credentials)?,
            'u' => self.user.as_str().into(),
            'U' => self.user_id.as_str().into(),
            'g' => self.group.as_str().into(),
            'G' => self.group_id.as_str().into(),
            'h' => self.home.as_str().into(),
            's' => self.shell.as_str().into(),
            'T' => self.temporary.as_str().into(),
            'V' => self.large_temporary.as_str().into(),
            'H' => known("the host's name", &facts.host_name)?,
            'l' => short(known("the host's short name", &facts.host_name)?),
            'q' => match &facts.pretty_host_name {
                Some(name) => name.as_str().into(),
                None => short(known("the host's pretty name", &facts.host_name)?),
            },
            'm' => known("the machine's id", &facts.machine_id)?,
            'b' => known("the id of this boot", &facts.boot_id)?,
            'v' => known("the kernel's release", &facts.kernel_release)?,
            'a' => known("the architecture", &facts.architecture)?,
            'o' => known("the system's ID", &facts.os_id)?,
            'w' => known("the system's VERSION_ID", &facts.os_version)?,
            'W' => known("the system's VARIANT_ID", &facts.os_variant)?,
            'B' => known("the system's BUILD_ID", &facts.os_build)?,
            'M' => known("the system's IMAGE_ID", &facts.image_id)?,
            'A' => known("the system's IMAGE_VERSION", &facts.image_version)?,
            _ => return Ok(None),
        }))
    }
}

fn directory(file: Cow<'_, str>) -> Cow<'_, str> {
    let parent = file.rsplit_once('/').map(|(parent, _)| parent.to_owned());
    parent.map_or(file, Cow::Owned)
}

fn short(host: Cow<'_, str>) -> Cow<'_, str> {
    let first = host.split_once('.').map(|(first, _)| first.to_owned());
    first.map_or(host, Cow::Owned)
}

/// Puts in what the specifiers stand for. `%%` is a per cent sign; so is one at the end, or before what is
/// neither letter nor digit.
///
/// # Errors
/// A sentence, for a letter or digit that is no specifier and for a fact that is not known.
pub fn expand(text: &str, context: &Context) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, (c == '%').then(|| rest.next()).flatten()) {
            (_, Some('%')) => expanded.push('%'),
            (_, Some(specifier)) => match context.value(specifier)? {
                Some(value) => expanded.push_str(&value),
                None if specifier.is_ascii_alphanumeric() => return Err(unknown(specifier)),
                None => expanded.extend(['%', specifier]),
            },
            (c, None) => expanded.push(c),
        }
        if expanded.len() > LONGEST_TEXT {
            return Err(format!(
                "is longer than {LONGEST_TEXT} bytes with its specifiers expanded"
            ));
        }
    }
    Ok(expanded)
}

fn unknown(specifier: char) -> String {
    match specifier {
        'c' | 'r' | 'R' => {
            format!(
                "%{specifier} stands for a path of systemd's own cgroup tree: there is none here"
            )
        }
        _ => format!("%{specifier} is no specifier; a per cent sign is written %%"),
    }
}

/// What systemd calls the architecture that `uname -m` calls `machine` (its `architecture.c`).
/// None: one that it is not known here.
pub fn architecture(machine: &str) -> Option<&'static str> {
    Some(match machine {
        "x86_64" => "x86-64",
        "i386" | "i486" | "i586" | "i686" => "x86",
        "aarch64" => "arm64",
        "aarch64_be" => "arm64-be",
        "riscv64" => "riscv64",
        "riscv32" => "riscv32",
        "loongarch64" => "loongarch64",
        "ppc64le" => "ppc64-le",
        "ppc64" => "ppc64",
        "s390x" => "s390x",
        "mips64" => "mips64",
        "mips" => "mips",
        arm if arm.starts_with("armv") && arm.ends_with('l') => "arm",
        arm if arm.starts_with("armv") && arm.ends_with('b') => "arm-be",
        _ => return None,
    })
}
#[cfg(test)]
mod tests;
