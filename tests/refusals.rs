//! Bad input: a message that names the thing, systemd's exit status, nothing changed on disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::Arena;

/// Runs `dynuser run` with `words`, which must be refused with `code`, in one line that holds
/// `named`, without anything on standard output or on disk.
#[track_caller]
fn refused(arena: &Arena, words: &[&str], code: i32, named: &str) {
    let before = arena.disk();
    let mounts = arena.mounts();
    let output = arena.run(["dynuser", "run"].iter().chain(words));
    assert_eq!(output.stdout, "", "{output}");
    let message = output.fails(code);
    assert_eq!(
        message.lines().count(),
        1,
        "{words:?} should be told in one line: {message:?}"
    );
    assert!(
        message.contains(named),
        "{words:?}: {message:?} does not name {named:?}"
    );
    let control = message.trim_end_matches('\n').chars().any(char::is_control);
    assert!(
        !control,
        "{words:?}: {message:?} carries control characters to the terminal"
    );
    assert_eq!(arena.disk(), before, "{words:?} changed the disk");
    assert_eq!(arena.mounts(), mounts, "{words:?} left a mount");
    assert!(arena.list().is_empty(), "{words:?} left a lease");
}

#[test]
fn service_names_that_are_no_unit_names() {
    let arena = Arena::new();
    let long = "x".repeat(256);
    for name in [".", "..", "a/b", "/a", "a%i", "a b", " a", "ä", "a*", &long] {
        refused(&arena, &["-u", name, "true"], 1, name);
    }
    refused(&arena, &["-u", "", "true"], 1, "service name");
    for name in ["a\tb", "a\nb", "a\x1b[31mb", "a\x7f"] {
        refused(&arena, &["-u", name, "true"], 1, "a");
    }
}

#[test]
fn user_names_that_are_not_strict_or_never_handed_out() {
    let arena = Arena::new();
    let long = "x".repeat(32);
    for name in [
        &long, "1234", "0", "61184", "foo.bar", "9p", "-x", "a b", "a:b", "a/b", "ä", "root",
        "nobody",
    ] {
        refused(&arena, &["-p", &format!("User={name}"), "true"], 217, name);
        refused(&arena, &[&format!("--uid={name}"), "true"], 217, name);
    }
    for name in ["root", "nobody"] {
        refused(&arena, &["-u", name, "true"], 217, name);
        refused(
            &arena,
            &["-u", &format!("{name}.service"), "true"],
            217,
            name,
        );
    }
}

#[test]
fn another_name_of_root_is_not_used_either() {
    let arena = Arena::new();
    arena.append("/etc/passwd", "toor:x:0:0::/root:/bin/sh");
    refused(&arena, &["-u", "toor", "true"], 217, "toor");
    refused(&arena, &["-p", "User=toor", "true"], 217, "toor");
}

#[test]
fn directories_that_are_absolute_climb_or_are_called_private() {
    let arena = Arena::new();
    for kind in [
        "StateDirectory",
        "CacheDirectory",
        "LogsDirectory",
        "RuntimeDirectory",
    ] {
        for path in [
            "/abs",
            "..",
            "../x",
            "a/../b",
            "a/..",
            "private",
            "private/x",
        ] {
            refused(&arena, &["-p", &format!("{kind}={path}"), "true"], 1, path);
            refused(
                &arena,
                &["-p", &format!("{kind}=good {path}"), "true"],
                1,
                path,
            );
        }
        for mode in ["8", "abc", "-1", "u+x", "77777", "0o755"] {
            let property = format!("{kind}Mode={mode}");
            refused(
                &arena,
                &["-p", &format!("{kind}=x"), "-p", &property, "true"],
                1,
                mode,
            );
        }
    }
}

