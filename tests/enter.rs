//! `dynuser enter`: somebody joins a service that runs, and has what it has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use std::fs;

use support::{Arena, Output, Running, dynamic_uid, wait_until};

/// A service that runs a shell script, which says `up`.
fn shell(arena: &Arena, words: &[&str], script: &str) -> Running {
    let command = ["sh", "-c", script];
    let mut service = arena.spawn([&["dynuser", "run"], words, &command].concat());
    assert_eq!(service.line(), "up");
    service
}

fn sleeper(arena: &Arena, words: &[&str]) -> Running {
    let mut service = shell(arena, words, "echo up; exec sleep 1000");
    if !words.contains(&"--wait") {
        service.wait_exec("sleep");
    }
    service
}

fn enter(arena: &Arena, words: &[&str]) -> Output {
    arena.run([&["dynuser", "enter"], words].concat())
}

/// The namespaces of a process, by the names of their kinds.
const NAMESPACES: &str =
    "for kind in cgroup ipc mnt net pid user uts; do readlink $WHO/ns/$kind; done";

/// Those of a process of the arena, asked for from outside.
fn namespaces_of(arena: &Arena, pid: &str) -> String {
    arena
        .sh(&NAMESPACES.replace("$WHO", &format!("/proc/{pid}")))
        .ok()
}

fn namespaces_inside(arena: &Arena, words: &[&str]) -> String {
    let script = NAMESPACES.replace("$WHO", "/proc/self");
    enter(arena, &[words, &["sh", "-c", &script]].concat()).ok()
}

/// The lines of a `/proc/PID/status` that say what a process may do.
const RIGHTS: &str = "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp|Umask):' $WHO/status; \
                      grep -E '^Max open files' $WHO/limits";

#[test]
fn inside_is_what_the_service_has() {
    let arena = Arena::new();
    let words = [
        "-u",
        "wuff",
        "-p",
        "StateDirectory=wuff one/two",
        "-p",
        "RuntimeDirectory=wuff",
        "-p",
        "UMask=0027",
        "-p",
        "LimitNOFILE=77",
        "-p",
        "RestrictAddressFamilies=AF_UNIX",
        "-p",
        "MemoryDenyWriteExecute=yes",
    ];
    let service = sleeper(&arena, &words);
    let pid = service.pid();
    let uid = dynamic_uid(&enter(&arena, &["wuff", "id", "-u"]).ok());
    assert_eq!(
        namespaces_inside(&arena, &["wuff"]),
        namespaces_of(&arena, &pid)
    );
    let rights = |who: &str| RIGHTS.replace("$WHO", who);
    let inside = enter(&arena, &["wuff", "sh", "-c", &rights("/proc/self")]).ok();
    assert_eq!(inside, arena.sh(&rights(&format!("/proc/{pid}"))).ok());
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000"] {
        assert!(inside.contains(line), "{inside}");
    }
    // The same filter, and the same Landlock.
    let socket = "import socket\nsocket.socket(socket.AF_INET)";
    let why = enter(&arena, &["wuff", "python3", "-c", socket]).fails(1);
    assert!(why.contains("Address family not supported"), "{why}");
    let made =
        "touch /var/lib/wuff/a /run/wuff/b /tmp/c /dev/shm/d && stat -c %U:%a /var/lib/wuff/a";
    assert_eq!(
        enter(&arena, &["wuff", "sh", "-c", made]).ok(),
        "wuff:640\n"
    );
    arena.run(["test", "-e", "/var/lib/private/wuff/a"]).ok();
    arena.run(["test", "-e", "/tmp/c"]).fails(1);
    for denied in ["/run/x", "/etc/x", "/var/lib/x"] {
        assert!(
            !enter(&arena, &["wuff", "touch", denied]).status.success(),
            "{denied}"
        );
    }
    // Nothing of root's environment.
    let command = ["dynuser", "enter", "wuff", "env"];
    let environment = arena
        .command(command)
        .env("SECRET", "1")
        .env("SHELL", "/bin/bash");
    let environment = environment.run().ok();
    let mut environment: Vec<&str> = environment.lines().collect();
    environment.sort_unstable();
    assert_eq!(
        environment,
        [
            "HOME=/var/lib/one/two",
            "LANG=C.UTF-8",
            "LOGNAME=wuff",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "RUNTIME_DIRECTORY=/run/wuff",
            "SHELL=/bin/bash",
            "STATE_DIRECTORY=/var/lib/one/two:/var/lib/wuff",
            "USER=wuff",
        ]
    );
    // By its user's number, with a shell that reads its standard input, and with the shell's status.
    let uid = uid.to_string();
    let command = arena
        .command(["dynuser", "enter", &uid])
        .input("id -un; exit 7\n");
    assert_eq!(command.run().fails_with_output(7), "wuff\n");
    let signal = enter(&arena, &["wuff", "sh", "-c", "kill -KILL $$"]);
    assert_eq!(signal.status.code(), Some(137));
    enter(&arena, &["wuff", "nonsuch"]).fails(203);
}

