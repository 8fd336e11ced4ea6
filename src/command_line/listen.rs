//! `dynuser listen`: a `.socket` unit, or sockets and a command.

use std::ffi::OsString;

use clap::Args;

use super::{assignments, split};
use crate::failure::{Failure, OrFail, Stage};
use crate::launcher::{self, Launch, Mode, Passed};
use crate::listener::{self, Service, Unready};
use crate::names::ServiceName;
use crate::request::Request;
use crate::socket_unit::SocketUnit;
use crate::specifiers::UnitName;

/// Options of `dynuser listen`.
#[derive(Debug, Args)]
pub(super) struct Listen {
    /// Listen as a .socket unit says: a file, or the name of a unit that is looked up where systemd looks. Its service
    /// is looked for beside the file first
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "tcp", "udp", "unix", "seqpacket", "accept", "inetd", "unit"])]
    unit_file: Option<String>,
    /// The instance of the template in the unit file
    #[arg(long, value_name = "INSTANCE", requires = "unit_file")]
    instance: Option<String>,
    /// Listen for connections by TCP: PORT, or ADDRESS:PORT
    #[arg(long, value_name = "ADDRESS")]
    tcp: Vec<String>,
    /// Listen for datagrams by UDP
    #[arg(long, value_name = "ADDRESS")]
    udp: Vec<String>,
    /// Listen for connections at a UNIX socket: a path, or @NAME
    #[arg(long, value_name = "PATH")]
    unix: Vec<String>,
    /// Listen for connections that keep the ends of messages, at a UNIX socket
    #[arg(long, value_name = "PATH")]
    seqpacket: Vec<String>,
    /// Serve each connection by a command of its own, which has a user of its own
    #[arg(short, long)]
    accept: bool,
    /// The connection is standard input and output of the command, as under inetd
    #[arg(long, requires = "accept")]
    inetd: bool,
    /// A property of the sockets, as in a unit file: SocketMode=0600
    #[arg(long, value_name = "NAME=VALUE")]
    socket_property: Vec<String>,
    /// The service's name
    #[arg(short = 'u', long = "unit", value_name = "NAME")]
    unit: Option<String>,
    /// A property of the service, as in a unit file: StateDirectory=foo
    #[arg(short = 'p', long = "property", value_name = "NAME=VALUE")]
    property: Vec<String>,
    /// An environment variable of the service; without a value, the caller's
    #[arg(short = 'E', long = "setenv", value_name = "NAME[=VALUE]")]
    setenv: Vec<OsString>,
    /// How much stands between the service and the host: full, landlock or identity
    #[arg(long, value_name = "LEVEL", overrides_with = "sandbox")]
    sandbox: Option<String>,
    /// Start the service even if this restriction cannot be enforced here
    #[arg(long, value_name = "DIRECTIVE")]
    allow_unenforced: Vec<String>,
    /// Write a newline to this descriptor when the sockets are open, as s6 and dinit want it: a number, or
    /// the name of a variable with it
    #[arg(long, value_name = "FD", value_parser = super::descriptor)]
    ready_fd: Option<i32>,
    /// When told to end, leave the connections that are being served to themselves
    #[arg(long)]
    leave_connections: bool,
    /// Start services in the daemon's view of the file system, if the caller's is another one
    #[arg(long)]
    daemon_view: bool,
    /// Say nothing about what goes well
    #[arg(short, long)]
    quiet: bool,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Listens.
///
/// # Errors
/// Of the stage that failed.
pub(super) fn listen(options: &Listen) -> Result<u8, Failure> {
    let (unit, service) = match &options.unit_file {
        Some(file) => match listener::read(file, options.instance.as_deref()) {
            Ok(read) => read,
            Err(Unready::Skip(why)) => return Ok(launcher::skipped(&why)),
            Err(Unready::Failure(failure)) => return Err(failure),
        },
        None => from_words(options)?,
    };
    let mut properties = assignments(&options.property)?;
    let level = options.sandbox.iter();
    properties.extend(level.map(|level| ("Sandbox".into(), level.clone())));
    let allowed = options.allow_unenforced.iter();
    properties.extend(allowed.map(|name| ("AllowUnenforced".into(), name.clone())));
    listener::listen(&listener::Listen {
        unit,
        service,
        launch: Launch {
            request: Request {
                service: String::new(),
                properties,
            },
            unit_file: None,
            set_environment: options.setenv.clone(),
            command: options.command.clone(),
            mode: Mode::InPlace,
            quiet: options.quiet,
            daemon_view: options.daemon_view,
            passed: Passed::default(),
            // It listens to us.
            notify_socket: None,
            ready_fd: None,
        },
        ready_fd: options.ready_fd,
        leave_connections: options.leave_connections,
        notify_socket: std::env::var_os("NOTIFY_SOCKET"),
    })
}

/// The sockets of options, with the command that serves.
fn from_words(options: &Listen) -> Result<(SocketUnit, Service), Failure> {
    let name = match &options.unit {
        Some(name) => ServiceName::parse(name).or_fail(Stage::Request, name)?,
        None => {
            let name = ServiceName::of_process(std::process::id());
            ServiceName::parse(&name).or_fail(Stage::Request, name)?
        }
    };
    let kinds = [
        ("ListenStream", &options.tcp),
        ("ListenDatagram", &options.udp),
        ("ListenStream", &options.unix),
        ("ListenSequentialPacket", &options.seqpacket),
    ];
    let places = kinds.into_iter().flat_map(|(directive, places)| {
        places
            .iter()
            .map(move |place| (directive.to_owned(), place.clone()))
    });
    let mut settings: Vec<(String, String)> = places.collect();
    let accept = if options.accept { "yes" } else { "no" };
    settings.push(("Accept".into(), accept.into()));
    for word in &options.socket_property {
        let (name, value) = split(word)?;
        settings.push((name.into(), value.into()));
    }
    let socket = UnitName::parse(&format!("{name}.socket")).or_fail(Stage::Request, "-u")?;
    let settings = settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let unit = SocketUnit::of(&socket, settings).or_fail(Stage::Request, "")?;
    let service = Service::Command {
        name: name.to_string(),
        inetd: options.inetd,
    };
    Ok((unit, service))
}
