//! What the directives of `[Unit]` and `[Install]` mean to a service that is started by itself.

/// What is done about one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It is about the service itself: a property of the request, as if it stood in `[Service]`.
    Service,
    /// It is done by whoever reads the unit file.
    Here,
    /// It means nothing here: it orders units, or tells systemd how to treat its own jobs.
    Elsewhere,
    /// It means something that is not done, unless it has one of these values.
    Unless(&'static [&'static str]),
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its present name.
    pub name: &'static str,
    /// What is done about it.
    pub meaning: Meaning,
    /// How, or why not.
    pub how: &'static str,
}

const ORDER: &str = "ordering: which other units there are, and when, is up to whoever starts them";
const WORDS: &str = "words for people";
const JOBS: &str = "systemd's own jobs";
const ENABLED: &str = "what enabling the unit would do: whoever starts it has decided";
const STOPPED: &str = "how a host is shut down, and what systemd collects";

const fn elsewhere(name: &'static str, how: &'static str) -> Row {
    Row {
        name,
        meaning: Meaning::Elsewhere,
        how,
    }
}

const fn service(name: &'static str) -> Row {
    Row {
        name,
        meaning: Meaning::Service,
        how: "as in [Service]",
    }
}

const fn unless(name: &'static str, values: &'static [&'static str], how: &'static str) -> Row {
    Row {
        name,
        meaning: Meaning::Unless(values),
        how,
    }
}

/// Every directive of `[Unit]` but `Condition…=` and `Assert…=`, which are in [`crate::conditions`].
const UNIT: &[Row] = &[
    elsewhere("Description", WORDS),
    elsewhere("Documentation", WORDS),
    elsewhere("SourcePath", WORDS),
    elsewhere("Wants", ORDER),
    elsewhere("Requires", ORDER),
    elsewhere("Requisite", ORDER),
    elsewhere("BindsTo", ORDER),
    elsewhere("PartOf", ORDER),
    elsewhere("Upholds", ORDER),
    elsewhere("Conflicts", ORDER),
    elsewhere("Before", ORDER),
    elsewhere("After", ORDER),
    elsewhere("OnFailure", ORDER),
    elsewhere("OnSuccess", ORDER),
    elsewhere("PropagatesReloadTo", ORDER),
    elsewhere("ReloadPropagatedFrom", ORDER),
    elsewhere("PropagatesStopTo", ORDER),
    elsewhere("StopPropagatedFrom", ORDER),
    elsewhere("RequiresMountsFor", ORDER),
    elsewhere("WantsMountsFor", ORDER),
    elsewhere("DefaultDependencies", ORDER),
    elsewhere("OnFailureJobMode", JOBS),
    elsewhere("OnSuccessJobMode", JOBS),
    elsewhere("IgnoreOnIsolate", JOBS),
    elsewhere("StopWhenUnneeded", JOBS),
    elsewhere("RefuseManualStart", JOBS),
    elsewhere("RefuseManualStop", JOBS),
    elsewhere("AllowIsolate", JOBS),
    elsewhere("JobTimeoutSec", JOBS),
    elsewhere("JobRunningTimeoutSec", JOBS),
    elsewhere("JobTimeoutAction", JOBS),
    elsewhere("JobTimeoutRebootArgument", JOBS),
    elsewhere("CollectMode", STOPPED),
    elsewhere("SurviveFinalKillSignal", STOPPED),
    elsewhere("SuccessActionExitStatus", STOPPED),
    elsewhere("FailureActionExitStatus", STOPPED),
    elsewhere("RebootArgument", STOPPED),
    service("StartLimitIntervalSec"),
    service("StartLimitBurst"),
    unless(
        "StartLimitAction",
        &["none", ""],
        "what happens to the host",
    ),
    unless("FailureAction", &["none", ""], "what happens to the host"),
    unless("SuccessAction", &["none", ""], "what happens to the host"),
    unless(
        "JoinsNamespaceOf",
        &[""],
        "/tmp and the network of another unit",
    ),
];

const INSTALL: &[Row] = &[
    elsewhere("Alias", ENABLED),
    elsewhere("WantedBy", ENABLED),
    elsewhere("RequiredBy", ENABLED),
    elsewhere("UpheldBy", ENABLED),
    elsewhere("Also", ENABLED),
    Row {
        name: "DefaultInstance",
        meaning: Meaning::Here,
        how: "the instance of a template where none is named",
    },
];

/// Former names (systemd's `load-fragment-gperf.gperf.in` still knows them), and the present ones.
const ALIASES: &[(&str, &str)] = &[
    ("BindTo", "BindsTo"),
    ("OnFailureIsolate", "OnFailureJobMode"),
    ("PropagateReloadFrom", "ReloadPropagatedFrom"),
    ("PropagateReloadTo", "PropagatesReloadTo"),
    ("RequiresOverridable", "Requires"),
    ("RequisiteOverridable", "Requisite"),
    ("StartLimitInterval", "StartLimitIntervalSec"),
];

/// The directive of `[Unit]` of a name, present or former.
pub fn unit_row(name: &str) -> Option<&'static Row> {
    let alias = ALIASES.iter().find(|(former, _)| *former == name);
    let name = alias.map_or(name, |(_, present)| present);
    UNIT.iter().find(|row| row.name == name)
}

/// The directive of `[Install]` of a name.
pub fn install_row(name: &str) -> Option<&'static Row> {
    INSTALL.iter().find(|row| row.name == name)
}
