//! The sockets of a unit: all of them made, bound, given away and listened on, and taken back.

mod way;

use std::os::fd::OwnedFd;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::failure::{Failure, OrFail, Stage};
use crate::socket_unit::{Kind, Listen, SocketUnit};
use crate::sys::fs::{link_target, make_link, status};
use crate::sys::listening::{self, Accepted, file};
use crate::sys::remove::FileId;
use crate::sys::{SysError, SysResult};

use way::Folder;

const STAGE: Stage = Stage::Sockets;

/// One of them.
#[derive(Debug)]
struct Open {
    descriptor: OwnedFd,
    listen: Listen,
}

/// A name that was made in the file system.
#[derive(Debug)]
struct Made {
    folder: Folder,
    path: String,
    /// What it stood for then: another file of that name is not ours.
    id: FileId,
}

/// The open sockets of a unit. They close when this is dropped; their files stay, unless [`Sockets::remove`] is called.
#[derive(Debug)]
pub struct Sockets {
    unit: SocketUnit,
    open: Vec<Open>,
    made: Vec<Made>,
}

impl Sockets {
    /// Makes all sockets of a unit. Files in the file system belong to `uid` and `gid`, which `SocketUser=` and
    /// `SocketGroup=` stand for, and nobody can reach them before they have their mode. Where each connection gets an
    /// instance ([`SocketUnit::accept`]), calls on the sockets do not wait; otherwise they do, as services get them from
    /// systemd.
    ///
    /// # Errors
    /// Of [`Stage::Sockets`]. What was made in the file system until then is removed again.
    pub fn make(unit: &SocketUnit, uid: u32, gid: u32) -> Result<Self, Failure> {
        let mut sockets = Self {
            unit: unit.clone(),
            open: Vec::new(),
            made: Vec::new(),
        };
        match sockets.make_all(uid, gid) {
            Ok(()) => Ok(sockets),
            Err(failure) => {
                if let Err(stays) = sockets.remove_made() {
                    tracing::debug!(%stays, "stays");
                }
                Err(failure)
            }
        }
    }

    fn make_all(&mut self, uid: u32, gid: u32) -> Result<(), Failure> {
        for listen in self.unit.listens.clone() {
            let descriptor = match (listen.kind, listen.address.path()) {
                (Kind::Fifo, Some(path)) => self.fifo(path, uid, gid)?,
                (_, path) => self.socket(&listen, path, uid, gid)?,
            };
            listening::set_waiting(&descriptor, !self.unit.accept)
                .or_fail(STAGE, listen.to_string())?;
            self.open.push(Open { descriptor, listen });
        }
        self.links()?;
        // When all are bound: nobody shall be kept waiting by a start that fails.
        for Open { descriptor, listen } in &self.open {
            if listen.kind.is_connected() {
                listening::listen(descriptor, self.unit.backlog, listen)
                    .map_err(|error| explained(error, listen))?;
            }
        }
        Ok(())
    }

    fn socket(
        &mut self,
        listen: &Listen,
        path: Option<&str>,
        uid: u32,
        gid: u32,
    ) -> Result<OwnedFd, Failure> {
        let explained = |error| explained(error, listen);
        let socket = listening::make(listen, &self.unit.options).map_err(explained)?;
        let Some(path) = path else {
            listening::bind(&socket, &listen.address).map_err(explained)?;
            return Ok(socket);
        };
        let folder = way::folder(path, self.unit.directory_mode, uid)?;
        clear(&folder, path, uid)?;
        // By its path, and not by /proc/self/fd/N/NAME: what getsockname(2) tells is what was bound, and services
        // compare it (sd_is_socket_unix(3)). That is no race: nobody but root can change where the path leads.
        let pinned =
            file::bind(&socket, path, &folder.descriptor, &folder.name).map_err(explained)?;
        let found = status(&pinned).or_fail(STAGE, path)?;
        self.remember(folder, path, found.id);
        file::open_to(&pinned, uid, gid, self.unit.mode).or_fail(STAGE, path)?;
        Ok(socket)
    }

    fn fifo(&mut self, path: &str, uid: u32, gid: u32) -> Result<OwnedFd, Failure> {
        let folder = way::folder(path, self.unit.directory_mode, uid)?;
        let there = file::look(&folder.descriptor, &folder.name).or_fail(STAGE, path)?;
        let kept = match there {
            Some((_, found)) if found.kind != FileType::Fifo => {
                return Err(in_the_way(path, found.kind));
            }
            // As systemd does: somebody may be writing already.
            Some(kept) if folder.is_roots_alone() => Some(kept),
            // Where others can make names, it may be another name (a hard link) of a FIFO that is elsewhere: that one
            // would get our owner and mode.
            Some((_, found)) => {
                folder.refuse_squatter(path, found.uid, uid)?;
                file::remove(&folder.descriptor, &folder.name, path).or_fail(STAGE, path)?;
                None
            }
            None => None,
        };
        let (pinned, found) = match kept {
            Some(kept) => kept,
            None => {
                let made = file::make_fifo(&folder.descriptor, &folder.name, path);
                let pinned = made.or_fail(STAGE, path)?;
                let found = status(&pinned).or_fail(STAGE, path)?;
                (pinned, found)
            }
        };
        self.remember(folder, path, found.id);
        file::open_to(&pinned, uid, gid, self.unit.mode).or_fail(STAGE, path)?;
        let fifo = file::open_fifo(&pinned).or_fail(STAGE, path)?;
        if let Some(size) = self.unit.options.pipe_size {
            file::set_pipe_size(&fifo, size).or_fail(STAGE, path)?;
        }
        Ok(fifo)
    }

