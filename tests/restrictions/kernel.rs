//! Namespaces, capabilities, and what a process is given to run with.

use super::case::{As, CASE, Case};
use super::support::Arena;

/// A host with a listener, processes, and IPC objects.
pub(super) fn host() -> (Arena, super::support::Running) {
    let arena = super::support::Builder::default().with_mqueue().start();
    let program = "import ctypes, os, socket
server = socket.create_server(('127.0.0.1', 7777)); here = socket.socket(socket.AF_UNIX); here.bind('\\0host'); here.listen()
libc = ctypes.CDLL(None); assert libc.shmget(0x1234, 4096, 0o1666) >= 0
os.umask(0); assert libc.mq_open(b'/host', 0o102, 0o666, None) >= 0
print('up', flush=True)
while True: server.accept()";
    let mut listener = arena.spawn(["python3", "-c", program]);
    assert_eq!(listener.line(), "up");
    arena
        .sh("umask 022; mkdir -m 0700 /var/lib/private; mkdir /var/lib/private/foreign; chown 65534:65534 /var/lib/private/foreign")
        .ok();
    (arena, listener)
}

const NAMESPACES: [Case; 6] = [
    Case {
        properties: &["PrivateNetwork=yes"],
        refused: &[
            ("connect(('127.0.0.1', 7777))", "ECONNREFUSED"),
            ("connect('\\0host', socket.AF_UNIX)", "ECONNREFUSED"),
        ],
        allowed: &[
            "over_loopback()",
            "expect(os.listdir('/sys/class/net') != [], True)",
        ],
        ..CASE
    },
    Case {
        properties: &["PrivateIPC=yes"],
        refused: &[
            ("shared_memory(0x1234)", "ENOENT"),
            ("queue(b'/host')", "ENOENT"),
            ("os.stat('/dev/mqueue/host')", "ENOENT"),
        ],
        allowed: &[
            "shared_memory(0x5555, 0o1600)",
            "queue(b'/own', 0o102)",
            "expect(os.listdir('/dev/mqueue'), ['own'])",
        ],
        ..CASE
    },
    // All rights, over nothing of the host's.
    Case {
        base: &["AmbientCapabilities=CAP_SYS_ADMIN CAP_NET_ADMIN CAP_SYS_TIME"],
        properties: &["PrivateUsers=yes"],
        refused: &[("checked(libc.sethostname(b'arena', 5))", "EPERM")],
        allowed: &[
            "expect(os.stat('/usr').st_uid, 0)",
            "expect(os.stat('/var/lib').st_uid, 0)",
            "write('/tmp')",
        ],
        ..CASE
    },
    Case {
        base: &["StateDirectory=foreign"],
        properties: &["PrivatePIDs=yes"],
        refused: &[],
        gained: &["expect(os.getpid(), 1)", "expect(processes(), [1])"],
        allowed: &[
            "write('/var/lib/foreign')",
            "expect(os.stat('/var/lib/foreign').st_uid, os.getuid())",
            "execute('/bin/true')",
        ],
        ..CASE
    },
    Case {
        base: &["StateDirectory=foreign"],
        properties: &[
            "PrivatePIDs=yes",
            "PrivateUsers=yes",
            "ProtectProc=invisible",
        ],
        refused: &[],
        gained: &["expect(processes(), [1])"],
        allowed: &["write('/var/lib/foreign')", "read('/proc/self/status')"],
        ..CASE
    },
    Case {
        who: As::Root,
        properties: &["PrivateUsers=yes"],
        refused: &[
            ("checked(libc.sethostname(b'arena', 5))", "EPERM"),
            ("chown()", "EINVAL"),
        ],
        allowed: &["expect(os.getuid(), 0)", "write('/tmp')"],
        ..CASE
    },
];

