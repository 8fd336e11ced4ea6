//! Threads for what takes its time, of which there is always one.
//!
//! Whoever fills the table of processes (a service that forks for ever) leaves no room for a new thread
//! either. What ends it must not need one: tokio's own pool has none after a while without work, and the
//! program panics when it cannot start one.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{During, SysResult};

/// How long a thread waits for work before it ends.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// The threads, and what they have to do.
#[derive(Clone)]
pub struct Workers(Arc<Shared>);

struct Shared {
    most: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.0.state();
        let State { threads, idle, .. } = *state;
        write!(f, "Workers({threads} threads, {idle} idle)")
    }
}

impl Workers {
    /// One thread, and up to `most` as they are needed and can be had.
    ///
    /// # Errors
    /// Those of clone(2).
    pub fn new(most: usize) -> SysResult<Self> {
        let shared = Arc::new(Shared {
            most,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        shared.state().threads = 1;
        start(&shared, true).during("clone", "the first worker")?;
        Ok(Self(shared))
    }

    /// Does `work`, as soon as a thread is free for it: there is one sooner or later. It is done whether or not
    /// anybody waits for what it gives.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (done, waiting) = oneshot::channel();
        let shared = &self.0;
        let mut state = shared.state();
        // Who does not wait any more is no error.
        state
            .jobs
            .push_back(Box::new(move || drop(done.send(work()))));
        let more = state.jobs.len() > state.idle && state.threads < shared.most;
        if more {
            state.threads = state.threads.saturating_add(1);
        }
        drop(state);
        if more && let Err(error) = start(shared, false) {
            // The others come to it.
            tracing::debug!(%error, "no new thread");
            let mut state = shared.state();
            state.threads = state.threads.saturating_sub(1);
        }
        shared.changed.notify_all();
        waiting
    }

    /// Waits until everything is done, `patience` at most.
    pub fn finish(&self, patience: Duration) {
        let until = Instant::now().checked_add(patience);
        let mut state = self.0.state();
        while !state.jobs.is_empty() || state.idle < state.threads {
            let left = until.map_or(Duration::ZERO, |until| {
                until.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return;
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What one thread does. The first one stays.
    fn work(&self, first: bool) {
        let mut state = self.state();
        loop {
            while let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.state();
            }
            state.idle = state.idle.saturating_add(1);
            self.changed.notify_all();
            let waited = self
                .changed
                .wait_timeout_while(state, KEEP_ALIVE, |state| state.jobs.is_empty());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle = state.idle.saturating_sub(1);
            if state.jobs.is_empty() && !first {
                state.threads = state.threads.saturating_sub(1);
                return;
            }
        }
    }
}

fn start(shared: &Arc<Shared>, first: bool) -> std::io::Result<()> {
    let shared = Arc::clone(shared);
    let thread = thread::Builder::new().name("worker".into());
    thread.spawn(move || shared.work(first)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn as_many_as_there_may_be_work_at_once_and_all_work_is_done() {
        let workers = Workers::new(3).expect("a thread");
        let together = Arc::new(Barrier::new(3));
        let jobs: Vec<_> = (0..30)
            .map(|number| {
                let together = Arc::clone(&together);
                workers.run(move || {
                    // Three must come here at the same time, or nobody gets on.
                    together.wait();
                    number
                })
            })
            .collect();
        let done: Vec<i32> = jobs
            .into_iter()
            .map(|job| job.blocking_recv().expect("an answer"))
            .collect();
        assert_eq!(done, (0..30).collect::<Vec<i32>>());
        workers.finish(Duration::from_secs(20));
        assert!(workers.0.state().threads <= 3);
    }

    #[test]
    fn what_nobody_waits_for_is_done_before_the_end() {
        let workers = Workers::new(1).expect("a thread");
        let (done, told) = std::sync::mpsc::channel();
        for number in 0..3 {
            let done = done.clone();
            drop(workers.run(move || done.send(number)));
        }
        workers.finish(Duration::from_secs(20));
        assert_eq!(told.try_iter().collect::<Vec<i32>>(), [0, 1, 2]);
    }
}
