//! A description of dinit-service(5).

use core::time::Duration;

use super::File;
use super::quote::dinit;
use super::restarting::Policy;
use super::service::{READY, Service};

pub(super) fn files(service: &Service<'_>) -> Vec<File> {
    let mut notes = Vec::new();
    if service.reloads {
        notes.push(format!("Reload: dinitctl signal HUP {}", service.name));
    }
    notes.extend(service.note_conditions());
    let mut text = service.head();
    text.push_str(&service.comments(true, &service.left(), &notes));
    text.push('\n');
    let command: Vec<String> = service.command.iter().map(|word| dinit(word)).collect();
    let command = command.join(" ");
    let settings = match service.once {
        // Without an end: dynuser itself keeps the time.
        true => vec![
            ("type", "scripted".into()),
            ("command", command),
            ("start-timeout", "0".into()),
            ("restart", "false".into()),
        ],
        false => process(service, command),
    };
    for (name, value) in settings {
        text.push_str(&format!("{name} = {value}\n"));
    }
    text.push_str(&format!("logfile = /var/log/{}.log\n", service.name));
    vec![File {
        path: service.name.clone(),
        is_program: false,
        text,
    }]
}

fn process(service: &Service<'_>, command: String) -> Vec<(&'static str, String)> {
    let mut settings = vec![("type", "process".into()), ("command", command)];
    if service.tells {
        settings.push(("ready-notification", format!("pipefd:{READY}")));
        let time = service.start.map_or("0".into(), decimal);
        settings.push(("start-timeout", time));
    }
    let again = service.policy == Policy::Always;
    settings.push(("restart", again.to_string()));
    if again {
        settings.push(("restart-delay", decimal(service.delay)));
        match service.limit {
            Some(limit) => {
                settings.push(("restart-limit-interval", decimal(limit.interval)));
                settings.push(("restart-limit-count", limit.burst.to_string()));
            }
            None => settings.push(("restart-limit-count", "0".into())),
        }
    }
    settings.push(("stop-timeout", service.stop.map_or("0".into(), decimal)));
    if service.parent {
        // dynuser alone: the service gets the signal that its unit says.
        settings.push(("options", "signal-process-only".into()));
    }
    settings
}

/// A time in seconds, with as many decimals as it needs.
fn decimal(time: Duration) -> String {
    let text = format!("{}.{:03}", time.as_secs(), time.subsec_millis());
    text.trim_end_matches('0').trim_end_matches('.').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_decimal() {
        for (milliseconds, text) in [(0, "0"), (100, "0.1"), (90_000, "90"), (1_250, "1.25")] {
            assert_eq!(decimal(Duration::from_millis(milliseconds)), text);
        }
    }
}
