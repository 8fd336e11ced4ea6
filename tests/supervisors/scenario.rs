//! What happens to a service, one thing after the other, and what must be so after each.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::host::Host;
use crate::packages;
use crate::services::Service;
use crate::support::{Arena, Running, dynamic_uid, wait_until};

/// A supervisor.
pub(crate) trait Supervisor {
    /// Writes its definition of the service, which calls `command`, and starts the supervisor itself. The service is
    /// down then.
    fn install(&self, arena: &Arena, service: &Service) -> Option<Running>;
    /// The definition, for people: a path in the arena.
    fn definition(&self, service: &Service) -> String;
    /// What one types for each.
    fn words(&self, what: What, service: &Service) -> String;
    /// The process that it supervises, if that runs.
    fn pid(&self, arena: &Arena, service: &Service) -> Option<u32>;
    /// How the service ended that it supervised last: an exit status, or 128 and a signal. `None` if it tells nobody.
    fn last_end(&self, arena: &Arena, service: &Service) -> Option<i32>;
    /// Whether it can be asked to wait until the service answers.
    fn knows_ready(&self, service: &Service) -> bool;
}

/// What one asks of a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Start,
    Ready,
    Status,
    Reload,
    Restart,
    Stop,
}

/// A service under a supervisor.
pub(crate) struct Scenario {
    name: &'static str,
    service: Service,
}

impl Scenario {
    pub(crate) fn new(name: &'static str, service: Service) -> Self {
        Self { name, service }
    }

    pub(crate) fn run(&self, supervisor: &dyn Supervisor) {
        let arena = Arena::with_module();
        packages::unpack(&arena);
        // What is deaf to SIGTERM has a second.
        arena.sh("mkdir -p /etc/dynuser").ok();
        let limit = "[Manager]\nDefaultTimeoutStopSec=1s\n";
        arena.put("/etc/dynuser/dynuser.conf", limit, 0o644);
        (self.service.prepare)(&arena);
        let supervises = supervisor.install(&arena, &self.service);
        let mut life = Life {
            _supervises: supervises,
            host: Host::new(arena),
            supervisor,
            service: &self.service,
            transcript: String::new(),
            pid: 0,
            uid: 0,
        };
        life.show(&format!("cat {}", supervisor.definition(&self.service)));
        life.starts();
        life.reloads();
        life.is_restarted_while_the_former_lease_ends();
        life.crashes();
        life.outlives_the_daemon();
        life.stops();
        life.write(self.name);
    }
}

/// A service that goes through all of it.
struct Life<'a> {
    /// Before the arena: that ends when those have been waited for who were started in it.
    _supervises: Option<Running>,
    host: Host,
    supervisor: &'a dyn Supervisor,
    service: &'a Service,
    transcript: String,
    /// The process that the supervisor supervises.
    pid: u32,
    /// The number of its user.
    uid: u32,
}

