//! Messages of the service, and whose are listened to.

use super::Driver;
use crate::activation::{Event, Notice};
use crate::directives::NotifyAccess;
use crate::failure::{Failure, OrFail, Stage};
use crate::sys::family;

/// The most messages that are taken in before anything else is looked at: a service that sends without an
/// end must not keep us from its own end.
const AT_ONCE: usize = 64;

impl Driver<'_> {
    pub(super) fn take_messages(&mut self) -> Result<(), Failure> {
        for _ in 0..AT_ONCE {
            let Some(notify) = &self.around.notify else {
                return Ok(());
            };
            let next = notify.socket.next();
            let Some(message) = next.or_fail(Stage::Exec, "the notify socket")? else {
                return Ok(());
            };
            let notice = Notice::parse(&message.bytes);
            if notice.is_empty() {
                continue;
            }
            if !self.may_send(message.pid)? {
                tracing::debug!(pid = message.pid, "a message from a stranger");
                continue;
            }
            // Which process is the main one is said before what it says.
            if let Some(pid) = notice.main_pid {
                self.main_is(pid)?;
            }
            self.tell(Event::Notice(notice))?;
        }
        Ok(())
    }

    /// `NotifyAccess=`, by the PID that the kernel gives. A number is nobody else's as long as its process is
    /// not waited for, and we wait after we have read.
    fn may_send(&self, pid: u32) -> Result<bool, Failure> {
        let access = self.activation.listens_to();
        let main = self.activation.main_pid() == Some(pid);
        let control = self.activation.control_pid() == Some(pid);
        Ok(match access {
            NotifyAccess::None => false,
            NotifyAccess::Main => main,
            NotifyAccess::Exec => main || control,
            NotifyAccess::All => {
                main || control
                    || family::descendant(pid, &self.spared)
                        .or_fail(Stage::Exec, "a message")?
                        .is_some()
            }
        })
    }
}
