//! Hostile texts, and what is carried over. The texts of real units are in tests/import.rs.

use proptest::prelude::*;

use super::*;
use crate::directives::Settings;
use crate::specifiers::{Context, UnitName};
use crate::unit_file;

/// The definitions of a unit, of which `description` may be anything.
fn defined(
    target: Target,
    text: &str,
    name: &str,
    description: Option<&str>,
    words: &[String],
) -> Result<Definition, String> {
    let entries = unit_file::parse("f", text).expect("syntax");
    let name = UnitName::parse(name).expect("a name");
    let unit = Unit::read(&entries, &Context::system(name)).expect("a unit");
    let mut settings = Settings::default();
    for setting in unit.settings_of_the_service() {
        settings
            .assign(&setting.name, &setting.value)
            .expect(&setting.name);
    }
    let parsed = settings
        .commands
        .parse(&|word| Ok(word.into()))
        .expect("commands");
    let work = Work::Run {
        commands: &settings.commands,
        parsed: &parsed,
        private_pids: false,
        conditions: false,
    };
    let subject = Subject {
        unit: &unit,
        description,
        file: "/lib/foo.service",
        program: "/usr/bin/dynuser",
        words,
        work,
    };
    define(target, &subject)
}

/// One file of a definition.
fn text(target: Target, service: &str, path: &str) -> Option<String> {
    let text = format!("[Service]\nDynamicUser=yes\nExecStart=/bin/x\n{service}");
    let definition = defined(target, &text, "foo.service", None, &[]).expect("a definition");
    let file = definition
        .files
        .into_iter()
        .find(|file| file.path == path)?;
    // Only what is no comment.
    let lines = file.text.lines().filter(|line| !line.starts_with('#'));
    Some(lines.map(|line| format!("{line}\n")).collect())
}

#[test]
fn restarts_become_what_a_supervisor_knows() {
    let s6 = |service: &str| text(Target::S6, service, "foo/finish");
    assert_eq!(s6("Restart=always"), None);
    assert_eq!(s6("").as_deref(), Some("exit 125\n"));
    assert_eq!(
        s6("Restart=on-failure\nRestartPreventExitStatus=7 SIGUSR1\nRestartForceExitStatus=0")
            .as_deref(),
        Some("case $1:$2 in\n7:*|256:1|256:2|256:10|256:13|256:15) exit 125 ;;\nesac\n")
    );
    assert_eq!(
        s6("Restart=on-abnormal\nRestartSec=2500ms").as_deref(),
        Some(
            "case $1:$2 in\n256:1|256:2|256:13|256:15) exit 125 ;;\n256:*) ;;\n*) exit 125 ;;\nesac\n\
             [ \"$(s6-svstat -o wantedup .)\" = false ] || sleep 3\n"
        )
    );
    // dynuser in between: it ends with 0 for a success, with 128 and a signal otherwise.
    assert_eq!(
        s6("Restart=on-abnormal\nExecStopPost=/bin/y\nRestartPreventExitStatus=SIGSEGV")
            .map(|it| it.contains("|138:*|")),
        Some(true)
    );
    assert_eq!(
        text(
            Target::Runit,
            "Restart=on-success\nRestartSec=1",
            "foo/finish"
        )
        .as_deref(),
        Some(
            "if [ -e supervise/asked ]; then rm supervise/asked; exit 0; fi\ncase $1:$(($2 & 127)) in\n\
             0:*|-1:1|-1:2|-1:13|-1:15) sleep 1 ;;\n*) sv down . ;;\nesac\n"
        )
    );
    let once = text(Target::Runit, "", "foo/run").expect("run");
    assert_eq!(
        once,
        "exec 2>&1\nsv once .\nexec /usr/bin/dynuser run --unit-file /lib/foo.service\n"
    );
    // What a supervisor cannot know, dynuser does.
    for (target, service) in [
        (Target::OpenRc, "Restart=on-failure"),
        (Target::Dinit, "Restart=on-failure"),
        (Target::S6, "Restart=always\nStartLimitBurst=3"),
        (
            Target::Runit,
            "Restart=always\nRestartSteps=3\nRestartMaxDelaySec=9",
        ),
        (Target::OpenRc, "Restart=on-failure\nType=oneshot"),
    ] {
        let path = if matches!(target, Target::OpenRc | Target::Dinit) {
            "foo"
        } else {
            "foo/run"
        };
        let all = text(target, service, path).expect(path);
        assert!(
            all.contains("run --supervise --unit-file "),
            "{target:?}: {all}"
        );
        let again = ["supervisor=", "restart = true"]
            .iter()
            .any(|it| all.contains(it));
        assert!(!again, "{target:?}: {all}");
    }
}

