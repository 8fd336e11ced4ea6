//! What the directives do to the settings.

use super::*;

#[test]
fn lists_add_up_and_an_empty_value_resets_them() {
    let mut settings = Settings::default();
    for value in ["a b", "c", "a"] {
        settings
            .assign("StateDirectory", value)
            .expect("a good list");
    }
    settings.assign("CacheDirectory", "k").expect("a good list");
    let paths = |settings: &Settings| -> Vec<String> {
        settings
            .directories
            .iter()
            .map(|asked| asked.directory.public())
            .collect()
    };
    assert_eq!(
        paths(&settings),
        ["/var/lib/a", "/var/lib/b", "/var/lib/c", "/var/cache/k"]
    );
    settings.assign("StateDirectory", "").expect("a reset");
    assert_eq!(paths(&settings), ["/var/cache/k"]);
}

#[test]
fn the_last_mode_of_a_kind_counts() {
    let mut settings = Settings::default();
    assert_eq!(settings.mode(Kind::State), 0o755);
    settings
        .assign("StateDirectoryMode", "0700")
        .expect("a mode");
    settings
        .assign("StateDirectoryMode", "750")
        .expect("a mode");
    assert_eq!(settings.mode(Kind::State), 0o750);
    assert_eq!(settings.mode(Kind::Cache), 0o755);
    for bad in ["", "8", "rwx", "17777", "4755", "2755", "-1", "+7"] {
        assert!(settings.assign("StateDirectoryMode", bad).is_err(), "{bad}");
    }
    settings
        .assign("LogsDirectoryMode", "1777")
        .expect("sticky is fine");
}

#[test]
fn what_is_in_force_anyway_is_told_from_what_asks_for_no_less() {
    let mut settings = Settings::default();
    for (name, value, weak) in [
        ("NoNewPrivileges", "true", false),
        ("ProtectSystem", "strict", false),
        ("ProtectHome", "read-only", false),
        ("ProtectHome", "on", false),
        ("PrivateTmp", "1", false),
        ("NoNewPrivileges", "no", true),
        ("ProtectSystem", "full", true),
        ("ProtectSystem", "true", true),
        ("ProtectHome", "no", true),
        ("DynamicUser", "no", false),
    ] {
        assert!(settings.assign(name, value).is_ok(), "{name}={value}");
        let told = in_force_anyway(name, value);
        assert_eq!(told.is_some(), weak, "{name}={value}");
    }
    for (name, value) in [
        ("DynamicUser", "maybe"),
        ("RestrictSUIDSGID", ""),
        ("ProtectSystem", "a bit"),
    ] {
        assert!(settings.assign(name, value).is_err(), "{name}={value}");
    }
}

#[test]
fn what_is_not_supported_is_refused_unless_it_is_a_restriction_that_may_be_missing() {
    let mut settings = Settings::default();
    let told = settings.assign("RestrictFileSystems", "ext4");
    assert!(told.is_err_and(|why| why.contains("--allow-unenforced=RestrictFileSystems")));
    settings
        .assign("AllowUnenforced", "RestrictFileSystems")
        .expect("a restriction");
    settings
        .assign("RestrictFileSystems", "ext4")
        .expect("allowed");
    assert!(settings.unenforced.contains("RestrictFileSystems"));
    for name in ["RootDirectory", "Nonsense", "SyslogIdentifier"] {
        assert!(settings.assign("AllowUnenforced", name).is_err(), "{name}");
    }
    assert!(settings.assign("RootDirectory", "/x").is_err());
    assert!(settings.assign("SyslogIdentifier", "x").is_ok());
}

