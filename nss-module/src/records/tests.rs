#![allow(clippy::arithmetic_side_effects)]

use super::*;
use crate::room::tests::{buffer, content, offset, pointers};

const WEB: Name<'_> = Name(b"web");
const UID: Uid = Uid(61200);

/// What a link says, as the user called `name`.
fn user<'t>(name: Name<'t>, target: &'t str) -> User<'t> {
    let text = UserText::parse(target.as_bytes()).unwrap_or_else(|| panic!("{target}"));
    User {
        name,
        uid: UID,
        text,
    }
}

#[test]
fn a_target_is_a_number_only_in_one_spelling() {
    for good in [1, 9, 10, 1000, 61184, 65519, 99_999, 100_000, LARGEST_UID] {
        let bytes = good.to_string();
        assert_eq!(Uid::parse(bytes.as_bytes()), Some(Uid(good)), "{good}");
    }
    for bad in [
        "",
        "0",
        "061200",
        "0061200",
        "+61200",
        "-61200",
        " 61200",
        "61200 ",
        "61200\n",
        "65534",
        "65535",
        "2147483648",
        "4294967294",
        "4294967295",
        "4294967296",
        "4295028496",
        "0xef10",
        "6120a",
        "99999999999999999999",
        "00000",
    ] {
        assert_eq!(Uid::parse(bad.as_bytes()), None, "{bad:?}");
    }
}

#[test]
fn a_number_may_be_handed_out_or_is_nobody_s() {
    for (number, ours) in [
        (0, false),
        (1, true),
        (1000, true),
        (61184, true),
        (65533, true),
        (65534, false),
        (65535, false),
        (65536, true),
        (LARGEST_UID, true),
        (LARGEST_UID + 1, false),
        (u32::MAX - 1, false),
        (u32::MAX, false),
    ] {
        assert_eq!(Uid::new(number), ours.then_some(Uid(number)), "{number}");
    }
}

#[test]
fn every_number_is_read_as_it_is_written() {
    let powers = (0..31).map(|bit| 1_u32 << bit);
    let tens = (0..10).map(|digits| 10_u32.pow(digits));
    let numbers = powers.chain(tens).flat_map(|n| [n - 1, n, n + 1]);
    for number in numbers.chain(61184..=65519).chain([LARGEST_UID]) {
        let mut room = [b'?'; UID_DIGITS];
        let digits = Uid(number).digits(&mut room);
        assert_eq!(digits, number.to_string().as_bytes());
        assert_eq!(Uid::parse(digits), Uid::new(number));
    }
}

#[test]
fn a_name_cannot_leave_the_directory_or_forge_a_field() {
    for bad in [
        &b""[..],
        b".",
        b"..",
        b"../x",
        b"a/b",
        b"a:b",
        b"a\nb",
        b"a b",
        b"0",
        b"61200",
        b"-a",
        b"a.b",
        b"a$",
        b"\xc3\xa4",
        b"a\0b",
        &[b'a'; LONGEST_NAME + 1],
    ] {
        assert_eq!(Name::parse(bad), None, "{bad:?}");
    }
    for good in [&b"a"[..], b"_", b"Web-1_x", &[b'a'; 31]] {
        assert_eq!(Name::parse(good), Some(Name(good)));
    }
}

#[test]
fn paths_are_those_of_the_daemon_and_end_in_nul() {
    let path = Path::of_table().map(|path| path.0);
    assert!(path.is_some_and(|bytes| bytes.starts_with(b"/run/dynuser/users\0")));
    let path = Path::of_uid(UID).map(|path| path.0);
    assert!(path.is_some_and(|bytes| bytes.starts_with(b"/run/dynuser/users/uid:61200\0")));
    let path = Path::of_uid(Uid(LARGEST_UID)).map(|path| path.0);
    assert!(path.is_some_and(|bytes| bytes.starts_with(b"/run/dynuser/users/uid:2147483647\0")));
    let path = Path::of_ranges().map(|path| path.0);
    assert!(path.is_some_and(|bytes| bytes.starts_with(b"/run/dynuser/users/ranges\0")));
    let path = Path::of_name(WEB).map(|path| path.0);
    assert!(path.is_some_and(|bytes| bytes.starts_with(b"/run/dynuser/users/name:web\0")));
    let longest = Path::of_name(Name(&[b'a'; LONGEST_NAME]));
    assert!(longest.is_some_and(|path| path.0.ends_with(b"aaa\0")));
}

#[test]
fn a_name_that_is_asked_for_is_copied() {
    for good in [&b"a"[..], b"Web-1_x", &[b'a'; LONGEST_NAME]] {
        let asked = Asked::copy(good);
        assert_eq!(asked.as_ref().and_then(Asked::name), Some(Name(good)));
    }
    assert!(Asked::copy(&[b'a'; LONGEST_NAME + 1]).is_none());
    assert!(Asked::copy(b"a/b").is_none());
}

