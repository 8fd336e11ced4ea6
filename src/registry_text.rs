//! What the registry of names and numbers says, as text and in memory.
//!
//! One assignment a line, `NAME UID`; a later line about the same name wins. Lines that start with
//! `#` are for people. A line counts only with the end of line behind it: one that was cut short
//! by a power cut may read like a smaller number.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::names::UserName;
use crate::uid::Uid;

/// Names that are kept. When there are more, those that were asked for longest ago go first.
pub const MOST_NAMES: usize = 8192;

/// Lines below which nobody tidies up.
const FEW_LINES: usize = 64;

/// The first line of the file.
const HEADER: &str =
    "# dynuser: the UID that each name had last. Only a help: it may be removed.\n";

/// What finishes a line that was cut short, so that the next one does not become a part of it:
/// three words are no assignment, whatever the first two look like.
pub const END_OF_TORN_LINE: &str = " ?\n";

/// Which number each name had last.
#[derive(Clone, Debug, Default)]
pub struct Assignments {
    by_name: HashMap<UserName, Assignment>,
    /// How many names each number belongs to; never 0.
    names: HashMap<Uid, usize>,
    clock: u64,
}

#[derive(Clone, Copy, Debug)]
struct Assignment {
    uid: Uid,
    /// When it was last asked for: larger is later.
    when: u64,
}

impl Assignments {
    /// The number that `name` had last.
    pub fn number_of(&self, name: &UserName) -> Option<Uid> {
        self.by_name.get(name).map(|assignment| assignment.uid)
    }

    /// Whether the number was last a name's other than `name`: in constant time.
    pub fn belongs_to_another(&self, uid: Uid, name: &UserName) -> bool {
        let own = usize::from(self.number_of(name) == Some(uid));
        self.names.get(&uid).is_some_and(|names| *names > own)
    }

    /// Notes that `name` has the number now. Tells whether that is news.
    pub fn assign(&mut self, name: &UserName, uid: Uid) -> bool {
        self.clock = self.clock.saturating_add(1);
        let new = Assignment {
            uid,
            when: self.clock,
        };
        let former = match self.by_name.get_mut(name) {
            Some(known) => Some(std::mem::replace(known, new).uid),
            None => {
                self.by_name.insert(name.clone(), new);
                None
            }
        };
        if former == Some(uid) {
            return false;
        }
        if let Some(former) = former {
            self.take_name_from(former);
        }
        let names = self.names.entry(uid).or_default();
        *names = names.saturating_add(1);
        true
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Forgets the names that were asked for longest ago, until at most `most` are left.
    pub fn trim(&mut self, most: usize) {
        let many = self.len().saturating_sub(most);
        if many == 0 {
            return;
        }
        let oldest: Vec<UserName> = self.in_order().take(many).map(|(name, _)| name).collect();
        for name in oldest {
            if let Some(gone) = self.by_name.remove(&name) {
                self.take_name_from(gone.uid);
            }
        }
    }

    /// The whole file.
    pub fn text(&self) -> String {
        let mut text = String::from(HEADER);
        text.extend(self.in_order().map(|(name, uid)| line(&name, uid)));
        text
    }

    /// Names and numbers, those asked for longest ago first.
    fn in_order(&self) -> impl Iterator<Item = (UserName, Uid)> {
        let mut all: Vec<_> = self.by_name.iter().collect();
        all.sort_unstable_by_key(|(_, assignment)| assignment.when);
        all.into_iter()
            .map(|(name, assignment)| (name.clone(), assignment.uid))
    }

    fn take_name_from(&mut self, uid: Uid) {
        if let Some(names) = self.names.get_mut(&uid) {
            *names = names.saturating_sub(1);
            if *names == 0 {
                self.names.remove(&uid);
            }
        }
    }
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// What it says.
    pub assignments: Assignments,
    /// Lines that say so.
    pub lines: usize,
    /// Lines that say nothing that can be understood, or are not whole.
    pub skipped: usize,
}

/// Reads the whole file. Bytes of any kind are no error.
pub fn parse(text: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some([] | [b'#', ..]) => {}
            whole => match whole.and_then(assignment) {
                Some((name, uid)) => {
                    parsed.assignments.assign(&name, uid);
                    parsed.lines = parsed.lines.saturating_add(1);
                }
                None => parsed.skipped = parsed.skipped.saturating_add(1),
            },
        }
    }
    parsed
}

fn assignment(line: &[u8]) -> Option<(UserName, Uid)> {
    let (name, number) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    // `parse` alone would take "+1" and "007" too, which we never write.
    let plain = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
    let uid = Uid::new(number.parse().ok().filter(|_| plain)?)?;
    Some((UserName::parse(name).ok()?, uid))
}

/// One assignment, with the end of its line.
pub fn line(name: &UserName, uid: Uid) -> String {
    format!("{name} {uid}\n")
}

