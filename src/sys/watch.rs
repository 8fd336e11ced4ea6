//! Many descriptors that each tell one thing, once: the ends of what holds leases.
//!
//! They are in an epoll(7) of their own, which the event loop watches as one descriptor. A task and a
//! registration of the event loop for each would take ten times the memory.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{During, SysResult};

/// What a descriptor is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tells {
    /// That it can be read: a pidfd can when its process has ended (pidfd_open(2)).
    Readable,
    /// That it is in error: the writing end of a pipe is when the last reading one is closed
    /// (poll(2), `POLLERR`).
    InError,
}

/// The descriptors, each with a `T` that is given back when it tells.
#[derive(Debug)]
pub struct Watches<T> {
    epoll: AsyncFd<OwnedFd>,
    watched: Mutex<Watched<T>>,
}

#[derive(Debug)]
struct Watched<T> {
    next: u64,
    descriptors: HashMap<u64, (OwnedFd, T)>,
}

/// How many are told of at once.
const AT_ONCE: usize = 64;

impl<T> Watches<T> {
    /// Watches nothing yet. Must be called in the event loop.
    ///
    /// # Errors
    /// Those of epoll_create(2) and epoll_ctl(2).
    pub fn new() -> SysResult<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).during("epoll_create", "")?;
        // SAFETY: an OwnedFd gives the same descriptor for as long as it lives, and the AsyncFd
        // owns it: nobody can close it before it is taken out of the event loop.
        let epoll = unsafe { AsyncFd::register_with_interest(epoll, Interest::READABLE) };
        let epoll = epoll
            .map_err(|error| error.into_parts().1)
            .during("epoll_ctl", "epoll")?;
        Ok(Self {
            epoll,
            watched: Mutex::new(Watched {
                next: 0,
                descriptors: HashMap::new(),
            }),
        })
    }

    /// Watches `descriptor`, also if it has something to tell already.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn add(&self, descriptor: OwnedFd, tells: Tells, about: T) -> SysResult<()> {
        let flags = match tells {
            Tells::Readable => EventFlags::IN,
            // Errors are always told.
            Tells::InError => EventFlags::empty(),
        };
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let number = watched.next;
        watched.next = number.wrapping_add(1);
        epoll::add(
            self.epoll.get_ref(),
            descriptor.as_fd(),
            EventData::new_u64(number),
            flags,
        )
        .during("epoll_ctl", "EPOLL_CTL_ADD")?;
        watched.descriptors.insert(number, (descriptor, about));
        Ok(())
    }

    /// Waits until some tell, and gives what was noted about them. They are watched no longer.
    ///
    /// # Errors
    /// Those of epoll_wait(2); that the event loop is shut down.
    pub async fn told(&self) -> SysResult<Vec<T>> {
        loop {
            let mut ready = self.epoll.readable().await.during("epoll_wait", "epoll")?;
            let told = self.told_now()?;
            if !told.is_empty() {
                return Ok(told);
            }
            ready.clear_ready();
        }
    }

    fn told_now(&self) -> SysResult<Vec<T>> {
        let mut events = Vec::with_capacity(AT_ONCE);
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        match epoll::wait(
            self.epoll.get_ref(),
            spare_capacity(&mut events),
            Some(&now),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during("epoll_wait", ""),
        }
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = events.iter().map(|event| event.data.u64());
        let mut told = Vec::new();
        for number in numbers {
            if let Some((descriptor, about)) = watched.descriptors.remove(&number) {
                // Closing it would do as well, if nobody had a copy.
                epoll::delete(self.epoll.get_ref(), &descriptor)
                    .during("epoll_ctl", "EPOLL_CTL_DEL")?;
                told.push(about);
            }
        }
        Ok(told)
    }
}
