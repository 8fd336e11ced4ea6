//! What a process does to itself before it becomes the service: privileges, limits, scheduling.

use std::collections::BTreeMap;

use super::row::{Directive, function, missing, restriction};
use super::{Settings, boolean, octal};
use crate::capabilities::CapabilitySet;
use crate::sizes::{self, Limit, Resource};
use crate::time_span::{self, TimeSpan};
use crate::words;

/// How the CPU is given (sched(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// `SCHED_OTHER`.
    Other,
    /// `SCHED_BATCH`.
    Batch,
    /// `SCHED_IDLE`.
    Idle,
    /// `SCHED_FIFO`.
    Fifo,
    /// `SCHED_RR`.
    RoundRobin,
}

/// How the disk is given (ioprio_set(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoClass {
    /// As the CPU is.
    None,
    /// Before all others.
    Realtime,
    /// By turns.
    BestEffort,
    /// When nobody else wants it.
    Idle,
}

/// What the directives of this topic add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// `CapabilityBoundingSet=`, where it is assigned.
    pub bounding: Option<CapabilitySet>,
    /// `AmbientCapabilities=`.
    pub ambient: CapabilitySet,
    /// `SecureBits=`, as prctl(PR_SET_SECUREBITS) has them.
    pub secure_bits: u32,
    /// `UMask=`.
    pub umask: Option<u32>,
    /// `Limit…=`.
    pub limits: BTreeMap<Resource, Limit>,
    /// `Nice=`.
    pub nice: Option<i32>,
    /// `CPUSchedulingPolicy=`.
    pub policy: Option<Policy>,
    /// `CPUSchedulingPriority=`.
    pub priority: Option<u32>,
    /// `CPUSchedulingResetOnFork=`.
    pub reset_on_fork: bool,
    /// `CPUAffinity=`: numbers of CPUs.
    pub affinity: Vec<usize>,
    /// `IOSchedulingClass=`.
    pub io_class: Option<IoClass>,
    /// `IOSchedulingPriority=`, 0 to 7.
    pub io_priority: Option<u32>,
    /// `OOMScoreAdjust=`.
    pub oom_score: Option<i32>,
    /// `TimerSlackNSec=`, in nanoseconds.
    pub timer_slack: Option<u64>,
    /// `CoredumpFilter=`.
    pub coredump_filter: Option<u64>,
    /// `IgnoreSIGPIPE=`; where nobody says, services from unit files ignore it.
    pub ignore_sigpipe: Option<bool>,
}

/// The bits of `SecureBits=` (capabilities(7)).
const SECURE_BITS: [(&str, u32); 6] = [
    ("noroot", 1 << 0),
    ("noroot-locked", 1 << 1),
    ("no-setuid-fixup", 1 << 2),
    ("no-setuid-fixup-locked", 1 << 3),
    ("keep-caps", 1 << 4),
    ("keep-caps-locked", 1 << 5),
];

/// What a core dump may hold (core(5)).
const DUMPED: [(&str, u32); 9] = [
    ("private-anonymous", 0),
    ("shared-anonymous", 1),
    ("private-file-backed", 2),
    ("shared-file-backed", 3),
    ("elf-headers", 4),
    ("private-huge", 5),
    ("shared-huge", 6),
    ("private-dax", 7),
    ("shared-dax", 8),
];

