//! A /dev of a service's own (systemd.exec(5), "PrivateDevices=").

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, chmodat, makedev, mknodat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::host::if_there;
use super::namespace::make_mount_point;
use crate::sys::fs::{self as files, pin_beneath, pin_trusted};
use crate::sys::mount;
use crate::sys::{During, SysResult};

/// Character devices that are nobody's: name, major and minor number (the kernel's devices.txt).
const PSEUDO: [(&str, u32, u32); 7] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("ptmx", 5, 2),
];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

/// What is everybody's in the host's /dev, and stays: file systems, and the socket that log messages go to.
const SHARED: [&str; 5] = ["pts", "shm", "mqueue", "hugepages", "log"];

/// Mounts it at `path`. It is sealed when what else belongs there is there.
pub(super) fn mount(path: &str) -> SysResult<()> {
    let host = pin_trusted(path)?;
    let closed = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let options = [("mode", "0755"), ("size", "4m"), ("nr_inodes", "128")];
    let devices = mount::new_tmpfs(&options, closed)?;
    let mut attached = Vec::new();
    for (name, major, minor) in PSEUDO {
        attached.extend(node(&host, &devices, name, makedev(major, minor))?);
    }
    for (name, target) in LINKS {
        files::make_link(&devices, name, target)?;
    }
    for name in SHARED {
        attached.extend(shared(&host, &devices, name)?);
    }
    mount::attach(devices, &host)?;
    for (name, view) in attached {
        let at = format!("{path}/{name}");
        make_mount_point(path, &at, &view)?;
        mount::attach(view, pin_trusted(&at)?)?;
    }
    Ok(())
}

type Attached = Option<(&'static str, OwnedFd)>;

/// Makes a device, or has the host's attached where none may be made: in most containers.
fn node(host: &OwnedFd, devices: &OwnedFd, name: &'static str, number: u64) -> SysResult<Attached> {
    let Some(theirs) = if_there(pin_beneath(host, name))? else {
        return Ok(None);
    };
    if files::status(&theirs)?.kind == FileType::Symlink {
        files::make_link(devices, name, &files::link_target(&theirs)?)?;
        return Ok(None);
    }
    let everybody = Mode::from_raw_mode(0o666);
    match mknodat(devices, name, FileType::CharacterDevice, everybody, number) {
        // Whatever the umask took away.
        Ok(()) => chmodat(devices, name, everybody, AtFlags::empty())
            .during("fchmodat", name)
            .map(|()| None),
        Err(Errno::PERM) => Ok(Some((name, mount::clone_tree(theirs)?))),
        Err(error) => Err(error).during("mknodat", name),
    }
}

/// What is shared, if the host has it.
fn shared(host: &OwnedFd, devices: &OwnedFd, name: &'static str) -> SysResult<Attached> {
    let Some(theirs) = if_there(pin_beneath(host, name))? else {
        return Ok(None);
    };
    if files::status(&theirs)?.kind == FileType::Symlink {
        files::make_link(devices, name, &files::link_target(&theirs)?)?;
        return Ok(None);
    }
    Ok(Some((name, mount::clone_tree(theirs)?)))
}
