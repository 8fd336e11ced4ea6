//! The kernel's keyrings of a UID: keyrings(7), persistent-keyring(7), user-keyring(7).
//!
//! They belong to the number and outlive its processes: the next user of the number would read
//! in `@u` what the last one left there. Only the number itself may open them, not even root.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::child::{self, Credentials};
use super::procfs::Proc;
use super::{During, SysError, SysResult, last_error};

/// How long the kernel may take to collect what was invalidated (a tenth of a second when idle).
const PATIENCE: Duration = Duration::from_secs(2);

/// Everything for possessor and owner, nothing for others (`KEY_POS_ALL | KEY_USR_ALL` of linux/keyctl.h).
const ALL_RIGHTS: libc::c_long = 0x3f3f_0000;

/// Empties and removes the user keyring, the user-session keyring and the persistent keyring of
/// `uid`, and waits until the kernel counts no key of `uid` any more (`/proc/key-users`, proc(5)).
///
/// Must only be called when no process of `uid` lives: the child that does it can be killed by one, and what
/// it removes would be made anew.
///
/// It blocks meanwhile. A UID that has no line in `/proc/key-users` never had a key: nothing is done then.
///
/// # Errors
///
/// `EINVAL` for 0 and `u32::MAX`. `EBUSY`, after two seconds, if keys of the UID are left: others hold
/// them; or the UID has revoked its user keyring or let it expire, which the kernel forgets after
/// `/proc/sys/kernel/keys/gc_delay` (five minutes); or it has taken the right to find it from itself, which
/// nobody can undo before the next boot (no capability counts for the keys of others): the next
/// user of the number would have no user keyring. Kernels without keys or without persistent keyrings are fine.
pub fn clear(uid: u32) -> SysResult<()> {
    let credentials = Credentials::owner(uid)?;
    if keys(uid)? == Keys::None {
        return Ok(());
    }
    let deadline = Instant::now().checked_add(PATIENCE);
    let waiting = || deadline.is_some_and(|deadline| Instant::now() < deadline);
    loop {
        match child::run(credentials, clear_all, &())? {
            Ok(()) => break,
            // The quota is used up: the persistent keyring cannot be linked to. The keys that
            // were cleared just now are counted until the kernel has collected them.
            Err((_, Errno::DQUOT)) if waiting() => std::thread::sleep(Duration::from_millis(5)),
            Err((call, errno)) => return Err(errno).during(call, format_args!("keys of {uid}")),
        }
    }
    let mut pause = Duration::from_micros(500);
    loop {
        match keys(uid)? {
            Keys::None | Keys::Unknown => return Ok(()),
            Keys::Some(_) if waiting() => std::thread::sleep(pause),
            Keys::Some(count) => {
                return Err(SysError {
                    call: "keyctl",
                    subject: format!("{count} keys of {uid} are left, others hold them"),
                    errno: Errno::BUSY,
                });
            }
        }
        pause = pause.saturating_mul(2).min(Duration::from_millis(50));
    }
}

