//! Plans as text: what is decided for a request on a host, kept as it was read and found right.
//!
//! When a plan changes on purpose, the test prints the new one; read it before it goes to the file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};

use dynuser::exec_directory::Kind;
use dynuser::failure::{Failure, Stage};
use dynuser::observed::{Asks, Entry, Module, Observed};
use dynuser::plan::{self, Action, Adopter, Identity, Plan, Step};
use dynuser::request::Request;
use dynuser::spec::Spec;
use dynuser::uid::Uid;

/// A host on which nothing of ours exists yet.
fn fresh(spec: &Spec) -> Observed {
    Observed {
        entries: plan::questions(spec)
            .into_iter()
            .map(|path| (path, Entry::Nothing))
            .collect(),
        writable_mounts: ["/dev", "/dev/pts", "/dev/shm", "/proc", "/sys"]
            .map(PathBuf::from)
            .into(),
        temporary: vec!["/tmp".into(), "/var/tmp".into()],
        ..Observed::default()
    }
}

fn directory(owner: (u32, u32), mode: u32, empty: bool) -> Entry {
    Entry::Directory {
        uid: owner.0,
        gid: owner.1,
        mode,
        empty,
        mount_point: false,
    }
}

fn spec(properties: &[(&str, &str)]) -> Spec {
    let properties = properties
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    Spec::check(&Request {
        service: "wuff".into(),
        properties: properties.collect(),
    })
    .expect("a good request")
}

fn dynamic() -> Identity {
    Identity {
        user: "wuff".into(),
        uid: Uid::new(63102).expect("a number for a service"),
        gid: 63102,
        dynamic: true,
        groups: vec![63102],
        home: None,
        group_name: Some("wuff".into()),
        invocation: "0123456789abcdef0123456789abcdef".into(),
    }
}

fn whole(spec: &Spec, identity: &Identity, observed: &Observed, plan: &Plan) -> String {
    let mut text = plan.to_string();
    let adopter = Adopter {
        uid: identity.uid.get(),
        gid: identity.gid,
        groups: identity.groups.clone(),
        has_namespaces: !plan.namespace.is_empty(),
        confined: spec.is_dynamic(),
        ..Adopter::default()
    };
    for step in plan::adoption(&adopter, spec.settings()) {
        text.push_str(&format!("{step}\n"));
    }
    for (name, value) in plan::environment(spec, identity, observed) {
        text.push_str(&format!("{name}={value}\n"));
    }
    text
}

#[track_caller]
fn is_golden(name: &str, spec: &Spec, identity: &Identity, observed: &Observed) {
    let plan = plan::plan(spec, identity, observed).expect("a plan");
    let text = whole(spec, identity, observed, &plan);
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
        return;
    }
    assert!(text == golden, "{} should say:\n{text}", path.display());
}

#[track_caller]
fn refusal(spec: &Spec, observed: &Observed) -> Failure {
    plan::plan(spec, &dynamic(), observed).expect_err("a refusal")
}

#[test]
fn a_newcomer_s_first_state_directory() {
    let spec = spec(&[("StateDirectory", "wuff")]);
    is_golden(
        "first-state-directory.txt",
        &spec,
        &dynamic(),
        &fresh(&spec),
    );
}

#[test]
fn services_without_a_view_of_their_own() {
    for level in ["landlock", "identity"] {
        let mut properties = vec![
            ("Sandbox", level),
            ("StateDirectory", "wuff"),
            ("RuntimeDirectory", "wuff"),
            ("StateDirectoryMode", "0755"),
        ];
        if level == "landlock" {
            properties.push(("ReadWritePaths", "/srv"));
        }
        let spec = spec(&properties);
        let name = format!("sandbox-{level}.txt");
        is_golden(&name, &spec, &dynamic(), &fresh(&spec));
    }
}

