//! `dynuser run`: asks for a user, takes on its identity, and becomes the service.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;

use crate::client;
use crate::directives::{is_variable_name, variable};
use crate::failure::{Failure, OrFail, Stage};
use crate::manager::Manager;
use crate::plan::{Adoption, adoption};
use crate::protocol::PrepareReply;
use crate::pty::Session;
use crate::relay::wait_for;
use crate::report;
use crate::request::Request;
use crate::seccomp::{Machine, set_id_filter};
use crate::sys::process_wait::Ended;
use crate::sys::signals::Signals;
use crate::sys::{ids, keyring, mount, run, seccomp};

/// What stands between the caller and the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: the service is executed in place, with the same process ID.
    InPlace,
    /// This process, which waits.
    Wait,
    /// This process, which carries the bytes of a terminal.
    Pty,
}

/// Everything that `dynuser run` was told.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The service and its properties.
    pub request: Request,
    /// `-E`: assignments, or names of variables of the caller's.
    pub set_environment: Vec<String>,
    /// The command and its arguments; a `!` in front of the command leaves it root.
    pub command: Vec<String>,
    /// What stands in between.
    pub mode: Mode,
    /// Say nothing about what goes well.
    pub quiet: bool,
    /// Accept the daemon's view of the file system.
    pub daemon_view: bool,
}

/// The command, checked.
struct Command {
    privileged: bool,
    words: Vec<CString>,
}

/// Runs the service. Returns the exit status, if it did not become the service.
///
/// # Errors
/// Of the stage that failed.
pub fn launch(launch: &Launch) -> Result<u8, Failure> {
    require_root()?;
    let command = check_command(&launch.command)?;
    let added = added_environment(launch)?;
    let reply = client::prepare(&launch.request, launch.daemon_view)?;
    let (user, uid) = (reply.user.clone(), reply.uid);
    let service = Service::new(reply, command, added);
    if launch.mode == Mode::InPlace {
        return Err(service.become_it());
    }
    let talk = !launch.quiet;
    if talk {
        report::say(&format!("Running as user {user} ({uid})."));
    }
    let ended = match launch.mode {
        Mode::Pty => service.behind_terminal(uid)?,
        _ => service.behind_us()?,
    };
    // Whatever becomes of the lease, the caller is told how the service ended.
    if let Err(failure) = client::finish(uid) {
        report::failure(&failure);
    }
    if talk {
        report::say(&ending(ended));
    }
    Ok(ended.exit_status())
}

/// Prints what would be done.
///
/// # Errors
/// Of the stage that would fail.
pub fn rehearse(launch: &Launch) -> Result<u8, Failure> {
    require_root()?;
    let command = check_command(&launch.command)?;
    added_environment(launch)?;
    let manager = Manager::new()?;
    manager.look_at_leases()?;
    let (identity, plan) = manager.rehearse(&launch.request)?;
    let mut text = format!(
        "lease {} {}:{}\n{plan}",
        identity.user, identity.uid, identity.gid
    );
    for step in adoption(
        identity.uid.get(),
        identity.gid,
        &identity.groups,
        command.privileged,
    ) {
        text.push_str(&format!("{step}\n"));
    }
    let words: Vec<_> = command
        .words
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    text.push_str(&format!("execute {}\n", words.join(" ")));
    report::print(&text)?;
    Ok(0)
}

fn require_root() -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new(
        Stage::Request,
        "",
        "running a service under a user of its own takes root; try it with sudo or doas",
    ))
}

fn check_command(words: &[String]) -> Result<Command, Failure> {
    let refuse = |why: &str| Err(Failure::new(Stage::Request, "", why));
    let Some(first) = words.first() else {
        return refuse("a command to run is missing; for example: dynuser run -u NAME COMMAND");
    };
    let (privileged, program) = match first.strip_prefix('!') {
        Some(program) => (true, program),
        None => (false, first.as_str()),
    };
    if program.is_empty() {
        return refuse("the command is empty");
    }
    if program.starts_with(['!', '+', '-', '@', ':', '|']) {
        return refuse(&format!(
            "{first:?} starts with a prefix that is not supported; '!' alone is (a program of that name: ./{program})"
        ));
    }
    let words = [program]
        .into_iter()
        .chain(words.iter().skip(1).map(String::as_str))
        .map(CString::new)
        .collect::<Result<_, _>>()
        .or_fail(Stage::Request, "the command")?;
    Ok(Command { privileged, words })
}

