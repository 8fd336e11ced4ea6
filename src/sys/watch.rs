//! Descriptors in the daemon's event loop.

use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{During, SysResult};

/// A descriptor that tells one thing, once.
#[derive(Debug)]
pub struct Watch {
    descriptor: AsyncFd<OwnedFd>,
    interest: Interest,
}

impl Watch {
    /// Waits until `descriptor` can be read. A pidfd can when its process has ended
    /// (pidfd_open(2)).
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn readable(descriptor: OwnedFd) -> SysResult<Self> {
        Self::register(descriptor, Interest::READABLE)
    }

    /// Waits until `descriptor` is in error: the writing end of a pipe is when the last reading one
    /// is closed (poll(2), `POLLERR`).
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn in_error(descriptor: OwnedFd) -> SysResult<Self> {
        Self::register(descriptor, Interest::ERROR)
    }

    fn register(descriptor: OwnedFd, interest: Interest) -> SysResult<Self> {
        // SAFETY: an OwnedFd gives the same descriptor for as long as it lives, and the AsyncFd
        // owns it: nobody can close it before it is taken out of the event loop.
        let registered = unsafe { AsyncFd::register_with_interest(descriptor, interest) };
        let descriptor = registered
            .map_err(|error| error.into_parts().1)
            .during("epoll_ctl", "")?;
        Ok(Self {
            descriptor,
            interest,
        })
    }

    /// Waits for it.
    ///
    /// # Errors
    /// Only when the event loop is shut down.
    pub async fn happened(&self) -> SysResult<()> {
        let ready = self.descriptor.ready(self.interest).await;
        ready.map(drop).during("epoll_wait", "")
    }
}
