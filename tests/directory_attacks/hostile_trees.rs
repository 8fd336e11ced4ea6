//! Trees that were built against whoever gives, maps, moves or removes them.

use super::support::directories::{KEEPER, host};
use super::support::volumes::Volume;
use super::support::{Arena, wait_until};
use super::{Attacks, Output, lay_victims, run, victims};

/// A way in which a tree becomes a service's.
struct Way {
    what: &'static str,
    /// What is at /var/lib: a file system of this kind, or ramfs.
    volume: Option<Volume>,
    owner: u32,
    /// Where the tree is before.
    at: &'static str,
    properties: &'static [&'static str],
    /// Whether the entries of the owner get another one on disk.
    gives: bool,
}

const STATIC: &[&str] = &["DynamicUser=no", "User=keeper", "StateDirectory=foo"];
const ROOT: &[&str] = &["DynamicUser=no", "StateDirectory=foo"];
const DYNAMIC: &[&str] = &["StateDirectory=foo"];

const PUBLIC: &str = "/var/lib/foo";
const PRIVATE: &str = "/var/lib/private/foo";

const fn way(
    what: &'static str,
    volume: Option<Volume>,
    owner: u32,
    at: &'static str,
    properties: &'static [&'static str],
    gives: bool,
) -> Way {
    Way {
        what,
        volume,
        owner,
        at,
        properties,
        gives,
    }
}

const WAYS: [Way; 14] = [
    way(
        "mapped",
        Some(Volume::Tmpfs),
        61300,
        PRIVATE,
        DYNAMIC,
        false,
    ),
    way(
        "mapped, ext4",
        Some(Volume::Ext4),
        61300,
        PRIVATE,
        DYNAMIC,
        false,
    ),
    way(
        "moved and mapped",
        Some(Volume::Tmpfs),
        61300,
        PUBLIC,
        DYNAMIC,
        false,
    ),
    way(
        "a static user's, mapped",
        Some(Volume::Tmpfs),
        KEEPER.1,
        PUBLIC,
        DYNAMIC,
        false,
    ),
    way(
        "root's, given",
        Some(Volume::Tmpfs),
        0,
        PRIVATE,
        DYNAMIC,
        true,
    ),
    way(
        "root's, moved and given",
        Some(Volume::Tmpfs),
        0,
        PUBLIC,
        DYNAMIC,
        true,
    ),
    way(
        "given, overlayfs",
        Some(Volume::Overlay),
        61300,
        PRIVATE,
        DYNAMIC,
        true,
    ),
    way(
        "moved and given, overlayfs",
        Some(Volume::Overlay),
        61300,
        PUBLIC,
        DYNAMIC,
        true,
    ),
    way(
        "root's, given, overlayfs",
        Some(Volume::Overlay),
        0,
        PRIVATE,
        DYNAMIC,
        true,
    ),
    way("given, ramfs", None, 61300, PRIVATE, DYNAMIC, true),
    way(
        "comes out to root",
        Some(Volume::Tmpfs),
        61300,
        PRIVATE,
        ROOT,
        true,
    ),
    way(
        "comes out to a static user",
        Some(Volume::Ext4),
        61300,
        PRIVATE,
        STATIC,
        true,
    ),
    way(
        "comes out to root, overlayfs",
        Some(Volume::Overlay),
        61300,
        PRIVATE,
        ROOT,
        true,
    ),
    way(
        "in public, given to root",
        Some(Volume::Tmpfs),
        KEEPER.1,
        PUBLIC,
        ROOT,
        true,
    ),
];

/// What is hostile in it, each made in an empty directory of its own. OWNER is its number.
const ENTRIES: [(&str, &str); 20] = [
    ("a link to a file", "ln -s /srv/victim/file x"),
    ("a link to a directory", "ln -s /srv/victim x"),
    (
        "a relative link out",
        "ln -s ../../../../../srv/victim x; ln -s ../../../victim y",
    ),
    (
        "a link to an account file",
        "ln -s /etc/passwd x; ln -s /etc/shadow y",
    ),
    (
        "a chain of links",
        "ln -s y x; ln -s z y; ln -s /srv/victim z",
    ),
    ("a link to itself", "ln -s x x"),
    (
        "a link through /proc",
        "ln -s /proc/1/root/srv/victim x; ln -s /proc/self/fd/3 y",
    ),
    ("a hard link to root's file", "ln /var/lib/victim/file x"),
    (
        "a hard link to root's set-ID program",
        "ln /var/lib/victim/program x",
    ),
    (
        "a hard link to another user's file",
        "ln /var/lib/victim/others x",
    ),
    (
        "set-ID programs",
        "cp /usr/bin/id x; chown OWNER:OWNER x; chmod 6755 x; cp /usr/bin/id y; chmod 6755 y",
    ),
    (
        "a set-ID directory",
        "mkdir x; chown OWNER:OWNER x; chmod 7777 x",
    ),
    ("a FIFO", "mkfifo x; chown OWNER:OWNER x"),
    (
        "a device",
        "mknod x c 1 5; mknod y b 240 7; chown OWNER:OWNER x y; chmod 666 x y",
    ),
    (
        "a socket",
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"x\")'; chown OWNER:OWNER x",
    ),
    (
        "names with line ends",
        "mkdir \"$(printf 'a\\nb')\"; touch \"$(printf 'a\\nb/\\n')\"; chown -R OWNER:OWNER .",
    ),
    (
        "names that are no text",
        "mkdir \"$(printf 'a\\377\\001')\"; touch \"$(printf 'a\\377\\001/\\033[31m')\"; chown -R OWNER:OWNER .",
    ),
    (
        "names of 255 bytes",
        "n=$(printf %255s | tr ' ' x); mkdir $n; touch $n/$n; chown -R OWNER:OWNER .",
    ),
    (
        "names like options and links",
        "mkdir -- --reference=x '*' '$(id)'; touch -- -R '..x' dynuser-1; chown -R OWNER:OWNER .",
    ),
    (
        "what is deep",
        "p=$(printf %300s | sed 's: :dddddddd/:g'); for n in 1 2 3 4 5; do mkdir -p $p; cd $p; done; touch x",
    ),
];

