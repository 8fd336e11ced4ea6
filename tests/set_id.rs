//! The filter in the kernel: every forbidden act is tried for real, beside the ones that must go on working.
//!
//! Each act is done twice, on a thread without the filter and on one with it, so that an act which fails for
//! some other reason is seen. A filter belongs to a thread and ends with it.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks
)]
#![cfg(target_arch = "x86_64")]

use std::ffi::{CString, c_long};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use dynuser::seccomp::{Machine, set_id_filter};

const EPERM: i32 = libc::EPERM;
/// What the kernel ignores in the upper half of an argument.
const RUBBISH: c_long = 0x7ead_beef << 32;

/// A call by its number with up to four arguments; the answer as the kernel gives it, negative for an error.
type Caller = fn(c_long, [c_long; 4]) -> c_long;

fn call_64(number: c_long, [a, b, c, d]: [c_long; 4]) -> c_long {
    let result = unsafe { libc::syscall(number, a, b, c, d) };
    if result == -1 {
        -c_long::from(std::io::Error::last_os_error().raw_os_error().unwrap())
    } else {
        result
    }
}

/// A call of the i386 interface from this 64-bit program. A filter that knows only the
/// program's own architecture does not see it as what it is.
fn call_i386(number: c_long, [a, b, c, d]: [c_long; 4]) -> c_long {
    let mut result = number;
    unsafe {
        std::arch::asm!(
            "xchg rbx, {a}",
            "int 0x80",
            "xchg rbx, {a}",
            a = inout(reg) a => _,
            inout("rax") result,
            in("rcx") b,
            in("rdx") c,
            in("rsi") d,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // The answer is 32 bits wide.
    let low = u32::try_from(result & 0xffff_ffff).unwrap();
    c_long::from(low.cast_signed())
}

/// Runs `acts` on a thread of its own, under the filter or not.
fn on_a_thread<T: Send>(filtered: bool, acts: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            if filtered {
                let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
                assert_eq!(result, 0);
                let machine = Machine::current().unwrap();
                dynuser::sys::seccomp::install(&set_id_filter(machine)).unwrap();
            }
            acts()
        });
        thread.join().unwrap()
    })
}

/// A path below 4 GiB, where the i386 interface can reach it.
fn low(path: &Path) -> c_long {
    let text = CString::new(path.to_str().unwrap()).unwrap();
    let bytes = text.as_bytes_with_nul();
    unsafe {
        let place = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
            -1,
            0,
        );
        assert_ne!(place, libc::MAP_FAILED);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.cast(), bytes.len());
        c_long::try_from(place.expose_provenance()).unwrap()
    }
}

/// Numbers of one interface.
struct Numbers {
    caller: Caller,
    chmod: c_long,
    fchmod: c_long,
    fchmodat: c_long,
    fchmodat2: c_long,
    mkdir: c_long,
    mkdirat: c_long,
    mknod: c_long,
    mknodat: c_long,
    creat: c_long,
    open: c_long,
    openat: c_long,
    ioctl: c_long,
}

const BIT_64: Numbers = Numbers {
    caller: call_64,
    chmod: libc::SYS_chmod,
    fchmod: libc::SYS_fchmod,
    fchmodat: libc::SYS_fchmodat,
    fchmodat2: libc::SYS_fchmodat2,
    mkdir: libc::SYS_mkdir,
    mkdirat: libc::SYS_mkdirat,
    mknod: libc::SYS_mknod,
    mknodat: libc::SYS_mknodat,
    creat: libc::SYS_creat,
    open: libc::SYS_open,
    openat: libc::SYS_openat,
    ioctl: libc::SYS_ioctl,
};

const I386: Numbers = Numbers {
    caller: call_i386,
    chmod: 15,
    fchmod: 94,
    fchmodat: 306,
    fchmodat2: 452,
    mkdir: 39,
    mkdirat: 296,
    mknod: 14,
    mknodat: 297,
    creat: 8,
    open: 5,
    openat: 295,
    ioctl: 54,
};

