//! From what was asked to what is written where.

#![forbid(unsafe_code)]

use super::{ControlGroup, Delegation, DiskLimit, Watch, amount, microseconds};
use crate::bpf_code::Instruction;
use crate::device_filter::{self, Device, Devices, Policy};
use crate::packet_filter::{self, Direction};
use crate::sizes::Amount;

/// What has to be known of the host. Only what [`ControlGroup`] asks for need be right.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its memory, in bytes.
    pub memory: u64,
    /// Its swap space, in bytes.
    pub swap: u64,
    /// The most tasks that it can have.
    pub tasks: u64,
    /// The numbers of the disk behind each path of [`ControlGroup::disk_paths`].
    pub disks: Vec<(String, (u32, u32))>,
    /// Its devices, with the nodes of [`ControlGroup::device_paths`].
    pub devices: Devices,
}

/// Something to be written into a file of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The file; `memory.max`, say.
    pub file: &'static str,
    /// What is written.
    pub value: String,
    /// Who wants it.
    pub directive: &'static str,
}

/// A controller that must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Its name; `memory`, say.
    pub name: &'static str,
    /// Who wants it.
    pub directive: &'static str,
    /// Whether it is done without where it is not to be had.
    pub optional: bool,
}

/// Where the kernel runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// When a device node is opened or made.
    Device,
    /// When a packet arrives.
    PacketIn,
    /// When a packet leaves.
    PacketOut,
}

/// A program for the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it runs.
    pub hook: Hook,
    /// What it does.
    pub code: Vec<Instruction>,
    /// Who wants it. `PrivateDevices` for a filter that is there only where it can be had.
    pub directive: &'static str,
    /// Whether it is done without where it is not to be had.
    pub optional: bool,
}

/// What a service is told about memory pressure (systemd's MEMORY_PRESSURE.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// Not to watch.
    Ignored,
    /// To watch, with a threshold in microseconds within two seconds.
    Watched(u64),
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The groups that it lies in, outermost first, beneath our own.
    pub slices: Vec<String>,
    /// Controllers that must be there before anything is written.
    pub controllers: Vec<Controller>,
    /// What is written, in this order.
    pub writes: Vec<Write>,
    /// What is attached.
    pub programs: Vec<Program>,
    /// Whether the group is given to the service's user.
    pub delegated: bool,
    /// The group in it where the service runs.
    pub subgroup: Option<String>,
    /// What the service is told about memory pressure.
    pub pressure: Option<Pressure>,
}

impl Plan {
    /// The directives that take a control group, each once: without any, a service needs none.
    pub fn directives(&self) -> Vec<&'static str> {
        let mut all: Vec<&'static str> = Vec::new();
        let required = self.programs.iter().filter(|program| !program.optional);
        all.extend(self.writes.iter().map(|write| write.directive));
        all.extend(required.map(|program| program.directive));
        all.extend(self.delegated.then_some("Delegate"));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The same without what one directive wants.
    #[must_use]
    pub fn without(mut self, directive: &str) -> Self {
        self.writes.retain(|write| write.directive != directive);
        self.programs
            .retain(|program| program.directive != directive);
        self.controllers.retain(|one| one.directive != directive);
        if directive == "Delegate" {
            (self.delegated, self.subgroup) = (false, None);
        }
        self
    }
}

/// Whatever a limit that is an amount is a share of.
enum Of {
    Tasks,
    Memory,
    Swap,
}

/// Limits that are an amount, with their files (the kernel's `Documentation/admin-guide/cgroup-v2.rst`).
const AMOUNTS: [(&str, &str, &str, Of); 7] = [
    ("TasksMax", "pids", "pids.max", Of::Tasks),
    ("MemoryMin", "memory", "memory.min", Of::Memory),
    ("MemoryLow", "memory", "memory.low", Of::Memory),
    ("MemoryHigh", "memory", "memory.high", Of::Memory),
    ("MemoryMax", "memory", "memory.max", Of::Memory),
    ("MemorySwapMax", "memory", "memory.swap.max", Of::Swap),
    ("MemoryZSwapMax", "memory", "memory.zswap.max", Of::Swap),
];

