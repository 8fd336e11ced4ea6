//! The calling thread's `errno`. It belongs to the program around us, and is left as it was found.

use core::ffi::c_int;

/// Reads it.
pub(crate) fn get() -> c_int {
    // SAFETY: has no demands.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the thread's own `errno`, valid and aligned as long as the thread runs. No reference
    // to it exists: glibc passes its address as `errnop`, which stays a raw pointer here.
    unsafe { errno.read() }
}

/// Writes it.
pub(crate) fn set(value: c_int) {
    // SAFETY: has no demands.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as in `get`.
    unsafe { errno.write(value) }
}
