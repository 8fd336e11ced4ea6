//! The packages of the supervisors: `tests/run` downloads them, and they are unpacked in an arena alone. Installed,
//! runit would make an account, and openrc change what the host starts.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Arena;

/// Where what is built goes.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    )
}

/// Where `tests/run` puts them.
fn folder() -> PathBuf {
    target().join("debs")
}

/// Unpacks all of them: those of one supervisor need those of their libraries.
pub(crate) fn unpack(arena: &Arena) {
    let entries = fs::read_dir(folder()).unwrap_or_else(|error| {
        panic!(
            "the supervisors' packages are not in {}: {error}; run tests/run, which downloads them",
            folder().display()
        )
    });
    let files = entries.map(|entry| entry.expect("an entry").path());
    for file in files.filter(|path| path.extension().is_some_and(|it| it == "deb")) {
        let script = "dpkg-deb --fsys-tarfile /dev/stdin | tar -x -C / --keep-directory-symlink";
        let package = fs::read(&file).expect("a package");
        arena
            .command(["sh", "-c", script])
            .input(package)
            .run()
            .ok();
    }
}
