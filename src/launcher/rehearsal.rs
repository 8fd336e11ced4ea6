//! What a launch would do, with nothing taken or changed.

use super::prepared::Words;
use super::unit::{self, Start};
use super::{
    Launch, added_environment, check_command, refuse_commands, require_root, skipped, with_program,
};
use crate::failure::Failure;
use crate::manager::Manager;
use crate::number_locks::NumberLocks;
use crate::plan::{Adopter, adoption};
use crate::report;
use crate::spec::Spec;

/// Checks everything that can be checked before a service is started, with nothing taken or changed. `None`, if a
/// condition of its unit does not hold at the moment.
///
/// # Errors
/// Of [`Stage::Request`], and of [`Stage::User`] for names of users.
pub fn examine(launch: &Launch) -> Result<Option<Spec>, Failure> {
    added_environment(launch)?;
    let Some(unit_file) = &launch.unit_file else {
        check_command(&launch.command)?;
        refuse_commands(&launch.request)?;
        return Spec::check(&launch.request).map(Some);
    };
    match unit::read(launch, unit_file)? {
        Start::Ready(ready) => Spec::check(&ready.request).map(Some),
        Start::Skip(_) => Ok(None),
    }
}

/// Prints what would be done.
///
/// # Errors
/// Of the stage that would fail.
pub fn rehearse(launch: &Launch) -> Result<u8, Failure> {
    require_root()?;
    added_environment(launch)?;
    let (request, executed) = match &launch.unit_file {
        None => (
            {
                refuse_commands(&launch.request)?;
                let words = check_command(&launch.command)?;
                with_program(launch, &launch.request, &words.program.to_string_lossy())
            },
            vec![check_command(&launch.command)?.told()],
        ),
        Some(unit_file) => match unit::read(launch, unit_file)? {
            Start::Ready(ready) => {
                let told = ready.commands.start.iter().map(Words::told_of);
                let first = ready.commands.start.first();
                let program = first.map_or("", |command| command.path.as_str());
                let request = with_program(launch, &ready.request, program);
                (request, told.collect())
            }
            Start::Skip(why) => return Ok(skipped(&why)),
        },
    };
    let manager = Manager::new(NumberLocks::looking_only())?;
    manager.look_at_leases()?;
    let settings = Spec::check(&request)?.settings().clone();
    let (identity, plan, adopter) = manager.rehearse(&request)?;
    let mut text = format!(
        "lease {} {}:{}\n{plan}",
        identity.user, identity.uid, identity.gid
    );
    for (privilege, words) in executed {
        let adopter = Adopter {
            privilege,
            ..adopter.clone()
        };
        for step in adoption(&adopter, &settings) {
            text.push_str(&format!("{step}\n"));
        }
        text.push_str(&format!("execute {words}\n"));
    }
    report::print(&text)?;
    Ok(0)
}
