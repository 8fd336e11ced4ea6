//! Whether somebody has to stay when the service has started.

use crate::command_text::Command;
use crate::directives::{Commands, Parsed, Type, limit};

/// What is around the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// `--supervise`.
    pub supervise: bool,
    /// Whoever started us wants to know when the service is ready: by sd_notify(3) (there is a `NOTIFY_SOCKET` in our
    /// environment), or by `--ready-fd`.
    pub somebody_listens: bool,
    /// `PrivatePIDs=`: the first process of a PID namespace is not ours to be.
    pub private_pids: bool,
}

const TERM: u8 = 15;
const KILL: u8 = 9;

/// Why somebody has to stay as the parent of the service, if so. `None`: nothing is to be done after the start,
/// and the service is executed in place, with the same process ID.
pub fn needs_a_parent(
    commands: &Commands,
    parsed: &Parsed,
    around: Around,
) -> Option<&'static str> {
    let kind = commands.kind();
    let explicit_start = limit(commands.start_timeout, None).is_some();
    let reasons = [
        (around.supervise, "--supervise"),
        (
            parsed.start.len() != 1,
            "several commands, or none, in ExecStart=",
        ),
        (kind == Type::Forking, "Type=forking"),
        (
            kind.notifies() && !around.somebody_listens,
            "Type=notify, and nobody outside listens",
        ),
        // Its signal and messages would go to somebody who knows nothing of it.
        (kind == Type::NotifyReload, "Type=notify-reload"),
        (kind == Type::Oneshot && explicit_start, "TimeoutStartSec="),
        (
            kind == Type::Oneshot && !commands.success.is_empty(),
            "SuccessExitStatus=",
        ),
        (!parsed.start_post.is_empty(), "ExecStartPost="),
        (!parsed.stop.is_empty(), "ExecStop="),
        (!parsed.stop_post.is_empty(), "ExecStopPost="),
        (commands.remain_after_exit, "RemainAfterExit="),
        (commands.ends_with_last, "ExitType=cgroup"),
        (
            parsed.reload.iter().any(|command| !only_hangs_up(command)) || parsed.reload.len() > 1,
            "ExecReload=",
        ),
        (
            commands.kill_signal.is_some_and(|signal| signal != TERM),
            "KillSignal=",
        ),
        (
            commands.final_signal.is_some_and(|signal| signal != KILL),
            "FinalKillSignal=",
        ),
        (commands.hangs_up, "SendSIGHUP="),
        (!commands.success.is_empty(), "SuccessExitStatus="),
        (
            limit(commands.longest_run, None).is_some(),
            "RuntimeMaxSec=",
        ),
        (commands.watchdog_time().is_some(), "WatchdogSec="),
        (
            parsed.start.iter().any(|command| command.ignores_failure),
            "ExecStart=-: a failure counts as success",
        ),
        (around.private_pids, "PrivatePIDs="),
    ];
    let found = reasons.into_iter().find(|(is_so, _)| *is_so);
    found.map(|(_, why)| why)
}

/// `kill -HUP $MAINPID`, in the ways in which units write it: whoever sends SIGHUP to us has sent it to the
/// service, if we are the service.
fn only_hangs_up(command: &Command) -> bool {
    let kill = matches!(
        command.path.as_str(),
        "/bin/kill" | "/usr/bin/kill" | "kill"
    );
    let words: Vec<_> = command.arguments.iter().map(String::as_str).collect();
    let hup = |word: &str| matches!(word, "HUP" | "SIGHUP" | "1");
    let main = |word: &str| matches!(word, "$MAINPID" | "${MAINPID}");
    let right = match words.as_slice() {
        [signal, pid] => signal.strip_prefix('-').is_some_and(hup) && main(pid),
        ["-s" | "--signal", signal, pid] => hup(signal) && main(pid),
        _ => false,
    };
    kill && right && command.expands
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(lines: &[(&str, &str)], around: Around) -> Option<&'static str> {
        let mut settings = crate::directives::Settings::default();
        for (name, value) in lines {
            settings.assign(name, value).unwrap();
        }
        let keep = |text: &str| Ok(text.to_owned());
        let parsed = settings.commands.parse(&keep).unwrap();
        needs_a_parent(&settings.commands, &parsed, around)
    }

    #[test]
    fn what_needs_nothing_after_its_start_is_executed_in_place() {
        let none = Around::default();
        let start = ("ExecStart", "/bin/true");
        for line in [
            ("ExecStartPre", "/bin/true"),
            ("ExecCondition", "/bin/true"),
            ("ExecReload", "/bin/kill -HUP $MAINPID"),
            ("ExecReload", "kill -s HUP ${MAINPID}"),
            ("Type", "exec"),
            ("Type", "oneshot"),
            ("Restart", "always"),
            ("TimeoutStopSec", "5"),
            ("KillMode", "mixed"),
            ("KillSignal", "SIGTERM"),
        ] {
            let lines = match line.0 == "Restart" {
                true => vec![start, line, ("RestartSec", "1")],
                false => vec![start, line],
            };
            assert_eq!(reason(&lines, none), None, "{line:?}");
        }
        let outside = Around {
            somebody_listens: true,
            ..none
        };
        assert_eq!(reason(&[start, ("Type", "notify")], outside), None);
    }

    #[test]
    fn what_does_needs_a_parent() {
        let none = Around::default();
        let start = ("ExecStart", "/bin/true");
        for line in [
            ("ExecStart", "-/bin/true"),
            ("ExecStartPost", "/bin/true"),
            ("ExecStop", "/bin/true"),
            ("ExecStopPost", "/bin/true"),
            ("ExecReload", "/bin/kill -USR1 $MAINPID"),
            ("ExecReload", ":/bin/kill -HUP $MAINPID"),
            ("Type", "notify"),
            ("Type", "notify-reload"),
            ("Type", "forking"),
            ("RemainAfterExit", "yes"),
            ("KillSignal", "SIGINT"),
            ("FinalKillSignal", "SIGQUIT"),
            ("SendSIGHUP", "yes"),
            ("SuccessExitStatus", "3"),
            ("RuntimeMaxSec", "3"),
            ("WatchdogSec", "3"),
            ("ExitType", "cgroup"),
        ] {
            let lines = match line.0 {
                "ExecStart" => vec![line],
                _ => vec![start, line],
            };
            assert!(reason(&lines, none).is_some(), "{line:?}");
        }
        let supervise = Around {
            supervise: true,
            ..none
        };
        assert_eq!(reason(&[start], supervise), Some("--supervise"));
    }
}
