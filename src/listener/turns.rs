//! The listener's loop: who comes, who ends, and what it is told.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};

use super::Listen;
use super::serving::{badly, flush, serve, serve_all};
use super::voices::Voices;
use crate::connections::{Connections, Lines, Rate};
use crate::failure::{Failure, OrFail, Stage};
use crate::report;
use crate::sockets::Sockets;
use crate::sys::clock::timespec;
use crate::sys::family::{Reaped, reap_any};
use crate::sys::listening::Accepted;
use crate::sys::process_wait::Ended;
use crate::sys::signals::Signals;

/// Connections that are taken from one socket before anything else is looked at.
const AT_ONCE: usize = 32;

/// How long a socket is left alone when there is no room for another connection here: descriptors, memory, processes.
const PAUSE: Duration = Duration::from_millis(200);

/// How often the one service may fail, one time after the other, before that is the end.
const MOST_FAILURES: u32 = 10;

/// How long what serves may take to end, if its unit does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// What becomes of the listener next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Listening,
    /// It was told to end, and waits for who serves, until then.
    Ending(Duration),
    /// They got SIGKILL.
    Killing,
    Done(u8),
}

/// One socket.
struct Door<'a> {
    socket: &'a OwnedFd,
    looked_at: Rate,
    /// Nobody is let in before this.
    closed_until: Option<Duration>,
}

pub(super) struct Listener<'a> {
    listen: &'a Listen,
    doors: Vec<Door<'a>>,
    sockets: &'a Sockets,
    signals: Signals,
    connections: Connections,
    /// With `Accept=no`: what serves.
    service: Option<u32>,
    /// How often it has failed, one time after the other.
    failures: u32,
    /// Children that are nothing to us.
    spared: BTreeSet<u32>,
    started: Rate,
    lines: Lines,
    voices: Voices,
    begun: Instant,
    patience: Duration,
    phase: Phase,
    /// What it ends with.
    status: u8,
}

impl<'a> Listener<'a> {
    pub(super) fn new(
        listen: &'a Listen,
        sockets: &'a Sockets,
        spared: Vec<u32>,
        patience: Option<Duration>,
    ) -> Result<Self, Failure> {
        let unit = &listen.unit;
        let door = |socket| Door {
            socket,
            looked_at: Rate::default(),
            closed_until: None,
        };
        Ok(Self {
            listen,
            doors: sockets.descriptors().map(door).collect(),
            sockets,
            signals: Signals::block(&[Signal::SIGCHLD]).or_fail(Stage::Exec, "signals")?,
            connections: Connections::new(unit.max_connections, unit.max_connections_per_source),
            service: None,
            failures: 0,
            spared: spared.into_iter().collect(),
            started: Rate::default(),
            lines: Lines::default(),
            voices: Voices::new()?,
            begun: Instant::now(),
            patience: patience.unwrap_or(PATIENCE),
            phase: Phase::Listening,
            status: 0,
        })
    }

