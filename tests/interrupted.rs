//! Directories are moved, adopted and given while the daemon is killed before each call that changes anything:
//! at every one of these instants one complete tree can be reached, and the next start finishes the work, so
//! that nothing tells it from one that was never interrupted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use support::Builder;
use support::inside::{self, Bodies, Figures, LastOne, compiled};
use support::service::{daemons, kill, kill_daemons, leased, soon};

const KILLER: &str = "/usr/local/sbin/killer";
const LAUNCHER: &str = "/tmp/launcher";

/// What is in the tree: names that hurt, links, several levels.
const TREE: &str = "mkdir -p deep/er 'with blank' && echo 1 > file && echo 2 > deep/file && echo 3 > deep/er/file && \
    echo 4 > 'with blank/new\nline' && ln deep/file deep/er/hard && ln -s ../file deep/link && mkfifo deep/fifo";

/// How a directory becomes a service's.
struct Way {
    name: &'static str,
    /// Makes what is there before, in /var/lib and /run; `TREE` makes the tree in the current directory.
    before: &'static str,
    /// The service's properties.
    properties: &'static [&'static str],
    /// Where the tree may be, by any of its names.
    places: &'static [&'static str],
    /// Where the service has it.
    there: &'static str,
}

const WAYS: [Way; 12] = [
    Way {
        name: "of a former number, public to private",
        before: "mkdir /var/lib/m; cd /var/lib/m; tree; chown -hR 61200:61200 .; ln -s m /var/lib/other",
        properties: &["StateDirectory=m:other"],
        places: &["/var/lib/m"],
        there: "/var/lib/m",
    },
    Way {
        name: "root's, public to private",
        before: "mkdir /var/lib/m; cd /var/lib/m; tree",
        properties: &["StateDirectory=m:other"],
        places: &["/var/lib/m"],
        there: "/var/lib/m",
    },
    Way {
        name: "nested names, public to private",
        before: "mkdir -p /var/lib/top/m; cd /var/lib/top/m; tree; chown -hR 61200:61200 .",
        properties: &["StateDirectory=top/m top/m/deep/new top/m/deep:alias/x top/m/new/er/est"],
        places: &["/var/lib/top/m"],
        there: "/var/lib/top/m",
    },
    Way {
        name: "private to public, for a user that the host has",
        before: "mkdir -m 700 /var/lib/private; mkdir /var/lib/private/m; ln -s private/m /var/lib/m; \
            cd /var/lib/private/m; tree; chown -hR 61200:61200 .",
        properties: &["DynamicUser=no", "User=daemon", "StateDirectory=m:other"],
        places: &["/var/lib/m"],
        there: "/var/lib/m",
    },
    Way {
        name: "private to public, for root",
        before: "mkdir -m 700 /var/lib/private; mkdir -p /var/lib/private/top/m /var/lib/top; \
            ln -s ../private/top/m /var/lib/top/m; cd /var/lib/private/top/m; tree; chown -hR 65534:65534 .",
        properties: &["DynamicUser=no", "StateDirectory=top/m"],
        places: &["/var/lib/top/m"],
        there: "/var/lib/top/m",
    },
    Way {
        name: "private to public, without its link",
        before: "mkdir -m 700 /var/lib/private; mkdir /var/lib/private/m; \
            cd /var/lib/private/m; tree; chown -hR 61200:61200 .",
        properties: &["DynamicUser=no", "User=daemon", "StateDirectory=m"],
        places: &["/var/lib/private/m", "/var/lib/m"],
        there: "/var/lib/m",
    },
    Way {
        name: "in the way of an empty one",
        before: "mkdir -m 700 /var/lib/private; mkdir /var/lib/private/m /var/lib/m; \
            cd /var/lib/private/m; tree; chown -hR 61200:61200 .",
        properties: &["StateDirectory=m"],
        places: &["/var/lib/private/m"],
        there: "/var/lib/m",
    },
    Way {
        name: "a mount point",
        before: "mkdir /var/lib/m; mount -t tmpfs -o mode=755 m /var/lib/m; cd /var/lib/m; tree; chown -hR 61200:61200 .",
        properties: &["StateDirectory=m"],
        places: &["/var/lib/m"],
        there: "/var/lib/m",
    },
    Way {
        name: "a mount point that was adopted, for a user that the host has",
        before: "mkdir -m 700 /var/lib/private; ln -s ../m /var/lib/private/m; mkdir /var/lib/m; \
            mount -t tmpfs -o mode=700 m /var/lib/m; cd /var/lib/m; tree; chown -hR 61200:61200 .",
        properties: &["DynamicUser=no", "User=daemon", "StateDirectory=m"],
        places: &["/var/lib/m"],
        there: "/var/lib/m",
    },
    Way {
        name: "on another file system than the boundary",
        before: "mkdir -m 700 /var/lib/private; mount -t tmpfs -o mode=700 private /var/lib/private; \
            mkdir /var/lib/m; cd /var/lib/m; tree",
        properties: &["StateDirectory=m"],
        places: &["/var/lib/m"],
        there: "/var/lib/m",
    },
    Way {
        name: "on a file system that shows nobody's files as another's",
        before: "mount -t ramfs -o mode=755 ram /var/lib; mkdir /var/lib/m; cd /var/lib/m; tree; chown -hR 61200:61200 .",
        properties: &["StateDirectory=m"],
        places: &["/var/lib/m"],
        there: "/var/lib/m",
    },
    Way {
        name: "a runtime directory that is preserved from now on",
        before: "mkdir /run/m; cd /run/m; tree; chown -hR 61200:61200 .",
        properties: &["RuntimeDirectory=m", "RuntimeDirectoryPreserve=yes"],
        places: &["/run/m"],
        there: "/run/m",
    },
];

