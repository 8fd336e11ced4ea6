//! Programs of random rules against a plain evaluation of the same rules, and how long they get.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::arithmetic_side_effects
)]

use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use super::*;
use crate::directives::Settings;
use crate::seccomp::restrictions::tests::{ASSIGNMENTS, CALLS, Plain, rules};
use crate::seccomp::tests::{MACHINES, RUBBISH, assert_sound, data, run};
use crate::seccomp::{Machine, Rules, filter};
use crate::syscall_sets::expand;

/// Arguments that some rule looks at, and others.
fn argument() -> impl Strategy<Value = u64> {
    let known = select(vec![
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        10,
        17,
        21,
        0x1_0015,
        22,
        25,
        30,
        0x80,
        0o100,
        0o755,
        0o2755,
        0o4755,
        0o6777,
        0x5411,
        0x5412,
        0x541C,
        0x0040_0000,
        0x0004_0000,
        0x1000_0000,
        0x0400_0000,
        0x4000_0000,
        0x4000_0001,
        0x7E02_0000,
        0o20_200_000,
        0o100_000,
        0xffff_ffff,
        0o2_000_012,
    ]);
    let low = prop_oneof![6 => known, 1 => any::<u32>().prop_map(u64::from)];
    (low, select(vec![0, 0, 1 << 32, RUBBISH])).prop_map(|(low, high)| low | high)
}

fn number() -> impl Strategy<Value = u32> {
    let plain = prop_oneof![20 => 0..480_u32, 3 => 500..560_u32, 1 => any::<u32>(), 1 => 0xf_0000..0xf_0008_u32];
    (plain, select(vec![0, 0, 0, X32_BIT])).prop_map(|(number, bit)| number | bit)
}

/// Numbers of calls that have rules come often enough.
fn ruled(machine: Machine, index: Index) -> (u32, u32) {
    const RULED: [&str; 18] = [
        "socket",
        "socketpair",
        "socketcall",
        "ipc",
        "clone",
        "clone3",
        "unshare",
        "setns",
        "mmap",
        "mmap2",
        "mprotect",
        "shmat",
        "personality",
        "sched_setscheduler",
        "openat",
        "chmod",
        "ioctl",
        "keyctl",
    ];
    let archs = machine.interfaces().iter().map(|interface| interface.arch);
    let all: Vec<(u32, u32)> = archs
        .flat_map(|arch| {
            CALLS[&arch]
                .iter()
                .map(move |(number, name)| (arch, *number, *name))
        })
        .filter(|(_, _, name)| RULED.contains(name))
        .map(|(arch, number, _)| (arch, number))
        .collect();
    all[index.index(all.len())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_program_does_what_its_rules_say(
        assignments in subsequence(ASSIGNMENTS.to_vec(), 0..=14),
        (set_id, no_io_uring) in any::<(bool, bool)>(),
        machine in select(MACHINES.to_vec()),
        random in proptest::collection::vec((any::<bool>(), number(), [(); 6].map(|()| argument())), 200),
        ruled_ones in proptest::collection::vec((any::<Index>(), [(); 6].map(|()| argument())), 200),
    ) {
        let rules = rules(&assignments, set_id, no_io_uring);
        let program = filter(machine, &rules);
        assert_sound(&program);
        let plain = Plain { assignments: &assignments, set_id, no_io_uring };
        let interfaces = machine.interfaces();
        let random = random.into_iter().map(|(first, number, arguments)| {
            let at = if first { 0 } else { interfaces.len() - 1 };
            (interfaces[at].arch, number, arguments)
        });
        let ruled_ones = ruled_ones.into_iter().map(|(index, arguments)| {
            let (arch, number) = ruled(machine, index);
            (arch, number, arguments)
        });
        for (arch, number, arguments) in random.chain(ruled_ones) {
            let got = run(&program, &data(arch, number, arguments)).verdict;
            let expected = plain.verdict(machine, arch, number, arguments);
            prop_assert_eq!(got, expected, "{:x} {} {:x?}: {:x} {:x}", arch, number, arguments, got, expected);
        }
    }
}

/// Far more than any unit has, and every other call alone: the worst that a list can be.
#[test]
fn the_longest_programs_are_short_enough() {
    let known: Vec<&str> = expand("@known").unwrap().into_iter().step_by(2).collect();
    let mut settings = Settings::default();
    for (name, value) in ASSIGNMENTS
        .iter()
        .filter(|(name, _)| !name.starts_with("SystemCall"))
    {
        settings.assign(name, value).unwrap();
    }
    // Different errors, so that no two ranges are the same.
    let list: Vec<String> = (1..)
        .zip(&known)
        .map(|(errno, name)| format!("{name}:{errno}"))
        .collect();
    let value = format!("~{}", list.join(" "));
    settings.assign("SystemCallFilter", &value).unwrap();
    settings.assign("SystemCallLog", &known.join(" ")).unwrap();
    let rules = Rules {
        set_id: true,
        no_io_uring: true,
        personality: 0,
        filters: settings.filters,
        ..Rules::default()
    };
    for machine in MACHINES {
        let program = filter(machine, &rules);
        assert_sound(&program);
        assert!(
            program.iter().any(|now| now.code == JUMP),
            "{}",
            program.len()
        );
    }
}
