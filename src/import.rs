//! Native service definitions of other init systems, each of which runs a unit with `dynuser run --unit-file` or
//! listens with `dynuser listen --unit-file`: openrc-run(8), runsv(8), s6's service directories (which s6-rc takes as
//! its sources as well) and dinit-service(5).
//!
//! What the unit says of the service itself stays in the unit file, for dynuser to read. A definition holds what the
//! supervisor has to know: when to start, stop and start again, and when it counts as started. What the supervisor
//! cannot be told is done by dynuser where that is possible, and stands there as a comment otherwise.
//!
//! The texts of units are nobody's code: they come into comments and descriptions alone, as one line, quoted.

#![forbid(unsafe_code)]

mod dinit;
mod openrc;
mod ordering;
mod quote;
mod restarting;
mod runit;
mod s6;
mod service;

use crate::directives::{Commands, Parsed};
use crate::unit::Unit;

use service::Service;

/// Whose definition it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A script for openrc-run(8).
    OpenRc,
    /// A service directory of runsv(8).
    Runit,
    /// A service directory of s6-supervise, and a source of s6-rc.
    S6,
    /// A description of dinit-service(5).
    Dinit,
}

impl Target {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("openrc", Self::OpenRc),
        ("runit", Self::Runit),
        ("s6", Self::S6),
        ("dinit", Self::Dinit),
    ];
}

/// What the definition is made of.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The unit.
    pub unit: &'a Unit,
    /// Its `Description=`, with specifiers expanded.
    pub description: Option<&'a str>,
    /// The absolute path of its file.
    pub file: &'a str,
    /// The absolute path of dynuser.
    pub program: &'a str,
    /// Words of the command line that go into the definition as they are: `-u`, `--instance=`, `-p`,
    /// `--allow-unenforced=` and what belongs to them.
    pub words: &'a [String],
    /// What is done with it.
    pub work: Work<'a>,
}

/// What is done with a unit.
#[derive(Clone, Copy, Debug)]
pub enum Work<'a> {
    /// A service is run.
    Run {
        /// What its lines add up to.
        commands: &'a Commands,
        /// Its commands.
        parsed: &'a Parsed,
        /// `PrivatePIDs=`.
        private_pids: bool,
        /// It has conditions.
        conditions: bool,
    },
    /// A socket is listened to.
    Listen,
}

/// One file of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path, relative: the name of the definition first, always.
    pub path: String,
    /// Whether it is a program.
    pub is_program: bool,
    /// What stands in it.
    pub text: String,
}

/// A definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The service's name there: that of the one file, or of the directory in which all of them are. No slash, no
    /// dot in front.
    pub name: String,
    /// The files. The first one has [`MARK`] in it.
    pub files: Vec<File>,
}

/// What a file says that was made here: a file without it is somebody else's.
pub const MARK: &str = "# Written by dynuser import of ";

/// The name of a file that every definition in a directory has one of: it tells whose the directory is.
pub const MARKED: [&str; 2] = ["run", "up"];

/// Makes a definition.
///
/// # Errors
/// A sentence: a name or a path that the other system could not hold.
pub fn define(target: Target, subject: &Subject<'_>) -> Result<Definition, String> {
    let name = name(target, subject)?;
    for word in subject
        .words
        .iter()
        .map(String::as_str)
        .chain([subject.file])
    {
        quote::writable(word).map_err(|why| format!("{}: {why}", quote::one_line(word)))?;
    }
    // In OpenRC's scripts it is a variable that is taken apart again without quotes.
    if !quote::is_plain(subject.program) {
        let why = "dynuser is installed at a path that definitions cannot hold";
        return Err(format!("{}: {why}", quote::one_line(subject.program)));
    }
    let service = Service::of(target, name.clone(), subject);
    let files = match target {
        Target::OpenRc => openrc::files(&service),
        Target::Runit => runit::files(&service),
        Target::S6 => s6::files(&service),
        Target::Dinit => dinit::files(&service),
    };
    Ok(Definition { name, files })
}

/// The name of the service there.
fn name(target: Target, subject: &Subject<'_>) -> Result<String, String> {
    let unit = subject.unit.name.without_suffix();
    let fits = |c: char| match c {
        // From 0.19 on dinit reads what comes after it as an argument of another service.
        '@' => target != Target::Dinit,
        c => c.is_ascii_alphanumeric() || "._-:+".contains(c),
    };
    let name: String = unit
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    // `.` and `..` are directories that are there already; others with a dot are passed over by svscan and its kin.
    // A dash would begin an option of every command that is told the name.
    if name.starts_with(['.', '-']) {
        return Err(format!(
            "{unit:?} is no name for a service there: call it something else with --name"
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
