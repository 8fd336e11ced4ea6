//! More of state on the file systems that hosts have: groups, what is mounted below, read-only views, moves, and
//! the lower layer of an overlay.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::directories::{FRIENDS, KEEPER, host};
use support::state::{Host, OWNERS};
use support::volumes::{VOLUMES, Volume};

#[test]
fn a_member_of_a_group_can_give_files_to_it_in_a_tree_of_another_owner() {
    let (name, number) = KEEPER;
    let (friends, group) = FRIENDS;
    for volume in VOLUMES {
        let host = Host::on(volume);
        for owner in [61300, 65534] {
            let what = format!("{volume:?}, state of {owner}");
            host.lay(owner);
            let ours =
                "cd /var/lib/private/vol && echo ours > ours && chown 0:$0 ours && chmod 060 ours";
            host.arena.run(["sh", "-c", ours, &group.to_string()]).ok();
            let script = format!(
                "cd /var/lib/vol; id -u; cat ours; touch new; chgrp {friends} new && stat -c %G new; \
                 mkdir dir/shared && chgrp {friends} dir/shared && stat -c %U:%G dir/shared"
            );
            let user = format!("User={name}");
            let seen = host.run(
                name,
                &[&user, "DynamicUser=yes", "StateDirectory=vol"],
                &script,
            );
            let expected = format!("{number}\nours\n{friends}\n{name}:{friends}\n");
            assert_eq!(seen.stdout, expected, "{what}: {seen}");
            let whose = if volume.maps() { owner } else { number };
            let disk = host
                .arena
                .sh("cd /var/lib/private/vol && stat -c %u:%g new dir/shared")
                .ok();
            assert_eq!(disk, format!("{whose}:{group}\n").repeat(2), "{what}");
        }
    }
}

#[test]
fn a_file_system_mounted_below_is_mapped_with_the_rest() {
    for volume in VOLUMES {
        let host = Host::on(volume);
        for owner in OWNERS {
            let what = format!("{volume:?}, state of {owner}");
            host.lay(owner);
            let mount = "mkdir /var/lib/private/vol/sub && cd /var/lib/private/vol/sub && \
                mount -t tmpfs -o mode=755,uid=$0,gid=$0 sub . && cd /var/lib/private/vol/sub && \
                echo below > file && mkdir deep && echo deeper > deep/file && chown -R $0:$0 .";
            host.arena.run(["sh", "-c", mount, &owner.to_string()]).ok();
            let script = "cd /var/lib/vol/sub; cat file deep/file; touch ../new; echo new > new; cat new; \
                find . ! -user $(id -u)";
            let seen = host.run("guest", &["StateDirectory=vol"], script);
            if volume.maps() {
                assert_eq!(seen.stdout, "below\ndeeper\nnew\n", "{what}: {seen}");
            } else {
                // What is given is this file system's alone; the other one is there, and as it was.
                assert!(seen.stdout.starts_with("below\ndeeper\n"), "{what}: {seen}");
            }
            let disk = "find /var/lib/private/vol/sub -printf '%U:%G\\n' | sort -u";
            assert_eq!(
                host.arena.sh(disk).ok(),
                format!("{owner}:{owner}\n"),
                "{what}"
            );
            host.arena.run(["umount", "/var/lib/private/vol/sub"]).ok();
        }
    }
}

#[test]
fn a_file_system_below_that_cannot_be_mapped_does_not_keep_the_rest_from_it() {
    for volume in [Volume::Tmpfs, Volume::Ext4] {
        let host = Host::on(volume);
        for owner in OWNERS {
            let what = format!("{volume:?}, state of {owner}");
            host.lay(owner);
            // ramfs has no maps.
            let mount = "mkdir /var/lib/private/vol/sub && mount -t ramfs sub /var/lib/private/vol/sub && \
                chmod 1777 /var/lib/private/vol/sub && echo below > /var/lib/private/vol/sub/file";
            host.arena.sh(mount).ok();
            let script = "cd /var/lib/vol; cat file sub/file; stat -c %u . file; touch new sub/new && echo both";
            let seen = host
                .run(
                    "guest",
                    &["StateDirectory=vol"],
                    &format!("id -u; {script}"),
                )
                .ok();
            let (uid, rest) = seen.split_once('\n').expect("lines");
            assert_eq!(rest, format!("kept\nbelow\n{uid}\n{uid}\nboth\n"), "{what}");
            assert_eq!(
                host.arena
                    .sh("cd /var/lib/private/vol; stat -c %u new file sub/new")
                    .ok(),
                format!("{owner}\n{owner}\n{uid}\n"),
                "{what}"
            );
            host.arena.run(["umount", "/var/lib/private/vol/sub"]).ok();
        }
    }
}

