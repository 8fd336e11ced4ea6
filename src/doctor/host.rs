//! What the host lacks of the kernel; and what is stuck: leases.

#![forbid(unsafe_code)]

use super::accounts::{list, readable};
use super::{Finding, Kernel, LeaseFact, Severity, Text, exclude};
use crate::layout::LEASES;
use crate::uid::{UidRange, UidRanges};

/// Looks at what is leased, and at what is stuck.
pub(super) fn leases(
    leases: &Result<Vec<LeaseFact>, String>,
    ranges: Option<&UidRanges>,
    found: &mut Vec<Finding>,
) {
    let leases = match leases {
        Ok(leases) => leases,
        Err(why) => {
            let text = format!("cannot be read: {why}");
            return found.push(Finding::new(Severity::Error, LEASES, text));
        }
    };
    let before = found.len();
    for LeaseFact { uid, lease } in leases {
        match lease {
            Err(why) => found.push(
                Finding::new(
                    Severity::Error,
                    format!("{LEASES}/{uid}"),
                    format!("is damaged, so the number stays out of use: {why}"),
                )
                .help(format!(
                    "end what still runs as {uid}, then: dynuser release {uid}"
                )),
            ),
            Ok(lease) => {
                let subject = format!("user {} ({uid})", lease.name);
                if let Some(why) = &lease.quarantined {
                    found.push(
                        Finding::new(
                            Severity::Warning,
                            &subject,
                            format!("is in quarantine: {why}"),
                        )
                        .help(format!(
                            "remove the reason, then: dynuser release {}",
                            lease.name
                        )),
                    );
                }
                if lease.dynamic && ranges.is_some_and(|ranges| !ranges.contains(*uid)) {
                    let text = "is outside the configured ranges: the number is kept until the lease ends, \
                                and not given again";
                    found.push(Finding::new(Severity::Note, subject, text));
                }
            }
        }
    }
    if found.len() == before {
        let text = format!("{} leases, none of them stuck", leases.len());
        found.push(Finding::new(Severity::Ok, "leases", text));
    }
}

/// Looks at what starts need of the kernel.
pub(super) fn kernel(kernel: &Kernel, found: &mut Vec<Finding>) {
    let before = found.len();
    let mut add = |severity, subject: &str, text: &str, help: &str| {
        found.push(Finding::new(severity, subject, text).help(help));
    };
    if version(&kernel.release).is_some_and(|version| version < (5, 12)) {
        let text = format!(
            "Linux {} is too old: every start is refused",
            kernel.release
        );
        add(Severity::Error, "kernel", &text, "Linux 5.12 or newer");
    }
    if kernel.mount_namespaces == Some(0) {
        add(
            Severity::Error,
            "user.max_mnt_namespaces",
            "is 0: no mount namespace can be made, so every start is refused",
            "sysctl user.max_mnt_namespaces=10000",
        );
    }
    if kernel.user_namespaces == Some(0) {
        add(
            Severity::Warning,
            "user.max_user_namespaces",
            "is 0: directories of another owner cannot be shown to a service, so such starts are refused",
            "sysctl user.max_user_namespaces=10000 (dynuser needs one for each owner and number)",
        );
    }
    if !kernel.message_queues {
        let text =
            "has no POSIX message queues, so none are looked for; nothing is wrong with that";
        found.push(Finding::new(Severity::Note, "kernel", text));
    }
    if !kernel.pidfs {
        let text = "has no pidfs (Linux 6.9): after a restart, the daemon knows processes by number and \
                    start time";
        found.push(Finding::new(Severity::Note, "kernel", text));
    }
    match &kernel.mounts {
        Ok(mounts) => {
            if let Some(option) = mounts.as_deref().and_then(hidepid) {
                let text = format!(
                    "is mounted with {option}: users other than root cannot see whether a lease still has its \
                     process, and a daemon without CAP_SYS_PTRACE would not see who uses a number"
                );
                found.push(Finding::new(Severity::Note, "/proc", text));
            }
        }
        Err(why) => {
            let text = format!("mountinfo cannot be read: {why}");
            found.push(Finding::new(Severity::Warning, "/proc", text));
        }
    }
    if found.len() == before {
        let text = format!("Linux {} has what is needed", kernel.release);
        found.push(Finding::new(Severity::Ok, "kernel", text));
    }
}

/// Which levels of the sandbox this host can give.
pub(super) fn levels(kernel: &Kernel, found: &mut Vec<Finding>) {
    let landlock = match &kernel.landlock {
        Ok(()) => String::from("landlock and identity can be had"),
        Err(why) => format!("identity can be had, landlock cannot ({why})"),
    };
    found.extend(match &kernel.view {
        // Whoever is not root cannot try. No namespace at all was told above.
        None => None,
        Some(Err(_)) if kernel.mount_namespaces == Some(0) => None,
        Some(Ok(())) => {
            let text = format!("full can be had, and where it is asked for: {landlock}");
            Some(Finding::new(Severity::Ok, "sandbox", text))
        }
        Some(Err(why)) => {
            let text = format!("full cannot be had: {why}; {landlock}");
            Some(Finding::new(Severity::Warning, "sandbox", text).help(
                "give the container CAP_SYS_ADMIN and the right to mount, or accept less for each service with \
                 --sandbox= (dynuser(1), SANDBOX LEVELS); where a service has no view of its own it knows its name by the \
                 NSS module alone",
            ))
        }
    });
}

/// Looks whether the numbers exist in our user namespace: lines of `inside outside count`
/// (user_namespaces(7)). A container mostly has 65536.
pub(super) fn user_namespace(path: &str, map: &Text, ranges: &UidRanges, found: &mut Vec<Finding>) {
    let Some(map) = readable(path, map, found) else {
        return;
    };
    let mapped: Vec<UidRange> = map
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().ok());
            let (first, count): (u32, u32) = (numbers.next()??, numbers.nth(1)??);
            UidRange::new(first, first.saturating_add(count.checked_sub(1)?))
        })
        .collect();
    let missing = without(ranges, &mapped);
    if !missing.is_empty() {
        let text = format!(
            "{} do not exist in this user namespace, so no service can have them",
            list(&missing)
        );
        found.push(Finding::new(Severity::Error, path, text).help(exclude(&missing)));
    }
}

/// What of the ranges is in none of `others`.
fn without(ranges: &UidRanges, others: &[UidRange]) -> Vec<UidRange> {
    let mut left = ranges.usable();
    for other in others {
        left = left
            .into_iter()
            .flat_map(|range| range.without(*other))
            .flatten()
            .collect();
    }
    left
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The option of proc(5) that hides processes from others, in the line of mountinfo(5) for `/proc`
/// that counts, which is the last.
fn hidepid(mounts: &str) -> Option<&str> {
    let mut proc = mounts
        .lines()
        .filter(|line| line.split(' ').nth(4) == Some("/proc"));
    let (_, of_the_file_system) = proc.next_back()?.split_once(" - ")?;
    let options = of_the_file_system.split(' ').nth(2)?;
    let option = options
        .split(',')
        .find(|option| option.starts_with("hidepid="))?;
    (!matches!(option, "hidepid=0" | "hidepid=off")).then_some(option)
}
