//! Unit files: how they are found and put together beside what a real systemd made of the same ones, conditions
//! beside what it says of them, and `dynuser check` over every unit file that this machine has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use dynuser::condition_look::{Answer, answer, facts, look};
use dynuser::conditions::Conditions;
use dynuser::failure::Failure;
use dynuser::specifiers::Context;
use dynuser::unit::Unit;
use dynuser::unit_file;
use dynuser::unit_load::{Loaded, Writers, load};
use dynuser::words;
use support::Arena;

/// What the golden files were recorded of.
fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/units");
    fs::read_to_string(folder.join(name)).expect(name)
}

/// A file of the tree, or a link.
enum Leaf {
    File(String),
    Link(PathBuf),
}

fn leaves(folder: &Path, found: &mut Vec<(PathBuf, Leaf)>) {
    for entry in fs::read_dir(folder).expect("the tree") {
        let path = entry.expect("the tree").path();
        if let Ok(target) = fs::read_link(&path) {
            found.push((path, Leaf::Link(target)));
        } else if path.is_dir() {
            leaves(&path, found);
        } else {
            let text = fs::read_to_string(&path).expect("a file of the tree");
            found.push((path, Leaf::File(text)));
        }
    }
}

/// An arena with the units of the golden files, where the real systemd had them.
fn arena_with_units() -> Arena {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/units/tree");
    let mut found = Vec::new();
    leaves(&tree, &mut found);
    let arena = Arena::new();
    arena.within(|| {
        for (path, leaf) in &found {
            let to = Path::new("/run/systemd").join(path.strip_prefix(&tree).expect("below"));
            fs::create_dir_all(to.parent().expect("a folder")).expect("mkdir");
            match leaf {
                Leaf::File(text) => fs::write(&to, text).expect("write"),
                Leaf::Link(target) => symlink(target, &to).expect("symlink"),
            }
        }
    });
    arena
}

/// What a unit's `Environment=` adds up to.
fn environment(unit: &Unit) -> Vec<String> {
    let mut all = Vec::new();
    for setting in unit.service.iter().filter(|it| it.name == "Environment") {
        if setting.value.is_empty() {
            all.clear();
        }
        all.extend(words::split(&setting.value).expect("words"));
    }
    all
}

fn understood(loaded: Loaded) -> Unit {
    Unit::read(&loaded.entries, &Context::system(loaded.name)).expect("a unit")
}

#[test]
fn units_are_found_and_put_together_as_systemd_does() {
    let arena = arena_with_units();
    let recorded = golden("loaded.txt");
    let mut compared = 0;
    for record in recorded.split("== ").skip(1) {
        let (asked, lines) = record.split_once('\n').expect("a record");
        let field = |name: &str| {
            let line = lines.lines().find_map(|line| line.strip_prefix(name));
            line.expect(name).to_owned()
        };
        let loaded = arena.within(|| load(asked, None, None, Writers::Root).expect(asked));
        assert_eq!(loaded.name.full(), field("Id="), "{asked}");
        assert_eq!(loaded.path, field("FragmentPath="), "{asked}");
        // systemd lists what takes drop-ins away as well.
        let drop_ins: Vec<String> = field("DropInPaths=")
            .split(' ')
            .filter(|path| !path.ends_with("/30-mask.conf"))
            .map(Into::into)
            .collect();
        assert_eq!(loaded.files[1..], drop_ins, "{asked}");
        let expected = words::split(&field("Environment=")).expect("words");
        assert_eq!(environment(&understood(loaded)), expected, "{asked}");
        compared += 1;
    }
    assert_eq!(compared, 9);
}

#[test]
fn a_masked_unit_and_one_that_is_nowhere_are_refused() {
    let arena = arena_with_units();
    for (name, why) in [
        ("dyn-masked.service", "masked"),
        ("dyn-nowhere", "is in none of the unit folders"),
        ("dyn-nowhere.socket", "is in none"),
        ("dyn nowhere", "no name"),
    ] {
        let refused = arena.within(|| load(name, None, None, Writers::Root));
        let said = Failure::from(refused.expect_err(name)).to_string();
        assert!(said.contains(why), "{name}: {said}");
    }
    // The suffix may be left out; a template's own instance stands where none is named.
    let named = |what: &str, name: Option<&str>| -> Result<String, String> {
        arena
            .within(|| load(what, name, None, Writers::Root))
            .map(|loaded| loaded.name.full())
            .map_err(|refused| Failure::from(refused).to_string())
    };
    assert_eq!(named("dyn-plain", None), Ok("dyn-plain.service".into()));
    assert_eq!(named("dyn-t@", None), Ok("dyn-t@dflt.service".into()));
    let file = "/run/systemd/system/dyn-t@.service";
    assert_eq!(named(file, None), Ok("dyn-t@dflt.service".into()));
    assert_eq!(named(file, Some("dyn-t@b")), Ok("dyn-t@b.service".into()));
    assert_eq!(named(file, Some("other@b")), Ok("other@b.service".into()));
    assert_eq!(
        named("dyn-plain", Some("other")),
        Ok("other.service".into())
    );
    let said = named(file, Some("dyn-t")).expect_err("no instance");
    assert!(said.contains("is a template"), "{said}");
}

