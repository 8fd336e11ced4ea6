//! Which number a name has, over reboots, and what becomes of a registry that cannot be used.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::{Arena, Running};

const REGISTRY: &str = "/var/lib/dynuser/registry";

/// A range where nobody leaves kernel keys, as large as the default one.
const FIRST: u32 = 200_000;
const FAR: &str = "200000-204335";

/// Two names whose SHA-256 points at the same number of a range of 4336. By Python: int.from_bytes(sha256(name
/// .encode()).digest()[:8]) % 4336 is 3739 for both.
const TWINS: [&str; 2] = ["n87", "n103"];
const OF_TWINS: u32 = FIRST + 3739;

/// And where "wuff" points: 63102 in the default range.
const WUFF: u32 = FIRST + 63102 - 61184;

/// A host where numbers come from `range`.
fn host(range: &str) -> Arena {
    let arena = Arena::new();
    arena.sh("mkdir -p /etc/dynuser").ok();
    let conf = format!("[Manager]\nUIDRange={range}\n");
    arena.put("/etc/dynuser/dynuser.conf", &conf, 0o644);
    arena
}

fn number(text: &str) -> u32 {
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("not a number: {text:?}"))
}

/// The number that a short service gets; it has ended then, and its lease too.
fn uid(arena: &Arena, name: &str) -> u32 {
    let uid = number(&arena.run(["dynuser", "run", "-u", name, "id", "-u"]).ok());
    arena.wait_until_idle();
    uid
}

/// A service that runs until its input is closed.
fn service(arena: &Arena, name: &str) -> (Running, u32) {
    let script = "id -u; read -r _; true";
    let mut service = arena.spawn(["dynuser", "run", "-u", name, "sh", "-c", script]);
    let uid = number(&service.line());
    (service, uid)
}

/// All that a reboot leaves: no process, nothing in /run; the disk.
fn reboot(arena: &Arena) {
    arena.kill_daemons();
    arena.sh("kill -9 -1 || true").ok();
    arena.sh("rm -rf /run/dynuser /run/lock/* /dev/shm/*").ok();
}

#[test]
fn a_name_keeps_its_number_over_a_reboot_even_where_two_names_point_at_the_same() {
    let arena = host(FAR);
    let (_first, of_first) = service(&arena, TWINS[0]);
    let (_second, of_second) = service(&arena, TWINS[1]);
    assert_eq!(of_first, OF_TWINS);
    assert_ne!(of_second, OF_TWINS);
    for _ in 0..2 {
        reboot(&arena);
        // The other one comes first now, while the number that both point at is free.
        let (_second, again) = service(&arena, TWINS[1]);
        assert_eq!(again, of_second);
        let (_first, again) = service(&arena, TWINS[0]);
        assert_eq!(again, of_first);
    }
    // It is the registry that knows.
    reboot(&arena);
    arena.run(["rm", REGISTRY]).ok();
    assert_eq!(uid(&arena, TWINS[1]), OF_TWINS);
}

#[test]
fn a_name_keeps_the_number_that_it_got_while_its_own_was_somebody_else_s() {
    let arena = host(FAR);
    let process = arena.process_of(WUFF);
    let found = uid(&arena, "wuff");
    assert_ne!(found, WUFF);
    process.stop();
    assert_eq!(uid(&arena, "wuff"), found);
    reboot(&arena);
    assert_eq!(uid(&arena, "wuff"), found);
}

#[test]
fn a_lease_of_an_earlier_boot_has_no_holder_whoever_seems_to_be_it() {
    let arena = host(FAR);
    let script = "touch /dev/shm/left; echo up; exec sleep 1000";
    let words = [
        "dynuser",
        "run",
        "-u",
        "former",
        "-p",
        "RuntimeDirectory=former",
        "sh",
        "-c",
        script,
    ];
    let mut former = arena.spawn(words);
    assert_eq!(former.line(), "up");
    // A descriptor and a user that nothing runs as.
    let mut held = arena.spawn([
        "dynuser",
        "acquire",
        "-u",
        "held",
        "sh",
        "-c",
        "echo $DYNUSER_UID; read -r _; true",
    ]);
    let of_held = number(&held.line());
    let lease = |name: &str| {
        let listed = arena.list();
        listed
            .into_iter()
            .find(|lease| lease["name"] == name)
            .expect("a lease")
    };
    let of_former = lease("former")["uid"].as_u64().unwrap();
    arena.kill_daemons();
    // A container kept its /run; the same PID, with the same start time, is somebody else's by now.
    for uid in [of_former, u64::from(of_held)] {
        let path = format!("/run/dynuser/leases/{uid}");
        let text = arena.run(["cat", &path]).ok();
        let mut lease: serde_json::Value = serde_json::from_str(&text).unwrap();
        lease["boot_id"] = "00000000-0000-4000-8000-000000000000".into();
        // Such a number means another namespace now, and that is no reason to refuse it.
        lease["pid_namespace"] = 1.into();
        arena.put(&path, &lease.to_string(), 0o600);
    }
    assert_ne!(u64::from(uid_now(&arena, "other")), of_former);
    arena.wait_until_idle();
    assert!(
        !former.runs(),
        "it had the number of a lease that nobody holds"
    );
    arena.run(["test", "-e", "/run/former"]).fails(1);
    assert_eq!(arena.run(["ls", "-A", "/dev/shm"]).ok(), "");
    assert_eq!(arena.run(["ls", "-A", "/run/dynuser/holds"]).ok(), "");
    assert_eq!(u64::from(uid(&arena, "former")), of_former);
    assert_eq!(uid(&arena, "held"), of_held);
}