/// Whether a file with so many lines about so many names should be written anew: it has more than
/// two for each name that is kept.
pub fn wants_compaction(lines: usize, names: usize) -> bool {
    lines > names.min(MOST_NAMES).saturating_mul(2).max(FEW_LINES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(name: &str) -> UserName {
        UserName::parse(name).expect("a user name")
    }

    fn uid(number: u32) -> Uid {
        Uid::new(number).expect("a UID")
    }

    #[test]
    fn later_lines_win_and_comments_say_nothing() {
        let parsed = parse(b"# hello\nwuff 61200\n\nmiau 61201\nwuff 61300\n");
        assert_eq!((parsed.lines, parsed.skipped), (3, 0));
        let known = parsed.assignments;
        assert_eq!(known.len(), 2);
        assert_eq!(known.number_of(&name("wuff")), Some(uid(61300)));
        assert_eq!(known.number_of(&name("miau")), Some(uid(61201)));
    }

    #[test]
    fn what_is_no_assignment_is_counted_and_skipped() {
        for bad in [
            "wuff\n",
            "wuff \n",
            "wuff 61200 ?\n",
            "wuff  61200\n",
            " wuff 61200\n",
            "wuff +61200\n",
            "wuff 061200\n",
            "wuff 0\n",
            "wuff 65534\n",
            "wuff 4294967295\n",
            "wuff 99999999999\n",
            "wuff 61200\r\n",
            "root 61200\n",
            "a/b 61200\n",
            "\u{e4} 61200\n",
            "wuff 61200",
            "wuff 612",
            "wuff\t61200\n",
            "\0\0\0\0",
        ] {
            let text = format!("miau 61201\n{bad}");
            let parsed = parse(text.as_bytes());
            assert_eq!((parsed.lines, parsed.skipped), (1, 1), "{bad:?}");
            assert_eq!(parsed.assignments.number_of(&name("wuff")), None, "{bad:?}");
        }
    }

    #[test]
    fn a_torn_line_is_never_an_assignment_after_it_was_finished() {
        let whole = line(&name("wuff"), uid(61200));
        for end in 1..whole.len() {
            let torn = whole.get(..end).expect("ASCII");
            let text = format!(
                "{torn}{END_OF_TORN_LINE}{}",
                line(&name("miau"), uid(61201))
            );
            let parsed = parse(text.as_bytes());
            assert_eq!((parsed.lines, parsed.skipped), (1, 1), "{torn:?}");
            assert_eq!(
                parsed.assignments.number_of(&name("miau")),
                Some(uid(61201))
            );
        }
    }

    #[test]
    fn a_number_belongs_to_another_only_while_another_name_has_it() {
        let (wuff, miau) = (name("wuff"), name("miau"));
        let mut known = Assignments::default();
        assert!(!known.belongs_to_another(uid(61200), &wuff));
        assert!(known.assign(&wuff, uid(61200)));
        assert!(!known.assign(&wuff, uid(61200)), "no news");
        assert!(!known.belongs_to_another(uid(61200), &wuff));
        assert!(known.belongs_to_another(uid(61200), &miau));
        assert!(known.assign(&miau, uid(61200)), "two names, one number");
        assert!(known.belongs_to_another(uid(61200), &wuff));
        assert!(known.assign(&miau, uid(61201)));
        assert!(!known.belongs_to_another(uid(61200), &wuff));
        assert!(known.belongs_to_another(uid(61201), &wuff));
    }

    #[test]
    fn the_names_asked_for_longest_ago_go_first() {
        let mut known = Assignments::default();
        for n in 0..10 {
            known.assign(&name(&format!("n{n}")), uid(61200 + n));
        }
        known.assign(&name("n0"), uid(61200));
        known.trim(3);
        assert_eq!(known.len(), 3);
        for (n, kept) in [(0, true), (1, false), (7, false), (8, true), (9, true)] {
            let found = known.number_of(&name(&format!("n{n}")));
            assert_eq!(found, kept.then(|| uid(61200 + n)), "n{n}");
            assert_eq!(known.belongs_to_another(uid(61200 + n), &name("x")), kept);
        }
        assert_eq!(
            parse(known.text().as_bytes()).assignments.text(),
            known.text()
        );
    }

    #[test]
    fn compaction_is_for_files_that_repeat_themselves() {
        assert!(!wants_compaction(64, 1));
        assert!(wants_compaction(65, 1));
        assert!(!wants_compaction(8192, 4096));
        assert!(wants_compaction(8193, 4096));
        assert!(!wants_compaction(2 * MOST_NAMES, 2 * MOST_NAMES));
        assert!(wants_compaction(2 * MOST_NAMES + 1, 2 * MOST_NAMES + 1));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(text: Vec<u8>) {
            let parsed = parse(&text);
            prop_assert!(parsed.assignments.len() <= parsed.lines);
            prop_assert!(parsed.lines.saturating_add(parsed.skipped) <= text.len());
        }

        #[test]
        fn what_is_written_is_what_is_read(
            pairs in proptest::collection::vec(("[a-e]", 61200_u32..61206), 0..60),
        ) {
            let mut known = Assignments::default();
            let mut appended = String::new();
            let mut model: HashMap<&str, u32> = HashMap::new();
            for (who, number) in &pairs {
                known.assign(&name(who), uid(*number));
                appended.push_str(&line(&name(who), uid(*number)));
                model.insert(who, *number);
            }
            for text in [known.text(), appended] {
                let read = parse(text.as_bytes());
                prop_assert_eq!(read.skipped, 0);
                prop_assert_eq!(read.assignments.text(), known.text());
            }
            for who in ["a", "b", "c", "d", "e", "f"] {
                let had = known.number_of(&name(who)).map(Uid::get);
                prop_assert_eq!(had, model.get(who).copied());
                for number in 61200..61206 {
                    let others = model.iter().any(|(other, n)| *other != who && *n == number);
                    prop_assert_eq!(known.belongs_to_another(uid(number), &name(who)), others);
                }
            }
        }
    }
}
