//! Carrying out a plan: one loop over its steps, in the process that may do it.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{CWD, FileType, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::exec_directory::Kind;
use crate::failure::{Failure, OrFail, Stage};
use crate::place::{self, Place};
use crate::plan::{IdMap, Owner, Step, Tmpfs};
use crate::sys::fault::{Point, reached};
use crate::sys::mount::{self, Change};
use crate::sys::{SysError, SysResult, fs as files, userns};

/// Mappings whose user namespaces are kept; there is one for each pair of owners in use.
const MOST_MAPPINGS: usize = 512;

/// Does what plans say, and keeps what can be used again.
#[derive(Debug, Default)]
pub struct Workshop {
    mappings: Mutex<HashMap<IdMap, Arc<OwnedFd>>>,
}

/// Detached mounts by the path of the tree that they show.
pub type Views = HashMap<String, OwnedFd>;

type StepResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

impl Workshop {
    /// Carries out the steps on the host.
    ///
    /// # Errors
    /// Of the stage of the step that failed. Earlier steps are not undone: each leaves a state
    /// from which the next start goes on.
    pub fn prepare_host(&self, steps: &[Step]) -> Result<Views, Failure> {
        let mut views = Views::new();
        for step in steps {
            tracing::debug!(%step);
            self.host_step(step, &mut views)
                .or_fail(step.stage(), step.subject())?;
            reached(Point::HostStepDone);
        }
        Ok(views)
    }

    fn host_step(&self, step: &Step, views: &mut Views) -> StepResult {
        match step {
            Step::MakeDirectory {
                path, mode, owner, ..
            } => make_directory(path, *mode, *owner)?,
            Step::GiveDirectory { path, from, to, .. } => {
                let directory = open_of(path, *from)?;
                if from.uid == 0 && !files::is_empty(&directory)? {
                    return Err("is no longer empty".into());
                }
                files::set_owner(&directory, to.uid, to.gid)?;
            }
            Step::SetMode {
                path, mode, owner, ..
            } => {
                files::set_mode(open_of(path, *owner)?, *mode)?;
            }
            Step::MakeLink { path, target, .. } => {
                let Place { parent, name } = place::find(path)?;
                files::make_link(parent, &name, target)?;
            }
            Step::WriteDatabase { source, path, line } => write_database(source, path, line)?,
            Step::TakeView {
                path,
                map,
                writable,
                ..
            } => {
                views.insert(path.clone(), self.take_view(path, *map, *writable)?);
            }
            other => return Err(format!("{other} is no step for the host").into()),
        }
        Ok(())
    }

    /// A detached mount of the tree at `path`.
    fn take_view(
        &self,
        path: &str,
        map: Option<IdMap>,
        writable: bool,
    ) -> Result<OwnedFd, Box<dyn std::error::Error + Send + Sync>> {
        let Place { parent, name } = place::find(path)?;
        let tree = mount::clone_tree(files::pin_beneath(parent, &name)?)?;
        let namespace = map.map(|map| self.mapping(map)).transpose()?;
        let access = if writable { 0 } else { mount::RDONLY };
        let change = Change {
            set: mount::NOSUID | mount::NODEV | access,
            slave: true,
            idmap: namespace.as_ref().map(|namespace| namespace.as_fd()),
            recursive: true,
            ..Change::default()
        };
        match (mount::change(tree.as_fd(), c"", &change), map) {
            (Err(error), Some(map)) if mount::is_unsupported(error.errno) => Err(format!(
                "belongs to {}, and the file system there cannot show it as {}'s ({error}); to give it away: chown -R {} {path}",
                map.disk, map.seen, map.seen
            )
            .into()),
            (changed, _) => Ok(changed.map(|()| tree)?),
        }
    }

    /// The user namespace of a mapping.
    fn mapping(&self, map: IdMap) -> SysResult<Arc<OwnedFd>> {
        let mut mappings = self.mappings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(namespace) = mappings.get(&map) {
            return Ok(Arc::clone(namespace));
        }
        let uids = map_lines(map.disk.uid, map.seen.uid);
        let gids = map_lines(map.disk.gid, map.seen.gid);
        let namespace = Arc::new(userns::with_maps(&uids, &gids)?);
        if mappings.len() >= MOST_MAPPINGS {
            mappings.clear();
        }
        mappings.insert(map, Arc::clone(&namespace));
        Ok(namespace)
    }
}

/// Carries out the steps that make a namespace, and gives it. The calling thread is in it from
/// [`Step::Unshare`] on, for good.
///
/// # Errors
/// Of the stage of the step that failed.
pub fn build_namespace(steps: &[Step], mut views: Views) -> Result<OwnedFd, Failure> {
    for step in steps {
        tracing::debug!(%step);
        namespace_step(step, &mut views).or_fail(step.stage(), step.subject())?;
    }
    mount::current_namespace().or_fail(Stage::Namespace, "the mount namespace")
}