const RIGHTS: [Case; 7] = [
    Case {
        base: &["StateDirectory=st"],
        properties: &["AmbientCapabilities=CAP_NET_BIND_SERVICE"],
        gained: &["bind(80)", "expect(field('CapEff'), '0000000000000400')"],
        allowed: &[
            "expect(field('CapBnd'), field('CapEff'))",
            "fails('EPERM', lambda: os.setuid(0))",
            "fails('EPERM', lambda: os.chown('/var/lib/st', 1, 1))",
        ],
        ..CASE
    },
    Case {
        who: As::Root,
        properties: &["CapabilityBoundingSet=~CAP_CHOWN CAP_SYS_NICE"],
        refused: &[("chown()", "EPERM"), ("os.nice(-1)", "EPERM")],
        allowed: &["os.chmod('/tmp', 0o1777)", "os.setgid(5)"],
        ..CASE
    },
    Case {
        base: &["AmbientCapabilities=CAP_CHOWN CAP_NET_BIND_SERVICE"],
        properties: &["CapabilityBoundingSet=CAP_NET_BIND_SERVICE"],
        refused: &[("chown()", "EPERM")],
        allowed: &["bind(80)"],
        ..CASE
    },
    Case {
        properties: &["SecureBits=noroot noroot-locked"],
        gained: &["expect(prctl(27), 3)"],
        ..CASE
    },
    Case {
        base: &["AmbientCapabilities=CAP_NET_BIND_SERVICE"],
        properties: &["SecureBits=noroot noroot-locked"],
        gained: &["expect(prctl(27), 3)"],
        allowed: &["bind(80)"],
        ..CASE
    },
    Case {
        properties: &["PrivateUsers=yes", "SecureBits=no-setuid-fixup"],
        gained: &["expect(prctl(27), 4)"],
        ..CASE
    },
    Case {
        who: As::Root,
        properties: &["PrivateUsers=yes", "CapabilityBoundingSet=~CAP_SYS_CHROOT"],
        refused: &[("os.chroot('/')", "EPERM")],
        allowed: &["write('/tmp')"],
        ..CASE
    },
];

const RUNS_WITH: [Case; 4] = [
    Case {
        properties: &[
            "LimitNOFILE=50:60",
            "LimitCORE=0",
            "LimitFSIZE=4096",
            "LimitCPU=1h",
            "LimitSTACK=4M",
            "LimitAS=4G",
            "LimitNPROC=500",
            "LimitMEMLOCK=64K",
            "LimitLOCKS=11",
            "LimitSIGPENDING=12",
            "LimitMSGQUEUE=4K",
            "LimitNICE=0",
            "LimitRTPRIO=0",
            "LimitRTTIME=2s",
            "LimitDATA=2G",
            "LimitRSS=1G",
        ],
        refused: &[
            ("many_files()", "EMFILE"),
            ("fill('/tmp/large', 5000)", "EFBIG"),
            (
                "resource.setrlimit(resource.RLIMIT_NOFILE, (50, 61))",
                "not allowed to raise maximum limit",
            ),
        ],
        gained: &[
            "expect(resource.getrlimit(resource.RLIMIT_NOFILE), (50, 60))",
            "expect(resource.getrlimit(resource.RLIMIT_CPU), (3600, 3600))",
            "expect(resource.getrlimit(resource.RLIMIT_STACK)[0], 4 << 20)",
            "expect(resource.getrlimit(resource.RLIMIT_AS)[0], 4 << 30)",
            "expect(resource.getrlimit(resource.RLIMIT_NPROC)[0], 500)",
            "expect(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0], 64 << 10)",
            "expect(resource.prlimit(0, 10)[0], 11)",
            "expect(resource.getrlimit(resource.RLIMIT_SIGPENDING)[0], 12)",
            "expect(resource.getrlimit(resource.RLIMIT_MSGQUEUE)[0], 4096)",
            "expect(resource.getrlimit(resource.RLIMIT_RTTIME)[0], 2000000)",
            "expect(resource.getrlimit(resource.RLIMIT_DATA)[0], 2 << 30)",
            "expect(resource.getrlimit(resource.RLIMIT_RSS)[0], 1 << 30)",
        ],
        allowed: &[
            "expect(resource.getrlimit(resource.RLIMIT_CORE), (0, 0))",
            "expect(resource.getrlimit(resource.RLIMIT_NICE), (0, 0))",
            "expect(resource.getrlimit(resource.RLIMIT_RTPRIO), (0, 0))",
            "fill('/tmp/small', 4000)",
            "execute('/bin/true')",
        ],
        ..CASE
    },
    Case {
        properties: &[
            "Nice=7",
            "CPUSchedulingPolicy=batch",
            "CPUSchedulingResetOnFork=yes",
            "CPUAffinity=0",
            "IOSchedulingClass=idle",
            "OOMScoreAdjust=321",
            "TimerSlackNSec=123us",
            "CoredumpFilter=private-anonymous 0x10",
            "UMask=0027",
        ],
        gained: &[
            "expect(os.getpriority(os.PRIO_PROCESS, 0), 7)",
            "expect(os.sched_getscheduler(0), os.SCHED_BATCH | os.SCHED_RESET_ON_FORK)",
            "expect(call(252, 1, 0) >> 13, 3)",
            "expect(read('/proc/self/oom_score_adj'), b'321\\n')",
            "expect(prctl(30), 123000)",
            "expect(read('/proc/self/coredump_filter'), b'00000011\\n')",
            "expect(field('Umask'), '0027')",
        ],
        allowed: &["expect(os.sched_getaffinity(0), {0})"],
        ..CASE
    },
    Case {
        properties: &[
            "CPUSchedulingPolicy=rr",
            "CPUSchedulingPriority=5",
            "Nice=-3",
        ],
        gained: &[
            "expect((os.sched_getscheduler(0), os.sched_getparam(0).sched_priority), (os.SCHED_RR, 5))",
            "expect(os.getpriority(os.PRIO_PROCESS, 0), -3)",
        ],
        allowed: &["execute('/bin/true')"],
        ..CASE
    },
    Case {
        base: &["PrivateUsers=yes", "PrivatePIDs=yes"],
        properties: &[
            "IOSchedulingClass=best-effort",
            "IOSchedulingPriority=6",
            "OOMScoreAdjust=432",
            "TimerSlackNSec=77",
        ],
        gained: &[
            "expect(call(252, 1, 0), 2 << 13 | 6)",
            "expect(read('/proc/self/oom_score_adj'), b'432\\n')",
            "expect(prctl(30), 77)",
        ],
        ..CASE
    },
];

