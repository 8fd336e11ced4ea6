//! Entries for gshadow(5): passwords of groups, of which there are none.

use core::ffi::{c_char, c_int};

use libc::size_t;

use crate::answer::{Answer, Question, Status};
use crate::records::GroupShadow;
use crate::users::Walk;

static GROUPS: Walk = Walk::new();

/// Finds the shadow record of a group by name.
///
/// # Safety
///
/// As for [`_nss_dynuser_getpwnam_r`](crate::passwd::_nss_dynuser_getpwnam_r).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_dynuser_getsgnam_r(
    name: *const c_char,
    result: *mut GroupShadow,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let answer = Answer::new(result, buffer, length, errnop);
    // SAFETY: the caller promises what `give` demands.
    unsafe { answer.give(Question::Name(name)) }
}

/// Begins the walk through all shadow records of groups. Nothing is kept open, whatever is asked.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_dynuser_setsgent(_stay_open: c_int) -> Status {
    GROUPS.rewind();
    Status::Success
}

/// The next record of the walk.
///
/// # Safety
///
/// As for [`_nss_dynuser_getpwnam_r`](crate::passwd::_nss_dynuser_getpwnam_r).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_dynuser_getsgent_r(
    result: *mut GroupShadow,
    buffer: *mut c_char,
    length: size_t,
    errnop: *mut c_int,
) -> Status {
    let answer = Answer::new(result, buffer, length, errnop);
    // SAFETY: the caller promises what `give` demands.
    unsafe { answer.give(Question::Next(&GROUPS)) }
}

/// Ends the walk through all shadow records of groups.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_dynuser_endsgent() -> Status {
    GROUPS.rewind();
    Status::Success
}
