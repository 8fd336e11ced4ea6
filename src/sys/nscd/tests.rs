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
                let told = invalidate_at(path, 0, Duration::from_secs(20));
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
    assert_eq!(invalidate_at(path, 0, DEADLINE), Ok(false), "no socket");
    assert_eq!(invalidate_at(&format!("{path}/x"), 0, DEADLINE), Ok(false));
    drop(UnixListener::bind(path).expect("a socket"));
    assert_eq!(
        invalidate_at(path, 0, DEADLINE),
        Ok(false),
        "nobody listens"
    );
    assert_eq!(invalidate_at(&format!("{path}/x"), 0, DEADLINE), Ok(false));
}

#[test]
fn one_that_never_answers_or_never_accepts_is_left() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("socket");
    let _listener = UnixListener::bind(&path).expect("a socket");
    let path = path.to_str().expect("UTF-8");
    let short = Duration::from_millis(10);
    let mut told = invalidate_at(path, 0, short).map_err(|error| error.errno);
    assert_eq!(told, Err(Errno::TIMEDOUT));
    // Callers whom nobody accepts, until there is no room for more.
    let mut waiting = Vec::new();
    while told != Err(Errno::AGAIN) {
        waiting.push(send(path, 0, b"x"));
        assert!(waiting.len() < 100_000, "the backlog has no end");
        if !matches!(waiting.last(), Some(Ok(_))) {
            told = invalidate_at(path, 0, short).map_err(|error| error.errno);
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
    let told = invalidate_at(path.to_str().expect("UTF-8"), 0, DEADLINE);
    drop(nobody.stdin.take());
    assert!(nobody.wait().expect("its end").success());
    let error = told.expect_err("it is not root's");
    assert_eq!(error.errno, Errno::PERM);
    assert!(error.to_string().contains("not root's"), "{error}");
}

#[test]
fn what_we_serve_ourselves_is_not_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    let path = path.to_str().expect("UTF-8");
    let us = std::process::id();
    assert_eq!(invalidate_at(path, us, DEADLINE), Ok(false));
    let question = Question::Groups(b"root".into());
    assert_eq!(ask_at(path, us, &question, DEADLINE), Ok(None));
    drop(listener);
}

#[test]
fn it_is_asked_and_its_answer_is_read_to_the_end() {
    use crate::nscd_protocol::{Answer, Key, Passwd};

    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    let path = path.to_str().expect("UTF-8");
    let question = Question::User(Key::Name(b"wuff".into()));
    let wuff = Answer::User(Some(Passwd::of_ours("wuff", 61200, "/a")));
    let nobody = Answer::User(None);
    let short = Vec::from(&wuff.bytes()[..50]);
    let long = vec![2; LONGEST_ANSWER + 8192];
    for (answer, expected) in [
        (wuff.bytes(), Ok(Some(Said::Answer(wuff)))),
        (nobody.bytes(), Ok(Some(Said::Answer(nobody)))),
        (question.unanswered(), Ok(Some(Said::Nothing))),
        (Vec::new(), Ok(Some(Said::Nothing))),
        (short, Ok(Some(Said::Nothing))),
        (long, Err(Errno::MSGSIZE)),
    ] {
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut caller, _) = listener.accept().expect("a caller");
                let mut request = [0; 17];
                caller.read_exact(&mut request).expect("a request");
                assert!(request.ends_with(b"wuff\0"));
                // Nobody reads the rest of one that is too long.
                for piece in answer.chunks(13) {
                    drop(caller.write_all(piece));
                }
            });
            let said = ask_at(path, 0, &question, Duration::from_secs(20));
            assert_eq!(said.map_err(|error| error.errno), expected);
        });
    }
}