/// Somebody without a view of his own may pass the boundary: the directory behind it is closed by its mode.
#[test]
fn a_boundary_that_others_pass_keeps_nobody_out() {
    let spec = spec(&[("StateDirectory", "wuff")]);
    let mut observed = fresh(&spec);
    let boundary = String::from("/var/lib/private");
    observed
        .entries
        .insert(boundary.clone(), directory((0, 0), 0o700, false));
    observed.searchers.insert(boundary, vec![61200]);
    let failure = refusal(&spec, &observed);
    assert!(
        failure
            .to_string()
            .contains("setfacl -x u:61200 /var/lib/private"),
        "{failure}"
    );
    observed.leased_searchers.insert(61200);
    let plan = plan::plan(&spec, &dynamic(), &observed).expect("a plan");
    let made = "make-directory /var/lib/private/wuff mode 0700 owner 63102:63102\n";
    assert!(plan.to_string().contains(made), "{plan}");
}

#[test]
fn a_second_start_makes_nothing_and_gives_nothing_away() {
    let spec = spec(&[("StateDirectory", "wuff")]);
    let mut observed = fresh(&spec);
    let entries = &mut observed.entries;
    entries.insert("/var/lib/private".into(), directory((0, 0), 0o700, false));
    entries.insert(
        "/var/lib/private/wuff".into(),
        directory((63102, 63102), 0o755, false),
    );
    entries.insert("/var/lib/wuff".into(), Entry::Link("private/wuff".into()));
    is_golden("second-start.txt", &spec, &dynamic(), &observed);
}

#[test]
fn a_tree_of_somebody_else_is_shown_through_a_mapping() {
    let spec = spec(&[("StateDirectory", "wuff"), ("CacheDirectory", "wuff")]);
    let mut observed = fresh(&spec);
    let entries = &mut observed.entries;
    entries.insert("/var/lib/private".into(), directory((0, 0), 0o700, false));
    entries.insert(
        "/var/lib/private/wuff".into(),
        directory((65534, 65534), 0o700, false),
    );
    entries.insert("/var/lib/wuff".into(), Entry::Link("private/wuff".into()));
    observed.name_service.module = Module::At("/usr/lib/libnss_dynuser.so.2".into());
    observed.name_service.program = Asks::Module;
    is_golden("foreign-owner.txt", &spec, &dynamic(), &observed);
}

#[test]
fn every_kind_with_modes_and_nesting() {
    let spec = spec(&[
        ("RuntimeDirectory", "foo"),
        ("StateDirectory", "foo foo/inner a/b"),
        ("CacheDirectory", "foo"),
        ("LogsDirectory", "foo"),
        ("StateDirectoryMode", "0750"),
        ("LogsDirectoryMode", "0700"),
        ("WorkingDirectory", "/var/lib/foo"),
        ("Environment", "A=1 HOME=/elsewhere"),
    ]);
    let mut observed = fresh(&spec);
    observed.secrets = vec!["/run/credentials".into()];
    observed.split_usr = true;
    is_golden("every-kind.txt", &spec, &dynamic(), &observed);
}

#[test]
fn a_user_whom_the_host_has_anyway() {
    let spec = spec(&[("RuntimeDirectory", "wuff")]);
    let identity = Identity {
        uid: Uid::new(8).expect("a number for a service"),
        gid: 12,
        dynamic: false,
        groups: vec![12, 20],
        home: Some("/var/mail".into()),
        ..dynamic()
    };
    is_golden("static-user.txt", &spec, &identity, &fresh(&spec));
}

#[test]
fn a_boundary_that_is_not_root_s_alone_is_refused_and_left() {
    for kind in [Kind::State, Kind::Cache, Kind::Logs] {
        let property = match kind {
            Kind::State => "StateDirectory",
            Kind::Cache => "CacheDirectory",
            _ => "LogsDirectory",
        };
        let spec = spec(&[(property, "wuff")]);
        let boundary = kind.boundary().expect("a boundary");
        for bad in [
            directory((0, 0), 0o755, true),
            directory((0, 0), 0o710, true),
            directory((0, 0), 0o701, true),
            directory((1000, 0), 0o700, true),
            directory((0, 1000), 0o700, true),
            Entry::Link("elsewhere".into()),
            Entry::Other,
        ] {
            let mut observed = fresh(&spec);
            observed.entries.insert(boundary.into(), bad);
            let failure = refusal(&spec, &observed);
            assert_eq!(failure.stage, kind.stage());
            assert!(failure.to_string().contains(boundary), "{failure}");
        }
    }
}

