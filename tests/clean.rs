//! Removing what services left: `dynuser clean` and `dynuser gc`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::{Arena, wait_until};

const RECORD: &str = "/var/lib/dynuser/directories";

const KINDS: [&str; 4] = [
    "StateDirectory=wuff wuff/in par/ent/wuff",
    "CacheDirectory=wuff",
    "LogsDirectory=wuff",
    "RuntimeDirectory=wuff",
];

/// Runs a service with these properties to its end, and waits for nothing.
fn run(arena: &Arena, service: &str, properties: &[&str], script: &str) {
    let mut words = vec!["dynuser", "run", "-u", service];
    words.extend(properties.iter().flat_map(|property| ["-p", property]));
    words.extend(["sh", "-c", script]);
    arena.run(words).ok();
}

fn clean(arena: &Arena, words: &[&str]) -> String {
    arena.run([&["dynuser", "clean"], words].concat()).ok()
}

/// A record that is there before any daemon.
fn record(arena: &Arena, service: &str, directories: &str) {
    arena
        .sh("mkdir -pm 700 /var/lib/dynuser && touch /var/lib/dynuser/directories")
        .ok();
    let line = format!(
        r#"{{"service":"{service}","user":"{service}","started":1700000000,"directories":[{directories}]}}"#
    );
    arena.append(RECORD, &line);
    arena.run(["chmod", "600", RECORD]).ok();
}

#[test]
fn each_kind_goes_when_it_is_named_and_nothing_else_does() {
    let arena = Arena::new();
    arena.sh("mkdir -m 700 /var/lib/private; mkdir /var/lib/neighbour /var/lib/private/neighbour /etc/wuff").ok();
    let before = arena.disk();
    let fill = "for d in /var/lib/wuff /var/lib/wuff/in /var/lib/par/ent/wuff /var/cache/wuff /var/log/wuff; do \
        mkdir $d/sub && echo x > $d/sub/file; done";
    run(&arena, "wuff", &KINDS, fill);
    let all = arena.disk();
    assert!(
        all.contains("/var/lib/private/par/ent/wuff/sub/file"),
        "{all}"
    );
    assert_eq!(
        clean(&arena, &["wuff"]),
        "/var/cache/private/wuff\n/var/cache/wuff\n"
    );
    assert_eq!(clean(&arena, &["wuff"]), "nothing to remove\n");
    let kept = arena.disk();
    assert!(kept.contains("/var/log/private/wuff/sub/file"), "{kept}");
    let gone = clean(
        &arena,
        &["wuff.service", "--what=state", "--what", "logs,runtime"],
    );
    assert_eq!(
        gone,
        "/var/lib/private/par/ent/wuff\n/var/lib/private/par/ent\n/var/lib/private/par\n\
         /var/lib/par/ent/wuff\n/var/lib/par/ent\n/var/lib/par\n\
         /var/lib/private/wuff\n/var/lib/wuff\n/var/log/private/wuff\n/var/log/wuff\n"
    );
    arena.sh("rmdir /var/cache/private /var/log/private").ok();
    assert_eq!(arena.disk(), before);
    assert_eq!(
        clean(&arena, &["wuff", "--what=all"]),
        "nothing to remove\n"
    );
    arena.run(["test", "-d", "/etc/wuff"]).ok();
}

#[test]
fn words_and_names_that_mean_nothing_are_refused_and_only_root_may_ask() {
    let arena = Arena::new();
    let ask = |words: &[&str]| arena.run([&["dynuser", "clean"], words].concat()).fails(1);
    let why = ask(&["wuff", "--what=state,everything"]);
    assert!(
        why.contains("runtime, state, cache, logs, configuration, all"),
        "{why}"
    );
    let why = ask(&["wuff", "--what=all"]);
    assert!(
        why.contains("recorded") && why.contains("-p StateDirectory="),
        "{why}"
    );
    for property in ["User=x", "StateDirectory=../etc", "StateDirectory"] {
        ask(&["wuff", "-p", property]);
    }
    ask(&["a/b"]);
    for verb in ["clean", "gc"] {
        let words = ["dynuser", verb, "wuff"];
        let words = &words[..if verb == "gc" { 2 } else { 3 }];
        let output = arena.command(words).user(1000).run();
        assert!(output.fails(1).contains("root"));
    }
}

