//! Gathers the facts that [`crate::doctor`] judges. Changes nothing, asks no daemon, and needs root
//! only to read a configuration that is for root alone.

mod name_service;

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{PidfdFlags, geteuid, getpid, pidfd_open};

use crate::config;
use crate::config_files;
use crate::doctor::{Configured, Facts, Kernel, LeaseFact, LeaseState, Text};
use crate::failure::Failure;
use crate::lease;
use crate::level;
use crate::life::State;
use crate::surroundings;
use crate::sys::SysError;
use crate::sys::identity::identify;

/// Looks at everything. `registry` says how many names the registry remembers, or what is wrong with
/// it.
pub fn look(registry: Option<Result<usize, String>>) -> Facts {
    Facts {
        config: configuration(),
        passwd: text("/etc/passwd"),
        group: text("/etc/group"),
        login_defs: text("/etc/login.defs"),
        subuid: text("/etc/subuid"),
        subgid: text("/etc/subgid"),
        nsswitch: text("/etc/nsswitch.conf"),
        names: name_service::look(),
        leases: leases().map_err(|failure| failure.to_string()),
        registry,
        kernel: kernel(),
    }
}

fn configuration() -> Configured {
    match config_files::texts() {
        Ok(texts) => match config::parse(&texts) {
            Ok(config) => Configured::Valid(config),
            Err(faults) => Configured::Wrong(faults.iter().map(ToString::to_string).collect()),
        },
        Err(failure) if !geteuid().is_root() && is_denied(&failure) => {
            Configured::NotReadable(failure.to_string())
        }
        Err(failure) => Configured::Wrong(vec![failure.to_string()]),
    }
}

fn is_denied(failure: &Failure) -> bool {
    let error = failure.source.downcast_ref::<SysError>();
    error.is_some_and(|error| error.errno == Errno::ACCESS)
}

/// A file's text, whatever is in it.
fn text(path: &str) -> Text {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// A number in a file.
fn number(path: &str) -> Option<u64> {
    text(path).ok()??.trim().parse().ok()
}

fn leases() -> Result<Vec<LeaseFact>, Failure> {
    let found = lease::load_all()?.into_iter();
    Ok(found
        .map(|found| LeaseFact {
            uid: found.uid,
            lease: found.lease.map(|lease| LeaseState {
                quarantined: (lease.state == State::Quarantined)
                    .then(|| lease.reason.unwrap_or_else(|| "for no known reason".into())),
                name: lease.name,
                dynamic: lease.dynamic,
            }),
        })
        .collect())
}

fn kernel() -> Kernel {
    let release = text("/proc/sys/kernel/osrelease").ok().flatten();
    let ourselves = pidfd_open(getpid(), PidfdFlags::empty()).ok();
    Kernel {
        release: release.unwrap_or_default().trim().into(),
        user_namespaces: number("/proc/sys/user/max_user_namespaces"),
        mount_namespaces: number("/proc/sys/user/max_mnt_namespaces"),
        message_queues: Path::new("/proc/sys/fs/mqueue").exists(),
        pidfs: ourselves.is_some_and(|pidfd| {
            identify(pidfd.as_fd()).is_ok_and(|identity| identity.pidfd_inode.is_some())
        }),
        view: geteuid()
            .is_root()
            .then(|| surroundings::view().map_err(|error| surroundings::reason(&error))),
        landlock: level::landlock_is_possible(&surroundings::look()),
        mounts: text("/proc/self/mountinfo"),
        uid_map: text("/proc/self/uid_map"),
        gid_map: text("/proc/self/gid_map"),
    }
}
