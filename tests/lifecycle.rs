//! Leases, the daemon that keeps them, and what is left when they end: nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;

use rustix::process::Signal;
use support::{Arena, Builder, Running, dynamic_uid, wait_until};

/// Starts `sleep` as the user `name`, and waits until it runs.
fn sleeper(arena: &Arena, name: &str) -> Running {
    let mut service = arena.spawn(["dynuser", "run", "-u", name, "sleep", "1000"]);
    service.wait_exec("sleep");
    service
}

/// Starts a daemon as an init script does, and waits until it answers.
fn daemon(arena: &Arena) -> Running {
    let mut daemon = arena.spawn(["dynuser", "daemon"]);
    wait_until("the daemon answers", || {
        assert!(daemon.runs(), "the daemon ended");
        arena
            .run(["test", "-S", "/run/dynuser/manager"])
            .status
            .success()
    });
    daemon
}

#[test]
fn twenty_launchers_that_find_no_daemon_start_one() {
    let arena = Arena::new();
    let script = "for i in $(seq 20); do dynuser run -u n$i true & done; for job in $(jobs -p); do wait $job || exit 1; done";
    arena.run(["bash", "-c", script]).ok();
    arena.wait_until_idle();
    wait_until("one daemon is left", || arena.daemons().len() == 1);
}

#[test]
fn a_daemon_on_demand_ends_by_itself_and_an_installed_one_stays() {
    let (temporary, installed) = (Arena::new(), Arena::new());
    // It goes into the background by itself, and answers when this returns.
    let start = ["dynuser", "daemon", "--on-demand", "--idle-timeout=5"];
    temporary.run(start).ok();
    let on_demand = temporary.daemons();
    assert_eq!(on_demand.len(), 1);
    let mut stays = daemon(&installed);
    installed.run(["dynuser", "run", "true"]).ok();
    // It does not count as idle while a service runs.
    temporary.run(["dynuser", "run", "sleep", "7"]).ok();
    assert_eq!(temporary.daemons(), on_demand);
    wait_until("the idle daemon has ended", || {
        temporary.daemons().is_empty()
    });
    assert_eq!(temporary.processes(), Vec::<String>::new());
    temporary
        .run(["test", "-e", "/run/dynuser/manager"])
        .fails(1);
    assert!(stays.runs());
    temporary.run(["dynuser", "run", "true"]).ok();
    stays.stop();
}

#[test]
fn a_second_daemon_is_refused() {
    let arena = Arena::new();
    let _first = daemon(&arena);
    let message = arena.run(["dynuser", "daemon"]).fails(1);
    assert_eq!(message.lines().count(), 1, "{message}");
    arena.run(["dynuser", "run", "true"]).ok();
}

#[test]
fn list_tells_who_runs_to_everybody() {
    let arena = Arena::new();
    // Nobody has ever run anything, and no daemon is started for the question.
    assert_eq!(arena.run(["dynuser", "list"]).ok().lines().count(), 1);
    assert_eq!(arena.run(["dynuser", "list", "--json"]).ok(), "[]\n");
    assert_eq!(arena.daemons(), Vec::<String>::new());

    let service = sleeper(&arena, "listed");
    let row = |text: String| -> Vec<String> {
        let line = text
            .lines()
            .find(|line| line.contains("listed"))
            .expect("a row")
            .to_owned();
        line.split_whitespace().map(str::to_owned).collect()
    };
    for user in [0, 1000] {
        let ask = |words: &[&str]| arena.command(words).user(user).run().ok();
        let json: serde_json::Value =
            serde_json::from_str(&ask(&["dynuser", "list", "--json"])).unwrap();
        assert_eq!(json.as_array().unwrap().len(), 1, "{json}");
        assert_eq!(json[0]["name"], "listed");
        assert_eq!(json[0]["state"], "running");
        assert_eq!(json[0]["pid"].to_string(), service.pid());
        let uid = json[0]["uid"].to_string();
        dynamic_uid(&uid);
        let row = row(ask(&["dynuser", "list"]));
        for word in ["listed", &uid, "running", &service.pid()] {
            assert!(
                row.iter().any(|cell| cell == word),
                "{word} is not in {row:?}"
            );
        }
        for key in ["listed", &uid] {
            let text = ask(&["dynuser", "show", key]);
            assert!(text.contains("listed") && text.contains(&uid), "{text}");
        }
    }
    assert!(
        arena
            .run(["dynuser", "show", "nonsuch"])
            .fails(1)
            .contains("nonsuch")
    );
    service.stop();
    arena.wait_until_idle();
    assert_eq!(arena.run(["dynuser", "list"]).ok().lines().count(), 1);
    assert_eq!(arena.run(["dynuser", "list", "--json"]).ok(), "[]\n");
}

