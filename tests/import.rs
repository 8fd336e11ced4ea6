//! `dynuser import`: the definitions of real units, what a shell makes of hostile ones, where they are written, and
//! the supervisors of Debian's packages which take them as they are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

#[path = "supervisors/packages.rs"]
#[allow(dead_code)]
mod packages;

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use support::{Arena, Running, wait_until};

const SYSTEMS: [&str; 4] = ["openrc", "runit", "s6", "dinit"];

/// Packages' units, as they are asked for.
const UNITS: [(&str, &[&str]); 5] = [
    ("monopd", &["monopd"]),
    (
        "molly-brown",
        &["molly-brown@.service", "--instance=localhost"],
    ),
    ("gobgpd", &["gobgpd.service"]),
    ("garagemq", &["garagemq"]),
    ("atftpd", &["atftpd"]),
];

fn import(arena: &Arena, system: &str, words: &[&str]) -> support::Output {
    let system = format!("--for={system}");
    arena.run([&["dynuser", "import", &system], words].concat())
}

/// A unit that is root's, with the lines of a service that does nothing.
fn put_unit(arena: &Arena, path: &str, unit: &str, service: &str) {
    let folder = path.rsplit_once('/').expect("a path").0;
    arena.run(["mkdir", "-p", folder]).ok();
    let text = format!(
        "[Unit]\n{unit}\n[Service]\nDynamicUser=yes\nExecStart=/bin/sleep infinity\n{service}\n"
    );
    arena.put(path, &text, 0o644);
}

#[test]
fn real_units_become_what_their_golden_files_say() {
    let arena = Arena::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/import");
    for (name, words) in UNITS {
        for system in SYSTEMS {
            let text = import(&arena, system, words).ok();
            let golden = folder.join(format!("{name}.{system}"));
            if std::env::var_os("WRITE_GOLDEN").is_some() {
                fs::write(&golden, &text).expect("written");
            }
            assert_eq!(
                fs::read_to_string(&golden).expect("a golden file"),
                text,
                "{golden:?}"
            );
        }
    }
}

#[test]
fn the_scripts_of_every_definition_are_shell() {
    let arena = Arena::new();
    let service =
        "Restart=on-abnormal\nRestartSec=9\nExecReload=/bin/kill -HUP $MAINPID\nType=notify";
    let unit =
        "Description=it's \"$(touch /run/run)\" `touch /run/run`\nAfter=network.target x.service";
    put_unit(&arena, "/etc/a b'c\"d/x@.service", unit, service);
    for (name, words) in UNITS
        .into_iter()
        .chain([("wild", &["/etc/a b'c\"d/x@.service", "--instance=y"][..])])
    {
        for system in ["openrc", "runit", "s6"] {
            let folder = format!("/etc/{name}.{system}");
            arena.run(["mkdir", &folder]).ok();
            let output = format!("--output={folder}");
            let written = import(&arena, system, &[words, &[&output]].concat()).ok();
            for path in written.lines() {
                let is_program = arena.within(|| {
                    let mode = fs::metadata(path).expect(path).permissions().mode();
                    mode & 0o777 == 0o755
                });
                if is_program {
                    arena.run(["sh", "-n", path]).ok();
                }
            }
            assert!(!written.is_empty());
        }
    }
}

/// A program that writes down what it is told, a word a line.
const STUB: &str = "#!/bin/sh\nprintf '%s\\n' \"$@\" >>/run/executed.${0##*/}\n";

