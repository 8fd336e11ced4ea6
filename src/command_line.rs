//! The command line: what the words mean, and which verb gets them.

mod check;
mod enter;
mod history;
mod import;
mod list;
mod listen;
mod look;
mod stop;
mod upkeep;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::client;
use crate::daemon;
use crate::directives;
use crate::failure::{Failure, OrFail, Stage};
use crate::launcher::{self, Launch, Mode, Passed, UnitFile};
use crate::lease::{self, Found};
use crate::life::State;
use crate::names::ServiceName;
use crate::report;
use crate::request::Request;

/// A UNIX user for every service that exists only while the service runs.
#[derive(Debug, Parser)]
#[command(name = "dynuser", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a command as a user that exists only while it runs
    Run(Run),
    /// Open sockets, and start a service when somebody comes
    Listen(listen::Listen),
    /// Hold a user while a command runs, or whoever has its descriptor
    Acquire(Acquire),
    /// Take a number out of quarantine, when what stood in the way is gone
    Release {
        /// The user's name or number
        user: String,
    },
    /// A shell or a command in the sandbox of a service that runs, as its user
    Enter(enter::Enter),
    /// End services, and wait until nothing is left of them
    Stop(stop::Stop),
    /// List the users that exist now
    List(list::List),
    /// Show one user
    Show {
        /// Its name or number
        user: String,
    },
    /// Who had a number, and when
    History(history::History),
    /// Remove the directories of a service that does not run
    Clean(upkeep::Clean),
    /// List the private directories that belong to no known service, or remove some of them
    Gc(upkeep::Gc),
    /// Tell what becomes of each line of unit files
    Check(check::Check),
    /// Write the native service definition of another init system for a unit
    Import(import::Import),
    /// Look for what is wrong with this host and its configuration
    Doctor {
        /// As an array of objects
        #[arg(long)]
        json: bool,
    },
    /// Be the daemon that hands out users
    Daemon(Daemon),
}

