//! `libnss_dynuser.so.2`: names for the UIDs of dynuser, inside every process of the host.
//!
//! It is loaded into programs that know nothing of it, root's too. So it is small, uses libc alone,
//! allocates nothing but what `initgroups` must, cannot panic, keeps no state but four cursors, and
//! believes nothing it reads. `records`, `ranges`, `user_text` and `users` hold the thinking; the
//! files named after a database are the edge to glibc.

#![cfg_attr(not(test), no_std)]

mod answer;
mod errno;
pub mod group;
pub mod gshadow;
pub mod initgroups;
#[path = "../../src/layout.rs"]
pub mod layout;
pub mod passwd;
mod ranges;
mod records;
mod room;
pub mod shadow;
#[path = "../../src/user_text.rs"]
pub mod user_text;
mod users;

pub use answer::Status;
pub use records::GroupShadow;

/// What the compiler demands of a program without `std`. Nothing calls it: the built module does
/// not import `abort`, and `tests/nss.rs` holds it to that.
#[cfg(not(test))]
#[panic_handler]
fn cannot_happen(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: has no demands.
    unsafe { libc::abort() }
}
