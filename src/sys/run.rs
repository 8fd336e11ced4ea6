//! Turning this process into something else: a daemon, a child, a service.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, RawFd};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use nix::sys::wait::WaitStatus;
use nix::unistd::{ForkResult, Pid};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::service_manager::Inherited;
use super::{During, SysResult};

/// Forks.
///
/// # Errors
/// Those of fork(2), and `EBUSY` in a process with several threads, whose child could do little.
pub fn fork() -> SysResult<Option<Pid>> {
    only_thread()?;
    // SAFETY: this process has one thread, so no lock is held by a thread that the child lacks.
    match unsafe { nix::unistd::fork() }.during("fork", "")? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

/// Like [`fork`], but the child is the first process of a new PID namespace (pid_namespaces(7)).
///
/// # Errors
/// As [`fork`], and those of clone3(2).
pub fn fork_into_new_pid_namespace() -> SysResult<Option<Pid>> {
    only_thread()?;
    let flags = u64::try_from(libc::CLONE_NEWPID).unwrap_or_default();
    let signal = u64::try_from(libc::SIGCHLD).unwrap_or_default();
    // struct clone_args of linux/sched.h, version 0: flags, pidfd, child_tid, parent_tid, exit_signal, stack,
    // stack_size, tls.
    let arguments: [u64; 8] = [flags, 0, 0, 0, signal, 0, 0, 0];
    // SAFETY: without CLONE_VM and a stack of its own the child is a copy, as after fork(2), of a process with one thread; the
    // arguments are the eight fields of version 0, and outlive the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            arguments.as_ptr(),
            size_of_val(&arguments),
        )
    };
    match answer {
        0 => Ok(None),
        pid if pid > 0 => {
            let pid = libc::pid_t::try_from(pid).map_err(|_| rustix::io::Errno::OVERFLOW);
            pid.map(Pid::from_raw)
                .map(Some)
                .during("clone3", "CLONE_NEWPID")
        }
        _ => Err(super::last_error()).during("clone3", "CLONE_NEWPID"),
    }
}

/// Refuses to go on in a process with more than one thread.
fn only_thread() -> SysResult<()> {
    let alone = std::fs::read_dir("/proc/self/task")
        .during("open", "/proc/self/task")?
        .count()
        == 1;
    if alone {
        return Ok(());
    }
    Err(rustix::io::Errno::BUSY).during("fork", "in a process with threads")
}

/// Ends a child that could not become what it was made for. Nothing of the parent's is flushed or run twice.
pub fn end_now(status: u8) -> ! {
    // SAFETY: _exit(2) ends the process and does not return.
    unsafe { libc::_exit(status.into()) }
}

/// Ignores SIGPIPE: writing where nobody reads fails then.
///
/// # Errors
/// Those of sigaction(2).
pub fn ignore_broken_pipes() -> SysResult<()> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { sigaction(Signal::SIGPIPE, &ignore) }
        .map(drop)
        .during("sigaction", Signal::SIGPIPE)
}

/// Executes a program in place of this process. Returns only when that failed.
///
/// # Errors
/// Those of execve(2).
pub fn execute(
    program: &CStr,
    arguments: &[CString],
    environment: &[CString],
) -> SysResult<Infallible> {
    nix::unistd::execve(program, arguments, environment).during("execve", program.to_string_lossy())
}

/// Sees to it that no descriptor but 0, 1 and 2 survives execve(2). They are only marked, so that
/// this process can still speak about a failure.
///
/// # Errors
/// Those of close_range(2).
pub fn close_descriptors_on_exec() -> SysResult<()> {
    let flags = libc::c_int::try_from(libc::CLOSE_RANGE_CLOEXEC).unwrap_or(libc::c_int::MAX);
    // SAFETY: marking descriptors close-on-exec takes nothing away from their owners here.
    let answer = unsafe { libc::close_range(3, libc::c_uint::MAX, flags) };
    let result = if answer == 0 {
        Ok(())
    } else {
        Err(super::last_error())
    };
    result.during("close_range", "3-")
}

