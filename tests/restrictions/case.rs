//! A restriction, or what a service is given, tried from inside.

use crate::support::{Arena, Output};

const TOOLS: &str = include_str!("tools.py");

/// Who tries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As {
    /// The service's own user.
    Service,
    /// root in the sandbox, who is not refused for lack of rights.
    Root,
}

/// What is asked for, and what becomes of acts with and without it.
pub(crate) struct Case {
    pub(crate) who: As,
    /// Assignments that are there in any case.
    pub(crate) base: &'static [&'static str],
    /// Those that are tried.
    pub(crate) properties: &'static [&'static str],
    /// Acts, and how they fail; without the properties they end otherwise.
    pub(crate) refused: &'static [(&'static str, &'static str)],
    /// Acts that work, and do not without the properties.
    pub(crate) gained: &'static [&'static str],
    /// Acts that work all the same.
    pub(crate) allowed: &'static [&'static str],
}

/// A case of nothing.
pub(crate) const CASE: Case = Case {
    who: As::Service,
    base: &[],
    properties: &[],
    refused: &[],
    gained: &[],
    allowed: &[],
};

/// Runs a program with the tools, as a service called `box`.
pub(crate) fn python(arena: &Arena, who: As, properties: &[&str], program: &str) -> Output {
    let mut words = vec!["dynuser", "run", "-u", "box"];
    for property in properties {
        words.extend(["-p", property]);
    }
    let program = format!("{TOOLS}{program}");
    let python = match who {
        As::Service => "/usr/bin/python3",
        As::Root => "!/usr/bin/python3",
    };
    words.extend([python, "-I", "-c", &program]);
    arena.run(words)
}

/// How acts go, in order, in one start of the service.
pub(crate) fn attempts(arena: &Arena, who: As, properties: &[&str], acts: &[&str]) -> Vec<String> {
    let program: Vec<String> = acts
        .iter()
        .map(|act| format!("print(attempt(lambda: {act}))"))
        .collect();
    let out = python(arena, who, properties, &program.join("\n")).ok();
    out.lines().map(str::to_owned).collect()
}

impl Case {
    /// Tries everything with the properties, and what they change without them.
    #[track_caller]
    pub(crate) fn try_in(&self, arena: &Arena) {
        let all = [self.base, self.properties].concat();
        let refused = self.refused.iter().map(|(act, _)| *act);
        let acts: Vec<&str> = refused.chain(self.gained.iter().copied()).collect();
        let answers = attempts(arena, self.who, &all, &[&acts[..], self.allowed].concat());
        let mut answers = answers.iter();
        for (act, error) in self.refused {
            let answer = answers.next().unwrap();
            assert_eq!(answer, error, "{act} with {all:?}");
        }
        for act in self.gained.iter().chain(self.allowed) {
            let answer = answers.next().unwrap();
            assert_eq!(answer, "OK", "{act} with {all:?}");
        }
        // Not all that is gained or refused depends on the properties alone, if there are none.
        if acts.is_empty() {
            return;
        }
        let without = attempts(arena, self.who, self.base, &acts);
        let mut without = without.iter();
        for (act, error) in self.refused {
            let answer = without.next().unwrap();
            assert_ne!(
                answer, error,
                "{act} is refused without {:?} too",
                self.properties
            );
        }
        for act in self.gained {
            let answer = without.next().unwrap();
            assert_ne!(
                answer, "OK",
                "{act} works without {:?} too",
                self.properties
            );
        }
    }
}