#[test]
fn a_tree_with_the_flag_ro_is_its_own_and_not_writable() {
    for volume in VOLUMES {
        let host = Host::on(volume);
        for owner in OWNERS {
            let what = format!("{volume:?}, state of {owner}");
            host.lay(owner);
            let script = "cd /var/lib/vol; cat file; [ $(stat -c %u file) = $(id -u) ] && echo mine
                touch new; echo more >> file; chmod 700 .; rm file";
            let seen = host.run("guest", &["StateDirectory=vol::ro"], script);
            assert_eq!(seen.stdout, "kept\nmine\n", "{what}: {seen}");
            let errors: Vec<&str> = seen.stderr.lines().collect();
            assert_eq!(errors.len(), 4, "{what}: {seen}");
            for error in errors {
                assert!(error.ends_with("Read-only file system"), "{what}: {seen}");
            }
        }
    }
}

#[test]
fn a_public_tree_on_every_file_system_is_moved_and_comes_back() {
    for volume in VOLUMES {
        let host = Host::on(volume);
        host.arena
            .sh("mkdir /var/lib/zzz && echo 0 > /var/lib/zzz/file")
            .ok();
        let step = |name: &str, properties: &[&str], number: u32| {
            let properties = [&["StateDirectory=zzz"], properties].concat();
            let script = format!("cat /var/lib/zzz/file; echo {number} > /var/lib/zzz/file; id -u");
            let seen = host.run(name, &properties, &script).ok();
            let (before, uid) = seen.split_once('\n').expect("lines");
            assert_eq!(before, (number - 1).to_string(), "{volume:?}");
            let owners = host
                .arena
                .sh("stat -L -c %u /var/lib/zzz /var/lib/zzz/file")
                .ok();
            (
                uid.trim().to_owned(),
                owners,
                host.arena.sh("readlink /var/lib/zzz || true").ok(),
            )
        };
        let (uid, owners, link) = step("guest", &["DynamicUser=yes"], 1);
        assert_eq!(
            (owners, link.as_str()),
            (format!("{uid}\n{uid}\n"), "private/zzz\n"),
            "{volume:?}"
        );
        let (_, owners, link) = step("kept", &["DynamicUser=no", "User=keeper"], 2);
        assert_eq!(
            (owners.as_str(), link.as_str()),
            ("5000\n5000\n", ""),
            "{volume:?}"
        );
        let (uid, owners, link) = step("guest", &["DynamicUser=yes"], 3);
        let whose = if volume.maps() { "5000" } else { &uid };
        assert_eq!(
            (owners, link.as_str()),
            (format!("{whose}\n{whose}\n"), "private/zzz\n"),
            "{volume:?}"
        );
        let (_, owners, link) = step("roots", &["DynamicUser=no"], 4);
        assert_eq!(
            (owners.as_str(), link.as_str()),
            ("0\n0\n", ""),
            "{volume:?}"
        );
    }
}

