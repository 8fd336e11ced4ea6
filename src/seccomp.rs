//! The system-call filter of every service: no set-ID files, no typing into the caller's terminal.
//!
//! A file that is set-user-ID to a leased UID is that UID for ever: whoever keeps it becomes the next
//! holder of the number (CVE-2019-3843, CVE-2019-3844). So no call may give a file such a mode.
//!
//! What the filter cannot see is covered elsewhere: `openat2` keeps its mode behind a pointer (systemd
//! forbids the whole call, which breaks GNU tar and bubblewrap, systemd issue #38711; here the nosuid
//! mounts and the clean-up answer for it), and io_uring makes no system call per operation.
//!
//! Since 5.11 the kernel tries the program on each call number when it is installed, and calls that pass whatever
//! their arguments are cost nothing from then on. That works as long as the way to their verdict is made of
//! loads of the number and the architecture, comparisons and AND: so add nothing else on that way.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

/// One instruction of classic BPF, laid out like the kernel's `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many instructions are skipped when a comparison is true.
    pub jt: u8,
    /// How many instructions are skipped when it is false.
    pub jf: u8,
    /// Its constant.
    pub k: u32,
}

/// A kind of machine, with every system-call interface that its kernel offers to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86_64, i386 (also by `int 0x80` from a 64-bit program) and x32.
    X86_64,
    /// 64-bit ARM and, for old programs, 32-bit EABI.
    Aarch64,
    /// 64-bit RISC-V.
    Riscv64,
}

impl Machine {
    /// The machine that this program was compiled for, if there is a filter for it.
    pub const fn current() -> Option<Self> {
        // The low half of an argument comes first only on little-endian machines.
        if cfg!(target_endian = "big") || cfg!(target_pointer_width = "32") {
            None
        } else if cfg!(target_arch = "x86_64") {
            Some(Self::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Aarch64)
        } else if cfg!(target_arch = "riscv64") {
            Some(Self::Riscv64)
        } else {
            None
        }
    }

    const fn interfaces(self) -> &'static [Interface] {
        match self {
            Self::X86_64 => &[X86_64, I386],
            Self::Aarch64 => &[AARCH64, ARM],
            Self::Riscv64 => &[RISCV64],
        }
    }
}

/// One numbering of the system calls.
struct Interface {
    /// `AUDIT_ARCH_*`
    arch: u32,
    /// The bits of the number that are no part of it.
    flags: u32,
    number: fn(&Call) -> Option<u32>,
}

/// x32 has the same architecture and sets this bit in the number. Its calls are judged like the others: the
/// bit is taken off and the tables are one. That also covers kernels before 5.4, which
/// let one through to the other's numbers (512 and up without the bit, 64-bit ones with it).
const X32_BIT: u32 = 0x4000_0000;

const X86_64: Interface = Interface {
    arch: 0xC000_003E,
    flags: X32_BIT,
    number: |call| call.x86_64,
};
const I386: Interface = Interface {
    arch: 0x4000_0003,
    flags: 0,
    number: |call| call.i386,
};
const AARCH64: Interface = Interface {
    arch: 0xC000_00B7,
    flags: 0,
    number: |call| call.generic,
};
const ARM: Interface = Interface {
    arch: 0x4000_0028,
    flags: 0,
    number: |call| call.arm,
};
const RISCV64: Interface = Interface {
    arch: 0xC000_00F3,
    flags: 0,
    number: |call| call.generic,
};

/// What is looked at in a call. The numbers are those of the arguments, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// A mode.
    Mode(u32),
    /// A mode, which counts only if the flags before it say that a file is made.
    ModeIfCreated { flags: u32, mode: u32 },
    /// An argument that must not be one of two values.
    Not { argument: u32, values: [u32; 2] },
}

const OPEN: Rule = Rule::ModeIfCreated { flags: 1, mode: 2 };
const OPENAT: Rule = Rule::ModeIfCreated { flags: 2, mode: 3 };
const COMMAND: Rule = Rule::Not {
    argument: 1,
    values: [TIOCSTI, TIOCLINUX],
};
const OPERATION: Rule = Rule::Not {
    argument: 0,
    values: [KEYCTL_SETPERM, KEYCTL_SETPERM],
};

