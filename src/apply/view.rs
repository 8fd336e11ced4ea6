//! Views of trees: detached mounts, in which what is somebody's on disk may be seen as somebody else's.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use super::{NotYet, Stop};
use crate::observe::mounts_below;
use crate::place::{self, Place};
use crate::sys::SysResult;
use crate::sys::fs::{path_of, pin_beneath, pin_trusted};
use crate::sys::mount::{self, Change};

/// A detached mount of the tree at `path`, with all that is mounted in it.
pub(super) fn take(
    path: &str,
    mapping: Option<Arc<OwnedFd>>,
    writable: bool,
    confined: bool,
) -> Result<OwnedFd, Stop> {
    let Place { parent, name } = place::find(path)?;
    let source = pin_beneath(parent, &name)?;
    let tree = mount::clone_tree(&source)?;
    let access = if writable { 0 } else { mount::RDONLY };
    let harmless = if confined {
        mount::NOSUID | mount::NODEV
    } else {
        0
    };
    let change = Change {
        set: harmless | access,
        slave: true,
        recursive: true,
        ..Change::default()
    };
    let Some(mapping) = mapping else {
        mount::change(tree.as_fd(), c"", &change)?;
        return Ok(tree);
    };
    let mapped = Change {
        idmap: Some(mapping.as_fd()),
        ..change
    };
    match mount::change(tree.as_fd(), c"", &mapped) {
        Ok(()) => Ok(tree),
        Err(error) if mount::is_unsupported(error.errno) => {
            mount::change(tree.as_fd(), c"", &change)?;
            // One of the file systems in it, or the top's.
            let alone = Change {
                idmap: Some(mapping.as_fd()),
                ..Change::default()
            };
            match mount::change(tree.as_fd(), c"", &alone) {
                Err(error) if mount::is_unsupported(error.errno) => {
                    tracing::info!(path, %error, "cannot be shown as somebody else's");
                    Err(Stop::NotYet(NotYet::Unmappable(path.into())))
                }
                top => {
                    top?;
                    map_what_is_mounted(&tree, &path_of(&source)?, &alone)?;
                    Ok(tree)
                }
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// A detached mount of what is at `path`, with all that is mounted in it, never more writable or executable than it
/// is on the host. Device nodes in it work: a service may be meant to have one.
pub(super) fn take_bind(
    path: &str,
    writable: bool,
    no_exec: bool,
    recursive: bool,
) -> SysResult<OwnedFd> {
    let source = pin_trusted(path)?;
    let tree = if recursive {
        mount::clone_tree(source)?
    } else {
        mount::clone_alone(source)?
    };
    let access = if writable { 0 } else { mount::RDONLY };
    let exec = if no_exec { mount::NOEXEC } else { 0 };
    let change = Change {
        set: mount::NOSUID | access | exec,
        slave: true,
        recursive,
        ..Change::default()
    };
    mount::change(tree.as_fd(), c"", &change)?;
    Ok(tree)
}

/// Maps what is mounted in the tree, as far as these file systems can: the others show their own owners.
fn map_what_is_mounted(tree: &OwnedFd, source: &Path, change: &Change<'_>) -> Result<(), Stop> {
    for below in mounts_below(source)? {
        let Some(below) = below.to_str() else {
            tracing::info!(path = %below.display(), "shows its own owners");
            continue;
        };
        let changed: SysResult<()> = pin_beneath(tree, below)
            .and_then(|mounted| mount::change(mounted.as_fd(), c"", change));
        match changed {
            Err(error) if mount::is_unsupported(error.errno) => {
                tracing::info!(path = below, %error, "shows its own owners");
            }
            changed => changed?,
        }
    }
    Ok(())
}