#[test]
fn what_is_in_the_way_is_named_and_left() {
    let spec = spec(&[("StateDirectory", "a/b"), ("RuntimeDirectory", "r")]);
    for (path, entry, stage) in [
        ("/var/lib/a/b", Entry::Other, Stage::StateDirectory),
        (
            "/var/lib/a/b",
            Entry::Link("/etc".into()),
            Stage::StateDirectory,
        ),
        (
            "/var/lib/a/b",
            Entry::Link("private/a/b".into()),
            Stage::StateDirectory,
        ),
        (
            "/var/lib/private/a/b",
            Entry::Link("/etc".into()),
            Stage::StateDirectory,
        ),
        // A parent that a service owns could turn into a link at any time.
        (
            "/var/lib/private/a",
            directory((61200, 61200), 0o755, false),
            Stage::StateDirectory,
        ),
        (
            "/var/lib/private/a",
            directory((0, 0), 0o775, false),
            Stage::StateDirectory,
        ),
        (
            "/var/lib/private/a",
            Entry::Link("b".into()),
            Stage::StateDirectory,
        ),
        (
            "/var/lib/a",
            Entry::Link("private/a".into()),
            Stage::StateDirectory,
        ),
        (
            "/run/r",
            directory((61200, 61200), 0o755, true),
            Stage::RuntimeDirectory,
        ),
        (
            "/run/r",
            directory((0, 0), 0o755, false),
            Stage::RuntimeDirectory,
        ),
        (
            "/run/r",
            Entry::Link("/etc".into()),
            Stage::RuntimeDirectory,
        ),
    ] {
        let mut observed = fresh(&spec);
        observed.entries.insert(path.into(), entry.clone());
        let failure = refusal(&spec, &observed);
        assert_eq!(failure.stage, stage, "{path} {entry:?}");
        assert!(failure.to_string().contains(path), "{failure}");
    }
}

/// Everything about one state directory but the steps of a sandbox, which other files tell.
fn moves(entries: &[(&str, Entry)], dynamic_user: bool, change: impl Fn(&mut Observed)) -> String {
    let spec = match dynamic_user {
        true => spec(&[("StateDirectory", "a:link")]),
        false => spec(&[
            ("StateDirectory", "a:link"),
            ("DynamicUser", "no"),
            ("User", "daemon"),
        ]),
    };
    let mut observed = fresh(&spec);
    observed
        .entries
        .insert("/var/lib/private".into(), directory((0, 0), 0o700, false));
    for (path, entry) in entries {
        observed.entries.insert((*path).into(), entry.clone());
    }
    change(&mut observed);
    let identity = match dynamic_user {
        true => dynamic(),
        false => Identity {
            user: "daemon".into(),
            uid: Uid::new(1).expect("a number for a service"),
            gid: 1,
            dynamic: false,
            groups: vec![1],
            ..dynamic()
        },
    };
    let plan = match plan::plan(&spec, &identity, &observed) {
        Ok(plan) => plan,
        Err(failure) => return format!("refused: {failure}\n"),
    };
    let about_it = |line: &&str| line.contains("/var/lib/a") || line.contains("/var/lib/private/a");
    let lines = plan.to_string();
    let lines: Vec<&str> = lines.lines().filter(about_it).collect();
    lines.join("\n") + "\n"
}

