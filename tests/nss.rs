//! The NSS module as every program of a host meets it: the built file, loaded by glibc, with a
//! `/run` and an `nsswitch.conf` of the test's own in a private mount namespace. Runs as root.

#[path = "nss/host.rs"]
mod host;

use std::fs;
use std::process::Command;

use host::{Host, Outcome, module, output_of};

const USER: &str = "web:x:61200:61200:Dynamic User:/:/usr/sbin/nologin\n";
const GROUP: &str = "web:x:61200:\n";

#[test]
fn a_user_is_found_by_name_and_by_number() -> Outcome {
    let host = Host::with_web()?;
    for key in ["web", "61200"] {
        assert_eq!(host.getent("passwd", key)?.as_deref(), Some(USER));
        assert_eq!(host.getent("group", key)?.as_deref(), Some(GROUP));
    }
    let id = host.prints("id web", &[])?;
    assert_eq!(id, "uid=61200(web) gid=61200(web) groups=61200(web)\n");
    Ok(())
}

#[test]
fn an_ordinary_user_sees_the_names_too() -> Outcome {
    let host = Host::with_web()?;
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups getent passwd web";
    assert_eq!(host.prints(nobody, &[])?, USER);
    // A table that may not be searched is as good as none; it must not end the search.
    let closed = format!("chmod 700 /run/dynuser; {nobody}");
    let output = host.command(&closed, &[]).output()?;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    Ok(())
}

#[test]
fn names_and_numbers_of_nobody_are_not_found() -> Outcome {
    let host = Host::with_web()?;
    for database in ["passwd", "group"] {
        for key in ["webb", "we", "WEB", "61201", "61184", "65519"] {
            assert_eq!(host.getent(database, key)?, None, "{database} {key}");
        }
    }
    Ok(())
}

#[test]
fn users_are_enumerated_in_order() -> Outcome {
    let host = Host::with(&[
        ("uid:65519", b"last"),
        ("uid:61184", b"first"),
        ("uid:61200", b"web"),
        // No link, no name, no business here.
        ("uid:61300", b"not a name"),
        ("uid:65520", b"beyond"),
        ("uid:61183", b"before"),
        ("name:only", b"61400"),
    ])?;
    let ours = [("first", 61184), ("web", 61200), ("last", 65519)];
    let rest = "Dynamic User:/:/usr/sbin/nologin\n";
    let users = ours.map(|(name, id)| format!("{name}:x:{id}:{id}:{rest}"));
    let root = "root:x:0:0:root:/root:/bin/sh\n";
    assert_eq!(
        host.prints("getent passwd", &[])?,
        root.to_owned() + &users.concat()
    );
    let groups = ours.map(|(name, id)| format!("{name}:x:{id}:\n"));
    assert_eq!(
        host.prints("getent group", &[])?,
        "root:x:0:\n".to_owned() + &groups.concat()
    );
    Ok(())
}

#[test]
fn users_of_configured_ranges_are_found_and_enumerated() -> Outcome {
    let ours = [
        ("low", 7),
        ("web", 61200),
        ("far", 70010),
        ("top", 2_147_483_647),
    ];
    let links = ours.map(|(name, id)| {
        let by_name = (format!("name:{name}"), id.to_string());
        [(format!("uid:{id}"), name.to_owned()), by_name]
    });
    let mut links = links.concat();
    links.push(("uid:70011".into(), "beyond".into()));
    let ranges = "7,61184-65519,70000-70010,2147483647";
    links.push(("ranges".into(), ranges.into()));
    let links = links.iter();
    let links: Vec<_> = links
        .map(|(link, to)| (link.as_str(), to.as_bytes()))
        .collect();
    let host = Host::with(&links)?;
    let lines = ours.map(|(name, id)| format!("{name}:x:{id}:\n"));
    for ((name, id), line) in ours.iter().zip(&lines) {
        for key in [*name, &id.to_string()] {
            assert_eq!(host.getent("group", key)?.as_ref(), Some(line), "{key}");
        }
    }
    let all = host.prints("getent group", &[])?;
    assert_eq!(all, "root:x:0:\n".to_owned() + &lines.concat());
    let id = host.prints("id far", &[])?;
    assert_eq!(id, "uid=70010(far) gid=70010(far) groups=70010(far)\n");
    Ok(())
}

#[test]
fn ranges_that_make_no_sense_are_the_default_ones() -> Outcome {
    let long = "9".repeat(4000);
    for senseless in ["70000", "", "70000-70010,5", "all", "1-2147483647", &long] {
        let mut links: Vec<(&str, &[u8])> = vec![("uid:61200", b"web"), ("uid:70000", b"far")];
        // No link has an empty target: that one is not there.
        if !senseless.is_empty() {
            links.push(("ranges", senseless.as_bytes()));
        }
        let all = Host::with(&links)?.prints("getent group", &[])?;
        let wanted = if senseless == "70000" {
            "far:x:70000:\n"
        } else {
            GROUP
        };
        assert_eq!(all, "root:x:0:\n".to_owned() + wanted, "{senseless}");
    }
    Ok(())
}

