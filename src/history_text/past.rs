//! What the lines add up to: leases with their beginnings and their ends, as far as they are known.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Event, Held, Line, When, parse};

/// How far the two clocks may differ before somebody has set one: a second, and what an NTP daemon
/// makes up for in secret (500 ppm, adjtimex(2)), twice.
const SLEWED: u64 = 1_000_000_000;

/// A thousandth.
const PART: u64 = 1000;

/// Nanoseconds of a millisecond.
const MILLI: u64 = 1_000_000;

/// How a lease ended, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It has not, as far as the lines go.
    Open,
    /// Its number was free from then on.
    At(When),
    /// Nobody wrote it down; by then it was over.
    Before(When),
    /// The host was started anew, and by that time of its clock it was over: nanoseconds since 1970.
    Reboot(u64),
}

/// A lease, from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// Which number, and whose.
    pub held: Held,
    /// The service that it began with; empty if nobody knows.
    pub service: String,
    /// When it began.
    pub begun: When,
    /// Since when the number is, or was, in quarantine, by the host's clock.
    pub stuck: Option<u64>,
    /// How it ended.
    pub end: End,
}

impl Tenure {
    /// What the host's clock can have shown while it lasted, in nanoseconds since 1970, first and last: two
    /// spans where it was set meanwhile, as the one before that began and the one after it ended. `now` is
    /// for those that last.
    pub fn spans(&self, now: &When) -> Vec<(u64, u64)> {
        let begun = &self.begun;
        let end = match &self.end {
            End::Open => now,
            End::At(end) | End::Before(end) => end,
            End::Reboot(clock) => return vec![hull(begun.clock, *clock)],
        };
        match lasted(begun, end) {
            Some(length) if is_set(begun, end, length) => vec![
                (begun.clock, begun.clock.saturating_add(length)),
                (end.clock.saturating_sub(length), end.clock),
            ],
            _ => vec![hull(begun.clock, end.clock)],
        }
    }

    /// Whether the host's clock was set while it lasted.
    pub fn clock_was_set(&self, now: &When) -> bool {
        self.spans(now).len() > 1
    }
}

fn hull(one: u64, other: u64) -> (u64, u64) {
    (one.min(other), one.max(other))
}

/// How long it was from one to the other by the boot's clock, in nanoseconds.
fn lasted(from: &When, to: &When) -> Option<u64> {
    if from.uptime == 0 || to.uptime == 0 || from.boot != to.boot {
        return None;
    }
    to.uptime.checked_sub(from.uptime)?.checked_mul(MILLI)
}

fn is_set(from: &When, to: &When, length: u64) -> bool {
    let expected = from.clock.saturating_add(length);
    let slewed = SLEWED.saturating_add(length.div_euclid(PART));
    expected.abs_diff(to.clock) > slewed
}

/// An `alive` line whose leases are still being told.
#[derive(Debug)]
struct Census {
    when: When,
    left: usize,
    there: HashSet<usize>,
}

/// Everything that was read.
#[derive(Debug, Default)]
pub struct Past {
    tenures: Vec<Tenure>,
    /// By number and beginning.
    known: HashMap<(u32, u64), usize>,
    /// Those that have no end yet, by number.
    open: BTreeMap<u32, usize>,
    /// All boots, in the order in which they were told first.
    boots: Vec<String>,
    /// That of the last line.
    boot: Option<String>,
    census: Option<Census>,
    complete_from: Option<u64>,
    /// When not everything could be written, by the host's clock in nanoseconds since 1970, first and last: who came and
    /// went in that time may be missing.
    pub gaps: Vec<(u64, u64)>,
    /// Lines that say nothing that can be understood.
    pub skipped: usize,
}

impl Past {
    /// The leases, in the order in which they were told.
    pub fn tenures(&self) -> &[Tenure] {
        &self.tenures
    }

    /// The leases, in the order in which they began: by the boots' clocks, as the host's may be set.
    pub fn in_order(&self) -> Vec<&Tenure> {
        let boots: HashMap<&str, usize> = self.boots.iter().map(String::as_str).zip(0..).collect();
        let mut all: Vec<&Tenure> = self.tenures.iter().collect();
        all.sort_by_key(|it| (boots.get(it.begun.boot.as_str()), it.begun.uptime));
        all
    }

    /// From when on every lease is told, by the host's clock in nanoseconds since 1970; older ones may be.
    pub fn complete_from(&self) -> Option<u64> {
        self.complete_from
    }

