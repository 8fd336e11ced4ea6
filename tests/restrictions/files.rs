//! What the service sees of the file system.

use super::case::{As, CASE, Case};
use super::support::Arena;

/// A host with something to protect.
pub(super) fn host() -> Arena {
    let arena = Arena::new();
    arena
        .sh(
            "umask 022; mkdir -p /home/ann /run/user/5 /usr/lib/modules/6 /sys/fs/cgroup /mnt/here
             chmod 755 /root; for home in /home/ann /root /run/user/5; do echo x >$home/file; done
             mkdir -p /srv/data/sub/deep /srv/data/secret /srv/other; echo x >/srv/data/file
             chmod 777 /srv/data /srv/data/sub /srv/data/sub/deep /srv/data/secret /srv/other
             ln -s data/sub /srv/alias; ln -s srv/data /way; cp /bin/true /srv/data/program
             mount -t tmpfs tmpfs /sys/fs/cgroup
             mknod -m 666 /dev/fake c 1 3; mknod -m 666 /dev/rtc0 c 1 3; mknod -m 666 /dev/kmsg c 1 11",
        )
        .ok();
    arena
}

const HOMES: [Case; 3] = [
    Case {
        properties: &["ProtectHome=yes"],
        refused: &[
            ("os.listdir('/home')", "EACCES"),
            ("read('/home/ann/file')", "EACCES"),
            ("read('/root/file')", "EACCES"),
            ("read('/run/user/5/file')", "EACCES"),
        ],
        allowed: &["os.listdir('/srv')", "os.listdir('/run')"],
        ..CASE
    },
    Case {
        properties: &["ProtectHome=tmpfs"],
        refused: &[
            ("read('/home/ann/file')", "ENOENT"),
            ("read('/root/file')", "ENOENT"),
            ("read('/run/user/5/file')", "ENOENT"),
        ],
        allowed: &[
            "expect(os.listdir('/home') + os.listdir('/root') + os.listdir('/run/user'), [])",
            "fails('EROFS', lambda: write('/home'))",
        ],
        ..CASE
    },
    Case {
        who: As::Root,
        properties: &["ProtectHome=read-only"],
        allowed: &[
            "read('/home/ann/file')",
            "fails('EROFS', lambda: write('/home/ann'))",
            "fails('EROFS', lambda: write('/root'))",
        ],
        ..CASE
    },
];

const DEVICES: [Case; 2] = [
    Case {
        properties: &["PrivateDevices=yes"],
        refused: &[("read('/dev/fake')", "ENOENT")],
        allowed: &[
            "open('/dev/null', 'w').write('x')",
            "expect(len(open('/dev/urandom', 'rb').read(8)), 8)",
            "expect(open('/dev/zero', 'rb').read(1), b'\\0')",
            "fails('ENOSPC', lambda: os.write(os.open('/dev/full', os.O_WRONLY), b'x'))",
            "write('/dev/shm')",
            "os.close(os.openpty()[0])",
        ],
        ..CASE
    },
    Case {
        who: As::Root,
        properties: &["PrivateDevices=yes"],
        refused: &[
            ("node()", "EPERM"),
            ("write('/dev')", "EROFS"),
            // ioperm(2).
            ("call(173, 0x80, 1, 1)", "EPERM"),
        ],
        allowed: &["os.mkfifo('/tmp/fifo')", "chown()"],
        ..CASE
    },
];

const KERNEL: [Case; 9] = [
    Case {
        who: As::Root,
        properties: &["ProtectControlGroups=yes"],
        refused: &[("write('/sys/fs/cgroup')", "EROFS")],
        allowed: &["os.listdir('/sys/fs/cgroup')"],
        ..CASE
    },
    Case {
        who: As::Root,
        properties: &["ProtectKernelTunables=yes"],
        refused: &[
            ("open('/proc/sys/kernel/domainname', 'w')", "EROFS"),
            ("open('/sys/class/net/lo/flags', 'w')", "EROFS"),
        ],
        allowed: &[
            "write('/sys/fs/cgroup')",
            "read('/proc/sys/kernel/domainname')",
            "os.listdir('/sys/class')",
        ],
        ..CASE
    },
    Case {
        properties: &["ProtectKernelTunables=yes"],
        refused: &[("read('/proc/kallsyms')", "EACCES")],
        allowed: &["read('/proc/uptime')"],
        ..CASE
    },
    Case {
        properties: &["ProtectKernelModules=yes"],
        refused: &[("os.listdir('/usr/lib/modules')", "EACCES")],
        allowed: &["os.listdir('/usr/lib')"],
        ..CASE
    },
    Case {
        properties: &["ProtectKernelLogs=yes"],
        refused: &[("os.open('/dev/kmsg', os.O_WRONLY)", "EACCES")],
        allowed: &["open('/dev/null', 'w').write('x')"],
        ..CASE
    },
    Case {
        properties: &["ProtectClock=yes"],
        refused: &[("read('/dev/rtc0')", "EACCES")],
        allowed: &["read('/dev/null')"],
        ..CASE
    },
    Case {
        properties: &["ProtectProc=invisible"],
        refused: &[("os.stat('/proc/1')", "ENOENT")],
        allowed: &[
            "read('/proc/self/status')",
            "expect(1 in processes(), False)",
        ],
        ..CASE
    },
    Case {
        properties: &["ProtectProc=ptraceable"],
        refused: &[("os.stat('/proc/1')", "ENOENT")],
        allowed: &["read('/proc/self/status')", "read('/proc/uptime')"],
        ..CASE
    },
    Case {
        properties: &["ProcSubset=pid"],
        refused: &[("read('/proc/uptime')", "ENOENT")],
        allowed: &["read('/proc/self/status')", "os.stat('/proc/1')"],
        ..CASE
    },
];

