//! A system call made by somebody else: a tiny function in a short-lived child that shares our memory.
//!
//! `fork` copies page tables: 19 ms for a process that has touched 256 MiB. A child made with
//! `CLONE_VM | CLONE_VFORK` (clone(2)) copies nothing, and we stand still until it has ended.
//! Credentials belong to tasks and not to memory, so it can be another user meanwhile.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use super::{During, SysError, SysResult, last_error};

/// Room for the child's stack. It calls a few functions deep and keeps nothing large.
const STACK: usize = 64 * 1024;

/// What lies below the stack and cannot be touched: at least a page on every machine.
const GUARD: usize = 64 * 1024;

/// Who the child becomes. Its groups are `group` alone, and it has no capability at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    real: u32,
    effective: u32,
    saved: u32,
    group: u32,
}

impl Credentials {
    /// Acts with the rights of `uid` towards others, while no process of `uid` can signal, stop or
    /// trace it: the real and the saved UID are `stranger`, a UID that nobody has.
    ///
    /// kill(2) compares the sender's real and effective UID with the target's real and saved one:
    /// the target's effective UID does not count. ptrace(2) wants all three to be the tracer's.
    ///
    /// # Errors
    ///
    /// `EINVAL` if one of them is 0, if one is `u32::MAX`, or if they are equal.
    pub fn out_of_reach(uid: u32, stranger: u32) -> SysResult<Self> {
        let valid = ordinary(uid) && ordinary(stranger) && uid != stranger;
        Self::checked(valid, stranger, uid, stranger, uid)
    }

    /// Is `uid` as far as its keyrings are concerned, which go by the real UID. The saved UID stays
    /// ours, so it cannot be traced; but it can be killed by `uid`: nothing of `uid` may live.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `uid` is 0 or `u32::MAX`.
    pub fn owner(uid: u32) -> SysResult<Self> {
        Self::checked(ordinary(uid), uid, uid, 0, uid)
    }

    fn checked(valid: bool, real: u32, effective: u32, saved: u32, group: u32) -> SysResult<Self> {
        let this = Self {
            real,
            effective,
            saved,
            group,
        };
        if valid {
            Ok(this)
        } else {
            Err(SysError {
                call: "setresuid",
                subject: this.to_string(),
                errno: Errno::INVAL,
            })
        }
    }

    /// Becomes it, for good. Only raw system calls: the C library's `setresuid` would send a signal
    /// to each of our threads and make all of them this user.
    fn take_on(self) -> Result<(), (&'static str, Errno)> {
        let group = Gid::from_raw(self.group);
        set_thread_groups(&[]).map_err(|errno| ("setgroups", errno))?;
        set_thread_res_gid(group, group, group).map_err(|errno| ("setresgid", errno))?;
        // From here on the flag "dumpable" of the memory that we share is suid_dumpable's: `run`
        // puts it right. Nobody can use it meanwhile, see `out_of_reach`.
        set_thread_res_uid(
            Uid::from_raw(self.real),
            Uid::from_raw(self.effective),
            Uid::from_raw(self.saved),
        )
        .map_err(|errno| ("setresuid", errno))?;
        // With SECBIT_NO_SETUID_FIXUP set by whoever started us, setresuid leaves them all, and
        // a `kill(-1)` with CAP_KILL ends the host.
        let none = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, none).map_err(|errno| ("capset", errno))?;
        self.is_taken_on()
    }

    fn is_taken_on(self) -> Result<(), (&'static str, Errno)> {
        let (mut real, mut effective, mut saved) = (0, 0, 0);
        // SAFETY: three pointers to integers of ours.
        let answer = unsafe { libc::getresuid(&raw mut real, &raw mut effective, &raw mut saved) };
        if answer == 0 && (real, effective, saved) == (self.real, self.effective, self.saved) {
            Ok(())
        } else {
            Err(("getresuid", Errno::PERM))
        }
    }
}

impl std::fmt::Display for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}, {}", self.real, self.effective, self.saved)
    }
}

/// Neither root, as which `kill(-1)` ends the host, nor the -1 that tells setresuid(2) to keep what
/// there is, which is root again.
fn ordinary(uid: u32) -> bool {
    uid != 0 && uid != u32::MAX
}

enum Outcome<T> {
    Ended,
    Refused(&'static str, Errno),
    Done(T),
}

struct Call<'a, A, T> {
    credentials: Credentials,
    work: fn(&A) -> T,
    argument: &'a A,
    outcome: Outcome<T>,
}

