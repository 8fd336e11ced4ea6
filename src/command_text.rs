//! The values of `ExecStart=` and its like: systemd.service(5) "COMMAND LINES", and what systemd 257
//! does where that page leaves something open.
//!
//! Two steps, far apart in time. [`parse`] takes a value apart when it is read, and expands specifiers.
//! [`Command::argv`] puts variables in when the command starts: their values are known no sooner.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::words::{self, BLANKS, Escapes};

/// With which rights a command runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Privilege {
    /// With those of the service.
    #[default]
    Service,
    /// `+`: with all of root's, and outside of the service's sandbox.
    Full,
    /// `!`: in the sandbox, but User=, Group= and the capabilities' settings do not apply; supplementary
    /// groups do.
    KeepsRoot,
    /// `!!`: as `!` only on kernels without ambient capabilities. Every kernel that we run on has them: as
    /// [`Privilege::Service`].
    Ambient,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// `-`: its failure counts as success.
    pub ignores_failure: bool,
    /// `@`: what the program is told that it is called, as written: variables are put in late.
    pub argv0: Option<String>,
    /// No `:`: variables are put in.
    pub expands: bool,
    /// `+`, `!` or `!!`.
    pub privilege: Privilege,
    /// The program: an absolute path, or a name that is to be looked for in the fixed search path. Variables
    /// are never put in here.
    pub path: String,
    /// Its arguments without the zeroth, as written: variables are put in late.
    pub arguments: Vec<String>,
}

impl Command {
    /// What the program gets, its own name first. A variable of that name that comes more than once has its
    /// last value.
    pub fn argv(&self, environment: &[(String, String)]) -> Vec<String> {
        // As systemd: the name that the program is told is a word like all others.
        let name = self.argv0.as_ref().unwrap_or(&self.path);
        let words: Vec<String> = [name].into_iter().chain(&self.arguments).cloned().collect();
        if self.expands {
            expand_variables(&words, environment)
        } else {
            words
        }
    }
}

/// Expands the specifiers of one word.
pub type Expand<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// Reads a value: one command, or several with `;` between them. An empty value gives none: it resets the
/// list.
///
/// # Errors
/// A sentence that says what is wrong. Where systemd warns and leaves the command out (a broken one with
/// `-` before it), this is an error as well.
pub fn parse(value: &str, expand: &Expand<'_>) -> Result<Vec<Command>, String> {
    let mut commands = Vec::new();
    let mut rest = value.trim_start_matches(BLANKS);
    while let Some(first) = words::first_word(&mut rest, Escapes::KeepUnknown)? {
        // A separator where a command should be: systemd passes over it.
        if first == ";" {
            continue;
        }
        let mut command = read_program(&first, expand)?;
        let mut arguments = read_arguments(&mut rest, expand)?.into_iter();
        if command.argv0.is_some() {
            let Some(name) = arguments.next() else {
                return Err(format!(
                    "{first:?}: after @ comes the program, then the name that it is told"
                ));
            };
            command.argv0 = Some(name);
        }
        command.arguments = arguments.collect();
        commands.push(command);
    }
    Ok(commands)
}

/// Reads the prefixes and the program. With `@` the name is there, and empty yet.
fn read_program(word: &str, expand: &Expand<'_>) -> Result<Command, String> {
    let mut command = Command {
        ignores_failure: false,
        argv0: None,
        expands: true,
        privilege: Privilege::Service,
        path: String::new(),
        arguments: Vec::new(),
    };
    let mut rest = word.chars();
    let path = loop {
        let before = rest.as_str();
        // Each at most once, and of + ! !! only one: a second one is the beginning of the path, as in
        // systemd, and no path begins so.
        match (rest.next(), command.privilege) {
            (Some('-'), _) if !command.ignores_failure => command.ignores_failure = true,
            (Some('@'), _) if command.argv0.is_none() => command.argv0 = Some(String::new()),
            (Some(':'), _) if command.expands => command.expands = false,
            (Some('+'), Privilege::Service) => command.privilege = Privilege::Full,
            (Some('!'), Privilege::Service) => command.privilege = Privilege::KeepsRoot,
            (Some('!'), Privilege::KeepsRoot) => command.privilege = Privilege::Ambient,
            (Some('|'), _) => {
                return Err(format!(
                    "{word:?}: the prefix | (through the user's shell) is not supported"
                ));
            }
            _ => break before,
        }
    };
    command.path = program(&expand(path)?).map_err(|why| format!("{word:?}: {why}"))?;
    Ok(command)
}

