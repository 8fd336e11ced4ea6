//! What is asked, what is read and what is answered, as bytes. Pure: nothing here knows the system.

#![forbid(unsafe_code)]

use core::ffi::c_char;
use core::mem;

use crate::layout::{
    BY_NAME, BY_UID, GECOS, HOME, LARGEST_UID, LONGEST_NAME, RANGES, SHELL, USERS,
    is_strict_user_name, may_be_handed_out,
};
use crate::ranges::number;

/// Password field: it says that the shadow file has the password, and there is none there.
const PASSWORD: &str = "x";

/// Digits of the longest UID.
const UID_DIGITS: usize = 10;

const _: () = assert!(LARGEST_UID >= 1_000_000_000);

/// Bytes of the longest path of a link, with its NUL.
const PATH_ROOM: usize = USERS.len() + 1 + BY_NAME.len() + LONGEST_NAME + 1;

const _: () = assert!(BY_UID.len() + UID_DIGITS <= BY_NAME.len() + LONGEST_NAME);
const _: () = assert!(RANGES.len() <= BY_NAME.len() + LONGEST_NAME);

/// Bytes for the target of a link. `readlink` cuts without a word, and the beginning of a long name
/// may be another user's: one byte more than the longest name, so that what was cut is none.
pub(crate) const TARGET_ROOM: usize = LONGEST_NAME + 1;

/// Bytes of the longest record. No more than this of a caller's buffer is ever touched.
pub(crate) const LONGEST_RECORD: usize =
    LONGEST_NAME + PASSWORD.len() + GECOS.len() + HOME.len() + SHELL.len() + 5; // a NUL each

/// The empty list of a group's members: one null pointer.
const NO_MEMBERS: [u8; size_of::<*mut c_char>()] = [0; size_of::<*mut c_char>()];

// A group has to fit as well: two words, the list, and what aligning the list may cost.
const _: () = assert!(
    LONGEST_NAME + PASSWORD.len() + 2 + NO_MEMBERS.len() + align_of::<*mut c_char>() - 1
        <= LONGEST_RECORD
);

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
        let mut room = Room(&mut path);
        room.put(USERS.as_bytes())?;
        for part in below {
            room.put(part)?;
        }
        room.put(b"\0")?;
        Some(Self(path))
    }

    /// A NUL-terminated string: `build` gives no path without one.
    pub(crate) fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }
}

/// Lays out the record of a user in `buffer`; `None` if that is too short.
pub(crate) fn passwd(buffer: &mut [u8], name: Name<'_>, uid: Uid) -> Option<libc::passwd> {
    let mut room = Room(buffer);
    Some(libc::passwd {
        pw_name: room.word(name.0)?,
        pw_passwd: room.word(PASSWORD.as_bytes())?,
        pw_uid: uid.0,
        pw_gid: uid.0,
        pw_gecos: room.word(GECOS.as_bytes())?,
        pw_dir: room.word(HOME.as_bytes())?,
        pw_shell: room.word(SHELL.as_bytes())?,
    })
}

/// Lays out the record of a user's own group in `buffer`; `None` if that is too short.
pub(crate) fn group(buffer: &mut [u8], name: Name<'_>, uid: Uid) -> Option<libc::group> {
    let mut room = Room(buffer);
    Some(libc::group {
        gr_name: room.word(name.0)?,
        gr_passwd: room.word(PASSWORD.as_bytes())?,
        gr_gid: uid.0,
        gr_mem: room.no_members()?,
    })
}

/// What is left of a buffer. Every piece of it is given away once.
struct Room<'b>(&'b mut [u8]);

impl<'b> Room<'b> {
    fn take(&mut self, length: usize) -> Option<&'b mut [u8]> {
        let (piece, rest) = mem::take(&mut self.0).split_at_mut_checked(length)?;
        self.0 = rest;
        Some(piece)
    }

    fn put(&mut self, bytes: &[u8]) -> Option<&'b mut [u8]> {
        let piece = self.take(bytes.len())?;
        copy(piece, bytes);
        Some(piece)
    }

    fn word(&mut self, word: &[u8]) -> Option<*mut c_char> {
        // One piece for both, so that the pointer may be followed up to the NUL.
        let piece = self.take(word.len().checked_add(1)?)?;
        let (nul, text) = piece.split_last_mut()?;
        copy(text, word);
        *nul = 0;
        Some(piece.as_mut_ptr().cast())
    }

    fn no_members(&mut self) -> Option<*mut *mut c_char> {
        // Nobody promises an aligned buffer, and words of any length stand before this.
        self.take(self.0.as_ptr().align_offset(align_of::<*mut c_char>()))?;
        Some(self.put(&NO_MEMBERS)?.as_mut_ptr().cast())
    }
}

