//! Who passes a boundary directory, and what becomes of that.

use super::*;

const BOUNDARY: &str = "/var/lib/private";

/// The entries of the boundary's list, with its mode.
fn list(arena: &Arena) -> String {
    arena
        .sh(&format!(
            "stat -c %a:%u:%g {BOUNDARY}; getfacl -cnp {BOUNDARY}"
        ))
        .ok()
}

/// The list of a boundary that nobody passes.
const CLOSED: &str = "700:0:0\nuser::rwx\ngroup::---\nother::---\n\n";

fn passed_by(uids: &[u32]) -> String {
    let mut uids = uids.to_vec();
    uids.sort_unstable();
    let users: String = uids.iter().map(|uid| format!("user:{uid}:--x\n")).collect();
    format!("710:0:0\nuser::rwx\n{users}group::---\nmask::--x\nother::---\n\n")
}

fn uid(service: &mut Running) -> u32 {
    dynamic_uid(&tell(service, "id -u").0)
}

#[test]
fn one_s_end_leaves_the_other_s_way_and_nobody_else_gets_in() {
    let arena = host();
    let mut one = spawn(&arena, "one", "landlock", &["-p", "StateDirectory=one"]);
    let mut two = spawn(&arena, "two", "identity", &["-p", "StateDirectory=two"]);
    let (first, second) = (uid(&mut one), uid(&mut two));
    assert_eq!(list(&arena), passed_by(&[first, second]));
    assert_eq!(
        tell(
            &mut one,
            "echo secret > $STATE_DIRECTORY/secret; chmod 644 $STATE_DIRECTORY/secret"
        )
        .1,
        "0"
    );
    for attempt in [
        "ls /var/lib/private",
        "ls /var/lib/private/one",
        "cat /var/lib/one/secret",
        "cat /var/lib/private/one/secret",
        "touch /var/lib/private/new",
        "chmod 777 /var/lib/private",
        "setfacl -m u::rwx,o::rwx /var/lib/private",
        "mv /var/lib/private/two /var/lib/private/gone",
        "ln -sfn /etc /var/lib/two",
        "cd /proc/1/root/var/lib/private/one",
    ] {
        let (said, status) = tell(&mut two, &format!("({attempt})"));
        assert_ne!(status, "0", "{attempt}: {said}");
        assert!(!said.contains("secret\n"), "{attempt}: {said}");
    }
    // Neither a user of the host nor the user of a service with a view of its own.
    for other in ["1000", "61999"] {
        let words = [
            "setpriv",
            "--reuid",
            other,
            "--regid",
            other,
            "--clear-groups",
            "ls",
            "/var/lib/private/one",
        ];
        assert!(arena.run(words).fails(2).contains("Permission denied"));
    }
    one.stop();
    wait_until("the first one's lease has ended", || {
        arena.list().len() == 1
    });
    assert_eq!(list(&arena), passed_by(&[second]));
    assert_eq!(
        tell(
            &mut two,
            "echo still > $STATE_DIRECTORY/x && cat /var/lib/two/x"
        )
        .0,
        "still\n"
    );
    two.stop();
    arena.wait_until_idle();
    assert_eq!(list(&arena), CLOSED);
    assert_eq!(arena.sh("ls -A /run/dynuser/tmp").ok(), "");
    // State is there the next time, whoever has the name.
    let said = run(
        &arena,
        "one",
        "landlock",
        &["-p", "StateDirectory=one"],
        "cat $STATE_DIRECTORY/secret",
    )
    .ok();
    assert_eq!(said, "secret\n");
    assert_eq!(list(&arena), CLOSED);
}

/// Without id-mapped mounts, a tree of somebody else's is given, and comes back to whoever has it next.
#[test]
fn state_goes_from_level_to_level() {
    let arena = host();
    let own = ["-p", "StateDirectory=state/inner"];
    let full = |name: &str, script: &str| {
        let words = [
            &["dynuser", "run", "-u", name],
            &own[..],
            &["sh", "-c", script],
        ]
        .concat();
        let said = arena.run(words).ok();
        arena.wait_until_idle();
        said
    };
    full("first", "echo 1 > $STATE_DIRECTORY/file");
    let script = "cat $STATE_DIRECTORY/file; echo $(stat -c %U $STATE_DIRECTORY/file) >> $STATE_DIRECTORY/file";
    assert_eq!(run(&arena, "second", "landlock", &own, script).ok(), "1\n");
    assert_eq!(
        run(&arena, "third", "identity", &own, script).ok(),
        "1\nsecond\n"
    );
    assert_eq!(full("fourth", script), "1\nsecond\nthird\n");
    assert_eq!(list(&arena), CLOSED);
    let cache = [
        "-p",
        "CacheDirectory=c",
        "-p",
        "LogsDirectory=l",
        "-p",
        "RuntimeDirectory=r",
        "-p",
        "RuntimeDirectoryPreserve=yes",
    ];
    let script = "touch $CACHE_DIRECTORY/x $LOGS_DIRECTORY/x $RUNTIME_DIRECTORY/x && stat -c %a /var/cache/private /var/log/private /run/private";
    assert_eq!(
        run(&arena, "fifth", "landlock", &cache, script).ok(),
        "710\n710\n710\n"
    );
    let modes = "stat -c %a /var/cache/private /var/log/private /run/private";
    assert_eq!(arena.sh(modes).ok(), "700\n700\n700\n");
}