#[test]
fn what_a_service_had_is_known_to_the_next_daemon_and_after_a_reboot() {
    let arena = Arena::new();
    run(&arena, "wuff", &KINDS, "true");
    arena.kill_daemons();
    assert_eq!(
        clean(&arena, &["wuff", "--what=logs"]),
        "/var/log/private/wuff\n/var/log/wuff\n"
    );
    arena.wait_until_idle();
    arena.kill_daemons();
    arena.sh("rm -rf /run/dynuser /run/wuff /dev/shm/*").ok();
    let gone = clean(&arena, &["wuff", "--what=all"]);
    assert!(
        gone.contains("/var/lib/private/wuff\n") && gone.contains("/var/cache/wuff\n"),
        "{gone}"
    );
    assert!(!gone.contains("/run/"), "{gone}");
    // Without the record it takes a name.
    run(&arena, "wuff", &KINDS[..1], "true");
    arena.kill_daemons();
    arena.run(["rm", RECORD]).ok();
    let words = [
        "wuff",
        "--what=state",
        "-p",
        "StateDirectory=wuff par/ent/wuff",
    ];
    assert!(clean(&arena, &words).contains("/var/lib/private/wuff\n/var/lib/wuff\n"));
    assert_eq!(arena.sh("ls -A /var/lib").ok(), "dynuser\nprivate\n");
}

#[test]
fn a_service_that_runs_keeps_its_directories_and_so_does_what_is_in_and_around_them() {
    let arena = Arena::new();
    run(&arena, "inner", &["StateDirectory=a/b/c"], "true");
    arena.sh("rm -r /var/lib/a /var/lib/private/a").ok();
    run(&arena, "outer", &["StateDirectory=a"], "true");
    let words = [
        "dynuser",
        "run",
        "-u",
        "wuff",
        "-p",
        "StateDirectory=a/b",
        "sh",
        "-c",
        "echo up; read end; true",
    ];
    arena.sh("rm -rf /var/lib/a /var/lib/private/a").ok();
    let mut service = arena.spawn(words);
    assert_eq!(service.line(), "up");
    let before = arena.disk();
    for name in ["inner", "outer", "wuff"] {
        let words = ["dynuser", "clean", name, "--what=state"];
        let why = arena.run(words).fails(1);
        assert!(why.contains("wuff") && why.contains("running"), "{why}");
    }
    // Of a running service nothing goes, whatever is asked for.
    arena.run(["dynuser", "clean", "wuff"]).fails(1);
    let why = arena.run(["dynuser", "gc", "--remove", "a/b"]).fails(1);
    assert!(why.contains("belongs to service outer"), "{why}");
    assert_eq!(arena.disk(), before);
    assert!(service.end().0.success());
    // Its end may take a moment, which is waited for.
    let gone = clean(&arena, &["wuff", "--what=state"]);
    assert!(gone.starts_with("/var/lib/private/a/b\n"), "{gone}");
}

#[test]
fn what_another_service_had_does_not_go_with_a_tree_or_by_a_wrong_name() {
    let arena = Arena::new();
    record(
        &arena,
        "outer",
        r#"{"kind":"state","path":"a","private":true}"#,
    );
    record(
        &arena,
        "inner",
        r#"{"kind":"state","path":"a/b","private":true}"#,
    );
    arena
        .sh("mkdir -m 700 /var/lib/private; mkdir -p /var/lib/private/a/b")
        .ok();
    let why = arena
        .run(["dynuser", "clean", "outer", "--what=state"])
        .fails(238);
    assert!(
        why.contains("/var/lib/a/b") && why.contains("clean inner"),
        "{why}"
    );
    for path in ["a/b", "a/b/c"] {
        let named = format!("StateDirectory={path}");
        let why = arena
            .run(["dynuser", "clean", "x", "--what=state", "-p", &named])
            .fails(238);
        assert!(why.contains("inner") || why.contains("outer"), "{why}");
    }
    assert_eq!(
        clean(&arena, &["inner", "--what=state"]),
        "/var/lib/private/a/b\n"
    );
    arena.run(["test", "-d", "/var/lib/private/a"]).ok();
    assert_eq!(
        clean(&arena, &["outer", "--what=state"]),
        "/var/lib/private/a\n"
    );
}