#[test]
fn every_namespace_of_the_service_is_entered_also_behind_a_launcher() {
    let arena = Arena::new();
    let own = [
        "-p",
        "PrivateNetwork=yes",
        "-p",
        "PrivateIPC=yes",
        "-p",
        "ProtectHostname=yes",
        "-p",
        "PrivateUsers=yes",
    ];
    let in_place = sleeper(&arena, &[&["-u", "place"], &own[..]].concat());
    let theirs = namespaces_of(&arena, &in_place.pid());
    assert_eq!(namespaces_inside(&arena, &["place"]), theirs);
    assert_eq!(namespaces_inside(&arena, &["--root", "place"]), theirs);
    assert_ne!(theirs, namespaces_of(&arena, "self"));
    // Its own processes, which no launcher is among.
    let apart = [
        &["--wait", "-u", "apart", "-p", "PrivatePIDs=yes"],
        &own[..],
    ]
    .concat();
    let _apart = sleeper(&arena, &apart);
    let pid = arena
        .sh("pgrep -u apart -x sleep || pgrep -f '^sleep 1000' | tail -1")
        .stdout;
    let theirs = namespaces_of(&arena, pid.trim());
    assert_eq!(namespaces_inside(&arena, &["apart"]), theirs);
    assert_eq!(namespaces_inside(&arena, &["--root", "apart"]), theirs);
    let first = enter(&arena, &["apart", "cat", "/proc/1/comm"]).ok();
    assert_eq!(first, "sleep\n");
}

#[test]
fn root_inside_is_root_with_the_view_of_the_service() {
    let arena = Arena::new();
    let service = sleeper(&arena, &["-u", "wuff", "-p", "StateDirectory=wuff"]);
    let script =
        "id -u; id -G; echo $HOME $USER; touch /var/lib/wuff/of-root; grep NoNew /proc/self/status";
    let output = enter(&arena, &["--root", "wuff", "sh", "-c", script]);
    assert!(
        output.stderr.contains("may be a file of the service's"),
        "{output}"
    );
    assert_eq!(output.ok(), "0\n0\n/root root\nNoNewPrivs:\t0\n");
    let theirs = namespaces_of(&arena, &service.pid());
    assert_eq!(namespaces_inside(&arena, &["--root", "wuff"]), theirs);
}

#[test]
fn a_service_that_shows_files_of_its_own_making_is_not_entered() {
    let arena = Arena::new();
    let fake = "#!/bin/bash\necho caught $(id -u) >&2\n";
    arena.put("/run/fake", fake, 0o755);
    // All of it goes into namespaces that it made, with other programs in them. (In a Landlock domain nobody can mount.)
    let trap = "exec unshare -Urm bash -c 'mount --bind /run/fake /usr/bin/dash; \
                mount --bind /run/fake /usr/bin/id; echo up; exec /usr/bin/sleep 1000'";
    let free = ["-p", "RestrictForeignDirectories=no", "-u"];
    let mut service = shell(&arena, &[&free[..], &["evil"]].concat(), trap);
    service.wait_exec("sleep");
    let seen = fs::read(service.proc("root/usr/bin/id")).unwrap();
    assert_eq!(seen, fake.as_bytes(), "the trap is set");
    for words in [
        &["--root", "evil"][..],
        &["evil"],
        &["--root", "evil", "id"],
        &["evil", "id"],
    ] {
        let output = enter(&arena, words);
        let told = output.fails(226);
        assert!(told.contains("of its own making"), "{told}");
        assert!(!told.contains("caught"), "{told}");
    }
    // One that may mount needs no namespace of its own for that.
    let mounts = ["-u", "mounts", "-p", "AmbientCapabilities=CAP_SYS_ADMIN"];
    let _mounts = sleeper(&arena, &mounts);
    let told = enter(&arena, &["--root", "mounts", "id"]).fails(1);
    assert!(told.contains("CAP_SYS_ADMIN"), "{told}");
    assert_eq!(enter(&arena, &["mounts", "id", "-un"]).ok(), "mounts\n");
    // A process of it that does so does not keep anybody from the others.
    let partly = format!("({trap}) & read -r _; exec sleep 2000");
    let mut partly = shell(&arena, &[&free[..], &["partly"]].concat(), &partly);
    partly.say("");
    partly.wait_exec("sleep");
    let theirs = namespaces_of(&arena, &partly.pid());
    assert_eq!(namespaces_inside(&arena, &["partly"]), theirs);
}