const PATHS: [Case; 12] = [
    Case {
        properties: &["ReadWritePaths=/srv/data -/srv/missing"],
        gained: &["write('/srv/data')", "write('/srv/data/sub/deep')"],
        allowed: &["fails('EROFS', lambda: write('/srv/other'))"],
        ..CASE
    },
    // An inner path wins, both ways, and by whatever name.
    Case {
        base: &["ReadWritePaths=/srv/data"],
        properties: &[
            "ReadOnlyPaths=/srv/data/sub",
            "ReadWritePaths=/srv/data/sub/deep",
        ],
        refused: &[("write('/srv/data/sub')", "EROFS")],
        allowed: &["write('/srv/data')", "write('/srv/data/sub/deep')"],
        ..CASE
    },
    Case {
        base: &["ReadWritePaths=/srv/data"],
        properties: &["ReadOnlyPaths=/srv/alias"],
        refused: &[("write('/srv/data/sub')", "EROFS")],
        allowed: &["write('/srv/data')"],
        ..CASE
    },
    Case {
        base: &["ReadOnlyPaths=/srv/data/sub"],
        properties: &["ReadWritePaths=/way"],
        gained: &["write('/srv/data')"],
        allowed: &["fails('EROFS', lambda: write('/srv/data/sub'))"],
        ..CASE
    },
    Case {
        properties: &["ReadOnlyPaths=/tmp"],
        refused: &[("write('/tmp')", "EROFS")],
        allowed: &["write('/var/tmp')", "os.listdir('/tmp')"],
        ..CASE
    },
    Case {
        properties: &["InaccessiblePaths=/srv/data/secret /srv/data/file -/srv/missing"],
        refused: &[
            ("os.listdir('/srv/data/secret')", "EACCES"),
            ("read('/srv/data/file')", "EACCES"),
        ],
        allowed: &["os.listdir('/srv/data')", "read('/srv/data/program')"],
        ..CASE
    },
    Case {
        who: As::Root,
        base: &["ReadWritePaths=/srv/data"],
        properties: &["InaccessiblePaths=/way/secret"],
        refused: &[("write('/srv/data/secret')", "EROFS")],
        allowed: &["write('/srv/data')"],
        ..CASE
    },
    Case {
        properties: &["NoExecPaths=/", "ExecPaths=/usr -/bin -/lib -/lib64"],
        refused: &[
            ("execute_copy('/tmp')", "EACCES"),
            ("execute_copy('/dev/shm')", "EACCES"),
            ("execute('/srv/data/program')", "EACCES"),
        ],
        allowed: &["execute('/bin/true')", "read('/srv/data/program')"],
        ..CASE
    },
    Case {
        properties: &["NoExecPaths=/srv", "ExecPaths=/srv/data/program"],
        refused: &[],
        allowed: &["execute('/srv/data/program')", "execute('/bin/true')"],
        ..CASE
    },
    // The service's own directory, by its public name, which is a link.
    Case {
        base: &[
            "StateDirectory=st",
            "NoExecPaths=/",
            "ExecPaths=/usr -/bin -/lib -/lib64",
        ],
        properties: &["ExecPaths=/var/lib/st"],
        gained: &["execute_copy('/var/lib/st')"],
        allowed: &[
            "fails('EACCES', lambda: execute_copy('/tmp'))",
            "write('/var/lib/st')",
        ],
        ..CASE
    },
    Case {
        base: &["StateDirectory=st st/sub st/in/deep"],
        properties: &[
            "ReadOnlyPaths=/var/lib/st/in",
            "InaccessiblePaths=/var/lib/st/sub",
            "ReadWritePaths=/var/lib/st/in/deep",
        ],
        refused: &[
            ("write('/var/lib/st/in')", "EROFS"),
            ("os.listdir('/var/lib/st/sub')", "EACCES"),
        ],
        allowed: &["write('/var/lib/st')", "write('/var/lib/st/in/deep')"],
        ..CASE
    },
    // What is around its own places does not bring the host's back.
    Case {
        base: &["StateDirectory=st", "ProtectHome=yes"],
        properties: &["ReadWritePaths=/var/lib /run"],
        allowed: &[
            "write('/var/lib/st')",
            "expect(os.listdir('/var/lib/private'), ['st'])",
            "fails('EACCES', lambda: os.listdir('/run/user'))",
        ],
        ..CASE
    },
];

