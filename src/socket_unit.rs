//! A `.socket` unit: what to listen on, who may connect, and which service that starts (systemd.socket(5)).
//!
//! Directives that do something to the sockets and are not supported are refused by name: a socket that is open
//! to more than its author meant is an open door.

#![forbid(unsafe_code)]

mod address;
mod connection;
mod options;
mod row;
mod table;

use core::time::Duration;
use std::collections::BTreeSet;

use crate::specifiers::UnitName;
use crate::unit::{Setting, Unit};
use crate::unit_file::Fault;

pub use address::Address;
pub use connection::{Peer, Source};
pub use options::{Options, Timestamping, V6Only};
pub use row::{Row, find};
pub use table::TABLE;

/// What kind of socket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `ListenStream=`: TCP, or a UNIX stream.
    Stream,
    /// `ListenDatagram=`: UDP, or UNIX datagrams.
    Datagram,
    /// `ListenSequentialPacket=`: of UNIX alone.
    SequentialPacket,
    /// `ListenFIFO=`: no socket, but a named pipe.
    Fifo,
}

impl Kind {
    /// Whether there are connections to accept.
    pub fn is_connected(self) -> bool {
        matches!(self, Self::Stream | Self::SequentialPacket)
    }

    /// The directive for it.
    pub fn directive(self) -> &'static str {
        match self {
            Self::Stream => "ListenStream",
            Self::Datagram => "ListenDatagram",
            Self::SequentialPacket => "ListenSequentialPacket",
            Self::Fifo => "ListenFIFO",
        }
    }
}

/// One place to listen on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listen {
    /// What kind of socket.
    pub kind: Kind,
    /// Where.
    pub address: Address,
}

impl core::fmt::Display for Listen {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}={}", self.kind.directive(), self.address)
    }
}

/// So much, and no more, within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The time.
    pub interval: Duration,
    /// How often.
    pub burst: u32,
}

/// What a unit file says of such a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Limit {
    interval: Option<Duration>,
    burst: Option<u32>,
}

impl Limit {
    /// Whether the file sets one.
    fn is_said(self) -> bool {
        self.interval.is_some() || self.burst.is_some()
    }

    /// The limit, with systemd's defaults for what is not said. Either of them 0: none.
    fn or(self, burst: u32) -> Option<RateLimit> {
        let limit = RateLimit {
            interval: self.interval.unwrap_or(Duration::from_secs(2)),
            burst: self.burst.unwrap_or(burst),
        };
        (limit.burst != 0 && !limit.interval.is_zero()).then_some(limit)
    }
}

/// What the assignments of `[Socket]` add up to, so far.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    listens: Vec<Listen>,
    accept: bool,
    service: Option<UnitName>,
    backlog: Option<u32>,
    user: Option<String>,
    group: Option<String>,
    mode: Option<u32>,
    directory_mode: Option<u32>,
    max_connections: Option<u32>,
    max_per_source: Option<u32>,
    remove_on_stop: bool,
    flush_pending: bool,
    symlinks: Vec<String>,
    descriptor_name: Option<String>,
    trigger: Limit,
    poll: Limit,
    options: Options,
}

/// A socket unit that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketUnit {
    /// Its name, `foo.socket`.
    pub name: UnitName,
    /// What to listen on, in order. Never empty, no path twice.
    pub listens: Vec<Listen>,
    /// Whether each connection is served by an instance of its own. Then all of `listens` have connections.
    pub accept: bool,
    /// The service: with `accept` a template, `foo@.service`; otherwise `Service=`, or `foo.service`.
    pub service: UnitName,
    /// For listen(2). The kernel takes no more than `net.core.somaxconn`.
    pub backlog: u32,
    /// `SocketUser=`: a name or a number, not looked up yet. None: root.
    pub user: Option<String>,
    /// `SocketGroup=`. None: the user's first group.
    pub group: Option<String>,
    /// `SocketMode=`, at most 0777.
    pub mode: u32,
    /// `DirectoryMode=`, of directories that are made above a path.
    pub directory_mode: u32,
    /// With `accept`: how many connections at once, 1 at least.
    pub max_connections: u32,
    /// The same for one source. None: no limit of its own.
    pub max_connections_per_source: Option<u32>,
    /// Files and links are removed at the end.
    pub remove_on_stop: bool,
    /// What waits in the sockets is thrown away when the service has ended. Never with `accept`.
    pub flush_pending: bool,
    /// Links to the one path of `listens`.
    pub symlinks: Vec<String>,
    /// What each descriptor is called in `LISTEN_FDNAMES`.
    pub descriptor_name: String,
    /// How often the service may be started. With `accept` only where the file sets one: a flood of connections
    /// must not end the service for all the others.
    pub trigger_limit: Option<RateLimit>,
    /// How often a socket may be looked at, where the file says that.
    pub poll_limit: Option<RateLimit>,
    /// What the sockets are told.
    pub options: Options,
}

