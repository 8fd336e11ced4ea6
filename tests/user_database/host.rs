//! A host where systemd's name service is, and ours is not.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Arena, Running};

/// The socket.
pub(crate) const SOCKET: &str = "/run/systemd/userdb/org.dynuser";

/// What the hash of "wuff" points at.
pub(crate) const WUFF: u32 = 63102;

/// What Debian writes into nsswitch.conf for libnss-systemd.
const NSSWITCH: &str = "passwd: files systemd\ngroup: files [SUCCESS=merge] systemd\nshadow: files systemd\ngshadow: files systemd\n";

/// Where systemd's programs look for services, and its names are looked up.
pub(crate) fn host() -> Arena {
    let arena = Arena::new();
    arena.sh("mkdir -p /run/systemd/userdb").ok();
    arena.put("/etc/nsswitch.conf", NSSWITCH, 0o644);
    arena
}

/// Puts userdbctl there, where the host has none: the package that `tests/run` downloads.
pub(crate) fn unpack_userdbctl(arena: &Arena) {
    if arena.sh("command -v userdbctl").status.success() {
        return;
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    let folder = target.join("userdbctl");
    let files = fs::read_dir(&folder).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; run tests/run, which downloads it",
            folder.display()
        )
    });
    let package = files.map(|entry| entry.expect("an entry").path()).next();
    let package = fs::read(package.expect("a package")).expect("a package");
    let script = "dpkg-deb --fsys-tarfile /dev/stdin | tar -x -C / ./usr/bin/userdbctl";
    arena
        .command(["sh", "-c", script])
        .input(package)
        .run()
        .ok();
}

/// A daemon in the foreground, whose sockets are there.
pub(crate) fn daemon(arena: &Arena) -> Running {
    let daemon = arena.spawn(["dynuser", "daemon"]);
    arena.wait_for_daemon();
    daemon
}

/// A service that runs until it is stopped.
pub(crate) fn sleeper(arena: &Arena, name: &str, properties: &[&str]) -> Running {
    let properties = properties.iter().flat_map(|property| ["-p", property]);
    let words = ["dynuser", "run", "-u", name].into_iter().chain(properties);
    let mut service = arena.spawn(words.chain(["sleep", "1000"]));
    service.wait_exec("sleep");
    service
}
