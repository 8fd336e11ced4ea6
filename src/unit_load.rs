//! Finding a service's or a socket's unit file, its other names, its template and its drop-ins (systemd.unit(5), "Unit File
//! Load Path"), and reading them by descriptor.

mod drop_ins;
mod follow;

use std::path::Path;

use crate::failure::{Failure, Stage};
use crate::specifiers::UnitName;
use crate::unit;
use crate::unit_directories::FOLDERS;
use crate::unit_file::{self, Entry};

use follow::Found;

/// Who may have written what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// Root alone: what a unit file says is done as root. Everything else is refused.
    Root,
    /// Anybody: it is only looked at.
    Anybody,
}

/// A unit, read but not understood yet.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The name that it has: that of the file which a link leads to, with its instance. Never a template's.
    pub name: UnitName,
    /// The main file: `%y`.
    pub path: String,
    /// All files in the order in which they count: the main one, then the drop-ins.
    pub files: Vec<String>,
    /// What stands in them, in that order.
    pub entries: Vec<Entry>,
}

/// Why there is nothing to start.
#[derive(Debug)]
pub enum Unloadable {
    /// A file is no syntax: `file:line:column: what`, a line for each.
    Faults(Vec<unit_file::Fault>),
    /// Everything else.
    Failure(Failure),
}

impl From<Failure> for Unloadable {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Unloadable> for Failure {
    fn from(unloadable: Unloadable) -> Self {
        match unloadable {
            Unloadable::Failure(failure) => failure,
            Unloadable::Faults(faults) => {
                let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
                Self::new(Stage::Request, "", lines.join("\n"))
            }
        }
    }
}

/// Finds and reads the unit `what`: a path (with a slash in it), or a name that is looked up in the unit folders. Without
/// `.service` or `.socket` at its end it is a service.
/// `name` is what it shall be called instead (`-u`): another name, or an instance of the template in the file. A
/// template without an instance takes its `DefaultInstance=`, or else `instance`.
///
/// # Errors
/// [`Unloadable`]: not found, masked, a template without an instance, no syntax, or written by somebody else than
/// `writers` allows.
pub fn load(
    what: &str,
    name: Option<&str>,
    instance: Option<&str>,
    writers: Writers,
) -> Result<Loaded, Unloadable> {
    let (asked, found) = if what.contains('/') {
        let path =
            std::path::absolute(what).map_err(|error| Failure::new(Stage::Request, what, error))?;
        let path = path.to_str().ok_or_else(|| {
            Failure::new(Stage::Request, what, "is a path that is not UTF-8 text")
        })?;
        let last = Path::new(path).file_name().and_then(|last| last.to_str());
        let asked = named(last.unwrap_or(""), "service", what)?;
        let found = follow::unit(path, &asked, writers)?
            .ok_or_else(|| Failure::new(Stage::Request, what, "there is no such file"))?;
        (asked, found)
    } else {
        let asked = named(what, "service", what)?;
        let found = look_up(&asked, writers)?;
        (asked, found)
    };
    let Found {
        path,
        text,
        names: mut known,
    } = found;
    let mut entries = unit_file::parse(&path, &text).map_err(|fault| faults(vec![fault]))?;
    let own = known.last().cloned().unwrap_or(asked);
    let chosen = choose(&own, name, unit::default_instance(&entries).or(instance))?;
    // By whatever name it was asked for, its drop-ins count.
    known.push(chosen.clone());
    let known: Vec<UnitName> = known
        .iter()
        .map(|known| instantiate(known, &chosen))
        .collect();
    let mut files = vec![path.clone()];
    for (file, text) in drop_ins::read(&chosen, &known, &path, writers)? {
        entries.extend(unit_file::parse(&file, &text).map_err(|fault| faults(vec![fault]))?);
        files.push(file);
    }
    Ok(Loaded {
        name: chosen,
        path,
        files,
        entries,
    })
}

/// Finds and reads a socket's unit, as [`load`] does a service's: a path that ends in `.socket`, or a name, with or without
/// that. `name` is what it shall be called instead.
///
/// # Errors
/// As [`load`]; and for what is no socket.
pub fn load_socket(what: &str, name: Option<&str>, writers: Writers) -> Result<Loaded, Unloadable> {
    let is_one = what.ends_with(".socket");
    if !is_one && (what.contains('/') || what.ends_with(".service")) {
        let why = "is no socket: the name of its file ends in .socket";
        return Err(Failure::new(Stage::Request, what, why).into());
    }
    let whole = match is_one {
        true => what.to_owned(),
        false => format!("{what}.socket"),
    };
    let loaded = load(&whole, name, None, writers)?;
    if loaded.name.suffix() != "socket" {
        let why = format!("leads to {}, which is no socket", loaded.name.full());
        return Err(Failure::new(Stage::Request, what, why).into());
    }
    Ok(loaded)
}

fn faults(faults: Vec<unit_file::Fault>) -> Unloadable {
    Unloadable::Faults(faults)
}

/// The types of units that can be read.
const TYPES: [&str; 2] = ["service", "socket"];

/// The name of a unit, with its suffix or without.
fn named(name: &str, suffix: &str, subject: &str) -> Result<UnitName, Failure> {
    let whole = match name.rsplit_once('.') {
        Some((_, own)) if TYPES.contains(&own) => name.to_owned(),
        _ => format!("{name}.{suffix}"),
    };
    UnitName::parse(&whole).map_err(|why| Failure::new(Stage::Request, subject, why))
}

/// The first file of that name in the unit folders, or, where there is none in any of them, of its template.
fn look_up(name: &UnitName, writers: Writers) -> Result<Found, Failure> {
    for file in [Some(name.clone()), name.template()].into_iter().flatten() {
        for folder in FOLDERS {
            let path = format!("{folder}/{}", file.full());
            if let Some(found) = follow::unit(&path, name, writers)? {
                return Ok(found);
            }
        }
    }
    let why = format!("is in none of the unit folders ({} …)", FOLDERS.join(" "));
    Err(Failure::new(Stage::Request, name.full(), why))
}

/// The name that the unit is to have.
fn choose(
    own: &UnitName,
    wanted: Option<&str>,
    default: Option<&str>,
) -> Result<UnitName, Failure> {
    let refused = |why: String| Failure::new(Stage::Request, own.full(), why);
    let wanted = wanted.map(|name| named(name, own.suffix(), name));
    let wanted = wanted.transpose()?;
    if let Some(wanted) = wanted.as_ref().filter(|it| it.suffix() != own.suffix()) {
        return Err(refused(format!("cannot be called {}", wanted.full())));
    }
    let name = match wanted {
        // `-u other`, for a file that is no template, and `-u foo@bar`.
        Some(wanted) if own.instance().is_none() || wanted.instance().is_some() => wanted,
        Some(wanted) => {
            return Err(refused(format!(
                "is a template: {} is no instance of it (-u {}@INSTANCE)",
                wanted.full(),
                own.prefix()
            )));
        }
        None => own.clone(),
    };
    if !name.is_template() {
        return Ok(name);
    }
    let Some(instance) = default else {
        return Err(refused(format!(
            "is a template without DefaultInstance=: name an instance (-u {}@INSTANCE)",
            name.prefix()
        )));
    };
    name.with_instance(instance).map_err(refused)
}

/// Another name of the unit, for the instance that was chosen.
fn instantiate(known: &UnitName, chosen: &UnitName) -> UnitName {
    match chosen.instance().filter(|_| known.is_template()) {
        Some(instance) => known
            .with_instance(instance)
            .unwrap_or_else(|_| known.clone()),
        None => known.clone(),
    }
}