/// Checks that links with these targets (`|` between them), and too long ones, lead to nobody.
fn nobody_behind(prefix: &str, letter: &str, bad: &[u8], byte: u8) -> Outcome {
    let long = [byte; 4095];
    let too_long = [32, 33, 64, 3999, 4000, 4001, 4094, 4095].map(|length| long.split_at(length).0);
    let bad: Vec<&[u8]> = bad.split(|byte| *byte == b'|').chain(too_long).collect();
    let keys = (61200..).take(bad.len());
    let keys: Vec<String> = keys.map(|number| format!("{letter}{number}")).collect();
    let names: Vec<String> = keys.iter().map(|key| format!("{prefix}{key}")).collect();
    let names = names.iter().map(String::as_str);
    let host = Host::with(&names.zip(bad.iter().copied()).collect::<Vec<_>>())?;
    for (key, target) in keys.iter().zip(&bad) {
        for database in ["passwd", "group"] {
            let found = host.getent(database, key)?;
            assert_eq!(found, None, "{}", target.escape_ascii());
        }
    }
    Ok(())
}

#[test]
fn a_target_that_is_no_number_is_no_user() -> Outcome {
    let bad =
        b"0|65534|65535|2147483648|4294967295|061200|+61200|-61200| 61200|61200 |61200\n|0xef10|\
        61200-61201|4295028496|web|../61200|612\xff0|61200:|61200:home|61200:/|61200:/a\n|61200:/a:|61200::0|\
        61200::044|61200::44,|61200::,44|61200::4294967295|61200::video|61200:::a,|61200:::a b|61200:::0|\
        61200:/a:1:a:b";
    nobody_behind("name:", "u", bad, b'6')
}

#[test]
fn a_target_that_is_no_name_is_no_user() -> Outcome {
    let bad = b"0|61200|-web|.|..|../web|/etc/passwd|a:b|root::0:0:|a\nroot::0:0::/:/bin/sh|web\n|\
        a b| web|a.b|web$|w\xc3\xa4b|\xff|web:|web:/root:|web:root|web:/|web:/\x7f|web::0|web::0,1|web::1,,2|\
        web::-1|web::4294967296|web:::root\n|web:::a/b|web:::,|web:/a::b,|:/a|web::::";
    nobody_behind("uid:", "", bad, b'a')
}

#[test]
fn the_longest_name_is_a_name() -> Outcome {
    let name = "a".repeat(31);
    let link = format!("name:{name}");
    let host = Host::with(&[("uid:65000", name.as_bytes()), (&link, b"65000")])?;
    for key in [name.as_str(), "65000"] {
        let found = host.getent("group", key)?;
        assert_eq!(found, Some(format!("{name}:x:65000:\n")));
    }
    Ok(())
}

#[test]
fn a_file_or_directory_in_place_of_a_link_is_no_user() -> Outcome {
    let host = Host::with(&[])?;
    fs::write(host.0.path().join("users/uid:61200"), "web")?;
    fs::create_dir(host.0.path().join("users/name:web"))?;
    assert_eq!(host.getent("passwd", "61200")?, None);
    assert_eq!(host.getent("group", "web")?, None);
    Ok(())
}

