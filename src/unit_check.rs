//! What becomes of each line of a unit file: `dynuser check`.

#![forbid(unsafe_code)]

use crate::conditions::{self, Conditions};
use crate::directives::{Effect, Settings, find};
use crate::request::Request;
use crate::socket_unit::{self, Draft, SocketUnit};
use crate::spec::Spec;
use crate::unit::{Kind, Meaning, Place, Setting, Unit, install_row, unit_row};

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done, or enforced.
    Enforced,
    /// It means nothing here: ordering, logging, accounting.
    Ignored,
    /// It is not supported, or not with this value: the service is refused.
    Missing,
}

impl Verdict {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::Ignored => "ignored",
            Self::Missing => "not supported",
        }
    }
}

/// A line, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The section, without brackets.
    pub section: String,
    /// The directive, as it is written; empty for what is about the section, or about the unit as a whole.
    pub name: String,
    /// Its value, with specifiers expanded.
    pub value: String,
    /// Where it stands; the main file's first line for what is about the unit as a whole.
    pub place: Place,
    /// What becomes of it.
    pub verdict: Verdict,
    /// How, or why not.
    pub why: String,
}

/// What becomes of every line of a unit, in the order of the sections: `[Unit]`, `[Service]` or `[Socket]`, `[Install]`.
pub fn lines(unit: &Unit) -> Vec<Line> {
    let mut settings = Settings::default();
    let mut lines: Vec<Line> = Vec::new();
    let told = |section: &str, setting: &Setting, (verdict, why): (Verdict, String)| Line {
        section: section.into(),
        name: setting.name.clone(),
        value: setting.value.clone(),
        place: setting.place.clone(),
        verdict,
        why,
    };
    for setting in &unit.unit {
        let verdict = of_unit(setting, &mut settings);
        lines.push(told(
            "Unit",
            setting,
            of_kind(unit.kind(), setting, verdict),
        ));
    }
    for setting in &unit.service {
        let verdict = of_service(&setting.name, &setting.value, &mut settings);
        lines.push(told("Service", setting, verdict));
    }
    let mut draft = Draft::default();
    for setting in &unit.socket {
        let verdict = of_socket(&setting.name, &setting.value, &mut draft);
        lines.push(told("Socket", setting, verdict));
    }
    for setting in &unit.install {
        let verdict = match install_row(&setting.name) {
            Some(row) if row.meaning == Meaning::Elsewhere => (Verdict::Ignored, row.how.into()),
            Some(row) => (Verdict::Enforced, row.how.into()),
            None => unknown(),
        };
        lines.push(told("Install", setting, verdict));
    }
    lines.extend(unit.unknown.iter().map(|(section, place)| Line {
        section: section.clone(),
        name: String::new(),
        value: String::new(),
        place: place.clone(),
        verdict: Verdict::Missing,
        why: format!("[{section}] is a section that is not known"),
    }));
    if lines.iter().all(|line| line.verdict != Verdict::Missing) {
        lines.extend(as_a_whole(unit));
    }
    lines
}

