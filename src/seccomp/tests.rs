#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::machine::{AARCH64, ARM, I386, Interface, RISCV64, X32_BIT, X86_64};
use super::program::{ALLOW, ERRNO, KILL_PROCESS, RETURN};
use super::*;
use crate::syscall_sets::numbers::Table;

pub(super) const MACHINES: [Machine; 3] = [Machine::X86_64, Machine::Aarch64, Machine::Riscv64];
const DENIED: u32 = ERRNO | 1;
/// What the kernel throws away and a hostile caller puts there.
pub(super) const RUBBISH: u64 = 0xdead_beef_0000_0000;

/// `struct seccomp_data`, as bytes of a little-endian machine.
pub(super) fn data(arch: u32, number: u32, arguments: [u64; 6]) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend(arch.to_le_bytes());
    bytes.extend(0x1234_5678_9abc_def0_u64.to_le_bytes());
    for argument in arguments {
        bytes.extend(argument.to_le_bytes());
    }
    bytes
}

/// What a program did about a call.
pub(super) struct Run {
    pub(super) verdict: u32,
    pub(super) steps: usize,
    /// Whether it looked at an argument: if not, the kernel need not ask it again.
    pub(super) looked: bool,
}

pub(super) fn run(program: &[Instruction], data: &[u8]) -> Run {
    let (mut at, mut a, mut steps, mut looked) = (0, 0, 0, false);
    loop {
        let now = program[at];
        steps += 1;
        at += 1;
        let jump = |condition: bool| usize::from(if condition { now.jt } else { now.jf });
        match now.code {
            0x20 => {
                assert_eq!(now.k % 4, 0);
                let offset = now.k as usize;
                looked |= offset > 4;
                a = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
            }
            0x54 => a &= now.k,
            0x05 => at += now.k as usize,
            0x15 => at += jump(a == now.k),
            0x35 => at += jump(a >= now.k),
            0x45 => at += jump(a & now.k != 0),
            0x06 => {
                return Run {
                    verdict: now.k,
                    steps,
                    looked,
                };
            }
            code => panic!("instruction {code:#x}"),
        }
    }
}

fn verdict(machine: Machine, arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
    run(&set_id_filter(machine), &data(arch, number, arguments)).verdict
}

/// Every number of a call, on every interface: (machine, architecture, number).
pub(super) fn every(name: &str) -> Vec<(Machine, &'static Interface, u32)> {
    let mut all = Vec::new();
    for machine in MACHINES {
        for interface in machine.interfaces() {
            let calls = interface.table.calls();
            for (number, _) in calls.into_iter().filter(|(_, call)| *call == name) {
                all.push((machine, interface, number));
                if interface.table == Table::X86_64 {
                    all.push((machine, interface, number | X32_BIT));
                }
            }
        }
    }
    all
}

fn with(pairs: &[(usize, u64)]) -> [u64; 6] {
    // Whatever the rule does not name must not matter: all the others carry set-ID bits.
    let mut arguments = [RUBBISH | 0o6777; 6];
    for (index, value) in pairs {
        arguments[*index] = *value;
    }
    arguments
}

/// Tries values of one argument of a call on every interface; tells how many interfaces have it.
fn try_values(name: &str, argument: usize, bad: &[u64], good: &[u64]) -> usize {
    let all = every(name);
    for (machine, interface, number) in &all {
        for (values, expected) in [(bad, DENIED), (good, ALLOW)] {
            for value in values {
                for high in [0, 1 << 32, RUBBISH] {
                    let arguments = with(&[(argument, value | high)]);
                    let got = verdict(*machine, interface.arch, *number, arguments);
                    assert_eq!(got, expected, "{machine:?} {name} {number} {value:#o}");
                }
            }
        }
    }
    all.len()
}

#[test]
fn set_id_modes_are_refused_by_every_interface_and_others_pass() {
    let bad = [0o4000, 0o2000, 0o6000, 0o4755, 0o2755, 0o107_777];
    let good = [0, 0o755, 0o1777, 0o010_644, 0o140_755];
    // Of the numbers, each counted twice on x86_64: that of i386 and of arm, and of the newer ones that of two machines.
    for (name, mode, interfaces) in [
        ("chmod", 1, 4),
        ("fchmod", 1, 6),
        ("fchmodat", 2, 6),
        ("fchmodat2", 2, 6),
        ("mkdir", 1, 4),
        ("mkdirat", 2, 6),
        ("mknod", 1, 4),
        ("mknodat", 2, 6),
        ("creat", 1, 4),
    ] {
        assert_eq!(try_values(name, mode, &bad, &good), interfaces, "{name}");
    }
}

#[test]
fn the_mode_of_an_open_counts_only_when_a_file_is_made() {
    const O_TMPFILE: u64 = 0o20_200_000;
    let making = [0o100, 0o101, 0o301, O_TMPFILE, O_TMPFILE | 1, 0o20_000_000];
    let other = [
        0,
        1,
        0o2,
        0o200_000,
        0o2_000_000,
        0o1000,
        !0o20_000_100 & 0xffff_ffff,
    ];
    let mut tried = 0;
    for (name, flags, mode) in [("open", 1, 2), ("openat", 2, 3)] {
        for (machine, interface, number) in every(name) {
            for high in [0, RUBBISH, 0o20_000_100 << 32] {
                let judge = |flag: u64, bits: u64| {
                    let arguments = with(&[(flags, flag | high), (mode, bits | high)]);
                    verdict(machine, interface.arch, number, arguments)
                };
                for flag in making {
                    for bits in [0o4755, 0o2755, 0o6000] {
                        assert_eq!(judge(flag, bits), DENIED, "{name} {flag:o}");
                    }
                    for bits in [0o755, 0o1777, 0] {
                        assert_eq!(judge(flag, bits), ALLOW, "{name} {flag:o}");
                    }
                }
                for flag in other {
                    assert_eq!(judge(flag, 0o6777), ALLOW, "{name} {flag:o}");
                }
                tried += 1;
            }
        }
    }
    // open and openat: 64-bit, x32, i386, arm; openat alone: aarch64, riscv64.
    assert_eq!(tried, (2 + 2 + 2 + 2 + 1 + 1) * 3);
}

