//! The verb `import`: native service definitions of other init systems. It starts nothing, and needs no daemon.

use std::path::Path;

use clap::Args;

use super::assignments;
use crate::conditions::Conditions;
use crate::definition_files;
use crate::failure::{Failure, OrFail, Stage};
use crate::import::{Definition, Subject, Target, Work, define};
use crate::launcher::{UnitFile, load_unit, settle, told};
use crate::listener::{beside, read_socket};
use crate::report;
use crate::request::Request;
use crate::socket_unit::SocketUnit;
use crate::spec::Spec;
use crate::specifiers::{self, Context, UnitName};
use crate::unit::Unit;
use crate::unit_directories::FOLDERS;

/// What an instance is called that is only looked at: each connection has one of its own.
const CONNECTION: &str = "0";

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Whose definition: openrc, runit, s6 or dinit
    #[arg(long = "for", value_name = "SYSTEM")]
    system: Option<String>,
    /// What the service is called instead
    #[arg(short = 'u', long, value_name = "NAME")]
    name: Option<String>,
    /// Which instance of a template it is
    #[arg(long, value_name = "INSTANCE", conflicts_with = "name")]
    instance: Option<String>,
    /// A property that the service is started with, beside what its file says
    #[arg(short = 'p', long = "property", value_name = "NAME=VALUE")]
    property: Vec<String>,
    /// Start the service even if this restriction cannot be enforced
    #[arg(long, value_name = "DIRECTIVE")]
    allow_unenforced: Vec<String>,
    /// Write it into this directory, instead of printing it
    #[arg(long, value_name = "DIR")]
    output: Option<String>,
    /// Replace what others have written
    #[arg(long, requires = "output")]
    force: bool,
    /// The unit's file; or its name, which is looked up where systemd looks
    #[arg(value_name = "FILE|NAME")]
    unit: String,
}

/// Prints the definition, or writes it and prints which files that are.
pub(super) fn import(import: &Import) -> Result<u8, Failure> {
    let target = target(import.system.as_deref())?;
    let program = std::env::current_exe().or_fail(Stage::Request, "/proc/self/exe")?;
    let program = program.to_string_lossy();
    let socket = socket_of(import)?;
    let definition = match socket {
        Some(socket) => listener(import, target, &program, &socket)?,
        None => service(import, target, &program)?,
    };
    let text = match &import.output {
        None => shown(&definition),
        Some(folder) => {
            let written = definition_files::write(folder, &definition, import.force)?;
            written
                .iter()
                .map(|path| format!("{}\n", report::harmless(path)))
                .collect()
        }
    };
    report::print(&text).map(|()| 0)
}

/// A wrong guess would look like a working definition, and never be started: nothing is guessed.
fn target(system: Option<&str>) -> Result<Target, Failure> {
    let known = Target::ALL.into_iter();
    let names: Vec<String> = known
        .clone()
        .map(|(name, _)| format!("--for={name}"))
        .collect();
    let found = known.clone().find(|(name, _)| Some(*name) == system);
    found.map(|(_, target)| target).ok_or_else(|| {
        let subject = system.map_or("dynuser import".into(), |system| format!("--for={system}"));
        let why = format!(
            "say which init system the definition is for: {}",
            names.join(", ")
        );
        Failure::new(Stage::Request, subject, why)
    })
}

fn shown(definition: &Definition) -> String {
    match definition.files.as_slice() {
        [file] => file.text.clone(),
        files => files
            .iter()
            .map(|file| {
                let mode = if file.is_program { "0755" } else { "0644" };
                format!("==> {} ({mode}) <==\n{}\n", file.path, file.text)
            })
            .collect(),
    }
}

fn service(import: &Import, target: Target, program: &str) -> Result<Definition, Failure> {
    let unit_file = UnitFile {
        file: import.unit.clone(),
        name: import.name.clone(),
        instance: import.instance.clone(),
        supervise: false,
    };
    let (unit, context) = load_unit(&unit_file)?;
    let by_hand = by_hand(import)?;
    let conditions = Conditions::of(&unit.unit).map_err(told)?;
    let (settings, parsed) = settle(&by_hand, &unit, &context)?;
    // What each line by itself is right about may be wrong together: the daemon would say so at the start.
    let mut properties = unit.properties();
    properties.extend(by_hand);
    Spec::check(&Request {
        service: unit.name.full(),
        properties,
    })?;
    let work = Work::Run {
        commands: &settings.commands,
        parsed: &parsed,
        private_pids: settings.namespaces.processes,
        conditions: !conditions.conditions.is_empty(),
    };
    written(import, target, program, &unit, &context, work)
}