    /// `Symlinks=`.
    fn links(&mut self) -> Result<(), Failure> {
        let listens = self.unit.listens.iter();
        let Some(target) = listens.filter_map(|it| it.address.path()).next() else {
            return Ok(());
        };
        let target = target.to_owned();
        for path in self.unit.symlinks.clone() {
            // Root's own, whoever the socket belongs to.
            let folder = way::folder(&path, self.unit.directory_mode, 0)?;
            let look = || file::look(&folder.descriptor, &folder.name).or_fail(STAGE, &path);
            if look()?.is_none() {
                make_link(&folder.descriptor, &folder.name, &target).or_fail(STAGE, &path)?;
            }
            let Some((pinned, found)) = look()? else {
                return Err(Failure::new(STAGE, path, "was removed while it was made"));
            };
            if found.kind != FileType::Symlink
                || link_target(&pinned).ok().as_ref() != Some(&target)
            {
                return Err(in_the_way(&path, found.kind));
            }
            self.remember(folder, &path, found.id);
        }
        Ok(())
    }

    fn remember(&mut self, folder: Folder, path: &str, id: FileId) {
        self.made.push(Made {
            folder,
            path: path.into(),
            id,
        });
    }

    /// The unit that they are of.
    pub fn unit(&self) -> &SocketUnit {
        &self.unit
    }

    /// The descriptors, in the order of [`SocketUnit::listens`].
    pub fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        self.open.iter().map(|open| &open.descriptor)
    }

    /// The next connection to the socket of that place in the list, with the unit's options: see
    /// [`listening::accept`].
    ///
    /// # Errors
    /// As there, and those of setsockopt(2); `EBADF` where the list is shorter.
    pub fn accept(&self, at: usize) -> SysResult<Option<Accepted>> {
        let open = self.open.get(at).ok_or_else(|| SysError {
            call: "accept4",
            subject: at.to_string(),
            errno: Errno::BADF,
        })?;
        let accepted = listening::accept(&open.descriptor)?;
        if let Some(accepted) = &accepted {
            listening::inherit(&accepted.connection, &open.listen, &self.unit.options)?;
        }
        Ok(accepted)
    }

    /// Throws away what waits in them: for `FlushPending=`, when the service has ended.
    ///
    /// # Errors
    /// Of [`Stage::Sockets`].
    pub fn flush(&self) -> Result<(), Failure> {
        self.open
            .iter()
            .try_for_each(|Open { descriptor, listen }| {
                listening::flush(descriptor, listen.kind).or_fail(STAGE, listen.to_string())
            })
    }

    /// Removes files and links if `RemoveOnStop=` says so. What somebody else put in their place stays.
    ///
    /// # Errors
    /// Of [`Stage::Sockets`]: the first one. The others are removed all the same.
    pub fn remove(&self) -> Result<(), Failure> {
        match self.unit.remove_on_stop {
            true => self.remove_made(),
            false => Ok(()),
        }
    }

    fn remove_made(&self) -> Result<(), Failure> {
        let removed: Vec<Result<(), Failure>> = self.made.iter().map(Made::remove).collect();
        removed.into_iter().collect()
    }
}

impl Made {
    fn remove(&self) -> Result<(), Failure> {
        let Folder {
            descriptor, name, ..
        } = &self.folder;
        match file::look(descriptor, name).or_fail(STAGE, &self.path)? {
            Some((_, found)) if found.id == self.id => {
                file::remove(descriptor, name, &self.path).or_fail(STAGE, &self.path)
            }
            _ => Ok(()),
        }
    }
}

/// Removes the file that a socket of a former run has left there. Nothing else is removed, and nothing that somebody
/// still listens on.
fn clear(folder: &Folder, path: &str, owner: u32) -> Result<(), Failure> {
    let there = file::look(&folder.descriptor, &folder.name).or_fail(STAGE, path)?;
    let Some((pinned, found)) = there else {
        return Ok(());
    };
    // A link among them: it is neither followed nor replaced.
    if found.kind != FileType::Socket {
        return Err(in_the_way(path, found.kind));
    }
    folder.refuse_squatter(path, found.uid, owner)?;
    if !file::is_stale(&pinned).or_fail(STAGE, path)? {
        let why = "somebody listens there already; ss -xlp shows who";
        return Err(Failure::new(STAGE, path, why));
    }
    file::remove(&folder.descriptor, &folder.name, path).or_fail(STAGE, path)
}

fn in_the_way(path: &str, kind: FileType) -> Failure {
    let what = match kind {
        FileType::Symlink => "a symbolic link",
        FileType::Directory => "a folder",
        FileType::Socket => "a socket",
        FileType::Fifo => "a FIFO",
        _ => "a file",
    };
    let why = format!("{what} is there, which is not replaced; look at it, then: rm {path}");
    Failure::new(STAGE, path, why)
}

/// What an error means to whoever wrote the address.
fn explained(error: SysError, listen: &Listen) -> Failure {
    let hint = match error.errno {
        Errno::ADDRINUSE if listen.address.is_inet() => {
            "; somebody listens there already: ss -lntup shows who"
        }
        Errno::ADDRINUSE => "; somebody listens there already: ss -xlp shows who",
        Errno::ADDRNOTAVAIL => {
            "; the host does not have the address, or not yet: FreeBind=yes listens all the same"
        }
        Errno::NODEV => "; there is no such network interface, or not yet",
        _ => "",
    };
    Failure::new(STAGE, listen.to_string(), format!("{error}{hint}"))
}
