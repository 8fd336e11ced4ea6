//! Each restriction of system calls, inside a service: the forbidden act is tried and refused, and an allowed one
//! beside it works. The forbidden acts are such that without the restriction they end otherwise, which is tried too.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::{Arena, Output};

/// What the acts are made of. `attempt` says how one went: its answer, or the name of the error.
const TOOLS: &str = r#"
import ctypes, errno, mmap, os, socket, threading, time
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
def checked(result):
    if result in (-1, 2**64 - 1):
        raise OSError(ctypes.get_errno(), '')
def call(number, *words):
    checked(libc.syscall(*[ctypes.c_long(word) for word in (number, *words)]))
def memory(protection):
    checked(libc.mmap(None, 4096, protection, 0x22, -1, 0))
def machine_code(*code):
    page = libc.mmap(None, 4096, 7, 0x22, -1, 0)
    ctypes.memmove(page, bytes(code), len(code))
    return ctypes.CFUNCTYPE(ctypes.c_int)(page)()
def i386(number, first):
    # push rbx; mov eax, number; mov ebx, first; xor ecx, ecx; int 0x80; pop rbx; ret
    result = machine_code(0x53, 0xb8, *number.to_bytes(4, 'little'), 0xbb, *first.to_bytes(4, 'little'),
                          0x31, 0xc9, 0xcd, 0x80, 0x5b, 0xc3)
    if result < 0:
        raise OSError(-result, '')
def children():
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
def attempt(act):
    try:
        act()
        return 'OK'
    except OSError as error:
        return errno.errorcode[error.errno]
"#;

/// A restriction, and what it is tried with.
struct Case {
    /// Assignments, as for `-p`.
    properties: &'static [&'static str],
    /// Acts, and how they fail.
    refused: &'static [(&'static str, &'static str)],
    /// Acts that work.
    allowed: &'static [&'static str],
}

