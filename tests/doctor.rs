//! `dynuser doctor`, from outside: on hosts with one thing wrong, and without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::{Arena, LEAVES_ONE_BEHIND};

const CONF: &str = "/etc/dynuser/dynuser.conf";

/// A host where dynuser is installed, with accounts that nobody but this test made.
fn host() -> Arena {
    let arena = Arena::with_module();
    // Other tests need it on this machine.
    arena.sh("rm -f /lib/ld-musl-*").ok();
    for (path, text) in [
        (
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n",
        ),
        ("/etc/group", "root:x:0:\nalice:x:1000:\n"),
        (
            "/etc/login.defs",
            "UID_MIN 1000\nUID_MAX 60000\nGID_MIN 1000\nGID_MAX 60000\n",
        ),
        ("/etc/subuid", "alice:100000:65536\n"),
        ("/etc/subgid", "alice:100000:65536\n"),
    ] {
        arena.put(path, text, 0o644);
    }
    arena
}

fn configure(arena: &Arena, text: &str) {
    arena.sh("mkdir -p /etc/dynuser/dynuser.conf.d").ok();
    arena.put(CONF, text, 0o644);
}

/// What is not ok.
fn trouble(arena: &Arena) -> Vec<serde_json::Value> {
    let said = arena.run(["dynuser", "doctor", "--json"]);
    let found: Vec<serde_json::Value> = serde_json::from_str(&said.stdout)
        .unwrap_or_else(|error| panic!("not an array: {error}: {said}"));
    let bad = |it: &&serde_json::Value| it["severity"] == "warning" || it["severity"] == "error";
    let status = i32::from(found.iter().any(|finding| bad(&finding)));
    assert_eq!(said.status.code(), Some(status), "{said}");
    assert_eq!(said.stderr, "");
    found
        .into_iter()
        .filter(|finding| finding["severity"] != "ok")
        .collect()
}

