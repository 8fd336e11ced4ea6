//! What a process does to itself, in this order, before it becomes a command of the service.

#![forbid(unsafe_code)]

use std::fmt;

use crate::capabilities::{self, CapabilitySet};
use crate::command_text::Privilege;
use crate::directives::{IoClass, Policy, Settings};
use crate::level::Level;
use crate::sizes::{Limit, Resource};

/// One thing that the launcher does to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// Move into the control group of the activation.
    JoinControlGroup,
    /// A resource limit.
    SetLimit(Resource, Limit),
    /// What the kernel ends first when memory is gone.
    SetOomScore(i32),
    /// The nice level.
    SetNice(i32),
    /// How the CPU is given.
    SetScheduler {
        /// The policy.
        policy: Policy,
        /// Its priority.
        priority: u32,
        /// Whether children start with the normal one.
        reset_on_fork: bool,
    },
    /// The CPUs to run on.
    SetAffinity(Vec<usize>),
    /// How the disk is given.
    SetIoPriority(IoClass, u32),
    /// How late timers may be, in nanoseconds.
    SetTimerSlack(u64),
    /// What a core dump may hold.
    SetCoredumpFilter(u64),
    /// Enter the namespaces, but for that of users.
    EnterNamespaces,
    /// File mode creation mask.
    SetUmask(u32),
    /// A new, empty session keyring: the caller's would give the service the caller's keys.
    NewSessionKeyring,
    /// No new files but beneath the service's own places (landlock(7)).
    ConfineFiles,
    /// Nothing is written, made, removed or cut short but beneath the service's own places (landlock(7)).
    ConfineWrites,
    /// Enter the user namespace.
    EnterUserNamespace,
    /// Empty the bounding set but for these, and the ambient and inheritable ones: nothing else can be regained by
    /// any exec.
    LimitCapabilities(CapabilitySet),
    /// The supplementary groups: these alone.
    SetGroups(Vec<u32>),
    /// Real, effective and saved group ID.
    SetGid(u32),
    /// Real, effective and saved user ID, which empties the remaining capability sets but for these, which become
    /// ambient.
    SetUid(u32, CapabilitySet),
    /// Secure bits (capabilities(7)).
    SetSecureBits(u32),
    /// Never gain privileges by executing something.
    NoNewPrivileges,
    /// System calls are refused: those that would make set-ID files or type into the caller's terminal, for a dynamic
    /// user, and those that directives name.
    FilterSystemCalls,
}

/// Who adopts, and what it adopts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopter {
    /// The user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
    /// Whether there are namespaces to enter.
    pub has_namespaces: bool,
    /// Whether one of them is of users.
    pub has_user_namespace: bool,
    /// Whether there is a control group to move to.
    pub has_control_group: bool,
    /// Whether the service is to gain nothing, ever: that of a dynamic user.
    pub confined: bool,
    /// With which rights the command runs.
    pub privilege: Privilege,
}

/// What the launcher does to itself. A command that keeps root (`!`) stays root with its capabilities, inside the
/// sandbox, and has the user's groups as its only supplementary ones; one with all rights (`+`) is outside of it. For a
/// user that the host has, and without a sandbox, it is what su(1) does.
pub fn adoption(adopter: &Adopter, settings: &Settings) -> Vec<Adoption> {
    let mut steps = Vec::new();
    let full = adopter.privilege == Privilege::Full;
    if adopter.has_control_group {
        steps.push(Adoption::JoinControlGroup);
    }
    steps.extend(scheduling(settings));
    if adopter.has_namespaces {
        steps.push(Adoption::EnterNamespaces);
    }
    steps.push(Adoption::SetUmask(settings.process.umask.unwrap_or(0o022)));
    // While still root, so that it is not the UID's to leave behind.
    steps.push(Adoption::NewSessionKeyring);
    if full {
        steps.push(Adoption::SetGroups(adopter.groups.clone()));
        return steps;
    }
    if settings.level == Level::Landlock {
        // Nobody else may enter a domain without CAP_SYS_ADMIN, which a container's root does not have.
        steps.extend([Adoption::NoNewPrivileges, Adoption::ConfineWrites]);
    } else if confines_files(adopter, settings) {
        // A process that is confined so cannot mount any more, and the namespaces are whole by now.
        steps.push(Adoption::ConfineFiles);
    }
    if adopter.has_user_namespace {
        steps.push(Adoption::EnterUserNamespace);
    }
    steps.extend(identity(adopter, settings));
    let filtered = settings.filters.any();
    // Without it, and without capabilities, no filter may be installed (seccomp(2)).
    let needed = adopter.confined || settings.no_new_privileges || (filtered && adopter.uid != 0);
    if needed && !steps.contains(&Adoption::NoNewPrivileges) {
        steps.push(Adoption::NoNewPrivileges);
    }
    if adopter.confined || filtered {
        steps.push(Adoption::FilterSystemCalls);
    }
    steps
}

/// Whether new files are refused but beneath its own places. Whoever may mount is left alone: it could not any more.
fn confines_files(adopter: &Adopter, settings: &Settings) -> bool {
    let may_mount = capabilities::number("cap_sys_admin")
        .is_some_and(|number| settings.process.ambient.has(number));
    adopter.confined
        && settings.level.has_view()
        && adopter.privilege != Privilege::KeepsRoot
        && !settings.foreign_directories
        && !may_mount
}

