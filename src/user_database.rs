//! `io.systemd.UserDatabase`: what systemd's programs ask about users, and what they are told of ours.
//!
//! The interface is that of systemd's USER_GROUP_API document, the records are those of its USER_RECORD and GROUP_RECORD
//! documents, the messages those of varlink.org: JSON objects, each ended by a NUL. Whoever asks is a stranger: a message
//! is short, what it says is flat, and what is not quite right ends the connection without a word, as it does in systemd.

#![forbid(unsafe_code)]

mod answer;
mod call;
mod interface;
mod listing;
mod records;

pub use answer::{Answer, answer};
pub use call::{Call, Calls, LONGEST_CALL, Malformed};
pub use listing::{Listing, Step};

use crate::user_record::Record;

/// The name of the service: of its socket, in every call, and in every record. A record without it, or with another one, is
/// none to systemd.
pub const SERVICE: &str = "org.dynuser";

/// Whether there is to be a socket for systemd's programs (`UserDatabaseSocket=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Where there is a folder for it: systemd makes it.
    #[default]
    Auto,
    /// Always.
    Yes,
    /// Never.
    No,
}

impl Wanted {
    /// Reads the value of the key. An empty one means the default.
    ///
    /// # Errors
    /// A phrase about a word that is none of the three.
    pub fn parse(value: &str) -> Result<Self, String> {
        match value {
            "" | "auto" => Ok(Self::Auto),
            "yes" => Ok(Self::Yes),
            "no" => Ok(Self::No),
            _ => Err(format!("{value} is none of auto, yes and no")),
        }
    }
}

/// Where the users are looked up.
pub trait Table {
    /// The user of a name.
    ///
    /// # Errors
    /// [`Unavailable`], here as with the others.
    fn by_name(&self, name: &str) -> Result<Option<Record>, Unavailable>;

    /// The user of a number.
    fn by_uid(&self, uid: u32) -> Result<Option<Record>, Unavailable>;

    /// The numbers of all users.
    fn uids(&self) -> Result<Vec<u32>, Unavailable>;

    /// The name of a group of the host, if it is known without asking anybody.
    fn host_group_name(&self, gid: u32) -> Option<String>;

    /// The number of a group of the host, if it is known without asking anybody.
    fn host_group_number(&self, name: &str) -> Option<u32>;
}

/// The table cannot be read. That is never "there is no such user".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// Tells whether a name may stand in a reply. One that systemd does not take for a name of a group makes the whole reply
/// worthless to it. What is taken here is a part of its relaxed grammar (USER_NAMES).
pub fn is_group_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b':' | b'/' | b','))
        && !name.ends_with(' ')
        && name.len() <= LONGEST_WORD
}

/// The longest name that is taken from a message, of whatever: it may be told back in an error.
const LONGEST_WORD: usize = 255;

#[cfg(test)]
mod tests;
