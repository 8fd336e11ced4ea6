//! The process that becomes a command of the service: step by step, and never back.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;
use rustix::process::chdir;

use super::prepared::{Prepared, Words, search_path, value};
use super::streams;
use crate::apply;
use crate::command_text::Privilege;
use crate::failure::{Failure, OrFail, Stage};
use crate::level::{LANDLOCK_NEEDED, too_old};
use crate::plan::{Adopter, Adoption, adoption, processes_of_its_own};
use crate::report;
use crate::seccomp::{Machine, Rules, filter};
use crate::sys::fs::open_trusted;
use crate::sys::landlock::Domain;
use crate::sys::own_namespaces::{self, Kind};
use crate::sys::process_wait::has_ended;
use crate::sys::{SysResult, cgroup, ids, keyring, landlock, limits, run, seccomp};

/// A process that is about to become a command.
pub(super) struct Becoming<'a> {
    prepared: &'a Prepared,
    words: &'a Words,
    steps: Vec<Adoption>,
    environment: Vec<(String, OsString)>,
    /// The process that holds the lease, if it is another one.
    holder: Option<OwnedFd>,
    /// What else says that there still is a lease.
    lease: Option<Box<dyn Fn() -> Result<bool, Failure>>>,
}

impl<'a> Becoming<'a> {
    pub(super) fn new(
        prepared: &'a Prepared,
        words: &'a Words,
        environment: Vec<(String, OsString)>,
        holder: Option<OwnedFd>,
    ) -> Self {
        let full = words.privilege == Privilege::Full;
        let adopter = Adopter {
            privilege: words.privilege,
            has_namespaces: prepared.adopter.has_namespaces && !full,
            ..prepared.adopter.clone()
        };
        Self {
            steps: adoption(&adopter, &prepared.settings),
            prepared,
            words,
            environment,
            holder,
            lease: None,
        }
    }

    /// The same for somebody who joins a service: its holder may live on when it has given the lease back. `lease` says
    /// whether it has not.
    pub(super) fn joining(self, lease: Box<dyn Fn() -> Result<bool, Failure>>) -> Self {
        Self {
            lease: Some(lease),
            ..self
        }
    }

