//! Reading `PIDFile=`: it lies where the service writes, and may be anything.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, open, openat};

/// The longest that is read, in bytes: a number and blanks.
const LONGEST: u64 = 64;

/// The number in a file, once there is one. Whether it is a process of the service is for the caller to find
/// out: the file is its word.
pub(super) fn read(path: &str) -> Option<u32> {
    // Pinned and looked at before it is opened: opening a device has effects, opening a pipe waits.
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let pinned = open(path, flags, Mode::empty()).ok()?;
    let kind = FileType::from_raw_mode(fstat(&pinned).ok()?.st_mode);
    if kind != FileType::RegularFile {
        return None;
    }
    // Without waiting: its owner may hold a lease on it (fcntl(2), F_SETLEASE).
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let again = format!("/proc/self/fd/{}", pinned.as_raw_fd());
    let file = openat(CWD, again, flags, Mode::empty()).ok()?;
    let mut text = String::new();
    File::from(file)
        .take(LONGEST)
        .read_to_string(&mut text)
        .ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_in_a_plain_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let name = path.to_str().unwrap();
        assert_eq!(read(name), None);
        for (text, wanted) in [
            ("4711\n", Some(4711)),
            (" 42 ", Some(42)),
            ("", None),
            ("1\n", None),
            ("-5", None),
            ("12 13", None),
            ("99999999999", None),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(name), wanted, "{text:?}");
        }
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        std::fs::write(&path, "4711").unwrap();
        assert_eq!(read(link.to_str().unwrap()), None);
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(read(pipe.to_str().unwrap()), None);
        assert_eq!(read("/dev/zero"), None);
    }
}
