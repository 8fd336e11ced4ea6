//! Filters of whole units in the running kernel: each is loaded on a thread, and ordinary work goes on under it.
//!
//! What each rule refuses, call by call, is tested in `src/seccomp`; inside a service in `tests/filters.rs`.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks
)]

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output};

use dynuser::directives::Settings;
use dynuser::seccomp::{LONGEST, Machine, Rules, filter};
use dynuser::sys::seccomp;

/// Settings that units of Debian have together (the ways in which they filter, not every unit).
const UNITS: [&str; 9] = [
    "SystemCallFilter=@system-service|SystemCallArchitectures=native|SystemCallErrorNumber=EPERM",
    "SystemCallFilter=@system-service|SystemCallFilter=~@privileged @resources|SystemCallArchitectures=native",
    "SystemCallFilter=@system-service|SystemCallFilter=~@clock @cpu-emulation @debug @module @mount @obsolete \
     @raw-io @reboot @swap @setuid @keyring|SystemCallErrorNumber=EPERM",
    "SystemCallFilter=~@clock @cpu-emulation @debug @keyring @module @mount @obsolete @raw-io @reboot @swap",
    "SystemCallFilter=@system-service @mount process_mrelease",
    "SystemCallFilter=@basic-io @file-system @io-event @process @signal @sync @network-io @ipc @timer \
     @resources",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK|RestrictNamespaces=yes|RestrictRealtime=yes\
     |LockPersonality=yes|MemoryDenyWriteExecute=yes|ProtectClock=yes|ProtectHostname=yes\
     |ProtectKernelModules=yes|ProtectKernelLogs=yes|ProtectKernelTunables=yes",
    "RestrictAddressFamilies=none|RestrictNamespaces=~user|SystemCallArchitectures=native",
    "RestrictAddressFamilies=~AF_PACKET|SystemCallLog=@obsolete|RestrictRealtime=yes",
];

/// The filter of a dynamic user with the settings of a unit.
fn rules(unit: &str) -> Rules {
    let mut settings = Settings::default();
    for assignment in unit.split('|').filter(|line| !line.is_empty()) {
        let (name, value) = assignment.split_once('=').unwrap();
        let done = settings.assign(name, value);
        done.unwrap_or_else(|why| panic!("{assignment} {why}"));
    }
    Rules {
        set_id: true,
        no_io_uring: true,
        personality: seccomp::personality().unwrap(),
        filters: settings.filters,
        ..Rules::default()
    }
}

/// A command under the filter of a unit, put there between fork and exec as the launcher does it.
fn under(unit: &str, words: &[&str]) -> Output {
    let program = filter(Machine::current().unwrap(), &rules(unit));
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir("/");
    let install = move || {
        rustix::thread::set_no_new_privs(true)?;
        seccomp::install(&program).map_err(|error| std::io::Error::from(error.errno))
    };
    unsafe { command.pre_exec(install) };
    command.output().unwrap()
}

#[test]
fn filters_of_units_are_loaded_and_programs_run_under_them() {
    let whole = UNITS[1..].join("|");
    for unit in UNITS.into_iter().chain([whole.as_str(), ""]) {
        for machine in [Machine::X86_64, Machine::Aarch64, Machine::Riscv64] {
            let length = filter(machine, &rules(unit)).len();
            assert!(length <= LONGEST / 2, "{machine:?}: {length}: {unit}");
        }
        let script = "while read -r name value; do [ $name = Seccomp: ] && echo $value; done \
                      </proc/self/status; exit 7";
        let out = under(unit, &["sh", "-c", script]);
        assert_eq!(out.status.code(), Some(7), "{unit}: {out:?}");
        assert_eq!(String::from_utf8_lossy(&out.stdout), "2\n", "{unit}");
    }
}

#[test]
fn what_is_not_on_the_list_ends_the_process_or_fails() {
    let script = "import os\ntry: os.chroot('/')\nexcept OSError as e: print(e.errno)";
    let out = under(
        "SystemCallFilter=@system-service",
        &["python3", "-c", script],
    );
    assert_eq!(out.status.signal(), Some(libc::SIGSYS), "{out:?}");
    for (errno, expected) in [("EPERM", "1\n"), ("ENOANO", "55\n")] {
        let unit = format!("SystemCallFilter=@system-service|SystemCallErrorNumber={errno}");
        let out = under(&unit, &["python3", "-c", script]);
        assert_eq!(String::from_utf8_lossy(&out.stdout), expected, "{out:?}");
    }
}

/// mmap and mprotect from Python, which answer with an error number or 0.
const MEMORY: &str = "
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
def mapped(protection):
    at = libc.mmap(None, 4096, protection, 0x22, -1, 0)
    return (at, 0) if at != 2**64 - 1 else (None, ctypes.get_errno())
def protected(first, then):
    at, _ = mapped(first)
    return 0 if libc.mprotect(at, 4096, then) == 0 else ctypes.get_errno()
print(mapped(7)[1], mapped(3)[1], mapped(5)[1], protected(3, 5), protected(3, 1))
";

/// The kernel's own way refuses the same as the filter, and what is executed has it too.
#[test]
fn memory_is_written_or_executed() {
    let python = ["python3", "-c", MEMORY];
    let free = under("", &python);
    assert_eq!(
        String::from_utf8_lossy(&free.stdout),
        "0 0 0 0 0\n",
        "{free:?}"
    );
    let filtered = under("MemoryDenyWriteExecute=yes", &python);
    assert_eq!(
        String::from_utf8_lossy(&filtered.stdout),
        "1 0 0 1 0\n",
        "{filtered:?}"
    );
    let mut command = Command::new("python3");
    command.args(["-c", MEMORY]);
    let deny = || match seccomp::deny_write_execute() {
        Ok(true) => Ok(()),
        Ok(false) => Err(std::io::Error::from_raw_os_error(libc::ENOSYS)),
        Err(error) => Err(std::io::Error::from(error.errno)),
    };
    unsafe { command.pre_exec(deny) };
    // Before Linux 6.3 the filter above is all there is, and this test has nothing to try.
    match command.output() {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {}
        out => {
            let out = out.unwrap();
            assert_eq!(
                String::from_utf8_lossy(&out.stdout),
                "13 0 0 13 0\n",
                "{out:?}"
            );
        }
    }
}
