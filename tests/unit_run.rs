//! Services from unit files, of every type, with real programs in the real sandbox.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use rustix::process::Signal;
use support::{Arena, Running};

/// Writes a unit file, and says what runs it.
fn unit(arena: &Arena, lines: &[&str]) -> Vec<&'static str> {
    let text = format!(
        "[Service]\nDynamicUser=yes\nTimeoutStopSec=10\n{}\n",
        lines.join("\n")
    );
    arena.put("/run/probe.service", &text, 0o644);
    vec!["dynuser", "run", "--unit-file", "/run/probe.service"]
}

fn start(arena: &Arena, lines: &[&str]) -> Running {
    arena.spawn(unit(arena, lines))
}

/// Runs it to its end: what it said is `said`, and then nothing of it is left.
fn ends(arena: &Arena, lines: &[&str], status: i32, said: &[&str]) {
    let output = arena.run(unit(arena, lines));
    let text = output.stdout.clone();
    let told = output.stderr.clone();
    assert_eq!(text.lines().collect::<Vec<_>>(), said, "{told}");
    assert_eq!(output.status.code(), Some(status), "{told}");
    arena.wait_until_idle();
    let sockets = arena.sh("ls /run/dynuser/notify").ok();
    assert_eq!(sockets, "", "no socket stays");
}

/// Waits for a line, asks it to end, and reads the rest.
fn stopped(mut service: Running, line: &str, signal: Signal) -> (i32, Vec<String>) {
    assert_eq!(service.line(), line);
    service.signal(signal);
    let (status, rest) = service.end();
    let lines = rest.lines().map(str::to_owned).collect();
    (status.code().expect("an exit status"), lines)
}

const RESULT: &str =
    "ExecStopPost=/bin/sh -c 'echo post $$SERVICE_RESULT $$EXIT_CODE $$EXIT_STATUS'";

#[test]
fn all_commands_are_the_same_user_in_the_same_sandbox() {
    let arena = Arena::new();
    let look =
        "/bin/sh -c 'id -u; touch /tmp/shared; ls /tmp; cat /proc/self/status | grep NoNewPrivs'";
    let lines = [
        "Type=oneshot",
        &format!("ExecStartPre={look}"),
        &format!("ExecStart={look}"),
        &format!("ExecStartPost={look}"),
    ];
    let text = arena.run(unit(&arena, &lines)).ok();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 9, "{text}");
    assert_eq!(lines[..3], lines[3..6]);
    assert_eq!(lines[..3], lines[6..]);
    support::dynamic_uid(lines[0]);
    assert_eq!(lines[1..3], ["shared", "NoNewPrivs:\t1"]);
}

#[test]
fn commands_of_a_oneshot_and_what_follows() {
    let arena = Arena::new();
    let lines = [
        "Type=oneshot",
        "ExecStart=/bin/echo a",
        "ExecStart=-/bin/false",
        "ExecStart=/bin/echo b",
        RESULT,
    ];
    ends(&arena, &lines, 0, &["a", "b", "post success exited 0"]);
    let lines = [
        "Type=oneshot",
        "ExecStart=/bin/sh -c 'exit 6'",
        "ExecStart=/bin/echo never",
        RESULT,
    ];
    ends(&arena, &lines, 6, &["post exit-code exited 6"]);
    let lines = [
        "ExecStartPre=/bin/sh -c 'exit 4'",
        "ExecStart=/bin/echo never",
        RESULT,
    ];
    ends(&arena, &lines, 4, &["post exit-code"]);
    let lines = [
        "ExecCondition=/bin/sh -c 'exit 3'",
        "ExecStart=/bin/echo never",
        RESULT,
    ];
    ends(&arena, &lines, 0, &["post exec-condition"]);
    let lines = ["ExecStart=/no/such/program", RESULT];
    ends(&arena, &lines, 203, &["post exit-code exited 203"]);
    let lines = [
        "ExecStart=/bin/sh -c 'exit 75'",
        "SuccessExitStatus=TEMPFAIL",
    ];
    ends(&arena, &lines, 0, &[]);
}

