//! A walk through a tree in which anybody may build anything, and go on building meanwhile.
//!
//! However deep it is: three descriptors (of the top, of the entry of the top that the walk is in, of the
//! current directory) and 24 bytes for each level. Down goes by single names, up by `..`, which is
//! compared with where we came from. Nothing is followed and no mount point is entered, nor asked
//! anything: a user's own file system (fuse(4)) answers when and what it likes.
//!
//! What stays where it is, is seen, whatever others do around it. What is moved while we walk may be missed:
//! no walk can do better, since inotify(7) tells its owner where we are. So movement is no error,
//! or one user could bring about that error for everybody, for ever. Three bounds keep it finite:
//!
//! * A directory that was moved while we were in it is left, and the walk goes on in the deepest directory above
//!   that is still where it was.
//! * No more than [`Walk::allowance`] entries of one user's directories are looked at: what is moved out of our
//!   way and ahead of us again, or grows as fast as we go, is his alone then, and passed over.
//! * Directories whose positions are no longer valid are read again [`AGAIN`] times in all. Only
//!   kernels before 6.6 need it, for which a position is a number of entries; and only there
//!   finding it takes time that grows with the directory.

#[cfg(test)]
mod tests;
mod visitor;
mod way_back;

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, RawDirEntry, ResolveFlags, SeekFrom, Stat,
    StatxAttributes, StatxFlags, fstat, fstatfs, makedev, openat, openat2, seek, statx,
};
use rustix::io::Errno;

use super::remove::open_directory;
use super::{During, SysResult};
pub(crate) use visitor::{Entry, Listed, Next, Passed, Visitor};
use visitor::{Looks, Visit};

/// What getdents64(2) fills at most, and at first in a directory to which we come back: somebody
/// may have made a hundred thousand directories side by side, and we come back after each.
const BUFFER: usize = 32 * 1024;
const FIRST_BUFFER: usize = 512;

/// How often in all a directory is read again from its beginning.
const AGAIN: u32 = 3;

/// How many entries of one user's directories are looked at: as many as reading all there is, and `AGAIN` times
/// again, could take, and these.
const EXTRA: u64 = 65_536;

/// How many entries there are if the file system does not tell (tmpfs without a limit on inodes).
const UNKNOWN: u64 = 1 << 24;

const READ: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Shows `visit` every entry below `top`, the directories before what is in them, until it says
/// [`Next::Stop`].
///
/// # Errors
///
/// Of `visit`; what the kernel refuses, with the path. `EBUSY` if the top itself grows as fast as we read.
pub(crate) fn walk(top: BorrowedFd<'_>, shown_as: &str, visit: &mut Visit<'_>) -> SysResult<()> {
    show(top, shown_as, 0, &mut Looks(visit))
}

/// As [`walk`], for somebody who wants to see more than entries, or look at less. No less than `least` entries of
/// one user's directories are looked at: where the file system is made of several, as overlayfs is, it tells the
/// number of files of one of them.
///
/// # Errors
///
/// As for [`walk`].
pub(crate) fn show(
    top: BorrowedFd<'_>,
    shown_as: &str,
    least: u64,
    visitor: &mut dyn Visitor,
) -> SysResult<()> {
    let device = fstat(top).during("fstat", shown_as)?.st_dev;
    let usage = fstatfs(top).during("fstatfs", shown_as)?;
    let entries = match usage.f_files {
        0 => UNKNOWN,
        all => all.saturating_sub(usage.f_ffree),
    };
    // What stays where it is cannot reach it: that is read 1 + AGAIN times at most.
    let allowance = entries
        .saturating_mul(u64::from(AGAIN).saturating_add(2))
        .saturating_add(EXTRA)
        .max(least);
    Walk::new(shown_as, device, allowance, visitor).top(top)
}

/// A directory between the top and where we are.
#[derive(Clone, Copy)]
struct Level {
    inode: u64,
    /// The position before the entry that is read next, or through which we went down.
    at: u64,
    owner: u32,
    /// How long the path was above it.
    path: u32,
}

struct Walk<'a> {
    visitor: &'a mut dyn Visitor,
    device: u64,
    /// From an entry of the top down to the current directory.
    levels: Vec<Level>,
    path: String,
    again: u32,
    /// How many directories were read until now, those to which we came back counted again.
    readings: u64,
    allowance: u64,
    /// By owner, how many entries of his directories were looked at.
    spent: HashMap<u32, u64>,
}

/// A directory that was opened, or why not.
type Entered = Result<(OwnedFd, Level, Stat), Passed>;

