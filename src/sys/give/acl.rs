//! POSIX access control lists, as the kernel shows them in extended attributes (acl(5)): other users and groups in
//! the place of some.
//!
//! Computes only. Source: `include/uapi/linux/posix_acl_xattr.h`: a version, 32 bits, then entries of a tag, 16 bits,
//! permissions, 16 bits, and a number, 32 bits, all little-endian.

use std::collections::BTreeMap;

/// The two attributes that hold a list: that of the file, and that of a directory for what is made in it.
pub(super) const ATTRIBUTES: [&str; 2] = [ACCESS, "system.posix_acl_default"];
pub(super) const ACCESS: &str = "system.posix_acl_access";

const VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// The attribute is no list that the kernel would have made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The list of `bytes` with each user and group that `user` and `group` give another number. Two entries that
/// become one grant what either did. None: nothing changes.
pub(super) fn translate(
    bytes: &[u8],
    user: impl Fn(u32) -> u32,
    group: impl Fn(u32) -> u32,
) -> Result<Option<Vec<u8>>, Malformed> {
    let (version, mut rest) = bytes.split_first_chunk().ok_or(Malformed)?;
    if u32::from_le_bytes(*version) != VERSION {
        return Err(Malformed);
    }
    // In the order in which the kernel wants them: by tag, and by number as setfacl(1) has them.
    let mut entries: BTreeMap<(u16, u32), u16> = BTreeMap::new();
    let mut changed = false;
    while !rest.is_empty() {
        let (entry, after) = first(rest).ok_or(Malformed)?;
        let Entry {
            tag,
            permissions,
            id,
        } = entry;
        rest = after;
        let new = match tag {
            USER => user(id),
            GROUP => group(id),
            USER_OBJ | GROUP_OBJ | MASK | OTHER => id,
            _ => return Err(Malformed),
        };
        changed |= new != id;
        *entries.entry((tag, new)).or_default() |= permissions;
    }
    Ok(changed.then(|| {
        let mut list = VERSION.to_le_bytes().to_vec();
        for ((tag, id), permissions) in entries {
            list.extend(tag.to_le_bytes());
            list.extend(permissions.to_le_bytes());
            list.extend(id.to_le_bytes());
        }
        list
    }))
}

/// A tag, permissions, and a user or group.
struct Entry {
    tag: u16,
    permissions: u16,
    id: u32,
}

/// The first entry, and what follows it.
fn first(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (tag, rest) = bytes.split_first_chunk()?;
    let (permissions, rest) = rest.split_first_chunk()?;
    let (id, rest) = rest.split_first_chunk()?;
    let entry = Entry {
        tag: u16::from_le_bytes(*tag),
        permissions: u16::from_le_bytes(*permissions),
        id: u32::from_le_bytes(*id),
    };
    Some((entry, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: u32 = u32::MAX;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut list = VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            list.extend(tag.to_le_bytes());
            list.extend(permissions.to_le_bytes());
            list.extend(id.to_le_bytes());
        }
        list
    }

    /// 1000 and 1001 become 2000, as users and as groups.
    fn translated(bytes: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        let new = |id| if id == 1000 || id == 1001 { 2000 } else { id };
        translate(bytes, new, new)
    }

    #[test]
    fn named_users_and_groups_are_translated_and_nothing_else() {
        let before = list(&[
            (USER_OBJ, 7, NONE),
            (USER, 6, 1000),
            (USER, 4, 1500),
            (GROUP_OBJ, 5, NONE),
            (GROUP, 1, 1001),
            (MASK, 7, NONE),
            (OTHER, 0, NONE),
        ]);
        let after = list(&[
            (USER_OBJ, 7, NONE),
            (USER, 4, 1500),
            (USER, 6, 2000),
            (GROUP_OBJ, 5, NONE),
            (GROUP, 1, 2000),
            (MASK, 7, NONE),
            (OTHER, 0, NONE),
        ]);
        assert_eq!(translated(&before), Ok(Some(after.clone())));
        assert_eq!(translated(&after), Ok(None));
        assert_eq!(translated(&list(&[])), Ok(None));
    }

    #[test]
    fn entries_that_become_one_grant_what_either_did() {
        let before = list(&[(USER, 4, 1000), (USER, 2, 1001), (USER, 1, 2000)]);
        assert_eq!(translated(&before), Ok(Some(list(&[(USER, 7, 2000)]))));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let good = list(&[(USER, 4, 1000)]);
        for length in (0..good.len()).filter(|length| *length != 4) {
            assert_eq!(
                translated(good.get(..length).unwrap()),
                Err(Malformed),
                "{length}"
            );
        }
        assert_eq!(translated(&list(&[(0x40, 4, 1000)])), Err(Malformed));
        assert_eq!(
            translated(&[3, 0, 0, 0, 2, 0, 4, 0, 1, 0, 0, 0]),
            Err(Malformed)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_their_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _any = translated(&bytes);
        }

        #[test]
        fn what_was_translated_needs_no_translation(
            entries in proptest::collection::vec(
                (prop::sample::select(vec![USER, GROUP, MASK]), 0..8_u16, 998..1004_u32), 0..12)
        ) {
            if let Some(once) = translated(&list(&entries)).unwrap() {
                prop_assert!(once.len() <= list(&entries).len());
                prop_assert_eq!(translated(&once), Ok(None));
            }
        }
    }
}
