//! Where dynuser differs from systemd on purpose, and why. Kept honest by `differential.rs`.

/// Stands for a line that is not there.
pub(crate) const ABSENT: &str = "(absent)";

/// Properties of the recordings that dynuser has not yet. `UMask=` is done by a shell instead.
pub(crate) const NOT_YET: [&str; 4] = [
    "ConfigurationDirectory",
    "LimitCORE",
    "LimitNOFILE",
    "UMask",
];

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
    (
        "status: attr/current",
        "whether the kernel has a security module",
    ),
    ("status: cgroup", "cgroups come with the units"),
    ("paths: /run/systemd*", "systemd's own"),
    ("paths: /run/credentials*", "systemd's own"),
    ("paths: /run/dbus*", "a daemon of that host"),
    ("paths: /run/user*", "a daemon of that host"),
    ("paths: /sys*", "mounted in another way on that host"),
    ("paths: /proc/*", "mounted in another way on that host"),
    ("paths: /dev/kmsg*", "a device of that host"),
    ("paths: /lib/modules*", "that host was a container"),
    ("paths: /boot*", "that host was a container"),
    ("mounts: /run/credentials", "systemd's own"),
];

/// A difference: what both show (`*` for anything), and why ours is meant.
pub(crate) struct Difference {
    pub(crate) key: &'static str,
    systemd: &'static str,
    dynuser: &'static str,
    #[expect(dead_code, reason = "read by people")]
    why: &'static str,
}

impl Difference {
    /// Tells whether this row is about that difference.
    pub(crate) fn explains(&self, key: &str, systemd: &str, dynuser: &str) -> bool {
        self.key == key && matches(self.systemd, systemd) && matches(self.dynuser, dynuser)
    }
}

/// A pattern with at most one `*`.
fn matches(pattern: &str, text: &str) -> bool {
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
        systemd,
        dynuser,
        why,
    }
}

const CAPABILITIES: &str = "all capability sets are empty: nothing can be regained by any exec";
const HOME: &str = "HOME is always set: many programs insist on it (systemd #9652)";
const NO_MANAGER: &str = "there is no manager to talk to";
const EXEC: &str = "state may hold programs (systemd #36295, #38443); nosuid stays";
const NOT_MAPPED: &str = "a new directory belongs to the service on disk, so no mapping is needed";
const NO_DEVICES: &str = "nodev always, whoever the owner on disk is";
const TWO_TMPFS: &str = "a tmpfs each, not two directories in one that nobody else may enter";
const NEXT: &str = "ConfigurationDirectory= comes later";

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
    row("env: CONFIGURATION_DIRECTORY", "/etc/DIR", ABSENT, NEXT),
    row("paths: /etc/DIR", "*", "ENOENT", NEXT),
    row("paths: /etc/DIR flags", "*", ABSENT, NEXT),
    row("mounts: /etc/DIR", "*", ABSENT, NEXT),
];
