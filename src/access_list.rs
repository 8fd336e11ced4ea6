//! Access control lists: acl(5), as the kernel shows them in extended attributes; and that of a directory that one user after
//! the other may pass.
//!
//! Computes only. Source: `include/uapi/linux/posix_acl_xattr.h`: a version, 32 bits, then entries of a tag, 16 bits,
//! permissions, 16 bits, and a number, 32 bits, all little-endian.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::layout::{FIRST_UID, LAST_UID};

/// The attribute that holds the list of a file.
pub const ATTRIBUTE: &str = "system.posix_acl_access";

const VERSION: u32 = 2;
/// The owner.
pub const USER_OBJ: u16 = 0x01;
/// A user by number.
pub const USER: u16 = 0x02;
/// The owning group.
pub const GROUP_OBJ: u16 = 0x04;
/// A group by number.
pub const GROUP: u16 = 0x08;
/// The most that anybody but the owner and others have.
pub const MASK: u16 = 0x10;
/// Everybody else.
pub const OTHER: u16 = 0x20;

/// The number of an entry that is nobody's in particular.
const NONE: u32 = u32::MAX;

/// Reading and writing a directory.
const READ_OR_WRITE: u16 = 0o6;

/// To search a directory: to reach what one knows the name of.
const SEARCH: u16 = 0o1;

/// The attribute is no list that the kernel would have made.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("has an access control list that is not understood")
    }
}

impl std::error::Error for Malformed {}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whom it is about.
    pub tag: u16,
    /// What they may do: bits as in a mode.
    pub permissions: u16,
    /// The user or group, of an entry that has one.
    pub id: u32,
}

/// The entries of the attribute's value, as they come.
///
/// # Errors
/// For what is no list.
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let (version, mut rest) = bytes.split_first_chunk().ok_or(Malformed)?;
    if u32::from_le_bytes(*version) != VERSION {
        return Err(Malformed);
    }
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (tag, more) = rest.split_first_chunk().ok_or(Malformed)?;
        let (permissions, more) = more.split_first_chunk().ok_or(Malformed)?;
        let (id, more) = more.split_first_chunk().ok_or(Malformed)?;
        rest = more;
        let tag = u16::from_le_bytes(*tag);
        if ![USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER].contains(&tag) {
            return Err(Malformed);
        }
        entries.push(Entry {
            tag,
            permissions: u16::from_le_bytes(*permissions),
            id: u32::from_le_bytes(*id),
        });
    }
    Ok(entries)
}

/// The reverse of [`decode`].
pub fn encode(entries: impl Iterator<Item = Entry>) -> Vec<u8> {
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for entry in entries {
        bytes.extend(entry.tag.to_le_bytes());
        bytes.extend(entry.permissions.to_le_bytes());
        bytes.extend(entry.id.to_le_bytes());
    }
    bytes
}

/// A list: permissions by tag and number, in the order in which the kernel wants them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessList {
    entries: BTreeMap<(u16, u32), u16>,
}

impl AccessList {
    /// The list that a directory without one has by its mode.
    pub fn of_mode(mode: u32) -> Self {
        let bits = |shift: u32| u16::try_from((mode >> shift) & 0o7).unwrap_or(0);
        let entries = [(USER_OBJ, 6), (GROUP_OBJ, 3), (OTHER, 0)];
        let entries = entries.map(|(tag, shift)| ((tag, NONE), bits(shift)));
        Self {
            entries: entries.into(),
        }
    }

