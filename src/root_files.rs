//! Text that only root can have written: our configuration, unit files.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::failure::{Failure, OrFail, Stage};
use crate::sys::fs::{read_at_most, status};
use crate::sys::{SysError, SysResult};

/// Refuses what somebody else could have written, or what is of another kind. Asked of the descriptor that is
/// read from then on, so nobody can put another file in its place meanwhile.
///
/// # Errors
/// Of `stage`, with what to do about it.
pub fn refuse_others(
    fd: impl AsFd,
    path: &str,
    kind: FileType,
    stage: Stage,
) -> Result<(), Failure> {
    let refused = |why: String| Err(Failure::new(stage, path, why));
    refuse_kind(&fd, path, kind, stage)?;
    let found = status(fd).or_fail(stage, path)?;
    if found.uid != 0 {
        return refused(format!(
            "belongs to {}, not to root; look at it, then: chown root {path}",
            found.uid
        ));
    }
    // In a sticky directory nobody can rename or replace what belongs to root.
    let sticky = kind == FileType::Directory && found.mode & 0o1000 != 0;
    if found.mode & 0o022 != 0 && !(sticky && stage == Stage::Request) {
        return refused(format!(
            "can be written by others than root ({:04o}); look at it, then: chmod go-w {path}",
            found.mode
        ));
    }
    Ok(())
}

/// Refuses what is of another kind.
///
/// # Errors
/// Of `stage`.
pub fn refuse_kind(fd: impl AsFd, path: &str, kind: FileType, stage: Stage) -> Result<(), Failure> {
    let found = status(fd).or_fail(stage, path)?;
    if found.kind != kind {
        let what = if kind == FileType::Directory {
            "is no folder"
        } else {
            "is no regular file"
        };
        return Err(Failure::new(stage, path, what));
    }
    Ok(())
}

/// The text of a file that is open for reading, of `largest` bytes at most.
///
/// # Errors
/// Of `stage`: a larger one, one that is not UTF-8 (with line and column), those of read(2).
pub fn text(file: &OwnedFd, path: &str, largest: usize, stage: Stage) -> Result<String, Failure> {
    let Some(bytes) = read_at_most(file, largest).or_fail(stage, path)? else {
        let why = format!("is larger than {largest} bytes, which nobody has written");
        return Err(Failure::new(stage, path, why));
    };
    String::from_utf8(bytes).map_err(|error| {
        let valid = error
            .as_bytes()
            .iter()
            .take(error.utf8_error().valid_up_to());
        let (mut line, mut column) = (1_usize, 1_usize);
        for byte in valid {
            (line, column) = match byte {
                b'\n' => (line.saturating_add(1), 1),
                // What continues a character is no column.
                byte if byte & 0xc0 == 0x80 => (line, column),
                _ => (line, column.saturating_add(1)),
            };
        }
        let subject = format!("{path}:{line}:{column}");
        Failure::new(stage, subject, "is not UTF-8 text from here on")
    })
}

/// What was opened; `None` if it is not there.
///
/// # Errors
/// All others.
pub fn unless_missing<T>(opened: SysResult<T>) -> SysResult<Option<T>> {
    match opened {
        Err(error) if error.errno == Errno::NOENT => Ok(None),
        opened => opened.map(Some),
    }
}

/// Why something could not be opened for reading.
pub fn unreadable(path: &str, error: SysError, stage: Stage) -> Failure {
    match error.errno {
        Errno::LOOP => {
            let why = "is a symbolic link, which is not followed here; put the file itself there";
            Failure::new(stage, path, why)
        }
        _ => Failure::new(stage, path, error),
    }
}
