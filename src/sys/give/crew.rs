//! Threads that share the work on a tree: one walks, all handle what it finds.
//!
//! The walk never waits for the others: what has no room in their queue it handles itself. So it goes on
//! with no other thread at all, should there be none to be had.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use rustix::fs::FileType;
use rustix::io::fcntl_dupfd_cloexec;

use super::entry::Hands;
use super::{During, SysResult};
use crate::sys::SysError;
use crate::sys::walk::Listed;

/// The most threads.
pub(super) const MOST: usize = 4;

/// What a batch has at most: names, and directories, each of which is a descriptor.
const NAMES: usize = 256;
const FOLDERS: usize = 8;

/// How many batches wait for each thread at most.
const WAITING: usize = 2;

/// Names in one directory.
pub(super) struct Folder {
    fd: OwnedFd,
    reading: u64,
    pub(super) path: String,
    /// Each with its NUL, one after the other.
    names: Vec<u8>,
    inodes: Vec<u64>,
    /// Which of them were files, by what the directory says.
    files: Vec<bool>,
}

/// A name in a directory, with what that says of it.
pub(super) struct Named<'a> {
    pub(super) name: &'a CStr,
    pub(super) inode: u64,
    /// Whether it is a file, and nothing that does something when it is opened.
    pub(super) file: bool,
}

impl Folder {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The names.
    pub(super) fn entries(&self) -> impl Iterator<Item = Named<'_>> {
        let names = self.names.split_inclusive(|byte| *byte == 0);
        names
            .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
            .zip(self.inodes.iter().copied().zip(self.files.iter().copied()))
            .map(|(name, (inode, file))| Named { name, inode, file })
    }
}

type Batch = Vec<Folder>;

/// What is done with each folder.
type Work<'a> = dyn Fn(&Hands, &Folder) -> SysResult<()> + Sync + 'a;

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    closed: bool,
    failure: Option<SysError>,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch; none if there is nothing any more.
    fn next(&self) -> Option<Batch> {
        let mut state = self.state();
        loop {
            if let Some(batch) = state.batches.pop_front() {
                return Some(batch);
            }
            if state.closed {
                return None;
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The first failure counts, and nothing is begun any more.
    fn fail(&self, error: SysError) {
        let mut state = self.state();
        state.failure.get_or_insert(error);
        state.batches.clear();
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}

/// The thread that walks, and those that help it.
pub(super) struct Crew<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    queue: &'env Queue,
    work: &'env Work<'env>,
    hands: Hands,
    pending: Batch,
    names: usize,
    helpers: usize,
    most: usize,
}

/// Lets `walk` find folders for `work`. Returns when all work is done.
///
/// # Errors
///
/// The first of `walk` and of `work`: the rest is not done.
pub(super) fn with_crew<T>(
    work: &Work<'_>,
    walk: impl FnOnce(&mut Crew<'_, '_>) -> SysResult<T>,
) -> SysResult<T> {
    let hands = Hands::new()?;
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let queue = Queue::default();
    let walked = thread::scope(|scope| {
        let mut crew = Crew {
            scope,
            queue: &queue,
            work,
            hands,
            pending: Batch::new(),
            names: 0,
            helpers: 0,
            most: processors.min(MOST).saturating_sub(1),
        };
        let walked = walk(&mut crew).and_then(|walked| crew.finish().map(|()| walked));
        if let Err(error) = &walked {
            queue.fail(error.clone());
        }
        // Or the others wait for ever, and we for them.
        queue.close();
        walked
    });
    let failure = queue.state().failure.take();
    failure.map_or(walked, Err)
}

impl Crew<'_, '_> {
    pub(super) fn hands(&self) -> &Hands {
        &self.hands
    }

    /// One more name for `work`, sooner or later.
    pub(super) fn add(&mut self, entry: &Listed<'_>) -> SysResult<()> {
        if self
            .pending
            .last()
            .is_none_or(|folder| folder.reading != entry.reading)
        {
            if self.pending.len() >= FOLDERS {
                self.hand_over()?;
            }
            self.pending.push(Folder {
                // The walk closes its own when it goes on.
                fd: fcntl_dupfd_cloexec(entry.parent, 0).during("fcntl", entry.above)?,
                reading: entry.reading,
                path: entry.above.to_owned(),
                names: Vec::new(),
                inodes: Vec::new(),
                files: Vec::new(),
            });
        }
        if let Some(folder) = self.pending.last_mut() {
            folder.names.extend(entry.name.to_bytes_with_nul());
            folder.inodes.push(entry.inode);
            folder.files.push(entry.kind == FileType::RegularFile);
        }
        self.names = self.names.saturating_add(1);
        if self.names >= NAMES {
            self.hand_over()?;
        }
        Ok(())
    }

    fn hand_over(&mut self) -> SysResult<()> {
        let batch = std::mem::take(&mut self.pending);
        self.names = 0;
        if self.helpers < self.most {
            self.help();
        }
        let mut state = self.queue.state();
        if let Some(error) = &state.failure {
            return Err(error.clone());
        }
        if state.batches.len() < self.helpers.saturating_mul(WAITING) {
            state.batches.push_back(batch);
            drop(state);
            self.queue.changed.notify_one();
            return Ok(());
        }
        drop(state);
        batch
            .iter()
            .try_for_each(|folder| (self.work)(&self.hands, folder))
    }

    fn help(&mut self) {
        let (queue, work) = (self.queue, self.work);
        let started = thread::Builder::new()
            .name("giver".into())
            .spawn_scoped(self.scope, move || help(queue, work));
        match started {
            Ok(_) => self.helpers = self.helpers.saturating_add(1),
            Err(error) => {
                tracing::debug!(%error, "no further thread");
                self.most = self.helpers;
            }
        }
    }

    fn finish(&mut self) -> SysResult<()> {
        let mut last = Some(std::mem::take(&mut self.pending));
        while let Some(batch) = last {
            for folder in &batch {
                (self.work)(&self.hands, folder)?;
            }
            last = self.queue.state().batches.pop_front();
        }
        Ok(())
    }
}

fn help(queue: &Queue, work: &Work<'_>) {
    let hands = match Hands::new() {
        Ok(hands) => hands,
        Err(error) => return queue.fail(error),
    };
    while let Some(batch) = queue.next() {
        let done = batch.iter().try_for_each(|folder| work(&hands, folder));
        if let Err(error) = done {
            return queue.fail(error);
        }
    }
}
