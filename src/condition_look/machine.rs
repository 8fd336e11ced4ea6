//! Conditions about the machine: what it is, what it has, what watches over it.

use super::{boolean, text};
use crate::conditions::{Operator, split_operator};
use crate::sizes;
use crate::words;

const CGROUP: &str = "/sys/fs/cgroup";

/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const CGROUP2: u64 = 0x6367_7270;

/// `CGROUP_SUPER_MAGIC` and `TMPFS_MAGIC`: the hierarchies of the first version, or the folder that they are in.
const FORMER: [u64; 2] = [0x0027_e0eb, 0x0102_1994];

/// Where the Secure Boot variable of UEFI is: four bytes of attributes, then the value.
const SECURE_BOOT: &str =
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// The container that this is: what its manager calls itself, `container-other` where it does not. As
/// systemd-detect-virt(1) finds it; `None` outside of any.
pub(super) fn in_container() -> Result<Option<String>, String> {
    let known = |name: &str| Some(name.to_owned());
    if exists("/proc/vz")? && !exists("/proc/bc")? {
        return Ok(known("openvz"));
    }
    let release = text("/proc/sys/kernel/osrelease")?.unwrap_or_default();
    if release.contains("Microsoft") || release.contains("WSL") {
        return Ok(known("wsl"));
    }
    for path in ["/run/host/container-manager", "/run/systemd/container"] {
        if let Some(name) = text(path)? {
            return Ok(known(name.trim()));
        }
    }
    // Not even root may read that everywhere: the files below are left.
    let environment = match std::fs::read("/proc/1/environ") {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => String::new(),
        Err(error) => return Err(format!("/proc/1/environ: {error}")),
    };
    let mut variables = environment.split('\0');
    if let Some(name) = variables.find_map(|variable| variable.strip_prefix("container=")) {
        return Ok(known(if name.is_empty() || name == "oci" {
            "container-other"
        } else {
            name
        }));
    }
    if exists("/run/.containerenv")? {
        return Ok(known("podman"));
    }
    if exists("/.dockerenv")? {
        return Ok(known("docker"));
    }
    Ok(None)
}

fn exists(path: &str) -> Result<bool, String> {
    super::paths::exists(path)
}

/// What systemd-detect-virt(1) calls containers.
const CONTAINERS: [&str; 10] = [
    "systemd-nspawn",
    "lxc-libvirt",
    "lxc",
    "openvz",
    "docker",
    "podman",
    "rkt",
    "wsl",
    "proot",
    "pouch",
];

pub(super) fn virtualization(argument: &str) -> Result<bool, String> {
    if argument == "private-users" {
        let map = text("/proc/self/uid_map")?.ok_or("/proc is not mounted")?;
        let map: Vec<&str> = map.split_whitespace().collect();
        return Ok(map != ["0", "0", "4294967295"]);
    }
    // The innermost counts: a container in a virtual machine is a container.
    if let Some(container) = in_container()? {
        return Ok(match (boolean(argument), argument) {
            (Some(any), _) => any,
            (None, "container") => true,
            (None, "vm") => false,
            (None, name) => name == container,
        });
    }
    if argument == "container" || CONTAINERS.contains(&argument) {
        return Ok(false);
    }
    let flags = cpu_flags()?.ok_or("virtual machines are told apart on x86 alone")?;
    let machine = flags.iter().any(|flag| flag == "hypervisor");
    match (boolean(argument), argument) {
        (Some(any), _) => Ok(any == machine),
        (None, "vm") => Ok(machine),
        (None, _) if !machine => Ok(false),
        _ => Err("it is a virtual machine, and which one is not looked at".into()),
    }
}

pub(super) fn firmware(argument: &str) -> Result<bool, String> {
    match argument {
        "uefi" => exists("/sys/firmware/efi"),
        "device-tree" => exists("/sys/firmware/devicetree/base"),
        _ => Err("only uefi and device-tree are looked at".into()),
    }
}

pub(super) fn security(argument: &str) -> Result<bool, String> {
    match argument {
        "selinux" => exists("/sys/fs/selinux/enforce"),
        "apparmor" => {
            let enabled = text("/sys/module/apparmor/parameters/enabled")?;
            Ok(enabled.is_some_and(|text| boolean(text.trim()) == Some(true)))
        }
        "tomoyo" => exists("/sys/kernel/security/tomoyo/version"),
        "smack" => exists("/sys/fs/smackfs/change-rule"),
        "ima" => exists("/sys/kernel/security/ima/"),
        "uefi-secureboot" => match std::fs::read(SECURE_BOOT) {
            Ok(variable) => Ok(variable.get(4) == Some(&1)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.to_string()),
        },
        "audit" | "tpm2" | "cvm" | "measured-uki" => Err("is not looked at".into()),
        _ => Err("is no security technology that is known here".into()),
    }
}

