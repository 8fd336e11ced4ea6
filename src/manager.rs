//! The live table of leases: who has which number, and what happens to it next.

mod adopt;
mod claim;
mod clean;
mod ending;
mod equip;
mod groups;
mod index;
mod nesting;
mod reach;
mod shown;
mod table;
mod yard;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::Config;
use crate::config_files;
use crate::directory_record::DirectoryRecord;
use crate::directory_text::Has;
use crate::failure::{Failure, OrFail, Stage};
use crate::giving::OnProgress;
use crate::history::History;
use crate::holder::HeldBy;
use crate::lease;
use crate::name_caches;
use crate::number_locks::NumberLocks;
use crate::plan::{self, Adopter, Identity, Plan};
use crate::published;
use crate::registry::Registry;
use crate::request::Request;
use crate::spec::Spec;
use crate::surroundings::explained;
use crate::sys::identity::{boot_id, our_namespace};
use crate::sys::ipc::Ipc;
use crate::sys::names::User;
use crate::sys::namespace::pid_namespace_handle;
use crate::sys::random::hex_id;
use crate::uid::Uid;

pub use adopt::Adopted;
pub use clean::claim_lease;
pub use equip::{Equipped, OwnNamespaces};
use equip::{Learned, adopter};
use groups::Groups;
pub use shown::Accounts;
use shown::Showing;
use table::{Standing, Table};
use yard::Yard;

/// The only allocator of a host.
#[derive(Debug)]
pub struct Manager {
    table: Mutex<Table>,
    changed: Condvar,
    /// Where directories are looked at and changed.
    yard: Yard,
    /// The services whose views have files of accounts of their own.
    shown: Showing,
    /// One removal at a time: each finishes what others left half done.
    removing: Mutex<()>,
    ipc: Ipc,
    locks: NumberLocks,
    /// Which number a name had last. Not under the table's lock: it is written to disk.
    registry: Mutex<Registry>,
    /// Which directories a service had. Not under the table's lock either.
    records: Mutex<DirectoryRecord>,
    /// Who had which number. Written by a thread of its own.
    history: History,
    config: Mutex<Arc<Config>>,
    boot_id: String,
    pid_namespace: u64,
    pid_namespace_handle: Option<String>,
}

/// What one activation of a service got from the table.
#[derive(Debug, Clone)]
struct Claim {
    uid: Uid,
    gid: u32,
    dynamic: bool,
    groups: Vec<u32>,
    home: Option<String>,
}

impl Claim {
    /// A user whom the host has anyway.
    fn of_host_user(uid: Uid, user: User) -> Self {
        Self {
            uid,
            gid: user.gid,
            dynamic: false,
            groups: user.groups,
            home: Some(user.home),
        }
    }
}

impl Manager {
    /// An allocator with an empty table. [`adopt`](Self::adopt) fills it.
    ///
    /// # Errors
    /// Of [`Stage::Daemon`].
    pub fn new(locks: NumberLocks) -> Result<Self, Failure> {
        let config = config_files::load()?;
        let boot_id = boot_id().or_fail(Stage::Daemon, "the boot ID")?;
        Ok(Self {
            table: Mutex::default(),
            changed: Condvar::new(),
            history: History::new(&boot_id, config.history_size),
            yard: Yard::default(),
            shown: Showing::default(),
            removing: Mutex::default(),
            config: Mutex::new(Arc::new(config)),
            locks,
            registry: Mutex::new(Registry::look()),
            records: Mutex::new(DirectoryRecord::look()),
            ipc: Ipc::open().or_fail(Stage::Daemon, "message queues")?,
            boot_id,
            pid_namespace: our_namespace("pid")
                .or_fail(Stage::Daemon, "the PID namespace")?
                .1,
            pid_namespace_handle: pid_namespace_handle()
                .or_fail(Stage::Daemon, "the PID namespace")?,
        })
    }

    /// The way from words to a user with everything that its sandbox is made of. From the moment
    /// this returns, the lease lasts as long as its holders; call
    /// [`holder_ended`](Self::holder_ended) when one has ended.
    ///
    /// # Errors
    /// Of the stage that failed; everything taken is given back then.
    pub fn prepare(
        &self,
        request: &Request,
        holder: &HeldBy,
        progress: &OnProgress<'_>,
    ) -> Result<Equipped, Failure> {
        let spec = Spec::check(request)?;
        let claim = self.claim(&spec, holder)?;
        let mut groups = Groups::default();
        let found = self.find_groups(&spec, holder, &claim, &mut groups);
        let held = groups.held.clone();
        let equipped = found.and_then(|()| {
            self.refuse_reach(&spec, claim.uid)?;
            let mut equipped = self.equip(&spec, &claim, groups, progress)?;
            if let Some(accounts) = &equipped.accounts {
                let databases = &accounts.databases;
                self.table().note_accounts(claim.uid, holder, databases)?;
            }
            self.control_group(&spec, claim.uid, &mut equipped)?;
            Ok(equipped)
        });
        let equipped = equipped.map_err(|failure| explained(failure, spec.level()));
        let equipped = self.finished(claim.uid, holder, equipped);
        if equipped.is_err() {
            self.let_go_of(&held, holder);
        }
        let equipped = equipped?;
        // Of who does not come again only what stays is remembered.
        if !(spec.is_passing() && spec.directories().is_empty()) {
            let has = spec.directories().iter().map(Has::from);
            self.records()
                .remember(spec.service(), spec.user().as_str(), has);
        }
        Ok(equipped)
    }

