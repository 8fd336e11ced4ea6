//! Directories whose owner, place or neighbours are not what a first start finds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::volumes::Volume;
use support::{Arena, wait_until};

const LAID: &str = "mkdir -m 700 /var/lib/private && mkdir /var/lib/private/old && \
    echo kept > /var/lib/private/old/file && ln -s private/old /var/lib/old";

#[test]
fn a_tree_of_nobody_is_the_service_s_own_inside_and_stays_nobody_s_on_disk() {
    let arena = Arena::new();
    arena
        .sh(&format!(
            "{LAID} && chown -R 65534:65534 /var/lib/private/old"
        ))
        .ok();
    let script = "stat -L -c %U:%G /var/lib/old /var/lib/old/file; cat /var/lib/old/file; \
        echo new > /var/lib/old/new && mkdir /var/lib/old/dir && stat -c %U /var/lib/old/new; \
        cp /bin/true /var/lib/old/program && /var/lib/old/program && echo executed";
    let seen = arena
        .run([
            "dynuser",
            "run",
            "-u",
            "mapped",
            "-p",
            "StateDirectory=old",
            "sh",
            "-c",
            script,
        ])
        .ok();
    assert_eq!(
        seen,
        "mapped:mapped\nmapped:mapped\nkept\nmapped\nexecuted\n"
    );
    let owners = arena
        .sh("stat -c %u:%g /var/lib/private/old /var/lib/private/old/*")
        .ok();
    assert_eq!(owners, "65534:65534\n".repeat(5));
}

#[test]
fn a_command_that_stays_root_can_use_a_mapped_tree() {
    let arena = Arena::new();
    arena
        .sh(&format!(
            "{LAID} && chown -R 65534:65534 /var/lib/private/old"
        ))
        .ok();
    let script = "id -u; touch /var/lib/old/by-root && stat -c %u /var/lib/old/by-root";
    let seen = arena
        .run([
            "dynuser",
            "run",
            "-u",
            "mapped",
            "-p",
            "StateDirectory=old",
            "!sh",
            "-c",
            script,
        ])
        .ok();
    assert_eq!(seen, "0\n0\n");
}

#[test]
fn files_of_a_third_owner_in_a_mapped_tree_stay_out_of_reach() {
    let arena = Arena::new();
    arena
        .sh(&format!(
            "{LAID} && chown -R 65534:65534 /var/lib/private/old && echo secret > /var/lib/private/old/roots && \
             chmod 600 /var/lib/private/old/roots"
        ))
        .ok();
    let script = "cat /var/lib/old/roots 2>/dev/null || echo refused; chmod 644 /var/lib/old/roots 2>/dev/null || echo refused";
    let seen = arena
        .run([
            "dynuser",
            "run",
            "-u",
            "mapped",
            "-p",
            "StateDirectory=old",
            "sh",
            "-c",
            script,
        ])
        .ok();
    assert_eq!(seen, "refused\nrefused\n");
}

#[test]
fn a_directory_of_a_running_service_is_refused_to_another() {
    let arena = Arena::new();
    let mut first = arena.spawn([
        "dynuser",
        "run",
        "-u",
        "first",
        "-p",
        "StateDirectory=shared",
        "sh",
        "-c",
        "echo up; read end; true",
    ]);
    assert_eq!(first.line(), "up");
    for directory in ["shared", "shared/inner"] {
        let property = format!("StateDirectory={directory}");
        let why = arena
            .run(["dynuser", "run", "-u", "second", "-p", &property, "true"])
            .fails(238);
        assert!(why.contains("in use by first"), "{why}");
    }
    // The same kind elsewhere, and the same name of another kind, are nobody's.
    arena
        .run([
            "dynuser",
            "run",
            "-u",
            "second",
            "-p",
            "CacheDirectory=shared",
            "true",
        ])
        .ok();
    assert!(first.end().0.success());
}

