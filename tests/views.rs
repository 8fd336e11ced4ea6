//! Inside the sandbox of a service its own user is always there, whatever its program is linked with, and whatever
//! becomes of the host's files of accounts while it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

#[path = "views/contents.rs"]
mod contents;
#[path = "views/following.rs"]
mod following;
#[path = "views/hostile.rs"]
mod hostile;
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
        arena.wait_until_idle();
        let plan = arena
            .run(["dynuser", "run", "--dry-run", "--unit-file", file])
            .ok();
        assert_eq!(plan.contains("write-database"), shown, "{file}: {plan}");
        let said = arena.run(["dynuser", "run", "--unit-file", file]).ok();
        assert!(!said.starts_with("nobody"), "{file}: {said}");
    }
}
