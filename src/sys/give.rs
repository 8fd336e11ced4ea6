//! Giving a tree from one owner to another (chown(1) `-R`), where nobody can be trusted not to have built the tree
//! against us, and to go on building.
//!
//! Everything goes by descriptor. A directory is opened and given before it is read: from then on its old owner cannot
//! change the names in it. Any other entry is pinned (`O_PATH`), looked at, and changed through the same
//! descriptor: whatever is put under its name meanwhile is not touched. Only what belongs to one of the
//! old owners is given: a link that somebody made to a file of root stays root's.
//!
//! * A file with several names is given only if all of them are in the tree, in directories that nobody else can write
//!   to. Otherwise one of its names may be something that matters elsewhere.
//! * Devices are left, and what is mounted in the tree is not entered.
//! * Set-ID bits go before the owner changes, file capabilities with it: a program of the old
//!   owner must not act as the new one.
//! * In access control lists (acl(5)) the new owner stands where an old one stood.
//! * The top comes last. As long as it has its old owner the work is not done, so that an interrupted one is
//!   seen, and done again: what was given already is fine.
//!
//! Memory does not grow with the tree: names go through a short queue to as many threads as there are processors (at
//! most [`crew::MOST`]), and files with several names are counted so many at a time, in several passes.

mod acl;
mod count;
mod crew;
mod entry;
mod links;
mod pass;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, StatxFlags, fstat, statx};
use rustix::io::Errno;

pub use count::count_entries;
use entry::{Change, Hands, Held, Way, Whose};
use links::Links;
use pass::{Looker, Phase};

use super::fault::{Point, reached};
use super::{During, SysResult};

/// How often the tree is walked through if somebody moves what is in it.
const PASSES: u32 = 3;

/// How many of the entries that were left are named.
const EXAMPLES: usize = 8;

/// How many entries of one owner may be in a tree at least, whatever the file system says of itself.
#[cfg(not(test))]
const LEAST: u64 = 1 << 24;
#[cfg(test)]
const LEAST: u64 = 0;

/// After how many changes there is a point at which tests end the process.
const FAULT_EVERY: u64 = 1000;

/// An owner and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// What became of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// How many files, directories and others got the new owner, the top among them.
    pub given: u64,
    /// How many entries were left with theirs. A file with several names counts with each.
    pub left: u64,
    /// How many of these belong to one of the former owners all the same, or to nobody knows whom: what is
    /// another file system's was not looked at.
    pub kept: u64,
    /// To whom the others belong. No more than [`MOST_STRANGERS`]: further ones count as kept.
    pub strangers: BTreeSet<u32>,
    /// Some of them: the path, escaped, and the reason.
    pub examples: Vec<String>,
}

/// How many owners of what was left are told.
pub const MOST_STRANGERS: usize = 64;

