//! The leases as a tree: instances under their template, services under the user that they share.

use std::collections::BTreeMap;

use super::upkeep::size;
use super::{age, aligned, first_pid, harmless, state};
use crate::consumption::Consumption;
use crate::holder::Holder;
use crate::lease::{Found, Lease};
use crate::life::State;
use crate::sys::clock;

const COLUMNS: usize = 9;

/// One line of the table.
type Row = [String; COLUMNS];

/// A lease, and what it takes.
type Listed<'a> = (&'a Found, &'a Consumption);

/// What stands before the last of several, before each other one, and before what is below these.
struct Lines {
    last: &'static str,
    other: &'static str,
    below_last: &'static str,
    below_other: &'static str,
}

const DRAWN: Lines = Lines {
    last: "└─",
    other: "├─",
    below_last: "  ",
    below_other: "│ ",
};

const TYPED: Lines = Lines {
    last: "`-",
    other: "|-",
    below_last: "  ",
    below_other: "| ",
};

/// The template that all services of a lease are instances of, with its `@`.
pub(super) fn template(lease: &Lease) -> Option<String> {
    let of = |service: &str| Some(format!("{}@", service.split_once('@')?.0));
    let services = lease.services();
    let mut templates = services.iter().map(|service| of(service));
    let first = templates.next()??;
    templates
        .all(|other| other.as_deref() == Some(&first))
        .then_some(first)
}

/// The leases, with what they take, for people.
pub fn tree(found: &[Found], takes: &[Consumption]) -> String {
    drawn(found, takes, lines())
}

/// Whether a terminal shows more than ASCII (locale(7)).
fn lines() -> &'static Lines {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    match locale.contains("utf-8") || locale.contains("utf8") {
        true => &DRAWN,
        false => &TYPED,
    }
}

fn drawn(found: &[Found], takes: &[Consumption], lines: &Lines) -> String {
    // What stands at the left: a template, or one lease. Sorted by its name, then by number.
    let mut tops: BTreeMap<(String, Option<u32>), Vec<Listed<'_>>> = BTreeMap::new();
    for both in found.iter().zip(takes) {
        let key = match &both.0.lease {
            Err(_) => (String::new(), Some(both.0.uid)),
            Ok(lease) => match template(lease) {
                Some(template) => (template, None),
                None => (lease.name.clone(), Some(lease.uid)),
            },
        };
        tops.entry(key).or_default().push(both);
    }
    let mut rows = vec![
        [
            "NAME", "UID", "STATE", "PID", "SINCE", "FOR", "PROCS", "MEMORY", "SERVICE",
        ]
        .map(String::from),
    ];
    for ((name, uid), mut listed) in tops {
        listed.sort_by_key(|one| one.0.lease.as_ref().map_or("", |lease| &lease.name));
        if uid.is_some() {
            let each = listed.into_iter();
            each.for_each(|one| add(&mut rows, one, ["", ""], lines));
            continue;
        }
        rows.push(of_template(&name, &listed));
        let count = listed.len();
        for (at, one) in (1..).zip(listed) {
            add(&mut rows, one, before(at == count, lines), lines);
        }
    }
    aligned(&rows)
}

/// What stands before one of several, and before what is below it.
fn before(last: bool, lines: &Lines) -> [&'static str; 2] {
    match last {
        true => [lines.last, lines.below_last],
        false => [lines.other, lines.below_other],
    }
}

