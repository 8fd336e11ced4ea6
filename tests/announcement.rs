//! What the announcement of DynamicUser= promises, told as a person would try it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::{Arena, Output, dynamic_uid, wait_until};

/// `dynuser run` with these words, to its end.
fn run(arena: &Arena, words: &[&str]) -> Output {
    arena.run(["dynuser", "run"].iter().chain(words))
}

#[test]
fn the_first_command_of_a_newcomer_prints_a_name() {
    let arena = Arena::new();
    let script = "id; ls -al /var/lib/private; ls -l /var/lib; echo hello > /var/lib/wuff/test";
    let text = run(
        &arena,
        &[
            "-u",
            "wuff",
            "-p",
            "StateDirectory=wuff",
            "sh",
            "-c",
            script,
        ],
    )
    .ok();
    let lines: Vec<&str> = text.lines().collect();
    let uid = dynamic_uid(lines[0].split(['=', '(']).nth(1).unwrap());
    assert_eq!(
        lines[0],
        format!("uid={uid}(wuff) gid={uid}(wuff) groups={uid}(wuff)")
    );
    let boundary: Vec<&&str> = lines.iter().filter(|l| l.ends_with(" .")).collect();
    assert!(boundary[0].starts_with("drwxr-xr-x "), "{text}");
    assert!(
        text.contains(" /var/lib/wuff -> private/wuff") || text.contains(" wuff -> private/wuff")
    );
    let own: Vec<&&str> = lines.iter().filter(|l| l.ends_with(" wuff")).collect();
    // `ls -al` of the boundary: a total, itself, its parent, and nothing else but wuff.
    let listed = lines.iter().skip(2).take_while(|l| !l.starts_with("total"));
    let names: Vec<&str> = listed.filter_map(|l| l.rsplit(' ').next()).collect();
    assert_eq!(names, [".", "..", "wuff"], "{text}");
    assert_eq!(own.len(), 1, "{text}");
    assert!(own[0].contains(" wuff wuff "), "{text}");

    assert_eq!(
        arena.run(["stat", "-c", "%A %U", "/var/lib/private"]).ok(),
        "drwx------ root\n"
    );
    assert_eq!(
        arena.run(["cat", "/var/lib/private/wuff/test"]).ok(),
        "hello\n"
    );
    assert_eq!(
        arena.run(["readlink", "/var/lib/wuff"]).ok(),
        "private/wuff\n"
    );
    assert_eq!(run(&arena, &["-u", "wuff", "whoami"]).ok(), "wuff\n");
    let passwd = run(&arena, &["-u", "wuff", "getent", "passwd", "wuff"]).ok();
    assert_eq!(
        passwd,
        format!("wuff:x:{uid}:{uid}:Dynamic User:/:/usr/sbin/nologin\n")
    );
    let group = run(&arena, &["-u", "wuff", "getent", "group", &uid.to_string()]).ok();
    assert_eq!(group, format!("wuff:x:{uid}:\n"));
    // The other accounts of the host are still there.
    assert_eq!(
        run(&arena, &["-u", "wuff", "id", "-u", "daemon"]).ok(),
        "1\n"
    );
}

