//! Services with directories, switched between a dynamic user and others, and how their directories
//! look from the host.

use super::{Arena, Inside, Output, dynamic_uid};

/// A kind of directories that is kept behind a boundary for a dynamic user.
pub(crate) struct Kind {
    /// The property.
    pub(crate) property: &'static str,
    /// The public place.
    pub(crate) base: &'static str,
    /// The variable that tells the service.
    pub(crate) variable: &'static str,
    /// The exit status of a failure.
    pub(crate) status: i32,
    /// What else is to be said so that they stay and have a boundary.
    also: &'static [&'static str],
}

/// All of them. Runtime directories are kept behind a boundary where they outlive the service.
pub(crate) const KINDS: [Kind; 4] = [
    Kind {
        property: "StateDirectory",
        base: "/var/lib",
        variable: "STATE_DIRECTORY",
        status: 238,
        also: &[],
    },
    Kind {
        property: "CacheDirectory",
        base: "/var/cache",
        variable: "CACHE_DIRECTORY",
        status: 239,
        also: &[],
    },
    Kind {
        property: "LogsDirectory",
        base: "/var/log",
        variable: "LOGS_DIRECTORY",
        status: 240,
        also: &[],
    },
    Kind {
        property: "RuntimeDirectory",
        base: "/run",
        variable: "RUNTIME_DIRECTORY",
        status: 233,
        also: &["-p", "RuntimeDirectoryPreserve=yes"],
    },
];

/// The static account that [`host`] makes, and its number.
pub(crate) const KEEPER: (&str, u32) = ("keeper", 5000);

/// A group of which the static account is a member, and its number.
pub(crate) const FRIENDS: (&str, u32) = ("friends", 5001);

/// An arena with a static account, a member of a second group.
pub(crate) fn host() -> Arena {
    let arena = Arena::new();
    let ((name, number), (friends, group)) = (KEEPER, FRIENDS);
    arena.append(
        "/etc/passwd",
        &format!("{name}:x:{number}:{number}::/:/bin/sh"),
    );
    arena.append("/etc/group", &format!("{name}:x:{number}:"));
    arena.append("/etc/group", &format!("{friends}:x:{group}:{name}"));
    arena
}

/// Whom a service runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As {
    /// A dynamic user, in a service of this name.
    Dynamic(&'static str),
    /// Root, with `DynamicUser=no`.
    Root,
    /// [`KEEPER`], with `DynamicUser=no`.
    Static,
}

impl As {
    /// The words of `dynuser run` up to the properties.
    pub(crate) fn words(self) -> Vec<&'static str> {
        let (name, properties): (_, &[&str]) = match self {
            Self::Dynamic(name) => (name, &["-p", "DynamicUser=yes"]),
            Self::Root => ("roots", &["-p", "DynamicUser=no"]),
            Self::Static => ("kept", &["-p", "DynamicUser=no", "-p", "User=keeper"]),
        };
        [&["dynuser", "run", "-u", name], properties].concat()
    }
}

impl Kind {
    /// The path of a directory as others name it.
    pub(crate) fn public(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    /// The path behind the boundary.
    pub(crate) fn private(&self, path: &str) -> String {
        format!("{}/private/{path}", self.base)
    }

    /// The words that ask for directories.
    pub(crate) fn asked(&self, value: &str) -> Vec<String> {
        let asked = ["-p".to_owned(), format!("{}={value}", self.property)];
        let also = self.also.iter().map(|word| (*word).to_owned());
        asked.into_iter().chain(also).collect()
    }

    /// A service with the directories `value`, which runs `script` in the shell.
    pub(crate) fn service<'a>(
        &self,
        arena: &'a Arena,
        user: As,
        value: &str,
        script: &str,
    ) -> Inside<'a> {
        let mut words: Vec<String> = user.words().into_iter().map(str::to_owned).collect();
        words.extend(self.asked(value));
        words.extend(["sh", "-ec", script].map(str::to_owned));
        arena.command(words)
    }

    /// Runs it to its end, and until nothing is left of it.
    pub(crate) fn run(&self, arena: &Arena, user: As, value: &str, script: &str) -> Output {
        let output = self.service(arena, user, value, script).run();
        arena.wait_until_idle();
        output
    }

    /// The number of a dynamic service's user.
    pub(crate) fn uid(&self, arena: &Arena, name: &'static str, value: &str) -> u32 {
        dynamic_uid(&self.run(arena, As::Dynamic(name), value, "exec id -u").ok())
    }

    /// What is at `paths` below the base, a line each: `PATH -> TARGET`, `PATH TYPE MODE UID:GID`, or
    /// `PATH absent`. A link's mode and size say nothing; its owner is root, which is asserted here.
    pub(crate) fn look(&self, arena: &Arena, paths: &[&str]) -> String {
        let script = "cd \"$0\" && for path; do
            if [ -L \"$path\" ]; then
                [ \"$(stat -c %u:%g \"$path\")\" = 0:0 ] || echo \"the link's owner is not root:\"
                echo \"$path -> $(readlink \"$path\")\"
            elif [ -e \"$path\" ]; then stat -c '%n %F %a %u:%g' \"$path\"
            else echo \"$path absent\"; fi; done";
        let words = [&["sh", "-c", script, self.base], paths].concat();
        arena.run(words).ok()
    }

    /// The owners of everything in a directory, of itself too, each once, in order.
    pub(crate) fn owners(&self, arena: &Arena, path: &str) -> String {
        let script = format!("find {}/ -printf '%U:%G\\n' | sort -u", self.public(path));
        arena.sh(&script).ok().trim_end().replace('\n', " ")
    }

    /// What is in the files of a directory: `NAME: CONTENT` for each, in order, separated by spaces.
    pub(crate) fn contents(&self, arena: &Arena, path: &str) -> String {
        let script = format!(
            "cd {} && find . -type f | sort | while read -r f; do echo \"${{f#./}}: $(cat $f)\"; done",
            self.public(path)
        );
        arena.sh(&script).ok().trim_end().replace('\n', ", ")
    }
}

/// A service as `user` with `properties`, which runs `script` in the shell, to its very end.
pub(crate) fn run(arena: &Arena, user: As, properties: &[&str], script: &str) -> Output {
    let words = user.words().into_iter();
    let properties = properties.iter().flat_map(|property| ["-p", property]);
    let output = arena.run(words.chain(properties).chain(["sh", "-c", script]));
    arena.wait_until_idle();
    output
}

/// What is at paths of the host: `TYPE MODE UID:GID`, the target of a link, or `absent`.
pub(crate) fn look(arena: &Arena, paths: &str) -> String {
    let script = format!(
        "for path in {paths}; do if [ -L $path ]; then readlink $path; elif [ -e $path ]; then \
         stat -c '%F %a %u:%g' $path; else echo absent; fi; done"
    );
    arena.sh(&script).ok()
}
