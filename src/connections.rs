//! Which connections are served, and how often: decided from numbers alone.
//!
//! Times are spans since an instant that the caller chooses, by a clock that cannot be set.

#![forbid(unsafe_code)]

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use crate::socket_unit::{RateLimit, Source};

/// The connections that are being served, by the processes that serve them.
#[derive(Clone, Debug)]
pub struct Connections {
    most: usize,
    most_of_a_source: Option<usize>,
    served: BTreeMap<u32, Option<Source>>,
    /// How many of each source: never 0.
    of_sources: BTreeMap<Source, usize>,
    accepted: u64,
}

/// Why a connection is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `MaxConnections=`.
    TooMany(usize),
    /// `MaxConnectionsPerSource=`.
    TooManyOf(Source, usize),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(most) => write!(f, "{most} are being served (MaxConnections=)"),
            Self::TooManyOf(source, most) => {
                let of = match source {
                    Source::Address(address) => address.to_string(),
                    Source::User(uid) => format!("user {uid}"),
                };
                write!(
                    f,
                    "{most} of {of} are being served (MaxConnectionsPerSource=)"
                )
            }
        }
    }
}

impl Connections {
    /// None yet, and so many at once, of all and of each source.
    pub fn new(most: u32, most_of_a_source: Option<u32>) -> Self {
        let number = |most: u32| usize::try_from(most).unwrap_or(usize::MAX);
        Self {
            most: number(most),
            most_of_a_source: most_of_a_source.map(number),
            served: BTreeMap::new(),
            of_sources: BTreeMap::new(),
            accepted: 0,
        }
    }

    /// The number of a connection that was accepted: each another one.
    pub fn count(&mut self) -> u64 {
        let number = self.accepted;
        self.accepted = self.accepted.saturating_add(1);
        number
    }

    /// Whether there is room for one of a source.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn admit(&self, source: Option<Source>) -> Result<(), Refused> {
        if self.served.len() >= self.most {
            return Err(Refused::TooMany(self.most));
        }
        let (Some(source), Some(most)) = (source, self.most_of_a_source) else {
            return Ok(());
        };
        match self.of_sources.get(&source) {
            Some(there) if *there >= most => Err(Refused::TooManyOf(source, most)),
            _ => Ok(()),
        }
    }

    /// A process serves one.
    pub fn begins(&mut self, pid: u32, source: Option<Source>) {
        self.served.insert(pid, source);
        if let Some(source) = source {
            let there = self.of_sources.entry(source).or_default();
            *there = there.saturating_add(1);
        }
    }

    /// A process has ended. Whether it served one.
    pub fn ends(&mut self, pid: u32) -> bool {
        let Some(source) = self.served.remove(&pid) else {
            return false;
        };
        if let Some(source) = source {
            let left = self
                .of_sources
                .get(&source)
                .map_or(0, |there| there.saturating_sub(1));
            match left {
                0 => self.of_sources.remove(&source),
                left => self.of_sources.insert(source, left),
            };
        }
        true
    }

    /// The processes that serve.
    pub fn processes(&self) -> impl Iterator<Item = u32> {
        self.served.keys().copied()
    }

    /// Whether nobody is served.
    pub fn is_empty(&self) -> bool {
        self.served.is_empty()
    }
}

/// How often something has happened since a time began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    begun: Option<Duration>,
    count: u32,
}

impl Rate {
    /// It happens once more.
    ///
    /// # Errors
    /// When the time of `limit` is over, if it was once too often.
    pub fn take(&mut self, limit: RateLimit, now: Duration) -> Result<(), Duration> {
        let end = self.begun.map(|begun| begun.saturating_add(limit.interval));
        match end {
            Some(end) if now < end => {
                self.count = self.count.saturating_add(1);
                match self.count > limit.burst {
                    true => Err(end),
                    false => Ok(()),
                }
            }
            _ => {
                self.begun = Some(now);
                self.count = 1;
                Ok(())
            }
        }
    }
}

/// How many lines are said in how much time.
const LINES: RateLimit = RateLimit {
    interval: Duration::from_secs(5),
    burst: 10,
};

/// What is said of many connections: a flood must not fill the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines {
    rate: Rate,
    kept_back: u64,
}

impl Lines {
    /// The line, if it is to be said now, with how many were not.
    pub fn say(&mut self, now: Duration, line: String) -> Option<String> {
        if self.rate.take(LINES, now).is_err() {
            self.kept_back = self.kept_back.saturating_add(1);
            return None;
        }
        let more = core::mem::take(&mut self.kept_back);
        Some(match more {
            0 => line,
            more => format!("{line} (and {more} lines more before)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<Source> = Some(Source::User(1));
    const THERE: Option<Source> = Some(Source::User(2));

    #[test]
    fn so_many_are_served_and_no_more_of_all_and_of_each_source() {
        let mut all = Connections::new(3, Some(2));
        for pid in [10, 11] {
            assert_eq!(all.admit(HERE), Ok(()));
            all.begins(pid, HERE);
        }
        assert_eq!(all.admit(HERE), Err(Refused::TooManyOf(Source::User(1), 2)));
        assert_eq!(all.admit(THERE), Ok(()));
        all.begins(12, THERE);
        assert_eq!(all.admit(THERE), Err(Refused::TooMany(3)));
        assert_eq!(all.admit(None), Err(Refused::TooMany(3)));
        assert!(all.ends(10));
        assert!(!all.ends(10));
        assert_eq!(all.admit(HERE), Ok(()));
        assert_eq!(all.processes().collect::<Vec<_>>(), [11, 12]);
        assert!(all.ends(11) && all.ends(12) && all.is_empty());
        assert!(all.of_sources.is_empty());
    }

    #[test]
    fn no_two_connections_have_a_number() {
        let mut all = Connections::new(1, None);
        assert_eq!([all.count(), all.count(), all.count()], [0, 1, 2]);
    }

    #[test]
    fn a_rate_begins_anew_when_its_time_is_over() {
        let limit = RateLimit {
            interval: Duration::from_secs(2),
            burst: 2,
        };
        let at = Duration::from_millis;
        let mut rate = Rate::default();
        assert_eq!(rate.take(limit, at(100)), Ok(()));
        assert_eq!(rate.take(limit, at(200)), Ok(()));
        assert_eq!(rate.take(limit, at(300)), Err(at(2100)));
        assert_eq!(rate.take(limit, at(2099)), Err(at(2100)));
        assert_eq!(rate.take(limit, at(2100)), Ok(()));
    }

    #[test]
    fn a_flood_says_ten_lines_and_then_how_many_more() {
        let mut lines = Lines::default();
        let at = Duration::from_secs(1);
        let said = (0..100).filter_map(|_| lines.say(at, "x".into())).count();
        assert_eq!(said, 10);
        let later = lines.say(Duration::from_secs(7), "x".into());
        assert_eq!(later.as_deref(), Some("x (and 90 lines more before)"));
    }
}
