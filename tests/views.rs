//! Inside the sandbox of a service its own user is always there, whatever its program is linked with, and whatever
//! becomes of the host's files of accounts while it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use support::{Arena, Builder, Running, wait_until};

/// Says who it is: its user, its home, its groups; then who is asked for on its standard input, one a line.
const WHO: &str = r#"
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
static void person(struct passwd *p) {
    if (p) printf("%s %u %s", p->pw_name, p->pw_uid, p->pw_dir); else printf("nobody");
    struct group *g = p ? getgrgid(p->pw_gid) : 0;
    printf(" %s", g ? g->gr_name : "nogroup");
    for (char **m = g ? g->gr_mem : 0; m && *m; m++) printf(" +%s", *m);
    puts("");
    fflush(stdout);
}
int main(void) {
    char line[200];
    person(getpwuid(getuid()));
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        person(strcmp(line, "me") ? getpwnam(line) : getpwuid(getuid()));
    }
    return 0;
}
"#;

/// That program: as it is usual, linked statically, and with another C library.
fn programs() -> &'static [(PathBuf, &'static str); 3] {
    static PROGRAMS: OnceLock<[(PathBuf, &str); 3]> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let kinds: [(&str, &[&str], &str); 3] = [
            ("cc", &[], "/usr/local/bin/who-shared"),
            ("cc", &["-static", "-w"], "/usr/local/bin/who-static"),
            ("musl-gcc", &[], "/usr/local/bin/who-musl"),
        ];
        kinds.map(|(compiler, options, path)| {
            let name = path.rsplit('/').next().unwrap();
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
            let program = folder.join(format!("{name}-{}", std::process::id()));
            let source = program.with_extension("c");
            std::fs::write(&source, WHO).unwrap();
            let status = Command::new(compiler)
                .args(options)
                .arg("-o")
                .args([&program, &source])
                .status();
            assert!(status.expect(compiler).success(), "{compiler}");
            (program, path)
        })
    })
}

fn arena(module: bool) -> Arena {
    let mut builder = Builder::default();
    if module {
        builder = builder.with_module();
    }
    for (program, path) in programs() {
        builder = builder.with_program(program.clone(), path);
    }
    let arena = builder.start();
    let loader = Path::new("/lib/ld-musl-x86_64.so.1");
    assert!(!cfg!(target_arch = "x86_64") || loader.exists(), "musl");
    arena
}

/// Starts a service, and gives what it says first: who it is.
fn start(arena: &Arena, name: &str, options: &[&str], program: &str) -> (Running, String) {
    let words = [&["dynuser", "run", "-u", name], options, &[program]].concat();
    let mut service = arena.spawn(words);
    let said = service.line();
    (service, said)
}

fn ask(service: &mut Running, name: &str) -> String {
    service.say(name);
    service.line()
}

/// What is mounted on a file in the view of a service.
fn mounted(service: &Running, path: &str) -> usize {
    let table = std::fs::read_to_string(service.proc("mountinfo")).unwrap();
    let at = |line: &&str| line.split(' ').nth(4) == Some(path);
    table.lines().filter(at).count()
}

#[test]
fn whatever_a_program_is_linked_with_it_finds_its_own_user() {
    for module in [false, true] {
        let arena = arena(module);
        for program in ["who-shared", "who-static", "who-musl"] {
            let options = ["-p", "StateDirectory=web"];
            let (service, said) = start(&arena, "web", &options, program);
            let uid = said.split(' ').nth(1).unwrap_or_default().to_owned();
            assert_eq!(
                said,
                format!("web {uid} /var/lib/web web"),
                "{program} {module}"
            );
            // The module is asked wherever it can be.
            let asked = module && program == "who-shared";
            assert_eq!(
                mounted(&service, "/etc/passwd"),
                usize::from(!asked),
                "{program}"
            );
            assert_eq!(
                mounted(&service, "/etc/group"),
                usize::from(!asked),
                "{program}"
            );
            assert!(service.end().0.success());
        }
        arena.wait_until_idle();
        assert_eq!(arena.run(["ls", "-A", "/run/dynuser/views"]).ok(), "");
    }
}