#[test]
fn a_look_up_is_one_readlink() -> Outcome {
    let host = Host::with_web()?;
    for database in ["passwd", "group", "shadow", "gshadow"] {
        for (prefix, key) in [("name:", "web"), ("uid:", "61200"), ("name:", "api")] {
            if database.ends_with("shadow") && key == "61200" {
                continue;
            }
            let accesses = host.accesses(&["getent", database, key])?;
            let [access] = accesses.as_slice() else {
                return Err(format!("{database} {key}: {accesses:?}").into());
            };
            let path = format!("\"/run/dynuser/users/{prefix}{key}\",");
            assert!(
                access.contains("readlink") && access.contains(&path),
                "{access}"
            );
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_ours_never_touches_the_table() -> Outcome {
    let host = Host::with_web()?;
    let long = "a".repeat(32);
    let keys = "|.|..|../users/name:web|a/b|a.b|a b|-x|web$|w\u{e4}b|web\n|web:x|\
        65534|65535|2147483648|4294967294";
    for database in ["passwd", "group", "shadow", "gshadow", "initgroups"] {
        for key in keys.split('|').chain([long.as_str()]) {
            let accesses = host.accesses(&["getent", database, "--", key])?;
            assert!(accesses.is_empty(), "{database} {key:?}: {accesses:?}");
        }
    }
    Ok(())
}

#[test]
fn groups_of_a_user_are_not_searched_for() -> Outcome {
    let host = Host::with_web()?;
    for user in ["web", "api"] {
        let accesses = host.accesses(&["getent", "initgroups", user])?;
        let [access] = accesses.as_slice() else {
            return Err(format!("{user}: {accesses:?}").into());
        };
        assert!(access.contains("readlink"), "{access}");
    }
    let foreign = host.accesses(&["getent", "initgroups", "a.b"])?;
    assert!(foreign.is_empty(), "{foreign:?}");
    let accesses = host.accesses(&["id", "web"])?;
    assert!((2..=6).contains(&accesses.len()), "{accesses:?}");
    Ok(())
}

#[test]
fn a_host_without_dynamic_users_is_enumerated_at_once() -> Outcome {
    let host = Host::with(&[])?;
    let accesses = host.accesses(&["sh", "-c", "rmdir /run/dynuser/users; exec getent passwd"])?;
    let reads = accesses.iter().filter(|line| line.contains("readlink"));
    assert_eq!(reads.count(), 1, "{accesses:?}");
    Ok(())
}

#[test]
fn a_short_buffer_is_said_to_be_short_and_nothing_is_written_beyond_it() -> Outcome {
    Host::with_company()?.probe("probe", "short")?;
    Ok(())
}

#[test]
fn errno_is_left_alone_and_null_pointers_are_survived() -> Outcome {
    Host::with_company()?.probe("probe", "errno")?;
    Ok(())
}

#[test]
fn eight_threads_read_links_that_flap() -> Outcome {
    Host::with_web()?.probe("probe", "flap")?;
    Ok(())
}

#[test]
fn eight_threads_share_a_walk() -> Outcome {
    Host::with(&[])?.probe("probe", "walk")?;
    Ok(())
}

#[test]
fn the_file_needs_libc_alone_and_exports_its_entries_alone() -> Outcome {
    let file = module()?;
    let dynamic = output_of(Command::new("readelf").arg("-dW").arg(&file))?;
    let tagged = |tag: &str| -> Vec<&str> {
        let lines = dynamic.lines().filter(|line| line.contains(tag));
        lines
            .filter_map(|line| line.split(['[', ']']).nth(1))
            .collect()
    };
    assert_eq!(tagged("(NEEDED)"), ["libc.so.6"]);
    assert_eq!(tagged("(SONAME)"), ["libnss_dynuser.so.2"]);
    for tag in "(RPATH) (RUNPATH) (TEXTREL) (INIT) (INIT_ARRAY) (FINI) (FINI_ARRAY)".split(' ') {
        assert!(!dynamic.contains(tag), "{tag}: {dynamic}");
    }
    // One for each import, and none for data: nothing in the file depends on where it is loaded.
    let relocations = output_of(Command::new("readelf").arg("-rW").arg(&file))?;
    let relocations = relocations.lines().filter(|line| line.contains(" R_"));
    for line in relocations {
        assert!(
            line.contains("_GLOB_DAT") || line.contains("_JUMP_SLO"),
            "{line}"
        );
    }
    let symbols = output_of(
        Command::new("nm")
            .args(["-D", "--without-symbol-versions"])
            .arg(&file),
    )?;
    let symbols = symbols
        .lines()
        .filter_map(|line| line.trim_start().rsplit_once(' '));
    let (imports, exports): (Vec<_>, Vec<_>) = symbols.partition(|(kind, _)| kind.ends_with('U'));
    // Not `abort`: it is what a panic would end in, so nothing in the file can panic.
    // Not `getenv`: nobody who starts a set-user-ID program tells us anything. Not `malloc`, and `realloc` for the groups
    // of a user alone, which glibc's contract demands.
    let allowed = "__errno_location memcmp memcpy memset readlink realloc strlen";
    for (_, import) in imports {
        let known = allowed.split(' ').any(|name| name == import);
        assert!(known, "{import} is imported");
    }
    let entries = "endgrent endpwent endsgent endspent getgrent_r getgrgid_r getgrnam_r getpwent_r getpwnam_r \
        getpwuid_r getsgent_r getsgnam_r getspent_r getspnam_r initgroups_dyn setgrent setpwent setsgent setspent";
    let entries = entries
        .split(' ')
        .map(|entry| format!("_nss_dynuser_{entry}"));
    assert!(
        entries.eq(exports.iter().map(|(_, name)| *name)),
        "{exports:?}"
    );
    Ok(())
}

#[test]
fn the_file_is_small_and_has_no_panic_in_it() -> Outcome {
    let bytes = fs::read(module()?)?;
    assert!(bytes.len() <= 16 * 1024, "{} bytes", bytes.len());
    for word in ["panic", "unwind", "rust_", "core::", ".rs", "/rustc/"] {
        let found = bytes
            .windows(word.len())
            .any(|window| window == word.as_bytes());
        assert!(!found, "{word} is in the file");
    }
    Ok(())
}
