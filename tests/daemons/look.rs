//! What the kernel says of a daemon that runs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::host::Daemon;

/// `CAP_NET_BIND_SERVICE`, as a line of `/proc/PID/status`.
pub(crate) const NET_BIND_SERVICE: &str = "0000000000000400";
pub(crate) const NONE: &str = "0000000000000000";

impl Daemon<'_> {
    /// A file of /proc.
    pub(crate) fn read(&self, file: &str) -> String {
        let path = self.proc.join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A path as the daemon sees it.
    pub(crate) fn seen(&self, path: &str) -> PathBuf {
        self.proc.join(format!("root{path}"))
    }

    /// A line of `/proc/PID/status`, its words parted by one blank each.
    pub(crate) fn status(&self, name: &str) -> String {
        let status = self.read("status");
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let words: Vec<&str> = line.expect(name).split_whitespace().collect();
        words.join(" ")
    }

    /// Whether it shares a namespace of this kind with the rest of the host.
    pub(crate) fn shares(&self, kind: &str) -> bool {
        let own = fs::read_link(self.proc.join(format!("ns/{kind}"))).expect("a namespace");
        let arena = &self.host.arena;
        let theirs = arena.within(|| fs::read_link(format!("/proc/1/ns/{kind}")));
        own == theirs.expect("a namespace")
    }

    /// It is its user and nobody else in every way, with these capabilities in all sets, and cannot get more.
    pub(crate) fn assert_identity(&self, capabilities: &str) {
        let uid = self.uid.to_string();
        assert_eq!(self.status("Gid"), [&*uid; 4].join(" "));
        assert_eq!(self.status("Groups"), uid);
        self.assert_user(capabilities);
    }

    /// The same without its groups.
    pub(crate) fn assert_user(&self, capabilities: &str) {
        let uid = self.uid.to_string();
        assert_eq!(self.status("Uid"), [&*uid; 4].join(" "));
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(self.status(set), capabilities, "{set}");
        }
        assert_eq!(self.status("NoNewPrivs"), "1");
        assert_eq!(self.status("Seccomp"), "2");
        // All of its threads are filtered and unprivileged.
        for task in fs::read_dir(self.proc.join("task")).expect("threads") {
            let status = task.expect("a thread").path().join("status");
            let Ok(status) = fs::read_to_string(status) else {
                continue;
            };
            for line in [
                "NoNewPrivs:\t1",
                "Seccomp:\t2",
                &format!("CapEff:\t{capabilities}"),
            ] {
                assert!(status.lines().any(|it| it == line), "{line}: {status}");
            }
        }
        self.assert_knows_itself();
    }

    /// It finds its own name and its own number, by the C library of the host.
    fn assert_knows_itself(&self) {
        // The last of them is its PID in the arena.
        let pids = self.status("NSpid");
        let pid = pids.split(' ').next_back().expect("a PID");
        let uid = self.uid.to_string();
        let inside = ["nsenter", "-m", "-t", pid, "-S", &uid, "-G", &uid];
        let named = self.host.arena.run([&inside[..], &["id", "-un"]].concat());
        assert_eq!(named.ok().trim_end(), self.user);
        let getent = ["getent", "passwd", &self.user];
        let entry = self.host.arena.run([&inside[..], &getent].concat()).ok();
        let start = format!("{}:x:{uid}:", self.user);
        assert!(entry.starts_with(&start), "{entry}");
    }

    /// The mount points of the sandbox, what lies over them last, with their options.
    fn mounts(&self) -> Vec<(String, Vec<String>)> {
        let mut mounts: Vec<(String, Vec<String>)> = Vec::new();
        for line in self.read("mountinfo").lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let options = words[5].split(',').map(Into::into).collect();
            mounts.retain(|(point, _)| point != words[4]);
            mounts.push((words[4].to_owned(), options));
        }
        mounts
    }

    /// The system is read-only but for `own`, nothing gives rights, and the folders for temporary files are its own.
    pub(crate) fn assert_mounts(&self, own: &[&str]) {
        let mounts = self.mounts();
        let has = |options: &[String], option: &str| options.iter().any(|it| it == option);
        let without = |option: &str| -> Vec<&str> {
            let found = mounts.iter().filter(|(_, options)| !has(options, option));
            found.map(|(point, _)| &**point).collect()
        };
        assert_eq!(without("nosuid"), Vec::<&str>::new());
        let mut writable = without("ro");
        // PrivateDevices= makes it read-only.
        writable.retain(|point| *point != "/dev");
        writable.sort_unstable();
        let mut expected = vec!["/dev/pts", "/dev/shm", "/proc", "/tmp", "/var/tmp"];
        expected.extend(own);
        // An arena's /sys belongs to nobody who may change it; ProtectKernelTunables= makes it read-only.
        writable.retain(|point| *point != "/sys");
        expected.sort_unstable();
        assert_eq!(writable, expected);
        for folder in ["/tmp", "/var/tmp"] {
            let seen = fs::metadata(self.seen(folder)).expect(folder);
            let hosts = self
                .host
                .arena
                .within(|| fs::metadata(folder).expect(folder));
            assert_ne!(seen.dev(), hosts.dev(), "{folder}");
            assert_eq!(seen.mode() & 0o7777, 0o1777, "{folder}");
        }
    }

    /// Of /dev it sees what no service can do harm with, and nothing else.
    pub(crate) fn assert_private_devices(&self) {
        let mut names: Vec<String> = fs::read_dir(self.seen("/dev"))
            .expect("/dev")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a name")
            })
            .filter(|name| !["core", "log", "mqueue", "hugepages", "console"].contains(&&**name))
            .collect();
        names.sort_unstable();
        let expected = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero";
        assert_eq!(names.join(" "), expected);
        let mounts = self.mounts();
        let (_, options) = mounts
            .iter()
            .find(|(point, _)| point == "/dev")
            .expect("/dev");
        for option in ["ro", "noexec"] {
            assert!(options.iter().any(|it| it == option), "{options:?}");
        }
    }

    /// What the unit's `ProtectKernelTunables=` and the like have hidden or closed.
    pub(crate) fn assert_kernel_is_closed(&self) {
        let mounts = self.mounts();
        for point in ["/proc/sys", "/proc/irq", "/sys"] {
            let found = mounts.iter().find(|(it, _)| it == point);
            let (_, options) = found.unwrap_or_else(|| panic!("{point} is as on the host"));
            assert!(options.iter().any(|it| it == "ro"), "{point}: {options:?}");
        }
        let modules = fs::metadata(self.seen("/usr/lib/modules"));
        assert!(modules.is_err() || modules.is_ok_and(|it| it.mode() & 0o777 == 0));
    }
}