/// The keys that carry `uid`, as a phrase. A kernel that does not tell has none to find.
///
/// # Errors
///
/// Those of reading `/proc/key-users`.
pub fn found(uid: u32) -> SysResult<Option<String>> {
    Ok(match keys(uid)? {
        Keys::None | Keys::Unknown => None,
        Keys::Some(1) => Some("a kernel key".into()),
        Keys::Some(count) => Some(format!("{count} kernel keys")),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    /// The kernel counts no key, or knows none at all.
    None,
    Some(u64),
    /// The kernel does not tell.
    Unknown,
}

fn keys(uid: u32) -> SysResult<Keys> {
    match Proc::open()?.read("key-users") {
        Ok(text) => parse(&text, uid).during("read", "/proc/key-users"),
        Err(Errno::NOENT) => Ok(Keys::Unknown),
        Err(errno) => Err(errno).during("read", "/proc/key-users"),
    }
}

/// `UID: USAGE NKEYS/NINSTANTIATED QUOTA_KEYS/MAX QUOTA_BYTES/MAX`. The second field counts every key,
/// the persistent keyring too, which is in no quota.
fn parse(text: &str, uid: u32) -> Result<Keys, Errno> {
    for line in text.lines() {
        let (user, fields) = line.split_once(':').ok_or(Errno::BADMSG)?;
        if user.trim().parse() != Ok(uid) {
            continue;
        }
        let keys = fields.split_ascii_whitespace().nth(1);
        let (all, _) = keys
            .and_then(|keys| keys.split_once('/'))
            .ok_or(Errno::BADMSG)?;
        let count = all.parse().map_err(|_| Errno::BADMSG)?;
        return Ok(if count == 0 {
            Keys::None
        } else {
            Keys::Some(count)
        });
    }
    Ok(Keys::None)
}

/// Runs in the child, as the UID.
fn clear_all((): &()) -> Result<(), (&'static str, Errno)> {
    // By their special numbers first, by which we possess them, and both before any is invalidated:
    // to name one of the two makes the other one anew if it is not there.
    let mut serials = [None; 2];
    let names = [
        libc::KEY_SPEC_USER_KEYRING,
        libc::KEY_SPEC_USER_SESSION_KEYRING,
    ];
    for (serial, name) in serials.iter_mut().zip(names) {
        give_back_rights(name.into())?;
        match keyctl(libc::KEYCTL_GET_KEYRING_ID, name.into(), 0) {
            Ok(number) => *serial = Some(number),
            Err(errno) => fine("KEYCTL_GET_KEYRING_ID", errno)?,
        }
    }
    for serial in serials.into_iter().flatten() {
        clear_one(serial)?;
    }
    // Possessing it takes a keyring of ours to link it to: the child's process keyring ends with it.
    let destination = libc::KEY_SPEC_PROCESS_KEYRING.into();
    match keyctl(libc::KEYCTL_GET_PERSISTENT, -1, destination) {
        Ok(serial) => clear_one(serial),
        Err(errno) => fine("KEYCTL_GET_PERSISTENT", errno),
    }
}

/// Its owner may have taken rights over the keyring from himself. Where he cannot give them back either,
/// clearing tells. (Over the persistent keyring he has no such power.)
fn give_back_rights(keyring: libc::c_long) -> Result<(), (&'static str, Errno)> {
    match keyctl(libc::KEYCTL_SETPERM, keyring, ALL_RIGHTS) {
        Ok(_) | Err(Errno::ACCESS) => Ok(()),
        Err(errno) => fine("KEYCTL_SETPERM", errno),
    }
}

/// Clearing is immediate. Invalidating removes the keyring itself, the links that others have to it, and
/// what cannot be taken back from it: KEYCTL_RESTRICT_KEYRING, an expiry. Trap: Linux 6.18 forgets to give back 4
/// bytes of root's quota (25,000,000) for each link that its collector drops, so 8 for each call.
///
/// Its owner may have taken the right to clear it from himself for ever. To invalidate it, the right to find it is
/// enough, and what was in it goes with it.
fn clear_one(serial: libc::c_long) -> Result<(), (&'static str, Errno)> {
    match keyctl(libc::KEYCTL_CLEAR, serial, 0) {
        Ok(_) | Err(Errno::ACCESS) => {}
        Err(errno) => fine("KEYCTL_CLEAR", errno)?,
    }
    match keyctl(libc::KEYCTL_INVALIDATE, serial, 0) {
        Ok(_) => Ok(()),
        Err(errno) => fine("KEYCTL_INVALIDATE", errno),
    }
}

/// That there is no such keyring, or no such kind of keyring in this kernel, is what we want.
fn fine(call: &'static str, errno: Errno) -> Result<(), (&'static str, Errno)> {
    match errno {
        Errno::NOKEY | Errno::OPNOTSUPP | Errno::NOSYS => Ok(()),
        errno => Err((call, errno)),
    }
}

/// Gives this process a new, empty session keyring without a name (session-keyring(7)), in place of
/// the one that it inherited. A kernel without keys has none to leave, and where a filter keeps everybody from them
/// nobody can use one.
///
/// # Errors
///
/// Those of keyctl(2), `EDQUOT` among them.
pub fn join_new_session() -> SysResult<()> {
    match keyctl(libc::KEYCTL_JOIN_SESSION_KEYRING, 0, 0) {
        Err(Errno::NOSYS) => Ok(()),
        Err(Errno::PERM) if are_forbidden() => Ok(()),
        joined => joined
            .map(drop)
            .during("keyctl", "KEYCTL_JOIN_SESSION_KEYRING"),
    }
}

/// Whether a system-call filter keeps this process, and whatever it starts, from keys altogether, as those of
/// containers do: keyctl(2) is refused whatever it is to do, also what no kernel knows, and so are the two calls that
/// make keys. One that is not would let a service leave a key behind, which nobody could take back.
fn are_forbidden() -> bool {
    const NOTHING: u32 = u32::MAX;
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: the kernel reads the first two addresses and finds them bad; it makes no key of no kind.
    let added = unsafe { libc::syscall(libc::SYS_add_key, none, none, none, 0_usize, 0) };
    let added = (added < 0).then(last_error);
    // SAFETY: as above.
    let asked = unsafe { libc::syscall(libc::SYS_request_key, none, none, none, 0) };
    let asked = (asked < 0).then(last_error);
    let refused = |errno| [Some(Errno::PERM), Some(Errno::NOSYS)].contains(&errno);
    keyctl(NOTHING, 0, 0) == Err(Errno::PERM) && refused(added) && refused(asked)
}

/// keyctl(2) with two numbers.
fn keyctl(
    operation: u32,
    first: libc::c_long,
    second: libc::c_long,
) -> Result<libc::c_long, Errno> {
    // SAFETY: the operations used here take numbers only.
    let answer = unsafe { libc::syscall(libc::SYS_keyctl, operation, first, second, 0, 0) };
    if answer >= 0 {
        return Ok(answer);
    }
    Err(last_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "    0:     9 8/8 3/1000000 40/25000000\n61200:     6 6/6 5/200 74/20000\n\
                        61201:     1 0/0 0/200 0/20000\n";

    #[test]
    fn keys_are_counted_by_user() {
        assert_eq!(parse(TEXT, 61200), Ok(Keys::Some(6)));
        assert_eq!(parse(TEXT, 61201), Ok(Keys::None));
        assert_eq!(parse(TEXT, 6120), Ok(Keys::None));
        assert_eq!(parse("", 6120), Ok(Keys::None));
    }

    #[test]
    fn a_broken_table_is_an_error() {
        assert_eq!(parse("61200: 6\n", 61200), Err(Errno::BADMSG));
        assert_eq!(parse("61200: 6 x/6\n", 61200), Err(Errno::BADMSG));
        assert_eq!(parse("nonsense\n", 61200), Err(Errno::BADMSG));
    }
}