#[test]
fn a_user_s_record_is_laid_out_word_by_word() {
    for (target, home) in [("web", "/"), ("web:/var/lib/web:44:api", "/var/lib/web")] {
        let mut buffer = buffer::<LONGEST_RECORD>();
        let record = libc::passwd::lay(Room::new(&mut buffer), &user(WEB, target));
        let text = format!("web\0x\0Dynamic User\0{home}\0/usr/sbin/nologin\0");
        assert!(content(&buffer).starts_with(&[text.as_bytes(), b"\xAA"].concat()));
        let at = record.map(|it| {
            [
                it.pw_name,
                it.pw_passwd,
                it.pw_gecos,
                it.pw_dir,
                it.pw_shell,
            ]
            .map(|word| offset(&buffer, word))
        });
        let shell = 19 + home.len() + 1;
        assert_eq!(at, Some([0, 4, 6, 19, shell].map(Some)));
        let numbers = record.map(|it| (it.pw_uid, it.pw_gid));
        assert_eq!(numbers, Some((61200, 61200)));
    }
}

#[test]
fn a_group_s_record_has_the_members_and_no_others() {
    for (target, names) in [
        ("web", &[][..]),
        ("web:/home::api", &["api"]),
        ("web:::api,b,cc", &["api", "b", "cc"]),
    ] {
        let mut buffer = buffer::<128>();
        let record = libc::group::lay(Room::new(&mut buffer), &user(WEB, target));
        let record = record.unwrap_or_else(|| panic!("{target}"));
        assert_eq!(record.gr_gid, 61200);
        let words: String = names.iter().map(|name| format!("{name}\0")).collect();
        assert!(content(&buffer).starts_with(format!("web\0x\0{words}").as_bytes()));
        let mut at = 6;
        let expected = names.iter().map(|name| {
            at += name.len() + 1;
            at - name.len() - 1
        });
        let expected: Vec<usize> = expected.collect();
        assert_eq!(pointers(&buffer, record.gr_mem), expected, "{target}");
    }
}

#[test]
fn shadow_records_have_no_password_and_no_members() {
    let mut buffer = buffer::<64>();
    let record = libc::spwd::lay(Room::new(&mut buffer), &user(WEB, "web:/home:1:api"));
    assert!(content(&buffer).starts_with(b"web\0!*\0\xAA"));
    let days = record.map(|it| {
        [
            it.sp_lstchg,
            it.sp_min,
            it.sp_max,
            it.sp_warn,
            it.sp_inact,
            it.sp_expire,
        ]
    });
    assert_eq!(days, Some([-1, -1, -1, -1, -1, 1]));
    assert_eq!(record.map(|it| it.sp_flag), Some(c_ulong::MAX));

    let mut buffer = self::buffer::<64>();
    let record = GroupShadow::lay(Room::new(&mut buffer), &user(WEB, "web:/home:1:api"));
    assert!(content(&buffer).starts_with(b"web\0!*\0"));
    let lists =
        record.map(|it| [it.administrators, it.members].map(|list| pointers(&buffer, list)));
    assert_eq!(lists, Some([vec![], vec![]]));
}

#[test]
fn a_short_buffer_gets_no_record() {
    let mut buffer = [0; 4 * LONGEST_RECORD / 8].map(|_| buffer::<8>());
    let buffer = buffer.as_flattened_mut();
    let longest = [b'a'; LONGEST_NAME];
    let home = format!("web:/{}", "h".repeat(LONGEST_HOME - 1));
    // One letter each, until a target is full.
    let members = format!("1:::{}", vec!["m"; (LONGEST_TARGET - 3) / 2].join(","));
    for (name, target, of_passwd) in [
        (WEB, "web", 39),
        (WEB, "web:/home", 43),
        (Name(&longest), &home, 31 + 1 + 12 + 255 + 17 + 5),
        (Name(&longest), &members, 31 + 1 + 12 + 1 + 17 + 5),
    ] {
        let user = user(name, target);
        let length = name.0.len();
        let words: usize = user.text.members().map(|word| word.len() + 1).sum();
        let count = user.text.members().count();
        // A pointer more than the members, and what aligning them may cost.
        let aligned = |bytes: usize| bytes.div_ceil(8) * 8;
        let of_group = aligned(length + 3 + words) + 8 * (count + 1);
        assert!(of_group <= LONGEST_RECORD && of_passwd <= LONGEST_RECORD);
        for size in 0..=LONGEST_RECORD {
            let (short, _) = buffer.split_at_mut(size);
            let fits = [
                libc::passwd::lay(Room::new(short), &user).is_some(),
                libc::group::lay(Room::new(short), &user).is_some(),
                libc::spwd::lay(Room::new(short), &user).is_some(),
                GroupShadow::lay(Room::new(short), &user).is_some(),
            ];
            let need = [of_passwd, of_group, length + 4, aligned(length + 4) + 8];
            // The buffer is an array of bytes: where it begins is not the compiler's promise.
            if short.as_ptr().addr() % 8 == 0 {
                assert_eq!(fits, need.map(|need| size >= need), "{target}: {size}");
            }
        }
    }
}
