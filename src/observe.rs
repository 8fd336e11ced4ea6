//! Looking at the host, for the facts that a plan depends on.

mod name_service;
mod searchers;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

pub use name_service::{LARGEST, Stamps, is_usable, library_folders, stamps};
pub use searchers::searched;

use crate::exec_directory::{ExecDirectory, Kind};
use crate::failure::{Failure, OrFail, Stage};
use crate::observed::{Entry, Observed};
use crate::place::{self, Place};
use crate::plan::questions;
use crate::spec::Spec;
use crate::sys::SysResult;
use crate::sys::fs::{
    Status, is_empty, is_mount_point, link_target, open_beneath, open_trusted, path_of,
    pin_beneath, pin_trusted, status,
};

/// File systems in which services use what the kernel offers: their mounts keep what they allow.
const KERNEL_TREES: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Where systemd keeps the credentials of all services (systemd.exec(5), "LoadCredential=").
const SECRETS: [&str; 1] = ["/run/credentials"];

/// Looks at everything that the plan for `spec` may depend on.
///
/// # Errors
/// Of [`Stage::Namespace`] or of the kind of directory that could not be looked at.
pub fn look(spec: &Spec) -> Result<Observed, Failure> {
    let mut observed = Observed {
        writable_mounts: writable_mounts()?,
        temporary: temporary(),
        secrets: SECRETS
            .into_iter()
            .filter(|path| is_directory(path))
            .map(String::from)
            .collect(),
        homes: ["/home", "/root", "/run/user"]
            .into_iter()
            .filter(|path| is_directory(path))
            .map(String::from)
            .collect(),
        resolved: resolved(spec),
        name_service: name_service::look(spec),
        split_usr: is_directory("/bin"),
        ..Observed::default()
    };
    for path in questions(spec) {
        let stage = spec
            .places()
            .find(|place| path.starts_with(place.kind().base()))
            .map_or(Stage::Namespace, |place| place.kind().stage());
        let found = entry(&path).or_fail(stage, &path)?;
        observed.entries.insert(path, found);
    }
    searchers::look(&mut observed)?;
    for place in spec.places() {
        look_for_the_empty_one(&mut observed, place)
            .or_fail(place.kind().stage(), place.public())?;
    }
    Ok(observed)
}

/// Where the paths of rules lead. What is not there, or is reached only over what others can change, stays what it is: the
/// step that needs it fails, unless it may be missing.
fn resolved(spec: &Spec) -> BTreeMap<String, String> {
    let paths = spec.settings().mounts.paths.iter().map(|rule| &rule.path);
    let led = paths.filter_map(|path| {
        let real = path_of(pin_trusted(path).ok()?).ok()?;
        let real = real.to_str().filter(|real| real != path)?;
        Some((path.clone(), real.to_owned()))
    });
    led.collect()
}

/// The owners of the directories that `spec` asks for, where they exist, behind the boundary or not.
///
/// # Errors
/// As [`look`].
pub fn owners(spec: &Spec) -> Result<Vec<u32>, Failure> {
    let mut owners = Vec::new();
    for directory in spec.directories() {
        let place = directory.place();
        let behind = place.behind().filter(|_| directory.is_private());
        for path in behind.into_iter().chain([place.public()]) {
            let found = entry(&path).or_fail(directory.stage(), &path)?;
            if let Entry::Directory { uid, .. } = found {
                owners.push(uid);
                break;
            }
        }
    }
    Ok(owners)
}

/// Where two directories are in each other's way, the one behind the boundary may be empty, whoever's it is.
fn look_for_the_empty_one(observed: &mut Observed, place: &ExecDirectory) -> SysResult<()> {
    let Some(behind) = place.behind() else {
        return Ok(());
    };
    let public = observed.entry(&place.public());
    if !matches!(public, Entry::Directory { .. }) {
        return Ok(());
    }
    if let Some(Entry::Directory { empty, .. }) = observed.entries.get_mut(&behind) {
        let Place { parent, name } = place::find(&behind)?;
        *empty = is_empty(open_beneath(&parent, &name)?)?;
    }
    Ok(())
}