#[test]
fn a_hostile_tree_goes_and_what_it_points_to_stays() {
    let arena = Arena::new();
    let build = "import os
os.chdir('/var/lib/wuff')
for name in (b'new\\nline', b'\\xff\\xfe', b'x' * 255, b'-rf', b'...', b'dynuser-1'):
    os.mkdir(name); open(name + b'/f', 'w').close()
os.symlink('/home/victim', 'to-directory'); os.symlink('/home/victim/file', 'to-file')
os.symlink('/', 'new\\nline/root'); os.symlink('..', 'up')
os.mkfifo('fifo'); os.mkdir('sticky', 0o1777); os.chmod('-rf', 0)
for depth in range(2000): os.mkdir('d'); os.chdir('d')";
    arena.sh("mkdir /home/victim && echo precious > /home/victim/file && chmod -R go+rwX /home/victim").ok();
    let before = arena.sh("find /home -ls").ok();
    let words = [
        "dynuser",
        "run",
        "-u",
        "wuff",
        "-p",
        "StateDirectory=wuff",
        "python3",
        "-c",
        build,
    ];
    arena.run(words).ok();
    assert_eq!(
        clean(&arena, &["wuff", "--what=state"]),
        "/var/lib/private/wuff\n/var/lib/wuff\n"
    );
    assert_eq!(
        arena.sh("ls -A /var/lib /var/lib/private").ok(),
        "/var/lib:\ndynuser\nprivate\n\n/var/lib/private:\n"
    );
    assert_eq!(arena.sh("find /home -ls").ok(), before);
}

#[test]
fn a_mount_inside_is_told_and_a_mount_point_is_emptied() {
    let arena = Arena::new();
    run(
        &arena,
        "wuff",
        &["StateDirectory=wuff"],
        "mkdir -p /var/lib/wuff/a/b",
    );
    arena
        .sh(
            "mkdir /home/victim && echo precious > /home/victim/file && \
             mount --bind /home/victim /var/lib/private/wuff/a/b",
        )
        .ok();
    let why = arena
        .run(["dynuser", "clean", "wuff", "--what=state"])
        .fails(238);
    assert!(
        why.contains("/var/lib/private/wuff") && why.contains("unmount"),
        "{why}"
    );
    assert_eq!(arena.run(["cat", "/home/victim/file"]).ok(), "precious\n");
    arena
        .sh("umount $(grep -o ' [^ ]*private/wuff[^ ]* ' /proc/mounts)")
        .ok();
    assert_eq!(
        clean(&arena, &["wuff", "--what=state"]),
        "/var/lib/private/wuff\n/var/lib/wuff\n"
    );

    run(&arena, "wuff", &["StateDirectory=wuff"], "true");
    arena
        .sh("mount -t tmpfs disk /var/lib/private/wuff && mkdir -p /var/lib/private/wuff/a/b && touch /var/lib/private/wuff/f")
        .ok();
    let output = arena.run(["dynuser", "clean", "wuff", "--what=state"]);
    assert!(output.stderr.contains("is a mount point"), "{output}");
    assert_eq!(output.ok(), "/var/lib/private/wuff/*\n/var/lib/wuff\n");
    assert_eq!(
        arena.sh("find /var/lib/private/wuff").ok(),
        "/var/lib/private/wuff\n"
    );
}

#[test]
fn what_does_not_point_where_ours_points_is_left_and_told() {
    let arena = Arena::new();
    let had =
        r#"{"kind":"state","path":"wuff","links":["alias","deep/alias","taken"],"private":true}"#;
    record(&arena, "wuff", had);
    arena
        .sh("mkdir -m 700 /var/lib/private; mkdir -p /var/lib/private/wuff/x /srv/precious /var/lib/deep && \
             ln -s /srv/precious /var/lib/wuff; ln -s wuff /var/lib/alias; ln -s ../wuff /var/lib/deep/alias; \
             ln -s /srv/precious /var/lib/taken")
        .ok();
    let output = arena.run(["dynuser", "clean", "wuff", "--what=state"]);
    for told in [
        "/var/lib/wuff points to \"/srv/precious\"",
        "/var/lib/taken points to",
    ] {
        assert!(output.stderr.contains(told), "{output}");
    }
    let gone = output.ok();
    assert_eq!(
        gone,
        "/var/lib/private/wuff\n/var/lib/alias\n/var/lib/deep/alias\n/var/lib/deep\n"
    );
    assert_eq!(
        arena
            .sh("cd /var/lib && readlink wuff taken; ls -d /srv/precious")
            .ok(),
        "/srv/precious\n".repeat(3)
    );
}