#[test]
fn a_killed_daemon_takes_nothing_with_it() {
    let arena = Arena::with_module();
    let mut service = sleeper(&arena, "orphan");
    let uid = arena.run(["id", "-u", "orphan"]).ok();
    let first = arena.daemons();
    assert_eq!(first.len(), 1);
    arena.run(["kill", "-9", &first[0]]).ok();
    wait_until("the daemon is dead", || arena.daemons().is_empty());
    assert!(service.runs());
    assert_eq!(arena.run(["id", "-u", "orphan"]).ok(), uid);
    assert_eq!(arena.list()[0]["name"], "orphan");

    assert_ne!(
        arena.run(["dynuser", "run", "-u", "next", "id", "-u"]).ok(),
        uid
    );
    let second = arena.daemons();
    assert_eq!(second.len(), 1);
    assert_ne!(first, second);
    wait_until("only the old service is left", || arena.list().len() == 1);
    assert_eq!(arena.list()[0]["name"], "orphan");
    assert_eq!(arena.list()[0]["state"], "running");
    // It shares the lease of the name that it runs under.
    assert_eq!(
        arena
            .run(["dynuser", "run", "-u", "orphan", "id", "-u"])
            .ok(),
        uid
    );
    assert!(service.runs());
    service.stop();
    arena.wait_until_idle();
    arena.run(["id", "orphan"]).fails(1);
}

#[test]
fn a_service_that_ends_while_no_daemon_runs_is_released_by_the_next() {
    let arena = Arena::with_module();
    let script = "touch /dev/shm/left; exec sleep 1000";
    let mut service = arena.spawn([
        "dynuser",
        "run",
        "-u",
        "unseen",
        "-p",
        "RuntimeDirectory=unseen",
        "sh",
        "-c",
        script,
    ]);
    service.wait_exec("sleep");
    arena.run(["kill", "-9", &arena.daemons()[0]]).ok();
    service.stop();
    arena.run(["dynuser", "run", "true"]).ok();
    arena.wait_until_idle();
    arena.run(["id", "unseen"]).fails(1);
    assert_eq!(arena.run(["ls", "/dev/shm"]).ok(), "");
    arena.run(["test", "-e", "/run/unseen"]).fails(1);
}

#[test]
fn processes_that_it_leaves_behind_are_ended_with_it() {
    let arena = Arena::new();
    let script = "id -u; for i in 1 2 3; do setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1000; done' \
         </dev/null >/dev/null 2>&1 & done; true";
    let uid = arena
        .run(["dynuser", "run", "-u", "forker", "sh", "-c", script])
        .ok();
    arena.wait_until_idle();
    let left = arena
        .run(["ps", "-U", uid.trim(), "-o", "pid=,stat=,args="])
        .stdout;
    let left: Vec<&str> = left.lines().filter(|line| !line.contains(" Z")).collect();
    assert_eq!(left, Vec::<&str>::new());
}

