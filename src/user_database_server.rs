//! The socket on which systemd's programs ask about our users: `userdbctl`, `nss-systemd`, `varlinkctl`.
//!
//! It is served by a thread of its own from the table alone. nss-systemd asks it inside look-ups of the daemon itself, also
//! while the daemon's loop or its table is busy: an answer waits for nothing, and asks nobody.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::failure::{Failure, OrFail, Stage};
use crate::public_socket::{Connection, Limits, PublicSocket};
use crate::published;
use crate::sys::accounts::LocalGroups;
use crate::user_database::{
    Answer, Call, Calls, Listing, SERVICE, Table, Unavailable, Wanted, answer,
};
use crate::user_record::Record;

/// Where systemd's programs look for services (systemd's USER_GROUP_API document).
const FOLDER: &str = "/run/systemd/userdb";

/// Its permissions: who may ask is everybody, as with systemd's own.
const MODE: u32 = 0o666;

/// A look-up takes a fraction of a millisecond. nss-systemd keeps a connection as long as somebody walks through a list.
const LIMITS: Limits = Limits {
    most: 256,
    most_of_user: 64,
    lifetime: Duration::from_secs(300),
    patience: Duration::from_secs(30),
};

/// How often it is looked whether the socket can be made, or is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How many bytes of a client are taken at once.
const RECEIVED: usize = 1024;

/// How many users of a list are looked at in one turn.
const TURN: usize = 64;

/// How many bytes of them are told in one turn, and with them what is kept of a list.
const BATCH: usize = 16 * 1024;

/// The server, until it is dropped: then the socket is gone.
#[derive(Debug)]
pub struct UserDatabaseServer {
    wanted: Option<watch::Sender<Wanted>>,
    thread: Option<JoinHandle<()>>,
}

impl UserDatabaseServer {
    /// Starts it. When this returns, the socket is there, if there is to be one.
    ///
    /// # Errors
    /// Of [`Stage::Daemon`]: the thread cannot be had.
    pub fn start(wanted: Wanted) -> Result<Self, Failure> {
        let (sender, receiver) = watch::channel(wanted);
        let (looked, first_look) = mpsc::sync_channel(1);
        // Between two turns it is looked who else has come: else sixty turns of lists come before him.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(1)
            .build()
            .or_fail(Stage::Daemon, SERVICE)?;
        let thread = thread::Builder::new()
            .name("userdb".into())
            .spawn(move || runtime.block_on(run(receiver, looked)))
            .or_fail(Stage::Daemon, SERVICE)?;
        first_look.recv().or_fail(Stage::Daemon, SERVICE)?;
        Ok(Self {
            wanted: Some(sender),
            thread: Some(thread),
        })
    }

    /// The configuration was read again.
    pub fn set(&self, wanted: Wanted) {
        if let Some(sender) = &self.wanted {
            sender.send_replace(wanted);
        }
    }
}

impl Drop for UserDatabaseServer {
    fn drop(&mut self) {
        drop(self.wanted.take());
        if let Some(thread) = self.thread.take() {
            // It waits for nothing but its event loop. That it has panicked would have ended the process.
            drop(thread.join());
        }
    }
}

/// Serves while there is something to serve, until the server is dropped.
async fn run(mut wanted: watch::Receiver<Wanted>, looked: mpsc::SyncSender<()>) {
    let mut looked = Some(looked);
    let mut said = String::new();
    loop {
        let mode = *wanted.borrow_and_update();
        let socket = open(mode).unwrap_or_else(|failure| {
            // Once, not once a minute.
            let text = failure.to_string();
            if text != said {
                tracing::warn!(%failure, "users are not known to systemd's programs");
                said = text;
            }
            None
        });
        if looked.take().is_some_and(|it| it.send(()).is_err()) {
            return;
        }
        let changed = match &socket {
            Some(socket) => serve(socket, &mut wanted).await,
            None => later(&mut wanted).await,
        };
        drop(socket);
        if changed.is_err() {
            return;
        }
    }
}

/// The socket, if there is to be one and nobody else has its name.
fn open(wanted: Wanted) -> Result<Option<PublicSocket>, Failure> {
    let make_folders = match wanted {
        Wanted::No => return Ok(None),
        Wanted::Auto => false,
        Wanted::Yes => true,
    };
    PublicSocket::open(&format!("{FOLDER}/{SERVICE}"), MODE, make_folders)
}

