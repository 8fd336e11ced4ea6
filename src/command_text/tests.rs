//! Unit tests of command lines. What the real systemd makes of them is in tests/unit_text.rs.

use proptest::prelude::*;

use super::*;

fn commands(value: &str) -> Result<Vec<Command>, String> {
    parse(value, &|word| Ok(word.replace("%n", "N")))
}

fn one(value: &str) -> Command {
    let [command] = &commands(value).expect(value)[..] else {
        panic!("{value}: not one command");
    };
    command.clone()
}

#[test]
fn prefixes_are_read_in_any_order() {
    for (value, ignores, named, expands, privilege) in [
        ("/x a", false, false, true, Privilege::Service),
        ("-/x a", true, false, true, Privilege::Service),
        ("@/x a", false, true, true, Privilege::Service),
        (":/x a", false, false, false, Privilege::Service),
        ("+/x a", false, false, true, Privilege::Full),
        ("!/x a", false, false, true, Privilege::KeepsRoot),
        ("!!/x a", false, false, true, Privilege::Ambient),
        ("-@:!!/x a", true, true, false, Privilege::Ambient),
        ("+:@-/x a", true, true, false, Privilege::Full),
        ("!-!:/x a", true, false, false, Privilege::Ambient),
    ] {
        let command = one(value);
        assert_eq!(command.ignores_failure, ignores, "{value}");
        assert_eq!(command.argv0.is_some(), named, "{value}");
        assert_eq!(command.expands, expands, "{value}");
        assert_eq!(command.privilege, privilege, "{value}");
        assert_eq!(command.path, "/x", "{value}");
        assert_eq!(command.arguments.is_empty(), named, "{value}");
    }
}

#[test]
fn what_is_no_command_is_refused_with_a_sentence() {
    for (value, why) in [
        ("--/x", "once"),
        ("+!/x", "only one"),
        ("!!!/x", "only one"),
        ("!+/x", "only one"),
        ("|/x", "shell"),
        ("-", "no program"),
        ("@/x", "name"),
        ("/x/", "directory"),
        ("/", "directory"),
        ("..", "directory"),
        ("a/b", "absolute"),
        ("'/x", "never closed"),
        ("/x 'a", "never closed"),
        ("'/a\\'b'", "quotes"),
        ("/x ; a/b", "absolute"),
    ] {
        let said = commands(value).expect_err(value);
        assert!(said.contains(why), "{value}: {said}");
    }
}

#[test]
fn a_bare_semicolon_separates_commands() {
    let paths = |value: &str| -> Vec<String> {
        let commands = commands(value).expect(value);
        commands
            .into_iter()
            .map(|it| it.argv(&[]).join(","))
            .collect()
    };
    assert_eq!(paths("/a 1 ; /b 2"), ["/a,1", "/b,2"]);
    assert_eq!(paths("/a 1;/b 2"), ["/a,1;/b,2"]);
    assert_eq!(paths("/a \\; ';' \\x3b \\;x"), ["/a,;,;,;,\\;x"]);
    assert_eq!(paths("/a ;"), ["/a"]);
    assert_eq!(paths("; /a"), ["/a"]);
    assert_eq!(paths(""), [""; 0]);
    assert_eq!(paths("/a ; ; /b"), ["/a", "/b"]);
}

#[test]
fn specifiers_are_expanded_in_words_and_do_not_split_them() {
    let command = parse("/x/%n '%n b' \"$n\"", &|word| {
        Ok(word.replace("%n", "a $$ b"))
    })
    .expect("a command")
    .remove(0);
    assert_eq!(command.path, "/x/a $$ b");
    assert_eq!(command.arguments, ["a $$ b b", "$n"]);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(\\PC|[-@:+! ;\\\\\"'$\\{\\}%/a-c])*") {
        if let Ok(commands) = commands(&text) {
            let environment = [("a".to_owned(), text.clone()), ("b".to_owned(), "'x y".to_owned())];
            for command in commands {
                let _argv = command.argv(&environment);
            }
        }
    }

    #[test]
    fn quoted_words_are_read_back(words in prop::collection::vec("[ -~äß]{0,12}", 0..6)) {
        let quoted: Vec<String> = words
            .iter()
            .map(|word| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")))
            .collect();
        let expand = |word: &str| Ok(word.replace("%%", "%"));
        let read = parse(&format!(":/x {}", quoted.join(" ")), &expand).expect("a command");
        prop_assert_eq!(&read[0].arguments, &words);
    }
}

/// execve(2) refuses them: more need not be made.
#[test]
fn arguments_stop_where_the_kernel_would() {
    let environment = [("A".to_owned(), "x y ".repeat(100_000))];
    for word in ["${A}", "$A"] {
        let words = vec![word.to_owned(); 10_000];
        let length: usize = expand_variables(&words, &environment)
            .iter()
            .map(String::len)
            .sum();
        assert!((4 << 20..16 << 20).contains(&length), "{word}: {length}");
    }
    let long = ["${A}".repeat(10_000)];
    let length = expand_variables(&long, &environment)[0].len();
    assert!((8 << 20..16 << 20).contains(&length), "{length}");
    // The last one of a name counts.
    let twice = ["1", "2"].map(|value| ("B".to_owned(), value.to_owned()));
    assert_eq!(expand_variables(&["$B".to_owned()], &twice), ["2"]);
}
