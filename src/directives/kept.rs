//! Which assignments say what a process of the service does to itself before it executes anything.

use super::row::canonical;
use super::{filters, process};

/// Those of other topics.
const OTHERS: [&str; 11] = [
    // Which others there may be: it is read before them.
    "AllowUnenforced",
    "DynamicUser",
    "NoNewPrivileges",
    "PrivateDevices",
    "ProtectControlGroups",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "RestrictForeignDirectories",
    "Sandbox",
    "ProtectSystem",
    "WorkingDirectory",
];

/// Whether whoever joins a service that runs (`dynuser enter`) needs this assignment, to be held back as it is. Such
/// assignments are kept in the lease, which anybody may read: none of them may ever be a secret. What a service
/// sees (its namespaces) is taken from the service itself.
pub fn says_how_confined(name: &str) -> bool {
    let name = canonical(name);
    let rows = [filters::TABLE, process::TABLE];
    let mut known = rows.into_iter().flatten().map(|row| row.name);
    OTHERS.contains(&name) || known.any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_a_process_back_is_kept_and_secrets_are_not() {
        for name in ["SystemCallFilter", "UMask", "LimitNOFILE", "DynamicUser"] {
            assert!(says_how_confined(name), "{name}");
        }
        for name in [
            "SetCredential",
            "Environment",
            "ExecStart",
            "StateDirectory",
        ] {
            assert!(!says_how_confined(name), "{name}");
        }
    }
}
