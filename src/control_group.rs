//! What a service asks of its control group (systemd.resource-control(5)), and what is to be done for it.
//!
//! Settings are gathered here word by word; [`plan`](ControlGroup::plan) makes of them what is written
//! where, and the programs that the kernel runs.

#![forbid(unsafe_code)]

mod amount;
mod plan;
#[cfg(test)]
mod tests;
pub mod tree;

pub use plan::{Controller, Facts, Hook, Plan, Pressure, Program, Write};

use core::time::Duration;

use crate::device_filter::{Allowed, Policy};
use crate::directives::room;
use crate::packet_filter::Addresses;
use crate::sizes::{self, Amount};
use crate::time_span::{self, TimeSpan};

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlGroup {
    /// `Slice=`: the names of the groups above it, outermost first.
    slice: Vec<String>,
    /// `TasksMax=`, `MemoryMax=` and their like, by name.
    amounts: Vec<(&'static str, Amount)>,
    /// `CPUWeight=`; `None` in it is `idle`.
    cpu_weight: Option<Option<u64>>,
    /// `CPUQuota=`, in hundredths of a percent of one processor.
    cpu_quota: Option<u64>,
    /// `CPUQuotaPeriodSec=`.
    cpu_period: Option<Duration>,
    /// `AllowedCPUs=`, `AllowedMemoryNodes=`, by name.
    sets: Vec<(&'static str, Vec<(usize, usize)>)>,
    /// `IOWeight=`.
    io_weight: Option<u64>,
    /// `IODeviceWeight=`, `IOReadBandwidthMax=` and their like.
    disks: Vec<DiskLimit>,
    /// `DevicePolicy=`.
    policy: Policy,
    /// `PrivateDevices=`.
    private_devices: bool,
    /// `DeviceAllow=`.
    allowed: Vec<Allowed>,
    /// `IPAddressAllow=`.
    address_allow: Addresses,
    /// `IPAddressDeny=`.
    address_deny: Addresses,
    /// `Delegate=`.
    delegation: Option<Delegation>,
    /// `DelegateSubgroup=`.
    subgroup: Option<String>,
    /// `OOMPolicy=kill`.
    kill_all: bool,
    /// `MemoryPressureWatch=`.
    pressure: Watch,
    /// `MemoryPressureThresholdSec=`.
    threshold: Option<Duration>,
}

/// A limit on one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DiskLimit {
    directive: &'static str,
    /// A device node, or anything on the disk.
    path: String,
    /// `None`: none (any more).
    value: Option<u64>,
}

/// `Delegate=`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Delegation {
    /// Every controller that there is.
    All,
    /// These.
    Some(Vec<&'static str>),
}

/// `MemoryPressureWatch=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Watch {
    /// `auto`, `skip`: nothing is told to the service.
    #[default]
    Untold,
    /// It is told not to.
    No,
    /// It is told where.
    Yes,
}

/// The controllers that can be asked for by name, and what the unified hierarchy calls them; those that it has
/// none for are always there (systemd.resource-control(5), `Delegate=`).
const CONTROLLERS: [(&str, Option<&str>); 10] = [
    ("cpu", Some("cpu")),
    ("cpuacct", None),
    ("cpuset", Some("cpuset")),
    ("io", Some("io")),
    ("blkio", Some("io")),
    ("memory", Some("memory")),
    ("devices", None),
    ("pids", Some("pids")),
    ("bpf-firewall", None),
    ("bpf-devices", None),
];

type Answer = Result<(), String>;

impl ControlGroup {
    /// Sets one of the limits that are an amount: `TasksMax`, `MemoryMin`, `MemoryLow`, `MemoryHigh`,
    /// `MemoryMax`, `MemorySwapMax`, `MemoryZSwapMax`. An empty value resets it.
    ///
    /// # Errors
    /// A sentence about the value, as everywhere below.
    pub fn set_amount(&mut self, directive: &'static str, value: &str) -> Answer {
        let amount = match directive {
            "TasksMax" => amount::tasks(value)?,
            "MemoryHigh" | "MemoryMax" => amount::memory(value, false)?,
            "MemoryZSwapMax" if value.ends_with('%') => {
                return Err("is no size: there is nothing that it could be a share of".into());
            }
            _ => amount::memory(value, true)?,
        };
        self.amounts.retain(|(name, _)| *name != directive);
        self.amounts
            .extend(amount.map(|amount| (directive, amount)));
        Ok(())
    }

