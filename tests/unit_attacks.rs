//! What a service from a unit file prepares for what root does later, and rules that must not get lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::Arena;

/// What a unit says and whether it ended well.
fn run(arena: &Arena, lines: &[&str]) -> (bool, String, String) {
    let text = format!("[Service]\nType=oneshot\n{}\n", lines.join("\n"));
    arena.put("/run/probe.service", &text, 0o644);
    let output = arena.run(["dynuser", "run", "--unit-file", "/run/probe.service"]);
    (output.status.success(), output.stdout, output.stderr)
}

const PLANT: &str = "ExecStart=/bin/ln -s /run/victim /var/lib/st/planted";

#[test]
fn root_follows_no_link_of_the_services_to_its_output() {
    for (privilege, how) in [("+", "truncate"), ("!", "append"), ("+", "file")] {
        let arena = Arena::new();
        arena.put("/run/victim", "precious\n", 0o644);
        let (ended_well, _, told) = run(
            &arena,
            &[
                "DynamicUser=yes\nStateDirectory=st",
                "ReadWritePaths=/run/victim",
                &format!("StandardOutput={how}:/var/lib/st/planted"),
                "ExecStart=/bin/sh -c 'rm /var/lib/st/planted; ln -s /run/victim /var/lib/st/planted'",
                &format!("ExecStart={privilege}/bin/echo attack"),
            ],
        );
        assert!(!ended_well, "{privilege} {how}");
        assert!(told.contains("/var/lib/st/planted"), "{told}");
        assert_eq!(
            arena.sh("cat /run/victim").ok(),
            "precious\n",
            "{privilege} {how}"
        );
    }
}

#[test]
fn root_gets_no_variables_that_the_service_wrote() {
    for privilege in ["+", "!"] {
        let arena = Arena::new();
        let lines = [
            "DynamicUser=yes\nStateDirectory=st",
            "EnvironmentFile=-/var/lib/st/env",
            "ExecStart=/bin/sh -c 'echo LD_PRELOAD=/var/lib/st/evil.so > /var/lib/st/env'",
        ];
        let own = "ExecStart=/bin/sh -c 'echo own $LD_PRELOAD'";
        let (ended_well, _, told) = run(&arena, &[&lines[..], &[own]].concat());
        assert!(ended_well, "{told}");
        let roots = format!("ExecStart={privilege}/bin/echo root");
        let (ended_well, said, told) = run(&arena, &[&lines[..], &[&roots]].concat());
        assert!(
            !ended_well && !said.contains("root"),
            "{privilege}: {said}{told}"
        );
        assert!(told.contains("/var/lib/st/env"), "{told}");
    }
}

#[test]
fn root_still_writes_to_a_file_of_the_services() {
    let arena = Arena::new();
    let (ended_well, _, told) = run(
        &arena,
        &[
            "DynamicUser=yes\nStateDirectory=st",
            "StandardOutput=append:/var/lib/st/log",
            "ExecStart=/bin/echo service",
            "ExecStart=+/bin/echo full",
            "ExecStart=!/bin/echo root",
            "ExecStart=!!/bin/echo ambient",
        ],
    );
    assert!(ended_well, "{told}");
    let log = arena.sh("cat /var/lib/st/log").ok();
    assert_eq!(log, "service\nfull\nroot\nambient\n");
}

#[test]
fn root_reads_nothing_for_the_service_through_its_links() {
    let arena = Arena::new();
    arena.put("/run/victim", "SECRET=abc\n", 0o600);
    let (ended_well, said, told) = run(
        &arena,
        &[
            "DynamicUser=yes\nStateDirectory=st",
            "EnvironmentFile=-/var/lib/st/planted",
            PLANT,
            "ExecStart=/usr/bin/env",
        ],
    );
    assert!(!ended_well, "{said}");
    assert!(!said.contains("SECRET"), "{said}");
    assert!(told.contains("/var/lib/st/planted"), "{told}");
    let lines = [
        "DynamicUser=yes\nStateDirectory=st",
        "LoadCredential=key:/var/lib/st/planted",
        "ExecStart=/bin/sh -c 'cat $$CREDENTIALS_DIRECTORY/key'",
    ];
    let (ended_well, said, told) = run(&arena, &lines);
    assert!(!ended_well && !said.contains("SECRET"), "{said}{told}");
    // What it writes itself it may have.
    arena
        .sh("rm /var/lib/st/planted; echo OWN=1 > /var/lib/st/planted")
        .ok();
    let (ended_well, said, told) = run(&arena, &lines);
    assert!(ended_well, "{told}");
    assert_eq!(said, "OWN=1\n");
}

/// Which of the paths can be written to.
fn writable(arena: &Arena, rules: &[&str], paths: &str) -> String {
    let look = format!(
        "ExecStart=/bin/sh -c 'for path in {paths}; do touch $$path/new 2>/dev/null && echo $$path; done; true'"
    );
    let (ended_well, said, told) = run(
        arena,
        &[&["DynamicUser=yes\nStateDirectory=st"], rules, &[&look]].concat(),
    );
    assert!(ended_well, "{told}");
    said
}