/// As root in its sandbox (`!`), where it is not for lack of capabilities that they fail.
const CASES: [Case; 16] = [
    Case {
        properties: &["SystemCallFilter=~uname:ENOANO @chown"],
        refused: &[("os.uname()", "ENOANO")],
        allowed: &["os.getcwd()"],
    },
    Case {
        properties: &[
            "SystemCallFilter=@system-service",
            "SystemCallFilter=~getcpu:ENOANO @setuid",
            "SystemCallErrorNumber=EBADR",
        ],
        refused: &[
            ("os.chroot('/')", "EBADR"),
            ("call(309, 0, 0, 0)", "ENOANO"),
            ("os.setuid(os.getuid())", "EBADR"),
        ],
        // A number newer than anybody knows is told to be so, for programs that can do without.
        allowed: &[
            "os.uname()",
            "socket.socket()",
            "children()",
            "None if attempt(lambda: call(700)) == 'ENOSYS' else 1 / 0",
        ],
    },
    Case {
        properties: &["RestrictAddressFamilies=AF_UNIX"],
        refused: &[
            ("socket.socket(socket.AF_INET)", "EAFNOSUPPORT"),
            ("socket.socket(socket.AF_INET6)", "EAFNOSUPPORT"),
            // socketcall(SYS_SOCKET) of i386.
            ("i386(102, 1)", "EAFNOSUPPORT"),
        ],
        allowed: &["socket.socket(socket.AF_UNIX)", "socket.socketpair()"],
    },
    Case {
        properties: &["RestrictAddressFamilies=AF_INET"],
        refused: &[
            ("socket.socket(socket.AF_UNIX)", "EAFNOSUPPORT"),
            (
                "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
                "EAFNOSUPPORT",
            ),
            // SOCK_PACKET, the old name of the same.
            ("call(41, 2, 10, 0)", "EAFNOSUPPORT"),
        ],
        allowed: &["socket.socket(socket.AF_INET)", "socket.socketpair()"],
    },
    Case {
        properties: &["RestrictAddressFamilies=~AF_INET6"],
        refused: &[("socket.socket(socket.AF_INET6)", "EAFNOSUPPORT")],
        allowed: &[
            "socket.socket(socket.AF_INET)",
            "socket.socket(socket.AF_UNIX)",
        ],
    },
    Case {
        properties: &["RestrictAddressFamilies=none"],
        refused: &[
            ("socket.socket(socket.AF_INET)", "EAFNOSUPPORT"),
            ("socket.socket(socket.AF_UNIX)", "EAFNOSUPPORT"),
        ],
        allowed: &["socket.socketpair()"],
    },
    Case {
        properties: &["RestrictNamespaces=yes"],
        refused: &[
            ("checked(libc.unshare(0x04000000))", "EPERM"),
            ("checked(libc.setns(-1, 0))", "EPERM"),
            ("call(435, 0, 0)", "ENOSYS"),
            ("i386(310, 0x04000000)", "EPERM"),
        ],
        allowed: &["children()", "checked(libc.unshare(0x200))"],
    },
    Case {
        properties: &["RestrictNamespaces=uts"],
        refused: &[
            ("checked(libc.unshare(0x08000000))", "EPERM"),
            ("checked(libc.setns(-1, 0))", "EPERM"),
        ],
        allowed: &["checked(libc.unshare(0x04000000))", "children()"],
    },
    Case {
        properties: &["RestrictRealtime=yes"],
        refused: &[
            (
                "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1000))",
                "EPERM",
            ),
            ("call(314, 0, 0, 0)", "EPERM"),
        ],
        allowed: &[
            "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))",
            "os.nice(1)",
        ],
    },
    Case {
        properties: &["LockPersonality=yes"],
        refused: &[
            ("call(135, 0x0040000)", "EPERM"),
            ("i386(136, 0x0040000)", "EPERM"),
        ],
        allowed: &[
            "call(135, 0xffffffff)",
            "call(135, libc.personality(0xffffffff))",
        ],
    },
    Case {
        properties: &["MemoryDenyWriteExecute=yes"],
        refused: &[
            ("memory(7)", "EPERM"),
            (
                "checked(libc.mprotect(ctypes.c_void_p(libc.mmap(None, 4096, 3, 0x22, -1, 0)), 4096, 5))",
                "EPERM",
            ),
        ],
        allowed: &["memory(3)", "memory(5)", "__import__('json')"],
    },
    Case {
        properties: &["ProtectClock=yes"],
        refused: &[
            ("call(227, 0, 0)", "EPERM"),
            ("call(159, 0)", "EPERM"),
            ("call(164, 1, 1)", "EPERM"),
        ],
        allowed: &["time.clock_gettime(0)"],
    },
    Case {
        properties: &["ProtectHostname=yes"],
        refused: &[("call(170, 0, -1)", "EPERM"), ("call(171, 0, -1)", "EPERM")],
        allowed: &["socket.gethostname()"],
    },
    Case {
        properties: &["ProtectKernelModules=yes"],
        refused: &[
            ("call(175, 0, 0, 0)", "EPERM"),
            ("call(176, 0, 0)", "EPERM"),
            ("call(313, -1, 0, 0)", "EPERM"),
        ],
        allowed: &["os.getpid()"],
    },
    Case {
        properties: &["ProtectKernelLogs=yes"],
        refused: &[("call(103, 10, 0, 0)", "EPERM")],
        allowed: &["os.sysconf(1)"],
    },
    Case {
        properties: &["ProtectKernelTunables=yes"],
        refused: &[("call(156, 0)", "EPERM")],
        allowed: &["open('/proc/sys/kernel/ostype').read()"],
    },
];

/// A program as root in the sandbox.
fn python(arena: &Arena, properties: &[&str], program: &str) -> Output {
    python_as(arena, "!/usr/bin/python3", properties, program)
}

fn python_as(arena: &Arena, python: &str, properties: &[&str], program: &str) -> Output {
    let mut words = vec!["dynuser", "run", "-u", "box"];
    for property in properties {
        words.extend(["-p", property]);
    }
    let program = format!("{TOOLS}{program}");
    words.extend([python, "-I", "-c", &program]);
    arena.run(words)
}

/// How the acts go, in order.
fn attempts(arena: &Arena, properties: &[&str], acts: &[&str]) -> Vec<String> {
    let program: Vec<String> = acts
        .iter()
        .map(|act| format!("print(attempt(lambda: {act}))"))
        .collect();
    let out = python(arena, properties, &program.join("\n")).ok();
    out.lines().map(str::to_owned).collect()
}

#[test]
fn what_is_restricted_is_refused_and_the_rest_works() {
    let arena = Arena::new();
    for case in &CASES {
        let properties = case.properties;
        let refused: Vec<&str> = case.refused.iter().map(|(act, _)| *act).collect();
        let acts = [&refused[..], case.allowed].concat();
        let answers = attempts(&arena, properties, &acts);
        let expected = case.refused.iter().map(|(_, error)| *error);
        let expected: Vec<&str> = expected.chain(case.allowed.iter().map(|_| "OK")).collect();
        assert_eq!(answers, expected, "{properties:?}: {acts:#?}");
        // Without the restriction it ends otherwise: by no other means is it refused so.
        for ((act, error), answer) in case.refused.iter().zip(attempts(&arena, &[], &refused)) {
            assert_ne!(answer, *error, "{act}, without {properties:?}");
        }
    }
}

