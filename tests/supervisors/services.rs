//! The daemons: each from its package's unit file.

use std::io::Write;

use crate::host::{Host, read_until};
use crate::support::{Arena, wait_until};

/// A daemon, and how one talks to it.
#[derive(Clone, Copy)]
pub(crate) struct Service {
    /// What `dynuser run` is told.
    pub(crate) words: &'static str,
    /// What it is called.
    pub(crate) name: &'static str,
    /// Its user.
    pub(crate) user: &'static str,
    /// The file that its process executes.
    pub(crate) program: &'static str,
    /// Where it listens.
    pub(crate) port: u16,
    /// `Type=notify`.
    pub(crate) notifies: bool,
    /// Nobody stays between: the supervisor's process is the daemon.
    pub(crate) in_place: bool,
    /// What it needs on the host.
    pub(crate) prepare: fn(&Arena),
    /// Whether it answers.
    pub(crate) answers: fn(&Host) -> bool,
    /// Changes its configuration, and waits after the signal until that is in force.
    pub(crate) reload: Option<Reload>,
    /// How it ends when it gets SIGTERM: an exit status, or 128 and a signal.
    pub(crate) end: i32,
}

/// What changes the configuration, and what waits until the change is in force.
type Reload = (fn(&Arena), fn(&Arena));

const GOBGP: &str = "[global.config]\n  as = 64512\n  router-id = \"127.0.0.1\"\n";
const NEIGHBOR: &str = "[[neighbors]]\n  [neighbors.config]\n    neighbor-address = \"127.0.0.9\"\n    peer-as = 65001\n";

fn neighbors(arena: &Arena) -> String {
    arena.run(["gobgp", "neighbor"]).ok()
}

/// `Type=notify`, a check before the start, a port below 1024. Its `ExecReload=` restarts it; an administrator's drop-in
/// has it read its configuration again, as its manual says.
pub(crate) fn gobgpd() -> Service {
    Service {
        words: "--unit-file gobgpd.service",
        name: "gobgpd",
        user: "gobgpd",
        program: "/usr/bin/gobgpd",
        port: 50051,
        notifies: true,
        in_place: true,
        prepare: |arena| {
            arena.put("/etc/gobgpd.conf", GOBGP, 0o644);
            arena
                .sh("mkdir -p /etc/systemd/system/gobgpd.service.d")
                .ok();
            let reload = "[Service]\nExecReload=\nExecReload=/bin/kill -HUP $MAINPID\n";
            arena.put(
                "/etc/systemd/system/gobgpd.service.d/reload.conf",
                reload,
                0o644,
            );
        },
        answers: |host| {
            host.connect(50051).is_some()
                && host.arena.run(["gobgp", "global"]).stdout.contains("64512")
        },
        reload: Some((
            |arena| {
                assert!(!neighbors(arena).contains("127.0.0.9"));
                arena.put("/etc/gobgpd.conf", &format!("{GOBGP}{NEIGHBOR}"), 0o644);
            },
            |arena| {
                wait_until("it has a neighbor", || {
                    neighbors(arena).contains("127.0.0.9")
                })
            },
        )),
        end: 0,
    }
}

/// What makes a key that only the group `ssl-cert` may read, as its package keeps keys.
const GEMINI: &str = r#"set -e
    getent group ssl-cert >/dev/null || groupadd --system ssl-cert
    mkdir /etc/molly-brown/certs; cd /etc/molly-brown/certs
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -days 30 \
        -keyout localhost.key -out localhost.crt
    chgrp ssl-cert localhost.key; chmod 640 localhost.key"#;

/// An instance of a template, in place under any supervisor: `Type=simple`.
pub(crate) fn molly_brown() -> Service {
    Service {
        words: "--unit-file molly-brown@.service -u molly-brown@localhost",
        name: "molly-brown",
        user: "molly-brown",
        program: "/usr/bin/molly-brown",
        port: 1965,
        notifies: false,
        in_place: true,
        prepare: |arena| drop(arena.sh(GEMINI).ok()),
        answers: |host| host.connect(1965).is_some(),
        reload: None,
        end: 128 + 15,
    }
}

/// `Type=notify`, with a state directory and hardly anything that is not forbidden.
pub(crate) fn garagemq() -> Service {
    Service {
        // There are no control groups in the arena.
        words: "--unit-file garagemq.service --allow-unenforced=DevicePolicy",
        name: "garagemq",
        user: "garagemq",
        program: "/usr/bin/garagemq",
        port: 5672,
        notifies: true,
        in_place: false,
        prepare: |_| {},
        answers: |host| {
            host.connect(5672).is_some_and(|mut stream| {
                stream.write_all(b"AMQP\0\0\x09\x01").is_ok()
                    && read_until(&mut stream, b"\0\x0a\0\x0a", 13).starts_with(&[1, 0, 0])
            })
        },
        reload: None,
        end: 0,
    }
}
