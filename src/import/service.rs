//! What a supervisor has to know of a service.

use core::time::Duration;

use crate::activation::{Around, needs_a_parent};
use crate::directives::{Commands, Parsed, Restart, Type};

use super::ordering::left;
use super::quote::{one_line, sh};
use super::restarting::{
    self, Policy, StartLimit, delay, only_inside, policy, says_limit, start_limit,
};
use super::{MARK, Subject, Target, Work};

/// Added to the time for a stop where dynuser stays as the parent: it must be able to end the service itself.
const MARGIN: Duration = Duration::from_secs(5);

/// How long a listener may take to end its services: systemd's default for one.
const LISTENER: Duration = Duration::from_secs(95);

/// The descriptor on which readiness is told.
pub(super) const READY: u8 = 3;

pub(super) struct Service<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) name: String,
    /// `Description=`, as one line.
    pub(super) title: Option<String>,
    /// The command, the program first.
    pub(super) command: Vec<String>,
    /// It does its work and ends, and has been started when it has ended.
    pub(super) once: bool,
    /// It tells when it is ready.
    pub(super) tells: bool,
    /// That is told systemd's way.
    pub(super) notifies: bool,
    /// SIGHUP reloads it.
    pub(super) reloads: bool,
    /// dynuser stays in between.
    pub(super) parent: bool,
    /// How long a stop may take; without an end if nothing.
    pub(super) stop: Option<Duration>,
    /// How long it may take until it is ready.
    pub(super) start: Option<Duration>,
    pub(super) policy: Policy,
    pub(super) delay: Duration,
    pub(super) limit: Option<StartLimit>,
    /// What is to be told: whole comments, without the `#`.
    pub(super) notes: Vec<String>,
    pub(super) restart: &'static str,
    pub(super) conditions: bool,
}

impl<'a> Service<'a> {
    pub(super) fn of(target: Target, name: String, subject: &Subject<'a>) -> Self {
        let title = subject
            .description
            .map(one_line)
            .filter(|it| !it.is_empty());
        let verb = match subject.work {
            Work::Run { .. } => "run",
            Work::Listen => "listen",
        };
        let mut service = Self {
            subject: *subject,
            name,
            title,
            command: vec![subject.program.into(), verb.into()],
            once: false,
            tells: false,
            notifies: false,
            reloads: false,
            parent: true,
            stop: None,
            start: None,
            policy: Policy::Always,
            delay: Duration::ZERO,
            limit: None,
            notes: Vec::new(),
            restart: "always",
            conditions: false,
        };
        match subject.work {
            Work::Run {
                commands,
                parsed,
                private_pids,
                conditions,
            } => {
                service.conditions = conditions;
                service.run(target, commands, parsed, private_pids);
            }
            // Its services end with it, each in the time that its own unit gives. Sockets have the limit of all units.
            Work::Listen => {
                service.stop = Some(LISTENER);
                service.notifies = true;
                if matches!(target, Target::S6 | Target::Dinit) {
                    service.tells = true;
                    service.command.push(format!("--ready-fd={READY}"));
                }
                service.limit = start_limit(&Commands::default());
                service.delay = delay(&Commands::default()).unwrap_or_default();
            }
        }
        service
            .command
            .extend(["--unit-file".into(), subject.file.into()]);
        service.command.extend(subject.words.iter().cloned());
        service
    }

    fn run(&mut self, target: Target, commands: &Commands, parsed: &Parsed, private_pids: bool) {
        let kind = commands.kind();
        self.notifies = kind.notifies();
        self.tells = self.notifies || kind == Type::Forking || commands.remain_after_exit;
        self.once = kind == Type::Oneshot && !commands.remain_after_exit;
        self.reloads = !parsed.reload.is_empty() || kind == Type::NotifyReload;
        self.restart = restarting::word(commands.restart);
        let has_descriptor = matches!(target, Target::S6 | Target::Dinit);
        // A socket of sd_notify(3) is there from OpenRC 0.61 on, nobody knows which one this is for.
        self.parent = has_parent(commands, parsed, private_pids, self.tells && has_descriptor);
        self.policy = policy(commands, self.parent);
        self.delay = delay(commands).unwrap_or_default();
        self.limit = start_limit(commands);
        if self.inside(target, commands) {
            self.command.push("--supervise".into());
            self.parent = true;
            self.policy = Policy::Never;
        }
        if self.tells && has_descriptor {
            self.command.push(format!("--ready-fd={READY}"));
        }
        self.start = self.start_time(commands, parsed);
        self.stop = self.stop_time(commands, parsed);
    }