#[test]
fn a_shell_that_the_service_can_exchange_is_not_roots() {
    let arena = Arena::new();
    let script = "cd /var/lib/wuff; printf '#!/bin/sh\\necho caught\\n' > own; chmod 755 own; \
                  ln -s own link; mkdir in; cp own in/sh; echo up; exec sleep 1000";
    let _service = shell(&arena, &["-u", "wuff", "-p", "StateDirectory=wuff"], script);
    for (shell, as_user) in [
        ("/var/lib/wuff/own", "caught\n"),
        // A link of the service's leads wherever it likes.
        ("/var/lib/wuff/link", "fine\n"),
        ("/var/lib/wuff/in/sh", "caught\n"),
        ("/nonsuch", "fine\n"),
        ("sh", "fine\n"),
        ("/tmp", "fine\n"),
        ("/bin/sh", "fine\n"),
    ] {
        for (words, expected) in [(&["wuff"][..], as_user), (&["--root", "wuff"], "fine\n")] {
            let command = arena.command([&["dynuser", "enter"], words].concat());
            let output = command.env("SHELL", shell).input("echo fine\n").run();
            assert_eq!(output.ok(), expected, "{shell} {words:?}");
        }
    }
}

#[test]
fn whoever_has_joined_ends_with_the_service() {
    let arena = Arena::with_module();
    let service = sleeper(&arena, &["-u", "wuff"]);
    let mut guest = arena.spawn([
        "dynuser",
        "enter",
        "wuff",
        "sh",
        "-c",
        "echo in; exec sleep 1000",
    ]);
    assert_eq!(guest.line(), "in");
    assert_eq!(service.stop().to_string(), "signal: 15 (SIGTERM)");
    assert_eq!(guest.end().0.code(), Some(143));
    arena.wait_until_idle();
    // Whatever the moment: somebody gets in and ends with it, or does not get in.
    let race = "for i in $(seq 20); do
        dynuser run -u racer -p TimeoutStopSec=1s sleep 1000 & service=$!
        until dynuser list racer --json | grep -q running && grep -qx sleep /proc/$service/comm; do :; done
        for j in 1 2 3; do dynuser enter racer sleep 2000 & guests=\"$guests $!\"; done
        dynuser stop racer
        for guest in $guests; do wait $guest; done; guests=
        if pgrep -x sleep; then echo somebody is left; exit 1; fi
    done; echo all gone";
    let said = arena.run(["bash", "-c", race]);
    assert_eq!(said.stdout.lines().last(), Some("all gone"), "{said}");
    let state = || {
        arena
            .list()
            .iter()
            .all(|lease| lease["state"] != "quarantined")
    };
    assert!(state(), "{:?}", arena.list());
    wait_until("all is gone", || arena.list().is_empty());
}

#[test]
fn whom_nobody_can_join_is_told() {
    let arena = Arena::new();
    let script = "echo up; exec sleep 1000";
    let mut held = arena.spawn(["dynuser", "acquire", "-u", "held", "sh", "-c", script]);
    assert_eq!(held.line(), "up");
    let _one = sleeper(&arena, &["-u", "one", "-p", "User=shared"]);
    let _two = sleeper(&arena, &["-u", "two", "-p", "User=shared"]);
    for (name, why) in [
        ("nonsuch", "neither a service"),
        ("held", "held by a descriptor"),
        ("shared", "one, two"),
        ("*", "several services"),
    ] {
        let output = enter(&arena, &[name, "id"]);
        assert!(output.stderr.contains(why), "{output}");
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{output}"
        );
    }
    let ask = arena.command(["dynuser", "enter", "one", "id"]).user(1000);
    assert!(ask.run().fails(1).contains("root"));
    assert_eq!(enter(&arena, &["two", "id", "-un"]).ok(), "shared\n");
}

#[test]
fn a_user_of_the_host_without_a_sandbox_is_told_so() {
    let arena = Arena::new();
    let words = ["-u", "plain", "-p", "DynamicUser=no", "-p", "User=daemon"];
    let service = sleeper(&arena, &words);
    let output = enter(
        &arena,
        &["plain", "sh", "-c", "id -un; grep NoNew /proc/self/status"],
    );
    assert!(output.stderr.contains("has no view of its own"), "{output}");
    assert_eq!(output.ok(), "daemon\nNoNewPrivs:\t0\n");
    let theirs = namespaces_of(&arena, &service.pid());
    assert_eq!(namespaces_inside(&arena, &["plain"]), theirs);
}

