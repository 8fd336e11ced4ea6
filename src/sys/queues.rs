//! The message queues of this process, where it may not mount them for itself: a container has them at `/dev/mqueue`.

use std::ffi::CString;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::random::hex_id;
use super::{During, SysError, SysResult, last_error};

/// Where a container has them mounted (runtime-spec of the OCI, "Default Filesystems").
const PLACE: &str = "/dev/mqueue";

/// The directory with all queues of the IPC namespace that we are in; nothing, if the kernel has no queues.
///
/// # Errors
/// `ENOENT` where there is no such directory, or it shows the queues of others: what a service leaves could not be found.
pub(super) fn mounted() -> SysResult<Option<OwnedFd>> {
    let name = format!("dynuser-{}", hex_id()?);
    let queue = match Queue::make(&name) {
        Err(Errno::NOSYS) => return Ok(None),
        made => made.during("mq_open", &name)?,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let found = openat(CWD, PLACE, flags, Mode::empty());
    // It may be a plain directory, or of another namespace: then a queue of ours is not in it.
    let shown = found.and_then(|place| {
        statat(place.as_fd(), &name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(place)
    });
    drop(queue);
    match shown {
        Ok(place) => Ok(Some(place)),
        Err(Errno::NOENT) => Err(SysError {
            call: "open",
            subject: format!(
                "{PLACE} does not show this container's message queues, and they may not be mounted here; what a service \
                 leaves in one could not be found. Have mqueue mounted there"
            ),
            errno: Errno::NOENT,
        }),
        Err(errno) => Err(errno).during("open", PLACE),
    }
}

/// A queue that nobody else knows, for a moment.
struct Queue {
    name: CString,
}

impl Queue {
    fn make(name: &str) -> Result<Self, Errno> {
        let name = CString::new(name).unwrap_or_default();
        let flags = libc::O_RDONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
        // The bare call: the C library wants a slash in front.
        let none = std::ptr::null::<libc::mq_attr>();
        // SAFETY: the name is a string that lives to the end of the call, and no attributes are given.
        let answer = unsafe { libc::syscall(libc::SYS_mq_open, name.as_ptr(), flags, 0o600, none) };
        let fd = i32::try_from(answer).ok().filter(|fd| *fd >= 0);
        let fd = fd.ok_or_else(last_error)?;
        // SAFETY: the kernel has just given this descriptor to us alone.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Self { name })
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the name is a string that lives to the end of the call.
        let answer = unsafe { libc::syscall(libc::SYS_mq_unlink, self.name.as_ptr()) };
        if answer != 0 {
            tracing::warn!(errno = %last_error(), "a message queue of ours stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_taken_where_they_are_shown_and_none_is_left() {
        let shown = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        let is_there = shown
            .lines()
            .any(|line| line.starts_with("mqueue /dev/mqueue "));
        match mounted() {
            Ok(Some(place)) => {
                assert!(is_there);
                let names = super::super::fs::file_names(&place).expect("names");
                assert!(
                    !names.iter().any(|name| name.starts_with("dynuser-")),
                    "{names:?}"
                );
            }
            Ok(None) => {}
            Err(error) => assert_eq!((error.errno, is_there), (Errno::NOENT, false), "{error}"),
        }
    }
}
