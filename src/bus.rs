//! The daemon's D-Bus object: words in, words and descriptors out.

mod preparing;
mod transport;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tokio::net::UnixStream;
use tokio::sync::mpsc::{Sender, channel};
use zbus::connection::Builder;
use zbus::message::{Header, Message};
use zbus::names::ErrorName;
use zbus::object_server::SignalEmitter;
use zbus::{DBusError, Guid};

use crate::failure::{Failure, OrFail, Stage};
use crate::giving::Progress;
use crate::holder::{HeldBy, ProcessRecord};
use crate::protocol::{
    AcquireReply, ERRORS, PATH, PrepareReply, Properties, RemovalReply, assignments,
};
use crate::removal::Removal;
use crate::request::Request;
use crate::sys::identity::{NamespaceId, our_namespace, recognise};
use crate::sys::socket::peer;
use crate::uid::Uid;
use crate::watcher::Watcher;
use transport::Transport;

/// Serves one connection on the private socket until its peer has closed it.
///
/// # Errors
/// Of [`Stage::Daemon`], when the peer cannot be recognised or does not speak D-Bus.
pub async fn serve(watcher: Arc<Watcher>, stream: UnixStream) -> Result<(), Failure> {
    let subject = "a connection";
    let caller = peer(&stream).or_fail(Stage::Daemon, subject)?;
    let object = Object {
        watcher,
        caller: caller.pidfd,
        is_root: caller.uid == 0,
    };
    let transport = Transport {
        stream,
        uid: caller.uid,
    };
    let connection = Builder::socket(transport)
        .server(Guid::generate())
        .p2p()
        .serve_at(PATH, object)
        .build()
        .await
        .or_fail(Stage::Daemon, subject)?;
    connection.closed().await;
    Ok(())
}

/// The object, as one caller sees it.
struct Object {
    watcher: Arc<Watcher>,
    /// The process that connected, as the kernel vouches for it.
    caller: OwnedFd,
    is_root: bool,
}

#[zbus::interface(name = "org.dynuser1.Manager")]
impl Object {
    /// Allocates a user, makes its directories and its sandbox. The lease lasts as long as the
    /// calling process, also across its execve(2).
    async fn prepare(
        &self,
        service: String,
        properties: Properties,
        daemon_view: bool,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<PrepareReply, BusFailure> {
        let holder = self.recognised(daemon_view)?;
        let request = Request {
            service,
            properties: assignments(properties)?,
        };
        // In a task of its own: it goes on when the caller goes away and this answer is dropped, so
        // that there is never a lease which nobody watches.
        let prepared = tokio::spawn(preparing::prepare(
            Arc::clone(&self.watcher),
            self.caller.try_clone().or_fail(Stage::Daemon, "")?,
            holder,
            request,
            telling(emitter.to_owned()),
        ));
        Ok(prepared.await.or_fail(Stage::Daemon, "")??)
    }

    /// Allocates a user alone. The lease lasts as long as any copy of the descriptor is open.
    async fn acquire(
        &self,
        service: String,
        properties: Properties,
    ) -> Result<AcquireReply, BusFailure> {
        self.recognised(true)?;
        let request = Request {
            service,
            properties: assignments(properties)?,
        };
        let acquired = tokio::spawn(preparing::acquire(Arc::clone(&self.watcher), request));
        Ok(acquired.await.or_fail(Stage::Daemon, "")??)
    }

    /// Tells the caller of [`prepare`](Self::prepare) how far it is, when a tree is given to its user and
    /// that takes its time: `of` is how many entries there are, or 0 while nobody knows.
    #[zbus(signal)]
    async fn chown_progress(
        emitter: &SignalEmitter<'_>,
        path: &str,
        done: u64,
        of: u64,
    ) -> zbus::Result<()>;

    /// Takes back what could not be taken back when a lease ended, if what stood in the way is
    /// gone. That there is nothing to take back is no error.
    async fn release(&self, uid: u32) -> Result<(), BusFailure> {
        self.recognised(true)?;
        let uid = number(uid)?;
        let lifted = self.watcher.work(move |it| it.lift_quarantine(uid));
        Ok(lifted.await?)
    }

    /// Ends the caller's hold on a lease at once, and answers when everything is taken back.
    async fn finish(&self, uid: u32) -> Result<(), BusFailure> {
        let holder = self.recognised(true)?;
        Ok(self.watcher.let_go(number(uid)?, holder).await?)
    }

    /// Removes the directories of a service that does not run. A removal that has begun is done to its
    /// end, also if the caller goes away.
    async fn clean(
        &self,
        service: String,
        what: Vec<String>,
        properties: Properties,
    ) -> Result<RemovalReply, BusFailure> {
        self.sees_what_we_see()?;
        let properties = assignments(properties)?;
        let manager = Arc::clone(self.watcher.manager());
        let done = on_own_thread(move || manager.clean(&service, &what, &properties));
        Ok(removal(done.await?))
    }

    /// Removes directories that are nobody's, by the names that `dynuser gc` lists.
    async fn collect(&self, names: Vec<String>) -> Result<RemovalReply, BusFailure> {
        self.sees_what_we_see()?;
        let manager = Arc::clone(self.watcher.manager());
        let done = on_own_thread(move || manager.collect(&names));
        Ok(removal(done.await?))
    }
}

fn removal(done: Removal) -> RemovalReply {
    RemovalReply {
        removed: done.removed,
        left: done.left,
    }
}

fn number(uid: u32) -> Result<Uid, Failure> {
    let no = || Failure::new(Stage::Request, uid.to_string(), "is no number of a service");
    Uid::of_host(uid).ok_or_else(no)
}

impl Object {
    /// Refuses a caller who may not ask, or who sees other mounts: what is removed would not be what he
    /// sees.
    fn sees_what_we_see(&self) -> Result<(), Failure> {
        self.recognised(false).map(drop).map_err(|failure| match failure.stage {
            Stage::Namespace => Failure::new(
                Stage::Namespace,
                "",
                "you are in other namespaces than the daemon, and see other directories than would be removed; ask from where the daemon runs",
            ),
            _ => failure,
        })
    }

