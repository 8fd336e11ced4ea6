//! The socket served by us: what programs without our NSS module find.

use crate::foreign::start_nscd;
use crate::programs::{PROGRAMS, add_slow_source, configure, host, start};
use crate::support::{Arena, Running, wait_until};

/// What the hash of "wuff" points at.
const WUFF: &str = "63102";

/// What a program finds, line by line.
fn look_up(arena: &Arena, program: &str, what: &[&str]) -> Vec<String> {
    let words = [&[program], what].concat();
    let output = arena.command(words).user(1000).run().ok();
    println!("$ {program} {}\n{output}", what.join(" "));
    let lines = output.lines().zip(what);
    lines
        .map(|(line, what)| {
            line.strip_prefix(&format!("{what} "))
                .expect("an answer")
                .to_owned()
        })
        .collect()
}

fn hang_up(arena: &Arena) {
    arena.sh("pkill -HUP -x dynuserd").ok();
}

fn serves(arena: &Arena) -> bool {
    arena
        .run(["test", "-S", "/run/nscd/socket"])
        .status
        .success()
}

fn running(arena: &Arena, more: &[&str]) -> Running {
    let words = [&["dynuser", "run", "-u", "wuff"], more, &["sleep", "1000"]].concat();
    let mut service = arena.spawn(words);
    service.wait_exec("sleep");
    service
}

#[test]
fn programs_of_every_c_library_find_dynamic_users_while_they_are_there() {
    let (arena, _daemon) = host("NscdSocket=yes");
    arena.append("/etc/group", "friends:x:4242:wuff");
    let what = [
        "u:wuff", "U:63102", "g:wuff", "G:63102", "l:wuff", "u:miau", "U:63103", "g:miau",
    ];
    for (program, _) in PROGRAMS {
        let found = look_up(&arena, program, &what);
        assert_eq!(found[..4], ["none"; 4], "{program}");
    }
    let service = running(&arena, &[]);
    for (program, _) in PROGRAMS {
        let found = look_up(&arena, program, &what);
        let user = format!("wuff:x:{WUFF}:{WUFF}:Dynamic User:/:/usr/sbin/nologin");
        let group = format!("wuff:x:{WUFF}:");
        let groups = format!("4242,{WUFF}");
        let expected = [
            &user, &user, &group, &group, &groups, "none", "none", "none",
        ];
        assert_eq!(found, expected, "{program}");
    }
    service.stop();
    arena.wait_until_idle();
    for (program, _) in PROGRAMS {
        let found = look_up(&arena, program, &what);
        assert_eq!(found[..4], ["none"; 4], "{program}");
    }
}

#[test]
fn homes_groups_and_members_are_told_as_they_change() {
    let (arena, _daemon) = host("NscdSocket=yes");
    arena.run(["mkdir", "-p", "/var/lib"]).ok();
    let _service = running(
        &arena,
        &[
            "-p",
            "StateDirectory=wuff",
            "-p",
            "SupplementaryGroups=video games",
        ],
    );
    let home = format!("wuff:x:{WUFF}:{WUFF}:Dynamic User:/var/lib/wuff:/usr/sbin/nologin");
    let number = |group: &str| {
        let line = arena.run(["getent", "group", group]).ok();
        line.split(':')
            .nth(2)
            .expect("a number")
            .parse::<u32>()
            .expect("a number")
    };
    let mut groups = [number("video"), number("games"), 63102];
    groups.sort_unstable();
    let groups = groups.map(|gid| gid.to_string()).join(",");
    let what = ["u:wuff", "U:63102", "g:wuff", "l:wuff", "l:miau"];
    let mut miau = arena.spawn([
        "dynuser",
        "run",
        "-u",
        "miau",
        "-p",
        "SupplementaryGroups=wuff",
        "sleep",
        "1000",
    ]);
    miau.wait_exec("sleep");
    let number = arena.run(["ps", "-o", "uid=", "-p", &miau.pid()]).ok();
    let number: u32 = number.trim().parse().expect("a number");
    let mut of_miau = [number, 63102];
    of_miau.sort_unstable();
    let of_miau = of_miau.map(|gid| gid.to_string()).join(",");
    let with_member = format!("wuff:x:{WUFF}:miau");
    for (program, _) in PROGRAMS {
        let found = look_up(&arena, program, &what);
        // Of a group that is in /etc/group, musl believes that file alone.
        let groups = if program.ends_with("musl") {
            WUFF
        } else {
            &groups
        };
        let expected = [&home, &home, &with_member, groups, &of_miau];
        assert_eq!(found, expected.map(str::to_owned), "{program}");
    }
    miau.stop();
    wait_until("it is gone", || arena.list().len() == 1);
    let found = look_up(&arena, PROGRAMS[0].0, &what);
    assert_eq!(found[2], format!("wuff:x:{WUFF}:"));
}