#[test]
fn links_and_preserved_runtime_directories_go_with_what_they_lead_to() {
    let arena = Arena::new();
    let properties = [
        "StateDirectory=wuff:alias wuff:deep/alias",
        "RuntimeDirectory=wuff",
        "RuntimeDirectoryPreserve=yes",
    ];
    run(
        &arena,
        "wuff",
        &properties,
        "echo x > /var/lib/alias/f; echo y > /run/wuff/f",
    );
    arena.wait_until_idle();
    arena.sh("cat /var/lib/deep/alias/f /run/wuff/f").ok();
    assert_eq!(
        clean(&arena, &["wuff", "--what=all"]),
        "/run/private/wuff\n/run/wuff\n/var/lib/private/wuff\n/var/lib/wuff\n/var/lib/alias\n\
         /var/lib/deep/alias\n/var/lib/deep\n"
    );
    assert_eq!(
        arena.sh("ls -A /var/lib /run/private").ok(),
        "/run/private:\n\n/var/lib:\ndynuser\nprivate\n"
    );
}

#[test]
fn a_public_directory_that_was_a_service_s_of_a_static_user_goes() {
    let arena = Arena::new();
    let properties = [
        "DynamicUser=no",
        "User=daemon",
        "StateDirectory=wuff",
        "ConfigurationDirectory=wuffconf",
    ];
    run(&arena, "wuff", &properties, "echo x > /var/lib/wuff/f");
    arena.wait_until_idle();
    assert_eq!(clean(&arena, &["wuff", "--what=state"]), "/var/lib/wuff\n");
    arena.run(["test", "-d", "/etc/wuffconf"]).ok();
    assert_eq!(
        clean(&arena, &["wuff", "--what=configuration"]),
        "/etc/wuffconf\n"
    );
}

#[test]
fn a_directory_that_is_used_where_it_is_mounted_is_emptied_there() {
    let arena = Arena::new();
    arena
        .sh("mkdir /var/lib/wuff && mount -t tmpfs disk /var/lib/wuff && echo x > /var/lib/wuff/f")
        .ok();
    run(
        &arena,
        "wuff",
        &["StateDirectory=wuff"],
        "cat /var/lib/wuff/f && echo y > /var/lib/wuff/g",
    );
    arena.wait_until_idle();
    let output = arena.run(["dynuser", "clean", "wuff", "--what=state"]);
    assert!(output.stderr.contains("is a mount point"), "{output}");
    assert_eq!(output.ok(), "/var/lib/wuff/*\n/var/lib/private/wuff\n");
    assert_eq!(arena.sh("find /var/lib/wuff").ok(), "/var/lib/wuff\n");
    run(
        &arena,
        "wuff",
        &["StateDirectory=wuff"],
        "echo y > /var/lib/wuff/g",
    );
}

#[test]
fn a_public_directory_goes_only_if_it_is_known_as_the_service_s() {
    let arena = Arena::new();
    let had = r#"{"kind":"state","path":"pub","private":false},{"kind":"configuration","path":"conf","private":false},
        {"kind":"state","path":"priv","private":true},{"kind":"state","path":"adopted","private":true},
        {"kind":"state","path":"moving","private":true}"#;
    record(&arena, "wuff", &had.replace('\n', ""));
    arena
        .sh("cd /var/lib && mkdir -m 700 private && mkdir -p pub/x priv/x adopted/x moving/x named/x /etc/conf && \
             ln -s ../adopted private/adopted && ln -s private/moving private/moving")
        .ok();
    let words = [
        "dynuser",
        "clean",
        "other",
        "--what=state",
        "-p",
        "StateDirectory=named",
    ];
    let why = arena.run(words).fails(238);
    assert!(
        why.contains("/var/lib/named") && why.contains("public directory"),
        "{why}"
    );
    // One that was private, and for which nothing says that it is the service's: nothing at all goes.
    let why = arena
        .run(["dynuser", "clean", "wuff", "--what=state"])
        .fails(238);
    assert!(why.contains("/var/lib/priv"), "{why}");
    arena.run(["rm", "-r", "/var/lib/priv"]).ok();
    let gone = clean(&arena, &["wuff", "--what=state"]);
    let expected = [
        "adopted",
        "private/adopted",
        "moving",
        "private/moving",
        "pub",
    ];
    assert_eq!(
        gone,
        expected.map(|path| format!("/var/lib/{path}\n")).concat()
    );
    arena.run(["test", "-d", "/etc/conf"]).ok();
    assert_eq!(clean(&arena, &["wuff"]), "nothing to remove\n");
    assert_eq!(
        clean(&arena, &["wuff", "--what=configuration"]),
        "/etc/conf\n"
    );
}

