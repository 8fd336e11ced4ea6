//! The name service cache daemon, nscd(8), and what speaks its protocol (unscd).
//!
//! It keeps answers of NSS, those that say "there is none" too: a new user would not be found for
//! 20 seconds, and one that is gone would be found for ten minutes, by us as well. So it is told
//! to forget both databases whenever a user comes or goes.
//!
//! The protocol, after glibc's `nscd/nscd-client.h` and `nscd/connections.c`: a request is three
//! 32-bit numbers (version, kind, length of the key) and the key with its NUL; the answer to this
//! one is a 32-bit error number. What caches nothing (nsncd) closes the connection instead.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::socket::{connect_now, peer_uid, send_now};
use super::{During, SysResult};

/// Where it listens. `/var/run` is a link to `/run` nearly everywhere.
const SOCKETS: [&str; 2] = ["/run/nscd/socket", "/var/run/nscd/socket"];

/// The databases that a user is in.
const DATABASES: [&str; 2] = ["passwd", "group"];

/// `NSCD_VERSION`.
const VERSION: i32 = 2;

/// `INVALIDATE` of `request_type`.
const INVALIDATE: i32 = 10;

/// How long it may take in all.
const DEADLINE: Duration = Duration::from_secs(1);

/// Makes nscd forget all users and groups, and waits until it has: at most a second. Nobody there
/// is nothing to do, and costs one or two failed connect(2).
///
/// It blocks meanwhile: do not call it with a lock that others need.
///
/// # Errors
/// `EPERM` if somebody else than root listens; `ETIMEDOUT` if it does not answer, `EAGAIN` if it
/// has more callers than it can take; what it answered; those of the calls.
pub fn invalidate() -> SysResult<()> {
    for path in SOCKETS {
        if invalidate_at(path, DEADLINE)? {
            break;
        }
    }
    Ok(())
}

/// The same at one place. Tells whether anybody is there.
fn invalidate_at(path: &str, patience: Duration) -> SysResult<bool> {
    let deadline = Instant::now().checked_add(patience);
    let mut asked = Vec::new();
    // Both are asked before an answer is waited for: one that is slow still gets both.
    for database in DATABASES {
        match ask(path, database)? {
            None => return Ok(false),
            Some(socket) => asked.push((database, socket)),
        }
    }
    asked.into_iter().try_for_each(|(database, socket)| {
        answer(socket, deadline).during("nscd", format_args!("{path}, invalidate {database}"))
    })?;
    Ok(true)
}

/// Sends the request for one database; `None` if nobody is there.
fn ask(path: &str, database: &str) -> SysResult<Option<OwnedFd>> {
    let Some(socket) = connect_now(path)? else {
        return Ok(None);
    };
    // Who it was when it began to listen: unscd has given up being root since.
    if peer_uid(&socket)? != 0 {
        return Err(Errno::PERM).during("connect", format_args!("{path}, which is not root's"));
    }
    let request = request(database);
    let sent = send_now(&socket, &request, &[]).during("sendmsg", path)?;
    if sent != request.len() {
        return Err(Errno::AGAIN).during("sendmsg", path);
    }
    Ok(Some(socket))
}

/// A request to invalidate a database, as bytes.
fn request(database: &str) -> Vec<u8> {
    let mut key = Vec::from(database);
    key.push(0);
    let length = i32::try_from(key.len()).unwrap_or(0);
    let header = [VERSION, INVALIDATE, length].map(i32::to_ne_bytes);
    [header.concat(), key].concat()
}

/// Waits for the answer: the error number 0, or the end of the connection, which is all that old
/// ones, unscd and those without a cache say.
fn answer(socket: OwnedFd, deadline: Option<Instant>) -> Result<(), Errno> {
    let mut socket = File::from(socket);
    let mut number = [0_u8; 4];
    let mut have = 0;
    while let Some(room) = number.get_mut(have..).filter(|room| !room.is_empty()) {
        wait_readable(&socket, deadline)?;
        match socket.read(room) {
            Ok(0) if have == 0 => return Ok(()),
            Ok(0) => return Err(Errno::PIPE),
            Ok(more) => have = usize::saturating_add(have, more),
            // It ended, and left our request unread: what it knew is gone as well.
            Err(error) => match Errno::from_io_error(&error).unwrap_or(Errno::IO) {
                Errno::AGAIN | Errno::INTR => {}
                Errno::CONNRESET => return Ok(()),
                errno => return Err(errno),
            },
        }
    }
    match i32::from_ne_bytes(number) {
        0 => Ok(()),
        // Linux has error numbers up to 4095: anything else is no nscd.
        number @ 1..4096 => Err(Errno::from_raw_os_error(number)),
        _ => Err(Errno::BADMSG),
    }
}

