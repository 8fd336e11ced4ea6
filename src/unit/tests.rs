use proptest::prelude::*;

use super::*;
use crate::unit_file;
use crate::words;

fn context(name: &str) -> Context {
    Context::system(UnitName::parse(name).expect(name))
}

fn read(name: &str, files: &[(&str, &str)]) -> Result<Unit, Vec<Fault>> {
    let entries: Vec<Entry> = files
        .iter()
        .flat_map(|(file, text)| unit_file::parse(file, text).expect("syntax"))
        .collect();
    Unit::read(&entries, &context(name))
}

fn service(name: &str, line: &str) -> String {
    let unit = read(name, &[("f", &format!("[Service]\n{line}"))]);
    unit.expect(line).service.remove(0).value
}

#[test]
fn sections_add_up_over_files_and_other_programs_keep_theirs() {
    let unit = read(
        "foo.service",
        &[
            (
                "main",
                "[Unit]\nAfter=a\n[X-Foo]\nA=%&\n[Service]\nUser=x\nX-B=c\n[Install]\nAlias=y",
            ),
            (
                "drop",
                "[Service]\nUser=\nNice=3\n[Unit]\nStartLimitInterval=5",
            ),
        ],
    )
    .expect("a unit");
    let places: Vec<String> = unit.service.iter().map(|it| it.place.to_string()).collect();
    assert_eq!(places, ["main:6:6", "drop:2:6", "drop:3:6"]);
    let pair = |name: &str, value: &str| (String::from(name), String::from(value));
    assert_eq!(
        unit.properties(),
        [
            pair("StartLimitInterval", "5"),
            pair("User", "x"),
            pair("User", ""),
            pair("Nice", "3")
        ]
    );
    assert_eq!(unit.install.len(), 1);
}

#[test]
fn a_section_that_no_service_has_is_a_fault_where_it_stands() {
    let faults = read(
        "f.service",
        &[("f", "[Socket]\nListenStream=1\n[Nonsense]\nA=b")],
    );
    let faults: Vec<String> = faults
        .expect_err("no")
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].starts_with("f:2:") && faults[0].contains("[Socket]"),
        "{faults:?}"
    );
    let unit = read("f.service", &[("f", "[Nonsense]\nA=b\nC=d")]).expect("told");
    assert_eq!(unit.unknown.len(), 1);
    assert_eq!(unit.unknown[0].1.to_string(), "f:2:3");
}

#[test]
fn specifiers_are_expanded_where_systemd_expands_them() {
    assert_eq!(service("a@b.service", "User=c-%i"), "c-b");
    assert_eq!(service("a@b.service", "MemoryMax=50%"), "50%");
    assert_eq!(service("a@b.service", "ExecStart=/bin/x %i"), "/bin/x %i");
    assert_eq!(service("a@b.service", "SetCredential=%i:100%i"), "b:100%i");
    assert_eq!(service("a.service", "Environment=A=100%%"), "A=100%");
    let unit = read(
        "a@b.service",
        &[("f", "[Unit]\nAfter=%z\nConditionPathExists=/etc/%i")],
    );
    let unit = unit.expect("After= means nothing here");
    assert_eq!(unit.unit[1].value, "/etc/b");
    let faults = read("a.service", &[("f", "[Service]\nUser=%z")]).expect_err("no specifier");
    assert!(faults[0].to_string().contains("%z"), "{faults:?}");
}

/// systemd takes values apart before it expands them.
#[test]
fn what_comes_out_of_a_specifier_divides_nothing() {
    let value = service("a@b\\x20c.service", "Environment=A=%I B=%i");
    assert_eq!(words::split(&value).expect("words"), ["A=b c", "B=b\\x20c"]);
    let value = service("a@b:c.service", "StateDirectory=x/%i:y");
    let parts = words::split_keeping_colons(&value).expect("words");
    assert_eq!(parts.len(), 1);
    let parts: Vec<String> = parts[0].split(':').map(words::with_colons).collect();
    assert_eq!(parts, ["x/b:c", "y"]);
    // One text: nothing is taken apart.
    assert_eq!(service("a@b\\x20c.service", "WorkingDirectory=/%I"), "/b c");
}

#[test]
fn the_last_default_instance_counts() {
    let instance = |text: &str| {
        let entries = unit_file::parse("f", text).expect("syntax");
        default_instance(&entries).map(String::from)
    };
    assert_eq!(
        instance("[Install]\nDefaultInstance=a\nDefaultInstance=b"),
        Some("b".into())
    );
    assert_eq!(
        instance("[Install]\nDefaultInstance=a\nDefaultInstance="),
        None
    );
    assert_eq!(instance("[Service]\nDefaultInstance=a"), None);
}

proptest! {
    #[test]
    fn any_unit_is_read_or_refused(
        text in "(\\[(Service|Unit|Install|X-a|Socket)\\]|[A-Za-z]{1,4}|User=|Environment=|StateDirectory=|%[a-zA-Z%]|[:\\\\\"' \n])*",
        instance in "[a-z:\\\\@-]{0,8}",
    ) {
        if let (Ok(entries), Ok(name)) = (
            unit_file::parse("f", &text),
            UnitName::parse(&format!("a@{instance}.service")),
        ) {
            let read = Unit::read(&entries, &Context::system(name));
            prop_assert!(read.is_ok_and(|unit| unit.properties().len() <= entries.len())
                || !entries.is_empty());
        }
    }
}
