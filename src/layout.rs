//! Where things are in `/run/dynuser`, and how names and numbers are written there.
//!
//! This one file is compiled twice: into the daemon, which writes, and into the NSS module
//! (`nss-module/src/lib.rs` includes it by path), which reads. It therefore uses `core` alone and
//! allocates nothing.

#![forbid(unsafe_code)]

/// Everything that dynuser keeps while the host runs. Mode 0755, root.
pub const RUN: &str = "/run/dynuser";

/// The table of names: two symbolic links a user, written only by the daemon, world-readable.
///
/// `uid:61200` points to the name, `name:NAME` to the number in decimal. The targets are words,
/// not paths: a reader needs one `readlink` and no permission beyond search.
pub const USERS: &str = "/run/dynuser/users";

/// One file a lease, named by its number: who holds it, since when, and what belongs to it.
///
/// Mode 0644, so that `dynuser list` needs neither root nor a daemon. Nothing is ever locked
/// through them, so nobody can stop anything by opening one.
pub const LEASES: &str = "/run/dynuser/leases";

/// Copies of the user databases, for services on hosts whose look-ups do not know our names.
pub const VIEWS: &str = "/run/dynuser/views";

/// The files behind the descriptors that hold leases, mode 0700: whoever could open one would hold
/// a lease.
pub const HOLDS: &str = "/run/dynuser/holds";

/// The sockets where launchers receive messages of their services (sd_notify(3)), with names that nobody
/// can guess: mode 0711.
pub const NOTIFY: &str = "/run/dynuser/notify";

/// A directory for the temporary files of each user whose services have no /tmp of their own, named by its number and
/// for it alone: it goes with the lease. Mode 0755.
pub const TEMPORARY: &str = "/run/dynuser/tmp";

/// The D-Bus socket of the daemon, mode 0600.
pub const SOCKET: &str = "/run/dynuser/manager";

/// Locked by whoever is a daemon, or starts one. Mode 0600, or anybody could hold it.
pub const LOCK: &str = "/run/dynuser/lock";

/// The log of a daemon in the background.
pub const LOG: &str = "/run/dynuser/log";

/// What stands before the number in the name of a link from a UID to a name.
pub const BY_UID: &str = "uid:";

/// What stands before the name in the name of a link from a name to a UID.
pub const BY_NAME: &str = "name:";

/// The name of the link in [`USERS`] that says which numbers are handed out, for those who list all
/// users: `61184-65519,70000-70010`, ascending. Without it, [`FIRST_UID`] to [`LAST_UID`].
pub const RANGES: &str = "ranges";

/// Length of the longest target of [`RANGES`], in bytes.
pub const LONGEST_RANGES: usize = 200;

/// First UID (and GID) that is handed out by default, as in systemd (0xEF00).
pub const FIRST_UID: u32 = 61184;

/// Last UID (and GID) that is handed out by default, as in systemd (0xFFEF).
pub const LAST_UID: u32 = 65519;

/// The largest number that can be handed out. Above it, programs that take a UID for a signed
/// number see a negative one (systemd's UIDS-GIDS document).
pub const LARGEST_UID: u32 = 0x7FFF_FFFF;

/// Tells whether `number` may ever be handed out: not root's, nobody's, or one of those that mean
/// "no user" to some system call, and at most [`LARGEST_UID`] (systemd's UIDS-GIDS document).
pub const fn may_be_handed_out(number: u32) -> bool {
    number <= LARGEST_UID && !matches!(number, 0 | 65534 | 65535)
}

/// The most numbers that the ranges may have: whoever lists all users looks at each, which takes
/// a second then.
pub const MOST_NUMBERS: u32 = 1 << 20;

/// Length of the longest user name, in bytes: what fits into utmp's `ut_user` with its NUL.
pub const LONGEST_NAME: usize = 31;

/// Fifth field of the passwd record, as systemd has it.
pub const GECOS: &str = "Dynamic User";

/// Home directory in the passwd record.
pub const HOME: &str = "/";

/// Login shell in the passwd record: nobody logs in as a dynamic user.
pub const SHELL: &str = "/usr/sbin/nologin";

/// Tells whether `name` is a user name that dynuser hands out: a letter or `_`, then letters,
/// digits, `_` or `-`, at most [`LONGEST_NAME`] bytes.
///
/// This is the strict grammar of systemd's USER_NAMES document: such a name can be neither a
/// number nor a path, and means itself in every program that reads one.
pub const fn is_strict_user_name(name: &[u8]) -> bool {
    let Some((first, mut rest)) = name.split_first() else {
        return false;
    };
    if name.len() > LONGEST_NAME || !(first.is_ascii_alphabetic() || *first == b'_') {
        return false;
    }
    while let Some((byte, tail)) = rest.split_first() {
        if !(byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'-') {
            return false;
        }
        rest = tail;
    }
    true
}
