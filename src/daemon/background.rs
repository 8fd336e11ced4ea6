//! A daemon that a launcher starts: it goes into the background as soon as it answers.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use super::{Daemon, Options};
use crate::failure::{Failure, OrFail, Stage};
use crate::layout::LOG;
use crate::report::{Log, start_logging};
use crate::sys::{own_namespaces, run};

/// How often a daemon that dies before it answers is started again.
const FORKS: usize = 3;

/// Forks, and ends in the parent when the child answers on the socket. What goes wrong before
/// that is told by the parent, to whom somebody listens.
pub(super) fn start(options: &Options) -> Result<(), Failure> {
    // Whoever kills a daemon before it answers must not fail the one who waits for it: once more.
    for _ in 0..FORKS {
        if try_start(options)? {
            return Ok(());
        }
    }
    Err(Failure::new(
        Stage::Daemon,
        "the new daemon",
        "ended at once",
    ))
}

/// True in the child when it has ended, and in the parent when the child answers; false when the
/// child died without a word.
fn try_start(options: &Options) -> Result<bool, Failure> {
    let (mut ready, mut tell) = std::io::pipe().or_fail(Stage::Daemon, "pipe")?;
    if run::fork().or_fail(Stage::Daemon, "fork")?.is_some() {
        drop(tell);
        let mut words = String::new();
        ready
            .read_to_string(&mut words)
            .or_fail(Stage::Daemon, "the new daemon")?;
        return match words.as_str() {
            "ready" => Ok(true),
            "" => Ok(false),
            why => Err(Failure::new(Stage::Daemon, "the new daemon", why)),
        };
    }
    drop(ready);
    let started = own_namespaces::enter_mounts_of_init()
        .or_fail(Stage::Daemon, "the mount namespace of process 1")
        .and_then(|()| {
            rustix::process::setsid().or_fail(Stage::Daemon, "setsid")?;
            Daemon::start_or_wait()
        });
    let daemon = match started {
        Ok(Some(daemon)) => daemon,
        // Somebody else was faster, and his is as good.
        Ok(None) => {
            tell.write_all(b"ready").or_fail(Stage::Daemon, "pipe")?;
            return Ok(true);
        }
        Err(failure) => {
            tell.write_all(failure.to_string().as_bytes())
                .or_fail(Stage::Daemon, "pipe")?;
            return Ok(true);
        }
    };
    // Before anything can be told: what adoption finds wrong is for the log, and nobody keeps what the
    // launcher's daemon says on standard error.
    run::replace_standard_streams(open_log()?).or_fail(Stage::Daemon, LOG)?;
    start_logging(Log::File);
    // Closed as soon as it has said that all is well; what goes wrong before that it tells as well.
    let tell = Cell::new(Some(tell));
    let served = daemon.serve(options, || {
        tell.take().map_or(Ok(()), |mut tell| {
            tell.write_all(b"ready").or_fail(Stage::Daemon, "pipe")
        })
    });
    match (served, tell.take()) {
        (Err(failure), Some(mut tell)) => tell
            .write_all(failure.to_string().as_bytes())
            .or_fail(Stage::Daemon, "pipe"),
        (served, _) => served,
    }
    .map(|()| true)
}

fn open_log() -> Result<File, Failure> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(LOG)
        .or_fail(Stage::Daemon, LOG)
}