    /// Becomes the command. Comes back only with the reason why not.
    pub(super) fn become_it(self) -> Failure {
        match self.adopt().and_then(|()| self.execute()) {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    fn adopt(&self) -> Result<(), Failure> {
        let settings = &self.prepared.settings;
        let ignored = settings.process.ignore_sigpipe;
        run::reset_signals(!self.prepared.from_unit).or_fail(Stage::Exec, "signals")?;
        if ignored.unwrap_or(self.prepared.from_unit) {
            run::ignore_broken_pipes().or_fail(Stage::Exec, "signals")?;
        }
        // As root what only root has a say in, and the rest as the service, in its own view.
        let socket = self.socket()?;
        if socket.is_some() {
            report::keep_standard_error()?;
        }
        let later =
            streams::connect_as_root(&settings.streams, socket.as_ref(), self.prepared.from_unit)?;
        if self.lease.is_some() {
            // One who comes too late does not take the group either, which would keep the number from being free.
            self.stop_without_a_lease()?;
        }
        for step in &self.steps {
            self.adopt_step(step)?;
        }
        streams::connect(later, self.words.privilege)?;
        self.stop_without_a_lease()
    }

    /// What `StandardInput=socket` means: the one socket that was passed, or else what standard input is.
    fn socket(&self) -> Result<Option<OwnedFd>, Failure> {
        match self.prepared.settings.streams.any_socket() {
            true => match self.prepared.passed.only_socket()? {
                Some(socket) => Ok(Some(socket)),
                None => streams::own_socket().map(Some),
            },
            false => Ok(None),
        }
    }

    /// What is passed survives for whom it is, unless the only socket is its standard input.
    fn hand_over_sockets(&self) -> Result<Vec<(String, String)>, Failure> {
        if self.words.gets_sockets {
            self.prepared.passed.hand_over_others()?;
        }
        if !self.words.gets_sockets || self.prepared.settings.streams.any_socket() {
            return Ok(Vec::new());
        }
        let streams = &self.prepared.settings.streams;
        self.prepared.passed.hand_over(!streams.non_blocking)?;
        Ok(self.prepared.passed.told())
    }

    /// If the holder of the lease has been killed since the fork, the release may have looked for
    /// processes of the user before this one was one. From here on it finds it.
    fn stop_without_a_lease(&self) -> Result<(), Failure> {
        let Some(holder) = &self.holder else {
            return Ok(());
        };
        let fail = |why: &str| Err(Failure::new(Stage::User, "", why));
        if has_ended(holder.as_fd()).or_fail(Stage::User, "the launcher")? {
            return fail(match self.lease {
                None => "the launcher has ended, and the lease with it",
                Some(_) => "the service has just ended, and the lease with it",
            });
        }
        match self.lease.as_ref().map(|lease| lease()).transpose()? {
            Some(false) => fail("the service has just ended, and the lease with it"),
            _ => Ok(()),
        }
    }

    fn adopt_step(&self, step: &Adoption) -> Result<(), Failure> {
        let subject = step.to_string();
        match step {
            Adoption::JoinControlGroup => {
                let group = self.prepared.control_group.as_ref().ok_or("there is none");
                let group = group.or_fail(Stage::ControlGroup, &subject)?;
                cgroup::enter(group).or_fail(Stage::ControlGroup, subject)
            }
            Adoption::SetLimit(resource, limit) => {
                limits::set_limit(*resource, *limit).or_fail(Stage::Limits, subject)
            }
            Adoption::SetOomScore(score) => {
                limits::set_oom_score(*score).or_fail(Stage::OutOfMemory, subject)
            }
            Adoption::SetNice(nice) => limits::set_nice(*nice).or_fail(Stage::Nice, subject),
            Adoption::SetScheduler {
                policy,
                priority,
                reset_on_fork,
            } => limits::set_scheduler(*policy, *priority, *reset_on_fork)
                .or_fail(Stage::Scheduler, subject),
            Adoption::SetAffinity(cpus) => {
                limits::set_affinity(cpus).or_fail(Stage::CpuAffinity, subject)
            }
            Adoption::SetIoPriority(class, priority) => {
                limits::set_io_priority(*class, *priority).or_fail(Stage::IoPriority, subject)
            }
            Adoption::SetTimerSlack(slack) => {
                limits::set_timer_slack(*slack).or_fail(Stage::TimerSlack, subject)
            }
            Adoption::SetCoredumpFilter(filter) => {
                limits::set_coredump_filter(*filter).or_fail(Stage::Limits, subject)
            }
            other => self.confine(other, subject),
        }
    }

    /// The steps that take something away.
    fn confine(&self, step: &Adoption, subject: String) -> Result<(), Failure> {
        match step {
            Adoption::EnterNamespaces => self.enter_namespaces(&subject),
            Adoption::SetUmask(mask) => {
                ids::set_umask(*mask);
                Ok(())
            }
            Adoption::NewSessionKeyring => {
                keyring::join_new_session().or_fail(Stage::Keyring, subject)
            }
            Adoption::ConfineFiles => self.confine_files(&subject),
            Adoption::ConfineWrites => self.confine_writes(&subject),
            Adoption::EnterUserNamespace => self
                .enter(|kind| kind == Kind::Users)
                .or_fail(Stage::Namespace, subject),
            Adoption::LimitCapabilities(kept) => {
                ids::limit_capabilities(*kept).or_fail(Stage::Capabilities, subject)
            }
            Adoption::SetGroups(groups) => ids::set_groups(groups).or_fail(Stage::Group, subject),
            Adoption::SetGid(gid) => ids::set_gid(*gid).or_fail(Stage::Group, subject),
            Adoption::SetUid(uid, ambient) => {
                let bits = self.prepared.settings.process.secure_bits;
                ids::drop_privileges_for_good(*uid, *ambient, bits).or_fail(Stage::User, subject)
            }
            Adoption::SetSecureBits(bits) => {
                ids::set_secure_bits(*bits).or_fail(Stage::SecureBits, subject)
            }
            Adoption::NoNewPrivileges => {
                ids::set_no_new_privileges().or_fail(Stage::Capabilities, subject)
            }
            // The last thing of all: see `execute`.
            Adoption::FilterSystemCalls => Ok(()),
            _ => Ok(()),
        }
    }

    /// After this nothing but execve(2) may be needed: a service may deny itself all that a start takes.
    fn filter_system_calls(&self) -> Result<(), Failure> {
        if !self.steps.contains(&Adoption::FilterSystemCalls) {
            return Ok(());
        }
        let subject = Adoption::FilterSystemCalls.to_string();
        let machine = Machine::current().ok_or("there is no filter for this architecture");
        let machine = machine.or_fail(Stage::Seccomp, &subject)?;
        let rules = self.rules().or_fail(Stage::Seccomp, &subject)?;
        if rules.filters.memory_deny_write_execute {
            // Where the kernel can, it sees more than a filter.
            seccomp::deny_write_execute().or_fail(Stage::Seccomp, &subject)?;
        }
        seccomp::install(&filter(machine, &rules)).or_fail(Stage::Seccomp, subject)
    }

    /// What the filter is made of.
    fn rules(&self) -> SysResult<Rules> {
        let adopter = &self.prepared.adopter;
        let has_view = self.prepared.settings.level.has_view();
        let is_confined =
            self.steps.contains(&Adoption::ConfineFiles) && landlock::abi()?.is_some();
        Ok(Rules {
            set_id: adopter.confined,
            // What it makes is on mounts that nobody has made harmless.
            set_id_counts: adopter.confined && !has_view,
            // What no filter sees, Landlock does; where that is not, there is no other way.
            no_io_uring: adopter.confined
                && self.words.privilege != Privilege::KeepsRoot
                && !is_confined,
            personality: seccomp::personality()?,
            filters: self.prepared.settings.filters.clone(),
        })
    }

    /// Whatever directories others hand over, nothing new is made in them.
    fn confine_files(&self, subject: &str) -> Result<(), Failure> {
        let Some(abi) = landlock::abi().or_fail(Stage::Namespace, subject)? else {
            return Ok(());
        };
        let places = self.own_places()?;
        let places: Vec<_> = places.iter().map(AsFd::as_fd).collect();
        let enforced = landlock::restrict(abi, &places).or_fail(Stage::Namespace, subject)?;
        tracing::debug!(?enforced, "landlock");
        Ok(())
    }

    /// Without a view of its own, nothing else is between the service and what modes let it change.
    fn confine_writes(&self, subject: &str) -> Result<(), Failure> {
        let version = landlock::abi().or_fail(Stage::Namespace, subject)?;
        let why = match version {
            Some(version) if version >= LANDLOCK_NEEDED => None,
            Some(version) => Some(too_old(version)),
            None => Some("this kernel has no Landlock, or was started without it".into()),
        };
        if let Some(why) = why {
            return Err(Failure::new(Stage::Namespace, "--sandbox=landlock", why));
        }
        let places = self.own_places()?;
        let domain = Domain::of_writers().or_fail(Stage::Namespace, subject)?;
        for place in &places {
            domain
                .allow_beneath(place.as_fd())
                .or_fail(Stage::Namespace, subject)?;
        }
        let enforced = domain.restrict_self().or_fail(Stage::Namespace, subject)?;
        tracing::debug!(?enforced, "landlock");
        Ok(())
    }

    /// The directories beneath which the service may make files.
    fn own_places(&self) -> Result<Vec<OwnedFd>, Failure> {
        let mut places = Vec::new();
        for path in &self.prepared.writable {
            // An earlier command of the service may have put a link to `/` in its place.
            match open_trusted(path) {
                // Nothing is made beneath a file, nor beneath what may be missing and is.
                Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR) => {}
                opened => places.push(opened.or_fail(Stage::Namespace, path)?),
            }
        }
        Ok(places)
    }

    fn enter(&self, wanted: impl Fn(Kind) -> bool) -> SysResult<()> {
        let mut these = self
            .prepared
            .namespaces
            .iter()
            .filter(|(kind, _)| wanted(*kind));
        these.try_for_each(|(kind, namespace)| own_namespaces::enter(*kind, namespace))
    }

    fn enter_namespaces(&self, subject: &str) -> Result<(), Failure> {
        self.enter(|kind| kind != Kind::Users)
            .or_fail(Stage::Namespace, subject)?;
        let settings = &self.prepared.settings;
        if settings.namespaces.processes {
            // What is mounted now is this command's alone: the next one has other processes.
            own_namespaces::unshare(Kind::Mounts).or_fail(Stage::Namespace, subject)?;
            apply::carry_out(&processes_of_its_own(settings))?;
        }
        Ok(())
    }

    /// Looks for the program as the service would, and executes it.
    fn execute(&self) -> Result<Infallible, Failure> {
        self.change_directory()?;
        run::close_descriptors_on_exec().or_fail(Stage::Exec, "descriptors")?;
        let told = self.hand_over_sockets()?;
        let told = told.iter().map(|(name, value)| (name, value.as_bytes()));
        let environment = self.environment.iter();
        let environment = environment
            .map(|(name, value)| (name, value.as_bytes()))
            .chain(told)
            .map(|(name, value)| CString::new([name.as_bytes(), b"=", value].concat()))
            .collect::<Result<Vec<_>, _>>()
            .or_fail(Stage::Exec, "the environment")?;
        let subject = self.words.program.to_string_lossy().into_owned();
        let paths = search_path(self.words, &self.environment);
        let mut last = None;
        self.filter_system_calls()?;
        for path in paths {
            let Err(error) = run::execute(&path, &self.words.argv, &environment);
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
                let own = value(&self.environment, "PATH").display().to_string();
                let looked = self
                    .words
                    .search
                    .as_ref()
                    .map_or(own, |folders| folders.join(":"));
                let why = format!("there is no such command in {looked}");
                Err(Failure::new(Stage::Exec, subject, why))
            }
        }
    }

    /// As the service, not as root: a directory that it may not enter is not for it.
    fn change_directory(&self) -> Result<(), Failure> {
        let directory = &self.prepared.working_directory;
        match chdir(directory.as_str()) {
            Err(Errno::NOENT) if self.prepared.working_directory_may_be_missing => chdir("/"),
            changed => changed,
        }
        .or_fail(Stage::WorkingDirectory, directory)
    }
}
