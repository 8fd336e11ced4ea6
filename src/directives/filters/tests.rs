#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

/// Several values of one directive, one after the other.
fn all(name: &str, values: &[&str]) -> Result<Filters, String> {
    let mut settings = Settings::default();
    for value in values {
        settings.assign(name, value)?;
    }
    Ok(settings.filters)
}

fn families(values: &[&str]) -> Option<(bool, Vec<u32>)> {
    let families = all("RestrictAddressFamilies", values).unwrap().families?;
    Some((families.allow, families.listed.into_iter().collect()))
}

/// As a systemd 257 has merged the same lines (`systemctl show`), but for `none` and `~` after it.
#[test]
fn families_are_merged_as_systemd_merges_them() {
    for (values, expected) in [
        (&["AF_UNIX AF_INET"][..], Some((true, vec![1, 2]))),
        (&["AF_UNIX", "AF_INET"], Some((true, vec![1, 2]))),
        (&["none"], Some((true, vec![]))),
        (&["none", "AF_UNIX"], Some((true, vec![1]))),
        (&["AF_UNIX", "none"], Some((true, vec![]))),
        (&["~AF_PACKET", "AF_UNIX"], Some((false, vec![17]))),
        (&["~AF_PACKET", "none"], Some((true, vec![]))),
        (&["AF_UNIX AF_INET", "~AF_UNIX"], Some((true, vec![2]))),
        (&["AF_UNIX", "~AF_UNIX"], Some((true, vec![]))),
        (&["~AF_UNIX", ""], None),
        (&["AF_LOCAL AF_ROUTE"], Some((true, vec![1, 16]))),
        // systemd: ~AF_PACKET.
        (&["none", "~AF_PACKET"], Some((true, vec![]))),
    ] {
        assert_eq!(families(values), expected, "{values:?}");
    }
    for bad in [
        "AF_UNSPEC",
        "5",
        "AF_NOSUCH",
        "AF_UNIX none",
        "~none",
        "inet",
    ] {
        assert!(all("RestrictAddressFamilies", &[bad]).is_err(), "{bad}");
    }
}

/// As a systemd 257 has merged them, and with `time`, which is new in 262.
#[test]
fn namespaces_are_merged_as_systemd_merges_them() {
    const UTS: u32 = 0x0400_0000;
    for (values, expected) in [
        (&["yes"][..], Some(0)),
        (&["no"], Some(ALL_NAMESPACES)),
        (&["yes", "uts"], Some(UTS)),
        (&["no", "uts"], Some(ALL_NAMESPACES)),
        (&["uts", ""], None),
        (&["uts", "~uts"], Some(0)),
        (&["~uts", "ipc"], Some(ALL_NAMESPACES & !UTS)),
        (&["uts", "yes"], Some(0)),
        (&["cgroup ipc", "cgroup net"], Some(0x4A00_0000)),
        (&["cgroup ipc", "~cgroup net"], Some(0x0800_0000)),
        (
            &["cgroup ipc mnt net pid time user uts"],
            Some(ALL_NAMESPACES),
        ),
    ] {
        let got = all("RestrictNamespaces", values).unwrap().namespaces;
        assert_eq!(got, expected, "{values:?}");
    }
    let error = all("RestrictNamespaces", &["uts mount"]).unwrap_err();
    assert!(error.contains("\"mount\"") && error.contains("mnt"));
}

/// Whether calls pass: `+name`, or `-name` for those that do not.
fn passes(values: &[&str], expected: &str) {
    let filters = all("SystemCallFilter", values).unwrap();
    for word in expected.split(' ') {
        let (sign, name) = word.split_at(1);
        let calls = filters.calls.as_ref();
        let denial = calls.and_then(|calls| calls.denial(name, None, Denial::Kill));
        assert_eq!(denial.is_none(), sign == "+", "{values:?} {word}");
    }
}

