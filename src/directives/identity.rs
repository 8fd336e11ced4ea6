//! Who the service is, and where it starts.

use super::row::{Directive, function, restriction};
use super::{Settings, boolean, find};
use crate::level::Level;
use crate::words;

/// `WorkingDirectory=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkingDirectory {
    /// An absolute path.
    pub path: String,
    /// Given with `-` in front: where it is missing, the service starts in `/`.
    pub may_be_missing: bool,
}

/// `UserDatabase=`: how a service finds its own user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserDatabase {
    /// As [`Nss`](Self::Nss), if that works for it; otherwise as [`Files`](Self::Files).
    #[default]
    Auto,
    /// Through the module that the host's look-ups ask.
    Nss,
    /// In files of accounts of its own, with its lines added.
    Files,
}

pub(super) const TABLE: &[Directive] = &[
    function(
        "DynamicUser",
        "a user of its own, as long as it runs",
        |s, v| {
            s.static_user = !boolean(v)?;
            Ok(())
        },
    ),
    function("User", "the user's name", |s, v| {
        s.user = (!v.is_empty()).then(|| v.into());
        Ok(())
    }),
    function(
        "RememberUser",
        "ours: no forgets which number the name had, for a service that does not come again",
        |s, v| {
            s.passing = !boolean(v)?;
            Ok(())
        },
    ),
    function(
        "UserDatabase",
        "ours: how it finds its own user: files (its own view of /etc/passwd and /etc/group), nss, or auto",
        |s, v| {
            s.user_database = match v {
                "auto" | "" => UserDatabase::Auto,
                "nss" => UserDatabase::Nss,
                "files" => UserDatabase::Files,
                _ => return Err(format!("{v:?} is neither auto, nss nor files")),
            };
            Ok(())
        },
    )
    .dynamic(),
    function(
        "MainProgram",
        "ours: the program that UserDatabase=auto looks at; dynuser run says it by itself",
        |s, v| {
            s.main_program = (!v.is_empty()).then(|| v.into());
            Ok(())
        },
    ),
    function(
        "Group",
        "the first group: one of the host, or of another dynamic user",
        |s, v| {
            s.group = (!v.is_empty()).then(|| v.into());
            Ok(())
        },
    ),
    function(
        "SupplementaryGroups",
        "setgroups(2): groups of the host, or of dynamic users",
        |s, v| {
            let words = words::split(v)?;
            if words.is_empty() {
                s.groups.clear();
            }
            s.groups.extend(words);
            Ok(())
        },
    ),
    restriction(
        "RestrictForeignDirectories",
        "Landlock: no new files but beneath the service's own places, always unless it is no",
        |s, v| {
            s.foreign_directories = !boolean(v)?;
            s.say("RestrictForeignDirectories", boolean(v)?)
        },
    )
    .since("Linux 5.13; before, io_uring is refused")
    .dynamic(),
    function(
        "Sandbox",
        "full, or a weaker level that the host can give: landlock, identity",
        |s, v| {
            s.level = Level::from_word(v)
                .ok_or_else(|| format!("{v:?} is neither full, landlock nor identity"))?;
            Ok(())
        },
    )
    .dynamic(),
    function(
        "WorkingDirectory",
        "chdir(2) as the user",
        working_directory,
    ),
    function(
        "AllowUnenforced",
        "names restrictions that may be missing: --allow-unenforced",
        allow_unenforced,
    ),
    restriction(
        "NoNewPrivileges",
        "prctl(PR_SET_NO_NEW_PRIVS); for a dynamic user always",
        |s, v| {
            s.no_new_privileges = boolean(v)?;
            Ok(())
        },
    ),
    restriction(
        "RestrictSUIDSGID",
        "seccomp: no mode with set-ID bits, always; nosuid mounts",
        |_, v| boolean(v).map(drop),
    )
    .dynamic(),
    restriction(
        "RemoveIPC",
        "removed before the number is free, always",
        |_, v| boolean(v).map(drop),
    )
    .dynamic(),
];

fn working_directory(settings: &mut Settings, value: &str) -> Result<(), String> {
    if value.is_empty() {
        settings.working_directory = None;
        return Ok(());
    }
    let (path, may_be_missing) = match value.strip_prefix('-') {
        Some(path) => (path, true),
        None => (value, false),
    };
    if path == "~" {
        return Err("a dynamic user has no home directory".into());
    }
    if !path.starts_with('/') || path.contains('\0') {
        return Err("is not an absolute path".into());
    }
    settings.working_directory = Some(WorkingDirectory {
        path: path.into(),
        may_be_missing,
    });
    Ok(())
}

fn allow_unenforced(settings: &mut Settings, value: &str) -> Result<(), String> {
    for name in value.split_ascii_whitespace() {
        let directive = find(name).ok_or_else(|| format!("{name:?} is no directive"))?;
        if directive.effect != super::Effect::Restriction {
            return Err(format!("{name:?} is no restriction: the service needs it"));
        }
        settings.allow_unenforced.insert(directive.name);
    }
    Ok(())
}