#[test]
fn nothing_to_do_after_the_start_means_the_same_process() {
    let arena = Arena::new();
    let lines = [
        "ExecStartPre=/bin/echo before",
        "ExecStart=/bin/sh -c 'echo up; exec sleep 1000'",
    ];
    let mut service = start(&arena, &lines);
    assert_eq!(service.line(), "before");
    assert_eq!(service.line(), "up");
    service.wait_exec("sleep");
    let (status, _) = {
        service.signal(Signal::TERM);
        service.end()
    };
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(15)
    );
}

#[test]
fn prefixes_of_commands() {
    let arena = Arena::new();
    let lines = [
        "Type=oneshot",
        "ExecStartPre=+/bin/sh -c 'echo plus $(id -u); touch /root-was-here && rm /root-was-here && echo writes'",
        "ExecStartPre=!/bin/sh -c 'echo bang $(id -u)'",
        "ExecStart=@/bin/sh called -c 'echo $$0 $(test $(id -u) -gt 60000 && echo user)'",
        "ExecStopPost=-+/bin/sh -c 'echo after $(id -u); exit 9'",
    ];
    ends(
        &arena,
        &lines,
        0,
        &["plus 0", "writes", "bang 0", "called user", "after 0"],
    );
}

#[test]
fn a_stop_runs_its_commands_and_ends_all() {
    let arena = Arena::new();
    let lines = [
        "ExecStart=/bin/sh -c 'setsid sleep 1000 & trap \"echo bye; exit 0\" TERM; echo up; while :; do sleep 0.05; done'",
        "ExecStop=/bin/sh -c 'echo stop; kill -0 $$MAINPID && echo there'",
        RESULT,
    ];
    let (status, lines) = stopped(start(&arena, &lines), "up", Signal::TERM);
    assert_eq!(lines, ["stop", "there", "bye", "post success exited 0"]);
    assert_eq!(status, 0);
    arena.wait_until_idle();
    let lines = [
        "ExecStart=/bin/sh -c 'trap \"\" TERM; echo up; while :; do sleep 1; done'",
        "KillSignal=SIGTERM",
        "TimeoutStopSec=200ms",
        RESULT,
    ];
    let (status, lines) = stopped(start(&arena, &lines), "up", Signal::TERM);
    assert_eq!(
        (status, lines),
        (137, vec!["post timeout killed KILL".into()])
    );
    let lines = [
        "KillSignal=SIGINT",
        "ExecStart=/bin/sh -c 'trap \"echo int; exit 3\" INT; echo up; while :; do sleep 0.05; done'",
    ];
    let (status, lines) = stopped(start(&arena, &lines), "up", Signal::TERM);
    assert_eq!((status, lines), (3, vec!["int".into()]));
}

#[test]
fn one_of_a_shared_user_leaves_the_other_alone() {
    let arena = Arena::new();
    let mut other = arena.spawn(["dynuser", "run", "-u", "both", "sleep", "1000"]);
    other.wait_exec("sleep");
    let lines = [
        "User=both",
        "ExecStart=/bin/sh -c 'sleep 1000 & echo up; wait'",
        RESULT,
    ];
    let (status, lines) = stopped(start(&arena, &lines), "up", Signal::TERM);
    assert_eq!(
        (status, lines),
        (0, vec!["post success killed TERM".into()])
    );
    assert!(other.runs());
    other.stop();
}

const SAY: &str = "import os,socket,sys,time\ndef say(t):\n s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.connect(os.environ['NOTIFY_SOCKET']); s.send(t.encode())\n";

fn python(arena: &Arena, text: &str) -> &'static str {
    arena.put("/run/probe.py", &format!("{SAY}{text}"), 0o644);
    "ExecStart=/usr/bin/python3 /run/probe.py"
}

