//! User namespaces that hold nothing but a mapping, for id-mapped mounts.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::{During, SysResult, last_error};

/// Stack of the child that stands in the namespace until its descriptor is taken, in units of 16
/// bytes (the alignment of a stack). It calls pause(2) and nothing else.
const STACK: usize = 1024;

/// Our own number: the child looks whether its parent still is the one that made it.
static PARENT: AtomicI32 = AtomicI32::new(0);

/// Makes a user namespace with these two maps (user_namespaces(7)): lines of `inside outside
/// count`. In an id-mapped mount "inside" is what is on disk and "outside" what is seen.
///
/// A child that shares our memory stands in it while the maps are written, so a daemon with much
/// memory pays nothing for a copy. The descriptor keeps the namespace alive when the child is gone.
///
/// # Errors
/// Those of clone(2) (`ENOSPC` where `user.max_user_namespaces` is 0), or of writing the maps.
pub fn with_maps(uid_map: &str, gid_map: &str) -> SysResult<OwnedFd> {
    PARENT.store(pid_number(rustix::process::getpid()), Ordering::Relaxed);
    let mut stack = vec![0_u128; STACK];
    let top = stack.as_mut_ptr_range().end;
    let flags = libc::CLONE_NEWUSER | libc::CLONE_VM | libc::SIGCHLD;
    // The child must not run our signal handlers in memory that it shares with us.
    let mask = SigSet::all()
        .thread_swap_mask(SigmaskHow::SIG_BLOCK)
        .during("sigprocmask", "block")?;
    // SAFETY: the child runs on a stack of its own, which outlives it (it is reaped below before
    // `stack` is dropped), with every signal blocked, and executes only pause(2): it never touches
    // memory that we share.
    let pid = unsafe { libc::clone(stand_still, top.cast(), flags, std::ptr::null_mut()) };
    let pid = if pid > 0 { Ok(pid) } else { Err(last_error()) };
    mask.thread_set_mask().during("sigprocmask", "restore")?;
    let pid = pid
        .and_then(|pid| Pid::from_raw(pid).ok_or(Errno::CHILD))
        .during("clone", "CLONE_NEWUSER")?;
    let namespace = write_maps(pid, uid_map, gid_map);
    // The child must be gone before its stack is: SIGKILL cannot be refused, and the wait is for
    // a child of ours that exists, so neither call fails.
    let killed = rustix::process::kill_process(pid, Signal::KILL).during("kill", pid_number(pid));
    let reaped = loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            done => break done.during("waitpid", pid_number(pid)),
        }
    };
    drop(stack);
    killed?;
    reaped?;
    namespace
}

extern "C" fn stand_still(_: *mut libc::c_void) -> libc::c_int {
    // A daemon that is killed now would leave this behind, with the daemon's lock and socket, and no
    // other daemon could start.
    // SAFETY: the call takes two numbers and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // It may have been killed before that: then somebody else is the parent already.
    // SAFETY: the call takes nothing and touches no memory.
    if unsafe { libc::getppid() } != PARENT.load(Ordering::Relaxed) {
        return 0;
    }
    loop {
        // SAFETY: pause(2) takes nothing and touches no memory of ours.
        unsafe { libc::pause() };
    }
}

fn write_maps(pid: Pid, uid_map: &str, gid_map: &str) -> SysResult<OwnedFd> {
    // The number is that of a child of ours which nobody has waited for: it cannot be another's.
    let directory = format!("/proc/{}", pid_number(pid));
    for (file, map) in [("uid_map", uid_map), ("gid_map", gid_map)] {
        File::options()
            .write(true)
            .open(format!("{directory}/{file}"))
            // One write: the kernel takes the whole map at once.
            .and_then(|mut file| file.write_all(map.as_bytes()))
            .during("write", file)?;
    }
    File::open(format!("{directory}/ns/user"))
        .map(OwnedFd::from)
        .during("open", "ns/user")
}

fn pid_number(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}
