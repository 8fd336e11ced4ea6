use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod refusals;

/// Users and groups of the host that are known.
#[derive(Default)]
struct Known {
    users: Vec<Record>,
    groups: Vec<(u32, &'static str)>,
    broken: bool,
}

impl Known {
    fn look<T>(&self, found: T) -> Result<T, Unavailable> {
        if self.broken {
            Err(Unavailable)
        } else {
            Ok(found)
        }
    }
}

impl Table for Known {
    fn by_name(&self, name: &str) -> Result<Option<Record>, Unavailable> {
        self.look(self.users.iter().find(|it| it.name == name).cloned())
    }

    fn by_uid(&self, uid: u32) -> Result<Option<Record>, Unavailable> {
        self.look(self.users.iter().find(|it| it.uid == uid).cloned())
    }

    fn uids(&self) -> Result<Vec<u32>, Unavailable> {
        self.look(self.users.iter().map(|it| it.uid).collect())
    }

    fn host_group_name(&self, gid: u32) -> Option<String> {
        let found = self.groups.iter().find(|(number, _)| *number == gid);
        found.map(|(_, name)| (*name).into())
    }

    fn host_group_number(&self, name: &str) -> Option<u32> {
        let found = self.groups.iter().find(|(_, it)| *it == name);
        found.map(|(number, _)| *number)
    }
}

fn user(name: &str, uid: u32, home: &str, groups: &[u32], members: &[&str]) -> Record {
    Record::new(
        name,
        uid,
        Some(home.into()),
        groups,
        members.iter().copied(),
    )
}

/// Three services: two of them in the group of the third, one in groups of the host as well.
fn known() -> Known {
    Known {
        users: vec![
            user("web", 61200, "/var/lib/web", &[44, 61300, 999], &[]),
            user("api", 61201, "/", &[61300], &[]),
            user("data", 61300, "/var/lib/data", &[], &["api", "web"]),
        ],
        groups: vec![(44, "video"), (45, "odd:name"), (46, "empty")],
        broken: false,
    }
}

/// All replies to a message, as a client reads them.
fn replies(message: &str, table: &Known) -> Vec<Value> {
    let call = Call::parse(message.as_bytes()).expect("a call");
    let messages = match answer(call, table) {
        Answer::Silence => vec![],
        Answer::Message(message) => vec![message],
        Answer::Listing(mut listing) => {
            let mut messages = Vec::new();
            loop {
                match listing.step(table).told() {
                    None => {}
                    Some((message, true)) => {
                        messages.push(message);
                        break messages;
                    }
                    Some((message, false)) => messages.push(message),
                }
            }
        }
    };
    let read = messages.iter().map(|message| {
        let (end, json) = message.split_last().expect("a message");
        assert_eq!(*end, 0);
        serde_json::from_slice(json).expect("JSON")
    });
    read.collect()
}

fn ask(method: &str, parameters: Value, more: bool) -> Vec<Value> {
    let method = format!("io.systemd.UserDatabase.{method}");
    let mut parameters = parameters;
    parameters["service"] = SERVICE.into();
    let call = json!({"method": method, "parameters": parameters, "more": more});
    replies(&call.to_string(), &known())
}

/// The only reply: an error and what it is about.
fn refused(message: &str, table: &Known) -> (String, Value) {
    let replies = replies(message, table);
    let [reply] = replies.as_slice() else {
        panic!("{message}: {replies:?}");
    };
    let error = reply["error"].as_str().unwrap_or_default();
    (error.into(), reply["parameters"].clone())
}

const WEB: &str = r#"{"userName":"web","uid":61200,"gid":61200,"realName":"Dynamic User","homeDirectory":"/var/lib/web","shell":"/usr/sbin/nologin","locked":true,"memberOf":["video","data"],"service":"org.dynuser","disposition":"dynamic"}"#;

#[test]
fn a_user_is_found_by_name_by_number_and_by_both() {
    let record: Value = serde_json::from_str(WEB).expect("JSON");
    for asked in [
        json!({"userName": "web"}),
        json!({"uid": 61200}),
        json!({"uid": 61200.0}),
        json!({"uid": 61200, "userName": "web"}),
        json!({"uid": null, "userName": "web"}),
    ] {
        for more in [false, true] {
            let wanted = json!({"parameters": {"record": record}});
            assert_eq!(ask("GetUserRecord", asked.clone(), more), [wanted]);
        }
    }
}

#[test]
fn a_group_is_its_users_and_has_its_members() {
    let record = json!({
        "groupName": "data", "gid": 61300, "description": "Dynamic Group", "members": ["api", "web"],
        "service": "org.dynuser", "disposition": "dynamic",
    });
    for asked in [json!({"groupName": "data"}), json!({"gid": 61300})] {
        let wanted = json!({"parameters": {"record": record}});
        assert_eq!(ask("GetGroupRecord", asked, false), [wanted]);
    }
    let replies = ask("GetGroupRecord", json!({"gid": 61201}), false);
    assert_eq!(replies[0]["parameters"]["record"].get("members"), None);
}

#[test]
fn all_are_listed_for_those_who_take_more_than_one_reply() {
    for (method, key) in [
        ("GetUserRecord", "userName"),
        ("GetGroupRecord", "groupName"),
    ] {
        let replies = ask(method, json!({}), true);
        let told: Vec<_> = replies
            .iter()
            .map(|it| (&it["parameters"]["record"][key], it.get("continues")))
            .collect();
        let yes = json!(true);
        let wanted = [
            (&json!("web"), Some(&yes)),
            (&json!("api"), Some(&yes)),
            (&json!("data"), None),
        ];
        assert_eq!(told, wanted);
        let replies = ask(method, json!({}), false);
        assert_eq!(replies[0]["error"], "org.varlink.service.ExpectedMore");
        assert_eq!(replies.len(), 1);
    }
}

#[test]
fn one_alone_is_told_to_everybody_and_nobody_is_no_record() {
    let mut table = known();
    table.users.truncate(1);
    let call = |more: bool| {
        let method = "io.systemd.UserDatabase.GetUserRecord";
        json!({"method": method, "parameters": {"service": SERVICE}, "more": more}).to_string()
    };
    for more in [false, true] {
        let told = replies(&call(more), &table);
        assert_eq!(told[0]["parameters"]["record"]["userName"], "web");
        assert_eq!((told.len(), told[0].get("continues")), (1, None));
        let (error, _) = refused(&call(more), &Known::default());
        assert_eq!(error, "io.systemd.UserDatabase.NoRecordFound");
    }
}

#[test]
fn memberships_are_pairs_of_names() {
    let pairs = |parameters: Value| -> Vec<String> {
        let replies = ask("GetMemberships", parameters, true);
        let last = replies.last().expect("a reply");
        assert_eq!(last.get("continues"), None);
        let told = replies.iter().map(|reply| match reply.get("error") {
            Some(error) => error.to_string(),
            None => {
                let names = &reply["parameters"];
                format!("{} in {}", names["userName"], names["groupName"]).replace('"', "")
            }
        });
        told.collect()
    };
    // The number 999 has no name here.
    let all = ["web in video", "web in data", "api in data"];
    assert_eq!(pairs(json!({})), all);
    assert_eq!(pairs(json!({"userName": "web"})), all[..2]);
    assert_eq!(
        pairs(json!({"userName": "web", "groupName": "data"})),
        all[1..2]
    );
    assert_eq!(pairs(json!({"groupName": "video"})), all[..1]);
    assert_eq!(
        pairs(json!({"groupName": "data"})),
        ["api in data", "web in data"]
    );
    let none = ["\"io.systemd.UserDatabase.NoRecordFound\""];
    for nothing in [
        json!({"userName": "data"}),
        json!({"userName": "nobody"}),
        json!({"userName": "api", "groupName": "video"}),
        json!({"groupName": "empty"}),
        json!({"groupName": "api"}),
        json!({"groupName": "odd:name"}),
        json!({"groupName": "unknown"}),
        json!({"groupName": ""}),
    ] {
        assert_eq!(pairs(nothing.clone()), none, "{nothing}");
    }
}

#[test]
fn it_describes_itself() {
    let info = replies(r#"{"method":"org.varlink.service.GetInfo"}"#, &known());
    let interfaces = &info[0]["parameters"]["interfaces"];
    assert_eq!(
        interfaces,
        &json!(["io.systemd.UserDatabase", "org.varlink.service"])
    );
    for interface in interfaces.as_array().expect("a list") {
        let method = "org.varlink.service.GetInterfaceDescription";
        let call = json!({"method": method, "parameters": {"interface": interface}}).to_string();
        let told = replies(&call, &known());
        let text = told[0]["parameters"]["description"].as_str().expect("text");
        let name = interface.as_str().expect("text");
        assert!(text.contains(&format!("\ninterface {name}\n")), "{text}");
    }
    let call = r#"{"method":"org.varlink.service.GetInterfaceDescription","parameters":{"interface":"x"}}"#;
    let (error, parameters) = refused(call, &known());
    assert_eq!(error, "org.varlink.service.InterfaceNotFound");
    assert_eq!(parameters, json!({"interface": "x"}));
}

#[test]
fn who_wants_no_reply_gets_none() {
    for method in ["GetUserRecord", "Foo"] {
        let method = format!("io.systemd.UserDatabase.{method}");
        let call = json!({"method": method, "oneway": true}).to_string();
        assert_eq!(replies(&call, &known()), [] as [Value; 0]);
    }
}

#[test]
fn a_home_that_systemd_would_not_take_is_the_root() {
    for (home, told) in [
        ("/var/lib/web", "/var/lib/web"),
        ("/var/lib/w\u{e4}b x", "/var/lib/w\u{e4}b x"),
        ("/var//lib", "/"),
        ("/var/../etc", "/"),
        ("/var/./lib", "/"),
        ("/var/", "/"),
        ("/", "/"),
    ] {
        let mut table = known();
        table.users = vec![user("web", 61200, home, &[], &[])];
        let method = "io.systemd.UserDatabase.GetUserRecord";
        let call = json!({"method": method, "parameters": {"service": SERVICE, "uid": 61200}});
        let replies = replies(&call.to_string(), &table);
        let record = &replies[0]["parameters"]["record"];
        assert_eq!(record["homeDirectory"], told, "{home}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_call_or_none(bytes: Vec<u8>) {
        if let Ok(call) = Call::parse(&bytes) {
            drop(answer(call, &known()));
        }
    }

    #[test]
    fn whatever_is_asked_is_answered(
        method in "(io\\.systemd\\.UserDatabase\\.Get(User|Group)Record|io\\.systemd\\.UserDatabase\\.GetMemberships|org\\.varlink\\.service\\.GetI[a-z]{3}|\\PC{0,40})",
        keys in proptest::collection::btree_set("(uid|gid|userName|groupName|interface|\\PC{1,5})", 0..4),
        value in "(null|[0-9.e-]{1,4}|\"(web|data|video|\\PC{0,5})\"|\\[\\]|612[0-9]{2})",
        more: bool,
        service: bool,
    ) {
        let mut parameters = serde_json::Map::new();
        for key in keys {
            parameters.insert(key, serde_json::from_str(&value).unwrap_or(Value::Null));
        }
        if service {
            parameters.insert("service".into(), SERVICE.into());
        }
        let call = json!({"method": method, "parameters": parameters, "more": more}).to_string();
        let replies = replies(&call, &known());
        let (last, others) = replies.split_last().expect("an answer");
        prop_assert!(others.iter().all(|it| it["continues"] == true && it.get("error").is_none()));
        prop_assert!(last.get("continues").is_none() && last["parameters"].is_object());
        prop_assert!(more || others.is_empty());
    }
}

#[test]
fn the_socket_is_there_where_systemd_is_unless_told_otherwise() {
    for (value, wanted) in [
        ("", Wanted::Auto),
        ("auto", Wanted::Auto),
        ("yes", Wanted::Yes),
        ("no", Wanted::No),
    ] {
        assert_eq!(Wanted::parse(value), Ok(wanted));
    }
    for value in ["1", "Yes", "maybe", " "] {
        assert!(Wanted::parse(value).is_err(), "{value}");
    }
}
