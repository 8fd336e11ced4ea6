//! Limits and scheduling of this process.

use std::fs::File;
use std::io::Write;

use rustix::process::{Resource as Kernels, Rlimit, setrlimit};

use super::{During, SysResult, last_error};
use crate::directives::{IoClass, Policy};
use crate::sizes::{INFINITE, Limit, Resource};

/// Sets a resource limit (setrlimit(2)). Where the hard one may not be that high, as in a container without the right
/// to raise it, it is as high as it may be, as with systemd.
///
/// # Errors
/// Those of the call.
pub fn set_limit(resource: Resource, limit: Limit) -> SysResult<()> {
    let finite = |value: u64| (value != INFINITE).then_some(value);
    let kernels = kernels(resource);
    let wanted = Rlimit {
        current: finite(limit.soft),
        maximum: finite(limit.hard),
    };
    match setrlimit(kernels, wanted) {
        Err(rustix::io::Errno::PERM) => {
            let most = rustix::process::getrlimit(kernels).maximum;
            let least = |one: Option<u64>, other: Option<u64>| match (one, other) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            let possible = Rlimit {
                current: least(wanted.current, most),
                maximum: least(wanted.maximum, most),
            };
            setrlimit(kernels, possible)
        }
        set => set,
    }
    .during("setrlimit", format!("{resource:?}"))
}

fn kernels(resource: Resource) -> Kernels {
    match resource {
        Resource::Cpu => Kernels::Cpu,
        Resource::FileSize => Kernels::Fsize,
        Resource::Data => Kernels::Data,
        Resource::Stack => Kernels::Stack,
        Resource::Core => Kernels::Core,
        Resource::ResidentSet => Kernels::Rss,
        Resource::OpenFiles => Kernels::Nofile,
        Resource::AddressSpace => Kernels::As,
        Resource::Processes => Kernels::Nproc,
        Resource::LockedMemory => Kernels::Memlock,
        Resource::Locks => Kernels::Locks,
        Resource::PendingSignals => Kernels::Sigpending,
        Resource::MessageQueues => Kernels::Msgqueue,
        Resource::Nice => Kernels::Nice,
        Resource::RealtimePriority => Kernels::Rtprio,
        Resource::RealtimeTime => Kernels::Rttime,
    }
}

/// Sets the nice level (setpriority(2)).
///
/// # Errors
/// Those of the call.
pub fn set_nice(nice: i32) -> SysResult<()> {
    rustix::process::setpriority_process(None, nice).during("setpriority", nice)
}

/// Sets how the CPU is given (sched_setscheduler(2)).
///
/// # Errors
/// Those of the call.
pub fn set_scheduler(policy: Policy, priority: u32, reset_on_fork: bool) -> SysResult<()> {
    let number = match policy {
        Policy::Other => libc::SCHED_OTHER,
        Policy::Batch => libc::SCHED_BATCH,
        Policy::Idle => libc::SCHED_IDLE,
        Policy::Fifo => libc::SCHED_FIFO,
        Policy::RoundRobin => libc::SCHED_RR,
    };
    let reset = if reset_on_fork {
        libc::SCHED_RESET_ON_FORK
    } else {
        0
    };
    let parameters = libc::sched_param {
        sched_priority: libc::c_int::try_from(priority).unwrap_or(libc::c_int::MAX),
    };
    // SAFETY: 0 is this thread, and the kernel reads one sched_param, which lives until the call returns.
    let answer = unsafe { libc::sched_setscheduler(0, number | reset, &raw const parameters) };
    let result = if answer == 0 {
        Ok(())
    } else {
        Err(last_error())
    };
    result.during("sched_setscheduler", format!("{policy:?} {priority}"))
}

/// Sets the CPUs to run on (sched_setaffinity(2)). Those that the host does not have mean nothing.
///
/// # Errors
/// Those of the call: `EINVAL` if it has none of them.
pub fn set_affinity(cpus: &[usize]) -> SysResult<()> {
    let mut set = rustix::thread::CpuSet::new();
    for cpu in cpus
        .iter()
        .filter(|cpu| **cpu < rustix::thread::CpuSet::MAX_CPU)
    {
        set.set(*cpu);
    }
    rustix::thread::sched_setaffinity(None, &set).during("sched_setaffinity", format!("{cpus:?}"))
}

/// `IOPRIO_WHO_PROCESS` and `IOPRIO_CLASS_SHIFT` of linux/ioprio.h.
const WHO_PROCESS: libc::c_int = 1;
const CLASS_SHIFT: u32 = 13;

/// Sets how the disk is given (ioprio_set(2)).
///
/// # Errors
/// Those of the call.
pub fn set_io_priority(class: IoClass, priority: u32) -> SysResult<()> {
    let number: u32 = match class {
        IoClass::None => 0,
        IoClass::Realtime => 1,
        IoClass::BestEffort => 2,
        IoClass::Idle => 3,
    };
    let data = match class {
        IoClass::None | IoClass::Idle => 0,
        IoClass::Realtime | IoClass::BestEffort => priority,
    };
    let value = number.checked_shl(CLASS_SHIFT).unwrap_or(0) | data;
    // SAFETY: the call takes three numbers and touches no memory; 0 is this thread.
    let answer = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) };
    let result = if answer == 0 {
        Ok(())
    } else {
        Err(last_error())
    };
    result.during("ioprio_set", format!("{class:?} {priority}"))
}

/// Sets what the kernel ends first when memory is gone (proc_pid_oom_score_adj(5)).
///
/// # Errors
/// Those of writing the file.
pub fn set_oom_score(score: i32) -> SysResult<()> {
    write("/proc/self/oom_score_adj", &score.to_string())
}

/// Sets what a core dump may hold (core(5)).
///
/// # Errors
/// Those of writing the file.
pub fn set_coredump_filter(filter: u64) -> SysResult<()> {
    write("/proc/self/coredump_filter", &format!("{filter:#x}"))
}

fn write(path: &'static str, text: &str) -> SysResult<()> {
    let opened = File::options().write(true).open(path);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .during("write", path)
}

/// Sets how late timers may be, in nanoseconds (PR_SET_TIMERSLACK(2const)).
///
/// # Errors
/// Those of prctl(2).
pub fn set_timer_slack(nanoseconds: u64) -> SysResult<()> {
    let slack = libc::c_ulong::try_from(nanoseconds).unwrap_or(libc::c_ulong::MAX);
    // SAFETY: PR_SET_TIMERSLACK takes a number and touches no memory.
    let answer = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack) };
    let result = if answer == 0 {
        Ok(())
    } else {
        Err(last_error())
    };
    result.during("prctl", "PR_SET_TIMERSLACK")
}
