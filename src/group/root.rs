//! Where our groups lie on this host.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::control_group::tree::{self, Mount};
use crate::failure::{Failure, OrFail, Stage};
use crate::sys::cgroup;
use crate::sys::fs::open_beneath;

/// There when systemd leads the host (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// A writable unified hierarchy, and the group in it where ours begin.
#[derive(Debug)]
pub struct Root {
    /// Its root, as it is mounted here.
    pub(super) directory: OwnedFd,
    /// Where that is mounted.
    pub(super) point: String,
    /// The group that our own is made in: a path below the root with a slash before each part, empty for the root.
    pub(super) base: String,
}

impl Root {
    /// Finds it.
    ///
    /// # Errors
    /// A sentence: why there is none for us.
    pub fn find() -> Result<Self, String> {
        let text = |path: &str| {
            let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
            Ok::<_, String>(String::from_utf8_lossy(&bytes).into_owned())
        };
        let own = text("/proc/self/cgroup")?;
        let init = text("/proc/1/cgroup")?;
        let led = std::fs::symlink_metadata(BOOTED).is_ok_and(|found| found.is_dir());
        let mut why = String::from("no control groups of version 2 are mounted here, writable");
        for mount in tree::mounts(&text("/proc/self/mountinfo")?) {
            let found = match led {
                true => delegated(&mount, &own),
                false => beneath_init(&mount, &own, &init),
            };
            match found {
                Ok(root) => return Ok(root),
                Err(other) => why = other,
            }
        }
        Err(why)
    }

    /// The hierarchy at a mount, with ours beginning in the group `base` (a path below the mount).
    ///
    /// # Errors
    /// A sentence about the path.
    pub fn at(point: &str, base: &str) -> Result<Self, String> {
        let directory = cgroup::open(point).map_err(|error| error.to_string())?;
        open_beneath(&directory, base).map_err(|error| error.to_string())?;
        Ok(Self {
            directory,
            point: point.into(),
            base: match base {
                "" => String::new(),
                base => format!("/{base}"),
            },
        })
    }

    /// Removes the group of an earlier activation, if nobody is in it.
    pub(super) fn forget(&self, path: &str, parent: &OwnedFd, name: &str) -> Result<(), Failure> {
        let group = open_beneath(parent, name).or_fail(Stage::ControlGroup, path)?;
        if cgroup::is_populated(&group).or_fail(Stage::ControlGroup, path)? {
            let why = "is there already, and processes are in it";
            return Err(Failure::new(Stage::ControlGroup, path, why));
        }
        self.remove(path, Duration::ZERO)
    }
}

/// systemd's tree is systemd's: ours begin in the innermost group above us that it has given away.
fn delegated(mount: &Mount, own: &str) -> Result<Root, String> {
    let own = tree::group_of(own).and_then(|group| tree::below(mount, group));
    let own = own.ok_or("the daemon's own control group cannot be seen here")?;
    let directory = cgroup::open(&mount.point).map_err(|error| error.to_string())?;
    for group in tree::upwards(own) {
        let opened = open_beneath(&directory, group).map_err(|error| error.to_string())?;
        if cgroup::is_delegated(opened) {
            return Root::at(&mount.point, group);
        }
    }
    Err(format!(
        "systemd owns the control groups, and has not given the daemon any: its unit ({own}) needs Delegate=yes"
    ))
}

/// Beneath process 1, whose group is the root of the host or of the container. Where that cannot be seen (a container whose
/// process 1 was moved outside), beneath our own.
fn beneath_init(mount: &Mount, own: &str, init: &str) -> Result<Root, String> {
    [init, own]
        .into_iter()
        .find_map(|text| tree::below(mount, tree::group_of(text)?))
        .ok_or_else(|| String::from("the control group of process 1 cannot be seen here"))
        .and_then(|base| Root::at(&mount.point, base))
}
