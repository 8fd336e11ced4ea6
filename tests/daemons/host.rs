//! Daemons of Debian's packages in an arena, each started from its own unit file, as a supervisor starts it.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use crate::support::{Arena, PATIENCE, Running, dynamic_uid, wait_until};

/// Where Debian's packages have their units.
pub(crate) const UNITS: &str = "/lib/systemd/system";

/// Where a supervisor that understands sd_notify(3) listens.
const SUPERVISOR: &str = "/run/supervisor";

/// A daemon that is to be started.
#[derive(Clone, Copy)]
pub(crate) struct Start<'a> {
    /// Its unit file, as the package has it.
    pub(crate) file: &'a str,
    /// What the unit is called, if not like the file.
    pub(crate) instance: Option<&'a str>,
    /// The name of its process.
    pub(crate) program: &'a str,
}

impl<'a> Start<'a> {
    pub(crate) fn new(file: &'a str, program: &'a str) -> Self {
        Self {
            file,
            instance: None,
            program,
        }
    }

    pub(crate) fn instance(self, instance: &'a str) -> Self {
        Self {
            instance: Some(instance),
            ..self
        }
    }

    /// The words that start it.
    pub(crate) fn words(&self) -> Vec<String> {
        let file = format!("{UNITS}/{}", self.file);
        let named = self.instance.map(|name| ["-u", name]);
        let words = ["dynuser", "run", "--unit-file", &file].into_iter();
        words
            .chain(named.into_iter().flatten())
            .map(Into::into)
            .collect()
    }

    /// Starts it, and waits until the process that was started is the daemon.
    pub(crate) fn in_place<'h>(&self, host: &'h Host) -> Daemon<'h> {
        host.in_place(host.arena.spawn(self.words()), self)
    }

    /// The same with a supervisor that is told when it is ready. What it was told besides is the answer.
    pub(crate) fn until_ready<'h>(&self, host: &'h Host) -> (Daemon<'h>, String) {
        let supervisor = host.supervisor();
        let command = host.arena.command(self.words());
        let running = command.env("NOTIFY_SOCKET", SUPERVISOR).spawn();
        let daemon = host.in_place(running, self);
        (daemon, until_ready(&supervisor))
    }

    /// Starts it with such a supervisor, where `dynuser` has something to do later, and stays as its parent.
    pub(crate) fn behind_us<'h>(&self, host: &'h Host) -> Daemon<'h> {
        let supervisor = host.supervisor();
        let command = host.arena.command(self.words());
        let mut running = command.env("NOTIFY_SOCKET", SUPERVISOR).spawn();
        until_ready(&supervisor);
        running.wait_exec("dynuser");
        host.behind_us(running, self)
    }
}

/// Waits for `READY=1`. The answer is the message.
fn until_ready(supervisor: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    loop {
        let length = supervisor.recv(&mut buffer).expect("READY=1");
        let told = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if told.lines().any(|line| line == "READY=1") {
            return told;
        }
    }
}

/// A host for a daemon.
pub(crate) struct Host {
    pub(crate) arena: Arena,
    /// What was there before.
    disk: String,
    mounts: Vec<String>,
}

impl Host {
    /// A host as `arena` is now.
    pub(crate) fn new(arena: Arena) -> Self {
        // The daemon of dynuser is there already, and so is everything that it makes once.
        arena.run(["dynuser", "list"]).ok();
        let (disk, mounts) = (arena.disk(), mount_points(&arena));
        Self {
            arena,
            disk,
            mounts,
        }
    }

    fn supervisor(&self) -> UnixDatagram {
        let socket = self.arena.within(|| {
            let socket = UnixDatagram::bind(SUPERVISOR).expect("a socket");
            // As systemd's: who may write to it is told by the credentials of the message.
            let mode = fs::Permissions::from_mode(0o777);
            fs::set_permissions(SUPERVISOR, mode).expect("chmod");
            socket
        });
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        socket
    }

