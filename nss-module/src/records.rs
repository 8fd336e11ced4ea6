//! What is asked, what is read and what is answered, as bytes. Pure: nothing here knows the system.

#![forbid(unsafe_code)]

use core::ffi::{c_char, c_ulong};
use core::iter;
use core::mem;

use crate::layout::{
    BY_NAME, BY_UID, GECOS, LARGEST_UID, LONGEST_NAME, RANGES, SHELL, USERS, is_strict_user_name,
    may_be_handed_out,
};
use crate::room::Room;
use crate::user_text::{LONGEST_HOME, LONGEST_TARGET, UserText, number};

/// Password field of passwd and group: it says that the shadow file has the password.
const PASSWORD: &[u8] = b"x";

/// Password field of shadow and gshadow, as systemd has it: the hash of no password, locked.
const LOCKED: &[u8] = b"!*";

/// A day that is past, in days since 1970: nobody logs in with an account that has expired, be it with a key.
const EXPIRED: libc::c_long = 1;

/// An empty field of shadow(5).
const NOTHING: libc::c_long = -1;

/// Digits of the longest UID.
const UID_DIGITS: usize = 10;

const _: () = assert!(LARGEST_UID >= 1_000_000_000);

/// Bytes of the longest path of a link, with its NUL.
const PATH_ROOM: usize = USERS.len() + 1 + BY_NAME.len() + LONGEST_NAME + 1;

const _: () = assert!(BY_UID.len() + UID_DIGITS <= BY_NAME.len() + LONGEST_NAME);
const _: () = assert!(RANGES.len() <= BY_NAME.len() + LONGEST_NAME);

/// Bytes that the words of a passwd record can need, with a NUL each.
const LONGEST_PASSWD: usize =
    LONGEST_NAME + PASSWORD.len() + GECOS.len() + LONGEST_HOME + SHELL.len() + 5;

/// No more than this of a caller's buffer is ever used: the longest record is that of a group whose members all have one
/// letter, a comma each in the link, with a pointer each and what it costs to align them.
pub(crate) const LONGEST_RECORD: usize = LONGEST_NAME
    + PASSWORD.len()
    + 2
    + LONGEST_TARGET
    + (LONGEST_TARGET / 2 + 2) * size_of::<*mut c_char>()
    + align_of::<*mut c_char>();

const _: () = assert!(LONGEST_PASSWD <= LONGEST_RECORD);

/// `struct sgrp` of `<gshadow.h>`, which the libc crate does not have.
#[derive(Debug)]
#[repr(C)]
pub struct GroupShadow {
    /// The name of the group.
    pub name: *mut c_char,
    /// The hash of its password.
    pub password: *mut c_char,
    /// Who may change it: an array that ends with a null pointer.
    pub administrators: *mut *mut c_char,
    /// Who is in it without its password: an array that ends with a null pointer.
    pub members: *mut *mut c_char,
}

/// A user name in the strict grammar. Such a name cannot leave the directory of the links, and
/// cannot forge a field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Takes a name from a caller or from the target of a link: neither is trusted.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        is_strict_user_name(bytes).then_some(Self(bytes))
    }
}

/// A name that a caller asked for, copied: it may lie in the very buffer that the answer goes to, where the record of an
/// earlier look-up was.
#[derive(Debug)]
pub(crate) struct Asked {
    bytes: [u8; LONGEST_NAME],
    length: usize,
}

impl Asked {
    /// Takes a name from a caller, if it can be one of ours.
    pub(crate) fn copy(name: &[u8]) -> Option<Self> {
        let name = Name::parse(name)?;
        let mut bytes = [0; LONGEST_NAME];
        copy(&mut bytes, name.0);
        Some(Self {
            bytes,
            length: name.0.len(),
        })
    }

    /// The name.
    pub(crate) fn name(&self) -> Option<Name<'_>> {
        self.bytes.get(..self.length).map(Name)
    }
}

/// A UID that dynuser may hand out. Which ones it does hand out is configured; the table knows, and
/// asking it costs no more than asking for the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uid(u32);

impl Uid {
    /// Takes a number from a caller.
    pub(crate) fn new(number: u32) -> Option<Self> {
        may_be_handed_out(number).then_some(Self(number))
    }

