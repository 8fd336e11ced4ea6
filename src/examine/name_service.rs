//! What gives names to numbers on this host, and what stands in between.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::text;
use crate::doctor::{Cache, Module, NameService, Tried};
use crate::layout::USERS;
use crate::observe::library_folders;
use crate::program_kind::MODULE;
use crate::published;
use crate::sys::names::{Question, ask};
use crate::sys::socket::{connect_now, credentials};

/// Where nscd(8) and its kin listen.
const NSCD: &str = "/run/nscd/socket";

/// Where systemd's programs ask.
const USER_DATABASE: &str = "/run/systemd/userdb";

/// How long the name service may take: a dead LDAP server must not stop whoever looks for what is wrong.
const PATIENCE: Duration = Duration::from_secs(10);

/// Of the head of an ELF file (elf(5)): the magic, class and byte order, and at its end the machine.
const HEAD: usize = 20;

/// Looks at all of it.
pub(super) fn look() -> NameService {
    let folders = folders();
    let module = folders
        .iter()
        .map(|folder| folder.join(MODULE))
        .find(|file| fs::metadata(file).is_ok_and(|found| found.is_file()))
        .map(|file| Module {
            path: file.display().to_string(),
            closed: closed(&file),
            fault: fault(&file),
        });
    NameService {
        module,
        // It is not there while nobody has a lease, which is no fault.
        table_closed: closed(Path::new(USERS)),
        tried: tried(),
        cache: cache(),
        glibc: folders
            .iter()
            .any(|folder| folder.join("libc.so.6").exists()),
        musl: has_musl(),
        user_database: Path::new(USER_DATABASE).is_dir(),
    }
}

/// Beside the C library that this program has loaded, and the other folders where one looks for libraries.
fn folders() -> Vec<PathBuf> {
    let maps = text("/proc/self/maps").ok().flatten().unwrap_or_default();
    let loaded = maps.lines().filter_map(|line| {
        let path = Path::new(line.split_ascii_whitespace().nth(5)?);
        let libc = path.file_name()? == "libc.so.6";
        libc.then(|| path.parent().map(PathBuf::from))?
    });
    let usual = library_folders();
    loaded.take(1).chain(usual.map(PathBuf::from)).collect()
}

/// What of a path that exists is closed to others: a folder that they cannot search, a file that they cannot read.
fn closed(path: &Path) -> Option<String> {
    let real = fs::canonicalize(path).ok()?;
    let mut whole: Vec<&Path> = real.ancestors().collect();
    whole.reverse();
    let lacking = |path: &&Path| {
        fs::metadata(path).is_ok_and(|found| {
            let needed = if found.is_dir() { 0o001 } else { 0o004 };
            found.permissions().mode() & needed == 0
        })
    };
    whole
        .into_iter()
        .find(lacking)
        .map(|path| path.display().to_string())
}

/// What is wrong with a library that our own program could not load.
fn fault(library: &Path) -> Option<String> {
    let ours = head(Path::new("/proc/self/exe")).ok()?;
    let theirs = match head(library) {
        Ok(head) => head,
        Err(error) => return Some(format!("cannot be read ({error})")),
    };
    let machine = |head: &[u8; HEAD]| {
        (
            head.get(4..6).map(<[u8]>::to_vec),
            head.get(18..).map(<[u8]>::to_vec),
        )
    };
    if !theirs.starts_with(b"\x7fELF") {
        Some("is no library".into())
    } else if machine(&ours) != machine(&theirs) {
        Some("was built for another machine".into())
    } else {
        None
    }
}

fn head(path: &Path) -> std::io::Result<[u8; HEAD]> {
    let mut head = [0; HEAD];
    let mut file = File::open(path)?.take(20);
    let mut at = 0;
    while let Some(rest) = head.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            more => at = usize::saturating_add(at, more),
        }
    }
    Ok(head)
}

/// Asks for a user who exists, as any program of the host would.
fn tried() -> Option<Tried> {
    let record = published::all().ok()?.into_iter().next()?;
    let question = Question {
        name: Some(record.name.clone()),
        number: None,
    };
    let answer = ask(question).and_then(|asked| asked.answer(PATIENCE));
    // It may have ended meanwhile.
    let still = published::by_name(&record.name).ok().flatten()?;
    Some(Tried {
        user: format!("user {} ({})", record.name, record.uid),
        found: match answer {
            Ok(answer) => Ok(answer.user.is_some_and(|user| user.uid == still.uid)),
            Err(error) => Err(error.to_string()),
        },
    })
}

/// Who answers before the modules.
fn cache() -> Option<Cache> {
    let socket = connect_now(NSCD).ok().flatten()?;
    let (pid, _) = credentials(&socket).ok()?;
    let name = text(&format!("/proc/{pid}/comm")).ok().flatten();
    let program = name.map_or_else(|| "a program".into(), |name| name.trim().to_owned());
    Some(Cache { program, pid })
}

fn has_musl() -> bool {
    let entries = fs::read_dir("/lib").into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name());
    names.any(|name| name.as_encoded_bytes().starts_with(b"ld-musl-"))
}
