//! What the fuzz tests do with a text, and what they hold it to: tests/fuzz_units.rs in the suite, and the target
//! for libFuzzer beside this file.
//!
//! A text is a unit file, with its drop-ins behind it, each after a byte 0x1C ("file separator"). It goes the whole
//! pure way that `dynuser run --unit-file` takes it, and as it is into every parser that reads a part of one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Debug;

use dynuser::conditions::{self, Conditions};
use dynuser::control_group;
use dynuser::directives::{self, Settings};
use dynuser::environment_text;
use dynuser::observed::{Entry as Found, Observed};
use dynuser::plan::{self, Identity};
use dynuser::request::Request;
use dynuser::seccomp::{self, Machine, Rules};
use dynuser::sizes::{self, Resource};
use dynuser::spec::Spec;
use dynuser::specifiers::{self, Context, Facts, UnitName};
use dynuser::statuses;
use dynuser::time_span;
use dynuser::uid::Uid;
use dynuser::unit::{self, Setting, Unit};
use dynuser::unit_check;
use dynuser::unit_file::{self, Entry, Fault};
use dynuser::words::{self, Escapes};
use dynuser::{capabilities, command_text};

/// What stands between a unit file and its drop-ins.
pub(crate) const SEPARATOR: char = '\u{1c}';

/// The most memory at one time: so many bytes for each of the text, which covers the copies that are held here
/// beside each other, and so many in any case, most of them system-call filters.
const PEAK: (usize, usize) = (600, 16 << 20);

/// The most bytes that are asked for one after the other: the copying that a text costs. What grows with the square
/// of a text's length is beyond that where the text is long.
const CHURN: (usize, usize) = (8_000, 64 << 20);

/// The system's allocator, which counts what each thread has.
pub(crate) struct Counting;

#[derive(Clone, Copy, Default)]
struct Count {
    now: usize,
    peak: usize,
    churn: usize,
}

thread_local! {
    // Without a destructor and without allocation: it is used in the allocator.
    static COUNT: Cell<Count> = const { Cell::new(Count { now: 0, peak: 0, churn: 0 }) };
}

fn count(more: usize, less: usize) {
    // A thread that is ending has no counts any more.
    let _ended = COUNT.try_with(|cell| {
        let mut count = cell.get();
        count.now = count.now.saturating_add(more).saturating_sub(less);
        count.peak = count.peak.max(count.now);
        count.churn = count.churn.saturating_add(more);
        cell.set(count);
    });
}

// SAFETY: each call is handed on to the system's allocator, with what came in.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller has it from `alloc` or `realloc`, which have it from there.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both at one time: it may have to be moved.
        count(size, 0);
        count(0, layout.size());
        // SAFETY: as for `dealloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What a text has cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// The most memory at one time, in bytes.
    pub(crate) peak: usize,
    /// All that was ever asked for, in bytes.
    pub(crate) churn: usize,
}

/// Does something, and counts what it costs.
pub(crate) fn measure(act: impl FnOnce()) -> Cost {
    let before = COUNT.get();
    COUNT.set(Count {
        peak: before.now,
        churn: 0,
        ..before
    });
    act();
    let after = COUNT.get();
    Cost {
        peak: after.peak.saturating_sub(before.now),
        churn: after.churn,
    }
}

fn hold_to(cost: Cost, bytes: usize) {
    for (what, spent, (each, always)) in [("peak", cost.peak, PEAK), ("churn", cost.churn, CHURN)] {
        let most = bytes.saturating_mul(each).saturating_add(always);
        assert!(
            spent <= most,
            "{what}: {spent} bytes for a text of {bytes}, {most} at most"
        );
    }
}

/// Everything with any bytes, and what it has cost.
pub(crate) fn everything(bytes: &[u8]) -> Cost {
    // Wherever files are read, bytes that are no UTF-8 are replaced or refused before.
    let text = String::from_utf8_lossy(bytes);
    let cost = measure(|| {
        whole_way(&text, true);
        parts(&text);
    });
    hold_to(cost, text.len());
    cost
}

/// The whole way alone, once: for texts of many lines.
pub(crate) fn at_length(text: &str) -> Cost {
    let cost = measure(|| whole_way(text, false));
    hold_to(cost, text.len());
    cost
}

