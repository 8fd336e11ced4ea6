//! The name service cache daemon's socket, served by us where nobody else does.
//!
//! Programs without our NSS module ask there: those of musl, static ones, and those of glibc in a root directory without
//! it. glibc asks there first and believes a "no", so all names of the host are answered, not ours alone: those that
//! are not in the table of users come from NSS, on threads, within a deadline. What cannot be answered is left to the
//! caller (`found` -1), and never called "no such user". Nothing is kept, so nothing is ever out of date.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;

use crate::failure::{Failure, OrFail, Stage};
use crate::manager::Manager;
use crate::nscd_protocol::{Answer, HEAD, Head, Key, LONGEST_KEY, Question, Request};
use crate::public_socket::{Connection, Limits, PublicSocket};
use crate::published;
use crate::sys::SysResult;
use crate::sys::records;
use crate::sys::workers::Workers;

/// Where clients look for it. `/var/run` is a link to `/run` nearly everywhere.
const SOCKET: &str = "/run/nscd/socket";

/// How often it is looked whether the socket is still ours, or free again.
const PERIOD: Duration = Duration::from_secs(60);

/// Threads that ask NSS, which is as many questions at the same time.
const MOST_ASKED: usize = 32;

/// How many of them one user has at most. A thread that hangs in NSS hangs for longer than its question, and whoever asked
/// may ask once more: the limit of connections alone would let him have them all.
const MOST_ASKED_BY_USER: usize = 8;

/// How long a question may wait for one of them: where all wait for a server that is down, the caller asks by itself.
const QUEUE: Duration = Duration::from_secs(2);

/// Length of the longest answer, in bytes: a group of some 100,000 members. What is longer is left to the caller.
const LONGEST_ANSWER: usize = 1 << 20;

/// From which length on answers are few at a time, in bytes: whoever asks for a large group and does not read must
/// not fill our memory.
const LARGE: usize = 1 << 16;

/// How many of the large ones there are at a time.
const MOST_LARGE: usize = 32;

/// What strangers may have.
fn limits(deadline: Duration) -> Limits {
    let patience = Duration::from_secs(5);
    Limits {
        most: 128,
        most_of_user: 24,
        lifetime: deadline
            .saturating_add(QUEUE)
            .saturating_add(patience.saturating_mul(2)),
        patience,
    }
}

/// Keeps the socket served, while the configuration says so and nobody else does; dropping this future removes it.
/// `changed` tells when the configuration was read again.
pub async fn keep(manager: Arc<Manager>, mut changed: watch::Receiver<()>) {
    let mut told = None;
    loop {
        if manager.config().nscd_socket {
            match serve(&manager, &mut changed).await {
                Ok(true) => told = None,
                // Once, not each minute.
                Ok(false) => tell(&mut told, "somebody else serves it".into()),
                Err(failure) => tell(&mut told, failure.to_string()),
            }
        }
        pause(&mut changed).await;
    }
}

fn tell(told: &mut Option<String>, why: String) {
    if told.as_ref() != Some(&why) {
        tracing::warn!(socket = SOCKET, why, "not served");
        *told = Some(why);
    }
}

async fn pause(changed: &mut watch::Receiver<()>) {
    if let Ok(Err(_)) = timeout(PERIOD, changed.changed()).await {
        // Nobody can tell any more: the daemon is about to end, and this with it.
        pending::<()>().await;
    }
}

/// Serves until another server has taken the name of the socket, or it is not wanted any more. False if there was
/// another one all the time.
async fn serve(manager: &Arc<Manager>, changed: &mut watch::Receiver<()>) -> Result<bool, Failure> {
    let Some(socket) = PublicSocket::open(SOCKET, 0o666, true)? else {
        return Ok(false);
    };
    let server = Arc::new(Server {
        manager: Arc::clone(manager),
        workers: Workers::new(MOST_ASKED).or_fail(Stage::Daemon, SOCKET)?,
        askers: Arc::new(Semaphore::new(MOST_ASKED)),
        shares: Mutex::default(),
        large: Semaphore::new(MOST_LARGE),
    });
    loop {
        let deadline = manager.config().name_service_timeout;
        let end = async {
            loop {
                pause(changed).await;
                let config = manager.config();
                if !config.nscd_socket || !socket.is_there() {
                    return true;
                }
                // Another deadline means other limits. The socket stays: without it, musl would know none of ours.
                if config.name_service_timeout != deadline {
                    return false;
                }
            }
        };
        let converse = |connection| Arc::clone(&server).converse(connection);
        tokio::select! {
            over = end => if over { break },
            () = socket.serve(limits(deadline), converse) => break,
        }
    }
    Ok(true)
}

struct Server {
    manager: Arc<Manager>,
    workers: Workers,
    askers: Arc<Semaphore>,
    /// What each user has of them.
    shares: Mutex<HashMap<u32, Arc<Semaphore>>>,
    large: Semaphore,
}

