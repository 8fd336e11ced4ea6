//! Between glibc's pointers and the look-ups: what is asked, where the answer goes, how it went.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::slice;

use libc::size_t;

use crate::errno;
use crate::records::{Asked, LONGEST_RECORD, Record, User};
use crate::room::{Byte, Room};
use crate::users::{self, Miss, UserTarget, Walk};

/// How a look-up went: `enum nss_status` of `<nss.h>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum Status {
    /// The buffer is too short (`errnop` says `ERANGE`), or there is no memory (`ENOMEM`).
    TryAgain = -2,
    /// Nobody can tell; `errnop` says why. The next service is asked.
    Unavailable = -1,
    /// There is no such user or group. The next service is asked.
    NotFound = 0,
    /// The record is in place.
    Success = 1,
}

/// What is looked for.
pub(crate) enum Question<'q> {
    /// The user or group of this name: a string, or null.
    Name(*const c_char),
    /// The user or group with this number.
    Number(u32),
    /// The next one of a walk.
    Next(&'q Walk),
}

/// Lays out a record in the room, and writes it to where it says.
type Put = unsafe fn(Room<'_>, &User<'_>, *mut c_void) -> Option<()>;

/// Where glibc wants the answer to be. It forgets which kind of record that is: so there is one `give` for all of them,
/// which makes the file half as long.
pub(crate) struct Answer {
    put: Put,
    result: *mut c_void,
    buffer: *mut c_char,
    length: size_t,
    /// Mostly `&errno`: a reference made of it would be a second one to what `errno` reads.
    errnop: *mut c_int,
}

impl Answer {
    pub(crate) fn new<T: Record>(
        result: *mut T,
        buffer: *mut c_char,
        length: size_t,
        errnop: *mut c_int,
    ) -> Self {
        Self {
            put: put::<T>,
            result: result.cast(),
            buffer,
            length,
            errnop,
        }
    }

    /// Looks up, and puts down what was found. The thread's `errno` stays as it was, except through
    /// `errnop`.
    ///
    /// # Safety
    ///
    /// Each pointer is null or may be written, the buffer for its whole length, and nobody else
    /// uses what they point to during the call; but a name may lie in the buffer. It is null or a string.
    #[inline(never)]
    pub(crate) unsafe fn give(self, question: Question<'_>) -> Status {
        let errno = errno::get();
        // SAFETY: the caller promises what it demands.
        let given = unsafe { self.look_up(question) };
        errno::set(errno);
        // SAFETY: the caller promises that it is null or may be written.
        unsafe { outcome(given, self.errnop) }
    }

    /// # Safety
    ///
    /// As for [`Answer::give`].
    unsafe fn look_up(&self, question: Question<'_>) -> Result<(), Miss> {
        let mut target = UserTarget::new();
        let name = match question {
            // SAFETY: the caller promises a string or null. It is copied before the buffer is ours alone.
            Question::Name(name) => Some(unsafe { asked(name) }?),
            _ => None,
        };
        // SAFETY: the caller promises what `room` demands.
        let room = unsafe { room(self.buffer, self.length) };
        let Some(room) = room.filter(|_| !self.result.is_null()) else {
            return Err(Miss::Unavailable(libc::EINVAL));
        };
        let mut give = |user: &User<'_>| {
            // SAFETY: not null, and of the kind that `new` saw; the caller promises that it may be written.
            unsafe { (self.put)(Room::new(room), user, self.result) }.ok_or(Miss::Short)
        };
        match (question, name) {
            (Question::Next(walk), _) => walk.next(&mut target, give),
            (Question::Number(number), _) => give(&users::numbered(number, &mut target)?),
            (Question::Name(_), Some(asked)) => give(&users::named(&asked, &mut target)?),
            (Question::Name(_), None) => Err(Miss::NotFound),
        }
    }
}

/// # Safety
///
/// `result` is a `T` that may be written.
unsafe fn put<T: Record>(room: Room<'_>, user: &User<'_>, result: *mut c_void) -> Option<()> {
    let record = T::lay(room, user)?;
    // SAFETY: as the caller promises.
    unsafe { result.cast::<T>().write(record) };
    Some(())
}

/// The part of the caller's buffer that a record can need; `None` if there is no buffer.
///
/// # Safety
///
/// `buffer` is null or may be written for `length` bytes by nobody else as long as `'b`.
unsafe fn room<'b>(buffer: *mut c_char, length: size_t) -> Option<&'b mut [Byte]> {
    if buffer.is_null() {
        // No buffer of no length is a short buffer, as for every service.
        return (length == 0).then_some(&mut []);
    }
    let length = length.min(LONGEST_RECORD);
    // SAFETY: not null, short, and by the caller's promise nobody else's; these bytes need not be initialised.
    Some(unsafe { slice::from_raw_parts_mut(buffer.cast(), length) })
}

/// What glibc is told of how it went.
///
/// # Safety
///
/// `errnop` is null or may be written.
pub(crate) unsafe fn outcome(result: Result<(), Miss>, errnop: *mut c_int) -> Status {
    let (status, error) = match result {
        Ok(()) => return Status::Success,
        Err(Miss::NotFound) => (Status::NotFound, libc::ENOENT),
        Err(Miss::Short) => (Status::TryAgain, libc::ERANGE),
        Err(Miss::NoMemory) => (Status::TryAgain, libc::ENOMEM),
        Err(Miss::Unavailable(error)) => (Status::Unavailable, error),
    };
    if !errnop.is_null() {
        // SAFETY: not null, and the caller promises that it may be written then.
        unsafe { errnop.write(error) };
    }
    status
}

/// The name that is asked for, if it can be one of ours.
///
/// # Safety
///
/// `name` is null or a NUL-terminated string that nobody changes during the call.
pub(crate) unsafe fn asked(name: *const c_char) -> Result<Asked, Miss> {
    if name.is_null() {
        return Err(Miss::Unavailable(libc::EINVAL));
    }
    // SAFETY: not null; the caller promises the rest.
    let name = unsafe { CStr::from_ptr(name) };
    Asked::copy(name.to_bytes()).ok_or(Miss::NotFound)
}