#[test]
fn nothing_in_a_unit_is_executed() {
    let arena = Arena::new();
    // A line's end comes out of %I alone: the instance is what the path of a device, or a customer's name, is made of.
    let instance = r"a\x0atouch\x20\x2frun\x2frun\x0a\x27\x22\x24\x28touch\x20\x2frun\x2frun\x29\x0d\x0areboot";
    let unit = "Description='; touch /run/run; ' %I \\\n$(touch /run/run) `touch /run/run`\n\
                Documentation=file:/%I\nAfter=%i.mount $(reboot).service\nWants=`reboot`\n[Install]\nWantedBy=a\\nb.target";
    put_unit(&arena, "/etc/wild/x 'y$z.d/x@.service", unit, "");
    let refused = import(
        &arena,
        "s6",
        &["/etc/wild/x 'y$z.d/x@.service", "--instance=1"],
    );
    assert!(
        refused
            .fails(1)
            .contains("give the unit file another place")
    );

    let file = "/etc/wild/x 'y\"z;#`touch /run/run`/x@.service";
    put_unit(&arena, file, unit, "");
    let name = format!("--instance={instance}");
    let property = "WorkingDirectory=/'; touch /run/run; ' \"b\"";
    arena.run(["mkdir", "/run/stubs"]).ok();
    for program in ["dynuser", "sv", "touch", "reboot"] {
        arena.put(&format!("/run/stubs/{program}"), STUB, 0o755);
    }
    let start = "#!/bin/sh\nwhile [ \"$1\" != --exec ]; do shift; done; shift; program=$1; shift 2; exec $program \"$@\"\n";
    arena.put("/run/stubs/start-stop-daemon", start, 0o755);
    // What a shell does with a script, and which words dynuser gets.
    let executes = |script: &str| {
        let script = script.replace("/usr/local/sbin/dynuser", "/run/stubs/dynuser");
        let script = format!("PATH=/run/stubs; RC_SVCNAME=x\n{script}");
        arena.put("/run/script", &script, 0o644);
        arena.sh("rm -f /run/executed.*; sh /run/script").ok();
        let others = arena.sh("ls /run/executed.* | grep -v -e dynuser -e sv");
        assert_eq!(others.stdout, "", "{script}");
        arena.run(["cat", "/run/executed.dynuser"]).ok()
    };
    let words = [file, &name, "-p", property];
    let command = ["run", "--unit-file", file, &name, "-p", property].join("\n");
    for system in ["runit", "s6"] {
        let all = import(&arena, system, &words).ok();
        let run = all
            .split("==> ")
            .nth(1)
            .expect("run")
            .split_once('\n')
            .expect("a header")
            .1;
        assert_eq!(executes(run), format!("{command}\n"), "{system}");
    }
    // In the background, and as openrc-run has supervise-daemon do it (sh/supervise-daemon.sh).
    let start = "ebegin() { :; }; eend() { :; }; start\n";
    let supervise = "eval \"exec $command --\" $command_args\n";
    for (property, rest) in [("Restart=no", start), ("Restart=always", supervise)] {
        let words = [&words[..], &["-p", property]].concat();
        let script = import(&arena, "openrc", &words).ok();
        let rest = format!("printf '%s\\n' \"$description\" >/run/description\n{rest}");
        let executed = executes(&format!("{script}\n{rest}"));
        let executed = executed.trim_start_matches("--\n");
        assert_eq!(executed, format!("{command}\n-p\n{property}\n"));
    }
    let description = arena.run(["cat", "/run/description"]).ok();
    assert!(
        description.starts_with("'; touch /run/run; ' a touch /run/run '\"$(touch"),
        "{description}"
    );
    assert_eq!(description.lines().count(), 1);
    assert!(arena.run(["test", "-e", "/run/run"]).status.code() == Some(1));
    // One line of a description is one line of dinit's.
    let dinit = import(&arena, "dinit", &words).ok();
    let keys: Vec<&str> = dinit
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("# "))
        .map(|line| line.split_once(" = ").expect(line).0)
        .collect();
    assert_eq!(
        keys,
        ["type", "command", "restart", "stop-timeout", "logfile"]
    );
}

#[test]
fn what_run_refuses_is_refused_in_the_same_words() {
    let arena = Arena::new();
    for (name, service, allow) in [
        ("value", "UMask=9", ""),
        ("unknown", "NoSuchThing=1", ""),
        (
            "unenforced",
            "RestrictFileSystems=ext4",
            "--allow-unenforced=RestrictFileSystems",
        ),
        ("together", "User=root", ""),
        ("commands", "Type=oneshot\nRestart=always", ""),
        ("unsaid", "", "-pDynamicUser=yes"),
    ] {
        let path = format!("/etc/systemd/system/{name}.service");
        put_unit(&arena, &path, "", service);
        if name == "unsaid" {
            arena.put(&path, "[Service]\nExecStart=/bin/true\n", 0o644);
        }
        let run = arena.run(["dynuser", "run", "--dry-run", "--unit-file", name]);
        let imported = import(&arena, "s6", &[name]);
        assert_eq!(imported.stdout, "", "{name}");
        let code = run.status.code().expect("a status");
        assert_ne!(code, 0, "{name}");
        assert_eq!(imported.fails(code), run.fails(code), "{name}");
        if !allow.is_empty() {
            let written = import(&arena, "s6", &[name, allow]).ok();
            let word = allow.replace("-pDynamicUser=yes", "-p 'DynamicUser=yes'");
            assert!(written.contains(&format!(" {word}\n")), "{written}");
        }
    }
    // Nothing is guessed.
    let refused = arena.run(["dynuser", "import", "monopd"]).fails(1);
    for system in SYSTEMS {
        assert!(refused.contains(&format!("--for={system}")), "{refused}");
    }
}

