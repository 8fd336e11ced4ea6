//! Whether programs find the names: the module, nsswitch.conf, what stands in between, and what has no modules.

#![forbid(unsafe_code)]

use super::{Configured, Finding, Severity, Text};
use crate::config::{FILE, FOLDER};
use crate::nsswitch::{line, services};
use crate::program_kind::MODULE as FILE_OF_IT;
use crate::user_database::Wanted;

/// Modules that ask another program or another host, and take from 65 µs to seconds for it.
const SLOW: [&str; 5] = ["systemd", "sss", "ldap", "winbind", "nis"];

/// Ours.
const MODULE: &str = "dynuser";

/// The file of the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Where it is.
    pub path: String,
    /// What in its path is closed to others than root: the file, or a folder above it.
    pub closed: Option<String>,
    /// What is wrong with it as a library of this host's programs, as a phrase.
    pub fault: Option<String>,
}

/// Whoever answers on nscd's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// What its process is called.
    pub program: String,
    /// Its number.
    pub pid: i32,
}

/// What a dynamic user who exists was asked as, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Name and number.
    pub user: String,
    /// Whether he was found under the number, or why nobody knows.
    pub found: Result<bool, String>,
}

/// What there is.
#[derive(Clone, Debug)]
pub struct NameService {
    /// The module, if it is installed.
    pub module: Option<Module>,
    /// What of the table of names in /run is closed to others than root.
    pub table_closed: Option<String>,
    /// What came of asking for a user of ours who exists; nothing, if there is none.
    pub tried: Option<Tried>,
    /// Whoever answers on nscd's socket.
    pub cache: Option<Cache>,
    /// Whether programs of glibc can run here.
    pub glibc: bool,
    /// Whether programs of musl can.
    pub musl: bool,
    /// Whether there is the folder where systemd's programs ask.
    pub user_database: bool,
}

/// What the process of our daemon is called.
const DAEMON: &str = "dynuserd";

/// Looks at all of it.
pub(super) fn check(
    nsswitch: &Text,
    there: &NameService,
    config: &Configured,
    found: &mut Vec<Finding>,
) {
    if there.glibc {
        let before = found.len();
        switch(nsswitch, found);
        module(there.module.as_ref(), found);
        let named = found.len() == before;
        if let Some(closed) = &there.table_closed {
            let text =
                "is closed to others than root: no program of theirs finds a user of a service";
            found.push(
                Finding::new(Severity::Warning, closed, text).help(format!("chmod 755 {closed}")),
            );
        }
        if named {
            tried(there, found);
        }
        if let (true, Some(module)) = (found.len() == before, &there.module) {
            let text = format!("{} gives names to the numbers of services", module.path);
            found.push(Finding::new(Severity::Ok, "/etc/nsswitch.conf", text));
        }
    }
    cache(there.cache.as_ref(), found);
    if let Configured::Valid(config) = config {
        if there.musl && !config.nscd_socket && there.cache.is_none() {
            // Beside glibc it may be there for a compiler alone.
            let severity = match there.glibc {
                true => Severity::Note,
                false => Severity::Warning,
            };
            let text = "programs of musl know no modules, and nobody answers them: to them, users of services are numbers";
            found.push(Finding::new(severity, "musl", text).help(write("NscdSocket=yes")));
        }
        if there.user_database && config.user_database_socket == Wanted::No {
            let text = "is where systemd's programs ask, and UserDatabaseSocket=no: userdbctl and nss-systemd do not know users of services";
            found.push(
                Finding::new(Severity::Note, "/run/systemd/userdb", text)
                    .help(write("UserDatabaseSocket=auto")),
            );
        }
    }
}

fn write(line: &str) -> String {
    format!("write {line} in [Manager] of {FOLDER}/{FILE}, then SIGHUP to the daemon")
}

/// Looks at nsswitch.conf(5). `initgroups`, where there is such a line, stands in for `group` when groups of a user are
/// asked for. Nobody asks for the passwords of our users: what `shadow` says is all the same.
fn switch(text: &Text, found: &mut Vec<Finding>) {
    let path = "/etc/nsswitch.conf";
    let text = match text {
        // glibc's default is `files` alone then.
        Ok(text) => text.as_deref().unwrap_or_default(),
        Err(why) => {
            let text = format!("cannot be read: {why}");
            return found.push(Finding::new(Severity::Warning, path, text));
        }
    };
    for database in ["passwd", "group", "initgroups"] {
        if database == "initgroups" && line(text, database).is_none() {
            continue;
        }
        found.extend(
            order(database, &services(text, database))
                .map(|(severity, text, help)| Finding::new(severity, path, text).help(help)),
        );
    }
}

