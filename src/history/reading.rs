//! What somebody finds who asks.

use std::fs::File;
use std::io::Read;

use rustix::io::Errno;

use super::{FILE, OLD, begun, now};
use crate::failure::{Failure, OrFail, Stage};
use crate::history_text::{Line, Past, When, alive};
use crate::kept_lines::{FOLDER, open_folder};
use crate::lease;
use crate::life::State;
use crate::sys::file::open_ours;
use crate::sys::fs::status;
use crate::sys::identity::boot_id;
use crate::sys::{During, SysError, SysResult};

/// How much is read at once, in bytes, and the longest line that is looked at.
const PIECE: usize = 64 << 10;

/// How often somebody may begin a new file while we open both.
const TRIES: usize = 5;

/// What the files say, and the leases that are there now.
#[derive(Debug)]
pub struct History {
    /// Who had which number.
    pub past: Past,
    /// From when on that is everything, by the host's clock in nanoseconds since 1970; nothing, if there is
    /// no file.
    pub complete_from: Option<u64>,
    /// When it was looked.
    pub now: When,
}

/// Reads the history, with no daemon.
///
/// # Errors
/// Of [`Stage::Request`], if it or the leases cannot be read. That there is none is no error.
pub fn read() -> Result<History, Failure> {
    read_in(FOLDER)
}

pub(super) fn read_in(folder: &str) -> Result<History, Failure> {
    let now = now(&boot_id().or_fail(Stage::Request, "the boot ID")?);
    // Before the files: what has ended by then is told in them.
    let found = lease::load_all()?.into_iter();
    let leases = found.filter_map(|found| found.lease.ok());
    let there: Vec<(Line, bool)> = leases
        .filter(|lease| super::is_told(lease, &now.boot))
        .map(|lease| (begun(&lease), lease.state == State::Quarantined))
        .collect();
    let mut past = Past::default();
    let files = open(folder).and_then(|files| {
        let mut files = files.into_iter().flatten();
        files.try_for_each(|file| read_lines(file, &mut past))
    });
    files.map_err(|error| denied(folder, error))?;
    let complete_from = past.complete_from();
    past.read(alive(&now, &there).as_bytes());
    Ok(History {
        past,
        complete_from,
        now,
    })
}

/// Why it cannot be read, and what to do.
fn denied(folder: &str, error: SysError) -> Failure {
    let path = format!("{folder}/{FILE}");
    match error.errno {
        Errno::ACCESS => {
            let why = "only root can read who had which number; as root: dynuser history";
            Failure::new(Stage::Request, path, why)
        }
        _ => Failure::new(Stage::Request, path, error),
    }
}

/// The old file and the one that is written, as far as there are any.
fn open(folder: &str) -> SysResult<[Option<File>; 2]> {
    let folder = match open_folder(folder) {
        Err(error) if error.errno == Errno::NOENT => return Ok([None, None]),
        folder => folder?,
    };
    let mut tried = 0;
    loop {
        let new = open_ours(&folder, FILE)?;
        let old = open_ours(&folder, OLD)?;
        let id = |file: &Option<File>| {
            file.as_ref()
                .map(|file| status(file).map(|it| it.id))
                .transpose()
        };
        // It has become the old one between the two.
        tried = usize::saturating_add(tried, 1);
        if new.is_some() && id(&new)? == id(&old)? && tried < TRIES {
            continue;
        }
        return Ok([old, new]);
    }
}

/// Reads whole lines, a piece at a time.
fn read_lines(mut file: File, past: &mut Past) -> SysResult<()> {
    let mut kept: Vec<u8> = Vec::new();
    loop {
        let piece = u64::try_from(PIECE).unwrap_or(u64::MAX);
        let before = kept.len();
        (&mut file)
            .take(piece)
            .read_to_end(&mut kept)
            .during("read", FILE)?;
        if kept.len() == before {
            // The last line has no end, if anything is left.
            past.read(&kept);
            return Ok(());
        }
        let whole = kept.iter().rposition(|byte| *byte == b'\n');
        match whole.map(|end| end.saturating_add(1)) {
            Some(end) => {
                let rest = kept.split_off(end);
                past.read(&kept);
                kept = rest;
            }
            // No line of ours is so long.
            None if kept.len() > PIECE => {
                past.skipped = past.skipped.saturating_add(1);
                kept.clear();
            }
            None => {}
        }
    }
}