/// The names of what is not supported, each once, in order: `[X]` for a section, `-` for what lines that are each
/// supported add up to.
pub fn missing(lines: &[Line]) -> Vec<String> {
    let mut names = Vec::new();
    for line in lines.iter().filter(|line| line.verdict == Verdict::Missing) {
        let name = match (line.name.as_str(), line.section.as_str()) {
            ("", "Service" | "Socket") => String::from("-"),
            ("", section) => format!("[{section}]"),
            (name, _) => name.into(),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn unknown() -> (Verdict, String) {
    (Verdict::Missing, "is not known".into())
}

fn of_service(name: &str, value: &str, settings: &mut Settings) -> (Verdict, String) {
    let Some(directive) = find(name) else {
        return unknown();
    };
    match settings.assign(name, value) {
        Err(why) => (Verdict::Missing, why),
        Ok(()) if directive.effect == Effect::Elsewhere => (Verdict::Ignored, directive.how.into()),
        Ok(()) if directive.is_supported() => {
            let since = match directive.since {
                "" => String::new(),
                since => format!(" (Linux {since})"),
            };
            (Verdict::Enforced, format!("{}{since}", directive.how))
        }
        // It was allowed to go without.
        Ok(()) => (Verdict::Missing, directive.how.into()),
    }
}

fn of_socket(name: &str, value: &str, draft: &mut Draft) -> (Verdict, String) {
    let Some(row) = socket_unit::find(name) else {
        return unknown();
    };
    match draft.assign(name, value) {
        Err(why) => (Verdict::Missing, why),
        Ok(()) if row.effect == Effect::Elsewhere => (Verdict::Ignored, row.how.into()),
        Ok(()) if row.is_supported() => (Verdict::Enforced, row.how.into()),
        Ok(()) => (Verdict::Ignored, "asks for nothing".into()),
    }
}

/// How often a socket is opened anew is up to whoever starts `dynuser listen`.
fn of_kind(kind: Kind, setting: &Setting, verdict: (Verdict, String)) -> (Verdict, String) {
    let of_the_service = unit_row(&setting.name).is_some_and(|it| it.meaning == Meaning::Service);
    match (kind, of_the_service, verdict.0) {
        (Kind::Socket, true, Verdict::Enforced) => {
            let why = "how often a socket is opened: up to whoever starts dynuser listen";
            (Verdict::Ignored, why.into())
        }
        _ => verdict,
    }
}

fn of_unit(setting: &Setting, settings: &mut Settings) -> (Verdict, String) {
    if conditions::is_one(&setting.name) {
        return match Conditions::of(std::slice::from_ref(setting)) {
            Err(faults) => {
                let whys: Vec<String> = faults.into_iter().map(|fault| fault.what).collect();
                (Verdict::Missing, whys.join("; "))
            }
            Ok(all) => match all.conditions.first().or(all.asserts.first()) {
                Some(one) if !one.unanswered.is_empty() => {
                    (Verdict::Missing, one.unanswered.into())
                }
                _ => (Verdict::Enforced, "looked at before the start".into()),
            },
        };
    }
    let Some(row) = unit_row(&setting.name) else {
        return unknown();
    };
    match row.meaning {
        Meaning::Service => of_service(row.name, &setting.value, settings),
        Meaning::Here => (Verdict::Enforced, row.how.into()),
        Meaning::Elsewhere => (Verdict::Ignored, row.how.into()),
        Meaning::Unless(values) if values.contains(&setting.value.as_str()) => {
            (Verdict::Ignored, "asks for nothing".into())
        }
        Meaning::Unless(_) => (Verdict::Missing, row.how.into()),
    }
}

/// What is wrong with all of it together, where each line by itself is right.
fn as_a_whole(unit: &Unit) -> Option<Line> {
    let kind = unit.kind();
    let (why, first) = match kind {
        Kind::Socket => {
            let faults = SocketUnit::read(unit).err()?;
            let whys: Vec<String> = faults.into_iter().map(|fault| fault.what).collect();
            (whys.join("; "), unit.socket.first())
        }
        Kind::Service => {
            let request = Request {
                service: unit.name.without_suffix(),
                properties: unit.properties(),
            };
            let failure = Spec::check(&request).err()?;
            (failure.to_string(), unit.service.first())
        }
    };
    let place = first.map(|setting| setting.place.clone());
    Some(Line {
        section: kind.section().into(),
        name: String::new(),
        value: String::new(),
        place: place.unwrap_or(Place {
            file: unit.name.full(),
            line: 1,
            column: 1,
        }),
        verdict: Verdict::Missing,
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specifiers::{Context, UnitName};
    use crate::unit_file;

    fn check(text: &str) -> Vec<Line> {
        let entries = unit_file::parse("f", text).expect("syntax");
        let name = UnitName::parse("foo.service").expect("a name");
        lines(&Unit::read(&entries, &Context::system(name)).expect("a unit"))
    }

    #[test]
    fn every_line_has_a_verdict_and_what_is_missing_is_named_once() {
        let lines = check(
            "[Unit]\nDescription=x\nAfter=y\nConditionPathExists=/a\nConditionPathIsEncrypted=/b\n\
             ConditionNonsense=1\nNonsense=1\nFailureAction=reboot\nStartLimitAction=none\n\
             [Service]\nDynamicUser=yes\nSyslogIdentifier=x\nNoSuch=1\nNoSuch=2\nUMask=9\n\
             [Install]\nWantedBy=z\nDefaultInstance=a\n[Nobody]\nA=b",
        );
        let verdicts: Vec<(&str, Verdict)> = lines
            .iter()
            .map(|line| (line.name.as_str(), line.verdict))
            .collect();
        use Verdict::{Enforced, Ignored, Missing};
        assert_eq!(
            verdicts,
            [
                ("Description", Ignored),
                ("After", Ignored),
                ("ConditionPathExists", Enforced),
                ("ConditionPathIsEncrypted", Missing),
                ("ConditionNonsense", Missing),
                ("Nonsense", Missing),
                ("FailureAction", Missing),
                ("StartLimitAction", Ignored),
                ("DynamicUser", Enforced),
                ("SyslogIdentifier", Ignored),
                ("NoSuch", Missing),
                ("NoSuch", Missing),
                ("UMask", Missing),
                ("WantedBy", Ignored),
                ("DefaultInstance", Enforced),
                ("", Missing),
            ]
        );
        assert_eq!(
            missing(&lines),
            [
                "ConditionPathIsEncrypted",
                "ConditionNonsense",
                "Nonsense",
                "FailureAction",
                "NoSuch",
                "UMask",
                "[Nobody]"
            ]
        );
    }

    #[test]
    fn lines_that_are_right_by_themselves_may_be_wrong_together() {
        let lines = check("[Service]\nUser=root\nDynamicUser=yes");
        let last = lines.last().expect("lines");
        assert_eq!((last.verdict, last.name.as_str()), (Verdict::Missing, ""));
        assert!(last.why.contains("root"), "{}", last.why);
        assert_eq!(missing(&lines), ["-"]);
    }
}