#[test]
fn properties_that_are_unknown_or_malformed_are_never_ignored() {
    let arena = Arena::new();
    for property in [
        "Foo=bar",
        "user=foo",
        "Privatetmp=yes",
        "RootDirectory=/srv",
        "ExecStart=/bin/true",
        "DynamicUser",
        "DynamicUser=perhaps",
        "ProtectSystem=no",
        "ProtectSystem=full",
        "ProtectHome=no",
        "NoNewPrivileges=no",
        "RestrictSUIDSGID=no",
        "RemoveIPC=no",
        "PrivateTmp=no",
        "StateDirectory='open",
        "Environment=NOEQUALS",
        "Environment=1A=b",
        "WorkingDirectory=relative",
        "StateDirectoryMode=2755",
    ] {
        let name = property.split('=').next().unwrap();
        refused(&arena, &["-p", property, "true"], 1, name);
    }
    refused(&arena, &["-p", "=x", "true"], 1, "=");
    // In force with a dynamic user only: without one it would be ignored.
    for property in [
        "ProtectSystem=strict",
        "PrivateTmp=yes",
        "RestrictSUIDSGID=yes",
    ] {
        let name = property.split('=').next().unwrap();
        let words = ["-p", "DynamicUser=no", "-p", property, "true"];
        refused(&arena, &words, 1, name);
    }
    refused(&arena, &["-E", "1A=b", "true"], 1, "1A");
    refused(&arena, &["-E", "A B=c", "true"], 1, "A B");
    refused(&arena, &["-E", "=c", "true"], 1, "=c");
}

#[test]
fn properties_that_only_say_what_is_so_anyway_are_accepted() {
    let arena = Arena::new();
    let mut words = vec!["dynuser", "run", "-u", "implied"];
    for property in [
        "DynamicUser=yes",
        "DynamicUser=true",
        "DynamicUser=1",
        "DynamicUser=on",
        "NoNewPrivileges=yes",
        "RestrictSUIDSGID=yes",
        "RemoveIPC=yes",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        "PrivateTmp=disconnected",
        "PrivateTmp=yes",
    ] {
        words.extend(["-p", property]);
    }
    words.extend(["id", "-un"]);
    assert_eq!(arena.run(words).ok(), "implied\n");
}

#[test]
fn a_boundary_that_others_may_pass_or_own() {
    for (kind, base, code) in [
        ("StateDirectory", "/var/lib", 238),
        ("CacheDirectory", "/var/cache", 239),
        ("LogsDirectory", "/var/log", 240),
    ] {
        let boundary = format!("{base}/private");
        for broken in [
            format!("mkdir -m 0755 {boundary}"),
            format!("mkdir -m 0710 {boundary}"),
            format!("mkdir -m 0700 {boundary}; chown 1000:0 {boundary}"),
            format!("mkdir -m 0700 {boundary}; chown 0:1000 {boundary}"),
            format!("mkdir -m 0700 /mnt/x; ln -s /mnt/x {boundary}"),
            format!("touch {boundary}"),
        ] {
            let arena = Arena::new();
            arena.sh(&broken).ok();
            refused(
                &arena,
                &["-p", &format!("{kind}=x"), "true"],
                code,
                &boundary,
            );
        }
    }
}

#[test]
fn a_public_path_that_is_something_else() {
    for broken in [
        "ln -s /etc /var/lib/x",
        "ln -s private/y /var/lib/x",
        "touch /var/lib/x",
        "mkfifo /var/lib/x",
    ] {
        let arena = Arena::new();
        arena.sh(broken).ok();
        refused(
            &arena,
            &["-p", "StateDirectory=x", "true"],
            238,
            "/var/lib/x",
        );
    }
    let arena = Arena::new();
    arena
        .sh(
            "mkdir -m 0700 /var/lib/private; mkdir /var/lib/x /var/lib/private/x; \
             echo 1 > /var/lib/x/f; echo 2 > /var/lib/private/x/f",
        )
        .ok();
    refused(
        &arena,
        &["-p", "StateDirectory=x", "true"],
        238,
        "/var/lib/x",
    );
}

