//! System-call filters.

use rustix::io::Errno;

use super::{During, SysResult};
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
