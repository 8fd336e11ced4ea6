//! The steps in a namespace that take something away, or bind something, at paths of a unit file's choice.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, chmodat};
use rustix::mount::MountAttrFlags;

use super::host::if_there;
use super::namespace::{make_mount_point, new_tmpfs};
use super::{Reason, Views, devices};
use crate::directives::Processes;
use crate::plan::{Action, Tmpfs};
use crate::sys::fs::{self as files, pin_trusted};
use crate::sys::mount::{self, Change};
use crate::sys::{During, SysResult};

/// Carries out one of them.
pub(super) fn step(path: &str, action: &Action, views: &mut Views) -> Result<(), Reason> {
    match action {
        Action::AttachBind { name, inside, over } => {
            // It may have been missing on the host, and was allowed to be.
            let Some(view) = views.remove(name) else {
                return Ok(());
            };
            if let Some(inside) = inside {
                make_mount_point(inside, path, &view)?;
            }
            let mut kept = Vec::new();
            for inner in over {
                if let Some(place) = if_there(pin_trusted(inner))? {
                    kept.push((inner, mount::clone_tree(place)?));
                }
            }
            mount::attach(view, pin_trusted(path)?)?;
            for (inner, tree) in kept {
                mount::attach(tree, pin_trusted(inner)?)?;
            }
        }
        Action::MountProc {
            processes,
            processes_only,
        } => mount::attach(new_proc(*processes, *processes_only)?, pin_trusted(path)?)?,
        Action::MountDevices => devices::mount(path)?,
        Action::MountQueues => {
            let queues = mount::new_file_system("mqueue", &[], kernel_flags())?;
            if let Some(place) = if_there(pin_trusted(path))? {
                mount::attach(queues, place)?;
            }
        }
        Action::Hide { optional } => {
            if let Some(place) = found(path, *optional)? {
                hide(place)?;
            }
        }
        Action::Restrict {
            read_only,
            no_exec,
            optional,
        } => {
            if let Some(place) = found(path, *optional)? {
                restrict(path, &place, *read_only, *no_exec)?;
            }
        }
        Action::Lift {
            writable,
            executable,
            optional,
        } => {
            let access = if *writable { mount::RDONLY } else { 0 };
            let exec = if *executable { mount::NOEXEC } else { 0 };
            let change = Change {
                clear: access | exec,
                recursive: true,
                ..Change::default()
            };
            if let Some(place) = found(path, *optional)? {
                change_at(path, &place, &change)?;
            }
        }
        _ => return Err("is no step for a namespace".into()),
    }
    Ok(())
}

fn found(path: &str, optional: bool) -> SysResult<Option<OwnedFd>> {
    let pinned = pin_trusted(path);
    if optional {
        if_there(pinned)
    } else {
        pinned.map(Some)
    }
}

fn kernel_flags() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

/// A detached /proc of the PID namespace that we are in (proc(5), "Mount options").
pub(super) fn new_proc(processes: Processes, processes_only: bool) -> SysResult<OwnedFd> {
    let mut options = vec![("hidepid", processes.option())];
    if processes_only {
        options.push(("subset", "pid"));
    }
    mount::new_file_system("proc", &options, kernel_flags())
}

/// Covers a directory with an empty one that nobody may enter, anything else with a file that nobody may open.
fn hide(place: OwnedFd) -> SysResult<()> {
    let nothing = new_tmpfs(&Tmpfs::Hidden)?;
    if files::status(&place)?.kind == FileType::Directory {
        return mount::attach(nothing, place);
    }
    let closed = MountAttrFlags::MOUNT_ATTR_NOEXEC | kernel_flags();
    let holder = mount::new_tmpfs(
        &[("mode", "0700"), ("size", "4k"), ("nr_inodes", "2")],
        closed,
    )?;
    files::make_file(&holder, "hidden")?;
    // While it is still at its name: a descriptor that only pins it cannot change it.
    chmodat(&holder, "hidden", Mode::empty(), AtFlags::empty()).during("fchmodat", "hidden")?;
    let file = files::pin_beneath(&holder, "hidden")?;
    let file = mount::clone_tree(&file)?;
    let change = Change {
        set: mount::RDONLY,
        ..Change::default()
    };
    mount::change(file.as_fd(), c"", &change)?;
    mount::attach(file, place)
}

fn restrict(path: &str, place: &OwnedFd, read_only: bool, no_exec: bool) -> SysResult<()> {
    let access = if read_only { mount::RDONLY } else { 0 };
    let exec = if no_exec { mount::NOEXEC } else { 0 };
    let change = Change {
        set: access | exec,
        recursive: true,
        ..Change::default()
    };
    change_at(path, place, &change)
}

/// Binds what is there over itself with other rights, and everything that is mounted in it. The root itself cannot
/// be covered: there the mounts are changed as they are.
fn change_at(path: &str, place: &OwnedFd, change: &Change<'_>) -> SysResult<()> {
    if path == "/" {
        return mount::change(place.as_fd(), c"", change);
    }
    let tree = mount::clone_tree(place)?;
    mount::change(tree.as_fd(), c"", change)?;
    mount::attach(tree, place)
}
