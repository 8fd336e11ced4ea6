//! One entry, held by a descriptor, gets its new owner.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::fmt::{self, Display};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags, chmod, chownat, flistxattr, fstat,
    getxattr, listxattr, open, setxattr,
};
use rustix::io::Errno;

use super::acl::{ACCESS, ATTRIBUTES, translate};
use super::{During, Ids, SysResult};
use crate::sys::fs::Status;
use crate::sys::last_error;
use crate::sys::remove::shown;

/// The set-user-ID and the set-group-ID bit.
const SET_ID: u32 = 0o6000;

/// The right of the group to write, and that of others.
const WRITABLE: u32 = 0o020;
const WRITABLE_BY_OTHERS: u32 = 0o002;

/// What is read of the names of extended attributes before the lists are asked for by their own names.
const NAMES: usize = 256;

/// The longest value of an extended attribute (`XATTR_SIZE_MAX`).
const LONGEST: usize = 64 * 1024;

/// listxattrat(2), the same number on every architecture that we build for.
const LISTXATTRAT: libc::c_long = 465;

/// Where an entry is, for people. Costs nothing until it is shown.
pub(super) struct At<'a> {
    pub(super) above: &'a str,
    pub(super) name: &'a CStr,
}

impl Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.above, shown(self.name))
    }
}

/// Who owns an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Old,
    New,
    Foreign,
}

/// Who can change the names in a directory. It stays so: only its owner can change that, and a rename that was
/// allowed before the owner changed is over, since it and the change hold the same lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doors {
    /// Root and the new owner.
    Closed,
    /// The old owners too, or the group of one of them.
    Known,
    /// Others.
    Open,
}

/// Who gives to whom.
pub(super) struct Change<'a> {
    pub(super) from: &'a [Ids],
    pub(super) to: Ids,
}

/// How the names of the extended attributes of an entry are got.
#[derive(Clone, Copy)]
pub(super) enum Way<'a> {
    /// The descriptor is open for reading.
    Open,
    /// It only points (`O_PATH`): by the link of /proc for it.
    Pinned,
    /// By its name, in less than half the time, in a directory where nobody but root and the new owner can put
    /// something else under that name.
    Named(BorrowedFd<'a>, &'a CStr),
}

/// An entry that is held.
#[derive(Clone, Copy)]
pub(super) struct Held<'a> {
    pub(super) fd: BorrowedFd<'a>,
    pub(super) way: Way<'a>,
}

/// What a thread needs to reach by name what it holds by descriptor: an `O_PATH` one has no extended
/// attributes otherwise.
pub(super) struct Hands {
    descriptors: OwnedFd,
    by_path_only: Cell<bool>,
}

impl Hands {
    /// Those of the thread that calls.
    pub(super) fn new() -> SysResult<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = "/proc/thread-self/fd";
        let descriptors = open(path, flags, Mode::empty()).during("open", path)?;
        Ok(Self {
            descriptors,
            by_path_only: Cell::new(false),
        })
    }

    /// The length of the list of the names of extended attributes that is now in `names`.
    fn attributes(&self, held: Held<'_>, names: &mut [u8]) -> Result<usize, Errno> {
        match held.way {
            Way::Open => flistxattr(held.fd, names),
            _ if self.by_path_only.get() => listxattr(path_of(held.fd), names),
            Way::Named(parent, name) => match listxattrat(parent, name, names) {
                Ok(length) => Ok(length),
                // Its name is gone, or the kernel does not know the call.
                Err(_) => self.attributes_of_pinned(held.fd, names),
            },
            Way::Pinned => self.attributes_of_pinned(held.fd, names),
        }
    }

    fn attributes_of_pinned(&self, fd: BorrowedFd<'_>, names: &mut [u8]) -> Result<usize, Errno> {
        let mut number = [0_u8; 16];
        // A number and a NUL have room.
        write!(number.as_mut_slice(), "{}\0", fd.as_raw_fd()).map_err(|_| Errno::IO)?;
        let number = CStr::from_bytes_until_nul(&number).map_err(|_| Errno::IO)?;
        // A link of /proc leads to the very file of the descriptor, whatever became of its name.
        match listxattr_followed(self.descriptors.as_fd(), number, names) {
            // Before Linux 6.13; or a filter of system calls that is older than that.
            Err(Errno::NOSYS | Errno::PERM) => {
                self.by_path_only.set(true);
                listxattr(path_of(fd), names)
            }
            answer => answer,
        }
    }
}

fn listxattrat(parent: BorrowedFd<'_>, name: &CStr, names: &mut [u8]) -> Result<usize, Errno> {
    list(parent, name, libc::AT_SYMLINK_NOFOLLOW, names)
}

fn listxattr_followed(
    parent: BorrowedFd<'_>,
    name: &CStr,
    names: &mut [u8],
) -> Result<usize, Errno> {
    list(parent, name, 0, names)
}

fn list(
    parent: BorrowedFd<'_>,
    name: &CStr,
    flags: libc::c_int,
    names: &mut [u8],
) -> Result<usize, Errno> {
    // SAFETY: the call reads the name up to its NUL, and fills `names` with no more than its length.
    let answer = unsafe {
        libc::syscall(
            LISTXATTRAT,
            parent.as_raw_fd(),
            name.as_ptr(),
            flags,
            names.as_mut_ptr(),
            names.len(),
        )
    };
    usize::try_from(answer).map_err(|_| last_error())
}

fn path_of(fd: BorrowedFd<'_>) -> String {
    format!("/proc/thread-self/fd/{}", fd.as_raw_fd())
}