/// Looks at the file.
fn module(module: Option<&Module>, found: &mut Vec<Finding>) {
    let Some(module) = module else {
        let text = "is not installed: outside the sandbox, users of services are shown as numbers";
        return found.push(
            Finding::new(Severity::Warning, FILE_OF_IT, text)
                .help("install it where the C library looks for modules, see README.md"),
        );
    };
    if let Some(fault) = &module.fault {
        let text = format!("{fault}: programs pass it over, and users of services have no names");
        found.push(
            Finding::new(Severity::Warning, &module.path, text)
                .help("install the one that was built for this host, see README.md"),
        );
    }
    if let Some(closed) = &module.closed {
        let text = format!(
            "is closed to others than root, so only root's programs can load {}: users of services do not know themselves by it either",
            module.path
        );
        let mode = if *closed == module.path { "644" } else { "755" };
        found.push(
            Finding::new(Severity::Warning, closed, text).help(format!("chmod {mode} {closed}")),
        );
    }
}

/// Whether it answers.
fn tried(there: &NameService, found: &mut Vec<Finding>) {
    let Some(Tried { user, found: was }) = &there.tried else {
        return;
    };
    let help = match &there.cache {
        Some(cache) if cache.program != DAEMON => format!(
            "restart {}: it may be older than the module or nsswitch.conf",
            cache.program
        ),
        _ => "install the module of the version of this program, see README.md; other names of the same number come first"
            .into(),
    };
    let text = match was {
        Ok(true) => return,
        Ok(false) => format!("{user} exists, and the C library does not find it"),
        Err(why) => format!("{user} exists, and the C library cannot tell: {why}"),
    };
    found.push(Finding::new(Severity::Warning, "name service", text).help(help));
}

/// What answers before any module is asked.
fn cache(cache: Option<&Cache>, found: &mut Vec<Finding>) {
    let Some(Cache { program, pid }) = cache else {
        return;
    };
    let subject = "/run/nscd/socket";
    if program == DAEMON {
        let text = "our daemon answers programs that know no modules";
        return found.push(Finding::new(Severity::Ok, subject, text));
    }
    let text = format!(
        "{program} (process {pid}) answers before the modules are asked; it is told to forget when a user comes or goes"
    );
    found.push(
        Finding::new(Severity::Note, subject, text)
            .help("restart it after a change of nsswitch.conf or of the module: it keeps those that it began with"),
    );
}

/// What is wrong with where our module stands.
fn order(database: &str, words: &[String]) -> Option<(Severity, String, String)> {
    let Some(at) = words.iter().position(|word| word == MODULE) else {
        let line: Vec<&str> = words.iter().map(String::as_str).collect();
        let place = line
            .iter()
            .position(|word| *word != "files")
            .unwrap_or(line.len());
        let (first, rest) = line.split_at_checked(place).unwrap_or((&line, &[]));
        return Some((
            Severity::Warning,
            format!(
                "the line {database}: does not name {MODULE}: users of services have no names outside the sandbox"
            ),
            format!(
                "write: {database}: {}",
                [first, &[MODULE], rest].concat().join(" ")
            ),
        ));
    };
    let before: Vec<&str> = words.iter().take(at).map(String::as_str).collect();
    if let Some(end) = before.iter().find(|word| ends_the_search(word)) {
        return Some((
            Severity::Warning,
            format!("the line {database}: ends before {MODULE} is asked: {end}"),
            format!("put {MODULE} before it"),
        ));
    }
    let slow = before.iter().find(|word| SLOW.contains(word))?;
    Some((
        Severity::Note,
        format!(
            "the line {database}: names {slow} before {MODULE}, so each look-up of a service's user waits for it"
        ),
        format!("put {MODULE} before {slow}"),
    ))
}

/// Tells whether an action ends the search for those whom the service before it does not know.
fn ends_the_search(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    [
        "notfound=return",
        "!success=return",
        "!unavail=return",
        "!tryagain=return",
    ]
    .iter()
    .any(|action| word.starts_with('[') && word.contains(action))
}