/// Runs `work` on `argument` in a child that has `credentials`, and gives back what it returned.
///
/// The child shares memory, descriptors and the thread's errno with us, and this thread waits for it
/// with all signals blocked, so no handler of ours runs in it. `work` may make system calls and compute.
/// It must not allocate, lock, panic, or call what changes credentials: other threads run on and
/// may hold any lock.
///
/// Afterwards this process is not dumpable (`PR_SET_DUMPABLE`, prctl(2)), whatever it was before.
///
/// # Errors
///
/// The credential call that was refused (`work` did not run then), that of clone(2) or mmap(2), or
/// `EINTR` if somebody ended the child.
pub fn run<A, T>(credentials: Credentials, work: fn(&A) -> T, argument: &A) -> SysResult<T> {
    let mut call = Call {
        credentials,
        work,
        argument,
        outcome: Outcome::Ended,
    };
    let stack = Stack::new().during("mmap", "stack of a child")?;
    let ended = {
        let _quiet = Quiet::new().during("pthread_sigmask", "all")?;
        spawn(&stack, child::<A, T>, (&raw mut call).cast())
    };
    // The child's setresuid set the flag of our common memory to /proc/sys/fs/suid_dumpable, which
    // may be 1: anybody's to read. A process that holds other people's secrets stays closed.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).during("prctl", "PR_SET_DUMPABLE")?;
    ended?;
    match call.outcome {
        Outcome::Done(value) => Ok(value),
        Outcome::Refused(step, errno) => Err(errno).during(step, credentials),
        Outcome::Ended => Err(Errno::INTR).during("clone", "the child was ended"),
    }
}

extern "C" fn child<A, T>(call: *mut c_void) -> c_int {
    // SAFETY: `run` passes its own `Call` of these types, and stands still until we have ended.
    let call = unsafe { &mut *call.cast::<Call<'_, A, T>>() };
    call.outcome = match call.credentials.take_on() {
        Ok(()) => Outcome::Done((call.work)(call.argument)),
        Err((step, errno)) => Outcome::Refused(step, errno),
    };
    0
}

fn spawn(
    stack: &Stack,
    entry: extern "C" fn(*mut c_void) -> c_int,
    argument: *mut c_void,
) -> SysResult<()> {
    // CLONE_FILES: no copy of the descriptor table, and none of our descriptors lives longer for it.
    // No exit signal: waitpid(-1) of another thread does not see the child, and SIGCHLD set to
    // "ignore" does not reap it.
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
    // SAFETY: the stack is this child's own; `entry` gets the argument it is made for; we are suspended
    // (CLONE_VFORK) as long as it runs, so both outlive it.
    let pid = unsafe { libc::clone(entry, stack.top(), flags, argument) };
    if pid < 0 {
        return Err(last_error()).during("clone", "CLONE_VM|CLONE_VFORK");
    }
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(pid, ptr::null_mut(), libc::__WALL) } < 0 {
        let errno = last_error();
        if errno != Errno::INTR {
            return Err(errno).during("waitpid", pid);
        }
    }
    Ok(())
}

/// A mapping with a hole at its lower end, where an overflow ends the child instead of our memory.
struct Stack(*mut c_void);

impl Stack {
    fn new() -> Result<Self, Errno> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                GUARD.saturating_add(STACK),
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(last_error());
        }
        let this = Self(base);
        // SAFETY: the lower part of the mapping made above, which nobody uses yet.
        if unsafe { libc::mprotect(base, GUARD, libc::PROT_NONE) } != 0 {
            return Err(last_error());
        }
        Ok(this)
    }

    /// Where the stack begins: it grows down. Page aligned, as every architecture wants it.
    fn top(&self) -> *mut c_void {
        self.0.wrapping_byte_add(GUARD.saturating_add(STACK))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`; the child that used it has ended.
        let answer = unsafe { libc::munmap(self.0, GUARD.saturating_add(STACK)) };
        debug_assert_eq!(answer, 0, "munmap of a whole mapping of ours");
    }
}

/// All signals of this thread blocked; as before when dropped.
struct Quiet(libc::sigset_t);

impl Quiet {
    fn new() -> Result<Self, Errno> {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: writes the whole set.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        // SAFETY: one set to read, filled above, and one to write.
        let answer =
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
        if answer != 0 {
            return Err(Errno::from_raw_os_error(answer));
        }
        // SAFETY: a successful call has written it.
        Ok(Self(unsafe { before.assume_init() }))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // SAFETY: the set that the kernel gave us; nothing is to be written.
        let answer =
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
        debug_assert_eq!(answer, 0, "a mask that was valid before");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_nobody_at_all_are_refused() {
        for (uid, stranger) in [(0, 7), (7, 0), (7, 7), (u32::MAX, 7), (7, u32::MAX)] {
            assert!(Credentials::out_of_reach(uid, stranger).is_err());
        }
        assert!(Credentials::owner(0).is_err());
        assert!(Credentials::owner(u32::MAX).is_err());
        assert!(Credentials::owner(7).is_ok());
    }
}
