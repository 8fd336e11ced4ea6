//! Numbers of system calls on each interface, from the crate `syscalls` and, for what it leaves out, from the
//! kernel's tables (`arch/*/entry/syscalls/*.tbl`, `arch/arm/include/uapi/asm/unistd.h`).

use syscalls::{aarch64, arm, riscv64, x86, x86_64};

/// One numbering of the system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// 64-bit x86. From 512 on there are calls of x32, whose other numbers are the same with a bit above them.
    X86_64,
    /// i386.
    X86,
    /// 32-bit ARM, EABI.
    Arm,
    /// 64-bit ARM.
    Aarch64,
    /// 64-bit RISC-V.
    Riscv64,
}

/// The range in which all tables have their numbers, but for the few private ones of ARM.
const END: usize = 512;

/// Calls that are newer than the crate. Since 403 a new call has the same number everywhere.
const NEWER: [(u32, &str); 2] = [(470, "listns"), (471, "rseq_slice_yield")];

/// x32 has its own numbers for calls whose arguments hold pointers or `long` in structures.
const X32: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// Calls that ARM keeps outside its table (`__ARM_NR_BASE`).
const ARM_PRIVATE: [(u32, &str); 6] = [
    (0x000f_0001, "breakpoint"),
    (0x000f_0002, "cacheflush"),
    (0x000f_0003, "usr26"),
    (0x000f_0004, "usr32"),
    (0x000f_0005, "set_tls"),
    (0x000f_0006, "get_tls"),
];

impl Table {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::X86_64,
        Self::X86,
        Self::Arm,
        Self::Aarch64,
        Self::Riscv64,
    ];

    /// Every call with its number, ascending. A name has two numbers where x32 has its own.
    pub fn calls(self) -> Vec<(u32, &'static str)> {
        // Not the crate's own iterator, which leaves out the last one (0.8.1).
        let numbers = (0..END).filter_map(|number| {
            let name = self.name(number)?;
            Some((u32::try_from(number).ok()?, super::canonical(name)))
        });
        let newer = NEWER.into_iter().filter(|(number, _)| {
            usize::try_from(*number).is_ok_and(|number| self.name(number).is_none())
        });
        let mut all: Vec<(u32, &'static str)> = numbers.chain(newer).collect();
        match self {
            Self::X86_64 => all.extend((512..).zip(X32)),
            Self::Arm => all.extend(ARM_PRIVATE),
            Self::X86 | Self::Aarch64 | Self::Riscv64 => {}
        }
        all.sort_unstable_by_key(|(number, _)| *number);
        all
    }

    /// The names of all calls.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.calls().into_iter().map(|(_, name)| name)
    }

    fn name(self, number: usize) -> Option<&'static str> {
        let name = match self {
            Self::X86_64 => x86_64::Sysno::new(number).map(|call| call.name()),
            Self::X86 => x86::Sysno::new(number).map(|call| call.name()),
            Self::Arm => arm::Sysno::new(number).map(|call| call.name()),
            Self::Aarch64 => aarch64::Sysno::new(number).map(|call| call.name()),
            Self::Riscv64 => riscv64::Sysno::new(number).map(|call| call.name()),
        }?;
        // `break` is a word of Rust.
        Some(name.strip_prefix("r#").unwrap_or(name))
    }
}
