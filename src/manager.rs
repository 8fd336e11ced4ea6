//! The live table of leases: who has which number, and what happens to it next.

mod adopt;
mod table;

use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::allocate::{Choice, choose};
use crate::apply::{Views, Workshop, build_namespace};
use crate::candidates::candidates;
use crate::config_files;
use crate::directives::WorkingDirectory;
use crate::failure::{Failure, OrFail, Stage};
use crate::lease::{self, Holder, Lease, ProcessRecord, State};
use crate::observe;
use crate::plan::{self, Identity, Plan, Step};
use crate::release::release;
use crate::request::Request;
use crate::spec::Spec;
use crate::sys::identity::{boot_id, our_namespace};
use crate::sys::ipc::Ipc;
use crate::sys::random::hex_id;
use crate::uid::{Uid, UidRanges};

pub use adopt::Adopted;
use table::{Directories, Standing, Table};

/// How long a request that waits for the end of another lease goes without looking itself.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Everything that a launcher needs to become the service, but for the namespace, which is yet to
/// be built.
#[derive(Debug)]
pub struct Equipped {
    /// Who it becomes.
    pub identity: Identity,
    /// Its environment.
    pub environment: Vec<(String, String)>,
    /// Where it starts.
    pub working_directory: Option<WorkingDirectory>,
    steps: Vec<Step>,
    views: Views,
}

impl Equipped {
    /// Builds the mount namespace. The calling thread is in it from then on and is good for
    /// nothing else: it must be one that ends.
    ///
    /// # Errors
    /// Of the stage of the step that failed. The lease goes on: its holder has to be let go.
    pub fn build_namespace(&mut self) -> Result<OwnedFd, Failure> {
        build_namespace(&self.steps, std::mem::take(&mut self.views))
    }
}

/// The only allocator of a host.
#[derive(Debug)]
pub struct Manager {
    table: Mutex<Table>,
    changed: Condvar,
    /// One activation at a time looks at the directories and changes them, so that what a plan
    /// expects is what its steps find.
    directories: Mutex<()>,
    workshop: Workshop,
    ipc: Ipc,
    ranges: UidRanges,
    boot_id: String,
    pid_namespace: u64,
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

impl Manager {
    /// An allocator with an empty table. [`adopt`](Self::adopt) fills it.
    ///
    /// # Errors
    /// Of [`Stage::Daemon`].
    pub fn new() -> Result<Self, Failure> {
        Ok(Self {
            table: Mutex::default(),
            changed: Condvar::new(),
            directories: Mutex::default(),
            workshop: Workshop::default(),
            ipc: Ipc::open().or_fail(Stage::Daemon, "message queues")?,
            ranges: config_files::load()?.ranges,
            boot_id: boot_id().or_fail(Stage::Daemon, "the boot ID")?,
            pid_namespace: our_namespace("pid")
                .or_fail(Stage::Daemon, "the PID namespace")?
                .1,
        })
    }

    /// The way from words to a user with everything that its sandbox is made of. From the moment
    /// this returns, the lease lasts as long as its holders; call
    /// [`holder_ended`](Self::holder_ended) when one has ended.
    ///
    /// # Errors
    /// Of the stage that failed; everything taken is given back then.
    pub fn prepare(&self, request: &Request, process: &ProcessRecord) -> Result<Equipped, Failure> {
        let spec = Spec::check(request)?;
        let claim = self.claim(&spec, &holder(&spec, process))?;
        let equipped = self.equip(&spec, &claim);
        if equipped.is_err() {
            log_failure(self.holder_ended(claim.uid, process));
        }
        equipped
    }

