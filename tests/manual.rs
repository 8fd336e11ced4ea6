//! The manual page and the program say the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::process::Command;

use dynuser::config::{Config, KEYS};
use dynuser::directives::TABLE;

fn help(verb: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_dynuser"))
        .args([verb, "--help"])
        .output()
        .expect("the program runs");
    String::from_utf8(output.stdout).expect("help is text")
}

/// The manual page as people read it: without macros.
fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/man/dynuser.1");
    std::fs::read_to_string(path).expect("the manual page")
}

fn long_options(text: &str, marker: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']'));
    let mut found = BTreeSet::new();
    for word in words {
        if let Some(name) = word.strip_prefix(marker) {
            let name: String = name
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '-')
                .collect();
            if !name.is_empty() {
                found.insert(name);
            }
        }
    }
    found
}

#[test]
fn every_option_is_in_the_manual_and_every_one_there_exists() {
    let mut known: BTreeSet<String> = [
        "run", "acquire", "release", "list", "show", "clean", "gc", "doctor", "daemon",
    ]
    .iter()
    .flat_map(|verb| long_options(&help(verb), "--"))
    .collect();
    known.remove("help");
    assert!(known.len() >= 12, "{known:?}");
    let page: String = page()
        .lines()
        .filter(|line| !line.starts_with(".Dl") && !line.starts_with(".Bl"))
        .collect::<Vec<_>>()
        .join("\n");
    // In mdoc a long option is written `Fl -name` or, after a short one, `, -name`.
    let told: BTreeSet<String> = long_options(&page, "-")
        .into_iter()
        .filter(|name| name.len() > 1)
        .collect();
    assert_eq!(known, told);
}

#[test]
fn every_property_is_in_the_manual() {
    let page = page();
    for directive in &TABLE {
        assert!(
            page.contains(&format!(".Cm {} ", directive.name))
                || page.contains(&format!(".Cm {}\n", directive.name)),
            "{}",
            directive.name
        );
    }
}

#[test]
fn every_key_of_the_configuration_is_in_the_manual_with_its_default() {
    let page = page();
    let section = page
        .split(".Sh ")
        .find(|it| it.starts_with("CONFIGURATION"));
    let told: BTreeSet<&str> = section
        .expect("the section")
        .lines()
        .filter_map(|line| line.strip_prefix(".It Cm ")?.strip_suffix(" Ns ="))
        .collect();
    let known: BTreeSet<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(told, known);
    let default = Config::default();
    let ranges = format!(".Ql {} ,\nwhich is the default", default.ranges);
    let stop = format!("\n{} seconds by default", default.stop_timeout.as_secs());
    let names = format!(
        "\n{} seconds by default",
        default.name_service_timeout.as_secs()
    );
    for words in [ranges, stop, names] {
        assert!(page.contains(&words), "{words}");
    }
}