#[test]
fn a_number_goes_to_another_name_only_when_nothing_else_is_left() {
    // All of them point at 200002: without memory each would get it.
    let arena = host("200000-200002");
    let names = ["c", "d", "e"];
    let numbers = names.map(|name| uid(&arena, name));
    let mut sorted = numbers;
    sorted.sort_unstable();
    assert_eq!(numbers[0], 200_002);
    assert_eq!(
        sorted,
        [200_000, 200_001, 200_002],
        "one that nobody had was left each time"
    );
    // Nothing is left that nobody had, but nothing is in use either.
    assert_eq!(uid(&arena, "g"), 200_002);
    let in_memory = names.map(|name| uid(&arena, name));
    assert_eq!(in_memory, numbers);
    reboot(&arena);
    let mut again = ["e", "d", "c"].map(|name| uid(&arena, name));
    again.reverse();
    assert_eq!(again, numbers);
    // Whose number is in use by another gets another's, too, rather than nothing.
    let (_g, of_g) = service(&arena, "g");
    assert_eq!(of_g, 200_002);
    assert!([200_000, 200_001].contains(&uid_now(&arena, "c")));
}

/// The number of a short service, whoever else runs.
fn uid_now(arena: &Arena, name: &str) -> u32 {
    number(&arena.run(["dynuser", "run", "-u", name, "id", "-u"]).ok())
}

