//! The process that becomes the service.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, chdir, getpid, pidfd_open};

use super::{Added, Command};
use crate::failure::{Failure, OrFail, Stage};
use crate::plan::{Adopter, Adoption, adoption};
use crate::protocol::PrepareReply;
use crate::pty::Session;
use crate::relay::wait_for;
use crate::seccomp::{Machine, set_id_filter};
use crate::sys::own_namespaces::{self, Kind};
use crate::sys::process_wait::{Ended, has_ended};
use crate::sys::signals::Signals;
use crate::sys::{ids, keyring, run, seccomp};

/// A service that is about to be.
pub(super) struct Service {
    namespaces: Vec<(Kind, OwnedFd)>,
    steps: Vec<Adoption>,
    working_directory: String,
    working_directory_may_be_missing: bool,
    environment: Vec<(String, OsString)>,
    words: Vec<CString>,
    /// The process that holds the lease, if it is another one.
    holder: Option<OwnedFd>,
}

impl Service {
    pub(super) fn new(reply: PrepareReply, command: Command, added: Added) -> Self {
        let theirs = reply.environment.into_iter();
        let theirs = theirs.map(|(name, value)| (name, OsString::from(value)));
        let mut environment: Vec<(String, OsString)> = Vec::new();
        for (name, value) in added.terminal.into_iter().chain(theirs).chain(added.asked) {
            environment.retain(|(other, _)| *other != name);
            environment.push((name, value));
        }
        let namespaces: Vec<(Kind, OwnedFd)> = reply
            .namespaces
            .into_iter()
            .filter_map(|(word, fd)| Some((Kind::from_word(&word)?, fd.into())))
            .collect();
        let adopter = Adopter {
            uid: reply.uid,
            gid: reply.gid,
            groups: reply.groups,
            has_namespace: !namespaces.is_empty(),
            confined: reply.confined,
            privileged: command.privileged,
        };
        Self {
            namespaces,
            steps: adoption(&adopter),
            working_directory: reply.working_directory,
            working_directory_may_be_missing: reply.working_directory_may_be_missing,
            environment,
            words: command.words,
            holder: None,
        }
    }

    /// In a child: the lease is the parent's.
    fn held_by(self, holder: OwnedFd) -> Self {
        Self {
            holder: Some(holder),
            ..self
        }
    }

    /// Becomes the service. Comes back only with the reason why not.
    pub(super) fn become_it(self) -> Failure {
        match self.adopt().and_then(|()| self.execute()) {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    /// Runs the service as a child, and is there for its signals and its end.
    pub(super) fn behind_us(self) -> Result<Ended, Failure> {
        let signals = Signals::block(&[]).or_fail(Stage::Exec, "signals")?;
        let holder = open_process(getpid())?;
        let Some(child) = run::fork().or_fail(Stage::Exec, "fork")? else {
            drop(signals);
            return Err(self.held_by(holder).become_it());
        };
        drop(self);
        wait_for(open_child(child)?.as_fd(), &signals)
    }

    /// Runs the service as a child with a terminal of its own.
    pub(super) fn behind_terminal(self, uid: u32) -> Result<Ended, Failure> {
        let stays_root = !self.steps.contains(&Adoption::SetUid(uid));
        let session = Session::open((!stays_root).then_some(uid))?;
        let holder = open_process(getpid())?;
        let Some(child) = run::fork().or_fail(Stage::Exec, "fork")? else {
            return Err(match session.attach() {
                Ok(()) => self.held_by(holder).become_it(),
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
        self.stop_without_a_lease()
    }

    /// If the holder of the lease has been killed since the fork, the release may have looked for
    /// processes of the user before this one was one. From here on it finds it.
    fn stop_without_a_lease(&self) -> Result<(), Failure> {
        let Some(holder) = &self.holder else {
            return Ok(());
        };
        match has_ended(holder.as_fd()).or_fail(Stage::User, "the launcher")? {
            false => Ok(()),
            true => Err(Failure::new(
                Stage::User,
                "",
                "the launcher has ended, and the lease with it",
            )),
        }
    }

    fn adopt_step(&self, step: &Adoption) -> Result<(), Failure> {
        let subject = step.to_string();
        match step {
            Adoption::EnterNamespace => {
                let mut namespaces = self.namespaces.iter();
                namespaces
                    .try_for_each(|(kind, namespace)| own_namespaces::enter(*kind, namespace))
                    .or_fail(Stage::Namespace, subject)
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
    fn execute(&self) -> Result<Infallible, Failure> {
        self.change_directory()?;
        run::close_descriptors_on_exec().or_fail(Stage::Exec, "descriptors")?;
        let environment = self
            .environment
            .iter()
            .map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect::<Result<Vec<_>, _>>()
            .or_fail(Stage::Exec, "the environment")?;
        let program = self.words.first().cloned().unwrap_or_default();
        let subject = program.to_string_lossy().into_owned();
        let mut last = None;
        for path in self.search_path() {
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
                let why = format!("there is no such command in {}", self.path().display());
                Err(Failure::new(Stage::Exec, subject, why))
            }
        }
    }

    /// Where the service looks for programs: its own PATH, not the caller's.
    fn path(&self) -> &OsStr {
        let path = self.environment.iter().find(|(name, _)| name == "PATH");
        path.map(|(_, value)| value.as_os_str()).unwrap_or_default()
    }

    fn search_path(&self) -> Vec<CString> {
        let Some(program) = self.words.first() else {
            return Vec::new();
        };
        if program.to_bytes().contains(&b'/') {
            return vec![program.clone()];
        }
        let folders = self.path().as_bytes().split(|byte| *byte == b':');
        folders
            .filter(|folder| !folder.is_empty())
            .filter_map(|folder| CString::new([folder, b"/", program.to_bytes()].concat()).ok())
            .collect()
    }

    /// As the service, not as root: a directory that it may not enter is not for it.
    fn change_directory(&self) -> Result<(), Failure> {
        match chdir(self.working_directory.as_str()) {
            Err(Errno::NOENT) if self.working_directory_may_be_missing => chdir("/"),
            changed => changed,
        }
        .or_fail(Stage::WorkingDirectory, &self.working_directory)
    }
}

/// A pidfd of a child that nobody has waited for yet, so that its number is still its own.
fn open_child(child: nix::unistd::Pid) -> Result<OwnedFd, Failure> {
    let pid = Pid::from_raw(child.as_raw()).ok_or("no process");
    open_process(pid.or_fail(Stage::Exec, "the service")?)
}

fn open_process(pid: Pid) -> Result<OwnedFd, Failure> {
    pidfd_open(pid, PidfdFlags::empty()).or_fail(Stage::Exec, "pidfd_open")
}
