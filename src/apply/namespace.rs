//! The steps in the new mount namespace.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::{Reason, Views, inside};
use crate::failure::{Failure, OrFail, Stage};
use crate::place::{self, Place};
use crate::plan::{Action, Step, Tmpfs};
use crate::sys::mount::{self, Change};
use crate::sys::own_namespaces::{self, Kind};
use crate::sys::{SysError, SysResult, fs as files};

/// How often it is tried to put something on a file that is replaced at the same moment.
const TRIES: usize = 8;

/// Carries out the steps that make a namespace, and gives it. The calling thread is in it from
/// [`Action::Unshare`] on, for good.
///
/// # Errors
/// Of the stage of the step that failed.
pub fn build_namespace(steps: &[Step], mut views: Views) -> Result<OwnedFd, Failure> {
    for step in steps {
        tracing::debug!(%step);
        namespace_step(step, &mut views).or_fail(step.stage, &step.path)?;
    }
    own_namespaces::current(Kind::Mounts).or_fail(Stage::Namespace, "the mount namespace")
}

/// Carries out steps in the namespace that the calling thread is in, which is nobody else's.
///
/// # Errors
/// Of the stage of the step that failed.
pub fn carry_out(steps: &[Step]) -> Result<(), Failure> {
    let mut none = Views::new();
    let mut steps = steps.iter();
    steps.try_for_each(|step| namespace_step(step, &mut none).or_fail(step.stage, &step.path))
}

fn namespace_step(step: &Step, views: &mut Views) -> Result<(), Reason> {
    let path = &step.path;
    match &step.action {
        Action::Unshare => own_namespaces::unshare(Kind::Mounts)?,
        Action::StopPropagation => mount::stop_propagation()?,
        Action::Protect => mount::protect_everything()?,
        Action::KeepWritable { mount } => keep_writable(mount)?,
        Action::MountTmpfs { tmpfs, inside } => {
            if let Some(inside) = inside {
                make_directories(inside, path)?;
            }
            let target = files::open_trusted(path)?;
            mount::attach(new_tmpfs(tmpfs)?, target)?;
        }
        Action::AttachView { view, inside } => {
            let view = views.remove(view).ok_or("nobody took that view")?;
            if let Some(inside) = inside {
                make_mount_point(inside, path, &view)?;
            }
            attach(&view, path)?;
        }
        Action::LinkInside { target, inside } => {
            let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
            files::make_link(make_directories(inside, above)?, name, target)?;
        }
        Action::Seal => {
            let change = Change {
                set: mount::RDONLY,
                ..Change::default()
            };
            mount::change(files::open_trusted(path)?.as_fd(), c"", &change)?;
        }
        other => return inside::step(path, other, views),
    }
    Ok(())
}

/// Attaches a view. Somebody may be replacing the file that it is to lie on (`useradd` does that to `/etc/passwd`).
fn attach(view: &OwnedFd, path: &str) -> SysResult<()> {
    for _ in 1..TRIES {
        let Place { parent, name } = place::find(path)?;
        match mount::attach(view, files::pin_beneath(parent, &name)?) {
            Err(error) if error.errno == Errno::NOENT => {}
            attached => return attached,
        }
    }
    let Place { parent, name } = place::find(path)?;
    mount::attach(view, files::pin_beneath(parent, &name)?)
}

/// Makes a mount writable again.
fn keep_writable(path: &Path) -> SysResult<()> {
    let change = Change {
        clear: mount::RDONLY,
        ..Change::default()
    };
    // Anybody may have a FUSE mount below /dev/shm, and exchange a directory on the way for a
    // link to another mount since we looked. What is not found again stays read-only, which
    // harms nobody but its owner.
    match files::pin_without_links(path) {
        Ok(pinned) => match mount::change(pinned.as_fd(), c"", &change) {
            Err(error) if error.errno == Errno::INVAL => stays_read_only(path, &error),
            changed => changed?,
        },
        Err(error) => match error.errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS => {
                stays_read_only(path, &error);
            }
            _ => return Err(error),
        },
    }
    Ok(())
}

fn stays_read_only(path: &Path, error: &SysError) {
    tracing::info!(path = %path.display(), %error, "stays read-only");
}

pub(super) fn new_tmpfs(tmpfs: &Tmpfs) -> SysResult<OwnedFd> {
    let everywhere = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let closed = everywhere | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let make = |options: &[(&str, &str)], flags| mount::new_tmpfs(options, flags);
    match tmpfs {
        Tmpfs::Temporary => make(
            &[("mode", "1777"), ("size", "10%"), ("nr_inodes", "400k")],
            everywhere,
        ),
        Tmpfs::Boundary => make(
            &[("mode", "0755"), ("size", "4m"), ("nr_inodes", "1k")],
            closed,
        ),
        Tmpfs::Hidden => make(
            &[("mode", "0000"), ("size", "4k"), ("nr_inodes", "1")],
            closed | MountAttrFlags::MOUNT_ATTR_RDONLY,
        ),
        Tmpfs::Asked(asked) => {
            let options = asked.options.iter();
            let options: Vec<(&str, &str)> = options.map(|(k, v)| (&**k, &**v)).collect();
            make(&options, if asked.no_exec { closed } else { everywhere })
        }
    }
}

/// Makes the directories from a tmpfs of ours down to `path`, and opens the last one. What is mounted on
/// the way is ours too.
fn make_directories(inside: &str, path: &str) -> SysResult<OwnedFd> {
    let below = path.strip_prefix(inside).unwrap_or_default();
    let mut here = files::open_beneath(files::open_trusted(inside)?, "")?;
    for part in below.split('/').filter(|part| !part.is_empty()) {
        here = match files::make_directory(&here, part) {
            Ok(made) => {
                files::set_mode(&made, 0o755)?;
                made
            }
            Err(error) if error.errno == Errno::EXIST => files::open_beneath(&here, part)?,
            Err(error) => return Err(error),
        };
    }
    Ok(here)
}

/// Makes what a view can be attached to: a directory, or a file.
pub(super) fn make_mount_point(inside: &str, path: &str, view: &OwnedFd) -> SysResult<()> {
    if files::status(view)?.kind == FileType::Directory {
        return make_directories(inside, path).map(drop);
    }
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    files::make_file(make_directories(inside, above)?, name)
}
