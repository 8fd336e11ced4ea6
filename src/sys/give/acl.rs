//! POSIX access control lists with other users and groups in the place of some. Computes only.

use std::collections::BTreeMap;

use crate::access_list::{self, Entry, GROUP, Malformed, USER, decode, encode};

/// The two attributes that hold a list: that of the file, and that of a directory for what is made in it.
pub(super) const ATTRIBUTES: [&str; 2] = [ACCESS, "system.posix_acl_default"];
pub(super) const ACCESS: &str = access_list::ATTRIBUTE;

/// The list of `bytes` with each user and group that `user` and `group` give another number. Two entries that
/// become one grant what either did. None: nothing changes.
pub(super) fn translate(
    bytes: &[u8],
    user: impl Fn(u32) -> u32,
    group: impl Fn(u32) -> u32,
) -> Result<Option<Vec<u8>>, Malformed> {
    // In the order in which the kernel wants them: by tag, and by number as setfacl(1) has them.
    let mut entries: BTreeMap<(u16, u32), u16> = BTreeMap::new();
    let mut changed = false;
    for entry in decode(bytes)? {
        let id = match entry.tag {
            USER => user(entry.id),
            GROUP => group(entry.id),
            _ => entry.id,
        };
        changed |= id != entry.id;
        *entries.entry((entry.tag, id)).or_default() |= entry.permissions;
    }
    let entries = entries.into_iter();
    let entries = entries.map(|((tag, id), permissions)| Entry {
        tag,
        permissions,
        id,
    });
    Ok(changed.then(|| encode(entries)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access_list::{GROUP_OBJ, MASK, OTHER, USER_OBJ};

    const NONE: u32 = u32::MAX;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let entries = entries.iter();
        encode(entries.map(|&(tag, permissions, id)| Entry {
            tag,
            permissions,
            id,
        }))
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
