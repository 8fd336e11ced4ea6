//! The files of accounts in the service's view, for services that the module does not reach.

#![forbid(unsafe_code)]

use super::Identity;
use crate::account_lines::Database;
use crate::directives::{Access, TemporaryFileSystem, UserDatabase};
use crate::exec_directory::lies_in;
use crate::failure::{Failure, Stage};
use crate::layout::{RUN, VIEWS};
use crate::observed::{AccountFile, Asks, Module, Observed};
use crate::spec::Spec;
use crate::user_record::Record;

/// What the host's look-ups are told by.
const SWITCH: &str = "/etc/nsswitch.conf";

/// A file of accounts that the service gets its own copy of.
pub(super) struct Shown {
    pub(super) database: Database,
    /// The copy.
    pub(super) path: String,
    /// The lines that are added, without their ends.
    pub(super) lines: Vec<String>,
}

/// Which of them it gets. `covers` are the empty file systems in its view.
///
/// # Errors
/// Of [`Stage::User`], where `UserDatabase=` asks for what cannot be.
pub(super) fn shown(
    spec: &Spec,
    identity: &Identity,
    observed: &Observed,
    covers: &[TemporaryFileSystem],
) -> Result<Vec<Shown>, Failure> {
    if !identity.dynamic {
        return Ok(Vec::new());
    }
    let asked = spec.settings().user_database;
    let unheard = unheard(spec, observed, covers);
    let wanted = match (asked, unheard) {
        (UserDatabase::Nss, Some(why)) if is_sure(observed) => return Err(refused("nss", &why)),
        (UserDatabase::Nss, _) => false,
        (UserDatabase::Files, _) => true,
        (UserDatabase::Auto, unheard) => unheard.is_some() || !asks_module(spec, observed, covers),
    };
    if !wanted {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for database in Database::ALL {
        match unusable(spec, observed, database) {
            None => all.push(copy(identity, observed, database)),
            Some(why) if asked == UserDatabase::Files => {
                return Err(refused("files", &format!("{} {why}", database.path())));
            }
            // Nothing is shown that the host does not have, or that was hidden by name.
            Some(_) => {}
        }
    }
    Ok(all)
}

/// Refuses to leave a user unknown to its service, where there is no view at all.
///
/// # Errors
/// Of [`Stage::User`].
pub(super) fn refuse_unheard(
    spec: &Spec,
    identity: &Identity,
    observed: &Observed,
) -> Result<(), Failure> {
    match unheard(spec, observed, &[]) {
        Some(why)
            if spec.settings().user_database == UserDatabase::Nss
                && identity.dynamic
                && is_sure(observed) =>
        {
            Err(refused("nss", &why))
        }
        _ => Ok(()),
    }
}

/// A C library may look for its modules where no other does.
fn is_sure(observed: &Observed) -> bool {
    observed.name_service.module != Module::NotFound
}

fn refused(value: &str, why: &str) -> Failure {
    Failure::new(Stage::User, format!("UserDatabase={value}"), why)
}

/// Why nobody in the service's view would hear of its user through the module.
fn unheard(spec: &Spec, observed: &Observed, covers: &[TemporaryFileSystem]) -> Option<String> {
    let hidden = |path: &str| {
        let covered = covers.iter().any(|cover| cover.holds(path));
        covered || is_replaced(spec, path)
    };
    let module = match &observed.name_service.module {
        Module::NotAsked => {
            return Some(format!(
                "nobody would know the user: {SWITCH} does not name dynuser for passwd and group; add it there after files, or say UserDatabase=auto"
            ));
        }
        Module::NotFound => return Some("the module is not where C libraries look".into()),
        Module::At(path) => path.as_str(),
    };
    let mut needed = [RUN, SWITCH, module].into_iter();
    let gone = needed.find(|path| hidden(path))?;
    Some(format!(
        "the service would not know its user: its view hides {gone}; say UserDatabase=auto"
    ))
}

/// Whether the first program asks the module, as far as anybody can tell.
fn asks_module(spec: &Spec, observed: &Observed, covers: &[TemporaryFileSystem]) -> bool {
    let program = spec.settings().main_program.as_deref().unwrap_or_default();
    // It is another one than the host has there, or none.
    let other = covers.iter().any(|cover| cover.holds(program)) || is_replaced(spec, program);
    observed.name_service.program == Asks::Module && !other
}

/// Whether what the service sees at a path is not what the host has there.
fn is_replaced(spec: &Spec, path: &str) -> bool {
    let mounts = &spec.settings().mounts;
    let mut rules = mounts.paths.iter();
    let mut binds = mounts.binds.iter();
    rules.any(|rule| rule.access == Access::Nothing && lies_in(path, &rule.path))
        || binds.any(|bind| lies_in(path, &bind.target))
}

/// Why there is no copy of a file of accounts for a service.
fn unusable(spec: &Spec, observed: &Observed, database: Database) -> Option<String> {
    let file = match database {
        Database::Passwd => &observed.name_service.passwd,
        Database::Group => &observed.name_service.group,
    };
    match file {
        AccountFile::Unusable(why) => Some(why.clone()),
        // Whoever hides it, or shows another one, means that.
        AccountFile::There if is_replaced(spec, database.path()) => {
            Some("is hidden in its view, or another one is shown in its place".into())
        }
        AccountFile::There => None,
    }
}

fn copy(identity: &Identity, observed: &Observed, database: Database) -> Shown {
    let known = &observed.name_service.records;
    let nobody = std::iter::empty();
    let own = Record::new(&identity.user, identity.uid.get(), None, &[], nobody);
    let own = known.is_empty().then_some(&own);
    let records = known.iter().chain(own);
    Shown {
        database,
        path: format!("{VIEWS}/{}/{}", identity.uid, database.name()),
        lines: records.map(|record| database.line(record)).collect(),
    }
}
