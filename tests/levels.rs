//! The levels of the sandbox below full, in a container that has no mount namespaces to give: refusals that say what is
//! missing, what each level keeps a service from, and what is left of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

#[path = "levels/boundary.rs"]
mod boundary;

use support::inside::compiled;
use support::{Arena, Builder, Output, Running, dynamic_uid, wait_until};

const CONTAINER: &str = "/usr/local/bin/container";

/// What a service at each of the weaker levels is.
const NOTHING: &str = "Uid:\tN\tN\tN\tN|Gid:\tN\tN\tN\tN|CapInh:\t0|CapPrm:\t0|CapEff:\t0|CapBnd:\t0|CapAmb:\t0|NoNewPrivs:\t1|Seccomp:\t2";

/// A host with message queues, where commands can be run as in a container, and with places that anybody may write to.
fn host() -> Arena {
    let program = compiled("levels/container.c");
    let builder = Builder::default().with_mqueue().with_module();
    let arena = builder.with_program(program, CONTAINER).start();
    arena
        .sh("mkdir -m 1777 /mnt/open && echo old > /mnt/open/file && chmod 666 /mnt/open/file && mkdir -m 777 /mnt/open/dir")
        .ok();
    arena
}

/// The words of a service `name` at a level, in a container.
fn words<'a>(name: &'a str, level: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let run = [
        "container",
        "dynuser",
        "run",
        "-u",
        name,
        "--sandbox",
        level,
    ];
    [&run[..], more].concat()
}

/// Runs a script as such a service, to its very end.
fn run(arena: &Arena, name: &str, level: &str, more: &[&str], script: &str) -> Output {
    let output = arena.run([&words(name, level, more)[..], &["sh", "-c", script]].concat());
    arena.wait_until_idle();
    output
}

/// Ends the daemon of the container: it may not look at processes that have more rights than it.
fn leave_container(arena: &Arena) {
    arena.wait_until_idle();
    arena.kill_daemons();
}

/// Starts a service that says `up` and stays until its input is closed, and does then what it is told line by line.
fn spawn(arena: &Arena, name: &str, level: &str, more: &[&str]) -> Running {
    let script = "echo up; while read -r line; do eval \"$line\"; echo \"= $?\"; done 2>&1";
    let mut service = arena.spawn([&words(name, level, more)[..], &["sh", "-c", script]].concat());
    assert_eq!(service.line(), "up");
    service
}

/// Lets such a service do something, and gives what it said and its status.
fn tell(service: &mut Running, what: &str) -> (String, String) {
    service.say(what);
    let mut said = String::new();
    loop {
        let line = service.line();
        match line.strip_prefix("= ") {
            Some(status) => return (said, status.into()),
            None => said.push_str(&format!("{line}\n")),
        }
    }
}

/// The lines of `/proc/self/status` that tell what a process may do, with `N` for its number and without zeroes.
const STATUS: &str = "grep -E '^(Uid|Gid|Cap...|NoNewPrivs|Seccomp):' /proc/self/status | sed s/$(id -u)/N/g\\;s/0000000000000000/0/ | paste -sd'|'";

#[test]
fn full_is_refused_with_what_is_missing_and_what_accepts_less() {
    for (flags, reason, landlock) in [
        (
            &[][..],
            "unshare(mnt): Operation not permitted: the daemon has no CAP_SYS_ADMIN",
            true,
        ),
        (
            &["-u"],
            "unshare(mnt): Operation not permitted: the daemon has no CAP_SYS_ADMIN",
            true,
        ),
        (
            &["-m"],
            "mount_setattr(/): Permission denied: a security module forbids it",
            true,
        ),
        (
            &["-L"],
            "unshare(mnt): Operation not permitted: the daemon has no CAP_SYS_ADMIN",
            false,
        ),
    ] {
        let arena = host();
        let service = [
            "dynuser",
            "run",
            "-u",
            "full",
            "-p",
            "StateDirectory=full",
            "id",
        ];
        let said = arena
            .run([&["container"], flags, &service[..]].concat())
            .fails(226);
        assert!(said.contains(reason), "{flags:?}: {said}");
        assert!(said.contains("--sandbox=identity accepts"), "{said}");
        assert!(said.contains("Neither is ever chosen by itself"), "{said}");
        assert_eq!(
            said.contains("--sandbox=landlock accepts"),
            landlock,
            "{said}"
        );
        assert_eq!(
            said.contains("--sandbox=landlock is not possible here"),
            !landlock,
            "{said}"
        );
        assert_eq!(arena.list(), Vec::<serde_json::Value>::new());
        // Where mounts are possible, the same daemon would have made them: nothing was weakened.
        assert_eq!(
            arena
                .sh("ls -A /var/lib/private/full; ls -A /run/dynuser/tmp")
                .ok(),
            ""
        );
    }
}

