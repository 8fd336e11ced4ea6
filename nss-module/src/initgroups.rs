//! The entry for `initgroups` and `getgrouplist`: in which groups a user is beside its own.
//!
//! Here alone memory is allocated: by glibc's contract the list is one of `malloc`, and whoever adds to it makes it
//! longer with `realloc`. So this entry is not for signal handlers, as the functions that call it are not.

use core::ffi::{c_char, c_int, c_long, c_void};
use core::slice;

use libc::gid_t;

use crate::answer::{Status, asked, outcome};
use crate::errno;
use crate::user_text::UserText;
use crate::users::{self, Miss, UserTarget};

/// The caller's list of groups.
#[derive(Clone, Copy)]
struct List {
    /// How many groups are in it.
    start: *mut c_long,
    /// For how many it has room.
    size: *mut c_long,
    groups: *mut *mut gid_t,
    /// For how many it may ever have room, if that is positive.
    limit: c_long,
}

/// Adds the other groups of a user to a list of groups. Without this entry glibc would walk through all groups to find
/// out, at every login of anybody.
///
/// `group` is in the list already, or is added by the caller. Groups beyond `limit` are left out, which is a success.
///
/// # Safety
///
/// As glibc calls it: `user` is a string; `start` and `size` are how many groups `*groups` has and may have, and it was
/// allocated by `malloc`. Null pointers are tolerated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_dynuser_initgroups_dyn(
    user: *const c_char,
    group: gid_t,
    start: *mut c_long,
    size: *mut c_long,
    groups: *mut *mut gid_t,
    limit: c_long,
    errnop: *mut c_int,
) -> Status {
    let list = List {
        start,
        size,
        groups,
        limit,
    };
    let errno = errno::get();
    // SAFETY: the caller promises a string or null.
    let asked = unsafe { asked(user) };
    let found = asked.and_then(|asked| {
        let mut target = UserTarget::new();
        let user = users::named(&asked, &mut target)?;
        // SAFETY: the caller promises what `add` demands.
        unsafe { list.add(group, &user.text) }
    });
    errno::set(errno);
    // SAFETY: the caller promises that it is null or may be written.
    unsafe { outcome(found, errnop) }
}

impl List {
    /// Adds the groups of a user that are not in it. [`Miss::NotFound`] if there are none: the next service is asked
    /// either way, and this one had nothing to say.
    ///
    /// # Safety
    ///
    /// As for [`_nss_dynuser_initgroups_dyn`].
    unsafe fn add(self, own: gid_t, text: &UserText<'_>) -> Result<(), Miss> {
        let new = || text.groups().filter(|group| *group != own);
        let count = new().count();
        if count == 0 {
            return Err(Miss::NotFound);
        }
        if self.start.is_null() || self.size.is_null() || self.groups.is_null() {
            return Err(Miss::Unavailable(libc::EINVAL));
        }
        // SAFETY: not null, and by the caller's promise a number.
        let start = usize::try_from(unsafe { self.start.read() });
        // SAFETY: as above.
        let size = usize::try_from(unsafe { self.size.read() });
        let (Ok(mut used), Ok(size)) = (start, size) else {
            return Err(Miss::Unavailable(libc::EINVAL));
        };
        if used > size {
            return Err(Miss::Unavailable(libc::EINVAL));
        }
        // SAFETY: as the caller promises.
        let (list, size) = unsafe { self.room(used, size, count) }?;
        for group in new() {
            // SAFETY: so many groups are in the list: the caller's, and those that were added here.
            let present = unsafe { slice::from_raw_parts(list, used) };
            if used >= size {
                break;
            }
            if !present.contains(&group) {
                // SAFETY: there is room for `size` of them, and that is more than `used`.
                let slot = unsafe { list.add(used) };
                // SAFETY: as above.
                unsafe { slot.write(group) };
                used = used.saturating_add(1);
            }
        }
        let used = c_long::try_from(used).map_err(|_| Miss::NoMemory)?;
        // SAFETY: not null, and by the caller's promise writable.
        unsafe { self.start.write(used) };
        Ok(())
    }

    /// The list and for how many groups it has room: for `count` more than the `used` ones, or for as many as the limit
    /// allows. Nothing has changed when it fails.
    ///
    /// # Safety
    ///
    /// As for [`_nss_dynuser_initgroups_dyn`]; no pointer is null.
    unsafe fn room(
        self,
        used: usize,
        size: usize,
        count: usize,
    ) -> Result<(*mut gid_t, usize), Miss> {
        let wanted = used.checked_add(count).ok_or(Miss::NoMemory)?;
        let limit = usize::try_from(self.limit).unwrap_or_default();
        let longer = match limit {
            0 => wanted,
            limit => wanted.min(limit),
        };
        // SAFETY: not null, and by the caller's promise a pointer.
        let list = unsafe { self.groups.read() };
        if longer <= size {
            return match list.is_null() {
                true => Err(Miss::Unavailable(libc::EINVAL)),
                false => Ok((list, longer)),
            };
        }
        let bytes = longer.checked_mul(size_of::<gid_t>());
        let bytes = bytes.ok_or(Miss::NoMemory)?;
        let told = c_long::try_from(longer).map_err(|_| Miss::NoMemory)?;
        // SAFETY: by the caller's promise it is of `malloc`, or null.
        let moved = unsafe { libc::realloc(list.cast::<c_void>(), bytes) };
        if moved.is_null() {
            return Err(Miss::NoMemory);
        }
        let list = moved.cast();
        // SAFETY: not null, and by the caller's promise writable.
        unsafe { self.groups.write(list) };
        // SAFETY: as above.
        unsafe { self.size.write(told) };
        Ok((list, longer))
    }
}
