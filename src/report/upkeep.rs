//! What `clean` and `gc` tell.

use serde_json::json;

use super::{age, aligned, harmless};
use crate::orphans::Private;
use crate::sys::usage::Usage;

/// What was found behind a boundary, and what it takes.
type Listed = (Private, Option<Usage>);

/// The paths that were removed, one a line.
pub fn removed(paths: &[String]) -> String {
    if paths.is_empty() {
        return "nothing to remove\n".into();
    }
    paths
        .iter()
        .map(|path| format!("{}\n", harmless(path)))
        .collect()
}

/// What lies behind the boundaries, as a table for people; `all` tells who it belongs to.
pub fn privates(listed: &[Listed], all: bool) -> String {
    if listed.is_empty() {
        return "nothing that belongs to no known service\n".into();
    }
    let mut rows = vec![["KIND", "OWNER", "SIZE", "CHANGED", "IS", "PATH"].map(String::from)];
    for (private, usage) in listed {
        let known = match &private.known_by {
            Some(by) if all => format!("  ({by})"),
            _ => String::new(),
        };
        rows.push([
            private.kind.word().into(),
            private
                .owner()
                .map_or_else(|| "-".into(), |uid| uid.to_string()),
            usage.map_or_else(|| "-".into(), |usage| size(usage.bytes)),
            usage.map_or_else(|| "-".into(), |usage| changed(usage.changed)),
            private.word().into(),
            harmless(&format!("{}{known}", private.place)),
        ]);
    }
    aligned(&rows)
}

/// The same as JSON.
pub fn privates_json(listed: &[Listed]) -> String {
    let objects = listed.iter().map(|(private, usage)| {
        json!({
            "kind": private.kind.word(),
            "name": private.path,
            "path": private.place,
            "is": private.word(),
            "owner": private.owner(),
            "bytes": usage.map(|usage| usage.bytes),
            "changed": usage.map(|usage| usage.changed),
            "known_by": private.known_by,
        })
    });
    let mut text = serde_json::Value::Array(objects.collect()).to_string();
    text.push('\n');
    text
}

fn changed(at: i64) -> String {
    format!("{} ago", age(u64::try_from(at).unwrap_or(0)))
}

/// A number of bytes with three digits and a unit, as du(1) -h has it, rounded up.
pub(super) fn size(bytes: u64) -> String {
    let mut tenths = bytes.saturating_mul(10);
    for unit in ["", "K", "M", "G", "T"] {
        if tenths < 100 && !unit.is_empty() {
            let (whole, rest) = (tenths.div_euclid(10), tenths.rem_euclid(10));
            return format!("{whole}.{rest}{unit}");
        }
        if tenths < 10_240 {
            return format!("{}{unit}", tenths.div_ceil(10));
        }
        tenths = tenths.div_ceil(1024);
    }
    format!("{}P", tenths.div_ceil(10))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_few_digits() {
        for (bytes, expected) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (4096, "4.0K"),
            (10 * 1024, "10K"),
            (1024 * 1024 - 1, "1.0M"),
            (1024 * 1024, "1.0M"),
            (u64::MAX / 16, "1024P"),
        ] {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }
}