/// A service with a view of its own relies on the boundary: its directory may be open to everybody behind it.
#[test]
fn directories_of_services_with_a_view_are_closed_to_those_without() {
    let arena = host();
    let full = ["dynuser", "run", "-u", "full", "-p", "StateDirectory=full"];
    let script =
        "echo secret > $STATE_DIRECTORY/secret; echo up; read -r line; cat $STATE_DIRECTORY/secret";
    let mut service = arena.spawn([&full[..], &["sh", "-c", script]].concat());
    assert_eq!(service.line(), "up");
    let mode = || arena.sh("stat -c %a /var/lib/private/full").ok();
    assert_eq!(mode(), "755\n");
    let mut weak = spawn(&arena, "weak", "identity", &["-p", "StateDirectory=weak"]);
    assert_eq!(mode(), "750\n");
    let (said, status) = tell(&mut weak, "cat /var/lib/private/full/secret");
    assert!(
        status != "0" && said.contains("Permission denied"),
        "{said}"
    );
    service.say("go on");
    assert_eq!(service.line(), "secret");
    service.end();
    // And one that starts meanwhile closes its own.
    arena
        .run([&full[..], &["cat", "/var/lib/full/secret"]].concat())
        .ok();
    assert_eq!(mode(), "700\n");
    // A service that opens its own keeps nobody from starting, and stays open to nobody new.
    assert_eq!(tell(&mut weak, "chmod 777 $STATE_DIRECTORY").1, "0");
    dynamic_uid(
        &arena
            .run(
                [
                    &words("next", "identity", &["-p", "StateDirectory=next"])[..],
                    &["id", "-u"],
                ]
                .concat(),
            )
            .ok(),
    );
    assert_eq!(arena.sh("stat -c %a /var/lib/private/weak").ok(), "770\n");
    weak.stop();
    arena.wait_until_idle();
    assert_eq!(list(&arena), CLOSED);
    // What root has put there is not ours to close.
    arena
        .sh("echo x > /var/lib/private/note; chmod 644 /var/lib/private/note")
        .ok();
    let said = arena
        .run(words(
            "weak",
            "identity",
            &["-p", "StateDirectory=weak", "id"],
        ))
        .fails(238);
    assert!(
        said.contains("/var/lib/private/note then: it is root's"),
        "{said}"
    );
    arena.wait_until_idle();
    assert_eq!(list(&arena), CLOSED);
}

#[test]
fn a_daemon_that_dies_leaves_nobody_a_way() {
    let arena = host();
    let mut one = spawn(&arena, "one", "landlock", &["-p", "StateDirectory=one"]);
    let mut two = spawn(&arena, "two", "landlock", &["-p", "StateDirectory=two"]);
    let (first, second) = (uid(&mut one), uid(&mut two));
    let kill = || {
        arena
            .daemons()
            .iter()
            .for_each(|pid| drop(arena.run(["kill", "-9", pid]).ok()))
    };
    kill();
    one.signal(rustix::process::Signal::KILL);
    one.end();
    assert_eq!(list(&arena), passed_by(&[first, second]));
    // The next one finds the lease whose holder has gone.
    let third = run_beside(&arena, "three");
    wait_until("the first one's way is closed", || {
        list(&arena) == passed_by(&[second])
    });
    assert_ne!(third, first);
    kill();
    // As after a reboot: no lease says anything of it any more.
    two.signal(rustix::process::Signal::KILL);
    two.end();
    arena.sh("rm -rf /run/dynuser").ok();
    assert_eq!(list(&arena), passed_by(&[second]));
    run_beside(&arena, "four");
    wait_until("nobody passes", || list(&arena) == CLOSED);
}

/// A service that needs no boundary, so that a daemon is there.
fn run_beside(arena: &Arena, name: &str) -> u32 {
    let said = arena.run([&words(name, "identity", &[])[..], &["id", "-u"]].concat());
    dynamic_uid(&said.ok())
}

