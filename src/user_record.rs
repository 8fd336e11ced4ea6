//! What everybody may know of a user, and of its group: the text of its links, written and read.

#![forbid(unsafe_code)]

use crate::layout::{is_strict_user_name, may_be_handed_out};
use crate::user_text::{LONGEST_TARGET, UserText, is_home, number};

/// A user, and its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name, of both.
    pub name: String,
    /// The number, of both.
    pub uid: u32,
    /// The home directory.
    pub home: String,
    /// The other groups that the user is in, sorted.
    pub groups: Vec<u32>,
    /// The other users who are in its group, sorted.
    pub members: Vec<String>,
}

impl Record {
    /// What there is to tell. Left out is what nobody could read: a home directory that does not fit a line of passwd(5)
    /// is `/`, root's group and names of users that are none of ours are not there.
    pub fn new<'a>(
        name: &str,
        uid: u32,
        home: Option<String>,
        groups: &[u32],
        members: impl Iterator<Item = &'a str>,
    ) -> Self {
        let may_be_told = |gid: &u32| *gid != uid && !matches!(*gid, 0 | u32::MAX);
        let mut groups: Vec<u32> = groups.iter().copied().filter(may_be_told).collect();
        groups.sort_unstable();
        groups.dedup();
        let members = members.filter(|name| is_strict_user_name(name.as_bytes()));
        let mut members: Vec<String> = members.map(String::from).collect();
        members.sort_unstable();
        members.dedup();
        let home = home.filter(|home| is_home(home.as_bytes()));
        Self {
            name: name.into(),
            uid,
            home: home.unwrap_or_else(|| "/".into()),
            groups,
            members,
        }
    }

    /// What the link of its number says.
    pub fn behind_number(&self) -> String {
        self.text(&self.name)
    }

    /// What the link of its name says.
    pub fn behind_name(&self) -> String {
        self.text(&self.uid.to_string())
    }

    /// Groups and members for which there is no room are left out: half of it at most is for groups.
    fn text(&self, key: &str) -> String {
        let home = if self.home == "/" { "" } else { &self.home };
        let mut text = format!("{key}:{home}:");
        let groups = self.groups.iter().map(u32::to_string);
        put(&mut text, groups, LONGEST_TARGET.div_euclid(2));
        text.push(':');
        put(&mut text, self.members.iter().cloned(), LONGEST_TARGET);
        text.truncate(text.trim_end_matches(':').len());
        text
    }

    /// Reads what the link of a number says; nothing, if it was not written by us.
    pub fn read_behind_number(uid: u32, target: &[u8]) -> Option<Self> {
        let text = UserText::parse(target)?;
        Self::read(std::str::from_utf8(text.key).ok()?, uid, text)
    }

    /// Reads what the link of a name says; nothing, if it was not written by us.
    pub fn read_behind_name(name: &str, target: &[u8]) -> Option<Self> {
        let text = UserText::parse(target)?;
        Self::read(name, number(text.key)?, text)
    }

    fn read(name: &str, uid: u32, text: UserText<'_>) -> Option<Self> {
        if !is_strict_user_name(name.as_bytes()) || !may_be_handed_out(uid) {
            return None;
        }
        let word = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(String::from);
        Some(Self {
            name: name.into(),
            uid,
            home: word(text.home())?,
            groups: text.groups().collect(),
            members: text.members().filter_map(word).collect(),
        })
    }
}

/// Adds words with commas between them, as long as the text stays within `room`.
fn put(text: &mut String, words: impl Iterator<Item = String>, room: usize) {
    let mut first = true;
    for word in words {
        let with_it = text.len().saturating_add(word.len()).saturating_add(1);
        if with_it > room {
            return;
        }
        if !std::mem::take(&mut first) {
            text.push(',');
        }
        text.push_str(&word);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(home: &str, groups: &[u32], members: &[&str]) -> Record {
        Record::new(
            "web",
            61200,
            Some(home.into()),
            groups,
            members.iter().copied(),
        )
    }

    #[test]
    fn a_user_without_anything_is_a_name_and_a_number() {
        let plain = record("/", &[], &[]);
        assert_eq!(plain.behind_number(), "web");
        assert_eq!(plain.behind_name(), "61200");
    }

    #[test]
    fn fields_stand_in_their_places() {
        let all = record("/var/lib/web", &[61300, 44, 44, 61200, 0], &["b", "a", "b"]);
        assert_eq!(all.behind_number(), "web:/var/lib/web:44,61300:a,b");
        assert_eq!(all.behind_name(), "61200:/var/lib/web:44,61300:a,b");
        assert_eq!(record("/", &[], &["a"]).behind_name(), "61200:::a");
        assert_eq!(record("/x", &[], &[]).behind_name(), "61200:/x");
    }

    #[test]
    fn what_nobody_could_read_is_left_out() {
        for home in [
            "",
            "relative",
            "/a:b",
            "/a\nb",
            &format!("/{}", "a".repeat(255)),
        ] {
            assert_eq!(record(home, &[], &[]).behind_name(), "61200", "{home}");
        }
        let odd = record(
            "/",
            &[u32::MAX],
            &["www-data", "systemd.x", "a b", "\u{e4}"],
        );
        assert_eq!(odd.behind_name(), "61200:::www-data");
    }

    #[test]
    fn too_many_are_as_many_as_there_is_room_for() {
        let groups: Vec<u32> = (100_000..101_000).collect();
        let names: Vec<String> = (0..1000).map(|n| format!("member-{n:04}")).collect();
        let members: Vec<&str> = names.iter().map(String::as_str).collect();
        let crowd = record("/var/lib/web", &groups, &members);
        let text = crowd.behind_number();
        assert!(text.len() <= LONGEST_TARGET && text.len() > LONGEST_TARGET - 20);
        let read = Record::read_behind_number(61200, text.as_bytes()).expect("a user");
        assert!(read.groups.len() > 250 && read.members.len() > 150);
        assert_eq!(groups.get(..read.groups.len()), Some(&*read.groups));
        assert_eq!(names.get(..read.members.len()), Some(&*read.members));
    }

    #[test]
    fn a_link_of_somebody_else_s_is_nobody() {
        for target in ["", "root?", "web:", "0", "a b", "\u{e4}"] {
            assert_eq!(Record::read_behind_number(61200, target.as_bytes()), None);
        }
        for target in ["", "0", "65535", "web", "061200", "61200:"] {
            assert_eq!(Record::read_behind_name("web", target.as_bytes()), None);
        }
        assert_eq!(Record::read_behind_number(0, b"web"), None);
        assert_eq!(Record::read_behind_name("../web", b"61200"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(
            home in "(/|/[a-z:\n ]{0,300})",
            groups in proptest::collection::vec(any::<u32>(), 0..20),
            members in proptest::collection::vec("[a-zA-Z0-9_.-]{0,33}", 0..20),
        ) {
            let written = Record::new("web", 61200, Some(home), &groups, members.iter().map(String::as_str));
            let read = Record::read_behind_number(61200, written.behind_number().as_bytes());
            prop_assert_eq!(read.as_ref(), Some(&written));
            let read = Record::read_behind_name("web", written.behind_name().as_bytes());
            prop_assert_eq!(read.as_ref(), Some(&written));
        }

        #[test]
        fn any_bytes_are_read_without_harm(target: Vec<u8>) {
            if let Some(read) = Record::read_behind_number(61200, &target) {
                prop_assert_eq!(read.behind_number().into_bytes(), target);
            }
        }
    }
}
