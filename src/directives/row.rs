//! What a directive is, and how one is found.

use super::{Settings, all};

/// What is done about a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The service needs it to do what it is for.
    Function,
    /// It takes rights away, and the service runs without it too.
    Restriction,
    /// It means nothing to the service itself: ordering, logging, accounting.
    Elsewhere,
}

/// One directive.
pub struct Directive {
    /// Its name, as in systemd.exec(5), systemd.service(5), systemd.kill(5) or systemd.resource-control(5).
    pub name: &'static str,
    /// What is done about it.
    pub effect: Effect,
    /// How it is done or enforced; why it is not, for one that is not supported or means nothing here.
    pub how: &'static str,
    /// Since which kernel; empty for every one that the program runs on.
    pub since: &'static str,
    /// Whether it is in force for a dynamic user only.
    pub dynamic_only: bool,
    /// How it is applied: an error is a sentence about the value.
    pub(super) apply: Option<Apply>,
}

/// What applies an assignment to the settings.
pub(super) type Apply = fn(&mut Settings, &str) -> Result<(), String>;

impl Directive {
    const fn new(
        name: &'static str,
        effect: Effect,
        how: &'static str,
        apply: Option<Apply>,
    ) -> Self {
        Self {
            name,
            effect,
            how,
            since: "",
            dynamic_only: false,
            apply,
        }
    }

    /// The same, enforced since a kernel.
    pub(super) const fn since(self, since: &'static str) -> Self {
        Self { since, ..self }
    }

    /// The same, for a dynamic user only.
    pub(super) const fn dynamic(self) -> Self {
        Self {
            dynamic_only: true,
            ..self
        }
    }

    /// Whether it is done, or enforced.
    pub fn is_supported(&self) -> bool {
        self.apply.is_some() || self.effect == Effect::Elsewhere
    }
}

/// One that the service needs.
pub(super) const fn function(name: &'static str, how: &'static str, apply: Apply) -> Directive {
    Directive::new(name, Effect::Function, how, Some(apply))
}

/// One that takes rights away.
pub(super) const fn restriction(name: &'static str, how: &'static str, apply: Apply) -> Directive {
    Directive::new(name, Effect::Restriction, how, Some(apply))
}

/// One that means nothing to the service itself.
pub(super) const fn elsewhere(name: &'static str, why: &'static str) -> Directive {
    Directive::new(name, Effect::Elsewhere, why, None)
}

/// One that a service may need, and that is not supported.
pub(super) const fn missing(name: &'static str, why: &'static str) -> Directive {
    Directive::new(name, Effect::Function, why, None)
}

/// One that takes rights away, and is not supported.
pub(super) const fn unenforced(name: &'static str, why: &'static str) -> Directive {
    Directive::new(name, Effect::Restriction, why, None)
}

/// Former names (systemd's `load-fragment-gperf.gperf.in` still knows them), and the present ones.
const ALIASES: &[(&str, &str)] = &[
    ("InaccessibleDirectories", "InaccessiblePaths"),
    ("ReadOnlyDirectories", "ReadOnlyPaths"),
    ("ReadWriteDirectories", "ReadWritePaths"),
    ("StartLimitInterval", "StartLimitIntervalSec"),
    ("PrivateUsersEx", "PrivateUsers"),
    ("MemoryLimit", "MemoryMax"),
];

/// The present name of a directive.
pub fn canonical(name: &str) -> &str {
    let alias = ALIASES.iter().find(|(former, _)| *former == name);
    alias.map_or(name, |(_, present)| present)
}

/// The directive of a name, present or former.
pub fn find(name: &str) -> Option<&'static Directive> {
    let name = canonical(name);
    all().find(|directive| directive.name == name)
}
