use proptest::prelude::*;

use super::*;
use core::cmp::Ordering;

fn setting(line: &str) -> Setting {
    let (name, value) = line.split_once('=').expect(line);
    Setting {
        name: name.into(),
        value: value.into(),
        place: Place {
            file: "f".into(),
            line: 1,
            column: 1,
        },
    }
}

fn of(lines: &[&str]) -> Conditions {
    let settings: Vec<Setting> = lines.iter().map(|line| setting(line)).collect();
    Conditions::of(&settings).expect("conditions")
}

fn verdict(lines: &[&str], true_ones: &[&str]) -> Result<bool, String> {
    let all = of(lines);
    let judged = judge(
        &all.conditions,
        &mut |condition| match condition.argument.as_str() {
            "/unknown" => Err(String::from("unknown")),
            argument => Ok(true_ones.contains(&argument)),
        },
    )?;
    Ok(judged == Verdict::Met)
}

#[test]
fn prefixes_and_resets_are_read() {
    let all = of(&[
        "ConditionPathExists=/gone",
        "ConditionHost=",
        "ConditionPathExists=|!/a",
        "AssertPathExists=! /b",
        "Description=x",
    ]);
    let [one] = all.conditions.as_slice() else {
        panic!("{all:?}");
    };
    assert!(one.triggers && one.negated);
    assert_eq!(one.argument, "/a");
    assert_eq!(one.written, "ConditionPathExists=|!/a");
    assert!(all.asserts[0].negated && !all.asserts[0].triggers);
    for bad in [
        "ConditionNonsense=1",
        "ConditionPathExists=a",
        "AssertHost=!",
    ] {
        assert!(Conditions::of(&[setting(bad)]).is_err(), "{bad}");
    }
}

#[test]
fn plain_ones_must_all_hold_and_one_of_the_others() {
    let path = |path: &str| format!("ConditionPathExists={path}");
    let check = |lines: &[&str], trues: &[&str]| {
        let lines: Vec<String> = lines.iter().map(|line| path(line)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        verdict(&lines, trues)
    };
    assert_eq!(check(&[], &[]), Ok(true));
    assert_eq!(check(&["/a", "/b"], &["/a", "/b"]), Ok(true));
    assert_eq!(check(&["/a", "!/b"], &["/a"]), Ok(true));
    assert_eq!(check(&["/a", "/b"], &["/a"]), Ok(false));
    assert_eq!(check(&["|/a", "|/b"], &["/b"]), Ok(true));
    assert_eq!(check(&["|/a", "|!/b"], &["/b"]), Ok(false));
    assert_eq!(check(&["|/a", "/c"], &["/a"]), Ok(false));
    assert_eq!(check(&["/unknown"], &[]), Err("unknown".into()));
    assert_eq!(check(&["|/unknown", "|/a"], &["/a"]), Ok(true));
    assert_eq!(check(&["|/unknown", "|/a"], &[]), Err("unknown".into()));
}

#[test]
fn the_first_that_does_not_hold_is_named() {
    let all = of(&["ConditionPathExists=/a", "ConditionPathExists=/b"]);
    let judged = judge(&all.conditions, &mut |it| Ok::<_, ()>(it.argument == "/a"));
    let Ok(Verdict::NotMet(why)) = judged else {
        panic!("{judged:?}");
    };
    assert!(
        why.contains("ConditionPathExists=/b") && why.contains("f:1:1"),
        "{why}"
    );
}

#[test]
fn patterns_match_as_the_shell_has_them() {
    for (pattern, text, expected) in [
        ("*", "", true),
        ("a*c", "abbc", true),
        ("a*c", "abbd", false),
        ("*.service", "x.y.service", true),
        ("a?c", "abc", true),
        ("[a-c]x", "bx", true),
        ("[!a-c]x", "bx", false),
        ("[]]x", "]x", true),
        ("[", "[", true),
        ("[ab", "[ab", true),
        ("\\*", "*", true),
        ("\\*", "a", false),
        ("6.*", "6.1.0", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
    assert!(matches_any_case("HOST*", "hostname"));
    assert_eq!(
        braces("/a/{b,c}/{d,e}", 10),
        ["/a/b/d", "/a/b/e", "/a/c/d", "/a/c/e"]
    );
    assert_eq!(braces("/a{", 10), ["/a{"]);
    assert!(braces(&"{a,b}".repeat(64), 100).len() <= 100);
}

/// The examples of the specification, and `systemd-analyze compare-versions` of systemd 257.
#[test]
fn versions_have_the_order_of_the_specification() {
    let ascending = [
        "122.1",
        "123~rc1-1",
        "123",
        "123-a",
        "123-a.1",
        "123-1",
        "123-1.1",
        "123^post1",
        "123.a-1",
        "123.1-1",
        "123a-1",
        "124-1",
    ];
    for pair in ascending.windows(2) {
        assert_eq!(version_order(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        assert_eq!(
            version_order(pair[1], pair[0]),
            Ordering::Greater,
            "{pair:?}"
        );
    }
    for (left, right) in [
        ("11", "11"),
        ("systemd-123", "systemd-123"),
        ("123_aa2-67.89", "123aa+2-67.89"),
        ("1.02", "1.2"),
    ] {
        assert_eq!(
            version_order(left, right),
            Ordering::Equal,
            "{left} {right}"
        );
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_versions_have_one_order(a in "[a-z0-9.~^-]{0,12}", b in "[a-z0-9.~^-]{0,12}", p in "[\\[\\]a!*?\\\\-]{0,12}") {
        prop_assert_eq!(version_order(&a, &b), version_order(&b, &a).reverse());
        prop_assert_eq!(version_order(&a, &a), Ordering::Equal);
        matches(&p, &a);
        prop_assert!(matches("*", &a));
        braces(&p, 8);
        split_operator(&a);
    }
}

#[test]
fn braces_take_no_memory_without_end() {
    let half = 512 * 1024;
    let pattern = format!("/{{{}}}{}", ",".repeat(half), "a".repeat(half));
    assert!(braces(&pattern, 64).is_empty());
    let many = braces(&format!("/{{{}}}b", "a,".repeat(half)), 64);
    assert!(many.len() <= 64);
}