/// Serves until there is to be no socket any more, or it has lost its name. That the configuration is read again ends no
/// connection.
async fn serve(
    socket: &PublicSocket,
    wanted: &mut watch::Receiver<Wanted>,
) -> Result<(), watch::error::RecvError> {
    let users = Users::default();
    let mut serving = pin!(socket.serve(LIMITS, |it| converse(it, users.clone())));
    let mut looks = tokio::time::interval(LOOK_AGAIN);
    loop {
        tokio::select! {
            () = &mut serving => return Ok(()),
            _ = looks.tick() => {}
            changed = wanted.changed() => changed?,
        }
        if *wanted.borrow_and_update() == Wanted::No || !socket.is_there() {
            return Ok(());
        }
    }
}

/// Waits until it is worth another look.
async fn later(wanted: &mut watch::Receiver<Wanted>) -> Result<(), watch::error::RecvError> {
    tokio::select! {
        () = tokio::time::sleep(LOOK_AGAIN) => Ok(()),
        changed = wanted.changed() => changed,
    }
}

/// Answers one client, a call after the other: while it takes an answer, nothing more of it is read.
async fn converse(mut connection: Connection, users: Users) {
    let mut calls = Calls::default();
    let mut room = [0; RECEIVED];
    loop {
        let Ok(next) = calls.next_call() else { return };
        let Some(message) = next else {
            match connection.receive(&mut room).await {
                Ok(count) if count > 0 => calls.add(room.get(..count).unwrap_or_default()),
                _ => return,
            }
            continue;
        };
        let Ok(call) = Call::parse(&message) else {
            return;
        };
        connection.renew();
        let sent = match answer(call, &users) {
            Answer::Silence => Ok(()),
            Answer::Message(message) => connection.send(&message).await,
            Answer::Listing(listing) => tell_all(&mut connection, listing, &users).await,
        };
        if sent.is_err() {
            return;
        }
        connection.renew();
        // Who sends many calls at once does not keep others waiting.
        tokio::task::yield_now().await;
    }
}

/// Sends a list as fast as the client takes it. What it has not taken is not kept, but looked up when it is its turn. Lists
/// take turns: however many are asked for, somebody who looks up one user waits for one turn at most.
async fn tell_all(
    connection: &mut Connection,
    mut listing: Listing,
    users: &Users,
) -> std::io::Result<()> {
    loop {
        let turn = users.turns.acquire().await;
        let mut batch = Vec::new();
        let mut is_last = false;
        for _ in 0..TURN {
            if let Some((message, last)) = listing.step(users).told() {
                batch.extend_from_slice(&message);
                is_last = last;
            }
            if is_last || batch.len() >= BATCH {
                break;
            }
        }
        drop(turn);
        if !batch.is_empty() {
            connection.renew();
            connection.send(&batch).await?;
        }
        if is_last {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

/// The table in /run, and the host's own groups.
#[derive(Clone, Debug)]
struct Users {
    groups: Arc<Mutex<LocalGroups>>,
    /// One at a time, in the order in which they came.
    turns: Arc<Semaphore>,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            groups: Arc::default(),
            turns: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Users {
    /// The host's groups as they are now.
    fn host_groups(&self) -> MutexGuard<'_, LocalGroups> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = groups.renew() {
            tracing::warn!(%error, "the host's groups are not told");
        }
        groups
    }
}

fn look<T>(found: std::io::Result<T>) -> Result<T, Unavailable> {
    found.map_err(|error| {
        tracing::debug!(%error, "the table of users");
        Unavailable
    })
}

impl Table for Users {
    fn by_name(&self, name: &str) -> Result<Option<Record>, Unavailable> {
        look(published::by_name(name))
    }

    fn by_uid(&self, uid: u32) -> Result<Option<Record>, Unavailable> {
        look(published::by_uid(uid))
    }

    fn uids(&self) -> Result<Vec<u32>, Unavailable> {
        look(published::numbers())
    }

    fn host_group_name(&self, gid: u32) -> Option<String> {
        self.host_groups().name(gid).map(String::from)
    }

    fn host_group_number(&self, name: &str) -> Option<u32> {
        self.host_groups().number(name)
    }
}
