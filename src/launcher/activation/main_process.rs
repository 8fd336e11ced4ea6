//! Which process is the main one, and whether anybody is left.

use std::os::fd::AsFd;

use super::{Child, Driver, pid_file};
use crate::activation::{End, Event, Look, Role};
use crate::failure::{Failure, OrFail, Stage};
use crate::statuses::Ending;
use crate::sys::family;
use crate::sys::process_wait::has_ended;

impl Driver<'_> {
    /// The main process may be a descendant that is no child of ours: its parent takes its status, and
    /// nobody else learns it. systemd counts that as a good end.
    pub(super) fn look_after_stranger(&mut self) -> Result<(), Failure> {
        let Some(main) = &self.main else {
            return Ok(());
        };
        if !has_ended(main.pidfd.as_fd()).or_fail(Stage::Exec, "waiting")? {
            return Ok(());
        }
        // A child's end is told by the reaping, where its status is.
        self.reap()?;
        let Some(main) = &self.main else {
            return Ok(());
        };
        if !has_ended(main.pidfd.as_fd()).or_fail(Stage::Exec, "waiting")? {
            return Ok(());
        }
        self.main = None;
        self.tell(Event::Ended(Role::Main, End::new(Ending::Status(0))))
    }

    pub(super) fn look_for_main(&mut self) -> Result<(), Failure> {
        let found = match self.activation.looks_for_main() {
            None => return Ok(()),
            Some(Look::PidFile(path)) => pid_file::read(&path),
            Some(Look::OnlyChild) => {
                let children = family::children(&self.spared).or_fail(Stage::Exec, "children")?;
                match children.as_slice() {
                    [child] => Some(*child),
                    _ => return self.tell(Event::NoMain),
                }
            }
        };
        match found {
            Some(pid) => self.main_is(pid),
            None => Ok(()),
        }
    }

    /// Takes a process for the main one, if it is of this service: the number is the service's word.
    pub(super) fn main_is(&mut self, pid: u32) -> Result<(), Failure> {
        let found =
            family::descendant(pid, &self.spared).or_fail(Stage::Exec, "the main process")?;
        let Some(pidfd) = found else {
            return Ok(());
        };
        if has_ended(pidfd.as_fd()).or_fail(Stage::Exec, "the main process")? {
            return Ok(());
        }
        self.tell(Event::Main(pid))?;
        if self.activation.main_pid() == Some(pid) {
            self.main = Some(Child {
                pid,
                pidfd,
                executed: true,
            });
        }
        Ok(())
    }

    pub(super) fn look_for_anybody(&mut self) -> Result<(), Failure> {
        while self.activation.waits_for_nobody() {
            let left = family::children(&self.spared).or_fail(Stage::Exec, "children")?;
            if !left.is_empty() {
                break;
            }
            self.tell(Event::Nobody)?;
        }
        Ok(())
    }
}
