//! Ways into the table that are not by number: by name, and by directory. A request is answered
//! without a look at every lease there is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::exec_directory::ExecDirectory;
use crate::lease::Lease;
use crate::life::State;

/// What is known by name and by directory: all leases that have their name still.
#[derive(Debug, Default)]
pub(super) struct Index {
    names: HashMap<String, u32>,
    /// Numbers by the path that the world knows a directory under.
    directories: BTreeMap<String, BTreeSet<u32>>,
}

/// Whether a lease can be found by its name: also the one of a user that the host has anyway, whose
/// name cannot get another number.
fn is_found_by_name(lease: &Lease) -> bool {
    lease.state.has_its_name() || !lease.dynamic
}

impl Index {
    pub(super) fn add(&mut self, lease: &Lease) {
        // One that runs, rather than one that is ending: a daemon that could not write that it is in
        // quarantine may have been killed.
        let first = lease.state == State::Running || !self.names.contains_key(&lease.name);
        if is_found_by_name(lease) && !lease.is_damaged() && first {
            self.names.insert(lease.name.clone(), lease.uid);
        }
        if lease.state.has_its_name() {
            for directory in lease.exec_directories() {
                let holders = self.directories.entry(directory.public()).or_default();
                holders.insert(lease.uid);
            }
        }
    }

    pub(super) fn remove(&mut self, lease: &Lease) {
        if self.names.get(&lease.name) == Some(&lease.uid) {
            self.names.remove(&lease.name);
        }
        for directory in lease.exec_directories() {
            let path = directory.public();
            if let Some(holders) = self.directories.get_mut(&path) {
                holders.remove(&lease.uid);
                if holders.is_empty() {
                    self.directories.remove(&path);
                }
            }
        }
    }

    /// The number of a name.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// The leases that have one of `directories`, or one in it, or one that it is in.
    pub(super) fn overlapping<'a>(
        &self,
        directories: impl Iterator<Item = &'a ExecDirectory>,
    ) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        for directory in directories {
            let path = directory.public();
            for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
                let above = path.get(..end).unwrap_or_default();
                found.extend(self.directories.get(above).into_iter().flatten());
            }
            let inside = format!("{path}/");
            let below = self.directories.range(inside.clone()..);
            let below = below.take_while(|(path, _)| path.starts_with(&inside));
            found.extend(below.flat_map(|(_, holders)| holders));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec_directory::Kind;
    use crate::holder::Holder;

    fn lease(name: &str, uid: u32, directories: &[&str]) -> Lease {
        let mut lease = Lease::damaged(uid, "");
        lease.name = name.into();
        lease.state = State::Running;
        let directories = directories.iter();
        lease.holders.push(Holder {
            directories: directories
                .map(|path| (Kind::State.word().into(), (*path).into()))
                .collect(),
            ..Holder::sample(name)
        });
        lease
    }

    fn overlapping(index: &Index, path: &str) -> Vec<u32> {
        let directory = ExecDirectory::parse(Kind::State, path).unwrap();
        index
            .overlapping([&directory].into_iter())
            .into_iter()
            .collect()
    }

    #[test]
    fn directories_overlap_with_themselves_and_what_is_in_them_or_around_them() {
        let mut index = Index::default();
        let leases = [
            lease("one", 1, &["a/b"]),
            lease("two", 2, &["a/bc", "x"]),
            lease("three", 3, &["a/b", "y/y"]),
        ];
        for lease in &leases {
            index.add(lease);
        }
        for (path, expected) in [
            ("a/b", &[1, 3][..]),
            ("a", &[1, 2, 3]),
            ("a/b/c", &[1, 3]),
            ("a/bcd", &[]),
            ("y", &[3]),
            ("x/z/z", &[2]),
            ("z", &[]),
        ] {
            assert_eq!(overlapping(&index, path), expected, "{path}");
        }
        index.remove(&leases[2]);
        assert_eq!(overlapping(&index, "a/b"), [1]);
        assert_eq!(overlapping(&index, "y"), [0; 0]);
        assert_eq!(index.number("three"), None);
        assert_eq!(index.number("one"), Some(1));
    }

    #[test]
    fn a_name_in_quarantine_means_its_newer_lease() {
        let mut index = Index::default();
        let mut old = lease("b", 1, &["a"]);
        old.state = State::Quarantined;
        index.add(&old);
        assert_eq!(index.number("b"), None);
        assert_eq!(overlapping(&index, "a"), [0; 0]);
        let new = lease("b", 2, &[]);
        index.add(&new);
        index.remove(&old);
        assert_eq!(index.number("b"), Some(2));
    }
}
