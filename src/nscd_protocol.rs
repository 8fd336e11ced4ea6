//! What the name service cache daemon and its clients say to each other, as bytes.
//!
//! After glibc's `nscd/nscd-client.h` (version 2), what nscd 2.36 was seen to answer, and what musl's
//! `src/passwd/nscd_query.c` and its kin make of it. A request is three 32-bit numbers (version, kind, length of the key)
//! and the key. An answer begins with the version and `found`: 1, 0 for "there is none", or -1 for "ask somebody else",
//! upon which glibc asks its own modules and musl gives an error. There is one request a connection. All numbers are in
//! the byte order of the machine.

#![forbid(unsafe_code)]

mod reader;

use crate::layout::{GECOS, SHELL};
use crate::user_record::Record;
use crate::user_text::number;
use reader::Reader;

/// `NSCD_VERSION`.
const VERSION: i32 = 2;

/// Length of the head of a request, in bytes.
pub const HEAD: usize = 12;

/// `MAXKEYLEN`: length of the longest key, in bytes.
pub const LONGEST_KEY: usize = 1024;

/// What stands where a password would, in the records of our users.
const NO_PASSWORD: &str = "x";

/// Databases that can be told to forget.
const DATABASES: [&str; 5] = ["passwd", "group", "hosts", "services", "netgroup"];

/// A record of passwd(5). Strings are bytes without a NUL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passwd {
    /// Login name.
    pub name: Vec<u8>,
    /// Password, nearly always `x`.
    pub password: Vec<u8>,
    /// User ID.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Who that is.
    pub gecos: Vec<u8>,
    /// Home directory.
    pub home: Vec<u8>,
    /// Login shell.
    pub shell: Vec<u8>,
}

/// A record of group(5). Strings are bytes without a NUL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Name.
    pub name: Vec<u8>,
    /// Password, nearly always `x`.
    pub password: Vec<u8>,
    /// Group ID.
    pub gid: u32,
    /// Names of users who are in it.
    pub members: Vec<Vec<u8>>,
}

impl Passwd {
    /// The record of a user of ours.
    pub fn of_ours(name: &str, uid: u32, home: &str) -> Self {
        Self {
            name: name.into(),
            password: NO_PASSWORD.into(),
            uid,
            gid: uid,
            gecos: GECOS.into(),
            home: home.into(),
            shell: SHELL.into(),
        }
    }
}

impl Group {
    /// The record of the group of a user of ours.
    pub fn of_ours<'a>(name: &str, uid: u32, members: impl Iterator<Item = &'a str>) -> Self {
        Self {
            name: name.into(),
            password: NO_PASSWORD.into(),
            gid: uid,
            members: members.map(Vec::from).collect(),
        }
    }
}

/// Who or what is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A name, without a NUL.
    Name(Vec<u8>),
    /// A number.
    Number(u32),
}