    /// Takes a number from the target of a link: digits alone, no sign, no blank, no leading zero.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        Self::new(number(bytes)?)
    }

    /// The number after it, which need not be one that is handed out.
    pub(crate) const fn after(self) -> u32 {
        self.0.saturating_add(1)
    }

    /// Writes the number in decimal.
    fn digits(self, room: &mut [u8; UID_DIGITS]) -> &[u8] {
        let mut rest = self.0;
        let mut unused = UID_DIGITS;
        for digit in room.iter_mut().rev() {
            *digit = b'0'.wrapping_add((rest % 10) as u8);
            unused = unused.saturating_sub(1);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        room.get(unused..).unwrap_or_default()
    }
}

/// A path with its NUL: the table of users, or a link in it.
#[derive(Debug)]
pub(crate) struct Path([u8; PATH_ROOM]);

impl Path {
    /// The table itself.
    pub(crate) fn of_table() -> Option<Self> {
        Self::build(&[])
    }

    /// The link from a UID to its name.
    pub(crate) fn of_uid(uid: Uid) -> Option<Self> {
        let mut digits = [0; UID_DIGITS];
        Self::build(&[b"/", BY_UID.as_bytes(), uid.digits(&mut digits)])
    }

    /// The link that says which numbers are handed out.
    pub(crate) fn of_ranges() -> Option<Self> {
        Self::build(&[b"/", RANGES.as_bytes()])
    }

    /// The link from a name to its UID.
    pub(crate) fn of_name(name: Name<'_>) -> Option<Self> {
        Self::build(&[b"/", BY_NAME.as_bytes(), name.0])
    }

    fn build(below: &[&[u8]]) -> Option<Self> {
        let mut path = [0; PATH_ROOM];
        let mut rest = path.as_mut_slice();
        for part in iter::once(&USERS.as_bytes()).chain(below) {
            let (piece, behind) = mem::take(&mut rest).split_at_mut_checked(part.len())?;
            copy(piece, part);
            rest = behind;
        }
        // What is left is zeroes: the NUL must be among them.
        (!rest.is_empty()).then_some(Self(path))
    }

    /// A NUL-terminated string: `build` gives no path without one.
    pub(crate) const fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }
}

/// A user of the table, checked.
#[derive(Debug)]
pub(crate) struct User<'a> {
    pub(crate) name: Name<'a>,
    pub(crate) uid: Uid,
    /// What its link says beside the name and the number.
    pub(crate) text: UserText<'a>,
}

/// A record that every user has.
pub(crate) trait Record: Sized {
    /// Lays it out; `None` if there is no room for it.
    fn lay(room: Room<'_>, user: &User<'_>) -> Option<Self>;
}

impl Record for libc::passwd {
    fn lay(mut room: Room<'_>, user: &User<'_>) -> Option<Self> {
        Some(Self {
            pw_name: room.word(user.name.0)?,
            pw_passwd: room.word(PASSWORD)?,
            pw_uid: user.uid.0,
            pw_gid: user.uid.0,
            pw_gecos: room.word(GECOS.as_bytes())?,
            pw_dir: room.word(user.text.home())?,
            pw_shell: room.word(SHELL.as_bytes())?,
        })
    }
}

/// Of the user's own group.
impl Record for libc::group {
    fn lay(mut room: Room<'_>, user: &User<'_>) -> Option<Self> {
        Some(Self {
            gr_name: room.word(user.name.0)?,
            gr_passwd: room.word(PASSWORD)?,
            gr_gid: user.uid.0,
            gr_mem: room.list(user.text.members())?,
        })
    }
}

/// The same for every user, and no secret.
impl Record for libc::spwd {
    fn lay(mut room: Room<'_>, user: &User<'_>) -> Option<Self> {
        Some(Self {
            sp_namp: room.word(user.name.0)?,
            sp_pwdp: room.word(LOCKED)?,
            sp_lstchg: NOTHING,
            sp_min: NOTHING,
            sp_max: NOTHING,
            sp_warn: NOTHING,
            sp_inact: NOTHING,
            sp_expire: EXPIRED,
            sp_flag: c_ulong::MAX,
        })
    }
}

/// Of the user's own group. Its members are told by the other record alone, as by systemd.
impl Record for GroupShadow {
    fn lay(mut room: Room<'_>, user: &User<'_>) -> Option<Self> {
        let name = room.word(user.name.0)?;
        let password = room.word(LOCKED)?;
        let nobody = room.list(iter::empty())?;
        Some(Self {
            name,
            password,
            administrators: nobody,
            members: nobody,
        })
    }
}

/// Copies as much as fits. `copy_from_slice` would do the same here, but it can panic.
fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests;