/// Lays the tree, with a mount of the victims and one of a file system in it.
fn lay(arena: &Arena, way: &Way) {
    match way.volume {
        Some(volume) => volume.mount(arena, "/var/lib"),
        None => drop(arena.sh("mount -t ramfs -o mode=755 ram /var/lib").ok()),
    }
    lay_victims(arena);
    let top = way.at;
    let mut script =
        format!("umask 022; mkdir -m 700 /var/lib/private; mkdir {top}; chown OWNER:OWNER {top}\n");
    if top == PRIVATE {
        script.push_str("ln -s private/foo /var/lib/foo\n");
    }
    for (number, (_, make)) in ENTRIES.iter().enumerate() {
        let folder = format!("{top}/{number}");
        script.push_str(&format!(
            "(mkdir {folder} && chown OWNER:OWNER {folder} && cd {folder} && {make})\n"
        ));
    }
    script.push_str(&format!(
        "mkdir {top}/bound {top}/mounted {top}/kept; mount --bind /srv/victim {top}/bound; mount -t tmpfs x {top}/mounted
         echo kept > {top}/kept/file; chown -R OWNER:OWNER {top}/kept"
    ));
    arena
        .sh(&script.replace("OWNER", &way.owner.to_string()))
        .ok();
}

/// What a service tries with all that it finds.
const EVIL: &str = "cat /var/lib/foo/kept/file; cd /var/lib/foo/; {
    find . -exec chmod 4777 {} + -exec chown -h $(id -u) {} +
    find . -name '[xyz]' -exec sh -c 'for f; do [ -p $f ] || echo evil >> $f; echo evil > $f/new; done' sh {} +
    for x in */x bound; do rm -f $x/file $x/others; cat $x/file; cat $x/dir/file; done; } >/dev/null 2>&1; true";

/// What an administrator does who is told that something could not be given.
const TIDY: &str =
    "cd /var/lib/private/foo && umount bound mounted && find . -xdev -uid 61300 -delete";
const MOUNT_AGAIN: &str =
    "cd /var/lib/foo/ && mount --bind /srv/victim bound && mount -t tmpfs x mounted";

fn check_clean(arena: &Arena, what: &str, victims_before: &str) {
    let mounted = arena.run(["dynuser", "clean", "foo", "--what=all"]);
    assert!(!mounted.status.success(), "{what}: {mounted}");
    assert!(mounted.stderr.contains("unmount it"), "{what}: {mounted}");
    assert_eq!(victims(arena), victims_before, "{what}: removed in part");
    let script = "for it in bound mounted; do umount /var/lib/foo/$it 2>/dev/null || umount /var/lib/private/foo/$it; done";
    arena.sh(script).ok();
    arena.run(["dynuser", "clean", "foo", "--what=all"]).ok();
    let left = arena
        .sh("ls -d /var/lib/foo /var/lib/private/foo 2>/dev/null; true")
        .ok();
    assert_eq!(left, "", "{what}");
    assert_eq!(victims(arena), victims_before, "{what}: removed");
}

