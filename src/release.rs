//! Taking back what a lease had, in the order that leaves no hole: the number is free last.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::process::Signal;

use crate::exec_directory::{ExecDirectory, lies_in};
use crate::failure::{Failure, OrFail, Stage};
use crate::group;
use crate::holder::Holder;
use crate::layout::VIEWS;
use crate::lease::{self, Lease};
use crate::life::{TAKING_BACK, TakeBack};
use crate::name_caches::{self, Changed};
use crate::place::{self, Place};
use crate::published;
use crate::search_right;
use crate::sys::clock::now;
use crate::sys::ending::end_all;
use crate::sys::fault::{Point, reached};
use crate::sys::fs::{pin_beneath, status};
use crate::sys::ipc::Ipc;
use crate::sys::process::{Process, holding, sharing_group};
use crate::sys::remove::{remove_empty, remove_exactly, remove_link, remove_tree};
use crate::sys::{SysResult, entries, keyring};
use crate::uid::Uid;

/// How long processes may take to be gone after SIGKILL: they may be writing a core, or wait for
/// a disk.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// What a process is called that is about to become a user: ourselves. It has the user's group before it is the user's (a
/// command of a launcher that was killed, somebody who joins the service), and ends by itself when it finds that there is
/// no lease any more.
const OURSELVES: &str = "dynuser";

/// How often it is looked whether that has passed: the look is a long one.
const LONG_PAUSE: Duration = Duration::from_millis(20);

/// How often it is looked whether they are gone.
const PAUSE: Duration = Duration::from_millis(2);

/// Takes back everything that `lease` had, the number last, as [`TAKING_BACK`] says.
///
/// For a user that exists anyway only what we made is taken back: its number is not ours, and
/// what carries it may be somebody else's.
///
/// # Errors
/// Of the first thing that could not be taken back: the number must stay out of use.
pub fn release(lease: &Lease, ipc: &Ipc) -> Result<(), Failure> {
    if lease.dynamic && Uid::new(lease.uid).is_none() {
        let why = "is no number of a service: nothing that carries it is touched";
        return Err(Failure::new(Stage::User, lease.uid.to_string(), why));
    }
    let parts = TAKING_BACK.into_iter();
    for part in parts.filter(|part| lease.dynamic || part.is_for_static_users()) {
        take_back(part, lease, ipc)?;
        if let Some(point) = point(part) {
            reached(point);
        }
    }
    Ok(())
}

/// What the tests know the end of a part as.
fn point(part: TakeBack) -> Option<Point> {
    Some(match part {
        // It has its own, in the middle.
        TakeBack::Processes | TakeBack::Groups => return None,
        TakeBack::Ipc => Point::IpcRemoved,
        TakeBack::Keys => Point::KeysCleared,
        TakeBack::Directories => Point::DirectoriesRemoved,
        TakeBack::Views => Point::ViewsRemoved,
        TakeBack::Holds => Point::HoldsRemoved,
        TakeBack::Name => Point::NameWithdrawn,
        TakeBack::Number => Point::LeaseRemoved,
    })
}

fn take_back(part: TakeBack, lease: &Lease, ipc: &Ipc) -> Result<(), Failure> {
    let (uid, name) = (lease.uid, &lease.name);
    match part {
        TakeBack::Processes => stop_processes(lease),
        TakeBack::Groups => {
            let mut groups = lease.control_groups.iter();
            groups.try_for_each(|path| group::remove(path, LAST_WAIT))
        }
        TakeBack::Ipc => ipc.remove(uid).or_fail(Stage::User, name),
        TakeBack::Keys => keyring::clear(uid).or_fail(Stage::User, name),
        TakeBack::Directories => {
            remove_made_directories(lease)?;
            search_right::revoke_all(lease)
        }
        TakeBack::Views => remove_tree_at(&format!("{VIEWS}/{uid}")).or_fail(Stage::User, VIEWS),
        TakeBack::Holds => {
            let mut holders = lease.holders.iter();
            holders.try_for_each(|holder| holder.by.forget().or_fail(Stage::User, name))
        }
        TakeBack::Name => {
            published::withdraw(name, uid)?;
            // Before the number is free: what a cache still knew would make the next request for
            // the name one for a user whom the host has anyway.
            if lease.dynamic {
                name_caches::refresh(&[Changed::new(name, uid)]);
            }
            Ok(())
        }
        TakeBack::Number => lease::remove(uid),
    }
}