#[test]
fn ipc_objects_of_the_service_are_gone_with_it() {
    for mqueue in [true, false] {
        let arena = if mqueue {
            Builder::default().with_mqueue().start()
        } else {
            Arena::new()
        };
        arena.sh("ipcmk -M 512; touch /dev/shm/of-root").ok();
        let script = "ipcmk -M 4096; ipcmk -S 3; ipcmk -Q; touch /dev/shm/left; mkdir /dev/shm/d; touch /dev/shm/d/x
             python3 -c 'import ctypes; q = ctypes.CDLL(None).mq_open(b\"/left\", 0o102, 0o600, None); assert q >= 0'";
        arena
            .run(["dynuser", "run", "-u", "ipc", "sh", "-ec", script])
            .ok();
        arena.wait_until_idle();
        assert_eq!(arena.run(["ls", "/dev/shm"]).ok(), "of-root\n");
        let left = arena
            .sh("tail -qn +2 /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg")
            .ok();
        assert_eq!(left.lines().count(), 1, "beside root's own segment: {left}");
        let queues = arena.sh("mkdir /mnt/q && mount -t mqueue none /mnt/q && ls /mnt/q");
        assert_eq!(queues.ok(), "", "mounted: {mqueue}");
    }
}

#[test]
fn two_services_of_one_name_share_its_uid_until_both_have_ended() {
    let arena = Arena::with_module();
    let first = sleeper(&arena, "shared");
    let mut second = sleeper(&arena, "shared");
    let uids =
        arena.sh("ps -eo uid=,comm= | awk '$2 == \"sleep\" { print $1 }' | sort | uniq -c | awk '{ print $1 }'");
    assert_eq!(uids.ok().trim(), "2", "two processes of one UID");
    first.stop();
    arena.run(["dynuser", "run", "-u", "shared", "true"]).ok();
    assert!(second.runs());
    arena.run(["id", "shared"]).ok();
    second.stop();
    arena.wait_until_idle();
    arena.run(["id", "shared"]).fails(1);
}

#[test]
fn a_caller_in_another_mount_namespace_is_told_so() {
    let arena = Arena::new();
    arena.run(["dynuser", "run", "true"]).ok();
    let output = arena.run(["unshare", "-m", "dynuser", "run", "-u", "abroad", "true"]);
    assert!(!output.status.success(), "{output}");
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    assert!(output.stderr.contains("--daemon-view"), "{output}");
    let words = [
        "unshare",
        "-m",
        "dynuser",
        "run",
        "--daemon-view",
        "-u",
        "abroad",
        "id",
        "-un",
    ];
    assert_eq!(arena.run(words).ok(), "abroad\n");
}

#[test]
fn a_directory_goes_from_one_name_to_the_next_without_a_pause() {
    // The former lease is still ending when the next launcher asks.
    let script =
        "for i in $(seq 300); do dynuser run -u n$i -p StateDirectory=handed id -u || exit; done";
    let uids = Arena::new().sh(script).ok();
    let distinct: BTreeSet<&str> = uids.lines().collect();
    assert_eq!((uids.lines().count(), distinct.len()), (300, 1), "{uids}");
}

#[test]
fn fifty_services_at_once_have_fifty_uids() {
    let arena = Arena::new();
    let script = "id -u; read -r _ || true";
    let mut services: Vec<Running> = (0..50)
        .map(|n| arena.spawn(["dynuser", "run", "-u", &format!("p{n}"), "sh", "-c", script]))
        .collect();
    let uids: BTreeSet<u32> = services
        .iter_mut()
        .map(|service| dynamic_uid(&service.line()))
        .collect();
    assert_eq!(uids.len(), 50);
    assert_eq!(arena.list().len(), 50);
    for service in services {
        assert!(service.end().0.success());
    }
    arena.wait_until_idle();
}

