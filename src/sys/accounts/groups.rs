//! The names of the host's own groups, without NSS: for those who answer NSS.

use std::cell::RefCell;
use std::collections::HashMap;

use rustix::fs::{AtFlags, CWD, statat};
use rustix::io::Errno;

use super::{ETC, find, record};
use crate::sys::remove::FileId;
use crate::sys::{During, SysResult};

/// The largest file that is kept in memory, in bytes: a hundred thousand groups. A larger one has no groups here.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Which state of the file was read: which file, its size, its times of change (seconds, nanoseconds).
type Stamp = (FileId, i64, [i128; 4]);

/// The groups of `/etc/group`, as they were when they were read last. Groups that only NSS knows are not there.
#[derive(Debug, Default)]
pub struct LocalGroups {
    stamp: Option<Stamp>,
    names: HashMap<u32, String>,
    numbers: HashMap<String, u32>,
}

impl LocalGroups {
    /// Reads the file again if it has changed. Where it cannot be read there are no groups, until it has changed.
    ///
    /// # Errors
    /// Once a change: those of openat(2) and read(2); `EFBIG` above 4 MiB; `EINVAL` for what is no file.
    pub fn renew(&mut self) -> SysResult<()> {
        self.renew_in(ETC)
    }

    fn renew_in(&mut self, etc: &str) -> SysResult<()> {
        let stamp = stamp(etc)?;
        if stamp == self.stamp {
            return Ok(());
        }
        *self = Self {
            stamp,
            ..Self::default()
        };
        let read = RefCell::new((HashMap::new(), HashMap::new()));
        find(etc, "group", LARGEST, |line| {
            let (name, number) = record(line, 1)?;
            let name = std::str::from_utf8(name).ok()?;
            let mut read = read.borrow_mut();
            // The first line counts, as to libc.
            read.0.entry(number).or_insert_with(|| name.to_owned());
            read.1.entry(name.to_owned()).or_insert(number);
            None::<()>
        })?;
        (self.names, self.numbers) = read.into_inner();
        Ok(())
    }

    /// The name of a number.
    pub fn name(&self, gid: u32) -> Option<&str> {
        self.names.get(&gid).map(String::as_str)
    }

    /// The number of a name.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }
}

/// `None` where there is no such file.
fn stamp(etc: &str) -> SysResult<Option<Stamp>> {
    let path = format!("{etc}/group");
    let found = match statat(CWD, &path, AtFlags::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        found => found.during("stat", path)?,
    };
    let times = [
        i128::from(found.st_mtime),
        i128::from(found.st_mtime_nsec),
        i128::from(found.st_ctime),
        i128::from(found.st_ctime_nsec),
    ];
    Ok(Some(((found.st_dev, found.st_ino), found.st_size, times)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn groups_are_those_of_the_file_as_it_is_now() {
        let dir = tempfile::tempdir().expect("a directory");
        let etc = dir.path().to_str().expect("UTF-8");
        let mut groups = LocalGroups::default();
        groups.renew_in(etc).expect("no file");
        assert_eq!((groups.name(44), groups.number("video")), (None, None));

        let text =
            "root:x:0:\nvideo:x:44:a,b\n# tape:x:1:\n+nis:x:2:\nother:x:44:\nvideo:x:45:\nbad\n";
        fs::write(dir.path().join("group"), text).expect("a file");
        groups.renew_in(etc).expect("a file");
        let names = [0, 44, 45, 1, 2].map(|gid| groups.name(gid));
        assert_eq!(
            names,
            [Some("root"), Some("video"), Some("video"), None, None]
        );
        let numbers = ["video", "other", "tape", ""].map(|name| groups.number(name));
        assert_eq!(numbers, [Some(44), Some(44), None, None]);

        // As useradd does it: another file in its place.
        fs::write(dir.path().join("group+"), "audio:x:29:\n").expect("a file");
        fs::rename(dir.path().join("group+"), dir.path().join("group")).expect("renamed");
        groups.renew_in(etc).expect("a file");
        assert_eq!((groups.name(29), groups.name(44)), (Some("audio"), None));
    }

    #[test]
    fn what_cannot_be_read_is_said_once_and_has_no_groups() {
        let dir = tempfile::tempdir().expect("a directory");
        let etc = dir.path().to_str().expect("UTF-8");
        let mut groups = LocalGroups::default();
        fs::write(dir.path().join("group"), "a:x:1:\n").expect("a file");
        groups.renew_in(etc).expect("a file");
        let lines = "a:x:1:\n".repeat(1 << 20);
        fs::write(dir.path().join("group"), lines).expect("a file");
        let error = groups.renew_in(etc).expect_err("too large");
        assert_eq!(error.errno, Errno::FBIG);
        assert_eq!(groups.name(1), None);
        groups.renew_in(etc).expect("said already");
    }
}
