//! What `check` tells.

use serde_json::json;

use super::harmless;
use crate::unit_check::{Line, Verdict, missing};

/// What was asked for, and what it is: the unit's name with its lines, or why it could not be read.
type Checked = (String, Result<(String, Vec<Line>), Vec<String>>);

/// A line for each line, and one for each unit. What could not be read is left out: it is told elsewhere.
pub fn checked(all: &[Checked]) -> String {
    let mut text = String::new();
    for (name, lines) in all.iter().filter_map(|(_, checked)| checked.as_ref().ok()) {
        for line in lines {
            let assignment = match (line.name.as_str(), line.value.as_str()) {
                ("", _) => String::new(),
                (name, value) => format!(" {name}={value}"),
            };
            text.push_str(&harmless(&format!(
                "{}: {}:{assignment} ({})",
                line.place,
                line.verdict.word(),
                line.why
            )));
            text.push('\n');
        }
        let missing = missing(lines);
        let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
        let last = if missing.is_empty() {
            format!(
                "{name}: all of it is enforced, {} lines; {} mean nothing here",
                count(Verdict::Enforced),
                count(Verdict::Ignored)
            )
        } else {
            format!("{name}: not supported: {}", missing.join(" "))
        };
        text.push_str(&harmless(&last));
        text.push('\n');
    }
    text
}

/// The same as JSON, with what could not be read.
pub fn checked_json(all: &[Checked]) -> String {
    let objects = all.iter().map(|(asked, checked)| match checked {
        Ok((name, lines)) => json!({
            "asked": asked,
            "unit": name,
            "missing": missing(lines),
            "lines": lines.iter().map(|line| json!({
                "file": line.place.file,
                "line": line.place.line,
                "column": line.place.column,
                "section": line.section,
                "directive": line.name,
                "value": line.value,
                "verdict": line.verdict.word(),
                "why": line.why,
            })).collect::<Vec<_>>(),
        }),
        Err(faults) => json!({ "asked": asked, "faults": faults }),
    });
    let mut text = serde_json::Value::Array(objects.collect()).to_string();
    text.push('\n');
    text
}
