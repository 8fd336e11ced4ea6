//! Taking back what a lease had, in the order that leaves no hole: the number is free last.

use std::ffi::CString;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Signal;

use crate::exec_directory::Kind;
use crate::failure::{Failure, OrFail, Stage};
use crate::layout::VIEWS;
use crate::lease::{self, Lease};
use crate::place::{self, Place};
use crate::sys::ipc::Ipc;
use crate::sys::process::{Process, end_all, holding, sharing_group};
use crate::sys::remove::remove_tree;
use crate::sys::{SysResult, keyring};

/// How long processes may go on after SIGTERM before they get SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// How long processes may take to be gone after SIGKILL: they may be writing a core, or wait for
/// a disk.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// How often it is looked whether they are gone.
const PAUSE: Duration = Duration::from_millis(2);

/// Takes back everything that `lease` had, but the number itself.
///
/// For a user that exists anyway only what we made is taken back: its number is not ours, and
/// what carries it may be somebody else's.
///
/// # Errors
/// Of the first thing that could not be taken back: the number must stay out of use.
pub fn release(lease: &Lease, ipc: &Ipc) -> Result<(), Failure> {
    if lease.dynamic {
        stop_processes(lease)?;
        ipc.remove(lease.uid).or_fail(Stage::User, &lease.name)?;
        keyring::clear(lease.uid).or_fail(Stage::User, &lease.name)?;
    }
    remove_runtime_directories(lease)?;
    remove_tree_at(&format!("{VIEWS}/{}", lease.uid)).or_fail(Stage::User, VIEWS)?;
    if lease.dynamic {
        lease::withdraw(&lease.name, lease.uid)?;
    }
    Ok(())
}

/// Ends every process that carries the number, and sees that none is left.
fn stop_processes(lease: &Lease) -> Result<(), Failure> {
    for (signal, wait) in [(Signal::TERM, GRACE), (Signal::KILL, LAST_WAIT)] {
        if still_running(lease)?.is_empty() {
            return Ok(());
        }
        let sent = end_all(lease.uid, signal).and_then(|()| match signal {
            // A stopped process takes SIGTERM only once it goes on.
            Signal::TERM => end_all(lease.uid, Signal::CONT),
            _ => Ok(()),
        });
        sent.or_fail(Stage::User, &lease.name)?;
        let deadline = Instant::now().checked_add(wait);
        while !still_running(lease)?.is_empty() {
            if deadline.is_none_or(|deadline| Instant::now() >= deadline) {
                break;
            }
            std::thread::sleep(PAUSE);
        }
    }
    match still_running(lease)?.first() {
        None => Ok(()),
        Some(Process { pid, name }) => Err(Failure::new(
            Stage::User,
            &lease.name,
            format!("process {pid} ({name}) does not end"),
        )),
    }
}

/// The processes that carry the number, also as one of their supplementary groups.
fn still_running(lease: &Lease) -> Result<Vec<Process>, Failure> {
    let mut found = holding(lease.uid).or_fail(Stage::User, &lease.name)?;
    if found.is_empty() {
        found = sharing_group(lease.gid).or_fail(Stage::User, &lease.name)?;
    }
    Ok(found)
}

fn remove_runtime_directories(lease: &Lease) -> Result<(), Failure> {
    // Innermost first, so that a directory in another one of the same service is gone already.
    for directory in lease.exec_directories().iter().rev() {
        if directory.kind() == Kind::Runtime {
            let path = directory.real();
            remove_tree_at(&path).or_fail(directory.kind().stage(), path)?;
        }
    }
    Ok(())
}

fn remove_tree_at(path: &str) -> SysResult<()> {
    match place::find(path) {
        Err(error) if error.errno == Errno::NOENT => Ok(()),
        Err(error) => Err(error),
        Ok(Place { parent, name }) => {
            let name = CString::new(name).unwrap_or_default();
            remove_tree(std::os::fd::AsFd::as_fd(&parent), &name)
        }
    }
}
