//! What every program of the host is told of dynamic users besides their names: homes, groups, members. Asked with getent(1)
//! and id(1) through the NSS module, outside of the services.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::{Arena, Running, dynamic_uid, wait_until};

/// A host with the module and two groups of its own.
fn host() -> Arena {
    let arena = Arena::with_module();
    arena.append("/etc/group", "keys:x:4001:");
    arena.append("/etc/group", "friends:x:4002:somebody");
    arena
}

/// A service that runs until its input ends. Gives its number, too.
fn start(arena: &Arena, user: &str, properties: &[&str]) -> (Running, u32) {
    let properties = properties.iter().flat_map(|property| ["-p", property]);
    let words = ["dynuser", "run", "-u", user].into_iter();
    let script = ["sh", "-c", "id -u; echo $HOME; read -r _; true"];
    let mut service = arena.spawn(words.chain(properties).chain(script));
    let uid = dynamic_uid(&service.line());
    (service, uid)
}

fn ask(arena: &Arena, words: &str) -> String {
    arena.run(words.split(' ')).ok().trim_end().to_owned()
}

#[test]
fn groups_are_seen_on_both_sides_as_long_as_they_last() {
    let arena = host();
    let (db, db_uid) = start(&arena, "db", &[]);
    assert_eq!(ask(&arena, "getent group db"), format!("db:x:{db_uid}:"));
    let (web, uid) = start(
        &arena,
        "web",
        &["SupplementaryGroups=db keys", "Group=team"],
    );
    let team: u32 = ask(&arena, "getent group team")
        .split(':')
        .nth(2)
        .unwrap()
        .parse()
        .unwrap();
    let mut groups = [(db_uid, "db"), (team, "team")];
    groups.sort_unstable();
    let [(a, a_name), (b, b_name)] = groups;
    // Its record says its own group, as every dynamic user's does; the others come in the order of their numbers.
    assert_eq!(
        ask(&arena, "id web"),
        format!(
            "uid={uid}(web) gid={uid}(web) groups={uid}(web),4001(keys),{a}({a_name}),{b}({b_name})"
        )
    );
    let (api, _) = start(&arena, "api", &["SupplementaryGroups=db", "Group=team"]);
    for key in ["db", &db_uid.to_string()] {
        let record = ask(&arena, &format!("getent group {key}"));
        assert_eq!(record, format!("db:x:{db_uid}:api,web"));
    }
    assert_eq!(
        ask(&arena, "getent group team"),
        format!("team:x:{team}:api,web")
    );
    // Whoever lists all groups sees them as well.
    assert!(ask(&arena, "getent group").contains(&format!("\ndb:x:{db_uid}:api,web")));
    assert_eq!(ask(&arena, "getent group keys"), "keys:x:4001:");
    web.end();
    wait_until("one member has left", || {
        ask(&arena, "getent group db") == format!("db:x:{db_uid}:api")
    });
    assert_eq!(
        ask(&arena, "getent group team"),
        format!("team:x:{team}:api")
    );
    api.end();
    wait_until("all have left", || {
        ask(&arena, "getent group db") == format!("db:x:{db_uid}:")
    });
    wait_until("the group is gone with them", || {
        arena.run(["getent", "group", "team"]).status.code() == Some(2)
    });
    db.end();
    arena.wait_until_idle();
}

#[test]
fn a_user_of_the_host_is_a_member_too() {
    let arena = host();
    let (db, uid) = start(&arena, "db", &[]);
    let words =
        "dynuser run -u other -p DynamicUser=no -p User=daemon -p SupplementaryGroups=db sh -c";
    let words = words.split(' ').chain(["echo up; read -r _; true"]);
    let mut other = arena.spawn(words);
    assert_eq!(other.line(), "up");
    assert_eq!(ask(&arena, "getent group db"), format!("db:x:{uid}:daemon"));
    other.end();
    wait_until("it has left", || {
        ask(&arena, "getent group db") == format!("db:x:{uid}:")
    });
    db.end();
    arena.wait_until_idle();
}

#[test]
fn the_home_of_the_record_is_the_home_of_the_service() {
    let arena = host();
    let home = |user: &str| ask(&arena, &format!("getent passwd {user}"));
    let cases: [(&[&str], &str); 5] = [
        (&[], "/"),
        (&["RuntimeDirectory=r"], "/run/r"),
        (&["CacheDirectory=c"], "/"),
        (&["RuntimeDirectory=r", "StateDirectory=s t"], "/var/lib/s"),
        (&["StateDirectory=a/b"], "/var/lib/a/b"),
    ];
    for (properties, expected) in cases {
        let (mut service, uid) = start(&arena, "box", properties);
        assert_eq!(service.line(), expected);
        let record = format!("box:x:{uid}:{uid}:Dynamic User:{expected}:/usr/sbin/nologin");
        assert_eq!(home("box"), record);
        assert_eq!(home(&uid.to_string()), record);
        service.end();
        arena.wait_until_idle();
    }
    // Of several services of one user, the first that has one.
    let (one, uid) = start(&arena, "one", &["User=both"]);
    let record = |home: &str| format!("both:x:{uid}:{uid}:Dynamic User:{home}:/usr/sbin/nologin");
    assert_eq!(home("both"), record("/"));
    let (two, _) = start(&arena, "two", &["User=both", "StateDirectory=two"]);
    assert_eq!(home("both"), record("/var/lib/two"));
    two.end();
    wait_until("it is not his home any more", || {
        home("both") == record("/")
    });
    one.end();
    arena.wait_until_idle();
}

