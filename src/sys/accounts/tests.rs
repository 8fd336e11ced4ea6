//! The lock against holders that take it as lckpwdf(3) does, and the files.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use proptest::prelude::*;

use super::*;

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

const LARGE: u64 = 4 * 1024 * 1024;

/// A directory that stands for `/etc`, with a queue of its own.
struct Etc(tempfile::TempDir, &'static Queue);

impl Etc {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self(dir, Box::leak(Box::new(Queue::new())))
    }

    fn path(&self) -> &str {
        self.0.path().to_str().expect("UTF-8")
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.0.path().join(name), content).expect("write");
        self
    }

    fn lock(&self, deadline: Duration) -> SysResult<AccountsLock> {
        lock_in(self.path(), self.1, deadline)
    }

    /// A process that has the lock until its input is closed.
    fn holder(&self) -> Child {
        let program = "import fcntl, sys; f = open(sys.argv[1], 'w'); \
                       fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()";
        let mut child = Command::new("python3")
            .args(["-c", program, &format!("{}/{LOCK}", self.path())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line, "held\n");
        child
    }

    fn conflict(&self, name: &str, number: u32) -> Option<String> {
        conflict_in(self.path(), LARGE, name, number).expect("an answer")
    }
}

fn end(mut holder: Child) {
    drop(holder.stdin.take());
    assert!(holder.wait().expect("its end").success());
}

#[test]
fn whoever_holds_it_is_named_and_waited_for() {
    let etc = Etc::new();
    let holder = etc.holder();
    let error = etc.lock(SHORT).expect_err("it is held");
    assert_eq!(error.errno, Errno::TIMEDOUT);
    let text = error.to_string();
    assert!(
        text.contains(&format!("process {} (python3)", holder.id())),
        "{text}"
    );
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| etc.lock(LONG).map(drop));
        end(holder);
        assert_eq!(waiting.join().expect("no panic"), Ok(()));
    });
}

#[test]
fn nobody_gets_it_while_we_have_it_and_anybody_after() {
    let etc = Etc::new();
    let lock = etc.lock(SHORT).expect("the lock");
    let mode = fs::metadata(etc.0.path().join(LOCK))
        .expect("made")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    let try_it = || {
        let program = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)";
        let path = format!("{}/{LOCK}", etc.path());
        let tried = Command::new("python3")
            .args(["-c", program, &path])
            .output();
        tried.expect("python3").status.success()
    };
    assert!(!try_it());
    // What would drop a lock of the process: another descriptor of the file is closed.
    drop(File::open(etc.0.path().join(LOCK)).expect("open"));
    assert!(!try_it());
    let error = etc.lock(SHORT).expect_err("another thread has it");
    assert!(error.to_string().contains("others wait here"), "{error}");
    // A child that was made meanwhile does not keep it.
    let copy = lock
        .file
        .as_ref()
        .expect("a file")
        .try_clone()
        .expect("a copy");
    drop(lock);
    assert!(try_it());
    drop(copy);
}

#[test]
fn our_own_threads_take_turns() {
    let etc = Etc::new();
    let inside = Mutex::new(());
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                let lock = etc.lock(LONG).expect("the lock");
                drop(inside.try_lock().expect("alone"));
                drop(lock);
            });
        }
    });
}

#[test]
fn without_an_etc_that_can_be_written_there_is_nothing_to_hold() {
    let etc = Etc::new();
    let lock = lock_in(&format!("{}/none", etc.path()), etc.1, SHORT).expect("a guard");
    assert!(lock.file.is_none());
    drop(lock);
    // Other errors are errors: in sysfs nobody can make a file.
    let error = lock_in("/sys", etc.1, SHORT).expect_err("neither missing nor read-only");
    assert_ne!(error.errno, Errno::TIMEDOUT);
}

#[test]
fn names_and_numbers_of_the_files_are_found() {
    let etc = Etc::new();
    assert_eq!(etc.conflict("wuff", 61200), None, "no files, no users");
    etc.put(
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\nhuman:x:61201:100::/:\n",
    );
    etc.put(
        "group",
        "root:x:0:\nhumans:x:61202:human,root\nlast:x:61203",
    );
    for (name, number, words) in [
        (
            "human",
            5,
            "passwd has a user human now, with the number 61201",
        ),
        (
            "humans",
            5,
            "group has a group humans now, with the number 61202",
        ),
        ("last", 5, "a group last now"),
        ("wuff", 61201, "passwd gives 61201 to the user human now"),
        ("wuff", 61202, "group gives 61202 to the group humans now"),
        ("wuff", 61203, "to the group last now"),
    ] {
        let found = etc.conflict(name, number).unwrap_or_default();
        assert!(found.contains(words), "{name} {number}: {found:?}");
    }
    assert_eq!(etc.conflict("wuff", 61200), None);
    assert_eq!(etc.conflict("huma", 6120), None);
}

#[test]
fn lines_are_read_as_libc_reads_them() {
    for (line, found) in [
        ("human:x:61200:100::/:", true),
        ("  human:x:61200:100::/:", true),
        ("human:x: 61200:100::/:", true),
        ("human:x:+61200:100::/:", true),
        ("human:x:061200:100", true),
        ("human::61200:100:", true),
        ("human:x:61200", false),
        ("human:x:61200:", false),
        ("human:x:61200:x:", false),
        ("human:x:61200x:100:", false),
        ("human:x:++61200:100:", false),
        ("human:x::100:", false),
        ("human:61200", false),
        ("61200", false),
        ("#human:x:61200:100::/:", false),
        ("+human:x:61200:100::/:", false),
        ("-human:x:61200:100::/:", false),
        ("+", false),
        ("+::::::", false),
        ("human:x:612000:100::/:", false),
        ("human:x:18446744073709551616:100", false),
        ("human:x:4295028496:100", false),
    ] {
        let etc = Etc::new();
        etc.put("passwd", format!("\n{line}\n"));
        assert_eq!(etc.conflict("wuff", 61200).is_some(), found, "{line:?}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error_and_a_link_is_followed() {
    let etc = Etc::new();
    fs::create_dir(etc.0.path().join("passwd")).expect("mkdir");
    let error = conflict_in(etc.path(), LARGE, "wuff", 61200).expect_err("a directory");
    assert!(error.to_string().contains("no file"), "{error}");
    fs::remove_dir(etc.0.path().join("passwd")).expect("rmdir");
    etc.put("real", "human:x:61200:100::/:\n");
    std::os::unix::fs::symlink("real", etc.0.path().join("passwd")).expect("symlink");
    assert!(etc.conflict("wuff", 61200).is_some());
}

#[test]
fn a_file_beyond_all_measure_is_an_error_and_a_long_line_is_none() {
    let etc = Etc::new();
    let members = "m,".repeat(1_000_000);
    etc.put("group", format!("many:x:5:{members}\nhumans:x:61200:\n"));
    assert!(etc.conflict("wuff", 61200).is_some());
    let passwd = File::create(etc.0.path().join("passwd")).expect("create");
    passwd.set_len(LARGE + 1).expect("a hole");
    let error = conflict_in(etc.path(), LARGE, "wuff", 61200).expect_err("too large");
    assert_eq!(error.errno, Errno::FBIG);
}

proptest! {
    #[test]
    fn any_line_is_read_without_harm(line: Vec<u8>) {
        for numbers in [1, 2] {
            if let Some((name, number)) = record(&line, numbers) {
                prop_assert!(!name.contains(&b':'));
                prop_assert!(line.iter().any(u8::is_ascii_digit), "{}", number);
            }
        }
    }
}
