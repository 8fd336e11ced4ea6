//! From a `.socket` unit to what is listened on, and the file of its service.

use std::path::Path;

use super::Service;
use crate::condition_look::{self, Answer, facts};
use crate::conditions::Conditions;
use crate::failure::Failure;
use crate::launcher::{name_of_instance, told};
use crate::socket_unit::SocketUnit;
use crate::specifiers::{Context, UnitName};
use crate::unit::Unit;
use crate::unit_load::{Writers, load_socket};

/// What a `.socket` unit says.
#[derive(Debug)]
pub enum Unready {
    /// A condition of it does not hold, which is no failure.
    Skip(String),
    /// It cannot be used.
    Failure(Failure),
}

impl From<Failure> for Unready {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Reads the unit `what` (a path, or a name that is looked up), as an instance if it is a template.
///
/// # Errors
/// Of [`crate::failure::Stage::Request`], with file, line and column.
pub fn read_socket(what: &str, instance: Option<&str>) -> Result<(Unit, Context), Failure> {
    let stem = what.strip_suffix(".socket").unwrap_or(what);
    let name = instance.map(|instance| name_of_instance(&format!("{stem}.socket"), instance));
    let loaded = load_socket(what, name.transpose()?.as_deref(), Writers::Root)?;
    let context = Context {
        unit_file: Some(loaded.path),
        facts: facts(),
        ..Context::system(loaded.name)
    };
    let unit = Unit::read(&loaded.entries, &context).map_err(told)?;
    Ok((unit, context))
}

/// What a unit says is listened on, and what serves there.
///
/// # Errors
/// [`Unready`]; failures are those of [`read_socket`].
pub fn read(what: &str, instance: Option<&str>) -> Result<(SocketUnit, Service), Unready> {
    let (unit, _) = read_socket(what, instance)?;
    let conditions = Conditions::of(&unit.unit).map_err(told)?;
    if let Answer::Skip(why) = condition_look::answer(&conditions)? {
        return Err(Unready::Skip(why));
    }
    let unit = SocketUnit::read(&unit).map_err(told)?;
    let (file, name) = beside(what, &unit.service);
    Ok((unit, Service::UnitFile { file, name }))
}

/// Where the service of the socket in `file` is, beside it or where units are, and what it is called if not like that.
pub fn beside(file: &str, service: &UnitName) -> (String, Option<String>) {
    let instance = service.instance().filter(|instance| !instance.is_empty());
    let template = service.template().map(|template| template.full());
    let found = file.rsplit_once('/').and_then(|(folder, _)| {
        let names = [Some(service.full()), template].into_iter().flatten();
        let mut paths = names.map(|name| format!("{folder}/{name}"));
        paths.find(|path| Path::new(path).exists())
    });
    let name = instance.map(|_| service.without_suffix());
    (found.unwrap_or_else(|| service.full()), name)
}