#[test]
fn one_that_notifies_reaches_us_from_its_sandbox() {
    let arena = Arena::new();
    let start_line = python(&arena, "say('READY=1'); time.sleep(1000)");
    for more in [
        "PrivateTmp=yes",
        "PrivateNetwork=yes",
        "PrivateUsers=yes",
        "PrivateIPC=yes",
        "ProtectSystem=strict",
    ] {
        let lines = [
            "Type=notify",
            start_line,
            more,
            "ExecStartPost=/bin/echo started",
            "ExecStop=/bin/echo stop",
            RESULT,
        ];
        let mut service = start(&arena, &lines);
        assert_eq!(service.line(), "started", "{more}");
        // Its own end is asked for only once the command beside it has ended: that starts nothing more.
        service.signal(Signal::TERM);
        let (_, rest) = service.end();
        assert!(rest.contains("post "), "{more}: {rest}");
        arena.wait_until_idle();
    }
    let start_line = python(&arena, "sys.exit(0)");
    ends(
        &arena,
        &["Type=notify", start_line, RESULT],
        1,
        &["post protocol exited 0"],
    );
}

#[test]
fn a_reload_is_told_and_done() {
    let arena = Arena::new();
    let text = "import signal\ndef hup(n,f): say('RELOADING=1\\nMONOTONIC_USEC=%d' % (time.monotonic_ns()//1000)); os.write(1,b'reloads\\n'); say('READY=1')\nsignal.signal(signal.SIGHUP,hup)\nsay('READY=1'); print('up',flush=True)\nwhile True: time.sleep(1)";
    let mut service = start(
        &arena,
        &["Type=notify-reload", python(&arena, text), RESULT],
    );
    assert_eq!(service.line(), "up");
    service.signal(Signal::HUP);
    assert_eq!(service.line(), "reloads");
    let (status, lines) = {
        service.signal(Signal::TERM);
        service.end()
    };
    assert_eq!(
        (status.code(), lines.trim()),
        (Some(0), "post success killed TERM")
    );
}

#[test]
fn a_forking_service_and_its_pid_file() {
    let arena = Arena::new();
    let lines = [
        "Type=forking",
        "RuntimeDirectory=probe",
        "PIDFile=probe/pid",
        "ExecStart=/bin/sh -c '(sleep 0.2; exit 7) & echo $$! >/run/probe/pid'",
        RESULT,
    ];
    ends(&arena, &lines, 7, &["post exit-code exited 7"]);
    let lines = [
        "Type=forking",
        "RuntimeDirectory=probe",
        "PIDFile=/run/probe/pid",
        "TimeoutStartSec=200ms",
        "ExecStart=/bin/sh -c 'sleep 1000 & ln -s /dev/zero /run/probe/pid'",
        RESULT,
    ];
    ends(&arena, &lines, 1, &["post timeout"]);
    let lines = [
        "Type=forking",
        "ExecStart=/bin/sh -c '(sleep 0.2; exit 7) & exit 0'",
        RESULT,
    ];
    ends(&arena, &lines, 7, &["post exit-code exited 7"]);
}

#[test]
fn one_that_remains_keeps_its_user() {
    let arena = Arena::new();
    let lines = [
        "User=holder",
        "Type=oneshot",
        "RemainAfterExit=yes",
        "ExecStart=/bin/true",
        "ExecStartPost=/bin/echo on",
        "ExecStop=/bin/echo off",
    ];
    let mut service = start(&arena, &lines);
    assert_eq!(service.line(), "on");
    assert_eq!(arena.list().len(), 1);
    service.signal(Signal::TERM);
    service.end();
    arena.wait_until_idle();
    assert!(arena.list().is_empty());
}

#[test]
fn times_and_restarts() {
    let arena = Arena::new();
    let lines = ["ExecStart=/bin/sleep 1000", "RuntimeMaxSec=200ms", RESULT];
    ends(&arena, &lines, 143, &["post timeout killed TERM"]);
    let count = "ExecStart=/bin/sh -c 'echo x >>/tmp/n; echo run; test $$(wc -l </tmp/n) = 2'";
    let lines = ["Restart=on-failure", "RestartSec=10ms", count, RESULT];
    let mut words = unit(&arena, &lines);
    words.insert(2, "--supervise");
    let text = arena.run(words).ok();
    let bad = "post exit-code exited 1";
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        ["run", bad, "run", "post success exited 0"]
    );
}
