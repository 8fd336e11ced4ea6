//! The verb that tells who is there.

use std::io::IsTerminal;

use clap::Args;

use crate::consumption;
use crate::failure::Failure;
use crate::lease::{self, Found};
use crate::meant::Wanted;
use crate::report;

#[derive(Debug, Args)]
pub(super) struct List {
    /// As an array of objects
    #[arg(long)]
    json: bool,
    /// Instances under their templates, with all columns: the default at a terminal
    #[arg(long, conflicts_with_all = ["json", "flat"])]
    tree: bool,
    /// A line for each user, with few columns: the default for programs
    #[arg(long, conflicts_with = "json")]
    flat: bool,
    /// Only these: services, templates (foo@) or patterns, users' names or numbers
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Lists the leases.
pub(super) fn list(options: &List) -> Result<(), Failure> {
    let mut found = lease::load_all()?;
    let wanted: Vec<Wanted> = options
        .names
        .iter()
        .map(|name| Wanted::parse(name))
        .collect();
    found.retain(|found| wanted.is_empty() || wanted.iter().any(|one| is_one(one, found)));
    // Programs that read the table find it as it always was.
    let tree = options.tree || (!options.flat && std::io::stdout().is_terminal());
    report::print(&match (options.json, tree) {
        (true, _) => report::json(&found, &consumption::look(&found)),
        (false, true) => report::tree(&found, &consumption::look(&found)),
        (false, false) => report::table(&found),
    })
}

fn is_one(wanted: &Wanted, found: &Found) -> bool {
    let named = found.lease.as_ref().is_ok_and(|lease| {
        wanted.takes(&lease.name) || lease.services().iter().any(|service| wanted.takes(service))
    });
    named || *wanted == Wanted::Exactly(found.uid.to_string())
}