#[test]
fn a_level_without_landlock_is_not_taken_for_one_with_it() {
    let arena = host();
    let service = [
        "container",
        "-L",
        "dynuser",
        "run",
        "-u",
        "a",
        "--sandbox=landlock",
        "id",
    ];
    let said = arena.run(service).fails(226);
    assert!(said.contains("landlock_create_ruleset"), "{said}");
    for (words, said) in [
        (
            &["--sandbox=none"][..],
            "neither full, landlock nor identity",
        ),
        (
            &["--sandbox=landlock", "-p", "DynamicUser=no"],
            "Sandbox=: is in force with DynamicUser=yes only",
        ),
    ] {
        let refused = arena
            .run([&["dynuser", "run", "-u", "a"], words, &["id"]].concat())
            .fails(1);
        assert!(refused.contains(said), "{refused}");
    }
    leave_container(&arena);
    let held = [
        "dynuser",
        "acquire",
        "-u",
        "a",
        "-p",
        "Sandbox=identity",
        "sh",
        "-c",
        "exec id -u $DYNUSER_USER",
    ];
    dynamic_uid(&arena.run(held).ok());
}

/// What a service does outside of its own directories, whatever its modes are, each with the path of its witness.
const OUTSIDE: &[&str] = &[
    "echo x >> /mnt/open/file",
    ": > /mnt/open/file",
    "python3 -c 'import os; os.truncate(\"/mnt/open/file\", 0)'",
    "python3 -c 'import os; os.open(\"/mnt/open/file\", os.O_RDONLY | os.O_TRUNC)'",
    "rm -f /mnt/open/dir/victim",
    "mv /mnt/open/dir/victim /mnt/open/dir/moved",
    "mv /mnt/open/dir/victim $STATE_DIRECTORY/",
    "ln /mnt/open/dir/victim /mnt/open/dir/second",
    "ln -s /etc/passwd /mnt/open/link",
    "mkdir /mnt/open/made",
    "mkfifo /mnt/open/fifo",
    "touch /mnt/open/new /tmp/new",
    "touch /var/tmp/new",
    "rmdir /mnt/open/dir/empty",
    "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/mnt/open/socket\")'",
    "touch $STATE_DIRECTORY/up; mv $STATE_DIRECTORY/up /mnt/open/up",
    "touch $STATE_DIRECTORY/up; ln $STATE_DIRECTORY/up /mnt/open/up",
    "cp /bin/true /mnt/open/true",
    "touch /run/dynuser/tmp/other /run/dynuser/other",
    "python3 -c 'import os; d = os.open(\"/mnt/open\", os.O_RDONLY); os.mkdir(\"made\", dir_fd=d)'",
];