#[test]
fn what_others_have_written_stays() {
    let arena = Arena::new();
    put_unit(
        &arena,
        "/etc/systemd/system/x.service",
        "",
        "Restart=on-failure",
    );
    arena.run(["mkdir", "/etc/out"]).ok();
    let to = |system: &str, more: &[&str]| {
        import(
            &arena,
            system,
            &[&["x", "--output=/etc/out"], more].concat(),
        )
    };
    let mine = "#!/bin/sh\necho mine\n";
    // One file.
    arena.put("/etc/out/x", mine, 0o755);
    assert!(
        to("dinit", &[])
            .fails(1)
            .contains("/etc/out/x: is there already")
    );
    assert_eq!(arena.run(["cat", "/etc/out/x"]).ok(), mine);
    assert_eq!(to("dinit", &["--force"]).ok(), "/etc/out/x\n");
    to("dinit", &[]).ok();
    // A link is never written through.
    arena
        .sh("mv /etc/out/x /etc/mine; ln -s ../mine /etc/out/x")
        .ok();
    arena.put("/etc/mine", mine, 0o755);
    assert!(to("openrc", &[]).fails(1).contains("is there already"));
    to("openrc", &["--force"]).ok();
    assert_eq!(arena.run(["cat", "/etc/mine"]).ok(), mine);
    arena.sh("test ! -L /etc/out/x && rm /etc/out/x").ok();
    // A directory, one that is somebody's, and one that is in use.
    arena
        .sh("mkdir /etc/out/x && echo mine >/etc/out/x/run")
        .ok();
    assert!(
        to("runit", &[])
            .fails(1)
            .contains("/etc/out/x: is there already")
    );
    arena.sh("rm -r /etc/out/x").ok();
    to("runit", &[]).ok();
    arena
        .sh("mkdir /etc/out/x/supervise && touch /etc/out/x/down /etc/out/x/supervise/ok")
        .ok();
    let before = arena.run(["stat", "-c", "%i", "/etc/out/x"]).ok();
    put_unit(
        &arena,
        "/etc/systemd/system/x.service",
        "",
        "Restart=always",
    );
    let written = to("runit", &[]).ok();
    assert_eq!(written, "/etc/out/x/run\n/etc/out/x/log/run\n");
    assert_eq!(arena.run(["stat", "-c", "%i", "/etc/out/x"]).ok(), before);
    // What is not needed any more is gone; what the supervisor has there is not.
    let files = arena
        .sh("cd /etc/out; find . -type f -printf '%P %m\\n' | sort")
        .ok();
    assert_eq!(
        files,
        "x/down 644\nx/log/run 755\nx/run 755\nx/supervise/ok 644\n"
    );
    arena.put("/etc/out/x/log/run", mine, 0o755);
    assert!(
        to("runit", &[])
            .fails(1)
            .contains("/etc/out/x/log/run: is there already")
    );
    assert_eq!(arena.run(["cat", "/etc/out/x/log/run"]).ok(), mine);
    // Nowhere, and a place that is none.
    assert!(
        import(&arena, "s6", &["x", "--output=/etc/nowhere"])
            .fails(1)
            .contains("/etc/nowhere")
    );
    // No name leads out of the directory.
    put_unit(&arena, "/etc/systemd/system/..service", "", "");
    let refused = import(
        &arena,
        "runit",
        &["/etc/systemd/system/..service", "--output=/etc/out"],
    );
    assert_eq!(refused.stdout, "");
    refused.fails(1);
    to("runit", &["--name=y"]).ok();
    let run = arena.run(["cat", "/etc/out/y/run"]).ok();
    assert!(
        run.contains("run --unit-file /etc/systemd/system/x.service -u y\n"),
        "{run}"
    );
}