/// Gives every signal its default action and unblocks all, as a service expects it. For a `job` of a shell SIGHUP, SIGINT
/// and SIGQUIT stay ignored if they were: that is how nohup(1) works, and how a shell keeps its
/// background jobs from the keys of the terminal. (Rust's own start-up ignores SIGPIPE.)
///
/// # Errors
/// Those of sigaction(2) and sigprocmask(2).
pub fn reset_signals(job: bool) -> SysResult<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator() {
        if matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
            continue;
        }
        // SAFETY: the default action runs no code of ours.
        let before = unsafe { sigaction(signal, &default) }.during("sigaction", signal)?;
        let kept = job && matches!(signal, Signal::SIGHUP | Signal::SIGINT | Signal::SIGQUIT);
        if kept && matches!(before.handler(), SigHandler::SigIgn) {
            // SAFETY: ignoring a signal runs no code of ours.
            unsafe { sigaction(signal, &before) }.during("sigaction", signal)?;
        }
    }
    for signal in libc::SIGRTMIN()..=libc::SIGRTMAX() {
        // SAFETY: the default action runs no code of ours.
        if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
            return Err(super::last_error()).during("signal", signal);
        }
    }
    unblock_signals()
}

/// Lets all signals through again.
///
/// # Errors
/// Those of sigprocmask(2).
pub fn unblock_signals() -> SysResult<()> {
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .during("sigprocmask", "none")
}

/// Lets go of the standard streams: whoever reads the other ends would wait for as long as this
/// process lives. Standard error goes to `log`.
///
/// # Errors
/// Those of open(2) and dup2(2).
pub fn replace_standard_streams(log: impl AsFd) -> SysResult<()> {
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty())
        .during("open", "/dev/null")?;
    rustix::stdio::dup2_stdin(&null).during("dup2", 0)?;
    rustix::stdio::dup2_stdout(&null).during("dup2", 1)?;
    rustix::stdio::dup2_stderr(log).during("dup2", 2)
}

/// Sees to it that the ends of children are told: a caller may have had SIGCHLD ignored.
///
/// # Errors
/// Those of sigaction(2).
pub fn wait_for_children() -> SysResult<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours.
    unsafe { sigaction(Signal::SIGCHLD, &default) }
        .map(drop)
        .during("sigaction", Signal::SIGCHLD)
}

/// What a daemon does first: nothing of whoever started it stays with it. Descriptors beyond 0-2
/// are closed (an inherited pipe would keep its reader waiting for as long as the daemon lives) but
/// for those of `inherited`; signals, limits, the file mode creation mask and the session keyring
/// are reset, the working directory is `/`. SIGPIPE is ignored: a client that goes away must be an
/// error, not the end. ps(1) shows it as `name`.
///
/// # Errors
/// Those of close_range(2), sigaction(2), keyctl(2) and chdir(2).
pub fn become_clean(name: &str, inherited: &Inherited) -> SysResult<()> {
    close_all_but(inherited.raw())?;
    reset_signals(true)?;
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { sigaction(Signal::SIGPIPE, &ignore) }.during("sigaction", Signal::SIGPIPE)?;
    super::ids::set_umask(0o022);
    lift_limits();
    super::keyring::join_new_session()?;
    let c_name = CString::new(name).unwrap_or_default();
    rustix::thread::set_name(&c_name).during("prctl", "PR_SET_NAME")?;
    rustix::process::chdir("/").during("chdir", "/")
}

