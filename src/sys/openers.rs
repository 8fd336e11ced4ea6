//! Who has a file open.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, readlinkat, statat};

use super::fs::Status;
use super::process::Process;
use super::procfs::{Proc, Stat, is_gone};
use super::{During, SysResult};

/// The processes that have a named pipe open for reading. One that is on its way through a socket is nobody's.
///
/// Whoever has it is asked for by what the kernel calls the file, and looked at only then: to look at any descriptor of
/// a stranger may wait for ever (a file system that does not answer).
///
/// # Errors
/// Those of reading `/proc`, but that a process has ended.
pub fn readers_of(pipe: impl AsFd) -> SysResult<Vec<Process>> {
    let wanted = super::fs::status(&pipe)?;
    let path = super::fs::path_of(&pipe)?;
    let Some(name) = path.file_name() else {
        return Ok(Vec::new());
    };
    let mut proc = Proc::open()?;
    let mut found = Vec::new();
    for pid in proc.numbers(".").during("getdents", "/proc")? {
        if has_open(&proc, pid, name.as_encoded_bytes(), &wanted)?
            && let Ok(text) = proc.read(&format!("{pid}/stat"))
            && let Ok(stat) = Stat::parse(&text)
        {
            found.push(Process {
                pid,
                name: stat.name,
            });
        }
    }
    Ok(found)
}

fn has_open(proc: &Proc, pid: u32, name: &[u8], wanted: &Status) -> SysResult<bool> {
    let folder = format!("{pid}/fd");
    let descriptors = match proc.numbers(&folder) {
        Err(errno) if is_gone(errno) => return Ok(false),
        numbers => numbers.during("getdents", format_args!("/proc/{folder}"))?,
    };
    for descriptor in descriptors {
        let path = format!("{folder}/{descriptor}");
        let is_called_so = readlinkat(proc.root(), &path, Vec::new())
            .is_ok_and(|target| target.to_bytes().ends_with(name));
        // The mode of the link is that of the descriptor: our own end is the one that writes.
        let reads = || {
            statat(proc.root(), &path, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|link| link.st_mode & 0o400 != 0)
        };
        let is_it = || {
            statat(proc.root(), &path, AtFlags::empty())
                .is_ok_and(|found| (found.st_dev, found.st_ino) == wanted.id)
        };
        if is_called_so && reads() && is_it() {
            return Ok(true);
        }
    }
    Ok(false)
}
