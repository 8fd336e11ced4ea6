#![allow(clippy::arithmetic_side_effects)]

use proptest::prelude::*;

use super::*;
use crate::config;

const NSSWITCH: &str = "passwd: files dynuser\ngroup: files dynuser\n";

/// A host on which all is well.
fn healthy() -> Facts {
    Facts {
        config: Configured::Valid(Config::default()),
        passwd: Ok(Some("root:x:0:0::/root:/bin/sh\n".into())),
        group: Ok(Some("root:x:0:\n".into())),
        login_defs: Ok(None),
        subuid: Ok(Some("alice:100000:65536\n".into())),
        subgid: Ok(None),
        nsswitch: Ok(Some(NSSWITCH.into())),
        names: NameService {
            module: Some(Module {
                path: "/lib/libnss_dynuser.so.2".into(),
                closed: None,
                fault: None,
            }),
            table_closed: None,
            tried: None,
            cache: None,
            glibc: true,
            musl: false,
            user_database: true,
        },
        leases: Ok(Vec::new()),
        registry: Some(Ok(3)),
        kernel: Kernel {
            release: "6.18.1-x".into(),
            user_namespaces: Some(1000),
            mount_namespaces: Some(1000),
            message_queues: true,
            pidfs: true,
            view: Some(Ok(())),
            landlock: Ok(()),
            mounts: Ok(Some("1 2 0:3 / /proc rw - proc proc rw\n".into())),
            uid_map: Ok(Some("         0          0 4294967295\n".into())),
            gid_map: Ok(Some("0 0 4294967295".into())),
        },
    }
}

fn with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = healthy();
    change(&mut facts);
    facts
}

fn configured(text: &str) -> Configured {
    let files = [("f".to_owned(), format!("[Manager]\n{text}"))];
    Configured::Valid(config::parse(&files).expect("a configuration"))
}

fn text(text: &str) -> Text {
    Ok(Some(text.into()))
}

/// The findings that are not ok, as text.
fn trouble(facts: &Facts) -> Vec<String> {
    findings(facts)
        .into_iter()
        .filter(|finding| finding.severity != Severity::Ok)
        .map(|it| {
            let help = it.help.unwrap_or_default();
            format!("{} {}: {} -> {help}", it.severity, it.subject, it.text)
        })
        .collect()
}

/// Checks that there is one finding, with all these words.
#[track_caller]
fn one(facts: &Facts, words: &[&str]) {
    let found = trouble(facts);
    assert_eq!(found.len(), 1, "{found:?}");
    for word in words {
        assert!(found.concat().contains(word), "{word}: {found:?}");
    }
}

#[test]
fn a_healthy_host_has_no_trouble() {
    assert_eq!(trouble(&healthy()), Vec::<String>::new());
    let found = findings(&healthy());
    assert_eq!(worst(&found), Severity::Ok);
    assert!(found.len() >= 5, "what was looked at is told: {found:?}");
    // Nothing is a fault of files that are not there, but that nobody has a name.
    let empty = with(|facts| {
        facts.passwd = Ok(None);
        facts.group = Ok(None);
        facts.subuid = Ok(None);
        facts.registry = None;
    });
    assert_eq!(trouble(&empty), Vec::<String>::new());
}

#[test]
fn a_wrong_configuration_is_told_in_full() {
    let facts = with(|facts| {
        facts.config = Configured::Wrong(vec!["/etc/a:3: b".into(), "/etc/a:4: c".into()]);
        facts.passwd = text("human:x:61500:100::/:/bin/sh");
    });
    let found = trouble(&facts);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("error configuration: /etc/a:3: b"))
    );
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("error configuration: /etc/a:4: c"))
    );
    assert!(
        found
            .concat()
            .contains("note configuration: the ranges are not known")
    );
    let facts = with(|facts| facts.config = Configured::NotReadable("denied".into()));
    one(&facts, &["note", "denied", "as root"]);
}

