//! A service directory of s6-supervise, which s6-rc-compile takes as one of its sources, too.

use super::File;
use super::quote::execline;
use super::restarting::{Cases, Policy};
use super::service::{READY, Service, seconds};

/// What `finish` has by default, in milliseconds.
const FINISH: u64 = 5000;

pub(super) fn files(service: &Service<'_>) -> Vec<File> {
    let file = |path: &str, is_program: bool, text: String| File {
        path: format!("{}/{path}", service.name),
        is_program,
        text,
    };
    if service.once {
        return vec![
            file("up", false, up(service)),
            file("type", false, "oneshot\n".into()),
        ];
    }
    let mut files = vec![
        file("run", true, run(service)),
        file("type", false, "longrun\n".into()),
    ];
    if service.tells {
        files.push(file("notification-fd", false, format!("{READY}\n")));
    }
    // Without an end where there is none.
    if let Some(time) = service.stop {
        files.push(file(
            "timeout-kill",
            false,
            format!("{}\n", time.as_millis()),
        ));
    }
    let pauses = service.delay.as_secs() > 0 && service.policy != Policy::Never;
    let finish = match &service.policy {
        Policy::Always if pauses => Some(pause(service)),
        Policy::Always => None,
        Policy::Never => Some(never()),
        Policy::Depends(cases) => Some(finish(service, cases, pauses)),
    };
    if let Some(text) = finish {
        let text = format!("#!/bin/sh\n{}{text}", service.head());
        files.push(file("finish", true, text));
    }
    if pauses {
        let time = seconds(service.delay)
            .saturating_mul(1000)
            .saturating_add(FINISH);
        files.push(file("timeout-finish", false, format!("{time}\n")));
    }
    files
}

fn run(service: &Service<'_>) -> String {
    let mut notes = Vec::new();
    if service.reloads {
        notes.push(format!("Reload: s6-svc -h on {}", service.name));
    }
    notes.push(
        "What it says goes to the supervisor's log, unless there is a logger for it (log/run)."
            .into(),
    );
    notes.extend(service.note_conditions());
    let comments = service.comments(true, &service.left(), &notes);
    format!(
        "#!/bin/sh\n{}{comments}exec 2>&1\nexec {}\n",
        service.head(),
        service.shell()
    )
}

/// A script of execlineb(1): s6-rc puts the interpreter in front.
fn up(service: &Service<'_>) -> String {
    let notes =
        ["For s6-rc: without it, nobody knows a service that does its work and ends.".into()];
    let comments = service.comments(true, &service.left(), &notes);
    let command: Vec<String> = service.command.iter().map(|word| execline(word)).collect();
    format!("{}{comments}{}\n", service.head(), command.join(" "))
}

const BACK: &str = "# 125: it stays down. After s6-svc -r, too: say s6-svc -wD -d, and then -u, for a new start.\n";

fn never() -> String {
    format!("# It is not started again.\n{BACK}exit 125\n")
}

fn pause(service: &Service<'_>) -> String {
    let time = seconds(service.delay);
    format!(
        "# RestartSec=, unless it is to stay down\n[ \"$(s6-svstat -o wantedup .)\" = false ] || sleep {time}\n"
    )
}

fn finish(service: &Service<'_>, cases: &Cases, pauses: bool) -> String {
    let status = |number: u8| format!("{number}:*");
    let signal = |number: u8| format!("256:{number}");
    let arms: String = cases
        .arms(&status, &signal, "256:*")
        .into_iter()
        .filter(|(patterns, again)| !(*again && patterns == "*"))
        .map(|(patterns, again)| match again {
            true => format!("{patterns}) ;;\n"),
            false => format!("{patterns}) exit 125 ;;\n"),
        })
        .collect();
    let after = match pauses {
        true => pause(service),
        false => String::new(),
    };
    format!(
        "# Restart={}, by status and signal\n{BACK}case $1:$2 in\n{arms}esac\n{after}",
        service.restart
    )
}
