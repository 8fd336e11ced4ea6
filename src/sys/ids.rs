//! Credentials of this process: given up for good, each change checked.

use caps::{CapSet, CapsHashSet};
use nix::unistd::{Gid, Uid};
use rustix::io::Errno;

use super::{During, SysError, SysResult, last_error};
use crate::capabilities::CapabilitySet;

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
/// (setresuid(2)), and it is checked that no way leads back and no capability is left but those of `ambient`, which
/// whatever is executed keeps. `secure_bits` are those that the service has asked for and that are set.
///
/// # Errors
/// Those of the calls; `EPERM` if something else of root is left.
pub fn drop_privileges_for_good(
    uid: u32,
    ambient: CapabilitySet,
    secure_bits: u32,
) -> SysResult<()> {
    let left = |what: &str| SysError {
        call: "setresuid",
        subject: format!("{uid}: {what} left"),
        errno: Errno::PERM,
    };
    if uid == 0 {
        return Err(left("root"));
    }
    let keeps = ambient != CapabilitySet::EMPTY;
    if keeps {
        prctl(libc::PR_SET_KEEPCAPS, 1).during("prctl", "PR_SET_KEEPCAPS")?;
    }
    let id = Uid::from_raw(uid);
    nix::unistd::setresuid(id, id, id).during("setresuid", uid)?;
    // With SECBIT_NO_SETUID_FIXUP the call has taken no capability away. If that was the caller's, it is refused below.
    if keeps || secure_bits != 0 {
        // The permitted set last: nothing can come into the others that is not in it any more.
        let kept = set_of(ambient)?;
        for set in [
            CapSet::Inheritable,
            CapSet::Ambient,
            CapSet::Effective,
            CapSet::Permitted,
        ] {
            caps::set(None, set, &kept)
                .map_err(|_| last_error())
                .during("capset", format!("{set:?}"))?;
        }
    }
    let root = Uid::from_raw(0);
    if !ambient.has(CAP_SETUID) && nix::unistd::setresuid(root, root, root).is_ok() {
        return Err(left("a way back to root is"));
    }
    // The ambient set is always part of the permitted and of the inheritable one.
    let kept = set_of(ambient)?;
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        // A set that cannot be read counts as not empty.
        if caps::read(None, set).map_or(true, |set| !set.is_subset(&kept)) {
            return Err(left("capabilities are"));
        }
    }
    Ok(())
}

/// `CAP_SETUID` of linux/capability.h.
const CAP_SETUID: u8 = 7;

/// Empties the bounding set but for `kept`, and the ambient and inheritable sets (capabilities(7)): nothing that
/// is executed later can have any other capability. Root has no others from here on.
///
/// # Errors
/// Those of prctl(2) and capset(2).
pub fn limit_capabilities(kept: CapabilitySet) -> SysResult<()> {
    // By number to the end, not by the names of a list: a newer kernel has more than we know.
    for capability in (0..64_u8).filter(|number| !kept.has(*number)) {
        match prctl(libc::PR_CAPBSET_DROP, capability.into()) {
            // There are no more.
            Err(Errno::INVAL) if capability > 0 => break,
            dropped => dropped.during("prctl", "PR_CAPBSET_DROP")?,
        }
    }
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set)
            .map_err(|_| last_error())
            .during("capset", format!("{set:?}"))?;
    }
    Ok(())
}

/// Sets the secure bits (capabilities(7)).
///
/// # Errors
/// Those of prctl(2).
pub fn set_secure_bits(bits: u32) -> SysResult<()> {
    prctl(libc::PR_SET_SECUREBITS, bits.into()).during("prctl", "PR_SET_SECUREBITS")
}

/// One of the calls of prctl(2) that take a number.
fn prctl(option: libc::c_int, number: libc::c_ulong) -> Result<(), Errno> {
    // SAFETY: every option that this is called with takes one number and touches no memory; the unused ones are 0.
    let answer = unsafe { libc::prctl(option, number, 0_u64, 0_u64, 0_u64) };
    if answer == 0 {
        Ok(())
    } else {
        Err(last_error())
    }
}

/// The same set in the words of another crate.
fn set_of(capabilities: CapabilitySet) -> SysResult<CapsHashSet> {
    let named = capabilities.numbers().map(|number| {
        let mut known = caps::all().into_iter();
        let same = known.find(|known| known.index() == number);
        same.ok_or(Errno::INVAL).during("capset", number)
    });
    named.collect()
}

/// Never gain privileges by executing something (`PR_SET_NO_NEW_PRIVS`).
///
/// # Errors
/// Those of prctl(2).
pub fn set_no_new_privileges() -> SysResult<()> {
    rustix::thread::set_no_new_privs(true).during("prctl", "PR_SET_NO_NEW_PRIVS")
}

/// Sets the file mode creation mask (umask(2)).
pub fn set_umask(mask: u32) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask & 0o777));
}