#[test]
fn a_directory_of_an_overlay_s_lower_layer_is_used_where_it_is() {
    // The kernel cannot rename it (EXDEV), as in an image that a container was made of.
    let arena = host();
    arena
        .sh("set -e; mount -t tmpfs disk /media; mkdir -p /media/lower/zzz/deep /media/upper /media/work
             chmod 755 /media/lower; echo kept > /media/lower/zzz/file; echo deep > /media/lower/zzz/deep/file
             mount -t overlay -o redirect_dir=off,lowerdir=/media/lower,upperdir=/media/upper,workdir=/media/work \
             volume /var/lib")
        .ok();
    for number in 0..2 {
        let script = format!(
            "cd /var/lib/zzz; cat file deep/file; echo {number} > new-{number}; find . ! -user $(id -u)"
        );
        let words = [
            "dynuser",
            "run",
            "-u",
            "guest",
            "-p",
            "StateDirectory=zzz",
            "sh",
            "-c",
            &script,
        ];
        assert_eq!(arena.run(words).ok(), "kept\ndeep\n");
        arena.wait_until_idle();
        assert_eq!(
            arena.sh("stat -c '%F %a' /var/lib/zzz").ok(),
            "directory 700\n"
        );
    }
    let words = [
        "dynuser",
        "run",
        "-u",
        "roots",
        "-p",
        "DynamicUser=no",
        "-p",
        "StateDirectory=zzz",
    ];
    let script = [
        "sh",
        "-c",
        "cd /var/lib/zzz; ls | tr '\\n' ' '; find . ! -user 0",
    ];
    assert_eq!(
        arena.run(words.iter().chain(&script)).ok(),
        "deep file new-0 new-1 "
    );
}

#[test]
fn a_tree_of_a_user_whose_group_is_root_s_does_not_let_a_service_make_files_of_that_group() {
    // Mapped as it is, what the service makes would have the group root on disk.
    for volume in VOLUMES {
        let host = Host::on(volume);
        let make = "mkdir /var/lib/private/vol && ln -s private/vol /var/lib/vol && cd /var/lib/vol && \
                    echo kept > file && chown -R 61300:0 . && chmod 770 . && chmod 660 file";
        host.arena.sh(make).ok();
        let script = "cd /var/lib/vol; cat file; echo more >> file; touch new; stat -c %u:%g . file new | sort -u; echo $(id -u):$(id -g)";
        let seen = host.run("guest", &["StateDirectory=vol"], script).ok();
        let lines: Vec<&str> = seen.lines().collect();
        assert_eq!(lines.first(), Some(&"kept"), "{volume:?}: {seen}");
        assert_eq!(
            (lines.len(), lines.get(1)),
            (3, lines.get(2)),
            "{volume:?}: all its own: {seen}"
        );
        let group = host
            .arena
            .run(["stat", "-c", "%g", "/var/lib/private/vol/new"])
            .ok();
        assert_ne!(group, "0\n", "{volume:?}");
    }
}

#[test]
fn a_tree_of_a_user_and_another_group_keeps_both() {
    for volume in VOLUMES {
        let host = Host::on(volume);
        let make = "mkdir /var/lib/private/vol && ln -s private/vol /var/lib/vol && cd /var/lib/vol && \
                    echo kept > file && chown -R 61300:100 . && chmod 770 . && chmod 660 file";
        host.arena.sh(make).ok();
        let script = "cd /var/lib/vol; echo $(id -u):$(id -g); touch new; stat -c %u:%g . file new | sort -u";
        let seen = host.run("guest", &["StateDirectory=vol"], script).ok();
        let lines: Vec<&str> = seen.lines().collect();
        assert_eq!(
            (lines.len(), lines.first()),
            (2, lines.get(1)),
            "{volume:?}: {seen}"
        );
        let disk = host
            .arena
            .run(["stat", "-c", "%u:%g", "/var/lib/private/vol/new"])
            .ok();
        let own = lines.first().copied().unwrap_or_default();
        let expected = if volume.maps() { "61300:100" } else { own };
        assert_eq!(disk.trim_end(), expected, "{volume:?}");
    }
}

#[test]
fn files_of_the_service_s_own_number_in_a_tree_of_another_are_not_its_own() {
    // Whoever had the number before has left them.
    for volume in VOLUMES.into_iter().filter(|volume| volume.maps()) {
        let host = Host::on(volume);
        let uid = host.run("guest", &[], "id -u").ok().trim_end().to_owned();
        let make = format!(
            "mkdir /var/lib/private/vol && ln -s private/vol /var/lib/vol && cd /var/lib/vol && \
             echo secret > file && chmod 600 file && chown {uid}:{uid} file && chown 61300:61300 ."
        );
        host.arena.sh(&make).ok();
        let seen = host.run(
            "guest",
            &["StateDirectory=vol"],
            "id -u; cat /var/lib/vol/file",
        );
        assert_eq!(seen.stdout, format!("{uid}\n"), "{volume:?}: {seen}");
        assert!(
            seen.stderr.contains("Permission denied"),
            "{volume:?}: {seen}"
        );
    }
}