    /// Reads the attribute.
    ///
    /// # Errors
    /// For what is no list, or one without the three entries that every one has.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut entries = BTreeMap::new();
        for Entry {
            tag,
            permissions,
            id,
        } in decode(bytes)?
        {
            let id = if [USER, GROUP].contains(&tag) {
                id
            } else {
                NONE
            };
            // Two of the same would count differently for the kernel and for us.
            if permissions > 0o7 || entries.insert((tag, id), permissions).is_some() {
                return Err(Malformed);
            }
        }
        let has = |tag| entries.contains_key(&(tag, NONE));
        let named = entries.keys().any(|(tag, _)| [USER, GROUP].contains(tag));
        let whole = [USER_OBJ, GROUP_OBJ, OTHER].into_iter().all(has) && (has(MASK) || !named);
        whole.then_some(Self { entries }).ok_or(Malformed)
    }

    /// The attribute's value. One without named entries is what a mode says, and the kernel keeps it as one.
    pub fn bytes(&self) -> Vec<u8> {
        let entries = self.entries.iter();
        encode(entries.map(|((tag, id), permissions)| Entry {
            tag: *tag,
            permissions: *permissions,
            id: *id,
        }))
    }

    /// Lets a user search the directory, and do nothing else there. Nobody else gains anything, although the mask grows:
    /// what it kept from others is taken from their entries.
    pub fn let_search(&mut self, uid: u32) {
        if let Some(mask) = self.entries.get(&(MASK, NONE)).copied() {
            // But for who may pass already: a mask that somebody's chmod(1) made smaller was not meant for them.
            let passes = |tag, id, permissions| {
                tag == USER && permissions == SEARCH && (FIRST_UID..=LAST_UID).contains(&id)
            };
            for ((tag, id), permissions) in &mut self.entries {
                let limited = [USER, GROUP_OBJ, GROUP].contains(tag);
                if limited && !passes(*tag, *id, *permissions) {
                    *permissions &= mask;
                }
            }
        }
        // Without a mask, what the group has is no more and no less than its entry says: so it stays.
        let group = self.entries.get(&(GROUP_OBJ, NONE)).copied();
        // What an administrator gave him with more in it stays as it is.
        let own = self.entries.entry((USER, uid)).or_insert(SEARCH);
        if *own & SEARCH == 0 {
            *own = SEARCH;
        }
        let mask = self.entries.entry((MASK, NONE));
        *mask.or_insert(group.unwrap_or(0)) |= SEARCH;
    }

    /// Takes that from a user. Whether he had it. What an entry of his gives beyond that is none of ours, and stays.
    pub fn stop_search(&mut self, uid: u32) -> bool {
        if !matches!(self.entries.get(&(USER, uid)), Some(&(0 | SEARCH))) {
            return false;
        }
        self.entries.remove(&(USER, uid));
        let named = |(tag, _): &(u16, u32)| [USER, GROUP].contains(tag);
        if !self.entries.keys().any(named) {
            // Without a mask the group has what its entry says: no more than it had with it.
            let mask = self.entries.remove(&(MASK, NONE)).unwrap_or(0o7);
            if let Some(group) = self.entries.get_mut(&(GROUP_OBJ, NONE)) {
                *group &= mask;
            }
        }
        true
    }

    /// Those who may search it by [`let_search`](Self::let_search), or by an entry like that.
    pub fn searchers(&self) -> impl Iterator<Item = u32> {
        let entries = self.entries.iter();
        entries.filter_map(|((tag, id), permissions)| {
            (*tag == USER && *permissions == SEARCH).then_some(*id)
        })
    }

    /// The mode without the searchers: what its group and others have, together with anything that another entry gives to
    /// anybody.
    pub fn mode(&self) -> u32 {
        let mask = self.entries.get(&(MASK, NONE)).copied().unwrap_or(0o7);
        let (mut user, mut group, mut other) = (0, 0, 0);
        for ((tag, _), permissions) in &self.entries {
            match *tag {
                USER_OBJ => user = *permissions,
                OTHER => other = *permissions,
                USER if *permissions == SEARCH => {}
                // Read or write with a mask that may change any day.
                USER | GROUP => group |= permissions & (mask | READ_OR_WRITE),
                GROUP_OBJ => group |= permissions & mask,
                _ => {}
            }
        }
        u32::from(user) << 6 | u32::from(group) << 3 | u32::from(other)
    }
}

#[cfg(test)]
mod tests;