#[test]
fn a_sleeping_service_is_seen_by_its_name_on_the_host() {
    let arena = Arena::with_module();
    let mut service = arena.spawn([
        "dynuser",
        "run",
        "-u",
        "sleeper",
        "-p",
        "RuntimeDirectory=sleeper",
        "sleep",
        "1000",
    ]);
    service.wait_exec("sleep");
    let uid = dynamic_uid(&arena.run(["id", "-u", "sleeper"]).ok()).to_string();
    let id = format!("uid={uid}(sleeper) gid={uid}(sleeper) groups={uid}(sleeper)\n");
    assert_eq!(arena.run(["id", "sleeper"]).ok(), id);
    let passwd = format!("sleeper:x:{uid}:{uid}:Dynamic User:/run/sleeper:/usr/sbin/nologin\n");
    let group = format!("sleeper:x:{uid}:\n");
    for key in ["sleeper", &uid] {
        assert_eq!(arena.run(["getent", "passwd", key]).ok(), passwd);
        assert_eq!(arena.run(["getent", "group", key]).ok(), group);
    }
    assert!(arena.run(["getent", "passwd"]).ok().contains(&passwd));
    assert!(arena.run(["getent", "group"]).ok().contains(&group));
    let nobody = arena.command(["id", "-u", "sleeper"]).user(1000).run();
    assert_eq!(nobody.ok().trim_end(), uid);
    let ps = arena.run(["ps", "-o", "user=", "-p", &service.pid()]).ok();
    assert_eq!(ps.trim(), "sleeper");
    assert!(
        arena
            .run(["ls", "-ld", "/run/sleeper"])
            .ok()
            .contains(" sleeper sleeper ")
    );

    service.stop();
    wait_until("the name is gone", || {
        !arena.run(["id", "sleeper"]).status.success()
    });
    assert!(
        arena
            .run(["id", "sleeper"])
            .fails(1)
            .contains("no such user")
    );
    arena.run(["getent", "passwd", "sleeper"]).fails(2);
    arena.run(["getent", "group", &uid]).fails(2);
    wait_until("the runtime directory is gone", || {
        !arena.run(["test", "-e", "/run/sleeper"]).status.success()
    });
}

#[test]
fn another_name_finds_the_state_under_the_same_uid_without_a_chown() {
    let arena = Arena::new();
    let script = "id -u; echo hello > /var/lib/wuff/test";
    let first = run(
        &arena,
        &[
            "-u",
            "wuff",
            "-p",
            "StateDirectory=wuff",
            "sh",
            "-c",
            script,
        ],
    );
    let uid = dynamic_uid(&first.ok());
    arena.wait_until_idle();
    let changed = || {
        arena
            .run(["stat", "-c", "%z", "/var/lib/private/wuff/test"])
            .ok()
    };
    let before = changed();
    let script = "id -u; id -un; cat /var/lib/wuff/test; stat -c %u /var/lib/wuff/test";
    let second = run(
        &arena,
        &[
            "-u",
            "other",
            "-p",
            "StateDirectory=wuff",
            "sh",
            "-c",
            script,
        ],
    );
    assert_eq!(second.ok(), format!("{uid}\nother\nhello\n{uid}\n"));
    assert_eq!(changed(), before, "the owner of the file was changed");
}

#[test]
fn the_same_name_gets_the_same_uid_on_every_host() {
    let uid = |arena: &Arena| dynamic_uid(&run(arena, &["-u", "wuff", "id", "-u"]).ok());
    assert_eq!(uid(&Arena::new()), uid(&Arena::new()));
}

#[test]
fn a_pipeline_goes_through_untouched() {
    let arena = Arena::new();
    let script = "printf 'x2\\nb\\nx1\\nx2\\n' | dynuser run --pipe -u sorter sort -u | grep x";
    assert_eq!(arena.sh(script).ok(), "x1\nx2\n");
    let everything: Vec<u8> = (0..1_000_000_u32)
        .map(|n| n.to_le_bytes()[usize::from(n % 3 == 0)])
        .collect();
    let cat = arena
        .command(["dynuser", "run", "--pipe", "cat"])
        .input(everything.clone())
        .run();
    assert!(
        cat.status.success() && cat.bytes == everything,
        "{}",
        cat.stderr
    );
    for mode in [
        &["--pipe"][..],
        &[],
        &["--wait", "--quiet"],
        &["--pipe", "--wait", "-q"],
    ] {
        let words = [mode, &["sh", "-c", "echo out; echo err >&2; exit 42"]].concat();
        let output = run(&arena, &words);
        assert_eq!(output.stdout, "out\n", "{output}");
        assert_eq!(output.fails(42), "err\n");
    }
}

