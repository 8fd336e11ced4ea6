//! Forbidden acts, tried from inside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::{Arena, Output, dynamic_uid, wait_until};

/// `dynuser run -u box …`, to its end.
fn run(arena: &Arena, words: &[&str]) -> Output {
    arena.run(["dynuser", "run", "-u", "box"].iter().chain(words))
}

/// A Python program inside the sandbox, with `attempt(what, act)`, which prints how it went.
fn python(arena: &Arena, properties: &[&str], program: &str) -> String {
    const ATTEMPT: &str = "
import ctypes, errno, fcntl, os, stat, struct
libc = ctypes.CDLL(None, use_errno=True)
def syscall(number, *words):
    if (result := libc.syscall(number, *words)) < 0:
        raise OSError(ctypes.get_errno(), '')
    return result
def attempt(what, act):
    try:
        act()
        print(what, 'OK')
    except OSError as error:
        print(what, errno.errorcode[error.errno])
";
    let program = format!("{ATTEMPT}{program}");
    let words = [properties, &["/usr/bin/python3", "-I", "-c", &program]].concat();
    run(arena, &words).ok()
}

/// The lines of `text` that do not end with `expected`.
fn unexpected<'a>(text: &'a str, expected: &str) -> Vec<&'a str> {
    assert!(!text.is_empty());
    text.lines()
        .filter(|line| !line.ends_with(expected))
        .collect()
}

#[test]
fn nothing_of_the_system_is_writable_not_even_for_root_inside() {
    let arena = Arena::new();
    let script = "for d in / /etc /usr /usr/bin /opt /boot /home /root /mnt /run /run/lock /run/dynuser \
         /run/dynuser/users /run/dynuser/leases /var /var/lib /var/cache /var/log /var/lib/private; do
           test -d $d || continue
           if touch $d/x 2>/dev/null; then echo \"$d written\"; else echo \"$d kept\"; fi
         done";
    for shell in ["sh", "!sh"] {
        let text = run(&arena, &["-p", "StateDirectory=box", shell, "-c", script]).ok();
        assert_eq!(unexpected(&text, " kept"), Vec::<&str>::new(), "{shell}");
        assert!(text.lines().count() > 12, "{text}");
    }
    let words = [
        "!sh",
        "-c",
        "touch /run/x /etc/x; mount -o remount,rw /run; touch /run/lock/x",
    ];
    assert!(run(&arena, &words).stderr.contains("Read-only file system"));
}

