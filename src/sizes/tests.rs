//! Unit tests of sizes and limits. What the real systemd makes of them is in tests/unit_text.rs.

use proptest::prelude::*;

use super::*;

#[test]
fn sizes_are_read() {
    for (text, wanted) in [
        ("0", 0),
        ("512", 512),
        ("512B", 512),
        ("1K", 1024),
        ("1.5G", 3 << 29),
        ("1G 512M", (1 << 30) + (512 << 20)),
        ("1G512M", (1 << 30) + (512 << 20)),
        ("15E", 15 << 60),
        (" 7 M ", 7 << 20),
        ("1.K", 1024),
    ] {
        assert_eq!(size(text), Ok(wanted), "{text}");
    }
    for bad in [
        "", "K", "-1", "1KB", "1k", "1M 1G", "1 1", "16E", ".5K", "1..5K", "1x", "infinity",
    ] {
        let why = size(bad).expect_err(bad);
        assert!(why.contains(bad), "{why}");
    }
}

#[test]
fn shares_are_read() {
    for (text, wanted) in [
        ("50%", Amount::Permyriad(5000)),
        ("7.25%", Amount::Permyriad(725)),
        ("100%", Amount::Permyriad(10_000)),
        ("5‰", Amount::Permyriad(50)),
        ("5.5‰", Amount::Permyriad(55)),
        ("5‱", Amount::Permyriad(5)),
        ("infinity", Amount::Infinite),
        ("2K", Amount::Exactly(2048)),
    ] {
        assert_eq!(memory(text), Ok(wanted), "{text}");
    }
    for bad in ["101%", "%", "-1%", "1.234%", "1.5‱", "1,5%"] {
        assert!(memory(bad).is_err(), "{bad}");
    }
    assert_eq!(count("0x10"), Ok(Amount::Exactly(16)));
    assert!(count("2K").is_err());
}

#[test]
fn limits_are_read_in_the_units_of_their_resource() {
    let both = |value| {
        Ok(Limit {
            soft: value,
            hard: value,
        })
    };
    for (directive, text, wanted) in [
        ("LimitNOFILE", "1024", both(1024)),
        (
            "LimitNOFILE",
            "1024:4096",
            Ok(Limit {
                soft: 1024,
                hard: 4096,
            }),
        ),
        (
            "LimitNOFILE",
            "1:infinity",
            Ok(Limit {
                soft: 1,
                hard: INFINITE,
            }),
        ),
        ("LimitCORE", "1M", both(1 << 20)),
        ("LimitCPU", "1500ms", both(2)),
        ("LimitCPU", "2min", both(120)),
        ("LimitRTTIME", "5", both(5)),
        ("LimitRTTIME", "5ms", both(5000)),
        ("LimitNICE", "+5", both(15)),
        ("LimitNICE", "-5", both(25)),
        ("LimitNICE", "5", both(5)),
    ] {
        let resource = Resource::of(directive).expect(directive);
        assert_eq!(limit(resource, text), wanted, "{directive}={text}");
    }
    for (directive, bad) in [
        ("LimitNOFILE", "2:1"),
        ("LimitNOFILE", "1K"),
        ("LimitNOFILE", "18446744073709551615"),
        ("LimitNICE", "+20"),
        ("LimitNICE", "-21"),
        ("LimitNICE", "41"),
        ("LimitCPU", "1:2:3"),
        ("LimitCORE", ""),
    ] {
        let resource = Resource::of(directive).expect(directive);
        assert!(limit(resource, bad).is_err(), "{directive}={bad}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(\\PC|[0-9.:KMGTPE%+ -])*") {
        let _read = (memory(&text), count(&text));
        for (_, resource) in Resource::ALL {
            if let Ok(limit) = limit(resource, &text) {
                prop_assert!(limit.soft <= limit.hard);
            }
        }
    }
}

#[test]
fn ranges_are_joined_where_they_meet() {
    for (ranges, fewest) in [
        (vec![], vec![]),
        (vec![(5, 5), (0, 3), (4, 4)], vec![(0, 5)]),
        (vec![(0, 9), (2, 3)], vec![(0, 9)]),
        (vec![(7, 7), (3, 1), (0, 0)], vec![(0, 0), (7, 7)]),
        (vec![(0, usize::MAX); 3], vec![(0, usize::MAX)]),
    ] {
        assert_eq!(joined(ranges), fewest);
    }
}
