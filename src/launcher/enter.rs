//! `dynuser enter`: a shell in the sandbox of a service that runs, held back as the service is.
//!
//! What is entered was found by [`inside::find`]: namespaces that nobody of the service can have made. From the moment the
//! guest has the service's user it ends with the service, as everything does that has its number.

mod shell;

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::unistd::Pid;
use rustix::fs::{self as raw, OFlags};
use rustix::process::{PidfdFlags, pidfd_open};

use super::become_command::Becoming;
use super::prepared::{Prepared, Words};
use super::{Added, Launch, require_root};
use crate::capabilities::number;
use crate::command_text::Privilege;
use crate::exec_directory::{self, Kind as DirectoryKind};
use crate::failure::{Failure, OrFail, Stage};
use crate::holder::{HeldBy, Holder, Watched};
use crate::inside::{self, Inside};
use crate::layout::LEASES;
use crate::lease::{self, Lease};
use crate::level::Level;
use crate::life::State;
use crate::meant::one_that_runs;
use crate::observe::writable_places;
use crate::plan::{beneath, temporary_of};
use crate::protocol::PrepareReply;
use crate::pty::Session;
use crate::relay::wait_for_one_apart;
use crate::report;
use crate::request::Request;
use crate::spec::Spec;
use crate::sys::fs::{open_file_beneath, read_at_most};
use crate::sys::own_namespaces::{self, Kind};
use crate::sys::process_wait::Ended;
use crate::sys::run;
use crate::sys::signals::Signals;
use crate::sys::terminal;

/// What `dynuser enter` was told.
#[derive(Clone, Debug)]
pub struct Enter {
    /// The service, or its user.
    pub name: String,
    /// The command and its arguments; none for a shell.
    pub command: Vec<OsString>,
    /// As root, with nothing taken away but what the namespaces do.
    pub root: bool,
    /// With a terminal of its own.
    pub pty: bool,
}

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// More than any lease has, and any table of mounts, in bytes.
const LONGEST: usize = 16 << 20;

/// Somebody who is about to join a service.
struct Guest<'a> {
    options: &'a Enter,
    lease: Lease,
    holder: Holder,
    pidfd: OwnedFd,
    spec: Spec,
    inside: Inside,
    /// The folder of leases, from outside.
    leases: OwnedFd,
}

/// Enters a service. Gives the exit status: the command's.
///
/// # Errors
/// Of the stage that failed.
pub fn enter(options: &Enter) -> Result<u8, Failure> {
    require_root()?;
    let guest = Guest::of(options)?;
    if !guest.inside.has(Kind::Mounts) {
        report::say(&format!(
            "dynuser: {} has no view of its own: what it sees is what everybody sees",
            guest.holder.service
        ));
    } else if options.root {
        report::say(&format!(
            "dynuser: you are root in the sandbox of {}: what you execute in it may be a file of the service's",
            guest.holder.service
        ));
    }
    let ended = match options.pty {
        true => guest.behind_terminal()?,
        false => guest.behind_us()?,
    };
    Ok(ended.exit_status())
}

impl<'a> Guest<'a> {
    fn of(options: &'a Enter) -> Result<Self, Failure> {
        let (lease, holder) = one_that_runs(&lease::load_all()?, &options.name)?;
        let service = &holder.service;
        let reopened = holder.by.reopen().or_fail(Stage::User, service)?;
        let Some(Watched::Process(pidfd) | Watched::Descriptor(pidfd)) = reopened else {
            return Err(Failure::new(Stage::Request, service, "has just ended"));
        };
        // Everything that holds its processes back, as the daemon has noted it.
        let spec = Spec::check(&Request {
            service: service.clone(),
            properties: holder.confinement.clone(),
        })?;
        let ambient = spec.settings().process.ambient;
        if options.root && number("cap_sys_admin").is_some_and(|it| ambient.has(it)) {
            // No look at its namespaces tells: what it has mounted there it was entitled to.
            let why = "has CAP_SYS_ADMIN, and may have mounted anything over any program: enter it as its user, or look into it with nsenter(1)";
            return Err(Failure::new(Stage::Request, service, why));
        }
        let inside = inside::find(&lease, &holder, &pidfd, spec.is_dynamic())?;
        tracing::debug!(pid = inside.pid, "found");
        let leases = pin(LEASES)?;
        Ok(Self {
            options,
            lease,
            holder,
            pidfd,
            spec,
            inside,
            leases,
        })
    }

    fn behind_terminal(self) -> Result<Ended, Failure> {
        let owner = (!self.options.root).then_some(self.lease.uid);
        let session = Session::open(owner)?;
        let Some(child) = self.fork()? else {
            return Err(match session.attach() {
                Ok(()) => self.become_it(),
                Err(failure) => failure,
            });
        };
        session.relay(open_child(child)?.as_fd())
    }