#[test]
fn what_is_to_be_read_only_is_so_wherever_it_lies() {
    let arena = Arena::new();
    arena
        .sh("mkdir -p /run/a/ro/deep /run/b/ro /run/target; chmod -R 777 /run/a /run/b")
        .ok();
    let rules = [
        "ReadWritePaths=/run/a /run/a/ro/deep",
        "ReadOnlyPaths=/run/a/ro",
        "BindPaths=/run/b:/run/target",
        "ReadOnlyPaths=/run/target/ro",
    ];
    let paths = "/run/a /run/a/ro /run/a/ro/deep /run/target /run/target/ro /var/lib/st";
    assert_eq!(
        writable(&arena, &rules, paths),
        "/run/a\n/run/a/ro/deep\n/run/target\n/var/lib/st\n"
    );
    // By its public name, which is a link.
    let rules = ["ReadOnlyPaths=/var/lib/st"];
    assert_eq!(writable(&arena, &rules, "/var/lib/st /tmp"), "/tmp\n");
    // Of both the stricter one, every time.
    for _ in 0..5 {
        let rules = ["ReadWritePaths=/run/a", "ReadOnlyPaths=/run/a"];
        assert_eq!(writable(&arena, &rules, "/run/a /tmp"), "/tmp\n");
        let rules = [
            "BindReadOnlyPaths=/run/b:/run/target/in",
            "BindPaths=/run/a:/run/target",
        ];
        arena.sh("mkdir -p /run/a/in; chmod 777 /run/a/in").ok();
        let paths = "/run/target /run/target/in";
        assert_eq!(writable(&arena, &rules, paths), "/run/target\n");
    }
}

#[test]
fn what_is_lifted_hides_nothing_of_the_sandbox() {
    let arena = Arena::new();
    arena
        .sh("mkdir -p /var/lib/private /run/credentials; chmod 700 /var/lib/private; touch /run/of-the-host")
        .ok();
    for lifted in [
        "ReadWritePaths=/run /var /proc /sys /home",
        "ExecPaths=/run /var",
    ] {
        let (ended_well, said, told) = run(
            &arena,
            &[
                "DynamicUser=yes\nStateDirectory=st\nRuntimeDirectory=rt\nSetCredential=key:secret",
                "ProtectProc=invisible\nProtectHome=yes\nProtectControlGroups=yes\nProtectKernelTunables=yes",
                "InaccessiblePaths=/run/of-the-host",
                lifted,
                "ExecStart=/bin/sh -c 'cat $$CREDENTIALS_DIRECTORY/key; echo; touch /var/lib/st/x /run/rt/x && echo own'",
                "ExecStart=/bin/sh -c 'ls /home 2>/dev/null || echo no homes; cat /run/of-the-host 2>/dev/null || echo hidden; ls -d /proc/1 2>/dev/null || echo alone'",
                "ExecStart=/bin/sh -c 'findmnt -no OPTIONS -T /sys/fs/cgroup | tail -1 | cut -d, -f1; findmnt -no OPTIONS -T /proc/sys | tail -1 | cut -d, -f1; findmnt -no OPTIONS -T /sys | tail -1 | cut -d, -f1; ls -A /var/tmp'",
            ],
        );
        assert!(ended_well, "{told}");
        let wanted = "secret\nown\nno homes\nhidden\nalone\nro\nro\nro\n";
        assert_eq!(said, wanted, "{lifted}: {told}");
    }
    let (ended_well, _, told) = run(
        &arena,
        &["DynamicUser=yes\nReadWritePaths=/", "ExecStart=/bin/true"],
    );
    assert!(!ended_well && told.contains("ReadWritePaths=/"), "{told}");
}

#[test]
fn rules_about_processes_hold_in_a_pid_namespace() {
    let arena = Arena::new();
    let (ended_well, said, told) = run(
        &arena,
        &[
            "DynamicUser=yes\nPrivatePIDs=yes\nInaccessiblePaths=/proc/version",
            "ExecStart=/bin/sh -c 'cat /proc/version 2>/dev/null || echo hidden'",
        ],
    );
    assert!(ended_well, "{told}");
    assert_eq!(said, "hidden\n");
}

#[test]
fn a_user_of_the_host_has_the_mounts_of_what_it_asks_for() {
    let arena = Arena::new();
    let (ended_well, said, told) = run(
        &arena,
        &[
            "DynamicUser=no\nUser=root\nProtectKernelTunables=yes\nProtectKernelLogs=yes",
            "ExecStart=/bin/sh -c 'findmnt -no OPTIONS /proc/sys | cut -d, -f1; stat -c %%a /proc/kmsg'",
        ],
    );
    assert!(ended_well, "{told}");
    assert_eq!(said, "ro\n0\n");
}
