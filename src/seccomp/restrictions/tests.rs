//! A plain evaluation of rules, to compare programs with: word by word from the manual, and not from the program.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use crate::directives::Settings;
use crate::seccomp::machine::X32_BIT;
use crate::seccomp::program::{ALLOW, ERRNO, KILL_PROCESS, LOG};
use crate::seccomp::{Machine, Rules};
use crate::syscall_sets::expand;
use crate::syscall_sets::numbers::Table;

/// Assignments of which random ones are put together, in this order.
pub(in crate::seccomp) const ASSIGNMENTS: [(&str, &str); 26] = [
    ("SystemCallErrorNumber", "ENOTTY"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallFilter", "~@privileged @resources"),
    ("SystemCallFilter", "~socket shmat:EIO @clock:kill openat:9"),
    ("SystemCallFilter", "@mount clone"),
    ("SystemCallFilter", "~@obsolete uname:0"),
    ("SystemCallLog", "@file-system socket"),
    ("SystemCallLog", "~@default"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallArchitectures", "x86 arm"),
    ("SystemCallArchitectures", "x32"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
    ("RestrictAddressFamilies", "~AF_PACKET"),
    ("RestrictAddressFamilies", "none"),
    ("RestrictNamespaces", "yes"),
    ("RestrictNamespaces", "uts net"),
    ("RestrictNamespaces", "~user"),
    ("RestrictRealtime", "yes"),
    ("LockPersonality", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("RestrictRealtime", "no"),
];

pub(in crate::seccomp) type Assignment = (&'static str, &'static str);

static SETS: LazyLock<BTreeMap<&str, BTreeSet<&str>>> = LazyLock::new(|| {
    let words = ASSIGNMENTS
        .iter()
        .filter(|(name, _)| name.starts_with("SystemCall"));
    let words = words.flat_map(|(_, value)| value.trim_start_matches('~').split(' '));
    let names = words.map(|word| word.split(':').next().unwrap());
    let all = names.chain(["@default", "@clock", "@module"]);
    all.filter_map(|name| Some((name, expand(name).ok()?)))
        .collect()
});

pub(in crate::seccomp) static CALLS: LazyLock<BTreeMap<u32, BTreeMap<u32, &str>>> =
    LazyLock::new(|| {
        let tables = [
            (0xC000_003E, Table::X86_64),
            (0x4000_0003, Table::X86),
            (0xC000_00B7, Table::Aarch64),
            (0x4000_0028, Table::Arm),
            (0xC000_00F3, Table::Riscv64),
        ];
        let all = |table: Table| table.calls().into_iter().collect();
        tables.map(|(arch, table)| (arch, all(table))).into()
    });

pub(in crate::seccomp) fn rules(
    assignments: &[Assignment],
    set_id: bool,
    no_io_uring: bool,
) -> Rules {
    let mut settings = Settings::default();
    for (name, value) in assignments {
        settings.assign(name, value).unwrap();
    }
    Rules {
        set_id,
        no_io_uring,
        personality: 0x0004_0000,
        filters: settings.filters,
        ..Rules::default()
    }
}

/// What the assignments mean, for one call, word by word.
pub(in crate::seccomp) struct Plain<'a> {
    pub(in crate::seccomp) assignments: &'a [Assignment],
    pub(in crate::seccomp) set_id: bool,
    pub(in crate::seccomp) no_io_uring: bool,
}

impl Plain<'_> {
    fn values(&self, directive: &str) -> Vec<&'static str> {
        let of = self
            .assignments
            .iter()
            .filter(|(name, _)| *name == directive);
        of.map(|(_, value)| *value).collect()
    }

    fn yes(&self, directive: &str) -> bool {
        self.values(directive).last() == Some(&"yes")
    }

    /// Whether the list holds a name, with its error; `Some("")` stands for none.
    fn listed(&self, directive: &str, name: &str) -> (bool, Option<&'static str>, bool) {
        let values = self.values(directive);
        let allow = values.first().is_some_and(|value| !value.starts_with('~'));
        let (mut listed, mut removed) = (None, false);
        if allow && directive == "SystemCallFilter" && SETS["@default"].contains(name) {
            listed = Some("");
        }
        for value in values {
            let inverted = value.starts_with('~');
            for word in value.trim_start_matches('~').split(' ') {
                let (word, error) = word.split_once(':').unwrap_or((word, ""));
                if !SETS[word].contains(name) {
                } else if inverted != allow || !error.is_empty() {
                    (listed, removed) = (Some(error), false);
                } else {
                    (listed, removed) = (None, true);
                }
            }
        }
        (allow, listed, removed)
    }

    /// Whether the list lets a name pass, or with which error it does not.
    fn passes(&self, directive: &str, name: &str, outer: Option<&str>) -> Result<(), &'static str> {
        if self.values(directive).is_empty() {
            return Ok(());
        }
        let (allow, listed, removed) = self.listed(directive, name);
        let outer = outer.and_then(|outer| self.listed(directive, outer).1);
        match (allow, listed) {
            (true, Some("")) => Ok(()),
            (true, None) if !removed && outer == Some("") => Ok(()),
            (true, error) => Err(error.unwrap_or("")),
            (false, error) => error.or(outer).map_or(Ok(()), Err),
        }
    }

    pub(in crate::seccomp) fn verdict(
        &self,
        machine: Machine,
        arch: u32,
        number: u32,
        arguments: [u64; 6],
    ) -> u32 {
        let own = |arch| match machine {
            Machine::X86_64 => [0xC000_003E, 0x4000_0003].contains(&arch),
            Machine::Aarch64 => [0xC000_00B7, 0x4000_0028].contains(&arch),
            Machine::Riscv64 => arch == 0xC000_00F3,
        };
        let named = self.values("SystemCallArchitectures").join(" ");
        let named = |name| named.is_empty() || named.split(' ').any(|word| word == name);
        let x32 = arch == 0xC000_003E && (X32_BIT..u32::MAX).contains(&number);
        if !own(arch)
            || (arch == 0x4000_0003 && !named("x86"))
            || (arch == 0x4000_0028 && !named("arm"))
            || (x32 && !named("x32"))
        {
            return KILL_PROCESS;
        }
        let number = if arch == 0xC000_003E {
            number & !X32_BIT
        } else {
            number
        };
        match CALLS[&arch].get(&number) {
            Some(name) => self.judge(arch, name, arguments.map(|argument| argument as u32)),
            None => self.unknown(),
        }
    }

    fn unknown(&self) -> u32 {
        let first = |directive| {
            self.values(directive)
                .first()
                .map(|value| value.starts_with('~'))
        };
        match (first("SystemCallFilter"), first("SystemCallLog")) {
            (Some(false), _) => ERRNO | 38,
            (_, Some(true)) => LOG,
            _ => ALLOW,
        }
    }

    fn judge(&self, arch: u32, name: &str, arguments: [u32; 6]) -> u32 {
        let inner = match (arch, name, arguments[0]) {
            (0x4000_0003, "socketcall", 1) => "socket",
            (0x4000_0003, "socketcall", 8) => "socketpair",
            (0x4000_0003, "ipc", call) if call & 0xffff == 21 => "shmat",
            _ => name,
        };
        let outer = (inner != name).then_some(name);
        // The other members are in the same sets as the call that stands for them.
        match self.passes("SystemCallFilter", inner, outer) {
            Err("kill") => return KILL_PROCESS,
            Err("EIO") => return ERRNO | 5,
            Err("") if self.values("SystemCallErrorNumber").is_empty() => return KILL_PROCESS,
            Err("") => return ERRNO | 25,
            Err(number) => return ERRNO | number.parse::<u32>().unwrap(),
            Ok(()) => {}
        }
        if let Some(errno) = self.refused(arch, inner, outer == Some("socketcall"), arguments) {
            return ERRNO | errno;
        }
        let logs = !self.values("SystemCallLog").is_empty();
        match logs && self.passes("SystemCallLog", inner, outer).is_ok() {
            true => LOG,
            false => ALLOW,
        }
    }

    fn refused(
        &self,
        arch: u32,
        name: &str,
        blind: bool,
        [a, b, c, d, ..]: [u32; 6],
    ) -> Option<u32> {
        let set_id = |mode: u32| mode & 0o6000 != 0;
        let makes = |flags: u32| flags & 0o20_000_100 != 0;
        let refused = match name {
            "chmod" | "fchmod" | "mkdir" | "mknod" | "creat" => self.set_id && set_id(b),
            "fchmodat" | "fchmodat2" | "mkdirat" | "mknodat" => self.set_id && set_id(c),
            "open" => self.set_id && makes(b) && set_id(c),
            "openat" => self.set_id && makes(c) && set_id(d),
            "ioctl" => self.set_id && (b == 0x5412 || b == 0x541C),
            "keyctl" => self.set_id && a == 5,
            "io_uring_setup" => {
                self.no_io_uring || !self.values("RestrictAddressFamilies").is_empty()
            }
            "socket" | "socketpair" => return self.no_socket(name, blind, a, b).then_some(97),
            "clone3" => return (self.forbidden_namespaces() != 0).then_some(38),
            "clone" => a & self.forbidden_namespaces() & !0x80 != 0,
            "unshare" => a & self.forbidden_namespaces() != 0,
            "setns" => {
                let forbidden = self.forbidden_namespaces();
                forbidden != 0 && (b == 0 || b & forbidden != 0 || forbidden == 0x7E02_0080)
            }
            "mmap" if arch == 0x4000_0003 || arch == 0x4000_0028 => {
                self.yes("MemoryDenyWriteExecute")
            }
            "mmap" | "mmap2" => self.yes("MemoryDenyWriteExecute") && c & 6 == 6,
            "mprotect" | "pkey_mprotect" => self.yes("MemoryDenyWriteExecute") && c & 4 != 0,
            "shmat" => self.yes("MemoryDenyWriteExecute") && c & 0o100_000 != 0,
            "personality" if a == u32::MAX => false,
            "personality" => {
                (self.yes("MemoryDenyWriteExecute") && a & 0x0040_0000 != 0)
                    || (self.yes("LockPersonality") && a != 0x0004_0000)
            }
            "sched_setattr" => self.yes("RestrictRealtime"),
            "sched_setscheduler" => {
                self.yes("RestrictRealtime") && ![0, 3, 5].contains(&(b & !0x4000_0000))
            }
            "sethostname" | "setdomainname" => self.yes("ProtectHostname"),
            "syslog" => self.yes("ProtectKernelLogs"),
            "_sysctl" => self.yes("ProtectKernelTunables"),
            "stime" => self.yes("ProtectClock"),
            other => {
                (self.yes("ProtectClock") && SETS["@clock"].contains(other))
                    || (self.yes("ProtectKernelModules") && SETS["@module"].contains(other))
            }
        };
        refused.then_some(1)
    }

    fn no_socket(&self, name: &str, blind: bool, family: u32, kind: u32) -> bool {
        let values = self.values("RestrictAddressFamilies");
        if values.is_empty() || blind {
            return !values.is_empty();
        }
        // Of the three values only these combinations are there; the last `none` wins, `~` adds to a deny list.
        let allow = values.last() == Some(&"none") || !values[0].starts_with('~');
        let listed: &[u32] = match (values.as_slice(), allow) {
            ([.., "none"], _) => &[],
            (_, true) => &[1, 2, 10],
            (_, false) => &[17],
        };
        let permits = |family: u32| listed.contains(&family) == allow;
        if name == "socketpair" && family == 1 {
            return false;
        }
        let old_packet = name == "socket" && family == 2 && kind & 0xf == 10;
        !permits(family) || (old_packet && !permits(17))
    }

    fn forbidden_namespaces(&self) -> u32 {
        const ALL: u32 = 0x7E02_0080;
        const UTS_NET: u32 = 0x4400_0000;
        const USER: u32 = 0x1000_0000;
        ALL & !match self.values("RestrictNamespaces").as_slice() {
            [] => ALL,
            ["yes"] | ["yes", "~user"] => 0,
            ["~user"] => ALL & !USER,
            // `~user` takes away what is not there.
            ["yes", "uts net", ..] | ["uts net", ..] => UTS_NET,
            other => panic!("{other:?}"),
        }
    }
}