#[test]
fn entries_that_are_not_ours_stay_and_are_refused() {
    let arena = host();
    run_beside(&arena, "first");
    arena.sh(&format!("mkdir -m 700 {BOUNDARY}")).ok();
    for (entry, said) in [
        ("u:1000:r-x", "has mode 0750"),
        ("u:1000:r--", "has mode 0740"),
        ("g:1000:--x", "has mode 0710"),
        ("u:1000:--x", "lets user 1000 search it"),
        // Kept from counting by the mask: for how long?
        ("u:1000:rwx,m::---", "has mode 0760"),
    ] {
        arena
            .sh(&format!(
                "setfacl -b {BOUNDARY} && chmod 700 {BOUNDARY} && setfacl -m {entry} {BOUNDARY}"
            ))
            .ok();
        let before = list(&arena);
        for command in [
            words("weak", "landlock", &["-p", "StateDirectory=weak", "id"]),
            words("weak", "identity", &["-p", "StateDirectory=weak", "id"]),
        ] {
            let refused = arena.run(command).fails(238);
            assert!(refused.contains(said), "{entry}: {refused}");
            arena.wait_until_idle();
            assert_eq!(list(&arena), before, "{entry}");
        }
    }
}

#[test]
fn a_file_system_without_lists_is_refused() {
    let arena = host();
    arena.sh("mount -t ramfs -o mode=755 none /var/lib").ok();
    let own = ["-p", "StateDirectory=a"];
    let said = run(&arena, "a", "landlock", &own, "id").fails(238);
    assert!(
        said.contains("is on a file system without access control lists"),
        "{said}"
    );
    // What needs no boundary needs no list.
    let said = run(
        &arena,
        "a",
        "landlock",
        &["-p", "RuntimeDirectory=a"],
        "touch $RUNTIME_DIRECTORY/x && id -u",
    )
    .ok();
    dynamic_uid(&said);
}

#[test]
fn services_of_one_user_share_its_temporary_files_and_its_way() {
    let arena = host();
    let mut one = spawn(
        &arena,
        "one",
        "landlock",
        &["--uid", "both", "-p", "StateDirectory=one"],
    );
    let number = uid(&mut one);
    let mut two = spawn(
        &arena,
        "two",
        "landlock",
        &["--uid", "both", "-p", "StateDirectory=two"],
    );
    assert_eq!(uid(&mut two), number);
    assert_eq!(tell(&mut one, "echo x > $TMPDIR/x").1, "0");
    one.stop();
    wait_until("one holder is left", || {
        arena.list()[0]["pids"].as_array().unwrap().len() == 1
    });
    assert_eq!(
        tell(&mut two, "cat $TMPDIR/x && touch $STATE_DIRECTORY/x").0,
        "x\n"
    );
    assert_eq!(list(&arena), passed_by(&[number]));
    two.stop();
    arena.wait_until_idle();
    assert_eq!(list(&arena), CLOSED);
    assert_eq!(arena.sh("ls -A /run/dynuser/tmp").ok(), "");
}

/// A directory that is mounted at its public path stays there, closed by its mode: no boundary has to be passed.
#[test]
fn what_is_mounted_in_its_place_is_used_there() {
    let arena = host();
    let script = "mkdir /var/lib/own && mount -t tmpfs -o mode=755 t /var/lib/own && echo old > /var/lib/own/old && chown -R 5000:5000 /var/lib/own";
    arena.sh(script).ok();
    let script = "echo new >> $STATE_DIRECTORY/old && stat -c '%a %U' $STATE_DIRECTORY && cat $STATE_DIRECTORY/old";
    let own = ["-p", "StateDirectory=own"];
    let said = run(&arena, "a", "landlock", &own, script).ok();
    assert_eq!(said, "700 a\nold\nnew\n");
    assert_eq!(list(&arena), CLOSED);
}

/// A user whom the host has anyway passes as long as the lease lasts, and no longer.
#[test]
fn a_user_of_the_host_is_let_through_and_no_longer() {
    let arena = host();
    arena.append("/etc/passwd", "keeper:x:5000:5001::/:/bin/sh");
    arena.append("/etc/group", "keeper:x:5001:");
    let own = ["-p", "StateDirectory=kept"];
    let mut service = spawn(&arena, "keeper", "landlock", &own);
    assert_eq!(
        tell(
            &mut service,
            "id -u; touch $STATE_DIRECTORY/x; stat -c %u:%g $TMPDIR"
        )
        .0,
        "5000\n5000:5001\n"
    );
    assert_eq!(list(&arena), passed_by(&[5000]));
    service.stop();
    arena.wait_until_idle();
    assert_eq!(list(&arena), CLOSED);
    assert_eq!(arena.sh("ls -A /run/dynuser/tmp").ok(), "");
}