#[test]
fn a_socket_is_listened_to_and_so_is_a_service_that_one_starts() {
    let arena = Arena::new();
    let socket = |name: &str, lines: &str| {
        let text =
            format!("[Unit]\nDescription=knocks\n[Socket]\nListenStream=127.0.0.1:7\n{lines}\n");
        arena.put(&format!("/etc/systemd/system/{name}.socket"), &text, 0o644);
    };
    let command = |words: &[&str]| {
        let text = import(&arena, "dinit", words).ok();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("command = "));
        line.expect(&text).to_owned()
    };
    let listens = "/usr/local/sbin/dynuser listen --ready-fd=3 --unit-file /etc/systemd/system";
    put_unit(
        &arena,
        "/etc/systemd/system/each@.service",
        "",
        "StandardInput=socket",
    );
    socket("each", "Accept=yes");
    put_unit(&arena, "/etc/systemd/system/all.service", "", "");
    socket("all", "");
    for words in [
        &["each.socket"][..],
        &["each@.service"],
        &["/etc/systemd/system/each@.service"],
    ] {
        assert_eq!(command(words), format!("{listens}/each.socket"));
    }
    assert_eq!(command(&["all"]), format!("{listens}/all.socket"));
    // One instance by itself, and a service that the socket beside it does not start.
    let instance = command(&["each@.service", "--instance=7"]);
    assert!(
        instance.ends_with(" run --unit-file /etc/systemd/system/each@.service --instance=7"),
        "{instance}"
    );
    socket("all", "Service=other.service");
    assert!(command(&["all"]).ends_with(" run --unit-file /etc/systemd/system/all.service"));
    // It would be open, and refuse everybody.
    put_unit(
        &arena,
        "/etc/systemd/system/all.service",
        "",
        "NoSuchThing=1",
    );
    socket("all", "");
    let refused = import(&arena, "dinit", &["all.socket"]).fails(1);
    assert!(
        refused.contains("/etc/systemd/system/all.service:") && refused.contains("NoSuchThing"),
        "{refused}"
    );
    socket("all", "NoSuchThing=1");
    let refused = import(&arena, "dinit", &["all"]).fails(1);
    assert!(
        refused.contains("/etc/systemd/system/all.socket:"),
        "{refused}"
    );
}

/// An arena with all supervisors.
fn with_supervisors() -> Arena {
    let arena = Arena::new();
    packages::unpack(&arena);
    arena
}

/// Whether monopd answers.
fn answers(arena: &Arena) -> bool {
    let stream = arena.within(|| TcpStream::connect("127.0.0.1:1234"));
    let mut stream = match stream {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return false,
        stream => stream.expect("a connection"),
    };
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a time");
    let mut greeting = [0; 8];
    // One that ends just then has accepted, and says nothing.
    if stream.read_exact(&mut greeting).is_err() {
        return false;
    }
    assert_eq!(&greeting, b"<monopd>");
    true
}

fn spawn(arena: &Arena, script: &str) -> Running {
    arena.spawn(["sh", "-c", script])
}

