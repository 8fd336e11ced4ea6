//! Everything for the commands of one activation: who they become, what they see, their environment.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::io::{read, retry_on_intr, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

use super::activation::{Child, Starter};
use super::become_command::Becoming;
use super::readiness::ReadyFd;
use super::variables::read_variables;
use super::{Added, Launch, Passed, report};
use crate::activation::List;
use crate::command_text::{Command, Privilege};
use crate::directives::Settings;
use crate::failure::{Failure, OrFail, Stage};
use crate::plan::Adopter;
use crate::protocol::PrepareReply;
use crate::pty::Session;
use crate::relay::wait_for;
use crate::spec::Spec;
use crate::sys::own_namespaces::Kind;
use crate::sys::process_wait::Ended;
use crate::sys::run;
use crate::sys::signals::Signals;

/// Where programs of unit files are looked for, unless `ExecSearchPath=` says (systemd.service(5), "Command lines").
const SEARCH_PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// A command as it is executed.
#[derive(Clone, Debug)]
pub(super) struct Words {
    /// With which rights.
    pub(super) privilege: Privilege,
    /// The program: a path, or a name that is looked for.
    pub(super) program: CString,
    /// What it is told, its own name first.
    pub(super) argv: Vec<CString>,
    /// Where it is looked for, if not in the service's own PATH.
    pub(super) search: Option<Vec<String>>,
    /// Whether it gets the service's sockets.
    pub(super) gets_sockets: bool,
}

impl Words {
    /// With which rights it runs, and the words as they are told to people.
    pub(super) fn told(&self) -> (Privilege, String) {
        let words: Vec<_> = self
            .argv
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        (self.privilege, words.join(" "))
    }

    /// The same of a command of a unit file, its variables as they are written.
    pub(super) fn told_of(command: &Command) -> (Privilege, String) {
        let words = [&command.path].into_iter().chain(&command.arguments);
        let words: Vec<&str> = words.map(String::as_str).collect();
        (command.privilege, words.join(" "))
    }
}

/// What the daemon prepared, with what the launcher adds.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) namespaces: Vec<(Kind, OwnedFd)>,
    pub(super) control_group: Option<OwnedFd>,
    pub(super) adopter: Adopter,
    pub(super) settings: Settings,
    pub(super) writable: Vec<String>,
    pub(super) working_directory: String,
    pub(super) working_directory_may_be_missing: bool,
    /// Whether it is from a unit file: then what nobody says is as in systemd, not as in a shell.
    pub(super) from_unit: bool,
    /// Sockets of the service.
    pub(super) passed: Passed,
    base: Vec<(String, OsString)>,
    added: Added,
}

impl Prepared {
    pub(super) fn new(reply: PrepareReply, spec: &Spec, added: Added, launch: &Launch) -> Self {
        let namespaces: Vec<(Kind, OwnedFd)> = reply
            .namespaces
            .into_iter()
            .filter_map(|(word, fd)| Some((Kind::from_word(&word)?, fd.into())))
            .collect();
        let control_group = reply.control_group.into_iter().next().map(OwnedFd::from);
        let has = |wanted| namespaces.iter().any(|(kind, _)| *kind == wanted);
        let adopter = Adopter {
            uid: reply.uid,
            gid: reply.gid,
            groups: reply.groups,
            has_namespaces: !namespaces.is_empty(),
            has_user_namespace: has(Kind::Users),
            has_control_group: control_group.is_some(),
            confined: reply.confined,
            privilege: Privilege::Service,
        };
        let theirs = reply.environment.into_iter();
        Self {
            namespaces,
            control_group,
            adopter,
            settings: spec.settings().clone(),
            writable: reply.writable,
            working_directory: reply.working_directory,
            working_directory_may_be_missing: reply.working_directory_may_be_missing,
            from_unit: launch.unit_file.is_some(),
            passed: launch.passed.clone(),
            base: theirs
                .map(|(name, value)| (name, OsString::from(value)))
                .collect(),
            added,
        }
    }