/// A user who is held by a descriptor has no level: his services choose theirs.
#[test]
fn a_held_user_s_services_choose_their_level() {
    let arena = host();
    let hold = [
        "container",
        "dynuser",
        "acquire",
        "-u",
        "held",
        "sh",
        "-c",
        "echo held; read -r line",
    ];
    let mut holder = arena.spawn(hold);
    assert_eq!(holder.line(), "held");
    assert_eq!(arena.list()[0]["sandbox"], serde_json::Value::Null);
    for level in ["landlock", "identity"] {
        let words = words(
            "held",
            level,
            &[
                "-p",
                "StateDirectory=held",
                "sh",
                "-c",
                "id -un; touch $STATE_DIRECTORY/x",
            ],
        );
        assert_eq!(arena.run(words).ok(), "held\n");
        wait_until("the service's hold has ended", || {
            arena.list()[0]["pids"]
                .as_array()
                .is_some_and(Vec::is_empty)
        });
    }
    holder.end();
    arena.wait_until_idle();
    assert_eq!(list(&arena), CLOSED);
}

/// Services with a view of their own start and end, each with an open directory, while one without looks for them.
#[test]
fn whoever_passes_never_finds_an_open_directory() {
    let arena = host();
    let mut weak = spawn(&arena, "weak", "identity", &["-p", "StateDirectory=weak"]);
    let look = "while [ -e $STATE_DIRECTORY ]; do for i in 1 2 3 4; do ls /var/lib/private/full$i; done; done 2>/dev/null & echo looks";
    assert_eq!(tell(&mut weak, look).0, "looks\n");
    let script = "for n in 1 2 3 4 5; do for i in 1 2 3 4; do
            dynuser run -u full$i -p StateDirectory=full$i sh -c 'touch $STATE_DIRECTORY/secret' & done
        container dynuser run -u other$n --sandbox=landlock -p StateDirectory=other$n true; wait; done";
    // The daemon is the container's, which makes no views: the next one is the host's.
    arena.kill_daemons();
    let asked = arena.run(["dynuser", "release", "weak"]).fails(1);
    assert!(asked.contains("is in use by"), "{asked}");
    arena.sh(script).ok();
    assert_eq!(
        arena.sh("ls -d /var/lib/private/full*/secret | wc -l").ok(),
        "4\n"
    );
    let modes = arena.sh("stat -c %a /var/lib/private/*").ok();
    assert!(modes.lines().all(|mode| mode.ends_with('0')), "{modes}");
    weak.signal(rustix::process::Signal::TERM);
    let (_, said) = weak.end();
    assert_eq!(said, "");
}

#[test]
fn nobody_gets_the_number_that_owns_what_is_another_s() {
    let arena = host();
    arena
        .sh("mkdir -p /etc/dynuser; printf '[Manager]\\nUIDRange=62000-62000\\n' > /etc/dynuser/dynuser.conf")
        .ok();
    let state = ["-p", "StateDirectory=first"];
    let secret = "echo secret > $STATE_DIRECTORY/secret; id -u";
    assert_eq!(
        run(&arena, "first", "landlock", &state, secret).ok(),
        "62000\n"
    );
    for level in ["landlock", "identity"] {
        // The one number that there is owns it on the disk.
        let other = ["-p", "StateDirectory=second"];
        let refused = run(
            &arena,
            "second",
            level,
            &other,
            "cat /var/lib/private/first/secret",
        );
        assert!(!refused.stdout.contains("secret"), "{refused}");
        refused.fails(217);
        // Who passes no boundary may have it, and does not come there.
        let stays = run(
            &arena,
            "third",
            level,
            &[],
            "id -u; cat /var/lib/private/first/secret",
        );
        assert_eq!(stays.stdout, "62000\n", "{stays}");
        assert!(stays.stderr.contains("Permission denied"), "{stays}");
        // Its own is its own.
        assert_eq!(
            run(
                &arena,
                "first",
                level,
                &state,
                "cat $STATE_DIRECTORY/secret"
            )
            .ok(),
            "secret\n"
        );
    }
    // Somebody joins the user's lease who has nothing to do with it.
    let mut one = spawn(&arena, "joined", "landlock", &["-p", "User=both"]);
    assert_eq!(uid(&mut one), 62000);
    let more = ["-p", "User=both", "-p", "StateDirectory=third"];
    let refused = arena.run([&words("joins", "landlock", &more)[..], &["true"]].concat());
    assert!(
        refused.stderr.contains("/var/lib/private/first"),
        "{refused}"
    );
    refused.fails(217);
    one.say("exit 0");
    one.end();
    arena.wait_until_idle();
}
