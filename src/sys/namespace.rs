//! Whether a PID namespace is still there, seen from another one.
//!
//! A container that is started anew may find its former `/run`: with the same boot ID, and with
//! holders of a PID namespace that nobody can look into. Linux 6.18 gives namespaces file handles
//! (name_to_handle_at(2) on nsfs) that are never used twice, and says `ESTALE` of one that is gone.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::{During, SysResult, last_error};

/// The file system of namespaces in place of a descriptor (`FD_NSFS_ROOT`, linux/fcntl.h).
const NSFS_ROOT: libc::c_int = -10_003;

/// Room for a handle; those of nsfs have 16 bytes.
const ROOM: usize = 64;

/// As open_by_handle_at(2) wants it: `struct file_handle` with room behind it.
#[repr(C, align(8))]
struct RawHandle {
    bytes: libc::c_uint,
    kind: libc::c_int,
    data: [u8; ROOM],
}

/// What our PID namespace is known by for ever, as text; nothing where the kernel has no such
/// handles.
///
/// # Errors
/// Those of open(2) and name_to_handle_at(2), but that it is not supported.
pub fn pid_namespace_handle() -> SysResult<Option<String>> {
    const PATH: &str = "/proc/self/ns/pid";
    let namespace = open(PATH).during("open", PATH)?;
    let mut handle = RawHandle {
        bytes: libc::c_uint::try_from(ROOM).unwrap_or(0),
        kind: 0,
        data: [0; ROOM],
    };
    let mut mount: libc::c_int = 0;
    // SAFETY: an empty path and a descriptor of ours; the handle has as much room as it says.
    let answer = unsafe {
        libc::name_to_handle_at(
            namespace.as_fd().as_raw_fd(),
            c"".as_ptr(),
            (&raw mut handle).cast(),
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if answer != 0 {
        return match last_error() {
            // EPERM: a container's filter forbids the call.
            Errno::OPNOTSUPP | Errno::OVERFLOW | Errno::NOSYS | Errno::PERM => Ok(None),
            errno => Err(errno).during("name_to_handle_at", PATH),
        };
    }
    let length = usize::try_from(handle.bytes).unwrap_or(0);
    let data = handle.data.get(..length).unwrap_or_default();
    let data: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(format!("{}:{data}", handle.kind)))
}

/// Whether the namespace of a handle is gone, and every process of it with it. What is no handle, and
/// what the kernel will not tell, is not gone.
///
/// # Errors
/// Those of open_by_handle_at(2), but `ESTALE`.
pub fn is_gone(handle: &str) -> SysResult<bool> {
    let Some(mut raw) = parse(handle) else {
        return Ok(false);
    };
    // SAFETY: the handle has the length that it says.
    let answer = unsafe {
        libc::open_by_handle_at(
            NSFS_ROOT,
            (&raw mut raw).cast(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        )
    };
    if answer < 0 {
        return match last_error() {
            Errno::STALE => Ok(true),
            // A container's filter forbids the call, or its root lacks CAP_DAC_READ_SEARCH: nobody can tell.
            Errno::PERM => Ok(false),
            errno => Err(errno).during("open_by_handle_at", handle),
        };
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    drop(unsafe { OwnedFd::from_raw_fd(answer) });
    Ok(false)
}

fn open(path: &str) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn parse(handle: &str) -> Option<RawHandle> {
    let (kind, digits) = handle.split_once(':')?;
    let mut data = [0; ROOM];
    let mut length: libc::c_uint = 0;
    let mut rest = digits;
    while !rest.is_empty() {
        let (byte, after) = rest.split_at_checked(2)?;
        *data.get_mut(usize::try_from(length).ok()?)? = u8::from_str_radix(byte, 16).ok()?;
        length = length.checked_add(1)?;
        rest = after;
    }
    Some(RawHandle {
        bytes: length,
        kind: kind.parse().ok()?,
        data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_read_as_they_were_written() {
        let handle = parse("241:0102ff").expect("a handle");
        assert_eq!((handle.kind, handle.bytes), (241, 3));
        assert_eq!(handle.data.get(..4), Some(&[1, 2, 255, 0][..]));
        for bad in ["", "241", "x:01", "1:0", "1:0g", "1:ä"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
        assert!(parse(&format!("1:{}", "00".repeat(ROOM + 1))).is_none());
    }

    #[test]
    fn our_own_namespace_is_not_gone() {
        if let Some(handle) = pid_namespace_handle().expect("an answer") {
            assert_eq!(is_gone(&handle), Ok(false));
        }
        assert_eq!(is_gone("nonsense"), Ok(false));
    }
}