    /// The environment of the next command: what a terminal needs gives way to everything, `EnvironmentFile=` wins over
    /// `Environment=`, `-E` over both, and what belongs to this command over all.
    ///
    /// # Errors
    /// Of [`Stage::Request`], if a file of it cannot be read.
    pub(super) fn environment(
        &self,
        privilege: Privilege,
        more: &[(String, String)],
    ) -> Result<Vec<(String, OsString)>, Failure> {
        let further = &self.settings.more_environment;
        let mut environment: Vec<(String, OsString)> = Vec::new();
        let mut put = |name: &str, value: OsString| {
            environment.retain(|(other, _)| other != name);
            environment.push((name.into(), value));
        };
        let passed = further.passed.iter();
        for (name, value) in &self.added.terminal {
            put(name, value.clone());
        }
        // What is asked for by name gives way to what is said.
        let own = self.base.iter().filter(|(name, _)| !self.is_said(name));
        own.for_each(|(name, value)| put(name, value.clone()));
        for name in passed {
            if let Some(value) = std::env::var_os(name) {
                put(name, value);
            }
        }
        if !further.search_path.is_empty() {
            put("PATH", further.search_path.join(":").into());
        }
        let said = self.base.iter().filter(|(name, _)| self.is_said(name));
        said.for_each(|(name, value)| put(name, value.clone()));
        for file in &further.files {
            for (name, value) in read_variables(file, privilege)? {
                put(&name, value.into());
            }
        }
        for (name, value) in &self.added.asked {
            put(name, value.clone());
        }
        for (name, value) in self.passed.variables().iter().chain(more) {
            put(name, value.into());
        }
        environment.retain(|(name, value)| {
            let value = value.to_string_lossy();
            !further.unset.iter().any(|unset| unset.takes(name, &value))
        });
        Ok(environment)
    }

    fn is_said(&self, name: &str) -> bool {
        self.settings
            .environment
            .iter()
            .any(|(said, _)| said == name)
    }

    /// The words of a command of a unit file, with its variables put in.
    ///
    /// # Errors
    /// Of [`Stage::Request`], for a word with a NUL.
    pub(super) fn words(
        &self,
        command: &Command,
        list: List,
        environment: &[(String, OsString)],
    ) -> Result<Words, Failure> {
        let variables: Vec<(String, String)> = environment
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.to_str()?.to_owned())))
            .collect();
        let argv = command.argv(&variables).into_iter().map(CString::new);
        let argv: Vec<CString> = argv
            .collect::<Result<_, _>>()
            .or_fail(Stage::Request, &command.path)?;
        let asked = &self.settings.more_environment.search_path;
        let search = match asked.is_empty() {
            true => SEARCH_PATH.map(String::from).into(),
            false => asked.clone(),
        };
        Ok(Words {
            privilege: command.privilege,
            program: CString::new(command.path.as_str()).or_fail(Stage::Request, &command.path)?,
            argv,
            search: Some(search),
            gets_sockets: list == List::Start,
        })
    }

    /// Becomes the words of a command line.
    pub(super) fn become_words(&self, words: &Words) -> Failure {
        match self.environment(words.privilege, &[]) {
            Ok(environment) => self.becoming(words, environment, None).become_it(),
            Err(failure) => failure,
        }
    }

    fn becoming<'a>(
        &'a self,
        words: &'a Words,
        environment: Vec<(String, OsString)>,
        holder: Option<OwnedFd>,
    ) -> Becoming<'a> {
        Becoming::new(self, words, environment, holder)
    }

    fn start_words(
        &self,
        words: &Words,
        environment: Vec<(String, OsString)>,
    ) -> Result<Child, Failure> {
        let holder = open_process(getpid())?;
        let (executed, open) = pipe_with(PipeFlags::CLOEXEC).or_fail(Stage::Exec, "pipe2")?;
        let apart = self.settings.namespaces.processes && words.privilege != Privilege::Full;
        let forked = if apart {
            run::fork_into_new_pid_namespace()
        } else {
            run::fork()
        };
        let Some(child) = forked.or_fail(Stage::Exec, "fork")? else {
            let becoming = self.becoming(words, environment, Some(holder));
            let failure = becoming.become_it();
            report::failure(&failure);
            // Nobody there to read it: then nobody waits for it either.
            let _told = retry_on_intr(|| write(&open, b"x"));
            run::end_now(failure.exit_status());
        };
        drop(open);
        let mut child = Child {
            pid: u32::try_from(child.as_raw()).or_fail(Stage::Exec, "fork")?,
            pidfd: open_child(child)?,
            executed: true,
        };
        // It is closed by the execution of the command, or by the end of a child that was killed before.
        let told =
            retry_on_intr(|| read(&executed, &mut [0_u8; 1])).or_fail(Stage::Exec, "read")?;
        child.executed = told == 0;
        Ok(child)
    }

    /// Runs the words of a command line as a child, and is there for its signals and its end.
    pub(super) fn behind_us(self, words: &Words, ready: Option<ReadyFd>) -> Result<Ended, Failure> {
        let signals = Signals::block(&[]).or_fail(Stage::Exec, "signals")?;
        let environment = self.environment(words.privilege, &[])?;
        let child = self.start_words(words, environment)?;
        drop(self);
        if let Some(ready) = ready.filter(|_| child.executed) {
            ready.tell();
        }
        wait_for(child.pidfd.as_fd(), &signals)
    }

    /// Runs the words of a command line as a child with a terminal of its own.
    pub(super) fn behind_terminal(self, words: &Words) -> Result<Ended, Failure> {
        let stays_root = words.privilege != Privilege::Service;
        let session = Session::open((!stays_root).then_some(self.adopter.uid))?;
        let holder = open_process(getpid())?;
        let environment = self.environment(words.privilege, &[])?;
        let Some(child) = run::fork().or_fail(Stage::Exec, "fork")? else {
            return Err(match session.attach() {
                Ok(()) => {
                    let becoming = self.becoming(words, environment, Some(holder));
                    becoming.become_it()
                }
                Err(failure) => failure,
            });
        };
        drop(self);
        session.relay(open_child(child)?.as_fd())
    }
}

