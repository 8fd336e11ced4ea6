//! The unified hierarchy in an arena: beneath a group of its own, which goes with it.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::{Arena, wait_until};

/// Where it is mounted in the arena.
pub(crate) const POINT: &str = "/sys/fs/cgroup";

/// The group that all of an arena is in. To be dropped after the arena.
pub(crate) struct ControlGroups {
    hierarchy: File,
    pub(crate) name: String,
}

impl ControlGroups {
    /// Mounts the hierarchy in an arena and puts its PID 1 into a group: there `dynuser` begins its own.
    pub(crate) fn mount(arena: &Arena) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("dynuser-daemons-{}-{number}", std::process::id());
        let script =
            "mount -t cgroup2 none \"$0\" && mkdir \"$0/$1\" && echo 1 >\"$0/$1/cgroup.procs\"";
        arena.run(["sh", "-c", script, POINT, &name]).ok();
        let hierarchy = arena.within(|| File::open(POINT)).expect("the hierarchy");
        Self { hierarchy, name }
    }
}

impl Drop for ControlGroups {
    fn drop(&mut self) {
        let group = format!("/proc/self/fd/{}/{}", self.hierarchy.as_raw_fd(), self.name);
        // What is in it has been killed with the arena, which the group may hear of a little later.
        wait_until("the group is gone", || {
            remove(&group);
            !fs::exists(&group).expect("the hierarchy")
        });
    }
}

/// Removes a group with those beneath it, as far as nobody is in them.
fn remove(group: &str) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path().to_string_lossy());
        }
    }
    let _busy = fs::remove_dir(group);
}