impl SocketUnit {
    /// Checks the unit of a file.
    ///
    /// # Errors
    /// A fault for every line that is wrong or not supported; or one, at the first line, for what lines that are
    /// each right add up to.
    pub fn read(unit: &Unit) -> Result<Self, Vec<Fault>> {
        let mut draft = Draft::default();
        let mut faults = Vec::new();
        for setting in &unit.socket {
            if let Err(why) = draft.assign(&setting.name, &setting.value) {
                faults.push(fault(setting, &why));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        draft.settle(&unit.name).map_err(|why| {
            let first = unit.socket.first();
            vec![first.map_or_else(
                || Fault {
                    file: unit.name.full(),
                    line: 1,
                    column: 1,
                    what: why.clone(),
                },
                |setting| Fault {
                    what: why.clone(),
                    ..fault(setting, "")
                },
            )]
        })
    }

    /// Checks directives that were given by hand. `name` is that of a socket, from which the service's follows.
    ///
    /// # Errors
    /// A sentence, with the directive that it is about.
    pub fn of<'a>(
        name: &UnitName,
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, String> {
        let mut draft = Draft::default();
        for (name, value) in settings {
            draft
                .assign(name, value)
                .map_err(|why| format!("{name}={value}: {why}"))?;
        }
        draft.settle(name)
    }
}

fn fault(setting: &Setting, why: &str) -> Fault {
    Fault {
        file: setting.place.file.clone(),
        line: setting.place.line,
        column: setting.place.column,
        what: format!("{}={}: {why}", setting.name, setting.value),
    }
}

impl Draft {
    /// The unit that it makes.
    ///
    /// # Errors
    /// A sentence, for assignments that are each right, but not together.
    pub fn settle(self, name: &UnitName) -> Result<SocketUnit, String> {
        self.fits_together()?;
        let both = if self.accept { (200, 150) } else { (20, 15) };
        let trigger = match (self.accept, self.trigger.is_said()) {
            // See `trigger_limit`.
            (true, false) => None,
            _ => self.trigger.or(both.0),
        };
        // Without one of its own a socket is looked at as often as somebody is there.
        let poll = self.poll.is_said().then(|| self.poll.or(both.1)).flatten();
        let service = match (self.accept, self.service) {
            // systemd takes the prefix alone: what instance the socket is of is lost.
            (true, _) => UnitName::parse(&format!("{}@.service", name.prefix()))?,
            (false, Some(service)) => service,
            (false, None) => UnitName::parse(&format!("{}.service", name.without_suffix()))?,
        };
        let called = if self.accept {
            "connection".into()
        } else {
            name.full()
        };
        Ok(SocketUnit {
            name: name.clone(),
            trigger_limit: trigger,
            poll_limit: poll,
            listens: self.listens,
            accept: self.accept,
            service,
            // systemd's: more than any kernel takes, so that its own limit counts.
            backlog: self.backlog.unwrap_or(u32::MAX),
            user: self.user,
            group: self.group,
            mode: self.mode.unwrap_or(0o666),
            directory_mode: self.directory_mode.unwrap_or(0o755),
            max_connections: self.max_connections.unwrap_or(64),
            max_connections_per_source: self.max_per_source,
            remove_on_stop: self.remove_on_stop,
            flush_pending: self.flush_pending,
            symlinks: self.symlinks,
            descriptor_name: self.descriptor_name.unwrap_or(called),
            options: self.options,
        })
    }

    fn fits_together(&self) -> Result<(), String> {
        let refused = |why: &str| Err(String::from(why));
        if self.listens.is_empty() {
            return refused(
                "there is nothing to listen on: ListenStream= and its like are missing",
            );
        }
        if self.accept {
            if let Some(listen) = self.listens.iter().find(|it| !it.kind.is_connected()) {
                return Err(format!(
                    "{listen} has no connections that Accept=yes could accept"
                ));
            }
            if self.service.is_some() {
                return refused(
                    "Service= cannot be together with Accept=yes: each connection starts an instance of the template that is called like the socket",
                );
            }
            if self.max_connections == Some(0) {
                return refused("MaxConnections=0 with Accept=yes would serve nobody");
            }
            if self.flush_pending {
                return refused("FlushPending=yes cannot be together with Accept=yes");
            }
        }
        let mut paths = BTreeSet::new();
        for path in self.listens.iter().filter_map(|it| it.address.path()) {
            // The second one would take the first one's file away.
            if !paths.insert(path) {
                return Err(format!("{path} is listened on twice"));
            }
        }
        if !self.symlinks.is_empty() && paths.len() != 1 {
            return refused(
                "Symlinks= leads to the one socket with a path: there is none, or more than one",
            );
        }
        for link in &self.symlinks {
            if !paths.insert(link) {
                return Err(format!(
                    "{link} cannot be both a socket and a link to it, or a link twice"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
