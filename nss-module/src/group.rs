//! Entries for group(5): each user's own group.

use core::ffi::{c_char, c_int};

use libc::{gid_t, group, size_t};

use crate::answer::{Answer, Question, Status};
use crate::users::Walk;

static GROUPS: Walk = Walk::new();

/// Finds a group by name.
///
/// # Safety
///
/// As for [`_nss_dynuser_getpwnam_r`](crate::passwd::_nss_dynuser_getpwnam_r).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_dynuser_getgrnam_r(
    name: *const c_char,
    result: *mut group,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let answer = Answer::new(result, buffer, length, errnop);
    // SAFETY: the caller promises what `give` demands.
    unsafe { answer.give(Question::Name(name)) }
}

/// Finds a group by number.
///
/// # Safety
///
/// As for [`_nss_dynuser_getpwnam_r`](crate::passwd::_nss_dynuser_getpwnam_r).
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
    unsafe { answer.give(Question::Number(gid)) }
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
/// As for [`_nss_dynuser_getpwnam_r`](crate::passwd::_nss_dynuser_getpwnam_r).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_dynuser_getgrent_r(
    result: *mut group,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let answer = Answer::new(result, buffer, length, errnop);
    // SAFETY: the caller promises what `give` demands.
    unsafe { answer.give(Question::Next(&GROUPS)) }
}

/// Ends the walk through all groups.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_dynuser_endgrent() -> Status {
    GROUPS.rewind();
    Status::Success
}