pub(super) const TABLE: &[Directive] = &[
    restriction(
        "CapabilityBoundingSet",
        "the bounding set; a dynamic user's is its ambient set at most",
        |s, v| {
            let known = s.process.bounding.unwrap_or(CapabilitySet::ALL);
            s.process.bounding = Some(known.assign(CapabilitySet::ALL, v)?);
            Ok(())
        },
    ),
    function(
        "AmbientCapabilities",
        "the ambient set, and nothing beyond",
        |s, v| {
            s.process.ambient = s.process.ambient.assign(CapabilitySet::EMPTY, v)?;
            Ok(())
        },
    ),
    function("SecureBits", "prctl(PR_SET_SECUREBITS)", |s, v| {
        if v.is_empty() {
            s.process.secure_bits = 0;
        }
        for word in words::split(v)? {
            s.process.secure_bits |= named(&SECURE_BITS, &word)?;
        }
        Ok(())
    }),
    function("UMask", "umask(2)", |s, v| {
        s.process.umask = Some(octal(v)? & 0o777);
        Ok(())
    }),
    limit("LimitCPU", |s, v| s.limit(Resource::Cpu, v)),
    limit("LimitFSIZE", |s, v| s.limit(Resource::FileSize, v)),
    limit("LimitDATA", |s, v| s.limit(Resource::Data, v)),
    limit("LimitSTACK", |s, v| s.limit(Resource::Stack, v)),
    limit("LimitCORE", |s, v| s.limit(Resource::Core, v)),
    limit("LimitRSS", |s, v| s.limit(Resource::ResidentSet, v)),
    limit("LimitNOFILE", |s, v| s.limit(Resource::OpenFiles, v)),
    limit("LimitAS", |s, v| s.limit(Resource::AddressSpace, v)),
    limit("LimitNPROC", |s, v| s.limit(Resource::Processes, v)),
    limit("LimitMEMLOCK", |s, v| s.limit(Resource::LockedMemory, v)),
    limit("LimitLOCKS", |s, v| s.limit(Resource::Locks, v)),
    limit("LimitSIGPENDING", |s, v| {
        s.limit(Resource::PendingSignals, v)
    }),
    limit("LimitMSGQUEUE", |s, v| s.limit(Resource::MessageQueues, v)),
    limit("LimitNICE", |s, v| s.limit(Resource::Nice, v)),
    limit("LimitRTPRIO", |s, v| s.limit(Resource::RealtimePriority, v)),
    limit("LimitRTTIME", |s, v| s.limit(Resource::RealtimeTime, v)),
    function("Nice", "setpriority(2)", |s, v| {
        s.process.nice = assigned(v, |v| ranged(v, -20, 19))?;
        Ok(())
    }),
    function("CPUSchedulingPolicy", "sched_setscheduler(2)", |s, v| {
        s.process.policy = assigned(v, |v| match v {
            "other" => Ok(Policy::Other),
            "batch" => Ok(Policy::Batch),
            "idle" => Ok(Policy::Idle),
            "fifo" => Ok(Policy::Fifo),
            "rr" => Ok(Policy::RoundRobin),
            _ => Err("is neither other, batch, idle, fifo nor rr".into()),
        })?;
        Ok(())
    }),
    function("CPUSchedulingPriority", "sched_setscheduler(2)", |s, v| {
        s.process.priority = assigned(v, |v| ranged(v, 0, 99))?;
        Ok(())
    }),
    function(
        "CPUSchedulingResetOnFork",
        "sched_setscheduler(2)",
        |s, v| {
            s.process.reset_on_fork = boolean(v)?;
            Ok(())
        },
    ),
    function("CPUAffinity", "sched_setaffinity(2)", affinity),
    function("IOSchedulingClass", "ioprio_set(2)", |s, v| {
        s.process.io_class = assigned(v, |v| match v {
            "none" | "0" => Ok(IoClass::None),
            "realtime" | "1" => Ok(IoClass::Realtime),
            "best-effort" | "2" => Ok(IoClass::BestEffort),
            "idle" | "3" => Ok(IoClass::Idle),
            _ => Err("is neither realtime, best-effort, idle nor none".into()),
        })?;
        Ok(())
    }),
    function("IOSchedulingPriority", "ioprio_set(2)", |s, v| {
        s.process.io_priority = assigned(v, |v| ranged(v, 0, 7))?;
        Ok(())
    }),
    function("OOMScoreAdjust", "/proc/self/oom_score_adj", |s, v| {
        s.process.oom_score = assigned(v, |v| ranged(v, -1000, 1000))?;
        Ok(())
    }),
    function("TimerSlackNSec", "prctl(PR_SET_TIMERSLACK)", timer_slack),
    function(
        "CoredumpFilter",
        "/proc/self/coredump_filter",
        coredump_filter,
    ),
    restriction(
        "KeyringMode",
        "a session keyring of its own, always",
        |_, v| match v {
            "" | "private" => Ok(()),
            // What is in it would be the next one's who gets the number.
            "shared" => Err("is not possible: a number's own keyring outlives its user".into()),
            // The caller's keys would be the service's.
            "inherit" => Err("is not possible: the keys are the caller's".into()),
            _ => Err("is not private".into()),
        },
    ),
    function("IgnoreSIGPIPE", "signal(2)", |s, v| {
        s.process.ignore_sigpipe = assigned(v, boolean)?;
        Ok(())
    }),
    missing("Personality", "personality(2)"),
    missing("MemoryKSM", "prctl(PR_SET_MEMORY_MERGE)"),
];

