//! What means nothing to a service itself, and what is known but not supported.

use super::row::{Directive, elsewhere, missing, unenforced};

const LOGGING: &str = "logging: the service's output goes where dynuser's goes";
const ACCOUNTING: &str = "accounting only";
const BOOT: &str = "the login records and consoles of a boot that systemd leads";

pub(super) const TABLE: &[Directive] = &[
    elsewhere("SyslogIdentifier", LOGGING),
    elsewhere("SyslogFacility", LOGGING),
    elsewhere("SyslogLevel", LOGGING),
    elsewhere("SyslogLevelPrefix", LOGGING),
    elsewhere("LogLevelMax", LOGGING),
    elsewhere("LogExtraFields", LOGGING),
    elsewhere("LogRateLimitIntervalSec", LOGGING),
    elsewhere("LogRateLimitBurst", LOGGING),
    elsewhere("LogFilterPatterns", LOGGING),
    elsewhere("LogNamespace", LOGGING),
    elsewhere("CPUAccounting", ACCOUNTING),
    elsewhere("MemoryAccounting", ACCOUNTING),
    elsewhere("TasksAccounting", ACCOUNTING),
    elsewhere("IOAccounting", ACCOUNTING),
    elsewhere("IPAccounting", ACCOUNTING),
    elsewhere("BlockIOAccounting", ACCOUNTING),
    elsewhere("UtmpIdentifier", BOOT),
    elsewhere("UtmpMode", BOOT),
    missing("RootDirectory", "another root directory"),
    missing("RootImage", "an image as root directory"),
    missing("MountImages", "mounting images"),
    missing("ExtensionImages", "mounting images"),
    missing("ExtensionDirectories", "overlays of other trees"),
    missing("PAMName", "a PAM session"),
    missing(
        "SELinuxContext",
        "choosing a label; the kernel's own transitions apply",
    ),
    missing(
        "AppArmorProfile",
        "choosing a profile; one that is attached to the program applies",
    ),
    missing("SmackProcessLabel", "choosing a label"),
    missing(
        "LoadCredentialEncrypted",
        "credentials that systemd-creds encrypted",
    ),
    missing(
        "SetCredentialEncrypted",
        "credentials that systemd-creds encrypted",
    ),
    missing("NUMAPolicy", "set_mempolicy(2)"),
    missing("NUMAMask", "set_mempolicy(2)"),
    unenforced(
        "RestrictFileSystems",
        "it takes a BPF program in the kernel's security hooks",
    ),
];