#[test]
fn state_that_root_keeps_on_another_disk_behind_a_link_is_used_there() {
    let arena = Arena::new();
    arena
        .sh("mkdir -p /srv/disk && mount -t tmpfs -o mode=755 disk /srv/disk && umount /var/lib 2>/dev/null; \
             rm -rf /var/lib && ln -s /srv/disk /var/lib")
        .ok();
    let script = "echo here > /var/lib/linked/file && pwd";
    arena
        .run([
            "dynuser",
            "run",
            "-u",
            "linked",
            "-p",
            "StateDirectory=linked",
            "sh",
            "-c",
            script,
        ])
        .ok();
    assert_eq!(
        arena.run(["cat", "/srv/disk/private/linked/file"]).ok(),
        "here\n"
    );
}

#[test]
fn a_base_behind_a_link_of_somebody_else_is_refused() {
    let arena = Arena::new();
    arena
        .sh("mkdir -p /srv/disk && umount /var/lib 2>/dev/null; rm -rf /var/lib && ln -s /srv/disk /var/lib && \
             chown -h 1000:1000 /var/lib")
        .ok();
    let why = arena
        .run([
            "dynuser",
            "run",
            "-u",
            "linked",
            "-p",
            "StateDirectory=x",
            "true",
        ])
        .fails(238);
    assert!(why.contains("not only root"), "{why}");
    assert_eq!(arena.run(["ls", "-A", "/srv/disk"]).ok(), "");
}

#[test]
fn the_user_namespace_of_a_mapping_is_made_once() {
    let arena = Arena::new();
    arena
        .sh(&format!("{LAID} && chown -R 65534:65534 /var/lib/private/old && mkdir /var/lib/private/other && \
             chown 65534:65534 /var/lib/private/other && ln -s private/other /var/lib/other"))
        .ok();
    let _daemon = arena.spawn([
        "strace",
        "-f",
        "-o",
        "/tmp/trace",
        "-e",
        "trace=clone,clone3,unshare",
        "dynuser",
        "daemon",
    ]);
    arena.wait_for_daemon();
    let made = || arena.sh("grep -c CLONE_NEWUSER /tmp/trace || true").ok();
    // Both directories, each time, belong to the same, and so do those who see them.
    for _ in 0..3 {
        let words = [
            "dynuser",
            "run",
            "-u",
            "mapped",
            "-p",
            "StateDirectory=old other",
            "stat",
            "-c",
            "%U",
            "/var/lib/old/.",
            "/var/lib/other/.",
        ];
        assert_eq!(arena.run(words).ok(), "mapped\nmapped\n");
        assert_eq!(made(), "1\n");
    }
    let words = [
        "dynuser",
        "run",
        "-u",
        "another",
        "-p",
        "StateDirectory=old",
        "stat",
        "-c",
        "%U",
        "/var/lib/old/.",
    ];
    assert_eq!(arena.run(words).ok(), "another\n");
    assert_eq!(made(), "2\n");
}

#[test]
fn a_public_runtime_directory_is_shared_by_nobody() {
    let arena = Arena::new();
    let words = |name| {
        [
            "dynuser",
            "run",
            "-u",
            name,
            "-p",
            "RuntimeDirectory=pool",
            "-p",
            "SharedDirectories=yes",
            "sh",
            "-c",
            "echo up; read -r _; true",
        ]
    };
    let mut one = arena.spawn(words("one"));
    assert_eq!(one.line(), "up");
    let why = arena.run(words("two")).fails(233);
    assert!(why.contains("RuntimeDirectoryPreserve=yes"), "{why}");
    assert!(one.end().0.success());
}

#[test]
fn a_lease_that_says_that_root_s_number_is_a_service_s_ends_nothing() {
    let arena = Arena::new();
    let lease = r#"{"name":"root","uid":0,"gid":0,"dynamic":true,"groups":[0],"home":null,"state":"ending",
        "reason":null,"since":0,"boot_id":"x","pid_namespace":0,"holders":[],"made":["/run/kept"]}"#;
    arena
        .sh("mkdir -p /run/dynuser/leases /run/kept && touch /run/kept/file")
        .ok();
    arena.put("/run/dynuser/leases/0", lease, 0o600);
    let mut bystander = arena.spawn(["sh", "-c", "echo up; read -r _; echo alive"]);
    assert_eq!(bystander.line(), "up");
    // The daemon starts, and takes back what it finds.
    arena.run(["dynuser", "run", "-u", "other", "true"]).ok();
    arena.run(["dynuser", "release", "0"]).fails(217);
    arena.run(["test", "-e", "/run/kept/file"]).ok();
    bystander.say("go on");
    assert_eq!(bystander.line(), "alive");
    assert_eq!(arena.list()[0]["state"], "damaged");
}

