//! What the generated programs answer.

use super::*;
use crate::bpf_code::interpreter::{World, run};

const GROUPS: &str = "Character devices:\n  1 mem\n  4 /dev/vc/0\n  4 tty\n  5 /dev/tty\n 13 input\n136 pts\n\
                      203 cpu/cpuid\n\nBlock devices:\n  7 loop\n254 virtblk\n";

fn asked(kind: u32, major: u32, minor: u32, access: u32) -> World {
    World {
        context: vec![(0, access << 16 | kind), (4, major), (8, minor)],
        packet: Vec::new(),
    }
}

fn allows(program: &[Instruction], kind: u32, numbers: (u32, u32), access: u32) -> bool {
    run(program, &asked(kind, numbers.0, numbers.1, access)) == 1
}

fn program_of(policy: Policy, allowed: &[&str]) -> Vec<Instruction> {
    let allowed: Vec<Allowed> = allowed
        .iter()
        .map(|value| Allowed::parse(value).expect(value))
        .collect();
    let devices = Devices {
        nodes: vec![("/dev/kvm".into(), (NodeKind::Character, 10, 232))],
        groups: GROUPS.into(),
    };
    let rules = rules(policy, &allowed, &devices).expect("rules");
    program(&rules).expect("a program")
}

#[test]
fn closed_has_the_pseudo_devices_and_strict_has_none() {
    let closed = program_of(Policy::Closed, &[]);
    for minor in [3, 5, 7, 8, 9] {
        assert!(allows(&closed, 2, (1, minor), READ | WRITE), "{minor}");
    }
    assert!(allows(&closed, 2, (5, 0), READ | WRITE));
    assert!(allows(&closed, 2, (5, 2), READ | WRITE));
    assert!(allows(&closed, 2, (136, 77), READ | WRITE));
    assert!(allows(&closed, 2, (1, 3), MAKE));
    for (kind, numbers) in [
        (1, (1, 3)),
        (2, (1, 1)),
        (2, (5, 1)),
        (2, (10, 232)),
        (1, (7, 0)),
    ] {
        for access in [MAKE, READ, WRITE, READ | WRITE] {
            assert!(!allows(&closed, kind, numbers, access), "{numbers:?}");
        }
    }
    let strict = program_of(Policy::Strict, &[]);
    assert!(!allows(&strict, 2, (1, 3), READ));
    assert!(rules(Policy::Auto, &[], &Devices::default()).is_none());
}

#[test]
fn what_is_allowed_by_name_is_and_no_more() {
    let auto = program_of(Policy::Auto, &["/dev/kvm rw", "block-l?op r", "char-cpu/*"]);
    assert!(allows(&auto, 2, (1, 3), READ), "a pseudo device");
    assert!(allows(&auto, 2, (10, 232), READ | WRITE));
    assert!(!allows(&auto, 2, (10, 232), MAKE));
    assert!(!allows(&auto, 2, (10, 233), READ));
    assert!(allows(&auto, 1, (7, 12), READ));
    assert!(!allows(&auto, 1, (7, 12), READ | WRITE));
    assert!(!allows(&auto, 1, (254, 0), READ));
    assert!(allows(&auto, 2, (203, 1), READ | WRITE));
    // Two rules allow together what neither allows alone.
    let both = program_of(Policy::Strict, &["/dev/kvm r", "/dev/char/10:232 w"]);
    assert!(allows(&both, 2, (10, 232), READ | WRITE));
    assert!(!allows(&both, 2, (10, 232), READ | MAKE));
    let all = program_of(Policy::Strict, &["char-* rw"]);
    assert!(allows(&all, 2, (4711, 1), READ | WRITE));
    assert!(!allows(&all, 1, (4711, 1), READ));
    // Not there: nothing is allowed by it.
    let none = program_of(Policy::Strict, &["/dev/nothing", "char-nothing"]);
    assert!(!allows(&none, 2, (0, 0), READ));
}

#[test]
fn values_that_make_no_sense_are_refused() {
    for bad in [
        "",
        "rw",
        "/dev",
        "/etc/passwd r",
        "/dev/../etc/passwd",
        "/dev/null x",
        "/dev/null r w",
        "char-",
        "pts",
    ] {
        assert!(Allowed::parse(bad).is_err(), "{bad}");
    }
    let many = vec![
        Rule {
            kind: NodeKind::Block,
            major: None,
            minor: None,
            access: Access::ALL
        };
        MOST_RULES + 1
    ];
    assert!(program(&many).is_err());
}

#[test]
fn patterns_are_those_of_a_shell() {
    for (pattern, name, matching) in [
        ("*", "", true),
        ("*", "a/b", true),
        ("a*c", "abcbc", true),
        ("a*c", "abcb", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("**a", "ba", true),
        ("", "a", false),
        ("a", "", false),
        ("cpu/*", "cpu/cpuid", true),
        ("*a*b*", "xxaxxbxx", true),
        ("*a*b*", "xxbxxaxx", false),
    ] {
        assert_eq!(matches(pattern, name), matching, "{pattern} {name}");
    }
}
