//! Entries for shadow(5): passwords of users, of which there are none.

use core::ffi::{c_char, c_int};

use libc::{size_t, spwd};

use crate::answer::{Answer, Question, Status};
use crate::users::Walk;

static USERS: Walk = Walk::new();

/// Finds the shadow record of a user by name.
///
/// # Safety
///
/// As for [`_nss_dynuser_getpwnam_r`](crate::passwd::_nss_dynuser_getpwnam_r).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_dynuser_getspnam_r(
    name: *const c_char,
    result: *mut spwd,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let answer = Answer::new(result, buffer, length, errnop);
    // SAFETY: the caller promises what `give` demands.
    unsafe { answer.give(Question::Name(name)) }
}

/// Begins the walk through all shadow records of users. Nothing is kept open, whatever is asked.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_dynuser_setspent(_stay_open: c_int) -> Status {
    USERS.rewind();
    Status::Success
}

/// The next record of the walk.
///
/// # Safety
///
/// As for [`_nss_dynuser_getpwnam_r`](crate::passwd::_nss_dynuser_getpwnam_r).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_dynuser_getspent_r(
    result: *mut spwd,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let answer = Answer::new(result, buffer, length, errnop);
    // SAFETY: the caller promises what `give` demands.
    unsafe { answer.give(Question::Next(&USERS)) }
}

/// Ends the walk through all shadow records of users.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_dynuser_endspent() -> Status {
    USERS.rewind();
    Status::Success
}
