//! Names of services and of users: what is accepted, and how the one becomes the other.

#![forbid(unsafe_code)]

use std::fmt;

use sha2::{Digest, Sha256};

use crate::layout::{LONGEST_NAME, is_strict_user_name};

/// Length of the longest service name, as systemd.unit(5) has it for unit names.
const LONGEST_SERVICE: usize = 255;

/// What names of services that nobody named begin with.
const PASSING: &str = "run-";

/// Hexadecimal digits of the hash in a derived user name: 40 bits.
const HASH_DIGITS: usize = 10;

/// The name of a service: what `-u` takes, made of the characters of unit names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(String);

impl ServiceName {
    /// Checks `name`, with or without the ending `.service`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(name: &str) -> Result<Self, String> {
        let name = name.strip_suffix(".service").unwrap_or(name);
        if name.is_empty() {
            return Err("a service name cannot be empty".into());
        }
        if name == "." || name == ".." {
            return Err("is a directory, not a service name".into());
        }
        if name.len() > LONGEST_SERVICE {
            return Err(format!(
                "a service name has at most {LONGEST_SERVICE} characters, this one has {}",
                name.len()
            ));
        }
        match name.chars().find(|c| !is_unit_character(*c)) {
            Some(bad) => Err(format!(
                "a service name cannot hold {bad:?}; letters, digits and : - _ . \\ @ are allowed"
            )),
            None => Ok(Self(name.into())),
        }
    }

    /// The name of a service that nobody named: the process `pid` holds its lease, so nobody else
    /// has this name at the same time.
    pub fn of_process(pid: u32) -> String {
        format!("{PASSING}{pid}")
    }

    /// Whether it is such a name. Nobody will ask for it again, or it is somebody else's by then.
    pub fn is_passing(&self) -> bool {
        let number = self.0.strip_prefix(PASSING);
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// The name without the ending.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_unit_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@')
}

/// The name of a user that dynuser hands out: strict, so it is neither a number nor a path
/// (see [`is_strict_user_name`]), and neither `root` nor `nobody`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(String);

impl UserName {
    /// Checks a name that somebody gave as a user name: it must be valid as it stands.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(name: &str) -> Result<Self, String> {
        if name.is_empty() {
            return Err("a user name cannot be empty".into());
        }
        if name.bytes().all(|b| b.is_ascii_digit()) {
            return Err("is a number; a user is asked for by name, one that exists too".into());
        }
        if name.len() > LONGEST_NAME {
            return Err(format!(
                "a user name has at most {LONGEST_NAME} characters, this one has {}",
                name.len()
            ));
        }
        if !is_strict_user_name(name.as_bytes()) {
            return Err(
                "a user name is a letter or _, then letters, digits, _ or -, and nothing else"
                    .into(),
            );
        }
        if name == "root" || name == "nobody" {
            return Err("is never handed out to a service".into());
        }
        Ok(Self(name.into()))
    }

    /// Checks the name of a user that the host must have, which may be root.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn of_host(name: &str) -> Result<Self, String> {
        match name {
            "root" => Ok(Self(name.into())),
            other => Self::parse(other),
        }
    }

    /// The user name of a service that asks for none: its own name if that is a user name,
    /// otherwise a readable one with a hash of the whole, always the same for the same service.
    ///
    /// # Errors
    /// For `root` and `nobody`, which are never handed out.
    pub fn of_service(service: &ServiceName) -> Result<Self, String> {
        let name = service.as_str();
        if is_strict_user_name(name.as_bytes()) {
            return Self::parse(name);
        }
        let mut derived: String = name
            .chars()
            .map(|c| match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => c,
                _ => '_',
            })
            .collect();
        if !derived.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            derived.insert(0, '_');
        }
        derived.truncate(LONGEST_NAME.saturating_sub(HASH_DIGITS).saturating_sub(1));
        derived.push('-');
        let hash = Sha256::digest(name.as_bytes());
        derived.extend(
            hash.iter()
                .flat_map(|byte| [byte >> 4, byte & 15])
                .filter_map(|digit| char::from_digit(u32::from(digit), 16))
                .take(HASH_DIGITS),
        );
        Ok(Self(derived))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(service: &str) -> String {
        let service = ServiceName::parse(service).expect("a service name");
        UserName::of_service(&service).expect("a user name").0
    }

    #[test]
    fn a_service_name_is_made_of_the_characters_of_unit_names() {
        for good in [
            "wuff",
            "a",
            "foo@bar",
            "foo.bar",
            r"dev-\x2d",
            "run-u12",
            "9p",
        ] {
            assert!(ServiceName::parse(good).is_ok(), "{good}");
        }
        assert_eq!(
            ServiceName::parse("wuff.service"),
            ServiceName::parse("wuff")
        );
        for bad in [
            "", ".", "..", ".service", "a/b", "a b", "a%i", "a\n", "a\0", "ä", "a*",
        ] {
            assert!(ServiceName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ServiceName::parse(&"x".repeat(255)).is_ok());
        assert!(ServiceName::parse(&"x".repeat(256)).is_err());
    }

    #[test]
    fn a_user_name_is_strict_as_it_stands() {
        for good in ["wuff", "_a", "A-b_c", &"x".repeat(31)] {
            assert!(UserName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "61200",
            "1a",
            "-a",
            "a.b",
            "a b",
            "a:b",
            "a/b",
            "ä",
            "root",
            "nobody",
            "a\n",
            &"x".repeat(32),
        ] {
            assert!(UserName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_that_is_a_user_name_stays() {
        assert_eq!(derived("wuff"), "wuff");
        assert_eq!(derived("run-u12.service"), "run-u12");
    }

    #[test]
    fn other_names_are_derived_readable_stable_and_strict() {
        // sha256("foo.bar") = ddd8a3b7f2…
        let name = derived("foo.bar");
        assert!(name.starts_with("foo_bar-"), "{name}");
        assert_eq!(name, derived("foo.bar"));
        assert_ne!(name, derived("foo:bar"));
        for service in ["7zip", "a@b", &"x".repeat(255), "@", "-x", "9"] {
            let name = derived(service);
            assert!(is_strict_user_name(name.as_bytes()), "{service} -> {name}");
            assert!(UserName::parse(&name).is_ok());
        }
    }

    #[test]
    fn services_named_like_the_reserved_users_get_none() {
        for reserved in ["root", "nobody"] {
            let service = ServiceName::parse(reserved).expect("a service name");
            assert!(UserName::of_service(&service).is_err());
        }
    }
}
