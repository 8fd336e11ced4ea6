//! What a service asks for beyond the sandbox that every dynamic user has: less of the kernel, of the homes, of
//! devices, and what is bound into its view.

#![forbid(unsafe_code)]

use super::Step;
use super::step::Action;
use crate::directives::{Access, Bind, Homes, Processes, Settings};
use crate::exec_directory::lies_in;
use crate::failure::Stage;

/// Homes (systemd.exec(5), "ProtectHome=").
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// What tells of the kernel, or changes it, for everybody (`ProtectKernelTunables=`): to be read only.
const TUNABLES: [&str; 14] = [
    "/proc/acpi",
    "/proc/apm",
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/latency_stats",
    "/proc/mtrr",
    "/proc/scsi",
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/timer_stats",
    "/sys/fs/bpf",
    "/sys/firmware/efi",
];

/// What shows where the kernel's code and data are: not even to be read.
const KERNEL_MEMORY: [&str; 4] = [
    "/proc/kallsyms",
    "/proc/kcore",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
];

/// The modules of the kernel (`ProtectKernelModules=`).
const MODULES: [&str; 2] = ["/usr/lib/modules", "/lib/modules"];

/// The messages of the kernel (`ProtectKernelLogs=`).
const LOGS: [&str; 2] = ["/proc/kmsg", "/dev/kmsg"];

/// The clocks (`ProtectClock=`): without the capability and the calls, they are left to their modes.
const CLOCKS: [&str; 4] = ["/dev/rtc", "/dev/rtc0", "/dev/rtc1", "/dev/hpet"];

/// The control groups.
pub(super) const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// Where the kernel's own file systems are.
pub(super) const KERNEL_TREES: [&str; 3] = ["/dev", "/proc", "/sys"];

fn step(path: &str, action: Action) -> Step {
    Step::new(Stage::Namespace, path, action)
}

/// Whether a mount below the kernel's trees stays as writable as it is on the host.
pub(super) fn stays_writable(settings: &Settings, path: &str) -> bool {
    let (mounts, filters) = (&settings.mounts, &settings.filters);
    if lies_in(path, CONTROL_GROUPS) {
        return !mounts.control_groups;
    }
    !(filters.protect_kernel_tunables && lies_in(path, "/sys"))
}

/// What has to be there before the rest: /proc, /dev, the homes.
pub(super) fn first(settings: &Settings) -> Vec<Step> {
    let mounts = &settings.mounts;
    let mut steps = Vec::new();
    let own_proc = mounts.processes != Processes::Shown || mounts.processes_only;
    // In a PID namespace of its own it is mounted by its first process: nobody else can.
    if own_proc && !settings.namespaces.processes {
        let action = Action::MountProc {
            processes: mounts.processes,
            processes_only: mounts.processes_only,
        };
        steps.push(step("/proc", action));
    }
    if mounts.devices {
        steps.push(step("/dev", Action::MountDevices));
    }
    if settings.namespaces.ipc {
        steps.push(step("/dev/mqueue", Action::MountQueues));
    }
    if mounts.homes == Homes::Hidden {
        steps.extend(HOMES.map(|home| step(home, Action::Hide { optional: true })));
    }
    steps
}

/// What is closed when everything is there that belongs there.
pub(super) fn last(settings: &Settings) -> Option<Step> {
    let devices = settings.mounts.devices;
    devices.then(|| step("/dev", Action::Seal))
}

/// What is taken away of the kernel's trees.
pub(super) fn kernel(settings: &Settings) -> Vec<Step> {
    let filters = &settings.filters;
    let mut steps = Vec::new();
    let hide = |paths: &[&str], steps: &mut Vec<Step>| {
        let hidden = paths
            .iter()
            .map(|path| step(path, Action::Hide { optional: true }));
        steps.extend(hidden);
    };
    if filters.protect_kernel_tunables {
        let restrict = Action::Restrict {
            read_only: true,
            no_exec: false,
            optional: true,
        };
        steps.extend(TUNABLES.map(|path| step(path, restrict.clone())));
        hide(&KERNEL_MEMORY, &mut steps);
    }
    if filters.protect_kernel_modules {
        hide(&MODULES, &mut steps);
    }
    if filters.protect_kernel_logs {
        hide(&LOGS, &mut steps);
    }
    if filters.protect_clock && !settings.mounts.devices {
        hide(&CLOCKS, &mut steps);
    }
    steps
}

/// What the first process of a PID namespace of the service's own mounts for itself: nobody else can.
pub fn processes_of_its_own(settings: &Settings) -> Vec<Step> {
    let mounts = &settings.mounts;
    let action = Action::MountProc {
        processes: mounts.processes,
        processes_only: mounts.processes_only,
    };
    let of_processes = kernel(settings)
        .into_iter()
        .filter(|step| lies_in(&step.path, "/proc"));
    // What was done with the former /proc is below the new one. Nothing is lifted there.
    let rules = settings.mounts.paths.iter();
    let rules = rules.filter(|rule| lies_in(&rule.path, "/proc"));
    let rules = rules.filter_map(|rule| {
        let optional = rule.may_be_missing;
        let action = match rule.access {
            Access::Nothing => Action::Hide { optional },
            Access::Read | Access::NoExecute => Action::Restrict {
                read_only: rule.access == Access::Read,
                no_exec: rule.access == Access::NoExecute,
                optional,
            },
            Access::Write | Access::Execute => return None,
        };
        Some(step(&rule.path, action))
    });
    std::iter::once(step("/proc", action))
        .chain(of_processes)
        .chain(rules)
        .collect()
}

/// The views that binds need, taken on the host.
pub(super) fn views(settings: &Settings) -> Vec<Step> {
    let binds = settings.mounts.binds.iter().enumerate();
    let take = |(number, bind): (usize, &Bind)| {
        let action = Action::TakeBind {
            name: bind_name(number, bind),
            writable: bind.writable,
            no_exec: false,
            recursive: bind.recursive,
            optional: bind.may_be_missing,
        };
        step(&bind.source, action)
    };
    binds.map(take).collect()
}

fn bind_name(number: usize, bind: &Bind) -> String {
    format!("bind {} {}", number.saturating_add(1), bind.target)
}

/// What is bound into the view, from the outside in: an outer one would hide what is bound in it.
pub(super) fn binds(settings: &Settings, cover: impl Fn(&str) -> Option<String>) -> Vec<Step> {
    let mut binds: Vec<_> = settings.mounts.binds.iter().enumerate().collect();
    binds.sort_by(|(_, one), (_, other)| one.target.cmp(&other.target));
    let binds = binds.into_iter();
    let attach = |(number, bind): (usize, &Bind)| {
        let action = Action::AttachBind {
            name: bind_name(number, bind),
            inside: cover(&bind.target),
            over: Vec::new(),
        };
        step(&bind.target, action)
    };
    binds.map(attach).collect()
}

/// Where the service may make files by binds.
pub(super) fn writable(settings: &Settings) -> impl Iterator<Item = &String> {
    let binds = settings.mounts.binds.iter();
    binds.filter(|bind| bind.writable).map(|bind| &bind.target)
}