#[test]
fn a_thousand_runs_leave_nothing() {
    let arena = Arena::with_module();
    let run = |count: u32| {
        let script = format!(
            "for i in $(seq {count}); do dynuser run -u s$((i % 20)) -p RuntimeDirectory=r$((i % 20)) \
             -p StateDirectory=d$((i % 20)) sh -c 'touch /dev/shm/$$; ipcmk -Q >/dev/null' || exit; done"
        );
        arena.sh(&script).ok();
        arena.wait_until_idle();
    };
    run(20);
    let daemon = arena.daemons();
    assert_eq!(daemon.len(), 1);
    let descriptors = || -> usize {
        let count = arena.sh(&format!("ls /proc/{}/fd | wc -l", daemon[0])).ok();
        count.trim().parse().expect("a number")
    };
    let before = (
        arena.mounts(),
        arena.processes(),
        arena.disk(),
        descriptors(),
    );
    run(1000);
    // It keeps two for each process that it has seen lately, so not exactly as many.
    wait_until("the daemon has closed its descriptors", || {
        descriptors() < before.3 + 60
    });
    assert_eq!(
        (arena.mounts(), arena.processes(), arena.disk()),
        (before.0, before.1, before.2)
    );
    for directory in [
        "/run/dynuser/leases",
        "/run/dynuser/users",
        "/run/dynuser/views",
        "/dev/shm",
    ] {
        assert_eq!(arena.run(["ls", "-A", directory]).ok(), "", "{directory}");
    }
    for table in ["shm", "sem", "msg"] {
        let objects = arena
            .run(["tail", "-n", "+2", &format!("/proc/sysvipc/{table}")])
            .ok();
        assert_eq!(objects, "", "{table}");
    }
    assert_eq!(arena.daemons(), daemon);
}

#[test]
fn a_launcher_that_is_killed_while_it_waits_ends_its_service() {
    let arena = Arena::new();
    let mut launcher = arena.spawn([
        "dynuser",
        "run",
        "--wait",
        "-u",
        "waited",
        "sh",
        "-c",
        "echo up; exec sleep 1000",
    ]);
    assert_eq!(launcher.line(), "up");
    launcher.signal(Signal::KILL);
    launcher.end();
    arena.wait_until_idle();
    assert!(!arena.processes().iter().any(|line| line.contains("sleep")));
}

#[test]
fn a_container_that_is_started_anew_goes_on_where_the_former_one_was_ended() {
    let arena = Arena::new();
    let container = |script: &str| {
        let words = [
            "unshare",
            "--pid",
            "--fork",
            "--mount-proc",
            "sh",
            "-c",
            script,
        ];
        arena.run(words)
    };
    // Its PID 1 ends, and everything else in it is killed: /run stays as it is.
    let former = "dynuser run -u box -p RuntimeDirectory=box sleep 1000 >/dev/null 2>&1 &
                  until test -d /run/box; do sleep 0.01; done; kill -9 $$";
    let _killed = container(former);
    let left = arena.list();
    assert_eq!(left[0]["name"], "box");
    let path = format!("/run/dynuser/leases/{}", left[0]["uid"]);
    let lease: serde_json::Value =
        serde_json::from_str(&arena.run(["cat", &path]).ok()).expect("a lease");
    let anew = "dynuser run -u other true && until [ \"$(dynuser list --json)\" = '[]' ]; do sleep 0.01; done; \
                dynuser run -u box id -u; test -d /run/box && echo left";
    let output = container(anew);
    if lease["pid_namespace_handle"].is_null() {
        // A kernel before 6.18 cannot tell that nobody of it is left.
        let why = output.stderr;
        assert!(
            why.contains("another PID namespace") && why.contains(&format!("rm {path}")),
            "{why}"
        );
    } else {
        assert_eq!(output.stdout, format!("{}\n", left[0]["uid"]), "{output}");
    }
}

/// The size of a process's address space, in bytes.
fn address_space(arena: &Arena, pid: &str) -> u64 {
    let text = arena
        .run(["grep", "VmSize", &format!("/proc/{pid}/status")])
        .ok();
    let kibibytes = text.split_whitespace().nth(1).expect("a size");
    kibibytes
        .parse::<u64>()
        .expect("a size")
        .saturating_mul(1024)
}

