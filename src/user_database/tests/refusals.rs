//! What is not answered with a record.

use super::*;

#[test]
fn who_is_not_there_is_not_found() {
    for (asked, error) in [
        (json!({"userName": "wuff"}), "NoRecordFound"),
        (json!({"userName": ""}), "NoRecordFound"),
        (json!({"userName": "../web"}), "NoRecordFound"),
        (json!({"userName": "we\u{0}b"}), "NoRecordFound"),
        (json!({"userName": "61200"}), "NoRecordFound"),
        (json!({"uid": 0}), "NoRecordFound"),
        (json!({"uid": 61202}), "NoRecordFound"),
        (json!({"uid": 1, "userName": "wuff"}), "NoRecordFound"),
        (
            json!({"uid": 61200, "userName": "wuff"}),
            "ConflictingRecordFound",
        ),
        (
            json!({"uid": 61201, "userName": "web"}),
            "ConflictingRecordFound",
        ),
        (
            json!({"uid": 1, "userName": "web"}),
            "ConflictingRecordFound",
        ),
    ] {
        let replies = ask("GetUserRecord", asked.clone(), true);
        let error = format!("io.systemd.UserDatabase.{error}");
        assert_eq!(
            replies,
            [json!({"error": error, "parameters": {}})],
            "{asked}"
        );
    }
}

#[test]
fn what_is_wrong_with_a_parameter_is_said_by_its_name() {
    let long = "a".repeat(255);
    for (asked, name) in [
        (json!({"uid": -1}), "uid"),
        (json!({"uid": 65535}), "uid"),
        (json!({"uid": 4_294_967_295_u32}), "uid"),
        (json!({"uid": 4_294_967_296_u64}), "uid"),
        (json!({"uid": 1.5}), "uid"),
        (json!({"uid": 1e300}), "uid"),
        (json!({"uid": "61200"}), "uid"),
        (json!({"uid": [61200]}), "uid"),
        (json!({"uid": {"a": {"b": []}}}), "uid"),
        (json!({"uid": true}), "uid"),
        (json!({"userName": 5}), "userName"),
        (json!({"gid": 61200}), "gid"),
        (
            json!({"userName": "web", "fuzzyNames": ["x"]}),
            "fuzzyNames",
        ),
        (json!({"uidMin": 1, "userName": "web"}), "uidMin"),
        (json!({"dispositionMask": ["dynamic"]}), "dispositionMask"),
        (json!({&long: 1}), &long),
    ] {
        let replies = ask("GetUserRecord", asked.clone(), false);
        let error = "org.varlink.service.InvalidParameter";
        let wanted = json!({"error": error, "parameters": {"parameter": name}});
        assert_eq!(replies, [wanted], "{asked}");
    }
}

#[test]
fn the_service_is_named_in_every_call() {
    for method in ["GetUserRecord", "GetGroupRecord", "GetMemberships"] {
        for (service, error) in [
            (
                json!("io.systemd.DynamicUser"),
                "io.systemd.UserDatabase.BadService",
            ),
            (json!(""), "io.systemd.UserDatabase.BadService"),
            (json!(null), "org.varlink.service.InvalidParameter"),
            (json!(7), "org.varlink.service.InvalidParameter"),
        ] {
            let method = format!("io.systemd.UserDatabase.{method}");
            let call = json!({"method": method, "parameters": {"service": service}});
            assert_eq!(refused(&call.to_string(), &known()).0, error);
            let without = json!({"method": method}).to_string();
            let (error, parameters) = refused(&without, &known());
            assert_eq!(error, "org.varlink.service.InvalidParameter");
            assert_eq!(parameters, json!({"parameter": "service"}));
        }
    }
}

#[test]
fn a_table_that_cannot_be_read_is_never_an_empty_one() {
    let table = Known {
        broken: true,
        ..known()
    };
    for (method, asked) in [
        ("GetUserRecord", json!({"userName": "web"})),
        ("GetUserRecord", json!({"uid": 61200})),
        ("GetUserRecord", json!({})),
        ("GetGroupRecord", json!({"groupName": "web"})),
        ("GetMemberships", json!({})),
        ("GetMemberships", json!({"userName": "web"})),
        ("GetMemberships", json!({"groupName": "video"})),
    ] {
        let method = format!("io.systemd.UserDatabase.{method}");
        let mut parameters = asked;
        parameters["service"] = SERVICE.into();
        let call = json!({"method": method, "parameters": parameters, "more": true});
        let (error, _) = refused(&call.to_string(), &table);
        assert_eq!(error, "io.systemd.UserDatabase.ServiceNotAvailable");
    }
}

#[test]
fn methods_that_are_not_there_are_refused_as_varlink_has_it() {
    for (method, error, key) in [
        ("io.systemd.UserDatabase.Foo", "MethodNotFound", "method"),
        ("org.varlink.service.Foo", "MethodNotFound", "method"),
        ("foo", "MethodNotFound", "method"),
        ("", "MethodNotFound", "method"),
    ] {
        let call = json!({"method": method}).to_string();
        let (told, parameters) = refused(&call, &known());
        assert_eq!(told, format!("org.varlink.service.{error}"));
        assert_eq!(parameters, json!({key: method}));
    }
    let call = json!({"method": "io.systemd.Foo.Bar"}).to_string();
    let (told, parameters) = refused(&call, &known());
    assert_eq!(told, "org.varlink.service.InterfaceNotFound");
    assert_eq!(parameters, json!({"interface": "io.systemd.Foo"}));
    let call = json!({"method": "org.varlink.service.GetInfo", "upgrade": true}).to_string();
    let (told, _) = refused(&call, &known());
    assert_eq!(told, "org.varlink.service.MethodNotImplemented");
}
