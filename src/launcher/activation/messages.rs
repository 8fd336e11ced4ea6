//! Messages of the service, and whose are listened to.

use super::super::readiness::{Hears, Sign, UntilExecuted, stay_beside};
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

    /// Once this process is the service, nobody is here to tell that it is ready.
    pub(super) fn leave_to_helper(&mut self) -> Result<Option<UntilExecuted>, Failure> {
        let Some(ready) = self.around.ready.take() else {
            return Ok(None);
        };
        let hears = |file| Hears {
            file,
            access: self.activation.listens_to(),
            uid: self.around.uid,
            outside: self.around.outside.clone(),
        };
        let file = self.around.notify.take();
        stay_beside(
            ready,
            file.map_or(Sign::Executed, |file| Sign::Message(hears(file))),
        )
    }
}
