//! The layers of the design, kept by reading the sources (DESIGN.md §9).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Which layer a module of `src/` belongs to. A module uses only lower layers, and its own.
const LAYERS: [(u8, &[&str]); 6] = [
    // Pure: words and numbers that everybody uses, where things are in /run.
    (0, &["failure", "layout", "names", "uid", "user_text"]),
    // Pure: what was asked, what was found, what is to be done.
    (
        1,
        &[
            "access_list",
            "account_lines",
            "bpf_code",
            "activation",
            "candidates",
            "capabilities",
            "cleaning",
            "command_text",
            "config",
            "conditions",
            "connections",
            "control_group",
            "device_filter",
            "directives",
            "directory_claims",
            "directory_text",
            "doctor",
            "environment_text",
            "exec_directory",
            "history_text",
            "import",
            "level",
            "life",
            "nscd_protocol",
            "nsswitch",
            "observed",
            "packet_filter",
            "plan",
            "program_kind",
            "registry_text",
            "request",
            "seccomp",
            "sizes",
            "socket_unit",
            "spec",
            "specifiers",
            "statuses",
            "syscall_sets",
            "time_span",
            "timestamp",
            "unit",
            "unit_check",
            "unit_file",
            "user_database",
            "user_record",
            "words",
        ],
    ),
    // The only door to the kernel.
    (2, &["sys"]),
    // Look, do, take back.
    (
        3,
        &[
            "adopted",
            "allocate",
            "apply",
            "condition_look",
            "config_files",
            "consumption",
            "definition_files",
            "directory_record",
            "examine",
            "giving",
            "group",
            "history",
            "holder",
            "inside",
            "kept_lines",
            "lease",
            "meant",
            "name_caches",
            "notify_files",
            "number_locks",
            "observe",
            "orphans",
            "place",
            "published",
            "registry",
            "release",
            "removal",
            "root_files",
            "run_folders",
            "sockets",
            "search_right",
            "surroundings",
            "unit_directories",
            "unit_load",
        ],
    ),
    // The live table.
    (4, &["manager"]),
    // The edges.
    (
        5,
        &[
            "bus",
            "client",
            "command_line",
            "daemon",
            "launcher",
            "listener",
            "lib",
            "nscd_server",
            "main",
            "protocol",
            "pty",
            "public_socket",
            "relay",
            "report",
            "user_database_server",
            "watcher",
        ],
    ),
];

/// Layers that only compute.
const PURE: u8 = 1;

/// What a pure module has no business with.
const IMPURE: [&str; 8] = [
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::time",
    "std::thread",
    "std::os",
    "rand",
];

/// The longest a source file may be, in lines.
const LONGEST: usize = 400;

/// A source file, with its text and its text without comments, strings and unit tests.
struct Source {
    path: PathBuf,
    text: String,
    code: String,
}

impl Source {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The module of `src/` that it is, or is a part of.
    fn module(&self) -> String {
        let first = self.path.components().nth(1).expect("a file below src");
        Path::new(first.as_os_str())
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .into_owned()
    }

    /// The layer of its module.
    fn layer(&self) -> u8 {
        layer(&self.module()).unwrap_or_else(|| {
            panic!(
                "{}: the module has no layer yet; give it one in tests/layers.rs",
                self.name()
            )
        })
    }
}

fn layer(module: &str) -> Option<u8> {
    LAYERS
        .iter()
        .find(|(_, modules)| modules.contains(&module))
        .map(|(layer, _)| *layer)
}

/// All Rust files below `directory` of the project.
fn sources(directory: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open = vec![root.join(directory)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a source directory") {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                // Unit tests may do what their module must not, in a file of their own as well.
                let tests = path.file_name().is_some_and(|name| name == "tests.rs");
                let code = if tests { String::new() } else { code(&text) };
                let path = path.strip_prefix(root).unwrap().to_owned();
                found.push(Source { path, text, code });
            }
        }
    }
    assert!(!found.is_empty(), "no sources below {directory}");
    found
}

/// Rust without its comments, strings, characters and unit tests: what remains is code.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("r#\"") {
            rest.find("\"#").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            string_length(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            0
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

/// The length of the string literal that `text` starts with.
fn string_length(text: &str) -> usize {
    let mut escaped = true; // The opening quote ends nothing.
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => (),
        }
    }
    text.len()
}

