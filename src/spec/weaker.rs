//! What a service cannot have without a view of its own: at the levels below full.
//!
//! What a dynamic user brings by itself is what somebody gives up who asks for the level. What is asked for by name is
//! enforced, or refused by name.

use super::Directory;
use crate::capabilities;
use crate::directives::{
    Access, Filters, Homes, Namespaces, PathRule, Processes, Settings, UserDatabase,
};
use crate::exec_directory::{ExecDirectory, Kind, lies_in};
use crate::failure::{Failure, Stage};
use crate::level::Level;

/// Everything that cannot be done has this reason.
const NO_VIEW: &str = "it takes a mount namespace";
const NO_NAMESPACE: &str = "it takes a namespace of its own";
const IN_PART: &str =
    "its system calls are refused, but hiding or protecting its files takes a mount namespace";

/// What Landlock leaves as writable as it is: its rules add up, and nothing below is taken away again.
const KERNEL_TREES: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Refuses what cannot be had at the level of the service. Gives the restrictions that are not enforced because that
/// was allowed, each with the reason.
///
/// # Errors
/// Of [`Stage::Request`], naming the directive.
pub(super) fn check(
    settings: &Settings,
    directories: &[Directory],
) -> Result<Vec<(&'static str, String)>, Failure> {
    if settings.level.has_view() {
        return Ok(Vec::new());
    }
    if let Some((name, why)) = needed(settings, directories) {
        let why =
            format!("cannot be had at this level of the sandbox: {why}; --sandbox=full has it");
        return Err(refused(settings, name, &why));
    }
    let unenforced = unenforced(settings);
    let missing = unenforced.iter();
    let missing: Vec<_> = missing
        .filter(|(name, _)| !settings.may_go_without(name))
        .collect();
    if !missing.is_empty() {
        let reasons = missing.iter().map(|(name, why)| format!("{name}= ({why})"));
        let reasons: Vec<String> = reasons.collect();
        let flags = missing.iter();
        let flags: Vec<String> = flags
            .map(|(name, _)| format!("--allow-unenforced={name}"))
            .collect();
        let why = format!(
            "does not enforce {}; {} starts the service without, --sandbox=full enforces it",
            reasons.join(", "),
            flags.join(" "),
        );
        let subject = format!("Sandbox={}", settings.level.word());
        return Err(Failure::new(Stage::Request, subject, why));
    }
    let mut lost = Vec::new();
    for (name, why) in unenforced {
        lost.push((name, format!("Sandbox={}: {why}", settings.level.word())));
    }
    Ok(lost)
}

/// Takes from the settings what there is none of at the level: nobody further on has to ask for that.
pub(super) fn go_without(settings: &mut Settings) {
    if settings.level.has_view() {
        return;
    }
    settings.namespaces = Namespaces::default();
    // The name of the host is everybody's: then it stays.
    settings.filters.private_hostname = false;
}

fn refused(settings: &Settings, name: &str, why: &str) -> Failure {
    let subject = format!("{name}= with Sandbox={}", settings.level.word());
    Failure::new(Stage::Request, subject, why)
}

/// What the service needs and cannot have.
fn needed(settings: &Settings, directories: &[Directory]) -> Option<(&'static str, &'static str)> {
    let landlock = settings.level == Level::Landlock;
    let bind = settings.mounts.binds.first();
    let rules = "Landlock's rules add up, so nothing in a place where the service may write can be kept from it";
    let found = [
        (bind.is_some_and(|bind| bind.writable), "BindPaths", NO_VIEW),
        (bind.is_some(), "BindReadOnlyPaths", NO_VIEW),
        (
            settings.user_database == UserDatabase::Files,
            "UserDatabase",
            "its own view of the files of accounts takes a mount namespace",
        ),
        (
            !settings.temporary.is_empty(),
            "TemporaryFileSystem",
            NO_VIEW,
        ),
        (
            settings.namespaces.network_path.is_some(),
            "NetworkNamespacePath",
            NO_NAMESPACE,
        ),
        (
            landlock && settings.foreign_directories,
            "RestrictForeignDirectories",
            "Landlock keeps the service from all directories but its own",
        ),
        (
            settings.filters.hostname.is_some(),
            "ProtectHostname",
            NO_NAMESPACE,
        ),
    ];
    let found = found.into_iter().find(|(asked, ..)| *asked);
    let found = found.map(|(_, name, why)| (name, why));
    let secret = settings.credentials.first().map(|_| {
        let names = ["LoadCredential", "ImportCredential", "SetCredential"];
        let mut names = names.into_iter();
        let name = names.find(|name| settings.assigned.contains(name));
        (name.unwrap_or("LoadCredential"), NO_VIEW)
    });
    let read_only = directories.iter().find(|it| it.is_read_only());
    let read_only = read_only.and_then(|directory| match landlock {
        // Its owner may give himself back whatever a mode takes from him.
        false => Some((
            property(directory),
            "a directory with :ro takes a mount namespace, or Landlock",
        )),
        true => {
            let within = |it: &Directory| {
                it.place() != directory.place()
                    && !it.is_read_only()
                    && directory.place().is_within(it.place())
            };
            directories
                .iter()
                .any(within)
                .then(|| (property(directory), rules))
        }
    });
    found.or(secret).or(read_only)
}

