//! The system-call filter of a service: one program of classic BPF made of everything that was asked for.
//!
//! In it for every dynamic user: no set-ID files, no typing into the caller's terminal. A file that is set-user-ID
//! to a leased UID is that UID for ever: whoever keeps it becomes the next holder of the number (CVE-2019-3843,
//! CVE-2019-3844). So no call may give a file such a mode.
//!
//! What the filter cannot see is covered elsewhere: `openat2` keeps its mode behind a pointer (systemd
//! forbids the whole call, which breaks GNU tar and bubblewrap, systemd issue #38711; here Landlock, the nosuid
//! mounts and the clean-up answer for it), and io_uring makes no system call per operation (Landlock, or
//! [`Rules::no_io_uring`]).
//!
//! Since 5.11 the kernel tries the program on each call number when it is installed, and calls that pass whatever
//! their arguments are cost nothing from then on. That works as long as the way to their verdict is made of
//! loads of the number and the architecture, comparisons, jumps and AND: so add nothing else on that way.

#![forbid(unsafe_code)]

mod body;
mod machine;
mod program;
mod restrictions;
mod verdicts;

pub use machine::Machine;
pub use program::{Instruction, LONGEST};

use crate::directives::Filters;

/// What a filter is to enforce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// No set-ID files, no typing into terminals, no keyring that not even root can empty: for every dynamic user,
    /// and for others with `RestrictSUIDSGID=`.
    pub set_id: bool,
    /// Set-ID files would count, because the mounts that they can be made on are not nosuid: openat2(2), which keeps its
    /// mode behind a pointer, fails with ENOSYS, and so nothing is left but calls whose modes are seen. No io_uring either.
    pub set_id_counts: bool,
    /// `io_uring_setup(2)` fails with EPERM, and programs fall back. It always does with `RestrictAddressFamilies=`,
    /// because an io_uring makes sockets that no filter sees.
    pub no_io_uring: bool,
    /// The personality that the process has (personality(2)), for `LockPersonality=`.
    pub personality: u32,
    /// The directives.
    pub filters: Filters,
}

impl Rules {
    /// What every service of a dynamic user has.
    pub fn of_a_dynamic_user() -> Self {
        Self {
            set_id: true,
            ..Self::default()
        }
    }
}

/// The filter for programs on `machine`.
///
/// Where several rules meet, the order is that of the kernel for several filters: what ends the process comes first,
/// then the error that `SystemCallFilter=` has for a call, then those of the other restrictions, in the order of their
/// tables. A call of an architecture that the machine is not known to have is the end. Of every argument only the low half
/// is looked at, because the kernel does the same: modes, flags, families and commands are 32 bits wide, and a
/// comparison of all 64 would be blinded by one bit of rubbish above them.
pub fn filter(machine: Machine, rules: &Rules) -> Vec<Instruction> {
    let interfaces = machine.interfaces();
    let bodies: Vec<(u32, body::Body)> = interfaces
        .iter()
        .map(|interface| (interface.arch, verdicts::of_interface(interface, rules)))
        .collect();
    program::write(&bodies)
}

/// The filter of a dynamic user that asked for nothing else.
pub fn set_id_filter(machine: Machine) -> Vec<Instruction> {
    filter(machine, &Rules::of_a_dynamic_user())
}

#[cfg(test)]
mod tests;
