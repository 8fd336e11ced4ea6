//! System-call filters, and what the kernel has beside them.

use rustix::io::Errno;

use super::{During, SysResult, last_error};
use crate::seccomp::Instruction;

/// Puts the calling thread, and everything it starts from now on, under `program` for good.
///
/// The kernel wants no_new_privs to be set first (or `CAP_SYS_ADMIN`, which
/// a service does not keep). Other threads of the process are not touched: call it while there is one only.
pub fn install(program: &[Instruction]) -> SysResult<()> {
    const CALL: &str = "seccomp";
    let mut filter: Vec<libc::sock_filter> = program.iter().map(sock_filter).collect();
    let length = u16::try_from(filter.len()).map_err(|_| Errno::TOOBIG);
    let prog = libc::sock_fprog {
        len: length.during(CALL, "filter")?,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: `prog` holds the address and the length of `filter`; both live to the end of this function, and the
    // kernel copies the instructions before it returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const prog,
        )
    };
    nix::errno::Errno::result(result)
        .during(CALL, "filter")
        .map(drop)
}

fn sock_filter(instruction: &Instruction) -> libc::sock_filter {
    let Instruction { code, jt, jf, k } = *instruction;
    libc::sock_filter { code, jt, jf, k }
}

/// The personality of this process (personality(2)): what `LockPersonality=` keeps it at.
///
/// # Errors
/// None that a kernel without a filter is known to give.
pub fn personality() -> SysResult<u32> {
    const ASK: libc::c_ulong = 0xFFFF_FFFF;
    // SAFETY: the call takes a number, and this one changes nothing.
    let answer = unsafe { libc::personality(ASK) };
    u32::try_from(answer)
        .map_err(|_| last_error())
        .during("personality", "")
}

/// From now on no memory of this process, nor of what it executes, becomes executable after it was
/// not, and none is mapped writable and executable (`PR_SET_MDWE`, prctl(2)). Unlike the filter it sees through
/// every way to do so, io_uring and old interfaces too.
///
/// False: the kernel does not have it (before Linux 6.3), and the filter is all there is.
///
/// # Errors
/// Those of prctl(2) but `EINVAL`.
pub fn deny_write_execute() -> SysResult<bool> {
    const PR_SET_MDWE: libc::c_int = 65;
    const PR_MDWE_REFUSE_EXEC_GAIN: libc::c_ulong = 1;
    const UNUSED: libc::c_ulong = 0;
    // SAFETY: the call takes numbers.
    let answer = unsafe {
        libc::prctl(
            PR_SET_MDWE,
            PR_MDWE_REFUSE_EXEC_GAIN,
            UNUSED,
            UNUSED,
            UNUSED,
        )
    };
    match (answer, last_error()) {
        (0, _) => Ok(true),
        (_, Errno::INVAL) => Ok(false),
        (_, errno) => Err(errno).during("prctl", "PR_SET_MDWE"),
    }
}
