//! Clients that we did not write.

use serde_json::{Value, json};

use crate::host::{SOCKET, WUFF, daemon, host, sleeper, unpack_userdbctl};
use crate::support::Arena;

/// Says what was asked and what came, for those who look (`--nocapture`).
fn shown(arena: &Arena, words: &[&str]) -> String {
    let output = arena.run(words.iter().copied()).ok();
    println!("# {}\n{output}", words.join(" "));
    output
}

/// What getent(1) says of a key, through nss-systemd or files; nothing where it is not known.
fn getent(arena: &Arena, database: &str, key: &str) -> String {
    let output = arena.run(["getent", database, key]);
    let known = output.status.success();
    assert!(known || output.status.code() == Some(2), "{output}");
    assert_eq!(known, !output.stdout.is_empty(), "{output}");
    output.stdout
}

#[test]
fn nss_systemd_knows_a_user_as_long_as_it_is_there() {
    let arena = host();
    let number = WUFF.to_string();
    let unknown = |arena: &Arena| {
        for database in ["passwd", "group"] {
            for key in ["wuff", &number] {
                assert_eq!(getent(arena, database, key), "");
            }
        }
    };
    unknown(&arena);
    let service = sleeper(&arena, "wuff", &["StateDirectory=wuff"]);
    let record = format!("wuff:x:{WUFF}:{WUFF}:Dynamic User:/var/lib/wuff:/usr/sbin/nologin\n");
    for key in ["wuff", &number] {
        assert_eq!(getent(&arena, "passwd", key), record);
        assert_eq!(getent(&arena, "group", key), format!("wuff:x:{WUFF}:\n"));
    }
    // Nobody can log in with it.
    assert_eq!(getent(&arena, "shadow", "wuff"), "wuff:!*::::::1:\n");
    assert_eq!(getent(&arena, "gshadow", "wuff"), "wuff:!*::\n");
    assert_eq!(getent(&arena, "initgroups", "wuff").trim_end(), "wuff");
    let id = format!("uid={WUFF}(wuff) gid={WUFF}(wuff) groups={WUFF}(wuff)\n");
    assert_eq!(arena.run(["id", "wuff"]).ok(), id);
    assert_eq!(
        arena.run(["getent", "-s", "systemd", "passwd"]).ok(),
        record
    );
    for stranger in ["wuf", "wuffwuff", "WUFF", "org.dynuser", "63103", "61184"] {
        assert_eq!(getent(&arena, "passwd", stranger), "");
    }
    service.stop();
    arena.wait_until_idle();
    unknown(&arena);
    // The daemon asks nss-systemd, which asks the daemon, in the middle of a start.
    let services = (0..4).map(|n| sleeper(&arena, &format!("wuff{n}"), &[]));
    let services: Vec<_> = services.collect();
    let all = arena.run(["getent", "-s", "systemd", "group"]).ok();
    assert_eq!(all.lines().count(), 4, "{all}");
    drop(services);
}

#[test]
fn nss_systemd_knows_who_is_in_which_group() {
    let arena = host();
    let _rudel = sleeper(&arena, "rudel", &[]);
    let _wuff = sleeper(&arena, "wuff", &["SupplementaryGroups=video rudel"]);
    let rudel = arena.run(["id", "-u", "rudel"]).ok();
    let rudel = rudel.trim();
    let id = arena.run(["id", "wuff"]).ok();
    let groups = id.trim_end().rsplit_once("groups=").expect("groups").1;
    let mut groups: Vec<&str> = groups.split(',').collect();
    groups.sort_unstable();
    let mut wanted = vec![
        format!("{WUFF}(wuff)"),
        format!("{rudel}(rudel)"),
        "44(video)".into(),
    ];
    wanted.sort_unstable();
    assert_eq!(groups, wanted);
    assert_eq!(
        getent(&arena, "group", "rudel"),
        format!("rudel:x:{rudel}:wuff\n")
    );
    assert_eq!(
        getent(&arena, "group", rudel),
        format!("rudel:x:{rudel}:wuff\n")
    );
    // The host's own group, with our user added by nss-systemd.
    assert_eq!(getent(&arena, "group", "video"), "video:x:44:wuff\n");
}

