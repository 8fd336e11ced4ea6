//! `libnss_dynuser.so.2`: names for the UIDs of dynuser, inside every process of the host.
//!
//! It is loaded into programs that know nothing of it, root's too. So it is small, uses libc alone,
//! allocates nothing, cannot panic, keeps no state but two cursors, and believes nothing it reads.
//! `records`, `ranges` and `users` hold the thinking; here is the edge to glibc.

#![cfg_attr(not(test), no_std)]

use core::ffi::{CStr, c_char, c_int, c_long};
use core::slice;

use libc::{gid_t, group, passwd, size_t, uid_t};

mod errno;
#[path = "../../src/layout.rs"]
pub mod layout;
mod ranges;
mod records;
mod users;

use records::{LONGEST_RECORD, Name};
use users::{Miss, Walk};

/// How a look-up went: `enum nss_status` of `<nss.h>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum Status {
    /// The buffer is too short: `errnop` says `ERANGE`.
    TryAgain = -2,
    /// Nobody can tell; `errnop` says why. The next service is asked.
    Unavailable = -1,
    /// There is no such user or group. The next service is asked.
    NotFound = 0,
    /// The record is in place.
    Success = 1,
}

static USERS: Walk = Walk::new();
static GROUPS: Walk = Walk::new();

/// Where glibc wants the answer to be.
struct Answer<T> {
    result: *mut T,
    buffer: *mut c_char,
    length: size_t,
    /// Mostly `&errno`: a reference made of it would be a second one to what `errno` reads.
    errnop: *mut c_int,
}

impl<T> Answer<T> {
    const fn new(result: *mut T, buffer: *mut c_char, length: size_t, errnop: *mut c_int) -> Self {
        Self {
            result,
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
    /// uses what they point to during the call.
    unsafe fn give(self, look_up: impl FnOnce(&mut [u8]) -> Result<T, Miss>) -> Status {
        let errno = errno::get();
        // SAFETY: the caller promises what `room` demands.
        let found = match unsafe { room(self.buffer, self.length) } {
            Some(room) if !self.result.is_null() => look_up(room),
            _ => Err(Miss::Unavailable(libc::EINVAL)),
        };
        errno::set(errno);
        match found {
            Ok(record) => {
                // SAFETY: not null, see above; the caller promises that it may be written.
                unsafe { self.result.write(record) };
                Status::Success
            }
            // SAFETY: the caller promises that it is null or may be written.
            Err(miss) => unsafe { fail(miss, self.errnop) },
        }
    }
}

/// The part of the caller's buffer that a record can need; `None` if there is no buffer.
///
/// # Safety
///
/// `buffer` is null or may be written for `length` bytes by nobody else as long as `'b`.
unsafe fn room<'b>(buffer: *mut c_char, length: size_t) -> Option<&'b mut [u8]> {
    if buffer.is_null() {
        // No buffer of no length is a short buffer, as for every service.
        return (length == 0).then_some(&mut []);
    }
    let start = buffer.cast::<u8>();
    let length = length.min(LONGEST_RECORD);
    // SAFETY: within the caller's buffer. What C hands over is uninitialised, and a slice must not
    // be: hence this write.
    unsafe { start.write_bytes(0, length) };
    // SAFETY: not null, initialised, short, and by the caller's promise nobody else's.
    Some(unsafe { slice::from_raw_parts_mut(start, length) })
}

/// Reports a failure.
///
/// # Safety
///
/// `errnop` is null or may be written.
unsafe fn fail(miss: Miss, errnop: *mut c_int) -> Status {
    let (status, error) = match miss {
        Miss::NotFound => (Status::NotFound, libc::ENOENT),
        Miss::Short => (Status::TryAgain, libc::ERANGE),
        Miss::Unavailable(error) => (Status::Unavailable, error),
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
/// `name` is null or a NUL-terminated string that nobody changes as long as `'n`.
unsafe fn asked<'n>(name: *const c_char) -> Result<Name<'n>, Miss> {
    if name.is_null() {
        return Err(Miss::Unavailable(libc::EINVAL));
    }
    // SAFETY: not null; the caller promises the rest.
    let name = unsafe { CStr::from_ptr(name) };
    Name::parse(name.to_bytes()).ok_or(Miss::NotFound)
}

/// Finds a user by name.
///
/// # Safety
///
/// As glibc calls it: `name` is a string, the others may be written, `buffer` for `length` bytes.
/// Null pointers are tolerated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_dynuser_getpwnam_r(
    name: *const c_char,
    result: *mut passwd,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let answer = Answer::new(result, buffer, length, errnop);
    // SAFETY: the caller promises a string or null.
    let name = unsafe { asked(name) };
    // SAFETY: the caller promises what `give` demands.
    unsafe { answer.give(|room| users::by_name(name?, room, records::passwd)) }
}

/// Finds a user by number.
///
/// # Safety
///
/// As for [`_nss_dynuser_getpwnam_r`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_dynuser_getpwuid_r(
    uid: uid_t,
    result: *mut passwd,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let answer = Answer::new(result, buffer, length, errnop);
    // SAFETY: the caller promises what `give` demands.
    unsafe { answer.give(|room| users::by_number(uid, room, records::passwd)) }
}

/// Finds a group by name.
///
/// # Safety
///
/// As for [`_nss_dynuser_getpwnam_r`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_dynuser_getgrnam_r(
    name: *const c_char,
    result: *mut group,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let answer = Answer::new(result, buffer, length, errnop);
    // SAFETY: the caller promises a string or null.
    let name = unsafe { asked(name) };
    // SAFETY: the caller promises what `give` demands.
    unsafe { answer.give(|room| users::by_name(name?, room, records::group)) }
}

/// Finds a group by number.
///
/// # Safety
///
/// As for [`_nss_dynuser_getpwnam_r`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_dynuser_getgrgid_r(
    gid: gid_t,
    result: *mut group,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let answer = Answer::new(result, buffer, length, errnop);
    // SAFETY: the caller promises what `give` demands.
    unsafe { answer.give(|room| users::by_number(gid, room, records::group)) }
}