#[test]
fn a_service_that_nobody_named_is_not_remembered() {
    let arena = host(FAR);
    for words in [
        &["dynuser", "run", "true"][..],
        &["dynuser", "run", "-u", "named", "true"],
    ] {
        arena.run(words).ok();
    }
    arena.wait_until_idle();
    let known = || {
        let text = arena.run(["cat", REGISTRY]).ok();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| line.split(' ').next().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(known(), ["named"]);
    // Nor when a daemon takes over that knows it from its lease alone.
    let mut nameless = arena.spawn(["dynuser", "run", "sh", "-c", "echo up; read -r _; true"]);
    assert_eq!(nameless.line(), "up");
    arena.kill_daemons();
    arena.run(["rm", REGISTRY]).ok();
    let (_service, _) = service(&arena, "other");
    assert_eq!(known(), ["other"]);
    assert!(nameless.runs());
}

#[test]
fn a_lease_that_the_former_daemon_did_not_write_down_is_remembered_by_the_next() {
    let arena = host(FAR);
    let (_first, of_first) = service(&arena, TWINS[0]);
    let (_second, of_second) = service(&arena, TWINS[1]);
    arena.kill_daemons();
    arena.run(["rm", REGISTRY]).ok();
    uid_now(&arena, "next");
    reboot(&arena);
    assert_eq!(uid(&arena, TWINS[1]), of_second);
    assert_eq!(uid(&arena, TWINS[0]), of_first);
}

#[test]
fn the_owner_of_the_directory_is_stronger_than_memory_and_remembered_from_then_on() {
    let arena = host(FAR);
    assert_eq!(uid(&arena, "wuff"), WUFF);
    let owner = WUFF + 7;
    let script = format!(
        "install -d -m 700 /var/lib/private && install -d -o {owner} -g {owner} /var/lib/private/mine"
    );
    arena.sh(&script).ok();
    let run = [
        "dynuser",
        "run",
        "-u",
        "wuff",
        "-p",
        "StateDirectory=mine",
        "id",
        "-u",
    ];
    assert_eq!(number(&arena.run(run).ok()), owner);
    reboot(&arena);
    assert_eq!(uid(&arena, "wuff"), owner);
}

/// A registry, or a place for one, that cannot be used as it is.
struct Trouble {
    /// Makes it so.
    script: &'static str,
    /// What must be said of it.
    word: &'static str,
    /// Whether what the file says may be believed: "wuff" has the number after its own.
    believed: bool,
    /// Whether the daemon puts it right.
    repaired: bool,
}

const TROUBLES: [Trouble; 10] = [
    Trouble {
        script: "printf '\\0\\377rubbish\\nx y z\\n' >> registry",
        word: "is damaged, 2 lines are skipped",
        believed: true,
        repaired: true,
    },
    Trouble {
        script: "truncate -s 3M registry",
        word: "File too large",
        believed: false,
        repaired: true,
    },
    Trouble {
        script: "rm registry && mkdir registry",
        word: "registry",
        believed: false,
        repaired: false,
    },
    Trouble {
        script: "rm registry && mkfifo -m 600 registry",
        word: "registry",
        believed: false,
        repaired: false,
    },
    Trouble {
        script: "mv registry /var/lib/elsewhere && ln -s /var/lib/elsewhere registry",
        word: "registry",
        believed: false,
        repaired: false,
    },
    Trouble {
        script: "chown 1000 registry",
        word: "registry",
        believed: false,
        repaired: false,
    },
    Trouble {
        script: "chmod 666 registry",
        word: "registry",
        believed: false,
        repaired: false,
    },
    Trouble {
        script: "chmod 777 .",
        word: "/var/lib/dynuser",
        believed: false,
        repaired: false,
    },
    Trouble {
        script: "mount -o remount,ro /var/lib",
        word: "Read-only file system",
        believed: true,
        repaired: false,
    },
    Trouble {
        script: "rm registry; mount -o remount,size=64k /var/lib; dd if=/dev/zero of=../fill 2>/dev/null || true",
        word: "No space left on device",
        believed: false,
        repaired: false,
    },
];

#[test]
fn a_registry_that_cannot_be_used_is_told_once_by_the_log_and_by_doctor_and_services_run() {
    for trouble in TROUBLES {
        let arena = host(FAR);
        let script = trouble.script;
        let remembered = WUFF + 1;
        arena.sh("mkdir -m 700 /var/lib/dynuser").ok();
        arena.put(REGISTRY, &format!("# mine\nwuff {remembered}\n"), 0o600);
        let doctor = || {
            let output = arena.run(["dynuser", "doctor"]);
            let lines = output
                .stdout
                .lines()
                .filter(|line| line.contains("registry"));
            lines.collect::<Vec<_>>().join("\n")
        };
        assert!(doctor().contains("1 names remembered"), "{}", doctor());
        arena.sh(&format!("cd /var/lib/dynuser && {script}")).ok();
        let state = || {
            let look = "cd /var/lib/dynuser && find . ! -name history -printf '%p %y %m %U %l\n' && if [ -f registry ]; then cksum registry; fi";
            arena.sh(look).ok()
        };
        let before = state();
        let said = doctor();
        assert!(
            said.contains("warning") && said.contains(trouble.word),
            "{script}: {said}"
        );

        let found = uid(&arena, "wuff");
        let expected = if trouble.believed { remembered } else { WUFF };
        assert_eq!(found, expected, "{script}");
        // As long as the daemon runs it remembers all the same.
        let numbers = TWINS.map(|name| uid(&arena, name));
        let again = [TWINS[1], TWINS[0]].map(|name| uid(&arena, name));
        assert_eq!([again[1], again[0]], numbers, "{script}");
        let log = arena.run(["cat", "/run/dynuser/log"]).ok();
        let warnings: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("WARN") || line.contains("ERROR"))
            // That has its own, and its own tests.
            .filter(|line| !line.contains("dynuser/history"))
            .collect();
        assert_eq!(warnings.len(), 1, "{script}: {log}");
        assert!(warnings[0].contains(trouble.word), "{script}: {log}");

        if trouble.repaired {
            assert!(
                doctor().contains("3 names remembered"),
                "{script}: {}",
                doctor()
            );
            arena
                .run(["test", "-s", "/var/lib/dynuser/registry.damaged"])
                .ok();
            reboot(&arena);
            assert_eq!(uid(&arena, TWINS[1]), numbers[1], "{script}");
        } else {
            assert!(doctor().contains(trouble.word), "{script}: {}", doctor());
            assert_eq!(
                state(),
                before,
                "{script}: somebody else's is left as it is"
            );
        }
    }
}