#[test]
fn userdbctl_shows_users_groups_and_memberships() {
    let arena = host();
    unpack_userdbctl(&arena);
    let _daemon = daemon(&arena);
    let services = shown(&arena, &["userdbctl", "services"]);
    let line = services.lines().find(|line| line.contains("org.dynuser"));
    assert!(line.is_some_and(|line| line.ends_with("yes")), "{services}");
    let _rudel = sleeper(&arena, "rudel", &[]);
    let properties = ["StateDirectory=wuff", "SupplementaryGroups=video rudel"];
    let _wuff = sleeper(&arena, "wuff", &properties);

    let user = shown(&arena, &["userdbctl", "user", "wuff"]);
    let uid = format!("UID: {WUFF}");
    let gid = format!("GID: {WUFF} (wuff)");
    for words in [
        "User name: wuff",
        "Disposition: dynamic",
        &uid,
        &gid,
        "Aux. Groups: video",
        "Real Name: Dynamic User",
        "Directory: /var/lib/wuff",
        "Shell: /usr/sbin/nologin",
        "Service: org.dynuser",
        "(record is locked)",
    ] {
        assert!(user.contains(words), "{words}: {user}");
    }
    let group = shown(&arena, &["userdbctl", "group", "rudel"]);
    for words in [
        "Members: wuff",
        "Description: Dynamic Group",
        "Service: org.dynuser",
    ] {
        assert!(group.contains(words), "{words}: {group}");
    }
    let number = WUFF.to_string();
    for words in [["user", "wuff"], ["user", &number]] {
        let json = arena.run(["userdbctl", "-j", words[0], words[1]]).ok();
        let record: Value = serde_json::from_str(&json).expect("JSON");
        let wanted = json!({
            "userName": "wuff", "uid": WUFF, "gid": WUFF, "realName": "Dynamic User",
            "homeDirectory": "/var/lib/wuff", "shell": "/usr/sbin/nologin", "locked": true,
            "memberOf": ["video", "rudel"], "service": "org.dynuser", "disposition": "dynamic",
        });
        assert_eq!(record, wanted);
    }
    let group: Value =
        serde_json::from_str(&arena.run(["userdbctl", "-j", "group", "wuff"]).ok()).expect("JSON");
    let wanted = json!({
        "groupName": "wuff", "gid": WUFF, "description": "Dynamic Group", "service": "org.dynuser",
        "disposition": "dynamic",
    });
    assert_eq!(group, wanted);
    let pairs = |words: &[&str]| -> Vec<String> {
        let told = shown(&arena, &[&["userdbctl", "--no-legend"], words].concat());
        let lines = told.lines().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.join(" ")
        });
        lines.collect()
    };
    assert_eq!(pairs(&["users-in-group", "rudel"]), ["wuff rudel"]);
    assert_eq!(pairs(&["users-in-group", "video"]), ["wuff video"]);
    assert_eq!(
        pairs(&["groups-of-user", "wuff"]),
        ["wuff rudel", "wuff video"]
    );
    for stranger in ["nobodyhere", "61184"] {
        let output = arena.run(["userdbctl", "user", stranger]);
        assert!(output.stderr.contains("does not exist"), "{output}");
    }
    let all = arena.run(["userdbctl", "--no-legend", "user"]).ok();
    for name in ["wuff", "rudel"] {
        let here = all
            .lines()
            .filter(|line| line.contains(&format!(" {name} ")));
        assert_eq!(here.count(), 1, "{all}");
    }
}

/// Asks as varlink.org describes it: Python alone, so that it says what no client of systemd's does.
const ASK: &str = r#"
import json, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(60)
connection.connect("/run/systemd/userdb/org.dynuser")
connection.sendall(sys.stdin.buffer.read())
connection.shutdown(socket.SHUT_WR)
told = b""
while data := connection.recv(65536):
    told += data
assert told.endswith(b"\0")
replies = [json.loads(reply) for reply in told.split(b"\0")[:-1]]
json.dump(replies, sys.stdout)
"#;

/// All replies to these calls, which are sent at once.
pub(crate) fn ask(arena: &Arena, calls: &[Value]) -> Vec<Value> {
    let bytes: Vec<u8> = calls
        .iter()
        .flat_map(|call| [call.to_string().as_bytes(), &[0]].concat())
        .collect();
    let asked = arena
        .command(["/usr/bin/python3", "-I", "-c", ASK])
        .input(bytes);
    serde_json::from_str(&asked.user(1000).run().ok()).expect("JSON")
}

