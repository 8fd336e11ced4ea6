#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::*;

const MACHINES: [Machine; 3] = [Machine::X86_64, Machine::Aarch64, Machine::Riscv64];
const DENIED: u32 = SECCOMP_RET_ERRNO | EPERM;
/// What the kernel throws away and a hostile caller puts there.
const RUBBISH: u64 = 0xdead_beef_0000_0000;

/// `struct seccomp_data`, as bytes of a little-endian machine.
fn data(arch: u32, number: u32, arguments: [u64; 6]) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend(arch.to_le_bytes());
    bytes.extend(0x1234_5678_9abc_def0_u64.to_le_bytes());
    for argument in arguments {
        bytes.extend(argument.to_le_bytes());
    }
    bytes
}

/// The verdict of `program`, and how many instructions it took.
fn run(program: &[Instruction], data: &[u8]) -> (u32, usize) {
    let (mut at, mut a, mut steps) = (0, 0, 0);
    loop {
        let now = program[at];
        steps += 1;
        at += 1;
        let jump = |condition: bool| usize::from(if condition { now.jt } else { now.jf });
        match now.code {
            0x20 => {
                assert_eq!(now.k % 4, 0);
                let offset = now.k as usize;
                a = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
            }
            0x54 => a &= now.k,
            0x15 => at += jump(a == now.k),
            0x35 => at += jump(a >= now.k),
            0x45 => at += jump(a & now.k != 0),
            0x06 => return (now.k, steps),
            code => panic!("instruction {code:#x}"),
        }
    }
}

fn verdict(machine: Machine, arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
    run(&set_id_filter(machine), &data(arch, number, arguments)).0
}

/// Every number of every interface with its rule: (machine, architecture, number, call).
fn every_call() -> Vec<(Machine, u32, u32, &'static Call)> {
    let mut all = Vec::new();
    for machine in MACHINES {
        for interface in machine.interfaces() {
            for call in &CALLS {
                let Some(number) = (interface.number)(call) else {
                    continue;
                };
                all.push((machine, interface.arch, number, call));
                if interface.flags != 0 {
                    all.push((machine, interface.arch, number | interface.flags, call));
                }
            }
        }
    }
    all
}

fn with(pairs: &[(u32, u64)]) -> [u64; 6] {
    // Whatever the rule does not name must not matter: all the others carry set-ID bits.
    let mut arguments = [RUBBISH | 0o6777; 6];
    for (index, value) in pairs {
        arguments[*index as usize] = *value;
    }
    arguments
}

