//! Views follow what becomes of the host's files, and nothing but them.

use super::support::{Running, wait_until};
use super::{arena, ask, comes_to_know, mounted, start};

#[test]
fn views_follow_what_the_host_does_to_its_accounts() {
    let arena = arena(false);
    let (mut one, said) = start(&arena, "web", &[], "who-static");
    let (mut other, _) = start(&arena, "api", &[], "who-musl");
    let (mut third, again) = start(&arena, "web", &["-p", "User=web"], "who-shared");
    assert_eq!(said, again);
    let all = [&mut one, &mut other, &mut third];
    let mut services = all;
    let mut everybody = |name: &str, known: bool| {
        let each = services.iter_mut();
        each.for_each(|service| comes_to_know(service, name, known));
    };
    everybody("human", false);
    arena.run(["useradd", "human"]).ok();
    everybody("human", true);
    arena.run(["useradd", "-o", "-u", "4711", "second"]).ok();
    everybody("second", true);
    arena.run(["userdel", "human"]).ok();
    everybody("human", false);
    // In place, as many editors write, and some scripts.
    arena
        .sh("echo 'third:x:4712:4712::/:/bin/sh' >> /etc/passwd")
        .ok();
    everybody("third", true);
    arena
        .sh("grep -v third /etc/passwd > /run/new; cat /run/new > /etc/passwd")
        .ok();
    everybody("third", false);
    // As vipw does: a new file, moved over the old one.
    arena.sh("cp /etc/passwd /etc/passwd.edit; echo 'fourth:x:4713:4713::/:/bin/sh' >> /etc/passwd.edit; mv /etc/passwd.edit /etc/passwd").ok();
    everybody("fourth", true);
    arena
        .sh("rm /etc/passwd; sleep 0.05; echo 'fifth:x:4714:4714::/:/bin/sh' > /etc/passwd")
        .ok();
    everybody("fifth", true);
    for service in [&one, &other, &third] {
        assert_eq!(mounted(service, "/etc/passwd"), 1);
        assert_eq!(mounted(service, "/etc/group"), 1);
    }
    // Nothing of it has come to the host.
    let mounts = arena.mounts();
    assert!(
        !mounts.iter().any(|line| line.contains(" /etc/")),
        "{mounts:?}"
    );
    let text = arena.run(["cat", "/etc/passwd", "/etc/group"]).ok();
    assert!(!text.contains("web") && !text.contains("api"), "{text}");
    for service in [one, other, third] {
        assert!(service.end().0.success());
    }
    arena.wait_until_idle();
    assert_eq!(arena.run(["ls", "-A", "/run/dynuser/views"]).ok(), "");
}

#[test]
fn a_daemon_goes_on_with_the_views_of_one_that_was_killed() {
    let arena = arena(false);
    let (mut one, _) = start(&arena, "web", &[], "who-static");
    // Its launcher stays outside of the view.
    let (mut two, _) = start(&arena, "api", &["--wait", "--quiet"], "who-static");
    arena.sh("pkill -KILL -x dynuserd").ok();
    arena.run(["useradd", "human"]).ok();
    // Nobody is there who would show the copies again.
    assert_eq!(mounted(&one, "/etc/passwd"), 0);
    // The next one comes with the next service.
    arena.run(["dynuser", "run", "-u", "next", "true"]).ok();
    for service in [&mut one, &mut two] {
        wait_until("it knows itself", || {
            !ask(service, "me").starts_with("nobody")
        });
        comes_to_know(service, "human", true);
    }
    arena.run(["userdel", "human"]).ok();
    for service in [&mut one, &mut two] {
        comes_to_know(service, "human", false);
    }
    assert_eq!(mounted(&one, "/etc/passwd"), 1);
    assert!(one.end().0.success() && two.end().0.success());
    arena.wait_until_idle();
}