fn wait_readable(socket: &File, deadline: Option<Instant>) -> Result<(), Errno> {
    loop {
        let left = deadline.map_or(Duration::ZERO, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        let timeout = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Err(Errno::TIMEDOUT),
            Err(Errno::INTR) => {}
            done => return done.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// A directory with a socket in it on which `serve` answers two callers.
    fn with_server(
        serve: impl Fn(&mut std::os::unix::net::UnixStream) + Send,
        check: impl FnOnce(&str),
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).expect("a socket");
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut callers: Vec<_> = (0..2)
                    .map(|_| listener.accept().expect("a caller").0)
                    .collect();
                callers.iter_mut().for_each(&serve);
            });
            check(path.to_str().expect("UTF-8"));
        });
    }

    #[test]
    fn a_request_is_what_nscd_reads() {
        let mut expected = Vec::new();
        for number in [2_i32, 10, 7] {
            expected.extend(number.to_ne_bytes());
        }
        expected.extend(b"passwd\0");
        assert_eq!(request("passwd"), expected);
    }

    #[test]
    fn answers_are_understood() {
        let number = |number: i32| Vec::from(number.to_ne_bytes());
        for (bytes, expected) in [
            (number(0), Ok(true)),
            (Vec::new(), Ok(true)),
            (number(22), Err(Errno::INVAL)),
            (number(-1), Err(Errno::BADMSG)),
            (vec![0, 0], Err(Errno::PIPE)),
        ] {
            with_server(
                |caller| {
                    let mut read = [0; 64];
                    assert!(caller.read(&mut read).expect("a request") > 12);
                    // Nobody waits for the second answer where the first is an error.
                    let _told = caller.write_all(&bytes);
                    let _ended = caller.shutdown(std::net::Shutdown::Both);
                },
                |path| {
                    let told = invalidate_at(path, Duration::from_secs(20));
                    assert_eq!(told.map_err(|error| error.errno), expected, "{bytes:?}");
                },
            );
        }
    }

    #[test]
    fn nobody_there_is_nothing_to_do() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let path = path.to_str().expect("UTF-8");
        assert_eq!(invalidate_at(path, DEADLINE), Ok(false), "no socket");
        assert_eq!(invalidate_at(&format!("{path}/x"), DEADLINE), Ok(false));
        drop(UnixListener::bind(path).expect("a socket"));
        assert_eq!(invalidate_at(path, DEADLINE), Ok(false), "nobody listens");
        assert_eq!(invalidate_at(&format!("{path}/x"), DEADLINE), Ok(false));
    }

    #[test]
    fn one_that_never_answers_or_never_accepts_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let _listener = UnixListener::bind(&path).expect("a socket");
        let path = path.to_str().expect("UTF-8");
        let short = Duration::from_millis(10);
        let mut told = invalidate_at(path, short).map_err(|error| error.errno);
        assert_eq!(told, Err(Errno::TIMEDOUT));
        // Callers whom nobody accepts, until there is no room for more.
        let mut waiting = Vec::new();
        while told != Err(Errno::AGAIN) {
            waiting.push(ask(path, "passwd"));
            assert!(waiting.len() < 100_000, "the backlog has no end");
            if !matches!(waiting.last(), Some(Ok(_))) {
                told = invalidate_at(path, short).map_err(|error| error.errno);
            }
        }
    }

    #[test]
    fn somebody_else_than_root_is_told_nothing() {
        // Only root can let somebody else listen.
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        std::os::unix::fs::chown(dir.path(), Some(65533), None).expect("chown: run as root");
        let mut nobody = std::process::Command::new("python3")
            .args([
                "-c",
                "import os, socket, sys\n\
                 os.setuid(65533)\n\
                 s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n\
                 print('up', flush=True); sys.stdin.read()",
            ])
            .arg(&path)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("python3");
        let mut up = [0; 3];
        nobody
            .stdout
            .take()
            .expect("its output")
            .read_exact(&mut up)
            .expect("a line");
        let told = invalidate_at(path.to_str().expect("UTF-8"), DEADLINE);
        drop(nobody.stdin.take());
        assert!(nobody.wait().expect("its end").success());
        let error = told.expect_err("it is not root's");
        assert_eq!(error.errno, Errno::PERM);
        assert!(error.to_string().contains("not root's"), "{error}");
    }
}
