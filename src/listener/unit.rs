//! From a `.socket` unit to what is listened on, and the file of its service.

use std::path::Path;

use super::Service;
use crate::condition_look::{self, Answer, facts};
use crate::conditions::Conditions;
use crate::failure::Failure;
use crate::launcher::name_of_instance;
use crate::socket_unit::SocketUnit;
use crate::specifiers::Context;
use crate::unit::Unit;
use crate::unit_load::{Unloadable, Writers, load};

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

/// Reads the unit `file` (a path, or a name that is looked up), as an instance if it is a template.
///
/// # Errors
/// [`Unready`]; failures are of [`crate::failure::Stage::Request`], with file, line and column.
pub fn read(file: &str, instance: Option<&str>) -> Result<(SocketUnit, Service), Unready> {
    let whole = match file.ends_with(".socket") {
        true => file.to_owned(),
        false => format!("{file}.socket"),
    };
    let name = instance.map(|instance| name_of_instance(&whole, instance));
    let name = name.transpose()?;
    let told = |faults| Failure::from(Unloadable::Faults(faults));
    let loaded = load(&whole, name.as_deref(), None, Writers::Root).map_err(Failure::from)?;
    let context = Context {
        unit_file: Some(loaded.path),
        facts: facts(),
        ..Context::system(loaded.name)
    };
    let unit = Unit::read(&loaded.entries, &context).map_err(told)?;
    let conditions = Conditions::of(&unit.unit).map_err(told)?;
    if let Answer::Skip(why) = condition_look::answer(&conditions)? {
        return Err(Unready::Skip(why));
    }
    let unit = SocketUnit::read(&unit).map_err(told)?;
    let service = service(&unit, file);
    Ok((unit, service))
}

/// Where its service is: beside the file that was named, or where units are.
fn service(unit: &SocketUnit, file: &str) -> Service {
    let service = &unit.service;
    let instance = service.instance().filter(|instance| !instance.is_empty());
    let template = service.template().map(|template| template.full());
    let found = file.rsplit_once('/').and_then(|(folder, _)| {
        let names = [Some(service.full()), template].into_iter().flatten();
        let mut paths = names.map(|name| format!("{folder}/{name}"));
        paths.find(|path| Path::new(path).exists())
    });
    Service::UnitFile {
        name: instance.map(|_| service.without_suffix()),
        file: found.unwrap_or_else(|| service.full()),
    }
}