#[test]
fn a_daemon_that_is_killed_in_the_middle_is_followed_by_one_that_finishes() {
    let arena = Arena::new();
    let fill = "cd /var/lib/wuff && for n in 1 2 3 4 5 6 7 8; do mkdir $n && (cd $n && seq -f 'f%g' 2000 | xargs touch); done";
    run(&arena, "wuff", &["StateDirectory=wuff"], fill);
    arena.wait_until_idle();
    let cleaning = arena.spawn(["dynuser", "clean", "wuff", "--what=state"]);
    let owner = "stat -c %u /var/lib/private/wuff 2>/dev/null || echo gone";
    wait_until("the tree is taken over", || {
        matches!(arena.sh(owner).ok().trim(), "0" | "gone")
    });
    for daemon in arena.daemons() {
        // It may be done by now, and the daemon gone.
        arena.run(["kill", "-9", &daemon]);
    }
    let (status, _) = cleaning.end();
    assert!(status.success(), "{status}");
    assert_eq!(
        arena.sh("ls -A /var/lib /var/lib/private").ok(),
        "/var/lib:\ndynuser\nprivate\n\n/var/lib/private:\n"
    );
}

#[test]
fn starts_and_removals_at_the_same_time_meet_whole_directories_only() {
    let arena = Arena::new();
    let words = [
        "sh",
        "-c",
        "n=0; while [ $n -lt 25 ]; do n=$((n+1)); \
        dynuser run -u wuff -p 'StateDirectory=wuff par/wuff' sh -c 'echo x > /var/lib/wuff/f && echo y > /var/lib/par/wuff/f && \
        cat /var/lib/wuff/f /var/lib/par/wuff/f > /dev/null' || exit 1; done",
    ];
    let mut starts = arena.spawn(words);
    let (mut removed, mut refused) = (0, 0);
    while starts.runs() {
        let output = arena.run(["dynuser", "clean", "wuff", "--what=state"]);
        match output.status.code() {
            Some(0) => removed += 1,
            _ => {
                // It waits for one that is ending, but not for ever.
                let reasons = ["running", "recorded", "is ending"];
                assert!(
                    reasons.iter().any(|why| output.stderr.contains(why)),
                    "{output}"
                );
                refused += 1;
            }
        }
    }
    assert!(
        starts.end().0.success(),
        "{removed} removals, {refused} refused"
    );
    assert!(removed > 0, "{refused} refused");
    clean(&arena, &["wuff", "--what=state"]);
    assert_eq!(
        arena.sh("ls -A /var/lib /var/lib/private").ok(),
        "/var/lib:\ndynuser\nprivate\n\n/var/lib/private:\n"
    );
}

#[test]
fn nothing_is_nobody_s_for_sure_while_a_lease_is_damaged() {
    let arena = Arena::new();
    arena
        .sh("mkdir -m 700 /var/lib/private; mkdir /var/lib/private/orphan")
        .ok();
    arena
        .sh("mkdir -p /run/dynuser/leases && echo rubbish > /run/dynuser/leases/61300")
        .ok();
    let output = arena.run(["dynuser", "gc"]);
    assert!(output.stderr.contains("61300"), "{output}");
    assert!(output.ok().contains("/var/lib/private/orphan"));
    let why = arena.run(["dynuser", "gc", "--remove", "orphan"]).fails(1);
    assert!(why.contains("dynuser release 61300"), "{why}");
    arena.run(["dynuser", "release", "61300"]).ok();
    arena.run(["dynuser", "gc", "--remove", "orphan"]).ok();
}

/// A host with private directories of all sorts.
const LAID: &str = "cd /var/lib && mkdir -m 700 private /var/cache/private /run/private && mkdir -p \
    private/orphan/x private/unit private/par/one private/par/two private/tmpl-7 private/dropin \
    /var/cache/private/orphan /run/private/late && head -c 300000 /dev/zero > private/orphan/x/file && \
    touch -d 2001-01-01 private/orphan/x/file && chown -R 61234:61234 private/orphan && ln -s private/orphan orphan && \
    ln -s private/gone gone && ln -s /srv/elsewhere elsewhere && ln -s private/unit-gone unit-gone && \
    mkdir -p /run/systemd/system /etc/systemd/system/d.service.d && \
    printf '[Service]\\nDynamicUser=yes\\nStateDirectory=unit unit-gone \\\\\\n par/two:link\\n' > /run/systemd/system/u.service && \
    printf '[Service]\\nStateDirectory=%%p-%%i\\n' > /run/systemd/system/tmpl@.service && \
    printf '[Service]\\nStateDirectory=dropin\\n' > /etc/systemd/system/d.service.d/x.conf";