fn identity(adopter: &Adopter, settings: &Settings) -> Vec<Adoption> {
    let mut steps = Vec::new();
    let stays_root = adopter.privilege == Privilege::KeepsRoot;
    let allowed = bounding(settings);
    let ambient = settings.process.ambient.and(allowed);
    let limited = match (stays_root || adopter.uid == 0, adopter.confined) {
        // Nothing that it has not can come by any exec.
        (false, true) => Some(ambient),
        _ => Some(allowed).filter(|allowed| *allowed != CapabilitySet::ALL),
    };
    // The bounding set first: it takes a capability to shrink it.
    steps.extend(limited.map(Adoption::LimitCapabilities));
    steps.push(Adoption::SetGroups(adopter.groups.clone()));
    if settings.process.secure_bits != 0 {
        // It takes a capability, and entering a user namespace would undo it.
        steps.push(Adoption::SetSecureBits(settings.process.secure_bits));
    }
    if !stays_root {
        steps.push(Adoption::SetGid(adopter.gid));
        // root is what we are.
        if adopter.uid != 0 {
            steps.push(Adoption::SetUid(adopter.uid, ambient));
        }
    }
    steps
}

/// What the directives leave of all capabilities.
fn bounding(settings: &Settings) -> CapabilitySet {
    let (filters, mounts) = (&settings.filters, &settings.mounts);
    let taken: [(bool, &[&str]); 4] = [
        (mounts.devices, &["cap_mknod", "cap_sys_rawio"]),
        (filters.protect_kernel_modules, &["cap_sys_module"]),
        (filters.protect_kernel_logs, &["cap_syslog"]),
        (filters.protect_clock, &["cap_sys_time", "cap_wake_alarm"]),
    ];
    let names = taken.iter().filter(|(asked, _)| *asked);
    let names = names.flat_map(|(_, names)| names.iter());
    let taken = names.filter_map(|name| capabilities::number(name));
    let taken = taken.fold(CapabilitySet::EMPTY, CapabilitySet::with);
    let asked = settings.process.bounding.unwrap_or(CapabilitySet::ALL);
    asked.without(taken)
}

/// Limits and scheduling: while still root, in the host's user namespace.
fn scheduling(settings: &Settings) -> Vec<Adoption> {
    let process = &settings.process;
    let limits = process.limits.iter();
    let mut steps: Vec<Adoption> = limits
        .map(|(resource, limit)| Adoption::SetLimit(*resource, *limit))
        .collect();
    steps.extend(process.oom_score.map(Adoption::SetOomScore));
    steps.extend(process.nice.map(Adoption::SetNice));
    if process.policy.is_some() || process.priority.is_some() || process.reset_on_fork {
        let policy = process.policy.unwrap_or(Policy::Other);
        let realtime = matches!(policy, Policy::Fifo | Policy::RoundRobin);
        // As systemd: the policies with a priority begin at 1, the others have none.
        let priority = if realtime {
            process.priority.unwrap_or(1).max(1)
        } else {
            0
        };
        steps.push(Adoption::SetScheduler {
            policy,
            priority,
            reset_on_fork: process.reset_on_fork,
        });
    }
    if !process.affinity.is_empty() {
        steps.push(Adoption::SetAffinity(process.affinity.clone()));
    }
    if process.io_class.is_some() || process.io_priority.is_some() {
        let class = process.io_class.unwrap_or(IoClass::BestEffort);
        steps.push(Adoption::SetIoPriority(
            class,
            process.io_priority.unwrap_or(4),
        ));
    }
    steps.extend(process.timer_slack.map(Adoption::SetTimerSlack));
    steps.extend(process.coredump_filter.map(Adoption::SetCoredumpFilter));
    steps
}

impl fmt::Display for Adoption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JoinControlGroup => write!(f, "join-control-group"),
            Self::SetLimit(resource, limit) => {
                write!(f, "set-limit {resource:?} {}:{}", limit.soft, limit.hard)
            }
            Self::SetOomScore(score) => write!(f, "set-oom-score {score}"),
            Self::SetNice(nice) => write!(f, "set-nice {nice}"),
            Self::SetScheduler {
                policy,
                priority,
                reset_on_fork,
            } => {
                let reset = if *reset_on_fork { " reset-on-fork" } else { "" };
                write!(f, "set-scheduler {policy:?} {priority}{reset}")
            }
            Self::SetAffinity(cpus) => write!(f, "set-cpus {cpus:?}"),
            Self::SetIoPriority(class, priority) => {
                write!(f, "set-io-priority {class:?} {priority}")
            }
            Self::SetTimerSlack(slack) => write!(f, "set-timer-slack {slack}"),
            Self::SetCoredumpFilter(filter) => write!(f, "set-coredump-filter {filter:x}"),
            Self::EnterNamespaces => write!(f, "enter-namespace"),
            Self::SetUmask(mask) => write!(f, "set-umask {mask:04o}"),
            Self::NewSessionKeyring => write!(f, "new-session-keyring"),
            Self::ConfineFiles => write!(f, "confine-new-files"),
            Self::ConfineWrites => write!(f, "confine-writes"),
            Self::EnterUserNamespace => write!(f, "enter-user-namespace"),
            Self::LimitCapabilities(CapabilitySet::EMPTY) => write!(f, "drop-capabilities all"),
            Self::LimitCapabilities(set) => write!(f, "drop-capabilities all but {set}"),
            Self::SetGroups(groups) => {
                write!(f, "set-groups")?;
                groups.iter().try_for_each(|group| write!(f, " {group}"))
            }
            Self::SetGid(gid) => write!(f, "set-gid {gid}"),
            Self::SetUid(uid, CapabilitySet::EMPTY) => write!(f, "set-uid {uid}"),
            Self::SetUid(uid, ambient) => write!(f, "set-uid {uid} with {ambient}"),
            Self::SetSecureBits(bits) => write!(f, "set-secure-bits {bits:x}"),
            Self::NoNewPrivileges => write!(f, "no-new-privileges"),
            Self::FilterSystemCalls => write!(f, "filter-system-calls"),
        }
    }
}
