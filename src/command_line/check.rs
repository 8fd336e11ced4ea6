//! The verb `check`: what becomes of each line of unit files. It starts nothing, and needs no daemon.

use clap::Args;

use crate::condition_look::facts;
use crate::failure::Failure;
use crate::report;
use crate::specifiers::Context;
use crate::unit::Unit;
use crate::unit_check::{lines, missing};
use crate::unit_load::{Unloadable, Writers, load};

/// What stands for the instance of a template that has no `DefaultInstance=`: `systemd-analyze verify` has the same.
const INSTANCE: &str = "test-instance";

#[derive(Debug, Args)]
pub(super) struct Check {
    /// As an array of objects
    #[arg(long)]
    json: bool,
    /// The files; or names of units, which are looked up where systemd looks
    #[arg(required = true, value_name = "FILE|NAME")]
    files: Vec<String>,
}

/// Tells it. 0: all is enforced, or means nothing here; 1: something is not supported; 2: something could not be
/// read.
pub(super) fn check(check: &Check) -> Result<u8, Failure> {
    let (mut status, mut told) = (0_u8, Vec::new());
    for file in &check.files {
        let checked = look(file);
        status = status.max(match &checked {
            Ok((_, lines)) if missing(lines).is_empty() => 0,
            Ok(_) => 1,
            Err(_) => 2,
        });
        let checked = checked.map_err(|unloadable| match unloadable {
            Unloadable::Faults(faults) => faults.iter().map(ToString::to_string).collect(),
            Unloadable::Failure(failure) => vec![failure.to_string()],
        });
        told.push((file.clone(), checked));
    }
    let text = if check.json {
        report::checked_json(&told)
    } else {
        for fault in told
            .iter()
            .filter_map(|(_, checked)| checked.as_ref().err())
        {
            for line in fault {
                report::say(&format!("dynuser: {line}"));
            }
        }
        report::checked(&told)
    };
    report::print(&text)?;
    Ok(status)
}

fn look(file: &str) -> Result<(String, Vec<crate::unit_check::Line>), Unloadable> {
    let loaded = load(file, None, Some(INSTANCE), Writers::Anybody)?;
    let context = Context {
        unit_file: Some(loaded.path),
        facts: facts(),
        ..Context::system(loaded.name)
    };
    let unit = Unit::read(&loaded.entries, &context).map_err(Unloadable::Faults)?;
    Ok((unit.name.full(), lines(&unit)))
}