/// Lists, with their files.
const SETS: [(&str, &str); 2] = [
    ("AllowedCPUs", "cpuset.cpus"),
    ("AllowedMemoryNodes", "cpuset.mems"),
];

/// Limits on one disk, with their files and the word before the number.
const DISKS: [(&str, &str, &str); 6] = [
    ("IODeviceWeight", "io.weight", ""),
    ("IOReadBandwidthMax", "io.max", "rbps="),
    ("IOWriteBandwidthMax", "io.max", "wbps="),
    ("IOReadIOPSMax", "io.max", "riops="),
    ("IOWriteIOPSMax", "io.max", "wiops="),
    ("IODeviceLatencyTargetSec", "io.latency", "target="),
];

/// The controllers that `Delegate=yes` gives, those that are there.
const ALL: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// Microseconds: of a second, and the least and the usual period of a quota.
const SECOND: u64 = 1_000_000;
const LEAST_PERIOD: u64 = 1000;
const USUAL_PERIOD: u64 = 100_000;
/// systemd's usual threshold of memory pressure.
const USUAL_PRESSURE: u64 = 200_000;

impl ControlGroup {
    /// The paths whose disks [`Facts::disks`] must name: a block device, or anything on one.
    pub fn disk_paths(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.disks
            .iter()
            .map(|disk| (disk.directive, disk.path.as_str()))
    }

    /// The paths of device nodes that [`Facts::devices`] must number, where they are there.
    pub fn device_paths(&self) -> impl Iterator<Item = &str> {
        self.allowed
            .iter()
            .filter_map(|allowed| match &allowed.device {
                Device::Node(path) => Some(path.as_str()),
                Device::Group(..) => None,
            })
    }

    /// What is to be done on a host.
    ///
    /// # Errors
    /// The directive, and a sentence about what it asks for.
    pub fn plan(&self, facts: &Facts) -> Result<Plan, (&'static str, String)> {
        let mut plan = Plan {
            slices: self.slice.clone(),
            delegated: self.delegation.is_some(),
            subgroup: self.subgroup.clone().filter(|_| self.delegation.is_some()),
            pressure: match self.pressure {
                Watch::Untold => None,
                Watch::No => Some(Pressure::Ignored),
                Watch::Yes => Some(Pressure::Watched(
                    self.threshold.map_or(USUAL_PRESSURE, microseconds),
                )),
            },
            ..Plan::default()
        };
        self.amounts(facts, &mut plan);
        self.processors(&mut plan);
        self.disks(facts, &mut plan)?;
        if self.kill_all {
            plan.add("OOMPolicy", "memory", "memory.oom.group", "1".into());
        }
        self.delegate(&mut plan);
        self.programs(facts, &mut plan)?;
        Ok(plan)
    }

    fn amounts(&self, facts: &Facts, plan: &mut Plan) {
        for (directive, controller, file, of) in AMOUNTS {
            let asked = self.amounts.iter().find(|(name, _)| *name == directive);
            if let Some((_, amount)) = asked {
                let all = match of {
                    Of::Tasks => facts.tasks,
                    Of::Memory => facts.memory,
                    Of::Swap => facts.swap,
                };
                plan.add(directive, controller, file, limit(*amount, all));
            }
        }
    }

    fn processors(&self, plan: &mut Plan) {
        match self.cpu_weight {
            Some(Some(weight)) => plan.add("CPUWeight", "cpu", "cpu.weight", weight.to_string()),
            Some(None) => plan.add("CPUWeight", "cpu", "cpu.idle", "1".into()),
            None => {}
        }
        if let Some(quota) = self.cpu_quota {
            let period = self.cpu_period.map_or(USUAL_PERIOD, microseconds);
            plan.add("CPUQuota", "cpu", "cpu.max", cpu_max(quota, period));
        }
        for (directive, file) in SETS {
            if let Some((_, list)) = self.sets.iter().find(|(name, _)| *name == directive) {
                plan.add(directive, "cpuset", file, amount::list_text(list));
            }
        }
    }