#[test]
fn no_typing_into_a_terminal_and_no_right_over_a_keyring_is_taken_away() {
    let good = [0x5411, 0x5413, 0x5401, 0x15412];
    // x86_64 and x32, each by both numbers; i386; aarch64; arm; riscv64.
    assert_eq!(try_values("ioctl", 1, &[0x5412, 0x541c], &good), 8);
    assert_eq!(try_values("keyctl", 0, &[5], &[4, 0, 6]), 6);
}

#[test]
fn calls_without_a_rule_pass_quickly() {
    let arguments = [RUBBISH | 0o26_777; 6];
    let ruled = [
        "chmod",
        "fchmod",
        "fchmodat",
        "fchmodat2",
        "mkdir",
        "mkdirat",
        "mknod",
        "mknodat",
        "creat",
        "open",
        "openat",
        "ioctl",
        "keyctl",
    ];
    for machine in MACHINES {
        let program = set_id_filter(machine);
        for interface in machine.interfaces() {
            let calls = interface.table.calls();
            let ruled = |number: u32| {
                let number = match interface.table {
                    Table::X86_64 => number & !X32_BIT,
                    _ => number,
                };
                let mut calls = calls.iter();
                calls.any(|(n, name)| *n == number && ruled.contains(name))
            };
            let specials = [u32::MAX, u32::MAX - 1, 0x0f_0002, X32_BIT, X32_BIT | 1];
            for number in (0..1024).chain(specials).filter(|n| !ruled(*n)) {
                let run = run(&program, &data(interface.arch, number, arguments));
                assert_eq!(run.verdict, ALLOW, "{machine:?} {number}");
                assert!(!run.looked, "{machine:?} {number}");
                assert!(run.steps <= 12, "{machine:?} {number}: {}", run.steps);
            }
        }
    }
}

#[test]
fn openat2_passes() {
    for machine in MACHINES {
        for interface in machine.interfaces() {
            let got = verdict(machine, interface.arch, 437, [0o20_006_777; 6]);
            assert_eq!(got, ALLOW);
        }
    }
}

#[test]
fn an_unknown_architecture_is_the_end() {
    let all = [X86_64, I386, AARCH64, ARM, RISCV64].map(|interface| interface.arch);
    // Also 32-bit RISC-V, big-endian ARM, s390x, and what x32 would be if it had its own.
    let others = [
        0x4000_00F3,
        0x0000_0028,
        0x8000_0016,
        0x4000_003E,
        0,
        u32::MAX,
    ];
    for machine in MACHINES {
        let own: Vec<u32> = machine.interfaces().iter().map(|i| i.arch).collect();
        for arch in all
            .into_iter()
            .chain(others)
            .filter(|arch| !own.contains(arch))
        {
            for number in [0, 1, 60, 90, 437, X32_BIT | 90] {
                let got = verdict(machine, arch, number, [0; 6]);
                assert_eq!(got, KILL_PROCESS, "{machine:?} {arch:#x}");
            }
        }
    }
}

/// Every way through the program stays in it and ends with a verdict.
pub(super) fn assert_sound(program: &[Instruction]) {
    assert!(program.len() <= LONGEST, "{} instructions", program.len());
    for (at, now) in program.iter().enumerate() {
        let skips = match now.code {
            RETURN => continue,
            0x05 => vec![now.k as usize],
            _ => vec![usize::from(now.jt), usize::from(now.jf)],
        };
        for skip in skips {
            assert!(at + 1 + skip < program.len(), "{at} leads outside");
        }
    }
    assert_eq!(program.last().map(|last| last.code), Some(RETURN));
}

#[test]
fn every_jump_lands_inside() {
    for machine in MACHINES {
        assert_sound(&set_id_filter(machine));
    }
}

#[test]
fn an_instruction_has_the_kernels_layout() {
    assert_eq!(size_of::<Instruction>(), 8);
    assert_eq!(std::mem::offset_of!(Instruction, jt), 2);
    assert_eq!(std::mem::offset_of!(Instruction, jf), 3);
    assert_eq!(std::mem::offset_of!(Instruction, k), 4);
}

/// The numbers of the set-ID calls, from the kernel's headers where they are installed.
#[test]
fn the_numbers_are_those_of_the_headers() {
    let headers = [
        (
            "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
            Table::X86_64,
        ),
        (
            "/usr/include/x86_64-linux-gnu/asm/unistd_x32.h",
            Table::X86_64,
        ),
        ("/usr/include/x86_64-linux-gnu/asm/unistd_32.h", Table::X86),
    ];
    for (path, table) in headers {
        let Ok(text) = std::fs::read_to_string(path) else {
            continue;
        };
        let calls = table.calls();
        let mut compared = 0;
        for line in text.lines() {
            let mut words = line.split_whitespace().skip(1);
            let (Some(name), Some(number)) = (words.next(), line.split_whitespace().last()) else {
                continue;
            };
            let Some(name) = name.strip_prefix("__NR_") else {
                continue;
            };
            if let Ok(number) = number.trim_end_matches(')').parse::<u32>() {
                assert!(calls.contains(&(number, name)), "{path}: {line}");
                compared += 1;
            }
        }
        assert!(compared > 300, "{path}: {compared}");
    }
}