#[test]
fn every_place_in_which_a_directory_may_be_found() {
    let tree = |owner| directory((owner, owner), 0o755, false);
    let mounted = Entry::Directory {
        uid: 61200,
        gid: 61200,
        mode: 0o755,
        empty: false,
        mount_point: true,
    };
    let empty = || directory((0, 0), 0o755, true);
    let link = |target: &str| Entry::Link(target.into());
    let (public, behind) = ("/var/lib/a", "/var/lib/private/a");
    let cases: Vec<(&str, Vec<(&str, Entry)>)> = vec![
        ("nothing", vec![]),
        ("public", vec![(public, tree(61200))]),
        ("public, root's", vec![(public, tree(0))]),
        ("public, a mount point", vec![(public, mounted.clone())]),
        (
            "a move cut short",
            vec![(public, tree(61200)), (behind, link("private/a"))],
        ),
        (
            "adopted",
            vec![(public, tree(61200)), (behind, link("../a"))],
        ),
        (
            "private",
            vec![(public, link("private/a")), (behind, tree(61200))],
        ),
        (
            "private, root's",
            vec![(public, link("private/a")), (behind, tree(0))],
        ),
        ("private without its link", vec![(behind, tree(61200))]),
        ("a link alone", vec![(public, link("private/a"))]),
        ("a record alone", vec![(behind, link("private/a"))]),
        (
            "both, the public one empty",
            vec![(public, empty()), (behind, tree(61200))],
        ),
        (
            "both, the private one empty",
            vec![(public, tree(61200)), (behind, empty())],
        ),
        ("both", vec![(public, tree(1)), (behind, tree(61200))]),
        ("a link elsewhere", vec![(public, link("/srv/a"))]),
        (
            "a link behind the boundary",
            vec![(public, tree(1)), (behind, link("/etc"))],
        ),
        ("a file", vec![(public, Entry::Other)]),
        (
            "the link is there",
            vec![(public, tree(1)), ("/var/lib/link", link("a"))],
        ),
        (
            "the link is another one",
            vec![("/var/lib/link", link("b"))],
        ),
        ("a directory is there", vec![("/var/lib/link", empty())]),
    ];
    let mut text = String::new();
    for (name, entries) in &cases {
        for (dynamic_user, word) in [(true, "dynamic"), (false, "static")] {
            text.push_str(&format!("== {name}: {word}\n"));
            text.push_str(&moves(entries, dynamic_user, |_| {}));
        }
    }
    let learned = |observed: &mut Observed| {
        observed.immovable.insert(public.into());
        observed.unmappable.insert(behind.into());
        observed.unmappable.insert(public.into());
    };
    let there = [
        ("public", vec![(public, tree(61200))]),
        (
            "private",
            vec![(public, link("private/a")), (behind, tree(61200))],
        ),
    ];
    for (name, entries) in &there {
        for (dynamic_user, word) in [(true, "dynamic"), (false, "static")] {
            text.push_str(&format!("== {name}, neither moved nor mapped: {word}\n"));
            text.push_str(&moves(entries, dynamic_user, learned));
        }
    }
    let interrupted = |observed: &mut Observed| {
        observed.half_given.insert(behind.into());
    };
    let ours = [(public, link("private/a")), (behind, tree(63102))];
    text.push_str("== private, half given: dynamic\n");
    text.push_str(&moves(&ours, true, interrupted));
    let shared = |observed: &mut Observed| {
        observed.shared.insert(public.into());
    };
    let theirs = [(public, link("private/a")), (behind, tree(61200))];
    text.push_str("== private, shared: dynamic\n");
    text.push_str(&moves(&theirs, true, shared));
    text.push_str("== private, shared and not to be mapped: dynamic\n");
    text.push_str(&moves(&theirs, true, |observed| {
        shared(observed);
        learned(observed);
    }));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/places.txt");
    if std::env::var_os("WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == golden, "{} should say:\n{text}", path.display());
}

#[test]
fn empty_file_systems_show_the_directories_in_them() {
    let spec = spec(&[
        ("StateDirectory", "a a/b::ro c:link"),
        ("RuntimeDirectory", "r"),
        ("ConfigurationDirectory", "conf"),
        ("RuntimeDirectoryPreserve", "yes"),
        ("TemporaryFileSystem", "/var:ro /var/lib /etc /run"),
    ]);
    is_golden("empty-file-systems.txt", &spec, &dynamic(), &fresh(&spec));
}

#[test]
fn every_view_that_is_taken_is_attached() {
    let spec = spec(&[("StateDirectory", "a a/b c"), ("RuntimeDirectory", "r")]);
    let plan = plan::plan(&spec, &dynamic(), &fresh(&spec)).expect("a plan");
    let taken = plan.host.iter().filter_map(|step| match step {
        Step {
            path,
            action: Action::TakeView { .. },
            ..
        } => Some(path),
        _ => None,
    });
    let mut taken: Vec<&String> = taken.collect();
    let attached = plan.namespace.iter().filter_map(|step| match &step.action {
        Action::AttachView { view, .. } => Some(view),
        _ => None,
    });
    let mut attached: Vec<&String> = attached.collect();
    taken.sort();
    attached.sort();
    assert_eq!(taken, attached);
}