/// What is at a path, without following a link below its base.
fn entry(path: &str) -> SysResult<Entry> {
    let pinned = place::find(path).and_then(|place| {
        let pinned = pin_beneath(&place.parent, &place.name)?;
        Ok((place, pinned))
    });
    let (place, pinned) = match pinned {
        Ok(found) => found,
        Err(error) if error.errno == Errno::NOENT => return Ok(Entry::Nothing),
        Err(error) if matches!(error.errno, Errno::LOOP | Errno::NOTDIR) => {
            return Ok(Entry::Other);
        }
        Err(error) => return Err(error),
    };
    let Status {
        uid,
        gid,
        mode,
        kind,
        ..
    } = status(&pinned)?;
    Ok(match kind {
        FileType::Directory => {
            let public = !is_behind(path);
            Entry::Directory {
                uid,
                gid,
                mode,
                // It matters of root's alone, and where it may be in the way of one behind the boundary.
                empty: (uid == 0 || public) && is_empty(open_beneath(&place.parent, &place.name)?)?,
                mount_point: public && is_mount_point(&pinned)?,
            }
        }
        FileType::Symlink => Entry::Link(link_target(&pinned)?),
        _ => Entry::Other,
    })
}

/// Whether a path is a boundary directory, or lies behind one.
pub fn is_behind(path: &str) -> bool {
    let mut boundaries = Kind::ALL.into_iter().filter_map(Kind::boundary);
    boundaries.any(|boundary| path.starts_with(boundary))
}

/// The paths, relative to `top`, of what is mounted in it, outermost first. `top` is a path without links.
///
/// # Errors
/// Of [`Stage::Namespace`].
pub fn mounts_below(top: &Path) -> Result<Vec<PathBuf>, Failure> {
    let table = mount_table()?;
    let mounts = mounts(&table);
    let mut below: Vec<PathBuf> = mounts
        .iter()
        .filter(|mount| !is_hidden(mount, &mounts))
        .filter_map(|mount| mount.path.strip_prefix(top).ok())
        .filter(|below| !below.as_os_str().is_empty())
        .map(PathBuf::from)
        .collect();
    below.sort();
    Ok(below)
}

fn is_directory(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// Those of the public temporary directories that are there at all. Where one is a link, the mount
/// goes to where it points, or fails: the service never sees the host's.
fn temporary() -> Vec<String> {
    ["/tmp", "/var/tmp"]
        .into_iter()
        .filter(|path| fs::symlink_metadata(path).is_ok())
        .map(String::from)
        .collect()
}

/// The mounts of the kernel's trees that can be written to, topmost ones only.
fn writable_mounts() -> Result<Vec<PathBuf>, Failure> {
    Ok(parse_writable_mounts(&mount_table()?))
}

/// The mounts of the namespace that we are in, as text.
fn mount_table() -> Result<Vec<u8>, Failure> {
    let path = "/proc/thread-self/mountinfo";
    // It claims to be empty, and would be read in pieces that begin with 32 bytes.
    let mut table = Vec::with_capacity(1 << 16);
    fs::File::open(path)
        .and_then(|mut file| file.read_to_end(&mut table))
        .or_fail(Stage::Namespace, path)?;
    Ok(table)
}

fn mounts(table: &[u8]) -> Vec<Mount> {
    table
        .split(|byte| *byte == b'\n')
        .filter_map(Mount::parse)
        .collect()
}

/// One line of a mountinfo (proc_pid_mountinfo(5)).
struct Mount {
    id: u64,
    parent: u64,
    path: PathBuf,
    writable: bool,
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let number = |field: Option<&[u8]>| str::from_utf8(field?).ok()?.parse().ok();
        let (id, parent) = (number(fields.next())?, number(fields.next())?);
        let mut fields = fields.skip(2);
        let path = unescape(fields.next()?);
        let mut options = fields.next()?.split(|byte| *byte == b',');
        Some(Self {
            id,
            parent,
            path,
            writable: options.any(|word| word == b"rw"),
        })
    }

    /// Whether `self` lies on top of `other`, or of the directory that `other` is mounted in.
    fn hides(&self, other: &Self) -> bool {
        let on_top = self.parent == other.id && self.path == other.path;
        let beside = self.parent == other.parent
            && self.id != other.id
            && other.path.starts_with(&self.path);
        on_top || beside
    }
}

