//! Where dynuser differs from systemd on purpose, and why. Kept honest by `differential.rs`.

/// Stands for a line that is not there.
pub(crate) const ABSENT: &str = "(absent)";

/// Lines that describe the host of the recording rather than the sandbox, with the reason. A `*`
/// at the end stands for anything.
pub(crate) const NOT_COMPARED: &[(&str, &str)] = &[
    (
        "status: Name",
        "the probe is started through a shell where UMask= is wanted",
    ),
    ("status: NSpid", "a number"),
    ("status: ppid", "the PID of whoever started it"),
    (
        "status: SigIgn",
        "inherited, and the probe's own: Python ignores SIGPIPE and SIGXFSZ",
    ),
    ("status: Speculation*", "the CPU's"),
    ("status: Cpus_allowed_list", "the machine's"),
    ("status: CoreDumping", "the kernel's"),
    ("status: THP_enabled", "the kernel's"),
    ("status: coredump_filter", "inherited"),
    ("status: loginuid", "inherited"),
    ("status: sessionid", "inherited"),
    ("status: oom_score_adj", "inherited"),
    ("status: nice", "inherited"),
    (
        "status: attr/current",
        "whether the kernel has a security module",
    ),
    ("status: cgroup", "cgroups come with the units"),
    ("paths: /run/systemd*", "systemd's own"),
    ("paths: /run/credentials*", "systemd's own"),
    ("paths: /run/dbus*", "a daemon of that host"),
    (
        "paths: /sys/fs/cgroup*",
        "not mounted in an arena: it would be the host's",
    ),
    (
        "mounts: /sys/fs/cgroup*",
        "not mounted in an arena: it would be the host's",
    ),
    ("/dev: log", "a daemon of that host"),
    ("/dev: hugepages", "mounted on that host"),
    ("/dev: core", "that host had no /proc/kcore"),
    ("paths: /proc/kcore*", "that host had no /proc/kcore"),
    ("paths: /dev/kmsg*", "a device of that host"),
    ("paths: /lib/modules*", "that host was a container"),
    ("paths: /boot*", "that host was a container"),
    ("mounts: /run/credentials", "systemd's own"),
];

/// A difference: what both show (`*` for anything), and why ours is meant.
pub(crate) struct Difference {
    pub(crate) key: &'static str,
    /// The recordings that it is of; empty: any.
    only: &'static [&'static str],
    systemd: &'static str,
    dynuser: &'static str,
    #[expect(dead_code, reason = "read by people")]
    why: &'static str,
}

impl Difference {
    /// Tells whether this row is about that difference.
    pub(crate) fn explains(&self, number: &str, key: &str, systemd: &str, dynuser: &str) -> bool {
        (self.only.is_empty() || self.only.contains(&number))
            && matches(self.key, key)
            && matches(self.systemd, systemd)
            && matches(self.dynuser, dynuser)
    }

    /// The same, in these recordings alone.
    const fn only(self, only: &'static [&'static str]) -> Self {
        Self { only, ..self }
    }
}

/// A pattern with at most one `*`.
fn matches(pattern: &str, text: &str) -> bool {
    if text == ABSENT {
        return pattern == ABSENT || pattern == "*";
    }
    match pattern.split_once('*') {
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
        None => pattern == text,
    }
}

const fn row(
    key: &'static str,
    systemd: &'static str,
    dynuser: &'static str,
    why: &'static str,
) -> Difference {
    Difference {
        key,
        only: &[],
        systemd,
        dynuser,
        why,
    }
}

const CAPABILITIES: &str = "all capability sets are empty: nothing can be regained by any exec";
const HOME: &str = "HOME is always set: many programs insist on it (systemd #9652)";
const RECORD: &str = "the record's home is the service's: ssh, git, pip and others look there (systemd #19537, #43727)";
const MEMBERS: &str = "whoever has a group is told to be in it (systemd #4539)";
const NO_MANAGER: &str = "there is no manager to talk to";
const EXEC: &str = "state may hold programs (systemd #36295, #38443); nosuid stays";
const NOT_MAPPED: &str = "a new directory belongs to the service on disk, so no mapping is needed";
const NO_DEVICES: &str = "nodev always, whoever the owner on disk is";
const TWO_TMPFS: &str = "a tmpfs each, not two directories in one that nobody else may enter";
const ALWAYS_TMPFS: &str = "disconnected, whatever is said: nothing stays on the host's disk";
const OVER: &str = "mounted over the host's, where systemd takes that away first";
const HIDDEN: &str =
    "debugfs and tracefs are hidden, not left to their mode: root inside sees nothing either";
const RUN: &str =
    "/run stays read-only under any combination; systemd forgets it once there are more mounts";
const ADMINISTRATORS: &str = "the configuration is the administrator's: systemd gives it to the service, which may rewrite it";