/// The words of Rust code.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
}

/// The modules of the crate that `code` names: `crate::a::b`, `crate::{a, b::{c}}`, `dynuser::a`.
fn used_modules(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for start in ["crate::", "dynuser::"] {
        for (at, _) in code.match_indices(start) {
            if code[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
                continue;
            }
            let path = &code[at + start.len()..];
            match path.strip_prefix('{') {
                Some(list) => used.extend(first_words_of_list(list)),
                None => used.extend(words(path).next().map(str::to_owned)),
            }
        }
    }
    used
}

/// The first words of the entries of a `use` list, whose opening brace has been read.
fn first_words_of_list(list: &str) -> Vec<String> {
    let mut depth = 1;
    let mut entry = String::new();
    let mut entries = Vec::new();
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => entries.push(std::mem::take(&mut entry)),
            _ if depth == 1 => entry.push(c),
            _ => (),
        }
        if depth == 0 {
            break;
        }
    }
    entries.push(entry);
    let first = |entry: &String| words(entry.trim()).next().map(str::to_owned);
    entries
        .iter()
        .filter_map(first)
        .filter(|word| !word.is_empty())
        .collect()
}

#[test]
fn a_module_uses_only_lower_layers_and_its_own() {
    for source in sources("src") {
        let own = source.layer();
        for used in used_modules(&source.code) {
            // What is no module of ours is an item of the crate's root, or `self`.
            if let Some(layer) = layer(&used) {
                assert!(
                    layer <= own,
                    "{} (layer {own}) uses {used} (layer {layer})",
                    source.name()
                );
            }
        }
    }
}

#[test]
fn deciding_is_pure() {
    for source in sources("src")
        .iter()
        .filter(|source| source.layer() <= PURE)
    {
        for word in IMPURE {
            let uses = source.code.match_indices(word).any(|(at, _)| {
                let before = source.code[..at].chars().next_back();
                let after = source.code[at + word.len()..].chars().next();
                let part =
                    |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
                !part(before) && !part(after)
            });
            assert!(
                !uses,
                "{} decides, and so must not use {word}",
                source.name()
            );
        }
        for door in ["libc", "nix", "rustix", "tokio", "zbus", "sys"] {
            let uses = words(&source.code).any(|word| word == door);
            assert!(
                !uses,
                "{} decides, and so must not use {door}",
                source.name()
            );
        }
    }
}

#[test]
fn unsafe_code_is_behind_the_door_to_the_kernel() {
    for directory in ["src"] {
        for source in sources(directory) {
            let uses = words(&source.code).any(|word| word == "unsafe");
            let allowed = source.path.starts_with("src/sys");
            assert!(
                !uses || allowed,
                "{} is not the place for unsafe code",
                source.name()
            );
        }
    }
}

#[test]
fn only_the_edges_print() {
    for source in sources("src").iter().filter(|source| source.layer() < 5) {
        for word in ["println", "eprintln", "print", "eprint", "dbg"] {
            let uses = source.code.contains(&format!("{word}!"));
            assert!(!uses, "{} prints with {word}!", source.name());
        }
    }
}

#[test]
fn files_are_short_enough_to_be_read() {
    for directory in ["src", "nss-module"] {
        for source in sources(directory) {
            let lines = source.text.lines().count();
            assert!(
                lines <= LONGEST,
                "{} has {lines} lines: split it",
                source.name()
            );
        }
    }
}

#[test]
fn this_test_reads_rust_well_enough() {
    let text = "use crate::{names::UserName, plan::{self, Step}, uid};\n// unsafe crate::daemon\n\
                let a = \"crate::bus \\\" unsafe\"; let c = '\"'; crate::sys::open(); dynuser::report();\n\
                not_crate::main();\n#[cfg(test)]\nmod tests { use crate::launcher; }\n";
    let code = code(text);
    assert_eq!(
        used_modules(&code),
        ["names", "plan", "uid", "sys", "report"]
    );
    assert!(!words(&code).any(|word| word == "unsafe"));
}