/// What a service may do at either level.
const INSIDE: &str = "set -e
    echo kept > $STATE_DIRECTORY/file; mkdir -p $STATE_DIRECTORY/a $STATE_DIRECTORY/b; echo x > $STATE_DIRECTORY/a/x
    mv $STATE_DIRECTORY/a/x $STATE_DIRECTORY/b/y; ln $STATE_DIRECTORY/b/y $STATE_DIRECTORY/a/z; : > $STATE_DIRECTORY/b/y
    rm -r $STATE_DIRECTORY/a $STATE_DIRECTORY/b; echo x > /dev/null; echo x > $RUNTIME_DIRECTORY/x
    [ $(stat -c %a:%u $TMPDIR) = 700:$(id -u) ]; f=$(mktemp); echo x > $f; rm $f
    python3 -c 'import tempfile; tempfile.NamedTemporaryFile().write(b\"x\")'
    [ \"$(echo x > /dev/stdout | cat)\" = x ]; echo x > /dev/shm/$(id -u); rm /dev/shm/$(id -u); echo 5 > /proc/self/oom_score_adj
    cat /etc/hostname /mnt/open/file > /dev/null; [ $(id -un) = $USER ]";

#[test]
fn landlock_keeps_a_service_from_writing_anywhere_but_to_its_own() {
    let arena = host();
    arena.sh("cd /mnt/open/dir && touch victim && mkdir empty && chmod 666 victim && chmod 777 empty").ok();
    let look = || {
        arena.sh("cd /mnt/open && find . -printf '%p %y %m %s\\n' | sort; cat file; ls -A /tmp /var/tmp").ok()
    };
    let before = look();
    let own = ["-p", "StateDirectory=a", "-p", "RuntimeDirectory=a"];
    let said = run(
        &arena,
        "a",
        "landlock",
        &own,
        &format!("{STATUS}; readlink /proc/self/ns/mnt; {INSIDE}"),
    )
    .ok();
    assert_eq!(said.lines().next(), Some(NOTHING), "{said}");
    let ours = arena.sh("readlink /proc/self/ns/mnt").ok();
    assert_eq!(said.lines().nth(1), Some(ours.trim()));
    let mut service = spawn(&arena, "a", "landlock", &own);
    for attempt in OUTSIDE {
        // A special built-in that fails ends the shell.
        let (said, status) = tell(&mut service, &format!("({attempt})"));
        assert_ne!(status, "0", "{attempt}: {said}");
        let refused = [
            "Permission denied",
            "PermissionError",
            "Invalid cross-device link",
            "cannot",
        ];
        assert!(
            refused.iter().any(|word| said.contains(word)),
            "{attempt}: {said}"
        );
        assert_eq!(look(), before, "{attempt}");
    }
    assert_eq!(tell(&mut service, "cat $STATE_DIRECTORY/file").0, "kept\n");
    // Without Landlock all of this is a matter of modes: the attempts are real.
    drop(service);
    arena.wait_until_idle();
    let mut service = spawn(&arena, "a", "identity", &own);
    for attempt in OUTSIDE.iter().filter(|it| !it.contains("/run/dynuser")) {
        arena.sh("cd /mnt/open && rm -rf new made dir/second dir/moved link fifo socket up true; touch dir/victim; chmod 666 dir/victim; mkdir -p dir/empty; chmod 777 dir/empty; rm -f /tmp/new /var/tmp/new").ok();
        let (said, status) = tell(&mut service, &format!("({attempt})"));
        // Hard links to files of others, and to another file system, are refused by the kernel.
        let hardened = attempt.starts_with("ln /mnt") || attempt.contains("; ln ");
        assert!(status == "0" || hardened, "{attempt}: {said}");
    }
}

#[test]
fn identity_is_a_user_that_gains_nothing() {
    let arena = host();
    let own = ["-p", "StateDirectory=a", "-p", "RuntimeDirectory=a"];
    let more = [
        &own[..],
        &[
            "-p",
            "LimitNOFILE=77",
            "-p",
            "UMask=0027",
            "-p",
            "SystemCallFilter=~@swap",
        ],
    ]
    .concat();
    let script =
        format!("{STATUS}; ulimit -n; umask; {INSIDE}; echo x >> /mnt/open/file; cat /etc/shadow");
    let output = run(&arena, "a", "identity", &more, &script);
    let said = output.fails_with_output(1);
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said, [NOTHING, "77", "0027"]);
    assert_eq!(arena.sh("cat /mnt/open/file").ok(), "old\nx\n");
    // A command that keeps root keeps it without a view, and within the same rules at landlock.
    let root = |level: &'static str| {
        let kept = arena.run(
            [
                &words("r", level, &["-p", "StateDirectory=r"])[..],
                &["!sh", "-c", "id -u; touch /etc/made && echo made"],
            ]
            .concat(),
        );
        arena.wait_until_idle();
        kept.stdout
    };
    assert_eq!(root("landlock"), "0\n");
    assert_eq!(root("identity"), "0\nmade\n");
}