impl Change<'_> {
    /// Who can change the names in a directory, open for reading.
    pub(super) fn doors(&self, directory: BorrowedFd<'_>) -> Result<Doors, Errno> {
        let stat = fstat(directory)?;
        let known = stat.st_uid == 0 || self.whose(stat.st_uid) != Whose::Foreign;
        let groups = self.from.iter().map(|old| old.gid);
        let mut groups = groups.chain([0, self.to.gid]);
        let by_group = stat.st_mode & WRITABLE != 0;
        // Where there is a list the bits of the group are its mask, and so for all whom it names.
        if !known
            || stat.st_mode & WRITABLE_BY_OTHERS != 0
            || by_group && (!groups.any(|gid| gid == stat.st_gid) || has_list(directory)?)
        {
            return Ok(Doors::Open);
        }
        match self.whose(stat.st_uid) {
            Whose::Old => Ok(Doors::Known),
            _ if by_group => Ok(Doors::Known),
            _ => Ok(Doors::Closed),
        }
    }

    pub(super) fn whose(&self, uid: u32) -> Whose {
        if uid == self.to.uid {
            Whose::New
        } else if self.from.iter().any(|old| old.uid == uid) {
            Whose::Old
        } else {
            Whose::Foreign
        }
    }

    fn user(&self, uid: u32) -> u32 {
        match self.whose(uid) {
            Whose::Old => self.to.uid,
            Whose::New | Whose::Foreign => uid,
        }
    }

    fn group(&self, gid: u32) -> u32 {
        if self.from.iter().any(|old| old.gid == gid) {
            self.to.gid
        } else {
            gid
        }
    }

    /// Gives what `fd` stands for, of which `stat` was just seen. It belongs to an old owner.
    pub(super) fn give(
        &self,
        hands: &Hands,
        held: Held<'_>,
        status: &Status,
        path: &dyn Display,
    ) -> SysResult<()> {
        let fd = held.fd;
        drop_set_id(fd, status, path)?;
        // Should the old owner set one of the bits again before this: from a file that can be executed it takes them, and
        // the capabilities.
        let owner = Uid::from_raw(self.to.uid);
        let group = Gid::from_raw(self.group(status.gid));
        chownat(fd, c"", Some(owner), Some(group), AtFlags::EMPTY_PATH).during("chown", path)?;
        if status.kind == FileType::Symlink {
            return Ok(());
        }
        if status.kind == FileType::Directory {
            // From a directory it does not take them.
            let stat = fstat(fd).during("fstat", path)?;
            drop_set_id(fd, &stat.into(), path)?;
        }
        // Only now the old owner cannot change the list any more.
        self.translate_lists(hands, held, path)
    }

    /// Puts the new owner in the place of the old ones in the access control lists. What was interrupted after the
    /// owner changed is finished by this.
    pub(super) fn translate_lists(
        &self,
        hands: &Hands,
        held: Held<'_>,
        path: &dyn Display,
    ) -> SysResult<()> {
        let mut names = [0; NAMES];
        let known = match hands.attributes(held, &mut names) {
            Ok(length) => names.get(..length),
            Err(Errno::OPNOTSUPP) => return Ok(()),
            // There are more than have room.
            Err(Errno::RANGE | Errno::TOOBIG) => None,
            Err(errno) => return Err(errno).during("listxattr", path),
        };
        let any = |known: &[u8], attribute: &str| {
            let mut names = known.split(|byte| *byte == 0);
            names.any(|name| name == attribute.as_bytes())
        };
        for attribute in ATTRIBUTES {
            if known.is_none_or(|known| any(known, attribute)) {
                self.translate_list(held.fd, attribute, path)?;
            }
        }
        Ok(())
    }

    fn translate_list(
        &self,
        fd: BorrowedFd<'_>,
        attribute: &str,
        path: &dyn Display,
    ) -> SysResult<()> {
        let link = path_of(fd);
        let mut list = vec![0; LONGEST];
        let length = match getxattr(&link, attribute, list.as_mut_slice()) {
            Ok(length) => length,
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(()),
            Err(errno) => return Err(errno).during("getxattr", path),
        };
        list.truncate(length);
        let translated = translate(&list, |uid| self.user(uid), |gid| self.group(gid))
            .map_err(|_| Errno::INVAL)
            .during("getxattr", format_args!("{path}: {attribute}"))?;
        let Some(list) = translated else {
            return Ok(());
        };
        setxattr(&link, attribute, &list, XattrFlags::REPLACE).during("setxattr", path)
    }
}

/// Whether a directory has an access control list. What cannot be told counts as one.
fn has_list(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut names = [0; NAMES];
    match flistxattr(directory, names.as_mut_slice()) {
        Ok(length) => Ok(names.get(..length).is_none_or(|names| {
            let mut names = names.split(|byte| *byte == 0);
            names.any(|name| name == ACCESS.as_bytes())
        })),
        Err(Errno::OPNOTSUPP) => Ok(false),
        Err(Errno::RANGE | Errno::TOOBIG) => Ok(true),
        Err(errno) => Err(errno),
    }
}

fn drop_set_id(fd: BorrowedFd<'_>, status: &Status, path: &dyn Display) -> SysResult<()> {
    if status.mode & SET_ID == 0 || status.kind == FileType::Symlink {
        return Ok(());
    }
    let mode = Mode::from_raw_mode(status.mode & !SET_ID);
    let link = CString::new(path_of(fd)).map_err(|_| Errno::INVAL);
    link.and_then(|link| chmod(link.as_c_str(), mode))
        .during("chmod", path)
}
