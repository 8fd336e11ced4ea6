//! What keeps this process from a view of its own for a service: asked when one was refused.

use std::fs;

use rustix::io::Errno;

use crate::failure::{Failure, Stage};
use crate::level::{self, Answer, Circumstances, Level};
use crate::sys::{SysError, landlock, possible};

/// `CAP_SYS_ADMIN` of linux/capability.h.
const CAP_SYS_ADMIN: u32 = 21;

/// Whether a service can have a view of its own here, by making one, or the first call that is refused.
pub fn view() -> Result<(), SysError> {
    possible::mounts()
}

/// What is known of this process, as far as it tells what it may do.
pub fn look() -> Circumstances {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    };
    let effective = field("CapEff").and_then(|set| u64::from_str_radix(set, 16).ok());
    let limit = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/user/{name}")).ok()?;
        text.trim().parse().ok()
    };
    Circumstances {
        may_administer: effective.map(|set| set & (1_u64 << CAP_SYS_ADMIN) != 0),
        // A daemon has no filter of its own.
        filtered: field("Seccomp").is_some_and(|mode| mode == "2"),
        profile: fs::read_to_string("/proc/self/attr/current")
            .ok()
            .map(|name| name.trim_matches(['\0', '\n', ' ']).to_owned())
            .filter(|name| !name.is_empty()),
        most_namespaces: limit("max_mnt_namespaces").zip(limit("max_user_namespaces")),
        landlock: match landlock::abi() {
            Ok(version) => version.map(Ok),
            Err(error) => Some(Err(error.to_string())),
        },
    }
}

/// The sentence for a view that was refused by `error`: what is missing, and which flag accepts which weaker level.
pub fn refusal(error: &SysError) -> String {
    level::refusal(&error.to_string(), answer(error.errno), &look())
}

/// The refusal of a view, and the reason as far as it can be told.
pub fn reason(error: &SysError) -> String {
    level::reason(&error.to_string(), answer(error.errno), &look())
}

/// A failure of a start at a level, with the reason that is behind it: where no view can be had at all, that is it.
pub fn explained(failure: Failure, level: Level) -> Failure {
    let error = failure.source.downcast_ref::<SysError>();
    let refused = error.is_some_and(|error| answer(error.errno) != Answer::Other);
    if !level.has_view() || !refused {
        return failure;
    }
    match view() {
        Ok(()) => failure,
        Err(error) => Failure::new(Stage::Namespace, "", refusal(&error)),
    }
}

fn answer(errno: Errno) -> Answer {
    match errno {
        Errno::PERM => Answer::NotPermitted,
        Errno::ACCESS => Answer::Denied,
        Errno::NOSPC => Answer::NoSpace,
        Errno::NOSYS | Errno::INVAL => Answer::NotThere,
        _ => Answer::Other,
    }
}
