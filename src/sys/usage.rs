//! How much a tree takes, and when it was used last. The tree may be its owner's work against us; how a
//! look at it fares with that is told in [`super::walk`].

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::fstat;

use super::walk::{Next, walk};
use super::{During, SysResult};

/// What a tree takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// On disk, in bytes; what has several names there counts as often. Other file systems in it are not counted.
    pub bytes: u64,
    /// When something of it was changed last (the later of mtime and ctime), in seconds since 1970.
    pub changed: i64,
}

/// What the directory `top` takes with all that is in it. Memory grows with depth alone.
///
/// # Errors
/// Those of statx(2), openat2(2) and getdents64(2), with the path; `EBUSY` if it grows as fast as it is read.
pub fn usage(top: &OwnedFd, shown_as: &str) -> SysResult<Usage> {
    let stat = fstat(top).during("fstat", shown_as)?;
    let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
    let mut usage = Usage {
        bytes: blocks.saturating_mul(512),
        changed: stat.st_mtime.max(stat.st_ctime),
    };
    walk(top.as_fd(), shown_as, &mut |entry| {
        usage.bytes = usage.bytes.saturating_add(entry.bytes);
        usage.changed = usage.changed.max(entry.changed);
        Ok(Next::Enter)
    })?;
    Ok(usage)
}