#[test]
fn every_directive_is_in_the_table_once_and_says_how() {
    let mut names: Vec<&str> = all().map(|directive| directive.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(all().all(|directive| !directive.how.is_empty()));
}

#[test]
fn unknown_names_are_refused() {
    for name in ["Nonsense", "statedirectory", ""] {
        assert!(Settings::default().assign(name, "x").is_err(), "{name}");
    }
}

#[test]
fn the_environment_is_made_of_names_and_values() {
    let mut settings = Settings::default();
    settings
        .assign("Environment", r#"A=1 "B=two words" C="#)
        .expect("assignments");
    let names: Vec<&str> = settings.environment.iter().map(|(n, _)| &**n).collect();
    assert_eq!(names, ["A", "B", "C"]);
    for bad in ["A", "=1", "1A=1", "A-B=1", "A\u{e4}=1"] {
        assert!(settings.assign("Environment", bad).is_err(), "{bad}");
    }
}

#[test]
fn a_working_directory_is_absolute() {
    let mut settings = Settings::default();
    settings
        .assign("WorkingDirectory", "-/srv")
        .expect("a path");
    assert_eq!(
        settings.working_directory,
        Some(WorkingDirectory {
            path: "/srv".into(),
            may_be_missing: true
        })
    );
    for bad in ["~", "srv", "-", "./x"] {
        assert!(settings.assign("WorkingDirectory", bad).is_err(), "{bad}");
    }
}

#[test]
fn a_directory_has_links_and_flags_and_adds_up() {
    let mut settings = Settings::default();
    for value in [r"zzz:yyy a\:b::ro", "zzz:sub/www:ro zzz:yyy"] {
        settings
            .assign("StateDirectory", value)
            .expect("a good list");
    }
    let found: Vec<(String, Vec<String>, bool)> = settings
        .directories
        .iter()
        .map(|asked| {
            let links = asked.links.iter().map(|link| link.public());
            (asked.directory.public(), links.collect(), asked.read_only)
        })
        .collect();
    let links = ["/var/lib/yyy", "/var/lib/sub/www"].map(String::from);
    assert_eq!(
        found,
        [
            ("/var/lib/zzz".into(), links.to_vec(), true),
            ("/var/lib/a:b".into(), Vec::new(), true)
        ]
    );
    for bad in [
        "zzz:yyy:rw",
        "zzz:yyy:ro:x",
        "zzz:private",
        "zzz:/abs",
        "zzz:../x",
        "private/x",
        ":yyy",
    ] {
        let refused = Settings::default().assign("StateDirectory", bad);
        assert!(refused.is_err(), "{bad}");
    }
    let mut settings = Settings::default();
    assert!(settings.assign("ConfigurationDirectory", "x:y").is_err());
    assert!(settings.assign("ConfigurationDirectory", "x::ro").is_ok());
}

#[test]
fn empty_file_systems_are_absolute_and_have_options_of_tmpfs() {
    let mut settings = Settings::default();
    settings
        .assign(
            "TemporaryFileSystem",
            "/var/lib//x/:ro,size=1M,noexec /srv:",
        )
        .expect("a good list");
    let paths: Vec<&str> = settings.temporary.iter().map(|one| &*one.path).collect();
    assert_eq!(paths, ["/srv", "/var/lib/x"]);
    let last = settings.temporary.last().expect("two");
    assert!(last.read_only && last.no_exec);
    let size: Vec<&str> = last
        .options
        .iter()
        .filter(|(name, _)| name == "size")
        .map(|(_, value)| &**value)
        .collect();
    assert_eq!(size, ["1M"], "once, and the last one");
    assert!(last.holds("/var/lib/x/y") && !last.holds("/var/lib/xy"));
    for bad in [
        "relative",
        "/",
        "/a/../b",
        "/proc",
        "/proc/sys",
        "/a:bogus=1",
        "/a:size=",
        "/a:size=1,x",
        "/a:suid",
        "/a:dev",
    ] {
        let refused = Settings::default().assign("TemporaryFileSystem", bad);
        assert!(refused.is_err(), "{bad}");
    }
}

#[test]
fn cpus_are_named_as_often_as_one_likes() {
    let mut settings = Settings::default();
    let all = "0-8191 ".repeat(100_000);
    settings.assign("CPUAffinity", &all).expect("all of them");
    settings.assign("CPUAffinity", "3,1-2").expect("some again");
    assert_eq!(settings.process.affinity, (0..8192).collect::<Vec<_>>());
    for _ in 0..3 {
        settings.assign("AllowedCPUs", &all).expect("all of them");
    }
    let plan = settings
        .control_group
        .plan(&crate::control_group::Facts::default());
    assert_eq!(plan.expect("a plan").writes[0].value, "0-8191");
}

#[test]
fn lists_that_are_compared_with_themselves_end() {
    for (name, value) in [
        ("StateDirectory", "d"),
        ("StateDirectory", "x:d"),
        ("ReadWritePaths", "/d"),
        ("BindPaths", "/s:/d"),
        ("TemporaryFileSystem", "/d"),
    ] {
        let mut settings = Settings::default();
        let values: Vec<String> = (0..=MOST).map(|n| format!("{value}{n}")).collect();
        let why = settings.assign(name, &values.join(" ")).expect_err(name);
        assert!(why.contains(&MOST.to_string()), "{name}: {why}");
        let (last, first) = values.split_last().expect("values");
        for value in first.iter().take(MOST - 1) {
            settings.assign(name, value).expect(name);
        }
        assert!(settings.assign(name, &format!("{last} {last}x")).is_err());
        settings.assign(name, "").expect("a reset");
        settings.assign(name, last).expect("room again");
    }
}