/// The record of every dynamic user of systemd's.
const NO_HOME: &str = "('NAME', 'x', UID, UID, 'Dynamic User', '/', '/usr/sbin/nologin')";

/// The flags of an id-mapped directory under systemd.
const MAPPED: &str = "rw,nosuid,nodev,noexec,idmapped";
/// The flags of every directory of ours.
const OWNED: &str = "rw,nosuid,nodev";

/// /tmp and /var/tmp under systemd.
const SHARED_TMPFS: &str = "rw,nosuid,nodev tmpfs nr_inodes=409600,mode=700";
/// Ours: mode 1777 is the default, and not shown.
const OWN_TMPFS: &str = "rw,nosuid,nodev tmpfs nr_inodes=409600";

/// Every deliberate difference.
pub(crate) const DIFFERENCES: &[Difference] = &[
    row(
        "status: CapInh",
        "0000000000200100",
        "0000000000000000",
        CAPABILITIES,
    ),
    row(
        "status: CapBnd",
        "000001fffeffffff",
        "0000000000000000",
        CAPABILITIES,
    ),
    row("status: Seccomp_filters", "3", "1", "one filter does it"),
    row("env: HOME", ABSENT, "/", HOME),
    row("env: HOME", ABSENT, "/var/lib/DIR", HOME),
    row(
        "id: getpwuid",
        NO_HOME,
        "('NAME', 'x', UID, UID, 'Dynamic User', '/var/lib/DIR', '/usr/sbin/nologin')",
        RECORD,
    ),
    row(
        "id: getpwuid",
        NO_HOME,
        "('NAME', 'x', UID, UID, 'Dynamic User', '/run/DIR', '/usr/sbin/nologin')",
        RECORD,
    ),
    row(
        "id: getgrgid",
        "('mygroup', 'x', GID, [])",
        "('mygroup', 'x', GID, ['NAME'])",
        MEMBERS,
    ),
    row("env: MEMORY_PRESSURE_WATCH", "*", ABSENT, NO_MANAGER),
    row("env: MEMORY_PRESSURE_WRITE", "*", ABSENT, NO_MANAGER),
    row("env: SYSTEMD_EXEC_PID", "*", ABSENT, NO_MANAGER),
    row("attempts: exec from /var/lib/DIR", "EACCES", "OK", EXEC),
    row("attempts: exec from /var/cache/DIR", "EACCES", "OK", EXEC),
    row("attempts: exec from /var/log/DIR", "EACCES", "OK", EXEC),
    row("paths: /var/lib/DIR flags", MAPPED, OWNED, NOT_MAPPED),
    row(
        "paths: /var/lib/private/DIR flags",
        MAPPED,
        OWNED,
        NOT_MAPPED,
    ),
    row("mounts: /var/lib/private/DIR", MAPPED, OWNED, NOT_MAPPED),
    row("paths: /var/cache/DIR flags", MAPPED, OWNED, NOT_MAPPED),
    row(
        "paths: /var/cache/private/DIR flags",
        MAPPED,
        OWNED,
        NOT_MAPPED,
    ),
    row("mounts: /var/cache/private/DIR", MAPPED, OWNED, NOT_MAPPED),
    row("paths: /var/log/DIR flags", MAPPED, OWNED, NOT_MAPPED),
    row(
        "paths: /var/log/private/DIR flags",
        MAPPED,
        OWNED,
        NOT_MAPPED,
    ),
    row("mounts: /var/log/private/DIR", MAPPED, OWNED, NOT_MAPPED),
    row("paths: /var/lib/DIR flags", "rw,nosuid", OWNED, NO_DEVICES),
    row(
        "paths: /var/lib/private/DIR flags",
        "rw,nosuid",
        OWNED,
        NO_DEVICES,
    ),
    row(
        "mounts: /var/lib/private/DIR",
        "rw,nosuid",
        OWNED,
        NO_DEVICES,
    ),
    row("mounts: /tmp", SHARED_TMPFS, OWN_TMPFS, TWO_TMPFS),
    row("mounts: /var/tmp", SHARED_TMPFS, OWN_TMPFS, TWO_TMPFS),
    row(
        "paths: /etc/DIR",
        "drwxr-xr-x UID:UID list=ok create=OK(-rw-r--r-- UID:UID)",
        "drwxr-xr-x 0:0 list=ok create=EROFS",
        ADMINISTRATORS,
    ),
    row(
        "paths: /etc/DIR flags",
        "rw,nosuid",
        "ro,nosuid",
        ADMINISTRATORS,
    ),
    row(
        "mounts: /etc/DIR",
        "rw,nosuid",
        ABSENT,
        "it is read-only as the rest of /etc is",
    ),
    row("env: HOME", ABSENT, "/run/DIR", HOME),
    row("attempts: exec from /run/DIR", "EACCES", "OK", EXEC),
    row("paths: /run/DIR flags", MAPPED, OWNED, NOT_MAPPED),
    row("paths: /run/private/DIR flags", MAPPED, OWNED, NOT_MAPPED),
    row("mounts: /run/private/DIR", MAPPED, OWNED, NOT_MAPPED),
    // PrivateTmp=yes beside DynamicUser=yes.
    row(
        "mounts: /tmp",
        "rw,nosuid,nodev tmpfs ",
        OWN_TMPFS,
        ALWAYS_TMPFS,
    )
    .only(&["11"]),
    row(
        "mounts: /var/tmp",
        "rw,nosuid ext4 ",
        OWN_TMPFS,
        ALWAYS_TMPFS,
    )
    .only(&["11"]),
    row("paths: /var/tmp flags", "rw,nosuid", OWNED, ALWAYS_TMPFS).only(&["11"]),
    row("statvfs: /*tmp", "*", "409600", ALWAYS_TMPFS).only(&["11"]),
    // ProtectHome=
    row(
        "mounts: /*",
        "ro,nosuid,nodev,noexec tmpfs mode=755",
        "ro,nosuid,nodev,noexec tmpfs nr_inodes=1,mode=000",
        "an empty file system of its own, not a directory of the manager's that all share",
    )
    .only(&["12"]),
    row(
        "mounts: /*",
        "ro,nosuid,nodev tmpfs size=4096k,nr_inodes=1024,mode=7*",
        "ro,nosuid,nodev tmpfs nr_inodes=409600,mode=755",
        "as TemporaryFileSystem= makes them; read-only either way",
    )
    .only(&["13"]),
    row(
        "paths: /root",
        "drwx------ 0:0 list=EACCES create=EACCES",
        "drwxr-xr-x 0:0 list=ok create=EROFS",
        "it is empty: there is nothing to hide",
    )
    .only(&["13"]),
    // The whole block of hardening.
    row(
        "/dev: char",
        "there",
        ABSENT,
        "a directory of links for udev",
    )
    .only(&["15"]),
    row("mounts: /dev*", ABSENT, "*", OVER).only(&["15"]),
    row(
        "mounts: /proc",
        ABSENT,
        "rw,nosuid,nodev,noexec proc ",
        OVER,
    )
    .only(&["15", "27"]),
    row(
        "mounts: /sys/kernel/*",
        ABSENT,
        "ro,nosuid,nodev,noexec tmpfs nr_inodes=1,mode=000",
        HIDDEN,
    )
    .only(&["15"]),
    row(
        "paths: /sys/kernel/*",
        "drwx------ 0:0 list=EACCES create=EACCES",
        "d--------- 0:0 list=EACCES create=EACCES",
        HIDDEN,
    )
    .only(&["15"]),
    row(
        "mounts: /run/user",
        "ro,nosuid,nodev tmpfs mode=755",
        ABSENT,
        RUN,
    )
    .only(&["15", "27"]),
    row("paths: /run", "*create=EACCES", "*create=EROFS", RUN).only(&["15", "27"]),
    row(
        "paths: /run flags",
        "rw,nosuid,nodev",
        "ro,nosuid,nodev",
        RUN,
    )
    .only(&["15", "27"]),
    row(
        "paths: /run/lock",
        "*create=OK(-rw-r--r-- UID:UID)",
        "*create=EROFS",
        RUN,
    )
    .only(&["15", "27"]),
    row(
        "paths: /run/lock flags",
        "rw,nosuid,nodev",
        "ro,nosuid,nodev",
        RUN,
    )
    .only(&["15", "27"]),
    row("status: Seccomp_filters", "34", "1", "one filter does it").only(&["15"]),
    row(
        "status: personality",
        "-0x1",
        "0x0",
        "LockPersonality=: to ask which one it is changes nothing",
    )
    .only(&["15"]),
    row(
        "status: CapBnd",
        "000001ffffffffff",
        "0000000000000000",
        CAPABILITIES,
    )
    .only(&["20"]),
    row(
        "status: setgroups",
        "deny",
        "allow",
        "allowed to whoever has CAP_SETGID in there, which is nobody",
    )
    .only(&["20"]),
    row(
        "mounts: /run/credentials/*",
        "ro,nosuid,nodev,noexec tmpfs nr_inodes=1024,mode=700",
        "ro,nosuid,nodev,noexec tmpfs nr_inodes=4096,mode=700",
        "more of them",
    )
    .only(&["21"]),
    row("statvfs: /var/tmp", "16777216", "*", "another disk").only(&["23"]),
    row(
        "paths: /var/lib/*DIR flags",
        "rw,nosuid,nodev,idmapped",
        OWNED,
        NOT_MAPPED,
    )
    .only(&["25"]),
    row(
        "mounts: /var/lib/private/DIR",
        "rw,nosuid,nodev,idmapped",
        OWNED,
        NOT_MAPPED,
    )
    .only(&["25"]),
];
