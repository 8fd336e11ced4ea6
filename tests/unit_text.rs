//! What we make of the texts of unit files, against what a real systemd made of them: tests/golden/unit_text/,
//! recorded by record.sh there. Where we differ on purpose, this file says so at the case.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::string_slice)]

use std::collections::BTreeMap;
use std::path::Path;

use dynuser::capabilities::CapabilitySet;
use dynuser::command_text;
use dynuser::environment_text;
use dynuser::sizes::{self, INFINITE, Resource};
use dynuser::specifiers::{self, Context, UnitName};
use dynuser::time_span::{self, TimeSpan};
use serde_json::Value;

/// The cases of one kind with their answers, and fewer than so many are none.
fn recorded(kind: &str, at_least: usize) -> Vec<(Value, Value)> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/unit_text");
    let lines = |ending: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(place.join(format!("{kind}.{ending}"))).unwrap();
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    };
    let (cases, answers) = (lines("cases"), lines("answers"));
    assert_eq!(
        cases.len(),
        answers.len(),
        "{kind}: record.sh was interrupted"
    );
    assert!(cases.len() >= at_least, "{kind}: {} cases", cases.len());
    cases.into_iter().zip(answers).collect()
}

/// Fails with all differences at once.
fn assert_none(differences: &[String]) {
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

fn words(value: &Value) -> Vec<String> {
    let words = value.as_array().unwrap().iter();
    words
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn command_lines_give_programs_the_words_that_systemd_gives_them() {
    let mut differences = Vec::new();
    for (at, (case, answer)) in recorded("commands", 60).iter().enumerate() {
        // The parser of unit files has taken the blanks off the ends.
        let value = case["value"].as_str().unwrap().trim();
        let variables = case["environment"].as_object().unwrap().iter();
        let environment: Vec<(String, String)> = variables
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect();
        let name = UnitName::parse(&format!("unit-text-{at}.service")).unwrap();
        let context = Context::system(name);
        let expand = |word: &str| specifiers::expand(word, &context);
        let ours = command_text::parse(value, &expand);
        let ran: Option<Vec<Vec<String>>> = answer
            .as_array()
            .map(|calls| calls.iter().map(words).collect());
        let same = match (&ours, &ran) {
            // What systemd leaves out with a warning because of a `-` is an error here.
            (Err(_), None) => true,
            (Err(_), Some(calls)) => calls.is_empty() && value.contains('-'),
            // Another program than the one that shows its arguments cannot be started there.
            (Ok(commands), None) => commands.iter().any(|it| it.path != "/show"),
            (Ok(commands), Some(calls)) => {
                let argv = commands.iter().map(|it| it.argv(&environment));
                argv.collect::<Vec<_>>() == *calls
            }
        };
        if !same {
            let ours = ours.map(|commands| {
                let argv = commands.iter().map(|it| it.argv(&environment));
                argv.collect::<Vec<_>>()
            });
            differences.push(format!("{value}\n  systemd: {ran:?}\n  we: {ours:?}"));
        }
    }
    assert_none(&differences);
}

#[test]
fn specifiers_stand_for_what_they_stand_for_in_systemd() {
    let mut differences = Vec::new();
    for (case, answer) in recorded("specifiers", 40) {
        let (unit, text) = (
            case["unit"].as_str().unwrap(),
            case["text"].as_str().unwrap(),
        );
        let name = UnitName::parse(unit).unwrap();
        let mut context = Context::system(name.clone());
        let file = name.template().unwrap_or(name).full();
        context.unit_file = Some(format!("/run/systemd/system/{file}"));
        context.shell = "/bin/bash".into();
        // Paths of systemd's cgroup tree: obsolete there, refused here, for there is no such tree.
        if ["[%c]", "[%r]", "[%R]"].contains(&text) {
            assert!(specifiers::expand(text, &context).is_err());
            continue;
        }
        // Facts of the recorded host are not compared; src/specifiers/tests.rs looks at them.
        let ours = specifiers::expand(text, &context);
        if ours.as_ref().ok().map(String::as_str) != answer.as_str() {
            differences.push(format!(
                "{unit} {text}\n  systemd: {answer}\n  we: {ours:?}"
            ));
        }
    }
    assert_none(&differences);
}

#[test]
fn environment_files_give_the_variables_that_systemd_takes_from_them() {
    let mut differences = Vec::new();
    for (case, answer) in recorded("environment", 40) {
        let ours = environment_text::parse(case.as_str().unwrap());
        let ours: Option<BTreeMap<String, String>> =
            ours.ok().map(|read| read.assignments.into_iter().collect());
        let systemd: Option<BTreeMap<String, String>> = serde_json::from_value(answer).unwrap();
        if ours != systemd {
            differences.push(format!("{case}\n  systemd: {systemd:?}\n  we: {ours:?}"));
        }
    }
    assert_none(&differences);
}

#[test]
fn time_spans_are_as_long_as_in_systemd() {
    let mut differences = Vec::new();
    for (case, answer) in recorded("spans", 60) {
        let ours = time_span::parse(case.as_str().unwrap())
            .ok()
            .map(|span| match span {
                TimeSpan::Infinite => u128::from(u64::MAX),
                TimeSpan::Limited(span) => span.as_micros(),
            });
        if ours != answer.as_u64().map(u128::from) {
            differences.push(format!("{case}\n  systemd: {answer}\n  we: {ours:?}"));
        }
    }
    assert_none(&differences);
}

#[test]
fn capabilities_add_up_as_in_systemd() {
    let mut differences = Vec::new();
    for (case, answer) in recorded("capabilities", 30) {
        let mut bounding = CapabilitySet::ALL;
        let mut ambient = CapabilitySet::EMPTY;
        for line in words(&case) {
            let (name, value) = line.split_once('=').unwrap();
            if name == "CapabilityBoundingSet" {
                bounding = bounding.assign(CapabilitySet::ALL, value).expect(value);
            } else {
                ambient = ambient.assign(CapabilitySet::EMPTY, value).expect(value);
            }
        }
        for (name, ours) in [
            ("CapabilityBoundingSet", bounding),
            ("AmbientCapabilities", ambient),
        ] {
            if answer[name] != ours.to_string() {
                differences.push(format!("{case}\n  systemd: {}\n  we: {ours}", answer[name]));
            }
        }
    }
    assert_none(&differences);
}

#[test]
fn resource_limits_are_the_numbers_that_systemd_sets() {
    // What is in force where a line is refused: the manager's own default, so each refusal looks like it.
    let mut differences = Vec::new();
    let cases = recorded("limits", 60);
    for (case, answer) in &cases {
        let line = &words(case)[0];
        let (directive, value) = line.split_once('=').unwrap();
        let resource = Resource::of(directive).expect(directive);
        let shown = |value: u64| match value {
            INFINITE => "infinity".to_owned(),
            value => value.to_string(),
        };
        let refused = cases.iter().any(|(case, refused)| {
            words(case)[0] == format!("{directive}=refused") && refused == answer
        });
        let same = match sizes::limit(resource, value) {
            Ok(limit) => {
                answer[directive] == shown(limit.hard)
                    && answer[format!("{directive}Soft")] == shown(limit.soft)
            }
            Err(_) => refused,
        };
        if !same {
            let ours = sizes::limit(resource, value);
            differences.push(format!("{line}\n  systemd: {answer}\n  we: {ours:?}"));
        }
    }
    assert_none(&differences);
}
