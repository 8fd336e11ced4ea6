//! A script for openrc-run(8). What is not `Restart=always` is started with start-stop-daemon(8), for
//! supervise-daemon(8) starts again whatever ends.
//!
//! Debian's and Devuan's start-stop-daemon is that of dpkg, to which openrc-run's own functions are of no use: it knows
//! no `--stdout`, and finds no process whose program has become another one, as dynuser's does. The functions that
//! are written here say only what both know.

use super::File;
use super::ordering::depend;
use super::quote::sh;
use super::restarting::Policy;
use super::service::{Service, seconds, words};

/// A day: there is no word for "without an end".
const LONGEST: u64 = 86_400;

pub(super) fn files(service: &Service<'_>) -> Vec<File> {
    let depend = depend(service.subject.unit);
    let supervised = service.policy == Policy::Always && !service.once;
    let mut notes = Vec::new();
    if service.tells {
        notes.push(match supervised && service.notifies {
            true => {
                "OpenRC waits until it is ready from 0.61 on (notify=); older ones do not.".into()
            }
            false => "OpenRC does not wait until it is ready.".into(),
        });
    }
    notes.extend(service.note_conditions());
    let mut text = String::from("#!/sbin/openrc-run\n");
    text.push_str(&service.head());
    text.push_str(&service.comments(false, &depend.left, &notes));
    text.push('\n');
    if let Some(title) = &service.title {
        text.push_str(&format!("description={}\n", sh(title)));
    }
    let variables = match (supervised, service.once) {
        (true, _) => supervision(service),
        (false, true) => Vec::new(),
        (false, false) => vec!["pidfile=\"/run/$RC_SVCNAME.pid\"".into()],
    };
    let reloads =
        (service.reloads && !service.once).then(|| "extra_started_commands=reload".into());
    for line in variables.into_iter().chain(reloads) {
        text.push_str(&format!("{line}\n"));
    }
    text.push_str(&depend_function(&depend.lines));
    match (supervised, service.once) {
        (true, _) => {}
        (false, true) => text.push_str(&function("start", "Running", &[service.shell()])),
        (false, false) => text.push_str(&in_background(service)),
    }
    if service.reloads && !service.once {
        // dynuser does with SIGHUP what `ExecReload=` says, or the service does.
        let signal = match supervised {
            true => "supervise-daemon \"$RC_SVCNAME\" --signal HUP",
            false => "kill -HUP \"$(cat \"$pidfile\")\"",
        };
        text.push_str(&function("reload", "Reloading", &[signal.into()]));
    }
    vec![File {
        path: service.name.clone(),
        is_program: true,
        text,
    }]
}

/// The settings of supervise-daemon.
fn supervision(service: &Service<'_>) -> Vec<String> {
    let arguments = words(service.command.get(1..).unwrap_or_default());
    let mut lines = vec![
        "supervisor=supervise-daemon".into(),
        format!("command={}", sh(service.subject.program)),
        // openrc-run takes it apart once more (eval): quoted twice.
        format!("command_args={}", sh(&arguments)),
    ];
    let pause = seconds(service.delay);
    if pause > 1 {
        lines.push(format!("respawn_delay={pause}"));
    }
    match service.limit {
        Some(limit) => {
            lines.push(format!("respawn_max={}", limit.burst));
            lines.push(format!("respawn_period={}", seconds(limit.interval)));
        }
        None => lines.push("respawn_max=0".into()),
    }
    lines.push(format!("retry={}", schedule(service)));
    if service.notifies {
        lines.push("notify=socket:ready".into());
    }
    for stream in ["output_log", "error_log"] {
        lines.push(format!("{stream}=\"/var/log/$RC_SVCNAME.log\""));
    }
    lines
}

/// How it is stopped: the signals, and how long each has.
fn schedule(service: &Service<'_>) -> String {
    match service.stop {
        Some(time) => format!("TERM/{}/KILL/5", seconds(time)),
        None => format!("TERM/{LONGEST}"),
    }
}

fn in_background(service: &Service<'_>) -> String {
    // The shell makes the log, and is dynuser then.
    let script = format!("exec {} >>\"$0\" 2>&1", service.shell());
    let start = [
        "start-stop-daemon --start --background --make-pidfile --pidfile \"$pidfile\" \\".into(),
        format!(
            "\t--exec /bin/sh -- -c {} \"/var/log/$RC_SVCNAME.log\"",
            sh(&script)
        ),
    ];
    let stop = format!(
        "start-stop-daemon --stop --oknodo --pidfile \"$pidfile\" --retry {}",
        schedule(service)
    );
    function("start", "Starting", &start) + &function("stop", "Stopping", &[stop])
}

fn depend_function(lines: &[(&str, Vec<String>)]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: String = lines
        .iter()
        .map(|(function, services)| format!("\t{function} {}\n", services.join(" ")))
        .collect();
    format!("\ndepend() {{\n{lines}}}\n")
}

fn function(name: &str, doing: &str, lines: &[String]) -> String {
    let lines: String = lines.iter().map(|line| format!("\t{line}\n")).collect();
    format!("\n{name}() {{\n\tebegin \"{doing} $RC_SVCNAME\"\n{lines}\teend $?\n}}\n")
}