#[test]
fn a_file_system_that_does_not_answer_keeps_nobody_else_from_being_started() {
    let arena = Arena::new();
    arena.sh("mkdir /var/lib/slow").ok();
    Volume::Ext4.mount(&arena, "/var/lib/slow");
    arena
        .sh("chown 61300:61300 /var/lib/slow && fsfreeze -f /var/lib/slow")
        .ok();
    let words = [
        "dynuser",
        "run",
        "-u",
        "slow",
        "-p",
        "StateDirectory=slow",
        "echo",
        "up",
    ];
    let mut slow = arena.spawn(words);
    // Its mode is to be set, which waits for the file system.
    wait_until("it is about to be adopted", || {
        arena.sh("test -L /var/lib/private/slow").status.success()
    });
    let others = [
        &["-p", "StateDirectory=other", "-p", "CacheDirectory=slow"][..],
        &["-p", "RuntimeDirectory=slow"],
        &[],
    ];
    let ran: Vec<bool> = others
        .iter()
        .map(|properties| {
            let words = ["timeout", "20", "dynuser", "run", "-u", "other"];
            let words = words.iter().chain(*properties).chain(&["true"]);
            arena.run(words).status.success()
        })
        .collect();
    arena.sh("fsfreeze -u /var/lib/slow").ok();
    assert_eq!(ran, [true; 3]);
    assert_eq!(slow.line(), "up");
    assert!(slow.end().0.success());
}

#[test]
fn nothing_becomes_public_with_a_number_that_is_given_to_others() {
    let arena = Arena::new();
    arena
        .sh("mkdir -m 700 /var/lib/private && cd /var/lib/private && mkdir old elsewhere && echo secret > old/file && \
             chown -R 61300:61300 old && ln old/file elsewhere/name && ln -s private/old /var/lib/old && \
             useradd -r keeper")
        .ok();
    let words = [
        "dynuser",
        "run",
        "-u",
        "old",
        "-p",
        "StateDirectory=old",
        "-p",
        "DynamicUser=no",
        "-p",
        "User=keeper",
        "cat",
        "/var/lib/old/file",
    ];
    let obstacles = [
        // What has another name outside is not given.
        ("true", "rm /var/lib/private/elsewhere/name"),
        (
            "mknod /var/lib/private/old/device c 1 3; chown 61300 /var/lib/private/old/device",
            "rm /var/lib/private/old/device",
        ),
        (
            "touch /var/lib/private/old/other; chown 61500 /var/lib/private/old/other",
            "rm /var/lib/private/old/other",
        ),
        (
            "mkdir /var/lib/private/old/mnt; mount -t tmpfs -o uid=61300 t /var/lib/private/old/mnt",
            "umount /var/lib/private/old/mnt",
        ),
    ];
    for (put, take) in obstacles {
        arena.sh(put).ok();
        for _ in 0..2 {
            let why = arena.run(words).fails(238);
            assert!(why.contains("could not be given"), "{put}: {why}");
            assert_eq!(
                arena.run(["readlink", "/var/lib/old"]).ok(),
                "private/old\n"
            );
        }
        arena.sh(take).ok();
    }
    // Another static user's is nobody's to come.
    arena
        .sh("touch /var/lib/private/old/games; chown games /var/lib/private/old/games")
        .ok();
    assert_eq!(arena.run(words).ok(), "secret\n");
    let owners = arena
        .sh("cd /var/lib/old && stat -c '%n %U' . *; ls /var/lib/dynuser/giving")
        .ok();
    assert_eq!(owners, ". keeper\nfile keeper\ngames games\nmnt root\n");
}
