//! What the table of users says of one of them: the target of a link in [`USERS`](crate::layout::USERS), as bytes.
//!
//! Compiled twice, as `layout.rs` is: into the daemon, which writes, and into the NSS module, which reads. It therefore
//! uses `core` alone and allocates nothing.
//!
//! A target is `KEY:HOME:GROUPS:MEMBERS`, with empty fields at its end left out: mostly `wuff:/var/lib/wuff` for the link
//! of a number and `61200:/var/lib/wuff` for that of a name. HOME is an absolute path, empty for `/`. GROUPS are the
//! numbers of the other groups that the user is in, MEMBERS the names of the other users who are in its group; both with
//! commas, both without those for which there is no room. There is one spelling for everything: what is spelled otherwise
//! was not written by the daemon, and says nothing.

#![forbid(unsafe_code)]

use crate::layout::is_strict_user_name;

/// Length of the longest target, in bytes. A file system in memory takes 4095.
pub const LONGEST_TARGET: usize = 4000;

/// Length of the longest home directory that is told, in bytes. A longer one is told as `/`.
pub const LONGEST_HOME: usize = 255;

/// What a target says, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserText<'t> {
    /// The name, or the number in decimal: whichever is not in the link's own name. Not checked.
    pub key: &'t [u8],
    /// The home directory, empty for `/`.
    home: &'t [u8],
    groups: &'t [u8],
    members: &'t [u8],
}

impl<'t> UserText<'t> {
    /// Takes the target of a link, which is not trusted.
    pub fn parse(target: &'t [u8]) -> Option<Self> {
        if target.len() > LONGEST_TARGET || target.ends_with(b":") {
            return None;
        }
        let mut fields = target.split(|byte| *byte == b':');
        let key = fields.next()?;
        let home = fields.next().unwrap_or_default();
        let groups = fields.next().unwrap_or_default();
        let members = fields.next().unwrap_or_default();
        let right = fields.next().is_none()
            && (home.is_empty() || is_home(home))
            && (groups.is_empty() || words(groups).all(|word| group(word).is_some()))
            && (members.is_empty() || words(members).all(is_strict_user_name));
        right.then_some(Self {
            key,
            home,
            groups,
            members,
        })
    }

    /// The home directory.
    pub fn home(&self) -> &'t [u8] {
        match self.home {
            b"" => b"/",
            home => home,
        }
    }

    /// The numbers of the other groups that the user is in.
    pub fn groups(&self) -> impl Iterator<Item = u32> + Clone + use<'t> {
        words(self.groups).filter_map(group)
    }

    /// The names of the other users who are in its group.
    pub fn members(&self) -> impl Iterator<Item = &'t [u8]> + Clone + use<'t> {
        words(self.members).filter(|word| !word.is_empty())
    }
}

fn words(field: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    field.split(|byte| *byte == b',')
}

/// Tells whether a path can be told as somebody's home directory: absolute, not `/` (which is told by nothing), and without
/// what would end a field of passwd(5), or a line.
pub const fn is_home(path: &[u8]) -> bool {
    let [b'/', _, ..] = path else { return false };
    let mut rest = path;
    while let [byte, tail @ ..] = rest {
        if byte.is_ascii_control() || *byte == b':' {
            return false;
        }
        rest = tail;
    }
    path.len() <= LONGEST_HOME
}

/// Reads the number of a group. root's is nobody else's, and the largest means "no change" to chown(2).
fn group(digits: &[u8]) -> Option<u32> {
    number(digits).filter(|number| !matches!(*number, 0 | u32::MAX))
}

/// Reads a number in its only spelling: digits alone, no sign, no blank, no leading zero.
pub fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || (digits.len() > 1 && digits.first() == Some(&b'0')) {
        return None;
    }
    let mut number: u32 = 0;
    for digit in digits {
        let value = char::from(*digit).to_digit(10)?;
        number = number.checked_mul(10)?.checked_add(value)?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a target says, in words.
    fn read(target: &str) -> Option<(String, String, Vec<u32>, Vec<String>)> {
        let text = UserText::parse(target.as_bytes())?;
        let word = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let members = text.members().map(word).collect();
        let groups = text.groups().collect();
        Some((word(text.key), word(text.home()), groups, members))
    }

    #[test]
    fn a_target_has_four_fields_and_those_at_its_end_may_be_missing() {
        let told = |key: &str, home: &str, groups: &[u32], members: &[&str]| {
            let members = members.iter().map(|name| (*name).to_owned()).collect();
            Some((key.to_owned(), home.to_owned(), groups.to_vec(), members))
        };
        assert_eq!(read("web"), told("web", "/", &[], &[]));
        assert_eq!(
            read("web:/var/lib/web"),
            told("web", "/var/lib/web", &[], &[])
        );
        assert_eq!(
            read("61200::44,61300"),
            told("61200", "/", &[44, 61300], &[])
        );
        assert_eq!(read("web:::api,db"), told("web", "/", &[], &["api", "db"]));
        assert_eq!(
            read("web:/srv/w:1,4294967294:a"),
            told("web", "/srv/w", &[1, u32::MAX - 1], &["a"])
        );
    }

    #[test]
    fn what_the_daemon_does_not_write_says_nothing() {
        let long_home = format!("web:/{}", "a".repeat(LONGEST_HOME));
        let long = format!("web:::{}", "aaaa,".repeat(LONGEST_TARGET / 5) + "aaaaa");
        for bad in [
            "web:",
            "web::",
            "web:/a:",
            "web:::",
            "web:/a:1:b:c",
            "web:a",
            "web:/",
            "web:/a\nroot",
            "web:/a\u{7f}",
            "web::0",
            "web::01",
            "web::4294967295",
            "web::44,",
            "web::,44",
            "web::44,,45",
            "web::video",
            "web:::a b",
            "web:::a,",
            "web:::0",
            "web:::a/b",
            &long_home,
            &long,
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_home_is_a_path_that_fits_a_line() {
        for good in ["/a", "/var/lib/w\u{e4}b x", "//"] {
            assert!(is_home(good.as_bytes()), "{good}");
        }
        for bad in ["", "/", "a/b", "/a:b", "/a\n", "/a\0"] {
            assert!(!is_home(bad.as_bytes()), "{bad:?}");
        }
    }
}