const RULES: [Rule; 6] = [
    Rule::Mode(1),
    Rule::Mode(2),
    OPEN,
    OPENAT,
    COMMAND,
    OPERATION,
];

/// A system call, its rule, and its numbers.
struct Call {
    /// Only the test that compares the numbers with libc's needs it.
    #[cfg_attr(not(test), allow(dead_code))]
    name: &'static str,
    rule: Rule,
    x86_64: Option<u32>,
    i386: Option<u32>,
    arm: Option<u32>,
    /// The table shared by all newer architectures (asm-generic/unistd.h).
    generic: Option<u32>,
}

const fn call(
    name: &'static str,
    rule: Rule,
    [x86_64, i386, arm, generic]: [Option<u32>; 4],
) -> Call {
    Call {
        name,
        rule,
        x86_64,
        i386,
        arm,
        generic,
    }
}

#[rustfmt::skip]
const CALLS: [Call; 14] = [
    //                                 x86_64     i386       arm        generic
    call("chmod",       Rule::Mode(1), [Some(90),  Some(15),  Some(15),  None]),
    call("fchmod",      Rule::Mode(1), [Some(91),  Some(94),  Some(94),  Some(52)]),
    call("fchmodat",    Rule::Mode(2), [Some(268), Some(306), Some(333), Some(53)]),
    call("fchmodat2",   Rule::Mode(2), [Some(452), Some(452), Some(452), Some(452)]),
    call("mkdir",       Rule::Mode(1), [Some(83),  Some(39),  Some(39),  None]),
    call("mkdirat",     Rule::Mode(2), [Some(258), Some(296), Some(323), Some(34)]),
    call("mknod",       Rule::Mode(1), [Some(133), Some(14),  Some(14),  None]),
    call("mknodat",     Rule::Mode(2), [Some(259), Some(297), Some(324), Some(33)]),
    call("creat",       Rule::Mode(1), [Some(85),  Some(8),   Some(8),   None]),
    call("open",        OPEN,          [Some(2),   Some(5),   Some(5),   None]),
    call("openat",      OPENAT,        [Some(257), Some(295), Some(322), Some(56)]),
    // `dynuser run` from root's shell leaves the service on root's terminal. With TIOCSTI, or TIOCLINUX's selection and
    // paste, it would type commands into the shell that comes back after it (CVE-2017-5226, CVE-2023-28100).
    call("ioctl",       COMMAND,       [Some(16),  Some(54),  Some(54),  Some(29)]),
    call("ioctl (x32)", COMMAND,       [Some(514), None,      None,      None]),
    // A service that takes every right over its user keyring from itself makes its number useless until the next boot,
    // because not even root can empty that keyring then; in a loop of restarts it would use up all numbers.
    call("keyctl",      OPERATION,     [Some(250), Some(288), Some(311), Some(219)]),
];

const S_ISUID_OR_S_ISGID: u32 = 0o6000;
/// `O_CREAT`, and the bit that makes `O_TMPFILE` more than `O_DIRECTORY`: the kernel uses the mode when one of the two is
/// set. Both have these values on every machine above.
const O_CREAT_OR_TMPFILE: u32 = 0o100 | 0o20_000_000;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541C;
const KEYCTL_SETPERM: u32 = 5;

const EPERM: u32 = 1;
const SECCOMP_RET_ALLOW: u32 = 0x7FFF_0000;
const SECCOMP_RET_ERRNO: u32 = 0x0005_0000;
/// For an architecture without a table. Not ENOSYS: a program that is told so by every call, `exit` among
/// them, runs into undefined behaviour. This one ends at once, with SIGSYS, and somebody will ask why.
const SECCOMP_RET_KILL_PROCESS: u32 = 0x8000_0000;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const IF_EQUAL: u16 = 0x15;
const IF_NOT_BELOW: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Where the number, the architecture and the low half of an argument are in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const fn low_half_of(argument: u32) -> u32 {
    16_u32.saturating_add(argument.saturating_mul(8))
}

