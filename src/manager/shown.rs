//! Services whose views have files of accounts of their own, which follow the host's.
//!
//! Whenever `useradd` replaces a file on the host the kernel takes its copy out of all views (see
//! [`crate::apply::show`]). The namespaces are kept open, so that the copies can be shown again at once; a daemon that
//! comes after another one finds them through the services' processes, as `dynuser enter` does.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Manager;
use crate::account_lines::Database;
use crate::apply::{Copy, Work, show, write_database};
use crate::failure::{OrFail, Stage};
use crate::holder::{HeldBy, Watched};
use crate::inside;
use crate::layout::VIEWS;
use crate::lease::Lease;
use crate::life::State;
use crate::observe::{self, Stamps};
use crate::plan::{Action, Step};
use crate::sys::own_namespaces::Kind;
use crate::uid::Uid;

/// How long a view may take to be changed before everybody else goes on.
const PATIENCE: Duration = Duration::from_secs(1);

/// One of them.
#[derive(Debug)]
struct Viewer {
    uid: u32,
    holder: HeldBy,
    databases: Vec<Database>,
    /// The mount namespace; nothing, if it was another daemon that built it and nobody was found in it yet.
    namespace: Option<OwnedFd>,
    /// What the host's files were when its copies were shown last; nothing, if it may have others than there are by now.
    seen: Option<Stamps>,
    /// What is being done in it and has taken too long. Nothing else is begun there before that is done.
    work: Option<Work>,
}

impl Viewer {
    /// Whether something is still being done in it that was begun before.
    fn is_at_work(&mut self) -> bool {
        self.work = self
            .work
            .take()
            .filter(|work| work.wait(Duration::ZERO).is_none());
        self.work.is_some()
    }

    /// Shows it copies of what the host's files are `now`.
    fn show(&mut self, copies: &[Copy], now: Stamps) {
        let Some(namespace) = &self.namespace else {
            return;
        };
        self.seen = None;
        let copies = copies
            .iter()
            .filter(|it| self.databases.contains(&it.database));
        let (uid, work) = (self.uid, show(namespace, copies));
        match work.map(|work| (work.wait(PATIENCE), work)) {
            Ok((Some(Ok(())), _)) => self.seen = Some(now),
            Ok((None, work)) => {
                self.work = Some(work);
                tracing::warn!(uid, "the files in the view of a service do not answer");
            }
            Ok((Some(Err(failure)), _)) | Err(failure) => {
                tracing::warn!(uid, %failure, "a service may not find its user");
            }
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Showing {
    /// Whoever changes copies, or shows them, has this lock. It is never asked for by somebody who has the table's.
    viewers: Mutex<Vec<Viewer>>,
    news: Notify,
}

impl Showing {
    fn viewers(&self) -> MutexGuard<'_, Vec<Viewer>> {
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is shown may be old.
    pub(super) fn look_again(&self) {
        self.news.notify_one();
    }

    /// A holder has ended: its view is not kept any longer, and nobody is about to change it.
    pub(super) fn forget(&self, uid: Uid, holder: &HeldBy) {
        let mut viewers = self.viewers();
        viewers.retain(|it| it.uid != uid.get() || it.holder != *holder);
        if viewers.is_empty() {
            self.news.notify_one();
        }
    }

    /// Those that another daemon has built are looked for from now on.
    pub(super) fn find_again(&self, holders: Vec<(u32, HeldBy, Vec<Database>)>) {
        let mut viewers = self.viewers();
        viewers.extend(holders.into_iter().map(|(uid, holder, databases)| Viewer {
            uid,
            holder,
            databases,
            namespace: None,
            seen: None,
            work: None,
        }));
        self.news.notify_one();
    }
}

/// The files of accounts that a view has copies of.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// Which. Another one may be hidden in it by name, or replaced, whatever others of its user see.
    pub databases: Vec<Database>,
    /// What the host's files were before they were copied.
    pub seen: Stamps,
}

impl Accounts {
    /// Those that steps make a view of; nothing, if there are none.
    pub(super) fn in_steps(steps: &[Step], seen: Stamps) -> Option<Self> {
        let attaches = |database: &Database| {
            let mut steps = steps.iter();
            steps.any(|step| {
                matches!(&step.action, Action::AttachView { .. }) && database.path() == step.path
            })
        };
        let databases: Vec<_> = Database::ALL.into_iter().filter(attaches).collect();
        (!databases.is_empty()).then_some(Self { databases, seen })
    }
}

/// The holders of leases whose views have files of accounts of their own.
pub(super) fn holders<'a>(
    leases: impl Iterator<Item = &'a Lease>,
) -> Vec<(u32, HeldBy, Vec<Database>)> {
    let running = leases.filter(|lease| lease.state == State::Running);
    let all = running.flat_map(|lease| lease.holders.iter().map(|holder| (lease.uid, holder)));
    all.filter(|(_, holder)| !holder.shows_accounts.is_empty())
        .map(|(uid, holder)| {
            let names = &holder.shows_accounts;
            let is_shown = |it: &Database| names.iter().any(|name| name == it.name());
            let databases = Database::ALL.into_iter().filter(is_shown);
            (uid, holder.by.clone(), databases.collect())
        })
        .collect()
}

impl Manager {
    /// Keeps a view that was built with files of accounts of its own. Not for a thread that is in it.
    pub fn keep_view(&self, uid: Uid, holder: HeldBy, accounts: Accounts, namespace: OwnedFd) {
        let mut viewers = self.shown.viewers();
        // It may have ended while its view was built, and then nobody forgets it any more, and its copies are being removed.
        // From here on whoever ends it waits for this lock first.
        let is_held = self.table().lease(uid).is_some_and(|lease| {
            lease.state == State::Running && lease.holders.iter().any(|it| it.by == holder)
        });
        if !is_held {
            return;
        }
        viewers.retain(|it| it.uid != uid.get() || it.holder != holder);
        // Those of the same user may have the copy that was there before this one.
        for other in viewers.iter_mut().filter(|it| it.uid == uid.get()) {
            other.seen = None;
        }
        viewers.push(Viewer {
            uid: uid.get(),
            holder,
            databases: accounts.databases,
            namespace: Some(namespace),
            seen: Some(accounts.seen),
            work: None,
        });
        self.renew(&mut viewers, Some(uid.get()));
        if viewers.len() == 1 {
            self.shown.look_again();
        }
    }

