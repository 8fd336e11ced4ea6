//! Descriptors that are passed to a program by their numbers: sd_listen_fds(3), and those that a supervisor
//! leaves open for a service.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};

use super::{During, SysResult};

/// The first descriptor that is passed on (`SD_LISTEN_FDS_START`).
pub const FIRST: RawFd = 3;

/// Says whether a descriptor survives execve(2). Whoever owns it in this process goes on owning it.
///
/// # Errors
/// `EBADF`, if there is no such descriptor.
pub fn survives(number: RawFd, survives: bool) -> SysResult<()> {
    with(number, |borrowed| {
        let now = fcntl_getfd(borrowed)?;
        let flags = match survives {
            true => now.difference(FdFlags::CLOEXEC),
            false => now | FdFlags::CLOEXEC,
        };
        fcntl_setfd(borrowed, flags)
    })
}

/// Says whether reading, writing and accepting wait (`O_NONBLOCK`): for everybody who has the same open file.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_blocking(number: RawFd, blocking: bool) -> SysResult<()> {
    with(number, |borrowed| {
        let now = fcntl_getfl(borrowed)?;
        let flags = match blocking {
            true => now.difference(OFlags::NONBLOCK),
            false => now | OFlags::NONBLOCK,
        };
        fcntl_setfl(borrowed, flags)
    })
}

/// A copy of a descriptor.
///
/// # Errors
/// Those of fcntl(2).
pub fn duplicate(number: RawFd) -> SysResult<OwnedFd> {
    with(number, |borrowed| fcntl_dupfd_cloexec(borrowed, 0))
}

fn with<T>(
    number: RawFd,
    act: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<T>,
) -> SysResult<T> {
    if number < 0 {
        return Err(rustix::io::Errno::BADF).during("fcntl", number);
    }
    // SAFETY: not -1; borrowed for calls of fcntl(2) alone, which tell whether it is open, and take it from nobody.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    act(borrowed).during("fcntl", number)
}

/// Puts descriptors to the numbers from [`FIRST`] on, in their order, where they belong to nobody in this process, and
/// closes all others but 0, 1, 2 and `kept`, which is given back: for a child that never returns to what its parent
/// did, and goes on with nothing of what that had open.
///
/// # Errors
/// Those of fcntl(2), dup3(2) and close_range(2).
pub fn place_alone(mut descriptors: Vec<OwnedFd>, kept: OwnedFd) -> SysResult<OwnedFd> {
    let count = RawFd::try_from(descriptors.len()).unwrap_or(RawFd::MAX);
    let last = FIRST.saturating_add(count);
    descriptors.push(kept);
    place(descriptors)?;
    let first = libc::c_uint::try_from(last.saturating_add(1)).unwrap_or(libc::c_uint::MAX);
    // SAFETY: numbers alone; what is closed is nobody's any more, as this function demands.
    let answer = unsafe { libc::close_range(first, libc::c_uint::MAX, 0) };
    if answer != 0 {
        return Err(super::last_error()).during("close_range", first);
    }
    // SAFETY: the number was put there just now, and is nobody's.
    Ok(unsafe { OwnedFd::from_raw_fd(last) })
}

/// Puts descriptors to the numbers from [`FIRST`] on, in their order. Whatever had these numbers is closed.
fn place(descriptors: Vec<OwnedFd>) -> SysResult<()> {
    let count = RawFd::try_from(descriptors.len()).unwrap_or(RawFd::MAX);
    let beyond = FIRST.saturating_add(count);
    // First out of each other's way.
    let mut copies = Vec::with_capacity(descriptors.len());
    for descriptor in &descriptors {
        let copy = fcntl_dupfd_cloexec(descriptor, beyond);
        copies.push(copy.during("fcntl", descriptor.as_raw_fd())?);
    }
    // Their numbers may be those of which the copies are put: to close them afterwards would close the copies.
    for descriptor in descriptors {
        drop(descriptor);
    }
    for (copy, number) in copies.into_iter().zip(FIRST..) {
        // SAFETY: numbers alone; what is closed is nobody's any more, as this function demands.
        let answer = unsafe { libc::dup3(copy.as_raw_fd(), number, libc::O_CLOEXEC) };
        if answer != number {
            return Err(super::last_error()).during("dup3", number);
        }
    }
    Ok(())
}

/// Claims a descriptor that whoever started this process left open: from here on no program that this process
/// executes has it, unless it [`survives`].
///
/// # Errors
/// `EBADF` if nobody left it open, for those of the standard streams, and for one that was claimed before.
pub fn claim(number: RawFd) -> SysResult<()> {
    if number < FIRST {
        return Err(rustix::io::Errno::BADF).during("fcntl", number);
    }
    // All that this process opens or claims is marked: what is not has come over execve(2), and is nobody's.
    let marked = with(number, |borrowed| fcntl_getfd(borrowed))?.contains(FdFlags::CLOEXEC);
    match marked {
        true => Err(rustix::io::Errno::BADF).during("fcntl", number),
        false => survives(number, false),
    }
}

/// Claims one, and owns it.
///
/// # Errors
/// As [`claim`].
pub fn take(number: RawFd) -> SysResult<OwnedFd> {
    claim(number)?;
    // SAFETY: it is open, and was claimed by nobody until a moment ago: no owner in this process has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether one can write to a descriptor.
///
/// # Errors
/// Those of fcntl(2).
pub fn is_writable(descriptor: impl AsFd) -> SysResult<bool> {
    let flags = fcntl_getfl(descriptor).during("fcntl", "F_GETFL")?;
    let mode = flags & OFlags::RWMODE;
    Ok((mode == OFlags::WRONLY || mode == OFlags::RDWR) && !flags.contains(OFlags::PATH))
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn only_what_was_left_open_is_taken_and_only_once() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        assert!(!is_writable(&reader).unwrap());
        assert!(is_writable(&writer).unwrap());
        let number = writer.into_raw_fd();
        let taken = take(number).unwrap();
        assert_eq!(taken.as_raw_fd(), number);
        assert_eq!(take(number).unwrap_err().errno, Errno::BADF);
        survives(number, true).unwrap();
        assert!(fcntl_getfd(&taken).unwrap().is_empty());
        let ours = std::fs::File::open("/dev/null").unwrap();
        for number in [-1, 0, 1, 2, ours.as_raw_fd(), 100_000] {
            assert_eq!(claim(number).unwrap_err().errno, Errno::BADF, "{number}");
        }
    }
}
