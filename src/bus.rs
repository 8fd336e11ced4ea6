//! The daemon's D-Bus object: words in, words and descriptors out.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use tokio::io::unix::AsyncFd;
use zbus::connection::Builder;
use zbus::message::{Header, Message};
use zbus::names::ErrorName;
use zbus::{DBusError, Guid};

use crate::failure::{Failure, OrFail, Stage};
use crate::manager::{Holder, Manager, Prepared};
use crate::protocol::{ERRORS, PATH, PrepareReply, Properties, assignments};
use crate::request::Request;
use crate::sys::identity::mount_namespace_of;
use crate::sys::socket::peer;
use crate::sys::watch::register;
use crate::uid::Uid;

/// Serves one connection on the private socket until its peer has closed it.
///
/// # Errors
/// Of [`Stage::Daemon`], when the peer cannot be recognised or does not speak D-Bus.
pub async fn serve(manager: Arc<Manager>, stream: UnixStream) -> Result<(), Failure> {
    let subject = "a connection";
    let caller = peer(&stream).or_fail(Stage::Daemon, subject)?;
    let object = Object {
        manager,
        caller: caller.pidfd,
        is_root: caller.uid == 0,
    };
    let connection = Builder::unix_stream(stream)
        .server(Guid::generate())
        .p2p()
        .user_id(caller.uid)
        .serve_at(PATH, object)
        .build()
        .await
        .or_fail(Stage::Daemon, subject)?;
    connection.closed().await;
    Ok(())
}

/// The object, as one caller sees it.
struct Object {
    manager: Arc<Manager>,
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
    ) -> Result<PrepareReply, BusFailure> {
        self.refuse_others(daemon_view)?;
        let request = Request {
            service,
            properties: assignments(properties)?,
        };
        let holder = self.holder()?;
        // Made before the lease, so that there is none which nobody watches.
        let watch = Watch::new(&self.caller)?;
        let manager = Arc::clone(&self.manager);
        let record = holder.record();
        let prepared = blocking(move || manager.prepare(&request, &holder)).await?;
        watch.start(&self.manager, prepared.identity.uid, record);
        Ok(reply(prepared))
    }

    /// Ends the caller's hold on a lease at once, and answers when everything is taken back.
    async fn finish(&self, uid: u32) -> Result<(), BusFailure> {
        let uid = Uid::new(uid).ok_or_else(|| {
            Failure::new(Stage::Request, uid.to_string(), "is no number of a service")
        })?;
        let record = self.holder()?.record();
        let manager = Arc::clone(&self.manager);
        blocking(move || {
            manager.holder_ended(uid, &record);
            Ok(())
        })
        .await
    }
}

impl Object {
    fn holder(&self) -> Result<Holder, Failure> {
        let pidfd = self.caller.try_clone();
        Holder::new(pidfd.or_fail(Stage::Daemon, "the calling process")?)
    }

    /// Leases are for root, and a sandbox is made of what the daemon sees: a caller who sees other
    /// mounts would get a service in the wrong place.
    fn refuse_others(&self, daemon_view: bool) -> Result<(), Failure> {
        if !self.is_root {
            return Err(Failure::new(
                Stage::Daemon,
                "",
                "only root may ask for a user",
            ));
        }
        let theirs = mount_namespace_of(self.caller.as_fd());
        let ours = rustix::fs::stat("/proc/self/ns/mnt").map(|found| (found.st_dev, found.st_ino));
        let theirs = theirs.or_fail(Stage::Daemon, "the caller's mount namespace")?;
        let ours = ours.or_fail(Stage::Daemon, "/proc/self/ns/mnt")?;
        if theirs != ours && !daemon_view {
            return Err(Failure::new(
                Stage::Namespace,
                "",
                "you are in another mount namespace than the daemon, and the service would live in the daemon's; if that is what you want, say --daemon-view",
            ));
        }
        Ok(())
    }
}

/// Waits for the end of a holder.
struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    fn new(pidfd: &OwnedFd) -> Result<Self, Failure> {
        let subject = "watching the calling process";
        let pidfd = pidfd.try_clone().or_fail(Stage::Daemon, subject)?;
        register(pidfd).map(Self).or_fail(Stage::Daemon, subject)
    }

    fn start(self, manager: &Arc<Manager>, uid: Uid, holder: crate::lease::HolderRecord) {
        let manager = Arc::clone(manager);
        tokio::spawn(async move {
            if let Err(error) = self.0.readable().await {
                // Only when the runtime is shut down: the next daemon sees to the lease.
                tracing::warn!(%uid, %error, "no longer watched");
                return;
            }
            let ended = tokio::task::spawn_blocking(move || manager.holder_ended(uid, &holder));
            if let Err(error) = ended.await {
                tracing::error!(%uid, %error, "release did not finish");
            }
        });
    }
}

/// Watches a holder from before a restart.
///
/// # Errors
/// Of [`Stage::Daemon`].
pub fn watch(manager: &Arc<Manager>, adopted: crate::manager::Adopted) -> Result<(), Failure> {
    Watch::new(&adopted.pidfd)?.start(manager, adopted.uid, adopted.holder);
    Ok(())
}

/// Does on another thread what may take its time, so that nobody else waits.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, BusFailure> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.unwrap_or_else(|error| Err(Failure::new(Stage::Daemon, "", error)))?)
}

fn reply(prepared: Prepared) -> PrepareReply {
    let directory = prepared.working_directory;
    PrepareReply {
        uid: prepared.identity.uid.get(),
        gid: prepared.identity.gid,
        user: prepared.identity.user,
        namespace: prepared.namespace.into(),
        environment: prepared.environment,
        working_directory_may_be_missing: directory.as_ref().is_some_and(|d| d.may_be_missing),
        working_directory: directory.map_or_else(|| "/".into(), |directory| directory.path),
    }
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
