//! Which calls a restriction is about, and what it looks at in them.

use std::collections::BTreeMap;

use super::Rules;
use super::body::Body;
use super::program::{ERRNO, Word};
use crate::directives::filters::{
    AF_INET, AF_PACKET, AF_UNIX, ALL_NAMESPACES, Families, TIME_NAMESPACE,
};
use crate::syscall_sets::members;
use crate::syscall_sets::numbers::Table;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const EAFNOSUPPORT: u32 = 97;

/// What is refused of a call. The numbers are those of its arguments, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// All of it.
    Always,
    /// An argument with one of these bits.
    AnyBit { argument: u32, bits: u32 },
    /// The same, but for one value.
    AnyBitBut { argument: u32, bits: u32, but: u32 },
    /// An argument with both of these bits.
    BothBits { argument: u32, bits: [u32; 2] },
    /// A mode with set-ID bits, which counts only if the flags before it say that a file is made.
    ModeIfCreated { flags: u32, mode: u32 },
    /// An argument that is, under a mask, one of these values; or that is none of them.
    Values {
        argument: u32,
        mask: u32,
        values: Vec<u32>,
        listed: bool,
    },
    /// `socket(AF_INET, SOCK_PACKET)`, which the kernel takes for one of `AF_PACKET` (net/socket.c).
    PacketByOldName,
}

/// A restriction of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Restriction {
    pub(super) refused: Refused,
    pub(super) errno: u32,
}

/// All restrictions, by the name of the call.
pub(super) type Restrictions = BTreeMap<&'static str, Vec<Restriction>>;

impl Restriction {
    /// This look, and what comes after it.
    pub(super) fn before(&self, next: Body) -> Body {
        let refused = Body::Verdict(ERRNO | self.errno);
        match &self.refused {
            Refused::Always => refused,
            Refused::AnyBit { argument, bits } => Body::any_bit(*argument, *bits, refused, next),
            Refused::AnyBitBut {
                argument,
                bits,
                but,
            } => {
                let looked = Body::any_bit(*argument, *bits, refused, next.clone());
                Body::values(Word::argument(*argument), u32::MAX, [(*but, next)], &looked)
            }
            Refused::BothBits {
                argument,
                bits: [one, other],
            } => {
                let other = Body::any_bit(*argument, *other, refused, next.clone());
                Body::any_bit(*argument, *one, other, next)
            }
            Refused::ModeIfCreated { flags, mode } => {
                let mode = Body::any_bit(*mode, S_ISUID_OR_S_ISGID, refused, next.clone());
                Body::any_bit(*flags, O_CREAT_OR_TMPFILE, mode, next)
            }
            Refused::Values {
                argument,
                mask,
                values,
                listed,
            } => {
                let (inside, outside) = match listed {
                    true => (refused, next),
                    false => (next, refused),
                };
                let values = values.iter().map(|value| (*value, inside.clone()));
                Body::values(Word::argument(*argument), *mask, values, &outside)
            }
            Refused::PacketByOldName => {
                let kind = [(SOCK_PACKET, refused)];
                let inet = Body::values(Word::argument(1), SOCK_TYPE_MASK, kind, &next);
                Body::values(Word::argument(0), u32::MAX, [(AF_INET, inet)], &next)
            }
        }
    }

    /// The same for a call whose arguments cannot be seen: what may be forbidden is.
    pub(super) fn blindly(&self) -> Self {
        Self {
            refused: Refused::Always,
            ..self.clone()
        }
    }
}

const S_ISUID_OR_S_ISGID: u32 = 0o6000;
/// `O_CREAT`, and the bit that makes `O_TMPFILE` more than `O_DIRECTORY`: the kernel uses the mode when one of the two is
/// set. Both have these values on every machine that there is a filter for.
const O_CREAT_OR_TMPFILE: u32 = 0o100 | 0o20_000_000;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541C;
const KEYCTL_SETPERM: u32 = 5;
const PROT_WRITE: u32 = 2;
const PROT_EXEC: u32 = 4;
const SHM_EXEC: u32 = 0o100_000;
const READ_IMPLIES_EXEC: u32 = 0x0040_0000;
/// Asks for the personality and changes nothing.
const ASK: u32 = u32::MAX;
const SOCK_PACKET: u32 = 10;
const SOCK_TYPE_MASK: u32 = 0xF;
/// `SCHED_OTHER`, `SCHED_BATCH` and `SCHED_IDLE`.
const ORDINARY_POLICIES: [u32; 3] = [0, 3, 5];
/// May stand beside any policy (sched(7)).
const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;

/// What the rules refuse on an interface.
pub(super) fn of(rules: &Rules, table: Table) -> Restrictions {
    let mut all = Collected::default();
    let filters = &rules.filters;
    if rules.set_id {
        all.set_id();
    }
    if rules.set_id_counts {
        all.add("openat2", Refused::Always, ENOSYS);
    }
    if rules.no_io_uring || rules.set_id_counts || filters.families.is_some() {
        all.refuse("io_uring_setup");
    }
    if let Some(families) = &filters.families {
        all.families(families);
    }
    if filters.memory_deny_write_execute {
        all.executable_memory(table);
    }
    if filters.restrict_realtime {
        all.realtime();
    }
    if let Some(left) = filters.namespaces {
        all.namespaces(ALL_NAMESPACES & !left, left & ALL_NAMESPACES == 0);
    }
    let hostname = filters.protect_hostname && !filters.private_hostname;
    for (asked, calls) in [
        (filters.protect_kernel_tunables, &["_sysctl"][..]),
        (filters.protect_kernel_logs, &["syslog"]),
        (hostname, &["sethostname", "setdomainname"]),
        // Not in @clock, and it sets the clock all the same.
        (filters.protect_clock, &["stime"]),
    ] {
        for call in calls.iter().filter(|_| asked) {
            all.refuse(call);
        }
    }
    for (asked, group) in [
        (filters.protect_kernel_modules, "@module"),
        (filters.protect_clock, "@clock"),
        (filters.private_devices, "@raw-io"),
    ] {
        for call in members(group).into_iter().filter(|_| asked) {
            all.refuse(call);
        }
    }
    if filters.lock_personality {
        all.values("personality", 0, vec![rules.personality, ASK], false, EPERM);
    }
    all.0
}

