//! The table of users in `/run`, read: one `readlink` a look-up. It asks nobody and takes no lock,
//! so it cannot wait, recurse or deadlock, whoever calls it and from wherever.

use core::ffi::c_int;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::errno;
use crate::layout::LONGEST_RANGES;
use crate::ranges::{Ranges, at_or_after};
use crate::records::{Name, Path, TARGET_ROOM, Uid};

/// Bytes for the target of the link to the ranges: one more than the longest, as for a name.
const RANGES_ROOM: usize = LONGEST_RANGES + 1;

/// Why a look-up has no record to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// There is no such user.
    NotFound,
    /// There is one, but the buffer is too short for the record.
    Short,
    /// Nobody can tell; the error says why.
    Unavailable(c_int),
}

/// What lays out a record in a buffer: `records::passwd` or `records::group`.
pub(crate) type Layout<T> = fn(&mut [u8], Name<'_>, Uid) -> Option<T>;

/// The record of the user (or group) called `name`.
pub(crate) fn by_name<T>(name: Name<'_>, buffer: &mut [u8], lay: Layout<T>) -> Result<T, Miss> {
    let path = Path::of_name(name).ok_or(Miss::NotFound)?;
    let mut room = [0; TARGET_ROOM];
    let uid = Uid::parse(target(&path, &mut room)?).ok_or(Miss::NotFound)?;
    lay(buffer, name, uid).ok_or(Miss::Short)
}

/// The record of the user (or group) with this number.
pub(crate) fn by_number<T>(number: u32, buffer: &mut [u8], lay: Layout<T>) -> Result<T, Miss> {
    let uid = Uid::new(number).ok_or(Miss::NotFound)?;
    let path = Path::of_uid(uid).ok_or(Miss::NotFound)?;
    let mut room = [0; TARGET_ROOM];
    let name = Name::parse(target(&path, &mut room)?).ok_or(Miss::NotFound)?;
    lay(buffer, name, uid).ok_or(Miss::Short)
}

/// A walk through all users, by number: a process has one for users and one for groups, and its
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

    /// The next record; `NotFound` at the end, and ever after.
    pub(crate) fn next<T>(&self, buffer: &mut [u8], lay: Layout<T>) -> Result<T, Miss> {
        match self.0.load(Ordering::Relaxed) {
            END => return Err(Miss::NotFound),
            // Spares a host without dynamic users thousands of look-ups.
            BEGIN if !table_exists()? => {
                self.advance(BEGIN, END);
                return Err(Miss::NotFound);
            }
            _ => {}
        }
        // Read at every call: to keep them would take more memory than an atomic has, and the place
        // in the walk means the same under any ranges.
        let mut room = [0; RANGES_ROOM];
        let ranges = Ranges::parse(ranges(&mut room)?);
        loop {
            let place = self.0.load(Ordering::Relaxed);
            let Some(number) = at_or_after(ranges, place) else {
                self.advance(place, END);
                return Err(Miss::NotFound);
            };
            let found = match by_number(number, buffer, lay) {
                Ok(record) => Some(record),
                Err(Miss::NotFound) => None,
                // The walk stays where it is: the caller comes back with a longer buffer.
                Err(other) => return Err(other),
            };
            // Only now, and only if no other thread was faster: it has this record then.
            if self.advance(place, number.saturating_add(1))
                && let Some(record) = found
            {
                return Ok(record);
            }
        }
    }

    fn advance(&self, from: u32, to: u32) -> bool {
        self.0
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

/// What the daemon says about the numbers that it hands out; nothing if it says nothing.
fn ranges(room: &mut [u8; RANGES_ROOM]) -> Result<&[u8], Miss> {
    let path = Path::of_ranges().ok_or(Miss::NotFound)?;
    match target(&path, room) {
        Err(Miss::NotFound) => Ok(&[]),
        read => read,
    }
}

/// Tells whether there is a table of users at all.
fn table_exists() -> Result<bool, Miss> {
    let path = Path::of_table().ok_or(Miss::NotFound)?;
    match read(&path, &mut [0; TARGET_ROOM]) {
        Err(libc::ENOENT) => Ok(false),
        // A directory is no link: `readlink` says so with EINVAL, and saves us another import.
        Ok(_) | Err(libc::EINVAL) => Ok(true),
        Err(error) => Err(Miss::Unavailable(error)),
    }
}

/// What a link says. It is not believed: `Name` and `Uid` are made of it by parsing alone.
fn target<'t>(path: &Path, room: &'t mut [u8]) -> Result<&'t [u8], Miss> {
    match read(path, room) {
        Ok(length) => room.get(..length).ok_or(Miss::NotFound),
        // No link, or something else in its place.
        Err(libc::ENOENT | libc::EINVAL) => Err(Miss::NotFound),
        Err(error) => Err(Miss::Unavailable(error)),
    }
}

/// Reads a link: how many bytes of `room` it filled, or the error.
fn read(path: &Path, room: &mut [u8]) -> Result<usize, c_int> {
    // SAFETY: `path` is NUL-terminated, and all of `room` may be written.
    let length = unsafe { libc::readlink(path.as_ptr(), room.as_mut_ptr().cast(), room.len()) };
    usize::try_from(length).map_err(|_| errno::get())
}
