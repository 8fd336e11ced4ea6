//! Where control groups are: words of `/proc`, and the names of our own.

#![forbid(unsafe_code)]

/// The group that all of ours lie in.
pub const TOP: &str = "dynuser";

/// A mount of the unified hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is.
    pub point: String,
    /// The group that it shows as its root.
    pub root: String,
}

/// The writable mounts of the unified hierarchy in a mountinfo (proc_pid_mountinfo(5)), the topmost first. On
/// hybrid hosts there is one beside those of version 1.
pub fn mounts(mountinfo: &str) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = mountinfo.lines().filter_map(mount).collect();
    mounts.reverse();
    mounts
}

fn mount(line: &str) -> Option<Mount> {
    let (mount, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let writable = |options: &str| options.split(',').any(|option| option == "rw");
    if kind.next()? != "cgroup2" || !writable(kind.nth(1)?) {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    // An escaped name: such a mount is somebody's own.
    let plain = !root.contains('\\') && !point.contains('\\');
    (plain && writable(fields.next()?)).then(|| Mount {
        point: point.into(),
        root: root.into(),
    })
}

/// The group of a process in the unified hierarchy, from its `/proc/PID/cgroup`; `None` for one that cannot be
/// seen from here.
pub fn group_of(text: &str) -> Option<&str> {
    let group = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    // Outside our cgroup namespace it begins with `/..`; removed, it ends so.
    let seen = group.starts_with('/')
        && !group.split('/').any(|part| part == "..")
        && !group.ends_with(" (deleted)");
    seen.then_some(group)
}

/// The path of a group below where a mount is; empty for its root.
pub fn below<'a>(mount: &Mount, group: &'a str) -> Option<&'a str> {
    let below = match mount.root.as_str() {
        "/" => group,
        root => group.strip_prefix(root)?,
    };
    match below.strip_prefix('/') {
        Some(below) => Some(below),
        None => below.is_empty().then_some(below),
    }
}

/// The groups from the root to one, itself included, innermost first: as paths below the mount.
pub fn upwards(group: &str) -> impl Iterator<Item = &str> {
    let mut next = Some(group);
    core::iter::from_fn(move || {
        let group = next?;
        let above = group.rsplit_once('/').map_or("", |(above, _)| above);
        next = (!group.is_empty()).then_some(above);
        Some(group)
    })
}

/// The name of the group of a service.
///
/// # Errors
/// A sentence: it would be no name of a group, or one of the kernel's files.
pub fn service(name: &str) -> Result<String, String> {
    let name = format!("{name}.service");
    let good = !name.starts_with('.')
        && !name.contains('/')
        && !name.contains(char::is_control)
        && name.len() <= 255;
    good.then_some(name)
        .ok_or_else(|| String::from("is no name for a control group"))
}

/// The part of a recorded path below our own group, if it is the path of a group that we made. A record that was
/// damaged must not have another group killed.
pub fn ours(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    let parts: Vec<&str> = path.split('/').collect();
    let good = |part: &&str| !part.is_empty() && !matches!(*part, "." | "..");
    let (last, above) = parts.split_last()?;
    let at = above.iter().rposition(|part| !part.ends_with(".slice"))?;
    let ours = parts.iter().all(good) && above.get(at) == Some(&TOP) && last.ends_with(".service");
    let mut length = parts
        .iter()
        .take(at.saturating_add(1))
        .map(|part| part.len());
    let first = length.next()?;
    let end = length.fold(first, |sum, part| {
        sum.saturating_add(part).saturating_add(1)
    });
    let (top, rest) = path.split_at_checked(end)?;
    ours.then_some((top, rest.strip_prefix('/')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writable_mount_of_the_unified_hierarchy_is_found() {
        let text = "\
            24 1 0:22 / /sys rw,nosuid - sysfs sysfs rw\n\
            30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            32 30 0:28 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n\
            33 30 0:28 / /sys/fs/cgroup/other ro,relatime - cgroup2 cgroup2 rw\n\
            34 30 0:28 / /mnt/a\\040b rw - cgroup2 cgroup2 rw\n\
            35 30 0:28 /docker/1 /inner rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = mounts(text);
        let shown: Vec<(&str, &str)> = found
            .iter()
            .map(|mount| (mount.point.as_str(), mount.root.as_str()))
            .collect();
        assert_eq!(
            shown,
            [("/inner", "/docker/1"), ("/sys/fs/cgroup/unified", "/")]
        );
        let [inner, outer] = found.as_slice() else {
            panic!("two")
        };
        assert_eq!(below(inner, "/docker/1/a"), Some("a"));
        assert_eq!(below(inner, "/docker/1"), Some(""));
        assert_eq!(below(inner, "/docker/12"), None);
        assert_eq!(below(inner, "/"), None);
        assert_eq!(below(outer, "/docker/1"), Some("docker/1"));
        assert_eq!(below(outer, "/"), Some(""));
    }

    #[test]
    fn groups_that_cannot_be_seen_are_none() {
        assert_eq!(group_of("4:memory:/x\n0::/a/b\n"), Some("/a/b"));
        for text in [
            "",
            "1:cpu:/\n",
            "0::/../x\n",
            "0::/a/..\n",
            "0::/a (deleted)\n",
        ] {
            assert_eq!(group_of(text), None, "{text}");
        }
        let all: Vec<&str> = upwards("a/b").collect();
        assert_eq!(all, ["a/b", "a", ""]);
    }

    #[test]
    fn only_groups_of_our_making_are_ours() {
        for (path, top, rest) in [
            ("/dynuser/x.service", "dynuser", "x.service"),
            (
                "/dynuser/a.slice/a-b.slice/x.service",
                "dynuser",
                "a.slice/a-b.slice/x.service",
            ),
            (
                "/system.slice/d.service/dynuser/x.service",
                "system.slice/d.service/dynuser",
                "x.service",
            ),
        ] {
            assert_eq!(ours(path), Some((top, rest)));
        }
        for path in [
            "",
            "/",
            "/dynuser",
            "/dynuser/",
            "/x.service",
            "/dynuser/a.slice",
            "/system.slice/ssh.service",
            "/dynuser/../x.service",
            "/dynuser/x.service/y.service",
            "/dynuser//x.service",
            "dynuser/x.service",
            "/dynuser/a.slice/../../x.service",
        ] {
            assert_eq!(ours(path), None, "{path}");
        }
        assert!(service("a").is_ok());
        for bad in ["", ".a", "a/b", "a\n"] {
            assert!(service(bad).is_err(), "{bad:?}");
        }
    }
}