#[test]
fn all_other_users_and_groups_are_as_the_host_knows_them() {
    let (arena, _daemon) = host("NscdSocket=yes");
    // musl reads /etc/passwd by itself: here the host knows them from elsewhere.
    arena
        .sh(
            "mkdir -p /usr/lib/extra && cp /etc/passwd /etc/group /usr/lib/extra
             echo 'far:$6$salt$0123456789abcdef:4711:4712:Far, Away:/home/f:/bin/sh' >> /usr/lib/extra/passwd
             echo 'away:*:4712:' >> /usr/lib/extra/group
             echo 'many:x:4713:root,far,daemon' >> /usr/lib/extra/group",
        )
        .ok();
    // The daemon sees these files, and nobody else.
    let mut daemon = arena.spawn([
        "unshare", "-m", "sh", "-c",
        "mount --bind /usr/lib/extra/passwd /etc/passwd && mount --bind /usr/lib/extra/group /etc/group
         pkill -x dynuserd; while test -e /run/dynuser/manager; do sleep 0.01; done
         echo up; exec dynuser daemon",
    ]);
    assert_eq!(daemon.line(), "up");
    wait_until("it serves", || serves(&arena));
    let what = [
        "u:far", "U:4711", "g:many", "G:4713", "l:far", "g:away", "u:nosuch", "U:4714", "g:nosuch",
        "u:root",
    ];
    for (program, _) in PROGRAMS {
        let found = look_up(&arena, program, &what);
        let far = "far:x:4711:4712:Far, Away:/home/f:/bin/sh";
        let many = "many:x:4713:root,far,daemon";
        let expected = [
            far,
            far,
            many,
            many,
            "4712,4713",
            "away:*:4712:",
            "none",
            "none",
            "none",
        ];
        assert_eq!(found[..9], expected, "{program}");
        assert!(found[9].starts_with("root:"), "{program}: {}", found[9]);
    }
}

#[test]
fn what_nobody_can_tell_is_never_called_unknown_and_ours_are_known_meanwhile() {
    let (arena, daemon) = host("NscdSocket=yes\nNameServiceTimeoutSec=1s");
    let _service = running(&arena, &[]);
    daemon.stop();
    add_slow_source(&arena);
    let _daemon = start(&arena);
    wait_until("it serves", || serves(&arena));
    arena.run(["touch", "/run/slow"]).ok();
    let musl = PROGRAMS[0].0;
    let what = [
        "u:nosuch", "U:4714", "g:nosuch", "G:4714", "l:nosuch", "u:wuff", "U:63102", "g:wuff",
        "u:root",
    ];
    let found = look_up(&arena, musl, &what);
    assert_eq!(found[..4], ["I/O error"; 4]);
    assert!(found[5].starts_with("wuff:x:"), "{found:?}");
    assert!(found[6].starts_with("wuff:x:"), "{found:?}");
    assert!(found[7].starts_with("wuff:x:"), "{found:?}");
    arena.run(["rm", "/run/slow"]).ok();
    let found = look_up(&arena, musl, &what);
    assert_eq!(found[..4], ["none"; 4]);
}