/// `Description=`. Specifiers that stand for nothing stay as they are: these are words for people.
fn description(unit: &Unit, context: &Context) -> Option<String> {
    let last = unit.unit.iter().rev().find(|it| it.name == "Description")?;
    Some(specifiers::expand(&last.value, context).unwrap_or_else(|_| last.value.clone()))
}

/// The options that make the unit of a file the one that it is to be.
fn naming(name: &UnitName, file: &str) -> Vec<String> {
    let own = file.rsplit_once('/').map_or(file, |(_, last)| last);
    let is_template = name
        .template()
        .is_some_and(|template| template.full() == own);
    match name.instance() {
        _ if name.full() == own => Vec::new(),
        Some(instance) if is_template => vec![format!("--instance={instance}")],
        _ => vec!["-u".into(), name.without_suffix()],
    }
}

/// The socket that is to be listened to: the unit itself, or the one beside a service, which starts it.
fn socket_of(import: &Import) -> Result<Option<String>, Failure> {
    let what = import.unit.as_str();
    if what.ends_with(".socket") {
        return Ok(Some(what.into()));
    }
    if import.instance.is_some() {
        return Ok(None);
    }
    let stem = what.strip_suffix(".service").unwrap_or(what);
    let of_template = stem.strip_suffix('@').unwrap_or(stem);
    let socket = format!("{of_template}.socket");
    let is_there = |path: &str| Path::new(path).symlink_metadata().is_ok();
    let there = match what.contains('/') {
        true => is_there(&socket),
        false => FOLDERS
            .iter()
            .any(|folder| is_there(&format!("{folder}/{socket}"))),
    };
    if !there {
        return Ok(None);
    }
    let (unit, _) = read_socket(&socket, None)?;
    let last = stem.rsplit_once('/').map_or(stem, |(_, last)| last);
    let starts = SocketUnit::read(&unit)
        .map_err(told)?
        .service
        .without_suffix();
    Ok((starts == last).then_some(socket))
}

fn listener(
    import: &Import,
    target: Target,
    program: &str,
    socket: &str,
) -> Result<Definition, Failure> {
    if import.name.is_some() {
        let why =
            "is listened to under its own name: a link to it in a unit folder gives it another one";
        return Err(Failure::new(Stage::Request, socket, why));
    }
    let (unit, context) = read_socket(socket, import.instance.as_deref())?;
    let listens = SocketUnit::read(&unit).map_err(told)?;
    // A listener whose service is refused would look as if it worked until somebody connects.
    let (file, name) = beside(
        context.unit_file.as_deref().unwrap_or_default(),
        &listens.service,
    );
    let (service, of_service) = load_unit(&UnitFile {
        file,
        name,
        instance: listens.service.is_template().then(|| CONNECTION.into()),
        supervise: false,
    })?;
    settle(&by_hand(import)?, &service, &of_service)?;
    written(import, target, program, &unit, &context, Work::Listen)
}

/// The definition of a unit that was read.
fn written(
    import: &Import,
    target: Target,
    program: &str,
    unit: &Unit,
    context: &Context,
    work: Work<'_>,
) -> Result<Definition, Failure> {
    let file = context.unit_file.as_deref().unwrap_or_default();
    let mut words = naming(&unit.name, file);
    words.extend(options(import));
    let description = description(unit, context);
    let subject = Subject {
        unit,
        description: description.as_deref(),
        file,
        program,
        words: &words,
        work,
    };
    define(target, &subject).or_fail(Stage::Request, "")
}

/// The properties that were given by hand.
fn by_hand(import: &Import) -> Result<Vec<(String, String)>, Failure> {
    let mut properties = assignments(&import.property)?;
    let allowed = import.allow_unenforced.iter();
    properties.extend(allowed.map(|name| ("AllowUnenforced".into(), name.clone())));
    Ok(properties)
}

/// The same, as options of `dynuser run` and `dynuser listen`.
fn options(import: &Import) -> Vec<String> {
    let properties = import.property.iter();
    let properties = properties.flat_map(|property| ["-p".into(), property.clone()]);
    let allowed = import.allow_unenforced.iter();
    let allowed = allowed.map(|name| format!("--allow-unenforced={name}"));
    properties.chain(allowed).collect()
}
