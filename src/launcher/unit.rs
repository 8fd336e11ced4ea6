//! `dynuser run --unit-file`: from a unit file to a request, and the commands of the service.

use super::Launch;
use crate::condition_look::{self, Answer, facts};
use crate::conditions::Conditions;
use crate::directives::Parsed;
use crate::directives::Settings;
use crate::failure::{Failure, OrFail, Stage};
use crate::request::Request;
use crate::specifiers::{self, Context};
use crate::unit::{Kind, Unit};
use crate::unit_file::Fault;
use crate::unit_load::{Writers, load};

/// What `dynuser run` was told of a unit file.
#[derive(Clone, Debug)]
pub struct UnitFile {
    /// A path, or the name of a unit that is looked up where systemd looks.
    pub file: String,
    /// What the unit is called instead (`-u`): an instance of a template.
    pub name: Option<String>,
    /// Which instance of a template it is (`%i`).
    pub instance: Option<String>,
    /// Start the service again as `Restart=` says.
    pub supervise: bool,
}

/// A service from a unit file that may be started.
pub(super) struct Ready {
    pub(super) request: Request,
    pub(super) commands: Parsed,
}

/// What a unit file says about a start.
pub(super) enum Start {
    /// Yes, as that.
    Ready(Box<Ready>),
    /// No, and nothing is wrong: a condition does not hold. In words.
    Skip(String),
}

/// Finds and reads the unit file of a service; with what its specifiers stand for.
///
/// # Errors
/// Of [`Stage::Request`], with file, line and column.
pub(crate) fn load_unit(unit_file: &UnitFile) -> Result<(Unit, Context), Failure> {
    let instance = unit_file.instance.as_deref();
    let named = instance.map(|instance| name_of_instance(&unit_file.file, instance));
    let name = named.transpose()?.or_else(|| unit_file.name.clone());
    let loaded = load(&unit_file.file, name.as_deref(), None, Writers::Root)?;
    let shells = ["/bin/bash", "/bin/sh"];
    let mut context = Context {
        unit_file: Some(loaded.path),
        facts: facts(),
        ..Context::system(loaded.name)
    };
    if let Some(shell) = shells
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
    {
        context.shell = shell.into();
    }
    let unit = Unit::read(&loaded.entries, &context).map_err(told)?;
    if unit.kind() == Kind::Socket {
        let why = "is a socket, and no service: dynuser listen --unit-file opens it";
        return Err(Failure::new(Stage::Request, unit.name.full(), why));
    }
    Ok((unit, context))
}

/// Reads the unit file, looks at its conditions, and checks every line of it.
///
/// # Errors
/// Of [`Stage::Request`], with file, line and column.
pub(super) fn read(launch: &Launch, unit_file: &UnitFile) -> Result<Start, Failure> {
    let (unit, context) = load_unit(unit_file)?;
    let conditions = Conditions::of(&unit.unit).map_err(told)?;
    if let Answer::Skip(why) = condition_look::answer(&conditions)? {
        return Ok(Start::Skip(why));
    }
    let mut properties = unit.properties();
    properties.extend(launch.request.properties.iter().cloned());
    let (_, commands) = settle(&launch.request.properties, &unit, &context)?;
    Ok(Start::Ready(Box::new(Ready {
        request: Request {
            service: unit.name.full(),
            properties,
        },
        commands,
    })))
}

/// What the lines of a service's unit add up to, with the properties that were given by hand, and its commands.
///
/// # Errors
/// Of [`Stage::Request`], with file, line and column.
pub(crate) fn settle(
    by_hand: &[(String, String)],
    unit: &Unit,
    context: &Context,
) -> Result<(Settings, Parsed), Failure> {
    let settings = checked(by_hand, unit)?;
    let expand = |word: &str| specifiers::expand(word, context);
    if settings.commands.pid_file.is_some() && settings.namespaces.processes {
        let why = "cannot be together with PrivatePIDs=: a number in it means another process here";
        return Err(Failure::new(Stage::Request, "PIDFile=", why));
    }
    let commands = settings.commands.parse(&expand);
    let commands = commands.or_fail(Stage::Request, unit.name.full())?;
    Ok((settings, commands))
}

/// What an instance of the template in a file of a service or a socket is called.
///
/// # Errors
/// Of [`Stage::Request`], if it is no template.
pub fn name_of_instance(file: &str, instance: &str) -> Result<String, Failure> {
    let last = file.rsplit_once('/').map_or(file, |(_, last)| last);
    let (template, suffix) = match last.rsplit_once('.') {
        Some((template, suffix @ ("service" | "socket"))) => (template, suffix),
        _ => (last, "service"),
    };
    match template.strip_suffix('@') {
        Some(_) => Ok(format!("{template}{instance}.{suffix}")),
        None => Err(Failure::new(
            Stage::Request,
            file,
            "is no template, whose name ends in @: it has no instances",
        )),
    }
}

/// Applies every line, so that what is wrong with one is told with its place.
fn checked(by_hand: &[(String, String)], unit: &Unit) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    let by_hand = || by_hand.iter();
    let fail = |subject: String, why| Failure::new(Stage::Request, subject, why);
    for (name, value) in by_hand().filter(|(name, _)| name == "AllowUnenforced") {
        settings
            .assign(name, value)
            .map_err(|why| fail(format!("{name}={value}"), why))?;
    }
    for setting in unit.settings_of_the_service() {
        let (name, value) = (&setting.name, &setting.value);
        settings
            .assign(name, value)
            .map_err(|why| fail(format!("{}: {name}={value}", setting.place), why))?;
    }
    if !settings.assigned.contains("DynamicUser")
        && !by_hand().any(|(name, _)| name == "DynamicUser")
    {
        let why = "says nothing of DynamicUser=, and would run as root or as a user of the host: say -p DynamicUser=yes for a user of its own, or -p DynamicUser=no";
        return Err(fail(unit.name.full(), why.into()));
    }
    for (name, value) in by_hand() {
        settings
            .assign(name, value)
            .map_err(|why| fail(format!("{name}={value}"), why))?;
    }
    Ok(settings)
}

pub(crate) fn told(faults: Vec<Fault>) -> Failure {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    Failure::new(Stage::Request, "", lines.join("\n"))
}
