//! The lines of dynamic users in a copy of passwd(5) or group(5).
//!
//! The host's own lines stay what they are, and win: a name or a number that one of them has gets no second line.

#![forbid(unsafe_code)]

use std::collections::HashSet;

use crate::layout::{GECOS, SHELL};
use crate::user_record::Record;

/// A file of accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Database {
    /// passwd(5).
    Passwd,
    /// group(5).
    Group,
}

impl Database {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Passwd, Self::Group];

    /// The host's file.
    pub fn path(self) -> &'static str {
        match self {
            Self::Passwd => "/etc/passwd",
            Self::Group => "/etc/group",
        }
    }

    /// The name of that file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passwd => "passwd",
            Self::Group => "group",
        }
    }

    /// The line of a user in it, or of its group, without its end.
    pub fn line(self, record: &Record) -> String {
        let Record { name, uid, .. } = record;
        match self {
            Self::Passwd => format!("{name}:x:{uid}:{uid}:{GECOS}:{}:{SHELL}", record.home),
            Self::Group => format!("{name}:x:{uid}:{}", record.members.join(",")),
        }
    }
}

/// The text of a file with `lines` added. What is no line of a file stays as it is.
///
/// glibc's `compat` source goes on elsewhere at a line that begins with `+` or `-`, and may never come back: the lines are
/// put in front of the first of them.
pub fn with_lines(text: &[u8], lines: &[String]) -> Vec<u8> {
    let elsewhere = |line: &[u8]| matches!(line.first(), Some(b'+' | b'-'));
    let whole = text.split_inclusive(|byte| *byte == b'\n');
    let known: Vec<&[u8]> = whole.collect();
    let keys = |field: usize| -> HashSet<&[u8]> {
        let lines = known.iter().filter(|line| !elsewhere(line));
        lines.filter_map(|line| key(line, field)).collect()
    };
    let (names, numbers) = (keys(0), keys(2));
    let new = lines.iter().filter(|line| {
        let has = |keys: &HashSet<&[u8]>, field| {
            key(line.as_bytes(), field).is_some_and(|key| keys.contains(key))
        };
        !has(&names, 0) && !has(&numbers, 2)
    });
    let before = known.iter().take_while(|line| !elsewhere(line)).count();
    let mut made = Vec::with_capacity(text.len().saturating_add(256));
    let end_line = |made: &mut Vec<u8>| {
        if made.last().is_some_and(|byte| *byte != b'\n') {
            made.push(b'\n');
        }
    };
    known
        .iter()
        .take(before)
        .for_each(|line| made.extend(*line));
    for line in new {
        end_line(&mut made);
        made.extend(line.as_bytes());
        made.push(b'\n');
    }
    known
        .iter()
        .skip(before)
        .for_each(|line| made.extend(*line));
    made
}

/// A field of a line, without blanks around it.
fn key(line: &[u8], field: usize) -> Option<&[u8]> {
    let key = line.split(|byte| *byte == b':').nth(field)?;
    Some(key.trim_ascii()).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> Record {
        Record {
            name: "web".into(),
            uid: 61200,
            home: "/var/lib/web".into(),
            groups: vec![44],
            members: vec!["api".into(), "db".into()],
        }
    }

    fn with(text: &str, database: Database) -> String {
        let made = with_lines(text.as_bytes(), &[database.line(&web())]);
        String::from_utf8(made).expect("text")
    }

    const LINE: &str = "web:x:61200:61200:Dynamic User:/var/lib/web:/usr/sbin/nologin\n";

    #[test]
    fn lines_are_added_at_the_end_and_what_was_there_stays() {
        let root = "root:x:0:0:root:/root:/bin/sh";
        assert_eq!(
            with(&format!("{root}\n"), Database::Passwd),
            format!("{root}\n{LINE}")
        );
        // Without an end of the last line ours would be a part of it.
        assert_eq!(with(root, Database::Passwd), format!("{root}\n{LINE}"));
        assert_eq!(with("", Database::Passwd), LINE);
        assert_eq!(
            with("# odd\n\n", Database::Passwd),
            format!("# odd\n\n{LINE}")
        );
        assert_eq!(
            with("root:x:0:\n", Database::Group),
            "root:x:0:\nweb:x:61200:api,db\n"
        );
    }

    #[test]
    fn they_come_before_what_sends_a_reader_elsewhere() {
        assert_eq!(
            with("a:x:1:1:::\n+::::::\n", Database::Passwd),
            format!("a:x:1:1:::\n{LINE}+::::::\n")
        );
        assert_eq!(
            with("-bad\n+@good\nb:x:2:2:::", Database::Passwd),
            format!("{LINE}-bad\n+@good\nb:x:2:2:::")
        );
    }

    #[test]
    fn a_name_or_a_number_of_the_host_stays_the_host_s() {
        for text in [
            "web:x:1000:1000::/:\n",
            "other:x:61200:1000::/:\n",
            "a:x: 61200 :1:::\n",
        ] {
            assert_eq!(with(text, Database::Passwd), text);
        }
        assert_eq!(with("web:x:7:\n", Database::Group), "web:x:7:\n");
        // The number of a group that a user has is no number of a user.
        let text = "other:x:1000:61200::/:\n";
        assert_eq!(with(text, Database::Passwd), format!("{text}{LINE}"));
    }
}