/// The lines of a map: what is `disk` on disk is seen as `seen`; root stays root, so that a
/// command which is started as root can use the tree.
fn map_lines(disk: u32, seen: u32) -> String {
    if disk == 0 {
        return format!("0 {seen} 1\n");
    }
    format!("0 0 1\n{disk} {seen} 1\n")
}

fn make_directory(path: &str, mode: u32, owner: Owner) -> SysResult<()> {
    let Place { parent, name } = place::find(path)?;
    let directory = files::make_directory(parent, &name)?;
    // The owner before the mode: chown takes away bits, and until then only root may enter.
    files::set_owner(&directory, owner.uid, owner.gid)?;
    files::set_mode(&directory, mode)
}

/// Opens a directory that must belong to `owner`.
fn open_of(path: &str, owner: Owner) -> SysResult<OwnedFd> {
    let Place { parent, name } = place::find(path)?;
    let directory = files::open_beneath(parent, &name)?;
    let found = files::status(&directory)?;
    if (found.uid, found.gid) != (owner.uid, owner.gid) || found.kind != FileType::Directory {
        return Err(SysError {
            call: "fstat",
            subject: format!(
                "belongs to {}:{} by now, not to {owner}",
                found.uid, found.gid
            ),
            errno: Errno::STALE,
        });
    }
    Ok(directory)
}

/// Writes the service's own copy of a user database. It is put in place whole, so that a service
/// of the same user that is running already keeps the one it has.
fn write_database(source: &str, path: &str, line: &str) -> std::io::Result<()> {
    let mut text = fs::read(source)?;
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    text.extend_from_slice(line.as_bytes());
    text.push(b'\n');
    // A view of it that another start under the same lease has taken can be attached only as long as the
    // file has a name (move_mount(2) tells ENOENT for an unlinked one).
    if fs::read(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let directory = Path::new(path).parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)?;
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)?;
    file.write_all(&text)?;
    match renameat_with(CWD, file.path(), CWD, path, RenameFlags::EXCHANGE) {
        // The former one keeps a name, for the same reason, and goes with the folder.
        Ok(()) => drop(file.keep()?),
        Err(Errno::NOENT) => drop(file.persist(path)?),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn namespace_step(step: &Step, views: &mut Views) -> StepResult {
    match step {
        Step::Unshare => mount::unshare_mounts()?,
        Step::Protect => mount::protect_everything()?,
        Step::KeepWritable { path } => {
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
                    _ => return Err(error.into()),
                },
            }
        }
        Step::MountTmpfs { path, tmpfs, .. } => {
            let target = files::open_trusted(path)?;
            mount::attach(new_tmpfs(*tmpfs)?, target)?;
        }
        Step::AttachView { view, at, make, .. } => {
            let view = views.remove(view).ok_or("nobody took that view")?;
            if *make {
                make_mount_points(at)?;
            }
            let Place { parent, name } = place::find(at)?;
            mount::attach(view, files::pin_beneath(parent, &name)?)?;
        }
        Step::Seal { path, .. } => {
            let change = Change {
                set: mount::RDONLY,
                ..Change::default()
            };
            mount::change(files::open_trusted(path)?.as_fd(), c"", &change)?;
        }
        other => return Err(format!("{other} is no step for a namespace").into()),
    }
    Ok(())
}

fn stays_read_only(path: &Path, error: &SysError) {
    tracing::info!(path = %path.display(), %error, "stays read-only");
}

fn new_tmpfs(tmpfs: Tmpfs) -> SysResult<OwnedFd> {
    let everywhere = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let closed = everywhere | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    match tmpfs {
        Tmpfs::Temporary => mount::new_tmpfs(
            &[("mode", "1777"), ("size", "10%"), ("nr_inodes", "400k")],
            everywhere,
        ),
        Tmpfs::Boundary => mount::new_tmpfs(
            &[("mode", "0755"), ("size", "4m"), ("nr_inodes", "1k")],
            closed,
        ),
        Tmpfs::Hidden => mount::new_tmpfs(
            &[("mode", "0000"), ("size", "4k"), ("nr_inodes", "1")],
            closed | MountAttrFlags::MOUNT_ATTR_RDONLY,
        ),
    }
}

/// Makes a directory to attach to, and those above it, in the tmpfs that covers the boundary.
fn make_mount_points(path: &str) -> SysResult<()> {
    let boundaries = Kind::ALL.into_iter().filter_map(Kind::boundary);
    let (boundary, below) = boundaries
        .filter_map(|boundary| Some((boundary, path.strip_prefix(boundary)?.strip_prefix('/')?)))
        .next()
        .unwrap_or((path, ""));
    let mut here = files::open_beneath(files::open_trusted(boundary)?, "")?;
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
    Ok(())
}
