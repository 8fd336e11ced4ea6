//! What a unit says about other units, in the words of OpenRC, and what nothing is made of.

use crate::specifiers::UnitName;
use crate::unit::{Meaning, Setting, Unit, install_row, unit_row};

use super::quote::one_line;

/// What others call a target or service of systemd.
const VIRTUAL: [(&str, &str); 12] = [
    ("network.target", "net"),
    ("network-online.target", "net"),
    ("network-pre.target", "firewall"),
    ("nss-lookup.target", "dns"),
    ("syslog.target", "logger"),
    ("syslog.socket", "logger"),
    ("syslog.service", "logger"),
    ("rsyslog.service", "logger"),
    ("systemd-journald.service", "logger"),
    ("time-sync.target", "ntp-client"),
    ("remote-fs.target", "netmount"),
    ("local-fs.target", "localmount"),
];

/// What depend() of OpenRC says, by its functions (openrc-run(8)): `need`, `want`, `after`, `before`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Depend {
    /// The function, and the services.
    pub(super) lines: Vec<(&'static str, Vec<String>)>,
    /// What is not in there, as it is written: `Requires=foo.service`.
    pub(super) left: Vec<String>,
}

/// What nothing is made of: everything about other units, and words for people. The description is not among
/// them, for every definition has it.
pub(super) fn left(unit: &Unit) -> Vec<String> {
    about_others(unit)
        .map(|(_, setting)| written(setting))
        .collect()
}

fn written(setting: &Setting) -> String {
    one_line(&format!("{}={}", setting.name, setting.value))
}

/// The settings that mean nothing to the service itself, under their present names.
fn about_others(unit: &Unit) -> impl Iterator<Item = (&'static str, &Setting)> {
    let of_unit = unit.unit.iter().map(|it| (unit_row(&it.name), it));
    let of_install = unit.install.iter().map(|it| (install_row(&it.name), it));
    of_unit.chain(of_install).filter_map(|(row, setting)| {
        let row =
            row.filter(|row| row.meaning == Meaning::Elsewhere && row.name != "Description")?;
        (!setting.value.is_empty()).then_some((row.name, setting))
    })
}

/// The same for OpenRC, which can say some of it.
pub(super) fn depend(unit: &Unit) -> Depend {
    let mut depend = Depend::default();
    for (name, setting) in about_others(unit) {
        let mut missed = Vec::new();
        for word in setting.value.split_ascii_whitespace() {
            match translate(name, word) {
                Some((function, service)) => depend.add(function, service),
                None => missed.push(word),
            }
        }
        if !missed.is_empty() {
            let missed = missed.join(" ");
            depend
                .left
                .push(one_line(&format!("{}={missed}", setting.name)));
        }
    }
    depend.tidy();
    depend
}

fn translate(directive: &str, word: &str) -> Option<(&'static str, String)> {
    let known = VIRTUAL.iter().find(|(unit, _)| *unit == word);
    if let Some((_, service)) = known {
        let function = match directive {
            "After" => "after",
            "Before" => "before",
            // After= alone orders; who wants the network to be there needs it.
            "Wants" | "Requires" | "BindsTo" if *service == "net" => "need",
            "Wants" | "Requires" | "BindsTo" => "use",
            _ => return None,
        };
        return Some((function, (*service).into()));
    }
    let name = UnitName::parse(word).ok()?;
    // A backslash, or a dash in front, would be something else to a shell.
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let service = name.without_suffix();
    let tame =
        service.starts_with(|c: char| c.is_ascii_alphanumeric()) && service.chars().all(plain);
    let function = match directive {
        // A service that is not there is passed over with these.
        "After" => "after",
        "Before" => "before",
        _ => return None,
    };
    (tame && name.suffix() == "service").then_some((function, service))
}

impl Depend {
    fn add(&mut self, function: &'static str, service: String) {
        match self.lines.iter_mut().find(|line| line.0 == function) {
            Some((_, services)) if services.contains(&service) => {}
            Some((_, services)) => services.push(service),
            None => self.lines.push((function, vec![service])),
        }
    }

    /// What is needed is started before, without a word more.
    fn tidy(&mut self) {
        let strong = |line: &&(&str, Vec<String>)| matches!(line.0, "need" | "use");
        let strong: Vec<String> = self
            .lines
            .iter()
            .filter(strong)
            .flat_map(|line| line.1.clone())
            .collect();
        for (function, services) in &mut self.lines {
            if *function == "after" {
                services.retain(|service| !strong.contains(service));
            }
        }
        self.lines.retain(|line| !line.1.is_empty());
        self.lines.sort_by_key(|line| std::cmp::Reverse(line.0));
    }
}