#[test]
fn namespaces_of_its_own_show_nothing_of_the_host() {
    let (arena, _listener) = host();
    NAMESPACES.iter().for_each(|case| case.try_in(&arena));
    // What was made in them is gone with them, and the host's is still there.
    arena.wait_until_idle();
    let left = arena
        .sh("ls /dev/mqueue; cut -c1-10 /proc/sysvipc/shm")
        .ok();
    assert_eq!(
        left.split_whitespace().collect::<Vec<_>>(),
        ["host", "key", "4660"]
    );
}

#[test]
fn a_network_namespace_that_somebody_made_is_entered() {
    let (arena, _listener) = host();
    arena
        .sh("touch /run/net; unshare -n sh -c 'mount --bind /proc/self/ns/net /run/net; echo 0x9 >/dev/null'")
        .ok();
    Case {
        properties: &["NetworkNamespacePath=/run/net"],
        refused: &[
            ("connect(('127.0.0.1', 7777))", "ENETUNREACH"),
            ("connect('\\0host', socket.AF_UNIX)", "ECONNREFUSED"),
        ],
        allowed: &["socket.socket().close()"],
        ..CASE
    }
    .try_in(&arena);
}

#[test]
fn rights_are_those_that_are_named() {
    let (arena, _listener) = host();
    RIGHTS.iter().for_each(|case| case.try_in(&arena));
}

#[test]
fn limits_and_scheduling_are_in_force() {
    let (arena, _listener) = host();
    RUNS_WITH.iter().for_each(|case| case.try_in(&arena));
}

#[test]
fn a_broken_pipe_ends_a_service_that_says_so() {
    let arena = Arena::new();
    for (property, ignored) in [("IgnoreSIGPIPE=yes", true), ("IgnoreSIGPIPE=no", false)] {
        let words = [
            "dynuser",
            "run",
            "-u",
            "box",
            "-p",
            property,
            "grep",
            "SigIgn",
            "/proc/self/status",
        ];
        let out = arena.run(words).ok();
        let mask = u64::from_str_radix(out.split_whitespace().last().unwrap(), 16).unwrap();
        assert_eq!(mask & 1 << 12 != 0, ignored, "{property}: {out}");
    }
}
