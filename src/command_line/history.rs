//! The verb that tells who had a number when.

use clap::Args;

use crate::failure::{Failure, OrFail, Stage};
use crate::history::{self, Reading};
use crate::history_text::Tenure;
use crate::report;
use crate::sys::clock;
use crate::timestamp::{self, Moment};

#[derive(Debug, Args)]
pub(super) struct History {
    /// Only those of this number, or of this user or service
    #[arg(value_name = "UID|NAME")]
    who: Option<String>,
    /// Only those who had it at this time: 2026-11-23 12:00:00, 12:00, yesterday, @1764000000, 2h ago
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        conflicts_with_all = ["since", "until"]
    )]
    at: Option<String>,
    /// Only those who had it at this time or later
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Only those who had it at this time or earlier
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// As an array of objects
    #[arg(long)]
    json: bool,
}

/// 0 if somebody had it, 1 if nobody did.
pub(super) fn history(options: &History) -> Result<u8, Failure> {
    let read = history::read()?;
    let span = span(options, &read)?;
    let found: Vec<&Tenure> = read
        .past
        .in_order()
        .into_iter()
        .filter(|tenure| is_meant(tenure, options.who.as_deref()))
        .filter(|tenure| {
            let spans = tenure.spans(&read.now);
            let meets = |(first, last): &(u64, u64)| *first <= span.last && span.first <= *last;
            spans.iter().any(meets)
        })
        .collect();
    let text = match options.json {
        true => report::history_json(&found, &read.now),
        false if found.is_empty() => String::new(),
        false => report::history(&found, &read.now),
    };
    report::print(&text)?;
    if read.past.skipped > 0 {
        let skipped = read.past.skipped;
        report::say(&format!(
            "dynuser: the history is damaged: {skipped} lines of it say nothing"
        ));
    }
    let gaps = read.past.gaps.iter();
    let gaps = gaps.filter(|(first, last)| *first <= span.last && span.first <= *last);
    for (first, last) in gaps {
        let (first, last) = (report::moment(*first), report::moment(*last));
        report::say(&format!(
            "dynuser: not everything could be written from {first} to {last}: who came and went then may be missing"
        ));
    }
    if found.is_empty() {
        report::say(&format!("dynuser: {}", nobody(options, &read)));
    }
    Ok(u8::from(found.is_empty()))
}

/// Whether somebody means this one by `who`: its number, its user or its service.
fn is_meant(tenure: &Tenure, who: Option<&str>) -> bool {
    let Some(who) = who else { return true };
    let service = who.strip_suffix(".service").unwrap_or(who);
    tenure.held.name == who || tenure.service == service || tenure.held.uid.to_string() == who
}

/// The time that is asked for: all of it, unless something was said.
fn span(options: &History, read: &Reading) -> Result<Moment, Failure> {
    let clock = read.now.clock;
    // A clock that was set back has shown later times.
    let spans = read
        .past
        .tenures()
        .iter()
        .flat_map(|it| it.spans(&read.now));
    let shown = spans.fold(clock, |latest, (_, last)| latest.max(last));
    let moment = |text: &Option<String>| {
        let parsed = text.as_ref().map(|text| {
            let moment = timestamp::parse(text, clock, &clock::local);
            let past = moment.and_then(|moment| match moment.first > shown {
                true => Err("that is still to come".into()),
                false => Ok(moment),
            });
            past.or_fail(Stage::Request, text.clone())
        });
        parsed.transpose()
    };
    if let Some(at) = moment(&options.at)? {
        return Ok(at);
    }
    let since = moment(&options.since)?.map_or(0, |since| since.first);
    let until = moment(&options.until)?.map_or(u64::MAX, |until| until.last);
    if since > until {
        let why = "is after --until, so nobody can have had it then";
        let since = options.since.clone().unwrap_or_default();
        return Err(Failure::new(Stage::Request, since, why));
    }
    Ok(Moment {
        first: since,
        last: until,
    })
}

/// That nobody had it, and how far back that is known.
fn nobody(options: &History, read: &Reading) -> String {
    let what = match &options.who {
        Some(who) if who.bytes().all(|byte| byte.is_ascii_digit()) => format!("nobody had {who}"),
        Some(who) => format!("{} had no number", report::harmless(who)),
        None => "nobody had a number".into(),
    };
    let when = match (&options.at, &options.since, &options.until) {
        (None, None, None) => "",
        (Some(_), ..) => " at that time",
        _ => " in that time",
    };
    match read.complete_from {
        None => format!("{what}{when}, as far as is known: there is no history yet"),
        Some(from) => format!(
            "{what}{when}, as far as is known: the history goes back to {}",
            report::moment(from)
        ),
    }
}