/// Runs a script of the test's own.
fn sh(script: &str) -> Output {
    let script = format!("tree() {{ {TREE}; }}; {script}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).stdin(Stdio::null());
    shell.output().expect("a shell")
}

fn ok(script: &str) -> String {
    let output = sh(script);
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Everything that an earlier round left is removed.
fn reset() {
    kill_daemons();
    ok("umount -q /var/lib/m /var/lib/private 2>/dev/null; \
        if [ $(stat -f -c %T /var/lib) = ramfs ]; then umount /var/lib; fi; \
        rm -rf /var/lib/m /var/lib/top /var/lib/other /var/lib/alias /var/lib/private /run/m /run/private \
        /var/lib/dynuser /run/dynuser");
}

/// The content of the tree at a place, whoever owns it; nothing, if it cannot be reached.
fn content(place: &str) -> Option<String> {
    let script = format!(
        "cd {place} && find . ! -name added ! -path './deep/new' ! -path './new*' \\( -type d -printf 'd %P\\0' -o \
         -printf '%y %P %l %n\\0' \\) | sort -z && \
         find . -type f ! -name added -print0 | sort -z | xargs -0 cat"
    );
    let output = sh(&script);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

/// All there is, with owners and modes, and the notes of what is being given.
fn all() -> String {
    ok(
        "cd /var/lib; find m top other alias private /run/m /run/private -printf '%p %y %U:%G %m %l\\n' 2>/dev/null \
         | sort; find /var/lib/dynuser/giving /run/dynuser/giving -type f 2>/dev/null; true",
    )
}

struct Round<'a> {
    way: &'a Way,
    service: String,
}

impl Round<'_> {
    /// Makes the world as it was.
    fn before(&self) -> String {
        reset();
        ok(self.way.before);
        content(self.way.places[0]).expect("a tree")
    }

    /// The launcher: the service tells what it has, and writes everywhere.
    fn launcher(&self) -> Command {
        let there = self.way.there;
        let script = format!(
            "cd {there} && cat file deep/file deep/er/file && find . -type d ! -exec touch {{}}/added \\; -o -name \
             added | sort && echo up"
        );
        let mut words = vec!["dynuser", "run", "-u", &self.service];
        for property in self.way.properties {
            words.extend(["-p", property]);
        }
        words.extend(["sh", "-c", &script]);
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("echo $$ > {LAUNCHER}; exec \"$@\""), "sh"])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A start that nothing interrupts. Gives what the service said, and what there is afterwards.
    fn finish(&self, when: &str) -> (String, String) {
        let output = self.launcher().output().expect("a launcher");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.ends_with("up\n"),
            "VIOLATION {when}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        soon("the lease has ended", || leased().is_empty());
        (said, all())
    }
}