    /// Waits until what is shown may be old for another reason than the host's files.
    pub async fn view_news(&self) {
        self.shown.news.notified().await;
    }

    /// Whether there are services whose views follow the host's files of accounts, and whether some are still to be
    /// found.
    pub fn views(&self) -> (bool, bool) {
        let viewers = self.shown.viewers();
        let lost = viewers.iter().any(|it| it.namespace.is_none());
        (!viewers.is_empty(), lost)
    }

    /// Makes all views show what the host's files of accounts say now, with the lines of dynamic users.
    pub fn renew_views(&self) {
        self.renew(&mut self.shown.viewers(), None);
    }

    fn renew(&self, viewers: &mut [Viewer], only: Option<u32>) {
        // Before anything is read of them: what changes from here on is seen the next time.
        let now = observe::stamps();
        let mut all: BTreeMap<u32, Vec<&mut Viewer>> = BTreeMap::new();
        for viewer in viewers.iter_mut() {
            if only.is_none_or(|uid| uid == viewer.uid) {
                all.entry(viewer.uid).or_default().push(viewer);
            }
        }
        for (uid, viewers) in all {
            let (copies, new) = self.write_copies(uid);
            for viewer in viewers {
                if viewer.namespace.is_none() {
                    viewer.namespace = self.find_view(uid, &viewer.holder);
                }
                if !viewer.is_at_work() && (new || viewer.seen != Some(now)) {
                    viewer.show(&copies, now);
                }
            }
        }
    }

    /// Writes the copies of one user's services anew. Gives those that there are, and whether one says something new.
    fn write_copies(&self, uid: u32) -> (Vec<Copy>, bool) {
        let mut new = false;
        let records = self.table().around(uid);
        let copies = Database::ALL.into_iter().filter_map(|database| {
            let path = format!("{VIEWS}/{uid}/{}", database.name());
            let lines: Vec<String> = records.iter().map(|it| database.line(it)).collect();
            // One that a service was never given is none that it gets now.
            if records.is_empty() || !std::fs::exists(&path).unwrap_or(true) {
                return None;
            }
            let file = database.path();
            let usable = observe::is_usable(database);
            let current = usable.is_ok();
            let written = match usable {
                Ok(()) => write_database(database, &path, &lines),
                Err(why) => {
                    // An old copy for ever would know who is gone long since.
                    tracing::warn!(uid, file, %why, "a service may not find its user");
                    Ok(false)
                }
            };
            match written {
                Ok(written) => new |= written,
                // It is tried again within a minute, and until then the old copy has the user.
                Err(error) => {
                    tracing::warn!(uid, file, %error, "the services of a user see what it was");
                }
            }
            Some(Copy {
                database,
                path,
                current,
            })
        });
        (copies.collect(), new)
    }

    /// The mount namespace of a service that another daemon has built.
    fn find_view(&self, uid: u32, by: &HeldBy) -> Option<OwnedFd> {
        let lease = self.table().lease(Uid::of_host(uid)?)?.clone();
        let holder = lease.holders.iter().find(|holder| holder.by == *by)?;
        let found = by
            .reopen()
            .or_fail(Stage::Namespace, &holder.service)
            .and_then(|watched| match watched {
                // Its end is about to be told.
                None | Some(Watched::Descriptor(_)) => Ok(None),
                Some(Watched::Process(pidfd)) => {
                    inside::find(&lease, holder, &pidfd, true).map(Some)
                }
            });
        match found {
            Ok(found) => {
                let mut spaces = found?.namespaces.into_iter();
                let mounts = spaces.find(|(kind, _)| *kind == Kind::Mounts);
                mounts.map(|(_, namespace)| namespace)
            }
            Err(failure) => {
                tracing::debug!(uid, %failure, "no view yet");
                None
            }
        }
    }
}
