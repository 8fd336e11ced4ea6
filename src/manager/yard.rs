//! Where directories are looked at and changed: each piece of ground by one activation at a time.
//!
//! Whoever is slow, because a tree is long to give or to remove or a file system does not answer, keeps
//! waiting only those who want the same ground.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::adopted;
use crate::apply::Workshop;
use crate::exec_directory::{ExecDirectory, Ground};
use crate::failure::Failure;

/// Private directories that are kept at their public paths, with the owner of each.
type Adopted = Option<Vec<(u32, ExecDirectory)>>;

/// The whole of it.
#[derive(Debug, Default)]
pub(super) struct Yard {
    pub(super) workshop: Workshop,
    taken: Mutex<Vec<Ground>>,
    left: Condvar,
    /// Nothing, until somebody looks.
    adopted: Mutex<Adopted>,
}

/// Ground that nobody else may enter as long as this lives.
#[derive(Debug)]
pub(super) struct Entered<'a> {
    yard: &'a Yard,
    grounds: Vec<Ground>,
}

impl Yard {
    /// Waits until nobody is on any of these grounds, and keeps others from them.
    pub(super) fn enter(&self, mut grounds: Vec<Ground>) -> Entered<'_> {
        grounds.sort();
        grounds.dedup();
        let busy = |taken: &mut Vec<Ground>| taken.iter().any(|theirs| grounds.contains(theirs));
        let taken = self.left.wait_while(lock(&self.taken), busy);
        taken
            .unwrap_or_else(PoisonError::into_inner)
            .extend(grounds.iter().cloned());
        Entered {
            yard: self,
            grounds,
        }
    }

    /// What is adopted: looked for once, and again when that has changed.
    ///
    /// # Errors
    /// Those of [`adopted::look`].
    pub(super) fn adopted(&self) -> Result<MutexGuard<'_, Adopted>, Failure> {
        let mut adopted = lock(&self.adopted);
        if adopted.is_none() {
            *adopted = Some(adopted::look()?);
        }
        Ok(adopted)
    }

    /// It has changed.
    pub(super) fn forget_adopted(&self) {
        *lock(&self.adopted) = None;
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        // Nobody else has entered these.
        lock(&self.yard.taken).retain(|other| !self.grounds.contains(other));
        self.yard.left.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
