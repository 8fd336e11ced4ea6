//! The host's user and group databases, through NSS.
//!
//! NSS may ask a directory server that does not answer. So each question is asked on a thread of
//! its own, and an answer that does not come in time is an error: the thread is left to its fate.
//! An error is never read as "there is none" (systemd does, and hands out numbers that people have).

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::mpsc;
use std::time::Duration;

use rustix::io::Errno;

use super::{During, SysError, SysResult};

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Largest record that is read, in bytes: a group may have very many members.
const LARGEST_RECORD: usize = 16 * 1024 * 1024;

/// What the databases say about one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByName {
    /// The user of that name.
    pub user: Option<User>,
    /// The GID of the group of that name.
    pub group: Option<u32>,
}

/// What matters of a user's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User ID.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
}

/// Looks up a name as a user and as a group.
///
/// # Errors
/// Those of getpwnam_r(3) and getgrnam_r(3), `ETIMEDOUT` for no answer in time.
pub fn by_name(name: &str) -> SysResult<ByName> {
    let c_name = CString::new(name)
        .map_err(|_| Errno::INVAL)
        .during("getpwnam_r", format!("{name:?}"))?;
    in_time(name, move || {
        Ok(ByName {
            user: passwd_by_name(&c_name)?,
            group: group_by_name(&c_name)?,
        })
    })
}

/// The name of the user or the group that has a number, as a phrase.
///
/// # Errors
/// Those of getpwuid_r(3) and getgrgid_r(3), `ETIMEDOUT` for no answer in time.
pub fn by_number(id: u32) -> SysResult<Option<String>> {
    in_time(&id.to_string(), move || {
        if let Some(name) = passwd_by_uid(id)? {
            return Ok(Some(format!("the user {name}")));
        }
        Ok(group_by_gid(id)?.map(|name| format!("the group {name}")))
    })
}

fn in_time<T: Send + 'static>(
    subject: &str,
    question: impl FnOnce() -> SysResult<T> + Send + 'static,
) -> SysResult<T> {
    let (answer, answered) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("nss".into())
        .spawn(move || {
            // Nobody listens any more when the deadline has passed, which is no error here.
            drop(answer.send(question()));
        })
        .during("clone", "nss")?;
    answered.recv_timeout(DEADLINE).unwrap_or_else(|_| {
        Err(SysError {
            call: "nss",
            subject: subject.into(),
            errno: Errno::TIMEDOUT,
        })
    })
}

/// Calls one of the `get…_r` functions with a buffer that grows until the record fits, and gives
/// what `read` makes of the record.
fn look_up<R, T>(
    call: &'static str,
    subject: impl std::fmt::Display,
    ask: impl Fn(*mut R, &mut [libc::c_char], *mut *mut R) -> libc::c_int,
    read: impl Fn(&R) -> T,
) -> SysResult<Option<T>> {
    let mut buffer: Vec<libc::c_char> = vec![0; 1024];
    loop {
        let mut record = MaybeUninit::<R>::zeroed();
        let mut found: *mut R = ptr::null_mut();
        let error = ask(record.as_mut_ptr(), &mut buffer, &raw mut found);
        match error {
            0 if found.is_null() => return Ok(None),
            // SAFETY: the call answered 0 and a record, so it filled `record`, to which `found`
            // points; the strings in it lie in `buffer`, which lives until `read` is done.
            0 => return Ok(Some(read(unsafe { &*found }))),
            // Sources that have no such record may say so by these (getpwnam(3), ERRORS).
            libc::ENOENT | libc::ESRCH => return Ok(None),
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < LARGEST_RECORD => {
                buffer.resize(buffer.len().saturating_mul(4), 0);
            }
            error => return Err(Errno::from_raw_os_error(error)).during(call, subject),
        }
    }
}

fn text(pointer: *const libc::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the fields of a record are NUL-terminated strings in the caller's buffer.
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .into_owned()
}

fn passwd_by_name(name: &CStr) -> SysResult<Option<User>> {
    look_up(
        "getpwnam_r",
        name.to_string_lossy(),
        |record, buffer, found| {
            // SAFETY: all pointers are to live memory of the sizes given with them.
            unsafe {
                libc::getpwnam_r(
                    name.as_ptr(),
                    record,
                    buffer.as_mut_ptr(),
                    buffer.len(),
                    found,
                )
            }
        },
        |record: &libc::passwd| User {
            uid: record.pw_uid,
            gid: record.pw_gid,
            home: text(record.pw_dir),
        },
    )
}

fn passwd_by_uid(uid: u32) -> SysResult<Option<String>> {
    look_up(
        "getpwuid_r",
        uid,
        |record, buffer, found| {
            // SAFETY: all pointers are to live memory of the sizes given with them.
            unsafe { libc::getpwuid_r(uid, record, buffer.as_mut_ptr(), buffer.len(), found) }
        },
        |record: &libc::passwd| text(record.pw_name),
    )
}

fn group_by_name(name: &CStr) -> SysResult<Option<u32>> {
    look_up(
        "getgrnam_r",
        name.to_string_lossy(),
        |record, buffer, found| {
            // SAFETY: all pointers are to live memory of the sizes given with them.
            unsafe {
                libc::getgrnam_r(
                    name.as_ptr(),
                    record,
                    buffer.as_mut_ptr(),
                    buffer.len(),
                    found,
                )
            }
        },
        |record: &libc::group| record.gr_gid,
    )
}

fn group_by_gid(gid: u32) -> SysResult<Option<String>> {
    look_up(
        "getgrgid_r",
        gid,
        |record, buffer, found| {
            // SAFETY: all pointers are to live memory of the sizes given with them.
            unsafe { libc::getgrgid_r(gid, record, buffer.as_mut_ptr(), buffer.len(), found) }
        },
        |record: &libc::group| text(record.gr_name),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_number() {
        let root = by_name("root").expect("an answer");
        assert_eq!(root.user.map(|user| (user.uid, user.gid)), Some((0, 0)));
        assert_eq!(root.group, Some(0));
        assert_eq!(by_number(0), Ok(Some("the user root".into())));
    }

    #[test]
    fn nobody_is_found_where_nobody_is() {
        let none = by_name("no-such-user-here").expect("an answer");
        assert_eq!((none.user, none.group), (None, None));
        assert_eq!(by_number(4_000_000_000), Ok(None));
    }
}
