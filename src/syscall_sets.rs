//! Names of system calls, and the groups of them that `SystemCallFilter=` knows (systemd.exec(5)).

#![forbid(unsafe_code)]

pub mod numbers;
mod table;

use std::collections::BTreeSet;

use numbers::Table;
use table::SETS;

/// The group that stands for every call there is.
const KNOWN: &str = "@known";

/// The other names by which libseccomp finds a call of 32-bit ARM, and the names of the kernel's table.
const ALIASES: [(&str, &str); 3] = [
    ("arm_fadvise64_64", "fadvise64_64"),
    ("arm_sync_file_range", "sync_file_range2"),
    ("fstatat", "newfstatat"),
];

/// What a word of `SystemCallFilter=` stands for: a name for itself, a group for all its members, those of the
/// groups in it too.
///
/// Names of calls that the machine at hand does not have are among them, and mean nothing there.
///
/// # Errors
/// A sentence, when there is no such group, or no architecture that has such a call: a typing error in a deny
/// list would be a hole.
pub fn expand(word: &str) -> Result<BTreeSet<&'static str>, String> {
    let mut names = BTreeSet::new();
    if word.starts_with('@') {
        let (group, _) = find(word).ok_or_else(|| {
            let groups: Vec<&str> = SETS.iter().map(|(name, _)| *name).collect();
            format!("names {word:?}; there are {}", groups.join(", "))
        })?;
        add(group, &mut names, SETS.len());
    } else {
        names.insert(known(word).ok_or_else(|| {
            format!("names {word:?}, a system call that no architecture is known to have")
        })?);
    }
    Ok(names)
}

/// The members of a group that is known to be there.
pub(crate) fn members(group: &'static str) -> BTreeSet<&'static str> {
    let mut names = BTreeSet::new();
    add(group, &mut names, SETS.len());
    names
}

fn find(group: &str) -> Option<(&'static str, &'static str)> {
    SETS.iter().copied().find(|(name, _)| *name == group)
}

/// Adds the members of a group. The groups are no deeper in each other than `depth`.
fn add(group: &'static str, names: &mut BTreeSet<&'static str>, depth: usize) {
    let (Some((_, members)), Some(depth)) = (find(group), depth.checked_sub(1)) else {
        return;
    };
    for word in members.split_ascii_whitespace() {
        if word.starts_with('@') {
            add(word, names, depth);
        } else {
            names.insert(canonical(word));
        }
    }
    if group == KNOWN {
        // Calls that are newer than the list are known as well when we have a number for them.
        names.extend(Table::ALL.iter().flat_map(|table| table.names()));
    }
}

fn canonical(name: &'static str) -> &'static str {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    alias.map_or(name, |(_, name)| name)
}

/// The name as it is in the tables, if any architecture has such a call.
fn known(name: &str) -> Option<&'static str> {
    if let Some((_, name)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Some(name);
    }
    let listed = SETS.iter().find_map(|(_, members)| {
        members
            .split_ascii_whitespace()
            .find(|member| *member == name)
    });
    listed.or_else(|| {
        let mut names = Table::ALL.iter().flat_map(|table| table.names());
        names.find(|known| *known == name)
    })
}

#[cfg(test)]
mod tests;
