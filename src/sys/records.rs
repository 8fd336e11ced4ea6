//! Whole records of the host's user and group databases, through NSS.
//!
//! On the calling thread, for as long as that takes: see [`names`](super::names) for what is asked with a deadline.

use std::ffi::{CStr, CString};

use rustix::io::Errno;

use super::names::{group_by_name, group_by_number, groups_of, user_by_name, user_by_number};
use super::{During, SysResult};
use crate::nscd_protocol::{Answer, Group, Key, Passwd, Question};

/// No group has this number: it means "no change" to chown(2).
const NO_GROUP: u32 = u32::MAX;

/// Asks the databases.
///
/// # Errors
/// Those of getpwnam_r(3) and its kin, as far as glibc tells them: of getgrouplist(3) it does not.
pub fn answer(question: &Question) -> SysResult<Answer> {
    Ok(match question {
        Question::User(key) => Answer::User(user(key)?),
        Question::Group(key) => Answer::Group(group(key)?),
        Question::Groups(name) => {
            let mut groups = groups_of(&c_name(name)?, NO_GROUP)?;
            groups.retain(|gid| *gid != NO_GROUP);
            Answer::Groups(groups)
        }
    })
}

fn c_name(name: &[u8]) -> SysResult<CString> {
    CString::new(name)
        .map_err(|_| Errno::INVAL)
        .during("getpwnam_r", "a name with a NUL")
}

fn user(key: &Key) -> SysResult<Option<Passwd>> {
    let read = |record: &libc::passwd| Passwd {
        name: bytes(record.pw_name),
        password: password(record.pw_passwd),
        uid: record.pw_uid,
        gid: record.pw_gid,
        gecos: bytes(record.pw_gecos),
        home: bytes(record.pw_dir),
        shell: bytes(record.pw_shell),
    };
    match key {
        Key::Name(name) => user_by_name(&c_name(name)?, read),
        Key::Number(uid) => user_by_number(*uid, read),
    }
}

fn group(key: &Key) -> SysResult<Option<Group>> {
    let read = |record: &libc::group| Group {
        name: bytes(record.gr_name),
        password: password(record.gr_passwd),
        gid: record.gr_gid,
        members: members(record),
    };
    match key {
        Key::Name(name) => group_by_name(&c_name(name)?, read),
        Key::Number(gid) => group_by_number(*gid, read),
    }
}

fn members(record: &libc::group) -> Vec<Vec<u8>> {
    let mut members = Vec::new();
    let mut next = record.gr_mem;
    while !next.is_null() {
        // SAFETY: `gr_mem` is an array of pointers that ends with a null pointer, which was not met yet.
        let member = unsafe { *next };
        if member.is_null() {
            break;
        }
        members.push(bytes(member));
        // SAFETY: the array goes on, for this was not its end.
        next = unsafe { next.add(1) };
    }
    members
}

/// The password field. Some sources (NIS, LDAP) show root the hash itself, which is not for everybody to know: no hash of
/// crypt(5) is shorter than 13 characters, no word that stands in its place is longer.
fn password(pointer: *const libc::c_char) -> Vec<u8> {
    let found = bytes(pointer);
    match found.len() {
        ..13 => found,
        _ => b"x".into(),
    }
}

fn bytes(pointer: *const libc::c_char) -> Vec<u8> {
    if pointer.is_null() {
        return Vec::new();
    }
    // SAFETY: the fields of a record are NUL-terminated strings in the caller's buffer.
    unsafe { CStr::from_ptr(pointer) }.to_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_whole_records() {
        let name = || Key::Name(b"root".into());
        for key in [name(), Key::Number(0)] {
            let Ok(Answer::User(Some(root))) = answer(&Question::User(key.clone())) else {
                panic!("no user {key:?}");
            };
            assert_eq!((root.name, root.uid, root.gid), (b"root".into(), 0, 0));
            assert_eq!(root.home, b"/root");
            let Ok(Answer::Group(Some(root))) = answer(&Question::Group(key.clone())) else {
                panic!("no group {key:?}");
            };
            assert_eq!((root.name, root.gid), (b"root".to_vec(), 0));
        }
    }

    #[test]
    fn a_hash_is_for_nobody() {
        let shown = |text: &CStr| password(text.as_ptr());
        assert_eq!(shown(c"abJnggxhB/yWI"), b"x");
        assert_eq!(
            shown(c"$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"),
            b"x"
        );
        for word in [c"x", c"*", c"!", c"", c"!*", c"*NP*"] {
            assert_eq!(shown(word), word.to_bytes());
        }
    }

    #[test]
    fn nobody_is_found_where_nobody_is() {
        for key in [
            Key::Number(4_000_000_000),
            Key::Name(b"no-such-\xff".into()),
        ] {
            assert_eq!(answer(&Question::User(key.clone())), Ok(Answer::User(None)));
            assert_eq!(answer(&Question::Group(key)), Ok(Answer::Group(None)));
        }
        let groups = answer(&Question::Groups(b"no-such-user".into()));
        assert_eq!(groups, Ok(Answer::Groups(Vec::new())));
        assert!(answer(&Question::Groups(b"a\0b".into())).is_err());
    }
}
