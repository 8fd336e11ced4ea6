//! Changes of files in directories, as they happen (inotify(7)).

use std::ffi::{CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{During, SysResult};

/// What has happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Somebody is writing to it.
    Begun,
    /// There is another one, or it was written and closed; or nobody knows what was missed.
    Done,
}

/// Files of some names in some directories.
#[derive(Debug)]
pub struct Changes {
    inotify: AsyncFd<OwnedFd>,
    names: Vec<CString>,
}

/// Room for many events at once.
const ROOM: usize = 8192;

impl Changes {
    /// Watches those names in these directories. Must be called in the event loop.
    ///
    /// # Errors
    /// Those of inotify_init(2), inotify_add_watch(2) and epoll_ctl(2).
    pub fn of<'a>(
        directories: impl Iterator<Item = &'a OwnedFd>,
        names: Vec<CString>,
    ) -> SysResult<Self> {
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags).during("inotify_init", "")?;
        let what = WatchFlags::CLOSE_WRITE
            | WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR;
        for directory in directories {
            // What is open, whatever its path leads to by now.
            let path = format!("/proc/thread-self/fd/{}", directory.as_raw_fd());
            inotify::add_watch(&inotify, path.as_str(), what).during("inotify_add_watch", path)?;
        }
        // SAFETY: an OwnedFd gives the same descriptor for as long as it lives, and the AsyncFd
        // owns it: nobody can close it before it is taken out of the event loop.
        let inotify = unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE) };
        let inotify = inotify
            .map_err(|error| error.into_parts().1)
            .during("epoll_ctl", "inotify")?;
        Ok(Self { inotify, names })
    }

    /// Waits for a change. Of many at once it gives the one that says most.
    ///
    /// # Errors
    /// Those of epoll_wait(2) and read(2); that the event loop is shut down.
    pub async fn next(&self) -> SysResult<Change> {
        loop {
            let mut ready = self
                .inotify
                .readable()
                .await
                .during("epoll_wait", "inotify")?;
            if let Some(change) = self.now()? {
                return Ok(change);
            }
            ready.clear_ready();
        }
    }

    /// What has happened since the last time.
    fn now(&self) -> SysResult<Option<Change>> {
        let mut room = [const { MaybeUninit::uninit() }; ROOM];
        let mut events = Reader::new(self.inotify.get_ref().as_fd(), &mut room);
        let mut seen = None;
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(seen),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno).during("read", "inotify"),
            };
            let about = |name: &CString| event.file_name() == Some(name.as_c_str());
            // Events were lost, or the directory is gone and another one is at its path.
            let lost = ReadFlags::QUEUE_OVERFLOW | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
            let change = match event.events() {
                what if what.intersects(lost) => Change::Done,
                _ if !self.names.iter().any(about) => continue,
                ReadFlags::MODIFY => Change::Begun,
                _ => Change::Done,
            };
            seen = seen.max(Some(change));
        }
    }
}

/// A name as events have it.
pub fn name(name: &OsStr) -> Option<CString> {
    CString::new(name.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_file_that_is_replaced_or_written_is_told_of() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        let open = OwnedFd::from(std::fs::File::open(dir.path()).expect("open"));
        let names = vec![c"passwd".to_owned()];
        let changes = Changes::of([&open].into_iter(), names).expect("inotify");
        std::fs::write(path("other"), "").expect("write");
        std::fs::write(path("passwd"), "a").expect("write");
        assert_eq!(changes.next().await, Ok(Change::Done));
        let mut file = std::fs::OpenOptions::new();
        let file = file.append(true).open(path("passwd")).expect("open");
        std::io::Write::write_all(&mut &file, b"b").expect("write");
        assert_eq!(changes.next().await, Ok(Change::Begun));
        drop(file);
        assert_eq!(changes.next().await, Ok(Change::Done));
        std::fs::rename(path("other"), path("passwd")).expect("rename");
        assert_eq!(changes.next().await, Ok(Change::Done));
        assert_eq!(changes.now(), Ok(None));
    }
}
