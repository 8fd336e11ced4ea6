//! The launcher's side of the daemon's socket: one thread, no event loop, one round trip.
//!
//! The lines of the D-Bus handshake go out together with the first call, which halves the time of
//! a short conversation. The daemon's answers come in the same order.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;
use zbus::DynamicType;
use zbus::message::{Message, Type};

use crate::failure::{Failure, OrFail, Stage};
use crate::layout::SOCKET;
use crate::protocol::{
    AcquireReply, CHOWN_PROGRESS, ERRORS, INTERFACE, PATH, PrepareReply, RemovalReply, properties,
};
use crate::request::Request;
use crate::sys::socket::{peer_uid, receive, send_all};
use crate::sys::{run, wire};

/// How long a daemon may take to answer on its socket when it is started, or to go away.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often it is asked again when a daemon has ended without an answer, and how long it is waited
/// in between at most.
const TRIES: usize = 60;
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Largest answer that is read, in bytes.
const LARGEST_ANSWER: usize = 1 << 20;

/// Whoever wants to know how far it is when a tree is given: the path, how many entries were looked at, and
/// of how many, or 0.
pub type OnProgress<'a> = dyn FnMut(&str, u64, u64) + 'a;

/// Asks for a user and a sandbox; starts the daemon if there is none.
///
/// # Errors
/// The daemon's refusal, or of [`Stage::Daemon`].
pub fn prepare(
    request: &Request,
    daemon_view: bool,
    progress: &mut OnProgress<'_>,
) -> Result<PrepareReply, Failure> {
    let properties = properties(&request.properties);
    let message = call("Prepare", &(&request.service, properties, daemon_view))?;
    let reply = converse_and_listen(&message, progress)?;
    let body = reply.body();
    body.deserialize()
        .or_fail(Stage::Daemon, "the daemon's answer")
}

/// Gives the lease back, and waits until nothing of it is left.
///
/// # Errors
/// As [`prepare`].
pub fn finish(uid: u32) -> Result<(), Failure> {
    converse(&call("Finish", &(uid,))?).map(drop)
}

/// Asks for a user alone, which exists as long as any copy of the descriptor is open.
///
/// # Errors
/// As [`prepare`].
pub fn acquire(request: &Request) -> Result<AcquireReply, Failure> {
    let properties = properties(&request.properties);
    let reply = converse(&call("Acquire", &(&request.service, properties))?)?;
    let body = reply.body();
    body.deserialize()
        .or_fail(Stage::Daemon, "the daemon's answer")
}

/// Has a number taken out of quarantine, if what stood in the way is gone.
///
/// # Errors
/// As [`prepare`].
pub fn release(uid: u32) -> Result<(), Failure> {
    converse(&call("Release", &(uid,))?).map(drop)
}

/// Has directories of a service removed; see [`crate::cleaning::kinds`] for the words.
///
/// # Errors
/// As [`prepare`].
pub fn clean(
    service: &str,
    what: &[String],
    assignments: &[(String, String)],
) -> Result<RemovalReply, Failure> {
    let reply = converse(&call("Clean", &(service, what, properties(assignments)))?)?;
    let body = reply.body();
    body.deserialize()
        .or_fail(Stage::Daemon, "the daemon's answer")
}

/// Has directories removed that are nobody's.
///
/// # Errors
/// As [`prepare`].
pub fn collect(names: &[String]) -> Result<RemovalReply, Failure> {
    let reply = converse(&call("Collect", &(names,))?)?;
    let body = reply.body();
    body.deserialize()
        .or_fail(Stage::Daemon, "the daemon's answer")
}

/// Sees to it that there is a daemon: what has ended meanwhile it takes back.
///
/// # Errors
/// Of [`Stage::Daemon`].
pub fn wake() -> Result<(), Failure> {
    connect(Instant::now().checked_add(PATIENCE)).map(drop)
}

fn call(member: &str, body: &(impl Serialize + DynamicType)) -> Result<Message, Failure> {
    Message::method_call(PATH, member)
        .interface(INTERFACE)
        .build(body)
        .or_fail(Stage::Daemon, member)
}

/// Sends a call to the daemon and waits for its answer.
fn converse(message: &Message) -> Result<Message, Failure> {
    converse_and_listen(message, &mut |_, _, _| {})
}

