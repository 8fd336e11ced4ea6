//! What the lists become, and what the generated programs answer.

#![allow(clippy::arithmetic_side_effects)]

use core::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::bpf_code::interpreter::{World, run};

fn list(words: &str) -> Addresses {
    let mut list = Addresses::default();
    list.assign(words).expect(words);
    list
}

fn packet(direction: Direction, peer: IpAddr) -> World {
    let (protocol, mut packet, at) = match peer {
        IpAddr::V4(_) => (0x0800, vec![0x45; 20], 12),
        IpAddr::V6(_) => (0x86dd, vec![0x60; 40], 8),
    };
    let bytes = match peer {
        IpAddr::V4(peer) => peer.octets().to_vec(),
        IpAddr::V6(peer) => peer.octets().to_vec(),
    };
    let at = at
        + if direction == Direction::Out {
            bytes.len()
        } else {
            0
        };
    packet[at..at + bytes.len()].copy_from_slice(&bytes);
    World {
        context: vec![(PROTOCOL, network_order(protocol))],
        packet,
    }
}

/// Whether both programs let packets from and to `peer` pass; they must agree.
fn passes(allow: &str, deny: &str, peer: &str) -> bool {
    let peer: IpAddr = peer.parse().expect("an address");
    let answers = [Direction::In, Direction::Out].map(|direction| {
        let program = program(direction, &list(allow), &list(deny)).expect("a program");
        run(&program, &packet(direction, peer))
    });
    assert_eq!(answers[0], answers[1], "{peer}");
    answers[0] == 1
}

#[test]
fn allowed_wins_over_denied_and_the_rest_passes() {
    for (allow, deny, peer, passing) in [
        ("", "any", "127.0.0.1", false),
        ("", "any", "::1", false),
        ("localhost", "any", "127.0.0.1", true),
        ("localhost", "any", "127.255.255.255", true),
        ("localhost", "any", "128.0.0.0", false),
        ("localhost", "any", "::1", true),
        ("localhost", "any", "::2", false),
        ("", "10.0.0.0/8", "10.1.2.3", false),
        ("", "10.0.0.0/8", "11.1.2.3", true),
        ("10.1.0.0/16", "10.0.0.0/8", "10.1.2.3", true),
        // The narrower denial does not win.
        ("10.0.0.0/8", "10.1.2.3", "10.1.2.3", true),
        ("", "192.168.1.1", "192.168.1.1", false),
        ("", "192.168.1.1", "192.168.1.2", true),
        ("", "255.255.255.255", "255.255.255.255", false),
        ("", "fe80::/10", "febf::1", false),
        ("", "fe80::/10", "fec0::1", true),
        ("", "2001:db8::/33", "2001:db8:7fff::1", false),
        ("", "2001:db8::/33", "2001:db8:8000::1", true),
        ("", "2001:db8::1", "2001:db8::1", false),
        ("", "2001:db8::1", "2001:db8:0:1::1", true),
        ("", "link-local", "169.254.9.9", false),
        ("", "link-local", "fe80::1", false),
        ("", "multicast", "239.1.1.1", false),
        ("", "multicast", "ff02::1", false),
        ("", "0.0.0.0/0", "::1", true),
        ("multicast", "any", "1.1.1.1", false),
    ] {
        assert_eq!(
            passes(allow, deny, peer),
            passing,
            "allow {allow:?}, deny {deny:?}: {peer}"
        );
    }
}

#[test]
fn what_is_no_packet_of_either_kind_is_dropped() {
    let program = program(Direction::Out, &list(""), &list("10.0.0.0/8")).expect("a program");
    let mut arp = packet(Direction::Out, Ipv4Addr::LOCALHOST.into());
    arp.context = vec![(PROTOCOL, network_order(0x0806))];
    assert_eq!(run(&program, &arp), 0);
    let mut short = packet(Direction::Out, Ipv4Addr::LOCALHOST.into());
    short.packet.truncate(19);
    assert_eq!(run(&program, &short), 0);
}

#[test]
fn lists_are_merged_and_reset() {
    let mut addresses = list("10.1.2.3 10.0.0.0/8 10.200.0.0/16 ::1 10.9.9.9/8");
    assert_eq!(
        addresses.0,
        [Prefix::V4(0x0a00_0000, 8), Prefix::V6(1, 128)]
    );
    addresses.assign("any").expect("all");
    assert_eq!(addresses.0.len(), 2);
    addresses.assign("").expect("a reset");
    assert!(addresses.is_empty());
    for bad in [
        "10.0.0.0/33",
        "::/129",
        "10",
        "10/8",
        "1.2.3.4/+8",
        "1.2.3.4/",
        "fe80::1%lo",
        "ANY",
        "example.org",
        "1.2.3.4,5.6.7.8",
    ] {
        assert!(addresses.assign(&format!("::1 {bad}")).is_err(), "{bad}");
        assert!(addresses.is_empty(), "{bad}");
    }
    let many: Vec<String> = (0..=MOST_PREFIXES).map(|i| format!("::{i:x}")).collect();
    assert!(addresses.assign(&many.join(" ")).is_err());
}

proptest! {
    #[test]
    fn a_program_says_what_the_lists_say(
        allow in prop::collection::vec((any::<u32>(), 0_u32..=32), 0..4),
        deny in prop::collection::vec((any::<u32>(), 0_u32..=32), 0..4),
        near in any::<prop::sample::Index>(),
        flip in any::<u32>(),
    ) {
        let all: Vec<u32> = allow.iter().chain(&deny).map(|one| one.0).chain([7]).collect();
        let peer = *near.get(&all) ^ (flip & (flip >> 5) & (flip >> 11));
        let holds = |list: &[(u32, u32)]| list.iter().any(|(a, bits)| (a ^ peer) & mask4(*bits) == 0);
        let text = |list: &[(u32, u32)]| -> String {
            list.iter().map(|(a, bits)| format!("{}/{bits} ", Ipv4Addr::from_bits(*a))).collect()
        };
        let wanted = holds(&allow) || !holds(&deny);
        let peer = Ipv4Addr::from_bits(peer).to_string();
        prop_assert_eq!(passes(&text(&allow), &text(&deny), &peer), wanted);
    }

    #[test]
    fn of_ipv6_too(address in any::<u128>(), bits in 0_u32..=128, flip in 0_u32..128) {
        let deny = format!("{}/{bits}", Ipv6Addr::from_bits(address));
        let peer = Ipv6Addr::from_bits(address ^ (1 << flip)).to_string();
        // The bit that differs counts only among the first.
        prop_assert_eq!(passes("", &deny, &peer), 127 - flip < bits);
    }
}