#[test]
fn only_its_own_directories_are_writable() {
    let arena = Arena::new();
    // As systemd's own test of strict mode looks for them (TEST-34).
    let script = "find / -path /proc -prune -o -path /sys -prune -o -path /usr -prune -o -type d -writable -print 2>/dev/null | sort";
    let words = [
        "-p",
        "StateDirectory=box",
        "-p",
        "RuntimeDirectory=box",
        "sh",
        "-c",
        script,
    ];
    let text = run(&arena, &words).ok();
    let expected = [
        "/dev/shm",
        "/run/box",
        "/tmp",
        "/var/lib/private/box",
        "/var/tmp",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn another_services_state_is_out_of_reach() {
    let arena = Arena::new();
    let secret = "echo secret > /var/lib/other/key; chmod 0644 /var/lib/other/key; exec sleep 1000";
    let mut other = arena.spawn([
        "dynuser",
        "run",
        "-u",
        "other",
        "-p",
        "StateDirectory=other",
        "sh",
        "-c",
        secret,
    ]);
    other.wait_exec("sleep");
    let script = "cat /var/lib/other/key /var/lib/private/other/key; ls /var/lib/private; \
         cat /proc/$1/root/var/lib/private/other/key; kill $1; true";
    let words = [
        "-p",
        "StateDirectory=box",
        "sh",
        "-c",
        script,
        "sh",
        &other.pid(),
    ];
    let with_state = run(&arena, &words);
    assert_eq!(with_state.stdout, "box\n", "{with_state}");
    let without_state = run(&arena, &[&["sh"], &words[3..]].concat());
    assert_eq!(without_state.stdout, "", "{without_state}");
    assert!(other.runs());
}

#[test]
fn it_has_no_privileges_and_cannot_get_any() {
    let arena = Arena::new();
    let status = run(&arena, &["cat", "/proc/self/status"]).ok();
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap_or_else(|| panic!("no {name} in {status}"))
            .trim()
            .to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(field("Seccomp"), "2");
    assert_eq!(field("Umask"), "0022");
    let uid = field("Uid").split_whitespace().next().unwrap().to_owned();
    dynamic_uid(&uid);
    assert_eq!(field("Uid"), [&*uid; 4].join("\t"));
    assert_eq!(field("Gid"), [&*uid; 4].join("\t"));
    assert_eq!(field("Groups"), uid);

    arena
        .sh("cp /usr/bin/id /usr/local/sbin/id-of-root && chmod 6755 /usr/local/sbin/id-of-root")
        .ok();
    assert_eq!(run(&arena, &["id-of-root", "-u"]).ok().trim(), uid);
    assert_eq!(run(&arena, &["id-of-root", "-g"]).ok().trim(), uid);
    let mounts = run(&arena, &["cat", "/proc/self/mountinfo"]).ok();
    let with_set_id: Vec<&str> = mounts
        .lines()
        .filter(|line| {
            !line
                .split(' ')
                .nth(5)
                .unwrap()
                .split(',')
                .any(|flag| flag == "nosuid")
        })
        .collect();
    assert_eq!(with_set_id, Vec::<&str>::new());
    run(&arena, &["unshare", "-m", "true"]).fails(1);
    assert!(
        !run(&arena, &["setpriv", "--reuid=0", "true"])
            .status
            .success()
    );
}

#[test]
fn root_inside_keeps_the_sandbox() {
    let arena = Arena::new();
    let status = run(&arena, &["!cat", "/proc/self/status"]).ok();
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    assert!(status.contains("Seccomp:\t2\n"), "{status}");
}

#[test]
fn files_with_set_id_bits_cannot_be_made() {
    let arena = Arena::new();
    let text = python(
        &arena,
        &["-p", "StateDirectory=box"],
        "
for d in ['/tmp', '/var/lib/box', '/dev/shm']:
    f = d + '/f'
    fd = os.open(f, os.O_CREAT | os.O_RDWR, 0o644)
    for bits in [0o4755, 0o2755, 0o6000]:
        at = f'{d} {bits:o}'
        attempt(at + ' chmod', lambda: os.chmod(f, bits))
        attempt(at + ' fchmod', lambda: os.fchmod(fd, bits))
        attempt(at + ' fchmodat', lambda: syscall(268, -100, f.encode(), bits))
        attempt(at + ' fchmodat2', lambda: syscall(452, -100, f.encode(), bits, 0))
        attempt(at + ' open', lambda: os.open(d + '/o', os.O_CREAT | os.O_WRONLY, bits))
        attempt(at + ' creat', lambda: syscall(85, (d + '/c').encode(), bits))
        attempt(at + ' tmpfile', lambda: os.open(d, os.O_TMPFILE | os.O_WRONLY, bits))
        attempt(at + ' mknod', lambda: os.mknod(d + '/n', bits | stat.S_IFREG))
        attempt(at + ' mkfifo', lambda: os.mknod(d + '/p', bits | stat.S_IFIFO))
    attempt(d + ' mkdir', lambda: syscall(83, (d + '/d').encode(), 0o2755))
    attempt(d + ' mkdirat', lambda: syscall(258, -100, (d + '/d').encode(), 0o2755))
",
    );
    assert_eq!(unexpected(&text, " EPERM"), Vec::<&str>::new());
}

#[test]
fn ordinary_modes_and_openat2_work() {
    let arena = Arena::new();
    let text = python(
        &arena,
        &[],
        "
f = b'/tmp/f'
how = struct.pack('QQQ', os.O_CREAT | os.O_RDWR, 0o640, 0)
attempt('openat2', lambda: syscall(437, -100, f, how, len(how)))
attempt('chmod', lambda: os.chmod(f, 0o1777))
attempt('fchmodat2', lambda: syscall(452, -100, f, 0o600, 0))
attempt('open', lambda: os.open(f, os.O_RDONLY, 0o4755))
attempt('mkdir', lambda: os.mkdir('/tmp/d', 0o1777))
attempt('mkfifo', lambda: os.mkfifo('/tmp/p', 0o644))
",
    );
    assert_eq!(unexpected(&text, " OK"), Vec::<&str>::new());
}

#[test]
fn nothing_is_typed_into_the_callers_terminal() {
    // Not a terminal: where the kernel sees the call it says ENOTTY. The filter answers before.
    let text = python(&Arena::new(), &[], "
null = os.open('/dev/null', os.O_RDWR)
attempt('TIOCSTI', lambda: fcntl.ioctl(null, 0x5412, b'x'))
attempt('TIOCSTI with garbage above', lambda: syscall(16, null, ctypes.c_ulong(0xdead00005412), b'x'))
");
    assert_eq!(unexpected(&text, " EPERM"), Vec::<&str>::new());
}

#[test]
fn no_descriptor_of_the_caller_gets_in() {
    let arena = Arena::new();
    arena.put(
        "/run/fds.py",
        "import os
for fd in range(3, 1024):
    try: print(fd, os.readlink(f'/proc/self/fd/{fd}'), os.fstat(fd))
    except OSError: pass
",
        0o644,
    );
    for mode in ["", "--pipe", "--wait"] {
        let script = format!(
            "exec 7</etc/passwd 8>/run/leak 9</; exec dynuser run {mode} python3 -I /run/fds.py"
        );
        assert_eq!(arena.sh(&script).ok(), "", "{mode}");
    }
}

#[test]
fn the_environment_is_made_anew() {
    let arena = Arena::new();
    let words = [
        "dynuser",
        "run",
        "-u",
        "box",
        "-p",
        "StateDirectory=box",
        "-p",
        "Environment=A=1 \"B=two words\"",
        "-E",
        "C=3",
        "--setenv=D",
        "-E",
        "MISSING",
        "env",
    ];
    let evil = arena
        .command(words)
        .env("EVIL", "1")
        .env("LD_PRELOAD", "/x")
        .env("D", "4")
        .env("HOME", "/root");
    let text = evil.run().ok();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let id = lines
        .iter()
        .position(|line| line.starts_with("INVOCATION_ID="))
        .expect("INVOCATION_ID");
    let id = lines.remove(id).split_once('=').unwrap().1;
    assert!(
        id.len() == 32
            && id
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
        "{id}"
    );
    assert_eq!(
        lines,
        [
            "A=1",
            "B=two words",
            "C=3",
            "D=4",
            "HOME=/var/lib/box",
            "LANG=C.UTF-8",
            "LOGNAME=box",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
            "STATE_DIRECTORY=/var/lib/box",
            "USER=box",
        ]
    );
    let home = |words: &[&str]| run(&arena, &[words, &["printenv", "HOME"]].concat()).ok();
    assert_eq!(home(&["-p", "RuntimeDirectory=r"]), "/run/r\n");
    assert_eq!(home(&[]), "/\n");
    assert_eq!(home(&["-E", "HOME=/tmp"]), "/tmp\n");
}

#[test]
fn umask_signals_and_working_directory_are_ordinary() {
    let arena = Arena::new();
    let script = "umask 077; cd /usr; trap '' PIPE HUP; dynuser run sh -c 'umask; pwd'; dynuser run grep -E 'SigBlk|SigIgn' /proc/self/status";
    let text = arena.sh(script).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(&lines[..2], ["0022", "/"]);
    assert_eq!(lines[2], "SigBlk:\t0000000000000000");
    // SIGHUP alone: nohup works. Of SIGPIPE nobody can tell whether the caller or Rust ignored it.
    let ignored = lines[3].strip_prefix("SigIgn:\t").expect("a line");
    let ignored = u64::from_str_radix(ignored, 16).expect("a mask");
    // 32 and 33 are the C library's own, and no program can change them.
    assert_eq!(ignored & !(0b11 << 31), 1, "{text}");
}

#[test]
fn mounts_of_the_host_arrive_and_its_own_do_not_leave() {
    let arena = Arena::new();
    arena.sh("mount --make-rshared / && mkdir /mnt/late").ok();
    arena.run(["dynuser", "run", "true"]).ok();
    arena.wait_until_idle();
    let before = arena.mounts();
    let mut service = arena.spawn([
        "dynuser",
        "run",
        "-u",
        "box",
        "-p",
        "StateDirectory=box",
        "sleep",
        "1000",
    ]);
    service.wait_exec("sleep");
    let mount_points = |mounts: Vec<String>| -> Vec<String> {
        mounts
            .iter()
            .map(|line| line.split(' ').nth(4).unwrap().to_owned())
            .collect()
    };
    assert_eq!(mount_points(arena.mounts()), mount_points(before));
    let inside = format!("/proc/{}/mountinfo", service.pid());
    let arrived = || {
        arena
            .run(["cat", &inside])
            .ok()
            .lines()
            .any(|line| line.contains(" /mnt/late "))
    };
    assert!(!arrived());
    arena.sh("mount -t tmpfs none /mnt/late").ok();
    wait_until("a later mount has arrived in the sandbox", arrived);
}
