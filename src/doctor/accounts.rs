//! Whose numbers ours might be too: accounts, what will become accounts, and what user namespaces
//! may take.

#![forbid(unsafe_code)]

use super::{Facts, Finding, Severity, Text, exclude, overlaps};
use crate::uid::{UidRange, UidRanges, joined};

/// How many names a sentence lists.
const NAMED: usize = 5;

/// How many ranges a sentence lists.
const LISTED: usize = 20;

/// What `useradd` takes for granted where login.defs says nothing (login.defs(5)), and what it does
/// with the numbers.
struct Pool {
    smallest: &'static str,
    largest: &'static str,
    default: (u32, u32),
    /// If this is 0, nothing is given out.
    count: Option<&'static str>,
    who: &'static str,
}

const POOLS: [Pool; 6] = [
    Pool {
        smallest: "UID_MIN",
        largest: "UID_MAX",
        default: (1000, 60_000),
        count: None,
        who: "useradd gives to people",
    },
    Pool {
        smallest: "GID_MIN",
        largest: "GID_MAX",
        default: (1000, 60_000),
        count: None,
        who: "groupadd gives to groups",
    },
    Pool {
        smallest: "SYS_UID_MIN",
        largest: "SYS_UID_MAX",
        default: (101, 999),
        count: None,
        who: "useradd --system gives to services",
    },
    Pool {
        smallest: "SYS_GID_MIN",
        largest: "SYS_GID_MAX",
        default: (101, 999),
        count: None,
        who: "groupadd --system gives to groups",
    },
    Pool {
        smallest: "SUB_UID_MIN",
        largest: "SUB_UID_MAX",
        default: (100_000, 600_100_000),
        count: Some("SUB_UID_COUNT"),
        who: "useradd gives to people for their containers (/etc/subuid)",
    },
    Pool {
        smallest: "SUB_GID_MIN",
        largest: "SUB_GID_MAX",
        default: (100_000, 600_100_000),
        count: Some("SUB_GID_COUNT"),
        who: "useradd gives to people for their containers (/etc/subgid)",
    },
];

/// Ranges that systemd's UIDS-GIDS document gives to others, on hosts with and without systemd: the
/// numbers are found in images and archives.
const RESERVED: [(u32, u32, &str); 3] = [
    (60_001, 60_513, "systemd-homed gives to people"),
    (524_288, 1_879_048_191, "systemd-nspawn gives to containers"),
    (
        2_147_352_576,
        2_147_418_111,
        "systemd keeps for images of other hosts",
    ),
];

/// Looks for numbers that somebody else has or gets.
pub(super) fn check(facts: &Facts, ranges: &UidRanges, found: &mut Vec<Finding>) {
    let before = found.len();
    existing(
        "/etc/passwd",
        "users",
        &facts.passwd,
        &[2, 3],
        ranges,
        found,
    );
    existing("/etc/group", "groups", &facts.group, &[2], ranges, found);
    login_defs(&facts.login_defs, ranges, found);
    delegated("/etc/subuid", &facts.subuid, ranges, found);
    delegated("/etc/subgid", &facts.subgid, ranges, found);
    for (first, last, who) in RESERVED {
        let pieces = overlaps(ranges, UidRange::new(first, last));
        if !pieces.is_empty() {
            let text = format!(
                "{} are among those that {who} ({first}-{last})",
                list(&pieces)
            );
            let finding = Finding::new(Severity::Warning, "ranges", text);
            found.push(finding.help(exclude(&pieces)));
        }
    }
    if found.len() == before {
        let text = "no file of users, groups or delegated numbers has one of these; those of LDAP and \
                    the like are not listed, which may take long, but each is asked for before it is \
                    handed out";
        found.push(Finding::new(Severity::Ok, "ranges", text));
    }
}

/// The text of a file; what cannot be read is told.
pub(super) fn readable<'t>(
    path: &str,
    text: &'t Text,
    found: &mut Vec<Finding>,
) -> Option<&'t str> {
    match text {
        Ok(text) => text.as_deref(),
        Err(why) => {
            let text = format!("cannot be read ({why}), so it was not looked for overlaps");
            found.push(Finding::new(Severity::Warning, path, text));
            None
        }
    }
}

