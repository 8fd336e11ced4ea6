//! A service's directories follow it when it is switched between a dynamic user and a static one or root,
//! both ways: what systemd's own test of the migration asserts (TEST-34-DYNAMICUSERMIGRATE), and the owners.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod support;

use support::Arena;
use support::directories::{As, KEEPER, KINDS, Kind, host};

/// Whose a tree is on disk.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Root,
    Keeper,
    /// The user of the service itself.
    Service,
}

/// A way through every switch, and the owner on disk after each start.
///
/// systemd gives a tree of root's to nobody, and one of any other owner to the user, recursively and for
/// ever. Here a tree keeps its owner and is mapped, except for root's, whose number is not mapped
/// because a service could then make files of root's.
const WALK: [(As, Owner); 12] = [
    (As::Root, Owner::Root),
    (As::Root, Owner::Root),
    (As::Dynamic("mover"), Owner::Service),
    (As::Dynamic("mover"), Owner::Service),
    (As::Root, Owner::Root),
    (As::Static, Owner::Keeper),
    (As::Dynamic("mover"), Owner::Keeper),
    (As::Dynamic("other"), Owner::Keeper),
    (As::Static, Owner::Keeper),
    (As::Dynamic("other"), Owner::Keeper),
    (As::Root, Owner::Root),
    (As::Dynamic("other"), Owner::Service),
];

/// What a value of the property makes: the directories in the order of the variable, and what is on the
/// host, `OWNER` standing for whose it is.
struct Case {
    value: &'static str,
    directories: &'static [&'static str],
    on: &'static [&'static str],
    off: &'static [&'static str],
}

