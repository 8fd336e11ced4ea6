//! A service directory of runsv(8).

use super::File;
use super::quote::sh;
use super::restarting::{Cases, Policy};
use super::service::{Service, seconds};

/// What a `control/t` leaves for `finish`.
const ASKED: &str = "supervise/asked";

pub(super) fn files(service: &Service<'_>) -> Vec<File> {
    let mut files = vec![("run", run(service))];
    match &service.policy {
        Policy::Always if service.delay.as_secs() > 0 => files.push(("finish", pause(service))),
        Policy::Always | Policy::Never => {}
        Policy::Depends(cases) => {
            files.push(("finish", finish(service, cases)));
            files.push(("control/t", asked(service)));
        }
    }
    files.push(("log/run", log(service)));
    let file = |(path, text)| File {
        path: format!("{}/{path}", service.name),
        is_program: true,
        text,
    };
    files.into_iter().map(file).collect()
}

fn begin(service: &Service<'_>) -> String {
    format!("#!/bin/sh\n{}", service.head())
}

fn run(service: &Service<'_>) -> String {
    let name = &service.name;
    let mut notes = Vec::new();
    if service.reloads {
        notes.push(format!("Reload: sv hup {name}"));
    }
    if service.tells {
        notes.push("Nobody waits here until it is ready.".into());
    }
    if service.once {
        notes.push(
            "Type=oneshot: it counts as running only while it works, and is down afterwards."
                .into(),
        );
    }
    if let Some(time) = service.stop.map(seconds) {
        notes.push(format!(
            "runsv kills nothing by itself: after {time} s does: sv -w {time} force-stop {name}"
        ));
    }
    notes.extend(service.note_conditions());
    let mut text = begin(service);
    text.push_str(&service.comments(true, &service.left(), &notes));
    text.push_str("exec 2>&1\n");
    if service.policy == Policy::Never {
        text.push_str("# runsv does not start it again when it ends.\nsv once .\n");
    }
    text.push_str(&format!("exec {}\n", service.shell()));
    text
}

/// `RestartSec=`, but not when somebody has asked for the end.
fn pause(service: &Service<'_>) -> String {
    let time = seconds(service.delay);
    format!(
        "{}# RestartSec=, unless it is to stay down\n\
         case $(cat supervise/stat) in *'want down'*|*'want exit'*) exit 0 ;; esac\nsleep {time}\n",
        begin(service)
    )
}

fn finish(service: &Service<'_>, cases: &Cases) -> String {
    let status = |number: u8| format!("{number}:*");
    let signal = |number: u8| format!("-1:{number}");
    let pause = match seconds(service.delay) {
        _ if service.delay.as_secs() == 0 => String::new(),
        time => format!("sleep {time} "),
    };
    let arms: String = cases
        .arms(&status, &signal, "-1:*")
        .into_iter()
        .filter(|(patterns, again)| !(*again && patterns == "*" && pause.is_empty()))
        .map(|(patterns, again)| match again {
            true => format!("{patterns}) {pause};;\n"),
            false => format!("{patterns}) sv down . ;;\n"),
        })
        .collect();
    format!(
        "{}# Restart={}, by status and signal; what is asked for with sv stays as it was asked for (control/t).\n\
         if [ -e {ASKED} ]; then rm {ASKED}; exit 0; fi\n\
         case $1:$(($2 & 127)) in\n{arms}esac\n",
        begin(service),
        service.restart
    )
}

/// Runs before SIGTERM is sent; because it fails, the signal is sent.
fn asked(service: &Service<'_>) -> String {
    format!("{}: >{ASKED}\nexit 1\n", begin(service))
}

/// svlogd, as a user of its own.
fn log(service: &Service<'_>) -> String {
    let name = format!("{}-log", service.name);
    format!(
        "{}exec {} run -u {name} -p LogsDirectory={name} svlogd -tt /var/log/{name}\n",
        begin(service),
        sh(service.subject.program)
    )
}
