//! What a service leaves in its tree so that it can neither be removed nor given back to anybody.

use super::support::Running;
use super::support::directories::{KEEPER, host};
use super::support::volumes::Volume;
use super::{Arena, Attacks, lay_victims, run, victims};

/// Gives directories to several projects, so that none can be moved into another's.
const PROJECTS: &str = r#"
import fcntl, os, struct
def give(path, project):
    fd = os.open(path, os.O_RDONLY)
    found = bytearray(28)
    fcntl.ioctl(fd, 0x801c581f, found)
    flags, extent, extents, _, cow = struct.unpack("IIIII", bytes(found[:20]))
    fcntl.ioctl(fd, 0x401c5820, struct.pack("IIIII8x", flags | 0x200, extent, extents, project, cow))
    os.close(fd)
path = os.environ["STATE_DIRECTORY"]
give(path, 1)
for project in range(2, 40):
    path += "/d"
    os.mkdir(path)
    give(path, project)
    open(path + "/file", "w").close()
"#;

/// Subvolumes in each other, with directories of each, and snapshots that nobody may write to.
const SUBVOLUMES: &str = "set -e; cd $STATE_DIRECTORY; for n in 1 2 3 4 5 6 7 8 9 10 11 12; do btrfs -q subvolume create sub
    mkdir -p sub/d/e/f/g; touch sub/d/e/f/g/file; btrfs -q subvolume snapshot -r sub ro; cd sub/d/e/f; done";

#[test]
fn a_tree_of_which_parts_cannot_be_moved_is_removed_all_the_same() {
    let mut attacks = Attacks::of("a tree that cannot be moved together");
    for (volume, plant) in [
        (Volume::Xfs, "python3 /srv/projects.py"),
        (Volume::Btrfs, SUBVOLUMES),
        // What the host brought along in a lower layer.
        (Volume::Overlay, "true"),
    ] {
        let arena = host();
        volume.mount(&arena, "/var/lib");
        lay_victims(&arena);
        let before = victims(&arena);
        arena.put("/srv/projects.py", PROJECTS, 0o644);
        run(&arena, "foo", &["StateDirectory=foo"], plant).ok();
        if volume == Volume::Overlay {
            let script = "set -e; umount /var/lib; mkdir -p /media/lower/foo/a/b/c/d/e/f; touch /media/lower/foo/a/b/c/file
                mount -t overlay -o lowerdir=/media/lower,upperdir=/media/upper,workdir=/media/work x /var/lib";
            arena.kill_daemons();
            arena.sh("rm -rf /var/lib/foo /var/lib/private/foo").ok();
            arena.sh(script).ok();
            run(
                &arena,
                "foo",
                &["StateDirectory=foo"],
                "test -e /var/lib/foo/a/b/c/file",
            )
            .ok();
        }
        arena.run(["dynuser", "clean", "foo", "--what=all"]).ok();
        let left = arena
            .sh("ls -d /var/lib/foo /var/lib/private/foo 2>/dev/null; true")
            .ok();
        assert_eq!(left, "", "{volume:?}");
        assert_eq!(victims(&arena), before, "{volume:?}");
        attacks.survived();
    }
}

/// A file system of a user of the host, who answers nobody.
fn mounted_by(arena: &Arena, uid: u32, path: &str) -> Running {
    let script = format!(
        "[ -e /dev/fuse ] || mknod /dev/fuse c 10 229; exec 7<>/dev/fuse
         mount -t fuse -o fd=7,rootmode=40000,user_id={uid},group_id={uid} user {path}
         echo mounted; exec sleep 1000"
    );
    let mut user = arena.spawn(["sh", "-ec", &script]);
    assert_eq!(user.line(), "mounted");
    user
}

#[test]
fn a_file_system_of_a_user_of_the_host_stops_nobody() {
    let mut attacks = Attacks::of("a file system that only its user may look at");
    let arena = host();
    arena
        .sh("mkdir /var/lib/users; chown 1000:1000 /var/lib/users")
        .ok();
    let _user = mounted_by(&arena, 1000, "/var/lib/users");
    run(&arena, "foo", &["StateDirectory=foo"], "true").ok();
    attacks.survived();
    arena
        .sh("mkdir /var/lib/private/orphan; ln -s private/orphan /var/lib/orphan")
        .ok();
    assert!(
        arena
            .run(["dynuser", "gc"])
            .ok()
            .contains("/var/lib/private/orphan")
    );
    attacks.survived();
    run(&arena, "foo", &["StateDirectory=foo"], "true").ok();
    arena.run(["dynuser", "clean", "foo", "--what=state"]).ok();
    attacks.survived();

    // Over a tree of his that is used where it is.
    let make = "mkdir /var/lib/kept; mount --bind /var/lib/kept /var/lib/kept; chown keeper:keeper /var/lib/kept";
    arena.sh(make).ok();
    run(&arena, "kept", &["StateDirectory=kept"], "true").ok();
    let _keeper = mounted_by(&arena, KEEPER.1, "/var/lib/kept");
    arena.kill_daemons();
    run(&arena, "foo", &["StateDirectory=foo"], "true").ok();
    attacks.survived();
}