fn property(directory: &Directory) -> &'static str {
    match directory.kind() {
        Kind::Runtime => "RuntimeDirectory",
        Kind::State => "StateDirectory",
        Kind::Cache => "CacheDirectory",
        Kind::Logs => "LogsDirectory",
        Kind::Configuration => "ConfigurationDirectory",
    }
}

/// The restrictions that were asked for by name, and are not enforced at the level.
fn unenforced(settings: &Settings) -> Vec<(&'static str, &'static str)> {
    let (mounts, filters, spaces) = (&settings.mounts, &settings.filters, &settings.namespaces);
    let landlock = settings.level == Level::Landlock;
    let said = |name| settings.said.contains(name);
    let has = |access| mounts.paths.iter().any(|rule| rule.access == access);
    let read_only = mounts.paths.iter();
    let mut read_only = read_only.filter(|rule| rule.access == Access::Read);
    let kept = read_only.all(|rule| landlock && is_kept_from_writing(settings, rule));
    let homes = said("ProtectHome") && (!landlock || mounts.homes != Homes::ReadOnly);
    // As root of the system its mounts would be the host's.
    let mounts_itself = capabilities::number("cap_sys_admin")
        .is_some_and(|number| settings.process.ambient.has(number));
    let all = [
        (!landlock && said("ProtectSystem"), "ProtectSystem", NO_VIEW),
        (homes, "ProtectHome", NO_VIEW),
        (
            said("PrivateTmp"),
            "PrivateTmp",
            "it takes a mount namespace (TMPDIR names a directory of its own)",
        ),
        (mounts.devices, "PrivateDevices", IN_PART),
        (
            !landlock && mounts.control_groups,
            "ProtectControlGroups",
            NO_VIEW,
        ),
        (mounts.processes != Processes::Shown, "ProtectProc", NO_VIEW),
        (mounts.processes_only, "ProcSubset", NO_VIEW),
        (!kept, "ReadOnlyPaths", NO_VIEW),
        (has(Access::Nothing), "InaccessiblePaths", NO_VIEW),
        (has(Access::NoExecute), "NoExecPaths", NO_VIEW),
        (
            mounts_itself && settings.assigned.contains("PrivateMounts"),
            "PrivateMounts",
            NO_VIEW,
        ),
        (spaces.network, "PrivateNetwork", NO_NAMESPACE),
        (spaces.ipc, "PrivateIPC", NO_NAMESPACE),
        (spaces.users.is_some(), "PrivateUsers", NO_NAMESPACE),
        (spaces.processes, "PrivatePIDs", NO_NAMESPACE),
        (filters.private_hostname, "ProtectHostname", NO_NAMESPACE),
        (
            !landlock && said("RestrictForeignDirectories"),
            "RestrictForeignDirectories",
            "it takes Landlock",
        ),
    ];
    let all = all.into_iter().filter(|(asked, ..)| *asked);
    let all = all.map(|(_, name, why)| (name, why));
    all.chain(in_part(filters)).collect()
}

/// What a filter enforces, but for its files.
fn in_part(filters: &Filters) -> impl Iterator<Item = (&'static str, &'static str)> {
    let parts = [
        (filters.protect_kernel_tunables, "ProtectKernelTunables"),
        (filters.protect_kernel_modules, "ProtectKernelModules"),
        (filters.protect_kernel_logs, "ProtectKernelLogs"),
        (filters.protect_clock, "ProtectClock"),
    ];
    let parts = parts.into_iter().filter(|(asked, _)| *asked);
    parts.map(|(_, name)| (name, IN_PART))
}

/// Whether Landlock keeps the service from writing to a path: that is in no place where it may write.
fn is_kept_from_writing(settings: &Settings, rule: &PathRule) -> bool {
    let places = settings.directories.iter().map(|asked| &asked.directory);
    let own = places.flat_map(|place| {
        let public = Some(place.public());
        public.into_iter().chain(ExecDirectory::behind(place))
    });
    let asked = settings.mounts.paths.iter();
    let asked = asked.filter(|it| it.access == Access::Write);
    let mut writable = own
        .chain(asked.map(|it| it.path.clone()))
        .chain(KERNEL_TREES.map(String::from));
    !writable.any(|place| lies_in(&rule.path, &place))
}