    /// `CPUWeight=`.
    pub fn set_cpu_weight(&mut self, value: &str) -> Answer {
        self.cpu_weight = match value {
            "" => None,
            "idle" => Some(None),
            _ => Some(Some(amount::weight(value)?)),
        };
        Ok(())
    }

    /// `CPUQuota=`.
    pub fn set_cpu_quota(&mut self, value: &str) -> Answer {
        self.cpu_quota = match value {
            "" => None,
            _ => match amount::share(value)? {
                0 => return Err("leaves nothing at all".into()),
                share => Some(share),
            },
        };
        Ok(())
    }

    /// `CPUQuotaPeriodSec=`.
    pub fn set_cpu_period(&mut self, value: &str) -> Answer {
        self.cpu_period = limited(value)?;
        Ok(())
    }

    /// `AllowedCPUs=` and `AllowedMemoryNodes=`: lists add up.
    pub fn add_set(&mut self, directive: &'static str, value: &str) -> Answer {
        let mut ranges = amount::list(value)?;
        let old = self.sets.iter().position(|(name, _)| *name == directive);
        let old = old.map(|at| self.sets.swap_remove(at).1);
        if !ranges.is_empty() {
            ranges.extend(old.into_iter().flatten());
            // However often it is said: no longer than there are numbers.
            self.sets.push((directive, sizes::joined(ranges)));
        }
        Ok(())
    }

    /// `IOWeight=`.
    pub fn set_io_weight(&mut self, value: &str) -> Answer {
        self.io_weight = match value {
            "" => None,
            _ => Some(amount::weight(value)?),
        };
        Ok(())
    }

    /// `IODeviceWeight=`, `IOReadBandwidthMax=`, `IOWriteBandwidthMax=`, `IOReadIOPSMax=`, `IOWriteIOPSMax=`,
    /// `IODeviceLatencyTargetSec=`: a path and a value; an empty one resets all of the directive.
    pub fn add_disk(&mut self, directive: &'static str, value: &str) -> Answer {
        if value.is_empty() {
            self.disks.retain(|disk| disk.directive != directive);
            return Ok(());
        }
        let (path, limit) = match crate::words::split(value)?.as_slice() {
            [path, limit] if path.starts_with('/') => (path.clone(), limit.clone()),
            _ => return Err("is not an absolute path and a value".into()),
        };
        let value = match (directive, limit.as_str()) {
            ("IODeviceWeight", _) => Some(amount::weight(&limit)?),
            ("IODeviceLatencyTargetSec", _) => limited(&limit)?.map(microseconds),
            (_, "infinity") => None,
            _ => match amount::rate(&limit)? {
                0 => return Err("leaves nothing at all".into()),
                rate => Some(rate),
            },
        };
        let same = |disk: &DiskLimit| disk.directive == directive && disk.path == path;
        self.disks.retain(|disk| !same(disk));
        room(self.disks.len(), 1)?;
        self.disks.push(DiskLimit {
            directive,
            path,
            value,
        });
        Ok(())
    }

    /// `DevicePolicy=`.
    pub fn set_device_policy(&mut self, value: &str) -> Answer {
        self.policy = match value {
            "auto" | "" => Policy::Auto,
            "closed" => Policy::Closed,
            "strict" => Policy::Strict,
            _ => return Err("is none of auto, closed and strict".into()),
        };
        Ok(())
    }

    /// `DeviceAllow=`: adds up, an empty value resets it.
    pub fn add_device(&mut self, value: &str) -> Answer {
        if value.is_empty() {
            self.allowed.clear();
        } else {
            room(self.allowed.len(), 1)?;
            self.allowed.push(Allowed::parse(value)?);
        }
        Ok(())
    }

    /// `PrivateDevices=yes`: at least `DevicePolicy=closed`, done without where it cannot be had, for the service sees
    /// no other devices anyway.
    pub fn close_devices(&mut self) {
        self.private_devices = true;
    }

    /// `IPAddressAllow=`.
    pub fn add_allowed_addresses(&mut self, value: &str) -> Answer {
        self.address_allow.assign(value)
    }

