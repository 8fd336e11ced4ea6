//! What the daemon does for a caller who asks for a user: in the end he has it, or nothing is left of it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::mpsc::Sender;

use super::on_own_thread;
use crate::failure::{Failure, OrFail, Stage};
use crate::giving::Progress;
use crate::holder::{HeldBy, Watched};
use crate::manager::{Accounts, Adopted, Equipped, OwnNamespaces};
use crate::protocol::{AcquireReply, PrepareReply};
use crate::request::Request;
use crate::sys::fault::{Point, reached};
use crate::sys::own_namespaces::Kind;
use crate::uid::Uid;
use crate::watcher::Watcher;

/// Prepares everything for the process that `caller` stands for, and watches it from then on.
pub(super) async fn prepare(
    watcher: Arc<Watcher>,
    caller: OwnedFd,
    holder: HeldBy,
    request: Request,
    tell: Sender<Progress>,
) -> Result<PrepareReply, Failure> {
    let (worker, record) = (Arc::clone(watcher.manager()), holder.clone());
    let equipped = on_own_thread(move || {
        // What nobody takes in time is old.
        let progress = |news| drop(tell.try_send(news));
        let mut equipped = worker.prepare(&request, &record, &progress)?;
        let namespaces = equipped.build_namespaces();
        Ok((equipped, namespaces))
    });
    let (equipped, mut namespaces) = equipped.await?;
    if let (Some(accounts), Ok(built)) = (equipped.accounts.clone(), &namespaces) {
        // Before its end can be told. The thread that built it is in it.
        let kept = keep_view(&watcher, equipped.identity.uid, &holder, accounts, built).await;
        namespaces = namespaces.and_then(|built| kept.map(|()| built));
    }
    let ready = namespaces.and_then(|namespaces| {
        hold_all(&watcher, &equipped, &holder, caller)?;
        Ok(namespaces)
    });
    if ready.is_err() {
        for uid in &equipped.held {
            if let Err(stuck) = watcher.let_go(*uid, holder.clone()).await {
                tracing::error!(%uid, %stuck);
            }
        }
    }
    let namespaces = or_let_go(&watcher, equipped.identity.uid, holder, ready).await?;
    reached(Point::ReplyDue);
    Ok(reply(equipped, namespaces))
}

/// Sees to it that the files of accounts in the service's view follow the host's.
async fn keep_view(
    watcher: &Watcher,
    uid: Uid,
    holder: &HeldBy,
    accounts: Accounts,
    built: &OwnNamespaces,
) -> Result<(), Failure> {
    let mut built = built.iter();
    let Some((_, mounts)) = built.find(|(kind, _)| *kind == Kind::Mounts) else {
        return Ok(());
    };
    let copy = mounts.try_clone().or_fail(Stage::Namespace, "dup")?;
    let holder = holder.clone();
    let work = watcher.work(move |manager| {
        manager.keep_view(uid, holder, accounts, copy);
        Ok(())
    });
    work.await
}

/// Watches the caller for its lease, and for those of the dynamic users whose groups it has.
fn hold_all(
    watcher: &Watcher,
    equipped: &Equipped,
    holder: &HeldBy,
    caller: OwnedFd,
) -> Result<(), Failure> {
    for uid in &equipped.held {
        let copy = caller.try_clone().or_fail(Stage::Daemon, "a pidfd")?;
        hold(watcher, *uid, holder, Watched::Process(copy))?;
    }
    hold(
        watcher,
        equipped.identity.uid,
        holder,
        Watched::Process(caller),
    )
}

/// Prepares a user alone. Until the answer is sent the descriptor is ours: if nobody takes it, it is
/// closed with the answer, and the lease ends.
pub(super) async fn acquire(
    watcher: Arc<Watcher>,
    request: Request,
) -> Result<AcquireReply, Failure> {
    let made = HeldBy::new_descriptor().or_fail(Stage::Daemon, "a descriptor to hold a lease")?;
    let (holder, watched, descriptor) = made;
    let (worker, held) = (Arc::clone(watcher.manager()), holder.clone());
    let acquired = on_own_thread(move || worker.acquire(&request, &held)).await;
    let identity = match acquired {
        Ok(identity) => identity,
        Err(failure) => {
            if let Err(error) = holder.forget() {
                tracing::warn!(%error, "stays");
            }
            return Err(failure);
        }
    };
    let watching = hold(&watcher, identity.uid, &holder, watched);
    or_let_go(&watcher, identity.uid, holder, watching).await?;
    reached(Point::ReplyDue);
    Ok(AcquireReply {
        uid: identity.uid.get(),
        gid: identity.gid,
        user: identity.user,
        descriptor: descriptor.into(),
    })
}

fn hold(watcher: &Watcher, uid: Uid, holder: &HeldBy, watched: Watched) -> Result<(), Failure> {
    watcher.watch(Adopted {
        uid,
        holder: holder.clone(),
        watched,
    })
}

/// Gives a lease back that something went wrong with after it was made.
async fn or_let_go<T>(
    watcher: &Watcher,
    uid: Uid,
    holder: HeldBy,
    result: Result<T, Failure>,
) -> Result<T, Failure> {
    if result.is_err()
        && let Err(stuck) = watcher.let_go(uid, holder).await
    {
        tracing::error!(%uid, %stuck);
    }
    result
}

fn reply(prepared: Equipped, namespaces: OwnNamespaces) -> PrepareReply {
    let named = namespaces.into_iter();
    let named = named.map(|(kind, fd)| (kind.word().into(), zbus::OwnedFd::from(fd)));
    let directory = prepared.working_directory;
    PrepareReply {
        uid: prepared.identity.uid.get(),
        gid: prepared.identity.gid,
        groups: prepared.identity.groups,
        user: prepared.identity.user,
        namespaces: named.collect(),
        control_group: prepared
            .control_group
            .into_iter()
            .map(zbus::OwnedFd::from)
            .collect(),
        unenforced: prepared
            .unenforced
            .into_iter()
            .map(|(name, why)| (name.into(), why))
            .collect(),
        writable: prepared.writable,
        sandbox: prepared.level.word().into(),
        confined: prepared.confined,
        environment: prepared.environment,
        working_directory_may_be_missing: directory.as_ref().is_some_and(|d| d.may_be_missing),
        working_directory: directory.map_or_else(|| "/".into(), |directory| directory.path),
    }
}
