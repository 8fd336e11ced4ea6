//! What lists of paths say: `ReadWritePaths=`, `ReadOnlyPaths=`, `InaccessiblePaths=`, `ExecPaths=`, `NoExecPaths=`.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::Step;
use super::hardening::KERNEL_TREES;
use super::step::Action;
use crate::directives::{Access, Settings};
use crate::exec_directory::lies_in;
use crate::failure::Stage;

fn step(path: &str, action: Action) -> Step {
    Step::new(Stage::Namespace, path, action)
}

/// What is said of one path.
#[derive(Clone, Copy, Debug, Default)]
struct Rule {
    writable: Option<bool>,
    executable: Option<bool>,
    hidden: bool,
    optional: bool,
}

impl Rule {
    fn lifts(&self) -> bool {
        !self.hidden && (self.writable == Some(true) || self.executable == Some(true))
    }
}

/// The rules of all paths, sorted by path: an outer one comes before what lies in it.
#[derive(Debug)]
pub(super) struct PathRules {
    rules: BTreeMap<String, Rule>,
    /// Places of the service's own: what it sees there is not what the host has there.
    own: Vec<String>,
}

impl PathRules {
    /// `real` tells where a path leads: a rule about a link is one about what it points to, and only so it is known what
    /// lies in what.
    pub(super) fn new(
        settings: &Settings,
        own: Vec<String>,
        real: impl Fn(&str) -> String,
    ) -> Self {
        let mut rules: BTreeMap<String, Rule> = BTreeMap::new();
        for one in &settings.mounts.paths {
            let rule = rules.entry(real(&one.path)).or_insert(Rule {
                optional: true,
                ..Rule::default()
            });
            rule.optional &= one.may_be_missing;
            match one.access {
                // Of two lists that name the same, the stricter one counts.
                Access::Write => rule.writable = rule.writable.or(Some(true)),
                Access::Read => rule.writable = Some(false),
                Access::Execute => rule.executable = rule.executable.or(Some(true)),
                Access::NoExecute => rule.executable = Some(false),
                Access::Nothing => rule.hidden = true,
            }
        }
        Self { rules, own }
    }

    fn is_own(&self, path: &str) -> bool {
        self.own.iter().any(|top| lies_in(path, top))
    }

    /// What holds for a path: what is said of it, or else of the nearest one around it.
    fn in_force<T>(&self, path: &str, of: impl Fn(&Rule) -> Option<T>) -> Option<T> {
        let around = self.rules.iter().rev();
        let mut around = around.filter(|(top, _)| *top == "/" || lies_in(path, top));
        around.find_map(|(_, rule)| of(rule))
    }

    /// What holds for a path by what is said of those around it.
    fn around<T>(&self, path: &str, of: impl Fn(&Rule) -> Option<T>) -> Option<T> {
        let (above, _) = path.rsplit_once('/')?;
        self.in_force(if above.is_empty() { "/" } else { above }, of)
    }

    /// The views that they need, taken on the host. What lies in a place of the service's own is not taken from there:
    /// the service would see the host's.
    pub(super) fn views(&self) -> Vec<Step> {
        let lifted = self.rules.iter().filter(|(_, rule)| rule.lifts());
        let lifted = lifted.filter(|(path, _)| *path != "/" && !self.is_own(path));
        let take = |(path, rule): (&String, &Rule)| {
            let action = Action::TakeBind {
                name: name(path),
                writable: self.in_force(path, |rule| rule.writable) == Some(true),
                no_exec: self.in_force(path, |rule| rule.executable) == Some(false),
                recursive: true,
                optional: rule.optional,
            };
            step(path, action)
        };
        lifted.map(take).collect()
    }

    /// What they do, from the outside in, after the other `steps` in the namespace. Everything is read-only already but
    /// for the service's own places and the kernel's trees.
    pub(super) fn steps(&self, steps: &[Step]) -> Vec<Step> {
        let mut mounted: Vec<&str> = steps.iter().filter_map(mount_point).collect();
        mounted.sort_unstable();
        let mut all = Vec::new();
        for (path, rule) in &self.rules {
            let optional = rule.optional;
            if rule.hidden {
                all.push(step(path, Action::Hide { optional }));
                continue;
            }
            if rule.lifts() && path != "/" {
                all.extend(self.lift(path, rule, &mounted));
            }
            let read_only = rule.writable == Some(false) && self.is_writable_anyway(path);
            let no_exec = rule.executable == Some(false);
            if read_only || no_exec {
                let action = Action::Restrict {
                    read_only,
                    no_exec,
                    optional,
                };
                all.push(step(path, action));
            }
        }
        all
    }

    fn is_writable_anyway(&self, path: &str) -> bool {
        self.is_own(path)
            || KERNEL_TREES.iter().any(|top| lies_in(path, top))
            || self.around(path, |rule| rule.writable) == Some(true)
    }

    fn lift(&self, path: &str, rule: &Rule, mounted: &[&str]) -> Option<Step> {
        if self.is_own(path) {
            let taken = |of: fn(&Rule) -> Option<bool>| {
                of(rule) == Some(true) && self.around(path, of) == Some(false)
            };
            let (writable, executable) = (taken(|it| it.writable), taken(|it| it.executable));
            let action = Action::Lift {
                writable,
                executable,
                optional: rule.optional,
            };
            return (writable || executable).then(|| step(path, action));
        }
        // What is in it and was covered, or is the service's own, must not be the host's again.
        let mut over: Vec<String> = Vec::new();
        for inner in mounted.iter().filter(|inner| lies_in(inner, path)) {
            if !over.iter().any(|top| lies_in(inner, top)) {
                over.push(String::from(*inner));
            }
        }
        let action = Action::AttachBind {
            name: name(path),
            inside: None,
            over,
        };
        Some(step(path, action))
    }

    /// Where the service may make files by them.
    pub(super) fn writable(&self) -> impl Iterator<Item = &String> {
        let lifted = self.rules.iter();
        let lifted = lifted.filter(|(_, rule)| rule.writable == Some(true) && !rule.hidden);
        lifted.map(|(path, _)| path)
    }
}

/// What the view of a path is called.
fn name(path: &str) -> String {
    format!("rule {path}")
}

/// Where a step mounts something.
fn mount_point(step: &Step) -> Option<&str> {
    let mounts = matches!(
        step.action,
        Action::MountTmpfs { .. }
            | Action::AttachView { .. }
            | Action::AttachBind { .. }
            | Action::MountProc { .. }
            | Action::MountDevices
            | Action::MountQueues
            | Action::Hide { .. }
            | Action::Restrict { .. }
    );
    mounts.then_some(step.path.as_str())
}
