//! Who had which number when, for people and for programs.

use serde_json::{Value, json};

use super::aligned;
use super::tree::since;
use crate::history_text::{End, Tenure, When};
use crate::timestamp::SECOND;

/// Nanoseconds of a millisecond.
const MILLI: u64 = 1_000_000;

/// A time of the host's clock, in nanoseconds since 1970, as its people have it: to the millisecond, as audit
/// records are.
pub fn moment(clock: u64) -> String {
    let rest = clock.rem_euclid(SECOND).div_euclid(MILLI);
    format!("{}.{rest:03}", since(clock.div_euclid(SECOND)))
}

/// A table for people, those who came last at its end.
pub fn history(found: &[&Tenure], now: &When) -> String {
    let mut rows = vec![["UID", "NAME", "FROM", "UNTIL", "SERVICE"].map(String::from)];
    for tenure in found {
        let mut until = until(tenure);
        if tenure.clock_was_set(now) {
            until.push_str(" (the clock was set meanwhile)");
        }
        rows.push([
            tenure.held.uid.to_string(),
            tenure.held.name.clone(),
            moment(tenure.begun.clock),
            until,
            match tenure.service.as_str() {
                "" => "-".into(),
                service => service.into(),
            },
        ]);
    }
    aligned(&rows)
}

fn until(tenure: &Tenure) -> String {
    let end = match &tenure.end {
        End::Open => match tenure.stuck {
            Some(stuck) => return format!("in quarantine since {}", moment(stuck)),
            None => "now".into(),
        },
        End::At(when) => moment(when.clock),
        End::Before(when) => format!("unknown, before {}", moment(when.clock)),
        // That would be a riddle: the clock was set back in between.
        End::Reboot(clock) if *clock < tenure.begun.clock => "a reboot".into(),
        End::Reboot(clock) => format!("reboot before {}", moment(*clock)),
    };
    match tenure.stuck {
        Some(stuck) => format!("{end} (in quarantine from {})", moment(stuck)),
        None => end,
    }
}

/// The same as JSON. Times are seconds since 1970.
pub fn history_json(found: &[&Tenure], now: &When) -> String {
    let list = found.iter().map(|tenure| {
        let (how, until, before) = match &tenure.end {
            End::Open => ("running", None, None),
            End::At(when) => ("ended", Some(when.clock), None),
            End::Before(when) => ("unseen", None, Some(when.clock)),
            End::Reboot(clock) => ("reboot", None, Some(*clock)),
        };
        let how = match (&tenure.end, tenure.stuck) {
            (End::Open, Some(_)) => "quarantined",
            _ => how,
        };
        json!({
            "uid": tenure.held.uid,
            "name": tenure.held.name,
            "service": match tenure.service.as_str() {
                "" => None,
                service => Some(service),
            },
            "from": seconds(tenure.begun.clock),
            "end": how,
            "until": until.map(seconds),
            "until_before": before.map(seconds),
            "quarantined": tenure.stuck.map(seconds),
            "clock_was_set": tenure.clock_was_set(now),
            "boot": tenure.begun.boot,
        })
    });
    let mut text = Value::Array(list.collect()).to_string();
    text.push('\n');
    text
}

/// To the microsecond: more has no room in a JSON number.
fn seconds(clock: u64) -> Value {
    let micro = clock.div_euclid(1000);
    let (whole, rest) = (micro.div_euclid(1_000_000), micro.rem_euclid(1_000_000));
    serde_json::from_str(&format!("{whole}.{rest:06}")).unwrap_or(Value::Null)
}
