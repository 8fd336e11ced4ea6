//! The daemon: one of it, with its socket, its leases, and an end if nobody needs it.

mod accounts;
mod background;
mod look_ups;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::bus;
use crate::failure::{Failure, OrFail, Stage};
use crate::layout::{LOCK, RUN, SOCKET};
use crate::manager::Manager;
use crate::number_locks::NumberLocks;
use crate::report::{Log, start_logging};
use crate::run_folders::{prepare_folder, prepare_run, remove_run};
use crate::sys::lock::{Lock, try_lock};
use crate::sys::service_manager::{Inherited, ServiceManager};
use crate::sys::workers::Workers;
use crate::sys::{SysResult, gone, memory, run};
use crate::watcher::Watcher;
use look_ups::LookUps;

/// How a daemon is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Go into the background as soon as the socket answers, and log into /run.
    pub on_demand: bool,
    /// End when nothing has been leased for this long.
    pub idle_timeout: Option<Duration>,
}

/// How long a daemon that a launcher started stays when there is nothing to do.
const DEFAULT_IDLE: Duration = Duration::from_secs(30);

/// How often it is tried again to take back what is in quarantine.
const RETRY: Duration = Duration::from_secs(60);

/// How many leases are seen to their end at the same time; the others wait.
const MOST_ENDING: usize = 64;

/// How long a daemon that is not needed waits until the other one answers.
const PATIENCE: Duration = Duration::from_secs(25);

/// Is the daemon until it ends.
///
/// # Errors
/// Of [`Stage::Daemon`]. That there is one already is an error only for a daemon in the foreground.
pub fn run(options: &Options) -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::new(
            Stage::Daemon,
            "",
            "the daemon must be started by root",
        ));
    }
    memory::share_arenas();
    let inherited = Inherited::take();
    run::become_clean("dynuserd", &inherited).or_fail(Stage::Daemon, "starting")?;
    if options.on_demand {
        return background::start(options);
    }
    start_logging(Log::Stderr);
    // Only here: a daemon in the background has the environment of whoever happened to start it.
    let service_manager = ServiceManager::from_environment()
        .or_fail(Stage::Daemon, "NOTIFY_SOCKET")?
        .map(Arc::new);
    let tell = |say: fn(&ServiceManager) -> SysResult<()>| {
        if let Some(Err(error)) = service_manager.as_deref().map(say) {
            tracing::warn!(%error, "the service manager does not listen");
        }
    };
    let locks = NumberLocks::new(inherited, service_manager.clone());
    match Daemon::start(locks)? {
        Some(daemon) => {
            let served = daemon.serve(options, || {
                tell(ServiceManager::ready);
                Ok(())
            });
            tell(ServiceManager::stopping);
            served
        }
        None => Err(Failure::new(
            Stage::Daemon,
            LOCK,
            "another daemon is running",
        )),
    }
}

/// A daemon that holds the lock, and therefore is the only one.
struct Daemon {
    lock: Lock,
    manager: Arc<Manager>,
}

impl Daemon {
    /// Takes the lock; `None` if somebody else is the daemon.
    fn start(locks: NumberLocks) -> Result<Option<Self>, Failure> {
        let lock = loop {
            match try_lock(Path::new(LOCK)) {
                // The folder is not there yet, or a former daemon has just removed it.
                Err(error) if error.errno == rustix::io::Errno::NOENT => prepare_folder(RUN)?,
                lock => break lock.or_fail(Stage::Daemon, LOCK)?,
            }
        };
        let Some(lock) = lock else {
            return Ok(None);
        };
        // Whoever removes folders has the lock: from here on they stay.
        prepare_run()?;
        let manager = Arc::new(Manager::new(locks)?);
        Ok(Some(Self { lock, manager }))
    }

