//! Which files with several names have all of them in the tree.
//!
//! Somebody can make a million such files, so no more than [`MOST`] are counted at once: a pass counts those whose
//! inode falls into one bucket. The key of the hash is random: nobody can fill one bucket on purpose.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::remove::FileId;

/// How many files are counted at once, a few megabytes.
#[cfg(not(test))]
const MOST: usize = 65_536;
#[cfg(test)]
pub(super) const MOST: usize = 64;

/// How many of them a bucket has on average: the difference is for chance.
const AVERAGE: usize = MOST / 2;

#[derive(Default)]
struct Found {
    links: u32,
    seen: u32,
}

#[derive(Default)]
struct State {
    /// By inode, then device: the directory tells only the inode.
    files: BTreeMap<(u64, u64), Found>,
    /// How many names of such files there are.
    names: u64,
    /// Not all of them are in `files`.
    crowded: bool,
    /// The directory gives other inode numbers than the files have (overlayfs).
    unreliable: bool,
    bucket: u64,
    buckets: u64,
}

pub(super) struct Links {
    key: RandomState,
    state: Mutex<State>,
}

impl Links {
    pub(super) fn new() -> Self {
        Self {
            key: RandomState::new(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything.
    pub(super) fn begin(&self) {
        *self.state() = State::default();
    }

    /// A name of a file with several was met.
    pub(super) fn note(&self, id: FileId, listed: u64) {
        let mut state = self.state();
        let (device, inode) = id;
        state.names = state.names.saturating_add(1);
        state.unreliable |= listed != inode;
        if state.files.len() < MOST {
            state.files.entry((inode, device)).or_default();
        } else if !state.files.contains_key(&(inode, device)) {
            state.crowded = true;
        }
    }

    /// How many buckets there are to be counted. None if no such file was met.
    pub(super) fn buckets(&self) -> u64 {
        let mut state = self.state();
        let average = u64::try_from(AVERAGE).unwrap_or(u64::MAX).max(1);
        state.buckets = match (state.names, state.crowded) {
            (0, _) => 0,
            (_, false) => 1,
            (names, true) => names.div_ceil(average),
        };
        state.buckets
    }

    /// Begins with a bucket.
    pub(super) fn select(&self, bucket: u64) {
        let mut state = self.state();
        state.bucket = bucket;
        if state.crowded {
            state.files.clear();
        }
    }

    /// Whether a file of this inode, by what its directory says, can be one of the bucket.
    pub(super) fn wanted(&self, listed: u64) -> bool {
        let state = self.state();
        if state.unreliable {
            return true;
        }
        if state.crowded {
            return self.in_bucket(&state, listed);
        }
        let mut same = state.files.range((listed, 0)..=(listed, u64::MAX));
        same.next().is_some()
    }

    fn in_bucket(&self, state: &State, inode: u64) -> bool {
        self.key
            .hash_one(inode)
            .checked_rem(state.buckets)
            .is_none_or(|bucket| bucket == state.bucket)
    }

    /// One more name of a file that has `links` of them.
    pub(super) fn count(&self, id: FileId, links: u32) {
        let mut guard = self.state();
        let state = &mut *guard;
        let (device, inode) = id;
        // What comes new now waits for no turn: it is left, as one not all of whose names were seen.
        if state.crowded && self.in_bucket(state, inode) && state.files.len() < MOST {
            state.files.entry((inode, device)).or_default();
        }
        if let Some(found) = state.files.get_mut(&(inode, device)) {
            found.links = found.links.max(links);
            found.seen = found.seen.saturating_add(1);
        }
    }

    /// Whether all names of a file of this bucket, that has `links` of them now, are in the tree. None: it is of another
    /// bucket.
    pub(super) fn complete(&self, id: FileId, links: u32) -> Option<bool> {
        let state = self.state();
        let (device, inode) = id;
        match state.files.get(&(inode, device)) {
            Some(found) => Some(found.seen >= found.links && found.seen >= links),
            None if state.crowded && !self.in_bucket(&state, inode) => None,
            None => Some(false),
        }
    }
}
