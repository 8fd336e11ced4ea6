//! The words that the daemon and its clients use on the bus.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use zbus::{OwnedFd, OwnedVariant, Type};

use crate::failure::{Failure, OrFail, Stage};

/// The object.
pub const PATH: &str = "/org/dynuser1";

/// Its interface.
pub const INTERFACE: &str = "org.dynuser1.Manager";

/// What stands before the word of a [`Stage`] in the name of an error.
pub const ERRORS: &str = "org.dynuser1.Error.";

/// The properties of a service by name; the value is one string, or an array of strings that are
/// assigned one after the other.
pub type Properties = HashMap<String, OwnedVariant>;

/// What `Prepare` answers.
#[derive(Debug, Serialize, Deserialize, Type)]
pub struct PrepareReply {
    /// The user's number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
    /// Its name.
    pub user: String,
    /// The namespaces, by their names in `/proc/PID/ns`, for setns(2) in this order; none, if the service sees what
    /// everybody sees.
    pub namespaces: Vec<(String, OwnedFd)>,
    /// Its control group, for whoever enters it; none, if nothing takes one.
    pub control_group: Vec<OwnedFd>,
    /// The directives that are not enforced although they were asked for, with the reason: that was allowed.
    pub unenforced: Vec<(String, String)>,
    /// Where in its mount namespace the service may make files.
    pub writable: Vec<String>,
    /// The level of its sandbox: `full`, `landlock` or `identity`.
    pub sandbox: String,
    /// Whether the service is to gain no privileges, ever: that of a dynamic user.
    pub confined: bool,
    /// The environment, as names and values.
    pub environment: Vec<(String, String)>,
    /// The working directory; `/` if none was asked for.
    pub working_directory: String,
    /// Whether `/` will do where that directory is missing.
    pub working_directory_may_be_missing: bool,
}

/// The signal that tells how far it is when a tree is given, and takes its time: the path, how many entries
/// were looked at, and of how many, or 0 while nobody knows that.
pub const CHOWN_PROGRESS: &str = "ChownProgress";

/// What `Acquire` answers.
#[derive(Debug, Serialize, Deserialize, Type)]
pub struct AcquireReply {
    /// The user's number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// Its name.
    pub user: String,
    /// What holds the user: it exists as long as any copy of this is open.
    pub descriptor: OwnedFd,
}

/// What `Clean` and `Collect` answer.
#[derive(Debug, Serialize, Deserialize, Type)]
pub struct RemovalReply {
    /// The paths that are gone.
    pub removed: Vec<String>,
    /// What was left, and why: a sentence each.
    pub left: Vec<String>,
}

/// The property that holds all assignments as `NAME=VALUE`, in their order. By name alone the order between different
/// names would be lost, and of two that speak of the same (`TimeoutSec=` and `TimeoutStopSec=`, a list and its former
/// name) chance would say which counts.
const IN_ORDER: &str = "Assignments";

/// The assignments of a request: those by name, sorted, then those of [`IN_ORDER`].
///
/// # Errors
/// Of [`Stage::Request`], for a value that is neither a string nor an array of strings.
pub fn assignments(properties: Properties) -> Result<Vec<(String, String)>, Failure> {
    let mut assignments = Vec::new();
    let mut sorted: Vec<(String, OwnedVariant)> = properties.into_iter().collect();
    sorted.sort_by(|(one, _), (other, _)| (one == IN_ORDER, one).cmp(&(other == IN_ORDER, other)));
    for (name, value) in sorted {
        let values = match String::try_from(value.try_clone().map_err(|error| bad(&name, error))?) {
            Ok(one) => vec![one],
            Err(_) => Vec::<String>::try_from(value).map_err(|error| bad(&name, error))?,
        };
        if name != IN_ORDER {
            assignments.extend(values.into_iter().map(|value| (name.clone(), value)));
            continue;
        }
        for both in values {
            let (name, value) = both
                .split_once('=')
                .ok_or("holds an assignment without =")
                .or_fail(Stage::Request, IN_ORDER)?;
            assignments.push((name.into(), value.into()));
        }
    }
    Ok(assignments)
}

fn bad(name: &str, error: zbus::Error) -> Failure {
    let why = format!("is neither a string nor an array of strings ({error})");
    Failure::new(Stage::Request, format!("{name}="), why)
}

/// The reverse of [`assignments`].
pub fn properties(assignments: &[(String, String)]) -> Properties {
    let all: Vec<String> = assignments
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let value = OwnedVariant::try_from(zbus::Variant::from(all)).ok();
    value
        .into_iter()
        .map(|value| (IN_ORDER.into(), value))
        .collect()
}