#[derive(Debug, Args)]
struct Run {
    /// The service's name, which is also its user's where that is possible
    #[arg(
        short = 'u',
        long = "unit",
        value_name = "NAME",
        overrides_with = "unit"
    )]
    unit: Option<String>,
    /// A property, as in a unit file: StateDirectory=foo
    #[arg(short = 'p', long = "property", value_name = "NAME=VALUE")]
    property: Vec<String>,
    /// The user's name, if not the service's: the same as -p User=
    #[arg(long, value_name = "USER", overrides_with = "uid")]
    uid: Option<String>,
    /// An environment variable; without a value, the caller's
    #[arg(short = 'E', long = "setenv", value_name = "NAME[=VALUE]")]
    setenv: Vec<OsString>,
    /// Where the command starts
    #[arg(long, value_name = "PATH", overrides_with = "working_directory")]
    working_directory: Option<String>,
    /// Give the command a terminal of its own
    #[arg(short = 't', long)]
    pty: bool,
    /// Leave standard input, output and error as they are: the default. With --pty, a terminal
    /// only where there is one
    #[arg(short = 'P', long)]
    pipe: bool,
    /// Wait for the command instead of becoming it, and tell how it ended
    #[arg(long)]
    wait: bool,
    /// Say nothing about what goes well
    #[arg(short, long)]
    quiet: bool,
    /// Only print what would be done
    #[arg(long)]
    dry_run: bool,
    /// Start the service in the daemon's view of the file system, if the caller's is another one
    #[arg(long)]
    daemon_view: bool,
    /// Run the service of a unit file, or of a unit that is looked up where systemd looks. With -u, as
    /// that instance of a template
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "pty"])]
    unit_file: Option<String>,
    /// Run this instance of the template in the unit file: %i
    #[arg(
        long,
        value_name = "INSTANCE",
        requires = "unit_file",
        conflicts_with = "unit"
    )]
    instance: Option<String>,
    /// Start the service of a unit file again, as its Restart= says
    #[arg(long, requires = "unit_file")]
    supervise: bool,
    /// How much stands between the service and the host: full, or a weaker level where the host cannot give that
    /// (landlock, identity): the same as -p Sandbox=
    #[arg(long, value_name = "LEVEL", overrides_with = "sandbox")]
    sandbox: Option<String>,
    /// Start the service even if this restriction cannot be enforced here
    #[arg(long, value_name = "DIRECTIVE")]
    allow_unenforced: Vec<String>,
    /// Write a newline to this descriptor when the service is ready, as s6 and dinit want it: a number, or
    /// the name of a variable with it
    #[arg(long, value_name = "FD", value_parser = descriptor, conflicts_with = "pty")]
    ready_fd: Option<i32>,
    /// Leave this descriptor open in the service, under the same number
    #[arg(long, value_name = "FD", value_parser = descriptor)]
    pass_fd: Vec<i32>,
    /// The command and its arguments. A ! in front leaves it root, inside the sandbox
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
struct Acquire {
    /// The service's name, which is also its user's where that is possible
    #[arg(short = 'u', long = "unit", value_name = "NAME")]
    unit: String,
    /// A property: User= or TimeoutStopSec=
    #[arg(short = 'p', long = "property", value_name = "NAME=VALUE")]
    property: Vec<String>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
struct Daemon {
    /// Go into the background when ready, and end when nothing was leased for a while
    #[arg(long)]
    on_demand: bool,
    /// End when nothing was leased for this long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    idle_timeout: Option<Duration>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// The number of a descriptor, or the name of a variable that has it (dinit's `pipevar:NAME`).
fn descriptor(text: &str) -> Result<i32, String> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let value = match is_number {
        true => text.to_owned(),
        false => std::env::var(text)
            .map_err(|_| format!("{text:?} is neither a number nor a variable with one"))?,
    };
    let number = value.parse().ok().filter(|number| *number > 2);
    number.ok_or_else(|| format!("{value:?} is no descriptor above 2"))
}

/// Does what the command line says, and gives the exit status.
pub fn main() -> u8 {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let called = words.first().map(std::path::Path::new);
    if called
        .and_then(|path| path.file_name())
        .is_some_and(|name| name == "dynuserd")
    {
        words.insert(1, "daemon".into());
    }
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match obey(cli.verb) {
        Ok(status) => status,
        Err(failure) => {
            report::failure(&failure);
            failure.exit_status()
        }
    }
}

/// Help is no failure. Everything else is a bad request, told in one line.
fn usage(error: &clap::Error) -> u8 {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return match error.print() {
            Ok(()) if !error.use_stderr() => 0,
            _ => Stage::Request.exit_status(),
        };
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    report::say(&format!("dynuser: {first}; see: dynuser run --help"));
    Stage::Request.exit_status()
}

fn obey(verb: Verb) -> Result<u8, Failure> {
    match verb {
        Verb::Run(run) => {
            let launch = launch(&run)?;
            if run.dry_run {
                launcher::rehearse(&launch)
            } else {
                launcher::launch(&launch)
            }
        }
        Verb::Listen(options) => launcher::stay_if_first(|| listen::listen(&options)),
        Verb::Acquire(acquire) => {
            let request = Request {
                service: acquire.unit,
                properties: assignments(&acquire.property)?,
            };
            Err(launcher::acquire(&request, &acquire.command))
        }
        Verb::Release { user } => release(&user).map(|()| 0),
        Verb::List(options) => list::list(&options).map(|()| 0),
        Verb::Enter(options) => enter::enter(options),
        Verb::Stop(options) => stop::stop(options),
        Verb::History(options) => history::history(&options),
        Verb::Doctor { json } => look::doctor(json),
        Verb::Check(options) => check::check(&options),
        Verb::Import(options) => import::import(&options),
        Verb::Clean(options) => upkeep::clean(&options),
        Verb::Gc(options) => upkeep::collect(&options),
        Verb::Show { user } => look::show(&user).map(|()| 0),
        Verb::Daemon(options) => daemon::run(&daemon::Options {
            on_demand: options.on_demand,
            idle_timeout: options.idle_timeout,
        })
        .map(|()| 0),
    }
}

/// Whether somebody means this lease by `user`.
fn is_meant(found: &Found, user: &str) -> bool {
    found.uid.to_string() == user || found.lease.as_ref().is_ok_and(|lease| lease.name == user)
}

fn nobody(user: &str) -> Failure {
    Failure::new(Stage::Request, user, "no such user exists at the moment")
}

/// Has the numbers of a name, or one number, taken out of quarantine. One that the daemon freed by
/// itself meanwhile is as good.
fn release(user: &str) -> Result<(), Failure> {
    launcher::require_root()?;
    let found = lease::load_all()?;
    let mut meant: Vec<&Found> = found.iter().filter(|found| is_meant(found, user)).collect();
    // A name may be in use again under another number: then it is the old one that is meant.
    let stuck = |found: &&Found| match &found.lease {
        Ok(lease) => lease.state == State::Quarantined,
        Err(_) => true,
    };
    if meant.iter().any(stuck) {
        meant.retain(stuck);
    }
    if meant.is_empty() {
        return Err(nobody(user));
    }
    meant
        .iter()
        .try_for_each(|found| client::release(found.uid))
}

fn launch(run: &Run) -> Result<Launch, Failure> {
    let mut properties = assignments(&run.property)?;
    let options = [
        ("User", &run.uid),
        ("WorkingDirectory", &run.working_directory),
        ("Sandbox", &run.sandbox),
    ];
    for (name, value) in options {
        properties.extend(value.as_ref().map(|value| (name.into(), value.clone())));
    }
    let allowed = run.allow_unenforced.iter();
    properties.extend(allowed.map(|name| ("AllowUnenforced".into(), name.clone())));
    Ok(Launch {
        request: Request {
            service: run
                .unit
                .clone()
                .unwrap_or_else(|| ServiceName::of_process(std::process::id())),
            properties,
        },
        unit_file: run.unit_file.as_ref().map(|file| UnitFile {
            file: file.clone(),
            name: run.unit.clone(),
            instance: run.instance.clone(),
            supervise: run.supervise,
        }),
        set_environment: run.setenv.clone(),
        command: run.command.clone(),
        mode: mode(run),
        quiet: run.quiet,
        daemon_view: run.daemon_view,
        passed: Passed::from_environment()?.and_left_open(&run.pass_fd)?,
        ready_fd: run.ready_fd,
        notify_socket: std::env::var_os("NOTIFY_SOCKET"),
    })
}

fn assignments(words: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let checked = |word: &String| {
        let (name, value) = split(word)?;
        if let Some(least) = directives::in_force_anyway(name, value) {
            let why = format!(
                "is not possible: every service of a dynamic user has {least}, and it cannot be weakened"
            );
            return Err(Failure::new(Stage::Request, word.clone(), why));
        }
        Ok((name.into(), value.into()))
    };
    words.iter().map(checked).collect()
}

/// The two sides of `NAME=VALUE`.
fn split(word: &str) -> Result<(&str, &str), Failure> {
    let both = word.split_once('=').ok_or("is not of the form NAME=VALUE");
    both.or_fail(Stage::Request, format!("{word:?}"))
}

/// As systemd-run(1) has it: with both --pty and --pipe, a terminal only for people.
fn mode(run: &Run) -> Mode {
    let people = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    match (run.pty && (people || !run.pipe), run.wait) {
        (true, _) => Mode::Pty,
        (false, true) => Mode::Wait,
        (false, false) => Mode::InPlace,
    }
}
