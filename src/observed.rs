//! What the host looks like, as far as a plan depends on it. Facts only: `plan` decides.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::user_record::Record;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory {
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its permission bits, 07777 at most.
        mode: u32,
        /// Whether it is known that nothing is in it. Nobody looks into a directory that belongs to a
        /// service already.
        empty: bool,
        /// Whether a file system is mounted there.
        mount_point: bool,
    },
    /// A symbolic link, with its target. It is not followed.
    Link(String),
    /// Anything else, or something that cannot be reached without following a link.
    Other,
}

impl Entry {
    /// The owner of a directory.
    pub fn owner(&self) -> Option<u32> {
        match self {
            Self::Directory { uid, .. } => Some(*uid),
            _ => None,
        }
    }
}

/// The facts that a plan is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// What is at the paths that the plan asks about ([`crate::plan::questions`]).
    pub entries: BTreeMap<String, Entry>,
    /// Who may search boundary directories besides root, by entries of their access control lists.
    pub searchers: BTreeMap<String, Vec<u32>>,
    /// Those of them whose lease says so: services without a view of their own.
    pub leased_searchers: BTreeSet<u32>,
    /// The mounts at and below `/dev`, `/proc` and `/sys` that are writable on the host: they stay
    /// so. A container's read-only `/proc/sys` is not among them.
    pub writable_mounts: Vec<PathBuf>,
    /// Those of `/tmp` and `/var/tmp` that exist.
    pub temporary: Vec<String>,
    /// Directories with other services' secrets that exist on this host.
    pub secrets: Vec<String>,
    /// Those of `/home`, `/root` and `/run/user` that exist.
    pub homes: Vec<String>,
    /// Where paths of rules lead that go over links of root's: those alone that are another one.
    pub resolved: BTreeMap<String, String>,
    /// Who tells a service who its user is.
    pub name_service: NameService,
    /// Public paths of trees that could not be moved: the kernel was asked.
    pub immovable: BTreeSet<String>,
    /// Trees whose file system could not show them as somebody else's: the kernel was asked.
    pub unmappable: BTreeSet<String>,
    /// Trees that were being given to somebody when a daemon or the host was ended.
    pub half_given: BTreeSet<String>,
    /// Public paths of directories that another running service has too.
    pub shared: BTreeSet<String>,
    /// Those owners of the directories whose number another name has now.
    pub taken: BTreeSet<u32>,
    /// Whether `/bin` and `/sbin` are directories of their own, not links into `/usr`.
    pub split_usr: bool,
}

/// The module, as far as the host's look-ups go to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Module {
    /// nsswitch.conf does not name it.
    #[default]
    NotAsked,
    /// It is named, and not where the C library looks.
    NotFound,
    /// It is there.
    At(String),
}

/// The host's copy of a file of accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccountFile {
    /// It can be shown with lines added.
    #[default]
    There,
    /// It cannot, and why.
    Unusable(String),
}

/// Whom the first program of a service asks for users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Asks {
    /// Nobody can tell.
    #[default]
    Unknown,
    /// The host's C library, and with it the module.
    Module,
    /// The files of accounts alone.
    Files,
}

/// Who tells a service who its user is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameService {
    /// The module.
    pub module: Module,
    /// `/etc/passwd`.
    pub passwd: AccountFile,
    /// `/etc/group`.
    pub group: AccountFile,
    /// The service's first program.
    pub program: Asks,
    /// Its user, and the dynamic users that it has to do with: whose groups it has, who have its group. Nobody, if that
    /// is not known yet.
    pub records: Vec<Record>,
}

impl Observed {
    /// What is at `path`: [`Entry::Other`], which every rule refuses, if nobody looked.
    pub fn entry(&self, path: &str) -> &Entry {
        self.entries.get(path).unwrap_or(&Entry::Other)
    }
}
