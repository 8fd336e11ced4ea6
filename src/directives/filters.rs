//! What a service may ask the kernel for: the directives that are enforced by a system-call filter.
//!
//! What each of them says is here, what the filter makes of it in [`crate::seccomp`]. Some have other parts
//! (mounts, capabilities), which read the same fields.

mod calls;
mod families;
mod namespaces;

use std::collections::BTreeSet;

use super::row::{Directive, restriction};
use super::{Settings, boolean};
use crate::words;

pub use calls::{Calls, Denial};
pub use families::{AF_INET, AF_PACKET, AF_UNIX, Families};
pub use namespaces::{ALL as ALL_NAMESPACES, TIME as TIME_NAMESPACE};

/// What the directives of this topic add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// `SystemCallFilter=`.
    pub calls: Option<Calls>,
    /// `SystemCallErrorNumber=`: what is done about a call that the filter does not let pass.
    pub denial: Denial,
    /// `SystemCallLog=`.
    pub logged: Option<Calls>,
    /// `SystemCallArchitectures=`, without `native`. None: all that the machine has.
    pub architectures: Option<BTreeSet<Architecture>>,
    /// `RestrictAddressFamilies=`.
    pub families: Option<Families>,
    /// `RestrictNamespaces=`: the `CLONE_NEW…` flags that are left. None: all of them.
    pub namespaces: Option<u32>,
    /// `RestrictRealtime=`.
    pub restrict_realtime: bool,
    /// `LockPersonality=`.
    pub lock_personality: bool,
    /// `MemoryDenyWriteExecute=`.
    pub memory_deny_write_execute: bool,
    /// `ProtectClock=`. Other parts: capabilities, `DeviceAllow=char-rtc r`.
    pub protect_clock: bool,
    /// `ProtectHostname=`: a UTS namespace of its own.
    pub protect_hostname: bool,
    /// `ProtectHostname=private`: in which the name may be changed.
    pub private_hostname: bool,
    /// `ProtectHostname=…:NAME`: the name in it.
    pub hostname: Option<String>,
    /// `ProtectKernelModules=`. Other parts: capabilities, `/usr/lib/modules`.
    pub protect_kernel_modules: bool,
    /// `ProtectKernelLogs=`. Other parts: capabilities, `/dev/kmsg` and `/proc/kmsg`.
    pub protect_kernel_logs: bool,
    /// `ProtectKernelTunables=`. Other parts: read-only mounts.
    pub protect_kernel_tunables: bool,
    /// `PrivateDevices=`, which is a row of another topic: `@raw-io` is refused.
    pub private_devices: bool,
}

/// An architecture that a machine may have besides its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    /// i386.
    X86,
    /// 64-bit x86.
    X86_64,
    /// x32.
    X32,
    /// 32-bit ARM, EABI.
    Arm,
    /// 64-bit ARM.
    Arm64,
    /// 64-bit RISC-V.
    Riscv64,
    /// One that none of our machines has.
    Other,
}

const ARCHITECTURES: [(&str, Architecture); 6] = [
    ("x86", Architecture::X86),
    ("x86-64", Architecture::X86_64),
    ("x32", Architecture::X32),
    ("arm", Architecture::Arm),
    ("arm64", Architecture::Arm64),
    ("riscv64", Architecture::Riscv64),
];

/// The other identifiers of systemd (`seccomp_arch_from_string`).
const OTHERS: &str = "alpha arc arc-be cris ia64 loongarch64 m68k mips mips-le mips64 mips64-le mips64-le-n32 \
                      mips64-n32 nios2 parisc parisc64 ppc ppc-le ppc64 ppc64-le riscv32 s390 s390x sh sh64 \
                      sparc sparc64 tilegx arm-be arm64-be";

