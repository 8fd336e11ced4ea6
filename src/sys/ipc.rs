//! What outlives a process and belongs to its UID: System V objects, POSIX shared memory and queues.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::child;
use super::owned;
use super::procfs::Proc;
use super::queues;
use super::{During, SysError, SysResult, last_error};

const SHM: &str = "/dev/shm";

/// What System V objects that are marked for destruction have in their mode (`SHM_DEST`, shmctl(2)).
const CONDEMNED: u32 = 0o1000;

/// The IPC objects of the namespace that it was opened in.
///
/// A UID or GID "carries" an object if it owns it or, for System V objects, has created it: the
/// creator keeps every right over an object that he has given away (svipc(7)).
#[derive(Debug)]
pub struct Ipc {
    /// The message queues, whether or not `/dev/mqueue` is mounted. None if the kernel has none.
    mqueue: Option<OwnedFd>,
}

impl Ipc {
    /// Opens the message queues by a mount of our own that is attached nowhere: fsopen(2), fsmount(2),
    /// mq_overview(7).
    ///
    /// # Errors
    ///
    /// What mounting refuses; not that the kernel has no queues. Where nothing may be mounted (`EPERM`, `ENOSYS`), those
    /// of `/dev/mqueue` are taken, if they are ours.
    pub fn open() -> SysResult<Self> {
        let context = match fsopen(c"mqueue", FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(context) => context,
            Err(Errno::NODEV) => return Ok(Self { mqueue: None }),
            Err(Errno::PERM | Errno::ACCESS | Errno::NOSYS) => {
                return Ok(Self {
                    mqueue: queues::mounted()?,
                });
            }
            Err(errno) => return Err(errno).during("fsopen", "mqueue"),
        };
        fsconfig_create(&context).during("fsconfig", "mqueue")?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mqueue = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .during("fsmount", "mqueue")?;
        Ok(Self {
            mqueue: Some(mqueue),
        })
    }

    /// The first object that carries `id` as UID or GID, in words; attached segments too.
    ///
    /// A segment that waits for its last user to go is not counted once [`remove`](Self::remove) has
    /// taken its owner and mode away: it has no key any more and nobody but its creator could open it.
    ///
    /// # Errors
    ///
    /// Any that leaves the question open. No `/dev/shm` and no System V IPC in the kernel are fine. What others
    /// build and move in `/dev/shm` costs time, and is no error.
    pub fn found(&self, id: u32) -> SysResult<Option<String>> {
        let mut proc = Proc::open()?;
        for kind in &KINDS {
            if let Some(number) = kind.carrying(&mut proc, id)?.first() {
                return Ok(Some(format!("{} {number}", kind.what)));
            }
        }
        if let Some(directory) = open_shm()?
            && let Some(path) = owned::first(directory.as_fd(), SHM, id)?
        {
            return Ok(Some(format!("file {path}")));
        }
        let Some(mqueue) = &self.mqueue else {
            return Ok(None);
        };
        Ok(owned::first(mqueue.as_fd(), "", id)?.map(|name| format!("message queue {name}")))
    }

    /// Removes everything that [`found`](Self::found) finds, attached segments too, then looks again. No process of `id`
    /// may live.
    ///
    /// # Errors
    ///
    /// What could not be removed; `EBUSY`, naming it, if something is there afterwards.
    pub fn remove(&self, id: u32) -> SysResult<()> {
        let mut proc = Proc::open()?;
        for kind in &KINDS {
            for number in kind.carrying(&mut proc, id)? {
                match kind.remove_of(number, id)? {
                    // Somebody was quicker.
                    Ok(()) | Err(Errno::IDRM | Errno::INVAL) => {}
                    Err(errno) => {
                        return Err(errno)
                            .during("IPC_RMID", format_args!("{} {number}", kind.what));
                    }
                }
            }
        }
        if let Some(directory) = open_shm()? {
            owned::remove_all(directory.as_fd(), SHM, id)?;
        }
        if let Some(mqueue) = &self.mqueue {
            owned::remove_all(mqueue.as_fd(), "", id)?;
        }
        match self.found(id)? {
            None => Ok(()),
            Some(what) => Err(SysError {
                call: "remove",
                subject: format!("{what} of {id} is still there"),
                errno: Errno::BUSY,
            }),
        }
    }
}

