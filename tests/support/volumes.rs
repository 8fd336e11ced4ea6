//! File systems of several kinds inside an arena, on loop devices where they need a disk. They go with the
//! arena: a loop device frees itself when the last mount of it goes.

use super::Arena;

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Volume {
    Ext4,
    Xfs,
    Btrfs,
    Tmpfs,
    /// Both layers on a tmpfs.
    Overlay,
}

/// All of them.
pub(crate) const VOLUMES: [Volume; 5] = [
    Volume::Ext4,
    Volume::Xfs,
    Volume::Btrfs,
    Volume::Tmpfs,
    Volume::Overlay,
];

/// /dev is the arena's own. 64 is far more than are ever in use at once; a further one would be named by `mount`.
const LOOP_DEVICES: &str = "[ -e /dev/loop-control ] || mknod -m 600 /dev/loop-control c 10 237
    n=0; while [ $n -lt 64 ]; do [ -e /dev/loop$n ] || mknod -m 600 /dev/loop$n b 7 $n; n=$((n+1)); done";

impl Volume {
    /// Mounts a fresh one at `path` of the arena, root's, with mode 0755. `/media` is its disk.
    pub(crate) fn mount(self, arena: &Arena, path: &str) {
        let disk = "mount -t tmpfs -o mode=755 disk /media";
        // The least that xfs can be made with.
        let image = "truncate -s 320M /media/image";
        let make = match self {
            Self::Tmpfs => format!("mount -t tmpfs -o mode=755 volume {path}"),
            Self::Overlay => format!(
                "{disk}; mkdir /media/lower /media/upper /media/work; mount -t overlay \
                 -o lowerdir=/media/lower,upperdir=/media/upper,workdir=/media/work volume {path}"
            ),
            Self::Ext4 => format!("{disk}; {image}; mkfs.ext4 -q -F /media/image"),
            Self::Xfs => format!("{disk}; {image}; mkfs.xfs -q -f /media/image"),
            Self::Btrfs => format!("{disk}; {image}; mkfs.btrfs -q -f /media/image"),
        };
        arena.sh(&format!("set -e; {make}")).ok();
        if matches!(self, Self::Ext4 | Self::Xfs | Self::Btrfs) {
            arena.sh(LOOP_DEVICES).ok();
            let output = arena.run(["mount", "-o", "loop", "/media/image", path]);
            assert!(
                output.status.success(),
                "this test needs a loop device and the kernel's {self:?}, as root of the machine: {output}"
            );
        }
        arena.run(["chmod", "755", path]).ok();
    }

    /// Whether the kernel can show a directory of it with other owners: EINVAL on overlayfs, as of Linux 6.18.
    /// The day it can, the tests say so, and this line goes.
    pub(crate) fn maps(self) -> bool {
        self != Self::Overlay
    }
}
