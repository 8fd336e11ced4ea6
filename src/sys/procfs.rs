//! Reading `/proc`, by descriptor and only if it is ours (proc(5)).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, openat, readlinkat, statat};
use rustix::io::Errno;

use super::{During, SysError, SysResult};

/// Most files in `/proc` are one such piece.
const PIECE: usize = 4096;

/// `/proc`, opened, with a buffer that its files are read into.
pub(crate) struct Proc {
    root: OwnedFd,
    text: Vec<u8>,
}

impl Proc {
    /// Opens `/proc` and checks that it shows our own PID namespace: the PIDs of another one are
    /// other processes.
    ///
    /// # Errors
    ///
    /// `ENOENT` where it is not mounted; `ENODEV` where it is another namespace's.
    pub(crate) fn open() -> SysResult<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, c"/proc", flags, Mode::empty()).during("open", "/proc")?;
        let me = readlinkat(&root, c"self", Vec::new()).during("readlink", "/proc/self")?;
        if me.to_str().ok().and_then(|me| me.parse().ok()) != Some(std::process::id()) {
            return Err(SysError {
                call: "open",
                subject: "/proc shows another PID namespace".into(),
                errno: Errno::NODEV,
            });
        }
        Ok(Self {
            root,
            text: Vec::with_capacity(PIECE),
        })
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The content of a file; bytes that are not UTF-8 (a process's name may hold any) are replaced.
    ///
    /// # Errors
    ///
    /// The bare error number: the caller knows which ones only mean that the process has gone.
    pub(crate) fn read(&mut self, path: &str) -> Result<String, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.root, path, flags, Mode::empty())?;
        self.text.clear();
        loop {
            self.text.reserve(PIECE);
            if rustix::io::read(&file, spare_capacity(&mut self.text))? == 0 {
                return Ok(String::from_utf8_lossy(&self.text).into_owned());
            }
        }
    }

    /// A directory, opened without the right to read it, to be looked at again and again.
    pub(crate) fn pin(&self, path: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.root, path, flags, Mode::empty())
    }

    /// The number of hard links of a directory.
    pub(crate) fn links(&self, path: &str) -> Result<u64, Errno> {
        let stat = statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW)?;
        // The type differs between architectures.
        #[allow(clippy::useless_conversion)]
        Ok(stat.st_nlink.into())
    }

    /// The entries of a directory that are numbers: processes in `.`, threads in `PID/task`.
    pub(crate) fn numbers(&self, path: &str) -> Result<Vec<u32>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(&self.root, path, flags, Mode::empty())?;
        let mut numbers = Vec::new();
        let mut buffer = Vec::with_capacity(8 * PIECE);
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            if let Some(number) = number(entry?.file_name()) {
                numbers.push(number);
            }
        }
        Ok(numbers)
    }
}

fn number(name: &CStr) -> Option<u32> {
    name.to_str().ok()?.parse().ok()
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// `comm`, as far as it can be shown.
    pub(crate) name: String,
    /// `state`: `R`, `S`, `Z` …
    pub(crate) state: char,
    /// `starttime`: clock ticks since the host started.
    pub(crate) start_time: u64,
}

impl Stat {
    /// Takes `/proc/PID/stat` apart.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if a field is missing.
    pub(crate) fn parse(text: &str) -> Result<Self, Errno> {
        // A process may call itself `x) Z 1 (`: only the last parenthesis is the kernel's.
        let (head, fields) = text.rsplit_once(')').ok_or(Errno::BADMSG)?;
        let (_, name) = head.split_once('(').ok_or(Errno::BADMSG)?;
        let mut fields = fields.split_ascii_whitespace();
        let state = fields.next().and_then(|field| field.chars().next());
        // starttime is field 22 and what follows the state begins with field 4.
        let start_time = fields.nth(22 - 4).and_then(|field| field.parse().ok());
        Ok(Self {
            name: name.escape_debug().to_string(),
            state: state.ok_or(Errno::BADMSG)?,
            start_time: start_time.ok_or(Errno::BADMSG)?,
        })
    }

    /// Whether it has ended and only waits for its parent.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Whether an error on a process's own files only says that the process is no more (proc(5): `ENOENT`
/// when it is looked up, `ESRCH` when it went between opening and reading).
pub(crate) fn is_gone(errno: Errno) -> bool {
    errno == Errno::NOENT || errno == Errno::SRCH
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "1 2 3 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 98765 2 3";

    #[test]
    fn a_name_cannot_forge_the_state_of_its_process() {
        let text = format!("42 (x) Z 1 () S {REST}");
        let stat = Stat::parse(&text);
        assert_eq!(
            stat,
            Ok(Stat {
                name: "x) Z 1 (".into(),
                state: 'S',
                start_time: 98765
            })
        );
        assert_eq!(stat.map(|stat| stat.has_ended()), Ok(false));
    }

    #[test]
    fn zombies_and_dead_tasks_have_ended() {
        for (state, ended) in [("Z", true), ("X", true), ("R", false), ("D", false)] {
            let stat = Stat::parse(&format!("1 (a) {state} {REST}"));
            assert_eq!(stat.map(|stat| stat.has_ended()), Ok(ended));
        }
    }

    #[test]
    fn a_short_line_is_an_error() {
        for text in ["", "1", "1 (a", "1 (a)", "1 (a) S 1 2 3"] {
            assert_eq!(Stat::parse(text), Err(Errno::BADMSG));
        }
    }
}
