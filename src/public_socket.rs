//! A UNIX socket that everybody on the host may connect to.
//!
//! Who connects is a stranger: he may send anything, at any speed, from as many connections as he can open. What he
//! can have of the daemon is bounded: so many connections in all and so many a user, so much time a connection. What
//! root asks of the daemon on its own socket never waits for him, and has descriptors left.

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::future::Future;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, chmodat, renameat, statat, unlinkat};
use rustix::io::Errno;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use crate::failure::{Failure, OrFail, Stage};
use crate::sys::fs::{Status, open_trusted, status};
use crate::sys::remove::FileId;
use crate::sys::socket::{answers, credentials};

/// How long nobody is let in when there is no descriptor or memory for him.
const SHORT: Duration = Duration::from_millis(500);

/// What strangers may have.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time. Above it, the one that is there for longest goes: those of slow clients are
    /// the oldest. root has as many again for itself.
    pub most: usize,
    /// Connections of one user at the same time. Above it, a newcomer goes. It does not hold for root.
    pub most_of_user: usize,
    /// How long a connection may last in all.
    pub lifetime: Duration,
    /// How long a client may take to send a request, and to take an answer: see [`Connection::renew`].
    pub patience: Duration,
}

/// Who is at the other end, as the kernel saw him when he connected (unix(7), `SO_PEERCRED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The process, 0 if it is in a PID namespace that cannot be seen from here. Its number may be another's by now.
    pub pid: u32,
    /// The effective user ID.
    pub uid: u32,
}

impl Caller {
    /// Tells whether it is this very process.
    pub fn is_us(self) -> bool {
        self.pid == std::process::id()
    }
}

/// A connection of a stranger.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// Who made it.
    pub caller: Caller,
    patience: Duration,
    until: Instant,
}

impl Connection {
    fn new(stream: UnixStream, caller: Caller, patience: Duration) -> Self {
        let mut connection = Self {
            stream,
            caller,
            patience,
            until: Instant::now(),
        };
        connection.renew();
        connection
    }

    /// The client has [`Limits::patience`] once more, from now: for the next request, or to take the answer.
    pub fn renew(&mut self) {
        let now = Instant::now();
        self.until = now.checked_add(self.patience).unwrap_or(now);
    }

    /// Waits for bytes. Descriptors that come along are closed by the kernel. Gives how many there are, 0 at the end
    /// (and for no room).
    ///
    /// # Errors
    /// Those of recv(2); `TimedOut` when the client's time is over.
    pub async fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            timeout_at(self.until, self.stream.readable()).await??;
            match self.stream.try_read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                received => return received,
            }
        }
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// Those of send(2); `TimedOut` when the client's time is over.
    pub async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    timeout_at(self.until, self.stream.writable()).await??;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The socket. Dropping it removes its name, if that is still its own.
#[derive(Debug)]
pub struct PublicSocket {
    listener: UnixListener,
    /// The folder it is in, and its name there.
    folder: OwnedFd,
    name: String,
    id: FileId,
    /// The folders that were made for it, the outermost first.
    made: Vec<PathBuf>,
}

impl PublicSocket {
    /// Makes a socket under `path`, with the permissions `mode`; `None` if somebody listens there already. One where
    /// nobody listens any more is replaced in one step. `make_folders` says what to do where the folder is not there:
    /// make it (and remove it in the end), or give `None`. Call it within the event loop.
    ///
    /// # Errors
    /// Of [`Stage::Daemon`]: something else than a socket is there, or somebody else than root could replace it.
    pub fn open(path: &str, mode: u32, make_folders: bool) -> Result<Option<Self>, Failure> {
        let fail = |why: &str| Failure::new(Stage::Daemon, path, why);
        let (above, name) = path.rsplit_once('/').ok_or_else(|| fail("is no path"))?;
        let made = Made(match make_folders {
            true => make_all(Path::new(above)).or_fail(Stage::Daemon, above)?,
            false => Vec::new(),
        });
        let folder = match open_trusted(above) {
            Err(error) if error.errno == Errno::NOENT && !make_folders => return Ok(None),
            folder => folder.or_fail(Stage::Daemon, above)?,
        };
        let found = status(&folder).or_fail(Stage::Daemon, above)?;
        if found.uid != 0 || found.mode & 0o022 != 0 {
            return Err(fail("not only root can change the folder it is in"));
        }
        match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            found => {
                let found = Status::from(found.or_fail(Stage::Daemon, path)?);
                if found.kind != FileType::Socket {
                    return Err(fail("is no socket"));
                }
                if answers(path).or_fail(Stage::Daemon, path)? {
                    return Ok(None);
                }
            }
        }
        let bound = bind(&folder, name, mode).or_fail(Stage::Daemon, path)?;
        let (listener, id) = bound;
        Ok(Some(Self {
            listener,
            folder,
            name: name.into(),
            id,
            made: made.keep(),
        }))
    }

    /// Tells whether it is still found under its name: another server may have taken that.
    pub fn is_there(&self) -> bool {
        statat(&self.folder, self.name.as_str(), AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|found| Status::from(found).id == self.id)
    }

    /// Serves connections, each in a task of its own by `converse`, until this future is dropped; then all of them
    /// are closed.
    pub async fn serve<Served>(&self, limits: Limits, converse: impl Fn(Connection) -> Served)
    where
        Served: Future<Output = ()> + Send + 'static,
    {
        let mut guests = Guests::default();
        let mut short = false;
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        short = false;
                        if let Some(caller) = guests.admit(&stream, limits) {
                            let connection = Connection::new(stream, caller, limits.patience);
                            guests.receive(caller, timeout(limits.lifetime, converse(connection)));
                        }
                        // Others of this loop come to their turn, however many wait at the door.
                        tokio::task::yield_now().await;
                    }
                    Err(error) => {
                        // Once: a log may lie in memory.
                        if !std::mem::replace(&mut short, true) {
                            tracing::warn!(socket = self.name, %error, "accept");
                        }
                        tokio::time::sleep(SHORT).await;
                    }
                },
                Some(ended) = guests.tasks.join_next_with_id() => {
                    guests.forget(match ended {
                        Ok((id, _)) => id,
                        Err(error) => error.id(),
                    });
                }
            }
        }
    }
}

