//! Entries for passwd(5): the users.

use core::ffi::{c_char, c_int};

use libc::{passwd, size_t, uid_t};

use crate::answer::{Answer, Question, Status};
use crate::users::Walk;

static USERS: Walk = Walk::new();

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
    // SAFETY: the caller promises what `give` demands.
    unsafe { answer.give(Question::Name(name)) }
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
    unsafe { answer.give(Question::Number(uid)) }
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
    unsafe { answer.give(Question::Next(&USERS)) }
}

/// Ends the walk through all users.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_dynuser_endpwent() -> Status {
    USERS.rewind();
    Status::Success
}
