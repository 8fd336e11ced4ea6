//! What drives an activation: starts what is to be started, and tells it what happens.

mod main_process;
mod messages;
mod pid_file;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};

use super::readiness::ReadyFd;
use crate::activation::{Action, Activation, Asked, End, Event, List, Look, Role, To};
use crate::command_text::Command;
use crate::failure::{Failure, OrFail, Stage};
use crate::notify_files::NotifyFile;
use crate::report;
use crate::statuses::Ending;
use crate::sys::clock::timespec;
use crate::sys::family::{self, Reaped};
use crate::sys::process_wait::{Ended, reap};
use crate::sys::signals::{Received, Signals};
use crate::sys::{SysResult, notify};

/// A process that was started.
#[derive(Debug)]
pub struct Child {
    /// Its PID.
    pub pid: u32,
    /// A descriptor of it.
    pub pidfd: OwnedFd,
    /// Whether its program has been executed. If not, it has said why, and ends.
    pub executed: bool,
}

/// What starts the commands of an activation.
pub trait Starter {
    /// Starts a command of a list, with `more` variables in its environment. When this returns, the program has been
    /// executed, or has not, as is told. The caller waits for it; the child gets the signal mask that is in force now,
    /// and must
    /// unblock.
    ///
    /// # Errors
    /// Of the stage that failed.
    fn start(
        &self,
        list: List,
        command: &Command,
        more: &[(String, String)],
    ) -> Result<Child, Failure>;

    /// Becomes the command. Comes back only with the reason why not.
    fn become_it(&self, command: &Command, more: &[(String, String)]) -> Failure;

    /// Sends a signal to all processes of the service, but not to those of `spared` or below them.
    ///
    /// # Errors
    /// The kernel's.
    fn signal_all(&self, signal: u8, spared: &BTreeSet<u32>) -> SysResult<()> {
        family::signal_all(signal, spared)
    }
}

/// What is around an activation.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Where the service's messages arrive.
    pub notify: Option<NotifyFile>,
    /// The socket of a supervisor outside that listens to sd_notify(3).
    pub outside: Option<OsString>,
    /// The descriptor of somebody who waits until the service is ready.
    pub ready: Option<ReadyFd>,
    /// The UID of the user that exists for this service alone, if so.
    pub uid: Option<u32>,
    /// Say nothing about what goes well.
    pub quiet: bool,
}

/// How often a PID file is looked for.
const GLANCE: Duration = Duration::from_millis(20);

/// Runs an activation to its end. The answer is the status to end with.
///
/// # Errors
/// Of [`Stage::Exec`] where nothing could be watched; that of becoming the service, in place. That a command
/// cannot be started is shown, and is a part of the activation.
pub fn run(
    activation: Activation,
    starter: &dyn Starter,
    around: Surroundings,
) -> Result<u8, Failure> {
    let signals = Signals::block(&[Signal::SIGCHLD]).or_fail(Stage::Exec, "signals")?;
    family::adopt_orphans().or_fail(Stage::Exec, "orphans")?;
    // Whoever became us may have left children of his own: they are no part of the service.
    let spared = family::children(&BTreeSet::new()).or_fail(Stage::Exec, "children")?;
    let mut driver = Driver {
        activation,
        starter,
        around,
        signals: Some(signals),
        spared: spared.into_iter().collect(),
        main: None,
        control: None,
        begun: Instant::now(),
        done: None,
    };
    driver.tell(Event::Begin)?;
    loop {
        if let Some(status) = driver.done {
            return Ok(status);
        }
        driver.turn()?;
    }
}

struct Driver<'a> {
    activation: Activation,
    starter: &'a dyn Starter,
    around: Surroundings,
    signals: Option<Signals>,
    /// Children that were there before.
    spared: BTreeSet<u32>,
    main: Option<Child>,
    control: Option<Child>,
    begun: Instant,
    done: Option<u8>,
}