fn of_template(name: &str, listed: &[Listed<'_>]) -> Row {
    let instances = match listed.len() {
        1 => "1 instance".into(),
        more => format!("{more} instances"),
    };
    let processes: Option<Vec<u32>> = listed.iter().map(|(_, takes)| takes.processes).collect();
    let memory: Option<Vec<u64>> = listed.iter().map(|(_, takes)| takes.memory).collect();
    let takes = Consumption {
        processes: processes.map(|all| all.into_iter().fold(0, u32::saturating_add)),
        memory: memory.map(|all| all.into_iter().fold(0, u64::saturating_add)),
    };
    let [processes, memory] = shown(&takes);
    let none = String::new;
    [
        harmless(name),
        none(),
        none(),
        none(),
        none(),
        none(),
        processes,
        memory,
        instances,
    ]
}

/// The line of a lease, and those of its holders where there are several.
fn add(rows: &mut Vec<Row>, (found, takes): Listed<'_>, [prefix, below]: [&str; 2], lines: &Lines) {
    let dash = || String::from("-");
    let lease = match &found.lease {
        Ok(lease) => lease,
        Err(why) => {
            let uid = found.uid.to_string();
            let damaged = "damaged".into();
            rows.push([
                dash(),
                uid,
                damaged,
                dash(),
                dash(),
                dash(),
                dash(),
                dash(),
                harmless(why),
            ]);
            return;
        }
    };
    let [processes, memory] = shown(takes);
    rows.push([
        format!("{prefix}{}", harmless(&lease.name)),
        lease.uid.to_string(),
        state(lease).word().into(),
        first_pid(lease).map_or_else(dash, |pid| pid.to_string()),
        since(lease.since),
        age(lease.since),
        processes,
        memory,
        harmless(&said(lease)),
    ]);
    let count = lease.holders.len();
    let several = lease.holders.iter().filter(|_| count > 1);
    for (at, holder) in (1..).zip(several) {
        let [own, _] = before(at == count, lines);
        rows.push(of_holder(&format!("{below}{own}"), holder));
    }
}

fn of_holder(prefix: &str, holder: &Holder) -> Row {
    let none = String::new;
    let pid = holder.by.pid();
    [
        format!("{prefix}{}", harmless(&holder.service)),
        none(),
        none(),
        pid.map_or_else(|| "(fd)".into(), |pid| pid.to_string()),
        none(),
        none(),
        none(),
        none(),
        none(),
    ]
}

/// Its services, or why it is as it is.
fn said(lease: &Lease) -> String {
    let services = super::services(lease);
    match &lease.reason {
        Some(reason) if lease.state == State::Running => format!("{services} ({reason})"),
        Some(reason) => reason.clone(),
        None => services,
    }
}

fn shown(takes: &Consumption) -> [String; 2] {
    let dash = || String::from("-");
    [
        takes.processes.map_or_else(dash, |count| count.to_string()),
        takes.memory.map_or_else(dash, size),
    ]
}

/// A moment in local time.
pub(super) fn since(moment: u64) -> String {
    match clock::local(moment) {
        None => "-".into(),
        Some([year, month, day, hour, minute, second]) => {
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, uid: u32, services: &[&str]) -> Found {
        let mut lease = Lease::damaged(uid, "");
        (lease.name, lease.state, lease.reason) = (name.into(), State::Quarantined, None);
        let holders = services.iter().map(|service| Holder::sample(service));
        lease.holders = holders.collect();
        Found {
            uid,
            lease: Ok(lease),
        }
    }

    #[test]
    fn instances_stand_under_their_template_and_services_under_their_user() {
        let all = [
            found("shared", 61201, &["two", "one"]),
            found("foo_a-1", 61202, &["foo@a"]),
            found("alone", 61203, &["alone"]),
            found("foo_b-1", 61204, &["foo@b", "foo@b"]),
            found("mixed", 61205, &["foo@c", "bar@c"]),
            Found {
                uid: 61206,
                lease: Err("it is torn".into()),
            },
        ];
        let takes = |processes, memory| Consumption { processes, memory };
        let takes = [
            takes(Some(3), None),
            takes(Some(1), Some(1024)),
            takes(None, None),
            takes(Some(2), Some(2048)),
            takes(Some(2), None),
            takes(None, None),
        ];
        let text = drawn(&all, &takes, &TYPED);
        let names: Vec<&str> = text
            .lines()
            .map(|line| line.split("  ").next().unwrap_or_default())
            .collect();
        assert_eq!(
            names,
            [
                "NAME",
                "-",
                "alone",
                "foo@",
                "|-foo_a-1",
                "`-foo_b-1",
                "",
                "",
                "mixed",
                "|-foo@c",
                "`-bar@c",
                "shared",
                "|-two",
                "`-one",
            ],
            "{text}"
        );
        let line = |start: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(start));
            let words = line.unwrap_or_default().split_whitespace();
            words.map(String::from).collect()
        };
        assert_eq!(line("foo@"), ["foo@", "3", "3.0K", "2", "instances"]);
        assert!(
            text.contains("  |-foo@b") && text.contains("  `-foo@b"),
            "{text}"
        );
        assert_eq!(
            template(all[5].lease.as_ref().unwrap_or(&Lease::damaged(1, ""))),
            None
        );
    }
}
