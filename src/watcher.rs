//! Waiting for the ends of what holds leases, and seeing to them.

use std::sync::Arc;

use crate::failure::{Failure, OrFail, Stage};
use crate::holder::{HeldBy, Watched};
use crate::manager::{Adopted, Manager};
use crate::sys::watch::{Tells, Watches};
use crate::sys::workers::Workers;
use crate::uid::Uid;

/// The holders of all leases.
#[derive(Debug)]
pub struct Watcher {
    manager: Arc<Manager>,
    holders: Watches<(Uid, HeldBy)>,
    workers: Workers,
}

impl Watcher {
    /// Watches nobody yet. Must be called in the event loop.
    ///
    /// # Errors
    /// Of [`Stage::Daemon`].
    pub fn new(manager: Arc<Manager>, workers: Workers) -> Result<Arc<Self>, Failure> {
        let holders = Watches::new().or_fail(Stage::Daemon, "watching holders")?;
        Ok(Arc::new(Self {
            manager,
            holders,
            workers,
        }))
    }

    /// The table that the holders are of.
    pub fn manager(&self) -> &Arc<Manager> {
        &self.manager
    }

    /// Watches one. When it ends, its lease is let go.
    ///
    /// # Errors
    /// Of [`Stage::Daemon`]: the lease has to be let go by the caller then.
    pub fn watch(&self, holder: Adopted) -> Result<(), Failure> {
        let (descriptor, tells) = match holder.watched {
            Watched::Process(pidfd) => (pidfd, Tells::Readable),
            Watched::Descriptor(ours) => (ours, Tells::InError),
        };
        self.holders
            .add(descriptor, tells, (holder.uid, holder.holder))
            .or_fail(Stage::Daemon, "watching who holds a lease")
    }

    /// Sees to the ends of holders, for as long as the daemon runs.
    ///
    /// # Errors
    /// Of [`Stage::Daemon`]: nobody is watched any more then, and the daemon must end, so that the
    /// next one does.
    pub async fn run(self: Arc<Self>) -> Result<(), Failure> {
        loop {
            let told = self.holders.told().await;
            for (uid, holder) in told.or_fail(Stage::Daemon, "watching holders")? {
                let manager = Arc::clone(&self.manager);
                drop(self.workers.run(move || {
                    if let Err(failure) = manager.holder_ended(uid, &holder) {
                        tracing::error!(%uid, %failure, "release did not finish");
                    }
                }));
            }
        }
    }

    /// Does with the table what takes its time, and waits until that is done. It is done also if nobody waits.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn work(
        &self,
        work: impl FnOnce(&Manager) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        let manager = Arc::clone(&self.manager);
        let done = self.workers.run(move || work(&manager));
        done.await.or_fail(Stage::Daemon, "")?
    }

    /// Ends a hold on a lease, and waits until that is done.
    ///
    /// # Errors
    /// Those of [`Manager::holder_ended`].
    pub async fn let_go(&self, uid: Uid, holder: HeldBy) -> Result<(), Failure> {
        self.work(move |manager| manager.holder_ended(uid, &holder))
            .await
    }
}