    /// Takes the lock, or waits until the daemon that has it answers: then there is nothing to do.
    /// One that is on its way out gives the lock back.
    fn start_or_wait() -> Result<Option<Self>, Failure> {
        let begun = Instant::now();
        loop {
            if let Some(daemon) = Self::start(NumberLocks::default())? {
                return Ok(Some(daemon));
            }
            if StdStream::connect(SOCKET).is_ok() {
                return Ok(None);
            }
            if begun.elapsed() > PATIENCE {
                let why = "another daemon has the lock and does not answer";
                return Err(Failure::new(Stage::Daemon, LOCK, why));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Adopts what is there and serves until told to end, or until nobody needs it.
    fn serve(
        self,
        options: &Options,
        ready: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .or_fail(Stage::Daemon, "the event loop")?;
        let workers = Workers::new(MOST_ENDING).or_fail(Stage::Daemon, "threads")?;
        let idle = options
            .idle_timeout
            .or_else(|| options.on_demand.then_some(DEFAULT_IDLE));
        let served = runtime.block_on(async {
            let watcher = Watcher::new(Arc::clone(&self.manager), workers.clone())?;
            for holder in self.manager.adopt()? {
                watcher.watch(holder)?;
            }
            // Before anybody can ask for a user: it is known as soon as it is there.
            let look_ups = LookUps::serve(&self.manager).await;
            let listener = listen()?;
            ready()?;
            accept(&watcher, &workers, listener, idle, &look_ups).await
        });
        remove_socket();
        // Releases that have begun are seen to their end, within reason.
        drop(runtime);
        workers.finish(Duration::from_secs(20));
        // A help, never a need: a disk that hangs keeps nobody.
        self.manager.finish_history(Duration::from_secs(2));
        // A request that could not be stopped (one that waits for NSS) may be about to write a lease, which the
        // next daemon would not know: it comes no further, and the lock goes with the process.
        self.manager.stand_still();
        remove_run();
        Box::leak(Box::new(self.lock));
        served
    }
}

fn remove_socket() {
    if let Err(error) = gone(fs::remove_file(SOCKET)) {
        tracing::warn!(path = SOCKET, %error, "stays");
    }
}

/// Makes the socket. It appears under its name only when nobody but root can connect to it.
fn listen() -> Result<UnixListener, Failure> {
    let hidden = format!("{RUN}/.manager");
    let listener = (|| {
        for path in [hidden.as_str(), SOCKET] {
            gone(fs::remove_file(path))?;
        }
        let listener = StdListener::bind(&hidden)?;
        fs::set_permissions(&hidden, Permissions::from_mode(0o600))?;
        fs::rename(&hidden, SOCKET)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    })();
    listener
        .and_then(UnixListener::from_std)
        .or_fail(Stage::Daemon, SOCKET)
}

/// Takes connections until a signal or idleness ends it.
async fn accept(
    watcher: &Arc<Watcher>,
    workers: &Workers,
    mut listener: UnixListener,
    idle: Option<Duration>,
    look_ups: &LookUps,
) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).or_fail(Stage::Daemon, "SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).or_fail(Stage::Daemon, "SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).or_fail(Stage::Daemon, "SIGHUP")?;
    let connections = Arc::new(AtomicUsize::new(0));
    let pause = idle.map_or(Duration::from_secs(3600), |idle| {
        idle.div_f32(4.0)
            .clamp(Duration::from_millis(50), Duration::from_secs(5))
    });
    let mut busy = Instant::now();
    // The first time is now: for what the former daemon left half-done.
    let mut retry = tokio::time::interval(RETRY);
    let mut ends = tokio::spawn(Arc::clone(watcher).run());
    tokio::spawn(accounts::follow(Arc::clone(watcher)));
    let manager = watcher.manager();
    loop {
        tokio::select! {
            _ = retry.tick() => {
                let manager = Arc::clone(manager);
                drop(workers.run(move || {
                    manager.retry_quarantined();
                    memory::give_back();
                }));
            }
            accepted = listener.accept() => {
                match accepted {
                    Ok((stream, _)) => converse(watcher, &connections, stream),
                    Err(error) => short_of(error).await,
                }
                busy = Instant::now();
            }
            ended = &mut ends => return ended.or_fail(Stage::Daemon, "watching holders")?,
            _ = hangup.recv() => reload(manager, look_ups),
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            () = tokio::time::sleep(pause) => {
                if manager.is_needed() || connections.load(Ordering::Relaxed) > 0 {
                    busy = Instant::now();
                } else if idle.is_some_and(|idle| busy.elapsed() >= idle) {
                    match last_call(&listener) {
                        None => return Ok(()),
                        Some(stream) => {
                            converse(watcher, &connections, stream);
                            listener = listen()?;
                            busy = Instant::now();
                        }
                    }
                }
            }
        }
    }
}

/// Descriptors or memory are short for the moment. The log lies in memory, too.
async fn short_of(error: std::io::Error) {
    tracing::warn!(%error, "accept");
    tokio::time::sleep(Duration::from_millis(200)).await;
}

fn reload(manager: &Manager, look_ups: &LookUps) {
    match manager.reload() {
        Ok(()) => {
            look_ups.reload(&manager.config());
            tracing::info!("configuration read again");
        }
        Err(failure) => tracing::error!(%failure, "the old configuration stays"),
    }
}

/// Closes the door; gives whoever came through in the last moment. After this nobody new can
/// connect, so nobody is left waiting for a daemon that is gone.
fn last_call(listener: &UnixListener) -> Option<tokio::net::UnixStream> {
    remove_socket();
    let mut nothing = std::task::Context::from_waker(std::task::Waker::noop());
    match listener.poll_accept(&mut nothing) {
        std::task::Poll::Ready(Ok((stream, _))) => Some(stream),
        _ => None,
    }
}

/// Serves one connection beside the others.
fn converse(
    watcher: &Arc<Watcher>,
    connections: &Arc<AtomicUsize>,
    stream: tokio::net::UnixStream,
) {
    let (watcher, connections) = (Arc::clone(watcher), Arc::clone(connections));
    connections.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(async move {
        if let Err(failure) = bus::serve(watcher, stream).await {
            tracing::info!(%failure);
        }
        connections.fetch_sub(1, Ordering::Relaxed);
    });
}