impl Starter for Prepared {
    fn start(
        &self,
        list: List,
        command: &Command,
        more: &[(String, String)],
    ) -> Result<Child, Failure> {
        let environment = self.environment(command.privilege, more)?;
        let words = self.words(command, list, &environment)?;
        self.start_words(&words, environment)
    }

    fn become_it(&self, command: &Command, more: &[(String, String)]) -> Failure {
        let environment = match self.environment(command.privilege, more) {
            Ok(environment) => environment,
            Err(failure) => return failure,
        };
        match self.words(command, List::Start, &environment) {
            Ok(words) => self.becoming(&words, environment, None).become_it(),
            Err(failure) => failure,
        }
    }
}

/// A pidfd of a child that nobody has waited for yet, so that its number is still its own.
pub(super) fn open_child(child: nix::unistd::Pid) -> Result<OwnedFd, Failure> {
    let pid = Pid::from_raw(child.as_raw()).ok_or("no process");
    open_process(pid.or_fail(Stage::Exec, "the service")?)
}

fn open_process(pid: Pid) -> Result<OwnedFd, Failure> {
    pidfd_open(pid, PidfdFlags::empty()).or_fail(Stage::Exec, "pidfd_open")
}

/// The value of a variable.
pub(super) fn value<'a>(environment: &'a [(String, OsString)], name: &str) -> &'a OsStr {
    let found = environment.iter().find(|(known, _)| known == name);
    found
        .map(|(_, value)| value.as_os_str())
        .unwrap_or_default()
}

/// Where a program is looked for: itself, if it is a path.
pub(super) fn search_path(words: &Words, environment: &[(String, OsString)]) -> Vec<CString> {
    if words.program.to_bytes().contains(&b'/') {
        return vec![words.program.clone()];
    }
    let own = || {
        let path = value(environment, "PATH").as_bytes();
        path.split(|byte| *byte == b':').map(Vec::from).collect()
    };
    let folders: Vec<Vec<u8>> = match &words.search {
        Some(folders) => folders
            .iter()
            .map(|folder| folder.clone().into_bytes())
            .collect(),
        None => own(),
    };
    let paths = folders.into_iter().filter(|folder| !folder.is_empty());
    paths
        .filter_map(|folder| {
            CString::new([&folder, &b"/"[..], words.program.to_bytes()].concat()).ok()
        })
        .collect()
}