/// Gives what belongs to one of `from` in the tree of the directory `top` (open for reading) to `to`, and the top last.
///
/// A group that is one of `from` becomes that of `to`, any other stays. `from` has more than one owner where an
/// earlier run to another `to` was interrupted. `shown_as` is the path of the top, for people. `progress` hears
/// now and then how many entries were looked at, from one thread and without any hurry.
///
/// # Errors
///
/// What the kernel refuses, with the path: `EROFS`, `EPERM` for what is immutable. `EBUSY` if
/// the tree grows as fast as we walk. The top has its old owner then; it may be called again.
pub fn give_tree(
    top: BorrowedFd<'_>,
    shown_as: &str,
    from: &[Ids],
    to: Ids,
    progress: &(dyn Fn(u64) + Sync),
) -> SysResult<Given> {
    let asked = statx(top, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    let giving = Giving {
        mount: asked.during("statx", shown_as)?.stx_mnt_id,
        top,
        shown_as,
        change: Change { from, to },
        links: Links::new(),
        tally: Tally::default(),
        progress,
    };
    giving.below_top()?;
    giving.top()?;
    Ok(giving.tally.given())
}

struct Giving<'a> {
    mount: u64,
    top: BorrowedFd<'a>,
    shown_as: &'a str,
    change: Change<'a>,
    links: Links,
    tally: Tally,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl Giving<'_> {
    fn below_top(&self) -> SysResult<()> {
        for _ in 0..PASSES {
            self.tally.begin();
            self.links.begin();
            self.pass(Phase::Give)?;
            if !self.tally.moved() {
                break;
            }
        }
        if self.tally.moved() {
            // All directories were given, so this is the work of somebody who has a say in one that is not his.
            self.tally.leave(&self.shown_as, "something moves in it");
        }
        for bucket in 0..self.links.buckets() {
            self.links.select(bucket);
            self.pass(Phase::Count)?;
            self.pass(Phase::Settle)?;
        }
        Ok(())
    }

    fn pass(&self, phase: Phase) -> SysResult<()> {
        let too_much = pass::run(
            &Looker {
                change: &self.change,
                links: &self.links,
                tally: &self.tally,
                phase,
                mount: self.mount,
            },
            self.top,
            self.shown_as,
            self.progress,
        )?;
        if too_much {
            return Err(Errno::BUSY)
                .during("search", format_args!("{}: grows meanwhile", self.shown_as));
        }
        Ok(())
    }

    fn top(&self) -> SysResult<()> {
        let stat = fstat(self.top).during("fstat", self.shown_as)?;
        let hands = Hands::new()?;
        let held = Held {
            fd: self.top,
            way: Way::Open,
        };
        match self.change.whose(stat.st_uid) {
            Whose::Old => {
                reached(Point::TreeGiven);
                // Whoever comes after an interruption looks at its owner only: nothing of it may be left to do.
                self.change.translate_lists(&hands, held, &self.shown_as)?;
                self.change
                    .give(&hands, held, &stat.into(), &self.shown_as)?;
                self.tally.given.fetch_add(1, Ordering::Relaxed);
            }
            Whose::New => self.change.translate_lists(&hands, held, &self.shown_as)?,
            Whose::Foreign => self.tally.leave_foreign(&self.shown_as, stat.st_uid),
        }
        Ok(())
    }
}

/// What was done, by all threads.
#[derive(Default)]
struct Tally {
    given: AtomicU64,
    left: AtomicU64,
    kept: AtomicU64,
    strangers: Mutex<BTreeSet<u32>>,
    moved: AtomicBool,
    examples: Mutex<Vec<String>>,
}

impl Tally {
    /// The tree is looked at once more: what was left is left again.
    fn begin(&self) {
        self.left.store(0, Ordering::Relaxed);
        self.kept.store(0, Ordering::Relaxed);
        self.moved.store(false, Ordering::Relaxed);
        self.examples
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn give(&self) {
        let before = self.given.fetch_add(1, Ordering::Relaxed);
        if before.is_multiple_of(FAULT_EVERY) {
            reached(Point::TreeHalfGiven);
        }
    }

    /// Leaves what is a former owner's, or was not looked at.
    fn leave(&self, path: &dyn Display, why: &str) {
        self.kept.fetch_add(1, Ordering::Relaxed);
        self.note_left(path, why);
    }

    fn note_left(&self, path: &dyn Display, why: &str) {
        self.left.fetch_add(1, Ordering::Relaxed);
        let mut examples = self.examples.lock().unwrap_or_else(PoisonError::into_inner);
        if examples.len() < EXAMPLES {
            examples.push(format!("{path}: {why}"));
        }
    }

    fn leave_foreign(&self, path: &dyn Display, uid: u32) {
        let mut strangers = self
            .strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if strangers.len() < MOST_STRANGERS {
            strangers.insert(uid);
        } else if !strangers.contains(&uid) {
            self.kept.fetch_add(1, Ordering::Relaxed);
        }
        drop(strangers);
        self.note_left(path, &format!("belongs to user {uid}"));
    }

    fn disturb(&self) {
        self.moved.store(true, Ordering::Relaxed);
    }

    fn moved(&self) -> bool {
        self.moved.load(Ordering::Relaxed)
    }

    fn given(self) -> Given {
        Given {
            given: self.given.into_inner(),
            left: self.left.into_inner(),
            kept: self.kept.into_inner(),
            strangers: self
                .strangers
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
            examples: self
                .examples
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
        }
    }
}
