//! `dynuser run`: asks for a user, takes on its identity, and becomes the service.

mod acquire;
pub mod activation;
mod become_command;
mod enter;
mod first_process;
mod passed;
mod prepared;
mod readiness;
mod rehearsal;
mod stop;
mod streams;
mod unit;
mod variables;

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::activation::{Activation, Around, Terms, needs_a_parent};
use crate::client;
use crate::command_text::Privilege;
use crate::directives::{NotifyAccess, is_of_a_unit_file};
use crate::environment_text::is_name;
use crate::failure::{Failure, OrFail, Stage};
use crate::notify_files::NotifyFile;
use crate::protocol::PrepareReply;
use crate::report;
use crate::request::Request;
use crate::spec::Spec;
use crate::sys::process_wait::Ended;
use crate::sys::random::random_number;
use activation::Surroundings;
use prepared::{Prepared, Words};
use readiness::{Sign, refuse_never_ready, stay_beside};
use unit::Start;

pub use acquire::acquire;
pub use enter::{Enter, enter};
pub use first_process::stay_if_first;
pub use passed::Passed;
pub use readiness::ReadyFd;
pub use rehearsal::{examine, rehearse};
pub use stop::{Stop, stop};
pub use unit::{UnitFile, name_of_instance};
pub(crate) use unit::{load_unit, settle, told};

/// What stands between the caller and the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: the service is executed in place, with the same process ID.
    #[default]
    InPlace,
    /// This process, which waits.
    Wait,
    /// This process, which carries the bytes of a terminal.
    Pty,
}

/// Everything that `dynuser run` was told.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// The service and its properties.
    pub request: Request,
    /// `-E`: assignments, or names of variables of the caller's.
    pub set_environment: Vec<OsString>,
    /// The unit file, instead of a command.
    pub unit_file: Option<UnitFile>,
    /// The command and its arguments; a `!` in front of the command leaves it root.
    pub command: Vec<OsString>,
    /// What stands in between.
    pub mode: Mode,
    /// Say nothing about what goes well.
    pub quiet: bool,
    /// Accept the daemon's view of the file system.
    pub daemon_view: bool,
    /// Sockets and other descriptors for the service.
    pub passed: Passed,
    /// The socket of a supervisor that listens to sd_notify(3).
    pub notify_socket: Option<OsString>,
    /// A descriptor of whoever waits until the service is ready: it gets a newline then.
    pub ready_fd: Option<i32>,
}

/// Runs the service. Returns the exit status, if it did not become the service.
///
/// # Errors
/// Of the stage that failed.
pub fn launch(launch: &Launch) -> Result<u8, Failure> {
    require_root()?;
    stay_if_first(|| launch_here(launch))
}

fn launch_here(launch: &Launch) -> Result<u8, Failure> {
    let ready = launch.ready_fd.map(ReadyFd::take).transpose()?;
    let added = added_environment(launch)?;
    match &launch.unit_file {
        Some(unit_file) => launch_unit(launch, unit_file, added, ready),
        None => launch_words(launch, added, ready),
    }
}

fn launch_words(launch: &Launch, added: Added, ready: Option<ReadyFd>) -> Result<u8, Failure> {
    let words = check_command(&launch.command)?;
    refuse_commands(&launch.request)?;
    let request = with_program(launch, &launch.request, &words.program.to_string_lossy());
    let (spec, reply) = prepare(launch, &request)?;
    let (user, uid) = (reply.user.clone(), reply.uid);
    let prepared = Prepared::new(reply, &spec, added, launch);
    let apart = spec.settings().namespaces.processes;
    if launch.mode == Mode::InPlace && !apart {
        let ready = ready.map(|ready| stay_beside(ready, Sign::Executed));
        // Until the end of this function: a drop says that it failed.
        let _executed = ready.transpose()?;
        return Err(prepared.become_words(&words));
    }
    let talk = !launch.quiet && launch.mode != Mode::InPlace;
    if talk {
        report::say(&format!("Running as user {user} ({uid})."));
    }
    let ended = match launch.mode {
        Mode::Pty => prepared.behind_terminal(&words)?,
        Mode::Wait | Mode::InPlace => prepared.behind_us(&words, ready)?,
    };
    // Whatever becomes of the lease, the caller is told how the service ended.
    finish(uid);
    if talk {
        report::say(&ending(ended));
    }
    Ok(ended.exit_status())
}

