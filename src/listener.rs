//! `dynuser listen`: opens sockets, and starts a service when somebody comes (systemd.socket(5)).
//!
//! One process with one thread. With `Accept=yes` each connection is served by a child that goes the way of
//! `dynuser run`: it has an instance's name, so a user and a sandbox of its own, and the lease ends with it.

mod owner;
mod serving;
mod turns;
mod unit;
mod voices;

use std::ffi::OsString;

use crate::failure::{Failure, OrFail, Stage};
use crate::launcher::{self, Launch, ReadyFd, UnitFile};
use crate::report;
use crate::socket_unit::{Peer, SocketUnit};
use crate::sockets::Sockets;
use crate::spec::Spec;
use crate::sys::{family, notify};
use owner::Owner;
use turns::Listener;

pub use unit::{Unready, beside, read, read_socket};

/// What serves.
#[derive(Clone, Debug)]
pub enum Service {
    /// The service of a unit file.
    UnitFile {
        /// A path, or a name that is looked up; with `Accept=yes` that of a template.
        file: String,
        /// What it is called, if not like the file.
        name: Option<String>,
    },
    /// A command. With `Accept=yes`, what comes before the `@` of its instances' names.
    Command {
        /// The service's name.
        name: String,
        /// The connection is its standard input and output, as inetd had it.
        inetd: bool,
    },
}

/// Everything that `dynuser listen` was told.
#[derive(Clone, Debug)]
pub struct Listen {
    /// What to listen on, for whom, how often.
    pub unit: SocketUnit,
    /// What serves.
    pub service: Service,
    /// How it is started, but for its name, and the sockets that it gets.
    pub launch: Launch,
    /// A descriptor of whoever waits until the sockets are open: it gets a newline then.
    pub ready_fd: Option<i32>,
    /// Connections that are being served go on when the listener is ended.
    pub leave_connections: bool,
    /// The socket of a supervisor that listens to sd_notify(3): it is told when the sockets are open.
    pub notify_socket: Option<OsString>,
}

impl Listen {
    /// How one is started. With `Accept=yes`, `instance` says for which connection.
    fn launch(&self, instance: Option<&str>, passed: launcher::Passed) -> Launch {
        let mut launch = Launch {
            passed,
            ..self.launch.clone()
        };
        let properties = &mut launch.request.properties;
        let mut say = |name: &str, value: &str| properties.push((name.into(), value.into()));
        if instance.is_some() {
            // No connection comes a second time.
            say("RememberUser", "no");
        }
        match &self.service {
            Service::UnitFile { file, name } => {
                launch.unit_file = Some(UnitFile {
                    file: file.clone(),
                    name: name.clone(),
                    instance: instance.map(Into::into),
                    supervise: false,
                });
            }
            Service::Command { name, inetd } => {
                if *inetd {
                    say("StandardInput", "socket");
                }
                launch.request.service = match instance {
                    Some(instance) => format!("{name}@{instance}"),
                    None => name.clone(),
                };
            }
        }
        launch
    }

    /// Tells the supervisor that listens, if there is one.
    fn tell(&self, message: &str) {
        if let Some(address) = &self.notify_socket
            && let Err(error) = notify::tell(address, message.as_bytes())
        {
            tracing::debug!(%error, "nobody listens outside");
        }
    }

    /// What a connection would be served by: what is wrong with it is told before anybody comes. `None`, if a condition
    /// of its unit does not hold at the moment.
    fn rehearse(&self, number: u64) -> Result<Option<Spec>, Failure> {
        let instance = self
            .unit
            .accept
            .then(|| Peer::Unknown(None).instance(number));
        let names = vec![self.unit.descriptor_name.clone(); self.unit.listens.len()];
        let passed = launcher::Passed::sockets(names, Vec::new());
        launcher::examine(&self.launch(instance.as_deref(), passed))
    }

    /// Whether all connections have one user because `User=` says so.
    fn shared_user(&self, first: &Spec) -> Result<Option<String>, Failure> {
        if !self.unit.accept {
            return Ok(None);
        }
        let second = self.rehearse(1)?;
        let same = second.filter(|second| second.user() == first.user());
        Ok(same.map(|spec| spec.user().to_string()))
    }
}

/// Listens until it is ended. Gives the exit status.
///
/// # Errors
/// Of [`Stage::Request`] for a service that cannot be started at all, of [`Stage::User`] and [`Stage::Group`] for the
/// owner of the sockets, of the stage of the sockets.
pub fn listen(listen: &Listen) -> Result<u8, Failure> {
    launcher::require_root()?;
    let waits = listen.ready_fd.map(ReadyFd::take).transpose()?;
    let spec = listen.rehearse(0)?;
    if let Some(spec) = &spec
        && let Some(user) = listen.shared_user(spec)?
    {
        report::say(&format!(
            "dynuser: all connections are served as user {user}: User= says so, without %i"
        ));
    }
    let owner = Owner::of(&listen.unit)?;
    let sockets = Sockets::make(&listen.unit, owner.uid, owner.gid)?;
    // Children of whoever became us are not connections.
    let spared = family::children(&Default::default()).or_fail(Stage::Exec, "children")?;
    let patience = spec.and_then(|spec| spec.stop_timeout());
    let ended = Listener::new(listen, &sockets, spared, patience).and_then(|listener| {
        listen.tell("READY=1");
        if let Some(waits) = waits {
            waits.tell();
        }
        listener.run()
    });
    listen.tell("STOPPING=1");
    let removed = sockets.remove();
    drop(owner);
    let status = ended?;
    removed?;
    Ok(status)
}