/// A folder that root alone can change, with a unit in it.
fn folder_with_unit(text: &[u8]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = folder.path().join("foo.service");
    fs::write(&unit, text).expect("write");
    fs::set_permissions(&unit, fs::Permissions::from_mode(0o644)).expect("chmod");
    let path = unit.to_str().expect("UTF-8").to_owned();
    (folder, path)
}

fn said(path: &str, writers: Writers) -> String {
    let refused = load(path, None, None, writers).expect_err(path);
    Failure::from(refused).to_string()
}

#[test]
fn what_somebody_else_could_have_written_is_not_run_but_may_be_looked_at() {
    let text = b"[Service]\nExecStart=/bin/true\n";
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    type Spoil<'a> = &'a dyn Fn(&Path);
    let drop_in = |folder: &Path| {
        let drop_ins = folder.join("foo.service.d");
        fs::create_dir(&drop_ins).expect("mkdir");
        mode(&drop_ins, 0o755);
        let file = drop_ins.join("a.conf");
        fs::write(&file, text).expect("write");
        mode(&file, 0o644);
        (drop_ins, file)
    };
    let cases: [(&str, Spoil<'_>); 6] = [
        ("can be written", &|folder| {
            mode(&folder.join("foo.service"), 0o664)
        }),
        ("belongs to 1000", &|folder| {
            lchown(folder.join("foo.service"), Some(1000), None).expect("chown");
        }),
        ("can be written", &|folder| mode(folder, 0o777)),
        ("can be written", &|folder| mode(&drop_in(folder).0, 0o775)),
        ("belongs to 1000", &|folder| {
            lchown(drop_in(folder).1, Some(1000), None).expect("chown");
        }),
        ("link that belongs to 1000", &|folder| {
            let unit = folder.join("foo.service");
            fs::rename(&unit, folder.join("real.service")).expect("rename");
            symlink("real.service", &unit).expect("symlink");
            lchown(&unit, Some(1000), None).expect("chown");
        }),
    ];
    for (why, spoil) in cases {
        let (folder, path) = folder_with_unit(text);
        load(&path, None, None, Writers::Root).expect("root's own");
        spoil(folder.path());
        let said = said(&path, Writers::Root);
        assert!(said.contains(why), "{said}");
        load(&path, None, None, Writers::Anybody).expect("only looked at");
    }
}

#[test]
fn what_is_no_unit_file_is_refused_with_its_place() {
    let (_folder, path) = folder_with_unit("[Service]\nUser=ä\u{e9}".as_bytes());
    load(&path, None, None, Writers::Root).expect("UTF-8");
    let (_folder, path) = folder_with_unit(b"[Service]\nUser=\xc3\xa4\xff");
    let refused = said(&path, Writers::Root);
    assert!(refused.starts_with(&format!("{path}:2:7: ")), "{refused}");
    let (_folder, path) = folder_with_unit(b"[Service]\nnonsense");
    let refused = said(&path, Writers::Root);
    assert!(refused.starts_with(&format!("{path}:2:")), "{refused}");
    let (_folder, path) = folder_with_unit(&vec![b'\n'; 5 * 1024 * 1024]);
    let refused = said(&path, Writers::Root);
    assert!(refused.contains("is larger"), "{refused}");
    let (_folder, path) = folder_with_unit(b"");
    assert!(said(&path, Writers::Root).contains("masked"));
    let (folder, path) = folder_with_unit(b"");
    fs::remove_file(&path).expect("rm");
    symlink("foo.service", &path).expect("symlink");
    assert!(said(&path, Writers::Root).contains("without end"));
    fs::remove_file(&path).expect("rm");
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, rustix::fs::Mode::RWXU, 0).expect("mknod");
    assert!(said(&path, Writers::Root).contains("no regular file"));
    drop(folder);
}

fn conditions(lines: &str) -> Conditions {
    let entries = unit_file::parse("f", &format!("[Unit]\n{lines}\n")).expect("syntax");
    let name = dynuser::specifiers::UnitName::parse("foo.service").expect("a name");
    let unit = Unit::read(&entries, &Context::system(name)).expect("a unit");
    Conditions::of(&unit.unit).expect(lines)
}

