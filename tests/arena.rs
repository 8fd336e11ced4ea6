//! The arena itself: a test world that leaks or disturbs the host would prove nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;

use support::{Arena, Builder};

#[test]
fn an_arena_is_a_host_of_its_own() {
    let arena = Arena::new();
    arena
        .sh("touch /run/a /tmp/a /var/lib/a /dev/shm/a /etc/a /usr/a /a; ipcmk -M 4096")
        .ok();
    arena.append("/etc/passwd", "somebody:x:4711:815::/:/bin/sh");
    assert_eq!(arena.run(["id", "-g", "somebody"]).ok(), "815\n");
    assert_eq!(
        arena.run(["cat", "/sys/class/net/lo/mtu"]).status.code(),
        Some(0)
    );
    assert_eq!(arena.processes(), Vec::<String>::new());
    let other = Arena::new();
    for gone in [
        "/run/a",
        "/tmp/a",
        "/var/lib/a",
        "/dev/shm/a",
        "/etc/a",
        "/usr/a",
        "/a",
    ] {
        other.run(["test", "-e", gone]).fails(1);
        assert!(!fs::exists(gone).unwrap(), "{gone} came to the host");
    }
    assert!(
        !other
            .sh("cat /proc/sysvipc/shm")
            .ok()
            .lines()
            .any(|l| l.contains("4096"))
    );
    assert!(
        !fs::read_to_string("/etc/passwd")
            .unwrap()
            .contains("somebody")
    );
}

#[test]
fn commands_inside_get_their_input_their_user_and_their_end() {
    let arena = Arena::new();
    let cat = arena.command(["cat"]).input("hello").run();
    assert_eq!(cat.ok(), "hello");
    assert_eq!(arena.command(["id", "-u"]).user(1000).run().ok(), "1000\n");
    assert_eq!(
        arena.command(["printenv", "A"]).env("A", "b").run().ok(),
        "b\n"
    );
    arena.sh("echo no >&2; exit 3").fails(3);
    assert_eq!(arena.sh("kill -TERM $$").signal(), Some(15));
    let mut sleeper = arena.spawn(["sleep", "1000"]);
    sleeper.wait_exec("sleep");
    let pid = sleeper.pid();
    assert_eq!(arena.processes(), [format!("{pid} sleep 1000")]);
    assert!(sleeper.runs());
    sleeper.stop();
    assert_eq!(arena.processes(), Vec::<String>::new());
}

#[test]
fn init_reaps_what_is_left_to_it() {
    let arena = Arena::new();
    arena.sh("setsid sh -c 'sleep 0 & sleep 0 &' & wait");
    support::wait_until("no zombie is left", || {
        !arena
            .sh("ps -e -o stat=")
            .ok()
            .lines()
            .any(|state| state.starts_with('Z'))
    });
}

#[test]
fn queues_are_mounted_on_demand() {
    Arena::new().run(["test", "-d", "/dev/mqueue"]).fails(1);
    let arena = Builder::default().with_mqueue().start();
    arena.run(["mountpoint", "-q", "/dev/mqueue"]).ok();
}

#[test]
fn nothing_of_an_arena_stays_on_the_host() {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let pid = {
        let arena = Arena::new();
        let outer = arena.within(|| fs::read_to_string("/proc/1/comm").unwrap());
        assert_eq!(outer, "bash\n");
        let sleeper = arena.spawn(["sleep", "98765"]);
        sleeper.pid()
    };
    assert!(!pid.is_empty());
    assert_eq!(mounts(), before);
    for process in fs::read_dir("/proc").unwrap() {
        let line = fs::read(process.unwrap().path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains("98765"));
    }
}

#[test]
fn the_module_answers_where_it_is_installed_and_nowhere_else() {
    let links = "mkdir -p /run/dynuser/users && cd /run/dynuser/users && ln -s wuff uid:61200 && ln -s 61200 name:wuff";
    let arena = Arena::with_module();
    arena.sh(links).ok();
    assert_eq!(
        arena.run(["id", "wuff"]).ok(),
        "uid=61200(wuff) gid=61200(wuff) groups=61200(wuff)\n"
    );
    assert_eq!(arena.run(["id", "-u", "root"]).ok(), "0\n");
    let plain = Arena::new();
    plain.sh(links).ok();
    assert!(plain.run(["id", "wuff"]).fails(1).contains("no such user"));
}