impl Server {
    /// Answers the one request of a connection. How it ends is the client's affair.
    async fn converse(self: Arc<Self>, mut connection: Connection) {
        if let Err(error) = self.try_converse(&mut connection).await {
            tracing::trace!(%error, uid = connection.caller.uid, "a client of nscd");
        }
    }

    async fn try_converse(&self, connection: &mut Connection) -> io::Result<()> {
        let Some(request) = receive(connection).await? else {
            return Ok(());
        };
        let bytes = match request {
            Request::Refused => return Ok(()),
            Request::Elsewhere(bytes) => bytes,
            Request::Forget(bytes) if connection.caller.uid == 0 => bytes,
            Request::Forget(_) => return Ok(()),
            // It is NSS in a thread of ours that asks, to which we would come back.
            Request::Ask(question) if connection.caller.is_us() => question.unanswered(),
            Request::Ask(question) => {
                let answer = self
                    .answer(&question, connection.caller.uid)
                    .await
                    .map(|answer| answer.bytes());
                return self.say(connection, &question, answer).await;
            }
        };
        connection.renew();
        connection.send(&bytes).await
    }

    /// Sends the answer to a question.
    async fn say(
        &self,
        connection: &mut Connection,
        question: &Question,
        answer: Option<Vec<u8>>,
    ) -> io::Result<()> {
        let fits = |bytes: &Vec<u8>| bytes.len() <= LONGEST_ANSWER;
        let bytes = answer.filter(fits);
        let bytes = bytes.unwrap_or_else(|| question.unanswered());
        let (bytes, _large) = match bytes.len() < LARGE {
            true => (bytes, None),
            false => match self.large.try_acquire() {
                Ok(large) => (bytes, Some(large)),
                Err(_) => (question.unanswered(), None),
            },
        };
        connection.renew();
        connection.send(&bytes).await
    }

    /// The answer to a question; `None` if there is none in time, or an error.
    async fn answer(&self, question: &Question, uid: u32) -> Option<Answer> {
        let ours = ours(question).inspect_err(|error| tracing::warn!(%error, "the table of users"));
        match ours.ok()? {
            Some(Answer::Groups(ours)) => {
                // The host's databases may know of more.
                let Answer::Groups(mut groups) = self.ask(question.clone(), uid).await? else {
                    return None;
                };
                let more = ours.into_iter().filter(|gid| !groups.contains(gid));
                groups.extend(more.collect::<Vec<u32>>());
                Some(Answer::Groups(groups))
            }
            Some(answer) => Some(answer),
            None => self.ask(question.clone(), uid).await,
        }
    }

    /// The threads that a user may have.
    fn share(&self, uid: u32) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        // Who has none, and waits for none, has no entry: there are no more of them than threads and connections.
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        let share = shares.entry(uid);
        Arc::clone(share.or_insert_with(|| Arc::new(Semaphore::new(MOST_ASKED_BY_USER))))
    }

    /// Asks NSS for a user.
    async fn ask(&self, question: Question, uid: u32) -> Option<Answer> {
        let askers = async {
            // His own first: while he waits for it, he has nothing of the others'.
            let own = self.share(uid).acquire_owned().await.ok()?;
            let asker = Arc::clone(&self.askers).acquire_owned().await.ok()?;
            Some((own, asker))
        };
        let asker = timeout(QUEUE, askers).await.ok()??;
        let (tell, told) = oneshot::channel::<SysResult<Answer>>();
        drop(self.workers.run(move || {
            // Nobody listens any more when the deadline has passed, which is no error here.
            drop(tell.send(records::answer(&question)));
            drop(asker);
        }));
        let answer = timeout(self.manager.config().name_service_timeout, told).await;
        match answer.ok()?.ok()? {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::debug!(%error, "for a client of nscd");
                None
            }
        }
    }
}

/// Takes a request; `None` for one that gets no answer.
async fn receive(connection: &mut Connection) -> io::Result<Option<Request>> {
    connection.renew();
    let mut head = [0; HEAD];
    fill(connection, &mut head).await?;
    let Some(head) = Head::read(&head) else {
        return Ok(None);
    };
    let mut key = [0; LONGEST_KEY];
    let Some(key) = key.get_mut(..head.key) else {
        return Ok(None);
    };
    fill(connection, key).await?;
    Ok(Some(head.request(key)))
}

/// Receives as many bytes as there is room.
async fn fill(connection: &Connection, mut room: &mut [u8]) -> io::Result<()> {
    while !room.is_empty() {
        let received = connection.receive(room).await?;
        if received == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        room = room.get_mut(received..).unwrap_or_default();
    }
    Ok(())
}

/// What the table of users knows of it.
fn ours(question: &Question) -> io::Result<Option<Answer>> {
    let record = match question {
        Question::User(Key::Number(number)) | Question::Group(Key::Number(number)) => {
            published::by_uid(*number)?
        }
        Question::User(Key::Name(name))
        | Question::Group(Key::Name(name))
        | Question::Groups(name) => match str::from_utf8(name) {
            Ok(name) => published::by_name(name)?,
            Err(_) => None,
        },
    };
    Ok(record.map(|record| Answer::of_ours(question, &record)))
}
