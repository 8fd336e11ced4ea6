//! Names of units.

#![forbid(unsafe_code)]

/// The longest name of a unit, in bytes: systemd's `UNIT_NAME_MAX`.
const LONGEST_NAME: usize = 255;

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
    pub(super) fn last_of_prefix(&self) -> &str {
        let last = self.prefix.rsplit_once('-');
        last.map_or(self.prefix(), |(_, last)| last)
    }

    /// The path that the instance, or else the prefix, stands for (`%f`).
    pub(super) fn path(&self) -> Result<String, String> {
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