/// Lines of passwd(5) or group(5): the name is field 0, the numbers are in the fields `at`.
fn existing(
    path: &str,
    what: &str,
    text: &Text,
    at: &[usize],
    ranges: &UidRanges,
    found: &mut Vec<Finding>,
) {
    let Some(text) = readable(path, text, found) else {
        return;
    };
    let mut names = Vec::new();
    let mut numbers = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let ours: Vec<UidRange> = at
            .iter()
            .filter_map(|at| fields.get(*at)?.trim().parse().ok())
            .filter(|number| ranges.contains(*number))
            .filter_map(|number| UidRange::new(number, number))
            .collect();
        if let Some(number) = ours.first() {
            let name = fields.first().copied().unwrap_or_default();
            names.push(format!("{name} ({number})"));
            numbers.extend(ours);
        }
    }
    if names.is_empty() {
        return;
    }
    let numbers = overlaps(ranges, numbers);
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let mut who = names.join(", ");
    if more > 0 {
        who.push_str(&format!(" and {more} more"));
    }
    let text = format!(
        "{what} whose numbers could be handed out: {who}; they are passed over as long as they exist"
    );
    let finding = Finding::new(Severity::Warning, path, text);
    found.push(finding.help(exclude(&numbers)));
}

/// login.defs(5): from where tools take numbers for new accounts.
fn login_defs(text: &Text, ranges: &UidRanges, found: &mut Vec<Finding>) {
    let path = "/etc/login.defs";
    // Without the file, the tools have the same defaults.
    let text = match text {
        Ok(None) => "",
        _ => match readable(path, text, found) {
            Some(text) => text,
            None => return,
        },
    };
    let mut value = |key: &str| -> Option<u32> {
        let (line, word) = setting(text, key)?;
        let number = c_number(word);
        if number.is_none() {
            let subject = format!("{path}:{line}");
            let text = format!("{key} is {word:?}, which is no number; its default counts");
            found.push(Finding::new(Severity::Warning, subject, text));
        }
        number
    };
    let mut overlapping = Vec::new();
    for pool in &POOLS {
        let smallest = value(pool.smallest).unwrap_or(pool.default.0);
        let largest = value(pool.largest).unwrap_or(pool.default.1);
        if pool.count.and_then(&mut value) == Some(0) {
            continue;
        }
        let pieces = overlaps(ranges, UidRange::new(smallest, largest));
        if !pieces.is_empty() {
            let text = format!(
                "{} are among those that {} ({} to {}: {smallest}-{largest})",
                list(&pieces),
                pool.who,
                pool.smallest,
                pool.largest
            );
            let help = format!(
                "{}; or another {} or {}",
                exclude(&pieces),
                pool.smallest,
                pool.largest
            );
            overlapping.push(Finding::new(Severity::Warning, path, text).help(help));
        }
    }
    found.extend(overlapping);
}

/// The last value of a key in login.defs, with its line.
fn setting<'t>(text: &'t str, key: &str) -> Option<(usize, &'t str)> {
    let lines = text.lines().enumerate().filter_map(|(at, line)| {
        let mut words = line.split_ascii_whitespace();
        let value = (words.next()? == key).then(|| words.next())??;
        Some((at.saturating_add(1), value.trim_matches('"')))
    });
    lines.last()
}

/// A number as C writes it: decimal, 0x… or 0….
fn c_number(word: &str) -> Option<u32> {
    let hex = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    match (hex, word.strip_prefix('0')) {
        (Some(hex), _) => u32::from_str_radix(hex, 16).ok(),
        (None, Some(octal)) if !octal.is_empty() => u32::from_str_radix(octal, 8).ok(),
        _ => word.parse().ok(),
    }
}

/// subuid(5), subgid(5): lines of `user:first:count`. Whoever stands there may become these numbers
/// in a user namespace of his own, with nobody's help, and is the service's user then.
fn delegated(path: &str, text: &Text, ranges: &UidRanges, found: &mut Vec<Finding>) {
    let Some(text) = readable(path, text, found) else {
        return;
    };
    for (at, line) in text.lines().enumerate() {
        let mut fields = line.split(':');
        let (Some(user), Some(first), Some(count)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (Ok(first), Ok(count)) = (first.trim().parse::<u32>(), count.trim().parse::<u32>())
        else {
            continue;
        };
        let last = count.checked_sub(1).map(|more| first.saturating_add(more));
        let pieces = overlaps(ranges, last.and_then(|last| UidRange::new(first, last)));
        if pieces.is_empty() {
            continue;
        }
        let (severity, danger) = match user {
            "root" | "0" => (Severity::Warning, "its containers may have them"),
            _ => (
                Severity::Error,
                "may become them in a user namespace, and then owns what their services own",
            ),
        };
        let text = format!("{} are delegated to {user}, which {danger}", list(&pieces));
        let subject = format!("{path}:{}", at.saturating_add(1));
        found.push(Finding::new(severity, subject, text).help(exclude(&pieces)));
    }
}

/// Ranges for a sentence.
pub(super) fn list(pieces: &[UidRange]) -> String {
    let shown: Vec<UidRange> = pieces.iter().copied().take(LISTED).collect();
    let dots = if shown.len() < pieces.len() {
        " …"
    } else {
        ""
    };
    format!("{}{dots}", joined(&shown, " "))
}