#[test]
fn who_starts_while_accounts_change_finds_itself_too() {
    let arena = arena(false);
    let storm = "while test -e /run/storm; do cp /etc/passwd /etc/p; mv /etc/p /etc/passwd; cp /etc/group /etc/g; mv /etc/g /etc/group; done";
    arena.run(["touch", "/run/storm"]).ok();
    let storm = arena.spawn(["sh", "-c", storm]);
    let mut services: Vec<Running> = Vec::new();
    for number in 0..12 {
        let name = format!("web{number}");
        services.push(start(&arena, &name, &[], "who-static").0);
    }
    arena.run(["rm", "/run/storm"]).ok();
    assert!(storm.end().0.success());
    for (number, service) in services.iter_mut().enumerate() {
        let own = format!("web{number} ");
        wait_until("it knows itself", || ask(service, "me").starts_with(&own));
        assert!(mounted(service, "/etc/passwd") == 1);
    }
}

#[test]
fn a_service_gets_nothing_mounted_anywhere_else() {
    let arena = arena(false);
    arena.put("/srv/secret", "root alone\n", 0o600);
    // Its own /etc, in which it may do what it likes: remove what its copies lie on, and put links there.
    let options = [
        "-p",
        "TemporaryFileSystem=/etc:mode=1777",
        "-p",
        "StateDirectory=web",
    ];
    let script = "echo up; while read -r line; do eval \"$line\"; echo done; done";
    let words = [
        &["dynuser", "run", "-u", "web"],
        &options[..],
        &["sh", "-c", script],
    ]
    .concat();
    let mut service = arena.spawn(words);
    assert_eq!(service.line(), "up");
    let (mut witness, _) = start(&arena, "witness", &[], "who-static");
    let before = arena.mounts();
    for line in [
        // What is mounted on cannot be removed in the namespace that it is mounted in; in one of the service's own it can.
        "rm -f /etc/passwd; mv /etc/passwd /etc/old; ln -sf /srv/secret /etc/passwd",
        "unshare -Ur rm -f /etc/passwd; unshare -Urm --propagation unchanged sh -c 'umount /etc/passwd; rm -f /etc/passwd'; ln -sf /srv/secret /etc/passwd",
        "ln -sf /var/lib/web /etc/group; mkdir /etc/shadow",
    ] {
        assert_eq!(
            ask(&mut service, &format!("{{ {line}; }} 2>/dev/null")),
            "done"
        );
        arena.run(["useradd", "human"]).ok();
        comes_to_know(&mut witness, "human", true);
        wait_until("it sees the same", || {
            let seen = ask(
                &mut service,
                "grep -q ^human: /etc/passwd && echo yes || echo no",
            );
            assert_eq!(service.line(), "done");
            seen == "yes"
        });
        arena.run(["userdel", "human"]).ok();
        comes_to_know(&mut witness, "human", false);
    }
    assert_eq!(arena.mounts(), before);
    assert_eq!(arena.run(["cat", "/srv/secret"]).ok(), "root alone\n");
    arena.run(["test", "-e", "/etc/old"]).fails(1);
    drop(witness);
    drop(service);
    arena.wait_until_idle();
}

#[test]
fn a_namespace_of_the_service_s_own_making_is_left_alone() {
    let arena = arena(false);
    // All its processes are in one: what is mounted there is not for root to decide.
    let script = "exec unshare -Urm --propagation unchanged sh -c 'echo up; read -r _; true'";
    let mut service = arena.spawn(["dynuser", "run", "-u", "web", "sh", "-c", script]);
    assert_eq!(service.line(), "up");
    let own = std::fs::read_to_string(service.proc("mountinfo")).unwrap();
    let lies = |line: &&str| !line.contains(" /etc/");
    let own: Vec<&str> = own.lines().filter(lies).collect();
    arena.sh("pkill -KILL -x dynuserd").ok();
    arena.run(["useradd", "human"]).ok();
    let (mut witness, _) = start(&arena, "witness", &[], "who-static");
    comes_to_know(&mut witness, "human", true);
    arena.run(["userdel", "human"]).ok();
    comes_to_know(&mut witness, "human", false);
    let now = std::fs::read_to_string(service.proc("mountinfo")).unwrap();
    let now: Vec<&str> = now.lines().filter(lies).collect();
    assert_eq!(now, own);
    let files = std::fs::read_to_string(service.proc("mountinfo")).unwrap();
    assert_eq!(files.matches(" /etc/").count(), 0, "{files}");
    assert!(service.end().0.success());
    assert!(witness.end().0.success());
    arena.wait_until_idle();
}