    /// Whether dynuser has to start it again itself, for the supervisor cannot be told when.
    fn inside(&mut self, target: Target, commands: &Commands) -> bool {
        let restarts = commands.restart != Restart::No || !commands.always_restart.is_empty();
        let why = match (target, &self.policy) {
            _ if !restarts || self.policy == Policy::Never => return false,
            _ if only_inside(commands) => "with what else the unit says of it",
            (Target::OpenRc | Target::Dinit, Policy::Depends(_)) => {
                "after some ends and not after others"
            }
            (Target::Runit | Target::S6, _) if says_limit(commands) => "with StartLimitBurst=",
            // Nothing is supervised that is started, and has ended.
            (Target::OpenRc | Target::Dinit | Target::S6, _) if self.once => {
                "of a Type=oneshot service"
            }
            _ => return false,
        };
        self.notes.push(format!(
            "Restart={}, {why}, cannot be said here: dynuser does it itself (--supervise).",
            self.restart
        ));
        true
    }

    fn start_time(&self, commands: &Commands, parsed: &Parsed) -> Option<Duration> {
        let each = commands.patience().start?;
        let before = parsed
            .condition
            .len()
            .saturating_add(parsed.start_pre.len());
        Some(times(each, before.saturating_add(1)).saturating_add(MARGIN))
    }

    /// The unit's own time where the supervisor's signals reach the service itself, and otherwise what dynuser may need
    /// for all that it does at a stop.
    fn stop_time(&self, commands: &Commands, parsed: &Parsed) -> Option<Duration> {
        if commands.never_kills {
            return None;
        }
        let each = commands.patience().stop?;
        if !self.parent {
            return Some(each);
        }
        let more = parsed.stop.len().saturating_add(parsed.stop_post.len());
        Some(times(each, more.saturating_add(1)).saturating_add(MARGIN))
    }

    /// What every file that can hold it begins with, as comments.
    pub(super) fn head(&self) -> String {
        format!(
            "{MARK}{}: made again, it loses what you change.\n",
            one_line(self.subject.file)
        )
    }

    /// The notes, as comments; with a line of its own for `title`.
    pub(super) fn comments(&self, with_title: bool, left: &[String], more: &[String]) -> String {
        let title = self.title.as_ref().filter(|_| with_title);
        let mut lines: Vec<String> = title.into_iter().cloned().collect();
        lines.extend(self.notes.iter().cloned());
        lines.extend(more.iter().cloned());
        if !left.is_empty() {
            lines.push("In the unit, and not carried over:".into());
            lines.extend(left.iter().map(|line| format!("  {line}")));
        }
        // A backslash at the end of a line joins the next one to it, in some syntaxes in comments, too.
        let end = |line: &str| if line.ends_with('\\') { " ." } else { "" };
        let comment = |line: &String| format!("# {line}{}\n", end(line));
        lines.iter().map(comment).collect()
    }

    /// What the unit says about others.
    pub(super) fn left(&self) -> Vec<String> {
        left(self.subject.unit)
    }

    /// The command as words of sh(1).
    pub(super) fn shell(&self) -> String {
        words(&self.command)
    }

    /// A service that has conditions, and is started again after every end.
    pub(super) fn note_conditions(&self) -> Option<String> {
        let again = match &self.policy {
            Policy::Never => false,
            Policy::Always => true,
            Policy::Depends(cases) => {
                !cases.down.contains(&crate::statuses::Ending::Status(0)) && cases.other_statuses
            }
        };
        (self.conditions && again && !self.once).then(|| {
            "While a condition of the unit does not hold, dynuser ends with 0, and is started again and again.".into()
        })
    }
}

pub(super) fn words(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| sh(word)).collect();
    quoted.join(" ")
}

fn has_parent(commands: &Commands, parsed: &Parsed, private_pids: bool, is_heard: bool) -> bool {
    let around = Around {
        private_pids,
        ..Around::default()
    };
    let mut commands = commands.clone();
    // Nobody has to stay to listen to it, if --ready-fd is there.
    if commands.kind == Some(Type::Notify) && is_heard {
        commands.kind = Some(Type::Simple);
    }
    needs_a_parent(&commands, parsed, around).is_some()
}

fn times(each: Duration, count: usize) -> Duration {
    each.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A time in whole seconds, rounded up.
pub(super) fn seconds(time: Duration) -> u64 {
    time.as_secs()
        .saturating_add(u64::from(time.subsec_nanos() > 0))
}
