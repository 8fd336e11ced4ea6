//! Reads what the probe printed.

use std::collections::BTreeMap;

/// What was seen: `section: key` → value.
pub(crate) type Seen = BTreeMap<String, String>;

/// The sections of a probe's output, each with its lines.
pub(crate) fn sections(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            Some(title) => {
                sections.push((title.split([' ', ':', ',']).next().unwrap(), Vec::new()))
            }
            None => {
                if let Some((_, lines)) = sections.last_mut().filter(|_| !line.is_empty()) {
                    lines.push(line);
                }
            }
        }
    }
    sections
}

/// The namespaces of a host, as `KIND:[NUMBER]` each.
pub(crate) fn namespaces(text: &str) -> Vec<String> {
    let sections = sections(text);
    let lines = sections
        .into_iter()
        .filter(|(name, _)| *name == "ns")
        .flat_map(|(_, lines)| lines);
    lines
        .filter_map(|line| line.split(' ').nth(1).map(str::to_owned))
        .filter(|word| word.contains(":["))
        .collect()
}

/// The limits of a process.
pub(crate) fn limits(text: &str) -> Seen {
    let sections = sections(text);
    let (_, lines) = sections.iter().find(|(name, _)| *name == "limits").unwrap();
    let all = lines.iter().flat_map(|line| entries("limits", line, &[]));
    all.map(|(key, value)| (format!("limits: {key}"), value))
        .collect()
}

/// What was seen, without what is another number or name on every host. `host` are the namespaces of a process that is in
/// none of its own.
pub(crate) fn seen(text: &str, directory: Option<&str>, host: &[String]) -> Seen {
    let sections = sections(text);
    let value = |section: &str, key: &str| -> &str {
        let lines = &sections
            .iter()
            .find(|(name, _)| *name == section)
            .unwrap()
            .1;
        lines
            .iter()
            .find_map(|line| line.strip_prefix(key))
            .unwrap_or_else(|| panic!("no {key} in:\n{text}"))
    };
    let number = |key| value("id", key).split(' ').next().unwrap();
    let mut numbers = vec![(number("resuid "), "UID"), (number("resgid "), "GID")];
    // A static user's is too short to be found, and the same everywhere.
    numbers.retain(|(number, _)| number.len() == 5);
    let user = value("env", "USER=");
    let mut all = Seen::new();
    for (section, lines) in &sections {
        for line in lines {
            let line = numbers
                .iter()
                .fold((*line).to_owned(), |line, (number, word)| {
                    replace_number(&line, number, word)
                });
            let line = line.replace(user, "NAME");
            let line = directory.map_or(line.clone(), |directory| line.replace(directory, "DIR"));
            for (key, value) in entries(section, &line, host) {
                all.insert(format!("{section}: {key}"), value);
            }
        }
    }
    all
}

/// Puts a word in the place of a number, but not of a part of a longer one.
fn replace_number(line: &str, number: &str, word: &str) -> String {
    let mut replaced = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(number) {
        replaced.push_str(before);
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let part = digit(replaced.chars().last()) || digit(after.chars().next());
        replaced.push_str(if part { number } else { word });
        rest = after;
    }
    replaced + rest
}