/// What a client wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// `GETPWBYNAME`, `GETPWBYUID`.
    User(Key),
    /// `GETGRBYNAME`, `GETGRBYGID`.
    Group(Key),
    /// `INITGROUPS`: the groups that have the user of this name as a member.
    Groups(Vec<u8>),
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To know something that there is an answer to.
    Ask(Question),
    /// Something about a database that is not served: these bytes say so.
    Elsewhere(Vec<u8>),
    /// That answers are forgotten: these bytes say that it is done, or that there is no such database. For root alone.
    Forget(Vec<u8>),
    /// What gets no answer: the connection is closed.
    Refused,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::User`].
    User(Option<Passwd>),
    /// To [`Question::Group`].
    Group(Option<Group>),
    /// To [`Question::Groups`].
    Groups(Vec<u32>),
}

/// What can be asked for: `request_type`, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    UserByName,
    UserByNumber,
    GroupByName,
    GroupByNumber,
    Hosts,
    Forget,
    Groups,
    Services,
    Netgroups,
    /// `SHUTDOWN`, `GETSTAT`, and `GETFDPW` and its kin, which want the cache as a file: nothing is said.
    Never,
}

impl Kind {
    fn of(kind: i32) -> Option<Self> {
        Some(match kind {
            0 => Self::UserByName,
            1 => Self::UserByNumber,
            2 => Self::GroupByName,
            3 => Self::GroupByNumber,
            4..=7 | 14 => Self::Hosts,
            8 | 9 | 11..=13 | 18 | 21 => Self::Never,
            10 => Self::Forget,
            15 => Self::Groups,
            16 | 17 => Self::Services,
            19 | 20 => Self::Netgroups,
            _ => return None,
        })
    }
}

/// The head of a request that may be worth an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    kind: Kind,
    /// Length of the key that follows, in bytes: at most [`LONGEST_KEY`].
    pub key: usize,
}

impl Head {
    /// Reads it. `None` where nscd closes the connection without reading on: another version (musl asks again in the
    /// other byte order then), a kind that is none, a length that cannot be.
    pub fn read(bytes: &[u8; HEAD]) -> Option<Self> {
        let mut numbers = bytes.chunks_exact(4).filter_map(|it| it.try_into().ok());
        let mut next = || numbers.next().map(i32::from_ne_bytes);
        let (version, kind, key) = (next()?, next()?, next()?);
        let key = usize::try_from(key)
            .ok()
            .filter(|key| *key <= LONGEST_KEY)?;
        let kind = Kind::of(kind)?;
        (version == VERSION).then_some(Self { kind, key })
    }

    /// What is wanted, with the key that came after the head. It ends at its first NUL, as for nscd.
    pub fn request(self, key: &[u8]) -> Request {
        let key = key.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = || Key::Name(key.into());
        // Clients write it in its only spelling. nscd takes more, and 4294967296 for root.
        let number = || number(key).map(Key::Number);
        Request::Ask(match self.kind {
            Kind::UserByName => Question::User(name()),
            Kind::GroupByName => Question::Group(name()),
            Kind::Groups => Question::Groups(key.into()),
            Kind::UserByNumber => match number() {
                Some(number) => Question::User(number),
                None => return Request::Refused,
            },
            Kind::GroupByNumber => match number() {
                Some(number) => Question::Group(number),
                None => return Request::Refused,
            },
            Kind::Hosts => {
                return Request::Elsewhere(numbers(&[VERSION, -1, 0, 0, -1, -1, 0, -1]));
            }
            Kind::Services => return Request::Elsewhere(numbers(&[VERSION, -1, 0, 0, 0, -1])),
            Kind::Netgroups => return Request::Elsewhere(numbers(&[VERSION, -1, 0, 0])),
            // Nothing is kept, so all is forgotten. useradd(8) and its kin complain if it is not.
            Kind::Forget => {
                let known = DATABASES.iter().any(|name| name.as_bytes() == key);
                return Request::Forget(numbers(&[if known { 0 } else { EINVAL }]));
            }
            Kind::Never => return Request::Refused,
        })
    }
}

/// The error number of that name, the same on all machines.
const EINVAL: i32 = 22;

fn numbers(numbers: &[i32]) -> Vec<u8> {
    numbers.iter().flat_map(|it| it.to_ne_bytes()).collect()
}

/// What a server says to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// This.
    Answer(Answer),
    /// Nothing that counts: it keeps no such database, closed the connection, or speaks another language.
    Nothing,
}

/// A request to forget a database.
pub fn invalidation(database: &str) -> Vec<u8> {
    request(10, database.as_bytes())
}

fn request(kind: i32, key: &[u8]) -> Vec<u8> {
    let length = i32::try_from(key.len()).unwrap_or(0).saturating_add(1);
    let mut bytes = numbers(&[VERSION, kind, length]);
    bytes.extend(key);
    bytes.push(0);
    bytes
}

impl Question {
    /// The bytes in which it is asked.
    pub fn request(&self) -> Vec<u8> {
        let number = |number: &u32| number.to_string().into_bytes();
        match self {
            Self::User(Key::Name(name)) => request(0, name),
            Self::User(Key::Number(uid)) => request(1, &number(uid)),
            Self::Group(Key::Name(name)) => request(2, name),
            Self::Group(Key::Number(gid)) => request(3, &number(gid)),
            Self::Groups(name) => request(15, name),
        }
    }

    /// Reads an answer to it, whole.
    pub fn said(&self, bytes: &[u8]) -> Said {
        let mut reader = Reader(bytes);
        reader.answer(self).map_or(Said::Nothing, Said::Answer)
    }

    /// The answer where nobody can tell: the client is to ask somebody else.
    pub fn unanswered(&self) -> Vec<u8> {
        match self {
            Self::User(_) => no_user(-1),
            // That of the groups of a user is longer than its own head: it is that of its database.
            Self::Group(_) | Self::Groups(_) => no_group(-1),
        }
    }
}

fn no_user(found: i32) -> Vec<u8> {
    numbers(&[VERSION, found, 0, 0, -1, -1, 0, 0, 0])
}

fn no_group(found: i32) -> Vec<u8> {
    numbers(&[VERSION, found, 0, 0, -1, 0])
}

impl Answer {
    /// What the record of a user of ours says to a question.
    pub fn of_ours(question: &Question, record: &Record) -> Self {
        let (name, uid) = (&record.name, record.uid);
        match question {
            Question::User(_) => Self::User(Some(Passwd::of_ours(name, uid, &record.home))),
            Question::Group(_) => {
                let members = record.members.iter().map(String::as_str);
                Self::Group(Some(Group::of_ours(name, uid, members)))
            }
            Question::Groups(_) => Self::Groups(record.groups.clone()),
        }
    }

    /// The bytes of an answer. What is too long for the protocol is left to somebody else.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::User(None) => no_user(0),
            Self::User(Some(user)) => user_bytes(user).unwrap_or_else(|| no_user(-1)),
            Self::Group(None) => no_group(0),
            Self::Group(Some(group)) => group_bytes(group).unwrap_or_else(|| no_group(-1)),
            // musl takes 1 with no groups for an error, and so does nscd say it.
            Self::Groups(groups) => {
                let (found, count) = match i32::try_from(groups.len()) {
                    Ok(0) => (0, 0),
                    Ok(count) => (1, count),
                    Err(_) => return no_group(-1),
                };
                let mut bytes = numbers(&[VERSION, found, count]);
                bytes.extend(groups.iter().flat_map(|it| it.to_ne_bytes()));
                bytes
            }
        }
    }
}

/// The length of a string with its NUL.
fn length(string: &[u8]) -> Option<[u8; 4]> {
    let length = i32::try_from(string.len()).ok()?.checked_add(1)?;
    Some(length.to_ne_bytes())
}

fn strings<'a>(bytes: &mut Vec<u8>, strings: impl IntoIterator<Item = &'a Vec<u8>>) {
    for string in strings {
        bytes.extend(string);
        bytes.push(0);
    }
}

fn user_bytes(user: &Passwd) -> Option<Vec<u8>> {
    let mut bytes = numbers(&[VERSION, 1]);
    bytes.extend(length(&user.name)?);
    bytes.extend(length(&user.password)?);
    bytes.extend(user.uid.to_ne_bytes());
    bytes.extend(user.gid.to_ne_bytes());
    for string in [&user.gecos, &user.home, &user.shell] {
        bytes.extend(length(string)?);
    }
    let parts = [
        &user.name,
        &user.password,
        &user.gecos,
        &user.home,
        &user.shell,
    ];
    strings(&mut bytes, parts);
    Some(bytes)
}

fn group_bytes(group: &Group) -> Option<Vec<u8>> {
    let mut bytes = numbers(&[VERSION, 1]);
    bytes.extend(length(&group.name)?);
    bytes.extend(length(&group.password)?);
    bytes.extend(group.gid.to_ne_bytes());
    bytes.extend(i32::try_from(group.members.len()).ok()?.to_ne_bytes());
    for member in &group.members {
        bytes.extend(length(member)?);
    }
    strings(&mut bytes, [&group.name, &group.password]);
    strings(&mut bytes, &group.members);
    Some(bytes)
}

#[cfg(test)]
mod tests;
