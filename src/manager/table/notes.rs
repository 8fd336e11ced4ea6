//! What is noted of a lease while its service is made ready: it goes when the lease ends.

use super::Table;
use crate::failure::Failure;
use crate::uid::Uid;

impl Table {
    /// Notes directories in /run that are about to be made under a lease.
    pub(in crate::manager) fn note_made(
        &mut self,
        uid: Uid,
        paths: Vec<String>,
    ) -> Result<(), Failure> {
        self.change(uid, |lease| {
            lease.made.extend(paths);
            lease.made.sort();
            lease.made.dedup();
        })
    }

    /// Notes that processes of a lease have the group of another one's user.
    pub(in crate::manager) fn note_use(&mut self, uid: Uid, other: Uid) -> Result<(), Failure> {
        self.change(uid, |lease| lease.uses.push(other.get()))
    }

    /// Notes a control group that was made under a lease.
    pub(in crate::manager) fn note_group(&mut self, uid: Uid, path: &str) -> Result<(), Failure> {
        self.change(uid, |lease| lease.control_groups.push(path.into()))
    }
}
