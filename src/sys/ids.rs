//! Credentials of this process: given up for good, each change checked.

use caps::CapSet;
use nix::unistd::{Gid, Uid};
use rustix::io::Errno;

use super::{During, SysError, SysResult, last_error};

/// Sets the supplementary groups to `groups` alone (setgroups(2)).
///
/// # Errors
/// Those of the call.
pub fn set_groups(groups: &[u32]) -> SysResult<()> {
    let raw: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    nix::unistd::setgroups(&raw).during("setgroups", format!("{groups:?}"))
}

/// Sets real, effective and saved group ID (setresgid(2)).
///
/// # Errors
/// Those of the call.
pub fn set_gid(gid: u32) -> SysResult<()> {
    let id = Gid::from_raw(gid);
    nix::unistd::setresgid(id, id, id).during("setresgid", gid)
}

/// Becomes a user that is not root, for good: real, effective and saved user ID are set
/// (setresuid(2)), and it is checked that no way leads back and no capability is left.
///
/// # Errors
/// Those of the call; `EPERM` if something of root is left.
pub fn drop_privileges_for_good(uid: u32) -> SysResult<()> {
    let left = |what: &str| SysError {
        call: "setresuid",
        subject: format!("{uid}: {what} left"),
        errno: Errno::PERM,
    };
    if uid == 0 {
        return Err(left("root"));
    }
    let id = Uid::from_raw(uid);
    nix::unistd::setresuid(id, id, id).during("setresuid", uid)?;
    if nix::unistd::setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err(left("a way back to root is"));
    }
    // The ambient set is always part of the permitted and of the inheritable one.
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        // A set that cannot be read counts as not empty.
        if caps::read(None, set).map_or(true, |set| !set.is_empty()) {
            return Err(left("capabilities are"));
        }
    }
    Ok(())
}

/// Empties the bounding, ambient and inheritable capability sets (capabilities(7)): nothing that
/// is executed later can have a capability.
///
/// # Errors
/// Those of prctl(2) and capset(2).
pub fn drop_capabilities() -> SysResult<()> {
    // By number to the end, not by the names of a list: a newer kernel has more than we know.
    for capability in 0..64_u32 {
        // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory.
        let answer = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability)) };
        if answer != 0 {
            match last_error() {
                Errno::INVAL if capability > 0 => break,
                error => return Err(error).during("prctl", "PR_CAPBSET_DROP"),
            }
        }
    }
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set)
            .map_err(|_| last_error())
            .during("capset", format!("{set:?}"))?;
    }
    Ok(())
}

/// Never gain privileges by executing something (`PR_SET_NO_NEW_PRIVS`).
///
/// # Errors
/// Those of prctl(2).
pub fn set_no_new_privileges() -> SysResult<()> {
    rustix::thread::set_no_new_privs(true).during("prctl", "PR_SET_NO_NEW_PRIVS")
}

/// Sets the file mode creation mask to 0022.
pub fn reset_umask() {
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
}
