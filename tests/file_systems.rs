//! State on the file systems that hosts have, of whoever's it was before, as a service of another number
//! sees it: what is mapped, what is given, what goes through and what does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::state::{Host, OWNERS};
use support::volumes::Volume;

/// What a service does with a tree that was laid, as `NAME: RESULT` lines.
const USE: &str = r#"cd /var/lib/vol; me=$(id -u)
say() { echo "$1: $2"; }
try() { what=$1; shift; out=$("$@" 2>&1) && say "$what" "works" || say "$what" "${out##*: }"; }
say uid $me
say 'not mine' "$(find . ! -user $me | sort | tr '\n' ' ')"
say 'group not mine' "$(find . ! -group $me | sort | tr '\n' ' ')"
say read "$(cat file link dir/inner hard | tr '\n' ' ')"
try append sh -c 'echo more >> file'
try create sh -c 'echo new > new'
try directory mkdir new-dir
try symlink ln -s new new-link
try 'follow a symlink' cat new-link
try 'symlink out' sh -c 'ln -s /etc/shadow out && ! cat out 2>/dev/null'
try 'hard link' ln file harder
say links "$(stat -c %h file)"
try 'hard link to another mount' ln file /var/lib/other/file
try rename mv dir moved
try remove rm hard
try fifo sh -c 'cat fifo & echo through > fifo; wait'
try lock flock file true
try chmod chmod 640 new
try 'chown to root' chown 0 new
try 'chgrp to root' chgrp 0 new
try acl setfacl -m u:$me:rwx new
say 'acl seen' "$(getfacl -cn new 2>&1 | grep -c "^user:$me:rwx")"
try 'acl of a former owner' sh -c "getfacl -cn file | grep -q ^user:$me:rw-"
try 'set-user-id' chmod 4755 new-dir
cp /usr/bin/true program; try execute ./program
say 'own set-id' "$(./own-set-id -u) $(./own-set-id -ru)"
say 'root set-id' "$(./root-set-id -u) $(./root-set-id -g)"
say capability "$(./capable CapEff /proc/self/status | tr -d '[:space:]')"
try 'device node' head -c1 zero
try 'root file' cat root-file
"#;

fn expected(uid: &str, volume: Volume) -> String {
    // What is given leaves devices out: whose one is, somebody else has decided.
    let zero = if volume.maps() { "" } else { "./zero " };
    format!(
        "uid: {uid}
not mine: ./root-file ./root-set-id {zero}
group not mine: ./root-file ./root-set-id {zero}
read: kept kept inner kept 
append: works
create: works
directory: works
symlink: works
follow a symlink: works
symlink out: works
hard link: works
links: 3
hard link to another mount: Invalid cross-device link
rename: works
remove: works
fifo: works
lock: works
chmod: works
chown to root: Operation not permitted
chgrp to root: Operation not permitted
acl: works
acl seen: 1
acl of a former owner: works
set-user-id: Operation not permitted
execute: works
own set-id: {uid} {uid}
root set-id: {uid} {uid}
capability: CapEff:0000000000000000
device node: Permission denied
root file: Permission denied
"
    )
}

/// Everything, on one file system.
fn everything_works_on(volume: Volume) {
    let host = Host::on(volume);
    for owner in OWNERS {
        let what = format!("{volume:?}, state of {owner}");
        host.lay(owner);
        let seen = host.run("guest", &["StateDirectory=vol other"], USE).ok();
        let uid = seen
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("uid: "))
            .expect("a number");
        assert_ne!(uid, owner.to_string(), "{what}");
        assert_eq!(seen, expected(uid, volume), "{what}");

        // On disk. What the service has made is the owner's, too.
        let whose = if volume.maps() {
            owner.to_string()
        } else {
            uid.to_owned()
        };
        assert_eq!(host.owners(), format!("{whose}:{whose}\n"), "{what}");
        assert!(
            host.list("new").contains(&format!("user:{whose}:rwx")),
            "{what}"
        );
        let file = host.list("file");
        assert!(
            file.contains(&format!("user:{whose}:rw-")),
            "{what}: {file}"
        );
        assert!(file.contains("user:1:r--"), "{what}: {file}");
        let default = host.list("moved");
        assert!(
            default.contains(&format!("default:user:{whose}:rwx")),
            "{what}: {default}"
        );
        let root =
            "stat -c '%a %u:%g' /var/lib/private/vol/root-file; cat /var/lib/private/vol/root-file";
        assert_eq!(host.arena.sh(root).ok(), "600 0:0\nsecret\n", "{what}");
        let mode = host
            .arena
            .run(["stat", "-c", "%a", "/var/lib/private/vol/own-set-id"])
            .ok();
        // What is given loses the bits: they would be those of another user than the one who set them.
        assert_eq!(
            mode,
            if volume.maps() { "6755\n" } else { "755\n" },
            "{what}"
        );
    }
}

#[test]
fn everything_works_on_ext4() {
    everything_works_on(Volume::Ext4);
}

#[test]
fn everything_works_on_xfs() {
    everything_works_on(Volume::Xfs);
}

#[test]
fn everything_works_on_btrfs() {
    everything_works_on(Volume::Btrfs);
}

#[test]
fn everything_works_on_tmpfs() {
    everything_works_on(Volume::Tmpfs);
}

#[test]
fn everything_works_on_overlayfs() {
    everything_works_on(Volume::Overlay);
}