#[test]
fn runit_runs_what_is_written_for_it() {
    let arena = with_supervisors();
    arena.run(["mkdir", "-p", "/run/service"]).ok();
    import(&arena, "runit", &["monopd", "--output=/run/service"]).ok();
    let scan = spawn(&arena, "exec runsvdir /run/service >/run/runit.log 2>&1");
    let folder = "/run/service/monopd";
    wait_until("monopd answers", || answers(&arena));
    // Type=notify, and nobody listens: dynuser stays, and the service is what its child is.
    let names = arena.list();
    let users: Vec<&str> = names
        .iter()
        .filter_map(|lease| lease["name"].as_str())
        .collect();
    assert!(
        users.contains(&"monopd") && users.contains(&"monopd-log"),
        "{users:?}"
    );
    arena.run(["sv", "-w", "50", "restart", folder]).ok();
    wait_until("monopd answers again", || answers(&arena));
    arena.run(["sv", "-w", "50", "stop", folder]).ok();
    arena.run(["sv", "-w", "50", "start", folder]).ok();
    wait_until("monopd answers once more", || answers(&arena));
    // Restart=no: when it dies by itself it stays down.
    arena
        .run([
            "sh",
            "-c",
            "kill -9 $(cat /run/service/monopd/supervise/pid)",
        ])
        .ok();
    wait_until("it is down", || {
        arena
            .run(["sv", "status", folder])
            .stdout
            .starts_with("down: ")
    });
    // Its log is a service, too.
    let status = arena.run(["sv", "status", folder]).stdout;
    assert!(status.contains("; run: log: "), "{status}");
    arena
        .run(["test", "-f", "/var/log/monopd-log/current"])
        .ok();
    arena.run(["sv", "-w", "50", "exit", folder]).ok();
    arena.wait_until_idle();
    drop(scan);
}

#[test]
fn s6_runs_what_is_written_for_it() {
    let arena = with_supervisors();
    arena.run(["mkdir", "/run/service"]).ok();
    import(&arena, "s6", &["monopd", "--output=/run/service"]).ok();
    let scan = spawn(&arena, "exec s6-svscan /run/service >/run/s6.log 2>&1");
    let folder = "/run/service/monopd";
    wait_until("s6-supervise is there", || {
        arena.run(["s6-svok", folder]).status.success()
    });
    arena.run(["s6-svwait", "-U", "-t", "50000", folder]).ok();
    assert!(answers(&arena), "it is not ready");
    let pid = arena.run(["s6-svstat", "-o", "pid", folder]).ok();
    let name = arena
        .run(["cat", &format!("/proc/{}/comm", pid.trim())])
        .ok();
    assert_eq!(name, "monopd\n", "the supervised process is the service");
    // Restart=no: it stays down, and can be started again.
    arena.run(["kill", "-9", pid.trim()]).ok();
    arena.run(["s6-svwait", "-D", "-t", "50000", folder]).ok();
    wait_until("it is given up", || {
        arena.run(["s6-svstat", "-o", "up,wantedup", folder]).stdout == "false false\n"
    });
    arena
        .run(["s6-svc", "-wU", "-T", "50000", "-u", folder])
        .ok();
    assert!(answers(&arena), "it is not ready");
    arena
        .run(["s6-svc", "-wD", "-T", "50000", "-d", folder])
        .ok();
    arena.wait_until_idle();
    assert!(!answers(&arena));
    drop(scan);
}

/// The process that a supervisor has, when it has another one than `former`.
fn next_sleep(arena: &Arena, former: &str, pid: &dyn Fn() -> String) -> String {
    let mut now = String::new();
    wait_until("it runs", || {
        now = pid().trim().to_owned();
        let name = arena.run(["cat", &format!("/proc/{now}/comm")]).stdout;
        now != former && name == "sleep\n"
    });
    now
}