/// Refuses what only a unit file can say.
fn refuse_commands(request: &Request) -> Result<(), Failure> {
    let mut properties = request.properties.iter();
    match properties.find(|(name, _)| is_of_a_unit_file(name)) {
        None => Ok(()),
        Some((name, value)) => Err(Failure::new(
            Stage::Request,
            format!("{name}={value}"),
            "is about the commands of a unit file: --unit-file",
        )),
    }
}

/// The request, with the program that is started: what that is decides how the service finds its own user.
fn with_program(launch: &Launch, request: &Request, program: &str) -> Request {
    let mut request = request.clone();
    let said = request.properties.iter();
    let is_said = said.into_iter().any(|(name, _)| name == "MainProgram");
    // A name is looked for in PATH, which may be another one then.
    let moved = |word: &OsString| word.as_bytes().starts_with(b"PATH");
    let is_known = program.contains('/') || !launch.set_environment.iter().any(moved);
    if !is_said && is_known {
        let name = "MainProgram".into();
        request.properties.push((name, program.into()));
    }
    request
}

/// Checks a request, and has it prepared by the daemon.
fn prepare(launch: &Launch, request: &Request) -> Result<(Spec, PrepareReply), Failure> {
    let spec = Spec::check(request)?;
    for name in &spec.settings().unenforced {
        report::say(&format!("dynuser: {name}= is not enforced, as you allowed"));
    }
    let mut bar = report::Bar::new(launch.quiet);
    let told = &mut |path: &str, done, of| bar.show(path, done, of);
    let reply = client::prepare(request, launch.daemon_view, told);
    bar.clear();
    let reply = reply?;
    // A daemon of another version may not know of levels, and a weaker one takes more of the launcher.
    if reply.sandbox != spec.level().word() {
        let why = format!("the daemon prepared the level {:?}", reply.sandbox);
        let subject = format!("--sandbox={}", spec.level().word());
        return Err(Failure::new(Stage::Daemon, subject, why));
    }
    for (name, why) in &reply.unenforced {
        report::say(&format!(
            "dynuser: {name}= is not enforced, as you allowed: {why}"
        ));
    }
    Ok((spec, reply))
}

/// Runs the service of a unit file.
fn launch_unit(
    launch: &Launch,
    unit_file: &UnitFile,
    added: Added,
    told: Option<ReadyFd>,
) -> Result<u8, Failure> {
    let ready = match unit::read(launch, unit_file)? {
        Start::Ready(ready) => ready,
        Start::Skip(why) => return Ok(skipped(&why)),
    };
    let first = ready.commands.start.first();
    let program = first.map_or("", |command| command.path.as_str());
    let (spec, reply) = prepare(launch, &with_program(launch, &ready.request, program))?;
    let (uid, dynamic) = (reply.uid, spec.is_dynamic());
    let prepared = Prepared::new(reply, &spec, added, launch);
    let commands = spec.settings().commands.clone();
    refuse_never_ready(&commands, told.is_some())?;
    let outside = launch.notify_socket.clone();
    let around = Around {
        supervise: unit_file.supervise,
        somebody_listens: outside.is_some() || told.is_some(),
        private_pids: spec.settings().namespaces.processes,
    };
    let in_place = needs_a_parent(&commands, &ready.commands, around).is_none();
    let speaks = commands.kind().notifies();
    let ours = !in_place || (told.is_some() && speaks);
    let listens = ours && commands.listens_to() != NotifyAccess::None;
    let notify = listens.then(NotifyFile::make).transpose()?;
    // In place the service speaks to whoever listens outside.
    let theirs = outside.clone().filter(|_| in_place && speaks);
    let own = notify
        .as_ref()
        .map(|file| file.path.clone().into_os_string());
    let terms = Terms {
        supervise: unit_file.supervise,
        in_place,
        notify_socket: own.or(theirs).and_then(|path| path.into_string().ok()),
        random: random_number().or_fail(Stage::Exec, "getrandom")?,
    };
    let around = Surroundings {
        notify,
        outside,
        ready: told,
        uid: dynamic.then_some(uid),
        quiet: launch.quiet,
    };
    let activation = Activation::new(commands, ready.commands, terms);
    let status = activation::run(activation, &prepared, around)?;
    finish(uid);
    Ok(status)
}