pub(super) fn controllers(argument: &str) -> Result<bool, String> {
    let stat = rustix::fs::statfs(CGROUP).map_err(|error| format!("{CGROUP}: {error}"))?;
    let kind = u64::try_from(stat.f_type).unwrap_or(0);
    let unified = kind == CGROUP2;
    if !unified && !FORMER.contains(&kind) {
        return Err(format!("no control groups are mounted at {CGROUP}"));
    }
    match argument {
        "v2" => return Ok(unified),
        "v1" => return Ok(!unified),
        _ => {}
    }
    let there = if unified {
        text(&format!("{CGROUP}/cgroup.controllers"))?.unwrap_or_default()
    } else {
        let all = text("/proc/cgroups")?.unwrap_or_default();
        let enabled = all.lines().filter(|line| line.ends_with('1'));
        enabled
            .filter_map(|line| line.split_whitespace().next())
            .map(|name| if name == "blkio" { "io" } else { name })
            .collect::<Vec<_>>()
            .join(" ")
    };
    // Others are passed over, as systemd does.
    let known = ["cpu", "cpuset", "io", "memory", "pids"];
    Ok(words::split(argument)?
        .iter()
        .filter(|name| known.contains(&name.as_str()))
        .all(|name| {
            there
                .split_whitespace()
                .any(|controller| controller == name)
        }))
}

/// Compares a number of the machine's with what the argument says: `>=` where it has no operator.
fn compared(have: u64, argument: &str, number: fn(&str) -> Option<u64>) -> Result<bool, String> {
    let (operator, text) = split_operator(argument).unwrap_or((Operator::GreaterOrEqual, argument));
    let wanted = number(text.trim()).ok_or_else(|| format!("{text:?} is no number"))?;
    Ok(operator.accepts(have.cmp(&wanted)))
}

pub(super) fn memory(argument: &str) -> Result<bool, String> {
    let info = rustix::system::sysinfo();
    let total = u64::from(info.mem_unit).saturating_mul(info.totalram);
    // In a container: what it may use.
    let limit = text(&format!("{CGROUP}/memory.max"))?;
    let limit = limit.and_then(|limit| limit.trim().parse().ok());
    compared(
        limit.map_or(total, |limit: u64| limit.min(total)),
        argument,
        |text| sizes::size(text).ok(),
    )
}

pub(super) fn cpus(argument: &str) -> Result<bool, String> {
    let set = rustix::thread::sched_getaffinity(None).map_err(|error| error.to_string())?;
    compared(u64::from(set.count()), argument, |text| text.parse().ok())
}

/// What the first CPU can do, in the kernel's words; `None` where those are not x86's.
fn cpu_flags() -> Result<Option<Vec<String>>, String> {
    if !matches!(std::env::consts::ARCH, "x86" | "x86_64") {
        return Ok(None);
    }
    let information = text("/proc/cpuinfo")?.ok_or("/proc is not mounted")?;
    let line = information.lines().find(|line| line.starts_with("flags"));
    let flags = line.and_then(|line| line.split_once(':'));
    let flags = flags.ok_or("/proc/cpuinfo has no flags")?.1;
    Ok(Some(flags.split_whitespace().map(Into::into).collect()))
}

pub(super) fn cpu_feature(argument: &str) -> Result<bool, String> {
    let argument = argument.to_ascii_lowercase();
    // Where the kernel calls it otherwise.
    let name = match argument.as_str() {
        "fma3" => "fma",
        // It is set by the kernel where it uses xsave.
        "osxsave" => "xsave",
        "monitor" | "hypervisor" => {
            return Err("is not told truly by /proc/cpuinfo".into());
        }
        name => name,
    };
    Ok(cpu_flags()?.is_some_and(|flags| flags.iter().any(|flag| flag == name)))
}

pub(super) fn ac_power(argument: &str) -> Result<bool, String> {
    let asked = boolean(argument).ok_or("is neither yes nor no")?;
    let folder = "/sys/class/power_supply";
    let mut discharging = false;
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // A machine without supplies that anybody knows of is plugged in.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(asked),
        Err(error) => return Err(format!("{folder}: {error}")),
    };
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let read = |name: &str| -> Result<String, String> {
            let path = path.join(name);
            Ok(text(&path.to_string_lossy())?
                .unwrap_or_default()
                .trim()
                .into())
        };
        let kind = read("type")?;
        if kind == "Battery" && read("scope")? != "Device" {
            discharging |= read("status")? == "Discharging";
        } else if kind != "Battery" && read("online")? == "1" {
            return Ok(asked);
        }
    }
    Ok(asked != discharging)
}