/// Goes the whole way for one kind and one value. Each start leaves a file in every directory, which
/// all later ones must find, own and be able to write to.
fn walk(arena: &Arena, kind: &Kind, case: &Case) {
    let public: Vec<String> = case.directories.iter().map(|d| kind.public(d)).collect();
    let (list, tops) = (public.join(":"), public.join("/ "));
    let mut expected = String::new();
    for (number, (user, owner)) in WALK.into_iter().enumerate() {
        let what = format!(
            "{} {:?}, start {number} as {user:?}",
            case.value, kind.property
        );
        let script = format!(
            "id -u; echo \"${}\"
             for d in {tops}/; do
                 [ -z \"$(find $d ! -user $(id -u))\" ] || find $d ! -user $(id -u) -ls
                 cat $d/start-* 2>/dev/null || true
                 for f in $d/start-*; do [ ! -e $f ] || : >> $f; done
                 echo {number} > $d/start-{number}; mkdir $d/directory-{number}
             done",
            kind.variable
        );
        let seen = kind.run(arena, user, case.value, &script).ok();
        let (uid, rest) = seen.split_once('\n').expect("lines");
        assert_eq!(
            rest,
            format!("{list}\n{}", expected.repeat(public.len())),
            "{what}"
        );
        // In the order of the names: start-0 start-1 start-10 start-11 start-2.
        let mut numbers: Vec<String> = (0..=number).map(|n| n.to_string()).collect();
        numbers.sort();
        expected = numbers.iter().map(|n| format!("{n}\n")).collect();

        let owner = match owner {
            Owner::Root => "0:0".to_owned(),
            Owner::Keeper => format!("{0}:{0}", KEEPER.1),
            Owner::Service => format!("{uid}:{uid}"),
        };
        let dynamic = matches!(user, As::Dynamic(_));
        let lines = if dynamic { case.on } else { case.off };
        let layout: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let paths: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(
            kind.look(arena, &paths),
            layout.replace("OWNER", &owner),
            "{what}"
        );
        for directory in case.directories {
            assert_eq!(kind.owners(arena, directory), owner, "{what}");
        }
    }
}

fn walk_all(case: &Case) {
    let arena = host();
    for kind in &KINDS {
        walk(&arena, kind, case);
    }
}

#[test]
fn a_directory_follows_its_service_off_and_on_and_to_other_users() {
    walk_all(&Case {
        value: "zzz",
        directories: &["zzz"],
        on: &[
            "zzz -> private/zzz",
            "private/zzz directory 755 OWNER",
            "private directory 700 0:0",
        ],
        off: &["zzz directory 755 OWNER", "private/zzz absent"],
    });
}

#[test]
fn a_nested_name_follows_and_what_is_above_it_stays_root_s() {
    walk_all(&Case {
        value: "a/b/c",
        directories: &["a/b/c"],
        on: &[
            "a directory 755 0:0",
            "a/b directory 755 0:0",
            "a/b/c -> ../../private/a/b/c",
            "private/a directory 755 0:0",
            "private/a/b directory 755 0:0",
            "private/a/b/c directory 755 OWNER",
        ],
        off: &[
            "a directory 755 0:0",
            "a/b directory 755 0:0",
            "a/b/c directory 755 OWNER",
            "private/a/b/c absent",
        ],
    });
}

#[test]
fn names_inside_each_other_follow_together() {
    walk_all(&Case {
        value: "m/n m m/n/o",
        directories: &["m", "m/n", "m/n/o"],
        on: &[
            "m -> private/m",
            "private/m directory 755 OWNER",
            "private/m/n directory 755 OWNER",
            "private/m/n/o directory 755 OWNER",
        ],
        off: &[
            "m directory 755 OWNER",
            "m/n directory 755 OWNER",
            "m/n/o directory 755 OWNER",
            "private/m absent",
        ],
    });
}

#[test]
fn names_beside_each_other_share_what_is_above_them() {
    walk_all(&Case {
        value: "p/one q p/two",
        directories: &["p/one", "p/two", "q"],
        on: &[
            "p directory 755 0:0",
            "p/one -> ../private/p/one",
            "p/two -> ../private/p/two",
            "q -> private/q",
            "private/p/one directory 755 OWNER",
            "private/p/two directory 755 OWNER",
        ],
        off: &[
            "p/one directory 755 OWNER",
            "p/two directory 755 OWNER",
            "q directory 755 OWNER",
            "private/p/one absent",
            "private/p/two absent",
            "private/q absent",
        ],
    });
}

#[test]
fn extra_links_point_to_the_public_name_and_stay_as_they_are() {
    // As systemd 257 has them: on the host, relative, to the public name, whoever the user is.
    walk_all(&Case {
        value: r"zzz:yyy zzz:sub/www x/y:link co\:lon",
        directories: &["co:lon", "x/y", "zzz"],
        on: &[
            "yyy -> zzz",
            "sub directory 755 0:0",
            "sub/www -> ../zzz",
            "link -> x/y",
            "zzz -> private/zzz",
            "x/y -> ../private/x/y",
            "co:lon -> private/co:lon",
            "private/zzz directory 755 OWNER",
        ],
        off: &[
            "yyy -> zzz",
            "sub/www -> ../zzz",
            "link -> x/y",
            "zzz directory 755 OWNER",
            "x/y directory 755 OWNER",
            "co:lon directory 755 OWNER",
        ],
    });
}

#[test]
fn a_directory_is_reached_by_its_links_and_behind_the_boundary_too() {
    let arena = host();
    for kind in &KINDS {
        let script = format!(
            "cd /; echo 1 > {}; echo 2 > {}; echo 3 > {}; cat {}/*",
            kind.private("zzz/private"),
            kind.public("yyy/link"),
            kind.public("sub/www/nested"),
            kind.public("zzz"),
        );
        let value = "zzz:yyy zzz:sub/www";
        let seen = kind.run(&arena, As::Dynamic("mover"), value, &script).ok();
        assert_eq!(seen, "2\n3\n1\n");
        // Nobody else comes in, by whichever name.
        for path in ["zzz", "yyy", "sub/www", "private/zzz"] {
            let inside = kind.public(&format!("{path}/private"));
            let why = arena.command(["cat", &inside]).user(1000).run().fails(1);
            assert!(why.contains("Permission denied"), "{why}");
        }
    }
}

#[test]
fn the_exit_status_of_the_service_is_its_own_after_a_migration() {
    let arena = host();
    for kind in &KINDS {
        for user in [As::Root, As::Dynamic("mover"), As::Static] {
            let missing = format!("test -f {}", kind.public("zzz/missing"));
            kind.run(&arena, user, "zzz", &missing).fails(1);
        }
    }
}

/// A tree with a file in it, of a former dynamic user.
fn lay(arena: &Arena, path: &str) {
    arena
        .sh(&format!(
            "mkdir -p -m 700 $(echo {path} | sed 's,/private/.*,/private,') && mkdir -p {path} && \
             echo kept > {path}/file && chown -R 61300:61300 {path}"
        ))
        .ok();
}

#[test]
fn a_move_that_was_interrupted_is_finished_by_the_next_start() {
    for (path, link) in [("zzz", "private/zzz"), ("a/b/c", "../../private/a/b/c")] {
        for user in [As::Dynamic("mover"), As::Root, As::Static] {
            let arena = host();
            for kind in &KINDS {
                // Before or after the exchange: the tree at the public path, the link behind the boundary.
                lay(&arena, &kind.public(path));
                arena
                    .sh(&format!(
                        "mkdir -p -m 700 {0}/private && mkdir -p $(dirname {1}) && ln -s {link} {1}",
                        kind.base,
                        kind.private(path)
                    ))
                    .ok();
                let cat = format!("cat {}", kind.public(&format!("{path}/file")));
                let what = format!("{} as {user:?}", kind.public(path));
                assert_eq!(kind.run(&arena, user, path, &cat).ok(), "kept\n", "{what}");
                let private = format!("private/{path}");
                let layout = kind.look(&arena, &[path, &private]);
                let expected = match user {
                    As::Dynamic(_) => {
                        format!("{path} -> {link}\n{private} directory 755 61300:61300\n")
                    }
                    As::Root => format!("{path} directory 755 0:0\n{private} absent\n"),
                    As::Static => format!("{path} directory 755 5000:5000\n{private} absent\n"),
                };
                assert_eq!(layout, expected, "{what}");
            }
        }
    }
}

#[test]
fn a_tree_without_its_public_name_is_found_behind_the_boundary() {
    // systemd makes a new, empty public directory when the dynamic user is switched off, and the tree
    // is nobody's for ever. That is how a crash between its two steps loses the state.
    for user in [As::Dynamic("mover"), As::Root, As::Static] {
        let arena = host();
        for kind in &KINDS {
            lay(&arena, &kind.private("zzz"));
            let cat = format!("cat {}", kind.public("zzz/file"));
            assert_eq!(
                kind.run(&arena, user, "zzz", &cat).ok(),
                "kept\n",
                "{user:?}"
            );
        }
    }
}

#[test]
fn a_link_to_a_directory_that_is_gone_is_no_obstacle() {
    // systemd: fine for a dynamic user, exit status 238 (and the like) otherwise; RuntimeDirectoryPreserve=
    // leaves such links there, after which the service cannot be started any more.
    for (user, line) in [
        (As::Dynamic("mover"), "zzz -> private/zzz\n"),
        (As::Root, "zzz directory 755 0:0\n"),
        (As::Static, "zzz directory 755 5000:5000\n"),
    ] {
        let arena = host();
        for kind in &KINDS {
            arena
                .run(["ln", "-s", "private/zzz", &kind.public("zzz")])
                .ok();
            let touch = format!("touch {}", kind.public("zzz/new"));
            kind.run(&arena, user, "zzz", &touch).ok();
            assert_eq!(kind.look(&arena, &["zzz"]), line, "{}", kind.base);
        }
    }
}

#[test]
fn an_empty_directory_gives_way_to_the_one_with_something_in_it() {
    // systemd refuses all of these for a dynamic user.
    for user in [As::Dynamic("mover"), As::Root, As::Static] {
        // Whose the empty one is: root's, as somebody has made it, or as a service has left it.
        for (private_is_full, owner) in [(true, 0), (true, 1000), (false, 0), (false, 65534)] {
            let arena = host();
            for kind in &KINDS {
                let (full, empty) = if private_is_full {
                    (kind.private("zzz"), kind.public("zzz"))
                } else {
                    (kind.public("zzz"), kind.private("zzz"))
                };
                lay(&arena, &full);
                arena
                    .sh(&format!(
                        "mkdir -p -m 700 {}/private && mkdir {empty} && chown {owner} {empty}",
                        kind.base
                    ))
                    .ok();
                let cat = format!("cat {}", kind.public("zzz/file"));
                let what = format!("{user:?}, full is {full}, {empty} is of {owner}");
                assert_eq!(kind.run(&arena, user, "zzz", &cat).ok(), "kept\n", "{what}");
                let public = kind.look(&arena, &["zzz"]);
                let dynamic = matches!(user, As::Dynamic(_));
                assert_eq!(
                    public == "zzz -> private/zzz\n",
                    dynamic,
                    "{what}: {public}"
                );
            }
        }
    }
}

#[test]
fn a_tree_that_was_given_half_is_given_whole_by_the_next_start() {
    // The top is given last: it still has the old owner.
    let arena = host();
    for kind in &KINDS {
        lay(&arena, &kind.private("zzz"));
        let private = kind.private("zzz");
        arena
            .sh(&format!(
                "mkdir {private}/done && touch {private}/done/file && chown -R 5000:5000 {private}/done && \
                 ln -s private/zzz {}",
                kind.public("zzz")
            ))
            .ok();
        let script = format!(
            "id -u; echo x >> {0}/file; echo x >> {0}/done/file",
            kind.public("zzz")
        );
        assert_eq!(kind.run(&arena, As::Static, "zzz", &script).ok(), "5000\n");
        assert_eq!(kind.owners(&arena, "zzz"), "5000:5000");
    }
}

#[test]
fn a_tree_is_given_where_no_note_of_it_can_be_put_on_the_disk() {
    let arena = host();
    arena
        .sh("mkdir -m 700 /var/lib/dynuser && mount -t tmpfs -o ro,mode=700 disk /var/lib/dynuser && \
             mkdir -p /var/cache/zzz/deep && echo kept > /var/cache/zzz/deep/file")
        .ok();
    let kind = KINDS.iter().find(|kind| kind.base == "/var/cache");
    let kind = kind.expect("a kind");
    let script = "cat /var/cache/zzz/deep/file; echo more >> /var/cache/zzz/deep/file";
    let seen = kind.run(&arena, As::Dynamic("mover"), "zzz", script);
    assert_eq!(seen.ok(), "kept\n");
    assert_eq!(arena.run(["ls", "-A", "/run/dynuser/giving"]).ok(), "");
}

#[test]
fn what_a_start_that_was_cut_short_made_above_a_directory_is_finished() {
    // It is made closed, and opened then.
    let arena = host();
    for kind in &KINDS {
        arena
            .sh(&format!(
                "mkdir -m 700 {0}/a; mkdir -p -m 700 {0}/private; mkdir -m 700 {0}/private/a",
                kind.base
            ))
            .ok();
        kind.run(&arena, As::Dynamic("mover"), "a/b", "true").ok();
        assert_eq!(
            kind.look(&arena, &["a", "a/b", "private/a"]),
            "a directory 755 0:0\na/b -> ../private/a/b\nprivate/a directory 755 0:0\n"
        );
        // One with something in it is somebody's, who has closed it.
        arena.run(["chmod", "700", &kind.public("a")]).ok();
        kind.run(&arena, As::Dynamic("mover"), "a/b", "true");
        assert_eq!(kind.look(&arena, &["a"]), "a directory 700 0:0\n");
    }
}
