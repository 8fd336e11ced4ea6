//! Texts that nobody would write, on the whole pure way of a unit file: no panic, no stack that overflows, memory
//! and copying that grow no faster than the text, places of errors that exist, the same answer twice.
//!
//! The same texts at every run: what is changed is drawn from numbers that begin with a fixed one. To go on with
//! others, for so many seconds: `FUZZ_SECONDS=600 cargo test --test fuzz_units`, and to have one again that failed,
//! `FUZZ_SEED=…`. The body is in tests/fuzz/, which is a target for libFuzzer too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

#[path = "fuzz/body.rs"]
mod body;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dynuser::directives;

#[global_allocator]
static COUNTING: body::Counting = body::Counting;

/// The first seed, and how many texts are made in the suite.
const FIRST: u64 = 0x5eed_0000;
const TEXTS: u64 = 600;

/// What a thread of this program may have: recursion that follows the text does not fit.
const STACK: usize = 1 << 20;

/// The numbers that everything is drawn from (SplitMix64).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    /// Mostly little, up to 127.
    fn short(&mut self) -> usize {
        let end = 1 << self.below(8);
        self.below(end)
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// The unit files of this machine, and those that are kept here for their syntax.
fn corpus() -> Vec<Vec<u8>> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds");
    let mut paths: Vec<PathBuf> = [&*seeds, Path::new("/usr/lib/systemd/system")]
        .into_iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flat_map(|entries| entries.map(|entry| entry.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|it| it == "service") && path.is_file())
        .collect();
    paths.sort();
    let texts: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(texts.len() >= 5, "there are too few seeds");
    texts
}

/// What is put into texts: where the syntax has its corners.
const PIECES: [&str; 72] = [
    "\\\n",
    "\\",
    "\n# c\n",
    "\n; c \\\n",
    "\"",
    "'",
    "%",
    "%%",
    "%i",
    "%I",
    "%f",
    "%n",
    "%z",
    "%j",
    "~",
    "=",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "\u{1c}",
    "\u{feff}",
    "ä",
    "😀",
    "\\x20",
    "\\xff",
    "\\u00e4",
    "\\U0001f600",
    "\\777",
    "\\:",
    ":",
    "::",
    ";",
    " ; ",
    "\\;",
    "$A",
    "${A}",
    "$$",
    "${",
    "{a,b}",
    "{{",
    "*",
    "?",
    "[!a-z]",
    "]",
    "-",
    "+",
    "!!",
    "@",
    "|",
    "/",
    "//",
    "/../",
    "/./",
    ".",
    "..",
    "0",
    "1-8191",
    "18446744073709551616",
    "-1",
    "0x7f",
    "1e9",
    "infinity",
    "50%",
    "1G 512M",
    "1y 2h 3ms",
    "10.0.0.0/8",
    "fe80::/10",
    "@system-service:EPERM",
    "kill",
    "[Service]\n",
    "[Unit]\n",
];

/// One text, of one seed.
fn text(seed: u64, corpus: &[Vec<u8>], names: &[&str]) -> Vec<u8> {
    let mut draw = Draw(seed);
    let mut text = draw.of(corpus).clone();
    for _ in 0..=draw.below(24) {
        let at = draw.below(text.len() + 1);
        let end = (at + draw.short()).min(text.len());
        match draw.below(10) {
            0 => drop(text.splice(at..end, [])),
            1 => {
                let again = text[at..end].to_vec();
                let count = draw.short();
                drop(text.splice(at..at, again.repeat(count)));
            }
            2 => {
                let byte = u8::try_from(draw.below(256)).unwrap();
                drop(text.splice(at..end, [byte]));
            }
            3 => {
                let other = draw.of(corpus);
                let from = draw.below(other.len());
                let to = (from + draw.below(200)).min(other.len());
                drop(text.splice(at..end, other[from..to].iter().copied()));
            }
            // A value goes to another directive.
            4 | 5 => {
                let line = text[..at].iter().rposition(|byte| *byte == b'\n');
                let line = line.map_or(0, |at| at + 1);
                let rest = text[line..].iter().position(|byte| *byte == b'=');
                let key = line..line + rest.unwrap_or(0);
                drop(text.splice(key, draw.of(names).bytes()));
            }
            6 => {
                let line = format!(
                    "\n{}={}{}\n",
                    draw.of(names),
                    draw.of(&PIECES),
                    draw.of(&PIECES)
                );
                drop(text.splice(at..at, line.into_bytes()));
            }
            _ => drop(text.splice(at..end, draw.of(&PIECES).bytes())),
        }
        text.truncate(64 << 10);
    }
    text
}