#[test]
fn stops_have_the_time_that_the_unit_gives() {
    for (service, openrc, dinit) in [
        ("TimeoutStopSec=7", "TERM/7/KILL/5", "stop-timeout = 7"),
        (
            "TimeoutStopSec=7\nExecStop=/bin/y\nExecStopPost=/bin/z",
            "TERM/26/KILL/5",
            "stop-timeout = 26",
        ),
        // The signal is dynuser's to choose: what it gets is always SIGTERM.
        ("KillSignal=SIGINT", "TERM/95/KILL/5", "stop-timeout = 95"),
        ("SendSIGKILL=no", "TERM/86400\n", "stop-timeout = 0"),
    ] {
        let script = text(Target::OpenRc, service, "foo").expect("foo");
        assert!(script.contains(openrc), "{service}: {script}");
        let description = text(Target::Dinit, service, "foo").expect("foo");
        assert!(description.contains(dinit), "{service}: {description}");
    }
}

#[test]
fn readiness_is_told_where_somebody_listens() {
    for service in [
        "Type=notify",
        "Type=forking",
        "Type=oneshot\nRemainAfterExit=yes",
    ] {
        let run = text(Target::S6, service, "foo/run").expect("run");
        assert!(run.contains("--ready-fd=3"), "{run}");
        assert_eq!(
            text(Target::S6, service, "foo/notification-fd").as_deref(),
            Some("3\n")
        );
        let dinit = text(Target::Dinit, service, "foo").expect("foo");
        assert!(
            dinit.contains("--ready-fd=3 ") && dinit.contains("ready-notification = pipefd:3\n"),
            "{dinit}"
        );
        assert!(
            !text(Target::Runit, service, "foo/run")
                .expect("run")
                .contains("ready")
        );
    }
    let once = defined(
        Target::S6,
        "[Service]\nType=oneshot\nExecStart=/bin/x",
        "foo.service",
        None,
        &[],
    );
    let paths: Vec<String> = once
        .expect("files")
        .files
        .into_iter()
        .map(|file| file.path)
        .collect();
    assert_eq!(paths, ["foo/up", "foo/type"]);
}

#[test]
fn order_is_told_in_words_of_openrc() {
    let unit = "[Unit]\nAfter=network-online.target nss-lookup.target x.mount foo\\x2d.service\nWants=network-online.target\n\
                Before=bar.service\nRequires=baz.service\n[Service]\nExecStart=/bin/x";
    let script = &defined(Target::OpenRc, unit, "foo.service", None, &[])
        .expect("foo")
        .files[0]
        .text;
    let depend = "depend() {\n\tneed net\n\tbefore bar\n\tafter dns\n}\n";
    assert!(script.contains(depend), "{script}");
    for left in [
        "#   After=x.mount foo\\x2d.service\n",
        "#   Requires=baz.service\n",
    ] {
        assert!(script.contains(left), "{script}");
    }
}

#[test]
fn names_and_paths_that_cannot_be_written_are_refused() {
    let unit = "[Service]\nExecStart=/bin/x";
    for name in [".service.service", "..service", "-r.service", "...service"] {
        let refused = defined(Target::S6, unit, name, None, &[]);
        assert!(refused.is_err(), "{name}: {refused:?}");
    }
    let named = |target, name| defined(target, unit, name, None, &[]).expect(name).name;
    assert_eq!(named(Target::Runit, "a@b\\x2fc.service"), "a@b-x2fc");
    assert_eq!(named(Target::Dinit, "a@b@c.service"), "a-b-c");
    for bad in ["A=$x", "A=\n", "A=\u{1b}"] {
        let refused = defined(Target::OpenRc, unit, "a.service", None, &[bad.into()]);
        assert!(refused.is_err(), "{bad:?}");
    }
}

/// Everything but comments, and the one line of OpenRC that the description stands in.
fn code(definition: &Definition) -> Vec<String> {
    let lines = definition
        .files
        .iter()
        .flat_map(|file| file.text.split(['\n', '\r']));
    let shown = |line: &&str| !line.starts_with('#') && !line.starts_with("description=");
    lines.filter(shown).map(str::to_owned).collect()
}

proptest! {
    #[test]
    fn no_description_is_more_than_a_line(description in "(\\PC|['\"\\\\$`(){}\n\r\t#%;&|@\u{2028}\u{0}]|\n(exec|command =) )*") {
        let unit = "[Unit]\nAfter=network.target\n[Service]\nExecStart=/bin/x\nRestart=on-failure";
        for (_, target) in Target::ALL {
            let tame = defined(target, unit, "a.service", Some("tame"), &[]).unwrap();
            let wild = defined(target, unit, "a.service", Some(&description), &[]).unwrap();
            prop_assert_eq!(code(&tame), code(&wild));
            let lines = wild.files.iter().flat_map(|file| file.text.lines());
            // The whole line is one word in quotes.
            for line in lines.filter(|line| line.starts_with("description=")) {
                let word = line.trim_start_matches("description=").replace("'\\''", "");
                let inside = word.strip_prefix('\'').and_then(|it| it.strip_suffix('\''));
                prop_assert!(inside.map_or(quote::is_plain(&word), |it| !it.contains('\'')), "{}", line);
            }
        }
    }
}