    /// A user without a service: it exists as long as `holder`. Nothing is made for it.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare), and for a request that names more than a user.
    pub fn acquire(&self, request: &Request, holder: &HeldBy) -> Result<Identity, Failure> {
        let spec = Spec::check(request)?;
        spec.require_user_alone()?;
        let claim = self.claim(&spec, holder)?;
        self.finished(claim.uid, holder, identity(&spec, &claim))
    }

    /// Nothing more is made for a holder: from here on its lease may end.
    fn finished<T>(
        &self,
        uid: Uid,
        holder: &HeldBy,
        made: Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.table().equipped(holder);
        self.changed.notify_all();
        if made.is_err() {
            log_failure(self.holder_ended(uid, holder));
        }
        made
    }

    /// What [`prepare`](Self::prepare) would do for a request, with nothing taken or changed.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn rehearse(&self, request: &Request) -> Result<(Identity, Plan, Adopter), Failure> {
        let spec = Spec::check(request)?;
        let standing = self.table().standing(spec.user());
        self.table().directories_for(&spec)?;
        let claim = match standing {
            Standing::Live(claim) => claim,
            Standing::Unknown | Standing::Busy => {
                self.allocate(&spec, |uid| !self.table().has(uid))?
            }
        };
        self.table().refuse_second_name(spec.user(), claim.uid)?;
        let identity = identity(&spec, &claim)?;
        let mut observed = self.look(&spec, &Learned::default())?;
        observed.name_service.records = self.table().around(claim.uid.get());
        let plan = plan::plan(&spec, &identity, &observed)?;
        self.refuse_foreign_nests(&spec, &plan)?;
        let adopter = adopter(&spec, &identity, !plan.namespace.is_empty());
        Ok((identity, plan, adopter))
    }

    /// Fills the table with what is on disk, for [`rehearse`](Self::rehearse) alone: nothing is
    /// adopted.
    ///
    /// # Errors
    /// Of [`Stage::Daemon`], if the leases cannot be read.
    pub fn look_at_leases(&self) -> Result<(), Failure> {
        let mut table = self.table();
        for lease in lease::load_all()?
            .into_iter()
            .filter_map(|found| found.lease.ok())
        {
            table.put(lease);
        }
        Ok(())
    }

    /// The configuration that is in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the configuration again. Leases that live are not touched by it.
    ///
    /// # Errors
    /// Of [`Stage::Daemon`]: then the old one stays in force.
    pub fn reload(&self) -> Result<(), Failure> {
        let config = Arc::new(config_files::load()?);
        self.history.may_grow_to(config.history_size);
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        log_failure(self.publish_ranges());
        Ok(())
    }

    /// Tells programs that go through all users which numbers these may have.
    fn publish_ranges(&self) -> Result<(), Failure> {
        let config = self.config();
        let table = self.table();
        let others = table
            .leases()
            .filter(|lease| lease.dynamic)
            .map(|lease| lease.uid);
        published::publish_ranges(&config.ranges, others)
    }

    /// Nobody reads or changes the table any more: whoever tries waits for the end of the process. No lease
    /// is made or changed from here on.
    pub fn stand_still(&self) {
        Box::leak(Box::new(self.table()));
    }

    /// Whether the daemon has something to watch, or to keep: leases, those in quarantine not counted unless
    /// systemd would hand out their numbers, with all that could not be taken back, without our locks.
    pub fn is_needed(&self) -> bool {
        self.table().live() > 0 || self.locks.any()
    }

    /// Tells caches of names to forget what they know, if somebody has other groups, members or another home by now.
    fn spread_news(&self) {
        let news = self.table().take_news();
        if !news.is_empty() {
            self.shown.look_again();
            name_caches::refresh(&news);
        }
    }

    /// Waits until the history is written, `patience` at most.
    pub fn finish_history(&self, patience: Duration) {
        self.history.finish(patience);
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(spec: &Spec, claim: &Claim) -> Result<Identity, Failure> {
    Ok(Identity {
        user: spec.user().to_string(),
        uid: claim.uid,
        gid: claim.gid,
        group_name: claim.dynamic.then(|| spec.user().to_string()),
        dynamic: claim.dynamic,
        groups: claim.groups.clone(),
        home: claim.home.clone(),
        invocation: hex_id().or_fail(Stage::User, "the invocation ID")?,
    })
}

/// For what goes on all the same: the lease in memory is right, and its file says less than that.
fn log_failure(result: Result<(), Failure>) {
    if let Err(failure) = result {
        tracing::error!(%failure);
    }
}