    fn disks(&self, facts: &Facts, plan: &mut Plan) -> Result<(), (&'static str, String)> {
        if let Some(weight) = self.io_weight {
            plan.add("IOWeight", "io", "io.weight", format!("default {weight}"));
        }
        for DiskLimit {
            directive,
            path,
            value,
        } in &self.disks
        {
            let numbers = facts.disks.iter().find(|(of, _)| of == path);
            let (_, (major, minor)) = numbers.ok_or_else(|| {
                (
                    *directive,
                    format!("{path} is on no disk that has a number"),
                )
            })?;
            let row = DISKS.into_iter().find(|(name, ..)| name == directive);
            if let Some((directive, file, word)) = row {
                let value = value.map_or("max".into(), |value| value.to_string());
                let line = format!("{major}:{minor} {word}{value}");
                plan.add(directive, "io", file, line);
            }
        }
        Ok(())
    }

    fn delegate(&self, plan: &mut Plan) {
        let (controllers, optional) = match &self.delegation {
            None => return,
            Some(Delegation::All) => (ALL.to_vec(), true),
            Some(Delegation::Some(controllers)) => (controllers.clone(), false),
        };
        plan.controllers
            .extend(controllers.into_iter().map(|name| Controller {
                name,
                directive: "Delegate",
                optional,
            }));
    }

    fn programs(&self, facts: &Facts, plan: &mut Plan) -> Result<(), (&'static str, String)> {
        let (policy, directive) = match (self.policy, self.allowed.is_empty()) {
            (Policy::Auto, true) if self.private_devices => (Policy::Closed, "PrivateDevices"),
            (policy, true) => (policy, "DevicePolicy"),
            (policy, false) => (policy, "DeviceAllow"),
        };
        if let Some(rules) = device_filter::rules(policy, &self.allowed, &facts.devices) {
            plan.programs.push(Program {
                hook: Hook::Device,
                code: device_filter::program(&rules).map_err(|why| (directive, why))?,
                directive,
                optional: directive == "PrivateDevices",
            });
        }
        // What is allowed is allowed anyway where nothing is denied.
        if self.address_deny.is_empty() {
            return Ok(());
        }
        for (hook, direction) in [
            (Hook::PacketIn, Direction::In),
            (Hook::PacketOut, Direction::Out),
        ] {
            let code = packet_filter::program(direction, &self.address_allow, &self.address_deny);
            plan.programs.push(Program {
                hook,
                code: code.map_err(|why| ("IPAddressDeny", why))?,
                directive: "IPAddressDeny",
                optional: false,
            });
        }
        Ok(())
    }
}

impl Plan {
    fn add(
        &mut self,
        directive: &'static str,
        controller: &'static str,
        file: &'static str,
        value: String,
    ) {
        self.controllers.push(Controller {
            name: controller,
            directive,
            optional: false,
        });
        self.writes.push(Write {
            file,
            value,
            directive,
        });
    }
}

fn limit(amount: Amount, all: u64) -> String {
    amount::of(amount, all).map_or("max".into(), |number| number.to_string())
}

/// `cpu.max` for a quota in hundredths of a percent and a period in microseconds, both at least a millisecond and the
/// period at most a second, as systemd and the kernel want them.
fn cpu_max(quota: u64, period: u64) -> String {
    let of = |period: u64| u128::from(period).saturating_mul(quota.into()) / 10_000;
    let long_enough = u128::from(LEAST_PERIOD)
        .saturating_mul(10_000)
        .checked_div(quota.into())
        .and_then(|period| u64::try_from(period).ok())
        .unwrap_or(SECOND);
    let period = period.max(LEAST_PERIOD).max(long_enough).min(SECOND);
    format!("{} {period}", of(period).max(LEAST_PERIOD.into()))
}