    /// Listens until it is ended. Gives the exit status.
    pub(super) fn run(mut self) -> Result<u8, Failure> {
        loop {
            if let Phase::Done(status) = self.phase {
                return Ok(status);
            }
            let ready = self.wait().or_fail(Stage::Exec, "waiting")?;
            // Before signals: whoever has said something may have ended since.
            for line in self.voices.lines()? {
                self.say(line);
            }
            self.take_signals()?;
            self.time_passed();
            for door in ready {
                if self.phase == Phase::Listening {
                    self.look_at(door)?;
                }
            }
        }
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits for something to happen, and tells at which doors somebody is.
    fn wait(&self) -> Result<Vec<usize>, rustix::io::Errno> {
        let now = self.now();
        let is_open = |door: &Door<'_>| {
            self.phase == Phase::Listening
                && self.service.is_none()
                && door.closed_until.is_none_or(|until| until <= now)
        };
        let open = self
            .doors
            .iter()
            .enumerate()
            .filter(|(_, door)| is_open(door));
        let open: Vec<(usize, BorrowedFd<'_>)> = open
            .map(|(index, door)| (index, door.socket.as_fd()))
            .collect();
        let always = [self.signals.as_fd(), self.voices.as_fd()];
        let watched = always.iter().chain(open.iter().map(|(_, fd)| fd));
        let mut watched: Vec<PollFd<'_>> = watched
            .map(|descriptor| PollFd::new(descriptor, PollFlags::IN))
            .collect();
        let limit = self.next_time().map(|due| due.saturating_sub(now));
        let limit = limit.map(timespec);
        match poll(&mut watched, limit.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            result => result?,
        };
        let somebody = watched.iter().skip(always.len()).zip(&open);
        let somebody = somebody.filter(|(polled, _)| !polled.revents().is_empty());
        Ok(somebody.map(|(_, (index, _))| *index).collect())
    }

    /// When something is due, if nothing happens.
    fn next_time(&self) -> Option<Duration> {
        match self.phase {
            Phase::Ending(until) => Some(until),
            Phase::Listening if self.service.is_none() => {
                let now = self.now();
                let closed = self.doors.iter().filter_map(|door| door.closed_until);
                closed.filter(|until| *until > now).min()
            }
            _ => None,
        }
    }

    fn time_passed(&mut self) {
        if let Phase::Ending(until) = self.phase
            && self.now() >= until
        {
            self.say("what still serves is killed".into());
            self.signal(Signal::SIGKILL);
            self.phase = Phase::Killing;
        }
    }

    /// Somebody is at a door.
    fn look_at(&mut self, index: usize) -> Result<(), Failure> {
        let now = self.now();
        if let Some(limit) = self.listen.unit.poll_limit
            && let Some(door) = self.doors.get_mut(index)
            && let Err(until) = door.looked_at.take(limit, now)
        {
            door.closed_until = Some(until);
            return Ok(());
        }
        if !self.listen.unit.accept {
            return self.start_service();
        }
        for _ in 0..AT_ONCE {
            match self.sockets.accept(index) {
                Ok(Some(accepted)) => self.let_in(accepted)?,
                Ok(None) => break,
                Err(error) => {
                    self.say(format!("no connection could be taken for now: {error}"));
                    self.close_for_a_while(index);
                    break;
                }
            }
            if self.phase != Phase::Listening {
                break;
            }
        }
        Ok(())
    }

    fn close_for_a_while(&mut self, index: usize) {
        let until = self.now().saturating_add(PAUSE);
        if let Some(door) = self.doors.get_mut(index) {
            door.closed_until = Some(until);
        }
    }

    /// Serves a connection, or refuses it: then it is closed, and its descriptor with it.
    fn let_in(&mut self, accepted: Accepted) -> Result<(), Failure> {
        let Accepted { connection, peer } = accepted;
        let source = peer.source();
        let number = self.connections.count();
        if let Err(refused) = self.connections.admit(source) {
            self.say(format!(
                "connection {} refused: {refused}",
                peer.instance(number)
            ));
            return Ok(());
        }
        if self.too_often() {
            return Ok(());
        }
        match serve(self.listen, number, connection, &peer, self.voices.theirs()) {
            Ok(pid) => self.connections.begins(pid, source),
            Err(failure) => self.say(format!(
                "connection {} refused: {failure}",
                peer.instance(number)
            )),
        }
        Ok(())
    }

    fn start_service(&mut self) -> Result<(), Failure> {
        if self.too_often() {
            return Ok(());
        }
        match serve_all(
            self.listen,
            self.sockets.descriptors(),
            self.voices.theirs(),
        ) {
            Ok(pid) => self.service = Some(pid),
            Err(failure) => {
                self.say(failure.to_string());
                (0..self.doors.len()).for_each(|door| self.close_for_a_while(door));
            }
        }
        Ok(())
    }

    /// Whether it was started too often in too little time, which is the end: whoever supervises us decides what then.
    fn too_often(&mut self) -> bool {
        let Some(limit) = self.listen.unit.trigger_limit else {
            return false;
        };
        if self.started.take(limit, self.now()).is_ok() {
            return false;
        }
        self.say(format!(
            "{} was started more than {} times within {} s (TriggerLimitBurst=): no more",
            self.listen.unit.service.full(),
            limit.burst,
            limit.interval.as_secs_f32(),
        ));
        self.end(Stage::Request.exit_status());
        true
    }

    fn take_signals(&mut self) -> Result<(), Failure> {
        let mut arrived = Vec::new();
        while let Some(received) = self.signals.next().or_fail(Stage::Exec, "signals")? {
            arrived.push(received);
        }
        for received in &arrived {
            match received.signal {
                Signal::SIGCHLD => {}
                Signal::SIGTERM | Signal::SIGINT => self.end(0),
                // The terminal is gone, and with it whoever watched.
                Signal::SIGHUP if !received.by_process => self.end(0),
                other => self.pass_on(other),
            }
        }
        // One SIGCHLD stands for any number of ends.
        match arrived.iter().any(|it| it.signal == Signal::SIGCHLD) {
            true => self.reap(),
            false => Ok(()),
        }
    }

    /// With `Accept=no` it is for the one service; connections are nobody's to reload.
    fn pass_on(&self, signal: Signal) {
        if self.service.is_some() {
            self.signal(signal);
        }
    }

    /// Sends a signal to who serves: children that nobody has waited for yet, so the numbers are theirs.
    fn signal(&self, signal: Signal) {
        for pid in self.connections.processes().chain(self.service) {
            if let Ok(pid) = i32::try_from(pid)
                && let Err(error) = kill(Pid::from_raw(pid), signal)
            {
                tracing::debug!(pid, %error, "kill");
            }
        }
    }

    /// No more connections from here on.
    fn end(&mut self, status: u8) {
        if !matches!(self.phase, Phase::Listening) {
            return;
        }
        let nobody = self.connections.is_empty() && self.service.is_none();
        if nobody || (self.listen.leave_connections && self.service.is_none()) {
            self.phase = Phase::Done(status);
            return;
        }
        self.signal(Signal::SIGTERM);
        self.phase = Phase::Ending(self.now().saturating_add(self.patience));
        self.status = status;
    }

    fn reap(&mut self) -> Result<(), Failure> {
        while let Reaped::Child(pid, ended) = reap_any().or_fail(Stage::Exec, "waiting")? {
            if self.spared.remove(&pid) {
                continue;
            }
            if self.service == Some(pid) {
                self.service = None;
                self.service_ended(ended)?;
            } else if !self.connections.ends(pid) {
                continue;
            }
            if let Some(how) = badly(ended) {
                self.say(format!("process {pid}, which served, {how}"));
            }
        }
        let nobody = self.connections.is_empty() && self.service.is_none();
        if nobody && matches!(self.phase, Phase::Ending(_) | Phase::Killing) {
            self.phase = Phase::Done(self.status);
        }
        Ok(())
    }

    fn service_ended(&mut self, ended: Ended) -> Result<(), Failure> {
        if badly(ended).is_none() {
            self.failures = 0;
        } else {
            // What waits at the doors would start it again at once.
            self.failures = self.failures.saturating_add(1);
            (0..self.doors.len()).for_each(|door| self.close_for_a_while(door));
            if self.failures >= MOST_FAILURES {
                self.say(format!(
                    "{MOST_FAILURES} failures one after the other: no more"
                ));
                self.end(Stage::Request.exit_status());
            }
        }
        match self.listen.unit.flush_pending {
            true => flush(self.sockets),
            false => Ok(()),
        }
    }

    fn say(&mut self, line: String) {
        let now = self.now();
        if let Some(line) = self.lines.say(now, line) {
            report::say(&format!(
                "dynuser: {}: {line}",
                self.listen.unit.name.full()
            ));
        }
    }
}
