//! The manual page and the program say the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::process::Command;

use dynuser::config::{Config, KEYS};
use dynuser::directives::{self, Directive, Effect};
use dynuser::socket_unit;
use dynuser::user_database::Wanted;

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
        "run", "listen", "check", "import", "acquire", "release", "list", "stop", "enter", "show",
        "history", "clean", "gc", "doctor", "daemon",
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

/// The manual page of the directives, which is made of the table alone.
fn directives_page() -> String {
    let mut text = String::from(
        ".\\\" Made of the tables in src/directives and src/socket_unit: WRITE_GOLDEN=1 cargo test --test manual\n\
        .Dd November 23, 2026\n.Dt DYNUSER.DIRECTIVES 5\n.Os\n.Sh NAME\n.Nm dynuser.directives\n\
        .Nd what dynuser does about each directive of a unit file\n.Sh DESCRIPTION\n\
        The directives of\n.Xr systemd.exec 5 ,\n.Xr systemd.service 5 ,\n.Xr systemd.kill 5\nand\n\
        .Xr systemd.resource-control 5\nthat\n.Xr dynuser 1\nknows, in unit files and with\n.Fl p .\n\
        They mean what these pages say.\nOne that is in none of the three lists is refused.\n\
        Those of\n.Xr systemd.socket 5\nfollow.\n",
    );
    let mut section = |title: &str, wanted: &dyn Fn(&Directive) -> bool| {
        text.push_str(&format!(".Sh {title}\n.Bl -tag -width Ds\n"));
        let mut these: Vec<&Directive> = directives::all().filter(|it| wanted(it)).collect();
        these.sort_by_key(|directive| directive.name);
        for it in these {
            text.push_str(&format!(".It Cm {} Ns =\n", it.name));
            // A line of text that begins with a dot is a macro.
            text.push_str(&format!("\\&{}", it.how.replace('\\', "\\e")));
            if it.dynamic_only {
                text.push_str("; with a dynamic user only");
            }
            if !it.since.is_empty() {
                text.push_str(&format!(" (since {})", it.since));
            }
            text.push_str(".\n");
        }
        text.push_str(".El\n");
    };
    section("DONE AND ENFORCED", &|it| {
        it.is_supported() && it.effect != Effect::Elsewhere
    });
    section("WITHOUT MEANING FOR A SERVICE ITSELF", &|it| {
        it.effect == Effect::Elsewhere
    });
    section("NOT SUPPORTED", &|it| !it.is_supported());
    text.push_str(&of_sockets());
    text.push_str(".Sh SEE ALSO\n.Xr dynuser 1\n");
    text
}

/// The sections about directives of sockets.
fn of_sockets() -> String {
    let mut text = String::from(
        ".Sh SOCKETS\nDirectives of the section\n.Bq Socket\nin files that end in\n.Pa .socket .\n\
        Those of\n.Xr systemd.exec 5 ,\n.Xr systemd.kill 5\nand\n.Xr systemd.resource-control 5\nthat are not \
        listed are about commands of the socket's own, and mean nothing here, as there are none.\n",
    );
    let mut section = |title: &str, wanted: &dyn Fn(&socket_unit::Row) -> bool| {
        text.push_str(&format!(".Ss {title}\n.Bl -tag -width Ds\n"));
        let mut these: Vec<_> = socket_unit::TABLE.iter().filter(|it| wanted(it)).collect();
        these.sort_by_key(|row| row.name);
        for it in these {
            text.push_str(&format!(".It Cm {} Ns =\n\\&{}.\n", it.name, it.how));
        }
        text.push_str(".El\n");
    };
    let elsewhere = |it: &socket_unit::Row| it.effect == Effect::Elsewhere;
    section("Done", &|it| it.is_supported() && !elsewhere(it));
    section("Without meaning here", &elsewhere);
    section("Not supported", &|it| !it.is_supported());
    text
}

#[test]
fn every_directive_has_its_place_in_the_manual() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/man/dynuser.directives.5");
    let page = directives_page();
    if std::env::var_os("WRITE_GOLDEN").is_some() {
        std::fs::write(path, &page).expect("written");
    }
    assert_eq!(std::fs::read_to_string(path).expect("the page"), page);
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
    assert_eq!(default.user_database_socket, Wanted::Auto);
    let socket = ".Cm auto ,\nthe default,".to_owned();
    for words in [ranges, stop, names, socket] {
        assert!(page.contains(&words), "{words}");
    }
}