/// Closes all descriptors above 2 but `spared`, which are in rising order. Private: who calls it knows that
/// the others are nobody's.
fn close_all_but(spared: impl Iterator<Item = RawFd>) -> SysResult<()> {
    let mut next: libc::c_uint = 3;
    for spared in spared.filter_map(|fd| libc::c_uint::try_from(fd).ok()) {
        if let Some(before) = spared.checked_sub(1).filter(|before| *before >= next) {
            close_foreign(next, before)?;
        }
        next = spared.saturating_add(1);
    }
    close_foreign(next, libc::c_uint::MAX)
}

/// Closes the descriptors from `first` to `last`.
fn close_foreign(first: libc::c_uint, last: libc::c_uint) -> SysResult<()> {
    // SAFETY: called by `become_clean` and `stay_with` before this process has opened anything of its own: no
    // owner of a descriptor above 2 exists in it but those whose descriptors are left out; and by `detach` in
    // a process that ends without dropping anything but what is left out.
    let answer = unsafe { libc::close_range(first, last, 0) };
    if answer == 0 {
        return Ok(());
    }
    Err(super::last_error()).during("close_range", format!("{first}-{last}"))
}

/// Starts a process that is no child of this one, and runs `work` in it: it has nothing of this one's but the
/// descriptors `kept`, no terminal, and `/dev/null` for its standard streams. It ends with what `work` returns.
///
/// # Errors
/// As [`fork`]; `EAGAIN` if the second fork failed.
pub fn detach(kept: Vec<RawFd>, work: impl FnOnce() -> u8) -> SysResult<()> {
    wait_for_children()?;
    let Some(child) = fork()? else {
        let status = match fork() {
            Ok(None) => be_alone(kept).map_or(1, |()| work()),
            Ok(Some(_)) => 0,
            Err(_) => 1,
        };
        end_now(status);
    };
    match nix::sys::wait::waitpid(child, None).during("waitpid", child)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        _ => Err(rustix::io::Errno::AGAIN).during("fork", "a helper"),
    }
}

fn be_alone(mut kept: Vec<RawFd>) -> SysResult<()> {
    nix::unistd::setsid().during("setsid", "")?;
    let null = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", null, rustix::fs::Mode::empty())
        .during("open", "/dev/null")?;
    replace_standard_streams(&null)?;
    drop(null);
    kept.sort_unstable();
    close_all_but(kept.into_iter())?;
    reset_signals(false)?;
    ignore_broken_pipes()?;
    rustix::process::chdir("/").during("chdir", "/")
}

/// Lets go of all descriptors that whoever started this process left open, but for the standard streams and `kept`:
/// for the first process of a container, before it opens anything of its own.
///
/// # Errors
/// Those of close_range(2).
pub fn stay_with(mut kept: Vec<RawFd>) -> SysResult<()> {
    kept.sort_unstable();
    close_all_but(kept.into_iter())
}

/// Descriptors for the daemon: a few for each number that it can hand out.
const MOST_FILES: u64 = 65_536;

/// Lifts the limits (getrlimit(2)) that whoever started the daemon has set for himself: with his
/// RLIMIT_FSIZE, say, the kernel would end the daemon in the middle of writing a lease. Where the
/// hard limit cannot be lifted, as in some containers, the soft one goes up to it.
fn lift_limits() {
    for resource in [
        Resource::As,
        Resource::Cpu,
        Resource::Data,
        Resource::Fsize,
        Resource::Nofile,
    ] {
        let now = getrlimit(resource);
        let none = Rlimit {
            current: None,
            maximum: None,
        };
        let highest = Rlimit {
            current: now.maximum,
            maximum: now.maximum,
        };
        // The number of open files has an end even for root (fs.nr_open).
        let most = match resource {
            Resource::Nofile => Rlimit {
                current: Some(MOST_FILES),
                maximum: Some(now.maximum.map_or(MOST_FILES, |most| most.max(MOST_FILES))),
            },
            _ => none,
        };
        let lifted = setrlimit(resource, most).or_else(|_| setrlimit(resource, highest));
        if let Err(error) = lifted {
            tracing::debug!(?resource, %error, "stays");
        }
    }
}