#[test]
fn a_signal_that_kills_the_service_is_told() {
    let arena = Arena::new();
    for (signal, number) in [("TERM", 15), ("KILL", 9)] {
        let script = format!("kill -{signal} $$");
        let in_place = run(&arena, &["sh", "-c", &script]);
        assert_eq!(in_place.signal(), Some(number), "{in_place}");
        let waited = run(&arena, &["--wait", "sh", "-c", &script]);
        assert_eq!(waited.status.code(), Some(128 + number), "{waited}");
    }
}

#[test]
fn the_service_keeps_the_pid_that_the_launcher_was_started_with() {
    let arena = Arena::new();
    let text = arena
        .sh("exec 3>&1; sh -c 'echo $$; exec dynuser run sh -c \"echo \\$\\$\"'")
        .ok();
    let pids: Vec<&str> = text.lines().collect();
    assert_eq!(pids.len(), 2);
    assert_eq!(pids[0], pids[1]);
}

#[test]
fn a_static_user_of_that_name_is_used_with_its_own_group() {
    let arena = Arena::new();
    arena.append("/etc/group", "crew:x:4815:");
    arena.append("/etc/group", "extra:x:4816:fixed");
    arena.append("/etc/passwd", "fixed:x:4711:4815::/nonexistent:/bin/sh");
    let mut bystander = arena.command(["sleep", "1000"]).user(4711).spawn();
    bystander.wait_exec("sleep");
    for words in [["-p", "User=fixed"], ["-u", "fixed"], ["--uid", "fixed"]] {
        let ids = run(
            &arena,
            &[&words[..], &["sh", "-c", "id -u; id -g; id -un; id -gn"]].concat(),
        );
        assert_eq!(ids.ok(), "4711\n4815\nfixed\ncrew\n", "{words:?}");
    }
    let state = [
        "-u",
        "fixed",
        "-p",
        "StateDirectory=fixed",
        "stat",
        "-c",
        "%u:%g",
        "/var/lib/fixed/",
    ];
    assert_eq!(run(&arena, &state).ok(), "4711:4815\n");
    arena.wait_until_idle();
    assert!(
        bystander.runs(),
        "a process of the static user that we did not start was ended"
    );
}

#[test]
fn every_kind_of_directory_is_made_owned_and_named_in_the_environment() {
    let arena = Arena::new();
    let script = "stat -L -c '%U %a %n' $RUNTIME_DIRECTORY $STATE_DIRECTORY $CACHE_DIRECTORY $LOGS_DIRECTORY \
         && touch /run/foo/x /var/lib/foo/x /var/cache/foo/x /var/log/foo/x";
    let output = run(
        &arena,
        &[
            "-u",
            "foo",
            "-p",
            "RuntimeDirectory=foo",
            "-p",
            "StateDirectory=foo",
            "-p",
            "CacheDirectory=foo",
            "-p",
            "LogsDirectory=foo",
            "-p",
            "StateDirectoryMode=0700",
            "-p",
            "CacheDirectoryMode=0750",
            "-p",
            "RuntimeDirectoryMode=0711",
            "sh",
            "-c",
            script,
        ],
    );
    let expected =
        "foo 711 /run/foo\nfoo 700 /var/lib/foo\nfoo 750 /var/cache/foo\nfoo 755 /var/log/foo\n";
    assert_eq!(output.ok(), expected);
    arena.wait_until_idle();
    arena.run(["test", "-e", "/run/foo"]).fails(1);
    for base in ["/var/lib", "/var/cache", "/var/log"] {
        assert_eq!(
            arena.run(["readlink", &format!("{base}/foo")]).ok(),
            "private/foo\n"
        );
        let boundary = arena.run(["stat", "-c", "%a %U:%G", &format!("{base}/private")]);
        assert_eq!(boundary.ok(), "700 root:root\n");
        arena
            .run(["test", "-f", &format!("{base}/private/foo/x")])
            .ok();
    }
}

