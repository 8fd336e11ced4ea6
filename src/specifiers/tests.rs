//! Unit tests of specifiers. What the real systemd makes of them is in tests/unit_text.rs.

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> UnitName {
    UnitName::parse(text).expect(text)
}

fn expanded(unit: &str, text: &str) -> Result<String, String> {
    expand(text, &Context::system(name(unit)))
}

#[test]
fn names_are_taken_apart_at_the_first_at_sign_and_the_last_dot() {
    for (text, prefix, instance) in [
        ("a.service", "a", None),
        ("a.b.service", "a.b", None),
        ("a@b.service", "a", Some("b")),
        ("a@b@c.d.service", "a", Some("b@c.d")),
        ("a@.service", "a", Some("")),
        ("a-b\\x2dc.service", "a-b\\x2dc", None),
    ] {
        let name = name(text);
        assert_eq!(
            (name.prefix(), name.instance()),
            (prefix, instance),
            "{text}"
        );
        assert_eq!(name.full(), text);
        assert_eq!(name.is_template(), text.contains("@."));
    }
    assert_eq!(name("a@b.service").template(), Some(name("a@.service")));
    assert_eq!(name("a@.service").template(), None);
    assert_eq!(name("a.service").template(), None);
    assert_eq!(
        name("a@.service").with_instance("x-y"),
        Ok(name("a@x-y.service"))
    );
    assert!(name("a@.service").with_instance("x y").is_err());
    assert!(name("a.service").with_instance("x").is_err());
}

#[test]
fn what_is_no_name_is_refused() {
    let long = format!("{}.service", "a".repeat(248));
    for text in [
        "",
        "a",
        ".service",
        "@.service",
        "@b.service",
        "a.servic",
        "a b.service",
        "a/b.service",
        "ä.service",
        "a.service\n",
        "a%i.service",
        &long,
    ] {
        assert!(UnitName::parse(text).is_err(), "{text}");
    }
}

#[test]
fn an_unknown_fact_is_an_error_by_name() {
    for (specifier, what) in [
        ("%H", "host"),
        ("%m", "machine"),
        ("%y", "file"),
        ("%o", "ID"),
    ] {
        let why = expanded("a.service", specifier).expect_err(specifier);
        assert!(why.contains(specifier) && why.contains(what), "{why}");
    }
    let mut context = Context::system(name("a.service"));
    context.facts.host_name = Some("a.b.c".into());
    context.facts.os_build = Some(String::new());
    context.unit_file = Some("/etc/systemd/system/a.service".into());
    assert_eq!(
        expand("%H %l %q [%B] %Y", &context).as_deref(),
        Ok("a.b.c a a [] /etc/systemd/system")
    );
}

#[test]
fn memory_is_bounded() {
    let long = format!("{}.service", "a".repeat(200));
    let why = expanded(&long, &"%n".repeat(1000)).expect_err("too long");
    assert!(why.contains("longer"), "{why}");
}

proptest! {
    #[test]
    fn any_text_is_expanded_or_refused(text in "(\\PC|%[a-zA-Z%])*", instance in "[a-z\\\\x0-9@:_.-]*") {
        let unit = UnitName::parse(&format!("a-b@{instance}.service"));
        if let Ok(unit) = unit {
            let _text = expand(&text, &Context::system(unit));
        }
    }

    #[test]
    fn any_name_is_read_or_refused(text in "\\PC*") {
        let _name = UnitName::parse(&text);
    }
}