/// Beside the levels of a container: nothing that a service makes may count as its number once that is another's, and no
/// mount is there to keep it from it.
#[test]
fn no_level_lets_a_service_make_set_id_files() {
    let arena = host();
    let script = "import os, ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
top = os.environ['STATE_DIRECTORY']
open(top + '/f', 'w').close()
def refused(what, call):
    try:
        call()
        print(what, 'done')
    except OSError as error:
        print(what, errno.errorcode[error.errno])
refused('chmod', lambda: os.chmod(top + '/f', 0o4755))
refused('open', lambda: os.open(top + '/g', os.O_CREAT | os.O_WRONLY, 0o4755))
refused('mkdir', lambda: os.mkdir(top + '/d', 0o2755))
refused('mknod', lambda: os.mknod(top + '/n', 0o4755))
how = (ctypes.c_uint64 * 3)(os.O_CREAT | os.O_WRONLY, 0o4755, 0)
def call(*words):
    if libc.syscall(*words) < 0:
        raise OSError(ctypes.get_errno(), '')
refused('openat2', lambda: call(437, -100, (top + '/h').encode(), how, 24))
refused('io_uring', lambda: call(425, 4, (ctypes.c_uint32 * 30)()))
print(sorted(os.listdir(top)), oct(os.stat(top + '/f').st_mode & 0o7777))
";
    for (contained, level) in [
        (true, "landlock"),
        (true, "identity"),
        (false, "landlock"),
        (false, "identity"),
    ] {
        let all = words(
            "a",
            level,
            &["-p", "StateDirectory=a", "python3", "-c", script],
        );
        let said = arena.run(all.iter().skip(usize::from(!contained))).ok();
        leave_container(&arena);
        let wanted = "chmod EPERM\nopen EPERM\nmkdir EPERM\nmknod EPERM\nopenat2 ENOSYS\nio_uring EPERM\n['f'] 0o644\n";
        assert_eq!(said, wanted, "{contained} {level}");
    }
}

#[test]
fn the_level_is_shown_wherever_a_lease_is() {
    let arena = host();
    for level in ["landlock", "identity"] {
        let service = spawn(&arena, "shown", level, &[]);
        let listed = arena.list();
        assert_eq!(listed[0]["sandbox"], level, "{listed:?}");
        let table = arena.run(["dynuser", "list"]).ok();
        assert!(
            table
                .lines()
                .nth(1)
                .unwrap()
                .ends_with(&format!("shown [{level}]")),
            "{table}"
        );
        let details = arena.run(["dynuser", "show", "shown"]).ok();
        assert!(
            details.contains(&format!("Sandbox: {level}\n")),
            "{details}"
        );
        // One that joins has to be the same.
        let other = if level == "landlock" {
            "identity"
        } else {
            "landlock"
        };
        let words = words("second", other, &["--uid", "shown", "id"]);
        let said = arena.run(words).fails(217);
        assert!(
            said.contains(&format!("has a service at --sandbox={level}")),
            "{said}"
        );
        drop(service);
        arena.wait_until_idle();
    }
    leave_container(&arena);
    let full = arena.spawn(["dynuser", "run", "-u", "shown", "sleep", "1000"]);
    wait_until("the service runs", || !arena.list().is_empty());
    assert_eq!(arena.list()[0]["sandbox"], "full");
    let table = arena.run(["dynuser", "list"]).ok();
    assert!(!table.contains('['), "{table}");
    full.stop();
    let dry = words(
        "dry",
        "landlock",
        &["-p", "StateDirectory=dry", "--dry-run", "id"],
    );
    let text = arena.run(dry).ok();
    for line in [
        "sandbox landlock",
        "let-search /var/lib/private user ",
        "make-temporary /run/dynuser/tmp/",
        "confine-writes",
    ] {
        assert!(
            text.lines().any(|it| it.starts_with(line)),
            "{line}: {text}"
        );
    }
    assert!(!text.contains("mount"), "{text}");
}

