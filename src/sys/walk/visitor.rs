//! What a walk shows, and to whom.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Stat};

use crate::sys::SysResult;
use crate::sys::remove::FileId;

/// What is to be done after an entry was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Into it, if it is a directory.
    Enter,
    /// Past it.
    Skip,
    /// Nothing more.
    Stop,
}

/// An entry of a directory.
pub(crate) struct Entry<'a> {
    pub(crate) parent: BorrowedFd<'a>,
    pub(crate) name: &'a CStr,
    pub(crate) directory: bool,
    pub(crate) id: FileId,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// What it takes on disk, in bytes.
    pub(crate) bytes: u64,
    /// When it or its content was changed last, in seconds since 1970.
    pub(crate) changed: i64,
    /// Where it was, escaped. In the middle names may be left out.
    pub(crate) path: &'a str,
}

/// What a directory says of an entry. Nothing else is known of it yet.
pub(crate) struct Listed<'a> {
    pub(crate) parent: BorrowedFd<'a>,
    pub(crate) name: &'a CStr,
    pub(crate) inode: u64,
    /// Never [`FileType::Unknown`].
    pub(crate) kind: FileType,
    /// Another number for another directory.
    pub(crate) reading: u64,
    /// Where the directory was, escaped.
    pub(crate) above: &'a str,
}

/// Why something was not seen, or perhaps not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// Something is mounted there, or it is another file system's (a subvolume).
    Elsewhere,
    /// It was moved or removed while we came to it.
    Moved,
    /// Its owner has used up what he is allowed.
    TooMuch,
}

/// Whom a walk is shown.
pub(crate) trait Visitor {
    /// An entry that was looked at.
    fn visit(&mut self, entry: &Entry<'_>) -> SysResult<Next>;

    /// An entry before it is looked at. None: it is, then. Only a directory can be entered.
    fn listed(&mut self, _listed: &Listed<'_>) -> SysResult<Option<Next>> {
        Ok(None)
    }

    /// A directory that was opened for reading, before it is read.
    fn entered(&mut self, _directory: BorrowedFd<'_>, _: &Stat, _path: &str) -> SysResult<()> {
        Ok(())
    }

    /// Something that was passed over. An entry that is gone counts as moved.
    fn passed(&mut self, _path: &str, _why: Passed) {}
}

/// Who wants to see entries only.
pub(crate) type Visit<'a> = dyn FnMut(&Entry<'_>) -> SysResult<Next> + 'a;

/// Shows entries, and nothing else.
pub(super) struct Looks<'a, 'b>(pub(super) &'a mut Visit<'b>);

impl Visitor for Looks<'_, '_> {
    fn visit(&mut self, entry: &Entry<'_>) -> SysResult<Next> {
        (self.0)(entry)
    }
}