const BINDS: [Case; 4] = [
    Case {
        properties: &["BindPaths=/srv/data:/mnt/here -/srv/missing"],
        gained: &["write('/mnt/here')", "read('/mnt/here/file')"],
        allowed: &["fails('EROFS', lambda: write('/srv/data'))"],
        ..CASE
    },
    Case {
        properties: &["BindReadOnlyPaths=/srv/data:/mnt/here /srv/data/file:/etc/motd"],
        gained: &[
            "read('/mnt/here/file')",
            "expect(read('/etc/motd'), b'x\\n')",
        ],
        allowed: &["fails('EROFS', lambda: write('/mnt/here'))"],
        ..CASE
    },
    Case {
        base: &["BindPaths=/srv/data:/mnt/here"],
        properties: &["ReadOnlyPaths=/mnt/here/sub"],
        refused: &[("write('/mnt/here/sub')", "EROFS")],
        allowed: &["write('/mnt/here')"],
        ..CASE
    },
    Case {
        base: &["TemporaryFileSystem=/mnt"],
        properties: &[
            "BindPaths=/srv/data:/mnt/new/place",
            "BindReadOnlyPaths=/srv/data/file:/mnt/one",
        ],
        gained: &["write('/mnt/new/place')", "read('/mnt/one')"],
        allowed: &["expect(os.path.exists('/mnt/here'), False)"],
        ..CASE
    },
];

#[test]
fn homes_and_devices_are_out_of_reach() {
    let arena = host();
    HOMES
        .iter()
        .chain(&DEVICES)
        .for_each(|case| case.try_in(&arena));
}

#[test]
fn the_kernels_trees_are_protected() {
    let arena = host();
    KERNEL.iter().for_each(|case| case.try_in(&arena));
}

#[test]
fn processes_of_others_show_nothing_of_themselves() {
    let arena = host();
    Case {
        properties: &["ProtectProc=noaccess"],
        refused: &[("read('/proc/1/cmdline')", "EPERM")],
        allowed: &["os.stat('/proc/1')", "read('/proc/self/cmdline')"],
        ..CASE
    }
    .try_in(&arena);
}

#[test]
fn rules_about_paths_hold_inside_out() {
    let arena = host();
    PATHS.iter().for_each(|case| case.try_in(&arena));
}

#[test]
fn a_socket_is_out_of_reach_too() {
    let arena = host();
    let program = "import os, socket
server = socket.socket(socket.AF_UNIX); server.bind('/run/socket'); server.listen(); os.chmod('/run/socket', 0o666)
print('up', flush=True)
server.accept()";
    let mut server = arena.spawn(["python3", "-c", program]);
    assert_eq!(server.line(), "up");
    Case {
        properties: &["InaccessiblePaths=/run/socket"],
        refused: &[("connect('/run/socket', socket.AF_UNIX)", "EACCES")],
        allowed: &["os.listdir('/run')"],
        ..CASE
    }
    .try_in(&arena);
}

#[test]
fn what_is_bound_is_seen_and_nothing_else_is_written() {
    let arena = host();
    BINDS.iter().for_each(|case| case.try_in(&arena));
}

#[test]
fn the_system_cannot_be_asked_for_as_a_whole() {
    let arena = host();
    for property in [
        "ReadWritePaths=/",
        "InaccessiblePaths=/",
        "BindPaths=/srv/data:/",
    ] {
        let words = [
            "dynuser", "run", "-u", "box", "-p", property, "echo", "started",
        ];
        let message = arena.run(words).fails(1);
        assert!(message.contains(property), "{message}");
    }
}

#[test]
fn what_must_be_there_and_is_not_stops_the_start() {
    let arena = host();
    for property in [
        "InaccessiblePaths=/srv/missing",
        "ReadOnlyPaths=/tmp/missing",
        "ReadWritePaths=/srv/missing",
        "NoExecPaths=/srv/missing",
        "BindPaths=/srv/missing:/mnt/here",
        "BindReadOnlyPaths=/srv/data:/mnt/nowhere",
    ] {
        let words = [
            "dynuser", "run", "-u", "box", "-p", property, "echo", "started",
        ];
        let out = arena.run(words);
        assert_eq!(out.stdout, "", "{property}");
        assert!(
            out.stderr.contains("/srv/missing")
                || out.stderr.contains("missing")
                || out.stderr.contains("/mnt/nowhere"),
            "{property}: {out}"
        );
        out.fails(226);
    }
}