    /// `IPAddressDeny=`.
    pub fn add_denied_addresses(&mut self, value: &str) -> Answer {
        self.address_deny.assign(value)
    }

    /// `Slice=`: `a-b.slice` lies in `a.slice`; `-.slice` is the outermost.
    pub fn set_slice(&mut self, value: &str) -> Answer {
        const WRONG: &str = "is no name of a slice such as system.slice";
        self.slice.clear();
        if value.is_empty() || value == "-.slice" {
            return Ok(());
        }
        let name = value.strip_suffix(".slice").ok_or(WRONG)?;
        let good = |c: char| c.is_ascii_alphanumeric() || ":_.\\".contains(c);
        let mut path = String::new();
        for part in name.split('-') {
            if part.is_empty() || !part.chars().all(good) || value.len() > 200 {
                return Err(WRONG.into());
            }
            if !path.is_empty() {
                path.push('-');
            }
            path.push_str(part);
            self.slice.push(format!("{path}.slice"));
        }
        Ok(())
    }

    /// `Delegate=`: yes, no, or controllers; an empty value delegates without any.
    pub fn set_delegation(&mut self, value: &str, boolean: Option<bool>) -> Answer {
        if let Some(yes) = boolean {
            self.delegation = yes.then_some(Delegation::All);
            return Ok(());
        }
        let mut controllers = match (&self.delegation, value) {
            (Some(Delegation::Some(old)), value) if !value.is_empty() => old.clone(),
            _ => Vec::new(),
        };
        for word in value.split_ascii_whitespace() {
            let known = CONTROLLERS.iter().find(|(name, _)| *name == word);
            let (_, controller) = known.ok_or_else(|| {
                let names = CONTROLLERS.map(|(name, _)| name).join(", ");
                format!("{word:?} is neither yes nor no, and none of {names}")
            })?;
            controllers.extend(controller.filter(|new| !controllers.contains(new)));
        }
        // All and some are all.
        if value.is_empty() || self.delegation != Some(Delegation::All) {
            self.delegation = Some(Delegation::Some(controllers));
        }
        Ok(())
    }

    /// `DelegateSubgroup=`.
    pub fn set_subgroup(&mut self, value: &str) -> Answer {
        // The kernel's own files have names with these beginnings.
        let kernels = [
            "cgroup", "cpu", "cpuset", "memory", "io", "pids", "hugetlb", "rdma", "misc", "dmem",
        ];
        let start = value.split('.').next().unwrap_or_default();
        let taken = value.contains('.') && (start.is_empty() || kernels.contains(&start));
        if taken || value.contains('/') || value.contains(char::is_control) || value.len() > 255 {
            return Err("is no name for a control group".into());
        }
        self.subgroup = (!value.is_empty()).then(|| value.into());
        Ok(())
    }

    /// `OOMPolicy=`.
    pub fn set_oom_policy(&mut self, value: &str) -> Answer {
        self.kill_all = match value {
            "" | "continue" => false,
            "kill" => true,
            "stop" => {
                return Err(
                    "is not supported: nobody watches for the kernel's killings; kill ends all of the service at once"
                        .into(),
                );
            }
            _ => return Err("is none of continue, stop and kill".into()),
        };
        Ok(())
    }

    /// `MemoryPressureWatch=`.
    pub fn set_pressure(&mut self, value: &str, boolean: Option<bool>) -> Answer {
        self.pressure = match (value, boolean) {
            ("" | "auto" | "skip", _) => Watch::Untold,
            (_, Some(true)) => Watch::Yes,
            (_, Some(false)) => Watch::No,
            _ => return Err("is none of auto, yes, no and skip".into()),
        };
        Ok(())
    }

    /// `MemoryPressureThresholdSec=`.
    pub fn set_threshold(&mut self, value: &str) -> Answer {
        self.threshold = limited(value)?;
        Ok(())
    }
}

/// A time span that ends; `None` for an empty value.
fn limited(value: &str) -> Result<Option<Duration>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    match time_span::parse(value)? {
        TimeSpan::Limited(span) if !span.is_zero() => Ok(Some(span)),
        _ => Err("is no time span that ends".into()),
    }
}

fn microseconds(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
