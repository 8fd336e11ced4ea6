//! One walk through the tree.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, StatxFlags, makedev, openat, statx};
use rustix::io::Errno;

use super::crew::{Crew, Folder, Named, with_crew};
use super::entry::{At, Change, Doors, Hands, Held, Way, Whose};
use super::links::Links;
use super::{During, LEAST, SysResult, Tally};
use crate::sys::fs::Status;
use crate::sys::walk::{Entry, Listed, Next, Passed, Visitor, show};

/// How many entries are looked at between two words of progress.
const NEWS: u64 = 4096;

/// Why what is mounted in the tree is left, and a subvolume.
const ELSEWHERE: &str = "is another file system's";

/// What a walk is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// All but files with several names is given, and these are noted.
    Give,
    /// The names of each of a bucket are counted.
    Count,
    /// Those of which all are in the tree are given.
    Settle,
}

/// What is done with each entry, on any thread.
pub(super) struct Looker<'a> {
    pub(super) change: &'a Change<'a>,
    pub(super) links: &'a Links,
    pub(super) tally: &'a Tally,
    pub(super) phase: Phase,
    /// The mount that the top is in.
    pub(super) mount: u64,
}

/// Walks. Tells whether somebody made more than anybody is allowed.
pub(super) fn run(
    looker: &Looker<'_>,
    top: BorrowedFd<'_>,
    shown_as: &str,
    progress: &(dyn Fn(u64) + Sync),
) -> SysResult<bool> {
    with_crew(&|hands, folder| looker.folder(hands, folder), |crew| {
        let mut pass = Pass {
            looker,
            crew,
            progress,
            looked: 0,
            too_much: false,
        };
        show(top, shown_as, LEAST, &mut pass)?;
        if looker.phase == Phase::Give {
            progress(pass.looked);
        }
        Ok(pass.too_much)
    })
}

struct Pass<'a, 'scope, 'env> {
    looker: &'a Looker<'a>,
    crew: &'a mut Crew<'scope, 'env>,
    progress: &'a (dyn Fn(u64) + Sync),
    looked: u64,
    too_much: bool,
}

impl Pass<'_, '_, '_> {
    fn wants(&self, inode: u64) -> bool {
        self.looker.phase == Phase::Give || self.looker.links.wanted(inode)
    }

    fn news(&mut self) {
        self.looked = self.looked.saturating_add(1);
        if self.looker.phase == Phase::Give && self.looked.is_multiple_of(NEWS) {
            (self.progress)(self.looked);
        }
    }
}

impl Visitor for Pass<'_, '_, '_> {
    fn listed(&mut self, listed: &Listed<'_>) -> SysResult<Option<Next>> {
        self.news();
        // Should it be none any more, the walk finds out; and so do we if it is one now.
        if listed.kind == FileType::Directory {
            return Ok(Some(Next::Enter));
        }
        if self.wants(listed.inode) {
            self.crew.add(listed)?;
        }
        Ok(Some(Next::Skip))
    }

    fn visit(&mut self, entry: &Entry<'_>) -> SysResult<Next> {
        self.news();
        if entry.directory {
            return Ok(Next::Enter);
        }
        let (_, inode) = entry.id;
        if self.wants(inode) {
            let at = At {
                above: entry.path.rsplit_once('/').map_or("", |(above, _)| above),
                name: entry.name,
            };
            let doors = self.looker.change.doors(entry.parent);
            let doors = doors.during("fstat", at.above)?;
            let named = Named {
                name: entry.name,
                inode,
                file: false,
            };
            self.looker
                .entry(self.crew.hands(), (entry.parent, doors), &at, &named)?;
        }
        Ok(Next::Skip)
    }

    fn entered(&mut self, directory: BorrowedFd<'_>, stat: &Stat, path: &str) -> SysResult<()> {
        if self.looker.phase != Phase::Give {
            return Ok(());
        }
        let Looker { change, tally, .. } = self.looker;
        let held = Held {
            fd: directory,
            way: Way::Open,
        };
        match change.whose(stat.st_uid) {
            Whose::Old => {
                change.give(self.crew.hands(), held, &Status::from(*stat), &path)?;
                tally.give();
            }
            Whose::New => change.translate_lists(self.crew.hands(), held, &path)?,
            // What is in it may be the old owner's all the same.
            Whose::Foreign => tally.leave_foreign(&path, stat.st_uid),
        }
        Ok(())
    }

    fn passed(&mut self, path: &str, why: Passed) {
        match why {
            Passed::TooMuch => self.too_much = true,
            Passed::Moved => self.looker.tally.disturb(),
            Passed::Elsewhere if self.looker.phase == Phase::Give => {
                self.looker.tally.leave(&path, ELSEWHERE);
            }
            Passed::Elsewhere => {}
        }
    }
}