fn context() -> Context {
    let name = UnitName::parse("fuzz-a@b\\x20c:d.service").expect("a name");
    Context {
        unit_file: Some("/etc/systemd/system/fuzz-a@.service".into()),
        facts: Facts {
            host_name: Some("host.example".into()),
            machine_id: Some("0".repeat(32)),
            boot_id: Some("1".repeat(32)),
            kernel_release: Some("6.12.0".into()),
            architecture: Some("x86-64".into()),
            os_id: Some("debian".into()),
            os_version: Some(String::new()),
            ..Facts::default()
        },
        ..Context::system(name)
    }
}

/// The place of a fault is one of the text.
fn assert_place(texts: &[&str], fault: &Fault) {
    let text = texts[fault.file.parse::<usize>().expect("a number")];
    let line = fault
        .line
        .checked_sub(1)
        .and_then(|at| text.split('\n').nth(at));
    let line = line.unwrap_or_else(|| panic!("{fault}: there is no such line"));
    let columns = line.chars().count() + 1;
    assert!(
        (1..=columns).contains(&fault.column),
        "{fault}: it has {columns} columns"
    );
}

/// Each is looked for in its text, so that a few are enough.
fn assert_places(texts: &[&str], faults: &[Fault]) {
    assert!(!faults.is_empty(), "refused without a fault");
    for fault in faults.iter().take(32).chain(faults.last()) {
        assert_place(texts, fault);
    }
}

/// The same answer again. An answer that is too long to be told twice is taken as it is.
fn twice<T: Debug>(thorough: bool, mut act: impl FnMut() -> T) -> T {
    let answer = act();
    if thorough {
        assert_eq!(
            format!("{answer:?}"),
            format!("{:?}", act()),
            "not the same twice"
        );
    }
    answer
}

/// What `dynuser run --unit-file` does before it looks at the host, and what it makes of an empty one.
pub(crate) fn whole_way(text: &str, thorough: bool) {
    let context = context();
    let texts: Vec<&str> = text.split(SEPARATOR).collect();
    let mut entries: Vec<Entry> = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        match twice(thorough, || unit_file::parse(&number.to_string(), text)) {
            Ok(more) => entries.extend(more),
            Err(fault) => assert_place(&texts, &fault),
        }
    }
    let _instance = unit::default_instance(&entries);
    let unit = match Unit::read(&entries, &context) {
        Ok(unit) => unit,
        Err(faults) => {
            assert_places(&texts, &faults);
            let places = faults.iter().map(|fault| (fault.file.as_str(), fault.line));
            let places: BTreeSet<(&str, usize)> = places.collect();
            entries.retain(|it| !places.contains(&(it.file.as_str(), it.line)));
            Unit::read(&entries, &context).expect("what is right without what is wrong")
        }
    };
    if thorough {
        drop(unit_check::lines(&unit));
    }
    match twice(thorough, || Conditions::of(&unit.unit)) {
        Ok(all) => look_at(&all),
        Err(faults) => assert_places(&texts, &faults),
    }
    let mut settings = Settings::default();
    let mut again = Settings::default();
    let mut properties = Vec::new();
    for Setting { name, value, .. } in unit.settings_of_the_service() {
        let answer = settings.assign(name, value);
        if thorough {
            assert_eq!(answer, again.assign(name, value), "{name}={value}");
        }
        if answer.is_ok() {
            properties.push((name.clone(), value.clone()));
        }
    }
    if thorough {
        assert_eq!(
            format!("{settings:?}"),
            format!("{again:?}"),
            "not the same twice"
        );
    }
    carry_out(&settings, &context);
    let service = "fuzz".into();
    let request = Request {
        service,
        properties,
    };
    if let Ok(spec) = twice(thorough, || Spec::check(&request)) {
        plan_for(&spec, thorough);
        // What one broken line has done to the others is not in these.
        carry_out(spec.settings(), &context);
    }
}

fn look_at(all: &Conditions) {
    let list = all.conditions.iter().chain(&all.asserts);
    for condition in list.clone() {
        let argument = &condition.argument;
        for pattern in conditions::braces(argument, 64).iter().take(64) {
            conditions::matches(pattern, "/etc/passwd");
            conditions::matches_any_case(pattern, argument);
        }
        let other = conditions::split_operator(argument).map_or(argument.as_str(), |it| it.1);
        conditions::version_order(other, "6.12.0-1-amd64");
    }
    for list in [&all.conditions, &all.asserts] {
        let answer = conditions::judge(list, &mut |it| Ok::<bool, ()>(it.argument.len() > 8));
        assert!(answer.is_ok());
    }
}