/// Waits until a service finds somebody, or does not, and sees that it finds itself too.
fn comes_to_know(service: &mut Running, name: &str, known: bool) {
    wait_until(name, || {
        let there = ask(service, name).starts_with(&format!("{name} "));
        there == known && !ask(service, "me").starts_with("nobody")
    });
}

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
fn user_database_says_how_a_service_finds_its_user() {
    for (module, options, shown) in [
        (true, &[][..], Some(false)),
        (true, &["UserDatabase=auto"], Some(false)),
        (true, &["UserDatabase=nss"], Some(false)),
        (true, &["UserDatabase=files"], Some(true)),
        (true, &["TemporaryFileSystem=/run"], Some(true)),
        (true, &["TemporaryFileSystem=/etc"], Some(true)),
        (true, &["InaccessiblePaths=/run/dynuser"], Some(true)),
        (true, &["InaccessiblePaths=/etc/nsswitch.conf"], Some(true)),
        // What is hidden by name stays so.
        (
            true,
            &[
                "InaccessiblePaths=/etc/passwd",
                "InaccessiblePaths=/etc/group",
                "TemporaryFileSystem=/run",
            ],
            Some(false),
        ),
        (
            true,
            &["UserDatabase=nss", "TemporaryFileSystem=/run"],
            None,
        ),
        (
            true,
            &["UserDatabase=files", "InaccessiblePaths=/etc/passwd"],
            None,
        ),
        (
            true,
            &[
                "UserDatabase=files",
                "BindReadOnlyPaths=/etc/hosts:/etc/passwd",
            ],
            None,
        ),
        (false, &[], Some(true)),
        (false, &["UserDatabase=files"], Some(true)),
        (false, &["UserDatabase=nss"], None),
        (false, &["UserDatabase=nss", "Sandbox=identity"], None),
    ] {
        let arena = arena(module);
        let options: Vec<&str> = options.iter().flat_map(|it| ["-p", it]).collect();
        let script = ["sh", "-c", "grep -c ^web: /etc/passwd 2>/dev/null; true"];
        let words = [&["dynuser", "run", "-u", "web"], &options[..], &script].concat();
        let output = arena.run(words);
        let Some(shown) = shown else {
            let why = output.fails(217);
            assert!(why.contains("UserDatabase="), "{why}");
            continue;
        };
        let lines = output.ok();
        assert_eq!(lines == "1\n", shown, "{module} {options:?}: {lines}");
    }
    let arena = arena(true);
    for (options, words) in [
        (
            &["UserDatabase=sometimes"][..],
            "neither auto, nss nor files",
        ),
        (&["UserDatabase=files", "Sandbox=identity"], "UserDatabase="),
        (&["UserDatabase=files", "Sandbox=landlock"], "UserDatabase="),
    ] {
        let options: Vec<&str> = options.iter().flat_map(|it| ["-p", it]).collect();
        let words_of_it = [&["dynuser", "run", "-u", "web"], &options[..], &["true"]].concat();
        let output = arena.run(words_of_it);
        assert!(!output.status.success());
        assert!(output.stderr.contains(words), "{}", output.stderr);
    }
}

#[test]
fn an_executable_is_judged_by_what_it_is() {
    let arena = arena(true);
    let folder = "/usr/local/bin";
    arena.put(
        &format!("{folder}/shared-script"),
        "#!/usr/local/bin/who-shared\n",
        0o755,
    );
    arena.put(
        &format!("{folder}/static-script"),
        "#!/usr/local/bin/who-static\n",
        0o755,
    );
    arena.put(
        &format!("{folder}/env-script"),
        "#! /usr/bin/env who-shared\n",
        0o755,
    );
    arena.put(
        &format!("{folder}/second"),
        &format!("#!{folder}/static-script\n"),
        0o755,
    );
    for (options, program, shown) in [
        (&[][..], "who-shared", 0),
        (&[], "/usr/local/bin/who-shared", 0),
        (&[], "shared-script", 0),
        (&[], "env-script", 0),
        (&[], "static-script", 1),
        (&[], "second", 1),
        (&["-p", "MainProgram=who-static"], "who-shared", 1),
        // Nobody can tell.
        (&["-E", "PATH=/usr/local/bin"], "who-shared", 1),
        (
            &[
                "-p",
                "BindReadOnlyPaths=/usr/local/bin/who-static:/usr/local/bin/who-shared",
            ],
            "/usr/local/bin/who-shared",
            1,
        ),
    ] {
        let (service, said) = start(&arena, "web", options, program);
        assert!(said.starts_with("web "), "{program}: {said}");
        assert_eq!(mounted(&service, "/etc/passwd"), shown, "{program}");
        assert!(service.end().0.success());
    }
    let unit = |program: &str| format!("[Service]\nDynamicUser=yes\nExecStart={program}\n");
    arena.put("/run/web.service", &unit("/usr/local/bin/who-musl"), 0o644);
    arena.put("/run/api.service", &unit("@who-shared x"), 0o644);
    for (file, shown) in [("/run/web.service", true), ("/run/api.service", false)] {
        let plan = arena
            .run(["dynuser", "run", "--dry-run", "--unit-file", file])
            .ok();
        assert_eq!(plan.contains("write-database"), shown, "{file}: {plan}");
        let said = arena.run(["dynuser", "run", "--unit-file", file]).ok();
        assert!(!said.starts_with("nobody"), "{file}: {said}");
    }
}

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