/// How reading a directory ended, or looking at an entry.
enum Read {
    End,
    Down(OwnedFd),
    Stop,
}

impl<'a> Walk<'a> {
    fn new(shown_as: &str, device: u64, allowance: u64, visitor: &'a mut dyn Visitor) -> Self {
        Self {
            visitor,
            device,
            levels: Vec::new(),
            path: shown_as.to_owned(),
            again: AGAIN,
            readings: 0,
            allowance,
            spent: HashMap::new(),
        }
    }

    /// The top has a descriptor of its own that stays open, so its position is never lost.
    fn top(&mut self, top: BorrowedFd<'_>) -> SysResult<()> {
        // Opened anew: the position belongs to this descriptor alone.
        let again = openat(top, c".", READ, Mode::empty()).during("open", &self.path)?;
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut entries = RawDir::new(&again, buffer.spare_capacity_mut());
        let mut left = self.allowance;
        while let Some(entry) = entries.next() {
            let entry = entry.during("getdents", &self.path)?;
            if left == 0 {
                return Err(Errno::BUSY)
                    .during("search", format_args!("{}: grows meanwhile", self.path));
            }
            left = left.saturating_sub(1);
            let stop = match self.look(again.as_fd(), &entry, 0)? {
                Read::End => false,
                Read::Stop => true,
                Read::Down(unit) => self.below(&unit)?,
            };
            if stop {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Walks through `unit`, which is the only level now. Tells whether the walk is over.
    fn below(&mut self, unit: &OwnedFd) -> SysResult<bool> {
        // None is `unit` itself.
        let mut deep: Option<OwnedFd> = None;
        let mut left = None;
        while let Some(level) = self.levels.last().copied() {
            let here = deep.as_ref().unwrap_or(unit);
            match self.read(here, level, left)? {
                Read::Stop => return Ok(true),
                Read::Down(child) => {
                    deep = Some(child);
                    left = None;
                }
                Read::End => {
                    self.leave();
                    left = Some(level.inode);
                    deep = match self.levels.len() {
                        0 | 1 => None,
                        _ => self.up(unit, here, level.owner, &mut left)?,
                    };
                }
            }
        }
        Ok(false)
    }

    /// Reads `here`, the last level, on from its position. `left` is the directory that we come back
    /// from, if we do: it stands at that position.
    fn read(&mut self, here: &OwnedFd, level: Level, left: Option<u64>) -> SysResult<Read> {
        let mut at = level.at;
        self.readings = self.readings.saturating_add(1);
        let reading = self.readings;
        let mut left = left;
        let mut room = left.map_or(BUFFER, |_| FIRST_BUFFER);
        let mut buffer = Vec::with_capacity(BUFFER);
        'from_there: loop {
            seek(here, SeekFrom::Start(at)).during("lseek", &self.path)?;
            loop {
                let buffer = buffer.spare_capacity_mut().get_mut(..room);
                let mut entries = RawDir::new(here, buffer.unwrap_or_default());
                loop {
                    let entry = match entries.next() {
                        // Removed, and so empty.
                        None | Some(Err(Errno::NOENT)) => None,
                        Some(entry) => Some(entry.during("getdents", &self.path)?),
                    };
                    let back = left.take();
                    let valid = back.is_none() || entry.as_ref().map(RawDirEntry::ino) == back;
                    if !valid && self.may_read_again() {
                        at = 0;
                        continue 'from_there;
                    }
                    let Some(entry) = entry else {
                        return Ok(Read::End);
                    };
                    if back.is_none() || !valid {
                        if !self.may_look(level.owner, 1) {
                            return Ok(Read::End);
                        }
                        if let Some(level) = self.levels.last_mut() {
                            level.at = at;
                        }
                        match self.look(here.as_fd(), &entry, reading)? {
                            Read::End => {}
                            other => return Ok(other),
                        }
                    }
                    at = entry.next_entry_cookie();
                    if entries.is_buffer_empty() {
                        break;
                    }
                }
                room = room.saturating_mul(2).min(BUFFER);
            }
        }
    }

    /// Whether a directory of which the position is not valid any more is read from its beginning.
    fn may_read_again(&mut self) -> bool {
        let may = self.again > 0;
        if !may {
            self.visitor.passed(&self.path, Passed::Moved);
        }
        self.again = self.again.saturating_sub(1);
        may
    }

    /// Shows an entry, and opens it if it is a directory to be entered: that is a level from then on.
    fn look(
        &mut self,
        parent: BorrowedFd<'_>,
        entry: &RawDirEntry<'_>,
        reading: u64,
    ) -> SysResult<Read> {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            return Ok(Read::End);
        }
        let kind = entry.file_type();
        let answer = match kind {
            // Some file systems do not keep it in the directory.
            FileType::Unknown => None,
            _ => self.visitor.listed(&Listed {
                parent,
                name,
                inode: entry.ino(),
                kind,
                reading,
                above: &self.path,
            })?,
        };
        match answer {
            Some(Next::Stop) => return Ok(Read::Stop),
            Some(Next::Enter) if kind == FileType::Directory => {}
            Some(_) => return Ok(Read::End),
            None => {}
        }
        let length = self.path.len();
        self.lengthen(name);
        let looked = match answer {
            Some(_) => self.go_down(parent, name, length),
            None => self.look_at(parent, name, length),
        };
        if !matches!(looked, Ok(Read::Down(_))) {
            self.path.truncate(length);
        }
        looked
    }

    fn look_at(&mut self, parent: BorrowedFd<'_>, name: &CStr, length: usize) -> SysResult<Read> {
        // What somebody serves himself is not asked (AT_STATX_DONT_SYNC): he could keep us waiting.
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        let stat = match statx(parent, name, flags, StatxFlags::BASIC_STATS) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(self.pass(Passed::Moved)),
            // Not even root sees into another user's fuse(4).
            Err(Errno::ACCESS) if is_mount_point(parent, name) => {
                return Ok(self.pass(Passed::Elsewhere));
            }
            Err(errno) => return Err(errno).during("statx", &self.path),
        };
        // Its owner is what the other file system says.
        if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Ok(self.pass(Passed::Elsewhere));
        }
        let directory = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory;
        let next = self.visitor.visit(&Entry {
            parent,
            name,
            directory,
            id: (
                makedev(stat.stx_dev_major, stat.stx_dev_minor),
                stat.stx_ino,
            ),
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            bytes: stat.stx_blocks.saturating_mul(512),
            changed: stat.stx_mtime.tv_sec.max(stat.stx_ctime.tv_sec),
            path: &self.path,
        })?;
        match next {
            Next::Stop => return Ok(Read::Stop),
            Next::Enter if directory => {}
            Next::Enter | Next::Skip => return Ok(Read::End),
        }
        self.go_down(parent, name, length)
    }

    fn go_down(&mut self, parent: BorrowedFd<'_>, name: &CStr, length: usize) -> SysResult<Read> {
        let (child, mut level, stat) = match self.enter(parent, name)? {
            Ok(entered) => entered,
            Err(why) => return Ok(self.pass(why)),
        };
        self.visitor.entered(child.as_fd(), &stat, &self.path)?;
        level.path = u32::try_from(length).unwrap_or(u32::MAX);
        self.levels.push(level);
        Ok(Read::Down(child))
    }

    fn pass(&mut self, why: Passed) -> Read {
        self.visitor.passed(&self.path, why);
        Read::End
    }

    /// Opens a directory of this file system, if there still is one of this name.
    fn enter(&self, parent: BorrowedFd<'_>, name: &CStr) -> SysResult<Entered> {
        let child = match open_directory(parent, name) {
            Ok(child) => child,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Err(Passed::Moved)),
            Err(Errno::XDEV) => return Ok(Err(Passed::Elsewhere)),
            Err(errno) => return Err(errno).during("openat2", &self.path),
        };
        let stat = fstat(&child).during("fstat", &self.path)?;
        let level = Level {
            inode: stat.st_ino,
            at: 0,
            owner: stat.st_uid,
            path: 0,
        };
        if stat.st_dev != self.device {
            return Ok(Err(Passed::Elsewhere));
        }
        Ok(Ok((child, level, stat)))
    }

    /// Counts entries of directories of `owner`. False if those were too many.
    fn may_look(&mut self, owner: u32, entries: usize) -> bool {
        let spent = self.spent.entry(owner).or_default();
        let before = *spent;
        *spent = before.saturating_add(u64::try_from(entries).unwrap_or(u64::MAX));
        if before < self.allowance && *spent >= self.allowance {
            tracing::warn!(path = self.path, owner, "changes too fast: passed over");
            self.visitor.passed(&self.path, Passed::TooMuch);
        }
        *spent < self.allowance
    }
}

fn is_mount_point(parent: BorrowedFd<'_>, name: &CStr) -> bool {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat2(parent, name, flags, Mode::empty(), ResolveFlags::NO_XDEV);
    matches!(opened, Err(Errno::XDEV))
}
