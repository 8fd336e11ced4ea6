//! The numbers of devices and of the disks that files are on.

use std::fs;
use std::io::ErrorKind;

use rustix::fs::{FileType, major, minor, stat};
use rustix::io::Errno;

use super::{During, SysResult};

/// The numbers of a device.
pub type Numbers = (u32, u32);

/// The numbers of the device node at `path`, and whether it is a block device; `None` if it is no device.
///
/// # Errors
/// Those of stat(2).
pub fn numbers(path: &str) -> SysResult<Option<(bool, Numbers)>> {
    let found = stat(path).during("stat", path)?;
    let numbers = (major(found.st_rdev), minor(found.st_rdev));
    Ok(match FileType::from_raw_mode(found.st_mode) {
        FileType::BlockDevice => Some((true, numbers)),
        FileType::CharacterDevice => Some((false, numbers)),
        _ => None,
    })
}

/// The disk that `path` is, or is on: the whole one, for limits are on disks and not on partitions.
///
/// # Errors
/// Those of stat(2); `ENODEV` for a file system that is on no disk, or on several.
pub fn disk_of(path: &str) -> SysResult<Numbers> {
    let found = stat(path).during("stat", path)?;
    let device = match FileType::from_raw_mode(found.st_mode) {
        FileType::BlockDevice => found.st_rdev,
        _ => found.st_dev,
    };
    let (major, minor) = (major(device), minor(device));
    if major == 0 {
        return Err(Errno::NODEV).during("stat", path);
    }
    // A link into the tree of devices (sysfs(5)), where a partition lies in its disk.
    let shown = format!("/sys/dev/block/{major}:{minor}");
    match fs::symlink_metadata(format!("{shown}/partition")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((major, minor)),
        found => found.during("lstat", &shown)?,
    };
    let text = fs::read_to_string(format!("{shown}/../dev")).during("read", &shown)?;
    let disk = text.trim().split_once(':');
    disk.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or(Errno::BADMSG)
        .during("read", shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_numbers_and_other_files_have_none() {
        assert_eq!(numbers("/dev/null").expect("null"), Some((false, (1, 3))));
        assert_eq!(numbers("/etc/passwd").expect("a file"), None);
        assert!(numbers("/dev/there-is-none").is_err());
        let error = disk_of("/proc/self").expect_err("on no disk");
        assert_eq!(error.errno, Errno::NODEV);
    }
}
