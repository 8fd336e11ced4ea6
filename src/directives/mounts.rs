//! What the service sees of the file system.

use super::row::{Directive, restriction};
use super::{Settings, boolean};

pub(super) const TABLE: &[Directive] = &[
    restriction(
        "ProtectSystem",
        "strict, always: every mount is read-only but for the service's own",
        |_, v| match v {
            "strict" | "full" => Ok(()),
            other => boolean(other).map(drop),
        },
    )
    .dynamic(),
    restriction("ProtectHome", "read-only at least, always", protect_home).dynamic(),
    restriction(
        "PrivateTmp",
        "a tmpfs of its own on /tmp and /var/tmp, always",
        |_, v| match v {
            "disconnected" => Ok(()),
            other => boolean(other).map(drop),
        },
    )
    .dynamic(),
];

fn protect_home(_: &mut Settings, value: &str) -> Result<(), String> {
    match value {
        "read-only" => Ok(()),
        other => boolean(other).map(drop),
    }
}