const CREATE: c_long = (libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC) as c_long;
const TMPFILE: c_long = (libc::O_TMPFILE | libc::O_WRONLY | libc::O_CLOEXEC) as c_long;
const FIFO: c_long = libc::S_IFIFO as c_long;
const AT: c_long = libc::AT_FDCWD as c_long;

/// Every call that can set a mode, with `mode`: its name and the kernel's answer.
fn set_mode_everywhere(n: &Numbers, mode: c_long) -> Vec<(&'static str, c_long)> {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| low(&dir.path().join(name));
    let file = File::create(dir.path().join("file")).unwrap();
    let fd = c_long::from(file.as_raw_fd());
    let (top, target) = (low(dir.path()), at("file"));
    let call = n.caller;
    vec![
        ("chmod", call(n.chmod, [target, mode, 0, 0])),
        ("fchmod", call(n.fchmod, [fd, mode, 0, 0])),
        ("fchmodat", call(n.fchmodat, [AT, target, mode, 0])),
        ("fchmodat2", call(n.fchmodat2, [AT, target, mode, 0])),
        ("mkdir", call(n.mkdir, [at("d1"), mode, 0, 0])),
        ("mkdirat", call(n.mkdirat, [AT, at("d2"), mode, 0])),
        ("mknod", call(n.mknod, [at("n1"), FIFO | mode, 0, 0])),
        ("mknodat", call(n.mknodat, [AT, at("n2"), FIFO | mode, 0])),
        ("creat", call(n.creat, [at("c1"), mode, 0, 0])),
        ("open", call(n.open, [at("o1"), CREATE, mode, 0])),
        ("openat", call(n.openat, [AT, at("o2"), CREATE, mode])),
        ("open, no name", call(n.open, [top, TMPFILE, mode, 0])),
        ("openat, no name", call(n.openat, [AT, top, TMPFILE, mode])),
    ]
}

#[test]
fn no_call_makes_a_set_id_file_and_ordinary_modes_work() {
    for numbers in [&BIT_64, &I386] {
        for (mode, forbidden) in [
            (0o755, false),
            (0o1777, false),
            (0o4755, true),
            (0o2755, true),
            (0o6000, true),
        ] {
            for filtered in [false, true] {
                let answers = on_a_thread(filtered, || set_mode_everywhere(numbers, mode));
                assert_eq!(answers.len(), 13);
                for (name, answer) in answers {
                    if filtered && forbidden {
                        assert_eq!(answer, -c_long::from(EPERM), "{name} {mode:o}");
                    } else {
                        assert!(answer >= 0, "{name} {mode:o}, filter {filtered}: {answer}");
                    }
                }
            }
        }
    }
}

#[test]
fn rubbish_above_the_mode_and_the_flags_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| low(&dir.path().join(name));
    File::create(dir.path().join("file")).unwrap();
    let acts = || {
        [
            call_64(libc::SYS_chmod, [path("file"), RUBBISH | 0o4755, 0, 0]),
            call_64(
                libc::SYS_openat,
                [AT, path("x"), RUBBISH | CREATE, RUBBISH | 0o4755],
            ),
            call_64(libc::SYS_mkdir, [path("d"), RUBBISH | 0o2755, 0, 0]),
        ]
    };
    assert_eq!(on_a_thread(true, acts), [-c_long::from(EPERM); 3]);
    // The kernel does ignore it: this is how one would get past a filter that compares 64 bits.
    assert!(
        on_a_thread(false, acts)
            .into_iter()
            .all(|answer| answer >= 0)
    );
}

/// A mode without a file to make is rubbish in a register, and common.
#[test]
fn opening_what_is_there_ignores_the_mode() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = low(file.path());
    for n in [&BIT_64, &I386] {
        on_a_thread(true, || {
            assert!((n.caller)(n.open, [path, 0, 0o6777, 0]) >= 0);
            assert!((n.caller)(n.openat, [AT, path, 0, 0o6777]) >= 0);
        });
    }
}

