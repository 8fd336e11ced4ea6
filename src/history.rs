//! Who held which number when, over reboots: `/var/lib/dynuser/history` and `history.old`.
//!
//! Numbers are reused, and old logs, audit records and backups carry only the number. A help, never a
//! need: what cannot be written is told once and everything goes on. Nobody waits for the disk: lines
//! are handed to a thread, which appends them and flushes nothing; a power cut may take the last ones with
//! it. What the lines mean is told in [`crate::history_text`]; none of it is kept in memory.
//!
//! When a file has half the size that both may have it becomes the old one, whose place it takes, and the new one
//! begins with those who are alive.

mod reading;
mod writing;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::history_text::{Event, Held, Line, When, first_moment};
use crate::lease::Lease;
use crate::life::State;
use crate::sys::clock;
use crate::timestamp::SECOND;

pub use reading::{History as Reading, read};
use writing::Writer;

/// The file that is written.
pub(crate) const FILE: &str = "history";

/// The one before.
pub(crate) const OLD: &str = "history.old";

/// How many bytes may wait to be written. Beyond that, where the disk hangs, they are given up.
const MOST_PENDING: usize = 1 << 20;

/// What the thread needs, in bytes: it reads leases.
const STACK: usize = 512 << 10;

/// Where events go. Nothing is written before [`start`](Self::start), and nothing that happened before is
/// waited for.
#[derive(Debug)]
pub struct History {
    boot: String,
    shared: Arc<Shared>,
}

/// What the writing thread and all others see.
#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// How many bytes both files may have; 0 for none at all.
    most: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    lines: String,
    /// Whether it is to be told who is alive: a daemon has begun, or something was lost.
    census: bool,
    /// Since when something was lost, by the host's clock.
    lost: Option<u64>,
    /// Whether there is a thread.
    started: bool,
    /// Whether it is at work.
    busy: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl History {
    /// One that nobody writes yet. `most` is the size of both files together, in bytes, 0 for none.
    pub fn new(boot: &str, most: u64) -> Self {
        Self {
            boot: boot.into(),
            shared: Arc::new(Shared {
                queue: Mutex::default(),
                changed: Condvar::new(),
                most: AtomicU64::new(most),
            }),
        }
    }

    /// Starts the thread that writes, with who is alive. Where there is no room for a thread, that is told, and
    /// there is no history.
    pub fn start(&self) {
        let shared = Arc::clone(&self.shared);
        let writer = Writer::new(&self.boot);
        let thread = thread::Builder::new()
            .name("history".into())
            .stack_size(STACK);
        match thread.spawn(move || write_for_ever(&shared, writer)) {
            Ok(_) => {
                let mut queue = self.shared.queue();
                queue.started = true;
                queue.census = true;
                drop(queue);
                self.shared.changed.notify_all();
            }
            Err(error) => tracing::warn!(%error, "no history is kept of who had which number"),
        }
    }

    /// How many bytes both files may have from now on.
    pub fn may_grow_to(&self, most: u64) {
        self.shared.most.store(most, Ordering::Relaxed);
    }

    /// This moment.
    pub fn now(&self) -> When {
        now(&self.boot)
    }

    /// Hands a line to the thread that writes: of a lease that has begun, see [`begun`].
    pub fn note(&self, line: &Line) {
        if self.shared.most.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut queue = self.shared.queue();
        if !queue.started {
            return;
        }
        if queue.lines.len() > MOST_PENDING {
            // What was lost before came before.
            queue.lost = queue.lost.or(first_moment(&queue.lines));
            queue.lines.clear();
            queue.census = true;
        } else {
            queue.lines.push_str(&line.to_string());
        }
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// The number of a lease was free from `when` on.
    pub fn ended(&self, lease: &Lease, when: When) {
        self.note_end(lease, when, |held, begun| Event::Ended { held, begun });
    }

    /// The number of a lease that was ending is in quarantine from now on; nothing for one that is already.
    pub fn stuck(&self, lease: &Lease) {
        if lease.state != State::Quarantined {
            self.note_end(lease, self.now(), |held, begun| Event::Stuck {
                held,
                begun,
            });
        }
    }

    fn note_end(&self, lease: &Lease, when: When, event: fn(Held, u64) -> Event) {
        // Of an earlier boot: that is what ended it.
        if is_told(lease, &self.boot) {
            let event = event(held(lease), clock_of(lease));
            self.note(&Line { when, event });
        }
    }

    /// Waits until everything is written, `patience` at most.
    pub fn finish(&self, patience: Duration) {
        let until = Instant::now().checked_add(patience);
        let mut queue = self.shared.queue();
        while queue.started && (queue.busy || queue.census || !queue.lines.is_empty()) {
            let left = until.map_or(Duration::ZERO, |until| {
                until.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return;
            }
            let waited = self.shared.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn write_for_ever(shared: &Shared, mut writer: Writer) {
    let mut queue = shared.queue();
    loop {
        while queue.census || !queue.lines.is_empty() {
            let lines = std::mem::take(&mut queue.lines);
            let census = std::mem::take(&mut queue.census);
            let lost = queue.lost.take();
            queue.busy = true;
            drop(queue);
            writer.write(&lines, census, lost, shared.most.load(Ordering::Relaxed));
            queue = shared.queue();
            queue.busy = false;
        }
        shared.changed.notify_all();
        queue = shared
            .changed
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

/// This moment of a boot.
fn now(boot: &str) -> When {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH);
    When {
        clock: u64::try_from(clock.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX),
        uptime: clock::now(),
        boot: boot.into(),
    }
}

/// The line of a lease that has begun.
pub fn begun(lease: &Lease) -> Line {
    Line {
        when: When {
            clock: clock_of(lease),
            uptime: lease.since_uptime,
            boot: lease.boot_id.clone(),
        },
        event: Event::Begun {
            held: held(lease),
            service: lease
                .holders
                .first()
                .map_or_else(String::new, |holder| holder.service.clone()),
        },
    }
}

fn clock_of(lease: &Lease) -> u64 {
    let nanos = u64::from(lease.since_nanos);
    lease.since.saturating_mul(SECOND).saturating_add(nanos)
}

fn held(lease: &Lease) -> Held {
    Held {
        uid: lease.uid,
        name: lease.name.clone(),
    }
}

/// Whether a lease is one of a dynamic user of this boot.
fn is_told(lease: &Lease, boot: &str) -> bool {
    lease.dynamic && !lease.is_damaged() && lease.boot_id == boot
}

#[cfg(test)]
mod tests;