/// Opened anew each time, as it may be mounted at any time. It may be a link of the host's (`/run/shm`).
fn open_shm() -> SysResult<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(CWD, SHM, flags, Mode::empty()) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).during("open", SHM),
    }
}

/// One of the three kinds of System V objects.
struct Kind {
    what: &'static str,
    /// Its table (proc_sysvipc(5)) and the column of its number there.
    table: &'static str,
    number: &'static str,
    remove: fn(i32) -> Result<(), Errno>,
    /// A call that tells `ENOSYS` if the kernel has no such objects.
    probe: fn() -> Result<(), Errno>,
}

const KINDS: [Kind; 3] = [
    Kind {
        what: "shared memory segment",
        table: "sysvipc/shm",
        number: "shmid",
        remove: remove_segment,
        // SAFETY: IPC_INFO with no room for the answer: EFAULT at worst.
        probe: || answer(unsafe { libc::shmctl(0, libc::IPC_INFO, std::ptr::null_mut()) }),
    },
    Kind {
        what: "semaphore set",
        table: "sysvipc/sem",
        number: "semid",
        // SAFETY: takes numbers only.
        remove: |number| answer(unsafe { libc::semctl(number, 0, libc::IPC_RMID) }),
        // SAFETY: a number that no set has.
        probe: || answer(unsafe { libc::semctl(-1, 0, libc::GETNCNT) }),
    },
    Kind {
        what: "System V message queue",
        table: "sysvipc/msg",
        number: "msqid",
        remove: |number| {
            // SAFETY: IPC_RMID takes no structure.
            answer(unsafe { libc::msgctl(number, libc::IPC_RMID, std::ptr::null_mut()) })
        },
        // SAFETY: IPC_INFO with no room for the answer: EFAULT at worst.
        probe: || answer(unsafe { libc::msgctl(0, libc::IPC_INFO, std::ptr::null_mut()) }),
    },
];

fn answer(answer: i32) -> Result<(), Errno> {
    if answer >= 0 {
        return Ok(());
    }
    Err(last_error())
}

/// A segment lives on as long as somebody has it attached. So that nobody new comes to it, it becomes root's
/// and nobody's to read before it is marked.
fn remove_segment(number: i32) -> Result<(), Errno> {
    // SAFETY: plain numbers, for which zero is a value: owner 0, group 0, mode 0.
    let mut nobodys: libc::shmid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: IPC_SET reads the structure.
    answer(unsafe { libc::shmctl(number, libc::IPC_SET, &raw mut nobodys) })?;
    // SAFETY: IPC_RMID takes no structure.
    answer(unsafe { libc::shmctl(number, libc::IPC_RMID, std::ptr::null_mut()) })
}

impl Kind {
    /// Removes an object that carries `id`. Without `CAP_SYS_ADMIN`, which the root of a container does not have, only its
    /// owner or its creator may; what a segment's owner has given to root on the way is root's to remove then.
    fn remove_of(&self, number: i32, id: u32) -> SysResult<Result<(), Errno>> {
        match (self.remove)(number) {
            Err(Errno::PERM) => {}
            done => return Ok(done),
        }
        let removing = (self.remove, number);
        let owner = child::Credentials::owner(id)?;
        match child::run(owner, |(remove, number)| remove(*number), &removing)? {
            Err(Errno::PERM) => Ok((self.remove)(number)),
            done => Ok(done),
        }
    }