fn listed(arena: &Arena, words: &[&str]) -> Vec<serde_json::Value> {
    let json = arena
        .run([&["dynuser", "gc", "--json"], words].concat())
        .ok();
    serde_json::from_str(&json).expect("an array")
}

fn paths(listed: &[serde_json::Value]) -> Vec<&str> {
    listed
        .iter()
        .map(|it| it["path"].as_str().expect("a path"))
        .collect()
}

#[test]
fn what_is_nobody_s_is_listed_with_its_size_and_last_use_and_what_is_known_is_not() {
    let arena = Arena::new();
    arena.sh(LAID).ok();
    run(
        &arena,
        "wuff",
        &["StateDirectory=wuff deep/wuff", "CacheDirectory=wuff"],
        "true",
    );
    arena.wait_until_idle();
    let before = arena.disk();
    let found = listed(&arena, &[]);
    assert_eq!(
        paths(&found),
        [
            "/run/private/late",
            "/var/lib/private/orphan",
            "/var/lib/private/par/one",
            "/var/lib/gone",
            "/var/cache/private/orphan",
        ]
    );
    assert_eq!(
        (&found[1]["kind"], &found[1]["owner"]),
        (&"state".into(), &61234.into())
    );
    let bytes = found[1]["bytes"].as_u64().expect("a size");
    assert!((300_000..320_000).contains(&bytes), "{bytes}");
    let changed = found[1]["changed"].as_u64().expect("a time");
    assert!(changed > 1_700_000_000, "the newest time counts: {changed}");
    assert_eq!(found[3]["is"], "dangling link");
    let table = arena.run(["dynuser", "gc"]).ok();
    assert!(
        table.lines().count() == 6 && table.contains("/var/lib/private/par/one"),
        "{table}"
    );
    let all = listed(&arena, &["--all"]);
    let by = |path: &str| {
        let found = all.iter().find(|it| it["path"] == path);
        found.map(|it| it["known_by"].clone()).expect(path)
    };
    assert_eq!(by("/var/lib/private/deep/wuff"), "service wuff");
    assert_eq!(by("/var/lib/private/unit"), "/run/systemd/system/u.service");
    assert_eq!(
        by("/var/lib/private/dropin"),
        "/etc/systemd/system/d.service.d/x.conf"
    );
    assert_eq!(
        by("/var/lib/private/tmpl-7"),
        "/run/systemd/system/tmpl@.service"
    );
    assert_eq!(arena.disk(), before, "a look changes nothing");
}

#[test]
fn what_is_named_goes_and_what_is_known_or_in_use_is_refused_with_all_that_was_named() {
    let arena = Arena::new();
    arena.sh(LAID).ok();
    let words = [
        "dynuser",
        "run",
        "-u",
        "wuff",
        "-p",
        "StateDirectory=wuff/in",
        "sh",
        "-c",
        "echo up; read end; true",
    ];
    let mut service = arena.spawn(words);
    assert_eq!(service.line(), "up");
    // Also without the record: the lease says it.
    arena.sh("rm /var/lib/dynuser/directories").ok();
    let before = arena.disk();
    for (known, who) in [
        ("unit", "u.service"),
        ("/var/lib/private/tmpl-7", "tmpl@.service"),
        ("par/two", "u.service"),
        ("par", "u.service"),
        ("wuff/in", "wuff"),
        ("/var/lib/unit-gone", "u.service"),
        ("/var/lib/elsewhere", "nothing"),
        ("/etc", "nothing"),
        ("../../etc", "nothing"),
        ("", "nothing"),
    ] {
        let why = arena
            .run(["dynuser", "gc", "--remove", "orphan", known])
            .fails(1);
        assert!(why.contains(who), "{known}: {why}");
    }
    assert_eq!(arena.disk(), before);
    let words = [
        "dynuser",
        "gc",
        "--remove",
        "/var/lib/private/orphan",
        "par/one",
        "/var/lib/gone",
    ];
    assert_eq!(
        arena.run(words).ok(),
        "/var/lib/private/orphan\n/var/lib/orphan\n/var/lib/private/par/one\n/var/lib/gone\n"
    );
    assert_eq!(
        paths(&listed(&arena, &[])),
        ["/run/private/late", "/var/cache/private/orphan"]
    );
    arena
        .run(["dynuser", "gc", "--remove", "orphan", "late"])
        .ok();
    assert_eq!(
        arena.run(["dynuser", "gc"]).ok(),
        "nothing that belongs to no known service\n"
    );
    assert!(service.end().0.success());
}