#[test]
fn what_a_level_cannot_do_is_refused_by_name() {
    let arena = host();
    let refused = |level: &str, property: &str| {
        arena
            .run(words("a", level, &["-p", property, "id"]))
            .fails(1)
    };
    // What the service needs.
    for property in [
        "BindPaths=/mnt/open:/srv",
        "BindReadOnlyPaths=/mnt/open:/srv",
        "TemporaryFileSystem=/srv",
        "SetCredential=a:b",
        "NetworkNamespacePath=/proc/1/ns/net",
        "ProtectHostname=yes:name",
    ] {
        for level in ["landlock", "identity"] {
            let said = refused(level, property);
            let name = property.split('=').next().unwrap();
            assert!(
                said.contains(&format!("{name}= with Sandbox={level}: cannot be had")),
                "{said}"
            );
            assert!(!said.contains("--allow-unenforced"), "{said}");
        }
    }
    // What it runs without.
    for (property, landlock) in [
        ("ProtectSystem=strict", true),
        ("ProtectSystem=no", true),
        ("ProtectHome=read-only", true),
        ("ReadOnlyPaths=/mnt/open", true),
        ("ProtectControlGroups=yes", true),
        ("RestrictForeignDirectories=yes", true),
        ("ProtectHome=yes", false),
        ("ProtectHome=tmpfs", false),
        ("PrivateTmp=yes", false),
        ("PrivateDevices=yes", false),
        ("ProtectProc=invisible", false),
        ("ProcSubset=pid", false),
        ("InaccessiblePaths=/mnt/open", false),
        ("NoExecPaths=/mnt/open", false),
        ("PrivateNetwork=yes", false),
        ("PrivateIPC=yes", false),
        ("PrivateUsers=yes", false),
        ("PrivatePIDs=yes", false),
        ("ProtectKernelTunables=yes", false),
        ("ProtectKernelModules=yes", false),
        ("ProtectKernelLogs=yes", false),
        ("ProtectClock=yes", false),
    ] {
        let (name, value) = property.split_once('=').unwrap();
        let weakens = value == "no";
        for (level, enforced) in [("landlock", landlock), ("identity", false)] {
            // Weaker than what is always there is refused on a command line as ever.
            if enforced && !weakens {
                dynamic_uid(&run(&arena, "a", level, &["-p", property], "id -u").ok());
                continue;
            }
            let said = refused(level, property);
            if weakens {
                assert!(said.contains("it cannot be weakened"), "{said}");
                continue;
            }
            assert!(
                said.contains(&format!("does not enforce {name}= (")),
                "{said}"
            );
            let allow = format!("--allow-unenforced={name}");
            assert!(said.contains(&allow), "{said}");
            let output = run(&arena, "a", level, &["-p", property, &allow], "id -u");
            assert!(
                output.stderr.contains(&format!(
                    "{name}= is not enforced, as you allowed: Sandbox={level}"
                )),
                "{output}"
            );
            dynamic_uid(&output.ok());
        }
    }
    // All of them at once, so that nobody has to ask again and again.
    let both = ["-p", "PrivateNetwork=yes", "-p", "PrivateTmp=yes", "id"];
    let said = arena.run(words("a", "identity", &both)).fails(1);
    assert!(
        said.contains("--allow-unenforced=PrivateTmp --allow-unenforced=PrivateNetwork"),
        "{said}"
    );
}