/// Reads a mountinfo. Mounts that lie hidden under others are left out: no path leads to them.
fn parse_writable_mounts(table: &[u8]) -> Vec<PathBuf> {
    let of_the_kernel =
        |mount: &Mount| KERNEL_TREES.iter().any(|tree| mount.path.starts_with(tree));
    let mut mounts = mounts(table);
    mounts.retain(of_the_kernel);
    mounts
        .iter()
        .filter(|mount| mount.writable && !is_hidden(mount, &mounts))
        .map(|mount| mount.path.clone())
        .collect()
}

/// Where files can be made in a namespace in which all else is read-only, by its mountinfo: in mounts that can be written
/// to, and in the kernel's trees, as far as nobody but root had a say on the way.
pub fn writable_places(table: &[u8]) -> Vec<String> {
    let mounts = mounts(table);
    let writable = mounts.iter().filter(|it| it.writable);
    let writable = writable.filter(|it| !is_hidden(it, &mounts));
    let shown = writable.filter_map(|it| it.path.to_str().map(String::from));
    let mut places: Vec<String> = shown.chain(KERNEL_TREES.map(String::from)).collect();
    places.retain(|place| open_trusted(place).is_ok());
    places.sort_unstable();
    places.dedup();
    places
}

/// Whether a mount, or one that it is mounted in, lies under another one.
fn is_hidden(mount: &Mount, mounts: &[Mount]) -> bool {
    if mounts.iter().any(|other| other.hides(mount)) {
        return true;
    }
    let parent = mounts
        .iter()
        .find(|other| other.id == mount.parent && other.id != mount.id);
    // What lies on top of its parent hides it, and is not hidden with it.
    parent.is_some_and(|parent| parent.path != mount.path && is_hidden(parent, mounts))
}

/// Undoes the octal escapes of mountinfo: `\040` is a blank.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'\\')
            .then(|| tail.split_at_checked(3))
            .flatten();
        let number = escaped.and_then(|(digits, after)| {
            let digits = str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 8).ok()?, after))
        });
        let (byte, after) = number.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = after;
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writable_mounts_are_those_of_the_kernel_s_trees_that_can_be_reached() {
        let table = b"1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            2 1 0:5 / /proc rw,nosuid - proc proc rw\n\
            3 2 0:5 /sys /proc/sys ro,nosuid - proc proc rw\n\
            4 1 0:6 / /dev rw - devtmpfs dev rw\n\
            5 4 0:7 / /dev/with\\040blank rw - tmpfs t rw\n\
            6 4 0:8 / /dev/shm rw - tmpfs t rw\n\
            7 6 0:9 / /dev/shm ro - tmpfs t rw\n\
            8 1 0:9 / /device rw - tmpfs t rw\n\
            broken\n";
        assert_eq!(
            parse_writable_mounts(table),
            ["/proc", "/dev", "/dev/with blank"].map(PathBuf::from)
        );
    }

    #[test]
    fn what_lies_under_another_mount_is_left_out() {
        // As `unshare --mount-proc` leaves it on a host with binfmt_misc, and a mount over a
        // directory that has one further in.
        let table = b"1 0 8:1 / / rw - ext4 /dev/vda rw\n\
            2 1 0:5 / /proc rw - proc proc rw\n\
            3 2 0:6 / /proc/sys/fs/binfmt_misc rw - binfmt_misc b rw\n\
            4 2 0:7 / /proc rw - proc proc rw\n\
            5 1 0:8 / /sys rw - sysfs sysfs rw\n\
            6 5 0:9 / /sys/fs/cgroup/unified rw - cgroup2 c rw\n\
            7 5 0:10 / /sys/fs/cgroup rw - tmpfs t rw\n\
            8 6 0:11 / /sys/fs/cgroup/unified/deep rw - tmpfs t rw\n";
        assert_eq!(
            parse_writable_mounts(table),
            ["/proc", "/sys", "/sys/fs/cgroup"].map(PathBuf::from)
        );
    }
}