/// Ends every process that carries the number, and sees that none is left.
///
/// # Errors
/// If one is.
pub fn stop_processes(lease: &Lease) -> Result<(), Failure> {
    let grace = grace_left(lease);
    for (signal, wait) in [(Signal::TERM, grace), (Signal::KILL, LAST_WAIT)] {
        // To look at one process after the other never meets one that forks and leaves faster than
        // we look. So SIGKILL, which the kernel sends to all at once, is sent even if nobody was
        // seen.
        if signal == Signal::TERM && (wait.is_zero() || running(lease)?.is_empty()) {
            continue;
        }
        let sent = end_all(lease.uid, signal).and_then(|()| match signal {
            // A stopped process takes SIGTERM only once it goes on.
            Signal::TERM => end_all(lease.uid, Signal::CONT),
            _ => Ok(()),
        });
        reached(match signal {
            Signal::TERM => Point::TermSent,
            _ => Point::KillSent,
        });
        match sent {
            // They get no time to end by themselves, then.
            Err(error) if signal == Signal::TERM => {
                tracing::warn!(name = lease.name, %error, "cannot be asked to end");
                continue;
            }
            sent => sent.or_fail(Stage::User, &lease.name)?,
        }
        let deadline = Instant::now().checked_add(wait);
        while !running(lease)?.is_empty() {
            if deadline.is_none_or(|deadline| Instant::now() >= deadline) {
                break;
            }
            std::thread::sleep(PAUSE);
        }
    }
    let refused = |process: &Process, why: &str| {
        let Process { pid, name } = process;
        Err(Failure::new(
            Stage::User,
            &lease.name,
            format!("process {pid} ({name}) {why}"),
        ))
    };
    if let Some(process) = running(lease)?.first() {
        return refused(process, "does not end");
    }
    // These run as somebody else, root perhaps: no signal of the user's reaches them.
    let deadline = Instant::now().checked_add(LAST_WAIT);
    loop {
        let sharing = sharing_group(lease.gid).or_fail(Stage::User, &lease.name)?;
        let mut strangers = sharing.iter();
        let is_late = deadline.is_none_or(|deadline| Instant::now() >= deadline);
        match strangers.find(|process| is_late || !process.name.starts_with(OURSELVES)) {
            None if sharing.is_empty() => return Ok(()),
            None => std::thread::sleep(LONG_PAUSE),
            Some(process) => {
                return refused(process, "is not the user's but has its group; end it");
            }
        }
    }
}

/// How long its processes may go on: as long as its services say, from the end of the last holder. A
/// daemon that is started anew does not begin again.
fn grace_left(lease: &Lease) -> Duration {
    let spent = lease.ended.map_or(0, |ended| now().saturating_sub(ended));
    lease.grace().saturating_sub(Duration::from_millis(spent))
}

/// The processes that carry the number.
fn running(lease: &Lease) -> Result<Vec<Process>, Failure> {
    holding(lease.uid).or_fail(Stage::User, &lease.name)
}

/// Removes the directories in /run that were made under the lease, innermost first.
fn remove_made_directories(lease: &Lease) -> Result<(), Failure> {
    let mut made: Vec<&String> = lease.made.iter().collect();
    made.sort();
    made.dedup();
    for path in made.into_iter().rev() {
        remove_made(lease, path).or_fail(Stage::RuntimeDirectory, path)?;
    }
    Ok(())
}

/// Removes runtime directories of services that have ended while others of the same user go on, with
/// the links to them and the parents that are empty then. Gives the paths of what is gone.
///
/// # Errors
/// Of [`Stage::RuntimeDirectory`]: the rest goes when the lease ends.
pub fn remove_unused(lease: &Lease, unused: &[ExecDirectory]) -> Result<Vec<String>, Failure> {
    let used = lease.holders.iter().flat_map(Holder::exec_directories);
    let used: Vec<ExecDirectory> = used.collect();
    let mut gone = Vec::new();
    for path in lease.made.iter().rev() {
        let holds = |directory: &ExecDirectory| lies_in(&directory.public(), path);
        let within = |directory: &ExecDirectory| lies_in(path, &directory.public());
        let of_it = unused
            .iter()
            .any(|it| holds(it) || within(it) || leads(path, it));
        if of_it && !used.iter().any(|it| holds(it) || within(it)) {
            remove_made(lease, path).or_fail(Stage::RuntimeDirectory, path)?;
            gone.push(path.clone());
        }
    }
    Ok(gone)
}

/// Whether `path` is a link to `directory`.
fn leads(path: &str, directory: &ExecDirectory) -> bool {
    let base = directory.kind().base();
    let link = path
        .strip_prefix(base)
        .and_then(|rest| rest.strip_prefix('/'));
    let link = link.and_then(|link| ExecDirectory::parse(directory.kind(), link).ok());
    let found = place::find(path).and_then(|place| entries::target(place.parent, &place.name));
    link.is_some_and(|link| found.is_ok_and(|found| found == link.link_to(directory)))
}

/// Removes one thing in /run: the service's directory with everything in it; one that is root's, a parent
/// or one that was made and not yet given, only if it is empty; a link of root's. What is somebody else's
/// is not what we made.
fn remove_made(lease: &Lease, path: &str) -> SysResult<()> {
    let found = place::find(path).and_then(|place| {
        let entry = pin_beneath(&place.parent, &place.name)?;
        Ok((place, status(&entry)?))
    });
    let (Place { parent, name }, found) = match found {
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
            return Ok(());
        }
        found => found?,
    };
    let name = CString::new(name).unwrap_or_default();
    match found.kind {
        FileType::Directory => {}
        // Only root can have put it there.
        FileType::Symlink if found.uid == 0 => return remove_link(parent.as_fd(), &name),
        _ => return Ok(()),
    }
    // Whatever group it has: a service may give it to any that it is in.
    if found.uid == lease.uid {
        return remove_exactly(parent.as_fd(), &name, found.id);
    }
    if found.uid == 0 {
        return remove_empty(parent.as_fd(), &name);
    }
    tracing::warn!(path, owner = found.uid, "is somebody else's by now");
    Ok(())
}

fn remove_tree_at(path: &str) -> SysResult<()> {
    match place::find(path) {
        Err(error) if error.errno == Errno::NOENT => Ok(()),
        Err(error) => Err(error),
        Ok(Place { parent, name }) => {
            let name = CString::new(name).unwrap_or_default();
            remove_tree(parent.as_fd(), &name)
        }
    }
}