impl Filters {
    /// Whether any system call is refused.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

pub(super) const TABLE: &[Directive] = &[
    restriction(
        "SystemCallFilter",
        "seccomp: other calls end the process with SIGSYS, or fail with the error asked for",
        |s, v| calls::filter(&mut s.filters.calls, v),
    ),
    restriction(
        "SystemCallErrorNumber",
        "seccomp: the error of a call that SystemCallFilter= denies",
        |s, v| {
            s.filters.denial = calls::error_number(v)?;
            Ok(())
        },
    ),
    restriction(
        "SystemCallArchitectures",
        "seccomp: a call of another architecture, also of x32, ends the process with SIGSYS",
        architectures,
    ),
    restriction(
        "SystemCallLog",
        "seccomp: written to the kernel's audit log",
        |s, v| calls::log(&mut s.filters.logged, v),
    ),
    restriction(
        "RestrictAddressFamilies",
        "seccomp: socket(2) fails with EAFNOSUPPORT; socketcall(2) of i386 and io_uring_setup(2) cannot make sockets",
        |s, v| families::assign(&mut s.filters.families, v),
    ),
    restriction(
        "RestrictNamespaces",
        "seccomp: clone(2), unshare(2) and setns(2) fail with EPERM, clone3(2) with ENOSYS",
        |s, v| namespaces::assign(&mut s.filters.namespaces, v),
    ),
    restriction(
        "RestrictRealtime",
        "seccomp: sched_setscheduler(2) with a real-time policy, and sched_setattr(2), fail with EPERM",
        |s, v| set(&mut s.filters.restrict_realtime, v),
    ),
    restriction(
        "LockPersonality",
        "seccomp: personality(2) fails with EPERM for any but the present one",
        |s, v| set(&mut s.filters.lock_personality, v),
    ),
    restriction(
        "MemoryDenyWriteExecute",
        "seccomp: mmap(2), mprotect(2) and shmat(2) of executable memory fail with EPERM; prctl(PR_SET_MDWE) since Linux 6.3",
        |s, v| set(&mut s.filters.memory_deny_write_execute, v),
    ),
    restriction(
        "ProtectClock",
        "seccomp: calls that set the clock fail with EPERM; CAP_SYS_TIME and CAP_WAKE_ALARM dropped",
        |s, v| set(&mut s.filters.protect_clock, v),
    ),
    restriction(
        "ProtectHostname",
        "a UTS namespace; seccomp: sethostname(2) and setdomainname(2) fail with EPERM",
        hostname,
    ),
    restriction(
        "ProtectKernelModules",
        "seccomp: calls of @module fail with EPERM; CAP_SYS_MODULE dropped; /usr/lib/modules inaccessible",
        |s, v| set(&mut s.filters.protect_kernel_modules, v),
    ),
    restriction(
        "ProtectKernelLogs",
        "seccomp: syslog(2) fails with EPERM; CAP_SYSLOG dropped; /dev/kmsg and /proc/kmsg inaccessible",
        |s, v| set(&mut s.filters.protect_kernel_logs, v),
    ),
    restriction(
        "ProtectKernelTunables",
        "read-only mounts below /proc and /sys; seccomp: _sysctl(2) fails with EPERM",
        |s, v| set(&mut s.filters.protect_kernel_tunables, v),
    ),
];

fn set(setting: &mut bool, value: &str) -> Result<(), String> {
    *setting = boolean(value)?;
    Ok(())
}

fn architectures(settings: &mut Settings, value: &str) -> Result<(), String> {
    let words = words::split(value)?;
    let all = &mut settings.filters.architectures;
    if words.is_empty() {
        *all = None;
        return Ok(());
    }
    let mut named = BTreeSet::new();
    for word in words.iter().filter(|word| *word != "native") {
        let ours = ARCHITECTURES.iter().find(|(name, _)| name == word);
        let other = || OTHERS.split(' ').any(|name| name == word);
        named.insert(match ours {
            Some((_, architecture)) => *architecture,
            None if other() => Architecture::Other,
            None => return Err(format!("names {word:?}, which is no architecture")),
        });
    }
    all.get_or_insert_default().append(&mut named);
    Ok(())
}

/// A boolean or `private`, and perhaps a name after a colon (since systemd 258).
fn hostname(settings: &mut Settings, value: &str) -> Result<(), String> {
    let (mode, name) = match value.split_once(':') {
        Some((mode, name)) => (mode, Some(name)),
        None => (value, None),
    };
    let private = mode == "private";
    let protect = private || boolean(mode).map_err(|_| "is neither yes, no nor private")?;
    if let Some(name) = name {
        if !protect {
            return Err("has a name, and no namespace of its own to have it in".into());
        }
        is_host_name(name)?;
    }
    let filters = &mut settings.filters;
    filters.protect_hostname = protect;
    filters.private_hostname = private;
    filters.hostname = name.map(str::to_owned);
    Ok(())
}

/// Labels of letters, digits, `-` and `_` with dots between them, at most 64 bytes (hostname(7), `HOST_NAME_MAX`).
fn is_host_name(name: &str) -> Result<(), String> {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    match name.len() <= 64 && name.split('.').all(label) {
        true => Ok(()),
        false => Err(format!("names {name:?}, which is no name of a host")),
    }
}

#[cfg(test)]
mod tests;
