//! Somebody who changes the tree while it is looked at, given, moved or removed.

use super::support::directories::{KEEPER, host};
use super::support::{Arena, Running};
use super::{Attacks, lay_victims, run, victims};

/// Exchanges, for as long as it lives: directories and files with links to victims and hard links of its own, at the
/// top, in the middle and at the bottom of a tree; what it does not have any more it tries again. SPEED says
/// how often it rests.
const SWAPPER: &str = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
uid, top = int(sys.argv[1]), os.fsencode(sys.argv[2])
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
os.chdir(top)
places = [b".", b"d", b"d/e"]
def swap(folder, one, other):
    libc.renameat2(folder, one, folder, other, 2)
folders = []
for place in places:
    os.makedirs(place, exist_ok=True)
    for name, target in ((b"l1", b"/srv/victim"), (b"l2", b"/srv/victim/file"), (b"l3", b"../victim/file")):
        os.symlink(target, place + b"/" + name)
    os.mkdir(place + b"/sub")
    for name in (b"sub/file", b"file", b"sub/others"):
        open(place + b"/" + name, "w").close()
    folders.append(os.open(place, os.O_RDONLY))
print("ready", flush=True)
n = 0
while True:
    for folder in folders:
        swap(folder, b"sub", b"l1"); swap(folder, b"file", b"l2"); swap(folder, b"file", b"l3")
    n += 1
    if n % 64 == 0 and len(sys.argv) > 3:
        # It grows, too.
        for place in (b"g%d" % n, b"d/g%d" % n):
            try:
                os.makedirs(place + b"/x/y/z")
                open(place + b"/x/file", "w").close()
            except OSError:
                pass
"#;

/// A swapper that is at work.
fn swapper(arena: &Arena, uid: u32, top: &str, grows: bool) -> Running {
    arena.put("/srv/swapper.py", SWAPPER, 0o644);
    let (uid, grows) = (uid.to_string(), if grows { &["grows"][..] } else { &[] });
    let words = ["python3", "/srv/swapper.py", &uid, top];
    let mut swapper = arena.spawn([&words[..], grows].concat());
    assert_eq!(swapper.line(), "ready");
    swapper
}

/// How often each is tried.
const ROUNDS: usize = 6;

/// Who is hostile, where, and what comes over the tree.
const RACES: [(&str, &str, u32, &[&str]); 5] = [
    (
        "given, ramfs",
        "mount -t ramfs -o mode=755 ram /var/lib",
        61300,
        &["StateDirectory=foo"],
    ),
    (
        "given to root, tmpfs",
        "true",
        KEEPER.1,
        &["DynamicUser=no", "StateDirectory=foo"],
    ),
    (
        "given to a static user",
        "true",
        61300,
        &["DynamicUser=no", "User=keeper", "StateDirectory=foo"],
    ),
    ("moved and mapped", "true", 61300, &["StateDirectory=foo"]),
    (
        "adopted and mapped",
        "mkdir -m 700 /var/lib/private; mount -t tmpfs -o mode=700 x /var/lib/private",
        61300,
        &["StateDirectory=foo"],
    ),
];

#[test]
fn whoever_exchanges_what_is_in_a_tree_while_it_is_taken_gains_nothing() {
    let mut attacks = Attacks::of("links put in the place of files and directories, in a race");
    for (what, make, uid, properties) in RACES {
        let arena = host();
        arena.sh(make).ok();
        lay_victims(&arena);
        let before = victims(&arena);
        let _taken = arena.process_of(uid);
        for round in 0..ROUNDS {
            let lay = format!(
                "umask 022; umount -q /var/lib/foo; rm -rf /var/lib/foo /var/lib/private/foo; mkdir -p /var/lib/foo/many
                 cd /var/lib/foo/many; seq 400 | xargs touch; chown -R {uid}:{uid} /var/lib/foo"
            );
            arena.sh(&lay).ok();
            let grows = round % 2 == 0;
            let swapper = swapper(&arena, uid, "/var/lib/foo", grows);
            let output = run(&arena, "foo", properties, "echo up");
            // Somebody who makes as much as we give is told of, and nothing worse.
            let busy = output.stderr.contains("grows meanwhile");
            assert!(output.stdout == "up\n" || busy, "{what}: {output}");
            assert_eq!(victims(&arena), before, "{what}");
            let removal = arena.run(["dynuser", "clean", "foo", "--what=all"]);
            assert_eq!(victims(&arena), before, "{what}, removed: {removal}");
            drop(swapper);
            attacks.survived();
        }
    }
}

#[test]
fn whoever_exchanges_what_is_in_a_tree_while_it_is_removed_gains_nothing() {
    let mut attacks =
        Attacks::of("links put in the place of directories that are removed, in a race");
    let arena = host();
    lay_victims(&arena);
    let before = victims(&arena);
    let properties = [
        "DynamicUser=no",
        "User=keeper",
        "StateDirectory=foo",
        "RuntimeDirectory=foo",
    ];
    for round in 0..ROUNDS {
        let mut service = arena.spawn(
            ["dynuser", "run", "-u", "foo"]
                .into_iter()
                .chain(properties.iter().flat_map(|property| ["-p", property]))
                .chain(["sh", "-c", "cd /run/foo; seq 300 | xargs touch; cd /var/lib/foo; seq 300 | xargs touch; echo up; read line"]),
        );
        assert_eq!(service.line(), "up");
        let swappers =
            ["/run/foo", "/var/lib/foo"].map(|top| swapper(&arena, KEEPER.1, top, round % 2 == 0));
        // The user goes on, the service ends: what it had in /run goes.
        service.say("go");
        assert!(service.end().0.success());
        arena.wait_until_idle();
        attacks.survived();
        let removal = arena.run(["dynuser", "clean", "foo", "--what=all"]);
        drop(swappers);
        assert_eq!(victims(&arena), before, "{removal}");
        arena
            .run([
                "dynuser",
                "clean",
                "foo",
                "--what=all",
                "-p",
                "StateDirectory=foo",
            ])
            .ok();
        assert_eq!(
            arena
                .sh("ls -d /run/foo /var/lib/foo 2>/dev/null; true")
                .ok(),
            ""
        );
        attacks.survived();
    }
}