impl Drop for PublicSocket {
    fn drop(&mut self) {
        if self.is_there()
            && let Err(error) = unlinkat(&self.folder, self.name.as_str(), AtFlags::empty())
        {
            tracing::warn!(socket = self.name, %error, "stays");
        }
        drop(Made(std::mem::take(&mut self.made)));
    }
}

/// Folders that go again, as far as they are empty.
struct Made(Vec<PathBuf>);

impl Made {
    fn keep(mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            if let Err(error) = fs::remove_dir(path) {
                tracing::debug!(path = %path.display(), %error, "stays");
            }
        }
    }
}

/// Makes a folder and what is missing above it. Gives those that were made.
fn make_all(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut above: Vec<&Path> = folder.ancestors().collect();
    above.reverse();
    let mut made = Made(Vec::new());
    for path in above {
        match DirBuilder::new().mode(0o755).create(path) {
            Ok(()) => made.0.push(path.into()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(made.keep())
}

/// Binds a socket under a hidden name, and gives it its own when it is ready: it is never there with other permissions,
/// and takes the place of one that is dead without a moment in which there is none.
fn bind(folder: &OwnedFd, name: &str, mode: u32) -> io::Result<(UnixListener, FileId)> {
    let hidden = format!(".{name}.new");
    match unlinkat(folder, hidden.as_str(), AtFlags::empty()) {
        Err(Errno::NOENT) => {}
        removed => removed?,
    }
    let number = folder.as_fd().as_raw_fd();
    let listener = StdListener::bind(format!("/proc/thread-self/fd/{number}/{hidden}"))?;
    chmodat(
        folder,
        hidden.as_str(),
        Mode::from_raw_mode(mode),
        AtFlags::empty(),
    )?;
    let id = Status::from(statat(folder, hidden.as_str(), AtFlags::SYMLINK_NOFOLLOW)?).id;
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    renameat(folder, hidden.as_str(), folder, name)?;
    Ok((listener, id))
}

/// Who is connected.
#[derive(Default)]
struct Guests {
    tasks: JoinSet<()>,
    known: HashMap<Id, Guest>,
    /// How many have come so far.
    count: u64,
}

struct Guest {
    caller: Caller,
    /// Which one he was to come.
    turn: u64,
    handle: AbortHandle,
}

impl Guests {
    /// Tells who wants to come in, if he may. For him another may have to go.
    fn admit(&mut self, stream: &UnixStream, limits: Limits) -> Option<Caller> {
        let (pid, uid) = credentials(stream).ok()?;
        let pid = u32::try_from(pid).unwrap_or(0);
        let of_user = self.known.values().filter(|it| it.caller.uid == uid);
        if uid != 0 && of_user.count() >= limits.most_of_user {
            return None;
        }
        // root's are counted apart: nobody else can fill its share.
        let same = || {
            let guests = self.known.values();
            guests.filter(|it| (it.caller.uid == 0) == (uid == 0))
        };
        if same().count() >= limits.most
            && let Some(oldest) = same().min_by_key(|it| it.turn)
        {
            oldest.handle.abort();
            let id = oldest.handle.id();
            self.forget(id);
        }
        Some(Caller { pid, uid })
    }

    fn receive<T>(&mut self, caller: Caller, served: impl Future<Output = T> + Send + 'static) {
        let handle = self.tasks.spawn(async move {
            // Its time is over: the connection is closed, which is all that can be said.
            drop(served.await);
        });
        self.count = self.count.saturating_add(1);
        let guest = Guest {
            caller,
            turn: self.count,
            handle: handle.clone(),
        };
        self.known.insert(handle.id(), guest);
    }

    fn forget(&mut self, id: Id) {
        self.known.remove(&id);
    }
}

#[cfg(test)]
mod tests;
