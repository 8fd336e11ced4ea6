//! In which order numbers are tried for a name.
//!
//! Owners of the directories come first, so that a tree is used as it is; then the number that the
//! registry remembers for the name; then the one that the name's SHA-256 points at, so that the
//! same name has the same UID on every host; then a walk from there that meets each number of the
//! ranges exactly once. Numbers that the registry gives to another name come after all others: a
//! name keeps its number as long as there is any other to hand out.
//!
//! Nothing is random: whoever asks again gets the same answer, and the search fails only when every
//! number was tried.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use sha2::{Digest, Sha256};

use crate::names::UserName;
use crate::uid::{Uid, UidRanges};

/// Every number to try for `name`, best first, none twice.
///
/// `owners` are the owners of the directories that the service asked for, `remembered` is the number
/// that the name had last; those out of the ranges are passed over. `belongs_to_another` says
/// whether the registry gives a number to another name. It is asked only as far as the search goes,
/// which mostly ends at the first number.
pub fn candidates<'a>(
    name: &UserName,
    owners: &[u32],
    remembered: Option<u32>,
    ranges: &'a UidRanges,
    belongs_to_another: impl Fn(Uid) -> bool + 'a,
) -> impl Iterator<Item = Uid> + 'a {
    let mut preferred = Vec::new();
    for number in owners.iter().copied().chain(remembered) {
        let uid = Uid::new(number).filter(|uid| ranges.contains(uid.get()));
        preferred.extend(uid.filter(|uid| !preferred.contains(uid)));
    }
    let (start, step) = walk(name, ranges);
    Candidates {
        ranges,
        preferred,
        given: 0,
        offset: start,
        step,
        left: ranges.size(),
        belongs_to_another,
        passed_over: VecDeque::new(),
    }
}

/// The search, as far as it has gone.
struct Candidates<'a, F> {
    ranges: &'a UidRanges,
    /// What comes before the walk, and is passed over by it.
    preferred: Vec<Uid>,
    /// How many of these were given.
    given: usize,
    /// Where the walk is, how far each step goes, and how many steps are left of the round.
    offset: u32,
    step: u32,
    left: u32,
    belongs_to_another: F,
    /// What the walk left out because another name has it. Kept, and not found again by asking
    /// again: the registry may change meanwhile, and then a number would come twice or never.
    passed_over: VecDeque<Uid>,
}

impl<F: Fn(Uid) -> bool> Iterator for Candidates<'_, F> {
    type Item = Uid;

    fn next(&mut self) -> Option<Uid> {
        if let Some(uid) = self.preferred.get(self.given) {
            self.given = self.given.saturating_add(1);
            return Some(*uid);
        }
        while let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            let uid = self.ranges.at(self.offset);
            // Both are below the size, which fits into 32 bits: the sum is taken in 64.
            let next = u64::from(self.offset).saturating_add(u64::from(self.step));
            let next = next.checked_rem(u64::from(self.ranges.size()))?;
            self.offset = u32::try_from(next).ok()?;
            match uid.filter(|uid| !self.preferred.contains(uid)) {
                None => {}
                Some(uid) if (self.belongs_to_another)(uid) => self.passed_over.push_back(uid),
                free => return free,
            }
        }
        self.passed_over.pop_front()
    }
}

/// Where the walk of a name starts, and how far each step goes: coprime with the size, so that
/// the walk is a full cycle, and taken from the hash too, so that two names that start at the
/// same number part ways at once.
fn walk(name: &UserName, ranges: &UidRanges) -> (u32, u32) {
    let hash = Sha256::digest(name.as_str().as_bytes());
    let word = |from: usize| {
        hash.iter()
            .skip(from)
            .take(8)
            .fold(0_u64, |word, byte| word << 8 | u64::from(*byte))
    };
    let size = u64::from(ranges.size());
    let within = |word: u64| word.checked_rem(size).and_then(|w| u32::try_from(w).ok());
    let start = within(word(0)).unwrap_or(0);
    let mut step = within(word(8)).unwrap_or(0).max(1);
    while gcd(step, ranges.size()) != 1 {
        step = step.saturating_add(1);
    }
    (start, step)
}