    fn behind_us(self) -> Result<Ended, Failure> {
        let signals = Signals::block(&[]).or_fail(Stage::Exec, "signals")?;
        // Here, where /proc is ours.
        let shown = terminal::write_only_copies().or_fail(Stage::Terminal, "standard output")?;
        let Some(child) = self.fork()? else {
            // The service may trace its guest, and take descriptors from it: none of them is to be root's terminal.
            return Err(match terminal::leave(shown) {
                Ok(()) => self.become_it(),
                Err(error) => Failure::new(Stage::Terminal, "standard output", error),
            });
        };
        wait_for_one_apart(open_child(child)?.as_fd(), &signals)
    }

    /// Forks. The child is born into the service's PID namespace, if it has one: nobody else can enter that.
    fn fork(&self) -> Result<Option<Pid>, Failure> {
        let mut namespaces = self.inside.namespaces.iter();
        if let Some((kind, namespace)) = namespaces.find(|it| it.0 == Kind::Processes) {
            own_namespaces::enter(*kind, namespace).or_fail(Stage::Namespace, "pid")?;
        }
        run::fork().or_fail(Stage::Exec, "fork")
    }

    /// In the child: becomes the command. Comes back only with the reason why not.
    fn become_it(self) -> Failure {
        match self.prepare() {
            Err(failure) => failure,
            Ok((prepared, words)) => {
                let environment = match prepared.environment(words.privilege, &[]) {
                    Ok(environment) => environment,
                    Err(failure) => return failure,
                };
                let Self {
                    lease,
                    holder,
                    pidfd,
                    leases,
                    ..
                } = self;
                let lives = move || still_held(&leases, lease.uid, &holder.by);
                Becoming::new(&prepared, &words, environment, Some(pidfd))
                    .joining(Box::new(lives))
                    .become_it()
            }
        }
    }

    /// Looks around in the service's mount namespace, and makes of it what a launcher gets from the daemon.
    fn prepare(&self) -> Result<(Prepared, Words), Failure> {
        // In the namespace /proc may be anything, or show nothing.
        let ourselves = pin("/proc/thread-self")?;
        let mut mounts = self.inside.namespaces.iter();
        let mut writable = Vec::new();
        if let Some((kind, namespace)) = mounts.find(|it| it.0 == Kind::Mounts) {
            own_namespaces::enter(*kind, namespace).or_fail(Stage::Namespace, "mnt")?;
            let table = open_file_beneath(&ourselves, "mountinfo")
                .and_then(|file| read_at_most(file, LONGEST))
                .or_fail(Stage::Namespace, "mountinfo")?;
            writable = writable_places(&table.unwrap_or_default());
        } else if self.spec.level() == Level::Landlock && !self.options.root {
            writable = self.writable_beside_others()?;
        }
        let asked = std::env::var_os("SHELL");
        let shell = shell::find(asked.as_deref(), self.options.root);
        let words = self.words(shell.as_deref())?;
        let added = Added {
            terminal: match self.options.pty {
                true => super::terminal_variables(),
                false => Vec::new(),
            },
            asked: Vec::new(),
        };
        let request = Request {
            service: self.holder.service.clone(),
            properties: match self.options.root {
                true => Vec::new(),
                false => self.holder.confinement.clone(),
            },
        };
        let spec = Spec::check(&request)?;
        let launch = Launch {
            request,
            ..Launch::default()
        };
        let reply = self.reply(writable, shell.as_deref().unwrap_or("/bin/sh"))?;
        Ok((Prepared::new(reply, &spec, added, &launch), words))
    }

    /// Where the service may write that sees what everybody sees.
    fn writable_beside_others(&self) -> Result<Vec<String>, Failure> {
        let own = self.holder.exec_directories().filter(|directory| {
            let pair = (directory.kind().word().into(), directory.path().into());
            directory.kind() != DirectoryKind::Configuration
                && !self.holder.read_only.contains(&pair)
        });
        let own = own.map(|directory| directory.public());
        beneath(self.spec.settings(), self.lease.uid, own, String::clone)
    }

    fn words(&self, shell: Option<&str>) -> Result<Words, Failure> {
        let privilege = match self.options.root {
            true => Privilege::KeepsRoot,
            false => Privilege::Service,
        };
        let given = self.options.command.iter();
        let mut argv: Vec<CString> = given
            .map(|word| CString::new(word.as_bytes()))
            .collect::<Result<_, _>>()
            .or_fail(Stage::Request, "the command")?;
        if argv.is_empty() {
            let why = "has no shell in it that is root's alone; name a command";
            let shell = shell
                .ok_or(why)
                .or_fail(Stage::Exec, &self.holder.service)?;
            argv.push(CString::new(shell).or_fail(Stage::Exec, shell)?);
        }
        Ok(Words {
            privilege,
            program: argv.first().cloned().unwrap_or_default(),
            argv,
            search: None,
            gets_sockets: false,
        })
    }