#[test]
fn accounts_in_the_ranges_are_named_and_exclusions_cure_it() {
    let passwd = "a:x:61500:100::/:/bin/sh\nb:x:1000:61501::/:/bin/sh\nc:x:61502:61502::/:/\nd:x:70000:5::/:/\n";
    let facts = with(|facts| facts.passwd = text(passwd));
    one(
        &facts,
        &[
            "warning /etc/passwd",
            "a (61500), b (61501), c (61502)",
            "UIDExclude=61500-61502 ",
        ],
    );
    let facts = with(|facts| {
        facts.passwd = text(passwd);
        facts.config = configured("UIDExclude=61500-61502");
    });
    assert_eq!(trouble(&facts), Vec::<String>::new());
    let facts = with(|facts| facts.group = text("g:x:61184:a,b\n"));
    one(
        &facts,
        &["warning /etc/group", "g (61184)", "UIDExclude=61184 "],
    );
    let many: String = (0..9)
        .map(|n| format!("u{n}:x:{}:0::/:/\n", 61200 + n * 2))
        .collect();
    let facts = with(|facts| facts.passwd = text(&many));
    one(&facts, &["u4 (61208) and 4 more", "61200 61202"]);
}

#[test]
fn delegated_numbers_are_an_error_and_root_s_a_warning() {
    let facts = with(|facts| facts.subuid = text("# x\nalice:60000:2000\nbob:100000:65536\n"));
    one(
        &facts,
        &[
            "error /etc/subuid:2",
            "61184-61999",
            "alice",
            "UIDExclude=61184-61999 ",
        ],
    );
    let facts = with(|facts| facts.subgid = text("root:65519:65536"));
    one(&facts, &["warning /etc/subgid:1", "65519 are"]);
    for nonsense in [
        "alice",
        "alice:1",
        "alice:a:b",
        "alice:61184:0",
        ":::",
        "alice:99999999999:5",
    ] {
        let facts = with(|facts| facts.subuid = text(nonsense));
        assert_eq!(trouble(&facts), Vec::<String>::new(), "{nonsense}");
    }
    let facts = with(|facts| facts.subuid = text("alice:61184:4294967295"));
    one(&facts, &["61184-65519"]);
}

#[test]
fn login_defs_and_its_defaults_are_compared() {
    let facts =
        with(|facts| facts.login_defs = text("UID_MAX 61299\n# UID_MAX 70000\nGID_MAX\t0xEE00\n"));
    one(
        &facts,
        &[
            "warning /etc/login.defs",
            "61184-61299",
            "people",
            "UID_MIN to UID_MAX: 1000-61299",
        ],
    );
    let facts = with(|facts| {
        facts.login_defs = text("UID_MAX 61299\n");
        facts.config = configured("UIDExclude=61184-61299");
    });
    assert_eq!(trouble(&facts), Vec::<String>::new());
    let facts = with(|facts| facts.login_defs = text("GID_MAX 61184\nGID_MAX 60000\nUID_MAX x1\n"));
    one(&facts, &["/etc/login.defs:3", "\"x1\""]);
    let facts = with(|facts| facts.config = configured("UIDRange=900-1000"));
    assert_eq!(
        trouble(&facts).len(),
        4,
        "the defaults: people and services, users and groups"
    );
    let facts = with(|facts| facts.config = configured("UIDRange=100000-100010"));
    assert_eq!(
        trouble(&facts).len(),
        3,
        "SUB_UID, SUB_GID, and alice's own"
    );
    let facts = with(|facts| {
        facts.config = configured("UIDRange=200000-200010");
        facts.login_defs = text("SUB_UID_COUNT 0\nSUB_GID_MIN 300000");
    });
    assert_eq!(trouble(&facts), Vec::<String>::new());
}

#[test]
fn ranges_of_systemd_are_compared() {
    let facts = with(|facts| {
        facts.config = configured("UIDRange=1879048191-1879048192");
    });
    one(&facts, &["warning ranges", "1879048191 are", "nspawn"]);
}

mod name_service;

