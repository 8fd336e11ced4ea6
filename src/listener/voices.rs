//! What the children have to say: it is told by the listener, which knows when it is too much.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::failure::{Failure, OrFail, Stage};
use crate::report::LONGEST_LINE;
use crate::sys::socket::receive_now;

/// Lines that are read before anything else is looked at.
const AT_ONCE: usize = 64;

/// Both ends of it.
#[derive(Debug)]
pub(super) struct Voices {
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl Voices {
    /// Nobody has said anything yet.
    ///
    /// # Errors
    /// Of [`Stage::Exec`].
    pub(super) fn new() -> Result<Self, Failure> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let (ours, theirs) = pair.or_fail(Stage::Exec, "socketpair")?;
        Ok(Self { ours, theirs })
    }

    /// A child's end.
    pub(super) fn theirs(&self) -> &OwnedFd {
        &self.theirs
    }

    /// What was said since.
    ///
    /// # Errors
    /// Of [`Stage::Exec`].
    pub(super) fn lines(&self) -> Result<Vec<String>, Failure> {
        let mut lines = Vec::new();
        let mut bytes = [0_u8; LONGEST_LINE];
        for _ in 0..AT_ONCE {
            match receive_now(&self.ours, &mut bytes) {
                Ok((length, _)) => {
                    let line = bytes.get(..length).unwrap_or_default();
                    let line = String::from_utf8_lossy(line);
                    let line = line.strip_prefix("dynuser: ").unwrap_or(&line);
                    lines.push(line.to_owned());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).or_fail(Stage::Exec, "what children say"),
            }
        }
        Ok(lines)
    }
}

impl AsFd for Voices {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ours.as_fd()
    }
}
