//! `--ready-fd`: readiness as s6 and dinit want it, a newline on a descriptor that they opened.
//!
//! Where this process stays, it writes the newline. Where it becomes the service, a helper does: a process that is
//! no child of the service, so that the service has none that it does not know of.

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::passed::not_left_open;
use crate::activation::Notice;
use crate::directives::{Commands, NotifyAccess, Type};
use crate::failure::{Failure, OrFail, Stage};
use crate::notify_files::NotifyFile;
use crate::sys::notify::{self, Message};
use crate::sys::process_wait::has_ended;
use crate::sys::{During, SysResult, passed, run};

/// The descriptor of whoever waits until the service is ready.
#[derive(Debug)]
pub struct ReadyFd(OwnedFd);

impl ReadyFd {
    /// Takes a descriptor that whoever started us left open.
    ///
    /// # Errors
    /// Of [`Stage::Request`], if it is not open, or nobody can write to it.
    pub fn take(number: i32) -> Result<Self, Failure> {
        let subject = format!("--ready-fd={number}");
        let taken = passed::take(number).map_err(|error| not_left_open(&subject, error))?;
        if passed::is_writable(&taken).or_fail(Stage::Request, &subject)? {
            return Ok(Self(taken));
        }
        let why = "cannot be written to: it must be the writing end of the supervisor's pipe";
        Err(Failure::new(Stage::Request, subject, why))
    }

    /// Tells that the service is ready, and closes it.
    pub fn tell(self) {
        // Nobody waits any more: the service runs all the same.
        if let Err(error) = retry_on_intr(|| write(&self.0, b"\n")) {
            tracing::debug!(%error, "nobody waits at --ready-fd");
        }
    }
}

/// What a helper waits for: its end is closed by execve(2), and by nothing else without a word.
#[derive(Debug)]
pub(super) struct UntilExecuted(OwnedFd);

impl Drop for UntilExecuted {
    /// The program was not executed.
    fn drop(&mut self) {
        // A helper that was killed reads nothing, and tells nothing either.
        let _told = retry_on_intr(|| write(&self.0, b"x"));
    }
}

/// What tells that a service is ready which this process becomes.
#[derive(Debug)]
pub(super) enum Sign {
    /// That its program has been executed.
    Executed,
    /// A message of the service's.
    Message(Hears),
}

/// The messages of a service.
#[derive(Debug)]
pub(super) struct Hears {
    /// Where they arrive.
    pub(super) file: NotifyFile,
    /// Whose count.
    pub(super) access: NotifyAccess,
    /// The user that exists for this service alone, if so.
    pub(super) uid: Option<u32>,
    /// The socket of somebody else who listens, and is told all of them as long as the service runs.
    pub(super) outside: Option<OsString>,
}

/// Has a helper tell that the service is ready that this process becomes next. It goes when that is told, or the service
/// has ended. What is returned must be there until the service is executed, or that has failed.
///
/// # Errors
/// Of [`Stage::Exec`].
pub(super) fn stay_beside(ready: ReadyFd, sign: Sign) -> Result<Option<UntilExecuted>, Failure> {
    let subject = "the helper of --ready-fd";
    let us = getpid();
    let service = pidfd_open(us, PidfdFlags::empty()).or_fail(Stage::Exec, subject)?;
    let pid = std::process::id();
    let mut kept = vec![ready.0.as_raw_fd(), service.as_raw_fd()];
    match sign {
        Sign::Executed => {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).or_fail(Stage::Exec, subject)?;
            kept.push(reader.as_raw_fd());
            let work = move || {
                if is_executed(&reader, &service, pid) {
                    ready.tell();
                }
                0
            };
            run::detach(kept, work).or_fail(Stage::Exec, subject)?;
            Ok(Some(UntilExecuted(writer)))
        }
        Sign::Message(hears) => {
            kept.push(hears.file.socket.as_fd().as_raw_fd());
            // Only the helper removes the file.
            let hears = ManuallyDrop::new(hears);
            let work = move || {
                let failed = hears.until_ready(ready, &service, pid).is_err();
                drop(ManuallyDrop::into_inner(hears));
                u8::from(failed)
            };
            run::detach(kept, work).or_fail(Stage::Exec, subject)?;
            Ok(None)
        }
    }
}

/// Waits until the other end of `reader` is closed: by execve(2), or by the end of the process. Whether it was the former.
fn is_executed(reader: &OwnedFd, service: &OwnedFd, pid: u32) -> bool {
    if retry_on_intr(|| read(reader, &mut [0_u8; 1])) != Ok(0) {
        return false;
    }
    // A process that ends gives its memory back before its descriptors, and has no program from then on.
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok()
        && has_ended(service.as_fd()) == Ok(false)
}

impl Hears {
    /// Listens until the service is ready; if somebody else listens too, until it has ended.
    fn until_ready(&self, ready: ReadyFd, service: &OwnedFd, pid: u32) -> SysResult<()> {
        let mut ready = Some(ready);
        while ready.is_some() || self.outside.is_some() {
            let mut watched = [
                PollFd::new(service, PollFlags::IN),
                PollFd::new(&self.file.socket, PollFlags::IN),
            ];
            match poll(&mut watched, None) {
                Err(Errno::INTR) => continue,
                result => result.map(drop).during("poll", "notify socket")?,
            }
            let [ended, _] = watched.map(|one| !one.revents().is_empty());
            while let Some(message) = self.file.socket.next()? {
                if !self.may_send(&message, pid) {
                    continue;
                }
                if Notice::parse(&message.bytes).ready
                    && let Some(ready) = ready.take()
                {
                    ready.tell();
                }
                if let Some(address) = &self.outside
                    && let Err(error) = notify::tell(address, &message.bytes)
                {
                    tracing::debug!(%error, "nobody listens outside");
                }
            }
            if ended {
                return Ok(());
            }
        }
        Ok(())
    }

    /// `NotifyAccess=`, by what the kernel says of the sender. In place there is no control process, and no list of
    /// the service's processes: they are those of its user, if that exists for it alone.
    fn may_send(&self, message: &Message, pid: u32) -> bool {
        let main = message.pid == pid;
        match self.access {
            NotifyAccess::None => false,
            NotifyAccess::Main | NotifyAccess::Exec => main,
            NotifyAccess::All => main || self.uid == Some(message.uid),
        }
    }
}

/// Whoever waits would wait for ever.
pub(super) fn refuse_never_ready(commands: &Commands, waits: bool) -> Result<(), Failure> {
    let never = commands.kind() == Type::Oneshot && !commands.remain_after_exit;
    if !waits || !never {
        return Ok(());
    }
    let why = "is of no use with Type=oneshot without RemainAfterExit=: such a service is over when it is ready";
    Err(Failure::new(Stage::Request, "--ready-fd", why))
}