#[test]
fn conditions_hold_where_systemd_says_so() {
    let recorded = golden("conditions.txt");
    let mut wrong = Vec::new();
    let lines: Vec<&str> = recorded
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(lines.len(), 103);
    for line in lines {
        let (expected, condition) = line.split_once('\t').expect(line);
        let all = conditions(condition);
        let one = &all.conditions[0];
        let holds = look(one).map(|holds| holds != one.negated);
        // What is no question to systemd is none to us.
        if *holds.as_ref().unwrap_or(&false) != (expected == "yes") {
            wrong.push(format!("{line}: {holds:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_condition_skips_an_assertion_fails_and_what_is_not_known_is_neither() {
    let of = |lines: &str| answer(&conditions(lines));
    assert_eq!(of("").expect("nothing"), Answer::Start);
    let both = of("ConditionPathExists=/etc\nAssertPathExists=/etc").expect("both hold");
    assert_eq!(both, Answer::Start);
    let Ok(Answer::Skip(why)) = of("ConditionPathExists=/nonexistent\nAssertPathExists=/gone")
    else {
        panic!("skipped, before assertions are looked at");
    };
    assert!(
        why.contains("ConditionPathExists=/nonexistent") && why.contains("f:2:"),
        "{why}"
    );
    let failed = of("AssertPathExists=/nonexistent")
        .expect_err("an assertion")
        .to_string();
    assert!(failed.contains("AssertPathExists=/nonexistent"), "{failed}");
    let unknown = of("ConditionPathIsEncrypted=/")
        .expect_err("no answer")
        .to_string();
    assert!(unknown.contains("cannot be answered"), "{unknown}");
}

#[test]
fn facts_of_the_host_are_those_that_its_programs_tell() {
    let told = |program: &str, argument: &str| {
        let output = std::process::Command::new(program).arg(argument).output();
        String::from_utf8(output.expect(program).stdout)
            .expect("UTF-8")
            .trim()
            .to_owned()
    };
    let facts = facts();
    assert_eq!(facts.kernel_release, Some(told("uname", "-r")));
    assert_eq!(facts.host_name, Some(told("uname", "-n")));
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot");
    assert_eq!(facts.boot_id, Some(boot.trim().replace('-', "")));
    let script = ". /etc/os-release; echo \"$ID/$VERSION_ID\"";
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .output()
        .expect("sh");
    let told = String::from_utf8(output.stdout).expect("UTF-8");
    let ours = format!(
        "{}/{}",
        facts.os_id.expect("ID"),
        facts.os_version.expect("VERSION_ID")
    );
    assert_eq!(told.trim(), ours);
}

/// Every unit file of the packages that are installed here: `tests/run` installs some.
fn unit_files() -> Vec<String> {
    let mut files = Vec::new();
    for folder in ["/usr/lib/systemd/system", "/lib/systemd/system"] {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("a unit folder").path();
            let is_unit = path.extension().is_some_and(|kind| kind == "service");
            let is_file = fs::symlink_metadata(&path).expect("a unit").is_file();
            if is_unit && is_file {
                files.push(path.to_str().expect("UTF-8").to_owned());
            }
        }
    }
    files
}

#[test]
fn every_unit_file_of_this_machine_can_be_checked() {
    let files = unit_files();
    assert!(
        files.len() > 5,
        "the packages of tests/run have unit files: {files:?}"
    );
    let arena = Arena::new();
    let mut words = vec!["dynuser", "check", "--json"];
    words.extend(files.iter().map(String::as_str));
    let output = arena.run(words);
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{}",
        output.stderr
    );
    let told: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
    let told = told.as_array().expect("an array");
    assert_eq!(told.len(), files.len());
    for unit in told {
        assert!(unit["faults"].is_null(), "{unit}");
        let lines = unit["lines"].as_array().expect("lines");
        assert!(!lines.is_empty(), "{unit}");
        let missing = lines.iter().any(|line| line["verdict"] == "not supported");
        let named = unit["missing"].as_array().expect("names");
        assert_eq!(missing, !named.is_empty(), "{unit}");
    }
}

#[test]
fn check_tells_by_line_and_by_exit_status() {
    let arena = Arena::new();
    let put = |name: &str, text: &str| arena.put(&format!("/tmp/{name}"), text, 0o644);
    put(
        "good.service",
        "[Unit]\nAfter=x\n[Service]\nDynamicUser=yes\nStateDirectory=a\n",
    );
    put(
        "bad.service",
        "[Service]\nDynamicUser=yes\nNoSuchThing=1\nUMask=9\n",
    );
    put("broken.service", "[Service]\nDynamicUser=yes\nnonsense\n");
    let check = |names: &[&str]| {
        let files = names.iter().map(|name| format!("/tmp/{name}.service"));
        let words = ["dynuser".into(), "check".into()].into_iter().chain(files);
        arena.run(words.collect::<Vec<String>>())
    };
    let good = check(&["good"]).ok();
    assert!(
        good.contains("/tmp/good.service:2:7: ignored: After=x (ordering"),
        "{good}"
    );
    assert!(
        good.contains("/tmp/good.service:4:13: enforced: DynamicUser=yes ("),
        "{good}"
    );
    assert!(
        good.contains("good.service: all of it is enforced"),
        "{good}"
    );
    let bad = check(&["bad"]).fails_with_output(1);
    assert!(
        bad.contains("/tmp/bad.service:3:13: not supported: NoSuchThing=1"),
        "{bad}"
    );
    assert!(
        bad.contains("bad.service: not supported: NoSuchThing UMask"),
        "{bad}"
    );
    let broken = check(&["broken"]).fails(2);
    assert!(broken.contains("/tmp/broken.service:3:"), "{broken}");
    // The worst of all counts, and all are looked at.
    let all = check(&["broken", "good", "bad"]);
    assert_eq!(all.status.code(), Some(2));
    assert!(all.stdout.contains("good.service: all") && all.stdout.contains("bad.service: not"));
    check(&["nowhere"]).fails(2);
}
