//! Names of units, and the specifiers (`%n`, `%i`, `%S` …) that stand for parts of them and for facts of
//! the host: systemd.unit(5) "SPECIFIERS"; where that page leaves something open, as systemd 257 does it.

#![forbid(unsafe_code)]

use std::borrow::Cow;

/// The longest name of a unit, in bytes: systemd's `UNIT_NAME_MAX`.
const LONGEST_NAME: usize = 255;

/// The longest text that comes out, in bytes: no argument and no path of the kernel is longer
/// (`MAX_ARG_STRLEN`). Without it a short line of `%n` and a long name would take memory without bound.
const LONGEST_TEXT: usize = 128 * 1024;

/// What the names of units end in.
const TYPES: [&str; 11] = [
    "service",
    "socket",
    "target",
    "device",
    "mount",
    "automount",
    "swap",
    "timer",
    "path",
    "slice",
    "scope",
];

/// The name of a unit: `prefix.service`, `prefix@instance.service`, or a template, `prefix@.service`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName {
    prefix: String,
    instance: Option<String>,
    suffix: String,
}

impl UnitName {
    /// Reads a whole name, with its suffix.
    ///
    /// # Errors
    /// A sentence that says why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("{text:?} is no name of a unit: {why}");
        if text.len() > LONGEST_NAME {
            return Err(bad("it is longer than 255 bytes"));
        }
        let Some((body, suffix)) = text.rsplit_once('.') else {
            return Err(bad("it has no suffix such as .service"));
        };
        if !TYPES.contains(&suffix) {
            return Err(bad("its suffix is of no type of unit"));
        }
        // The first @ divides: an instance may hold more of them.
        let (prefix, instance) = match body.split_once('@') {
            Some((prefix, instance)) => (prefix, Some(instance)),
            None => (body, None),
        };
        if prefix.is_empty() {
            return Err(bad("nothing stands before its suffix or @"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\".contains(c);
        let instance_fits = |text: &str| text.chars().all(|c| plain(c) || c == '@');
        if !prefix.chars().all(plain) || !instance.is_none_or(instance_fits) {
            return Err(bad(
                "it holds something else than letters, digits and :-_.\\@",
            ));
        }
        Ok(Self {
            prefix: prefix.into(),
            instance: instance.map(Into::into),
            suffix: suffix.into(),
        })
    }

    /// The whole name (`%n`).
    pub fn full(&self) -> String {
        format!("{}.{}", self.without_suffix(), self.suffix)
    }

    /// The name without its suffix (`%N`): `prefix@instance`.
    pub fn without_suffix(&self) -> String {
        match &self.instance {
            Some(instance) => format!("{}@{instance}", self.prefix),
            None => self.prefix.clone(),
        }
    }

    /// What stands before the `@`, or the suffix where there is none (`%p`).
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What stands after the `@` (`%i`); empty in a template, none in a name without `@`.
    pub fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// The type of unit, without a dot: `service`.
    pub fn suffix(&self) -> &str {
        &self.suffix
    }

    /// Whether it is a template, which cannot be started: an instance can.
    pub fn is_template(&self) -> bool {
        self.instance.as_deref() == Some("")
    }

    /// The template that an instance is made of: `prefix@.service`. None for what is no instance.
    pub fn template(&self) -> Option<Self> {
        let instance = self.instance().filter(|instance| !instance.is_empty());
        instance.map(|_| Self {
            instance: Some(String::new()),
            ..self.clone()
        })
    }

    /// An instance of a template, or another one of the same template.
    ///
    /// # Errors
    /// A sentence, where the name has no `@` or the instance does not fit into a name.
    pub fn with_instance(&self, instance: &str) -> Result<Self, String> {
        if self.instance.is_none() {
            return Err(format!("{:?} is no template: it has no @", self.full()));
        }
        Self::parse(&format!("{}@{instance}.{}", self.prefix, self.suffix))
    }

    /// The last part of the prefix, by dashes (`%j`).
    fn last_of_prefix(&self) -> &str {
        let last = self.prefix.rsplit_once('-');
        last.map_or(self.prefix(), |(_, last)| last)
    }

    /// The path that the instance, or else the prefix, stands for (`%f`).
    fn path(&self) -> Result<String, String> {
        let escaped = self.instance().unwrap_or(&self.prefix);
        if escaped.is_empty() {
            return Err("%f has no path in a template".into());
        }
        if escaped == "-" {
            return Ok("/".into());
        }
        let path = unescape(escaped)?;
        // An empty part, `.` or `..` would be another path than it looks.
        let tame = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !tame {
            return Err(format!("%f: {escaped:?} stands for no path"));
        }
        Ok(format!("/{path}"))
    }
}

/// Takes back what systemd-escape(1) did: `-` is a slash, `\xNN` a byte.
///
/// # Errors
/// A sentence, for any other backslash, and for bytes that are no UTF-8 or NUL.
pub fn unescape(text: &str) -> Result<String, String> {
    let bad = || format!("{text:?} cannot be unescaped: a backslash begins \\xNN");
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '-' => bytes.push(b'/'),
            '\\' => {
                let code: String = rest.by_ref().take(3).collect();
                let digits = code.strip_prefix('x').filter(|digits| {
                    digits.len() == 2 && digits.chars().all(|c| c.is_ascii_hexdigit())
                });
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                bytes.push(byte.filter(|byte| *byte != 0).ok_or_else(bad)?);
            }
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    String::from_utf8(bytes).map_err(|_| format!("{text:?} stands for no UTF-8"))
}

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