#[test]
fn a_person_gets_a_terminal_of_its_own() {
    let arena = Arena::new();
    let _service = sleeper(&arena, &["-u", "wuff", "-p", "StateDirectory=wuff"]);
    let does = r#"
start("dynuser", "enter", "wuff")
expect(r"[$#] ")
type("PS1='> '\r"); expect("\n> ")
type("id -un; test -t 0 && stty size && echo $TERM\r"); expect("wuff\r\n33 101\r\n")
type("sh -c 'echo g''o; exec sleep 100'\r"); expect("go\r\n"); type("\x03"); expect("> ")
type("exit 7\r"); print(status())
"#;
    let program = format!("{}{does}", include_str!("support/terminal.py"));
    let python = ["/usr/bin/python3", "-I", "-c", &program];
    assert_eq!(arena.run(python).ok(), "7\n");
}

#[test]
fn the_control_group_of_the_service_is_joined() {
    let arena = Arena::new();
    arena
        .sh("mkdir /run/groups && mount -t cgroup2 cgroup2 /run/groups")
        .ok();
    let name = format!("group{}", std::process::id());
    let words = ["-u", &name, "-p", "DevicePolicy=closed"];
    let service = sleeper(&arena, &words);
    let theirs = arena
        .sh(&format!("grep ^0:: /proc/{}/cgroup", service.pid()))
        .ok();
    assert!(theirs.contains(&name), "{theirs}");
    for as_whom in [&[name.as_str()][..], &["--root", &name]] {
        let inside = enter(
            &arena,
            &[as_whom, &["grep", "^0::", "/proc/self/cgroup"]].concat(),
        );
        assert_eq!(inside.ok(), theirs);
    }
    // Root in it goes with the service, too.
    let mut root = arena.spawn([
        "dynuser",
        "enter",
        "--root",
        &name,
        "sh",
        "-c",
        "echo in; exec sleep 3000",
    ]);
    assert_eq!(root.line(), "in");
    arena.run(["dynuser", "stop", &name]).ok();
    assert_eq!(root.end().0.code(), Some(137));
}

#[test]
fn a_command_that_stays_root_is_entered_as_the_user_or_as_root() {
    let arena = Arena::new();
    let script = "echo up; exec sleep 1000";
    let words = ["dynuser", "run", "-u", "stays", "!sh", "-c", script];
    let mut service = arena.spawn(words);
    assert_eq!(service.line(), "up");
    service.wait_exec("sleep");
    let theirs = namespaces_of(&arena, &service.pid());
    assert_eq!(namespaces_inside(&arena, &["stays"]), theirs);
    assert_eq!(enter(&arena, &["stays", "id", "-un"]).ok(), "stays\n");
    assert_eq!(
        enter(&arena, &["--root", "stays", "id", "-un"]).ok(),
        "root\n"
    );
    // Launchers are no part of the sandbox.
    let words = ["--wait", "-u", "behind"];
    let _behind = sleeper(&arena, &words);
    assert_eq!(enter(&arena, &["behind", "id", "-un"]).ok(), "behind\n");
    // Nor when they, too, see something else than whoever asks.
    let script = format!(
        "unshare -m dynuser enter behind sh -c '{}'",
        NAMESPACES.replace("$WHO", "/proc/self")
    );
    let from_elsewhere = arena.sh(&script).ok();
    assert_eq!(from_elsewhere, namespaces_inside(&arena, &["behind"]));
}

#[test]
fn a_guest_without_a_terminal_of_its_own_has_none_of_roots() {
    let arena = Arena::new();
    let probe = "import os\n\
        for what in (lambda: os.read(1, 1), lambda: os.read(2, 1), lambda: os.open('/dev/tty', os.O_RDWR)):\n \
            try: print(what())\n \
            except OSError as error: print(error.errno)\n\
        print(os.isatty(1))";
    arena.put("/usr/local/bin/probe", probe, 0o644);
    for more in [&[][..], &["-p", "DynamicUser=no", "-p", "User=games"]] {
        let service = sleeper(&arena, &[&["-u", "guests"], more].concat());
        let words = "dynuser enter guests python3 /usr/local/bin/probe </dev/null";
        // Root's shell has a terminal, and the command's standard input is none.
        let said = arena.run(["script", "-qec", words, "/dev/null"]).ok();
        let lines: Vec<&str> = said
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with("dynuser:"))
            .collect();
        // EBADF twice: it can be written to, not read. ENXIO: there is no controlling terminal.
        assert_eq!(lines, ["9", "9", "6", "True"], "{said}");
        arena.run(["dynuser", "stop", "guests"]).ok();
        drop(service);
    }
}
