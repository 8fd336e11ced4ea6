//! What has to be known of the host before a plan can be made.

use std::fs;

use crate::control_group::{ControlGroup, Facts};
use crate::device_filter::{Devices, NodeKind, numbered};
use crate::failure::{Failure, OrFail, Stage};

/// Looks at what the settings ask for: the size of the host, the numbers of devices.
///
/// # Errors
/// A failure of stage [`Stage::ControlGroup`] over the directive, for a path that is on no disk; those of reading
/// `/proc`.
pub fn facts(settings: &ControlGroup) -> Result<Facts, Failure> {
    let memory = text("/proc/meminfo")?;
    let kibibytes = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
            .saturating_mul(1024)
    };
    let disks = settings.disk_paths().map(|(directive, path)| {
        let disk = crate::sys::device::disk_of(path).or_fail(Stage::ControlGroup, directive)?;
        Ok((path.to_owned(), disk))
    });
    Ok(Facts {
        memory: kibibytes("MemTotal:"),
        swap: kibibytes("SwapTotal:"),
        tasks: most_tasks()?,
        disks: disks.collect::<Result<_, Failure>>()?,
        devices: Devices {
            nodes: settings
                .device_paths()
                .filter(|path| numbered(path).is_none())
                .filter_map(|path| Some((path.to_owned(), node(path)?)))
                .collect(),
            groups: text("/proc/devices")?,
        },
    })
}

fn text(path: &str) -> Result<String, Failure> {
    fs::read_to_string(path).or_fail(Stage::ControlGroup, path)
}

/// The smaller of the kernel's two limits (systemd's `system_tasks_max`).
fn most_tasks() -> Result<u64, Failure> {
    let mut most = u64::MAX;
    for path in ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"] {
        let limit = text(path)?.trim().parse::<u64>();
        most = most.min(limit.or_fail(Stage::ControlGroup, path)?);
    }
    Ok(most)
}

/// The numbers of a device node. One that is not there, or is none, is allowed to nobody, as with systemd: there is
/// nothing to be opened.
fn node(path: &str) -> Option<(NodeKind, u32, u32)> {
    match crate::sys::device::numbers(path) {
        Ok(Some((block, (major, minor)))) => {
            let kind = match block {
                true => NodeKind::Block,
                false => NodeKind::Character,
            };
            Some((kind, major, minor))
        }
        Ok(None) => {
            tracing::warn!(path, "DeviceAllow= names what is no device");
            None
        }
        Err(error) => {
            tracing::info!(%error, "DeviceAllow= names a device that is not there");
            None
        }
    }
}

/// What is written into `memory.pressure` to be told, in base64 with its final NUL (systemd's MEMORY_PRESSURE.md).
pub(super) fn pressure(threshold: u64) -> String {
    base64(format!("some {threshold} 2000000\0").as_bytes())
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| three.get(at).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, shift) in [18_u32, 12, 6, 0].into_iter().enumerate() {
            let six = usize::try_from(bits.wrapping_shr(shift) & 63).unwrap_or(0);
            let letter = LETTERS.get(six).filter(|_| at <= three.len());
            text.push(letter.copied().map_or('=', char::from));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_for_memory_pressure_is_in_base64() {
        // printf 'some 200000 2000000\0' | base64
        assert_eq!(pressure(200_000), "c29tZSAyMDAwMDAgMjAwMDAwMAA=");
        assert_eq!(base64(b"a"), "YQ==");
        assert_eq!(base64(b"abc"), "YWJj");
        assert_eq!(base64(b""), "");
    }

    #[test]
    fn the_host_has_memory_and_tasks_and_devices() {
        let mut settings = ControlGroup::default();
        settings.add_device("/dev/null r").expect("a device");
        settings
            .add_device("/dev/there-is-none r")
            .expect("a device");
        settings.add_device("/dev/char/1:3 r").expect("a device");
        let facts = facts(&settings).expect("facts");
        assert!(facts.memory > 1 << 20);
        assert!(facts.tasks > 300);
        let null = (NodeKind::Character, 1, 3);
        assert_eq!(facts.devices.nodes, [("/dev/null".into(), null)]);
        assert!(facts.devices.groups.contains(" mem\n"));
        settings
            .add_disk("IOReadIOPSMax", "/proc/self 5")
            .expect("a path");
        let failure = super::facts(&settings).expect_err("on no disk");
        assert_eq!(failure.subject, "IOReadIOPSMax");
    }
}