    /// The numbers of the objects that carry `id`.
    fn carrying(&self, proc: &mut Proc, id: u32) -> SysResult<Vec<i32>> {
        match proc.read(self.table) {
            Ok(text) => parse(&text, self.number, id).during("read", self.table),
            // Not there: no such objects in this kernel, or a /proc that hides its table (subset=pid).
            Err(Errno::NOENT) if (self.probe)() == Err(Errno::NOSYS) => Ok(Vec::new()),
            Err(errno) => Err(errno).during("open", format_args!("/proc/{}", self.table)),
        }
    }
}

/// Reads a table of `/proc/sysvipc`: a line of names, then lines of numbers. The widths of the columns
/// differ between machines, so they are found by name.
fn parse(table: &str, number: &str, id: u32) -> Result<Vec<i32>, Errno> {
    let mut lines = table.lines();
    let names: Vec<&str> = lines
        .next()
        .ok_or(Errno::BADMSG)?
        .split_ascii_whitespace()
        .collect();
    let column = |name| {
        let position = names.iter().position(|it| *it == name);
        position.ok_or(Errno::BADMSG)
    };
    let [number, mode] = [column(number)?, column("perms")?];
    let owners = [column("uid")?, column("gid")?];
    let creators = [column("cuid")?, column("cgid")?];
    let mut found = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let field = |index: usize| fields.get(index).copied().ok_or(Errno::BADMSG);
        let carries = |columns: [usize; 2]| -> Result<bool, Errno> {
            let [user, group] = columns;
            Ok(decimal(field(user)?)? == id || decimal(field(group)?)? == id)
        };
        let mode = u32::from_str_radix(field(mode)?, 8).map_err(|_| Errno::BADMSG)?;
        let nobodys = mode & (CONDEMNED | 0o777) == CONDEMNED;
        // Both are read in any case: a line that we do not understand is an error.
        let (owned, created) = (carries(owners)?, carries(creators)?);
        if owned || created && !nobodys {
            found.push(field(number)?.parse().map_err(|_| Errno::BADMSG)?);
        }
    }
    Ok(found)
}

fn decimal(word: &str) -> Result<u32, Errno> {
    word.parse().map_err(|_| Errno::BADMSG)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "  key shmid perms size cpid lpid nattch uid gid cuid cgid atime\n";

    fn shm(lines: &str, id: u32) -> Result<Vec<i32>, Errno> {
        parse(&format!("{HEAD}{lines}"), "shmid", id)
    }

    #[test]
    fn owners_and_creators_carry_an_object_whoever_is_attached() {
        let lines = "0 11 600 9 1 1 0 5 0 0 0 1\n0 12 600 9 1 1 3 0 5 0 0 1\n\
                     0 13 600 9 1 1 0 0 0 5 0 1\n0 14 600 9 1 1 0 0 0 0 5 1\n\
                     5 15 600 5 5 5 5 6 6 6 6 5\n";
        assert_eq!(shm(lines, 5), Ok(vec![11, 12, 13, 14]));
        assert_eq!(shm(lines, 7), Ok(vec![]));
    }

    #[test]
    fn only_a_condemned_segment_that_is_nobodys_is_done_with() {
        assert_eq!(shm("0 1 1000 9 1 1 1 0 0 5 5 1\n", 5), Ok(vec![]));
        assert_eq!(shm("0 1 1600 9 1 1 1 0 0 5 5 1\n", 5), Ok(vec![1]));
        assert_eq!(shm("0 1 1000 9 1 1 1 5 0 5 5 1\n", 5), Ok(vec![1]));
        assert_eq!(shm("0 1    0 9 1 1 1 0 0 5 5 1\n", 5), Ok(vec![1]));
    }

    #[test]
    fn a_table_that_is_not_understood_is_an_error() {
        assert_eq!(parse("", "shmid", 5), Err(Errno::BADMSG));
        assert_eq!(parse(HEAD, "semid", 5), Err(Errno::BADMSG));
        for line in [
            "0 1 600",
            "0 1 9 9 1 1 0 0 0 0 0 1",
            "0 1 600 9 1 1 0 x 0 0 0 1",
        ] {
            assert_eq!(shm(line, 5), Err(Errno::BADMSG));
        }
    }
}