/// What `-E` says, and what a terminal needs.
fn added_environment(launch: &Launch) -> Result<Vec<(String, String)>, Failure> {
    let mut added = Vec::new();
    if launch.mode == Mode::Pty {
        for name in ["TERM", "COLORTERM", "NO_COLOR"] {
            added.extend(std::env::var(name).ok().map(|value| (name.into(), value)));
        }
    }
    for word in &launch.set_environment {
        let assignment = match word.contains('=') {
            true => variable(word).map(Some),
            false if !is_variable_name(word) => Err(format!("{word:?} is no name of a variable")),
            false => Ok(std::env::var(word).ok().map(|value| (word.clone(), value))),
        };
        added.extend(assignment.or_fail(Stage::Request, "--setenv")?);
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

/// A service that is about to be.
struct Service {
    namespace: OwnedFd,
    steps: Vec<Adoption>,
    working_directory: String,
    working_directory_may_be_missing: bool,
    environment: Vec<(String, String)>,
    words: Vec<CString>,
}

impl Service {
    fn new(reply: PrepareReply, command: Command, added: Vec<(String, String)>) -> Self {
        let mut environment = reply.environment;
        for (name, value) in added {
            environment.retain(|(other, _)| *other != name);
            environment.push((name, value));
        }
        Self {
            namespace: reply.namespace.into(),
            steps: adoption(reply.uid, reply.gid, &reply.groups, command.privileged),
            working_directory: reply.working_directory,
            working_directory_may_be_missing: reply.working_directory_may_be_missing,
            environment,
            words: command.words,
        }
    }

    /// Becomes the service. Comes back only with the reason why not.
    fn become_it(self) -> Failure {
        match self.adopt().and_then(|()| self.execute()) {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    /// Runs the service as a child, and is there for its signals and its end.
    fn behind_us(self) -> Result<Ended, Failure> {
        let signals = Signals::block(&[]).or_fail(Stage::Exec, "signals")?;
        let Some(child) = run::fork().or_fail(Stage::Exec, "fork")? else {
            return Err(self.become_it());
        };
        drop(self);
        wait_for(open_child(child)?.as_fd(), &signals)
    }

    /// Runs the service as a child with a terminal of its own.
    fn behind_terminal(self, uid: u32) -> Result<Ended, Failure> {
        let stays_root = !self.steps.contains(&Adoption::SetUid(uid));
        let session = Session::open((!stays_root).then_some(uid))?;
        let Some(child) = run::fork().or_fail(Stage::Exec, "fork")? else {
            return Err(match session.attach() {
                Ok(()) => self.become_it(),
                Err(failure) => failure,
            });
        };
        drop(self);
        session.relay(open_child(child)?.as_fd())
    }

    fn adopt(&self) -> Result<(), Failure> {
        run::reset_signals().or_fail(Stage::Exec, "signals")?;
        for step in &self.steps {
            self.adopt_step(step)?;
        }
        Ok(())
    }

    fn adopt_step(&self, step: &Adoption) -> Result<(), Failure> {
        let subject = step.to_string();
        match step {
            Adoption::EnterNamespace => {
                mount::enter_namespace(&self.namespace).or_fail(Stage::Namespace, subject)
            }
            Adoption::ResetUmask => {
                ids::reset_umask();
                Ok(())
            }
            Adoption::NewSessionKeyring => {
                keyring::join_new_session().or_fail(Stage::User, subject)
            }
            Adoption::DropCapabilities => {
                ids::drop_capabilities().or_fail(Stage::Capabilities, subject)
            }
            Adoption::SetGroups(groups) => ids::set_groups(groups).or_fail(Stage::Group, subject),
            Adoption::SetGid(gid) => ids::set_gid(*gid).or_fail(Stage::Group, subject),
            Adoption::SetUid(uid) => {
                ids::drop_privileges_for_good(*uid).or_fail(Stage::User, subject)
            }
            Adoption::NoNewPrivileges => {
                ids::set_no_new_privileges().or_fail(Stage::Capabilities, subject)
            }
            Adoption::FilterSetId => {
                let machine = Machine::current().ok_or("there is no filter for this architecture");
                let machine = machine.or_fail(Stage::Seccomp, &subject)?;
                seccomp::install(&set_id_filter(machine)).or_fail(Stage::Seccomp, subject)
            }
        }
    }

    /// Looks for the program as the service would, and executes it.
    fn execute(&self) -> Result<std::convert::Infallible, Failure> {
        self.change_directory()?;
        run::close_descriptors_on_exec().or_fail(Stage::Exec, "descriptors")?;
        let environment = self
            .environment
            .iter()
            .map(|(name, value)| CString::new(format!("{name}={value}")))
            .collect::<Result<Vec<_>, _>>()
            .or_fail(Stage::Exec, "the environment")?;
        let program = self.words.first().cloned().unwrap_or_default();
        let subject = program.to_string_lossy().into_owned();
        let mut last = None;
        for path in self.search_path(&subject) {
            let Err(error) = run::execute(&path, &self.words, &environment);
            // The next folder is tried only where there is no such program in this one, or we may
            // not look: execvp(3) does the same.
            let go_on = matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::ACCESS);
            let keep = last.is_none() || error.errno != Errno::NOENT;
            if keep {
                last = Some(error);
            }
            if !go_on {
                break;
            }
        }
        match last {
            Some(error) if error.errno != Errno::NOENT || subject.contains('/') => {
                Err(Failure::new(Stage::Exec, subject, error))
            }
            _ => {
                let why = format!("there is no such command in {}", self.path());
                Err(Failure::new(Stage::Exec, subject, why))
            }
        }
    }

    /// Where the service looks for programs: its own PATH, not the caller's.
    fn path(&self) -> &str {
        let path = self.environment.iter().find(|(name, _)| name == "PATH");
        path.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    fn search_path(&self, program: &str) -> Vec<CString> {
        if program.contains('/') {
            return self.words.first().cloned().into_iter().collect();
        }
        self.path()
            .split(':')
            .filter(|folder| !folder.is_empty())
            .filter_map(|folder| CString::new(format!("{folder}/{program}")).ok())
            .collect()
    }

    /// As the service, not as root: a directory that it may not enter is not for it.
    fn change_directory(&self) -> Result<(), Failure> {
        match rustix::process::chdir(self.working_directory.as_str()) {
            Err(Errno::NOENT) if self.working_directory_may_be_missing => {
                rustix::process::chdir("/")
            }
            changed => changed,
        }
        .or_fail(Stage::WorkingDirectory, &self.working_directory)
    }
}

/// A pidfd of a child that nobody has waited for yet, so that its number is still its own.
fn open_child(child: nix::unistd::Pid) -> Result<OwnedFd, Failure> {
    let pid = rustix::process::Pid::from_raw(child.as_raw()).ok_or("no process");
    let pid = pid.or_fail(Stage::Exec, "the service")?;
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        .or_fail(Stage::Exec, "pidfd_open")?;
    tracing::debug!(pid = child.as_raw(), fd = pidfd.as_raw_fd(), "started");
    Ok(pidfd)
}
