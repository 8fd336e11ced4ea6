//! Stub until the filters are in: what the mounts need to know of them.

use super::boolean;
use super::row::{Directive, restriction};

/// What the directives of this topic add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// `ProtectClock=`.
    pub protect_clock: bool,
    /// `ProtectHostname=`.
    pub protect_hostname: bool,
    /// `ProtectKernelModules=`.
    pub protect_kernel_modules: bool,
    /// `ProtectKernelLogs=`.
    pub protect_kernel_logs: bool,
    /// `ProtectKernelTunables=`.
    pub protect_kernel_tunables: bool,
}

pub(super) const TABLE: &[Directive] = &[
    restriction("ProtectClock", "seccomp", |s, v| {
        set(&mut s.filters.protect_clock, v)
    }),
    restriction("ProtectHostname", "seccomp", |s, v| {
        set(&mut s.filters.protect_hostname, v)
    }),
    restriction("ProtectKernelModules", "seccomp", |s, v| {
        set(&mut s.filters.protect_kernel_modules, v)
    }),
    restriction("ProtectKernelLogs", "seccomp", |s, v| {
        set(&mut s.filters.protect_kernel_logs, v)
    }),
    restriction("ProtectKernelTunables", "seccomp", |s, v| {
        set(&mut s.filters.protect_kernel_tunables, v)
    }),
];

fn set(setting: &mut bool, value: &str) -> Result<(), String> {
    *setting = boolean(value)?;
    Ok(())
}
