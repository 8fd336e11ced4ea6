//! The files of a service's credentials.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::Reason;
use crate::directives::{Credential, Source};
use crate::plan::Owner;
use crate::sys::fs as files;
use crate::sys::mount::{self, Change};

/// Where credentials are kept that are named without a path (systemd.exec(5), "LoadCredential=").
const STORES: [&str; 4] = [
    "/etc/credstore",
    "/run/credstore",
    "/usr/local/lib/credstore",
    "/usr/lib/credstore",
];

/// The most that all together may hold, in bytes: systemd's `CREDENTIALS_TOTAL_SIZE_MAX`.
const MOST: u64 = 1024 * 1024;

/// How deep a directory of credentials may be.
const DEEPEST: u32 = 8;

type Secrets = BTreeMap<String, Vec<u8>>;

/// Makes a detached file system with the files of all `credentials`, which `owner` alone can read.
pub(super) fn make(
    path: &str,
    credentials: &[Credential],
    owner: Owner,
) -> Result<OwnedFd, Reason> {
    let secrets = read_all(credentials)?;
    let size = secrets
        .values()
        .map(Vec::len)
        .fold(0_usize, usize::saturating_add);
    if u64::try_from(size)? > MOST {
        return Err(format!("would hold {size} bytes; all together may have {MOST}").into());
    }
    let closed = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let options = [("mode", "0700"), ("size", "2m"), ("nr_inodes", "4k")];
    // In memory that is never swapped out, where the kernel can do that (6.4).
    let made = match mount::new_tmpfs(&[&options[..], &[("noswap", "")]].concat(), closed) {
        Err(error) if error.errno == Errno::INVAL => mount::new_tmpfs(&options, closed)?,
        made => made?,
    };
    for (name, secret) in &secrets {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&made, name.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(file);
        file.write_all(secret)?;
        files::set_owner(&file, owner.uid, owner.gid)?;
        files::set_mode(&file, 0o400)?;
    }
    let top = files::open_beneath(&made, "")?;
    files::set_owner(&top, owner.uid, owner.gid)?;
    files::set_mode(&top, 0o500)?;
    let sealed = Change {
        set: mount::RDONLY,
        ..Change::default()
    };
    mount::change(made.as_fd(), c"", &sealed)?;
    tracing::debug!(path, count = secrets.len(), "credentials");
    Ok(made)
}

/// Reads them: what is loaded comes before what is imported, and that before what the unit file says itself.
fn read_all(credentials: &[Credential]) -> Result<Secrets, Reason> {
    let mut secrets = Secrets::new();
    let mut missing = None;
    for credential in credentials {
        let name = &credential.name;
        match &credential.source {
            Source::Load(from) if from.starts_with('/') => {
                if !load(Path::new(from), name, DEEPEST, &mut secrets)? {
                    missing = Some((name, from));
                }
            }
            Source::Load(from) => {
                for store in STORES {
                    if load(&Path::new(store).join(from), name, DEEPEST, &mut secrets)? {
                        break;
                    }
                }
            }
            Source::Import | Source::Set(_) => {}
        }
    }
    let imported = credentials.iter().filter(|it| it.source == Source::Import);
    imported
        .map(|it| it.name.as_str())
        .try_for_each(|pattern| import(pattern, &mut secrets))?;
    for credential in credentials {
        if let Source::Set(value) = &credential.source {
            let known = secrets.entry(credential.name.clone());
            known.or_insert_with(|| value.clone());
        }
    }
    match missing.filter(|(name, _)| !secrets.contains_key(*name)) {
        Some((name, from)) => {
            Err(format!("the credential {name} is to be in {from}, which does not exist").into())
        }
        None => Ok(secrets),
    }
}

/// Adds what is at a path: one credential, or those of a directory. Whether something is there.
fn load(path: &Path, name: &str, depth: u32, secrets: &mut Secrets) -> Result<bool, Reason> {
    let told = |error: std::io::Error| Reason::from(format!("{}: {error}", path.display()));
    let Some(text) = path.to_str() else {
        return Err(format!("{} is no text", path.display()).into());
    };
    // Root reads it: in a directory of somebody else's it may be a link to anything.
    let file = match files::open_file_trusted(text) {
        Err(error) if error.errno == Errno::NOENT => return Ok(false),
        Err(error) if error.errno == Errno::ISDIR && depth > 0 => {
            for entry in fs::read_dir(path).map_err(told)? {
                let entry = entry.map_err(told)?;
                let Some(below) = entry
                    .file_name()
                    .to_str()
                    .map(|below| format!("{name}_{below}"))
                else {
                    continue;
                };
                load(&entry.path(), &below, depth.saturating_sub(1), secrets)?;
            }
            return Ok(true);
        }
        opened => opened?,
    };
    // The first of two directives that name the same has it.
    if !secrets.contains_key(name) {
        let mut secret = Vec::new();
        file.take(MOST.saturating_add(1))
            .read_to_end(&mut secret)
            .map_err(told)?;
        secrets.insert(name.into(), secret);
    }
    Ok(true)
}

/// Adds those of the stores whose name begins like the pattern, or is it.
fn import(pattern: &str, secrets: &mut Secrets) -> Result<(), Reason> {
    for store in STORES {
        let entries = match fs::read_dir(store) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let meant = match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == pattern,
            };
            if meant && entry.path().is_file() {
                load(&entry.path(), &name, 0, secrets)?;
            }
        }
    }
    Ok(())
}