fn gcd(a: u32, b: u32) -> u32 {
    match a.checked_rem(b) {
        Some(rest) => gcd(b, rest),
        None => a,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]

    use std::cell::Cell;
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::uid::UidRange;

    fn name(name: &str) -> UserName {
        UserName::parse(name).expect("a user name")
    }

    fn all(service: &str, owners: &[u32], remembered: Option<u32>, another: &[u32]) -> Vec<u32> {
        let ranges = UidRanges::default();
        let another = |uid: Uid| another.contains(&uid.get());
        candidates(&name(service), owners, remembered, &ranges, another)
            .map(Uid::get)
            .collect()
    }

    #[test]
    fn the_first_number_is_the_hash_of_the_name() {
        // By Python: h = sha256(b"wuff").digest(); start, step = (int.from_bytes(h[i:i + 8], "big") %
        // 4336 for i in (0, 8)); start + 61184 is the first; 1491 is the next step that is coprime.
        let found = all("wuff", &[], None, &[]);
        assert_eq!(found.get(..2), Some(&[63102, 64593][..]));
    }

    #[test]
    fn the_walk_meets_every_number_once() {
        for service in ["wuff", "a", "run-1", "_x", "postgres"] {
            let found = all(service, &[], None, &[]);
            let distinct: HashSet<&u32> = found.iter().collect();
            assert_eq!((found.len(), distinct.len()), (4336, 4336));
            assert!(found.iter().all(|uid| UidRange::DEFAULT.contains(*uid)));
        }
    }

    #[test]
    fn owners_come_first_then_the_remembered_number_and_none_again() {
        let owners = [0, 1000, 61200, 65534, 61200, 63102];
        let found = all("wuff", &owners, Some(61300), &[]);
        assert_eq!(found.get(..3), Some(&[61200, 63102, 61300][..]));
        assert_eq!(found.len(), 4336);
        assert_eq!(
            all("wuff", &[], Some(61300), &[]).get(..2),
            Some(&[61300, 63102][..])
        );
        let out = all("wuff", &[], Some(70000), &[]);
        assert_eq!(out.first(), Some(&63102), "out of the ranges");
    }

    #[test]
    fn numbers_of_other_names_come_last_and_in_the_order_of_the_walk() {
        let plain = all("wuff", &[], None, &[]);
        let another = plain.get(..3).expect("three").to_vec();
        let found = all("wuff", &[], None, &another);
        assert_eq!(found.get(..4333), plain.get(3..));
        assert_eq!(found.get(4333..), Some(&another[..]));
        // A directory of the number is stronger than another name's memory.
        let found = all("wuff", &another, None, &another);
        assert_eq!(found.get(..3), Some(&another[..]));
    }

    #[test]
    fn an_excluded_number_moves_no_other_name() {
        let without = UidRange::parse("63102").expect("a range");
        let ranges = UidRanges::new(&[UidRange::DEFAULT], &[without]).expect("ranges");
        let nobody = |_| false;
        for service in ["a", "run-1", "_x", "postgres"] {
            let found = candidates(&name(service), &[], None, &ranges, nobody).next();
            assert_eq!(
                found.map(Uid::get),
                all(service, &[], None, &[]).first().copied()
            );
        }
        let found: Vec<u32> = candidates(&name("wuff"), &[], None, &ranges, nobody)
            .map(Uid::get)
            .collect();
        assert_eq!(Some(&found[..]), all("wuff", &[], None, &[]).get(1..));
    }

    #[test]
    fn the_common_request_asks_for_one_number() {
        let asked = Cell::new(0);
        let ranges = UidRanges::default();
        let count = |_| {
            asked.set(asked.get() + 1);
            false
        };
        let first = candidates(&name("wuff"), &[], None, &ranges, count).next();
        assert_eq!((first.map(Uid::get), asked.get()), (Some(63102), 1));
    }

    #[test]
    fn names_that_start_at_one_number_part_ways() {
        let ranges = UidRanges::default();
        let walks: Vec<(u32, u32)> = (0..2000)
            .map(|n| walk(&name(&format!("s{n}")), &ranges))
            .collect();
        let starts: HashSet<u32> = walks.iter().map(|walk| walk.0).collect();
        let distinct: HashSet<&(u32, u32)> = walks.iter().collect();
        assert!(starts.len() < 2000, "some starts collide");
        assert_eq!(distinct.len(), 2000, "but no whole walk does");
    }

    proptest! {
        #[test]
        fn every_usable_number_comes_once_and_in_order(
            service in "[a-z_][a-z0-9_-]{0,30}",
            pairs in prop::collection::vec((1_u32..3000, 0_u32..40), 1..12),
            out in prop::collection::vec((1_u32..3000, 0_u32..40), 0..12),
            owners in prop::collection::vec(1_u32..3000, 0..6),
            remembered in prop::option::of(1_u32..3000),
            another in prop::collection::hash_set(1_u32..3100, 0..600),
            // What the registry says may change while somebody searches.
            flips in any::<bool>(),
        ) {
            prop_assume!(service != "root" && service != "nobody");
            let list = |pairs: &[(u32, u32)]| -> Vec<UidRange> {
                pairs.iter().filter_map(|(first, more)| UidRange::new(*first, first + more)).collect()
            };
            let ranges = UidRanges::new(&list(&pairs), &list(&out));
            prop_assume!(ranges.is_ok());
            let ranges = ranges.expect("just looked");
            let calls = Cell::new(0_u32);
            let belongs = |uid: Uid| {
                calls.set(calls.get() + 1);
                another.contains(&uid.get()) != (flips && calls.get().is_multiple_of(3))
            };
            let found: Vec<u32> = candidates(&name(&service), &owners, remembered, &ranges, belongs)
                .map(Uid::get)
                .collect();
            let mut sorted = found.clone();
            sorted.sort_unstable();
            let usable: Vec<u32> = ranges.iter().map(Uid::get).collect();
            prop_assert_eq!(sorted, usable);
            let mut first: Vec<u32> = Vec::new();
            for number in owners.iter().copied().chain(remembered) {
                if ranges.contains(number) && !first.contains(&number) {
                    first.push(number);
                }
            }
            prop_assert_eq!(found.get(..first.len()), Some(&first[..]));
            if !flips {
                let rest = found.get(first.len()..).unwrap_or_default();
                prop_assert!(rest.is_sorted_by_key(|number| another.contains(number)));
            }
        }
    }
}