/// A line of a section as keys and values.
fn entries(section: &str, line: &str, host: &[String]) -> Vec<(String, String)> {
    let two = |parts: Option<(&str, &str)>| {
        let (key, value) = parts.unwrap_or((line, ""));
        vec![(
            key.trim_end_matches(':').to_owned(),
            value.split_whitespace().collect::<Vec<_>>().join(" "),
        )]
    };
    match section {
        // Several pairs a line.
        "status" if line.starts_with("pid_is_1") || line.starts_with("nice") => {
            let words: Vec<&str> = line.split(' ').collect();
            words
                .chunks(2)
                .map(|pair| (pair[0].to_owned(), pair[1].to_owned()))
                .collect()
        }
        "status" if line.starts_with(|c: char| c.is_ascii_digit()) => Vec::new(), // cgroups
        "id" | "status" => two(line.split_once([' ', '\t'])),
        "ns" => {
            let whose = |word: &str| match word.contains(":[") {
                false => word.to_owned(),
                true if host.iter().any(|theirs| theirs == word) => "the host's".into(),
                true => "its own".into(),
            };
            let value = |(key, value): (String, String)| {
                let words: Vec<String> = value.split(' ').map(whose).collect();
                (key, words.join(" "))
            };
            two(line.split_once(' ')).into_iter().map(value).collect()
        }
        // NAME, soft and hard limit, unit: in columns.
        "limits" => {
            let (name, rest) = line.split_at_checked(26).unwrap();
            let words: Vec<&str> = rest.split_whitespace().take(2).collect();
            vec![(name.trim_end().to_owned(), words.join(":"))]
        }
        "fds" => {
            let (number, target) = line.split_once(' ').unwrap();
            // A recording says so of every pipe.
            let target = match target {
                pipe if pipe.starts_with("pipe:[") => "OUTPUT",
                // The probe's own: what it has loaded, and where it reads this from.
                own if own.contains(".so") || own == "ENOENT" => return Vec::new(),
                other => other,
            };
            vec![(number.to_owned(), target.to_owned())]
        }
        "/dev" => line
            .split(' ')
            .map(|name| (name.to_owned(), "there".to_owned()))
            .collect(),
        "env" => {
            let (key, value) = line.split_once('=').unwrap();
            let id = key == "INVOCATION_ID" && value.len() == 32;
            vec![(
                key.to_owned(),
                if id {
                    "ID".to_owned()
                } else {
                    value.to_owned()
                },
            )]
        }
        "paths" => {
            let (path, rest) = line.split_once(' ').unwrap();
            let (flags, words): (Vec<&str>, Vec<&str>) =
                rest.split(' ').partition(|word| word.contains("@/"));
            let words: Vec<&str> = words.into_iter().map(path_word).collect();
            let mut entries = vec![(path.to_owned(), words.join(" "))];
            entries.extend(
                flags
                    .first()
                    .map(|flags| (format!("{path} flags"), mount_flags(flags))),
            );
            entries
        }
        // Sizes are the host's, but the number of inodes of a private /tmp is a setting.
        "statvfs" => {
            let (path, rest) = line.split_once(' ').unwrap();
            let inodes = rest.split(' ').nth(3).filter(|_| path.ends_with("/tmp"));
            vec![(path.to_owned(), inodes.unwrap_or("there").to_owned())]
        }
        "attempts" => two(line.trim().rsplit_once(' ')),
        _ => Vec::new(),
    }
}

/// A word of the probe's line about a path, without how many entries there are.
fn path_word(word: &str) -> &str {
    match word.strip_prefix("list=") {
        Some(count) if count.bytes().all(|byte| byte.is_ascii_digit()) => "list=ok",
        _ => word,
    }
}

/// `(flags)` out of `type@mount point(flags)`: the flags that matter.
fn mount_flags(word: &str) -> String {
    decisive(word.split_once('(').unwrap().1.trim_end_matches(')'))
}

/// The flags of a mount that matter.
fn decisive(flags: &str) -> String {
    let matter = ["ro", "rw", "nosuid", "nodev", "noexec", "idmapped"];
    flags
        .split(',')
        .filter(|flag| matter.contains(flag))
        .collect::<Vec<_>>()
        .join(",")
}

/// A mount that the service has and the host does not: where, and what matters of it. The words
/// are root, mount point, flags, type, source, options.
pub(crate) fn mount(words: &[&str], directory: Option<&str>) -> (String, String) {
    let at = directory.map_or(words[1].to_owned(), |directory| {
        words[1].replace(directory, "DIR")
    });
    let settings: Vec<&str> = words[5]
        .split(',')
        .filter(|option| {
            ["size=4096k", "nr_inodes=", "mode="]
                .iter()
                .any(|known| option.starts_with(known))
        })
        .collect();
    // A view of a directory has the file system of the host.
    let kind = if at.ends_with("DIR") {
        String::new()
    } else {
        format!(" {} {}", words[3], settings.join(","))
    };
    (
        format!("mounts: {at}"),
        format!("{}{kind}", decisive(words[2])),
    )
}