#[test]
fn landlock_enforces_what_it_can_of_paths() {
    let arena = host();
    arena
        .sh("mkdir -m 777 /mnt/open/rw /mnt/open/ro && ln -s /var/lib/private/own /mnt/link")
        .ok();
    let paths = [
        "-p",
        "ReadOnlyPaths=/mnt/open",
        "-p",
        "ReadWritePaths=/mnt/open/rw",
        "-p",
        "StateDirectory=own kept::ro",
    ];
    arena.sh("mkdir -p -m 700 /var/lib/private && mkdir -m 755 /var/lib/private/kept && echo old > /var/lib/private/kept/file").ok();
    let script = "touch /mnt/open/rw/new && echo rw; touch /mnt/open/ro/new || echo ro; cat /var/lib/kept/file
        echo new > /var/lib/kept/file || echo kept; rm -f /var/lib/kept/file || echo kept; touch /var/lib/own/x && echo own";
    let said = run(&arena, "a", "landlock", &paths, script).ok();
    assert_eq!(said, "rw\nro\nold\nkept\nkept\nown\n");
    // Rules add up: nothing within what the service may write can be taken away again.
    for (property, named) in [
        ("StateDirectory=own own/kept::ro", "StateDirectory="),
        ("ReadOnlyPaths=/proc/sys", "ReadOnlyPaths= ("),
    ] {
        let said = arena
            .run(words("a", "landlock", &["-p", property, "id"]))
            .fails(1);
        assert!(said.contains(named), "{said}");
    }
    // By another name as well.
    let link = [
        "-p",
        "StateDirectory=own",
        "-p",
        "ReadOnlyPaths=/mnt/link",
        "id",
    ];
    let said = arena.run(words("a", "landlock", &link)).fails(226);
    assert!(
        said.contains(
            "/var/lib/private/own: is to be read only, but lies where the service may write"
        ),
        "{said}"
    );
    let said = arena
        .run(words(
            "a",
            "identity",
            &["-p", "StateDirectory=own::ro", "id"],
        ))
        .fails(1);
    assert!(
        said.contains("StateDirectory= with Sandbox=identity: cannot be had"),
        "{said}"
    );
}