#[test]
fn the_first_list_decides_and_later_ones_add_and_take_away() {
    passes(&["@chown"], "+chown +execve +mmap -read -mount");
    passes(&["chown read", "~chown"], "-chown +read +execve -mount");
    passes(&["read", "~@default"], "+read -execve");
    passes(&["read", "~read", "read"], "+read");
    passes(&["~chown"], "-chown +read +mount");
    passes(&["~chown", "chown"], "+chown +read");
    passes(&["~chown", "read"], "-chown +read +mount");
    passes(&["~@chown", "~@mount", "fchown"], "-chown -mount +fchown");
    passes(&["uname", ""], "+read +uname");
    passes(&["uname", "", "~uname"], "+read -uname");
    passes(&[], "+read");
}

#[test]
fn a_denied_call_may_have_an_error_of_its_own() {
    let filters = all(
        "SystemCallFilter",
        &["~chown:EPERM uname:0 @swap:kill acct:4095 read"],
    )
    .unwrap();
    let calls = filters.calls.unwrap();
    for (name, expected) in [
        ("chown", Denial::Errno(1)),
        ("uname", Denial::Errno(0)),
        ("swapon", Denial::Kill),
        ("acct", Denial::Errno(4095)),
        ("read", Denial::Errno(13)),
    ] {
        let general = Denial::Errno(13);
        assert_eq!(calls.denial(name, None, general), Some(expected), "{name}");
    }
    for bad in [
        "chown:EPERM",
        "~chown:4096",
        "~chown:-1",
        "~chown:",
        "~chown:ENOSUCH",
        "~chown:EPERM:EPERM",
        "~chown:99999999999",
        "nosuch",
        "~@nosuch",
        "@nosuch:EPERM",
        "\"read",
    ] {
        assert!(all("SystemCallFilter", &[bad]).is_err(), "{bad}");
    }
    let error = all("SystemCallFilter", &["~@clock mont"]).unwrap_err();
    assert!(error.contains("\"mont\""), "{error}");
    assert!(all("SystemCallLog", &["~read:EPERM"]).is_err());
}

#[test]
fn the_error_number_is_a_name_or_a_number() {
    for (value, expected) in [
        ("EPERM", Denial::Errno(1)),
        ("EUCLEAN", Denial::Errno(117)),
        ("EHWPOISON", Denial::Errno(133)),
        ("EWOULDBLOCK", Denial::Errno(11)),
        ("EOPNOTSUPP", Denial::Errno(95)),
        ("13", Denial::Errno(13)),
        ("4095", Denial::Errno(4095)),
        ("kill", Denial::Kill),
        ("", Denial::Kill),
    ] {
        let denial = all("SystemCallErrorNumber", &["EIO", value])
            .unwrap()
            .denial;
        assert_eq!(denial, expected, "{value}");
    }
    for bad in ["0", "4096", "-1", "eperm", "EPERM EIO", "+1", "1 "] {
        assert!(all("SystemCallErrorNumber", &[bad]).is_err(), "{bad}");
    }
}

#[test]
fn architectures_and_host_names() {
    let named = |values: &[&str]| {
        all("SystemCallArchitectures", values)
            .unwrap()
            .architectures
    };
    assert_eq!(named(&["native"]), Some(BTreeSet::new()));
    assert_eq!(named(&["native x86"]), Some([Architecture::X86].into()));
    assert_eq!(
        named(&["x86", "x32"]),
        Some([Architecture::X86, Architecture::X32].into())
    );
    assert_eq!(named(&["x86", ""]), None);
    assert_eq!(named(&["s390x"]), Some([Architecture::Other].into()));
    assert!(all("SystemCallArchitectures", &["amd64"]).is_err());
    let host = |value: &str| all("ProtectHostname", &[value]);
    let filters = host("yes:a.example").unwrap();
    assert!(filters.protect_hostname && !filters.private_hostname);
    assert_eq!(filters.hostname.as_deref(), Some("a.example"));
    let filters = host("private").unwrap();
    assert!(filters.protect_hostname && filters.private_hostname);
    assert_eq!(host("no").unwrap(), Filters::default());
    for bad in [
        "",
        "no:name",
        "yes:",
        "yes:a..b",
        "private:-x",
        "maybe",
        "yes:a b",
    ] {
        assert!(host(bad).is_err(), "{bad}");
    }
}
