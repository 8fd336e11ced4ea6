//! What the owner of a directory can set on it beside its mode, and what stands in the way of removing it.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

/// `struct fsxattr` (ioctl_xfs_fsgetxattr(2)).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FsXattr {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// `FS_XFLAG_PROJINHERIT`: what is made in the directory is of its project, and nothing of another one can be
/// moved into it.
const PROJECT_INHERITED: u32 = 0x0000_0200;

const GET: Opcode = opcode::read::<FsXattr>(b'X', 31);
const SET: Opcode = opcode::write::<FsXattr>(b'X', 32);

/// `BTRFS_IOC_SUBVOL_SETFLAGS`.
const SET_SUBVOLUME_FLAGS: Opcode = opcode::write::<u64>(0x94, 26);

/// Lets things of any project be moved into a directory. Where the file system knows none, or will not, the move
/// tells.
pub(super) fn forget_project(directory: &OwnedFd) {
    // SAFETY: the number is that of a call which fills one `struct fsxattr`, which this is by its layout.
    let getter = unsafe { Getter::<GET, FsXattr>::new() };
    // SAFETY: the call does nothing but that.
    let got = unsafe { ioctl(directory, getter) };
    let Ok(mut attributes) = got else { return };
    if attributes.flags & PROJECT_INHERITED == 0 {
        return;
    }
    attributes.flags &= !PROJECT_INHERITED;
    // SAFETY: the number is that of a call which reads one `struct fsxattr`.
    let setter = unsafe { Setter::<SET, FsXattr>::new(attributes) };
    // SAFETY: the call changes nothing of ours.
    let answer = unsafe { ioctl(directory, setter) };
    if let Err(error) = answer {
        tracing::info!(%error, "a directory keeps its project");
    }
}

/// Makes a read-only subvolume of btrfs writable, by its top.
///
/// # Errors
/// `EROFS`: it is none, or stays so.
pub(super) fn make_subvolume_writable(top: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: the number is that of a call which reads a number of 64 bits.
    let setter = unsafe { Setter::<SET_SUBVOLUME_FLAGS, u64>::new(0) };
    // SAFETY: the call changes nothing of ours.
    let answer = unsafe { ioctl(top, setter) };
    answer.map_err(|_| Errno::ROFS)
}