/// What settings are made into, that does not depend on the plan.
fn carry_out(settings: &Settings, context: &Context) {
    let expand = |word: &str| specifiers::expand(word, context);
    if let Ok(parsed) = settings.commands.parse(&expand) {
        let all = [
            &parsed.condition,
            &parsed.start_pre,
            &parsed.start,
            &parsed.stop_post,
        ];
        for command in all.into_iter().flatten() {
            assert!(!command.argv(&settings.environment).is_empty() || command.expands);
        }
    }
    let _patience = settings.commands.patience();
    let filters = settings.filters.clone();
    if filters != directives::Filters::default() {
        for machine in [Machine::X86_64, Machine::Aarch64, Machine::Riscv64] {
            let rules = Rules {
                set_id: true,
                no_io_uring: true,
                personality: 0,
                filters: filters.clone(),
                ..Rules::default()
            };
            let program = seccomp::filter(machine, &rules);
            assert!(
                !program.is_empty() && program.len() <= seccomp::LONGEST,
                "{}",
                program.len()
            );
        }
    }
    let host = control_group::Facts {
        memory: u64::MAX,
        swap: 1,
        tasks: 32768,
        ..control_group::Facts::default()
    };
    if let Ok(plan) = settings.control_group.plan(&host) {
        let _directives = plan.directives();
    }
}

fn plan_for(spec: &Spec, thorough: bool) {
    let identity = Identity {
        user: "fuzz".into(),
        uid: Uid::new(61184).expect("a number"),
        gid: 61184,
        group_name: Some("fuzz".into()),
        groups: vec![61184],
        dynamic: spec.is_dynamic(),
        home: None,
        invocation: "0".repeat(32),
    };
    let nothing = plan::questions(spec)
        .into_iter()
        .map(|path| (path, Found::Nothing));
    let empty = Observed {
        entries: nothing.collect(),
        temporary: ["/tmp", "/var/tmp"].map(String::from).into(),
        homes: ["/home", "/root"].map(String::from).into(),
        ..Observed::default()
    };
    for observed in [&empty, &Observed::default()] {
        if let Ok(plan) = twice(thorough, || plan::plan(spec, &identity, observed)) {
            assert!(!plan.to_string().is_empty() || !spec.is_dynamic());
        }
        let variables = plan::environment(spec, &identity, observed);
        assert!(variables.iter().any(|(name, _)| name == "HOME"));
    }
}

/// Every parser of a part, with all of a text.
pub(crate) fn parts(text: &str) {
    let context = context();
    let expand = |word: &str| specifiers::expand(word, &context);
    let expanded = twice(true, || expand(text));
    if let Ok(read) = twice(true, || environment_text::parse(text)) {
        let names: BTreeSet<&str> = read
            .assignments
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names.len(), read.assignments.len(), "a name twice");
        drop(command_text::expand_variables(
            &[text.to_owned()],
            &read.assignments,
        ));
    }
    drop(twice(true, || command_text::parse(text, &expand)));
    for text in [Some(text), expanded.as_deref().ok()].into_iter().flatten() {
        for escapes in [
            Escapes::C,
            Escapes::KeepUnknown,
            Escapes::Plain,
            Escapes::Lenient,
        ] {
            drop(words::split_by(text, escapes));
        }
        drop((words::split_keeping_colons(text), words::unescape(text)));
        drop((
            environment_text::pass_list(text),
            environment_text::unset_list(text),
        ));
        drop((time_span::parse(text), time_span::parse_in(text, "us")));
        drop((sizes::size(text), sizes::memory(text), sizes::count(text)));
        drop((sizes::permyriad(text), sizes::number(text)));
        for (_, resource) in Resource::ALL {
            drop(sizes::limit(resource, text));
        }
        drop((statuses::list(text), statuses::signal(text)));
        drop(capabilities::CapabilitySet::EMPTY.assign(capabilities::CapabilitySet::ALL, text));
        drop((UnitName::parse(text), specifiers::unescape(text)));
        assert!(conditions::braces(text, 64).len() <= 64);
        conditions::matches(text, text);
        conditions::version_order(text, "1.2~rc3");
        // One directive, another one for each text.
        let sum = text
            .bytes()
            .fold(0_usize, |sum, byte| sum * 31 % 65_521 + usize::from(byte));
        let every: Vec<_> = directives::all().collect();
        let name = every[sum % every.len()].name;
        let answer = || Settings::default().assign(name, text);
        assert_eq!(answer(), answer(), "{name}");
    }
}