#[test]
fn doctor_says_which_levels_there_are() {
    let arena = host();
    let finding = |words: &[&str]| {
        let said = arena.run([words, &["dynuser", "doctor"]].concat());
        let mut lines = said.stdout.lines();
        lines
            .find(|line| line.contains(" sandbox: "))
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(
        finding(&[]),
        "ok       sandbox: full can be had, and where it is asked for: landlock and identity can be had"
    );
    let contained = finding(&["container"]);
    assert!(contained.starts_with("warning  sandbox: full cannot be had: unshare(mnt): Operation not permitted: the daemon has no CAP_SYS_ADMIN"), "{contained}");
    assert!(
        contained.ends_with("landlock and identity can be had"),
        "{contained}"
    );
    let without = finding(&["container", "-L"]);
    assert!(
        without.contains("; identity can be had, landlock cannot (landlock_create_ruleset"),
        "{without}"
    );
}

/// A container has message queues at /dev/mqueue. What a service leaves in one is found there.
#[test]
fn queues_and_shared_memory_go_with_the_lease() {
    let arena = host();
    let script = "import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
name = ('/left-%d' % os.getuid()).encode()
assert libc.mq_open(name, os.O_CREAT | os.O_RDWR, 0o600, None) >= 0
open('/dev/shm/left-%d' % os.getuid(), 'w').close()
given = libc.shmget(0, 4096, 0o1600)
assert given >= 0 and libc.semget(0, 1, 0o1600) >= 0 and libc.msgget(0, 0o1600) >= 0
# Given to somebody else, it is still its creator's.
given = libc.shmget(0, 4096, 0o1600)
state = (ctypes.c_ubyte * 256)()
assert libc.shmctl(given, 2, state) == 0
state[4:8] = list((1000).to_bytes(4, 'little'))
assert libc.shmctl(given, 1, state) == 0
";
    for level in ["landlock", "identity"] {
        arena
            .run(words("a", level, &["python3", "-c", script]))
            .ok();
        arena.wait_until_idle();
        let left = arena.sh("ls -A /dev/mqueue /dev/shm; tail -n +2 /proc/sysvipc/shm");
        assert_eq!(left.ok(), "/dev/mqueue:\n\n/dev/shm:\n", "{level}");
    }
    // Where they cannot be seen, no daemon starts: what is left in one could not be taken back.
    let arena = host();
    arena.sh("umount /dev/mqueue").ok();
    let said = arena.run(words("a", "identity", &["id"])).fails(1);
    assert!(
        said.contains("/dev/mqueue does not show this container's message queues"),
        "{said}"
    );
}

/// Each connection has a user of its own at the weaker levels too.
#[test]
fn connections_are_served_at_a_level() {
    let arena = host();
    let serve = "exec 2>/dev/null; id -u; grep Cap[EB] /proc/self/status; touch /mnt/open/$$ && rm /mnt/open/$$ && echo open; ls -A $STATE_DIRECTORY; touch $STATE_DIRECTORY/x";
    arena.put(
        "/mnt/each.socket",
        "[Socket]\nListenStream=/run/s\nAccept=yes\n",
        0o644,
    );
    let service = "[Service]\nDynamicUser=yes\nStateDirectory=each/%i\nStandardInput=socket\nExecStart=/mnt/serve\n";
    arena.put("/mnt/each@.service", service, 0o644);
    arena.put("/mnt/serve", &format!("#!/bin/sh\n{serve}\n"), 0o755);
    let ask = "import socket, sys
def one():
    s = socket.socket(socket.AF_UNIX)
    s.connect('/run/s')
    return s
both = [one(), one()]
for s in both:
    print(s.makefile().read(), end='')
";
    for (level, open) in [("landlock", ""), ("identity", "open\n")] {
        let words = ["container", "dynuser", "listen", "--sandbox", level];
        let unit = ["--unit-file", "/mnt/each.socket"];
        let listener = arena.spawn([&words[..], &unit].concat());
        // SO_ACCEPTCON: a socket of this name may be there that nobody listens at yet, or any more.
        let listens = "grep -q '^[^ ]* [^ ]* [^ ]* 00010000 .* /run/s$' /proc/net/unix";
        wait_until("it listens", || arena.sh(listens).status.success());
        let said = arena.run(["python3", "-c", ask]).ok();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 6 + 2 * open.lines().count(), "{said}");
        let (one, other) = lines.split_at(lines.len() / 2);
        assert_ne!(dynamic_uid(one[0]), dynamic_uid(other[0]), "{said}");
        assert_eq!(said.matches("\t0000000000000000").count(), 4, "{said}");
        assert_eq!(said.contains("open"), !open.is_empty(), "{said}");
        listener.stop();
        arena.wait_until_idle();
        assert_eq!(arena.sh("stat -c %a /var/lib/private").ok(), "700\n");
    }
}

#[test]
fn whoever_enters_is_held_back_as_the_service_is() {
    let arena = host();
    let directories = ["-p", "StateDirectory=own kept::ro"];
    for level in ["landlock", "identity"] {
        let more: &[&str] = if level == "landlock" {
            &directories
        } else {
            &directories[..0]
        };
        let mut service = spawn(&arena, "entered", level, more);
        let enter = |script: &str| {
            let words = [
                "container",
                "dynuser",
                "enter",
                "entered",
                "sh",
                "-c",
                script,
            ];
            arena.run(words)
        };
        let (uid, _) = tell(&mut service, "id -u");
        assert_eq!(enter("id -u").ok(), uid);
        let limits = "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status";
        let (own, _) = tell(&mut service, limits);
        assert_eq!(enter(limits).ok(), own);
        let elsewhere = enter("echo x > /mnt/open/file");
        assert_eq!(
            elsewhere.status.success(),
            level == "identity",
            "{elsewhere}"
        );
        enter("echo x > $TMPDIR/file").ok();
        if level == "landlock" {
            enter("echo x > $(echo $STATE_DIRECTORY | cut -d: -f2)/file").ok();
            let refused = enter(
                "for dir in $(echo $STATE_DIRECTORY | tr : ' '); do echo x > $dir/file; done",
            );
            assert!(
                refused.stderr.contains("kept/file: Permission denied"),
                "{refused}"
            );
        }
        service.say("exit 0");
        service.end();
        arena.wait_until_idle();
    }
}
