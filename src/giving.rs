//! Trees that are being given to somebody: what is on disk is enough to finish it.
//!
//! A tree whose file system cannot show it as somebody else's is given, entry by entry. Whoever is
//! interrupted leaves a tree of two owners. A note beside the registry, written before the first entry is
//! changed and removed after the last, tells the next start so, and whose the entries may be by now.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::apply::{Gift, open_of};
use crate::exec_directory::other_side;
use crate::failure::{Failure, OrFail, Stage};
use crate::plan::Owner;
use crate::sys::file::replace_whole;
use crate::sys::fs::{open_beneath, open_trusted};
use crate::sys::give::{Given, Ids, count_entries, give_tree};
use crate::sys::{SysResult, gone};

/// Where the notes are: on the disk, so that they are as old as the trees; in /run where the disk cannot
/// be written to.
const FOLDERS: [&str; 2] = ["/var/lib/dynuser/giving", "/run/dynuser/giving"];

/// How long it may take before anybody is told how far it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often somebody is told then.
const OFTEN: Duration = Duration::from_millis(200);

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The tree.
    pub path: String,
    /// How many entries were looked at.
    pub done: u64,
    /// How many there are, once that is known.
    pub of: Option<u64>,
}

/// Whoever wants to know.
pub type OnProgress<'a> = dyn Fn(Progress) + Sync + 'a;

/// A note.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    path: String,
    /// Whose the entries may be that are to be given.
    owners: BTreeSet<(u32, u32)>,
}

/// The trees that somebody had begun to give.
///
/// # Errors
/// Of [`Stage::Daemon`]: nobody can tell then.
pub fn pending() -> Result<BTreeSet<String>, Failure> {
    let mut paths = BTreeSet::new();
    for folder in FOLDERS {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.or_fail(Stage::Daemon, folder)?,
        };
        for entry in entries {
            let entry = entry.or_fail(Stage::Daemon, folder)?;
            // One with a dot was never written to its end.
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                paths.extend(read(&entry.path())?.map(|note| note.path));
            }
        }
    }
    Ok(paths)
}

/// Gives a tree, the top last. What was begun before is finished with it. `accept` says whether what became of it
/// will do.
///
/// # Errors
/// Of the stage of the gift: with the path that the kernel refuses; those of `accept`.
pub fn give(
    gift: &Gift,
    progress: &OnProgress<'_>,
    accept: &dyn Fn(&Given) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let fail = |error| Failure::new(gift.stage, &gift.path, Box::new(error));
    let top = open_of(&gift.path, gift.from).map_err(fail)?;
    let (from, notes) = begin(gift)?;
    let given = give_and_tell(gift, top.as_fd(), &from, progress);
    let given = given.map_err(fail)?;
    tell(gift, &given);
    // Until it is accepted it counts as begun: the next start looks at all of it again.
    accept(&given)?;
    for note in notes {
        gone(fs::remove_file(&note)).or_fail(gift.stage, note.display().to_string())?;
    }
    Ok(())
}

fn tell(gift: &Gift, given: &Given) {
    let (path, left) = (&gift.path, given.left);
    if left > 0 {
        let examples = given.examples.join("; ");
        tracing::warn!(
            path,
            left,
            examples,
            "not given: not the former owner's alone"
        );
    }
    tracing::info!(path, to = %gift.to, entries = given.given, "given");
}

fn ids(owner: Owner) -> Ids {
    Ids {
        uid: owner.uid,
        gid: owner.gid,
    }
}

/// Notes that a tree is about to be given. Gives the owners that its entries may have, and the notes.
fn begin(gift: &Gift) -> Result<(Vec<Ids>, Vec<PathBuf>), Failure> {
    let name = file_name(&gift.path);
    // It may have been begun on the other side of the boundary.
    let names = [
        Some(name.clone()),
        other_side(&gift.path).as_deref().map(file_name),
    ];
    let notes = names.iter().flatten();
    let notes = notes.flat_map(|name| FOLDERS.map(|folder| Path::new(folder).join(name)));
    let notes: Vec<PathBuf> = notes.collect();
    let mut owners = BTreeSet::from([(gift.from.uid, gift.from.gid)]);
    for note in &notes {
        owners.extend(read(note)?.unwrap_or_default().owners);
    }
    let pair = |owner: Owner| (owner.uid, owner.gid);
    let mut known = owners.clone();
    known.insert(pair(gift.to));
    let note = Note {
        path: gift.path.clone(),
        owners: known,
    };
    let [disk, memory] = FOLDERS;
    let written = write(disk, &name, &note).or_else(|error| {
        tracing::info!(%error, "is noted in {memory}");
        write(memory, &name, &note)
    });
    written.or_fail(gift.stage, format!("a note about {}", gift.path))?;
    owners.remove(&pair(gift.to));
    let owners = owners.into_iter().map(|(uid, gid)| Ids { uid, gid });
    Ok((owners.collect(), notes))
}

fn file_name(path: &str) -> String {
    let hash = Sha256::digest(path.as_bytes());
    hash.iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Reads a note. One that says nothing is none: it was never finished, so nothing was given under it.
fn read(path: &Path) -> Result<Option<Note>, Failure> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.or_fail(Stage::Daemon, path.display().to_string())?,
    };
    Ok(serde_json::from_slice(&text)
        .map_err(|error| tracing::warn!(path = %path.display(), %error, "is no note"))
        .ok())
}

/// Writes a note, so that it is there after a loss of power too.
fn write(
    folder: &str,
    name: &str,
    note: &Note,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let text = serde_json::to_vec(note)?;
    let mut directory = DirBuilder::new();
    directory.recursive(true).mode(0o700).create(folder)?;
    let folder = open_beneath(open_trusted(folder)?, "")?;
    Ok(replace_whole(folder, name, &text)?)
}

/// Gives the tree, and tells how far it is if that takes longer than [`PATIENCE`]; what there is to do is
/// counted only then.
fn give_and_tell(
    gift: &Gift,
    top: BorrowedFd<'_>,
    from: &[Ids],
    progress: &OnProgress<'_>,
) -> SysResult<Given> {
    let (total, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let due = Mutex::new(Instant::now().checked_add(PATIENCE));
    let looked = |done: u64| {
        // Whoever comes while another one tells has nothing new to tell.
        let Ok(mut due) = due.try_lock() else { return };
        if due.is_some_and(|due| Instant::now() < due) {
            return;
        }
        *due = Instant::now().checked_add(OFTEN);
        let of = total.load(Ordering::Relaxed);
        progress(Progress {
            path: gift.path.clone(),
            done,
            of: (of > 0).then_some(of),
        });
    };
    thread::scope(|scope| {
        let (finished, news) = channel::<()>();
        let (total, stop) = (&total, &stop);
        let count = move || {
            if news.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout)
                && let Ok(entries) = count_entries(top, &gift.path, stop)
            {
                total.store(entries, Ordering::Relaxed);
            }
        };
        // Without it nobody knows how much there is, and that is all.
        if let Err(error) = thread::Builder::new().spawn_scoped(scope, count) {
            tracing::debug!(%error, "nobody counts");
        }
        let given = give_tree(top, &gift.path, from, ids(gift.to), &looked);
        stop.store(true, Ordering::Relaxed);
        drop(finished);
        given
    })
}
