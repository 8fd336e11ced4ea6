//! How many numbers are not free, and why.

use super::Table;
use crate::life::State;
use crate::names::UserName;

/// How the numbers that are not free are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::manager) struct Tally {
    /// Somebody holds them, or what they had is being taken back.
    pub(in crate::manager) leased: usize,
    /// Something could not be taken back.
    pub(in crate::manager) quarantined: usize,
    /// They are being looked at for others.
    pub(in crate::manager) reserved: usize,
}

impl Table {
    /// Whether a number is leased to another name, or being looked at for one.
    pub(in crate::manager) fn is_of_another(&self, uid: u32, user: &UserName) -> bool {
        let lease = self.leases.get(&uid).map(|lease| lease.name.as_str());
        let reserved = self.reserved.get(&uid).map(String::as_str);
        [lease, reserved]
            .into_iter()
            .flatten()
            .any(|name| name != user.as_str())
    }

    /// How many leases are not in quarantine, and requests for one.
    pub(in crate::manager) fn live(&self) -> usize {
        let leased = self.tally(|_| true, None).leased;
        leased.saturating_add(self.pending.len())
    }

    /// How many numbers are not free, of those that `counts` says yes to. Those that are being looked
    /// at for `asking` it knows itself.
    pub(in crate::manager) fn tally(
        &self,
        counts: impl Fn(u32) -> bool,
        asking: Option<&UserName>,
    ) -> Tally {
        let asking = asking.map(UserName::as_str);
        let reserved = self.reserved.iter();
        let reserved =
            reserved.filter(|(uid, name)| counts(**uid) && asking != Some(name.as_str()));
        let mut tally = Tally {
            reserved: reserved.count(),
            ..Tally::default()
        };
        for lease in self.leases.values().filter(|lease| counts(lease.uid)) {
            let count = match lease.state {
                State::Running | State::Ending => &mut tally.leased,
                State::Quarantined => &mut tally.quarantined,
            };
            *count = count.saturating_add(1);
        }
        tally
    }
}
