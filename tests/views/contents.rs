//! What a view shows, and of which files it can be made.

use super::support::{Arena, wait_until};
use super::{arena, ask, comes_to_know, start};

/// The lines of a file in the view of a service that are not the host's.
fn added(arena: &Arena, options: &[&str], path: &str) -> Vec<String> {
    let words = [&["dynuser", "run", "-u", "web"], options, &["cat", path]].concat();
    let shown = arena.run(words).ok();
    let host = arena.run(["cat", path]).ok();
    let host: Vec<&str> = host.lines().collect();
    let shown = shown.lines().filter(|line| !host.contains(line));
    shown.map(String::from).collect()
}

#[test]
fn what_is_shown_are_the_user_and_those_it_has_to_do_with() {
    let arena = arena(false);
    let (db, said) = start(&arena, "db", &["-p", "RuntimeDirectory=db"], "who-static");
    let db_uid = said.split(' ').nth(1).unwrap().to_owned();
    let options = ["-p", "SupplementaryGroups=db"];
    let (mut web, said) = start(&arena, "web", &options, "who-static");
    let uid = said.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(said, format!("web {uid} / web"));
    assert_eq!(ask(&mut web, "db"), format!("db {db_uid} /run/db db +web"));
    // Who was there before gets to know who joined.
    let mut db = db;
    wait_until("it knows its member", || {
        ask(&mut db, "me") == format!("db {db_uid} /run/db db +web")
    });
    assert_eq!(ask(&mut db, "web"), format!("web {uid} / web"));
    let (mut other, _) = start(&arena, "other", &[], "who-static");
    assert!(ask(&mut other, "db").starts_with("nobody"));
    assert!(web.end().0.success());
    wait_until("its member is gone", || {
        ask(&mut db, "me") == format!("db {db_uid} /run/db db")
    });
    // Group= of another one: its first group has a name too.
    let script = "id -gn; id -Gn; stat -c %U:%G /run/db; ls -ld /run/db";
    let words = [
        "dynuser", "run", "-u", "api", "-p", "Group=db", "sh", "-c", script,
    ];
    let said = arena.run(words).ok();
    assert!(said.starts_with("db\ndb\ndb:db\n"), "{said}");
    assert!(said.contains(" db db "), "{said}");
    // `dynuser enter` is in the same view.
    arena.run(["useradd", "human"]).ok();
    comes_to_know(&mut db, "human", true);
    let words = ["dynuser", "enter", "db", "sh", "-c", "whoami; id -un human"];
    assert_eq!(arena.run(words).ok(), "db\nhuman\n");
}

#[test]
fn files_of_accounts_are_taken_as_they_are() {
    let arena = arena(false);
    let lines = added(&arena, &[], "/etc/passwd");
    let [own] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert!(own.starts_with("web:x:") && own.ends_with(":Dynamic User:/:/usr/sbin/nologin"));
    // No end of the last line, and lines that send glibc's compat elsewhere.
    arena
        .sh("cp /etc/passwd /run/passwd; printf 'last:x:4711:4711::/:/bin/sh' >> /etc/passwd")
        .ok();
    let words = [
        "dynuser",
        "run",
        "-u",
        "web",
        "sh",
        "-c",
        "whoami; id -un last",
    ];
    assert_eq!(arena.run(words).ok(), "web\nlast\n");
    arena
        .sh("cp /run/passwd /etc/passwd; echo '+::::::' >> /etc/passwd")
        .ok();
    let words = [
        "dynuser",
        "run",
        "-u",
        "web",
        "tail",
        "-n",
        "2",
        "/etc/passwd",
    ];
    assert_eq!(arena.run(words).ok(), format!("{own}\n+::::::\n"));
    // Shadow files are root's, and say nothing of it.
    let words = ["dynuser", "run", "-u", "web", "cat", "/etc/shadow"];
    arena.run(words).fails(1);
    // On a file system that nobody can write to, and bound from elsewhere.
    arena
        .sh("cp /run/passwd /etc/passwd; mount --bind /etc /etc; mount -o remount,bind,ro /etc")
        .ok();
    assert_eq!(added(&arena, &[], "/etc/passwd"), lines);
    arena
        .sh("umount /etc; mount --bind /run/passwd /etc/passwd")
        .ok();
    assert_eq!(added(&arena, &[], "/etc/passwd"), lines);
    arena.sh("umount /etc/passwd").ok();
    // A link to where the host keeps it, as NixOS may have it; the host's file changes there.
    arena
        .sh("mkdir /etc/static; mv /etc/passwd /etc/static/passwd; ln -s static/passwd /etc/passwd")
        .ok();
    assert_eq!(added(&arena, &[], "/etc/passwd"), lines);
    let (mut service, said) = start(&arena, "web", &[], "who-static");
    assert!(said.starts_with("web "), "{said}");
    arena
        .sh("sed -i '$a human:x:4711:4711::/:/bin/sh' /etc/static/passwd")
        .ok();
    comes_to_know(&mut service, "human", true);
    arena
        .sh("cp /run/passwd /etc/static/new; ln -sfn static/new /etc/passwd")
        .ok();
    comes_to_know(&mut service, "human", false);
    assert!(service.end().0.success());
    arena.sh("rm /etc/passwd; cp /run/passwd /etc/passwd").ok();
    // Too large, missing, or over a link that others can change: said by name, and gone without otherwise.
    for (trouble, words) in [
        (
            "yes '# nobody' | head -c 2000000 >> /etc/passwd",
            "more than 1048576",
        ),
        ("rm /etc/passwd", "/etc/passwd is missing"),
        (
            "chmod 1777 /mnt; cp /run/passwd /mnt/p; ln -s /mnt/l /etc/passwd; setpriv --reuid 1000 ln -s p /mnt/l",
            "links that not only root",
        ),
    ] {
        arena.sh(trouble).ok();
        let why = arena
            .run([
                "dynuser",
                "run",
                "-u",
                "web",
                "-p",
                "UserDatabase=files",
                "true",
            ])
            .fails(217);
        assert!(why.contains(words), "{why}");
        arena.run(["dynuser", "run", "-u", "web", "true"]).ok();
    }
}

#[test]
fn a_name_or_a_number_that_the_host_has_stays_the_host_s() {
    let arena = arena(false);
    let (mut service, said) = start(&arena, "web", &[], "who-static");
    let uid = said.split(' ').nth(1).unwrap().to_owned();
    arena
        .sh("echo 'web:x:4711:4711::/host:/bin/sh' >> /etc/passwd")
        .ok();
    wait_until("the host's is seen", || {
        ask(&mut service, "web").starts_with("web 4711")
    });
    assert!(ask(&mut service, "me").starts_with("nobody"));
    arena
        .sh(&format!(
            "sed -i 's/^web:.*/human:x:{uid}:100::\\/host:/' /etc/passwd"
        ))
        .ok();
    wait_until("the host's is seen", || {
        ask(&mut service, "me").starts_with("human")
    });
    arena.sh("sed -i '/^human:/d' /etc/passwd").ok();
    wait_until("it is itself again", || ask(&mut service, "me") == said);
}