/// The only finding.
#[track_caller]
fn one(arena: &Arena) -> serde_json::Value {
    let mut found = trouble(arena);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[track_caller]
fn says(finding: &serde_json::Value, severity: &str, subject: &str, words: &[&str]) {
    assert_eq!(finding["severity"], severity, "{finding}");
    assert_eq!(finding["subject"], subject, "{finding}");
    let said = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let said = format!("{} -> {}", said("text"), said("help"));
    for word in words {
        assert!(said.contains(word), "{word}: {finding}");
    }
}

/// Does what a finding says: puts its exclusion into the configuration.
fn exclude_as_told(arena: &Arena, finding: &serde_json::Value) {
    let help = finding["help"].as_str().expect("what helps");
    let (line, _) = help
        .split_once(" in [Manager]")
        .expect("a line for the configuration");
    assert!(line.starts_with("UIDExclude="), "{help}");
    configure(arena, &format!("[Manager]\n{line}\n"));
}

#[test]
fn a_host_on_which_all_is_well_is_told_so_and_nothing_changes() {
    let arena = host();
    let before = arena.disk();
    let said = arena.run(["dynuser", "doctor"]).ok();
    assert!(
        said.contains("4336 numbers can be handed out: 61184-65519"),
        "{said}"
    );
    assert!(said.lines().all(|line| line.starts_with("ok  ")), "{said}");
    assert_eq!(trouble(&arena), Vec::<serde_json::Value>::new());
    assert_eq!(arena.disk(), before);
    assert_eq!(arena.daemons(), Vec::<String>::new());
    arena.run(["test", "-e", "/run/dynuser"]).fails(1);
}

#[test]
fn users_groups_and_delegations_in_the_range_are_named_and_exclusions_cure_each() {
    for (path, line, severity, subject, words) in [
        (
            "/etc/passwd",
            "human:x:61500:100::/:/bin/sh",
            "warning",
            "/etc/passwd",
            "human (61500)",
        ),
        (
            "/etc/group",
            "humans:x:61501:",
            "warning",
            "/etc/group",
            "humans (61501)",
        ),
        (
            "/etc/subuid",
            "bob:61000:1000",
            "error",
            "/etc/subuid:2",
            "61184-61999 are delegated to bob",
        ),
        (
            "/etc/subgid",
            "bob:65500:1000",
            "error",
            "/etc/subgid:2",
            "65500-65519 are delegated to bob",
        ),
        (
            "/etc/login.defs",
            "UID_MAX 62000",
            "warning",
            "/etc/login.defs",
            "61184-62000",
        ),
        (
            "/etc/login.defs",
            "GID_MAX 62000",
            "warning",
            "/etc/login.defs",
            "groupadd",
        ),
    ] {
        let arena = host();
        arena.append(path, line);
        let found = one(&arena);
        says(&found, severity, subject, &[words]);
        exclude_as_told(&arena, &found);
        assert_eq!(trouble(&arena), Vec::<serde_json::Value>::new(), "{line}");
    }
}

#[test]
fn ranges_elsewhere_are_compared_with_what_is_there() {
    let arena = host();
    configure(&arena, "[Manager]\nUIDRange=70000-70100 165000-165999\n");
    let found = trouble(&arena);
    let subjects: Vec<&str> = found
        .iter()
        .map(|it| it["subject"].as_str().unwrap())
        .collect();
    // What login.defs keeps for containers by default, twice, and what alice has of it.
    let wanted = [
        "/etc/login.defs",
        "/etc/login.defs",
        "/etc/subuid:1",
        "/etc/subgid:1",
    ];
    assert_eq!(subjects, wanted, "{found:?}");
    says(
        &found[2],
        "error",
        "/etc/subuid:1",
        &["165000-165535", "alice"],
    );
    configure(&arena, "[Manager]\nUIDRange=70000-70100\n");
    assert_eq!(trouble(&arena), Vec::<serde_json::Value>::new());
    configure(&arena, "[Manager]\nUIDRange=600100001-600100010\n");
    says(&one(&arena), "warning", "ranges", &["systemd-nspawn"]);
}

#[test]
fn a_broken_configuration_is_told_with_file_and_line() {
    let arena = host();
    configure(
        &arena,
        "# ours\n[Manager]\nUIDRange=61184-70000\nUIDRnage=1\n",
    );
    arena.put(
        "/etc/dynuser/dynuser.conf.d/20-late.conf",
        "[Manager]\nUIDExclude=\\\n  nonsense\n",
        0o644,
    );
    arena.put(
        "/etc/dynuser/dynuser.conf.d/10-early.conf",
        "[Service]\nUser=a\n",
        0o644,
    );
    arena.put("/etc/dynuser/dynuser.conf.d/README", "not read\n", 0o644);
    let text = arena.run(["dynuser", "doctor"]);
    let errors: Vec<&str> = text
        .stdout
        .lines()
        .filter(|line| line.starts_with("error"))
        .collect();
    let wanted = [
        (
            "/etc/dynuser/dynuser.conf:3:",
            "holds 65534, which is nobody",
        ),
        ("/etc/dynuser/dynuser.conf:4:", "UIDRnage= is not known"),
        ("/etc/dynuser/dynuser.conf.d/10-early.conf:2:", "[Manager]"),
        (
            "/etc/dynuser/dynuser.conf.d/20-late.conf:2:",
            "\"nonsense\"",
        ),
    ];
    assert_eq!(errors.len(), wanted.len(), "{text}");
    for ((place, why), line) in wanted.iter().zip(errors) {
        assert!(
            line.contains(place) && line.contains(why),
            "{place} {why}: {line}"
        );
    }
    text.fails(1);
    arena.sh("rm -r /etc/dynuser/dynuser.conf.d/*.conf").ok();
    configure(
        &arena,
        "[Manager]\nUIDRange=61184-61190\nUIDExclude=61185\n",
    );
    let said = arena.run(["dynuser", "doctor"]).ok();
    assert!(
        said.contains("6 numbers can be handed out: 61184-61190 without 61185"),
        "{said}"
    );
    arena.put(
        "/etc/dynuser/dynuser.conf.d/a.conf",
        "[Manager]\nUIDRange=61200\n",
        0o644,
    );
    let said = arena.run(["dynuser", "doctor"]).ok();
    assert!(
        said.contains("7 numbers can be handed out: 61184-61190 61200 without 61185"),
        "{said}"
    );
}

#[test]
fn a_configuration_that_somebody_else_may_have_written_is_refused() {
    for (change, subject, why) in [
        (format!("chown 1000 {CONF}"), CONF, "chown root"),
        (format!("chmod 666 {CONF}"), CONF, "chmod go-w"),
        (format!("chmod 664 {CONF}"), CONF, "chmod go-w"),
        (
            "chmod 777 /etc/dynuser".into(),
            "/etc/dynuser",
            "chmod go-w",
        ),
        (
            "chown 1000 /etc/dynuser".into(),
            "/etc/dynuser",
            "chown root",
        ),
        (
            "chmod 775 /etc/dynuser/dynuser.conf.d".into(),
            "/etc/dynuser/dynuser.conf.d",
            "chmod go-w",
        ),
        (
            format!("mv {CONF} /tmp/a; ln -s /tmp/a {CONF}"),
            CONF,
            "symbolic link",
        ),
        (format!("rm {CONF}; mkdir {CONF}"), CONF, "no regular file"),
        // Nobody writes into it: opening it must not wait.
        (
            format!("rm {CONF}; mkfifo -m 644 {CONF}"),
            CONF,
            "no regular file",
        ),
        (format!("truncate -s 2M {CONF}"), CONF, "larger than"),
        (
            format!("printf '[Manager]\\n#\\377\\n' > {CONF}"),
            "/etc/dynuser/dynuser.conf:2",
            "UTF-8",
        ),
    ] {
        let arena = host();
        configure(&arena, "[Manager]\n");
        arena.sh(&change).ok();
        let found = trouble(&arena);
        says(&found[0], "error", "configuration", &[subject, why]);
    }
}

#[test]
fn it_needs_no_root_but_for_what_only_root_may_read() {
    let arena = host();
    configure(&arena, "[Manager]\nUIDRange=61184-61190\n");
    let said = arena.command(["dynuser", "doctor"]).user(1000).run().ok();
    assert!(said.contains("7 numbers"), "{said}");
    arena.sh(&format!("chmod 600 {CONF}")).ok();
    let said = arena.command(["dynuser", "doctor"]).user(1000).run().ok();
    assert!(
        said.contains("note     configuration") && said.contains("as root: dynuser doctor"),
        "{said}"
    );
    assert!(arena.run(["dynuser", "doctor"]).ok().contains("7 numbers"));
}

#[test]
fn the_name_service_is_looked_at() {
    let arena = Arena::new();
    let said = arena.run(["dynuser", "doctor"]).fails_with_output(1);
    for words in [
        "passwd: does not name dynuser",
        "group: does not name dynuser",
        "libnss_dynuser.so.2: is not installed",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let arena = host();
    arena.put(
        "/etc/nsswitch.conf",
        "passwd: files systemd dynuser\ngroup: files dynuser\n",
        0o644,
    );
    says(
        &one(&arena),
        "note",
        "/etc/nsswitch.conf",
        &["names systemd before dynuser"],
    );
    arena.put(
        "/etc/nsswitch.conf",
        "passwd: files [NOTFOUND=return] dynuser\ngroup: dynuser\n",
        0o644,
    );
    says(
        &one(&arena),
        "warning",
        "/etc/nsswitch.conf",
        &["ends before dynuser"],
    );
}

#[test]
fn a_module_that_others_cannot_load_is_named_with_what_is_closed() {
    let arena = host();
    let find = "find /lib /usr/lib -name libnss_dynuser.so.2 | head -n 1 | xargs realpath";
    let module = arena.sh(find).ok();
    let module = module.trim();
    arena.run(["chmod", "600", module]).ok();
    let help = format!("chmod 644 {module}");
    says(
        &one(&arena),
        "warning",
        module,
        &["closed to others", &help],
    );
    arena.run(["chmod", "644", module]).ok();
    assert_eq!(trouble(&arena), Vec::<serde_json::Value>::new());
    // Of another machine, and none at all.
    arena
        .sh(&format!(
            "printf '\\263' | dd of={module} bs=1 seek=18 conv=notrunc 2>/dev/null"
        ))
        .ok();
    says(&one(&arena), "warning", module, &["another machine"]);
    arena.put(module, "#!/bin/sh", 0o644);
    says(&one(&arena), "warning", module, &["is no library"]);
}

#[test]
fn a_module_that_does_not_answer_is_found_by_asking_for_somebody() {
    let arena = host();
    let mut service = arena.spawn([
        "dynuser",
        "run",
        "-u",
        "wuff",
        "sh",
        "-c",
        "echo up; read -r _",
    ]);
    assert_eq!(service.line(), "up");
    assert_eq!(trouble(&arena), Vec::<serde_json::Value>::new());
    arena.run(["chmod", "700", "/run/dynuser/users"]).ok();
    let words = ["closed to others", "chmod 755 /run/dynuser/users"];
    says(&one(&arena), "warning", "/run/dynuser/users", &words);
    arena.run(["chmod", "755", "/run/dynuser/users"]).ok();
    // A library like any other, without what is asked for.
    let copy = "for m in $(find /lib /usr/lib -name libnss_dynuser.so.2); do cat \"$(ldconfig -p | sed -n 's/.*libz.so.1 .*=> //p;s/.*libm.so.6 .*=> //p' | head -n 1)\" > $m; done";
    arena.sh(copy).ok();
    says(
        &one(&arena),
        "warning",
        "name service",
        &["user wuff", "does not find it"],
    );
}

#[test]
fn nscd_and_programs_without_modules_are_told_of() {
    let arena = host();
    arena.sh("mkdir -p /run/nscd /var/cache/nscd; nscd").ok();
    says(
        &one(&arena),
        "note",
        "/run/nscd/socket",
        &["nscd (process", "told to forget"],
    );
    arena
        .sh("nscd --shutdown; mkdir -p /run/systemd/userdb")
        .ok();
    support::wait_until("nscd has gone", || trouble(&arena).is_empty());
    configure(&arena, "[Manager]\nUserDatabaseSocket=no\n");
    says(
        &one(&arena),
        "note",
        "/run/systemd/userdb",
        &["UserDatabaseSocket=auto"],
    );
    configure(&arena, "");
    arena.sh("touch /lib/ld-musl-x86_64.so.1").ok();
    says(&one(&arena), "note", "musl", &["NscdSocket=yes"]);
    configure(&arena, "[Manager]\nNscdSocket=yes\n");
    assert_eq!(trouble(&arena), Vec::<serde_json::Value>::new());
}

#[test]
fn leases_that_are_stuck_or_damaged_are_named() {
    let arena = host();
    // A command that stays root leaves a child that no signal of the user's reaches.
    let run = [
        "dynuser",
        "run",
        "--wait",
        "--quiet",
        "-u",
        "b",
        "!sh",
        "-c",
        LEAVES_ONE_BEHIND,
    ];
    arena.run(run).fails(3);
    let found = one(&arena);
    let uid = arena.list()[0]["uid"].to_string();
    says(
        &found,
        "warning",
        &format!("user b ({uid})"),
        &["in quarantine", "sleep"],
    );
    assert!(
        found["help"]
            .as_str()
            .unwrap()
            .ends_with("dynuser release b"),
        "{found}"
    );

    let arena = host();
    arena
        .sh("mkdir -p /run/dynuser/leases && echo '{' > /run/dynuser/leases/61300")
        .ok();
    says(
        &one(&arena),
        "error",
        "/run/dynuser/leases/61300",
        &["damaged"],
    );
}

#[test]
fn a_live_lease_outside_the_ranges_is_fine() {
    let arena = host();
    let mut service = arena.spawn(["dynuser", "run", "-u", "wuff", "sleep", "1000"]);
    service.wait_exec("sleep");
    assert_eq!(trouble(&arena), Vec::<serde_json::Value>::new());
    configure(&arena, "[Manager]\nUIDRange=70000-70100\n");
    says(
        &one(&arena),
        "note",
        "user wuff (63102)",
        &["outside the configured ranges"],
    );
    service.stop();
}

#[test]
fn limits_of_the_kernel_are_told_before_a_start_fails() {
    for (limit, severity) in [
        ("max_user_namespaces", "warning"),
        ("max_mnt_namespaces", "error"),
    ] {
        let arena = host();
        // Not the host's own limit: a file in its place.
        let path = format!("/proc/sys/user/{limit}");
        arena
            .sh(&format!(
                "echo 0 > /tmp/zero && mount --bind /tmp/zero {path}"
            ))
            .ok();
        says(
            &one(&arena),
            severity,
            &format!("user.{limit}"),
            &["refused"],
        );
    }
    let arena = host();
    arena.sh("mount -o remount,hidepid=2 /proc").ok();
    says(&one(&arena), "note", "/proc", &["hidepid=invisible"]);
}

#[test]
fn files_full_of_nonsense_are_survived() {
    let arena = host();
    for file in [
        "passwd",
        "group",
        "login.defs",
        "subuid",
        "subgid",
        "nsswitch.conf",
    ] {
        arena
            .sh(&format!("head -c 300000 /bin/bash > /etc/{file}"))
            .ok();
    }
    let said = arena.run(["dynuser", "doctor"]);
    assert!(matches!(said.status.code(), Some(0 | 1)), "{said}");
    assert!(
        !said.stdout.chars().any(|c| c.is_control() && c != '\n'),
        "{said}"
    );
    for file in ["passwd", "subuid"] {
        arena
            .sh(&format!("rm /etc/{file} && mkdir /etc/{file}"))
            .ok();
    }
    let said = arena.run(["dynuser", "doctor"]).fails_with_output(1);
    assert!(
        said.contains("/etc/passwd: cannot be read (Is a directory"),
        "{said}"
    );
}

#[test]
fn numbers_that_a_container_lacks_are_told() {
    let arena = host();
    configure(&arena, "[Manager]\nUIDRange=70000-70010\n");
    let said = arena
        .run(["unshare", "--user", "--map-root-user", "dynuser", "doctor"])
        .fails_with_output(1);
    for map in ["uid_map", "gid_map"] {
        let words = format!("error    /proc/self/{map}: 70000-70010 do not exist");
        assert!(said.contains(&words), "{said}");
    }
    assert_eq!(trouble(&arena), Vec::<serde_json::Value>::new());
}
