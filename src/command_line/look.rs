//! The verbs that look at one user, and at the host.

use super::{is_meant, nobody};
use crate::doctor::{Severity, findings, worst};
use crate::examine;
use crate::failure::{Failure, Stage};
use crate::lease::{self, Found};
use crate::life::State;
use crate::registry::Registry;
use crate::report;

/// 0 if nothing has to be done, 1 otherwise.
pub(super) fn doctor(json: bool) -> Result<u8, Failure> {
    let found = findings(&examine::look(Some(Registry::inspect())));
    let text = if json {
        report::findings_json(&found)
    } else {
        report::findings(&found)
    };
    report::print(&text)?;
    Ok(u8::from(worst(&found) >= Severity::Warning))
}

/// Shows one user.
pub(super) fn show(user: &str) -> Result<(), Failure> {
    let found = lease::load_all()?;
    let wanted = |found: &&Found| is_meant(found, user);
    // Of a name that is in use again, the one that is in use.
    let stuck = |found: &&Found| {
        found
            .lease
            .as_ref()
            .is_ok_and(|lease| lease.state == State::Quarantined)
    };
    let mut matching: Vec<&Found> = found.iter().filter(wanted).collect();
    matching.sort_by_key(stuck);
    match matching.first().map(|found| &found.lease) {
        Some(Ok(lease)) => report::print(&report::details(lease)),
        Some(Err(why)) => Err(Failure::new(Stage::Request, user, why.as_str())),
        None => Err(nobody(user)),
    }
}