    /// The caller, if it may ask. Leases are for root, and a sandbox is made of what the daemon sees:
    /// a caller who sees other mounts would get a service in the wrong place.
    fn recognised(&self, daemon_view: bool) -> Result<HeldBy, Failure> {
        if !self.is_root {
            return Err(Failure::new(
                Stage::Daemon,
                "",
                "only root may ask for a user",
            ));
        }
        let caller =
            recognise(self.caller.as_fd()).or_fail(Stage::Daemon, "the calling process")?;
        let same = |theirs: NamespaceId, kind: &str| {
            let ours = our_namespace(kind).or_fail(Stage::Daemon, "the daemon's namespaces");
            ours.map(|ours| ours == theirs)
        };
        // What the service leaves in another one would not be seen when the lease ends.
        if !same(caller.ipc_namespace, "ipc")? {
            return Err(Failure::new(
                Stage::Namespace,
                "",
                "you are in another IPC namespace than the daemon, which could not remove what the service leaves there",
            ));
        }
        if !daemon_view && !same(caller.mount_namespace, "mnt")? {
            return Err(Failure::new(
                Stage::Namespace,
                "",
                "you are in another mount namespace than the daemon, and the service would live in the daemon's; if that is what you want, say --daemon-view",
            ));
        }
        Ok(HeldBy::Process(ProcessRecord::from(&caller.identity)))
    }
}

/// Passes on to a caller what a worker tells, until that is done.
fn telling(emitter: SignalEmitter<'static>) -> Sender<Progress> {
    let (tell, mut news) = channel::<Progress>(1);
    tokio::spawn(async move {
        while let Some(Progress { path, done, of }) = news.recv().await {
            let told = Object::chown_progress(&emitter, &path, done, of.unwrap_or(0));
            if let Err(error) = told.await {
                tracing::debug!(%error, "nobody listens");
                return;
            }
        }
    });
    tell
}

/// Does on a thread of its own, which ends with it, what takes its time and leaves the thread in
/// another mount namespace.
async fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (done, waiting) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("prepare".into())
        // The one who waits is gone only when the daemon ends.
        .spawn(move || drop(done.send(work())))
        .or_fail(Stage::Daemon, "clone")?;
    waiting.await.or_fail(Stage::Daemon, "")?
}

/// A failure on its way over the bus.
#[derive(Debug)]
struct BusFailure {
    name: ErrorName<'static>,
    text: String,
}

impl From<Failure> for BusFailure {
    fn from(failure: Failure) -> Self {
        tracing::info!(stage = failure.stage.word(), %failure, "refused");
        let name = format!("{ERRORS}{}", failure.stage.word());
        Self {
            name: ErrorName::try_from(name).unwrap_or_else(|_| {
                ErrorName::from_static_str_unchecked("org.dynuser1.Error.Failed")
            }),
            text: failure.to_string(),
        }
    }
}

impl DBusError for BusFailure {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name.clone()).build(&(&self.text,))
    }

    fn name(&self) -> ErrorName<'_> {
        self.name.clone()
    }

    fn description(&self) -> Option<&str> {
        Some(&self.text)
    }
}
