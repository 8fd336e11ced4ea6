//! The host's files of accounts: services with copies of them see what changes there.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::account_lines::Database;
use crate::failure::{Failure, OrFail, Stage};
use crate::sys::changes::{self, Change, Changes};
use crate::sys::fs::{open_trusted, path_of, pin_trusted};
use crate::watcher::Watcher;

/// How long somebody may take to write into a file in place, before it is looked at all the same.
const WRITING: Duration = Duration::from_millis(200);

/// How long nothing is done after everything was: one program changes several files, and many may change them at once.
const PAUSE: Duration = Duration::from_millis(10);

/// How long a service that a former daemon has started may take until it is in its view, at first.
const PATIENCE: Duration = Duration::from_millis(100);

/// How often it is looked at the host's files at least: not all file systems tell of their changes.
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

/// Lets the views of services follow the host's files, for as long as the daemon runs.
pub(super) async fn follow(watcher: Arc<Watcher>) {
    let manager = Arc::clone(watcher.manager());
    let mut patience = PATIENCE;
    loop {
        let (any, lost) = manager.views();
        if !any {
            manager.view_news().await;
            patience = PATIENCE;
            continue;
        }
        // Where one of them is a link, what it leads to may change as well: they are found anew every time.
        let watched = watch();
        if let Err(failure) = &watched {
            tracing::warn!(%failure, "views are told of new users late");
        }
        renew(&watcher).await;
        tokio::time::sleep(PAUSE).await;
        let wait = if lost { patience } else { LONGEST_PATIENCE };
        patience = patience.saturating_mul(2).min(LONGEST_PATIENCE);
        tokio::select! {
            () = changed(watched.ok()) => {}
            () = manager.view_news() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Waits for the next change that is worth a look.
async fn changed(watched: Option<Changes>) {
    let Some(watched) = watched else {
        return std::future::pending().await;
    };
    loop {
        match watched.next().await {
            Ok(Change::Done) => return,
            // Whoever writes in place closes the file as a rule: then it is complete.
            Ok(Change::Begun) => {
                let more = tokio::time::timeout(WRITING, watched.next());
                if !matches!(more.await, Ok(Ok(Change::Begun))) {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "views are told of new users late");
                return std::future::pending().await;
            }
        }
    }
}

async fn renew(watcher: &Watcher) {
    let work = |manager: &crate::manager::Manager| {
        manager.renew_views();
        Ok(())
    };
    if let Err(failure) = watcher.work(work).await {
        tracing::warn!(%failure, "views of services are old");
    }
}

/// Watches the files where they are named, and where they are.
fn watch() -> Result<Changes, Failure> {
    let mut directories: Vec<OwnedFd> = Vec::new();
    let mut names: Vec<CString> = Vec::new();
    let mut add = |path: &Path| {
        let Some((folder, name)) = path.parent().zip(path.file_name()) else {
            return Ok(());
        };
        let folder = folder.to_string_lossy();
        directories.push(open_trusted(&folder).or_fail(Stage::Daemon, &*folder)?);
        names.extend(changes::name(name));
        Ok::<_, Failure>(())
    };
    for database in Database::ALL {
        let path = Path::new(database.path());
        add(path)?;
        let real = pin_trusted(database.path()).and_then(path_of);
        if let Some(real) = real.ok().filter(|real| real != path) {
            add(&real)?;
        }
    }
    Changes::of(directories.iter(), names).or_fail(Stage::Daemon, "inotify")
}