impl Driver<'_> {
    /// Waits for something to happen, and tells it.
    fn turn(&mut self) -> Result<(), Failure> {
        self.wait().or_fail(Stage::Exec, "waiting")?;
        // Messages first: their senders may have ended since, and what they said comes before their end.
        self.take_messages()?;
        self.take_signals()?;
        self.look_after_stranger()?;
        self.look_for_main()?;
        self.look_for_anybody()?;
        self.tell(Event::Time)
    }

    fn wait(&self) -> Result<(), rustix::io::Errno> {
        let mut watched: Vec<BorrowedFd<'_>> = Vec::new();
        watched.extend(self.signals.as_ref().map(AsFd::as_fd));
        watched.extend(self.around.notify.as_ref().map(|it| it.socket.as_fd()));
        // Of children SIGCHLD tells.
        watched.extend(self.main.as_ref().map(|it| it.pidfd.as_fd()));
        let mut watched: Vec<_> = watched
            .iter()
            .map(|descriptor| PollFd::new(descriptor, PollFlags::IN))
            .collect();
        let mut limit = self
            .activation
            .deadline()
            .map(|due| due.saturating_sub(self.begun.elapsed()));
        if matches!(self.activation.looks_for_main(), Some(Look::PidFile(_))) {
            limit = Some(limit.map_or(GLANCE, |limit| limit.min(GLANCE)));
        }
        let limit = limit.map(timespec);
        match poll(&mut watched, limit.as_ref()) {
            Err(rustix::io::Errno::INTR) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Tells the activation what has happened, and does what it says.
    fn tell(&mut self, event: Event) -> Result<(), Failure> {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let now = self.begun.elapsed();
            let mut answers = Vec::new();
            for action in self.activation.handle(now, event) {
                answers.extend(self.act(action)?);
            }
            // In the order of the actions.
            answers.reverse();
            events.extend(answers);
        }
        // A main process may have been forgotten, for another one or for a new start.
        if self.main.as_ref().map(|it| it.pid) != self.activation.main_pid() {
            self.main = None;
        }
        Ok(())
    }

    /// Does one thing. The answer is what comes of it.
    fn act(&mut self, action: Action) -> Result<Option<Event>, Failure> {
        match action {
            Action::Start {
                list,
                index,
                role,
                variables,
            } => return Ok(Some(self.start(list, index, role, &variables))),
            Action::Become { index, variables } => {
                // execve(2) keeps it: the service would get orphans that it does not know of.
                family::leave_orphans().or_fail(Stage::Exec, "orphans")?;
                self.signals = None;
                // Until the end of this function: a drop says that it failed.
                let _executed = self.leave_to_helper()?;
                let command = self.activation.command(List::Start, index);
                let command = command.ok_or("no command").or_fail(Stage::Exec, "")?;
                return Err(self.starter.become_it(command, &variables));
            }
            Action::Signal(to, signal) => self.signal(to, signal),
            Action::Say(text) => {
                if !self.around.quiet {
                    report::say(&text);
                }
            }
            Action::Tell(text) => {
                if text == "READY=1"
                    && let Some(ready) = self.around.ready.take()
                {
                    ready.tell();
                }
                if let Some(address) = &self.around.outside
                    && let Err(error) = notify::tell(address, text.as_bytes())
                {
                    tracing::debug!(%error, "nobody listens outside");
                }
            }
            Action::Finish(status) => self.done = Some(status),
        }
        Ok(None)
    }

    fn start(
        &mut self,
        list: List,
        index: usize,
        role: Role,
        variables: &[(String, String)],
    ) -> Event {
        let Some(command) = self.activation.command(list, index) else {
            return Event::NotStarted(role, u8::MAX);
        };
        match self.starter.start(list, command, variables) {
            // It is no service that has started, and must not be told as one.
            Ok(child) if !child.executed => match reap(child.pidfd.as_fd()) {
                Ok(ended) => Event::NotStarted(role, ended.exit_status()),
                Err(error) => {
                    report::failure(&Failure::new(Stage::Exec, "waiting", error));
                    Event::NotStarted(role, u8::MAX)
                }
            },
            Ok(child) => {
                let pid = child.pid;
                match role {
                    Role::Main => self.main = Some(child),
                    Role::Control => self.control = Some(child),
                }
                Event::Started(role, pid)
            }
            Err(failure) => {
                report::failure(&failure);
                Event::NotStarted(role, failure.exit_status())
            }
        }
    }

    fn signal(&self, to: To, signal: u8) {
        let one = |child: &Option<Child>| match child {
            Some(child) => family::send(&child.pidfd, signal, child.pid),
            None => Ok(()),
        };
        let sent = match to {
            To::Main => one(&self.main),
            To::Control => one(&self.control),
            To::All => self.starter.signal_all(signal, &self.spared),
        };
        // The time of the state goes on, and the lease's end comes after it in any case.
        if let Err(error) = sent {
            report::failure(&Failure::new(Stage::Exec, "signals", error));
        }
    }

    fn take_signals(&mut self) -> Result<(), Failure> {
        let mut arrived = Vec::new();
        if let Some(signals) = &self.signals {
            while let Some(received) = signals.next().or_fail(Stage::Exec, "signals")? {
                arrived.push(received);
            }
        }
        // One SIGCHLD stands for any number of ends.
        if arrived.iter().any(|it| it.signal == Signal::SIGCHLD) {
            self.reap()?;
        }
        for received in arrived {
            if let Some(asked) = asked(received) {
                self.tell(Event::Asked(asked))?;
            }
        }
        Ok(())
    }

    fn reap(&mut self) -> Result<(), Failure> {
        while let Reaped::Child(pid, ended) = family::reap_any().or_fail(Stage::Exec, "waiting")? {
            let role = if self.activation.control_pid() == Some(pid) {
                self.control = None;
                Some(Role::Control)
            } else if self.activation.main_pid() == Some(pid) {
                self.main = None;
                Some(Role::Main)
            } else {
                self.spared.remove(&pid);
                None
            };
            if let Some(role) = role {
                self.tell(Event::Ended(role, end(ended)))?;
            }
        }
        Ok(())
    }
}

/// What a signal to us asks for.
fn asked(received: Received) -> Option<Asked> {
    match (received.signal, received.by_process) {
        (Signal::SIGCHLD, _) => None,
        (Signal::SIGTERM | Signal::SIGINT, _) => Some(Asked::Stop),
        // The terminal is gone, and with it whoever watched.
        (Signal::SIGHUP, false) => Some(Asked::Stop),
        (Signal::SIGHUP, true) => Some(Asked::Reload),
        // The kernel sends those of the terminal's keys to the whole group.
        (_, false) => None,
        (signal, true) => {
            #[allow(clippy::as_conversions)]
            let number = signal as i32;
            u8::try_from(number).ok().map(Asked::Pass)
        }
    }
}

fn end(ended: Ended) -> End {
    match ended {
        Ended::Exited(status) => End::new(Ending::Status(status)),
        Ended::Signaled { signal, core } => End {
            ending: Ending::Signal(u8::try_from(signal).unwrap_or(u8::MAX)),
            core,
        },
    }
}
