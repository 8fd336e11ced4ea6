//! What leases take at the moment: processes, and memory where the kernel counts it for them.

use std::collections::BTreeMap;
use std::fs;

use crate::control_group::tree::{self, Mount};
use crate::lease::{Found, Lease};
use crate::sys::fs::open_beneath;
use crate::sys::{cgroup, process};

/// What one lease takes. `None`: that cannot be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consumption {
    /// How many processes carry its number; of a user that exists for the lease alone.
    pub processes: Option<u32>,
    /// How much memory its control groups have, in bytes; of one that has any with the memory controller.
    pub memory: Option<u64>,
}

/// What leases take, in their order. One walk through the processes tells of all.
pub fn look(found: &[Found]) -> Vec<Consumption> {
    let leases = || found.iter().filter_map(|found| found.lease.as_ref().ok());
    let counts = match leases().any(|lease| lease.dynamic) {
        true => process::counted(),
        false => Ok(BTreeMap::new()),
    };
    if let Err(error) = &counts {
        tracing::debug!(%error, "processes are not counted");
    }
    let mounts = match leases().any(|lease| !lease.control_groups.is_empty()) {
        true => fs::read("/proc/self/mountinfo")
            .map(|table| tree::mounts(&String::from_utf8_lossy(&table)))
            .unwrap_or_default(),
        false => Vec::new(),
    };
    let one = |found: &Found| match &found.lease {
        Err(_) => Consumption::default(),
        Ok(lease) => Consumption {
            processes: counts
                .as_ref()
                .ok()
                .filter(|_| lease.dynamic)
                .map(|counts| counts.get(&lease.uid).copied().unwrap_or(0)),
            memory: memory(lease, &mounts),
        },
    };
    found.iter().map(one).collect()
}

/// The sum over its groups; nothing if one of them does not say.
fn memory(lease: &Lease, mounts: &[Mount]) -> Option<u64> {
    let groups = lease.control_groups.iter();
    let known: Option<Vec<u64>> = groups.map(|path| memory_of(path, mounts)).collect();
    let known = known.filter(|known| !known.is_empty())?;
    Some(known.into_iter().fold(0, u64::saturating_add))
}

fn memory_of(path: &str, mounts: &[Mount]) -> Option<u64> {
    // A record that was damaged must not lead anywhere else.
    tree::ours(path)?;
    mounts.iter().find_map(|mount| {
        let top = cgroup::open(&mount.point).ok()?;
        let group = open_beneath(top, path.trim_start_matches('/')).ok()?;
        let text = cgroup::read(group, "memory.current").ok()?;
        text.trim_end().parse().ok()
    })
}