#[test]
fn set_id_modes_are_refused_by_every_interface_and_others_pass() {
    let bad = [0o4000, 0o2000, 0o6000, 0o4755, 0o2755, 0o107_777];
    let good = [0, 0o755, 0o1777, 0o010_644, 0o140_755];
    let mut tried = 0;
    for (machine, arch, number, call) in every_call() {
        let Rule::Mode(mode) = call.rule else {
            continue;
        };
        for (values, expected) in [(&bad[..], DENIED), (&good[..], SECCOMP_RET_ALLOW)] {
            for value in values {
                for high in [0, RUBBISH] {
                    let arguments = with(&[(mode, value | high)]);
                    let got = verdict(machine, arch, number, arguments);
                    assert_eq!(got, expected, "{machine:?} {} {value:o}", call.name);
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 500, "{tried}");
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
    for (machine, arch, number, call) in every_call() {
        let Rule::ModeIfCreated { flags, mode } = call.rule else {
            continue;
        };
        for high in [0, RUBBISH, 0o20_000_100 << 32] {
            let judge = |flag: u64, bits: u64| {
                let arguments = with(&[(flags, flag | high), (mode, bits | high)]);
                verdict(machine, arch, number, arguments)
            };
            for flag in making {
                for bits in [0o4755, 0o2755, 0o6000] {
                    assert_eq!(judge(flag, bits), DENIED, "{} {flag:o}", call.name);
                }
                for bits in [0o755, 0o1777, 0] {
                    assert_eq!(
                        judge(flag, bits),
                        SECCOMP_RET_ALLOW,
                        "{} {flag:o}",
                        call.name
                    );
                }
            }
            for flag in other {
                assert_eq!(
                    judge(flag, 0o6777),
                    SECCOMP_RET_ALLOW,
                    "{} {flag:o}",
                    call.name
                );
            }
            tried += 1;
        }
    }
    // open and openat: 64-bit, x32, i386, arm; openat alone: aarch64, riscv64.
    assert_eq!(tried, (2 + 2 + 2 + 2 + 1 + 1) * 3);
}

#[test]
fn no_typing_into_a_terminal() {
    let mut tried = 0;
    for (machine, arch, number, call) in every_call() {
        if call.rule != COMMAND {
            continue;
        }
        let command = 1;
        for (value, expected) in [
            (0x5412, DENIED),
            (0x541c, DENIED),
            (0x5411, SECCOMP_RET_ALLOW),
            (0x5413, SECCOMP_RET_ALLOW),
            (0x5401, SECCOMP_RET_ALLOW),
            (0x15412, SECCOMP_RET_ALLOW),
        ] {
            for high in [0, RUBBISH, 1 << 32] {
                let got = verdict(machine, arch, number, with(&[(command, value | high)]));
                assert_eq!(got, expected, "{machine:?} {number} {value:#x}");
                tried += 1;
            }
        }
    }
    // x86_64 and x32, each by both numbers; i386; aarch64; arm; riscv64.
    assert_eq!(tried, 8 * 6 * 3);
}

#[test]
fn no_right_over_a_keyring_is_taken_away() {
    let mut tried = 0;
    for (machine, arch, number, call) in every_call() {
        if call.rule != OPERATION {
            continue;
        }
        for (value, expected) in [(5, DENIED), (4, SECCOMP_RET_ALLOW), (0, SECCOMP_RET_ALLOW)] {
            let got = verdict(machine, arch, number, with(&[(0, value | RUBBISH)]));
            assert_eq!(got, expected, "{machine:?} {number} {value}");
            tried += 1;
        }
    }
    // x86_64, x32; i386; aarch64; arm; riscv64.
    assert_eq!(tried, 6 * 3);
}

#[test]
fn calls_without_a_rule_pass_quickly() {
    let arguments = [RUBBISH | 0o26_777; 6];
    for machine in MACHINES {
        let program = set_id_filter(machine);
        for interface in machine.interfaces() {
            let ruled = |n: u32| {
                let n = n & !interface.flags;
                CALLS.iter().any(|call| (interface.number)(call) == Some(n))
            };
            let specials = [u32::MAX, u32::MAX - 1, 0x0f_0002, X32_BIT, X32_BIT | 1];
            for number in (0..1024).chain(specials).filter(|n| !ruled(*n)) {
                let (verdict, steps) = run(&program, &data(interface.arch, number, arguments));
                assert_eq!(verdict, SECCOMP_RET_ALLOW, "{machine:?} {number}");
                assert!(steps <= 11, "{machine:?} {number}: {steps} instructions");
            }
        }
    }
}

#[test]
fn openat2_passes() {
    for machine in MACHINES {
        for interface in machine.interfaces() {
            let got = verdict(machine, interface.arch, 437, [0o20_006_777; 6]);
            assert_eq!(got, SECCOMP_RET_ALLOW);
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
                assert_eq!(got, SECCOMP_RET_KILL_PROCESS, "{machine:?} {arch:#x}");
            }
        }
    }
}

#[test]
fn every_jump_lands_inside() {
    for machine in MACHINES {
        let program = set_id_filter(machine);
        assert!(
            program.len() < 255,
            "offsets are one byte: {}",
            program.len()
        );
        for (at, now) in program.iter().enumerate() {
            if now.code == RETURN {
                continue;
            }
            for skip in [now.jt, now.jf] {
                let target = at + 1 + usize::from(skip);
                assert!(
                    target < program.len(),
                    "{machine:?}: {at} leads to {target}"
                );
            }
        }
        assert_eq!(program.last().map(|last| last.code), Some(RETURN));
    }
}

#[test]
fn an_instruction_has_the_kernels_layout() {
    assert_eq!(size_of::<Instruction>(), 8);
    assert_eq!(std::mem::offset_of!(Instruction, jt), 2);
    assert_eq!(std::mem::offset_of!(Instruction, jf), 3);
    assert_eq!(std::mem::offset_of!(Instruction, k), 4);
}

/// libc's number for a call, where the architecture of this build has it.
fn number_in_libc(name: &str) -> Option<libc::c_long> {
    Some(match name {
        "fchmod" => libc::SYS_fchmod,
        "fchmodat" => libc::SYS_fchmodat,
        "mkdirat" => libc::SYS_mkdirat,
        "mknodat" => libc::SYS_mknodat,
        "openat" => libc::SYS_openat,
        "ioctl" => libc::SYS_ioctl,
        #[cfg(target_arch = "x86_64")]
        "fchmodat2" => libc::SYS_fchmodat2,
        #[cfg(target_arch = "x86_64")]
        "chmod" => libc::SYS_chmod,
        #[cfg(target_arch = "x86_64")]
        "mkdir" => libc::SYS_mkdir,
        #[cfg(target_arch = "x86_64")]
        "mknod" => libc::SYS_mknod,
        #[cfg(target_arch = "x86_64")]
        "creat" => libc::SYS_creat,
        #[cfg(target_arch = "x86_64")]
        "open" => libc::SYS_open,
        _ => return None,
    })
}

#[test]
fn the_numbers_are_libcs() {
    let Some(machine) = Machine::current() else {
        return;
    };
    let own = &machine.interfaces()[0];
    let mut compared = 0;
    for call in &CALLS {
        if let Some(number) = number_in_libc(call.name) {
            assert_eq!(
                (own.number)(call).map(i64::from),
                Some(number),
                "{}",
                call.name
            );
            compared += 1;
        }
    }
    assert_eq!(compared, if machine == Machine::X86_64 { 12 } else { 6 });
}

/// The other interfaces' numbers, from the kernel's headers where they are installed.
#[test]
fn the_numbers_are_those_of_the_headers() {
    let headers = [
        ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", X86_64),
        ("/usr/include/x86_64-linux-gnu/asm/unistd_x32.h", X86_64),
        ("/usr/include/x86_64-linux-gnu/asm/unistd_32.h", I386),
        ("/usr/include/asm-generic/unistd.h", RISCV64),
    ];
    for (path, interface) in headers {
        let Ok(text) = std::fs::read_to_string(path) else {
            continue;
        };
        for line in text.lines() {
            let mut words = line.split_whitespace().skip(1);
            let (Some(name), Some(number)) = (words.next(), line.split_whitespace().last()) else {
                continue;
            };
            let Some(name) = name.strip_prefix("__NR_") else {
                continue;
            };
            let number = number.trim_end_matches(')').parse::<u32>();
            if CALLS.iter().any(|call| call.name == name) {
                let found = CALLS
                    .iter()
                    .filter(|call| call.name.split(' ').next() == Some(name))
                    .any(|call| (interface.number)(call) == number.clone().ok());
                assert!(found, "{path}: {line}");
            }
        }
    }
}
