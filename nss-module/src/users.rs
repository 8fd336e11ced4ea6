//! The table of users in `/run`, read: one `readlink` a look-up. It asks nobody and takes no lock,
//! so it cannot wait, recurse or deadlock, whoever calls it and from wherever.

use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::slice;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::errno;
use crate::layout::LONGEST_RANGES;
use crate::ranges::{Ranges, at_or_after};
use crate::records::{Asked, Name, Path, Uid, User};
use crate::room::Byte;
use crate::user_text::{LONGEST_TARGET, UserText};

/// Why a look-up has no record to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// There is no such user.
    NotFound,
    /// There is one, but the buffer is too short for the record.
    Short,
    /// There is no memory for the answer. Only a list of groups needs any.
    NoMemory,
    /// Nobody can tell; the error says why.
    Unavailable(c_int),
}

/// The target of a link. One byte more than the longest: `readlink` cuts without a word, and what was cut is too long then.
/// It lies on the stack, which a thread may have little of: so 4 KiB are all that a user's link may say.
pub(crate) struct Target<const ROOM: usize> {
    bytes: [Byte; ROOM],
    length: usize,
}

/// Of the link of a user.
pub(crate) type UserTarget = Target<{ LONGEST_TARGET + 1 }>;

/// Of the link that tells the ranges.
type RangesTarget = Target<{ LONGEST_RANGES + 1 }>;

impl<const ROOM: usize> Target<ROOM> {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [MaybeUninit::uninit(); ROOM],
            length: 0,
        }
    }

    /// Reads a link.
    fn read(&mut self, path: &Path) -> Result<(), Miss> {
        let room = self.bytes.as_mut_ptr();
        // SAFETY: `path` is NUL-terminated, and all of `room` may be written.
        let length = unsafe { libc::readlink(path.as_ptr(), room.cast(), ROOM) };
        let Ok(length) = usize::try_from(length) else {
            return Err(match errno::get() {
                // No link, or something else in its place.
                libc::ENOENT | libc::EINVAL => Miss::NotFound,
                error => Miss::Unavailable(error),
            });
        };
        self.length = length;
        Ok(())
    }

    /// What it says. It is not believed: `UserText`, `Name` and `Uid` are made of it by parsing alone.
    fn bytes(&self) -> &[u8] {
        let filled = self.bytes.get(..self.length).unwrap_or_default();
        // SAFETY: `readlink` wrote so many bytes.
        unsafe { slice::from_raw_parts(filled.as_ptr().cast(), filled.len()) }
    }
}

/// Finds the user called `asked`.
pub(crate) fn named<'t>(asked: &'t Asked, target: &'t mut UserTarget) -> Result<User<'t>, Miss> {
    let name = asked.name().ok_or(Miss::NotFound)?;
    target.read(&Path::of_name(name).ok_or(Miss::NotFound)?)?;
    let text = UserText::parse(target.bytes()).ok_or(Miss::NotFound)?;
    let uid = Uid::parse(text.key).ok_or(Miss::NotFound)?;
    Ok(User { name, uid, text })
}

/// Finds the user with this number.
pub(crate) fn numbered(number: u32, target: &mut UserTarget) -> Result<User<'_>, Miss> {
    let uid = Uid::new(number).ok_or(Miss::NotFound)?;
    target.read(&Path::of_uid(uid).ok_or(Miss::NotFound)?)?;
    told(uid, target)
}

/// What was read of the link of a number. Not inlined: it is called twice, and parsing is most of the file.
#[inline(never)]
fn told(uid: Uid, target: &UserTarget) -> Result<User<'_>, Miss> {
    let text = UserText::parse(target.bytes()).ok_or(Miss::NotFound)?;
    let name = Name::parse(text.key).ok_or(Miss::NotFound)?;
    Ok(User { name, uid, text })
}

/// A walk through all users, by number: a process has one for each kind of record, and its
/// threads share it. It holds the smallest number that was not looked at yet.
pub(crate) struct Walk(AtomicU32);

/// The walk has not begun: no user has this number.
const BEGIN: u32 = 0;

/// The walk is over: no user has this number either.
const END: u32 = u32::MAX;

impl Walk {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(BEGIN))
    }

    /// Begins again.
    pub(crate) fn rewind(&self) {
        self.0.store(BEGIN, Ordering::Relaxed);
    }

    /// Gives the next user; `NotFound` at the end, and ever after.
    pub(crate) fn next(
        &self,
        target: &mut UserTarget,
        mut give: impl FnMut(&User<'_>) -> Result<(), Miss>,
    ) -> Result<(), Miss> {
        loop {
            let (place, uid) = self.find(target)?;
            // The walk stays where it is if there is no room: the caller comes back with a longer buffer.
            give(&told(uid, target)?)?;
            // Only now, and only if no other thread was faster: it has this record then.
            if self.pass(place, uid.after()) {
                return Ok(());
            }
        }
    }

    /// The place of the walk, and the next user from there, whose link was read.
    fn find(&self, target: &mut UserTarget) -> Result<(u32, Uid), Miss> {
        match self.0.load(Ordering::Relaxed) {
            END => return Err(Miss::NotFound),
            // Spares a host without dynamic users thousands of look-ups.
            BEGIN if !table_exists()? => {
                self.pass(BEGIN, END);
                return Err(Miss::NotFound);
            }
            _ => {}
        }
        // Read at every call: to keep them would take more memory than an atomic has, and the place
        // in the walk means the same under any ranges.
        let mut link = RangesTarget::new();
        let ranges = Ranges::parse(ranges(&mut link)?);
        loop {
            let place = self.0.load(Ordering::Relaxed);
            let Some(number) = at_or_after(ranges, place) else {
                self.pass(place, END);
                return Err(Miss::NotFound);
            };
            match numbered(number, target) {
                Ok(user) => return Ok((place, user.uid)),
                Err(Miss::NotFound) => self.pass(place, number.saturating_add(1)),
                Err(other) => return Err(other),
            };
        }
    }

    /// Goes on, if no other thread did meanwhile.
    fn pass(&self, from: u32, to: u32) -> bool {
        self.0
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

/// What the daemon says about the numbers that it hands out; nothing if it says nothing.
fn ranges(link: &mut RangesTarget) -> Result<&[u8], Miss> {
    match link.read(&Path::of_ranges().ok_or(Miss::NotFound)?) {
        Ok(()) => Ok(link.bytes()),
        Err(Miss::NotFound) => Ok(&[]),
        Err(other) => Err(other),
    }
}

/// Tells whether there is a table of users at all.
fn table_exists() -> Result<bool, Miss> {
    // A directory is no link: `readlink` says so with EINVAL, and saves us another import.
    match Target::<1>::new().read(&Path::of_table().ok_or(Miss::NotFound)?) {
        Err(Miss::NotFound) => Ok(errno::get() != libc::ENOENT),
        Err(other) => Err(other),
        Ok(()) => Ok(true),
    }
}
