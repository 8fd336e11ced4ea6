//! Attacks on the directories of services: by a service, by one that had its number before, by a user of the host,
//! by the service of another package. After each the victim's files are looked at, and that nobody else is kept
//! from being started.
//!
//! Each test prints how many attacks it made, and how many there were until then (`--nocapture`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

#[path = "directory_attacks/hostile_trees.rs"]
mod hostile_trees;
#[path = "directory_attacks/leftovers.rs"]
mod leftovers;
#[path = "directory_attacks/nesting.rs"]
mod nesting;
#[path = "directory_attacks/numbers.rs"]
mod numbers;
#[path = "directory_attacks/races.rs"]
mod races;

use std::sync::atomic::{AtomicUsize, Ordering};

use support::{Arena, Output};

/// All that were made.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// Counts the attacks of a test, and tells of them at its end.
struct Attacks {
    of: &'static str,
    made: usize,
}

impl Attacks {
    fn of(of: &'static str) -> Self {
        Self { of, made: 0 }
    }

    /// One was survived.
    fn survived(&mut self) {
        self.made += 1;
        MADE.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Attacks {
    fn drop(&mut self) {
        let all = MADE.load(Ordering::Relaxed);
        println!("{} attacks: {} ({all} attacks so far)", self.made, self.of);
    }
}

/// Runs a service `name` with properties, and a script in it, until nothing is left of it.
fn run(arena: &Arena, name: &str, properties: &[&str], script: &str) -> Output {
    let properties = properties.iter().flat_map(|property| ["-p", property]);
    let words = ["dynuser", "run", "-u", name].into_iter().chain(properties);
    let output = arena.run(words.chain(["sh", "-c", script]));
    arena.wait_until_idle();
    output
}

/// Ends the daemon where it is.
/// Lays the victims: files of root's and of others, in /srv and on the file system of /var/lib.
fn lay_victims(arena: &Arena) {
    let script = "set -e; for top in /srv /var/lib; do
            mkdir -p $top/victim/dir; echo root > $top/victim/file; echo root > $top/victim/dir/file
            cp /usr/bin/id $top/victim/program; chmod 4711 $top/victim/program
            chmod 600 $top/victim/file $top/victim/dir/file; chmod 700 $top/victim/dir
            echo other > $top/victim/others; chown 1000:1000 $top/victim/others; chmod 600 $top/victim/others; done";
    arena.sh(script).ok();
}

/// What the victims are like: names, modes, owners, content, times of change of the status.
fn victims(arena: &Arena) -> String {
    let script = "find /srv/victim /var/lib/victim -printf '%p %y %m %U:%G %s %l\\n' | sort; \
        find /srv/victim /var/lib/victim -type f | sort | xargs sha256sum; sha256sum /etc/passwd /etc/shadow";
    arena.sh(script).ok()
}