/// The filter for programs on `machine`.
///
/// EPERM for what the rules forbid, death for calls of an architecture that the machine is not known to have, and everything
/// else passes. Of every argument only the low half is looked at, because the kernel does the same: modes, flags and commands
/// are 32 bits wide, and a comparison of all 64 would be blinded by one bit of rubbish above them.
pub fn set_id_filter(machine: Machine) -> Vec<Instruction> {
    let mut program = Backwards::default();
    let eperm = program.end_with(SECCOMP_RET_ERRNO | EPERM);
    let allow = program.end_with(SECCOMP_RET_ALLOW);
    let bodies = RULES.map(|rule| (rule, program.rule(rule, eperm, allow)));
    let mut no_match = program.end_with(SECCOMP_RET_KILL_PROCESS);
    let entries: Vec<(u32, Place)> = machine
        .interfaces()
        .iter()
        .map(|interface| (interface.arch, program.interface(interface, &bodies, allow)))
        .collect();
    for (arch, entry) in entries.into_iter().rev() {
        no_match = program.branch(IF_EQUAL, arch, entry, no_match);
    }
    program.load(ARCH);
    program.reversed.reverse();
    program.reversed
}

/// A program written from its end, so that the target of each jump is there before the jump.
#[derive(Default)]
struct Backwards {
    reversed: Vec<Instruction>,
}

/// An instruction already written, counted from the end of the program.
type Place = usize;

impl Backwards {
    fn put(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Place {
        self.reversed.push(Instruction { code, jt, jf, k });
        self.reversed.len().saturating_sub(1)
    }

    fn load(&mut self, offset: u32) -> Place {
        self.put(LOAD, 0, 0, offset)
    }

    fn end_with(&mut self, verdict: u32) -> Place {
        self.put(RETURN, 0, 0, verdict)
    }

    fn branch(&mut self, test: u16, k: u32, yes: Place, no: Place) -> Place {
        let (jt, jf) = (self.distance_to(yes), self.distance_to(no));
        self.put(test, jt, jf, k)
    }

    /// The programs are shorter than 255 instructions, and the tests hold them to it.
    fn distance_to(&self, target: Place) -> u8 {
        let between = self.reversed.len().saturating_sub(target).saturating_sub(1);
        u8::try_from(between).unwrap_or(u8::MAX)
    }

    fn rule(&mut self, rule: Rule, eperm: Place, allow: Place) -> Place {
        match rule {
            Rule::Mode(mode) => {
                self.branch(IF_ANY_BIT, S_ISUID_OR_S_ISGID, eperm, allow);
                self.load(low_half_of(mode))
            }
            Rule::ModeIfCreated { flags, mode } => {
                let created = self.rule(Rule::Mode(mode), eperm, allow);
                self.branch(IF_ANY_BIT, O_CREAT_OR_TMPFILE, created, allow);
                self.load(low_half_of(flags))
            }
            Rule::Not {
                argument,
                values: [one, other],
            } => {
                let other = self.branch(IF_EQUAL, other, eperm, allow);
                self.branch(IF_EQUAL, one, eperm, other);
                self.load(low_half_of(argument))
            }
        }
    }

    fn interface(
        &mut self,
        interface: &Interface,
        bodies: &[(Rule, Place)],
        allow: Place,
    ) -> Place {
        let mut rows: Vec<(u32, Place)> = CALLS
            .iter()
            .filter_map(|call| {
                let (_, body) = bodies.iter().find(|(rule, _)| *rule == call.rule)?;
                Some(((interface.number)(call)?, *body))
            })
            .collect();
        rows.sort_unstable();
        // The root of the tree is what it wrote last, and so what comes next.
        self.tree(&rows, allow);
        if interface.flags != 0 {
            self.put(AND, 0, 0, !interface.flags);
        }
        self.load(NUMBER)
    }

    /// Finds the number among `rows` (sorted) in a few comparisons.
    fn tree(&mut self, rows: &[(u32, Place)], allow: Place) -> Place {
        let (low, high) = rows.split_at(rows.len() / 2);
        match (low, high) {
            ([], []) => allow,
            ([], [(number, body), ..]) => self.branch(IF_EQUAL, *number, *body, allow),
            (_, [(middle, _), ..]) => {
                let above = self.tree(high, allow);
                let below = self.tree(low, allow);
                self.branch(IF_NOT_BELOW, *middle, above, below)
            }
            (_, []) => self.tree(low, allow),
        }
    }
}
