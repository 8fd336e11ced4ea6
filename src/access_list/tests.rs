use proptest::prelude::*;

use super::*;

fn list(entries: &[(u16, u32, u16)]) -> AccessList {
    let entries = entries.iter().map(|(tag, id, bits)| ((*tag, *id), *bits));
    AccessList {
        entries: entries.collect(),
    }
}

/// What an entry of a list really gives.
fn rights(list: &AccessList, tag: u16, id: u32) -> u16 {
    let mask = list.entries.get(&(MASK, NONE)).copied().unwrap_or(0o7);
    let bits = list.entries.get(&(tag, id)).copied().unwrap_or(0);
    match tag {
        USER_OBJ | OTHER => bits,
        _ => bits & mask,
    }
}

#[test]
fn one_after_the_other_may_search_and_nothing_is_left() {
    let boundary = AccessList::of_mode(0o700);
    let mut now = boundary.clone();
    now.let_search(61200);
    now.let_search(61300);
    now.let_search(61200);
    assert_eq!(now.searchers().collect::<Vec<_>>(), [61200, 61300]);
    assert_eq!(now.mode(), 0o700);
    assert_eq!(rights(&now, GROUP_OBJ, NONE), 0);
    assert!(now.stop_search(61200));
    assert!(!now.stop_search(61200));
    assert_eq!(now.searchers().collect::<Vec<_>>(), [61300]);
    assert!(now.stop_search(61300));
    assert_eq!(now, boundary);
}

/// `setfacl -m u:61200:--x` on a directory of mode 0700, as the kernel shows it.
#[test]
fn the_bytes_are_the_kernel_s() {
    let mut now = AccessList::of_mode(0o700);
    now.let_search(61200);
    let entry = |tag: u8, bits: u8, id: u32| {
        let mut bytes = vec![tag, 0, bits, 0];
        bytes.extend(id.to_le_bytes());
        bytes
    };
    let bytes = [
        vec![2, 0, 0, 0],
        entry(1, 7, NONE),
        entry(2, 1, 61200),
        entry(4, 0, NONE),
        entry(16, 1, NONE),
        entry(32, 0, NONE),
    ];
    assert_eq!(now.bytes(), bytes.concat());
    assert_eq!(AccessList::parse(&bytes.concat()), Ok(now));
}

/// An entry that its mask kept from counting must not begin to count.
#[test]
fn nobody_gains_by_the_mask_that_grows() {
    let mut now = list(&[
        (USER_OBJ, NONE, 7),
        (USER, 1000, 7),
        (GROUP_OBJ, NONE, 5),
        (GROUP, 2000, 5),
        (MASK, NONE, 0),
        (OTHER, NONE, 0),
    ]);
    now.let_search(61200);
    for (tag, id) in [(USER, 1000), (GROUP_OBJ, NONE), (GROUP, 2000)] {
        assert_eq!(rights(&now, tag, id), 0, "{tag} {id}");
    }
    assert_eq!(rights(&now, USER, 61200), 1);
    assert!(now.stop_search(61200));
    assert_eq!(rights(&now, GROUP_OBJ, NONE), 0);
}

#[test]
fn an_entry_that_gives_more_is_not_ours_and_counts_as_mode() {
    let mut now = list(&[
        (USER_OBJ, NONE, 7),
        (USER, 1000, 5),
        (GROUP_OBJ, NONE, 0),
        (MASK, NONE, 5),
        (OTHER, NONE, 0),
    ]);
    assert_eq!(now.mode(), 0o750);
    assert_eq!(now.searchers().next(), None);
    assert!(!now.stop_search(1000));
    assert_eq!(AccessList::of_mode(0o711).mode(), 0o711);
}

#[test]
fn what_is_no_list_is_refused() {
    let good = AccessList::of_mode(0o700).bytes();
    for length in 0..good.len() {
        let short = good.get(..length).unwrap();
        assert_eq!(AccessList::parse(short), Err(Malformed), "{length}");
    }
    let twice = [&good[..], &good[4..12]].concat();
    assert_eq!(AccessList::parse(&twice), Err(Malformed));
    let unknown = [&good[..], &[0x40, 0, 1, 0, 0, 0, 0, 0]].concat();
    assert_eq!(AccessList::parse(&unknown), Err(Malformed));
    let named_without_mask = [&good[..], &[2, 0, 1, 0, 0, 0, 0, 0]].concat();
    assert_eq!(AccessList::parse(&named_without_mask), Err(Malformed));
}

fn any_list() -> impl Strategy<Value = AccessList> {
    let named = prop::collection::btree_map(
        (prop::sample::select(vec![USER, GROUP]), 998..1004_u32),
        0..8_u16,
        0..6,
    );
    (named, 0..8_u16, 0..8_u16, 0..8_u16, 0..8_u16).prop_map(|(named, user, group, other, mask)| {
        let mut entries = named;
        if !entries.is_empty() {
            entries.insert((MASK, NONE), mask);
        }
        entries.extend([
            ((USER_OBJ, NONE), user),
            ((GROUP_OBJ, NONE), group),
            ((OTHER, NONE), other),
        ]);
        AccessList { entries }
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_within_their_bounds(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _any = AccessList::parse(&bytes);
    }

    /// Whatever the list is, nobody but the one user gains by it, and afterwards nobody has more than before.
    #[test]
    fn nobody_else_ever_gains(before in any_list(), uid in 998..1004_u32) {
        let mut now = before.clone();
        now.let_search(uid);
        prop_assert_eq!(AccessList::parse(&now.bytes()), Ok(now.clone()));
        let had = rights(&before, USER, uid);
        let more = had & SEARCH != 0 && had != SEARCH;
        prop_assert_eq!(rights(&now, USER, uid), if more { had } else { SEARCH });
        let all: Vec<(u16, u32)> = before.entries.keys().copied().collect();
        for (tag, id) in all.iter().copied().filter(|it| *it != (USER, uid) && it.0 != MASK) {
            prop_assert_eq!(rights(&now, tag, id), rights(&before, tag, id));
        }
        prop_assert_eq!(now.stop_search(uid), !more);
        prop_assert_eq!(AccessList::parse(&now.bytes()), Ok(now.clone()));
        for (tag, id) in all.into_iter().filter(|it| it.0 != MASK) {
            prop_assert_eq!(rights(&now, tag, id) & !rights(&before, tag, id), 0);
        }
    }
}

#[test]
fn a_mask_that_somebody_made_smaller_keeps_nobody_from_his_own() {
    let mut now = AccessList::of_mode(0o700);
    now.let_search(61200);
    // chmod 0700: the group's bits are the mask's.
    now.entries.insert((MASK, NONE), 0);
    now.let_search(61300);
    assert_eq!(rights(&now, USER, 61200), SEARCH);
    // What an older list says of one who is gone goes as well.
    now.entries.insert((USER, 61200), 0);
    assert!(now.stop_search(61200) && now.stop_search(61300));
    assert_eq!(now, AccessList::of_mode(0o700));
    // An administrator's entry stays as it is.
    let mut theirs = list(&[
        (USER_OBJ, NONE, 7),
        (USER, 61200, 5),
        (GROUP_OBJ, NONE, 0),
        (MASK, NONE, 5),
        (OTHER, NONE, 0),
    ]);
    let before = theirs.clone();
    theirs.let_search(61200);
    assert!(!theirs.stop_search(61200));
    assert_eq!(theirs, before);
}