#[test]
fn openat2_works() {
    let dir = tempfile::tempdir().unwrap();
    let path = CString::new(dir.path().join("new").to_str().unwrap()).unwrap();
    on_a_thread(true, || {
        use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
        openat2(CWD, &path, flags, Mode::RUSR, ResolveFlags::NO_SYMLINKS).unwrap();
    });
}

#[test]
fn nothing_is_typed_into_a_terminal() {
    let pty = dynuser::sys::terminal::Pty::open().unwrap();
    let file = tempfile::tempfile().unwrap();
    let key = low(Path::new("#"));
    for n in [&BIT_64, &I386] {
        for command in [libc::TIOCSTI, libc::TIOCLINUX] {
            let command = c_long::try_from(command).unwrap();
            let commands: &[c_long] = match n.ioctl {
                libc::SYS_ioctl => &[command, command | RUBBISH, command | 1 << 32],
                _ => &[command],
            };
            for command in commands {
                // No terminal at all, so that the kernel's own answer is known: "not a terminal".
                let fd = c_long::from(file.as_raw_fd());
                let act = || (n.caller)(n.ioctl, [fd, *command, key, 0]);
                assert_eq!(on_a_thread(false, act), -c_long::from(libc::ENOTTY));
                assert_eq!(on_a_thread(true, act), -c_long::from(EPERM));
                let fd = c_long::from(pty.slave.as_raw_fd());
                let act = || (n.caller)(n.ioctl, [fd, *command, key, 0]);
                assert_eq!(on_a_thread(true, act), -c_long::from(EPERM));
            }
        }
    }
    // Other requests pass.
    on_a_thread(true, || {
        dynuser::sys::terminal::window_size(std::os::fd::AsFd::as_fd(&pty.slave)).unwrap();
    });
}

/// x32 is off in most kernels. Where it is on, its calls are judged; where not, they do not exist.
#[test]
fn x32_is_no_way_round() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = low(file.path());
    let fd = c_long::from(file.as_file().as_raw_fd());
    for bit in [0x4000_0000, 0] {
        let answer = on_a_thread(true, || {
            call_64(bit | libc::SYS_chmod, [path, 0o4755, 0, 0])
        });
        assert_eq!(answer, -c_long::from(EPERM));
        for ioctl in [514, libc::SYS_ioctl] {
            let answer = on_a_thread(true, || call_64(bit | ioctl, [fd, 0x5412, path, 0]));
            assert_eq!(answer, -c_long::from(EPERM), "{bit:x} {ioctl}");
        }
    }
}

#[test]
fn children_are_under_the_filter_too() {
    let dir = tempfile::tempdir().unwrap();
    let run = |filtered, script: &str| {
        on_a_thread(filtered, || {
            let mut shell = std::process::Command::new("sh");
            let shell = shell.args(["-c", script]).current_dir(dir.path());
            shell
                .stderr(std::process::Stdio::null())
                .status()
                .unwrap()
                .success()
        })
    };
    assert!(run(
        true,
        "touch f && chmod 0755 f && mkdir d && chmod 1777 d && mkfifo p"
    ));
    assert!(!run(true, "chmod u+s f"));
    assert!(!run(true, "chmod g+s f"));
    assert!(!run(true, "mkdir -m 2755 e"));
    assert!(run(false, "chmod u+s f"));
}

#[test]
fn without_no_new_privs_an_ordinary_user_gets_no_filter() {
    if !rustix::process::geteuid().is_root() {
        let program = set_id_filter(Machine::current().unwrap());
        let error = dynuser::sys::seccomp::install(&program).unwrap_err();
        assert_eq!(error.errno, rustix::io::Errno::ACCESS);
    }
}