/// Checks what is to be run.
fn program(path: &str) -> Result<String, String> {
    if path.is_empty() {
        return Err("no program is named".into());
    }
    if path.starts_with(['-', '@', ':', '+', '!']) {
        return Err("the prefixes - @ : come once each, and of + ! !! only one".into());
    }
    if path.chars().any(|c| c.is_control() || "\"'\\".contains(c)) {
        return Err("the program's name holds quotes, backslashes or control characters".into());
    }
    if path.ends_with('/') {
        return Err("that is a directory, no program".into());
    }
    if !path.starts_with('/') {
        return match path {
            "." | ".." => Err("that is a directory, no program".into()),
            name if name.contains('/') => Err("neither an absolute path nor a bare name".into()),
            name if name.len() > 255 => Err("the program's name is longer than 255 bytes".into()),
            name => Ok(name.into()),
        };
    }
    if path.len() > 4095 || path.split('/').any(|part| part.len() > 255) {
        return Err("the program's path is too long".into());
    }
    // As written, `//` and `/./` too: that is what the program is told that it is called.
    Ok(path.into())
}

/// Reads words up to the end of the command, and what ends it.
fn read_arguments(rest: &mut &str, expand: &Expand<'_>) -> Result<Vec<String>, String> {
    let mut arguments = Vec::new();
    loop {
        // Looked at before any unquoting: ";" in quotes, and \x3b, are words like others.
        if let Some(after) = bare(rest, ";") {
            *rest = after;
            return Ok(arguments);
        }
        if let Some(after) = bare(rest, "\\;") {
            *rest = after;
            arguments.push(";".into());
            continue;
        }
        match words::first_word(rest, Escapes::KeepUnknown)? {
            Some(word) => arguments.push(expand(&word)?),
            None => return Ok(arguments),
        }
    }
}

/// What comes after `word`, if that is what `rest` begins with.
fn bare<'t>(rest: &&'t str, word: &str) -> Option<&'t str> {
    let after = rest.strip_prefix(word)?;
    let ends = after.is_empty() || after.starts_with(BLANKS);
    ends.then(|| after.trim_start_matches(BLANKS))
}

/// More than the kernel takes of arguments, in bytes: six megabytes, whatever the limit of the stack is (execve(2)).
/// What is longer is not put together any further, for a short line with a long variable in it again and
/// again would take memory without end; execve(2) fails with E2BIG, as it would with all of it.
const LONGEST_ARGUMENTS: usize = 8 * 1024 * 1024;

/// Puts variables in. A word that is nothing but `$NAME` becomes as many words as the value has (none,
/// where there is no such variable); `${NAME}` becomes the value, wherever it stands; `$$` a dollar sign.
pub fn expand_variables(words: &[String], environment: &[(String, String)]) -> Vec<String> {
    // A later assignment is the one that counts.
    let pairs = environment.iter();
    let values: BTreeMap<&str, &str> = pairs.map(|(key, value)| (&**key, &**value)).collect();
    let value = |name: &str| values.get(name).copied();
    let mut expanded = Vec::new();
    let mut room = LONGEST_ARGUMENTS;
    for word in words {
        let before = expanded.len();
        match word.strip_prefix('$') {
            Some(name) if !name.starts_with(['{', '$']) => {
                // What is no name (`$A/b`) is no variable either: it vanishes, as in systemd.
                let value = value(name).unwrap_or_default();
                // These rules refuse nothing but escapes that make no UTF-8, and know no such.
                expanded.extend(words::split_by(value, Escapes::Lenient).unwrap_or_default());
            }
            _ => expanded.push(expand_braces(word, &value, room)),
        }
        let more = expanded.iter().skip(before);
        room = more.fold(room, |room, word| {
            room.saturating_sub(word.len().saturating_add(1))
        });
        if room == 0 {
            break;
        }
    }
    expanded
}

/// Puts in `${NAME}` and `$$`. What looks otherwise stays as it is.
/// Nothing more where it has got longer than `room`.
fn expand_braces<'e>(word: &str, value: &dyn Fn(&str) -> Option<&'e str>, room: usize) -> String {
    let mut expanded = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if expanded.len() > room {
            return expanded;
        }
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let braced = after.strip_prefix('{').and_then(|it| it.split_once('}'));
        match braced {
            // `:` begins what systemd does not know here (`${A:-b}`): it stays as it is written.
            Some((name, after)) if !name.contains(':') => {
                expanded.push_str(value(name).unwrap_or_default());
                rest = after;
            }
            _ => {
                expanded.push('$');
                rest = after;
            }
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests;