#[test]
fn strange_things_behind_the_boundary_are_listed_harmlessly_and_not_followed() {
    let arena = Arena::new();
    arena
        .sh("cd /var/lib && mkdir -m 700 private && cd private && mkdir \"$(printf 'new\\nline\\033[31m')\" a:b && \
             ln -s /home/victim link && touch file && mkfifo fifo && mkdir \"$(printf '\\377')\" && \
             mkdir /home/victim && echo precious > /home/victim/file && \
             mkdir disk && mount -t tmpfs disk disk && mkdir disk/full")
        .ok();
    let output = arena.run(["dynuser", "gc"]);
    assert!(output.stderr.contains("UTF-8"), "{output}");
    let table = output.ok();
    assert_eq!(table.lines().count(), 7, "{table}");
    assert!(!table.contains('\u{1b}'), "{table:?}");
    assert!(table.contains("mount point"), "{table}");
    let output = arena.run([
        "dynuser",
        "gc",
        "--remove",
        "new\nline\u{1b}[31m",
        "a:b",
        "link",
        "disk",
    ]);
    assert!(output.stderr.contains("mount point"), "{output}");
    let gone = output.ok();
    assert_eq!(gone.lines().count(), 4, "{gone}");
    let output = arena.run(["dynuser", "gc", "--remove", "file", "fifo"]);
    assert!(output.stderr.contains("by hand"), "{output}");
    assert_eq!(output.ok(), "nothing to remove\n");
    assert_eq!(
        arena
            .sh("cd /var/lib/private && LC_ALL=C ls -b; ls -A disk")
            .ok(),
        "disk\nfifo\nfile\n\\377\n"
    );
    assert_eq!(arena.run(["cat", "/home/victim/file"]).ok(), "precious\n");
}

#[test]
fn what_a_removal_left_that_was_cut_short_is_nobody_s_state_and_goes_with_the_next() {
    let arena = Arena::new();
    let _daemon = arena.spawn([
        "strace",
        "-f",
        "-o",
        "/tmp/trace",
        "-e",
        "trace=renameat2,unlinkat",
        "dynuser",
        "daemon",
    ]);
    arena.wait_for_daemon();
    let run = |script: &str| {
        let property = "StateDirectory=half";
        let words = [
            "dynuser", "run", "-u", "half", "-p", property, "sh", "-c", script,
        ];
        let said = arena.run(words).ok();
        arena.wait_until_idle();
        said
    };
    run("echo 1 > $STATE_DIRECTORY/one");
    // The directory has another name before the first thing in it goes.
    arena.sh("dynuser clean half --what=state").ok();
    let order = "grep -n -e '\"half\", .*\"[.]dynuser-removed-' -e '\"one\"' /tmp/trace | cut -d: -f1 | sort -nc && \
         grep -c -e '\"half\", .*\"[.]dynuser-removed-' -e '\"one\"' /tmp/trace";
    assert_eq!(arena.sh(order).ok(), "2\n");
    let first = "grep -e '\"half\", .*\"[.]dynuser-removed-' -e '\"one\"' /tmp/trace | head -n 1";
    assert!(arena.sh(first).ok().contains("renameat2("));
    assert_eq!(arena.sh("ls -A /var/lib/private").ok(), "");
    // As a daemon leaves it that is killed then.
    run("echo new > $STATE_DIRECTORY/new");
    arena
        .sh("cd /var/lib/private && mv half .dynuser-removed-1-2 && chown 0:0 .dynuser-removed-1-2")
        .ok();
    assert_eq!(run("ls -A $STATE_DIRECTORY; id -un"), "half\n");
    arena.run(["dynuser", "clean", "half", "--what=state"]).ok();
    assert_eq!(arena.sh("ls -A /var/lib/private").ok(), "");
}
