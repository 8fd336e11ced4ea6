use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Client;
use std::sync::Arc;

use super::*;

const LIMITS: Limits = Limits {
    most: 3,
    most_of_user: 2,
    lifetime: Duration::from_secs(600),
    patience: Duration::from_secs(600),
};

fn in_loop<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("an event loop");
    runtime.block_on(work)
}

/// Gives back each byte until the client ends.
async fn echo(mut connection: Connection) {
    let mut byte = [0];
    while matches!(connection.receive(&mut byte).await, Ok(1)) {
        connection.renew();
        if connection.send(&byte).await.is_err() {
            return;
        }
    }
}

async fn connect(path: &str) -> UnixStream {
    UnixStream::connect(path).await.expect("a connection")
}

/// Whether the server still answers on a connection, after what it had to do before.
async fn is_served(stream: &UnixStream) -> bool {
    let mut byte = [0];
    if stream.try_write(b"x").is_err() {
        return false;
    }
    loop {
        stream.readable().await.expect("an event");
        match stream.try_read(&mut byte) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            read => return matches!(read, Ok(1)),
        }
    }
}

#[test]
fn it_is_found_by_everybody_and_only_its_own_name_is_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a/b/socket");
    let name = path.to_str().expect("UTF-8");
    in_loop(async {
        assert!(
            PublicSocket::open(name, 0o666, false)
                .expect("no folder")
                .is_none()
        );
        let socket = PublicSocket::open(name, 0o666, true)
            .expect("made")
            .expect("free");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o666);
        assert!(socket.is_there());
        assert!(
            PublicSocket::open(name, 0o666, true)
                .expect("a look")
                .is_none(),
            "taken"
        );
        drop(socket);
        assert!(!dir.path().join("a").exists(), "all that was made is gone");

        let socket = PublicSocket::open(name, 0o666, true)
            .expect("made")
            .expect("free");
        fs::remove_file(&path).expect("it was there");
        let theirs = StdListener::bind(&path).expect("another server");
        assert!(!socket.is_there());
        drop(socket);
        assert!(Client::connect(&path).is_ok(), "theirs stays");
        // Nobody listens there any more: it is replaced.
        drop(theirs);
        let socket = PublicSocket::open(name, 0o666, true)
            .expect("made")
            .expect("free");
        drop(socket);
        assert!(dir.path().join("a/b").exists(), "this one did not make it");
    });
}

#[test]
fn what_is_no_socket_or_not_in_roots_folder_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("socket");
    let name = path.to_str().expect("UTF-8");
    in_loop(async {
        fs::write(&path, "precious").expect("a file");
        assert!(PublicSocket::open(name, 0o666, true).is_err());
        assert_eq!(fs::read_to_string(&path).expect("a file"), "precious");
        fs::remove_file(&path).expect("a file");
        std::os::unix::fs::symlink("elsewhere", &path).expect("a link");
        assert!(PublicSocket::open(name, 0o666, true).is_err());
        fs::remove_file(&path).expect("a link");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
        assert!(PublicSocket::open(name, 0o666, true).is_err());
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
    });
}

#[test]
fn the_oldest_goes_when_there_are_too_many_and_its_place_is_free() {
    // The test is root: its connections are counted apart and never refused.
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("socket");
    let name = path.to_str().expect("UTF-8").to_owned();
    in_loop(async {
        let socket = PublicSocket::open(&name, 0o666, true)
            .expect("made")
            .expect("free");
        let socket = Arc::new(socket);
        let serving = Arc::clone(&socket);
        let server = tokio::spawn(async move { serving.serve(LIMITS, echo).await });
        let mut old = Vec::new();
        for _ in 0..3 {
            old.push(connect(&name).await);
        }
        for stream in &old {
            assert!(is_served(stream).await);
        }
        let newcomer = connect(&name).await;
        assert!(is_served(&newcomer).await);
        let mut answers = Vec::new();
        for stream in &old {
            answers.push(is_served(stream).await);
        }
        assert_eq!(answers, [false, true, true]);
        drop(old);
        for _ in 0..100 {
            assert!(is_served(&connect(&name).await).await);
        }
        server.abort();
        assert!(server.await.is_err());
        assert!(!is_served(&newcomer).await, "closed with the server");
    });
}

#[test]
fn time_is_over_for_the_silent_and_for_the_eternal() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("socket");
    let name = path.to_str().expect("UTF-8").to_owned();
    for limits in [
        Limits {
            patience: Duration::from_millis(1),
            ..LIMITS
        },
        Limits {
            lifetime: Duration::from_millis(1),
            ..LIMITS
        },
    ] {
        in_loop(async {
            let socket = PublicSocket::open(&name, 0o666, true)
                .expect("made")
                .expect("free");
            let server = tokio::spawn(async move { socket.serve(limits, echo).await });
            let silent = connect(&name).await;
            silent.readable().await.expect("an event");
            assert_eq!(silent.try_read(&mut [0]).expect("the end"), 0);
            server.abort();
        });
    }
}
