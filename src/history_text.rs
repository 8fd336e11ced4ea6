//! Who held which number when, as the lines of a file and what they add up to.
//!
//! One event a line, words with one space between them, and one spelling:
//!
//! - `begun TIME UPTIME BOOT UID NAME SERVICE`: a lease begins. Said again, it is still the same one.
//! - `ended TIME UPTIME BOOT UID NAME BEGUN`: its number is free, where it began at BEGUN.
//! - `stuck TIME UPTIME BOOT UID NAME BEGUN`: the number is in quarantine.
//! - `lost TIME UPTIME BOOT SINCE`: from SINCE on, until TIME, not everything could be written.
//! - `alive TIME UPTIME BOOT COUNT`: as many leases as follow, and no others, were there at that time.
//!
//! TIME is the host's clock (seconds since 1970, nine digits behind the point), UPTIME the boot's (seconds,
//! three digits), which nobody can set. Lines that begin with `#` are for people. A line counts only
//! with its end: one that was cut short by a power cut may read like a smaller number.
//!
//! A daemon that begins, or begins a file, says who is `alive`. So the file needs no reader to be written,
//! an event that was lost is noticed, and what is not known is not made up: see [`End`].

#![forbid(unsafe_code)]

mod past;

use std::fmt;

use crate::names::{ServiceName, UserName};
use crate::timestamp::SECOND;

pub use past::{End, Past, Tenure};

/// The first line of the file.
pub const HEADER: &str = "# dynuser: who held which number when. Only a help: it may be removed.\n";

/// Milliseconds of a second.
const MILLI: u64 = 1000;

/// A moment by both clocks, and the boot that they are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// The host's clock, which may be set: nanoseconds since 1970.
    pub clock: u64,
    /// The boot's clock: milliseconds since it began. 0 if nobody knows.
    pub uptime: u64,
    /// The boot, as `/proc/sys/kernel/random/boot_id` has it.
    pub boot: String,
}

/// A number and who had it: with the boot and the moment of its beginning, one lease and no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The number.
    pub uid: u32,
    /// The user's name.
    pub name: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A lease began at that moment.
    Begun {
        /// Whose.
        held: Held,
        /// The service that it began with; nothing, if it is not known.
        service: String,
    },
    /// Its number is free.
    Ended {
        /// Whose.
        held: Held,
        /// When it began, by the host's clock.
        begun: u64,
    },
    /// Its number is in quarantine.
    Stuck {
        /// Whose.
        held: Held,
        /// When it began, by the host's clock.
        begun: u64,
    },
    /// Not everything until then could be written.
    Lost {
        /// From when on, by the host's clock.
        since: u64,
    },
    /// The leases of the next lines were there, and no others.
    Alive {
        /// How many lines that is.
        count: usize,
    },
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub when: When,
    /// What.
    pub event: Event,
}

/// A time of the host's clock.
struct Clock(u64);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, rest) = (self.0.div_euclid(SECOND), self.0.rem_euclid(SECOND));
        write!(f, "{seconds}.{rest:09}")
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let When {
            clock,
            uptime,
            boot,
        } = &self.when;
        let (seconds, rest) = (uptime.div_euclid(MILLI), uptime.rem_euclid(MILLI));
        let when = format_args!("{} {seconds}.{rest:03} {boot}", Clock(*clock));
        let of = |f: &mut fmt::Formatter<'_>, word: &str, held: &Held, begun: u64| {
            let Held { uid, name } = held;
            writeln!(f, "{word} {when} {uid} {name} {}", Clock(begun))
        };
        match &self.event {
            Event::Begun { held, service } => {
                let Held { uid, name } = held;
                let service = if service.is_empty() { "-" } else { service };
                writeln!(f, "begun {when} {uid} {name} {service}")
            }
            Event::Ended { held, begun } => of(f, "ended", held, *begun),
            Event::Stuck { held, begun } => of(f, "stuck", held, *begun),
            Event::Lost { since } => writeln!(f, "lost {when} {}", Clock(*since)),
            Event::Alive { count } => writeln!(f, "alive {when} {count}"),
        }
    }
}

/// Reads a line, which must have its end: `None` for one that says nothing that can be understood.
pub fn parse(line: &str) -> Option<Line> {
    let mut words = line.strip_suffix('\n')?.split(' ');
    let word = words.next()?;
    let when = When {
        clock: fixed(words.next()?, 9)?,
        uptime: fixed(words.next()?, 3)?,
        boot: words.next().filter(|boot| is_boot(boot))?.into(),
    };
    let event = if word == "alive" {
        let count = words.next()?.parse().ok()?;
        Event::Alive { count }
    } else if word == "lost" {
        let since = fixed(words.next()?, 9)?;
        Event::Lost { since }
    } else {
        let held = Held {
            uid: words.next()?.parse().ok()?,
            name: words.next()?.into(),
        };
        UserName::parse(&held.name).ok()?;
        let last = words.next()?;
        match word {
            "begun" if last == "-" => Event::Begun {
                held,
                service: String::new(),
            },
            "begun" => Event::Begun {
                held,
                // It takes one such ending off.
                service: ServiceName::parse(&format!("{last}.service"))
                    .ok()?
                    .as_str()
                    .into(),
            },
            "ended" => Event::Ended {
                held,
                begun: fixed(last, 9)?,
            },
            "stuck" => Event::Stuck {
                held,
                begun: fixed(last, 9)?,
            },
            _ => return None,
        }
    };
    // What is not spelled as we spell it (a "+7", a word too many) was not written by us.
    let read = Line { when, event };
    (read.to_string() == line).then_some(read)
}

/// A number with so many digits behind the point, without the point.
fn fixed(text: &str, digits: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.')?;
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if fraction.len() != digits || !plain(fraction) || !plain(whole) {
        return None;
    }
    format!("{whole}{fraction}").parse().ok()
}

fn is_boot(text: &str) -> bool {
    let one = |byte: u8| byte == b'-' || byte.is_ascii_hexdigit();
    (1..=36).contains(&text.len()) && text.bytes().all(one)
}

/// When the first of these lines was to be written, by the host's clock.
pub fn first_moment(lines: &str) -> Option<u64> {
    let mut lines = lines.split_inclusive('\n');
    lines.find_map(parse).map(|line| line.when.clock)
}

/// Who is there at a moment, as the lines that begin a file, or a daemon's part of one. Each lease with the
/// moment since when it has been stuck, if it is.
pub fn alive(when: &When, leases: &[(Line, bool)]) -> String {
    let mut text = Line {
        when: when.clone(),
        event: Event::Alive {
            count: leases.len(),
        },
    }
    .to_string();
    text.extend(leases.iter().map(|(line, _)| line.to_string()));
    for (line, stuck) in leases {
        if let (true, Event::Begun { held, .. }) = (stuck, &line.event) {
            let event = Event::Stuck {
                held: held.clone(),
                begun: line.when.clock,
            };
            let when = when.clone();
            text.push_str(&Line { when, event }.to_string());
        }
    }
    text
}

#[cfg(test)]
mod tests;
