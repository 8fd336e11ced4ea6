//! Programs that ask a C library for names, and sources of names that are slow, compiled once for each test process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::{Arena, Running};

/// Where the program is in an arena, and the compiler that it is of: musl, glibc without shared objects, glibc.
pub(crate) const PROGRAMS: [(&str, &[&str]); 3] = [
    ("/usr/local/bin/look-up-musl", &["musl-gcc", "-static"]),
    ("/usr/local/bin/look-up-static", &["gcc", "-static"]),
    ("/usr/local/bin/look-up-glibc", &["gcc"]),
];

fn compile(words: &[&str], source: &str, name: &str) -> PathBuf {
    let target =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/nscd")
        .join(source);
    let status = Command::new(words[0])
        .args(&words[1..])
        .args(["-w", "-O2", "-o"])
        .args([&target, &source])
        .status();
    assert!(status.expect("a C compiler").success(), "{words:?}");
    target
}

/// An arena with these programs in it, a configuration, and a daemon in the foreground that has read it.
pub(crate) fn host(configuration: &str) -> (Arena, Running) {
    static COMPILED: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let programs = COMPILED.get_or_init(|| {
        let all = PROGRAMS.iter().map(|(path, words)| {
            let name = Path::new(path).file_name().unwrap().to_str().unwrap();
            let program = compile(words, "look_up.c", name);
            let bytes = std::fs::read(&program).unwrap();
            std::fs::remove_file(program).unwrap();
            bytes
        });
        all.collect()
    });
    let arena = Arena::new();
    for ((path, _), program) in PROGRAMS.iter().zip(programs) {
        arena.within(|| std::fs::write(path, program).unwrap());
        arena.run(["chmod", "755", path]).ok();
    }
    configure(&arena, configuration);
    let daemon = start(&arena);
    (arena, daemon)
}

/// Writes the configuration.
pub(crate) fn configure(arena: &Arena, text: &str) {
    arena.run(["mkdir", "-p", "/etc/dynuser"]).ok();
    arena.put(
        "/etc/dynuser/dynuser.conf",
        &format!("[Manager]\n{text}\n"),
        0o644,
    );
}

/// Starts a daemon, and waits until it answers.
pub(crate) fn start(arena: &Arena) -> Running {
    let daemon = arena
        .command(["dynuser", "daemon"])
        .env("LD_LIBRARY_PATH", "/usr/lib")
        .spawn();
    arena.wait_for_daemon();
    daemon
}

/// Adds the slow source of names to nsswitch.conf, as the last one: see slow.c.
pub(crate) fn add_slow_source(arena: &Arena) {
    static COMPILED: OnceLock<Vec<u8>> = OnceLock::new();
    let library = COMPILED.get_or_init(|| {
        let library = compile(&["gcc", "-shared", "-fPIC"], "slow.c", "libnss_slow");
        let bytes = std::fs::read(&library).unwrap();
        std::fs::remove_file(library).unwrap();
        bytes
    });
    arena.within(|| std::fs::write("/usr/lib/libnss_slow.so.2", library).unwrap());
    let script = "sed -i -E '/^(passwd|group):/s/$/ slow/' /etc/nsswitch.conf";
    arena.sh(script).ok();
}