/// Runs on a stack that is small. Where it overflows, the whole program ends, and the file is left that says with
/// which seed.
fn on_a_small_stack(act: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK);
    if let Err(why) = thread.spawn(act).unwrap().join() {
        std::panic::resume_unwind(why);
    }
}

#[test]
fn any_text_is_read_or_refused() {
    on_a_small_stack(|| {
        let set = |name: &str| std::env::var(name).ok();
        let names: Vec<&str> = directives::all().map(|it| it.name).collect();
        let corpus = corpus();
        let note = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz_units.seed");
        let try_it = |seed: u64| {
            fs::write(&note, format!("FUZZ_SEED={seed}\n")).unwrap();
            let text = text(seed, &corpus, &names);
            let tried = catch_unwind(AssertUnwindSafe(|| body::everything(&text)));
            tried.unwrap_or_else(|_| {
                let kept = note.with_extension("text");
                fs::write(&kept, &text).unwrap();
                panic!("FUZZ_SEED={seed} fails; the text is in {}", kept.display())
            })
        };
        if let Some(seed) = set("FUZZ_SEED") {
            println!("{:?}", try_it(seed.parse().expect("FUZZ_SEED is a number")));
            return;
        }
        for corpus in &corpus {
            body::everything(corpus);
        }
        for seed in FIRST..FIRST + TEXTS {
            try_it(seed);
        }
        if let Some(seconds) = set("FUZZ_SECONDS") {
            let seconds = Duration::from_secs(seconds.parse().expect("FUZZ_SECONDS is a number"));
            let begun = Instant::now();
            let clock = std::time::SystemTime::UNIX_EPOCH
                .elapsed()
                .unwrap()
                .as_nanos();
            let mut seed = u64::try_from(clock & u128::from(u64::MAX)).unwrap();
            let mut count = 0_u64;
            while begun.elapsed() < seconds {
                try_it(seed);
                seed = seed.wrapping_add(1);
                count += 1;
            }
            println!(
                "{count} texts, the last one of FUZZ_SEED={}",
                seed.wrapping_sub(1)
            );
        }
    });
}

/// Lines of one kind, each other than those before it.
fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

#[test]
fn many_lines_cost_no_more_than_each() {
    on_a_small_stack(|| {
        // Of those that cost the least a hundred thousand; of the others as many as show what grows with the square.
        for line in [
            (|n| format!("Environment=A{n}=x\n")) as fn(usize) -> String,
            |_| "A=\n".into(),
        ] {
            body::at_length(&format!("[Service]\n{}", lines(100_000, line)));
        }
        let many = 2_000;
        for line in [
            (|n| format!("Environment=A{n}=x\n")) as fn(usize) -> String,
            |n| format!("UnsetEnvironment=A{n}\n"),
            |n| format!("StateDirectory=d{n}\n"),
            |n| format!("StateDirectory=d:l{n}\n"),
            |n| format!("TemporaryFileSystem=/d{n}\n"),
            |n| format!("ReadWritePaths=/d{n}\n"),
            |n| format!("BindPaths=/s:/d{n}\n"),
            |n| format!("SetCredential=c{n}:x\n"),
            |n| format!("DeviceAllow=/dev/d{n}\n"),
            |n| format!("IOWeight=1\nIODeviceWeight=/d{n} 1\n"),
            |n| format!("AllowedCPUs={}\n", n % 8192),
            |n| format!("CPUAffinity={}\n", n % 8192),
            |n| {
                format!(
                    "IPAddressDeny={}.{}.{}.1\n",
                    n >> 16,
                    (n >> 8) & 255,
                    n & 255
                )
            },
            |n| format!("ExecStartPre=/bin/{n} %i\n"),
            |n| format!("SupplementaryGroups=g{n}\n"),
            |n| format!("SuccessExitStatus={}\n", n % 256),
            |n| format!("StateDirectoryMode=0{}\n", 700 + n % 8),
            |n| format!("[S{n}]\nA=b\n"),
            |n| format!("[Unit]\nConditionPathExists=/{n}\n"),
            |n| format!("D{n}=x\n"),
        ] {
            let text = format!("[Service]\nDynamicUser=yes\n{}", lines(many, line));
            body::at_length(&text);
        }
        // Each of these makes the filter anew.
        let text = lines(many / 10, |n| {
            ["SystemCallFilter=read\n", "SystemCallFilter=~read\n"][n % 2].into()
        });
        body::at_length(&format!("[Service]\n{text}"));
    });
}