fn socket() -> Option<u64> {
    fs::symlink_metadata("/run/dynuser/manager")
        .map(|found| found.ino())
        .ok()
}

/// A daemon that dies before its call of that number.
fn doomed(number: u32) -> Child {
    let mut daemon = Command::new(KILLER);
    daemon
        .args([&number.to_string(), "dynuser", "daemon"])
        .env("KILLER_ALSO", LAUNCHER)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let before = socket();
    let mut daemon = daemon.spawn().expect("a daemon");
    soon("a daemon listens, or is dead", || {
        socket() != before && socket().is_some() || daemon.try_wait().expect("a child").is_some()
    });
    daemon
}

/// The first call that a daemon makes when it listens already.
fn first_call() -> u32 {
    let (mut too_few, mut enough) = (0, 512);
    while too_few + 1 < enough {
        let middle = (too_few + enough) / 2;
        reset();
        let mut daemon = doomed(middle);
        if daemon.try_wait().expect("a child").is_some() {
            too_few = middle;
        } else {
            enough = middle;
            end(&mut daemon);
        }
    }
    enough
}

fn end(daemon: &mut Child) {
    for pid in daemons() {
        kill(pid, rustix::process::Signal::KILL);
    }
    daemon.wait().expect("its end");
}

/// Kills daemon and launcher before each call of one way. Gives how often.
fn interrupt(way: &Way, first: u32) -> u64 {
    let service = inside::name_of_our_own("moved");
    let round = Round { way, service };
    round.before();
    let (said, after) = round.finish(way.name);
    let mut kills = 0;
    for number in first.. {
        let when = format!("{}, before call {number}", way.name);
        assert!(number < 2000, "it does not end");
        let whole = round.before();
        let _none = fs::remove_file(LAUNCHER);
        let mut daemon = doomed(number);
        let output = round.launcher().output().expect("a launcher");
        let early = !output.stdout.ends_with(b"up\n");
        if !early {
            end(&mut daemon);
            return kills;
        }
        assert_eq!(
            output.status.signal(),
            Some(9),
            "VIOLATION {when}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        daemon.wait().expect("its end");
        kills += 1;
        let complete = |place: &&str| content(place).as_ref() == Some(&whole);
        assert!(
            way.places.iter().any(complete),
            "VIOLATION {when}: no complete tree in {}",
            all()
        );
        let (said_now, after_now) = round.finish(&when);
        assert_eq!(said_now, said, "VIOLATION {when}");
        assert_eq!(after_now, after, "VIOLATION {when}");
    }
    kills
}

#[test]
fn a_directory_that_is_moved_or_given_is_never_lost_and_always_finished() {
    const TEST: &str = "a_directory_that_is_moved_or_given_is_never_lost_and_always_finished";
    let Some((share, shares)) = inside::share() else {
        let builder = Builder::default();
        let bodies = Bodies {
            test: TEST,
            builder: builder.with_program(compiled("faults/killer.c"), KILLER),
            shares: 2,
            // Two minutes on two cores that are busy otherwise.
            patience: Duration::from_secs(600),
            pass: &[],
        };
        let figures = bodies.run();
        println!("{TEST}: {}", inside::shown(&figures));
        // Fewer would mean that the tool sees nothing.
        assert!(figures["kills"] > 100 && figures["ways"] == WAYS.len() as u64);
        return;
    };
    let _last = LastOne;
    let first = first_call();
    let mut figures = Figures::new();
    for (number, way) in (0..).zip(&WAYS) {
        if number % shares == share {
            let kills = interrupt(way, first);
            eprintln!("{}: {kills} kills", way.name);
            *figures.entry("kills".into()).or_default() += kills;
            *figures.entry("ways".into()).or_default() += 1;
        }
    }
    inside::tell(&figures);
}
