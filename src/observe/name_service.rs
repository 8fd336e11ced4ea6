//! Who tells a service who its user is: the module, or files of accounts.

use std::fs;
use std::os::unix::fs::FileExt;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::account_lines::Database;
use crate::directives::UserDatabase;
use crate::nsswitch;
use crate::observed::{AccountFile, Asks, Module, NameService};
use crate::program_kind::{self, Kind, LOOKED_AT, MODULE, Machine};
use crate::spec::Spec;
use crate::sys::fs::{open_file_trusted, pin_trusted, status};

/// The largest file of accounts that is copied, in bytes: every user may have its own copy in memory.
pub const LARGEST: usize = 1 << 20;

/// Where programs are looked for (systemd.service(5), "Command lines").
const SEARCH_PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// How many scripts may be each other's interpreter: the kernel's own limit (execve(2)).
const MOST_SCRIPTS: usize = 5;

/// Looks at what [`crate::directives::UserDatabase`] depends on.
pub(super) fn look(spec: &Spec) -> NameService {
    if !spec.is_dynamic() {
        return NameService::default();
    }
    let (module, machine) = module();
    let auto = spec.settings().user_database == UserDatabase::Auto;
    let program = match machine {
        Some(machine) if auto => program(spec, machine),
        _ => Asks::Unknown,
    };
    NameService {
        module,
        passwd: account_file(Database::Passwd),
        group: account_file(Database::Group),
        program,
        records: Vec::new(),
    }
}

/// The module, and what it is for.
fn module() -> (Module, Option<Machine>) {
    if !is_asked() {
        return (Module::NotAsked, None);
    }
    let folders = library_folders().into_iter();
    let mut files = folders.map(|folder| format!("{folder}/{MODULE}"));
    let found = files.find_map(|path| {
        let bytes = first_bytes(fs::File::open(&path).ok()?)?;
        Some((path, program_kind::machine(&bytes)))
    });
    match found {
        Some((path, machine)) => (Module::At(path), machine),
        None => (Module::NotFound, None),
    }
}

/// Where C libraries of distributions look for their modules (ld.so(8)).
pub fn library_folders() -> [String; 8] {
    let triple = match std::env::consts::ARCH {
        "x86" => "i386-linux-gnu".into(),
        "arm" => "arm-linux-gnueabihf".into(),
        arch => format!("{arch}-linux-gnu"),
    };
    [
        format!("/lib/{triple}"),
        format!("/usr/lib/{triple}"),
        "/lib64".into(),
        "/usr/lib64".into(),
        "/lib".into(),
        "/usr/lib".into(),
        format!("/usr/local/lib/{triple}"),
        "/usr/local/lib".into(),
    ]
}

/// Whether the host's look-ups ask our module for users and for groups.
fn is_asked() -> bool {
    fs::read_to_string("/etc/nsswitch.conf").is_ok_and(|text| {
        let mut databases = Database::ALL.into_iter();
        databases.all(|database| names_module(&text, database.name()))
    })
}

/// Whether the line of a database in an nsswitch.conf(5) names the module.
fn names_module(text: &str, database: &str) -> bool {
    let services = nsswitch::services(text, database);
    services.iter().any(|service| service == "dynuser")
}

/// Whether a file of the host's can be copied and covered, or why not.
fn account_file(database: Database) -> AccountFile {
    match is_usable(database) {
        Ok(()) => AccountFile::There,
        Err(why) => AccountFile::Unusable(why),
    }
}

/// Which files of accounts the host has, and in which state: device, inode, size, and when each was changed.
pub type Stamps = [Option<(u64, u64, i64, i64, u64)>; 2];

/// What the host's files of accounts are at this moment.
pub fn stamps() -> Stamps {
    Database::ALL.map(|database| {
        let found = rustix::fs::stat(database.path()).ok()?;
        let (seconds, rest) = (found.st_ctime, found.st_ctime_nsec);
        Some((found.st_dev, found.st_ino, found.st_size, seconds, rest))
    })
}

/// Whether a file of accounts can be shown with lines added.
///
/// # Errors
/// Why not, to be read after the name of the file.
pub fn is_usable(database: Database) -> Result<(), String> {
    let told = |errno| match errno {
        Errno::NOENT => {
            "is missing, and there is nothing to put a view on; an empty file will do".into()
        }
        Errno::PERM => "is reached over links that not only root can change".into(),
        errno => format!("cannot be read ({})", std::io::Error::from(errno)),
    };
    let pinned = pin_trusted(database.path()).map_err(|error| told(error.errno))?;
    let found = status(&pinned).map_err(|error| told(error.errno))?;
    if found.kind != FileType::RegularFile {
        return Err("is no file".into());
    }
    let size = rustix::fs::fstat(&pinned).map_err(told)?.st_size;
    match usize::try_from(size) {
        Ok(size) if size <= LARGEST => Ok(()),
        _ => Err(format!(
            "has {size} bytes: more than {LARGEST} are not copied for every service"
        )),
    }
}

/// Whom the service's first program asks for users, if it is for the module's machine.
fn program(spec: &Spec, module: Machine) -> Asks {
    let Some(name) = &spec.settings().main_program else {
        return Asks::Unknown;
    };
    let mut path = match name.contains('/') {
        true => Some(name.clone()),
        false => found_in(spec, name),
    };
    for _ in 0..MOST_SCRIPTS {
        // What is not absolute is told by the service's working directory alone.
        let Some(here) = path.filter(|path| path.starts_with('/')) else {
            return Asks::Unknown;
        };
        let file = open_file_trusted(&here).ok().and_then(first_bytes);
        path = match file.map_or(Kind::Unknown, |bytes| Kind::of(&bytes)) {
            Kind::Script(interpreter) => Some(interpreter),
            Kind::Static => return Asks::Files,
            Kind::Loaded { by, machine } => {
                let module = program_kind::is_hosts_linker(&by) && machine == module;
                return if module { Asks::Module } else { Asks::Files };
            }
            Kind::Unknown => return Asks::Unknown,
        };
    }
    Asks::Unknown
}

/// Where a program is that is called by its name alone.
fn found_in(spec: &Spec, name: &str) -> Option<String> {
    let settings = spec.settings();
    let assigned = settings.environment.iter().rev();
    let mut assigned = assigned.filter(|(variable, _)| variable == "PATH");
    let asked = &settings.more_environment.search_path;
    let folders: Vec<String> = match assigned.next() {
        _ if !asked.is_empty() => asked.clone(),
        Some((_, path)) => path.split(':').map(String::from).collect(),
        None => SEARCH_PATH.map(String::from).into(),
    };
    let paths = folders.into_iter().map(|folder| format!("{folder}/{name}"));
    let mut there = paths.filter(|path| pin_trusted(path).is_ok());
    there.next()
}

fn first_bytes(file: fs::File) -> Option<Vec<u8>> {
    let mut bytes = vec![0; LOOKED_AT];
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        let at = u64::try_from(length).ok()?;
        match file.read_at(rest, at) {
            Ok(0) => break,
            Ok(read) => length = length.saturating_add(read),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    bytes.truncate(length);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_counts_only_where_it_is_asked() {
        for (text, known) in [
            ("passwd: files dynuser\n", true),
            ("passwd:\tfiles dynuser systemd # no\n", true),
            ("passwd: files # dynuser\n", false),
            ("passwd: files dynusers\n", false),
            ("group: dynuser\n", false),
            ("", false),
        ] {
            assert_eq!(names_module(text, "passwd"), known, "{text}");
        }
    }
}
