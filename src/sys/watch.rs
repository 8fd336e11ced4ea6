//! Descriptors in the daemon's event loop.

use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{During, SysResult};

/// Registers a descriptor with the event loop that is running; `readable` then waits for it. A
/// pidfd is readable when its process has ended (pidfd_open(2)).
///
/// # Errors
/// Those of epoll_ctl(2).
pub fn register(descriptor: OwnedFd) -> SysResult<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd gives the same descriptor for as long as it lives, and the AsyncFd owns
    // it: nobody can close it before it is taken out of the event loop.
    unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }
        .map_err(|error| error.into_parts().1)
        .during("epoll_ctl", "")
}