#[test]
fn a_hostile_tree_harms_nobody_who_gives_maps_moves_or_removes_it() {
    let mut attacks = Attacks::of("hostile entries, by way and removal");
    for way in &WAYS {
        let arena = host();
        lay(&arena, way);
        let _taken = arena.process_of(61300);
        let what = format!("{}: {} of {}", way.what, way.at, way.owner);
        let before = victims(&arena);
        // Root would do as it is told.
        let script = if way.properties == ROOT {
            "cat /var/lib/foo/kept/file"
        } else {
            EVIL
        };
        let comes_out = way.at == PRIVATE && way.properties != DYNAMIC;
        if comes_out {
            // What cannot be given must not lie open one day to whoever has its number.
            let refused = run(&arena, "foo", way.properties, script);
            assert_eq!(refused.status.code(), Some(238), "{what}: {refused}");
            assert!(refused.stderr.contains("could not be given"), "{refused}");
            assert_eq!(victims(&arena), before, "{what}: refused");
            arena.sh(TIDY).ok();
        }
        let seen = run(&arena, "foo", way.properties, script);
        assert!(seen.stdout.starts_with("kept\n"), "{what}: {seen}");
        if comes_out {
            arena.sh(MOUNT_AGAIN).ok();
        }
        assert_eq!(victims(&arena), before, "{what}");
        if way.gives {
            let tree = if way.properties == DYNAMIC {
                PRIVATE
            } else {
                "/var/lib/foo/"
            };
            let new = arena.sh(&format!("stat -Lc %u {tree}")).ok();
            let script = format!(
                "find {tree} -xdev -uid {} -perm /6000 -links 1 ! -path '*/10/y'; getcap -r {tree} 2>/dev/null; true",
                new.trim()
            );
            // What the service makes itself is its own affair; it can make no such file (tests/set_id.rs).
            assert_eq!(
                arena.sh(&script).ok(),
                "",
                "{what}: set-ID files of the new owner"
            );
        }
        check_clean(&arena, &what, &before);
        for _ in 0..(ENTRIES.len() + 2) * 2 {
            attacks.survived();
        }
    }
}

/// What stands where a directory is to be.
const TOPS: [(&str, &str); 6] = [
    ("a FIFO", "mkfifo TOP"),
    ("a device", "mknod TOP c 1 5"),
    ("a block device", "mknod TOP b 240 7"),
    (
        "a socket",
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"TOP\")'",
    ),
    ("a file", "touch TOP"),
    ("a link to a victim", "ln -s /srv/victim TOP"),
];

#[test]
fn what_is_no_directory_is_neither_taken_nor_removed() {
    let mut attacks = Attacks::of("something else in the place of a directory");
    for (what, make) in TOPS {
        for top in [PUBLIC, PRIVATE] {
            let arena = host();
            lay_victims(&arena);
            arena
                .sh(&format!(
                    "mkdir -m 700 /var/lib/private; {}",
                    make.replace("TOP", top)
                ))
                .ok();
            let look =
                "cd /var/lib; stat -c '%n %F %t:%T %a %u:%g' foo private/foo 2>/dev/null; true";
            let (before, found) = (victims(&arena), arena.sh(look).ok());
            let removal: Output = {
                for properties in [DYNAMIC, STATIC, ROOT] {
                    run(&arena, "foo", properties, "echo up").fails(238);
                    assert_eq!(arena.sh(look).ok(), found, "{what} at {top}");
                    attacks.survived();
                }
                arena.run([
                    "dynuser",
                    "clean",
                    "foo",
                    "--what=all",
                    "-p",
                    "StateDirectory=foo",
                ])
            };
            assert_eq!(arena.sh(look).ok(), found, "{what} at {top}: {removal}");
            assert_eq!(victims(&arena), before, "{what} at {top}");
            attacks.survived();
        }
    }
}

#[test]
fn a_boundary_that_is_a_link_or_somebody_s_is_not_passed() {
    let mut attacks = Attacks::of("a boundary directory that was replaced");
    for (what, make) in [
        (
            "a link to a directory of anybody's",
            "mkdir -m 1777 /srv/open; ln -s /srv/open /var/lib/private",
        ),
        ("a link to a victim", "ln -s /srv/victim /var/lib/private"),
        (
            "a link to a closed directory of root's",
            "mkdir -m 700 /srv/closed; ln -s /srv/closed /var/lib/private",
        ),
        (
            "a directory of a user's",
            "mkdir -m 700 /var/lib/private; chown 1000:1000 /var/lib/private",
        ),
        (
            "a directory of a group's",
            "mkdir -m 770 /var/lib/private; chgrp 1000 /var/lib/private",
        ),
        ("an open directory", "mkdir -m 755 /var/lib/private"),
        ("a file", "touch /var/lib/private"),
    ] {
        let arena = host();
        lay_victims(&arena);
        run(&arena, "foo", DYNAMIC, "echo kept > $STATE_DIRECTORY/file").ok();
        let replace = format!(
            "set -e; mv /var/lib/private /var/lib/moved; {make}; cp -a /var/lib/moved/foo /srv/"
        );
        arena.sh(&replace).ok();
        let look =
            "find /srv /var/lib/moved /var/lib/private -printf '%p %y %m %U:%G %l\\n' | sort";
        let (before, found) = (victims(&arena), arena.sh(look).ok());
        for properties in [DYNAMIC, &["StateDirectory=new"]] {
            let why = run(&arena, "foo", properties, "echo up").fails(238);
            assert!(why.contains("boundary directory"), "{what}: {why}");
            attacks.survived();
        }
        for words in [&["clean", "foo", "--what=all"][..], &["gc"]] {
            arena.run([&["dynuser"], words].concat());
            assert_eq!(arena.sh(look).ok(), found, "{what}: {words:?}");
            attacks.survived();
        }
        // Others are not kept from theirs.
        run(&arena, "other", &["CacheDirectory=other"], "true").ok();
        assert_eq!(victims(&arena), before, "{what}");
        wait_until("nothing is left", || arena.list().is_empty());
    }
}
