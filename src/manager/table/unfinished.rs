//! Leases whose end is still to come.

use super::{Table, moved};
use crate::lease::Lease;
use crate::life::{Event, State};
use crate::uid::Uid;

impl Table {
    /// A lease whose end is still to come: what the former daemon did not finish, or nobody could.
    /// Given once, to a caller who must see it to its end.
    pub(in crate::manager) fn unfinished(&mut self) -> Option<Lease> {
        let mut leases = self.leases.values();
        let next = leases.find(|lease| self.is_unfinished(lease))?;
        self.releasing.insert(next.uid);
        Some(Lease::clone(next))
    }

    /// How many of them there are.
    pub(in crate::manager) fn count_unfinished(&self) -> usize {
        let leases = self.leases.values();
        leases.filter(|lease| self.is_unfinished(lease)).count()
    }

    fn is_unfinished(&self, lease: &Lease) -> bool {
        lease.state.is_to_be_taken_back()
            && !lease.is_damaged()
            && !self.releasing.contains(&lease.uid)
            && !self.given_up.contains(&lease.uid)
            && !self.pending.contains(&lease.name)
    }

    /// The lease of a number that is in quarantine, for a caller who must see it to its end.
    pub(in crate::manager) fn try_quarantined(&mut self, uid: Uid) -> Option<Lease> {
        let lease = self.leases.get(&uid.get())?;
        let stuck = lease.state == State::Quarantined && !self.pending.contains(&lease.name);
        (stuck && self.releasing.insert(lease.uid)).then(|| Lease::clone(lease))
    }

    /// Leases in quarantine may be given out by [`unfinished`](Self::unfinished) once more.
    pub(in crate::manager) fn let_quarantine_be_tried(&mut self) {
        self.given_up.clear();
    }

    /// Something of a lease could not be taken back. Gives the lease as it is now.
    pub(in crate::manager) fn stuck(&mut self, uid: u32, reason: String) -> Option<Lease> {
        self.releasing.remove(&uid);
        self.given_up.insert(uid);
        let mut lease = Lease::clone(self.leases.get(&uid)?);
        lease.state = moved(&lease, Event::Stuck)?;
        lease.reason = Some(reason);
        self.put(lease.clone());
        self.tell_all(&lease.uses);
        Some(lease)
    }
}
