//! How much stands between a service and the host: the levels of the sandbox, what is lost with the weaker ones, and why
//! the full one cannot be had.
//!
//! A weaker level is taken only when somebody asks for it by name.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// A level, from the strongest to the weakest.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A mount namespace of its own, and everything else.
    #[default]
    Full,
    /// No mount namespace: it sees the host's files, and Landlock keeps it from writing elsewhere than to its own.
    Landlock,
    /// A user of its own that gains nothing, and no more: files are protected by their modes alone.
    Identity,
}

/// The version of Landlock that refuses to cut files short (`LANDLOCK_ACCESS_FS_TRUNCATE`).
pub const LANDLOCK_NEEDED: u32 = 3;

impl Level {
    /// All of them, the strongest first.
    pub const ALL: [Self; 3] = [Self::Full, Self::Landlock, Self::Identity];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Landlock => "landlock",
            Self::Identity => "identity",
        }
    }

    /// The level whose [`word`](Self::word) is `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.word() == word)
    }

    /// Whether the service has a view of its own, and what is done in a mount namespace is done.
    pub fn has_view(self) -> bool {
        self == Self::Full
    }
}

/// What became of a call without which there is no sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `EPERM`
    NotPermitted,
    /// `EACCES`
    Denied,
    /// `ENOSPC`
    NoSpace,
    /// `ENOSYS` or `EINVAL`: the kernel does not have it.
    NotThere,
    /// Anything else.
    Other,
}

/// What is known of the process that was refused, as far as it can tell why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// Whether it has `CAP_SYS_ADMIN`; nothing if that cannot be told.
    pub may_administer: Option<bool>,
    /// Whether it is under a system-call filter of somebody else's.
    pub filtered: bool,
    /// The profile of a security module that it is under.
    pub profile: Option<String>,
    /// The most mount namespaces and user namespaces that its user may have.
    pub most_namespaces: Option<(u64, u64)>,
    /// The version of Landlock, or why there is none.
    pub landlock: Option<Result<u32, String>>,
}

/// A call with the kernel's answer, and why it was refused, as far as that can be told.
pub fn reason(what: &str, answer: Answer, known: &Circumstances) -> String {
    format!("{what}: {}", why(answer, known))
}

fn why(answer: Answer, known: &Circumstances) -> String {
    let profile = known.profile.as_ref().filter(|name| *name != "unconfined");
    match (answer, known.may_administer) {
        (Answer::NoSpace, _) => match known.most_namespaces {
            Some((mounts, users)) => format!(
                "no more namespaces may be made (user.max_mnt_namespaces is {mounts}, user.max_user_namespaces {users})"
            ),
            None => "no more namespaces may be made".into(),
        },
        (Answer::NotThere, _) if !known.filtered => "this kernel does not have it".into(),
        (Answer::NotPermitted, Some(false)) => {
            "the daemon has no CAP_SYS_ADMIN, which a container has to be given".into()
        }
        (Answer::Denied, _) if profile.is_some() => format!(
            "a security module forbids it (profile {})",
            profile.map_or("", String::as_str)
        ),
        (Answer::NotPermitted | Answer::NotThere, _) if known.filtered => {
            "a system-call filter of the container forbids it".into()
        }
        (Answer::Denied, _) => "a security module forbids it".into(),
        _ => "for no reason that can be seen from here".into(),
    }
}

/// The sentence for a start at level full whose call `what` was refused: what is missing, and which flag accepts which
/// weaker level. `what` is the call with the kernel's answer.
pub fn refusal(what: &str, answer: Answer, known: &Circumstances) -> String {
    let landlock = match landlock_is_possible(known) {
        Ok(()) => format!("--sandbox=landlock accepts {}", Level::Landlock.without()),
        Err(why) => format!("--sandbox=landlock is not possible here either ({why})"),
    };
    format!(
        "the service can have no view of its own here: {}. {landlock}; --sandbox=identity accepts {}. \
         Neither is ever chosen by itself",
        reason(what, answer, known),
        Level::Identity.without(),
    )
}

/// Whether the level landlock can be had, or why not.
///
/// # Errors
/// The end of a sentence.
pub fn landlock_is_possible(known: &Circumstances) -> Result<(), String> {
    match &known.landlock {
        Some(Ok(version)) if *version >= LANDLOCK_NEEDED => Ok(()),
        Some(Ok(version)) => Err(too_old(*version)),
        Some(Err(why)) => Err(why.clone()),
        None => Err("this kernel has no Landlock, or was started without it".into()),
    }
}

/// What there is to say of a Landlock that could not keep files from being cut short.
pub fn too_old(version: u32) -> String {
    format!(
        "this kernel's Landlock is version {version}, which does not refuse to cut files short; Linux 6.2 has version \
         {LANDLOCK_NEEDED}"
    )
}

impl Level {
    /// What a service at this level is without: the end of "accepts …".
    pub const fn without(self) -> &'static str {
        match self {
            Self::Full => "nothing less",
            Self::Landlock => {
                "that it sees the host's files and /tmp as everybody does, and may write to nothing but its own"
            }
            Self::Identity => {
                "that files are protected by their modes alone, and what it leaves in /tmp stays"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for level in Level::ALL {
            assert_eq!(Level::from_word(level.word()), Some(level));
        }
        assert_eq!(Level::from_word("none"), None);
        assert!(Level::Full < Level::Landlock && Level::Landlock < Level::Identity);
    }

    #[test]
    fn a_refusal_tells_the_reason_as_far_as_it_is_known() {
        let container = Circumstances {
            may_administer: Some(false),
            filtered: true,
            profile: Some("docker-default (enforce)".into()),
            most_namespaces: Some((0, 100)),
            landlock: Some(Ok(7)),
        };
        let admin = Circumstances {
            may_administer: Some(true),
            ..container.clone()
        };
        let free = Circumstances {
            may_administer: Some(true),
            ..Circumstances::default()
        };
        for (answer, known, said) in [
            (Answer::NotPermitted, &container, "no CAP_SYS_ADMIN"),
            (Answer::NotPermitted, &admin, "a system-call filter"),
            (Answer::Denied, &admin, "(profile docker-default (enforce))"),
            (Answer::Denied, &free, "a security module"),
            (Answer::NoSpace, &container, "user.max_mnt_namespaces is 0"),
            (Answer::NotThere, &free, "this kernel does not have it"),
            (Answer::NotThere, &admin, "a system-call filter"),
            (Answer::NotPermitted, &free, "no reason that can be seen"),
        ] {
            let text = refusal("unshare(mnt): no", answer, known);
            assert!(
                text.contains(said) && text.contains("unshare(mnt): no"),
                "{text}"
            );
            assert!(text.contains("--sandbox=identity accepts"), "{text}");
        }
    }

    #[test]
    fn the_flag_that_would_not_help_is_told_so() {
        for (landlock, said) in [
            (Some(Ok(3)), "--sandbox=landlock accepts"),
            (
                Some(Ok(2)),
                "landlock is not possible here either (this kernel's Landlock is version 2",
            ),
            (
                Some(Err("a filter forbids it".into())),
                "(a filter forbids it)",
            ),
            (None, "(this kernel has no Landlock"),
        ] {
            let known = Circumstances {
                landlock,
                ..Circumstances::default()
            };
            let text = refusal("unshare(mnt)", Answer::NotPermitted, &known);
            assert!(text.contains(said), "{text}");
        }
    }
}
