//! Paths that are directories of services, and others.

use super::*;

fn state(path: &str) -> ExecDirectory {
    ExecDirectory::parse(Kind::State, path).expect("a good path")
}

#[test]
fn paths_are_relative_clean_and_never_the_boundary() {
    assert_eq!(state("wuff").path(), "wuff");
    assert_eq!(state("a//b/./c/").path(), "a/b/c");
    assert_eq!(state("privateer").path(), "privateer");
    for bad in [
        "",
        "/wuff",
        "..",
        "a/..",
        "a/../b",
        "private",
        "private/x",
        "./private",
        ".",
        "%i",
        "a\nb",
        "dynuser",
        "dynuser/x",
    ] {
        assert!(ExecDirectory::parse(Kind::State, bad).is_err(), "{bad:?}");
    }
    assert!(ExecDirectory::parse(Kind::State, &"x".repeat(256)).is_err());
}

#[test]
fn a_directory_behind_a_boundary_has_a_relative_link() {
    let deep = state("a/b/c");
    assert_eq!(deep.public(), "/var/lib/a/b/c");
    assert_eq!(deep.behind().as_deref(), Some("/var/lib/private/a/b/c"));
    assert_eq!(deep.link_target(), "../../private/a/b/c");
    assert_eq!(state("wuff").link_target(), "private/wuff");
    assert_eq!(deep.adoption_record(), "../../../a/b/c");
    assert_eq!(state("wuff").adoption_record(), "../wuff");
    assert_eq!(state("sub/link").link_to(&deep), "../a/b/c");
    assert_eq!(state("link").link_to(&deep), "a/b/c");
    let configuration = ExecDirectory::parse(Kind::Configuration, "foo").expect("a good path");
    assert_eq!(configuration.behind(), None);
}

#[test]
fn each_side_of_a_boundary_leads_to_the_other() {
    for (path, other) in [
        ("/var/lib/a/b", Some("/var/lib/private/a/b")),
        ("/run/a", Some("/run/private/a")),
        ("/etc/a", None),
        ("/var/library/a", None),
    ] {
        assert_eq!(other_side(path).as_deref(), other, "{path}");
        let back = other.and_then(other_side);
        assert_eq!(back.as_deref(), other.map(|_| path));
    }
}

#[test]
fn within_means_the_same_or_below() {
    assert!(state("foo/bar").is_within(&state("foo")));
    assert!(state("foo").is_within(&state("foo")));
    assert!(!state("foobar").is_within(&state("foo")));
    assert!(!state("foo").is_within(&state("foo/bar")));
}

#[test]
fn what_is_in_a_directory_comes_right_after_it() {
    let mut paths = ["b", "a-b", "a/b/c", "a", "a/b"].map(state);
    paths.sort();
    let sorted: Vec<&str> = paths.iter().map(ExecDirectory::path).collect();
    assert_eq!(sorted, ["a", "a/b", "a/b/c", "a-b", "b"]);
}

#[test]
fn words_lead_back_to_their_kind() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_word(kind.word()), Some(kind));
    }
}