/// Gives the lease back. That it could not be taken back whole is told, and changes nothing for the caller.
fn finish(uid: u32) {
    if let Err(failure) = client::finish(uid) {
        report::failure(&failure);
    }
}

/// A condition of a unit file does not hold: that is said, and is no failure. Gives the exit status.
pub fn skipped(why: &str) -> u8 {
    report::say(&format!(
        "dynuser: not started, and nothing is wrong: {why}"
    ));
    0
}

/// Refuses whoever is not root.
///
/// # Errors
/// Of [`Stage::Request`].
pub fn require_root() -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new(
        Stage::Request,
        "",
        "running a service under a user of its own takes root; try it with sudo or doas",
    ))
}

fn check_command(words: &[OsString]) -> Result<Words, Failure> {
    let refuse = |why: &str| Err(Failure::new(Stage::Request, "", why));
    let Some(first) = words.first() else {
        return refuse("a command to run is missing; for example: dynuser run -u NAME COMMAND");
    };
    let (privilege, program) = match first.as_bytes().strip_prefix(b"!") {
        Some(program) => (Privilege::KeepsRoot, OsStr::from_bytes(program)),
        None => (Privilege::Service, first.as_os_str()),
    };
    match program.as_bytes().first() {
        None => return refuse("the command is empty"),
        Some(b'!' | b'+' | b'-' | b'@' | b':' | b'|') => {
            let name = program.display();
            return refuse(&format!(
                "{first:?} starts with a prefix that is not supported; '!' alone is (a program of that name: ./{name})"
            ));
        }
        Some(_) => {}
    }
    let argv: Vec<CString> = [program]
        .into_iter()
        .chain(words.iter().skip(1).map(OsString::as_os_str))
        .map(|word| CString::new(word.as_bytes()))
        .collect::<Result<_, _>>()
        .or_fail(Stage::Request, "the command")?;
    Ok(Words {
        privilege,
        program: argv.first().cloned().unwrap_or_default(),
        argv,
        search: None,
        gets_sockets: true,
    })
}

/// The variables that the caller adds, in two sets: what a terminal needs, which gives way to what
/// `Environment=` says, and what `-E` says, which wins.
#[derive(Debug)]
struct Added {
    terminal: Vec<(String, OsString)>,
    asked: Vec<(String, OsString)>,
}

/// What a terminal needs, of the caller's.
fn terminal_variables() -> Vec<(String, OsString)> {
    let names = ["TERM", "COLORTERM", "NO_COLOR"].into_iter();
    names
        .filter_map(|name| Some((name.to_owned(), std::env::var_os(name)?)))
        .collect()
}

fn added_environment(launch: &Launch) -> Result<Added, Failure> {
    let callers = |name: &str| std::env::var_os(name).map(|value| (name.to_string(), value));
    let mut added = Added {
        terminal: Vec::new(),
        asked: Vec::new(),
    };
    if launch.mode == Mode::Pty {
        added.terminal = terminal_variables();
    }
    for word in &launch.set_environment {
        let refused = || format!("{word:?} is neither a name nor NAME=VALUE");
        let bytes = word.as_bytes();
        let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
            None => (bytes, None),
            Some(end) => (
                bytes.get(..end).unwrap_or_default(),
                bytes.get(end.saturating_add(1)..),
            ),
        };
        let name = str::from_utf8(name).ok().filter(|name| is_name(name));
        let name = name.ok_or_else(refused).or_fail(Stage::Request, "-E")?;
        match value {
            Some(value) => {
                let value = OsStr::from_bytes(value).to_os_string();
                added.asked.push((name.into(), value));
            }
            None => added.asked.extend(callers(name)),
        }
    }
    Ok(added)
}

/// A sentence about how it ended.
fn ending(ended: Ended) -> String {
    match ended {
        Ended::Exited(0) => "Finished with exit status 0.".into(),
        Ended::Exited(status) => format!("Failed with exit status {status}."),
        Ended::Signaled { signal, core } => {
            let dumped = if core { " and left a core dump" } else { "" };
            format!("Ended by signal {signal}{dumped}.")
        }
    }
}