/// Copies as much as fits. `copy_from_slice` would do the same here, but it can panic.
fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]

    use super::*;

    const WEB: Name<'_> = Name(b"web");
    const UID: Uid = Uid(61200);

    /// Where a pointer into `buffer` points, counted from its beginning.
    fn offset<T>(buffer: &[u8], pointer: *mut T) -> Option<usize> {
        pointer.addr().checked_sub(buffer.as_ptr().addr())
    }

    #[test]
    fn a_target_is_a_number_only_in_one_spelling() {
        for good in [1, 9, 10, 1000, 61184, 65519, 99_999, 100_000, LARGEST_UID] {
            let bytes = good.to_string();
            assert_eq!(Uid::parse(bytes.as_bytes()), Some(Uid(good)), "{good}");
        }
        for bad in [
            "",
            "0",
            "061200",
            "0061200",
            "+61200",
            "-61200",
            " 61200",
            "61200 ",
            "61200\n",
            "65534",
            "65535",
            "2147483648",
            "4294967294",
            "4294967295",
            "4294967296",
            "4295028496",
            "0xef10",
            "6120a",
            "99999999999999999999",
            "00000",
        ] {
            assert_eq!(Uid::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_number_may_be_handed_out_or_is_nobody_s() {
        for (number, ours) in [
            (0, false),
            (1, true),
            (1000, true),
            (61184, true),
            (65533, true),
            (65534, false),
            (65535, false),
            (65536, true),
            (LARGEST_UID, true),
            (LARGEST_UID + 1, false),
            (u32::MAX - 1, false),
            (u32::MAX, false),
        ] {
            assert_eq!(Uid::new(number), ours.then_some(Uid(number)), "{number}");
        }
    }

    #[test]
    fn every_number_is_read_as_it_is_written() {
        let powers = (0..31).map(|bit| 1_u32 << bit);
        let tens = (0..10).map(|digits| 10_u32.pow(digits));
        let numbers = powers.chain(tens).flat_map(|n| [n - 1, n, n + 1]);
        for number in numbers.chain(61184..=65519).chain([LARGEST_UID]) {
            let mut room = [b'?'; UID_DIGITS];
            let digits = Uid(number).digits(&mut room);
            assert_eq!(digits, number.to_string().as_bytes());
            assert_eq!(Uid::parse(digits), Uid::new(number));
        }
    }

    #[test]
    fn a_name_cannot_leave_the_directory_or_forge_a_field() {
        for bad in [
            &b""[..],
            b".",
            b"..",
            b"../x",
            b"a/b",
            b"a:b",
            b"a\nb",
            b"a b",
            b"0",
            b"61200",
            b"-a",
            b"a.b",
            b"a$",
            b"\xc3\xa4",
            b"a\0b",
            &[b'a'; TARGET_ROOM],
        ] {
            assert_eq!(Name::parse(bad), None, "{bad:?}");
        }
        for good in [&b"a"[..], b"_", b"Web-1_x", &[b'a'; 31]] {
            assert_eq!(Name::parse(good), Some(Name(good)));
        }
    }

    #[test]
    fn paths_are_those_of_the_daemon_and_end_in_nul() {
        let path = Path::of_table().map(|path| path.0);
        assert!(path.is_some_and(|bytes| bytes.starts_with(b"/run/dynuser/users\0")));
        let path = Path::of_uid(UID).map(|path| path.0);
        assert!(path.is_some_and(|bytes| bytes.starts_with(b"/run/dynuser/users/uid:61200\0")));
        let path = Path::of_uid(Uid(LARGEST_UID)).map(|path| path.0);
        assert!(
            path.is_some_and(|bytes| bytes.starts_with(b"/run/dynuser/users/uid:2147483647\0"))
        );
        let path = Path::of_ranges().map(|path| path.0);
        assert!(path.is_some_and(|bytes| bytes.starts_with(b"/run/dynuser/users/ranges\0")));
        let path = Path::of_name(WEB).map(|path| path.0);
        assert!(path.is_some_and(|bytes| bytes.starts_with(b"/run/dynuser/users/name:web\0")));
        let longest = Path::of_name(Name(&[b'a'; LONGEST_NAME]));
        assert!(longest.is_some_and(|path| path.0.ends_with(b"aaa\0")));
    }

    #[test]
    fn a_user_s_record_is_laid_out_word_by_word() {
        let mut buffer = [0xAA; LONGEST_RECORD];
        let record = passwd(&mut buffer, WEB, UID);
        assert!(buffer.starts_with(b"web\0x\0Dynamic User\0/\0/usr/sbin/nologin\0\xAA"));
        let at = record.map(|it| {
            [
                it.pw_name,
                it.pw_passwd,
                it.pw_gecos,
                it.pw_dir,
                it.pw_shell,
            ]
            .map(|word| offset(&buffer, word))
        });
        assert_eq!(at, Some([Some(0), Some(4), Some(6), Some(19), Some(21)]));
        assert_eq!(
            record.map(|it| (it.pw_uid, it.pw_gid)),
            Some((61200, 61200))
        );
    }

    #[test]
    fn a_group_s_record_has_an_aligned_empty_list() {
        for skipped in 0..16 {
            let mut buffer = [0xAA; 64];
            let (_, unaligned) = buffer.split_at_mut(skipped);
            let record = group(unaligned, WEB, UID);
            assert!(unaligned.starts_with(b"web\0x\0"));
            assert_eq!(record.map(|it| it.gr_gid), Some(61200));
            assert!(record.is_some_and(|it| it.gr_mem.is_aligned()));
            let list = record.and_then(|it| offset(unaligned, it.gr_mem));
            let list = list.and_then(|at| unaligned.get(at..)?.first_chunk::<8>());
            assert_eq!(list, Some(&[0; 8]));
        }
    }

    #[test]
    fn a_short_buffer_gets_no_record() {
        let mut buffer = [0_u64; 16].map(u64::to_ne_bytes);
        let buffer = buffer.as_flattened_mut();
        let longest = [b'a'; LONGEST_NAME];
        for (name, user, user_s_group) in [(WEB, 39, 16), (Name(&longest), LONGEST_RECORD, 48)] {
            for length in 0..=buffer.len() {
                let (short, _) = buffer.split_at_mut(length);
                assert_eq!(
                    passwd(short, name, UID).is_some(),
                    length >= user,
                    "{length}"
                );
                assert_eq!(
                    group(short, name, UID).is_some(),
                    length >= user_s_group,
                    "{length}"
                );
            }
        }
    }
}