impl Life<'_> {
    fn starts(&mut self) {
        self.ask(What::Start);
        if self.supervisor.knows_ready(self.service) {
            // It comes back when that is so, and fails otherwise.
            self.ask(What::Ready);
        }
        self.is_up();
        self.ask(What::Status);
        self.show(&format!(
            "dynuser list; ps -o pid,ppid,user,args -p {}",
            self.pid
        ));
    }

    /// Waits until another process is supervised than before, which is the service, and answers.
    fn is_up(&mut self) {
        let (supervisor, service, former) = (self.supervisor, self.service, self.pid);
        let mut pid = None;
        wait_until("the supervisor has a process, which answers", || {
            pid = supervisor.pid(&self.host.arena, service);
            pid.is_some_and(|pid| pid != former) && (service.answers)(&self.host)
        });
        self.pid = pid.expect("a process");
        let leases = self.host.arena.list();
        let lease = leases.iter().find(|lease| lease["name"] == service.user);
        let lease = lease.unwrap_or_else(|| panic!("no lease of {} in {leases:?}", service.user));
        assert_eq!(lease["state"], "running", "{lease}");
        assert_eq!(lease["pid"], u64::from(self.pid), "{lease}");
        let uid = dynamic_uid(&lease["uid"].to_string());
        assert!(
            self.uid == 0 || self.uid == uid,
            "another number: {uid}, not {}",
            self.uid
        );
        self.uid = uid;
        self.is_the_service();
    }

    /// The process that the supervisor knows is the daemon's own, or the parent of it alone.
    fn is_the_service(&self) {
        let pid = match self.service.in_place {
            true => self.pid.to_string(),
            false => {
                let children = format!("cat /proc/{0}/task/{0}/children", self.pid);
                self.host.arena.sh(&children).ok().trim().to_owned()
            }
        };
        let look = format!("readlink /proc/{pid}/exe; stat -c %u /proc/{pid}");
        let expected = format!("{}\n{}\n", self.service.program, self.uid);
        assert_eq!(self.host.arena.sh(&look).ok(), expected);
    }

    fn reloads(&mut self) {
        let Some((change, until_in_force)) = self.service.reload else {
            return;
        };
        change(&self.host.arena);
        self.ask(What::Reload);
        until_in_force(&self.host.arena);
        let now = self.supervisor.pid(&self.host.arena, self.service);
        assert_eq!(now, Some(self.pid), "it was started anew");
    }

    /// A process of the service's user is deaf to SIGTERM: the lease ends when it is killed, and the next start waits for that.
    fn is_restarted_while_the_former_lease_ends(&mut self) {
        let arena = &self.host.arena;
        let deaf = "exec 2>/dev/null; trap 'echo deaf' TERM; echo up; while :; do sleep 0.05; done";
        let uid = self.uid.to_string();
        let words = [
            "setpriv",
            "--reuid",
            &uid,
            "--regid",
            &uid,
            "--clear-groups",
            "sh",
            "-c",
            deaf,
        ];
        let mut deaf = arena.spawn(words);
        assert_eq!(deaf.line(), "up");
        self.ask(What::Restart);
        // The lease is ending by now: it is told so.
        assert_eq!(deaf.line(), "deaf");
        self.is_up();
        assert!(
            !deaf.runs(),
            "the new service began while the former lease was there"
        );
        self.transcript
            .push_str("# waited for a process that is deaf to SIGTERM; the same number again:\n");
        self.show("dynuser list");
    }

    fn crashes(&mut self) {
        let pid = self.pid;
        let victim = match self.service.in_place {
            true => pid.to_string(),
            false => format!("$(cat /proc/{pid}/task/{pid}/children)"),
        };
        self.show(&format!("kill -KILL {victim}"));
        self.is_up();
        let end = self.supervisor.last_end(&self.host.arena, self.service);
        assert_eq!(end, Some(128 + 9));
        self.ask(What::Status);
    }

    fn outlives_the_daemon(&mut self) {
        let daemons = self.host.arena.daemons();
        assert_eq!(daemons.len(), 1, "{daemons:?}");
        self.show(&format!(
            "kill -KILL {}   # the daemon of dynuser",
            daemons[0]
        ));
        wait_until("it is dead", || self.host.arena.daemons().is_empty());
        assert!((self.service.answers)(&self.host));
        let now = self.supervisor.pid(&self.host.arena, self.service);
        assert_eq!(now, Some(self.pid));
        self.ask(What::Restart);
        self.is_up();
        self.ask(What::Status);
    }

    fn stops(&mut self) {
        self.ask(What::Stop);
        let arena = &self.host.arena;
        wait_until("nothing is supervised", || {
            self.supervisor.pid(arena, self.service).is_none()
        });
        if let Some(end) = self.supervisor.last_end(arena, self.service) {
            assert_eq!(end, self.service.end);
        }
        arena.wait_until_idle();
        self.show("dynuser list");
        let processes = self.host.arena.processes();
        let left = processes
            .iter()
            .filter(|line| line.contains(self.service.program));
        assert_eq!(left.count(), 0, "{processes:?}");
        let uid = self.uid.to_string();
        let owners = self.host.arena.run(["ps", "-e", "-o", "uid="]).ok();
        assert!(owners.lines().all(|owner| owner.trim() != uid), "{owners}");
        for known in [&*uid, self.service.user] {
            let named = self.host.arena.run(["getent", "passwd", known]);
            assert_eq!(named.status.code(), Some(2), "{named}");
        }
        let left = self
            .host
            .arena
            .sh("ls /run/dynuser/leases /run/dynuser/users /run/dynuser/notify")
            .ok();
        assert_eq!(
            left,
            "/run/dynuser/leases:\n\n/run/dynuser/notify:\n\n/run/dynuser/users:\n"
        );
    }

    fn ask(&mut self, what: What) {
        let words = self.supervisor.words(what, self.service);
        self.show(&words);
    }

    /// Types it; it must succeed.
    fn show(&mut self, line: &str) {
        let said = self.host.arena.sh(&format!("{line} 2>&1")).ok();
        let line = line.replace('\n', "\n> ");
        writeln!(self.transcript, "# {line}\n{}", said.trim_end()).expect("a string");
    }

    /// For people.
    fn write(&self, name: &str) {
        let text = self.transcript.replace("\n\n", "\n");
        println!("{text}");
        let folder = packages::target().join("transcripts");
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join(format!("{name}-{}.txt", self.service.name));
        fs::write(Path::new(&path), text).expect("a transcript");
    }
}
