#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_group_holds_the_members_of_the_groups_in_it() {
    let service = expand("@system-service").unwrap();
    // Of @basic-io, of @default, of @sandbox in @default, and its own.
    for name in ["read", "execve", "seccomp", "uname", "socket"] {
        assert!(service.contains(name), "{name}");
    }
    for name in ["mount", "reboot", "clock_settime", "init_module", "swapon"] {
        assert!(!service.contains(name), "{name}");
    }
    assert!(service.iter().all(|name| !name.starts_with('@')));
    let privileged = expand("@privileged").unwrap();
    for name in ["init_module", "clock_settime", "setuid", "iopl"] {
        assert!(privileged.contains(name), "{name}");
    }
}

#[test]
fn every_group_is_sorted_and_every_group_in_it_exists() {
    assert!(SETS.is_sorted_by_key(|(name, _)| *name));
    for (group, members) in SETS {
        let words: Vec<&str> = members.split_ascii_whitespace().collect();
        assert!(words.is_sorted(), "{group}");
        for word in words.iter().filter(|word| word.starts_with('@')) {
            assert!(find(word).is_some(), "{group}: {word}");
        }
        assert!(!expand(group).unwrap().is_empty(), "{group}");
    }
    assert_eq!(SETS.len(), 30);
}

#[test]
fn known_is_all_that_has_a_number() {
    let known = expand("@known").unwrap();
    for table in Table::ALL {
        for name in table.names() {
            assert!(known.contains(name), "{name}");
        }
    }
    // Of other architectures.
    assert!(known.contains("s390_runtime_instr"));
}

#[test]
fn an_unknown_name_is_an_error() {
    assert!(expand("chwon").unwrap_err().contains("\"chwon\""));
    assert!(expand("").is_err());
    let error = expand("@mounts").unwrap_err();
    assert!(error.contains("\"@mounts\"") && error.contains("@mount,"));
    // Known to other architectures only, or newer than the table.
    assert_eq!(expand("spu_run").unwrap(), BTreeSet::from(["spu_run"]));
    assert_eq!(expand("_sysctl").unwrap(), BTreeSet::from(["_sysctl"]));
    let alias = expand("arm_sync_file_range").unwrap();
    assert_eq!(alias, BTreeSet::from(["sync_file_range2"]));
}

/// Where the numbers differ most: some of each table, by the kernel's headers.
#[test]
fn numbers_are_the_kernels() {
    let number = |table: Table, wanted: &str| -> Vec<u32> {
        let calls = table.calls();
        let of = calls.iter().filter(|(_, name)| *name == wanted);
        of.map(|(number, _)| *number).collect()
    };
    for (name, expected) in [
        ("read", [0, 3, 3, 63, 63]),
        ("execveat", [322, 358, 387, 281, 281]),
        ("clone", [56, 120, 120, 220, 220]),
        ("socket", [41, 359, 281, 198, 198]),
        ("file_setattr", [469; 5]),
        ("listns", [470; 5]),
    ] {
        for (table, expected) in Table::ALL.into_iter().zip(expected) {
            assert!(number(table, name).contains(&expected), "{table:?} {name}");
        }
    }
    assert_eq!(number(Table::X86_64, "execveat"), [322, 545]);
    assert_eq!(number(Table::X86_64, "pwritev2"), [328, 547]);
    assert_eq!(number(Table::X86, "mmap"), [90]);
    assert_eq!(number(Table::X86, "mmap2"), [192]);
    assert_eq!(number(Table::X86, "break"), [17]);
    assert_eq!(number(Table::Aarch64, "newfstatat"), [79]);
    assert_eq!(number(Table::Arm, "set_tls"), [0xf0005]);
    assert_eq!(number(Table::Arm, "sync_file_range2"), [341]);
}

#[test]
fn numbers_are_unique_and_ascending() {
    for table in Table::ALL {
        let calls = table.calls();
        assert!(calls.len() > 300, "{table:?}: {}", calls.len());
        assert!(calls.is_sorted_by(|(a, _), (b, _)| a < b), "{table:?}");
    }
}

/// libc's numbers, for the architecture of this build.
#[test]
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
fn numbers_are_libcs() {
    #[cfg(target_arch = "x86_64")]
    let own = Table::X86_64;
    #[cfg(target_arch = "aarch64")]
    let own = Table::Aarch64;
    #[cfg(target_arch = "riscv64")]
    let own = Table::Riscv64;
    let calls = own.calls();
    macro_rules! compare {
        ($($name:ident)*) => {[$((stringify!($name), libc::$name)),*]};
    }
    let theirs = compare!(
        SYS_openat SYS_mkdirat SYS_mknodat SYS_fchmod SYS_fchmodat SYS_ioctl SYS_keyctl SYS_socket SYS_socketpair
        SYS_clone SYS_clone3 SYS_unshare SYS_setns SYS_sched_setscheduler SYS_sched_setattr SYS_personality SYS_mmap
        SYS_mprotect SYS_pkey_mprotect SYS_shmat SYS_adjtimex SYS_clock_settime SYS_settimeofday SYS_sethostname
        SYS_setdomainname SYS_init_module SYS_finit_module SYS_delete_module SYS_syslog SYS_io_uring_setup SYS_mount
        SYS_reboot SYS_swapon SYS_execve SYS_exit_group SYS_openat2 SYS_landlock_restrict_self SYS_seccomp SYS_bpf
        SYS_perf_event_open SYS_ptrace SYS_process_vm_readv SYS_kexec_load SYS_pidfd_open SYS_memfd_create
    );
    for (name, number) in theirs {
        let name = name.strip_prefix("SYS_").unwrap();
        let ours = calls
            .iter()
            .find(|(number, call)| *call == name && *number < 512);
        assert_eq!(ours.map(|(n, _)| i64::from(*n)), Some(number), "{name}");
    }
}