#[test]
fn restarts_depend_on_the_end_under_runit_and_s6() {
    let arena = with_supervisors();
    put_unit(
        &arena,
        "/etc/systemd/system/x.service",
        "",
        "Restart=on-failure",
    );
    arena.run(["mkdir", "/run/service", "/run/scan"]).ok();
    import(&arena, "runit", &["x", "--output=/run/service"]).ok();
    import(&arena, "s6", &["x", "--output=/run/scan"]).ok();
    let runit = spawn(&arena, "exec runsvdir /run/service >/run/runit.log 2>&1");
    let pid = || arena.run(["cat", "/run/service/x/supervise/pid"]).stdout;
    let folder = "/run/service/x";
    let down = || {
        arena
            .run(["sv", "status", folder])
            .stdout
            .starts_with("down: ")
    };
    let first = next_sleep(&arena, "", &pid);
    arena.run(["kill", "-9", &first]).ok();
    let second = next_sleep(&arena, &first, &pid);
    // Somebody who asks for a new start gets one, although SIGTERM is a good end.
    arena.run(["sv", "-w", "50", "restart", folder]).ok();
    let third = next_sleep(&arena, &second, &pid);
    arena.run(["kill", "-TERM", &third]).ok();
    wait_until("it is down after a good end", down);
    // What `finish` has told runsv may come after what we tell it.
    wait_until("it starts again", || {
        let started = arena.run(["sv", "-w", "5", "start", folder]);
        started.status.success()
    });
    next_sleep(&arena, &third, &pid);
    arena.run(["sv", "-w", "50", "stop", folder]).ok();
    assert!(down());
    arena.run(["sv", "-w", "50", "exit", folder]).ok();
    drop(runit);

    arena.wait_until_idle();
    let s6 = spawn(&arena, "exec s6-svscan /run/scan >/run/s6.log 2>&1");
    let folder = "/run/scan/x";
    let pid = || arena.run(["s6-svstat", "-o", "pid", folder]).stdout;
    let first = next_sleep(&arena, "", &pid);
    arena.run(["kill", "-9", &first]).ok();
    let second = next_sleep(&arena, &first, &pid);
    arena.run(["kill", "-TERM", &second]).ok();
    wait_until("it is down after a good end", || {
        arena.run(["s6-svstat", "-o", "up,wantedup", folder]).stdout == "false false\n"
    });
    arena
        .run(["s6-svc", "-wu", "-T", "50000", "-u", folder])
        .ok();
    next_sleep(&arena, &second, &pid);
    arena
        .run(["s6-svc", "-wD", "-T", "50000", "-d", folder])
        .ok();
    arena.wait_until_idle();
    drop(s6);
}

#[test]
fn openrc_runs_what_is_written_for_it() {
    let arena = with_supervisors();
    arena
        .sh("cd /run && mkdir -p openrc/exclusive openrc/starting openrc/started openrc/stopping openrc/options openrc/daemons openrc/tmp && touch /run/openrc/softlevel")
        .ok();
    import(
        &arena,
        "openrc",
        &["monopd", "--output=/etc/init.d", "--force"],
    )
    .ok();
    let script = "trap 'echo >/run/x/told' HUP; echo >/run/x/up; while :; do sleep 0.1; done";
    put_unit(
        &arena,
        "/etc/systemd/system/x.service",
        "After=network.target",
        &format!(
            "Restart=always\nExecReload=/bin/kill -HUP $MAINPID\nRuntimeDirectory=x\nExecStart=\nExecStart=/bin/sh -c \"{script}\""
        ),
    );
    import(&arena, "openrc", &["x", "--output=/etc/init.d"]).ok();
    let described = arena.run(["rc-service", "monopd", "describe"]);
    let said = format!("{}{}", described.stdout, described.stderr);
    assert!(
        said.contains("game server for board games like GtkAtlantic"),
        "{said}"
    );
    arena.run(["rc-service", "monopd", "start"]).ok();
    wait_until("monopd answers", || answers(&arena));
    let status = arena.run(["rc-service", "monopd", "status"]).ok();
    assert!(status.contains("started"), "{status}");
    arena.run(["rc-service", "monopd", "restart"]).ok();
    wait_until("monopd answers again", || answers(&arena));
    arena.run(["rc-service", "monopd", "stop"]).ok();
    assert!(!answers(&arena));
    arena.wait_until_idle();
    // In place, under supervise-daemon, which starts it again.
    arena.run(["rc-service", "x", "start"]).ok();
    let child = || arena.run(["cat", "/run/openrc/options/x/child_pid"]).stdout;
    let is_up = |pid: &str| {
        let look = "test -e /run/x/up && grep -qx sh /proc/$1/comm";
        let looked = arena.run(["sh", "-c", look, "sh", pid.trim()]);
        looked.status.success()
    };
    let mut pid = String::new();
    wait_until("it runs", || {
        pid = child();
        is_up(&pid)
    });
    arena.run(["rc-service", "x", "reload"]).ok();
    wait_until("it got SIGHUP", || {
        arena.sh("test -e /run/x/told").status.success()
    });
    assert_eq!(child(), pid);
    // Not by that signal: supervise-daemon may miss the end of one who ends while it opens its FIFO again.
    let former = pid.clone();
    arena.run(["kill", "-KILL", former.trim()]).ok();
    wait_until("it runs again", || {
        pid = child();
        pid != former && is_up(&pid)
    });
    arena.run(["rc-service", "x", "stop"]).ok();
    arena.wait_until_idle();
}