    /// Reads lines. Bytes of any kind are no error.
    pub fn read(&mut self, text: &[u8]) {
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if matches!(line, b"\n" | [b'#', .., b'\n']) {
                continue;
            }
            match std::str::from_utf8(line).ok().and_then(parse) {
                Some(line) => self.take(line),
                None => {
                    self.skipped = self.skipped.saturating_add(1);
                    // One of those that were alive, perhaps.
                    self.census = None;
                }
            }
        }
    }

    fn take(&mut self, Line { when, event }: Line) {
        self.enter(&when);
        let census = self.census.take();
        match event {
            Event::Lost { since } => self.gaps.push(hull(since, when.clock)),
            Event::Alive { count } => {
                self.complete_from.get_or_insert(when.clock);
                self.count(Census {
                    when,
                    left: count,
                    there: HashSet::new(),
                });
            }
            Event::Begun { held, service } => {
                let which = self.begin(held, service, when);
                if let Some(mut census) = census {
                    census.left = census.left.saturating_sub(1);
                    census.there.insert(which);
                    self.count(census);
                }
            }
            Event::Ended { held, begun } => {
                let uid = held.uid;
                let Some((which, tenure)) = self.find(&held, begun, &when) else {
                    return;
                };
                tenure.end = End::At(when);
                // Its number may be another's by now: two wrote at once.
                if self.open.get(&uid) == Some(&which) {
                    self.open.remove(&uid);
                }
            }
            Event::Stuck { held, begun } => {
                if let Some((_, tenure)) = self.find(&held, begun, &when) {
                    tenure.stuck.get_or_insert(when.clock);
                }
            }
        }
    }

    /// A line of another boot: what was open then is over, and was when that boot began.
    fn enter(&mut self, when: &When) {
        if self.boot.as_ref() == Some(&when.boot) {
            return;
        }
        self.boot = Some(when.boot.clone());
        if !self.boots.contains(&when.boot) {
            self.boots.push(when.boot.clone());
        }
        let start = when.clock.saturating_sub(when.uptime.saturating_mul(MILLI));
        self.close(|_, tenure| (tenure.begun.boot != when.boot).then_some(End::Reboot(start)));
    }

    /// When all that are alive have been told, the others are not.
    fn count(&mut self, census: Census) {
        if census.left > 0 {
            self.census = Some(census);
            return;
        }
        let Census { when, there, .. } = census;
        self.close(|which, tenure| {
            // Whoever counted may have looked before it began.
            let older = tenure.begun.uptime < when.uptime && tenure.begun.boot == when.boot;
            (older && !there.contains(&which)).then(|| End::Before(when.clone()))
        });
    }

    /// Gives an end to those that are open and for which there is one.
    fn close(&mut self, end: impl Fn(usize, &Tenure) -> Option<End>) {
        let tenures = &mut self.tenures;
        self.open.retain(|_, which| {
            let Some(tenure) = tenures.get_mut(*which) else {
                return false;
            };
            let over = end(*which, tenure);
            let stays = over.is_none();
            if let Some(over) = over {
                tenure.end = over;
            }
            stays
        });
    }

    /// A lease begins, or is told once more.
    fn begin(&mut self, held: Held, service: String, when: When) -> usize {
        let (uid, key) = (held.uid, (held.uid, when.clock));
        let known = self.known.get(&key).copied();
        let same = known.filter(|which| {
            let tenure = self.tenures.get(*which);
            tenure.is_some_and(|it| it.held == held && it.begun.boot == when.boot)
        });
        let which = same.unwrap_or(self.tenures.len());
        match same.and_then(|which| self.tenures.get_mut(which)) {
            // What was written down is an end; what was only concluded was none.
            Some(Tenure {
                end: End::At(_), ..
            }) => return which,
            Some(tenure) => tenure.end = End::Open,
            None => {
                let begun = when.clone();
                self.tenures.push(Tenure {
                    held,
                    service,
                    begun,
                    stuck: None,
                    end: End::Open,
                });
                self.known.insert(key, which);
            }
        }
        let former = self.open.insert(uid, which).filter(|it| *it != which);
        // A number is one lease's at a time.
        if let Some(former) = former.and_then(|former| self.tenures.get_mut(former)) {
            former.end = End::Before(when);
        }
        which
    }

    /// The lease of a line about its end. After the boot that it began in there is none to be told.
    fn find(&mut self, held: &Held, begun: u64, when: &When) -> Option<(usize, &mut Tenure)> {
        let which = *self.known.get(&(held.uid, begun))?;
        let tenure = self.tenures.get_mut(which)?;
        (tenure.held == *held && tenure.begun.boot == when.boot).then_some((which, tenure))
    }
}