#[test]
fn leases_that_are_stuck_are_named_with_what_frees_them() {
    let lease = |uid, name: &str, quarantined: Option<&str>| LeaseFact {
        uid,
        lease: Ok(LeaseState {
            name: name.into(),
            dynamic: true,
            quarantined: quarantined.map(String::from),
        }),
    };
    let facts = with(|facts| {
        let damaged = LeaseFact {
            uid: 61300,
            lease: Err("EOF".into()),
        };
        let stuck = lease(61200, "b", Some("process 7 (sleep)"));
        facts.leases = Ok(vec![lease(61199, "a", None), stuck, damaged]);
    });
    let found = trouble(&facts);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found
            .concat()
            .contains("process 7 (sleep) -> remove the reason, then: dynuser release b")
    );
    assert!(found.concat().contains("error /run/dynuser/leases/61300"));
    let facts = with(|facts| facts.leases = Ok(vec![lease(70000, "far", None)]));
    one(&facts, &["note user far (70000)", "until the lease ends"]);
    let facts = with(|facts| facts.registry = Some(Err("is damaged".into())));
    one(&facts, &["warning registry", "is damaged"]);
}

#[test]
fn a_kernel_that_refuses_is_told_before_a_start_is() {
    let judge = |change: fn(&mut Kernel)| trouble(&with(|facts| change(&mut facts.kernel)));
    for (change, word) in [
        (
            (|kernel| kernel.release = "5.11.0".into()) as fn(&mut Kernel),
            "error kernel",
        ),
        (
            |kernel| kernel.mount_namespaces = Some(0),
            "error user.max_mnt_namespaces",
        ),
        (
            |kernel| kernel.user_namespaces = Some(0),
            "warning user.max_user_namespaces",
        ),
        (|kernel| kernel.message_queues = false, "note kernel"),
        (|kernel| kernel.pidfs = false, "note kernel"),
        (
            |kernel| {
                kernel.mounts = text(
                    "1 2 0:3 / /proc rw - proc proc rw\n1 2 0:3 / /proc rw - proc proc rw,hidepid=invisible",
                )
            },
            "note /proc",
        ),
    ] {
        let found = judge(change);
        assert!(
            found.len() == 1 && found.concat().starts_with(word),
            "{word}: {found:?}"
        );
    }
    for fine in ["5.12", "6.0-rc1", "10.1.2", "strange", ""] {
        let facts = with(|facts| facts.kernel.release = fine.into());
        assert_eq!(trouble(&facts), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn numbers_that_a_user_namespace_lacks_are_told() {
    let facts = with(|facts| facts.kernel.uid_map = text("0 100000 61200\n65519 7 1"));
    one(
        &facts,
        &[
            "error /proc/self/uid_map",
            "61200-65518 do not exist",
            "UIDExclude=61200-65518 ",
        ],
    );
    let container = "0 100000 1000\n1000 1000 1\n1001 200000 64535\n";
    let facts = with(|facts| facts.kernel.gid_map = text(container));
    assert_eq!(trouble(&facts), Vec::<String>::new());
    let facts = with(|facts| facts.kernel.gid_map = text("0 0 x\n0\n\n0 0 0\n"));
    one(&facts, &["error /proc/self/gid_map", "61184-65519 do not"]);
}

#[test]
fn files_that_cannot_be_read_are_told() {
    let broken = || Err(String::from("Input/output error"));
    let facts = with(|facts| {
        facts.passwd = broken();
        facts.group = broken();
        facts.login_defs = broken();
        facts.subuid = broken();
        facts.subgid = broken();
        facts.nsswitch = broken();
        facts.leases = Err("Input/output error".into());
        facts.kernel.mounts = broken();
        facts.kernel.uid_map = broken();
    });
    assert_eq!(trouble(&facts).len(), 9);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_content_has_findings_and_no_panic(
        files in prop::collection::vec("([a-z]{0,3}|[0-9]{0,11}|[:\\[\\]=#! \t\n\"-]|UID_MAX |SUB_UID_MIN |\
            passwd: |group: |dynuser|notfound=return|61200|/proc| - |hidepid=2|\\PC){0,30}", 9),
    ) {
        let text = |at: usize| Ok(files.get(at).cloned());
        let facts = with(|facts| {
            facts.passwd = text(0);
            facts.group = text(1);
            facts.login_defs = text(2);
            facts.subuid = text(3);
            facts.subgid = text(4);
            facts.nsswitch = text(5);
            facts.kernel.mounts = text(6);
            facts.kernel.uid_map = text(8);
            facts.kernel.release = files.get(7).cloned().unwrap_or_default();
        });
        prop_assert!(findings(&facts).len() >= 4);
    }
}