    /// What [`prepare`](Self::prepare) would do for a request, with nothing taken or changed.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn rehearse(&self, request: &Request) -> Result<(Identity, Plan), Failure> {
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
        let plan = plan::plan(&spec, &identity, &observe::look(&spec)?)?;
        Ok((identity, plan))
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
            table.enter(lease);
        }
        Ok(())
    }

    /// A lease for the service: the one that its name has already, or a new one.
    fn claim(&self, spec: &Spec, holder: &Holder) -> Result<Claim, Failure> {
        loop {
            if let Some(claim) = self.join_or_begin(spec, holder)? {
                return Ok(claim);
            }
            let allocated = self.allocate(spec, |uid| self.table().reserve(uid, spec.user()));
            let mut table = self.table();
            let entered = allocated.and_then(|claim| {
                // Others may have come in meanwhile.
                if table.directories_for(spec)? == Directories::Busy {
                    return Ok(None);
                }
                table.refuse_second_name(spec.user(), claim.uid)?;
                let lease = self.new_lease(spec, &claim, holder);
                lease::save(&lease)?;
                table.enter(lease);
                Ok(Some(claim))
            });
            table.finish(spec.user());
            self.changed.notify_all();
            if let Some(claim) = entered? {
                return Ok(claim);
            }
        }
    }

    /// Joins the lease that the name has already; otherwise the name is being allocated by the
    /// caller from here on.
    fn join_or_begin(&self, spec: &Spec, holder: &Holder) -> Result<Option<Claim>, Failure> {
        loop {
            // A holder that has ended must not keep its own successor waiting for the news of it.
            let ended = self.table().ended_in_the_way(spec);
            for (uid, process) in ended {
                log_failure(self.holder_ended(uid, &process));
            }
            let mut table = self.table();
            match (table.standing(spec.user()), table.directories_for(spec)?) {
                (Standing::Busy, _) | (_, Directories::Busy) => drop(self.wait(table)),
                (Standing::Live(claim), Directories::Free) => {
                    table.share(claim.uid, holder)?;
                    return Ok(Some(claim));
                }
                (Standing::Unknown, Directories::Free) => {
                    table.begin(spec.user());
                    return Ok(None);
                }
            }
        }
    }

    /// Finds a number. `admit` says whether a candidate may be looked at.
    fn allocate(&self, spec: &Spec, admit: impl Fn(Uid) -> bool) -> Result<Claim, Failure> {
        let owners = observe::owners(spec)?;
        let nobody_else = |_| false;
        let candidates = candidates(spec.user(), &owners, None, &self.ranges, nobody_else)
            .filter(|uid| admit(*uid));
        Ok(match choose(spec.user(), candidates, &self.ipc)? {
            Choice::Static(uid, user) => Claim {
                uid,
                gid: user.gid,
                dynamic: false,
                groups: user.groups,
                home: Some(user.home),
            },
            Choice::Free(uid) => Claim {
                uid,
                gid: uid.get(),
                dynamic: true,
                groups: vec![uid.get()],
                home: None,
            },
        })
    }

    /// Everything under a lease: directories, views of them, the name.
    fn equip(&self, spec: &Spec, claim: &Claim) -> Result<Equipped, Failure> {
        let identity = identity(spec, claim)?;
        let alone = self
            .directories
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let observed = observe::look(spec)?;
        let plan = plan::plan(spec, &identity, &observed)?;
        let made = plan.made_for_the_lease();
        if !made.is_empty() {
            self.table().note_made(claim.uid, made)?;
        }
        let views = self.workshop.prepare_host(&plan.host)?;
        drop(alone);
        if identity.dynamic {
            lease::publish(&identity.user, identity.uid.get())?;
        }
        Ok(Equipped {
            environment: plan::environment(spec, &identity, &observed),
            working_directory: spec.working_directory().cloned(),
            identity,
            steps: plan.namespace,
            views,
        })
    }

    /// A holder of a lease has ended. When it was the last one, everything is taken back before
    /// this returns.
    ///
    /// # Errors
    /// Why the number is in quarantine from now on, if not everything could be taken back.
    pub fn holder_ended(&self, uid: Uid, process: &ProcessRecord) -> Result<(), Failure> {
        let last = self.table().let_go(uid, process);
        last.map_or(Ok(()), |lease| self.take_back(lease))
    }

    /// Takes back what a lease had, which has no holders any more.
    fn take_back(&self, mut lease: Lease) -> Result<(), Failure> {
        log_failure(lease::save(&lease));
        let released = release(&lease, &self.ipc).and_then(|()| lease::remove(lease.uid));
        let mut table = self.table();
        if let Err(failure) = &released {
            tracing::error!(uid = lease.uid, name = lease.name, %failure, "quarantined");
            lease.state = State::Quarantined;
            lease.reason = Some(failure.to_string());
            log_failure(lease::withdraw(&lease.name, lease.uid));
            log_failure(lease::save(&lease));
            table.enter(lease);
        } else {
            table.forget(lease.uid);
        }
        self.changed.notify_all();
        released.map_err(|failure| Failure {
            subject: format!("the number stays out of use: {}", failure.subject),
            ..failure
        })
    }

    /// How many leases there are, those in quarantine not counted: as long as it is not 0, the
    /// daemon has something to watch.
    pub fn live(&self) -> usize {
        self.table().live()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something has changed, or it is time to look whether holders have ended.
    fn wait<'a>(&self, table: MutexGuard<'a, Table>) -> MutexGuard<'a, Table> {
        self.changed
            .wait_timeout(table, LOOK_AGAIN)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn new_lease(&self, spec: &Spec, claim: &Claim, holder: &Holder) -> Lease {
        Lease {
            name: spec.user().to_string(),
            uid: claim.uid.get(),
            gid: claim.gid,
            dynamic: claim.dynamic,
            groups: claim.groups.clone(),
            home: claim.home.clone(),
            state: State::Running,
            reason: None,
            since: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |age| age.as_secs()),
            boot_id: self.boot_id.clone(),
            pid_namespace: self.pid_namespace,
            holders: vec![holder.clone()],
            made: Vec::new(),
        }
    }
}

/// A holder as the service that it asked for.
fn holder(spec: &Spec, process: &ProcessRecord) -> Holder {
    let directories = spec.directories().iter();
    Holder {
        process: process.clone(),
        service: spec.service().to_string(),
        directories: directories
            .map(|directory| (directory.kind().word().into(), directory.path().into()))
            .collect(),
    }
}

fn identity(spec: &Spec, claim: &Claim) -> Result<Identity, Failure> {
    Ok(Identity {
        user: spec.user().to_string(),
        uid: claim.uid,
        gid: claim.gid,
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
