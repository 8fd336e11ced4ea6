//! The program against a plain evaluation of the same rules, written from the manual and not from the program.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::arithmetic_side_effects
)]

use crate::directives::Settings;
use crate::seccomp::program::{ALLOW, ERRNO, KILL_PROCESS, LOG};
use crate::seccomp::tests::{MACHINES, RUBBISH, data, every, run};
use crate::seccomp::{Machine, Rules, filter};
use crate::syscall_sets::numbers::Table;

const EPERM: u32 = ERRNO | 1;
const ENOSYS: u32 = ERRNO | 38;
const EAFNOSUPPORT: u32 = ERRNO | 97;

/// Rules from assignments, as of a unit file.
fn rules(assignments: &[(&str, &str)]) -> Rules {
    let mut settings = Settings::default();
    for (name, value) in assignments {
        let done = settings.assign(name, value);
        done.unwrap_or_else(|why| panic!("{name}={value} {why}"));
    }
    Rules {
        filters: settings.filters,
        ..Rules::default()
    }
}

/// The verdict on each number that a call has anywhere.
fn verdicts(rules: &Rules, name: &str, arguments: [u64; 6]) -> Vec<u32> {
    let programs = MACHINES.map(|machine| (machine, filter(machine, rules)));
    let all = every(name);
    assert!(!all.is_empty(), "{name}");
    let judge = |(machine, arch, number): (Machine, u32, u32)| {
        let (_, program) = programs.iter().find(|(of, _)| *of == machine).unwrap();
        run(program, &data(arch, number, arguments)).verdict
    };
    all.into_iter()
        .map(|(machine, interface, number)| judge((machine, interface.arch, number)))
        .collect()
}

/// The same verdict everywhere.
#[track_caller]
fn is(rules: &Rules, name: &str, arguments: &[u64], expected: u32) {
    let mut all = [RUBBISH; 6];
    for (place, argument) in all.iter_mut().zip(arguments) {
        // Nothing above the low half counts.
        *place = argument | RUBBISH;
    }
    for verdict in verdicts(rules, name, all) {
        assert_eq!(verdict, expected, "{name}{arguments:x?}: {verdict:#x}");
    }
}

/// A verdict of i386 alone.
#[track_caller]
fn on_i386(rules: &Rules, number: u32, arguments: [u64; 6], expected: u32) {
    let program = filter(Machine::X86_64, rules);
    let verdict = run(&program, &data(0x4000_0003, number, arguments)).verdict;
    assert_eq!(verdict, expected, "{number}{arguments:x?}: {verdict:#x}");
}

const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

#[test]
fn families() {
    let some = rules(&[("RestrictAddressFamilies", "AF_UNIX AF_INET")]);
    for (family, expected) in [
        (1, ALLOW),
        (2, ALLOW),
        (10, EAFNOSUPPORT),
        (17, EAFNOSUPPORT),
    ] {
        is(&some, "socket", &[family, 1, 0], expected);
    }
    is(&some, "socket", &[0xffff_ffff, 1, 0], EAFNOSUPPORT);
    // The old name of a packet socket, with SOCK_CLOEXEC too.
    is(&some, "socket", &[2, 10, 0], EAFNOSUPPORT);
    is(&some, "socket", &[2, 0o2_000_012, 0], EAFNOSUPPORT);
    is(&some, "socket", &[1, 10, 0], ALLOW);
    is(&some, "socketpair", &[1, 1, 0], ALLOW);
    is(&some, "socketpair", &[30, 1, 0], EAFNOSUPPORT);
    is(&some, "io_uring_setup", &[8], EPERM);
    is(&some, "connect", &[3], ALLOW);
    let packet = rules(&[("RestrictAddressFamilies", "AF_INET AF_PACKET")]);
    is(&packet, "socket", &[2, 10, 0], ALLOW);
    is(&packet, "socketpair", &[1, 1, 0], ALLOW);
    let none = rules(&[("RestrictAddressFamilies", "none")]);
    is(&none, "socket", &[1, 1, 0], EAFNOSUPPORT);
    is(&none, "socketpair", &[1, 1, 0], ALLOW);
    let but = rules(&[("RestrictAddressFamilies", "~AF_PACKET AF_UNIX")]);
    is(&but, "socket", &[17, 3, 0], EAFNOSUPPORT);
    is(&but, "socket", &[2, 10, 0], EAFNOSUPPORT);
    is(&but, "socket", &[2, 1, 0], ALLOW);
    is(&but, "socketpair", &[1, 1, 0], ALLOW);
    for rules in [&some, &none, &but] {
        on_i386(rules, SOCKETCALL, [1; 6], EAFNOSUPPORT);
        on_i386(rules, SOCKETCALL, [8; 6], EAFNOSUPPORT);
        on_i386(rules, SOCKETCALL, [RUBBISH | 1; 6], EAFNOSUPPORT);
        on_i386(rules, SOCKETCALL, [3; 6], ALLOW);
    }
}

