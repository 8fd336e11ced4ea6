//! The NSS module as every program of a host meets it: the built file, loaded by glibc, with a
//! `/run` and an `nsswitch.conf` of the test's own in a private mount namespace. Runs as root.

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

type Fallible<T> = Result<T, Box<dyn Error>>;
type Outcome = Fallible<()>;

/// The module as it is installed, never one built for tests.
fn module() -> Fallible<PathBuf> {
    let file = std::env::var_os("DYNUSER_MODULE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/libnss_dynuser.so"),
        PathBuf::from,
    );
    match fs::metadata(&file) {
        Ok(found) if found.is_file() => Ok(file),
        _ => Err(format!(
            "{} is not there: start the tests with tests/run, which builds it, or name the module \
             in DYNUSER_MODULE",
            file.display()
        )
        .into()),
    }
}

/// A host with a table of users. Each `run` is a boot of it.
struct Host(TempDir);

impl Host {
    /// `links` are the names and targets in `/run/dynuser/users`.
    fn with(links: &[(&str, &[u8])]) -> Fallible<Self> {
        let host = Self(TempDir::with_prefix("dynuser-nss-")?);
        let directory = host.0.path();
        // Other users of the host look at it too.
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
        fs::create_dir(directory.join("lib"))?;
        fs::copy(module()?, directory.join("lib/libnss_dynuser.so.2"))?;
        fs::write(
            directory.join("nsswitch.conf"),
            "passwd: files dynuser\ngroup: files dynuser\ninitgroups: files dynuser\n",
        )?;
        fs::write(directory.join("passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        fs::write(directory.join("group"), "root:x:0:\n")?;
        let users = directory.join("users");
        fs::create_dir(&users)?;
        for (name, target) in links {
            symlink(OsStr::from_bytes(target), users.join(name))?;
        }
        Ok(host)
    }

    /// A host with the one user `web`, 61200.
    fn with_web() -> Fallible<Self> {
        Self::with(&[("uid:61200", b"web"), ("name:web", b"61200")])
    }

    /// A shell script to be run on the host; `$1` and so on are `words`, `$DIR` is a directory to
    /// keep things in.
    fn command(&self, script: &str, words: &[&str]) -> Command {
        let boot = "set -e
            mount -t tmpfs -o mode=755 tmpfs /run
            for file in nsswitch.conf passwd group; do mount --bind $DIR/$file /etc/$file; done
            mkdir /run/dynuser
            cp -dR $DIR/users /run/dynuser/users
            export LD_LIBRARY_PATH=$DIR/lib
            set +e\n";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &format!("{boot}{script}"), "sh"]);
        command
            .args(words)
            .env("DIR", self.0.path())
            .env("LC_ALL", "C");
        command
    }

    /// What a script prints; it must succeed and say nothing else.
    fn prints(&self, script: &str, words: &[&str]) -> Fallible<String> {
        output_of(&mut self.command(script, words))
    }

    /// Asks `getent` for one key: the answer's lines, or `None` when there is no such key.
    fn getent(&self, database: &str, key: &str) -> Fallible<Option<String>> {
        let output = self
            .command("exec getent \"$@\"", &[database, key])
            .output()?;
        match output.status.code() {
            Some(0) => Ok(Some(String::from_utf8(output.stdout)?)),
            Some(2) if output.stdout.is_empty() => Ok(None),
            _ => Err(format!("getent {database} {key:?}: {output:?}").into()),
        }
    }

    /// The system calls of a command that name something in the table.
    fn accesses(&self, words: &[&str]) -> Fallible<Vec<String>> {
        let script = "strace -f -o $DIR/trace -e trace=%file \"$@\" >/dev/null 2>$DIR/said
            test -s $DIR/trace || { cat $DIR/said >&2; exit 1; }; cat $DIR/trace; : >$DIR/trace";
        let trace = self.prints(script, words)?;
        // Or else the module was not asked at all.
        if !trace.contains("/lib/libnss_dynuser.so.2\"") {
            return Err(format!("{words:?} did not load the module:\n{trace}").into());
        }
        let ours = trace.lines().filter(|line| line.contains("/run/dynuser"));
        Ok(ours.map(str::to_owned).collect())
    }

    /// Runs a part of `tests/nss/probe.c`.
    fn probe(&self, part: &str) -> Outcome {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nss/probe.c");
        let probe = self.0.path().join("probe");
        let words = ["-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"];
        output_of(Command::new("gcc").args(words).args([&probe, &source]))?;
        self.prints("exec $DIR/probe $DIR/lib/libnss_dynuser.so.2 $1", &[part])?;
        Ok(())
    }
}

/// What a command prints; it must succeed and say nothing else.
fn output_of(command: &mut Command) -> Fallible<String> {
    let output = command.output()?;
    if !output.status.success() || !output.stderr.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}: {said}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

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
    let long = [byte; 4000];
    let too_long = [32, 33, 64, 4000].map(|length| long.split_at(length).0);
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
        61200-61201|4295028496|web|../61200|612\xff0";
    nobody_behind("name:", "u", bad, b'6')
}

#[test]
fn a_target_that_is_no_name_is_no_user() -> Outcome {
    let bad = b"0|61200|-web|.|..|../web|/etc/passwd|a:b|root::0:0:|a\nroot::0:0::/:/bin/sh|web\n|\
        a b| web|a.b|web$|w\xc3\xa4b|\xff";
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
    for database in ["passwd", "group"] {
        for (prefix, key) in [("name:", "web"), ("uid:", "61200"), ("name:", "api")] {
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
    for database in ["passwd", "group"] {
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
    let accesses = host.accesses(&["getent", "initgroups", "web"])?;
    assert!(accesses.is_empty(), "{accesses:?}");
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
    Host::with_web()?.probe("short")
}

#[test]
fn errno_is_left_alone_and_null_pointers_are_survived() -> Outcome {
    Host::with_web()?.probe("errno")
}

#[test]
fn eight_threads_read_links_that_flap() -> Outcome {
    Host::with_web()?.probe("flap")
}

#[test]
fn eight_threads_share_a_walk() -> Outcome {
    Host::with(&[])?.probe("walk")
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
    let allowed = "__errno_location memcmp memcpy memset readlink strlen";
    for (_, import) in imports {
        let known = allowed.split(' ').any(|name| name == import);
        assert!(known, "{import} is imported");
    }
    let entries = "endgrent endpwent getgrent_r getgrgid_r getgrnam_r getpwent_r getpwnam_r \
        getpwuid_r initgroups_dyn setgrent setpwent";
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