    /// What the daemon would answer, as far as it is still known.
    fn reply(&self, writable: Vec<String>, shell: &str) -> Result<PrepareReply, Failure> {
        let mut namespaces = Vec::new();
        for (kind, namespace) in &self.inside.namespaces {
            if *kind != Kind::Processes {
                let copy = namespace.try_clone();
                let copy = copy.or_fail(Stage::Namespace, kind.word())?;
                namespaces.push((kind.word().to_owned(), copy.into()));
            }
        }
        let group = self.inside.control_group.as_ref();
        let group = group.map(OwnedFd::try_clone).transpose();
        let group = group.or_fail(Stage::ControlGroup, "the control group")?;
        let root = self.options.root;
        let directory = self.spec.working_directory().filter(|_| !root);
        let home = self.home();
        Ok(PrepareReply {
            uid: if root { 0 } else { self.lease.uid },
            gid: if root { 0 } else { self.lease.gid },
            // Root needs none, and whoever has the user's group keeps its number out of use.
            groups: match root {
                true => Vec::new(),
                false => self.inside.groups.clone(),
            },
            user: self.lease.name.clone(),
            namespaces,
            control_group: group.into_iter().map(zbus::OwnedFd::from).collect(),
            unenforced: Vec::new(),
            writable,
            confined: self.spec.is_dynamic() && !root,
            sandbox: self.spec.level().word().into(),
            environment: self.environment(&home, shell),
            working_directory: directory.map_or(home, |directory| directory.path.clone()),
            working_directory_may_be_missing: true,
        })
    }

    /// What a shell needs, and where the service's directories are. Nothing of the caller's.
    fn environment(&self, home: &str, shell: &str) -> Vec<(String, String)> {
        let user = if self.options.root {
            "root"
        } else {
            &self.lease.name
        };
        let mut variables: Vec<(String, String)> = [
            ("PATH", PATH),
            ("LANG", "C.UTF-8"),
            ("USER", user),
            ("LOGNAME", user),
            ("HOME", home),
            ("SHELL", shell),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
        if !self.spec.level().has_view() && !self.options.root {
            variables.push(("TMPDIR".into(), temporary_of(self.lease.uid)));
        }
        for kind in DirectoryKind::ALL {
            let directories = self.holder.exec_directories();
            let these = directories.filter(|directory| directory.kind() == kind);
            let paths: Vec<String> = these.map(|directory| directory.public()).collect();
            if !paths.is_empty() {
                variables.push((kind.variable().into(), paths.join(":")));
            }
        }
        variables
    }

    /// As a service's own.
    fn home(&self) -> String {
        if self.options.root {
            return "/root".into();
        }
        let own = self.lease.home.clone();
        let given = || exec_directory::home(self.holder.exec_directories());
        match self.spec.is_dynamic() {
            true => given().or(own),
            false => own.or_else(given),
        }
        .unwrap_or_else(|| "/".into())
    }
}

/// Opens a folder of the host's.
fn pin(path: &str) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    raw::open(path, flags, raw::Mode::empty()).or_fail(Stage::Namespace, path)
}

/// Whether a lease still is held so, and not on its way to its end. A daemon that takes one back writes that down before it
/// looks for processes: whoever has the user by now is seen by it, or sees this.
fn still_held(leases: &OwnedFd, uid: u32, by: &HeldBy) -> Result<bool, Failure> {
    let opened = open_file_beneath(leases, &uid.to_string());
    let text = match opened.and_then(|file| read_at_most(file, LONGEST)) {
        Err(error) if error.errno == rustix::io::Errno::NOENT => return Ok(false),
        text => text.or_fail(Stage::User, "the lease")?,
    };
    let lease: Lease =
        serde_json::from_slice(&text.unwrap_or_default()).or_fail(Stage::User, "the lease")?;
    let holds = lease.holders.iter().any(|holder| holder.by == *by);
    Ok(holds && lease.state == State::Running)
}

/// A pidfd of a child that nobody has waited for yet.
fn open_child(child: Pid) -> Result<OwnedFd, Failure> {
    let pid = rustix::process::Pid::from_raw(child.as_raw()).ok_or("no process");
    let pid = pid.or_fail(Stage::Exec, "the child")?;
    pidfd_open(pid, PidfdFlags::empty()).or_fail(Stage::Exec, "pidfd_open")
}
