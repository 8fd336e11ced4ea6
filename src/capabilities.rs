//! Capabilities by name and number (capabilities(7), `linux/capability.h`), and the lists of
//! `CapabilityBoundingSet=` and `AmbientCapabilities=` (systemd.exec(5)).

#![forbid(unsafe_code)]

use std::fmt;

use crate::words::{self, Escapes};

/// All names; the place of each is its number.
const NAMES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

/// The number of a capability, by its name in upper or lower case, or by its number.
pub fn number(name: &str) -> Option<u8> {
    let known = || {
        NAMES
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name))
    };
    let place = name.parse::<usize>().ok().or_else(known)?;
    let number = u8::try_from(place).ok()?;
    (place < NAMES.len()).then_some(number)
}

/// The name of a capability, in lower case.
pub fn name(number: u8) -> Option<&'static str> {
    NAMES.get(usize::from(number)).copied()
}

/// A set of capabilities: bit N is capability N.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CapabilitySet(pub u64);

impl CapabilitySet {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// All that have a name here.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// Reads the words of a list, without `~`.
    ///
    /// # Errors
    /// A sentence that names the word that is no capability (systemd warns and passes over it; in a list
    /// with `~` it would then be kept).
    fn parse(list: &str) -> Result<Self, String> {
        let mut set = Self::EMPTY;
        for word in words::split_by(list, Escapes::Plain)? {
            let number = number(&word).ok_or_else(|| format!("{word:?} is no capability"))?;
            set = set.with(number);
        }
        Ok(set)
    }

    /// This set after one more assignment of a setting whose value is `initial` while nobody assigned
    /// anything: [`CapabilitySet::ALL`] for `CapabilityBoundingSet=`, [`CapabilitySet::EMPTY`] for
    /// `AmbientCapabilities=`.
    ///
    /// As systemd: an empty list resets to none, `~` alone to all; on a set that is as it was at the
    /// beginning a list replaces it (`~` with all but the list); otherwise it adds, or with `~` takes away.
    ///
    /// # Errors
    /// A sentence that names the word that is no capability.
    pub fn assign(self, initial: Self, value: &str) -> Result<Self, String> {
        let (list, inverts) = match value.strip_prefix('~') {
            Some(list) => (list, true),
            None => (value, false),
        };
        let list = Self::parse(list)?;
        let replaces = list == Self::EMPTY || self == initial;
        Ok(match (replaces, inverts) {
            (true, false) => list,
            (true, true) => Self::ALL.without(list),
            (false, false) => Self(self.0 | list.0),
            (false, true) => self.without(list),
        })
    }

    /// With one more.
    #[must_use]
    pub fn with(self, number: u8) -> Self {
        Self(self.0 | 1_u64.checked_shl(u32::from(number)).unwrap_or(0))
    }

    /// Without those of another set.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that both have.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it is in the set.
    pub fn has(self, number: u8) -> bool {
        Self::EMPTY.with(number).0 & self.0 != 0
    }

    /// The numbers in it, ascending.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..64).filter(move |number| self.has(*number))
    }
}

/// The names with blanks between them, as `systemctl show` does it.
impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, number) in self.numbers().enumerate() {
            let blank = if place == 0 { "" } else { " " };
            match name(number) {
                Some(name) => write!(f, "{blank}{name}")?,
                None => write!(f, "{blank}{number}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The kernel's own list is beside: what it calls the last one.
    #[test]
    fn names_and_numbers_are_the_kernels() {
        for (text, wanted) in [
            ("CAP_CHOWN", Some(0)),
            ("cap_net_bind_service", Some(10)),
            ("CAP_sys_ADMIN", Some(21)),
            ("CAP_SYSLOG", Some(34)),
            ("CAP_CHECKPOINT_RESTORE", Some(40)),
            ("12", Some(12)),
            ("41", None),
            ("CHOWN", None),
            ("", None),
        ] {
            assert_eq!(number(text), wanted, "{text}");
        }
        assert_eq!(CapabilitySet::ALL.numbers().count(), 41);
        assert!(CapabilitySet::ALL.has(40) && !CapabilitySet::ALL.has(41));
    }

    fn assigned(initial: CapabilitySet, values: &[&str]) -> CapabilitySet {
        values.iter().fold(initial, |set, value| {
            set.assign(initial, value).expect("capabilities")
        })
    }

    #[test]
    fn assignments_replace_add_and_take_away() {
        let all = CapabilitySet::ALL;
        let none = CapabilitySet::EMPTY;
        let set = |numbers: &[u8]| numbers.iter().fold(none, |set, it| set.with(*it));
        for (initial, values, wanted) in [
            (all, &["CAP_CHOWN CAP_KILL"][..], set(&[0, 5])),
            (all, &["CAP_CHOWN", "CAP_KILL"], set(&[0, 5])),
            (all, &["~CAP_CHOWN"], all.without(set(&[0]))),
            (all, &["~CAP_CHOWN", "~CAP_KILL"], all.without(set(&[0, 5]))),
            (all, &["CAP_CHOWN CAP_KILL", "~CAP_KILL"], set(&[0])),
            (all, &["~CAP_CHOWN", "CAP_CHOWN"], all),
            (all, &[""], none),
            (all, &["", "CAP_CHOWN"], set(&[0])),
            (all, &["", "~"], all),
            (none, &["CAP_CHOWN", "CAP_KILL"], set(&[0, 5])),
            (none, &["~CAP_CHOWN"], all.without(set(&[0]))),
            (none, &["CAP_CHOWN", ""], none),
            (none, &["CAP_CHOWN", "~CAP_KILL"], set(&[0])),
        ] {
            assert_eq!(assigned(initial, values), wanted, "{values:?}");
        }
        assert_eq!(set(&[0, 10]).to_string(), "cap_chown cap_net_bind_service");
        assert!(none.assign(none, "CAP_CHOWN CAP_NO").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _set = CapabilitySet::ALL.assign(CapabilitySet::ALL, &text);
        }

        #[test]
        fn what_is_shown_is_read(bits in 1_u64..1 << 41) {
            let set = CapabilitySet(bits);
            prop_assert_eq!(CapabilitySet::EMPTY.assign(CapabilitySet::EMPTY, &set.to_string()), Ok(set));
        }
    }
}