#[test]
fn a_daemon_that_runs_out_of_memory_loses_nothing() {
    const CLIENT: &str = "/usr/local/lib/client.py";
    let arena = Arena::with_module();
    arena.put(CLIENT, include_str!("pool/client.py"), 0o644);
    let mut service = sleeper(&arena, "service");
    let of_service = arena.run(["id", "-u", "service"]).ok();
    let mut client = arena.spawn(["python3", CLIENT]);
    let mut ask = |name: &str| {
        client.say(&format!("acquire {name}"));
        let line = client.line();
        match line.split_once(' ').expect("an answer") {
            ("ok", uid) => Ok(uid.to_owned()),
            (_, why) => Err(why.to_owned()),
        }
    };
    let mut held = vec![("service".to_owned(), of_service.trim().to_owned())];
    for number in 0..20 {
        let name = format!("before{number}");
        held.push((name.clone(), ask(&name).expect("a user")));
    }
    // How much more than it has it may get: threads, stacks and tables fail at different moments.
    for room in [0, 200_000, 3_000_000] {
        let pid = arena.daemons().pop().expect("a daemon");
        let cap = |room: u64| {
            let limit = address_space(&arena, &pid).saturating_add(room);
            let limit = format!("--as={limit}");
            arena.run(["prlimit", "--pid", &pid, &limit]).ok();
        };
        cap(room);
        let before = held.len();
        let mut refused = 0_u32;
        for request in 0.. {
            assert!(request < 4000, "it has memory enough for all of them");
            // Stacks that were counted may have been given back: then that is room as well.
            if request % 300 == 299 && arena.daemons().contains(&pid) {
                cap(0);
            }
            let name = format!("after-{room}-{request}");
            match ask(&name) {
                Ok(uid) => held.push((name, uid)),
                Err(why)
                    if ["closed", "refused", "reset"]
                        .iter()
                        .any(|word| why.contains(word)) =>
                {
                    println!(
                        "with {room}: {} granted, {request} asked for",
                        held.len().saturating_sub(before)
                    );
                    break;
                }
                // One that has threads and no more for another refuses for ever: that is as good, and it is
                // killed then.
                Err(_) if refused == 200 => {
                    arena.run(["kill", "-9", &pid]).ok();
                    break;
                }
                Err(_) => refused = refused.saturating_add(1),
            }
        }
        wait_until("it has died", || !arena.daemons().contains(&pid));
        let log = arena.run(["cat", "/run/dynuser/log"]).ok();
        let starved = log.contains("allocat") || refused == 200;
        assert!(starved, "it died of something else: {log}");
        // The next one has no limit. A lease that nobody was told of ends; the others live.
        arena.run(["dynuser", "run", "true"]).ok();
        arena.run(["truncate", "-s", "0", "/run/dynuser/log"]).ok();
        held.sort();
        let listed = || {
            let leases = arena.list().into_iter();
            let leases = leases.map(|lease| {
                let name = lease["name"].as_str().expect("a name").to_owned();
                (name, lease["uid"].to_string())
            });
            let mut all: Vec<_> = leases.collect();
            all.sort();
            all
        };
        wait_until("what nobody holds has ended", || {
            listed().len() <= held.len()
        });
        assert_eq!(listed(), held);
        assert!(arena.list().iter().all(|lease| lease["state"] == "running"));
        let names = held.iter().map(|(name, _)| name.as_str());
        let known = arena
            .run(["getent", "passwd"].into_iter().chain(names))
            .ok();
        let known = known.lines().map(|line| {
            let words: Vec<&str> = line.split(':').collect();
            (words[0].to_owned(), words[2].to_owned())
        });
        assert_eq!(known.collect::<Vec<_>>(), held);
        assert!(service.runs());
    }
    service.stop();
    client.end();
    arena.wait_until_idle();
    for folder in ["leases", "holds", "views", "users"] {
        let left = arena.run(["ls", "-A", &format!("/run/dynuser/{folder}")]);
        assert_eq!(left.ok(), "", "{folder}");
    }
}