#[test]
fn namespaces() {
    const USER: u64 = 0x1000_0000;
    const UTS: u64 = 0x0400_0000;
    let none = rules(&[("RestrictNamespaces", "yes")]);
    for flag in [
        USER,
        UTS,
        0x2000_0000,
        0x4000_0000,
        0x0002_0000,
        0x0200_0000,
        0x0800_0000,
    ] {
        is(&none, "clone", &[flag | 17], EPERM);
        is(&none, "unshare", &[flag], EPERM);
        is(&none, "setns", &[3, flag], EPERM);
    }
    is(&none, "setns", &[3, 0], EPERM);
    is(&none, "unshare", &[0x80], EPERM);
    // Exit signals and threads are no namespaces.
    is(&none, "clone", &[0xff], ALLOW);
    is(&none, "clone", &[0x003d_0f00], ALLOW);
    is(&none, "unshare", &[0x200], ALLOW);
    is(&none, "clone3", &[1, 88], ENOSYS);
    let uts = rules(&[("RestrictNamespaces", "uts")]);
    is(&uts, "unshare", &[UTS], ALLOW);
    is(&uts, "unshare", &[UTS | USER], EPERM);
    is(&uts, "setns", &[3, UTS], ALLOW);
    is(&uts, "setns", &[3, 0], EPERM);
    is(&uts, "setns", &[3, USER], EPERM);
    is(&uts, "clone3", &[1, 88], ENOSYS);
    let user = rules(&[("RestrictNamespaces", "~user")]);
    is(&user, "unshare", &[USER], EPERM);
    is(&user, "unshare", &[UTS], ALLOW);
    let all = rules(&[("RestrictNamespaces", "no")]);
    is(&all, "clone3", &[1, 88], ALLOW);
    is(&all, "setns", &[3, 0], ALLOW);
}

#[test]
fn executable_memory() {
    let rules = rules(&[("MemoryDenyWriteExecute", "yes")]);
    let native = |name: &str, protection: u64| {
        let mut all = every(name);
        all.retain(|(_, interface, _)| !matches!(interface.table, Table::X86 | Table::Arm));
        assert!(!all.is_empty());
        let arguments = [0, 4096, RUBBISH | protection, 0, 0, 0];
        let judge = |(machine, arch, number)| {
            run(&filter(machine, &rules), &data(arch, number, arguments)).verdict
        };
        all.into_iter()
            .map(|(machine, interface, number)| judge((machine, interface.arch, number)))
            .collect::<Vec<u32>>()
    };
    assert!(native("mmap", 7).iter().all(|verdict| *verdict == EPERM));
    assert!(native("mmap", 5).iter().all(|verdict| *verdict == ALLOW));
    assert!(native("mmap", 3).iter().all(|verdict| *verdict == ALLOW));
    is(&rules, "mmap2", &[0, 4096, 6], EPERM);
    is(&rules, "mmap2", &[0, 4096, 5], ALLOW);
    is(&rules, "mprotect", &[0, 4096, 4], EPERM);
    is(&rules, "mprotect", &[0, 4096, 3], ALLOW);
    is(&rules, "pkey_mprotect", &[0, 4096, 5], EPERM);
    is(&rules, "shmat", &[0, 0, 0o100_000], EPERM);
    is(&rules, "shmat", &[0, 0, 0o10_000], ALLOW);
    is(&rules, "personality", &[0x0040_0000], EPERM);
    is(&rules, "personality", &[0xffff_ffff], ALLOW);
    is(&rules, "personality", &[0x0004_0000], ALLOW);
    // The old mmap of i386 has its arguments in memory; shmat by ipc(2), of any version.
    on_i386(&rules, 90, [0; 6], EPERM);
    on_i386(&rules, IPC, [21, 1, 0o100_000, 0, 0, 0], EPERM);
    on_i386(&rules, IPC, [0x1_0015, 1, 0o100_000, 0, 0, 0], EPERM);
    on_i386(&rules, IPC, [21, 1, 0, 0, 0, 0], ALLOW);
    on_i386(&rules, IPC, [23, 1, 0o100_000, 0, 0, 0], ALLOW);
}