#[test]
fn several_and_nested_directories_are_listed_sorted() {
    let arena = Arena::new();
    let script = "echo $STATE_DIRECTORY; echo $HOME; touch /var/lib/a/b/x /var/lib/z/x";
    let words = [
        "-u",
        "n",
        "-p",
        "StateDirectory=z a/b",
        "-p",
        "StateDirectory=a",
        "sh",
        "-c",
        script,
    ];
    let text = run(&arena, &words).ok();
    assert_eq!(
        text.lines().next().unwrap(),
        "/var/lib/a:/var/lib/a/b:/var/lib/z"
    );
    arena.run(["test", "-f", "/var/lib/private/a/b/x"]).ok();
}

#[test]
fn a_command_with_an_exclamation_mark_starts_as_root_beside_its_user() {
    let arena = Arena::new();
    let script = "id -u; id -u bang; setpriv --reuid=bang --regid=bang --clear-groups id -un";
    let text = run(&arena, &["-u", "bang", "!sh", "-c", script]).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "0");
    dynamic_uid(lines[1]);
    assert_eq!(lines[2], "bang");
}

#[test]
fn a_service_whose_name_is_no_user_name_gets_a_derived_one() {
    let arena = Arena::new();
    let name_of = |service: &str| {
        run(&arena, &["-u", service, "id", "-un"])
            .ok()
            .trim_end()
            .to_owned()
    };
    let dotted = name_of("web.server");
    assert!(dotted.starts_with("web"), "{dotted} is not readable");
    assert_ne!(dotted, name_of("web:server"));
    assert_eq!(dotted, name_of("web.server"));
    assert_eq!(dotted, name_of("web.server.service"));
    for service in ["9p", "a@b", r"dev-\x2dsda", &"long".repeat(60)] {
        let name = name_of(service);
        let (first, rest) = name.split_at(1);
        assert!(
            first.chars().all(|c| c.is_ascii_alphabetic() || c == '_'),
            "{name}"
        );
        assert!(
            rest.chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'),
            "{name}"
        );
        assert!(name.len() <= 31, "{name}");
    }
    run(&arena, &["id", "-un"]).ok();
}

#[test]
fn tmp_and_var_tmp_are_its_own() {
    let arena = Arena::new();
    arena.sh("touch /tmp/of-host /var/tmp/of-host").ok();
    let script = "ls /tmp /var/tmp; stat -c '%a %U' /tmp /var/tmp; touch /tmp/x /var/tmp/y";
    let text = run(&arena, &["sh", "-ec", script]).ok();
    assert_eq!(text, "/tmp:\n\n/var/tmp:\n1777 root\n1777 root\n");
    assert_eq!(
        arena.run(["ls", "/tmp", "/var/tmp"]).ok(),
        "/tmp:\nof-host\n\n/var/tmp:\nof-host\n"
    );
}

#[test]
fn arguments_and_variables_are_bytes_and_not_text() {
    let arena = Arena::new();
    let script = "bad=$(printf 'a\\377b'); \
        dynuser run -u x printf %s \"$bad\" | od -An -tx1; \
        V=\"$bad\" dynuser run -u x -E V sh -c 'printf %s \"$V\"' | od -An -tx1";
    assert_eq!(arena.sh(script).ok(), " 61 ff 62\n 61 ff 62\n");
}

#[test]
fn what_is_asked_for_last_is_in_the_environment() {
    let arena = Arena::new();
    let script = "TERM=callers dynuser run --quiet --pty -u x -p Environment=TERM=mine sh -c 'printf %s $TERM' </dev/null; echo; \
        TERM=callers dynuser run --quiet --pty -u x sh -c 'printf %s $TERM' </dev/null; echo; \
        A=callers dynuser run -u x -p Environment=A=unit -E A=1 -E A sh -c 'printf %s $A'";
    assert_eq!(arena.sh(script).ok(), "mine\ncallers\ncallers");
}
