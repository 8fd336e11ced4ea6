//! A host for the tests of the NSS module: a `/run` and user databases of the test's own in a private mount namespace.

// Every test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

pub(crate) type Fallible<T> = Result<T, Box<dyn Error>>;
pub(crate) type Outcome = Fallible<()>;

/// The module as it is installed, never one built for tests.
pub(crate) fn module() -> Fallible<PathBuf> {
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
pub(crate) struct Host(pub(crate) TempDir);

impl Host {
    /// `links` are the names and targets in `/run/dynuser/users`.
    pub(crate) fn with(links: &[(&str, &[u8])]) -> Fallible<Self> {
        let host = Self(TempDir::with_prefix("dynuser-nss-")?);
        let directory = host.0.path();
        // Other users of the host look at it too.
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
        fs::create_dir(directory.join("lib"))?;
        fs::copy(module()?, directory.join("lib/libnss_dynuser.so.2"))?;
        fs::write(
            directory.join("nsswitch.conf"),
            ["passwd", "group", "shadow", "gshadow", "initgroups"]
                .map(|database| format!("{database}: files dynuser\n"))
                .concat(),
        )?;
        fs::write(directory.join("passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        fs::write(directory.join("group"), "root:x:0:\n")?;
        fs::write(directory.join("shadow"), "root:*:1::::::\n")?;
        fs::write(directory.join("gshadow"), "root:*::\n")?;
        let users = directory.join("users");
        fs::create_dir(&users)?;
        for (name, target) in links {
            symlink(OsStr::from_bytes(target), users.join(name))?;
        }
        Ok(host)
    }

    /// A host with the one user `web`, 61200.
    pub(crate) fn with_web() -> Fallible<Self> {
        Self::with(&[("uid:61200", b"web"), ("name:web", b"61200")])
    }

    /// A host with the one user `web`, of whom there is more to tell.
    pub(crate) fn with_company() -> Fallible<Self> {
        let rest = ":/var/lib/web:44,61300:api,a-longer-name-of-31-letters-012,z";
        let links = [("uid:61200", "web"), ("name:web", "61200")];
        let links = links.map(|(link, key)| (link, format!("{key}{rest}")));
        let links = links.iter().map(|(link, to)| (*link, to.as_bytes()));
        Self::with(&links.collect::<Vec<_>>())
    }

    /// A shell script to be run on the host; `$1` and so on are `words`, `$DIR` is a directory to
    /// keep things in.
    pub(crate) fn command(&self, script: &str, words: &[&str]) -> Command {
        let boot = "set -e
            mount -t tmpfs -o mode=755 tmpfs /run
            for file in nsswitch.conf passwd group shadow gshadow; do mount --bind $DIR/$file /etc/$file; done
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
    pub(crate) fn prints(&self, script: &str, words: &[&str]) -> Fallible<String> {
        output_of(&mut self.command(script, words))
    }

    /// Asks `getent` for one key: the answer's lines, or `None` when there is no such key.
    pub(crate) fn getent(&self, database: &str, key: &str) -> Fallible<Option<String>> {
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
    pub(crate) fn accesses(&self, words: &[&str]) -> Fallible<Vec<String>> {
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

    /// Runs a part of a program of `tests/nss`; what it prints.
    pub(crate) fn probe(&self, program: &str, part: &str) -> Fallible<String> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/nss/{program}.c"));
        let probe = self.0.path().join(program);
        let words = "-O1 -Wall -Wextra -Werror -pthread -rdynamic -o";
        let words = words.split(' ');
        output_of(Command::new("gcc").args(words).args([&probe, &source]))?;
        let script = format!("exec $DIR/{program} $DIR/lib/libnss_dynuser.so.2 \"$1\"");
        self.prints(&script, &[part])
    }
}

/// What a command prints; it must succeed and say nothing else.
pub(crate) fn output_of(command: &mut Command) -> Fallible<String> {
    let output = command.output()?;
    if !output.status.success() || !output.stderr.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}: {said}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
