//! Extended attributes of directories, by descriptor (xattr(7)).

use std::os::fd::AsFd;

use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use rustix::io::Errno;

use super::{During, SysResult};

/// The longest attribute that is read, in bytes: the kernel's own limit (`XATTR_SIZE_MAX`).
const LONGEST: usize = 65_536;

/// What is enough for nearly all, in bytes.
const USUAL: usize = 512;

/// The value of an attribute of what `fd` stands for (no `O_PATH`); nothing where there is none.
///
/// # Errors
/// Those of fgetxattr(2), `EOPNOTSUPP` where the file system has no such attributes.
pub fn read(fd: impl AsFd, name: &str) -> SysResult<Option<Vec<u8>>> {
    let mut value = vec![0; USUAL];
    let mut answer = fgetxattr(&fd, name, value.as_mut_slice());
    if answer == Err(Errno::RANGE) {
        value.resize(LONGEST, 0);
        answer = fgetxattr(&fd, name, value.as_mut_slice());
    }
    match answer {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno).during("fgetxattr", name),
    }
}

/// Sets an attribute of what `fd` stands for (no `O_PATH`), whether or not it has it.
///
/// # Errors
/// Those of fsetxattr(2).
pub fn write(fd: impl AsFd, name: &str, value: &[u8]) -> SysResult<()> {
    fsetxattr(fd, name, value, XattrFlags::empty()).during("fsetxattr", name)
}
