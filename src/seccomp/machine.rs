//! Machines, and the system-call interfaces of each.

use crate::directives::Architecture;
use crate::syscall_sets::numbers::Table;

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

    /// The interfaces, the machine's own first.
    pub(super) const fn interfaces(self) -> &'static [Interface] {
        match self {
            Self::X86_64 => &[X86_64, I386],
            Self::Aarch64 => &[AARCH64, ARM],
            Self::Riscv64 => &[RISCV64],
        }
    }
}

/// One numbering of the system calls.
pub(super) struct Interface {
    /// `AUDIT_ARCH_*`
    pub(super) arch: u32,
    pub(super) table: Table,
    /// What `SystemCallArchitectures=` calls it.
    pub(super) architecture: Architecture,
    /// Whether it is the machine's own, which no setting takes away.
    pub(super) native: bool,
}

/// x32 has the same architecture and sets this bit in the number. Where its calls are not forbidden they are judged like
/// the others: the bit is taken off and the tables are one. That also covers kernels before 5.4, which
/// let one through to the other's numbers (512 and up without the bit, 64-bit ones with it).
pub(super) const X32_BIT: u32 = 0x4000_0000;

pub(super) const X86_64: Interface = Interface {
    arch: 0xC000_003E,
    table: Table::X86_64,
    architecture: Architecture::X86_64,
    native: true,
};
pub(super) const I386: Interface = Interface {
    arch: 0x4000_0003,
    table: Table::X86,
    architecture: Architecture::X86,
    native: false,
};
pub(super) const AARCH64: Interface = Interface {
    arch: 0xC000_00B7,
    table: Table::Aarch64,
    architecture: Architecture::Arm64,
    native: true,
};
pub(super) const ARM: Interface = Interface {
    arch: 0x4000_0028,
    table: Table::Arm,
    architecture: Architecture::Arm,
    native: false,
};
pub(super) const RISCV64: Interface = Interface {
    arch: 0xC000_00F3,
    table: Table::Riscv64,
    architecture: Architecture::Riscv64,
    native: true,
};

/// A call of i386 that stands for many.
pub(super) struct Multiplexer {
    pub(super) name: &'static str,
    /// The bits of its first argument that say which call it is.
    pub(super) mask: u32,
    pub(super) members: &'static [(u32, &'static str)],
    /// Whether the arguments of the call are in memory, where no filter sees them. Otherwise the third one, which
    /// is all that a rule looks at, is in its place.
    pub(super) blind: bool,
}

/// `linux/net.h`, `linux/ipc.h`; socketcall(2), ipc(2).
pub(super) const MULTIPLEXERS: [Multiplexer; 2] = [
    Multiplexer {
        name: "socketcall",
        mask: u32::MAX,
        members: &[
            (1, "socket"),
            (2, "bind"),
            (3, "connect"),
            (4, "listen"),
            (5, "accept"),
            (6, "getsockname"),
            (7, "getpeername"),
            (8, "socketpair"),
            (9, "send"),
            (10, "recv"),
            (11, "sendto"),
            (12, "recvfrom"),
            (13, "shutdown"),
            (14, "setsockopt"),
            (15, "getsockopt"),
            (16, "sendmsg"),
            (17, "recvmsg"),
            (18, "accept4"),
            (19, "recvmmsg"),
            (20, "sendmmsg"),
        ],
        blind: true,
    },
    Multiplexer {
        name: "ipc",
        // The version of the call is above it.
        mask: 0xFFFF,
        members: &[
            (1, "semop"),
            (2, "semget"),
            (3, "semctl"),
            (4, "semtimedop"),
            (11, "msgsnd"),
            (12, "msgrcv"),
            (13, "msgget"),
            (14, "msgctl"),
            (21, "shmat"),
            (22, "shmdt"),
            (23, "shmget"),
            (24, "shmctl"),
        ],
        blind: false,
    },
];
