//! The way back up, although somebody may have moved a directory that we are in.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, RawDir, ResolveFlags, SeekFrom, fstat, openat2, seek};
use rustix::io::Errno;

use super::{FIRST_BUFFER, Level, Passed, READ, Walk};
use crate::sys::remove::shown;
use crate::sys::{During, SysResult};

/// How long a path may be before names are left out of it. It is for people only.
const LONG: usize = 1024;

/// What stands for names that were left out.
const LEFT_OUT: &str = "/\u{2026}";

impl Walk<'_> {
    /// Opens the last level (None: that is `unit`) from `here` below it, which we leave. If `here` was moved,
    /// levels are given up until one is where it was, and `left` becomes the uppermost of those.
    pub(super) fn up(
        &mut self,
        unit: &OwnedFd,
        here: &OwnedFd,
        owner: u32,
        left: &mut Option<u64>,
    ) -> SysResult<Option<OwnedFd>> {
        let flags = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        match openat2(here, c"..", READ, Mode::empty(), flags) {
            Ok(parent) => {
                let stat = fstat(&parent).during("fstat", &self.path)?;
                let expected = self.levels.last().map(|level| level.inode);
                if stat.st_dev == self.device && Some(stat.st_ino) == expected {
                    return Ok(Some(parent));
                }
            }
            // Out of the mount, or of the part of the file system that is mounted.
            Err(Errno::NOENT | Errno::XDEV) => {}
            Err(errno) => return Err(errno).during("openat2", format_args!("{}/..", self.path)),
        }
        // The way down again is at the cost of the owner of what was moved. Directories of somebody who has used up
        // all that is his are passed over in any case.
        self.may_look(owner, self.levels.len());
        self.visitor.passed(&self.path, Passed::Moved);
        while let Some(last) = self.levels.last()
            && self.levels.len() > 1
            && !self.may_look(last.owner, 0)
        {
            *left = self.leave();
        }
        self.down_again(unit, left)
    }

    /// Goes from `unit` down the levels, as far as they are where they were.
    fn down_again(&mut self, unit: &OwnedFd, left: &mut Option<u64>) -> SysResult<Option<OwnedFd>> {
        let mut deep: Option<OwnedFd> = None;
        let mut depth: usize = 1;
        while let Some(&[above, level]) = self
            .levels
            .get(depth.saturating_sub(1)..)
            .and_then(<[Level]>::first_chunk)
        {
            let here = deep.as_ref().unwrap_or(unit);
            let Some(child) = self.find(here, above.at, level.inode)? else {
                while self.levels.len() > depth {
                    *left = self.leave();
                }
                break;
            };
            deep = Some(child);
            depth = depth.saturating_add(1);
        }
        Ok(deep)
    }

    /// Opens the directory `inode` in `here`, if it still is at the position `at`.
    fn find(&self, here: &OwnedFd, at: u64, inode: u64) -> SysResult<Option<OwnedFd>> {
        seek(here, SeekFrom::Start(at)).during("lseek", &self.path)?;
        let mut buffer = [MaybeUninit::uninit(); FIRST_BUFFER];
        let mut entries = RawDir::new(here, &mut buffer);
        let entry = match entries.next() {
            None | Some(Err(Errno::NOENT)) => return Ok(None),
            Some(entry) => entry.during("getdents", &self.path)?,
        };
        let child = self.enter(here.as_fd(), entry.file_name())?;
        Ok(child
            .ok()
            .and_then(|(child, level, _)| (level.inode == inode).then_some(child)))
    }

    /// Adds the name of the entry that is looked at to the path.
    pub(super) fn lengthen(&mut self, name: &CStr) {
        if self.path.len() < LONG {
            self.path.push('/');
            self.path.push_str(&shown(name));
        } else if !self.path.ends_with(LEFT_OUT) {
            self.path.push_str(LEFT_OUT);
        }
    }

    /// Takes the last level away, and tells which directory it was.
    pub(super) fn leave(&mut self) -> Option<u64> {
        let level = self.levels.pop()?;
        let length = usize::try_from(level.path).unwrap_or(usize::MAX);
        self.path.truncate(length);
        Some(level.inode)
    }
}
