//! In which order numbers are tried for a name.
//!
//! Owners of the directories come first, so that a tree is used as it is; then the number that
//! the name's SHA-256 points at, so that the same name has the same UID on every host; then a
//! walk from there that meets each number of the range exactly once. Nothing is random: whoever
//! asks again gets the same answer, and the search fails only when every number was tried.

#![forbid(unsafe_code)]

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::names::UserName;
use crate::uid::{Uid, UidRange};

/// Every number to try for `name`, best first, none twice.
///
/// `owners` are the owners of the directories that the service asked for; those out of the range
/// are passed over.
pub fn candidates(name: &UserName, owners: &[u32], range: UidRange) -> impl Iterator<Item = Uid> {
    let (start, step) = walk(name, range);
    let size = range.size();
    let owners: Vec<u32> = owners
        .iter()
        .copied()
        .filter(|owner| range.contains(*owner))
        .collect();
    let round = (0..size).scan(start, move |position, _| {
        let offset = *position;
        // Both are below the size, which fits into 32 bits: the sum is taken in 64.
        let next = u64::from(offset).saturating_add(u64::from(step));
        *position = u32::try_from(next.checked_rem(u64::from(size))?).ok()?;
        Some(offset)
    });
    let mut seen = HashSet::new();
    owners
        .into_iter()
        .filter_map(Uid::new)
        .chain(round.filter_map(move |offset| range.at(offset)))
        .filter(move |uid| seen.insert(*uid))
}

/// Where the walk of a name starts, and how far each step goes: coprime with the size, so that
/// the walk is a full cycle, and taken from the hash too, so that two names that start at the
/// same number part ways at once.
fn walk(name: &UserName, range: UidRange) -> (u32, u32) {
    let hash = Sha256::digest(name.as_str().as_bytes());
    let word = |from: usize| {
        hash.iter()
            .skip(from)
            .take(8)
            .fold(0_u64, |word, byte| word << 8 | u64::from(*byte))
    };
    let size = u64::from(range.size());
    let within = |word: u64| word.checked_rem(size).and_then(|w| u32::try_from(w).ok());
    let start = within(word(0)).unwrap_or(0);
    let mut step = within(word(8)).unwrap_or(0).max(1);
    while gcd(step, range.size()) != 1 {
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
    use super::*;

    fn name(name: &str) -> UserName {
        UserName::parse(name).expect("a user name")
    }

    #[test]
    fn the_first_number_is_the_hash_of_the_name() {
        // int.from_bytes(sha256(b"wuff")[:8], "big") % 4336 + 61184, by Python
        let first = candidates(&name("wuff"), &[], UidRange::DEFAULT).next();
        assert_eq!(first.map(Uid::get), Some(63102));
    }

    #[test]
    fn the_walk_meets_every_number_once() {
        for service in ["wuff", "a", "run-1", "_x", "postgres"] {
            let all: Vec<u32> = candidates(&name(service), &[], UidRange::DEFAULT)
                .map(Uid::get)
                .collect();
            let distinct: HashSet<u32> = all.iter().copied().collect();
            assert_eq!((all.len(), distinct.len()), (4336, 4336));
            assert!(all.iter().all(|uid| UidRange::DEFAULT.contains(*uid)));
        }
    }

    #[test]
    fn owners_in_the_range_come_first_and_not_again() {
        let all: Vec<u32> = candidates(
            &name("wuff"),
            &[0, 1000, 61200, 65534, 61200, 63102],
            UidRange::DEFAULT,
        )
        .map(Uid::get)
        .collect();
        assert_eq!(all.get(..2), Some(&[61200, 63102][..]));
        assert_eq!(all.len(), 4336);
    }

    #[test]
    fn names_that_start_at_one_number_part_ways() {
        let range = UidRange::DEFAULT;
        let walks: Vec<(u32, u32)> = (0..2000)
            .map(|n| walk(&name(&format!("s{n}")), range))
            .collect();
        let starts: HashSet<u32> = walks.iter().map(|walk| walk.0).collect();
        let distinct: HashSet<&(u32, u32)> = walks.iter().collect();
        assert!(starts.len() < 2000, "some starts collide");
        assert_eq!(distinct.len(), 2000, "but no whole walk does");
    }
}