#[test]
fn ten_thousand_drop_ins_are_read() {
    on_a_small_stack(|| {
        let text = lines(10_000, |n| {
            format!("\u{1c}[Service]\nEnvironment=A{n}=x\nExecStart=\nExecStart=/bin/x {n}\n")
        });
        body::at_length(&format!("[Service]\nExecStart=/bin/x{text}"));
    });
}

#[test]
fn long_lines_cost_no_more_than_their_characters() {
    on_a_small_stack(|| {
        let long = 1 << 20;
        // A sixteenth of what a line may be, with its name: what grows with the square is beyond every bound there.
        let whole = |start: &str, again: &str| {
            let room = (long >> 4) - start.len() - 1;
            format!("{start}{}", again.repeat(room / again.len()))
        };
        for (start, again) in [
            ("Environment=", "A=x "),
            ("Environment=\"A=", "\\x41"),
            ("UnsetEnvironment=", "AB "),
            ("StateDirectory=", "a/"),
            ("StateDirectory=x:", "a/"),
            ("ReadWritePaths=", "/a "),
            ("ReadWritePaths=/", "a/"),
            ("BindPaths=", "/a:/b "),
            ("TemporaryFileSystem=", "/a "),
            ("TemporaryFileSystem=/a:", "ro,"),
            ("CPUAffinity=", "0-8191 "),
            ("AllowedCPUs=", "0-8191 "),
            ("AllowedCPUs=", "1 3 "),
            ("IPAddressDeny=", "10.0.0.1 "),
            ("SystemCallFilter=~", "read:EPERM "),
            ("SystemCallFilter=", "~"),
            ("CapabilityBoundingSet=", "CAP_CHOWN "),
            ("RestrictAddressFamilies=", "AF_UNIX "),
            ("ExecStart=", "-"),
            ("ExecStart=/x ", "; /x "),
            ("ExecStart=/x ", "%i"),
            ("ExecStart=/x ", "$$"),
            ("ExecStart=/x \"", "\\\""),
            ("ExecStart=/x ", "'a' "),
            ("ExecSearchPath=", "/a:"),
            ("SuccessExitStatus=", "1 "),
            ("TimeoutStopSec=", "1s "),
            ("TimeoutStopSec=1.", "1"),
            ("LimitNOFILE=", "0"),
            ("MemoryMax=", "1K "),
            ("WorkingDirectory=", "%f"),
            ("User=", "%n"),
            ("Slice=", "a-"),
            ("Delegate=", "cpu "),
            ("SetCredential=a:", "\\n"),
            ("[Unit]\nConditionPathExistsGlob=/{", ","),
            ("[Unit]\nConditionPathExistsGlob=/", "{a,b}"),
            ("[Unit]\nConditionPathExistsGlob=/", "{"),
            ("[Unit]\nConditionPathExistsGlob=/", "*a"),
            ("[Unit]\nConditionKernelVersion=", "1."),
            ("", "["),
            ("A", " "),
            ("A=", "="),
        ] {
            let text = format!("[Service]\n{}\n", whole(start, again));
            body::at_length(&text);
        }
        // A brace in the midst, with much before it and behind it.
        let half = ",".repeat(long / 2);
        let text = format!(
            "[Unit]\nConditionPathExistsGlob=/{{{half}}}{}\n",
            "a".repeat(long / 2 - 64)
        );
        body::at_length(&text);
        // Longer than one may be, in one and in all.
        body::at_length(&format!("[Service]\nA={}\n", "x".repeat(long)));
        body::at_length(&format!("[Service]\nA={}", "x \\\n# c\n".repeat(long / 4)));
        body::at_length(&"\\\n".repeat(long / 2));
    });
}

#[test]
fn every_parser_takes_long_texts() {
    on_a_small_stack(|| {
        for again in [
            "A=x\n",
            "A",
            "\\",
            "\"",
            "'a",
            "$",
            "${",
            "{",
            "{a,",
            "*",
            "%n",
            "%",
            "1s",
            "9",
            "1.",
            "-",
            "a-",
            "CAP_CHOWN ",
            "\0",
            "\u{feff}",
            "ä",
            " ",
            "\n",
            "/",
            "a:b ",
            "~",
            "!",
        ] {
            let bytes = again.repeat((1 << 14) / again.len());
            body::parts(&bytes);
        }
        let text = lines(5_000, |n| format!("A{n}='x'\n"));
        body::parts(&text);
    });
}
