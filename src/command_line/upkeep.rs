//! The verbs that remove what services left: `clean` and `gc`.

use clap::Args;

use super::assignments;
use crate::cleaning::kinds;
use crate::client;
use crate::directory_claims::Claims;
use crate::directory_record::DirectoryRecord;
use crate::failure::Failure;
use crate::launcher::require_root;
use crate::lease;
use crate::manager::claim_lease;
use crate::orphans::{self, Private};
use crate::protocol::RemovalReply;
use crate::report;
use crate::unit_directories;

#[derive(Debug, Args)]
pub(super) struct Clean {
    /// The service's name
    name: String,
    /// Which kinds: runtime, state, cache, logs, configuration, all; runtime,cache if not given
    #[arg(long, value_name = "KIND,...")]
    what: Vec<String>,
    /// A directory that nobody recorded: StateDirectory=foo
    #[arg(short = 'p', long = "property", value_name = "NAME=VALUE")]
    property: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Gc {
    /// As an array of objects
    #[arg(long)]
    json: bool,
    /// Those of known services too, and who that is
    #[arg(long)]
    all: bool,
    /// Remove these, by a path or a name that is listed
    #[arg(long, value_name = "PATH|NAME", num_args = 1.., conflicts_with_all = ["json", "all"])]
    remove: Vec<String>,
}

/// Removes directories of a service.
pub(super) fn clean(clean: &Clean) -> Result<u8, Failure> {
    require_root()?;
    // Before a daemon is started for it.
    kinds(&clean.what)?;
    let properties = assignments(&clean.property)?;
    tell(&client::clean(&clean.name, &clean.what, &properties)?)
}

/// Lists what is nobody's, or removes what is named of it.
pub(super) fn collect(gc: &Gc) -> Result<u8, Failure> {
    require_root()?;
    if !gc.remove.is_empty() {
        return tell(&client::collect(&gc.remove)?);
    }
    let mut found = look()?;
    if !gc.all {
        found.retain(|private| private.known_by.is_none());
    }
    let mut listed = Vec::new();
    for private in found {
        let usage = match private.measure() {
            Ok(usage) => usage,
            Err(error) => {
                say(&error.to_string());
                None
            }
        };
        listed.push((private, usage));
    }
    let text = if gc.json {
        report::privates_json(&listed)
    } else {
        report::privates(&listed, gc.all)
    };
    report::print(&text).map(|()| 0)
}

/// Everything behind the boundaries, with who claims it.
fn look() -> Result<Vec<Private>, Failure> {
    let mut claims = Claims::default();
    let record = DirectoryRecord::look();
    if let Some(trouble) = record.trouble() {
        say(trouble);
    }
    record.claim(&mut claims);
    for found in lease::load_all()? {
        match found.lease {
            Ok(lease) => claim_lease(&mut claims, &lease),
            Err(why) => say(&format!(
                "the lease of {} is damaged, and nobody knows which directories it has: {why}",
                found.uid
            )),
        }
    }
    let mut unseen = unit_directories::claim(&mut claims);
    let found = orphans::look(&claims)?;
    unseen.extend(found.unseen);
    unseen.iter().for_each(|why| say(why));
    Ok(found.all)
}

fn tell(reply: &RemovalReply) -> Result<u8, Failure> {
    reply.left.iter().for_each(|why| say(why));
    report::print(&report::removed(&reply.removed)).map(|()| 0)
}

fn say(why: &str) {
    report::say(&format!("dynuser: {}", report::harmless(why)));
}