#[derive(Default)]
struct Collected(Restrictions);

impl Collected {
    fn add(&mut self, call: &'static str, refused: Refused, errno: u32) {
        let all = self.0.entry(call).or_default();
        all.push(Restriction { refused, errno });
    }

    fn refuse(&mut self, call: &'static str) {
        self.add(call, Refused::Always, EPERM);
    }

    fn bits(&mut self, call: &'static str, argument: u32, bits: u32) {
        self.add(call, Refused::AnyBit { argument, bits }, EPERM);
    }

    fn values(
        &mut self,
        call: &'static str,
        argument: u32,
        values: Vec<u32>,
        listed: bool,
        errno: u32,
    ) {
        let refused = Refused::Values {
            argument,
            mask: u32::MAX,
            values,
            listed,
        };
        self.add(call, refused, errno);
    }

    /// What every dynamic user's service has.
    fn set_id(&mut self) {
        for (call, mode) in [
            ("chmod", 1),
            ("fchmod", 1),
            ("fchmodat", 2),
            ("fchmodat2", 2),
            ("mkdir", 1),
            ("mkdirat", 2),
            ("mknod", 1),
            ("mknodat", 2),
            ("creat", 1),
        ] {
            self.bits(call, mode, S_ISUID_OR_S_ISGID);
        }
        for (call, flags, mode) in [("open", 1, 2), ("openat", 2, 3)] {
            self.add(call, Refused::ModeIfCreated { flags, mode }, EPERM);
        }
        // `dynuser run` from root's shell leaves the service on root's terminal. With TIOCSTI, or TIOCLINUX's selection
        // and paste, it would type commands into the shell that comes back after it (CVE-2017-5226, CVE-2023-28100).
        self.values("ioctl", 1, vec![TIOCSTI, TIOCLINUX], true, EPERM);
        // A service that takes every right over its user keyring from itself makes its number useless until the next
        // boot, because not even root can empty that keyring then; in a loop of restarts it would use up all numbers.
        self.values("keyctl", 0, vec![KEYCTL_SETPERM], true, EPERM);
    }

    /// As systemd does it for socket(2), and for socketpair(2) too: pairs of `AF_UNIX` connect nobody who is not
    /// connected anyway, but those of other families (TIPC) open what was meant to be closed.
    fn families(&mut self, families: &Families) {
        let listed = !families.allow;
        let values: Vec<u32> = families.listed.iter().copied().collect();
        self.values("socket", 0, values.clone(), listed, EAFNOSUPPORT);
        if !families.permits(AF_PACKET) {
            self.add("socket", Refused::PacketByOldName, EAFNOSUPPORT);
        }
        let mut values = values;
        values.retain(|family| *family != AF_UNIX);
        if families.allow {
            values.push(AF_UNIX);
        }
        self.values("socketpair", 0, values, listed, EAFNOSUPPORT);
    }

    fn executable_memory(&mut self, table: Table) {
        let mapping = || Refused::BothBits {
            argument: 2,
            bits: [PROT_WRITE, PROT_EXEC],
        };
        match table {
            // The old call of 32-bit machines keeps its arguments in memory.
            Table::X86 | Table::Arm => self.refuse("mmap"),
            _ => self.add("mmap", mapping(), EPERM),
        }
        self.add("mmap2", mapping(), EPERM);
        self.bits("mprotect", 2, PROT_EXEC);
        self.bits("pkey_mprotect", 2, PROT_EXEC);
        self.bits("shmat", 2, SHM_EXEC);
        // With it every mapping that can be read can be executed as well.
        let implied = Refused::AnyBitBut {
            argument: 0,
            bits: READ_IMPLIES_EXEC,
            but: ASK,
        };
        self.add("personality", implied, EPERM);
    }

    fn realtime(&mut self) {
        let other = Refused::Values {
            argument: 1,
            mask: !SCHED_RESET_ON_FORK,
            values: ORDINARY_POLICIES.into(),
            listed: false,
        };
        self.add("sched_setscheduler", other, EPERM);
        // Its policy is behind a pointer.
        self.refuse("sched_setattr");
    }

    fn namespaces(&mut self, forbidden: u32, all: bool) {
        if forbidden == 0 {
            return;
        }
        self.bits("clone", 0, forbidden & !TIME_NAMESPACE);
        self.bits("unshare", 0, forbidden);
        // Its flags are behind a pointer. The C libraries fall back to clone(2).
        self.add("clone3", Refused::Always, ENOSYS);
        if all {
            return self.refuse("setns");
        }
        self.bits("setns", 1, forbidden);
        // Whatever the descriptor stands for.
        self.values("setns", 1, vec![0], true, EPERM);
    }
}

#[cfg(test)]
pub(super) mod tests;
