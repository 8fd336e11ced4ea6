//! How many entries a tree has.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FileType;

use super::LEAST;
use crate::sys::SysResult;
use crate::sys::walk::{Entry, Listed, Next, Visitor, show};

/// How many entries there are below `top`, or how many were counted until `stop` was set.
///
/// Only lists directories: a small part of the time that [`super::give_tree`] needs. Nothing is exact of
/// a tree that changes.
///
/// # Errors
///
/// What the kernel refuses, with the path.
pub fn count_entries(top: BorrowedFd<'_>, shown_as: &str, stop: &AtomicBool) -> SysResult<u64> {
    let mut count = Count { entries: 0, stop };
    show(top, shown_as, LEAST, &mut count)?;
    Ok(count.entries)
}

struct Count<'a> {
    entries: u64,
    stop: &'a AtomicBool,
}

impl Count<'_> {
    fn count(&mut self, directory: bool) -> Next {
        self.entries = self.entries.saturating_add(1);
        match directory {
            _ if self.stop.load(Ordering::Relaxed) => Next::Stop,
            true => Next::Enter,
            false => Next::Skip,
        }
    }
}

impl Visitor for Count<'_> {
    fn listed(&mut self, listed: &Listed<'_>) -> SysResult<Option<Next>> {
        Ok(Some(self.count(listed.kind == FileType::Directory)))
    }

    fn visit(&mut self, entry: &Entry<'_>) -> SysResult<Next> {
        Ok(self.count(entry.directory))
    }
}