/// Sends a call to the daemon, and waits for its answer; hears meanwhile how far it is.
fn converse_and_listen(
    message: &Message,
    progress: &mut OnProgress<'_>,
) -> Result<Message, Failure> {
    let mut pause = Duration::from_millis(1);
    for _ in 0..TRIES {
        let stream = connect(Instant::now().checked_add(PATIENCE))?;
        // No whole answer means that the daemon ended just then. The next one takes over what it had
        // begun for us, and to ask again changes nothing: a process holds a lease once, and a
        // descriptor that nobody has got holds none.
        if let Some(reply) = exchange(stream, message, progress)? {
            return answer(reply);
        }
        // One that was killed still takes connections until all of it is gone.
        std::thread::sleep(pause);
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
    Err(Failure::new(
        Stage::Daemon,
        SOCKET,
        format!("the daemon closed the connection {TRIES} times without an answer"),
    ))
}

/// A connection to the daemon, which is started if there is none.
fn connect(deadline: Option<Instant>) -> Result<UnixStream, Failure> {
    loop {
        match UnixStream::connect(SOCKET) {
            Ok(stream) => {
                if peer_uid(&stream).or_fail(Stage::Daemon, SOCKET)? != 0 {
                    return Err(Failure::new(Stage::Daemon, SOCKET, "is not root's"));
                }
                return Ok(stream);
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                start_daemon()?;
                give_up_after(deadline, "the daemon does not answer")?;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(Failure::new(Stage::Daemon, SOCKET, error)),
        }
    }
}

fn give_up_after(deadline: Option<Instant>, why: &str) -> Result<(), Failure> {
    match deadline {
        Some(deadline) if Instant::now() < deadline => Ok(()),
        _ => Err(Failure::new(Stage::Daemon, SOCKET, why)),
    }
}

/// Starts a daemon and waits until it, or one that somebody else started, answers. It goes into
/// the background by itself, so that it is not a child of what this process becomes.
fn start_daemon() -> Result<(), Failure> {
    // A caller who ignores SIGCHLD has the status thrown away, and so would we.
    run::wait_for_children().or_fail(Stage::Daemon, "SIGCHLD")?;
    let output = Command::new("/proc/self/exe")
        .arg0("dynuser")
        .args(["daemon", "--on-demand"])
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .or_fail(Stage::Daemon, "starting the daemon")?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.trim_end();
    let why = words.strip_prefix("dynuser: ").unwrap_or(words).to_string();
    Err(Failure::new(
        Stage::Daemon,
        "the daemon could not be started",
        why,
    ))
}

/// One call and its answer; `None` if the other end closed before the answer was there whole.
fn exchange(
    stream: UnixStream,
    message: &Message,
    progress: &mut OnProgress<'_>,
) -> Result<Option<Message>, Failure> {
    let subject = "talking to the daemon";
    // EXTERNAL: the kernel says who we are; "30" is the UID 0 in hexadecimal ASCII.
    let mut bytes = b"\0AUTH EXTERNAL 30\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n".to_vec();
    bytes.extend_from_slice(message.data().bytes());
    if send_all(&stream, &bytes).is_err() {
        return Ok(None);
    }
    let (mut bytes, mut descriptors) = (Vec::new(), Vec::new());
    loop {
        match receive(&stream, &mut bytes, &mut descriptors) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.errno == rustix::io::Errno::CONNRESET => return Ok(None),
            Err(error) => return Err(Failure::new(Stage::Daemon, subject, error)),
        }
        if bytes.len() > LARGEST_ANSWER {
            return Err(Failure::new(
                Stage::Daemon,
                subject,
                "its answer is too long",
            ));
        }
        while let Some(message) =
            take_message(&mut bytes, &mut descriptors).or_fail(Stage::Daemon, subject)?
        {
            if message.message_type() != Type::Signal {
                return Ok(Some(message));
            }
            hear(&message, progress);
        }
    }
}

/// Tells what a signal says. One that we do not know is for others.
fn hear(signal: &Message, progress: &mut OnProgress<'_>) {
    let header = signal.header();
    if header.member().is_none_or(|name| *name != CHOWN_PROGRESS) {
        return;
    }
    let body = signal.body();
    if let Ok((path, done, of)) = body.deserialize::<(String, u64, u64)>() {
        progress(&path, done, of);
    }
}

/// Takes the next message, once it is there whole, from behind the answers to the handshake.
fn take_message(
    bytes: &mut Vec<u8>,
    descriptors: &mut Vec<OwnedFd>,
) -> Result<Option<Message>, Box<dyn std::error::Error + Send + Sync>> {
    let mut rest = bytes.as_slice();
    for expected in ["OK ", "AGREE_UNIX_FD"] {
        let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
            return Ok(None);
        };
        let (line, after) = rest.split_at(end);
        if !line.starts_with(expected.as_bytes()) {
            return Err(format!("it answered {:?}", String::from_utf8_lossy(line)).into());
        }
        rest = after.get(2..).unwrap_or_default();
    }
    let length = wire::length(rest);
    let Some(whole) = length.and_then(|length| rest.get(..length)) else {
        return Ok(None);
    };
    let whole = whole.to_vec();
    let begin = bytes.len().saturating_sub(rest.len());
    bytes.drain(begin..begin.saturating_add(whole.len()));
    // What has come with a signal belongs to the answer behind it.
    let theirs = match wire::is_signal(&whole) {
        true => Vec::new(),
        false => std::mem::take(descriptors),
    };
    Ok(Some(wire::message(whole, theirs)?))
}

/// The answer itself, or the failure that it tells.
fn answer(reply: Message) -> Result<Message, Failure> {
    if reply.message_type() != Type::Error {
        return Ok(reply);
    }
    let header = reply.header();
    let name = header
        .error_name()
        .map(|name| name.as_str())
        .unwrap_or_default();
    let body = reply.body();
    let text: String = body.deserialize().unwrap_or_else(|_| name.into());
    let stage = name.strip_prefix(ERRORS).and_then(Stage::from_word);
    Err(Failure::new(stage.unwrap_or(Stage::Daemon), "", text))
}