impl Looker<'_> {
    fn folder(&self, hands: &Hands, folder: &Folder) -> SysResult<()> {
        let doors = self
            .change
            .doors(folder.fd())
            .during("fstat", &folder.path)?;
        for named in folder.entries() {
            let (above, name) = (&folder.path, named.name);
            self.entry(hands, (folder.fd(), doors), &At { above, name }, &named)?;
        }
        Ok(())
    }

    /// Pins an entry that is no directory, and does what is to be done with it. Its parent comes with its
    /// doors.
    fn entry(
        &self,
        hands: &Hands,
        (parent, doors): (BorrowedFd<'_>, Doors),
        at: &At<'_>,
        named: &Named<'_>,
    ) -> SysResult<()> {
        let (pinned, way) = match pin(parent, doors, named) {
            Ok(pinned) => pinned,
            Err(Errno::NOENT) => {
                self.tally.disturb();
                return Ok(());
            }
            Err(errno) => return Err(errno).during("openat", at),
        };
        let asked = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let stat = statx(&pinned, c"", AtFlags::EMPTY_PATH, asked).during("statx", at)?;
        if stat.stx_mnt_id != self.mount {
            if self.phase == Phase::Give {
                self.tally.leave(at, ELSEWHERE);
            }
            return Ok(());
        }
        let fd = pinned.as_fd();
        let held = Held { fd, way };
        let mode = u32::from(stat.stx_mode);
        let status = Status {
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            mode: mode & 0o7777,
            kind: FileType::from_raw_mode(mode),
            id: (
                makedev(stat.stx_dev_major, stat.stx_dev_minor),
                stat.stx_ino,
            ),
        };
        self.pinned(
            hands,
            held,
            doors,
            (&status, stat.stx_nlink),
            at,
            named.inode,
        )
    }

    fn pinned(
        &self,
        hands: &Hands,
        held: Held<'_>,
        doors: Doors,
        (stat, links): (&Status, u32),
        at: &At<'_>,
        listed: u64,
    ) -> SysResult<()> {
        let Status { kind, uid, id, .. } = *stat;
        let whose = self.change.whose(uid);
        match (self.phase, whose) {
            // It was no directory a moment ago: the next walk enters it.
            _ if kind == FileType::Directory => self.tally.disturb(),
            (Phase::Give, Whose::New) if kind != FileType::Symlink => {
                self.change.translate_lists(hands, held, at)?;
            }
            (_, Whose::New) => {}
            (Phase::Give, Whose::Foreign) => self.tally.leave_foreign(at, uid),
            (_, Whose::Foreign) => {}
            (Phase::Give, _) if is_device(kind) => self.tally.leave(at, "is a device"),
            (_, _) if is_device(kind) => {}
            (Phase::Give, Whose::Old) if links > 1 => self.links.note(id, listed),
            // Others could show us one name twice, and have one outside.
            (Phase::Count, Whose::Old) if doors == Doors::Open => {}
            (Phase::Count, Whose::Old) => self.links.count(id, links),
            (Phase::Settle, Whose::Old) if self.links.complete(id, links) != Some(true) => {
                if self.links.complete(id, links).is_some() {
                    self.tally.leave(at, "may have another name outside");
                }
            }
            (Phase::Give | Phase::Settle, Whose::Old) => {
                self.change.give(hands, held, stat, at)?;
                self.tally.give();
            }
        }
        Ok(())
    }
}

/// Pins an entry. A single name, as a directory shows it, and no link is followed: it can lead to nothing but
/// this entry, or to what is mounted on it.
fn pin<'a>(
    parent: BorrowedFd<'a>,
    doors: Doors,
    named: &Named<'a>,
) -> Result<(OwnedFd, Way<'a>), Errno> {
    let Named { name, file, .. } = *named;
    // Opened for reading, it shows its attributes for half the price. Only what is known to be a file, where
    // nobody can put something else under its name: the opening of that could do something.
    if file && doors == Doors::Closed {
        let flags = OFlags::RDONLY
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::NOCTTY
            | OFlags::NOATIME
            | OFlags::CLOEXEC;
        // Somebody may have a lease on it (fcntl(2)), or a file system refuse even root.
        if let Ok(opened) = openat(parent, name, flags, Mode::empty()) {
            return Ok((opened, Way::Open));
        }
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let pinned = openat(parent, name, flags, Mode::empty())?;
    let way = match doors {
        Doors::Closed => Way::Named(parent, name),
        Doors::Known | Doors::Open => Way::Pinned,
    };
    Ok((pinned, way))
}

fn is_device(kind: FileType) -> bool {
    matches!(kind, FileType::BlockDevice | FileType::CharacterDevice)
}