#[test]
fn the_daemon_does_not_wait_for_itself() {
    let (arena, _daemon) = host("NscdSocket=yes\nNameServiceTimeoutSec=3s");
    assert!(serves(&arena));
    for _ in 0..3 {
        // A user that the host has anyway: the daemon looks it up, through its own socket.
        let id = arena
            .run(["dynuser", "run", "-u", "games", "id", "-u"])
            .ok();
        assert_eq!(id.trim(), "5");
        let id = arena.run(["dynuser", "run", "-u", "wuff", "id", "-u"]).ok();
        assert_eq!(id.trim(), WUFF);
        arena.wait_until_idle();
    }
}

#[test]
fn the_socket_is_there_while_it_is_wanted_and_nobody_elses() {
    let (arena, daemon) = host("");
    assert!(!serves(&arena), "nobody has asked for it");
    assert!(!arena.run(["test", "-e", "/run/nscd"]).status.success());
    configure(&arena, "NscdSocket=yes");
    hang_up(&arena);
    wait_until("it serves", || serves(&arena));
    let modes = arena
        .run(["stat", "-c", "%a %U %F", "/run/nscd", "/run/nscd/socket"])
        .ok();
    assert_eq!(modes, "755 root directory\n666 root socket\n");
    configure(&arena, "NscdSocket=no");
    hang_up(&arena);
    wait_until("it is gone", || !serves(&arena));
    assert!(!arena.run(["test", "-e", "/run/nscd"]).status.success());
    configure(&arena, "NscdSocket=yes");
    hang_up(&arena);
    wait_until("it serves", || serves(&arena));
    // useradd(8) and its kin tell the cache to forget, and complain if it does not.
    arena.run(["nscd", "--invalidate", "passwd"]).ok();
    arena.run(["nscd", "--invalidate", "group"]).ok();
    arena.run(["nscd", "--statistics"]).fails(1);
    daemon.stop();
    assert!(!arena.run(["test", "-e", "/run/nscd"]).status.success());

    // One that was killed leaves its socket, which the next one replaces.
    let daemon = start(&arena);
    wait_until("it serves", || serves(&arena));
    arena.run(["kill", "-9", &daemon.pid()]).ok();
    wait_until("it is gone", || arena.daemons().is_empty());
    let daemon = start(&arena);
    let found = look_up(&arena, PROGRAMS[0].0, &["u:nosuch"]);
    assert_eq!(found, ["none"]);

    // The real one replaces ours, and stays when we go.
    let nscd = start_nscd(&arena);
    hang_up(&arena);
    let service = running(&arena, &[]);
    assert!(arena.run(["nscd", "--statistics"]).status.success());
    service.stop();
    arena.wait_until_idle();
    daemon.stop();
    assert!(serves(&arena));
    arena.run(["nscd", "--statistics"]).ok();
    // Beside it we serve nothing, until it has gone.
    let _daemon = start(&arena);
    arena.run(["nscd", "--statistics"]).ok();
    nscd.stop();
    hang_up(&arena);
    wait_until("ours is there", || {
        arena.run(["nscd", "--statistics"]).status.code() == Some(1)
            && serves(&arena)
            && arena
                .run(["nscd", "--invalidate", "passwd"])
                .status
                .success()
    });
}

#[test]
fn the_socket_stays_when_the_configuration_changes() {
    let (arena, _daemon) = host("NscdSocket=yes");
    let _service = running(&arena, &[]);
    let socket = || arena.run(["stat", "-c", "%i", "/run/nscd/socket"]).ok();
    let before = socket();
    for last in [65001, 65002, 65003] {
        let range = format!("61184-{last}");
        let text = format!("NscdSocket=yes\nNameServiceTimeoutSec={last}ms\nUIDRange={range}");
        configure(&arena, &text);
        hang_up(&arena);
        wait_until("it is read", || {
            let told = arena.run(["readlink", "/run/dynuser/users/ranges"]);
            told.stdout.trim() == range
        });
        for _ in 0..5 {
            let found = look_up(&arena, PROGRAMS[0].0, &["u:wuff", "u:nosuch"]);
            assert!(found[0].starts_with("wuff:x:"), "{found:?}");
            assert_eq!(found[1], "none");
        }
    }
    assert_eq!(socket(), before);
}