/// An io_uring could make sockets that no filter sees.
#[test]
fn with_families_there_is_no_io_uring() {
    let arena = Arena::new();
    let program = "print(attempt(lambda: call(425, 1, 0)))";
    for (properties, expected) in [
        (&[][..], "EFAULT\n"),
        (&["RestrictAddressFamilies=AF_UNIX"], "EPERM\n"),
    ] {
        let out = python_as(&arena, "/usr/bin/python3", properties, program);
        assert_eq!(out.ok(), expected, "{properties:?}");
    }
}

#[test]
fn what_no_list_allows_ends_the_service() {
    let arena = Arena::new();
    let killed = Some(31); // SIGSYS
    for (properties, act) in [
        (&["SystemCallFilter=@system-service"][..], "os.chroot('/')"),
        (&["SystemCallFilter=~@mount"], "os.chroot('/')"),
        (
            &[
                "SystemCallFilter=~uname:kill",
                "SystemCallErrorNumber=EPERM",
            ],
            "os.uname()",
        ),
        (&["SystemCallArchitectures=native"], "i386(20, 0)"),
        (&["SystemCallArchitectures=native"], "call(0x40000000 | 39)"),
    ] {
        let program = format!("print('before', flush=True)\n{act}\nprint('after')");
        let out = python(&arena, properties, &program);
        assert_eq!(out.signal(), killed, "{properties:?} {act}: {out}");
        assert_eq!(out.stdout, "before\n", "{properties:?} {act}");
    }
    // Each of them works without.
    let acts = ["os.chroot('/')", "os.uname()", "i386(20, 0)"];
    assert_eq!(attempts(&arena, &[], &acts), ["OK"; 3]);
    let acts = ["os.uname()", "os.getpid()"];
    assert_eq!(
        attempts(&arena, &["SystemCallArchitectures=native"], &acts),
        ["OK"; 2]
    );
}

/// What dynuser itself does after the filter is in is to execute the service, and nothing else.
#[test]
fn a_filter_may_deny_what_only_the_start_needs() {
    let arena = Arena::new();
    for call in [
        "chdir",
        "fchdir",
        "close_range",
        "fcntl",
        "prctl",
        "poll",
        "getuid",
    ] {
        let property = format!("SystemCallFilter=~{call}");
        arena
            .run(["dynuser", "run", "-u", "box", "-p", &property, "true"])
            .ok();
    }
}

/// One filter, whatever is asked for, and it is the ordinary user's too.
#[test]
fn everything_at_once() {
    let arena = Arena::new();
    let all = "SystemCallFilter=@system-service|SystemCallFilter=~@privileged @resources|SystemCallErrorNumber=EPERM\
        |SystemCallArchitectures=native|SystemCallLog=~@known|RestrictAddressFamilies=AF_UNIX AF_INET\
        |RestrictNamespaces=yes|RestrictRealtime=yes|LockPersonality=yes|MemoryDenyWriteExecute=yes\
        |ProtectClock=yes|ProtectHostname=yes|ProtectKernelModules=yes|ProtectKernelLogs=yes\
        |ProtectKernelTunables=yes";
    let mut words = vec!["dynuser", "run", "-u", "box"];
    for property in all.split('|') {
        words.extend(["-p", property]);
    }
    words.extend([
        "grep",
        "-E",
        "^(Seccomp|NoNewPrivs|Seccomp_filters):",
        "/proc/self/status",
    ]);
    let out = arena.run(words).ok();
    assert_eq!(out, "NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n");
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_starts() {
    let arena = Arena::new();
    for (property, word) in [
        ("SystemCallFilter=~@mounts", "@mounts"),
        ("SystemCallFilter=~mont", "mont"),
        ("SystemCallFilter=read:EPERM", "read:EPERM"),
        ("SystemCallErrorNumber=EPREM", "EPREM"),
        ("RestrictAddressFamilies=INET", "INET"),
        ("RestrictNamespaces=mount", "mount"),
        ("SystemCallArchitectures=amd64", "amd64"),
    ] {
        let out = arena.run([
            "dynuser", "run", "-u", "box", "-p", property, "echo", "started",
        ]);
        assert!(
            !out.status.success() && out.stdout.is_empty(),
            "{property}: {out}"
        );
        assert!(out.stderr.contains(word), "{property}: {out}");
    }
}