#[test]
fn the_smaller_ones() {
    let realtime = rules(&[("RestrictRealtime", "yes")]);
    for (policy, expected) in [
        (0, ALLOW),
        (3, ALLOW),
        (5, ALLOW),
        (0x4000_0000, ALLOW),
        (1, EPERM),
        (2, EPERM),
        (4, EPERM),
        (6, EPERM),
        (7, EPERM),
        (0x4000_0001, EPERM),
        (0xffff_ffff, EPERM),
    ] {
        is(&realtime, "sched_setscheduler", &[0, policy], expected);
    }
    is(&realtime, "sched_setattr", &[0], EPERM);
    let mut locked = rules(&[("LockPersonality", "yes")]);
    locked.personality = 0x0004_0000;
    is(&locked, "personality", &[0x0004_0000], ALLOW);
    is(&locked, "personality", &[0xffff_ffff], ALLOW);
    is(&locked, "personality", &[0], EPERM);
    is(&locked, "personality", &[8], EPERM);
    for (directive, refused, allowed) in [
        (
            "ProtectClock",
            &[
                "clock_settime",
                "clock_adjtime",
                "settimeofday",
                "adjtimex",
                "stime",
                "clock_settime64",
            ][..],
            "clock_gettime",
        ),
        (
            "ProtectHostname",
            &["sethostname", "setdomainname"],
            "uname",
        ),
        (
            "ProtectKernelModules",
            &["init_module", "finit_module", "delete_module"],
            "read",
        ),
        ("ProtectKernelLogs", &["syslog"], "sysinfo"),
        ("ProtectKernelTunables", &["_sysctl"], "sysfs"),
    ] {
        let rules = rules(&[(directive, "yes")]);
        for call in refused {
            is(&rules, call, &[], EPERM);
        }
        is(&rules, allowed, &[], ALLOW);
    }
    let private = rules(&[("ProtectHostname", "private:x")]);
    is(&private, "sethostname", &[], ALLOW);
    let mut devices = Rules::default();
    devices.filters.private_devices = true;
    is(&devices, "iopl", &[], EPERM);
    is(&devices, "ioperm", &[], EPERM);
    let ring = Rules {
        no_io_uring: true,
        ..Rules::default()
    };
    is(&ring, "io_uring_setup", &[], EPERM);
    is(&ring, "io_setup", &[], ALLOW);
}

