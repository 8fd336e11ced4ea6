#![allow(clippy::indexing_slicing)]

use core::time::Duration;

use super::super::Settings;
use super::*;
use crate::command_text::Privilege;

fn commands(lines: &[(&str, &str)]) -> Commands {
    let mut settings = Settings::default();
    for (name, value) in lines {
        settings.assign(name, value).expect(name);
    }
    settings.commands
}

fn parsed(lines: &[(&str, &str)]) -> Result<Parsed, String> {
    commands(lines).parse(&|text| Ok(text.replace("%i", "one two")))
}

#[test]
fn values_are_read() {
    let read = commands(&[
        ("Type", "notify-reload"),
        ("PIDFile", "x/y.pid"),
        ("KillSignal", "SIGRTMIN+3"),
        ("SuccessExitStatus", "TEMPFAIL 250"),
        ("SuccessExitStatus", "SIGKILL"),
        ("SendSIGKILL", "no"),
        ("GuessMainPID", "no"),
        ("StartLimitInterval", "5"),
    ]);
    assert_eq!(read.kind, Some(Type::NotifyReload));
    assert_eq!(read.pid_file.as_deref(), Some("/run/x/y.pid"));
    assert_eq!(read.kill_signal, Some(37));
    assert_eq!(
        read.success,
        [Ending::Status(75), Ending::Status(250), Ending::Signal(9)]
    );
    assert!(read.never_kills && read.no_guessing);
    assert_eq!(
        read.start_limit_interval,
        Some(TimeSpan::Limited(Duration::from_secs(5)))
    );
    assert!(
        commands(&[("SuccessExitStatus", "5"), ("SuccessExitStatus", "")])
            .success
            .is_empty()
    );
}

#[test]
fn what_is_no_value_is_refused() {
    let mut settings = Settings::default();
    for (name, value) in [
        ("Type", "dbus"),
        ("Type", "Simple"),
        ("Restart", "yes"),
        ("KillMode", "all"),
        ("KillSignal", "SIGNOPE"),
        ("PIDFile", "../x"),
        ("RemainAfterExit", "maybe"),
        ("StartLimitAction", "reboot"),
        ("TimeoutStartSec", "soon"),
        ("SuccessExitStatus", "300"),
        ("BusName", "org.example"),
        ("Sockets", "x.socket"),
    ] {
        settings.assign(name, value).expect_err(value);
    }
}

#[test]
fn times_have_defaults_and_no_time_means_no_limit() {
    let patience = |lines: &[_]| commands(lines).patience();
    let start = ("ExecStart", "/m");
    let second = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(patience(&[start]).start, second(90));
    assert_eq!(patience(&[start, ("Type", "oneshot")]).start, None);
    for none in ["0", "infinity"] {
        let read = patience(&[start, ("TimeoutSec", none)]);
        assert_eq!((read.start, read.stop, read.abort), (None, None, None));
    }
    let read = patience(&[start, ("TimeoutStopSec", "7")]);
    assert_eq!((read.stop, read.abort), (second(7), second(7)));
    let read = patience(&[("TimeoutAbortSec", "9")]);
    assert_eq!((read.stop, read.abort), (second(90), second(9)));
}

#[test]
fn what_a_service_listens_to() {
    let access = |lines: &[_]| commands(lines).listens_to();
    assert_eq!(access(&[]), NotifyAccess::None);
    assert_eq!(access(&[("Type", "notify")]), NotifyAccess::Main);
    assert_eq!(access(&[("WatchdogSec", "5")]), NotifyAccess::Main);
    assert_eq!(access(&[("WatchdogSec", "0")]), NotifyAccess::None);
    let all = [("Type", "notify"), ("NotifyAccess", "all")];
    assert_eq!(access(&all), NotifyAccess::All);
}

#[test]
fn commands_add_up_and_an_empty_one_resets() {
    let read = parsed(&[
        ("Type", "oneshot"),
        ("ExecStart", "/never"),
        ("ExecStart", ""),
        ("ExecStart", "/a %i ; -/b"),
        ("ExecStart", "/c"),
        ("ExecStop", "!/s"),
        ("PermissionsStartOnly", "yes"),
    ])
    .unwrap();
    let paths: Vec<_> = read.start.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["/a", "/b", "/c"]);
    assert_eq!(read.start[0].arguments, ["one two"]);
    assert!(read.start[1].ignores_failure);
    assert_eq!(read.start[0].privilege, Privilege::Service);
    assert_eq!(read.stop[0].privilege, Privilege::Full);
}

#[test]
/// What systemd 257 refuses to load.
fn commands_go_together_or_are_refused() {
    let start = ("ExecStart", "/m");
    for lines in [
        &[][..],
        &[("Type", "simple")],
        &[("ExecStop", "/s")],
        &[("RemainAfterExit", "yes")],
        &[start, start],
        &[start, start, ("Type", "notify")],
        &[start, ("Type", "oneshot"), ("Restart", "always")],
        &[start, ("Type", "oneshot"), ("Restart", "on-success")],
        &[start, ("Type", "oneshot"), ("ExitType", "cgroup")],
        &[("ExecStart", "relative/path")],
    ] {
        parsed(lines).expect_err(&format!("{lines:?}"));
    }
    for lines in [
        &[start][..],
        &[start, start, ("Type", "oneshot")],
        &[start, ("Type", "oneshot"), ("Restart", "on-failure")],
        &[("ExecStop", "/s"), ("RemainAfterExit", "yes")],
    ] {
        parsed(lines).unwrap();
    }
}