const fn limit(
    name: &'static str,
    apply: fn(&mut Settings, &str) -> Result<(), String>,
) -> Directive {
    function(name, "setrlimit(2)", apply)
}

impl Settings {
    fn limit(&mut self, resource: Resource, value: &str) -> Result<(), String> {
        if value.is_empty() {
            self.process.limits.remove(&resource);
        } else {
            let limit = sizes::limit(resource, value)?;
            self.process.limits.insert(resource, limit);
        }
        Ok(())
    }
}

/// Nothing for an empty value, which resets a setting.
fn assigned<T>(
    value: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    read(value).map(Some)
}

fn ranged<T: std::str::FromStr + PartialOrd + std::fmt::Display>(
    value: &str,
    least: T,
    most: T,
) -> Result<T, String> {
    let number = value.parse().ok();
    number
        .filter(|number| *number >= least && *number <= most)
        .ok_or_else(|| format!("is no number from {least} to {most}"))
}

fn named(names: &[(&str, u32)], word: &str) -> Result<u32, String> {
    let known = names.iter().find(|(name, _)| *name == word);
    known.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        format!("{word:?} is none of {}", names.join(", "))
    })
}

/// The most CPUs that a list may name: the kernel's own limit is 8192.
const MOST_CPUS: usize = 8192;

fn affinity(settings: &mut Settings, value: &str) -> Result<(), String> {
    let cpus = &mut settings.process.affinity;
    if value.is_empty() {
        cpus.clear();
    }
    if value == "numa" {
        return Err("is numa, and NUMAMask= is not supported".into());
    }
    let words = value
        .split([' ', ',', '\t'])
        .filter(|word| !word.is_empty());
    let mut ranges = Vec::new();
    for word in words {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        ranges.push((ranged(first, 0, MOST_CPUS)?, ranged(last, 0, MOST_CPUS)?));
    }
    // Joined before they are written out: a line that says 0-8191 again and again would take memory without end.
    let ranges = sizes::joined(ranges).into_iter();
    let new = ranges.flat_map(|(first, last)| first..=last);
    let new: Vec<usize> = new.filter(|cpu| cpus.binary_search(cpu).is_err()).collect();
    if !new.is_empty() {
        cpus.extend(new);
        cpus.sort_unstable();
    }
    Ok(())
}

fn timer_slack(settings: &mut Settings, value: &str) -> Result<(), String> {
    // Without a unit, the number is one of nanoseconds, which time spans do not go down to.
    settings.process.timer_slack = assigned(value, |value| {
        let plain = value.strip_suffix("ns").unwrap_or(value);
        if let Ok(nanoseconds) = plain.trim_end().parse() {
            return Ok(nanoseconds);
        }
        match time_span::parse(value)? {
            TimeSpan::Limited(span) => {
                u64::try_from(span.as_nanos()).map_err(|_| "is too long".into())
            }
            TimeSpan::Infinite => Err("is no end".into()),
        }
    })?;
    Ok(())
}

fn coredump_filter(settings: &mut Settings, value: &str) -> Result<(), String> {
    if value.is_empty() {
        settings.process.coredump_filter = None;
    }
    for word in words::split(value)? {
        let bits = match word.as_str() {
            "all" => u64::from(u32::MAX),
            // What the kernel dumps unless told otherwise.
            "default" => 0x33,
            hexadecimal if hexadecimal.starts_with(|c: char| c.is_ascii_digit()) => {
                let digits = hexadecimal.trim_start_matches("0x");
                u64::from_str_radix(digits, 16).map_err(|_| "is no number in hexadecimal")?
            }
            name => 1_u64.checked_shl(named(&DUMPED, name)?).unwrap_or(0),
        };
        let filter = settings.process.coredump_filter.get_or_insert(0);
        *filter |= bits;
    }
    Ok(())
}