#[test]
fn lists_of_calls() {
    let allow = rules(&[("SystemCallFilter", "@basic-io uname")]);
    for name in ["read", "uname", "execve", "exit_group", "rt_sigreturn"] {
        is(&allow, name, &[], ALLOW);
    }
    is(&allow, "socket", &[], KILL_PROCESS);
    is(&allow, "rt_sigaction", &[], KILL_PROCESS);
    let errno = rules(&[
        ("SystemCallErrorNumber", "EPERM"),
        ("SystemCallFilter", "@system-service"),
        ("SystemCallFilter", "~@privileged getcpu:ENOANO acct:kill"),
    ]);
    is(&errno, "mount", &[], EPERM);
    is(&errno, "setuid", &[], EPERM);
    is(&errno, "getcpu", &[], ERRNO | 55);
    is(&errno, "acct", &[], KILL_PROCESS);
    is(&errno, "getuid", &[], ALLOW);
    let deny = rules(&[
        ("SystemCallFilter", "~@mount uname:EIO"),
        ("SystemCallFilter", "chroot"),
    ]);
    is(&deny, "mount", &[], KILL_PROCESS);
    is(&deny, "uname", &[], ERRNO | 5);
    is(&deny, "chroot", &[], ALLOW);
    is(&deny, "read", &[], ALLOW);
    let log = rules(&[("SystemCallLog", "uname"), ("RestrictRealtime", "yes")]);
    is(&log, "uname", &[], LOG);
    is(&log, "read", &[], ALLOW);
    let others = rules(&[("SystemCallLog", "~uname @default")]);
    is(&others, "uname", &[], ALLOW);
    is(&others, "read", &[], LOG);
    // Numbers that nobody knows: a C library must be able to fall back from them.
    for machine in MACHINES {
        for (rules, expected) in [
            (&allow, ENOSYS),
            (&errno, ENOSYS),
            (&deny, ALLOW),
            (&others, LOG),
        ] {
            for interface in machine.interfaces() {
                for number in [600, 0x3fff_ffff, u32::MAX] {
                    let call = data(interface.arch, number, [0; 6]);
                    assert_eq!(run(&filter(machine, rules), &call).verdict, expected);
                }
            }
        }
    }
}

#[test]
fn calls_that_stand_for_many() {
    let allow = rules(&[
        ("SystemCallFilter", "@system-service"),
        ("SystemCallFilter", "~bind shmget"),
    ]);
    on_i386(&allow, SOCKETCALL, [1; 6], ALLOW);
    on_i386(&allow, SOCKETCALL, [2; 6], KILL_PROCESS);
    on_i386(&allow, IPC, [22; 6], ALLOW);
    on_i386(&allow, IPC, [23; 6], KILL_PROCESS);
    on_i386(&allow, IPC, [0x2_0017; 6], KILL_PROCESS);
    let socket = rules(&[("SystemCallFilter", "socket connect")]);
    on_i386(&socket, SOCKETCALL, [3; 6], ALLOW);
    on_i386(&socket, SOCKETCALL, [4; 6], KILL_PROCESS);
    on_i386(&socket, SOCKETCALL, [99; 6], KILL_PROCESS);
    let deny = rules(&[("SystemCallFilter", "~connect:EACCES")]);
    on_i386(&deny, SOCKETCALL, [3; 6], ERRNO | 13);
    on_i386(&deny, SOCKETCALL, [4; 6], ALLOW);
    let all = rules(&[("SystemCallFilter", "~socketcall:EACCES")]);
    on_i386(&all, SOCKETCALL, [4; 6], ERRNO | 13);
    is(&all, "listen", &[], ALLOW);
}

#[test]
fn architectures() {
    let x86_64 = |architectures: &str, arch: u32, number: u32| {
        let rules = rules(&[("SystemCallArchitectures", architectures)]);
        run(
            &filter(Machine::X86_64, &rules),
            &data(arch, number, [0; 6]),
        )
        .verdict
    };
    const X86_64: u32 = 0xC000_003E;
    const I386: u32 = 0x4000_0003;
    const X32: u32 = 0x4000_0000;
    for (architectures, i386, x32) in [
        ("native", KILL_PROCESS, KILL_PROCESS),
        ("x86-64", KILL_PROCESS, KILL_PROCESS),
        ("native x86", ALLOW, KILL_PROCESS),
        ("x32", KILL_PROCESS, ALLOW),
        ("x86 x32", ALLOW, ALLOW),
        ("arm64", KILL_PROCESS, KILL_PROCESS),
        ("s390x", KILL_PROCESS, KILL_PROCESS),
        ("", ALLOW, ALLOW),
    ] {
        assert_eq!(x86_64(architectures, X86_64, 39), ALLOW, "{architectures}");
        assert_eq!(x86_64(architectures, X86_64, u32::MAX), ALLOW);
        assert_eq!(x86_64(architectures, I386, 20), i386, "{architectures}");
        assert_eq!(
            x86_64(architectures, X86_64, X32 | 39),
            x32,
            "{architectures}"
        );
        assert_eq!(
            x86_64(architectures, X86_64, X32 | 514),
            x32,
            "{architectures}"
        );
    }
}