    /// What was started becomes the daemon, with its process ID.
    pub(crate) fn in_place(&self, mut running: Running, start: &Start<'_>) -> Daemon<'_> {
        running.wait_exec(start.program);
        let proc = running.proc("");
        self.daemon(running, proc)
    }

    /// What was started is the parent of the daemon, its only child.
    pub(crate) fn behind_us(&self, running: Running, start: &Start<'_>) -> Daemon<'_> {
        let task = fs::read_dir(running.proc("task")).expect("threads").next();
        let children = task
            .expect("a thread")
            .expect("a thread")
            .path()
            .join("children");
        let child = fs::read_to_string(children).expect("its children");
        let proc = PathBuf::from(format!("/proc/{}", child.trim_end()));
        let name = fs::read_to_string(proc.join("comm")).expect("one child");
        assert_eq!(name.trim_end(), start.program);
        self.daemon(running, proc)
    }

    fn daemon(&self, running: Running, proc: PathBuf) -> Daemon<'_> {
        let pid: u64 = running.pid().parse().expect("a PID");
        let leases = self.arena.list();
        let lease = leases
            .iter()
            .find(|lease| lease["pid"] == pid)
            .unwrap_or_else(|| panic!("no lease of {pid} in {leases:?}"));
        Daemon {
            host: self,
            uid: dynamic_uid(&lease["uid"].to_string()),
            user: lease["name"].as_str().expect("a name").to_owned(),
            running,
            proc,
        }
    }

    /// A connection to a port of the arena's loopback interface, if somebody listens there.
    pub(crate) fn connect(&self, port: u16) -> Option<TcpStream> {
        let tried = || TcpStream::connect(("127.0.0.1", port));
        match self.arena.within(tried) {
            Ok(stream) => {
                let patience = stream.set_read_timeout(Some(PATIENCE));
                patience.map(|()| stream).ok()
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
                None
            }
        }
    }

    /// Nothing is left of a service that has ended, but what is below `kept`.
    pub(crate) fn assert_nothing_left(&self, uids: &[u32], kept: &[&str]) {
        self.arena.wait_until_idle();
        let owners = self.arena.run(["ps", "-e", "-o", "uid="]).ok();
        for uid in uids {
            let uid = uid.to_string();
            assert!(owners.lines().all(|owner| owner.trim() != uid), "{owners}");
            assert_eq!(
                self.arena.run(["getent", "passwd", &uid]).status.code(),
                Some(2)
            );
        }
        let _gone = self.arena.within(|| fs::remove_file(SUPERVISOR));
        let disk = self.arena.disk();
        let new: Vec<&str> = disk
            .lines()
            .filter(|line| !self.disk.lines().any(|old| old == *line))
            .filter(|line| !kept.iter().any(|path| line.starts_with(path)))
            .collect();
        assert_eq!(new, Vec::<&str>::new());
        assert_eq!(mount_points(&self.arena), self.mounts);
    }
}

fn mount_points(arena: &Arena) -> Vec<String> {
    let point = |line: String| line.split(' ').nth(4).expect("a mount point").to_owned();
    arena.mounts().into_iter().map(point).collect()
}

/// Reads until what was read ends with `end`, or has `length` bytes.
pub(crate) fn read_until(stream: &mut impl Read, end: &[u8], length: usize) -> Vec<u8> {
    let mut read = Vec::new();
    let mut byte = [0];
    while read.len() < length && !read.ends_with(end) {
        let count = stream.read(&mut byte).expect("an answer");
        assert_eq!(count, 1, "ended after {:?}", String::from_utf8_lossy(&read));
        read.extend(byte);
    }
    read
}

/// A daemon that runs.
pub(crate) struct Daemon<'a> {
    pub(crate) host: &'a Host,
    running: Running,
    pub(crate) user: String,
    pub(crate) uid: u32,
    /// Its directory in /proc of the host.
    pub(crate) proc: PathBuf,
}

impl Daemon<'_> {
    /// A connection to a port of it, as soon as it listens.
    pub(crate) fn connect(&mut self, port: u16) -> TcpStream {
        let mut stream = None;
        wait_until(&format!("it listens on port {port}"), || {
            assert!(self.running.runs(), "it ended before it listened");
            stream = self.host.connect(port);
            stream.is_some()
        });
        stream.expect("a connection")
    }

    /// Ends it as supervisors do. The answer is its exit status, as a shell tells it.
    pub(crate) fn stop(self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let status = self.running.stop();
        let signal = status.signal().map(|signal| signal + 128);
        status.code().or(signal).expect("an end")
    }
}