/// A call of `io.systemd.UserDatabase`.
pub(crate) fn call(method: &str, parameters: Value) -> Value {
    let mut parameters = parameters;
    parameters["service"] = "org.dynuser".into();
    json!({"method": format!("io.systemd.UserDatabase.{method}"), "parameters": parameters})
}

#[test]
fn calls_are_answered_in_their_order_and_only_where_an_answer_is_wanted() {
    let arena = host();
    let _wuff = sleeper(&arena, "wuff", &[]);
    let mut silent = call("GetUserRecord", json!({"userName": "wuff"}));
    silent["oneway"] = true.into();
    let mut upgrade = call("GetUserRecord", json!({"userName": "wuff"}));
    upgrade["upgrade"] = true.into();
    let replies = ask(
        &arena,
        &[
            call("GetUserRecord", json!({"userName": "wuff"})),
            silent,
            call("GetGroupRecord", json!({"gid": WUFF})),
            upgrade,
            call("GetMemberships", json!({"userName": "wuff"})),
            call("GetUserRecord", json!({"userName": "wuff", "uid": 1})),
            call("GetUserRecord", json!({"uidMin": 1})),
            json!({"method": "io.systemd.UserDatabase.GetUserRecord", "parameters": {"service": "a"}}),
            json!({"method": "org.varlink.service.GetInfo"}),
        ],
    );
    let errors: Vec<_> = replies
        .iter()
        .map(|reply| reply["error"].as_str())
        .collect();
    let wanted = [
        None,
        None,
        Some("org.varlink.service.MethodNotImplemented"),
        Some("io.systemd.UserDatabase.NoRecordFound"),
        Some("io.systemd.UserDatabase.ConflictingRecordFound"),
        Some("org.varlink.service.InvalidParameter"),
        Some("io.systemd.UserDatabase.BadService"),
        None,
    ];
    assert_eq!(errors, wanted, "{replies:?}");
    assert_eq!(replies[0]["parameters"]["record"]["userName"], "wuff");
    assert_eq!(replies[1]["parameters"]["record"]["gid"], WUFF);
    assert_eq!(replies[7]["parameters"]["product"], "dynuser");
}

#[test]
fn varlinkctl_understands_the_interfaces_where_systemd_has_it() {
    let arena = host();
    let _wuff = sleeper(&arena, "wuff", &[]);
    let method = "io.systemd.UserDatabase.GetUserRecord";
    let parameters = r#"{"userName":"wuff","service":"org.dynuser"}"#;
    let wanted = ask(
        &arena,
        &[call("GetUserRecord", json!({"userName": "wuff"}))],
    );
    let wanted = &wanted[0]["parameters"];
    assert_eq!(wanted["record"]["uid"], WUFF);
    // systemd has it since 255; with an older one, what it would say is asked above by ourselves.
    if !arena.sh("command -v varlinkctl").status.success() {
        return;
    }
    let said = shown(
        &arena,
        &["varlinkctl", "call", "-j", SOCKET, method, parameters],
    );
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(&said, wanted);
    let interfaces = shown(&arena, &["varlinkctl", "list-interfaces", SOCKET]);
    assert_eq!(interfaces, "io.systemd.UserDatabase\norg.varlink.service\n");
    for interface in interfaces.lines() {
        let words = ["varlinkctl", "introspect", SOCKET, interface];
        assert!(shown(&arena, &words).contains(&format!("interface {interface}\n")));
    }
    assert!(shown(&arena, &["varlinkctl", "info", SOCKET]).contains("dynuser"));
}

#[test]
fn a_dead_daemon_holds_nobody_up() {
    let arena = host();
    unpack_userdbctl(&arena);
    let service = sleeper(&arena, "wuff", &[]);
    arena.kill_daemons();
    // The socket is there, and nobody behind it: nss-systemd is told at once.
    arena.run(["test", "-S", SOCKET]).ok();
    assert_eq!(getent(&arena, "passwd", "wuff"), "");
    assert_eq!(getent(&arena, "passwd", "nobodyhere"), "");
    assert!(arena.run(["userdbctl", "user", "nobody"]).status.success());
    service.stop();
    // The next daemon takes its place.
    let _next = sleeper(&arena, "miau", &[]);
    assert!(getent(&arena, "passwd", "miau").starts_with("miau:x:"));
}