/// Begins the walk through all users. Nothing is kept open, whatever is asked.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_dynuser_setpwent(_stay_open: c_int) -> Status {
    USERS.rewind();
    Status::Success
}

/// The next user of the walk.
///
/// # Safety
///
/// As for [`_nss_dynuser_getpwnam_r`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_dynuser_getpwent_r(
    result: *mut passwd,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let answer = Answer::new(result, buffer, length, errnop);
    // SAFETY: the caller promises what `give` demands.
    unsafe { answer.give(|room| USERS.next(room, records::passwd)) }
}

/// Ends the walk through all users.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_dynuser_endpwent() -> Status {
    USERS.rewind();
    Status::Success
}

/// Begins the walk through all groups. Nothing is kept open, whatever is asked.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_dynuser_setgrent(_stay_open: c_int) -> Status {
    GROUPS.rewind();
    Status::Success
}

/// The next group of the walk.
///
/// # Safety
///
/// As for [`_nss_dynuser_getpwnam_r`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_dynuser_getgrent_r(
    result: *mut group,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let answer = Answer::new(result, buffer, length, errnop);
    // SAFETY: the caller promises what `give` demands.
    unsafe { answer.give(|room| GROUPS.next(room, records::group)) }
}

/// Ends the walk through all groups.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_dynuser_endgrent() -> Status {
    GROUPS.rewind();
    Status::Success
}

/// Says that a user is in no further group. Without this entry glibc would walk through all groups
/// to find out, at every login of anybody.
///
/// # Safety
///
/// `errnop` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_dynuser_initgroups_dyn(
    _user: *const c_char,
    _group: gid_t,
    _start: *mut c_long,
    _size: *mut c_long,
    _groups: *mut *mut gid_t,
    _limit: c_long,
    errnop: *mut c_int,
) -> Status {
    // SAFETY: as the caller promises.
    unsafe { fail(Miss::NotFound, errnop) }
}

/// What the compiler demands of a program without `std`. Nothing calls it: the built module does
/// not import `abort`, and `tests/nss.rs` holds it to that.
#[cfg(not(test))]
#[panic_handler]
fn cannot_happen(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: has no demands.
    unsafe { libc::abort() }
}