#[test]
fn the_next_daemon_tells_the_same() {
    let arena = host();
    let (db, uid) = start(&arena, "db", &["StateDirectory=db"]);
    let (web, _) = start(&arena, "web", &["SupplementaryGroups=db keys"]);
    let told = || {
        let all = ["passwd db", "passwd web", "group db", "initgroups web"];
        all.map(|words| ask(&arena, &format!("getent {words}")))
    };
    let before = told();
    assert_eq!(before[2], format!("db:x:{uid}:web"));
    arena.kill_daemons();
    assert_eq!(told(), before);
    // The next one corrects what somebody has spoilt meanwhile.
    arena
        .sh("cd /run/dynuser/users && ln -sfn db:/nowhere uid:$(id -u db) && rm name:web")
        .ok();
    arena.run(["dynuser", "run", "-u", "next", "true"]).ok();
    assert_eq!(told(), before);
    web.end();
    wait_until("it has left", || {
        ask(&arena, "getent group db") == format!("db:x:{uid}:")
    });
    db.end();
    arena.wait_until_idle();
}

#[test]
fn a_crowd_is_told_as_far_as_there_is_room() {
    let arena = host();
    let (db, uid) = start(&arena, "db", &[]);
    // 150 names of 30 letters: one link cannot hold them all.
    let crowd = "for n in $(seq 100 249); do
          dynuser run -q -u member-of-a-very-long-name-$n -p SupplementaryGroups=db sleep 1000 &
        done; echo up; read -r _; kill $(jobs -p); wait";
    let mut crowd = arena.spawn(["bash", "-c", crowd]);
    assert_eq!(crowd.line(), "up");
    wait_until("all of them run", || {
        arena
            .list()
            .iter()
            .filter(|lease| lease["state"] == "running")
            .count()
            == 151
    });
    let record = ask(&arena, "getent group db");
    let members = record
        .strip_prefix(&format!("db:x:{uid}:"))
        .expect("its record");
    let members: Vec<&str> = members.split(',').collect();
    assert!((100..150).contains(&members.len()), "{}", members.len());
    assert!(
        members
            .iter()
            .all(|name| name.starts_with("member-of-a-very-long-name-"))
    );
    // Of each of them it is known, the last one too.
    let last = ask(&arena, "id member-of-a-very-long-name-249");
    assert!(
        last.ends_with(&format!("{uid}(db)")) || last.contains(&format!(",{uid}(db)")),
        "{last}"
    );
    crowd.say("");
    crowd.end();
    wait_until("all have left", || {
        ask(&arena, "getent group db") == format!("db:x:{uid}:")
    });
    db.end();
    arena.wait_until_idle();
}

#[test]
fn who_was_in_a_group_is_in_none_that_has_its_number_later() {
    let arena = host();
    arena.sh("mkdir -p /etc/dynuser").ok();
    let conf = "[Manager]\nUIDRange=62000-62002\n";
    arena.put("/etc/dynuser/dynuser.conf", conf, 0o644);
    // Two services of one user, of which one has a group that exists only as long as it runs.
    let (one, uid) = start(&arena, "one", &["User=both"]);
    let two = || start(&arena, "two", &["User=both", "Group=team"]).0;
    let alone = format!("uid={uid}(both) gid={uid}(both) groups={uid}(both)");
    let team = || arena.run(["getent", "group", "team"]).stdout;
    for crash in [false, true] {
        let two = two();
        assert!(team().ends_with(":both\n"), "{}", team());
        assert!(ask(&arena, "id both").ends_with("(team)"));
        if crash {
            arena.kill_daemons();
        }
        two.end();
        if crash {
            arena.run(["dynuser", "run", "-u", "both", "true"]).ok();
        }
        wait_until("the group is gone", || team().is_empty());
        assert_eq!(ask(&arena, "id both"), alone);
    }
    // Somebody gets that number.
    let (three, _) = start(&arena, "three", &[]);
    let (four, _) = start(&arena, "four", &[]);
    for name in ["three", "four"] {
        let record = ask(&arena, &format!("getent group {name}"));
        assert!(record.ends_with(':'), "{record}");
    }
    assert_eq!(ask(&arena, "id both"), alone);
    for service in [one, three, four] {
        service.end();
    }
    arena.wait_until_idle();
}

#[test]
fn a_group_is_noted_once_however_often_its_services_start() {
    let arena = host();
    let (one, uid) = start(&arena, "one", &["User=both", "Group=team"]);
    let lease = || arena.sh(&format!("cat /run/dynuser/leases/{uid}")).ok();
    for _ in 0..3 {
        let words = "dynuser run -u two -p User=both -p Group=team true";
        arena.run(words.split(' ')).ok();
    }
    let lease: serde_json::Value = serde_json::from_str(&lease()).unwrap();
    assert_eq!(lease["uses"].as_array().unwrap().len(), 1, "{lease}");
    assert!(ask(&arena, "id both").ends_with("(team)"));
    one.end();
    arena.wait_until_idle();
}