#[test]
fn options_that_do_not_exist_are_not_taken_for_a_command() {
    let arena = Arena::new();
    for (words, named) in [
        (&["-d", "id"][..], "-d"),
        (&["--collect", "id"], "--collect"),
        (&["--slice=x", "id"], "--slice"),
        (&["-u", "x", "--bogus", "true"], "--bogus"),
        (&["--uid"], "--uid"),
    ] {
        refused(&arena, words, 1, named);
    }
    // Behind the command they are the command's own.
    let echoed = arena
        .run(["dynuser", "run", "-u", "x", "echo", "-u", "--bogus"])
        .ok();
    assert_eq!(echoed, "-u --bogus\n");
    // As in systemd-run, the last of several counts.
    let name = arena
        .run(["dynuser", "run", "-u", "x", "-u", "y", "id", "-un"])
        .ok();
    assert_eq!(name, "y\n");
}

#[test]
fn no_command_and_commands_that_are_not_there() {
    let arena = Arena::new();
    refused(&arena, &["-u", "x"], 1, "command");
    refused(&arena, &[], 1, "command");
    arena.put("/usr/local/sbin/not-executable", "#!/bin/sh\n", 0o644);
    arena.put("/usr/local/sbin/no-interpreter", "#!/nowhere\n", 0o755);
    for mode in [&[][..], &["--pipe"], &["--wait", "--quiet"]] {
        for command in [
            "nonsuch",
            "/usr/bin/nonsuch",
            "/usr/local/sbin/not-executable",
            "no-interpreter",
            "/etc",
            "!nonsuch",
        ] {
            let words = [mode, &["-u", "x", command]].concat();
            let run = || refused_after_start(&arena, &words, 203, command.trim_start_matches('!'));
            run();
        }
    }
    refused(&arena, &["-u", "x", ""], 1, "command");
}

/// As [`refused`], where the lease ends only after the launcher.
#[track_caller]
fn refused_after_start(arena: &Arena, words: &[&str], code: i32, named: &str) {
    let before = arena.disk();
    let message = arena
        .run(["dynuser", "run"].iter().chain(words))
        .fails(code);
    assert_eq!(
        message.lines().count(),
        1,
        "{words:?} should be told in one line: {message:?}"
    );
    assert!(
        message.contains(named),
        "{words:?}: {message:?} does not name {named:?}"
    );
    arena.wait_until_idle();
    assert_eq!(arena.disk(), before, "{words:?} changed the disk");
}

#[test]
fn working_directories_that_cannot_be_entered() {
    let arena = Arena::new();
    arena.sh("mkdir -m 0700 /mnt/closed").ok();
    for path in ["/nonexistent", "/etc/passwd", "/mnt/closed"] {
        refused_after_start(&arena, &["--working-directory", path, "true"], 200, path);
        refused_after_start(
            &arena,
            &["-p", &format!("WorkingDirectory={path}"), "true"],
            200,
            path,
        );
    }
    let optional = ["-p", "WorkingDirectory=-/nonexistent", "pwd"];
    assert_eq!(
        arena.run(["dynuser", "run"].iter().chain(&optional)).ok(),
        "/\n"
    );
    let good = ["dynuser", "run", "--working-directory=/usr", "pwd"];
    assert_eq!(arena.run(good).ok(), "/usr\n");
}

#[test]
fn somebody_who_is_not_root_is_told_so_in_one_sentence() {
    let arena = Arena::new();
    let before = arena.disk();
    for words in [
        &["dynuser", "run", "-u", "x", "true"][..],
        &["dynuser", "daemon"],
    ] {
        let output = arena.command(words).user(1000).run();
        assert_eq!(output.stdout, "", "{output}");
        let message = output.fails(1);
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains("root"), "{message}");
    }
    assert_eq!(arena.disk(), before);
    assert_eq!(arena.daemons(), Vec::<String>::new());
}

#[test]
fn a_dry_run_refuses_the_same() {
    let arena = Arena::new();
    refused(&arena, &["--dry-run", "-u", "a/b", "true"], 1, "a/b");
    refused(
        &arena,
        &["--dry-run", "-p", "User=root", "true"],
        217,
        "root",
    );
    refused(&arena, &["--dry-run", "-p", "Foo=bar", "true"], 1, "Foo");
    refused(
        &arena,
        &["--dry-run", "-p", "StateDirectory=/x", "true"],
        1,
        "/x",
    );
}
